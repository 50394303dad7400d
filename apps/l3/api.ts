// Routers, their interfaces and extra routes. An interface is a port of l2 with a RouterInterface row beside it: that row,
// not the port's device_owner, says that the port is the router's.
import {
  memberOf, badRequest, conflict, contains, defineResource, draw, extendResource, invalidFor, isObject, makeCheck, notFound, orNull, parseCidr, parseIp, parseUuid, reference, show,
  type Action, type Alias, type ApiContext, type Check, type Convert, type Converter, type ReadView, type Tx, type Values,
} from "#app";
import { addressId, addressTable, changedOf, deviceOwner, networkTable, portResource, portTable, servicePortInUse, type Address, type Port } from "../l2/model.ts";
import { subnetResource, type Subnet } from "../ipam/model.ts";
import { badRouter, checkNewPrefix, connectionsOf, interfacesOf, interfaceOf, routerInterfaceTable, routerKeys, routerLinkTable, routerResource, routerTable, type StaticRoute, type Router, type RouterInterface, type Connection } from "./model.ts";

const ip = makeCheck({ type: "ip" });
const strictCidr = makeCheck({ type: "strict-cidr" });
/** Of a router, in words of quotas: by default so many, at most so many; each is a flow on every host that has the router. */
const ROUTES = "router_route";
const DEFAULT_ROUTES = 30;
const MAX_ROUTES = 1024;

// ---- what a router is connected to ----

function checkConnectable(tx: Tx, router: Router, subnet: Subnet): void {
  // Someone else's router announces this prefix; ours must stay silent there.
  if (subnet.ip_version === 6 && subnet.ipv6_ra_mode === null && subnet.ipv6_address_mode !== null) {
    throw badRouter(`IPv6 subnet ${subnet.id} configured to receive RAs from an external router cannot be added to this router`);
  }
  checkNewPrefix(tx, router.id, subnet);
}

/**
 * Whether the caller is on this subnet by somebody else's leave: neither the network nor the subnet is his project's. A shared network
 * is there to have ports on; whose traffic leaves it by which router is its owner's business.
 */
function isGuest(tx: Tx, subnet: Subnet, { internal, caller }: ApiContext): boolean {
  return !internal && !caller.admin && subnet.project_id !== caller.projectId && tx.get(networkTable, subnet.network_id)?.project_id !== caller.projectId;
}

/** Refuses to take away subnets that a next hop is in. */
function checkNotStranded(router: Router, subnets: readonly Subnet[]): void {
  for (const subnet of subnets) {
    const prefix = parseCidr(subnet.cidr)!;
    if (!router.routes.some((r) => contains(prefix, parseIp(r.nexthop)!))) continue;
    throw conflict("RouterInterfaceInUseByRoute", `Router interface for subnet ${subnet.id} on router ${router.id} cannot be deleted, as it is required by one or more routes.`);
  }
}

// ---- interfaces ----

interface Attach {
  readonly subnet_id?: string;
  readonly port_id?: string;
}

function attachBody(body: Values): Attach {
  const out: { subnet_id?: string; port_id?: string } = {};
  for (const key of ["subnet_id", "port_id"] as const) {
    const value = body[key];
    if (value === undefined || value === null) continue;
    const id = parseUuid(value);
    if (id === undefined) throw invalidFor(key, `'${show(value)}' is not a valid UUID`);
    out[key] = id;
  }
  if (out.subnet_id === undefined && out.port_id === undefined) throw badRouter("Either subnet_id or port_id must be specified");
  return out;
}

const interfaceInfo = (router: Router, port: Port, subnetIds: readonly string[]): Record<string, unknown> => ({
  id: router.id,
  tenant_id: router.project_id,
  project_id: router.project_id,
  port_id: port.id,
  network_id: port.network_id,
  subnet_id: subnetIds.at(-1),
  subnet_ids: subnetIds,
});

const fixedIpsOf = (i: Connection): { subnet_id: string; ip_address: string }[] => i.addresses.map((a) => ({ subnet_id: a.subnet_id, ip_address: a.ip }));

