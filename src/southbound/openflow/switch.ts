// Over 400 lines: one state machine, whose states and events are best read together.
// One switch: the difference between what it should have and what it has, and nothing else, drives it.
//
// A connection begins with a dump; the difference goes out in one atomic bundle. After that every change of the desired state
// joins `pending`, keyed by flow, while at most one bundle is on its way. So a burst of commits costs one bundle, a slow
// switch costs bounded memory, and whatever was sent last is what the switch has. An audit is the same comparison on the
// side, leaving out what changed meanwhile. A flow that the switch refuses is set aside with its error; the rest goes on.
import type { Action } from "node-openflow";
import type { Logger } from "pino";
import type { ChassisDelta, Flow } from "../../compiler/desired.ts";
import type { PortCount } from "#app";
import type { CookieOptions, InstalledItem, MeterCounts, Session, SwitchPort } from "./channel.ts";
import { compareDump, deleteFlow, tableOf, type Comparison } from "./comparison.ts";
import { Delivery, isSecondary, type Entry } from "./delivery.ts";
import { roomOf, withDump, withInstalled, type Installed } from "./installed.ts";
import { lostMeters, ItemSync, type ItemChange } from "./items.ts";
import { countedFromNow } from "../metrics.ts";
import { SyncGate } from "./sync-gate.ts";
import { turns } from "./turns.ts";
import { arrivals, planWithdrawal, type Relayout } from "./withdrawal.ts";
import type { AuditResult, Found, Hold, Refused, Repaired, SwitchOptions, SwitchState } from "./switch-types.ts";

export type { AuditResult, Refused } from "./switch-types.ts";

/** A session from when this controller began to bring the switch in order by it: it may do so again by the same session, when another one has in between. */
interface Link {
  readonly session: Session;
}

interface Batch {
  readonly generation: number;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly foreign: readonly Buffer[];
  /** Foreign ones of an earlier layout: nothing comes along with their going. */
  readonly stale: readonly Buffer[];
  readonly items: ItemChange;
  readonly zones: ReadonlySet<number>;
}

/** Flows of a batch whose counts are asked for when they go: as many questions and answers, each of some 150 bytes. The others count as what was seen of them before. */
const LAST_COUNTS = 1000;
/** Refused flows that are logged one by one. */
const REFUSALS_LOGGED = 50;
/** Flows that an audit put right of which it is kept what they are for. */
const REPAIRS_KEPT = 20;
const NOTHING: AuditResult = { missing: 0, changed: 0, foreign: 0 };

export class Switch {
  readonly chassis: string;
  state: SwitchState = "disconnected";
  private link: Link | undefined;
  /** While another controller is its master: it is read by this one, and nothing is changed. */
  standby: Session | undefined;
  since: Date;
  lastSync: Date | undefined;
  lastError: string | undefined;
  /** What audits put right, the last time. */
  repaired: Repaired | undefined;
  /** When an audit last compared it to the end. */
  lastAudit: Date | undefined;
  /** Packets dropped, by table, as the switch counted them at the last audit. */
  drops: ReadonlyMap<number, number> = new Map();
  /** Since when there is a flow that it refuses. */
  refusedSince: Date;
  /** Why it is not changed; what was found when it was here last. */
  hold: Hold | undefined;
  /** Last generation that the switch confirmed while it had nothing older left to confirm; 0 = none in this process. */
  private confirmedGeneration = 0;
  /** Generation of what it was sent last, and took; 0 = nothing in this process. */
  told = 0;
  readonly quarantine = new Map<string, Refused>();
  private readonly options: SwitchOptions;
  private readonly log: Logger;
  private readonly metricLabels: { readonly switch: string };
  private pending = new Map<string, Entry>();
  private foreign: Buffer[] = [];
  private stale: Buffer[] = [];
  private readonly items = new ItemSync();
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
  /** Wait until a batch is delivered, or there is none. */
  private delivered: (() => void)[] = [];
  private readonly gate: SyncGate;
  /** A comparison asks much of the switch: should it go away now, that counts as a failure. */
  private busy = false;
  /** It is held, and looked at again. */
  private reviewing = false;

  constructor(options: SwitchOptions) {
    this.options = options;
    this.chassis = options.chassis;
    this.log = options.log;
    this.since = this.now();
    this.refusedSince = this.since;
    this.metricLabels = { switch: options.chassis };
    countedFromNow(options.metrics, options.chassis);
    this.gate = new SyncGate(options.slots, options.clock, options.random, options.log);
  }

