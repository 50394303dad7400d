// Networks that are external, and gateways of routers on them. A gateway is a port of l2 (device_owner network:router_gateway, of no
// project) with a RouterGateway row beside it: that row, not the port's device_owner, says that it is one.
import {
  memberOf, conflict, extendResource, orNull, reference, type Alias, type ApiContext, type Check, type Holders, type ReadView, type Tx,
} from "#app";
import { subnetResource, subnetTable } from "../ipam/model.ts";
import { addressId, addressTable, changedOf, deviceOwner, networkResource, networkTable, portResource, portTable, servicePortInUse, type Port } from "../l2/model.ts";
import { routerLinkTable, routerResource, routerTable, type Router } from "../l3/model.ts";
import { shownHosts } from "./activity.ts";
import { defaultRouteEcmpTable, externalNetworkTable, gatewayNeighbourTable, isOpen, neighboursOf, OUTSIDE, routerGatewaysOf, routerGatewayTable, shownGateway } from "./model.ts";
import { actions } from "./multihoming/actions.ts";
import { addGateway, changeGateway, gatewayInfo, removeGateways, type GatewayInfo } from "./multihoming/gateways.ts";

// ---- external networks ----

const isExternal = (view: ReadView, networkId: string): boolean => view.get(externalNetworkTable, networkId) !== undefined;
const openIds = (view: ReadView): string[] => view.by(externalNetworkTable, "open", "").map((n) => n.id);

function setExternal(tx: Tx, networkId: string, external: boolean): void {
  if (external === isExternal(tx, networkId)) return;
  if (external) {
    tx.put(externalNetworkTable, { id: networkId });
    return;
  }
  if (tx.count(routerGatewayTable, "network", networkId) > 0) {
    throw conflict("ExternalNetworkInUse", `External network ${networkId} cannot be updated to be made non-external, since it has existing gateway ports.`);
  }
  for (const { id } of neighboursOf(tx, networkId)) tx.delete(gatewayNeighbourTable, id);
  tx.delete(externalNetworkTable, networkId);
}

/** As policies say. */
function setHolders(tx: Tx, { id }: { readonly id: string }, holders: Holders, ctx: ApiContext): void {
  if (holders === "nobody") {
    ctx.update(networkResource, id, { "router:external": false });
    return;
  }
  tx.put(externalNetworkTable, { id, ...(holders === "some" && { restricted: true }) });
  ctx.bump(networkResource, id);
}

const ofNetwork = extendResource(networkResource, {
  attributes: {
    "router:external": {
      type: "boolean", about: "Leads outside of the cloud: routers may have gateways there. What is said here is so for everybody.", post: true, put: true, default: false, filter: true, alias: "external-net",
      policy: { create: "rule:admin_only", update: "rule:admin_only" },
    },
  },
  relations: { [OUTSIDE]: (row, view) => isOpen(view, row.id) },
  reach: { [OUTSIDE]: openIds },
  accesses: {
    access_as_external: {
      relation: OUTSIDE,
      needed: true,
      *usedBy(view, row) {
        for (const { router_id } of view.by(routerGatewayTable, "network", row.id)) yield view.get(routerTable, router_id)?.project_id ?? row.project_id;
      },
      kept: { read: (view, row) => (isOpen(view, row.id) ? "everybody" : isExternal(view, row.id) ? "some" : "nobody"), write: setHolders },
    },
  },
  create: (tx, row, input) => setExternal(tx, row.id, input["router:external"] === true),
  update(tx, row, changes) {
    if (changes["router:external"] !== undefined) setExternal(tx, row.id, changes["router:external"] as boolean);
  },
  remove(tx, row) {
    for (const { id } of neighboursOf(tx, row.id)) tx.delete(gatewayNeighbourTable, id);
    tx.delete(externalNetworkTable, row.id);
  },
  present: (view, row) => ({ "router:external": isExternal(view, row.id) }),
});

