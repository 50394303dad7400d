// NDP proxies, and the switch of routers that lets them count. Where there are address scopes, from outside an address is reached by its own name
// only within one. They need not be there, which elsewhere keep two projects from publishing the same addresses: a prefix is published on an
// external network by one router alone, and none that is on the link there.
import {
  memberOf, badRequest, conflict, defineResource, extendResource, orNull, overlap, parseCidr, reference, type Alias, type ApiContext, type ReadView, type Tx,
} from "#app";
import { routerGatewayTable, type RouterGateway } from "../gateway/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { addressesOf, addressTable, deviceOwner, isAnothersPort, portResource, portTable, type Port } from "../l2/model.ts";
import { routerInterfaceTable, routerResource, routerTable, routingDomainOf, type Router } from "../l3/model.ts";
import { ndpProxyResource, ndpProxyTable, ndpRouterTable, subnetBetween, type NdpProxy } from "./model.ts";

const MEMBER = memberOf();

const gatewayOf = (view: ReadView, routerId: string): RouterGateway | undefined => view.by(routerGatewayTable, "router", routerId).find((g) => g.position === 0);
const hasIpv6 = (view: ReadView, portId: string): boolean => view.by(addressTable, "port", portId).some((a) => a.family === 6);

// ---- which addresses ----

const unreachable = (port: string, router: string): Error => conflict("PortUnreachableRouter", `The port ${port} cannot reach the router ${router} by IPv6 subnet.`);
const invalidAddress = (ip: string, reason: string): Error => badRequest(`The address ${ip} is invalid, reason: ${reason}.`, "InvalidAddress");

/** The address that was named, or the first that the router reaches, with its subnet. */
function addressOf(tx: Tx, port: Port, routerId: string, named: string | null): { readonly ip: string; readonly subnet: Subnet } {
  const own = addressesOf(tx, port.id, 6).map((a) => a.ip);
  if (own.length === 0) throw badRequest(`Bad ndp_proxy request: Requested port ${port.id} must allocate one IPv6 address at least.`, "BadRequest");
  if (named !== null && !own.includes(named)) throw invalidAddress(named, `This address not belong to the port ${port.id}`);
  const ip = named ?? own.find((address) => subnetBetween(tx, routerId, port, address) !== undefined);
  if (ip === undefined) throw unreachable(port.id, routerId);
  const subnet = tx.get(subnetTable, subnetBetween(tx, routerId, port, ip) ?? "");
  if (subnet === undefined) throw invalidAddress(ip, `This address cannot reach the router ${routerId}`);
  return { ip, subnet };
}

/** A router routes within one domain, and who published a prefix of others would get what is sent to them. @throws ApiError 409 AddressScopeConflict */
function checkPublishable(tx: Tx, ctx: ApiContext, { router_id, network_id }: RouterGateway, subnet: Subnet): void {
  const scopeAt = (network: string): string => ctx.ask(routingDomainOf, tx, network, 6).find((d) => d !== undefined) ?? "None";
  const [outside, inside] = [scopeAt(network_id), scopeAt(subnet.network_id)];
  if (outside !== inside) throw conflict("AddressScopeConflict", `The IPv6 address scope ${outside} of external network conflict with internal network's IPv6 address scope ${inside}.`);
  const prefix = parseCidr(subnet.cidr)!;
  const taken = (by: string): Error => conflict("AddressScopeConflict", `The IPv6 prefix ${subnet.cidr} of subnet ${subnet.id} conflicts with ${by} of external network ${network_id}.`);
  const onLink = tx.by(subnetTable, "network", network_id).find((s) => overlap(parseCidr(s.cidr)!, prefix));
  if (onLink !== undefined) throw taken(`subnet ${onLink.id}`);
  for (const other of tx.by(routerGatewayTable, "network", network_id)) {
    if (other.router_id === router_id) continue;
    if (publishedBy(tx, other.router_id).some((theirs) => overlap(parseCidr(theirs.cidr)!, prefix))) throw taken("addresses that another router publishes by a gateway");
  }
}

/** Subnets that a router's proxies have their addresses of. */
const publishedBy = (tx: Tx, routerId: string): Subnet[] =>
  tx.by(ndpProxyTable, "router", routerId).flatMap((proxy) => {
    const port = tx.get(portTable, proxy.port_id);
    return (port === undefined ? undefined : tx.get(subnetTable, subnetBetween(tx, routerId, port, proxy.ip_address) ?? "")) ?? [];
  });

