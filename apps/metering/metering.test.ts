// Labels and their rules by the API, the flows that count, and totals that outlive flows and controllers; what switches say is the test's.
import { afterEach, beforeEach, expect, test } from "vitest";
import { flowCountReply } from "../../test/support/flow-counts.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { Share } from "../../src/services/index.ts";
import { LABELS_MAX, meteringCountTable, meteringLabelRuleTable, RULES_MAX } from "./model.ts";
import { gauges, opsLists } from "./shown.ts";

let h: Harness;
let outside: string;
let router: string;
let port: string;
/** The controllers that are there: one of them stores. */
let acting: string[];
/** Packets of each flow, by its key. */
let counted: Map<string, number>;

const p = { "x-project-id": "p", "x-roles": "manager" };
const member = { "x-project-id": "p", "x-roles": "member" };
const LABELS = "/v2.0/metering/metering-labels";
const RULES = "/v2.0/metering/metering-label-rules";
const HOSTS = ["hv1", "gw1", "gw2"];
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const all = (): string[][] => HOSTS.map((host) => [...h.engine.flowsOf(host)].map(textOf).sort());

async function made(url: string, name: string, values: Record<string, unknown>, headers: Record<string, string> = p): Promise<string> {
  const { status, body } = await h.call("POST", url, { [name]: values }, headers);
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body[name].id as string;
}
const label = (values: Record<string, unknown> = {}, headers = p): Promise<string> => made(LABELS, "metering_label", values, headers);
const rule = (of: string, values: Record<string, unknown> = {}, headers = p): Promise<string> => made(RULES, "metering_label_rule", { metering_label_id: of, direction: "egress", remote_ip_prefix: "10.0.0.0/24", ...values }, headers);

function answers(): void {
  h.countsOf = (chassis, cookie) => Promise.resolve([...h.engine.flowsOf(chassis)].filter((f) => ((BigInt(f.cookieHi) << 32n) | BigInt(f.cookieLo)) === cookie).map(({ key }) => flowCountReply(key, counted.get(`${chassis} ${key}`) ?? 0)));
}
/** Packets that flows of a label count at a host. */
function pass(host: string, direction: "ingress" | "egress", of: string, packets: number): void {
  const { key } = h.engine.wantedFlows("metering", `counted-${direction}`, of)[0]!;
  counted.set(`${host} ${key}`, (counted.get(`${host} ${key}`) ?? 0) + packets);
}
const shown = async (id: string): Promise<unknown> => {
  const { body } = await h.call("GET", `${LABELS}/${id}?fields=axion:ingress&fields=axion:egress&fields=axion:counts_complete`, undefined, p);
  const { "axion:ingress": ingress, "axion:egress": egress, "axion:counts_complete": complete } = body.metering_label;
  return [ingress.packets, egress.packets, complete];
};

