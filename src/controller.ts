// Over 400 lines: one start from the first step to the last, where the order of steps is what matters.
// A controller: the parts put together. main.ts runs one as a process; tests and benchmarks make their own.
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import { askOf, chassisTable, type App, type Clock, type Random } from "#app";
import { allPools, allSoftTables, allTables, checkApps } from "./boot/registry.ts";
import { flowEffects } from "./boot/effects.ts";
import { discoverApps, orderApps } from "./boot/discover.ts";
import { layoutFor } from "./boot/layouts.ts";
import { AppProblems } from "./boot/problems.ts";
import { SettingsBook } from "./app/settings.ts";
import type { Cluster } from "./cluster/index.ts";
import type { Config, Endpoint } from "./config/index.ts";
import { CompilerLoop } from "./compiler/loop.ts";
import { Engine } from "./compiler/engine.ts";
import { machineClock } from "./lib/clock.ts";
import { makeFolder } from "./lib/files.ts";
import type { Door } from "./lib/http/door.ts";
import { hookGuard, type HookGuard } from "./lib/hook-guard.ts";
import { Metrics } from "./lib/metrics.ts";
import type { Problem } from "./lib/problem.ts";
import { isLoopbackName, listening } from "./lib/listening.ts";
import { UsageError } from "./lib/usage-error.ts";
import { machineRandom } from "./lib/random.ts";
import { keepLayout } from "./model/layouts.ts";
import { Facts } from "./model/facts.ts";
import { version } from "./lib/version.ts";
import { History } from "./model/past/history.ts";
import { Model } from "./model/model.ts";
import { withCopy, withRows } from "./model/past/copied-store.ts";
import { Lineage } from "./model/lineage.ts";
import { sweepAllocations } from "./model/allocations.ts";
import { danglingProblems, mendReferences } from "./model/references.ts";
import { refuseNewer, upgradeStore } from "./model/upgrade.ts";
import type { View } from "./model/view.ts";
import { callsOfOperator, createNorthbound, KeystoneAuth, plansOfOperator, shownPolicy, TokenFile, type Authenticator, type Northbound } from "./northbound/index.ts";
import { OpsTokenFile } from "./ops/access.ts";
import { consoleRoutes } from "./ops/console.ts";
import { FlowDump, lineOf } from "./ops/flows/flow-dump.ts";
import { historyRoutes } from "./ops/history.ts";
import { CompilerProblems } from "./ops/left-out.ts";
import { Named } from "./ops/named.ts";
import { clusterRoutes } from "./ops/cluster/cluster.ts";
import { clusterMetrics } from "./ops/cluster/metrics.ts";
import { Topology, topologyRoutes } from "./ops/topology.ts";
import { metersOf } from "./ops/meters.ts";
import { PastFlows } from "./ops/flows/past.ts";
import { pipelineRoute } from "./ops/flows/pipeline.ts";
import { planRoutes } from "./ops/plan.ts";
import { receiptRoutes } from "./ops/receipts.ts";
import { createOps, type OpsServer } from "./ops/server.ts";
import { Shadow } from "./ops/shadow.ts";
import { appCounters, appGauges, appLists } from "./ops/shown.ts";
import { explained } from "./ops/trace/explain.ts";
import { traceRoutes } from "./ops/trace/routes.ts";
import { Reacher } from "./ops/trace/reach.ts";
import { Tracer } from "./ops/trace/tracer.ts";
import { Planner } from "./plan/planner.ts";
import type { Layout } from "./pipeline/layout.ts";
import { Asked, Claims, countedRules, countingRules, droppingRules, FlowCounter, machineHttp, Outbound, Packets, Services, Share } from "./services/index.ts";
import { Southbound } from "./southbound/index.ts";
import { ReceiptLog } from "./southbound/receipt-log.ts";
import { Receipts } from "./southbound/receipts.ts";
import type { KvStore, StoreStats } from "./store/kv.ts";
import { keepFirstEdition } from "./store/first-edition.ts";
import { KEEP } from "./store/log.ts";
import { StoreError } from "./store/errors.ts";
import { isEtcd, openStore } from "./store/open.ts";

