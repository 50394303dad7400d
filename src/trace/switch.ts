// What a switch holds that decides over a packet: flows by table, groups, ports. Built from what the compiler desires, or from a dump.
import { ports, type Action } from "node-openflow";
import { Classifier } from "./classifier.ts";
import { flowOfBytes, TraceFlow, type FlowInput } from "./flow.ts";

/** Options of a tunnel port: "flow" takes the value from the packet. */
export interface TunnelOptions {
  readonly remote: string;
  /** Undefined: the host's routes decide, and the field is 0. */
  readonly local?: string;
  readonly key: bigint | "flow";
}

export interface TracePort {
  readonly number: number;
  readonly tunnel?: TunnelOptions;
  /** OFPPC_NO_FWD and OFPPC_NO_FLOOD. */
  readonly noForward?: boolean;
  readonly noFlood?: boolean;
}

export interface TraceBucket {
  readonly weight?: number;
  readonly watch_port?: number;
  readonly watch_group?: number;
  readonly actions: readonly Action[];
}

export interface TraceGroup {
  readonly id: number;
  readonly type: "all" | "select" | "indirect" | "ff";
  readonly buckets: readonly TraceBucket[];
}

export interface SwitchOptions {
  /** Undefined: every port exists. */
  readonly ports?: Iterable<TracePort>;
  /** OFPC_FRAG_*: "normal" matches fragments as if they had no ports. */
  readonly fragments?: "normal" | "drop" | "nx-match";
  /** Whether a port that a bucket watches is live, OFPPS_LIVE. Default: if it exists. */
  readonly live?: (port: number) => boolean;
}

/** As the compiler has it, see Flow of src/compiler/desired.ts. */
export interface FlowBytes {
  readonly slab: Buffer;
  readonly off: number;
  readonly len: number;
  readonly matchLen: number;
}

export interface GroupItem {
  readonly kind: string;
  readonly id: number;
  readonly value: unknown;
}

const TABLES = 255;
const LIVENESS_DEPTH = 128;

export class TraceSwitch<R = unknown> {
  readonly fragments: "normal" | "drop" | "nx-match";
  readonly groups = new Map<number, TraceGroup>();
  private readonly tables: (Classifier<R> | undefined)[] = new Array<undefined>(TABLES).fill(undefined);
  private readonly ports: ReadonlyMap<number, TracePort> | undefined;
  private readonly isLive: (port: number) => boolean;

  constructor(options: SwitchOptions = {}) {
    this.fragments = options.fragments ?? "normal";
    this.ports = options.ports === undefined ? undefined : new Map([...options.ports].map((p) => [p.number, p]));
    this.isLive = options.live ?? ((port) => this.port(port) !== undefined);
  }

  /** What the compiler desires on a chassis: `engine.flowsOf(chassis)` and `engine.itemsOf(chassis)`; each flow is its own reference. @throws OpenFlowError */
  static ofDesired<F extends FlowBytes>(flows: Iterable<F>, items: Iterable<GroupItem>, options: SwitchOptions = {}): TraceSwitch<F> {
    const made = new TraceSwitch<F>(options);
    for (const flow of flows) made.add(flowOfBytes(flow, flow));
    for (const item of items) if (item.kind === "group") made.setGroup({ ...(item.value as Omit<TraceGroup, "id">), id: item.id });
    return made;
  }

  /** A flow of the same table, match and priority goes, and is returned. @throws Error when the table is none */
  add(flow: TraceFlow<R> | FlowInput<R>): TraceFlow<R> | undefined {
    const made = flow instanceof TraceFlow ? flow : new TraceFlow(flow);
    if (!Number.isInteger(made.table) || made.table < 0 || made.table >= TABLES) throw new Error(`no table ${made.table}`);
    return (this.tables[made.table] ??= new Classifier<R>()).add(made);
  }

  remove(flow: TraceFlow<R>): boolean {
    return this.tables[flow.table]?.remove(flow) ?? false;
  }

  setGroup(group: TraceGroup): void {
    this.groups.set(group.id, group);
  }

  table(id: number): Classifier<R> | undefined {
    return this.tables[id];
  }

  *flows(): Iterable<TraceFlow<R>> {
    for (const table of this.tables) if (table !== undefined) yield* table;
  }

  /** Undefined: there is none. */
  port(number: number): TracePort | undefined {
    if (this.ports !== undefined) return this.ports.get(number);
    return number < ports.MAX || number === ports.LOCAL ? { number } : undefined;
  }

  allPorts(): Iterable<TracePort> {
    return this.ports?.values() ?? [];
  }

  live(port: number): boolean {
    return this.isLive(port);
  }

  /** Whether a bucket may be chosen: what it watches is live, and it has weight. */
  bucketLive(group: TraceGroup, bucket: TraceBucket, depth = 0): boolean {
    if (depth >= LIVENESS_DEPTH || (group.type === "select" && bucket.weight === 0)) return false;
    const port = bucket.watch_port ?? ports.ANY;
    const other = bucket.watch_group ?? ports.ANY;
    if (port === ports.ANY && other === ports.ANY) return true;
    if (port !== ports.ANY && this.live(port)) return true;
    const watched = other === ports.ANY ? undefined : this.groups.get(other);
    return watched?.buckets.some((b) => this.bucketLive(watched, b, depth + 1)) ?? false;
  }
}
