// A controller without switches: real apps, model, API and compiler on the memory store, and a switch's view of what it
// was told. Tests of anything above the southbound layer build on it.
import { fileURLToPath } from "node:url";
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch } from "node-openflow";
import { pino } from "pino";
import type { App, Chassis, EncapType, PacketOut, PortCount, StageOut } from "#app";
import { askOf, chassisKeys, chassisTable, draw, poolNumberTable, release, vifTable, zonePool } from "#app";
import { SettingsBook } from "../../src/app/settings.ts";
import { discoverApps, orderApps } from "../../src/boot/discover.ts";
import { layoutFor } from "../../src/boot/layouts.ts";
import { Relayouts } from "../../src/boot/relayout.ts";
import { allPools, allSoftTables, allTables, checkApps } from "../../src/boot/registry.ts";
import { Engine } from "../../src/compiler/engine.ts";
import type { Flow } from "../../src/compiler/desired.ts";
import { CompilerLoop } from "../../src/compiler/loop.ts";
import { SimulatedClock } from "../../src/lib/clock.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { SeededRandom, type Random } from "../../src/lib/random.ts";
import { keepLayout } from "../../src/model/layouts.ts";
import { Facts } from "../../src/model/facts.ts";
import { History } from "../../src/model/past/history.ts";
import { Metrics } from "../../src/lib/metrics.ts";
import { Model } from "../../src/model/model.ts";
import { danglingProblems, mendReferences } from "../../src/model/references.ts";
import type { View } from "../../src/model/view.ts";
import { createNorthbound, type Northbound, type NorthboundOptions } from "../../src/northbound/index.ts";
import { appCounters } from "../../src/ops/shown.ts";
import { FlowDump, lineOf } from "../../src/ops/flows/flow-dump.ts";
import { PastFlows, type PastLimits } from "../../src/ops/flows/past.ts";
import { Reacher } from "../../src/ops/trace/reach.ts";
import { Planner } from "../../src/plan/planner.ts";
import type { Layout } from "../../src/pipeline/layout.ts";
import { Asked, Claims, countingRules, droppingRules, FlowCounter, Packets, Services, Share, type ExchangeNetwork, type HttpClient } from "../../src/services/index.ts";
import { Receipts } from "../../src/southbound/receipts.ts";
import { KEEP } from "../../src/store/log.ts";
import { openStore } from "../../src/store/open.ts";
import type { KvStore } from "../../src/store/kv.ts";
import { collectionOf } from "./process.ts";
import { rowsOf, ToldSwitch, type ToldAtStart } from "./told-switch.ts";
import { strictJson } from "./api/strict-json.ts";

export const appsFolder = fileURLToPath(new URL("../../apps", import.meta.url));
export const silent = pino({ level: "silent" });

export interface Answer {
  readonly status: number;
  // Tests look into answers freely; a wrong path fails the assertion that reads it.
  readonly body: any;
  readonly generation: number | undefined;
}

/** An app and all that cannot be without it. */
export function withDependents(apps: readonly App[], name: string): string[] {
  const out = new Set([name]);
  for (let before = 0; before < out.size;) {
    before = out.size;
    for (const app of apps) if (app.requires?.some((needed) => out.has(needed)) === true) out.add(app.name);
  }
  return [...out];
}

/** A flow in ovs-ofctl's words. */
export function textOf(f: Flow): string {
  const at = f.off + FLOW_MOD_MATCH_OFFSET;
  return `priority=${f.priority},${formatMatch(decodeMatch(f.slab, at))} actions=${formatInstructions(decodeInstructions(f.slab, at + f.matchLen, f.len - FLOW_MOD_MATCH_OFFSET - f.matchLen))}`;
}
export { bytesOf, ToldSwitch } from "./told-switch.ts";

export interface HarnessOptions {
  /** Of all chance: UUIDs, MAC addresses, services. */
  readonly seed?: number;
  /** Given to apps, by app and name. */
  readonly settings?: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
  readonly share?: Share;
  readonly http?: HttpClient;
  readonly exchanges?: ExchangeNetwork;
  /** See EngineOptions. */
  readonly poisonScratch?: boolean;
  /** Of the API. */
  readonly api?: Partial<Pick<NorthboundOptions, "limits" | "rates" | "policyFile" | "auth">>;
  /** Apps of the folder that are left out. */
  readonly disabled?: readonly string[];
}

