// A frame for the fields of a packet, for tests that hand the same packet to different readers. Checksums are 0: nobody here looks at them.
import { encodeOxm, fields, type FieldName, type Match } from "node-openflow";

const scratch = Buffer.alloc(300);

/** The value of a field as it stands in a header; zeroes when it is not given. */
function bytes(match: Match, name: FieldName): Buffer {
  const value = match[name];
  const field = fields[name];
  if (value === undefined) return Buffer.alloc(field.bytes);
  encodeOxm(scratch, 0, field, value);
  const start = field.experimenter === undefined ? 4 : 8;
  return Buffer.from(scratch.subarray(start, start + field.bytes));
}

const number = (match: Match, name: FieldName): number => bytes(match, name).readUIntBE(0, fields[name].bytes);
const u16 = (n: number): Buffer => Buffer.from([n >>> 8, n & 0xff]);

/** `extension`: a destination options header in front of what IPv6 carries. */
export function frameOf(match: Match, payload = Buffer.from("hello, world"), extension = false): Buffer {
  const type = number(match, "eth_type");
  const head: Buffer[] = [bytes(match, "eth_dst"), bytes(match, "eth_src")];
  if ((number(match, "vlan_vid") & 0x1000) !== 0) head.push(u16(0x8100), u16((number(match, "vlan_vid") & 0xfff) | (number(match, "vlan_pcp") << 13)));
  if (type === 0x05ff) {
    head.push(u16(payload.length), payload);
    return Buffer.concat(head);
  }
  head.push(u16(type));
  if (type === 0x0806 || type === 0x8035) {
    head.push(Buffer.from("000108000604", "hex"), bytes(match, "arp_op"), bytes(match, "arp_sha"), bytes(match, "arp_spa"), bytes(match, "arp_tha"), bytes(match, "arp_tpa"));
  } else if (type === 0x0800) head.push(ipv4(match, payload));
  else if (type === 0x86dd) head.push(ipv6(match, payload, extension));
  else head.push(payload);
  return Buffer.concat(head);
}

function ipv4(match: Match, payload: Buffer): Buffer {
  const body = transport(match, payload);
  const frag = number(match, "ip_frag");
  const head = Buffer.from([0x45, (number(match, "ip_dscp") << 2) | number(match, "ip_ecn"), 0, 0, 0, 1, 0, 0, number(match, "ip_ttl"), number(match, "ip_proto"), 0, 0]);
  head.writeUInt16BE(20 + body.length, 2);
  head.writeUInt16BE(frag === 0 ? 0x4000 : frag === 1 ? 0x2000 : 0x2010, 6);
  return Buffer.concat([head, bytes(match, "ipv4_src"), bytes(match, "ipv4_dst"), body]);
}

function ipv6(match: Match, payload: Buffer, extension: boolean): Buffer {
  const frag = number(match, "ip_frag");
  let next = number(match, "ip_proto");
  let body = transport(match, payload);
  if (frag !== 0) {
    body = Buffer.concat([Buffer.from([frag === 3 ? 17 : next, 0, 0, frag === 1 ? 1 : 0x81, 0, 0, 0, 9]), body]);
    next = 44;
  }
  if (extension) {
    body = Buffer.concat([Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]), body]);
    next = 60;
  }
  const head = Buffer.alloc(8);
  head.writeUInt32BE(((6 << 28) | (((number(match, "ip_dscp") << 2) | number(match, "ip_ecn")) << 20) | number(match, "ipv6_flabel")) >>> 0);
  head.writeUInt16BE(body.length, 4);
  head[6] = next;
  head[7] = number(match, "ip_ttl");
  return Buffer.concat([head, bytes(match, "ipv6_src"), bytes(match, "ipv6_dst"), body]);
}

function transport(match: Match, payload: Buffer): Buffer {
  if (number(match, "ip_frag") === 3) return payload;
  switch (number(match, "ip_proto")) {
    case 6:
      return Buffer.concat([bytes(match, "tcp_src"), bytes(match, "tcp_dst"), Buffer.alloc(8), u16(0x5000 | number(match, "tcp_flags")), Buffer.alloc(6), payload]);
    case 17:
      return Buffer.concat([bytes(match, "udp_src"), bytes(match, "udp_dst"), u16(8 + payload.length), u16(0), payload]);
    case 132:
      return Buffer.concat([bytes(match, "sctp_src"), bytes(match, "sctp_dst"), Buffer.alloc(8), payload]);
    case 1:
      return Buffer.concat([bytes(match, "icmpv4_type"), bytes(match, "icmpv4_code"), Buffer.alloc(6), payload]);
    case 58:
      return icmpv6(match, payload);
    default:
      return payload;
  }
}

function icmpv6(match: Match, payload: Buffer): Buffer {
  const head = Buffer.concat([bytes(match, "icmpv6_type"), bytes(match, "icmpv6_code"), u16(0), bytes(match, "nd_reserved")]);
  const type = number(match, "icmpv6_type");
  if ((type !== 135 && type !== 136) || number(match, "icmpv6_code") !== 0) return Buffer.concat([head, payload]);
  const options: Buffer[] = [];
  if (match.ipv6_nd_sll !== undefined) options.push(Buffer.from([1, 1]), bytes(match, "ipv6_nd_sll"));
  if (match.ipv6_nd_tll !== undefined) options.push(Buffer.from([2, 1]), bytes(match, "ipv6_nd_tll"));
  return Buffer.concat([head, bytes(match, "ipv6_nd_target"), ...options]);
}
