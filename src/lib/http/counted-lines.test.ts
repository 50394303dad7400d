import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CountedLines } from "./counted-lines.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("the first of a kind at once, then one a minute with how many more", () => {
  const said: unknown[] = [];
  const lines = new CountedLines({ warn: (...args: unknown[]) => void said.push(args) }, 1000);
  const take = (): unknown[] => said.splice(0);
  for (let i = 0; i < 5; i++) lines.warn("a", { i });
  lines.warn("b", { i: 0 });
  expect(take()).toEqual([[{ i: 0 }, "a"], [{ i: 0 }, "b"]]);
  vi.advanceTimersByTime(999);
  expect(take()).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(take()).toEqual([[{ i: 4, times: 4 }, "a"]]);
  lines.warn("b", { i: 1 });
  expect(take()).toEqual([[{ i: 1 }, "b"]]);
  lines.warn("a", { i: 5 });
  expect(take()).toEqual([]);
  vi.advanceTimersByTime(1000);
  expect(take()).toEqual([[{ i: 5 }, "a"]]);
  vi.advanceTimersByTime(10_000);
  expect(take()).toEqual([]);
  lines.warn("a", { i: 6 });
  expect(take()).toEqual([[{ i: 6 }, "a"]]);
});
