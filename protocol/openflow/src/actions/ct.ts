// The connection tracking actions ct and nat. What ct executes are actions again; the lists are read and written by actions.ts,
// which hands its functions in.

import { checked, finish, nicira, rangeOf, readNxmHeader, subfield, writeNxmHeader, type SubField } from "./parts.ts";
import { badValue, refusal, truncated } from "../wire/errors.ts";
import { judging } from "../wire/strict.ts";
import { ipv4Text, ipv6Text, writeIpv4, writeIpv6, whole, writeU16, writeU32 } from "../match/value.ts";

/** Source or destination translation; without `kind`, that of the connection, in whichever direction. */
export interface Nat {
  readonly kind?: "src" | "dst";
  /** An address or the first of a range, IPv4 or IPv6. */
  readonly addr_min?: string;
  readonly addr_max?: string;
  readonly port_min?: number;
  readonly port_max?: number;
  readonly persistent?: boolean;
  readonly hash?: boolean;
  readonly random?: boolean;
}

/** `A`: any action. */
export interface CtAction<A> {
  readonly type: "ct";
  readonly commit?: boolean;
  readonly force?: boolean;
  readonly zone?: number | SubField;
  /** Where the packet goes on with ct_state set. */
  readonly table?: number;
  /** 21 ftp, 69 tftp. */
  readonly alg?: number;
  readonly nat?: Nat;
  readonly exec?: readonly A[];
}

/** Only inside ct, where CtAction.nat is the usual way to say it. */
export interface NatAction {
  readonly type: "nat";
  readonly nat: Nat;
}

const COMMIT = 1;
const FORCE = 2;

export function encodeCt<A>(buf: Buffer, off: number, action: CtAction<A>, encodeList: (buf: Buffer, off: number, actions: readonly A[]) => number): number {
  const pos = nicira(buf, off, 35);
  writeU16(buf, pos, (action.commit === true ? COMMIT : 0) | (action.force === true ? FORCE : 0));
  if (typeof action.zone === "object") {
    const zone = subfield({ zone: action.zone }, "zone");
    writeNxmHeader(buf, pos + 2, zone);
    writeU16(buf, pos + 6, rangeOf(zone, "zone"));
  } else {
    writeU32(buf, pos + 2, 0);
    writeU16(buf, pos + 6, whole(action.zone ?? 0, 0xffff, "zone"));
  }
  writeU32(buf, pos + 8, whole(action.table ?? 255, 0xff, "table") << 24);
  writeU16(buf, pos + 12, whole(action.alg ?? 0, 0xffff, "alg"));
  let end = pos + 14;
  if (action.nat !== undefined) end = encodeNat(buf, end, action.nat);
  if (action.exec !== undefined) end = encodeList(buf, end, action.exec);
  return finish(buf, off, end);
}

export function decodeCt<A extends { readonly type: string }>(
  buf: Buffer, off: number, end: number, decodeList: (buf: Buffer, off: number, length: number) => A[],
): CtAction<A> {
  if (end - off < 24) throw truncated(off, "ct", "OFPBAC_BAD_LEN");
  const pos = off + 10;
  const flags = buf.readUInt16BE(pos);
  const tableId = buf[pos + 8]!;
  const alg = buf.readUInt16BE(pos + 12);
  if (judging.strict && (flags & (COMMIT | FORCE)) === FORCE) throw refusal("OFPBAC_BAD_ARGUMENT", pos, "ct: force without commit");
  let zone: number | SubField = buf.readUInt16BE(pos + 6);
  if (buf.readUInt32BE(pos + 2) !== 0) {
    const { field, length } = readNxmHeader(buf, pos + 2);
    zone = checked(pos + 6, { field: field.name, ofs: zone >>> 6, bits: (zone & 63) + 1, ...(field.bytes === 0 ? { length } : {}) });
    if (judging.strict && zone.bits !== 16) throw refusal("OFPBAC_BAD_SET_LEN", pos + 6, `ct: a zone of ${zone.bits} bits`);
  }
  const exec = decodeList(buf, pos + 14, end - pos - 14);
  const first = exec[0] as A | NatAction | undefined;
  const nat = first?.type === "nat" ? (first as NatAction).nat : undefined;
  if (nat !== undefined) exec.shift();
  if (judging.strict && (flags & COMMIT) === 0) {
    // Only a translation that the connection has already needs no commit.
    if (exec.some((a) => a.type !== "nat" || !isBare((a as unknown as NatAction).nat)) || (nat !== undefined && !isBare(nat))) {
      throw refusal("OFPBAC_BAD_ARGUMENT", pos + 14, "ct: actions without commit");
    }
  }
  return {
    type: "ct",
    ...(flags & COMMIT ? { commit: true } : {}),
    ...(flags & FORCE ? { force: true } : {}),
    ...(zone === 0 ? {} : { zone }),
    ...(tableId === 255 ? {} : { table: tableId }),
    ...(alg === 0 ? {} : { alg }),
    ...(nat === undefined ? {} : { nat }),
    ...(exec.length === 0 ? {} : { exec }),
  };
}

