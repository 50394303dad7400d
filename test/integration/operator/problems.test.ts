// What GET /problems says of hosts, interfaces and switches: each fault is made on a lab, shown with its cause and cure, and gone when it is mended.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Net } from "../../support/cloud.ts";

interface Problem {
  readonly kind: string;
  readonly severity: string;
  readonly since: string;
  readonly text: string;
  readonly resources: readonly { readonly type: string; readonly id: string }[];
  readonly switches: readonly string[];
  readonly cure: { readonly text: string };
}

let cloud: Cloud;
let net: Net;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2, flags: ["--audit-interval", "1"] });
  net = await cloud.network("10.0.0.0/24");
});
afterAll(() => cloud.destroy());

/** Of any kind but those that every lab has. */
const all = async (): Promise<Problem[]> => (await cloud.controller.ops<Problem[]>("GET", "/problems")).body.filter((p) => !["plain_tcp", "stale_flows"].includes(p.kind));
const of = async (kind: string): Promise<Problem[]> => (await all()).filter((p) => p.kind === kind);

/** Makes a fault, waits for the problem of that kind, mends the fault, and waits for the end of all problems. */
async function shown(kind: string, fault: () => Promise<unknown>, mend: () => Promise<unknown>): Promise<Problem> {
  expect(await all()).toEqual([]);
  await fault();
  await until(`a problem ${kind}`, async () => (await of(kind)).length > 0, { timeoutMs: 20_000 });
  const found = await of(kind);
  await mend();
  let left: Problem[] = [];
  await until(`the end of ${kind}`, async () => (left = await all()).length === 0, { timeoutMs: 20_000 }).catch((error: unknown) => {
    throw new Error(JSON.stringify(left), { cause: error });
  });
  expect(found).toHaveLength(1);
  return found[0]!;
}

const setIds = (hv: number, ...ids: string[]): Promise<unknown> => cloud.hv(hv).vsctl("set", "Open_vSwitch", ".", ...ids.map((id) => `external_ids:${id}`));
let devices = 0;
async function plug(hv: number, portId: string, ...columns: string[]): Promise<string> {
  const name = `plug${++devices}`;
  await cloud.hv(hv).vsctl("add-port", "br-int", name, "--", "set", "Interface", name, ...(columns.length > 0 ? columns : ["type=internal"]), `external_ids:iface-id=${portId}`);
  return name;
}

test("two hosts with one address for their tunnels", async () => {
  const problem = await shown("overlay.endpoint_taken", () => setIds(2, `axion-encap-ip=${cloud.hv(1).encapIp}`), () => setIds(2, `axion-encap-ip=${cloud.hv(2).encapIp}`));
  expect(problem).toMatchObject({ severity: "error", switches: ["hv1", "hv2"], text: expect.stringContaining(cloud.hv(1).encapIp) as string, cure: { text: expect.stringContaining("axion-encap-ip=ADDRESS") as string } });
});

test.each(["127.0.0.1", "224.0.0.5", "::1", "here"])("tunnels that end at %s", async (address) => {
  const problem = await shown("host", () => setIds(2, `axion-encap-ip="${address}"`), () => setIds(2, `axion-encap-ip=${cloud.hv(2).encapIp}`));
  expect(problem).toMatchObject({ switches: ["hv2"], text: `hv2: external_ids:axion-encap-ip=${address}: not an IP address of a host; the host has no tunnels` });
});

