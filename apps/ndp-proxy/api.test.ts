import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";

let api: Api;
let outside: Shown;
let router: Shown;
let inside: Shown;
let subnet: Shown;
let port: Shown;

const admin = { project: "ops", roles: "admin" };
const p1 = { project: "p1" };
const p2 = { project: "p2" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

/** A router of a project with a gateway outside and a network of this prefix inside. */
async function behind(cidr: string, who = p1, more: Record<string, unknown> = {}): Promise<{ router: Shown; network: Shown; subnet: Shown }> {
  const network = await api.make("network", {}, who);
  const made = await api.make("subnet", { network_id: network.id, ip_version: 6, cidr }, who);
  const its = await api.make("router", { external_gateway_info: { network_id: outside.id }, ...more }, who);
  expect(await api.put(`routers/${its.id}/add_router_interface`, { subnet_id: made.id }, who)).toMatchObject({ status: 200 });
  return { router: its, network, subnet: made };
}

beforeEach(async () => {
  api = await Api.open();
  outside = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
  await api.make("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", project_id: "ops" }, admin);
  await api.make("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8:f::/64", project_id: "ops" }, admin);
  ({ router, network: inside, subnet } = await behind("2001:db8:1::/64", p1, { enable_ndp_proxy: true }));
  port = await api.make("port", { network_id: inside.id });
});

const post = (values: Record<string, unknown> = {}, who: { project: string; roles?: string } = p1) => api.call("POST", "ndp_proxies", { ndp_proxy: { router_id: router.id, port_id: port.id, ...values } }, who);
const make = async (values: Record<string, unknown> = {}): Promise<Shown> => {
  const answer = await post(values);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body.ndp_proxy as Shown;
};
const refused = (status: number, type: string, values: Record<string, unknown> = {}, who: { project: string; roles?: string } = p1) => api.refused(status, type, "POST", "ndp_proxies", { ndp_proxy: { router_id: router.id, port_id: port.id, ...values } }, who);
const set = (id: string, values: Record<string, unknown>) => api.change("router", id, values, p1);
const ip = (): string => port.fixed_ips[0]!.ip_address;

describe("enable_ndp_proxy", () => {
  test("is false unless it is asked for, and without a gateway; a change of something else leaves it", async () => {
    expect(await api.make("router", {})).toMatchObject({ enable_ndp_proxy: false });
    const other = await api.make("router", { external_gateway_info: { network_id: outside.id }, enable_ndp_proxy: null });
    expect(other).toMatchObject({ enable_ndp_proxy: false });
    expect(await set(other.id, { name: "x" })).toMatchObject({ enable_ndp_proxy: false });
    expect(await set(other.id, { enable_ndp_proxy: "true" })).toMatchObject({ enable_ndp_proxy: true });
    expect(await set(other.id, { name: "y" })).toMatchObject({ enable_ndp_proxy: true });
    expect(await set(other.id, { external_gateway_info: null })).toMatchObject({ enable_ndp_proxy: false });
    expect(await set(other.id, { external_gateway_info: { network_id: outside.id } })).toMatchObject({ enable_ndp_proxy: false });
    expect((await api.list("routers?enable_ndp_proxy=true", p1)).map((r) => r.id)).toEqual([router.id]);
    await api.refused(400, "InvalidInput", "PUT", `routers/${other.id}`, { router: { enable_ndp_proxy: "perhaps" } }, p1);
  });

  test("needs a gateway with an IPv6 address", async () => {
    const four = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
    await api.make("subnet", { network_id: four.id, ip_version: 4, cidr: "198.51.100.0/24", project_id: "ops" }, admin);
    await api.refused(409, "RouterGatewayNotValid", "POST", "routers", { router: { enable_ndp_proxy: true } }, p1);
    await api.refused(409, "RouterGatewayNotValid", "POST", "routers", { router: { enable_ndp_proxy: true, external_gateway_info: { network_id: four.id } } }, p1);
    const bare = await api.make("router", {});
    await api.refused(409, "RouterGatewayNotValid", "PUT", `routers/${bare.id}`, { router: { enable_ndp_proxy: true } }, p1);
    await set(bare.id, { external_gateway_info: { network_id: four.id } });
    await api.refused(409, "RouterGatewayNotValid", "PUT", `routers/${bare.id}`, { router: { enable_ndp_proxy: true } }, p1);
    const refusal = await api.call("PUT", `routers/${router.id}`, { router: { enable_ndp_proxy: true, external_gateway_info: null } }, p1);
    expect(refusal).toMatchObject({ status: 409, body: { NeutronError: { type: "RouterGatewayNotValid", message: `Can not enable ndp proxy on router ${router.id}, The router's external gateway will be unset.` } } });
    // Both at once, on a network that bears it.
    expect(await set(bare.id, { external_gateway_info: { network_id: outside.id }, enable_ndp_proxy: true })).toMatchObject({ enable_ndp_proxy: true });
  });

  test("keeps the gateway's IPv6 address while it is on, and the gateway while something is proxied", async () => {
    const subnetOf4 = (await api.list(`subnets?network_id=${outside.id}&ip_version=4`, admin))[0]!;
    const onlyFour = { external_gateway_info: { network_id: outside.id, external_fixed_ips: [{ subnet_id: subnetOf4.id }] } };
    await api.refused(409, "RouterIPv6GatewayInUse", "PUT", `routers/${router.id}`, { router: onlyFour }, admin);
    const proxy = await make();
    await api.refused(409, "RouterGatewayInUseByNDPProxy", "PUT", `routers/${router.id}`, { router: { external_gateway_info: null } }, p1);
    const second = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
    await api.make("subnet", { network_id: second.id, ip_version: 6, cidr: "2001:db8:e::/64", project_id: "ops" }, admin);
    await api.refused(409, "RouterGatewayInUseByNDPProxy", "PUT", `routers/${router.id}`, { router: { external_gateway_info: { network_id: second.id } } }, p1);
    // Switched off, proxies stay and count no more; the gateway stays with them.
    expect(await set(router.id, { enable_ndp_proxy: false })).toMatchObject({ enable_ndp_proxy: false });
    await api.refused(409, "RouterGatewayInUseByNDPProxy", "PUT", `routers/${router.id}`, { router: { external_gateway_info: null } }, p1);
    await api.call("DELETE", `ndp_proxies/${proxy.id}`, undefined, p1);
    expect(await set(router.id, { external_gateway_info: null })).toMatchObject({ enable_ndp_proxy: false });
  });
});

