// Whatever the history of changes, the incremental result equals a compile from scratch, and a switch that was told every
// difference holds exactly that. The history goes through the real API; a refused call is part of it.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compare } from "../support/from-scratch.ts";
import { conntrackHelperTable } from "../../apps/conntrack-helpers/model.ts";
import { ndpProxyTable } from "../../apps/ndp-proxy/model.ts";
import { Harness } from "../support/harness.ts";
import { History, step } from "./history.ts";

describe("incremental equals from scratch", () => {
  const nightly = process.env.AXION_NIGHTLY === "1";
  for (const { runs, ...stage } of [{ runs: 7 }, { runs: nightly ? 2000 : 20, tags: "long" }]) test(`after every step of ${runs} random histories`, { ...stage, timeout: nightly ? 1_800_000 : 300_000 }, async () => {
    let flowsSeen = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
        const h = await Harness.make();
        try {
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
          await history.run({ do: "subnet", n: 2, m: 2 });
          await history.run({ do: "gateway", n: 0, m: 2 });
          // IPv6 behind the gateway, for what is proxied there.
          await history.run({ do: "subnet", n: 0, m: 5 });
          await history.run({ do: "interface", n: 0, m: 4 });
          await history.run({ do: "port", n: 0, m: 1 });
          await history.run({ do: "proxy", n: 0, m: 13 }); // the port that was made last
          await history.run({ do: "helper", n: 0, m: 2 });
          expect([[...h.view.all(ndpProxyTable)].length, [...h.view.all(conntrackHelperTable)].length]).toEqual([1, 1]);
          await h.settled();
          compare(h);
          for (const s of steps) {
            await history.run(s);
            await h.settled();
            compare(h);
          }
          flowsSeen = Math.max(flowsSeen, h.engine.stats.flows);
        } finally {
          await h.close();
        }
      }),
      { numRuns: runs },
    );
    expect(flowsSeen, "the histories reach states with ports, policies and routers").toBeGreaterThan(220);
  });
});
