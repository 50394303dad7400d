// auto_allocated_topology: what a project asks for first makes a network with subnets of the default subnet pools, behind a router with a
// gateway on the default external network; all of it or nothing. Of one whose network was deleted the router is used again.
import { conflict, defineResource, EVERYBODY, extendResource, invalidFor, invalidInput, notFound as absent, reference, type Alias, type ApiContext, type Caller, type CollectionAction, type PathValues, type ReadView, type Sight, type Tx } from "#app";
import { externalNetworkTable, leadsOutside, routerGatewayTable } from "../gateway/model.ts";
import { subnetResource } from "../ipam/model.ts";
import { networkResource, networkTable } from "../l2/model.ts";
import { routerInterfaceTable, routerResource, routerTable } from "../l3/model.ts";
import { subnetPoolResource, subnetPoolTable, type SubnetPool } from "../subnet-pools/model.ts";
import { autoAllocatedTopologyResource, autoAllocatedTopologyTable, defaultNetworkTable, type AutoAllocatedTopology } from "./model.ts";

const ADMIN = { create: "rule:admin_only", update: "rule:admin_only" } as const;
const DRY_RUN = "dry-run";
const PROJECT_MAX = 255;

// ---- the default external network ----

const defaultNetwork = (view: ReadView): string | undefined => view.by(defaultNetworkTable, "all", "")[0]?.id;
const isExternal = (view: ReadView, id: string): boolean => view.get(externalNetworkTable, id) !== undefined;

function setDefault(tx: Tx, id: string, given: boolean | undefined): void {
  const now = defaultNetwork(tx);
  if (given === true) {
    if (!isExternal(tx, id)) throw invalidInput("is_default can only be set of a network with router:external");
    if (now !== undefined && now !== id) throw conflict("DefaultExternalNetworkExists", `A default external network already exists: ${now}.`);
    tx.put(defaultNetworkTable, { id });
  } else if (now === id && (given === false || !isExternal(tx, id))) tx.delete(defaultNetworkTable, id);
}

const ofNetwork = extendResource(networkResource, {
  attributes: {
    is_default: { type: "boolean", about: "Of external networks: the one that automatic topologies lead to.", post: true, put: true, default: false, filter: true, policy: ADMIN, alias: "auto-allocated-topology" },
  },
  accesses: {
    access_as_external: {
      // Any project's topology may lead there.
      usedBy: (view, row) => (defaultNetwork(view) === row.id ? [EVERYBODY] : []),
    },
  },
  completed(tx, done) {
    for (const { row, given } of done) setDefault(tx, row.id, given.is_default as boolean | undefined);
  },
  remove(tx, row) {
    tx.delete(defaultNetworkTable, row.id);
    for (const topology of tx.by(autoAllocatedTopologyTable, "network", row.id)) keep(tx, { ...topology, network_id: null });
  },
  present: (view, row): Record<string, unknown> => (isExternal(view, row.id) ? { is_default: view.get(defaultNetworkTable, row.id) !== undefined } : {}),
});

// ---- topologies ----

const failure = (reason: string): Error => conflict("AutoAllocationFailure", `Deployment error: ${reason}.`);
const noOutside = (): Error => failure("No default router:external network");

/** What a project's topology needs; what is not for the project, whoever asks, is as if it were not there. @throws ApiError */
function ground(view: ReadView, project: string, sight: Sight): { readonly outside: string; readonly pools: readonly SubnetPool[] } {
  const outside = view.get(networkTable, defaultNetwork(view) ?? "");
  if (outside === undefined || !leadsOutside(view, outside, sight, project)) throw noOutside();
  const pools = ["4", "6"].flatMap((version) => view.by(subnetPoolTable, "default", version)).filter(({ id }) => sight.seen(subnetPoolResource, id, project) !== undefined);
  if (pools.length === 0) throw failure("No default subnetpools defined");
  return { outside: outside.id, pools };
}

/** A topology of which something is left. */
function keep(tx: Tx, topology: AutoAllocatedTopology): void {
  if (topology.network_id === null && topology.router_id === null) tx.delete(autoAllocatedTopologyTable, topology.id);
  else tx.put(autoAllocatedTopologyTable, topology);
}

const ofRouter = extendResource(routerResource, {
  remove(tx, row) {
    for (const topology of tx.by(autoAllocatedTopologyTable, "router", row.id)) keep(tx, { ...topology, router_id: null });
  },
});

