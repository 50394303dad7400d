import { expect, test } from "vitest";
import { ByteBudget } from "./byte-budget.ts";

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

test("one that wants more than there is at all gets nothing", () => {
  const budget = new ByteBudget(100);
  const all = budget.open(() => undefined);
  expect(all.add(101)).toBe(false);
  expect(budget.held).toBe(0);
});
