// Which layouts are kept: a few, the latest first, and never in the way of a start; and what stays where it was from one to the next.
import { expect, test } from "vitest";
import type { App } from "#app";
import type { Layout } from "../pipeline/layout.ts";
import { recordOf } from "../pipeline/record.ts";
import { openMemory } from "../store/memory.ts";
import { keepLayout } from "../model/layouts.ts";
import type { KvStore } from "../store/kv.ts";
import { layoutFor as chosenFor, type Layouts } from "./layouts.ts";

const layoutFor = (apps: readonly App[], store: KvStore): Promise<Layouts> => chosenFor(apps, (choose) => keepLayout(store, choose));

const app = (name: string, tables = 1): App => ({
  name, about: "",
  pipeline: {
    tables: Object.fromEntries(Array.from({ length: tables }, (_, n) => [`${name}_${n}`, { stage: "forward", miss: "next", about: "", match: [] }])),
    registers: { [`${name}_mark`]: { bits: 8, about: "" } },
  },
});
const text = (layout: Layout): string => JSON.stringify(recordOf(layout));
const places = (layout: Layout): Record<string, number | string> => Object.fromEntries([...layout.tables.map(({ name, id }) => [name, id]), ...[...layout.registers.values()].map(({ name, field, ofs }) => [name, `${field} ${ofs}`])]) as Record<string, number | string>;

test("those before the present one, the latest first, each once; one that is the same again writes nothing", async () => {
  const store = openMemory();
  const [a, b] = [[app("a")], [app("b")]];
  const first = await layoutFor(a, store);
  expect(first.earlier).toEqual([]);
  const second = await layoutFor(b, store);
  expect(second.earlier).toEqual([text(first.layout)]);
  const { revision } = store;
  expect((await layoutFor(b, store)).earlier).toEqual([text(first.layout)]);
  expect(store.revision).toBe(revision);
  expect((await layoutFor(a, store)).earlier).toEqual([text(second.layout)]);
  const given: string[] = [];
  for (let n = 0; n < 20; n++) given.unshift(text((await layoutFor([app(`n${n}`)], store)).layout));
  expect((await layoutFor([app("last")], store)).earlier).toEqual(given.slice(0, 8));
});

test("an app that comes, and one that goes, moves nothing of the others; with the same apps again all is as it was", async () => {
  const store = openMemory();
  const few = [app("a"), app("b", 2), app("d")];
  const before = await layoutFor(few, store);
  const more = await layoutFor([few[0]!, few[1]!, app("c", 3), few[2]!], store);
  expect(places(more.layout)).toMatchObject(places(before.layout));
  expect(more.layout.tables.map((t) => t.name)).toEqual(["classify", "a_0", "b_0", "b_1", "c_0", "c_1", "c_2", "d_0"]);
  const less = await layoutFor([few[0]!, app("c", 3)], store);
  expect(places(more.layout)).toMatchObject(places(less.layout));
  expect(text((await layoutFor(few, store)).layout)).toBe(text(before.layout));
  expect(text((await layoutFor([few[0]!, app("c", 3)], store)).layout)).toBe(text(less.layout));
});

test("of several controllers that start at once each is kept, and those with the same apps have the same", async () => {
  const store = openMemory();
  await layoutFor([app("a")], store);
  const all = await Promise.all(["b", "c", "d"].flatMap((name) => [layoutFor([app("a"), app(name)], store), layoutFor([app("a"), app(name)], store)]));
  expect(new Set(all.map(({ layout }) => text(layout))).size).toBe(3);
  expect((await layoutFor([], store)).earlier).toHaveLength(4);
});

const TABLE = { name: "classify", app: "core", matches: [] };
test.each([
  "", "null", "{}", "[1,{}]", "[\"a\"", ...[
    "a", { tables: [] }, { tables: [null], registers: [] }, { tables: [{ ...TABLE, matches: 1 }], registers: [] }, { tables: [TABLE, TABLE, { ...TABLE, name: "a_0", app: "a" }], registers: [{}] },
  ].map((record) => JSON.stringify([JSON.stringify(record)])),
])("a record that says %j is as none", async (wrong) => {
  const store = openMemory();
  const fresh = text((await layoutFor([app("a")], openMemory())).layout);
  await store.txn([], [{ put: "layouts", value: Buffer.from(wrong) }]);
  expect(text((await layoutFor([app("a")], store)).layout)).toBe(fresh);
});

test("of a record that no version of ours wrote what can be is kept", async () => {
  const store = openMemory();
  const register = { name: "a_mark", bits: 8, ip: false };
  for (const [at, kept] of [[{ field: "reg1", ofs: 30 }, false], [{ field: "reg99", ofs: 0 }, false], [{ field: "in_port", ofs: 0 }, false], [{ field: "metadata", ofs: 70 }, false], [{ field: "metadata", ofs: 40 }, true], [{ field: "reg11", ofs: 3 }, true]] as const) {
    await store.txn([], [{ put: "layouts", value: Buffer.from(JSON.stringify([JSON.stringify({ tables: Array.from({ length: 300 }, () => ({ ...TABLE, name: "x" })).concat({ ...TABLE, name: "a_0" }), registers: [{ ...register, ...at }] })])) }]);
    const { layout } = await layoutFor([app("a")], store);
    expect(layout.tables.map((t) => t.id)).toEqual([0, expect.any(Number)]);
    expect(layout.tables[1]!.id).toBeLessThan(253);
    const { field, ofs } = layout.register("a_mark");
    expect(field === at.field && ofs === at.ofs, JSON.stringify(at)).toBe(kept);
  }
});