describe("an NDP proxy", () => {
  test("is of an address of a port, the first that the router reaches unless one is named", async () => {
    const proxy = await make({ name: "n", description: "d" });
    expect(proxy).toMatchObject({ name: "n", description: "d", project_id: "p1", tenant_id: "p1", router_id: router.id, port_id: port.id, ip_address: ip(), revision_number: 1 });
    expect(proxy).toHaveProperty("created_at");
    expect(await api.list("ndp_proxies", p2)).toEqual([]);
    expect(await api.list("ndp-proxies", p1)).toMatchObject([{ id: proxy.id }]);
    for (const query of [`router_id=${router.id}`, `port_id=${port.id}`, `ip_address=${ip()}`, "name=n"]) expect(await api.list(`ndp_proxies?${query}`, p1)).toMatchObject([{ id: proxy.id }]);
    expect(await api.put(`ndp_proxies/${proxy.id}`, { ndp_proxy: { name: "m", description: "e" } }, p1)).toMatchObject({ status: 200, body: { ndp_proxy: { name: "m", description: "e", ip_address: ip() } } });
    await api.refused(400, "HTTPBadRequest", "PUT", `ndp_proxies/${proxy.id}`, { ndp_proxy: { ip_address: "2001:db8:1::77" } }, p1);
    await refused(409, "NeutronDbObjectDuplicateEntry");
    expect(await api.call("DELETE", `ndp_proxies/${proxy.id}`, undefined, p1)).toMatchObject({ status: 204 });
    expect(await api.get(`ndp_proxies/${proxy.id}`, p1)).toMatchObject({ status: 404, body: { NeutronError: { type: "NDPProxyNotFound" } } });
    expect(await make({ ip_address: ip() })).toMatchObject({ ip_address: ip() });
  });

  test("is refused for what the router does not reach", async () => {
    await refused(404, "PortNotFound", { port_id: UNKNOWN });
    await refused(409, "PortUnreachableRouter", { router_id: UNKNOWN });
    await refused(400, "InvalidAddress", { ip_address: "2001:db8:1::dead" });
    await refused(400, "InvalidAddress", { ip_address: "10.0.0.1" });
    await refused(400, "HTTPBadRequest", { ip_address: "nowhere" });
    const far = await api.make("network", {});
    await api.make("subnet", { network_id: far.id, ip_version: 6, cidr: "2001:db8:2::/64" });
    await refused(409, "PortUnreachableRouter", { port_id: (await api.make("port", { network_id: far.id })).id });
    // On the router's network, by a subnet that it is not on.
    const beside = await api.make("subnet", { network_id: inside.id, ip_version: 6, cidr: "2001:db8:3::/64" });
    const other = await api.make("port", { network_id: inside.id, fixed_ips: [{ subnet_id: beside.id }] });
    await refused(409, "PortUnreachableRouter", { port_id: other.id });
    await refused(400, "InvalidAddress", { port_id: other.id, ip_address: other.fixed_ips[0]!.ip_address });
    const four = await api.make("subnet", { network_id: inside.id, ip_version: 4, cidr: "10.0.0.0/24" });
    await refused(400, "BadRequest", { port_id: (await api.make("port", { network_id: inside.id, fixed_ips: [{ subnet_id: four.id }] })).id });
    await set(router.id, { enable_ndp_proxy: false });
    await refused(409, "RouterNDPProxyNotEnable");
  });

  test("is nobody else's to make, on a router or a port of others", async () => {
    await refused(404, "PortNotFound", {}, p2);
    await refused(403, "PolicyNotAuthorized", {}, { project: "p1", roles: "reader" });
    const proxy = await make();
    await api.refused(404, "NDPProxyNotFound", "DELETE", `ndp_proxies/${proxy.id}`, undefined, p2);
  });

  test("publishes no prefix that is on the link outside, nor one that another router publishes there", async () => {
    await make();
    const same = await behind("2001:db8:1:0:8000::/66", p2, { enable_ndp_proxy: true });
    const theirs = await api.make("port", { network_id: same.network.id }, p2);
    await refused(409, "AddressScopeConflict", { router_id: same.router.id, port_id: theirs.id }, p2);
    const link = await behind("2001:db8:c::/64", p2, { enable_ndp_proxy: true });
    const onLink = await api.make("port", { network_id: link.network.id }, p2);
    await api.make("subnet", { network_id: outside.id, ip_version: 6, cidr: "2001:db8:c::/80", project_id: "ops" }, admin);
    await refused(409, "AddressScopeConflict", { router_id: link.router.id, port_id: onLink.id }, p2);
    // Once it is free others may.
    for (const { id } of await api.list("ndp_proxies", p1)) await api.call("DELETE", `ndp_proxies/${id}`, undefined, p1);
    expect(await post({ router_id: same.router.id, port_id: theirs.id }, p2)).toMatchObject({ status: 201 });
    await refused(409, "AddressScopeConflict");
  });

  test("keeps the interface that it is reached by, and goes with its port", async () => {
    const proxy = await make();
    await api.refused(409, "RouterInterfaceInUseByNDPProxy", "PUT", `routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1);
    await api.refused(409, "RouterInUse", "DELETE", `routers/${router.id}`, undefined, p1);
    await api.delete("port", port.id, p1);
    expect(await api.get(`ndp_proxies/${proxy.id}`, p1)).toMatchObject({ status: 404, body: { NeutronError: { type: "NDPProxyNotFound" } } });
    expect(await api.put(`routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id }, p1)).toMatchObject({ status: 200 });
    await api.delete("router", router.id, p1);
  });
});

