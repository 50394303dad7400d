// Probe 1: a floating address with hairpin, taken away under traffic. One folder; unused it costs no lookup.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { claimTable, poolNumberTable, zonePool } from "#app";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Cloud, Instance, Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("floating");
afterAll(() => probes.delete());

test("incremental equals from scratch, whatever floating addresses come and go", async () => {
  await expectIncremental(probes, {
    resource: "floating",
    values: ({ routers, networks, ports }, n, m) => ({ router_id: routers[0], outside_id: networks[n % networks.length], port_id: ports[m % Math.max(1, ports.length)], address: `10.0.${n % 2}.${100 + n}` }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "floating")).filter((f) => f.includes("nat(")).length,
  });
}, 120_000);

test("a router's zones are claimed once for each chassis, however many addresses; a change looks at what it changes", async () => {
  const h = await probes.harness();
  try {
    const HOSTS = ["hv1", "hv2", "hv3"];
    for (const host of [...HOSTS, "hv4"]) await h.addChassis(host);
    const network = (await h.create("network", {})).id;
    const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
    const router = (await h.create("router", {})).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
    const port = async (host: string, ofport: number): Promise<string> => {
      const { id } = await h.create("port", { network_id: network });
      await h.plug(host, id, ofport);
      return id;
    };
    const float = async (n: number, port_id: string): Promise<unknown> => h.create("floating", { router_id: router, outside_id: network, port_id, address: `10.9.0.${n}` });
    const ids: string[] = [];
    for (let n = 1; n <= 31; n++) ids.push(await port(HOSTS[n % 3]!, 10 + n));
    for (const [n, id] of ids.slice(0, 30).entries()) await float(n, id);
    await h.settled();
    const claims = (): number => [...h.view.all(claimTable)].filter((c) => c.pool === zonePool.name).length;
    const numbers = (): number => [...h.view.all(poolNumberTable)].filter((n) => n.pool === zonePool.name && !n.releasing).length;
    expect([claims(), numbers()]).toEqual([3, 3]);
    const looks = async (change: () => Promise<unknown>): Promise<number> => {
      const before = h.claims.looked;
      await change();
      await h.settled();
      return h.claims.looked - before;
    };
    expect(await looks(() => float(100, ids[30]!)), "one more address").toBe(0);
    expect(await looks(() => port("hv4", 90)), "one more chassis").toBe(1);
    expect([claims(), numbers()]).toEqual([4, 4]);
    expect(await looks(() => h.create("network", {})), "a network, which has its VNI").toBe(0);
    expect(await looks(() => h.unplug("hv1", ids[2]!)), "another's port").toBe(0);
  } finally {
    await h.close();
  }
});

