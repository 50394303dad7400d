// Filters by tag, against looking at each tag.
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseVlans, partsOf, RANGES_MAX, type VlanRange } from "./vlans.ts";

test("filters are read in any order, and refused where they say nothing that can be", () => {
  expect(parseVlans("20-30,10,31,25-28")).toEqual([[10, 10], [20, 31]]);
  expect(parseVlans("0-4094")).toEqual([[0, 4094]]);
  expect(() => parseVlans("4095")).toThrow("4095 is beyond 4094");
  expect(() => parseVlans("5,30-20")).toThrow("30-20 ends before it begins");
  expect(() => parseVlans(Array.from({ length: RANGES_MAX + 1 }, (_, i) => i * 2).join(","))).toThrow(/33 ranges, at most 32/);
});

const range = fc.tuple(fc.integer({ min: 0, max: 4094 }), fc.integer({ min: 0, max: 600 })).map(([from, more]): VlanRange => [from, Math.min(4094, from + more)]);
const filter = fc.array(range, { maxLength: 4 });

test("each tag is in the one part that has the filters which let it through, and few matches say so", () => {
  fc.assert(fc.property(fc.array(filter, { maxLength: 4 }), (filters) => {
    const parts = partsOf(filters);
    const rest = parts.find((p) => p.vlan_vid === undefined);
    for (const vlan of [...filters.flat().flatMap(([from, to]) => [from - 1, from, to, to + 1]), 0, 4094]) {
      if (vlan < 0 || vlan > 4094) continue;
      const found = parts.filter(({ vlan_vid: m }) => m !== undefined && ((0x1000 | vlan) & m.mask) === m.value);
      expect(found.length).toBeLessThan(2);
      const passing = filters.flatMap((ranges, i) => (ranges.length === 0 || ranges.some(([from, to]) => vlan >= from && vlan <= to) ? [i] : []));
      expect((found[0] ?? rest)?.among ?? []).toEqual(passing);
    }
    expect(parts.length).toBeLessThanOrEqual(22 * (2 * filters.flat().length) + 1);
  }), { numRuns: 300 });
});
