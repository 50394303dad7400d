// Adopting real hosts over OVSDB: what is made, what is left alone, and that nothing is written twice.
import { afterEach, describe, expect, test } from "vitest";
import { chassisTable } from "#app";
import { eventually, Ovs } from "../testing/ovs.ts";
import { port, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function host(externalIds: Record<string, string>): Promise<Ovs> {
  const ovs = await Ovs.start(externalIds);
  cleanup.push(() => ovs.stop());
  return ovs;
}

async function world(options: WorldOptions = {}): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

const hv1 = { "system-id": "hv1", "axion-encap-ip": "192.0.2.11", "axion-encap-type": "geneve,vxlan" };
const tunnel = (over: Record<string, string> = {}): Wanted => ({
  rows: [port("ax-geneve", "geneve", { key: "flow", remote_ip: "flow", ...over }, 60_001)],
});

/** What the controller wrote into the host's database. */
const ours = async (ovs: Ovs): Promise<number> => (await ovs.commits()).filter((line) => line.includes("axion: ")).length;

describe("a fresh host", () => {
  test("gets its bridge, its controller and its tunnel port, marked, in two transactions", async () => {
    const ovs = await host(hv1);
    const w = await world({ want: () => tunnel() });
    await w.adopt(ovs);
    await eventually("the tunnel port", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    expect(await ovs.vsctl("get", "Bridge", "br-int", "fail_mode", "protocols", "external_ids", "other_config", "datapath_type")).toBe(
      'secure\n[OpenFlow13]\n{axion-managed="true"}\n{disable-in-band="true"}\n""',
    );
    expect(await ovs.vsctl("get", "Controller", "br-int", "target", "external_ids", "max_backoff", "inactivity_probe", "connection_mode")).toBe(
      `"tcp:127.0.0.1:${w.ports.openflow}"\n{axion-controller=axion}\n1000\n5000\nout-of-band`,
    );
    expect(await ovs.vsctl("get", "Interface", "ax-geneve", "type", "options", "external_ids")).toBe('geneve\n{key=flow, remote_ip=flow}\n{axion-port="true"}');
    const row = w.model.view.get(chassisTable, "hv1");
    expect(row).toMatchObject({ id: "hv1", key: 1, bridge: "br-int", encap_ip: "192.0.2.11", encap_types: ["geneve", "vxlan"], gateway: false });
    expect(`"${row!.dpid}"`).toBe(await ovs.vsctl("get", "Bridge", "br-int", "datapath_id"));
    expect(await ours(ovs)).toBe(2);
    expect(w.lines("warn")).toEqual([]);
    expect(w.lines("error")).toEqual([]);
  });

  test("without an encap address is adopted without tunnels, and log and problems say so", async () => {
    const ovs = await host({ "system-id": "hv1" });
    const w = await world();
    await w.adopt(ovs);
    expect(w.model.view.get(chassisTable, "hv1")?.encap_ip).toBe("");
    expect(w.lines("warn", "adopted without tunnels")).toHaveLength(1);
    expect(w.southbound.problems().map((p) => [p.kind, p.text])).toEqual([["host", "hv1 has no tunnels: its ports reach no port of another host"]]);
    await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-encap-ip=192.0.2.99");
    await eventually("no problem", () => w.southbound.problems().length === 0);
  });

  test("with several encap addresses has the first, and the log says so", async () => {
    const ovs = await host({ "system-id": "hv1", "ovn-encap-ip": "192.0.2.11,198.51.100.11" });
    const w = await world();
    await w.adopt(ovs);
    expect(w.model.view.get(chassisTable, "hv1")?.encap_ip).toBe("192.0.2.11");
    expect(w.lines("warn", "192.0.2.11 alone is used")).toHaveLength(1);
  });

  test("with bad values gets one line for each, naming host and key", async () => {
    const ovs = await host({ "system-id": "hv1", "axion-encap-ip": "nonsense", "axion-encap-type": "geneve,stt", "axion-bridge-mappings": "physnet1", "axion-gateway": "yes" });
    const w = await world();
    await w.adopt(ovs);
    const lines = w.lines("warn", "host is not as it should be");
    expect(lines.map((line) => [line.fields.chassis, line.fields.about])).toEqual([
      ["hv1", "external_ids:axion-encap-ip=nonsense"],
      ["hv1", "external_ids:axion-encap-type=geneve,stt"],
      ["hv1", "external_ids:axion-bridge-mappings=physnet1"],
      ["hv1", "external_ids:axion-gateway=yes"],
    ]);
    const problems = w.southbound.problems();
    expect(problems.map((p) => [p.kind, p.switches, p.text.split(":").slice(0, 3).join(":")])).toEqual(lines.map((line) => ["host", ["hv1"], `hv1: ${String(line.fields.about)}`.split(":").slice(0, 3).join(":")]));
    await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-encap-ip=192.0.2.99");
    await eventually("the new address", () => w.model.view.get(chassisTable, "hv1")?.encap_ip === "192.0.2.99");
    expect(w.lines("warn", "host is not as it should be")).toHaveLength(4);
    await eventually("one problem less", () => w.southbound.problems().length === 3);
    expect(w.southbound.problems().map((p) => p.since)).toEqual(problems.slice(1).map((p) => p.since));
  });

  test("is read by its ovn-* keys where axion-* ones are absent", async () => {
    const ovs = await host({
      "system-id": "hv1", hostname: "hv1.example.org", "ovn-encap-ip": "192.0.2.7", "ovn-encap-type": "vxlan", "ovn-bridge": "br-ovn",
      "ovn-bridge-mappings": "physnet1:br-ex", "ovn-cms-options": "enable-chassis-as-gw",
    });
    const w = await world();
    await w.adopt(ovs);
    expect(w.model.view.get(chassisTable, "hv1")).toMatchObject({
      hostname: "hv1.example.org", encap_ip: "192.0.2.7", encap_types: ["vxlan"], bridge: "br-ovn", bridge_mappings: { physnet1: "br-ex" }, gateway: true,
    });
  });
});

test("queues at the ports of a physical network's bridge are known, as their operator has them, and only such as have a least rate", async () => {
  const ovs = await host({ ...hv1, "axion-bridge-mappings": "physnet1:br-ex" });
  await ovs.vsctl("add-br", "br-ex", "--", "set", "Bridge", "br-ex", "datapath_type=dummy");
  const w = await world();
  await w.adopt(ovs);
  const queues = (): unknown => w.model.view.get(chassisTable, "hv1")?.uplink_queues;
  expect(queues()).toBeUndefined();
  const queue = (id: string, ...config: string[]): string[] => ["--", `--id=@${id}`, "create", "Queue", ...config];
  await ovs.vsctl(
    "set", "Port", "br-ex", "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb", "queues:7=@a", "queues:1=@b", "queues:2=@c", "queues:4=@d",
    ...queue("a", "other_config:min-rate=2500999"), ...queue("b", "other_config:min-rate=1000000"), ...queue("c", "other_config:max-rate=1000000"), ...queue("d", "other_config:min-rate=much"),
  );
  await eventually("the queues", () => JSON.stringify(queues()) === JSON.stringify([{ physical_network: "physnet1", queue: 1, min_kbps: 1000 }, { physical_network: "physnet1", queue: 7, min_kbps: 2500 }]));
  await ovs.vsctl("set", "QoS", await ovs.vsctl("--bare", "get", "Port", "br-ex", "qos"), "type=linux-noop");
  await eventually("none", () => queues() === undefined);
});

test("a host's gateways are had, drained, and none by what it says, and by nothing else", async () => {
  const ovs = await host({ ...hv1, "axion-gateway": "drain" });
  const w = await world();
  await w.adopt(ovs);
  const row = (): unknown => { const c = w.model.view.get(chassisTable, "hv1"); return [c?.gateway, c?.drain]; };
  expect(row()).toEqual([true, true]);
  for (const [value, wanted] of [["true", [true, undefined]], ["drain", [true, true]], ["false", [false, undefined]]] as const) {
    await ovs.vsctl("set", "Open_vSwitch", ".", `external_ids:axion-gateway=${value}`);
    await eventually(value, () => JSON.stringify(row()) === JSON.stringify(wanted));
  }
});

describe("a host that is as it should be", () => {
  test("is not written to by a controller that comes back, and neither is the store", async () => {
    const ovs = await host(hv1);
    const first = await World.start({ want: () => tunnel() });
    await first.adopt(ovs);
    await eventually("the tunnel port", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    const early = await first.compared(ovs);
    await first.stop();
    const { generation } = first.model;
    const second = await world({ want: () => tunnel(), store: first.store, ports: first.ports });
    await second.connected();
    const late = await second.compared(ovs);
    expect(await ours(ovs)).toBe(2 + early + late);
    expect(second.model.generation).toBe(generation);
    expect(second.count("axion_flow_mods_sent_total")).toBe(0);
  });

  test("keeps its tunnel ports as they are wanted", async () => {
    const ovs = await host(hv1);
    const w = await world({ want: () => tunnel() });
    await w.adopt(ovs);
    await eventually("the tunnel port", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    await w.desired.become(() => tunnel({ csum: "true" }));
    await eventually("another option", async () => (await ovs.iface("ax-geneve", "options")).includes("csum"));
    await ovs.vsctl("del-port", "ax-geneve");
    await eventually("the port again", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    await w.desired.become(() => ({}));
    await eventually("no port", async () => !(await ovs.vsctl("list-ports", "br-int")).includes("ax-geneve"));
  });

  test("is told a new address of the controller", async () => {
    const ovs = await host(hv1);
    const first = await World.start();
    await first.adopt(ovs);
    await first.stop();
    const second = await world({ store: first.store, ports: { ovsdb: first.ports.ovsdb, openflow: 0 } });
    await second.connected();
    expect(await ovs.vsctl("--bare", "--columns=target", "list", "Controller")).toBe(`tcp:127.0.0.1:${second.ports.openflow}`);
  });
});

describe("what others made", () => {
  test("stays: bridges, ports, controllers, managers, protocols of a bridge that was there before", async () => {
    const ovs = await host(hv1);
    await ovs.vsctl("add-br", "br-ex", "--", "set-fail-mode", "br-ex", "standalone", "--", "set-controller", "br-ex", "tcp:192.0.2.250:6653");
    await ovs.vsctl("add-port", "br-ex", "uplink");
    await ovs.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "protocols=OpenFlow10,OpenFlow15", "fail_mode=standalone");
    await ovs.vsctl("add-port", "br-int", "foreign", "--", "set", "Interface", "foreign", "ofport_request=7");
    await ovs.vsctl("--id=@c", "create", "Controller", 'target="ptcp:0:127.0.0.1"', "--", "set", "Bridge", "br-int", "controller=@c");
    const before = await ovs.vsctl("get", "Bridge", "br-ex", "fail_mode", "controller", "ports", "external_ids", "protocols");
    const w = await world({ want: () => tunnel() });
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`, "ptcp:0:127.0.0.1");
    await w.connected();
    await eventually("the tunnel port", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    expect(await ovs.vsctl("get", "Bridge", "br-ex", "fail_mode", "controller", "ports", "external_ids", "protocols")).toBe(before);
    expect((await ovs.vsctl("list-ports", "br-int")).split("\n")).toEqual(["ax-geneve", "foreign"]);
    expect(await ovs.iface("foreign", "ofport")).toBe("7");
    expect(await ovs.vsctl("get", "Bridge", "br-int", "fail_mode", "protocols", "external_ids")).toBe("secure\n[OpenFlow10, OpenFlow13, OpenFlow15]\n{}");
    expect((await ovs.vsctl("get-controller", "br-int")).split("\n").sort()).toEqual(["ptcp:0:127.0.0.1", `tcp:127.0.0.1:${w.ports.openflow}`]);
    expect((await ovs.vsctl("get-manager")).split("\n")).toContain("ptcp:0:127.0.0.1");
  });

  test("a foreign port with the name of a tunnel port is left alone and reported once", async () => {
    const ovs = await host(hv1);
    await ovs.vsctl("add-br", "br-int", "--", "add-port", "br-int", "ax-geneve");
    const w = await world({ want: () => tunnel() });
    await w.adopt(ovs);
    await eventually("the report", () => w.lines("warn", "ax-geneve").length === 1);
    await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:something=else");
    await w.compared(ovs);
    expect(w.lines("warn", "ax-geneve")).toHaveLength(1);
    expect(await ovs.iface("ax-geneve", "type")).toBe('""');
    expect(w.info()?.last_error).toContain("ax-geneve");
  });

  test("moving to another integration bridge takes our rows along and leaves the old bridge", async () => {
    const ovs = await host(hv1);
    const w = await world({ want: () => tunnel() });
    await w.adopt(ovs);
    await eventually("the tunnel port", async () => (await ovs.iface("ax-geneve", "ofport")) === "60001");
    await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge=br-new");
    await eventually("the port on the new bridge", async () => (await ovs.vsctl("list-ports", "br-new")) === "ax-geneve");
    expect(await ovs.vsctl("get-controller", "br-int")).toBe("");
    expect(await ovs.vsctl("list-ports", "br-int")).toBe("");
    await eventually("the new bridge's switch", () => w.info()?.bridge === "br-new" && w.info()?.state === "connected");
  });
});

describe("names", () => {
  test("two live hosts with one system-id: the second is refused, once in the log; it gets in when the first is gone", { tags: "long" }, async () => {
    const [a, b] = [await host(hv1), await host(hv1)];
    const w = await world();
    await w.adopt(a);
    const { dpid } = w.model.view.get(chassisTable, "hv1")!;
    await b.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
    await eventually("the conflict", () => w.lines("error", "has this system-id").length > 0);
    await eventually("more of the same", () => (w.info()?.refused[0]?.count ?? 0) >= 3);
    expect(w.lines("error", "has this system-id")).toHaveLength(1);
    expect(w.model.view.get(chassisTable, "hv1")?.dpid).toBe(dpid);
    expect(await b.vsctl("list-br")).toBe("");
    await a.stop();
    await eventually("the second host", () => w.model.view.get(chassisTable, "hv1")?.dpid !== dpid, 20_000);
  });

  test("each host has a key of its own; a changed system-id leaves nothing under the old name", async () => {
    const [a, b] = [await host(hv1), await host({ ...hv1, "system-id": "hv2" })];
    const w = await world();
    await w.adopt(a);
    await w.adopt(b, "hv2");
    expect([...w.model.view.all(chassisTable)].map((c) => c.key).sort()).toEqual([1, 2]);
    await b.vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv3");
    await w.connected("hv3");
    expect([...w.model.view.all(chassisTable)].map((c) => c.id).sort()).toEqual(["hv1", "hv3"]);
  });

  test("a host without a name waits, and says why", async () => {
    const ovs = await host({});
    const w = await world();
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
    await eventually("the line", () => w.lines("warn", "external_ids:system-id is not set").length === 1);
    expect(w.southbound.problems().map((p) => p.text.replace(/^\S+:\d+: /, ""))).toEqual(["external_ids:system-id is not set: the host has no name"]);
    await ovs.vsctl("set", "Open_vSwitch", ".", "external_ids:system-id=hv9");
    await w.connected("hv9");
  });
});
