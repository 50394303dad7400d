// Two whole controllers on one store, without switches: what one brings about the other compiles likewise, and what follows from it is written
// once, by the one that brought it about, or by the other when that one does not.
import { afterAll, expect, onTestFinished, test } from "vitest";
import { poolNumberTable } from "#app";
import { textOf, type Harness } from "../support/harness.ts";
import { Probes } from "./probes/support.ts";

const probes = new Probes("wire");
afterAll(() => probes.delete());
const NUMBERS = "numbers of pools";

async function two(): Promise<readonly [Harness, Harness]> {
  const one = await probes.harness();
  const other = await one.beside();
  onTestFinished(async () => {
    await during(one, other.close());
    await during(one, one.close());
  });
  return [one, other];
}

let physical = 0;
/** A port on a physical network of its own, which wants a number of the probe's pool. Its holder. */
async function wire(h: Harness): Promise<string> {
  const network = await h.create("network", {});
  const port = await h.create("port", { network_id: network.id });
  const name = `ext${++physical}`;
  await h.create("wire", { port_id: port.id, physical_network: name, blocked: [] });
  return `|${name}=`;
}

/** Time passes for both until it is done. */
async function during<T>({ clock }: Harness, work: Promise<T>): Promise<T> {
  let settled = false;
  void work.finally(() => (settled = true)).catch(() => undefined);
  while (!settled) await clock.run(1).then(() => new Promise((later) => setImmediate(later)));
  return work;
}

const numbers = (h: Harness): string[] => Array.from(h.model.view.all(poolNumberTable), ({ id, n }) => `${id}=${n}`).sort();
const flows = (h: Harness): string[] => Array.from(h.engine.flowsOf("hv1"), textOf).sort();
/** How often each number that a claim wanted was written. */
async function writes(h: Harness): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { call, changes } of (await h.past().history.list({ limit: 10_000 })).commits) {
    if (call === NUMBERS) for (const { type, id } of changes) if (type === poolNumberTable.name) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}
const same = async (one: Harness, other: Harness): Promise<void> => {
  do {
    await during(one, one.settled());
    await during(one, other.settled());
  } while (one.model.generation !== other.model.generation);
  expect(numbers(other)).toEqual(numbers(one));
  expect(flows(other)).toEqual(flows(one));
};

test("numbers that rules need are taken once, by whom the change is made, though each controller sees that they are needed", { timeout: 120_000 }, async () => {
  const [one, other] = await two();
  await during(one, one.addChassis("hv1"));
  for (let n = 0; n < 4; n++) {
    const by = n % 2 === 0 ? one : other;
    const holder = await during(one, wire(by));
    await during(one, by.settled());
    await same(one, other);
    expect(numbers(one).filter((id) => id.includes(holder)).length).toBeGreaterThan(0);
  }
  const counts = await writes(one);
  expect(counts.size).toBeGreaterThanOrEqual(4);
  for (const [id, times] of counts) expect(times, id).toBe(1);
});

test("numbers that the one which brought it about does not take are taken by the other a moment later", { timeout: 120_000 }, async () => {
  const [one, other] = await two();
  await during(one, one.addChassis("hv1"));
  await same(one, other);
  await one.claims.stop();
  const holder = await during(one, wire(one));
  await one.clock.run(1000);
  await during(one, other.settled());
  expect((await writes(other)).size).toBeGreaterThan(0);
  while (one.model.generation < other.model.generation || one.engine.generation < one.model.generation) await one.clock.run(1);
  expect(numbers(one).filter((id) => id.includes(holder)).length).toBeGreaterThan(0);
  expect(numbers(other)).toEqual(numbers(one));
  expect(flows(other)).toEqual(flows(one));
});
