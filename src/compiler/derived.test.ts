// Derived rows: whose they are, in which order they are made, and what a bug on the way costs.
import { describe, expect, test } from "vitest";
import { chassisScope, defineTable, derivation, each, type AnyTable, type Derivation, type Row } from "#app";
import { mac, nets, places, port, ports, rule, tables, to, World, type Place, type Port } from "./testing/world.ts";

describe("a bug of an app costs its own run", () => {
  interface Odd extends Row {
    readonly size: unknown;
  }
  const odd = defineTable<Odd>()("odd", { derived: true, indexes: { kind: (o) => { if (o.size === "bad") throw new Error("an index function"); return "all"; } }, pairs: { both: (o) => { if (o.size === "worse") throw new Error("a pair function"); return ["x", o.id]; } } });
  const sizes: Record<string, unknown> = { big: 10n, bad: "bad", worse: "worse", nested: { a: [1n, { b: undefined }] } };
  const derive = derivation<Port, Odd>({ name: "odd", on: each(ports), into: odd, reads: [], derive: (p) => ({ id: p.id, size: sizes[p.note ?? ""] ?? p.note }) });
  const show = rule<Odd>({ name: "show", about: "", on: each(odd), emit: (o, view, out) => out.flow(chassisScope("h1"), "t_in", to(mac(Number(o.id.slice(1))), view.count(odd, "kind", "all"))) });

  test.each(Object.keys(sizes))("a derived row that is %s: the rest of the batch and later changes go on", async (note) => {
    const w = await World.make({ name: "a", tables: [...tables, odd], derive: [derive], rules: [show] });
    await w.change((tx) => [port(1, { note }), port(2)].forEach((p) => tx.put(ports, p)));
    await w.change((tx) => tx.put(ports, port(1, { note, mac: mac(5) })));
    await w.change((tx) => tx.put(ports, port(3)));
    const bad = note === "bad" || note === "worse";
    expect(w.flows("h1")).toHaveLength(bad ? 2 : 3);
    expect(w.logged.length > 0).toBe(bad);
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.flows("h1"), "and all is well when the row is").toHaveLength(3);
    await w.change((tx) => tx.put(ports, port(1, { note })));
    await w.change((tx) => tx.delete(ports, "p1"));
    expect(w.flows("h1")).toHaveLength(2);
  });

  const cyclic = (row: Place): Place => {
    const made: Row & { self?: unknown } = { ...row };
    made.self = made;
    return made as Place;
  };
  const known = (p: Port): Place => ({ id: p.id, port: p.id, host: "h1" });
  test.each<[string, (p: Port) => unknown, number]>([
    ["null in a list", () => [null], 0],
    ["undefined in a list", () => [undefined], 0],
    ["null after a good row", (p) => [{ ...known(p), id: `${p.id}-good` }, null], 0],
    ["without an id", (p) => ({ port: p.id, host: "h1" }), 0],
    ["with a number for an id", (p) => ({ ...known(p), id: 7 }), 0],
    ["text", () => "abc", 0],
    ["a promise", (p) => Promise.resolve(known(p)), 0],
    ["with a getter that throws", (p) => ({ id: p.id, port: p.id, get host() { throw new Error("a getter"); } }), 0],
    ["one that contains itself", (p) => cyclic(known(p)), 1],
    ["one that contains itself after another, which goes", (p) => [{ ...known(p), id: `${p.id}-${p.mac}` }, cyclic(known(p))], 1],
    ["called __proto__", (p) => ({ ...known(p), id: "__proto__" }), 1],
  ])("what a derivation gives is %s: it is left out or taken, and nothing stays of it", async (_, give, flows) => {
    const derive = derivation<Port, Place>({ name: "d", on: each(ports), into: places, reads: [], derive: (p) => (p.note === "odd" ? (give(p) as Place) : known(p)) });
    const at = rule<Place>({ name: "at", about: "", on: each(places), emit: (p, _view, out) => out.flow(chassisScope(p.host), "t_in", to(mac(Number(p.port.slice(1))), 1)) });
    const w = await World.make({ name: "x", derive: [derive], rules: [at] });
    await w.change((tx) => [1, 2].forEach((n) => tx.put(ports, port(n))));
    await w.change((tx) => tx.put(ports, port(1, { note: "odd" })));
    expect(w.flows("h1")).toHaveLength(1 + flows);
    await w.change((tx) => tx.put(ports, port(1, { note: "odd", mac: mac(7) })), (tx) => tx.put(ports, port(3)));
    expect(w.flows("h1")).toHaveLength(2 + flows);
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.flows("h1")).toHaveLength(3);
    await w.change((tx) => tx.delete(ports, "p1"));
    expect(w.flows("h1")).toHaveLength(2);
  });

  test("two derivations of one row: the first by name has it, in whatever order, named once while it lasts; the other when it leaves", async () => {
    const place = (name: string, host: string): Derivation => derivation<Port, Place>({ name, on: each(ports), into: places, reads: [], derive: (p) => (p.note === name ? undefined : { id: "same", port: p.mac, host }) });
    const at = rule<Place>({ name: "at", about: "", on: each(places), emit: (p, _view, out) => out.flow(chassisScope(p.host), "t_in", to(mac(1), 1)) });
    for (const derive of [[place("a", "h1"), place("b", "h2")], [place("b", "h2"), place("a", "h1")]]) {
      const w = await World.make({ name: "x", derive, rules: [at] });
      await w.change((tx) => tx.put(ports, port(1)));
      expect([w.flows("h1").length, w.flows("h2").length]).toEqual([1, 0]);
      await w.change((tx) => tx.put(ports, port(1, { mac: mac(2) })));
      expect(w.logged.map(({ row, first, second }) => ({ row, first, second }))).toEqual([{ row: "same", first: "x/a on p1", second: "x/b on p1" }]);
      await w.change((tx) => tx.put(ports, port(1, { note: "a" })));
      expect([w.flows("h1").length, w.flows("h2").length]).toEqual([0, 1]);
      await w.change((tx) => tx.delete(ports, "p1"));
      expect([w.flows("h1").length, w.flows("h2").length]).toEqual([0, 0]);
    }
  });

  test("a row that moves from one run to another in a batch is no duplicate, in whatever order they run", async () => {
    const move = derivation<Port, Place>({ name: "move", on: each(ports), into: places, reads: [], derive: (p) => (p.note === undefined ? undefined : { id: p.note, port: p.id, host: p.host }) });
    const at = rule<Place>({ name: "at", about: "", on: each(places), emit: (p, _view, out) => out.flow(chassisScope("h1"), "t_in", to(mac(1), Number(p.port.slice(1)))) });
    const w = await World.make({ name: "x", derive: [move], rules: [at] });
    for (const [had, has, first] of [[1, 2, 1], [2, 1, 1], [1, 2, 2], [2, 1, 2]] as const) {
      await w.change((tx) => [1, 2].forEach((n) => tx.put(ports, port(n, n === had ? { note: "vip" } : {}))));
      const rows = [port(had), port(has, { note: "vip" })].sort((a) => (a.id === `p${first}` ? -1 : 1));
      await w.change((tx) => rows.forEach((row) => tx.put(ports, row)));
      expect(w.flows("h1")).toEqual([`t_in dl_dst=${mac(1)} -> output:${has}`]);
    }
    expect(w.logged).toEqual([]);
  });

  test("the heir of a row that no index takes costs nobody else anything", async () => {
    const one = (name: string, size: string): Derivation => derivation<Port, Odd>({ name, on: each(ports), into: odd, reads: [], derive: (p) => [{ id: "same", size: p.note === name ? "gone" : size }, { id: p.id, size: name }].slice(p.note === name ? 1 : 0) });
    const w = await World.make({ name: "a", tables: [...tables, odd], derive: [one("first", "good"), one("second", "bad")], rules: [] });
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.engine.view.get(odd, "same")).toEqual({ id: "same", size: "good" });
    await w.change((tx) => tx.put(ports, port(1, { note: "first" })));
    expect(w.engine.view.get(odd, "same")).toBeUndefined();
    expect(w.engine.view.by(odd, "kind", "all").map((o) => o.id)).toEqual(["p1"]);
    await w.change((tx) => tx.put(ports, port(2)));
    expect(w.engine.view.get(odd, "p2"), "later changes go on").toBeDefined();
    await w.change((tx) => ["p1", "p2"].forEach((id) => tx.delete(ports, id)));
    expect([...w.engine.view.all(odd)]).toEqual([]);
  });
});

