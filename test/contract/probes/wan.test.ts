// Probe: routes from another app. Where the owner must choose among what several apps say, the joint is an open derived table: any app
// that requires l3 derives routes, l3 ranks and emits.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Resource } from "../../support/cloud.ts";
import type { Harness } from "../../support/harness.ts";
import { ofportOf, trace } from "../../support/trace/trace.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("wan");
afterAll(() => probes.delete());

test("hosts that reach a router by routes of another app watch its gateway like others", async () => {
  const h = await probes.harness();
  try {
    await h.addChassis("gw", { key: 1, gateway: true });
    for (const [n, host] of ["hv1", "hv2"].entries()) await h.addChassis(host, { key: n + 2 });
    const net = async (cidr: string): Promise<{ id: string; subnet: string }> => {
      const { id } = await h.create("network", {});
      return { id, subnet: (await h.create("subnet", { network_id: id, ip_version: 4, cidr })).id };
    };
    const outside = (await h.create("network", { "router:external": true })).id;
    await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
    const [between, far, farther] = [await net("10.1.0.0/24"), await net("10.2.0.0/24"), await net("10.3.0.0/24")];
    const connect = async (router: string, body: object): Promise<void> => expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, body)).status).toBe(200);
    const at = async (router: string, network: string, ip: string): Promise<void> => connect(router, { port_id: (await h.create("port", { network_id: network, fixed_ips: [{ ip_address: ip }] })).id });
    const near = (await h.create("router", { external_gateway_info: { network_id: outside, enable_snat: false } })).id;
    const [behind, last] = [(await h.create("router", {})).id, (await h.create("router", {})).id];
    await connect(near, { subnet_id: between.subnet });
    await at(behind, between.id, "10.1.0.200");
    await connect(behind, { subnet_id: far.subnet });
    await at(last, far.id, "10.2.0.200");
    await connect(last, { subnet_id: farther.subnet });
    for (const [host, network] of [["hv1", far], ["hv2", farther]] as const) await h.plug(host, (await h.create("port", { network_id: network.id })).id, 10);
    await h.settled();
    const watched = (host: string): boolean => [...h.engine.rowsOf(host)].some((r) => r.key === "axion-bfd-1");
    expect(["hv1", "hv2"].map(watched)).toEqual([false, false]);
    const route = await h.create("wan_route", { router_id: behind, destination: "0.0.0.0/0", via: between.id, nexthop: "10.1.0.1" });
    await h.settled();
    expect(["hv1", "hv2"].map(watched)).toEqual([true, false]);
    await h.create("wan_route", { router_id: last, destination: "0.0.0.0/0", via: far.id, nexthop: "10.2.0.1" });
    await h.settled();
    expect(["hv1", "hv2"].map(watched)).toEqual([true, true]);
    expect(flowTexts(h, "hv2", "gateway_out").filter((f) => f.includes("group:"))).toHaveLength(1);
    await h.call("DELETE", `/v2.0/wan-routes/${route.id}`);
    await h.settled();
    expect(["hv1", "hv2"].map(watched)).toEqual([false, false]);
    expect([h.complaints, h.engine.conflicts]).toEqual([[], []]);
  } finally {
    await h.close();
  }
});

describe("ranking", () => {
  let h: Harness;
  let router: string;
  let network: string;

  beforeAll(async () => {
    h = await probes.harness();
    await h.addChassis("hv1");
    network = (await h.create("network", {})).id;
    const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
    router = (await h.create("router", {})).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
    await h.plug("hv1", (await h.create("port", { network_id: network })).id, 11);
  });
  afterEach(async () => {
    for (const { id } of (await h.call("GET", "/v2.0/wan-routes")).body.wan_routes as { id: string }[]) await h.call("DELETE", `/v2.0/wan-routes/${id}`);
    await statics([]);
  });
  afterAll(async () => h?.close());

  const statics = async (routes: readonly object[]): Promise<void> => {
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { routes } })).status).toBe(200);
  };
  const learn = (destination: string, last: number, metric = 10, via = network): Promise<{ readonly id: string }> =>
    h.create("wan_route", { router_id: router, destination, via, nexthop: `10.0.0.${last}`, metric });
  /** Last byte of the next hop to a prefix; 0: the destination itself is the neighbour; none: no route. */
  const hops = async (prefix: string): Promise<number[]> => {
    await h.settled();
    expect(h.engine.conflicts).toEqual([]);
    return flowTexts(h, "hv1", "l3_route").filter((f) => f.includes(`nw_dst=${prefix} `)).map(hop);
  };
  const hop = (flow: string): number => parseInt(/0xa0000([0-9a-f]{2})\b/.exec(flow)?.[1] ?? "0", 16);
  /** Of a prefix with several equal routes, the next hops in the order in which the hash counts them. */
  const paths = async (prefix: string): Promise<number[]> => {
    await h.settled();
    return flowTexts(h, "hv1", "l3_paths").filter((f) => f.includes(`nw_dst=${prefix} `)).sort().map(hop);
  };

  test("a route of another app is used", async () => {
    await learn("10.9.0.0/16", 9);
    expect(await hops("10.9.0.0/16")).toEqual([9]);
  });

  test("connected comes before static and learned, static before learned", async () => {
    await learn("10.0.0.0/24", 7, 0);
    await statics([{ destination: "10.0.0.0/24", nexthop: "10.0.0.8" }, { destination: "10.9.0.0/16", nexthop: "10.0.0.8" }]);
    await learn("10.9.0.0/16", 9, 0);
    expect(await hops("10.0.0.0/24")).toEqual([0]);
    expect(await hops("10.9.0.0/16")).toEqual([8]);
    await statics([]);
    expect(await hops("10.9.0.0/16")).toEqual([9]);
  });

  test("of learned ones the least metric wins, whatever came first; several of them are used side by side", async () => {
    const first = await learn("10.9.0.0/16", 9, 20);
    await learn("10.9.0.0/16", 8, 10);
    expect(await hops("10.9.0.0/16")).toEqual([8]);
    await h.call("PUT", `/v2.0/wan-routes/${first.id}`, { wan_route: { metric: 5 } });
    expect(await hops("10.9.0.0/16")).toEqual([9]);
    const equal = [first, await learn("10.9.0.0/16", 7, 5)];
    expect(await hops("10.9.0.0/16"), "its hash chooses").toEqual([0]);
    expect(flowTexts(h, "hv1", "l3_route").find((f) => f.includes("nw_dst=10.9.0.0/16 "))).toMatch(/multipath\(symmetric_l3l4,0,hrw,2,0,/);
    expect(await paths("10.9.0.0/16")).toEqual(equal.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(({ id }) => (id === first.id ? 9 : 7)));
    await h.call("DELETE", `/v2.0/wan-routes/${equal[1]!.id}`);
    expect([await hops("10.9.0.0/16"), await paths("10.9.0.0/16")]).toEqual([[9], []]);
  });

  test("a longer prefix wins over a better source", async () => {
    await statics([{ destination: "10.9.0.0/16", nexthop: "10.0.0.8" }]);
    await learn("10.9.1.0/24", 9);
    await h.settled();
    const priority = (prefix: string): number => Number(/priority=(\d+)/.exec(flowTexts(h, "hv1", "l3_route").find((f) => f.includes(`nw_dst=${prefix} `))!)![1]);
    expect(priority("10.9.1.0/24")).toBeGreaterThan(priority("10.9.0.0/16"));
  });

  test("a route by a network that the router is not on, or of a router that is not there, is left out", async () => {
    await learn("10.9.0.0/16", 9, 10, "00000000-0000-4000-8000-000000000001");
    await h.create("wan_route", { router_id: "00000000-0000-4000-8000-000000000002", destination: "10.9.0.0/16", via: network, nexthop: "10.0.0.9" });
    expect(await hops("10.9.0.0/16")).toEqual([]);
    expect(h.complaints).toEqual([]);
  });
});

