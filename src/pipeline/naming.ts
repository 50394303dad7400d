// A match of a switch in the names of its table: fields, and registers as `reg:<name>`. The other way of flow-writer.ts.
import { bigIntToIpv6, numberToIpv4 } from "packet-codec";

/** What has registers by name: the present layout or an earlier one. */
export interface NamedRegisters {
  register(name: string): { readonly field: string; readonly ofs: number; readonly bits: number; readonly ip: boolean };
}

type Value = number | bigint | string;

/** Whole values of what the table declares that it matches; what is matched in part, or declared by nobody, is left out. */
export function namedMatch(layout: NamedRegisters, table: { readonly matches: Iterable<string> }, match: Readonly<Record<string, unknown>>): Record<string, Value> {
  const out: Record<string, Value> = {};
  for (const name of table.matches) {
    const value = name.startsWith("reg:") ? register(layout, name.slice(4), match) : whole(match[name]);
    if (value !== undefined) out[name] = value;
  }
  return out;
}

const whole = (value: unknown): Value | undefined => (typeof value === "number" || typeof value === "bigint" || typeof value === "string" ? value : undefined);

function register(layout: NamedRegisters, name: string, match: Readonly<Record<string, unknown>>): Value | undefined {
  const { field, ofs, bits, ip } = layout.register(name);
  if (bits === 128) {
    const first = 4 * Number(field.slice("xxreg".length));
    const words = [0, 1, 2, 3].map((i) => whole(match[`reg${first + i}`]));
    if (words[0] === undefined || words[3] === undefined) return undefined;
    // Two words stand for an IPv4 address: see FlowWriter.
    if (ip && words[1] === undefined && words[2] === undefined) return numberToIpv4(Number(words[3]));
    if (words.some((w) => w === undefined)) return undefined;
    const value = words.reduce<bigint>((sum, w) => (sum << 32n) | BigInt(w!), 0n);
    return ip ? bigIntToIpv6(value) : value;
  }
  const given = match[field];
  const ones = (1n << BigInt(bits)) - 1n;
  if (typeof given === "number" || typeof given === "bigint") return Number((BigInt(given) >> BigInt(ofs)) & ones);
  if (typeof given !== "object" || given === null || !("mask" in given)) return undefined;
  const { value, mask } = given as { value: number | bigint; mask: number | bigint };
  if (((BigInt(mask) >> BigInt(ofs)) & ones) !== ones) return undefined;
  return Number((BigInt(value) >> BigInt(ofs)) & ones);
}
