import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";

let api: Api;
let outside: Shown;
let pool: Shown;
let router: Shown;
let inside: Shown;
let subnet: Shown;
let port: Shown;

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

beforeEach(async () => {
  api = await Api.open();
  outside = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
  pool = await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/29", project_id: "ops" }, admin);
  await api.make("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8::/64", project_id: "ops" }, admin);
  router = await api.make("router", { external_gateway_info: { network_id: outside.id } });
  inside = await api.make("network", {});
  subnet = await api.make("subnet", { network_id: inside.id, ip_version: 4, cidr: "10.0.0.0/24" });
  expect(await api.put(`routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, p1)).toMatchObject({ status: 200 });
  port = await api.make("port", { network_id: inside.id });
});

const make = (values: Record<string, unknown> = {}, who: typeof p1 & { roles?: string } = p1): Promise<Shown> => api.make("floatingip", { floating_network_id: outside.id, ...values }, who);
const refused = (status: number, type: string, values: Record<string, unknown>, who: typeof p1 & { roles?: string } = p1) => api.refused(status, type, "POST", "floatingips", { floatingip: { floating_network_id: outside.id, ...values } }, who);
const ipOf = (p: Shown): string => p.fixed_ips[0]!.ip_address;
const held = (): Promise<readonly Shown[]> => api.list("ports?device_owner=network:floatingip", admin);

describe("the address outside", () => {
  test("is one of the network's of IPv4, held by a port of no project, and free again when it goes", async () => {
    const floating = await make({ description: "d" });
    expect(floating).toMatchObject({
      project_id: "p1", tenant_id: "p1", description: "d", floating_network_id: outside.id, floating_ip_address: expect.stringMatching(/^203\.0\.113\./) as string, port_id: null, fixed_ip_address: null, router_id: null, status: "DOWN",
      port_details: null, tags: [],
    });
    for (const hidden of ["subnet_id", "floating_port_id", "name"]) expect(floating).not.toHaveProperty(hidden);
    expect(await held()).toMatchObject([{ device_id: floating.id, project_id: "", fixed_ips: [{ subnet_id: pool.id, ip_address: floating.floating_ip_address }] }]);
    expect(await api.list("ports?device_owner=network:floatingip", p1)).toEqual([]);
    expect(await api.list(`floatingips?floating_network_id=${outside.id}`, p1)).toMatchObject([{ id: floating.id }]);
    expect(await api.list("floatingips", p2)).toEqual([]);
    await api.delete("floatingip", floating.id, p1);
    expect(await held()).toEqual([]);
  });

  test("may be chosen by who manages the project, not by a member; subnets by anybody", async () => {
    await refused(403, "PolicyNotAuthorized", { floating_ip_address: "203.0.113.5" });
    const manager = { project: "p1", roles: "manager" };
    expect(await make({ floating_ip_address: "203.0.113.5" }, manager)).toMatchObject({ floating_ip_address: "203.0.113.5" });
    await refused(409, "IpAddressAlreadyAllocated", { floating_ip_address: "203.0.113.5" }, manager);
    await refused(400, "InvalidIpForNetwork", { floating_ip_address: "192.0.2.1" }, manager);
    await refused(400, "BadRequest", { floating_ip_address: "2001:db8::5" }, manager);
    // The next hop of everybody's is nobody's to be.
    for (const who of [manager, admin]) await refused(409, "IpAddressAlreadyAllocated", { floating_ip_address: "203.0.113.1" }, who);
    const other = await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "198.51.100.0/29", project_id: "ops" }, admin);
    expect(await make({ subnet_id: other.id })).toMatchObject({ floating_ip_address: expect.stringMatching(/^198\.51\.100\./) as string });
    await refused(400, "BadRequest", { subnet_id: subnet.id });
  });

  test("is of IPv4, also where ports have an address of IPv6 by themselves", async () => {
    await api.make("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8:5::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac", project_id: "ops" }, admin);
    for (let n = 0; n < 3; n++) expect(await make()).toMatchObject({ floating_ip_address: expect.stringMatching(/^203\.0\.113\./) as string });
  });

  test("is of the next subnet when one is used up, and when all are there is none", async () => {
    // .1 is the gateway, one of the router's.
    for (let n = 0; n < 4; n++) await make();
    await refused(409, "IpAddressGenerationFailure", {});
    const other = await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "198.51.100.0/29", project_id: "ops" }, admin);
    const next = await make();
    expect((await held()).find((p) => p.device_id === next.id)!.fixed_ips[0]!.subnet_id).toBe(other.id);
  });

  test("is of no network that is not external, or not there", async () => {
    await refused(400, "BadRequest", { floating_network_id: inside.id });
    await refused(404, "NetworkNotFound", { floating_network_id: UNKNOWN });
    await api.refused(400, "HTTPBadRequest", "POST", "floatingips", { floatingip: {} }, p1);
    await api.refused(404, "FloatingIPNotFound", "DELETE", `floatingips/${UNKNOWN}`, undefined, p1);
  });
});

describe("what it leads to", () => {
  test("is given with it or later, moved and taken away; what is not said stays", async () => {
    const floating = await make({ port_id: port.id });
    const there = { port_id: port.id, fixed_ip_address: ipOf(port), router_id: router.id };
    expect(floating).toMatchObject({ ...there, port_details: { network_id: inside.id, mac_address: port.mac_address, admin_state_up: true, status: "DOWN", device_id: "", device_owner: "", name: "" } });
    expect(await api.change("floatingip", floating.id, { description: "x" }, p1)).toMatchObject({ ...there, description: "x" });
    const other = await api.make("port", { network_id: inside.id });
    expect(await api.change("floatingip", floating.id, { port_id: other.id }, p1)).toMatchObject({ port_id: other.id, fixed_ip_address: ipOf(other), router_id: router.id });
    expect(await api.list(`floatingips?port_id=${other.id}`, p1)).toMatchObject([{ id: floating.id }]);
    expect(await api.list(`floatingips?port_id=${port.id}`, p1)).toEqual([]);
    expect(await api.change("floatingip", floating.id, { port_id: null }, p1)).toMatchObject({ port_id: null, fixed_ip_address: null, router_id: null, port_details: null });
  });

  test("is one address of the port's", async () => {
    const two = await api.make("port", { network_id: inside.id, fixed_ips: [{ ip_address: "10.0.0.50" }, { ip_address: "10.0.0.51" }] });
    await refused(400, "BadRequest", { port_id: two.id });
    await refused(400, "BadRequest", { port_id: two.id, fixed_ip_address: "10.0.0.52" });
    await refused(400, "BadRequest", { fixed_ip_address: "10.0.0.50" });
    const none = await api.make("port", { network_id: inside.id, fixed_ips: [] });
    await refused(400, "BadRequest", { port_id: none.id });
    const first = await make({ port_id: two.id, fixed_ip_address: "10.0.0.50" });
    await make({ port_id: two.id, fixed_ip_address: "10.0.0.51" });
    const before = await held();
    await refused(409, "FloatingIPPortAlreadyAssociated", { port_id: two.id, fixed_ip_address: "10.0.0.50" });
    expect(await held()).toEqual(before);
    expect(await api.change("floatingip", first.id, { port_id: two.id, fixed_ip_address: "10.0.0.50" }, p1)).toMatchObject({ fixed_ip_address: "10.0.0.50" });
  });

  test("is reached by a router with a gateway there", async () => {
    const far = await api.make("network", {});
    await api.make("subnet", { network_id: far.id, ip_version: 4, cidr: "10.1.0.0/24" });
    const lost = await api.make("port", { network_id: far.id });
    await refused(404, "ExternalGatewayForFloatingIPNotFound", { port_id: lost.id });
    await refused(404, "PortNotFound", { port_id: UNKNOWN });
    await refused(404, "PortNotFound", { port_id: port.id }, p2);
  });
});

describe("a router that is named", () => {
  /** Behind the router, by a network between: a network that another router is on. */
  let far: Shown;
  let lost: Shown;
  let inner: Shown;
  const connect = (which: Shown, body: object) => api.put(`routers/${which.id}/add_router_interface`, body, p1);
  beforeEach(async () => {
    far = await api.make("network", {});
    const farSubnet = await api.make("subnet", { network_id: far.id, ip_version: 4, cidr: "10.1.0.0/24" });
    lost = await api.make("port", { network_id: far.id });
    inner = await api.make("router", {});
    await connect(inner, { subnet_id: farSubnet.id });
    await connect(inner, { port_id: (await api.make("port", { network_id: inside.id, fixed_ips: [{ ip_address: "10.0.0.250" }] })).id });
  });

  test("carries it where none is found, and is what it is until something else is said", async () => {
    const floating = await make({ port_id: lost.id, router_id: router.id });
    const there = { port_id: lost.id, fixed_ip_address: ipOf(lost), router_id: router.id };
    expect(floating).toMatchObject(there);
    expect(floating).not.toHaveProperty("by_routes");
    expect(await api.change("floatingip", floating.id, { description: "x" }, p1)).toMatchObject(there);
    await api.refused(404, "ExternalGatewayForFloatingIPNotFound", "PUT", `floatingips/${floating.id}`, { floatingip: { port_id: lost.id } }, p1);
    await api.refused(404, "ExternalGatewayForFloatingIPNotFound", "PUT", `floatingips/${floating.id}`, { floatingip: { router_id: null } }, p1);
    expect(await api.change("floatingip", floating.id, { port_id: port.id }, p1)).toMatchObject({ port_id: port.id, router_id: router.id });
    expect(await api.change("floatingip", floating.id, { port_id: null, router_id: null }, p1)).toMatchObject({ port_id: null, fixed_ip_address: null, router_id: null });
    expect(await api.change("floatingip", floating.id, { port_id: lost.id, router_id: router.id }, p1)).toMatchObject(there);
  });

  test("may be another one later, which alone is said: it leads to the same address", async () => {
    const second = await api.make("router", { external_gateway_info: { network_id: outside.id } });
    const floating = await make({ port_id: port.id });
    expect(await api.change("floatingip", floating.id, { router_id: second.id }, p1)).toMatchObject({ port_id: port.id, fixed_ip_address: ipOf(port), router_id: second.id });
    expect(await api.list(`floatingips?router_id=${second.id}`, p1)).toMatchObject([{ id: floating.id }]);
    expect(await api.change("floatingip", floating.id, { router_id: null }, p1)).toMatchObject({ port_id: port.id, router_id: router.id });
  });

  test("has a gateway on the network outside, is there to be seen, and leads to a port", async () => {
    await refused(409, "RouterGatewayNotValid", { port_id: lost.id, router_id: inner.id });
    const foreign = await api.make("router", { external_gateway_info: { network_id: outside.id } }, p2);
    for (const router_id of [UNKNOWN, foreign.id]) await refused(404, "RouterNotFound", { port_id: lost.id, router_id });
    await refused(400, "HTTPBadRequest", { port_id: lost.id, router_id: "x" });
    await refused(400, "BadRequest", { router_id: router.id });
    const floating = await make();
    for (const more of [{}, { port_id: null }]) await api.refused(400, "BadRequest", "PUT", `floatingips/${floating.id}`, { floatingip: { router_id: router.id, ...more } }, p1);
    expect(await api.change("floatingip", floating.id, { router_id: null }, p1)).toMatchObject({ router_id: null, port_id: null });
    expect(await held()).toHaveLength(1);
  });

  test("leads to one port of an address, also where several networks behind it have the same", async () => {
    const twin = await api.make("network", {});
    await api.make("subnet", { network_id: twin.id, ip_version: 4, cidr: "10.1.0.0/24" });
    const other = await api.make("port", { network_id: twin.id, fixed_ips: [{ ip_address: ipOf(lost) }] });
    await make({ port_id: lost.id, router_id: router.id });
    await refused(409, "FloatingIPPortAlreadyAssociated", { port_id: other.id, router_id: router.id });
    expect(await held()).toHaveLength(1);
  });

  test("keeps its gateway for it; its interfaces and those between may go", async () => {
    const floating = await make({ port_id: lost.id, router_id: router.id });
    await api.refused(409, "RouterExternalGatewayInUseByFloatingIp", "PUT", `routers/${router.id}`, { router: { external_gateway_info: null } }, p1);
    expect(await api.put(`routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1)).toMatchObject({ status: 200 });
    expect((await api.get(`floatingips/${floating.id}`, p1)).body).toMatchObject({ floatingip: { router_id: router.id, status: "DOWN" } });
    await api.delete("port", lost.id, p1);
    expect((await api.get(`floatingips/${floating.id}`, p1)).body).toMatchObject({ floatingip: { router_id: null, port_id: null } });
    await api.change("router", router.id, { external_gateway_info: null }, p1);
  });
});

