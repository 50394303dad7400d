// A floating address of the probe: an address of an outside network that leads to a port behind a router.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface Floating extends StandardRow {
  readonly router_id: string;
  /** Where the address is seen from. */
  readonly outside_id: string;
  readonly port_id: string;
  readonly address: string;
  readonly mac: string;
}
export const floatingTable = defineTable<Floating>()("floating", { resource: "floating", indexes: { address: (f) => `${f.outside_id}|${f.address}`, router: (f) => f.router_id, port: (f) => f.port_id } });
export const floatingResource = resourceHandle<Floating>("floating");
