// How a set of flow changes reaches a switch: in one atomic bundle. What the switch refuses is left out and the whole is tried
// again, so that in the end one bundle brings all that it accepts: a bundle with a refusal in it changes nothing. Only where a
// switch does not take that many messages at once, or refuses without saying what, are there pieces; then what is new comes
// first, later tables before earlier ones, and removals last: for a moment there is too much, but never too little.
import { decodeMatch, eachFlowStats, encodeFlowMod, FLOW_MOD_MATCH_OFFSET, flowKey, OpenFlowError, type Slice } from "node-openflow";
import type { Logger } from "pino";
import type { Flow } from "../../compiler/desired.ts";
import type { Clock } from "../../lib/clock.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { Session } from "./channel.ts";
import { IS_SECONDARY } from "./session.ts";
import { deleteFlow, flowMeaning } from "./comparison.ts";
import { FLOWS_A_TURN, turns, type YieldTurn } from "./turns.ts";

export interface Entry {
  readonly flow: Flow;
  /** False: it is removed. */
  readonly add: boolean;
  /** The switch has a flow with its key, as far as is known. */
  readonly replaces: boolean;
}

export interface DeliveryOptions {
  readonly chassis: string;
  readonly metrics: SouthboundMetrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** False: the session has been given up meanwhile. */
  readonly current: () => boolean;
  /** The switch does not take this flow. */
  readonly refused: (flow: Flow, error: string) => void;
  /** By key, flows that go of which somebody wants to know what they had counted; each is taken out when it has gone. */
  readonly ending?: Map<string, Flow>;
  /** What one had counted when it went. Not called where the switch does not say. */
  readonly ended?: (flow: Flow, counts: LastCounts) => void;
}

/** Of a flow, as its switch had it right before it was taken off; bytes with Ethernet headers. */
export interface LastCounts {
  readonly packets: number;
  readonly bytes: number;
}

/** One message. */
interface Item {
  readonly message: Slice;
  readonly table: number;
  /** undefined: it removes what is foreign, or is about a group. */
  readonly entry: Entry | undefined;
}

/** Messages about groups: those set before the flows, those removed after them. */
export interface GroupMessages {
  readonly before: readonly Buffer[];
  readonly after: readonly Buffer[];
}

/** Times that a whole bundle is tried. All that is refused when it is added is known after one; what lacks room, after one for each table. */
const WHOLE = 32;
/** Of these, before the flows that only a commit refuses, which come one at a time, are looked for in probes. */
const BEFORE_PROBES = 4;
const PROBES = 4096;
const PIECE = 512;
/** Groups and removals that are refused, of one delivery, which are logged one by one. */
const OTHERS_LOGGED = 10;
/** Refusals in all pieces after which a piece that is refused is set aside as a whole. */
const REFUSALS_PIECES = 2048;

const whole = (buf: Buffer): Slice => ({ buf, off: 0, len: buf.length });
const never = (command: "add" | "delete_strict"): Buffer => {
  const buf = Buffer.alloc(256);
  const group = { type: "apply_actions", actions: [{ type: "group", group_id: 0xffff_fe00 }] } as const;
  return buf.subarray(0, encodeFlowMod(buf, 0, { command, table_id: 253, priority: 0, match: {}, instructions: command === "add" ? [group] : [] }));
};
/** A flow that no commit accepts, in a table that nothing leads to, and what would remove it. */
const NEVER: Item = { message: whole(never("add")), table: 253, entry: undefined };
const NEVER_REMOVED = never("delete_strict");

export class Delivery {
  private readonly session: Session;
  private readonly options: DeliveryOptions;
  private readonly metricLabels: { readonly switch: string };
  private readonly yieldTurn: YieldTurn;
  /** Of what is sent now: groups and removals that were refused. */
  private refusedOthers = 0;

  constructor(session: Session, options: DeliveryOptions) {
    this.session = session;
    this.options = options;
    this.yieldTurn = turns(options.clock, options.current);
    this.metricLabels = { switch: options.chassis };
  }

