// Whole clusters under faults, by seed: README.md. Short form here, thousands of seeds a night.
import { beforeAll, expect, test } from "vitest";
import { nightly } from "../support/process.ts";
import { warmUp } from "./controller.ts";
import { makePlan, shrink, textOf, type Plan } from "./plan.ts";
import { run } from "./simulation.ts";

/** A number, or a plan as a failure prints it. */
const given = process.env.AXION_SEED;
const SHORT = 6;
const plans: (() => Plan)[] = given !== undefined ? [() => (given.startsWith("{") ? (JSON.parse(given) as Plan) : makePlan(Number(given)))]
  : Array.from({ length: nightly ? 2000 : SHORT }, (_, i) => () => makePlan(nightly ? Math.floor(Math.random() * 1e9) : i + 1));

beforeAll(() => warmUp({ all: nightly }));

test(`clusters under faults keep what they promise, and each run is the same again: ${plans.length} seeds`, { timeout: 120_000 + plans.length * 60_000 }, async () => {
  const calls = { acknowledged: 0, refused: 0, unknown: 0 };
  for (const make of plans) {
    const plan = make();
    const first = await run(plan);
    if (first.failures.length > 0) {
      const shortest = given?.startsWith("{") === true ? plan : await shrink(plan, async (tried) => (await run(tried)).failures.length > 0);
      const { failures } = await run(shortest);
      throw new Error(`seed ${plan.seed}: ${first.failures.join("; ")}\nAXION_SEED=${plan.seed} npx vitest run test/sim makes it again. With ${shortest.steps.length} of ${plan.steps.length} steps it is (${failures.join("; ")}):\nAXION_SEED='${textOf(shortest)}' npx vitest run test/sim`);
    }
    const again = await run(plan);
    expect([again.digest, again.events], `seed ${plan.seed}, run twice`).toEqual([first.digest, first.events]);
    for (const what of ["acknowledged", "refused", "unknown"] as const) calls[what] += first.calls[what];
  }
  if (given !== undefined) return;
  expect(calls.acknowledged).toBeGreaterThan(8 * plans.length);
  expect(calls.unknown).toBeGreaterThan(0);
});