  private now(): Date {
    return new Date(this.options.clock.now());
  }

  /** By which it is kept in order. */
  get session(): Session | undefined {
    return this.link?.session;
  }

  /** By which it can be asked something; undefined: it is not connected. */
  get reader(): Session | undefined {
    return this.session ?? this.standby;
  }

  get pendingFlows(): number {
    return this.pending.size + (this.inflight?.entries.size ?? 0);
  }

  /** Everything up to this generation is on the switch. */
  get confirmed(): number {
    return this.inSync ? Math.max(this.confirmedGeneration, this.options.reached()) : this.confirmedGeneration;
  }

  /** Whether it has all that it should have, and nothing else of ours; undefined: it is not connected. */
  get synced(): boolean | undefined {
    return this.session === undefined ? undefined : this.state === "connected" && this.inSync;
  }

  /** In order, with nothing left to send. */
  private get inSync(): boolean {
    return this.session !== undefined && this.held === undefined && this.inflight === undefined && !this.unsent;
  }

  private get unsent(): boolean {
    return this.pending.size > 0 || this.foreign.length > 0 || this.stale.length > 0 || this.items.pending || this.zones.size > 0;
  }

  /** Resolves when everything that was wanted at this moment is on the switch, or it is disconnected or held. */
  whenIdle(): Promise<void> {
    if (this.session === undefined || this.inSync || this.state === "held") return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  /** Resolves when what is pending now is on the switch, or there is nothing, or it is disconnected. */
  private whenDelivered(): Promise<void> {
    this.schedule();
    return new Promise((resolve) => this.delivered.push(resolve));
  }

  /** Takes over a session whose handshake is done; an earlier one is closed. `zones`: conntrack zones to flush first. */
  attach(session: Session, zones: Iterable<number>): void {
    const before = this.reader;
    const link = (this.link = { session });
    this.standby = undefined;
    if (before !== undefined && before !== session) {
      this.log.warn({ before: before.address, now: session.address }, "switch connected again; the earlier connection is closed");
      before.close();
    }
    this.state = "syncing";
    this.since = this.now();
    this.lastError = undefined;
    this.quarantine.clear();
    this.inflight = undefined;
    this.changedSince = undefined;
    for (const zone of zones) this.zones.add(zone);
    this.gate.cancel();
    this.log.info({ address: session.address }, "switch connected");
    void this.synchronise(link);
  }

  /** The session ended. False if it was not this switch's any more. */
  detach(session: Session, reason: string): boolean {
    if (this.reader !== session) return false;
    // A dump or a bundle that the switch did not survive would be tried again at once.
    if (this.busy) this.gate.failed();
    this.letGo();
    this.standby = undefined;
    this.state = "disconnected";
    this.lastError = reason;
    return true;
  }

  /** Another controller is its master, or is about to be: what is under way here ends, and nothing that changes something is sent by the session any more. */
  standBy(session: Session): void {
    if (this.standby === session) return;
    const before = this.reader;
    this.letGo();
    // What is true of it now another one finds out.
    this.confirmedGeneration = this.told = 0;
    this.quarantine.clear();
    this.zones = new Set();
    this.repaired = undefined;
    this.hold = undefined;
    this.lastError = undefined;
    this.standby = session;
    this.state = "standby";
    if (before !== session) before?.close();
  }

  /** The session is no more, or not for changes. */
  private letGo(): void {
    if (this.inSync) this.confirmedGeneration = this.confirmed;
    this.busy = false;
    this.link = undefined;
    this.since = this.now();
    this.forgetPending();
    this.inflight = undefined;
    this.held = "dump";
    this.changedSince = undefined;
    this.gate.cancel();
    for (const resolve of [...this.idle.splice(0), ...this.delivered.splice(0)]) resolve();
  }

  /** Its slot was given out or given up: connections of its earlier holder are forgotten before new flows come. */
  flushZone(zone: number): void {
    this.zones.add(zone);
    this.schedule();
  }

  apply(generation: number, delta: ChassisDelta): void {
    if (this.session === undefined || this.held === "dump" || this.held === "overrun") return; // the comparison to come covers it
    this.generation = generation;
    for (const flow of delta.add) this.want(flow, true, delta.changed.has(flow));
    for (const flow of delta.remove) this.want(flow, false, true);
    this.items.apply(delta);
    if (this.pending.size > this.options.pendingLimit) {
      this.log.warn({ pending: this.pending.size }, "switch is too slow for its changes; it will be compared anew");
      this.forgetPending();
      this.held = "overrun";
    }
    this.schedule();
  }

  /** Compares the switch with the desired state and repairs it; one that is held is judged again. Shares an audit that is under way. */
  audit(): Promise<AuditResult> {
    this.review();
    if (this.state !== "connected" || this.held !== undefined) return Promise.resolve(NOTHING);
    this.auditing ??= this.runAudit().finally(() => (this.auditing = undefined));
    return this.auditing;
  }

  /** Judges it anew if it is held. */
  review(): void {
    const { link } = this;
    if (link === undefined || this.state !== "held" || this.reviewing) return;
    this.reviewing = true;
    void this.synchronise(link).finally(() => (this.reviewing = false));
  }

  /** The switch's own flow dump: OFPMP_FLOW replies; [] without a session. They are not to be kept once `use` is done. */
  async withFlows<T>(timeoutMs: number | undefined, use: (parts: Buffer[]) => Promise<T> | T): Promise<T> {
    const { reader, options: { desired, dumps } } = this;
    return reader === undefined ? use([]) : withDump(reader, desired.flowsOf(this.chassis), roomOf(reader, dumps), timeoutMs, use);
  }

  /** Likewise of one table, where `wanted` should be; undefined without a session. */
  tableFlows<T>(table: number, wanted: Iterable<Flow>, timeoutMs: number, use: (parts: Buffer[]) => Promise<T> | T): Promise<T> | undefined {
    const { reader } = this;
    return reader === undefined ? undefined : withDump(reader, wanted, roomOf(reader, this.options.dumps), timeoutMs, use, table);
  }

  /** Its ports; undefined without a session. */
  ports(): Promise<SwitchPort[]> | undefined {
    return this.reader?.ports();
  }

  /** Of those with a cookie; undefined without a session. */
  flowsWith(cookie: bigint, options?: CookieOptions): Promise<Buffer[]> | undefined {
    return this.reader?.flowsWith(cookie, options);
  }

  /** Of its ports; undefined without a session. */
  portCounts(): Promise<PortCount[]> | undefined {
    return this.reader?.portCounts();
  }

  /** Of its meters, as it says; [] without a session. */
  meterCounts(): Promise<MeterCounts[]> {
    return this.reader?.meterCounts() ?? Promise.resolve([]);
  }

  sendPacket(actions: readonly Action[], data: Uint8Array, inPort?: number): void {
    this.session?.sendPacket(actions, data, inPort);
  }

  /** An error that belongs to no request, e.g. about a packet-out. */
  reportError(error: string): void {
    this.lastError = error;
  }

  // --- comparing ----------------------------------------------------------------------------------------------------

  private async synchronise(link: Link): Promise<void> {
    const { metrics, clock } = this.options;
    this.held = "dump"; // while it waits, changes need no note
    if (this.state !== "held") this.state = "syncing";
    const started = clock.monotonic();
    const ticket = await this.gate.enter(() => this.link === link);
    if (ticket === undefined) return;
    let again = false;
    try {
      this.busy = true;
      const found = await this.compareAll(link);
      if ((this.state as SwitchState) === "held") this.busy = false;
      again = found !== undefined && (this.held as string) === "overrun";
      if (found === undefined || again) return;
      await this.whenDelivered();
      ticket.end();
      if (this.link !== link) return;
      this.busy = false;
      await this.whenIdle();
      if (this.link !== link) return;
      const { desired, missing, changed, foreign, found: dumped } = found;
      const counts = { desired, found: dumped, missing, changed, foreign };
      const seconds = (clock.monotonic() - started) / 1000;
      metrics.syncSeconds.observe(seconds);
      this.log.info({ ...counts, ms: Math.round(seconds * 1000) }, "switch in order");
    } catch (error) {
      this.abort(link, error, "switch could not be compared");
    } finally {
      ticket.end();
      if (again && this.link === link) void this.synchronise(link);
    }
  }

  /** What it finds becomes pending, unless there was an overrun. undefined: the session ended meanwhile, or the switch is held. Dump and maps end with it. */
  private async compareAll(link: Link): Promise<Found | undefined> {
    const { desired, clock, dumps, shadow } = this.options;
    const { session } = link;
    return withInstalled(session, desired.flowsOf(this.chassis), clock, roomOf(session, dumps), (installed) => this.compareInstalled(link, installed), !shadow);
  }

  private async compareInstalled(link: Link, { flows, items }: Installed): Promise<Found | undefined> {
    const { desired } = this.options;
    const current = (): boolean => this.link === link;
    const reason = await this.options.judge(flows, current);
    if (!current() || this.keeps(reason)) return undefined;
    this.held = "comparison";
    this.forgetPending();
    this.generation = desired.generation;
    this.items.compare(items, desired.itemsOf(this.chassis));
    const changedSince = (this.changedSince = new Set<string>());
    const found = await this.relayout(flows, current);
    if (found === undefined) return undefined;
    const { relayout } = found;
    const comparison = await this.compare(link, flows, items, relayout);
    if (comparison === undefined) return undefined;
    if ((this.held as string) === "overrun") return { desired: comparison.desired, found: comparison.dumped, missing: 0, changed: 0, foreign: 0, tables: new Map(), flows: [], drops: new Map() };
    this.held = undefined;
    return this.takeOver(comparison, changedSince, relayout);
  }

  /** What it has of an earlier layout; undefined: `current` became false. */
  private async relayout(flows: readonly Buffer[], current: () => boolean): Promise<{ readonly relayout: Relayout | undefined } | undefined> {
    const { effects, desired, clock } = this.options;
    const steps = effects?.relayout?.(flows, desired.flowsOf(this.chassis));
    if (steps === undefined) return { relayout: undefined };
    const yieldTurn = turns(clock, current);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return { relayout: step.value };
      if (!(await yieldTurn())) return undefined;
    }
  }

