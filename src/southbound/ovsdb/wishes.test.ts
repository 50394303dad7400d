// From any wish to any wish: what a host's database holds depends on the last one alone. On a real ovsdb-server, with the plan that a
// host session carries out; no switch, which would add what it finds.
import { afterAll, beforeAll, expect, test } from "vitest";
import fc from "fast-check";
import { connect, del, insert, mutate, namedUuid, Replica, update, type OvsdbSession, type Row } from "ovsdb-client";
import { ovsColumns, ovsRef, type OvsPatch } from "#app";
import type { DesiredRow } from "../../compiler/desired.ts";
import { canonicalText } from "../../compiler/items.ts";
import { SimulatedClock } from "../../lib/clock.ts";
import { Ovs } from "../testing/ovs.ts";
import { monitoredColumns, plan } from "./adoption.ts";
import { HostRows } from "./host-rows.ts";
import { RefusedWishes } from "./refused-wishes.ts";
import { readSettings } from "./settings.ts";

let ovs: Ovs;
let session: OvsdbSession;
let replica: Replica;
/** Every column of the tables that there is something of. */
let whole: Replica;

beforeAll(async () => {
  ovs = await Ovs.database();
  session = await connect({ path: `${ovs.dir}/db.sock` });
  replica = new Replica("Open_vSwitch", monitoredColumns);
  await replica.attach(session);
  const { tables } = await session.getSchema("Open_vSwitch");
  whole = new Replica("Open_vSwitch", Object.fromEntries([...Object.keys(monitoredColumns)].map((t) => [t, [...tables.get(t)!.columns.keys()]])));
  await whole.attach(session);
});
afterAll(async () => {
  await session?.close();
  await ovs?.stop();
});

interface Wish {
  readonly rows: readonly DesiredRow[];
  readonly patches: readonly OvsPatch[];
}

/** A host on which nothing is ours, with a bridge, a port and a QoS of the operator's. */
async function fresh(): Promise<void> {
  await session.transact("Open_vSwitch", [
    update("Open_vSwitch", [], { bridges: [] }), del("Flow_Sample_Collector_Set", []),
  ]);
  await session.transact("Open_vSwitch", [del("QoS", []), del("Queue", [])]);
  await session.transact("Open_vSwitch", [
    insert("QoS", { type: "linux-noop", external_ids: { is: "theirs" } }, { uuidName: "q" }),
    insert("Interface", { name: "up0", other_config: { theirs: "1", k1: "before" }, ingress_policing_rate: 7 }, { uuidName: "i" }),
    insert("Port", { name: "up0", interfaces: [namedUuid("i")], qos: namedUuid("q"), other_config: { theirs: "1" }, tag: 9 }, { uuidName: "p" }),
    insert("Bridge", { name: "br-ex", ports: [namedUuid("p")] }, { uuidName: "b" }),
    mutate("Open_vSwitch", [], [["bridges", "insert", [namedUuid("b")]]]),
  ]);
}

