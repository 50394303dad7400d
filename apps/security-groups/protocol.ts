// Protocol names of security group rules.

/** Names the API takes, lower case, with their IANA numbers; `ip` is any of them. */
export const protocolNumbers: Readonly<Record<string, number | undefined>> = {
  hopopt: 0, icmp: 1, igmp: 2, ipip: 4, "ipv6-encap": 41, tcp: 6, egp: 8, udp: 17, dccp: 33, "ipv6-route": 43, "ipv6-frag": 44, rsvp: 46, gre: 47,
  esp: 50, ah: 51, icmpv6: 58, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, ospf: 89, pgm: 113, vrrp: 112, sctp: 132, udplite: 136, ip: undefined,
};

/** IP protocol number of a rule; undefined = any. "icmp" of an IPv6 rule means ICMPv6. */
export function protocolNumber(protocol: string | null, ethertype: "IPv4" | "IPv6"): number | undefined {
  if (protocol === null || protocol === "any") return undefined;
  const number = /^\d+$/.test(protocol) ? Number(protocol) : protocolNumbers[protocol];
  return number === 1 && ethertype === "IPv6" ? 58 : number;
}
