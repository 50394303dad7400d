// How switches are shared: each has one master, shares are alike, and what does not have to move stays.
import { describe, expect, test } from "vitest";
import { actorFor, keyOfChassis, Mastership } from "./mastership.ts";

const hosts = Array.from({ length: 1000 }, (_, n) => `compute-${String(n).padStart(4, "0")}.example`);
const shares = (live: readonly string[]): Map<string, string[]> => {
  const out = new Map<string, string[]>(live.map((name) => [name, []]));
  for (const host of hosts) out.get(actorFor(live, keyOfChassis(host))!)!.push(host);
  return out;
};

describe("1,000 switches over three controllers", () => {
  const names = [["a", "b", "c"], ["ctl1", "ctl2", "ctl3"], ["axion-0", "axion-1", "axion-2"], ["controller1.example", "controller2.example", "controller3.example"]];

  // A hash spreads as chance does: 15 of 333 are one standard deviation, and four of these are less than anything odd would be.
  test.each(names.map((n) => [n]))("%j: each has a third, as nearly as chance makes it", (live) => {
    for (const [, own] of shares(live)) expect(Math.abs(own.length - 1000 / 3)).toBeLessThan(60);
  });

  test("over many names a share is off by a tenth once in ten times at most, and by a quarter never", () => {
    let beyond = 0;
    for (let n = 0; n < 100; n++) {
      const off = [...shares([`x${n}`, `y${n}`, `z${n}`]).values()].map((own) => Math.abs(own.length - 1000 / 3) / (1000 / 3));
      if (Math.max(...off) > 0.1) beyond++;
      expect(Math.max(...off)).toBeLessThan(0.25);
    }
    expect(beyond).toBeLessThanOrEqual(10);
  });

  test("who goes leaves its own to the others, who comes takes its own from them, and nothing else moves", () => {
    const three = shares(["a", "b", "c"]);
    const two = shares(["a", "b"]);
    const four = shares(["a", "b", "c", "d"]);
    for (const name of ["a", "b"]) {
      expect(three.get(name)!.filter((host) => !two.get(name)!.includes(host))).toEqual([]);
      expect(four.get(name)!.filter((host) => !three.get(name)!.includes(host))).toEqual([]);
      expect(two.get(name)!.length).toBeGreaterThan(three.get(name)!.length + 100);
    }
  });

  test("their order does not matter", () => {
    for (const host of hosts.slice(0, 100)) expect(actorFor(["c", "a", "b"], host)).toBe(actorFor(["a", "b", "c"], host));
    expect(actorFor([], "hv1")).toBeUndefined();
  });
});

test("who has no lease acts for nothing, and is known as the master all the same", () => {
  const mastership = new Mastership({ name: "a", holds: false, serving: ["a"] });
  expect([mastership.masterOf("hv1"), mastership.masters("hv1"), mastership.acting]).toEqual(["a", false, []]);
});
