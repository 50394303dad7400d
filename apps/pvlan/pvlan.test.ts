// Private VLANs by the API, and the flows that come of them. Who reaches whom is tried on real switches: test/integration/security/pvlan.test.ts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { pvlanNetworkTable, pvlanPortTable } from "./model.ts";

let h: Harness;
let network: string;
const HOSTS = ["hv1", "hv2"];
const member = { "x-project-id": "p", "x-roles": "member" };

const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const all = (): string[][] => HOSTS.map((host) => [...h.engine.flowsOf(host)].map((f) => `${f.table} ${textOf(f)}`).sort());
async function ok(method: "GET" | "POST" | "PUT" | "DELETE", url: string, body?: unknown): Promise<any> {
  const answer = await h.call(method, url, body, member);
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  await h.settled();
  return answer.body;
}
async function refused(type: string, method: "POST" | "PUT", url: string, body: unknown): Promise<void> {
  const { generation } = h.model;
  const answer = await h.call(method, url, body, member);
  expect([answer.status, answer.body.NeutronError?.type], JSON.stringify(body)).toEqual([400, type]);
  expect(h.model.generation).toBe(generation);
}
const port = async (values: Record<string, unknown> = {}): Promise<any> => (await ok("POST", "/v2.0/ports", { port: { network_id: network, ...values } })).port;
const set = async (id: string, values: Record<string, unknown>): Promise<any> => (await ok("PUT", `/v2.0/ports/${id}`, { port: values })).port;

