// Random calls are what their plans say.
// @module-tag long
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compare } from "../support/from-scratch.ts";
import { Harness } from "../support/harness.ts";
import { History, step } from "./history.ts";
import { Planned } from "./planned.ts";

const nightly = process.env.AXION_NIGHTLY === "1";

async function begin(h: Harness): Promise<History> {
  const history = new History(h);
  for (const n of [0, 1, 2]) await history.run({ do: "chassis", n });
  for (const n of [0, 1]) {
    await history.run({ do: "network", n });
    await history.run({ do: "subnet", n, m: 0 });
    for (const m of [1, 1, 1]) await history.run({ do: "port", n, m });
    await history.run({ do: "group", n });
    await history.run({ do: "rule", n, m: n });
  }
  await history.run({ do: "router", n: 0 });
  for (const m of [0, 1]) await history.run({ do: "interface", n: 0, m });
  for (const n of [0, 1, 2, 3, 4]) await history.run({ do: "plug", n, m: n });
  await history.run({ do: "network", n: 2 });
  await history.run({ do: "subnet", n: 2, m: 0 });
  await history.run({ do: "external", n: 2, m: 1 });
  await history.run({ do: "gateway", n: 0, m: 2 });
  return history;
}

describe("plans against the truth", () => {
  test("what is planned of random calls is what they come to", { timeout: 1_800_000 }, async () => {
    let [calls, effective, joining] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 60 }), async (steps) => {
        const h = await Harness.make();
        try {
          const planned = new Planned({ judged: nightly ? Infinity : 6 });
          planned.of(h);
          const history = await begin(h);
          for (const s of steps) await history.run(s);
          await h.settled();
          compare(h);
          calls += planned.calls;
          effective += planned.effective;
          joining += planned.joining;
          if (nightly) console.info(`${calls} calls were planned and applied, of which ${effective} changed flows, and ${joining} who reaches whom`);
        } finally {
          await h.close();
        }
      }),
      { numRuns: nightly ? 30 : 2 },
    );
    expect(calls).toBeGreaterThan(nightly ? 1000 : 50);
    expect(effective / calls, "many of the calls change flows").toBeGreaterThan(0.1);
    expect(joining, "and who reaches whom").toBeGreaterThan(0);
  });
});
