// Traces to machines behind machines: what is routed to one that forwards, and addresses that several share.
import { afterEach, beforeEach, expect, test } from "vitest";
import { askOf } from "#app";
import { allTables } from "../../src/boot/registry.ts";
import { hookGuard } from "../../src/lib/hook-guard.ts";
import { requestOf } from "../../src/ops/trace/request.ts";
import { Tracer, type TraceAnswer } from "../../src/ops/trace/tracer.ts";
import { Harness } from "../support/harness.ts";

let h: Harness;
let tracer: Tracer;
let ofport = 1;
type Body = Readonly<Record<string, unknown>>;
interface Port {
  readonly id: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly ip_address: string }[];
}
const trace = (body: Body): Promise<TraceAnswer> => tracer.trace(requestOf({ state: "desired", ...body }));
const ip = (port: Port): string => port.fixed_ips[0]!.ip_address;

async function net(): Promise<{ readonly id: string; readonly subnet: string }> {
  const { id } = await h.create("network", { project_id: "p" });
  return { id, subnet: (await h.create("subnet", { network_id: id, ip_version: 4, cidr: "10.0.1.0/24", project_id: "p" })).id };
}
async function port({ id }: { readonly id: string }, host: string | undefined, more: Body = {}): Promise<Port> {
  const made = await h.create("port", { network_id: id, project_id: "p", ...more });
  if (host !== undefined) await h.plug(host, made.id, ofport++);
  return made as never;
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

test("to a port that is behind a machine: it arrives there, if that may send as it, and back; else it is said what routes do", async () => {
  const security_groups = [await allowAll()];
  const one = await net();
  const router = await h.create("router", { project_id: "p" });
  await h.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: one.subnet });
  const { id: inside } = await h.create("subnet", { network_id: one.id, ip_version: 4, cidr: "10.5.0.0/24", gateway_ip: null, project_id: "p" });
  const a = await port(one, "hv1", { security_groups, fixed_ips: [{ subnet_id: one.subnet }] });
  const relay = await port(one, "hv2", { security_groups, name: "relay", fixed_ips: [{ subnet_id: one.subnet }] });
  const inner = await port(one, undefined, { name: "inner", fixed_ips: [{ subnet_id: inside, ip_address: "10.5.0.20" }] });
  await h.call("PUT", `/v2.0/routers/${router.id}`, { router: { routes: [{ destination: "10.5.0.0/24", nexthop: ip(relay) }] } });
  await h.settled();
  for (const to of [inner.id, "10.5.0.20"]) {
    const told = await trace({ from: a.id, to });
    expect(told).toMatchObject({ verdict: "dropped", delivered: [{ switch: "hv2", id: relay.id }], cause: { reason: "elsewhere", text: `routes lead 10.5.0.20 to port ${relay.id}, which has it not, and port ${inner.id}, which has it, is plugged nowhere` } });
    expect(told.cause!.cure.text).toBe(`if the machine of port ${relay.id} forwards to it, let that port send as 10.5.0.20 (allowed_address_pairs); else plug port ${inner.id}, or see the next hops of routes`);
  }
  await h.call("PUT", `/v2.0/ports/${relay.id}`, { port: { allowed_address_pairs: [{ ip_address: "10.5.0.0/24" }] } });
  await h.settled();
  for (const to of [inner.id, "10.5.0.20"]) {
    const told = await trace({ from: a.id, to, protocol: "tcp", port: 80 });
    expect(told, JSON.stringify(told.cause)).toMatchObject({
      verdict: "delivered", cause: null, delivered: [{ switch: "hv2", id: relay.id }], notes: [expect.stringContaining(`port ${inner.id}, which has 10.5.0.20, is plugged nowhere: it is taken to be behind port ${relay.id}`)],
      answer: { verdict: "delivered", delivered: [{ switch: "hv1", id: a.id }] },
    });
  }
  // Of a machine that is somewhere itself nothing is taken.
  await h.plug("hv1", inner.id, 77);
  await h.settled();
  expect(await trace({ from: a.id, to: inner.id })).toMatchObject({ verdict: "dropped", cause: { reason: "elsewhere", text: expect.stringContaining("which has it, is another") } });
});

test("to an address that two ports share: at whichever has it", async () => {
  const security_groups = [await allowAll()];
  const one = await net();
  const a = await port(one, "hv1", { security_groups });
  const pairs = [{ ip_address: "10.0.1.200" }];
  const both = [await port(one, "hv1", { security_groups, allowed_address_pairs: pairs }), await port(one, "hv2", { security_groups, allowed_address_pairs: pairs })];
  await h.settled();
  const told = await trace({ from: a.id, to: "10.0.1.200" });
  expect(told, JSON.stringify(told.cause)).toMatchObject({ verdict: "delivered", answer: { verdict: "delivered" } });
  expect(both.map(({ id }) => id)).toContain(told.delivered[0]!.id);
  const goal = (): unknown => h.apps.find(({ name }) => name === "ipam")!.explains!.begin!(h.view, { from: a.id, to: "10.0.1.200", protocol: 1 }, askOf(h.apps));
  expect(goal()).toMatchObject({ goal: "anywhere" });
  await h.call("PUT", `/v2.0/ports/${both[1]!.id}`, { port: { allowed_address_pairs: [] } });
  await h.settled();
  expect(goal()).toMatchObject({ to: both[0]!.id, goal: { chassis: "hv1" } });
});
