// Neighbour discovery is for the link: from the sender's own addresses, no longer than it has to be, never routed. No message of it is a way
// past anti-spoofing, and none past policy to another network. Whoever speaks here has no rule that lets it say anything, whoever hears none that lets it hear.
import { setTimeout as sleep } from "node:timers/promises";
import { buildEthernet, buildIcmpv6, buildIpv6, ethertypes, ipProtocols, linkLocal } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { frames as framesOf, icmp } from "../../support/api/raw.ts";

const FOREIGN = "fd00:bad::1";
const PAYLOAD = Buffer.alloc(400, "free words ");
const bytes = (ip: string): Buffer => {
  const [head, tail = ""] = ip.split("::") as [string, string?];
  const words = (text: string): number[] => (text === "" ? [] : text.split(":").map((w) => parseInt(w, 16)));
  const [front, back] = [words(head), words(tail)];
  return Buffer.from([...front, ...Array<number>(8 - front.length - back.length).fill(0), ...back].flatMap((w) => [w >> 8, w & 0xff]));
};
const mac = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
const option = (type: number, address: string): Buffer => Buffer.concat([Buffer.from([type, 1]), mac(address)]);

interface Said {
  readonly type: number;
  readonly code?: number;
  readonly hop?: number;
  /** Ethernet, and IPv6. */
  readonly from: readonly [mac: string, ip: string];
  readonly to: readonly [mac: string, ip: string];
  readonly target?: string;
  readonly rest?: readonly Buffer[];
}

function frame({ type, code = 0, hop = 255, from, to, target, rest = [] }: Said): Buffer {
  const ends = { src: from[1], dst: to[1] };
  const body = Buffer.concat([Buffer.from(type === 136 ? [0x60, 0, 0, 0] : [0, 0, 0, 0]), ...(target === undefined ? [] : [bytes(target)]), ...rest]);
  const ip = buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: hop }, buildIcmpv6({ type, code }, body, ends));
  return buildEthernet({ dst: to[0], src: from[0], ethertype: ethertypes.ipv6 }, ip);
}

let cloud: Cloud;
let nets: readonly [Net, Net];
let mallory: Instance;
/** In mallory's network on either host, and in the other one. */
let near: readonly Instance[];
let far: readonly Instance[];
let router: string;

const v6Of = (port: Resource): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const macOf = (i: Instance): string => i.port.mac_address as string;

beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2 });
  const make = async (cidr: string): Promise<Net> => {
    const network = await cloud.create("network", { name: cidr });
    return { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr }) };
  };
  nets = [await make("fd00:c1::/64"), await make("fd00:c2::/64")];
  await cloud.router(nets);
  const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] };
  router = legs.ports[0]!.mac_address as string;
  const none = await cloud.create("security_group", { name: "none" });
  const rules = (await cloud.call("GET", `/v2.0/security-group-rules?security_group_id=${none.id}`)).body.security_group_rules as unknown as Resource[];
  for (const { id } of rules) await cloud.remove("security_group_rule", id);
  const at = (hv: number, net: Net): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { port: { security_groups: [none.id] } });
  mallory = await at(1, nets[0]);
  // Its kernel goes on soliciting routers, ever more seldom: what arrives is to be what the tests send.
  await mallory.vm.exec(["sysctl", "-qw", "net.ipv6.conf.eth0.router_solicitations=0"]);
  near = [await at(1, nets[0]), await at(2, nets[0])];
  far = [await at(1, nets[1]), await at(2, nets[1])];
  await cloud.synced();
  // Nobody but the test speaks: it counts what arrives.
  await sleep(1000);
});
afterAll(async () => {
  await cloud.destroy();
});

async function send(from: Instance, frames: readonly Buffer[]): Promise<void> {
  const program = `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`;
  await from.vm.exec(["python3", "-c", program, ...frames.map((f) => f.toString("hex"))]);
}

const me = (): readonly [string, string] => [macOf(mallory), v6Of(mallory.port)];
const ll = (): readonly [string, string] => [macOf(mallory), linkLocal(macOf(mallory))];
const ALL_NODES = ["33:33:00:00:00:01", "ff02::1"] as const;
const honest = (): Said => ({ type: 136, from: me(), to: ALL_NODES, target: me()[1], rest: [option(2, me()[0])] });
const tcpdumpWords = /neighbor|router|ICMP6|frag|HBH|ip-proto|options/;

