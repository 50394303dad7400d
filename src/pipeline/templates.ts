// The bytes of a shape with holes: encoded once, then copied and filled for each value. Where a value goes is found by encoding the
// shape with values that differ in every bit, so this file knows nothing of how matches and actions are written; and a template that
// does not come out as encoding from nothing does is none. Values that a hole does not take (a prefix, an IPv6 address where IPv4
// addresses go, a number that is too large) are encoded the long way, which also knows what is wrong with them.
import type { FlowSpec, Shape } from "#app";
import { fields, writeIpv4, writeIpv6, writeMac, type FieldName } from "node-openflow";
import type { Layout, PipelineTable, Register } from "./layout.ts";
import { outline, Placeholder } from "./shapes.ts";

/** What a value is: text of an address, or a whole number below `limit`. */
type Kind = "mac" | "ipv4" | "ipv6" | "number";
interface Place {
  readonly kind: Kind;
  readonly limit: number;
}

/** Bytes that a value fills. A number ends in bit `shift` of the last of them. */
interface Hole {
  readonly name: string;
  readonly kind: Kind;
  readonly at: number;
  readonly bytes: number;
  readonly shift: number;
  readonly limit: number;
}

export interface Template {
  /** A whole OFPT_FLOW_MOD, in words; zero in the cookie and where values go. */
  readonly words: Int32Array;
  readonly holes: readonly Hole[];
}

const LENGTH: Readonly<Record<Exclude<Kind, "number">, number>> = { mac: 6, ipv4: 4, ipv6: 16 };
const LOW: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "00:00:00:00:00:00", ipv4: "0.0.0.0", ipv6: "::" };
const HIGH: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "ff:ff:ff:ff:ff:ff", ipv4: "255.255.255.255", ipv6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };
const OTHER: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "fa:16:3e:81:02:7d", ipv4: "10.129.3.254", ipv6: "2001:db8:8000:1::7f:fe" };

/** Encodes a flow of the table from nothing. */
export type WriteSpec = (spec: FlowSpec) => Buffer;

/**
 * The template of a shape; undefined when it has none, as it says a value where this cannot follow it.
 * @throws Error naming shape and value when the shape computes with a value
 */
export function makeTemplate(shape: Shape, table: PipelineTable, layout: Layout, write: WriteSpec): Template | undefined {
  const places = placesOf(outline(shape), table, layout);
  if (places === undefined) return undefined;
  const make = shape.make as (value: unknown) => FlowSpec;
  const names = [...places.keys()];
  const filled = (pick: (place: Place, name: string) => string | number): Record<string, string | number> => Object.fromEntries([...places].map(([name, place]) => [name, pick(place, name)]));
  const low = ({ kind }: Place): string | number => (kind === "number" ? 0 : LOW[kind]);
  try {
    const bytes = write(make(filled(low)));
    const holes: Hole[] = [];
    for (const name of names) {
      const place = places.get(name)!;
      const high = place.kind === "number" ? place.limit - 1 : HIGH[place.kind];
      const differs = regions(bytes, write(make(filled((p, n) => (n === name ? high : low(p))))));
      if (differs === undefined) return undefined;
      if (place.kind !== "number") {
        if (differs.some(({ length }) => length !== LENGTH[place.kind as keyof typeof LENGTH])) return undefined;
        for (const { at, length } of differs) holes.push({ name, kind: place.kind, at, bytes: length, shift: 0, limit: 0 });
        continue;
      }
      const one = regions(bytes, write(make(filled((p, n) => (n === name ? 1 : low(p))))));
      for (const { at, length } of differs) {
        const lowest = one?.find((r) => r.at === at + length - 1 && r.length === 1);
        if (lowest === undefined || length > 4) return undefined;
        holes.push({ name, kind: "number", at, bytes: length, shift: 31 - Math.clz32(bytes[lowest.at]! ^ one!.bytes[lowest.at]!), limit: place.limit });
      }
    }
    const template = { words: new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)), holes };
    const other = filled(({ kind, limit }) => (kind === "number" ? Math.floor(limit * 0.7) : OTHER[kind]));
    const copy = Buffer.alloc(bytes.length);
    const end = fillTemplate(template, copy, new Int32Array(copy.buffer, copy.byteOffset, copy.length >> 2), 0, other);
    return end === copy.length && copy.equals(write(make(other))) ? template : undefined;
  } catch {
    return undefined; // what is wrong with it is said when it is encoded the long way
  }
}

