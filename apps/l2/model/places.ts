// Where ports are, how networks travel between hosts, and the scopes that follow from both.
import { chassisTable, defineQuestion, defineScope, defineTable, defineVariantScope, vifTable, type AppProblem, type Ask, type Chassis, type ReadView, type Row, type Vif, type PacketCause, type PortPlace } from "#app";
import { deviceOwner, inactiveBindingTable, portBindingTable, portStatusTable, portTable, type InactiveBinding, type Port } from "./ports.ts";

/**
 * A port at a chassis (derived: port x vif x binding x chassis, and whatever other apps add). A joint: an app that requires l2 may
 * derive rows, e.g. of a sub-port behind another port's interface. `id` is the port's for its active place, `<port>@<chassis>` for others.
 */
export interface Attachment extends Row, PortPlace {
  readonly port_id: string;
  readonly network_id: string;
  readonly net_key: number;
  readonly port_key: number;
  readonly chassis: string;
  readonly host_key: number;
  /**
   * standby: what goes to the port goes there too, it is not where the port is, and what it sends passes only if a context says so
   * (PortContext.speaks). gateway: one of several chassis that serve it, each those on it; from elsewhere packets go to the first by id.
   * A chassis has one place of a port: of several the active one, then the first by id.
   */
  readonly role: PortPlace["role"];
  readonly ofport: number;
  /** Tag of its frames on that OpenFlow port; null: untagged. */
  readonly vlan: number | null;
  /** Conntrack zone and punt meter of the port there: from the chassis' zones. */
  readonly slot: number;
}
export const attachmentTable = defineTable<Attachment>()("attachment", {
  derived: true,
  open: true,
  indexes: { chassis: (a) => a.chassis, network: (a) => a.network_id, port: (a) => a.port_id },
  pairs: { network_chassis: (a) => [a.network_id, a.chassis] },
});
export const attachmentId = (portId: string, chassis: string, role: Attachment["role"]): string => (role === "active" ? portId : `${portId}@${chassis}`);

/** What is happening to interfaces of a port: one that is there now, though it may not be in the view yet, and one that is about to vanish. */
export interface PlugChange {
  readonly appeared?: Vif;
  readonly gone?: Vif;
}

/**
 * The interface of a port, the one that counts: on the chassis the API asked for, or wherever it is plugged. For derivations that fill `attachment`, which
 * cannot read it: they say `pluggedReads`. `ifaceId`: of a port that is plugged by another id than its own.
 */
export function pluggedAt(view: ReadView, portId: string, { appeared, gone }: PlugChange = {}, ifaceId = portId): { readonly vif: Vif; readonly chassis: Chassis } | undefined {
  const stored = view.by(vifTable, "iface_id", ifaceId);
  const vifs = appeared === undefined && gone === undefined ? stored : [...stored, ...(appeared === undefined ? [] : [appeared])].filter((vif) => vif.id !== gone?.id);
  // What is outside for a floating IP is nowhere by itself, whatever an interface calls itself.
  if (vifs.length === 0 || view.get(portTable, portId)?.device_owner === deviceOwner.floatingIp) return undefined;
  const wanted = view.get(portBindingTable, portId)?.requested_host ?? "";
  const host = vifs.length === 1 ? "" : (view.get(portStatusTable, portId)?.host ?? "");
  const requested = wanted === "" ? undefined : requestedChassis(view, wanted);
  const inactive = wanted === "" ? view.by(inactiveBindingTable, "port", portId) : [];
  let best: { vif: Vif; chassis: Chassis } | undefined;
  for (const vif of vifs) {
    const chassis = view.get(chassisTable, vif.chassis);
    if (chassis === undefined || (wanted !== "" && chassis.id !== requested?.id)) continue;
    if (inactive.some((b) => requestedChassis(view, b.host)?.id === chassis.id)) continue;
    if (best === undefined || preferred(vif, best.vif, host)) best = { vif, chassis };
  }
  return best;
}
export const pluggedReads = [portTable, vifTable, portBindingTable, inactiveBindingTable, portStatusTable, chassisTable] as const;

