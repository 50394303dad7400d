// Floating IPs. The address outside is that of a port of its own (device_owner network:floatingip, of no project), which is there as long as
// the floating IP is.
import { memberOf, badRequest, conflict, defineResource, notFound, orNull, parseIp, type Alias, type ApiContext, type StandardRow, type Tx, type Values } from "#app";
import { checkNotNextHop, leadsOutside } from "../gateway/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { addressTable, deviceOwner, isAnothersPort, networkResource, portResource, portStatusTable, portTable, type Port } from "../l2/model.ts";
import { routerResource } from "../l3/model.ts";
import { portForwarding, shownForwardings } from "./forwarding-api.ts";
import { floatingIpPool } from "./pools-api.ts";
import { floatingIpActiveTable, floatingIpResource, floatingIpTable, gatewayOn, portForwardingTable, routerBetween, routersBetween, type FloatingIp } from "./model.ts";

const MEMBER = memberOf();

const badFloatingIp = (message: string): Error => badRequest(`Bad floatingip request: ${message}.`, "BadRequest");

// ---- the address outside ----

/** Whether a pool of the subnet has an address that nobody has. */
function hasRoom(tx: Tx, subnet: Subnet): boolean {
  const pools = subnet.allocation_pools.map((p) => ({ start: parseIp(p.start)!.value, end: parseIp(p.end)!.value }));
  const size = pools.reduce((sum, p) => sum + p.end - p.start + 1n, 0n);
  if (size > BigInt(tx.count(addressTable, "subnet", subnet.id))) return true;
  const taken = tx.by(addressTable, "subnet", subnet.id).filter(({ ip }) => pools.some((p) => p.start <= parseIp(ip)!.value && parseIp(ip)!.value <= p.end));
  return size > BigInt(taken.length);
}

/** What the port outside is to have: the address or subnet that was named, else an address of the first subnet of IPv4 that has any. */
function wantedOutside(tx: Tx, networkId: string, { subnet_id, floating_ip_address }: Values): { readonly subnet_id?: string; readonly ip_address?: string } {
  const named = subnet_id === null || subnet_id === undefined ? undefined : tx.get(subnetTable, subnet_id as string);
  if (subnet_id !== null && subnet_id !== undefined) {
    if (named?.network_id !== networkId) throw badFloatingIp(`Subnet ${subnet_id as string} is not of network ${networkId}`);
    if (named.ip_version !== 4) throw badFloatingIp(`Subnet ${named.id} has no IPv4 addresses`);
  }
  if (floating_ip_address !== null && floating_ip_address !== undefined) {
    const ip = floating_ip_address as string;
    if (parseIp(ip)?.family !== 4) throw badFloatingIp(`${ip} is no IPv4 address`);
    return { ip_address: ip, ...(named !== undefined && { subnet_id: named.id }) };
  }
  if (named !== undefined) return { subnet_id: named.id };
  const subnets = tx.by(subnetTable, "network", networkId).filter((s) => s.ip_version === 4).toSorted((a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : a.id < b.id ? -1 : 1));
  if (subnets.length === 0) throw badFloatingIp(`Network ${networkId} does not contain any IPv4 subnet`);
  const chosen = subnets.find((s) => hasRoom(tx, s));
  if (chosen === undefined) throw conflict("IpAddressGenerationFailure", `No more IP addresses available on network ${networkId}.`);
  return { subnet_id: chosen.id };
}

function portOutside(tx: Tx, standard: StandardRow, networkId: string, input: Values, ctx: ApiContext): { readonly port: Port; readonly ip: string } {
  const fixed = wantedOutside(tx, networkId, input);
  const port = ctx.create(portResource, { project_id: "", network_id: networkId, device_id: standard.id, device_owner: deviceOwner.floatingIp, admin_state_up: true, fixed_ips: [fixed] });
  // Beside it the port may have an address of IPv6 that it made by itself.
  const address = tx.by(addressTable, "port", port.id).find((a) => a.family === 4)!;
  checkNotNextHop(tx, address);
  return { port, ip: address.ip };
}

// ---- what it leads to ----

