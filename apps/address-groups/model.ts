// Address groups: prefixes with a name, which rules of security groups may have as their other side.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface AddressGroup extends StandardRow {
  /** CIDRs in their one spelling, of either family, each once. */
  readonly addresses: readonly string[];
}
export const addressGroupResource = resourceHandle<AddressGroup>("address_group");
export const addressGroupTable = defineTable<AddressGroup>()("address_group", { resource: "address_group", indexes: { project: (g) => g.project_id } });

/** Attribute of rules that names one. */
export const REMOTE = "remote_address_group_id";
