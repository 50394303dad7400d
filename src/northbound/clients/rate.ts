// How often may somebody ask: a token bucket for each project, and for each address from which callers come whom nobody knows. Off unless an
// operator says otherwise, as scripts that are in order may ask a lot.
import { ApiError, type Caller } from "../../app/contract.ts";
import { formatIp, parseIp } from "../../lib/address.ts";
import { hashOf } from "../auth/authenticator.ts";
import type { Rate } from "../../lib/clock.ts";

export interface RateLimits {
  /** Of a project; administrators and services have none. */
  readonly project?: Rate | undefined;
  /** Of an address, of requests whose token is none. */
  readonly unauthenticated?: Rate | undefined;
}

/** Buckets, and tokens that were good; of more the one used longest ago is forgotten: it starts full again. */
const KEPT = 10_000;

interface Bucket {
  left: number;
  /** Milliseconds. */
  at: number;
}

/** Buckets of one rate by key. */
export class Buckets {
  private readonly rate: Rate;
  private readonly now: () => number;
  private readonly kept: number;
  /** The one used longest ago first. */
  private readonly buckets = new Map<string, Bucket>();

  /** `now`: milliseconds that never go back. */
  constructor(rate: Rate, now: () => number = () => performance.now(), kept = KEPT) {
    this.rate = rate;
    this.now = now;
    this.kept = kept;
  }

  get size(): number {
    return this.buckets.size;
  }

  /** Seconds until one may be taken, 0: now. */
  wait(key: string): number {
    const bucket = this.buckets.get(key);
    return bucket === undefined ? 0 : this.after(this.filled(bucket));
  }

  /** Takes one. Seconds until there is one, 0: it is taken. */
  take(key: string): number {
    const bucket = this.filled(this.buckets.get(key) ?? { left: this.rate.burst, at: this.now() });
    const wait = this.after(bucket);
    if (wait === 0) bucket.left--;
    this.buckets.delete(key);
    this.buckets.set(key, bucket);
    if (this.buckets.size > this.kept) this.buckets.delete(this.buckets.keys().next().value!);
    return wait;
  }

  private filled(bucket: Bucket): Bucket {
    const now = this.now();
    bucket.left = Math.min(this.rate.burst, bucket.left + ((now - bucket.at) * this.rate.perSecond) / 1000);
    bucket.at = now;
    return bucket;
  }

  private after({ left }: Bucket): number {
    return left >= 1 ? 0 : (1 - left) / this.rate.perSecond;
  }
}

export type LimitedBy = "project" | "address";

export class RateLimiter {
  private readonly projects: Buckets | undefined;
  private readonly addresses: Buckets | undefined;
  /** Hashes of tokens that were somebody's: they go on where others of their address have used up its share. */
  private readonly good = new Set<string>();
  /** The last of them, if it is still one. */
  private newest: string | undefined;
  private readonly limited: (by: LimitedBy) => void;

  constructor({ project, unauthenticated }: RateLimits, limited: (by: LimitedBy) => void = () => undefined, now?: () => number) {
    this.projects = project === undefined ? undefined : new Buckets(project, now);
    this.addresses = unauthenticated === undefined ? undefined : new Buckets(unauthenticated, now);
    this.limited = limited;
  }

  get counts(): Readonly<Record<LimitedBy, number>> {
    return { project: this.projects?.size ?? 0, address: this.addresses?.size ?? 0 };
  }

  /** Before it is asked who somebody is. @throws ApiError 429 */
  before(address: string, token: string | undefined, hashed = hashOf): void {
    // None has used up anything: most of the time.
    if (this.addresses === undefined || this.addresses.size === 0) return;
    const wait = this.addresses.wait(linkOf(address));
    if (wait > 0 && (token === undefined || !this.good.has(hashed(token)))) throw this.refusal("address", "Too many requests without a valid token come from this address.", wait);
  }

  /** It was nobody's. */
  refused(address: string, token: string | undefined): void {
    if (this.addresses === undefined) return;
    this.addresses.take(linkOf(address));
    if (token === undefined) return;
    this.good.delete(hashOf(token));
    this.newest = undefined;
  }

  /** It is a caller's. @throws ApiError 429 */
  known({ projectId, admin, roles }: Caller, token: string | undefined, hashed = hashOf): void {
    if (this.addresses !== undefined && token !== undefined) this.remember(hashed(token));
    if (this.projects === undefined || admin || roles.has("service")) return;
    const wait = this.projects.take(projectId);
    if (wait > 0) throw this.refusal("project", "The project sends more requests than it may.", wait);
  }

  private remember(hash: string): void {
    if (hash === this.newest) return;
    this.newest = hash;
    this.good.delete(hash);
    this.good.add(hash);
    if (this.good.size > KEPT) this.good.delete(this.good.values().next().value!);
  }

  private refusal(by: LimitedBy, message: string, waitS: number): ApiError {
    this.limited(by);
    return new ApiError(429, "TooManyRequests", `${message} Try again after the time that Retry-After says.`, Math.max(1, Math.ceil(waitS)));
  }
}

const LINK_BITS = 64n;
const IPV4_MAPPED = 0xffffn;
/** Of IPv6 the prefix of the link, on which a machine has as many addresses as it likes; of IPv4 the address, however it is written. */
function linkOf(address: string): string {
  const ip = parseIp(address);
  if (ip?.family !== 6) return address;
  return ip.value >> 32n === IPV4_MAPPED ? formatIp({ family: 4, value: ip.value & 0xffff_ffffn }) : (ip.value >> LINK_BITS).toString(16);
}
