// Restarts cost nothing: neither the controller's nor its absence lose a packet, and a switch that lost its flows gets them
// back in one bundle.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let a: Instance;
let b: Instance;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "restart.test", flags: ["--audit-interval", "1"] });
  net = await cloud.network("10.0.0.0/24");
  [a, b] = await Promise.all([cloud.instance(cloud.hv(1), net), cloud.instance(cloud.hv(2), net)]);
  await until("the first answer", () => a.vm.reaches(b.ip));
  await cloud.synced();
});

afterEach(async () => {
  await cloud.synced();
  expect(await cloud.differences()).toBe("");
});
afterAll(async () => cloud?.destroy());

test("the controller is killed and started again: no flow-mod, no packet lost, and it goes on", async () => {
  const before = await cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int");
  const ping = a.vm.pingStart(b.ip, { intervalMs: 10 });
  await until("answers", () => ping.received > 50);
  await cloud.controller.kill9();
  const dead = ping.received;
  await until("answers without a controller", () => ping.received > dead + 150);
  await cloud.controller.start();
  await cloud.synced();
  await cloud.checked();
  expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(0);
  expect(await cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int")).toBe(before);
  expect((await cloud.show("port", a.port.id)).status).toBe("ACTIVE");

  // What is asked for now reaches the switches.
  const sent = await cloud.metric("axion_flow_mods_sent_total");
  const c = await cloud.instance(cloud.hv(1), net);
  await until("the new VM", () => c.vm.reaches(b.ip));
  expect(await cloud.metric("axion_flow_mods_sent_total")).toBeGreaterThan(sent);

  const stats = await ping.stop();
  expect(stats.sent).toBeGreaterThan(300);
  expect(stats.gaps).toEqual([]);
  expect(stats.received).toBe(stats.sent);
});

test("a stop in order and a start: no flow-mod, no packet lost", async () => {
  const ping = a.vm.pingStart(b.ip, { intervalMs: 10 });
  await until("answers", () => ping.received > 20);
  expect(await cloud.controller.stop()).toBe(0);
  await cloud.controller.start();
  await cloud.synced();
  await cloud.checked();
  expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(0);
  expect((await ping.stop()).gaps).toEqual([]);
});

test("changes made while a switch is away reach it when it is back, others are not disturbed", { tags: "long", timeout: 90_000 }, async () => {
  const other = await cloud.instance(cloud.hv(2), net);
  const ping = b.vm.pingStart(other.ip, { intervalMs: 10 });
  await until("answers", () => ping.received > 20);
  await cloud.hv(1).setManagementLink("down");
  await until("the loss to be noticed", async () => (await cloud.switches()).some((s) => s.id === "hv1" && !s.connected), { timeoutMs: 30_000 });
  await cloud.remove("port", a.port.id);
  await cloud.hv(1).setManagementLink("up");
  await cloud.synced();
  await until("the flow to be gone", async () => !(await cloud.hv(1).ofctl("dump-flows", "br-int")).includes(a.port.mac_address as string));
  expect((await ping.stop()).gaps).toEqual([]);
  await a.vm.destroy();
  a = await cloud.instance(cloud.hv(1), net);
  await until("a new VM in its place", () => a.vm.reaches(b.ip));
});

test("Open vSwitch is killed and started: its flows come back in one bundle, and VMs talk again", async () => {
  await cloud.synced();
  const flows = (text: string): number => text.split("\n").filter((line) => line.includes("table=")).length;
  const before = flows(await cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int"));
  const bundles = await cloud.metric("axion_bundles_total");
  await cloud.hv(1).killVswitchd();
  await cloud.hv(1).startVswitchd();
  await until("answers again", () => a.vm.reaches(b.ip, { timeoutMs: 300 }), { timeoutMs: 20_000 });
  await cloud.synced();
  expect(flows(await cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int"))).toBe(before);
  expect(await cloud.metric("axion_bundles_total")).toBe(bundles + 1);
  expect(await cloud.metric("axion_bundles_total", { result: "failed" })).toBe(0);
}, 60_000);

test("the database server is killed and started: nothing changes", async () => {
  const ping = a.vm.pingStart(b.ip, { intervalMs: 10 });
  await until("answers", () => ping.received > 20);
  const sent = await cloud.metric("axion_flow_mods_sent_total");
  await cloud.hv(2).killOvsdb();
  await sleep(500);
  await cloud.hv(2).startOvsdb();
  await cloud.synced();
  await cloud.checked();
  expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(sent);
  expect((await cloud.show("port", b.port.id)).status).toBe("ACTIVE");
  expect((await ping.stop()).gaps).toEqual([]);
}, 60_000);
