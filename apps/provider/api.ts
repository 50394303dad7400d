// What provider networks add to networks of the API: how they travel, as administrators choose and see it.
import { AUTO, badRequest, extendResource, giveBack, invalidInput, type Alias, type ApiContext, type Attribute, type Check, type LiveView, type Tx, type Values } from "#app";
import { chosenSegments, chosenSegmentTable, networkResource, networkTable, type ChosenSegment, type Network } from "../l2/model.ts";
import { commonEncap, vniOf } from "../overlay/model.ts";
import { chooseForTenant, chooseSegments, moveVlan, noQinq, outerTag, SEGMENTS_MAX, type SegmentWish } from "./choice.ts";
import { vlanPool } from "./model.ts";

const ADMIN = { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only" } as const;
const NAMES = ["provider:network_type", "provider:physical_network", "provider:segmentation_id"] as const;

/** Empty and null are as good as absent. */
const text = (max: number): Check => ({ null: "", else: { type: "string", max } });
const number: Check = { or: [{ type: "integer" }, { type: "null" }] };

const attributes: Record<string, Attribute> = {
  "provider:network_type": {
    type: "string", about: "How it travels: local, flat, vlan, vxlan, gre or geneve.", post: true, put: true, default: AUTO, check: text(32), filter: true, within: "segments", alias: "provider", policy: ADMIN,
  },
  "provider:physical_network": { type: "string", about: "Physical network of a flat or VLAN one.", post: true, put: true, default: AUTO, check: text(64), filter: true, within: "segments", alias: "provider", policy: ADMIN },
  "provider:segmentation_id": { type: "integer", about: "VLAN, VNI or GRE key; a VLAN can be changed.", post: true, put: true, default: AUTO, check: number, filter: true, within: "segments", alias: "provider", policy: ADMIN },
  segments: {
    type: "object[]", about: "Several ways for hosts that do not have the same; shown of networks that have them, in place of the other three.", post: true, put: true, default: AUTO, alias: "multi-provider", policy: ADMIN,
    check: { list: { dict: { "provider:network_type": { check: text(32) }, "provider:physical_network": { check: text(64) }, "provider:segmentation_id": { check: number } } }, max: SEGMENTS_MAX },
  },
};

const transparency: Record<string, Attribute> = {
  vlan_transparent: { type: "boolean", about: "One VLAN tag of guests' own passes; not on flat networks.", post: true, default: AUTO, filter: true, alias: "vlan-transparent" },
  qinq: { type: "boolean", about: "One VLAN tag of guests' own passes, inside a tag of 802.1ad (0x88a8); of VLAN networks.", post: true, default: AUTO, filter: true, alias: "qinq" },
};

function wishOf(given: Values): SegmentWish {
  const [type, physnet, id] = NAMES.map((name) => given[name]);
  return {
    type: type === "" || type === null ? undefined : (type as string | undefined),
    physicalNetwork: physnet === "" || physnet === null ? undefined : (physnet as string | undefined),
    segmentationId: id === null ? undefined : (id as number | undefined),
  };
}
const isSaid = (wish: SegmentWish): boolean => Object.values(wish).some((value) => value !== undefined);

function create(tx: Tx, network: Network, input: Values, ctx: ApiContext): void {
  const at = { tx, ctx };
  const wish = wishOf(input);
  const segments = (input.segments as readonly Values[] | undefined) ?? [];
  if (segments.length > 0) {
    if (isSaid(wish)) throw badRequest("Segments and provider values cannot both be set.", "SegmentsSetInConjunctionWithProviders");
    chooseSegments(at, network, segments.map(wishOf));
  } else if (isSaid(wish)) chooseSegments(at, network, [wish]);
  else chooseForTenant(at, network);
  if (input.qinq === true || input.vlan_transparent === true) passTags(tx, network, input.qinq === true, input.vlan_transparent === true);
}

/** Tags of guests pass from now on, inside those of the network's VLANs. */
function passTags(tx: Tx, network: Network, qinq: boolean, transparent: boolean): void {
  if (qinq && transparent) throw invalidInput("qinq and vlan_transparent cannot both be set: a VLAN's own tag is of 802.1ad or of 802.1Q");
  const segments = chosenSegments(tx, network.id);
  if (qinq && !segments.some((s) => s.type === "vlan")) throw noQinq();
  for (const segment of segments) {
    const outer = outerTag({ qinq, vlan_transparent: transparent }, segment.type);
    if (outer !== undefined) tx.put(chosenSegmentTable, { ...segment, outer_tag: outer });
  }
  tx.put(networkTable, { ...(tx.get(networkTable, network.id) ?? network), ...(qinq ? { qinq } : { vlan_transparent: true }) });
}

/** A value as text, in the one spelling of nothing: "" and null are what an attribute, or a key of a segment, is that is not there. */
function textOf(name: string, value: unknown): string {
  const one = (v: unknown): unknown => (v === undefined || v === "" ? null : v);
  return JSON.stringify(name === "segments" ? (value as readonly Values[]).map((segment) => NAMES.map((key) => one(segment[key]))) : one(value));
}

/** What is said again may be what it is; only a VLAN can be another. */
function update(tx: Tx, network: Network, changes: Values): void {
  const given = [...NAMES, "segments"].filter((name) => changes[name] !== undefined);
  if (given.length === 0) return;
  const shown = show(tx, network);
  const now: Values = { ...shown, segments: shown.segments ?? [shown] };
  const differing = given.filter((name) => textOf(name, changes[name]) !== textOf(name, now[name]));
  if (differing.length === 0) return;
  const [segment, more] = chosenSegments(tx, network.id);
  const vlan = changes["provider:segmentation_id"];
  if (segment?.type !== "vlan" || more !== undefined || differing.join() !== "provider:segmentation_id" || typeof vlan !== "number") {
    throw invalidInput(`Plugin does not support updating the following provider network attributes: ${differing.join(", ")}`);
  }
  moveVlan(tx, segment, vlan);
}

const shownAs = ({ type, physical_network, segmentation_id }: Pick<ChosenSegment, "type" | "physical_network" | "segmentation_id">): Record<string, unknown> => ({
  "provider:network_type": type, "provider:physical_network": physical_network, "provider:segmentation_id": segmentation_id,
});
function show(view: Parameters<typeof chosenSegments>[0], network: Network): Record<string, unknown> {
  const chosen = chosenSegments(view, network.id);
  if (chosen.length > 1) return { segments: chosen.map(shownAs) };
  return shownAs(chosen[0] ?? { type: commonEncap(view), physical_network: null, segmentation_id: vniOf(view, network.id) ?? null });
}

const ofNetwork = extendResource(networkResource, {
  attributes: { ...attributes, ...transparency },
  create,
  update,
  remove(tx, network) {
    for (const { type, physical_network: physnet } of chosenSegments(tx, network.id)) if (type === "vlan") giveBack(tx, vlanPool, physnet!, network.id);
  },
  present: (view: LiveView, network) => ({ ...show(view, network), ...(network.qinq === undefined && { qinq: false }), ...(network.vlan_transparent === undefined && { vlan_transparent: false }) }),
});

export const extend = [ofNetwork];
export const aliases: readonly Alias[] = [
  { alias: "provider", name: "Provider Network", description: "How networks travel can be chosen and seen.", updated: "2012-09-07T10:00:00-00:00" },
  { alias: "vlan-transparent", name: "Vlantransparent", description: "Networks can let tags of guests pass.", updated: "2015-03-23T09:00:00-00:00" },
  { alias: "qinq", name: "QinQ networks", description: "Networks can let tags of guests pass inside tags of 802.1ad.", updated: "2024-12-02T10:00:00-00:00" },
  { alias: "multi-provider", name: "Multi Provider Network", description: "A network can travel in several ways.", updated: "2013-06-27T10:00:00-00:00" },
];
