// Traces of which no switch says how they end: a machine sends nothing to itself, and a switch that is not connected does not show what it has.
import { afterEach, beforeEach, expect, test } from "vitest";
import { askOf } from "#app";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { allTables } from "../../src/boot/registry.ts";
import { explained } from "../../src/ops/trace/explain.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type TraceAnswer } from "../../src/ops/trace/tracer.ts";
import { Harness } from "../support/harness.ts";

let h: Harness;
let tracer: Tracer;

type Body = Readonly<Record<string, unknown>>;
type Port = { readonly id: string; readonly fixed_ips: readonly { readonly ip_address: string }[] };
const trace = (body: Body): Promise<TraceAnswer> => tracer.trace(requestOf({ state: "desired", ...body }));
const ip = (port: Port): string => port.fixed_ips[0]!.ip_address;
let ofport = 1;
async function port(network_id: string, host: string, more: Body = {}): Promise<Port> {
  const made = await h.create("port", { network_id, project_id: "p", ...more });
  await h.plug(host, made.id, ofport++);
  return made as unknown as Port;
}
/** A network of its own with the same addresses as every other. */
async function net(): Promise<{ readonly id: string; readonly subnet: string }> {
  const { id } = await h.create("network", { project_id: "p" });
  return { id, subnet: (await h.create("subnet", { network_id: id, ip_version: 4, cidr: "10.0.1.0/24", project_id: "p" })).id };
}
async function allowAll(): Promise<string> {
  const group = await h.create("security_group", { name: "all", project_id: "p" });
  await h.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", project_id: "p" });
  return group.id;
}

beforeEach(async () => {
  h = await Harness.make();
  ofport = 1;
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const guard = hookGuard({ error: (fields: object): void => void h.complaints.push(fields) }, () => 0);
  tracer = new Tracer({ apps: h.apps, tables: allTables(h.apps), view: h.view, engine: h.engine, layout: h.layout, guard, ask: askOf(h.apps), clock: h.clock });
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("to the sender's own address, by whatever name: its machine sends nothing; what is led back to it is not its groups' to refuse", async () => {
  const [security_groups, shut] = [[await allowAll()], [(await h.create("security_group", { name: "shut", project_id: "p" })).id]];
  const [one, other] = [await net(), await net()];
  const a = await port(one.id, "hv1", { security_groups, name: "a", allowed_address_pairs: [{ ip_address: "10.0.1.200" }] });
  const c = await port(one.id, "hv1", { security_groups: shut });
  const same = await port(other.id, "hv1", { name: "same", fixed_ips: [{ subnet_id: other.subnet, ip_address: ip(a) }] });
  const twin = await port(one.id, "hv2", { security_groups, fixed_ips: [{ subnet_id: one.subnet, ip_address: "10.0.1.50" }] });
  const far = await port(other.id, "hv2", { name: "far", fixed_ips: [{ subnet_id: other.subnet, ip_address: "10.0.1.50" }] });
  await h.settled();
  for (const [from, to, resources] of [[a, same.id, [same.id, a.id]], [twin, far.id, [far.id, twin.id]], [far, twin.id, [twin.id, far.id]], [a, a.id, [a.id]], [a, ip(a), [a.id]], [c, c.id, [c.id]]] as const) {
    for (const how of [{}, { protocol: "tcp", port: 22 }, { ct: "established" }]) {
      const answer = await trace({ from: from.id, to, ...how });
      expect(answer).toMatchObject({ verdict: "dropped", delivered: [], hops: [], cause: { reason: "elsewhere", text: expect.stringContaining(`${ip(from)} is port ${from.id} itself`) }, answer: null });
      expect(answer.cause!.resources.map(({ id }) => id)).toEqual(resources);
    }
  }
  // An address that it may have by a pair is led to it, and past its groups.
  const pair = await trace({ from: a.id, to: "10.0.1.200", protocol: "tcp", port: 22 });
  expect(pair.hops.map(({ table }) => table)).toContain("sg_in");
  expect(pair).toMatchObject({ verdict: "dropped", cause: { reason: "elsewhere", text: expect.stringContaining(`reached at port ${a.id}, by which the packet came in`), resources: [{ type: "port", id: a.id }] } });
});

test("an address is that address, whatever a port is called", async () => {
  const security_groups = [await allowAll()];
  const one = await net();
  const [a, b] = [await port(one.id, "hv1", { security_groups }), await port(one.id, "hv2", { security_groups })];
  await port(one.id, "hv2", { security_groups, name: ip(b) });
  await h.settled();
  expect(await tracer.trace({ ...requestOf({ from: a.id, to: ip(b), state: "desired" }), names: true })).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv2", id: b.id }] });
});

test("over a switch that is not connected it is not known whether it arrives, there or back", async () => {
  const security_groups = [await allowAll()];
  const one = await net();
  const [a, b, c] = [await port(one.id, "hv1", { security_groups }), await port(one.id, "hv1", { security_groups }), await port(one.id, "hv2", { security_groups })];
  await h.settled();
  const asked = { from: a.id, to: c.id, protocol: "tcp", port: 80 };
  expect(await trace(asked)).toMatchObject({ verdict: "delivered", cause: null, answer: { verdict: "delivered", cause: null } });
  expect(await trace({ ...asked, state: "installed" })).toMatchObject({
    verdict: "unknown", delivered: [{ switch: "hv2", id: c.id }], notes: ["hv1 is not connected: what it should have is shown", "hv2 is not connected: what it should have is shown"],
    cause: { reason: "not_connected", text: "would be delivered: hv1, hv2 are not connected, and what is there, and whether it runs, is not known", resources: [] },
    answer: { verdict: "unknown", delivered: [{ switch: "hv1", id: a.id }], cause: { reason: "not_connected" } },
  });
  expect(await trace({ from: a.id, to: b.id, state: "installed" })).toMatchObject({ verdict: "unknown", cause: { text: expect.stringContaining("would be delivered: hv1 is not connected") } });
  // What would not arrive in any case does not.
  expect(await trace({ from: a.id, to: c.id, size: 9000, state: "installed" })).toMatchObject({ verdict: "dropped", cause: { reason: "mtu" } });
  // A project is told that it is a fault of the network, and of which host not.
  h.explain = (given) => explained(tracer, given);
  const { body } = await h.call("GET", `/v2.0/axion/explain?from=${a.id}&to=${c.id}`, undefined, { "x-project-id": "p", "x-roles": "member" });
  expect(body.explanation).toMatchObject({ verdict: "unknown", delivered: [{ id: c.id }], cause: { reason: "network_fault" }, answer: { verdict: "unknown" } });
  expect(JSON.stringify(body)).not.toMatch(/hv[12]/);
});
