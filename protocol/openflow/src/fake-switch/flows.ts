// The flow tables of the fake switch: what flow-mods do to them as Open vSwitch 3.1 does it, which flow a packet hits, which
// flows are over. A flow is known by its table, its priority and the canonical bytes of its match. Every change is made in a
// transaction that can take it back, so a bundle is all or nothing.
//
// Over 400 lines: one table of flows with every command that changes or reads it.

import type { Action } from "../actions/codec.ts";
import { refusal } from "../wire/errors.ts";
import { ALL_TABLES, fields, NO_BUFFER, ports, type FieldName } from "../match/fields.ts";
import { flowModCommands, flowModFlags, type FlowModCommand } from "../messages/flow-mod.ts";
import { encodeInstructions, type Instruction } from "../messages/instructions.ts";
import { isPort } from "../match/check.ts";
import { decodeMatch, encodeMatch, parts, type Match } from "../match/match.ts";

/** Changes that are taken back when a later one is refused, and what to tell others once they hold. */
export class Transaction {
  private readonly undos: (() => void)[] = [];
  private readonly afters: (() => void)[] = [];

  undo(fn: () => void): void {
    this.undos.push(fn);
  }

  /** Runs when all of the transaction has been accepted. */
  after(fn: () => void): void {
    this.afters.push(fn);
  }

  rollback(): void {
    for (let fn = this.undos.pop(); fn !== undefined; fn = this.undos.pop()) fn();
  }

  finish(): void {
    for (const fn of this.afters) fn();
  }
}

/** A flow as the switch holds it. */
export interface FakeFlow {
  readonly table_id: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly idle_timeout: number;
  readonly hard_timeout: number;
  /** As of the flow-mod that added it. */
  readonly flags: number;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
  readonly packet_count: bigint;
  readonly byte_count: bigint;
  /** Milliseconds of the switch's clock. */
  readonly created: number;
  readonly used: number;
}

export interface Term {
  readonly name: FieldName;
  readonly value: bigint;
  readonly mask: bigint;
}

/** A flow with all that is derived from it. */
export interface FlowEntry extends FakeFlow {
  cookie: bigint;
  created: number;
  modified: number;
  used: number;
  packet_count: bigint;
  byte_count: bigint;
  readonly key: string;
  readonly terms: readonly Term[];
  readonly matchBytes: Buffer;
  readonly instructionBytes: Buffer;
  readonly uses: Uses;
}

/** What actions refer to. */
export interface Uses {
  readonly outPorts: ReadonlySet<number>;
  readonly groups: ReadonlySet<number>;
  readonly meters: ReadonlySet<number>;
}

export type RemovedReason = "idle_timeout" | "hard_timeout" | "delete" | "group_delete" | "meter_delete";

/** Which flows a request means. */
export interface FlowFilter {
  readonly table_id?: number;
  readonly out_port?: number;
  readonly out_group?: number;
  readonly cookie?: bigint;
  readonly cookie_mask?: bigint;
  readonly match: Match;
}

export interface FlowRequest extends FlowFilter {
  readonly command: FlowModCommand | number;
  readonly priority?: number;
  readonly idle_timeout?: number;
  readonly hard_timeout?: number;
  readonly buffer_id?: number;
  readonly flags?: number;
  readonly instructions?: readonly Instruction[];
}

/** What flows may refer to. */
export interface Referable {
  hasGroup(id: number): boolean;
  hasMeter(id: number): boolean;
}

interface Table {
  readonly flows: Map<string, FlowEntry>;
  /** Flows by the shape of their match, for lookups; rebuilt after a change. */
  index: Shape[] | undefined;
  lookups: bigint;
  matched: bigint;
}

interface Shape {
  readonly masks: readonly (readonly [FieldName, bigint])[];
  readonly byValue: Map<string, FlowEntry>;
  best: number;
}

const scratch = Buffer.alloc(4 * 65536);
const ALL_ONES = 0xffffffffffffffffn;
const KNOWN_FLAGS = 31;

/** The match in its canonical form: bytes, fields, numbers. */
export function canonical(match: Match): { bytes: Buffer; match: Match; terms: Term[] } {
  const bytes = Buffer.from(scratch.subarray(0, encodeMatch(scratch, 0, match)));
  const clean = decodeMatch(bytes, 0);
  const terms = Object.entries(clean).map(([name, value]) => ({ name: name as FieldName, ...parts(fields[name as FieldName], value) }));
  return { bytes, match: clean, terms };
}

