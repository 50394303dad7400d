// Flows as bytes: what of the slabs is held, and for how long a merged flow is the same.
import { describe, expect, test } from "vitest";
import { baseScope, chassisScope } from "#app";
import type { Flow } from "./desired.ts";
import { mac, onPort, port, ports, to, World } from "./testing/world.ts";

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
});
