// Which hosts answer machines for a router's interface on a physical network, what that takes on each, and nothing of it elsewhere.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { networkTable, portTable } from "../l2/model.ts";
import { gatewayPlanTable, gatewayReadyTable, type GatewayPlan } from "./model.ts";
import { problems } from "./problems.ts";

const HOSTS = ["hv1", "hv2", "hv3", "hv4", "hv5"];
/** On the physical network. */
const ON = ["hv1", "hv2", "hv3", "hv4"];
let h: Harness;
let over: string;
let wire: string;
let router: string;

const key = (host: string): number => HOSTS.indexOf(host) + 1;
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
const own = (host: string): string[] => [...h.engine.flowsOf(host)].filter((f) => f.priority > 0 && h.engine.provenance(f).app === "gateway").map(textOf);
const tunnels = (host: string): string[] => [...h.engine.rowsOf(host)].filter((r) => r.key.startsWith("axion-bfd-")).map((r) => r.key).sort();
const plans = (): GatewayPlan[] => [...h.view.by(gatewayPlanTable, "network", wire)];
const chassis = (host: string, more: Record<string, unknown> = {}): Promise<void> => h.addChassis(host, { key: key(host), bridge_mappings: ON.includes(host) ? { physnet: "br-ex" } : {}, ...more });
async function connect(network: string, cidr: string, to: string): Promise<void> {
  const { id } = await h.create("subnet", { network_id: network, ip_version: 4, cidr });
  expect((await h.call("PUT", `/v2.0/routers/${to}/add_router_interface`, { subnet_id: id })).status).toBe(200);
}

beforeEach(async () => {
  h = await Harness.make();
  for (const host of HOSTS) await chassis(host);
  over = (await h.create("network", {})).id;
  wire = (await h.create("network", { "provider:network_type": "vlan", "provider:physical_network": "physnet", "provider:segmentation_id": 100 })).id;
  router = (await h.create("router", {})).id;
  await connect(over, "10.60.0.0/24", router);
  await connect(wire, "10.70.0.0/24", router);
  for (const host of ["hv1", "hv5"]) await h.plug(host, (await h.create("port", { network_id: over })).id, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

describe("who answers", () => {
  test("three of the hosts on the physical network; those that may have gateways before others, but for one that is drained", async () => {
    const [first] = plans();
    expect(first!.hosts).toHaveLength(3);
    for (const host of first!.hosts) expect(ON).toContain(host);
    await chassis("hv2", { gateway: true });
    await h.settled();
    expect(plans()[0]!.hosts).toEqual(["hv2"]);
    await chassis("hv2", { gateway: true, drain: true });
    await h.settled();
    expect(plans()[0]!.hosts).toEqual(first!.hosts);
  });

  test("the same for all routers on the network", async () => {
    const other = (await h.create("router", {})).id;
    const port = (await h.create("port", { network_id: wire })).id;
    expect((await h.call("PUT", `/v2.0/routers/${other}/add_router_interface`, { port_id: port })).status).toBe(200);
    await h.settled();
    expect(plans()).toHaveLength(2);
    expect(new Set(plans().map((p) => p.list)).size).toBe(1);
  });

  test("one, where hosts have no tunnels to watch each other by", async () => {
    for (const host of HOSTS) await chassis(host, { encap_ip: "" });
    await h.settled();
    expect(plans()[0]!.hosts).toEqual(["hv1"]);
    expect(flows("hv1", "l2_lookup").filter((f) => f.startsWith("priority=117"))).toHaveLength(1);
  });

  test("nobody, where no host is on the physical network: that is said", async () => {
    for (const host of HOSTS) await chassis(host, { bridge_mappings: {} });
    await h.settled();
    expect(problems(h.view).map((p) => p.text)).toEqual([expect.stringContaining("no host is mapped to it")]);
  });
});

test("one takes what machines send, the others do so when those before it are dead; who is not on the network watches them and sends by them", () => {
  const [plan] = plans();
  const [first, second, third] = plan!.hosts;
  const from = (host: string): string[] => flows(host, "l2_lookup").filter((f) => /^priority=(117|125)/.test(f));
  expect(from(first!).filter((f) => f.includes("group:"))).toEqual([]);
  for (const host of [second!, third!]) expect(from(host).every((f) => f.includes("group:")), host).toBe(true);
  for (const host of plan!.hosts) expect(from(host), host).toHaveLength(2);
  const [none] = ON.filter((host) => !plan!.hosts.includes(host));
  expect(from(none!)).toEqual([]);
  expect(tunnels("hv5")).toEqual(plan!.hosts.map((host) => `axion-bfd-${key(host)}`).sort());
  expect(flows("hv5", "tunnel_out").filter((f) => f.startsWith("priority=154"))).toEqual([expect.stringContaining("group:")]);
  for (const host of ON) expect(flows(host, "tunnel_out").filter((f) => f.startsWith("priority=154")), host).toEqual([]);
  if (!plan!.hosts.includes("hv1")) expect(tunnels("hv1")).toEqual([]);
});

test("the router's MAC is sent with what a host routes when the others know that it is ready; the later ones do so when those before are dead", async () => {
  const chosen = (host: string): string[] => flows(host, "tunnel_out").filter((f) => f.startsWith("priority=151"));
  const { hosts } = plans()[0]!;
  expect(hosts.flatMap(chosen)).toEqual([]);
  const set = (fellows: boolean) => h.model.transact({ requestId: "t", call: "t" }, (tx) => {
    for (const id of hosts) tx.put(gatewayReadyTable, { id, users: true, fellows });
  });
  await set(false);
  await h.settled();
  expect(hosts.flatMap(chosen)).toEqual([]);
  await set(true);
  await h.settled();
  expect(hosts.map((host) => chosen(host).map((f) => f.includes("group:")))).toEqual([[false], [true], [true]]);
});

test("a network outside that has both, a gateway and an interface of another router", async () => {
  await h.call("PUT", `/v2.0/networks/${wire}`, { network: { "router:external": true } });
  for (const host of ["hv1", "hv2"]) await chassis(host, { gateway: true });
  const other = (await h.create("router", { external_gateway_info: { network_id: wire, enable_snat: false } })).id;
  const inner = (await h.create("network", {})).id;
  await connect(inner, "10.61.0.0/24", other);
  await h.plug("hv5", (await h.create("port", { network_id: inner })).id, 11);
  await h.settled();
  expect(plans().map((p) => p.kind).sort()).toEqual(["gateway", "interface"]);
  expect(tunnels("hv5")).toEqual(["axion-bfd-1", "axion-bfd-2"]);
});

test("machines use the router's gateway: hosts that answer them watch those that have it", async () => {
  const outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  await chassis("hv5", { gateway: true });
  await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside, enable_snat: false } } });
  await h.settled();
  for (const host of plans()[0]!.hosts) expect(tunnels(host)).toContain("axion-bfd-5");
});

