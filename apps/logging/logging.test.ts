// Logs by the API, the flows of logged ports and of no others, and what becomes of packets that come up; switches are the test's.
import { afterEach, beforeEach, expect, test } from "vitest";
import { buildEthernet, buildIpv4, buildTcp, ethertypes, ipProtocols } from "packet-codec";
import { Harness, textOf } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { loggedPortTable, logTable } from "./model.ts";
import { opsLists } from "./shown.ts";

let h: Harness;
let network: string;
let group: string;
let rule: string;
let port: string;
let other: string;

const p = { "x-project-id": "p", "x-roles": "manager" };
const LOGS = "/v2.0/log/logs";

async function log(values: Record<string, unknown>, headers = p): Promise<any> {
  const { status, body } = await h.call("POST", LOGS, { log: { resource_type: "security_group", ...values } }, headers);
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body.log;
}
const refused = async (values: Record<string, unknown>, headers = p): Promise<unknown> => {
  const { status, body } = await h.call("POST", LOGS, { log: { resource_type: "security_group", ...values } }, headers);
  return [status, body.NeutronError.type, body.NeutronError.message];
};
/** Flows of tables of logs, and those that copy into them. */
const flows = (table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf("hv1")].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const all = (): string[] => [...h.engine.flowsOf("hv1")].map(textOf).sort();
const keyOf = (id: string): number => h.view.get(portTable, id)!.key;

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  network = (await h.create("network", {}, p)).id;
  await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" }, p);
  group = (await h.create("security_group", { name: "web" }, p)).id;
  rule = (await h.create("security_group_rule", { security_group_id: group, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 80, port_range_max: 90 }, p)).id;
  port = (await h.create("port", { network_id: network, security_groups: [group] }, p)).id;
  other = (await h.create("port", { network_id: network, security_groups: [(await h.create("security_group", {}, p)).id] }, p)).id;
  await h.plug("hv1", port, 10);
  await h.plug("hv1", other, 11);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("a log is what was given, and changes its name, description and whether it is on", async () => {
  const made = await log({ name: "l", resource_id: group, target_id: port, event: "DROP", description: "d" });
  expect(made).toMatchObject({ name: "l", resource_type: "security_group", resource_id: group, target_id: port, event: "DROP", enabled: true, description: "d", project_id: "p" });
  expect((await h.call("PUT", `${LOGS}/${made.id}`, { log: { name: "m", enabled: false } }, p)).body.log).toMatchObject({ name: "m", enabled: false, event: "DROP", revision_number: (made.revision_number as number) + 1 });
  expect((await h.call("PUT", `${LOGS}/${made.id}`, { log: { event: "ALL" } }, p)).status).toBe(400);
  expect((await h.call("GET", `${LOGS}?event=DROP&fields=id`, undefined, p)).body).toEqual({ logs: [{ id: made.id }] });
  expect((await h.call("GET", "/v2.0/log/loggable-resources", undefined, p)).body).toEqual({ loggable_resources: [{ type: "security_group" }] });
  expect((await h.call("GET", LOGS, undefined, { "x-project-id": "p", "x-roles": "reader" })).body).toEqual({ logs: [] });
  expect((await h.call("POST", LOGS, { log: { resource_type: "security_group" } }, { "x-project-id": "p", "x-roles": "member" })).status).toBe(403);
  expect((await h.call("DELETE", `${LOGS}/${made.id}`, undefined, p)).status).toBe(204);
  expect(await refused({ name: "x", event: "SOME" })).toMatchObject([400, "HTTPBadRequest", expect.stringContaining("event")]);
});

test("what there is not, is another's or does not go together is refused by name", async () => {
  const unknown = "00000000-0000-4000-8000-000000000000";
  expect(await refused({ resource_type: "firewall" })).toEqual([400, "InvalidLogResourceType", "Invalid log resource_type: firewall."]);
  expect(await refused({ resource_id: unknown })).toEqual([404, "ResourceNotFound", `Resource ${unknown} could not be found.`]);
  expect(await refused({ target_id: unknown })).toEqual([404, "TargetResourceNotFound", `Target resource ${unknown} could not be found.`]);
  expect(await refused({ resource_id: group, target_id: other })).toEqual([400, "InvalidResourceConstraint", `Invalid resource constraint between resource (security_group ${group}) and target resource (port ${other}).`]);
  const q = { "x-project-id": "q", "x-roles": "manager" };
  expect(await refused({ target_id: port }, q)).toMatchObject([404, "TargetResourceNotFound", expect.any(String)]);
  expect(await refused({ resource_id: group }, q)).toMatchObject([404, "ResourceNotFound", expect.any(String)]);
  const { body } = await h.call("GET", `${LOGS}/${unknown}`, undefined, p);
  expect(body.NeutronError).toMatchObject({ type: "LogResourceNotFound", message: `Log resource ${unknown} could not be found.` });
});

