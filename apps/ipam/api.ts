// Subnets, and what they add to networks (their ids) and ports (addresses). How an address is found is allocate.ts.
import {
  AUTO, badRequest, bitsOf, conflict, defineResource, extendResource, formatIp, invalidInput, isLoopback, isMulticast, lastIp, normalizeIp, notFound, orNull, overlap, parseCidr, parseIp, reference,
  type Alias, type AnyTable, type ApiContext, type Cidr, type ReadView, type Tx,
} from "#app";
import { addressesOf, addressTable, isRouterPort, isServicePort, networkResource, networkTable, portResource, portTable, type Network } from "../l2/model.ts";
import { addAutoAddress, assign, assignDefault, cidrOf, cursorTable, followMac, isAutoAddress, isHostAddress, notDeferred, release, reopen } from "./allocate.ts";
import type { FixedIp } from "./checks.ts";
import { deferredPortTable, subnetResource, subnetTable, type AllocationPool, type HostRoute, type Ipv6Mode, type Subnet } from "./subnets.ts";

const NETWORK_OWNER = "rule:admin_only or rule:service_api or (role:member and rule:network_owner)";
const SUBNET_WRITER = "(role:member and project_id:%(project_id)s) or rule:admin_only or (role:member and rule:network_owner)";

/** Smallest MTU that a link with addresses of the family may have. */
const MIN_MTU = { 4: 68, 6: 1280 } as const;

// ---- what a subnet may be ----

const badSubnet = (message: string): Error => badRequest(`Bad subnets request: ${message}.`, "BadRequest");

/** A netmask, a missing gateway, the whole of IPv6: what makes a prefix useless as a subnet. */
function checkCidr(c: Cidr, version: 4 | 6, dhcp: boolean): void {
  const text = `${formatIp({ family: c.family, value: c.network })}/${c.prefix}`;
  if (c.family !== version) throw invalidInput(`cidr '${text}' does not match the ip_version '${version}'`);
  if (c.prefix === 0) throw invalidInput(`Invalid CIDR '${text}': prefix length 0 is not allowed`);
  if (version === 6 && c.network === 0n) throw invalidInput(`Invalid CIDR '${text}': '::' as a network address is reserved for prefix delegation`);
  if (!dhcp) return;
  const first = { family: c.family, value: c.network };
  if (c.prefix > (version === 4 ? 30 : 126)) throw invalidInput(`Invalid CIDR '${text}' when DHCP is enabled: too small, the prefix length must be at most ${version === 4 ? 30 : 126}`);
  if (isMulticast(first)) throw invalidInput(`Multicast IP subnet '${text}' is not supported if enable_dhcp is True`);
  if (isLoopback(first)) throw invalidInput(`Loopback IP subnet '${text}' is not supported if enable_dhcp is True`);
  if (c.network === 0n) throw invalidInput(`First IP '${formatIp(first)}' of '${text}' can not be used if enable_dhcp is True`);
}

function checkModes(version: 4 | 6, prefix: number, dhcp: boolean, ra: Ipv6Mode | null, address: Ipv6Mode | null): void {
  if (ra === null && address === null) return;
  if (version === 4) throw invalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4");
  if (!dhcp) throw invalidInput("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False");
  if (ra !== null && address !== null && ra !== address) throw invalidInput(`ipv6_ra_mode set to '${ra}' with ipv6_address_mode set to '${address}' is not valid. If both attributes are set, they must be the same value`);
  if (isAutoAddress({ ipv6_ra_mode: ra, ipv6_address_mode: address }) && prefix !== 64) {
    throw invalidInput("Invalid CIDR: IPv6 address modes slaac and dhcpv6-stateless need a prefix length of 64");
  }
}

function defaultGateway(c: Cidr): string | null {
  if (c.prefix === bitsOf(c.family)) return null;
  // Of two addresses the first; of IPv6 subnets the anycast address of its routers.
  const value = c.family === 6 || c.prefix === 31 ? c.network : c.network + 1n;
  return formatIp({ family: c.family, value });
}

/** A gateway outside of the subnet is legal (fe80::1, unnumbered links); one that no host can have is not. */
function checkGateway(c: Cidr, gateway: string): void {
  const address = parseIp(gateway)!;
  if (address.family !== c.family) throw invalidInput(`gateway_ip '${gateway}' does not match the ip_version '${c.family}'`);
  const inside = address.value >= c.network && address.value <= lastIp(c);
  if (inside && !isHostAddress(c, address.value)) throw invalidInput("Gateway is not valid on subnet");
}

