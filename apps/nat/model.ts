// nat's entities: floating IPs, and where each is translated.
import { type Alg, defineSettings, defineTable, overlap, parseCidr, resourceHandle, type ReadView, type Row, type StandardRow, zoneMeters } from "#app";
import { routerGatewaysOf, routerGatewayTable } from "../gateway/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { addressesOf, addressTable, type Port } from "../l2/model.ts";
import { interfacesOf, routerInterfaceTable } from "../l3/model.ts";
import type { PortRange } from "./ports.ts";

/** An address of an external network that leads to an address of a port behind a router. */
export interface FloatingIp extends StandardRow {
  readonly floating_network_id: string;
  readonly floating_ip_address: string;
  /** The port that holds the address outside, and has its MAC. */
  readonly floating_port_id: string;
  /** The three are null together, but for `router_id` of one with port forwardings. */
  readonly port_id: string | null;
  readonly fixed_ip_address: string | null;
  readonly router_id: string | null;
  /** The router was named, and has no interface on the subnet of the address: its routes lead there, or nothing does. */
  readonly by_routes?: true | undefined;
}
export const floatingIpTable = defineTable<FloatingIp>()("floatingip", {
  resource: "floatingip",
  naming: { resource: "floating IP", of: (f) => f.floating_ip_address },
  indexes: {
    project: (f) => f.project_id,
    network: (f) => f.floating_network_id,
    floating_port: (f) => f.floating_port_id,
    port: (f) => f.port_id ?? undefined,
    router: (f) => f.router_id ?? undefined,
    /** What a router leads to by them. */
    inside: (f) => (f.router_id === null || f.fixed_ip_address === null ? undefined : `${f.router_id}|${f.fixed_ip_address}`),
  },
});
export const floatingIpResource = resourceHandle<FloatingIp>("floatingip");

/** Floating IPs whose flows were confirmed where they are translated (stored). `id` is the floating IP's. */
export type FloatingIpActive = Row;
export const floatingIpActiveTable = defineTable<FloatingIpActive>()("floatingip_active", {});

/** Ports of a floating IP that lead to ports of an address inside. */
export interface PortForwarding extends Row {
  readonly description: string;
  readonly floatingip_id: string;
  readonly protocol: "tcp" | "udp";
  readonly internal_port_id: string;
  readonly internal_ip_address: string;
  readonly internal: PortRange;
  readonly external: PortRange;
}
export const portForwardingTable = defineTable<PortForwarding>()("port_forwarding", { resource: "port_forwarding", indexes: { floatingip: (f) => f.floatingip_id, port: (f) => f.internal_port_id } });
export const portForwardingResource = resourceHandle<PortForwarding>("port_forwarding");

/** A subnet that floating IPs are of (never stored). `id` is the subnet's. */
export interface FloatingIpPool extends Row {
  readonly subnet_id: string;
  readonly subnet_name: string;
  readonly network_id: string;
  readonly cidr: string;
  readonly project_id: string;
  readonly tenant_id: string;
}
export const floatingIpPoolResource = resourceHandle<FloatingIpPool>("floatingip_pool");

/** Where a floating IP that leads somewhere is translated (derived). `id` is the floating IP's. */
export interface FloatingPlace extends Row {
  readonly router_id: string;
  readonly network_id: string;
  /** The router's gateway on the network. */
  readonly gateway_id: string;
  readonly ip: string;
  readonly mac: string;
  /** The address that it leads to; null: its ports are forwarded. */
  readonly inside: string | null;
  /** On the host of the port, which leads outside itself; else on those of the gateway, by which it is reached. */
  readonly distributed: boolean;
  /** Chassis. */
  readonly hosts: readonly string[];
  /** Where the port is about to be, of those that lead outside: they have the router's zone and the network outside already, so that all changes at once when it is there. */
  readonly next: readonly string[];
}
export const floatingPlaceTable = defineTable<FloatingPlace>()("floating_place", { derived: true, indexes: { address: (p) => `${p.router_id}|${p.ip}`, inside: (p) => (p.inside === null ? undefined : `${p.router_id}|${p.inside}`), /** Of a gateway those whose ports are forwarded. */ forwarding: (p) => (p.inside === null ? p.gateway_id : undefined) } });

