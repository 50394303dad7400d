// What is kept of ports for others.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Harness, type Answer } from "../../test/support/harness.ts";
import { portExtraTable } from "./model.ts";

let h: Harness;
let network: string;
const member = { "x-project-id": "red", "x-roles": "member" };
const watcher = { "x-project-id": "red", "x-roles": "member,data_plane_integrator" };
const admin = { "x-project-id": "operators", "x-roles": "admin" };
type Values = Readonly<Record<string, unknown>>;
const post = (port: Values, who = member): Promise<Answer> => h.call("POST", "/v2.0/ports", { port: { network_id: network, ...port } }, who);
const put = (id: string, port: Values, who = member): Promise<Answer> => h.call("PUT", `/v2.0/ports/${id}`, { port }, who);
const make = async (port: Values = {}, who = member): Promise<Values & { readonly id: string }> => {
  const answer = await post(port, who);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body.port;
};
const shown = async (id: string, who = admin): Promise<Values> => (await h.call("GET", `/v2.0/ports/${id}`, undefined, who)).body.port;
const kept = (): unknown[] => [...h.view.all(portExtraTable)];
const NOTHING = { data_plane_status: null, propagate_uplink_status: true, numa_affinity_policy: null, device_profile: null };

beforeEach(async () => {
  h = await Harness.make();
  network = (await h.call("POST", "/v2.0/networks", { network: {} }, member)).body.network.id;
});
afterEach(() => h.close());

test("a port of which nothing is said costs nothing; what is said is kept, shown and taken back", async () => {
  const plain = await make();
  expect(plain).toMatchObject(NOTHING);
  expect(await shown(plain.id)).toMatchObject({ ...NOTHING, trusted: null });
  expect(kept()).toEqual([]);
  const said = { propagate_uplink_status: false, numa_affinity_policy: "socket", device_profile: "gpu" };
  const port = await make(said);
  expect(port).toMatchObject({ ...NOTHING, ...said });
  expect((await put(port.id, { name: "x" })).body.port).toMatchObject(said);
  expect((await put(port.id, { propagate_uplink_status: true, numa_affinity_policy: null })).body.port).toMatchObject({ ...NOTHING, device_profile: "gpu" });
  h = await h.restart(["port-extras"]);
  expect(await shown(port.id)).not.toHaveProperty("device_profile");
  h = await h.restart([]);
  expect(await shown(port.id)).toMatchObject({ device_profile: "gpu" });
  expect((await h.call("DELETE", `/v2.0/ports/${port.id}`, undefined, member)).status).toBe(204);
  expect(kept()).toEqual([]);
});

test("how packets fare is said by administrators and by who watches, of ports that they may change", async () => {
  const { id } = await make();
  expect((await put(id, { data_plane_status: "DOWN" }, watcher)).body.port).toMatchObject({ data_plane_status: "DOWN" });
  expect(await shown(id, member)).toMatchObject({ data_plane_status: "DOWN" });
  expect((await put(id, { data_plane_status: "DOWN" })).status).toBe(403);
  expect((await put(id, { data_plane_status: "DOWN" }, { ...watcher, "x-project-id": "blue" })).status).toBe(404);
  expect((await put(id, { data_plane_status: null }, admin)).body.port).toMatchObject({ data_plane_status: null });
  expect((await post({ data_plane_status: "DOWN" }, admin)).status).toBe(400);
  expect(kept()).toEqual([]);
});

test("trust is administrators' to give and to see, and in the profile that the compute service reads", async () => {
  const port = await make({ trusted: true, "binding:profile": { a: 1 }, project_id: "red" }, admin);
  expect(port).toMatchObject({ trusted: true, "binding:profile": { a: 1, trusted: true } });
  expect(await shown(port.id, member)).not.toHaveProperty("trusted");
  for (const answer of [await post({ trusted: true }), await put(port.id, { trusted: false })]) expect(answer.status).toBe(403);
  expect((await put(port.id, { trusted: false }, admin)).body.port).toMatchObject({ trusted: false, "binding:profile": { a: 1, trusted: false } });
  expect((await put(port.id, { "binding:profile": {} }, admin)).body.port).toMatchObject({ trusted: false, "binding:profile": { trusted: false } });
});

test("where a machine's memory is near is settled once its port is bound", async () => {
  await h.addChassis("hv1");
  const { id } = await make({ numa_affinity_policy: "required" });
  await h.plug("hv1", id, 10);
  await h.settled();
  expect(await put(id, { numa_affinity_policy: "legacy" })).toMatchObject({ status: 409, body: { NeutronError: { type: "PortBoundNUMAAffinityPolicy" } } });
  expect((await put(id, { numa_affinity_policy: "required", name: "x" })).status).toBe(200);
});

test("what is not so is refused by name, and changes nothing", async () => {
  const { id } = await make();
  const { generation } = h.model;
  for (const [name, value] of [["numa_affinity_policy", "near"], ["data_plane_status", "BUILD"], ["propagate_uplink_status", null], ["propagate_uplink_status", "x"], ["trusted", null], ["trusted", "x"], ["device_profile", "x"]] as const) {
    const answer = await put(id, { [name]: value }, admin);
    expect([answer.status, answer.body.NeutronError.message], `${name} ${String(value)}`).toEqual([400, expect.stringContaining(value === null || (value === "x" && name !== "device_profile") ? "cannot be converted to boolean" : name)]);
  }
  for (const device_profile of [7, "x".repeat(256)]) expect((await post({ device_profile })).status).toBe(400);
  expect(h.model.generation).toBe(generation);
});
