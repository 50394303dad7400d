// A standby place is named by port and host.
import { conflict, defineResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { standbyResource, standbyTable, type Standby } from "./model.ts";

const standby = defineResource(standbyResource, {
  collection: "standbies",
  about: "Where a port is about to be.",
  alias: "standby",
  table: standbyTable,
  notFound: { type: "StandbyNotFound", message: (id) => `Standby ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The port.", post: true, required: true },
    host: { type: "string", about: "The host.", post: true, required: true },
    speaks: { type: "boolean", about: "Whether what it sends passes.", post: true, put: true, default: false, check: { type: "boolean" } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const row: Standby = { ...standard, port_id: ctx.visible(portResource, input.port_id as string).id, host: input.host as string, speaks: input.speaks as boolean };
    if (tx.by(standbyTable, "place", `${row.port_id}@${row.host}`).length > 0) throw conflict("StandbyInUse", `Port ${row.port_id} has a standby at ${row.host}.`);
    tx.put(standbyTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, speaks: (changes.speaks as boolean | undefined) ?? row.speaks };
    tx.put(standbyTable, after);
    return after;
  },
  remove: (tx, row) => tx.delete(standbyTable, row.id),
});

export const resources = [standby];
export const references = [reference(standbyTable, { to: portTable, ids: (s) => s.port_id, gone: (tx, s) => tx.delete(standbyTable, s.id) })];
export const aliases: readonly Alias[] = [{ alias: "standby", name: "Standby", description: "Second places of ports", updated: "2026-01-01T00:00:00-00:00" }];
