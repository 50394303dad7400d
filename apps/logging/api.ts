// The resources logs and loggable_resources.
import { badRequest, conflict, defineResource, extendResource, notFound, reference, resourceHandle, type Alias, type ApiContext, type Row, type Tx } from "#app";
import { portResource, portTable } from "../l2/model.ts";
import { groupResource, groupTable, portGroupsTable } from "../security-groups/model.ts";
import { logEntries, LOGS_MAX, logResource, logTable, type Log } from "./model.ts";

const MANAGER = "rule:admin_only or (role:manager and project_id:%(project_id)s)";
const ENTRIES = "axion:entries";
const TYPE = "security_group";

/** Whose traffic it is: nobody logs another's, but administrators. @throws ApiError 404 */
function checkOwner(row: { readonly project_id: string } | undefined, project: string, ctx: ApiContext, refused: () => Error): void {
  if (row === undefined || (row.project_id !== project && !ctx.caller.admin)) throw refused();
}

/** @throws ApiError naming what there is not, or what does not go together */
function checkTarget(tx: Tx, group: string | null, port: string | null, project: string, ctx: ApiContext): void {
  if (group !== null) checkOwner(ctx.seen(groupResource, group), project, ctx, () => notFound("ResourceNotFound", `Resource ${group} could not be found.`));
  if (port !== null) checkOwner(ctx.seen(portResource, port), project, ctx, () => notFound("TargetResourceNotFound", `Target resource ${port} could not be found.`));
  if (group !== null && port !== null && tx.get(portGroupsTable, port)?.groups.includes(group) !== true) {
    throw badRequest(`Invalid resource constraint between resource (${TYPE} ${group}) and target resource (port ${port}).`, "InvalidResourceConstraint");
  }
}

const log = defineResource(logResource, {
  collection: "logs",
  path: "log/logs",
  about: "What security groups accept and drop is logged: of a port, of ports that have a group, or of all ports of the project.",
  alias: "logging",
  table: logTable,
  standard: ["id", "name", "project", "description", "timestamps", "revision"],
  notFound: { type: "LogResourceNotFound", message: (id) => `Log resource ${id} could not be found.` },
  attributes: {
    description: { type: "string", about: "Text of the owner's choice.", post: true, put: true, default: "", check: { type: "string", max: 255 }, filter: true },
    resource_type: { type: "string", about: "security_group.", post: true, required: true, check: { type: "string", max: 255 }, filter: true, sort: true },
    resource_id: { type: "any", about: "A security group: ports that have it, and what its own rules accept.", post: true, default: null, check: { or: [{ type: "uuid" }, { type: "null" }] }, filter: true, sort: true },
    event: { type: "string", about: "Connections that rules accept, packets that none does, or both.", post: true, default: "ALL", check: { enum: ["ACCEPT", "DROP", "ALL"] }, filter: true },
    target_id: { type: "any", about: "A port.", post: true, default: null, check: { or: [{ type: "uuid" }, { type: "null" }] }, filter: true, sort: true },
    enabled: { type: "boolean", about: "Whether anything is logged.", post: true, put: true, default: true, filter: true, sort: true },
    [ENTRIES]: { type: "object[]", about: "What was logged lately, the latest first: time, event, direction, port, addresses, protocol, ports, and the rules that accept it.", onRequest: true, alias: "axion-log-entries" },
  },
  policy: { create: MANAGER, get: MANAGER, update: MANAGER, delete: MANAGER },
  create(tx, standard, input, ctx) {
    if (input.resource_type !== TYPE) throw badRequest(`Invalid log resource_type: ${input.resource_type as string}.`, "InvalidLogResourceType");
    const [resource_id, target_id] = [input.resource_id, input.target_id] as [string | null, string | null];
    checkTarget(tx, resource_id, target_id, standard.project_id, ctx);
    if (tx.count(logTable, "project", standard.project_id) >= LOGS_MAX) throw conflict("TooManyLogs", `There are ${LOGS_MAX} logs of project ${standard.project_id}, which is the most.`);
    const row: Log = { ...standard, resource_type: TYPE, resource_id, target_id, event: input.event as Log["event"], enabled: input.enabled as boolean };
    tx.put(logTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: Log = { ...row, enabled: (changes.enabled as boolean | undefined) ?? row.enabled };
    tx.put(logTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(logTable, row.id),
  presentOnRequest: (view, { id }) => ({ [ENTRIES]: view.factsBy(logEntries, "log", id).map((entry) => entry.packet).reverse() }),
});

export interface Loggable extends Row {
  readonly type: string;
}
const loggable = defineResource(resourceHandle<Loggable>("loggable_resource"), {
  collection: "loggable_resources",
  path: "log/loggable-resources",
  about: "What can be logged.",
  alias: "logging",
  standard: [],
  computed: { list: () => [{ id: TYPE, type: TYPE }], get: () => undefined },
  notFound: { type: "HTTPNotFound", message: (id) => `Loggable resource ${id} could not be found.` },
  attributes: { type: { type: "string", about: "The resource_type of logs." } },
  policy: { get: "rule:admin_only or role:manager" },
});

/** Logs go with what they are of. */
const gone = (index: "group" | "port") => ({
  remove(tx: Tx, { id }: Row): void {
    for (const row of tx.by(logTable, index, id)) tx.delete(logTable, row.id);
  },
});

export const resources = [log, loggable];
export const extend = [extendResource(groupResource, gone("group")), extendResource(portResource, gone("port"))];
export const references = [
  reference(logTable, { to: groupTable, ids: (l) => l.resource_id ?? undefined, gone: (tx, l) => tx.delete(logTable, l.id) }),
  reference(logTable, { to: portTable, ids: (l) => l.target_id ?? undefined, gone: (tx, l) => tx.delete(logTable, l.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "logging", name: "Logging API Extension", description: "What security groups accept and drop can be logged.", updated: "2017-01-01T10:00:00-00:00" },
  { alias: "axion-log-entries", name: "Entries of logs", description: "Logs show what was logged lately.", updated: "2026-11-30T00:00:00-00:00" },
];
