// The tree against an obvious model: whatever was taken, given back and reshaped, the lowest free prefix is the lowest free one.
import fc from "fast-check";
import { expect, test } from "vitest";
import { bitsOf, formatCidr, overlap, parseCidr, type Cidr, type Tx } from "#app";
import { Model } from "../../src/model/model.ts";
import { openMemory } from "../../src/store/memory.ts";
import { compact, halves, holds, subtract } from "./prefixes.ts";
import { giveBack, isFree, lowestFree, reshape, spaceTable, take } from "./space.ts";

const TOP = parseCidr("10.0.0.0/26")!;
/** Every prefix in `top`, lowest first, of this length. */
function all(top: Cidr, length: number): Cidr[] {
  return top.prefix === length ? [top] : top.prefix > length ? [] : halves(top).flatMap((half) => all(half, length));
}

test("what is free is found, taken, given back, and nothing is left", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ op: fc.constantFrom("take", "take", "exact", "back", "shape"), a: fc.nat(63), length: fc.integer({ min: 27, max: 32 }) }), { maxLength: 60 }), async (ops) => {
      const model = await Model.open(openMemory(), [spaceTable]);
      const run = <T>(fn: (tx: Tx) => T): Promise<T> => model.transact({ requestId: "r", call: "test" }, fn).then((r) => r.result);
      let prefixes: Cidr[] = [TOP];
      let taken: Cidr[] = [];
      for (const { op, a, length } of ops) {
        const candidates = prefixes.flatMap((p) => all(p, length));
        const free = candidates.filter((c) => !taken.some((t) => overlap(t, c)));
        if (op === "take") {
          const found = await run((tx) => lowestFree(tx, "p", prefixes, length));
          expect(found && formatCidr(found)).toBe(free[0] && formatCidr(free[0]));
          if (found === undefined) continue;
          await run((tx) => take(tx, "p", prefixes, found));
          taken.push(found);
        } else if (op === "exact") {
          const wanted = all(TOP, length)[a % (1 << (length - 26))]!;
          const can = prefixes.some((p) => holds(p, wanted)) && !taken.some((t) => overlap(t, wanted));
          expect(await run((tx) => isFree(tx, "p", prefixes, wanted))).toBe(can);
          if (!can) continue;
          await run((tx) => take(tx, "p", prefixes, wanted));
          taken.push(wanted);
        } else if (op === "back") {
          const gone = taken[a % Math.max(taken.length, 1)];
          if (gone === undefined) continue;
          await run((tx) => giveBack(tx, "p", prefixes, gone));
          taken = taken.filter((t) => t !== gone);
        } else {
          const part = all(TOP, length)[a % (1 << (length - 26))]!;
          const after = a % 2 === 0 ? subtract(prefixes, [part]) : compact([...prefixes, part]);
          if (after.length === 0) continue;
          const can = taken.every((t) => after.some((p) => holds(p, t)));
          const did = await run((tx) => reshape(tx, "p", prefixes, after)).catch(() => false);
          expect(did).toBe(can);
          if (!can) return; // what was written is the caller's to throw away
          prefixes = after;
        }
      }
      for (const t of taken) await run((tx) => giveBack(tx, "p", prefixes, t));
      expect([...model.view.all(spaceTable)]).toEqual([]);
    }),
    { numRuns: 60, seed: 1 },
  );
});

test("a prefix deep in an IPv6 pool costs its depth", async () => {
  const model = await Model.open(openMemory(), [spaceTable]);
  const top = [parseCidr("fd00::/48")!];
  expect(bitsOf(6)).toBe(128);
  const rows = await model.transact({ requestId: "r", call: "test" }, (tx) => {
    for (let i = 0; i < 200; i++) take(tx, "p", top, lowestFree(tx, "p", top, 64)!);
    return formatCidr(lowestFree(tx, "p", top, 64)!);
  });
  expect(rows.result).toBe("fd00:0:0:c8::/64");
});