/** What arrives at each of these of the frames: lines of a capture, the honest advertisement that comes last left out. */
async function arriving(frames: readonly Buffer[], at: readonly Instance[] = [...near, ...far]): Promise<string[]> {
  const captures = await Promise.all(at.map(({ vm }) => vm.tcpdump("-Q in ip6")));
  await send(mallory, frames);
  const heard = (i: number): boolean => captures[i]!.lines.some((line) => line.includes(`${me()[0]} >`) && line.includes("neighbor advertisement"));
  await until("the honest advertisement", async () => {
    await send(mallory, [frame(honest())]);
    return at.every((instance, i) => !near.includes(instance) || heard(i));
  }, { timeoutMs: 5000 });
  await sleep(300);
  const lines: string[] = [];
  for (const [i, capture] of captures.entries()) {
    const isHonest = (line: string): boolean => near.includes(at[i]!) && line.includes(`${me()[0]} >`) && line.includes(`${me()[1]} > ff02::1: ICMP6, neighbor advertisement`) && line.endsWith("length 32");
    lines.push(...(await capture.stop()).lines.filter((line) => tcpdumpWords.test(line) && !isHonest(line)).map((line) => `${at[i]!.ip}: ${line}`));
  }
  return lines;
}

/** From no address, to the group of one that nobody has: what is behind the target, if that is there at all. */
const probing = (...rest: Buffer[]): Buffer => frame({ type: 135, from: [me()[0], "::"], to: ["33:33:ff:00:00:01", "ff02::1:ff00:1"], target: FOREIGN, rest });
/** Each in a form that no host has to believe: options twice, of no MAC or of another length, cut off, in the second fragment (RFC 6980). */
const illFormed = (): readonly [string, Buffer[]][] => {
  const [own, other] = [me()[0], macOf(near[0]!)];
  const fragments = (type: number, option_: Buffer): Buffer[] => {
    const ends = { srcMac: own, dstMac: ALL_NODES[0], src: me()[1], dst: ALL_NODES[1] };
    const whole = icmp(ends, type, Buffer.concat([Buffer.from(type === 136 ? "20000000" : "00000000", "hex"), bytes(me()[1]), option_]));
    return framesOf(ends, whole, [[0, 24], [24, 32]]);
  };
  const solicitation = (...rest: Buffer[]): Buffer => frame({ type: 135, from: me(), to: ALL_NODES, target: FOREIGN, rest });
  const advertisement = (...rest: Buffer[]): Buffer => frame({ type: 136, from: me(), to: ALL_NODES, target: me()[1], rest });
  return [
    ["a probe with an option", [probing(option(1, own))]],
    ["a probe with two", [probing(option(1, own), option(1, other)), probing(option(1, own), option(1, own))]],
    ["a probe with one of no MAC", [probing(option(1, NO_MAC)), probing(option(1, NO_MAC), option(1, NO_MAC))]],
    ["a probe that is cut off", [frame({ type: 135, from: [own, "::"], to: ["33:33:ff:00:00:01", "ff02::1:ff00:1"], rest: [bytes(FOREIGN).subarray(0, 8)] })]],
    ["a solicitation with two options", [solicitation(option(1, own), option(1, other)), solicitation(option(1, other), option(1, own)), solicitation(option(1, own), option(1, own))]],
    ["a solicitation that is cut off", [frame({ type: 135, from: me(), to: ALL_NODES, rest: [bytes(FOREIGN).subarray(0, 8)] })]],
    ["an advertisement with two options", [advertisement(option(2, own), option(2, other)), advertisement(option(2, own), option(2, own))]],
    ["an advertisement that is cut off", [frame({ type: 136, from: me(), to: ALL_NODES, rest: [bytes(me()[1]).subarray(0, 8)] })]],
    ["an advertisement from no address", [frame({ type: 136, from: [own, "::"], to: ALL_NODES, target: me()[1], rest: [option(2, own)] })]],
    ["options in a second fragment", [...fragments(135, option(1, other)), ...fragments(136, option(2, other))]],
  ];
};
const NO_MAC = "00:00:00:00:00:00";

