// gateway's entities: which networks are external, the gateways of routers on them, and what follows from both: which hosts a gateway is on.
import { chassisScope, chassisTable, conflict, definePool, defineQuestion, ethType, defineScope, defineTable, familyMatch, ipDst, ipProto, load, next, NO_MAC, numberOf, observed, setField, toEntrance, toTable, type ApiContext, type Chassis, type Entrance, type FlowAction, type LiveView, type Outputs, type PacketQuestion, type ReadView, type Row, type Scope, type ServiceHost, type SharedRegister, type Sight, type Tx, type Values } from "#app";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { addressesOf, addressTable, isOnPhysical, networkResource, networkTable, portTable, segmentTable, type Address, type KnownAt, type Network } from "../l2/model.ts";
import { liveRouterTable, routerScope, tellOutside } from "../l3/model.ts";
import { peerPortName, vniPool } from "../overlay/model.ts";
import { gateway } from "./tables.ts";

/** A network that leads outside of the cloud. `id` is the network's. */
export interface ExternalNetwork extends Row {
  /** Not for everybody: for the owner, and for those whom something else lets (the relation network:router:external). */
  readonly restricted?: true;
}
export const externalNetworkTable = defineTable<ExternalNetwork>()("external_network", { indexes: { all: () => "", open: (n) => (n.restricted === true ? undefined : "") } });
/** Relation of networks, and of what is on them: they lead outside for the caller. */
export const OUTSIDE = "network:router:external";

/** Whether a network leads outside for everybody. */
export function isOpen(view: ReadView, networkId: string): boolean {
  const external = view.get(externalNetworkTable, networkId);
  return external !== undefined && external.restricted !== true;
}

/** Whether a network leads outside for the caller, or for a project whoever asks: for everybody, or as its own, or because something lets it. */
export function leadsOutside(view: ReadView, network: Network, sight: Pick<Sight, "caller" | "covers"> & Partial<Pick<ApiContext, "internal">>, project?: string): boolean {
  if (view.get(externalNetworkTable, network.id) === undefined) return false;
  if (project === undefined && (sight.internal === true || sight.caller.admin)) return true;
  const whose = project ?? sight.caller.projectId;
  return (network.project_id !== "" && network.project_id === whose) || sight.covers(networkResource, OUTSIDE, network, project);
}

/** Where a router leaves for an external network. `id` is its port's there, which has its MAC and addresses. */
export interface RouterGateway extends Row {
  readonly router_id: string;
  readonly network_id: string;
  /** Of several gateways of a router the one at 0 is `external_gateway_info`; no two have the same. */
  readonly position: number;
  /** Whether sources are to be translated; an app that does so reads it. Without one nothing of IPv4 leaves. */
  readonly enable_snat: boolean;
  /** Chassis that were being drained when it was made, and have been ever since: it goes to others while there are any. */
  readonly avoids?: readonly string[];
}
export const routerGatewayTable = defineTable<RouterGateway>()("router_gateway", { indexes: { router: (g) => g.router_id, network: (g) => g.network_id, avoids: (g) => g.avoids } });

/** The gateways of a router, the first one first. */
export const routerGatewaysOf = (view: ReadView, routerId: string): readonly RouterGateway[] => view.by(routerGatewayTable, "router", routerId).toSorted((a, b) => a.position - b.position);

/** As routers show it. */
export const shownGateway = (view: ReadView, { id, network_id, enable_snat }: RouterGateway): Values => ({ network_id, enable_snat, external_fixed_ips: addressesOf(view, id).map((a) => ({ subnet_id: a.subnet_id, ip_address: a.ip })) });

/** Told, in a transaction that makes or changes a gateway, what a caller said of it: keys that other apps add to "gateway-info" are theirs to keep. */
export const gatewaySaid = defineQuestion<(tx: Tx, gateway: RouterGateway, said: Values, ctx: ApiContext) => void>("gateway_said");

/** Routers whose default routes by all of their gateways are used at once. `id` is the router's. */
export type DefaultRouteEcmp = Row;
export const defaultRouteEcmpTable = defineTable<DefaultRouteEcmp>()("default_route_ecmp", {});

