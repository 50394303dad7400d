// A store that lost rows empties no switch: it is held, and keeps what it has, until somebody says that what is stored is right.
import { afterEach, describe, expect, test } from "vitest";
import type { Flow } from "../compiler/desired.ts";
import { SimulatedClock } from "../lib/clock.ts";
import { openMemory } from "../store/memory.ts";
import { lossesOf, tooMuch } from "./openflow/losses.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { flow, numbered, port, World, type Wanted, type WorldOptions } from "./testing/world.ts";
import { Witness, type Witnessed } from "./openflow/witness.ts";

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
  const w = await World.start({ guarded: true, ...options });
  cleanup.push(() => w.stop());
  return w;
}

const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
const flows = (...list: Flow[]): (() => Wanted) => () => ({ flows: list });
/** What lets a port send, for entity `n`. */
const letIn = (ofport: number, n: number): Flow =>
  flow({ table_id: 0, priority: 100, cookie: 0xa000_0000_0000_0000n + BigInt(n), match: { in_port: ofport }, instructions: [{ type: "goto_table", table_id: 1 }] });
const sent = (w: World): number => w.count("axion_flow_mods_sent_total");
const mark = (ovs: Ovs): Promise<string> => ovs.vsctl("get", "Bridge", "br-int", "external_ids");
const marked = (ovs: Ovs): Promise<void> => eventually("the mark", async () => (await mark(ovs)).includes("axion-confirmed"));
const plug = (ovs: Ovs, name: string, ofport: number): Promise<string> =>
  ovs.vsctl("--may-exist", "add-port", "br-int", name, "--", "set", "Interface", name, `external_ids:iface-id=${name}`, `ofport_request=${ofport}`);

describe("a switch keeps what it has", () => {
  test("when the store is another one; an operator lets it go on", async () => {
    const ovs = await host();
    const tunnel = port("tun0", "geneve", { remote_ip: "flow" }, 4000);
    const first = await World.start({ guarded: true, want: () => ({ flows: range(100).map((n) => numbered(n)), rows: [tunnel] }) });
    await first.adopt(ovs);
    await marked(ovs);
    await eventually("the port", async () => (await ovs.vsctl("list-ports", "br-int")).includes("tun0"));
    await first.stop();

    const second = await world({ want: flows(numbered(1000)), ports: first.ports, config: { auditIntervalMs: 100 } });
    await eventually("the hold", () => second.info()?.state === "held");
    await second.compared(ovs);
    await eventually("audits", async () => (await second.southbound.audit("hv1")).foreign === 0);
    expect(await ovs.flows()).toHaveLength(100);
    expect(await ovs.vsctl("list-ports", "br-int")).toContain("tun0");
    expect(sent(second)).toBe(0);
    expect(second.info()).toMatchObject({ state: "held", held: expect.stringMatching(/100 of 100 flows of hv1.*not the one that told it so/), flows: { installed: 0 } });
    expect(second.southbound.problems()).toMatchObject([{ kind: "switch_held", severity: "critical", switches: ["hv1"], cure: { text: expect.stringContaining("axion store accept --switch hv1") } }]);
    expect(second.lines("error", "held")).toHaveLength(1);

    expect([second.southbound.accept("hv2"), second.southbound.accept()]).toEqual([[], ["hv1"]]);
    await second.connected();
    expect(await ovs.flows()).toHaveLength(1);
    await eventually("the port gone", async () => !(await ovs.vsctl("list-ports", "br-int")).includes("tun0"));
    expect([second.southbound.problems(), second.southbound.held(), second.southbound.accept()]).toEqual([[], [], []]);
    await second.southbound.stop();

    // It is this store's now.
    const third = await world({ want: flows(), ports: second.ports, store: second.store });
    await third.connected();
    await eventually("nothing", async () => (await ovs.flows()).length === 0);
  });

  test("when the store lost what it had confirmed, and goes on by itself when it is there again", async () => {
    const ovs = await host();
    const store = openMemory();
    const first = await World.start({ guarded: true, store, want: flows(...range(100).map((n) => numbered(n))) });
    await first.adopt(ovs);
    await marked(ovs);
    const before = await mark(ovs);
    await first.stop();
    // As if of an earlier moment of the store: its starts, but not as far as the switch.
    const lost = openMemory();
    await lost.txn([], [{ put: "starts", value: (await store.get("starts"))!.value }]);
    const second = await world({ store: lost, want: flows(...range(40).map((n) => numbered(n))), ports: first.ports });
    await eventually("the hold", () => second.info()?.state === "held");
    expect(second.info()?.held).toContain("60 of 100");
    await second.desired.become(flows(...range(60).map((n) => numbered(n))));
    await second.southbound.audit("hv1");
    await second.connected();
    expect(await ovs.flows()).toHaveLength(60);
    await eventually("another mark", async () => (await mark(ovs)) !== before);
  });

  test("when all of its plugged ports would be cut off, be they few", async () => {
    const ovs = await host();
    const first = await World.start({ guarded: true, want: flows(letIn(1, 1), letIn(2, 2), ...range(20, 10).map((n) => numbered(n))) });
    await first.adopt(ovs);
    await plug(ovs, "tap1", 1);
    await plug(ovs, "tap2", 2);
    await eventually("the interfaces", () => first.vif("hv1", "tap1") !== undefined && first.vif("hv1", "tap2") !== undefined);
    await marked(ovs);
    await first.stop();
    const second = await World.start({ guarded: true, want: flows(...range(20, 10).map((n) => numbered(n))), ports: first.ports });
    await eventually("the hold", () => second.info()?.state === "held");
    expect(second.info()?.held).toContain("2 of its 2 plugged ports");
    expect(await ovs.vsctl("get", "Interface", "tap1", "external_ids")).toContain("axion-installed");
    await second.stop();
    // One that stays is no emptied house.
    const third = await world({ want: flows(letIn(1, 1)), ports: first.ports });
    await third.connected();
    expect(await ovs.flows()).toHaveLength(1);
  });
});

