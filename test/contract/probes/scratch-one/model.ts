// Ports whose packets pass the app's tables, where a scratch register is used.
import { defineTable, type StandardRow } from "#app";

export interface BadgeOne extends StandardRow {
  readonly port_id: string;
}
export const badgeOneTable = defineTable<BadgeOne>()("badge_one", { resource: "badge_one", indexes: { port: (b) => b.port_id } });