  /** `foreign`: messages that remove what is not ours. @throws when it is not known what the switch has now */
  async send(foreign: readonly Buffer[], changes: Iterable<Entry>, groups: GroupMessages = { before: [], after: [] }): Promise<void> {
    this.refusedOthers = 0;
    try {
      await this.sendAll(foreign, changes, groups);
    } finally {
      const left = this.refusedOthers - OTHERS_LOGGED;
      if (left > 0) this.options.log.error({ refused: this.refusedOthers, left_out: left }, "switch refused to remove flows, or refused groups: lines were left out");
    }
  }

  private async sendAll(foreign: readonly Buffer[], changes: Iterable<Entry>, groups: GroupMessages): Promise<void> {
    const ahead = groups.before.map(aboutGroup);
    const behind = groups.after.map(aboutGroup);
    const removals: Item[] = [];
    const adds: Item[] = [];
    let n = 0;
    for (const message of foreign) {
      if (++n % FLOWS_A_TURN === 0) await this.yieldTurn();
      removals.push(foreignRemoval(message));
    }
    for (const entry of changes) {
      if (++n % FLOWS_A_TURN === 0) await this.yieldTurn();
      if (entry.add) adds.push({ message: { buf: entry.flow.slab, off: entry.flow.off, len: entry.flow.len }, table: entry.flow.table, entry });
      else removals.push(removal(entry.flow));
    }
    // Within a bundle the order does not show. Removals go first, so that two spellings of one match cannot undo each other.
    // Groups come before the flows that use them, and go after those that did: a group that goes takes its flows along.
    let items = [...ahead, ...removals, ...adds, ...behind];
    for (let n = 0; n < WHOLE; n++) {
      const refusals = await this.tryBundle(items);
      if (refusals.length === 0) return;
      if (refusals.some(tooMany) || refusals.every(({ index }) => index === undefined)) break;
      const { rest, older } = this.without(items, refusals);
      items = [...rest.filter(isAhead), ...older, ...rest.filter((item) => !isAhead(item))];
      if (n === BEFORE_PROBES) items = await this.probe(items);
    }
    await this.sendPieces(items);
  }

  /**
   * Leaves out what a commit refuses. Each probe is a small bundle that ends in a flow through a group that is not there: whatever else
   * it holds, it changes nothing. What lacks room only the whole can tell.
   */
  private async probe(items: readonly Item[]): Promise<Item[]> {
    const adds = items.filter((item) => item.entry?.add === true);
    const refused = new Map<Item, OpenFlowError>();
    let probes = 0;
    for (let at = 0; at < adds.length; at += PIECE) {
      let piece = adds.slice(at, at + PIECE);
      while (probes++ < PROBES) {
        const refusals = await this.tryBundle([...piece, NEVER]);
        if (refusals.length === 0) return [foreignRemoval(NEVER_REMOVED), ...items]; // it takes what it should not: as if it had been a piece
        const culprits = new Map<Item, OpenFlowError>();
        for (const error of refusals) {
          const item = piece[error.index ?? piece.length];
          if (item !== undefined && error.errorName !== TABLE_FULL) culprits.set(item, error);
        }
        if (culprits.size === 0) break;
        for (const [item, error] of culprits) refused.set(item, error);
        piece = piece.filter((item) => !culprits.has(item));
      }
    }
    const position = new Map(items.map((item, i) => [item, i]));
    const errors = Array.from(refused, ([item, error]) => new OpenFlowError("OF_PEER_ERROR", error.message, { errorName: error.errorName ?? error.message, index: position.get(item)! }));
    const { rest, older } = this.without(items, errors);
    return [...older, ...rest];
  }

  private async sendPieces(items: readonly Item[]): Promise<void> {
    const isAdd = (item: Item): boolean => item.entry?.add === true;
    const behind = items.filter((item) => item.table === BEHIND);
    const adds = byTable(items.filter(isAdd)).reverse().flat();
    const kept = new Set(adds.map((item) => flowMeaning(item.entry!.flow)));
    const removals = items.filter((item) => !isAdd(item) && item.table < BEHIND && !isAhead(item) && (item.entry === undefined || !kept.has(flowMeaning(item.entry.flow))));
    const budget = { refusals: REFUSALS_PIECES };
    const older: Item[] = [];
    await this.sendPiece(items.filter(isAhead), budget);
    for (let at = 0; at < adds.length; at += PIECE) older.push(...(await this.sendPiece(adds.slice(at, at + PIECE), budget)));
    const last = byTable([...removals, ...older]).flat();
    for (let at = 0; at < last.length; at += PIECE) await this.sendPiece(last.slice(at, at + PIECE), budget);
    await this.sendPiece(behind, budget);
  }

