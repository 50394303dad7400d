// Packets between switches and apps: a packet that came up goes to the handler of its table; what handlers and services send goes out
// of a port as it is, or into a stage by actions made here; what they learned goes to the soft tables.
import type { AnySoftTable, App, Counted, Fact, LiveView, OpsCounter, Out, PacketIn, PacketInHandler, PacketOut, StageOut } from "#app";
import type { Logger } from "pino";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Facts } from "../model/facts.ts";
import type { Layout } from "../pipeline/layout.ts";
import { registerOfPacket } from "../pipeline/naming.ts";
import { lowerPacket, type LoweredOut } from "../pipeline/packet-out.ts";

/** A packet-in before anybody knows what table and registers mean. */
export interface RawPacket {
  readonly chassis: string;
  readonly inPort: number;
  readonly tableId: number;
  readonly data: Uint8Array;
  readonly match: Readonly<Record<string, unknown>>;
}

export interface PacketsOptions {
  readonly apps: readonly App[];
  readonly layout: Layout;
  readonly view: LiveView;
  readonly facts: Facts;
  readonly guard: HookGuard;
  readonly log: Logger;
  /** One more of a counter of an app. @throws Error when it lists no such counter, or the counter has no such value */
  readonly count: (app: string, counter: OpsCounter, value: string) => void;
}

export class Packets {
  private readonly options: PacketsOptions;
  /** Services that take packets of a table, by its name. */
  private readonly listeners = new Map<string, Set<(packet: PacketIn) => void>>();
  private readonly handlers: ReadonlyMap<string, { readonly app: string; readonly handler: PacketInHandler }>;

  constructor(options: PacketsOptions) {
    this.options = options;
    this.handlers = new Map(options.apps.flatMap((app) => Object.entries(app.packetIn ?? {}).map(([table, handler]) => [table, { app: app.name, handler }])));
  }

  /** Numbers of tables whose packets are heard of switches of which another controller is the master. */
  get heard(): ReadonlySet<number> {
    const { apps, layout } = this.options;
    return new Set(apps.flatMap((app) => (app.heard ?? []).map((table) => layout.table(table).id)));
  }

  /** A packet of a table that is heard, at a switch of which another controller is the master: what is learned of it is kept, what is to be sent that one sends. */
  hear(packet: RawPacket): void {
    this.handle(packet, false);
  }

  /** Gives a packet to its handler; what the handler throws costs this packet alone. `counts`: what it counts is counted here. */
  handle(packet: RawPacket, counts = true): readonly (PacketOut | LoweredOut)[] {
    const { layout, view, guard, log } = this.options;
    const table = layout.tableById(packet.tableId);
    if (table === undefined) return [];
    const found = this.handlers.get(table.name);
    const listeners = this.listeners.get(table.name);
    if (found === undefined && listeners === undefined) return [];
    const { chassis, inPort, data } = packet;
    const seen: PacketIn = { chassis, inPort, table: table.name, data, register: registersOf(layout, packet.match) };
    for (const listener of listeners ?? []) listener(seen);
    if (found === undefined) return [];
    const { app, handler } = found;
    return guard({ app, hook: "packetIn" }, { chassis, table: table.name }, () => this.take(app, handler(seen, view, log), counts), []);
  }

  /** Gives what flows of a table of the app punt to `listener` as well, which must not throw. @throws Error when the table is none of the app */
  subscribe(app: string, table: string, listener: (packet: PacketIn) => void): () => void {
    if (this.options.apps.find((a) => a.name === app)?.pipeline?.tables[table] === undefined) throw new Error(`app ${app} wants packets of table ${table}, which it does not declare`);
    const listeners = this.listeners.get(table) ?? new Set();
    this.listeners.set(table, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.listeners.delete(table);
    };
  }

  /** Packets as the southbound layer sends them. @throws Error naming stage or register of one that cannot be sent */
  lower(app: string, packets: Iterable<PacketOut | StageOut>): (PacketOut | LoweredOut)[] {
    return Array.from(packets, (out) => lowerPacket(this.options.layout, app, out));
  }

  learn(facts: Iterable<Fact>): void {
    for (const fact of facts) this.options.facts.learn(fact);
  }

  /** @throws Error when the table is none of the app */
  forget(app: string, table: AnySoftTable, ids: Iterable<string>): void {
    if (this.options.apps.find((a) => a.name === app)?.softTables?.includes(table) !== true) throw new Error(`app ${app} forgets facts of soft table ${table.name}, which it does not list`);
    for (const id of ids) this.options.facts.forget(table, id);
  }

  private take(app: string, outs: readonly Out[], counts: boolean): (PacketOut | LoweredOut)[] {
    const facts = outs.filter((out): out is Fact => "fact" in out);
    const packets = this.lower(app, outs.filter((out): out is PacketOut | StageOut => !("fact" in out || "counted" in out)));
    this.learn(facts);
    if (counts) for (const out of outs.filter((o): o is Counted => "counted" in o)) this.options.count(app, out.counted, out.value);
    return packets;
  }
}

/** Registers of a packet by name. @throws Error naming a register that no app declares */
const registersOf = (layout: Layout, match: Readonly<Record<string, unknown>>): PacketIn["register"] => ((name: string) => registerOfPacket(layout.register(name), match));
