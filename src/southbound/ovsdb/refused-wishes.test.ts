// What was left alone is tried again when its time is over: each, also when several were refused at different times, and when a timer is early.
import { expect, test } from "vitest";
import type { Operation } from "ovsdb-client";
import { SimulatedClock, type Cancel } from "../../lib/clock.ts";
import type { DesiredRow } from "../../compiler/desired.ts";
import { rowWish } from "./wishes.ts";
import { RefusedWishes } from "./refused-wishes.ts";

const rows: DesiredRow[] = [{ table: "Queue", key: "a", columns: {} }, { table: "Queue", key: "b", columns: {} }];
const [a, b] = rows.map(rowWish) as [string, string];
const operation: Operation = { op: "comment", comment: "x" };
const wish = (name: string): ReadonlyMap<Operation, string> => new Map([[operation, name]]);

test("two that were refused at different times are each tried when their time is over", () => {
  const clock = new SimulatedClock();
  let left: readonly string[] = [];
  const refused = new RefusedWishes(clock, () => (left = [...refused.of(rows, []).keys()]));
  refused.undone(wish(a), new Error("gone"));
  clock.advance(1000);
  refused.undone(wish(b), new Error("gone"));
  expect([...refused.of(rows, []).keys()]).toEqual([a, b]);
  clock.advance(4001);
  expect(left).toEqual([b]);
  clock.advance(1000);
  expect(left).toEqual([]);
  expect([...refused.of(rows, []).keys()]).toEqual([]);
});

test("a timer that comes a moment early leaves nothing waiting for ever", () => {
  /** As Node's, whose timers count whole milliseconds. */
  class Early extends SimulatedClock {
    override setTimeout(fn: () => void, ms: number): Cancel {
      return super.setTimeout(fn, Math.max(ms - 1, 1));
    }
  }
  const clock = new Early();
  let tried = false;
  const refused = new RefusedWishes(clock, () => (tried = refused.of(rows, []).size === 0));
  refused.undone(wish(a), new Error("gone"));
  clock.advance(5010);
  expect(tried).toBe(true);
});
