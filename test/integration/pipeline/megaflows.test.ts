// Whatever goes on in connections, the datapath needs few flows for it: ports and addresses of neither end split them.
// @module-tag long
import { expect, test } from "vitest";
import { benchDataplane } from "../../../bench/lab/dataplane.ts";

test("a thousand TCP connections take a handful of datapath flows on both hosts together, through a router and translation too", async () => {
  const { paths } = await benchDataplane({ repeats: 1, seconds: 0.3 });
  expect(paths.map((p) => p.path)).toEqual([
    "plain bridge",
    "plain bridge with conntrack",
    "within a network",
    "within a network, stateless groups",
    "through a router",
    "through SNAT",
    "by a floating IP",
  ]);
  for (const { path, mbit, megaflows } of paths) {
    expect(mbit, path).toBeGreaterThan(1);
    expect(megaflows, path).toBeGreaterThan(0);
    expect(megaflows, path).toBeLessThanOrEqual(24);
  }
}, 120_000);
