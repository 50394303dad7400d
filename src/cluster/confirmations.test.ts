// How soon, and how often, a controller tells what its switches have confirmed: etcd here is what takes so long to take it.
import { pino } from "pino";
import { expect, test } from "vitest";
import { SimulatedClock } from "../lib/clock.ts";
import { Confirmations } from "./confirmations.ts";

/** `takes`: ms of one. */
function telling(takes: number, master = "a"): { readonly clock: SimulatedClock; readonly told: { at: number; generation: number }[]; readonly confirm: () => void; readonly generation: () => number } {
  const clock = new SimulatedClock();
  const told: { at: number; generation: number }[] = [];
  let generation = 0;
  const confirmations = new Confirmations({
    members: {
      name: "a", onPublished: () => undefined,
      publish: (_topic, text) => {
        told.push({ at: clock.monotonic(), generation: (JSON.parse(text) as { generation: number }).generation });
        return new Promise((done) => {
          clock.setTimeout(done, takes);
        });
      },
    },
    mastership: { masterOf: () => master, share: () => "all" }, onChange: () => () => undefined, chassis: () => ["hv1"], confirmed: () => generation, rows: () => generation, reached: () => generation,
    clock, log: pino({ level: "silent" }), told: new Set(),
  });
  const confirm = (): void => {
    generation++;
    confirmations.changed();
  };
  return { clock, told, generation: () => generation, confirm };
}

test("changes that come one after the other are each told at once; without end they are told in a part of the time, the last one always", async () => {
  const { clock, told, confirm, generation } = telling(4);
  for (let n = 1; n <= 50; n++) {
    const at = clock.monotonic();
    confirm();
    await clock.run(20);
    expect(told.at(-1)).toEqual({ at, generation: n });
  }
  const before = told.length;
  for (let n = 0; n < 1000; n++) {
    confirm();
    await clock.run(1);
  }
  await clock.run(200);
  expect(told.at(-1)!.generation).toBe(generation());
  // One takes 4 ms, and 8 ms are let pass from one to the next.
  expect(told.length - before).toBeLessThanOrEqual(1000 / 8 + 5);
  expect(told.length - before).toBeGreaterThan(1000 / 8 / 2);
});

test("of an etcd that is slow no more is asked than ten times a second", async () => {
  const { clock, told, confirm, generation } = telling(80);
  for (let n = 0; n < 5000; n++) {
    confirm();
    await clock.run(1);
  }
  await clock.run(500);
  expect(told.at(-1)!.generation).toBe(generation());
  expect(told.length).toBeLessThanOrEqual(5000 / 100 + 8);
  expect(told.length).toBeGreaterThan(20);
});

test("who is the master of no switch has nothing to tell but that, however much is committed", async () => {
  const { clock, told, confirm } = telling(4, "b");
  for (let n = 0; n < 100; n++) {
    confirm();
    await clock.run(20);
  }
  expect(told).toHaveLength(1);
});
