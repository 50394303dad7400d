// Flows as bytes: what of the slabs is held, and for how long a merged flow is the same.
import { describe, expect, test } from "vitest";
import { baseScope, chassisScope } from "#app";
import type { Flow } from "../desired.ts";
import { mac, onPort, port, ports, to, World } from "../testing/world.ts";

describe("memory of flows", () => {
  test("one live flow does not pin its slab: after any churn the slabs hold a few times what lives", async () => {
    const many = onPort("many", (p, _view, out) => {
      for (let i = 0; i < 60; i++) out.flow(chassisScope(p.host), "t_fwd", to(`02:00:00:${p.id.slice(1).padStart(2, "0")}:${String(i).padStart(2, "0")}:${p.note ?? "00"}`, i + 1));
      // One that stays the same, whatever the port says.
      out.flow(chassisScope(p.host), "t_in", to(p.mac, 1));
    });
    const w = await World.make({ name: "a", rules: [many] });
    for (let round = 0; round < 40; round++) await w.change((tx) => [1, 2, 3, 4].forEach((n) => tx.put(ports, port(n, { note: String(10 + round) }))));
    const { held, live } = w.engine.stats.memory;
    expect(live).toBeGreaterThan(4 * 61 * 80);
    expect(held).toBeLessThan(4 * live + 3 * 16_384);
    await w.change((tx) => [1, 2, 3, 4].forEach((n) => tx.delete(ports, `p${n}`)));
    expect(w.engine.stats.memory.live).toBeLessThan(1000);
  });

  test("merged flows are made once for a change: the same bytes until a contributor changes", async () => {
    const member = onPort("member", (p, _view, out) => out.flow(baseScope, "t_in", { priority: 5, match: { eth_type: 0x0800, ipv4_src: "10.0.0.1" }, actions: [{ type: "conjunction", id: Number(p.id.slice(1)), clause: 0, n_clauses: 2 }] }));
    const w = await World.make({ name: "a", rules: [member] });
    await w.change((tx) => [port(1), port(2)].forEach((p) => tx.put(ports, p)));
    const flow = (): Flow => [...w.engine.flowsOf("h1")][0]!;
    const before = flow();
    expect(flow()).toBe(before);
    await w.change((tx) => tx.put(ports, port(1, { mac: mac(8) })));
    expect(flow()).toBe(before);
    await w.change((tx) => tx.put(ports, port(3)));
    expect(flow()).not.toBe(before);
  });

  test("the flows of a chassis in steps are those of one instant, whatever changes in between", async () => {
    const macOf = (id: string): string => `02:00:00:00:${Number(id.slice(1)).toString(16).padStart(4, "0").replace(/^../, "$&:")}`;
    const w = await World.make({ name: "a", rules: [onPort("p", (p, _view, out) => out.flow(chassisScope(p.host), "t_in", to(macOf(p.id), 1)))] });
    const numbers = Array.from({ length: 1200 }, (_, i) => i + 1);
    await w.change((tx) => numbers.forEach((n) => tx.put(ports, port(n))));
    const keys = (flows: readonly Flow[]): string[] => flows.map(({ key }) => key).sort();
    const quiet = w.engine.flowsInSteps("h1");
    let steps = 0;
    let step = quiet.next();
    for (; step.done !== true; step = quiet.next()) steps++;
    expect(steps).toBeGreaterThan(2);
    expect(keys(step.value)).toEqual(keys(w.engine.flowsOf("h1")));
    // One that goes and comes again is at another place; one that changes after each step lets it end all the same.
    const busy = w.engine.flowsInSteps("h1");
    let changes = 0;
    for (step = busy.next(); step.done !== true; step = busy.next()) {
      await w.change((tx) => tx.delete(ports, "p1"));
      await w.change((tx) => tx.put(ports, port(1)));
      if (++changes > 20) break;
    }
    expect(changes).toBeLessThan(10);
    expect(step.done === true && keys(step.value)).toEqual(keys(w.engine.flowsOf("h1")));
  });
});
