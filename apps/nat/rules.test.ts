import { afterEach, beforeEach, expect, test } from "vitest";
import { claimTable, poolNumberTable, zonePool } from "#app";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { gatewayPlanTable, gatewayReadyTable, type GatewayReady } from "../gateway/model.ts";
import { floatingPlaceTable } from "./model.ts";

let h: Harness;
let outside: string;
let inside: string;
let router: string;
let port: string;

const HOSTS = ["hv1", "hv2", "gw1", "gw2"];
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
const zones = (): string[] => [...h.view.all(poolNumberTable)].filter((n) => n.pool === zonePool.name && n.holder === `router/${router}` && !n.releasing).map((n) => n.part).sort();
const setGateway = async (info: unknown): Promise<void> => {
  expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: info } })).status).toBe(200);
  await h.settled();
};

beforeEach(async () => {
  h = await Harness.make();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: host.startsWith("gw") });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  inside = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" })).id;
  router = (await h.create("router", { external_gateway_info: { network_id: outside } })).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
  port = (await h.create("port", { network_id: inside })).id;
  await h.plug("hv1", port, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("sources are translated on the hosts of the gateway alone, in a zone there; switched off nothing of it is left", async () => {
  expect(zones()).toEqual(["gw1", "gw2"]);
  for (const host of HOSTS) expect(flows(host, "nat_leaving").filter((f) => f.includes("nat(src=")), host).toHaveLength(host.startsWith("gw") ? 1 : 0);
  expect(flows("hv1", "nat_in")).toEqual([]);
  await setGateway({ network_id: outside, enable_snat: false });
  expect(zones()).toEqual([]);
  for (const host of HOSTS) expect(["nat_in", "nat_known", "nat_opened", "nat_out", "nat_leaving", "nat_named"].flatMap((table) => flows(host, table))).toEqual([]);
});

test("only what comes from outside passes the tables of translation: other ways through the router are as long as before", () => {
  expect(flows("hv1", "l3_input").some((f) => f.includes(`goto_table:${h.layout.table("router_zone").id}`))).toBe(false);
});

test("a floating IP is where its port is, with that host's zone, and follows it; of a port that is nowhere it is at the gateway", async () => {
  const { id } = await h.create("floatingip", { floating_network_id: outside, port_id: port });
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ distributed: true, hosts: ["hv1"] });
  expect(zones()).toEqual(["gw1", "gw2", "hv1"]);
  expect(flows("hv1", "nat_known").filter((f) => f.includes("nat(dst="))).toHaveLength(1);
  expect(flows("hv1", "gateway_out").filter((f) => f.includes(`goto_table:${h.layout.table("nat_out").id}`))).toHaveLength(1);
  expect(flows("hv1", "nat_leaving").filter((f) => f.includes("nat(src="))).toHaveLength(1);
  await h.unplug("hv1", port);
  await h.plug("hv2", port, 11);
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ distributed: true, hosts: ["hv2"] });
  expect(flows("hv1", "nat_in")).toEqual([]);
  await h.unplug("hv2", port);
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ distributed: false, hosts: h.view.by(gatewayPlanTable, "router", router)[0]!.hosts });
  for (const host of ["gw1", "gw2"]) expect(flows(host, "nat_known").filter((f) => f.includes("nat(dst="))).toHaveLength(1);
});

