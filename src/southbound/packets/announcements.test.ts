// What is told of flows that arrived: once for each that a real switch did not have before, a few at a time.
import { afterEach, describe, expect, test } from "vitest";
import type { Flow } from "../../compiler/desired.ts";
import { SimulatedClock } from "../../lib/clock.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { flow, numbered, World } from "../testing/world.ts";
import type { FlowBytes, FlowEffects } from "../openflow/withdrawal.ts";
import { Announcements } from "./announcements.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const TABLE = 5;
const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const numberIn = ({ buf, matchOff }: FlowBytes): number => buf.readUInt32BE(matchOff + 8);

describe("on a real switch", () => {
  interface Told {
    readonly numbers: number[];
    readonly at: number[];
    readonly effects: FlowEffects;
  }
  function listening(): Told {
    const numbers: number[] = [];
    const at: number[] = [];
    const effects: FlowEffects = {
      withdrawn: new Set(), confirmed: new Set([TABLE]), flushes: () => [],
      packets: (_, seen) => {
        numbers.push(numberIn(seen));
        at.push(performance.now());
        return [];
      },
    };
    return { numbers, at, effects };
  }

  async function start(want: readonly Flow[], told: Told): Promise<{ ovs: Ovs; w: World }> {
    const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
    cleanup.push(() => ovs.stop());
    const w = await World.start({ want: () => ({ flows: want }), effects: told.effects });
    cleanup.push(() => w.stop());
    await w.adopt(ovs);
    return { ovs, w };
  }
  const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 200));

  test("new flows are told of; one that is replaced is not, nor what is there already; one that comes back is", async () => {
    const told = listening();
    const first = [numbered(1, 1, TABLE), numbered(2, 1, TABLE), numbered(3, 1, 6)];
    const { ovs, w } = await start(first, told);
    await eventually("both", () => told.numbers.length === 2);
    const become = async (...list: Flow[]): Promise<void> => {
      told.numbers.length = 0;
      await w.confirmed(await w.desired.become(() => ({ flows: list })));
      await settle();
    };
    await become(numbered(1, 2, TABLE), numbered(2, 1, TABLE), numbered(4, 1, TABLE));
    expect(told.numbers).toEqual([4]);
    expect((await ovs.flows()).filter((l) => l.includes("output:2"))).toHaveLength(1);
    await become(numbered(1, 2, TABLE));
    expect(told.numbers).toEqual([]);
    await become(numbered(1, 2, TABLE), numbered(2, 1, TABLE));
    expect(told.numbers).toEqual([2]);

    // Somebody takes one away and changes another: the one that was missing is told of.
    told.numbers.length = 0;
    await ovs.ofctl("del-flows", "br-int", "--strict", `table=${TABLE},priority=100,reg0=2`);
    await ovs.ofctl("mod-flows", "br-int", "--strict", `table=${TABLE},priority=100,reg0=1,actions=drop`);
    expect(await w.southbound.audit("hv1")).toMatchObject({ missing: 1, changed: 1 });
    await settle();
    expect(told.numbers).toEqual([2]);

    await w.southbound.stop();
    const later = listening();
    const again = await World.start({ want: () => ({ flows: [numbered(1, 2, TABLE), numbered(2, 1, TABLE)] }), store: w.store, ports: w.ports, effects: later.effects });
    cleanup.push(() => again.stop());
    await again.connected();
    await settle();
    expect(later.numbers).toEqual([]);
  }, 60_000);

  test("many are told of in turns, and those that go before their turn are not", async () => {
    const told = listening();
    const { w } = await start(range(2000).map((n) => numbered(n, 1, TABLE)), told);
    await eventually("the first", () => told.numbers.length > 0);
    await w.confirmed(await w.desired.become(() => ({ flows: range(1000).map((n) => numbered(n, 1, TABLE)) })));
    const before = told.numbers.length;
    expect(before).toBeLessThan(1000);
    await eventually("the rest", () => told.numbers.length >= 1000);
    await settle();
    expect(told.numbers).toEqual(range(told.numbers.length)); // each once
    expect(told.numbers.length).toBeLessThan(2000);
    expect(told.at.at(-1)! - told.at[0]!).toBeGreaterThan(300);
  }, 60_000);

  test("a flow that the switch refuses is not told of", async () => {
    const told = listening();
    const bad = flow({ table_id: TABLE, priority: 1, match: { reg0: 9 }, instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 77 }] }] });
    await start([bad, numbered(1, 1, TABLE)], told);
    await eventually("the good one", () => told.numbers.length > 0);
    await settle();
    expect(told.numbers).toEqual([1]);
  }, 60_000);
});

describe("the queue", () => {
  function make(limits: { limit?: number; total?: number } = {}): { queue: Announcements; clock: SimulatedClock; told: string[]; away: Set<string>; dropped: Record<string, number> } {
    const clock = new SimulatedClock();
    const told: string[] = [];
    const away = new Set<string>();
    const dropped: Record<string, number> = {};
    const queue = new Announcements({
      ...limits, clock, connected: (c) => !away.has(c), tell: (c, f) => void told.push(`${c} ${f.cookieLo}`), dropped: (c, n) => void (dropped[c] = (dropped[c] ?? 0) + n),
    });
    return { queue, clock, told, away, dropped };
  }

  test("chassis take turns, a batch at a time", () => {
    const { queue, clock, told } = make();
    queue.add("a", range(100).map((n) => numbered(n)));
    queue.add("b", [numbered(1)]);
    clock.advance(0);
    expect(told.slice(0, 3)).toEqual(["a 0", "b 1", "a 1"]);
    expect(told).toHaveLength(32);
    clock.advance(20);
    expect(told).toHaveLength(64);
    clock.advance(1000);
    expect([told.length, queue.waiting]).toEqual([101, 0]);
  });

  test("one chassis that is away waits, without holding up others, until it is in order", () => {
    const { queue, clock, told, away } = make();
    away.add("a");
    queue.add("a", [numbered(1), numbered(2)]);
    queue.add("b", [numbered(3)]);
    clock.advance(1000);
    expect(told).toEqual(["b 3"]);
    queue.withdraw("a", [numbered(1).key]);
    away.clear();
    queue.resume("a");
    clock.advance(1000);
    expect(told).toEqual(["b 3", "a 2"]);
    away.add("a");
    queue.add("a", [numbered(4)]);
    clock.advance(1000);
    queue.forget("a");
    expect(queue.waiting).toBe(0);
  });

  test("is bounded for each chassis and in all, and counts what is dropped", () => {
    const { queue, clock, told, dropped } = make({ limit: 5, total: 8 });
    queue.add("a", range(7).map((n) => numbered(n)));
    queue.add("a", [numbered(0)]); // known: it is no more
    queue.add("b", range(5).map((n) => numbered(n)));
    expect([queue.waiting, dropped]).toEqual([8, { a: 2, b: 2 }]);
    clock.advance(1000);
    expect(told).toHaveLength(8);
    queue.add("b", [numbered(9)]);
    queue.stop();
    clock.advance(1000);
    expect(told).toHaveLength(8);
  });
});
