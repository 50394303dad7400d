// What becomes of rows whose ground went while their app was not there: taken back by the app, or kept and named; nothing else is touched.
import { expect, test } from "vitest";
import { defineTable, reference, type App, type Row } from "#app";
import { openMemory } from "../store/memory.ts";
import { Model } from "./model.ts";
import { danglingProblems, mendReferences } from "./references.ts";

interface Leaf extends Row {
  readonly on: string | readonly string[];
}
const trees = defineTable<Row>()("tree", {});
const leaves = defineTable<Leaf>()("leaf", {});
const dew = defineTable<Leaf>()("dew", {});
const names = defineTable<Leaf>()("name", { resource: "name" });

interface Said {
  readonly level: string;
  readonly [key: string]: unknown;
}
/** The model after a start, and what it said. */
async function start(references: App["references"], rows: readonly (readonly [typeof leaves, Leaf])[]): Promise<{ model: Model; said: Said[]; apps: App[] }> {
  const model = await Model.open(openMemory(), [trees, leaves, dew, names]);
  await model.transact({ requestId: "test", call: "test" }, (tx) => {
    tx.put(trees, { id: "oak" });
    for (const [table, row] of rows) tx.put(table, row);
  });
  const said: Said[] = [];
  const log = (level: string) => (fields: object): void => void said.push({ level, ...fields });
  const apps: App[] = [{ name: "forest", about: "", references: references! }];
  await mendReferences(model, apps, { warn: log("warn"), error: log("error") });
  return { model, said, apps };
}
const ids = (model: Model, table: typeof leaves): string[] => [...model.view.all(table)].map((r) => r.id).sort();
const goes = (table: typeof leaves, to: typeof trees | typeof leaves) => reference(table, { to, ids: (l) => l.on, gone: (tx, l) => tx.delete(table, l.id) });

test("a row goes with what it stands on, and what stands on it in turn; each is named; what stands stays, and then nothing is written", async () => {
  const { model, said } = await start([goes(dew, leaves), goes(leaves, trees)], [
    [leaves, { id: "a", on: "oak" }], [leaves, { id: "b", on: "elm" }], [dew, { id: "x", on: "a" }], [dew, { id: "y", on: "b" }], [leaves, { id: "c", on: [] }],
  ]);
  expect([ids(model, leaves), ids(model, dew)]).toEqual([["a", "c"], ["x"]]);
  expect(said).toEqual([
    { level: "warn", app: "forest", table: "leaf", id: "b", gone: "tree elm" },
    { level: "warn", app: "forest", table: "dew", id: "y", gone: "leaf b" },
  ]);
  const { generation } = model;
  await mendReferences(model, [{ name: "forest", about: "", references: [goes(dew, leaves), goes(leaves, trees)] }], { warn: () => undefined, error: () => undefined });
  expect(model.generation).toBe(generation);
});

test("one that names several goes when one of them is gone", async () => {
  const { model } = await start([goes(leaves, trees)], [[leaves, { id: "a", on: ["oak", "elm"] }], [leaves, { id: "b", on: ["oak"] }]]);
  expect(ids(model, leaves)).toEqual(["b"]);
});

test("an app that throws costs its row alone: the row stays, the error is in the log, others are taken back", async () => {
  const thrower = reference(leaves, { to: trees, ids: (l) => l.on as string, gone: (tx, l) => {
    tx.delete(leaves, l.id);
    if (l.id === "b") throw new Error("no");
  } });
  const { model, said } = await start([thrower], [[leaves, { id: "a", on: "elm" }], [leaves, { id: "b", on: "elm" }], [leaves, { id: "c", on: "elm" }]]);
  expect(ids(model, leaves)).toEqual(["b"]);
  expect(said.filter((s) => s.level === "error")).toMatchObject([{ table: "leaf", id: "b", err: expect.any(Error) }]);
});

test("one that stays is a problem until it is deleted; many are a few and their number", async () => {
  const kept = [reference(names, { to: trees, ids: (n) => n.on })];
  const { model, said, apps } = await start(kept, [[names, { id: "a", on: "elm" }], [names, { id: "b", on: "oak" }]]);
  expect(said).toEqual([]);
  expect(ids(model, names)).toEqual(["a", "b"]);
  const problems = () => [...danglingProblems(model.view, apps, new Date(0))];
  expect(problems()).toMatchObject([{ kind: "dangling", severity: "warning", resources: [{ type: "name", id: "a" }], text: "name a of forest names tree elm, which is gone: it has no effect" }]);
  await model.transact({ requestId: "test", call: "test" }, (tx) => tx.delete(names, "a"));
  expect(problems()).toEqual([]);
  await model.transact({ requestId: "test", call: "test" }, (tx) => {
    for (let n = 0; n < 60; n++) tx.put(names, { id: `n${n}`, on: "elm" });
  });
  expect(problems()).toHaveLength(51);
  expect(problems().at(-1)!.text).toBe("10 more rows name what is gone");
});