describe("what is not neighbour discovery of this link goes nowhere", () => {
  /** To the router's MAC and a VM behind it, and to VMs on the link. */
  const everywhere = (said: Omit<Said, "to">): Buffer[] => [
    ...far.flatMap((f) => [frame({ ...said, to: [router, v6Of(f.port)] })]),
    ...near.flatMap((n) => [frame({ ...said, to: [macOf(n), v6Of(n.port)] }), frame({ ...said, to: [macOf(n), ALL_NODES[1]] })]),
    frame({ ...said, to: ALL_NODES }),
  ];
  const own = (): { target: string; rest: Buffer[] } => ({ target: me()[1], rest: [option(2, me()[0])] });

  test.each<[string, () => Buffer[]]>([
    ["an advertisement of its own address from another's", () => everywhere({ type: 136, from: [me()[0], FOREIGN], ...own() })],
    ["the same with words in it", () => everywhere({ type: 136, from: [me()[0], FOREIGN], target: me()[1], rest: [option(2, me()[0]), PAYLOAD] })],
    ["an advertisement with words in it from its own", () => everywhere({ type: 136, from: me(), target: me()[1], rest: [option(2, me()[0]), PAYLOAD] })],
    ["words as an option nobody knows", () => everywhere({ type: 136, from: me(), target: me()[1], rest: [option(2, me()[0]), Buffer.concat([Buffer.from([200, 50]), PAYLOAD.subarray(2)])] })],
    ["of another's address", () => everywhere({ type: 136, from: me(), target: v6Of(near[0]!.port), rest: [option(2, me()[0])] })],
    ["of its own with another's MAC", () => everywhere({ type: 136, from: me(), target: me()[1], rest: [option(2, macOf(near[0]!))] })],
    ["from a neighbour's address", () => everywhere({ type: 136, from: [me()[0], v6Of(near[0]!.port)], ...own() })],
    ["from no address", () => everywhere({ type: 136, from: [me()[0], "::"], ...own() })],
    ["that crossed a router", () => everywhere({ type: 136, hop: 64, from: me(), ...own() })],
    ["of another code", () => everywhere({ type: 136, code: 1, from: me(), ...own() })],
    ["a solicitation from no address to one alone", () => [
      ...far.map((f) => frame({ type: 135, from: [me()[0], "::"], to: [router, v6Of(f.port)], target: v6Of(f.port) })),
      ...near.map((n) => frame({ type: 135, from: [me()[0], "::"], to: [macOf(n), v6Of(n.port)], target: FOREIGN })),
    ]],
    ["with words in it", () => everywhere({ type: 135, from: me(), target: FOREIGN, rest: [option(1, me()[0]), PAYLOAD] })],
    ["from no address with words in it", () => [frame({ type: 135, from: [me()[0], "::"], to: [router, "ff02::1:ff00:1"], target: FOREIGN, rest: [PAYLOAD] })]],
    ["from no address with an option that says it has one", () => [frame({ type: 135, from: [me()[0], "::"], to: ["33:33:ff:00:00:01", "ff02::1:ff00:1"], target: FOREIGN, rest: [option(1, me()[0])] })]],
    ["from another's", () => everywhere({ type: 135, from: [me()[0], FOREIGN], target: FOREIGN, rest: [option(1, me()[0])] })],
    ["of another's MAC", () => everywhere({ type: 135, from: me(), target: FOREIGN, rest: [option(1, macOf(near[0]!))] })],
    ["of another code or hop limit", () => [...everywhere({ type: 135, code: 3, from: me(), target: FOREIGN }), ...everywhere({ type: 135, hop: 254, from: me(), target: FOREIGN })]],
    ["a router solicitation to one alone, or from another's, or with words in it", () => [
      ...everywhere({ type: 133, from: me() }),
      frame({ type: 133, from: [me()[0], FOREIGN], to: ["33:33:00:00:00:02", "ff02::2"] }),
      frame({ type: 133, from: ll(), to: [router, "ff02::2"], rest: [PAYLOAD] }),
    ]],
    ["an advertisement of a router, a redirect", () => [...everywhere({ type: 134, from: ll(), rest: [Buffer.alloc(8)] }), ...everywhere({ type: 137, from: ll(), target: me()[1], rest: [bytes(FOREIGN)] })]],
  ])("%s", async (_, frames) => {
    expect(await arriving(frames())).toEqual([]);
  });

  test("options that are not as they have to be", { tags: "long" }, async () => {
    for (const [what, frames] of illFormed()) expect(await arriving(frames), what).toEqual([]);
    // Where the switch shows no option there may be one all the same that it does not read: of length 0 or 2, longer than the packet.
    const [own, other] = [me()[0], mac(macOf(near[0]!))];
    const hidden = [
      [Buffer.from([1, 0]), other, option(1, macOf(near[0]!))],
      [Buffer.from([1, 2]), other, Buffer.alloc(8)],
      [Buffer.from([200, 0]), Buffer.alloc(6), option(1, macOf(near[0]!))],
      [option(1, NO_MAC)],
      [option(1, NO_MAC), option(1, NO_MAC)],
    ];
    for (const rest of hidden) {
      const solicitation = frame({ type: 135, from: me(), to: ALL_NODES, target: FOREIGN, rest });
      const advertisement = frame({ type: 136, from: me(), to: ALL_NODES, target: me()[1], rest: rest.map((part) => (part[0] === 1 ? Buffer.concat([Buffer.from([2]), part.subarray(1)]) : part)) });
      expect(await arriving([solicitation, advertisement, probing(...rest)]), `${own}: ${Buffer.concat(rest).toString("hex")}`).toEqual([]);
    }
  });

  test("nor of a port that may have any address, as a pair or without port security", { tags: "long", timeout: 90_000 }, async () => {
    const groups = mallory.port.security_groups as string[];
    for (const [given, back] of [
      [{ allowed_address_pairs: [{ ip_address: "::/0" }] }, { allowed_address_pairs: [] }],
      [{ security_groups: [], port_security_enabled: false }, { port_security_enabled: true, security_groups: groups }],
    ]) {
      await cloud.update("port", mallory.port.id, given!);
      await cloud.synced();
      for (const [what, frames] of illFormed()) expect(await arriving(frames), `${what}: ${JSON.stringify(given)}`).toEqual([]);
      await cloud.update("port", mallory.port.id, back!);
      await cloud.synced();
    }
  });
});

