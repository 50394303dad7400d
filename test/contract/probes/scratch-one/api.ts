// A badge is set on a port that is there, once, and goes with it.
import { conflict, uuid, type Alias, type ApiContext, type Extension, type Resource, type StandardRow, type Tx, type Values } from "#app";
import type { Port } from "../../../../apps/l2/model.ts";
import { badgeOneTable, type BadgeOne } from "./model.ts";

const badge: Resource<BadgeOne> = {
  name: "badge_one",
  collection: "badge_ones",
  about: "A port whose packets are looked at.",
  alias: "badge-one",
  table: badgeOneTable,
  notFound: { type: "BadgeOneNotFound", message: (id) => `Badge ${id} could not be found.` },
  attributes: { port_id: { type: "uuid", about: "The port.", post: true, required: true, check: uuid } },
  policy: { create: "admin", get: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): BadgeOne {
    const port = ctx.visible<Port>("port", input.port_id as string);
    if (tx.by(badgeOneTable, "port", port.id).length > 0) throw conflict("BadgeOneInUse", `Port ${port.id} has a badge.`);
    const row: BadgeOne = { ...standard, port_id: port.id };
    tx.put(badgeOneTable, row);
    return row;
  },
  remove(tx, row): void {
    tx.delete(badgeOneTable, row.id);
  },
};

const portGuard: Extension<Port> = {
  remove(tx, port): void {
    for (const { id } of tx.by(badgeOneTable, "port", port.id)) tx.delete(badgeOneTable, id);
  },
};

export const resources = [badge] as unknown as readonly Resource<never>[];
export const extend: Readonly<Record<string, Extension<never>>> = { port: portGuard };
export const aliases: readonly Alias[] = [{ alias: "badge-one", name: "Badge one", description: "Ports whose packets are looked at", updated: "2026-01-01T00:00:00-00:00" }];
