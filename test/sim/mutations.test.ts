// The simulation can fail: with a fault put into the code of src/, or into a switch, one of the first seeds says what is wrong.
// @module-tag long
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { Model } from "../../src/model/model.ts";
import { SwitchSession } from "../../src/southbound/openflow/session.ts";
import { StoreError } from "../../src/store/errors.ts";
import { warmUp } from "./controller.ts";
import { makePlan } from "./plan.ts";
import { run, type RunOptions } from "./simulation.ts";

beforeAll(() => warmUp({ all: false }));
afterEach(() => void vi.restoreAllMocks());

/** What the first of the seeds finds that finds something. */
async function found(seeds: readonly number[], options?: RunOptions): Promise<string> {
  for (const seed of seeds) {
    const { failures } = await run(makePlan(seed), options);
    if (failures.length > 0) return failures.join("\n");
  }
  return `nothing in ${seeds.length} seeds`;
}

test("masters that are not fenced: a controller believes that it is a switch's master, and has not asked it", { timeout: 600_000 }, async () => {
  vi.spyOn(SwitchSession.prototype, "role").mockImplementation((role) => Promise.resolve(role === "nochange" ? "master" : role));
  expect(await found([1, 2])).toMatch(/took a flow-mod of 10\.0\.0\.\d, which is equal, not its master/);
});

test("a write that is acknowledged though etcd has not said that it has it", { timeout: 600_000 }, async () => {
  const transact = Reflect.get(Model.prototype, "transact");
  vi.spyOn(Model.prototype, "transact").mockImplementation(function (this: Model, cause, fn, ...rest) {
    const ran: { readonly result: unknown }[] = [];
    const work = transact.call(this, cause, (tx) => {
      const result = fn(tx);
      ran.push({ result });
      return result;
    }, ...rest);
    return work.catch((error: unknown) => {
      if (!(error instanceof StoreError) || ran.length === 0 || cause.own === true) throw error;
      return { result: ran.at(-1)!.result, generation: this.generation };
    });
  });
  expect(await found([2, 6, 3, 7, 8, 9])).toMatch(/is lost: its creation was acknowledged|" was acknowledged|is there: its deletion was acknowledged/);
});

test("a flow that joins two networks", { timeout: 600_000 }, async () => {
  // Somebody sends whatever a switch gets to all of its guests.
  const made: RunOptions["made"] = (world, hosts) => {
    for (const host of hosts) {
      for (const at of [6000, 9000, 12_000]) {
        world.after(at, undefined, () => {
          const actions = Array.from(host.plugged.values(), (port) => ({ type: "output", port }) as const);
          host.sw.flowMod({ command: "add", table_id: 0, priority: 65_535, match: {}, instructions: [{ type: "apply_actions", actions }] });
          host.onChanged();
        });
      }
    }
  };
  expect(await found([1, 2, 3], { made })).toMatch(/a packet of network .* comes out at port \d+ of hv\d, which is of network/);
});
