// The flows of one switch as a trace needs them: of the tables that the packet comes to, and no others. What the compiler wants is at hand; what the
// switch has is asked of it, table by table.
import { formatMatch, decodeInstructions, decodeMatch, type FlowStatsView } from "node-openflow";
import type { Flow, Item } from "../../compiler/desired.ts";
import type { Engine } from "../../compiler/engine.ts";
import type { Stepwise } from "../../lib/turns/stepwise.ts";
import type { Questions, SwitchPort } from "../../southbound/index.ts";
import { Classifier } from "../../trace/classifier.ts";
import { flowOfBytes, trace, TraceFlow, TraceSwitch, type Packet, type Trace, type TraceGroup, type TraceOptions, type TracePort } from "../../trace/index.ts";
import { TraceBroken, waitFor, type Asking } from "./asking.ts";

/** What a flow of a trace is. */
export interface Ref {
  /** desired: as it should be. changed: the switch has it otherwise. foreign: nobody wants it. learned: the switch made it. */
  readonly state: "desired" | "changed" | "foreign" | "learned";
  /** The desired flow, of those that are. */
  readonly flow: Flow | undefined;
}

export type TracedFlow = TraceFlow<Ref>;

/** Where switches are asked. */
export type Switches = Pick<Questions, "compareTable" | "ports">;

const TUNNELS: ReadonlySet<string> = new Set(["geneve", "vxlan", "gre"]);

/** A port of ours on the integration bridge that is no guest's. */
export interface OwnPort {
  readonly name: string;
  readonly type: string;
  readonly options: Readonly<Record<string, string>>;
}

/** A table that the run came to and that is not at hand. */
class Unread extends Error {
  readonly table: number;
  constructor(table: number) {
    super(`table ${table} is not read yet`);
    this.table = table;
  }
}

/** A switch of which tables come as they are needed. */
class PartialSwitch extends TraceSwitch<Ref> {
  private readonly read: (table: number) => Classifier<Ref>;
  /** Where no switch can be asked every port is there: these are known to be some. */
  private readonly some: ReadonlyMap<number, TracePort> | undefined;
  constructor(read: (table: number) => Classifier<Ref>, options: ConstructorParameters<typeof TraceSwitch>[0], groups: Iterable<TraceGroup>, some?: readonly TracePort[]) {
    super(options);
    this.read = read;
    this.some = some && new Map(some.map((port) => [port.number, port]));
    for (const group of groups) this.setGroup(group);
  }

  override table(id: number): Classifier<Ref> {
    return this.read(id);
  }

  override port(number: number): TracePort | undefined {
    return this.some?.get(number) ?? super.port(number);
  }

  override allPorts(): Iterable<TracePort> {
    return this.some?.values() ?? super.allPorts();
  }
}

/** What a switch has in a table. */
interface InstalledTable {
  readonly classifier: Classifier<Ref>;
  /** Desired flows that it has as desired. */
  readonly same: ReadonlySet<Flow>;
}

const LOADS = 64;

export class SwitchView {
  readonly chassis: string;
  /** Whether the switch shows what it has; otherwise what it should have is all there is. */
  readonly answers: boolean;
  readonly own: ReadonlyMap<number, OwnPort>;
  readonly ports: ReadonlyMap<number, SwitchPort>;
  private readonly switches: Switches | undefined;
  private readonly wanted = new Map<number, Flow[]>();
  private readonly desired = new Map<number, Classifier<Ref>>();
  private readonly installed = new Map<number, InstalledTable>();
  private readonly byFlow = new Map<Flow, TracedFlow>();
  private readonly desiredSwitch: PartialSwitch;
  private readonly installedSwitch: PartialSwitch;

  private constructor(chassis: string, engine: Engine, switches: Switches | undefined, ports: readonly SwitchPort[] | undefined) {
    this.chassis = chassis;
    this.switches = ports === undefined ? undefined : switches;
    this.answers = ports !== undefined;
    for (const flow of engine.flowsOf(chassis)) {
      const list = this.wanted.get(flow.table);
      if (list === undefined) this.wanted.set(flow.table, [flow]);
      else list.push(flow);
    }
    const own = new Map<number, OwnPort>();
    for (const { table, key, columns } of engine.rowsOf(chassis)) {
      if (table !== "Port" || !("interface" in columns) || "bridge" in columns) continue;
      const { type, options, ofport_request: number } = columns.interface as { readonly type: string; readonly options?: Readonly<Record<string, string>>; readonly ofport_request?: number };
      if (number !== undefined) own.set(number, { name: key, type, options: options ?? {} });
    }
    this.own = own;
    this.ports = new Map((ports ?? []).map((port) => [port.number, port]));
    const groups = [...groupsOf(engine.itemsOf(chassis))];
    const options = {
      fragments: "nx-match" as const,
      ...(ports !== undefined && { ports: ports.map(({ number, forwards }): TracePort => ({ number, noForward: !forwards, ...tunnelOf(own.get(number)) })), live: (port: number) => this.ports.get(port)?.live === true }),
    };
    const some = ports === undefined ? [...own].map(([number, port]): TracePort => ({ number, ...tunnelOf(port) })) : undefined;
    this.desiredSwitch = new PartialSwitch((table) => this.desiredTable(table), options, groups, some);
    this.installedSwitch = new PartialSwitch((table) => {
      const found = this.installed.get(table);
      if (found === undefined) throw new Unread(table);
      return found.classifier;
    }, options, groups, some);
  }