const ndpProxy = defineResource(ndpProxyResource, {
  collection: "ndp_proxies",
  about: "An IPv6 address of a port that its router answers for outside.",
  alias: "l3-ndp-proxy",
  table: ndpProxyTable,
  standard: ["id", "name", "project", "description", "timestamps", "revision"],
  notFound: { type: "NDPProxyNotFound", message: (id) => `Ndp proxy ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "Router by whose gateway it is known, with `enable_ndp_proxy`.", post: true, required: true, filter: true, sort: true, index: "router" },
    port_id: { type: "uuid", about: "Port that has the address.", post: true, required: true, filter: true, sort: true, index: "port" },
    ip_address: { type: "string", about: "The address; null: the first of the port's that the router reaches.", post: true, default: null, check: orNull({ type: "ip" }), filter: true, sort: true },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  bulk: true,
  create(tx, standard, input, ctx: ApiContext) {
    const routerId = input.router_id as string;
    const port = ctx.visible(portResource, input.port_id as string);
    if (isAnothersPort(port, standard, ctx)) throw badRequest(`Bad ndp_proxy request: Port ${port.id} is of another project.`, "BadRequest");
    if (!tx.by(routerInterfaceTable, "network", port.network_id).some((i) => i.router_id === routerId)) throw unreachable(port.id, routerId);
    const router = ctx.visible(routerResource, routerId);
    // The one that it publishes by, which need not be its first any more.
    const gateway = tx.get(routerGatewayTable, tx.get(ndpRouterTable, router.id)?.gateway_id ?? "");
    if (gateway === undefined) {
      throw conflict("RouterNDPProxyNotEnable", `The enable_ndp_proxy parameter of router ${router.id} must be set as True while create ndp proxy entry on it.`);
    }
    const { ip, subnet } = addressOf(tx, port, router.id, input.ip_address as string | null);
    checkPublishable(tx, ctx, gateway, subnet);
    if (tx.by(ndpProxyTable, "router", router.id).some((p) => p.ip_address === ip)) {
      throw conflict("NeutronDbObjectDuplicateEntry", `Failed to create a duplicate NDPProxy: for attribute(s) ['router_id', 'ip_address'] with value(s) ${router.id}, ${ip}`);
    }
    const row: NdpProxy = { router_id: router.id, port_id: port.id, ip_address: ip, ...standard };
    tx.put(ndpProxyTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(ndpProxyTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(ndpProxyTable, row.id),
});

// ---- the switch of routers ----

const notValid = (router: string, reason: string): Error => conflict("RouterGatewayNotValid", `Can not enable ndp proxy on router ${router}, ${reason}.`);

function switchOn(tx: Tx, ctx: ApiContext, router: Router, reason: (gateway: RouterGateway | undefined) => string): void {
  const gateway = gatewayOf(tx, router.id);
  if (gateway === undefined || !hasIpv6(tx, gateway.id)) throw notValid(router.id, reason(gateway));
  // What it published by another gateway, or while nobody else did, may be somebody else's here and now.
  for (const subnet of publishedBy(tx, router.id)) checkPublishable(tx, ctx, gateway, subnet);
  tx.put(ndpRouterTable, { id: router.id, gateway_id: gateway.id });
}

const isOn = (view: ReadView, routerId: string): boolean => {
  const gateway = view.get(ndpRouterTable, routerId)?.gateway_id;
  return gateway !== undefined && view.get(routerGatewayTable, gateway) !== undefined;
};

const ofRouter = extendResource(routerResource, {
  attributes: {
    enable_ndp_proxy: { type: "boolean", about: "Of addresses inside those alone are reached from outside by IPv6 that NDP proxies name, and they are answered for; false without a gateway.", post: true, put: true, check: orNull({ type: "boolean" }), filter: true, alias: "l3-ext-ndp-proxy" },
  },
  create(tx, row, input, ctx) {
    if (input.enable_ndp_proxy !== true) return;
    switchOn(tx, ctx, row, (gateway) =>
      gateway === undefined ? "The request body not contain external gateway information" : `The external network ${gateway.network_id} don't support IPv6 ndp proxy, the network has no IPv6 subnets or has no IPv6 address scope`);
  },
  update(tx, row, changes, ctx) {
    const wanted = changes.enable_ndp_proxy as boolean | null | undefined;
    const had = tx.get(ndpRouterTable, row.id);
    const lost = had !== undefined && tx.get(routerGatewayTable, had.gateway_id) === undefined;
    if (lost) {
      if (tx.count(ndpProxyTable, "router", row.id) > 0) throw inUseByProxies(row.id);
      tx.delete(ndpRouterTable, row.id);
    } else if (gatewayOf(tx, row.id) === undefined && tx.count(ndpProxyTable, "router", row.id) > 0) throw inUseByProxies(row.id);
    if (wanted === true) {
      switchOn(tx, ctx, row, (gateway) => (lost && gateway === undefined ? "The router's external gateway will be unset" : "The router has no external gateway or the external gateway port has no IPv6 address or IPv6 address scope"));
    } else if (wanted === false) tx.delete(ndpRouterTable, row.id);
    else if (had !== undefined && !lost && !hasIpv6(tx, had.gateway_id)) {
      throw conflict("RouterIPv6GatewayInUse", `Can't remove the IPv6 subnet from external gateway of router ${row.id}, the IPv6 subnet in use by the router's ndp proxy.`);
    }
  },
  // A router that has interfaces stays, and what is proxied needs one.
  remove(tx, row) {
    for (const { id } of tx.by(ndpProxyTable, "router", row.id)) tx.delete(ndpProxyTable, id);
    tx.delete(ndpRouterTable, row.id);
  },
  present: (view, row) => ({ enable_ndp_proxy: isOn(view, row.id) }),
});

