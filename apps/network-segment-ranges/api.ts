// The resource network_segment_ranges. Configured ranges are rows too, made when somebody lists them: so they have ids, and tags.
import {
  answer, AUTO, conflict, badRequest, defineResource, invalidInput, nameUuid,
  type Alias, type Caller, type Check, type ReadView, type StandardRow, type Tx, type Values,
} from "#app";
import { isKnown, offeredNumbers, VLAN_MAX, VLAN_MIN } from "../provider/model.ts";
import { configured, held, madeRanges, offeredTo, rangedTypes, rangeResource, rangeTable, type RangedType, type SegmentRange } from "./model.ts";

const ADMIN = "rule:admin_only";
/** That administrators make: each is looked at when a network gets a number. */
const RANGES_MAX = 1000;
/** Numbers that one range shows, of either list. */
const SHOWN_MAX = 4096;
const VNI_MAX = 2 ** 24 - 1;
/** Of ids of configured ranges; made at random, once. */
const NAMESPACE = "6f0c7b0e52a94c1db0b5b7f6b1d94a3e";

/** When configured ranges were made: always. */
const ALWAYS = "1970-01-01T00:00:00Z";

type Numbers = Pick<SegmentRange, "network_type" | "physical_network" | "minimum" | "maximum">;

const rangeNumber: Check = { range: [1, 0xffff_ffff] };
const text = (max: number): Check => ({ null: "", else: { type: "string", max } });

/** Bounds of the type, in order, and nobody else's. @throws ApiError */
function checkNumbers(view: ReadView, range: Numbers, id?: string): void {
  const { network_type: type, physical_network: physnet, minimum, maximum } = range;
  const [low, high] = type === "vlan" ? [VLAN_MIN, VLAN_MAX] : [1, VNI_MAX];
  for (const [name, n] of [["minimum", minimum], ["maximum", maximum]] as const) if (n < low || n > high) throw invalidInput(`${name} ${n} is out of range for ${type} (${low} through ${high})`);
  if (minimum > maximum) throw invalidInput(`minimum ${minimum} is larger than maximum ${maximum}`);
  const other = madeRanges(view, type).find((r) => r.id !== id && r.physical_network === physnet && r.minimum <= maximum && r.maximum >= minimum);
  if (other !== undefined) throw conflict("NetworkSegmentRangeOverlaps", `Network segment range overlaps with range(s) with id ${other.id}.`);
}

/** @throws ApiError 400 of what the configuration says */
function checkMade({ id, default: isDefault }: SegmentRange): void {
  if (isDefault) throw badRequest(`Network Segment Range ${id} is a default segment range which could not be updated or deleted.`, "NetworkSegmentRangeDefaultReadOnly");
}

/** @throws ApiError 409 where a network that may have its number of this range would be outside of all that is left */
function checkUnused(view: ReadView, range: SegmentRange, left?: Numbers): void {
  for (const [n, project] of held(view, range)) {
    if (project === undefined) continue;
    if (left !== undefined && n >= left.minimum && n <= left.maximum) continue;
    if (range.shared || project === range.project_id) throw conflict("NetworkSegmentRangeReferencedByProject", `Network Segment Range ${range.id} is referenced by one or more tenant networks.`);
  }
}

/** What is configured, with the ids that it has for as long as it stays the same. */
const wantedDefaults = (view: ReadView): ReadonlyMap<string, Numbers> =>
  new Map(configured(view).map((r) => [nameUuid(NAMESPACE, JSON.stringify([r.network_type, r.physical_network, r.minimum, r.maximum])), r]));
const storedDefaults = (view: ReadView): readonly SegmentRange[] => rangedTypes.flatMap((type) => view.by(rangeTable, "space", `default/${type}`));

const prepare = {
  needed(view: ReadView, caller: Caller): boolean {
    if (!caller.admin) return false;
    const wanted = wantedDefaults(view);
    const stored = storedDefaults(view);
    return stored.length !== wanted.size || stored.some((r) => !wanted.has(r.id));
  },
  run(tx: Tx): void {
    const wanted = wantedDefaults(tx);
    for (const { id } of storedDefaults(tx)) if (!wanted.has(id)) tx.delete(rangeTable, id);
    for (const [id, numbers] of wanted) {
      if (tx.get(rangeTable, id) !== undefined) continue;
      tx.put(rangeTable, { id, project_id: "", name: "", description: "", created_at: ALWAYS, updated_at: ALWAYS, revision_number: 1, tags: [], default: true, shared: true, ...numbers });
    }
  },
};

