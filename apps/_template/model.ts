// Entities of the app, and the tables that hold them: the one file of an app that other apps may import.
// A beacon is an address in a network that answers pings, so that a tenant can test a network with no VM on the other end.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface Beacon extends StandardRow {
  /** The port that holds the beacon's MAC and addresses. */
  readonly port_id: string;
}
export const beaconTable = defineTable<Beacon>()("beacon", { resource: "beacon", indexes: { port: (b) => b.port_id } });
/** How other apps name the resource: `ctx.create(beaconResource, {...})`. */
export const beaconResource = resourceHandle<Beacon>("beacon");
