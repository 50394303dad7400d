// Ports whose packets pass the app's tables, where a scratch register is used.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface BadgeTwo extends StandardRow {
  readonly port_id: string;
}
export const badgeTwoResource = resourceHandle<BadgeTwo>("badge_two");
export const badgeTwoTable = defineTable<BadgeTwo>()("badge_two", { resource: "badge_two", indexes: { port: (b) => b.port_id } });
