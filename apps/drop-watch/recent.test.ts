// When packets that are dropped are told of as going on, and when they have ceased.
import { expect, test } from "vitest";
import { Recent } from "./recent.ts";

/** One look each two seconds; what the flow counts at each. */
function looks(recent: Recent, counts: readonly number[], from = 0): number {
  counts.forEach((packets, i) => recent.look(packets, packets * 100, from + i * 2000, 2000));
  return from + (counts.length - 1) * 2000;
}

test("one packet each second goes on from the third look that finds more", () => {
  const recent = new Recent(0);
  looks(recent, [2, 4]);
  expect(recent.persistentMs).toBeUndefined();
  const now = looks(recent, [6], 4000);
  expect([recent.persistentMs, recent.lastMinute(), recent.perSecond(now), recent.lastSeenMs]).toEqual([0, 6, 0.6, 4000]);
});

test("a stray packet, a few, and a burst do not", () => {
  for (const counts of [[1, 1, 1, 1, 1, 1], [1, 2, 2, 3, 3, 4, 4], [5000, 5000, 5000, 5000], [3000, 5000, 5000, 5000]]) {
    const recent = new Recent(0);
    looks(recent, counts);
    expect(recent.persistentMs, counts.join()).toBeUndefined();
  }
});

test("it has ceased after fifteen seconds without any, and a minute later nothing is left of it", () => {
  const recent = new Recent(0);
  looks(recent, [2, 4, 6, 6, 6, 6, 6, 6, 6, 6]);
  expect(recent.persistentMs).toBe(0);
  looks(recent, [6], 22_000);
  expect(recent.persistentMs).toBeUndefined();
  expect(recent.moves).toBe(true);
  looks(recent, [6], 64_001);
  expect([recent.moves, recent.lastMinute(), recent.packets]).toEqual([false, 0, 6]);
});

test("what was counted before the first look is of no time; flows that are written anew count from 0", () => {
  const recent = new Recent(500);
  looks(recent, [500, 500]);
  expect([recent.lastSeenMs, recent.lastMinute()]).toEqual([undefined, 0]);
  looks(recent, [3], 4000);
  expect([recent.packets, recent.lastMinute()]).toEqual([3, 3]);
});
