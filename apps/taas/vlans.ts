// Which tags a tap flow copies: ranges as text, and ranges as matches.
import { VLAN_PRESENT } from "#app";

/** VLAN ids from one to another, both included. */
export type VlanRange = readonly [from: number, to: number];

/** Highest VLAN id; 4095 is reserved. IEEE 802.1Q table 9-2 */
const VLAN_MAX = 4094;
/** Ranges of one filter. */
export const RANGES_MAX = 32;

/** `10,20-30`, in order and without overlaps. @throws RangeError that says what is wrong with it */
export function parseVlans(text: string): VlanRange[] {
  const given = text.split(",").map((part): VlanRange => {
    const [from, to = from] = part.split("-").map(Number);
    if (from! > VLAN_MAX || to! > VLAN_MAX) throw new RangeError(`${part} is beyond ${VLAN_MAX}, the highest VLAN id`);
    if (from! > to!) throw new RangeError(`${part} ends before it begins`);
    return [from!, to!];
  });
  if (given.length > RANGES_MAX) throw new RangeError(`it has ${given.length} ranges, at most ${RANGES_MAX} may be given`);
  const merged: VlanRange[] = [];
  for (const [from, to] of given.toSorted((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last === undefined || from > last[1] + 1) merged.push([from, to]);
    else merged[merged.length - 1] = [last[0], Math.max(last[1], to)];
  }
  return merged;
}

/** Frames that some of several filters let through, each set of them once: `among` has their places. */
export interface VlanPart {
  /** Undefined: frames that no other part has. */
  readonly vlan_vid: { readonly value: number; readonly mask: number } | undefined;
  readonly among: readonly number[];
}

/** Parts whose matches do not overlap, but for the one without. A filter without ranges lets everything through. */
export function partsOf(filters: readonly (readonly VlanRange[])[]): VlanPart[] {
  const passing = (vlan: number): number[] => filters.flatMap((ranges, i) => (ranges.length === 0 || ranges.some(([from, to]) => vlan >= from && vlan <= to) ? [i] : []));
  const always = filters.flatMap((ranges, i) => (ranges.length === 0 ? [i] : []));
  // Between two neighbours of these nothing changes.
  const edges = [...new Set(filters.flatMap((ranges) => ranges.flatMap(([from, to]) => [from, to + 1])))].sort((a, b) => a - b);
  const parts: VlanPart[] = edges.slice(0, -1).flatMap((from, i) => {
    const among = passing(from);
    return among.length === always.length ? [] : blocks(from, edges[i + 1]!).map((vlan_vid) => ({ vlan_vid, among }));
  });
  return always.length === 0 ? parts : [...parts, { vlan_vid: undefined, among: always }];
}

/** VLAN ids from `from` up to, and without, `end`, as few prefixes as possible. */
function blocks(from: number, end: number): { readonly value: number; readonly mask: number }[] {
  const out: { value: number; mask: number }[] = [];
  for (let at = from; at < end;) {
    let size = at === 0 ? VLAN_PRESENT : at & -at;
    while (at + size > end) size /= 2;
    out.push({ value: VLAN_PRESENT | at, mask: VLAN_PRESENT | (0xfff & ~(size - 1)) });
    at += size;
  }
  return out;
}
