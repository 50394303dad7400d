import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { subnetTable } from "../ipam/model.ts";
import { routerTable, routeTable } from "../l3/model.ts";
import { problems } from "./problems.ts";
import { gatewayPlanTable, gatewayReadyTable, gatewaysOf, listScope, nextHopOf } from "./model.ts";

let h: Harness;
let outside: string;
let insides: string[];
let routers: string[];

const HOSTS = ["hv1", "hv2", "hv3", "gw1", "gw2", "gw3", "gw4"];
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
const groups = (host: string): number => [...h.engine.itemsOf(host)].filter((i) => i.kind === "group").length;
const tunnels = (host: string): string[] => [...h.engine.rowsOf(host)].filter((r) => r.key.startsWith("axion-bfd-")).map((r) => r.key).sort();
const key = (host: string): number => HOSTS.indexOf(host) + 1;
const plan = (router: number) => h.view.by(gatewayPlanTable, "router", routers[router]!)[0]!;

beforeEach(async () => {
  h = await Harness.make();
  for (const host of HOSTS) await h.addChassis(host, { key: key(host), gateway: host.startsWith("gw") });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  insides = [];
  routers = [];
  // One router and one network on each of hv1 and hv2, one on both; nothing on hv3.
  for (const [n, at] of [["hv1"], ["hv2"], ["hv1", "hv2"]].entries()) {
    const network = (await h.create("network", {})).id;
    const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: `10.0.${n}.0/24` })).id;
    const router = (await h.create("router", { external_gateway_info: { network_id: outside, enable_snat: false } })).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
    for (const host of at) await h.plug(host, (await h.create("port", { network_id: network })).id, 10 + n);
    insides.push(network);
    routers.push(router);
  }
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

describe("where gateways are", () => {
  test("on three hosts of those that may have any; a host that is none any more takes only its own along", async () => {
    const before = plan(0);
    expect(before.hosts).toHaveLength(3);
    for (const host of before.hosts) expect(host).toMatch(/^gw/);
    expect(before.list).toBe(before.hosts.map(key).join("."));
    const [, gone] = before.hosts;
    await h.addChassis(gone!, { key: key(gone!), gateway: false });
    await h.settled();
    expect(plan(0).hosts.slice(0, 2)).toEqual(before.hosts.filter((host) => host !== gone));
  });

  test("none: nothing is redirected, and what would leave is dropped", async () => {
    for (const host of HOSTS) await h.addChassis(host, { key: key(host), gateway: false });
    await h.settled();
    expect(flows("hv1", "gateway_out").every((f) => f.includes("actions=drop"))).toBe(true);
    expect(HOSTS.map(groups)).toEqual(HOSTS.map(() => 0));
    expect(problems(h.view).map((p) => p.kind)).toEqual(["no_host", "no_host", "no_host"]);
    expect(HOSTS.flatMap(tunnels)).toEqual([]);
  });
});

test("of several addresses of a family the first is what leaves: by its subnet's gateway alone", async () => {
  const second = (await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "198.51.100.0/24" })).id;
  const first = h.view.by(subnetTable, "network", outside).find((s) => s.cidr === "203.0.113.0/24")!.id;
  await h.call("PUT", `/v2.0/routers/${routers[0]!}`, { router: { external_gateway_info: { network_id: outside, enable_snat: false, external_fixed_ips: [{ subnet_id: second }, { subnet_id: first }] } } });
  await h.settled();
  const byDefault = (): (string | null)[] => h.view.by(routeTable, "router", routers[0]!).filter((r) => r.destination === "0.0.0.0/0").map((r) => r.nexthop);
  expect(byDefault()).toEqual(["198.51.100.1"]);
  const gateway = gatewaysOf(h.view, routers[0]!)[0]!.id;
  expect(nextHopOf(gateway, false, h.view)).toBe("198.51.100.1");
  // Without one there, by none: not by that of the other.
  await h.call("PUT", `/v2.0/subnets/${second}`, { subnet: { gateway_ip: null } });
  await h.settled();
  expect([byDefault(), nextHopOf(gateway, false, h.view)]).toEqual([[], undefined]);
});

