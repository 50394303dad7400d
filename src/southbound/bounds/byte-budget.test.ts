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

test("who holds much by little on many connections gives way to one that holds more on a single one", () => {
  const budget = new ByteBudget(1000);
  const gone: string[] = [];
  const many = Array.from({ length: 80 }, (_, n) => budget.of({ name: "many" }).open(() => gone.push(`many ${n}`)));
  for (const [n, one] of many.entries()) one.set(n === 40 ? 13 : 12);
  const single = budget.of({ name: "single" }).open(() => gone.push("single"));
  expect(single.set(300)).toBe(true);
  expect(gone[0]).toBe("many 40");
  expect(gone).not.toContain("single");
  expect(budget.held).toBeLessThanOrEqual(1000);
});

test("strangers give way before hosts, unless they hold little: a host that hoards does not keep new ones out", () => {
  const budget = new ByteBudget(100);
  const gone: string[] = [];
  let proved = false;
  const open = (name: string, stranger: () => boolean): Holding => budget.open(() => gone.push(name), { name, stranger });
  const host = open("host", () => false);
  const one = open("one", () => !proved);
  expect(host.set(60)).toBe(true);
  expect(one.set(30)).toBe(true);
  const two = open("two", () => true);
  expect(two.set(20)).toBe(true);
  expect(gone).toEqual(["one"]);
  expect(host.set(90)).toBe(false); // strangers have 20 of 100
  expect(gone).toEqual(["one", "host"]);
  const three = open("three", () => !proved);
  expect(three.set(70)).toBe(true);
  proved = true;
  expect(two.set(35)).toBe(false); // a host by now: the stranger goes, although it holds less
  expect(gone).toEqual(["one", "host", "two"]);
});
