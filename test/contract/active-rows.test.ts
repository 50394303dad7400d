// Resources that are ACTIVE while switches have their flows: when they are looked at, and that none is forgotten.
import { afterEach, expect, test } from "vitest";
import { activeRows, defineTable, type Row } from "#app";
import { networkTable } from "../../apps/l2/model.ts";
import { Harness } from "../support/harness.ts";

let h: Harness;
afterEach(() => h.close());

const active = defineTable<Row>()("probe_active", {});
let looks = 0;
const service = activeRows({
  name: "probe-status", about: "", what: "probes", into: active, of: [networkTable], by: [],
  isActive(host, _id, since) {
    looks++;
    return host.confirmed("hv1") >= since ? true : undefined;
  },
});
const passes = async (seconds: number): Promise<void> => {
  for (let i = 0; i < seconds * 10; i++) {
    h.clock.advance(100);
    await new Promise((done) => setImmediate(done));
    await h.settled();
  }
};
const made = async (): Promise<string> => (await h.create("network", {})).id;
const isActive = (id: string): boolean => h.view.get(active, id) !== undefined;

test("while the switch is away nobody looks again; what was made meanwhile is ACTIVE when it has confirmed all", async () => {
  h = await Harness.make([{ name: "probe", about: "", requires: ["l2"], tables: [active], services: [service] }]);
  await h.addChassis("hv1");
  const some = [await made(), await made()];
  await passes(1);
  const before = looks;
  await passes(30);
  expect([looks - before, ...some.map(isActive)]).toEqual([0, false, false]);
  h.confirm("hv1");
  await passes(1);
  expect(some.map(isActive)).toEqual([true, true]);
  const later = await made();
  h.confirm("hv1");
  // While what the first look found is being written.
  h.clock.advance(100);
  const last = await made();
  await h.settled();
  h.confirm("hv1");
  await passes(1);
  expect([isActive(later), isActive(last)]).toEqual([true, true]);
  await h.call("DELETE", `/v2.0/networks/${last}`);
  h.confirm("hv1");
  await passes(1);
  expect(h.complaints).toEqual([]);
});

test("more than are written at once are all written", async () => {
  h = await Harness.make([{ name: "probe", about: "", requires: ["l2"], tables: [active], services: [service] }]);
  await h.addChassis("hv1");
  const ids: string[] = [];
  for (let i = 0; i < 2; i++) {
    const { body } = await h.call("POST", "/v2.0/networks", { networks: Array.from({ length: 600 }, () => ({ name: "n" })) });
    ids.push(...(body as { networks: { id: string }[] }).networks.map(({ id }) => id));
  }
  await h.settled();
  h.confirm("hv1");
  await passes(1);
  expect(ids.filter(isActive)).toHaveLength(1200);
});
