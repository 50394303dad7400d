// overlay's facts: what encapsulation costs, how large tenant networks may be, and how two chassis and a network are encapsulated.
import {
  chassisTable, conflict, core, definePool, defineSettings, holderOf, numberOf, take, type EncapType, type FlowAction, type Outputs, type ReadView, type Scope, type SharedRegister, type Tx,
} from "#app";

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

/** OpenFlow port of each encapsulation's tunnel port, on every chassis. Ports end at 0xfeff. */
export const tunnelPort: Readonly<Record<EncapType, number>> = { geneve: 65_101, vxlan: 65_102, gre: 65_103 };
/** They are the same on every chassis: nobody draws one. */
export const tunnelPorts = definePool({ name: "tunnel-port", of: "ofport", min: 65_101, max: 65_103, about: "OpenFlow ports of the tunnel ports", taken: () => true });

/** Of the conjunction in the first table: the outer source is a chassis that may send here, and the VNI is one of those here. */
export const KNOWN_SENDER = 1;

/**
 * Frames that come by tunnels with a VNI that is no network's, from whoever may send here: those to the MACs are done with as is said of each, others
 * are dropped.
 */
export function receiveVni(out: Outputs, scope: Scope, vni: number, mac: string, actions: readonly FlowAction<never, SharedRegister>[]): void {
  const first = out.into(core);
  first.flow(scope, "classify", { priority: 50, match: { tunnel_id: vni }, actions: [{ type: "conjunction", id: KNOWN_SENDER, clause: 1, n_clauses: 2 }] });
  first.flow(scope, "classify", { priority: 51, match: { conj_id: KNOWN_SENDER, tunnel_id: vni }, actions: [] });
  first.flow(scope, "classify", { priority: 52, match: { conj_id: KNOWN_SENDER, tunnel_id: vni, eth_dst: mac }, actions });
}
