// What others made on a host stays as it is: bridges, ports, flows, controllers, managers. The tables of our own bridge are
// ours alone: what others change there is put right and counted.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";

let cloud: Cloud;
let hv: Hypervisor;
let net: Net;
let a: Instance;
let b: Instance;

const FOREIGN_MANAGER = "tcp:127.0.0.1:7777";

/** Rows and flows that the controller did not make, as text: what a user would compare. */
async function foreign(): Promise<string> {
  const list = (columns: string, table: string, ...rows: string[]): Promise<string> => hv.vsctl(`--columns=${columns}`, "list", table, ...rows);
  const parts = await Promise.all([
    hv.ofctl("--no-stats", "dump-flows", "br-ext"),
    hv.ofctl("dump-groups", "br-ext"),
    hv.ofctl("--no-stats", "dump-flows", "br-phy"),
    list("_uuid,name,datapath_type,datapath_id,fail_mode,protocols,external_ids,other_config,ports,controller,mirrors", "Bridge", "br-ext", "br-phy"),
    list("_uuid,name,interfaces,external_ids,other_config,tag,trunks", "Port", "br-ext", "br-phy", "phy", "lonely", "guest"),
    list("_uuid,name,type,options,external_ids,other_config,ofport,ofport_request,mac_in_use", "Interface", "br-ext", "br-phy", "phy", "lonely", "guest"),
    hv.vsctl("get-controller", "br-ext"),
    hv.vsctl("--columns=_uuid,target,external_ids,max_backoff,inactivity_probe", "find", "Manager", `target="${FOREIGN_MANAGER}"`),
    hv.vsctl("--columns=_uuid,target,external_ids,max_backoff,inactivity_probe,connection_mode", "find", "Controller", `target!="nobody"`, "external_ids:axion-controller!=axion"),
    hv.vsctl("get", "Open_vSwitch", ".", "other_config"),
    hv.vsctl("get", "Open_vSwitch", ".", "external_ids"),
  ]);
  return parts.map((part) => part.trim()).join("\n----\n");
}

const bridges = async (): Promise<string[]> => (await hv.vsctl("list-br")).split("\n");

beforeAll(async () => {
  cloud = await Cloud.create({ name: "foreign.test", flags: ["--audit-interval", "1"], hypervisors: 1 });
});
afterAll(async () => cloud?.destroy());

/** A second host, with things of its own on it before the controller comes, also on a bridge named as ours will be. */
test("adoption leaves what is there as it is", async () => {
  const { lab } = cloud;
  hv = await lab.addHypervisor({ name: "hv9" });
  await hv.vsctl(
    "add-br", "br-ext", "--", "set", "Bridge", "br-ext", "datapath_type=netdev", "fail_mode=secure", "protocols=OpenFlow13", "external_ids:made-by=somebody", "other_config:hwaddr=02:00:00:00:00:99",
    "--", "set-controller", "br-ext", "tcp:127.0.0.1:6699", "--", "add-port", "br-ext", "lonely", "--", "set", "Interface", "lonely", "type=internal",
    "--", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev",
    "--", "add-port", "br-int", "guest", "--", "set", "Interface", "guest", "type=internal", "external_ids:owner=somebody",
    "--", "--id=@c", "create", "Controller", 'target="tcp:127.0.0.1:6698"', "--", "add", "Bridge", "br-int", "controller", "@c",
    "--", "set-manager", FOREIGN_MANAGER,
  );
  await hv.ofctl("add-flow", "br-ext", "table=3,priority=77,ip,nw_dst=192.0.2.0/24,actions=drop");
  await hv.ofctl("add-flow", "br-ext", "cookie=0xa000000000000001,table=0,priority=1,actions=normal");
  await hv.ofctl("add-group", "br-ext", "group_id=5,type=all,bucket=output:1");
  const before = await foreign();
  await hv.vsctl("--", "--id=@m", "create", "Manager", `target="${lab.manager}"`, "--", "add", "Open_vSwitch", ".", "manager_options", "@m");
  await cloud.synced(2);
  net = await cloud.network("10.0.0.0/24");
  [a, b] = await Promise.all([cloud.instance(cloud.hv(1), net), cloud.instance(hv, net)]);
  await until("an answer", () => a.vm.reaches(b.ip));
  expect(await foreign()).toBe(before);
  expect((await bridges()).sort()).toEqual(["br-ext", "br-int", "br-phy"]);
  expect((await hv.vsctl("list-ports", "br-int")).split("\n")).toContain("guest");
}, 60_000);

test("so do a kill, a stop and a start of the controller", async () => {
  const before = await foreign();
  await cloud.controller.kill9();
  await cloud.controller.start();
  await cloud.synced(2);
  expect(await foreign()).toBe(before);
  await cloud.controller.restart();
  await cloud.synced(2);
  expect(await foreign()).toBe(before);
}, 60_000);

