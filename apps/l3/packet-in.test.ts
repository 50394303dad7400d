import { pino } from "pino";
import { describe, expect, it } from "vitest";
import {
  buildEthernet, buildIcmpv4, buildIcmpv6, buildIpv4, buildIpv6, buildTcp, buildUdp, ethertypes, ipProtocols, parseIpv4, parseIpv6, parsePacket, tcpFlags, type EthernetHeader,
  type Ipv4Header,
} from "packet-codec";
import { chassisTable, type AnyTable, type PacketIn, type Row, type StageOut } from "#app";
import { Layer } from "../../src/model/rows.ts";
import { networkTable, portTable } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { legTable, routerTable, undelivered } from "./model.ts";
import { l3Punt } from "./packet-in.ts";

const VM = "fa:16:3e:00:00:01";
const ROUTER = "fa:16:3e:00:00:fe";
const log = pino({ level: "silent" });
const registers = { in_port_key: 17, net: 100, router: 3 };

/** VM 10.0.0.10 and fd00::10 on a network with a router of two addresses each; a second router and a transit network. */
function cloud(): Layer {
  const view = new Layer();
  const put = (table: AnyTable, row: Row & Record<string, unknown>): void => view.put(table, row);
  put(chassisTable, { id: "hv1", hostname: "hv1", key: 1, encap_ip: "192.0.2.1", encap_types: ["geneve"], bridge_mappings: {} });
  put(networkTable, { id: "net", key: 100 });
  put(networkTable, { id: "transit", key: 200 });
  const subnets: [string, string][] = [["v4", "10.0.0.0/24"], ["v4b", "10.1.0.0/24"], ["v6", "fd00::/64"], ["t", "172.16.0.0/24"]];
  for (const [id, cidr] of subnets) put(subnetTable, { id, cidr, network_id: id === "t" ? "transit" : "net" });
  put(portTable, { id: "vm", key: 17, network_id: "net", mac_address: VM, device_owner: "", allowed_address_pairs: [], device_id: "" });
  const router = (id: string, key: number, port: string, network: string, mac: string, addresses: [string, string][]): void => {
    put(routerTable, { id, key });
    put(portTable, { id: port, key: key + 50, network_id: network, mac_address: mac, device_owner: "network:router_interface", allowed_address_pairs: [], device_id: id });
    put(legTable, { id: port, router_id: id, network_id: network, mac, addresses: addresses.map(([subnet, ip]) => ({ ip, cidr: subnets.find(([s]) => s === subnet)![1] })), enter: true });
  };
  router("r", 3, "rif", "net", ROUTER, [["v4b", "10.1.0.1"], ["v4", "10.0.0.1"], ["v6", "fd00::1"]]);
  router("r2", 4, "rif2", "transit", "fa:16:3e:00:00:fd", [["t", "172.16.0.2"]]);
  return view;
}

const send = (data: Uint8Array, regs: Record<string, number> = registers, view = cloud()): readonly StageOut[] => {
  const packet: PacketIn = { chassis: "hv1", inPort: 5, table: "ttl", data, register: ((name: string) => regs[name] ?? 0) };
  return l3Punt(packet, view, log);
};

const ends4 = { src: "10.0.0.10", dst: "10.2.0.1" };
const ends6 = { src: "fd00::10", dst: "fd00:2::1" };
const probe4 = (header: Partial<Ipv4Header> = {}, payload = buildUdp({ src_port: 40000, dst_port: 33434 }, Buffer.alloc(32, 0xab), ends4)): Buffer =>
  buildIpv4({ ...ends4, protocol: ipProtocols.udp, ttl: 1, ...header }, payload);
const probe6 = (ends = ends6): Buffer => buildIpv6({ ...ends, next_header: ipProtocols.udp, hop_limit: 1 }, buildUdp({ src_port: 40000, dst_port: 33434 }, Buffer.alloc(32, 0xab), ends));
const frame4 = (ip: Uint8Array, eth: Partial<EthernetHeader> = {}): Buffer => buildEthernet({ dst: ROUTER, src: VM, ethertype: ethertypes.ipv4, ...eth }, ip);
const frame6 = (ip: Uint8Array): Buffer => buildEthernet({ dst: ROUTER, src: VM, ethertype: ethertypes.ipv6 }, ip);
/** The fragment field written over a built packet. */
const fragment = (ip: Buffer, field: number): Buffer => {
  ip.writeUInt16BE(field, 6);
  return ip;
};

