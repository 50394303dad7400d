// What the tests of probes share. A probe is an app of one folder beside this file; a test copies it into a folder of apps, in
// memory (Harness) or into a compiled controller on real switches (Cloud), and takes it out again. Whatever a probe does, five things
// hold: unused it costs no lookup, a restart changes nothing, a crash while it is withdrawn heals, incremental equals from scratch,
// and taken out it leaves nothing.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Cloud, type CloudOptions, type Instance, type Net } from "../../support/cloud.ts";
import { compare } from "../../support/from-scratch.ts";
import { appsFolder, Harness, textOf, type HarnessOptions } from "../../support/harness.ts";
import { collectionOf, nightly } from "../../support/process.ts";
import { tracePath } from "../../support/trace/trace.ts";

const root = repositoryRoot();
const SOURCES = path.join(root, "test/contract/probes");
const COMPILED = path.join(root, "dist/test/contract/probes");

/** Copies a probe's folder. Here the apps are further away than from a folder beside them. */
function copyProbe(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from)) {
    if (!/\.[jt]s$/.test(file) || /\.d\.ts$/.test(file)) continue;
    writeFileSync(path.join(to, file), readFileSync(path.join(from, file), "utf8").replaceAll('"../../../../apps/', '"../'));
  }
}

/** Every probe that has a folder here. */
export const allProbes = (): string[] => readdirSync(SOURCES, { withFileTypes: true }).filter((e) => e.isDirectory() && existsSync(path.join(SOURCES, e.name, "index.ts"))).map((e) => e.name).sort();

/** Folders of apps with some probes among them. */
export class Probes {
  readonly names: readonly string[];
  private readonly scratch: string;

  /** In the repository, so that "#app" and the packages resolve; outside of apps/, where other tests would find it. */
  constructor(...names: string[]) {
    this.names = names;
    this.scratch = path.join(root, ".lab", `probe-${names.slice(0, 3).join("-")}-${names.length}-${process.pid}`);
  }

  /** A controller without switches that has the probes; `without`: apps, with "," between, that none of the others requires. */
  harness({ without = "", ...options }: HarnessOptions & { readonly without?: string } = {}): Promise<Harness> {
    return Harness.make([], this.appsFolder(without), options);
  }

  /** The folder of that controller's apps. */
  appsFolder(without = ""): string {
    const folder = path.join(this.scratch, without === "" ? "apps" : `apps-without-${without}`);
    if (!existsSync(folder)) {
      mkdirSync(folder, { recursive: true });
      for (const app of readdirSync(appsFolder)) if (!app.startsWith("_") && !without.split(",").includes(app)) symlinkSync(path.join(appsFolder, app), path.join(folder, app));
      for (const name of this.names) copyProbe(path.join(SOURCES, name), path.join(folder, name));
    }
    return folder;
  }

  /** The compiled controller with the probes, on real switches. */
  cloud(options: CloudOptions = {}): Promise<Cloud> {
    return Cloud.create({ name: `probe-${this.names[0]}`, main: this.program(), flags: ["--audit-interval", "1"], ...options });
  }

  /** The compiled controller with the probes, as one of another version where that is given: its program. */
  program(version?: string): string {
    mkdirSync(this.tree, { recursive: true });
    const described = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as object;
    writeFileSync(path.join(this.tree, "package.json"), JSON.stringify({ ...described, ...(version !== undefined && { version }) }));
    for (const part of ["src", "apps"]) cpSync(path.join(root, "dist", part), path.join(this.tree, "dist", part), { recursive: true });
    symlinkSync(path.join(root, "node_modules"), path.join(this.tree, "node_modules"));
    for (const name of this.names) copyProbe(path.join(COMPILED, name), path.join(this.tree, "dist/apps", name));
    return path.join(this.tree, "dist/src/main.js");
  }

  private get tree(): string {
    return path.join(this.scratch, "tree");
  }

  /** Takes the probes out of the compiled controller; it notices at its next start. */
  takeOut(): void {
    for (const name of this.names) rmSync(path.join(this.tree, "dist/apps", name), { recursive: true });
  }

  delete(): void {
    rmSync(this.scratch, { recursive: true, force: true });
  }
}

/** Flows that a chassis should have in a table, as text. */
export function flowTexts(h: Harness, chassis: string, table: string): string[] {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(chassis)].filter((f) => f.table === id).map(textOf);
}

