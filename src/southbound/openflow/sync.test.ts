// Switches made to match the desired state, with real ones: only differences are sent, whole bundles, and nothing stays
// that is not wanted.
import { afterEach, describe, expect, test } from "vitest";
import { vifTable, type PacketOut } from "#app";
import { ports, type Action, type FieldName, type FlowMod, type Instruction, type SubField } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import type { SwitchPacketIn } from "../index.ts";
import { eventually, Ovs } from "../testing/ovs.ts";
import { flow, numbered, World, type Wanted, type WorldOptions } from "../testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function host(): Promise<Ovs> {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11" });
  cleanup.push(() => ovs.stop());
  return ovs;
}

async function world(options: WorldOptions = {}): Promise<World> {
  const w = await World.start(options);
  cleanup.push(() => w.stop());
  return w;
}

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const flows = (...list: Flow[]): (() => Wanted) => () => ({ flows: list });
const sent = (w: World): number => w.count("axion_flow_mods_sent_total");
const bundles = (w: World): number => w.count("axion_bundles_total");

describe("one bundle", () => {
  test("for the first flows, for a change, and none when a controller or a switch comes back with nothing changed", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(500).map((n) => numbered(n))) });
    await w.adopt(ovs);
    expect(await ovs.flows()).toHaveLength(500);
    expect([sent(w), bundles(w)]).toEqual([500, 1]);
    expect(w.info()?.flows).toEqual({ desired: 500, installed: 500, pending: 0, quarantined: 0 });

    // 1 changed, 1 removed, 1 added
    const changed = range(500).filter((n) => n !== 7).map((n) => numbered(n, n === 8 ? 2 : 1));
    await w.confirmed(await w.desired.become(flows(...changed, numbered(900))));
    expect([sent(w), bundles(w)]).toEqual([503, 2]);
    const now = await ovs.flows();
    expect(now).toHaveLength(500);
    expect(now.filter((line) => line.includes("output:2"))).toHaveLength(1);

    const { since } = w.info()!;
    await ovs.vsctl("set", "Controller", "br-int", "inactivity_probe=6000"); // ours: it is set back, and the switch stays
    await eventually("the probe", async () => (await ovs.vsctl("get", "Controller", "br-int", "inactivity_probe")) === "5000");
    expect(w.info()?.since).toBe(since);

    await w.southbound.stop();
    const again = await world({ want: flows(...changed, numbered(900)), store: w.store, ports: w.ports });
    await again.connected();
    expect([sent(again), bundles(again)]).toEqual([0, 0]);
    expect(again.southbound.confirmed("hv1")).toBeGreaterThan(0);
  });

  test("with the difference only, for a controller that comes back to other wishes", async () => {
    const ovs = await host();
    const first = await World.start({ want: flows(...range(300).map((n) => numbered(n))) });
    await first.adopt(ovs);
    await first.stop();
    await ovs.ofctl("add-flow", "br-int", "table=9,priority=7,tcp,tp_dst=80,actions=drop");
    const second = await world({ want: flows(...range(300, 10).map((n) => numbered(n))), store: first.store, ports: first.ports });
    await second.connected();
    expect([sent(second), bundles(second)]).toEqual([21, 1]);
    const now = await ovs.flows();
    expect(now).toHaveLength(300);
    expect(now.join()).not.toContain("tp_dst");
  });

  test("for a switch that restarted and lost everything", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(2000).map((n) => numbered(n, 1, n % 5))) });
    await w.adopt(ovs);
    await ovs.stopVswitchd();
    await eventually("the loss", () => w.info()?.state === "disconnected");
    await ovs.startVswitchd();
    await w.connected();
    expect(await ovs.flows()).toHaveLength(2000);
    expect([sent(w), bundles(w)]).toEqual([4000, 2]);
  });

  test("is all or nothing for a switch that dies in the middle of it", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(20_000).map((n) => numbered(n, 1, n % 5))) });
    await ovs.vsctl("set-manager", `tcp:127.0.0.1:${w.ports.ovsdb}`);
    for (const ms of [5, 30, 60, 90]) {
      await eventually("the switch", () => w.info()?.state === "syncing" || w.info()?.state === "connected");
      await new Promise((resolve) => setTimeout(resolve, ms));
      await ovs.stopVswitchd();
      await ovs.startVswitchd();
    }
    await eventually("all flows", async () => w.info()?.state === "connected" && (await ovs.flows()).length === 20_000);
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
    expect(w.southbound.quarantined("hv1")).toEqual([]);
  });

  test("for all commits that came while another was on its way", async () => {
    const ovs = await host();
    const w = await world({ want: flows() });
    await w.adopt(ovs);
    let generation = 0;
    for (let n = 1; n <= 100; n++) generation = await w.desired.become(flows(...range(n).map((i) => numbered(i))));
    await w.confirmed(generation);
    expect(await ovs.flows()).toHaveLength(100);
    expect(sent(w)).toBe(100);
    expect(bundles(w)).toBeLessThanOrEqual(100);
  });
});

