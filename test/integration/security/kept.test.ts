// Groups that keep connections: what is open goes on when its rule is deleted, in both directions and from either host; nothing new comes in, and ports
// of other groups lose what their rules no longer allow, as ever.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Connection } from "../../../lab/guest.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let keeping: Resource;
let server: Instance;
let plain: Instance;
/** On the server's host, and on the other. */
let near: Instance;
let far: Instance;
const PORT = 80;
const FAMILIES = ["IPv4", "IPv6"] as const;

const v4 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

async function instance(hv: number, group: Resource): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(hv), net, { port: { security_groups: [group.id] } });
  await made.vm.exec(["ip", "addr", "add", `${v6(made)}/64`, "dev", "eth0", "nodad"], { allowFailure: true });
  await made.vm.listen(PORT);
  return made;
}
async function allow(group: Resource, more: Record<string, unknown>): Promise<Resource[]> {
  const made = [];
  for (const ethertype of FAMILIES) made.push(await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype, ...more }));
  await cloud.synced();
  return made;
}
async function withdraw(rules: readonly Resource[]): Promise<void> {
  for (const rule of rules) await cloud.remove("security_group_rule", rule.id);
  await cloud.synced();
}
async function opened(to: Instance): Promise<Connection[]> {
  return Promise.all([near, far].flatMap(({ vm }) => [v4(to), v6(to)].map((ip) => vm.openTcp(ip, PORT))));
}
const alive = async (connections: readonly Connection[]): Promise<boolean[]> => Promise.all(connections.map((c, n) => c.echo(`said ${n}`, 1000)));

beforeAll(async () => {
  cloud = await Cloud.create({ name: "kept.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  keeping = await cloud.create("security_group", { name: "keeping", "axion:keep_established": true });
  const others = await cloud.create("security_group", { name: "others" });
  server = await instance(1, keeping);
  plain = await instance(1, others);
  near = await instance(1, others);
  far = await instance(2, others);
  await cloud.synced();
  await allow(others, { protocol: "udp" });
});
afterAll(async () => cloud?.destroy());

test("what is open goes on, nothing new comes in; when it is no longer kept it ends", async () => {
  const rules = await allow(keeping, { protocol: "tcp", port_range_min: PORT, port_range_max: PORT });
  const open = await opened(server);
  expect(await alive(open)).toEqual([true, true, true, true]);
  await withdraw(rules);
  expect(await alive(open)).toEqual([true, true, true, true]);
  for (const { vm } of [near, far]) for (const ip of [v4(server), v6(server)]) expect(await vm.connectTcp(ip, PORT, 500)).toBe(false);
  await cloud.update("security_group", keeping.id, { "axion:keep_established": false });
  await cloud.synced();
  expect(await alive(open)).toEqual([false, false, false, false]);
  await cloud.update("security_group", keeping.id, { "axion:keep_established": true });
  await cloud.synced();
  for (const c of open) await c.close();
});

test("what the port itself opened, too", async () => {
  const rules = await allow(keeping, { direction: "egress", protocol: "tcp", port_range_min: 81, port_range_max: 81 });
  await far.vm.listen(81);
  await allow({ id: (far.port.security_groups as string[])[0]! } as Resource, { protocol: "tcp", port_range_min: 81, port_range_max: 81 });
  // New groups let all out.
  for (const rule of (await cloud.show("security_group", keeping.id)).security_group_rules as Resource[]) if (rule.direction === "egress" && rule.protocol === null) await cloud.remove("security_group_rule", rule.id);
  await cloud.synced();
  const open = await Promise.all([v4(far), v6(far)].map((ip) => server.vm.openTcp(ip, 81)));
  expect(await alive(open)).toEqual([true, true]);
  await withdraw(rules);
  expect(await alive(open)).toEqual([true, true]);
  expect(await server.vm.connectTcp(v4(far), 81, 500)).toBe(false);
  for (const c of open) await c.close();
});

test("fragments of a connection that is kept go on", async () => {
  const rules = await allow(keeping, { protocol: "icmp" });
  for (const vm of [near.vm, far.vm]) for (const ip of [v4(server), v6(server)]) expect((await vm.ping(ip, { count: 2, sizeBytes: 3000 })).received).toBe(2);
  const running = [near, far].map(({ vm }) => vm.exec(["ping", "-n", "-i", "0.2", "-c", "30", "-s", "3000", v4(server)], { allowFailure: true }));
  await new Promise((done) => setTimeout(done, 1000));
  await withdraw(rules);
  for (const { stdout } of await Promise.all(running)) expect(Number(/(\d+) received/.exec(stdout)![1])).toBeGreaterThanOrEqual(29);
  expect((await far.vm.ping(v4(server), { count: 1, sizeBytes: 3000 })).received).toBe(0);
});

test("ports of other groups keep nothing", async () => {
  const others = { id: (plain.port.security_groups as string[])[0]! } as Resource;
  const rules = await allow(others, { protocol: "tcp", port_range_min: PORT, port_range_max: PORT });
  const open = await opened(plain);
  expect(await alive(open)).toEqual([true, true, true, true]);
  await withdraw(rules);
  expect(await alive(open)).toEqual([false, false, false, false]);
  for (const c of open) await c.close();
  expect(await cloud.differences()).toBe("");
});
