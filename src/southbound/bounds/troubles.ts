// Peers that go over a limit: one line in the log when it begins, a count while it goes on, a problem until it has been over for a while.
// What is wrong with single connections is logged line by line, up to a number for each address; the rest is counted.
import type { Logger } from "pino";
import type { Clock } from "../../lib/clock.ts";
import type { Problem } from "../../lib/problem.ts";
import { cut } from "../../lib/text.ts";
import { placeOf } from "../identity.ts";
import { Lines } from "./lines.ts";

export interface Trouble {
  /** Id of its chassis, or its address. */
  readonly who: string;
  readonly chassis?: string | undefined;
  /** Which limit: for programs, and tells it from others of the same peer. */
  readonly limit: string;
  /** As a sentence whose subject is the peer, without it. */
  readonly text: string;
  readonly cure: string;
}

interface Kept extends Trouble {
  readonly since: number;
  last: number;
  count: number;
}

/** What is not repeated for this long is over. */
export const TROUBLE_MS = 60_000;
const LIMIT = 256;
/** Lines about one address and port in a minute, and in all. */
const LINES = { perPeer: 20, total: 200 };
const TEXT = 300;

/** What peers say in their own words, fit for a line: without control characters, and not too long. */
export function shown(text: string, length = TEXT): string {
  return cut(text, length).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "?");
}

export class Troubles {
  private readonly clock: Clock;
  private readonly kept = new Map<string, Kept>();
  private readonly lines: Lines;

  constructor(log: Logger, clock: Clock) {
    this.clock = clock;
    this.lines = new Lines({ log, clock, ...LINES, summary: "lines about connections that failed were left out in the last minute" });
  }

  over(trouble: Trouble): void {
    const now = this.clock.monotonic();
    const key = `${placeOf(trouble.who)} ${trouble.limit}`;
    const before = this.kept.get(key);
    if (before !== undefined && now - before.last < TROUBLE_MS) {
      before.count++;
      before.last = now;
      return;
    }
    if (before === undefined && this.kept.size >= LIMIT) {
      this.forgetOld(now);
      if (this.kept.size >= LIMIT) this.kept.delete(this.kept.keys().next().value!);
    }
    this.kept.delete(key);
    this.kept.set(key, { ...trouble, since: this.clock.now(), last: now, count: 1 });
    this.line(trouble.limit, trouble.who, { peer: trouble.who, limit: trouble.limit, reason: trouble.text, ...(before !== undefined && { before: before.count }) }, "peer goes over a limit");
  }

  /** A line about one connection, unless there were many about its address. `about`: the port, or what sort of line it is. */
  line(about: string, address: string, fields: Readonly<Record<string, unknown>>, message: string): void {
    this.lines.write(about, address, fields, message);
  }

  *problems(): Iterable<Problem> {
    this.forgetOld(this.clock.monotonic());
    for (const { who, chassis, limit, text, cure, since, count } of this.kept.values()) {
      yield {
        kind: "peer_limit", severity: "warning", since: new Date(since).toISOString(), resources: [], switches: chassis === undefined ? [] : [chassis],
        text: `${who} ${text} (limit ${limit}, ${count} times)`, cure: { text: cure },
      };
    }
  }

  private forgetOld(now: number): void {
    for (const [key, { last }] of this.kept) if (now - last >= TROUBLE_MS) this.kept.delete(key);
  }
}