describe("time exceeded", () => {
  it("for IPv4 comes from the router's address next to the sender and quotes the packet", () => {
    const ip = probe4();
    const [out, ...more] = send(frame4(Buffer.concat([ip, Buffer.alloc(6)]))); // Ethernet padding is not quoted
    expect(more).toEqual([]);
    expect(out).toMatchObject({ chassis: "hv1", stage: "locate", registers: { net: 100, out_port_key: 17, from_network: 1 } });
    const { eth, ipv4, icmpv4 } = parsePacket(out!.data);
    expect(eth).toMatchObject({ src: ROUTER, dst: VM });
    expect(ipv4).toMatchObject({ src: "10.0.0.1", dst: "10.0.0.10", ttl: 64, tos: 0xc0, checksumOk: true });
    expect(icmpv4).toMatchObject({ type: 11, code: 0, rest: 0, checksumOk: true });
    expect(icmpv4!.payload.equals(ip)).toBe(true);
    expect(parseIpv4(icmpv4!.payload)).toMatchObject(ends4);
  });

  it("for IPv6 as well", () => {
    const ip = probe6();
    const { eth, ipv6, icmpv6 } = parsePacket(send(frame6(ip))[0]!.data);
    expect(eth).toMatchObject({ src: ROUTER, dst: VM });
    expect(ipv6).toMatchObject({ src: "fd00::1", dst: "fd00::10" });
    expect(icmpv6).toMatchObject({ type: 3, code: 0, checksumOk: true });
    expect(icmpv6!.payload.subarray(4).equals(ip)).toBe(true);
    expect(parseIpv6(icmpv6!.payload.subarray(4))).toMatchObject(ends6);
  });

  it("quotes no more than fits", () => {
    const big = buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(1400), ends4);
    expect(parsePacket(send(frame4(probe4({}, big)))[0]!.data).ipv4!.total_length).toBe(576);
  });

  it("from a router that no subnet ties to the sender comes from its first address", () => {
    expect(parsePacket(send(frame4(probe4({ src: "10.77.0.1" })))[0]!.data).ipv4).toMatchObject({ src: "10.1.0.1", dst: "10.77.0.1" });
  });

  it("from the second router on the way goes to the sender's MAC all the same", () => {
    const { eth, ipv4 } = parsePacket(send(frame4(probe4(), { src: "fa:16:3e:00:00:fc" }), { in_port_key: 17, net: 200, router: 4 })[0]!.data);
    expect(ipv4).toMatchObject({ src: "172.16.0.2", dst: "10.0.0.10" });
    expect(eth).toMatchObject({ src: "fa:16:3e:00:00:fd", dst: VM });
  });

  it("is sent about echo requests and first fragments", () => {
    expect(send(frame4(probe4({ protocol: ipProtocols.icmpv4 }, buildIcmpv4({ type: 8, code: 0 }, Buffer.alloc(8)))))).toHaveLength(1);
    expect(send(frame4(fragment(probe4(), 0x2000)))).toHaveLength(1);
    expect(send(frame6(buildIpv6({ ...ends6, next_header: ipProtocols.icmpv6, hop_limit: 1 }, buildIcmpv6({ type: 128, code: 0 }, Buffer.alloc(8), ends6))))).toHaveLength(1);
  });

  const icmp4 = (type: number): Buffer => frame4(probe4({ protocol: ipProtocols.icmpv4 }, buildIcmpv4({ type, code: 0 }, Buffer.alloc(28))));
  const icmp6 = (type: number): Buffer => frame6(buildIpv6({ ...ends6, next_header: ipProtocols.icmpv6, hop_limit: 1 }, buildIcmpv6({ type, code: 0 }, Buffer.alloc(48), ends6)));
  it.each<[string, Uint8Array, Record<string, number>?]>([
    ...[3, 4, 5, 11, 12].map((t): [string, Buffer] => [`ICMP error ${t}`, icmp4(t)]),
    ...[1, 2, 3, 4, 100, 137].map((t): [string, Buffer] => [`ICMPv6 error ${t}`, icmp6(t)]),
    ["a later fragment", frame4(fragment(probe4(), 1))],
    ["a multicast destination", frame4(probe4({ dst: "224.0.0.5" }))],
    ["a broadcast destination", frame4(probe4({ dst: "255.255.255.255" }))],
    ["a frame to a group", frame4(probe4(), { dst: "ff:ff:ff:ff:ff:ff" })],
    ["a multicast source", frame4(probe4({ src: "224.0.0.5" }))],
    ["a broadcast source", frame4(probe4({ src: "255.255.255.255" }))],
    ["the subnet's broadcast address as source", frame4(probe4({ src: "10.0.0.255" }))],
    ["no source", frame4(probe4({ src: "0.0.0.0" }))],
    ["a loopback source", frame4(probe4({ src: "127.0.0.1" }))],
    ["an unspecified IPv6 source", frame6(probe6({ ...ends6, src: "::" }))],
    ["a multicast IPv6 source", frame6(probe6({ ...ends6, src: "ff02::1" }))],
    ["what is not IP", frame4(Buffer.alloc(28), { ethertype: 0x88cc })],
    ["a broken header", frame4(probe4().subarray(0, 12))],
    ["a port that is gone", frame4(probe4()), { ...registers, in_port_key: 1 }],
    ["a packet from a tunnel", frame4(probe4()), { ...registers, in_port_key: 0 }],
    ["a router that is gone", frame4(probe4()), { ...registers, router: 9 }],
    ["a network the router is not on", frame4(probe4()), { ...registers, net: 200 }],
    ["a router without an address of the family", frame6(probe6()), { in_port_key: 17, net: 200, router: 4 }],
  ])("is not sent about %s", (_, data, regs) => {
    expect(send(data, regs)).toEqual([]);
  });
});

