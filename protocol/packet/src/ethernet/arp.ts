// ARP for IPv4 over Ethernet (RFC 826).

import { ipv4ToNumber, macToBytes } from "../wire/address.ts";
import { ethertypes } from "./ethernet.ts";
import { Reader } from "../wire/reader.ts";

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
