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
