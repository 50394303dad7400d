// Networks in which the switches listen to answers of ARP.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface Listener extends StandardRow {
  readonly network_id: string;
}
export const listenerResource = resourceHandle<Listener>("listener");
export const listenerTable = defineTable<Listener>()("listener", { resource: "listener", indexes: { network: (l) => l.network_id } });
