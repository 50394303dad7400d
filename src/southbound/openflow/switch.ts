// One switch: the difference between what it should have and what it has, and nothing else, drives it.
//
// A connection begins with a dump; the difference goes out in one atomic bundle. After that every change of the desired state
// joins `pending`, keyed by flow, while at most one bundle is on its way. So a burst of commits costs one bundle, a slow
// switch costs bounded memory, and whatever was sent last is what the switch has. An audit is the same comparison on the
// side, leaving out what changed meanwhile. A flow that the switch refuses is set aside with its error; the rest goes on.
import { OpenFlowError } from "node-openflow";
import type { Logger } from "pino";
import type { ChassisDelta, Desired, Flow } from "../../compiler/desired.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { InstalledMeter, Session } from "./channel.ts";
import { compareDump, type Comparison, type Difference, type SameInstructions } from "./comparison.ts";
import { Delivery, type Entry } from "./delivery.ts";
import { Meters, type MeterChange } from "./meters.ts";

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

interface Batch {
  readonly generation: number;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly foreign: readonly Buffer[];
  readonly meters: MeterChange;
  readonly zones: ReadonlySet<number>;
}

/** Refused flows that are logged one by one. */
const REFUSALS_LOGGED = 50;

export class Switch {
  readonly chassis: string;
  state: SwitchState = "disconnected";
  session: Session | undefined;
  since = new Date();
  lastSync: Date | undefined;
  lastError: string | undefined;
  /** Since when there is a flow that it refuses. */
  refusedSince = new Date();
  /** Last generation that the switch confirmed while it had nothing older left to confirm; 0 = none in this process. */
  private confirmedGeneration = 0;
  readonly quarantine = new Map<string, Refused>();
  private readonly options: SwitchOptions;
  private readonly log: Logger;
  private readonly metricLabels: { readonly switch: string };

