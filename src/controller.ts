// A controller: the parts put together. main.ts runs one as a process; tests and benchmarks make their own.
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { App, PacketOut } from "#app";
import { allTables, checkApps, packetInHandlers } from "./boot/registry.ts";
import { discoverApps } from "./boot/discover.ts";
import type { Config } from "./config/index.ts";
import { CompilerLoop } from "./compiler/loop.ts";
import { Engine } from "./compiler/engine.ts";
import { Metrics } from "./lib/metrics.ts";
import { version } from "./lib/version.ts";
import { Model } from "./model/model.ts";
import { createNorthbound, type Northbound } from "./northbound/index.ts";
import { FlowDump } from "./ops/flow-dump.ts";
import { createOps, type OpsServer } from "./ops/server.ts";
import { Layout } from "./pipeline/layout.ts";
import { Southbound } from "./southbound/index.ts";
import { openStore } from "./store/open.ts";

export interface ControllerOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly appsFolder: string;
}

export class Controller {
  private readonly options: ControllerOptions;
  /** Undo steps, run last to first. */
  private readonly stops: (() => Promise<void> | void)[] = [];

  constructor(options: ControllerOptions) {
    this.options = options;
  }

  /** Opens store, model, compiler, then the listeners: southbound first, so that the API never answers for nothing. */
  async start(): Promise<void> {
    const { config, log } = this.options;
    const apps = await discoverApps(this.options.appsFolder, config.disabledApps);
    checkApps(apps);
    const tables = allTables(apps);
    const layout = new Layout(apps);
    const store = await openStore(config.store, { dataDir: config.dataDir });
    const model = await Model.open(store, tables);
    this.stops.push(() => model.close());

    const metrics = new Metrics();
    metrics.collectProcess();
    metrics.gauge("axion_info", "1, with this controller's name and version", () => [{ labels: { name: config.name, version: version() }, value: 1 }], ["name", "version"]);
    const engine = new Engine({ apps, tables, layout, rows: model.layer, log });
    const began = performance.now();
    engine.compileAll(model.generation);
    log.info({ apps: apps.map((a) => a.name), generation: model.generation, flows: engine.stats.flows, ms: Math.round(performance.now() - began) }, "compiled");
    const loop = new CompilerLoop(model, engine, (error) => log.error({ err: error }, "the compiler failed on a batch; its flows stay as they were"));
    this.stops.push(() => loop.stop());
    engineMetrics(metrics, engine, model);

    const southbound = this.makeSouthbound(apps, layout, model, engine, metrics);
    await southbound.start();
    this.stops.push(() => southbound.stop());
    this.stops.push(startPeriodic(apps, model, southbound, log));

    const dump = new FlowDump({ engine, layout, model, southbound });
    const northbound: Northbound = createNorthbound({ apps, model, auth: "none", log });
    await northbound.listen(config.api);
    this.stops.push(() => northbound.close());
    const ops: OpsServer = createOps({
      log,
      metrics,
      providers: {
        ready: () => (model.storeFailure === undefined ? { ok: true } : { ok: false, reason: `${model.storeFailure.message}; the store is opened again when the controller is restarted` }),
        switches: () => southbound.switches(),
        switch: (id) => southbound.switches().find((s) => s.id === id),
        removeSwitch: (id) => southbound.remove(id),
        flows: (query) => dump.flows(query),
        onFlowEvent: (listener) => dump.onEvent(listener),
      },
    });
    await ops.listen(config.ops);
    this.stops.push(() => ops.close());
    const bound = ({ server }: Pick<OpsServer, "server">): number => (server.address() as AddressInfo).port;
    log.info(
      {
        name: config.name,
        api: { ...config.api, port: bound(northbound) },
        ops: { ...config.ops, port: bound(ops) },
        openflow: { ...config.openflow, port: southbound.openflowPort },
        ovsdb: { ...config.ovsdb, port: southbound.ovsdbPort },
      },
      "ready",
    );
  }

  private makeSouthbound(apps: readonly App[], layout: Layout, model: Model, engine: Engine, metrics: Metrics): Southbound {
    const { config, log } = this.options;
    const handlers = packetInHandlers(apps);
    return new Southbound({
      model, desired: engine, apps, metrics, log,
      config: { openflow: config.openflow, ovsdb: config.ovsdb, advertise: config.advertise, tls: config.tls, auditIntervalMs: config.auditIntervalMs },
      onPacketIn: (packet) => {
        const table = layout.tableById(packet.tableId);
        const handler = table === undefined ? undefined : handlers.get(table.name);
        if (table === undefined || handler === undefined) return [];
        const register = (name: string): number => registerOf(layout, packet.match, name);
        return handler({ chassis: packet.chassis, inPort: packet.inPort, table: table.name, data: packet.data, register }, model.view, log);
      },
    });
  }

  async stop(): Promise<void> {
    for (const undo of this.stops.splice(0).reverse()) await undo();
  }
}

/** A register's value in the match of a packet-in. */
function registerOf(layout: Layout, match: Readonly<Record<string, unknown>>, name: string): number {
  const { field, ofs, bits } = layout.register(name);
  const word = match[field];
  if (word === undefined) return 0;
  const value = BigInt(word as number | bigint | string);
  return Number((value >> BigInt(ofs)) & ((1n << BigInt(bits)) - 1n));
}

function startPeriodic(apps: readonly App[], model: Model, southbound: Southbound, log: Logger): () => void {
  const timers = apps.flatMap((app) =>
    (app.periodic ?? []).map((job) =>
      setInterval(() => {
        try {
          const packets: PacketOut[] = [...job.run(model.view, log)];
          if (packets.length > 0) southbound.sendPackets(packets);
        } catch (error) {
          log.error({ err: error, app: app.name, job: job.name }, "a periodic job failed");
        }
      }, job.everyS * 1000),
    ),
  );
  for (const timer of timers) timer.unref();
  return () => timers.forEach((t) => clearInterval(t));
}

function engineMetrics(metrics: Metrics, engine: Engine, model: Model): void {
  metrics.gauge("axion_generation", "last committed store revision", () => model.generation);
  metrics.gauge("axion_compiled_generation", "store revision that the desired flows reflect", () => engine.generation);
  metrics.gauge("axion_rule_runs", "rule runs since the start", () => engine.stats.runs);
  metrics.gauge("axion_flows_distinct", "distinct desired flows", () => engine.stats.flows);
  metrics.gauge("axion_flows_changed", "desired flows added, changed or removed since the start", () => engine.stats.flowsChanged);
  metrics.gauge("axion_flow_conflicts", "flows two rules disagree on", () => engine.conflicts.length);
}
