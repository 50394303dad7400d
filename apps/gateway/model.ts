// gateway's entities: which networks are external, the gateways of routers on them, and what follows from both: which hosts a gateway is on.
import { chassisScope, conflict, definePool, ethType, defineScope, defineTable, familyMatch, ipDst, next, type FlowAction, type Outputs, type ReadView, type Row, type Scope, type SharedRegister } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { segmentTable, type Address } from "../l2/model.ts";
import { tellOutside } from "../l3/model.ts";
import { gateway } from "./tables.ts";

/** A network that leads outside of the cloud. `id` is the network's. */
export type ExternalNetwork = Row;
export const externalNetworkTable = defineTable<ExternalNetwork>()("external_network", { indexes: { all: () => "" } });

/** Where a router leaves for an external network. `id` is its port's there, which has its MAC and addresses. */
export interface RouterGateway extends Row {
  readonly router_id: string;
  readonly network_id: string;
  /** Of several gateways of a router the one at 0 is `external_gateway_info`. */
  readonly position: number;
  /** Whether sources are to be translated; an app that does so reads it. Without one nothing of IPv4 leaves. */
  readonly enable_snat: boolean;
}
export const routerGatewayTable = defineTable<RouterGateway>()("router_gateway", { indexes: { router: (g) => g.router_id, network: (g) => g.network_id } });

/** A chassis that may have gateways (derived). `id` is the chassis'. */
export interface GatewayHost extends Row {
  readonly key: number;
  readonly physical_networks: readonly string[];
}
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
}
export const gatewayPlanTable = defineTable<GatewayPlan>()("gateway_plan", {
  derived: true,
  indexes: { all: () => "", router: (p) => p.router_id, network: (p) => p.network_id, host: (p) => p.hosts },
  /** Each list there is, once. */
  pairs: { lists: (p) => (p.hosts.length === 0 ? undefined : ["all", p.list]) },
});
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
}
export const gatewayReadyTable = defineTable<GatewayReady>()("gateway_ready", { indexes: { all: () => "" } });

/** Who answered outside for an address that the model does not list (stored). `id` is addressId(...). */
export interface GatewayNeighbour extends Row {
  readonly network_id: string;
  readonly ip: string;
  readonly mac: string;
}
export const gatewayNeighbourTable = defineTable<GatewayNeighbour>()("gateway_neighbour", { indexes: { all: () => "", network: (n) => n.network_id } });

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
/** And that by which they go from routers to hosts on the network's physical one. */
export const roundaboutHolder = (networkId: string): string => `gateway/roundabout/${networkId}`;

export const peerPortName = (key: number): string => `axion-bfd-${key}`;

/** Whether hosts carry a network by tunnels alone: then every host leads there. One that is on a physical network is outside where that is. */
export function travelsInTunnels(view: ReadView, networkId: string): boolean {
  const segments = view.by(segmentTable, "network", networkId);
  return segments.length > 0 && !segments.some((s) => s.physical_network !== null);
}

/** Hosts with a router that has a gateway with this list of hosts have the group that chooses one. */
export const listScope = defineScope("gateway-list");

/** Hosts that have gateways on a network. */
export const outsideScope = defineScope("gateway-outside");

/** The gateways of a router, and where each is. */
export const gatewaysOf = (view: ReadView, routerId: string): readonly GatewayPlan[] => view.by(gatewayPlanTable, "router", routerId).filter((p) => p.kind === "gateway");

/** Where packets come in that leave by a gateway, in `translate_out`: for routes by its network. */
export const wayOut = { table: gateway.entrance("gateway_out") } as const;

/**
 * An address outside that leads to a router by its gateway, beside the gateway's own. A joint (derived): an app that requires this one and
 * translates addresses says which there are. Whoever has the gateway answers for it and takes what is sent to its MAC, into the stage `translate`.
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
export const gatewayAddressTable = defineTable<GatewayAddress>()("gateway_address", { derived: true, open: true, indexes: { gateway: (a) => a.gateway_id, mac: (a) => a.mac } });

/**
 * What a router sends outside from an address of the inside leaves from the switches of `scope`, by the app's own actions, and not by the host
 * that has the gateway. The next hop is known, its MAC is not yet looked up.
 */
export function leaveFrom(out: Outputs, scope: Scope, { router, network, source }: { readonly router: number; readonly network: number; readonly source: string }, actions: readonly FlowAction<never, SharedRegister>[]): void {
  gateway.through(out).flow(scope, "gateway_out", { priority: 150, match: { "reg:router": router, "reg:net": network, eth_type: ethType.ip, ipv4_src: source }, actions });
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