/** The inactive binding of a port at a chassis, by whatever name of it. */
export const inactiveBindingAt = (view: ReadView, portId: string, chassis: string): Readonly<InactiveBinding> | undefined =>
  view.by(inactiveBindingTable, "port", portId).find((b) => requestedChassis(view, b.host)?.id === chassis);

/** What is wrong with where an interface of a port is plugged: the port is bound elsewhere, or has another interface at another host. */
export function placeFault(view: ReadView, { iface_id: portId, chassis: at, id, name }: Vif): AppProblem | undefined {
  const port = view.get(portTable, portId);
  if (port === undefined || inactiveBindingAt(view, portId, at) !== undefined) return undefined;
  const common = { severity: "error", resources: [{ type: "port", id: portId, name: port.name }] } as const;
  const wanted = view.get(portBindingTable, portId)?.requested_host ?? "";
  if (wanted !== "") {
    const requested = requestedChassis(view, wanted);
    if (requested?.id === at) return undefined;
    return {
      ...common, kind: "plugged_elsewhere", switches: [at, ...(requested === undefined ? [] : [requested.id])],
      text: `port ${portId} is plugged on ${at} (interface ${name}), and bound to ${wanted}${requested === undefined ? ", which is no host that is known" : ""}: it does not work on ${at}`,
      cure: { text: `bind the port where its machine runs (binding:host_id=${at}), or unplug ${name} on ${at} and plug the port on ${wanted}` },
    };
  }
  const used = pluggedAt(view, portId);
  if (used === undefined || used.vif.id === id || used.chassis.id === at) return undefined;
  return {
    ...common, kind: "plugged_twice", switches: [used.chassis.id, at],
    text: `port ${portId} is plugged on ${used.chassis.id} (interface ${used.vif.name}) and on ${at} (interface ${name}): that on ${used.chassis.id} is used, the other does not work`,
    cure: { text: `unplug the one that is not the machine's: ovs-vsctl del-port ${name} on ${at}, or ${used.vif.name} on ${used.chassis.id}` },
  };
}

/** Why a port is at no host that is nobody's to plug: said by the app that places it (undefined: another's port). */
export const whyNowhere = defineQuestion<(view: ReadView, portId: string) => PacketCause | undefined>("why_nowhere");

/** Why a packet of a port that is at no host, or to it, goes no further; undefined: it is plugged where it may be. */
export function absent(view: ReadView, port: Pick<Port, "id">, ask: Ask): PacketCause | undefined {
  const resources = [{ type: "port", id: port.id }];
  for (const vif of view.by(vifTable, "iface_id", port.id)) {
    const fault = placeFault(view, vif);
    if (fault !== undefined) return { reason: "wrong_host", text: fault.text, resources, cure: { ...fault.cure, call: { method: "PUT", path: `/v2.0/ports/${port.id}`, body: { port: { "binding:host_id": vif.chassis } } } } };
  }
  if (pluggedAt(view, port.id) !== undefined) return undefined;
  for (const said of ask(whyNowhere, view, port.id)) if (said !== undefined) return said;
  return { reason: "not_plugged", text: `port ${port.id} is plugged at no host`, resources, cure: { text: `start its machine, or plug its interface with external_ids:iface-id=${port.id} into the integration bridge of its host` } };
}

/**
 * A port that came to its host a short while ago, because the model says so, with connections under way of which conntrack there knows nothing. A joint:
 * stored by the app that moves it, and deleted by it. `id` is the port's.
 */
export interface Arrival extends Row {
  readonly chassis: string;
  /** As tx.now. */
  readonly since: string;
}
export const arrivalTable = defineTable<Arrival>()("arrival", {});

