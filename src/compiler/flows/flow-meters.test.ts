import { expect, it } from "vitest";
import { encodeInstructions, type Action, type Instruction } from "node-openflow";
import { metersNamed } from "./flow-meters.ts";

const named = (...instructions: Instruction[]): readonly number[] => {
  const buf = Buffer.alloc(512);
  return metersNamed(buf.subarray(0, encodeInstructions(buf, 0, instructions)));
};
const apply = (...actions: Action[]): Instruction => ({ type: "apply_actions", actions });

it.each<[string, Instruction[], number[]]>([
  ["none", [apply({ type: "output", port: 1 }), { type: "goto_table", table_id: 3 }], []],
  ["nothing at all", [], []],
  ["its own", [{ type: "meter", meter_id: 9 }, apply({ type: "output", port: 1 })], [9]],
  ["of a copy", [apply({ type: "controller", max_len: 128, meter_id: 0x8000_0001 }, { type: "output", port: 1 })], [0x8000_0001]],
  ["of a copy's copy, its own, each once", [{ type: "meter", meter_id: 9 }, apply({ type: "clone", actions: [{ type: "controller", meter_id: 8 }] }, { type: "controller", meter_id: 9 })], [9, 8]],
  ["no meter of a copy", [apply({ type: "controller", userdata: Uint8Array.of(1) })], []],
])("meters that a flow names: %s", (_, instructions, meters) => {
  expect(named(...instructions)).toEqual(meters);
});
