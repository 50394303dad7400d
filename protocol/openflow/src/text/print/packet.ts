// The headers of a packet in one line, in the words of a match: what ofp-print shows under packet-in and packet-out.
//
// It is read the way Open vSwitch reads packets into a flow: a header that is cut off or contradicts itself leaves its fields
// zero, padding is no part of the payload, and nothing here ever fails.

import { flagNames } from "../../match/match.ts";
import { ipv4Text, ipv6Text, macText, readBig } from "../../match/value.ts";
import { Pieces, putProtocol, putVlan } from "./match.ts";
import { formatFlags, formatPacketType, hex } from "./value.ts";

const IP = 0x0800;
const IPV6 = 0x86dd;
const ARP = 0x0806;
const RARP = 0x8035;
const MPLS = 0x8847;
const MPLS_MULTICAST = 0x8848;
const NSH = 0x894f;
/** Stands for the Ethernet type of a frame that has a length there. */
const NO_TYPE = 0x05ff;

const ICMP = 1;
const IGMP = 2;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const FRAGMENT_HEADER = 44;
const WITH_PORTS = new Set([ICMP, IGMP, TCP, UDP, ICMPV6, SCTP]);

/** The unread part of a packet. */
interface Rest {
  readonly buf: Buffer;
  at: number;
  end: number;
}

const left = (rest: Rest): number => rest.end - rest.at;

/** One line without its newline. `packetType`: name space in the upper half, type in the lower; 0 for an Ethernet frame. */
export function formatPacket(bytes: Uint8Array, packetType = 0): string {
  const rest: Rest = { buf: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0, end: bytes.byteLength };
  const out = new Pieces();
  const type = packetType === 0 ? readEthernet(out, rest) : packetType & 0xffff;
  if (packetType !== 0) out.raw("packet_type", formatPacketType(packetType, 0xffffffff));
  const shown = packetType === 0 ? type : undefined;
  switch (type) {
    case IP:
    case IPV6:
      return readIp(out, rest, type, shown);
    case ARP:
    case RARP:
      readArp(out, rest);
      break;
    case MPLS:
    case MPLS_MULTICAST:
      readMpls(out, rest);
      break;
    case NSH:
      readNsh(out, rest);
      putIp(out, NO_IP);
      putProtocol(out, shown, 0);
      return out.toString();
  }
  putProtocol(out, shown, undefined);
  return out.toString();
}

/** Addresses, VLAN tags and the Ethernet type, which is returned; 0 when not even these are there. */
function readEthernet(out: Pieces, rest: Rest): number {
  const { buf } = rest;
  if (left(rest) < 14) {
    out.put("dl_src", "00:00:00:00:00:00");
    out.put("dl_dst", "00:00:00:00:00:00");
    putVlan(out, 0, 0, 0xffff);
    return 0;
  }
  out.put("dl_dst", macText(buf, 0));
  out.put("dl_src", macText(buf, 6));
  rest.at = 12;
  for (let i = 0; i < 2; i++) {
    const tpid = buf.readUInt16BE(rest.at);
    if ((tpid !== 0x8100 && tpid !== 0x88a8) || left(rest) < 6) {
      putVlan(out, i, 0, 0xffff);
      break;
    }
    putVlan(out, i, buf.readUInt16BE(rest.at + 2) | 0x1000, 0xffff);
    rest.at += 4;
  }
  const type = buf.readUInt16BE(rest.at);
  rest.at += 2;
  if (type >= 0x600) return type;
  // IEEE 802.3: a length; the type may follow in a SNAP header
  if (left(rest) < 8 || buf.toString("hex", rest.at, rest.at + 6) !== "aaaa03000000") return NO_TYPE;
  const snap = buf.readUInt16BE(rest.at + 6);
  rest.at += 8;
  return snap >= 0x600 ? snap : NO_TYPE;
}

function readArp(out: Pieces, rest: Rest): void {
  const { buf, at } = rest;
  const good = left(rest) >= 28 && buf.toString("hex", at, at + 6) === "000108000604";
  const from = good ? buf : Buffer.alloc(28);
  const start = good ? at : 0;
  const op = from.readUInt16BE(start + 6);
  out.put("arp_spa", ipv4Text(from, start + 14));
  out.put("arp_tpa", ipv4Text(from, start + 24));
  out.put("arp_op", op > 0xff ? 0 : op);
  out.put("arp_sha", macText(from, start + 8));
  out.put("arp_tha", macText(from, start + 18));
}

