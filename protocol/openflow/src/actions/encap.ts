// The encap action of Open vSwitch with its properties: which header to put in front of a packet, and what to write into it.

import { finish, nicira } from "./parts.ts";
import { badValue, refusal, truncated } from "../wire/errors.ts";
import { pad8 } from "../match/match.ts";
import { judging } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

/** Properties exist for NSH only: its metadata type, and one TLV of metadata type 2. */
export type EncapProperty =
  | { readonly type: "nsh_mdtype"; readonly md_type: number }
  | { readonly type: "nsh_tlv"; readonly tlv_class: number; readonly tlv_type: number; readonly value: Uint8Array }
  | { readonly type: "unknown"; readonly prop_class: number; readonly prop_type: number; readonly data: Uint8Array };

export interface EncapAction {
  readonly type: "encap";
  /** Name space in the upper half, type in the lower: 0 Ethernet, 0x1894f NSH, 0x18847 and 0x18848 MPLS. */
  readonly new_pkt_type: number;
  /** Bytes of the header, 0 for what the properties make of it. */
  readonly hdr_size?: number;
  readonly properties?: readonly EncapProperty[];
}

const NSH = 4;
const MDTYPE = 1;
const TLV = 2;
const PACKET_TYPES = [0, 0x1894f, 0x18847, 0x18848];

export function encodeEncap(buf: Buffer, off: number, action: EncapAction): number {
  let pos = nicira(buf, off, 46);
  writeU16(buf, pos, whole(action.hdr_size ?? 0, 0xffff, "hdr_size"));
  writeU32(buf, pos + 2, whole(action.new_pkt_type, 0xffffffff, "new_pkt_type"));
  pos += 6;
  for (const property of action.properties ?? []) pos = encodeProperty(buf, pos, property);
  return finish(buf, off, pos);
}

function encodeProperty(buf: Buffer, pos: number, property: EncapProperty): number {
  const head = (propClass: number, type: number, length: number): void => {
    if (length > 0xff) throw badValue(`a property of ${length} bytes; encap takes 255`);
    writeU16(buf, pos, whole(propClass, 0xffff, "prop_class"));
    buf[pos + 2] = whole(type, 0xff, "prop_type");
    buf[pos + 3] = length;
  };
  switch (property.type) {
    case "nsh_mdtype":
      head(NSH, MDTYPE, 5); // without its padding
      buf[pos + 4] = whole(property.md_type, 0xff, "md_type");
      return pad8(buf, pos, pos + 5);
    case "nsh_tlv": {
      const end = pad8(buf, pos, pos + 8 + property.value.length);
      head(NSH, TLV, end - pos); // with its padding
      writeU16(buf, pos + 4, whole(property.tlv_class, 0xffff, "tlv_class"));
      buf[pos + 6] = whole(property.tlv_type, 0xff, "tlv_type");
      buf[pos + 7] = property.value.length;
      buf.set(property.value, pos + 8);
      return end;
    }
    case "unknown":
      head(property.prop_class, property.prop_type, 4 + property.data.length);
      buf.set(property.data, pos + 4);
      return pad8(buf, pos, pos + 4 + property.data.length);
  }
}

export function decodeEncap(buf: Buffer, off: number, end: number): EncapAction {
  if (end - off < 16) throw truncated(off, "encap", "OFPBAC_BAD_LEN");
  const packetType = buf.readUInt32BE(off + 12);
  if (judging.strict && !PACKET_TYPES.includes(packetType)) throw refusal("NXBAC_BAD_HEADER_TYPE", off + 12, `encap of packet type 0x${packetType.toString(16)}`);
  const properties: EncapProperty[] = [];
  for (let pos = off + 16; pos < end; ) {
    const length = buf[pos + 3]!;
    const stop = pos + ((length + 7) & ~7);
    if (length < 4 || stop > end) throw truncated(pos + 3, "encap property", "OFPBAC_BAD_LEN");
    properties.push(decodeProperty(buf, pos, length));
    pos = stop;
  }
  const size = buf.readUInt16BE(off + 10);
  return { type: "encap", new_pkt_type: packetType, ...(size === 0 ? {} : { hdr_size: size }), ...(properties.length === 0 ? {} : { properties }) };
}

function decodeProperty(buf: Buffer, pos: number, length: number): EncapProperty {
  const propClass = buf.readUInt16BE(pos);
  const type = buf[pos + 2]!;
  if (propClass === NSH && type === MDTYPE) {
    if (length > 8 || length < 5) {
      if (judging.strict && length > 8) throw refusal("NXBAC_BAD_ED_PROP", pos + 3, `an NSH metadata type of ${length} bytes`);
    } else return { type: "nsh_mdtype", md_type: buf[pos + 4]! };
  } else if (propClass === NSH && type === TLV) {
    const size = length < 8 ? 0 : buf[pos + 7]!;
    if (length === 8 + ((size + 7) & ~7)) {
      return { type: "nsh_tlv", tlv_class: buf.readUInt16BE(pos + 4), tlv_type: buf[pos + 6]!, value: buf.subarray(pos + 8, pos + 8 + size) };
    }
    if (judging.strict) throw refusal("NXBAC_BAD_ED_PROP", pos + 3, `an NSH TLV of ${size} bytes in a property of ${length}`);
  } else if (judging.strict) throw refusal("NXBAC_UNKNOWN_ED_PROP", pos, `encap property ${propClass}/${type}`);
  return { type: "unknown", prop_class: propClass, prop_type: type, data: buf.subarray(pos + 4, pos + length) };
}
