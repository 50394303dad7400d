// Trunks, their sub-ports, and what ports show and refuse because of them.
import {
  badRequest, conflict, defineResource, extendResource, invalidFor, invalidInput, memberOf, notFound, reference,
  type Action, type Alias, type ApiContext, type Check, type ReadView, type Tx,
} from "#app";
import { arrivalTable, chosenSegments, isAnothersPort, isNetworkPort, isTransparent, networkTable, portBindingTable, portResource, portStatusTable, portTable, shownHost, type Port } from "../l2/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { SUB_PORT_OWNER, subPortsOf, subPortTable, trunkResource, trunkStatus, trunkTable, type SubPort, type Trunk } from "./model.ts";

const MEMBER = memberOf();
/** As many as there are tags. */
const SUB_PORTS_MAX = 4094;

/** A sub-port as callers name it. */
interface Wanted {
  readonly port_id: string;
  readonly segmentation_type?: string;
  readonly segmentation_id?: number;
}
const SUB_PORTS: Check = {
  list: { dict: { port_id: { check: { type: "uuid" }, required: true }, segmentation_type: { check: { type: "string", max: 32 } }, segmentation_id: { check: { type: "integer" } } } },
  max: SUB_PORTS_MAX,
};
const BODY: Check = { dict: { sub_ports: { check: SUB_PORTS, required: true } } };

const parentInUse = (id: string): Error => conflict("ParentPortInUse", `Port ${id} is currently in use and is not eligible for use as a parent port.`);
const duplicate = (id: number, trunk: string): Error => conflict("DuplicateSubPort", `segmentation_type vlan and segmentation_id ${id} already in use on trunk ${trunk}.`);

/** @throws ApiError 409 where nothing of the trunk may be changed */
function checkEnabled({ id, admin_state_up: up }: Trunk): void {
  if (!up) throw conflict("TrunkDisabled", `Trunk ${id} is currently disabled.`);
}

/** A port that may be in a trunk of this project, and is in none. */
function freePort(tx: Tx, id: string, owner: { readonly project_id: string }, ctx: ApiContext): Port {
  const port = ctx.visible(portResource, id);
  if (isAnothersPort(port, owner, ctx)) throw badRequest(`Bad trunk request: Port ${id} is of another project.`, "BadRequest");
  if (tx.get(subPortTable, id) !== undefined) throw conflict("TrunkPortInUse", `Port ${id} is in use by another trunk.`);
  if (tx.count(trunkTable, "port", id) > 0) throw parentInUse(id);
  return port;
}

function checkParent(tx: Tx, id: string, owner: { readonly project_id: string }, ctx: ApiContext): void {
  const port = freePort(tx, id, owner, ctx);
  if (isNetworkPort(port) || shownHost(tx, port) !== "") throw parentInUse(id);
  // Frames of others with a tag of theirs would be taken for those of its sub-ports.
  if (isTransparent(tx, port.network_id)) throw conflict("TrunkParentTransparent", `Port ${id} cannot be the parent of a trunk: tags of others pass in its network ${port.network_id}.`);
}

/** What the network of a port has: its VLAN. */
function inherited(tx: Tx, port: Port): number {
  const vlan = chosenSegments(tx, port.network_id).find(({ type }) => type === "vlan")?.segmentation_id;
  if (vlan === undefined || vlan === null) throw invalidInput(`port ${port.id} cannot inherit its segmentation: its network ${port.network_id} is no VLAN`);
  return vlan;
}

function mtuFor(tx: Tx, port: Pick<Port, "network_id">): number {
  const network = tx.get(networkTable, port.network_id);
  return network === undefined ? 0 : mtuOf(tx, network);
}

/** @throws ApiError 400 for what names no tag; each port and each tag is named once. */
function checkForm(wanted: readonly Wanted[]): void {
  const [ports, tags] = [new Set<string>(), new Set<string>()];
  for (const [n, { port_id: port, segmentation_type: type, segmentation_id: id }] of wanted.entries()) {
    const at = `sub_ports[${n}]`;
    if (ports.has(port)) throw invalidFor(`${at}.port_id`, `port ${port} is named twice`);
    ports.add(port);
    if (type === undefined || (id === undefined && type !== "inherit")) throw invalidInput(`${at} of port ${port} has no ${type === undefined ? "segmentation_type" : "segmentation_id"}: both are needed`);
    if (type === "inherit") continue;
    if (type !== "vlan") throw invalidInput(`${at}.segmentation_type '${type}' is none of vlan, inherit`);
    if (id! < 1 || id! > 4094) throw invalidInput(`${at}.segmentation_id ${id!} is not in the range of 1 to 4094`);
    if (tags.has(`${id!}`)) throw invalidInput(`${at}.segmentation_id ${id!} is named twice`);
    tags.add(`${id!}`);
  }
}