describe("derivations declare what they read", () => {
  const other = defineTable<Place>()("other", { derived: true });
  const from = (name: string, on: typeof places, into: typeof places | typeof other, reads: readonly AnyTable[]): Derivation => derivation<Place, Place>({ name, on: each(on), into, reads, derive: (p) => p });

  test("a circle ends the start", async () => {
    const derive = [from("one", places, other, []), from("two", other as typeof places, places, [])];
    await expect(World.make({ name: "a", tables: [...tables, other], derive })).rejects.toThrow("derivations read each other in a circle: a/one -> a/two -> a/one");
  });

  test("another table is refused where it is read, by name", async () => {
    const sly = derivation<Port, Place>({ name: "sly", on: each(ports), into: places, reads: [], derive: (p, view) => ({ id: p.id, port: p.id, host: String(view.get(nets, p.net)?.vlan) }) });
    const w = await World.make({ name: "a", derive: [sly] });
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.logged).toMatchObject([{ derivation: "sly", err: { message: "it reads table net, which it does not declare in reads" } }]);
  });

  test("strata follow from what is read, not from the order of apps", async () => {
    const first = derivation<Place, Place>({ name: "first", on: each(places), into: other, reads: [], derive: (p) => ({ ...p, id: `x${p.id}` }) });
    const second = derivation<Port, Place>({ name: "second", on: each(ports), into: places, reads: [], derive: (p) => ({ id: p.id, port: p.id, host: p.host }) });
    const at = rule<Place>({ name: "at", about: "", on: each(other), emit: (p, _view, out) => out.flow(chassisScope(p.host), "t_in", to(mac(1), 1)) });
    const w = await World.make({ name: "a", tables: [...tables, other], derive: [first, second], rules: [at] });
    expect(await w.runs((tx) => tx.put(ports, port(1))), "each once").toBe(3);
  });

  test("a table of another app is filled only if it is open and its owner required", async () => {
    const mine = defineTable<Place>()("mine", { derived: true });
    const joint = defineTable<Place>()("joint", { derived: true, open: true });
    const into = (table: typeof mine): Derivation => derivation<Port, Place>({ name: "d", on: each(ports), into: table, reads: [], derive: () => undefined });
    const owner = { name: "a", tables: [...tables, mine, joint] };
    await expect(World.make(owner, { name: "b", requires: ["a"], derive: [into(mine)] })).rejects.toThrow("derivation d of b fills mine of a, which is not open to others");
    await expect(World.make(owner, { name: "b", derive: [into(joint)] })).rejects.toThrow("derivation d of b fills joint of a, which it does not require");
    await World.make(owner, { name: "b", requires: ["a"], derive: [into(joint)] });
  });
});
