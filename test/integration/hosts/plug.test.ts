// Plugging by the book and otherwise: the same iface-id on two hosts, on a host that it is not bound to, before its port is
// there; each step as the port's status, its host and the mark on the interface tell it.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2 });
  net = await cloud.network("10.0.0.0/24");
});
afterAll(() => cloud.destroy());

let devices = 0;
/** An internal port is all an interface needs here. */
async function plug(hv: number, portId: string): Promise<string> {
  const name = `plug${++devices}`;
  await cloud.hv(hv).vsctl("add-port", "br-int", name, "--", "set", "Interface", name, "type=internal", `external_ids:iface-id=${portId}`);
  return name;
}
const marked = async (hv: number, name: string): Promise<boolean> => (await cloud.hv(hv).vsctl("get", "Interface", name, "external_ids")).includes("axion-installed");
const where = async (port: Resource): Promise<string> => {
  const now = await cloud.show("port", port.id);
  return `${now.status} ${now["binding:host_id"]}`;
};
const becomes = (port: Resource, what: string): Promise<unknown> => until(`port ${what}`, async () => (await where(port)) === what);

test("a second plug takes nothing away; when the first goes, the port moves; marks follow", async () => {
  const port = await cloud.create("port", { network_id: net.network.id });
  const second = await plug(2, port.id);
  await becomes(port, "ACTIVE hv2");
  const first = await plug(1, port.id);
  await until("both interfaces known", () => marked(2, second));
  await cloud.synced();
  expect(await where(port)).toBe("ACTIVE hv2");
  expect(await marked(1, first)).toBe(false);
  expect((await cloud.hv(1).ofctl("dump-flows", "br-int", `in_port=${await cloud.hv(1).vsctl("get", "Interface", first, "ofport")}`)).split("\n").filter((l) => l.includes("cookie"))).toEqual([]);
  await cloud.hv(2).unplug(second);
  await becomes(port, "ACTIVE hv1");
  await until("the mark", () => marked(1, first));
});

test("on a host that the port is not bound to: DOWN and no mark, until it is bound to it", async () => {
  const port = await cloud.create("port", { network_id: net.network.id, "binding:host_id": "hv2" });
  const device = await plug(1, port.id);
  await cloud.synced();
  expect([await where(port), await marked(1, device)]).toEqual(["DOWN hv2", false]);
  await cloud.update("port", port.id, { "binding:host_id": "hv1" });
  await becomes(port, "ACTIVE hv1");
  await until("the mark", () => marked(1, device));
  await cloud.update("port", port.id, { admin_state_up: false });
  await until("no mark", async () => !(await marked(1, device)));
  await cloud.update("port", port.id, { admin_state_up: true });
  await until("the mark", () => marked(1, device));
  await cloud.remove("port", port.id);
  await until("no mark", async () => !(await marked(1, device)));
});

test("before its port is there: no mark until there is a port and its flows", async () => {
  const device = await plug(1, "00000000-0000-4000-8000-000000000000");
  await cloud.synced();
  expect(await marked(1, device)).toBe(false);
  const unknown = async (): Promise<string[]> => (await cloud.controller.ops<{ kind: string; text: string }[]>("GET", "/problems")).body.filter((p) => p.kind === "unknown_interface").map((p) => p.text);
  await until("the problem", async () => (await unknown()).some((text) => text.includes(`${device} (iface-id 00000000-0000-4000-8000-000000000000)`)), { timeoutMs: 15_000 });
  const port = await cloud.create("port", { network_id: net.network.id });
  await cloud.hv(1).vsctl("set", "Interface", device, `external_ids:iface-id=${port.id}`);
  await becomes(port, "ACTIVE hv1");
  await until("the mark", () => marked(1, device));
  expect((await unknown()).filter((text) => text.includes(device))).toEqual([]);
});

test("the flow dump: a table that there is not, and a foreign flow in a table that is nobody's", async () => {
  const dump = (query: string): Promise<{ status: number; body: string }> => cloud.controller.ops<string>("GET", `/flows?format=text&${query}`);
  expect((await dump("table=nowhere")).status).toBe(400);
  await cloud.hv(2).ofctl("add-flow", "br-int", "table=253,priority=7,in_port=9,actions=drop");
  const { body } = await dump("table=253&state=diff");
  expect((body).replace(/duration=[\d.]+s/, "duration=1s")).toBe("# switch hv2\n# foreign: not as this controller wants it; the next audit repairs it\n cookie=0x0, duration=1s, table=253, n_packets=0, n_bytes=0, priority=7,in_port=9 actions=drop\n");
});

test("a hint of how packets to it are spread is in its interface's row, in the place of what was there, which comes back", async () => {
  const port = await cloud.create("port", { network_id: net.network.id, hints: { openvswitch: { other_config: { "tx-steering": "hash" } } } });
  const name = await plug(1, port.id);
  const config = (): Promise<string> => cloud.hv(1).vsctl("get", "Interface", name, "other_config");
  await until("the hint", async () => (await config()) === "{tx-steering=hash}");
  await cloud.update("port", port.id, { hints: null });
  await until("none", async () => (await config()) === "{}");
  await cloud.hv(1).vsctl("set", "Interface", name, "other_config:tx-steering=thread");
  await cloud.update("port", port.id, { hints: { openvswitch: { other_config: { "tx-steering": "hash" } } } });
  await until("the hint again", async () => (await config()) === "{tx-steering=hash}");
  await cloud.update("port", port.id, { hints: null });
  await until("what was there", async () => (await config()) === "{tx-steering=thread}");
});
