// trunks' entities: a port whose interface carries frames of other ports too, and those ports, told apart by VLAN tags.
import { claim, defineTable, numberOf, resourceHandle, zonePool, type Claim, type ReadView, type Row, type StandardRow } from "#app";
import { bindingFault, networkTable, pluggedAt, portStatusTable, portTable } from "../l2/model.ts";

export interface Trunk extends StandardRow {
  /** The parent: it has one trunk. */
  readonly port_id: string;
  /** False: nothing of it may be changed. Packets are not concerned. */
  readonly admin_state_up: boolean;
}
export const trunkResource = resourceHandle<Trunk>("trunk");
export const trunkTable = defineTable<Trunk>()("trunk", { resource: "trunk", indexes: { port: (t) => t.port_id, project: (t) => t.project_id } });

/** A port that is in a trunk. `id` is its own: a port is in one trunk. */
export interface SubPort extends Row {
  readonly trunk_id: string;
  /** The trunk's, which stays the same. */
  readonly parent_id: string;
  /** Tag, as it was asked for or as the network of the port has it, of its frames on the parent's interface: 1..4094, unique in its trunk. */
  readonly segmentation_id: number;
}
export const subPortTable = defineTable<SubPort>()("sub_port", {
  indexes: { trunk: (s) => s.trunk_id, parent: (s) => s.parent_id, tag: (s) => `${s.trunk_id}/${s.segmentation_id}` },
});

/** Parents of trunks (derived): `id` is the port's. */
export interface TrunkParent extends Row {
  readonly trunk_id: string;
}
export const trunkParentTable = defineTable<TrunkParent>()("trunk_parent", { derived: true });

/** In the order of their tags. */
export const subPortsOf = (view: ReadView, trunkId: string): readonly Readonly<SubPort>[] => view.by(subPortTable, "trunk", trunkId).toSorted((a, b) => a.segmentation_id - b.segmentation_id);

/** What device_owner is of ports in trunks; their device is the trunk. */
export const SUB_PORT_OWNER = "trunk:subport";

export type TrunkStatus = "DOWN" | "BUILD" | "ACTIVE" | "DEGRADED";
/**
 * DOWN: its parent is at no host. BUILD: flows of the parent or of a sub-port are not confirmed yet. DEGRADED: the network of a sub-port is not at the
 * parent's host. ACTIVE: all that is not closed by its owner works.
 */
export function trunkStatus(view: ReadView, trunk: Pick<Trunk, "id" | "port_id">): TrunkStatus {
  const parent = view.get(portStatusTable, trunk.port_id)?.status ?? "DOWN";
  if (parent === "DOWN") return "DOWN";
  const at = pluggedAt(view, trunk.port_id)?.chassis;
  let [building, degraded] = [parent !== "ACTIVE", false];
  for (const { id } of view.by(subPortTable, "trunk", trunk.id)) {
    const port = view.get(portTable, id);
    if (port?.admin_state_up !== true || view.get(networkTable, port.network_id)?.admin_state_up !== true) continue;
    if (view.get(portStatusTable, id)?.status === "ACTIVE") continue;
    if (at !== undefined && bindingFault(view, port.network_id, at) !== undefined) degraded = true;
    else building = true;
  }
  return building ? "BUILD" : degraded ? "DEGRADED" : "ACTIVE";
}

const holder = (portId: string): string => `port/${portId}`;
/** A sub-port has its own zone of connections at each chassis where it is. */
export const zoneClaim = ({ id }: SubPort, chassis: string): Claim => claim(`trunks/${id}`, zonePool, chassis, holder(id));
export const zoneOf = (view: ReadView, { id }: SubPort, chassis: string): number | undefined => numberOf(view, zonePool, chassis, holder(id));
