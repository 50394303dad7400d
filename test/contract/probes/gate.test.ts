// Probe 3: a gateway on a per-peer BFD tunnel, killed. Which gateway is alive the switch finds out by itself: with no controller the
// packets go on by the next one.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Net, Resource } from "../../support/cloud.ts";
import { trace } from "../../support/trace.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, settlesTo, type Held, type Scene } from "./support.ts";

const probes = new Probes("gate", "wan");
afterAll(() => probes.delete());
const HOSTS = ["hv0", "hv1", "hv2"];

test("incremental equals from scratch, whatever gates come and go: ports, groups and flows", async () => {
  await expectIncremental(probes, {
    resource: "gate",
    values: ({ routers, networks }, n, m) => ({ router_id: routers[0], outside_id: networks[n % networks.length], address: `10.0.${n % networks.length}.200`, nexthop: `10.0.${n % networks.length}.201`, hosts: n < 3 ? [`hv${m % 3}`] : [`hv${m % 3}`, `hv${(m + 1) % 3}`] }),
    change: (n) => ({ hosts: n < 3 ? [`hv${n}`, `hv${(n + 2) % 3}`] : [`hv${n - 3}`] }),
    count: (h) => HOSTS.flatMap((host) => [...[...h.engine.itemsOf(host)].filter((i) => i.kind === "group"), ...[...h.engine.rowsOf(host)].filter((r) => r.key.startsWith("axion-bfd-"))]).length,
  });
}, 120_000);

