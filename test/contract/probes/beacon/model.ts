// Where to tell of attached ports, and what was told.
import { defineTable, resourceHandle, type Row, type StandardRow } from "#app";

export interface Beacon extends StandardRow {
  /** http: or https:. */
  readonly url: string;
}
export const beaconResource = resourceHandle<Beacon>("beacon");
export const beaconTable = defineTable<Beacon>()("beacon", { resource: "beacon" });
export const MOST_BEACONS = 8;

/** The receiver took it. `id` is `<beacon>/<attachment>`; a port that is then attached elsewhere is told of anew. */
export interface Told extends Row {
  readonly beacon_id: string;
  readonly attachment_id: string;
  readonly chassis: string;
}
export const toldTable = defineTable<Told>()("beacon_told", { indexes: { beacon: (t) => t.beacon_id, attachment: (t) => t.attachment_id } });
