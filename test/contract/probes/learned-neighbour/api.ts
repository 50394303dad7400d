// A listener is set on a network that is there, and goes with it.
import { defineResource, extendResource, reference, type Alias } from "#app";
import { networkResource, networkTable } from "../../../../apps/l2/model.ts";
import { listenerResource, listenerTable, type Listener } from "./model.ts";

const listener = defineResource(listenerResource, {
  collection: "listeners",
  about: "A network whose neighbours the switches learn.",
  alias: "listener",
  table: listenerTable,
  notFound: { type: "ListenerNotFound", message: (id) => `Listener ${id} could not be found.` },
  attributes: { network_id: { type: "uuid", about: "The network.", post: true, required: true } },
  policy: { create: "rule:admin_only", get: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const row: Listener = { ...standard, network_id: ctx.visible(networkResource, input.network_id as string).id };
    tx.put(listenerTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(listenerTable, row.id);
  },
});

const networkGuard = extendResource(networkResource, {
  remove(tx, network): void {
    for (const { id } of tx.by(listenerTable, "network", network.id)) tx.delete(listenerTable, id);
  },
});

export const resources = [listener];
export const extend = [networkGuard];
export const references = [reference(listenerTable, { to: networkTable, ids: (l) => l.network_id, gone: (tx, l) => tx.delete(listenerTable, l.id) })];
export const aliases: readonly Alias[] = [{ alias: "listener", name: "Listener", description: "Neighbours that switches learn", updated: "2026-01-01T00:00:00-00:00" }];