function made(view: ReadView, standard: StandardRow, input: Values): SegmentRange {
  const type = input.network_type as string | undefined;
  if (type === undefined) throw invalidInput("network_type required");
  const given = (input.physical_network as string | undefined) ?? "";
  const physical_network = given === "" ? null : given;
  if (type === "vlan" && physical_network === null) throw invalidInput("physical_network required for vlan network segment ranges");
  if (type !== "vlan" && physical_network !== null) throw invalidInput(`physical_network prohibited for ${type} network segment ranges`);
  if (physical_network !== null && !isKnown(view, physical_network)) throw invalidInput(`physical_network '${physical_network}' unknown`);
  const shared = input.shared as boolean;
  if (!shared && standard.project_id === "") throw invalidInput("project_id required for a network segment range that is not shared");
  return {
    ...standard, project_id: shared ? "" : standard.project_id, default: false, shared, network_type: type as RangedType, physical_network, minimum: input.minimum as number, maximum: input.maximum as number,
  };
}

const range = defineResource(rangeResource, {
  collection: "network_segment_ranges",
  path: "network_segment_ranges",
  about: "Numbers that networks get whose makers name none: VLANs of a physical network, or VNIs; of all projects, or of one. What is configured is shown among them.",
  alias: "network-segment-range",
  table: rangeTable,
  notFound: { type: "NetworkSegmentRangeNotFound", message: (id) => `Network Segment Range ${id} could not be found.` },
  attributes: {
    default: { type: "boolean", about: "It is what the operator configured, and can not be changed." },
    shared: { type: "boolean", about: "For networks of all projects; else of its own, of which nobody else gets a number.", post: true, default: true },
    network_type: { type: "string", about: "vlan, vxlan, gre or geneve. Numbers of tunnels are one space: ranges of two kinds may not overlap either.", post: true, default: AUTO, check: { enum: rangedTypes }, filter: true },
    physical_network: { type: "string", about: "Of VLANs; null of tunnels.", post: true, default: AUTO, check: text(64), filter: true },
    minimum: { type: "integer", about: "The first.", post: true, put: true, required: true, check: rangeNumber },
    maximum: { type: "integer", about: "The last.", post: true, put: true, required: true, check: rangeNumber },
    used: { type: "object", about: `Numbers that are held, and the projects of their networks; the first ${SHOWN_MAX}.` },
    available: { type: "any", about: `Numbers that are free; the first ${SHOWN_MAX}.` },
  },
  policy: { create: ADMIN, get: ADMIN, update: ADMIN, delete: ADMIN },
  prepare,
  create(tx, standard, input) {
    if (tx.count(rangeTable, "space", "vlan") + tx.count(rangeTable, "space", "tunnel") >= RANGES_MAX) throw badRequest(`There are ${RANGES_MAX} network segment ranges at most.`, "TooManyNetworkSegmentRanges");
    const row = made(tx, standard, input);
    checkNumbers(tx, row);
    tx.put(rangeTable, row);
    return row;
  },
  update(tx, row, changes) {
    checkMade(row);
    const after: SegmentRange = { ...row, minimum: (changes.minimum as number | undefined) ?? row.minimum, maximum: (changes.maximum as number | undefined) ?? row.maximum };
    if (after.minimum !== row.minimum || after.maximum !== row.maximum) {
      checkNumbers(tx, after, row.id);
      checkUnused(tx, row, after);
    }
    tx.put(rangeTable, after);
    return after;
  },
  remove(tx, row) {
    checkMade(row);
    checkUnused(tx, row);
    tx.delete(rangeTable, row.id);
  },
  present(view, row) {
    const taken = new Map(Array.from(held(view, row), ([n, project]) => [n, project ?? ""]));
    const used = [...taken].sort(([a], [b]) => a - b).slice(0, SHOWN_MAX);
    const available: number[] = [];
    for (let n = row.minimum; n <= row.maximum && available.length < SHOWN_MAX; n++) if (!taken.has(n)) available.push(n);
    return { used: Object.fromEntries(used), available };
  },
});

export const resources = [range];
export const answers = [answer(offeredNumbers, offeredTo)];
export const aliases: readonly Alias[] = [{ alias: "network-segment-range", name: "Neutron Network Segment Range", description: "Ranges of segmentation ids can be listed and managed.", updated: "2018-11-29T00:00:00-00:00" }];
