// Seeds, one after the other: each run twice, and what fails made short.
import { expect } from "vitest";
import { shrink, textOf, type Plan } from "./plan.ts";
import { run } from "./simulation.ts";

/** What became of calls of clients, of all plans together. */
export interface Calls {
  acknowledged: number;
  refused: number;
  unknown: number;
}

/** Throws at the first plan that fails, with it and its shortest form, or that runs otherwise the second time. */
export async function runTwice(plans: readonly (() => Plan)[], isShort = false): Promise<Calls> {
  const calls = { acknowledged: 0, refused: 0, unknown: 0 };
  for (const make of plans) {
    const plan = make();
    const first = await run(plan);
    if (first.failures.length > 0) {
      const shortest = isShort ? plan : await shrink(plan, async (tried) => (await run(tried)).failures.length > 0);
      const { failures } = await run(shortest);
      throw new Error(`seed ${plan.seed}: ${first.failures.join("; ")}\nAXION_SEED=${plan.seed} npx vitest run test/sim/sim.test.ts makes it again. With ${shortest.steps.length} of ${plan.steps.length} steps it is (${failures.join("; ")}):\nAXION_SEED='${textOf(shortest)}' npx vitest run test/sim/sim.test.ts`);
    }
    const again = await run(plan);
    expect([again.digest, again.events], `seed ${plan.seed}, run twice`).toEqual([first.digest, first.events]);
    for (const what of ["acknowledged", "refused", "unknown"] as const) calls[what] += first.calls[what];
  }
  return calls;
}
