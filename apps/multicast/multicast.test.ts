// What networks cost that filter multicast, and others; who is asked when, and when a switch may filter.
import { buildEthernet, buildIgmp, buildIpv4, ethertypes, ipProtocols, parsePacket } from "packet-codec";
import { afterEach, expect, test, vi } from "vitest";
import { hostSessionsTable, type HostSessions, type StageOut } from "#app";
import { Harness, textOf } from "../../test/support/harness.ts";
import { copiesOf, costs, join, plugMany, wide } from "../../test/support/wide.ts";
import { attachmentTable, portTable } from "../l2/model.ts";
import { signal, snoopedTable } from "./model.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});
const QUERY_S = 20;
const settings = new Map([["multicast", { "multicast-snooping": true, "multicast-query-interval": QUERY_S }]]);

async function made(snooping: boolean): Promise<Harness> {
  const h = await Harness.make([], undefined, snooping ? { settings } : {});
  open.push(h);
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  return h;
}
const ofports = new Map<string, number>();
async function port(h: Harness, host: string, network: string, values: Record<string, unknown> = {}): Promise<string> {
  const { id } = await h.create("port", { network_id: network, ...values });
  const ofport = (ofports.get(host) ?? 10) + 1;
  ofports.set(host, ofport);
  await h.plug(host, id, ofport);
  await h.settled();
  return id;
}
const flowsOf = (h: Harness, host: string): string[] => [...h.engine.flowsOf(host)].map((f) => `${h.layout.tableById(f.table)!.name}: ${textOf(f)}`);
const ours = (h: Harness, host: string): string[] => flowsOf(h, host).filter((f) => f.startsWith("multicast") && !f.includes("priority=0,"));

test("without the setting nobody has a flow of it, nor is anybody asked", async () => {
  const h = await made(false);
  await port(h, "hv1", (await h.create("network", {})).id);
  h.clock.advance(1000 * QUERY_S * 3);
  expect(ours(h, "hv1")).toEqual([]);
  expect(h.sent.filter((s) => s.app === "multicast")).toEqual([]);
});

test("networks in tunnels alone are filtered here: physical ones are by their switches", async () => {
  const h = await made(true);
  const of = async (values: Record<string, unknown>): Promise<boolean> => {
    const { id } = await h.create("network", values);
    await h.settled();
    return h.view.get(snoopedTable, id) !== undefined;
  };
  expect(await of({})).toBe(true);
  expect(await of({ "provider:network_type": "local" })).toBe(false);
});

test("a port costs three flows, one of an address of IPv6 three more, one without port security one; all go with it", async () => {
  const h = await made(true);
  const network = (await h.create("network", {})).id;
  await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
  await port(h, "hv1", network);
  const count = (): number => ours(h, "hv1").filter((f) => !f.startsWith("multicast_ports")).length;
  const before = count();
  const secured = await port(h, "hv1", network);
  expect(count() - before).toBe(3);
  await h.call("DELETE", `/v2.0/ports/${secured}`);
  await h.settled();
  expect(count()).toBe(before);
  await port(h, "hv1", network, { port_security_enabled: false, security_groups: [] });
  expect(count() - before).toBe(1);
  const types = (): number => flowsOf(h, "hv1").filter((f) => f.startsWith("port_security") && /icmp_type=(131|132|143)/.test(f)).length;
  expect(types()).toBe(0);
  await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00::/64" });
  await port(h, "hv1", network);
  expect(types()).toBe(3);
  expect(h.complaints).toEqual([]);
  expect(h.engine.conflicts).toEqual([]);
});

test("a host with a port without port security gets all of it, others what they joined", async () => {
  const h = await made(true);
  const network = (await h.create("network", {})).id;
  await port(h, "hv1", network);
  const hosts = (): string => ours(h, "hv1").find((f) => f.startsWith("multicast_hosts: priority=100"))!;
  const calls = (text: string): number => text.match(/resubmit/g)!.length;
  await port(h, "hv2", network);
  const filtered = calls(hosts());
  await port(h, "hv2", network, { port_security_enabled: false, security_groups: [] });
  expect(calls(hosts())).toBe(filtered - 1);
});

test("on hundreds of hosts, and to hundreds of ports at one, all get a copy, and one more changes a small flow", { timeout: 60_000 }, async () => {
  const { h, network } = await wide(Array.from({ length: 320 }, (_, n) => n + 1), { settings });
  open.push(h);
  await plugMany(h, network, "hv1", 11, 300);
  const frame = { eth_dst: "01:00:5e:01:02:03", eth_type: 0x800, ipv4_src: "10.0.0.5", ipv4_dst: "239.1.2.3", ip_proto: 17, ip_ttl: 5 } as const;
  expect(copiesOf(h, "hv1", frame)).toEqual({ hosts: 319, ports: 300 });
  const { byTable } = await costs(h, ["hv1", "hv2"], async () => {
    await join(h, network, [321]);
    await plugMany(h, network, "hv1", 311, 1);
  });
  expect(byTable.multicast_parts).toBeGreaterThan(0);
  for (const [table, bytes] of Object.entries(byTable)) expect(bytes, table).toBeLessThan(8192);
  expect(copiesOf(h, "hv1", frame)).toEqual({ hosts: 320, ports: 301 });
  expect([h.complaints, h.engine.conflicts]).toEqual([[], []]);
});