test("incremental equals from scratch, whatever routes come and go", async () => {
  await expectIncremental(probes, {
    resource: "wan_route",
    values: ({ routers, networks }, n, m) => ({ router_id: routers[0], destination: `192.168.${n}.0/24`, via: networks[m % networks.length], nexthop: `10.0.${m % networks.length}.${20 + n}`, metric: m }),
    change: (n) => ({ metric: n }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "l3_route")).filter((f) => /0xa000[01](1[4-9a-f])\b/.test(f)).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let clean: Held[];
  const BEHIND = "10.77.0.1";

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud(), { allowed_address_pairs: [{ ip_address: "10.77.0.0/16" }] });
    clean = await held(scene.cloud);
    // Behind c there is a network that only c knows.
    await scene.c.vm.configure(`addr add ${BEHIND}/32 dev lo`, "link set lo up");
  });
  afterAll(async () => scene?.cloud.destroy());

  const learn = ({ cloud, router, nets, c }: Scene): Promise<Resource> =>
    cloud.create("wan_route", { router_id: router, destination: "10.77.0.0/16", via: nets[1].network.id, nexthop: c.ip });

  test("unused it costs no lookup; then packets go the learned way", async () => {
    await expectNoLookup(scene);
    const route = await learn(scene);
    await until("an answer from behind", () => scene.a.vm.reaches(BEHIND));
    await expectNoLookup(scene);
    await scene.cloud.remove("wan_route", route.id);
    await until("silence", async () => !(await scene.a.vm.reaches(BEHIND, { timeoutMs: 300 })));
  }, 60_000);

  test("equal routes are used side by side, a connection keeping to one", async () => {
    const { cloud, router, routerMac, nets, a, c } = scene;
    const routes = [await learn(scene), await cloud.create("wan_route", { router_id: router, destination: "10.77.0.0/16", via: nets[1].network.id, nexthop: "10.0.1.250" })];
    await cloud.synced();
    // The other hop is nobody's: what goes there ends.
    const toC = async (port: number): Promise<boolean> => {
      const { text } = await trace(cloud.hv(1), `in_port=${await ofportOf(cloud.hv(1), a)},tcp,dl_src=${a.port.mac_address},dl_dst=${routerMac},nw_src=${a.ip},nw_dst=${BEHIND},nw_ttl=64,tp_src=${port},tp_dst=80`);
      return text.includes(`set_field:${c.port.mac_address}->eth_dst`);
    };
    const chosen: boolean[] = [];
    for (let port = 40_000; port < 40_016; port++) chosen.push(await toC(port));
    expect(new Set(chosen)).toEqual(new Set([true, false]));
    for (const port of [40_000, 40_007]) expect(await toC(port)).toBe(chosen[port - 40_000]);
    expect(await cloud.differences()).toBe("");
    for (const { id } of routes) await cloud.remove("wan_route", id);
    await cloud.synced();
  });

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud } = scene;
    const route = await learn(scene);
    await expectQuietRestart(cloud);
    await cloud.remove("wan_route", route.id);
    await expectHealing(cloud, clean, async () => {
      const made = await learn(scene);
      return () => cloud.remove("wan_route", made.id);
    }, { atNight: true });
    await learn(scene);
    await until("an answer from behind", () => scene.a.vm.reaches(BEHIND));
    await expectGone(probes, scene, clean);
    expect(await scene.a.vm.reaches(BEHIND, { timeoutMs: 300 })).toBe(false);
  }, 120_000);
});
