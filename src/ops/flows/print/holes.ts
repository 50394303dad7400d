// Where values stand in the bytes of a flow: what rules fill with a key, an address or a port, as against what makes the flow the kind of flow it is.
import { fieldList, FLOW_MOD_MATCH_OFFSET, type Field } from "node-openflow";

/** Bytes that hold a value, of which the bits of `free` may be anything. Bytes of `bits` are in its order. */
export interface Hole {
  readonly at: number;
  readonly bytes: number;
  readonly kind: "number" | "port" | "mac" | "ipv4" | "ipv6" | "words" | "cookie";
  readonly free: Uint8Array;
  /** Parts of a number that have names of their own. */
  readonly slices: readonly Slice[];
}

/** Bits of a word from `shift` on, so many. */
export interface Slice {
  readonly shift: number;
  readonly bits: number;
}

/** Parts of a register word that values fill; word 16 and 17 are the lower and upper half of `metadata`. */
export type SlicesOf = (word: number) => readonly Slice[];

const byHeader = new Map<number, Field>();
for (const field of fieldList) {
  if (field.experimenter !== undefined) continue;
  byHeader.set(field.header, field);
  if (field.nxmExperimenter === undefined) byHeader.set(field.nxmHeader, field);
}

/** Numbers that rules fill, of all bits; what others have says what kind of flow it is. */
const NUMBERS: ReadonlySet<string> = new Set(["conj_id", "tunnel_id", "pkt_mark", "ct_mark", "tcp_src", "tcp_dst", "udp_src", "udp_dst", "sctp_src", "sctp_dst", "tun_gbp_id", "ct_zone"]);
const PORTS: ReadonlySet<string> = new Set(["in_port", "nxm_in_port"]);
const NICIRA = 0x2320;
/** Numbers of fewer bits say what kind of flow it is: their values are few. */
export const NARROW = 9;

/** Of a whole OFPT_FLOW_MOD; what this does not know has no holes. */
export function holesOf(flow: Buffer, slicesOf: SlicesOf): Hole[] {
  const holes: Hole[] = [];
  const match = FLOW_MOD_MATCH_OFFSET;
  const matchEnd = match + flow.readUInt16BE(match + 2);
  for (let at = match + 4; at < matchEnd; at += 4 + flow[at + 3]!) ofField(flow, at, slicesOf, holes);
  for (let at = (matchEnd + 7) & ~7; at + 8 <= flow.length; ) {
    const [type, length] = [flow.readUInt16BE(at), flow.readUInt16BE(at + 2)];
    if (type === 3 || type === 4) ofActions(flow, at + 8, at + length, slicesOf, holes); // write_actions, apply_actions
    else if (type === 6) holes.push(number(at + 4, 4)); // meter
    at += Math.max(length, 8);
  }
  return holes;
}

function ofActions(flow: Buffer, from: number, end: number, slicesOf: SlicesOf, holes: Hole[]): void {
  for (let at = from; at + 8 <= end; ) {
    const [type, length] = [flow.readUInt16BE(at), flow.readUInt16BE(at + 2)];
    if (type === 0) holes.push(...port(flow, at + 4, 4));
    else if (type === 22 || type === 21) holes.push(number(at + 4, 4)); // group, set_queue
    else if (type === 25) ofField(flow, at + 4, slicesOf, holes);
    else if (type === 0xffff && flow.readUInt32BE(at + 4) === NICIRA) ofNicira(flow, at, at + length, slicesOf, holes);
    at += Math.max(length, 8);
  }
}