/** A chassis that may have gateways (derived). `id` is the chassis'. */
export interface GatewayHost extends Row {
  readonly key: number;
  readonly physical_networks: readonly string[];
  /** As of Chassis. */
  readonly vlan_limit?: 2;
  readonly zone?: string;
}
/** Zones whose hosts the gateways of a router shall rather be on than on others (derived). A joint: an app that knows of wishes says so. Rows carry `<app>/<router>` as id. */
export interface GatewayZones extends Row {
  readonly router_id: string;
  readonly zones: readonly string[];
}
export const gatewayZonesTable = defineTable<GatewayZones>()("gateway_zones", { derived: true, open: true, indexes: { router: (z) => z.router_id } });
export const gatewayHostTable = defineTable<GatewayHost>()("gateway_host", { derived: true, indexes: { all: () => "", physical_network: (h) => h.physical_networks } });

/**
 * Which hosts a gateway is on (derived). `id` is that of its port. The first that is alive has it; which one that is switches find out by
 * themselves. An app that acts on gateways, e.g. translates there, does so on all of them. Likewise an interface of a router on a physical network,
 * which machines there use: hosts route into it each by themselves, and one at a time answers and takes what comes from there.
 */
export interface GatewayPlan extends Row {
  readonly kind: "gateway" | "interface";
  readonly router_id: string;
  readonly network_id: string;
  /** Ids of chassis, the preferred one first. */
  readonly hosts: readonly string[];
  /** The same by their keys, as text: gateways with the same list share groups. */
  readonly list: string;
  /**
   * Of an interface on a network of several segments: the hosts for each physical one. On each the first that is ready answers, others do not stand
   * for it in groups, and `list` is "": which one hands on between segments is the controller's to say, and it is that one.
   */
  readonly apart?: readonly (readonly string[])[];
}
export const gatewayPlanTable = defineTable<GatewayPlan>()("gateway_plan", {
  derived: true,
  indexes: { all: () => "", router: (p) => p.router_id, network: (p) => p.network_id, host: (p) => p.hosts },
  /** Each list there is, once. */
  pairs: { lists: (p) => (p.list === "" ? undefined : ["all", p.list]) },
});
/** A plan as it is on each segment that has hosts of its own. */
export const seatsOf = (plan: GatewayPlan): readonly GatewayPlan[] => (plan.apart === undefined ? [plan] : plan.apart.map((hosts) => ({ ...plan, hosts })));
/** Of hosts that are `apart` who answers: on each segment the first that is ready. */
export const answering = (view: ReadView, { apart = [] }: GatewayPlan): string[] => apart.flatMap((hosts) => hosts.find((host) => view.get(gatewayReadyTable, host)?.users === true) ?? []);
/** The leg of its router that comes with it. */
export const legId = ({ id }: Pick<GatewayPlan, "id">): string => `gateway/${id}`;
/** The place of a chassis among those of a gateway, 0 first; undefined: the gateway is not on it. */
export const placeOf = ({ hosts }: GatewayPlan, chassis: string): number | undefined => (hosts.includes(chassis) ? hosts.indexOf(chassis) : undefined);

/** One end of a tunnel in which two hosts watch each other, because of one gateway (derived). `id` is `<port>/<at>|<peer>`. */
export interface GatewayPeer extends Row {
  /** Chassis of this end, and of the other. */
  readonly at: string;
  readonly peer: string;
  /** What this end is to the other: one that uses it, one that is used by it, or one that stands for it and it for this. */
  readonly role: "user" | "gateway" | "fellow";
}
export const gatewayPeerTable = defineTable<GatewayPeer>()("gateway_peer", { derived: true, indexes: { at: (p) => p.at }, pairs: { peers: (p) => [p.at, p.peer] } });

/**
 * Whether others may use a host's gateways (stored, by what its switch confirmed): its users, and those that stand for it. No row: neither. `id` is
 * the chassis'.
 */
export interface GatewayReady extends Row {
  readonly users: boolean;
  readonly fellows: boolean;
  /** It is on its way to be used or left: those that stand for it take what comes to them from outside, whoever is before them. */
  readonly shared?: true;
  /** It may have gateways, or might when it last took a step: if it may not any more it has them until it has handed them over. */
  readonly gateway?: true;
}
export const gatewayReadyTable = defineTable<GatewayReady>()("gateway_ready", { indexes: { all: () => "" } });

