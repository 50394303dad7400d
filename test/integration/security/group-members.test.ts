// Who a rule with a remote group lets in: addresses of the group's own ports, and nobody who merely has an address that a member's allowed
// pair names.
// @module-tag long
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let nets: readonly [Net, Net];
/** The group that rules refer to, that of the server, and that of strangers: whatever they like, nobody's member. */
let friends: Resource;
let servers: Resource;
let strangers: Resource;
let server: Instance;
let friend: Instance;
/** In the server's network, on its host and on the other, and behind a router. */
let near: Instance;
let far: Instance;
let routed: Instance;
/** Allowed everything in, and lets out to friends alone. */
let sender: Instance;

const v4 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const PORT = 80;

async function group(name: string, rules: readonly Record<string, unknown>[], egress = true): Promise<Resource> {
  const made = await cloud.create("security_group", { name });
  if (!egress) for (const rule of made.security_group_rules as Resource[]) await cloud.remove("security_group_rule", rule.id);
  for (const rule of rules) for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: made.id, ethertype, ...rule });
  return made;
}

async function instance(hv: number, net: Net, groups: readonly Resource[]): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(hv), net, { port: { security_groups: groups.map((g) => g.id) } });
  const gateway = net === nets[0] ? "fd00:1::1" : "fd00:2::1";
  await made.vm.exec(["ip", "addr", "add", `${v6(made)}/64`, "dev", "eth0", "nodad"], { allowFailure: true });
  await made.vm.exec(["ip", "-6", "route", "replace", "default", "via", gateway], { allowFailure: true });
  await made.vm.listen(PORT);
  return made;
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "members.test" });
  nets = [await cloud.network("10.0.1.0/24"), await cloud.network("10.0.2.0/24")];
  const six = [];
  for (const [i, { network }] of nets.entries()) six.push({ network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: `fd00:${i + 1}::/64`, gateway_ip: `fd00:${i + 1}::1` }) });
  const router = await cloud.router(nets);
  for (const { subnet } of six) expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
  friends = await group("friends", [{ direction: "ingress" }]);
  servers = await group("servers", ["tcp", "icmp"].map((protocol) => ({ direction: "ingress", protocol, remote_group_id: friends.id })));
  strangers = await group("strangers", [{ direction: "ingress" }]);
  const senders = await group("senders", [{ direction: "ingress" }, ...["tcp", "icmp"].map((protocol) => ({ direction: "egress", protocol, remote_group_id: friends.id }))], false);
  server = await instance(1, nets[0], [servers]);
  friend = await instance(2, nets[0], [friends]);
  near = await instance(1, nets[0], [strangers]);
  far = await instance(2, nets[0], [strangers]);
  routed = await instance(2, nets[1], [strangers]);
  sender = await instance(1, nets[0], [senders]);
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

const ports: string[] = [];
/** A port of the group that is nowhere plugged. */
async function member(pairs: readonly Record<string, string>[]): Promise<void> {
  ports.push((await cloud.create("port", { network_id: nets[0].network.id, security_groups: [friends.id], allowed_address_pairs: pairs })).id);
  await cloud.synced();
}
afterEach(async () => {
  for (const id of ports.splice(0)) await cloud.remove("port", id);
  await cloud.update("port", friend.port.id, { allowed_address_pairs: [] });
  await cloud.synced();
  expect(await cloud.differences()).toBe("");
});

const names = (): readonly [string, Instance][] => [["near", near], ["far", far], ["routed", routed], ["friend", friend]];
/** Who gets through to the server, and whom the sender reaches, over either family. */
async function reach(): Promise<{ in4: string[]; in6: string[]; out4: string[]; out6: string[] }> {
  const those = async (ask: (i: Instance) => Promise<boolean>): Promise<string[]> => (await Promise.all(names().map(async ([name, i]) => ((await ask(i)) ? [name] : [])))).flat();
  const [in4, in6, out4, out6] = await Promise.all([
    those((i) => i.vm.connectTcp(v4(server), PORT, 1500)), those((i) => i.vm.connectTcp(v6(server), PORT, 1500)),
    those((i) => sender.vm.connectTcp(v4(i), PORT, 1500)), those((i) => sender.vm.connectTcp(v6(i), PORT, 1500)),
  ]);
  return { in4, in6, out4, out6 };
}
const FRIEND_ALONE = { in4: ["friend"], in6: ["friend"], out4: ["friend"], out6: ["friend"] };

describe("an allowed pair of a member that is plugged nowhere", () => {
  test("none", async () => {
    expect(await reach()).toEqual(FRIEND_ALONE);
    // What is refused is refused by policy: the strangers are reached where policy lets them.
    expect(await near.vm.connectTcp(v4(routed), PORT)).toBe(true);
    expect(await near.vm.connectTcp(v6(routed), PORT)).toBe(true);
  });

  test.each([
    ["everything", [{ ip_address: "0.0.0.0/0" }, { ip_address: "::/0" }]],
    ["halves of everything", [{ ip_address: "0.0.0.0/1" }, { ip_address: "128.0.0.0/1" }, { ip_address: "::/1" }, { ip_address: "8000::/1" }]],
    ["the networks", [{ ip_address: "10.0.1.0/24" }, { ip_address: "10.0.2.0/24" }, { ip_address: "fd00:1::/64" }, { ip_address: "fd00:2::/64" }]],
  ])("%s", async (_, pairs) => {
    await member(pairs);
    expect(await reach()).toEqual(FRIEND_ALONE);
  });

  test("the very addresses of others, one by one", async () => {
    const addresses = [near, far, routed].flatMap((i) => [v4(i), `${v6(i)}/128`]);
    await member(addresses.map((ip_address) => ({ ip_address })));
    expect(await reach()).toEqual(FRIEND_ALONE);
  });

  test("everything, from the MACs of others", async () => {
    await member([near, far].flatMap((i) => [{ ip_address: "0.0.0.0/0", mac_address: i.port.mac_address as string }, { ip_address: "::/0", mac_address: i.port.mac_address as string }]));
    expect(await reach()).toEqual(FRIEND_ALONE);
  });
});

describe("a member's own pair", () => {
  const use = async (ip: string): Promise<boolean> => (await friend.vm.exec(["ping", "-n", "-c", "1", "-W", "1", "-I", ip, ip.includes(":") ? v6(server) : v4(server)], { allowFailure: true })).exitCode === 0;

  test("what it sends by it gets in, and no stranger with it", async () => {
    await friend.vm.exec(["ip", "addr", "add", "10.0.1.200/24", "dev", "eth0"]);
    await friend.vm.exec(["ip", "addr", "add", "fd00:1::200/64", "dev", "eth0", "nodad"]);
    expect([await use("10.0.1.200"), await use("fd00:1::200")]).toEqual([false, false]);
    for (const pairs of [["10.0.1.200", "fd00:1::200"], ["10.0.1.192/28", "fd00:1::/64"], ["0.0.0.0/0", "::/0"]]) {
      await cloud.update("port", friend.port.id, { allowed_address_pairs: pairs.map((ip_address) => ({ ip_address })) });
      await cloud.synced();
      expect([pairs, await use("10.0.1.200"), await use("fd00:1::200")]).toEqual([pairs, true, true]);
      // The other way about: the sender may send to them.
      expect([pairs, await sender.vm.reaches("10.0.1.200"), await sender.vm.reaches("fd00:1::200")]).toEqual([pairs, true, true]);
      expect(await reach()).toEqual(FRIEND_ALONE);
    }
  });
});