const settings = readSettings({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" }).settings!;

/** Carries a wish out, as often as it takes; it has to end. Gives how often it was. */
async function reach(wish: Wish): Promise<number> {
  for (let turn = 0; turn < 6; turn++) {
    await session.request("echo", []); // what was said before has arrived
    const { operations } = plan(new HostRows(replica), { settings, target: "tcp:192.0.2.250:6653", controllerId: "axion", rows: wish, installed: () => undefined });
    if (operations.length === 0) return turn;
    await replica.transact([...operations]);
  }
  throw new Error(`it does not come to rest: ${JSON.stringify(wish)}`);
}

/** The same, of wishes some of which the database refuses. Gives what is named. */
async function reachMost(wish: Wish): Promise<string[]> {
  const refused = new RefusedWishes(new SimulatedClock(), () => undefined);
  for (let turn = 0; turn < 25; turn++) {
    await session.request("echo", []);
    const rows = { ...wish, refused: refused.of(wish.rows, wish.patches) };
    const { operations, notes, wishes } = plan(new HostRows(replica), { settings, target: "tcp:192.0.2.250:6653", controllerId: "axion", rows, installed: () => undefined });
    if (operations.length === 0) return notes.map((n) => `${n.about}: ${n.problem}`);
    await replica.transact([...operations]).catch((error: unknown) => refused.failed(wishes, error, operations));
  }
  throw new Error(`it does not come to rest: ${JSON.stringify(wish)}`);
}

async function picture(): Promise<string[]> {
  await session.request("echo", []);
  const names = new Map<string, string>();
  const rows: [string, Row & Record<string, unknown>][] = whole.tables.flatMap((t) => [...whole.table(t).values()].map((r): [string, Row & Record<string, unknown>] => [t, r]));
  for (const [table, row] of rows) {
    const ids = row.external_ids as Record<string, string>;
    names.set(row._uuid, `${table} ${ids["axion-row"] ?? ids.is ?? (row.name as string | undefined) ?? ""}`);
  }
  const named = (_key: string, value: unknown): unknown => (value instanceof Map ? Object.fromEntries(value) : typeof value === "string" ? (names.get(value) ?? value) : value);
  return rows.map(([table, row]) => {
    // A set has the order of its UUIDs.
    const columns = Object.entries(row).filter(([c]) => !["_uuid", "_version"].includes(c)).map(([c, v]) => [c, Array.isArray(v) ? v.map((a) => named("", a)).sort() : v]);
    let text = `${table} ${canonicalText(JSON.parse(JSON.stringify(Object.fromEntries(columns), named)))}`;
    for (const [uuid, name] of names) text = text.replaceAll(uuid, name); // in marks too
    return text;
  }).sort();
}

// --- wishes --------------------------------------------------------------------------------------------------------------

const some = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined, freq: 2 });
const rec = <T extends Record<string, fc.Arbitrary<unknown>>>(columns: T): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(Object.fromEntries(Object.entries(columns).map(([c, a]) => [c, some(a)]))).map((r) => Object.fromEntries(Object.entries(r).filter(([, v]) => v !== undefined)));
const text = fc.constantFrom("a", "b");
const strings = fc.dictionary(fc.constantFrom("k1", "k2", "k3"), text, { maxKeys: 2 });
const n = fc.constantFrom(1, 2, 40);
const key = fc.constantFrom("x", "y");
const portName = fc.constantFrom("p0", "p1", "up0");
const ref = (table: "QoS" | "Queue" | "IPFIX" | "Port", of: fc.Arbitrary<string> = key): fc.Arbitrary<unknown> => of.map((k) => ovsRef(table, k));
const targets = fc.constantFrom(["127.0.0.1:1"], ["127.0.0.1:1", "127.0.0.1:2"]);

const columns = {
  Port: fc.record({
    interface: rec({
      options: strings, mac: fc.constant("02:00:00:00:00:01"), ofport_request: n, mtu_request: fc.constant(1400), bfd: strings, cfm_mpid: n, lldp: strings, ingress_policing_rate: n,
      ingress_policing_burst: n, ingress_policing_kpkts_rate: n, ingress_policing_kpkts_burst: n, other_config: strings, external_ids: strings,
    }),
    type: fc.constantFrom("patch", "internal", "geneve"),
    port: some(rec({ tag: n, trunks: fc.subarray([1, 2, 3]), cvlans: fc.subarray([4]), vlan_mode: fc.constantFrom("access", "trunk"), qos: ref("QoS"), protected: fc.boolean(), other_config: strings, external_ids: strings })),
    bridge: some(fc.constantFrom("br-ex", "br-int", "br-none")),
  }).map(({ interface: iface, type, port, bridge }) => ({ interface: { ...iface, type }, ...(port && { port }), ...(bridge !== undefined && { bridge }) })),
  QoS: rec({ type: fc.constantFrom("linux-htb", "linux-noop"), queues: fc.dictionary(fc.constantFrom("0", "1"), ref("Queue")), other_config: strings, external_ids: strings }),
  Queue: rec({ dscp: n, other_config: strings, external_ids: strings }),
  Mirror: rec({
    name: text, select_all: fc.boolean(), select_src_port: fc.array(ref("Port", portName), { maxLength: 2 }), select_dst_port: fc.array(ref("Port", portName), { maxLength: 2 }), select_vlan: fc.subarray([1, 2]),
    output_port: ref("Port", portName), output_vlan: n, snaplen: fc.constant(64), external_ids: strings,
  }),
  IPFIX: rec({ targets, sampling: n, obs_domain_id: n, obs_point_id: n, cache_active_timeout: n, cache_max_flows: n, other_config: strings, external_ids: strings }),
  sFlow: fc.tuple(targets, rec({ sampling: n, polling: n, header: n, agent: text, external_ids: strings })).map(([t, r]) => ({ targets: t, ...r })),
  NetFlow: fc.tuple(targets, rec({ engine_type: n, engine_id: n, add_id_to_interface: fc.boolean(), active_timeout: n, external_ids: strings })).map(([t, r]) => ({ targets: t, ...r })),
  Flow_Table: rec({ name: text, flow_limit: n, overflow_policy: fc.constantFrom("refuse", "evict"), groups: fc.subarray(["a", "b"]), prefixes: fc.subarray(["ipv6_src", "ipv6_dst"]), external_ids: strings }),
  Flow_Sample_Collector_Set: fc.tuple(n, rec({ ipfix: ref("IPFIX"), external_ids: strings })).map(([id, r]) => ({ id, ...r })),
};
const row: fc.Arbitrary<DesiredRow> = fc.oneof(
  ...Object.entries(columns).map(([table, arb]) =>
    fc.tuple(table === "Port" ? fc.constantFrom("p0", "p1") : key, arb as fc.Arbitrary<object>, fc.constantFrom(3, 4)).map(([k, c, number]) => ({ table, key: k, columns: c, ...(table === "Flow_Table" && { number: number + (k === "x" ? 0 : 10) }) }) as unknown as DesiredRow)),
);
const patch: fc.Arbitrary<OvsPatch> = fc.oneof(
  fc.tuple(fc.constantFrom("up0", "p0"), fc.constantFrom("other_config", "external_ids"), fc.constantFrom("k1", "k2"), text).map(([name, column, k, value]) => ({ table: "Interface", name, column, key: k, value }) as const),
  fc.tuple(fc.constantFrom("up0", "p0"), fc.constantFrom("k1", "k2"), text).map(([name, k, value]) => ({ table: "Port", name, column: "other_config", key: k, value }) as const),
  fc.tuple(fc.constantFrom("up0", "p0"), key).map(([name, k]) => ({ table: "Port", name, column: "qos", value: ovsRef("QoS", k) }) as const),
  fc.tuple(fc.constantFrom("up0", "p0"), n).map(([name, value]) => ({ table: "Interface", name, column: "ingress_policing_rate", value }) as const),
);
const wish: fc.Arbitrary<Wish> = fc.record({
  rows: fc.uniqueArray(row, { maxLength: 8, selector: (r) => `${r.table} ${r.key}` }),
  patches: fc.uniqueArray(patch, { maxLength: 4, selector: (p) => `${p.table} ${p.name} ${p.column} ${p.key ?? ""}` }),
});

