// Who gets which prefix, what its machine is told, and where routers send what is for it.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { dhcp6StatusCodes as status, type Dhcp6Option } from "packet-codec";
import { textOf } from "../../test/support/harness.ts";
import { asks, client, Cloud, held, ia, server, type } from "../dhcp6/dhcp6.fixture.ts";
import { problems } from "../dhcp6/options.ts";
import { portTable } from "../l2/model.ts";
import { routeTable } from "../l3/model.ts";
import { poolUseTable } from "../subnet-pools/model.ts";
import { spaceTable } from "../subnet-pools/space.ts";
import { delegatedPrefixTable } from "./model.ts";

let cloud: Cloud;
let pool: string;
let net: string;
let subnet: string;
beforeEach(async () => {
  cloud = await Cloud.make();
  const { h } = cloud;
  pool = (await h.create("subnetpool", { name: "pool", prefixes: ["2001:db8::/48"], min_prefixlen: 56, default_prefixlen: 64, default_quota: 64 })).id;
  net = (await h.create("network", {})).id;
  subnet = (await h.create("subnet", { network_id: net, ip_version: 6, subnetpool_id: pool, ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" })).id;
});
afterEach(() => cloud.h.close());

const wish = (opt_value: string | null): object => ({ extra_dhcp_opts: [{ opt_name: "ia-pd", opt_value, ip_version: 6 }] });
const pd = (iaid: number, ...named: [prefix: string, length: number][]): Dhcp6Option => ({
  option: "IA_PD",
  value: { iaid, t1_s: 0, t2_s: 0, options: named.map(([prefix, prefix_length]) => ({ option: "IAPREFIX", value: { preferred_lifetime_s: 0, valid_lifetime_s: 0, prefix_length, prefix, options: [] } })) },
});
const put = async (port: string, values: object): Promise<Record<string, any>> => (await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: values })).body;
const pairs = (port: string): string[] => cloud.h.view.get(portTable, port)!.allowed_address_pairs.map((p) => p.ip_address);
const prefixOf = (port: string): string | undefined => cloud.h.view.get(delegatedPrefixTable, port)?.cidr;
const refused = async (values: object, port?: string): Promise<string> => {
  const { status: code, body } = port === undefined ? await cloud.h.call("POST", "/v2.0/ports", { port: { network_id: net, ...values } }) : await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: values });
  expect(code).toBeGreaterThanOrEqual(400);
  return `${code} ${(body as { NeutronError: { type: string } }).NeutronError.type}`;
};