const SHADOW = "This controller is a shadow (--shadow): it compares, and changes nothing";

export interface ControllerOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly appsFolder: string;
  /** Apps beside those in the folder. */
  readonly apps?: readonly App[];
  /** Of transactions and services; default: the machine's. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** For tests, see EngineOptions. */
  readonly poisonScratch?: boolean;
}

/** The model watches the store from the first instant on: nobody asks it for what was before. */
const WATCHED = { revisions: 64, bytes: 1 << 20 };

export class Controller {
  private readonly options: ControllerOptions;
  private shadow: Shadow | undefined;
  /** Undo steps, run last to first. */
  private readonly stops: (() => Promise<void> | void)[] = [];
  /** Files of the operator's, which are read again when they change: now, if somebody does not want to wait for that. */
  private readonly files: { reload(): void }[] = [];
  private southbound: Southbound | undefined;
  private cluster: Cluster | undefined;

  constructor(options: ControllerOptions) {
    this.options = options;
  }

  /** Opens store, model, compiler, then the listeners: southbound first, so that the API never answers for nothing. */
  async start(): Promise<void> {
    const { config, log } = this.options;
    const { clock = machineClock, random = machineRandom } = this.options;
    const startedAt = new Date(clock.now());
    const apps = orderApps([...(await discoverApps(this.options.appsFolder, config.disabledApps)), ...(this.options.apps ?? [])]);
    checkApps(apps);
    const tables = allTables(apps);
    const pools = allPools(apps);
    const shadowed = config.shadow === true;
    const metrics = new Metrics();
    if (!shadowed) await this.refuseUnlike(apps.map((app) => app.name));
    const store: KvStore = shadowed ? await this.openCopy() : await this.openStored(config.dataDir, storeMetrics(metrics, () => store.stats()));
    await refuseNewer(store);
    // Before this start adds to it: what switches were told beyond this is lost.
    const lineage = await Lineage.open(store, random);
    const converted = await upgradeStore(store, tables);
    if (converted > 0) log.info({ rows: converted }, "rows of the edition before converted");
    const { layout, earlier } = await layoutFor(apps, (choose) => keepLayout(store, choose));
    const model = await Model.open(store, tables, { clock, random, settings: SettingsBook.of(apps, config.settings) });
    this.stops.push(() => model.close());
    await mendReferences(model, apps, log);
    await sweepAllocations(model, tables);

    metrics.collectProcess();
    metrics.gauge("axion_info", "1, with this controller's name and version", () => [{ labels: { name: config.name, version: version() }, value: 1 }], ["name", "version"]);
    const engine = new Engine({ apps, tables, layout, rows: model.layer, log, poisonScratch: this.options.poisonScratch === true });
    const began = performance.now();
    engine.compileAll(model.generation);
    log.info({ apps: apps.map((a) => a.name), generation: model.generation, flows: engine.stats.flows, ms: Math.round(performance.now() - began) }, "compiled");
    const loop = new CompilerLoop(model, engine, (error) => log.error({ err: error }, "the compiler failed on a batch; its flows stay as they were"));
    this.stops.push(() => loop.stop());
    const claims = new Claims({ pools, model, compiled: () => engine.generation, view: engine.view, onChanges: (observer) => engine.onChanges(observer), log, clock });
    this.stops.push(() => claims.stop());
    // Before a switch is spoken to: what waits for its number would be withdrawn, and come again.
    await claims.settled();
    await loop.settled();
    engineMetrics(metrics, engine, model);

    const facts = makeFacts(apps, clock, metrics);
    const view = engine.view.with(facts);
    const guard = hookGuard(log, () => clock.now());
    const planner = new Planner({
      apps, tables, layout, model, engine, loop, claims, facts, lineOf, poisonScratch: this.options.poisonScratch,
      reach: { guard, follower: (state) => new Reacher({ apps, tables, layout, guard, ask: askOf(apps), clock, engine: state.engine, view: state.view }) },
    });
    this.stops.push(() => planner.stop());
    const cluster = (this.cluster = await this.joinCluster(clock, random, model, apps.map((app) => app.name)));
    const count = appCounters(metrics, apps);
    const packets = new Packets({ apps, layout, view, facts, guard, log, count });
    const counter = new FlowCounter({ placed: (app, rule, entity) => engine.placed(app, rule, entity), wanted: (app, rule, entity) => engine.wantedFlows(app, rule, entity), tableName: (id) => layout.tableById(id)?.name, ask: (chassis, cookie, options) => southbound.questions.flowsWith(chassis, cookie, options), clock, counted: countedRules(apps) });
    const southbound = this.makeSouthbound({ counter, apps, layout, model, view, engine, metrics, packets, facts, guard, earlier, lineage, clock, random, cluster, looked: (chassis, hold) => this.shadow?.looked(chassis, hold) });
    await southbound.start();
    this.southbound = southbound;
    this.stops.push(() => southbound.stop());
    clusterMetrics(metrics, cluster, () => southbound.mastered);
    // After the southbound layer: what it says of a batch is asked when it has heard of it.
    const receipts = new Receipts({
      desired: engine, committed: () => model.generation, numbers: claims,
      confirmed: (chassis) => southbound.confirmed(chassis), onConfirmed: (listener) => southbound.onConfirmed(listener), rowsWritten: (chassis) => southbound.rowsWritten(chassis), rowsTold: (chassis) => southbound.rowsTold(chassis),
      chassis: () => Array.from(model.view.all(chassisTable), ({ id }) => id), known: (chassis) => model.view.get(chassisTable, chassis) !== undefined,
    });
    this.stops.push(() => receipts.stop());
    const receiptLog = new ReceiptLog({
      onCommit: (listener) => model.onCommit(listener), desired: engine, onSent: (listener) => southbound.onSent(listener), onConfirmed: (listener) => southbound.onConfirmed(listener),
      known: (chassis) => model.view.get(chassisTable, chassis) !== undefined, clock,
      seconds: metrics.histogram("axion_call_confirmed_seconds", "From the commit of a call to the confirmation of the last switch that it concerns, by method and project; projects beyond 64 are other", ["method", "project"], [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]),
    });
    this.stops.push(() => receiptLog.stop());
    const dropped = metrics.counter("axion_service_packets_dropped_total", "Packets that a service of an app did not get, and changes because of packets that were refused, by the limit: port, total or writes", ["app", "service", "limit"]);
    const asked = new Asked(clock);
    this.stops.push(model.onCommit(({ changes }) => {
      for (const { table, id, after } of changes) if (table === chassisTable && after === undefined) counter.forget(id);
    }));
    const [dropping, counting] = [droppingRules(apps), countingRules(apps)];
    const auth = this.makeAuth(clock);
    const services = new Services({
      apps, tables, view, clock, random, log, guard, model,
      onChanges: (observer) => engine.onChanges(observer),
      receipts: southbound,
      send: (app, out) => southbound.sendPackets(packets.lower(app, out)),
      learn: (learned) => packets.learn(learned), count,
      forget: (app, table, ids) => packets.forget(app, table, ids),
      scopes: engine,
      onPacket: (app, table, listener) => packets.subscribe(app, table, listener),
      dropped: (app, service, limit) => dropped.inc({ app, service, limit }),
      share: cluster === undefined ? new Share("self", () => ["self"]) : new Share(cluster.name, () => cluster.acting, (listener) => cluster.onChange((moved) => {
        if (moved?.length !== 0) listener(); // a later term changes nobody's share
      }), (chassis) => cluster.masters(chassis)),
      flowCounts: (app, rule, entity, payer) => counter.of(app, rule, entity, payer), dropCounts: (chassis, entities) => counter.drops(dropping, chassis, entities),
      countsOf: (resource, id, name, payer) => counter.ofResource(counting, view, resource, id, name, payer), portCounts: (chassis) => southbound.questions.portCounts(chassis), asked,
      asController: auth instanceof KeystoneAuth ? (ask) => auth.asController(ask) : undefined,
    });
    // What they do reaches others.
    if (!shadowed) services.start();
    this.stops.push(() => services.stop());

    const appProblems = new AppProblems(apps, view, guard, clock);
    const compilerProblems = new CompilerProblems(engine, clock, (id) => layout.tableById(id)?.name);
    const dump = new FlowDump({ apps, tables, view, engine, layout, model, southbound, clock });
    const history = new History(store, model, tables);
    const past = new PastFlows({ history, planner, dump, tables, engine });
    if (shadowed) this.tellDifferences(dump, southbound, engine);
    const tracer = new Tracer({ apps, tables, view, engine, layout, guard, ask: askOf(apps), clock, past, switches: southbound.questions });
    const northbound: Northbound = createNorthbound({ explain: (asked) => explained(tracer, asked), apps, model, view, auth, log, corsOrigins: config.corsOrigins, ...(auth === "none" ? { door: this.door(config.api, config.corsOrigins, false) } : {}), confirmations: receipts, derived: { compiled: () => engine.generation, onChanges: (observer) => engine.onChanges(observer) }, rates: config.rates, foresight: { of: planner, clock }, ...(shadowed && { unwritable: SHADOW }), metrics, beforeShown: (resource, fields, rows, caller) => asked.before(resource, fields, rows, caller), ...(config.policyFile === undefined ? {} : { policyFile: config.policyFile }) });
    if (northbound.policyFile !== undefined) this.files.push(northbound.policyFile);
    await listening("api", northbound.listen(config.api));
    this.stops.push(() => northbound.close());
    const opsToken = config.opsTokenFile === undefined ? undefined : new OpsTokenFile(config.opsTokenFile, log);
    if (opsToken !== undefined) {
      this.files.push(opsToken);
      this.stops.push(() => opsToken.close());
    }
    const problems = (): Problem[] => [...southbound.problems(), ...danglingProblems(view, apps, startedAt), ...(cluster?.problems() ?? []), ...claims.problems(), ...appProblems.now(), ...compilerProblems.now(), ...[northbound.policyFile?.problem, auth === "none" ? undefined : auth.problem, opsToken?.problem].filter((p) => p !== undefined)];
    problemMetrics(metrics, problems);
    const ops: OpsServer = createOps({
      log,
      access: opsToken ?? this.door(config.ops, [], true),
      ...(shadowed && { unwritable: SHADOW }),
      metrics,
      providers: {
        ready: () => {
          if (model.storeFailure !== undefined) return { ok: false, reason: `${model.storeFailure.message}; the store is opened again when the controller is restarted` };
          return store.trouble === undefined ? { ok: true } : { ok: false, reason: store.trouble };
        },
        switches: () => southbound.switches(),
        switch: (id) => southbound.switches().find((s) => s.id === id),
        meters: async (id) => metersOf(engine, id, await southbound.questions.meterCounts(id)),
        problems,
        held: () => southbound.held(),
        acceptStore: (id) => southbound.accept(id),
        removeSwitch: (id) => southbound.remove(id), otherMaster: (id) => southbound.otherMaster(id),
        checkFlowQuery: (query) => dump.check(query),
        flows: (query) => dump.flows(query),
        flowBytes: (query, format) => dump.bytes(query, format),
        pastFlows: (at, query, format) => past.dump(at, query, format),
        onFlowEvent: (listener) => dump.onEvent(listener),
        policy: () => shownPolicy(northbound.registry.policy, northbound.policyFile),
      },
    });
    pipelineRoute(ops, layout, apps);
    traceRoutes(ops, tracer);
    receiptRoutes(ops, receiptLog);
    // What the API asks a token for is not to be had without one here, nor from another machine.
    const isOpen = opsToken === undefined && (auth !== "none" || !isLoopbackName(config.ops.host));
    const operator = { plans: northbound.plans!, faces: northbound.faces, operations: northbound.operations, model, log, ...(shadowed && { unwritable: SHADOW }), ...(isOpen && { forbidden: "to change something over the ops listener wants its token: start the controller with --ops-token-file" }) };
    planRoutes(ops, plansOfOperator(operator), callsOfOperator(operator));
    const named = new Named(tables, view);
    historyRoutes(ops, history, named, (from, to, id) => past.difference(from, to, id));
    appLists(ops, { apps, view, guard, log, named, isChassis: (id) => model.view.get(chassisTable, id) !== undefined });
    appGauges(metrics, { apps, view, guard });
    const topology = new Topology({ apps, view, generation: () => engine.generation, switches: () => southbound.switches(), onChanges: (observer) => engine.onChanges(observer) });
    this.stops.push(() => topology.stop());
    topologyRoutes(ops, topology, named);
    clusterRoutes(ops, () => cluster?.shown(Array.from(model.view.all(chassisTable), ({ id }) => id)) ?? { name: config.name, members: [] });
    consoleRoutes(ops);
    await listening("ops", ops.listen(config.ops));
    this.stops.push(() => ops.close());
    const bound = ({ server }: Pick<OpsServer, "server">): number => (server.address() as AddressInfo).port;
    if (cluster !== undefined) await this.serve(cluster, southbound, engine, model, { api: `${config.api.host}:${bound(northbound)}`, ops: `${config.ops.host}:${bound(ops)}` });
    log.info(
      {
        name: config.name, ...(shadowed && { shadow: true }),
        api: { ...config.api, port: bound(northbound) },
        ops: { ...config.ops, port: bound(ops) },
        openflow: { ...config.openflow, port: southbound.openflowPort },
        ovsdb: { ...config.ovsdb, port: southbound.ovsdbPort },
      },
      "ready",
    );
  }

