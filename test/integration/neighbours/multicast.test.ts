// Multicast goes to those that joined, learned by switches of what ports say (IGMP, MLD), while a controller asks them.
import { setTimeout as sleep } from "node:timers/promises";
import { buildIgmp } from "packet-codec";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import type { Capture } from "../../../lab/guest.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { addressBytes, checksum, frames, mac, sendRaw, udp } from "../../support/api/raw.ts";
import { queries } from "../../../apps/multicast/messages.ts";
import { filterS, memberS } from "../../../apps/multicast/model.ts";

const QUERY_S = 2;
let cloud: Cloud;
let net: Net;
let sender: Instance;
/** On hv1, hv1, hv2, hv2, hv3. */
let near: Instance;
let nearToo: Instance;
let far: Instance;
let farToo: Instance;
let alone: Instance;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "multicast.test", hypervisors: 3, flags: ["--multicast-snooping", "--multicast-query-interval", String(QUERY_S)] });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:7::/64" });
  const all = await cloud.create("security_group", { name: "all" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
  const on = (hv: number): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { port: { security_groups: [all.id] } });
  [sender, near, nearToo, far, farToo, alone] = [await on(1), await on(1), await on(1), await on(2), await on(2), await on(3)];
  await cloud.synced();
  await filtering();
}, 120_000);
afterAll(async () => cloud?.destroy());

const flowsOf = async (hv: number, table: string): Promise<string[]> => {
  const id = (await cloud.controller.ops<{ tables: { id: number; name: string }[] }>("GET", "/pipeline")).body.tables.find((t) => t.name === table)!.id;
  return (await cloud.hv(hv).ofctl("dump-flows", "br-int")).split("\n").filter((l) => l.includes(`table=${id},`));
};
const filtering = (): Promise<boolean> => until("all to filter", async () => (await Promise.all([1, 2, 3].map((hv) => flowsOf(hv, "multicast_filter")))).every((l) => l.some((f) => f.includes("hard_timeout"))), { timeoutMs: 30_000 });

const members: Running[] = [];
const leave = async (): Promise<void> => {
  for (const run of members.splice(0)) await run.stop("SIGKILL");
};
afterEach(leave);
/** Joins a group until all leave. */
async function join(vm: Vm, group: string): Promise<void> {
  const six = group.includes(":");
  const how = six
    ? `s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);s.setsockopt(41,20,socket.inet_pton(socket.AF_INET6,"${group}")+struct.pack("@I",socket.if_nametoindex("eth0")))`
    : `s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.setsockopt(0,35,socket.inet_aton("${group}")+socket.inet_aton("0.0.0.0")+struct.pack("@i",socket.if_nametoindex("eth0")))`;
  const run = vm.spawn(["python3", "-u", "-c", `import socket,struct,time\n${how}\nprint("joined")\ntime.sleep(1000)`]);
  members.push(run);
  await run.waitFor(/joined/);
}

const macOf = (group: string): string => (group.includes(":") ? "33:33:00:00:00:77" : `01:00:5e:${group.split(".").slice(1).map((b, i) => (Number(b) & (i === 0 ? 0x7f : 0xff)).toString(16).padStart(2, "0")).join(":")}`);
/** A datagram of the sender's to a group. */
async function send(group: string, times = 1): Promise<void> {
  const src = (sender.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":") === group.includes(":"))!.ip_address;
  const ends = { srcMac: sender.port.mac_address as string, dstMac: macOf(group), src, dst: group };
  await sendRaw(sender.vm, Array.from({ length: times }, () => frames(ends, udp(ends, 5000, 5000))).flat());
}
/** Who is given datagrams to each of these groups. */
async function given(groups: readonly string[], to: readonly Instance[]): Promise<boolean[][]> {
  const captures: Capture[] = await Promise.all(to.map(({ vm }) => vm.tcpdump("-Q in udp and dst port 5000")));
  for (const group of groups) await send(group);
  await sleep(200);
  const lines = await Promise.all(captures.map(async (c) => (await c.stop()).lines));
  return groups.map((group) => lines.map((of) => of.some((line) => line.includes(` ${group}.5000`))));
}
/** Until datagrams to each of these groups go to those, and to no others. */
async function goes(groups: readonly string[], to: readonly Instance[], timeoutMs = 15_000): Promise<void> {
  const expected = groups.map(() => everybody().map((i) => to.includes(i)));
  let last: boolean[][] = [];
  await until("", async () => JSON.stringify((last = await given(groups, everybody()))) === JSON.stringify(expected), { timeoutMs }).catch(() => undefined);
  expect(last).toEqual(expected);
}
const everybody = (): Instance[] => [near, nearToo, far, farToo, alone];
const GROUPS = ["239.1.1.1", "ff0e::77"];