/** What outlives a controller. */
interface World {
  readonly folder: string;
  readonly extraApps: readonly App[];
  readonly store: KvStore;
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly switches: Map<string, ToldSwitch>;
  /** Layouts that there were, the latest first. */
  layouts: readonly string[];
}

export class Harness {
  readonly apps: readonly App[];
  readonly layout: Layout;
  readonly model: Model;
  readonly engine: Engine;
  readonly api: Northbound;
  readonly switches: Map<string, ToldSwitch>;
  /** What each switch was told when this controller started, before anything else happened. */
  readonly toldAtStart: ReadonlyMap<string, ToldAtStart>;
  /** Of services and transactions; it passes when a test says so. */
  readonly clock: SimulatedClock;
  /** Every table, as packet handlers, services and presentation see it. */
  readonly view: View;
  readonly facts: Facts;
  readonly packets: Packets;
  readonly services: Services;
  /** What services sent. */
  readonly sent: { readonly app: string; readonly packet: PacketOut | StageOut }[] = [];
  /** Packets that services did not get, and changes that were refused to them: `<service> <limit>`. */
  readonly dropped: string[] = [];
  /** Chassis whose switches are not connected. */
  readonly away = new Set<string>();
  /** The generation that each switch has confirmed, and who hears of it. */
  private readonly receipts = new Map<string, number>();
  readonly receivers = new Set<(chassis: string, generation: number) => void>();
  /** The API listens always, for those that wait for switches. */
  private readonly apiReceivers = new Set<(chassis: string, generation: number) => void>();
  /** What a switch says of its flows with a cookie; undefined: none is connected. */
  countsOf: ((chassis: string, cookie: bigint, options?: { readonly mask: bigint; readonly table: number }) => Promise<Buffer[]> | undefined) | undefined;
  /** Told what flows had counted that were taken off. */
  readonly counter: FlowCounter;
  /** What a switch says of its ports; undefined: none is connected. */
  portCounts: ((chassis: string) => readonly PortCount[] | undefined) | undefined;
  /** Traces packets for callers of the API. */
  explain: NonNullable<NorthboundOptions["explain"]> = () => Promise.reject(new Error("nobody traces packets here"));
  readonly loop: CompilerLoop;
  readonly planner: Planner;
  readonly claims: Claims;
  readonly confirmations: Receipts;
  /** What the compiler complained of: rules that failed, flows in conflict. */
  readonly complaints: object[];
  /** What apps count. */
  readonly metrics = new Metrics();
  /** Rows whose ground was gone when it started. */
  takenBack: readonly object[] = [];
  private failure: unknown;

  private readonly world: World;
  private readonly options: HarnessOptions;

