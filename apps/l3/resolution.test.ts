// Who is asked for a neighbour, who waits, and what switches are told, through the real engine: of many that want it, no one takes all.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { buildEthernet, buildIpv4, buildUdp, ethertypes, ipProtocols, parsePacket } from "packet-codec";
import { chassisTable, learned, type StageOut } from "#app";
import { Share } from "../../src/services/share.ts";
import { appsFolder, Harness } from "../../test/support/harness.ts";
import { addressId, heardNeighbourTable, mayClaim, networkTable, portTable } from "../l2/model.ts";
import { routerTable, undelivered } from "./model.ts";

let h: Harness;
let near: string;
let far: string;
let router: string;
let ofport: number;

beforeEach(async () => {
  h = await Harness.make();
  ofport = 1;
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  await networks();
});
async function networks(): Promise<void> {
  [near, far] = [(await h.create("network", { shared: true })).id, (await h.create("network", {})).id];
  router = (await h.create("router", {})).id;
  for (const [network_id, cidr] of [[near, "10.0.0.0/16"], [far, "10.1.0.0/16"]]) {
    const { id: subnet_id } = await h.create("subnet", { network_id, ip_version: 4, cidr });
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id })).status).toBe(200);
  }
  await h.settled();
}
afterEach(async () => {
  vi.restoreAllMocks();
  expect(h.complaints).toEqual([]);
  await h.close();
});

/** A port on a host; its id. */
async function port(host: string, network: string, values: Record<string, unknown> = {}): Promise<string> {
  const { id } = await h.create("port", { network_id: network, ...values });
  await h.plug(host, id, ofport++);
  return id;
}
/** Ports that send, of a project. */
async function senders(project: string, count: number): Promise<string[]> {
  const ports = await Promise.all(Array.from({ length: count }, () => port("hv1", near, { project_id: project })));
  await h.settled();
  return ports;
}

/** A packet of a port for an address that its router has to ask for. */
async function sent(from: string, ip: string): Promise<void> {
  const of = h.view.get(portTable, from)!;
  const src = (await h.call("GET", `/v2.0/ports/${from}`)).body.port.fixed_ips[0].ip_address as string;
  const data = buildEthernet({ dst: "00:00:00:00:00:00", src: "fa:16:3e:00:00:fe", ethertype: ethertypes.ipv4 }, buildIpv4({ src, dst: ip, protocol: ipProtocols.udp, ttl: 63 }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(8), { src, dst: ip })));
  const match: Record<string, number> = {};
  const load = (name: string, value: number, word = h.layout.register(name).field): void => {
    match[word] = (match[word] ?? 0) + value * 2 ** (h.layout.register(name).ofs % 32);
  };
  load("in_port_key", of.key);
  load("net", h.view.get(networkTable, far)!.key);
  load("router", h.view.get(routerTable, router)!.key);
  load("undelivered", undelivered.unresolved);
  match[`reg${4 * Number(h.layout.register("nexthop").field.slice(5)) + 3}`] = ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  h.packets.handle({ chassis: "hv1", inPort: 1, tableId: h.layout.table("l3_undelivered").id, data, match });
  await new Promise((done) => setImmediate(done));
  await new Promise((done) => setImmediate(done));
}
/** What was sent since: questions, what switches were told (`<address> at <MAC>`), packets that went on and whose, errors. */
function said(): { asked: string[]; told: string[]; forwarded: string[]; of: Set<string>; errors: string[] } {
  const all = { asked: [] as string[], told: [] as string[], forwarded: [] as string[], of: new Set<string>(), errors: [] as string[] };
  for (const { app, packet } of h.sent.splice(0)) {
    if (app !== "l3") continue;
    const { stage, registers, data } = packet as StageOut;
    const { eth, arp, ipv4, icmpv4 } = parsePacket(data);
    if (arp !== undefined) all.asked.push(arp.tpa);
    else if (stage === "neighbour") all.told.push(`${String(registers.nexthop)} at ${eth.src}`);
    else if (icmpv4 !== undefined) all.errors.push(ipv4!.dst);
    else {
      all.forwarded.push(ipv4!.dst);
      all.of.add(ipv4!.src);
    }
  }
  return all;
}
const HEARD = "fa:16:3e:00:00:77";
const hear = (from: string, ip: string, mac = HEARD): void => h.packets.learn([learned(heardNeighbourTable, from, { id: addressId(far, ip), mac, port_id: from, project_id: h.view.get(portTable, from)?.project_id ?? "" })]);
const anything = { port_security_enabled: false, security_groups: [] };
const address = (n: number): string => `10.1.${1 + Math.floor(n / 200)}.${1 + (n % 200)}`;

