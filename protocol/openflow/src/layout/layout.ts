// Structures as data. A layout is a list of parts, each a fixed or trailing piece of a structure; encodeParts and
// decodeParts walk it. The TypeScript type of a structure is derived from its layout (Shape), so each is said once.
//
// Over 400 lines: every kind of part, each a few lines that write and read the same.

import { badValue, malformed, refusal, truncated, type ErrorName } from "../wire/errors.ts";
import { decodeMatch, encodeMatch, matchLength, pad8, type Match } from "../match/match.ts";
import { judging, loosely } from "../wire/strict.ts";
import { ipv4Text, ipv6Text, macText, whole, writeIpv4, writeIpv6, writeMac, writeU16, writeU32 } from "../match/value.ts";

type Obj = Record<string, unknown>;

/** One piece of a structure. `size` is its length when fixed, -1 when it depends on the value. */
export interface Part<T = unknown> {
  readonly name: string;
  readonly size: number;
  encode(buf: Buffer, off: number, obj: Obj): number;
  /** Returns the offset after it. `end` bounds what may be read; for fixed sizes the caller has checked. */
  decode(buf: Buffer, off: number, end: number, obj: Obj): number;
  /** Only for the type checker. */
  readonly shape?: T;
}

type Simplify<T> = { [K in keyof T]: T[K] };
type Intersect<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void ? I : never;
/** The object that a layout describes. */
export type Shape<L extends readonly Part[]> = L extends readonly [] ? unknown : Simplify<Intersect<{ [I in keyof L]: L[I] extends Part<infer T> ? { t: T } : never }[number]> extends { t: infer T } ? T : never>;

export function encodeParts(layout: readonly Part[], buf: Buffer, off: number, obj: Obj): number {
  for (let i = 0; i < layout.length; i++) off = layout[i]!.encode(buf, off, obj);
  return off;
}

/** Reads a whole structure that must end exactly at `end` unless `open`. */
export function decodeParts(layout: readonly Part[], buf: Buffer, off: number, end: number, obj: Obj, what: string, name?: ErrorName): number {
  for (let i = 0; i < layout.length; i++) {
    const part = layout[i]!;
    if (off + Math.max(part.size, 0) > end) throw truncated(off, what, name);
    off = part.decode(buf, off, end, obj);
  }
  return off;
}

function int(name: string, obj: Obj, fallback: number | undefined, limit: number): number {
  const value = (obj[name] as number | undefined) ?? fallback;
  if (typeof value !== "number" || !(value >= 0 && value <= limit) || !Number.isInteger(value)) throw badValue(`${name}: ${String(value)} is not a whole number up to ${limit}`);
  return value;
}

type Named<N extends string, T> = { [K in N]: T };
type Maybe<N extends string, T> = { [K in N]?: T };

function uint(size: 1 | 2 | 4, limit: number) {
  function part<N extends string>(name: N): Part<Named<N, number>>;
  function part<N extends string>(name: N, fallback: number): Part<Maybe<N, number>>;
  function part(name: string, fallback?: number): Part {
    return {
      name, size,
      encode(buf, off, obj) {
        const value = int(name, obj, fallback, limit);
        if (size === 1) buf[off] = value;
        else if (size === 2) writeU16(buf, off, value);
        else writeU32(buf, off, value);
        return off + size;
      },
      decode(buf, off, _end, obj) {
        obj[name] = size === 1 ? buf[off]! : size === 2 ? buf.readUInt16BE(off) : buf.readUInt32BE(off);
        return off + size;
      },
    };
  }
  return part;
}

export const u8 = uint(1, 0xff);
export const u16 = uint(2, 0xffff);
export const u32 = uint(4, 0xffffffff);

/** 64 bits: bigint when decoded, either number type when encoded. */
export function u64<N extends string>(name: N): Part<Named<N, bigint>>;
export function u64<N extends string>(name: N, fallback: bigint): Part<Maybe<N, bigint>>;
export function u64(name: string, fallback?: bigint): Part {
  return {
    name, size: 8,
    encode(buf, off, obj) {
      writeU64(buf, off, (obj[name] as bigint | undefined) ?? fallback, name);
      return off + 8;
    },
    decode(buf, off, _end, obj) {
      obj[name] = buf.readBigUInt64BE(off);
      return off + 8;
    },
  };
}

/** A 64-bit number, also as two halves. */
export type U64 = number | bigint | { readonly hi: number; readonly lo: number };