  private constructor(apps: readonly App[], layout: Layout, model: Model, engine: Engine, complaints: object[], world: World, options: HarnessOptions) {
    const { clock, random } = world;
    this.world = world;
    this.options = options;
    this.switches = world.switches;
    this.clock = clock;
    this.complaints = complaints;
    this.apps = apps;
    this.layout = layout;
    this.model = model;
    this.engine = engine;
    this.loop = new CompilerLoop(model, engine, (error) => (this.failure = error));
    const guard = hookGuard({ error: (fields: object): void => void complaints.push(fields) }, () => this.clock.now());
    this.facts = new Facts(allSoftTables(apps), this.clock);
    this.view = engine.view.with(this.facts);
    const count = appCounters(this.metrics, apps);
    this.packets = new Packets({ apps, layout, view: this.view, facts: this.facts, guard, log: silent, count });
    const asked = new Asked(this.clock);
    model.onCommit(({ changes }) => changes.filter(({ table, id, after }) => table === chassisTable && after === undefined && this.receipts.delete(id)).forEach(({ id }) => counter.forget(id)));
    const counter = (this.counter = new FlowCounter({ placed: (app, rule, entity) => engine.placed(app, rule, entity), wanted: (app, rule, entity) => engine.wantedFlows(app, rule, entity), tableName: (id) => layout.tableById(id)?.name, ask: (chassis, cookie, options) => this.countsOf?.(chassis, cookie, options), clock: this.clock }));
    const [dropping, counting] = [droppingRules(apps), countingRules(apps)];
    this.services = new Services({
      apps, tables: allTables(apps), view: this.view, clock: this.clock, random, log: silent, guard, model,
      onChanges: (observer) => engine.onChanges(observer),
      receipts: {
        confirmed: (chassis) => this.receipts.get(chassis) ?? 0,
        synced: (chassis) => (this.away.has(chassis) ? undefined : (this.receipts.get(chassis) ?? -1) === this.engine.generation),
        onConfirmed: (listener) => {
          this.receivers.add(listener);
          return () => this.receivers.delete(listener);
        },
      },
      send: (app, packets) => {
        const all = [...packets];
        this.packets.lower(app, all); // says what could not be sent
        for (const packet of all) this.sent.push({ app, packet });
      },
      learn: (facts) => this.packets.learn(facts), count,
      forget: (app, table, ids) => this.packets.forget(app, table, ids),
      scopes: engine,
      onPacket: (app, table, listener) => this.packets.subscribe(app, table, listener),
      dropped: (_, service, limit) => void this.dropped.push(`${service} ${limit}`),
      share: options.share ?? new Share("self", () => ["self"]),
      flowCounts: (app, rule, entity, payer) => counter.of(app, rule, entity, payer), dropCounts: (chassis, entities) => counter.drops(dropping, chassis, entities),
      countsOf: (resource, id, name, payer) => counter.ofResource(counting, this.view, resource, id, name, payer), portCounts: (chassis) => Promise.resolve(this.portCounts?.(chassis)), asked,
      ...(options.http && { http: options.http }), ...(options.exchanges && { exchanges: options.exchanges }),
    });
    let compiled = engine.generation;
    engine.onDelta((delta) => {
      for (const [id, d] of delta.chassis) this.told(id).apply(d, () => rowsOf(engine, id));
      // A switch that had all, and for which nothing came, has all: it is not asked.
      const before = compiled;
      compiled = delta.generation;
      for (const [id, confirmed] of this.receipts) if (confirmed >= before && !delta.chassis.has(id)) this.confirm(id);
    });
    this.claims = new Claims({
      pools: allPools(apps), model, compiled: () => engine.generation, view: engine.view, onChanges: (observer) => engine.onChanges(observer), clock,
      log: { error: (fields: object): void => void complaints.push(fields), warn: () => undefined },
    });
    this.planner = new Planner({ apps, tables: allTables(apps), layout, model, engine, loop: this.loop, claims: this.claims, facts: this.facts, lineOf, pace: { slice: 20, rest: 0 }, poisonScratch: options.poisonScratch,
      reach: { guard, follower: (state) => new Reacher({ apps, tables: allTables(apps), layout, guard, ask: askOf(apps), clock: this.clock, engine: state.engine, view: state.view }, { slice: 20, rest: 0 }), limits: { pairs: 20_000, ms: Infinity } } });
    this.confirmations = new Receipts({
      desired: engine, committed: () => model.generation, numbers: this.claims, rowsWritten: () => Promise.resolve(true), rowsTold: () => undefined,
      confirmed: (chassis) => this.receipts.get(chassis) ?? 0,
      onConfirmed: (listener) => {
        this.apiReceivers.add(listener);
        return () => this.apiReceivers.delete(listener);
      },
      chassis: () => Array.from(model.view.all(chassisTable), ({ id }) => id), known: (chassis) => model.view.get(chassisTable, chassis) !== undefined,
    });
    this.api = createNorthbound({ explain: (asked) => this.explain(asked), apps, model, view: this.view, auth: "none", log: silent, confirmations: this.confirmations, derived: { compiled: () => engine.generation, onChanges: (observer) => engine.onChanges(observer) }, foresight: { of: this.planner, clock: this.clock }, ...options.api, beforeShown: (resource, fields, rows, caller) => asked.before(resource, fields, rows, caller) });
    const relayouts = new Relayouts(apps, layout, world.layouts);
    // A switch that nobody knows stays as it is.
    this.toldAtStart = new Map([...model.view.all(chassisTable)].map(({ id }) => [id, this.told(id).connect(engine, id, relayouts)]));
  }

