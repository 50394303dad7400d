// Nobody takes the connection table that all ports of a host share: what a port may open is metered in the switch, and counted there.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { every, frames, sendRaw, tcp, udp, type Ends } from "../../support/api/raw.ts";

const PPS = 50;
const BURST = 100;
/** So many times as much others may open to a port. */
const ARRIVALS = 4;
/** What the table of the host holds. */
const ROOM = 3000;

let cloud: Cloud;
let net: Net;
let other: Net;
let mallory: Instance;
let server: Instance;
/** Without port security, and whom it floods: on the other host than `client`. */
let unbound: Instance;
/** It serves, on mallory's host. */
let webserver: Instance;
let target: Instance;
/** Of other tenants, on mallory's host and not. */
let client: Instance;
let peer: Instance;
const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

async function open(project: string): Promise<Resource> {
  const group = await cloud.create("security_group", { name: "open" }, project);
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype }, project);
  return group;
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "connection-limits.test", flags: ["--new-connections-pps", String(PPS), "--new-connections-burst", String(BURST)] });
  net = await cloud.network("10.0.1.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  other = await cloud.network("10.0.9.0/24", {}, "p2");
  const [mine, theirs] = [await open("p1"), await open("p2")];
  mallory = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [mine.id] } });
  server = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [mine.id] } });
  for (const i of [mallory, server]) await i.vm.exec(["ip", "addr", "add", `${v6(i)}/64`, "dev", "eth0", "nodad"]);
  unbound = await cloud.instance(cloud.hv(2), net, { port: { port_security_enabled: false } });
  target = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [mine.id] } });
  webserver = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [mine.id] } });
  await webserver.vm.listen(80);
  client = await cloud.instance(cloud.hv(1), other, { project: "p2", port: { security_groups: [theirs.id] } });
  peer = await cloud.instance(cloud.hv(1), other, { project: "p2", port: { security_groups: [theirs.id] } });
  await peer.vm.listen(80);
  await cloud.hv(1).appctl("dpctl/ct-set-maxconns", String(ROOM));
  await mallory.vm.reaches(server.ip);
  await mallory.vm.reaches(v6(server));
  await unbound.vm.reaches(target.ip);
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

const connections = async (): Promise<number> => Number((await cloud.hv(1).appctl("dpctl/ct-get-nconns")).trim());
const between = (from: Instance, to: Instance, family: 4 | 6): Ends => ({
  srcMac: from.port.mac_address as string, dstMac: to.port.mac_address as string, src: family === 4 ? from.ip : v6(from), dst: family === 4 ? to.ip : v6(to),
});
const ends = (family: 4 | 6): Ends => between(mallory, server, family);
/** Connections, each of its own port, in one go. */
const floods: readonly [string, (port: number) => readonly Buffer[]][] = [
  ["SYNs", (port) => frames(ends(4), tcp(ends(4), port, 80, 2))],
  ["SYNs of IPv6", (port) => frames(ends(6), tcp(ends(6), port, 80, 2))],
  ["datagrams", (port) => frames(ends(4), udp(ends(4), port, 9, 20))],
  ["datagrams in fragments", (port) => frames(ends(4), udp(ends(4), port, 9, 1300), every(1304, 1308))],
];

/** What the controller shows of a port's meter: of mallory's connections, unless it is told otherwise. */
async function dropped({ port } = mallory, rule = "port-connections"): Promise<number> {
  const { meters } = (await cloud.controller.ops("GET", `/switches/${cloud.hv(1).systemId}/meters`)).body as { meters: { rate: number; burst: number; dropped_packets: number; rules: string[]; resources: { id: string }[] }[] };
  const its = meters.filter((m) => m.rules.includes(`security-groups/${rule}`) && m.resources.some((r) => r.id === port.id));
  const times = rule === "port-arrivals" ? ARRIVALS : 1;
  expect(its).toMatchObject([{ rate: PPS * times, burst: BURST * times }]);
  return its[0]!.dropped_packets;
}

describe("a flood of", () => {
  test.each(floods)("%s takes its own part of the table, and nobody else's", async (_, make) => {
    await cloud.hv(1).appctl("dpctl/flush-conntrack");
    const before = await dropped();
    const began = Date.now();
    const list = Array.from({ length: 3 * ROOM }, (_, i) => make(10_000 + i)).flat();
    await sendRaw(mallory.vm, list);
    const seconds = (Date.now() - began) / 1000;
    const taken = await connections();
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThanOrEqual(BURST + PPS * (seconds + 2));
    expect(await dropped()).toBeGreaterThan(before);
    // Others open connections as before; and so does who flooded, once it has stopped.
    for (let i = 0; i < 5; i++) expect(await client.vm.connectTcp(peer.ip, 80)).toBe(true);
    await until("a connection of its own", () => mallory.vm.reaches(server.ip));
  });
});

test("one port alone cannot keep others from a port", async () => {
  const way = between(mallory, webserver, 4);
  const before = await dropped();
  const flood = sendRaw(mallory.vm, Array.from({ length: 2 * ROOM }, (_, i) => frames(way, tcp(way, 10_000 + i, 80, 2))).flat());
  for (let i = 0; i < 5; i++) expect(await server.vm.connectTcp(webserver.ip, 80)).toBe(true);
  await flood;
  expect(await dropped()).toBeGreaterThan(before);
  expect(await dropped(webserver, "port-arrivals")).toBe(0);
});

describe("without port security, at the receiver's host, a flood of", () => {
  const way = (): Ends => between(unbound, target, 4);
  const six = (): Ends => ({ ...way(), src: "fd00:7::1", dst: "fd00:7::2" });
  test.each<readonly [string, (port: number) => readonly Buffer[]]>([
    ["datagrams", (port) => frames(way(), udp(way(), port, 9, 20))],
    ["datagrams of IPv6", (port) => frames(six(), udp(six(), port, 9, 20))],
    ["datagrams in fragments", (port) => frames(way(), udp(way(), port, 9, 1300), every(1304, 1308))],
  ])("%s takes the receiver's part of the table, and not what it opens itself", async (_, make) => {
    await cloud.hv(1).appctl("dpctl/flush-conntrack");
    const before = await dropped(target, "port-arrivals");
    const began = Date.now();
    await sendRaw(unbound.vm, Array.from({ length: 3 * ROOM }, (_, i) => make(10_000 + i)).flat());
    const taken = await connections();
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThanOrEqual(ARRIVALS * (BURST + PPS * ((Date.now() - began) / 1000 + 2)));
    expect(await dropped(target, "port-arrivals")).toBeGreaterThan(before);
    for (let i = 0; i < 5; i++) expect(await client.vm.connectTcp(peer.ip, 80)).toBe(true);
    expect(await target.vm.reaches(server.ip)).toBe(true);
  });
});
