// Pools of numbers: VNIs, conntrack zones, OpenFlow ports of tunnels, ids of meters and groups. A number is held by name, stored, and
// the same for as long as it is held, so that a restart finds it. Two ways to hold one: in a transaction that makes the thing it is
// for (`take`), or by deriving a claim, when what needs the number follows from other rows; the controller then takes it and stores it.
import { defineTable, type ReadView, type Row, type Tx } from "./table.ts";

export interface Pool {
  /** Unique among all apps. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly about: string;
  /** A number that is given back is free only when the switch of its part has forgotten what it knows by it. */
  readonly forgotten?: boolean;
  /** Numbers of the same space that are held otherwise. `part`: see PoolNumber. */
  readonly taken?: (view: ReadView, part: string, n: number) => boolean;
}

/** Declares a pool; an app lists it in App.pools. */
export const definePool = (pool: Pool): Pool => pool;

/** A number that is held. `id` is `<pool>/<part>|<holder>`. */
export interface PoolNumber extends Row {
  readonly pool: string;
  /** A space of its own within the pool, e.g. a chassis; "" for pools of one space. */
  readonly part: string;
  readonly holder: string;
  readonly n: number;
  /** Held for a claim, and given back when that goes. */
  readonly claimed: boolean;
  /** Given up, but not free yet: what the switch remembers by it has to be forgotten first. */
  readonly releasing: boolean;
}
export const poolNumberTable = defineTable<PoolNumber>()("pool_number", {
  indexes: { number: (p) => `${p.pool}/${p.part}|${p.n}`, part: (p) => `${p.pool}/${p.part}`, holder: (p) => p.holder },
});

/**
 * Wishes for numbers, a joint: any app derives rows with `claim(...)`. The number is there soon after, in a commit of its own; rules
 * read it with `numberOf` and do without until then.
 */
export interface Claim extends Row {
  readonly pool: string;
  readonly part: string;
  readonly holder: string;
}
export const claimTable = defineTable<Claim>()("claim", { derived: true, open: true });

/** `by`: app and derivation. */
export const claim = (by: string, pool: Pool, part: string, holder: string): Claim => ({ id: `${by}/${numberId(pool.name, part, holder)}`, pool: pool.name, part, holder });

export const numberId = (pool: string, part: string, holder: string): string => `${pool}/${part}|${holder}`;

/** The number that is held, also while it is being released; undefined: none (yet). */
export const numberOf = (view: ReadView, pool: Pool, part: string, holder: string): number | undefined => view.get(poolNumberTable, numberId(pool.name, part, holder))?.n;

/** The holder's number, taken now if it has none. @throws Error when the pool is exhausted */
export function take(tx: Tx, pool: Pool, part: string, holder: string, claimed = false): number {
  const id = numberId(pool.name, part, holder);
  const held = tx.get(poolNumberTable, id);
  if (held !== undefined) {
    if (held.releasing) tx.put(poolNumberTable, { ...held, claimed, releasing: false });
    return held.n;
  }
  const space = `${pool.name}/${part}`;
  const n = tx.allocate(space, { min: pool.min, max: pool.max, used: (x) => tx.count(poolNumberTable, "number", `${space}|${x}`) > 0 || pool.taken?.(tx, part, x) === true });
  tx.put(poolNumberTable, { id, pool: pool.name, part, holder, n, claimed, releasing: false });
  return n;
}

export function giveBack(tx: Tx, pool: Pool, part: string, holder: string): void {
  const id = numberId(pool.name, part, holder);
  const held = tx.get(poolNumberTable, id);
  if (held === undefined) return;
  if (pool.forgotten === true) tx.put(poolNumberTable, { ...held, releasing: true });
  else tx.delete(poolNumberTable, id);
}