  /** A bundle of few flows; halved until what is refused stands alone. Returns what removes older forms of what was refused. */
  private async sendPiece(piece: readonly Item[], budget: { refusals: number }): Promise<Item[]> {
    const removals: Item[] = [];
    let items = piece;
    while (items.length > 0) {
      const refusals = await this.tryBundle(items);
      if (refusals.length === 0) break;
      const [first] = refusals as [OpenFlowError];
      const named = refusals.some(({ index }) => index !== undefined) && !refusals.some(tooMany);
      if (!named && items.length > 1 && budget.refusals > 0) {
        budget.refusals--;
        const half = items.length >> 1;
        removals.push(...(await this.sendPiece(items.slice(0, half), budget)));
        items = items.slice(half);
        continue;
      }
      const all = !named || budget.refusals <= 0;
      budget.refusals -= refusals.length;
      const { rest, older } = this.without(items, refusals, all ? first : undefined);
      removals.push(...older);
      items = rest;
    }
    return removals;
  }

  /**
   * Sets aside what is refused, or all with the error `all`. `older` removes what the switch may have of it in an older form: it
   * goes where the rest goes, never before.
   */
  private without(items: readonly Item[], refusals: readonly OpenFlowError[], all?: OpenFlowError): { rest: Item[]; older: Item[] } {
    const errors = new Map<number, OpenFlowError>();
    for (const error of refusals) if (error.index !== undefined) errors.set(error.index, error);
    // What makes room came before: no further flow goes into a full table, but for those that take the place of another one.
    const full = new Map<number, { readonly from: number; readonly error: OpenFlowError }>();
    for (const [index, error] of errors) {
      const item = items[index];
      if (item !== undefined && error.errorName === TABLE_FULL) full.set(item.table, { from: index, error });
    }
    const older: Item[] = [];
    const rest = items.filter((item, i) => {
      const { entry, table } = item;
      const room = full.get(table);
      const lacksRoom = room !== undefined && i > room.from && entry?.add === true && !entry.replaces;
      const error = all ?? errors.get(i) ?? (lacksRoom ? room.error : undefined);
      if (error === undefined) return true;
      if (entry?.add !== true) {
        // A switch may refuse as many as it says that it has.
        if (++this.refusedOthers <= OTHERS_LOGGED) this.options.log.error({ err: error, table }, isAhead(item) || table === BEHIND ? "switch refused a group" : "switch refused to remove a flow");
        return false;
      }
      if (!lacksRoom) older.push(removal(entry.flow));
      this.options.metrics.refused.inc(this.metricLabels);
      this.options.refused(entry.flow, error.errorName ?? error.message);
      return false;
    });
    return { rest, older };
  }

  /** [] when it was committed, else what was refused; then nothing has changed. @throws what is not about one of the messages */
  private async tryBundle(items: readonly Item[]): Promise<OpenFlowError[]> {
    if (items.length === 0) return [];
    const { metrics } = this.options;
    metrics.flowMods.inc(this.metricLabels, items.length);
    metrics.bytes.inc({}, items.reduce((sum, { message }) => sum + message.len, 0));
    const refusals: OpenFlowError[] = [];
    const going = this.goingIn(items);
    const counts = new Map<Flow, LastCounts>();
    let asked: readonly Promise<void>[] = [];
    try {
      await this.session.bundle(messagesOf(items), (error) => refusals.push(error), going.length === 0 ? undefined : () => (asked = going.map((flow) => this.askCounts(flow, counts))));
      metrics.bundles.inc({ result: "committed" });
      // The answers came before the commit's; what has none by now is not waited for.
      if (asked.length > 0) await Promise.race([Promise.all(asked), new Promise((resolve) => setImmediate(resolve))]);
      this.tellEnded(going, counts);
      return [];
    } catch (error) {
      if (!(error instanceof OpenFlowError) || !this.options.current()) throw error;
      const ours = error.code === "OF_VALUE" && error.index !== undefined; // a message that no bundle can hold
      if (error.code !== "OF_PEER_ERROR" && !ours) throw error;
      // Another controller is its master: that says nothing about the flows either.
      const deposed = [error, ...refusals].find(isSecondary);
      if (deposed !== undefined) throw deposed;
      if (error.unopened) throw new OpenFlowError(error.code, `the switch opens no bundle: ${error.errorName ?? error.message}`, { cause: error });
      // A bundle that failed for another reason than a message in it (out of memory, timeout) says nothing about the flows.
      if (error.errorName?.startsWith("OFPBFC_") === true && error.errorName !== "OFPBFC_MSG_FAILED" && error.index === undefined) throw error;
      metrics.bundles.inc({ result: "refused" });
      return refusals.length > 0 ? refusals : [error];
    }
  }

