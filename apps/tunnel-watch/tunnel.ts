// One tunnel in one direction: what its probes say of it, without time or chance of its own. A probe that is lost may be lost to its size, so after one that was
// large a small one is sent: the tunnel is down when none arrives, and narrow when the small ones do.
import { timestampOf, type EncapType } from "#app";
import { PEERS_MAX, tunnelId, type TunnelSeen, type TunnelState } from "./model.ts";

/** Probes lost in a row by which a tunnel is down, and arrived in a row by which one that was is up. */
const LOST = 4;
const BACK = 2;
/** Probes of the full size lost in a row, with smaller ones arriving between them. */
const NARROW = 3;
/** Probes of one size that are lost while the largest that arrives is looked for. */
const TRIES = 2;
/** Results that count for the loss; bits of a number. */
const REMEMBERED = 32;
/** Transits of which the fastest counts: others waited somewhere. */
const TRANSITS = 8;

/** When it is its turn again: at once, in a moment, in a while out of turn, or when all others had theirs. */
export type Pace = "now" | "soon" | "later" | "turn";

/** Where the tunnel leads, and how: hosts by their keys, sizes in bytes of the outer IP packet. */
export interface TunnelEnds {
  readonly from: string;
  readonly to: string;
  readonly fromKey: number;
  readonly toKey: number;
  readonly type: EncapType;
  /** By the encapsulation that both hosts share; false: by a certain one. */
  readonly shared: boolean;
  readonly least: number;
  readonly most: number;
}

export class Tunnel {
  readonly ends: TunnelEnds;
  readonly id: string;
  state: TunnelState = "unknown";
  /** Milliseconds since 1970. */
  sinceMs: number;
  /** The scheduler's: a probe is under way, or it waits out of turn. */
  busy = false;
  gone = false;
  sentMs = -Infinity;
  /** Since when it was down as it was last known; undefined: it was not, or how it is is known. Milliseconds since 1970. */
  private wasDownMs: number | undefined;
  private lost = 0;
  private back = 0;
  private results = 0;
  private known = 0;
  private turns = 0;
  private fullLost = 0;
  private fullSeen = false;
  /** Where the largest size that arrives is looked for: one that does, and one that does not. undefined: all do, as far as is known. */
  private search: { low: number; high: number; lost: number } | undefined;
  private transits: number[] = [];

  constructor(ends: TunnelEnds, nowMs: number) {
    this.ends = ends;
    this.id = tunnelId(ends.from, ends.to, ends.type);
    this.sinceMs = nowMs;
  }

  /** Size of the next probe. */
  next(): number {
    const { least, most } = this.ends;
    if (this.state !== "up" || this.lost > 0) return least;
    if (this.search === undefined && this.fullLost > 0) return most;
    if (this.searching) return (this.search!.low + this.search!.high) >> 1;
    // Of a narrow one also whether what got through still does.
    const sizes = this.search === undefined ? [most, least] : [most, least, this.search.low];
    return sizes[this.turns++ % sizes.length]!;
  }

  private get searching(): boolean {
    return this.search !== undefined && this.search.high - this.search.low > 1;
  }

  get pace(): Pace {
    if (this.state === "down") return "later";
    if (this.lost > 0) return "now";
    return (this.search === undefined && this.fullLost > 0) || this.searching ? "soon" : "turn";
  }

  /** `transitMs`: from the controller over both hosts and back. */
  heard(size: number, transitMs: number, nowMs: number): void {
    this.lost = 0;
    this.result(1);
    if (this.transits.push(transitMs) > TRANSITS) this.transits.shift();
    if (size === this.ends.most) {
      this.fullLost = 0;
      this.fullSeen = true;
      this.search = undefined;
    } else if (this.search !== undefined && size > this.search.low) {
      this.search.low = size;
      this.search.lost = 0;
      this.search.high = Math.max(this.search.high, size + 1);
    }
    if (this.state === "up" || ++this.back < (this.state === "down" ? BACK : 1)) return;
    this.become("up", nowMs);
  }

  missed(size: number, nowMs: number): void {
    const { search } = this;
    this.back = 0;
    // It is known that it may be too large.
    if (search !== undefined && size > search.low) {
      if (size < search.high && ++search.lost >= TRIES) {
        search.high = size;
        search.lost = 0;
      }
      return;
    }
    this.result(0);
    this.lost++;
    if (search !== undefined && size === search.low && size > this.ends.least && ++search.lost >= TRIES) this.search = { low: this.ends.least, high: size, lost: 0 };
    if (size === this.ends.most && ++this.fullLost >= NARROW && this.state === "up") {
      this.search = { low: this.ends.least, high: this.ends.most, lost: 0 };
      this.lost = 0;
    }
    if (this.lost >= LOST && this.state !== "down") this.become("down", nowMs);
  }

  /** What can be said of it nobody knows any more. */
  forget(nowMs: number): void {
    this.lost = this.back = this.results = this.known = this.fullLost = 0;
    this.fullSeen = false;
    this.search = undefined;
    this.transits = [];
    if (this.state !== "unknown") this.become("unknown", nowMs);
  }

  /** Nor what it was: probes that arrived may have been somebody else's. */
  distrust(nowMs: number): void {
    this.forget(nowMs);
    this.wasDownMs = undefined;
  }

  private become(state: TunnelState, nowMs: number): void {
    this.wasDownMs = state === "unknown" && this.state === "down" ? this.sinceMs : undefined;
    this.state = state;
    this.sinceMs = nowMs;
    this.back = 0;
  }

  private result(bit: 0 | 1): void {
    this.results = ((this.results << 1) | bit) >>> 0;
    this.known = Math.min(this.known + 1, REMEMBERED);
  }

  /** `aroundMs`: what of a transit is not the tunnel's; undefined: that is not known. */
  seen(aroundMs: number | undefined): TunnelSeen {
    const { from, to, type, most } = this.ends;
    let arrived = 0;
    for (let bits = this.known === REMEMBERED ? this.results : this.results & ((1 << this.known) - 1); bits !== 0; bits = (bits & (bits - 1)) >>> 0) arrived++;
    const latency = this.transits.length === 0 || aroundMs === undefined ? null : Math.max(0, Math.min(...this.transits) - aroundMs);
    const mtu = this.search === undefined ? (this.fullSeen ? most : null) : this.searching ? null : this.search.low;
    return {
      id: this.id, from, to, type, state: this.state, since: timestampOf(this.sinceMs), latency_ms: latency === null ? null : Math.round(latency * 1000) / 1000,
      loss: this.known === 0 ? null : Math.round((1 - arrived / this.known) * 100) / 100, mtu, missing: this.search === undefined ? undefined : most, ...(this.wasDownMs !== undefined && { wasDown: timestampOf(this.wasDownMs) }),
    };
  }
}

/** Of the hosts that one has tunnels to, those that are watched: the nearest by their keys, on either side, so that each is watched by as many as it watches. */
export function watched<H extends { readonly key: number }>(own: number, hosts: readonly H[], most = PEERS_MAX): readonly H[] {
  const behind = (h: H): number => (h.key - own) & 0xffff;
  const ring = hosts.toSorted((a, b) => behind(a) - behind(b));
  if (ring.length <= most) return ring;
  const half = Math.floor(most / 2);
  return [...ring.slice(0, most - half), ...ring.slice(ring.length - half)];
}
