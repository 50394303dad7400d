// What is left of ranges without those that are somebody's.
import { expect, test } from "vitest";
import { without } from "./model.ts";

test("what is left of a range without others", () => {
  const left = (from: number, to: number, ...taken: (readonly [number, number])[]): (readonly number[])[] =>
    without({ physical_network: null, from, to }, taken.map(([a, b]) => ({ physical_network: null, from: a, to: b }))).map((r) => [r.from, r.to]);
  expect(left(10, 20)).toEqual([[10, 20]]);
  expect(left(10, 20, [1, 9], [21, 30])).toEqual([[10, 20]]);
  expect(left(10, 20, [1, 10], [15, 16], [20, 30])).toEqual([[11, 14], [17, 19]]);
  expect(left(10, 20, [12, 12], [13, 13])).toEqual([[10, 11], [14, 20]]);
  expect(left(10, 20, [10, 20])).toEqual([]);
  expect(left(10, 20, [1, 99])).toEqual([]);
  expect(left(10, 10, [10, 10])).toEqual([]);
});
