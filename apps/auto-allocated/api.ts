// auto_allocated_topology: what a project asks for first makes a network with subnets of the default subnet pools, behind a router with a
// gateway on the default external network; all of it or nothing.
import { conflict, defineResource, extendResource, forbidden, invalidFor, invalidInput, reference, type Alias, type ApiContext, type ReadView, type Tx } from "#app";
import { externalNetworkTable } from "../gateway/model.ts";
import { subnetResource } from "../ipam/model.ts";
import { networkResource, networkTable } from "../l2/model.ts";
import { routerInterfaceTable, routerResource, routerTable } from "../l3/model.ts";
import { subnetPoolTable, type SubnetPool } from "../subnet-pools/model.ts";
import { autoAllocatedTopologyResource, autoAllocatedTopologyTable, defaultNetworkTable, type AutoAllocatedTopology } from "./model.ts";

const ADMIN = { create: "rule:admin_only", update: "rule:admin_only" } as const;
const DRY_RUN = "dry-run";
const PROJECT_MAX = 255;

// ---- the default external network ----

const defaultNetwork = (view: ReadView): string | undefined => view.by(defaultNetworkTable, "all", "")[0]?.id;
const isExternal = (view: ReadView, id: string): boolean => view.get(externalNetworkTable, id) !== undefined;

const ofNetwork = extendResource(networkResource, {
  attributes: {
    is_default: { type: "boolean", about: "Of external networks: the one that automatic topologies lead to.", post: true, put: true, default: false, filter: true, policy: ADMIN, alias: "auto-allocated-topology" },
  },
  completed(tx, row, given) {
    const now = defaultNetwork(tx);
    if (given.is_default === true) {
      if (!isExternal(tx, row.id)) throw invalidInput("is_default can only be set of a network with router:external");
      if (now !== undefined && now !== row.id) throw conflict("DefaultExternalNetworkExists", `A default external network already exists: ${now}.`);
      tx.put(defaultNetworkTable, { id: row.id });
    } else if (now === row.id && (given.is_default === false || !isExternal(tx, row.id))) tx.delete(defaultNetworkTable, row.id);
  },
  remove(tx, row) {
    tx.delete(defaultNetworkTable, row.id);
    for (const topology of tx.by(autoAllocatedTopologyTable, "network", row.id)) tx.delete(autoAllocatedTopologyTable, topology.id);
  },
  present: (view, row): Record<string, unknown> => (isExternal(view, row.id) ? { is_default: view.get(defaultNetworkTable, row.id) !== undefined } : {}),
});

// ---- topologies ----

const failure = (reason: string): Error => conflict("AutoAllocationFailure", `Deployment error: ${reason}.`);

/** What a topology needs. @throws ApiError */
function ground(view: ReadView): { readonly outside: string; readonly pools: readonly SubnetPool[] } {
  const outside = defaultNetwork(view);
  if (outside === undefined) throw failure("No default router:external network");
  const pools = ["4", "6"].flatMap((version) => view.by(subnetPoolTable, "default", version));
  if (pools.length === 0) throw failure("No default subnetpools defined");
  return { outside, pools };
}

