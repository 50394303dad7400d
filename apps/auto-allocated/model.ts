// Topologies that projects get without asking for their parts, and the external network that these lead to.
import { defineTable, resourceHandle, type Row } from "#app";

/** `id` is the project's. What somebody deleted of it is null; it is there as long as any of it is, so that a project has one router of this kind. */
export interface AutoAllocatedTopology extends Row {
  readonly project_id: string;
  readonly network_id: string | null;
  readonly router_id: string | null;
}
export const autoAllocatedTopologyResource = resourceHandle<AutoAllocatedTopology>("auto_allocated_topology");
export const autoAllocatedTopologyTable = defineTable<AutoAllocatedTopology>()("auto_allocated_topology", {
  resource: "auto_allocated_topology", indexes: { project: (t) => t.project_id, network: (t) => t.network_id ?? undefined, router: (t) => t.router_id ?? undefined },
});

/** The default external network: one row at most. `id` is the network's. */
export type DefaultNetwork = Row;
export const defaultNetworkTable = defineTable<DefaultNetwork>()("default_external_network", { indexes: { all: () => "" } });