// --- real switches -------------------------------------------------------------------------------------------------------

/** Two networks on a router; `a` and `b` in the first, `c` in the second; `a` on hv1, the others on hv2. */
export interface Scene {
  readonly cloud: Cloud;
  readonly nets: readonly [Net, Net];
  readonly router: string;
  /** The router's in the first network. */
  readonly routerMac: string;
  readonly a: Instance;
  readonly b: Instance;
  readonly c: Instance;
}

export async function makeScene(cloud: Cloud, portOfC: Record<string, unknown> = {}): Promise<Scene> {
  const nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")] as const;
  const router = await cloud.router(nets);
  const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string }[] };
  const a = await cloud.instance(cloud.hv(1), nets[0]);
  const b = await cloud.instance(cloud.hv(2), nets[0]);
  const c = await cloud.instance(cloud.hv(2), nets[1], { port: portOfC });
  await until("an answer within the network", () => a.vm.reaches(b.ip));
  await until("an answer across the router", () => a.vm.reaches(c.ip));
  await cloud.synced();
  return { cloud, nets, router: router.id, routerMac: legs.ports[0]!.mac_address, a, b, c };
}

/** (a) The path of a packet that opens a connection is as long as without the probe: within a network 8 + 6 tables, across a router 12 + 6. */
export async function expectNoLookup({ cloud, nets, routerMac, a, b, c }: Scene): Promise<void> {
  const within = await tracePath(cloud, { from: [1, a], to: [2, b], dstMac: b.port.mac_address as string, net: nets[0] });
  expect([within.out.lookups, within.in!.lookups], within.out.text + within.in!.text).toEqual([8, 6]);
  const across = await tracePath(cloud, { from: [1, a], to: [2, c], dstMac: routerMac, net: nets[1] });
  expect([across.out.lookups, across.in!.lookups], across.out.text + across.in!.text).toEqual([12, 6]);
}

/** What a switch and its database hold, as they say themselves. Learned flows (they time out) are no part of it. */
export interface Held {
  readonly flows: readonly string[];
  readonly meters: readonly string[];
  readonly groups: readonly string[];
  readonly rows: readonly string[];
}

async function heldBy(hv: Hypervisor): Promise<Held> {
  const list = async (...args: string[]): Promise<string[]> => (await hv.vsctl("--format=csv", "--no-headings", ...args)).split("\n").filter((l) => l !== "").map((l) => `${args.at(-1)} ${l}`).sort();
  const dump = async (...args: string[]): Promise<string[]> => (await hv.ofctl(...args, "br-int")).split("\n").map((l) => l.trim()).filter((l) => l !== "" && !/reply|_timeout=.* actions=/.test(l)).sort();
  const columns = ["QoS", "Queue", "Mirror", "IPFIX", "sFlow", "NetFlow", "Flow_Table", "Flow_Sample_Collector_Set"].map((table) => list("list", table));
  return {
    flows: await dump("--no-stats", "dump-flows"),
    meters: await dump("dump-meters"),
    groups: await dump("dump-groups"),
    rows: [...(await Promise.all(columns)).flat(), ...(await list("--columns=name,qos,tag,external_ids", "list", "Port")), ...(await list("--columns=name,mirrors,ipfix,sflow,netflow,flow_tables", "list", "Bridge"))],
  };
}

export const held = (cloud: Cloud): Promise<Held[]> => Promise.all(cloud.hypervisors.map(heldBy));

/** (b) A restart of the controller changes no flow, meter, group or row: killed, and (nightly, or where it is said) stopped in order. */
export async function expectQuietRestart(cloud: Cloud, { stopped = nightly } = {}): Promise<void> {
  await cloud.synced();
  const before = await held(cloud);
  for (const end of [() => cloud.controller.kill9(), ...(stopped ? [() => cloud.controller.stop()] : [])]) {
    await end();
    await cloud.controller.start();
    await cloud.synced();
    await cloud.checked();
    expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(0);
    expect(await held(cloud)).toEqual(before);
  }
}

/**
 * (c) The controller is killed as soon as it acknowledged a withdrawal; started again, it takes away what is left. Once the switches
 * do nothing between withdrawal and crash, so that something is left for certain; of rows alone it is not certain, for a database
 * that goes on may find the transaction in its socket. Nightly twice more, with switches that go on; `atNight`: only then, as others
 * have the same kinds of output.
 */