  /** Of a listener that asks nobody who he is. */
  private door({ host }: Endpoint, origins: readonly string[], links: boolean): Door {
    return { hosts: isLoopbackName(host) ? new Set(this.options.config.allowedHosts) : undefined, origins: new Set(origins), links };
  }

  private async openStored(dataDir: string, onSync?: (seconds: number) => void, store = this.options.config.store): Promise<KvStore> {
    const { config, log } = this.options;
    if (store === "level:") {
      await makeFolder(dataDir);
      const kept = await keepFirstEdition(dataDir);
      if (kept !== undefined) log.info({ dataDir, copy: kept }, "a data directory of the first edition is taken over, a copy is kept");
    }
    if (isEtcd(store) && config.acceptLoss !== undefined) throw new UsageError(`--accept-loss has no meaning with --store ${store}: start on a backup of etcd`);
    return openStore(store, { dataDir, log, history: WATCHED, keep: config.keep ?? KEEP, acceptLoss: config.acceptLoss, onSync, etcd: config.etcd }).catch((error: unknown) => {
      throw error instanceof StoreError && isEtcd(store) ? new StoreError(error.code, `--store ${store}: ${error.message}`, error.fields, error) : error;
    });
  }

  /** @throws UsageError when others of the cluster are not of this one's kind */
  private async refuseUnlike(apps: readonly string[]): Promise<void> {
    const { store: url, etcd, name } = this.options.config;
    if (!isEtcd(url)) return;
    const { Cluster } = await import("./cluster/index.ts");
    await Cluster.refuseUnlike({ url, etcd, name, version: version(), apps }).catch((error: unknown) => {
      if (error instanceof UsageError) throw error; // without etcd the store is not opened either, which says so
    });
  }

