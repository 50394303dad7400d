// A store that lost rows empties no switch: it is held, and keeps what it has, until somebody says that what is stored is right.
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Flow } from "../compiler/desired.ts";
import { SimulatedClock, type Clock } from "../lib/clock.ts";
import { openMemory } from "../store/memory.ts";
import { lossesOf, tooMuch } from "./openflow/losses.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { flow, numbered, port, World, type Wanted, type WorldOptions } from "./testing/world.ts";
import { Marks, type MarkedHost } from "./openflow/marks.ts";

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
/** Until the switch, which is held, was judged two times more: what the first had sent would have ended the hold. */
async function judgedTwice(w: World): Promise<void> {
  const judge = vi.spyOn(Marks.prototype, "judge");
  await eventually("two judgements", async () => {
    await w.southbound.audit("hv1");
    return judge.mock.settledResults.filter(({ type }) => type === "fulfilled").length >= 2;
  });
  judge.mockRestore();
}
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
    await judgedTwice(second);
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
    await judgedTwice(second);
    expect(second.info()?.held, "less of it, and no less held").toContain("40 of 100");
    expect(await ovs.flows()).toHaveLength(100);
    await second.desired.become(flows(...range(101).map((n) => numbered(n))));
    await second.southbound.audit("hv1");
    await second.connected();
    expect(await ovs.flows()).toHaveLength(101);
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

  test("when only numbers of tables and what the flows do are others", async () => {
    const there = range(100).map((n) => numbered(n, 1, 4));
    const moved = range(100).map((n) => numbered(n, 2, 9));
    const every = flow({ table_id: 7, priority: 1, cookie: 0xa012_3456_0000_0009n, match: {}, instructions: [] });
    const options = { plugged: new Set<number>(), isStatic: (hi: number): boolean => hi === 0xa012_3456, yieldTurn: () => Promise.resolve(true) };
    const lost = async (installed: readonly Flow[], desired: readonly Flow[]): Promise<boolean> => tooMuch((await lossesOf([dump(installed)], desired, options))!, true);
    expect(await lossesOf([dump([...there, every])], moved, options)).toEqual({ flows: 100, going: 0, ports: 0, cutOff: 0 });
    expect(await lost([...there, every], moved)).toBe(false);
    expect(await lost(there, moved.slice(50))).toBe(false);
    expect(await lost(there, moved.slice(51))).toBe(true);
    expect(await lost(there.slice(0, 49), [])).toBe(false);
  });
});

describe("judging by what a switch has", () => {
  const unknown = (plugged: number[] = []): MarkedHost => ({ mark: "of another", served: true, plugged: new Set(plugged), kick: () => undefined });
  const marks = (parts: { host?: MarkedHost | undefined; desired: readonly Flow[]; known?: boolean; clock?: Clock }): Marks =>
    new Marks({ lineage: { mark: String, has: () => parts.known === true }, hostOf: () => parts.host, flowsOf: () => parts.desired, isStatic: () => false, clock: parts.clock ?? new SimulatedClock() });
  const always = (): boolean => true;

  test("one port that goes holds a switch of few flows, until its database says which are plugged", async () => {
    const parts: Parameters<typeof marks>[0] = { desired: [letIn(9, 9)] };
    const m = marks(parts);
    const installed = [dump([letIn(9, 9), letIn(1, 1)])];
    expect(await m.judge("hv1", installed, always)).toMatch(/1 of its 2 ports, are .*its database is not connected/);
    expect(await m.judge("hv1", [dump([letIn(9, 9), numbered(5)])], always), "no port goes").toBeUndefined();
    parts.host = unknown([1]);
    expect(await m.judge("hv1", installed, always)).toContain("1 of its 1 plugged ports");
    const other = marks({ ...parts, host: unknown([9]) });
    expect(await other.judge("hv1", installed, always)).toBeUndefined();
  });

  test("a database that comes while it is judged is asked", async () => {
    const parts: Parameters<typeof marks>[0] = { desired: [], known: true };
    const m = marks(parts);
    const text = m.judge("hv1", [dump([letIn(1, 1)])], always);
    parts.host = unknown();
    expect(await text).toBeUndefined();
  });

  test("what is held for an unknown mark goes on when the mark is known, or nothing would go; not when less would", async () => {
    const all = range(100).map((n) => numbered(n));
    const parts: Parameters<typeof marks>[0] = { host: unknown(), desired: all.slice(60) };
    const m = marks(parts);
    const judge = (): Promise<string | undefined> => m.judge("hv1", [dump(all)], always);
    expect(await judge()).toContain("60 of 100");
    parts.desired = all.slice(1);
    expect(await judge()).toContain("1 of 100");
    parts.host = undefined;
    expect(await judge()).toContain("1 of 100");
    parts.desired = all;
    expect(await judge()).toBeUndefined();
    parts.desired = all.slice(1);
    expect(await judge(), "it is no more held").toBeUndefined();
    parts.desired = [];
    parts.host = unknown();
    expect(await judge()).toContain("100 of 100");
    parts.known = true;
    expect(await judge()).toBeUndefined();
  });

  test("others have their turns meanwhile, and it ends with the session", async () => {
    let now = 0;
    const clock = Object.assign(new SimulatedClock(), { monotonic: () => (now += 5) });
    const m = marks({ host: unknown(), desired: [], clock });
    const parts = range(50).map((n) => dump(range(20, n * 20).map((k) => numbered(k))));
    let turnsOfOthers = 0;
    let ended = false;
    const count = (): void => {
      turnsOfOthers++;
      if (!ended) setImmediate(count);
    };
    setImmediate(count);
    expect(await m.judge("hv1", parts, always)).toContain("1000 of 1000");
    ended = true;
    expect(turnsOfOthers).toBeGreaterThanOrEqual(49);
    let asked = 0;
    expect(await m.judge("hv2", parts, () => ++asked < 3)).toBeUndefined();
    expect(asked).toBe(3);
  });
});

test("marks are written at once, then no more often than every two seconds, and not where nothing was told", async () => {
  const clock = new SimulatedClock();
  let kicks = 0;
  let known = true;
  const host: MarkedHost = { mark: "mark", served: false, plugged: new Set(), kick: () => kicks++ };
  const w = new Marks({ lineage: { mark: (n) => `now ${n}`, has: () => known }, hostOf: () => host, flowsOf: () => [], isStatic: () => false, clock });
  expect(await w.judge("hv1", [], () => true)).toBeUndefined();
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
