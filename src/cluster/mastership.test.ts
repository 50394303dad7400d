// How switches are shared: each has one master, shares are even, and what does not have to move stays.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { actorFor, assign, boundsOf, keyOfChassis, Mastership } from "./mastership.ts";

const hosts = Array.from({ length: 1000 }, (_, n) => `compute-${String(n).padStart(4, "0")}.example`);
const counts = (live: readonly string[], of: ReadonlyMap<string, string>): number[] => live.map((name) => [...of.values()].filter((master) => master === name).length);
/** Hosts that both know, and that have another master. */
const moved = (before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] => [...before].flatMap(([host, master]) => (after.has(host) && after.get(host) !== master ? [host] : []));

describe("1,000 switches over three controllers", () => {
  const names = [["a", "b", "c"], ["ctl1", "ctl2", "ctl3"], ["axion-0", "axion-1", "axion-2"], ["controller1.example", "controller2.example", "controller3.example"], ...Array.from({ length: 40 }, (_, n) => [`x${n}`, `y${n}`, `z${n}`])];
  test.each(names.map((n) => [n]))("%j: each has a third within a tenth", (live) => {
    for (const n of counts(live, assign(live, hosts))) expect(Math.abs(n - 1000 / 3)).toBeLessThan(1000 / 30);
  });

  test("as long as no bound binds, each has the member of the highest weight", () => {
    expect(assign(["a", "b", "c"], hosts)).toEqual(new Map([...hosts].map((host) => [host, actorFor(["a", "b", "c"], keyOfChassis(host))])));
  });
});

describe("any hosts over any members", () => {
  const world = fc.record({
    n: fc.integer({ min: 30, max: 5000 }), m: fc.integer({ min: 1, max: 7 }), seed: fc.string({ maxLength: 12 }), shuffled: fc.integer(),
  }).map(({ n, m, seed, shuffled }) => ({ hosts: Array.from({ length: n }, (_, i) => `${seed}${i}`), live: Array.from({ length: m }, (_, i) => `ctl${seed}${i}`), shuffled }));
  const runs = { numRuns: process.env.AXION_NIGHTLY === "1" ? 1000 : 40 };

  test("each has its share within a tenth, or the whole number next to it", () => {
    fc.assert(fc.property(world, ({ hosts, live }) => {
      const mean = hosts.length / live.length;
      const of = assign(live, hosts);
      expect(of.size).toBe(hosts.length);
      for (const n of counts(live, of)) expect(Math.abs(n - mean)).toBeLessThan(Math.max(1, mean / 10));
    }), runs);
  });

  test("their order does not matter", () => {
    fc.assert(fc.property(world, ({ hosts, live, shuffled }) => {
      const turn = <T>(list: readonly T[]): T[] => list.map((x, i) => [Math.imul(i + 1, shuffled | 1) >>> 0, x] as const).sort((a, b) => a[0] - b[0]).map(([, x]) => x);
      const of = assign(live, hosts);
      expect(moved(of, assign(turn(live), turn(hosts)))).toEqual([]);
    }), runs);
  });

  // Where a bound binds a host displaces another, which displaces another: rarely more than there are members.
  test("a host that comes or goes moves others by the dozen at the worst, and none as a rule", () => {
    let all = 0;
    let changes = 0;
    fc.assert(fc.property(world, ({ hosts, live }) => {
      const n = moved(assign(live, hosts), assign(live, [...hosts, "another one"])).length;
      expect(n).toBeLessThanOrEqual(5 * live.length);
      all += n;
      changes++;
    }), runs);
    expect(all / changes).toBeLessThan(2);
  });

  test("a member that comes or goes moves its share, and of others at the worst a quarter of what one has", () => {
    fc.assert(fc.property(world, ({ hosts, live }) => {
      const before = assign(live, hosts);
      const after = assign([...live, "another one"], hosts);
      const strayed = moved(before, after).filter((host) => after.get(host) !== "another one");
      expect(strayed.length).toBeLessThanOrEqual(4 * live.length + hosts.length / live.length / 4);
    }), runs);
  });
});

test("few hosts are shared out to the last: two controllers have one each of two", () => {
  for (let n = 0; n < 50; n++) expect(counts(["a", `b${n}`], assign(["a", `b${n}`], ["hv1", "hv2"]))).toEqual([1, 1]);
  expect(boundsOf(1000, 3)).toEqual({ least: 307, most: 360 });
  expect(boundsOf(2, 3)).toEqual({ least: 0, most: 1 });
  expect(assign([], hosts).size + assign(["a"], []).size).toBe(0);
});

test("64 members and 5,000 hosts: weights keep their order when bits of them have to go", () => {
  const live = Array.from({ length: 64 }, (_, n) => `ctl${n}`);
  const many = Array.from({ length: 5000 }, (_, n) => `hv${n}`);
  const of = assign(live, many);
  const { least, most } = boundsOf(5000, 64);
  for (const n of counts(live, of)) expect(n >= least && n <= most).toBe(true);
  expect([...of].filter(([host, master]) => actorFor(live, keyOfChassis(host)) !== master).length).toBeLessThan(700);
});

describe("what a member knows", () => {
  const members = { name: "a", holds: true, serving: ["a", "b"] };

  test("a host that is not known yet has the member of the highest weight, and its term follows the generation", () => {
    const mastership = new Mastership(members);
    expect(mastership.masterOf("hv1")).toBe(actorFor(members.serving, keyOfChassis("hv1")));
    const [one, two] = ["hv1", "hv2", "hv3", "hv4"].filter((host) => mastership.masterOf(host) === mastership.masterOf("hv1")) as [string, string];
    expect(mastership.learn([one, two], 7)).toHaveLength(1);
    expect(mastership.masterOf(one)).not.toBe(mastership.masterOf(two));
    expect([mastership.learn([two, one], 9), mastership.term, mastership.learn([one, two], 8), mastership.term]).toEqual([undefined, 9, undefined, 9]);
  });

  test("two that know the same have the same digests of shares, and who knows other hosts has others", () => {
    const [mine, other] = [new Mastership(members), new Mastership({ ...members, name: "b" })];
    mine.learn(hosts, 1);
    other.learn([...hosts].reverse(), 5);
    expect(["a", "b"].map((name) => mine.share(name))).toEqual(["a", "b"].map((name) => other.share(name)));
    other.learn(hosts.slice(1), 6);
    expect(mine.share("a") === other.share("a") && mine.share("b") === other.share("b")).toBe(false);
  });

  test("who has no lease acts for nothing, and is known as the master all the same", () => {
    const mastership = new Mastership({ name: "a", holds: false, serving: ["a"] });
    expect([mastership.masterOf("hv1"), mastership.masters("hv1"), mastership.acting]).toEqual(["a", false, []]);
  });
});
