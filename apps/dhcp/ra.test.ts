import { pino } from "pino";
import { describe, expect, it } from "vitest";
import type { StageOut } from "#app";
import { linkLocal, parsePacket, parseRouterAdvertisement } from "packet-codec";
import { networkTable } from "../l2/model.ts";
import { routerInterfaceTable, routerTable } from "../l3/model.ts";
import type { Ipv6Mode } from "../ipam/model.ts";
import { Cloud, MAC, packetIn, ROUTER_MAC, solicitation } from "./dhcp.fixture.ts";
import { dhcpRequest } from "./packet-in.ts";

const fresh = (): Cloud => new Cloud();

const log = pino({ level: "silent" });
const v6 = (mode: Ipv6Mode | null): Cloud =>
  fresh().subnet("v6", { cidr: "fd00:1::/64", ipv6_ra_mode: mode, ipv6_address_mode: mode, dns_nameservers: ["fd00:1::53"] }).router(["v6", "fd00:1::1"]);
const solicit = (cloud: Cloud, frame = solicitation()) => dhcpRequest(packetIn(frame), cloud.view, log) as readonly StageOut[];
const parse = (data: Uint8Array) => {
  const { eth, ipv6, icmpv6 } = parsePacket(data);
  return { eth, ipv6: ipv6!, icmpv6: icmpv6!, ra: parseRouterAdvertisement(icmpv6!.payload) };
};

describe("router advertisement", () => {
  it("says all of a SLAAC subnet, to the solicitor alone", () => {
    const [out, ...more] = solicit(v6("slaac"));
    expect(more).toEqual([]);
    expect(out).toMatchObject({ chassis: "hv1", stage: "locate", registers: { net: 100, out_port_key: 17, from_network: 1 } });
    const { eth, ipv6, icmpv6, ra } = parse(out!.data);
    expect(eth).toMatchObject({ src: ROUTER_MAC, dst: MAC });
    expect(ipv6).toMatchObject({ src: linkLocal(ROUTER_MAC), dst: linkLocal(MAC), hop_limit: 255 });
    expect(icmpv6).toMatchObject({ type: 134, code: 0, checksumOk: true });
    expect(ra).toEqual({
      cur_hop_limit: 64, managed: false, other: false, router_lifetime_s: 1800, reachable_ms: 0, retrans_ms: 0, source_lladdr: ROUTER_MAC, mtu: 1442,
      prefixes: [{ prefix: "fd00:1::", length: 64, on_link: true, autonomous: true, valid_lifetime_s: 86400, preferred_lifetime_s: 14400 }],
      rdnss: [{ lifetime_s: 1800, servers: ["fd00:1::53"] }], dnssl: [{ lifetime_s: 1800, domains: ["axion.internal"] }], unknown: [],
    });
  });

  it.each([
    ["slaac", false, false, true],
    ["dhcpv6-stateless", false, true, true],
    ["dhcpv6-stateful", true, false, false],
  ] as const)("of mode %s: managed %s, other %s, autonomous %s", (mode, managed, other, autonomous) => {
    const { ra } = parse(solicit(v6(mode))[0]!.data);
    expect({ managed: ra.managed, other: ra.other, autonomous: ra.prefixes[0]!.autonomous }).toEqual({ managed, other, autonomous });
  });

  it("goes to all nodes when the solicitor has no address yet", () => {
    const { eth, ipv6 } = parse(solicit(v6("slaac"), solicitation({ src: "::" }))[0]!.data);
    expect([eth.dst, ipv6.dst]).toEqual(["33:33:00:00:00:01", "ff02::1"]);
  });

  it("speaks only of subnets the router has an address in", () => {
    const cloud = v6("slaac").subnet("other", { cidr: "fd00:2::/64", ipv6_ra_mode: "slaac" });
    expect(parse(solicit(cloud)[0]!.data).ra.prefixes.map((p) => p.prefix)).toEqual(["fd00:1::"]);
    cloud.address("rif", "other", "fd00:2::1", 1);
    expect(parse(solicit(cloud)[0]!.data).ra.prefixes.map((p) => p.prefix)).toEqual(["fd00:2::", "fd00:1::"]);
  });

  it("has no MTU below the least of IPv6", () => {
    expect(parse(solicit(v6("slaac").change(networkTable, "net", { mtu: 1200 }))[0]!.data).ra.mtu).toBeUndefined();
  });

  it.each<[string, Cloud, Buffer?]>([
    ["a network without a router", fresh().subnet("v6", { cidr: "fd00:1::/64", ipv6_ra_mode: "slaac" })],
    ["a subnet without ipv6_ra_mode", v6(null)],
    ["a router that is down", v6("slaac").change(routerTable, "r", { admin_state_up: false })],
    ["a router that somebody connected to a network of others", v6("slaac").change(routerInterfaceTable, "rif", { guest: true })],
    ["a solicitation from afar", v6("slaac"), solicitation({ hop_limit: 254 })],
    ["a solicitation of another code", v6("slaac"), solicitation({ code: 1 })],
    ["a solicitation without an address that names a MAC", v6("slaac"), solicitation({ src: "::", lladdr: true })],
    ["one that names a longer one", v6("slaac"), solicitation({ src: "::", unknown: [{ type: 1, data: Buffer.alloc(14, 2) }] })],
    ["a solicitation cut short", v6("slaac"), solicitation().subarray(0, 60)],
  ])("is not sent for %s", (_, cloud, frame) => {
    expect(solicit(cloud, frame)).toEqual([]);
  });
});
