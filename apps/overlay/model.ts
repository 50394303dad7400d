// overlay's facts: what encapsulation costs, and how large tenant networks may be.
import { chassisTable, type EncapType, type ReadView } from "#app";

/** Path MTU between hypervisors. */
export const UNDERLAY_MTU = 1500;

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
  return UNDERLAY_MTU - (worst === 0 ? encapOverhead("geneve", 4) : worst);
}