/** First and last address that ports may have. */
function usable(c: Cidr): { first: bigint; last: bigint } {
  const all = c.prefix >= bitsOf(c.family) - 1;
  return { first: all ? c.network : c.network + 1n, last: all || c.family === 6 ? lastIp(c) : lastIp(c) - 1n };
}

/** All of the subnet, around the gateway. */
function defaultPools(c: Cidr, gateway: string | null): AllocationPool[] {
  const { first, last } = usable(c);
  const g = gateway === null ? undefined : parseIp(gateway)!.value;
  const parts = g === undefined || g < first || g > last ? [[first, last]] : [[first, g - 1n], [g + 1n, last]];
  return parts.flatMap(([start, end]) => (start! <= end! ? [{ start: formatIp({ family: c.family, value: start! }), end: formatIp({ family: c.family, value: end! }) }] : []));
}

const poolText = (p: AllocationPool): string => `${p.start}-${p.end}`;

/** Pools come sorted, each with start <= end. */
function checkPools(c: Cidr, text: string, pools: readonly AllocationPool[]): void {
  const { first, last } = usable(c);
  let before: { pool: AllocationPool; end: bigint } | undefined;
  for (const pool of pools) {
    const start = parseIp(pool.start)!;
    const end = parseIp(pool.end)!;
    if (start.family !== c.family) throw badRequest(`The allocation pool ${poolText(pool)} is not valid.`, "InvalidAllocationPool");
    if (start.value < first || end.value > last) throw badRequest(`The allocation pool ${poolText(pool)} spans beyond the subnet cidr ${text}.`, "OutOfBoundsAllocationPool");
    if (before !== undefined && start.value <= before.end) {
      throw conflict("OverlappingAllocationPools", `Found overlapping allocation pools: ${poolText(before.pool)} ${poolText(pool)} for subnet ${text}.`);
    }
    before = { pool, end: end.value };
  }
}

function checkGatewayOutsidePools(gateway: string | null, pools: readonly AllocationPool[]): void {
  if (gateway === null) return;
  const g = parseIp(gateway)!;
  for (const pool of pools) {
    const start = parseIp(pool.start)!;
    if (start.family !== g.family || g.value < start.value || g.value > parseIp(pool.end)!.value) continue;
    throw conflict("GatewayConflictWithAllocationPools", `Gateway ip ${gateway} conflicts with allocation pool ${poolText(pool)}.`);
  }
}

function checkFamily(version: 4 | 6, servers: readonly string[], routes: readonly HostRoute[]): void {
  for (const server of servers) if (parseIp(server)!.family !== version) throw invalidInput(`dns_nameserver '${server}' does not match the ip_version '${version}'`);
  for (const route of routes) {
    if (parseIp(route.nexthop)!.family !== version) throw invalidInput(`host_route nexthop '${route.nexthop}' does not match the ip_version '${version}'`);
  }
}

function checkOverlap(tx: Tx, networkId: string, c: Cidr, text: string): void {
  for (const other of tx.by(subnetTable, "network", networkId)) {
    if (overlap(c, cidrOf(other))) {
      throw invalidInput(`Requested subnet with cidr: ${text} for network: ${networkId} overlaps with another subnet: ${other.cidr}`);
    }
  }
}

const tooSmall = (networkId: string, mtu: number): Error => conflict("NetworkMTUSubnetConflict", `Unable to set MTU ${mtu} on network ${networkId}: a subnet on it needs a larger one.`);

// ---- subnets ----

const onNetworks = (view: ReadView, networks: readonly Network[]): string[] => networks.flatMap((n) => view.by(subnetTable, "network", n.id).map((s) => s.id));

const modes = ["dhcpv6-stateful", "dhcpv6-stateless", "slaac"] as const;