/** Where a port is: of its active attachments the first by id, one that l2 knows before what others derive; without any, of those that serve it. */
export function activeAttachment(view: ReadView, portId: string): Attachment | undefined {
  const own = view.get(attachmentTable, portId);
  if (own?.role === "active") return own;
  return view.by(attachmentTable, "port", portId).filter((at) => at.role !== "standby").sort(first)[0];
}
/** Every place of a port, one a chassis: where it is comes first. */
export function placesOf(view: ReadView, portId: string): Attachment[] {
  const places: Attachment[] = [];
  for (const at of view.by(attachmentTable, "port", portId).toSorted(first)) if (!places.some((p) => p.chassis === at.chassis)) places.push(at);
  return places;
}
/** In the egress stage, a frame of the port that comes back to it, as a broadcast does: its switch does not send it out. */
export const comesBack = (at: Pick<Attachment, "ofport" | "port_key" | "vlan">) => (at.vlan === null ? ({ in_port: at.ofport } as const) : ({ "reg:in_port_key": at.port_key, "reg:from_network": 0 } as const));

const RANK = { active: 0, gateway: 1, standby: 2 } as const;
const first = (a: Attachment, b: Attachment): number => RANK[a.role] - RANK[b.role] || (a.id < b.id ? -1 : 1);

/** Of two interfaces of one port, where it may be: the one where it already is, so that a second plug takes nothing away. */
const preferred = (a: Vif, b: Vif, host: string): boolean => (a.chassis === host) === (b.chassis === host) ? a.id < b.id : a.chassis === host;
/**
 * The chassis that a port's requested host names: by its system-id, which is proved. A hostname is self-declared, so it counts only
 * where exactly one chassis has it and none has it as its system-id.
 */
export function requestedChassis(view: ReadView, host: string): Readonly<Chassis> | undefined {
  const byId = view.get(chassisTable, host);
  if (byId !== undefined) return byId;
  const named = view.by(chassisTable, "hostname", host);
  return named.length === 1 ? named[0] : undefined;
}

export type SegmentType = "tunnel" | "geneve" | "vxlan" | "gre" | "vlan" | "flat";

/**
 * How a network travels because its maker or the operator said so; one without a row travels in tunnels of whatever kind two hosts share.
 * Stored, since transactions decide by it too: where ports can be, how large packets are. The app that writes it derives `segment` of it.
 * `id` is chosenId(...).
 */
export interface ChosenSegment extends Row {
  readonly network_id: string;
  /** Of several, a host is on the first of its physical ones that it has. */
  readonly index: number;
  readonly type: Exclude<SegmentType, "tunnel"> | "local";
  readonly physical_network: string | null;
  /** VNI or VLAN id; null of flat and local ones. */
  readonly segmentation_id: number | null;
  /** Of a VLAN in which tags of guests pass: the type of its own tag, in which they are. */
  readonly outer_tag?: OuterTag;
}
/** TPIDs of 802.1Q and 802.1ad. */
export type OuterTag = 0x8100 | 0x88a8;
export const chosenSegmentTable = defineTable<ChosenSegment>()("chosen_segment", {
  indexes: { network: (s) => s.network_id, /** `<type>/<physical network>`: who is on it. */ physical: (s) => (s.physical_network === null ? undefined : `${s.type}/${s.physical_network}`) },
});
export const chosenId = (networkId: string, index: number): string => `${networkId}/${index}`;
export const chosenSegments = (view: ReadView, networkId: string): readonly Readonly<ChosenSegment>[] => view.by(chosenSegmentTable, "network", networkId).toSorted((a, b) => a.index - b.index);

/** On a physical network: it reaches a host by the bridge that is mapped there. */
export const isPhysical = ({ type }: { readonly type: string }): boolean => type === "vlan" || type === "flat";

