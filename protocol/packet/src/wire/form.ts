// Forms: how a value lies on the wire, reading and writing said once. A form is made of smaller ones, so the options of
// DHCP, DHCPv6, neighbour discovery and TCP are tables of forms and not functions. A form reads from a Reader and takes
// what it needs; "the rest" forms take everything, and whoever owns a length (`sized`, `tlv`, `whole`) checks that it was used up.

import { formatHexBytes, formatIpv6Bytes, ipv4ToNumber, ipv6ToBytes, macToBytes } from "./address.ts";
import { PacketValueError } from "./errors.ts";
import { Reader } from "./reader.ts";

export interface Form<T> {
  /** @throws PacketError */
  read(reader: Reader): T;
  /** @throws RangeError for a value that has no wire form */
  write(value: T): Uint8Array;
}

/** The values a form reads and writes. */
export type ValueOf<F> = F extends Form<infer T> ? T : never;

const nothing: Uint8Array = Buffer.alloc(0);

function unsigned(size: 1 | 2 | 4, read: (reader: Reader) => number): Form<number> {
  const max = 256 ** size - 1;
  return {
    read,
    write: (value) => {
      if (!Number.isInteger(value) || value < 0 || value > max) throw new PacketValueError(`a number of 0..${max}`, String(value));
      const bytes = Buffer.alloc(size);
      bytes.writeUIntBE(value, 0, size);
      return bytes;
    },
  };
}

export const u8 = unsigned(1, (reader) => reader.u8());
export const u16 = unsigned(2, (reader) => reader.u16());
export const u32 = unsigned(4, (reader) => reader.u32());

export const u64: Form<bigint> = {
  read: (reader) => reader.u64(),
  write: (value) => {
    if (value < 0n || value >= 1n << 64n) throw new PacketValueError("a number of 64 bits", String(value));
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return bytes;
  },
};

export const i32: Form<number> = {
  read: (reader) => reader.u32() | 0,
  write: (value) => {
    if (!Number.isInteger(value)) throw new PacketValueError("a whole number", String(value));
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value);
    return bytes;
  },
};

/** One byte, 0 or 1. */
export const flag: Form<boolean> = {
  read: (reader) => {
    const value = reader.u8();
    if (value > 1) reader.malformed("flag is neither 0 nor 1", 1);
    return value === 1;
  },
  write: (value) => Buffer.of(value ? 1 : 0),
};

/** A byte, of which `names` says what each bit is; bits without a name are read as 0. */
export function bits<N extends string>(names: Readonly<Record<N, number>>): Form<Record<N, boolean>> {
  const entries = Object.entries(names) as [N, number][];
  return {
    read: (reader) => {
      const byte = reader.u8();
      return Object.fromEntries(entries.map(([name, mask]) => [name, (byte & mask) !== 0])) as Record<N, boolean>;
    },
    write: (value) => Buffer.of(entries.reduce((byte, [name, mask]) => byte | (value[name] ? mask : 0), 0)),
  };
}

export const ipv4: Form<string> = {
  read: (reader) => reader.ipv4(),
  write: (value) => u32.write(ipv4ToNumber(value)),
};

export const ipv6: Form<string> = { read: (reader) => reader.ipv6(), write: ipv6ToBytes };

export const mac: Form<string> = { read: (reader) => reader.mac(), write: macToBytes };

/** One address or more. */
export const ipv4s: Form<string[]> = { read: (reader) => list(ipv4, 1, 4).read(reader), write: (value) => list(ipv4, 1).write(value) };
export const ipv6s: Form<string[]> = { read: (reader) => list(ipv6, 1, 16).read(reader), write: (value) => list(ipv6, 1).write(value) };

/** Everything that is left, as "01:ab:..": hardware addresses of any size. */
export const hexColons: Form<string> = {
  read: (reader) => formatHexBytes(reader.rest()),
  write: (value) => {
    if (value === "") return nothing;
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2})*$/i.test(value)) throw new PacketValueError("a hardware address", value);
    return Buffer.from(value.replaceAll(":", ""), "hex");
  },
};

/** Everything that is left, as a view. */
export const bytes: Form<Uint8Array> = { read: (reader) => reader.rest(), write: (value) => value };

/** Exactly `size` bytes. */
export function fixed(size: number): Form<Uint8Array> {
  return {
    read: (reader) => reader.view(size),
    write: (value) => {
      if (value.length !== size) throw new PacketValueError(`${size} bytes`, `${value.length} bytes`);
      return value;
    },
  };
}

