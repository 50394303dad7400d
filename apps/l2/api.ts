// Networks and ports as the API shows them, and what plugging an interface does to a port's status. Addresses are ipam's,
// groups security-groups', router interfaces l3's: their attributes of ports are Extensions over there.
import {
  memberOf, ApiError, AUTO, badRequest, conflict, defineResource, draw, forbidden, notFound, orNull,
  type Alias, type ApiContext, type Attribute, type Check, type ReadView, type Tx, type Values, type Vif,
} from "#app";
import {
  addressHolderTable, arrivalTable, bindingFault, chosenSegments, chosenSegmentTable, deviceOwner, hasPair, inactiveBindingTable, isNetworkPort, isServicePort, networkKeys, networkResource, networkTable, plugging, portBindingTable, portKeys, portResource, portStatusTable, portTable, pluggedAt, requestedChassis, shownHost, statusNowhere, VNIC_TYPES,
  type AddressPair, type Network, type PlugChange, type Port, type PortBinding, type PortStatus,
} from "./model.ts";

const NETWORK_OWNER = "rule:admin_only or rule:service_api or (role:member and rule:network_owner)";

/** Ports of other projects that do not keep a network from being unshared. */
const unsharedAnyway = (port: Port): boolean => isServicePort(port) || port.device_owner === deviceOwner.routerGateway || port.device_owner === deviceOwner.floatingIp;

const SHARED = "network:shared";

const ids = (rows: readonly { readonly id: string }[]): string[] => rows.map((r) => r.id);

// ---- networks ----

/** Projects that have ports on a network. */
function* usersOf(view: ReadView, network: Pick<Network, "id">): Iterable<string> {
  for (const port of view.by(portTable, "network", network.id)) if (port.project_id !== "" && !unsharedAnyway(port)) yield port.project_id;
}

/** A network that others already use cannot become private, unless they may use it all the same. */
function checkUnshare(tx: Tx, network: Network, ctx: ApiContext): void {
  for (const project of usersOf(tx, network)) {
    if (project === network.project_id || ctx.covers(networkResource, SHARED, { ...network, shared: false }, project)) continue;
    throw conflict("InvalidSharedSetting", `Unable to reconfigure sharing settings for network ${network.id}. Multiple projects are using it.`);
  }
}

const network = defineResource(networkResource, {
  collection: "networks",
  about: "An isolated broadcast domain.",
  table: networkTable,
  quota: { default: 100 },
  notFound: { type: "NetworkNotFound", message: (id) => `Network ${id} could not be found.` },
  attributes: {
    admin_state_up: { type: "boolean", about: "False: no packet passes.", post: true, put: true, default: true, filter: true, sort: true },
    status: { type: "string", about: "Always ACTIVE.", filter: true, sort: true },
    shared: { type: "boolean", about: "Every project may use it.", post: true, put: true, default: false, filter: true, policy: { create: "rule:admin_only", update: "rule:admin_only" } },
    port_security_enabled: { type: "boolean", about: "Default of new ports.", post: true, put: true, default: true, alias: "port-security", policy: { create: memberOf(), update: memberOf() } },
  },
  policy: {
    create: memberOf(),
    get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:service_api or rule:shared or rule:external or role:advsvc",
    update: memberOf(),
    delete: memberOf(),
  },
  relations: {
    "network:shared": (row) => row.shared,
    "network:router:external": () => false,
  },
  shareable: {
    table: networkTable,
    usedBy: usersOf,
    kept: { read: (view, { id }) => (view.get(networkTable, id)?.shared === true ? "everybody" : "some"), write: (_tx, { id }, holders, ctx) => void ctx.update(networkResource, id, { shared: holders === "everybody" }) },
  },
  reach: { "network:shared": (view) => ids(view.by(networkTable, "shared", "true")), "network:router:external": () => [] },
  bulk: true,

  create(tx, standard, input) {
    const row: Network = {
      key: draw(tx, networkKeys),
      admin_state_up: input.admin_state_up as boolean,
      shared: input.shared as boolean,
      port_security_enabled: input.port_security_enabled as boolean,
      ...standard,
    };
    tx.put(networkTable, row);
    return row;
  },

  update(tx, row, changes, ctx) {
    if (row.shared && changes.shared === false) checkUnshare(tx, row, ctx);
    const after: Network = {
      ...row,
      admin_state_up: (changes.admin_state_up as boolean | undefined) ?? row.admin_state_up,
      shared: (changes.shared as boolean | undefined) ?? row.shared,
      port_security_enabled: (changes.port_security_enabled as boolean | undefined) ?? row.port_security_enabled,
    };
    tx.put(networkTable, after);
    if (after.admin_state_up !== row.admin_state_up) for (const port of tx.by(portTable, "network", row.id)) if (updateStatus(tx, port)) bumpPort(tx, port.id);
    return after;
  },

  remove(tx, row, ctx) {
    const ports = tx.by(portTable, "network", row.id);
    if (ports.some((p) => !isServicePort(p))) {
      throw conflict("NetworkInUse", `Unable to complete operation on network ${row.id}. There are one or more ports still in use on the network.`);
    }
    for (const port of ports) ctx.remove(portResource, port.id);
    for (const { id } of chosenSegments(tx, row.id)) tx.delete(chosenSegmentTable, id);
    tx.delete(networkTable, row.id);
  },

  present: () => ({ status: "ACTIVE" }),
});

