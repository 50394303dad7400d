// Live migration as the compute service does it, on real switches: a server's port is bound at a second host, plugged and wired there, activated, and
// cleaned up where it was. The guest does not move for real: pings are answered by a twin at each host, of which one at most hears anything; TCP runs in one
// namespace that has an interface at each host, and turns from one to the other when the binding is activated.
// @module-tag long
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { PingRunStats } from "../../../lab/guest.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import type { Nic, Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

/** There and back. */
const ROUNDS = nightly ? 50 : 5;
const INTERVAL_MS = 10;
/** Wanted: five pings. A busy machine is late at times, so it is what nine of ten moves lose, and beside other tests four times as many; all are told. */
const WANTED_LOST = nightly ? 5 : 20;

let cloud: Cloud;
let net: Net;
let near: Instance;
let far: Instance;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "live-migration.test", hypervisors: 3, host: (n) => ({ gateway: n === 3 }) });
  net = await cloud.network("10.0.0.0/24");
  // One beside the server where it is first, one at a third host.
  near = await cloud.instance(cloud.hv(1), net);
  far = await cloud.instance(cloud.hv(3), net);
}, 60_000);
afterAll(async () => cloud?.destroy());

const bindings = (port: Resource, rest = ""): string => `/v2.0/ports/${port.id}/bindings${rest}`;

/** A server's port with an interface at each of two hosts; plugged at the first. */
interface Server {
  readonly port: Resource;
  readonly ip: string;
  readonly nics: readonly [Nic, Nic];
}

async function expectStatus(method: string, url: string, status: number, body?: unknown): Promise<any> {
  const answer = await cloud.call(method, url, body);
  expect([method, url, answer.status, answer.status === status ? "" : JSON.stringify(answer.body)]).toEqual([method, url, status, ""]);
  return answer.body;
}

const isWired = async (host: Hypervisor, { tap }: Nic): Promise<boolean> => (await host.vsctl("--if-exists", "get", "Interface", tap, "external_ids:axion-installed")).includes("true");

/** Bound, plugged and wired at the other host: what Nova waits for. */
async function prepare({ port }: Server, to: Nic, isPlugged = false): Promise<void> {
  const made = await expectStatus("POST", bindings(port), 201, { binding: { host: to.hypervisor.name, vnic_type: "normal", profile: {} } });
  expect(made.binding).toMatchObject({ host: to.hypervisor.name, status: "INACTIVE", vif_type: "ovs" });
  if (!isPlugged) await to.plug();
  await until("the interface to be wired", () => isWired(to.hypervisor, to), { intervalMs: 20 });
  expect(await cloud.show("port", port.id)).toMatchObject({ status: "ACTIVE" });
}

async function switchOver({ port }: Server, to: Nic): Promise<void> {
  const answer = await expectStatus("PUT", bindings(port, `/${to.hypervisor.name}/activate`), 200);
  expect(answer.binding).toMatchObject({ host: to.hypervisor.name, status: "ACTIVE" });
}

async function cleanUp({ port }: Server, from: Nic, to: Nic): Promise<void> {
  await from.unplug();
  await expectStatus("DELETE", bindings(port, `/${from.hypervisor.name}`), 204);
  expect(await cloud.update("port", port.id, { "binding:host_id": to.hypervisor.name, device_owner: "compute:nova" })).toMatchObject({ status: "ACTIVE", "binding:host_id": to.hypervisor.name });
}

const compute = (host: Hypervisor, groups: readonly string[]): Record<string, unknown> => ({
  device_owner: "compute:nova", device_id: crypto.randomUUID(), "binding:host_id": host.name, security_groups: groups,
});

/** The last one may be under way when it ends. */
const lost = ({ sent, received }: PingRunStats): number => Math.max(0, sent - received - 1);

/** What the compute service stops where a server was, and lets run where it is. */
const pause = (guest: Vm, paused: boolean): Promise<void> => guest.sysctl(`net.ipv4.icmp_echo_ignore_all=${paused ? 1 : 0}`);

/** A server that answers pings at the first host, and its twin at the second, which is plugged there. */
async function twins(): Promise<{ readonly server: Server; readonly guests: readonly [Vm, Vm] }> {
  const open = await cloud.create("security_group", { name: "ping" });
  await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4", protocol: "icmp" });
  const { vm, port, ip } = await cloud.instance(cloud.hv(1), net, { port: compute(cloud.hv(1), [open.id]) });
  const twin = await cloud.lab.addVm({ name: `twin${++made}`, hypervisor: cloud.hv(2), portId: port.id, mac: port.mac_address as string, mtu: net.network.mtu as number });
  await twin.setAddress(`${ip}/24`);
  return { server: { port, ip, nics: [vm.nic, twin.nic] }, guests: [vm, twin] };
}
let made = 0;