function addBySubnet(tx: Tx, router: Router, subnetId: string, ctx: ApiContext): Port {
  const subnet = ctx.visible(subnetResource, subnetId);
  if (subnet.gateway_ip === null) throw badRouter("Subnet for router interface must have a gateway IP");
  if (isGuest(tx, subnet, ctx)) throw badRouter(`Cannot add interface to router because subnet ${subnet.id} is not owned by project making the request`);
  checkConnectable(tx, router, subnet);
  const fixed = { subnet_id: subnet.id, ip_address: subnet.gateway_ip };
  if (subnet.ip_version === 6) {
    // The IPv6 prefixes of a network share one interface, for there is one link-local address that hosts route to.
    const shared = interfacesOf(tx, router.id).find((i) => i.port.network_id === subnet.network_id && i.addresses.length > 0 && i.addresses.every((a) => a.family === 6));
    if (shared !== undefined) return ctx.update(portResource, shared.port.id, { fixed_ips: [...fixedIpsOf(shared), fixed] });
  }
  const port = ctx.create(portResource, {
    project_id: router.project_id,
    network_id: subnet.network_id,
    fixed_ips: [fixed],
    device_id: router.id,
    device_owner: deviceOwner.routerInterface,
  });
  tx.put(routerInterfaceTable, { id: port.id, router_id: router.id, network_id: port.network_id });
  return port;
}

function addByPort(tx: Tx, router: Router, portId: string, ctx: ApiContext): { port: Port; subnets: readonly string[] } {
  const port = ctx.visible(portResource, portId);
  // A network's owner sees the ports of others on it, but may not take them.
  if (!ctx.internal && !ctx.caller.admin && port.project_id !== ctx.caller.projectId) throw notFound("PortNotFound", `Port ${portId} could not be found.`);
  if (port.device_id !== "" || tx.get(routerInterfaceTable, port.id) !== undefined) {
    throw conflict("PortInUse", `Unable to complete operation on port ${port.id} for network ${port.network_id}. Port already has an attached device ${port.device_id}.`);
  }
  const { addresses, subnets } = interfaceOf(tx, port.id)!;
  if (addresses.length === 0) throw badRouter("A port used as a router interface must have at least one address");
  if (addresses.filter((a) => a.family === 4).length > 1) throw badRouter("Cannot have multiple IPv4 subnets on router port");
  const foreign = subnets.filter((s) => isGuest(tx, s, ctx));
  for (const subnet of foreign) {
    if (!addresses.some((a) => a.ip === subnet.gateway_ip)) continue;
    throw badRouter(`Cannot add interface to router because port ${port.id} has the gateway address of subnet ${subnet.id}, which is not owned by project making the request`);
  }
  for (const subnet of subnets) checkConnectable(tx, router, subnet);
  const v6 = (i: { addresses: readonly Address[] }): boolean => i.addresses.some((a) => a.family === 6);
  if (v6({ addresses }) && interfacesOf(tx, router.id).some((i) => i.port.network_id === port.network_id && v6(i))) {
    throw badRouter(`Cannot have multiple router ports with the same network id if both contain IPv6 subnets: network ${port.network_id}`);
  }
  tx.put(routerInterfaceTable, { id: port.id, router_id: router.id, network_id: port.network_id, ...(foreign.length > 0 && { guest: true }) });
  return { port: ctx.update(portResource, port.id, { device_id: router.id, device_owner: deviceOwner.routerInterface }), subnets: subnets.map((s) => s.id) };
}

const UUID: Check = { type: "uuid" };
/** Of both actions on interfaces. */
const attaching = {
  policy: memberOf(),
  form: { dict: { subnet_id: { check: orNull(UUID) }, port_id: { check: orNull(UUID) } } },
  answers: { id: UUID, tenant_id: { type: "string" }, project_id: { type: "string" }, port_id: UUID, network_id: UUID, subnet_id: UUID, subnet_ids: { list: UUID } },
} as const;

const addInterface: Action<Router> = {
  ...attaching,
  about: "Connects a subnet by its gateway address, which only its owner or the network's may, or an unused port with the addresses it has.",
  run(tx, row, body, ctx) {
    const { subnet_id, port_id } = attachBody(body);
    if (subnet_id !== undefined && port_id !== undefined) throw badRouter("Cannot specify both subnet-id and port-id");
    let info: Record<string, unknown>;
    if (subnet_id !== undefined) info = interfaceInfo(row, addBySubnet(tx, row, subnet_id, ctx), [subnet_id]);
    else {
      const { port, subnets } = addByPort(tx, row, port_id!, ctx);
      info = interfaceInfo(row, port, subnets);
    }
    ctx.bump(routerResource, row.id);
    return info;
  },
};