test("more changes than the queue may hold: the switch is compared anew", async () => {
  const ovs = await host();
  const w = await world({ want: flows(numbered(0)), config: { pendingLimit: 50 } });
  await w.adopt(ovs);
  const generation = await w.desired.become(flows(...range(500).map((n) => numbered(n))));
  await w.confirmed(generation);
  expect(await ovs.flows()).toHaveLength(500);
  expect(w.lines("warn", "too slow")).toHaveLength(1);
});

describe("a flow that the switch refuses", () => {
  const bad = (n: number): Flow =>
    flow({ priority: 5, match: { reg0: n, tcp_dst: 80 }, instructions: [] }); // a port without its protocol

  test("is set aside with the error while the rest goes in; it is tried again when it changes", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(100).map((n) => numbered(n)), bad(1)) });
    await w.adopt(ovs);
    expect(await ovs.flows()).toHaveLength(100);
    expect(w.info()?.flows).toEqual({ desired: 101, installed: 100, pending: 0, quarantined: 1 });
    expect(w.southbound.quarantined("hv1")).toEqual([{ flow: bad(1), error: "OFPBMC_BAD_PREREQ" }]);
    expect(w.lines("error", "refused a flow")).toHaveLength(1);
    expect(w.southbound.problems()).toMatchObject([{ kind: "flow_refused", severity: "error", switches: ["hv1"], resources: [{ type: "port", id: "of table 0" }] }]);
    expect(w.southbound.problems()[0]!.text).toContain("OFPBMC_BAD_PREREQ");
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
    await w.confirmed(await w.desired.become(flows(...range(100).map((n) => numbered(n)))));
    expect(w.southbound.quarantined("hv1")).toEqual([]);
    expect(w.southbound.problems()).toEqual([]);
    expect(w.info()?.flows.desired).toBe(100);
  });

  test("one or many, among many", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(2000).map((n) => numbered(n)), ...range(40).map((n) => bad(n))) });
    await w.adopt(ovs);
    expect(await ovs.flows()).toHaveLength(2000);
    expect(w.southbound.quarantined("hv1")).toHaveLength(40);
  });

  test("only when the bundle is committed, because its table is full", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(5).map((n) => numbered(n))) });
    await w.adopt(ovs);
    await ovs.vsctl("--id=@t", "create", "Flow_Table", "flow_limit=8", "overflow_policy=refuse", "--", "set", "Bridge", "br-int", "flow_tables:0=@t");
    await w.confirmed(await w.desired.become(flows(...range(12).map((n) => numbered(n)), numbered(1, 1, 1))));
    expect((await ovs.flows()).length).toBe(9);
    expect(w.southbound.quarantined("hv1").map((q) => q.error)).toEqual(Array<string>(4).fill("OFPFMFC_TABLE_FULL"));
  });

  test("is not left installed in the form it had before", async () => {
    const ovs = await host();
    const same = (to: number): Flow => numbered(1, to);
    const w = await world({ want: flows(same(1), numbered(2)) });
    await w.adopt(ovs);
    await w.confirmed(await w.desired.become(flows(
      flow({ table_id: 0, priority: 100, match: { reg0: 1 }, instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 77 }] }] }),
      numbered(2),
    )));
    expect(await ovs.flows()).toHaveLength(1);
    expect(w.southbound.quarantined("hv1")).toHaveLength(1);
    await w.confirmed(await w.desired.become(flows(same(3), numbered(2))));
    expect((await ovs.flows()).filter((line) => line.includes("output:3"))).toHaveLength(1);
  });
});

