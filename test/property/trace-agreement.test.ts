// The interpreter goes the way that Open vSwitch goes: random clouds made through the API, their flows on a real ovs-vswitchd, random packets. The same
// flows in the same order, the same packets out of the same ports, the same punts. A difference shrinks to a small packet and shows both traces.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Bed } from "../support/agreement.ts";
import { Harness } from "../support/harness.ts";
import { packets, randomWorld } from "../support/topology.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const WORLDS = nightly ? 40 : 6;
const PACKETS = nightly ? 2000 : 300;

describe("random clouds and packets", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start();
  });
  afterAll(() => bed.stop());

  test("go the same way in the interpreter and in Open vSwitch", { timeout: nightly ? 3_600_000 : 120_000 }, async () => {
    const first = nightly ? Math.floor(Date.now() / 86_400_000) * 1000 : 1;
    const seen = { hops: 0, outputs: 0, recirculated: 0 };
    for (let seed = first; seed < first + WORLDS; seed++) {
      const h = await Harness.make([], undefined, { seed });
      try {
        const world = await randomWorld(h, seed);
        await bed.setPorts(world.ports);
        await bed.load(world.sw);
        await fc.assert(
          fc.asyncProperty(packets(world), async (given) => {
            expect(await bed.disagreement(world.sw, given, seen)).toBeUndefined();
          }),
          { numRuns: PACKETS, seed },
        );
      } finally {
        await h.close();
      }
    }
    // The packets are near enough to get somewhere.
    const packetsSeen = WORLDS * PACKETS;
    expect(seen.hops / packetsSeen).toBeGreaterThan(3);
    expect(seen.outputs).toBeGreaterThan(packetsSeen / 20);
    expect(seen.recirculated).toBeGreaterThan(packetsSeen / 50);
  });
});