/** All ports, groups and meters in actions at any depth. */
export function usesOf(instructions: readonly Instruction[]): Uses {
  const outPorts = new Set<number>();
  const groups = new Set<number>();
  const meters = new Set<number>();
  const walk = (actions: readonly Action[]): void => {
    for (const action of actions) {
      if (action.type === "output") outPorts.add(action.port);
      else if (action.type === "controller") outPorts.add(ports.CONTROLLER);
      else if (action.type === "group") groups.add(action.group_id);
      else if (action.type === "clone") walk(action.actions);
      else if (action.type === "ct" && action.exec !== undefined) walk(action.exec);
    }
  };
  for (const instruction of instructions) {
    if (instruction.type === "apply_actions" || instruction.type === "write_actions") walk(instruction.actions);
    else if (instruction.type === "meter") meters.add(instruction.meter_id);
  }
  return { outPorts, groups, meters };
}

export class FlowTables {
  /** One more than the highest table that controllers may use; the table after it belongs to the switch itself. */
  readonly count: number;
  readonly maxFlows: number;
  private readonly tables: Table[];
  private readonly now: () => number;
  private readonly referable: Referable;
  private readonly onRemoved: (flow: FlowEntry, reason: RemovedReason) => void;

  constructor(count: number, maxFlows: number, now: () => number, referable: Referable, onRemoved: (flow: FlowEntry, reason: RemovedReason) => void) {
    this.count = count;
    this.maxFlows = maxFlows;
    this.tables = Array.from({ length: count }, () => ({ flows: new Map<string, FlowEntry>(), index: undefined, lookups: 0n, matched: 0n }));
    this.now = now;
    this.referable = referable;
    this.onRemoved = onRemoved;
  }

  /** Every flow, table by table, in the order in which they were added. */
  *all(): Generator<FlowEntry> {
    for (const table of this.tables) yield* table.flows.values();
  }

  statistics(): { table_id: number; active_count: number; lookup_count: bigint; matched_count: bigint }[] {
    return this.tables.map((table, table_id) => ({ table_id, active_count: table.flows.size, lookup_count: table.lookups, matched_count: table.matched }));
  }

  // --- flow-mods ---

  /** Judges a flow-mod as far as that is possible without looking at the tables. @throws OpenFlowError a refusal */
  check(fm: FlowRequest): void {
    const command = typeof fm.command === "number" ? fm.command : flowModCommands[fm.command];
    const deletes = command === flowModCommands.delete || command === flowModCommands.delete_strict;
    const tableId = fm.table_id ?? (deletes ? ALL_TABLES : 0);
    if (tableId === ALL_TABLES && !deletes) throw refusal("OFPFMFC_BAD_TABLE_ID", 24, "only deletes take all tables");
    const outPort = fm.out_port ?? ports.ANY;
    if (!isPort(outPort)) throw refusal("OFPBAC_BAD_OUT_PORT", 36, `no port ${outPort}`);
    if (command > flowModCommands.delete_strict) throw refusal("OFPFMFC_BAD_COMMAND", 25, `no flow-mod command ${command}`);
    if (((fm.flags ?? 0) & ~KNOWN_FLAGS) !== 0) throw refusal("OFPFMFC_BAD_FLAGS", 44, `flags 0x${(fm.flags ?? 0).toString(16)}`);
    for (const instruction of fm.instructions ?? []) {
      if (instruction.type === "goto_table" && instruction.table_id > this.count) throw refusal("OFPBIC_BAD_TABLE_ID", 0, `goto_table ${instruction.table_id}: there is no such table`);
    }
    if (deletes) return;
    if (tableId > this.count) throw refusal("OFPBRC_BAD_TABLE_ID", 24, `no table ${tableId}`);
    if (tableId === this.count) throw refusal("OFPBRC_EPERM", 24, `table ${tableId} is the switch's own`);
    if (fm.match.dp_hash !== undefined || Number(fm.match.recirc_id ?? 0) !== 0) throw refusal("OFPBRC_EPERM", 48, "recirculation is the switch's own");
    if ((fm.buffer_id ?? NO_BUFFER) !== NO_BUFFER) throw refusal("OFPBRC_BUFFER_UNKNOWN", 32, "there are no buffers");
  }

  /** Carries out a flow-mod that check() has passed. @throws OpenFlowError a refusal; what was done until then is in the transaction */
  apply(fm: FlowRequest, tx: Transaction): void {
    switch (typeof fm.command === "number" ? fm.command : flowModCommands[fm.command]) {
      case flowModCommands.add:
        this.add(fm, tx);
        return;
      case flowModCommands.modify:
        this.modify(fm, this.select({ ...fm, out_port: ports.ANY, out_group: ports.ANY }), tx);
        return;
      case flowModCommands.modify_strict:
        this.modify(fm, this.strictly({ ...fm, out_port: ports.ANY, out_group: ports.ANY }), tx);
        return;
      case flowModCommands.delete:
        this.removeAll(this.select(fm), "delete", tx);
        return;
      default:
        this.removeAll(this.strictly(fm), "delete", tx);
    }
  }

