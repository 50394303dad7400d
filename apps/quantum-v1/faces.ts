// The two versions as faces: what each route does, in terms of the operations on networks and ports that every face shares.
import { ApiError, badRequest, conflict, notFound, type BatchOperations, type Face, type FaceAnswer, type FaceRequest, type Operations, type Values } from "#app";
import { networkResource, portResource } from "../l2/model.ts";
import { ATTACHMENT } from "./api.ts";
import { faultAnswer, type Version } from "./faults.ts";
import { contentTypes, formatOf, readBody, write, writeList, type Format, type Item } from "./format.ts";
import { attachmentOf, isNamed, isTenantPort, networkFilter, networkItem, networkPortsFilter, portDetail, portFilter, portItem } from "./present.ts";
import { noRoute, targetOf, type Target } from "./routes.ts";
import { writeXml } from "./xml.ts";

interface Call extends Target {
  readonly version: Version;
  readonly format: Format;
  readonly request: FaceRequest;
  readonly operations: Operations;
}

/** Networks whose ports are read by one list. */
const NETWORKS_AT_ONCE = 100;
const ID_SHOWN = 255;

// ---- what is where ----

type Shows = (resource: typeof networkResource | typeof portResource, id: string) => Values;

const shows = ({ operations, request }: Call): Shows => (resource, id) => operations.show(resource, id, request);

/** Its refusal in v1's words where it is of `type`. */
function orNotFound(show: () => Values, type: string, detail: string): Values {
  try {
    return show();
  } catch (error) {
    throw error instanceof ApiError && error.type === type ? notFound(type, detail) : error;
  }
}

/** The path's network: the tenant's own. */
function ownNetwork(show: Shows, { network: id, tenant }: Call): Values {
  const detail = `Network ${id.slice(0, ID_SHOWN)} could not be found`;
  const network = orNotFound(() => show(networkResource, id), "NetworkNotFound", detail);
  if (network.project_id !== tenant) throw notFound("NetworkNotFound", detail);
  return network;
}
/** The path's port, on its network. */
function ownPort(show: Shows, call: Call): Values {
  ownNetwork(show, call);
  const detail = `Port ${call.port.slice(0, ID_SHOWN)} could not be found on network ${call.network}`;
  const port = orNotFound(() => show(portResource, call.port), "PortNotFound", detail);
  if (port.network_id !== call.network || !isTenantPort(port)) throw notFound("PortNotFound", detail);
  return port;
}
async function* portsOf({ operations, request }: Call, networks: readonly string[]): AsyncGenerator<Values> {
  const rows = await operations.list(portResource, request, new URLSearchParams(networks.map((id): [string, string] => ["network_id", id])));
  for await (const port of rows) if (isTenantPort(port)) yield port;
}
async function* networksOf(call: Call): AsyncGenerator<Values> {
  const { operations, request, tenant } = call;
  const matches = networkFilter(request.query);
  const byPorts = networkPortsFilter(request.query);
  let some: Values[] = [];
  for await (const network of await operations.list(networkResource, request, new URLSearchParams({ project_id: tenant }))) {
    if (!matches(network)) continue;
    if (byPorts === undefined) yield network;
    else some.push(network);
  }
  if (byPorts === undefined) return;
  for (; some.length > 0; some = some.slice(NETWORKS_AT_ONCE)) {
    const now = some.slice(0, NETWORKS_AT_ONCE);
    const ports = new Map<unknown, Values[]>(now.map((n) => [n.id, []]));
    for await (const port of portsOf(call, now.map((n) => n.id as string))) ports.get(port.network_id)?.push(port);
    for (const network of now) if (byPorts(ports.get(network.id)!)) yield network;
  }
}

// ---- bodies ----

const bodyOf = ({ request, format }: Call, resource: string): ReadonlyMap<string, unknown> | undefined => readBody(request.body, format, resource);

/** What must be given, as text. */
function textIn(call: Call, resource: string, field: string): string {
  const value = bodyOf(call, resource)?.get(field);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "string") throw badRequest(`The parameter '${field}' of ${resource} is needed`);
  return value;
}
/** What the caller asks of a port's state; DOWN unless it is said. To be judged once it is clear whose state. */
function stateIn(fields: ReadonlyMap<string, unknown>): () => boolean {
  const state = fields.has("state") ? fields.get("state") : "DOWN";
  return () => {
    if (state !== "ACTIVE" && state !== "DOWN") throw badRequest(`Unsupported port state: ${(typeof state === "string" ? state : JSON.stringify(state)).slice(0, ID_SHOWN)}`, "RequestedStateInvalid");
    return state === "ACTIVE";
  };
}