describe("neighbours that are asked for", () => {
  it("one project cannot keep another from it, however many addresses nobody answers for it looks for", async () => {
    await port("hv2", far, anything);
    const [many, [other]] = [await senders("greedy", 33), await senders("honest", 1)];
    for (const [i, from] of many.entries()) for (let n = 0; n < 32; n++) await sent(from, address(32 * i + n));
    expect(said().asked).toHaveLength(1024);
    await sent(other!, "10.1.200.1");
    expect(said().asked).toEqual(["10.1.200.1"]);
    // And the first has no more than before.
    await sent(many[32]!, "10.1.200.2");
    expect(said().asked).toEqual([]);
  }, 60_000);

  it("packets that wait for one neighbour are those of all who look for it", async () => {
    const holder = await port("hv2", far, anything);
    const [[greedy], [other]] = [await senders("greedy", 1), await senders("honest", 1)];
    for (let n = 0; n < 20; n++) await sent(greedy!, "10.1.0.77");
    await sent(other!, "10.1.0.77");
    hear(holder, "10.1.0.77");
    said();
    h.clock.advance(100);
    const { told, forwarded, errors, of } = said();
    expect(of.size, "of both").toBe(2);
    expect([new Set(told), forwarded, errors]).toEqual([new Set([`10.1.0.77 at ${HEARD}`]), Array<string>(8).fill("10.1.0.77"), []]);
    await sent(other!, "10.1.0.78");
    h.clock.advance(4000);
    expect(said().errors, "nobody answered").toHaveLength(1);
  });
});

describe("of several controllers", () => {
  it("one that is the master of no host with the network asks each of these by the host that the packet is at", async () => {
    await h.close();
    // "a" is the master of hv1, and another one of hv2 and hv3.
    h = await Harness.make([], appsFolder, { share: Object.assign(new Share("a", () => ["a"]), { masters: (id: string) => id === "hv1" }) });
    for (const host of ["hv1", "hv2", "hv3"]) await h.addChassis(host);
    await networks();
    for (const host of ["hv2", "hv3"]) await port(host, far, anything);
    const [from] = await senders("one", 1);
    await sent(from!, "10.1.0.77");
    const questions = h.sent.splice(0).filter(({ app }) => app === "l3").map(({ packet }) => packet as StageOut);
    expect(questions.map(({ chassis, stage, registers, data }) => [chassis, stage, registers.out_host, parsePacket(data).arp?.tpa])).toEqual(
      ["hv2", "hv3"].map((id) => ["hv1", "locate", h.view.get(chassisTable, id)!.key, "10.1.0.77"]));
    // And by one of its own where there is one.
    await port("hv1", far, anything);
    await h.settled();
    await sent(from!, "10.1.0.78");
    expect(h.sent.splice(0).filter(({ app }) => app === "l3").map(({ packet }) => [packet.chassis, (packet as StageOut).stage])).toEqual([["hv1", "forward"]]);
  });
});

describe("a switch that another controller was the master of", () => {
  it("is told what it may have been told before, and may believe still", async () => {
    await h.close();
    const mine = new Set(["hv1"]);
    const listeners = new Set<() => void>();
    const changed = (): void => listeners.forEach((listener) => listener());
    h = await Harness.make([], appsFolder, { share: Object.assign(new Share("a", () => ["a"], (listener) => (listeners.add(listener), () => undefined)), { masters: (id: string) => mine.has(id) }) });
    for (const host of ["hv1", "hv2"]) await h.addChassis(host);
    await networks();
    const holder = await port("hv1", far, anything);
    for (const host of ["hv1", "hv2"]) await port(host, near);
    await h.settled();
    changed();
    hear(holder, "10.1.0.77");
    const told = async (): Promise<string[]> => {
      await h.clock.run(2500);
      await h.settled();
      return h.sent.splice(0).filter(({ app, packet }) => app === "l3" && (packet as StageOut).stage === "neighbour").map(({ packet }) => packet.chassis);
    };
    // Longer than a switch believes it after the start.
    await h.clock.run(310_000);
    expect(await told()).toEqual(["hv1"]);
    hear(holder, "10.1.0.77");
    expect(await told()).toEqual([]);
    mine.add("hv2");
    changed();
    expect(await told()).toEqual(["hv2"]);
    expect(await told(), "once").toEqual([]);
    hear(holder, "10.1.0.77", "fa:16:3e:00:00:78");
    expect(await told()).toEqual(["hv2"]);
  });
});

