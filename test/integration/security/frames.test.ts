// Frames that are not plain IP, ARP or neighbour discovery: with VLAN tags of any kind, 802.3 with LLC or SNAP, other EtherTypes. A tag
// passes from nobody; what a switch reads as IP through SNAP is held to anti-spoofing and policy as any IP; other EtherTypes pass between
// ports without port security alone.
// @module-tag long
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
/** With port security: who sends, and who hears, on the same host and on another; what they hear from the rest no rule allows. */
let secured: Instance;
let hears: readonly Instance[];
/** Without: who sends, and who hears, likewise. */
let open: Instance;
let openHears: readonly Instance[];

const MARK = "axion-frame-test";

beforeAll(async () => {
  cloud = await Cloud.create({ name: "frames.test" });
  net = await cloud.network("10.0.0.0/24");
  // What is sent is IPv4 and IPv6 over any protocol; what is heard, UDP to one port.
  const only = await cloud.create("security_group", { name: "only" });
  await cloud.create("security_group_rule", { security_group_id: only.id, direction: "ingress", ethertype: "IPv4", protocol: "udp", port_range_min: 4001, port_range_max: 4001 });
  const port = { security_groups: [only.id] };
  secured = await cloud.instance(cloud.hv(1), net, { port });
  hears = [await cloud.instance(cloud.hv(1), net, { port }), await cloud.instance(cloud.hv(2), net, { port })];
  const none = { port: { port_security_enabled: false, security_groups: [] } };
  open = await cloud.instance(cloud.hv(1), net, none);
  openHears = [await cloud.instance(cloud.hv(1), net, none), await cloud.instance(cloud.hv(2), net, none)];
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(/[: ]/g, ""), "hex");
const ip4 = (text: string): Buffer => Buffer.from(text.split(".").map(Number));
const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 0xff]);
const macOf = (i: Instance): string => i.port.mac_address as string;
const BROADCAST = "ff:ff:ff:ff:ff:ff";