  static async make(extraApps: readonly App[] = [], folder = appsFolder, options: HarnessOptions = {}): Promise<Harness> {
    const world = { folder, extraApps, store: await openStore("memory:", { dataDir: "", keep: { ...KEEP, ms: Infinity } }), clock: new SimulatedClock(), random: new SeededRandom(options.seed ?? 1), switches: new Map<string, ToldSwitch>(), layouts: [] };
    return Harness.start(world, options);
  }

  private static async start(world: World, options: HarnessOptions): Promise<Harness> {
    const { folder, extraApps, store, clock, random } = world;
    const apps = orderApps([...(await discoverApps(folder, options.disabled)), ...extraApps]);
    checkApps(apps);
    const tables = allTables(apps);
    const { layout, earlier } = await layoutFor(apps, (choose) => keepLayout(store, choose));
    world.layouts = earlier;
    const model = await Model.open(staysOpen(store), tables, { clock, random, settings: SettingsBook.of(apps, options.settings) });
    const complaints: object[] = [];
    const takenBack: object[] = [];
    await mendReferences(model, apps, { warn: (fields: object): void => void takenBack.push(fields), error: (fields: object): void => void complaints.push(fields) });
    const engine = new Engine({ apps, tables, layout, rows: model.layer, log: { error: (fields) => complaints.push(fields) }, forbidUnseen: true, ...options });
    engine.compileAll(model.generation);
    const harness = new Harness(apps, layout, model, engine, complaints, world, options);
    harness.takenBack = takenBack;
    harness.services.start();
    return harness;
  }

  /** Ends this controller and starts another one on its store, with other apps or settings perhaps. Switches keep what they were told. */
  async restart(disabled: readonly string[] = this.options.disabled ?? [], settings = this.options.settings): Promise<Harness> {
    await this.close();
    return Harness.start(this.world, { ...this.options, disabled, ...(settings !== undefined && { settings }) });
  }

  /** Another controller on the same store, with switches of its own. */
  beside(): Promise<Harness> {
    return Harness.start({ ...this.world, switches: new Map<string, ToldSwitch>() }, this.options);
  }

  /** The store's records, by key: also those of apps that are not here. */
  async stored(): Promise<Map<string, string>> {
    const out = new Map<string, string>();
    for await (const { key, value } of this.world.store.range({ start: "t/", end: "t0" })) out.set(key, value.toString());
    return out;
  }

  /** What the southbound layer does with zones that were given up, once their switch has forgotten them. */
  async zonesFlushed(): Promise<void> {
    await this.model.transact(cause, (tx) => {
      for (const n of [...tx.all(poolNumberTable)]) if (n.releasing) tx.delete(poolNumberTable, n.id);
    });
  }

  /** What GET /problems says of rows that name what is gone. */
  dangling(): string[] {
    return Array.from(danglingProblems(this.model.view, this.apps, new Date(0)), (p) => p.text);
  }

  private told(chassis: string): ToldSwitch {
    let told = this.switches.get(chassis);
    if (told === undefined) this.switches.set(chassis, (told = new ToldSwitch()));
    return told;
  }

