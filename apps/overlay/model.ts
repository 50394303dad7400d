// overlay's facts: what encapsulation costs, how large tenant networks may be, and how two chassis and a network are encapsulated.
import { ApiError, chassisTable, conflict, definePool, defineSettings, giveBack, holderOf, numberOf, PoolExhaustedError, take, type EncapType, type NumberRange, type ReadView, type Tx } from "#app";
import { chosenSegments, chosenSegmentTable } from "../l2/model.ts";

export const overlaySettings = defineSettings({
  mtu: { kind: { integer: [1280, 65_535] }, value: "BYTES", fallback: "1500", about: "path MTU between hypervisors, and of physical networks that --physical-network-mtus does not name; networks in tunnels are smaller by what encapsulation needs" },
  "physical-network-mtus": { kind: { namedNumbers: [68, 65_535] }, value: "NETWORK:BYTES,...", about: "MTU of physical networks" },
  "vni-ranges": { kind: { ranges: [1, 2 ** 24 - 1] }, value: "FROM:TO,...", about: "VNIs that networks get whose makers name none; all of 24 bits if there is no range" },
});

/**
 * Bytes of outer headers inside the underlay's MTU, inner Ethernet header included: outer IP 20 or 40, then
 * Geneve UDP 8 + 8 + 8 option space + 14, VXLAN UDP 8 + 8 + 14, GRE 4 + 4 key + 14.
 */
const overheadV4: Readonly<Record<EncapType, number>> = { geneve: 58, vxlan: 50, gre: 42 };
export const encapOverhead = (type: EncapType, outer: 4 | 6): number => overheadV4[type] + (outer === 6 ? 20 : 0);

/** Largest MTU a tenant network can have with the worst encapsulation that any pair of chassis may use. */
export function tenantMtu(view: ReadView): number {
  let worst = 0;
  for (const type of Object.keys(overheadV4) as EncapType[]) {
    for (const outer of [4, 6] as const) if (view.count(chassisTable, "encap", `${type}/${outer}`) > 0) worst = Math.max(worst, encapOverhead(type, outer));
  }
  return view.settings(overlaySettings).mtu - (worst === 0 ? encapOverhead("geneve", 4) : worst);
}

/** Largest MTU that a network can have: as its segments leave it, the narrowest of several. */
export function networkMtu(view: ReadView, networkId: string): number {
  const chosen = chosenSegments(view, networkId);
  if (chosen.length === 0) return tenantMtu(view);
  const settings = view.settings(overlaySettings);
  return Math.min(...chosen.map(({ type, physical_network: physnet }) => {
    if (type === "flat" || type === "vlan") return settings["physical-network-mtus"].get(physnet ?? "") ?? settings.mtu;
    return type === "local" ? settings.mtu : settings.mtu - encapOverhead(type, view.count(chassisTable, "encap", `${type}/6`) > 0 ? 6 : 4);
  }));
}

/** The encapsulation that networks in tunnels are said to have: the first kind that a host offers. */
export const commonEncap = (view: ReadView): EncapType =>
  (Object.keys(overheadV4) as EncapType[]).find((type) => ([4, 6] as const).some((outer) => view.count(chassisTable, "encap", `${type}/${outer}`) > 0)) ?? "geneve";

/** The encapsulation two lists share, the same seen from either end: least sum of ranks, then by name. */
export function sharedEncap(a: readonly string[], b: readonly string[]): EncapType | undefined {
  const common = a.filter((t) => b.includes(t)).sort((x, y) => a.indexOf(x) + b.indexOf(x) - a.indexOf(y) - b.indexOf(y) || (x < y ? -1 : 1));
  return common[0] as EncapType | undefined;
}

/**
 * VNIs: one space for all kinds of tunnel, each held by one network (the holder is its id), whoever asked for it. A network without a wish
 * of another app has the number of its key if that is free: so it costs a packet no flow.
 */
export const vniPool = definePool({ name: "vni", of: "vni", min: 1, max: 2 ** 24 - 1, about: "VNIs of networks in tunnels" });
/** What is drawn when nobody says which. */
export function vniRanges(view: ReadView): readonly NumberRange[] {
  const ranges = view.settings(overlaySettings)["vni-ranges"];
  return ranges.length === 0 ? ALL_VNIS : ranges;
}
const ALL_VNIS: readonly NumberRange[] = [[1, 2 ** 24 - 1]];

/** Whether a network travels by tunnels of whatever kind: nobody chose otherwise. */
export const isTunnelled = (view: ReadView, networkId: string): boolean => view.count(chosenSegmentTable, "network", networkId) === 0;

/** Ids of the segments that overlay itself derives begin so. */
export const OWN = "overlay/";

/** The network's VNI; undefined: it has none yet. What a segment says is a wish, and counts when the network holds that number. */
export const vniOf = (view: ReadView, networkId: string): number | undefined => numberOf(view, vniPool, "", networkId);

/**
 * Makes `n` the network's VNI; for apps whose callers choose it, in the transaction that stores the choice. It is the network's as long as
 * the app derives a segment with it.
 * @throws ApiError 409 TunnelIdInUse when another network has it
 */
export function takeVni(tx: Tx, networkId: string, n: number): void {
  const holder = holderOf(tx, vniPool, "", n);
  if (holder !== undefined && holder !== networkId) throw conflict("TunnelIdInUse", `Unable to create the network. The tunnel ID ${n} is in use.`);
  take(tx, vniPool, "", networkId, { n, claimed: true });
}
/**
 * A free VNI for the network.
 * @throws ApiError 503 NoNetworkAvailable
 */
export function drawVni(tx: Tx, networkId: string, prefer?: number): number {
  try {
    return take(tx, vniPool, "", networkId, { ...(prefer !== undefined && { prefer }), within: vniRanges(tx), claimed: true });
  } catch (error) {
    if (error instanceof PoolExhaustedError) throw new ApiError(503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.");
    throw error;
  }
}
export const giveBackVni = (tx: Tx, networkId: string): void => giveBack(tx, vniPool, "", networkId);
