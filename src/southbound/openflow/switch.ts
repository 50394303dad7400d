// One switch: the difference between what it should have and what it has, and nothing else, drives it.
//
// A connection begins with a dump; the difference goes out in one atomic bundle. After that every change of the desired state
// joins `pending`, keyed by flow, while at most one bundle is on its way. So a burst of commits costs one bundle, a slow
// switch costs bounded memory, and whatever was sent last is what the switch has. An audit is the same comparison on the
// side, leaving out what changed meanwhile. A flow that the switch refuses is set aside with its error; the rest goes on.
import { OpenFlowError, type Action, type Slice } from "node-openflow";
import type { Logger } from "pino";
import type { ChassisDelta, Desired, Flow, Meter } from "../../compiler/desired.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { InstalledMeter, Session } from "./channel.ts";
import { Comparison, deleteFlow, type Difference, type SameInstructions } from "./comparison.ts";

export interface SwitchOptions {
  readonly chassis: string;
  readonly desired: Desired;
  /** Generation of the last delta that was handed to the switches. */
  readonly reached: () => number;
  readonly metrics: SouthboundMetrics;
  readonly log: Logger;
  readonly sameInstructions: SameInstructions;
  /** Flows that may wait; more, and the switch is compared anew instead. */
  readonly pendingLimit: number;
  readonly onConfirmed: (chassis: string) => void;
}

export type SwitchState = "disconnected" | "syncing" | "connected";

export interface Refused {
  readonly flow: Flow;
  readonly error: string;
}

export interface AuditResult {
  readonly missing: number;
  readonly changed: number;
  readonly foreign: number;
}

interface Entry {
  readonly flow: Flow;
  readonly add: boolean;
}

interface Batch {
  readonly generation: number;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly foreign: readonly Buffer[];
  readonly addMeters: ReadonlyMap<number, Meter>;
  readonly removeMeters: ReadonlySet<number>;
  readonly zones: ReadonlySet<number>;
}

/** Refusals in one bundle after which it is cut into pieces, so that one more refusal costs less. */
const REFUSALS_WHOLE = 8;
const PIECE = 512;
/** Refusals in all pieces of a bundle after which a piece that is refused is set aside as a whole. */
const REFUSALS_PIECES = 2048;
/** Refused flows that are logged one by one. */
const REFUSALS_LOGGED = 50;
/** A comparison lets others have a turn of the event loop after this long. */
const TURN_MS = 4;
const FLOWS_A_STEP = 1024;

export class Switch {
  readonly chassis: string;
  state: SwitchState = "disconnected";
  session: Session | undefined;
  since = new Date();
  lastSync: Date | undefined;
  lastError: string | undefined;
  /** Last generation that the switch confirmed while it had nothing older left to confirm; 0 = none in this process. */
  private confirmedGeneration = 0;
  readonly quarantine = new Map<string, Refused>();
  private readonly options: SwitchOptions;
  private readonly log: Logger;
  private readonly metricLabels: { readonly switch: string };

  private pending = new Map<string, Entry>();
  private foreign: Buffer[] = [];
  private addMeters = new Map<number, Meter>();
  private removeMeters = new Set<number>();
  private zones = new Set<number>();
  /** The desired generation that pending leads to. */
  private generation = 0;
  private inflight: Batch | undefined;
  /**
   * Nothing is sent while the switch is compared with everything: first its flows are asked for, when changes need no
   * note because the desired state will have them, then they are compared, when changes are noted.
   */
  private held: "dump" | "comparison" | "overrun" | undefined = "dump";
  private scheduled = false;
  /** Meter ids on the switch. */
  private meters = new Set<number>();
  /** Counts changes of meters, wanted or sent. */
  private meterChanges = 0;
  /** While an audit runs: keys of flows that changed since it began. */
  private touched: Set<string> | undefined;
  private auditing: Promise<AuditResult> | undefined;
  private idle: (() => void)[] = [];

  constructor(options: SwitchOptions) {
    this.options = options;
    this.chassis = options.chassis;
    this.log = options.log;
    this.metricLabels = { switch: options.chassis };
  }

