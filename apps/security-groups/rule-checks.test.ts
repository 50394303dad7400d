// Every protocol that a rule may name, by name and by number, in both families, with and without ports, types and codes: what is taken, what is
// refused and as what, beside a plain reading of the API; and that what is taken is what flows match.
import { expect, test } from "vitest";
import type { ApiError, Values } from "#app";
import type { SecurityGroupRule } from "./model.ts";
import { protocolMatches } from "./matches.ts";
import { checkRule, contentOf, converters } from "./rule-checks.ts";

/** IANA's numbers of the names in the API. `ip`: any, as it is to iptables. */
const NAMES: Readonly<Record<string, number | "any">> = {
  ah: 51, dccp: 33, egp: 8, esp: 50, gre: 47, hopopt: 0, icmp: 1, igmp: 2, ip: "any", ipip: 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, icmpv6: 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
  "ipv6-route": 43, ospf: 89, pgm: 113, rsvp: 46, sctp: 132, tcp: 6, udp: 17, udplite: 136, vrrp: 112,
};
const SIX_ALONE = [41, 43, 44, 58, 59, 60];

type Form = readonly [min: number | null, max: number | null];
const FORMS: readonly Form[] = [[null, null], [80, 80], [80, 90], [90, 80], [80, null], [null, 80], [0, 0], [0, 80], [255, 0], [256, null], [8, 256], [1, 65_535]];

/** "" where the rule is taken. */
function wanted(number: number | "any" | undefined, ethertype: string, [min, max]: Form): string {
  const ports = min !== null || max !== null;
  if (number === undefined) return ports ? "SecurityGroupProtocolRequiredWithPorts" : "";
  if (number !== "any" && ethertype === "IPv4" && SIX_ALONE.includes(number)) return "SecurityGroupEthertypeConflictWithProtocol";
  if (number === 1 || number === 58) {
    if ((min ?? 0) > 255 || (max ?? 0) > 255) return "SecurityGroupInvalidIcmpValue";
    return min === null && max !== null ? "SecurityGroupMissingIcmpType" : "";
  }
  if (!ports) return "";
  if (number !== 6 && number !== 17 && number !== 132) return "SecurityGroupInvalidProtocolForPort";
  if (min === 0 || max === 0) return "SecurityGroupInvalidPortValue";
  return min === null || max === null || min > max ? "SecurityGroupInvalidPortRange" : "";
}

function said(values: Values): { readonly refused: string; readonly rule?: SecurityGroupRule } {
  try {
    const input: Record<string, unknown> = { remote_ip_prefix: null, remote_group_id: null, ...values };
    for (const [name, kind] of [["protocol", "protocol"], ["port_range_min", "port"], ["port_range_max", "port"], ["ethertype", "ethertype"]] as const) input[name] = converters[`security-group-${kind}`]!.run(input[name], name);
    const content = contentOf(input);
    checkRule(content);
    return { refused: "", rule: content as SecurityGroupRule };
  } catch (error) {
    return { refused: (error as ApiError).type };
  }
}

const spellings: readonly (readonly [given: unknown, number: number | "any" | undefined])[] = [
  [null, undefined], ["any", undefined], ["ANY", undefined],
  ...Object.entries(NAMES).flatMap(([name, number]) => [[name, number], [name.toUpperCase(), number]] as const),
  ...Array.from({ length: 256 }, (_, n) => [[n, n], [String(n), n]] as const).flat(),
];

test("every protocol, family and form", () => {
  const counts = new Map<string, number>();
  for (const [protocol, number] of spellings) {
    for (const ethertype of ["IPv4", "ipv6"]) {
      for (const form of FORMS) {
        const [port_range_min, port_range_max] = form;
        const text = JSON.stringify({ protocol, ethertype, form });
        const { refused, rule } = said({ direction: "ingress", protocol, ethertype, port_range_min, port_range_max });
        expect(refused, text).toBe(wanted(number, ethertype, form));
        counts.set(refused, (counts.get(refused) ?? 0) + 1);
        if (rule === undefined) continue;
        const six = rule.ethertype === "IPv6";
        const { packets } = protocolMatches(rule);
        // Open vSwitch never shows what is in front of others as what a packet carries; of the rest each match has the number, or none says any.
        if (six && number === 44) expect(packets, text).toEqual([]);
        else {
          expect(packets.length, text).toBeGreaterThan(0);
          for (const match of packets) expect([match.eth_type, match.ip_proto], text).toEqual([six ? 0x86dd : 0x800, number === undefined || number === "any" ? undefined : six && number === 1 ? 58 : number]);
        }
      }
    }
  }
  for (const type of ["", "SecurityGroupProtocolRequiredWithPorts", "SecurityGroupEthertypeConflictWithProtocol", "SecurityGroupInvalidIcmpValue", "SecurityGroupMissingIcmpType", "SecurityGroupInvalidProtocolForPort", "SecurityGroupInvalidPortValue", "SecurityGroupInvalidPortRange"]) expect(counts.get(type), type).toBeGreaterThan(0);
});

test("what is no protocol", () => {
  for (const protocol of ["quic", "256", 256, -1, "-1", "06", "1.5", 1.5, true, {}, []]) expect(said({ direction: "ingress", protocol, ethertype: "IPv4", port_range_min: null, port_range_max: null }).refused, JSON.stringify(protocol)).toBe("SecurityGroupRuleInvalidProtocol");
});