/** The interface that the body names; of a shared IPv6 interface, `part` is the only subnet to take off. */
function findInterface(tx: Tx, ctx: ApiContext, router: Router, { subnet_id, port_id }: Attach): { found: Connection; part: string | undefined } {
  if (port_id !== undefined) {
    const found = tx.get(routerInterfaceTable, port_id)?.router_id === router.id ? interfaceOf(tx, port_id) : undefined;
    if (found === undefined) throw notFound("RouterInterfaceNotFound", `Router ${router.id} does not have an interface with id ${port_id}.`);
    if (subnet_id !== undefined && !found.subnets.some((s) => s.id === subnet_id)) {
      throw badRequest(`Subnet on port ${port_id} does not match the requested subnet ${subnet_id}.`, "SubnetMismatchForPort");
    }
    return { found, part: undefined };
  }
  const found = interfacesOf(tx, router.id).find((i) => i.subnets.some((s) => s.id === subnet_id));
  // Of a subnet that is not to be seen it is not said that it is there.
  if (found === undefined) ctx.visible(subnetResource, subnet_id!);
  if (found === undefined) throw notFound("RouterInterfaceNotFoundForSubnet", `Router ${router.id} has no interface on subnet ${subnet_id!}.`);
  return { found, part: found.subnets.length > 1 ? subnet_id : undefined };
}

const removeInterface: Action<Router> = {
  ...attaching,
  about: "Disconnects a subnet or port; the port is deleted.",
  run(tx, row, body, ctx) {
    const names = attachBody(body);
    const { found, part } = findInterface(tx, ctx, row, names);
    const leaving = part === undefined ? found.subnets : found.subnets.filter((s) => s.id === part);
    checkNotStranded(row, leaving);
    if (part === undefined) ctx.remove(portResource, found.port.id);
    else ctx.update(portResource, found.port.id, { fixed_ips: fixedIpsOf(found).filter((f) => f.subnet_id !== part) });
    ctx.bump(routerResource, row.id);
    return interfaceInfo(row, found.port, leaving.map((s) => s.id));
  },
};

// ---- routes ----

/** `[{destination, nexthop}]` of one family each; whether the router can reach the next hop is checkRoutes'. */
const routeList: Convert = (value, attribute) => {
  if (value === null) return [];
  if (!Array.isArray(value)) throw invalidFor(attribute, `'${show(value)}' is not a list`);
  return (value as readonly unknown[]).map((item): StaticRoute => {
    if (!isObject(item) || Object.keys(item).length !== 2 || item.destination === undefined || item.nexthop === undefined) {
      throw invalidFor(attribute, `Invalid data format for route: '${show(item)}'`);
    }
    const destination = strictCidr(item.destination, attribute) as string;
    const nexthop = ip(item.nexthop, attribute) as string;
    if (parseCidr(destination)!.family !== parseIp(nexthop)!.family) throw invalidFor(attribute, `nexthop '${nexthop}' is not of the family of '${destination}'`);
    return { destination, nexthop };
  });
};

const invalidRoutes = (routes: readonly StaticRoute[], reason: string): Error =>
  badRequest(`Invalid format for routes: ${show(routes)}, ${reason}`, "InvalidRoutes");

/** More than a quota allows is refused; fewer than before never are, though a quota has been lowered since. */
function checkNumber(router: Router, routes: readonly StaticRoute[], ctx: ApiContext): void {
  const quota = ctx.limitOf(routerResource, ROUTES, router.project_id);
  const most = quota === undefined ? DEFAULT_ROUTES : MAX_ROUTES;
  if (routes.length > most) throw badRequest(`Unable to complete operation for ${router.id}. The number of routes exceeds the maximum ${most}.`, "RoutesExhausted");
  if (quota !== undefined && quota >= 0 && routes.length > quota && routes.length > router.routes.length) throw conflict("OverQuota", "Quota exceeded for resources: ['router_route'].");
}

