// The resources tap_services, tap_flows and tap_mirrors. Ports at either end are of the project that copies: nobody hears another's packets.
import { conflict, defineResource, extendResource, forbidden, invalidInput, memberOf, notFound, orNull, reference, show, type Alias, type ApiContext, type LiveView, type Row, type Tx } from "#app";
import { portResource, portTable, type Port } from "../l2/model.ts";
import { isEndpoint } from "./mirrors.ts";
import {
  COPIES_MAX, DIRECTIONS, MIRROR_TYPES, remoteOf, TAG_FLOWS_MAX, tapActiveTable, tapFlowResource, tapFlowTable, tapMirrorResource, tapMirrorTable, tapServiceResource, tapServiceTable, type Direction, type TapFlow, type TapMirror, type TapService,
} from "./model.ts";
import { parseVlans, partsOf, type VlanRange } from "./vlans.ts";

const MEMBER = memberOf();
const READER = "rule:admin_only or (role:reader and project_id:%(project_id)s)";
const policy = { create: MEMBER, get: READER, update: MEMBER, delete: MEMBER } as const;

const status = { type: "string", about: "ACTIVE: the switches concerned have it; DOWN: a port of it is at no host, or they have not yet." } as const;
const statusOf = (view: LiveView, { id }: Row): { readonly status: string } => ({ status: view.get(tapActiveTable, id) === undefined ? "DOWN" : "ACTIVE" });
/** A port that the caller sees. @throws ApiError 403 PortDoesNotBelongToProject */
export function ownPort(id: string, { project_id }: { readonly project_id: string }, ctx: ApiContext): Port {
  const port = ctx.visible(portResource, id);
  if (port.project_id !== project_id) throw forbidden("PortDoesNotBelongToProject", `The specified port ${id} does not belong to the project.`);
  return port;
}

function removeFlow(tx: Tx, { id }: TapFlow): void {
  tx.delete(tapActiveTable, id);
  tx.delete(tapFlowTable, id);
}
function removeService(tx: Tx, { id }: TapService): void {
  for (const flow of tx.by(tapFlowTable, "service", id)) removeFlow(tx, flow);
  tx.delete(tapActiveTable, id);
  tx.delete(tapServiceTable, id);
}