test("no address for tunnels", async () => {
  const problem = await shown("host", () => cloud.hv(2).vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-encap-ip"), () => setIds(2, `axion-encap-ip=${cloud.hv(2).encapIp}`));
  expect(problem).toMatchObject({ switches: ["hv2"], text: "hv2 has no tunnels: its ports reach no port of another host" });
});

test("a host that shares no encapsulation with the others", async () => {
  const problem = await shown("overlay.no_shared_encapsulation", () => setIds(2, "axion-encap-type=gre"), () => setIds(2, "axion-encap-type=geneve"));
  expect(problem).toMatchObject({ severity: "error", switches: ["hv1", "hv2"], text: expect.stringMatching(/^hv1 \(geneve over IPv4\) shares no encapsulation with hv2 \(gre over IPv4\)/) as string });
});

test("a physical network that is mapped to a bridge that is not there", async () => {
  const problem = await shown("bridge_mapping", () => setIds(1, "axion-bridge-mappings=physnet9:br-nine"), () => cloud.hv(1).vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-bridge-mappings"));
  expect(problem).toMatchObject({ switches: ["hv1"], text: expect.stringContaining("the host has no bridge br-nine") as string, cure: { text: expect.stringContaining("ovs-vsctl add-br br-nine") as string } });
});

test("an interface whose device is not there", async () => {
  const port = await cloud.create("port", { network_id: net.network.id });
  let name = "";
  const problem = await shown("interface_error", async () => (name = await plug(1, port.id, "mtu_request=1400")), () => cloud.hv(1).unplug(name));
  expect(problem).toMatchObject({ switches: ["hv1"], text: expect.stringMatching(new RegExp(`^hv1: interface ${name} \\(iface-id ${port.id}\\): could not open network device ${name}`)) as string });
});

test.each([["unknown", "00000000-0000-4000-8000-00000000000a", /^the interface's.*del-port\)$/], ["malformed", "not an id", /that of plug\d+ is malformed: ids of ports are UUIDs/]])("iface-id: %s", async (_what, id, cure) => {
  let name = "";
  const problem = await shown("unknown_interface", async () => (name = await plug(1, id.includes(" ") ? `"${id}"` : id)), () => cloud.hv(1).unplug(name));
  expect(problem).toMatchObject({ switches: ["hv1"], text: `hv1: the API has no port for 1 interface: ${name} (iface-id ${id})` });
  expect(problem.cure.text).toMatch(cure);
});

test("a port that is plugged on two hosts", async () => {
  const port = await cloud.create("port", { network_id: net.network.id });
  const first = await plug(2, port.id);
  await cloud.active(port.id);
  let second = "";
  const problem = await shown("l2.plugged_twice", async () => (second = await plug(1, port.id)), () => cloud.hv(1).unplug(second));
  expect(problem).toMatchObject({ severity: "error", switches: ["hv2", "hv1"], resources: [{ type: "port", id: port.id }] });
  expect(problem.text).toContain(`on hv2 (interface ${first}) and on hv1 (interface ${second})`);
});

test("a port that is plugged at another host than it is bound to", async () => {
  const port = await cloud.create("port", { network_id: net.network.id, "binding:host_id": "hv2" });
  let name = "";
  const problem = await shown("l2.plugged_elsewhere", async () => (name = await plug(1, port.id)), () => cloud.update("port", port.id, { "binding:host_id": "hv1" }));
  expect(problem).toMatchObject({ switches: ["hv1", "hv2"], resources: [{ type: "port", id: port.id }], text: expect.stringContaining(`interface ${name}`) as string, cure: { text: expect.stringContaining("binding:host_id=hv1") as string } });
});

test("flows that an audit put right", async () => {
  const port = await cloud.create("port", { network_id: net.network.id });
  await plug(1, port.id);
  await cloud.active(port.id);
  await cloud.synced();
  const table = Number(/table=(\d+)/.exec((await cloud.controller.ops<string>("GET", `/flows?switch=hv1&resource=${port.id}&format=text`)).body)![1]);
  let on = true;
  let meddling: Promise<void> = Promise.resolve();
  const problem = await shown("flows_repaired", () => {
    // An audit that finds nothing ends it: somebody who goes on writing.
    meddling = (async () => {
      while (on) {
        await cloud.hv(1).ofctl("del-flows", "br-int", `table=${table}`);
        await cloud.hv(1).ofctl("add-flow", "br-int", "table=253,actions=drop");
      }
    })();
    return Promise.resolve();
  }, async () => {
    on = false;
    await meddling;
  });
  expect(problem).toMatchObject({ severity: "warning", switches: ["hv1"] });
  expect(problem.text).toMatch(/^flows of hv1 were not as they should be at 20.*Z, and were put right: \d+ missing, 0 changed, \d nobody's; of tables /);
  expect(problem.resources.length).toBeGreaterThan(0);
  const { body } = await cloud.controller.ops<{ switch: { last_audit: string; repaired: { missing: number; tables: Record<string, number> } } }>("GET", "/switches/hv1");
  // An audit may come between the two, and find the flow of nobody alone.
  expect(Object.keys(body.switch.repaired.tables)).not.toEqual([]);
  expect(Date.parse(body.switch.last_audit)).toBeGreaterThan(0);
});

test("a bridge that cannot be made: there is no kernel module here", async () => {
  const hv = await cloud.lab.addHypervisor({ name: "hv3", externalIds: { "axion-datapath-type": "system" } });
  const problem = await shown("bridge_missing", () => hv.setManager(cloud.lab.manager), () => hv.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-datapath-type=netdev"));
  expect(problem).toMatchObject({ severity: "error", switches: ["hv3"], text: expect.stringContaining("kernel module openvswitch") as string, cure: { text: expect.stringContaining("external_ids:axion-datapath-type=netdev") as string } });
  await cloud.synced(3);
});

test("what a switch drops of a VM's packets is counted by table", async () => {
  const drops = async (): Promise<Readonly<Record<string, number>>> => (await cloud.controller.ops<{ switch: { drops: Record<string, number> } }>("GET", "/switches/hv1")).body.switch.drops;
  const sender = await cloud.instance(cloud.hv(1), net);
  const before = (await drops()).port_security ?? 0;
  // From an address that the port does not have, to a neighbour that need not be asked for.
  await sender.vm.exec(["ip", "addr", "add", "10.0.0.250/24", "dev", "eth0"]);
  await sender.vm.exec(["ip", "neigh", "add", "10.0.0.251", "lladdr", "02:00:00:00:00:99", "dev", "eth0"]);
  await sender.vm.exec(["ping", "-n", "-c", "5", "-i", "0.1", "-W", "1", "-I", "10.0.0.250", "10.0.0.251"], { allowFailure: true });
  await until("the packets to be counted", async () => ((await drops()).port_security ?? 0) - before >= 5, { timeoutMs: 20_000 });
  expect((await cloud.controller.ops<string>("GET", "/metrics")).body).toMatch(/axion_switch_dropped_packets\{switch="hv1",table="port_security"\} \d+/);
});

test("who drops packets of which port, and why: told while it goes on, and not when it ceases", { tags: "long", timeout: 120_000 }, async () => {
  interface Drop { readonly port: string; readonly reason: string; readonly packets: number; readonly last_minute: number; readonly persistent_since: string | null }
  const drops = async (port: string): Promise<Drop[]> => (await cloud.controller.ops<Drop[]>("GET", `/drops?port=${port}`)).body;
  const sender = await cloud.instance(cloud.hv(1), net);
  const closed = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [] } });
  // A machine starts, and says this and that: no fault.
  expect((await all()).filter(({ kind }) => kind.startsWith("drop-watch."))).toEqual([]);
  await sender.vm.exec(["ip", "addr", "add", "10.0.0.250/24", "dev", "eth0"]);
  await sender.vm.exec(["ip", "neigh", "add", "10.0.0.251", "lladdr", "02:00:00:00:00:99", "dev", "eth0"]);
  const ping = (vm: typeof sender.vm, from: string, to: string): Promise<unknown> => vm.exec(["ping", "-n", "-c", "36", "-i", "0.25", "-W", "1", "-I", from, to], { allowFailure: true });
  const pinging = Promise.all([ping(sender.vm, "10.0.0.250", "10.0.0.251"), ping(sender.vm, sender.ip, closed.ip)]);
  const named = async (): Promise<string[]> => (await all()).filter(({ kind }) => kind.startsWith("drop-watch.")).map(({ kind, severity, switches, resources }) => [kind, severity, switches, resources.map(({ id }) => id)].join(" ")).sort();
  const wanted = [`drop-watch.ingress_denied info hv1 ${closed.port.id}`, `drop-watch.spoofing_dropped warning hv1 ${sender.port.id}`];
  await until("both problems", async () => JSON.stringify(await named()) === JSON.stringify(wanted), { timeoutMs: 60_000 });
  const [spoofed] = (await drops(sender.port.id)).filter(({ reason }) => reason === "port_security");
  const [denied] = (await drops(closed.port.id)).filter(({ reason }) => reason === "security_group_ingress");
  for (const drop of [spoofed, denied]) {
    expect(drop!.packets).toBeGreaterThanOrEqual(5);
    expect(drop!.persistent_since).not.toBeNull();
  }
  expect((await of("drop-watch.spoofing_dropped"))[0]).toMatchObject({ text: expect.stringContaining(`hv1 drops packets of port ${sender.port.id}`) as string, cure: { text: expect.stringMatching(/tcpdump -eni \S+.*allowed_address_pairs/) as string } });
  expect((await cloud.controller.ops<string>("GET", "/metrics")).body).toContain('axion_ports_dropping{reason="port_security"} 1');
  await pinging;
  await until("the end of both", async () => (await named()).length === 0, { timeoutMs: 60_000 });
  // Each packet, and no other.
  let counted: Drop[] = [];
  await until("every packet to be counted", async () => (counted = await drops(closed.port.id)).some(({ reason, packets }) => reason === "security_group_ingress" && packets === 36), { timeoutMs: 20_000 }).catch((error: unknown) => {
    throw new Error(JSON.stringify(counted), { cause: error });
  });
});