/** Flow lines of a table without cookie, as ovs-ofctl takes them back. */
async function flowsOf(): Promise<string[]> {
  return (await hv.ofctl("--no-stats", "dump-flows", "br-int")).split("\n").filter((line) => line.includes("actions=")).map((line) => line.trim());
}

const repaired = (kind: string): Promise<number> => cloud.metric("axion_repaired_flows_total", { switch: "hv9", kind });

/** Until an audit has counted so many and the flows are `before` again. What is wrong may be put right before anybody has looked, and flows be as before ere it is counted. */
async function repairs(kind: string, count: number, before: readonly string[]): Promise<void> {
  await until("the repair", async () => (await repaired(kind)) >= count && JSON.stringify((await flowsOf()).sort()) === JSON.stringify(before.toSorted()), { timeoutMs: 15_000 });
  expect(await repaired(kind)).toBe(count);
}

test("a foreign flow in our tables is removed and counted", async () => {
  const before = await flowsOf();
  const count = await repaired("foreign");
  await hv.ofctl("add-flow", "br-int", "table=0,priority=40000,ip,nw_dst=198.51.100.0/24,actions=drop");
  await hv.ofctl("add-flow", "br-int", "table=200,priority=1,actions=drop");
  await repairs("foreign", count + 2, before);
});

test("a flow of ours that was deleted is put back and counted", async () => {
  const before = await flowsOf();
  const count = await repaired("missing");
  const victims = before.filter((line) => line.includes(a.port.mac_address as string) || line.includes("in_port=")).slice(0, 3);
  expect(victims.length).toBeGreaterThan(0);
  for (const line of victims) await hv.ofctl("--strict", "del-flows", "br-int", line.replace(/^cookie=\S+ /, "").replace(/ actions=.*$/, ""));
  await repairs("missing", count + victims.length, before);
  await until("an answer", () => a.vm.reaches(b.ip));
});

test("a flow of ours with other actions, or another cookie, is put right and counted", async () => {
  const before = await flowsOf();
  const count = await repaired("changed");
  const [victim, second] = before.filter((line) => line.includes("in_port="));
  await hv.ofctl("--strict", "mod-flows", "br-int", victim!.replace(/^cookie=\S+ /, "").replace(/actions=.*$/, "actions=drop"));
  if (second !== undefined) await hv.ofctl("add-flow", "br-int", second.replace(/^cookie=[^,\s]+/, "cookie=0x123"));
  await repairs("changed", count + (second === undefined ? 1 : 2), before);
  await until("an answer", () => a.vm.reaches(b.ip));
});

test("all flows deleted at once: all come back", async () => {
  const before = await flowsOf();
  await hv.ofctl("del-flows", "br-int");
  await until("the repair", async () => (await flowsOf()).length === before.length, { timeoutMs: 15_000 });
  expect((await flowsOf()).sort()).toEqual(before.sort());
  await until("an answer", () => a.vm.reaches(b.ip));
});

test("what is not repaired is not counted: an audit that finds nothing changes nothing", async () => {
  const total = await cloud.metric("axion_repaired_flows_total");
  const sent = await cloud.metric("axion_flow_mods_sent_total");
  await cloud.checked();
  expect(await cloud.metric("axion_repaired_flows_total")).toBe(total);
  expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(sent);
});

test("another integration bridge: ours goes back to whoever made it, with what others have on it", async () => {
  const before = await foreign();
  await hv.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge=br-new");
  await until("the other bridge", async () => (await bridges()).includes("br-new"), { timeoutMs: 15_000 });
  await until("release of the old one", async () => !(await hv.vsctl("get-controller", "br-int")).includes("6653"), { timeoutMs: 15_000 });
  await cloud.synced(2);
  const ports = (await hv.vsctl("list-ports", "br-int")).split("\n");
  expect(ports).toContain("guest");
  expect(ports).toContain(b.vm.nic.tap);
  expect(await hv.vsctl("--columns=name", "find", "Port", "external_ids:axion-port=true")).not.toBe("");
  await hv.vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-bridge");
  await until("the way back", async () => (await hv.vsctl("get-controller", "br-int")).includes("6653"), { timeoutMs: 15_000 });
  await cloud.synced(2);
  expect(await foreign()).toBe(before);
  await until("an answer", () => a.vm.reaches(b.ip), { timeoutMs: 15_000 });
}, 60_000);

test("a host that leaves keeps what is on it, and the controller forgets nothing of others", async () => {
  const before = await foreign();
  const manager = (await hv.vsctl("--bare", "--columns=_uuid", "find", "Manager", `target="${cloud.lab.manager}"`)).trim();
  await hv.vsctl("remove", "Open_vSwitch", ".", "manager_options", manager);
  await sleep(1500);
  expect(await foreign()).toBe(before);
  expect(await bridges()).toContain("br-int");
  // Its switch stays connected as long as somebody does not take the controller's row away.
  await cloud.synced(2);
  await until("an answer", () => a.vm.reaches(b.ip));
});