  private add(fm: FlowRequest, tx: Transaction): void {
    const now = this.now();
    const entry = this.entry(fm, fm.table_id ?? 0, now);
    this.checkUses(entry.uses);
    const table = this.tables[entry.table_id]!;
    const old = table.flows.get(entry.key);
    if (old === undefined) {
      if (((fm.flags ?? 0) & flowModFlags.CHECK_OVERLAP) !== 0 && overlaps(table, entry)) throw refusal("OFPFMFC_OVERLAP", 0, "another flow of this priority takes some of the packets");
      if (table.flows.size >= this.maxFlows) throw refusal("OFPFMFC_TABLE_FULL", 0, `table ${entry.table_id} has ${this.maxFlows} flows`);
    } else {
      // A cookie of all ones means "leave it" to Open vSwitch.
      if (entry.cookie === ALL_ONES) entry.cookie = old.cookie;
      keepCounts(fm, old, entry);
    }
    this.put(entry, tx);
  }

  private modify(fm: FlowRequest, found: readonly FlowEntry[], tx: Transaction): void {
    if (found.length === 0) return;
    const instructions = instructionsOf(fm);
    const uses = usesOf(instructions.list);
    this.checkUses(uses);
    const now = this.now();
    for (const old of found) {
      const entry: FlowEntry = { ...old, instructions: instructions.list, instructionBytes: instructions.bytes, uses, modified: now, packet_count: 0n, byte_count: 0n };
      keepCounts(fm, old, entry);
      this.put(entry, tx);
    }
  }

  /** Takes these flows out. */
  removeAll(flows: readonly FlowEntry[], reason: RemovedReason, tx: Transaction): void {
    for (const flow of flows) {
      const table = this.tables[flow.table_id]!;
      table.flows.delete(flow.key);
      table.index = undefined;
      tx.undo(() => {
        table.flows.set(flow.key, flow);
        table.index = undefined;
      });
      tx.after(() => this.onRemoved(flow, reason));
    }
  }

  private put(entry: FlowEntry, tx: Transaction): void {
    const table = this.tables[entry.table_id]!;
    const old = table.flows.get(entry.key);
    table.flows.set(entry.key, entry);
    table.index = undefined;
    tx.undo(() => {
      if (old === undefined) table.flows.delete(entry.key);
      else table.flows.set(entry.key, old);
      table.index = undefined;
    });
  }

  private entry(fm: FlowRequest, tableId: number, now: number): FlowEntry {
    const { bytes, match, terms } = canonical(fm.match);
    const instructions = instructionsOf(fm);
    const priority = fm.priority ?? 0x8000;
    return {
      table_id: tableId, priority, cookie: fm.cookie ?? 0n, idle_timeout: fm.idle_timeout ?? 0, hard_timeout: fm.hard_timeout ?? 0,
      flags: fm.flags ?? 0, match, instructions: instructions.list, packet_count: 0n, byte_count: 0n, created: now, modified: now, used: now,
      key: keyOf(priority, bytes), terms, matchBytes: bytes, instructionBytes: instructions.bytes, uses: usesOf(instructions.list),
    };
  }

  private checkUses(uses: Uses): void {
    for (const id of uses.meters) if (!this.referable.hasMeter(id)) throw refusal("OFPMMFC_INVALID_METER", 0, `no meter ${id}`);
    for (const id of uses.groups) if (!this.referable.hasGroup(id)) throw refusal("OFPBAC_BAD_OUT_GROUP", 0, `no group ${id}`);
  }

  // --- which flows ---

  /** The flows that match at least as much as the filter's match. @throws OpenFlowError a refusal */
  select(filter: FlowFilter): FlowEntry[] {
    const { terms } = canonical(filter.match);
    const found: FlowEntry[] = [];
    for (const table of this.tablesOf(filter.table_id ?? ALL_TABLES)) {
      for (const flow of table.flows.values()) if (passes(flow, filter) && within(flow, terms)) found.push(flow);
    }
    return found;
  }

  private strictly(fm: FlowRequest): FlowEntry[] {
    const key = keyOf(fm.priority ?? 0x8000, canonical(fm.match).bytes);
    const found: FlowEntry[] = [];
    for (const table of this.tablesOf(fm.table_id ?? ALL_TABLES)) {
      const flow = table.flows.get(key);
      if (flow !== undefined && passes(flow, fm)) found.push(flow);
    }
    return found;
  }

  private tablesOf(tableId: number): readonly Table[] {
    if (tableId === ALL_TABLES) return this.tables;
    if (tableId > this.count) throw refusal("OFPBRC_BAD_TABLE_ID", 0, `no table ${tableId}`);
    return tableId === this.count ? [] : [this.tables[tableId]!];
  }