// ---- where a port is ----

const UNBOUND: Omit<PortBinding, "id"> = { requested_host: "", vnic_type: "normal", profile: {} };
const NOWHERE: Omit<PortStatus, "id"> = { status: "DOWN", host: "" };

const bindingOf = (view: ReadView, id: string): PortBinding => view.get(portBindingTable, id) ?? { id, ...UNBOUND };
const statusOf = (view: ReadView, id: string): PortStatus => view.get(portStatusTable, id) ?? { id, ...NOWHERE };

/** The host a port is bound to: the one asked for, else the one it was found on; "" if neither. */
const boundHost = (view: ReadView, id: string): string => bindingOf(view, id).requested_host || statusOf(view, id).host;

/** The interface that counts: none of a port that is down, or that its network does not reach. */
export function vifOf(view: ReadView, port: Port, change?: PlugChange): Vif | undefined {
  if (!port.admin_state_up || view.get(networkTable, port.network_id)?.admin_state_up !== true) return undefined;
  const at = pluggedAt(view, port.id, change);
  return at === undefined || bindingFault(view, port.network_id, at.chassis) !== undefined ? undefined : at.vif;
}

/** Makes the status follow from where the port is plugged. True if it changed. */
export function updateStatus(tx: Tx, port: Port, change?: PlugChange): boolean {
  const before = statusOf(tx, port.id);
  const vif = vifOf(tx, port, change);
  if (vif === undefined) return setStatus(tx, statusNowhere(port));
  if (before.host === vif.chassis && before.status !== "DOWN") return false;
  return setStatus(tx, { id: port.id, status: "BUILD", host: vif.chassis });
}

export function setStatus(tx: Tx, status: PortStatus): boolean {
  const before = statusOf(tx, status.id);
  if (before.status === status.status && before.host === status.host) return false;
  tx.put(portStatusTable, status);
  return true;
}

export function bumpPort(tx: Tx, id: string): void {
  const port = tx.get(portTable, id);
  if (port !== undefined) tx.put(portTable, { ...port, revision_number: port.revision_number + 1, updated_at: tx.now });
}

/** What plugging means to ports. Each may be called again with the same interface and then changes nothing. */
export const vif = {
  plugged(tx: Tx, vif: Vif): void {
    const port = tx.get(portTable, vif.iface_id);
    if (port !== undefined && updateStatus(tx, port, { appeared: vif })) bumpPort(tx, port.id);
  },
  installed(tx: Tx, vif: Vif): void {
    const port = tx.get(portTable, vif.iface_id);
    if (port === undefined || vifOf(tx, port)?.id !== vif.id) return;
    if (setStatus(tx, { id: port.id, status: "ACTIVE", host: vif.chassis })) bumpPort(tx, port.id);
  },
  unplugged(tx: Tx, vif: Vif): void {
    const port = tx.get(portTable, vif.iface_id);
    if (port !== undefined && updateStatus(tx, port, { gone: vif })) bumpPort(tx, port.id);
  },
  known: (view: ReadView, vif: Vif): boolean => view.get(portTable, vif.iface_id) !== undefined,
  serves(view: ReadView, vif: Vif): boolean {
    const port = view.get(portTable, vif.iface_id);
    return port !== undefined && statusOf(view, port.id).status === "ACTIVE" && vifOf(view, port)?.id === vif.id;
  },
};

function presentBinding(view: ReadView, port: Port): Record<string, unknown> {
  const { vnic_type, profile } = bindingOf(view, port.id);
  const host = shownHost(view, port);
  const { vif_type, vif_details } = plugging(view, port.network_id, host);
  return { status: statusOf(view, port.id).status, "binding:host_id": host, "binding:vnic_type": vnic_type, "binding:profile": profile, "binding:vif_type": vif_type, "binding:vif_details": vif_details };
}

