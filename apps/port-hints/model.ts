// What administrators say of how a port is to be carried on its host.
import { defineTable, type Row } from "#app";

/** By switch, as the API has it. */
export interface Hints {
  readonly openvswitch?: { readonly other_config?: { readonly "tx-steering"?: "thread" | "hash" } };
}
/** A port with hints; `id` is the port's. */
export interface PortHints extends Row {
  readonly hints: Hints;
}
export const portHintsTable = defineTable<PortHints>()("port_hints", {});
