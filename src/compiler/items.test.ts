// Outputs beside flows: meters, groups, rows, patches. Counted by owner, in one scope and over the scopes of a chassis.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { baseScope, chassisScope, chassisTable, ovsRef, type Scope, type Tx } from "#app";
import { OutputStore, type Output } from "./items.ts";
import { Scopes } from "./scopes.ts";
import { chassis, mac, nets, netScope, onPort, port, ports, to, World, worlds, type Out } from "./testing/world.ts";

describe("outputs beside flows", () => {
  const meter = onPort("meter", (p, _view, out) => out.item(chassisScope(p.host), "meter", Number(p.id.slice(1)), { unit: "pps", rate: p.note === "fast" ? 200 : 100, burst: 10 }));
  const tunnel = onPort("tunnel", (p, _view, out) => out.row(chassisScope(p.host), "Port", `tun-${p.id}`, { interface: { type: "geneve", options: { key: p.note ?? "" }, ofport_request: 100 } }));

  test("meters come, change and go", async () => {
    const w = await World.make({ name: "a", rules: [meter] });
    const notified = async (fn: (tx: Tx) => void, host = "h1"): Promise<unknown> => {
      const d = (await w.change(fn)).chassis.get(host);
      return d === undefined ? undefined : { add: d.addItems.map((i) => [i.kind, i.id, i.value]), remove: d.removeItems.map((m) => m.id) };
    };
    expect(await notified((tx) => tx.put(ports, port(1)))).toEqual({ add: [["meter", 1, { unit: "pps", rate: 100, burst: 10 }]], remove: [] });
    expect(await notified((tx) => tx.put(ports, port(1, { mac: mac(3) })))).toBeUndefined();
    expect(await notified((tx) => tx.put(ports, port(1, { note: "fast" })))).toEqual({ add: [["meter", 1, { unit: "pps", rate: 200, burst: 10 }]], remove: [] });
    expect([...w.items("h1").keys()]).toEqual(["meter 1"]);
    expect(await notified((tx) => tx.put(ports, port(1, { host: "h2" })))).toEqual({ add: [], remove: [1] });
    expect(await notified((tx) => tx.delete(ports, "p1"), "h2")).toEqual({ add: [], remove: [1] });
  });

  test("rows: notified that they changed, with the list to be read", async () => {
    const w = await World.make({ name: "a", rules: [tunnel] });
    const changed = async (fn: (tx: Tx) => void): Promise<string[]> => [...(await w.change(fn)).chassis].filter(([, d]) => d.rowsChanged).map(([id]) => id);
    expect(await changed((tx) => tx.put(ports, port(1)))).toEqual(["h1"]);
    expect([...w.engine.rowsOf("h1")]).toEqual([{ table: "Port", key: "tun-p1", columns: { interface: { type: "geneve", options: { key: "" }, ofport_request: 100 } } }]);
    expect(await changed((tx) => tx.put(nets, { id: "n1", vlan: 1 }))).toEqual([]);
    expect(await changed((tx) => tx.put(ports, port(1, { note: "7" })))).toEqual(["h1"]);
    expect((await changed((tx) => tx.put(ports, port(1, { host: "h2" })))).sort()).toEqual(["h1", "h2"]);
    expect(await changed((tx) => tx.delete(ports, "p1"))).toEqual(["h2"]);
    expect([...w.engine.rowsOf("h2")]).toEqual([]);
  });

  // Every kind, in a scope of the chassis' own, in a shared one, and one and the same in both.
  const wantAll = (out: Out, scope: Scope, own: Scope): void => {
    out.item(scope, "meter", 1, { unit: "kbps", rate: 100, burst: 10 });
    out.item(own, "meter", 1, { unit: "kbps", rate: 100, burst: 10 });
    out.item(scope, "group", 7, { type: "select", buckets: [{ weight: 1, actions: [{ type: "output", port: 5 }] }] });
    out.row(scope, "Queue", "q", { other_config: { "max-rate": "1000" } });
    out.patch(scope, { table: "Port", name: "eth0", column: "qos", value: ovsRef("QoS", "x") });
  };
  const shared = onPort("shared", (p, _view, out) => {
    out.include(chassisScope(p.host), netScope(p.net));
    wantAll(out, netScope(p.net), chassisScope(p.host));
    out.flow(netScope(p.net), "t_fwd", { priority: 1, match: { in_port: Number(p.net.slice(1)) }, actions: [] });
  });

  test("are counted by owner: of two that want the same, one may leave", async () => {
    const w = await World.make({ name: "a", rules: [shared] });
    await w.change((tx) => [port(1), port(2)].forEach((p) => tx.put(ports, p)));
    const all = (): unknown[] => [[...w.items("h1").keys()].sort(), w.rows("h1").length > 4, w.flows("h1").length];
    const whole = [["group 7", "meter 1"], true, 1];
    expect(all()).toEqual(whole);
    const delta = await w.change((tx) => tx.delete(ports, "p2"));
    expect(delta.chassis.size, "nothing changes for anybody").toBe(0);
    expect(all()).toEqual(whole);
    const last = (await w.change((tx) => tx.delete(ports, "p1"))).chassis.get("h1")!;
    expect(last).toMatchObject({ removeItems: [{ id: 1 }, { id: 7 }], rowsChanged: true });
    expect(all()).toEqual([[], false, 0]);
  });

  test("one that two disagree on goes to the first by name, whoever came first, and is named once while it lasts", async () => {
    const claim = onPort("claim", (p, _view, out) => {
      const n = Number(p.id.slice(1));
      out.item(baseScope, "meter", 9, { unit: "pps", rate: n, burst: 1 });
      out.flow(baseScope, "t_in", to(mac(9), n));
    });
    for (const order of [[1, 2, 3], [3, 2, 1], [2, 3, 1]]) {
      const w = await World.make({ name: "a", rules: [claim] });
      for (const n of order) await w.change((tx) => tx.put(ports, port(n)));
      expect([...w.engine.itemsOf("h1")].map((i) => i.value)).toEqual([{ unit: "pps", rate: 1, burst: 1 }]);
      expect(w.flows("h2")).toEqual([`t_in dl_dst=${mac(9)} -> output:1`]);
      const between = { first: "a/claim on p1", second: "a/claim on p2" };
      expect(w.engine.conflicts, "one for the flow and one for the meter, whatever the number of chassis").toMatchObject([between, between]);
      const logged = w.logged.length;
      await w.change((tx) => tx.put(ports, port(4)));
      await w.change((tx) => tx.put(ports, port(2, { mac: mac(8) })));
      for (let i = 0; i < 3; i++) [...w.engine.itemsOf("h1"), ...w.engine.flowsOf("h1")].length.toString();
      expect(w.logged, "neither reads nor changes of others name it again").toHaveLength(logged);
      if (order[0] === 1) expect(logged).toBe(2);
      await w.change((tx) => [2, 3, 4].forEach((n) => tx.delete(ports, `p${n}`)));
      expect(w.engine.conflicts).toEqual([]);
    }
  });

  test("a chassis that goes and comes again within a batch has what it had; one that goes leaves nothing behind", async () => {
    const w = await World.make({ name: "a", rules: [shared] });
    await w.change((tx) => tx.put(ports, port(1)));
    const delta = await w.change((tx) => tx.delete(chassisTable, "h1"), (tx) => tx.put(chassisTable, chassis("h1", 1)));
    expect(delta.chassis.size).toBe(0);
    expect(w.items("h1").size).toBe(2);
    await w.change((tx) => tx.delete(ports, "p1"));
    await w.change((tx) => tx.delete(chassisTable, "h1"));
    expect([[...w.engine.itemsOf("h1")], [...w.engine.rowsOf("h1")], [...w.engine.flowsOf("h1")]]).toEqual([[], [], []]);
  });

  describe("whatever comes and goes, in whatever scopes", () => {
    type Kind = "flow" | "meter" | "row" | "patch";
    interface Wish {
      readonly kind: Kind;
      readonly scope: 0 | 1 | 2 | 3;
      readonly id: number;
      readonly value: number;
    }
    interface Said {
      readonly wishes: readonly Wish[];
      /** What its host has: one of two networks, or 3, the root of h1. */
      readonly has: readonly number[];
    }
    const wish: fc.Arbitrary<Wish> = fc.record({ kind: fc.constantFrom<Kind>("flow", "flow", "meter", "row", "patch"), scope: fc.constantFrom(0, 1, 2, 3), id: fc.constantFrom(1, 2), value: fc.constantFrom(1, 1, 2) });
    const said: fc.Arbitrary<Said> = fc.record({
      wishes: fc.uniqueArray(wish, { maxLength: 6, selector: (w) => `${w.kind} ${w.scope} ${w.id}` }), has: fc.uniqueArray(fc.constantFrom(1, 1, 2, 2, 3), { maxLength: 2 }),
    });
    const step = fc.record({ n: fc.constantFrom(1, 2, 3), host: fc.constantFrom("h1", "h1", "h2", ""), said });
    const scopeOf = (w: Wish, host: string): Scope => [baseScope, chassisScope(host), netScope("n1"), netScope("n2")][w.scope]!;
    const included = (n: number): Scope => (n === 3 ? chassisScope("h1") : netScope(`n${n}`));
    const mixed = onPort("mixed", (p, _view, out) => {
      const { wishes, has } = JSON.parse(p.note!) as Said;
      for (const n of has) out.include(chassisScope(p.host), included(n));
      for (const w of wishes) {
        const scope = scopeOf(w, p.host);
        if (w.kind === "flow") out.flow(scope, "t_fwd", to(mac(w.id), w.value));
        else if (w.kind === "meter") out.item(scope, "meter", w.id, { unit: "pps", rate: w.value, burst: 1 });
        else if (w.kind === "row") out.row(scope, "Queue", `q${w.id}`, { dscp: w.value });
        else out.patch(scope, { table: "Interface", name: "eth0", column: "other_config", key: `c${w.id}`, value: String(w.value) });
      }
    });

    /** The obvious way: all wishes of the scopes a host has, the first by name of run and scope for each. */
    function expected(rows: ReadonlyMap<string, { readonly host: string; readonly said: Said }>, host: string): string[] {
      const scopes = new Set<string>([baseScope, chassisScope(host)]);
      // A set is walked to what was added meanwhile.
      for (const scope of scopes) for (const r of rows.values()) if (chassisScope(r.host) === scope) for (const n of r.said.has) scopes.add(included(n));
      const all = [...rows].flatMap(([id, r]) => r.said.wishes.map((w) => ({ order: `${id} ${scopeOf(w, r.host)}`, scope: scopeOf(w, r.host), key: `${w.kind} ${w.id}`, value: w.value })));
      const won = new Map<string, number>();
      for (const w of all.sort((a, b) => (a.order < b.order ? -1 : 1))) if (scopes.has(w.scope) && !won.has(w.key)) won.set(w.key, w.value);
      return [...won].map(([key, value]) => `${key} ${value}`).sort();
    }

    function found(w: World, host: string): string[] {
      const flows = w.flows(host).map((f) => /:0(\d) -> output:(\d)/.exec(f)!).map((m) => `flow ${m[1]} ${m[2]}`);
      const meters = [...w.engine.itemsOf(host)].map((i) => `meter ${i.id} ${(i.value as { rate: number }).rate}`);
      const rows = [...w.engine.rowsOf(host)].map((r) => `row ${r.key.slice(1)} ${String((r.columns as { dscp: number }).dscp)}`);
      const patches = [...w.engine.patchesOf(host)].map((p) => `patch ${p.key!.slice(1)} ${p.value as string}`);
      return [...flows, ...meters, ...rows, ...patches].sort();
    }

    test("what was notified adds up, equals a compile from scratch and the obvious, of every kind", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 8 }), async (batches) => {
          const w = await World.make({ name: "a", rules: [mixed] });
          const rows = new Map<string, { host: string; said: Said }>();
          for (const batch of batches) {
            await w.change((tx) => {
              for (const s of batch) {
                if (s.host === "") tx.delete(ports, `p${s.n}`);
                else tx.put(ports, port(s.n, { host: s.host, note: JSON.stringify(s.said) }));
                if (s.host === "") rows.delete(`p${s.n}`);
                else rows.set(`p${s.n}`, s);
              }
            });
            for (const host of ["h1", "h2"]) expect(found(w, host), host).toEqual(expected(rows, host));
          }
          await w.close();
          worlds.splice(worlds.indexOf(w), 1);
        }),
        { numRuns: 150 },
      );
    });
  });
});