describe("what it stands on", () => {
  test("the gateway, the interface and the network stay; the port takes it back", async () => {
    const floating = await make({ port_id: port.id });
    for (const external_gateway_info of [null, {}]) await api.refused(409, "RouterExternalGatewayInUseByFloatingIp", "PUT", `routers/${router.id}`, { router: { external_gateway_info } }, p1);
    await api.refused(409, "RouterInterfaceInUseByFloatingIP", "PUT", `routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1);
    await api.refused(409, "RouterInUse", "DELETE", `routers/${router.id}`, undefined, p1);
    await api.refused(409, "NetworkInUse", "DELETE", `networks/${outside.id}`, undefined, admin);
    await api.refused(409, "SubnetInUse", "DELETE", `subnets/${pool.id}`, undefined, admin);
    const [holder] = await held();
    await api.refused(409, "ServicePortInUse", "DELETE", `ports/${holder!.id}`, undefined, admin);
    expect(await api.refused(409, "ServicePortInUse", "PUT", `ports/${holder!.id}`, { port: { device_owner: "", mac_address: "02:00:00:00:00:99" } }, admin)).toMatch(/^Port \S+ cannot be changed \(device_owner, mac_address\) directly via the port API: has device owner network:floatingip, it holds the address of floating IP /);
    expect(await api.refused(409, "ServicePortInUse", "PUT", `ports/${holder!.id}`, { port: { fixed_ips: [] } }, admin)).toMatch(/ cannot be changed \(fixed_ips\) /);
    await api.delete("port", port.id, p1);
    expect((await api.get(`floatingips/${floating.id}`, p1)).body).toMatchObject({ floatingip: { port_id: null, router_id: null } });
    expect(await api.put(`routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1)).toMatchObject({ status: 200 });
    await api.change("router", router.id, { external_gateway_info: null }, p1);
    await api.refused(409, "ExternalNetworkInUse", "PUT", `networks/${outside.id}`, { network: { "router:external": false } }, admin);
    await api.delete("floatingip", floating.id, p1);
    expect(await api.change("network", outside.id, { "router:external": false }, admin)).toMatchObject({ "router:external": false });
  });

  test("a network outside takes those along that lead nowhere, whosever they are; one in use keeps it, and them", async () => {
    const [mine] = [await make({ port_id: port.id }), await make({}, p2)];
    const stays = async (): Promise<void> => {
      await api.refused(409, "NetworkInUse", "DELETE", `networks/${outside.id}`, undefined, admin);
      expect(await api.list("floatingips", admin)).toHaveLength(2);
      expect(await held()).toHaveLength(2);
    };
    await stays();
    await api.change("floatingip", mine.id, { port_id: null }, p1);
    // A forwarded port is a use as well.
    const forwardings = `floatingips/${mine.id}/port_forwardings`;
    const { status, body } = await api.call("POST", forwardings, { port_forwarding: { protocol: "tcp", internal_port_id: port.id, internal_ip_address: ipOf(port), external_port: 80, internal_port: 80 } }, p1);
    expect(status).toBe(201);
    await stays();
    expect((await api.call("DELETE", `${forwardings}/${(body.port_forwarding as Shown).id}`, undefined, p1)).status).toBe(204);
    // So is the gateway of a router.
    await stays();
    await api.change("router", router.id, { external_gateway_info: null }, p1);
    await api.delete("network", outside.id, admin);
    expect([await api.list("floatingips", admin), await held(), (await api.list("subnets", admin)).map((s) => s.id)]).toEqual([[], [], [subnet.id]]);
  });

  test("an update of nothing takes it back, one of something else does not", async () => {
    const floating = await make({ port_id: port.id });
    expect(await api.change("floatingip", floating.id, { description: "d" }, p1)).toMatchObject({ port_id: port.id, description: "d" });
    expect(await api.change("floatingip", floating.id, {}, p1)).toMatchObject({ port_id: null, fixed_ip_address: null, router_id: null, description: "d" });
  });

  test("an address that its port has no more leads nowhere", async () => {
    const floating = await make({ port_id: port.id });
    await api.change("port", port.id, { fixed_ips: [{ ip_address: "10.0.0.77" }] }, p1);
    expect((await api.get(`floatingips/${floating.id}`, p1)).body).toMatchObject({ floatingip: { port_id: null, router_id: null } });
  });
});