/** Up to three labels; those after the last that is there are shown as 0. */
function readMpls(out: Pieces, rest: Rest): void {
  const entry = (): number => {
    if (left(rest) < 4) return 0;
    rest.at += 4;
    return rest.buf.readUInt32BE(rest.at - 4);
  };
  let lse = entry();
  out.put("mpls_label", lse >>> 12);
  out.put("mpls_tc", (lse >>> 9) & 7);
  out.put("mpls_ttl", lse & 0xff);
  out.put("mpls_bos", (lse >>> 8) & 1);
  for (let i = 1; i < 3 && (lse & 0x100) === 0; i++) {
    lse = entry();
    out.put(`mpls_lse${i}`, lse);
  }
}

function readNsh(out: Pieces, rest: Rest): void {
  const { buf, at } = rest;
  const head = left(rest) < 8 ? 0xffff : buf.readUInt16BE(at);
  const length = (head & 0x3f) * 4;
  const mdtype = left(rest) < 8 ? 0 : buf[at + 2]!;
  const good = head >>> 14 === 0 && length <= left(rest) && (mdtype !== 1 || length === 24) && (mdtype !== 2 || length >= 8);
  const path = good ? buf.readUInt32BE(at + 4) : 0;
  out.put("nsh_flags", good ? (head >> 12) & 3 : 0);
  out.put("nsh_ttl", good ? (head >> 6) & 0x3f : 0);
  out.put("nsh_mdtype", good ? mdtype : 0);
  out.put("nsh_np", good ? buf[at + 3]! : 0);
  out.put("nsh_spi", hex(path >>> 8));
  out.put("nsh_si", path & 0xff);
  if (good && mdtype === 1) for (let i = 1; i <= 4; i++) out.put(`nsh_c${i}`, hex(buf.readUInt32BE(at + 4 + i * 4)));
}

/** What IPv4 and IPv6 have in common. */
interface Ip {
  readonly tos: number;
  readonly ttl: number;
  readonly proto: number;
  readonly fragment: "no" | "first" | "later";
}
const NO_IP: Ip = { tos: 0, ttl: 0, proto: 0, fragment: "no" };

function putIp(out: Pieces, ip: Ip): void {
  out.put("nw_tos", ip.tos & 0xfc);
  out.put("nw_ecn", ip.tos & 3);
  out.put("nw_ttl", ip.ttl);
  out.put("nw_frag", ip.fragment);
}

function readIp(out: Pieces, rest: Rest, type: number, shown: number | undefined): string {
  const start = rest.at;
  const read = type === IP ? readIpv4(out, rest) : readIpv6(out, rest);
  const ip = read ?? NO_IP;
  putIp(out, ip);
  putProtocol(out, shown, ip.proto);
  if (read === undefined) rest.at = rest.end = start; // there is no payload
  if (ip.fragment !== "later" && WITH_PORTS.has(ip.proto)) readTransport(out, rest, type, ip.proto);
  return `${out.toString()}${read === undefined ? "" : checksum(rest, ip.proto)}`;
}

function readIpv4(out: Pieces, rest: Rest): Ip | undefined {
  const { buf, at } = rest;
  const head = left(rest) < 20 ? 0 : (buf[at]! & 15) * 4;
  const total = left(rest) < 20 ? 0 : buf.readUInt16BE(at + 2);
  const good = head >= 20 && head <= left(rest) && total <= left(rest) && head <= total && left(rest) - total <= 0xffff;
  out.put("nw_src", good ? ipv4Text(buf, at + 12) : "0.0.0.0");
  out.put("nw_dst", good ? ipv4Text(buf, at + 16) : "0.0.0.0");
  if (!good) return undefined;
  const fragment = buf.readUInt16BE(at + 6);
  rest.end = at + total;
  rest.at = at + head;
  return { tos: buf[at + 1]!, ttl: buf[at + 8]!, proto: buf[at + 9]!, fragment: (fragment & 0x1fff) !== 0 ? "later" : (fragment & 0x2000) !== 0 ? "first" : "no" };
}

function readIpv6(out: Pieces, rest: Rest): Ip | undefined {
  const { buf, at } = rest;
  const payload = left(rest) < 40 ? 0 : buf.readUInt16BE(at + 4);
  const good = left(rest) >= 40 && payload + 40 <= left(rest) && left(rest) - payload - 40 <= 0xffff;
  out.put("ipv6_src", good ? ipv6Text(buf, at + 8) : "::");
  out.put("ipv6_dst", good ? ipv6Text(buf, at + 24) : "::");
  if (good) {
    rest.at = at + 40;
    rest.end = rest.at + payload;
  }
  const found = good ? skipExtensions(rest, buf[at + 6]!) : undefined;
  const flow = found === undefined ? 0 : buf.readUInt32BE(at);
  out.put("ipv6_label", hex(flow & 0xfffff, 5));
  return found === undefined ? undefined : { ...found, tos: (flow >>> 20) & 0xff, ttl: buf[at + 7]! };
}

