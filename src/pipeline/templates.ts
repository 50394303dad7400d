// The bytes of a shape with holes: encoded once, then copied and filled for each value. Where a value goes is found by encoding the
// shape with values that differ in every bit, so this file knows nothing of how matches and actions are written; and a template that
// does not come out as encoding from nothing does is none. Values that a hole does not take (a prefix, an IPv6 address where IPv4
// addresses go, a number that is too large) are encoded the long way, which also knows what is wrong with them.
import type { FlowSpec, Shape } from "#app";
import { fields, writeIpv4, writeIpv6, writeMac, type FieldName } from "node-openflow";
import type { Layout, PipelineTable, Register } from "./layout.ts";
import { outline, placeholderName } from "./shapes.ts";

/** What a value is: text of an address (`register`: an IPv4 address where either family goes), or a whole number below `limit`. */
type Kind = "mac" | "ipv4" | "register" | "ipv6" | "number";
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

const LENGTH: Readonly<Record<Exclude<Kind, "number">, number>> = { mac: 6, ipv4: 4, register: 4, ipv6: 16 };
const LOW: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "00:00:00:00:00:00", ipv4: "0.0.0.0", register: "0.0.0.0", ipv6: "::" };
const HIGH: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "ff:ff:ff:ff:ff:ff", ipv4: "255.255.255.255", register: "255.255.255.255", ipv6: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" };
const OTHER: Readonly<Record<Exclude<Kind, "number">, string>> = { mac: "fa:16:3e:81:02:7d", ipv4: "10.129.3.254", register: "10.129.3.254", ipv6: "2001:db8:8000:1::7f:fe" };

/** Encodes a flow of the table from nothing, with a cookie of which both halves are this. */
export type WriteSpec = (spec: FlowSpec, cookie: number) => Buffer;

/**
 * The template of a shape; undefined when it has none, as it says a value where this cannot follow it.
 * @throws Error naming shape and value when the shape computes with a value
 */
export function makeTemplate(shape: Shape, table: PipelineTable, layout: Layout, write: WriteSpec): Template | undefined {
  const places = placesOf(outline(shape), table, layout);
  if (places === undefined) return undefined;
  const make = (value: unknown, cookie = 0): Buffer => write((shape.make as (value: unknown) => FlowSpec)(value), cookie);
  const names = [...places.keys()];
  const filled = (pick: (place: Place, name: string) => string | number): Record<string, string | number> => Object.fromEntries([...places].map(([name, place]) => [name, pick(place, name)]));
  const low = ({ kind }: Place): string | number => (kind === "number" ? 0 : LOW[kind]);
  try {
    const bytes = make(filled(low));
    // What an action says of the cookie (learn does) would have to be filled as well.
    const cookie = regions(bytes, make(filled(low), 0xffff_ffff));
    if (cookie?.length !== 1 || cookie[0]!.at !== COOKIE || cookie[0]!.length !== 8) return undefined;
    const holes: Hole[] = [];
    for (const name of names) {
      const place = places.get(name)!;
      const high = place.kind === "number" ? place.limit - 1 : HIGH[place.kind];
      const differs = regions(bytes, make(filled((p, n) => (n === name ? high : low(p)))));
      if (differs === undefined) return undefined;
      if (place.kind !== "number") {
        if (differs.some(({ length }) => length !== LENGTH[place.kind as keyof typeof LENGTH])) return undefined;
        for (const { at, length } of differs) holes.push({ name, kind: place.kind, at, bytes: length, shift: 0, limit: 0 });
        continue;
      }
      const one = regions(bytes, make(filled((p, n) => (n === name ? 1 : low(p)))));
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
    return end === copy.length && copy.equals(make(other)) ? template : undefined;
  } catch {
    return undefined; // what is wrong with it is said when it is encoded the long way
  }
}

/** Offset of the cookie in an OFPT_FLOW_MOD, OpenFlow 1.3.5 section 7.3.4.1. */
export const COOKIE = 8;

/** Writes the template at `off`, a multiple of 4, with its values; returns the offset after it, or -1 when a value does not go where it should. */
export function fillTemplate({ words, holes }: Template, buf: Buffer, bufWords: Int32Array, off: number, value: unknown): number {
  bufWords.set(words, off >> 2);
  for (let i = 0; i < holes.length; i++) {
    const hole = holes[i]!;
    const given = (value as Readonly<Record<string, unknown>>)[hole.name];
    const at = off + hole.at;
    if (typeof given === "string") {
      if (!writeText(buf, at, hole.kind, given)) return -1;
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

function writeText(buf: Buffer, at: number, kind: Kind, text: string): boolean {
  switch (kind) {
    case "mac":
      return writeMac(buf, at, text);
    case "ipv4":
      return writeIpv4(buf, at, text);
    case "register":
      // A field takes leading zeroes, as the switch's tools do; a register does not.
      return writeIpv4(buf, at, text) && text.length === 3 + digits(buf[at]!) + digits(buf[at + 1]!) + digits(buf[at + 2]!) + digits(buf[at + 3]!);
    case "ipv6":
      return writeIpv6(buf, at, text);
    case "number":
      return false;
  }
}

const digits = (octet: number): number => (octet < 10 ? 1 : octet < 100 ? 2 : 3);

/** What goes where in a shape, by its outline: undefined when a value stands elsewhere than as one of a match, a load or a set_field. */
function placesOf(spec: FlowSpec, table: PipelineTable, layout: Layout): Map<string, Place> | undefined {
  const places = new Map<string, Place>();
  // Where a flow leads may depend on the family that it matches.
  let sound = !holds(spec.priority) && !holds(spec.meter) && !holds(spec.match.eth_type);
  const put = (value: unknown, place: Place | undefined): void => {
    const name = placeholderName(value);
    if (name === undefined) {
      if (holds(value)) sound = false;
      return;
    }
    const known = places.get(name);
    if (place === undefined || (known !== undefined && known.kind !== place.kind)) sound = false;
    else places.set(name, { kind: place.kind, limit: Math.min(place.limit, known?.limit ?? place.limit) });
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

const ofRegister = ({ bits, limit, ip }: Register): Place | undefined => (bits <= 32 ? { kind: "number", limit } : ip ? { kind: "register", limit: 0 } : undefined);

function ofField(name: FieldName): Place | undefined {
  const field = fields[name];
  if (field === undefined || field.kind === "bytes" || field.bits > 32 !== (field.kind === "mac" || field.kind === "ipv6")) return undefined;
  return field.kind === "uint" ? { kind: "number", limit: 2 ** field.bits } : { kind: field.kind, limit: 0 };
}

/** Whether there is a placeholder anywhere in a value. */
function holds(value: unknown): boolean {
  if (placeholderName(value) !== undefined) return true;
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
