// What switches say that they have dropped, whose it is and what is told of it, on switches of the test's. On real ones: test/integration/operator/problems.test.ts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { chassisTable } from "#app";
import { flowCountReply } from "../../test/support/flow-counts.ts";
import { Harness } from "../../test/support/harness.ts";
import { problems } from "./problems.ts";
import { gauges, opsLists } from "./shown.ts";

let h: Harness;
/** Packets of each flow that drops, by table and the rest of its key. */
let counted: Map<string, number>;
let asked: string[];

beforeEach(async () => {
  h = await Harness.make();
  counted = new Map();
  asked = [];
  h.countsOf = (chassis, cookie, options) => {
    const flows = [...h.engine.flowsOf(chassis)].filter((f) => BigInt(f.cookieHi) << 32n === cookie && f.table === options?.table);
    // Others ask as well: how much rules have let pass.
    if (flows.some((f) => h.engine.provenance(f).rule.endsWith("-at-port"))) asked.push(chassis);
    return Promise.resolve(flows.map(({ key }) => flowCountReply(key, counted.get(key) ?? 0)));
  };
});
afterEach(() => h.close());

let ofports = 4;
async function join(chassis: string, values: Record<string, unknown> = {}, cidr = "10.0.0.0/24"): Promise<{ readonly id: string }> {
  if (h.view.get(chassisTable, chassis) === undefined) await h.addChassis(chassis);
  const network_id = (await h.create("network", {})).id;
  await h.create("subnet", { network_id, ip_version: cidr.includes(":") ? 6 : 4, cidr });
  const { id } = await h.create("port", { network_id, name: "web", ...values });
  await h.plug(chassis, id, ++ofports);
  await h.settled();
  h.confirm(chassis);
  return { id };
}
/** One flow that drops packets of the port. */
function flowOf(rule: string, port: string, table: string): string {
  const app = rule.startsWith("dropped") || rule.startsWith("denied") ? "security-groups" : "l2";
  return h.engine.wantedFlows(app, rule, port).find((f) => f.table === h.layout.table(table).id)!.key;
}
const drop = (key: string, packets: number): void => void counted.set(key, (counted.get(key) ?? 0) + packets);
const pass = (seconds: number): Promise<void> => h.clock.run(seconds * 1000);
const listed = (query: Record<string, string> = {}): Record<string, unknown>[] => [...opsLists[0]!.rows(h.view, query)] as Record<string, unknown>[];

test("each reason is told of by itself, and what goes on is a problem until it ceases", async () => {
  const { id } = await join("hv1");
  await pass(3);
  expect([listed(), problems(h.view)]).toEqual([[], []]);
  const keys = { port_security: flowOf("stopped-at-port", id, "port_security"), no_ipv6: flowOf("ipv6-at-port", id, "port_security"), security_group_egress: flowOf("dropped-at-port", id, "sg_out"), security_group_ingress: flowOf("dropped-at-port", id, "sg_in") };
  for (let i = 0; i < 8; i++) {
    for (const key of Object.values(keys)) drop(key, 2);
    await pass(2);
  }
  expect(new Set(listed().map(({ reason }) => reason))).toEqual(new Set(Object.keys(keys)));
  expect(listed({ port: id, reason: "port_security" })).toMatchObject([{ port: id, name: "web", switch: "hv1", packets: 16, bytes: 1600, last_minute: 16, per_second: 1, persistent_since: expect.stringMatching(/Z$/) as string }]);
  expect(listed({ reason: "no_ipv6" })).toMatchObject([{ packets: 16, persistent_since: null }]);
  expect(listed({ switch: "hv2" })).toEqual([]);
  expect(problems(h.view).map((p) => [p.kind, p.severity, p.switches, p.resources])).toEqual([
    ["spoofing_dropped", "warning", ["hv1"], [{ type: "port", id, name: "web" }]], ["egress_denied", "info", ["hv1"], [{ type: "port", id, name: "web" }]], ["ingress_denied", "info", ["hv1"], [{ type: "port", id, name: "web" }]],
  ]);
  expect(problems(h.view)[0]!.text).toBe(`hv1 drops packets of port web (${id}) that it sent as what it is not: from a MAC or IP address that is not its own, or frames that are neither IP nor ARP: 16 in the last minute`);
  expect([...(gauges[1]!.read(h.view) as Iterable<{ labels: { reason: string }; value: number }>)].find(({ labels }) => labels.reason === "port_security")).toMatchObject({ labels: { switch: "hv1" }, value: 1 });
  await pass(20);
  expect(problems(h.view)).toEqual([]);
  await pass(60);
  expect(listed({ reason: "port_security" })).toMatchObject([{ packets: 16, last_minute: 0, per_second: 0 }]);
});