// ---- ports ----

const MAC_PREFIX = "fa:16:3e";
const MAC_ATTEMPTS = 16;

const macInUse = (view: ReadView, networkId: string, address: string): boolean => view.by(portTable, "network_mac", `${networkId}|${address}`).length > 0;

/** Three random octets behind our prefix; randomness is the transaction's, so that a simulation can repeat it. */
function newMac(tx: Tx, networkId: string): string {
  for (let i = 0; i < MAC_ATTEMPTS; i++) {
    const hex = tx.uuid();
    const address = `${MAC_PREFIX}:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
    if (!macInUse(tx, networkId, address)) return address;
  }
  throw new ApiError(503, "NetworkMacAddressGenerationFailure", `Unable to generate unique mac on network ${networkId}.`);
}

function givenMac(tx: Tx, networkId: string, address: string): string {
  if (macInUse(tx, networkId, address)) throw conflict("MacAddressInUse", `Unable to complete operation for network ${networkId}. The mac address ${address} is in use.`);
  return address;
}

/** The port's own MAC is the default; it is stored, and follows when the port's changes. */
function storedPairs(given: unknown, own: string): readonly AddressPair[] {
  const seen = new Set<string>();
  return ((given ?? []) as readonly { ip_address: string; mac_address?: string }[]).map((pair) => {
    const stored: AddressPair = { ip_address: pair.ip_address, mac_address: pair.mac_address ?? own };
    const key = `${stored.ip_address} ${stored.mac_address}`;
    if (seen.has(key)) throw badRequest(`Request contains duplicate address pair: mac_address ${stored.mac_address} ip_address ${stored.ip_address}.`, "DuplicateAddressPairInRequest");
    seen.add(key);
    return stored;
  });
}

function checkPairs(port: Port): void {
  if (port.port_security_enabled || port.allowed_address_pairs.length === 0) return;
  throw conflict("AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.");
}

/** Nova sends null for "no host". */
const hostName: Check = { null: "", else: { type: "string" } };

const portAttributes: Record<string, Attribute> = {
  tags: { type: "string[]", about: "Labels; given with the port they are its first.", post: true, default: [], check: { list: { type: "string", max: 255 }, unique: true, max: 50 } },
  network_id: { type: "uuid", about: "Network it is on.", post: true, required: true, filter: true, sort: true, index: "network" },
  mac_address: {
    type: "mac", about: "Unique in its network; absent or null: generated.", post: true, put: true, default: AUTO, check: orNull({ type: "mac" }), filter: true, sort: true,
    policy: { create: NETWORK_OWNER, update: "rule:admin_only or rule:service_api or (role:manager and rule:network_owner)" },
  },
  admin_state_up: { type: "boolean", about: "False: no packet passes.", post: true, put: true, default: true, filter: true, sort: true },
  device_id: {
    type: "string", about: "What uses it: a server, a router.", post: true, put: true, default: "", filter: true, sort: true, index: "device",
    policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s) or rule:service_api", update: "rule:admin_only or (role:member and project_id:%(project_id)s) or rule:service_api" },
  },
  device_owner: {
    type: "string", about: "Kind of what uses it, e.g. compute:nova.", post: true, put: true, default: "", filter: true, sort: true,
    policy: { create: `not rule:network_device or ${NETWORK_OWNER}`, update: `not rule:network_device or ${NETWORK_OWNER}` },
  },
  status: { type: "string", about: "ACTIVE once its flows are confirmed by the switch it is plugged into, or of a port of a router by those that have it; N/A for that of a floating IP.", filter: true, sort: true },
  port_security_enabled: {
    type: "boolean", about: "False: may send with any address, and no security group applies.", post: true, put: true, default: AUTO, alias: "port-security",
    policy: { create: NETWORK_OWNER, update: NETWORK_OWNER },
  },
  allowed_address_pairs: {
    type: "object[]", about: "More addresses it may send from.", post: true, put: true, default: AUTO, check: { convert: "address-pairs" }, alias: "allowed-address-pairs",
    policy: {
      create: NETWORK_OWNER, update: NETWORK_OWNER,
      keys: { mac_address: { create: NETWORK_OWNER, update: NETWORK_OWNER }, ip_address: { create: NETWORK_OWNER, update: NETWORK_OWNER } },
    },
  },
  "binding:host_id": {
    type: "string", about: "Host it is bound to: the one asked for, else where it was plugged.", post: true, put: true, default: AUTO, check: hostName, filter: true, alias: "binding",
    policy: { create: "rule:admin_only or rule:service_api", get: "rule:admin_only or rule:service_api", update: "rule:admin_only or rule:service_api" },
  },
  "binding:vnic_type": {
    type: "string", about: "Kind of interface asked for.", post: true, put: true, default: "normal", check: { enum: VNIC_TYPES }, alias: "binding",
    policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s) or rule:service_api", update: "rule:admin_only or rule:service_api or (role:member and project_id:%(project_id)s)" },
  },
  "binding:profile": {
    // Neutron lets only the service role write it; development clouds have none, so administrators may as well.
    type: "object", about: "Free-form, kept for the compute service.", post: true, put: true, default: AUTO, check: { convert: "binding-profile" }, alias: "binding",
    policy: { create: "rule:admin_only or rule:service_api", get: "rule:admin_only or rule:service_api", update: "rule:admin_only or rule:service_api" },
  },
  "binding:vif_type": { type: "string", about: "How to plug: ovs, unbound or binding_failed.", alias: "binding", policy: { get: "rule:admin_only or rule:service_api" } },
  "binding:vif_details": { type: "object", about: "Details for the plugging side; of a binding that failed, why.", alias: "binding", policy: { get: "rule:admin_only or rule:service_api" } },
};

function writeBinding(tx: Tx, id: string, values: Values): void {
  const stored = tx.get(portBindingTable, id);
  const before = stored ?? UNBOUND;
  const after: PortBinding = {
    id,
    requested_host: (values["binding:host_id"] as string | undefined) ?? before.requested_host,
    vnic_type: (values["binding:vnic_type"] as string | undefined) ?? before.vnic_type,
    profile: (values["binding:profile"] as PortBinding["profile"] | undefined) ?? before.profile,
  };
  if (stored === undefined || JSON.stringify(after) !== JSON.stringify(stored)) tx.put(portBindingTable, after);
}

/** The network of a port, or of one that is being asked for. */
function networkOfRow(row: Port, view: ReadView): Network {
  const on = view.get(networkTable, row.network_id);
  if (on === undefined) throw notFound("NetworkNotFound", `Network ${row.network_id} could not be found.`);
  return on;
}

const networkOf = (tx: Tx, ctx: ApiContext, id: string): Network => (ctx.internal ? tx.get(networkTable, id) : undefined) ?? ctx.visible(networkResource, id);

const port = defineResource(portResource, {
  collection: "ports",
  about: "A place in a network where one interface is plugged.",
  table: portTable,
  quota: { default: 500 },
  notFound: { type: "PortNotFound", message: (id) => `Port ${id} could not be found.` },
  attributes: portAttributes,
  policy: {
    create: "rule:admin_only or rule:service_api or (role:member and rule:network_owner) or rule:shared",
    get: "rule:admin_only or rule:service_api or (role:reader and rule:network_owner) or (role:reader and project_id:%(project_id)s)",
    update: "rule:admin_only or rule:service_api or (role:member and project_id:%(project_id)s)",
    delete: "rule:admin_only or rule:service_api or (role:member and rule:network_owner) or (role:member and project_id:%(project_id)s)",
  },
  relations: {
    "network:project_id": (row, view) => networkOfRow(row, view).project_id,
    "network:shared": (row, view) => networkOfRow(row, view).shared,
  },
  reach: { "network:project_id": (view, caller) => view.by(networkTable, "project", caller.projectId).flatMap((n) => ids(view.by(portTable, "network", n.id))) },
  bulk: true,

  // A network that is not to be seen is not there; one that leads outside everybody sees, and not everybody has ports there.
  refused(input, ctx) {
    const on = ctx.visible(networkResource, input.network_id as string);
    if (on.project_id !== ctx.caller.projectId && !ctx.covers(networkResource, SHARED, on)) throw forbidden("HTTPForbidden", `Tenant ${ctx.caller.projectId} not allowed to create port on this network`);
  },

  create(tx, standard, input, ctx) {
    const on = networkOf(tx, ctx, input.network_id as string);
    const owner = input.device_owner as string;
    const given = input.mac_address as string | null | undefined;
    const address = given === undefined || given === null ? newMac(tx, on.id) : givenMac(tx, on.id, given);
    const row: Port = {
      key: draw(tx, portKeys),
      network_id: on.id,
      mac_address: address,
      admin_state_up: input.admin_state_up as boolean,
      device_id: input.device_id as string,
      device_owner: owner,
      port_security_enabled: !isNetworkPort({ device_owner: owner }) && ((input.port_security_enabled as boolean | undefined) ?? on.port_security_enabled),
      allowed_address_pairs: storedPairs(input.allowed_address_pairs, address),
      ...standard,
    };
    checkPairs(row);
    tx.put(portTable, row);
    writeBinding(tx, row.id, input);
    tx.put(portStatusTable, statusNowhere(row));
    updateStatus(tx, row);
    return row;
  },

  update(tx, row, changes) {
    let address = row.mac_address;
    if (changes.mac_address !== undefined && changes.mac_address !== row.mac_address) {
      const host = boundHost(tx, row.id);
      address = changes.mac_address === null ? newMac(tx, row.network_id) : (changes.mac_address as string);
      if (host !== "" && changes["binding:host_id"] !== "" && requestedChassis(tx, host) !== undefined) {
        throw conflict("PortBound", `Unable to complete operation on port ${row.id}, port is already bound, port type: ovs, old_mac ${row.mac_address}, new_mac ${address}.`);
      }
      if (changes.mac_address !== null) givenMac(tx, row.network_id, address);
    }
    const own = row.allowed_address_pairs.map((p) => (p.mac_address === row.mac_address ? { ...p, mac_address: address } : p));
    const after: Port = {
      ...row,
      mac_address: address,
      admin_state_up: (changes.admin_state_up as boolean | undefined) ?? row.admin_state_up,
      device_id: (changes.device_id as string | undefined) ?? row.device_id,
      device_owner: (changes.device_owner as string | undefined) ?? row.device_owner,
      port_security_enabled: (changes.port_security_enabled as boolean | undefined) ?? row.port_security_enabled,
      allowed_address_pairs: changes.allowed_address_pairs === undefined ? own : storedPairs(changes.allowed_address_pairs, address),
    };
    checkPairs(after);
    tx.put(portTable, after);
    for (const holder of tx.by(addressHolderTable, "port", row.id)) if (!hasPair(after, holder.id.slice(row.network_id.length + 1), holder.mac)) tx.delete(addressHolderTable, holder.id);
    writeBinding(tx, row.id, changes);
    // Else it is as it was: also that of a port that another app attaches, which is not known here.
    if (after.admin_state_up !== row.admin_state_up || changes["binding:host_id"] !== undefined) updateStatus(tx, after);
    return after;
  },

  remove(tx, row) {
    tx.delete(portBindingTable, row.id);
    tx.delete(arrivalTable, row.id);
    for (const { id } of tx.by(inactiveBindingTable, "port", row.id)) tx.delete(inactiveBindingTable, id);
    tx.delete(portStatusTable, row.id);
    for (const { id } of tx.by(addressHolderTable, "port", row.id)) tx.delete(addressHolderTable, id);
    tx.delete(portTable, row.id);
  },

  present: (view, row) => presentBinding(view, row),
});

export const resources = [network, port];
/** Who owns the network that something is on, and who may use it: what rules of ports, subnets and others build on. */
export const policies: Readonly<Record<string, string>> = {
  network_owner: "project_id:%(network:project_id)s",
  admin_or_network_owner: "rule:context_is_admin or rule:network_owner",
  admin_owner_or_network_owner: "rule:owner or rule:admin_or_network_owner",
  shared: "field:networks:shared=True",
  external: "field:networks:router:external=True",
  network_device: "field:port:device_owner=~^network:",
};
export const aliases: readonly Alias[] = [
  { alias: "tag-ports-during-bulk-creation", name: "Tag Ports During Bulk Creation", description: "Ports are given tags as they are made.", updated: "2019-12-29T19:00:00-00:00" },
  { alias: "port-security", name: "Port Security", description: "Anti-spoofing can be switched off for a port or a network's new ports.", updated: "2012-07-23T10:00:00-00:00" },
  { alias: "allowed-address-pairs", name: "Allowed Address Pairs", description: "Ports may send from further addresses.", updated: "2013-07-23T10:00:00-00:00" },
  { alias: "aap-reject-multicast", name: "Allowed address pairs reject multicast extension", description: "No further address of a port is one of many.", updated: "2026-04-01T00:00:00-00:00" },
  { alias: "binding", name: "Port Binding", description: "Where and how a port is plugged.", updated: "2014-02-03T10:00:00-00:00" },
  { alias: "port-mac-address-regenerate", name: "Neutron Port MAC address regenerate", description: "A port's MAC set to null is generated anew.", updated: "2018-05-03T10:00:00-00:00" },
];