  /** Whether it is held from now on, because of `text`. */
  private keeps(text: string | undefined): boolean {
    if (text === undefined) {
      if (this.hold !== undefined) this.log.warn("switch is not held any more; it is brought in order");
      this.hold = undefined;
      this.state = "syncing";
      return false;
    }
    if (this.hold === undefined && !this.options.shadow) this.log.error({ reason: text }, "switch is held: it keeps what it has and gets nothing, until the store knows what it was told, nothing of it would go, or it is accepted (axion store accept)");
    this.hold = { text, since: this.hold?.since ?? this.now() };
    this.state = "held";
    for (const resolve of [...this.idle.splice(0), ...this.delivered.splice(0)]) resolve();
    return true;
  }

  private async runAudit(): Promise<AuditResult> {
    const { metrics } = this.options;
    const link = this.link!;
    const ticket = await this.gate.slot(() => this.link === link);
    if (ticket === undefined) return NOTHING;
    try {
      const found = this.held === undefined ? await this.compareBeside(link) : undefined;
      if (found === undefined) return NOTHING;
      const { missing, changed, foreign, tables, flows } = found;
      const result = { missing, changed, foreign };
      this.noteAudit(result, tables, flows);
      const drops = new Map(found.drops);
      for (const [table, packets] of await link.session.missed()) drops.set(table, (drops.get(table) ?? 0) + packets);
      this.drops = drops;
      for (const [kind, n] of Object.entries(result)) if (n > 0) metrics.repaired.inc({ ...this.metricLabels, kind }, n);
      if (missing + changed + foreign > 0) {
        this.log.warn({ ...result, tables: Object.fromEntries(tables) }, "switch was changed by somebody else; it is repaired");
        await this.whenDelivered();
      }
      metrics.audits.inc(this.metricLabels);
      return result;
    } finally {
      ticket.end();
      this.schedule(); // an overrun waited for the audit's end
    }
  }

