// Rows of a host's database beside ports, and patched columns of foreign rows, on a real Open vSwitch: made, read back, repaired, gone.
import { afterEach, expect, test } from "vitest";
import { ovsRef, type OvsPatch } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { port, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

async function host(): Promise<Ovs> {
  const ovs = await Ovs.start();
  cleanup.push(() => ovs.stop());
  for (const [key, value] of Object.entries({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" })) await ovs.vsctl("set", "Open_vSwitch", ".", `external_ids:${key}=${value}`);
  return ovs;
}
async function world(options: WorldOptions): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

const queue: DesiredRow = { table: "Queue", key: "voice", columns: { dscp: 46, other_config: { "max-rate": "1000000" } } };
const qos: DesiredRow = { table: "QoS", key: "uplink", columns: { type: "linux-htb", queues: { "0": ovsRef("Queue", "voice") }, other_config: { "max-rate": "2000000" } } };
const ipfix: DesiredRow = { table: "IPFIX", key: "flows", columns: { targets: ["127.0.0.1:4739"], sampling: 64 } };
const mirror: DesiredRow = { table: "Mirror", key: "tap", columns: { name: "tap", select_all: true, output_vlan: 9 } };
const tunnel = port("tun1", "geneve", { remote_ip: "192.0.2.12", key: "flow" }, 500);
const rated: DesiredRow = { ...tunnel, columns: { interface: { type: "geneve", options: { remote_ip: "192.0.2.12", key: "flow" }, ofport_request: 500, bfd: { enable: "true", min_rx: "100" } }, port: { qos: ovsRef("QoS", "uplink") } } };
const patch: OvsPatch = { table: "Port", name: "up0", column: "qos", value: ovsRef("QoS", "uplink") };
const all = { rows: [queue, qos, ipfix, mirror, rated], patches: [patch] };

/** What the rows are, by name where they refer to each other. */
async function picture(ovs: Ovs): Promise<string[]> {
  const list = async (table: string, columns: string): Promise<string[]> => (await ovs.vsctl("--bare", `--columns=${columns}`, "find", table, "external_ids:axion-row!=none")).split("\n").filter((line) => line !== "");
  return (await Promise.all([list("Queue", "dscp,other_config"), list("QoS", "type,other_config"), list("IPFIX", "targets,sampling"), list("Mirror", "name,select_all,output_vlan")])).flat();
}

test("made, read back without another write, repaired when somebody changes them, gone without a trace", async () => {
  const ovs = await host();
  await ovs.vsctl("add-port", "br-ex0", "up0").catch(() => undefined);
  await ovs.vsctl("add-br", "br-ex", "--", "add-port", "br-ex", "up0", "--", "set", "Interface", "up0", "type=internal");
  await ovs.vsctl("--id=@q", "create", "QoS", "type=linux-noop", "--", "set", "Port", "up0", "qos=@q");
  const theirs = await ovs.vsctl("get", "Port", "up0", "qos");
  const w = await world({ want: () => all });
  await w.adopt(ovs);
  const whole = ["46", "max-rate=1000000", "linux-htb", "max-rate=2000000", "127.0.0.1:4739", "64", "tap", "true", "9"];
  await eventually("the rows", async () => JSON.stringify(await picture(ovs)) === JSON.stringify(whole));
  const ours = await ovs.vsctl("--bare", "--columns=_uuid", "find", "QoS", "external_ids:axion-row=uplink");
  await eventually("the patched port", async () => (await ovs.vsctl("get", "Port", "up0", "qos")) === ours);
  expect(await ovs.vsctl("get", "Port", "tun1", "qos")).toBe(ours);
  expect(await ovs.vsctl("get", "Interface", "tun1", "bfd")).toContain('min_rx="100"');
  expect(await ovs.vsctl("get", "QoS", ours, "queues")).toContain("0=");
  const commits = async (): Promise<number> => (await ovs.commits()).filter((line) => line.includes("axion: ")).length;
  const written = await commits();
  const repairs = await w.compared(ovs);
  expect(await commits(), "what is in order is left alone").toBe(written + repairs);

  await ovs.vsctl("set", "Queue", await ovs.vsctl("--bare", "--columns=_uuid", "find", "Queue", "external_ids:axion-row=voice"), "dscp=1");
  await ovs.vsctl("clear", "Bridge", "br-int", "mirrors");
  await ovs.vsctl("clear", "Port", "up0", "qos");
  await ovs.vsctl("set", "Interface", "tun1", "bfd:min_rx=999");
  await eventually("repair", async () => JSON.stringify(await picture(ovs)) === JSON.stringify(whole) && (await ovs.vsctl("get", "Port", "up0", "qos")) === ours && (await ovs.vsctl("get", "Interface", "tun1", "bfd")).includes('min_rx="100"'));

  // A restart writes nothing; another controller that no longer wants them takes them all back.
  await w.stop();
  const before = await commits();
  const second = await world({ want: () => all, store: w.store, ports: w.ports });
  await second.connected();
  const again = await second.compared(ovs);
  expect(await commits()).toBe(before + again);
  await second.stop();
  const third = await world({ want: () => ({ rows: [tunnel] }), store: w.store, ports: w.ports });
  await third.connected();
  await eventually("the foreign column as it was", async () => (await ovs.vsctl("get", "Port", "up0", "qos")) === theirs);
  await eventually("nothing of ours", async () => (await picture(ovs)).length === 0);
  expect(await ovs.vsctl("get", "Port", "up0", "external_ids")).toBe("{}");
  expect(await ovs.vsctl("get", "Port", "tun1", "qos")).toBe("[]");
  expect(await ovs.vsctl("get", "Interface", "tun1", "bfd")).toBe("{}");
});

test("what the host already has of one kind is left alone and named; a patch of what is not there is named too", async () => {
  const ovs = await host();
  await ovs.vsctl("add-br", "br-int", "--", "--id=@i", "create", "IPFIX", 'targets="127.0.0.1:1"', "--", "set", "Bridge", "br-int", "ipfix=@i");
  const w = await world({ want: (): Wanted => ({ rows: [ipfix], patches: [{ ...patch, name: "nowhere" }] }) });
  await w.adopt(ovs);
  await eventually("both notes", () => (w.info()?.last_error ?? "").includes("IPFIX") && (w.info()?.last_error ?? "").includes("nowhere"));
  expect(await ovs.vsctl("--bare", "--columns=targets", "list", "IPFIX")).toBe("127.0.0.1:1");
});