/** Whether flows of a host's switch can match what passes on a segment. */
export const readsTags = ({ outer_tag }: { readonly outer_tag?: OuterTag | undefined }, { vlan_limit }: { readonly vlan_limit?: 2 }): boolean => outer_tag === undefined || vlan_limit === 2;
/** Whether a host is on a physical segment. */
export const isOnPhysical = (segment: Pick<Segment, "physical_network" | "outer_tag">, chassis: Pick<Chassis, "bridge_mappings" | "vlan_limit">): boolean =>
  segment.physical_network !== null && Object.hasOwn(chassis.bridge_mappings, segment.physical_network) && readsTags(segment, chassis);

/** Why a host cannot be on a segment; undefined: it can. */
export function segmentFault(
  { type, physical_network: physnet, outer_tag }: Pick<ChosenSegment, "type" | "physical_network" | "outer_tag">, chassis: Pick<Chassis, "encap_ip" | "encap_types" | "bridge_mappings" | "vlan_limit">,
): string | undefined {
  if (type === "local") return undefined;
  if (type === "vlan" || type === "flat") {
    if (!Object.hasOwn(chassis.bridge_mappings, physnet ?? "")) return `no bridge is mapped to physical network ${physnet}`;
    return readsTags({ outer_tag }, chassis) ? undefined : "its Open vSwitch reads one VLAN tag of a frame (other_config:vlan-limit)";
  }
  return chassis.encap_ip !== "" && chassis.encap_types.includes(type) ? undefined : `it has no ${type} tunnels`;
}
/** Why no port of a network can be bound at a chassis; undefined: it can. Whoever fills `attachment` asks, and reads `chosenSegmentTable`. */
export function bindingFault(view: ReadView, networkId: string, chassis: Readonly<Chassis>): string | undefined {
  const faults: string[] = [];
  for (const segment of chosenSegments(view, networkId)) {
    const fault = segmentFault(segment, chassis);
    if (fault === undefined) return undefined;
    faults.push(fault);
  }
  return faults.length === 0 ? undefined : `host ${chassis.id}: ${faults.join(", ")}`;
}

/** The host of a port as the API shows it: the one asked for, else where it is, or was plugged though its network is not there; "": none. */
export function shownHost(view: ReadView, { id, network_id: networkId }: Pick<Port, "id" | "network_id">): string {
  const bound = (view.get(portBindingTable, id)?.requested_host ?? "") || (view.get(portStatusTable, id)?.host ?? "");
  return bound === "" && view.count(chosenSegmentTable, "network", networkId) > 0 ? (pluggedAt(view, id)?.chassis.id ?? "") : bound;
}
/** Ports that may be at a chassis as `shownHost` has it, and some more: all that are bound or active there, or plugged. */
export function portsAround(view: ReadView, chassis: Pick<Chassis, "id" | "hostname">): ReadonlySet<string> {
  const ids = new Set(view.by(vifTable, "chassis", chassis.id).map(({ iface_id }) => iface_id));
  for (const name of new Set([chassis.id, chassis.hostname])) {
    for (const { id } of view.by(portBindingTable, "host", name)) ids.add(id);
    for (const { id } of view.by(portStatusTable, "host", name)) ids.add(id);
  }
  return ids;
}
/** How a port of a network is plugged at a host, as the API shows it of a binding. */
export function plugging(view: ReadView, networkId: string, host: string): { readonly vif_type: "unbound" | "binding_failed" | "ovs"; readonly vif_details: Readonly<Record<string, unknown>> } {
  const chassis = host === "" ? undefined : requestedChassis(view, host);
  if (chassis === undefined) return { vif_type: host === "" ? "unbound" : "binding_failed", vif_details: {} };
  const fault = bindingFault(view, networkId, chassis);
  if (fault !== undefined) return { vif_type: "binding_failed", vif_details: { "axion:binding_failure": fault } };
  return { vif_type: "ovs", vif_details: { port_filter: true, connectivity: "l2", bridge_name: chassis.bridge, datapath_type: chassis.datapath_type, ovs_hybrid_plug: false } };
}