  /** undefined: the store is this controller's alone. */
  private async joinCluster(clock: Clock, random: Random, model: Model, apps: readonly string[]): Promise<Cluster | undefined> {
    const { config: { store: url, etcd, name }, log } = this.options;
    // A shadow is no member: it has no share, no lease, and nobody waits for it.
    if (!isEtcd(url) || this.options.config.shadow === true) return undefined;
    // Loaded where it is used: gRPC is large.
    const { Cluster } = await import("./cluster/index.ts");
    const cluster = await Cluster.join({ url, etcd, name, version: version(), apps, log, clock, random });
    this.stops.push(() => cluster.leave());
    const hosts = (): readonly string[] => Array.from(model.view.all(chassisTable), ({ id }) => id);
    let generation = Math.max(0, ...hosts().map((id) => model.lastChange(chassisTable.name, id)?.generation ?? 0));
    const changed = cluster.knowing({ hosts, generation: () => generation, newest: () => model.generation });
    this.stops.push(model.onCommit((commit) => {
      if (!commit.changes.some(({ table }) => table === chassisTable)) return;
      generation = commit.generation;
      changed();
    }));
    return cluster;
  }

  /** From now on it has its share. The last step of a start: who is busy with another cannot renew a lease. */
  private async serve(cluster: Cluster, southbound: Southbound, engine: Engine, model: Model, at: { readonly api: string; readonly ops: string }): Promise<void> {
    const changed = cluster.confirming({ chassis: () => Array.from(model.view.all(chassisTable), ({ id }) => id), confirmed: (chassis) => southbound.confirmed(chassis), rows: (chassis) => southbound.rows(chassis), reached: () => engine.generation });
    this.stops.push(southbound.onConfirmed(changed), engine.onDelta(changed));
    await cluster.say({ state: "serving", ovsdb: southbound.managerTarget, ...at });
  }

