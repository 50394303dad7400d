// Tap services and tap flows by the API, and the flows that copy; frames on real switches are in test/integration/hosts/taps.test.ts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { portTable } from "../l2/model.ts";
import { COPIES_MAX, TAG_FLOWS_MAX } from "./model.ts";

let h: Harness;
let network: string;
let other: string;
let [source, second, tap] = ["", "", ""];

const p = { "x-project-id": "p", "x-roles": "member" };
const q = { "x-project-id": "q", "x-roles": "member" };
const SERVICES = "/v2.0/taas/tap_services";
const FLOWS = "/v2.0/taas/tap_flows";
const HOSTS = ["hv1", "hv2"];
const all = (host: string): string[] => [...h.engine.flowsOf(host)].map((f) => `${f.table} ${textOf(f)}`).sort();
const flows = (host: string, table: string): string[] => {
  const { id } = h.layout.table(table);
  return [...h.engine.flowsOf(host)].filter((f) => f.table === id && f.priority > 0).map(textOf).sort();
};
const port = async (values: Record<string, unknown> = {}, headers = p): Promise<string> => (await h.create("port", { network_id: network, ...values }, headers)).id;
const keyOf = (id: string): string => `0x${h.view.get(portTable, id)!.key.toString(16)}`;
async function made(url: string, name: string, values: Record<string, unknown>, headers = p): Promise<string> {
  const { status, body } = await h.call("POST", url, { [name]: values }, headers);
  expect(status, JSON.stringify(body)).toBe(201);
  await h.settled();
  return body[name].id as string;
}
const service = (port_id: string): Promise<string> => made(SERVICES, "tap_service", { port_id });
const flow = (tap_service_id: string, source_port: string, values: Record<string, unknown> = {}): Promise<string> => made(FLOWS, "tap_flow", { tap_service_id, source_port, direction: "BOTH", ...values });
const refused = async (url: string, name: string, values: Record<string, unknown>, headers: Record<string, string> = p): Promise<string> => {
  const before = h.model.generation;
  const { status, body } = await h.call("POST", url, { [name]: values }, headers);
  expect(h.model.generation).toBe(before);
  return `${status} ${body.NeutronError?.type}`;
};
/** Once these hosts have confirmed what they were told. */
async function statusOf(url: string, id: string, name: string, confirmed = HOSTS): Promise<string> {
  await h.settled();
  for (const host of confirmed) h.confirm(host);
  for (let i = 0; i < 3; i++) {
    h.clock.advance(150);
    await new Promise((done) => setImmediate(done));
    await h.settled();
  }
  return (await h.call("GET", `${url}/${id}`, undefined, p)).body[name].status as string;
}

