// What was refused: sessions that claimed to be a chassis and could not prove it, or came second. Each is logged once and
// counted; one that is not repeated is forgotten after a while. And what was taken over: sessions that came second and were let in,
// because the first no longer answered. Bounded per chassis and in all.
import type { Logger } from "pino";
import { placeOf } from "./identity.ts";

/** As in GET /switches. */
export interface RefusedClaim {
  readonly what: "system-id" | "datapath id";
  /** Of the peer, without its port. */
  readonly address: string;
  /** RFC 3339: of the first time. */
  readonly since: string;
  readonly count: number;
}

export interface Refusal extends RefusedClaim {
  readonly chassis: string;
  /** Why, as a sentence without its subject. */
  readonly reason: string;
}

/** A session has the place of another. */
export interface Takeover {
  readonly chassis: string;
  readonly what: RefusedClaim["what"];
  /** Of the peers, with their ports. */
  readonly address: string;
  readonly before: string;
  /** RFC 3339: of the last time. */
  readonly since: string;
  readonly count: number;
}

interface Kept extends Refusal {
  count: number;
  reason: string;
  last: number;
}

const PER_CHASSIS = 16;
const CHASSIS = 1024;
/** A peer that is refused tries again within seconds; after this long without, it is over. */
const KEPT_MS = 600_000;
/** A host that was cut off comes back from its own address: that is told for so long. */
const RETURNED_MS = 60_000;

export class RefusedClaims {
  private readonly log: Logger;
  private readonly now: () => number;
  private readonly kept = new Map<string, Map<string, Kept>>();
  /** By chassis and what was claimed: until when it is told. */
  private readonly taken = new Map<string, Takeover & { readonly until: number }>();

  /** `now`: ms since 1970. */
  constructor(log: Logger, now: () => number) {
    this.log = log;
    this.now = now;
  }

  refuse(chassis: string, what: RefusedClaim["what"], address: string, reason: string): void {
    const now = this.now();
    const all = this.kept.get(chassis) ?? new Map<string, Kept>();
    const key = `${what} ${placeOf(address)}`;
    const before = all.get(key);
    if (before !== undefined && now - before.last < KEPT_MS) {
      before.count++;
      before.last = now;
      before.reason = reason;
      return;
    }
    all.delete(key);
    if (all.size >= PER_CHASSIS) all.delete(oldest(all));
    all.set(key, { chassis, what, address, reason, since: new Date(now).toISOString(), count: 1, last: now });
    if (!this.kept.has(chassis) && this.kept.size >= CHASSIS) this.kept.delete(this.kept.keys().next().value!);
    this.kept.set(chassis, all);
    this.log.error({ chassis, address, claim: what, reason }, "a session is refused: it is not who it says");
  }

  /** `address` is let in, in the place of `before`, which does not answer any more: both with their ports. */
  replaced(chassis: string, what: RefusedClaim["what"], address: string, before: string): void {
    const now = this.now();
    const key = `${chassis} ${what}`;
    const earlier = this.taken.get(key);
    const count = earlier !== undefined && now < earlier.until ? earlier.count + 1 : 1;
    this.taken.delete(key);
    if (this.taken.size >= CHASSIS) this.taken.delete(this.taken.keys().next().value!);
    this.taken.set(key, { chassis, what, address, before, since: new Date(now).toISOString(), count, until: now + (hostOf(address) === hostOf(before) ? RETURNED_MS : KEPT_MS) });
    this.log.warn({ chassis, address, before, claim: what }, "a session gives way to another: it does not answer any more");
  }

  *takeovers(): Iterable<Takeover> {
    const now = this.now();
    for (const { until, ...takeover } of this.taken.values()) if (now < until) yield takeover;
  }

  /** It is who it says now: what was refused before is over. */
  accepted(chassis: string, what: RefusedClaim["what"], address: string): void {
    this.kept.get(chassis)?.delete(`${what} ${placeOf(address)}`);
  }

  forget(chassis: string): void {
    this.kept.delete(chassis);
    for (const what of ["system-id", "datapath id"]) this.taken.delete(`${chassis} ${what}`);
  }

  of(chassis: string): RefusedClaim[] {
    return this.current(chassis).map(({ what, address, since, count }) => ({ what, address, since, count }));
  }

  *all(): Iterable<Refusal> {
    for (const chassis of this.kept.keys()) yield* this.current(chassis);
  }

  private current(chassis: string): Kept[] {
    const now = this.now();
    return [...(this.kept.get(chassis)?.values() ?? [])].filter((claim) => now - claim.last < KEPT_MS);
  }
}

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(":"));

function oldest(claims: ReadonlyMap<string, Kept>): string {
  let found = "";
  let last = Infinity;
  for (const [key, claim] of claims) {
    if (claim.last >= last) continue;
    found = key;
    ({ last } = claim);
  }
  return found;
}
