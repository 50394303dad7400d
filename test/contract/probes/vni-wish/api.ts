// A caller wishes the VNI of a network, and nothing is checked: whether the network gets it is the overlay's matter.
import { defineResource, extendResource, reference, type Alias } from "#app";
import { networkResource, networkTable } from "../../../../apps/l2/model.ts";
import { vniWishResource, vniWishTable, type VniWish } from "./model.ts";

const wish = defineResource(vniWishResource, {
  collection: "vni_wishs",
  about: "The VNI of a network.",
  alias: "vni-wish",
  table: vniWishTable,
  notFound: { type: "VniWishNotFound", message: (id) => `VNI wish ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "The network.", post: true, required: true },
    vni: { type: "integer", about: "Its number in tunnels.", post: true, required: true, check: { range: [1, 0xff_ffff] } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const on = ctx.visible(networkResource, input.network_id as string);
    const row: VniWish = { ...standard, network_id: on.id, vni: input.vni as number };
    tx.put(vniWishTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(vniWishTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(vniWishTable, row.id);
  },
});

const ofNetwork = extendResource(networkResource, {
  remove(tx, network): void {
    for (const row of tx.all(vniWishTable)) if (row.network_id === network.id) tx.delete(vniWishTable, row.id);
  },
});

export const resources = [wish];
export const extend = [ofNetwork];
export const references = [reference(vniWishTable, { to: networkTable, ids: (r) => r.network_id, gone: (tx, r) => tx.delete(vniWishTable, r.id) })];
export const aliases: readonly Alias[] = [{ alias: "vni-wish", name: "VNI wish", description: "VNIs by wish", updated: "2026-01-01T00:00:00-00:00" }];