/** A sub-port is where its parent is, wherever it is wished to be. */
function forgetHost(tx: Tx, id: string): void {
  const binding = tx.get(portBindingTable, id);
  if (binding !== undefined && binding.requested_host !== "") tx.put(portBindingTable, { ...binding, requested_host: "" });
}

function add(tx: Tx, trunk: Trunk, wanted: readonly Wanted[], ctx: ApiContext): void {
  checkForm(wanted);
  const parent = tx.get(portTable, trunk.port_id)!;
  const most = mtuFor(tx, parent);
  for (const { port_id: id, segmentation_type: type, segmentation_id } of wanted) {
    if (id === parent.id) throw parentInUse(id);
    const port = freePort(tx, id, trunk, ctx);
    if (isNetworkPort(port) || port.device_id !== "" || (tx.get(portStatusTable, id)?.host ?? "") !== "") {
      throw conflict("PortInUse", `Unable to complete operation on port ${id} for network ${port.network_id}. Port already has an attached device ${port.device_id}.`);
    }
    const mtu = mtuFor(tx, port);
    if (mtu > most) throw conflict("SubPortMtuGreaterThanTrunkPortMtu", `MTU ${mtu} of port ${id} is greater than MTU ${most} of port ${parent.id}, whose trunk it is.`);
    const vlan = type === "inherit" ? inherited(tx, port) : segmentation_id!;
    if (tx.count(subPortTable, "tag", `${trunk.id}/${vlan}`) > 0) throw duplicate(vlan, trunk.id);
    tx.put(subPortTable, { id, trunk_id: trunk.id, parent_id: parent.id, segmentation_id: vlan });
    ctx.update(portResource, id, { device_owner: SUB_PORT_OWNER, device_id: trunk.id });
    forgetHost(tx, id);
  }
}

/** The port is nobody's afterwards, unless somebody has said otherwise since. */
function release(tx: Tx, sub: SubPort, ctx: ApiContext): void {
  tx.delete(subPortTable, sub.id);
  const port = tx.get(portTable, sub.id);
  if (port?.device_owner === SUB_PORT_OWNER && port.device_id === sub.trunk_id) ctx.update(portResource, sub.id, { device_owner: "", device_id: "" });
}

/** A sub-port as callers see it. */
interface ShownSubPort {
  readonly port_id: string;
  readonly segmentation_type: "vlan";
  readonly segmentation_id: number;
}
const shownSubPorts = (view: ReadView, trunkId: string): ShownSubPort[] =>
  subPortsOf(view, trunkId).map(({ id, segmentation_id }) => ({ port_id: id, segmentation_type: "vlan", segmentation_id }));

/** A trunk as actions answer it: without its name around it, as other servers do. */
function shown(tx: Tx, id: string): Record<string, unknown> {
  const row = tx.get(trunkTable, id)!;
  return { ...row, tenant_id: row.project_id, status: trunkStatus(tx, row), sub_ports: shownSubPorts(tx, id) };
}

const change = (about: string, run: (tx: Tx, trunk: Trunk, wanted: readonly Wanted[], ctx: ApiContext) => void): Action<Trunk> => ({
  about,
  policy: MEMBER,
  check: BODY,
  answers: { sub_ports: SUB_PORTS },
  run(tx, row, body, ctx) {
    checkEnabled(row);
    const wanted = body.sub_ports as readonly Wanted[];
    run(tx, row, wanted, ctx);
    if (wanted.length > 0) ctx.bump(trunkResource, row.id);
    return shown(tx, row.id);
  },
});

