// A packet read from a frame, header by header, as far as Open vSwitch 3.1 reads it: lib/flow.c, miniflow_extract. What is cut or wrong ends
// the reading, never with an error: fields that were not reached stay 0.
import type { Match } from "node-openflow";
import { Packet } from "./packet.ts";
import { at } from "./places.ts";
import { ETH_TYPE, isMpls, PROTO } from "./prerequisites.ts";

export interface FrameOptions {
  /** in_port, tunnel fields, registers: what a frame does not say. */
  readonly metadata?: Match;
  /** Tags that are looked for, other_config:vlan-limit. */
  readonly vlanLimit?: number;
}

const FRAGMENT = 1;
const LATER = 2;
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, 51, 44]);

export function packetOfFrame(frame: Uint8Array, { metadata = {}, vlanLimit = 1 }: FrameOptions = {}): Packet {
  const packet = Packet.of(metadata);
  packet.length = frame.length;
  new Reader(Buffer.from(frame.buffer, frame.byteOffset, frame.length), packet).ethernet(vlanLimit);
  return packet;
}

class Reader {
  private readonly buf: Buffer;
  private readonly words: Uint32Array;
  private pos = 0;
  private end: number;

  constructor(buf: Buffer, packet: Packet) {
    this.buf = buf;
    this.words = packet.words;
    this.end = buf.length;
  }

  private left(bytes: number): boolean {
    return this.pos + bytes <= this.end;
  }

  private mac(word: number, from: number): void {
    this.words[word] = this.buf.readUInt16BE(from);
    this.words[word + 1] = this.buf.readUInt32BE(from + 2);
  }

  private address(word: number, from: number): void {
    for (let i = 0; i < 4; i++) this.words[word + i] = this.buf.readUInt32BE(from + 4 * i);
  }

  ethernet(vlanLimit: number): void {
    const { buf, words } = this;
    if (!this.left(14)) return;
    this.mac(at.eth_dst, 0);
    this.mac(at.eth_src, 6);
    this.pos = 12;
    for (let n = 0; n < Math.min(vlanLimit, 2) && isTag(buf.readUInt16BE(this.pos)) && this.left(6); n++) {
      words[n === 0 ? at.vlan_tpid : at.vlan_tpid_inner] = buf.readUInt16BE(this.pos);
      words[n === 0 ? at.vlan_tci : at.vlan_tci_inner] = buf.readUInt16BE(this.pos + 2) | 0x1000;
      this.pos += 4;
    }
    const type = this.etherType();
    words[at.eth_type] = type;
    if (isMpls(type)) this.mpls();
    else this.network(type);
  }

  private etherType(): number {
    const type = this.buf.readUInt16BE(this.pos);
    this.pos += 2;
    if (type >= 0x600) return type;
    // LLC and SNAP
    if (!this.left(8) || this.buf.toString("hex", this.pos, this.pos + 6) !== "aaaa03000000") return ETH_TYPE.none;
    const snap = this.buf.readUInt16BE(this.pos + 6);
    this.pos += 8;
    return snap >= 0x600 ? snap : ETH_TYPE.none;
  }

  private mpls(): void {
    for (let n = 0; this.left(4); n++) {
      const label = this.buf.readUInt32BE(this.pos);
      if (n < 3) this.words[at.mpls + n] = label;
      this.pos += 4;
      if ((label & 0x100) !== 0) break;
    }
  }

  private network(type: number): void {
    if (type === ETH_TYPE.ipv4) this.ipv4();
    else if (type === ETH_TYPE.ipv6) this.ipv6();
    else if (type === ETH_TYPE.arp || type === ETH_TYPE.rarp) this.arp();
  }

  private arp(): void {
    const { buf, words, pos } = this;
    if (!this.left(28) || buf.toString("hex", pos, pos + 6) !== "000108000604") return;
    const op = buf.readUInt16BE(pos + 6);
    if (op <= 0xff) words[at.nw_proto] = op;
    this.mac(at.arp_sha, pos + 8);
    words[at.nw_src] = buf.readUInt32BE(pos + 14);
    this.mac(at.arp_tha, pos + 18);
    words[at.nw_dst] = buf.readUInt32BE(pos + 24);
  }

  private ipv4(): void {
    const { buf, words, pos } = this;
    if (!this.left(20)) return;
    const header = (buf[pos]! & 15) * 4;
    const total = buf.readUInt16BE(pos + 2);
    if (header < 20 || !this.left(header) || !this.left(total) || header > total || this.end - pos - total > 0xffff) return;
    this.end = pos + total;
    words[at.nw_src] = buf.readUInt32BE(pos + 12);
    words[at.nw_dst] = buf.readUInt32BE(pos + 16);
    words[at.nw_tos] = buf[pos + 1]!;
    words[at.nw_ttl] = buf[pos + 8]!;
    words[at.nw_proto] = buf[pos + 9]!;
    const offset = buf.readUInt16BE(pos + 6);
    words[at.nw_frag] = (offset & 0x3fff) === 0 ? 0 : FRAGMENT | ((offset & 0x1fff) === 0 ? 0 : LATER);
    this.pos += header;
    this.transport(buf[pos + 9]!);
  }

