// Hints are administrators' to give and see; on the port's host they are keys of its interface's row.
import { afterEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness } from "../../test/support/harness.ts";
import { portHintsTable } from "./model.ts";

let h: Harness;
afterEach(() => h.close());

const steer = (how: string): unknown => ({ openvswitch: { other_config: { "tx-steering": how } } });
const patches = (host: string): unknown[] => [...h.engine.patchesOf(host)].filter((p) => p.key === "tx-steering").map((p) => [p.table, p.column, p.value]);

test("a hint is in other_config of the interface where the port is plugged, and goes with it", async () => {
  h = await Harness.make();
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const member = { "x-project-id": "red", "x-roles": "member" };
  const { id: network_id } = await h.create("network", { project_id: "red" });
  const { id } = await h.create("port", { network_id, hints: steer("hash"), project_id: "red" });
  const put = (hints: unknown, who = {}): Promise<{ status: number; body: any }> => h.call("PUT", `/v2.0/ports/${id}`, { port: { hints } }, who);
  expect(patches("hv1")).toEqual([]);
  await h.plug("hv1", id, 10);
  await h.settled();
  expect([patches("hv1"), patches("hv2")]).toEqual([[["Interface", "other_config", "hash"]], []]);
  expect((await put(steer("thread"))).body.port.hints).toEqual(steer("thread"));
  await h.settled();
  expect(patches("hv1")).toEqual([["Interface", "other_config", "thread"]]);
  compare(h);
  await h.unplug("hv1", id);
  await h.plug("hv2", id, 11);
  await h.settled();
  expect([patches("hv1"), patches("hv2")]).toEqual([[], [["Interface", "other_config", "thread"]]]);
  for (const bad of [steer("fast"), { openvswitch: { other_config: { "n_rxq": "4" } } }, { ovs: {} }, "x", [], { openvswitch: null }]) {
    const { status, body } = await put(bad);
    expect([status, body.NeutronError?.message], JSON.stringify(bad)).toEqual([400, expect.stringContaining("hints")]);
  }
  expect((await put(steer("hash"), member)).status).toBe(403);
  expect((await h.call("POST", "/v2.0/ports", { port: { network_id, hints: steer("hash") } }, member)).status).toBe(403);
  expect((await h.call("GET", `/v2.0/ports/${id}`, undefined, member)).body.port).not.toHaveProperty("hints");
  expect((await put({})).body.port.hints).toEqual({});
  await h.settled();
  expect(patches("hv2")).toEqual([]);
  expect((await put(null)).body.port.hints).toBe(null);
  expect([...h.view.all(portHintsTable)]).toEqual([]);
  expect((await put(steer("hash"))).status).toBe(200);
  expect((await h.call("DELETE", `/v2.0/ports/${id}`)).status).toBe(204);
  await h.settled();
  expect([patches("hv2"), [...h.view.all(portHintsTable)]]).toEqual([[], []]);
});