/** The network, and what is missing of the way out of it. */
function make(tx: Tx, project_id: string, ctx: ApiContext): void {
  const { outside, pools } = ground(tx, project_id, ctx);
  const external_gateway_info = { network_id: outside };
  const network = ctx.create(networkResource, { project_id, name: "auto_allocated_network" });
  const left = tx.get(autoAllocatedTopologyTable, project_id)?.router_id ?? null;
  const router_id = left ?? ctx.create(routerResource, { project_id, name: "auto_allocated_router", external_gateway_info }).id;
  if (tx.count(routerGatewayTable, "router", router_id) === 0) ctx.update(routerResource, router_id, { external_gateway_info });
  for (const { id, ip_version, default_prefixlen } of pools) {
    const slaac = ip_version === 6 && default_prefixlen === 64 ? ({ ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" } as const) : {};
    const subnet = ctx.create(subnetResource, { project_id, name: `auto_allocated_subnet_v${ip_version}`, network_id: network.id, ip_version, subnetpool_id: id, ...slaac });
    ctx.act(routerResource, router_id, "add_router_interface", { subnet_id: subnet.id });
  }
  tx.put(autoAllocatedTopologyTable, { id: project_id, project_id, network_id: network.id, router_id });
}

/** Nothing is left of it, or nothing is changed: ports of the project on the network keep it. */
function unmake(tx: Tx, { id, network_id, router_id }: AutoAllocatedTopology, ctx: ApiContext): void {
  if (router_id !== null) {
    for (const { id: port_id } of tx.by(routerInterfaceTable, "router", router_id).filter((i) => i.network_id === network_id)) ctx.act(routerResource, router_id, "remove_router_interface", { port_id });
    ctx.remove(routerResource, router_id);
  }
  if (network_id !== null) ctx.remove(networkResource, network_id);
  tx.delete(autoAllocatedTopologyTable, id);
}

/** Whose topology it is that a path names; without a name the caller's own. */
function projectOf({ project_id }: PathValues, { projectId }: Caller): string {
  const project = project_id ?? projectId;
  if (project === "" || project.length > PROJECT_MAX) throw invalidFor("project_id", `'${project.slice(0, PROJECT_MAX)}' is no project`);
  return project;
}

const networkOf = (view: ReadView, project: string): string | null => view.get(autoAllocatedTopologyTable, project)?.network_id ?? null;
const notFound = { type: "AutoAllocatedTopologyNotFound", message: (id: string) => `Project ${id} has no automatic topology.` };

const get = (path: string): CollectionAction => ({
  about: "Shows the project's, which is made if it is not there; with `fields=dry-run` only whether it could be.",
  method: "GET",
  path,
  policy: { of: "get" },
  rule: "get_auto_allocated_topology",
  answers: { auto_allocated_topology: { dict: Object.fromEntries(["id", "tenant_id", "project_id"].map((key) => [key, { check: { type: "string" }, required: true }])) } },
  prepare: {
    needed: (view, caller, named, fields) => fields?.has(DRY_RUN) !== true && networkOf(view, projectOf(named, caller)) === null,
    run: (tx, ctx, named) => make(tx, projectOf(named, ctx.caller), ctx),
  },
  read(view, caller, named, fields, sight) {
    const project = projectOf(named, caller);
    const dry = fields?.has(DRY_RUN) === true;
    if (dry) ground(view, project, sight);
    const id = dry ? `${DRY_RUN}=pass` : networkOf(view, project);
    if (id === null) throw absent(notFound.type, notFound.message(project));
    return { auto_allocated_topology: { id, tenant_id: project, project_id: project } };
  },
});

const remove = (path: string): CollectionAction => ({
  about: "Takes all of it away, if there is one.",
  method: "DELETE",
  path,
  status: 204,
  policy: { of: "delete" },
  rule: "delete_auto_allocated_topology",
  run(tx, _body, ctx, named) {
    const its = tx.get(autoAllocatedTopologyTable, projectOf(named, ctx.caller));
    if (its !== undefined) unmake(tx, its, ctx);
  },
});

/** The caller's own project. */
const OWN = "None";
const ANY = "{project_id}";

const topology = defineResource(autoAllocatedTopologyResource, {
  collection: "auto_allocated_topologies",
  path: "auto-allocated-topology",
  about: "The network of a project that it did not have to make.",
  alias: "auto-allocated-topology",
  table: autoAllocatedTopologyTable,
  standard: [],
  notFound,
  attributes: {
    id: { type: "uuid|null", about: "The network; in lists null where somebody deleted it." },
    tenant_id: { type: "string", about: "Whose it is." },
    project_id: { type: "string", about: "The same." },
  },
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  remove: unmake,
  collectionActions: { get_own: get(OWN), get: get(ANY), delete_own: remove(OWN), delete: remove(ANY) },
});

export const resources = [topology];
/** Kept by the project, it is shown by what it is for. */
const shown = extendResource(autoAllocatedTopologyResource, { instead: { id: (_view, { network_id }) => network_id } });

export const extend = [ofNetwork, ofRouter, shown];
export const references = [
  reference(autoAllocatedTopologyTable, { to: networkTable, ids: (t) => t.network_id ?? undefined, gone: (tx, t) => keep(tx, { ...t, network_id: null }) }),
  reference(autoAllocatedTopologyTable, { to: routerTable, ids: (t) => t.router_id ?? undefined, gone: (tx, t) => keep(tx, { ...t, router_id: null }) }),
  reference(defaultNetworkTable, { to: networkTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(defaultNetworkTable, n.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "auto-allocated-topology", name: "Auto Allocated Topology Services", description: "Projects get a network that leads outside without making its parts.", updated: "2016-01-01T00:00:00-00:00" },
];
