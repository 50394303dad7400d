// What hosts and the network say to each other of multicast groups: IGMP (RFC 1112, 2236, 3376) and MLD (RFC 2710, 3810).
import { buildEthernet, buildIcmpv6Body, buildIgmp, buildIpv4, buildIpv6, ethertypes, groupRecordTypes, ipProtocols, ipv6MulticastMac, linkLocal, parseIcmpv6Body, parsePacket, type GroupRecord } from "packet-codec";

/** That a host is in a group, or not any more, as it reports. */
export interface Membership {
  readonly group: string;
  readonly joins: boolean;
}
/** More of one report are not looked at: hosts say all again, each in a report of its own, when they are asked. */
const MEMBERSHIPS_MAX = 16;

/** Of the network's own queries: a locally administered MAC that no port has. */
const QUERIER_MAC = "06:61:78:69:6f:03";
const ALL_HOSTS = "224.0.0.1";
const ALL_NODES = "ff02::1";

/** 224.0.0.0/24 and ff02::/16: they go to all, nobody has to join them (RFC 4541 section 2.1.2). */
const isOfLink = (group: string): boolean => group.startsWith("224.0.0.") || group.startsWith("ff02:");
const isGroup = (group: string): boolean => (group.includes(":") ? /^ff[0-9a-f]{2}(:|$)/.test(group) : /^(22[4-9]|23\d)\./.test(group));

const ofRecord = ({ type, group, sources }: GroupRecord): Membership[] => {
  switch (type) {
    case groupRecordTypes.modeIsExclude: case groupRecordTypes.changeToExclude: case groupRecordTypes.allowNewSources:
      return [{ group, joins: true }];
    case groupRecordTypes.modeIsInclude: case groupRecordTypes.changeToInclude:
      // From no source: none of it.
      return [{ group, joins: sources.length > 0 }];
    default:
      return [];
  }
};

/** Sources are for routers: here who wants a group from some wants the group. `query`: a router asks who is in one group. @throws PacketError */
export function readReport(frame: Uint8Array): { readonly query: boolean; readonly memberships: readonly Membership[] } {
  const packet = parsePacket(frame);
  const memberships = packet.igmp !== undefined ? ofIgmp(packet.igmp) : packet.icmpv6?.checksumOk === true ? ofMld(packet.icmpv6) : [];
  const query = packet.igmp?.kind === "query";
  return { query, memberships: memberships.filter(({ group }) => isGroup(group) && !isOfLink(group)).slice(0, MEMBERSHIPS_MAX) };
}

function ofIgmp(igmp: NonNullable<ReturnType<typeof parsePacket>["igmp"]>): Membership[] {
  if (igmp.checksumOk !== true) return [];
  switch (igmp.kind) {
    case "report": return [{ group: igmp.group, joins: true }];
    case "leave": return [{ group: igmp.group, joins: false }];
    case "reportV3": return igmp.records.flatMap(ofRecord);
    default: return [];
  }
}

function ofMld(icmpv6: NonNullable<ReturnType<typeof parsePacket>["icmpv6"]>): Membership[] {
  const said = parseIcmpv6Body(icmpv6);
  switch (said.kind) {
    case "mldReport": return [{ group: said.group, joins: true }];
    case "mldDone": return [{ group: said.group, joins: false }];
    case "mldv2Report": return said.records.flatMap(ofRecord);
    default: return [];
  }
}

/** MAC of a group: RFC 1112 section 6.4, RFC 2464 section 7. */
function groupMac(group: string): string {
  if (group.includes(":")) return ipv6MulticastMac(group);
  const [, b, c, d] = group.split(".").map(Number) as [number, number, number, number];
  return `01:00:5e:${[b & 0x7f, c, d].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
}

/** Router Alert, which routers and hosts want of IGMP from version 2 on and of MLD (RFC 2113, RFC 2711). */
const alert4 = Buffer.from([0x94, 4, 0, 0]);
const inIpv4 = (src: string, dst: string, payload: Uint8Array): Buffer => buildIpv4({ src, dst, protocol: ipProtocols.igmp, ttl: 1, tos: 0xc0, options: alert4 }, payload);
const inIpv6 = (dst: string, body: Parameters<typeof buildIcmpv6Body>[0]): Buffer => {
  const src = linkLocal(QUERIER_MAC);
  return buildIpv6({ src, dst, next_header: ipProtocols.icmpv6, hop_limit: 1, extension_headers: [{ header: "hopByHop", options: [{ option: "routerAlert", value: 0 }] }] }, buildIcmpv6Body(body, { src, dst }));
};

/** A report of the version that a switch can read: it goes to the group itself. */
export function reportOf(group: string): Buffer {
  const six = group.includes(":");
  const packet = six ? inIpv6(group, { kind: "mldReport", code: 0, max_resp_code: 0, group }) : inIpv4("0.0.0.0", group, buildIgmp({ kind: "report", version: 2, max_resp_code: 0, group }));
  return buildEthernet({ dst: groupMac(group), src: QUERIER_MAC, ethertype: six ? ethertypes.ipv6 : ethertypes.ipv4 }, packet);
}

/**
 * Queries of IGMPv2 and MLDv1, to be answered within so many seconds, of one group or of all: hosts that are asked so answer in reports that a switch can read, so that no controller
 * has to (RFC 3376 section 7.2.1, RFC 3810 section 8.2.1). From 0.0.0.0: whoever is a multicast router takes none of it for another router (RFC 4541 section 2.1.1).
 */
export function queries(answerS: number, group?: string): Buffer[] {
  const four = group === undefined || !group.includes(":");
  const six = group === undefined || group.includes(":");
  return [
    ...(four
      ? [buildEthernet({ dst: groupMac(group ?? ALL_HOSTS), src: QUERIER_MAC, ethertype: ethertypes.ipv4 },
          inIpv4("0.0.0.0", group ?? ALL_HOSTS, buildIgmp({ kind: "query", version: 2, max_resp_code: Math.max(1, Math.floor(answerS * 10)), group: group ?? "0.0.0.0" })))]
      : []),
    ...(six
      ? [buildEthernet({ dst: groupMac(group ?? ALL_NODES), src: QUERIER_MAC, ethertype: ethertypes.ipv6 }, inIpv6(group ?? ALL_NODES, { kind: "mldQuery", code: 0, version: 1, max_resp_code: Math.floor(answerS * 1000), group: group ?? "::" }))]
      : []),
  ];
}