describe("pings", () => {
  test(`to a server that moves there and back ${ROUNDS} times, from its host and from another`, async () => {
    const { server, guests } = await twins();
    const [vm, twin] = guests;
    const { ip } = server;
    const results: { readonly near: number; readonly far: number }[] = [];
    for (let n = 0; n < 2 * ROUNDS; n++) {
      const [from, to] = n % 2 === 0 ? server.nics : [server.nics[1], server.nics[0]];
      await prepare(server, to, n === 0);
      const pings = [near, far].map((i) => i.vm.pingStart(ip, { intervalMs: INTERVAL_MS }));
      await until("answers", () => Promise.resolve(pings.every((p) => p.received > 20)));
      const [left, entered] = n % 2 === 0 ? guests : [twin, vm];
      // As a hypervisor has it: it runs nowhere for a moment, never at both. Two switches do not change in one instant.
      await pause(left, true);
      await Promise.all([pause(entered, false), switchOver(server, to)]);
      await sleep(600);
      const [atNear, atFar] = await Promise.all(pings.map((p) => p.stop()));
      expect([atNear!.duplicates, atFar!.duplicates], "answered by one at a time").toEqual([0, 0]);
      results.push({ near: lost(atNear!), far: lost(atFar!) });
      await cleanUp(server, from, to);
    }
    const worst = results.map((r) => Math.max(r.near, r.far)).sort((a, b) => a - b);
    console.log(`live migration: of pings every ${INTERVAL_MS} ms a move loses ${worst.join(" ")} (${results.map((r) => `${r.near}/${r.far}`).join(" ")} from its host/another)`);
    expect(worst[Math.floor(worst.length * 0.9) - 1]).toBeLessThanOrEqual(WANTED_LOST);
    expect(await cloud.differences()).toBe("");
  }, ROUNDS * 12_000 + 60_000);
});

/** Prints a line for each word that the other one says, every so many milliseconds, on a connection that this one opens and says nothing on. */
const TALKS = "require('net').createServer((s) => { s.setNoDelay(); s.on('error', () => 0); setInterval(() => s.write('.'), 20); }).listen(7100, () => console.log('listening'))";
const LISTENS = "require('net').connect(7100, process.argv[1]).on('data', (d) => console.log(d.length)).on('close', () => console.log('closed'))";

