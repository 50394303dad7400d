// overlay's facts: what encapsulation costs, how large tenant networks may be, and how two chassis and a network are encapsulated.
import { chassisTable, defineSettings, type EncapType, type ReadView } from "#app";
import { segmentTable } from "../l2/model.ts";

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

/** Ids of the segments that overlay itself derives begin so. */
export const OWN = "overlay/";

/** The network's VNI: what an app says of it, else the one that the overlay gave it. */
export function vniOf(view: ReadView, networkId: string): number | undefined {
  const tunnels = view.by(segmentTable, "network", networkId).filter((s) => s.type !== "vlan" && s.type !== "flat" && s.segmentation_id !== null);
  const said = tunnels.filter((s) => !s.id.startsWith(OWN)).sort((a, b) => (a.id < b.id ? -1 : 1));
  return (said[0] ?? tunnels[0])?.segmentation_id ?? undefined;
}
