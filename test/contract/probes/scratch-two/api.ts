// A badge is set on a port that is there, once, and goes with it.
import { conflict, uuid, type Alias, type ApiContext, type Extension, type Resource, type StandardRow, type Tx, type Values } from "#app";
import type { Port } from "../../../../apps/l2/model.ts";
import { badgeTwoTable, type BadgeTwo } from "./model.ts";

const badge: Resource<BadgeTwo> = {
  name: "badge_two",
  collection: "badge_twos",
  about: "A port whose packets are looked at.",
  alias: "badge-two",
  table: badgeTwoTable,
  notFound: { type: "BadgeTwoNotFound", message: (id) => `Badge ${id} could not be found.` },
  attributes: { port_id: { type: "uuid", about: "The port.", post: true, required: true, check: uuid } },
  policy: { create: "admin", get: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): BadgeTwo {
    const port = ctx.visible<Port>("port", input.port_id as string);
    if (tx.by(badgeTwoTable, "port", port.id).length > 0) throw conflict("BadgeTwoInUse", `Port ${port.id} has a badge.`);
    const row: BadgeTwo = { ...standard, port_id: port.id };
    tx.put(badgeTwoTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(badgeTwoTable, row.id);
  },
};

const portGuard: Extension<Port> = {
  remove(tx, port): void {
    for (const { id } of tx.by(badgeTwoTable, "port", port.id)) tx.delete(badgeTwoTable, id);
  },
};

export const resources = [badge] as unknown as readonly Resource<never>[];
export const extend: Readonly<Record<string, Extension<never>>> = { port: portGuard };
export const aliases: readonly Alias[] = [{ alias: "badge-two", name: "Badge two", description: "Ports whose packets are looked at", updated: "2026-01-01T00:00:00-00:00" }];