/** Whether a host hands over what it has: it is drained, or may not have gateways any more. */
export const handsOver = (view: ReadView, chassis: Readonly<Chassis> | undefined): boolean =>
  chassis !== undefined && (chassis.drain === true || (!chassis.gateway && view.get(gatewayReadyTable, chassis.id)?.gateway === true));

/**
 * A host of a list that is not to be used while another one is (derived): what leaves there goes to another, as from any host that uses its gateways,
 * unless another has sent it there. `id` is `<list>/<chassis>`.
 */
export interface GatewayAside extends Row {
  readonly list: string;
  readonly chassis: string;
}
export const gatewayAsideTable = defineTable<GatewayAside>()("gateway_aside", { derived: true });
/**
 * While one host of a list hands over to another, and as long as one that is to be left is there (derived): to whom a host passes what comes from
 * outside for a connection that it does not know, since that one may. `id` is `<list>/<chassis>`.
 */
export interface GatewayAsking extends Row {
  readonly list: string;
  readonly chassis: string;
  readonly to: string;
}
export const gatewayAskingTable = defineTable<GatewayAsking>()("gateway_asking", { derived: true });

/**
 * Where a host passes it, and how what others pass to it arrives: with the VNI, to the gateway's MAC. Undefined: nobody else could know. An app that
 * translates at gateways does both.
 */
export function askedBy(view: ReadView, { list, network_id }: GatewayPlan, chassis: string): { readonly vni: number; readonly port: number } | undefined {
  const asking = view.get(gatewayAskingTable, asideId(list, chassis));
  const vni = numberOf(view, vniPool, "", askingHolder(network_id));
  const port = asking === undefined ? undefined : numberOf(view, peerPorts, "", asking.to);
  return vni === undefined || port === undefined ? undefined : { vni, port };
}

export const asideId = (list: string, chassis: string): string => `${list}/${chassis}`;
/**
 * Who has an address outside that somebody sent to (stored): whoever answered, or the port that the model lists. `id` is addressId(...).
 */
export interface GatewayNeighbour extends Row {
  readonly network_id: string;
  readonly ip: string;
  readonly mac: string;
  /** The model lists it. */
  readonly listed?: true;
  /** A router leads there. */
  readonly hop?: true;
  /** Whose packets it was asked for. */
  readonly project_id?: string;
}
export const gatewayNeighbourTable = defineTable<GatewayNeighbour>()("gateway_neighbour", { indexes: { all: () => "", network: (n) => (n.listed === true ? undefined : n.network_id), listed: (n) => (n.listed === true ? n.network_id : undefined) } });

export const neighboursOf = (view: ReadView, networkId: string): readonly GatewayNeighbour[] => [...view.by(gatewayNeighbourTable, "network", networkId), ...view.by(gatewayNeighbourTable, "listed", networkId)];

/** Meters of what comes to the controller because of gateways, the same ones on every switch: nobody draws one. */
export const gatewayMeters = definePool({ name: "gateway-meter", of: "meter", min: 0x8005_0000, max: 0x8005_0002, about: "meters of what comes to the controller because of gateways", taken: () => true });

/** Packets a second that a host sends to the controller because of gateways, of each kind. */
export const PUNT_METER = { unit: "pps", rate: 200, burst: 400 } as const;

/** At a host where packets come in from outside, who sent one that is too large for the inside is told. */
export function tellTooBig(out: Outputs, chassis: string): void {
  const meter = gatewayMeters.max;
  out.item(chassisScope(chassis), "meter", meter, PUNT_METER);
  tellOutside(out, chassisScope(chassis), meter);
}

/** OpenFlow ports of tunnels between hosts that watch each other, by the host at the far end: the same on every switch, so that groups are. */
export const peerPorts = definePool({ name: "gateway-port", of: "ofport", min: 54_001, max: 60_000, about: "OpenFlow ports of tunnels to hosts that watch each other because of gateways" });
export const gatewayGroups = definePool({ name: "gateway-group", of: "group", min: 1_000_001, max: 2_000_000, about: "groups that choose among the hosts of gateways, for each list of hosts" });
/** Who holds the VNI by which packets go from a router to its gateway on an external network. */
export const vniHolder = (networkId: string): string => `gateway/${networkId}`;
/** And that by which hosts of gateways pass each other what comes from outside. */
export const askingHolder = (networkId: string): string => `gateway/asking/${networkId}`;
/** And that by which they go from routers to hosts on the network's physical one. */
export const roundaboutHolder = (networkId: string): string => `gateway/roundabout/${networkId}`;

