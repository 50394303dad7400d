// Which subnet has which prefix of which pool, and what its project has of it.
import { badRequest, bitsOf, conflict, formatCidr, parseCidr, type Cidr, type ReadView, type Tx } from "#app";
import type { Subnet } from "../ipam/model.ts";
import { pooledSubnetTable, poolUseTable, subnetPoolTable, type PooledSubnet, type SubnetPool } from "./pools.ts";
import { clear, giveBack, isFree, lowestFree, take } from "./space.ts";

export const cidrsOf = (texts: readonly string[]): Cidr[] => texts.map((text) => parseCidr(text)!);

const sizeOf = (c: Cidr): bigint => 1n << BigInt(bitsOf(c.family) - c.prefix);
const useId = (pool: string, project: string): string => `${pool}/${project}`;
const usedBy = (view: ReadView, pool: string, project: string): bigint => BigInt(view.get(poolUseTable, useId(pool, project))?.used ?? "0");

/** Projects that have something of a pool, for whatever. */
export const projectsWith = (view: ReadView, pool: string): string[] => view.by(poolUseTable, "pool", pool).map(({ id }) => id.slice(useId(pool, "").length));

function setUsed(tx: Tx, pool: string, project: string, used: bigint): void {
  const id = useId(pool, project);
  if (used === 0n) tx.delete(poolUseTable, id);
  else tx.put(poolUseTable, { id, used: String(used) });
}

const unable = (reason: string): Error => conflict("SubnetAllocationError", `Failed to allocate subnet: ${reason}.`);

export interface Asked {
  readonly cidr: Cidr | undefined;
  readonly prefixlen: number | undefined;
}

/** The prefix that a new subnet has: the one asked for, or the lowest free one. @throws ApiError when there is none such */
export function choose(view: ReadView, pool: SubnetPool, { cidr, prefixlen }: Asked): Cidr {
  const length = cidr?.prefix ?? prefixlen ?? pool.default_prefixlen;
  if (length < pool.min_prefixlen) {
    throw badRequest(`Unable to allocate subnet with prefix length ${length}, minimum allowed prefix is ${pool.min_prefixlen}.`, "MinPrefixSubnetAllocationError");
  }
  if (length > pool.max_prefixlen) {
    throw badRequest(`Unable to allocate subnet with prefix length ${length}, maximum allowed prefix is ${pool.max_prefixlen}.`, "MaxPrefixSubnetAllocationError");
  }
  const prefixes = cidrsOf(pool.prefixes);
  if (cidr !== undefined) {
    if (!isFree(view, pool.id, prefixes, cidr)) throw unable("Cannot allocate requested subnet from the available set of prefixes");
    return cidr;
  }
  const found = lowestFree(view, pool.id, prefixes, length);
  if (found === undefined) throw unable(`Insufficient prefix space to allocate subnet size /${length}`);
  return found;
}

/** Makes a free prefix of the pool the subnet's. */
export function allocate(tx: Tx, pool: SubnetPool, subnet: Pick<Subnet, "id" | "project_id" | "cidr">): void {
  const cidr = claim(tx, pool, subnet.project_id, subnet.cidr);
  tx.put(pooledSubnetTable, { id: subnet.id, subnetpool_id: pool.id, project_id: subnet.project_id, cidr });
}

/** The subnet's prefix is the pool's again. */
export function release(tx: Tx, subnet: PooledSubnet): void {
  tx.delete(pooledSubnetTable, subnet.id);
  giveUp(tx, subnet);
}

/** Takes a free prefix of the pool for a project, whatever it is for; as text in its one spelling. @throws ApiError 409 SubnetPoolQuotaExceeded */
export function claim(tx: Tx, pool: SubnetPool, project: string, prefix: string): string {
  const cidr = parseCidr(prefix)!;
  const used = usedBy(tx, pool.id, project) + sizeOf(cidr);
  const unit = pool.ip_version === 4 ? 1n : 1n << 64n;
  if (pool.default_quota !== null && used > BigInt(pool.default_quota) * unit) throw conflict("SubnetPoolQuotaExceeded", "Per-tenant subnet pool prefix quota exceeded.");
  setUsed(tx, pool.id, project, used);
  take(tx, pool.id, cidrsOf(pool.prefixes), cidr);
  return formatCidr(cidr);
}

/** The pool goes, and with it what somebody claimed who is not there to give it up. */
export function giveUpAll(tx: Tx, pool: SubnetPool): void {
  for (const prefix of cidrsOf(pool.prefixes)) clear(tx, pool.id, prefix);
  for (const { id } of tx.by(poolUseTable, "pool", pool.id)) tx.delete(poolUseTable, id);
}

/** A prefix that was claimed is the pool's again. */
export function giveUp(tx: Tx, { subnetpool_id, project_id, cidr: text }: Pick<PooledSubnet, "subnetpool_id" | "project_id" | "cidr">): void {
  const pool = tx.get(subnetPoolTable, subnetpool_id);
  if (pool === undefined) return;
  const cidr = parseCidr(text)!;
  setUsed(tx, pool.id, project_id, usedBy(tx, pool.id, project_id) - sizeOf(cidr));
  giveBack(tx, pool.id, cidrsOf(pool.prefixes), cidr);
}