describe("port forwardings", () => {
  let floating: Shown;
  beforeEach(async () => {
    floating = await make();
  });
  const path = (): string => `floatingips/${floating.id}/port_forwardings`;
  const values = (more: Record<string, unknown> = {}) => ({ protocol: "tcp", internal_port_id: port.id, internal_ip_address: ipOf(port), external_port: 2222, internal_port: 22, ...more });
  const forward = async (more: Record<string, unknown> = {}): Promise<Shown> => {
    const answer = await api.call("POST", path(), { port_forwarding: values(more) }, p1);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return answer.body.port_forwarding as Shown;
  };
  const not = (status: number, type: string, more: Record<string, unknown>) => api.refused(status, type, "POST", path(), { port_forwarding: values(more) }, p1);
  const shown = async (): Promise<Shown> => (await api.get(`floatingips/${floating.id}`, p1)).body.floatingip as Shown;

  test("made, shown in the floating IP, changed, taken away", async () => {
    const made = await forward({ description: "ssh", protocol: "TCP" });
    expect(made).toEqual({
      id: made.id, description: "ssh", protocol: "tcp", internal_port_id: port.id, internal_ip_address: ipOf(port), external_port: 2222, external_port_range: "2222:2222", internal_port: 22, internal_port_range: "22:22",
    });
    expect(await shown()).toMatchObject({ router_id: router.id, port_id: null, port_forwardings: [{ id: made.id, external_port: 2222, internal_port_range: "22:22" }] });
    expect(await api.get(`${path()}/${made.id}`, p1)).toMatchObject({ status: 200, body: { port_forwarding: { id: made.id } } });
    expect((await api.get(path(), p2)).status).toBe(404);
    expect(await api.put(`${path()}/${made.id}`, { port_forwarding: { external_port: 2223, protocol: "udp" } }, p1)).toMatchObject({ status: 200, body: { port_forwarding: { external_port: 2223, protocol: "udp", internal_port: 22 } } });
    await api.refused(404, "PortForwardingNotFound", "DELETE", `${path()}/${UNKNOWN}`, undefined, p1);
    await api.refused(409, "FipInUseByPortForwarding", "DELETE", `floatingips/${floating.id}`, undefined, p1);
    await api.refused(409, "RouterInterfaceInUseByFloatingIP", "PUT", `routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1);
    await api.refused(409, "RouterExternalGatewayInUseByFloatingIp", "PUT", `routers/${router.id}`, { router: { external_gateway_info: null } }, p1);
    expect((await api.call("DELETE", `${path()}/${made.id}`, undefined, p1)).status).toBe(204);
    expect(await shown()).toMatchObject({ router_id: null, port_forwardings: [] });
  });

  test("ranges are of the same size, or lead to one port; a port and a range have to agree", async () => {
    expect(await forward({ external_port: undefined, internal_port: undefined, external_port_range: "3000:3009", internal_port_range: "4000:4009" })).toMatchObject({ external_port: null, internal_port: null, external_port_range: "3000:3009" });
    expect(await forward({ external_port: undefined, external_port_range: "5000:5009", internal_port: 80 })).toMatchObject({ external_port: null, internal_port: 80, internal_port_range: "80:80" });
    expect(await forward({ external_port_range: "2222:2222" })).toMatchObject({ external_port: 2222 });
    for (const wrong of [
      { external_port_range: "6000:6009" }, { external_port: undefined, external_port_range: "6009:6000" }, { external_port: undefined, external_port_range: "6000:70000" }, { external_port: undefined, external_port_range: "x" },
      { external_port: undefined }, { internal_port: undefined }, { external_port: 6000, internal_port: undefined, internal_port_range: "1:2" },
    ]) await not(400, "BadRequest", wrong);
    for (const wrong of [{ external_port: 0 }, { external_port: 65_536 }, { protocol: "icmp" }]) await not(400, "HTTPBadRequest", wrong);
  });

  test("no two of the same ports, on either side; none of an address that has a floating IP, and the other way round", async () => {
    await forward();
    await not(400, "BadRequest", { internal_port: 23 });
    await not(400, "BadRequest", { external_port: 2223 });
    await not(400, "BadRequest", { external_port: undefined, internal_port: 80, external_port_range: "2000:3000" });
    await forward({ protocol: "udp" });
    await not(400, "BadRequest", { external_port: 1, internal_ip_address: "10.0.0.99" });
    await refused(400, "PortHasPortForwarding", { port_id: port.id });
    const other = await api.make("port", { network_id: inside.id });
    await api.refused(409, "FipInUseByPortForwarding", "PUT", `floatingips/${floating.id}`, { floatingip: { port_id: other.id } }, p1);
    await make({ port_id: other.id });
    await not(409, "PortHasBindingFloatingIP", { external_port: 1, internal_port_id: other.id, internal_ip_address: ipOf(other) });
    floating = (await api.list(`floatingips?port_id=${other.id}`, p1))[0]!;
    await not(409, "FloatingIPPortAlreadyAssociated", {});
  });

  test("they go with their port, and with its address", async () => {
    const two = await api.make("port", { network_id: inside.id });
    await forward();
    await forward({ external_port: 1, internal_port_id: two.id, internal_ip_address: ipOf(two) });
    await api.delete("port", port.id, p1);
    expect((await shown()).port_forwardings).toMatchObject([{ internal_port_id: two.id }]);
    await api.change("port", two.id, { fixed_ips: [{ ip_address: "10.0.0.77" }] }, p1);
    expect(await shown()).toMatchObject({ port_forwardings: [], router_id: null });
  });
});

describe("limits and others' ports", () => {
  const forward = (id: string, values: Record<string, unknown>) => api.call("POST", `floatingips/${id}/port_forwardings`, { port_forwarding: { protocol: "tcp", internal_port_id: port.id, internal_ip_address: ipOf(port), ...values } }, p1);
  const saidBy = (answer: { status: number; body: unknown }): [number, string] => [answer.status, (answer.body as { NeutronError: { message: string } }).NeutronError.message];

  test("whose network it is may not open another's port to outside; an administrator may", async () => {
    await api.change("network", inside.id, { shared: true }, admin);
    const theirs = await api.make("port", { network_id: inside.id }, p2);
    await refused(400, "BadRequest", { port_id: theirs.id });
    const floating = await make();
    await api.refused(400, "BadRequest", "PUT", `floatingips/${floating.id}`, { floatingip: { port_id: theirs.id } });
    expect(saidBy(await forward(floating.id, { internal_port_id: theirs.id, internal_ip_address: ipOf(theirs), external_port: 22, internal_port: 22 }))).toEqual([400, expect.stringContaining("of another project") as string]);
    expect((await make({ port_id: theirs.id, project_id: "p1" }, admin)).port_id).toBe(theirs.id);
  });

  test("a range that leads to ports of other numbers is a flow for each, and bounded; one that keeps them is not", async () => {
    const floating = await make();
    expect(saidBy(await forward(floating.id, { external_port_range: "1:65534", internal_port_range: "2:65535" }))).toEqual([400, expect.stringContaining("not more than 256 ports") as string]);
    expect((await forward(floating.id, { external_port_range: "1000:1255", internal_port_range: "2000:2255" })).status).toBe(201);
    expect((await forward(floating.id, { external_port_range: "10000:65535", internal_port_range: "10000:65535" })).status).toBe(201);
    expect((await forward(floating.id, { external_port_range: "3000:3001", internal_port_range: "4000:4001" })).status).toBe(400);
    for (let n = 2; n < 256; n++) expect((await forward(floating.id, { external_port: n, internal_port: n })).status).toBe(201);
    expect(saidBy(await forward(floating.id, { external_port: 900, internal_port: 900 }))).toEqual([400, expect.stringContaining("256 port forwardings") as string]);
  });

  test("what leads by a router is a change of it, a forwarded port one of the floating IP", async () => {
    const revision = async (what: string, id: string): Promise<number> => (await api.show(what, id)).revision_number;
    let before = await revision("router", router.id);
    const grown = async (why: string): Promise<void> => {
      const now = await revision("router", router.id);
      expect(now, why).toBeGreaterThan(before);
      before = now;
    };
    const floating = await make({ port_id: port.id });
    await grown("associated");
    await api.change("floatingip", floating.id, { port_id: null }, p1);
    await grown("disassociated");
    const own = await revision("floatingip", floating.id);
    const made = await forward(floating.id, { external_port: 80, internal_port: 80 });
    const later = await revision("floatingip", floating.id);
    expect(later).toBeGreaterThan(own);
    await api.call("DELETE", `floatingips/${floating.id}/port_forwardings/${(made.body as { port_forwarding: { id: string } }).port_forwarding.id}`, undefined, p1);
    expect(await revision("floatingip", floating.id)).toBeGreaterThan(later);
  });
});

test("pools are the IPv4 subnets of external networks, whoever asks", async () => {
  for (const who of [p1, p2]) expect(await api.list("floatingip_pools", who)).toEqual([{ subnet_id: pool.id, subnet_name: pool.name, network_id: outside.id, cidr: "203.0.113.0/29", project_id: who.project, tenant_id: who.project }]);
});