test("what a switch had counted before is shown, and of no time; of a host that is away, or a port that goes, nothing goes on", async () => {
  await h.addChassis("hv1");
  h.away.add("hv1");
  const { id } = await join("hv1");
  const key = flowOf("dropped-at-port", id, "sg_in");
  drop(key, 900);
  await pass(3);
  expect(listed()).toEqual([]);
  h.away.delete("hv1");
  await pass(3);
  expect(listed()).toMatchObject([{ packets: 900, last_minute: 0, last_seen: null, persistent_since: null }]);
  for (let i = 0; i < 6; i++) {
    drop(key, 2);
    await pass(2);
  }
  expect(problems(h.view)).toHaveLength(1);
  h.away.add("hv1");
  await pass(2);
  expect([problems(h.view), listed().length]).toEqual([[], 1]);
  h.away.delete("hv1");
  await h.unplug("hv1", id);
  await h.settled();
  await pass(5);
  expect(listed()).toEqual([]);
});

test("a port that rejects is counted where it is told; a stateless one, one with IPv6, one without port security where they are judged", async () => {
  const reject = (await h.create("security_group", { name: "r", "axion:deny": "reject" })).id;
  const stateless = (await h.create("security_group", { name: "s", stateful: false })).id;
  const ports = [await join("hv1", { security_groups: [reject] }), await join("hv1", { security_groups: [stateless] }, "2001:db8::/64"), await join("hv1", { port_security_enabled: false, security_groups: [] })];
  await pass(3);
  drop(flowOf("denied-at-port", ports[0]!.id, "sg_in_denied"), 3);
  drop(flowOf("dropped-at-port", ports[0]!.id, "sg_in"), 1);
  drop(flowOf("dropped-at-port", ports[1]!.id, "sg_out_stateless"), 4);
  drop(flowOf("stopped-at-port", ports[1]!.id, "nd_source"), 1);
  drop(flowOf("stopped-at-port", ports[1]!.id, "port_security"), 5);
  expect(h.engine.wantedFlows("l2", "ipv6-at-port", ports[1]!.id)).toEqual([]);
  for (const rule of ["stopped-at-port", "ipv6-at-port"]) expect(h.engine.wantedFlows("l2", rule, ports[2]!.id)).toEqual([]);
  expect(h.engine.wantedFlows("security-groups", "dropped-at-port", ports[2]!.id)).toEqual([]);
  await pass(3);
  expect(listed().map(({ port, reason, packets }) => [port, reason, packets]).toSorted()).toEqual([[ports[0]!.id, "security_group_ingress", 4], [ports[1]!.id, "port_security", 6], [ports[1]!.id, "security_group_egress", 4]].toSorted());
});

test("a host is asked once in two seconds, one question for each rule and table; of hosts without ports nothing is asked", async () => {
  for (const chassis of ["hv1", "hv2", "hv3"]) await join(chassis);
  await h.addChassis("hv4");
  h.confirm("hv4");
  await pass(2);
  asked.length = 0;
  await pass(10);
  // port_security by two rules, sg_out and sg_in by one.
  const each = 4 * 5;
  expect(Object.fromEntries(["hv1", "hv2", "hv3", "hv4"].map((id) => [id, asked.filter((one) => one === id).length]))).toEqual({ hv1: each, hv2: each, hv3: each, hv4: 0 });
});
