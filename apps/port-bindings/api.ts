// Bindings of a port, by host. A port is where its active one says; an inactive one lets an interface of it be plugged and wired elsewhere, until it is
// activated.
import {
  AUTO, badRequest, conflict, defineResource, extendResource, notFound, resourceHandle,
  type Alias, type ApiContext, type ReadView, type Tx, type Values,
} from "#app";
import {
  arrivalTable, bindingFault, inactiveBindingId, inactiveBindingTable, plugging, portBindingTable, portResource, portStatusTable, portTable, requestedChassis, shownHost, VNIC_TYPES,
  type InactiveBinding, type Port,
} from "../l2/model.ts";
import { activeBinding, bindingsOf, inactiveBinding, type Binding } from "./model.ts";

/** Neutron lets only the service role; development clouds have none, so administrators may as well. */
const SERVICE = "rule:admin_only or rule:service_api";
/** Of a port, beside the active one. */
const INACTIVE_MAX = 8;

const UUID_LENGTH = 36;

/** @throws ApiError 400 where no compute service has to do with the port */
function computePort(view: ReadView, id: string): Readonly<Port> {
  const port = view.get(portTable, id);
  if (port === undefined) throw notFound("PortNotFound", `Port ${id} could not be found.`);
  if (!port.device_owner.startsWith("compute:")) throw badRequest(`Bad port request: Invalid port ${id}. Operation only valid on compute ports.`, "BadRequest");
  return port;
}

const failed = (portId: string, host: string, why: string): Error => conflict("PortBindingError", `Binding for port ${portId} on host ${host} could not be created or updated: ${why}.`);

/** @throws ApiError 409 where the port cannot be bound */
function checkHost(view: ReadView, port: Port, host: string): { readonly id: string } {
  const chassis = requestedChassis(view, host);
  if (chassis === undefined) throw failed(port.id, host, "no host, or no single one, is known by that name");
  const fault = bindingFault(view, port.network_id, chassis);
  if (fault !== undefined) throw failed(port.id, host, fault);
  return chassis;
}

/** @throws ApiError 409 where the port has another binding at the host, by whatever name of it */
function checkFree(view: ReadView, port: Port, host: string, but?: string): void {
  const active = shownHost(view, port);
  const chassis = requestedChassis(view, host)?.id;
  const isActive = active !== "" && (active === host || (chassis !== undefined && requestedChassis(view, active)?.id === chassis));
  const inactive = inactiveBinding(view, port.id, host);
  const other = isActive ? inactiveBindingId(port.id, active) : inactive?.implied === true ? undefined : inactive?.id;
  if (other !== undefined && other !== but) throw conflict("PortBindingAlreadyExists", `Binding for port ${port.id} on host ${host} already exists.`);
}

/** Puts an inactive binding, in the place of what the profile implied. */
function putInactive(tx: Tx, port: Port, { host, vnic_type, profile, wired_at }: Pick<InactiveBinding, "host" | "vnic_type" | "profile" | "wired_at">): Binding {
  const implied = inactiveBinding(tx, port.id, host);
  if (implied !== undefined) tx.delete(inactiveBindingTable, implied.id);
  const id = inactiveBindingId(port.id, host);
  // What is wired there stays so.
  const since = wired_at ?? implied?.wired_at;
  tx.put(inactiveBindingTable, { id, port_id: port.id, host, vnic_type, profile, ...(since !== undefined && { wired_at: since }) });
  return { id, port_id: port.id, project_id: port.project_id, host, status: "INACTIVE", vnic_type, profile };
}

/** What the API gives of the active binding, as l2 has it. */
const asPort = ({ host, vnic_type, profile }: { readonly host?: unknown; readonly vnic_type?: unknown; readonly profile?: unknown }): Values => ({
  ...(host !== undefined && { "binding:host_id": host }), ...(vnic_type !== undefined && { "binding:vnic_type": vnic_type }), ...(profile !== undefined && { "binding:profile": profile }),
});