/** Everything that is left as UTF-8. Terminators that some senders add are taken off. */
export const text: Form<string> = {
  read: (reader) => reader.rest().toString("utf8").replace(/\0+$/, ""),
  write: (value) => Buffer.from(value, "utf8"),
};

/** Bytes without meaning: read as whatever, written as zeros, and no part of the value. */
export function reserved(size: number): Form<undefined> {
  return {
    read: (reader) => {
      reader.skip(size);
      return undefined;
    },
    write: () => Buffer.alloc(size),
  };
}

/** No bytes at all: the option's presence is its value. */
export const empty: Form<true> = {
  read: () => true,
  write: () => nothing,
};

/** Names that begin with "_" are gaps and no part of the value. */
type Fields = Readonly<Record<string, Form<unknown>>>;
export type StructOf<F extends Fields> = { -readonly [K in keyof F as K extends `_${string}` ? never : K]: ValueOf<F[K]> };

/** Fields one behind the other. */
export function struct<F extends Fields>(fields: F): Form<StructOf<F>> {
  const entries = Object.entries(fields);
  return {
    read: (reader) => {
      const value: Record<string, unknown> = {};
      for (const [name, form] of entries) {
        const field = form.read(reader);
        if (!name.startsWith("_")) value[name] = field;
      }
      return value as StructOf<F>;
    },
    write: (value) => Buffer.concat(entries.map(([name, form]) => form.write((value as Record<string, unknown>)[name]))),
  };
}

/** Two objects in one, the first form's bytes in front. */
export function joined<A extends object, B extends object>(first: Form<A>, second: Form<B>): Form<A & B> {
  return {
    read: (reader) => ({ ...first.read(reader), ...second.read(reader) }),
    write: (value) => Buffer.concat([first.write(value), second.write(value)]),
  };
}

/** Items until the bytes end, at least `min` of them; with `size`, items of so many bytes each and nothing in between. */
export function list<T>(item: Form<T>, min = 0, size = 1): Form<T[]> {
  return {
    read: (reader) => {
      if (reader.left % size !== 0) reader.malformed(`list of ${reader.left} bytes is not made of ${size}`);
      const values: T[] = [];
      while (reader.left > 0) {
        const before = reader.pos;
        values.push(item.read(reader));
        if (reader.pos === before) reader.malformed("list item is empty");
      }
      if (values.length < min) reader.malformed("list is empty");
      return values;
    },
    write: (values) => {
      if (values.length < min) throw new PacketValueError("a list that is not empty", "[]");
      return Buffer.concat(values.map((value) => item.write(value)));
    },
  };
}

/** A length, then so many bytes of `form`, all of which it must use. */
export function sized<T>(length: Form<number>, form: Form<T>): Form<T> {
  return {
    read: (reader) => {
      const inside = reader.within(length.read(reader));
      const value = form.read(inside);
      inside.end("a field with a length");
      return value;
    },
    write: (value) => {
      const content = form.write(value);
      return Buffer.concat([length.write(content.length), content]);
    },
  };
}

/** `form` over everything that is left, which it must use up. */
export function whole<T>(form: Form<T>, reader: Reader, what: string): T {
  const value = form.read(reader);
  reader.end(what);
  return value;
}

/** `form`, or nothing when the bytes have ended before it. */
export function optional<T>(form: Form<T>): Form<T | undefined> {
  return {
    read: (reader) => (reader.left === 0 ? undefined : form.read(reader)),
    write: (value) => (value === undefined ? nothing : form.write(value)),
  };
}

/** A form that may hold itself: made when first used, and counted against the depth a Reader allows. */
export function nested<T>(make: () => Form<T>): Form<T> {
  return {
    read: (reader) => make().read(reader.deeper()),
    write: (value) => make().write(value),
  };
}

/** A prefix length in bits, then as many bytes of the IPv6 prefix as it needs. Text is "2001:db8::/32". */
export const shortPrefix6: Form<string> = {
  read: (reader) => {
    const length = reader.u8();
    if (length > 128) reader.malformed("prefix length is above 128", 1);
    return `${formatIpv6Bytes(maskIpv6(Buffer.concat([reader.view(Math.ceil(length / 8))], 16), length))}/${length}`;
  },
  write: (value) => {
    const { address, length } = prefix6Parts(value);
    return Buffer.concat([Buffer.of(length), maskIpv6(address, length).subarray(0, Math.ceil(length / 8))]);
  },
};

/** The address and the length of "2001:db8::/32". @throws PacketValueError */
export function prefix6Parts(value: string): { address: Buffer; length: number } {
  const match = /^([^/]+)\/([0-9]{1,3})$/.exec(value);
  const length = Number(match?.[2] ?? 129);
  if (match === null || length > 128) throw new PacketValueError("an IPv6 prefix", value);
  return { address: ipv6ToBytes(match[1]!), length };
}