test("a group goes to ports that joined it, on the sender's host and another, until they leave; what is of the link goes to all", async () => {
  await goes(GROUPS, []);
  await Promise.all([near, far].flatMap(({ vm }) => GROUPS.map((group) => join(vm, group))));
  await goes(GROUPS, [near, far]);
  expect(await given(["224.0.0.251", "ff02::77", "239.1.1.2"], everybody())).toEqual([[true, true, true, true, true], [true, true, true, true, true], [false, false, false, false, false]]);
  // No copy to a host where nobody joined.
  const wire = cloud.hv(3).spawn(["tcpdump", "-l", "-n", "-i", "any", "udp port 6081"]);
  await wire.waitFor(/listening on/);
  await send(GROUPS[0]!, 3);
  await send("224.0.0.251");
  await until("what is of the link", () => wire.lines.some((l) => l.includes("224.0.0.251")), { timeoutMs: 3000 });
  await wire.stop("SIGINT");
  expect(wire.lines.filter((l) => l.includes(`${GROUPS[0]!}.5000`))).toEqual([]);
  await leave();
  await goes(GROUPS, []);
  expect(await cloud.differences()).toBe("");
}, 90_000);

test("machines of IGMP 1 and 2 are understood; one without port security hears all, as a router has to; nobody with it asks who is a member, or hears what others want", async () => {
  const open = await cloud.instance(cloud.hv(3), net, { port: { port_security_enabled: false, security_groups: [] } });
  await near.vm.sysctl("net.ipv4.conf.eth0.force_igmp_version=1");
  await far.vm.sysctl("net.ipv4.conf.eth0.force_igmp_version=2");
  const heard = await open.vm.tcpdump("-Q in igmp");
  const others = await Promise.all([nearToo, farToo].map(({ vm }) => vm.tcpdump("-Q in igmp and not src 0.0.0.0")));
  // Who leaves says nothing of it in version 1: a group of their own.
  const group = "239.1.1.9";
  await join(near.vm, group);
  await join(far.vm, group);
  await goes([group], [near, far]);
  expect(await given([group, ...GROUPS], [open])).toEqual([[true], [true], [true]]);
  const query = queries(1).find((f) => f.readUInt16BE(12) === 0x0800)!;
  mac(sender.port.mac_address as string).copy(query, 6);
  addressBytes(sender.ip).copy(query, 26);
  query.writeUInt16BE(0, 24);
  query.writeUInt16BE(checksum(query.subarray(14, 38)), 24);
  await sendRaw(sender.vm, [query]);
  await sendRaw(open.vm, [query]);
  await until("a question of one who may", () => others.every((c) => c.lines.length > 0), { timeoutMs: 3000 });
  for (const capture of others) expect((await capture.stop()).lines.length).toBe(1);
  expect((await heard.stop()).lines.filter((l) => l.includes("report") && l.includes(group)).length).toBeGreaterThanOrEqual(2);
  await cloud.remove("port", open.port.id);
  for (const { vm } of [near, far]) await vm.sysctl("net.ipv4.conf.eth0.force_igmp_version=0");
}, 90_000);

test("who joins more than is known of a port takes nothing from others", async () => {
  await join(near.vm, GROUPS[0]!);
  await goes([GROUPS[0]!], [near]);
  await sendRaw(nearToo.vm, Array.from({ length: 1000 }, (_, n) => {
    const group = `239.2.${n >> 8}.${n & 255}`;
    const ends = { srcMac: nearToo.port.mac_address as string, dstMac: macOf(group), src: nearToo.ip, dst: group };
    return frames(ends, { protocol: 2, body: buildIgmp({ kind: "report", version: 2, max_resp_code: 0, group }) });
  }).flat());
  await until("many", async () => (await flowsOf(1, "multicast_port")).length > 200, { timeoutMs: 5000 });
  expect((await flowsOf(1, "multicast_port")).filter((l) => l.includes("nw_dst=239.2.")).length).toBeLessThanOrEqual(256);
  expect((await flowsOf(2, "multicast_host")).filter((l) => l.includes("nw_dst=239.2.")).length).toBeLessThanOrEqual(1024);
  await goes([GROUPS[0]!], [near]);
}, 90_000);

// The last of the file: it leaves no controller.
test("who joined is asked again and stays a member; without a controller all goes to all after a while", { tags: ["long"], timeout: 120_000 }, async () => {
  await Promise.all(GROUPS.map((group) => join(near.vm, group)));
  await goes(GROUPS, [near]);
  await sleep(1000 * (memberS(QUERY_S) + QUERY_S));
  await goes(GROUPS, [near], 1);
  await cloud.controller.stop();
  await goes(GROUPS, [near], 1);
  await goes(GROUPS, everybody(), 1000 * (filterS(QUERY_S) + 5));
});
