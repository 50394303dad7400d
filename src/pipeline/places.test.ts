// Numbers of tables, and bits of registers, from one declaration to the next: what stays, what moves, and that nothing meets.
import { describe, expect, test } from "vitest";
import type { RegisterDecl } from "#app";
import { SeededRandom } from "../lib/random.ts";
import { placeTables, TABLES } from "./places.ts";
import { allocateRegisters, type Register } from "./registers.ts";

interface Table {
  readonly name: string;
  readonly app: string;
  readonly stage: string;
}
const tables = (names: string): Table[] => names.split("").map((name) => ({ name, app: `app of ${name}`, stage: "forward" }));
const recorded = (list: readonly Table[], ids: readonly number[]): Parameters<typeof placeTables>[1] => {
  const out = Array.from({ length: ids.at(-1)! + 1 }, () => ({ name: "", app: "", matches: [] as string[] }));
  list.forEach(({ name, app }, at) => (out[ids[at]!] = { name, app, matches: [] }));
  return { tables: out, registers: [] };
};
/** Numbers of `names` when those of `before` stood there. */
const after = (before: string, ids: readonly number[], names: string): number[] => placeTables(tables(names), recorded(tables(before), ids));

describe("numbers of tables", () => {
  test("for the first time: in their order, with room behind what an app has in one stage, as much as there is", () => {
    const two = (app: string, stage: string): Table[] => [{ name: `${app}1`, app, stage }, { name: `${app}2`, app, stage }];
    expect(placeTables([...two("a", "x"), ...two("b", "x"), ...two("b", "y")])).toEqual([0, 1, 5, 6, 10, 11]);
    const many = Array.from({ length: 120 }, (_, i) => ({ name: `${i}`, app: `${i}`, stage: "x" }));
    expect(placeTables(many)).toEqual(many.map((_, i) => 2 * i));
    expect(placeTables(many.slice(0, 1))).toEqual([0]);
    const full = Array.from({ length: TABLES }, (_, i) => ({ name: `${i}`, app: `${i}`, stage: "x" }));
    expect(placeTables(full)).toEqual(full.map((_, i) => i));
    expect(() => placeTables([...full, { name: "more", app: "more", stage: "x" }])).toThrow("254 tables are declared; a switch has 253");
  });

  test("who stood there stays; who comes stands between; who is gone leaves room", () => {
    expect(after("abc", [0, 4, 8], "abc")).toEqual([0, 4, 8]);
    expect(after("abc", [0, 4, 8], "axbc")).toEqual([0, 2, 4, 8]);
    expect(after("abc", [0, 4, 8], "axyzbc")).toEqual([0, 1, 2, 3, 4, 8]);
    expect(after("abc", [0, 4, 8], "ac")).toEqual([0, 8]);
    expect(after("abc", [0, 4, 8], "abcx")).toEqual([0, 4, 8, 12]);
  });

  test("where there is no room, or another order, as few move as can", () => {
    expect(after("abcd", [0, 1, 2, 9], "axbcd")).toEqual([0, 2, 4, 6, 9]);
    const moved = (before: string, ids: readonly number[], names: string): string => after(before, ids, names).map((id, at) => (before.includes(names[at]!) && ids[before.indexOf(names[at]!)] !== id ? names[at]! : "")).join("");
    expect(moved("abcd", [0, 1, 2, 9], "axbcd")).toBe("bc");
    expect(moved("abcd", [0, 4, 8, 12], "acbd")).toHaveLength(1);
    expect(moved("abcd", [0, 4, 8, 12], "adbc")).toBe("d");
    expect(moved("abc", [0, TABLES - 2, TABLES - 1], "abxc")).toMatch(/^[bc]$/);
  });

  test("the first is where packets come in, whatever stood there", () => {
    expect(after("abc", [0, 4, 8], "bac")[0]).toBe(0);
    expect(after("abc", [3, 4, 8], "abc")).toEqual([0, 4, 8]);
  });

  test.each([1, 2, 3, 4, 5])("whatever comes, goes and changes places, they go up, and the same again stays (seed %i)", (seed) => {
    const random = new SeededRandom(seed);
    let list = tables("a");
    let ids = placeTables(list);
    for (let n = 0; n < 300; n++) {
      const before = new Map(list.map((t, at) => [t.name, ids[at]!]));
      const record = recorded(list, ids);
      const swapped = random.next() < 0.1;
      list = list.filter((t) => t.name === "a" || random.next() > 0.05);
      for (let more = Math.floor(random.next() * 12); more > 0 && list.length < TABLES; more--) list.splice(1 + Math.floor(random.next() * list.length), 0, { name: `${n} ${more}`, app: "x", stage: "x" });
      if (swapped && list.length > 2) list.splice(1, 0, list.pop()!);
      ids = placeTables(list, record);
      expect(ids[0]).toBe(0);
      for (let at = 1; at < ids.length; at++) expect(ids[at]!).toBeGreaterThan(ids[at - 1]!);
      expect(ids.at(-1)!).toBeLessThan(TABLES);
      expect(placeTables(list, recorded(list, ids))).toEqual(ids);
      const moved = list.filter((t, at) => before.has(t.name) && before.get(t.name) !== ids[at]);
      if (!swapped && list.every((t) => before.has(t.name))) expect(moved).toEqual([]);
    }
  });
});

