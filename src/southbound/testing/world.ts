// A southbound layer with all of its surroundings for a test: a model in memory, and a desired state that is written down as
// a function of the model, in the place of the compiler.
import { chassisTable, vifTable, type App, type Chassis, type Meter, type OvsPatch, type PacketOut, type ReadView, type Vif } from "#app";
import { encodeFlowMod, FLOW_MOD_MATCH_OFFSET, flowKey, type FlowMod } from "node-openflow";
import type { Logger } from "pino";
import type { ChassisDelta, Delta, Desired, DesiredRow, Flow, Item, LoweredGroup } from "../../compiler/desired.ts";
import { canonicalText } from "../../compiler/items.ts";
import { machineClock, type Clock } from "../../lib/clock.ts";
import { hookGuard } from "../../lib/hook-guard.ts";
import { machineRandom, type Random } from "../../lib/random.ts";
import { allTables } from "../../boot/registry.ts";
import { Metrics } from "../../lib/metrics.ts";
import { Lineage } from "../../model/lineage.ts";
import { Model } from "../../model/model.ts";
import { Southbound, type SouthboundConfig, type SwitchInfo, type SwitchPacketIn } from "../index.ts";
import type { KvStore } from "../../store/kv.ts";
import { openMemory } from "../../store/memory.ts";
import type { FactKeeper } from "../ovsdb/observer.ts";
import type { CountedFlows } from "../openflow/switch-types.ts";
import type { FlowEffects } from "../openflow/withdrawal.ts";
import { eventually, type Ovs } from "./ovs.ts";
import type { ClusterPort } from "../cluster/port.ts";