export async function expectHealing(cloud: Cloud, clean: readonly Held[], use: () => Promise<() => Promise<void>>, { rowsAlone = false, atNight = false } = {}): Promise<void> {
  if (atNight && !nightly) return;
  for (const frozen of nightly ? [true, false, false] : [true]) {
    const withdraw = await use();
    await cloud.synced();
    expect(await held(cloud), "in use, something of it is there").not.toEqual(clean);
    const pids = frozen ? await Promise.all(cloud.hypervisors.flatMap((hv) => [hv.vswitchdPid(), hv.ovsdbPid()])) : [];
    try {
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      await withdraw();
      await cloud.controller.kill9();
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    if (frozen && !rowsAlone) expect(await held(cloud), "after the crash something is left").not.toEqual(clean);
    await cloud.controller.start();
    await cloud.synced();
    await settlesTo(cloud, clean);
  }
}

/** Databases follow on their own: they never gate flows. */
export async function settlesTo(cloud: Cloud, wanted: readonly Held[]): Promise<void> {
  await until("what switches and databases should hold", async () => JSON.stringify(await held(cloud)) === JSON.stringify(wanted)).catch(() => undefined);
  expect(await held(cloud)).toEqual(wanted);
  expect(await cloud.differences()).toBe("");
}

/** (e) In use when its folder is taken away, the probe leaves nothing behind, and packets go as before. */
export async function expectGone(probes: Probes, scene: Scene, clean: readonly Held[]): Promise<void> {
  const { cloud } = scene;
  await cloud.controller.stop();
  probes.takeOut();
  await cloud.controller.start();
  await cloud.synced();
  // Table numbers move up, so flows are told by whose they are (a foreign one would be a difference), and what is said of a table by its row.
  const rest = (states: readonly Held[]): object[] => states.map(({ meters, groups, rows }) => ({ meters, groups, rows: rows.map((row) => row.replaceAll(/\d+=(?=[0-9a-f]{8}-)/g, "")) }));
  await until("nothing of it", async () => JSON.stringify(rest(await held(cloud))) === JSON.stringify(rest(clean))).catch(() => undefined);
  expect(rest(await held(cloud))).toEqual(rest(clean));
  const { flows } = (await cloud.controller.ops<{ flows: { app: string }[] }>("GET", "/flows?state=installed")).body;
  expect(flows.length).toBeGreaterThan(0);
  expect(flows.filter((f) => f.app === "" || probes.names.includes(f.app))).toEqual([]);
  expect(await cloud.differences()).toBe("");
  await expectNoLookup(scene);
  await until("an answer across the router", () => scene.a.vm.reaches(scene.c.ip));
}

// --- random histories ----------------------------------------------------------------------------------------------------

/** What a random history has made so far; all lists may be empty. */
export interface World {
  readonly h: Harness;
  readonly networks: readonly string[];
  readonly subnets: readonly string[];
  readonly routers: readonly string[];
  readonly ports: readonly string[];
}

export interface HistoryOptions {
  /** Resource of the probe, and what one is made of; undefined: not now. */
  readonly resource: string;
  readonly values: (world: World, n: number, m: number) => Record<string, unknown> | undefined;
  /** Attributes of a change; absent: it has no PUT. */
  readonly change?: (n: number) => Record<string, unknown>;
  /** How many outputs of the probe there are now: some history must have some. */
  readonly count: (h: Harness) => number;
}

type Step = readonly [what: "add" | "remove" | "change" | "port" | "unport" | "plug" | "unplug" | "interface" | "uninterface" | "routes" | "down" | "up", n: number, m: number];
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom("add", "add", "add", "remove", "remove", "change", "port", "unport", "plug", "plug", "unplug", "interface", "uninterface", "routes", "down", "up"), fc.nat(5), fc.nat(5),
);

/** (d) Whatever comes and goes, what the compiler has and what switches were told equals a compile from scratch, for all kinds of output. */
export async function expectIncremental(probes: Probes, options: HistoryOptions): Promise<void> {
  let most = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), async (steps) => {
      const h = await probes.harness();
      try {
        most = Math.max(most, await history(h, steps, options));
      } finally {
        await h.close();
      }
    }),
    { numRuns: nightly ? 50 : 10 },
  );
  expect(most, "the histories reach states with outputs of the probe").toBeGreaterThan(0);
}