/**
 * How a network travels between hosts. A joint: the overlay gives every network a tunnel segment, other apps add theirs.
 * Rows carry `<app>/<network>` as id. `tunnel`: any encapsulation that both hosts have. A VNI is a wish until the network holds it: the
 * overlay claims it, and an app that has it from a caller takes it with the overlay's `takeVni`, which refuses one that is held.
 */
export interface Segment extends Row {
  readonly network_id: string;
  readonly type: SegmentType;
  readonly physical_network: string | null;
  /** VNI (one space for all kinds of tunnel) or VLAN id. */
  readonly segmentation_id: number | null;
  /** As of ChosenSegment. */
  readonly outer_tag?: OuterTag;
}
export const segmentTable = defineTable<Segment>()("segment", { derived: true, open: true, indexes: { network: (s) => s.network_id } });

/** Scopes of l2. `lan`: chassis with a port of the network; `net`: chassis that can reach the network, through a router too. */
export const lanScope = defineScope("lan");
export const netScope = defineScope("net");
/**
 * Who may send into a network by a tunnel, the reverse of reach: `lan:N` has `senders:N`; these are the chassis that have the
 * network (`members:N`), and those that come through a router. Each chassis' own flow is in its `from` scope.
 */
export const sendersScope = defineScope("senders");
export const membersScope = defineScope("members");
export const fromScope = defineScope("from");
/** How to reach a chassis: `hostScope(key)` is included, the overlay fills one for each encapsulation profile. */
export const hostScope = defineVariantScope("host");

/**
 * A chassis that has a network though it may have no port of it, as that of a gateway (derived). A joint: whoever carries the network to hosts with
 * ports of it carries it there too. Rows of other apps carry `<app>/...` as id.
 */
export interface NetworkHost extends Row {
  readonly network_id: string;
  readonly chassis: string;
}
export const networkHostTable = defineTable<NetworkHost>()("network_host", { derived: true, open: true, pairs: { network_chassis: (n) => [n.network_id, n.chassis] } });

/**
 * A chassis that hands on between the physical segment that it is on and a network's tunnels, rather than another there (derived). A joint: for an app that
 * answers machines there. Rows of other apps carry `<app>/...` as id.
 */
export interface HandOnHost extends Row {
  readonly network_id: string;
  readonly chassis: string;
}
export const handOnHostTable = defineTable<HandOnHost>()("hand_on_host", { derived: true, open: true, pairs: { network_chassis: (n) => [n.network_id, n.chassis] } });

/** A host's own on physical networks. What its routers send there comes from this: a switch there would see a router's own MAC at every host. */
export const hostMac = (hostKey: number): string => `fa:16:41:00:${hostKey.toString(16).padStart(4, "0").replace(/..(?=.)/, "$&:")}`;

/**
 * Hosts that know the addresses of a port of the network's own, in place of all that have the network: others ask for them, as for anybody's
 * (derived). A joint: said by the app whose port it is, where questions are answered without the model. Rows carry `<app>/...` as id.
 */
export interface KnownAt extends Row {
  readonly port_id: string;
  readonly hosts: readonly string[];
}
export const knownAtTable = defineTable<KnownAt>()("known_at", { derived: true, open: true, indexes: { port: (k) => k.port_id } });

/**
 * A port that the network itself provides: nobody plugs it, its flows are wherever they are needed (derived). A joint: an app that serves such a port
 * says so while it does, and the port is ACTIVE when the switches concerned have confirmed their flows. Rows carry `<app>/<port>` as id.
 */
export interface ProvidedPort extends Row {
  readonly port_id: string;
  /** Chassis that have it; absent: all with ports of its network, which may be none yet. */
  readonly at?: readonly string[];
}
export const providedPortTable = defineTable<ProvidedPort>()("provided_port", { derived: true, open: true, indexes: { port: (p) => p.port_id } });
