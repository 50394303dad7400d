// The status of ports that the network itself provides: those of routers are ACTIVE once the switches that have them say so, that of a floating
// IP is nowhere and says so.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Harness } from "../support/harness.ts";

let h: Harness;
let network: string;
let router: string;

const statuses = async (query: string): Promise<string[]> => ((await h.call("GET", `/v2.0/ports?${query}`)).body as { ports: { status: string }[] }).ports.map((p) => p.status);
const becomes = (query: string, ...wanted: string[]): Promise<void> => vi.waitFor(async () => expect(await statuses(query)).toEqual(wanted));
const ofInterface = (): string => `device_id=${router}&device_owner=network:router_interface`;
const ofGateway = (): string => `device_id=${router}&device_owner=network:router_gateway`;

beforeEach(async () => {
  // What counts ports listens and looks again at its time.
  h = await Harness.make([], undefined, { disabled: ["statistics"] });
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  network = (await h.create("network", {})).id;
  router = (await h.create("router", {})).id;
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  // What looked at the last change is done.
  await h.clock.run(1000);
  expect(h.receivers.size).toBe(0);
  await h.close();
});
async function connect(): Promise<void> {
  const subnet = (await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.9.0.0/24" })).id;
  expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  await h.settled();
}

test("an interface that nobody uses yet is ACTIVE; with the port, the network or the router it goes down and comes back", async () => {
  await connect();
  await becomes(ofInterface(), "ACTIVE");
  const [port] = (await h.call("GET", `/v2.0/ports?${ofInterface()}`)).body.ports as [{ id: string; revision_number: number }];
  for (const [path, body] of [[`ports/${port.id}`, "port"], [`networks/${network}`, "network"], [`routers/${router}`, "router"]] as const) {
    expect((await h.call("PUT", `/v2.0/${path}`, { [body]: { admin_state_up: false } })).status).toBe(200);
    await becomes(ofInterface(), "DOWN");
    await h.call("PUT", `/v2.0/${path}`, { [body]: { admin_state_up: true } });
    await becomes(ofInterface(), "ACTIVE");
  }
  // As if it were plugged.
  await h.call("PUT", `/v2.0/ports/${port.id}`, { port: { "binding:host_id": "hv1" } });
  await becomes(ofInterface(), "ACTIVE");
});

test("where its network is on hosts, all of those that are connected have to confirm", async () => {
  for (const [n, host] of ["hv1", "hv2"].entries()) await h.plug(host, (await h.create("port", { network_id: network })).id, 5 + n);
  await h.settled();
  await connect();
  await becomes(ofInterface(), "BUILD");
  h.confirm("hv1");
  await h.settled();
  await becomes(ofInterface(), "BUILD");
  h.away.add("hv2");
  await h.clock.run(6000);
  await becomes(ofInterface(), "ACTIVE");
  // A host that comes later, or back, takes nothing away.
  h.away.delete("hv2");
  await h.addChassis("hv3");
  await h.plug("hv3", (await h.create("port", { network_id: network })).id, 7);
  await h.settled();
  expect(await statuses(ofInterface())).toEqual(["ACTIVE"]);
  expect(h.timers).toBe(0);
});

test("a gateway waits for its hosts, and is down without any; a floating IP's port is N/A", async () => {
  const outside = (await h.create("network", { "router:external": true })).id;
  await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
  await h.create("floatingip", { floating_network_id: outside });
  expect(await statuses("device_owner=network:floatingip")).toEqual(["N/A"]);
  expect(await statuses("status=N/A")).toEqual(["N/A"]);
  await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside } } });
  await h.settled();
  await becomes(ofGateway(), "DOWN");
  await h.addChassis("hv1", { key: 1, gateway: true });
  await h.settled();
  await becomes(ofGateway(), "BUILD");
  h.confirm("hv1");
  await becomes(ofGateway(), "ACTIVE");
  await h.addChassis("hv1", { key: 1 });
  await becomes(ofGateway(), "DOWN");
});