/** Whether it only applies the translation that the connection has. */
function isBare(nat: Nat): boolean {
  return Object.keys(nat).length === 0;
}

// --- nat ---

const FLAGS = ["persistent", "hash", "random"] as const;
const SRC = 1;
const DST = 2;
const V4_MIN = 1;
const V4_MAX = 2;
const V6_MIN = 4;
const V6_MAX = 8;
const PORT_MIN = 16;
const PORT_MAX = 32;

export function encodeNat(buf: Buffer, off: number, nat: Nat): number {
  const pos = nicira(buf, off, 36);
  let flags = nat.kind === "src" ? SRC : nat.kind === "dst" ? DST : 0;
  FLAGS.forEach((name, i) => {
    if (nat[name] === true) flags |= 4 << i;
  });
  writeU16(buf, pos, 0);
  writeU16(buf, pos + 2, flags);
  let end = pos + 6;
  let present = 0;
  for (const [text, bit] of [[nat.addr_min, V4_MIN], [nat.addr_max, V4_MAX]] as const) {
    if (text === undefined) continue;
    if (text.includes(":")) {
      if (!writeIpv6(buf, end, text)) throw badValue(`nat: not an address: ${text}`);
      present |= bit << 2;
      end += 16;
    } else {
      if (!writeIpv4(buf, end, text)) throw badValue(`nat: not an address: ${text}`);
      present |= bit;
      end += 4;
    }
  }
  for (const [name, port, bit] of [["port_min", nat.port_min, PORT_MIN], ["port_max", nat.port_max, PORT_MAX]] as const) {
    if (port === undefined) continue;
    writeU16(buf, end, whole(port, 0xffff, name));
    present |= bit;
    end += 2;
  }
  writeU16(buf, pos + 4, present);
  return finish(buf, off, end);
}

export function decodeNat(buf: Buffer, off: number, end: number): Nat {
  if (end - off < 16) throw truncated(off, "nat", "OFPBAC_BAD_LEN");
  const flags = buf.readUInt16BE(off + 12);
  const present = buf.readUInt16BE(off + 14);
  const bad = (at: number, why: string): Error => refusal("OFPBAC_BAD_ARGUMENT", at, `nat: ${why}`);
  // Both families, or both directions, have no form as a value, so they are refused whoever asks.
  if ((flags & SRC && flags & DST) || (judging.strict && (flags > 31 || (flags & 24) === 24))) throw bad(off + 12, `flags 0x${flags.toString(16)}`);
  if (present & (V4_MIN | V4_MAX) && present & (V6_MIN | V6_MAX)) throw bad(off + 14, "a range of two address families");
  if (judging.strict) {
    if ((present & V4_MAX && !(present & V4_MIN)) || (present & V6_MAX && !(present & V6_MIN)) || (present & PORT_MAX && !(present & PORT_MIN))) throw bad(off + 14, "a range without its beginning");
    if (present & PORT_MIN && !(present & (V4_MIN | V6_MIN))) throw bad(off + 14, "ports without an address");
  }
  const nat: { -readonly [K in keyof Nat]: Nat[K] } = {};
  if (flags & SRC) nat.kind = "src";
  else if (flags & DST) nat.kind = "dst";
  FLAGS.forEach((name, i) => {
    if (flags & (4 << i)) nat[name] = true;
  });
  let pos = off + 16;
  const take = (bit: number, size: number): number => {
    if ((present & bit) === 0) return -1;
    if (pos + size > end) throw truncated(pos, "nat", "OFPBAC_BAD_ARGUMENT");
    pos += size;
    return pos - size;
  };
  const address = (min: number, max: number, size: 4 | 16): void => {
    const from = take(min, size);
    if (from >= 0) {
      nat.addr_min = size === 4 ? ipv4Text(buf, from) : ipv6Text(buf, from);
      if (judging.strict && isZero(buf, from, size)) throw bad(from, "the address is zero");
    }
    const to = take(max, size);
    if (to >= 0) {
      nat.addr_max = size === 4 ? ipv4Text(buf, to) : ipv6Text(buf, to);
      if (judging.strict && from >= 0 && buf.compare(buf, from, from + size, to, to + size) < 0) throw bad(to, "the range ends before it begins");
    }
  };
  address(V4_MIN, V4_MAX, 4);
  address(V6_MIN, V6_MAX, 16);
  const first = take(PORT_MIN, 2);
  if (first >= 0) {
    nat.port_min = buf.readUInt16BE(first);
    if (judging.strict && nat.port_min === 0) throw bad(first, "the port is zero");
  }
  const last = take(PORT_MAX, 2);
  if (last >= 0) {
    nat.port_max = buf.readUInt16BE(last);
    if (judging.strict && nat.port_max < (nat.port_min ?? 0)) throw bad(last, "the range ends before it begins");
  }
  return nat;
}

function isZero(buf: Buffer, off: number, size: number): boolean {
  for (let i = 0; i < size; i++) if (buf[off + i] !== 0) return false;
  return true;
}
