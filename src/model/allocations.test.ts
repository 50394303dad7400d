// Where pools gave out numbers last: as many rows as there are hosts and networks, however many there were.
import { afterEach, expect, test } from "vitest";
import { chassisTable, definePool, draw, forgetPart, giveBack, poolNumberTable, take, type Chassis, type Tx } from "#app";
import { SeededRandom } from "../lib/random.ts";
import { SimulatedClock } from "../lib/clock.ts";
import { openMemory } from "../store/memory.ts";
import { sweepAllocations } from "./allocations.ts";
import { Model } from "./model.ts";
import { allocationTable } from "./transaction.ts";

const doors = definePool({ name: "door", of: "ofport", min: 1, max: 9, about: "" });
const keys = definePool({ name: "key", of: "key", min: 1, max: 9, about: "" });
const tables = [chassisTable, poolNumberTable];
const chassis = (id: string): Chassis => ({ id, hostname: id, key: 1, bridge: "br-int", dpid: "", datapath_type: "", encap_ip: "", encap_types: [], bridge_mappings: {}, gateway: false, ovs_version: "" });
let model: Model;
afterEach(() => model.close());
const change = (fn: (tx: Tx) => void) => model.transact({ requestId: "r", call: "c" }, fn);
const kept = (): string[] => Array.from(model.view.all(allocationTable), ({ id }) => id).sort();

test("parts of which nothing is held, and that nothing is any more, are forgotten at a start; others go on in turn", async () => {
  model = await Model.open(openMemory(), tables, { clock: new SimulatedClock(), random: new SeededRandom(1) });
  await change((tx) => {
    tx.put(chassisTable, chassis("hv1"));
    for (const part of ["hv1", "gone", "held"]) for (const holder of ["a", "b"]) take(tx, doors, part, holder);
    take(tx, doors, "", "x");
    draw(tx, keys);
  });
  await change((tx) => {
    for (const part of ["hv1", "gone"]) for (const holder of ["a", "b"]) giveBack(tx, doors, part, holder);
  });
  expect(kept()).toEqual(["door", "door/gone", "door/held", "door/hv1", "key"]);
  expect(await sweepAllocations(model, tables)).toBe(1);
  expect(kept()).toEqual(["door", "door/held", "door/hv1", "key"]);
  const { generation } = model;
  expect(await sweepAllocations(model, tables)).toBe(0);
  expect(model.generation).toBe(generation);
  expect((await model.transact({ requestId: "r", call: "c" }, (tx) => take(tx, doors, "hv1", "c"))).result).toBe(3);
});

test("a part that goes is forgotten with what it was of", async () => {
  model = await Model.open(openMemory(), tables, { clock: new SimulatedClock(), random: new SeededRandom(1) });
  for (let n = 0; n < 50; n++) {
    await change((tx) => void take(tx, doors, `hv${n}`, "a"));
    await change((tx) => {
      giveBack(tx, doors, `hv${n}`, "a");
      forgetPart(tx, doors, `hv${n}`);
    });
  }
  expect(kept()).toEqual([]);
  const { generation } = model;
  await change((tx) => forgetPart(tx, doors, "never"));
  expect(model.generation - generation).toBeLessThanOrEqual(1);
});
