// Every flow names the API resources that it is there for, or the host, or says that it is there always; so does what is told of flows that go.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Harness } from "../support/harness.ts";
import { History, step } from "./history.ts";

const HOSTS = ["hv0", "hv1", "hv2", "hv3"];
const nightly = process.env.AXION_NIGHTLY === "1";

/** What is there for a port names it, though its rule runs on where the port is. */
const WANTED = [/^dhcp\/served-port port\b/, /^security-groups\/port-connections port\b/, /^security-groups\/remote-group-member port\b/];

test("flows name what they are there for, after random histories", { timeout: 600_000 }, async () => {
  const named = new Set<string>();
  const unseen = (): RegExp[] => WANTED.filter((wanted) => ![...named].some((name) => wanted.test(name)));
  // As long as chance has not made all that is looked for.
  for (let round = 0; round === 0 || (unseen().length > 0 && round < 20); round++) await look(named);
  expect(unseen()).toEqual([]);
});

async function look(named: Set<string>): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 60, maxLength: 120 }), async (steps) => {
      const h = await Harness.make();
      try {
        const history = new History(h);
        // As it is told of each batch, of what is added and of what goes, whether or not what it was there for is gone by then.
        const before = h.engine.remember();
        const untold: string[] = [];
        h.engine.onDelta(({ chassis }) => {
          for (const { add, remove } of chassis.values()) {
            for (const why of [...add.map((f) => h.engine.provenance(f)), ...remove.map((f) => h.engine.provenanceBefore(f))]) {
              if (!why.static && why.resources.length === 0) untold.push(`${why.app}/${why.rule} of ${why.entity}`);
            }
          }
        });
        for (const n of [0, 1, 2]) await history.run({ do: "chassis", n });
        for (const s of steps) await history.run(s);
        await h.settled();
        expect([...new Set(untold)]).toEqual([]);
        before();
        for (const host of HOSTS) {
          for (const f of h.engine.flowsOf(host)) {
            const { app, rule, entity, resources, static: always } = h.engine.provenance(f);
            expect(resources.length > 0, `${app}/${rule} of ${entity}`).toBe(!always);
            named.add(`${app}/${rule} ${resources.map((r) => r.type).join()}`);
          }
        }
      } finally {
        await h.close();
      }
    }),
    { numRuns: nightly ? 300 : 15 },
  );
}