describe("who may have an address", () => {
  it("is looked for once for all packets that wait for it, and what pairs name is parsed once", async () => {
    const prefix = { ip_address: "10.1.0.0/24" };
    for (let n = 0; n < 5; n++) await port("hv2", far, { allowed_address_pairs: [prefix] });
    await senders("one", 1);
    const [from] = await senders("one", 1);
    const reads = vi.spyOn(h.view, "by");
    const looked = (): number => reads.mock.calls.filter(([, index]) => index === "prefix_pairs").length;
    await sent(from!, "10.1.0.77");
    const first = looked();
    expect(first).toBeGreaterThan(0);
    for (let n = 0; n < 20; n++) await sent(from!, "10.1.0.77");
    expect(looked(), "nor for any more packets").toBe(first);

    let read = 0;
    const counted = { get ip_address() { read++; return "10.1.0.0/24"; }, mac_address: "" };
    const holder = { ...h.view.get(portTable, from!)!, allowed_address_pairs: [counted] };
    for (let n = 0; n < 100; n++) expect(mayClaim(holder, `10.1.${n % 2}.9`)).toBe(n % 2 === 0);
    expect(read).toBe(1);
  });
});

describe("what switches are told", () => {
  it("of one port so much, of which each project that sends there has its share; what they are not told of is reached all the same", async () => {
    const holder = await port("hv2", far, anything);
    const [[greedy], [other]] = [await senders("greedy", 1), await senders("honest", 1)];
    for (let n = 0; n < 70; n++) {
      hear(holder, address(n));
      await sent(greedy!, address(n));
    }
    const first = said();
    expect([first.told.length, first.forwarded.length, first.errors]).toEqual([64, 70, []]);
    // The other displaces what the first was told longest ago: the switch sends that here again.
    for (let n = 100; n < 140; n++) {
      hear(holder, address(n));
      await sent(other!, address(n));
    }
    const second = said();
    const displaced = Array.from({ length: 32 }, (_, n) => `${address(n)} at 00:00:00:00:00:00`);
    expect(second.told.filter((t) => t.endsWith("00:00:00:00:00:00"))).toEqual(displaced);
    expect(second.told.length - displaced.length).toBe(32);
    expect([second.forwarded.length, second.errors]).toEqual([40, []]);
    // Of another port there is as much again.
    const second_port = await port("hv2", far, anything);
    await h.settled();
    hear(second_port, "10.1.0.99");
    await sent(greedy!, "10.1.0.99");
    expect(said().told).toEqual([`10.1.0.99 at ${HEARD}`]);
  });

  it("of what was told some is looked at each time, what waits longest first; who was told is told of another holder soon", { tags: "long", timeout: 300_000 }, async () => {
    const holders = await Promise.all(Array.from({ length: 20 }, () => port("hv2", far, anything)));
    const [from] = await senders("one", 1);
    for (const [i, holder] of holders.entries()) for (let n = 0; n < 64; n++) hear(holder, address(64 * i + n));
    for (let n = 0; n < 1280; n++) await sent(from!, address(n));
    expect(said().told).toHaveLength(1280);
    // Past what is said after the start.
    h.clock.advance(200_000);
    for (const [i, holder] of holders.entries()) for (let n = 0; n < 64; n++) hear(holder, address(64 * i + n));
    for (let n = 0; n < 1280; n++) await sent(from!, address(n));
    h.clock.advance(101_000);
    said();
    const looks = vi.spyOn(h.facts, "fact");
    h.clock.advance(100);
    expect(looks.mock.calls.length).toBeLessThanOrEqual(2 * 512);
    expect(looks.mock.calls.length).toBeGreaterThanOrEqual(512);
    hear(holders[0]!, address(3), "fa:16:3e:00:00:78");
    h.clock.advance(300);
    expect(said().told).toEqual([`${address(3)} at fa:16:3e:00:00:78`]);
    h.clock.advance(300_000);
    looks.mockClear();
    h.clock.advance(10_000);
    expect(looks.mock.calls, "nothing is believed any more").toEqual([]);
  });

  it("after the start what is heard is told to whoever may have asked, and that is looked at once a second", async () => {
    const holder = await port("hv2", far, anything);
    await senders("one", 1);
    h.clock.advance(1000);
    said();
    const looks = vi.spyOn(h.facts, "facts");
    hear(holder, "10.1.0.77");
    h.clock.advance(1100);
    expect(said().told).toEqual([`10.1.0.77 at ${HEARD}`, `10.1.0.77 at ${HEARD}`]);
    h.clock.advance(10_000);
    expect(looks.mock.calls.length).toBeLessThanOrEqual(12);
    expect(said().told, "and not again").toEqual([]);
  });
});
