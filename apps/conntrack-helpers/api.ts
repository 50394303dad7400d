// Conntrack helpers of a router, and their list in the router's own form. There are those that Open vSwitch's userspace datapath has. That follows what FTP says
// at port 21 alone, after whatever port a connection was committed with the helper; of TFTP nothing but the first packet counts.
import { memberOf, badRequest, defineResource, extendResource, reference, type Alias, type ReadView, type Tx } from "#app";
import { routerResource, routerTable } from "../l3/model.ts";
import { conntrackHelperResource, conntrackHelperTable, type ConntrackHelper } from "./model.ts";

const MEMBER = memberOf("router:project_id");
const PROTOCOLS = ["dccp", "icmp", "ipv6-icmp", "sctp", "tcp", "udp"] as const;
const known: ReadonlyMap<string, Pick<ConntrackHelper, "protocol"> & { readonly only?: number }> = new Map([["ftp", { protocol: "tcp", only: 21 }], ["tftp", { protocol: "udp" }]]);

/** Of a router: each is some flows for every address that it translates. */
const HELPERS_MAX = 32;

/** @throws ApiError 400 */
function check(tx: Tx, id: string, routerId: string, { protocol, port, helper }: { readonly protocol: string; readonly port: number; readonly helper: string }): ConntrackHelper {
  const offered = known.get(helper);
  if (offered === undefined) throw badRequest(`Conntrack Helper ${helper} is not allowed.`, "ConntrackHelperNotAllowed");
  if (offered.protocol !== protocol) throw badRequest(`Conntrack Helper ${helper} does not support: ${protocol}. Supported protocols are: ${offered.protocol}`, "InvalidProtocolForHelper");
  if (offered.only !== undefined && offered.only !== port) throw badRequest(`Bad conntrack_helper request: Conntrack Helper ${helper} is available on port ${offered.only} only, not on ${port}.`, "BadRequest");
  if (tx.by(conntrackHelperTable, "router", routerId).some((h) => h.id !== id && h.helper === helper && h.port === port)) {
    throw badRequest(`Bad conntrack_helper request: A duplicate conntrack helper entry with same attributes already exists, conflicting values are {'router_id': '${routerId}', 'protocol': '${protocol}', 'port': ${port}, 'helper': '${helper}'}.`, "BadRequest");
  }
  if (tx.by(conntrackHelperTable, "router", routerId).filter((h) => h.id !== id).length >= HELPERS_MAX) throw badRequest(`Bad conntrack_helper request: router ${routerId} has ${HELPERS_MAX} conntrack helpers, which is the most.`, "BadRequest");
  return { id, router_id: routerId, protocol: offered.protocol, port, helper: helper as ConntrackHelper["helper"] };
}

const conntrackHelper = defineResource(conntrackHelperResource, {
  collection: "conntrack_helpers",
  about: "A protocol of which a router reads what translated connections say of others.",
  alias: "l3-conntrack-helper",
  parent: { resource: routerResource, attribute: "router_id" },
  table: conntrackHelperTable,
  standard: ["id"],
  notFound: { type: "ConntrackHelperNotFound", message: (id) => `Conntrack Helper ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "The router.", post: true, required: true, visible: false, index: "router" },
    protocol: { type: "string", about: "tcp for ftp, udp for tftp.", post: true, put: true, required: true, check: { enum: PROTOCOLS, anyCase: true }, filter: true, sort: true },
    port: { type: "integer", about: "That connections are opened to: 21 for ftp, any for tftp.", post: true, put: true, required: true, check: { range: [1, 65_535] }, filter: true, sort: true },
    helper: { type: "string", about: "ftp or tftp.", post: true, put: true, required: true, check: { type: "string", max: 64 }, filter: true, sort: true },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(router:project_id)s)", update: MEMBER, delete: MEMBER },
  relations: { "router:project_id": (row, view) => view.get(routerTable, row.router_id)?.project_id },
  create(tx, { id }, input) {
    const row = check(tx, id, input.router_id as string, input as unknown as ConntrackHelper);
    tx.put(conntrackHelperTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = check(tx, row.id, row.router_id, { ...row, ...changes });
    tx.put(conntrackHelperTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(conntrackHelperTable, row.id),
});

const shown = (view: ReadView, routerId: string): Record<string, unknown>[] =>
  view.by(conntrackHelperTable, "router", routerId).toSorted((a, b) => (a.helper === b.helper ? a.port - b.port : a.helper < b.helper ? -1 : 1)).map(({ protocol, port, helper }) => ({ protocol, port, helper }));

const ofRouter = extendResource(routerResource, {
  attributes: { conntrack_helpers: { type: "object[]", about: "Protocols of which it reads what translated connections say of others.", alias: "expose-l3-conntrack-helper" } },
  remove(tx, row) {
    for (const { id } of tx.by(conntrackHelperTable, "router", row.id)) tx.delete(conntrackHelperTable, id);
  },
  present: (view, row) => ({ conntrack_helpers: shown(view, row.id) }),
});

export const resources = [conntrackHelper];
export const extend = [ofRouter];
export const references = [reference(conntrackHelperTable, { to: routerTable, ids: (h) => h.router_id, gone: (tx, h) => tx.delete(conntrackHelperTable, h.id) })];
export const aliases: readonly Alias[] = [
  { alias: "l3-conntrack-helper", name: "L3 Conntrack helper", description: "Routers read what connections of some protocols say of others.", updated: "2019-04-04T10:00:00-00:00" },
  { alias: "expose-l3-conntrack-helper", name: "Expose CT target rules for conntrack helper", description: "Routers show their conntrack helpers.", updated: "2019-04-04T10:00:00-00:00" },
];
