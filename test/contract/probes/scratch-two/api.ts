// A badge is set on a port that is there, once, and goes with it.
import { conflict, defineResource, extendResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { badgeTwoResource, badgeTwoTable, type BadgeTwo } from "./model.ts";

const badge = defineResource(badgeTwoResource, {
  collection: "badge_twos",
  about: "A port whose packets are looked at.",
  alias: "badge-two",
  table: badgeTwoTable,
  notFound: { type: "BadgeTwoNotFound", message: (id) => `Badge ${id} could not be found.` },
  attributes: { port_id: { type: "uuid", about: "The port.", post: true, required: true } },
  policy: { create: "rule:admin_only", get: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const port = ctx.visible(portResource, input.port_id as string);
    if (tx.by(badgeTwoTable, "port", port.id).length > 0) throw conflict("BadgeTwoInUse", `Port ${port.id} has a badge.`);
    const row: BadgeTwo = { ...standard, port_id: port.id };
    tx.put(badgeTwoTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(badgeTwoTable, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of tx.by(badgeTwoTable, "port", port.id)) tx.delete(badgeTwoTable, id);
  },
});

export const resources = [badge];
export const extend = [portGuard];
export const references = [reference(badgeTwoTable, { to: portTable, ids: (b) => b.port_id, gone: (tx, b) => tx.delete(badgeTwoTable, b.id) })];
export const aliases: readonly Alias[] = [{ alias: "badge-two", name: "Badge two", description: "Ports whose packets are looked at", updated: "2026-01-01T00:00:00-00:00" }];