  /** One API call; headers choose the caller. */
  async call(method: "GET" | "POST" | "PUT" | "DELETE", url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const answer = await this.api.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body as object }) });
    const generation = answer.headers["x-axion-generation"];
    return { status: answer.statusCode, body: answer.payload === "" ? undefined : strictJson(answer.payload), generation: generation === undefined ? undefined : Number(generation) };
  }

  /** Creates and returns the resource. @throws Error with the answer when it is refused. */
  async create(resource: string, values: Record<string, unknown>, headers: Record<string, string> = {}): Promise<{ readonly id: string } & Record<string, never>> {
    const answer = await this.call("POST", `/v2.0/${collectionOf(resource)}`, { [resource]: values }, headers);
    if (answer.status !== 201) throw new Error(`${resource} refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    return (answer.body as Record<string, never>)[resource]!;
  }

  /** Until the compiler has caught up with the model, and the numbers that it claims are there. */
  async settled(): Promise<void> {
    while (this.engine.generation < this.model.generation || this.claims.busy) {
      if (this.failure !== undefined) throw this.failure instanceof Error ? this.failure : new Error("the compiler failed");
      await new Promise((done) => setImmediate(done));
    }
  }

  /** As if the switch had confirmed what it was told so far. */
  confirm(chassis: string): void {
    this.receipts.set(chassis, this.engine.generation);
    for (const listener of [...this.receivers, ...this.apiReceivers]) listener(chassis, this.engine.generation);
  }

  /** As the southbound layer would write it. */
  async addChassis(id: string, fields: Partial<Chassis> = {}): Promise<void> {
    await this.model.transact(cause, (tx) => {
      const key = fields.key ?? draw(tx, chassisKeys);
      tx.put(chassisTable, {
        id, hostname: id, bridge: "br-int", dpid: key.toString(16).padStart(16, "0"), datapath_type: "netdev", encap_ip: `172.31.0.${key}`,
        encap_types: ["geneve"] as EncapType[], bridge_mappings: {}, gateway: false, ovs_version: "3.1.0", ...fields, key,
      });
    });
  }

  async plug(chassis: string, portId: string, ofport: number): Promise<void> {
    await this.model.transact(cause, (tx) => {
      const slot = draw(tx, zonePool, chassis);
      const vif = { id: `${chassis}/tap${portId.slice(0, 11)}`, chassis, iface_id: portId, name: `tap${portId.slice(0, 11)}`, ofport, slot };
      tx.put(vifTable, vif);
      for (const app of this.apps) app.vif?.plugged?.(tx, vif);
    });
  }

  /** What was, as the ops listener tells it. */
  past(limits?: Partial<PastLimits>): { readonly history: History; readonly flows: PastFlows; readonly dump: FlowDump } {
    const { apps, engine, layout, model, view, planner, clock } = this;
    const tables = allTables(apps);
    const history = new History(this.world.store, model, tables);
    // No switch is asked.
    const southbound = { switches: () => [...view.all(chassisTable)], quarantined: () => [], questions: { compareInstalled: () => Promise.resolve([]) } } as unknown as ConstructorParameters<typeof FlowDump>[0]["southbound"];
    const dump = new FlowDump({ apps, tables, view, engine, layout, model, southbound, clock });
    return { history, dump, flows: new PastFlows({ history, planner, dump, tables, engine, ...(limits !== undefined && { limits }) }) };
  }

  /** Timers that services have, but for those that there are always: agents look whether hosts are alive, and somebody which tunnels there are, what is dropped, which rules are used, and what metering labels, routers and, by itself, ports have counted. */
  get timers(): number {
    const always = ["agents", "tunnel-watch", "drop-watch", "security-groups", "metering", "statistics", "statistics"];
    return this.clock.pending - always.filter((name) => this.apps.some((app) => app.name === name)).length;
  }

  /** As if the switch had confirmed the flows of an interface that is plugged. */
  async installed(chassis: string, portId: string): Promise<void> {
    await this.model.transact(cause, (tx) => {
      for (const vif of tx.by(vifTable, "iface_id", portId)) if (vif.chassis === chassis) for (const app of this.apps) app.vif?.installed?.(tx, vif);
    });
  }

  async unplug(chassis: string, portId: string): Promise<void> {
    await this.model.transact(cause, (tx) => {
      for (const vif of tx.by(vifTable, "iface_id", portId)) {
        if (vif.chassis !== chassis) continue;
        tx.delete(vifTable, vif.id);
        release(tx, zonePool, chassis, vif.slot);
        for (const app of this.apps) app.vif?.unplugged?.(tx, vif);
      }
    });
  }

  async close(): Promise<void> {
    await this.services.stop();
    await this.claims.stop();
    this.planner.stop();
    this.loop.stop();
    await this.api.close();
    await this.model.close();
  }
}

/** A store that a controller closes and the next one opens. */
const staysOpen = (store: KvStore): KvStore => ({
  get revision() {
    return store.revision;
  },
  get: (key) => store.get(key),
  range: (options) => store.range(options),
  get oldest() {
    return store.oldest;
  },
  txn: (compares, ops) => store.txn(compares, ops),
  append: (after, drafts, writer) => store.append(after, drafts, writer),
  goFirst: () => store.goFirst(),
  history: (from) => store.history(from),
  undo: (from, to) => store.undo(from, to),
  checkpoint: () => store.checkpoint(),
  watch: (options, onEvents, onError) => store.watch(options, onEvents, onError),
  stats: () => store.stats(),
  get trouble() {
    return store.trouble;
  },
  close: () => Promise.resolve(),
});

const cause = { requestId: "test", call: "test" };
