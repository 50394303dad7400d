// overlay's facts: what encapsulation costs, how large tenant networks may be, and how two chassis and a network are encapsulated.
import { ApiError, baseScope, callTable, chassisTable, conflict, core, definePool, defineScope, defineSettings, defineTable, giveBack, holderOf, load, numberOf, PoolExhaustedError, setField, take, toEntrance, toStage, type Chassis, type EncapType, type Entrance, type FlowAction, type NumberRange, type Outputs, type ReadView, type Row, type Scope, type SharedRegister, type Tx } from "#app";
import { chosenSegments, chosenSegmentTable, isTransparent, type Network } from "../l2/model.ts";
import { overlay } from "./tables.ts";

export const overlaySettings = defineSettings({
  mtu: { kind: { integer: [1280, 65_535] }, value: "BYTES", fallback: "1500", about: "path MTU between hypervisors, and of physical networks that --physical-network-mtus does not name; networks in tunnels are smaller by what encapsulation needs" },
  "physical-network-mtus": { kind: { namedNumbers: [68, 65_535] }, value: "NETWORK:BYTES,...", about: "MTU of physical networks" },
  "tunnel-dscp": { kind: { oneOf: ["inherit", "none"] }, fallback: "none", about: "inherit: what tunnels carry has the mark of the packet inside (DSCP), for an underlay that heeds marks; a machine without a QoS policy may mark what it sends as it likes" },
  "vni-ranges": { kind: { ranges: [1, 2 ** 24 - 1] }, value: "FROM:TO,...", about: "VNIs that networks get whose makers name none; all of 24 bits if there is no range" },
});

/**
 * Bytes of outer headers inside the underlay's MTU, inner Ethernet header included: outer IP 20 or 40, then
 * Geneve UDP 8 + 8 + 8 option space + 14, VXLAN UDP 8 + 8 + 14, GRE 4 + 4 key + 14.
 */
const overheadV4: Readonly<Record<EncapType, number>> = { geneve: 58, vxlan: 50, gre: 42 };
export const encapOverhead = (type: EncapType, outer: 4 | 6): number => overheadV4[type] + (outer === 6 ? 20 : 0);
/** Bytes of an outer packet in front of the frame in it, its own IP header included, without options of Geneve. */
export const outerHeaders = (type: EncapType, outer: 4 | 6): number => encapOverhead(type, outer) - 14 - (type === "geneve" ? 8 : 0);

export interface Profile extends Row {
  readonly profile: string;
  /** Its tunnels carry the mark of what is inside. */
  readonly marked: boolean;
}
/** Encapsulation profile of each chassis: `geneve,vxlan/4`. `id` is the chassis'. */
export const profileTable = defineTable<Profile>()("encap_profile", { derived: true, pairs: { profiles: (p) => ["all", p.profile] } });

/** Whether some chassis may use an encapsulation, by endpoints of a family. */
type InUse = (type: EncapType, outer: 4 | 6) => boolean;
const inUse = (view: ReadView): InUse => (type, outer) => view.count(chassisTable, "encap", `${type}/${outer}`) > 0;
/** The same for derivations, which read `profileTable`: it is not looked at again for every chassis that comes. */
export function profiled(view: ReadView): InUse {
  const profiles = view.pairKeys(profileTable, "profiles", "all").map((text) => text.split("/"));
  return (type, outer) => profiles.some(([types, family]) => family === String(outer) && types!.split(",").includes(type));
}

/** Largest MTU a tenant network can have with the worst encapsulation that any pair of chassis may use. */
export function tenantMtu(view: ReadView, used: InUse = inUse(view)): number {
  let worst = 0;
  for (const type of Object.keys(overheadV4) as EncapType[]) {
    for (const outer of [4, 6] as const) if (used(type, outer)) worst = Math.max(worst, encapOverhead(type, outer));
  }
  return view.settings(overlaySettings).mtu - (worst === 0 ? encapOverhead("geneve", 4) : worst);
}

/** Bytes of a tag: what a guest sends with its own is as large as without, and has to get through as well. */
const VLAN_TAG = 4;

/** Largest MTU that a network can have: as its segments leave it, the narrowest of several. */
export function networkMtu(view: ReadView, networkId: string, used: InUse = inUse(view)): number {
  const chosen = chosenSegments(view, networkId);
  const tag = isTransparent(view, networkId) ? VLAN_TAG : 0;
  if (chosen.length === 0) return tenantMtu(view, used) - tag;
  const settings = view.settings(overlaySettings);
  return -tag + Math.min(...chosen.map(({ type, physical_network: physnet }) => {
    if (type === "flat" || type === "vlan") return settings["physical-network-mtus"].get(physnet ?? "") ?? settings.mtu;
    return type === "local" ? settings.mtu : settings.mtu - encapOverhead(type, used(type, 6) ? 6 : 4);
  }));
}

