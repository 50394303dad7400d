// Agents: a host in its roles, alive as long as its sessions are.
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostSessionsTable, learned } from "#app";
import { Harness, type Answer } from "../../test/support/harness.ts";
import { agentId } from "./model.ts";

let h: Harness;
const admin = { "x-project-id": "operators", "x-roles": "admin" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

beforeEach(async () => {
  h = await Harness.make();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

const joined = async (id: string, fields: Parameters<Harness["addChassis"]>[1] = {}): Promise<void> => {
  await h.addChassis(id, fields);
  await h.settled();
  await h.clock.run(10);
  await h.settled();
};
const sessions = (id: string, openflow: boolean, ovsdb: boolean): void => {
  const now = new Date(h.clock.now()).toISOString();
  const has = openflow && ovsdb;
  h.facts.learn(learned(hostSessionsTable, id, { id, openflow, ovsdb, startedAt: has ? now : undefined, lostAt: has ? undefined : now }));
};
interface Shown {
  readonly id: string;
  readonly alive: boolean;
  readonly agent_type: string;
  readonly host: string;
}
const agents = async (query = ""): Promise<readonly Shown[]> => (await h.call("GET", `/v2.0/agents${query}`, undefined, admin)).body.agents;
const call = (method: "PUT" | "POST" | "DELETE" | "GET", path: string, body?: unknown): Promise<Answer> => h.call(method, `/v2.0/${path}`, body, admin);

test("a host is one agent for each role, by the same ids whenever it joins", async () => {
  await joined("hv1", { bridge_mappings: { physnet1: "br-ex" }, gateway: true });
  expect((await agents()).map((a) => [a.agent_type, a.host, a.id]).sort()).toEqual(["DHCP agent", "L3 agent", "Open vSwitch agent"].map((type) => [type, "hv1", agentId("hv1", type)]));
  expect(agentId("hv1", "L3 agent")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const { agent } = (await call("GET", `agents/${agentId("hv1", "Open vSwitch agent")}`)).body;
  expect(agent).toMatchObject({ binary: "ovs-vswitchd", topic: "N/A", admin_state_up: true, description: null, started_at: null, heartbeat_timestamp: null, configurations: { bridge_mappings: { physnet1: "br-ex" }, tunneling_ip: "172.31.0.1", gateway: true } });
  expect(agent.created_at).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
});

test("it is alive while both sessions are there; times are those of its sessions", async () => {
  await joined("hv1");
  const one = async (): Promise<Record<string, unknown>> => (await call("GET", `agents/${agentId("hv1", "L3 agent")}`)).body.agent;
  expect((await one()).alive).toBe(false);
  sessions("hv1", true, false);
  expect((await one()).alive).toBe(false);
  sessions("hv1", true, true);
  const began = new Date(h.clock.now()).toISOString().slice(0, 19).replace("T", " ");
  expect(await one()).toMatchObject({ alive: true, started_at: began, heartbeat_timestamp: began });
  await h.clock.run(300_000);
  const beat = (await one()).heartbeat_timestamp as string;
  expect(h.clock.now() - Date.parse(`${beat.replace(" ", "T")}Z`)).toBeLessThanOrEqual(31_000);
  expect((await agents("?alive=true")).length).toBe(3);
  sessions("hv1", false, true);
  const lost = (await one()).heartbeat_timestamp;
  await h.clock.run(300_000);
  expect(await one()).toMatchObject({ alive: false, heartbeat_timestamp: lost });
  expect((await agents("?alive=true")).length).toBe(0);
});

test("a description is an administrator's, and outlives a restart; a host is not put down here", async () => {
  await joined("hv1");
  const path = `agents/${agentId("hv1", "L3 agent")}`;
  expect((await call("PUT", path, { agent: { description: "rack 4", admin_state_up: true } })).body.agent.description).toBe("rack 4");
  const refused = await call("PUT", path, { agent: { description: "rack 5", admin_state_up: false } });
  expect([refused.status, refused.body.NeutronError.message]).toEqual([400, expect.stringContaining("admin_state_up")]);
  h = await h.restart();
  await h.clock.run(10);
  await h.settled();
  expect((await call("GET", path)).body.agent.description).toBe("rack 4");
  expect((await call("DELETE", path)).status).toBe(405);
  expect((await call("POST", "agents", { agent: {} })).status).toBe(405);
});

test("agents are no matter of projects", async () => {
  await joined("hv1");
  const member = { "x-project-id": "red", "x-roles": "member" };
  expect((await h.call("GET", "/v2.0/agents", undefined, member)).body.agents).toEqual([]);
  for (const [method, path] of [["GET", ""], ["PUT", ""]] as const) {
    const answer = await h.call(method, `/v2.0/agents/${agentId("hv1", "L3 agent")}${path}`, method === "PUT" ? { agent: { description: "mine" } } : undefined, member);
    expect([answer.status, answer.body.NeutronError.type]).toEqual([404, "AgentNotFound"]);
  }
});

test("agents go with their host, and roles with their apps", async () => {
  await joined("hv1");
  await joined("hv2");
  expect(await agents()).toHaveLength(6);
  h = await h.restart(["dhcp", "dhcp-agents"]);
  await h.clock.run(10);
  await h.settled();
  expect((await agents("?host=hv2")).map((a) => a.agent_type).sort()).toEqual(["L3 agent", "Open vSwitch agent"]);
  const { chassisTable } = await import("#app");
  await h.model.transact({ requestId: "t", call: "t" }, (tx) => tx.delete(chassisTable, "hv2"));
  await h.settled();
  await h.clock.run(10);
  await h.settled();
  expect((await agents()).map((a) => a.host)).toEqual(["hv1", "hv1"]);
});

test("networks and routers are where their ports and gateways are; who would move them is told why not", async () => {
  await joined("hv1");
  await joined("hv2", { gateway: true, bridge_mappings: { physnet1: "br-ex" } });
  const outside = await h.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "physnet1" });
  await h.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24" });
  const inside = await h.create("network", { name: "blue" });
  const subnet = await h.create("subnet", { network_id: inside.id, ip_version: 4, cidr: "10.0.0.0/24" });
  const router = await h.create("router", { external_gateway_info: { network_id: outside.id } });
  await call("PUT", `routers/${router.id}/add_router_interface`, { subnet_id: subnet.id });
  await h.plug("hv1", (await h.create("port", { network_id: inside.id })).id, 10);
  await h.settled();
  const dhcp = agentId("hv1", "DHCP agent");
  const l3 = agentId("hv1", "L3 agent");
  expect((await call("GET", `networks/${inside.id}/dhcp-agents`)).body.agents.map((a: Shown) => a.id)).toEqual([dhcp]);
  expect((await call("GET", `networks/${outside.id}/dhcp-agents`)).body.agents).toEqual([]);
  expect((await call("GET", `agents/${dhcp}/dhcp-networks`)).body.networks).toMatchObject([{ id: inside.id, name: "blue", subnets: [subnet.id] }]);
  expect((await call("GET", `routers/${router.id}/l3-agents`)).body.agents).toMatchObject([{ host: "hv1", ha_state: null }, { host: "hv2", ha_state: "standby" }]);
  for (const host of ["hv1", "hv2"]) expect((await call("GET", `agents/${agentId(host, "L3 agent")}/l3-routers`)).body.routers).toMatchObject([{ id: router.id }]);
  await h.call("PUT", `/v2.0/subnets/${subnet.id}`, { subnet: { enable_dhcp: false } });
  await h.settled();
  expect((await call("GET", `networks/${inside.id}/dhcp-agents`)).body.agents).toEqual([]);

  const refusals: readonly (readonly ["POST" | "DELETE" | "GET", string, unknown, number, string])[] = [
    ["POST", `agents/${dhcp}/dhcp-networks`, { network_id: inside.id }, 409, "Conflict"], ["DELETE", `agents/${dhcp}/dhcp-networks/${inside.id}`, undefined, 409, "Conflict"],
    ["POST", `agents/${l3}/l3-routers`, { router_id: router.id }, 409, "RouterDoesntSupportScheduling"], ["DELETE", `agents/${l3}/l3-routers/${router.id}`, undefined, 409, "RouterDoesntSupportScheduling"],
    ["POST", `agents/${dhcp}/dhcp-networks`, { network_id: UNKNOWN }, 404, "NetworkNotFound"], ["POST", `agents/${l3}/l3-routers`, { router_id: UNKNOWN }, 404, "RouterNotFound"],
    ["POST", `agents/${l3}/l3-routers`, {}, 400, "HTTPBadRequest"], ["GET", `agents/${l3}/dhcp-networks`, undefined, 404, "InvalidDHCPAgent"], ["GET", `agents/${dhcp}/l3-routers`, undefined, 404, "InvalidL3Agent"],
    ["GET", `agents/${UNKNOWN}/l3-routers`, undefined, 404, "AgentNotFound"], ["GET", `networks/${UNKNOWN}/dhcp-agents`, undefined, 404, "NetworkNotFound"],
  ];
  for (const [method, path, body, status, type] of refusals) {
    const answer = await call(method, path, body);
    expect([answer.status, answer.body.NeutronError.type], `${method} ${path}`).toEqual([status, type]);
  }
  const owner = { "x-project-id": "red", "x-roles": "member" };
  const own = await h.create("network", {}, owner);
  for (const [path, status] of [[`networks/${own.id}/dhcp-agents`, 403], [`networks/${inside.id}/dhcp-agents`, 404], [`agents/${l3}/l3-routers`, 404]] as const) expect((await h.call("GET", `/v2.0/${path}`, undefined, owner)).status, path).toBe(status);
});