// ---- answers ----

const answer = ({ format, version }: Call, name: string, item: Item, status = 200, generation?: number): FaceAnswer =>
  ({ status, contentType: contentTypes[format], body: write(format, name, item, version.namespace), generation });
const done = ({ format }: Call, generation?: number): FaceAnswer => ({ status: 204, contentType: contentTypes[format], generation });

async function list({ format, version }: Call, plural: string, rows: AsyncGenerator<Values>, form: (values: Values) => Item): Promise<FaceAnswer> {
  // What is refused is refused before the answer begins.
  let next = await rows.next();
  async function* items(): AsyncGenerator<Item> {
    for (; next.done !== true; next = await rows.next()) yield form(next.value);
  }
  return { status: 200, contentType: contentTypes[format], body: writeList(format, plural, items(), version.namespace) };
}
const idOf = ({ id }: Values): Item => ({ id });

/** A change of what the path names, after `look` has found it as it should be; one transaction. */
async function change<T>(call: Call, look: (show: Shows) => Values, run: (operations: BatchOperations, found: Values) => T extends PromiseLike<unknown> ? never : T): Promise<{ readonly value: T; readonly generation: number }> {
  return call.operations.batch<T>(call.request, (operations) => run(operations, look((resource, id) => operations.show(resource, id))));
}

const inUse = (port: Values, network: unknown): Error =>
  conflict("PortInUse", `Unable to complete operation on port ${String(port.id)} for network ${String(network)}. The attachment ${attachmentOf(port)} is plugged into the logical port.`);

/** Ports that nothing is plugged into go along. One that is gone before they are looked at is nothing to refuse for. */
async function removeNetwork(call: Call, attempts = 5): Promise<FaceAnswer> {
  try {
    return await removeWithPorts(call);
  } catch (error) {
    if (attempts > 1 && error instanceof ApiError && error.type === "PortNotFound") return removeNetwork(call, attempts - 1);
    throw error;
  }
}
async function removeWithPorts(call: Call): Promise<FaceAnswer> {
  ownNetwork(shows(call), call);
  const ports: string[] = [];
  for await (const { id } of portsOf(call, [call.network])) ports.push(id as string);
  const { generation } = await change(call, (show) => ownNetwork(show, call), (operations) => {
    for (const id of ports) {
      const attachment = attachmentOf(operations.show(portResource, id));
      if (attachment !== undefined) throw conflict("NetworkInUse", `Unable to complete operation on network ${call.network}. There is the attachment ${attachment} plugged into its port ${id}.`);
      operations.remove(portResource, id);
    }
    operations.remove(networkResource, call.network);
  });
  return done(call, generation);
}

async function createNetwork(call: Call): Promise<FaceAnswer> {
  const name = textIn(call, "network", "name");
  const { value, generation } = await call.operations.create(networkResource, { name, project_id: call.tenant }, call.request);
  return answer(call, "network", idOf(value), call.version.created, generation);
}

async function createPort(call: Call): Promise<FaceAnswer> {
  const state = stateIn(bodyOf(call, "port") ?? new Map<string, unknown>());
  const { value, generation } = await change(call, (show) => ownNetwork(show, call), (operations) =>
    // Addresses are its user's own business, and which MAC its interface has.
    operations.create(portResource, { network_id: call.network, project_id: call.tenant, admin_state_up: state(), port_security_enabled: false, fixed_ips: [] }));
  return answer(call, "port", idOf(value), call.version.created, generation);
}

async function unplug(call: Call): Promise<FaceAnswer> {
  const { generation } = await change(call, (show) => ownPort(show, call), (operations, port) => {
    if (isNamed(port)) operations.update(portResource, call.port, { [ATTACHMENT]: "" });
    else if (attachmentOf(port) !== undefined) throw inUse(port, call.network);
  });
  return done(call, generation);
}

