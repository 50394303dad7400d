// The headers of a packet that is traced.
import { ethType, ipProto, type PacketQuestion, type PacketStart } from "#app";

type Headers = PacketStart["fields"];
interface End {
  readonly mac: string;
  readonly ip: string;
}

/** As a first packet of its kind: of TCP one that opens the connection, of ICMP an echo request; or what answers these. */
export function firstPacket(question: PacketQuestion, from: End, to: End): Headers {
  const { protocol, port, sourcePort = isDhcp(question, to.ip) ? DHCP.client : EPHEMERAL, sourceMac, ttl = 64, answers } = question;
  const six = to.ip.includes(":");
  const proto = protocol === ipProto.icmp && six ? ipProto.icmpv6 : protocol;
  const echo = six ? { icmpv6_type: answers ? 129 : 128, icmpv6_code: 0 } : { icmpv4_type: answers ? 0 : 8, icmpv4_code: 0 };
  const transport: Headers = proto === (six ? ipProto.icmpv6 : ipProto.icmp) ? echo
    : proto === ipProto.tcp ? { tcp_src: sourcePort, tcp_dst: port ?? 80, tcp_flags: answers ? 0x12 : 2 }
    : proto === ipProto.udp ? { udp_src: sourcePort, udp_dst: port ?? 0 }
    : proto === ipProto.sctp ? { sctp_src: sourcePort, sctp_dst: port ?? 0 } : {};
  return {
    eth_src: sourceMac ?? from.mac, eth_dst: to.mac, eth_type: six ? ethType.ipv6 : ethType.ip, ...(six ? { ipv6_src: from.ip, ipv6_dst: to.ip } : { ipv4_src: from.ip, ipv4_dst: to.ip }),
    ip_proto: proto, ip_ttl: ttl, ...transport,
  };
}
const EPHEMERAL = 40_000;

/** Of a machine that nobody here knows: for documentation. RFC 7042 section 2.1.2 */
export const UNKNOWN_MAC = "00:00:5e:00:53:01";

/** What a machine asks that has no address yet. RFC 2131 section 4.1 */
export const isDhcp = ({ protocol, port }: PacketQuestion, to: string): boolean => to === "255.255.255.255" && protocol === ipProto.udp && port === DHCP.server;
const DHCP = { server: 67, client: 68 } as const;