describe("what is another's", () => {
  /** Another external network, of the same administrator. */
  async function elsewhere(): Promise<Shown> {
    const network = await api.make("network", { "router:external": true, project_id: "ops" }, admin);
    await api.make("subnet", { network_id: network.id, ip_version: 6, cidr: "2001:db8:e::/64", project_id: "ops" }, admin);
    return network;
  }
  const theirsOn = async (gateway: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<{ router: Shown; port: Shown }> => {
    const made = await behind("2001:db8:1::/64", p2, { external_gateway_info: gateway, ...more });
    return { router: made.router, port: await api.make("port", { network_id: made.network.id }, p2) };
  };
  const change = (id: string, values: Record<string, unknown>) => api.put(`routers/${id}`, { router: values }, p2);

  test("a prefix is not had by publishing it elsewhere, and moving with the switch off", async () => {
    await make();
    const theirs = await theirsOn({ network_id: (await elsewhere()).id }, { enable_ndp_proxy: true });
    expect(await post({ router_id: theirs.router.id, port_id: theirs.port.id }, p2)).toMatchObject({ status: 201 });
    await change(theirs.router.id, { enable_ndp_proxy: false });
    expect(await change(theirs.router.id, { external_gateway_info: { network_id: outside.id } })).toMatchObject({ status: 200 });
    await api.refused(409, "AddressScopeConflict", "PUT", `routers/${theirs.router.id}`, { router: { enable_ndp_proxy: true } }, p2);
    expect(await api.show("router", theirs.router.id, p2)).toMatchObject({ enable_ndp_proxy: false });
  });

  test("nor by putting another gateway first: what counts is the one that it publishes by", async () => {
    await make();
    const other = await elsewhere();
    const theirs = await theirsOn({ network_id: outside.id }, { enable_ndp_proxy: true });
    await refused(409, "AddressScopeConflict", { router_id: theirs.router.id, port_id: theirs.port.id }, p2);
    const moved = await api.put(`routers/${theirs.router.id}/update_external_gateways`, { router: { external_gateways: [{ network_id: other.id }, { network_id: outside.id }] } }, p2);
    expect([200, 400, 409]).toContain(moved.status);
    const answer = await post({ router_id: theirs.router.id, port_id: theirs.port.id }, p2);
    expect(answer.status, JSON.stringify(answer.body)).toBe(409);
  });

  test("a port of another project on one's own network is not for one to open", async () => {
    await api.change("network", inside.id, { shared: true }, admin);
    const theirs = await api.make("port", { network_id: inside.id }, p2);
    await refused(400, "BadRequest", { port_id: theirs.id });
    expect(await post({ port_id: theirs.id }, admin)).toMatchObject({ status: 201 });
  });
});

describe("address scopes", () => {
  /** A subnet of a pool that is of this scope. */
  const scoped = async (name: string, network: Shown, prefix: string, scope: Shown): Promise<Shown> => {
    const pool = await api.make("subnetpool", { name, prefixes: [prefix], default_prefixlen: 64, address_scope_id: scope.id, project_id: network.project_id }, admin);
    return api.make("subnet", { network_id: network.id, ip_version: 6, subnetpool_id: pool.id, project_id: network.project_id }, admin);
  };

  test("an address is published in its own scope alone: of the gateway by which that is, whichever others there are", async () => {
    const scope = await api.make("address_scope", { ip_version: 6, name: "s", project_id: "ops" }, admin);
    const [theirs, mine] = [await api.make("network", { "router:external": true, project_id: "ops" }, admin), await api.make("network", { project_id: "ops" }, admin)];
    await scoped("outside", theirs, "2001:db8:a::/48", scope);
    const its = await scoped("inside", mine, "2001:db8:b::/48", scope);
    const r = await api.make("router", { project_id: "ops", external_gateway_info: { network_id: outside.id } }, admin);
    await api.put(`routers/${r.id}/add_router_interface`, { subnet_id: its.id }, admin);
    await api.put(`routers/${r.id}/add_external_gateways`, { router: { external_gateways: [{ network_id: theirs.id }] } }, admin);
    await api.change("router", r.id, { enable_ndp_proxy: true }, admin);
    const inner = await api.make("port", { network_id: mine.id, project_id: "ops" }, admin);
    const proxy = { router_id: r.id, port_id: inner.id };
    expect(await refused(409, "AddressScopeConflict", proxy, { project: "ops", roles: "admin" })).toContain(`scope None of external network conflict with internal network's IPv6 address scope ${scope.id}`);
    // By the other one it is.
    await api.put(`routers/${r.id}/update_external_gateways`, { router: { external_gateways: [{ network_id: theirs.id }, { network_id: outside.id }] } }, admin);
    await api.change("router", r.id, { enable_ndp_proxy: false }, admin);
    const first = (await api.call("GET", `routers/${r.id}`, undefined, admin)).body.router as Shown;
    expect(first.external_gateway_info).toMatchObject({ network_id: theirs.id });
    await api.change("router", r.id, { enable_ndp_proxy: true }, admin);
    expect(await post(proxy, { project: "ops", roles: "admin" })).toMatchObject({ status: 201 });
    // Nor is it moved to a gateway of another scope.
    await api.put(`routers/${r.id}/update_external_gateways`, { router: { external_gateways: [{ network_id: outside.id }, { network_id: theirs.id }] } }, admin);
    await api.change("router", r.id, { enable_ndp_proxy: false }, admin);
    await api.refused(409, "AddressScopeConflict", "PUT", `routers/${r.id}`, { router: { enable_ndp_proxy: true } }, admin);
  });
});