  // --- what flows had in the end --------------------------------------------------------------------------------------

  /** Flows that go with these messages, or what stands in for them comes. */
  private goingIn(items: readonly Item[]): readonly Flow[] {
    const { ending } = this.options;
    if (ending === undefined || ending.size === 0) return [];
    return items.flatMap(({ entry }) => (entry === undefined ? [] : (ending.get(entry.flow.key) ?? [])));
  }

  /**
   * A switch does what it is told in order, so what it is asked right before a commit is what the flow has when it goes. (It would tell unasked, OFPT_FLOW_REMOVED, but whenever it
   * gets round to it, whoever took the flow off, and of flows alone that were made with a flag for that.)
   */
  private async askCounts(flow: Flow, counts: Map<Flow, LastCounts>): Promise<void> {
    const { key, table, cookieHi, cookieLo, slab, off } = flow;
    try {
      const parts = await this.session.flowsWith((BigInt(cookieHi) << 32n) | BigInt(cookieLo), { table, match: decodeMatch(slab, off + FLOW_MOD_MATCH_OFFSET) });
      for (const part of parts) {
        eachFlowStats(part, ({ table_id, priority, match_off, match_len, packet_count: packets, byte_count: bytes }) => {
          if (flowKey(table_id, priority, part, match_off, match_len) === key) counts.set(flow, { packets, bytes });
        });
      }
    } catch (error) {
      // A count that is not had is lost; the delivery goes on.
      if (!(error instanceof OpenFlowError)) this.options.log.error({ err: error, chassis: this.options.chassis }, "what a flow had counted in the end could not be read");
    }
  }

  private tellEnded(going: readonly Flow[], counts: ReadonlyMap<Flow, LastCounts>): void {
    for (const flow of going) {
      this.options.ending!.delete(flow.key);
      const had = counts.get(flow);
      if (had !== undefined) this.options.ended?.(flow, had);
    }
  }
}

/** One by one: a list of them would be made in one turn, for as many as a switch shows of nobody's. */
function* messagesOf(items: readonly Item[]): Generator<Slice> {
  for (const { message } of items) yield message;
}
/** Items of each table in their order, the first table first. */
function byTable(items: readonly Item[]): Item[][] {
  const tables: Item[][] = [];
  for (const item of items) (tables[item.table] ??= []).push(item);
  return tables.filter((list) => list.length > 0);
}
const removal = (flow: Flow): Item => ({ message: whole(deleteFlow(flow)), table: flow.table, entry: { flow, add: false, replaces: true } });
/** Where messages about groups stand among tables. */
const AHEAD = -1;
const BEHIND = 255;
const isAhead = (item: Item): boolean => item.table === AHEAD;
const OFPGC_DELETE = 2;
const aboutGroup = (buf: Buffer): Item => ({ message: whole(buf), table: buf.readUInt16BE(8) === OFPGC_DELETE ? BEHIND : AHEAD, entry: undefined });
const foreignRemoval = (buf: Buffer): Item => ({ message: whole(buf), table: buf[24]!, entry: undefined });
const TABLE_FULL = "OFPFMFC_TABLE_FULL";
export const isSecondary = (error: unknown): boolean => error instanceof OpenFlowError && error.errorName === IS_SECONDARY;
const tooMany = ({ errorName }: OpenFlowError): boolean => errorName === "OFPBFC_MSG_TOO_MANY";
