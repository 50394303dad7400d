import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";
import { gatewayAddressTable, gatewayPlanTable } from "../gateway/model.ts";

let h: Harness;
let outside: string;
let inside: string;
let router: string;
let port: { id: string; ip: string };

const HOSTS = ["hv1", "gw1", "gw2"];
const GATEWAYS = ["gw1", "gw2"];
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf);
};
const all = (): string[][] => HOSTS.map((host) => [...h.engine.flowsOf(host)].map(textOf).sort());
const set = async (values: Record<string, unknown>): Promise<void> => {
  expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: values })).status).toBe(200);
  await h.settled();
};
const proxy = async (values: Record<string, unknown> = {}): Promise<string> => {
  const answer = await h.call("POST", "/v2.0/ndp_proxies", { ndp_proxy: { router_id: router, port_id: port.id, ...values } });
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  await h.settled();
  return (answer.body as { ndp_proxy: { id: string } }).ndp_proxy.id;
};

beforeEach(async () => {
  h = await Harness.make();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: host.startsWith("gw"), bridge_mappings: { ext: "br-ext" } });
  outside = (await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" })).id;
  for (const [ip_version, cidr] of [[4, "203.0.113.0/24"], [6, "2001:db8:f::/64"]]) await h.create("subnet", { network_id: outside, ip_version, cidr });
  inside = (await h.create("network", {})).id;
  router = (await h.create("router", { external_gateway_info: { network_id: outside } })).id;
  for (const [ip_version, cidr] of [[4, "10.0.0.0/24"], [6, "2001:db8:1::/64"]]) {
    const subnet = (await h.create("subnet", { network_id: inside, ip_version, cidr })).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
  }
  const made = await h.create("port", { network_id: inside });
  port = { id: made.id, ip: (made as unknown as { fixed_ips: { ip_address: string }[] }).fixed_ips.map((f) => f.ip_address).find((ip) => ip.includes(":"))! };
  await h.plug("hv1", port.id, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("switched on, nothing of the inside is let in; what is proxied is, and is answered for, on the hosts of the gateway alone", async () => {
  const before = all();
  await set({ enable_ndp_proxy: true });
  for (const host of GATEWAYS) expect(flows(host, "gateway_in").filter((f) => f.includes("2001:db8:1::/64")), host).toEqual([expect.stringMatching(/priority=60,.*actions=drop/)]);
  expect(all()[0]).toEqual(before[0]);
  const id = await proxy();
  for (const host of GATEWAYS) {
    expect(flows(host, "gateway_in").filter((f) => f.includes(`ipv6_dst=${port.ip},`) || f.includes(`ipv6_dst=${port.ip} `)), host).toEqual([expect.stringMatching(/priority=70,.*actions=.*goto_table/)]);
    expect(flows(host, "arp_nd").filter((f) => f.includes(`nd_target=${port.ip}`) && f.includes("priority=105")), host).toHaveLength(1);
    // A question from outside goes to the host that has the gateway.
    expect(flows(host, "l2_lookup").filter((f) => f.includes(`nd_target=${port.ip}`) && f.includes("priority=125")), host).toHaveLength(1);
  }
  expect(flows("hv1", "l2_lookup").join()).not.toContain(`nd_target=${port.ip} `);
  expect([...h.view.all(gatewayAddressTable)]).toMatchObject([{ ip: port.ip, gateway_id: h.view.by(gatewayPlanTable, "router", router)[0]!.id }]);
  expect((await h.call("DELETE", `/v2.0/ndp_proxies/${id}`)).status).toBe(204);
  await set({ enable_ndp_proxy: false });
  expect(all()).toEqual(before);
});

test("on a network outside that travels in tunnels, whoever has a port there answers its questions", async () => {
  const tunnelled = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: tunnelled, ip_version: 6, cidr: "2001:db8:e::/64" });
  await h.plug("hv1", (await h.create("port", { network_id: tunnelled })).id, 20);
  await set({ external_gateway_info: { network_id: tunnelled }, enable_ndp_proxy: true });
  const before = flows("hv1", "neighbour");
  await proxy();
  const added = flows("hv1", "neighbour").filter((f) => !before.includes(f));
  expect(added).toHaveLength(1);
  for (const host of HOSTS) expect(flows(host, "arp_nd").filter((f) => f.includes(`nd_target=${port.ip}`) && f.includes("priority=105")), host).toEqual([]);
});

test("switched off, proxies do nothing, and all is reached as without the app", async () => {
  const before = all();
  await set({ enable_ndp_proxy: true });
  await proxy();
  await set({ enable_ndp_proxy: false });
  expect(all()).toEqual(before);
  await set({ enable_ndp_proxy: true });
  expect([...h.view.all(gatewayAddressTable)]).toHaveLength(1);
  await set({ admin_state_up: false });
  expect([...h.view.all(gatewayAddressTable)]).toEqual([]);
});

test("an address that its port gave up is not proxied any more, whoever has it then", async () => {
  await set({ enable_ndp_proxy: true });
  await proxy();
  const subnet = (await h.call("GET", `/v2.0/subnets?network_id=${inside}&ip_version=6`)).body as unknown as { subnets: { id: string }[] };
  expect((await h.call("PUT", `/v2.0/ports/${port.id}`, { port: { fixed_ips: [{ subnet_id: subnet.subnets[0]!.id, ip_address: "2001:db8:1::99" }] } })).status).toBe(200);
  await h.create("port", { network_id: inside, fixed_ips: [{ ip_address: port.ip }] });
  await h.settled();
  expect([...h.view.all(gatewayAddressTable)]).toEqual([]);
  for (const host of GATEWAYS) expect(flows(host, "gateway_in").filter((f) => f.includes("priority=70"))).toEqual([]);
});

test("nobody passes by the MAC of a floating IP: it stands for IPv4", async () => {
  const { id } = await h.create("floatingip", { floating_network_id: outside, port_id: port.id });
  await h.settled();
  const [held] = ((await h.call("GET", `/v2.0/ports?device_id=${id}`)).body as unknown as { ports: { mac_address: string }[] }).ports;
  const into = flows("hv1", "l3_input").filter((f) => f.includes(`dl_dst=${held!.mac_address}`) || f.includes(`eth_dst=${held!.mac_address}`));
  expect(into.length).toBeGreaterThan(0);
  expect(into.filter((f) => /ipv6/.test(f) && f.includes("actions=drop"))).toHaveLength(1);
});

test("without the app nothing of it is left: no flow, attribute or path; with it again all is there", async () => {
  const bare = all();
  await set({ enable_ndp_proxy: true });
  const id = await proxy();
  const before = all();
  h = await h.restart(["ndp-proxy"]);
  await h.settled();
  expect(all()).toEqual(bare);
  expect((await h.call("GET", "/v2.0/ndp_proxies")).status).toBe(404);
  expect((await h.call("GET", `/v2.0/routers/${router}`)).body).not.toHaveProperty("router.enable_ndp_proxy");
  h = await h.restart([]);
  await h.settled();
  expect((await h.call("GET", `/v2.0/ndp_proxies/${id}`)).status).toBe(200);
  expect(all()).toEqual(before);
});