/**
 * A protocol whose translated connections say, in what they carry, which others belong to them. A joint (derived): an app that requires this one says
 * where that is read, so that these others find their way through the translation too. Rows carry `<app>/...` as id.
 */
export interface TranslatedHelper extends Row {
  readonly router_id: string;
  readonly alg: Alg;
  readonly protocol: "tcp" | "udp";
  /** That connections are opened to. */
  readonly port: number;
}
export const translatedHelperTable = defineTable<TranslatedHelper>()("translated_helper", { derived: true, open: true, indexes: { router: (h) => h.router_id } });

export const natSettings = defineSettings({
  "translated-connections-pps": { kind: { integer: [1, 10_000_000] }, fallback: "5000", about: "packets a second that open translated connections, for each router at each host, and as many that open them from outside: what may be put into the connection table of the host" },
  "translated-connections-burst": { kind: { integer: [1, 10_000_000] }, fallback: "10000", about: "such packets at once" },
});
/** How many translated connections each router may open on a chassis, and others to it (derived). `id` is the chassis'. */
export interface TranslatedLimit extends Row {
  readonly pps: number;
  readonly burst: number;
}
export const translatedLimitTable = defineTable<TranslatedLimit>()("translated_limit", { derived: true });
/** By the router's zone on a host. What is opened from outside passes others, so that who floods from there does not stop what is opened inside. */
export const openedMeters = zoneMeters("opened-meter", 0x8006_0000, "meters of translated connections that are opened from inside, one for each router: by its zone");
export const calledMeters = zoneMeters("called-meter", 0x8007_0000, "meters of translated connections that are opened from outside, one for each router: by its zone");

/** The address that sources are translated to: the gateway's first of IPv4. */
export const ownAddress = (view: ReadView, gatewayId: string): string | undefined =>
  addressesOf(view, gatewayId, 4)[0]?.ip;

/** Whether sources are translated at a gateway. */
export const hidesSources = (view: ReadView, gatewayId: string): boolean => view.get(routerGatewayTable, gatewayId)?.enable_snat === true && ownAddress(view, gatewayId) !== undefined;

/** The gateway of a router on a network, of several there the first. */
export const gatewayOn = (view: ReadView, routerId: string, networkId: string): string | undefined => routerGatewaysOf(view, routerId).find((g) => g.network_id === networkId)?.id;

/** Routers with an interface on the subnet of a port's address and a gateway on an external network: that which is the gateway of the subnet first, then by id. */
export function routersBetween(view: ReadView, port: Port, fixedIp: string, networkId: string): string[] {
  const subnetId = view.by(addressTable, "port", port.id).find((a) => a.ip === fixedIp)?.subnet_id;
  const subnet = subnetId === undefined ? undefined : view.get(subnetTable, subnetId);
  if (subnet === undefined) return [];
  const found = view.by(routerInterfaceTable, "network", port.network_id).flatMap(({ id, router_id, guest }) => {
    const own = guest === true ? undefined : view.by(addressTable, "port", id).find((a) => a.subnet_id === subnet.id);
    return own === undefined || gatewayOn(view, router_id, networkId) === undefined ? [] : [{ router_id, rank: own.ip === subnet.gateway_ip ? 0 : 1 }];
  });
  return found.sort((a, b) => a.rank - b.rank || (a.router_id < b.router_id ? -1 : 1)).map((r) => r.router_id);
}

/** The router by which an address of a port is reached from an external network where none is named. */
export const routerBetween = (view: ReadView, port: Port, fixedIp: string, networkId: string): string | undefined => routersBetween(view, port, fixedIp, networkId)[0];

/** IPv4 prefixes on the link of an external network, as far as they are none of the router's inside. */
export function linksOutside(view: ReadView, routerId: string, networkId: string): string[] {
  const inside = interfacesOf(view, routerId).flatMap((i) => i.subnets.map((s) => parseCidr(s.cidr)!));
  return view.by(subnetTable, "network", networkId).filter((s) => s.ip_version === 4 && !inside.some((i) => overlap(i, parseCidr(s.cidr)!))).map((s) => s.cidr).sort();
}
