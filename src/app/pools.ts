// Pools of numbers: VNIs, conntrack zones, OpenFlow ports of tunnels, ids of meters and groups, keys. A number is held by name, stored,
// and the same for as long as it is held, so that a restart finds it. Three ways to get one, all by `tx.allocate` underneath: in a
// transaction that makes the thing it is for (`take`), or, when what needs the number follows from other rows, by deriving a claim; the
// controller then takes it and stores it. What has a row of its own may keep its number there (`draw`).
import { conflict } from "./api/refusal.ts";
import type { NumberRange } from "./settings.ts";
import { defineTable, type ReadView, type Row, type Tx } from "./table.ts";

/** What numbers are of. Two pools of one kind may not overlap, but for `key`: these are of what the app's own rows are. */
export type NumberKind = "zone" | "meter" | "group" | "ofport" | "vni" | "vlan" | "key";

export interface Pool {
  /** Unique among all apps. */
  readonly name: string;
  /** Spaces that its numbers are in; a boot with two pools that overlap in one is refused. */
  readonly of: NumberKind | readonly NumberKind[];
  readonly min: number;
  readonly max: number;
  readonly about: string;
  /** A number that is given back is free only when the switch of its part has forgotten what it knows by it. */
  readonly forgotten?: boolean;
  /** Numbers of the same space that are held otherwise: by rows that keep what `draw` gave them. `part`: see PoolNumber. */
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
  /** It is the one that somebody wanted and no other; when nobody does any more, another may be had again. */
  readonly wanted?: boolean;
  /** Given up, but not free yet: what the switch remembers by it has to be forgotten first. */
  readonly releasing: boolean;
}
export const poolNumberTable = defineTable<PoolNumber>()("pool_number", {
  indexes: { number: (p) => `${p.pool}/${p.part}|${p.n}`, part: (p) => `${p.pool}/${p.part}`, holder: (p) => p.holder },
});

/** Which number it should be. */
export interface Wanted {
  /** This one and no other: one that it holds is given back for it. */
  readonly n?: number;
  /** This one if it is free, as long as it holds none. */
  readonly prefer?: number;
  /** One of these ranges, as long as it holds none and `n` says no other. */
  readonly within?: readonly NumberRange[];
}

/**
 * Wishes for numbers, a joint: any app derives rows with `claim(...)`. The number is there soon after, in a commit of its own; rules
 * read it with `numberOf` and do without until then. A wish that cannot be met is named in /problems, and met when it can be.
 */
export interface Claim extends Row, Wanted {
  readonly pool: string;
  readonly part: string;
  readonly holder: string;
}
export const claimTable = defineTable<Claim>()("claim", { derived: true, open: true, indexes: { number: (c) => numberId(c.pool, c.part, c.holder) } });

/** `by`: app and derivation. A holder has one number, whoever claims it: of several wishes for a certain one the first by id counts. */
export const claim = (by: string, pool: Pool, part: string, holder: string, wanted: Wanted = {}): Claim => ({ id: `${by}/${numberId(pool.name, part, holder)}`, pool: pool.name, part, holder, ...wanted });

export const numberId = (pool: string, part: string, holder: string): string => `${pool}/${part}|${holder}`;
/** Where a pool's numbers are each held once; the same as text with `|<number>` behind finds the holder of one. */
export const spaceOf = (pool: Pool, part: string): string => `${pool.name}/${part}`;

/** The holder's number; undefined: none yet, or none any more. One that is being released is nobody's until it is taken again. */
export function numberOf(view: ReadView, pool: Pool, part: string, holder: string): number | undefined {
  const held = view.get(poolNumberTable, numberId(pool.name, part, holder));
  return held?.releasing === true ? undefined : held?.n;
}

/** Also one that is being released: for what has to be forgotten by it. */
export const numberHeld = (view: ReadView, pool: Pool, part: string, holder: string): number | undefined => view.get(poolNumberTable, numberId(pool.name, part, holder))?.n;

/** Who has a number now; "" if rows of their own do (`Pool.taken`); undefined: it is free. */
export const holderOf = (view: ReadView, pool: Pool, part: string, n: number): string | undefined =>
  view.by(poolNumberTable, "number", `${spaceOf(pool, part)}|${n}`)[0]?.holder ?? (pool.taken?.(view, part, n) === true ? "" : undefined);