  private noteAudit(result: AuditResult, tables: Found["tables"], flows: readonly Flow[]): void {
    const now = (this.lastAudit = this.now());
    const before = this.repaired;
    if (result.missing + result.changed + result.foreign > 0) this.repaired = { ...result, at: now, since: before?.standing === true ? before.since : now, standing: true, tables, flows };
    else if (before?.standing === true) this.repaired = { ...before, standing: false };
  }

  /** Compares while changes go on. undefined: it came to nothing. */
  private async compareBeside(link: Link): Promise<Found | undefined> {
    const { desired, clock, dumps } = this.options;
    const changedSince = (this.changedSince = new Set([...this.pending.keys(), ...(this.inflight?.entries.keys() ?? [])]));
    const { revision } = this.items;
    try {
      const { session } = link;
      return await withInstalled(session, desired.flowsOf(this.chassis), clock, roomOf(session, dumps), async ({ flows, items }) => {
        if (this.link !== link || this.held !== undefined) return undefined;
        const comparison = await this.compare(link, flows, items);
        if (comparison === undefined || this.held !== undefined) return undefined;
        if (this.items.revision === revision && this.inflight === undefined) this.items.compare(items, desired.itemsOf(this.chassis));
        return this.takeOver(comparison, changedSince);
      });
    } finally {
      if (this.changedSince === changedSince) this.changedSince = undefined;
    }
  }