test("without an interface there nothing of it is left, and without a physical network nothing comes", async () => {
  expect(own("hv5").length).toBeGreaterThan(0);
  await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { port_id: plans()[0]!.id });
  await h.settled();
  for (const host of HOSTS) expect([own(host), tunnels(host)], host).toEqual([[], []]);
});

describe("on a network of several segments", () => {
  let both: string;
  const mac = (): string => h.view.get(portTable, [...h.view.by(gatewayPlanTable, "network", both)][0]!.id)!.mac_address;
  const plan = (): GatewayPlan => [...h.view.by(gatewayPlanTable, "network", both)][0]!;
  /** What a host does with what comes for the router's MAC from no port. */
  const taken = (host: string): string[] => flows(host, "l2_lookup").filter((f) => f.startsWith("priority=117") && f.includes(mac())).map((f) => (f.endsWith("actions=drop") ? "drop" : "take"));
  const ready = async (hosts: readonly string[]): Promise<void> => {
    await h.model.transact({ requestId: "t", call: "t" }, (tx) => {
      for (const { id } of [...tx.all(gatewayReadyTable)]) if (!hosts.includes(id)) tx.delete(gatewayReadyTable, id);
      for (const id of hosts) tx.put(gatewayReadyTable, { id, users: true, fellows: true });
    });
    await h.settled();
  };
  beforeEach(async () => {
    for (const [host, physnet] of [["hv3", "other"], ["hv4", "other"]] as const) await chassis(host, { bridge_mappings: { [physnet]: "br-ex" } });
    const vlan = (physnet: string, n: number) => ({ "provider:network_type": "vlan", "provider:physical_network": physnet, "provider:segmentation_id": n });
    both = (await h.create("network", { segments: [vlan("physnet", 200), vlan("other", 300), { "provider:network_type": "geneve" }] })).id;
    await connect(both, "10.80.0.0/24", router);
    await h.settled();
  });

  test("one host of each answers, the first that is ready; it hands on between segments, and the others take nothing", async () => {
    const { apart, hosts } = plan();
    expect(apart!.map((on) => [...on].sort())).toEqual([["hv1", "hv2"], ["hv3", "hv4"]]);
    for (const host of hosts) expect(taken(host), host).toEqual(["drop"]);
    await ready(hosts);
    const chosen = apart!.map(([first]) => first!);
    for (const host of hosts) expect(taken(host), host).toEqual([chosen.includes(host) ? "take" : "drop"]);
    const handsOn = (host: string): boolean => flows(host, "l2_lookup").some((f) => f.startsWith("priority=60,") && f.includes(`reg0=0x${h.view.get(networkTable, both)!.key.toString(16)},`));
    for (const host of hosts) expect(handsOn(host), host).toBe(chosen.includes(host));
    // Another when it dies.
    await ready(hosts.filter((host) => host !== chosen[0]));
    expect(apart![0]!.map(taken)).toEqual([["drop"], ["take"]]);
    expect(handsOn(apart![0]![1]!)).toBe(true);
    expect(handsOn(chosen[0]!)).toBe(false);
    // They do not watch each other because of it.
    expect(tunnels("hv4")).not.toContain("axion-bfd-3");
  });

  test("a host that has nothing of it sends what nobody knows to those that answer", async () => {
    await ready(plan().hosts);
    const unknown = (host: string): string[] => flows(host, "mac_unknown").filter((f) => f.startsWith("priority=50,") && f.includes(`reg0=0x${h.view.get(networkTable, both)!.key.toString(16)},`));
    expect(unknown("hv5")).toHaveLength(1);
    await h.plug("hv5", (await h.create("port", { network_id: both })).id, 12);
    await h.settled();
    expect(unknown("hv5")).toHaveLength(1);
    expect(problems(h.view).filter((p) => p.kind === "no_host")).toEqual([]);
  });

  test("without an interface there nothing of it is left", async () => {
    await ready(plan().hosts);
    expect((await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { port_id: plan().id })).status).toBe(200);
    await h.settled();
    expect([...h.view.by(gatewayPlanTable, "network", both)]).toEqual([]);
    for (const host of ["hv3", "hv4"]) expect(own(host)).toEqual([]);
  });
});