function checkRoutes(tx: Tx, router: Router, routes: readonly StaticRoute[]): void {
  const interfaces = connectionsOf(tx, router.id);
  const prefixes = interfaces.flatMap((i) => i.subnets.map((s) => parseCidr(s.cidr)!));
  const own = new Set(interfaces.flatMap((i) => i.addresses.map((a) => a.ip)));
  const there = new Set(router.routes.map(routeKey));
  const seen = new Set<string>();
  for (const route of routes) {
    // Several next hops for one destination are used side by side.
    if (seen.has(routeKey(route))) throw invalidRoutes(routes, `duplicate route to ${route.destination}`);
    seen.add(routeKey(route));
    // One that is there may have lost its way since, and is no matter of this change.
    if (there.has(routeKey(route))) continue;
    const hop = parseIp(route.nexthop)!;
    if (!prefixes.some((p) => contains(p, hop))) throw invalidRoutes(routes, "the nexthop is not connected with router");
    if (own.has(route.nexthop)) throw invalidRoutes(routes, "the nexthop is used by router");
  }
}

function bodyRoutes(body: Values): readonly StaticRoute[] {
  const router = body.router;
  if (!isObject(router) || router.routes === undefined) throw badRequest("Unable to find 'router' with 'routes' in request body");
  const routes = routeList(router.routes, "routes") as readonly StaticRoute[];
  return [...new Map(routes.map((r) => [routeKey(r), r])).values()];
}

const routeKey = (r: StaticRoute): string => `${r.destination} ${r.nexthop}`;

const changeRoutes = (about: string, change: (now: readonly StaticRoute[], given: readonly StaticRoute[]) => readonly StaticRoute[]): Action<Router> => ({
  about,
  policy: memberOf(),
  form: { dict: { router: { check: { dict: { routes: { check: { convert: "routes" }, required: true } } }, required: true } } },
  shows: true,
  run(_tx, row, body, ctx) {
    const routes = change(row.routes, bodyRoutes(body));
    if (routes.length !== row.routes.length) ctx.update(routerResource, row.id, { routes });
  },
});

// ---- routers ----

const router = defineResource(routerResource, {
  collection: "routers",
  about: "Forwards between the subnets it is connected to.",
  alias: "router",
  table: routerTable,
  quota: { default: 10 },
  limits: { [ROUTES]: { about: "Routes of each of its routers, 1024 at most.", default: DEFAULT_ROUTES, count: (row) => row.routes.length } },
  notFound: { type: "RouterNotFound", message: (id) => `Router ${id} could not be found.` },
  attributes: {
    admin_state_up: { type: "boolean", about: "False: forwards nothing.", post: true, put: true, default: true, filter: true, sort: true },
    status: { type: "string", about: "Always ACTIVE.", sort: true },
    routes: { type: "object[]", about: "At most 30, or what the quota router_route says; each next hop must be in a connected subnet.", put: true, check: { convert: "routes" }, alias: "extraroute" },
  },
  policy: { create: memberOf(), get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: memberOf(), delete: memberOf() },
  bulk: true,

  create(tx, standard, input) {
    const row: Router = {
      key: draw(tx, routerKeys),
      admin_state_up: input.admin_state_up as boolean,
      routes: [],
      ...standard,
    };
    tx.put(routerTable, row);
    return row;
  },

  update(tx, row, changes, ctx) {
    const routes = (changes.routes as readonly StaticRoute[] | undefined) ?? row.routes;
    if (changes.routes !== undefined) {
      checkNumber(row, routes, ctx);
      checkRoutes(tx, row, routes);
    }
    const after: Router = { ...row, admin_state_up: (changes.admin_state_up as boolean | undefined) ?? row.admin_state_up, routes };
    tx.put(routerTable, after);
    return after;
  },

  remove(tx, row) {
    if (tx.by(routerInterfaceTable, "router", row.id).length > 0) throw conflict("RouterInUse", `Router ${row.id} still has ports.`);
    tx.delete(routerTable, row.id);
  },

  present: () => ({ status: "ACTIVE" }),
  actions: {
    add_router_interface: addInterface,
    remove_router_interface: removeInterface,
    add_extraroutes: changeRoutes("Adds routes; those already there are fine.", (now, given) => {
      const have = new Set(now.map(routeKey));
      return [...now, ...given.filter((r) => !have.has(routeKey(r)))];
    }),
    remove_extraroutes: changeRoutes("Removes routes; those not there are fine.", (now, given) => {
      const gone = new Set(given.map(routeKey));
      return now.filter((r) => !gone.has(routeKey(r)));
    }),
  },
});