test("copies are made of logged ports, of what is asked for, and of nobody else's; nothing is left of a log", async () => {
  const before = all();
  const drops = await log({ target_id: port, event: "DROP" });
  expect(flows("log_in_dropped")).toHaveLength(1);
  expect(flows("log_in_accepted")).toEqual([]);
  expect(all().filter((f) => !before.includes(f))).toHaveLength(4);
  // A second log of the same port costs nothing but the other event.
  const both = await log({ resource_id: group });
  expect(all().filter((f) => !before.includes(f)).length).toBeGreaterThan(6);
  const logged = all();
  expect(logged.filter((f) => f.includes(`reg2=0x${keyOf(other).toString(16)},`) && f.includes("clone"))).toEqual([]);
  const everybodys = await log({ event: "ACCEPT" });
  expect(all().length).toBe(logged.length + 2);
  for (const { id } of [drops, everybodys]) expect((await h.call("DELETE", `${LOGS}/${id}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect(all()).toEqual(logged);
  expect((await h.call("PUT", `${LOGS}/${both.id}`, { log: { enabled: false } }, p)).status).toBe(200);
  await h.settled();
  expect(all()).toEqual(before);
});

test("logs go with their port, and with their group", async () => {
  await log({ target_id: port });
  await log({ resource_id: group });
  expect((await h.call("DELETE", `/v2.0/ports/${port}`, undefined, p)).status).toBe(204);
  expect([...h.view.all(logTable)]).toHaveLength(1);
  expect((await h.call("DELETE", `/v2.0/security-groups/${group}`, undefined, p)).status).toBe(204);
  expect([...h.view.all(logTable)]).toEqual([]);
});

/** A segment to the port, as a copy of it comes up. */
function segment(table: string, dst_port: number, to = port): void {
  const tcp = buildTcp({ src_port: 4000, dst_port, seq: 1, ack: 0, flags: 2, window: 1000 }, Buffer.alloc(0), { src: "10.0.0.77", dst: "10.0.0.5" });
  const data = buildEthernet({ dst: "02:00:00:00:00:01", src: "02:00:00:00:00:02", ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.77", dst: "10.0.0.5", protocol: ipProtocols.tcp }, tcp));
  h.packets.handle({ chassis: "hv1", inPort: 0, tableId: h.layout.table(table).id, data, match: { [h.layout.register("out_port_key").field]: keyOf(to) } });
}
const taken = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
};
const entries = async (id: string): Promise<any[]> => (await h.call("GET", `${LOGS}/${id}?fields=axion:entries`, undefined, p)).body.log["axion:entries"];

test("an entry says when, what, where, and which rule accepts; of another group's rules a group's log says nothing", async () => {
  const own = await log({ resource_id: group });
  const second = (await h.create("security_group", { name: "second" }, p)).id;
  await h.create("security_group_rule", { security_group_id: second, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 22, port_range_max: 22 }, p);
  await h.call("PUT", `/v2.0/ports/${port}`, { port: { security_groups: [group, second] } }, p);
  const seconds = await log({ resource_id: second });
  segment("log_in_accepted", 81);
  segment("log_in_accepted", 22);
  segment("log_in_dropped", 443);
  await taken();
  expect(await entries(own.id)).toMatchObject([
    { event: "DROP", direction: "ingress", port_id: port, ethertype: "IPv4", protocol: 6, source: "10.0.0.77", destination: "10.0.0.5", source_port: 4000, destination_port: 443, rules: [] },
    { event: "ACCEPT", destination_port: 81, rules: [rule] },
  ]);
  // Where a port is, operators alone are told.
  expect((await entries(own.id))[0]).not.toHaveProperty("switch");
  expect([...opsLists[0]!.rows(h.view, { log: own.id })][0]).toMatchObject({ switch: "hv1" });
  expect((await entries(seconds.id)).map((e) => [e.event, e.destination_port])).toEqual([["DROP", 443], ["ACCEPT", 22]]);
  expect([...opsLists[0]!.rows(h.view, { port, event: "ACCEPT" })]).toHaveLength(2);
});

test("a flood of a project is written up to so much a second, and what is beyond is counted", async () => {
  const own = await log({ target_id: port, event: "DROP" });
  for (let i = 0; i < 500; i++) {
    segment("log_in_dropped", 1000 + i);
    if (i % 10 === 9) await taken();
  }
  const { length } = await entries(own.id);
  expect(length).toBeLessThanOrEqual(100);
  expect(length).toBeGreaterThan(50);
  expect(h.metrics.value("axion_security_log_lost_total", { event: "DROP" })).toBeGreaterThan(100);
});

test("a port that comes is looked at alone, however many logs its project has and however many ports", async () => {
  const ran = async (): Promise<number> => {
    await h.settled();
    const { runs } = h.engine.stats;
    await h.create("port", { network_id: network, security_groups: [group] }, p);
    await h.settled();
    return h.engine.stats.runs - runs;
  };
  const [one, rows] = [await log({}), () => [...h.view.all(loggedPortTable)].length];
  const before = await ran();
  for (let n = 0; n < 8; n++) await log(n % 2 === 0 ? {} : { resource_id: group });
  expect(await ran()).toBe(before);
  expect(rows()).toBe([...h.view.all(portTable)].filter((port) => port.project_id === "p").length);
  expect((await h.call("DELETE", `${LOGS}/${one.id}`, undefined, p)).status).toBe(204);
});

test("what is sent to a port by many, whom its host does not know, takes no room of what is sent to others there", async () => {
  await log({});
  for (let i = 0; i < 100; i++) segment("log_in_dropped", 1000 + i);
  segment("log_in_dropped", 7, other);
  await taken();
  expect([...opsLists[0]!.rows(h.view, { port: other })]).toMatchObject([{ destination_port: 7 }]);
});
