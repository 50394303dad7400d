// Which tunnels are watched, what is taken for an answer, and what is said of it: on a wire of the test's between hosts.
import { afterEach, beforeEach, expect, test } from "vitest";
import { chassisTable, hostSessionsTable, learned, observedId, observedTable, type EncapType, type StageOut } from "#app";
import { Harness } from "../../test/support/harness.ts";
import { peerPortName } from "../overlay/model.ts";
import { explains } from "./explain.ts";
import { probeFrame } from "./frames.ts";
import { forgedTable, tunnelTable, type TunnelSeen } from "./model.ts";
import { problems } from "./problems.ts";
import { gauges, opsLists } from "./shown.ts";

let h: Harness;
let network: string;
/** Bytes of the frame that gets from one host to another; 0: none. */
let wire: (from: string, to: string) => number;
/** Every frame that was put into a tunnel. */
let frames: { readonly from: string; readonly to: string; readonly data: Uint8Array }[];

beforeEach(async () => {
  h = await Harness.make();
  wire = () => 1464;
  frames = [];
  network = (await h.create("network", { name: "n" })).id;
});
afterEach(() => h.close());

async function join(id: string, fields: { readonly encap_types?: readonly EncapType[] } = {}, of = network): Promise<string> {
  await h.addChassis(id, fields);
  const port = (await h.create("port", { network_id: of })).id;
  await h.plug(id, port, 5);
  await h.settled();
  return port;
}
const confirmAll = (): void => {
  for (const { id } of h.view.all(chassisTable)) h.confirm(id);
};
function arrive(at: string, data: Uint8Array): void {
  h.packets.handle({ chassis: at, inPort: 65_101, tableId: h.layout.table("tunnel_probe").id, data, match: {} });
}
/** Lets time pass, and what was sent go by the wire. */
async function pass(seconds: number): Promise<void> {
  for (let ms = 0; ms < seconds * 1000; ms += 200) {
    await h.clock.run(200);
    for (const { packet } of h.sent.splice(0).filter(({ app }) => app === "tunnel-watch")) {
      const { chassis: from, registers, data } = packet as StageOut;
      const key = registers.out_host;
      const to = key === undefined ? from : [...h.view.all(chassisTable)].find((c) => c.key === key)!.id;
      if (key !== undefined) frames.push({ from, to, data });
      if (key === undefined || data.length <= wire(from, to)) arrive(to, data);
    }
    await new Promise((done) => setImmediate(done));
  }
}
const seen = (): Readonly<TunnelSeen>[] => [...h.view.facts(tunnelTable)].sort((a, b) => (a.id < b.id ? -1 : 1));
const states = (): Record<string, string> => Object.fromEntries(seen().map((t) => [`${t.from} ${t.to}${t.type === "geneve" ? "" : ` ${t.type}`}`, t.state]));
const texts = (): string[] => problems(h.view).map((p) => `${p.kind}: ${p.text}`);

test("between hosts that share a network, in both directions, and between no others", async () => {
  await join("hv1");
  await join("hv2");
  await join("hv3", {}, (await h.create("network", { name: "other" })).id);
  confirmAll();
  await pass(12);
  expect(states()).toEqual({ "hv1 hv2": "up", "hv2 hv1": "up" });
  expect(seen()[0]).toMatchObject({ mtu: 1500, loss: 0, latency_ms: 0 });
  expect(new Set(frames.map(({ data }) => data.length))).toEqual(new Set([60, 1464]));
  expect(texts()).toEqual([]);
});

test("those that come later are found, and those that end are forgotten", async () => {
  const port = await join("hv1");
  await join("hv2");
  confirmAll();
  await pass(5);
  await join("hv3");
  confirmAll();
  await pass(5);
  expect(Object.keys(states())).toHaveLength(6);
  await h.unplug("hv1", port);
  await h.settled();
  confirmAll();
  await pass(5);
  expect(states()).toEqual({ "hv2 hv3": "up", "hv3 hv2": "up" });
  await h.model.transact({ requestId: "t", call: "t" }, (tx) => tx.delete(chassisTable, "hv2"));
  await h.settled();
  confirmAll();
  await pass(5);
  expect(states()).toEqual({});
});