export function writeU64(buf: Buffer, off: number, value: U64 | undefined, name: string): void {
  if (typeof value === "object") {
    if (value === null) throw badValue(`${name} takes a number`);
    writeU32(buf, off, whole(value.hi, 0xffffffff, name));
    writeU32(buf, off + 4, whole(value.lo, 0xffffffff, name));
  } else if (typeof value === "bigint") {
    if (value < 0n || value > 0xffffffffffffffffn) throw badValue(`${name}: ${value} is not a 64-bit number`);
    writeU32(buf, off, Number(value >> 32n));
    writeU32(buf, off + 4, Number(value & 0xffffffffn));
  } else {
    if (value === undefined || !Number.isSafeInteger(value) || value < 0) throw badValue(`${name}: ${String(value)} is not a 64-bit number`);
    writeU32(buf, off, Math.floor(value / 0x100000000));
    writeU32(buf, off + 4, value >>> 0);
  }
}

/** A 64-bit number as 16 hex digits: datapath ids. */
export function hex64<N extends string>(name: N): Part<Named<N, string>> {
  return {
    name, size: 8,
    encode(buf, off, obj) {
      const text = obj[name];
      if (typeof text !== "string" || !/^[0-9a-f]{16}$/i.test(text)) throw badValue(`${name}: ${String(text)} is not 16 hex digits`);
      buf.write(text, off, "hex");
      return off + 8;
    },
    decode(buf, off, _end, obj) {
      (obj as Record<string, string>)[name] = buf.toString("hex", off, off + 8);
      return off + 8;
    },
  };
}

/** What stood in the padding of a structure that was read, where it was not zero; the structure is written back with it, a copy of it without. */
const PADDING = Symbol("padding");
type Padded = Obj & { [PADDING]?: Map<Part, Uint8Array> };

/** Zeroes. Others may be there when read: they mean nothing, but are kept out of sight, so that the bytes come out as they went in. */
export function pad(size: number): Part {
  const part: Part = {
    name: "", size,
    encode(buf, off, obj) {
      const kept = (obj as Padded)[PADDING]?.get(part);
      if (kept === undefined) buf.fill(0, off, off + size);
      else buf.set(kept, off);
      return off + size;
    },
    decode(buf, off, _end, obj) {
      let any = 0;
      for (let i = off; i < off + size; i++) any |= buf[i]!;
      if (any !== 0) keep(obj, part, buf, off, off + size);
      return off + size;
    },
  };
  return part;
}

/** A look at what was read so far, and at `buf` from `off` on; only where the decoder judges. */
export function check(look: (obj: Obj, buf: Buffer, off: number, end: number) => void): Part {
  return {
    name: "", size: 0,
    encode: (_buf, off) => off,
    decode(buf, off, end, obj) {
      if (judging.strict) look(obj, buf, off, end);
      return off;
    },
  };
}

/** What is left of a structure: `size` zeroes by default, whatever came otherwise. */
export function slack(size: number): Part {
  const part: Part = {
    name: "", size: -1,
    encode(buf, off, obj) {
      const kept = (obj as Padded)[PADDING]?.get(part);
      if (kept === undefined) buf.fill(0, off, off + size);
      else buf.set(kept, off);
      return off + (kept?.length ?? size);
    },
    decode(buf, off, end, obj) {
      if (end - off !== size || buf.subarray(off, end).some((byte) => byte !== 0)) keep(obj, part, buf, off, end);
      return end;
    },
  };
  return part;
}

function keep(obj: Obj, part: Part, buf: Buffer, off: number, end: number): void {
  const padded = obj as Padded;
  if (padded[PADDING] === undefined) Object.defineProperty(padded, PADDING, { value: new Map() });
  padded[PADDING]!.set(part, Uint8Array.from(buf.subarray(off, end)));
}

/** A length of 16 bits, which the list around it writes and reads. */
export const length16: Part = { name: "", size: 2, encode: (_buf, off) => off + 2, decode: (_buf, off) => off + 2 };

/** Zeroes that Open vSwitch insists on, where it judges. */
export function zeros(size: number, name: ErrorName = "NXBRC_MUST_BE_ZERO"): Part {
  return {
    ...pad(size),
    decode(buf, off) {
      if (judging.strict) mustBeZero(buf, off, off + size, name);
      return off + size;
    },
  };
}

/** @throws OpenFlowError when a byte of the range is not zero */
export function mustBeZero(buf: Buffer, off: number, end: number, name: ErrorName = "NXBRC_MUST_BE_ZERO"): void {
  for (; off < end; off++) if (buf[off] !== 0) throw refusal(name, off, `0x${buf[off]!.toString(16)} where a zero must be`);
}

