// What the app adds to the API, as data. Routes, validation, filters, policy, paging and OpenAPI derive from it.
import { uuid, type Alias, type ApiContext, type Extension, type Resource, type StandardRow, type Tx, type Values } from "#app";
import { portTable, type Port } from "../l2/model.ts";
import { beaconTable, type Beacon } from "./model.ts";

const BEACON_OWNER = "network:beacon";

const beacon: Resource<Beacon> = {
  name: "beacon",
  collection: "beacons",
  about: "An address in a network that answers pings.",
  alias: "beacon",
  table: beaconTable,
  notFound: { type: "BeaconNotFound", message: (id) => `Beacon ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "Where it is.", post: true, required: true, check: uuid, filter: true },
    port_id: { type: "uuid", about: "Its port: addresses and MAC are there.", filter: true },
  },
  policy: { create: "admin / member@project", get: "admin / reader@project", update: "admin / member@project", delete: "admin / member@project" },
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): Beacon {
    ctx.visible("network", input.network_id as string);
    const port = ctx.create<Port>("port", { network_id: input.network_id, project_id: standard.project_id, device_owner: BEACON_OWNER, device_id: standard.id });
    const row: Beacon = { ...standard, port_id: port.id };
    tx.put(beaconTable, row);
    return row;
  },
  update(tx, row): Beacon {
    tx.put(beaconTable, row);
    return row;
  },
  remove(tx, row, ctx): void {
    tx.delete(beaconTable, row.id);
    ctx.remove("port", row.port_id);
  },
  present: (view, row) => ({ network_id: view.get(portTable, row.port_id)?.network_id ?? null }),
};

export const resources = [beacon] as unknown as readonly Resource<never>[];
/** Attributes added to other apps' resources, and refusals of changes to them, would go here. */
export const extend: Readonly<Record<string, Extension<never>>> = {};
export const aliases: readonly Alias[] = [{ alias: "beacon", name: "Beacon", description: "Addresses that answer pings", updated: "2026-01-01T00:00:00-00:00" }];
