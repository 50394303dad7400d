// A controller of Axion as a process of a simulated machine: the code of src/, as main.ts starts it, on the simulated etcd and network.
import { pino, type Logger } from "pino";
import { fileURLToPath } from "node:url";
import type { App } from "#app";
import { discoverApps } from "../../src/boot/discover.ts";
import { Controller } from "../../src/controller.ts";
import type { Config } from "../../src/config/index.ts";
import { carrierOf } from "./carrier.ts";
import type { SimEtcd } from "./etcd.ts";
import type { Network } from "./network.ts";
import type { Machine, World } from "./world.ts";
import { appsFolder, silent } from "../support/harness.ts";

/** What it is asked for, and how often it is started again after a crash. */
export const API_PORT = 9696;
const [OPS_PORT, OPENFLOW_PORT, OVSDB_PORT] = [9697, 6653, 6640];

export class SimController {
  readonly name: string;
  readonly address: string;
  machine!: Machine;
  private readonly world: World;
  private readonly network: Network;
  private readonly etcd: SimEtcd;
  private starts = 0;
  /** Since it was started last: whether all of it is up. */
  ready = false;
  skewMs = 0;

  constructor(world: World, network: Network, etcd: SimEtcd, i: number) {
    this.world = world;
    this.network = network;
    this.etcd = etcd;
    this.name = `c${i}`;
    this.address = `10.0.0.${i}`;
  }

  get manager(): string {
    return `tcp:${this.address}:${OVSDB_PORT}`;
  }
  get api(): string {
    return `${this.address}:${API_PORT}`;
  }

  /** Starts it, if it is down. */
  begin(): void {
    if (!this.machine.alive) this.start();
  }

  start(): void {
    const { world, network, address } = this;
    const machine = (this.machine = world.machine(this.name));
    machine.skewMs = this.skewMs;
    network.place(machine, address);
    this.ready = false;
    const start = ++this.starts;
    world.trace(`${this.name} is started`);
    world.after(0, machine, () => {
      const controller = new Controller({ config: this.config(machine), log: this.log(), appsFolder: noApps, apps: loaded });
      controller.start().then(
        () => {
          this.ready = true;
          world.trace(`${this.name} is ready`);
        },
        (error: unknown) => {
          if (!machine.alive) return;
          world.trace(`${this.name} did not start: ${(error as Error).message}`);
          // As systemd does it.
          this.crash(false);
          world.after(1000, undefined, () => {
            if (this.starts === start) this.start();
          });
        },
      );
    });
  }

  /** `silently`: its machine with it, so that nobody is told. */
  crash(silently: boolean): void {
    if (!this.machine.alive) return;
    this.world.trace(`${this.name} crashes`);
    this.network.crashed(this.machine, silently);
    this.ready = false;
  }

  private config(machine: Machine): Config {
    const at = (port: number): { host: string; port: number } => ({ host: this.address, port });
    return {
      dataDir: "/nowhere", store: `etcd://${this.etcd.endpoints}`, etcd: { carrier: (address) => carrierOf(this.network, machine, address) },
      api: at(API_PORT), ops: at(OPS_PORT), openflow: at(OPENFLOW_PORT), ovsdb: at(OVSDB_PORT),
      advertise: this.address, tls: undefined, auth: { kind: "none" }, policyFile: undefined, opsTokenFile: undefined, allowedHosts: [], corsOrigins: [],
      rates: { project: undefined, unauthenticated: undefined }, disabledApps: [], auditIntervalMs: 60_000, name: this.name, logLevel: "silent", logPretty: false,
    };
  }

  private log(): Logger {
    const { world, name } = this;
    if (world.logged === undefined) return silent;
    return pino({ level: "info", base: null, timestamp: false }, { write: (line: string) => world.logged?.(`${world.now.toFixed(1)} ${name} ${line.trimEnd()}`) });
  }
}

let loaded: readonly App[] = [];
/** Those that are simulated. */
export const apps = (): readonly App[] => loaded;
const noApps = fileURLToPath(new URL("../fixtures/api", import.meta.url));

/** Those of the short runs, and what they require: an engine with all starts in twice the time. */
const FEW: readonly string[] = ["l2", "ipam", "overlay", "security-groups", "rbac", "quotas", "provider", "agents"];

/** Loads what a controller loads when it starts: files are read in the process's own time, which nobody knows. */
export async function warmUp({ all }: { readonly all: boolean }): Promise<void> {
  loaded = (await discoverApps(appsFolder)).filter(({ name }) => all || FEW.includes(name));
  await Promise.all([import("../../src/cluster/index.ts"), import("../../src/store/etcd/client.ts"), import("../../src/store/etcd/etcd.ts")]);
}