/** A constant that must be there. */
export function fixed(size: 2 | 4, value: number): Part {
  return {
    name: "", size,
    encode(buf, off) {
      if (size === 2) writeU16(buf, off, value);
      else writeU32(buf, off, value);
      return off + size;
    },
    decode(buf, off) {
      const found = buf.readUIntBE(off, size);
      if (found !== value) throw malformed(off, `expected 0x${value.toString(16)}, found 0x${found.toString(16)}`);
      return off + size;
    },
  };
}

export function mac<N extends string>(name: N): Part<Named<N, string>> {
  return {
    name, size: 6,
    encode(buf, off, obj) {
      const text = obj[name];
      if (typeof text !== "string" || !writeMac(buf, off, text)) throw badValue(`${name}: ${String(text)} is not a MAC address`);
      return off + 6;
    },
    decode(buf, off, _end, obj) {
      (obj as Record<string, string>)[name] = macText(buf, off);
      return off + 6;
    },
  };
}

export function ipv4<N extends string>(name: N): Part<Named<N, string>> {
  return {
    name, size: 4,
    encode(buf, off, obj) {
      const text = obj[name];
      if (typeof text !== "string" || !writeIpv4(buf, off, text)) throw badValue(`${name}: ${String(text)} is not an IPv4 address`);
      return off + 4;
    },
    decode(buf, off, _end, obj) {
      (obj as Record<string, string>)[name] = ipv4Text(buf, off);
      return off + 4;
    },
  };
}

export function ipv6<N extends string>(name: N): Part<Named<N, string>> {
  return {
    name, size: 16,
    encode(buf, off, obj) {
      const text = obj[name];
      if (typeof text !== "string" || !writeIpv6(buf, off, text)) throw badValue(`${name}: ${String(text)} is not an IPv6 address`);
      return off + 16;
    },
    decode(buf, off, _end, obj) {
      (obj as Record<string, string>)[name] = ipv6Text(buf, off);
      return off + 16;
    },
  };
}

/** Text in a field of fixed size, zero-terminated unless it fills it. */
export function text<N extends string>(name: N, size: number): Part<Named<N, string>> {
  return {
    name, size,
    encode(buf, off, obj) {
      const given = obj[name];
      if (typeof given !== "string") throw badValue(`${name} takes text`);
      const value = Buffer.from(given, "latin1");
      if (value.length > size) throw badValue(`${name}: longer than ${size} bytes`);
      buf.fill(0, off, off + size);
      value.copy(buf, off);
      return off + size;
    },
    decode(buf, off, _end, obj) {
      const nul = buf.indexOf(0, off);
      (obj as Record<string, string>)[name] = buf.toString("latin1", off, nul < 0 || nul > off + size ? off + size : nul);
      return off + size;
    },
  };
}

/** All bytes up to the end of the structure. Decoded: a view of the buffer, not a copy. */
export function rest<N extends string>(name: N): Part<Maybe<N, Uint8Array>> {
  return {
    name, size: -1,
    encode(buf, off, obj) {
      const data = obj[name] as Uint8Array | undefined;
      if (data === undefined) return off;
      if (!(data instanceof Uint8Array)) throw badValue(`${name} takes bytes`);
      if (off + data.length > buf.length) throw badValue(`${name} does not fit`);
      buf.set(data, off);
      return off + data.length;
    },
    decode(buf, off, end, obj) {
      (obj as Record<string, unknown>)[name] = buf.subarray(off, end);
      return end;
    },
  };
}