describe("an audit", () => {
  test("repairs and counts what others did, and nothing else", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(50).map((n) => numbered(n))) });
    await w.adopt(ovs);
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
    const before = sent(w);
    await ovs.ofctl("del-flows", "br-int", "reg0=3", "--strict", "priority=100").catch(() => undefined);
    await ovs.ofctl("del-flows", "br-int", "reg0=3");
    await ovs.ofctl("mod-flows", "br-int", "reg0=4,actions=drop");
    await ovs.ofctl("add-flow", "br-int", "table=200,actions=NORMAL");
    await ovs.ofctl("add-flow", "br-int", "priority=9999,ip,nw_src=10.0.0.0/8,actions=NORMAL");
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 1, changed: 1, foreign: 2 });
    expect(sent(w) - before).toBe(4);
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
    expect(await ovs.flows()).toHaveLength(50);
    expect(w.count("axion_repaired_flows_total", 'kind="foreign"')).toBe(2);
  });

  test("runs by itself", async () => {
    const ovs = await host();
    const w = await world({ want: flows(numbered(1)), config: { auditIntervalMs: 200 } });
    await w.adopt(ovs);
    await ovs.ofctl("del-flows", "br-int");
    await eventually("the flow", async () => (await ovs.flows()).length === 1);
  });

  test("leaves alone what changes while it runs", async () => {
    const ovs = await host();
    const w = await world({ want: flows(...range(3000).map((n) => numbered(n))) });
    await w.adopt(ovs);
    let generation = 0;
    for (let round = 0; round < 10; round++) {
      const audit = w.southbound.audit("hv1");
      generation = await w.desired.become(flows(...range(3000, round * 100).map((n) => numbered(n, round))));
      expect(await audit).toEqual({ missing: 0, changed: 0, foreign: 0 });
    }
    await w.confirmed(generation);
    expect(await ovs.flows()).toHaveLength(3000);
    expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
  });
});