type Association = Pick<FloatingIp, "port_id" | "fixed_ip_address" | "router_id" | "by_routes">;
export const NOWHERE: Association = { port_id: null, fixed_ip_address: null, router_id: null, by_routes: undefined };

function fixedIpOf(tx: Tx, port: Port, named: string | null): string {
  const own = tx.by(addressTable, "port", port.id).filter((a) => a.family === 4).map((a) => a.ip);
  if (named !== null) {
    if (parseIp(named)?.family !== 4) throw badFloatingIp(`Cannot process floating IP association with ${named}, since that is not an IPv4 address`);
    if (!own.includes(named)) throw badFloatingIp(`Port ${port.id} does not have fixed ip ${named}`);
    return named;
  }
  if (own.length === 0) throw badFloatingIp(`Cannot add floating IP to port ${port.id} that has no fixed IPv4 addresses`);
  if (own.length > 1) throw badFloatingIp(`Port ${port.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when assigning a floating IP`);
  return own[0]!;
}

export function reachingRouter(tx: Tx, port: Port, fixedIp: string, networkId: string): string {
  const router = routerBetween(tx, port, fixedIp, networkId);
  if (router !== undefined) return router;
  const subnet = tx.by(addressTable, "port", port.id).find((a) => a.ip === fixedIp)!.subnet_id;
  throw notReachable(networkId, subnet, port.id);
}
const notReachable = (networkId: string, subnetId: string, portId: string): Error =>
  notFound("ExternalGatewayForFloatingIPNotFound", `External network ${networkId} is not reachable from subnet ${subnetId}. Therefore, cannot associate Port ${portId} with a Floating IP.`);

/**
 * The router that was named. Whether a packet finds the way between it and the address, by others and their routes, is nothing that it could be asked
 * once and for all; the floating IP is DOWN while it has no route there.
 * @throws ApiError 404 RouterNotFound, also of one that is not the caller's to see; 409 without a gateway on the network
 */
function namedRouter(tx: Tx, routerId: string, networkId: string, ctx: ApiContext): string {
  const { id } = ctx.visible(routerResource, routerId);
  if (gatewayOn(tx, id, networkId) === undefined) throw conflict("RouterGatewayNotValid", `Router ${id} has no gateway on external network ${networkId}, and cannot carry its floating IPs.`);
  return id;
}

/** `named`: the router that is to carry it; null: the one that is found. */
function associate(tx: Tx, floating: Pick<FloatingIp, "id" | "project_id" | "floating_network_id" | "floating_ip_address">, portId: string, fixed: string | null, named: string | null, ctx: ApiContext): Association {
  const port = ctx.visible(portResource, portId);
  if (isAnothersPort(port, floating, ctx)) throw badFloatingIp(`Port ${port.id} is of another project than floating IP ${floating.id} and cannot be bound to it`);
  const ip = fixedIpOf(tx, port, fixed);
  const network = floating.floating_network_id;
  const router = named === null ? reachingRouter(tx, port, ip, network) : namedRouter(tx, named, network, ctx);
  if (tx.by(floatingIpTable, "port", port.id).some((f) => f.id !== floating.id && f.floating_network_id === network && f.fixed_ip_address === ip)) {
    throw conflict(
      "FloatingIPPortAlreadyAssociated",
      `Cannot associate floating IP ${floating.floating_ip_address} (${floating.id}) with port ${port.id} using fixed IP ${ip}, as that fixed IP already has a floating IP on external network ${network}.`,
    );
  }
  if (tx.by(portForwardingTable, "port", port.id).some((f) => f.internal_ip_address === ip)) {
    throw badRequest(`Cannot associate floating IP to port ${port.id} because it already has a Port Forwarding binding.`, "PortHasPortForwarding");
  }
  // By routes it may lead to several networks that have the same addresses.
  const same = tx.by(floatingIpTable, "inside", `${router}|${ip}`).find((f) => f.id !== floating.id && f.port_id !== port.id);
  if (same !== undefined) {
    throw conflict("FloatingIPPortAlreadyAssociated", `Cannot associate floating IP ${floating.floating_ip_address} (${floating.id}) with port ${port.id} using fixed IP ${ip}, as floating IP ${same.floating_ip_address} (${same.id}) leads to that address of another port by router ${router}.`);
  }
  const byRoutes = named !== null && !routersBetween(tx, port, ip, network).includes(router);
  return { port_id: port.id, fixed_ip_address: ip, router_id: router, by_routes: byRoutes || undefined };
}

