import { expect, test } from "vitest";
import { ByteBudget, type Holding } from "./byte-budget.ts";

test("whoever holds most gives way to one that holds little, and is told once", () => {
  const budget = new ByteBudget(100);
  const gone: string[] = [];
  const large = budget.open(() => gone.push("large"));
  const small = budget.open(() => gone.push("small"));
  expect(large.add(90)).toBe(true);
  expect(small.add(20)).toBe(true);
  expect(gone).toEqual(["large"]);
  expect(large.add(1)).toBe(false);
  expect(budget.held).toBe(20);
  large.end();
  small.end();
  expect(budget.held).toBe(0);
  expect(gone).toEqual(["large"]);
});

test("what is held may become less, and then others have the room", () => {
  const budget = new ByteBudget(100);
  const gone: string[] = [];
  const [one, two] = ["one", "two"].map((name) => budget.open(() => gone.push(name))) as [Holding, Holding];
  expect(one.set(90)).toBe(true);
  expect(one.set(10)).toBe(true);
  expect(two.set(90)).toBe(true);
  expect(budget.held).toBe(100);
  expect(two.set(91)).toBe(false);
  expect(gone).toEqual(["two"]);
  expect(budget.held).toBe(10);
});

test("one that wants more than there is at all gets nothing", () => {
  const budget = new ByteBudget(100);
  const all = budget.open(() => undefined);
  expect(all.add(101)).toBe(false);
  expect(budget.held).toBe(0);
});
