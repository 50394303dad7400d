// A badge is set on a port that is there, once, and goes with it.
import { conflict, defineResource, extendResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { badgeOneResource, badgeOneTable, type BadgeOne } from "./model.ts";

const badge = defineResource(badgeOneResource, {
  collection: "badge_ones",
  about: "A port whose packets are looked at.",
  alias: "badge-one",
  table: badgeOneTable,
  notFound: { type: "BadgeOneNotFound", message: (id) => `Badge ${id} could not be found.` },
  attributes: { port_id: { type: "uuid", about: "The port.", post: true, required: true } },
  policy: { create: "rule:admin_only", get: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const port = ctx.visible(portResource, input.port_id as string);
    if (tx.by(badgeOneTable, "port", port.id).length > 0) throw conflict("BadgeOneInUse", `Port ${port.id} has a badge.`);
    const row: BadgeOne = { ...standard, port_id: port.id };
    tx.put(badgeOneTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(badgeOneTable, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of tx.by(badgeOneTable, "port", port.id)) tx.delete(badgeOneTable, id);
  },
});

export const resources = [badge];
export const extend = [portGuard];
export const references = [reference(badgeOneTable, { to: portTable, ids: (b) => b.port_id, gone: (tx, b) => tx.delete(badgeOneTable, b.id) })];
export const aliases: readonly Alias[] = [{ alias: "badge-one", name: "Badge one", description: "Ports whose packets are looked at", updated: "2026-01-01T00:00:00-00:00" }];
