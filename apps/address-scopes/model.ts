// Address scopes: sets of subnet pools in which each address is somebody's once, so that routers may route between their networks as they are.
import { bitsOf, defineTable, parseCidr, resourceHandle, type Cidr, type ReadView, type Row, type StandardRow } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { pooledSubnetTable, resized } from "../subnet-pools/model.ts";

export interface AddressScope extends StandardRow {
  readonly ip_version: 4 | 6;
}
export const addressScopeResource = resourceHandle<AddressScope>("address_scope");
export const addressScopeTable = defineTable<AddressScope>()("address_scope", { resource: "address_scope", indexes: { project: (s) => s.project_id } });

/** A subnet pool that is of a scope; `id` is the pool's. */
export interface ScopedPool extends Row {
  readonly address_scope_id: string;
  /** As the pool has them. */
  readonly prefixes: readonly string[];
}
const keyOf = (scope: string, { network, prefix }: Cidr): string => `${scope}|${network.toString(36)}/${prefix}`;
/** Prefixes are found by those of every eighth length that they are part of. */
const STEP = 8;
/** Of a pool that is of a scope: each costs some sixteen places in the index. */
export const PREFIXES_MAX = 32;

export const scopedPoolTable = defineTable<ScopedPool>()("scoped_pool", {
  indexes: {
    scope: (p) => p.address_scope_id,
    prefix: (p) => p.prefixes.map((text) => keyOf(p.address_scope_id, parseCidr(text)!)),
    part: (p) => [
      ...new Set(
        p.prefixes.flatMap((text) => {
          const cidr = parseCidr(text)!;
          return Array.from({ length: Math.floor(cidr.prefix / STEP) }, (_, i) => keyOf(p.address_scope_id, resized(cidr, (i + 1) * STEP)));
        }),
      ),
    ],
  },
});

/** The parts of a prefix that have this length. */
function partsOf({ family, network, prefix }: Cidr, length: number): Cidr[] {
  const size = 1n << BigInt(bitsOf(family) - length);
  return Array.from({ length: 2 ** (length - prefix) }, (_, i) => ({ family, address: network, network: network + BigInt(i) * size, prefix: length }));
}

/** Whether another pool of a scope has something of a prefix. Costs the length of the prefix, however many pools there are. */
export function isTaken(view: ReadView, scope: string, but: string, cidr: Cidr): boolean {
  const others = (index: "prefix" | "part", of: Cidr): boolean => view.by(scopedPoolTable, index, keyOf(scope, of)).some((p) => p.id !== but);
  for (let length = 1; length <= cidr.prefix; length++) if (others("prefix", resized(cidr, length))) return true;
  const step = Math.ceil(cidr.prefix / STEP) * STEP;
  for (let length = cidr.prefix + 1; length < step; length++) if (partsOf(cidr, length).some((part) => others("prefix", part))) return true;
  return partsOf(cidr, step).some((part) => others("part", part));
}

/** The scope of a network's subnets of a family, which are all of one pool. */
export function scopeOf(view: ReadView, networkId: string, family: 4 | 6): string | undefined {
  const subnet = view.by(subnetTable, "network", networkId).find((s) => s.ip_version === family);
  const pool = subnet === undefined ? undefined : view.get(pooledSubnetTable, subnet.id)?.subnetpool_id;
  return pool === undefined ? undefined : view.get(scopedPoolTable, pool)?.address_scope_id;
}