  private pending = new Map<string, Entry>();
  private foreign: Buffer[] = [];
  private readonly meters = new Meters();
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
  /** While a comparison runs: keys of flows that changed since it began. */
  private changedSince: Set<string> | undefined;
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
    return this.inSync ? Math.max(this.confirmedGeneration, this.options.reached()) : this.confirmedGeneration;
  }

  /** In order, with nothing left to send. */
  private get inSync(): boolean {
    return this.session !== undefined && this.held === undefined && this.inflight === undefined && !this.unsent;
  }

  private get unsent(): boolean {
    return this.pending.size > 0 || this.foreign.length > 0 || this.meters.pending || this.zones.size > 0;
  }

  /** Resolves when everything that was wanted at this moment is on the switch, or it is disconnected. */
  whenIdle(): Promise<void> {
    if (this.session === undefined || this.inSync) return Promise.resolve();
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
    this.changedSince = undefined;
    for (const zone of zones) this.zones.add(zone);
    this.log.info({ address: session.address }, "switch connected");
    void this.synchronise(session);
  }

  /** The session ended. False if it was not this switch's any more. */
  detach(session: Session, reason: string): boolean {
    if (this.session !== session) return false;
    if (this.inSync) this.confirmedGeneration = this.confirmed;
    this.session = undefined;
    this.state = "disconnected";
    this.since = new Date();
    this.lastError = reason;
    this.forgetPending();
    this.inflight = undefined;
    this.held = "dump";
    this.changedSince = undefined;
    for (const resolve of this.idle.splice(0)) resolve();
    return true;
  }

  /** Its slot was given out or given up: connections of its earlier holder are forgotten before new flows come. */
  flushZone(zone: number): void {
    this.zones.add(zone);
    this.schedule();
  }

  apply(generation: number, delta: ChassisDelta): void {
    if (this.session === undefined || this.held === "dump" || this.held === "overrun") return; // the comparison to come covers it
    this.generation = generation;
    for (const flow of delta.add) this.want(flow, true);
    for (const flow of delta.remove) this.want(flow, false);
    this.meters.apply(delta);
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

  sendPacket(outPort: number, data: Uint8Array): void {
    this.session?.sendPacket(outPort, data);
  }

  /** An error that belongs to no request, e.g. about a packet-out. */
  reportError(error: string): void {
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
      this.meters.compare(meters, this.options.desired.metersOf(this.chassis));
      const changedSince = (this.changedSince = new Set<string>());
      const comparison = await this.compare(session, flows);
      if (comparison === undefined) return;
      if ((this.held as string) === "overrun") {
        await this.synchronise(session);
        return;
      }
      const { missing, changed, foreign } = this.takeOver(comparison, changedSince);
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
      if (this.session === session) this.abort(session, error, "switch could not be compared");
    }
  }

  private async runAudit(): Promise<AuditResult> {
    const { metrics } = this.options;
    const session = this.session!;
    const nothing: AuditResult = { missing: 0, changed: 0, foreign: 0 };
    const changedSince = (this.changedSince = new Set([...this.pending.keys(), ...(this.inflight?.entries.keys() ?? [])]));
    const { revision } = this.meters;
    try {
      const flows = await session.flows();
      const meters = await this.metersOf(session);
      if (this.session !== session || this.held !== undefined) return nothing;
      const comparison = await this.compare(session, flows);
      if (comparison === undefined || this.held !== undefined) return nothing;
      if (this.meters.revision === revision && this.inflight === undefined) this.meters.compare(meters, this.options.desired.metersOf(this.chassis));
      const difference = this.takeOver(comparison, changedSince);
      const result = { missing: difference.missing.length, changed: difference.changed.length, foreign: difference.foreign.length };
      for (const [kind, n] of Object.entries(result)) if (n > 0) metrics.repaired.inc({ ...this.metricLabels, kind }, n);
      if (result.missing + result.changed + result.foreign > 0) this.log.warn(result, "switch was changed by somebody else; it is repaired");
      return result;
    } finally {
      if (this.changedSince === changedSince) this.changedSince = undefined;
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
  private compare(session: Session, parts: readonly Buffer[]): Promise<Comparison | undefined> {
    const { desired, sameInstructions } = this.options;
    return compareDump(desired.flowsOf(this.chassis), parts, sameInstructions, () => this.session === session);
  }

  /** What the comparison found becomes pending, except what changed while it ran. */
  private takeOver(comparison: Comparison, changedSince: ReadonlySet<string>): Difference {
    this.changedSince = undefined;
    const difference = comparison.finish((key) => changedSince.has(key) || this.quarantine.has(key));
    for (const flow of difference.missing) this.pending.set(flow.key, { flow, add: true });
    for (const flow of difference.changed) this.pending.set(flow.key, { flow, add: true });
    this.foreign.push(...difference.foreign);
    return difference;
  }

  // --- sending ------------------------------------------------------------------------------------------------------

  private want(flow: Flow, add: boolean): void {
    this.quarantine.delete(flow.key);
    this.changedSince?.add(flow.key);
    this.pending.set(flow.key, { flow, add });
  }

  private forgetPending(): void {
    this.pending = new Map();
    this.foreign = [];
    this.meters.forget();
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
      if (this.held === "overrun" && this.changedSince === undefined) void this.synchronise(session);
      return;
    }
    if (!this.unsent) {
      this.synchronised();
      return;
    }
    const batch: Batch = {
      generation: this.generation,
      entries: this.pending,
      foreign: this.foreign,
      meters: this.meters.take(),
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
        if (!this.inSync) this.options.onConfirmed(this.chassis);
        this.pump();
      },
      (error: unknown) => {
        for (const zone of batch.zones) this.zones.add(zone);
        if (this.session === session) this.abort(session, error, "switch did not take its changes");
      },
    );
  }

  private synchronised(): void {
    this.confirmedGeneration = this.confirmed;
    if (this.state === "syncing") {
      this.state = "connected";
      this.lastSync = new Date();
    }
    for (const resolve of this.idle.splice(0)) resolve();
    this.options.onConfirmed(this.chassis);
  }

  /** The switch comes back by itself, and is compared then. */
  private abort(session: Session, error: unknown, message: string): void {
    this.lastError = error instanceof Error ? error.message : String(error);
    this.log.error({ err: error }, message);
    session.close();
  }

  private async deliver(session: Session, batch: Batch): Promise<void> {
    // A switch works off what it gets in order, so no barrier is needed between these and the bundle.
    for (const zone of batch.zones) session.flushZone(zone);
    this.meters.sendSet(session, batch.meters);
    const flows = batch.entries.size > 0 || batch.foreign.length > 0;
    if (flows) {
      const { chassis, metrics } = this.options;
      const delivery = new Delivery(session, { chassis, metrics, log: this.log, current: () => this.session === session, refused: (flow, error) => this.refused(flow, error) });
      await delivery.send(batch.foreign, batch.entries.values());
    }
    this.meters.sendRemove(session, batch.meters);
    if (!flows || batch.meters.remove.size > 0) await session.barrier();
  }

  private refused(flow: Flow, error: string): void {
    if (this.quarantine.size === 0) this.refusedSince = new Date();
    if (!this.pending.has(flow.key)) this.quarantine.set(flow.key, { flow, error });
    this.lastError = `flow of table ${flow.table} refused: ${error}`;
    if (this.quarantine.size <= REFUSALS_LOGGED) this.log.error({ error, table: flow.table, priority: flow.priority, cookie: cookieText(flow) }, "switch refused a flow; it is set aside");
  }
}

export const cookieText = (flow: Flow): string => `0x${((BigInt(flow.cookieHi) << 32n) | BigInt(flow.cookieLo)).toString(16)}`;