/** Subtypes of Nicira's actions: ovs-actions(7), include/openvswitch/ofp-actions.h */
function ofNicira(flow: Buffer, at: number, end: number, slicesOf: SlicesOf, holes: Hole[]): void {
  const subtype = flow.readUInt16BE(at + 8);
  if (subtype === 7) {
    // reg_load: a value of 64 bits, of which so many count.
    const bits = (flow.readUInt16BE(at + 10) & 0x3f) + 1;
    const slices = [{ shift: 0, bits: Math.min(bits, 32) }];
    if (bits >= NARROW) holes.push({ ...number(at + 20, 4), slices, free: maskOf(4, slices) });
  } else if (subtype === 33) ofField(flow, at + 10, slicesOf, holes); // reg_load2
  else if (subtype === 34) holes.push(number(at + 12, 4)); // conjunction
  else if (subtype === 35) ofActions(flow, at + 24, end, slicesOf, holes); // ct
  else if (subtype === 36 && flow.readUInt16BE(at + 14) === 1) holes.push(plain(at + 16, 4, "ipv4")); // nat to one IPv4 address
  else if (subtype === 16) holes.push({ ...plain(at + 16, 8, "cookie"), free: Uint8Array.of(0, 0, 0, 0, 255, 255, 255, 255) }); // learn
}

function ofField(flow: Buffer, at: number, slicesOf: SlicesOf, holes: Hole[]): void {
  const header = flow.readUInt32BE(at);
  const field = byHeader.get((header & 0xfffffe00) >>> 0);
  if (field === undefined) return;
  const mask = (header & 0x100) === 0 ? undefined : flow.subarray(at + 4 + field.bytes, at + 4 + 2 * field.bytes);
  const add = (hole: Hole): void => {
    const from = hole.at - at - 4;
    const free = hole.free.map((byte, i) => byte & (mask?.[from + i] ?? 255));
    if (free.some((byte) => byte !== 0)) holes.push({ ...hole, free });
  };
  const { name, kind, bytes } = field;
  const value = at + 4;
  if (kind === "mac" || kind === "ipv4" || kind === "ipv6") add(plain(value, bytes, kind));
  else if (PORTS.has(name)) port(flow, value, bytes).forEach(add);
  else if (name === "vlan_vid" && mask === undefined) add({ ...number(value, 2), free: Uint8Array.of(0x0f, 0xff), slices: [{ shift: 0, bits: 12 }] });
  else if (NUMBERS.has(name)) add(bytes > 4 ? number(value + bytes - 4, 4) : number(value, bytes));
  else {
    const words = wordsOf(name);
    if (words.length === 0) return;
    const parts = words.map((word, i): Hole => {
      const slices = slicesOf(word);
      return { ...number(value + 4 * i, 4), slices, free: maskOf(4, slices) };
    });
    // Four words that all are free hold an address.
    if (parts.length === 4 && parts.every(({ free }) => free.every((byte) => byte === 255))) add(plain(value, 16, "words"));
    else parts.forEach(add);
  }
}

/** Words of a register field, the first in its bytes first. */
function wordsOf(name: string): readonly number[] {
  if (name === "metadata") return [17, 16];
  const [, kind, digits] = /^(x{0,2})reg(\d+)$/.exec(name) ?? [];
  if (kind === undefined) return [];
  const many = 1 << kind.length;
  return Array.from({ length: many }, (_, i) => Number(digits) * many + i);
}

const plain = (at: number, bytes: number, kind: Hole["kind"]): Hole => ({ at, bytes, kind, free: new Uint8Array(bytes).fill(255), slices: [] });
const number = (at: number, bytes: number): Hole => plain(at, bytes, "number");

/** From 0xff00 on ports have names of the protocol's, and so do those that need more than 16 bits: they stay what they are. */
function port(flow: Buffer, at: number, bytes: number): Hole[] {
  const high = flow[at + bytes - 2]!;
  if (high === 255 || (bytes === 4 && flow.readUInt16BE(at) !== 0)) return [];
  return [{ ...plain(at, bytes, "port"), free: Uint8Array.from([...new Array<number>(bytes - 2).fill(0), high < 128 ? 127 : 0, 255]) }];
}

/** The bits of the slices, of a number of so many bytes. */
function maskOf(bytes: number, slices: readonly Slice[]): Uint8Array {
  const out = new Uint8Array(bytes);
  for (const { shift, bits } of slices) for (let bit = shift; bit < shift + bits; bit++) out[bytes - 1 - (bit >> 3)]! |= 1 << (bit & 7);
  return out;
}