/** Writes the template at `off`, a multiple of 4, with its values; returns the offset after it, or -1 when a value does not go where it should. */
export function fillTemplate({ words, holes }: Template, buf: Buffer, bufWords: Int32Array, off: number, value: unknown): number {
  bufWords.set(words, off >> 2);
  for (let i = 0; i < holes.length; i++) {
    const hole = holes[i]!;
    const given = (value as Readonly<Record<string, unknown>>)[hole.name];
    const at = off + hole.at;
    if (typeof given === "string") {
      if (hole.kind === "mac" ? !writeMac(buf, at, given) : hole.kind === "ipv4" ? !writeIpv4(buf, at, given) : hole.kind !== "ipv6" || !writeIpv6(buf, at, given)) return -1;
    } else if (hole.kind === "number" && typeof given === "number" && given >>> 0 === given && given < hole.limit) {
      let rest = (given << hole.shift) >>> 0;
      for (let byte = at + hole.bytes - 1; byte >= at; byte--) {
        buf[byte] = buf[byte]! | rest;
        rest >>>= 8;
      }
    } else return -1;
  }
  return off + words.length * 4;
}

/** What goes where in a shape, by its outline: undefined when a value stands elsewhere than as one of a match, a load or a set_field. */
function placesOf(spec: FlowSpec, table: PipelineTable, layout: Layout): Map<string, Place> | undefined {
  const places = new Map<string, Place>();
  let sound = !holds(spec.priority) && !holds(spec.meter);
  const put = (value: unknown, place: Place | undefined): void => {
    if (!(value instanceof Placeholder)) {
      if (holds(value)) sound = false;
      return;
    }
    const known = places.get(value.name);
    if (place === undefined || (known !== undefined && known.kind !== place.kind)) sound = false;
    else places.set(value.name, { kind: place.kind, limit: Math.min(place.limit, known?.limit ?? place.limit) });
  };
  const named = (name: string): Place | undefined => (name.startsWith("reg:") ? ofRegister(layout.registerFor(table, name.slice(4))) : ofField(name as FieldName));
  for (const [name, value] of Object.entries(spec.match)) put(value, named(name));
  for (const action of spec.actions) {
    if (action.type === "load_reg") put(action.value, ofRegister(layout.registerFor(table, action.reg)));
    else if (action.type === "set_field" && action.mask === undefined) put(action.value, ofField(action.field));
    else if (holds(action)) sound = false;
  }
  return sound ? places : undefined;
}

const ofRegister = ({ bits, limit, ip }: Register): Place | undefined => (bits <= 32 ? { kind: "number", limit } : ip ? { kind: "ipv4", limit: 0 } : undefined);

function ofField(name: FieldName): Place | undefined {
  const field = fields[name];
  if (field === undefined || field.kind === "bytes" || field.bits > 32 !== (field.kind === "mac" || field.kind === "ipv6")) return undefined;
  return field.kind === "uint" ? { kind: "number", limit: 2 ** field.bits } : { kind: field.kind, limit: 0 };
}

/** Whether there is a placeholder anywhere in a value. */
function holds(value: unknown): boolean {
  if (value instanceof Placeholder) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(holds);
}

interface Region {
  readonly at: number;
  readonly length: number;
}

/** Where bytes differ, as runs; undefined when they are not equally many. */
function regions(a: Buffer, b: Buffer): (Region[] & { readonly bytes: Buffer }) | undefined {
  if (a.length !== b.length) return undefined;
  const out: { at: number; length: number }[] = [];
  for (let at = 0; at < a.length; at++) {
    if (a[at] === b[at]) continue;
    const last = out.at(-1);
    if (last !== undefined && last.at + last.length === at) last.length++;
    else out.push({ at, length: 1 });
  }
  return Object.assign(out, { bytes: b });
}