export { peerPortName };
/** Whether hosts carry a network by tunnels alone: then every host leads there. One that is on a physical network is outside where that is. */
export function travelsInTunnels(view: ReadView, networkId: string): boolean {
  const segments = view.by(segmentTable, "network", networkId);
  return segments.length > 0 && !segments.some((s) => s.physical_network !== null);
}

/** Whether a host is on one of a network's physical segments. */
export function isOnNetwork(view: ReadView, networkId: string, chassisId: string): boolean {
  const chassis = view.get(chassisTable, chassisId);
  return chassis !== undefined && view.by(segmentTable, "network", networkId).some((s) => isOnPhysical(s, chassis));
}

/**
 * Whether a host of a gateway lives; undefined: none of its fellows is there to say so. One that only says that it is not to be used does, also
 * when what is known of that is a second old.
 */
export function seenAlive(view: LiveView, plan: GatewayPlan, host: string): boolean | undefined {
  const key = view.get(chassisTable, host)?.key;
  if (key === undefined) return undefined;
  const said = plan.hosts.flatMap((fellow) => {
    const status = fellow === host ? undefined : observed(view, fellow, "Interface", peerPortName(key))?.bfd_status;
    return status === undefined ? [] : [status.forwarding === "true" || status.state === "up"];
  });
  return said.length === 0 ? undefined : said.includes(true);
}

/**
 * The host that has a gateway, as far as the controller can see; undefined: none, or nobody knows. Switches do not ask; this is for what a switch
 * cannot do, since it sends nothing by itself: to ask, and to announce.
 */
export function activeHost(host: Pick<ServiceHost, "view" | "synced">, plan: GatewayPlan): string | undefined {
  return plan.hosts.find((id) => {
    const ready = host.view.get(gatewayReadyTable, id);
    return usedBy(ready) && host.synced(id) !== undefined && (plan.hosts.length === 1 || ready?.fellows !== true || seenAlive(host.view, plan, id) !== false);
  });
}

export const usedBy = (ready: Readonly<GatewayReady> | undefined): boolean => ready !== undefined && (ready.users || ready.fellows);
/** Hosts with a router that has a gateway with this list of hosts have the group that chooses one. */
export const listScope = defineScope("gateway-list");

/** Hosts that have gateways on a network. */
export const outsideScope = defineScope("gateway-outside");

/** The gateways of a router, and where each is. */
export const gatewaysOf = (view: ReadView, routerId: string): readonly GatewayPlan[] => view.by(gatewayPlanTable, "router", routerId).filter((p) => p.kind === "gateway");

/**
 * Who knows the addresses of a port outside, on a physical network: the hosts that have it, until somebody else sends to one. So a gateway or a
 * floating IP is no matter of the others, however many there are.
 */
export function knownAt(view: ReadView, by: string, networkId: string, portId: string, hosts: readonly string[]): KnownAt | undefined {
  if (travelsInTunnels(view, networkId)) return undefined;
  const isWanted = view.by(addressTable, "port", portId).some(({ id }) => view.get(gatewayNeighbourTable, id) !== undefined);
  return isWanted ? undefined : { id: `${by}/${portId}`, port_id: portId, hosts };
}

/** Where packets come in that leave by a gateway, in `translate_out`: for routes by its network. */
export const wayOut = { table: gateway.entrance("gateway_out") } as const;
const wayOfSeveral = { table: gateway.entrance("gateway_choice") } as const;
/** The same for routes of a router, which may have several. */
export const wayOutOf = (view: ReadView, routerId: string): { readonly table: Entrance } => (isOneOfSeveral({ router_id: routerId }, view) ? wayOfSeveral : wayOut);

/**
 * An address outside that leads to a router by its gateway, beside the gateway's own. A joint (derived): an app that requires this one and
 * translates or answers for addresses says which there are. Whoever has the gateway answers for it and takes what is sent to its MAC, into the stage `translate`.
 * Rows carry `<app>/...` as id.
 */
export interface GatewayAddress extends Row {
  readonly gateway_id: string;
  readonly ip: string;
  /** The gateway's own, or one that no port of the network else has. */
  readonly mac: string;
  /** Chassis that have it in place of the gateway's hosts: who has the gateway asks there for the neighbours outside that these do not know. */
  readonly at?: readonly string[];
}
export const gatewayAddressTable = defineTable<GatewayAddress>()("gateway_address", { derived: true, open: true, indexes: { gateway: (a) => a.gateway_id, mac: (a) => a.mac, ip: (a) => a.ip } });

