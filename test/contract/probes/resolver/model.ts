// An address of a network that answers datagrams to port 53, later, and remembers which ports have asked.
import { defineTable, resourceHandle, type Row, type StandardRow } from "#app";

export interface Resolver extends StandardRow {
  readonly network_id: string;
  /** Holds its MAC and addresses. */
  readonly port_id: string;
}
export const resolverResource = resourceHandle<Resolver>("resolver");
export const resolverTable = defineTable<Resolver>()("resolver", { resource: "resolver", indexes: { network: (r) => r.network_id, port: (r) => r.port_id } });

/** The port has spoken to a resolver. `id` is the port's. */
export interface Spoken extends Row {
  readonly at: string;
}
export const spokenTable = defineTable<Spoken>()("resolver_spoken", {});
