// What of a pool is free: a binary tree below each of its prefixes. A node has a row if something of it is taken; the row says how short the
// shortest free prefix in it is. So the lowest free prefix of a length is found, taken and given back on one way down from the top, however
// many are taken.
import { bitsOf, defineTable, type Cidr, type ReadView, type Row, type Tx } from "#app";
import { halves, holds, resized, same } from "./prefixes.ts";

export interface UsedPrefix extends Row {
  /** Length of the shortest free prefix in it; null: none is free. */
  readonly room: number | null;
}
export const spaceTable = defineTable<UsedPrefix>()("subnetpool_space");

const idOf = (pool: string, { network, prefix }: Cidr): string => `${pool}/${network.toString(16)}/${prefix}`;
const isUsed = (view: ReadView, pool: string, node: Cidr): boolean => view.get(spaceTable, idOf(pool, node)) !== undefined;

function roomOf(view: ReadView, pool: string, node: Cidr): number {
  const used = view.get(spaceTable, idOf(pool, node));
  return used === undefined ? node.prefix : (used.room ?? Infinity);
}

/** The lowest free prefix of this length; undefined: there is none. `prefixes`: the pool's, ascending. */
export function lowestFree(view: ReadView, pool: string, prefixes: readonly Cidr[], length: number): Cidr | undefined {
  let node = prefixes.find((top) => roomOf(view, pool, top) <= length);
  if (node === undefined) return undefined;
  while (isUsed(view, pool, node)) {
    const [low, high] = halves(node);
    node = roomOf(view, pool, low) <= length ? low : high;
  }
  return resized(node, length);
}

/** Whether the prefix is one of the pool's, or part of one, and nothing of it is taken. */
export function isFree(view: ReadView, pool: string, prefixes: readonly Cidr[], wanted: Cidr): boolean {
  const top = prefixes.find((p) => holds(p, wanted));
  if (top === undefined) return false;
  for (let length = top.prefix; length < wanted.prefix; length++) {
    const used = view.get(spaceTable, idOf(pool, resized(wanted, length)));
    if (used === undefined) return true;
    if (used.room === null) return false;
  }
  return !isUsed(view, pool, wanted);
}

/** After a change below: from the parent of a node to the top. */
function mend(tx: Tx, pool: string, top: Cidr, below: Cidr): void {
  for (let length = below.prefix - 1; length >= top.prefix; length--) {
    const node = resized(below, length);
    const parts = halves(node);
    const id = idOf(pool, node);
    if (!parts.some((half) => isUsed(tx, pool, half))) {
      tx.delete(spaceTable, id);
      continue;
    }
    const room = Math.min(...parts.map((half) => roomOf(tx, pool, half)));
    tx.put(spaceTable, { id, room: room === Infinity ? null : room });
  }
}

/** Takes a free prefix. */
export function take(tx: Tx, pool: string, prefixes: readonly Cidr[], taken: Cidr): void {
  tx.put(spaceTable, { id: idOf(pool, taken), room: null });
  mend(tx, pool, prefixes.find((p) => holds(p, taken))!, taken);
}

export function giveBack(tx: Tx, pool: string, prefixes: readonly Cidr[], taken: Cidr): void {
  tx.delete(spaceTable, idOf(pool, taken));
  const top = prefixes.find((p) => holds(p, taken));
  if (top !== undefined) mend(tx, pool, top, taken);
}

/** All of it is free. Costs what is taken. */
export function clear(tx: Tx, pool: string, node: Cidr): void {
  if (!isUsed(tx, pool, node)) return;
  tx.delete(spaceTable, idOf(pool, node));
  if (node.prefix < bitsOf(node.family)) for (const half of halves(node)) clear(tx, pool, half);
}

/**
 * Below other prefixes than before. Costs what is between the old tops and the new ones, not what is taken.
 * @returns false if something is taken that would not be the pool's any more; what was written then is to be thrown away
 */
export function reshape(tx: Tx, pool: string, before: readonly Cidr[], after: readonly Cidr[]): boolean {
  const moved = before.filter((old) => !after.some((now) => same(old, now)));
  /** Takes away nodes above the new tops. */
  const lower = (node: Cidr): boolean => {
    if (!isUsed(tx, pool, node) || after.some((top) => holds(top, node))) return true;
    const parts = halves(node);
    if (!after.some((top) => holds(node, top)) || !parts.some((half) => isUsed(tx, pool, half))) return false;
    tx.delete(spaceTable, idOf(pool, node));
    return parts.every(lower);
  };
  for (const old of moved) {
    const top = after.find((now) => holds(now, old));
    if (top === undefined) {
      if (!lower(old)) return false;
    } else if (isUsed(tx, pool, old)) mend(tx, pool, top, old);
  }
  return true;
}
