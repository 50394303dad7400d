// Ethernet II with at most one 802.1Q tag, and ARP for IPv4 over it. A second tag, or a service tag (0x88a8), is left
// in `payload` under its own ethertype.

import { ipv4ToNumber, macToBytes } from "./address.ts";
import { Reader } from "./reader.ts";

export const ethertypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

export interface EthernetHeader {
  dst: string;
  src: string;
  /** Of the payload, behind the tag; below 0x600 it is an 802.3 length. */
  ethertype: number;
  /** VLAN id 0..4095; absent when untagged. */
  vlan?: number;
  /** 802.1p priority 0..7, with `vlan` only. */
  vlan_pcp?: number;
}

export interface Ethernet extends EthernetHeader {
  /** May end in padding: the network header knows its length. */
  payload: Buffer;
}

export function readEthernet(reader: Reader): Ethernet {
  const dst = reader.mac();
  const src = reader.mac();
  const ethertype = reader.u16();
  if (ethertype !== ethertypes.vlan) return { dst, src, ethertype, payload: reader.rest() };
  const tag = reader.u16();
  return { dst, src, ethertype: reader.u16(), vlan: tag & 0xfff, vlan_pcp: tag >>> 13, payload: reader.rest() };
}

/** @throws PacketError */
export function parseEthernet(buf: Uint8Array): Ethernet {
  return readEthernet(new Reader(buf));
}

/** Not padded to 60 bytes: a switch does that where a wire needs it. @throws RangeError */
export function buildEthernet(header: EthernetHeader, payload: Uint8Array): Buffer {
  const tagged = header.vlan !== undefined;
  const frame = Buffer.alloc((tagged ? 18 : 14) + payload.length);
  macToBytes(header.dst).copy(frame, 0);
  macToBytes(header.src).copy(frame, 6);
  if (header.vlan !== undefined) {
    if (header.vlan > 0xfff) throw new RangeError(`vlan ${header.vlan} is above 4095`);
    frame.writeUInt16BE(ethertypes.vlan, 12);
    frame.writeUInt16BE((header.vlan_pcp ?? 0) * 0x2000 + header.vlan, 14);
  }
  frame.writeUInt16BE(header.ethertype, tagged ? 16 : 12);
  frame.set(payload, tagged ? 18 : 14);
  return frame;
}

export const arpOps = { request: 1, reply: 2 } as const;

/** RFC 826 fields under their OXM names. */
export interface Arp {
  op: number;
  sha: string;
  spa: string;
  tha: string;
  tpa: string;
}

export function readArp(reader: Reader): Arp {
  if (reader.u16() !== 1) reader.unsupported("ARP hardware is not Ethernet", 2);
  if (reader.u16() !== ethertypes.ipv4) reader.unsupported("ARP protocol is not IPv4", 2);
  if (reader.u16() !== 0x0604) reader.malformed("ARP address lengths are not 6 and 4", 2);
  return { op: reader.u16(), sha: reader.mac(), spa: reader.ipv4(), tha: reader.mac(), tpa: reader.ipv4() };
}

/** @throws PacketError */
export function parseArp(buf: Uint8Array): Arp {
  return readArp(new Reader(buf));
}

/** 28 bytes. @throws RangeError */
export function buildArp(arp: Arp): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16BE(1, 0);
  bytes.writeUInt16BE(ethertypes.ipv4, 2);
  bytes.writeUInt16BE(0x0604, 4);
  bytes.writeUInt16BE(arp.op, 6);
  macToBytes(arp.sha).copy(bytes, 8);
  bytes.writeUInt32BE(ipv4ToNumber(arp.spa), 14);
  macToBytes(arp.tha).copy(bytes, 18);
  bytes.writeUInt32BE(ipv4ToNumber(arp.tpa), 24);
  return bytes;
}
