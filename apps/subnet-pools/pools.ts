// Subnet pools: prefixes from which subnets take theirs; which subnets have one of which pool, and how much each project has.
import { defineTable, resourceHandle, type Row, type StandardRow } from "#app";

export interface SubnetPool extends StandardRow {
  readonly ip_version: 4 | 6;
  /** CIDRs in ascending order; none is part of another, none could be one with its neighbour. */
  readonly prefixes: readonly string[];
  readonly default_prefixlen: number;
  readonly min_prefixlen: number;
  readonly max_prefixlen: number;
  /** What a project may have of it: addresses, of IPv6 /64s. */
  readonly default_quota: number | null;
  readonly is_default: boolean;
}
export const subnetPoolResource = resourceHandle<SubnetPool>("subnetpool");
export const subnetPoolTable = defineTable<SubnetPool>()("subnetpool", {
  resource: "subnetpool",
  indexes: { project: (p) => p.project_id, default: (p) => (p.is_default ? String(p.ip_version) : undefined) },
});

/** A subnet whose prefix is a pool's; `id` is the subnet's. */
export interface PooledSubnet extends Row {
  readonly subnetpool_id: string;
  readonly project_id: string;
  readonly cidr: string;
}
export const pooledSubnetTable = defineTable<PooledSubnet>()("pooled_subnet", { indexes: { pool: (s) => s.subnetpool_id } });

/** Addresses that a project has of a pool, as a decimal number; `id` is `<pool>/<project>`. */
export interface PoolUse extends Row {
  readonly used: string;
}
export const poolUseTable = defineTable<PoolUse>()("subnetpool_use", { indexes: { pool: (u) => u.id.split("/")[0] } });