  get pendingFlows(): number {
    return this.pending.size + (this.inflight?.entries.size ?? 0);
  }

  /** Everything up to this generation is on the switch. */
  get confirmed(): number {
    return this.settled ? Math.max(this.confirmedGeneration, this.options.reached()) : this.confirmedGeneration;
  }

  /** In order, with nothing left to send. */
  private get settled(): boolean {
    return this.session !== undefined && this.held === undefined && this.inflight === undefined && !this.unsent;
  }

  private get unsent(): boolean {
    return this.pending.size > 0 || this.foreign.length > 0 || this.addMeters.size > 0 || this.removeMeters.size > 0 || this.zones.size > 0;
  }

  /** Resolves when everything that was wanted at this moment is on the switch, or it is disconnected. */
  whenIdle(): Promise<void> {
    if (this.session === undefined || this.settled) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  /** Takes over a session whose handshake is done; an earlier one is closed. `zones`: conntrack zones to flush first. */
  attach(session: Session, zones: Iterable<number>): void {
    const before = this.session;
    this.session = session;
    if (before !== undefined) {
      this.log.info({ before: before.address, now: session.address }, "switch connected again; the earlier connection is closed");
      before.close();
    }
    this.state = "syncing";
    this.since = new Date();
    this.lastError = undefined;
    this.quarantine.clear();
    this.inflight = undefined;
    this.touched = undefined;
    for (const zone of zones) this.zones.add(zone);
    this.log.info({ address: session.address }, "switch connected");
    void this.synchronise(session);
  }

  /** The session ended. False if it was not this switch's any more. */
  detach(session: Session, reason: string): boolean {
    if (this.session !== session) return false;
    if (this.settled) this.confirmedGeneration = this.confirmed;
    this.session = undefined;
    this.state = "disconnected";
    this.since = new Date();
    this.lastError = reason;
    this.forgetPending();
    this.inflight = undefined;
    this.held = "dump";
    this.touched = undefined;
    for (const resolve of this.idle.splice(0)) resolve();
    return true;
  }

  /** Its slot was given out or given up: connections of its earlier holder are forgotten before new flows come. */
  flushZone(zone: number): void {
    this.zones.add(zone);
    this.schedule();
  }

  apply(generation: number, delta: ChassisDelta): void {
    if (this.session === undefined || this.held === "dump" || this.held === "overrun") return; // the comparison to come will tell
    this.generation = generation;
    for (const flow of delta.add) this.want(flow, true);
    for (const flow of delta.remove) this.want(flow, false);
    this.meterChanges += delta.addMeters.length + delta.removeMeters.length;
    for (const meter of delta.addMeters) {
      this.removeMeters.delete(meter.id);
      this.addMeters.set(meter.id, meter);
    }
    for (const meter of delta.removeMeters) {
      if (delta.addMeters.some((m) => m.id === meter.id)) continue;
      this.addMeters.delete(meter.id);
      this.removeMeters.add(meter.id);
    }
    if (this.pending.size > this.options.pendingLimit) {
      this.log.warn({ pending: this.pending.size }, "switch is too slow for its changes; it will be compared anew");
      this.forgetPending();
      this.held = "overrun";
    }
    this.schedule();
  }

  /** Compares the switch with the desired state and repairs it. Shares an audit that is under way. */
  audit(): Promise<AuditResult> {
    if (this.state !== "connected" || this.held !== undefined) return Promise.resolve({ missing: 0, changed: 0, foreign: 0 });
    this.auditing ??= this.runAudit().finally(() => (this.auditing = undefined));
    return this.auditing;
  }

  /** The switch's own flow dump: OFPMP_FLOW replies. */
  installedFlows(): Promise<Buffer[]> {
    return this.session === undefined ? Promise.resolve([]) : this.session.flows();
  }

  sendPacket(actions: readonly Action[], data: Uint8Array, inPort?: number): void {
    this.session?.sendPacket(actions, data, inPort);
  }

  /** An error that belongs to no request, e.g. about a packet-out. */
  complain(error: string): void {
    this.lastError = error;
  }

  // --- comparing ----------------------------------------------------------------------------------------------------

  private async synchronise(session: Session): Promise<void> {
    const { desired, metrics } = this.options;
    const started = performance.now();
    this.held = "dump";
    this.state = "syncing";
    try {
      const flows = await session.flows();
      const meters = await this.metersOf(session);
      if (this.session !== session) return;
      this.held = "comparison";
      this.forgetPending();
      this.generation = desired.generation;
      this.compareMeters(meters);
      const touched = (this.touched = new Set<string>());
      const comparison = await this.compare(session, flows);
      if (comparison === undefined) return;
      if ((this.held as string) === "overrun") {
        await this.synchronise(session);
        return;
      }
      const { missing, changed, foreign } = this.takeOver(comparison, touched);
      this.held = undefined;
      this.schedule();
      await this.whenIdle();
      if (this.session !== session) return;
      const seconds = (performance.now() - started) / 1000;
      metrics.syncSeconds.observe(seconds);
      this.log.info(
        { desired: comparison.desired, found: comparison.dumped, missing: missing.length, changed: changed.length, foreign: foreign.length, ms: Math.round(seconds * 1000) },
        "switch in order",
      );
    } catch (error) {
      if (this.session === session) this.giveUp(session, error, "switch could not be compared");
    }
  }

  private async runAudit(): Promise<AuditResult> {
    const { metrics } = this.options;
    const session = this.session!;
    const nothing: AuditResult = { missing: 0, changed: 0, foreign: 0 };
    const touched = (this.touched = new Set([...this.pending.keys(), ...(this.inflight?.entries.keys() ?? [])]));
    const { meterChanges } = this;
    try {
      const flows = await session.flows();
      const meters = await this.metersOf(session);
      if (this.session !== session || this.held !== undefined) return nothing;
      const comparison = await this.compare(session, flows);
      if (comparison === undefined || this.held !== undefined) return nothing;
      if (this.meterChanges === meterChanges && this.inflight === undefined) this.compareMeters(meters);
      const difference = this.takeOver(comparison, touched);
      const result = { missing: difference.missing.length, changed: difference.changed.length, foreign: difference.foreign.length };
      for (const [kind, n] of Object.entries(result)) if (n > 0) metrics.repaired.inc({ ...this.metricLabels, kind }, n);
      if (result.missing + result.changed + result.foreign > 0) this.log.warn(result, "switch was changed by somebody else; it is repaired");
      return result;
    } finally {
      if (this.touched === touched) this.touched = undefined;
      this.schedule(); // an overrun waited for the audit's end
    }
  }

  /** Switches without meters answer with an error; then there are none. */
  private async metersOf(session: Session): Promise<InstalledMeter[]> {
    try {
      return await session.meters();
    } catch (error) {
      if (error instanceof OpenFlowError && error.code === "OF_PEER_ERROR") return [];
      throw error;
    }
  }

  /** undefined: the session ended meanwhile. */
  private async compare(session: Session, parts: readonly Buffer[]): Promise<Comparison | undefined> {
    const comparison = new Comparison([], this.options.sameInstructions);
    const wanted = Array.from(this.options.desired.flowsOf(this.chassis)); // all of one moment
    let turn = performance.now();
    const breath = async (): Promise<boolean> => {
      if (performance.now() - turn < TURN_MS) return true;
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
      return this.session === session;
    };
    for (let at = 0; at < wanted.length; at += FLOWS_A_STEP) {
      comparison.want(wanted.slice(at, at + FLOWS_A_STEP));
      if (!(await breath())) return undefined;
    }
    for (const part of parts) {
      comparison.part(part);
      if (!(await breath())) return undefined;
    }
    return comparison;
  }

  /** What the comparison found becomes pending, except what changed while it ran. */
  private takeOver(comparison: Comparison, touched: ReadonlySet<string>): Difference {
    this.touched = undefined;
    const difference = comparison.finish((key) => touched.has(key) || this.quarantine.has(key));
    for (const flow of difference.missing) this.pending.set(flow.key, { flow, add: true });
    for (const flow of difference.changed) this.pending.set(flow.key, { flow, add: true });
    this.foreign.push(...difference.foreign);
    return difference;
  }

  private compareMeters(installed: readonly InstalledMeter[]): void {
    this.meters = new Set(installed.map((m) => m.id));
    const found = new Map(installed.map((m) => [m.id, m]));
    for (const meter of this.options.desired.metersOf(this.chassis)) {
      const now = found.get(meter.id);
      found.delete(meter.id);
      if (now?.ratePps !== meter.ratePps || now.burst !== meter.burst) this.addMeters.set(meter.id, meter);
    }
    for (const id of found.keys()) this.removeMeters.add(id);
  }

  // --- sending ------------------------------------------------------------------------------------------------------

  private want(flow: Flow, add: boolean): void {
    this.quarantine.delete(flow.key);
    this.touched?.add(flow.key);
    this.pending.set(flow.key, { flow, add });
  }

  private forgetPending(): void {
    this.pending = new Map();
    this.foreign = [];
    this.addMeters = new Map();
    this.removeMeters = new Set();
  }

  /** Sends soon: what else this turn of the event loop brings goes along. */
  private schedule(): void {
    if (this.scheduled || this.session === undefined) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    const session = this.session;
    if (session === undefined || this.inflight !== undefined) return;
    if (this.held !== undefined) {
      // An overrun while comparing is seen there.
      if (this.held === "overrun" && this.touched === undefined) void this.synchronise(session);
      return;
    }
    if (!this.unsent) {
      this.settle();
      return;
    }
    const batch: Batch = {
      generation: this.generation,
      entries: this.pending,
      foreign: this.foreign,
      addMeters: this.addMeters,
      removeMeters: this.removeMeters,
      zones: this.zones,
    };
    this.inflight = batch;
    this.zones = new Set();
    this.forgetPending();
    this.deliver(session, batch).then(
      () => {
        if (this.session !== session) return;
        this.inflight = undefined;
        if (this.held === undefined) this.confirmedGeneration = Math.max(this.confirmedGeneration, batch.generation);
        this.lastSync = new Date();
        if (!this.settled) this.options.onConfirmed(this.chassis);
        this.pump();
      },
      (error: unknown) => {
        for (const zone of batch.zones) this.zones.add(zone);
        if (this.session === session) this.giveUp(session, error, "switch did not take its changes");
      },
    );
  }

  private settle(): void {
    this.confirmedGeneration = this.confirmed;
    if (this.state === "syncing") {
      this.state = "connected";
      this.lastSync = new Date();
    }
    for (const resolve of this.idle.splice(0)) resolve();
    this.options.onConfirmed(this.chassis);
  }

  /** The switch comes back by itself, and is compared then. */
  private giveUp(session: Session, error: unknown, message: string): void {
    this.lastError = error instanceof Error ? error.message : String(error);
    this.log.error({ err: error }, message);
    session.close();
  }

  private async deliver(session: Session, batch: Batch): Promise<void> {
    // A switch works off what it gets in order, so no barrier is needed between these and the bundle.
    for (const zone of batch.zones) session.flushZone(zone);
    for (const meter of batch.addMeters.values()) {
      session.setMeter(meter, this.meters.has(meter.id));
      this.meters.add(meter.id);
      this.meterChanges++;
    }
    if (batch.entries.size > 0 || batch.foreign.length > 0) await this.sendFlows(session, batch);
    for (const id of batch.removeMeters) {
      if (this.meters.delete(id)) session.removeMeter(id);
    }
    const onlyMeters = batch.entries.size === 0 && batch.foreign.length === 0;
    if (onlyMeters || batch.removeMeters.size > 0) await session.barrier();
  }

  private async sendFlows(session: Session, batch: Batch): Promise<void> {
    const entries = [...batch.entries.values()];
    // Within a bundle the order does not show. Removals go first, so that two spellings of one match cannot undo each other.
    entries.sort((a, b) => Number(a.add) - Number(b.add));
    const left = await this.sendWhole(session, batch.foreign, entries);
    const budget = { refusals: REFUSALS_PIECES };
    for (let at = 0; at < left.length; at += PIECE) await this.sendPiece(session, left.slice(at, at + PIECE), budget);
  }

  /** One bundle; again without each flow that is refused. Returns what is left when that happens too often. */
  private async sendWhole(session: Session, foreign: readonly Buffer[], entries: Entry[]): Promise<Entry[]> {
    let deletes = foreign;
    for (let refusals = 0; refusals <= REFUSALS_WHOLE; refusals++) {
      const error = await this.tryBundle(session, deletes, entries);
      if (error === undefined) return [];
      if (error.index === undefined) {
        deletes = [];
        break;
      }
      const culprit = entries[error.index - deletes.length];
      if (culprit === undefined) deletes = deletes.filter((_, i) => i !== error.index);
      else this.refuse(entries, culprit, error);
    }
    return entries;
  }

  /** A bundle of few flows; halved until what is refused stands alone. */
  private async sendPiece(session: Session, entries: Entry[], budget: { refusals: number }): Promise<void> {
    if (entries.length === 0) return;
    const error = await this.tryBundle(session, [], entries);
    if (error === undefined) return;
    if (budget.refusals-- <= 0) {
      for (const entry of [...entries]) this.refuse(entries, entry, error);
      return;
    }
    const culprit = error.index === undefined ? (entries.length === 1 ? entries[0] : undefined) : entries[error.index];
    if (culprit !== undefined) {
      this.refuse(entries, culprit, error);
      await this.sendPiece(session, entries, budget);
      return;
    }
    const half = entries.length >> 1;
    await this.sendPiece(session, entries.slice(0, half), budget);
    await this.sendPiece(session, entries.slice(half), budget);
  }

  /** Sets a flow aside; in its place the switch is told to have none, since what it has may be an older form. */
  private refuse(entries: Entry[], culprit: Entry, error: OpenFlowError): void {
    const at = entries.indexOf(culprit);
    const { flow, add } = culprit;
    if (!add) {
      entries.splice(at, 1);
      this.log.error({ err: error, table: flow.table }, "switch refused to remove a flow");
      return;
    }
    const text = error.errorName ?? error.message;
    entries.splice(at, 1);
    entries.unshift({ flow, add: false });
    if (!this.pending.has(flow.key)) this.quarantine.set(flow.key, { flow, error: text });
    this.options.metrics.refused.inc(this.metricLabels);
    this.lastError = `flow of table ${flow.table} refused: ${text}`;
    if (this.quarantine.size <= REFUSALS_LOGGED) this.log.error({ error: text, table: flow.table, priority: flow.priority, cookie: cookieText(flow) }, "switch refused a flow; it is set aside");
  }

  /** undefined: committed. @throws what is not about one of the messages */
  private async tryBundle(session: Session, foreign: readonly Buffer[], entries: readonly Entry[]): Promise<OpenFlowError | undefined> {
    const { metrics } = this.options;
    const messages: Slice[] = foreign.map(whole);
    for (const { flow, add } of entries) messages.push(add ? { buf: flow.slab, off: flow.off, len: flow.len } : whole(deleteFlow(flow)));
    if (messages.length === 0) return undefined;
    metrics.flowMods.inc(this.metricLabels, messages.length);
    metrics.bytes.inc({}, messages.reduce((sum, m) => sum + m.len, 0));
    try {
      await session.bundle(messages);
      metrics.bundles.inc({ result: "committed" });
      return undefined;
    } catch (error) {
      if (!(error instanceof OpenFlowError) || error.code !== "OF_PEER_ERROR" || this.session !== session) throw error;
      // A bundle that failed for another reason than a message in it (out of memory, timeout) says nothing about the flows.
      if (error.errorName?.startsWith("OFPBFC_") === true && error.errorName !== "OFPBFC_MSG_FAILED" && error.index === undefined) throw error;
      metrics.bundles.inc({ result: "refused" });
      return error;
    }
  }
}

const whole = (buf: Buffer): Slice => ({ buf, off: 0, len: buf.length });

export const cookieText = (flow: Flow): string => `0x${((BigInt(flow.cookieHi) << 32n) | BigInt(flow.cookieLo)).toString(16)}`;