async function history(h: Harness, steps: readonly Step[], { resource, values, change, count }: HistoryOptions): Promise<number> {
  const HOSTS = ["hv0", "hv1", "hv2"];
  const own: string[] = [];
  const world = { h, networks: [] as string[], subnets: [] as string[], routers: [] as string[], ports: [] as string[] };
  const collection = `/v2.0/${collectionOf(resource)}`;
  const pick = (list: readonly string[], n: number): string => list[n % Math.max(1, list.length)] ?? "none";
  const call = async (method: "POST" | "PUT", url: string, body?: unknown): Promise<string | undefined> => {
    const answer = await h.call(method, url, body);
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500);
    return answer.status === 201 ? (Object.values(answer.body as Record<string, { id: string }>)[0]!).id : answer.status < 300 ? "" : undefined;
  };
  const post = async (list: string[], kind: string, body: Record<string, unknown>): Promise<void> => {
    const id = await call("POST", `/v2.0/${collectionOf(kind)}`, { [kind]: { project_id: "p", ...body } });
    if (id !== undefined) list.push(id);
  };
  const drop = async (list: string[], url: string, id: string): Promise<void> => {
    const { status } = await h.call("DELETE", `${url}/${id}`);
    expect(status).toBeLessThan(500);
    // It may have gone with something else.
    if ((status === 204 || status === 404) && list.includes(id)) list.splice(list.indexOf(id), 1);
  };
  let ofport = 10;
  for (const host of HOSTS) await h.addChassis(host, { bridge_mappings: { phys0: "br-phys0", phys1: "br-phys1" } });
  for (const n of [0, 1]) {
    await post(world.networks, "network", { name: `n${n}` });
    await post(world.subnets, "subnet", { network_id: world.networks[n], ip_version: 4, cidr: `10.0.${n}.0/24` });
  }
  await post(world.routers, "router", { name: "r" });
  for (const subnet_id of world.subnets) await call("PUT", `/v2.0/routers/${world.routers[0]}/add_router_interface`, { subnet_id });
  for (const n of [0, 1, 2]) {
    await post(world.ports, "port", { network_id: pick(world.networks, n) });
    await h.plug(HOSTS[n]!, world.ports[n]!, ++ofport);
  }
  // One that is nowhere, and something of the probe that may be about it: a history of chance alone may make nothing that has outputs.
  await post(world.ports, "port", { network_id: pick(world.networks, 1) });
  const begin: readonly Step[] = [["add", 3, 0]];
  let most = 0;
  for (const [what, n, m] of [...begin, ...steps]) {
    const port = pick(world.ports, n);
    const router = `/v2.0/routers/${world.routers[0]}`;
    switch (what) {
      case "add": {
        const body = values(world, n, m);
        if (body !== undefined) await post(own, resource, body);
        break;
      }
      case "remove":
        await drop(own, collection, pick(own, n));
        break;
      case "change":
        if (change !== undefined) await call("PUT", `${collection}/${pick(own, n)}`, { [resource]: change(m) });
        break;
      case "port":
        await post(world.ports, "port", { network_id: pick(world.networks, n) });
        break;
      case "unport":
        await drop(world.ports, "/v2.0/ports", port);
        break;
      case "plug":
        if (port !== "none") await h.plug(pick(HOSTS, m), port, ++ofport);
        break;
      case "unplug":
        await h.unplug(pick(HOSTS, m), port);
        break;
      case "interface":
      case "uninterface":
        await call("PUT", `${router}/${what === "interface" ? "add" : "remove"}_router_interface`, { subnet_id: pick(world.subnets, n) });
        break;
      case "routes":
        await call("PUT", router, { router: { routes: m === 0 ? [] : [{ destination: `192.168.${n}.0/24`, nexthop: `10.0.${n % 2}.9` }] } });
        break;
      case "down":
      case "up":
        await call("PUT", m % 2 === 0 ? `/v2.0/ports/${port}` : router, { [m % 2 === 0 ? "port" : "router"]: { admin_state_up: what === "up" } });
        break;
    }
    await h.settled();
    compare(h, HOSTS);
    most = Math.max(most, count(h));
  }
  // All of it taken back, one by one.
  for (const id of [...own]) {
    await drop(own, collection, id);
    await h.settled();
    compare(h, HOSTS);
  }
  expect(count(h), "outputs when all of the probe's resources are gone").toBe(0);
  return most;
}