describe("what is arrives on the link, and nowhere else", () => {
  test("an unasked advertisement, of either address, from either", async () => {
    for (const from of [me(), ll()]) for (const target of [me()[1], ll()[1]]) {
      const lines = await arriving([frame({ type: 136, from, to: ALL_NODES, target, rest: [option(2, me()[0]), option(14, "00:01:02:03:04:05")] })]);
      expect(lines.map((line) => line.split(": ")[0]).sort(), lines.join("\n")).toEqual(near.map((n) => n.ip).sort());
    }
  });

  test("an answer to one that asked, without the option too; to the router's MAC it ends there", async () => {
    const [n] = near as [Instance, Instance];
    expect(await arriving([frame({ type: 136, from: me(), to: [macOf(n), v6Of(n.port)], target: me()[1] })])).toHaveLength(1);
    expect(await arriving(far.map((f) => frame({ type: 136, from: me(), to: [router, v6Of(f.port)], target: me()[1], rest: [option(2, me()[0])] })))).toEqual([]);
  });

  test("who looks for a duplicate asks its group, wherever the frame was sent to", async () => {
    const probe = (to: string, ...rest: Buffer[]): Buffer => frame({ type: 135, from: [me()[0], "::"], to: [to, "ff02::1:ff00:abcd"], target: "fd00:c1::abcd", rest });
    for (const to of ["33:33:ff:00:ab:cd", router, macOf(far[0]!)]) {
      // The nonce of RFC 7527, as Linux sends it.
      const lines = await arriving([probe(to, option(14, "01:02:03:04:05:06"))]);
      expect(lines.map((line) => line.split(": ")[0]).sort(), lines.join("\n")).toEqual(near.map((n) => n.ip).sort());
      for (const line of lines) expect(line).toContain("> 33:33:ff:00:ab:cd");
    }
  });

  test("the kernel's own: an address that is set by hand is probed for, used, and found", async () => {
    const extra = "fd00:c1::77";
    await cloud.update("port", mallory.port.id, { allowed_address_pairs: [{ ip_address: extra }] });
    await cloud.synced();
    await mallory.vm.configure(`addr add ${extra}/64 dev eth0`);
    await until("the end of the probe", async () => (await mallory.vm.addresses()).includes(`${extra}/64`), { timeoutMs: 5000 });
  });
});

describe("ARP", () => {
  test("with words behind it goes nowhere; as it is, it does", async () => {
    const four = await cloud.create("subnet", { network_id: nets[0].network.id, ip_version: 4, cidr: "10.9.0.0/24" });
    const at = async (hv: number): Promise<Instance> => cloud.instance(cloud.hv(hv), { network: nets[0].network, subnet: four }, { port: { fixed_ips: [{ subnet_id: four.id }] } });
    const [a, b] = [await at(1), await at(2)];
    const arp = (padding: number): Buffer => Buffer.concat([
      mac("ff:ff:ff:ff:ff:ff"), mac(macOf(a)), Buffer.from("08060001080006040001", "hex"), mac(macOf(a)), Buffer.from(a.ip.split(".").map(Number)), Buffer.alloc(6), Buffer.from([10, 9, 0, 200]), Buffer.alloc(padding),
    ]);
    const capture = await b.vm.tcpdump("-Q in arp and ether src " + macOf(a));
    await send(a, [arp(400), arp(30), arp(0), arp(18)]);
    await until("the short ones", () => Promise.resolve(capture.lines.length >= 2));
    await sleep(300);
    expect((await capture.stop()).lines.map((line) => Number(/length (\d+): /.exec(line)?.[1]))).toEqual([42, 60]);
  });
});