test("flows are known again however the switch spells them", async () => {
  const act = (...actions: Action[]): Instruction[] => [{ type: "apply_actions", actions }];
  const ip = { eth_type: 0x0800 };
  const whole = (field: FieldName, bits: number, ofs = 0): SubField => ({ field, ofs, bits });
  const mods: Omit<FlowMod, "command">[] = [
    { match: { xxreg3: 5n } },
    { match: { xxreg0: { value: 0x1_0000_0000_0000n, mask: 0xff_0000_0000_0000n } } },
    { match: { reg1: { value: 0x10, mask: 0xf0 }, tunnel_id: 77, in_port: 3 } },
    { match: { ...ip, ipv4_src: { value: "10.0.0.0", mask: "255.0.0.0" }, ct_state: { value: 0x21, mask: 0x21 } } },
    { match: { eth_type: 0x86dd, ipv6_dst: "2001:db8::1", ip_proto: 58, icmpv6_type: 135, ipv6_nd_target: "2001:db8::2" } },
    { match: { ...ip, ip_proto: 6, tcp_dst: { value: 0x1000, mask: 0xf000 }, tcp_flags: { value: 2, mask: 2 } } },
    { match: { ...ip, ip_proto: 17, udp_src: 68, udp_dst: 67 } },
    { match: { eth_type: 0x0806, arp_op: 1, arp_tpa: "10.0.0.1" } },
    { match: { eth_dst: { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" } } },
    { match: { vlan_vid: 0x1005 } },
    { match: { ...ip, ct_mark: 1, ct_zone: 9, conj_id: 4 } },
    { match: { metadata: 5n } },
    { match: { reg2: 1 }, instructions: act({ type: "load", dst: whole("reg0", 8, 4), value: 3 }, { type: "resubmit", table: 4 }) },
    { match: { reg2: 2 }, instructions: act({ type: "set_field", field: "reg5", value: 9 }, { type: "set_field", field: "xxreg2", value: 7n }) },
    { match: { reg2: 3 }, instructions: act({ type: "move", src: whole("eth_src", 48), dst: whole("eth_dst", 48) }, { type: "output_reg", src: whole("reg0", 16) }) },
    { match: { ...ip, reg2: 4 }, instructions: act({ type: "ct", commit: true, zone: whole("reg5", 16), exec: [{ type: "set_field", field: "ct_mark", value: 1 }] }) },
    { match: { ...ip, reg2: 5 }, instructions: act({ type: "ct", zone: 7, table: 12 }) },
    { match: { ...ip, reg2: 6 }, instructions: act({ type: "conjunction", id: 5, clause: 0, n_clauses: 2 }) },
    { match: { reg2: 7 }, instructions: act({ type: "output", port: ports.CONTROLLER, max_len: 512 }) },
    { match: { reg2: 8 }, instructions: [...act({ type: "output", port: ports.IN_PORT }), { type: "goto_table", table_id: 9 }] },
    { match: { eth_type: 0x0806, reg2: 9 }, instructions: act({ type: "set_field", field: "arp_op", value: 2 }, { type: "move", src: whole("arp_spa", 32), dst: whole("reg0", 32) }) },
    { match: { ...ip, reg2: 10 }, instructions: act({ type: "dec_ttl" }, { type: "set_field", field: "tunnel_id", value: 5 }, { type: "set_field", field: "eth_dst", value: "02:00:00:00:00:01" }) },
    { match: { reg2: 11 }, instructions: [] },
    { match: { ...ip, reg2: 12 }, instructions: act({ type: "ct", commit: true, zone: 3, table: 5, nat: { kind: "src", addr_min: "192.0.2.1", addr_max: "192.0.2.9", port_min: 1024, port_max: 2048, random: true } }) },
    { match: { eth_type: 0x86dd, reg2: 13 }, instructions: act({ type: "ct", zone: 3, nat: {} }, { type: "ct", commit: true, nat: { kind: "dst", addr_min: "2001:db8::9" } }) },
    { match: { reg2: 14 }, instructions: act({ type: "push_vlan", ethertype: 0x8100 }, { type: "set_field", field: "vlan_vid", value: 0x1005 }, { type: "output", port: 1 }) },
    { match: { reg2: 15, vlan_vid: { value: 0x1000, mask: 0x1000 } }, instructions: act({ type: "pop_vlan" }, { type: "output", port: ports.LOCAL }) },
    { match: { reg2: 16 }, instructions: act({
      type: "learn", table_id: 7, priority: 3, hard_timeout: 60, cookie: 5n,
      specs: [{ type: "match", src: whole("eth_src", 48), dst: whole("eth_dst", 48) }, { type: "load", src: 7, dst: whole("reg0", 32) }, { type: "output", src: whole("reg1", 16) }],
    }) },
    { match: { reg2: 17 }, instructions: act({ type: "controller", max_len: 128, userdata: Buffer.from([1, 2, 3]) }) },
    { match: { reg2: 18 }, instructions: [{ type: "write_metadata", metadata: 7n, metadata_mask: 0xffn }, { type: "clear_actions" }, { type: "write_actions", actions: [{ type: "output", port: 1 }] }] },
    { match: { reg2: 19 }, instructions: act({ type: "set_field", field: "reg5", value: 0x100, mask: 0xff00 }, { type: "load", dst: whole("reg5", 32), value: 1 }, { type: "load", dst: whole("eth_dst", 16, 8), value: 5 }) },
  ];
  const ovs = await host();
  const list = mods.map((mod, i) => flow({ priority: 10, cookie: BigInt(i + 1), ...mod }));
  const w = await world({ want: flows(...list) });
  await w.adopt(ovs);
  expect(w.southbound.quarantined("hv1").map((q) => [mods[list.indexOf(q.flow)], q.error])).toEqual([]);
  expect(await ovs.flows()).toHaveLength(mods.length);
  expect(await w.southbound.audit("hv1")).toEqual({ missing: 0, changed: 0, foreign: 0 });
});

test("a slot's conntrack zone is empty when the slot is given out", async () => {
  const ovs = await host();
  const track = flow({ priority: 5, match: { eth_type: 0x0800 }, instructions: [{ type: "apply_actions", actions: [{ type: "ct", commit: true, zone: 1 }, { type: "ct", commit: true, zone: 2 }] }] });
  const w = await world({ want: (chassis, view) => ({ flows: [track, ...view.by(vifTable, "chassis", chassis.id).map((vif) => numbered(vif.slot))] }) });
  await w.adopt(ovs);
  const plug = (name: string): Promise<string> => ovs.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, `external_ids:iface-id=${name}`);
  const zones = async (): Promise<string[]> => [...(await ovs.appctl("dpctl/dump-conntrack")).matchAll(/zone=(\d+)/g)].map((m) => m[1]!).sort();
  await plug("tap1");
  await eventually("its flow", async () => (await ovs.flows()).length === 2);
  await ovs.appctl("netdev-dummy/receive", "tap1", "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)");
  await eventually("connections", async () => (await zones()).join() === "1,2");
  await plug("tap2");
  await eventually("the second zone empty", async () => (await zones()).join() === "1");
});

test("packets come up with table, cookie and registers, and go out where the handler says", async () => {
  const got: SwitchPacketIn[] = [];
  const ovs = await host();
  const punt = flow({ table_id: 3, priority: 5, cookie: 0x1234n, match: {}, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: ports.CONTROLLER, max_len: 0xffff }] }] });
  const load = flow({
    priority: 5, match: {},
    instructions: [{ type: "apply_actions", actions: [{ type: "set_field", field: "reg4", value: 99 }] }, { type: "goto_table", table_id: 3 }],
  });
  const w = await world({
    want: flows(punt, load),
    onPacketIn: (packet): PacketOut[] => {
      got.push(packet);
      if (got.length === 2) throw new Error("oh no");
      return [{ chassis: packet.chassis, outPort: 2, data: packet.data }];
    },
  });
  await w.adopt(ovs);
  await ovs.vsctl("add-port", "br-int", "p1", "--", "set", "Interface", "p1", "ofport_request=1", "--", "add-port", "br-int", "p2", "--", "set", "Interface", "p2", "ofport_request=2");
  const packet = "02000000000202000000000188b5" + "00".repeat(50);
  for (let n = 0; n < 3; n++) {
    await ovs.appctl("netdev-dummy/receive", "p1", packet);
    await eventually("the packet", () => got.length === n + 1);
  }
  expect(got[0]).toMatchObject({ chassis: "hv1", inPort: 1, tableId: 3, cookie: 0x1234n, match: { reg4: 99 } });
  expect(Buffer.from(got[0]!.data).toString("hex")).toBe(packet);
  await eventually("two packets out", async () => /tx pkts=2\b/.test(await ovs.ofctl("dump-ports", "br-int", "2")));
  expect(w.lines("error", "packetIn")).toHaveLength(1);
  expect(w.count("axion_packet_ins_total", 'table="3"')).toBe(3);
});

test("a switch that nobody's database knows waits, and is closed after a while", async () => {
  const ovs = await host();
  const w = await world({ want: flows(numbered(1)), config: { unknownSwitchTimeoutMs: 400 } });
  await ovs.vsctl("add-br", "br-x", "--", "set-controller", "br-x", `tcp:127.0.0.1:${w.ports.openflow}`);
  await eventually("the line", () => w.lines("warn", "switch is closed").length === 1);
  expect(w.southbound.switches()).toEqual([]);
});

test("a switch that comes before its database is taken in when the database comes", async () => {
  const ovs = await host();
  const w = await world({ want: flows(numbered(1)) });
  await ovs.vsctl("add-br", "br-int", "--", "set-fail-mode", "br-int", "secure", "--", "set-controller", "br-int", `tcp:127.0.0.1:${w.ports.openflow}`);
  await new Promise((resolve) => setTimeout(resolve, 200));
  await w.adopt(ovs);
  expect(await ovs.flows()).toHaveLength(1);
  expect((await ovs.vsctl("get-controller", "br-int")).split("\n")).toHaveLength(1);
});
