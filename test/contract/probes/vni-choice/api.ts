// A caller chooses the VNI of a network: it is taken with the row, so that one which another network holds is refused.
import { defineResource, extendResource, reference, type Alias } from "#app";
import { networkResource, networkTable } from "../../../../apps/l2/model.ts";
import { takeVni } from "../../../../apps/overlay/model.ts";
import { vniChoiceResource, vniChoiceTable, type VniChoice } from "./model.ts";

const choice = defineResource(vniChoiceResource, {
  collection: "vni_choices",
  about: "The VNI of a network.",
  alias: "vni-choice",
  table: vniChoiceTable,
  notFound: { type: "VniChoiceNotFound", message: (id) => `VNI choice ${id} could not be found.` },
  attributes: {
    network_id: { type: "uuid", about: "The network.", post: true, required: true },
    vni: { type: "integer", about: "Its number in tunnels.", post: true, required: true, check: { range: [1, 0xff_ffff] } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const on = ctx.visible(networkResource, input.network_id as string);
    takeVni(tx, on.id, input.vni as number);
    const row: VniChoice = { ...standard, network_id: on.id, vni: input.vni as number };
    tx.put(vniChoiceTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(vniChoiceTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(vniChoiceTable, row.id);
  },
});

const ofNetwork = extendResource(networkResource, {
  remove(tx, network): void {
    for (const row of tx.all(vniChoiceTable)) if (row.network_id === network.id) tx.delete(vniChoiceTable, row.id);
  },
});

export const resources = [choice];
export const extend = [ofNetwork];
export const references = [reference(vniChoiceTable, { to: networkTable, ids: (r) => r.network_id, gone: (tx, r) => tx.delete(vniChoiceTable, r.id) })];
export const aliases: readonly Alias[] = [{ alias: "vni-choice", name: "VNI choice", description: "VNIs by wish", updated: "2026-01-01T00:00:00-00:00" }];