test("of a network that has an encapsulation of its own, that one as well", async () => {
  const wide = (await h.create("network", { "provider:network_type": "vxlan" })).id;
  await join("hv1", { encap_types: ["geneve", "vxlan"] }, wide);
  await join("hv2", { encap_types: ["geneve", "vxlan"] }, wide);
  confirmAll();
  await pass(5);
  expect(states()).toMatchObject({ "hv1 hv2 vxlan": "up", "hv2 hv1 vxlan": "up" });
});

test("a cut in one direction is one problem that names it; in both, another; of all that a host has, the host's", async () => {
  for (const id of ["hv1", "hv2", "hv3", "hv4"]) await join(id);
  confirmAll();
  await pass(5);
  wire = (from, to) => (from === "hv1" && to === "hv2" ? 0 : 1464);
  await pass(9);
  expect(texts()).toEqual(["tunnel_down: what hv1 sends to hv2 by tunnel (geneve, UDP port 6081) does not arrive, the other way it does"]);
  wire = (from, to) => (["hv1", "hv2"].includes(from) && ["hv1", "hv2"].includes(to) ? 0 : 1464);
  await pass(9);
  expect(texts()).toEqual(["tunnel_down: hv1 and hv2 do not reach each other by tunnel (geneve, UDP port 6081)"]);
  wire = (_from, to) => (to === "hv3" ? 0 : 1464);
  await pass(15);
  expect(texts()).toEqual(["host_cut: nothing arrives at hv3 by tunnel, of what 3 hosts send; what it sends does"]);
  wire = (from) => (from === "hv3" ? 0 : 1464);
  await pass(15);
  expect(texts()).toEqual(["host_cut: nothing arrives of what hv3 sends by tunnel to 3 hosts; what they send does"]);
  wire = (from, to) => (from === "hv3" || to === "hv3" ? 0 : 1464);
  await pass(10);
  expect(texts()).toEqual(["host_cut: hv3 and the 3 hosts that it has tunnels with do not reach each other"]);
  expect(problems(h.view)).toMatchObject([{ severity: "error", switches: ["hv3"], cure: { text: expect.stringMatching(/^see on hv3 whether ovs-vswitchd answers \(ovs-appctl -t ovs-vswitchd version\); else look there whether the link/) as string } }]);
  expect(gauges.find((g) => g.name === "axion_tunnels")!.read(h.view)).toEqual([{ labels: { state: "down" }, value: 6 }, { labels: { state: "unknown" }, value: 0 }, { labels: { state: "up" }, value: 6 }]);
  expect([...opsLists[0]!.rows(h.view, { switch: "hv1", state: "down" })]).toMatchObject([{ from: "hv1", to: "hv3", bfd: null }, { from: "hv3", to: "hv1" }]);
  wire = () => 1464;
  await pass(10);
  expect(texts()).toEqual([]);
});