test("a leg that is not entered brings its router to the gateways, and to no other host of the network outside", async () => {
  const h = await probes.harness();
  try {
    for (const host of HOSTS) await h.addChassis(host);
    const [inside, outside] = [(await h.create("network", {})).id, (await h.create("network", {})).id];
    const [subnet] = [await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" }), await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "10.0.1.0/24" })];
    const router = (await h.create("router", {})).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet.id });
    for (const [n, network_id] of [inside, outside].entries()) await h.plug(HOSTS[n]!, (await h.create("port", { network_id })).id, 11);
    await h.settled();
    const before = flowTexts(h, "hv1", "l3_route");
    await h.create("gate", { router_id: router, outside_id: outside, address: "10.0.1.1", nexthop: "10.0.1.9", hosts: ["hv2"] });
    await h.settled();
    expect(flowTexts(h, "hv1", "l3_route")).toEqual(before);
    for (const host of ["hv0", "hv2"]) expect(flowTexts(h, host, "l3_route").some((f) => f.includes("nw_dst=10.0.1.0/24 "))).toBe(true);
    expect(h.complaints).toEqual([]);
  } finally {
    await h.close();
  }
});

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  const BEHIND = "10.77.0.1";
  const ELSEWHERE = "10.78.0.1";
  const GATE = "10.0.2.1";
  let scene: Scene;
  let outside: Net;
  let x: Instance;
  let y: Instance;
  let clean: Held[];

  // a on hv1. The outside is a network that the router has no interface on; what is behind it is x on hv2; y is on hv1. hv3 has no port of anybody.
  // c on hv2 knows another prefix, by a network of the router.
  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ hypervisors: 3 }), { allowed_address_pairs: [{ ip_address: "10.78.0.0/16" }] });
    outside = await scene.cloud.network("10.0.2.0/24", { gateway_ip: GATE });
    x = await scene.cloud.instance(scene.cloud.hv(2), outside, { port: { allowed_address_pairs: [{ ip_address: "10.77.0.0/16" }] } });
    y = await scene.cloud.instance(scene.cloud.hv(1), outside);
    await x.vm.configure(`addr add ${BEHIND}/32 dev lo`, "link set lo up");
    await scene.c.vm.configure(`addr add ${ELSEWHERE}/32 dev lo`, "link set lo up");
    await scene.cloud.synced();
    clean = await held(scene.cloud);
  }, 60_000);
  afterAll(async () => scene?.cloud.destroy());
  // What one test leaves when it fails is not the next one's.
  afterEach(async () => {
    const { gates } = (await scene.cloud.call("GET", "/v2.0/gates")).body as unknown as { gates?: { id: string }[] };
    for (const { id } of gates ?? []) await scene.cloud.remove("gate", id);
  });

  const gate = async (hosts = ["hv3", "hv2"]): Promise<Resource> => {
    const made = await scene.cloud.create("gate", { router_id: scene.router, outside_id: outside.network.id, address: GATE, nexthop: x.ip, hosts });
    for (const { vm } of [x, y]) await vm.configure("neigh flush all"); // another gate had another MAC
    return made;
  };
  /** Name of the port at one host towards another. */
  const portTo = async (from: number, to: number): Promise<string> => {
    const remote = scene.cloud.hv(to).encapIp;
    const found = (await scene.cloud.hv(from).vsctl("--bare", "--columns=name", "find", "Interface", `options:remote_ip=${remote}`)).split("\n").filter((n) => n.startsWith("axion-bfd-"));
    return found[0] ?? "";
  };
  /** What the switch says, for when no controller is there. */
  const bfd = async (from: number, to: number): Promise<string> => {
    const name = await portTo(from, to);
    return name === "" ? "" : (await scene.cloud.hv(from).vsctl("--if-exists", "get", "Interface", name, "bfd_status:state")).replaceAll('"', "");
  };
  /** The same as the controller observed it, which tells it with the gate. */
  const told = async (from: number, to: number): Promise<string | null | undefined> => {
    const { gates } = (await scene.cloud.call("GET", "/v2.0/gates")).body as unknown as { gates: { tunnels: { at: string; to: string; bfd: string | null }[] }[] };
    return gates[0]?.tunnels.find((t) => t.at === `hv${from}` && t.to === `hv${to}`)?.bfd;
  };
  const up = (from: number, to: number): Promise<boolean> => until(`BFD of hv${from} with hv${to}`, async () => (await told(from, to)) === "up" && (await told(to, from)) === "up");
  /** Packets that hv1 sent to each gateway, by the buckets of its one group. */
  const chosen = async (): Promise<number[]> => {
    const buckets = [...(await scene.cloud.hv(1).ofctl("dump-group-stats", "br-int")).matchAll(/bucket\d+:packet_count=(\d+)/g)];
    return buckets.map((b) => Number(b[1]));
  };
  /** The same when nothing is counted any more: the switch's statistics are a second old, and kernels repeat what was answered late. */
  const rested = async (): Promise<number[]> => {
    let last = await chosen();
    await until("counters at rest", async () => {
      await sleep(2500);
      const now = await chosen();
      const same = JSON.stringify(now) === JSON.stringify(last);
      last = now;
      return same;
    }, { timeoutMs: 30_000 });
    return last;
  };

  test("unused it costs no lookup; with a gate, packets to the outside go by the first gateway, and those within the router do not", async () => {
    const { cloud, a, b, c } = scene;
    await expectNoLookup(scene);
    const made = await gate();
    await up(1, 3);
    await up(1, 2);
    await cloud.synced();
    await until("an answer from behind", () => a.vm.reaches(BEHIND));
    const before = await rested();
    expect(await a.vm.ping(BEHIND, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });
    const between = await rested();
    expect(between[0]! - before[0]!).toBeGreaterThanOrEqual(20);
    expect(between[1]).toBe(before[1]);
    expect(await a.vm.ping(c.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    expect(await a.vm.ping(b.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    expect(await rested()).toEqual(between);
    // What is on the link outside goes by the gateway too.
    expect(await a.vm.ping(x.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    expect((await rested())[0]! - between[0]!).toBeGreaterThanOrEqual(5);
    expect(await cloud.differences()).toBe("");
    await cloud.remove("gate", made.id);
    await cloud.synced();
    await settlesTo(cloud, clean);
    await expectNoLookup(scene);
  }, 60_000);

  test("the router's address outside answers, to who is on the host of a gateway and to who is not; what is asked from afar gateways alone answer", async () => {
    const { cloud } = scene;
    const made = await gate();
    await cloud.synced();
    for (const vm of [x.vm, y.vm]) {
      await until("an answer of the router", () => vm.reaches(GATE));
      expect(await vm.ping(GATE, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    }
    const { flows } = (await cloud.controller.ops("GET", "/flows?switch=hv2&table=classify&format=json")).body as { flows: { match: string; resources: { id: string }[] }[] };
    const vni = flows.find((f) => f.match.includes("tun_id") && f.resources.some((r) => r.id === outside.network.id))!.match.match(/tun_id=(0x[0-9a-f]+)/)![1]!;
    const tunnel = (await cloud.hv(2).vsctl("get", "Interface", "axion-geneve", "ofport")).trim();
    const asked = `arp,in_port=${tunnel},tun_id=${vni},tun_src=172.31.0.1,tun_dst=172.31.0.2,dl_src=${y.port.mac_address},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_sha=${y.port.mac_address},arp_spa=${y.ip},arp_tpa=${GATE}`;
    const answered = (await trace(cloud.hv(2), asked)).text;
    expect(answered).toMatch(new RegExp(`output:${tunnel}\\b`));
    expect(answered).toContain("tun_dst=172.31.0.1");
    expect(answered).toMatch(/2->arp_op/);
    await cloud.update("gate", made.id, { hosts: ["hv3"] });
    await cloud.synced();
    expect((await trace(cloud.hv(2), asked)).text).not.toMatch(/2->arp_op/);
    await until("an answer of the router", () => x.vm.reaches(GATE));
    await cloud.remove("gate", made.id);
    await settlesTo(cloud, clean);
  }, 60_000);

  test("routes that are more specific than the gateway's, learned or static, are not taken by it; a static default route neither", async () => {
    const { cloud, a, c, nets, router } = scene;
    const made = await gate();
    await up(1, 3);
    const others: (() => Promise<() => Promise<unknown>>)[] = [
      async () => {
        const { id } = await cloud.create("wan_route", { router_id: router, destination: "10.78.0.0/16", via: nets[1].network.id, nexthop: c.ip });
        return () => cloud.remove("wan_route", id);
      },
      ...["10.78.0.0/16", "0.0.0.0/0"].map((destination) => async () => {
        await cloud.update("router", router, { routes: [{ destination, nexthop: c.ip }] });
        return () => cloud.update("router", router, { routes: [] });
      }),
    ];
    for (const other of others) {
      expect(await a.vm.reaches(ELSEWHERE, { timeoutMs: 300 }), "outside nobody has it").toBe(false);
      const back = await other();
      await until("an answer from elsewhere", () => a.vm.reaches(ELSEWHERE));
      const before = await rested();
      expect(await a.vm.ping(ELSEWHERE, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
      expect(await rested()).toEqual(before);
      await back();
      await cloud.synced();
    }
    await cloud.remove("gate", made.id);
    await settlesTo(cloud, clean);
  }, 90_000);

  test("what BFD says is observed: it goes down with the peer, and is not known of a host that is not connected", async () => {
    const { cloud } = scene;
    const made = await gate();
    await up(1, 3);
    await up(1, 2);
    const generation = await cloud.metric("axion_generation");
    const sent = await cloud.metric("axion_flow_mods_sent_total");
    await cloud.hv(3).killVswitchd();
    await until("down at hv1", async () => (await told(1, 3)) === "down");
    expect(await told(1, 2)).toBe("up");
    expect([await cloud.metric("axion_generation"), await cloud.metric("axion_flow_mods_sent_total")], "no row and no flow comes of it").toEqual([generation, sent]);
    await cloud.hv(3).startVswitchd();
    await cloud.synced();
    await up(1, 3);
    await cloud.hv(2).delManager();
    await until("nothing known of hv2", async () => (await told(2, 1)) === null, { timeoutMs: 30_000 });
    expect(await told(1, 2)).toBe("up");
    await cloud.hv(2).setManager(cloud.lab.manager);
    await cloud.synced();
    await up(1, 2);
    await cloud.remove("gate", made.id);
    await settlesTo(cloud, clean);
  }, 90_000);

  test("the first gateway and the controller killed, traffic goes on by the second; and back when it is there again", async () => {
    const { cloud, a } = scene;
    const made = await gate();
    await up(1, 3);
    await up(1, 2);
    await until("an answer from behind", () => a.vm.reaches(BEHIND));
    await cloud.synced();
    const INTERVAL = 20;
    // The switch notices by the interval that the row asked for: with BFD's own it would take 3 s.
    await until("the interval of both", async () => (await cloud.hv(1).appctl("bfd/show", await portTo(1, 3))).includes("RX Interval: Approx 100ms"));
    const flows = async (): Promise<string> => cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int");
    const untouched = await flows();
    const running = a.vm.ping(BEHIND, { count: 400, intervalMs: INTERVAL });
    await sleep(1500);
    const before = await chosen();
    await cloud.controller.kill9();
    await cloud.hv(3).killVswitchd();
    const { received } = await running;
    const outage = (400 - received) * INTERVAL;
    console.log(`gateway killed, no controller: ${400 - received} packets of 400 lost, ${outage} ms`);
    expect(outage).toBeLessThan(2500);
    expect(received, "before and after").toBeGreaterThan(100);
    expect(await bfd(1, 3)).toBe("down");
    expect(await bfd(1, 2)).toBe("up");
    expect(await flows(), "nobody changed a flow of it").toBe(untouched);
    await sleep(1500);
    expect((await chosen())[1]! - before[1]!, "by the second").toBeGreaterThan(50);
    expect(await a.vm.reaches(BEHIND)).toBe(true);
    await cloud.controller.start();
    await cloud.hv(3).startVswitchd();
    await cloud.synced();
    expect(await cloud.metric("axion_flow_mods_sent_total", { switch: "hv1" }), "nor has to, when it is back").toBe(0);
    await up(1, 3);
    const back = await chosen();
    await until("an answer from behind", () => a.vm.reaches(BEHIND));
    await until("the first in use again", async () => {
      await a.vm.reaches(BEHIND);
      return (await chosen())[0]! > back[0]!;
    });
    await cloud.remove("gate", made.id);
    await settlesTo(cloud, clean);
  }, 90_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud, a } = scene;
    const made = await gate();
    await up(1, 3);
    await expectQuietRestart(cloud);
    await cloud.remove("gate", made.id);
    await expectHealing(cloud, clean, async () => {
      const again = await gate();
      await up(1, 3);
      return () => cloud.remove("gate", again.id);
    });
    await gate();
    await until("an answer from behind", () => a.vm.reaches(BEHIND));
    await cloud.synced();
    await expectGone(probes, scene, clean);
    expect(await a.vm.reaches(BEHIND, { timeoutMs: 300 })).toBe(false);
  }, 150_000);
});
