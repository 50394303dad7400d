// What the filter calls single is single, whatever came and went; and it seldom says no without need.
import fc from "fast-check";
import { expect, test } from "vitest";
import { KeyCounts } from "./key-counts.ts";

test("never calls a key single that two scopes of a chassis may have, through full counters and with roots that meet", () => {
  const step = fc.record({ hash: fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.nat(5)), root: fc.boolean(), times: fc.constantFrom(1, 1, 2, 40), add: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, meet) => {
      const counts = new KeyCounts();
      counts.rootsMeet = meet;
      const real = new Map<number, [roots: number, others: number]>();
      for (const { hash, root, times, add } of steps) {
        const now = real.get(hash) ?? [0, 0];
        real.set(hash, now);
        for (let i = 0; i < times; i++) {
          const at = root ? 0 : 1;
          if (add) {
            counts.add(hash, root);
            now[at]++;
          } else if (now[at] > 0) {
            counts.remove(hash, root);
            now[at]--;
          }
        }
        for (const [h, [roots, others]] of real) if ((meet ? roots : Math.min(1, roots)) + others > 1) expect(counts.single(h)).toBe(false);
      }
    }),
  );
});

test("says no without need for less than one key in twenty", () => {
  const counts = new KeyCounts();
  const hashes = Array.from({ length: 100_000 }, (_, i) => Math.imul(i + 1, 0x27d4eb2d) ^ (i << 7));
  counts.reset(hashes.length / 2);
  for (const hash of hashes) counts.add(hash, false);
  expect(counts.crowded).toBe(false);
  expect(hashes.filter((hash) => !counts.single(hash)).length / hashes.length).toBeLessThan(0.05);
  for (const hash of hashes.slice(1)) counts.remove(hash, false);
  expect(counts.single(hashes[0]!)).toBe(true);
});
