import { beforeEach, describe, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";
import { addressId, addressTable } from "../l2/model.ts";
import { cursorTable, pickAddress } from "./allocate.ts";
import { subnetTable } from "./subnets.ts";

let api: Api;
let net: string;
beforeEach(async () => {
  api = await Api.open();
  net = (await api.make("network", {})).id;
});

const admin = { project: "p1", roles: "admin" };
const subnet = (cidr: string, more: Record<string, unknown> = {}): Promise<Shown> => api.make("subnet", { network_id: net, ip_version: cidr.includes(":") ? 6 : 4, cidr, ...more });
const port = (more: Record<string, unknown> = {}): Promise<Shown> => api.make("port", { network_id: net, ...more }, admin);
const ips = (p: Pick<Shown, "fixed_ips">): string[] => p.fixed_ips.map((f) => f.ip_address);
/** That many ports in one request. */
async function many(count: number): Promise<readonly Shown[]> {
  const answer = await api.call("POST", "ports", { ports: Array.from({ length: count }, () => ({ network_id: net })) }, admin);
  expect(answer.status, JSON.stringify(answer.body).slice(0, 300)).toBe(201);
  return answer.body.ports as readonly Shown[];
}
const pool = (start: string, end: string): { start: string; end: string } => ({ start, end });

describe("subnets: what is made of the input", () => {
  const table: [string, Record<string, unknown>, Record<string, unknown>][] = [
    ["10.0.0.5/24", {}, { cidr: "10.0.0.0/24", gateway_ip: "10.0.0.1", allocation_pools: [pool("10.0.0.2", "10.0.0.254")], enable_dhcp: true, dns_nameservers: [], host_routes: [], subnetpool_id: null }],
    ["10.0.0.0/255.255.255.0", { gateway_ip: null }, { cidr: "10.0.0.0/24", gateway_ip: null, allocation_pools: [pool("10.0.0.1", "10.0.0.254")] }],
    ["10.0.0.0/24", { gateway_ip: "10.0.0.100" }, { allocation_pools: [pool("10.0.0.1", "10.0.0.99"), pool("10.0.0.101", "10.0.0.254")] }],
    ["10.0.0.0/24", { gateway_ip: "10.0.0.254", allocation_pools: [] }, { allocation_pools: [pool("10.0.0.1", "10.0.0.253")] }],
    ["10.0.0.0/24", { gateway_ip: "192.0.2.1" }, { gateway_ip: "192.0.2.1", allocation_pools: [pool("10.0.0.1", "10.0.0.254")] }],
    ["10.0.0.0/24", { allocation_pools: [pool("10.0.0.50", "10.0.0.60"), pool("10.0.0.10", "10.0.0.20")] }, { allocation_pools: [pool("10.0.0.10", "10.0.0.20"), pool("10.0.0.50", "10.0.0.60")] }],
    ["10.0.0.0/31", { enable_dhcp: false }, { gateway_ip: "10.0.0.0", allocation_pools: [pool("10.0.0.1", "10.0.0.1")] }],
    ["10.0.0.7/32", { enable_dhcp: false }, { gateway_ip: null, allocation_pools: [pool("10.0.0.7", "10.0.0.7")] }],
    ["FD00::/64", {}, { cidr: "fd00::/64", gateway_ip: "fd00::", allocation_pools: [pool("fd00::1", "fd00::ffff:ffff:ffff:ffff")], ipv6_ra_mode: null, ipv6_address_mode: null }],
    ["fd00::/64", { gateway_ip: "fe80::1", ipv6_ra_mode: "slaac" }, { gateway_ip: "fe80::1", ipv6_ra_mode: "slaac", allocation_pools: [pool("fd00::1", "fd00::ffff:ffff:ffff:ffff")] }],
    ["fd00::/127", { enable_dhcp: false }, { gateway_ip: "fd00::", allocation_pools: [pool("fd00::1", "fd00::1")] }],
    ["10.0.0.0/24", { dns_nameservers: null, host_routes: null }, { dns_nameservers: [], host_routes: [] }],
    ["10.0.0.0/24", { dns_nameservers: ["9.9.9.9", "1.1.1.1"], host_routes: [{ destination: "10.9.0.0/16", nexthop: "10.0.0.9" }] }, { dns_nameservers: ["9.9.9.9", "1.1.1.1"], host_routes: [{ destination: "10.9.0.0/16", nexthop: "10.0.0.9" }] }],
  ];
  for (const [cidr, more, expected] of table) {
    test(`${cidr} ${JSON.stringify(more)}`, async () => expect(await subnet(cidr, more)).toMatchObject(expected));
  }
});

describe("subnets: what is refused", () => {
  const refusals: [string, number, string, Record<string, unknown>][] = [
    ["no cidr", 400, "BadRequest", { cidr: undefined }],
    ["cidr null", 400, "BadRequest", { cidr: null }],
    ["no version", 400, "HTTPBadRequest", { ip_version: undefined }],
    ["version 5", 400, "HTTPBadRequest", { ip_version: 5 }],
    ["other family", 400, "InvalidInput", { ip_version: 6 }],
    ["no cidr at all", 400, "HTTPBadRequest", { cidr: "10.0.0.0/33" }],
    ["prefix length 0", 400, "InvalidInput", { cidr: "0.0.0.0/0" }],
    ["too small for DHCP", 400, "InvalidInput", { cidr: "10.0.0.0/31" }],
    ["multicast", 400, "InvalidInput", { cidr: "224.0.0.0/24" }],
    ["loopback", 400, "InvalidInput", { cidr: "127.1.0.0/24" }],
    ["first address 0.0.0.0", 400, "InvalidInput", { cidr: "0.0.0.0/8" }],
    ["IPv6 :: prefix", 400, "InvalidInput", { cidr: "::/64", ip_version: 6 }],
    ["gateway is the network address", 400, "InvalidInput", { gateway_ip: "10.0.0.0" }],
    ["gateway is the broadcast address", 400, "InvalidInput", { gateway_ip: "10.0.0.255" }],
    ["gateway empty", 400, "HTTPBadRequest", { gateway_ip: "" }],
    ["gateway of the other family", 400, "InvalidInput", { gateway_ip: "fd00::1" }],
    ["pool backwards", 400, "InvalidAllocationPool", { allocation_pools: [pool("10.0.0.9", "10.0.0.8")] }],
    ["pool of the other family", 400, "InvalidAllocationPool", { allocation_pools: [pool("fd00::1", "fd00::2")] }],
    ["pool outside", 400, "OutOfBoundsAllocationPool", { allocation_pools: [pool("10.0.0.9", "10.0.1.8")] }],
    ["pool with the broadcast address", 400, "OutOfBoundsAllocationPool", { allocation_pools: [pool("10.0.0.9", "10.0.0.255")] }],
    ["pools overlap", 409, "OverlappingAllocationPools", { allocation_pools: [pool("10.0.0.9", "10.0.0.20"), pool("10.0.0.20", "10.0.0.30")] }],
    ["gateway in a pool", 409, "GatewayConflictWithAllocationPools", { gateway_ip: "10.0.0.10", allocation_pools: [pool("10.0.0.9", "10.0.0.20")] }],
    ["nameserver of the other family", 400, "InvalidInput", { dns_nameservers: ["fd00::1"] }],
    ["nameservers twice", 400, "HTTPBadRequest", { dns_nameservers: ["1.1.1.1", "1.1.1.1"] }],
    ["six nameservers", 400, "DNSNameServersExhausted", { dns_nameservers: [1, 2, 3, 4, 5, 6].map((i) => `1.1.1.${i}`) }],
    ["route of the other family", 400, "InvalidInput", { host_routes: [{ destination: "fd01::/64", nexthop: "fd00::1" }] }],
    ["21 routes", 400, "HostRoutesExhausted", { host_routes: [...Array(21).keys()].map((i) => ({ destination: `10.9.${i}.0/24`, nexthop: "10.0.0.9" })) }],
    ["a mode for IPv4", 400, "InvalidInput", { ipv6_ra_mode: "slaac" }],
    ["unknown network", 404, "NetworkNotFound", { network_id: "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d" }],
  ];
  for (const [name, status, type, more] of refusals) {
    test(name, () => api.refused(status, type, "POST", "subnets", { subnet: { network_id: net, ip_version: 4, cidr: "10.0.0.0/24", ...more } }).then(() => undefined));
  }

  const v6: [string, Record<string, unknown>][] = [
    ["modes differ", { ipv6_ra_mode: "slaac", ipv6_address_mode: "dhcpv6-stateful" }],
    ["mode without DHCP", { ipv6_ra_mode: "slaac", enable_dhcp: false }],
    ["slaac needs a /64", { ipv6_address_mode: "slaac", cidr: "fd00::/72" }],
    ["too small for DHCP", { cidr: "fd00::/127" }],
  ];
  for (const [name, more] of v6) {
    test(`IPv6: ${name}`, () => api.refused(400, "InvalidInput", "POST", "subnets", { subnet: { network_id: net, ip_version: 6, cidr: "fd00::/64", ...more } }).then(() => undefined));
  }

  test("overlap in a network, not across networks or families", async () => {
    await subnet("10.0.0.0/16");
    await api.refused(400, "InvalidInput", "POST", "subnets", { subnet: { network_id: net, ip_version: 4, cidr: "10.0.5.0/24" } });
    await subnet("fd00::/64");
    const other = await api.make("network", {});
    await api.make("subnet", { network_id: other.id, ip_version: 4, cidr: "10.0.5.0/24" });
  });

  test("someone else's network: not found, or forbidden when shared", async () => {
    const body = { subnet: { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" } };
    await api.refused(404, "NetworkNotFound", "POST", "subnets", body, { project: "p2" });
    await api.change("network", net, { shared: true }, admin);
    await api.refused(403, "PolicyNotAuthorized", "POST", "subnets", body, { project: "p2" });
    const mine = await subnet("10.0.0.0/24");
    expect((await api.list("subnets", { project: "p2" })).map((s) => s.id)).toEqual([mine.id]);
    // By what a subnet does not show.
    expect((await api.list("subnets?shared=True", { project: "p2" })).map((s) => [s.id, Object.hasOwn(s, "shared")])).toEqual([[mine.id, false]]);
    expect(await api.list("subnets?shared=False", { project: "p2" })).toEqual([]);
  });

  test("a network's MTU and its subnets' families", async () => {
    const narrow = await api.make("network", { mtu: 1000 });
    await api.refused(409, "NetworkMTUSubnetConflict", "POST", "subnets", { subnet: { network_id: narrow.id, ip_version: 6, cidr: "fd00::/64" } });
    await subnet("fd00::/64");
    await api.refused(409, "NetworkMTUSubnetConflict", "PUT", `networks/${net}`, { network: { mtu: 1279 } });
    await api.change("network", net, { mtu: 1280 });
  });
});

describe("subnets: changes", () => {
  test("PUT: parts, and the network's revision with them", async () => {
    const s = await subnet("10.0.0.0/24");
    const before = (await api.show("network", net)).revision_number;
    expect(await api.change("subnet", s.id, { gateway_ip: null, dns_nameservers: ["1.1.1.1"] })).toMatchObject({ gateway_ip: null, dns_nameservers: ["1.1.1.1"], allocation_pools: s.allocation_pools });
    expect((await api.show("network", net)).revision_number).toBeGreaterThan(before);
    expect(await api.change("subnet", s.id, { allocation_pools: [pool("10.0.0.100", "10.0.0.110")], gateway_ip: "10.0.0.2" })).toMatchObject({ gateway_ip: "10.0.0.2" });
    const at = `subnets/${s.id}`;
    await api.refused(409, "GatewayConflictWithAllocationPools", "PUT", at, { subnet: { gateway_ip: "10.0.0.105" } });
    await api.refused(409, "GatewayConflictWithAllocationPools", "PUT", at, { subnet: { allocation_pools: [pool("10.0.0.1", "10.0.0.5")] } });
    await api.refused(400, "OutOfBoundsAllocationPool", "PUT", at, { subnet: { allocation_pools: [pool("10.0.1.1", "10.0.1.5")] } });
    await api.refused(400, "InvalidInput", "PUT", at, { subnet: { gateway_ip: "10.0.0.255" } });
    await api.refused(400, "HTTPBadRequest", "PUT", at, { subnet: { cidr: "10.0.0.0/23" } });
    await api.refused(404, "SubnetNotFound", "PUT", "subnets/none", { subnet: { name: "x" } });
    const tiny = await subnet("10.1.0.0/31", { enable_dhcp: false });
    await api.refused(400, "InvalidInput", "PUT", `subnets/${tiny.id}`, { subnet: { enable_dhcp: true } });
    const slaac = await subnet("fd00::/64", { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    await api.refused(400, "InvalidInput", "PUT", `subnets/${slaac.id}`, { subnet: { enable_dhcp: false } });
  });

  test("DELETE: not while ports have addresses, service ports aside", async () => {
    const s = await subnet("10.0.0.0/24");
    expect((await api.show("network", net)).subnets).toEqual([s.id]);
    const [vm, dhcp] = [await port(), await port({ device_owner: "network:dhcp" })];
    await api.refused(409, "SubnetInUse", "DELETE", `subnets/${s.id}`);
    await api.delete("port", vm.id);
    await api.delete("subnet", s.id);
    expect(ips(await api.show("port", dhcp.id))).toEqual([]);
    expect((await api.show("network", net)).subnets).toEqual([]);
    expect([...api.model.view.all(cursorTable)]).toEqual([]);
  });
});

describe("addresses of ports", () => {
  test("one of each family; none without subnets; all freed with the port", async () => {
    expect(await port()).toMatchObject({ fixed_ips: [], ip_allocation: "none" });
    const [v4, v6] = [await subnet("10.0.0.0/24"), await subnet("fd00::/64")];
    const p = await port();
    expect(p.fixed_ips.map((f) => f.subnet_id)).toEqual([v4.id, v6.id]);
    expect(p.ip_allocation).toBe("immediate");
    expect(ips(await port({ fixed_ips: [] }))).toEqual([]);
    const next = await port();
    expect(next.fixed_ips[0]!.ip_address).not.toBe(p.fixed_ips[0]!.ip_address);
    await api.delete("port", p.id);
    await api.delete("port", next.id);
    expect([...api.model.view.all(addressTable)]).toEqual([]);
  });

  test("a freed address is not the next one given", async () => {
    await subnet("10.0.0.0/24");
    const p = await port();
    await api.delete("port", p.id);
    expect(ips(await port())).not.toEqual(ips(p));
  });

  test("a pool is used to its last address, then the next subnet's, then refused", async () => {
    await subnet("10.0.0.0/28");
    await subnet("10.0.1.0/29");
    const given = new Set<string>();
    for (let i = 0; i < 13 + 5; i++) given.add(ips(await port())[0]!);
    expect(given.size).toBe(18);
    await api.refused(409, "IpAddressGenerationFailure", "POST", "ports", { port: { network_id: net } });
    await api.refused(409, "IpAddressGenerationFailure", "POST", "ports", { port: { network_id: net, fixed_ips: [{ subnet_id: (await api.list("subnets"))[0]!.id }] } });
    const one = (await api.list("ports"))[4]!;
    await api.delete("port", one.id);
    expect(ips(await port())).toEqual(ips(one));
  });

  test("a crowded pool: every address is found, none twice", async () => {
    const s = await subnet("10.0.0.0/22");
    const all = [...(await many(500)), ...(await many(500)), ...(await many(21))];
    await api.refused(409, "IpAddressGenerationFailure", "POST", "ports", { port: { network_id: net } });
    const victims = all.filter((_, i) => i % 200 === 7);
    for (const v of victims) await api.delete("port", v.id);
    const again = [];
    for (let i = 0; i < victims.length; i++) again.push(ips(await port())[0]);
    expect(again.sort()).toEqual(victims.map((v) => ips(v)[0]).sort());
    expect(api.model.view.by(addressTable, "subnet", s.id)).toHaveLength(1021);
  });

  test("the work does not grow with the subnet", async () => {
    /** Look-ups that choosing that many addresses takes. */
    async function lookups(cidr: string, count: number): Promise<number> {
      const s = api.model.view.get(subnetTable, (await subnet(cidr)).id)!;
      let n = 0;
      await api.model.transact({ requestId: "t", call: "t" }, (tx) => {
        const counting = new Proxy(tx, {
          get: (of, name) => {
            const value: unknown = Reflect.get(of, name);
            if (typeof value !== "function") return value;
            return (...args: unknown[]) => {
              const result: unknown = Reflect.apply(value, of, args);
              if (["get", "by", "all", "count"].includes(String(name))) n += 1 + (Array.isArray(result) ? result.length : 0);
              return result;
            };
          },
        });
        for (let i = 0; i < count; i++) {
          const ip = pickAddress(counting, s)!;
          tx.put(addressTable, { id: addressId(net, ip), network_id: net, port_id: "p", subnet_id: s.id, ip, family: s.ip_version, position: 0 });
        }
      });
      return n;
    }
    const few = await lookups("10.1.0.0/22", 1000);
    expect(few).toBe(2 * 1000); // the cursor, and the address it is at
    expect(await lookups("11.0.0.0/8", 1000)).toBe(few);
    expect(await lookups("fd00::/64", 1000)).toBe(few);
  });

  test("a full pool is open again when its subnet gets a larger one", async () => {
    const both = [await subnet("10.0.0.0/24"), await subnet("10.0.1.0/24")];
    const order = both.toSorted((x, y) => `${x.created_at as string}${x.id}`.localeCompare(`${y.created_at as string}${y.id}`));
    const [first, second] = order.map((s) => (s.cidr as string).slice(0, 7));
    await api.change("subnet", order[0]!.id, { allocation_pools: [pool(`${first!}10`, `${first!}10`)] });
    expect(ips(await port())).toEqual([`${first!}10`]);
    expect(ips(await port())[0]!.startsWith(second!)).toBe(true);
    expect(api.model.view.get(cursorTable, order[0]!.id)?.full).toBe(true);
    await api.change("subnet", order[0]!.id, { allocation_pools: [pool(`${first!}10`, `${first!}11`)] });
    expect(ips(await port())).toEqual([`${first!}11`]);
  });

  test("DHCP ports take the first free one", async () => {
    await subnet("10.0.0.0/24");
    const first = await port();
    await port();
    await api.delete("port", first.id);
    expect(ips(await port({ device_owner: "network:dhcp" }))).toEqual(ips(first));
  });

  test("named addresses", async () => {
    const [a, b] = [await subnet("10.0.0.0/24"), await subnet("10.0.1.0/24")];
    const p = await port({ fixed_ips: [{ ip_address: "10.0.1.77" }, { subnet_id: a.id }, { subnet_id: a.id, ip_address: "10.0.0.1" }] });
    expect(p.fixed_ips[0]).toEqual({ subnet_id: b.id, ip_address: "10.0.1.77" });
    expect(p.fixed_ips[1]!.subnet_id).toBe(a.id);
    expect(p.fixed_ips[2]).toEqual({ subnet_id: a.id, ip_address: "10.0.0.1" });
  });

  test("addresses that are refused", async () => {
    const bare = await api.make("network", {});
    await api.refused(400, "InvalidInput", "POST", "ports", { port: { network_id: bare.id, fixed_ips: [{ ip_address: "10.0.0.4" }] } });
    const [s, other] = [await subnet("10.0.0.0/24"), await api.make("subnet", { network_id: bare.id, ip_version: 4, cidr: "10.0.0.0/24" })];
    await port({ fixed_ips: [{ ip_address: "10.0.0.4" }] });
    const table: [number, string, unknown][] = [
      [400, "InvalidInput", [{}]],
      [400, "HTTPBadRequest", null],
      [400, "HTTPBadRequest", [{ ip_address: "10.0.0.04" }]],
      [400, "InvalidIpForNetwork", [{ ip_address: "10.0.9.4" }]],
      [404, "SubnetNotFound", [{ subnet_id: "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d" }]],
      [400, "InvalidInput", [{ subnet_id: other.id }]],
      [400, "InvalidIpForSubnet", [{ subnet_id: s.id, ip_address: "10.0.1.4" }]],
      [400, "InvalidIpForSubnet", [{ subnet_id: s.id, ip_address: "10.0.0.0" }]],
      [400, "InvalidIpForSubnet", [{ ip_address: "10.0.0.255" }]],
      [409, "IpAddressAlreadyAllocated", [{ ip_address: "10.0.0.4" }]],
      [400, "HTTPBadRequest", [{ ip_address: "10.0.0.5" }, { ip_address: "10.0.0.5" }]],
    ];
    for (const [status, type, fixed_ips] of table) await api.refused(status, type, "POST", "ports", { port: { network_id: net, fixed_ips } });
    const p = await port();
    await api.refused(409, "IpAddressAlreadyAllocated", "PUT", `ports/${p.id}`, { port: { fixed_ips: [{ ip_address: "10.0.0.4" }] } });
  });

  test("PUT replaces; what is asked again by address or subnet stays", async () => {
    const [a, b] = [await subnet("10.0.0.0/24"), await subnet("10.0.1.0/24")];
    const p = await port({ fixed_ips: [{ ip_address: "10.0.0.40" }] });
    expect(ips(await api.change("port", p.id, { fixed_ips: [{ subnet_id: a.id }] }))).toEqual(["10.0.0.40"]);
    const two = await api.change("port", p.id, { fixed_ips: [{ subnet_id: a.id }, { subnet_id: a.id }] });
    expect(ips(two)[0]).toBe("10.0.0.40");
    expect(ips(two)[1]).not.toBe("10.0.0.40");
    expect(ips(await api.change("port", p.id, { fixed_ips: [{ ip_address: ips(two)[1] }, { subnet_id: b.id, ip_address: "10.0.1.5" }] }))).toEqual([ips(two)[1], "10.0.1.5"]);
    expect(ips(await api.change("port", p.id, { fixed_ips: [] }))).toEqual([]);
    expect([...api.model.view.all(addressTable)]).toEqual([]);
    const generation = (await api.show("port", p.id)).revision_number;
    expect((await api.change("port", p.id, { fixed_ips: [{ subnet_id: a.id }] })).revision_number).toBeGreaterThan(generation);
  });

  test("filters by address, subnet and part of an address", async () => {
    const [a] = [await subnet("10.0.0.0/24"), await subnet("10.0.1.0/24")];
    const p = await port({ fixed_ips: [{ ip_address: "10.0.0.40" }] });
    const q = await port({ fixed_ips: [{ ip_address: "10.0.1.40" }] });
    const list = async (query: string): Promise<string[]> => (await api.list(`ports?${query}`)).map((x) => x.id).sort();
    expect(await list("fixed_ips=ip_address=10.0.0.40")).toEqual([p.id]);
    expect(await list("fixed_ips=ip_address=10.0.0.40&fixed_ips=ip_address=10.0.1.40")).toEqual([p.id, q.id].sort());
    expect(await list(`fixed_ips=subnet_id=${a.id}`)).toEqual([p.id]);
    expect(await list(`fixed_ips=subnet_id=${a.id}&fixed_ips=ip_address=10.0.1.40`)).toEqual([]);
    expect(await list("fixed_ips=ip_address_substr=0.1.4")).toEqual([q.id]);
    expect((await api.get("ports?fixed_ips=x")).status).toBe(400);
  });
});

describe("auto-address subnets", () => {
  const slaac = { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" };
  const OWN = "fd00::f816:3eff:fe00:1";

  test("each port has its own address there, whatever else is asked", async () => {
    const v4 = await subnet("10.0.0.0/24");
    const s = await subnet("fd00::/64", slaac);
    const mac = { mac_address: "fa:16:3e:00:00:01" };
    const p = await port({ ...mac, fixed_ips: [] });
    expect(ips(p)).toEqual([OWN]);
    expect(ips(await api.change("port", p.id, { fixed_ips: [{ ip_address: "10.0.0.9" }] }))).toEqual(["10.0.0.9", OWN]);
    expect(ips(await api.change("port", p.id, { fixed_ips: [{ subnet_id: s.id }, { subnet_id: v4.id }] }))).toEqual([OWN, "10.0.0.9"]);
    expect(ips(await api.change("port", p.id, { fixed_ips: [{ ip_address: OWN }] }))).toEqual([OWN]);
    await api.refused(400, "AllocationOnAutoAddressSubnet", "PUT", `ports/${p.id}`, { port: { fixed_ips: [{ ip_address: "fd00::5" }] } });
    await api.refused(400, "InvalidInput", "PUT", `ports/${p.id}`, { port: { fixed_ips: [{ subnet_id: s.id }, { subnet_id: s.id }] } });
    expect(ips(await api.change("port", p.id, { mac_address: "fa:16:3e:00:00:02" }, admin))).toEqual(["fd00::f816:3eff:fe00:2"]);
    expect(ips(await port())).toHaveLength(2);
  });

  test("a new one gives an address to every port but routers', and takes them with it", async () => {
    const p = await port({ mac_address: "fa:16:3e:00:00:01" });
    const router = await port({ device_owner: "network:router_interface" });
    const dhcp = await port({ device_owner: "network:dhcp" });
    const s = await subnet("fd00::/64", { ipv6_address_mode: "dhcpv6-stateless" });
    const now = await api.show("port", p.id);
    expect(ips(now)).toEqual([OWN]);
    expect(now.revision_number).toBeGreaterThan(p.revision_number);
    expect(ips(await api.show("port", router.id))).toEqual([]);
    expect(ips(await api.show("port", dhcp.id))).toHaveLength(1);
    await api.delete("subnet", s.id);
    expect(ips(await api.show("port", p.id))).toEqual([]);
  });

  test("its routers choose, and keep it from being deleted", async () => {
    const s = await subnet("fd00::/64", slaac);
    await port({ device_owner: "network:router_interface", fixed_ips: [{ ip_address: "fd00::" }] });
    await api.refused(409, "SubnetInUse", "DELETE", `subnets/${s.id}`);
  });
});

describe("subnets for certain ports", () => {
  const of = async (device_owner?: string): Promise<string[]> => ips(await port(device_owner === undefined ? {} : { device_owner }));
  test("give automatic addresses to those alone; others get them of subnets for nobody in particular", async () => {
    const own = await api.make("subnet", { network_id: net, ip_version: 4, cidr: "10.1.0.0/24", service_types: ["compute:nova", "network:floatingip_agent_gateway"] }, admin);
    expect(own.service_types).toEqual(["compute:nova", "network:floatingip_agent_gateway"]);
    expect((await of("compute:nova"))[0]).toMatch(/^10\.1\./);
    await api.refused(409, "IpAddressGenerationFailureNoMatchingSubnet", "POST", "ports", { port: { network_id: net } });
    const any = await subnet("10.2.0.0/24");
    expect(any.service_types).toEqual([]);
    expect((await of())[0]).toMatch(/^10\.2\./);
    expect((await of("compute:other"))[0]).toMatch(/^10\.2\./);
    expect((await of("compute:nova"))[0]).toMatch(/^10\.1\./);
    expect(ips(await port({ fixed_ips: [{ subnet_id: own.id }] }))[0], "whoever names it").toMatch(/^10\.1\./);
    await api.change("subnet", own.id, { service_types: [] }, admin);
    expect((await api.show("subnet", own.id)).service_types).toEqual([]);
    expect((await of())[0], "either again, as they are of one second").toMatch(/^10\.[12]\./);
  });

  test.each([["what is no owner", ["nobody"], "InvalidSubnetServiceType"], ["only a sign", [":x"], "InvalidSubnetServiceType"], ["what is no text", [7], "InvalidInputSubnetServiceType"]])("%s is refused", async (_, service_types, type) => {
    await api.refused(400, type, "POST", "subnets", { subnet: { network_id: net, ip_version: 4, cidr: "10.3.0.0/24", service_types } });
  });

  test("are of any prefix that whoever makes ports has", async () => {
    const own = await api.make("subnet", { network_id: net, ip_version: 4, cidr: "10.5.0.0/24", service_types: ["site:printer"] }, admin);
    expect(own.service_types).toEqual(["site:printer"]);
    expect(ips(await port({ device_owner: "site:printer" }))[0]).toMatch(/^10\.5\./);
  });

  test("are an administrator's to make", async () => {
    const mine = await api.make("network", {}, { project: "p9", roles: "member,reader" });
    const answer = await api.call("POST", "subnets", { subnet: { network_id: mine.id, ip_version: 4, cidr: "10.4.0.0/24", service_types: ["compute:nova"] } }, { project: "p9", roles: "member,reader" });
    expect(answer.status).toBe(403);
  });
});