test("the generator knows every column that a rule may set", () => {
  const seen = new Map<string, Set<string>>();
  const see = (table: string, c: object): void => void seen.set(table, new Set([...(seen.get(table) ?? []), ...Object.keys(c)]));
  for (const r of fc.sample(row, { numRuns: 3000, seed: 1 })) {
    if (r.table !== "Port") see(r.table, r.columns);
    else {
      const { interface: iface, port = {} } = r.columns as { interface: object; port?: object };
      see("Interface", iface);
      see("Port", port);
    }
  }
  for (const [table, all] of Object.entries(ovsColumns)) expect([...(seen.get(table) ?? [])].sort(), table).toEqual(Object.keys(all).sort());
});

test("after any wishes the database is as the last one makes it of a fresh one, and then nothing is written", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(wish, { minLength: 1, maxLength: 3 }), wish, async (before, last) => {
      await fresh();
      for (const w of before) await reach(w);
      await reach(last);
      const after = await picture();
      await fresh();
      await reach(last);
      expect(after).toEqual(await picture());
    }),
    { numRuns: 150 },
  );
}, 120_000);

test("and when nothing is wanted any more, it is as it was, but for the bridge that was made", async () => {
  await fc.assert(
    fc.asyncProperty(wish, async (w) => {
      await fresh();
      await reach({ rows: [], patches: [] });
      const before = await picture();
      await reach(w);
      await reach({ rows: [], patches: [] });
      expect(await picture()).toEqual(before);
    }),
    { numRuns: 50 },
  );
}, 120_000);

/** A value of each table that the schema does not allow. */
const spoilt: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  QoS: { other_config: ["none"] }, Queue: { dscp: 99 }, Mirror: { snaplen: 1 }, IPFIX: { sampling: 0 }, sFlow: { targets: [] }, NetFlow: { engine_id: 300 },
  Flow_Table: { overflow_policy: "perhaps" }, Flow_Sample_Collector_Set: { id: -1 },
};
const spoiltRow = (r: DesiredRow): DesiredRow => ({ ...r, columns: r.table === "Port" ? { ...r.columns, port: { tag: 9999 } } : { ...r.columns, ...spoilt[r.table] } }) as DesiredRow;

/** A wish with, of each row and patch, whether it is spoilt. */
const partlySpoilt = wish.chain((w) => fc.tuple(fc.constant(w), fc.array(fc.boolean(), { minLength: w.rows.length, maxLength: w.rows.length }), fc.array(fc.boolean(), { minLength: w.patches.length, maxLength: w.patches.length })));