test("a tunnel that was down when a host of it went is so as far as is known; else what BFD of the other host says", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  await pass(5);
  const known = (from: string, to: string): unknown => explains.tunnel!(h.view, from, to, "geneve");
  const session = (id: string, openflow: boolean): void => h.facts.learn(learned(hostSessionsTable, id, { id, openflow, ovsdb: true, startedAt: undefined, lostAt: undefined }));
  const bfd = (at: string, to: string, state: string): void => {
    const name = peerPortName(h.view.get(chassisTable, to)!.key);
    h.facts.learn(learned(observedTable, at, { id: observedId(at, "Interface", name), chassis: at, table: "Interface", name, columns: { bfd_status: { state } } }));
  };
  wire = (from, to) => (from === "hv1" || to === "hv1" ? 0 : 1464);
  await pass(10);
  const { since } = seen().find(({ id }) => id.startsWith("hv1 hv2"))!;
  h.away.add("hv1").add("hv3");
  for (const id of ["hv1", "hv3"]) session(id, false);
  await pass(20);
  expect(known("hv1", "hv2")).toEqual({ state: "down", since, how: "as far as was last known" });
  expect([known("hv2", "hv3"), states()]).toMatchObject([{ state: "unknown" }, { "hv1 hv2": "unknown" }]);
  // What the database of the host says that is gone stands still.
  bfd("hv3", "hv2", "down");
  bfd("hv2", "hv3", "up");
  expect([known("hv2", "hv3"), known("hv3", "hv2")]).toMatchObject([{ state: "unknown" }, { state: "unknown" }]);
  bfd("hv2", "hv3", "down");
  for (const [from, to] of [["hv2", "hv3"], ["hv3", "hv2"]] as const) expect(known(from, to)).toEqual({ state: "down", how: "as BFD at hv2 says" });
  // Back again, it is measured anew.
  h.away.delete("hv1");
  session("hv1", true);
  expect(known("hv1", "hv2")).toMatchObject({ state: "unknown" });
  wire = () => 1464;
  await pass(10);
  expect(known("hv1", "hv2")).toMatchObject({ state: "up" });
  h.away.add("hv1");
  session("hv1", false);
  await pass(5);
  expect(known("hv1", "hv2")).toMatchObject({ state: "unknown" });
});

test("a host that is not connected is no problem of its tunnels: they are unknown", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  await pass(5);
  h.away.add("hv2");
  wire = (from, to) => (from === "hv2" || to === "hv2" ? 0 : 1464);
  await pass(20);
  expect(states()).toMatchObject({ "hv1 hv2": "unknown", "hv2 hv1": "unknown", "hv1 hv3": "up" });
  expect(texts()).toEqual([]);
  h.away.delete("hv2");
  await pass(15);
  expect(texts()).toHaveLength(1);
  // Nor as long as its facts are from before.
  h.facts.learn(learned(hostSessionsTable, "hv2", { id: "hv2", openflow: false, ovsdb: false, startedAt: undefined, lostAt: undefined }));
  expect(texts()).toEqual([]);
});

test("a narrow path is named with what gets through", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  await pass(5);
  wire = (from, to) => (from === "hv2" || to === "hv2" ? 1400 - 36 : 1464);
  await pass(60);
  expect(texts()).toEqual(["mtu_too_small: packets of up to 1400 bytes get, of 1500, as --mtu has it, do not, between hv2 and the hosts that it has tunnels with: larger packets of VMs are lost there"]);
  wire = (from, to) => (from === "hv2" && to === "hv1" ? 1364 : 1464);
  await pass(10);
  expect(texts()).toEqual([expect.stringMatching(/^mtu_too_small: packets of up to 1400 bytes .* between hv1 and hv2: /) as string]);
});

test("of many hosts that are cut the first are named and the others counted, at a cost that grows with the tunnels alone", () => {
  let reads = 0;
  const learn = (from: number, to: number): void => {
    const [a, b] = [`hv${from}`, `hv${to}`];
    const row: TunnelSeen = { id: `${a} ${b} geneve`, get from() { reads++; return a; }, to: b, type: "geneve", state: "down", since: `2026-01-01T00:00:${from === 199 ? "00" : "01"}Z`, latency_ms: null, loss: 1, mtu: null, missing: undefined };
    h.facts.learn(learned(tunnelTable, a, row));
  };
  /** Each host has tunnels with the next two. */
  const cost = (hosts: number): number => {
    for (let n = 0; n < hosts; n++) for (const far of [1, 2]) for (const [from, to] of [[n, (n + far) % hosts], [(n + far) % hosts, n]] as const) learn(from, to);
    reads = 0;
    const found = problems(h.view);
    expect(found).toHaveLength(50);
    expect(new Set(found.slice(0, 49).map((p) => p.kind))).toEqual(new Set(["host_cut"]));
    expect(found[49]).toMatchObject({ text: `and ${hosts - 49} more: pairs of hosts, or hosts with all of their tunnels`, since: `2026-01-01T00:00:${hosts === 200 ? "00" : "01"}Z` });
    return reads;
  };
  const few = cost(100);
  expect(cost(200)).toBeLessThan(3 * few);
});

