// A match of a switch in the names of its table: fields, and registers as `reg:<name>`. The other way of flow-writer.ts.
import { bigIntToIpv6, numberToIpv4 } from "packet-codec";

/** What has registers by name: the present layout or an earlier one. */
export interface NamedRegisters {
  register(name: string): Place;
}
interface Place {
  readonly field: string;
  readonly ofs: number;
  readonly bits: number;
  readonly ip: boolean;
}

type Value = number | bigint | string;

/** Whole values of what the table declares that it matches; what is matched in part, or declared by nobody, is left out. */
export function namedMatch(layout: NamedRegisters, table: { readonly matches: Iterable<string> }, match: Readonly<Record<string, unknown>>): Record<string, Value> {
  const out: Record<string, Value> = {};
  for (const name of table.matches) {
    const value = name.startsWith("reg:") ? registerIn(layout.register(name.slice(4)), match) : whole(match[name]);
    if (value !== undefined) out[name] = value;
  }
  return out;
}

const whole = (value: unknown): Value | undefined => (typeof value === "number" || typeof value === "bigint" || typeof value === "string" ? value : undefined);

/** A register's value in the match of a flow; undefined: it does not match the whole of it. */
export function registerIn({ field, ofs, bits, ip }: Place, match: Readonly<Record<string, unknown>>): Value | undefined {
  if (bits === 128) {
    const words = wordsOf(field, match);
    if (words[0] === undefined || words[3] === undefined) return undefined;
    // Two words stand for an IPv4 address: see FlowWriter.
    if (ip && words[1] === undefined && words[2] === undefined) return numberToIpv4(words[3]);
    if (words.some((w) => w === undefined)) return undefined;
    return ip ? bigIntToIpv6(joined(words)) : joined(words);
  }
  const given = match[field];
  if (typeof given === "number" || typeof given === "bigint") return part(given, ofs, bits);
  if (typeof given !== "object" || given === null || !("mask" in given)) return undefined;
  const { value, mask } = given as { value: number | bigint; mask: number | bigint };
  return part(mask, ofs, bits) === 2 ** bits - 1 ? part(value, ofs, bits) : undefined;
}

/**
 * A register's value when a packet was sent up: its match has every word that is not 0, and no other. Of a register of 128 bits a bigint;
 * of an `ip` register an address as text, "" if it was never loaded.
 */
export function registerOfPacket(place: Place, match: Readonly<Record<string, unknown>>): Value {
  if (place.bits < 128) return registerIn(place, match) ?? 0;
  const words = wordsOf(place.field, match).map((w) => w ?? 0);
  if (!place.ip) return joined(words);
  if (words.every((w) => w === 0)) return "";
  return words[0] === 0 && words[1] === 0 && words[2] === 0 ? numberToIpv4(words[3]!) : bigIntToIpv6(joined(words));
}

/** Words of a wide register, the highest first: switches and decoders tell of these alone. */
function wordsOf(field: string, match: Readonly<Record<string, unknown>>): (number | undefined)[] {
  const first = 4 * Number(field.slice("xxreg".length));
  return [0, 1, 2, 3].map((i) => {
    const word = whole(match[`reg${first + i}`]);
    return word === undefined ? undefined : Number(word);
  });
}

const joined = (words: readonly (number | undefined)[]): bigint => words.reduce<bigint>((sum, w) => (sum << 32n) | BigInt(w!), 0n);

const part = (value: number | bigint, ofs: number, bits: number): number => Number((BigInt(value) >> BigInt(ofs)) & ((1n << BigInt(bits)) - 1n));
