// Which rules another covers: by example, and for any rules against what packets they let pass.
import fc from "fast-check";
import { expect, test } from "vitest";
import { contains, parseCidr } from "#app";
import type { SecurityGroupRule } from "../model.ts";
import { protocolNumber } from "../protocol.ts";
import { Covers } from "./covers.ts";

let ids = 0;
const rule = (values: Partial<SecurityGroupRule>): SecurityGroupRule => ({ id: `r${String(ids++).padStart(4, "0")}`, direction: "ingress", ethertype: "IPv4", protocol: null, port_range_min: null, port_range_max: null, remote_ip_prefix: null, remote_group_id: null, ...values }) as SecurityGroupRule;
const tcp = (from: number | null, to = from, values: Partial<SecurityGroupRule> = {}): SecurityGroupRule => rule({ protocol: "tcp", port_range_min: from, port_range_max: to, ...values });

test.each<readonly [string, (a: typeof tcp) => readonly [wide: SecurityGroupRule, narrow: SecurityGroupRule], boolean]>([
  ["ports in a range", (t) => [t(80, 90), t(85)], true],
  ["ports that reach out of it", (t) => [t(80, 90), t(85, 91)], false],
  ["all ports", (t) => [t(null), t(85)], true],
  ["any protocol", (t) => [rule({}), t(22)], true],
  ["the same protocol by number", (t) => [rule({ protocol: "6" }), t(22)], true],
  ["another protocol", (t) => [rule({ protocol: "udp" }), t(22)], false],
  ["a wider prefix", (t) => [t(22, 22, { remote_ip_prefix: "10.0.0.0/8" }), t(22, 22, { remote_ip_prefix: "10.1.2.0/24" })], true],
  ["another prefix", (t) => [t(22, 22, { remote_ip_prefix: "10.0.0.0/16" }), t(22, 22, { remote_ip_prefix: "10.1.2.0/24" })], false],
  ["a prefix of length 0 is anybody", (t) => [t(22, 22, { remote_ip_prefix: "0.0.0.0/0" }), t(22, 22, { remote_group_id: "g" })], true],
  ["the same group", (t) => [rule({ remote_group_id: "g" }), t(22, 22, { remote_group_id: "g" })], true],
  ["another group", (t) => [rule({ remote_group_id: "h" }), t(22, 22, { remote_group_id: "g" })], false],
  ["a prefix and a group", (t) => [t(22, 22, { remote_ip_prefix: "10.0.0.0/8" }), t(22, 22, { remote_group_id: "g" })], false],
  ["the other direction", (t) => [t(22, 22, { direction: "egress" }), t(22)], false],
  ["the other family", (t) => [t(22, 22, { ethertype: "IPv6" }), t(22)], false],
  ["IPv6 prefixes", (t) => [t(22, 22, { ethertype: "IPv6", remote_ip_prefix: "2001:db8::/32" }), t(22, 22, { ethertype: "IPv6", remote_ip_prefix: "2001:db8:1::/48" })], true],
  ["all codes of an ICMP type", () => [rule({ protocol: "icmp", port_range_min: 3 }), rule({ protocol: "icmp", port_range_min: 3, port_range_max: 4 })], true],
  ["another ICMP type", () => [rule({ protocol: "icmp", port_range_min: 3 }), rule({ protocol: "icmp", port_range_min: 8, port_range_max: 0 })], false],
  ["icmp of IPv6 by either name", () => [rule({ ethertype: "IPv6", protocol: "icmp" }), rule({ ethertype: "IPv6", protocol: "ipv6-icmp", port_range_min: 128 })], true],
])("%s", (_what, make, covered) => {
  const [wide, narrow] = make(tcp);
  for (const order of [[wide, narrow], [narrow, wide]]) {
    const covers = new Covers(order);
    expect(covers.of(narrow)?.id).toBe(covered ? wide.id : undefined);
    expect(covers.of(wide)).toBeUndefined();
  }
});

test("of equal ones all but the first by id are covered", () => {
  const [a, b, c] = [tcp(80), tcp(80), tcp(80)] as const;
  const covers = new Covers([c, a, b]);
  expect([a, b, c].map((r) => covers.of(r)?.id)).toEqual([undefined, a.id, a.id]);
});

interface Packet { readonly protocol: number; readonly port: number; readonly from: string; readonly groups: readonly string[] }
/** Whether a rule lets a packet in that opens a connection. */
function lets(r: SecurityGroupRule, p: Packet): boolean {
  const protocol = protocolNumber(r.protocol, "IPv4");
  if (protocol !== undefined && protocol !== p.protocol) return false;
  if (r.remote_group_id !== null && !p.groups.includes(r.remote_group_id)) return false;
  if (r.remote_ip_prefix !== null && !contains(parseCidr(r.remote_ip_prefix)!, parseCidr(p.from)!)) return false;
  if (r.port_range_min === null) return true;
  if (protocol === 1) return r.port_range_min === p.port >> 8 && (r.port_range_max === null || r.port_range_max === (p.port & 255));
  return r.port_range_min <= p.port && p.port <= r.port_range_max!;
}

test("without all that are covered a set lets the same packets pass, and what covers a rule lets pass all that the rule does", () => {
  const protocol = fc.constantFrom(null, "tcp", "udp", "icmp", "6", "any");
  const remote = fc.oneof(fc.constant({}), fc.constantFrom("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.64.0.0/10", "10.0.0.7/32").map((remote_ip_prefix) => ({ remote_ip_prefix })), fc.constantFrom("g", "h").map((remote_group_id) => ({ remote_group_id })));
  const port = fc.constantFrom(null, [1, 4], [2, 3], [3, 3], [3, 5], [4, 9]);
  const rules = fc.array(fc.tuple(protocol, remote, port).map(([of, side, ports]) => rule({ protocol: of, ...side, ...(ports !== null && of !== null && of !== "any" && { port_range_min: ports[0], port_range_max: ports[1] }) })), { maxLength: 12 });
  const packets = fc.array(fc.record({ protocol: fc.constantFrom(1, 6, 17, 47), port: fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 9 }).chain((type) => fc.integer({ min: 0, max: 9 }).map((code) => type * 256 + code))), from: fc.constantFrom("10.0.0.7", "10.0.0.8", "10.70.0.1", "10.200.0.1", "11.0.0.1"), groups: fc.subarray(["g", "h"]) }), { minLength: 20, maxLength: 60 });
  fc.assert(fc.property(rules, packets, (set, sent) => {
    const covers = new Covers(set);
    const left = set.filter((r) => covers.of(r) === undefined);
    for (const packet of sent) {
      expect(left.some((r) => lets(r, packet))).toBe(set.some((r) => lets(r, packet)));
      for (const r of set) {
        const by = covers.of(r);
        if (by !== undefined && lets(r, packet)) expect(lets(by, packet)).toBe(true);
      }
    }
  }), { numRuns: 300 });
});