test("where its port is about to be everything is ready: the change that moves it is one, with no number to wait for", async () => {
  expect((await h.call("PUT", `/v2.0/ports/${port}`, { port: { device_owner: "compute:nova", "binding:host_id": "hv1" } })).status).toBe(200);
  const { id } = await h.create("floatingip", { floating_network_id: outside, port_id: port });
  expect((await h.call("POST", `/v2.0/ports/${port}/bindings`, { binding: { host: "hv2" } })).status).toBe(201);
  await h.plug("hv2", port, 11);
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ hosts: ["hv1"], next: ["hv2"] });
  expect(zones()).toEqual(["gw1", "gw2", "hv1", "hv2"]);
  // Nobody is answered there, and nothing leaves there.
  for (const table of ["nat_in", "gateway_out", "arp_nd"]) expect(flows("hv2", table).filter((f) => /203\.0\.113\.|nat_out/.test(f)), table).toEqual([]);
  const { generation } = h.model;
  expect((await h.call("PUT", `/v2.0/ports/${port}/bindings/hv2/activate`)).status).toBe(200);
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ hosts: ["hv2"], next: ["hv1"] });
  expect([h.model.generation, zones()]).toEqual([generation + 1, ["gw1", "gw2", "hv1", "hv2"]]);
  expect(flows("hv2", "nat_leaving").filter((f) => f.includes("nat(src="))).toHaveLength(1);
  await h.unplug("hv1", port);
  await h.call("DELETE", `/v2.0/ports/${port}/bindings/hv1`);
  await h.settled();
  expect(zones()).toEqual(["gw1", "gw2", "hv2"]);
});

test("until its host has a zone, what has a floating IP leaves by nobody: not with the gateway's address", async () => {
  const leaving = (): string[] => flows("hv1", "gateway_out").filter((f) => f.includes("nw_src=10.0.0."));
  const seen = new Set<string>();
  await h.create("floatingip", { floating_network_id: outside, port_id: port });
  while (h.engine.generation < h.model.generation || h.claims.busy) {
    for (const flow of leaving()) seen.add(flow.replace(/.*actions=/, ""));
    await new Promise((done) => setImmediate(done));
  }
  expect([...seen][0]).toBe("drop");
  expect(leaving().map((f) => f.replace(/.*actions=/, ""))).toEqual([`goto_table:${h.layout.table("nat_out").id}`]);
});

test("behind each way through conntrack there is a look for the router's zone; what opens a connection passes a meter first", async () => {
  await h.create("floatingip", { floating_network_id: outside, port_id: port });
  const { id } = await h.create("floatingip", { floating_network_id: outside });
  const other = await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: "10.0.0.77" }] });
  const forwarding = { protocol: "tcp", internal_port_id: other.id, internal_ip_address: "10.0.0.77", internal_port: 80, external_port: 80 };
  expect((await h.call("POST", `/v2.0/floatingips/${id}/port_forwardings`, { port_forwarding: forwarding })).status).toBe(201);
  await h.settled();
  const LOOKS = ["nat_known", "nat_opened", "nat_leaving", "nat_named"] as const;
  const looks = new Set(LOOKS.map((name) => h.layout.table(name).id));
  for (const host of ["hv1", "gw1", "gw2"]) {
    const translating = [...h.engine.flowsOf(host)].map(textOf).filter((text) => /ct\(.*nat/.test(text));
    expect(translating.length, host).toBeGreaterThan(2);
    for (const text of translating) expect(looks.has(Number(/ct\(.*?table=(\d+)/.exec(text)?.[1])), text).toBe(true);
    for (const text of translating.filter((t) => t.includes("commit"))) expect(text).toMatch(/ct_state=\+new.*actions=.*meter:/);
    for (const name of LOOKS) for (const text of flows(host, name)) expect([name, text]).toEqual([name, expect.stringMatching(/ct_zone=0x[1-9a-f]|ct_zone=[1-9]/)]);
  }
});

test("while a gateway is handed over, what its hosts know no connection of goes to the other, and by a floating IP on by the address", async () => {
  const unknown = (host: string): string[] => flows(host, "nat_known").filter((f) => f.startsWith("priority=105"));
  expect(["gw1", "gw2"].map((host) => [unknown(host), flows(host, "nat_asked")])).toEqual([[[], []], [[], []]]);
  const set = (rows: readonly GatewayReady[]) => h.model.transact({ requestId: "t", call: "t" }, (tx) => {
    for (const row of rows) tx.put(gatewayReadyTable, row);
  });
  await set([{ id: "gw1", users: true, fellows: true, shared: true }, { id: "gw2", users: true, fellows: true }]);
  await h.settled();
  for (const host of ["gw1", "gw2"]) {
    expect(flows(host, "nat_in").filter((f) => f.startsWith("priority=100"))).toHaveLength(1);
    expect(unknown(host)).toEqual([expect.stringContaining("output:"), expect.stringContaining("output:")]);
    expect(flows(host, "nat_asked")).toHaveLength(1);
  }
  await set([{ id: "gw1", users: true, fellows: true }]);
  await h.settled();
  expect(["gw1", "gw2"].map((host) => [unknown(host), flows(host, "nat_asked")])).toEqual([[[], []], [[], []]]);
});

