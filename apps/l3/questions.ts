// Questions of routers for the MAC of an address, as frames: ARP and neighbour discovery; and what l3 asks of other apps.
import { defineQuestion, isIpv6, NO_MAC, parseIp, type ReadView } from "#app";
import { arpOps, buildArp, buildEthernet, buildIcmpv6, buildIpv6, buildNeighbourSolicitation, ethertypes, icmpv6Types, ipProtocols } from "packet-codec";

/** Networks that lead outside for everybody, on which a router that has no gateway could have one. */
export const outsideFor = defineQuestion<(view: ReadView, routerId: string) => readonly string[]>("outside_for");

/** Asks everybody on the link who has an address, in the name of another. */
export const questionFor = (ip: string, from: { readonly mac: string; readonly ip: string }): Buffer => (isIpv6(ip) ? solicitation(from.mac, from.ip, ip, parseIp(ip)!.value) : arpRequest(from.mac, from.ip, ip));

const arpRequest = (mac: string, from: string, ip: string): Buffer =>
  buildEthernet({ dst: "ff:ff:ff:ff:ff:ff", src: mac, ethertype: ethertypes.arp }, buildArp({ op: arpOps.request, sha: mac, spa: from, tha: NO_MAC, tpa: ip }));

/** To the solicited-node address, RFC 4861 section 4.3. */
function solicitation(mac: string, from: string, ip: string, value: bigint): Buffer {
  const low = (value & 0xffffffn).toString(16).padStart(6, "0");
  const ends = { src: from, dst: `ff02::1:ff${low.slice(0, 2)}:${low.slice(2)}` };
  const body = buildNeighbourSolicitation({ target: ip, source_lladdr: mac });
  const message = buildIcmpv6({ type: icmpv6Types.neighbourSolicitation, code: 0 }, body, ends);
  return buildEthernet({ dst: `33:33:ff:${low.slice(0, 2)}:${low.slice(2, 4)}:${low.slice(4)}`, src: mac, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: 255 }, message));
}
