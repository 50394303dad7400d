// Ports whose packets pass the app's tables, where a scratch register is used.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface BadgeOne extends StandardRow {
  readonly port_id: string;
}
export const badgeOneResource = resourceHandle<BadgeOne>("badge_one");
export const badgeOneTable = defineTable<BadgeOne>()("badge_one", { resource: "badge_one", indexes: { port: (b) => b.port_id } });