  private async openCopy(): Promise<KvStore> {
    const { config: { store, etcd, dataDir } } = this.options;
    if (store !== "level:" && !isEtcd(store)) throw new UsageError(`--shadow compares switches with what is stored: --store ${store} has nothing`);
    const open = (copy: string): Promise<KvStore> => this.openStored(copy, undefined, "level:");
    const { opened, remove } = isEtcd(store) ? await withRows({ url: store, etcd }, open) : await withCopy(dataDir, open);
    this.stops.push(remove);
    return opened;
  }

  private tellDifferences(dump: FlowDump, southbound: Southbound, engine: Engine): void {
    const { log, clock = machineClock } = this.options;
    const shadow = (this.shadow = new Shadow({ dump, unwritten: (chassis) => southbound.unwritten(chassis), log, clock }));
    for (const chassis of southbound.held()) shadow.looked(chassis, undefined);
    engine.onDelta((delta) => {
      for (const chassis of delta.chassis.keys()) shadow.changed(chassis);
    });
    this.stops.push(() => shadow.stop());
  }

  private makeAuth(clock: Clock): "none" | Authenticator {
    const { config: { auth }, log } = this.options;
    if (auth.kind === "none") return "none";
    if (auth.kind === "tokens") {
      const tokens = new TokenFile(auth.file, log);
      this.files.push(tokens);
      return tokens;
    }
    const outbound = new Outbound(clock, machineHttp, { concurrency: 16, queue: 1024 });
    this.stops.push(() => outbound.stop());
    return new KeystoneAuth({ ...auth, clock, log, fetch: (url, options) => outbound.fetch(url, options) });
  }