/** A floating IP that leads somewhere, or did, is part of the router by which it does. */
function bumpRouters(ctx: ApiContext, ...rows: readonly Pick<FloatingIp, "router_id">[]): void {
  for (const id of new Set(rows.map((row) => row.router_id))) if (id !== null) ctx.bump(routerResource, id);
}

/** Leads nowhere from now on. */
export function disassociate(tx: Tx, row: FloatingIp): void {
  tx.put(floatingIpTable, { ...row, ...NOWHERE });
  tx.delete(floatingIpActiveTable, row.id);
}

const inUseByForwarding = (id: string): Error => conflict("FipInUseByPortForwarding", `Floating IP ${id} in use by Port Forwarding resources.`);

const ALONE = "fixed_ip_address cannot be specified without a port_id";
const ROUTER_ALONE = "router_id cannot be specified of a floating IP that leads to no port";

const floatingIp = defineResource(floatingIpResource, {
  collection: "floatingips",
  about: "An address of an external network that leads to an address of a port behind a router.",
  alias: "router",
  table: floatingIpTable,
  quota: { default: 50 },
  standard: ["id", "project", "description", "timestamps", "revision", "tags"],
  notFound: { type: "FloatingIPNotFound", message: (id) => `Floating IP ${id} could not be found.` },
  attributes: {
    floating_network_id: { type: "uuid", about: "The external network.", post: true, required: true, filter: true, sort: true, index: "network" },
    floating_ip_address: {
      type: "ip|null", about: "The address; null: one of a pool.", post: true, default: null, filter: true, sort: true,
      policy: { create: "rule:admin_only or (role:manager and project_id:%(project_id)s)" },
    },
    subnet_id: { type: "uuid|null", about: "Subnet of the external network that the address is to be of.", post: true, default: null, visible: false },
    port_id: { type: "uuid|null", about: "Port that it leads to; null: none.", post: true, put: true, default: null, filter: true, index: "port" },
    fixed_ip_address: { type: "ip|null", about: "Of several addresses of the port the one that it leads to.", post: true, put: true, default: null, check: orNull({ type: "ip" }), filter: true, sort: true },
    router_id: {
      type: "uuid|null", about: "Router by which it leads there; null: the one that has an interface on the port's subnet. One that is named has a gateway on the external network, and needs routes to the port where it has no interface beside it.",
      post: true, put: true, default: null, filter: true, sort: true, policy: { create: MEMBER, update: MEMBER },
    },
    status: { type: "string", about: "ACTIVE where it leads somewhere, and the switch that translates has confirmed it; else DOWN.", filter: true, sort: true },
    port_forwardings: { type: "object[]", about: "Its ports that are forwarded.", alias: "expose-port-forwarding-in-fip" },
    port_details: { type: "object", about: "What the port is that it leads to; null: none.", alias: "fip-port-details" },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  bulk: true,
  emptyUpdate: true,
  create(tx, standard, input, ctx) {
    const network = ctx.visible(networkResource, input.floating_network_id as string);
    if (!leadsOutside(tx, network, ctx)) throw badFloatingIp(`Network ${network.id} is not a valid external network`);
    const portId = input.port_id as string | null;
    const fixed = input.fixed_ip_address as string | null;
    const named = input.router_id as string | null;
    if (portId === null && fixed !== null) throw badFloatingIp(ALONE);
    if (portId === null && named !== null) throw badFloatingIp(ROUTER_ALONE);
    const { port, ip } = portOutside(tx, standard, network.id, input, ctx);
    const address = { floating_network_id: network.id, floating_ip_address: ip, floating_port_id: port.id };
    const row: FloatingIp = { ...standard, ...address, ...(portId === null ? NOWHERE : associate(tx, { id: standard.id, project_id: standard.project_id, ...address }, portId, fixed, named, ctx)) };
    tx.put(floatingIpTable, row);
    bumpRouters(ctx, row);
    return row;
  },
  update(tx, row, changes, ctx) {
    // An update of nothing takes it back: at first there was nothing else to change, and clients say it so still.
    const given = Object.keys(changes).length === 0 ? null : (changes.port_id as string | null | undefined);
    const fixed = (changes.fixed_ip_address as string | null | undefined) ?? null;
    if (fixed !== null && (given === null || given === undefined)) throw badFloatingIp(ALONE);
    const named = changes.router_id as string | null | undefined;
    // Another router alone: it leads to what it did.
    const portId = given === undefined && named !== undefined ? row.port_id : given;
    if (typeof named === "string" && (portId === null || portId === undefined)) throw badFloatingIp(ROUTER_ALONE);
    if (portId === undefined) {
      tx.put(floatingIpTable, row);
      return row;
    }
    if (tx.count(portForwardingTable, "floatingip", row.id) > 0) {
      if (portId !== null) throw inUseByForwarding(row.id);
      tx.put(floatingIpTable, row);
      return row;
    }
    const after: FloatingIp = { ...row, ...(portId === null ? NOWHERE : associate(tx, row, portId, given === undefined ? row.fixed_ip_address : fixed, named ?? null, ctx)) };
    tx.put(floatingIpTable, after);
    bumpRouters(ctx, row, after);
    // Somewhere else it is not in place yet.
    if (after.port_id !== row.port_id || after.fixed_ip_address !== row.fixed_ip_address || after.router_id !== row.router_id) tx.delete(floatingIpActiveTable, row.id);
    return after;
  },
  remove(tx, row, ctx) {
    if (tx.count(portForwardingTable, "floatingip", row.id) > 0) throw inUseByForwarding(row.id);
    tx.delete(floatingIpTable, row.id);
    tx.delete(floatingIpActiveTable, row.id);
    ctx.remove(portResource, row.floating_port_id);
    bumpRouters(ctx, row);
  },
  present(view, row) {
    const port = row.port_id === null ? undefined : view.get(portTable, row.port_id);
    return {
      status: view.get(floatingIpActiveTable, row.id) === undefined ? "DOWN" : "ACTIVE",
      port_forwardings: shownForwardings(view, row.id),
      port_details: port === undefined ? null : {
        name: port.name, network_id: port.network_id, mac_address: port.mac_address, admin_state_up: port.admin_state_up, status: view.get(portStatusTable, port.id)?.status ?? "DOWN", device_id: port.device_id, device_owner: port.device_owner,
      },
    };
  },
});

export const resources = [floatingIp, portForwarding, floatingIpPool];
export const aliases: readonly Alias[] = [
  { alias: "fip-port-details", name: "Floating IP Port Details Extension", description: "Floating IPs show what the port is that they lead to.", updated: "2018-04-09T10:00:00-00:00" },
  { alias: "floating-ip-router-writable", name: "Floating IP Router Writable", description: "The router by which a floating IP leads to its port may be named.", updated: "2026-06-01T00:00:00-00:00" },
  { alias: "floatingip-pools", name: "Floating IP Pools Extension", description: "Subnets that floating IPs are of.", updated: "2018-03-21T10:00:00-00:00" },
  { alias: "floating-ip-port-forwarding", name: "Floating IP Port Forwarding", description: "Ports of floating IPs lead to ports inside.", updated: "2018-04-04T10:00:00-05:00" },
  { alias: "floating-ip-port-forwarding-description", name: "Floating IP Port Forwarding Description", description: "Port forwardings have descriptions.", updated: "2021-04-28T10:00:00-00:00" },
  { alias: "floating-ip-port-forwarding-detail", name: "Floating IP Port Forwarding Detail", description: "Port forwardings name their internal port and address.", updated: "2021-06-28T10:00:00-00:00" },
  { alias: "floating-ip-port-forwarding-port-ranges", name: "Floating IP Port Forwarding support Port Ranges", description: "Ranges of ports are forwarded.", updated: "2021-08-12T10:00:00-00:00" },
  { alias: "expose-port-forwarding-in-fip", name: "Expose Port Forwarding Attributes In Floating Ip", description: "Floating IPs show their port forwardings.", updated: "2019-03-19T10:00:00-05:00" },
];