/** The MTU that a network has: as it was asked for, else the largest. */
export const mtuOf = (view: ReadView, network: Pick<Network, "id" | "mtu">, used?: InUse): number => network.mtu ?? networkMtu(view, network.id, used);

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

/** OpenFlow port of each encapsulation's tunnel port, on every chassis. Ports end at 0xfeff. */
export const tunnelPort: Readonly<Record<EncapType, number>> = { geneve: 65_101, vxlan: 65_102, gre: 65_103 };
/** They are the same on every chassis: nobody draws one. */
export const tunnelPorts = definePool({ name: "tunnel-port", of: "ofport", min: 65_101, max: 65_103, about: "OpenFlow ports of the tunnel ports", taken: () => true });

/** The port of a host that leads to one other alone, named by the key of that: there the two watch each other by BFD, where an app has them do so. */
export const peerPortName = (key: number): string => `axion-bfd-${key}`;

/** Of the conjunction in the first table: the outer source is a chassis that may send here, and the VNI is one of those here. */
export const KNOWN_SENDER = 1;

/**
 * Frames that come by tunnels with a VNI that is no network's, from whoever may send here: those to or from the MACs are done with as is said of each,
 * others are dropped. "any": all of them are.
 */
export function receiveVni(out: Outputs, scope: Scope, vni: number, of: { readonly eth_dst: string } | { readonly eth_src: string } | "any", actions: readonly FlowAction<never, SharedRegister>[]): void {
  const first = out.into(core);
  const known = { conj_id: KNOWN_SENDER, tunnel_id: vni } as const;
  first.flow(scope, "classify", { priority: 50, match: { tunnel_id: vni }, actions: [{ type: "conjunction", id: KNOWN_SENDER, clause: 1, n_clauses: 2 }] });
  first.flow(scope, "classify", { priority: 51, match: known, actions: of === "any" ? actions : [] });
  if (of !== "any") first.flow(scope, "classify", { priority: 52, match: { ...known, ...of }, actions });
}
/** The VNI of frames that are of no network: the pool begins above it. */
const NO_NETWORK = 0;
/** Instead of the key of a router, in what is of no network: it does not leave. */
const STAYS = 255;
/**
 * Frames of no network, on every chassis: one that a service sends into `locate` with the registers of `toTunnel` leaves by that tunnel. Where it arrives
 * it goes to `heard` if it has this destination and comes from whoever may send there; others are dropped. One sent with those of `notOut` goes to `heard` at once.
 */
export function framesOfNone(out: Outputs, eth_dst: string, heard: Entrance): void {
  receiveVni(out, baseScope, NO_NETWORK, { eth_dst }, [toEntrance(heard)]);
  const none = { "reg:net": 0, "reg:vni_loaded": 0 } as const;
  for (const type of Object.keys(overheadV4) as EncapType[]) {
    overlay.through(out).flow(baseScope, "tunnel_out", {
      priority: 170, match: { ...none, "reg:router": loadedFor(type) }, actions: [load("router", 0), load("vni_loaded", loadedFor(type)), { type: "table", table: "tunnel_out" }],
    });
  }
  overlay.through(out).flow(baseScope, "tunnel_out", { priority: 210, match: { ...none, "reg:router": STAYS }, actions: [toEntrance(heard)] });
}
/** The same for frames with a VNI that an app claims: on the switches of `scope` what is sent as `withVni` says leaves for that host, whatever it is. Who gets them says so by `receiveVni`. */
export function sendVni(out: Outputs, scope: Scope, vni: number): void {
  overlay.through(out).flow(scope, "tunnel_out", {
    priority: 170, match: { "reg:net": 0, "reg:vni_loaded": 0, "reg:router": BY_VNI + vni }, actions: [load("router", 0), load("net", vni), load("vni_loaded", 1), { type: "table", table: "tunnel_out" }],
  });
}
/** Of a copy: nothing may follow. It may have come in by the tunnel that it leaves by. */
export const withVni = (vni: number, hostKey: number) => [setField("in_port", 0), load("net", 0), load("router", BY_VNI + vni), load("out_port_key", 0), load("out_host", hostKey), toStage("locate")] as const;
/** Instead of the key of a router, in what is of no network: the VNI is the rest. Above what `loadedFor` says, and STAYS. */
const BY_VNI = 256;
/** `type`: by this encapsulation, as networks go that have to have it; undefined: by the one that both hosts share. */
export const toTunnel = ({ key }: Pick<Chassis, "key">, type: EncapType | undefined) => ({ out_host: key, router: type === undefined ? 0 : loadedFor(type) }) as const;
export const notOut = { router: STAYS } as const;

