import { expect, test } from "vitest";
import { portMasks, portMatches } from "./port-masks.ts";

test("exactly the ports of a range, in blocks that are aligned", () => {
  for (const [min, max] of [[0, 65_535], [1, 65_534], [80, 80], [1000, 1999], [0, 0], [65_535, 65_535], [8, 15], [7, 16]] as const) {
    const masks = portMasks(min, max);
    for (let port = 0; port <= 65_535; port++) {
      const by = masks.filter(({ value, mask }) => (port & mask) === value).length;
      if (by !== (port >= min && port <= max ? 1 : 0)) throw new Error(`${min}-${max}: ${port} is matched by ${by}`);
    }
  }
  expect(portMasks(1, 65_534)).toHaveLength(30);
});

test("a single port is its number", () => {
  expect(portMatches(7, 9)).toEqual([7, { value: 8, mask: 0xfffe }]);
});
