// What a change is to runs, column by column, and that a run which reads on is found out.
import { expect, test } from "vitest";
import { baseScope, defineTable, each, UNSEEN_COLUMNS, type Row } from "#app";
import { mac, rule, to, World } from "./testing/world.ts";
import { isUnseen, seenOf } from "./unseen.ts";

const things = defineTable<Row>()("thing", { resource: "thing" });
const inner = defineTable<Row>()("inner", {});
const derived = defineTable<Row>()("derived", { derived: true, resource: "thing" });
const row = { id: "1", name: "a", description: "", tags: ["x"], created_at: "1", updated_at: "1", revision_number: 1, mac: "m", list: [{ a: 1 }] };
const change = (after: object, table = things) => isUnseen({ table, id: "1", before: row, after: { ...row, ...after } });

test("a row is as it was to runs while nothing changed but what they do not see, whoever wrote it anew", () => {
  expect(change({})).toBe(true);
  for (const column of UNSEEN_COLUMNS) expect(change({ [column]: "else" }), column).toBe(true);
  expect(change({ updated_at: "2", list: [{ a: 1 }], more: undefined })).toBe(true);
  for (const after of [{ mac: "n" }, { list: [{ a: 2 }] }, { list: [] }, { more: null }, { mac: undefined }]) expect(change({ updated_at: "2", ...after }), JSON.stringify(after)).toBe(false);
  for (const table of [inner, derived]) expect(change({ name: "else" }, table), table.name).toBe(false);
  for (const [before, after] of [[row, undefined], [undefined, row]]) expect(isUnseen({ table: things, id: "1", before, after })).toBe(false);
});

test("tests find out who reads on", () => {
  const seen = seenOf(things, row);
  expect([seen.id, seen.mac, seenOf(things, row) === seen, seenOf(inner, row) === row]).toEqual(["1", "m", true, true]);
  for (const column of UNSEEN_COLUMNS) expect(() => seen[column], column).toThrow(`a run reads thing.${column}`);
  expect(() => ({ ...seen })).toThrow("a run reads thing.");
});

test("runs are not run again for what they do not see: what people call a row, and when it changed", async () => {
  interface Named extends Row { readonly name: string; readonly updated_at: string; readonly tags: readonly string[]; readonly vlan: number; readonly hosts?: readonly string[] }
  const named = defineTable<Named>()("named", { resource: "named", indexes: { name: (n) => n.name, vlan: (n) => String(n.vlan) }, pairs: { hosts: (n) => [n.name, n.id] } });
  const row = (fields: Partial<Named> = {}): Named => ({ id: "n1", name: "", updated_at: "1", tags: [], vlan: 1, ...fields });
  const all = rule<Named>({
    name: "all", about: "", on: each(named),
    emit: (n, view, out) => out.flow(baseScope, "t_fwd", to(mac(1), 1000 * n.vlan + 100 * view.by(named, "vlan", "1").length + 10 * [...view.all(named)].length + (view.get(named, n.id)?.vlan ?? 0))),
  });
  const called = rule<Named>({ name: "called", about: "", on: each(named), emit: (_named, view, out) => out.flow(baseScope, "t_fwd", to(mac(2), 1 + view.count(named, "name", "x"))) });
  const w = await World.make({ name: "a", tables: [named], rules: [all, called] });
  expect(await w.runs((tx) => tx.put(named, row()))).toBe(2);
  expect(await w.runs((tx) => tx.put(named, row({ updated_at: "2", tags: ["a"], hosts: undefined as never })))).toBe(0);
  expect(await w.runs((tx) => tx.put(named, row({ updated_at: "3", vlan: 2 })))).toBe(2);
  expect(await w.runs((tx) => tx.put(named, row({ updated_at: "3", vlan: 2, hosts: ["h"] })))).toBe(2);
  expect(await w.runs((tx) => tx.put(named, row({ name: "x", vlan: 2, hosts: ["h"] }))), "who looks by it").toBe(1);
  expect(w.flows("h1")).toContain(`t_fwd dl_dst=${mac(2)} -> output:2`);
  expect(await w.runs((tx) => tx.delete(named, "n1"))).toBe(0);
  expect(w.engine.stats.flows).toBe(0);
});