  /** Gets ready for what it should have, which else is done in the turn in which a packet comes to a table. */
  *preparing(): Stepwise<void> {
    let n = 0;
    for (const [table, flows] of this.wanted) {
      const classifier = new Classifier<Ref>();
      for (const flow of flows) {
        classifier.add(this.traced(flow));
        if (++n % 16 === 0) yield;
      }
      this.desired.set(table, classifier);
    }
  }

  /** `switches`: undefined where none is asked. @throws TraceBroken where a switch that is connected does not say which ports it has */
  static *open(chassis: string, engine: Engine, switches: Switches | undefined): Asking<SwitchView> {
    const asked = switches?.ports(chassis);
    return new SwitchView(chassis, engine, switches, asked === undefined ? undefined : yield* waitFor(chassis, asked));
  }

  /** Over what the switch should have. */
  runDesired(packet: Packet, options: TraceOptions): Trace<Ref> {
    return trace(this.desiredSwitch, packet, options);
  }

  /** Over what it has; `begin` makes the options anew each time that a further table had to be read. @throws TraceBroken */
  *runInstalled(packet: Packet, begin: () => TraceOptions): Asking<Trace<Ref>> {
    if (this.switches === undefined) return this.runDesired(packet, begin());
    const likely = new Set<number>();
    for (const pass of this.runDesired(packet, begin()).passes) collectTables(pass.steps, likely);
    yield* this.loadAll(likely);
    for (let n = 0; n < LOADS; n++) {
      try {
        return trace(this.installedSwitch, packet, begin());
      } catch (error) {
        if (!(error instanceof Unread)) throw error;
        yield* this.loadAll([error.table]);
      }
    }
    throw new Error(`a trace on ${this.chassis} reads no end of tables`);
  }

  /** The flow that should have matched where a packet came to a table. */
  wantedFlow(table: number, packet: Packet): TracedFlow | undefined {
    return this.desiredTable(table).lookup(packet);
  }

  /** Whether the switch has a flow; asks for its table if need be. @throws TraceBroken */
  *has(flow: TracedFlow): Asking<boolean> {
    if (this.switches === undefined) return false;
    if (flow.ref.state !== "desired") return true;
    yield* this.loadAll([flow.table]);
    return this.installed.get(flow.table)!.same.has(flow.ref.flow!);
  }

  private desiredTable(table: number): Classifier<Ref> {
    let found = this.desired.get(table);
    if (found === undefined) {
      this.desired.set(table, (found = new Classifier<Ref>()));
      for (const flow of this.wanted.get(table) ?? []) found.add(this.traced(flow));
    }
    return found;
  }

  private traced(flow: Flow): TracedFlow {
    let made = this.byFlow.get(flow);
    if (made === undefined) this.byFlow.set(flow, (made = flowOfBytes(flow, { state: "desired", flow } satisfies Ref)));
    return made;
  }

  private *loadAll(tables: Iterable<number>): Asking<void> {
    const missing = [...tables].filter((table) => !this.installed.has(table));
    if (missing.length > 0) yield* waitFor(this.chassis, Promise.all(missing.map((table) => this.load(table))));
  }

  private async load(table: number): Promise<void> {
    const classifier = new Classifier<Ref>();
    const same = new Set<Flow>();
    const wanted = this.wanted.get(table) ?? [];
    const read = this.switches!.compareTable(this.chassis, table, wanted, (entry, flow, equal) => {
      if (flow !== undefined && equal) {
        same.add(flow);
        classifier.add(this.traced(flow));
      } else {
        const made = readEntry(entry, { state: flow !== undefined ? "changed" : equal ? "learned" : "foreign", flow });
        if (made !== undefined) classifier.add(made);
      }
    });
    // It went meanwhile: that it shows nothing does not mean that it has nothing.
    if (read === undefined) throw new TraceBroken("gone", `switch ${this.chassis} is not connected any more`);
    await read;
    this.installed.set(table, { classifier, same });
  }
}

/** undefined: a flow of a kind that is not known here. */
function readEntry(entry: FlowStatsView, ref: Ref): TracedFlow | undefined {
  const { buf } = entry;
  try {
    return new TraceFlow<Ref>({
      table: entry.table_id, priority: entry.priority, cookie: (BigInt(entry.cookie_hi) << 32n) | BigInt(entry.cookie_lo),
      match: decodeMatch(buf, entry.match_off), instructions: decodeInstructions(buf, entry.instructions_off, entry.instructions_len), ref,
    });
  } catch {
    return undefined;
  }
}

function tunnelOf(port: OwnPort | undefined): Pick<TracePort, "tunnel"> {
  if (port === undefined || !TUNNELS.has(port.type)) return {};
  const { remote_ip: remote = "flow", local_ip: local, key = "flow" } = port.options;
  return { tunnel: { remote, ...(local !== undefined && { local }), key: key === "flow" ? "flow" : BigInt(key) } };
}

export const isTunnel = (port: OwnPort | undefined): boolean => port !== undefined && TUNNELS.has(port.type);

function* groupsOf(items: Iterable<Item>): Iterable<TraceGroup> {
  for (const item of items) if (item.kind === "group") yield { ...item.value, id: item.id };
}

function collectTables(steps: Trace<Ref>["passes"][number]["steps"], into: Set<number>): void {
  for (const step of steps) {
    if (step.kind === "table") into.add(step.table);
    collectTables(step.steps, into);
  }
}

export const matchText = (flow: TracedFlow): string => formatMatch(flow.match);