function make(tx: Tx, project_id: string, ctx: ApiContext): AutoAllocatedTopology {
  const { outside, pools } = ground(tx);
  const network = ctx.create(networkResource, { project_id, name: "auto_allocated_network" });
  const router = ctx.create(routerResource, { project_id, name: "auto_allocated_router", external_gateway_info: { network_id: outside } });
  for (const { id, ip_version, default_prefixlen } of pools) {
    const slaac = ip_version === 6 && default_prefixlen === 64 ? ({ ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" } as const) : {};
    const subnet = ctx.create(subnetResource, { project_id, name: `auto_allocated_subnet_v${ip_version}`, network_id: network.id, ip_version, subnetpool_id: id, ...slaac });
    ctx.act(routerResource, router.id, "add_router_interface", { subnet_id: subnet.id });
  }
  const row: AutoAllocatedTopology = { id: project_id, project_id, network_id: network.id, router_id: router.id };
  tx.put(autoAllocatedTopologyTable, row);
  return row;
}

/** Nothing is left of it, or nothing is changed: ports of the project on the network keep it. */
function unmake(tx: Tx, { id, network_id, router_id }: AutoAllocatedTopology, ctx: ApiContext): void {
  for (const { id: port_id } of tx.by(routerInterfaceTable, "router", router_id).filter((i) => i.network_id === network_id)) ctx.act(routerResource, router_id, "remove_router_interface", { port_id });
  if (tx.get(routerTable, router_id) !== undefined) ctx.remove(routerResource, router_id);
  if (tx.get(networkTable, network_id) !== undefined) ctx.remove(networkResource, network_id);
  tx.delete(autoAllocatedTopologyTable, id);
}

/** Whose topology a path names: the caller's own, or for administrators anybody's. */
function projectOf(named: string, ctx: ApiContext, verb: "get" | "delete"): string {
  const { caller } = ctx;
  const project = named === "None" ? caller.projectId : named;
  if (project === "" || project.length > PROJECT_MAX) throw invalidFor("project_id", `'${project.slice(0, PROJECT_MAX)}' is no project`);
  if (project !== caller.projectId && !caller.admin) throw forbidden("PolicyNotAuthorized", `rule:${verb}_auto_allocated_topology is disallowed by policy`);
  return project;
}

const shown = (id: string, project: string): unknown => ({ auto_allocated_topology: { id, tenant_id: project, project_id: project } });

const topology = defineResource(autoAllocatedTopologyResource, {
  collection: "auto_allocated_topologies",
  path: "auto-allocated-topology",
  about: "The network of a project that it did not have to make.",
  alias: "auto-allocated-topology",
  table: autoAllocatedTopologyTable,
  standard: [],
  notFound: { type: "AutoAllocatedTopologyNotFound", message: (id) => `Project ${id} has no automatic topology.` },
  attributes: {
    id: { type: "uuid", about: "The network." },
    tenant_id: { type: "string", about: "Whose it is." },
    project_id: { type: "string", about: "The same." },
  },
  policy: { get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  remove: unmake,
  collectionActions: {
    get: {
      about: "Shows the project's, which is made if it is not there; with `fields=dry-run` only whether it could be.",
      method: "GET",
      path: "{project}",
      policy: { of: "get" },
      run(tx, _body, ctx, { project: named }) {
        const project = projectOf(named!, ctx, "get");
        if (ctx.fields?.has(DRY_RUN) === true) {
          ground(tx);
          return shown(`${DRY_RUN}=pass`, project);
        }
        return shown((tx.get(autoAllocatedTopologyTable, project) ?? make(tx, project, ctx)).network_id, project);
      },
    },
    delete: {
      about: "Takes all of it away, if there is one.",
      method: "DELETE",
      path: "{project}",
      status: 204,
      policy: { of: "delete" },
      run(tx, _body, ctx, { project: named }) {
        const its = tx.get(autoAllocatedTopologyTable, projectOf(named!, ctx, "delete"));
        if (its !== undefined) unmake(tx, its, ctx);
      },
    },
  },
});

export const resources = [topology];
export const extend = [ofNetwork];
export const references = [
  reference(autoAllocatedTopologyTable, { to: networkTable, ids: (t) => t.network_id, gone: (tx, t) => tx.delete(autoAllocatedTopologyTable, t.id) }),
  reference(defaultNetworkTable, { to: networkTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(defaultNetworkTable, n.id) }),
];
export const aliases: readonly Alias[] = [
  { alias: "auto-allocated-topology", name: "Auto Allocated Topology Services", description: "Projects get a network that leads outside without making its parts.", updated: "2016-01-01T00:00:00-00:00" },
];