describe("a switch is made what is desired", () => {
  test("when the store knows that what goes was deleted", async () => {
    const ovs = await host();
    const first = await World.start({ guarded: true, want: flows(...range(100).map((n) => numbered(n))) });
    await first.adopt(ovs);
    await marked(ovs);
    await first.stop();
    const second = await world({ want: flows(), store: first.store, ports: first.ports });
    await second.connected();
    expect(await ovs.flows()).toHaveLength(0);
    expect(second.lines("error", "held")).toEqual([]);
  });

  test("when it has other programs' flows, or none", async () => {
    const ovs = await host();
    await ovs.vsctl("add-br", "br-int");
    for (const n of range(60)) await ovs.ofctl("add-flow", "br-int", `priority=7,tcp,tp_dst=${n + 1},actions=drop`);
    const w = await world({ want: flows(numbered(1)) });
    await w.adopt(ovs);
    expect(await ovs.flows()).toHaveLength(1);
    await marked(ovs);
  });

  test("when only numbers of tables and what the flows do are others", () => {
    const there = range(100).map((n) => numbered(n, 1, 4));
    const moved = range(100).map((n) => numbered(n, 2, 9));
    const every = flow({ table_id: 7, priority: 1, cookie: 0xa012_3456_0000_0009n, match: {}, instructions: [] });
    const isStatic = (hi: number): boolean => hi === 0xa012_3456;
    const losses = lossesOf([dump([...there, every])], moved, new Set(), isStatic);
    expect(losses).toEqual({ flows: 100, going: 0, ports: 0, cutOff: 0 });
    expect(tooMuch(losses)).toBe(false);
    expect(tooMuch(lossesOf([dump(there)], moved.slice(50), new Set(), isStatic))).toBe(false);
    expect(tooMuch(lossesOf([dump(there)], moved.slice(51), new Set(), isStatic))).toBe(true);
    expect(tooMuch(lossesOf([dump(there.slice(0, 49))], [], new Set(), isStatic))).toBe(false);
  });
});

test("marks are written at once, then no more often than every two seconds, and not where nothing was told", () => {
  const clock = new SimulatedClock();
  let kicks = 0;
  let known = true;
  const host: Witnessed = { mark: "mark", served: false, plugged: new Set(), kick: () => kicks++ };
  const w = new Witness({ lineage: { mark: (n) => `now ${n}`, has: () => known }, hostOf: () => host, flowsOf: () => [], plugged: () => new Set(), isStatic: () => false, clock });
  expect(w.judge("hv1", [])).toBeUndefined();
  w.confirmed("hv1", 5, 0);
  expect(w.markFor("hv1")).toBeUndefined();
  w.confirmed("hv1", 6, 6);
  expect(w.markFor("hv1")).toBe("now 6");
  for (const n of range(20, 7)) w.confirmed("hv1", n, n);
  expect(w.markFor("hv1")).toBe("now 6");
  clock.advance(2000);
  expect(w.markFor("hv1")).toBe("now 26");
  known = false; // as when somebody else wrote it
  clock.advance(2000);
  w.confirmed("hv1", 30, 26);
  expect(w.markFor("hv1")).toBe("now 30");
  expect(kicks).toBe(4);
  w.stop();
});

/** An OFPMP_FLOW reply with these flows. */
function dump(list: readonly Flow[]): Buffer {
  const entries = list.map(({ slab, len }) => {
    const out = Buffer.alloc(len);
    out.writeUInt16BE(out.length, 0);
    out.writeUInt8(slab[24]!, 2);
    slab.copy(out, 12, 30, 32); // priority
    slab.copy(out, 24, 8, 16); // cookie
    slab.copy(out, 48, 48, len);
    return out;
  });
  const body = Buffer.concat(entries);
  const head = Buffer.alloc(16);
  head.writeUInt8(4, 0);
  head.writeUInt8(19, 1);
  head.writeUInt16BE(16 + body.length, 2);
  head.writeUInt16BE(1, 8);
  return Buffer.concat([head, body]);
}
