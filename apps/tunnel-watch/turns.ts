// Whose probe is sent next, of all tunnels: so many a second in all, so many to one host, and each host as often as any other. Those in doubt come out of turn, for half
// of what there is, so that a cut is known soon, and those that are down for a quarter, so that it is known when they are back.
import type { Pace, Tunnel } from "./tunnel.ts";

/** Milliseconds between two probes of a tunnel, where there are few enough. */
const APART_MS = 2000;
const SOON_MS = 300;
/** Probes a second to one host; what arrives there passes a meter. */
const TO_HOST = 16;
/** Of those that are cut at once, so many to one host are looked into at a time. */
const IN_DOUBT = 8;
/** Seconds of which what was not used is kept. */
const SAVED_S = 0.5;

interface Waiting {
  readonly tunnel: Tunnel;
  readonly dueMs: number;
}

class Source {
  tunnels: Tunnel[] = [];
  at = 0;
}

class Target {
  /** Tunnels that lead there, and those of them in doubt. */
  tunnels = 0;
  doubted = 0;
  left = TO_HOST;
  atMs = 0;

  take(nowMs: number): boolean {
    this.left = Math.min(TO_HOST, this.left + ((nowMs - this.atMs) / 1000) * TO_HOST);
    this.atMs = nowMs;
    if (this.left < 1) return false;
    this.left--;
    return true;
  }
}

export class Turns {
  private readonly perSecond: number;
  private readonly sources = new Map<string, Source>();
  private readonly targets = new Map<string, Target>();
  private order: Source[] = [];
  private turn = 0;
  private readonly queues: Record<Exclude<Pace, "turn">, Waiting[]> = { now: [], soon: [], later: [] };
  private left = 0;
  private atMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.atMs = nowMs;
  }

  /** The tunnels of a host, in the order in which they take turns; those that it had before and has not now are gone. */
  set(from: string, tunnels: readonly Tunnel[]): void {
    let source = this.sources.get(from);
    for (const tunnel of source?.tunnels ?? []) this.target(tunnel).tunnels--;
    for (const tunnel of tunnels) this.target(tunnel).tunnels++;
    if (tunnels.length === 0) this.sources.delete(from);
    else {
      if (source === undefined) this.sources.set(from, (source = new Source()));
      source.tunnels = [...tunnels];
    }
    this.order = [...this.sources.values()];
    for (const [id, { tunnels: n }] of this.targets) if (n === 0) this.targets.delete(id);
  }

  private target({ ends }: Tunnel): Target {
    let target = this.targets.get(ends.to);
    if (target === undefined) this.targets.set(ends.to, (target = new Target()));
    return target;
  }

  /** What came of a probe is known. */
  done(tunnel: Tunnel, nowMs: number): void {
    tunnel.busy = false;
    const { pace } = tunnel;
    if (tunnel.gone || pace === "turn") return;
    const target = this.target(tunnel);
    if (pace !== "later") {
      if (target.doubted >= IN_DOUBT) return;
      target.doubted++;
    }
    tunnel.busy = true;
    this.queues[pace].push({ tunnel, dueMs: nowMs + (pace === "now" ? 0 : pace === "soon" ? SOON_MS : APART_MS) });
  }

  /** So many may be sent now, beside tunnels too: `spend` takes of them. */
  allowance(nowMs: number): number {
    this.left = Math.min(this.perSecond * SAVED_S, this.left + ((nowMs - this.atMs) / 1000) * this.perSecond);
    this.atMs = nowMs;
    return Math.floor(this.left);
  }
  spend(n: number): void {
    this.left -= n;
  }

  /** Tunnels whose turn it is; each is busy until `done`. `may`: whether a probe makes sense now; one that may not has lost its turn. */
  take(nowMs: number, may: (tunnel: Tunnel) => boolean): Tunnel[] {
    const most = this.allowance(nowMs);
    const out: Tunnel[] = [];
    const doubted = Math.ceil(most / 2);
    for (const pace of ["now", "soon"] as const) this.queued(pace, nowMs, doubted - out.length, out, may);
    this.queued("later", nowMs, Math.ceil(most / 4), out, may);
    this.inTurn(nowMs, most - out.length, out, may);
    this.spend(out.length);
    return out;
  }

  private queued(pace: Exclude<Pace, "turn">, nowMs: number, most: number, out: Tunnel[], may: (tunnel: Tunnel) => boolean): void {
    const queue = this.queues[pace];
    let due = queue.findIndex((w) => w.dueMs > nowMs);
    if (due < 0) due = queue.length;
    const kept: Waiting[] = [];
    let taken = 0;
    let at = 0;
    for (; at < due && taken < most; at++) {
      const { tunnel } = queue[at]!;
      // Of a tunnel that is gone the host may be, too.
      const target = tunnel.gone ? this.targets.get(tunnel.ends.to) : this.target(tunnel);
      if (!tunnel.gone && target?.take(nowMs) === false) {
        kept.push(queue[at]!);
        continue;
      }
      if (pace !== "later" && target !== undefined) target.doubted = Math.max(0, target.doubted - 1);
      tunnel.busy = false;
      if (tunnel.gone || !may(tunnel)) continue;
      tunnel.busy = true;
      tunnel.sentMs = nowMs;
      out.push(tunnel);
      taken++;
    }
    // What was not taken stays before what is due later.
    if (at > 0) queue.splice(0, at, ...kept);
  }

  private inTurn(nowMs: number, most: number, out: Tunnel[], may: (tunnel: Tunnel) => boolean): void {
    let taken = 0;
    for (let looked = 0; looked < this.order.length && taken < most; looked++) {
      const source = this.order[this.turn++ % this.order.length]!;
      const tunnel = this.nextOf(source, nowMs);
      if (tunnel === undefined || !this.target(tunnel).take(nowMs)) continue;
      source.at++;
      if (!may(tunnel)) continue;
      tunnel.busy = true;
      tunnel.sentMs = nowMs;
      out.push(tunnel);
      taken++;
      // Whoever had a turn may have another when all had theirs.
      looked = -1;
    }
  }

  /** The tunnel of a host whose turn it is, if its time has come. */
  private nextOf(source: Source, nowMs: number): Tunnel | undefined {
    for (let n = 0; n < source.tunnels.length; n++) {
      const tunnel = source.tunnels[source.at % source.tunnels.length]!;
      if (!tunnel.busy) return nowMs - tunnel.sentMs >= Math.max(APART_MS, (this.target(tunnel).tunnels * 2000) / TO_HOST) ? tunnel : undefined;
      source.at++;
    }
    return undefined;
  }
}
