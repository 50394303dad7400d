// What a manifest can get wrong ends the start with one line that names the app.
import { describe, expect, test } from "vitest";
import { definePool, defineResource, defineTable, extendResource, reference, resourceHandle, type App, type NumberKind, type Pool, type StandardRow } from "../app/contract.ts";
import { allPools, allTables, checkApps } from "./registry.ts";

const table = defineTable<StandardRow>()("lamp", {});
const lampResource = resourceHandle<StandardRow>("lamp");
const lamp = defineResource(lampResource, { collection: "lamps", about: "", table, notFound: { type: "X", message: (id) => id }, attributes: {}, policy: { get: "rule:admin_only" } });
const wire = defineTable()("wire");
const glow = defineTable()("glow", { derived: true });
const app = (name: string, fields: Partial<App> = {}): App => ({ name, about: "", ...fields });
const owner = app("light", { tables: [table], resources: [lamp] });
/** A rule of which nothing but what it counts for matters. */
const counting = (resource: string) => ({ name: "glowing", about: "", on: { kind: "each", table: wire }, emit: () => undefined, counts: { resource, counters: {}, entities: () => [] } }) as unknown as NonNullable<App["rules"]>[number];

describe("refused", () => {
  test.each<[string, App[], string]>([
    ["a resource of two apps", [owner, app("dark", { resources: [lamp] })], "resource lamp is declared by light and by dark"],
    ["an extension of what is not there", [app("dark", { extend: [extendResource(lampResource, {})] })], "app dark extends resource lamp, which no app declares"],
    ["an extension of what is not required", [owner, app("dark", { extend: [extendResource(lampResource, {})] })], "app dark extends resource lamp of light, which it does not require"],
    ["a reference of a table that is not required", [owner, app("dark", { tables: [wire], references: [reference(wire, { to: table, ids: (w) => w.id })] })], "app dark has a reference of table lamp, which is not its own and of no app that it requires"],
    ["a reference of a derived table", [app("dark", { tables: [wire, glow], references: [reference(wire, { to: glow, ids: (w) => w.id })] })], "app dark has a reference of table glow, which is derived"],
    ["heard packets of an undeclared table", [app("deaf", { heard: ["t"] })], "app deaf hears packets of table t, which it does not declare"],
    ["packets of an undeclared table", [app("dark", { packetIn: { t: () => [] } })], "app dark handles packets of table t, which it does not declare"],
    ["a list of two apps", [app("light", { opsLists: [{ path: "lamps", about: "", rows: () => [] }] }), app("dark", { opsLists: [{ path: "lamps", about: "", rows: () => [] }] })], "list lamps of dark is declared by light already"],
    ["a list at no word", [app("dark", { opsLists: [{ path: "a/b", about: "", rows: () => [] }] })], "app dark lists a/b: a path is one word, of small letters and hyphens"],
    ["counts for what is not there", [app("dark", { rules: [counting("lamp")] })], "rule glowing of dark counts for resource lamp, which no app declares"],
    ["counts for what is not required", [owner, app("dark", { rules: [counting("lamp")] })], "rule glowing of dark counts for resource lamp of light, which it does not require"],
    ["an undeclared register", [app("dark", { portContext: [{ register: "r", value: () => 1 }] })], "app dark loads register r, which it does not declare"],
  ])("%s", (_, apps, message) => expect(() => checkApps(apps)).toThrow(message));
  test("a table of two apps", () => expect(() => allTables([owner, app("dark", { tables: [table] })])).toThrow("table lamp is declared by light and by dark"));
});

test("taken: an app may extend what it owns or requires", () => {
  expect(() => checkApps([{ ...owner, extend: [extendResource(lampResource, {})] }, app("dark", { requires: ["light"], extend: [extendResource(lampResource, {})] })])).not.toThrow();
});

describe("pools", () => {
  const pool = (name: string, of: NumberKind | NumberKind[], min: number, max: number): Pool => definePool({ name, of, min, max, about: "" });
  test.each<[string, Pool[], string]>([
    ["a name of two", [pool("a", "key", 1, 2), pool("a", "vni", 1, 2)], "pool a of dark is declared already"],
    ["overlapping ranges", [pool("a", "ofport", 10, 20), pool("b", "ofport", 20, 30)], "pool b of dark has numbers of the pool a: both are of ofport, 20..30 and 10..20"],
    ["one inside the other", [pool("a", ["vlan", "group"], 10, 20), pool("b", "group", 1, 30)], "pool b of dark has numbers of the pool a: both are of group, 1..30 and 10..20"],
    ["meters that are the ports' own", [pool("a", "meter", 65_534, 70_000)], "pool a of dark has numbers of the pool zone: both are of meter, 65534..70000 and 1..65534"],
    ["a range that is none", [pool("a", "vni", 5, 4)], "pool a of dark goes from 5 to 4"],
  ])("refused: %s", (_, pools, message) => expect(() => allPools([app("dark", { pools })])).toThrow(message));
  test("taken: ranges side by side, equal ranges of different kinds, and of keys", () => {
    const pools = [pool("a", "ofport", 10, 20), pool("b", "ofport", 21, 30), pool("c", "group", 10, 20), pool("d", "key", 1, 9), pool("e", "key", 1, 9), pool("f", "meter", 65_535, 70_000)];
    expect([...allPools([app("dark", { pools })]).keys()]).toEqual(["zone", "a", "b", "c", "d", "e", "f"]);
  });
});