describe("who has what", () => {
  test("a host has the gateways of its own routers, one group for each list, and a tunnel to each host of these", () => {
    expect(flows("hv3", "gateway_out")).toEqual([]);
    expect([tunnels("hv3"), groups("hv3")]).toEqual([[], 0]);
    const mine = [plan(0), plan(2)];
    expect(flows("hv1", "gateway_out").filter((f) => f.includes("group:"))).toHaveLength(2);
    expect(groups("hv1")).toBe(new Set(mine.map((p) => p.list)).size);
    expect(tunnels("hv1")).toEqual([...new Set(mine.flatMap((p) => p.hosts))].map((host) => `axion-bfd-${key(host)}`).sort());
    // Nothing of the network outside, where all gateways are.
    expect(flows("hv1", "neighbour").join("\n")).not.toContain("203.0.113");
  });

  test("the second of a list passes on what leaves to the first, and is silent outside, while that one lives", () => {
    const { hosts: [first, second] } = plan(0);
    const text = (host: string, table: string): string => flows(host, table).join("\n");
    expect(flows(first!, "gateway_out").filter((f) => f.startsWith("priority=110") && !f.includes("group:")).length).toBeGreaterThan(0);
    expect(flows(second!, "gateway_out").filter((f) => f.startsWith("priority=110") && f.includes("group:")).length).toBeGreaterThan(0);
    expect(text(second!, "l2_lookup")).toContain("group:");
  });

  test("a host that reaches the router through another one has its gateway, and a tunnel to it", async () => {
    const behind = (await h.create("router", {})).id;
    const far = (await h.create("network", {})).id;
    const subnet = (await h.create("subnet", { network_id: far, ip_version: 4, cidr: "10.9.0.0/24" })).id;
    await h.call("PUT", `/v2.0/routers/${behind}/add_router_interface`, { subnet_id: subnet });
    const port = (await h.create("port", { network_id: insides[0]!, fixed_ips: [{ ip_address: "10.0.0.200" }] })).id;
    await h.call("PUT", `/v2.0/routers/${behind}/add_router_interface`, { port_id: port });
    await h.plug("hv3", (await h.create("port", { network_id: far })).id, 50);
    await h.settled();
    expect(tunnels("hv3")).toEqual([]);
    await h.call("PUT", `/v2.0/routers/${behind}`, { router: { routes: [{ destination: "0.0.0.0/0", nexthop: "10.0.0.1" }] } });
    await h.settled();
    expect(tunnels("hv3")).toEqual(plan(0).hosts.map((host) => `axion-bfd-${key(host)}`).sort());
    expect(flows("hv3", "gateway_out").filter((f) => f.includes("group:"))).toHaveLength(1);
  });

  test("however many routers leave by one network outside", async () => {
    const counts = (): number[] => ["hv1", "hv3"].map((host) => [...h.engine.flowsOf(host)].length);
    const before = counts();
    for (let n = 0; n < 20; n++) {
      const network = (await h.create("network", {})).id;
      const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
      const router = (await h.create("router", { external_gateway_info: { network_id: outside, enable_snat: false } })).id;
      await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
      await h.plug("hv2", (await h.create("port", { network_id: network })).id, 100 + n);
    }
    await h.settled();
    expect(counts()).toEqual(before);
  });

  test("the gateway taken away, nothing of it is left", async () => {
    for (const router of routers) await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: null } });
    await h.settled();
    for (const host of HOSTS) expect([flows(host, "gateway_out"), flows(host, "gateway_in"), tunnels(host), groups(host)]).toEqual([[], [], [], 0]);
  });
});

test("addresses of the inside do not leave by a gateway that is to translate them while nobody does; IPv6, which nobody translates, does", async () => {
  h = await h.restart(["nat", "conntrack-helpers"]);
  await h.call("PUT", `/v2.0/routers/${routers[0]!}`, { router: { external_gateway_info: { network_id: outside, enable_snat: true } } });
  await h.settled();
  const kept = flows("hv1", "gateway_out").filter((f) => f.startsWith("priority=200"));
  expect(kept).toHaveLength(1);
  expect(kept[0]).toMatch(/^priority=200,ip,.*actions=drop/);
  expect(problems(h.view).map((p) => [p.kind, p.resources?.[0]?.id])).toEqual(expect.arrayContaining([["untranslated", routers[0]]]));
});

test("a host is used by others when it is ready, by its users and by its fellows", async () => {
  const { hosts: [first, second] } = plan(0);
  const bfd = (host: string, peer: string): Record<string, string> =>
    (([...h.engine.rowsOf(host)].find((r) => r.key === `axion-bfd-${key(peer)}`) as unknown as { columns: { interface: { bfd: Record<string, string> } } }).columns.interface.bfd);
  const says = (): (string | undefined)[] => [bfd(first!, "hv1").cpath_down, bfd(first!, second!).cpath_down, bfd("hv1", first!).cpath_down];
  expect(says()).toEqual(["true", "true", undefined]);
  const set = (users: boolean, fellows: boolean) => h.model.transact({ requestId: "t", call: "t" }, (tx) => tx.put(gatewayReadyTable, { id: first!, users, fellows }));
  await set(true, false);
  await h.settled();
  expect(says()).toEqual([undefined, "true", undefined]);
  await set(true, true);
  await h.settled();
  expect(says()).toEqual([undefined, undefined, undefined]);
});

test("a host that is not to be used leaves by another that is, but for what another has sent there", async () => {
  const { hosts: [first, second, third] } = plan(0);
  const mine = (host: string): string[] => flows(host, "gateway_out").filter((f) => f.includes(`reg3=0x${h.view.get(routerTable, routers[0]!)!.key.toString(16)}`) && /^priority=1[12]0/.test(f));
  const usual = [first!, second!, third!].map(mine);
  expect(usual.map((of) => of.length)).toEqual([1, 1, 1]);
  const set = (host: string, users: boolean) => h.model.transact({ requestId: "t", call: "t" }, (tx) => tx.put(gatewayReadyTable, { id: host, users, fellows: users }));
  await set(second!, true);
  await h.settled();
  expect([mine(first!).length, mine(second!), mine(third!).length]).toEqual([2, usual[1], 2]);
  const [sent, own] = mine(first!).toSorted().toReversed() as [string, string];
  expect([sent.includes("group:"), own.includes("group:")]).toEqual([false, true]);
  expect(flows(first!, "gateway_bound").length).toBeGreaterThan(0);
  for (const host of [first!, third!]) await set(host, true);
  await h.settled();
  expect([first!, second!, third!].map(mine)).toEqual(usual);
  expect(flows(first!, "gateway_bound")).toEqual([]);
});

test("groups of a list are named by its hosts", () => {
  expect(listScope("1.2.3")).toBe("gateway-list:1.2.3");
});
