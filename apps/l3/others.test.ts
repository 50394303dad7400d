// A shared network is there to have ports on. Nobody but its owner makes a gateway of it, answers for its addresses, or is taken for a
// function of it: each call that could is tried by a plain member, by what the access rules say and by what its references lead to.
import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown, type Who } from "../../test/support/api/api.ts";
import { routerInterfaceTable } from "./model.ts";

const admin: Who = { project: "ops", roles: "admin" };
const member: Who = { project: "guest" };
const other: Who = { project: "other" };

let api: Api;
/** The administrator's shared network, with a subnet of each family and its gateway address free. */
let network: Shown;
let v4: Shown;
let v6: Shown;
/** The member's. */
let router: Shown;

beforeEach(async () => {
  api = await Api.open();
  network = await api.make("network", { shared: true }, admin);
  v4 = await api.make("subnet", { network_id: network.id, ip_version: 4, cidr: "10.88.0.0/24" }, admin);
  v6 = await api.make("subnet", { network_id: network.id, ip_version: 6, cidr: "fd88::/64", gateway_ip: "fd88::1", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }, admin);
  router = await api.make("router", {}, member);
});

const add = (body: Record<string, unknown>, who: Who = member, id = router.id): ReturnType<Api["put"]> => api.put(`routers/${id}/add_router_interface`, body, who);
const holders = (ip: string): Promise<readonly Shown[]> => api.list(`ports?fixed_ips=ip_address=${ip}`, admin);

describe("a router", () => {
  test("of a member does not become the gateway: by subnet, of either family; the owner's is connected", async () => {
    for (const [subnet, gateway] of [[v4, "10.88.0.1"], [v6, "fd88::1"]] as const) {
      const why = await api.refused(400, "BadRequest", "PUT", `routers/${router.id}/add_router_interface`, { subnet_id: subnet.id }, member);
      expect(why).toBe(`Bad router request: Cannot add interface to router because subnet ${subnet.id} is not owned by project making the request.`);
      expect(await holders(gateway)).toEqual([]);
    }
    const its = await api.make("router", {}, admin);
    for (const subnet of [v4, v6]) expect(await add({ subnet_id: subnet.id }, admin, its.id)).toMatchObject({ status: 200 });
    expect((await holders("10.88.0.1"))[0]).toMatchObject({ device_id: its.id });
  });

  test("of a member does not become it by a prefix that joins an interface it has there", async () => {
    const port = await api.make("port", { network_id: network.id, fixed_ips: [{ subnet_id: v6.id }] }, member);
    expect(await add({ port_id: port.id })).toMatchObject({ status: 200 });
    const more = await api.make("subnet", { network_id: network.id, ip_version: 6, cidr: "fd89::/64" }, admin);
    await api.refused(400, "BadRequest", "PUT", `routers/${router.id}/add_router_interface`, { subnet_id: more.id }, member);
  });

  test("of a member has a port there as any device has, and is marked as a guest; the owner's and what an administrator connects is none", async () => {
    const port = await api.make("port", { network_id: network.id }, member);
    expect(await add({ port_id: port.id })).toMatchObject({ status: 200 });
    const mine = await api.make("port", { network_id: network.id }, admin);
    const its = await api.make("router", {}, admin);
    expect(await add({ port_id: mine.id }, admin, its.id)).toMatchObject({ status: 200 });
    const given = await api.make("router", {}, member);
    expect(await add({ port_id: (await api.make("port", { network_id: network.id }, member)).id }, admin, given.id)).toMatchObject({ status: 200 });
    expect([...api.model.view.all(routerInterfaceTable)].map((i) => [i.router_id, i.guest === true]).sort()).toEqual([[router.id, true], [its.id, false], [given.id, false]].sort());
    expect(await holders("10.88.0.1")).toEqual([]);
  });

  test("of a member does not become it with a port that has the gateway's address, before or after", async () => {
    const port = await api.make("port", { network_id: network.id, project_id: "guest", fixed_ips: [{ ip_address: "10.88.0.1" }] }, admin);
    const why = await api.refused(400, "BadRequest", "PUT", `routers/${router.id}/add_router_interface`, { port_id: port.id }, member);
    expect(why).toContain(`port ${port.id} has the gateway address of subnet ${v4.id}`);
    const plain = await api.make("port", { network_id: network.id, fixed_ips: [{ subnet_id: v4.id }] }, member);
    expect(await add({ port_id: plain.id })).toMatchObject({ status: 200 });
    await api.delete("port", port.id, admin);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `ports/${plain.id}`, { port: { fixed_ips: [{ ip_address: "10.88.0.1" }] } }, member);
  });

  test("the owner of the network, a plain member, connects his; so does the owner of a subnet that was made for him", async () => {
    const own = await api.make("network", {}, other);
    const s = await api.make("subnet", { network_id: own.id, ip_version: 4, cidr: "10.99.0.0/24" }, other);
    await api.change("network", own.id, { shared: true }, admin);
    const his = await api.make("router", {}, other);
    await api.refused(400, "BadRequest", "PUT", `routers/${router.id}/add_router_interface`, { subnet_id: s.id }, member);
    expect(await add({ subnet_id: s.id }, other, his.id)).toMatchObject({ status: 200 });
    const made = await api.make("subnet", { network_id: network.id, project_id: "guest", ip_version: 4, cidr: "10.77.0.0/24" }, admin);
    expect(await add({ subnet_id: made.id })).toMatchObject({ status: 200 });
  });

  test("of another cannot be given an interface, nor lose one", async () => {
    const its = await api.make("router", {}, admin);
    await add({ subnet_id: v4.id }, admin, its.id);
    const mine = await api.make("port", { network_id: network.id }, member);
    for (const body of [{ subnet_id: v4.id }, { port_id: mine.id }]) {
      for (const action of ["add_router_interface", "remove_router_interface"]) await api.refused(404, "RouterNotFound", "PUT", `routers/${its.id}/${action}`, body, member);
    }
    await api.refused(404, "RouterInterfaceNotFoundForSubnet", "PUT", `routers/${router.id}/remove_router_interface`, { subnet_id: v4.id }, member);
    const [port] = await holders("10.88.0.1");
    await api.refused(404, "RouterInterfaceNotFound", "PUT", `routers/${router.id}/remove_router_interface`, { port_id: port!.id }, member);
    await api.refused(404, "PortNotFound", "PUT", `routers/${router.id}/add_router_interface`, { port_id: port!.id }, member);
  });

  test("does not take the port of another on a network that its owner sees", async () => {
    const own = await api.make("network", {}, other);
    await api.make("subnet", { network_id: own.id, ip_version: 4, cidr: "10.99.0.0/24" }, other);
    await api.change("network", own.id, { shared: true }, admin);
    const guests = await api.make("port", { network_id: own.id }, member);
    const his = await api.make("router", {}, other);
    await api.refused(404, "PortNotFound", "PUT", `routers/${his.id}/add_router_interface`, { port_id: guests.id }, other);
  });
});

