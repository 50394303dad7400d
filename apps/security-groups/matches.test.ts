// What rules say as matches; above all, that what no field has does not become more than a rule says.
import { describe, expect, test } from "vitest";
import { boundConnection, protocolMatches, remoteConnection, remotePacket } from "./matches.ts";
import type { SecurityGroupRule } from "./model.ts";

/** Pairs of what is said of packets and of connections; the states of connections aside. */
function matches(rule: Partial<SecurityGroupRule>): readonly object[] {
  const { packets, connections } = protocolMatches({ ethertype: "IPv4", direction: "ingress", protocol: null, port_range_min: null, port_range_max: null, ...rule } as SecurityGroupRule);
  return Array.from({ length: Math.max(packets.length, connections.length) }, (_, i) => ({
    ...(packets[i] && { packet: packets[i] }), ...(connections[i] && { connection: Object.fromEntries(Object.entries(connections[i]).filter(([name]) => name !== "ct_state")) }),
  }));
}
const ipv4 = { eth_type: 0x800 };
const ipv6 = { eth_type: 0x86dd };

describe("protocols", () => {
  test.each<[string, Partial<SecurityGroupRule>]>([
    ["ports of DCCP", { protocol: "dccp", port_range_min: 80, port_range_max: 80 }],
    ["ports of DCCP by number", { protocol: "33", port_range_min: 80, port_range_max: 80 }],
    ["ports of UDP-Lite", { protocol: "udplite", port_range_min: 1, port_range_max: 65_535 }],
    ["ports of UDP-Lite by number, IPv6", { ethertype: "IPv6", protocol: "136", port_range_min: 80, port_range_max: 80 }],
    ["ports of ESP", { protocol: "esp", port_range_min: 80, port_range_max: 80 }],
    ["ports of no protocol", { port_range_min: 80, port_range_max: 80 }],
    ["a code without a type", { protocol: "icmp", port_range_max: 0 }],
    ["an upper end without a lower", { protocol: "tcp", port_range_max: 80 }],
    ["what later fragments of IPv6 look like", { ethertype: "IPv6", protocol: "ipv6-frag" }],
    ["the same by number", { ethertype: "IPv6", protocol: "44" }],
  ])("%s: nothing", (_, rule) => expect(matches(rule)).toEqual([]));

  test.each<[string, Partial<SecurityGroupRule>, readonly object[]]>([
    ["any", {}, [{ packet: ipv4, connection: ipv4 }]],
    ["UDP-Lite whole", { protocol: "udplite" }, [{ packet: { ...ipv4, ip_proto: 136 }, connection: { ...ipv4, ct_nw_proto: 136 } }]],
    ["a port", { protocol: "udp", port_range_min: 53, port_range_max: 53 }, [{ packet: { ...ipv4, ip_proto: 17, udp_dst: 53 }, connection: { ...ipv4, ct_nw_proto: 17, ct_tp_dst: 53 } }]],
    ["a range", { ethertype: "IPv6", protocol: "tcp", port_range_min: 6, port_range_max: 8 }, [{ value: 6, mask: 0xfffe }, 8].map((port) => ({ packet: { ...ipv6, ip_proto: 6, tcp_dst: port }, connection: { ...ipv6, ct_nw_proto: 6, ct_tp_dst: port } }))],
    ["a type", { protocol: "icmp", port_range_min: 8 }, [{ packet: { ...ipv4, ip_proto: 1, icmpv4_type: 8 }, connection: { ...ipv4, ct_nw_proto: 1, ct_tp_src: 8 } }]],
    ["a type and a code", { ethertype: "IPv6", protocol: "icmp", port_range_min: 128, port_range_max: 0 }, [{ packet: { ...ipv6, ip_proto: 58, icmpv6_type: 128, icmpv6_code: 0 }, connection: { ...ipv6, ct_nw_proto: 58, ct_tp_src: 128, ct_tp_dst: 0 } }]],
    ["ports of SCTP: where conntrack keeps none, of an answer where it comes from, of an error its protocol", { protocol: "sctp", port_range_min: 6, port_range_max: 8 }, [
      ...[{ value: 6, mask: 0xfffe }, 8].map((port) => ({ packet: { ...ipv4, ip_proto: 132, sctp_dst: port }, connection: { ...ipv4, ct_nw_proto: 132, ct_tp_dst: port } })),
      ...[{ value: 6, mask: 0xfffe }, 8].map((port) => ({ connection: { ...ipv4, ct_nw_proto: 132, ct_tp_src: 0, ct_tp_dst: 0, ip_proto: 132, sctp_src: port } })),
      { connection: { ...ipv4, ct_nw_proto: 132, ct_tp_src: 0, ct_tp_dst: 0 } },
    ]],
    ["SCTP whole", { protocol: "132" }, [{ packet: { ...ipv4, ip_proto: 132 }, connection: { ...ipv4, ct_nw_proto: 132 } }]],
  ])("%s", (_, rule, expected) => expect(matches(rule)).toEqual(expected));
});

test("the other side: of a packet, of its connection, of a MAC in both directions", () => {
  expect([remotePacket("ingress", "10.0.0.0/8"), remotePacket("egress", "fd00::1"), remotePacket("egress", "::/0")]).toEqual([{ ipv4_src: "10.0.0.0/8" }, { ipv6_dst: "fd00::1" }, {}]);
  expect([remoteConnection("ingress", "10.0.0.0/8"), remoteConnection("egress", "fd00::1"), remoteConnection("ingress", "0.0.0.0/0")]).toEqual([{ ct_nw_src: "10.0.0.0/8" }, { ct_ipv6_dst: "fd00::1" }, {}]);
  const bound = { net: 7, mac: "fa:16:3e:00:00:01" };
  expect(boundConnection("ingress", bound)).toMatchObject([{ "reg:net": 7, eth_src: bound.mac }, { "reg:net": 7, eth_dst: bound.mac }]);
  expect(boundConnection("egress", bound)).toMatchObject([{ "reg:net": 7, eth_dst: bound.mac }, { "reg:net": 7, eth_src: bound.mac }]);
});
