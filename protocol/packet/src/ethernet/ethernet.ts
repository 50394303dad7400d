// Ethernet II and its VLAN tags, customer (802.1Q) and service (802.1ad) ones, as many as there are. The outermost tag is
// part of the header, because nearly every frame has one at most; those behind it are a list.

import { macToBytes } from "../wire/address.ts";
import { PacketValueError } from "../wire/errors.ts";
import { Reader } from "../wire/reader.ts";

export const ethertypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 } as const;

/** Ethertypes that announce a tag; 0x9100 is what was used for stacking before 802.1ad. */
const tagTypes: ReadonlySet<number> = new Set([ethertypes.vlan, ethertypes.serviceVlan, 0x9100]);

/** A tag behind the outermost one. */
export interface VlanTag {
  vlan: number;
  /** Default 0. */
  vlan_pcp?: number;
  /** Drop eligible indicator, default false. */
  vlan_dei?: boolean;
  /** The ethertype that announces the tag, default 0x8100. */
  vlan_tpid?: number;
}

export interface EthernetHeader {
  dst: string;
  src: string;
  /** Of the payload, behind all tags; below 0x600 it is an 802.3 length. */
  ethertype: number;
  /** VLAN id 0..4095 of the outermost tag; absent when untagged. */
  vlan?: number;
  /** 802.1p priority 0..7, with `vlan` only. */
  vlan_pcp?: number;
  /** Drop eligible, with `vlan` only; present when set. */
  vlan_dei?: boolean;
  /** What announces the outermost tag; present when it is not 0x8100. */
  vlan_tpid?: number;
  /** Tags behind the outermost, outer ones first; present when there are any. */
  inner_tags?: VlanTag[];
}

export interface Ethernet extends EthernetHeader {
  /** May end in padding: the network header knows its length. */
  payload: Buffer;
}

export function readEthernet(reader: Reader): Ethernet {
  const dst = reader.mac();
  const src = reader.mac();
  let ethertype = reader.u16();
  const tags: VlanTag[] = [];
  while (tagTypes.has(ethertype)) {
    const word = reader.u16();
    const tag: VlanTag = { vlan: word & 0xfff, vlan_pcp: word >>> 13 };
    if ((word & 0x1000) !== 0) tag.vlan_dei = true;
    if (ethertype !== ethertypes.vlan) tag.vlan_tpid = ethertype;
    tags.push(tag);
    ethertype = reader.u16();
  }
  const [outer, ...inner_tags] = tags;
  return { dst, src, ethertype, ...outer, ...(inner_tags.length > 0 ? { inner_tags } : {}), payload: reader.rest() };
}

/** @throws PacketError */
export function parseEthernet(buf: Uint8Array): Ethernet {
  return readEthernet(new Reader(buf));
}

function tagBytes(tag: VlanTag): Buffer {
  const { vlan, vlan_pcp = 0, vlan_dei = false, vlan_tpid = ethertypes.vlan } = tag;
  if (!(vlan >= 0 && vlan <= 0xfff)) throw new PacketValueError("a VLAN id of 0..4095", String(vlan));
  if (!(vlan_pcp >= 0 && vlan_pcp <= 7)) throw new PacketValueError("a VLAN priority of 0..7", String(vlan_pcp));
  if (!tagTypes.has(vlan_tpid)) throw new PacketValueError("the ethertype of a VLAN tag", String(vlan_tpid));
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16BE(vlan_tpid, 0);
  bytes.writeUInt16BE((vlan_pcp << 13) | (vlan_dei ? 0x1000 : 0) | vlan, 2);
  return bytes;
}

/** Not padded to 60 bytes: a switch does that where a wire needs it. @throws RangeError */
export function buildEthernet(header: EthernetHeader, payload: Uint8Array): Buffer {
  const { vlan, vlan_pcp, vlan_dei, vlan_tpid, inner_tags = [] } = header;
  if (vlan === undefined && inner_tags.length > 0) throw new PacketValueError("a VLAN id in front of inner tags", "none");
  const outer = vlan === undefined ? [] : [tagBytes({
    vlan, ...(vlan_pcp !== undefined && { vlan_pcp }), ...(vlan_dei !== undefined && { vlan_dei }), ...(vlan_tpid !== undefined && { vlan_tpid }),
  })];
  const ethertype = Buffer.alloc(2);
  ethertype.writeUInt16BE(header.ethertype, 0);
  return Buffer.concat([macToBytes(header.dst), macToBytes(header.src), ...outer, ...inner_tags.map(tagBytes), ethertype, payload]);
}