const tapService = defineResource(tapServiceResource, {
  collection: "tap_services",
  path: "taas/tap_services",
  about: "A port that copies of packets are sent to.",
  alias: "taas",
  table: tapServiceTable,
  standard: ["id", "name", "project", "description"],
  notFound: { type: "TapServiceNotFound", message: (id) => `Tap Service  ${id} does not exist` },
  attributes: {
    port_id: { type: "uuid", about: "Where copies go. The port needs no address, and its security groups are not asked.", post: true, required: true, filter: true, index: "port" },
    status,
  },
  policy,
  quota: { default: 10 },
  bulk: true,
  create(tx, { id, project_id, name, description }, input, ctx) {
    const row: TapService = { id, project_id, name, description, port_id: ownPort(input.port_id as string, { project_id }, ctx).id };
    tx.put(tapServiceTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(tapServiceTable, row);
    return row;
  },
  remove: removeService,
  present: statusOf,
});

/** @throws ApiError 409 TooManyCopies when a port would be copied too often */
function checkCopies(tx: Tx, port: string, more: number): void {
  const now = tx.count(tapFlowTable, "source", port) + tx.by(tapMirrorTable, "port", port).reduce((sum, m) => sum + Object.keys(m.directions).length, 0);
  if (now + more > COPIES_MAX) throw conflict("TooManyCopies", `Port ${port} is copied ${now} times by tap flows and tap mirrors; ${COPIES_MAX} is the most.`);
}

/** What a filter lets through, empty: everything. @throws ApiError 400 naming the attribute */
function vlansOf(text: string | null): VlanRange[] {
  if (text === null) return [];
  try {
    return parseVlans(text);
  } catch (error) {
    if (error instanceof RangeError) throw invalidInput(`'vlan_filter' '${show(text)}': ${error.message}`);
    throw error;
  }
}

/** @throws ApiError 400 naming the attribute when the switch of the port would need too many flows to tell tags apart */
function checkTags(tx: Tx, added: TapFlow): void {
  const filters = [added, ...tx.by(tapFlowTable, "source", added.source_port)].map((f) => ({ direction: f.direction, vlans: vlansOf(f.vlan_filter) }));
  for (const direction of ["IN", "OUT"] as const) {
    // What is copied whatever its tag adds none: one flow for the frames that no filter names, in whatever order these were asked for.
    const count = partsOf(filters.filter((f) => f.direction === direction || f.direction === "BOTH").map((f) => f.vlans)).filter((part) => part.vlan_vid !== undefined).length;
    if (count > TAG_FLOWS_MAX) throw invalidInput(`'vlan_filter' of this tap flow and of those that port ${added.source_port} has make ${count} flows in direction ${direction}; ${TAG_FLOWS_MAX} are the most. Fewer ranges, or ranges that begin and end at multiples of powers of two, make fewer`);
  }
}

const tapFlow = defineResource(tapFlowResource, {
  collection: "tap_flows",
  path: "taas/tap_flows",
  about: "A port whose packets are copied to a tap service.",
  alias: "taas",
  table: tapFlowTable,
  standard: ["id", "name", "project", "description"],
  notFound: { type: "TapFlowNotFound", message: (id) => `Tap Flow  ${id} does not exist` },
  attributes: {
    tap_service_id: { type: "uuid", about: "Where copies go.", post: true, required: true, filter: true, index: "service" },
    source_port: { type: "uuid", about: "The port that is copied.", post: true, required: true, filter: true, index: "source" },
    direction: { type: "string", about: "IN: what gets to the machine; OUT: what it sends.", post: true, required: true, check: { enum: DIRECTIONS }, filter: true },
    vlan_filter: {
      type: "string", about: "VLAN ids and ranges, as 10,20-30: of frames with such a tag of the guest alone; null: of all.", post: true, default: null, alias: "taas-vlan-filter",
      check: orNull({ type: "string", pattern: "([0-9]{1,4}(-[0-9]{1,4})?)(,([0-9]{1,4}(-[0-9]{1,4})?))*", is: "a list of VLAN ids and ranges" }),
    },
    status,
  },
  policy,
  quota: { default: 50 },
  bulk: true,
  create(tx, { id, project_id, name, description }, input, ctx) {
    const service = ctx.seen(tapServiceResource, input.tap_service_id as string);
    if (service === undefined) throw notFound("TapServiceNotFound", `Tap Service  ${input.tap_service_id as string} does not exist`);
    if (service.project_id !== project_id) throw forbidden("TapServiceNotBelongToProject", "The specified tap service does not belong to the project");
    const source = ownPort(input.source_port as string, { project_id }, ctx);
    if (source.id === service.port_id) throw invalidInput(`'source_port' ${source.id} is the port of the tap service itself`);
    checkCopies(tx, source.id, 1);
    const row: TapFlow = { id, project_id, name, description, tap_service_id: service.id, source_port: source.id, direction: input.direction as Direction, vlan_filter: input.vlan_filter as string | null };
    if (row.vlan_filter !== null) checkTags(tx, row);
    tx.put(tapFlowTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(tapFlowTable, row);
    return row;
  },
  remove: removeFlow,
  present: statusOf,
});

/** A session id of ERSPAN has 10 bits (draft-foschiano-erspan section 4.1), a key of GRE 32 (RFC 2890 section 2). */
const TUNNEL_MAX = { gre: 2 ** 32 - 1, erspanv1: 1023 } as const;

/** @throws ApiError 400 naming what is wrong */
function checkDirections({ directions, mirror_type }: Pick<TapMirror, "directions" | "mirror_type">): void {
  const given = Object.entries(directions);
  if (given.length === 0) throw invalidInput("'directions' names none of IN, OUT and BOTH");
  if (directions.BOTH !== undefined && given.length > 1) throw invalidInput("'directions' names BOTH beside others");
  for (const [direction, id] of given) {
    if (id < 0 || id > TUNNEL_MAX[mirror_type]) throw invalidInput(`'directions' has ${id} for ${direction}; tunnels of type ${mirror_type} have ids from 0 to ${TUNNEL_MAX[mirror_type]}`);
  }
}
/** Of a project's, a tunnel to one machine is told by its id alone. @throws ApiError 409 TapMirrorTunnelConflict */
function checkTunnels(tx: Tx, mirror: TapMirror): void {
  const taken = new Set(tx.by(tapMirrorTable, "remote", remoteOf(mirror)).flatMap((m) => Object.values(m.directions)));
  for (const id of Object.values(mirror.directions)) {
    if (taken.has(id)) throw conflict("TapMirrorTunnelConflict", `Tap Mirror with tunnel_id ${id} to ${mirror.remote_ip} exists.`);
    taken.add(id);
  }
}
/** @throws ApiError 400 */
function checkRemote(tx: Tx, ip: string): void {
  if (/^(0\.|127\.|2(2[4-9]|[345]\d)\.|ff|::)/.test(ip)) throw invalidInput(`'remote_ip' ${ip} is no address of a machine`);
  if (isEndpoint(tx, ip)) throw invalidInput(`'remote_ip' ${ip} is where the tunnels of a host end`);
}

const tunnelId = { check: { type: "integer" } } as const;
const tapMirror = defineResource(tapMirrorResource, {
  collection: "tap_mirrors",
  path: "taas/tap_mirrors",
  about: "A port whose packets are copied to a machine outside, by GRE or ERSPAN.",
  alias: "tap-mirror",
  table: tapMirrorTable,
  standard: ["id", "name", "project", "description"],
  notFound: { type: "TapMirrorNotFound", message: (id) => `Tap Mirror  ${id} does not exist` },
  attributes: {
    port_id: { type: "uuid", about: "The port that is copied.", post: true, required: true, filter: true, index: "port" },
    remote_ip: { type: "string", about: "The machine that copies are sent to, from the port's host.", post: true, required: true, check: { type: "ip" } },
    mirror_type: { type: "string", about: "How copies are encapsulated.", post: true, required: true, check: { enum: MIRROR_TYPES } },
    directions: {
      type: "object", about: "Of what the machine gets (`IN`), sends (`OUT`), or both in one tunnel (`BOTH`) the tunnel's id: a key of GRE, a session id of ERSPAN.", post: true, required: true,
      check: { dict: { IN: tunnelId, OUT: tunnelId, BOTH: tunnelId } },
    },
  },
  policy,
  quota: { default: 10 },
  bulk: true,
  create(tx, { id, project_id, name, description }, input, ctx) {
    const row: TapMirror = {
      id, project_id, name, description, port_id: ownPort(input.port_id as string, { project_id }, ctx).id, remote_ip: input.remote_ip as string, mirror_type: input.mirror_type as TapMirror["mirror_type"],
      directions: input.directions as TapMirror["directions"],
    };
    checkDirections(row);
    checkRemote(tx, row.remote_ip);
    checkTunnels(tx, row);
    checkCopies(tx, row.port_id, Object.keys(row.directions).length);
    tx.put(tapMirrorTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(tapMirrorTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(tapMirrorTable, row.id),
});

const ofPort = extendResource(portResource, {
  remove(tx, port) {
    for (const service of tx.by(tapServiceTable, "port", port.id)) removeService(tx, service);
    for (const flow of tx.by(tapFlowTable, "source", port.id)) removeFlow(tx, flow);
    for (const { id } of tx.by(tapMirrorTable, "port", port.id)) tx.delete(tapMirrorTable, id);
  },
});

export const resources = [tapService, tapFlow, tapMirror];
export const extend = [ofPort];
export const references = [
  reference(tapServiceTable, { to: portTable, ids: (s) => s.port_id, gone: removeService }),
  reference(tapFlowTable, { to: portTable, ids: (f) => f.source_port, gone: removeFlow }),
  reference(tapFlowTable, { to: tapServiceTable, ids: (f) => f.tap_service_id, gone: removeFlow }),
  reference(tapMirrorTable, { to: portTable, ids: (m) => m.port_id, gone: (tx, m) => tx.delete(tapMirrorTable, m.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "taas", name: "Neutron Tap as a Service", description: "Copies of the packets of ports are sent to other ports.", updated: "2015-01-14T10:00:00-00:00" },
  { alias: "taas-vlan-filter", name: "VLAN filtering for Neutron Tap as a Service", description: "Tap flows of frames with certain tags.", updated: "2018-01-14T10:00:00-00:00" },
  { alias: "tap-mirror", name: "Tap as a Service GRE or ERSPAN mirror", description: "Copies of the packets of ports are sent to machines outside.", updated: "2023-05-05T11:45:00-00:00" },
  { alias: "tap-mirror-both-direction", name: "Tap as a Service mirror with BOTH direction support", description: "Both directions of a tap mirror by one tunnel.", updated: "2025-12-15T11:45:00-00:00" },
];