  /** undefined: the session ended meanwhile. */
  private compare(link: Link, parts: readonly Buffer[], items: readonly InstalledItem[], relayout?: Relayout): Promise<Comparison | undefined> {
    const { desired, sameInstructions, clock } = this.options;
    // What was learned under an earlier layout says things in its registers.
    return compareDump(desired.flowsOf(this.chassis), parts, sameInstructions, relayout === undefined ? desired.learnedTables : new Set(), () => this.link === link, clock, lostMeters(items, desired.itemsOf(this.chassis)));
  }

  /** What the comparison found becomes pending, except what changed while it ran. */
  private takeOver(comparison: Comparison, changedSince: ReadonlySet<string>, relayout?: Relayout): Found {
    this.changedSince = undefined;
    const { missing, changed, foreign } = comparison.finish(changedSince.size + this.quarantine.size === 0 ? undefined : (key) => changedSince.has(key) || this.quarantine.has(key));
    for (const flow of missing) this.pending.set(flow.key, { flow, add: true, replaces: false });
    // Where the layout is another, what is replaced is not what the key says.
    for (const flow of changed) this.pending.set(flow.key, { flow, add: true, replaces: relayout === undefined });
    const gone = relayout === undefined ? this.foreign : this.stale;
    for (const message of foreign) gone.push(message);
    for (const { flow, wanted } of relayout?.withdrawn ?? []) {
      if (changedSince.has(flow.key)) continue; // it is pending in its newest form
      if (wanted === undefined) this.foreign.push(deleteFlow(flow));
      else this.pending.set(wanted.key, { flow: wanted, add: true, replaces: true });
    }
    const tables = new Map<number, number>();
    const count = (table: number): unknown => tables.set(table, (tables.get(table) ?? 0) + 1);
    for (const { table } of missing) count(table);
    for (const { table } of changed) count(table);
    for (const message of foreign) count(tableOf(message));
    return { drops: comparison.drops, desired: comparison.desired, found: comparison.dumped, missing: missing.length, changed: changed.length, foreign: foreign.length, tables, flows: [...changed, ...missing].slice(0, REPAIRS_KEPT) };
  }

  // --- sending ------------------------------------------------------------------------------------------------------

  private want(flow: Flow, add: boolean, changed: boolean): void {
    const { key } = flow;
    const refused = this.quarantine.delete(key);
    this.changedSince?.add(key);
    const before = this.pending.get(key);
    const replaces = this.inflight?.entries.get(key)?.add === true || (before === undefined ? changed && !refused : before.replaces);
    this.pending.set(key, { flow, add, replaces });
  }

  private forgetPending(): void {
    this.pending = new Map();
    this.foreign = [];
    this.stale = [];
    this.items.forget();
  }