export const converters: Readonly<Record<string, Converter>> = {
  routes: {
    about: "routes by next hop",
    form: orNull({ list: { dict: { destination: { check: { type: "strict-cidr" }, required: true }, nexthop: { check: { type: "ip" }, required: true } } } }),
    run: routeList,
  },
};

// ---- guards of what routers stand on ----

/** A device_id is a claim to be part of that device: not of someone else's router. */
function checkDevice(tx: Tx, port: Port, ctx: ApiContext): void {
  if (ctx.internal || ctx.caller.admin || port.device_id === "") return;
  const owner = tx.get(routerTable, port.device_id);
  if (owner === undefined || owner.project_id === ctx.caller.projectId) return;
  throw conflict("DeviceIDNotOwnedByTenant", `The following device_id ${port.device_id} is not owned by your tenant or matches another tenants router.`);
}

const isInterface = (port: Port, router: string, changed?: readonly string[]): Error => servicePortInUse(port, `it is an interface of router ${router}`, changed);

const portGuard = extendResource(portResource, {
  create: (tx, row, _input, ctx) => checkDevice(tx, row, ctx),
  update(tx, row, changes, ctx, before) {
    if (changes.device_id !== undefined && row.device_id !== before.device_id) checkDevice(tx, row, ctx);
    const changed = changedOf(before, row, "device_id", "device_owner");
    if (ctx.internal || changed.length === 0) return;
    const its = tx.get(routerInterfaceTable, row.id);
    if (its !== undefined) throw isInterface(before, its.router_id, changed);
  },
  remove(tx, row, ctx) {
    const its = tx.get(routerInterfaceTable, row.id);
    if (its === undefined) return;
    if (!ctx.internal) throw isInterface(row, its.router_id);
    tx.delete(routerInterfaceTable, row.id);
  },
});

const routerPortAt = (view: ReadView, networkId: string, address: string): RouterInterface | undefined => {
  const at = view.get(addressTable, addressId(networkId, address));
  return at === undefined ? undefined : view.get(routerInterfaceTable, at.port_id);
};

const subnetGuard = extendResource(subnetResource, {
  update(tx, row, _changes, _ctx, before) {
    if (before.gateway_ip === null || row.gateway_ip === before.gateway_ip) return;
    const its = routerPortAt(tx, row.network_id, before.gateway_ip);
    if (its !== undefined) throw conflict("GatewayIpInUse", `Current gateway ip ${before.gateway_ip} already in use by port ${its.id}. Unable to update.`);
  },
  remove(tx, row) {
    for (const its of tx.by(routerInterfaceTable, "network", row.network_id)) {
      if (!tx.by(addressTable, "port", its.id).some((a) => a.subnet_id === row.id)) continue;
      throw conflict("SubnetInUse", `Unable to complete operation on subnet ${row.id}: One or more ports have an IP allocation from this subnet: it is connected to router ${its.router_id}.`);
    }
  },
});

export const resources = [router];
export const references = [
  reference(routerInterfaceTable, { to: portTable, ids: (i) => i.id, gone: (tx, i) => tx.delete(routerInterfaceTable, i.id) }),
  reference(routerLinkTable, { to: portTable, ids: (l) => l.id, gone: (tx, l) => tx.delete(routerLinkTable, l.id) }),
];
export const extend = [portGuard, subnetGuard];
export const aliases: readonly Alias[] = [
  { alias: "router", name: "Neutron L3 Router", description: "Routers between subnets.", updated: "2012-07-20T10:00:00-00:00" },
  { alias: "extraroute", name: "Neutron Extra Route", description: "Static routes of routers.", updated: "2013-02-01T10:00:00-00:00" },
  { alias: "ecmp_routes", name: "Equal Cost Multipath Routing", description: "Several routes to one destination are used side by side.", updated: "2020-11-26T18:00:00-00:00" },
  { alias: "extraroute-atomic", name: "Atomically add/remove extra routes", description: "Routes are added and removed without sending the whole list.", updated: "2019-07-10T00:00:00+00:00" },
];