test("as few move as can: no other choice of those that stay is larger", () => {
  const random = new SeededRandom(7);
  for (let n = 0; n < 300; n++) {
    const before = "abcdefgh".split("").sort(() => random.next() - 0.5).join("");
    let id = -1;
    const ids = before.split("").map(() => (id += 1 + Math.floor(random.next() * 3)));
    const names = `${before[0]}${"abcdefghxy".split("").filter((c) => c !== before[0]).sort(() => random.next() - 0.5).join("")}`;
    const was = names.split("").map((c) => (before.includes(c) ? ids[before.indexOf(c)]! : undefined));
    let most = 0;
    for (let chosen = 0; chosen < 1 << names.length; chosen++) {
      let [count, last] = [0, { at: 0, id: 0 }];
      const fits = was.every((w, at) => {
        if (at === 0 || (chosen & (1 << at)) === 0) return true;
        if (w === undefined || w - last.id < at - last.at) return false;
        [count, last] = [count + 1, { at, id: w }];
        return true;
      });
      if (fits) most = Math.max(most, count);
    }
    expect(after(before, ids, names).filter((to, at) => at > 0 && was[at] === to).length, `${before} ${ids.join()} -> ${names}`).toBeGreaterThanOrEqual(most);
  }
});

describe("bits of registers", () => {
  const decl = (bits: RegisterDecl["bits"], scratch = false): RegisterDecl => ({ bits, about: "", ...(scratch && { scratch }) });
  type Owners = Parameters<typeof allocateRegisters>[0];
  const places = (registers: ReadonlyMap<string, Register>): string[] => Array.from(registers.values(), ({ name, field, ofs, bits }) => `${name} ${field} ${ofs} ${bits}`);
  const words = ({ field, ofs, bits }: Register): number[] => {
    const [, wide, digits] = /^(xx)?reg(\d+)$/.exec(field) ?? [];
    const first = digits === undefined ? 512 + ofs : wide === undefined ? 32 * Number(digits) + ofs : 128 * Number(digits);
    return Array.from({ length: bits }, (_, n) => first + n);
  };
  function meet(registers: ReadonlyMap<string, Register>): string[] {
    const bits = new Map<number, Register>();
    const out: string[] = [];
    for (const r of registers.values()) {
      const at = words(r);
      if (at.at(-1)! >= 576 || (r.bits < 128 && Math.floor(at[0]! / 32) !== Math.floor(at.at(-1)! / 32))) out.push(`${r.name} is in no word`);
      for (const bit of at) {
        const other = bits.get(bit);
        if (other !== undefined && !(other.scratch && r.scratch && other.app !== r.app)) out.push(`${other.name} meets ${r.name}`);
        bits.set(bit, r);
      }
    }
    return out;
  }

  test.each([1, 2, 3, 4, 5, 6])("whatever comes and goes, none meets another, those that stay stay, and the same again is the same (seed %i)", (seed) => {
    const random = new SeededRandom(seed);
    let apps: Owners = [];
    let kept = allocateRegisters(apps);
    let anew = 0;
    for (let n = 0; n < 200; n++) {
      const more = random.next() < 0.6 ? [{ app: `app${n}`, registers: Object.fromEntries(Array.from({ length: 1 + Math.floor(random.next() * 3) }, (_, i) => [`r${n}_${i}`, decl(([1, 8, 16, 32] as const)[Math.floor(random.next() * 4)]!, random.next() < 0.3)])) }] : [];
      const next = [...apps.filter(() => random.next() > 0.15), ...more];
      let made: ReadonlyMap<string, Register>;
      try {
        made = allocateRegisters(next, [...kept.values()]);
      } catch (error) {
        expect(String(error)).toMatch(/a switch has 16 words/);
        expect(() => allocateRegisters(next), "nor would they for the first time").toThrow();
        continue;
      }
      expect(meet(made)).toEqual([]);
      const moved = [...made.values()].filter((r) => kept.has(r.name) && words(kept.get(r.name)!).join() !== words(r).join());
      if (moved.length > 0) {
        anew++;
        expect(places(made)).toEqual(places(allocateRegisters(next)));
      }
      expect(places(allocateRegisters(next, [...made.values()]))).toEqual(places(made));
      [apps, kept] = [next, made as typeof kept];
    }
    expect(anew).toBeLessThan(60);
  });

  test("one that has another width, or is scratch where others are, has another place", () => {
    const one = (bits: RegisterDecl["bits"], scratch = false): Owners => [{ app: "a", registers: { x: decl(bits, scratch) } }, { app: "b", registers: { y: decl(8, true) } }];
    const before = allocateRegisters(one(8, true));
    expect(words(before.get("x")!)).toEqual(words(before.get("y")!));
    for (const next of [one(8), one(16), one(16, true), one("ip")]) {
      const made = allocateRegisters(next, [...before.values()]);
      expect(meet(made)).toEqual([]);
      expect(made.get("net")).toEqual(before.get("net"));
    }
  });
});
