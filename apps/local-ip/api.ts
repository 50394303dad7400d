// The resources local_ips and their port_associations.
import { badRequest, conflict, defineResource, extendResource, invalidInput, memberOf, notFound, parseIp, reference, type Alias, type ApiContext, type Tx, type Values } from "#app";
import { activeAttachment, addressTable, changedOf, networkResource, portResource, portTable, servicePortInUse, type Port } from "../l2/model.ts";
import { associationId, associationResource, ASSOCIATIONS_MAX, associationTable, LOCAL_IP_OWNER, localIpResource, localIpTable, PER_PORT_MAX, type Association, type LocalIp } from "./model.ts";

const MEMBER = memberOf();
const PARENT_MEMBER = memberOf("local_ip:project_id");
const UUID_LENGTH = 36;

const noIp = (port: string): Error => badRequest(`Specified port ${port} has no fixed ips.`, "LocalIPNoIP");
const severalIps = (port: string, field: string): Error => badRequest(`Specified port ${port} has several fixed ips configured, so ${field} should be specified in the request.`, "LocalIPNoRequestedIP");

/** The address of a port that is meant. @throws ApiError 400 */
function addressOf(tx: Tx, port: string, wanted: string | undefined, field: string): string {
  const own = tx.by(addressTable, "port", port).map((a) => a.ip).sort();
  if (own.length === 0) throw noIp(port);
  const same = (a: string): boolean => wanted !== undefined && parseIp(a)!.value === parseIp(wanted)?.value && a.includes(":") === wanted.includes(":");
  if (wanted !== undefined) {
    const found = own.find(same);
    if (found === undefined) throw badRequest(`Unable to find an IP address ${wanted} on port ${port}.`, "LocalIPRequestedIPNotFound");
    return found;
  }
  if (own.length > 1) throw severalIps(port, field);
  return own[0]!;
}

/** The port whose address it is, and that. */
function localPort(tx: Tx, id: string, project_id: string, input: Values, ctx: ApiContext): { readonly port: Port; readonly address: string } {
  const wanted = (input.local_ip_address ?? undefined) as string | undefined;
  if (input.local_port_id !== undefined) {
    const port = ctx.visible(portResource, input.local_port_id as string);
    // Whoever has the address says where it leads.
    if (port.project_id !== project_id && !ctx.caller.admin) throw notFound("PortNotFound", `Port ${port.id} could not be found.`);
    if (input.network_id !== undefined && input.network_id !== port.network_id) throw invalidInput(`'network_id' ${input.network_id as string} is not the network of port ${port.id}`);
    return { port, address: addressOf(tx, port.id, wanted, "local_ip_address") };
  }
  if (input.network_id === undefined) throw badRequest("Either Port ID or Network ID must be specified for Local IP create.", "LocalIPPortOrNetworkRequired");
  const network = ctx.visible(networkResource, input.network_id as string);
  const port = ctx.create(portResource, { project_id, network_id: network.id, device_id: id, device_owner: LOCAL_IP_OWNER, admin_state_up: true, ...(wanted !== undefined && { fixed_ips: [{ ip_address: wanted }] }) });
  const own = tx.by(addressTable, "port", port.id).map((a) => a.ip);
  return { port, address: wanted ?? own.find((ip) => !ip.includes(":")) ?? addressOf(tx, port.id, undefined, "local_ip_address") };
}

