// A controller whose store is gone does not empty a switch; one that is a shadow changes nothing at all.
import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { eventually, Ovs } from "../../../src/southbound/testing/ovs.ts";
import { ControllerProcess, httpCall } from "../../support/process.ts";

const run = promisify(execFile);
const flags: string[] = [];
let controller: ControllerProcess;
let ovs: Ovs;
let ports: string[];

beforeAll(async () => {
  controller = await ControllerProcess.start({ flags });
  ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  await ovs.vsctl("set-manager", `tcp:127.0.0.1:${controller.ovsdbPort}`);
  const network = await controller.create("network", { name: "blue" });
  await controller.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
  ports = [];
  for (const n of [1, 2]) {
    const { id } = await controller.create("port", { network_id: network.id });
    ports.push(id);
    await ovs.vsctl("--may-exist", "add-br", "br-int", "--", "add-port", "br-int", `tap${n}`, "--", "set", "Interface", `tap${n}`, `external_ids:iface-id=${id}`);
  }
  await active();
}, 60_000);
afterAll(async () => {
  await controller?.destroy();
  await ovs?.stop();
});

const active = (): Promise<void> =>
  eventually("ports to be ACTIVE", async () => {
    const { body } = await controller.api("GET", "/v2.0/ports?fields=id&fields=status");
    return (body as { ports: { id: string; status: string }[] }).ports.filter((p) => ports.includes(p.id) && p.status === "ACTIVE").length === 2;
  });
const state = async (): Promise<string> => ((await controller.ops("/switches/hv1")).body as { switch?: { state: string } }).switch?.state ?? "";
const flows = async (): Promise<string[]> => (await ovs.flows()).map((line) => line.replace(/(?:duration|n_packets|n_bytes|idle_age)=[^,]*, */g, "")).sort();
const axion = (...words: string[]): Promise<{ stdout: string }> => run(process.execPath, [path.join(repositoryRoot(), "bin/axion.js"), "--ops-url", `http://127.0.0.1:${controller.opsPort}`, ...words]);

test("a shadow says what would be changed, and neither switch nor database hear more than questions", { tags: "long", timeout: 90_000 }, async () => {
  expect(await controller.stop()).toBe(0);
  const before = await flows();
  // What somebody did meanwhile: one flow is missing, one is otherwise, one is foreign.
  const [victim] = (await ovs.flows()).filter((line) => line.includes("in_port="));
  const inPort = /in_port="?(\w+)"?/.exec(victim!)![1]!;
  await ovs.ofctl("del-flows", "br-int", `table=0,in_port=${inPort}`);
  await ovs.ofctl("add-flow", "br-int", "table=0,priority=7,tcp,tp_dst=99,actions=drop");
  const as = await flows();
  const commits = (await ovs.commits()).length;
  const log = async (): Promise<string> => readFile(`${ovs.dir}/vsw.log`, "latin1");
  await ovs.appctl("vlog/set", "vconn:file:dbg");
  const quiet = (await log()).length;
  flags.push("--shadow");
  await controller.start();
  const told = (): Record<string, unknown>[] => controller.logged(30).filter((line) => line.switch === "hv1");
  // Whole: its lines come one by one.
  await eventually("the comparison", () => told()[0]?.msg === "switch compared, nothing is changed" && told().length > (told()[0]!.shown as number), 20_000);
  expect(told()[0]).toMatchObject({ removed: 1, changed: 0 });
  expect(told()[0]!.added).toBeGreaterThan(0);
  expect(told().filter((line) => line.msg === "flow would be added")[0]).toMatchObject({ app: "l2", flow: expect.stringContaining("table=0"), resources: expect.arrayContaining([expect.stringMatching(/^port /)]) });
  expect(told().filter((line) => line.msg === "flow would be removed")).toMatchObject([{ flow: expect.stringContaining("tp_dst=99") }]);
  const refused = await controller.api("POST", "/v2.0/networks", { network: {} });
  expect([refused.status, refused.text]).toEqual([503, expect.stringContaining("shadow")]);
  expect((await httpCall(controller.opsPort, "DELETE", "/switches/hv1")).status).toBe(503);
  expect((await controller.api("GET", "/v2.0/ports")).status).toBe(200);
  expect(await controller.stop()).toBe(0);
  const heard = [...(await log()).slice(quiet).matchAll(/tcp:127\.0\.0\.1:\d+: received: (\w+)/g)].map(([, type]) => type!);
  expect(new Set(heard).size).toBeGreaterThan(2);
  expect(heard.filter((type) => !/^(?:OFPT_HELLO|OFPT_FEATURES_REQUEST|OFPST_\w+|OFPT_BARRIER_REQUEST|OFPT_ECHO_\w+)$/.test(type))).toEqual([]);
  expect([await flows(), (await ovs.commits()).length]).toEqual([as, commits]);
  flags.pop();
  await controller.start();
  await eventually("the repair", async () => JSON.stringify(await flows()) === JSON.stringify(before), 20_000);
});

test("without its store the controller leaves the switch as it is, says so everywhere, and goes on when it is told to", async () => {
  await eventually("the mark", async () => (await ovs.vsctl("get", "Bridge", "br-int", "external_ids")).includes("axion-confirmed"));
  const before = await flows();
  await controller.kill9();
  await rm(`${controller.dir}/data`, { recursive: true });
  await controller.start();
  await eventually("the hold", async () => (await state()) === "held", 20_000);
  expect((await controller.ops("/readyz")).body).toEqual({ status: "ready", held: 1 });
  expect((await controller.ops("/problems")).body).toContainEqual(expect.objectContaining({ kind: "switch_held", severity: "critical", switches: ["hv1"] }));
  expect((await axion("status")).stdout).toMatch(/held +hv1:/);
  expect(controller.logged(50).filter((line) => String(line.msg).includes("held"))).toHaveLength(1);
  // What is made meanwhile waits.
  await controller.create("network", { name: "red" });
  expect(await flows()).toEqual(before);
  expect((await axion("store", "accept", "--switch", "hv1")).stdout).toContain("hv1");
  await eventually("order", async () => (await state()) === "connected");
  expect((await flows()).filter((line) => line.includes("in_port=1,") || line.includes('in_port="tap1"'))).toEqual([]);
  await expect(axion("store", "accept")).rejects.toMatchObject({ code: 1, stdout: "no switch is held\n" });
}, 90_000);
