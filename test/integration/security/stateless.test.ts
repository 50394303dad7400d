// Ports whose groups are all stateless: every packet by itself and by rules of its own direction, nothing in conntrack; the network's own answers
// as ever. With one stateful group a port is as any other.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { tracePath } from "../../support/trace/trace.ts";

let cloud: Cloud;
let net: Net;
let servers: Resource;
let clients: Resource;
let stateful: Resource;
let server: Instance;
/** On the server's host, and on the other. */
let near: Instance;
let far: Instance;
const PORT = 80;

const v4 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const FAMILIES = ["IPv4", "IPv6"] as const;

/** Without rules. */
async function group(name: string, isStateful: boolean): Promise<Resource> {
  const made = await cloud.create("security_group", { name, stateful: isStateful });
  for (const rule of made.security_group_rules as Resource[]) await cloud.remove("security_group_rule", rule.id);
  return made;
}
async function allow(of: Resource, direction: string, more: Record<string, unknown>): Promise<Resource[]> {
  const made = [];
  for (const ethertype of FAMILIES) made.push(await cloud.create("security_group_rule", { security_group_id: of.id, direction, ethertype, ...more }));
  await cloud.synced();
  return made;
}
async function instance(hv: number, ...groups: Resource[]): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(hv), net, { port: { security_groups: groups.map((g) => g.id) } });
  await made.vm.exec(["ip", "addr", "add", `${v6(made)}/64`, "dev", "eth0", "nodad"], { allowFailure: true });
  return made;
}
const answers = async (from: Instance, to: Instance): Promise<boolean[]> => [await from.vm.connectTcp(v4(to), PORT, 700), await from.vm.connectTcp(v6(to), PORT, 700)];
/** Connections of an address that a host remembers. */
async function remembered(hv: number, address: string): Promise<string[]> {
  return (await cloud.hv(hv).appctl("dpctl/dump-conntrack")).split("\n").filter((line) => line.includes(`=${address},`));
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "stateless.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  [servers, clients, stateful] = [await group("servers", false), await group("clients", false), await group("stateful", true)];
  server = await instance(1, servers);
  near = await instance(1, clients);
  far = await instance(2, clients);
  await server.vm.listen(PORT);
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

test("answers need rules of their own; conntrack sees nothing", async () => {
  await allow(servers, "ingress", { protocol: "tcp", port_range_min: PORT, port_range_max: PORT });
  await allow(clients, "egress", { protocol: "tcp", port_range_min: PORT, port_range_max: PORT });
  for (const client of [near, far]) expect(await answers(client, server)).toEqual([false, false]);
  const out = await allow(servers, "egress", { protocol: "tcp" });
  for (const client of [near, far]) expect(await answers(client, server)).toEqual([false, false]);
  await allow(clients, "ingress", { protocol: "tcp", remote_group_id: servers.id });
  for (const client of [near, far]) expect(await answers(client, server)).toEqual([true, true]);
  for (const hv of [1, 2]) expect([...(await remembered(hv, v4(server))), ...(await remembered(hv, v6(server)))]).toEqual([]);
  const { out: sent, in: got } = await tracePath(cloud, { from: [1, server], to: [2, far], dstMac: far.port.mac_address as string, net });
  expect([sent.conntrack, got!.conntrack]).toEqual([0, 0]);
  // A rule that goes ends what it allowed, in that direction and at once.
  const open = await far.vm.openTcp(v4(server), PORT);
  expect(await open.echo("before")).toBe(true);
  for (const rule of out) await cloud.remove("security_group_rule", rule.id);
  await cloud.synced();
  expect(await open.echo("after")).toBe(false);
  await open.close();
});

test("fragments of what is allowed pass, of what is not stay", async () => {
  for (const of of [servers, clients]) for (const direction of ["ingress", "egress"]) for (const [ethertype, protocol] of [["IPv4", "icmp"], ["IPv6", "ipv6-icmp"]] as const) await cloud.create("security_group_rule", { security_group_id: of.id, direction, ethertype, protocol, ...(direction === "ingress" && of === servers && { port_range_min: ethertype === "IPv4" ? 8 : 128 }) });
  await cloud.synced();
  for (const client of [near, far]) for (const to of [v4(server), v6(server)]) expect((await client.vm.ping(to, { count: 3, sizeBytes: 4000 })).received).toBe(3);
  // The server takes requests alone: no answers to its own.
  for (const client of [near, far]) for (const to of [v4(client), v6(client)]) expect((await server.vm.ping(to, { count: 1, sizeBytes: 4000 })).received).toBe(0);
});

test("DHCP and neighbour discovery answer as ever, and another's server is asked where the network has none", async () => {
  const { vm, port } = await cloud.instance(cloud.hv(2), net, { configure: false, port: { security_groups: [await group("nothing", false)].map((g) => g.id) } });
  expect((await vm.dhcp()).ip).toBe((port.fixed_ips as { ip_address: string }[])[0]!.ip_address);
  expect(await vm.arping(v4(server))).toEqual([server.port.mac_address]);
  const quiet = await cloud.network("10.9.0.0/24", { enable_dhcp: false });
  const asking = await group("asking", false);
  await cloud.create("security_group_rule", { security_group_id: asking.id, direction: "egress", protocol: "udp", port_range_min: 67, port_range_max: 67 });
  const own = await cloud.instance(cloud.hv(1), quiet, { port: { port_security_enabled: false, security_groups: [] } });
  const client = await cloud.instance(cloud.hv(1), quiet, { configure: false, port: { security_groups: [asking.id] } });
  await cloud.synced();
  const capture = await own.vm.tcpdump("udp and dst port 67");
  await client.vm.dhcp({ timeoutMs: 1500 }).catch(() => undefined);
  expect((await capture.stop()).count).toBeGreaterThan(0);
});

test("with a stateful group, all of a port's rules are stateful", async () => {
  const both = await instance(1, servers, stateful);
  await both.vm.listen(PORT);
  await cloud.synced();
  // Its answers need no rule; those of the client's own side do, which has one.
  await until("an answer", async () => (await answers(far, both)).every(Boolean));
  expect(await remembered(1, v4(both))).not.toEqual([]);
  // What a stateful port on the same host asked conntrack is nothing to a stateless one.
  const opener = await instance(1, await openTo());
  await server.vm.exec(["true"]);
  await allow(servers, "egress", { protocol: "tcp" });
  await until("both kinds on one host", async () => (await answers(opener, server)).every(Boolean));
  expect(await cloud.differences()).toBe("");
});
const openTo = async (): Promise<Resource> => cloud.create("security_group", { name: "open" });