/**
 * A free VNI for the network: of these ranges, by default of those that are configured.
 * @throws ApiError 503 NoNetworkAvailable
 */
export function drawVni(tx: Tx, networkId: string, prefer?: number, within: readonly NumberRange[] = vniRanges(tx)): number {
  try {
    return take(tx, vniPool, "", networkId, { ...(prefer !== undefined && { prefer }), within, claimed: true });
  } catch (error) {
    if (error instanceof PoolExhaustedError) throw new ApiError(503, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.");
    throw error;
  }
}
export const giveBackVni = (tx: Tx, networkId: string): void => giveBack(tx, vniPool, "", networkId);

type Net = { readonly key: number };
/** Where a packet is that leaves for another host, whatever the host. */
const leaving = ({ key }: Net) => ({ "reg:net": key, "reg:vni_loaded": 0 }) as const;

/** A network that leaves a host otherwise than by tunnels, to whatever host: `actions` are for what ports send, `routed` for what routers do. */
export function leaveBy(out: Outputs, scope: Scope, network: Net, actions: readonly FlowAction<never, SharedRegister>[], routed: readonly FlowAction<never, SharedRegister>[]): void {
  overlay.through(out).flow(scope, "tunnel_out", { priority: 150, match: leaving(network), actions: routed });
  overlay.through(out).flow(scope, "tunnel_out", { priority: 152, match: { ...leaving(network), "reg:router": 0 }, actions });
}
/** How what a router sends into such a network leaves: as if a port had sent it, or as of any router. For groups that choose. */
export const leaveAs = (who: "port" | "router") => [load("router", who === "port" ? 0 : ANY_ROUTER), toStage("locate")] as const;
/** Key of no router. */
const ANY_ROUTER = 2 ** 32 - 1;
/** On a host, what that router sends into such a network leaves as a port's, or by a group of which each action ends as `leaveAs` says. */
export function leaveChosen(out: Outputs, scope: Scope, network: Net, router: { readonly key: number }, group?: number): void {
  overlay.through(out).flow(scope, "tunnel_out", {
    priority: 151, match: { ...leaving(network), "reg:router": router.key }, actions: group === undefined ? [load("router", 0), { type: "table", table: "tunnel_out" }] : [{ type: "group", id: group }],
  });
}
/** On a host that is not where such a network is, what routers there send into it leaves by these. */
export function leaveRoundabout(out: Outputs, scope: Scope, network: Net, actions: readonly FlowAction<never, SharedRegister>[]): void {
  overlay.through(out).flow(scope, "tunnel_out", { priority: 154, match: leaving(network), actions });
}
/** One host that is reached by tunnel all the same. `type`: by this encapsulation and no other. */
export function alsoByTunnel(out: Outputs, scope: Scope, network: Net, { vni, type }: { readonly vni: number; readonly type: EncapType | undefined }, host: number): void {
  overlay.through(out).flow(scope, "tunnel_out", { priority: 155, match: { ...leaving(network), "reg:out_host": host }, actions: byTunnel(network, vni, type) });
}
/** Other copies of the packet may go elsewhere: the key comes back after the tunnel. */
export const byTunnel = ({ key }: Net, vni: number, type: EncapType | undefined) => [load("net", vni), load("vni_loaded", loadedFor(type)), callTable("tunnel_out"), load("net", key), load("vni_loaded", 0)] as const;
/** What `vni_loaded` holds of a packet that goes by any encapsulation, or by a certain one. */
export const loadedFor = (type: EncapType | undefined): number => (type === undefined ? 1 : 2 + Object.keys(overheadV4).indexOf(type));

/** The encapsulation that a network has to have; undefined: whatever two hosts share. */
export const encapOf = (view: ReadView, networkId: string): EncapType | undefined =>
  chosenSegments(view, networkId).map((s) => s.type).find((type): type is EncapType => type in overheadV4);

/** How a host is reached by one encapsulation, and no other. */
export const byEncapScope: (hostKey: number, type: string) => Scope = defineScope("host-by");
/** What came from another host does not leave this one again in the network. */
export function endHere(out: Outputs, scope: Scope, network: Net): void {
  overlay.through(out).flow(scope, "tunnel_out", { priority: 160, match: { ...leaving(network), "reg:from_tunnel": 1 }, actions: [] });
}