const ofSubnet = extendResource(subnetResource, {
  attributes: { "router:external": { type: "boolean", about: "Of an external network.", filter: true, alias: "subnet-external-network" } },
  relations: { [OUTSIDE]: (row, view) => isOpen(view, row.network_id) },
  reach: { [OUTSIDE]: (view) => openIds(view).flatMap((id) => view.by(subnetTable, "network", id).map((s) => s.id)) },
  update(tx, row, changes) {
    const ip = changes.gateway_ip as string | null | undefined;
    if (ip === null || ip === undefined || !isExternal(tx, row.network_id)) return;
    const port = tx.get(portTable, tx.get(addressTable, addressId(row.network_id, ip))?.port_id ?? "");
    if (port?.device_owner !== deviceOwner.routerGateway && port?.device_owner !== deviceOwner.floatingIp) return;
    throw conflict("GatewayIpInUse", `Current gateway ip ${ip} already in use by port ${port.id}. Unable to update.`);
  },
  present: (view, row) => ({ "router:external": isExternal(view, row.network_id) }),
});

// ---- gateways of routers ----

/** null and {} are no gateway. */
const oneOrNone: Check = { or: [{ type: "null" }, gatewayInfo, { dict: {} }] };

function setGateway(tx: Tx, router: Router, info: GatewayInfo | null, ctx: ApiContext): void {
  const all = routerGatewaysOf(tx, router.id);
  const [now] = all;
  if (info === null) removeGateways(tx, router.id, all.map((g) => g.id), ctx);
  // The same network again keeps the port, and what is not said of it.
  else if (now?.network_id === info.network_id) changeGateway(tx, now, info, ctx);
  else {
    if (now !== undefined) ctx.remove(portResource, now.id);
    addGateway(tx, router, info, ctx, 0);
  }
}

/** What a caller gave; nothing of it is no gateway. */
const infoOf = (given: unknown): GatewayInfo | null => ((given as Partial<GatewayInfo> | null)?.network_id === undefined ? null : (given as GatewayInfo));

function setEcmp(tx: Tx, routerId: string, wanted: unknown): void {
  if (wanted === true) tx.put(defaultRouteEcmpTable, { id: routerId });
  else tx.delete(defaultRouteEcmpTable, routerId);
}

const HOSTS = "axion:gateway_hosts";
const ADMIN = { create: "rule:admin_only", update: "rule:admin_only" } as const;
const OWNER = { create: memberOf(), update: memberOf() } as const;

const ofRouter = extendResource(routerResource, {
  attributes: {
    external_gateway_info: {
      type: "object", about: "Where it leaves for an external network: null, or `network_id`, `enable_snat`, `external_fixed_ips`; null or {} takes it away.", post: true, put: true, default: null, check: oneOrNone,
      policy: { ...OWNER, keys: { network_id: OWNER, enable_snat: ADMIN, external_fixed_ips: ADMIN } },
    },
    [HOSTS]: {
      type: "object[]", about: "Of each gateway its hosts, the preferred one first: whether they may be used (`ready`), are seen alive by others (`alive`; null: nobody is there to say), and which one has it (`active`).",
      onRequest: true, policy: { get: "rule:admin_only" }, alias: "axion-gateway-hosts",
    },
    enable_snat: { type: "boolean", about: "Whether sources are translated at its first gateway; true without one.", filter: true, sort: true, alias: "router-enable-snat" },
    external_gateways: { type: "object[]", about: "All of its gateways, the first as `external_gateway_info` shows it.", alias: "external-gateway-multihoming" },
    enable_default_route_ecmp: {
      type: "boolean", about: "Whether default routes by all of its gateways are used at once; else that of the first.", post: true, put: true, default: null, check: orNull({ type: "boolean" }), alias: "enable-default-route-ecmp", policy: ADMIN,
    },
  },
  create(tx, row, input, ctx) {
    const info = infoOf(input.external_gateway_info);
    if (info !== null) addGateway(tx, row, info, ctx);
    setEcmp(tx, row.id, input.enable_default_route_ecmp);
  },
  update(tx, row, changes, ctx) {
    if (changes.external_gateway_info !== undefined) setGateway(tx, row, infoOf(changes.external_gateway_info), ctx);
    if (changes.enable_default_route_ecmp !== undefined) setEcmp(tx, row.id, changes.enable_default_route_ecmp);
  },
  // That interfaces keep the router is l3's to say, and then nothing of this is written.
  remove(tx, row, ctx) {
    for (const { id } of tx.by(routerGatewayTable, "router", row.id)) ctx.remove(portResource, id);
    tx.delete(defaultRouteEcmpTable, row.id);
  },
  present(view, row) {
    const external_gateways = routerGatewaysOf(view, row.id).map((gateway) => shownGateway(view, gateway));
    return { external_gateway_info: external_gateways[0] ?? null, enable_snat: external_gateways[0]?.enable_snat ?? true, external_gateways, enable_default_route_ecmp: view.get(defaultRouteEcmpTable, row.id) !== undefined };
  },
  presentOnRequest: (view, row) => ({ [HOSTS]: shownHosts(view, row.id) }),
  actions,
});