/** Bits behind `length` become 0, in place. */
export function maskIpv6(address: Buffer, length: number): Buffer {
  for (let at = Math.floor(length / 8); at < 16; at++) {
    address[at] = at === length >>> 3 ? address[at]! & (0xff00 >>> (length & 7)) : 0;
  }
  return address;
}

/** One of the known things by its name, or anything else by its number with its bytes. */
export type Tagged<K extends string, Known> =
  | { [N in keyof Known & string]: { [P in K]: N } & { value: Known[N] } }[keyof Known & string]
  | ({ [P in K]: number } & { value: Uint8Array });

/** Number and form of each known name. */
export type TagTable = Readonly<Record<string, readonly [number, Form<unknown>]>>;
export type TagValues<T extends TagTable> = { [N in keyof T & string]: ValueOf<T[N][1]> };

export interface Tags<T extends TagTable, K extends string> extends Form<Tagged<K, TagValues<T>>> {
  /** undefined when the number has no name. */
  nameOf(code: number): (keyof T & string) | undefined;
}

/**
 * A code, a length and a value: the shape of nearly every option. `key` is what the code is called in the value.
 * Codes without a name, and a name's number given as a number, carry bytes.
 */
export function tlv<T extends TagTable, K extends string>(
  key: K, code: Form<number>, length: Form<number>, table: T,
): Tags<T, K> {
  type Item = Tagged<K, TagValues<T>>;
  const byCode = new Map(Object.entries(table).map(([name, [number, form]]) => [number, { name, form }]));
  return {
    nameOf: (number) => byCode.get(number)?.name,
    read: (reader) => {
      const number = code.read(reader);
      const inside = reader.within(length.read(reader));
      const known = byCode.get(number);
      if (known === undefined) return { [key]: number, value: inside.rest() } as unknown as Item;
      const value = whole(known.form, inside, `option ${known.name}`);
      return { [key]: known.name, value } as unknown as Item;
    },
    write: (item) => {
      const { [key]: tag, value } = item as unknown as Record<string, unknown>;
      const entry = typeof tag === "string" && Object.hasOwn(table, tag) ? table[tag]! : undefined;
      if (entry === undefined && typeof tag !== "number") throw new PacketValueError("the name or number of an option", String(tag));
      const content = entry === undefined ? (value as Uint8Array) : entry[1].write(value);
      return Buffer.concat([code.write(entry === undefined ? (tag as number) : entry[0]), length.write(content.length), content]);
    },
  };
}

/** A code, and for each code what follows it, until the bytes end. Codes without a name carry bytes. */
export function variant<T extends TagTable, K extends string>(key: K, code: Form<number>, table: T): Form<Tagged<K, TagValues<T>>> {
  const everything: Form<number> = { read: (reader) => reader.left, write: () => nothing };
  return tlv(key, code, everything, table);
}

/** The length of an option that counts its own two bytes. */
export const lengthWithHead: Form<number> = {
  read: (reader) => {
    const length = reader.u8();
    if (length < 2) reader.malformed("option length is below 2", 1);
    return length - 2;
  },
  write: (length) => u8.write(length + 2),
};

/**
 * Options until the bytes end, where some are a single byte without a value (padding). Behind the one called "end" comes
 * only padding, which is left out.
 */
export function optionList<T extends TagTable, K extends string, S extends string>(
  key: K, tags: Tags<T, K>, singles: Readonly<Record<S, number>>,
): Form<(Tagged<K, TagValues<T>> | { [P in K]: S })[]> {
  type Item = Tagged<K, TagValues<T>> | { [P in K]: S };
  const numbers: Readonly<Record<string, number>> = singles;
  const byNumber = new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
  return {
    read: (reader) => {
      const items: Item[] = [];
      while (reader.left > 0) {
        const single = byNumber.get(reader.bytes[reader.pos]!);
        if (single === undefined) {
          items.push(tags.read(reader));
          continue;
        }
        items.push({ [key]: single } as unknown as Item);
        reader.skip(single === "end" ? reader.left : 1);
      }
      return items;
    },
    write: (items) => Buffer.concat(items.map((item) => {
      const tag = (item as unknown as Record<string, unknown>)[key];
      const number = typeof tag === "string" && Object.hasOwn(numbers, tag) ? numbers[tag] : undefined;
      return number === undefined ? tags.write(item as Tagged<K, TagValues<T>>) : Buffer.of(number);
    })),
  };
}