test("a zone that is being given up is nobody's: the address that comes meanwhile waits until it is the router's again", async () => {
  const h = await probes.harness();
  try {
    await h.addChassis("hv1");
    const network = (await h.create("network", {})).id;
    const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
    const router = (await h.create("router", {})).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
    const port = (await h.create("port", { network_id: network })).id;
    await h.plug("hv1", port, 10);
    const translating = (): number => flowTexts(h, "hv1", "floating").filter((f) => f.includes("nat(")).length;
    const seen: [number, number][] = [];
    h.engine.onDelta(() => seen.push([translating(), flowTexts(h, "hv1", "router_zone").filter((f) => f.includes("priority=100")).length]));
    for (let n = 0; n < 2; n++) {
      const { id } = await h.create("floating", { router_id: router, outside_id: network, port_id: port, address: "10.9.0.1" });
      await h.settled();
      expect(translating()).toBe(1);
      await h.call("DELETE", `/v2.0/floatings/${id}`);
      await h.settled();
      // Its switch has not forgotten yet.
      expect([...h.view.all(poolNumberTable)].filter((n) => n.pool === zonePool.name).map((n) => n.releasing)).toEqual([true]);
    }
    expect(seen).toContainEqual([1, 1]);
    expect(seen.filter(([translations, zones]) => translations > zones)).toEqual([]);
  } finally {
    await h.close();
  }
});

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  // What stands for the outside is the second network of the router; c is there, on the host of b.
  const [ONE, TWO] = ["10.0.1.100", "10.0.1.101"] as const;
  let scene: Scene;
  let cloud: Cloud;
  let clean: Held[];
  let a: Instance;
  let b: Instance;
  let client: Instance;

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    ({ cloud, a, b, c: client } = scene);
    const group = ((await cloud.show("port", a.port.id)).security_groups as string[])[0]!;
    for (const protocol of ["icmp", "tcp"]) await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", protocol });
    await cloud.synced();
    clean = await held(cloud);
  }, 60_000);
  afterAll(async () => cloud?.destroy());
  // What one test leaves when it fails is not the next one's.
  afterEach(async () => {
    const { floatings } = (await cloud.call("GET", "/v2.0/floatings")).body as unknown as { floatings?: { id: string }[] };
    for (const { id } of floatings ?? []) await cloud.remove("floating", id);
  });

  const float = (instance: Instance, address: string): Promise<Resource> =>
    cloud.create("floating", { router_id: scene.router, outside_id: scene.nets[1].network.id, port_id: instance.port.id, address });
  const zones = async (): Promise<string> => (await Promise.all([1, 2].map((n) => cloud.hv(n).appctl("dpctl/dump-conntrack")))).join("\n");
  /** Translated connections: the answers have another address than what was asked for. What ports' own zones know is not ours. */
  const connectionsOf = async (address: string): Promise<string[]> => (await zones()).split("\n").filter((line) => line.includes(`dst=${address},`) && !line.includes(`reply=(src=${address},`));

  test("unused it costs no lookup; it leads to its port from outside, on the same host and on another, and out by its address", async () => {
    await expectNoLookup(scene);
    const [one, two] = [await float(a, ONE), await float(b, TWO)];
    await until("the first", () => client.vm.reaches(ONE));
    await until("the second, on another host", () => client.vm.reaches(TWO));
    expect(await client.vm.ping(TWO, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    const server = await b.vm.listen(8080);
    expect(await client.vm.connectTcp(TWO, 8080)).toBe(true);
    await server.close();
    // Hairpin: a VM of the same network, by the other's floating address, and seen as its own.
    const capture = await b.vm.tcpdump("icmp");
    await until("hairpin", () => a.vm.reaches(TWO));
    const { lines } = await capture.stop();
    expect(lines.some((line) => line.includes(`${ONE} > 10.0.0.`))).toBe(true);
    // A restart finds everything in place.
    await expectQuietRestart(cloud);
    expect(await client.vm.reaches(TWO)).toBe(true);
    for (const f of [one, two]) await cloud.remove("floating", f.id);
    await cloud.synced();
    expect(await held(cloud)).toEqual(clean);
    await expectNoLookup(scene);
  }, 60_000);

  test("taken away under traffic it ends at once, connections and all", async () => {
    const it = await float(b, TWO);
    await until("it", () => client.vm.reaches(TWO));
    const server = await b.vm.listen(8081);
    const connection = await client.vm.openTcp(TWO, 8081);
    expect(await connection.echo("before")).toBe(true);
    expect((await connectionsOf(TWO)).length).toBeGreaterThan(0);
    await cloud.remove("floating", it.id);
    await cloud.synced();
    expect(await connection.echo("after", 1500)).toBe(false);
    expect(await connectionsOf(TWO)).toEqual([]);
    expect(await client.vm.reaches(TWO, { timeoutMs: 300 })).toBe(false);
    await connection.close();
    await server.close();
  });

  test("a crash in the middle of taking it away heals: the flow that drops is found, its connections are forgotten, it goes", async () => {
    for (let round = 0; round < 3; round++) {
      const it = await float(b, TWO);
      await until("it", () => client.vm.reaches(TWO));
      const server = await b.vm.listen(8082);
      const connection = await client.vm.openTcp(TWO, 8082);
      expect(await connection.echo("before")).toBe(true);
      await cloud.remove("floating", it.id);
      await cloud.controller.kill9();
      await cloud.controller.start();
      await cloud.synced();
      expect(await connectionsOf(TWO)).toEqual([]);
      expect(await cloud.differences()).toBe("");
      expect(await client.vm.reaches(TWO, { timeoutMs: 300 })).toBe(false);
      await connection.close();
      await server.close();
    }
  });

  test("and from the very middle: what stands in for a flow that is going is recognised", async () => {
    // As a controller leaves it that ended between the two bundles: the connections live, a flow that drops stands in.
    const it = await float(b, TWO);
    await until("it", () => client.vm.reaches(TWO));
    expect((await connectionsOf(TWO)).length).toBeGreaterThan(0);
    const hv = cloud.hv(2);
    const table = ((await cloud.controller.ops<{ flows: { table: string; table_id: number; match: string; app: string }[] }>("GET", "/flows?switch=hv2&app=floating")).body.flows.find((f) => f.match.includes(`nw_dst=${TWO}`))!);
    await cloud.controller.kill9();
    await hv.ofctl("mod-flows", "--strict", "br-int", `table=${table.table_id},priority=100,${table.match.replace(/^priority=\d+,/, "")},actions=drop`);
    await cloud.controller.start();
    await cloud.synced();
    await until("it again", () => client.vm.reaches(TWO));
    await cloud.remove("floating", it.id);
    await cloud.synced();
    expect(await connectionsOf(TWO)).toEqual([]);
  });

  test("a crash while it is withdrawn heals, and taken out nothing of it is left, connections included", async () => {
    await expectHealing(cloud, clean, async () => {
      const it = await float(b, TWO);
      await until("it", () => client.vm.reaches(TWO));
      return async () => cloud.remove("floating", it.id);
    });
    await float(b, TWO);
    await until("it", () => client.vm.reaches(TWO));
    await expectGone(probes, scene, clean);
    expect(await connectionsOf(TWO)).toEqual([]);
    expect((await cloud.controller.ops<string>("GET", "/flows?state=installed&format=text")).body).not.toMatch(/floating|l3\/router-zone/);
  }, 120_000);
});
