// Whole clusters under faults, by seed: README.md. The first seeds here, a hundred more in seeds-*.test.ts, thousands a night.
import { beforeAll, expect, test } from "vitest";
import { nightly } from "../support/process.ts";
import { warmUp } from "./controller.ts";
import { makePlan, type Plan } from "./plan.ts";
import { runTwice } from "./seeds.ts";

/** A number, or a plan as a failure prints it. */
const given = process.env.AXION_SEED;
const SHORT = 3;
const plans: (() => Plan)[] = given !== undefined ? [() => (given.startsWith("{") ? (JSON.parse(given) as Plan) : makePlan(Number(given)))]
  : Array.from({ length: nightly ? 2000 : SHORT }, (_, i) => () => makePlan(nightly ? Math.floor(Math.random() * 1e9) : i + 1));

beforeAll(() => warmUp({ all: nightly }));

test(`clusters under faults keep what they promise, and each run is the same again: ${plans.length} seeds`, { timeout: 120_000 + plans.length * 60_000 }, async () => {
  const calls = await runTwice(plans, given?.startsWith("{") === true);
  if (given !== undefined) return;
  expect(calls.acknowledged).toBeGreaterThan(8 * plans.length);
  expect(calls.unknown).toBeGreaterThan(0);
});