/** Lets seconds pass: what was asked of hosts, as `<second> <host>`, with "!" where the switch was told to filter. */
function asked(h: Harness, seconds: number): string[] {
  const out: string[] = [];
  for (let s = 1; s <= seconds; s++) {
    h.clock.advance(1000);
    for (const { app, packet } of h.sent.splice(0)) {
      if (app !== "multicast") continue;
      const { chassis, stage, registers, data } = packet as StageOut;
      if (parsePacket(data).ipv4 === undefined) continue;
      out.push(`${s} ${chassis}${stage === "locate" ? " alone" : ""}${registers.router === signal.filter ? "!" : ""}`);
    }
  }
  return out;
}

test("all are asked once in an interval; a switch is told to filter when all had time to answer while it was there; who comes is asked at once", async () => {
  const h = await made(true);
  const network = (await h.create("network", {})).id;
  await port(h, "hv1", network);
  await port(h, "hv2", network);
  const rounds = (n: number): string[][] => Array.from({ length: n }, () => asked(h, QUERY_S).flatMap((line) => (line.includes("alone") ? [] : [line.split(" ")[1]!])));
  expect(rounds(4)).toEqual([["hv1", "hv2"], ["hv1", "hv2"], ["hv1!", "hv2!"], ["hv1!", "hv2!"]]);
  // A switch that was away may have lost what it knew.
  h.away.add("hv2");
  expect(rounds(1)).toEqual([["hv1!"]]);
  h.away.delete("hv2");
  expect(rounds(3)).toEqual([["hv1!", "hv2"], ["hv1!", "hv2"], ["hv1!", "hv2!"]]);
  await port(h, "hv2", network);
  expect(asked(h, 3).filter((l) => l.includes("alone"))).toEqual(["2 hv2 alone"]);
});

test("a switch that went and came back between two questions has to be asked again; nobody is looked at in seconds when nobody is asked", async () => {
  const h = await made(true);
  const network = (await h.create("network", {})).id;
  await port(h, "hv1", network);
  await port(h, "hv2", network);
  const came = (chassis: string, startedAt: string): void => {
    const row: HostSessions = { id: chassis, openflow: true, ovsdb: true, startedAt, lostAt: undefined };
    h.facts.learn({ fact: hostSessionsTable, owner: chassis, row });
  };
  for (const host of ["hv1", "hv2"]) came(host, "2026-01-01T00:00:00.000Z");
  const round = (): string[] => asked(h, QUERY_S).flatMap((line) => (line.includes("alone") ? [] : [line.split(" ")[1]!]));
  for (let n = 0; n < 3; n++) round();
  expect(round()).toEqual(["hv1!", "hv2!"]);
  came("hv2", "2026-01-01T00:01:00.000Z");
  expect([round(), round(), round()]).toEqual([["hv1!", "hv2"], ["hv1!", "hv2"], ["hv1!", "hv2!"]]);
  // Other services look whenever they like.
  let looked = 0;
  const has = h.away.has.bind(h.away);
  vi.spyOn(h.away, "has").mockImplementation((chassis) => {
    if (new Error("who looks").stack!.includes("querier.ts")) looked++;
    return has(chassis);
  });
  const perSecond = Array.from({ length: QUERY_S }, () => {
    looked = 0;
    const lines = asked(h, 1);
    return { asks: lines.length > 0, looks: looked };
  });
  expect(perSecond.filter((s) => s.asks)).toEqual([{ asks: true, looks: 2 }]);
  expect(perSecond.filter((s) => !s.asks && s.looks > 0)).toEqual([]);
});

test("who leaves groups without end keeps no port of another project from leaving one", async () => {
  const h = await made(true);
  const network = (await h.create("network", { shared: true })).id;
  const [noisy, other] = [await port(h, "hv1", network, { project_id: "noisy" }), await port(h, "hv1", network, { project_id: "other" })];
  const leaves = async (id: string, groups: readonly string[]): Promise<void> => {
    const [at, { mac_address }] = [h.view.get(attachmentTable, id)!, h.view.get(portTable, id)!];
    const report = buildIgmp({ kind: "reportV3", records: groups.map((group) => ({ type: 3, group, sources: [] })) });
    const data = buildEthernet({ dst: "01:00:5e:00:00:16", src: mac_address, ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.5", dst: "224.0.0.22", protocol: ipProtocols.igmp, ttl: 1 }, report));
    const match = { [h.layout.register("in_port_key").field]: at.port_key, [h.layout.register("net").field]: at.net_key };
    h.packets.handle({ chassis: "hv1", inPort: at.ofport, tableId: h.layout.table("multicast_punted").id, data, match });
    await new Promise((done) => setImmediate(done));
  };
  for (let n = 0; n < 700; n++) await leaves(noisy, Array.from({ length: 16 }, (_, i) => `239.${n >> 8}.${n & 0xff}.${i}`));
  await leaves(other, ["239.250.0.1"]);
  h.sent.splice(0);
  h.clock.advance(2000);
  const left = h.sent.flatMap(({ packet }) => ((packet as StageOut).registers.router === signal.left ? [(parsePacket((packet as StageOut).data).igmp as { group: string }).group] : []));
  expect(left).toContain("239.250.0.1");
  expect(left.length).toBeLessThanOrEqual(10_000);
});