describe("what else is not delivered", () => {
  const about = (why: number, data: Uint8Array): readonly StageOut[] => send(data, { ...registers, undelivered: why });
  const errorOf = (why: number, data: Uint8Array): readonly [number, number] | undefined => {
    const [out] = about(why, data);
    const { icmpv4, icmpv6 } = out === undefined ? {} as ReturnType<typeof parsePacket> : parsePacket(out.data);
    const error = icmpv4 ?? icmpv6;
    return error === undefined ? undefined : [error.type, error.code];
  };
  const other4 = frame4(probe4({ protocol: 253 }, Buffer.alloc(16)));
  const other6 = frame6(buildIpv6({ ...ends6, next_header: 253 }, Buffer.alloc(16)));

  it.each([
    ["no route", undelivered.noRoute, [3, 0], [1, 0]],
    ["nothing at a port", undelivered.notServed, [3, 3], [1, 4]],
    ["a link-local source", undelivered.beyondScope, [3, 1], [1, 2]],
  ] as const)("%s: type and code of each family", (_, why, four, six) => {
    expect(errorOf(why, frame4(probe4()))).toEqual(four);
    expect(errorOf(why, frame6(probe6()))).toEqual(six);
  });

  it("a protocol that a router does not speak: unreachable, or in IPv6 a parameter problem that points at it", () => {
    expect(errorOf(undelivered.notServed, other4)).toEqual([3, 2]);
    const { icmpv6 } = parsePacket(about(undelivered.notServed, other6)[0]!.data);
    expect(icmpv6).toMatchObject({ type: 4, code: 1 });
    expect(icmpv6!.payload.readUInt32BE(0)).toBe(6);
  });

  it("questions of ICMP that a router does not answer: nothing; and nothing here of what waits for a neighbour", () => {
    expect(about(undelivered.notServed, frame4(probe4({ protocol: ipProtocols.icmpv4 }, buildIcmpv4({ type: 13, code: 0 }, Buffer.alloc(12)))))).toEqual([]);
    expect(about(undelivered.notServed, frame6(buildIpv6({ ...ends6, next_header: ipProtocols.icmpv6 }, buildIcmpv6({ type: 139, code: 0 }, Buffer.alloc(8), ends6))))).toEqual([]);
    expect(about(undelivered.unresolved, frame4(probe4()))).toEqual([]);
  });

  it("what is too big: the MTU of where it was to go, with or without DF, in each family", () => {
    const tooBig = (data: Uint8Array, regs: Record<string, number> = {}) => send(data, { ...registers, undelivered: undelivered.tooBig, next_mtu: 1300, ...regs });
    const payload = buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(1400), ends4);
    for (const field of [0x4000, 0]) {
      const ip = fragment(probe4({ ttl: 64 }, payload), field);
      const [out] = tooBig(frame4(ip));
      expect(out).toMatchObject({ chassis: "hv1", stage: "locate", registers: { net: 100, out_port_key: 17, from_network: 1 } });
      const { ipv4, icmpv4 } = parsePacket(out!.data);
      expect([ipv4, icmpv4]).toMatchObject([{ src: "10.0.0.1", dst: ends4.src, total_length: 576 }, { type: 3, code: 4, rest: 1300, checksumOk: true }]);
      expect(icmpv4!.payload.equals(ip.subarray(0, 548))).toBe(true);
    }
    const { ipv6, icmpv6 } = parsePacket(tooBig(frame6(buildIpv6({ ...ends6, next_header: ipProtocols.udp }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(1400), ends6))))[0]!.data);
    expect([ipv6, icmpv6]).toMatchObject([{ src: "fd00::1", dst: ends6.src, payload_length: 1280 - 40 }, { type: 2, code: 0, checksumOk: true }]);
    expect(icmpv6!.payload.readUInt32BE(0)).toBe(1300);
  });

  it("what is too big from outside: by the router's ways, from its address there; of what was translated in the name of who it was for", () => {
    const from = { src: "10.9.9.9", dst: "10.0.0.10" };
    const data = frame4(probe4({ ...from, ttl: 60 }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(1400), from)));
    for (const [why, in_port_key, src] of [[undelivered.tooBig, 0, "172.16.0.2"], [undelivered.tooBigTranslated, 0, from.dst], [undelivered.tooBigTranslated, 17, from.dst]] as const) {
      const [out, ...more] = send(data, { in_port_key, net: 200, router: 4, undelivered: why, next_mtu: 1300 });
      expect(more).toEqual([]);
      expect(out).toMatchObject({ chassis: "hv1", stage: "route", registers: { router: 4, net: 200 } });
      const { ipv4, icmpv4 } = parsePacket(out!.data);
      expect([ipv4, icmpv4]).toMatchObject([{ src, dst: from.src }, { type: 3, code: 4, rest: 1300 }]);
    }
    expect(send(data, { in_port_key: 0, net: 200, router: 9, undelivered: undelivered.tooBig })).toEqual([]);
    expect(send(frame4(probe4({ ...from, protocol: ipProtocols.icmpv4 }, buildIcmpv4({ type: 3, code: 4 }, Buffer.alloc(1400)))), { in_port_key: 0, net: 200, router: 4, undelivered: undelivered.tooBig })).toEqual([]);
  });

  const segment = (flags: number, payload = 0, ack = 0): Buffer => frame4(probe4({ protocol: ipProtocols.tcp }, buildTcp({ src_port: 40000, dst_port: 22, seq: 0xffffffff, ack, flags, window: 1000 }, Buffer.alloc(payload), ends4)));
  it("TCP to a router is reset, from the address that was asked", () => {
    const answer = (data: Buffer): ReturnType<typeof parsePacket> => parsePacket(about(undelivered.notServed, data)[0]!.data);
    const { eth, ipv4, tcp } = answer(segment(tcpFlags.syn));
    expect(eth).toMatchObject({ src: ROUTER, dst: VM });
    expect(ipv4).toMatchObject({ src: ends4.dst, dst: ends4.src });
    expect(tcp).toMatchObject({ src_port: 22, dst_port: 40000, flags: tcpFlags.rst | tcpFlags.ack, seq: 0, ack: 0, checksumOk: true });
    expect(answer(segment(tcpFlags.psh | tcpFlags.fin, 9)).tcp).toMatchObject({ ack: 9 });
    expect(answer(segment(tcpFlags.ack, 5, 77)).tcp).toMatchObject({ flags: tcpFlags.rst, seq: 77 });
    expect(about(undelivered.notServed, segment(tcpFlags.rst))).toEqual([]);
  });
});
