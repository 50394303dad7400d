// Ports behind the interface of another port, told apart by a VLAN tag.
import { claim, defineTable, numberOf, resourceHandle, zonePool, type Claim, type ReadView, type StandardRow } from "#app";

export interface SubPort extends StandardRow {
  readonly port_id: string;
  readonly parent_id: string;
  readonly vlan: number;
}
export const subPortResource = resourceHandle<SubPort>("sub_port");
export const subPortTable = defineTable<SubPort>()("tagged_port", { resource: "sub_port", indexes: { port: (s) => s.port_id, parent: (s) => s.parent_id } });

const holder = (portId: string): string => `port/${portId}`;
/** Its own zone of connections, at each chassis where it is. */
export const zoneClaim = (s: SubPort, chassis: string): Claim => claim(`subport/${s.id}`, zonePool, chassis, holder(s.port_id));
export const zoneOf = (view: ReadView, s: SubPort, chassis: string): number | undefined => numberOf(view, zonePool, chassis, holder(s.port_id));