/** Goes past the extension headers; undefined when one is cut off. */
function skipExtensions(rest: Rest, first: number): Pick<Ip, "proto" | "fragment"> | undefined {
  const { buf } = rest;
  let proto = first;
  let fragment: Ip["fragment"] = "no";
  for (;;) {
    const options = proto === 0 || proto === 43 || proto === 60;
    const authentication = proto === 51;
    if (!options && !authentication && proto !== FRAGMENT_HEADER) return { proto, fragment };
    if (left(rest) < 8) return undefined;
    const size = options ? (buf[rest.at + 1]! + 1) * 8 : authentication ? (buf[rest.at + 1]! + 2) * 4 : 8;
    const offset = proto === FRAGMENT_HEADER ? buf.readUInt16BE(rest.at + 2) : 0;
    const next = buf[rest.at]!;
    if (left(rest) < size) return undefined;
    rest.at += size;
    if (offset !== 0) fragment = "first";
    if ((offset & 0xfff8) !== 0) return { proto: FRAGMENT_HEADER, fragment: "later" };
    proto = next;
  }
}

/** Bytes that a header must have before anything of it is shown. */
const LEAST: Readonly<Record<number, number>> = { [TCP]: 20, [UDP]: 8, [SCTP]: 12, [ICMP]: 8, [IGMP]: 8, [ICMPV6]: 8 };

function readTransport(out: Pieces, rest: Rest, type: number, proto: number): void {
  const { buf, at } = rest;
  const icmp = proto === ICMP || proto === IGMP || proto === ICMPV6;
  let good = left(rest) >= LEAST[proto]!;
  if (proto === TCP && good) {
    const head = (buf[at + 12]! >> 4) * 4;
    good = head >= 20 && head <= left(rest);
  }
  const source = !good ? 0 : icmp ? buf[at]! : buf.readUInt16BE(at);
  const destination = !good ? 0 : icmp ? buf[at + 1]! : buf.readUInt16BE(at + 2);
  const known = (type === IP && proto === ICMP) || (type === IPV6 && proto === ICMPV6);
  out.put(known ? "icmp_type" : "tp_src", source);
  out.put(known ? "icmp_code" : "tp_dst", destination);
  if (type === IPV6 && proto === ICMPV6 && destination === 0 && (source === 135 || source === 136)) readNeighbour(out, rest);
  if (proto === TCP) out.put("tcp_flags", formatFlags(flagNames.tcp_flags!, good ? buf.readUInt16BE(at + 12) & 0xfff : 0, 0xfff, 0xfff));
}

/** Target and link-layer addresses of neighbour discovery. One given twice makes all of them void. */
function readNeighbour(out: Pieces, rest: Rest): void {
  const { buf } = rest;
  const addresses = new Map<number, string>();
  let target = "::";
  let at = rest.at + 8;
  if (at + 16 <= rest.end) {
    target = ipv6Text(buf, at);
    at += 16;
    while (at + 8 <= rest.end) {
      const option = buf[at]!;
      const size = buf[at + 1]! * 8;
      if (size === 0 || at + size > rest.end) break;
      if ((option === 1 || option === 2) && size === 8) {
        if (addresses.has(option)) {
          target = "::";
          addresses.clear();
          break;
        }
        if (readBig(buf, at + 2, 6) !== 0n) addresses.set(option, macText(buf, at + 2));
      }
      at += size;
    }
  }
  out.put("nd_target", target);
  out.put("nd_sll", addresses.get(1) ?? "00:00:00:00:00:00");
  out.put("nd_tll", addresses.get(2) ?? "00:00:00:00:00:00");
}

/** Name, offset, length and the least payload to show it. */
const CHECKSUMS: Readonly<Record<number, readonly [name: string, offset: number, bytes: number, least: number]>> = {
  [TCP]: ["tcp", 16, 2, 20], [UDP]: ["udp", 6, 2, 8], [SCTP]: ["sctp", 8, 4, 12], [ICMP]: ["icmp", 2, 2, 8], [ICMPV6]: ["icmp6", 2, 2, 4],
};

function checksum(rest: Rest, proto: number): string {
  const row = CHECKSUMS[proto];
  if (row === undefined || left(rest) < row[3]) return "";
  return ` ${row[0]}_csum:${rest.buf.readUIntBE(rest.at + row[1], row[2]).toString(16)}`;
}