describe("TCP", () => {
  /** A guest with an interface of one port at each of two hosts, plugged at the first, that talks to `far`. */
  async function guest(groups: readonly string[]): Promise<Server & { readonly vm: Vm; readonly turn: (to: Nic) => Promise<void> }> {
    const { vm, port, ip } = await cloud.instance(cloud.hv(1), net, { port: compute(cloud.hv(1), groups) });
    const second = await vm.addNic({ hypervisor: cloud.hv(2), portId: port.id, mac: port.mac_address as string, mtu: net.network.mtu as number });
    await second.unplug();
    const nics = [vm.nic, second] as const;
    // A guest that moves takes its neighbours along. Frames are taken wherever they come in; they leave where the route says.
    await vm.sysctl("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0");
    await vm.configure(...nics.map(({ device }) => `neigh replace ${far.ip} lladdr ${far.vm.mac} dev ${device} nud permanent`));
    const turn = ({ device }: Nic): Promise<void> => vm.configure(`route replace ${far.ip}/32 dev ${device} src ${ip}`);
    await turn(vm.nic);
    return { vm, port, ip, nics, turn };
  }
  beforeAll(async () => {
    const open = await cloud.create("security_group", { name: "peer" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp" });
    await cloud.update("port", far.port.id, { security_groups: [open.id] });
  });

  test.each([["that the server opened", "vm"], ["that was opened to it", "peer"]] as const)(`a connection %s goes on, there and back ${ROUNDS} times, without a rule that lets anybody else in`, async (_, opener) => {
    const group = await cloud.create("security_group", { name: `tcp ${opener}` });
    if (opener === "peer") await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 7000, port_range_max: 7000, remote_ip_prefix: `${far.ip}/32` });
    const server = await guest([group.id]);
    const { vm, ip, turn } = server;

    const listening = await (opener === "vm" ? far.vm : vm).listen(7000);
    const connection = await (opener === "vm" ? vm.openTcp(far.ip, 7000) : far.vm.openTcp(ip, 7000));
    const stalls: number[] = [];
    for (let n = 0; n < 2 * ROUNDS; n++) {
      const [from, to] = n % 2 === 0 ? server.nics : [server.nics[1], server.nics[0]];
      await prepare(server, to);
      expect(await connection.echo("before")).toBe(true);
      await Promise.all([turn(to), switchOver(server, to)]);
      const begun = performance.now();
      expect(await connection.echo("after", 5000), `move ${n + 1}`).toBe(true);
      stalls.push(Math.round(performance.now() - begun));
      await cleanUp(server, from, to);
      expect(await connection.echo("later", 5000)).toBe(true);
    }
    console.log(`live migration: a line ${opener === "vm" ? "from the server and back" : "to the server and back"} takes ${stalls.sort((a, b) => a - b).join(" ")} ms after a move`);
    await connection.close();
    await listening.close();
    expect(await cloud.differences()).toBe("");
  }, ROUNDS * 12_000 + 60_000);

  test("a connection that the server opened, on which only the other one speaks, goes on: there and back", { timeout: ROUNDS * 12_000 + 60_000 }, async () => {
    const group = await cloud.create("security_group", { name: "listens" });
    const server = await guest([group.id]);
    const talking = far.vm.spawn([process.execPath, "-e", TALKS]);
    await talking.waitFor(/listening/);
    const heard: number[] = [];
    const listening = server.vm.spawn([process.execPath, "-e", LISTENS, far.ip], { onLine: () => void heard.push(performance.now()) });
    const silences: number[] = [];
    for (let n = 0; n < 2 * ROUNDS; n++) {
      const [from, to] = n % 2 === 0 ? server.nics : [server.nics[1], server.nics[0]];
      await prepare(server, to);
      const before = heard.length;
      await until("words", () => Promise.resolve(heard.length > before + 3));
      await Promise.all([server.turn(to), switchOver(server, to)]);
      const begun = heard.length;
      await until(`words after move ${n + 1}`, () => Promise.resolve(heard.length > begun + 10), { timeoutMs: 10_000 });
      const around = heard.slice(before);
      silences.push(Math.round(Math.max(...around.slice(1).map((at, i) => at - around[i]!))));
      await cleanUp(server, from, to);
    }
    console.log(`live migration: a server that only listens hears nothing for ${silences.sort((a, b) => a - b).join(" ")} ms`);
    await Promise.all([listening.stop("SIGKILL"), talking.stop("SIGKILL")]);
  });
});

describe("by a floating IP that is answered where the port is", () => {
  test.each([["from outside", "outside"], ["that the server opened", "vm"]] as const)(`a connection %s goes on, there and back ${ROUNDS} times`, { timeout: ROUNDS * 12_000 + 60_000 }, async (_, opener) => {
    const outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    const inside = await cloud.network("10.9.0.0/24");
    const router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } });
    const x = await cloud.instance(cloud.hv(3), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    const group = await cloud.create("security_group", { name: "floating" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 7000, port_range_max: 7000 });
    const { vm, port, ip } = await cloud.instance(cloud.hv(1), inside, { port: compute(cloud.hv(1), [group.id]) });
    const { floating_ip_address: floating, id } = await cloud.create("floatingip", { floating_network_id: outside.network.id, port_id: port.id });
    const second = await vm.addNic({ hypervisor: cloud.hv(2), portId: port.id, mac: port.mac_address as string, mtu: inside.network.mtu as number });
    await second.unplug();
    const nics = [vm.nic, second] as const;
    const server: Server = { port, ip, nics };
    await vm.sysctl("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0");
    const { mac_address: leg } = ((await cloud.call("GET", `/v2.0/ports?network_id=${inside.network.id}&device_owner=network:router_interface`)).body.ports as unknown as Resource[])[0]!;
    await vm.configure(...nics.map(({ device }) => `neigh replace 10.9.0.1 lladdr ${leg} dev ${device} nud permanent`));
    const turn = ({ device }: Nic): Promise<void> => vm.configure(`route replace default via 10.9.0.1 dev ${device} onlink src ${ip}`);
    await turn(vm.nic);
    await until("an answer from outside", () => vm.reaches(x.ip), { timeoutMs: 20_000 });
    const listening = await (opener === "vm" ? x.vm : vm).listen(7000);
    const connection = await (opener === "vm" ? vm.openTcp(x.ip, 7000) : x.vm.openTcp(floating as string, 7000));
    const stalls: number[] = [];
    for (let n = 0; n < 2 * ROUNDS; n++) {
      const [from, to] = n % 2 === 0 ? nics : [nics[1], nics[0]];
      await prepare(server, to);
      expect(await connection.echo("before")).toBe(true);
      await Promise.all([turn(to), switchOver(server, to)]);
      const begun = performance.now();
      // A packet that comes while flows change may be what Open vSwitch before 3.1.3 goes on by, until none has come for ten seconds: stale_flows in docs/operations.md.
      expect(await connection.echo("after", 30_000), `move ${n + 1}`).toBe(true);
      stalls.push(Math.round(performance.now() - begun));
      await cleanUp(server, from, to);
    }
    console.log(`live migration: a line by a floating IP, ${opener}, and back takes ${stalls.sort((a, b) => a - b).join(" ")} ms after a move`);
    expect(stalls[Math.floor(stalls.length * 0.9) - 1]).toBeLessThan(3000);
    await connection.close();
    await listening.close();
    await cloud.remove("floatingip", id);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  });
});