test("nothing but the probe itself, told of by the switch that it was sent to, once, makes a tunnel up", async () => {
  await join("hv1");
  await join("hv2");
  confirmAll();
  wire = () => 0;
  await pass(20);
  expect(states()).toEqual({ "hv1 hv2": "down", "hv2 hv1": "down" });
  const forge = (change: (data: Buffer) => void): void => {
    for (const { to, data } of frames.slice(-4)) {
      const copy = Buffer.from(data);
      change(copy);
      arrive(to, copy);
    }
  };
  for (let i = 0; i < 5; i++) {
    await pass(1);
    forge((data) => (data[40] = data[40]! ^ 1));
    forge((data) => data.fill(0));
    for (const { from, data } of frames.slice(-4)) arrive(from, data);
  }
  for (const { to, data } of frames.slice(0, 4)) for (let i = 0; i < 3; i++) arrive(to, data); // long ago
  await pass(1);
  expect(states()).toEqual({ "hv1 hv2": "down", "hv2 hv1": "down" });
});

test("what other controllers send is not forged, as much of it as each sends", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  await pass(5);
  const others = ["0a0a0a0a", "0b0b0b0b"].map((mark) => (n: number): Buffer => probeFrame(Buffer.from(mark + n.toString(16).padStart(24, "0"), "hex"), 60));
  for (let i = 0; i < 100; i++) {
    for (const other of others) for (let n = 0; n < 3; n++) arrive("hv2", other(3 * i + n));
    await pass(0.2);
  }
  expect([h.view.facts(forgedTable), new Set(Object.values(states()))]).toEqual([[], new Set(["up"])]);
  // More than anybody sends, and by more than there may be.
  for (let n = 0; n < 200; n++) arrive("hv2", others[0]!(n));
  for (let n = 0; n < 100; n++) arrive("hv3", probeFrame(Buffer.from(n.toString(16).padStart(32, "0").replace(/^(.{8})(.*)(.{8})$/, "$3$2$1"), "hex"), 60));
  await pass(2);
  expect(h.view.facts(forgedTable).map(({ id }) => id).sort()).toEqual(["hv2", "hv3"]);
});

test("a host at which many arrive that nobody sent: its tunnels are unknown, and it is named", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  await pass(5);
  wire = (_from, to) => (to === "hv2" ? 0 : 1464);
  for (let i = 0; i < 60; i++) {
    for (let n = 0; n < 6; n++) arrive("hv2", Buffer.alloc(60));
    await pass(0.2);
  }
  expect(states()).toEqual({ "hv1 hv2": "unknown", "hv3 hv2": "unknown", "hv1 hv3": "up", "hv2 hv1": "up", "hv2 hv3": "up", "hv3 hv1": "up" });
  expect(problems(h.view)).toMatchObject([{ kind: "forged_probes", severity: "warning", switches: ["hv2"] }]);
  wire = () => 1464;
  await pass(20);
  expect(h.view.facts(forgedTable)).toEqual([]);
  expect(new Set(Object.values(states()))).toEqual(new Set(["up"]));
});

test("no tunnel is tried whose switches do not have what they should yet", async () => {
  await join("hv1");
  await join("hv2");
  h.confirm("hv1");
  await pass(20);
  expect(frames).toEqual([]);
  expect(states()).toEqual({ "hv1 hv2": "unknown", "hv2 hv1": "unknown" });
});

test("whatever comes of probes, nothing is written and no switch is told anything", async () => {
  for (const id of ["hv1", "hv2", "hv3"]) await join(id);
  confirmAll();
  // Rules are looked at for the first time, which is noted.
  await pass(6);
  const [generation, stats] = [h.model.generation, h.engine.stats.flowsChanged];
  wire = () => 0;
  await pass(10);
  wire = () => 1464;
  await pass(10);
  expect([h.model.generation, h.engine.stats.flowsChanged]).toEqual([generation, stats]);
  expect(h.complaints).toEqual([]);
});
