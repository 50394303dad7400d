// A snapshot says what was there when it was taken, by every way of reading, whatever is committed later.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defineTable, type ReadView, type Row } from "#app";
import { openMemory } from "../../store/memory.ts";
import { Model } from "../model.ts";

interface Thing extends Row {
  readonly of: string;
  readonly pair: string;
  readonly value: number;
}
const thing = defineTable<Thing>()("thing", { indexes: { of: (t) => t.of }, pairs: { both: (t) => [t.of, t.pair] } });
const OF = ["a", "b", "c"];
const IDS = ["1", "2", "3", "4", "5", "6"];
const cause = { requestId: "t", call: "t" };

/** Everything that a view says. */
function all(view: ReadView): unknown {
  const sorted = (rows: Iterable<Thing>): Thing[] => [...rows].sort((x, y) => (x.id < y.id ? -1 : 1));
  return {
    all: sorted(view.all(thing)),
    get: IDS.map((id) => view.get(thing, id)),
    by: OF.map((o) => [sorted(view.by(thing, "of", o)), view.count(thing, "of", o)]),
    pairs: OF.map((o) => [...view.pairKeys(thing, "both", o)].sort().map((p) => [p, sorted(view.byPair(thing, "both", o, p))])),
  };
}

const change = fc.record({ id: fc.constantFrom(...IDS), of: fc.constantFrom(...OF), pair: fc.constantFrom("x", "y"), value: fc.nat(9), gone: fc.boolean() });

describe("snapshots", () => {
  it("keep what they were taken of", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.record({ changes: fc.array(change, { maxLength: 4 }), take: fc.boolean() }), { maxLength: 12 }), async (steps) => {
        const model = await Model.open(openMemory(), [thing]);
        const taken: { view: ReadView; was: unknown; close: () => void }[] = [];
        for (const { changes, take } of steps) {
          if (take) {
            const snapshot = model.snapshot();
            taken.push({ view: snapshot.view, was: structuredClone(all(model.view)), close: snapshot.close });
          }
          await model.transact(cause, (tx) => {
            for (const { gone, ...row } of changes) if (gone) tx.delete(thing, row.id); else tx.put(thing, row);
          });
          for (const { view, was } of taken) expect(all(view)).toEqual(was);
          if (taken.length > 3) taken.shift()!.close();
        }
        for (const { close } of taken) close();
        expect(model["snapshots"].size).toBe(0);
        await model.close();
      }),
      { numRuns: 200 },
    );
  });

  it("are given up when more changes than they may hold", async () => {
    const model = await Model.open(openMemory(), [thing]);
    const [few, closed, many] = [model.snapshot(100), model.snapshot(100), model.snapshot()];
    closed.close();
    for (let n = 0; n < 3; n++) {
      expect(few.stale).toBe(false);
      await model.transact(cause, (tx) => { for (let i = 0; i < 50; i++) tx.put(thing, { id: `${n}.${i}`, of: "a", pair: "x", value: n }); });
    }
    expect([few.stale, closed.stale, many.stale]).toEqual([true, false, false]);
    few.close();
    many.close();
    await model.close();
  });
});
