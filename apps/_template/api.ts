// What the app adds to the API, as data. Routes, validation, filters, policy, paging, JSON Schema and documentation derive from it.
import { defineResource, reference, type Alias, type BoundExtension, type Converter } from "#app";
import { networkResource, portResource, portTable } from "../l2/model.ts";
import { beaconResource, beaconTable, type Beacon } from "./model.ts";

const BEACON_OWNER = "network:beacon";

const beacon = defineResource(beaconResource, {
  collection: "beacons",
  about: "An address in a network that answers pings.",
  alias: "beacon",
  table: beaconTable,
  notFound: { type: "BeaconNotFound", message: (id) => `Beacon ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "Where it is.", post: true, required: true, filter: true },
    port_id: { type: "uuid", about: "Its port: addresses and MAC are there.", filter: true },
  },
  policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: "rule:admin_only or (role:member and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  create(tx, standard, input, ctx) {
    const network = ctx.visible(networkResource, input.network_id as string);
    const port = ctx.create(portResource, { network_id: network.id, project_id: standard.project_id, device_owner: BEACON_OWNER, device_id: standard.id });
    const row: Beacon = { port_id: port.id, ...standard };
    tx.put(beaconTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(beaconTable, row);
    return row;
  },
  remove(tx, row, ctx) {
    tx.delete(beaconTable, row.id);
    if (tx.get(portTable, row.port_id) !== undefined) ctx.remove(portResource, row.port_id); // its owner may have deleted it
  },
  present: (view, row) => ({ network_id: view.get(portTable, row.port_id)?.network_id ?? null }),
});

export const resources = [beacon];
/** What its rows stand on: a port that was deleted while this app was not there takes its beacon along at the next start. */
export const references = [reference(beaconTable, { to: portTable, ids: (b) => b.port_id, gone: (tx, b) => tx.delete(beaconTable, b.id) })];
/** Attributes added to other apps' resources, and refusals of changes to them, would go here: `extendResource(portResource, {...})`. */
export const extend: readonly BoundExtension[] = [];
/** What a check as data cannot say would go here, by name: `check: { convert: "beacon-colour" }`. */
export const converters: Readonly<Record<string, Converter>> = {};
export const aliases: readonly Alias[] = [{ alias: "beacon", name: "Beacon", description: "Addresses that answer pings", updated: "2026-01-01T00:00:00-00:00" }];