beforeEach(async () => {
  h = await Harness.make();
  for (const host of HOSTS) await h.addChassis(host);
  network = (await ok("POST", "/v2.0/networks", { network: { pvlan: true } })).network.id;
  await ok("POST", "/v2.0/subnets", { subnet: { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" } });
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  expect(h.engine.conflicts).toEqual([]);
  await h.close();
});

test("who is asked for is judged once: behind the table that says of which community he is, so that what goes on does not come there again", () => {
  const at = (table: string): number => h.layout.table(table).id;
  expect([at("pvlan_asked") > at("pvlan_out"), at("pvlan_heard") > at("pvlan_in")]).toEqual([true, true]);
});

test("a port that is kept apart stops what others of its kind send, on its host; its address and MAC are known where its network is; others have nothing of it", async () => {
  const [a, b, c, open] = [await port({ pvlan_type: "isolated" }), await port({ pvlan_type: "community", pvlan_community: "blue" }), await port({ pvlan_type: "community", pvlan_community: "blue" }), await port({ pvlan_type: "promiscuous" })];
  expect([a, b].map(({ pvlan_type, pvlan_community }) => [pvlan_type, pvlan_community])).toEqual([["isolated", null], ["community", "blue"]]);
  for (const [i, { id }] of [a, b, c, open].entries()) await h.plug(HOSTS[i % 2]!, id, 10 + i);
  await h.settled();
  expect(flows("hv1", "pvlan_heard").map((f) => /priority=(\d+)/.exec(f)![1])).toEqual(["100", "50", "50"].sort());
  for (const host of HOSTS) {
    // One MAC each of three ports, and of each address who asks and who sends.
    expect(flows(host, "pvlan_in")).toHaveLength(3);
    expect(flows(host, "pvlan_out").filter((f) => f.startsWith("priority=100"))).toHaveLength(6);
  }
  // Both of one community have one number.
  expect(new Set([b, c].map(({ id }) => h.view.get(pvlanPortTable, id)!.class)).size).toBe(1);
  compare(h, HOSTS);
  const { id } = h.layout.table("classify");
  const enters = (key: number): string => [...h.engine.flowsOf(HOSTS[0]!), ...h.engine.flowsOf(HOSTS[1]!)].filter((f) => f.table === id).map(textOf).find((f) => f.includes(`in_port=${key},`))!.split(":").at(-1)!;
  expect(enters(13)).not.toBe(enters(10));
  // What a port says counts while its network does.
  await ok("PUT", `/v2.0/networks/${network}`, { network: { pvlan: false } });
  expect(HOSTS.flatMap((host) => ["pvlan_out", "pvlan_asked", "pvlan_in", "pvlan_heard"].flatMap((table) => flows(host, table)))).toEqual([]);
  await ok("PUT", `/v2.0/networks/${network}`, { network: { pvlan: true } });
  expect(flows("hv1", "pvlan_in")).toHaveLength(3);
  const before = all();
  for (const one of [a, b, c]) await set(one.id, { pvlan_type: null });
  await h.settled();
  expect(flows("hv1", "pvlan_in")).toEqual([]);
  await set(a.id, { pvlan_type: "isolated" });
  for (const one of [b, c]) await set(one.id, { pvlan_type: "community", pvlan_community: "blue" });
  expect(all()[0]!.length).toBe(before[0]!.length);
  for (const one of [a, b, c, open]) await ok("DELETE", `/v2.0/ports/${one.id}`);
  await ok("DELETE", `/v2.0/networks/${network}`);
  expect([[...h.view.all(pvlanPortTable)], [...h.view.all(pvlanNetworkTable)]]).toEqual([[], []]);
});

test("a MAC that several may send from is as isolated; an address that one has who may be reached is asked for", async () => {
  const [a, b] = [await port({ pvlan_type: "community", pvlan_community: "x", allowed_address_pairs: [{ ip_address: "10.0.0.77", mac_address: "00:00:5e:00:01:01" }] }), await port({ pvlan_type: "community", pvlan_community: "y", allowed_address_pairs: [{ ip_address: "10.0.0.77", mac_address: "00:00:5e:00:01:01" }] })];
  for (const [i, { id }] of [a, b].entries()) await h.plug("hv1", id, 10 + i);
  await h.settled();
  const shared = (): string[] => flows("hv1", "pvlan_in").filter((f) => f.includes("00:00:5e:00:01:01"));
  expect(shared()).toEqual([expect.stringContaining("load:0x1->")]);
  expect(flows("hv1", "pvlan_out").filter((f) => f.startsWith("priority=100") && f.includes("10.0.0.77"))).toEqual([]);
  await set(b.id, { pvlan_community: "x" });
  expect(shared()).toEqual([expect.not.stringContaining("load:0x1->")]);
  expect(flows("hv1", "pvlan_out").filter((f) => f.startsWith("priority=100") && f.includes("10.0.0.77"))).toHaveLength(2);
  await set(b.id, { pvlan_type: "promiscuous" });
  expect(flows("hv1", "pvlan_out").filter((f) => f.startsWith("priority=100") && f.includes("10.0.0.77"))).toEqual([]);
});

test("what does not fit together is refused by name", async () => {
  const { id } = await port({ pvlan_type: "community", pvlan_community: "blue" });
  const plain = (await ok("POST", "/v2.0/networks", { network: {} })).network.id as string;
  const ports = (values: Record<string, unknown>): unknown => ({ port: { network_id: network, ...values } });
  await refused("PVLANNotEnabledOnNetwork", "POST", "/v2.0/ports", { port: { network_id: plain, pvlan_type: "isolated" } });
  await refused("PVLANCannotSetCommunityName", "POST", "/v2.0/ports", ports({ pvlan_type: "isolated", pvlan_community: "blue" }));
  await refused("PVLANCannotSetCommunityName", "POST", "/v2.0/ports", ports({ pvlan_community: "blue" }));
  await refused("PVLANCommunityNameRequired", "POST", "/v2.0/ports", ports({ pvlan_type: "community" }));
  await refused("PVLANCommunityNameRequired", "PUT", `/v2.0/ports/${id}`, { port: { pvlan_community: null } });
  await refused("PVLANPortSecurityDisabled", "POST", "/v2.0/ports", ports({ pvlan_type: "isolated", port_security_enabled: false, security_groups: [] }));
  await refused("PVLANPortSecurityDisabled", "PUT", `/v2.0/ports/${id}`, { port: { port_security_enabled: false, security_groups: [] } });
  await refused("PVLANNetworkPortSecurityDisabled", "POST", "/v2.0/networks", { network: { pvlan: true, port_security_enabled: false } });
  await refused("PVLANNetworkPortSecurityDisabled", "PUT", `/v2.0/networks/${network}`, { network: { port_security_enabled: false } });
  await refused("PVLANUnsupportedType", "PUT", `/v2.0/ports/${id}`, { port: { device_owner: "network:dhcp" } });
  for (const bad of [{ pvlan_type: "other" }, { pvlan_type: 7 }, { pvlan_type: "community", pvlan_community: "9blue" }, { pvlan_type: "community", pvlan_community: "x".repeat(233) }, { pvlan_type: "community", pvlan_community: "a b" }, { pvlan_type: "community", pvlan_community: 5 }]) {
    const { status, body } = await h.call("POST", "/v2.0/ports", ports(bad), member);
    expect([status, body.NeutronError.message], JSON.stringify(bad)).toEqual([400, expect.stringContaining(Object.keys(bad).at(-1)!)]);
  }
  expect((await set(id, { pvlan_type: "isolated" })).pvlan_community).toBeNull();
  expect((await ok("GET", "/v2.0/ports?pvlan_type=isolated")).ports.map((p: { id: string }) => p.id)).toEqual([id]);
});