beforeEach(async () => {
  acting = ["self"];
  h = await Harness.make([], undefined, { share: new Share("self", () => acting) });
  counted = new Map();
  answers();
  for (const [n, host] of HOSTS.entries()) await h.addChassis(host, { key: n + 1, gateway: host.startsWith("gw") });
  outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  const inside = (await h.create("network", {}, p)).id;
  const subnet = (await h.create("subnet", { network_id: inside, ip_version: 4, cidr: "10.0.0.0/24" }, p)).id;
  router = (await h.create("router", { external_gateway_info: { network_id: outside } }, p)).id;
  await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet }, p);
  port = (await h.create("port", { network_id: inside }, p)).id;
  await h.plug("hv1", port, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("a label's rules count at the hosts of the gateway, and where a floating IP is; what is excluded comes first, and nothing is left of what goes", async () => {
  const before = all();
  const of = await label({ name: "l" });
  for (const host of ["gw1", "gw2"]) {
    expect(flows(host, "metering_out")).toHaveLength(2);
    expect(flows(host, "metering_in")).toHaveLength(2);
  }
  expect(flows("hv1", "metering_out")).toEqual([]);
  const ids = [await rule(of), await rule(of, { excluded: true, remote_ip_prefix: "10.0.0.9" }), await rule(of, { direction: "ingress", remote_ip_prefix: null, source_ip_prefix: "198.51.100.0/24", destination_ip_prefix: "10.0.0.5" }), await rule(of, { remote_ip_prefix: "fd00::/64" })];
  const egress = flows("gw1", "metered_out");
  expect(egress.map((f) => /priority=(\d+)/.exec(f)![1])).toEqual(["299", "34", "74"]);
  expect(egress[0]).toMatch(/nw_src=10\.0\.0\.9/);
  expect(egress[1]).toMatch(/nw_src=10\.0\.0\.0\/24/);
  expect(egress[2]).toMatch(/ipv6_src=fd00::\/64/);
  expect(flows("gw1", "metered_in")).toEqual([expect.stringMatching(/priority=66.*nw_src=198\.51\.100\.0\/24,nw_dst=10\.0\.0\.5 actions=drop/)]);
  expect(flows("hv1", "metered_out")).toEqual([]);
  const { id: floating } = await h.create("floatingip", { floating_network_id: outside, port_id: port }, p);
  await h.settled();
  expect(flows("hv1", "metered_out")).toEqual(egress);
  expect(flows("hv1", "metering_out")).toEqual(flows("gw1", "metering_out"));
  expect((await h.call("DELETE", `/v2.0/floatingips/${floating}`, undefined, p)).status).toBe(204);
  expect((await h.call("DELETE", `${RULES}/${ids[0]!}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect(flows("gw1", "metered_out")).toHaveLength(2);
  expect((await h.call("DELETE", `${LABELS}/${of}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect(all()).toEqual(before);
  expect([...h.view.all(meteringLabelRuleTable)]).toEqual([]);
});

test("a project's label counts its own routers alone, a shared one everybody's, and only administrators share", async () => {
  const q = { "x-project-id": "q", "x-roles": "manager" };
  await label({}, q);
  expect(flows("gw1", "metering_out")).toEqual([]);
  expect((await h.call("POST", LABELS, { metering_label: { shared: true } }, p)).status).toBe(403);
  expect((await h.call("POST", LABELS, { metering_label: {} }, member)).status).toBe(403);
  const shared = await label({ shared: true }, { "x-project-id": "admin", "x-roles": "admin" });
  const own = await label();
  expect(flows("gw1", "metering_out")[0]!.match(/resubmit/g)).toHaveLength(2);
  expect((await h.call("GET", `${LABELS}/${own}`, undefined, q)).status).toBe(404);
  // Neither may others make rules of a label that is not theirs.
  const { status, body } = await h.call("POST", RULES, { metering_label_rule: { metering_label_id: own, direction: "egress", remote_ip_prefix: "0.0.0.0/0" } }, q);
  expect([status, body.NeutronError.type]).toEqual([404, "MeteringLabelNotFound"]);
  expect((await h.call("GET", `${LABELS}/${shared}`, undefined, member)).status).toBe(404);
});

test("what is wrong with a rule is named, and nothing is stored", async () => {
  const of = await label();
  await rule(of);
  const refused = async (values: Record<string, unknown>): Promise<[number, string, string]> => {
    const { generation } = h.model;
    const { status, body } = await h.call("POST", RULES, { metering_label_rule: { metering_label_id: of, direction: "egress", ...values } }, p);
    expect(h.model.generation).toBe(generation);
    return [status, body.NeutronError.type, body.NeutronError.message];
  };
  expect((await refused({ remote_ip_prefix: "10.0.0.128/25" })).slice(0, 2)).toEqual([409, "MeteringLabelRuleOverlaps"]);
  expect((await refused({ source_ip_prefix: "10.0.0.0/24" })).slice(0, 2)).toEqual([409, "MeteringLabelRuleOverlaps"]);
  for (const [values, word] of [
    [{}, "required"], [{ remote_ip_prefix: "10.1.0.0/24", source_ip_prefix: "10.1.0.0/24" }, "remote_ip_prefix"], [{ source_ip_prefix: "10.1.0.0/24", destination_ip_prefix: "fd00::/64" }, "destination_ip_prefix"],
    [{ remote_ip_prefix: "10.0.0.300/24" }, "remote_ip_prefix"], [{ remote_ip_prefix: 7 }, "remote_ip_prefix"], [{ direction: "both", remote_ip_prefix: "10.1.0.0/24" }, "direction"],
  ] as const) {
    const [status, , message] = await refused(values);
    expect([status, message], JSON.stringify(values)).toEqual([400, expect.stringContaining(word)]);
  }
  expect((await refused({ metering_label_id: "00000000-0000-4000-8000-000000000000", remote_ip_prefix: "10.1.0.0/24" })).slice(0, 2)).toEqual([404, "MeteringLabelNotFound"]);
  expect((await h.call("PUT", `${LABELS}/${of}`, { metering_label: { name: "x" } }, p)).status).not.toBe(200);
});

test("labels of a project, and rules of a label, are so many at most", async () => {
  const first = await label();
  for (let i = 1; i < LABELS_MAX; i++) await label();
  expect((await h.call("POST", LABELS, { metering_label: {} }, p)).body.NeutronError.type).toBe("TooManyMeteringLabels");
  for (let i = 0; i < RULES_MAX; i++) await rule(first, { remote_ip_prefix: `10.9.${i}.0/24` });
  expect((await h.call("POST", RULES, { metering_label_rule: { metering_label_id: first, direction: "egress", remote_ip_prefix: "10.10.0.0/24" } }, p)).body.NeutronError.type).toBe("TooManyMeteringLabelRules");
});

test("counts are sums over hosts and rules; they do not fall when rules go, a gateway moves or a controller starts anew, and they begin at 0 with a new label", async () => {
  const of = await label();
  const one = await rule(of);
  await rule(of, { direction: "ingress" });
  expect(await shown(of)).toEqual([0, 0, true]);
  pass("gw1", "egress", of, 5);
  pass("gw2", "egress", of, 2);
  pass("gw2", "ingress", of, 3);
  await h.clock.run(10_000);
  expect(await shown(of)).toEqual([3, 7, true]);
  expect(await h.call("GET", `${LABELS}/${of}`, undefined, p)).not.toHaveProperty("body.metering_label.axion:egress");
  expect([...opsLists[0]!.rows(h.view, { label: of })]).toEqual([expect.objectContaining({ label: of, project: "p", rules: 2, egress: { packets: 7, bytes: 700 }, complete: true })]);
  const samples = gauges.flatMap(({ name, read }) => [...(read(h.view) as Iterable<{ labels: { label: string; direction: string }; value: number }>)].map(({ labels, value }) => `${name} ${labels.direction} ${value}`));
  expect(samples.sort()).toEqual(["axion_metering_bytes_total egress 700", "axion_metering_bytes_total ingress 300", "axion_metering_packets_total egress 7", "axion_metering_packets_total ingress 3"]);
  // A rule goes, with its flows and what they counted.
  expect((await h.call("DELETE", `${RULES}/${one}`, undefined, p)).status).toBe(204);
  await h.settled();
  await h.clock.run(20_000);
  expect(await shown(of)).toEqual([3, 7, true]);
  expect(h.view.get(meteringCountTable, `egress/${of}`)?.gone_packets).toBe(7);
  h = await h.restart();
  answers();
  await h.clock.run(10_000);
  expect(await shown(of)).toEqual([3, 7, true]);
  await rule(of, { remote_ip_prefix: "10.0.0.0/25" });
  pass("gw1", "egress", of, 4);
  await h.clock.run(10_000);
  expect(await shown(of)).toEqual([3, 11, true]);
  // Of a switch that is silent the last is shown.
  h.countsOf = () => undefined;
  await h.clock.run(10_000);
  expect(await shown(of)).toEqual([3, 11, false]);
  expect((await h.call("DELETE", `${LABELS}/${of}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect([...h.view.all(meteringCountTable)]).toEqual([]);
});

test("what flows had when they were taken off counts at the controller that is told of it, which stores it where another one has stored less", async () => {
  const of = await label();
  const one = await rule(of);
  const stored = (): number | undefined => h.view.get(meteringCountTable, `egress/${of}`)?.gone_packets;
  const others = (packets: number): Promise<unknown> =>
    h.model.transact({ requestId: "req-1", call: "the other" }, (tx) => tx.put(meteringCountTable, { id: `egress/${of}`, packets, bytes: packets * 100, gone_packets: packets, gone_bytes: packets * 100, last_hit: null }));
  pass("gw1", "egress", of, 5);
  await h.clock.run(10_000);
  expect(await shown(of)).toEqual([0, 5, true]);
  acting = ["other"];
  const { key, table } = h.engine.wantedFlows("metering", "counted-egress", of)[0]!;
  expect((await h.call("DELETE", `${RULES}/${one}`, undefined, p)).status).toBe(204);
  await h.settled();
  await others(5);
  h.counter.end("metering", "counted-egress", of, { chassis: "gw1", key, table, packets: 9, bytes: 900 });
  await h.clock.run(12_000);
  expect([await shown(of), stored()]).toEqual([[0, 9, true], 9]);
  // It came and went between two looks, and the other one, which acts, knows of more by now.
  h.counter.end("metering", "counted-egress", of, { chassis: "gw1", key, table, packets: 2, bytes: 200 });
  await others(20);
  await h.clock.run(12_000);
  expect([await shown(of), stored()]).toEqual([[0, 20, true], 20]);
});