// ---- guards of what gateways stand on ----

const isGateway = (port: Port, router: string, changed?: readonly string[]): Error => servicePortInUse(port, `it is the gateway of router ${router}`, changed);

function removeRows(tx: Tx, portId: string): void {
  tx.delete(routerGatewayTable, portId);
  tx.delete(routerLinkTable, portId);
}

const ofPort = extendResource(portResource, {
  update(tx, row, _changes, ctx, before) {
    const changed = changedOf(before, row, "device_id", "device_owner");
    if (ctx.internal || changed.length === 0) return;
    const its = tx.get(routerGatewayTable, row.id);
    if (its !== undefined) throw isGateway(before, its.router_id, changed);
  },
  remove(tx, row, ctx) {
    const its = tx.get(routerGatewayTable, row.id);
    if (its === undefined) return;
    if (!ctx.internal) throw isGateway(row, its.router_id);
    removeRows(tx, row.id);
  },
});

export const extend = [ofNetwork, ofSubnet, ofRouter, ofPort];
export const references = [
  reference(externalNetworkTable, { to: networkTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(externalNetworkTable, n.id) }),
  reference(gatewayNeighbourTable, { to: networkTable, ids: (n) => n.network_id, gone: (tx, n) => tx.delete(gatewayNeighbourTable, n.id) }),
  reference(routerGatewayTable, { to: portTable, ids: (g) => g.id, gone: (tx, g) => removeRows(tx, g.id) }),
  reference(routerGatewayTable, { to: routerTable, ids: (g) => g.router_id, gone: (tx, g) => removeRows(tx, g.id) }),
  reference(defaultRouteEcmpTable, { to: routerTable, ids: (e) => e.id, gone: (tx, e) => tx.delete(defaultRouteEcmpTable, e.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "external-net", name: "Neutron external network", description: "Networks may lead outside.", updated: "2013-01-14T10:00:00-00:00" },
  { alias: "ext-gw-mode", name: "Neutron L3 Configurable external gateway mode", description: "Whether sources are translated at a router's gateway.", updated: "2013-03-28T10:00:00-00:00" },
  { alias: "router-enable-snat", name: "Router enable_snat", description: "Routers show whether sources are translated at their gateway, and lists are filtered by it.", updated: "2025-09-18T18:00:00-00:00" },
  { alias: "subnet-external-network", name: "Subnet belongs to external network", description: "Subnets show whether their network leads outside.", updated: "2023-03-09T10:00:00-00:00" },
  { alias: "external-gateway-multihoming", name: "Neutron L3 External Gateway Multihoming", description: "Routers may have several gateways.", updated: "2023-01-18T00:00:00-00:00" },
  { alias: "axion-gateway-hosts", name: "Hosts of gateways", description: "Routers show administrators which hosts their gateways are on.", updated: "2026-11-29T00:00:00-00:00" },
  { alias: "enable-default-route-ecmp", name: "Enable Default Route ECMP", description: "Default routes by all gateways of a router may be used at once.", updated: "2023-02-27T00:00:00-00:00" },
];