export { gatewayLimitTable, gatewayPassageTable, inwardBy, onwardBy, type GatewayLimit, type GatewayPassage } from "./crossing.ts";

/** Id of the port that an address outside leads to, of an external network and for a packet. An app that translates, or answers for addresses, says. */
export const portBehind = defineQuestion<(view: ReadView, networkId: string, ip: string, packet: Pick<PacketQuestion, "protocol" | "port">) => string | undefined>("port_behind");

/**
 * What a router sends outside from an address of the inside leaves from the switches of `scope`, by the app's own actions, and not by the host
 * that has the gateway. The next hop is known, its MAC is not yet looked up.
 */
export function leaveFrom(out: Outputs, scope: Scope, { router, network, source }: { readonly router: number; readonly network: number; readonly source: string }, actions: readonly FlowAction<never, SharedRegister>[]): void {
  gateway.through(out).flow(scope, "gateway_out", { priority: 150, match: { "reg:router": router, "reg:net": network, eth_type: ethType.ip, ipv4_src: source }, actions });
}

/** Whether the router of a gateway has others. */
export const isOneOfSeveral = ({ router_id }: { readonly router_id: string }, view: ReadView): boolean => view.count(routerGatewayTable, "router", router_id) > 1;

/** Among what a router sends into a network what leaves by one gateway: of several there each sends with its own MAC. */
export function sentBy({ router_id, network_id }: Pick<GatewayPlan, "router_id" | "network_id">, router: { readonly key: number }, network: { readonly key: number }, mac: string, view: ReadView): { readonly "reg:router": number; readonly "reg:net": number; readonly eth_src?: string } {
  const several = view.by(routerGatewayTable, "router", router_id).filter((g) => g.network_id === network_id).length > 1;
  return { "reg:router": router.key, "reg:net": network.key, ...(several && { eth_src: mac }) };
}

/** By whose `gateway_ip` a gateway leaves in a family: that of its first address, which what leaves has. By another it would come from a stranger. */
export function defaultSubnetOf(view: ReadView, gatewayId: string, family: 4 | 6): Subnet | undefined {
  const [first] = addressesOf(view, gatewayId, family);
  return first === undefined ? undefined : view.get(subnetTable, first.subnet_id);
}

/** The next hop by default, of a family. */
export const nextHopOf = (gatewayId: string, six: boolean, view: ReadView): string | undefined => defaultSubnetOf(view, gatewayId, six ? 6 : 4)?.gateway_ip ?? undefined;

/** By a gateway, to its next hop, from wherever a route led. */
export const leaveBy = (network: { readonly key: number }, mac: string, nexthop: string) => [load("net", network.key), setField("eth_src", mac), setField("eth_dst", NO_MAC), load("nexthop", nexthop), toTable("gateway_out")] as const;

/** Of what leaves from an address of the inside, all or what comes from ports there. */
export interface Leaving {
  readonly source: string;
  readonly ports?: { readonly protocol: "tcp" | "udp"; readonly match: number | { readonly value: number; readonly mask: number } };
  /** Only what routes lead to this gateway stays by it; what they lead elsewhere is left to another that the source has. */
  readonly asRouted?: boolean;
  /** What routes lead to any of several gateways on its network stays as it is. */
  readonly byAny?: boolean;
}

/** Of a router with several gateways: what leaves so leaves by this gateway. */
export function leaveByGateway(out: Outputs, view: ReadView, gatewayId: string, leaving: Leaving): void {
  const its = view.get(routerGatewayTable, gatewayId);
  const router = its === undefined ? undefined : view.get(liveRouterTable, its.router_id);
  const network = its === undefined ? undefined : view.get(networkTable, its.network_id);
  const port = view.get(portTable, gatewayId);
  if (its === undefined || router === undefined || network === undefined || port === undefined || !isOneOfSeveral(its, view)) return;
  const { source, ports, byAny } = leaving;
  const from = { eth_type: ethType.ip, ipv4_src: source, ...(ports !== undefined && { ip_proto: ipProto[ports.protocol], [`${ports.protocol}_src`]: ports.match }) } as const;
  const into = gateway.through(out);
  const rank = ports === undefined ? 0 : 20;
  const so = byAny === true ? { "reg:router": router.key, "reg:net": network.key } : sentBy(its, router, network, port.mac_address, view);
  into.flow(routerScope(router.id), "gateway_choice", { priority: 150 + rank, match: { ...so, ...from }, actions: [toTable("gateway_out")] });
  const nexthop = nextHopOf(gatewayId, false, view);
  if (leaving.asRouted !== true && nexthop !== undefined) into.flow(routerScope(router.id), "gateway_choice", { priority: 140 + rank, match: { "reg:router": router.key, ...from }, actions: leaveBy(network, port.mac_address, nexthop) });
}

