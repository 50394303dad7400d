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

test("what the database refuses of one app costs that alone: tunnels, ports and the rows of others come, the refused is named", async () => {
  const ovs = await host();
  const good: DesiredRow = { table: "Queue", key: "good", columns: { dscp: 10 } };
  const bad: Wanted = {
    rows: [
      { table: "Queue", key: "range", columns: { dscp: 99 } },
      { table: "Queue", key: "type", columns: { dscp: "high" } },
      { table: "QoS", key: "column", columns: { nonsense: 5 } },
      { table: "QoS", key: "unread", columns: { type: "linux-htb", _version: "x" } },
      { table: "Nowhere" as "QoS", key: "table", columns: {} },
      { table: "Mirror", key: "nameless", columns: { snaplen: 1 } },
      { ...port("tun2", "geneve", {}, 501), columns: { interface: { type: "geneve", ofport_request: 1_000_000 } } },
    ],
    patches: [{ table: "Interface", name: "vm0", column: "ingress_policing_rate", value: -5 }],
  };
  await ovs.vsctl("add-br", "br-int", "--", "add-port", "br-int", "vm0", "--", "set", "Interface", "vm0", "type=internal", "external_ids:iface-id=port-1");
  const w = await world({ want: () => ({ rows: [...bad.rows!, good, tunnel], patches: bad.patches! }) });
  await w.adopt(ovs);
  await eventually("the port is known", () => w.vif("hv1", "vm0") !== undefined);
  await eventually("the tunnel", async () => (await ovs.vsctl("list-ports", "br-int")).includes("tun1"));
  await eventually("the row of the other", async () => (await ovs.vsctl("--bare", "--columns=dscp", "find", "Queue", "external_ids:axion-row=good")) === "10");
  for (const name of ["Queue range", "Queue type", "QoS column", "QoS unread", "Nowhere table", "Mirror nameless", "port tun2", "Interface vm0"]) {
    await eventually(`a note of ${name}`, () => (w.info()?.last_error ?? "").includes(`${name}: `)).catch(() => { throw new Error(`no note of ${name}: ${w.info()?.last_error}`); });
  }
  // And all goes on: changes of others come through, what was refused is taken once it is right.
  await w.confirmed(await w.desired.become(() => ({ rows: [{ ...good, columns: { dscp: 11 } }, { table: "Queue", key: "range", columns: { dscp: 9 } }, tunnel] })));
  await eventually("both rows", async () => (await ovs.vsctl("--bare", "--columns=dscp", "find", "Queue", "external_ids:axion-row!=none")).split("\n").filter((l) => l !== "").sort().join() === "11,9");
  await eventually("no notes", () => (w.info()?.last_error ?? "") === "");
});

test("a reference to a row that nobody wants, and the same value twice, are in order once they are set", async () => {
  const ovs = await host();
  const dangling: DesiredRow = { table: "QoS", key: "dangling", columns: { type: "linux-htb", queues: { "0": ovsRef("Queue", "nobody") } } };
  const twice: DesiredRow = { table: "IPFIX", key: "twice", columns: { targets: ["127.0.0.1:4739", "127.0.0.1:4739"] } };
  const w = await world({ want: () => ({ rows: [dangling, twice, tunnel], patches: [{ table: "Port", name: "br-int", column: "qos", value: ovsRef("QoS", "nobody") }] }) });
  await w.adopt(ovs);
  await eventually("the rows", async () => (await picture(ovs)).includes("linux-htb"));
  const commits = async (): Promise<number> => (await ovs.commits()).filter((line) => line.includes("axion: ")).length;
  await new Promise((resolve) => setTimeout(resolve, 300));
  const written = await commits();
  await new Promise((resolve) => setTimeout(resolve, 1300));
  expect(await commits()).toBe(written);
  expect(w.info()?.last_error, "what a patch names and is not there is told, as nothing comes of it").toBe("Port br-int: its qos cannot be set: the host has no QoS nobody");
});

test("marks that somebody else wrote cost nothing but themselves", async () => {
  const ovs = await host();
  const marks = ["constructor=1", "__proto__=1", "interfaces=[]", "name=x", "external_ids={}", "tag=abc", "tag2=5", "other_config=7"];
  await ovs.vsctl("add-br", "br-int", "--", "add-port", "br-int", "vm0", "--", "set", "Interface", "vm0", "type=internal", "external_ids:iface-id=port-1");
  for (const mark of marks) await ovs.vsctl("set", "Port", "vm0", `external_ids:axion-was-${mark}`);
  const w = await world({ want: () => ({ rows: [tunnel] }) });
  await w.adopt(ovs);
  await eventually("the tunnel", async () => (await ovs.vsctl("list-ports", "br-int")).includes("tun1"));
  await eventually("the port is known", () => w.vif("hv1", "vm0") !== undefined);
  // What cannot be put back stays marked, and is named.
  await eventually("all but that are gone", async () => (await ovs.vsctl("get", "Port", "vm0", "external_ids")) === '{axion-was-other_config="7"}');
  expect(w.info()?.last_error).toMatch(/^Port vm0: other_config cannot be put back/);
  expect(w.lines("error")).toEqual([]);
});

