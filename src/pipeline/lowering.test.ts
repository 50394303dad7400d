import { expect, it } from "vitest";
import { definePipeline } from "#app";
import { cookieOf } from "../lib/cookies.ts";
import { Layout } from "./layout.ts";
import { Lowering } from "./lowering.ts";

const pipeline = definePipeline({
  registers: {},
  tables: {
    teacher: { stage: "services", miss: "next", about: "", match: ["eth_src"] },
    learned: { stage: "services", miss: "next", about: "", match: ["eth_src"], learned: { limit: 9 }, aside: true },
  },
});
const layout = new Layout([{ name: "a", about: "", pipeline }]);

it("a copy for the controller passes its meter alone, and without one it is a plain output", () => {
  const lowered = (action: { readonly maxLen?: number; readonly meter?: number }): readonly object[] => new Lowering(layout).lower(layout.table("teacher"), { type: "punt", ...action }, 0n);
  expect(lowered({ maxLen: 128, meter: 7 })).toEqual([{ type: "controller", max_len: 128, meter_id: 7 }]);
  expect(lowered({ maxLen: 128 })).toEqual([{ type: "output", port: 0xfffffffd, max_len: 128 }]);
});

// A switch that takes the teacher away takes all with this cookie out of the table. Where an app has gone meanwhile, another table has its
// number, perhaps with flows of the teacher's own rule and entity.
it("what a flow teaches has no cookie that a flow of ours can have, and one of its own for each flow that teaches", () => {
  const learn = (cookie: bigint): readonly object[] => new Lowering(layout).lower(layout.table("teacher"), { type: "learn", table: "learned", priority: 5, idleTimeoutS: 5, match: { eth_src: { from: "eth_src" } } }, cookie);
  const own = (BigInt(cookieOf("a/rule")) << 32n) | 0xfedc_ba98n;
  expect(own >> 56n).toBe(0xa0n);
  expect(learn(own)).toMatchObject([{ type: "learn", cookie: own + (1n << 56n) }]);
  expect(learn(own + 1n)).toMatchObject([{ type: "learn", cookie: own + 1n + (1n << 56n) }]);
});
