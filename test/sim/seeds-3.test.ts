// Seeds after those of sim.test.ts; in three files, as each has a process of its own.
// @module-tag long
import { beforeAll, expect, test } from "vitest";
import { warmUp } from "./controller.ts";
import { makePlan } from "./plan.ts";
import { runTwice } from "./seeds.ts";

const FROM = 74;
const COUNT = 35;

beforeAll(() => warmUp({ all: false }));

test(`clusters under faults keep what they promise, and each run is the same again: seeds ${FROM} to ${FROM + COUNT - 1}`, { timeout: 120_000 + COUNT * 60_000 }, async () => {
  const calls = await runTwice(Array.from({ length: COUNT }, (_, i) => () => makePlan(FROM + i)));
  expect(calls.acknowledged).toBeGreaterThan(8 * COUNT);
  expect(calls.unknown).toBeGreaterThan(0);
});