describe("a port", () => {
  /** What a member may not say of a port on somebody else's network: made with it, or changed to it. */
  const refusedValues: readonly [what: string, values: () => Record<string, unknown>][] = [
    ["the gateway's address", () => ({ fixed_ips: [{ ip_address: "10.88.0.1" }] })],
    ["the gateway's address of a named subnet", () => ({ fixed_ips: [{ subnet_id: v4.id, ip_address: "10.88.0.1" }] })],
    ["any address of its choice", () => ({ fixed_ips: [{ subnet_id: v4.id, ip_address: "10.88.0.77" }] })],
    ["an IPv6 address of its choice", () => ({ fixed_ips: [{ subnet_id: v6.id, ip_address: "fd88::1" }], device_owner: "network:router_interface" })],
    ["an address of its choice beside one that is not", () => ({ fixed_ips: [{ subnet_id: v4.id }, { ip_address: "10.88.0.1" }] })],
    ["an extra address: the gateway's", () => ({ allowed_address_pairs: [{ ip_address: "10.88.0.1" }] })],
    ["an extra address: everything", () => ({ allowed_address_pairs: [{ ip_address: "0.0.0.0/0" }] })],
    ["an extra address: all of IPv6", () => ({ allowed_address_pairs: [{ ip_address: "::/0" }] })],
    ["an extra address with a MAC", () => ({ allowed_address_pairs: [{ ip_address: "10.88.0.1", mac_address: "fa:16:3e:00:00:01" }] })],
    ["a MAC", () => ({ mac_address: "fa:16:3e:00:00:01" })],
    ["port security off", () => ({ port_security_enabled: false, security_groups: [] })],
    ...["network:router_interface", "network:router_gateway", "network:dhcp", "network:distributed", "network:floatingip", "network:anything"].map(
      (owner): [string, () => Record<string, unknown>] => [`the owner ${owner}`, () => ({ device_owner: owner })],
    ),
    ["to be his router's interface", () => ({ device_owner: "network:router_interface", device_id: router.id })],
  ];

  test.each(refusedValues)("of a member is not given %s", async (_, values) => {
    await api.refused(403, "PolicyNotAuthorized", "POST", "ports", { port: { network_id: network.id, ...values() } }, member);
    await api.refused(403, "PolicyNotAuthorized", "POST", "ports", { ports: [{ network_id: network.id }, { network_id: network.id, ...values() }] }, member);
    const port = await api.make("port", { network_id: network.id }, member);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `ports/${port.id}`, { port: values() }, member);
    // Whoever owns the network says all of it.
    expect((await api.call("POST", "ports", { port: { network_id: network.id, ...values() } }, admin)).status).toBe(201);
  });

  test("of a member is not part of another's router, whatever it is owned by; nor does it become so", async () => {
    const its = await api.make("router", {}, admin);
    const own = await api.make("network", {}, member);
    for (const [on, device_owner] of [[network, ""], [network, "compute:nova"], [own, ""], [own, "network:router_interface"]] as const) {
      await api.refused(409, "DeviceIDNotOwnedByTenant", "POST", "ports", { port: { network_id: on.id, device_id: its.id, device_owner } }, member);
      const port = await api.make("port", { network_id: on.id, device_owner }, member);
      await api.refused(409, "DeviceIDNotOwnedByTenant", "PUT", `ports/${port.id}`, { port: { device_id: its.id } }, member);
    }
  });

  test("of another is neither seen, changed nor deleted, however it is named; nor is it made for another", async () => {
    const theirs = await api.make("port", { network_id: network.id }, other);
    for (const port of [{ device_id: "vm" }, { device_owner: "network:dhcp" }, { fixed_ips: [] }, { mac_address: "fa:16:3e:00:00:01" }, { allowed_address_pairs: [] }, { security_groups: [] }, { port_security_enabled: false }, { admin_state_up: false }]) {
      await api.refused(404, "PortNotFound", "PUT", `ports/${theirs.id}`, { port }, member);
    }
    await api.refused(404, "PortNotFound", "DELETE", `ports/${theirs.id}`, undefined, member);
    for (const project of [{ project_id: "other" }, { tenant_id: "other" }]) await api.refused(400, "HTTPBadRequest", "POST", "ports", { port: { network_id: network.id, ...project } }, member);
  });

  test("of a member has no security group of others, and its rules let in no group of others", async () => {
    const theirs = (await api.call("POST", "security-groups", { security_group: { name: "theirs" } }, other)).body.security_group as Shown;
    const port = await api.make("port", { network_id: network.id }, member);
    await api.refused(404, "SecurityGroupNotFound", "POST", "ports", { port: { network_id: network.id, security_groups: [theirs.id] } }, member);
    await api.refused(404, "SecurityGroupNotFound", "PUT", `ports/${port.id}`, { port: { security_groups: [...port.security_groups, theirs.id] } }, member);
    const rule = { direction: "ingress", ethertype: "IPv4" };
    await api.refused(404, "SecurityGroupNotFound", "POST", "security-group-rules", { security_group_rule: { ...rule, security_group_id: port.security_groups[0], remote_group_id: theirs.id } }, member);
    await api.refused(404, "SecurityGroupNotFound", "POST", "security-group-rules", { security_group_rule: { ...rule, security_group_id: theirs.id } }, member);
    await api.refused(404, "SecurityGroupNotFound", "POST", "security-group-rules", { security_group_rule: { ...rule, security_group_id: theirs.id, remote_group_id: port.security_groups[0] } }, member);
  });

  test("of a member takes an address of a named subnet, and of no other network's", async () => {
    const port = await api.make("port", { network_id: network.id, fixed_ips: [{ subnet_id: v4.id }] }, member);
    expect(port.fixed_ips[0]!.ip_address).not.toBe("10.88.0.1");
    const away = await api.make("network", {}, other);
    const s = await api.make("subnet", { network_id: away.id, ip_version: 4, cidr: "10.99.0.0/24" }, other);
    const mine = await api.make("network", {}, member);
    await api.make("subnet", { network_id: mine.id, ip_version: 4, cidr: "10.98.0.0/24" }, member);
    for (const on of [network, mine]) expect((await api.call("POST", "ports", { port: { network_id: on.id, fixed_ips: [{ subnet_id: s.id }] } }, member)).status).toBeGreaterThanOrEqual(400);
    await api.refused(404, "NetworkNotFound", "POST", "ports", { port: { network_id: away.id } }, member);
  });
});

