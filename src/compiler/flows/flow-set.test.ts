// Against a plain map from key strings: whatever is put and deleted, both hold the same, in the order of first putting.
import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeFlowMod } from "node-openflow";
import { FlowSet, sameKey } from "./flow-set.ts";
import { OwnedFlow } from "./flows.ts";

const home = { name: "s" };

/** A flow with key `n`, its hash one of few so that keys collide; `cookie` tells flows of one key apart. */
function flow(n: number, cookie: number): OwnedFlow<string> {
  const buf = Buffer.alloc(256);
  encodeFlowMod(buf, 0, { command: "add", table_id: 1, priority: 1, cookie, match: { in_port: n }, instructions: [] });
  return new OwnedFlow("o", home, buf, 0, n % 7);
}

const steps = fc.array(fc.record({ n: fc.nat(60), do: fc.constantFrom("put", "put", "new", "delete") }), { maxLength: 400 });

test("put, replaced, deleted and read in any order", () => {
  fc.assert(
    fc.property(steps, (history) => {
      const set = new FlowSet<string>();
      const map = new Map<string, OwnedFlow<string>>();
      history.forEach((step, i) => {
        const f = flow(step.n, i);
        if (step.do === "delete") {
          set.delete(f);
          map.delete(f.key);
        } else if (step.do === "put") {
          set.set(f, f);
          map.set(f.key, f);
        } else {
          expect(set.addNew(f)).toBe(map.get(f.key));
          if (!map.has(f.key)) map.set(f.key, f);
        }
        expect(set.get(f)).toBe(map.get(f.key));
        expect(set.size).toBe(map.size);
      });
      expect([...set.values()]).toEqual([...map.values()]);
    }),
  );
});

test("equal hashes of different keys are no equal keys", () => {
  expect(sameKey(flow(1, 0), flow(8, 0))).toBe(false);
  expect(sameKey(flow(1, 0), flow(1, 5))).toBe(true);
});
