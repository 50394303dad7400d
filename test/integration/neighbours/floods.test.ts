// One machine that asks 10,000 times a second for leases, names, routers and metadata: what of it comes to the controller is bounded by its own meters, and machines beside it,
// on its host and on another, are answered all that they ask. How soon: npm run bench -- services.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flood, floodKinds } from "../../../lab/floods/flood.ts";
import { probe, probed } from "../../../lab/floods/probe.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";

const RATE = 10_000;
const SECONDS = 3;

let dir: string;
let cloud: Cloud;
let hostile: Instance;
let calm: Instance[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "axion-floods-"));
  await writeFile(join(dir, "given.json"), "{}");
  cloud = await Cloud.create({ name: "floods", hypervisors: 2, flags: ["--metadata-file", join(dir, "given.json")] });
  const world = async (project: string, hosts: readonly number[]): Promise<Instance[]> => {
    const net = await cloud.network("10.0.0.0/24", {}, project);
    const six = await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:5::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }, project);
    await cloud.router([net, { network: net.network, subnet: six }], project);
    return Promise.all(hosts.map((n) => cloud.instance(cloud.hv(n), net, { project })));
  };
  [[hostile], calm] = (await Promise.all([world("p1", [1]), world("p2", [1, 2])])) as [[Instance], Instance[]];
  await cloud.synced();
}, 60_000);
afterAll(async () => {
  await cloud?.destroy();
  await rm(dir, { recursive: true, force: true });
});

interface Meter {
  readonly packets: number;
  readonly dropped_packets: number;
  readonly resources: readonly { readonly id: string }[];
}
const metersOf = async ({ port }: Instance, host: number): Promise<Meter[]> =>
  (await cloud.controller.ops<{ meters: Meter[] }>("GET", `/switches/${cloud.hv(host).systemId}/meters`)).body.meters.filter((m) => m.resources.some((r) => r.id === port.id));
const sum = (meters: readonly Meter[], of: "packets" | "dropped_packets"): number => meters.reduce((n, m) => n + m[of], 0);

test("of all kinds at once", async () => {
  const mac = (i: Instance): string => i.port.mac_address as string;
  const [near, far] = calm as [Instance, Instance];
  const before = { packetIns: await cloud.metric("axion_packet_ins_total"), meters: await metersOf(hostile, 1) };
  const began = performance.now();
  const flooding = flood(hostile.vm, { mac: mac(hostile), ip: hostile.ip }, floodKinds, RATE, SECONDS);
  const waits = await Promise.all([probe(near.vm, mac(near), far.ip, 8, 30), probe(far.vm, mac(far), near.ip, 8, 30)]);
  const sent = await flooding;
  const seconds = (performance.now() - began) / 1000;
  expect(sent, "packets sent in all").toBeGreaterThan(3000);
  // A burst and a rate of what all its questions share, and of metadata; what others ask beside it, and probes of tunnels.
  const packetIns = (await cloud.metric("axion_packet_ins_total")) - before.packetIns;
  expect(packetIns).toBeLessThan(100 + 200 + seconds * (50 + 200) + 500 + seconds * 100);
  const meters = await metersOf(hostile, 1);
  const passed = sum(meters, "packets") - sum(meters, "dropped_packets") - (sum(before.meters, "packets") - sum(before.meters, "dropped_packets"));
  expect(passed, "that its meters let pass").toBeLessThan(100 + 200 + (seconds + 1) * (50 + 200));
  // Some are lost on the way to the switch.
  expect(sum(meters, "dropped_packets"), "that they dropped").toBeGreaterThan(sent / 2);
  for (const [i, waited] of waits.entries()) for (const what of probed) expect(waited[what].filter((ms) => ms === null), `${what} of the machine on hv${i + 1}`).toEqual([]);
  for (const [i, one] of [near, far].entries()) expect(sum(await metersOf(one, i + 1), "dropped_packets"), `of the machine on hv${i + 1}`).toBe(0);
}, 60_000);