beforeEach(async () => {
  h = await Harness.make();
  for (const host of HOSTS) await h.addChassis(host);
  network = (await h.create("network", { shared: true })).id;
  other = (await h.create("network", {}, p)).id;
  [source, second, tap] = [await port(), await port(), (await h.create("port", { network_id: other }, p)).id];
  await h.plug("hv1", source, 5);
  await h.plug("hv2", second, 6);
  await h.plug("hv2", tap, 7);
  await h.settled();
});
afterEach(async () => {
  compare(h, HOSTS);
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("what a port sends and gets is copied to the tap's port on its host or another, the rest of its flows are as before, and nothing is left", async () => {
  const before = HOSTS.map(all);
  const tapped = await service(tap);
  expect(HOSTS.map(all), "a service that nobody copies to costs nothing").toEqual(before);
  const one = await flow(tapped, source);
  expect(flows("hv1", "tap_out")).toEqual([expect.stringMatching(new RegExp(`reg1=${keyOf(source)} actions=clone\\(`))]);
  expect(flows("hv1", "tap_in")).toEqual([expect.stringMatching(/priority=100,.*clone\(/), expect.stringMatching(/priority=200,.*in_port=5 /)]);
  expect(flows("hv1", "tap_deliver")).toHaveLength(1);
  expect(flows("hv2", "tap_deliver")).toEqual([expect.stringMatching(/priority=110,.*actions=output:7$/)]);
  // Of what was there the two changed that hand on what comes from the port and what goes to it.
  const changed = all("hv1").filter((f) => !before[0]!.includes(f) && new RegExp(`reg[12]=${keyOf(source)}|in_port=5`).test(f));
  expect(before[0]!.filter((f) => !all("hv1").includes(f)).length).toBeLessThanOrEqual(5);
  expect(changed.length).toBeGreaterThan(0);
  const two = await flow(tapped, second, { direction: "OUT" });
  expect(flows("hv2", "tap_in")).toEqual([]);
  expect(flows("hv2", "tap_out")).toHaveLength(1);
  for (const id of [one, two]) expect((await h.call("DELETE", `${FLOWS}/${id}`, undefined, p)).status).toBe(204);
  expect((await h.call("DELETE", `${SERVICES}/${tapped}`, undefined, p)).status).toBe(204);
  await h.settled();
  expect(HOSTS.map(all)).toEqual(before);
});

test("the tap's port moves: what copies does not change, but where copies go", async () => {
  await flow(await service(tap), source);
  const copying = flows("hv1", "tap_out");
  await h.unplug("hv2", tap);
  await h.settled();
  expect([...flows("hv1", "tap_deliver"), ...flows("hv2", "tap_deliver")]).toEqual([]);
  await h.plug("hv1", tap, 9);
  await h.settled();
  expect(flows("hv1", "tap_out")).toEqual(copying);
  expect(flows("hv1", "tap_deliver")).toEqual([expect.stringMatching(/priority=100,/), expect.stringMatching(/priority=110,.*output:9$/)]);
});

test("tags that several flows ask for are copied where each wants them, and twice to nobody", async () => {
  const [a, b] = [await service(tap), await service(second)];
  await flow(a, source, { direction: "OUT", vlan_filter: "10,20-23" });
  expect(flows("hv1", "tap_out")).toEqual([expect.stringMatching(/dl_vlan=10 /), expect.stringMatching(/vlan_tci=0x1014\/0x1ffc/)]);
  await flow(b, source, { direction: "BOTH", vlan_filter: null });
  await flow(b, source, { direction: "OUT", vlan_filter: "10" });
  const out = flows("hv1", "tap_out");
  expect(out.map((f) => f.split("clone").length - 1)).toEqual([1, 2, 2]);
  expect(out[0]).toMatch(/^priority=100,reg1=\S+ /);
});

test("tags take so many flows of a host and no more, however filters lie over each other: what takes more is refused by name", async () => {
  const to = await service(tap);
  const odd = (from: number, ranges: number): string => Array.from({ length: ranges }, (_, i) => `${from + 4 * i + 1}-${from + 4 * i + 2}`).join(",");
  const wanted = (vlan_filter: string, direction = "BOTH") => ({ tap_service_id: to, source_port: source, direction, vlan_filter });
  const whole = await h.call("POST", FLOWS, { tap_flow: wanted(Array.from({ length: 20 }, (_, i) => `${i * 128 + 1}-${i * 128 + 126}`).join(",")) }, p);
  expect([whole.status, whole.body.NeutronError?.type, whole.body.NeutronError?.message]).toEqual([400, "InvalidInput", expect.stringMatching(/'vlan_filter' of this .* make 240 flows in direction IN; 128 are the most/)]);
  await flow(to, source, wanted(odd(0, 32)));
  await flow(to, source, wanted(odd(1000, 25), "IN"));
  expect(await refused(FLOWS, "tap_flow", wanted(odd(2000, 8), "BOTH"))).toBe("400 InvalidInput");
  await flow(to, source, wanted(odd(2000, 8), "OUT"));
  await flow(to, source, { direction: "IN" });
  expect(flows("hv1", "tap_in").filter((f) => f.includes("clone")).length).toBeLessThanOrEqual(TAG_FLOWS_MAX + 1);
});

test("as many tags as there may be, and all other frames: one flow more, whether what has no filter comes first or last, by tap flows and by mirrors; a flow has all copies of a port", async () => {
  const odd = (from: number, ranges: number): string => Array.from({ length: ranges }, (_, i) => `${from + 4 * i + 1}-${from + 4 * i + 2}`).join(",");
  const mirror = async (port_id: string, key: number): Promise<void> => {
    const { status, body } = await h.call("POST", "/v2.0/taas/tap_mirrors", { tap_mirror: { port_id, remote_ip: "198.51.100.7", mirror_type: "gre", directions: { IN: key } } }, p);
    expect(status, JSON.stringify(body)).toBe(201);
  };
  const services = [await service(tap), await service(tap), await service(tap), await service(tap), await service(tap)];
  const rest = async (of: string, key: number): Promise<void> => {
    await mirror(of, key);
    for (const to of services.slice(1)) await flow(to, of, { direction: "IN" });
  };
  const tags = async (of: string): Promise<void> => {
    for (const [from, ranges] of [[0, 32], [1000, 25], [2000, 7]] as const) await flow(services[0]!, of, { direction: "IN", vlan_filter: odd(from, ranges) });
  };
  const other = await port({});
  await h.plug("hv1", other, 11);
  await tags(source);
  await rest(source, 1);
  await rest(other, 2);
  await tags(other);
  await h.settled();
  for (const of of [source, other]) {
    const copying = flows("hv1", "tap_in").filter((f) => f.includes("clone") && new RegExp(`reg2=${keyOf(of)}\\b`).test(f));
    expect(copying).toHaveLength(TAG_FLOWS_MAX + 1);
    expect(Math.max(...copying.map((f) => f.split("clone").length - 1))).toBe(6);
    expect(await refused(FLOWS, "tap_flow", { tap_service_id: services[1]!, source_port: of, direction: "IN", vlan_filter: "4000" })).toBe("409 TooManyCopies");
  }
});

test("who may copy what: both ports and the service are the project's", async () => {
  const [mine, foreign] = [await service(tap), await port({}, q)];
  expect(await refused(SERVICES, "tap_service", { port_id: foreign })).toBe("404 PortNotFound");
  expect(await refused(SERVICES, "tap_service", { port_id: foreign, project_id: "p" }, { "x-roles": "admin", "x-project-id": "a" })).toBe("403 PortDoesNotBelongToProject");
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: foreign, direction: "IN", project_id: "p" }, { "x-roles": "admin", "x-project-id": "a" })).toBe("403 PortDoesNotBelongToProject");
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: foreign, direction: "IN" }, q)).toBe("404 TapServiceNotFound");
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: foreign, direction: "IN", project_id: "q" }, { "x-roles": "admin", "x-project-id": "a" })).toBe("403 TapServiceNotBelongToProject");
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: tap, direction: "IN" })).toBe("400 InvalidInput");
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: source, direction: "UP" })).toBe("400 HTTPBadRequest");
  for (const vlan_filter of ["", "x", "5-", "4095", "9-3", "10, 20"]) expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: source, direction: "IN", vlan_filter })).toMatch(/^400 /);
  expect((await h.call("GET", SERVICES, undefined, q)).body.tap_services).toEqual([]);
  const flowId = await flow(mine, source);
  expect((await h.call("PUT", `${FLOWS}/${flowId}`, { tap_flow: { direction: "IN" } }, p)).status).toBe(400);
  expect((await h.call("PUT", `${FLOWS}/${flowId}`, { tap_flow: { name: "n" } }, p)).body.tap_flow).toMatchObject({ name: "n", direction: "BOTH", vlan_filter: null, tenant_id: "p" });
  for (let i = 1; i < COPIES_MAX; i++) await flow(mine, source, { direction: "IN" });
  expect(await refused(FLOWS, "tap_flow", { tap_service_id: mine, source_port: source, direction: "IN" })).toBe("409 TooManyCopies");
});

test("status is what switches have: both ports at a host that has confirmed, and no longer than that; a port takes its taps along", async () => {
  const tapped = await service(tap);
  const copying = await flow(tapped, source);
  expect(await statusOf(FLOWS, copying, "tap_flow", ["hv1"])).toBe("DOWN");
  expect(await statusOf(FLOWS, copying, "tap_flow")).toBe("ACTIVE");
  expect(await statusOf(SERVICES, tapped, "tap_service")).toBe("ACTIVE");
  await h.unplug("hv1", source);
  expect(await statusOf(FLOWS, copying, "tap_flow")).toBe("DOWN");
  expect(await statusOf(SERVICES, tapped, "tap_service")).toBe("ACTIVE");
  await h.unplug("hv2", tap);
  expect(await statusOf(SERVICES, tapped, "tap_service")).toBe("DOWN");
  expect((await h.call("DELETE", `/v2.0/ports/${tap}`, undefined, p)).status).toBe(204);
  for (const url of [SERVICES, FLOWS]) expect(Object.values((await h.call("GET", url, undefined, p)).body)[0]).toEqual([]);
});