describe("what comes in another order than it should", () => {
  const pinging = async (i: Instance, ip: string): Promise<Awaited<ReturnType<Vm["pingStart"]>>> => {
    const pings = i.vm.pingStart(ip, { intervalMs: INTERVAL_MS });
    await until("answers", () => Promise.resolve(pings.received > 20));
    return pings;
  };

  test("cancelled, and a destination that is wired and never activated: no ping is lost, and nothing is heard there", async () => {
    const { server, guests } = await twins();
    await prepare(server, server.nics[1], true);
    const [heard, pings] = [await guests[1].tcpdump("icmp"), await pinging(near, server.ip)];
    await sleep(1000);
    expect((await heard.stop()).lines).toEqual([]);
    await expectStatus("DELETE", bindings(server.port, "/hv2"), 204);
    await server.nics[1].unplug();
    await cloud.synced();
    await sleep(200);
    const { duplicates, ...ran } = await pings.stop();
    expect([lost({ ...ran, duplicates }), duplicates]).toEqual([0, 0]);
    expect((await expectStatus("GET", bindings(server.port), 200)).bindings).toMatchObject([{ host: "hv1", status: "ACTIVE" }]);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("the old host unplugs first: DOWN until the destination is activated, and then there", async () => {
    const { server, guests } = await twins();
    const [from, to] = server.nics;
    await prepare(server, to, true);
    // So that whoever asks knows its MAC.
    await (await pinging(near, server.ip)).stop();
    await from.unplug();
    await until("the port to be down", async () => (await cloud.show("port", server.port.id)).status === "DOWN", { intervalMs: 20 });
    const pings = near.vm.pingStart(server.ip, { intervalMs: INTERVAL_MS });
    await sleep(300);
    expect(pings.received).toBe(0);
    await pause(guests[0], true);
    const began = performance.now();
    await switchOver(server, to);
    await until("an answer", () => Promise.resolve(pings.received > 0), { intervalMs: 5 });
    console.log(`live migration: unplugged first, it answers ${Math.round(performance.now() - began)} ms after the call that activates`);
    await pings.stop();
    expect(await cloud.show("port", server.port.id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv2" });
    await expectStatus("DELETE", bindings(server.port, "/hv1"), 204);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("evacuated: the host is gone without a word, the server is bound elsewhere, and its host comes back with what it had", async () => {
    const { server, guests } = await twins();
    const [from, to] = [server.nics[1], server.nics[0]];
    // It is at the second host; where it is to go, nothing is plugged yet.
    await to.unplug();
    await cloud.update("port", server.port.id, { "binding:host_id": "hv2" });
    await cloud.active(server.port.id);
    await (await pinging(near, server.ip)).stop();
    await pause(guests[0], false);
    await from.hypervisor.killVswitchd();
    await from.hypervisor.killOvsdb();
    await cloud.update("port", server.port.id, { "binding:host_id": "hv1" });
    const began = performance.now();
    await to.plug();
    await (await pinging(near, server.ip)).stop();
    console.log(`live migration: evacuated, it has answered 20 pings ${Math.round(performance.now() - began)} ms after it was plugged`);
    const pings = await pinging(far, server.ip);
    await from.hypervisor.startOvsdb();
    await from.hypervisor.startVswitchd();
    await cloud.synced();
    await until("that it is said", async () => (await cloud.controller.ops<{ kind: string; resources: { id: string }[] }[]>("GET", "/problems")).body.some(({ resources }) => resources.some(({ id }) => id === server.port.id)), { timeoutMs: 30_000 });
    const { duplicates, ...ran } = await pings.stop();
    expect([lost({ ...ran, duplicates }), duplicates]).toEqual([0, 0]);
    expect(await cloud.show("port", server.port.id)).toMatchObject({ status: "ACTIVE", "binding:host_id": "hv1" });
    expect(await cloud.differences()).toBe("");
  }, 120_000);
});