  /** The flows that refer to this group or meter. */
  using(kind: "groups" | "meters", id: number): FlowEntry[] {
    return [...this.all()].filter((flow) => flow.uses[kind].has(id));
  }

  // --- packets and time ---

  /** The flow of a table that a packet with these field values hits; fields that are not given count as zero. */
  lookup(tableId: number, packet: Match): FlowEntry | undefined {
    const table = this.tables[tableId];
    if (table === undefined) return undefined;
    const values = new Map(canonical(packet).terms.map((term) => [term.name, term.value]));
    let best: FlowEntry | undefined;
    for (const shape of (table.index ??= indexOf(table))) {
      if (best !== undefined && shape.best <= best.priority) break;
      const found = shape.byValue.get(shape.masks.map(([name, mask]) => ((values.get(name) ?? 0n) & mask).toString(36)).join());
      if (found !== undefined && (best === undefined || found.priority > best.priority)) best = found;
    }
    table.lookups++;
    if (best !== undefined) table.matched++;
    return best;
  }

  /** Counts packets that hit a flow, which is no longer idle then. */
  hit(flow: FakeFlow, packets: bigint, bytes: bigint): void {
    const entry = flow as FlowEntry;
    if ((entry.flags & flowModFlags.NO_PKT_COUNTS) === 0) entry.packet_count += packets;
    if ((entry.flags & flowModFlags.NO_BYT_COUNTS) === 0) entry.byte_count += bytes;
    entry.used = this.now();
  }

  /** Removes flows whose time is over. */
  expire(): void {
    const now = this.now();
    const tx = new Transaction();
    for (const flow of [...this.all()]) {
      if (flow.hard_timeout > 0 && now >= flow.modified + flow.hard_timeout * 1000) this.removeAll([flow], "hard_timeout", tx);
      else if (flow.idle_timeout > 0 && now >= flow.used + flow.idle_timeout * 1000) this.removeAll([flow], "idle_timeout", tx);
    }
    tx.finish();
  }
}

function keyOf(priority: number, match: Buffer): string {
  return `${priority}/${match.toString("latin1")}`;
}

function instructionsOf(fm: FlowRequest): { list: readonly Instruction[]; bytes: Buffer } {
  const list = fm.instructions ?? [];
  return { list, bytes: Buffer.from(scratch.subarray(0, encodeInstructions(scratch, 0, list))) };
}

function keepCounts(fm: FlowRequest, old: FlowEntry, entry: FlowEntry): void {
  if (((fm.flags ?? 0) & flowModFlags.RESET_COUNTS) !== 0) return;
  entry.packet_count = old.packet_count;
  entry.byte_count = old.byte_count;
}

function passes(flow: FlowEntry, filter: FlowFilter): boolean {
  const mask = filter.cookie_mask ?? 0n;
  return ((flow.cookie ^ (filter.cookie ?? 0n)) & mask) === 0n
    && ((filter.out_port ?? ports.ANY) === ports.ANY || flow.uses.outPorts.has(filter.out_port!))
    && ((filter.out_group ?? ports.ANY) === ports.ANY || flow.uses.groups.has(filter.out_group!));
}

/** Whether the flow asks for all that these terms ask for. */
function within(flow: FlowEntry, terms: readonly Term[]): boolean {
  return terms.every((term) => {
    const own = flow.terms.find((t) => t.name === term.name);
    return own !== undefined && (own.mask & term.mask) === term.mask && ((own.value ^ term.value) & term.mask) === 0n;
  });
}

/** Whether some packet could hit this flow and another of its priority. */
function overlaps(table: Table, entry: FlowEntry): boolean {
  for (const other of table.flows.values()) {
    if (other.priority !== entry.priority) continue;
    const apart = other.terms.some((term) => {
      const own = entry.terms.find((t) => t.name === term.name);
      return own !== undefined && ((own.value ^ term.value) & own.mask & term.mask) !== 0n;
    });
    if (!apart) return true;
  }
  return false;
}

/** Flows with the same masks form a hash table; of two that match the same, the one of higher priority counts. */
function indexOf(table: Table): Shape[] {
  const shapes = new Map<string, Shape>();
  for (const flow of table.flows.values()) {
    const name = flow.terms.map((term) => `${term.name}/${term.mask.toString(36)}`).join();
    let shape = shapes.get(name);
    if (shape === undefined) shapes.set(name, (shape = { masks: flow.terms.map((term) => [term.name, term.mask] as const), byValue: new Map(), best: -1 }));
    const key = flow.terms.map((term) => term.value.toString(36)).join();
    const other = shape.byValue.get(key);
    if (other === undefined || other.priority < flow.priority) shape.byValue.set(key, flow);
    shape.best = Math.max(shape.best, flow.priority);
  }
  return [...shapes.values()].sort((a, b) => b.best - a.best);
}