test("what the database refuses of a wish costs that alone: the rest is as without it", async () => {
  let refusals = 0;
  await fc.assert(
    fc.asyncProperty(partlySpoilt, async ([{ rows, patches }, badRows, badPatches]) => {
      const bad = (p: OvsPatch): boolean => p.column === "ingress_policing_rate" && badPatches[patches.indexOf(p)]!;
      await fresh();
      const notes = await reachMost({ rows: rows.map((r, i) => (badRows[i] ? spoiltRow(r) : r)), patches: patches.map((p) => (bad(p) ? { ...p, value: -5 } : p)) });
      refusals += notes.filter((n) => n.includes("left as it is for a while")).length;
      const after = await picture();
      await fresh();
      await reach({ rows: rows.filter((_, i) => !badRows[i]), patches: patches.filter((p) => !bad(p)) });
      expect(after).toEqual(await picture());
    }),
    { numRuns: 150 },
  );
  expect(refusals).toBeGreaterThan(100);
}, 120_000);

test("what there was of a wish that is refused stays as it is", async () => {
  const good: Wish = {
    rows: [
      { table: "Queue", key: "x", columns: { dscp: 1 } }, { table: "QoS", key: "x", columns: { type: "linux-htb", queues: { "0": ovsRef("Queue", "x") } } },
      { table: "IPFIX", key: "x", columns: { targets: ["127.0.0.1:1"] } }, { table: "Mirror", key: "x", columns: { name: "a" } },
      { table: "Flow_Table", key: "x", number: 3, columns: { prefixes: ["ipv6_dst"] } }, { table: "Flow_Sample_Collector_Set", key: "x", columns: { id: 2, ipfix: ovsRef("IPFIX", "y") } },
      { table: "IPFIX", key: "y", columns: { targets: ["127.0.0.1:2"] } },
      { table: "Port", key: "p0", columns: { interface: { type: "patch", options: { peer: "p1" } }, port: { qos: ovsRef("QoS", "x") } } },
      { table: "Port", key: "p1", columns: { interface: { type: "patch", options: { peer: "p0" } }, bridge: "br-ex" } },
    ],
    patches: [{ table: "Interface", name: "up0", column: "ingress_policing_rate", value: 40 }, { table: "Interface", name: "p0", column: "ingress_policing_rate", value: 40 }],
  };
  await fresh();
  await reach(good);
  const before = await picture();
  const notes = await reachMost({ rows: good.rows.map((r) => (r.key === "y" ? r : spoiltRow(r))), patches: good.patches.map((p) => ({ ...p, value: -5 })) });
  // The patch of a port that is left alone is left with it.
  expect(notes.map((n) => n.replace(/: .*/s, "")).sort()).toEqual(["Flow_Sample_Collector_Set x", "Flow_Table x", "IPFIX x", "Interface up0", "Mirror x", "QoS x", "Queue x", "port p0", "port p1"]);
  expect(await picture()).toEqual(before);
  // The port as it is wished, and a patch of it refused: that alone is left out.
  expect(await reachMost({ ...good, patches: good.patches.map((p) => (p.name === "p0" ? { ...p, value: -5 } : p)) })).toEqual([expect.stringMatching(/^Interface p0: it is left as it is for a while/)]);
  const without = await picture();
  await reach({ ...good, patches: good.patches.filter((p) => p.name !== "p0") });
  expect(await picture()).toEqual(without);
});

test("a mark by which nothing can be put back stays and is named; the rest is put back", async () => {
  await fresh();
  const marks = { "axion-was-tag": "9999", "axion-was-trunks": '["a"]', "axion-was-protected": "7", "axion-was-vlan_mode": '"trunk"', "axion-was-other_config:theirs": '"2"', "axion-was-external_ids:axion-port": '"true"', keep: "1" };
  await session.transact("Open_vSwitch", [update("Port", [["name", "==", "up0"]], { external_ids: marks })]);
  const notes = await reachMost({ rows: [], patches: [] });
  expect(notes.sort()).toEqual([
    expect.stringMatching(/^Port up0: protected cannot be put back: external_ids:axion-was-protected holds no value/), expect.stringMatching(/^Port up0: tag cannot be put back: it is left as it is for a while/),
    expect.stringMatching(/^Port up0: trunks cannot be put back: external_ids:axion-was-trunks holds no value/),
  ]);
  const port = (await picture()).find((line) => line.startsWith("Port ") && line.includes('"name":"up0"'))!;
  expect(port).toContain('"external_ids":{"axion-was-protected":"7","axion-was-tag":"9999","axion-was-trunks":"[\\"a\\"]","keep":"1"}');
  expect(port).toContain('"other_config":{"theirs":"2"}');
  expect(port).toContain('"tag":9,');
  expect(port).toContain('"vlan_mode":"trunk"');
});
