// A resolver is a port of the network that nobody plugs.
import { defineResource, extendResource, reference, type Alias } from "#app";
import { networkResource, portResource, portTable } from "../../../../apps/l2/model.ts";
import { resolverResource, resolverTable, spokenTable, type Resolver } from "./model.ts";

const resolver = defineResource(resolverResource, {
  collection: "resolvers",
  about: "An address that answers questions.",
  alias: "resolver",
  table: resolverTable,
  notFound: { type: "ResolverNotFound", message: (id) => `Resolver ${id} could not be found.` },
  attributes: { network_id: { type: "uuid", about: "Where it is.", post: true, required: true }, port_id: { type: "uuid", about: "Its port." } },
  policy: { create: "rule:admin_only", get: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const network = ctx.visible(networkResource, input.network_id as string);
    const port = ctx.create(portResource, { network_id: network.id, project_id: standard.project_id, device_owner: "network:resolver", device_id: standard.id });
    const row: Resolver = { ...standard, network_id: network.id, port_id: port.id };
    tx.put(resolverTable, row);
    return row;
  },
  remove(tx, row, ctx) {
    tx.delete(resolverTable, row.id);
    if (tx.get(portTable, row.port_id) !== undefined) ctx.remove(portResource, row.port_id);
  },
});

const ofPort = extendResource(portResource, {
  attributes: { spoken_at: { type: "string", about: "When it first asked a resolver.", alias: "resolver" } },
  remove(tx, port): void {
    tx.delete(spokenTable, port.id);
    for (const { id } of tx.by(resolverTable, "port", port.id)) tx.delete(resolverTable, id);
  },
  present: (view, port) => ({ spoken_at: view.get(spokenTable, port.id)?.at ?? null }),
});

export const resources = [resolver];
export const extend = [ofPort];
export const references = [
  reference(resolverTable, { to: portTable, ids: (r) => r.port_id, gone: (tx, r) => tx.delete(resolverTable, r.id) }),
  reference(spokenTable, { to: portTable, ids: (s) => s.id, gone: (tx, s) => tx.delete(spokenTable, s.id) }),
];
export const aliases: readonly Alias[] = [{ alias: "resolver", name: "Resolver", description: "Addresses that answer questions", updated: "2026-01-01T00:00:00-00:00" }];