  private ipv6(): void {
    const { buf, words, pos } = this;
    if (!this.left(40)) return;
    const payload = buf.readUInt16BE(pos + 4);
    if (!this.left(40 + payload) || this.end - pos - 40 - payload > 0xffff) return;
    this.pos += 40;
    this.end = this.pos + payload;
    this.address(at.ipv6_src, pos + 8);
    this.address(at.ipv6_dst, pos + 24);
    const proto = this.extensions(buf[pos + 6]!);
    if (proto < 0) {
      words[at.nw_frag] = 0;
      return;
    }
    const first = buf.readUInt32BE(pos);
    words[at.ipv6_label] = first & 0xfffff;
    words[at.nw_tos] = (first >>> 20) & 0xff;
    words[at.nw_ttl] = buf[pos + 7]!;
    words[at.nw_proto] = proto;
    this.transport(proto);
  }

  /** @returns the protocol behind extension headers, that of a fragment for a later one; -1 when they are cut */
  private extensions(next: number): number {
    const { buf } = this;
    let proto = next;
    while (EXTENSIONS.has(proto)) {
      if (!this.left(8)) return -1;
      const { pos } = this;
      proto = buf[pos]!;
      if (next === 44) {
        this.pos += 8;
        const offset = buf.readUInt16BE(pos + 2);
        if (offset !== 0) {
          this.words[at.nw_frag] = FRAGMENT;
          if ((offset & 0xfff8) !== 0) {
            this.words[at.nw_frag] = FRAGMENT | LATER;
            return 44;
          }
        }
      } else {
        const length = next === 51 ? (buf[pos + 1]! + 2) * 4 : (buf[pos + 1]! + 1) * 8;
        if (!this.left(length)) return -1;
        this.pos += length;
      }
      next = proto;
    }
    return proto;
  }

  private transport(proto: number): void {
    const { buf, words, pos } = this;
    if ((words[at.nw_frag]! & LATER) !== 0) return;
    switch (proto) {
      case PROTO.tcp: {
        if (!this.left(20)) return;
        const header = (buf[pos + 12]! >> 4) * 4;
        if (header < 20 || !this.left(header)) return;
        words[at.tcp_flags] = buf.readUInt16BE(pos + 12) & 0xfff;
        break;
      }
      case PROTO.udp:
        if (!this.left(8)) return;
        break;
      case PROTO.sctp:
        if (!this.left(12)) return;
        break;
      case PROTO.icmpv4:
      case PROTO.igmp:
        if (!this.left(8)) return;
        words[at.tp_src] = buf[pos]!;
        words[at.tp_dst] = buf[pos + 1]!;
        if (proto === PROTO.igmp) words[at.igmp_group] = buf.readUInt32BE(pos + 4);
        return;
      case PROTO.icmpv6:
        this.icmpv6();
        return;
      default:
        return;
    }
    words[at.tp_src] = buf.readUInt16BE(pos);
    words[at.tp_dst] = buf.readUInt16BE(pos + 2);
  }

  private icmpv6(): void {
    const { buf, words, pos } = this;
    if (!this.left(8)) return;
    const type = buf[pos]!;
    words[at.tp_src] = type;
    words[at.tp_dst] = buf[pos + 1]!;
    if (buf[pos + 1] !== 0 || (type !== 135 && type !== 136)) return;
    words[at.igmp_group] = buf.readUInt32BE(pos + 4);
    this.pos += 8;
    if (!this.left(16)) return;
    this.address(at.nd_target, this.pos);
    this.pos += 16;
    while (this.left(8)) {
      const option = buf[this.pos]!;
      const length = buf[this.pos + 1]! * 8;
      if (length === 0 || !this.left(length)) return;
      if ((option === 1 || option === 2) && length === 8) {
        const word = option === 1 ? at.arp_sha : at.arp_tha;
        if (words[word] !== 0 || words[word + 1] !== 0) {
          // The same option twice: none of them counts. The type of the first stays.
          words.fill(0, at.nd_target, at.nd_target + 4);
          words.fill(0, at.arp_sha, at.arp_sha + 2);
          words.fill(0, at.arp_tha, at.arp_tha + 2);
          return;
        }
        this.mac(word, this.pos + 2);
        if (words[at.tcp_flags] === 0) words[at.tcp_flags] = option;
      }
      this.pos += length;
    }
  }
}

const isTag = (type: number): boolean => type === ETH_TYPE.vlan || type === ETH_TYPE.qinq;
