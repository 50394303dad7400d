// Owners take turns, and a group that has a share of the time pauses.
import { expect, test } from "vitest";
import { SimulatedClock } from "../../lib/clock.ts";
import { Turns } from "./turns.ts";

const loopTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("one that waits with many pieces has no more turns than one that waits with a single one", async () => {
  const clock = new SimulatedClock();
  const turns = new Turns({ turnMs: 1, share: 1 }, clock);
  const done: string[] = [];
  const take = (owner: string): void => turns.take(owner, () => { done.push(owner); clock.advance(1); });
  for (let n = 0; n < 50; n++) take("many");
  take("single");
  expect(done).toEqual([]);
  for (let n = 0; n < 3; n++) await loopTurn();
  expect(done).toEqual(["many", "single", "many"]);
  while (turns.length > 0) await loopTurn();
  expect(done).toHaveLength(51);
});

test("a group with a third of the time pauses twice as long as it worked, and others are not held up in a turn for longer than a few milliseconds", async () => {
  const clock = new SimulatedClock();
  const turns = new Turns({ turnMs: 2, share: 1 / 3 }, clock);
  let done = 0;
  for (let n = 0; n < 100; n++) turns.take(`one ${n}`, () => { done++; clock.advance(0.5); });
  await loopTurn();
  expect(done).toBe(4);
  clock.advance(3);
  await loopTurn();
  expect(done).toBe(4);
  clock.advance(1);
  await loopTurn();
  expect(done).toBe(8);
});

test("pieces that go on later get one turn each time, however many do", async () => {
  const clock = new SimulatedClock();
  const turns = new Turns({ turnMs: 1, share: 1 }, clock);
  const done: number[] = [];
  const goOn = (n: number) => (): void => {
    done.push(n);
    clock.advance(1);
    turns.take(`one ${n}`, goOn(n));
  };
  for (let n = 0; n < 5; n++) turns.take(`one ${n}`, goOn(n));
  for (let loop = 1; loop <= 20; loop++) {
    await loopTurn();
    expect(done).toHaveLength(loop);
  }
  expect(done.slice(0, 10)).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
});

test("a piece that fails takes no other with it", async () => {
  const turns = new Turns({ turnMs: 0, share: 1 }, new SimulatedClock());
  const failures: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.once("uncaughtException", (error) => failures.push(error));
  try {
    let done = false;
    turns.take("a", () => { throw new Error("a bug"); });
    turns.take("b", () => { done = true; });
    await loopTurn();
    await loopTurn();
    expect(done).toBe(true);
    expect(failures).toMatchObject([{ message: "a bug" }]);
  } finally {
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
});

test("one whose pieces are small does not wait longer than one with a few large ones for as much work", async () => {
  const clock = new SimulatedClock();
  const turns = new Turns({ turnMs: 1, share: 1 }, clock);
  const spent = { small: 0, large: 0 };
  const take = (owner: keyof typeof spent, ms: number): void => turns.take(owner, () => {
    clock.advance(ms);
    spent[owner] += ms;
    take(owner, ms);
  });
  for (let n = 0; n < 100; n++) take("small", 0.05);
  take("large", 1);
  for (let n = 0; n < 60; n++) await loopTurn();
  expect(spent.small).toBeGreaterThan(10);
  expect(spent.large).toBeGreaterThan(10);
  expect(spent.large / spent.small).toBeLessThan(2.5);
});

test("pieces that take no time do not hold the event loop", async () => {
  const turns = new Turns({ turnMs: 1, share: 1 }, new SimulatedClock());
  let done = 0;
  const goOn = (): void => {
    if (++done < 1000) turns.take("one", goOn);
  };
  turns.take("one", goOn);
  await loopTurn();
  expect(done).toBeLessThan(100);
  while (turns.length > 0) await loopTurn();
  expect(done).toBe(1000);
});