describe("a run with very many outputs", () => {
  const N = 15_000;

  test("equal ones are one, unequal ones refused, as of a run with few", async () => {
    let wrong = 0;
    const many = onPort("many", (p, _view, out) => {
      for (let round = 0; round < 2; round++) for (let id = 1; id <= 200; id++) out.item(chassisScope(p.host), "meter", id, { unit: "pps", rate: 100 + (round === 1 && id === 150 ? wrong : 0), burst: 1 });
    });
    const w = await World.make({ name: "a", rules: [many] });
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.items("h1").size).toBe(200);
    wrong = 1;
    await w.change((tx) => tx.put(ports, port(1, { note: "x" })));
    expect(w.items("h1").size).toBe(0);
    expect(w.logged.splice(0).map((l) => (l.err as Error).message)).toEqual(["one run wants two different things for meter 150"]);
    wrong = 0;
    await w.change((tx) => tx.put(ports, port(1)));
  });

  test("replaced, each is looked at a few times, not once for each other", () => {
    let looks = 0;
    const output = (id: number, text: string): Output => ({
      scope: "s", text,
      get key() {
        looks++;
        return `meter ${id}`;
      },
      is: "item", wish: { kind: "meter", id, text, value: { unit: "pps", rate: 1, burst: 1 } },
    });
    const store = new OutputStore<string>(new Scopes(), (owner) => owner, () => undefined);
    const before = Array.from({ length: N }, (_, i) => output(i, "a"));
    const after = Array.from({ length: N }, (_, i) => output(i, i % 100 === 0 ? "b" : "a"));
    store.replace("run", [], before);
    store.replace("run", before, after);
    expect(looks).toBeLessThan(20 * N);
  });

  test("emitted, they take no longer than twice as many short runs", async () => {
    const rules = [onPort("many", (p, _view, out) => {
      const [from, to] = p.note!.split("-").map(Number);
      for (let id = from!; id < to!; id++) out.item(chassisScope(p.host), "meter", id, { unit: "pps", rate: 100, burst: 1 });
    })];
    const timed = async (notes: readonly string[]): Promise<number> => {
      const w = await World.make({ name: "a", rules });
      const began = performance.now();
      await w.change((tx) => notes.forEach((note, i) => tx.put(ports, port(i + 1, { note }))));
      const ms = performance.now() - began;
      expect(w.items("h1").size).toBe(N);
      await w.change((tx) => notes.forEach((_, i) => tx.delete(ports, `p${i + 1}`)));
      return ms;
    };
    const short = await timed(Array.from({ length: N / 15 }, (_, i) => `${1 + i * 15}-${16 + i * 15}`));
    expect(await timed([`1-${N + 1}`])).toBeLessThan(2 * short + 200);
  }, 60_000);
});