const routes: Readonly<Record<string, (call: Call) => FaceAnswer | Promise<FaceAnswer>>> = {
  "GET networks": (call) => list(call, "networks", networksOf(call), idOf),
  "GET networks/detail": (call) => list(call, "networks", networksOf(call), (n) => networkItem(n, call.version)),
  "POST networks": createNetwork,
  "GET network": (call) => answer(call, "network", networkItem(ownNetwork(shows(call), call), call.version)),
  async "GET network/detail"(call) {
    const network = ownNetwork(shows(call), call);
    const ports: Item[] = [];
    for await (const port of portsOf(call, [call.network])) ports.push(portDetail(port, call.version));
    return answer(call, "network", { ...networkItem(network, call.version), ports });
  },
  async "PUT network"(call) {
    const name = textIn(call, "network", "name");
    const { generation } = await change(call, (show) => ownNetwork(show, call), (operations) => void operations.update(networkResource, call.network, { name }));
    return done(call, generation);
  },
  "DELETE network": (call) => removeNetwork(call),
  "GET ports": (call) => listPorts(call, idOf),
  "GET ports/detail": (call) => listPorts(call, (p) => portItem(p, call.version)),
  "POST ports": createPort,
  "GET port": (call) => answer(call, "port", portItem(ownPort(shows(call), call), call.version)),
  "GET port/detail": (call) => answer(call, "port", portDetail(ownPort(shows(call), call), call.version)),
  async "PUT port"(call) {
    const fields = bodyOf(call, "port");
    if (fields === undefined) throw badRequest("A body is needed");
    const state = stateIn(fields);
    const { generation } = await change(call, (show) => ownPort(show, call), (operations) => void operations.update(portResource, call.port, { admin_state_up: state() }));
    return done(call, generation);
  },
  async "DELETE port"(call) {
    const { generation } = await change(call, (show) => ownPort(show, call), (operations, port) => {
      if (attachmentOf(port) !== undefined) throw inUse(port, call.network);
      operations.remove(portResource, call.port);
    });
    return done(call, generation);
  },
  "GET port/attachment"(call) {
    const id = attachmentOf(ownPort(shows(call), call));
    return answer(call, "attachment", id === undefined ? {} : { id });
  },
  async "PUT port/attachment"(call) {
    const id = textIn(call, "attachment", "id");
    if (id === "") throw badRequest("The parameter 'id' of attachment is needed");
    const { generation } = await change(call, (show) => ownPort(show, call), (operations, port) => {
      if (attachmentOf(port) !== undefined) throw inUse(port, call.network);
      operations.update(portResource, call.port, { [ATTACHMENT]: id });
    });
    return done(call, generation);
  },
  "DELETE port/attachment": unplug,
  /** v1 has none here; those of v2.0 are no business of its clients. */
  "GET extensions": ({ format, version }) => ({ status: 200, contentType: contentTypes[format], body: format === "xml" ? writeXml("extensions", {}, version.namespace) : '{"extensions": []}' }),
};

async function listPorts(call: Call, form: (port: Values) => Item): Promise<FaceAnswer> {
  ownNetwork(shows(call), call);
  const matches = portFilter(call.request.query);
  async function* rows(): AsyncGenerator<Values> {
    for await (const port of portsOf(call, [call.network])) if (matches(port)) yield port;
  }
  return list(call, "ports", rows(), form);
}

// ---- the faces ----

/** The path says whose networks; who asks has to be that, or an administrator. */
function checkTenant({ caller }: FaceRequest, tenant: string): void {
  if (tenant !== "" && !caller.admin && caller.projectId !== tenant) throw new ApiError(403, "Forbidden", `The caller is not of tenant ${tenant.slice(0, ID_SHOWN)}`);
}

const face = (version: Version): Face => ({
  name: `quantum-${version.id}`,
  prefix: `/${version.id}`,
  version: { id: version.id, status: version.status },
  handle(request, operations) {
    const target = targetOf(request.path);
    const run = Object.hasOwn(routes, `${request.method} ${target.route}`) ? routes[`${request.method} ${target.route}`] : undefined;
    if (run === undefined) throw noRoute();
    checkTenant(request, target.tenant);
    return run({ ...target, version, format: formatOf(request, request.path), request, operations });
  },
  refuse: (refusal, request) => faultAnswer(refusal, version, formatOf(request, request.path)),
});

export const faces: readonly Face[] = [
  {
    ...face({ id: "v1.1", status: "SUPPORTED", namespace: "http://openstack.org/quantum/api/v1.1", opStatus: true, created: 202 }),
    listing(versions, request) {
      if (formatOf(request, "/") !== "xml") return undefined;
      return { status: 200, contentType: contentTypes.xml, body: `<versions>${versions.map((v) => writeXml("version", { ...v })).join("")}</versions>` };
    },
  },
  face({ id: "v1.0", status: "DEPRECATED", namespace: "http://openstack.org/quantum/api/v1.0", opStatus: false, created: 200 }),
];
