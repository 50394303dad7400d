// Receivers of beacons.
import { conflict, defineResource, type Alias } from "#app";
import { beaconResource, beaconTable, MOST_BEACONS, toldTable, type Beacon } from "./model.ts";

const beacon = defineResource(beaconResource, {
  collection: "beacons",
  about: "A receiver that is told when a port becomes attached.",
  alias: "beacon",
  table: beaconTable,
  notFound: { type: "BeaconNotFound", message: (id) => `Beacon ${id} could not be found.` },
  attributes: { url: { type: "string", about: "Gets a POST for each attached port.", post: true, required: true, check: { type: "string", pattern: "https?://[^\\s]+", is: "an http or https URL" } } },
  policy: { create: "rule:admin_only", get: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input) {
    if ([...tx.all(beaconTable)].length >= MOST_BEACONS) throw conflict("OverQuota", `There are ${MOST_BEACONS} beacons already.`);
    const row: Beacon = { ...standard, url: input.url as string };
    tx.put(beaconTable, row);
    return row;
  },
  remove(tx, row): void {
    for (const { id } of tx.by(toldTable, "beacon", row.id)) tx.delete(toldTable, id);
    tx.delete(beaconTable, row.id);
  },
});

export const resources = [beacon];
export const aliases: readonly Alias[] = [{ alias: "beacon", name: "Beacon", description: "Receivers that are told of attached ports", updated: "2026-01-01T00:00:00-00:00" }];