/** @throws ApiError 409 where the port is not its own to bind: of a sub-port of a trunk the parent says where it is */
function bind(tx: Tx, port: Port, its: Parameters<typeof asPort>[0], ctx: ApiContext): void {
  ctx.update(portResource, port.id, asPort(its));
  const { host } = its;
  if (typeof host === "string" && host !== "" && shownHost(tx, port) !== host) throw failed(port.id, host, "it goes where another port goes, as a sub-port does with the parent of its trunk");
}

function activate(tx: Tx, row: Binding, ctx: ApiContext): void {
  const port = computePort(tx, row.port_id);
  if (row.status === "ACTIVE") throw conflict("PortBindingAlreadyActive", `Binding for port ${port.id} on host ${row.host} is already active.`);
  const chassis = checkHost(tx, port, row.host);
  const wired = tx.get(inactiveBindingTable, row.id)?.wired_at !== undefined;
  const before = activeBinding(tx, port);
  const wasActive = tx.get(portStatusTable, port.id)?.status === "ACTIVE";
  // The extension below takes the binding out of the inactive ones.
  bind(tx, port, row, ctx);
  if (before !== undefined) putInactive(tx, port, { host: before.host, vnic_type: before.vnic_type, profile: before.profile, ...(wasActive && { wired_at: tx.now }) });
  // Its switch has confirmed all of it but the last step, which is under way: the port does not go down.
  const status = tx.get(portStatusTable, port.id);
  if (wired && status?.status === "BUILD" && status.host === chassis.id) tx.put(portStatusTable, { ...status, status: "ACTIVE" });
}

const binding = defineResource(resourceHandle<Binding>("binding"), {
  collection: "bindings",
  about: "A host to which a port is bound, or is about to be.",
  alias: "binding-extended",
  parent: { resource: portResource, attribute: "port_id", id: inactiveBindingId },
  computed: {
    list: (view, _caller, wanted) => (wanted("port_id") ?? []).flatMap((id) => bindingsOf(view, computePort(view, id))),
    get: (view, id) => bindingsOf(view, computePort(view, id.slice(0, UUID_LENGTH))).find((b) => b.id === id),
  },
  standard: ["project"],
  notFound: { type: "PortBindingNotFound", message: (id) => `Binding for port ${id.slice(0, UUID_LENGTH)} for host ${id.slice(UUID_LENGTH + 1)} could not be found.` },
  attributes: {
    project_id: { type: "string", about: "The port's.", post: true, filter: false, sort: false },
    tenant_id: { type: "string", about: "Older name of project_id.", post: true, filter: false, sort: false },
    port_id: { type: "uuid", about: "The port.", post: true, required: true, visible: false },
    host: { type: "string", about: "The host, as in binding:host_id of the port.", post: true, put: true, required: true, check: { type: "string", blank: false, max: 255 }, filter: true },
    vif_type: { type: "string", about: "How to plug: ovs, or binding_failed.", filter: true },
    vif_details: { type: "object", about: "Details for the plugging side; of a binding that failed, why." },
    vnic_type: { type: "string", about: "Kind of interface asked for.", post: true, put: true, default: "normal", check: { enum: VNIC_TYPES }, filter: true },
    profile: { type: "object", about: "Free-form, kept for the compute service.", post: true, put: true, default: AUTO, check: { convert: "binding-profile" } },
    status: { type: "string", about: "ACTIVE: the port is there. INACTIVE: it is not.", filter: true },
  },
  policy: { create: SERVICE, get: SERVICE, update: SERVICE, delete: SERVICE },
  create(tx, _standard, input) {
    const port = computePort(tx, input.port_id as string);
    const host = input.host as string;
    checkFree(tx, port, host);
    checkHost(tx, port, host);
    if (tx.count(inactiveBindingTable, "port", port.id) >= INACTIVE_MAX) throw failed(port.id, host, `the port has ${INACTIVE_MAX} inactive bindings, which is the most`);
    return putInactive(tx, port, { host, vnic_type: input.vnic_type as string, profile: (input.profile as Binding["profile"] | undefined) ?? {} });
  },
  update(tx, row, changes, ctx) {
    const port = computePort(tx, row.port_id);
    const host = (changes.host as string | undefined) ?? row.host;
    if (host !== row.host) {
      checkFree(tx, port, host, row.id);
      checkHost(tx, port, host);
    }
    if (row.status === "ACTIVE") {
      bind(tx, port, changes, ctx);
      return activeBinding(tx, tx.get(portTable, port.id)!) ?? row;
    }
    const vnic_type = (changes.vnic_type as string | undefined) ?? row.vnic_type;
    const profile = (changes.profile as Binding["profile"] | undefined) ?? row.profile;
    const wired = requestedChassis(tx, host)?.id === requestedChassis(tx, row.host)?.id ? tx.get(inactiveBindingTable, row.id)?.wired_at : undefined;
    tx.delete(inactiveBindingTable, row.id);
    return putInactive(tx, port, { host, vnic_type, profile, ...(wired !== undefined && { wired_at: wired }) });
  },
  remove(tx, row, ctx) {
    const port = computePort(tx, row.port_id);
    if (row.status === "INACTIVE") tx.delete(inactiveBindingTable, row.id);
    else ctx.update(portResource, port.id, asPort({ host: "", profile: {} }));
  },
  present: (view, { port_id, host }) => plugging(view, view.get(portTable, port_id)?.network_id ?? "", host),
  actions: {
    activate: { about: "The port is at this host from now on; where it was it has an inactive binding.", policy: SERVICE, bodyless: true, shows: true, run: (tx, row, _body, ctx) => activate(tx, row, ctx) },
  },
});