test("by a router that leads to its port by routes it is at the gateway, wherever the port is; while no route does it is nowhere", async () => {
  const far = (await h.create("network", {})).id;
  await h.create("subnet", { network_id: far, ip_version: 4, cidr: "10.1.0.0/24" });
  const lost = (await h.create("port", { network_id: far, fixed_ips: [{ ip_address: "10.1.0.5" }] })).id;
  await h.plug("hv1", lost, 11);
  const { id } = await h.create("floatingip", { floating_network_id: outside, port_id: lost, router_id: router });
  const route = async (...routes: readonly string[]): Promise<void> => {
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { routes: routes.map((destination) => ({ destination, nexthop: "10.0.0.250" })) } })).status).toBe(200);
    await h.settled();
  };
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toBeUndefined();
  await route("10.2.0.0/16");
  expect(h.view.get(floatingPlaceTable, id)).toBeUndefined();
  for (const destination of ["10.1.0.0/24", "10.1.0.5/32", "0.0.0.0/0"]) {
    await route(destination);
    expect(h.view.get(floatingPlaceTable, id), destination).toMatchObject({ inside: "10.1.0.5", distributed: false, hosts: expect.arrayContaining(["gw1", "gw2"]) as unknown });
  }
  compare(h, HOSTS);
  await route();
  expect(h.view.get(floatingPlaceTable, id)).toBeUndefined();
  // With an interface there it is as any other.
  await h.call("PUT", `/v2.0/floatingips/${id}`, { floatingip: { port_id: port } });
  await h.settled();
  expect(h.view.get(floatingPlaceTable, id)).toMatchObject({ distributed: true, hosts: ["hv1"] });
});

test("without the app nothing of it is left: no table, flow, zone, attribute or path; with it again all is there", async () => {
  const { id } = await h.create("floatingip", { floating_network_id: outside, port_id: port });
  await h.settled();
  const before = HOSTS.map((host) => [...h.engine.flowsOf(host)].map(textOf).sort());
  h = await h.restart(["nat", "conntrack-helpers"]);
  await h.settled();
  expect(() => h.layout.table("nat_in")).toThrow();
  expect([...h.view.all(claimTable)].filter((c) => c.id.startsWith("nat/"))).toEqual([]);
  for (const host of HOSTS) expect([...h.engine.flowsOf(host)].map(textOf).filter((f) => f.includes("nat("))).toEqual([]);
  expect((await h.call("GET", "/v2.0/floatingips")).status).toBe(404);
  expect(flows("hv1", "gateway_out").some((f) => f.startsWith("priority=200"))).toBe(true);
  h = await h.restart([]);
  await h.settled();
  expect((await h.call("GET", `/v2.0/floatingips/${id}`)).status).toBe(200);
  expect(HOSTS.map((host) => [...h.engine.flowsOf(host)].map(textOf).sort())).toEqual(before);
});

test("an interface that calls itself by the id of a port that the network made disturbs none of it", async () => {
  await h.create("floatingip", { floating_network_id: outside, port_id: port });
  await h.settled();
  const ports = (await h.call("GET", "/v2.0/ports")).body.ports as { id: string; device_owner: string; status: string }[];
  const made = ports.filter((p) => p.device_owner.startsWith("network:"));
  expect(made.map((p) => p.device_owner).toSorted()).toEqual(["network:floatingip", "network:router_gateway", "network:router_interface"]);
  for (const [n, { id }] of made.entries()) await h.plug("hv2", id, 20 + n);
  await h.settled();
  const floating = made.find((p) => p.device_owner === "network:floatingip")!;
  expect((await h.call("GET", `/v2.0/ports/${floating.id}`)).body.port).toMatchObject({ status: "N/A", "binding:host_id": "" });
  compare(h, HOSTS);
});
