// prefix-delegation's one entity: which prefix of which pool a port has.
import { defineTable, type ReadView, type Row } from "#app";
import { addressesOf } from "../l2/model.ts";

/** A prefix that is delegated to a port; `id` is the port's. */
export interface DelegatedPrefix extends Row {
  readonly subnetpool_id: string;
  readonly project_id: string;
  /** Of the pool; the port's address in it is where the prefix is routed to. */
  readonly subnet_id: string;
  readonly cidr: string;
}
export const delegatedPrefixTable = defineTable<DelegatedPrefix>()("delegated_prefix", { indexes: { pool: (p) => p.subnetpool_id, subnet: (p) => p.subnet_id } });

/** Where the prefix is routed to; undefined: its port has no address in that subnet any more. */
export const nextHopOf = (view: ReadView, { id, subnet_id }: DelegatedPrefix): string | undefined => addressesOf(view, id, 6).find((a) => a.subnet_id === subnet_id)?.ip;