/** Structures one after another up to the end. `lengthAt`: they carry their own length there, as 16 bits. `look`: a strict decoder's look at each before it is read. */
export function list<N extends string, L extends readonly Part[]>(
  name: N, layout: L, lengthAt?: number, align = 1, badLength: ErrorName = "OFPBRC_BAD_LEN", look?: (buf: Buffer, off: number, end: number) => void,
): Part<Named<N, readonly Shape<L>[]>> {
  const fixedSize = layout.reduce((sum, part) => (part.size < 0 ? -1e9 : sum + part.size), 0);
  const leastSize = layout.reduce((sum, part) => sum + Math.max(part.size, 0), 0);
  return {
    name, size: -1,
    encode(buf, off, obj) {
      const items = obj[name];
      if (!Array.isArray(items)) throw badValue(`${name} takes a list`);
      for (const item of items as Obj[]) {
        const start = off;
        off = encodeParts(layout, buf, off, item);
        if (lengthAt !== undefined) writeU16(buf, start + lengthAt, off - start);
        if (align > 1) off = pad8(buf, start, off);
      }
      return off;
    },
    decode(buf, off, end, obj) {
      const items: Obj[] = [];
      while (off < end) {
        let stop = lengthAt === undefined ? off + fixedSize : end;
        if (judging.strict) look?.(buf, off, end);
        if (lengthAt !== undefined) {
          if (off + Math.max(lengthAt + 2, leastSize) > end) throw truncated(off, name, badLength);
          const length = buf.readUInt16BE(off + lengthAt);
          if (length < lengthAt + 2) throw malformed(off + lengthAt, `${name}: length ${length}`, badLength);
          stop = off + length;
        }
        if (stop > end) throw truncated(off, name, badLength);
        const item: Obj = {};
        const at = decodeParts(layout, buf, off, stop, item, name, badLength);
        if (at !== stop) throw malformed(at, `${name}: ${stop - at} bytes left over`, badLength);
        items.push(item);
        off = align > 1 ? off + ((stop - off + align - 1) & -align) : stop;
        if (off > end) throw truncated(stop, name, badLength);
      }
      (obj as Record<string, unknown>)[name] = items;
      return end;
    },
  };
}

/** An ofp_match that says what a packet had: its fields need no others before them. */
export const looseMatch: Part<{ match: Match }> = {
  name: "match", size: -1,
  encode: (buf, off, obj) => encodeMatch(buf, off, obj["match"] as Match),
  decode: (buf, off, end, obj) => loosely(() => match.decode(buf, off, end, obj)),
};

/** An ofp_match. */
export const match: Part<{ match: Match }> = {
  name: "match", size: -1,
  encode: (buf, off, obj) => encodeMatch(buf, off, obj["match"] as Match),
  decode(buf, off, end, obj) {
    obj["match"] = decodeMatch(buf, off, end);
    return off + ((matchLength(buf, off, end) + 7) & ~7);
  },
};

/** A number that has names; numbers without one stay numbers. */
export function named<N extends string, const V extends Readonly<Record<string, number>>>(size: 1 | 2 | 4, name: N, values: V): Part<Named<N, keyof V | number>> {
  const limit = size === 1 ? 0xff : size === 2 ? 0xffff : 0xffffffff;
  const names = new Map(Object.entries(values).map(([text, value]) => [value, text]));
  return {
    name, size,
    encode(buf, off, obj) {
      const given = obj[name];
      const value = typeof given === "string" ? values[given] : given;
      if (typeof value !== "number" || value >>> 0 !== value || value > limit) throw badValue(`${name}: ${String(given)} is none of ${Object.keys(values).join(", ")}`);
      if (size === 1) buf[off] = value;
      else if (size === 2) writeU16(buf, off, value);
      else writeU32(buf, off, value);
      return off + size;
    },
    decode(buf, off, _end, obj) {
      const value = buf.readUIntBE(off, size);
      (obj as Record<string, unknown>)[name] = names.get(value) ?? value;
      return off + size;
    },
  };
}

/** A structure of fixed size inside another. */
export function struct<N extends string, L extends readonly Part[]>(name: N, layout: L): Part<Named<N, Shape<L>>> {
  const size = layout.reduce((sum, part) => sum + part.size, 0);
  return {
    name, size,
    encode(buf, off, obj) {
      const value = obj[name];
      if (typeof value !== "object" || value === null) throw badValue(`${name} is missing`);
      return encodeParts(layout, buf, off, value as Obj);
    },
    decode(buf, off, end, obj) {
      const value: Obj = {};
      (obj as Record<string, unknown>)[name] = value;
      return decodeParts(layout, buf, off, end, value, name);
    },
  };
}

/** `count` 32-bit numbers. */
export function u32s<N extends string>(name: N, count: number): Part<Named<N, readonly number[]>> {
  return {
    name, size: count * 4,
    encode(buf, off, obj) {
      const values = obj[name] as readonly number[];
      if (!Array.isArray(values) || values.length !== count) throw badValue(`${name} takes ${count} numbers`);
      for (let i = 0; i < count; i++) writeU32(buf, off + i * 4, whole(values[i] as number, 0xffffffff, name));
      return off + count * 4;
    },
    decode(buf, off, _end, obj) {
      (obj as Record<string, unknown>)[name] = Array.from({ length: count }, (_, i) => buf.readUInt32BE(off + i * 4));
      return off + count * 4;
    },
  };
}
