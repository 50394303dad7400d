// A listener is set on a network that is there, and goes with it.
import { uuid, type Alias, type ApiContext, type Extension, type Resource, type StandardRow, type Tx, type Values } from "#app";
import type { Network } from "../../../../apps/l2/model.ts";
import { listenerTable, type Listener } from "./model.ts";

const listener: Resource<Listener> = {
  name: "listener",
  collection: "listeners",
  about: "A network whose neighbours the switches learn.",
  alias: "listener",
  table: listenerTable,
  notFound: { type: "ListenerNotFound", message: (id) => `Listener ${id} could not be found.` },
  attributes: { network_id: { type: "uuid", about: "The network.", post: true, required: true, check: uuid } },
  policy: { create: "admin", get: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): Listener {
    const row: Listener = { ...standard, network_id: ctx.visible<Network>("network", input.network_id as string).id };
    tx.put(listenerTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(listenerTable, row.id);
  },
};

const networkGuard: Extension<Network> = {
  remove(tx, network): void {
    for (const { id } of tx.by(listenerTable, "network", network.id)) tx.delete(listenerTable, id);
  },
};

export const resources = [listener] as unknown as readonly Resource<never>[];
export const extend: Readonly<Record<string, Extension<never>>> = { network: networkGuard };
export const aliases: readonly Alias[] = [{ alias: "listener", name: "Listener", description: "Neighbours that switches learn", updated: "2026-01-01T00:00:00-00:00" }];
