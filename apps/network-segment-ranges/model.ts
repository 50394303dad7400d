// Ranges of segmentation ids: what is stored of them, which numbers of one are taken, and from which a project's networks may draw.
import { defineTable, poolNumberTable, resourceHandle, spaceOf, type Pool, type PoolNumber, type ReadView, type StandardRow } from "#app";
import { networkTable } from "../l2/model.ts";
import { vniPool } from "../overlay/model.ts";
import { configuredRanges, vlanPool, type NetworkType, type NumberedType, type OfferedRange } from "../provider/model.ts";

/** Those that have numbers. */
export const rangedTypes = ["vlan", "vxlan", "gre", "geneve"] as const satisfies readonly NetworkType[];
export type RangedType = (typeof rangedTypes)[number];

export interface SegmentRange extends StandardRow {
  /** What the operator configured: shown, and not to be changed. Networks draw from what is configured now, whatever such rows say. */
  readonly default: boolean;
  /** Of all projects; its project_id is "". Else of that project alone. */
  readonly shared: boolean;
  readonly network_type: RangedType;
  /** Of VLANs; null of tunnels. */
  readonly physical_network: string | null;
  readonly minimum: number;
  readonly maximum: number;
}
export const rangeResource = resourceHandle<SegmentRange>("network_segment_range");
export const rangeTable = defineTable<SegmentRange>()("network_segment_range", {
  resource: "network_segment_range",
  indexes: { /** `default/<type>` of configured ones, else `vlan`, or `tunnel` for all kinds: these have one space of numbers. */ space: (r) => (r.default ? `default/${r.network_type}` : spaceOfType(r.network_type)) },
});
const spaceOfType = (type: RangedType | "tunnel"): "vlan" | "tunnel" => (type === "vlan" ? "vlan" : "tunnel");

/** Those that somebody made in the space of a type. */
export const madeRanges = (view: ReadView, type: RangedType | "tunnel"): readonly SegmentRange[] => view.by(rangeTable, "space", spaceOfType(type));

/** Where numbers of a range are held. */
const poolOf = ({ network_type: type, physical_network: physnet }: Pick<SegmentRange, "network_type" | "physical_network">): readonly [Pool, part: string] => (type === "vlan" ? [vlanPool, physnet ?? ""] : [vniPool, ""]);

/** Numbers of a range that are held, by whatever type of network, in no order; with the project of the network; undefined: it is deleted, and switches forget its number. Costs the fewer of the range's numbers and those held. */
export function* held(view: ReadView, range: Pick<SegmentRange, "network_type" | "physical_network" | "minimum" | "maximum">): Iterable<readonly [n: number, projectId: string | undefined]> {
  const { minimum, maximum } = range;
  const space = spaceOf(...poolOf(range));
  const all = view.by(poolNumberTable, "part", space);
  const of = ({ n, holder }: PoolNumber): readonly [number, string | undefined] => [n, view.get(networkTable, holder)?.project_id];
  if (maximum - minimum < all.length) {
    for (let n = minimum; n <= maximum; n++) for (const row of view.by(poolNumberTable, "number", `${space}|${n}`)) yield of(row);
  } else for (const row of all) if (row.n >= minimum && row.n <= maximum) yield of(row);
}

/** Configured ranges, as rows are to show them. */
export const configured = (view: ReadView): readonly Pick<SegmentRange, "network_type" | "physical_network" | "minimum" | "maximum">[] =>
  rangedTypes.flatMap((network_type) => configuredRanges(view, network_type).map(({ physical_network, from, to }) => ({ network_type, physical_network, minimum: from, maximum: to })));

/** What is left of a range without others, which are in order and apart. */
export function without({ from, to, ...rest }: OfferedRange, taken: readonly OfferedRange[]): readonly OfferedRange[] {
  const left: OfferedRange[] = [];
  let next = from;
  for (const { from: first, to: last } of taken) {
    if (last < next) continue;
    if (first > to) break;
    if (first > next) left.push({ ...rest, from: next, to: first - 1 });
    next = last + 1;
  }
  return next > to ? left : [...left, { ...rest, from: next, to }];
}

const offer = ({ physical_network, minimum, maximum }: SegmentRange): OfferedRange => ({ physical_network, from: minimum, to: maximum });
const inOrder = (ranges: readonly OfferedRange[]): readonly OfferedRange[] => ranges.toSorted((a, b) => (a.physical_network === b.physical_network ? a.from - b.from : (a.physical_network ?? "") < (b.physical_network ?? "") ? -1 : 1));

/** First the project's own; then those of all and what is configured, but for what is some project's. */
export function offeredTo(view: ReadView, { type, project_id }: { readonly type: NumberedType; readonly project_id: string }): readonly (readonly OfferedRange[])[] {
  const known = configuredRanges(view, type);
  if (type === "local" || type === "flat") return [known];
  const made = madeRanges(view, type);
  if (made.length === 0) return [known];
  // Tunnels of whatever kind may have a number of any.
  const isOf = (r: SegmentRange): boolean => type === "tunnel" || r.network_type === type;
  const kept = made.filter((r) => !r.shared);
  const own = inOrder(kept.filter((r) => isOf(r) && r.project_id === project_id).map(offer));
  const all = [...inOrder(made.filter((r) => r.shared && isOf(r)).map(offer)), ...known];
  const others = new Map<string | null, OfferedRange[]>();
  for (const range of inOrder(kept.map(offer))) {
    const there = others.get(range.physical_network);
    if (there === undefined) others.set(range.physical_network, [range]);
    else there.push(range);
  }
  return [own, all.flatMap((range) => without(range, others.get(range.physical_network) ?? []))];
}
