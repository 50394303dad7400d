// Layers answer as one plain map of rows would, whatever was put and removed in whichever of them.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defineTable, type Row } from "#app";
import { Layer } from "./rows.ts";

interface Thing extends Row {
  readonly color: string | undefined;
  readonly labels: readonly string[];
  readonly place: readonly [string, string] | undefined;
}

const things = defineTable<Thing>()("thing", {
  indexes: { color: (t) => t.color, label: (t) => t.labels },
  pairs: { place: (t) => t.place },
});

const ids = ["a", "b", "c", "d", "e", "f"];
const keys = ["x", "y", "z"];

const thing: fc.Arbitrary<Thing> = fc.record({
  id: fc.constantFrom(...ids),
  color: fc.option(fc.constantFrom(...keys), { nil: undefined }),
  labels: fc.array(fc.constantFrom(...keys), { maxLength: 3 }),
  place: fc.option(fc.tuple(fc.constantFrom(...keys), fc.constantFrom(...keys)), { nil: undefined }),
});

type Step =
  | { readonly do: "put"; readonly row: Thing }
  | { readonly do: "remove"; readonly id: string }
  | { readonly do: "push" }
  | { readonly do: "merge" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: thing.map((row) => ({ do: "put" as const, row })) },
  { weight: 3, arbitrary: fc.constantFrom(...ids).map((id) => ({ do: "remove" as const, id })) },
  { weight: 3, arbitrary: fc.constant({ do: "push" as const }) },
  { weight: 2, arbitrary: fc.constant({ do: "merge" as const }) },
);

/** A stack of whole copies: what one layer of the model sees. */
class Naive {
  readonly rows: Map<string, Thing>;
  constructor(rows: ReadonlyMap<string, Thing> = new Map()) {
    this.rows = new Map(rows);
  }
  where(wanted: (row: Thing) => boolean): Thing[] {
    return byId([...this.rows.values()].filter(wanted));
  }
}

const byId = (rows: Iterable<Thing>): Thing[] => [...rows].sort((a, b) => (a.id < b.id ? -1 : 1));

/** Everything that can be asked of a layer, compared. Rows must come once each. */
function check(layer: Layer, naive: Naive): void {
  for (const id of ids) expect(layer.get(things, id)).toBe(naive.rows.get(id));
  expect(byId(layer.all(things))).toEqual(naive.where(() => true));
  for (const key of [...keys, "unused"]) {
    const colored = naive.where((t) => t.color === key);
    const labelled = naive.where((t) => t.labels.includes(key));
    expect(byId(layer.by(things, "color", key))).toEqual(colored);
    expect(layer.count(things, "color", key)).toBe(colored.length);
    expect(byId(layer.by(things, "label", key))).toEqual(labelled);
    expect(layer.count(things, "label", key)).toBe(labelled.length);
    const seconds = new Set(naive.where((t) => t.place?.[0] === key).map((t) => t.place![1]));
    expect([...layer.pairKeys(things, "place", key)].sort()).toEqual([...seconds].sort());
    for (const b of keys) expect(byId(layer.byPair(things, "place", key, b))).toEqual(naive.where((t) => t.place?.[0] === key && t.place[1] === b));
  }
}

describe("layers", () => {
  test("one to four of them, random puts, removals and merges, answer as a plain map does", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const stack = [{ layer: new Layer(), naive: new Naive() }];
        for (const s of steps) {
          const { layer, naive } = stack.at(-1)!;
          if (s.do === "put") {
            layer.put(things, s.row);
            naive.rows.set(s.row.id, s.row);
          } else if (s.do === "remove") {
            layer.remove(things, s.id);
            naive.rows.delete(s.id);
          } else if (s.do === "push" && stack.length < 4) stack.push({ layer: new Layer(layer), naive: new Naive(naive.rows) });
          else if (s.do === "merge" && stack.length > 1) {
            layer.mergeDown();
            expect(layer.empty).toBe(true);
            check(layer, naive); // it now says nothing, and still reads the same
            stack.pop();
            stack[stack.length - 1] = { layer: stack.at(-1)!.layer, naive };
          }
          for (const each of stack) check(each.layer, each.naive);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("a row deleted and put again in the same layer is there; a tombstone of a row that never was is harmless", () => {
    const base = new Layer();
    const top = new Layer(base);
    const row: Thing = { id: "a", color: "x", labels: ["x", "x"], place: ["x", "y"] };
    top.remove(things, "a");
    expect(top.empty).toBe(false);
    top.put(things, row);
    check(top, new Naive(new Map([["a", row]])));
    check(base, new Naive());
    top.remove(things, "a");
    top.mergeDown();
    check(base, new Naive());
    expect(base.empty).toBe(true);
  });

  test("reads of a table nobody has written answer with nothing, at every depth", () => {
    check(new Layer(), new Naive());
    check(new Layer(new Layer(new Layer())), new Naive());
  });

  test("an unknown index or pair is a mistake with a name", () => {
    const layer = new Layer();
    layer.put(things, { id: "a", color: "x", labels: [], place: undefined } as Thing);
    expect(() => layer.by(things, "colour" as "color", "x")).toThrow("table thing has no index colour");
    expect(() => layer.pairKeys(things, "places" as "place", "x")).toThrow("table thing has no pair index places");
  });
});

describe("an index function that fails", () => {
  interface Odd extends Row {
    readonly size: unknown;
  }
  const fail = (o: Odd, at: string): void => {
    if (o.size === at) throw new Error(`fails at ${at}`);
  };
  const odd = defineTable<Odd>()("odd", {
    indexes: { first: () => "all", second: (o) => (fail(o, "index"), o.size === "number" ? (5 as unknown as string) : ["k"]) },
    pairs: { first: () => ["a", "b"], second: (o) => (fail(o, "pair"), o.size === "null" ? (null as unknown as undefined) : ["a", o.id]) },
  });

  test.each(["index", "pair", "number", "null"])("at %s: nothing of the row is there, and what was there is whole", (size) => {
    for (const before of [undefined, { id: "x", size: "good" }]) {
      const layer = new Layer();
      if (before !== undefined) layer.put(odd, before);
      const row: Odd = { id: "x", size };
      expect(() => layer.put(odd, row)).toThrow();
      const rows = before === undefined ? [] : [before];
      expect([layer.by(odd, "first", "all"), layer.by(odd, "second", "k"), layer.byPair(odd, "first", "a", "b"), layer.byPair(odd, "second", "a", "x")]).toEqual([rows, rows, rows, rows]);
      expect([...layer.all(odd)]).toEqual(rows);
      layer.remove(odd, "x");
      expect([layer.count(odd, "first", "all"), layer.pairKeys(odd, "first", "a")]).toEqual([0, []]);
    }
  });
});

test("a row that is deleted by one transaction and made again by the next, before either is committed, is counted once", () => {
  const x: Thing = { id: "a", color: "x", labels: ["y"], place: ["x", "y"] };
  const base = new Layer();
  base.put(things, x);
  const group = new Layer(base);
  group.remove(things, "a");
  const next = new Layer(group);
  next.put(things, x);
  next.mergeDown();
  for (const layer of [group, new Layer(group)]) {
    expect([layer.count(things, "color", "x"), layer.count(things, "label", "y"), layer.by(things, "color", "x")]).toEqual([1, 1, [x]]);
  }
  group.mergeDown();
  expect([base.count(things, "color", "x"), [...base.all(things)]]).toEqual([1, [x]]);
});