describe("by the API", () => {
  test("a port gets a free prefix of its subnet's pool, may send from it, and gives it back with its wish or with itself", async () => {
    const [a, b] = [await cloud.port(net, wish("60")), await cloud.port(net, wish("60"))];
    expect([prefixOf(a), prefixOf(b), pairs(a)]).toEqual(["2001:db8:0:10::/60", "2001:db8:0:20::/60", ["2001:db8:0:10::/60"]]);
    expect((await put(a, wish("64"))).port.allowed_address_pairs).toMatchObject([{ ip_address: "2001:db8:0:1::/64" }]);
    // As it is written is how it stays.
    await put(a, wish("64"));
    expect(prefixOf(a)).toBe("2001:db8:0:1::/64");
    await put(a, { allowed_address_pairs: [{ ip_address: "192.0.2.9" }] });
    expect(pairs(a)).toEqual(["192.0.2.9", "2001:db8:0:1::/64"]);
    expect(problems(cloud.h.view)).toEqual([]);
    await put(a, wish(null));
    expect([prefixOf(a), pairs(a)]).toEqual([undefined, ["192.0.2.9"]]);
    expect((await cloud.h.call("DELETE", `/v2.0/ports/${b}`)).status).toBe(204);
    expect([...cloud.h.view.all(delegatedPrefixTable)]).toEqual([]);
    expect([...cloud.h.view.all(poolUseTable)]).toMatchObject([{ used: String(2n ** 64n) }]);
    await cloud.h.call("DELETE", `/v2.0/ports/${a}`);
    expect((await cloud.h.call("DELETE", `/v2.0/subnets/${subnet}`)).status).toBe(204);
    for (const table of [poolUseTable, spaceTable]) expect([...cloud.h.view.all(table as typeof spaceTable)]).toEqual([]);
    expect((await cloud.h.call("DELETE", `/v2.0/subnetpools/${pool}`)).status).toBe(204);
  });

  test("what cannot be is refused, and changes nothing", async () => {
    const port = await cloud.port(net, wish("60"));
    const elsewhere = (await cloud.h.create("network", {})).id;
    await cloud.h.create("subnet", { network_id: elsewhere, ip_version: 6, cidr: "fd00:9::/64", ipv6_address_mode: "dhcpv6-stateful" });
    const before = JSON.stringify([...cloud.h.view.all(spaceTable)]);
    expect(await refused(wish("much"))).toBe("400 HTTPBadRequest");
    expect(await refused({ network_id: elsewhere, ...wish("60") }), "no pool").toBe("400 HTTPBadRequest");
    expect(await refused(wish("55"))).toBe("400 MinPrefixSubnetAllocationError");
    expect(await refused(wish("129"))).toBe("400 MaxPrefixSubnetAllocationError");
    expect(await refused(wish("58"), port), "more than the project may have").toBe("409 SubnetPoolQuotaExceeded");
    expect(prefixOf(port)).toBe("2001:db8:0:10::/60");
    expect(JSON.stringify([...cloud.h.view.all(spaceTable)])).toBe(before);
    const { status: code, body } = await cloud.h.call("DELETE", `/v2.0/subnetpools/${pool}`);
    expect([code, body]).toMatchObject([400, { NeutronError: { type: "SubnetPoolDeleteError" } }]);
  });

  test("with its prefix a port has no more address pairs than any, and what it shows may be written back", async () => {
    const some = (count: number): { allowed_address_pairs: { ip_address: string }[] } => ({ allowed_address_pairs: Array.from({ length: count }, (_, i) => ({ ip_address: `192.0.2.${i + 1}` })) });
    const full = await cloud.port(net, some(10));
    expect(await refused(wish("60"), full)).toBe("400 AllowedAddressPairExhausted");
    expect(await refused({ ...some(10), ...wish("60") })).toBe("400 AllowedAddressPairExhausted");
    expect([...cloud.h.view.all(delegatedPrefixTable)]).toEqual([]);
    const port = await cloud.port(net, { ...some(9), ...wish("60") });
    expect(pairs(port)).toHaveLength(10);
    expect(await refused(some(10), port)).toBe("400 AllowedAddressPairExhausted");
    const { allowed_address_pairs } = (await cloud.h.call("GET", `/v2.0/ports/${port}`)).body.port;
    expect((await put(port, { allowed_address_pairs })).port.allowed_address_pairs).toEqual(allowed_address_pairs);
  });

  test("a port whose addresses become others keeps its prefix while one of them is of a subnet of the pool, and has none without", async () => {
    const same = (await cloud.h.create("subnet", { network_id: net, ip_version: 6, subnetpool_id: pool, ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" })).id;
    await cloud.h.create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" });
    const port = await cloud.port(net, { fixed_ips: [{ subnet_id: subnet }], ...wish("60") });
    const at = () => cloud.h.view.get(delegatedPrefixTable, port);
    const first = at()!.cidr;
    const used = (): string | undefined => cloud.h.view.by(poolUseTable, "pool", pool)[0]?.used;
    const most = used();
    await put(port, { fixed_ips: [{ subnet_id: same }] });
    expect([at(), used()]).toMatchObject([{ cidr: first, subnet_id: same }, most]);
    await put(port, { fixed_ips: [{ ip_address: "10.0.0.9" }] });
    await cloud.h.settled();
    expect([at(), pairs(port), used()]).toEqual([undefined, [], String(2n * 2n ** 64n)]);
    expect(problems(cloud.h.view)).toEqual([expect.objectContaining({ resources: [{ type: "port", id: port }] })]);
    expect(await refused(wish("60"), port)).toBe("400 HTTPBadRequest");
    await put(port, { fixed_ips: [{ subnet_id: subnet }] });
    expect([prefixOf(port), pairs(port), used()]).toEqual([first, [first], most]);
  });

  test("a wish that nobody says now keeps a port from no address: without room in the pool, or among its pairs, it has no prefix", async () => {
    const port = await cloud.port(net, wish("59"));
    await put(port, { fixed_ips: [] });
    const other = await cloud.port(net, wish("59"));
    const back = async (): Promise<unknown[]> => [(await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: { fixed_ips: [{ subnet_id: subnet }] } })).status, prefixOf(port), pairs(port).length];
    expect(await back()).toEqual([200, undefined, 0]);
    expect(await refused(wish("59"), port), "said").toBe("409 SubnetPoolQuotaExceeded");
    for (const extra_dhcp_opts of [[], [{ opt_name: "mtu", opt_value: "1300", ip_version: 4 }]]) expect((await put(port, { extra_dhcp_opts })).port.id).toBe(port);
    await cloud.h.settled();
    expect(problems(cloud.h.view)).toEqual([expect.objectContaining({ resources: [{ type: "port", id: port }] })]);
    await cloud.h.call("DELETE", `/v2.0/ports/${other}`);
    await put(port, { fixed_ips: [], allowed_address_pairs: Array.from({ length: 10 }, (_, i) => ({ ip_address: `192.0.2.${i + 1}` })) });
    expect(await back()).toEqual([200, undefined, 10]);
    await put(port, { fixed_ips: [], allowed_address_pairs: [] });
    expect(await back()).toEqual([200, "2001:db8:0:20::/59", 1]);
  });

  test("addresses that machines make themselves go with their subnet, and prefixes that are routed to them", async () => {
    const open = (await cloud.h.create("network", {})).id;
    const stateless = (await cloud.h.create("subnet", { network_id: open, ip_version: 6, subnetpool_id: pool, ipv6_ra_mode: "dhcpv6-stateless", ipv6_address_mode: "dhcpv6-stateless" })).id;
    const port = await cloud.port(open, wish("60"));
    expect(prefixOf(port)).toBe("2001:db8:0:10::/60");
    expect((await cloud.h.call("DELETE", `/v2.0/subnets/${stateless}`)).status).toBe(204);
    expect([prefixOf(port), pairs(port)]).toEqual([undefined, []]);
    expect([...cloud.h.view.all(poolUseTable)]).toMatchObject([{ used: String(2n ** 64n) }]);
  });

  test("what is not asked for any more, since the app was left out, is given back at the next start", async () => {
    const [gone, kept, dropped] = [await cloud.port(net, wish("60")), await cloud.port(net, wish("064")), await cloud.port(net, wish("60"))];
    cloud.h = await cloud.h.restart(["prefix-delegation"]);
    await cloud.h.call("DELETE", `/v2.0/ports/${gone}`);
    await put(dropped, wish(null));
    cloud.h = await cloud.h.restart([]);
    await cloud.h.settled();
    expect([...cloud.h.view.all(delegatedPrefixTable)].map((p) => p.id)).toEqual([kept]);
    expect([...cloud.h.view.all(poolUseTable)]).toMatchObject([{ used: String(2n * 2n ** 64n) }]);
    expect(pairs(dropped)).toEqual([]);
  });

  test("a pool that goes while the app is left out leaves nothing behind", async () => {
    const port = await cloud.port(net, wish("60"));
    cloud.h = await cloud.h.restart(["prefix-delegation"]);
    await put(port, { fixed_ips: [] });
    expect((await cloud.h.call("DELETE", `/v2.0/subnets/${subnet}`)).status).toBe(204);
    expect((await cloud.h.call("DELETE", `/v2.0/subnetpools/${pool}`)).status).toBe(204);
    cloud.h = await cloud.h.restart([]);
    await cloud.h.settled();
    for (const table of [delegatedPrefixTable, poolUseTable, spaceTable]) expect([...cloud.h.view.all(table as typeof spaceTable)]).toEqual([]);
    expect(pairs(port)).toEqual([]);
  });

  test("an address that goes while the app is left out takes its prefix along at the next start", async () => {
    const port = await cloud.port(net, wish("60"));
    cloud.h = await cloud.h.restart(["prefix-delegation"]);
    await put(port, { fixed_ips: [] });
    cloud.h = await cloud.h.restart([]);
    await cloud.h.settled();
    expect([prefixOf(port), pairs(port)]).toEqual([undefined, []]);
  });

  test("who has a prefix of a pool that was shared with him keeps the pool shared", async () => {
    const guest = { "x-project-id": "guest", "x-roles": "member" };
    const { h } = cloud;
    const share = async (object_type: string, object_id: string): Promise<string> => (await h.create("rbac_policy", { object_type, object_id, action: "access_as_shared", target_tenant: "guest" })).id;
    await share("network", net);
    const shared = await share("subnetpool", pool);
    const unshared = async (): Promise<number> => (await h.call("DELETE", `/v2.0/rbac-policies/${shared}`)).status;
    const { id } = await h.create("port", { network_id: net, ...wish("60") }, guest);
    expect(prefixOf(id)).toBe("2001:db8:0:10::/60");
    expect(await unshared()).toBe(409);
    await h.call("DELETE", `/v2.0/ports/${id}`);
    expect(await unshared()).toBe(204);
  });

  test("without port security there is nothing to allow", async () => {
    const port = await cloud.port(net, { port_security_enabled: false, security_groups: [], ...wish("60") });
    expect([prefixOf(port), pairs(port)]).toEqual(["2001:db8:0:10::/60", []]);
    await put(port, { port_security_enabled: true });
    expect(pairs(port)).toEqual(["2001:db8:0:10::/60"]);
  });
});

describe("its machine", () => {
  const LIVES = "86400/86400";
  test("is told of it in an IA_PD, with its addresses or without, renews it and gives it back; another machine is told that there is none", async () => {
    const [port, other] = [await cloud.port(net, wish("60")), await cloud.port(net)];
    const [ip] = cloud.addresses(port);
    const at = cloud.server(port);
    const lease = ["IA_PD", 5, `2001:db8:0:10::/60 ${LIVES}`];
    expect(held(cloud.ask(port, type.solicit, [client, ia(7), pd(5, ["::", 56]), asks(23)]))).toEqual([["IA_NA", 7, `${ip!} ${LIVES}`], lease]);
    expect(held(cloud.ask(port, type.solicit, [client, pd(5)]))).toEqual([lease]);
    expect(held(cloud.ask(port, type.request, [client, server(at), pd(4), pd(5, ["2001:db8:0:10::", 60])]))).toEqual([["IA_PD", 4, status.noPrefixAvail], lease]);
    expect(held(cloud.ask(port, type.renew, [client, server(at), pd(5, ["2001:db8:0:10::", 60], ["2001:db8:0:20::", 60])]))).toEqual([[...lease, "2001:db8:0:20::/60 0/0"]]);
    expect(held(cloud.ask(port, type.rebind, [client, pd(5, ["2001:db8:0:10::", 60])]))).toEqual([lease]);
    expect(held(cloud.ask(port, type.release, [client, server(at), pd(5, ["2001:db8:0:10::", 60])]))).toEqual([]);
    expect(held(cloud.ask(port, type.release, [client, server(at), pd(5, ["2001:db8:0:10::", 64])]))).toEqual([["IA_PD", 5, status.noBinding]]);
    expect(held(cloud.ask(other, type.solicit, [client, pd(5)]))).toEqual([["IA_PD", 5, status.noPrefixAvail]]);
    await put(port, wish(null));
    await cloud.h.settled();
    expect(held(cloud.ask(port, type.renew, [client, server(at), pd(5, ["2001:db8:0:10::", 60])])), "what is over").toEqual([["IA_PD", 5, "2001:db8:0:10::/60 0/0"]]);
  });
});

test("routers of the network send there what is for the prefix, as long as the port has it", async () => {
  const { h } = cloud;
  const router = (await h.create("router", {})).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  const port = await cloud.port(net, wish("60"));
  const routed = () => h.view.by(routeTable, "router", router).filter((r) => r.source === "prefix-delegation");
  expect(routed()).toMatchObject([{ destination: "2001:db8:0:10::/60", via: net, nexthop: cloud.addresses(port)[0] }]);
  const flows = (): string[] => [...h.engine.flowsOf("hv1")].map(textOf).filter((line) => line.includes("2001:db8:0:10::/60"));
  expect(flows().length).toBeGreaterThan(0);
  await put(port, wish(null));
  await h.settled();
  expect([routed(), flows()]).toEqual([[], []]);
});