  /** Sends soon: what else this turn of the event loop brings goes along. */
  private schedule(): void {
    if (this.scheduled || this.session === undefined) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      const { link } = this;
      try {
        this.pump();
      } catch (error) {
        // What cannot be made into messages must not end the process.
        if (link !== undefined) this.abort(link, error, "changes could not be sent");
      }
    });
  }

  private pump(): void {
    const { link } = this;
    if (link === undefined || this.inflight !== undefined) return;
    if (this.held !== undefined) {
      // An overrun while comparing is seen there.
      if (this.held === "overrun" && this.changedSince === undefined) void this.synchronise(link);
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
      stale: this.stale,
      items: this.items.take(),
      zones: this.zones,
    };
    this.inflight = batch;
    this.zones = new Set();
    this.forgetPending();
    this.options.onSent?.(batch.generation);
    this.deliver(link, batch).then(
      () => {
        if (this.link !== link) return;
        this.inflight = undefined;
        for (const resolve of this.delivered.splice(0)) resolve();
        if (this.held === undefined) this.confirmedGeneration = Math.max(this.confirmedGeneration, batch.generation);
        this.told = Math.max(this.told, batch.generation);
        this.lastSync = this.now();
        if (!this.inSync) this.options.onConfirmed(this.chassis);
        this.pump();
      },
      (error: unknown) => {
        for (const zone of batch.zones) this.zones.add(zone);
        if (this.link === link) this.abort(link, error, "switch did not take its changes");
      },
    );
  }

  private synchronised(): void {
    this.confirmedGeneration = this.confirmed;
    if (this.state === "syncing") {
      this.state = "connected";
      this.lastSync = this.now();
    }
    for (const resolve of [...this.idle.splice(0), ...this.delivered.splice(0)]) resolve();
    this.options.onConfirmed(this.chassis);
  }

  /** The switch comes back by itself, and is compared after a pause that grows with each failure. */
  private abort(link: Link, error: unknown, message: string): void {
    if (this.link !== link) return;
    if (isSecondary(error) && this.options.deposed?.() === true) return;
    const retryMs = this.gate.failed();
    this.lastError = error instanceof Error ? error.message : String(error);
    this.log.error({ err: error, retry_ms: retryMs }, message);
    link.session.close();
  }

  private async deliver(link: Link, batch: Batch): Promise<void> {
    const { session } = link;
    // A switch works off what it gets in order, so no barrier is needed between these and the bundle.
    for (const zone of batch.zones) session.flushZone(zone);
    this.items.sendSet(session, batch.items);
    const { before, after } = batch.items;
    const flows = batch.entries.size > 0 || batch.foreign.length > 0 || batch.stale.length > 0 || before.length + after.length > 0;
    if (flows) {
      const { chassis, metrics, effects, clock, counting } = this.options;
      const current = (): boolean => this.link === link;
      const delivery = new Delivery(session, {
        chassis, metrics, log: this.log, clock, current, refused: (flow, error) => this.refused(flow, error),
        ending: this.ending(batch.entries), ended: (flow, counts) => counting?.ended(chassis, flow, counts),
      });
      const withdrawal = await planWithdrawal(effects, chassis, { foreign: batch.foreign, entries: batch.entries.values() }, turns(clock, current));
      if (withdrawal === undefined) return; // with its session
      const { first, flushes, second } = withdrawal;
      await delivery.send([...batch.stale, ...first.foreign], first.entries, { before, after: second.entries.length + second.foreign.length > 0 ? [] : after });
      if (!current()) return;
      if (second.entries.length + second.foreign.length > 0) {
        for (const message of flushes) session.flush(message);
        await delivery.send(second.foreign, second.entries, { before: [], after });
        if (!current()) return;
      }
      if (effects !== undefined) {
        const { came, went } = arrivals(effects, { entries: batch.entries.values(), foreign: batch.foreign }, this.quarantine);
        if (came.length + went.length > 0) this.options.arrived(came, went);
      }
    }
    this.items.sendRemove(session, batch.items);
    if (!flows || batch.items.remove.length > 0) await session.barrier();
  }

  /** By key, flows that go and are counted. */
  private ending(entries: Batch["entries"]): Map<string, Flow> {
    const ending = new Map<string, Flow>();
    const { counting } = this.options;
    if (counting === undefined) return ending;
    for (const { flow, add } of entries.values()) {
      if (ending.size >= LAST_COUNTS) break;
      if (!add && counting.isCounted(flow)) ending.set(flow.key, flow);
    }
    return ending;
  }

  private refused(flow: Flow, error: string): void {
    if (this.quarantine.size === 0) this.refusedSince = this.now();
    if (!this.pending.has(flow.key)) this.quarantine.set(flow.key, { flow, error });
    this.lastError = `flow of table ${flow.table} refused: ${error}`;
    if (this.quarantine.size <= REFUSALS_LOGGED) this.log.error({ error, table: flow.table, priority: flow.priority, cookie: cookieText(flow) }, "switch refused a flow; it is set aside");
  }
}

export const cookieText = (flow: Flow): string => `0x${((BigInt(flow.cookieHi) << 32n) | BigInt(flow.cookieLo)).toString(16)}`;