describe("a subnet", () => {
  test("of another's network is neither made nor changed by a member", async () => {
    await api.refused(403, "PolicyNotAuthorized", "POST", "subnets", { subnet: { network_id: network.id, ip_version: 4, cidr: "10.66.0.0/24" } }, member);
    for (const subnet of [{ gateway_ip: "10.88.0.9" }, { host_routes: [{ destination: "0.0.0.0/0", nexthop: "10.88.0.9" }] }, { dns_nameservers: ["10.88.0.9"] }, { enable_dhcp: false }]) {
      await api.refused(403, "PolicyNotAuthorized", "PUT", `subnets/${v4.id}`, { subnet }, member);
    }
    await api.refused(403, "PolicyNotAuthorized", "DELETE", `subnets/${v4.id}`, undefined, member);
    await api.refused(403, "PolicyNotAuthorized", "PUT", `networks/${network.id}`, { network: { port_security_enabled: false } }, member);
  });

  test("of a private network of another is not there", async () => {
    const away = await api.make("network", {}, other);
    const s = await api.make("subnet", { network_id: away.id, ip_version: 4, cidr: "10.99.0.0/24" }, other);
    await api.refused(404, "SubnetNotFound", "PUT", `routers/${router.id}/add_router_interface`, { subnet_id: s.id }, member);
    await api.refused(404, "NetworkNotFound", "POST", "subnets", { subnet: { network_id: away.id, ip_version: 4, cidr: "10.66.0.0/24" } }, member);
  });
});