  private makeSouthbound(parts: {
    readonly counter: FlowCounter;
    readonly apps: readonly App[]; readonly layout: Layout; readonly model: Model; readonly view: View; readonly engine: Engine; readonly metrics: Metrics;
    readonly packets: Packets; readonly facts: Facts; readonly guard: HookGuard; readonly earlier: readonly string[]; readonly lineage: Lineage; readonly clock: Clock; readonly random: Random; readonly cluster: Cluster | undefined; readonly looked: (chassis: string, hold: string | undefined) => void;
  }): Southbound {
    const { config, log } = this.options;
    const { counter, apps, layout, model, view, engine, metrics, packets, facts, guard, earlier, lineage, clock, random, cluster, looked } = parts;
    return new Southbound({
      model: seenThrough(model, view), desired: engine, apps, metrics, log, guard, facts, clock, random, lineage, cluster, looked,
      effects: flowEffects(apps, layout, view, guard, earlier),
      counting: {
        isCounted: (flow) => counter.isCounted(flow),
        ended: (chassis, flow, counts) => {
          const { app, rule, entity } = engine.emitterOf(flow);
          counter.end(app, rule, entity, { chassis, key: flow.key, table: flow.table, ...counts });
        },
      },
      tableName: (id) => layout.tableById(id)?.name,
      resourcesOf: (flow) => engine.provenance(flow).resources.map(({ type, id }) => ({ type, id })),
      config: { openflow: config.openflow, ovsdb: config.ovsdb, advertise: config.advertise, tls: config.tls, auditIntervalMs: config.auditIntervalMs, shadow: config.shadow },
      onPacketIn: (packet) => packets.handle(packet),
      hearing: { tables: packets.heard, hear: (packet) => packets.hear(packet) },
    });
  }