const isUsed = (tx: Tx, pool: Pool, part: string, n: number): boolean => tx.count(poolNumberTable, "number", `${spaceOf(pool, part)}|${n}`) > 0 || pool.taken?.(tx, part, n) === true;

/**
 * A free number, for a row that keeps it and that `pool.taken` sees; in turn, so that one is not reused soon.
 * @throws PoolExhaustedError
 */
export const draw = (tx: Tx, pool: Pool, part = ""): number =>
  tx.allocate(part === "" ? pool.name : spaceOf(pool, part), { min: pool.min, max: pool.max, used: (n) => isUsed(tx, pool, part, n) });

/** Every number that may be had is held. */
export class PoolExhaustedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "PoolExhaustedError";
  }
}

function drawWithin(tx: Tx, pool: Pool, part: string, ranges: readonly NumberRange[]): number {
  for (const [min, max] of ranges) {
    try {
      return tx.allocate(`${spaceOf(pool, part)}|${min}..${max}`, { min, max, used: (n) => isUsed(tx, pool, part, n) });
    } catch (error) {
      if (!(error instanceof PoolExhaustedError)) throw error;
    }
  }
  throw new PoolExhaustedError(`no free number is left in pool ${pool.name} (${ranges.map(([min, max]) => `${min}..${max}`).join(", ") || "no range"})`);
}

/**
 * The holder's number, taken now if it has none, or another than `wanted.n`.
 * @throws ApiError 409 NumberInUse when `wanted.n` is held by another, RangeError when it is none of the pool; PoolExhaustedError
 */
export function take(tx: Tx, pool: Pool, part: string, holder: string, wanted: Wanted & { readonly claimed?: boolean } = {}): number {
  const id = numberId(pool.name, part, holder);
  const held = tx.get(poolNumberTable, id);
  const { n: exact, prefer, within } = wanted;
  const claimed = wanted.claimed ?? held?.claimed ?? false;
  if (held !== undefined && (exact === undefined || exact === held.n)) {
    if (held.releasing || (exact !== undefined && held.wanted !== true)) tx.put(poolNumberTable, { ...held, claimed, releasing: false, ...(exact !== undefined && { wanted: true }) });
    return held.n;
  }
  const isOurs = (n: number): boolean => Number.isInteger(n) && n >= pool.min && n <= pool.max;
  const mayBeDrawn = (n: number): boolean => isOurs(n) && (within?.some(([min, max]) => n >= min && n <= max) ?? true);
  if (exact !== undefined) {
    if (!isOurs(exact)) throw new RangeError(`${exact} is none of ${pool.name} (${pool.min}..${pool.max})`);
    if (isUsed(tx, pool, part, exact)) throw conflict("NumberInUse", `${pool.name} ${exact} is in use.`);
  }
  const n = exact ?? (prefer !== undefined && mayBeDrawn(prefer) && !isUsed(tx, pool, part, prefer) ? prefer : within === undefined ? draw(tx, pool, part) : drawWithin(tx, pool, part, within));
  if (held !== undefined) release(tx, pool, part, held.n);
  tx.put(poolNumberTable, { id, pool: pool.name, part, holder, n, claimed, releasing: false, ...(exact !== undefined && { wanted: true }) });
  return n;
}

export function giveBack(tx: Tx, pool: Pool, part: string, holder: string): void {
  const id = numberId(pool.name, part, holder);
  const held = tx.get(poolNumberTable, id);
  if (held === undefined) return;
  if (pool.forgotten === true) tx.put(poolNumberTable, { ...held, releasing: true });
  else tx.delete(poolNumberTable, id);
}

/** Gives back what `draw` gave: the row that kept the number is gone, or has another. Until its switch has forgotten it nobody gets it. */
export function release(tx: Tx, pool: Pool, part: string, n: number): void {
  if (pool.forgotten !== true) return;
  const holder = `was/${n}`;
  tx.put(poolNumberTable, { id: numberId(pool.name, part, holder), pool: pool.name, part, holder, n, claimed: false, releasing: true });
}

/** What a part of a pool is of is gone for good, as a chassis or network: where in it numbers were given out last is of no use to anybody. */
export const forgetPart = (tx: Tx, pool: Pool, part: string): void => tx.forgetAllocation(spaceOf(pool, part));