const localIp = defineResource(localIpResource, {
  collection: "local_ips",
  about: "An address of a network that leads to a port on the same host as whoever sends there.",
  alias: "local_ip",
  table: localIpTable,
  standard: ["id", "name", "project", "description", "timestamps", "revision"],
  notFound: { type: "LocalIPNotFound", message: (id) => `Local IP ${id} could not be found.` },
  attributes: {
    description: { type: "string", about: "Text of the owner's choice.", post: true, put: true, default: "", check: { type: "string", max: 1024 }, filter: true, sort: true },
    local_port_id: { type: "uuid", about: "Port whose address it is; by default one is made.", post: true, filter: true, sort: true, index: "port" },
    network_id: { type: "uuid", about: "Network of the address; by default that of the port.", post: true, filter: true, sort: true, index: "network" },
    local_ip_address: { type: "any", about: "The address; of a port that is made by default any free one, of one with a single address that.", post: true, check: { or: [{ type: "ip" }, { type: "null" }] }, filter: true, sort: true },
    ip_mode: { type: "string", about: "translate: the associated port is sent its own address; passthrough: it has this one itself.", post: true, default: "translate", check: { enum: ["translate", "passthrough"] }, filter: true, sort: true },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  create(tx, standard, input, ctx) {
    const { port, address } = localPort(tx, standard.id, standard.project_id, input, ctx);
    const other = tx.by(localIpTable, "port", port.id).find((l) => l.local_ip_address === address);
    if (other !== undefined) throw conflict("LocalIPExists", `Address ${address} of port ${port.id} is that of Local IP ${other.id} already.`);
    const row: LocalIp = { ...standard, network_id: port.network_id, local_port_id: port.id, local_ip_address: address, ip_mode: input.ip_mode as LocalIp["ip_mode"] };
    tx.put(localIpTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: LocalIp = { ...row, description: (changes.description as string | undefined) ?? row.description };
    tx.put(localIpTable, after);
    return after;
  },
  remove(tx, row, ctx) {
    if (tx.count(associationTable, "local_ip", row.id) > 0) throw conflict("LocalIPInUse", `Local IP ${row.id} is still associated with one or more ports.`);
    tx.delete(localIpTable, row.id);
    const port = tx.get(portTable, row.local_port_id);
    if (port !== undefined && isMadeFor(port, row)) ctx.remove(portResource, port.id);
  },
});

const association = defineResource(associationResource, {
  collection: "port_associations",
  about: "A port to which a Local IP leads from its host.",
  alias: "local_ip",
  parent: { resource: localIpResource, attribute: "local_ip_id", id: associationId },
  table: associationTable,
  standard: [],
  notFound: { type: "LocalIPAssociationNotFound", message: (id) => `Local IP ${id.slice(0, UUID_LENGTH)} association with port ${id.slice(UUID_LENGTH + 1)} could not be found.` },
  attributes: {
    local_ip_id: { type: "uuid", about: "The Local IP.", post: true, required: true, index: "local_ip" },
    local_ip_address: { type: "string", about: "Its address." },
    fixed_port_id: { type: "uuid", about: "The port, of the same network.", post: true, required: true, filter: true, sort: true, index: "port" },
    fixed_ip: { type: "string", about: "Address of the port; by default the only one that it has.", post: true, check: { type: "ip" }, filter: true, sort: true },
    host: { type: "string", about: "Where the port is; empty: nowhere." },
  },
  policy: { create: PARENT_MEMBER, get: "rule:admin_only or (role:reader and project_id:%(local_ip:project_id)s)", delete: PARENT_MEMBER },
  relations: { "local_ip:project_id": (row, view) => view.get(localIpTable, row.local_ip_id)?.project_id },
  create(tx, _standard, input, ctx) {
    const local = tx.get(localIpTable, input.local_ip_id as string)!;
    const port = ctx.visible(portResource, input.fixed_port_id as string);
    if (port.network_id !== local.network_id) throw invalidInput(`'fixed_port_id' ${port.id} is not a port of network ${local.network_id}, of which the Local IP is`);
    const id = associationId(local.id, port.id);
    if (tx.get(associationTable, id) !== undefined) throw conflict("LocalIPAssociationExists", `Local IP ${local.id} is associated with port ${port.id} already.`);
    const fixed_ip = addressOf(tx, port.id, input.fixed_ip as string | undefined, "fixed_ip");
    if (fixed_ip.includes(":") !== local.local_ip_address.includes(":")) throw invalidInput(`'fixed_ip' ${fixed_ip} and local IP address ${local.local_ip_address} are of different IP versions`);
    if (fixed_ip === local.local_ip_address) throw invalidInput(`'fixed_ip' ${fixed_ip} is the local IP address itself`);
    const most = tx.count(associationTable, "local_ip", local.id) >= ASSOCIATIONS_MAX ? `Local IP ${local.id} has ${ASSOCIATIONS_MAX} associations` : tx.count(associationTable, "port", port.id) >= PER_PORT_MAX ? `Port ${port.id} has ${PER_PORT_MAX} associations with Local IPs` : undefined;
    if (most !== undefined) throw conflict("TooManyLocalIPAssociations", `${most}, which is the most.`);
    const row: Association = { id, local_ip_id: local.id, fixed_port_id: port.id, fixed_ip };
    tx.put(associationTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(associationTable, row.id),
  present: (view, row) => ({ local_ip_address: view.get(localIpTable, row.local_ip_id)?.local_ip_address ?? null, host: activeAttachment(view, row.fixed_port_id)?.chassis ?? "" }),
});

/** Whether a port was made for a Local IP, and goes with it. */
const isMadeFor = (port: Port, { id }: LocalIp): boolean => port.device_owner === LOCAL_IP_OWNER && port.device_id === id;

function removeLocalIp(tx: Tx, { id }: LocalIp): void {
  for (const a of tx.by(associationTable, "local_ip", id)) tx.delete(associationTable, a.id);
  tx.delete(localIpTable, id);
}

const holdsLocal = (port: Port, { id }: LocalIp, changed?: readonly string[]): Error => servicePortInUse(port, `it holds the address of Local IP ${id}`, changed);

const ofPort = extendResource(portResource, {
  update(tx, row, changes, ctx, before) {
    // Else the port would stay behind, or one that somebody named would go along.
    const owner = tx.by(localIpTable, "port", row.id).find((l) => isMadeFor(before, l) !== isMadeFor(row, l));
    if (owner !== undefined) throw holdsLocal(before, owner, changedOf(before, row, "device_id", "device_owner"));
    if (changes.fixed_ips === undefined || ctx.internal) return;
    const own = new Set(tx.by(addressTable, "port", row.id).map((a) => a.ip));
    const local = tx.by(localIpTable, "port", row.id).find((l) => !own.has(l.local_ip_address));
    if (local !== undefined) throw conflict("LocalIPInUse", `Address ${local.local_ip_address} of port ${row.id} is that of Local IP ${local.id}.`);
    for (const a of tx.by(associationTable, "port", row.id)) if (!own.has(a.fixed_ip)) tx.delete(associationTable, a.id);
  },
  remove(tx, row, ctx) {
    for (const a of tx.by(associationTable, "port", row.id)) tx.delete(associationTable, a.id);
    for (const local of tx.by(localIpTable, "port", row.id)) {
      if (row.device_owner === LOCAL_IP_OWNER && !ctx.internal) throw holdsLocal(row, local);
      removeLocalIp(tx, local);
    }
  },
});

export const resources = [localIp, association];
export const extend = [ofPort];
export const references = [
  reference(localIpTable, { to: portTable, ids: (l) => l.local_port_id, gone: removeLocalIp }),
  reference(associationTable, { to: localIpTable, ids: (a) => a.local_ip_id, gone: (tx, a) => tx.delete(associationTable, a.id) }),
  reference(associationTable, { to: portTable, ids: (a) => a.fixed_port_id, gone: (tx, a) => tx.delete(associationTable, a.id) }),
];
export const aliases: readonly Alias[] = [{ alias: "local_ip", name: "Local IP", description: "Addresses that lead to a port on the sender's own host.", updated: "2021-07-26T10:00:00-00:00" }];