function checksum(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += data.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An IPv4 datagram without its frame. */
function datagram(from: string, to: string, port: number): Buffer {
  const payload = Buffer.from(MARK);
  const udp = Buffer.concat([u16(4000), u16(port), u16(8 + payload.length), u16(0), payload]);
  const ip = Buffer.concat([Buffer.from([0x45, 0, 0, 20 + udp.length, 0, 1, 0, 0, 64, 17, 0, 0]), ip4(from), ip4(to)]);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([ip, udp]);
}
const arpRequest = (mac: string, ip: string, target: string): Buffer => Buffer.concat([bytes("0001080006040001"), bytes(mac), ip4(ip), Buffer.alloc(6), ip4(target), Buffer.from(MARK)]);

/** Frame: destination, source, tags (TPID and TCI), EtherType, payload. */
const frame = (to: string, from: string, tags: readonly (readonly [number, number])[], type: number, payload: Buffer): Buffer =>
  Buffer.concat([bytes(to), bytes(from), ...tags.flatMap(([tpid, tci]) => [u16(tpid), u16(tci)]), u16(type), payload]);
/** 802.3 with LLC and SNAP: length, AA-AA-03, organisation, protocol. */
const snap = (to: string, from: string, type: number, payload: Buffer, organisation = "000000"): Buffer => frame(to, from, [], 8 + payload.length, Buffer.concat([bytes("aaaa03"), bytes(organisation), u16(type), payload]));

const send = (vm: Vm, frames: readonly Buffer[]): Promise<unknown> =>
  vm.exec(["python3", "-c", `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`, ...frames.map((f) => f.toString("hex"))]);

/** How many of the frames, made for each receiver, it got: an honest datagram to it comes last and must arrive. */
async function received(from: Instance, to: readonly Instance[], make: (to: Instance) => readonly Buffer[]): Promise<number[]> {
  const captures = await Promise.all(to.map((i) => i.vm.tcpdump("-Q in -x")));
  for (const i of to) await send(from.vm, [...make(i), ...make(i).map((f) => Buffer.concat([bytes(BROADCAST), f.subarray(6)]))]);
  await until("the honest datagram", async () => {
    for (const i of to) await send(from.vm, [frame(macOf(i), macOf(from), [], 0x0800, Buffer.concat([datagram(from.ip, i.ip, 4001).subarray(0, 28), Buffer.alloc(MARK.length)]))]);
    return captures.every((c) => c.lines.some((l) => l.includes(".4001: UDP")));
  }, { intervalMs: 100, timeoutMs: 5000 });
  return Promise.all(captures.map(async (c) => count((await c.stop()).lines)));
}

/** Frames with the mark, whatever tcpdump makes of them: their bytes say it. */
function count(lines: readonly string[]): number {
  const text = lines.map((line) => (/^\s/.test(line) ? line.replace(/^\s*0x[0-9a-f]+:/, "").replaceAll(/\s/g, "") : "\n")).join("");
  return text.split("\n").filter((hex) => hex.includes(Buffer.from(MARK).toString("hex"))).length;
}

/** Tags as guests send them: of a customer, of a provider, both, of priority alone, older spellings, with the CFI bit; and a tag behind SNAP. */
const tagged = (from: Instance, to: Instance): Buffer[] => {
  const payload = datagram(from.ip, to.ip, 4001);
  const tags: (readonly [number, number])[][] = [
    [[0x8100, 100]], [[0x8100, 0]], [[0x8100, 0xe000]], [[0x8100, 0x1064]], [[0x8100, 4095]], [[0x88a8, 100]], [[0x88a8, 0]], [[0x88a8, 100], [0x8100, 200]], [[0x8100, 100], [0x8100, 200]],
    [[0x8100, 0], [0x8100, 200]], [[0x8100, 1], [0x88a8, 2]], [[0x88a8, 1], [0x88a8, 2], [0x8100, 3]], [[0x9100, 100]], [[0x9200, 100]], [[0x9300, 100], [0x8100, 200]],
  ];
  return [
    ...tags.map((t) => frame(macOf(to), macOf(from), t, 0x0800, payload)),
    frame(macOf(to), macOf(from), [[0x8100, 100]], 0x0806, arpRequest(macOf(from), from.ip, to.ip)),
    frame(macOf(to), macOf(from), [[0x88a8, 100]], 0x88b5, Buffer.from(MARK)),
    snap(macOf(to), macOf(from), 0x8100, Buffer.concat([u16(100), u16(0x0800), payload])),
  ];
};

describe("a VLAN tag of the guest's own", () => {
  test("passes from no port, with port security or without, to no port", async () => {
    expect(await received(secured, hears, (to) => tagged(secured, to))).toEqual([0, 0]);
    expect(await received(secured, openHears, (to) => tagged(secured, to))).toEqual([0, 0]);
    expect(await received(open, openHears, (to) => tagged(open, to))).toEqual([0, 0]);
    expect(await received(open, hears, (to) => tagged(open, to))).toEqual([0, 0]);
  }, 60_000);

  test("nor where a switch looks at more tags than one", async () => {
    for (const hv of cloud.hypervisors) await hv.vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2");
    expect(await received(secured, openHears, (to) => tagged(secured, to))).toEqual([0, 0]);
    expect(await received(open, openHears, (to) => tagged(open, to))).toEqual([0, 0]);
    for (const hv of cloud.hypervisors) await hv.vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit");
  }, 60_000);
});

describe("802.3 with SNAP", () => {
  test("in its own name passes as IP does: where a rule allows it", async () => {
    // Each receiver's own, and the broadcast of each.
    expect(await received(secured, hears, (to) => [snap(macOf(to), macOf(secured), 0x0800, datagram(secured.ip, to.ip, 4001))])).toEqual([3, 3]);
    expect(await received(secured, hears, (to) => [snap(macOf(to), macOf(secured), 0x0800, datagram(secured.ip, to.ip, 4002))])).toEqual([0, 0]);
    expect(await received(open, hears, (to) => [snap(macOf(to), macOf(open), 0x0800, datagram(open.ip, to.ip, 4002))])).toEqual([0, 0]);
  }, 60_000);

  test("in another's name, for an organisation's protocol, or with LLC alone: nothing of a port with port security passes", async () => {
    const forged = (to: Instance): Buffer[] => [
      snap(macOf(to), macOf(secured), 0x0800, datagram("10.0.0.66", to.ip, 4001)),
      snap(macOf(to), "fa:16:3e:66:66:66", 0x0800, datagram(secured.ip, to.ip, 4001)),
      snap(macOf(to), macOf(secured), 0x0806, arpRequest(macOf(secured), "10.0.0.66", to.ip)),
      snap(macOf(to), macOf(secured), 0x0806, arpRequest("fa:16:3e:66:66:66", secured.ip, to.ip)),
      snap(macOf(to), macOf(secured), 0x2000, Buffer.from(MARK.repeat(3)), "00000c"),
      frame(macOf(to), macOf(secured), [], 3 + 3 * MARK.length, Buffer.concat([bytes("424203"), Buffer.from(MARK.repeat(3))])),
    ];
    expect(await received(secured, [...hears, ...openHears], forged)).toEqual([0, 0, 0, 0]);
  }, 60_000);
});

describe("an EtherType other than IP and ARP", () => {
  const others = (from: Instance, to: Instance): Buffer[] => [
    frame(macOf(to), macOf(from), [], 0x88b5, Buffer.from(MARK.repeat(3))), // local experiments
    frame(macOf(to), macOf(from), [], 0x88cc, Buffer.from(MARK.repeat(3))), // LLDP
    frame(macOf(to), macOf(from), [], 0x8035, arpRequest(macOf(from), from.ip, to.ip)), // RARP
    frame(macOf(to), macOf(from), [], 0x8847, Buffer.concat([bytes("00064140"), datagram(from.ip, to.ip, 4001)])), // MPLS
    frame(macOf(to), macOf(from), [], 0x8864, Buffer.concat([bytes("110000010030 0021"), datagram(from.ip, to.ip, 4001)])), // PPPoE
    frame(macOf(to), macOf(from), [], 0x894f, Buffer.from(MARK.repeat(3))), // NSH
  ];

  test("passes from no port with port security", async () => {
    expect(await received(secured, [...hears, ...openHears], (to) => others(secured, to))).toEqual([0, 0, 0, 0]);
  }, 60_000);

  test("passes between ports without, and reaches none with it", async () => {
    // Each receiver's own, and the broadcast of each.
    const each = others(open, openHears[0]!).length;
    expect(await received(open, openHears, (to) => others(open, to))).toEqual([3 * each, 3 * each]);
    expect(await received(open, hears, (to) => others(open, to))).toEqual([0, 0]);
  }, 60_000);
});
