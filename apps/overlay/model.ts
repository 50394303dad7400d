// overlay's facts: what encapsulation costs, how large tenant networks may be, and how two chassis and a network are encapsulated.
import { chassisTable, conflict, definePool, defineSettings, holderOf, numberOf, take, type EncapType, type ReadView, type Tx } from "#app";

export const overlaySettings = defineSettings({
  mtu: { kind: { integer: [1280, 65_535] }, value: "BYTES", fallback: "1500", about: "path MTU between hypervisors; networks are smaller by what encapsulation needs" },
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