test("keys of a map column are set one by one: two apps have one each, the operator's stay, and what he does meanwhile is not undone", async () => {
  const ovs = await host();
  await ovs.vsctl("add-br", "br-ex", "--", "add-port", "br-ex", "up0", "--", "set", "Interface", "up0", "type=internal", "other_config:theirs=1", "other_config:shared=before");
  const key = (k: string, value: string): OvsPatch => ({ table: "Interface", name: "up0", column: "other_config", key: k, value });
  const both = { patches: [key("first", "1"), key("shared", "ours"), { ...key("second:key", "2"), column: "external_ids" }] };
  const w = await world({ want: () => both });
  await w.adopt(ovs);
  const config = (): Promise<string> => ovs.iface("up0", "other_config");
  await eventually("the keys", async () => (await config()) === '{first="1", shared=ours, theirs="1"}' && (await ovs.vsctl("get", "Interface", "up0", 'external_ids:"second:key"')) === '"2"');
  await ovs.vsctl("set", "Interface", "up0", "other_config:first=9", "other_config:later=3", "--", "remove", "Interface", "up0", "other_config", "theirs");
  await eventually("ours repaired, his left", async () => (await config()) === '{first="1", later="3", shared=ours}');
  await w.desired.become(() => ({ patches: [key("shared", "ours")] }));
  await eventually("one of them gone", async () => (await config()) === '{later="3", shared=ours}');
  // Withdrawn while the host is not there, by another process.
  await w.stop();
  await ovs.vsctl("set", "Interface", "up0", "other_config:meanwhile=4");
  const second = await world({ store: w.store, ports: w.ports });
  await second.connected();
  await eventually("as before, but for what he did", async () => (await config()) === '{later="3", meanwhile="4", shared=before}');
  expect(await ovs.iface("up0", "external_ids")).toBe("{}");
});

test("what nobody may delete is kept and named, and the rest goes on: a QoS of ours that the operator uses elsewhere", async () => {
  const ovs = await host();
  await ovs.vsctl("add-br", "br-ex", "--", "add-port", "br-ex", "up0", "--", "set", "Interface", "up0", "type=internal");
  const w = await world({ want: () => ({ rows: [queue, qos, rated] }) });
  await w.adopt(ovs);
  await eventually("the port", async () => (await ovs.vsctl("get", "Port", "tun1", "qos")) !== "[]");
  await ovs.vsctl("set", "Port", "up0", `qos=${await ovs.vsctl("get", "Port", "tun1", "qos")}`);
  await w.desired.become(() => ({}));
  await eventually("the note", () => (w.info()?.last_error ?? "").includes("port up0: it uses QoS uplink"));
  await eventually("no port", async () => (await ovs.vsctl("list-ports", "br-int")) === "");
  await ovs.vsctl("clear", "Port", "up0", "qos");
  await eventually("nothing of ours", async () => (await picture(ovs)).length === 0 && w.info()?.last_error === null);
});

test("a second exporter for one bridge is named, and the first stays", async () => {
  const ovs = await host();
  const w = await world({ want: () => ({ rows: [{ ...ipfix, key: "z" }, ipfix] }) });
  await w.adopt(ovs);
  await eventually("the note", () => (w.info()?.last_error ?? "").includes("it can have one, which is flows, and z is missing"));
  expect(await ovs.vsctl("--bare", "--columns=external_ids", "list", "IPFIX")).toBe("axion-row=flows");
  expect(w.info()?.last_error).not.toContain("does not stay");
});

test("sets of collectors for sampled flows and settings of tables, on the integration bridge, and along with it to another; ids and tables of others stay", async () => {
  const ovs = await host();
  await ovs.vsctl(
    "add-br", "br-int", "--", "set", "Bridge", "br-int", "fail_mode=secure", "--", "--id=@b", "get", "Bridge", "br-int", "--", "create", "Flow_Sample_Collector_Set", "id=9", "bridge=@b",
    "--", "--id=@t", "create", "Flow_Table", "name=theirs", "--", "set", "Bridge", "br-int", "flow_tables:6=@t",
  );
  const set = (key: string, id: number): DesiredRow => ({ table: "Flow_Sample_Collector_Set", key, columns: { id, ipfix: ovsRef("IPFIX", "flows") } });
  const table = (key: string, number: number): DesiredRow => ({ table: "Flow_Table", key, number, columns: { prefixes: ["ipv6_dst"] } });
  const w = await world({ want: () => ({ rows: [ipfix, set("a", 7), set("b", 9), table("route", 5), table("other", 6)] }) });
  await w.adopt(ovs);
  const about = async (bridge: string): Promise<string> => {
    const uuid = await ovs.vsctl("get", "Bridge", bridge, "_uuid");
    return [await ovs.vsctl("--bare", "--columns=id", "find", "Flow_Sample_Collector_Set", `bridge=${uuid}`), await ovs.vsctl("get", "Bridge", bridge, "flow_tables", "ipfix")].join(" ").replaceAll(/[0-9a-f-]{36}/g, "ROW").replaceAll(/\s+/g, " ");
  };
  await eventually("both", async () => ["7 9 {5=ROW, 6=ROW} []", "9 7 {5=ROW, 6=ROW} []"].includes(await about("br-int")));
  await eventually("the notes", () => (w.info()?.last_error ?? "").includes("there is another of id 9, and b is missing") && (w.info()?.last_error ?? "").includes("table 6 has one that the controller did not make"));
  // With other apps the table has another number.
  await w.desired.become(() => ({ rows: [ipfix, set("a", 7), table("route", 8)] }));
  await eventually("the other number", async () => (await about("br-int")).includes("{6=ROW, 8=ROW}"));
  await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge=br-new");
  await eventually("the new bridge", async () => (await about("br-new")) === "7 {8=ROW} []", 20_000);
  expect(await about("br-int")).toBe("9 {6=ROW} []");
  await w.desired.become(() => ({}));
  await eventually("nothing of ours", async () => (await about("br-new")) === " {} []");
  expect(await ovs.vsctl("--bare", "--columns=targets", "list", "IPFIX")).toBe("");
});
