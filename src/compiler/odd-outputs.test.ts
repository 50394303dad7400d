// What a rule puts out that is no flow, item, row or edge: it costs that run its output, and nobody else anything.
import { describe, expect, test } from "vitest";
import { chassisScope } from "#app";
import { mac, netScope, onPort, port, ports, to, World } from "./testing/world.ts";

describe("what a rule puts out that is none", () => {
  const h1 = "chassis:h1";
  const cases: Readonly<Record<string, (out: Record<"flow" | "item" | "include" | "variant" | "row" | "patch", (...args: unknown[]) => void>) => void>> = {
    "a flow in no scope": (out) => out.flow(undefined, "t_in", to(mac(1), 1)),
    "a flow of no shape": (out) => out.flow(h1, { table: "t_in", name: "x" }, {}),
    "a flow with the priority of table-miss entries": (out) => out.flow(h1, "t_in", { priority: 0, match: {}, actions: [] }),
    "no flow": (out) => out.flow(h1, "t_in", undefined),
    "a flow larger than a message": (out) => out.flow(h1, "t_in", { priority: 1, match: {}, actions: Array.from({ length: 20_000 }, () => ({ type: "output", port: 1 })) }),
    "a name of every object in a match": (out) => out.flow(h1, "t_in", { priority: 1, match: JSON.parse(`{"__proto__": 5}`) as object, actions: [] }),
    "a name of every object for an action": (out) => out.flow(h1, "t_in", { priority: 1, match: {}, actions: [{ type: "constructor" }] }),
    "an item in no scope": (out) => out.item(undefined, "meter", 1, { unit: "pps", rate: 1, burst: 1 }),
    "a group of nothing": (out) => out.item(h1, "group", 1, { type: "all", buckets: [null] }),
    "a group of a kind that is none": (out) => out.item(h1, "group", 1, { type: "some", buckets: [] }),
    "a group with a weight that has no room": (out) => out.item(h1, "group", 1, { type: "select", buckets: [{ weight: 70_000, actions: [] }] }),
    "a group that watches half a port": (out) => out.item(h1, "group", 1, { type: "ff", buckets: [{ watchPort: 1.5, actions: [] }] }),
    "a group with an action that is none": (out) => out.item(h1, "group", 1, { type: "all", buckets: [{ actions: [{ type: "output", port: -1 }] }] }),
    "a group larger than a message": (out) => out.item(h1, "group", 1, { type: "all", buckets: Array.from({ length: 5000 }, () => ({ actions: [] })) }),
    "a meter of a unit that is none": (out) => out.item(h1, "meter", 9, { unit: "Mbps", rate: 1, burst: 1 }),
    "an item of a kind that is none": (out) => out.item(h1, "gauge", 9, {}),
    "an edge from nowhere": (out) => out.include(undefined, "net:n"),
    "an edge to nowhere": (out) => out.include(h1, undefined),
    "a variant of nobody": (out) => out.variant(undefined, "x"),
    "no variant": (out) => out.variant("h1", undefined),
    "a row without columns": (out) => out.row(h1, "Port", "x", undefined),
    "a row without a key": (out) => out.row(h1, "Port", undefined, {}),
    "a row of a table that there is none": (out) => out.row(h1, "constructor", "x", {}),
    "a row of an interface without a port": (out) => out.row(h1, "Interface", "x", { type: "internal" }),
    "a row with a column that there is none": (out) => out.row(h1, "Queue", "x", { constructor: 5 }),
    "a port with a column that there is none": (out) => out.row(h1, "Port", "x", { interface: { type: "internal" }, port: { name: "y" } }),
    "a port on a bridge without a name": (out) => out.row(h1, "Port", "x", { interface: { type: "internal" }, bridge: "" }),
    "a patch of a row that is none's": (out) => out.patch(h1, { table: "Queue", name: "x", column: "dscp", value: 5 }),
    "a patch of a map as a whole": (out) => out.patch(h1, { table: "Port", name: "x", column: "other_config", value: {} }),
    "a patch of a key that is none": (out) => out.patch(h1, { table: "Port", name: "x", column: "tag", key: "a", value: 5 }),
    "a patch of a key that is no text": (out) => out.patch(h1, { table: "Port", name: "x", column: "other_config", key: "a", value: 5 }),
    "a patch of a mark": (out) => out.patch(h1, { table: "Port", name: "x", column: "external_ids", key: "axion-port", value: "true" }),
    "a patch of a name": (out) => out.patch(h1, { table: "Port", name: "x", column: "name", value: "y" }),
    "no patch": (out) => out.patch(h1, undefined),
    "a patch without a value": (out) => out.patch(h1, { table: "Port", name: "x", column: "qos" }),
  };
  test.each(Object.entries(cases))("%s: the run is without output, all else goes on and nothing stays", async (_, emit) => {
    const both = onPort("both", (p, _view, out) => {
      const n = Number(p.id.slice(1));
      out.flow(chassisScope("h1"), "t_in", to(mac(n), 1));
      out.item(chassisScope("h1"), "meter", n, { unit: "pps", rate: 5, burst: 0 });
      out.include(chassisScope("h1"), netScope(p.id));
      if (p.note === "odd") emit(out as never);
    });
    const w = await World.make({ name: "a", rules: [both] });
    await w.change((tx) => [1, 2].forEach((n) => tx.put(ports, port(n))));
    await w.change((tx) => tx.put(ports, port(1, { note: "odd" })));
    expect(w.flows("h1")).toHaveLength(1);
    expect(w.logged).toMatchObject([{ app: "a", rule: "both", entity: "p1" }]);
    await w.change((tx) => tx.put(ports, port(1, { note: "odd", mac: mac(7) })), (tx) => tx.put(ports, port(3)));
    await w.change((tx) => tx.put(ports, port(1)));
    expect(w.flows("h1")).toHaveLength(3);
    await w.change((tx) => tx.delete(ports, "p1"));
    expect(w.flows("h1")).toHaveLength(2);
  });

  test("a scope that only a failed run named is forgotten", async () => {
    const bad = onPort("bad", (p, _view, out) => {
      out.flow(netScope(p.id), "t_in", to(mac(1), 1));
      throw new Error("a bug");
    });
    const w = await World.make({ name: "a", rules: [bad] });
    for (let n = 0; n < 9; n++) {
      await w.change((tx) => tx.put(ports, port(n)));
      await w.change((tx) => tx.delete(ports, `p${n}`));
    }
    const { states } = (w.engine as unknown as { readonly flows: { readonly states: ReadonlyMap<string, unknown> } }).flows;
    expect([...states.keys()].filter((name) => name.startsWith("net:"))).toEqual([]);
  });

  test("thousands of outputs of one run are not compared each with each", async () => {
    const many = onPort("many", (p, _view, out) => {
      for (let n = 1; n <= 20_000; n++) out.item(chassisScope("h1"), "meter", n, { unit: "pps", rate: n, burst: p.note === undefined ? 0 : 1 });
    });
    const w = await World.make({ name: "a", rules: [many] });
    const begin = performance.now();
    await w.change((tx) => tx.put(ports, port(1)));
    await w.change((tx) => tx.put(ports, port(1, { note: "more" })));
    expect(performance.now() - begin).toBeLessThan(6000); // each with each: minutes
  });
});