const subnet = defineResource(subnetResource, {
  collection: "subnets",
  about: "A prefix of a network, from which its ports get addresses.",
  table: subnetTable,
  quota: { default: 100 },
  notFound: { type: "SubnetNotFound", message: (id) => `Subnet ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "Network it is on.", post: true, required: true, filter: true, sort: true, index: "network" },
    ip_version: { type: "integer", about: "4 or 6.", post: true, required: true, check: { enum: [4, 6] }, filter: true, sort: true },
    cidr: { type: "cidr", about: "The prefix; host bits are cleared. Absent only where something else chooses it.", post: true, default: AUTO, check: orNull({ type: "cidr" }), filter: true, sort: true },
    gateway_ip: { type: "ip|null", about: "Absent: the first address (IPv6: the prefix itself); null: none.", post: true, put: true, default: AUTO, filter: true, sort: true },
    allocation_pools: { type: "object[]", about: "Ranges that automatic addresses come from; absent: all but the gateway.", post: true, put: true, default: AUTO, check: { convert: "allocation-pools" } },
    dns_nameservers: { type: "string[]", about: "At most 5.", post: true, put: true, default: [], check: { convert: "nameservers" } },
    host_routes: { type: "object[]", about: "At most 20 routes told to hosts.", post: true, put: true, default: [], check: { convert: "host-routes" } },
    enable_dhcp: { type: "boolean", about: "Whether the network answers DHCP.", post: true, put: true, default: true, filter: true, sort: true },
    service_types: {
      type: "string[]", about: "Owners of ports (device_owner, as compute:nova or network:router_gateway) whose automatic addresses come from it; none: whom no other subnet is for.",
      post: true, put: true, default: [], check: { convert: "subnet-service-types" }, alias: "subnet-service-types", policy: { create: "rule:admin_only", update: "rule:admin_only" },
    },
    shared: { type: "boolean", about: "Whether its network is.", visible: false, filter: true },
    ipv6_ra_mode: { type: "string", about: "What routers announce: slaac, dhcpv6-stateful, dhcpv6-stateless.", post: true, default: null, check: { enum: [...modes, null] }, filter: true, sort: true },
    ipv6_address_mode: { type: "string", about: "How ports get addresses: slaac, dhcpv6-stateful, dhcpv6-stateless.", post: true, default: null, check: { enum: [...modes, null] }, filter: true, sort: true },
  },
  policy: {
    create: "rule:admin_only or (role:member and rule:network_owner)",
    get: "(role:reader and project_id:%(project_id)s) or rule:shared or rule:external or rule:admin_only or (role:reader and rule:network_owner) or rule:service_api",
    update: SUBNET_WRITER,
    delete: SUBNET_WRITER,
  },
  relations: {
    "network:project_id": (row, view) => networkOfRow(row, view).project_id,
    "network:shared": (row, view) => networkOfRow(row, view).shared,
    "network:router:external": () => false,
  },
  reach: {
    "network:project_id": (view, caller) => onNetworks(view, view.by(networkTable, "project", caller.projectId)),
    "network:shared": (view) => onNetworks(view, view.by(networkTable, "shared", "true")),
    "network:router:external": () => [],
  },
  bulk: true,

  // A network that is not to be seen is not there.
  refused: (input, ctx) => void ctx.visible(networkResource, input.network_id as string),

  create(tx, standard, input, ctx) {
    const network = networkOf(tx, ctx, input.network_id as string);
    const text = input.cidr as string | null | undefined;
    if (text === undefined || text === null) throw badSubnet("a subnetpool must be specified in the absence of a cidr");
    const version = input.ip_version as 4 | 6;
    const dhcp = input.enable_dhcp as boolean;
    const ra = input.ipv6_ra_mode as Ipv6Mode | null;
    const addressMode = input.ipv6_address_mode as Ipv6Mode | null;
    const servers = input.dns_nameservers as readonly string[];
    const routes = input.host_routes as readonly HostRoute[];
    const c = parseCidr(text)!;
    checkCidr(c, version, dhcp);
    checkModes(version, c.prefix, dhcp, ra, addressMode);
    checkFamily(version, servers, routes);
    const given = input.gateway_ip as string | null | undefined;
    const gateway = given === undefined ? defaultGateway(c) : given;
    if (gateway !== null) checkGateway(c, gateway);
    const wanted = input.allocation_pools as readonly AllocationPool[] | undefined;
    const pools = wanted === undefined || wanted.length === 0 ? defaultPools(c, gateway) : wanted;
    checkPools(c, text, pools);
    checkGatewayOutsidePools(gateway, pools);
    checkOverlap(tx, network.id, c, text);
    if (network.mtu !== undefined && network.mtu < MIN_MTU[version]) throw tooSmall(network.id, network.mtu);
    const row: Subnet = {
      network_id: network.id,
      ip_version: version,
      cidr: text,
      gateway_ip: gateway,
      allocation_pools: pools,
      dns_nameservers: servers,
      host_routes: routes,
      enable_dhcp: dhcp,
      ipv6_ra_mode: ra,
      ipv6_address_mode: addressMode,
      ...ownersOf(input.service_types),
      ...standard,
    };
    tx.put(subnetTable, row);
    ctx.bump(networkResource, network.id);
    return row;
  },

  // Whom it gives addresses follows from what other apps store with it.
  completed(tx, done, ctx) {
    for (const { row, created } of done) {
      if (!created || !isAutoAddress(row)) continue;
      for (const port of tx.by(portTable, "network", row.network_id).toSorted((a, b) => a.key - b.key)) if (addAutoAddress(tx, ctx, port, row)) ctx.bump(portResource, port.id);
    }
  },

  update(tx, row, changes, ctx) {
    const c = cidrOf(row);
    const dhcp = (changes.enable_dhcp as boolean | undefined) ?? row.enable_dhcp;
    if (dhcp !== row.enable_dhcp) {
      checkCidr(c, row.ip_version, dhcp);
      checkModes(row.ip_version, c.prefix, dhcp, row.ipv6_ra_mode, row.ipv6_address_mode);
    }
    const servers = (changes.dns_nameservers as readonly string[] | undefined) ?? row.dns_nameservers;
    const routes = (changes.host_routes as readonly HostRoute[] | undefined) ?? row.host_routes;
    checkFamily(row.ip_version, servers, routes);
    const gateway = changes.gateway_ip === undefined ? row.gateway_ip : (changes.gateway_ip as string | null);
    if (gateway !== null && gateway !== row.gateway_ip) checkGateway(c, gateway);
    const wanted = changes.allocation_pools as readonly AllocationPool[] | undefined;
    const pools = wanted === undefined ? row.allocation_pools : wanted.length === 0 ? defaultPools(c, gateway) : wanted;
    if (wanted !== undefined) checkPools(c, row.cidr, pools);
    checkGatewayOutsidePools(gateway, pools);
    const { owners, ...rest } = row;
    const after: Subnet = { ...rest, enable_dhcp: dhcp, gateway_ip: gateway, allocation_pools: pools, dns_nameservers: servers, host_routes: routes, ...ownersOf(changes.service_types ?? owners) };
    tx.put(subnetTable, after);
    if (wanted !== undefined) reopen(tx, row.id);
    ctx.bump(networkResource, row.network_id);
    return after;
  },

  remove(tx, row, ctx) {
    const auto = isAutoAddress(row);
    const addresses = tx.by(addressTable, "subnet", row.id);
    for (const address of addresses) {
      const port = tx.get(portTable, address.port_id);
      if (port === undefined || isServicePort(port) || (auto && !isRouterPort(port))) continue;
      throw conflict("SubnetInUse", `Unable to complete operation on subnet ${row.id}: One or more ports have an IP allocation from this subnet.`);
    }
    for (const { port_id } of addresses) ctx.bump(portResource, port_id);
    removeSubnet(tx, row.id);
    ctx.bump(networkResource, row.network_id);
  },

  present: (view, row) => ({ shared: view.get(networkTable, row.network_id)?.shared === true, service_types: row.owners ?? [] }),
});

const ownersOf = (types: unknown): Pick<Subnet, "owners"> => ((types as readonly string[] | undefined)?.length ? { owners: types as readonly string[] } : {});

/** The network of a subnet, or of one that is being asked for. */
function networkOfRow(row: Subnet, view: ReadView): Network {
  const on = view.get(networkTable, row.network_id);
  if (on === undefined) throw notFound("NetworkNotFound", `Network ${row.network_id} could not be found.`);
  return on;
}

const networkOf = (tx: Tx, ctx: ApiContext, id: string): Network => (ctx.internal ? tx.get(networkTable, id) : undefined) ?? ctx.visible(networkResource, id);

function removeSubnet(tx: Tx, id: string): void {
  for (const address of tx.by(addressTable, "subnet", id)) tx.delete(addressTable, address.id);
  tx.delete(cursorTable, id);
  tx.delete(subnetTable, id);
}

// ---- what networks get from here ----

const networkExtension = extendResource(networkResource, {
  attributes: { subnets: { type: "uuid[]", about: "Ids of its subnets." } },
  update(tx, row, changes) {
    const mtu = changes.mtu as number | undefined; // 0: as large as possible
    if (mtu === undefined || mtu === 0) return;
    for (const s of tx.by(subnetTable, "network", row.id)) if (mtu < MIN_MTU[s.ip_version]) throw tooSmall(row.id, mtu);
  },
  remove(tx, row, ctx) {
    // With other ports on it the network is not going anywhere; its own check says so better than a subnet's.
    if (tx.by(portTable, "network", row.id).some((p) => !isServicePort(p))) return;
    for (const s of tx.by(subnetTable, "network", row.id)) ctx.remove(subnetResource, s.id);
  },
  present: (view, row) => ({ subnets: view.by(subnetTable, "network", row.id).map((s) => s.id).sort() }),
});

// ---- what ports get from here ----

/** `ip_address=A`, `subnet_id=S` or `ip_address_substr=10.0.`; other sub-keys match everything. */
function matchesFixedIp(shown: unknown, query: string): boolean {
  const at = query.indexOf("=");
  const key = query.slice(0, at);
  const value = query.slice(at + 1);
  const list = shown as readonly { subnet_id: string; ip_address: string }[];
  if (key === "ip_address") {
    const address = normalizeIp(value);
    return list.some((f) => f.ip_address === address);
  }
  if (key === "subnet_id") return list.some((f) => f.subnet_id === value);
  if (key === "ip_address_substr") return list.some((f) => f.ip_address.includes(value));
  return true;
}

const portExtension = extendResource(portResource, {
  attributes: {
    fixed_ips: {
      type: "object[]", about: "Its addresses; absent: one of each family, [] none.", post: true, put: true, default: AUTO, check: { convert: "fixed-ips" }, filter: true, matches: matchesFixedIp,
      policy: {
        create: `${NETWORK_OWNER} or rule:shared`,
        update: NETWORK_OWNER,
        keys: {
          ip_address: { create: NETWORK_OWNER, update: NETWORK_OWNER },
          subnet_id: { create: `${NETWORK_OWNER} or rule:shared`, update: `${NETWORK_OWNER} or rule:shared` },
        },
      },
    },
    ip_allocation: { type: "string", about: "immediate; deferred: it gets its addresses when its host is known; none: it has none.", filter: true, sort: true, alias: "ip_allocation" },
  },
  create(tx, row, input, ctx) {
    const wants = input.fixed_ips as readonly FixedIp[] | undefined;
    if (wants === undefined) assignDefault(tx, ctx, row);
    else assign(tx, ctx, row, wants);
  },
  update(tx, row, changes, ctx, before) {
    const wants = changes.fixed_ips as readonly FixedIp[] | undefined;
    if (wants === undefined) {
      if (row.mac_address !== before.mac_address) followMac(tx, row, before.mac_address);
      if (changes["binding:host_id"] !== undefined && tx.get(deferredPortTable, row.id) !== undefined) {
        notDeferred(tx, row.id);
        assignDefault(tx, ctx, row);
      }
      return;
    }
    const old = addressesOf(tx, row.id).map((a) => a.ip);
    assign(tx, ctx, row, wants);
    // A router's flows and its neighbours' caches hold the interface's address.
    if (!ctx.internal && row.device_id !== "" && before.device_id !== "" && isRouterPort(before)) {
      const now = new Set(addressesOf(tx, row.id).map((a) => a.ip));
      if (now.size !== old.length || old.some((a) => !now.has(a))) {
        throw badRequest(`IP updates for the router interface port ${row.id} are not supported.`, "IPAddressChangeNotAllowed");
      }
    }
  },
  remove: (tx, row) => release(tx, row.id),
  present(view, row) {
    const list = addressesOf(view, row.id).map((a) => ({ subnet_id: a.subnet_id, ip_address: a.ip }));
    return { fixed_ips: list, ip_allocation: list.length > 0 ? "immediate" : view.get(deferredPortTable, row.id) === undefined ? "none" : "deferred" };
  },
});

/** Tables of this app that no other app reads. */
export const tables: readonly AnyTable[] = [cursorTable, deferredPortTable];
export const resources = [subnet];
export const references = [
  reference(subnetTable, { to: networkTable, ids: (s) => s.network_id, gone: (tx, s) => removeSubnet(tx, s.id) }),
  reference(addressTable, { to: portTable, ids: (a) => a.port_id, gone: (tx, a) => release(tx, a.port_id) }),
  reference(deferredPortTable, { to: portTable, ids: (d) => d.id, gone: (tx, d) => tx.delete(deferredPortTable, d.id) }),
];
export const extend = [networkExtension, portExtension];
export const aliases: readonly Alias[] = [
  { alias: "subnet-service-types", name: "Subnet service types", description: "Subnets whose automatic addresses are for ports of certain owners.", updated: "2016-03-15T18:00:00-00:00" },
  { alias: "ip_allocation", name: "IP Allocation", description: "Ports show how they got their addresses.", updated: "2016-06-10T23:00:00-00:00" },
  { alias: "ip-substring-filtering", name: "IP address substring filtering", description: "Ports are found by a part of an address.", updated: "2017-11-28T09:00:00-00:00" },
  { alias: "l3-port-ip-change-not-allowed", name: "Prevent L3 router ports IP address change extension", description: "Addresses of router interfaces cannot be changed.", updated: "2018-10-09T10:00:00-00:00" },
];