  /** Reads the operator's files again: policy, tokens; and takes the TLS files as they were read now. One that cannot be used changes nothing. */
  reread(tls: Config["tls"]): void {
    this.options.log.info("asked to read files again");
    for (const file of this.files) file.reload();
    this.renewTls(tls);
  }

  /** For connections to come; undefined: as before. */
  renewTls(tls: Config["tls"]): void {
    if (tls === undefined || this.southbound === undefined) return;
    this.southbound.renewTls(tls);
    this.options.log.info("TLS certificates read again");
  }

  async stop(): Promise<void> {
    await this.cluster?.drain(() => this.southbound?.mastered === 0);
    for (const undo of this.stops.splice(0).reverse()) await undo();
  }
}

/** The model with all tables in its view: hooks that the southbound layer calls see them. */
function seenThrough(model: Model, view: View): Pick<Model, "transact" | "view" | "generation" | "onCommit"> {
  return {
    view,
    get generation() {
      return model.generation;
    },
    transact: (cause, fn) => model.transact(cause, fn),
    onCommit: (listener) => model.onCommit(listener),
  };
}

function makeFacts(apps: readonly App[], clock: Clock, metrics: Metrics): Facts {
  const evicted = metrics.counter("axion_facts_evicted_total", "facts learned from packets, or observed, that were given up for newer ones, by table and by the limit that was reached", ["table", "limit"]);
  const facts = new Facts(allSoftTables(apps), clock, (table, limit) => evicted.inc({ table, limit }));
  metrics.gauge("axion_facts", "facts learned from packets, or observed, that are remembered, by table", () => facts.counts.map(({ table, facts: value }) => ({ labels: { table }, value })), ["table"]);
  return facts;
}

/** How many problems there are of each kind: few kinds, whatever there is of resources. */
function problemMetrics(metrics: Metrics, problems: () => readonly Problem[]): void {
  metrics.gauge("axion_problems", "What is wrong now, as GET /problems lists it, by kind and severity", () => {
    const counts = new Map<string, { labels: { kind: string; severity: string }; value: number }>();
    for (const { kind, severity } of problems()) {
      const key = `${severity} ${kind}`;
      const count = counts.get(key);
      if (count === undefined) counts.set(key, { labels: { kind, severity }, value: 1 });
      else count.value++;
    }
    return counts.values();
  }, ["kind", "severity"]);
}

/** How long a group of commits takes to be on disk. `stats`: of the store, when it is open. */
function storeMetrics(metrics: Metrics, stats: () => StoreStats): (seconds: number) => void {
  const synced = metrics.histogram("axion_store_sync_seconds", "how long a group of commits took to be on disk");
  metrics.gauge("axion_store_written_bytes", "bytes of the log's entries written since the start", () => stats().writtenBytes);
  metrics.gauge("axion_store_log_bytes", "bytes of the log that is kept as history", () => stats().logBytes);
  metrics.gauge("axion_store_waiting", "calls that wait to be written", () => stats().waiting);
  return (seconds) => synced.observe(seconds);
}

function engineMetrics(metrics: Metrics, engine: Engine, model: Model): void {
  metrics.gauge("axion_generation", "last committed store revision", () => model.generation);
  metrics.gauge("axion_store_lost_races", "writes since the start that came second, after another controller's, and were decided anew", () => model.lostRaces);
  metrics.gauge("axion_compiled_generation", "store revision that the desired flows reflect", () => engine.generation);
  metrics.gauge("axion_rule_runs", "rule runs since the start", () => engine.stats.runs);
  metrics.gauge("axion_flows_distinct", "distinct desired flows", () => engine.stats.flows);
  metrics.gauge("axion_flows_changed", "desired flows added, changed or removed since the start", () => engine.stats.flowsChanged);
  metrics.gauge("axion_flow_conflicts", "flows two rules disagree on", () => engine.conflicts.length);
}