/** +trk+rpl-inv, ovs-fields(7). */
const ANSWERS = { value: 0x28, mask: 0x38 } as const;

/**
 * The same where a switch knows connections, in a zone of the router's: what answers one that was opened to `called` leaves by the gateway,
 * and, if that is the first of several that lead to the source, what opens one.
 */
export function answerByGateway(out: Outputs, view: ReadView, scope: Scope, gatewayId: string, { source, called, zone, first }: { readonly source: string; readonly called: string; readonly zone: number; readonly first: boolean }): void {
  const its = view.get(routerGatewayTable, gatewayId);
  const router = its === undefined ? undefined : view.get(liveRouterTable, its.router_id);
  const network = its === undefined ? undefined : view.get(networkTable, its.network_id);
  const mac = view.get(portTable, gatewayId)?.mac_address;
  const nexthop = nextHopOf(gatewayId, false, view);
  if (router === undefined || network === undefined || mac === undefined || nexthop === undefined) return;
  const into = gateway.through(out);
  const from = { "reg:router": router.key, eth_type: ethType.ip, ipv4_src: source } as const;
  into.flow(scope, "gateway_choice", { priority: 180, match: from, actions: [{ type: "ct_clear" }, load("router_zone", zone), { type: "ct", zone: "router_zone", then: { table: "gateway_answers" } }] });
  // What conntrack held of others may leave it with any packet, and is not of this zone.
  const asked = { ...from, "reg:router_zone": zone, ct_zone: zone } as const;
  into.flow(scope, "gateway_answers", { priority: 100, match: { ...asked, ct_state: ANSWERS, ct_nw_dst: called }, actions: leaveBy(network, mac, nexthop) });
  if (first) into.flow(scope, "gateway_answers", { priority: 50, match: asked, actions: leaveBy(network, mac, nexthop) });
}

/**
 * At a host of a gateway, what comes from outside for a MAC and is sent to an address or prefix goes no further: `nowhere`, but for what is said to go
 * `in`. Nothing needs to be said of what goes in anyway.
 */
export function fromOutside(out: Outputs, chassis: string, network: { readonly key: number }, mac: string, destination: string, goes: "in" | "nowhere"): void {
  const match = { "reg:net": network.key, eth_dst: mac, ...familyMatch(destination), ...ipDst(destination) } as const;
  gateway.through(out).flow(chassisScope(chassis), "gateway_in", goes === "in" ? { priority: 70, match, actions: [next] } : { priority: 60, match, actions: [] });
}

/** Where everybody's packets go on outside: whoever took its address would get them. @throws ApiError 409 IpAddressAlreadyAllocated */
export function checkNotNextHop(view: ReadView, { ip, subnet_id }: Address): void {
  if (view.get(subnetTable, subnet_id)?.gateway_ip === ip) throw conflict("IpAddressAlreadyAllocated", `IP address ${ip} already allocated in subnet ${subnet_id}`);
}

/**
 * At a host of a gateway, what comes from outside to one of its addresses for a port of UDP goes into a table of another app's, which hands on by `next` what it
 * does not take. That table stands in the stage `forward`, after gateway_in and before l3_input.
 */
export function udpFromOutside(out: Outputs, chassis: string, network: { readonly key: number }, mac: string, address: string, udp_dst: number, table: Entrance): void {
  gateway.through(out).flow(chassisScope(chassis), "gateway_in", { priority: 160, match: { "reg:net": network.key, eth_dst: mac, ...familyMatch(address), ...ipDst(address), ip_proto: ipProto.udp, udp_dst }, actions: [toEntrance(table)] });
}
