// What rules want of a host's database and the database does not take: a value out of its range, a column that is not there. It costs
// the wish alone: that is left as it is for a while and named, all else of the host goes on.
import { OvsdbConnectionError, OvsdbError, OvsdbProtocolError, type Operation } from "ovsdb-client";
import type { OvsPatch } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import type { Clock } from "../../lib/clock.ts";
import { patchWish, RESTORE, rowWish } from "./wishes.ts";

/** After this long a wish that the database refused is tried again, and one that somebody undid. */
const REFUSED_MS = 60_000;
const UNDONE_MS = 5000;
/** So many wishes are told apart by what the database says of each; of more the rest is refused with them. */
const EACH = 16;

type Wishes = ReadonlyMap<Operation, string>;

export class RefusedWishes {
  private readonly refused = new Map<string, { readonly problem: string; readonly until: number }>();
  private readonly clock: Clock;
  private readonly again: () => void;
  private cancel: (() => void) | undefined;

  /** `again`: a wish may be tried again. */
  constructor(clock: Clock, again: () => void) {
    this.clock = clock;
    this.again = again;
  }

  /** A transaction failed. @throws the error when it is about no wish */
  failed(wishes: Wishes, error: unknown, operations: readonly Operation[]): void {
    if (error instanceof OvsdbConnectionError || error instanceof OvsdbProtocolError) throw error;
    const at = error instanceof OvsdbError ? error.opIndex : undefined;
    this.refuse(culprits(wishes, at === undefined ? undefined : operations[at], this.refused.size < EACH), error, REFUSED_MS);
  }

  /** A transaction had no effect, as somebody undid it or the switch does not keep it. @throws the error when it is about no wish */
  undone(wishes: Wishes, error: Error): void {
    this.refuse(culprits(wishes, undefined, false), error, UNDONE_MS);
  }

  private refuse(wishes: readonly string[], error: unknown, ms: number): void {
    if (wishes.length === 0) throw error;
    const problem = `it is left as it is for a while: ${error instanceof Error ? error.message : String(error)}`;
    const until = this.clock.monotonic() + ms;
    for (const wish of wishes) this.refused.set(wish, { problem, until });
    this.cancel?.();
    const soonest = Math.min(...Array.from(this.refused.values(), (r) => r.until)) - this.clock.monotonic();
    this.cancel = this.clock.setTimeout(() => {
      this.cancel = undefined;
      this.again();
    }, Math.max(soonest, 0));
  }

  /** Of wishes that still are, those to be left alone, and why. */
  of(rows: readonly DesiredRow[], patches: readonly OvsPatch[]): ReadonlyMap<string, string> {
    if (this.refused.size > 0) {
      const now = this.clock.monotonic();
      const wanted = new Set([...rows.map(rowWish), ...patches.map(patchWish)]);
      for (const [wish, { until }] of this.refused) if (until <= now || !(wanted.has(wish) || wish.startsWith(RESTORE))) this.refused.delete(wish);
    }
    return new Map(Array.from(this.refused, ([wish, { problem }]) => [wish, problem]));
  }

  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
  }
}

/** Whose fault it is that an operation failed: of one that is nobody's wish nobody's; where no one operation failed everybody's, tunnels last. */
function culprits(wishes: Wishes, failed: Operation | undefined, each: boolean): readonly string[] {
  if (failed !== undefined) {
    const wish = wishes.get(failed);
    if (wish === undefined || each) return wish === undefined ? [] : [wish];
  }
  const all = [...wishes.values()];
  const beside = all.filter((wish) => !wish.startsWith("row Port "));
  return beside.length > 0 ? beside : all;
}