const inUseByProxies = (router: string): Error =>
  conflict("RouterGatewayInUseByNDPProxy", `Unable to unset external gateway of router ${router}, There are one or more ndp proxies still in use on the router.`);

// ---- guards of what NDP proxies stand on ----

/** Each proxied address of a router that its port has is still reached by it. */
function checkInterfaces(tx: Tx, routerId: string): void {
  for (const { port_id, ip_address: ip } of tx.by(ndpProxyTable, "router", routerId)) {
    const port = tx.get(portTable, port_id);
    const subnet = tx.by(addressTable, "port", port_id).find((a) => a.ip === ip)?.subnet_id;
    if (port === undefined || subnet === undefined || subnetBetween(tx, routerId, port, ip) !== undefined) continue;
    throw conflict("RouterInterfaceInUseByNDPProxy", `Unable to remove subnet ${subnet} from router ${routerId}, There are one or more ndp proxies still in use on the subnet.`);
  }
}

const isInterface = (view: ReadView, port: Port): boolean => port.device_owner === deviceOwner.routerInterface && view.get(routerTable, port.device_id) !== undefined;

const ofPort = extendResource(portResource, {
  update(tx, row, changes) {
    if (changes.fixed_ips !== undefined && isInterface(tx, row)) checkInterfaces(tx, row.device_id);
  },
  remove(tx, row) {
    for (const { id } of tx.by(ndpProxyTable, "port", row.id)) tx.delete(ndpProxyTable, id);
    if (isInterface(tx, row)) checkInterfaces(tx, row.device_id);
  },
});

export const resources = [ndpProxy];
export const extend = [ofRouter, ofPort];
export const references = [
  reference(ndpProxyTable, { to: routerTable, ids: (p) => p.router_id, gone: (tx, p) => tx.delete(ndpProxyTable, p.id) }),
  reference(ndpProxyTable, { to: portTable, ids: (p) => p.port_id, gone: (tx, p) => tx.delete(ndpProxyTable, p.id) }),
  reference(ndpRouterTable, { to: routerTable, ids: (r) => r.id, gone: (tx, r) => tx.delete(ndpRouterTable, r.id) }),
  reference(ndpRouterTable, { to: routerGatewayTable, ids: (r) => r.gateway_id, gone: (tx, r) => tx.delete(ndpRouterTable, r.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "l3-ndp-proxy", name: "L3 NDP Proxy", description: "Routers answer outside for IPv6 addresses of ports.", updated: "2021-06-29T10:00:00-00:00" },
  { alias: "l3-ext-ndp-proxy", name: "Router support to enable NDP proxy", description: "Whether NDP proxies of a router count.", updated: "2020-08-25T00:00:00-00:00" },
];
