// What was asked of routers, where it is not what they are.
import { defineTable, type Row } from "#app";

/** `id` is the router's. */
export interface RouterMode extends Row {
  readonly distributed: boolean;
  readonly ha: boolean;
}
export const routerModeTable = defineTable<RouterMode>()("router_mode", {});