/** Where the profile of a port says that it moves to (a compute service without several bindings says so there): as if an inactive binding were there. */
function follow(tx: Tx, port: Port): void {
  const to = tx.get(portBindingTable, port.id)?.profile.migrating_to;
  const host = typeof to === "string" && port.device_owner.startsWith("compute:") ? to : "";
  const chassis = host === "" ? undefined : requestedChassis(tx, host);
  for (const b of tx.by(inactiveBindingTable, "port", port.id)) if (b.implied === true && b.host !== host) tx.delete(inactiveBindingTable, b.id);
  const active = shownHost(tx, port);
  if (chassis === undefined || active === "" || requestedChassis(tx, active)?.id === chassis.id || inactiveBinding(tx, port.id, host) !== undefined) return;
  if (bindingFault(tx, port.network_id, chassis) !== undefined || tx.count(inactiveBindingTable, "port", port.id) >= INACTIVE_MAX) return;
  tx.put(inactiveBindingTable, { id: inactiveBindingId(port.id, host), port_id: port.id, host, vnic_type: "normal", profile: {}, implied: true });
}

function arrive(tx: Tx, id: string, host: string): void {
  const chassis = requestedChassis(tx, host)?.id;
  if (chassis !== undefined) tx.put(arrivalTable, { id, chassis, since: tx.now });
}

const ofPort = extendResource(portResource, {
  update(tx, row, changes) {
    const host = changes["binding:host_id"] as string | undefined;
    if (host === undefined && changes["binding:profile"] === undefined) return;
    const there = host === undefined || host === "" ? undefined : inactiveBinding(tx, row.id, host);
    if (there !== undefined) {
      tx.delete(inactiveBindingTable, there.id);
      arrive(tx, row.id, there.host);
    }
    follow(tx, row);
  },
});

export const resources = [binding];
export const extend = [ofPort];
export const aliases: readonly Alias[] = [{ alias: "binding-extended", name: "Port Bindings Extended", description: "A port may have several bindings, of which one is active.", updated: "2017-07-17T10:00:00-00:00" }];