const trunk = defineResource(trunkResource, {
  collection: "trunks",
  about: "A port whose interface carries frames of other ports, each with a VLAN tag of its own.",
  alias: "trunk",
  quota: { default: -1 },
  table: trunkTable,
  notFound: { type: "TrunkNotFound", message: (id) => `Trunk ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The parent: the port that is plugged. Its own frames have no tag.", post: true, required: true, filter: true, sort: true, index: "port" },
    admin_state_up: { type: "boolean", about: "False: nothing of it may be changed, but for this. Packets are not concerned.", post: true, put: true, default: true, filter: true, sort: true },
    status: { type: "string", about: "DOWN: its parent is not plugged. BUILD: flows are not confirmed yet. DEGRADED: the network of a sub-port does not reach the host. ACTIVE.", filter: true, sort: true },
    sub_ports: { type: "object[]", about: "Its sub-ports: `port_id`, `segmentation_type` (vlan, or inherit: the VLAN of the port's network) and `segmentation_id`.", post: true, default: [], check: SUB_PORTS },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MEMBER, delete: MEMBER },
  bulk: true,
  create(tx, standard, input, ctx) {
    const row: Trunk = { port_id: input.port_id as string, admin_state_up: input.admin_state_up as boolean, ...standard };
    checkForm(input.sub_ports as readonly Wanted[]);
    checkParent(tx, row.port_id, row, ctx);
    tx.put(trunkTable, row);
    add(tx, row, input.sub_ports as readonly Wanted[], ctx);
    return row;
  },
  update(tx, row, changes) {
    const after: Trunk = { ...row, admin_state_up: (changes.admin_state_up as boolean | undefined) ?? row.admin_state_up };
    tx.put(trunkTable, after);
    return after;
  },
  remove(tx, row, ctx) {
    if (!ctx.internal) {
      checkEnabled(row);
      const parent = tx.get(portTable, row.port_id);
      if (parent !== undefined && shownHost(tx, parent) !== "") throw conflict("TrunkInUse", `Trunk ${row.id} is currently in use.`);
    }
    for (const sub of tx.by(subPortTable, "trunk", row.id)) release(tx, sub, ctx);
    tx.delete(trunkTable, row.id);
  },
  present: (view, row) => ({ status: trunkStatus(view, row), sub_ports: shownSubPorts(view, row.id) }),
  actions: {
    add_subports: change("Puts ports into it, each with its tag; what its machine does goes on.", add),
    remove_subports: change("Takes ports out of it.", (tx, row, wanted, ctx) => {
      for (const { port_id: id } of wanted) {
        const sub = tx.get(subPortTable, id);
        if (sub?.trunk_id !== row.id) throw notFound("SubPortNotFound", `SubPort on trunk ${row.id} with parent port ${id} could not be found.`);
        release(tx, sub, ctx);
      }
    }),
    get_subports: {
      about: "Its sub-ports.", method: "GET", policy: "rule:admin_only or (role:reader and project_id:%(project_id)s)", answers: { sub_ports: SUB_PORTS },
      read: (view, row) => ({ sub_ports: shownSubPorts(view, row.id) }),
    },
  },
});

const ofPort = extendResource(portResource, {
  attributes: { trunk_details: { type: "object", about: "Of the parent of a trunk: `trunk_id`, and its `sub_ports` with their MACs.", alias: "trunk-details" } },
  update(tx, row, changes) {
    if (changes["binding:host_id"] !== undefined && tx.get(subPortTable, row.id) !== undefined) forgetHost(tx, row.id);
  },
  // A machine that moved has connections of all its ports under way.
  completed(tx, done) {
    for (const { row } of done) {
      const arrival = tx.get(arrivalTable, row.id);
      if (arrival?.since !== tx.now) continue;
      for (const { id } of tx.by(subPortTable, "parent", row.id)) tx.put(arrivalTable, { ...arrival, id });
    }
  },
  remove(tx, row, ctx) {
    const [its] = tx.by(trunkTable, "port", row.id);
    const sub = tx.get(subPortTable, row.id);
    if (!ctx.internal && its !== undefined) throw conflict("PortInUseAsTrunkParent", `Port ${row.id} is currently a parent port for trunk ${its.id}.`);
    if (!ctx.internal && sub !== undefined) throw conflict("PortInUseAsSubPort", `Port ${row.id} is currently a subport for trunk ${sub.trunk_id}.`);
    if (its !== undefined) ctx.remove(trunkResource, its.id);
    if (sub !== undefined) tx.delete(subPortTable, sub.id);
  },
  present(view, { id }) {
    const [its] = view.by(trunkTable, "port", id);
    if (its === undefined) return {};
    const subPorts = shownSubPorts(view, its.id).map((sub) => ({ ...sub, mac_address: view.get(portTable, sub.port_id)?.mac_address ?? "" }));
    return { trunk_details: { trunk_id: its.id, sub_ports: subPorts } };
  },
});

export const resources = [trunk];
export const extend = [ofPort];
export const references = [
  reference(trunkTable, {
    to: portTable, ids: (t) => t.port_id,
    gone(tx, t) {
      for (const { id } of tx.by(subPortTable, "trunk", t.id)) tx.delete(subPortTable, id);
      tx.delete(trunkTable, t.id);
    },
  }),
  reference(subPortTable, { to: portTable, ids: (s) => [s.id, s.parent_id], gone: (tx, s) => tx.delete(subPortTable, s.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "trunk", name: "Trunk Extension", description: "Ports whose interfaces carry frames of other ports, by VLAN tags.", updated: "2016-01-01T10:00:00-00:00" },
  { alias: "trunk-details", name: "Trunk port details", description: "Parents of trunks show their sub-ports.", updated: "2016-01-01T10:00:00-00:00" },
];