/** A flow as the compiler makes it: bytes of a flow-mod. */
export function flow(mod: Omit<FlowMod, "command">): Flow {
  const scratch = Buffer.alloc(65_536);
  const len = encodeFlowMod(scratch, 0, { command: "add", ...mod });
  const slab = Buffer.from(scratch.subarray(0, len));
  const matchLen = (slab.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7;
  return {
    table: slab[24]!,
    priority: slab.readUInt16BE(30),
    cookieHi: slab.readUInt32BE(8),
    cookieLo: slab.readUInt32BE(12),
    slab,
    off: 0,
    len,
    matchLen,
    key: flowKey(slab[24]!, slab.readUInt16BE(30), slab, FLOW_MOD_MATCH_OFFSET, matchLen),
  };
}

/** A flow of `table` that a number tells from others; `to` is what it does. */
export const numbered = (n: number, to = 1, table = 0): Flow =>
  flow({
    table_id: table,
    priority: 100,
    cookie: 0xa000_0000_0000_0000n + BigInt(n),
    match: { reg0: n },
    instructions: [{ type: "apply_actions", actions: [{ type: "output", port: to }] }],
  });

export interface Wanted {
  readonly flows?: readonly Flow[];
  readonly items?: readonly Item[];
  readonly rows?: readonly DesiredRow[];
  readonly patches?: readonly OvsPatch[];
}

export const meter = (id: number, value: Meter): Item => ({ kind: "meter", id, text: canonicalText(value), value });
export const group = (id: number, value: LoweredGroup): Item => ({ kind: "group", id, text: canonicalText(value), value });
/** A tunnel port. */
export const port = (name: string, type: string, options: Readonly<Record<string, string>>, ofport: number): DesiredRow => ({ table: "Port", key: name, columns: { interface: { type, options, ofport_request: ofport } } });

interface State {
  flows: Map<string, Flow>;
  items: Map<string, Item>;
  rows: readonly DesiredRow[];
  patches: readonly OvsPatch[];
}

const empty: State = { flows: new Map(), items: new Map(), rows: [], patches: [] };

export class WrittenDesired implements Desired {
  generation = 0;
  readonly learnedTables: ReadonlySet<number> = new Set([200]);
  private readonly listeners = new Set<(delta: Delta) => void>();
  private states = new Map<string, State>();
  private readonly model: Model;
  private want: (chassis: Readonly<Chassis>, view: ReadView) => Wanted;

  constructor(model: Model, want: (chassis: Readonly<Chassis>, view: ReadView) => Wanted) {
    this.model = model;
    this.want = want;
    model.onCommit(() => setImmediate(() => this.compile()));
    this.compile();
  }

  /** Another desired state from now on; a commit makes a generation of it. */
  async become(want: (chassis: Readonly<Chassis>, view: ReadView) => Wanted): Promise<number> {
    this.want = want;
    const { generation } = await this.model.transact({ requestId: "test", call: "become" }, (tx) => {
      tx.allocate("test", { min: 1, max: 1000, used: () => false });
    });
    this.compile();
    return generation;
  }

  private compile(): void {
    if (this.generation === this.model.generation && this.generation > 0) return;
    const { view } = this.model;
    const deltas = new Map<string, ChassisDelta>();
    const states = new Map<string, State>();
    for (const chassis of view.all(chassisTable)) {
      const wanted = this.want(chassis, view);
      const now: State = {
        flows: new Map((wanted.flows ?? []).map((f) => [f.key, f])),
        items: new Map((wanted.items ?? []).map((i) => [`${i.kind} ${i.id}`, i])),
        rows: wanted.rows ?? [],
        patches: wanted.patches ?? [],
      };
      states.set(chassis.id, now);
      const before = this.states.get(chassis.id) ?? empty;
      const add = [...now.flows.values()].filter((f) => before.flows.get(f.key)?.slab.equals(f.slab) !== true);
      const delta: ChassisDelta = {
        add,
        changed: new Set(add.filter((f) => before.flows.has(f.key))),
        remove: [...before.flows.values()].filter((f) => !now.flows.has(f.key)),
        addItems: [...now.items].filter(([key, i]) => before.items.get(key)?.text !== i.text).map(([, i]) => i),
        removeItems: [...before.items].filter(([key]) => !now.items.has(key)).map(([, i]) => i),
        rowsChanged: JSON.stringify([before.rows, before.patches]) !== JSON.stringify([now.rows, now.patches]),
      };
      if (delta.add.length + delta.remove.length + delta.addItems.length + delta.removeItems.length > 0 || delta.rowsChanged) deltas.set(chassis.id, delta);
    }
    this.states = states;
    this.generation = this.model.generation;
    for (const listener of this.listeners) listener({ generation: this.generation, chassis: deltas });
  }

  flowsOf(chassis: string): Iterable<Flow> {
    return this.states.get(chassis)?.flows.values() ?? [];
  }
  itemsOf(chassis: string): Iterable<Item> {
    return this.states.get(chassis)?.items.values() ?? [];
  }
  rowsOf(chassis: string): Iterable<DesiredRow> {
    return this.states.get(chassis)?.rows ?? [];
  }
  patchesOf(chassis: string): Iterable<OvsPatch> {
    return this.states.get(chassis)?.patches ?? [];
  }
  onDelta(listener: (delta: Delta) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function recorder(lines: LogLine[], bound: Record<string, unknown> = {}): Logger {
  const write = (level: LogLine["level"]) => (fields: string | Record<string, unknown>, message?: string) => {
    if (typeof fields === "string") lines.push({ level, message: fields, fields: bound });
    else lines.push({ level, message: message ?? "", fields: { ...bound, ...fields } });
  };
  const none = (): void => undefined;
  const log = { info: write("info"), warn: write("warn"), error: write("error"), debug: none, trace: none, child: (more: Record<string, unknown>) => recorder(lines, { ...bound, ...more }) };
  return log as unknown as Logger;
}

export interface WorldOptions {
  readonly want?: (chassis: Readonly<Chassis>, view: ReadView) => Wanted;
  readonly config?: Partial<SouthboundConfig>;
  readonly apps?: readonly App[];
  /** Default: the machine's. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly effects?: FlowEffects;
  readonly counting?: CountedFlows;
  /** It is one of several controllers. */
  readonly cluster?: ClusterPort;
  readonly facts?: FactKeeper;
  readonly onPacketIn?: (packet: SwitchPacketIn) => readonly PacketOut[];
  /** Whether switches that would lose much are held. */
  readonly guarded?: boolean;
  /** Of an earlier world: what was stored is there again. */
  readonly store?: KvStore;
  readonly ports?: { readonly openflow: number; readonly ovsdb: number };
}

export class World {
  readonly store: KvStore;
  readonly model: Model;
  readonly desired: WrittenDesired;
  readonly southbound: Southbound;
  readonly metrics: Metrics;
  readonly log: LogLine[];

  private constructor(parts: Pick<World, "store" | "model" | "desired" | "southbound" | "metrics" | "log">) {
    this.store = parts.store;
    this.model = parts.model;
    this.desired = parts.desired;
    this.southbound = parts.southbound;
    this.metrics = parts.metrics;
    this.log = parts.log;
  }

  static async start(options: WorldOptions = {}): Promise<World> {
    const store = options.store ?? openMemory();
    const lineage = options.guarded === true ? await Lineage.open(store, machineRandom) : undefined;
    const model = await Model.open(store, allTables([]).filter((t) => !t.derived));
    const desired = new WrittenDesired(model, options.want ?? (() => ({})));
    const log: LogLine[] = [];
    const metrics = new Metrics();
    const southbound = new Southbound({
      model,
      desired,
      apps: options.apps ?? [],
      metrics,
      log: recorder(log),
      guard: hookGuard(recorder(log)),
      clock: options.clock ?? machineClock,
      random: options.random ?? machineRandom,
      effects: options.effects,
      counting: options.counting,
      cluster: options.cluster,
      facts: options.facts,
      lineage,
      resourcesOf: (flow) => [{ type: "port", id: `of table ${flow.table}` }],
      onPacketIn: options.onPacketIn ?? (() => []),
      config: {
        openflow: { host: "127.0.0.1", port: options.ports?.openflow ?? 0 },
        ovsdb: { host: "127.0.0.1", port: options.ports?.ovsdb ?? 0 },
        auditIntervalMs: 0,
        ...options.config,
      },
    });
    await southbound.start();
    return new World({ store, model, desired, southbound, metrics, log });
  }

  get ports(): { openflow: number; ovsdb: number } {
    return { openflow: this.southbound.openflowPort, ovsdb: this.southbound.ovsdbPort };
  }

  async adopt(ovs: Ovs, chassis = "hv1"): Promise<void> {
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${this.southbound.ovsdbPort}`);
    await this.connected(chassis);
  }

  async connected(chassis = "hv1", timeoutMs = 15_000): Promise<void> {
    const ready = (): boolean => this.info(chassis)?.state === "connected" && this.info(chassis)?.database === "connected";
    await eventually(`${chassis} connected`, ready, timeoutMs).catch((error: unknown) => {
      throw new Error(`${chassis} did not connect: ${JSON.stringify([this.info(chassis), this.log.slice(-20)], null, 1)}`, { cause: error });
    });
  }

  /**
   * Until the host's database was compared, from beginning to end, after this call: whatever was to be written is. Somebody changes what
   * is of no consequence, and waits for the repair; twice, so that the comparison after the first is done as well. Returns how many
   * transactions that were.
   */
  async compared(ovs: Ovs): Promise<number> {
    const repairs = 2;
    for (let n = 0; n < repairs; n++) {
      await ovs.vsctl("set", "Controller", "br-int", "max_backoff=2000");
      await eventually("the repair", async () => (await ovs.vsctl("get", "Controller", "br-int", "max_backoff")).trim() === "1000");
    }
    return repairs;
  }

  info(chassis = "hv1"): SwitchInfo | undefined {
    return this.southbound.switches().find((s) => s.id === chassis);
  }

  vif(chassis: string, name: string): Readonly<Vif> | undefined {
    return this.model.view.get(vifTable, `${chassis}/${name}`);
  }

  async confirmed(generation: number, chassis = "hv1"): Promise<void> {
    await eventually(`generation ${generation} confirmed by ${chassis}`, () => this.southbound.confirmed(chassis) >= generation);
  }

  /** Value of a counter, all labels summed unless given. */
  count(name: string, labels = ""): number {
    return this.metrics.value(name, Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, value]) => [label!, value!])));
  }

  lines(level: LogLine["level"], text = ""): LogLine[] {
    return this.log.filter((line) => line.level === level && JSON.stringify([line.message, line.fields]).includes(text));
  }

  async stop(): Promise<void> {
    await this.southbound.stop();
  }
}
