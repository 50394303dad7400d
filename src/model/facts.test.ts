import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defineSoftTable, defineTable, learned, type Row, type SoftTable } from "#app";
import { SimulatedClock } from "../lib/clock.ts";
import { Facts } from "./facts.ts";
import { Layer } from "./rows.ts";
import { View } from "./view.ts";

interface Seen extends Row {
  readonly ip: string;
}
const seen = defineSoftTable<Seen>()("seen", { ttlS: 10, limitPerOwner: 3, limit: 5, indexes: { ip: (s) => s.ip } });
const other = defineSoftTable<Seen>()("other", { ttlS: 10, limitPerOwner: 3, limit: 5 });

function make(table: SoftTable<Seen, "ip"> = seen): { clock: SimulatedClock; facts: Facts; evicted: string[]; learn: (owner: string, id: string, ip?: string) => void; ids: (owner?: string) => string[] } {
  const clock = new SimulatedClock();
  const evicted: string[] = [];
  const facts = new Facts([table], clock, (name, limit) => evicted.push(`${name} ${limit}`));
  return { clock, facts, evicted, learn: (owner, id, ip = "") => facts.learn(learned(table, owner, { id, ip })), ids: (owner) => facts.facts(table, owner).map((f) => f.id) };
}

describe("facts", () => {
  it("live for their time after they were last heard, and are found by id, index and owner meanwhile", () => {
    const { clock, facts, learn, ids } = make();
    learn("p1", "a", "10.0.0.1");
    clock.advance(6000);
    learn("p1", "b", "10.0.0.1");
    clock.advance(3999);
    expect(facts.fact(seen, "a")).toEqual({ id: "a", ip: "10.0.0.1" });
    expect(facts.factsBy(seen, "ip", "10.0.0.1").map((f) => f.id)).toEqual(["a", "b"]);
    expect(ids("p1")).toEqual(["a", "b"]);
    clock.advance(1);
    expect([facts.fact(seen, "a"), ids(), facts.factsBy(seen, "ip", "10.0.0.1").length]).toEqual([undefined, ["b"], 1]);
    learn("p1", "b", "10.0.0.2");
    clock.advance(9999);
    expect(facts.factsBy(seen, "ip", "10.0.0.2")).toHaveLength(1);
    expect(facts.factsBy(seen, "ip", "10.0.0.1")).toEqual([]);
    clock.advance(1);
    expect(ids()).toEqual([]);
    expect(facts.counts).toEqual([{ table: "seen", facts: 0 }]);
  });

  it("of one owner are limited: its own oldest goes, nobody else's", () => {
    const { learn, ids, evicted } = make();
    learn("calm", "x");
    for (const id of ["a", "b", "c", "a", "d"]) learn("loud", id);
    expect(ids("loud")).toEqual(["c", "a", "d"]);
    expect(ids("calm")).toEqual(["x"]);
    expect(evicted).toEqual(["seen owner"]);
  });

  it("of all are limited: the owner's oldest, or the table's oldest if it has none", () => {
    const { learn, ids, evicted } = make();
    for (const [owner, id] of [["p1", "a"], ["p1", "b"], ["p2", "c"], ["p2", "d"], ["p3", "e"]] as const) learn(owner, id);
    learn("p2", "f");
    expect(ids()).toEqual(["a", "b", "d", "e", "f"]);
    learn("p4", "g");
    expect(ids()).toEqual(["b", "d", "e", "f", "g"]);
    expect(evicted).toEqual(["seen table", "seen table"]);
  });

  const shared = defineSoftTable<Seen>()("shared", { ttlS: 10, limitPerOwner: 2, limit: 6, group: (s) => s.ip });

  it("of all are shared out by whom they count for, however many owners one has", () => {
    const { facts, learn, ids, evicted } = make(shared as SoftTable<Seen, "ip">);
    for (let n = 0; n < 10; n++) learn(`loud${n}`, `l${n}`, "loud");
    expect(ids()).toEqual(["l4", "l5", "l6", "l7", "l8", "l9"]);
    learn("calm", "c0", "calm");
    learn("calm", "c1", "calm");
    for (let n = 10; n < 30; n++) learn(`loud${n}`, `l${n}`, "loud");
    expect(ids("calm"), "the other's come and go").toEqual(["c0", "c1"]);
    expect(ids()).toEqual(["c0", "c1", "l26", "l27", "l28", "l29"]);
    learn("calm2", "c2", "calm");
    learn("calm2", "c3", "calm");
    expect(ids(), "who has as many as any gives of his own: the owner's oldest first").toEqual(["c0", "c1", "l27", "l28", "l29", "c3"]);
    expect(new Set(evicted)).toEqual(new Set(["shared table"]));
    // One that is heard of another again counts for that one.
    learn("calm", "l29", "calm");
    learn("loud30", "l30", "loud");
    expect(ids()).toEqual(["c1", "l27", "l28", "c3", "l29", "l30"]);
    expect(facts.counts).toEqual([{ table: "shared", facts: 6 }]);
  });

  it("never exceed a limit or their time, whatever is learned when", () => {
    const step = fc.record({ owner: fc.integer({ min: 0, max: 4 }), id: fc.integer({ min: 0, max: 12 }), waitMs: fc.integer({ min: 0, max: 6000 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { clock, learn, ids, facts } = make();
        const last = new Map<string, { owner: string; atMs: number }>();
        for (const { owner, id, waitMs } of steps) {
          clock.advance(waitMs);
          learn(`p${owner}`, `f${id}`);
          last.set(`f${id}`, { owner: `p${owner}`, atMs: clock.monotonic() });
          const now = ids();
          expect(now.length).toBeLessThanOrEqual(5);
          expect(now.at(-1)).toBe(`f${id}`);
          for (const f of now) expect(clock.monotonic() - last.get(f)!.atMs).toBeLessThan(10_000);
          let owned = 0;
          for (let o = 0; o < 5; o++) {
            const own = ids(`p${o}`);
            expect(own.length).toBeLessThanOrEqual(3);
            for (const f of own) expect(last.get(f)!.owner).toBe(`p${o}`);
            owned += own.length;
          }
          expect(owned).toBe(now.length);
          expect(facts.counts[0]!.facts).toBe(now.length);
        }
      }),
    );
  });

  it("of a table that nobody lists, or that has no limits, are an error that names it", () => {
    const { facts } = make();
    expect(() => facts.fact(other, "a")).toThrow("soft table other, which no app lists in its softTables");
    expect(() => facts.learn(learned(other, "p", { id: "a", ip: "" }))).toThrow("soft table other");
    expect(() => new Facts([seen, seen], new SimulatedClock())).toThrow("two apps declare a soft table named seen");
    for (const key of ["ttlS", "limit", "limitPerOwner"]) expect(() => new Facts([{ ...seen, [key]: 0 }], new SimulatedClock())).toThrow(`soft table seen: ${key} is 0`);
  });
});

describe("the view of every table", () => {
  const stored = defineTable<Seen>()("stored", { indexes: { ip: (s) => s.ip }, pairs: { pair: (s) => [s.ip, s.id] } });
  const derived = defineTable<Seen>()("derived", { derived: true, indexes: { ip: (s) => s.ip } });
  const unlisted = defineTable<Seen>()("unlisted", { indexes: { ip: (s) => s.ip }, pairs: { pair: (s) => [s.ip, s.id] } });
  const row = (id: string): Seen => ({ id, ip: "1" });
  const no = (table: { readonly name: string }): Error => new Error(`no ${table.name}`);
  const layers = (): { below: Layer; made: Layer; view: View } => {
    const below = new Layer(undefined, no);
    const made = new Layer(undefined, no);
    below.table(stored);
    made.table(derived);
    return { below, made, view: new View(below, made).with(make().facts) };
  };

  it("finds each row where it is kept, and a transaction's over it", () => {
    const { below, made, view } = layers();
    below.put(stored, row("a"));
    made.put(derived, row("d"));
    expect([view.get(stored, "a")?.id, view.by(derived, "ip", "1").length, view.count(stored, "ip", "1"), [...view.all(derived)].length]).toEqual(["a", 1, 1, 1]);
    const tx = new Layer(below);
    tx.put(stored, row("b"));
    const over = view.over(tx);
    expect([over.by(stored, "ip", "1").length, over.get(derived, "d")?.id, over.facts(seen)]).toEqual([2, "d", []]);
    expect(view.by(stored, "ip", "1")).toHaveLength(1);
  });

  it.each(["get", "by", "count", "all", "pairKeys", "byPair"] as const)("names the table when %s reads one that is not there, also within a transaction", (method) => {
    const { below, view } = layers();
    const read = (v: View): unknown => {
      if (method === "get") return v.get(unlisted, "a");
      if (method === "all") return [...v.all(unlisted)];
      if (method === "by" || method === "count") return v[method](unlisted, "ip", "1");
      return method === "pairKeys" ? v.pairKeys(unlisted, "pair", "1") : v.byPair(unlisted, "pair", "1", "a");
    };
    expect(() => read(view)).toThrow("no unlisted");
    expect(() => read(view.over(new Layer(new Layer(below))))).toThrow("no unlisted");
    expect(() => new View(below).get(derived, "d")).toThrow("derived table derived where nothing is compiled");
    expect(() => new View(below).facts(seen)).toThrow("soft table");
  });
});
