import { describe, expect, test } from "vitest";

import { buildArp, parseArp } from "../ethernet/arp.ts";
import { buildEthernet, parseEthernet } from "../ethernet/ethernet.ts";
import { buildIcmpv4, buildIcmpv4Error, echoRest, parseIcmpv4 } from "../icmp/icmpv4.ts";
import { buildEchoBody, buildIcmpv6, buildIcmpv6Error, parseIcmpv6 } from "../icmp/icmpv6.ts";
import { buildIpv4, parseIpv4 } from "../ip/ipv4.ts";
import { buildIpv6, parseIpv6 } from "../ip/ipv6.ts";
import { parsePacket } from "./packet.ts";
import type { Packet } from "./packet.ts";
import { failure, frame, frames, hex } from "../testing/vectors.ts";
import { buildTcp, parseTcp, tcpFlags } from "../transport/tcp.ts";
import { buildUdp, parseUdp } from "../transport/udp.ts";

const one = { mac: "fa:16:3e:00:00:01", ipv4: "192.0.2.1", ipv6: "2001:db8::1", local: "fe80::f816:3eff:fe00:1" };
const two = { mac: "fa:16:3e:00:00:02", ipv4: "192.0.2.2", ipv6: "2001:db8::2", local: "fe80::f816:3eff:fe00:2" };
const data = hex("a5000000000000ff");

/** What each captured frame says; headers not named must be absent. */
const expected: Record<string, { [K in keyof Packet]?: object }> = {
  "arp request": {
    eth: { dst: "ff:ff:ff:ff:ff:ff", src: one.mac, ethertype: 0x0806 },
    arp: { op: 1, sha: one.mac, spa: one.ipv4, tha: "00:00:00:00:00:00", tpa: two.ipv4 },
  },
  "arp reply": {
    eth: { dst: one.mac, src: two.mac },
    arp: { op: 2, sha: two.mac, spa: two.ipv4, tha: one.mac, tpa: one.ipv4 },
  },
  "icmpv4 echo request": {
    eth: { dst: two.mac, src: one.mac, ethertype: 0x0800 },
    ipv4: {
      src: one.ipv4, dst: two.ipv4, protocol: 1, ttl: 64, id: 0x3b1d, tos: 0, dontFragment: true, total_length: 36,
      moreFragments: false, fragmentOffset: 0, checksumOk: true, complete: true,
    },
    icmpv4: { type: 8, code: 0, id: 7253, seq: 1, checksumOk: true, payload: hex("a500000000000000") },
  },
  "icmpv4 echo reply": {
    eth: {}, ipv4: { src: two.ipv4, dst: one.ipv4, dontFragment: false },
    icmpv4: { type: 0, code: 0, id: 7253, seq: 1, checksumOk: true },
  },
  "icmpv4 time exceeded": {
    eth: {}, ipv4: { tos: 0xc0, total_length: 64 }, icmpv4: { type: 11, code: 0, rest: 0, checksumOk: true },
  },
  "icmpv4 net unreachable": { eth: {}, ipv4: {}, icmpv4: { type: 3, code: 0, checksumOk: true } },
  "icmpv4 port unreachable": { eth: {}, ipv4: {}, icmpv4: { type: 3, code: 3, checksumOk: true } },
  "tcp syn over ipv4": {
    eth: {}, ipv4: { protocol: 6 },
    tcp: {
      src_port: 55764, dst_port: 80, seq: 4083671020, ack: 0, flags: tcpFlags.syn, window: 64240, urgent: 0,
      checksumOk: true, options: hex("020405b40402080ae2b79f85000000000103030a"), payload: Buffer.alloc(0),
    },
  },
  "tcp rst over ipv4": {
    eth: {}, ipv4: {}, tcp: { flags: tcpFlags.rst | tcpFlags.ack, seq: 0, ack: 4083671021, checksumOk: true },
  },
  "tcp syn over ipv6": {
    eth: {}, ipv6: { next_header: 6, flow_label: 0x5bc0a },
    tcp: { src_port: 34868, dst_port: 80, seq: 403541372, window: 64800, checksumOk: true },
  },
  "udp over ipv4, odd length": {
    eth: {}, ipv4: { protocol: 17 },
    udp: { src_port: 45844, dst_port: 53, length: 11, checksumOk: true, payload: Buffer.from("hi\n") },
  },
  "udp over ipv6, odd length": {
    eth: {}, ipv6: { next_header: 17 },
    udp: { src_port: 48634, dst_port: 53, length: 13, checksumOk: true, payload: Buffer.from("odd!\n") },
  },
  "duplicate address detection": {
    eth: { dst: "33:33:ff:00:00:01" }, ipv6: { src: "::", dst: "ff02::1:ff00:1", hop_limit: 255 },
    icmpv6: { type: 135, code: 0, checksumOk: true },
  },
  "router solicitation": {
    eth: {}, ipv6: { src: one.local, dst: "ff02::2" }, icmpv6: { type: 133, checksumOk: true },
  },
  "neighbour solicitation": { eth: {}, ipv6: {}, icmpv6: { type: 135, checksumOk: true } },
  "neighbour advertisement": { eth: {}, ipv6: {}, icmpv6: { type: 136, checksumOk: true } },
  "neighbour advertisement without options": { eth: {}, ipv6: {}, icmpv6: { type: 136, checksumOk: true } },
  "multicast listener report behind hop-by-hop options": {
    eth: {}, ipv6: { next_header: 58, extensions: [0], payload_length: 36, complete: true },
    icmpv6: { type: 143, code: 0, checksumOk: true },
  },
  "icmpv6 echo request": {
    eth: { ethertype: 0x86dd },
    ipv6: {
      src: one.ipv6, dst: two.ipv6, next_header: 58, hop_limit: 64, traffic_class: 0, flow_label: 0xd117c,
      extensions: [], payload_length: 16, complete: true,
    },
    icmpv6: { type: 128, code: 0, id: 7254, seq: 1, checksumOk: true, payload: hex("1c560001a500000000000000") },
  },
  "icmpv6 echo reply": { eth: {}, ipv6: {}, icmpv6: { type: 129, id: 7254, seq: 1, checksumOk: true } },
  "icmpv6 time exceeded": { eth: {}, ipv6: {}, icmpv6: { type: 3, code: 0, checksumOk: true } },
  "icmpv6 port unreachable": { eth: {}, ipv6: {}, icmpv6: { type: 1, code: 4, checksumOk: true } },
  "dhcp discover of udhcpc": {
    eth: {}, ipv4: { src: "0.0.0.0", dst: "255.255.255.255" },
    udp: { src_port: 68, dst_port: 67, length: 308, checksumOk: true },
  },
  "dhcp discover of dhclient": {
    eth: {}, ipv4: { tos: 0x10, ttl: 128, id: 0 }, udp: { src_port: 68, dst_port: 67, length: 308, checksumOk: true },
  },
};

/** Every header built again from what was parsed. */
function rebuild(packet: Packet): Buffer {
  const { eth, arp, ipv4, ipv6, icmpv4, icmpv6, udp, tcp } = packet;
  if (arp !== undefined) return buildEthernet(eth, buildArp(arp));
  const ends = (ipv4 ?? ipv6)!;
  let upper = ends.payload;
  if (icmpv4 !== undefined) upper = buildIcmpv4(icmpv4, icmpv4.payload);
  if (icmpv6 !== undefined) upper = buildIcmpv6(icmpv6, icmpv6.payload, ends);
  if (udp !== undefined) upper = buildUdp(udp, udp.payload, ends);
  if (tcp !== undefined) upper = buildTcp(tcp, tcp.payload, ends);
  return buildEthernet(eth, ipv4 === undefined ? buildIpv6(ipv6!, upper) : buildIpv4(ipv4, upper));
}

test("every captured frame has an expectation", () => {
  expect([...frames.keys()].sort()).toEqual(Object.keys(expected).sort());
});

describe.each(Object.entries(expected))("%s", (name, headers) => {
  test("parses to what tcpdump printed", () => {
    const packet = parsePacket(frame(name));
    expect(Object.keys(packet).sort()).toEqual(Object.keys(headers).sort());
    expect(packet).toMatchObject(headers);
  });

  test("is built again byte by byte", () => {
    expect(rebuild(parsePacket(frame(name))).toString("hex")).toBe(frame(name).toString("hex"));
  });

  test("a flipped bit in the innermost payload shows in its checksum", () => {
    const upper = (packet: Packet) => packet.icmpv4 ?? packet.icmpv6 ?? packet.udp ?? packet.tcp;
    const length = frame(name).length;
    for (let back = 1; back <= (upper(parsePacket(frame(name)))?.payload.length ?? 0); back++) {
      const broken = Buffer.from(frame(name));
      broken.writeUInt8(broken.readUInt8(length - back) ^ 0x10, length - back);
      expect(upper(parsePacket(broken))?.checksumOk).toBe(false);
    }
  });

  test("every truncation is refused or parsed, and never called right", () => {
    const whole = frame(name);
    for (let length = 0; length < whole.length; length++) {
      let packet: Packet | undefined;
      const error = failure(() => (packet = parsePacket(whole.subarray(0, length))));
      if (error !== undefined) {
        expect(error.code).toBe("PACKET_TRUNCATED");
        expect(error.offset).toBe(length);
        continue;
      }
      expect(packet!.arp).toBeUndefined();
      expect((packet!.ipv4 ?? packet!.ipv6)!.complete).toBe(false);
      const upper = packet!.icmpv4 ?? packet!.icmpv6 ?? packet!.tcp ?? packet!.udp;
      expect(upper?.checksumOk).toBeUndefined();
    }
  });
});

describe("errors quote the packet they are about", () => {
  test("IPv4", () => {
    const about = parseIpv4(parsePacket(frame("icmpv4 time exceeded")).icmpv4!.payload);
    expect(about).toMatchObject({ src: one.ipv4, dst: "198.51.100.9", ttl: 1, protocol: 1, checksumOk: true });
    const quoted = parsePacket(frame("icmpv4 port unreachable")).icmpv4!.payload;
    expect(buildIcmpv4Error({ type: 3, code: 3 }, quoted)).toEqual(parsePacket(frame("icmpv4 port unreachable")).ipv4!.payload);
    expect(buildIcmpv4Error({ type: 11, code: 0 }, Buffer.alloc(1500)).length).toBe(556);
    expect(parseIcmpv4(buildIcmpv4Error({ type: 3, code: 4, rest: 1450 }, quoted))).toMatchObject({ rest: 1450, checksumOk: true });
  });

  test("IPv6", () => {
    const { ipv6, icmpv6 } = parsePacket(frame("icmpv6 time exceeded"));
    const quoted = icmpv6!.payload.subarray(4);
    expect(parseIpv6(quoted)).toMatchObject({ src: one.ipv6, dst: "2001:db8:5::9", hop_limit: 1, next_header: 58 });
    expect(buildIcmpv6Error({ type: 3, code: 0 }, quoted, ipv6!)).toEqual(ipv6!.payload);
    expect(buildIcmpv6Error({ type: 2, code: 0, rest: 1280 }, Buffer.alloc(9000), ipv6!).length).toBe(1240);
  });
});

describe("Ethernet", () => {
  test("tags are stacked, service and customer ones, with priority and drop eligibility", () => {
    const bytes = hex("fa163e000002 fa163e000001 88a8 b064 8100 0065 9100 3fff 0800 45");
    const eth = parseEthernet(bytes);
    expect(eth).toEqual({
      dst: "fa:16:3e:00:00:02", src: "fa:16:3e:00:00:01", vlan: 100, vlan_pcp: 5, vlan_dei: true, vlan_tpid: 0x88a8, ethertype: 0x0800,
      inner_tags: [{ vlan: 101, vlan_pcp: 0 }, { vlan: 4095, vlan_pcp: 1, vlan_dei: true, vlan_tpid: 0x9100 }], payload: hex("45"),
    });
    expect(buildEthernet(eth, eth.payload)).toEqual(bytes);
    expect(failure(() => parseEthernet(bytes.subarray(0, 22)))).toMatchObject({ code: "PACKET_TRUNCATED", offset: 22 });
  });

  test("one customer tag says no more than it must", () => {
    const eth = parseEthernet(hex("fa163e000002 fa163e000001 8100 a064 0800 45"));
    expect(Object.keys(eth)).toEqual(["dst", "src", "ethertype", "vlan", "vlan_pcp", "payload"]);
  });

  test("vlan is absent without a tag", () => {
    expect("vlan" in parseEthernet(frame("arp reply"))).toBe(false);
  });

  test("what has no wire form is refused", () => {
    const header = { dst: one.mac, src: two.mac, ethertype: 0x0800 };
    expect(() => buildEthernet({ ...header, vlan: 4096 }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, vlan: -1 }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, vlan: 1, vlan_pcp: 8 }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, vlan: 1, vlan_tpid: 0x0800 }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, inner_tags: [{ vlan: 1 }] }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, ethertype: 0x10000 }, data)).toThrow(RangeError);
    expect(() => buildEthernet({ ...header, dst: "nobody" }, data)).toThrow(RangeError);
  });

  test("ARP of other networks is not ours", () => {
    const arp = Buffer.from(frame("arp reply").subarray(14));
    arp.writeUInt16BE(6, 0);
    expect(failure(() => parseArp(arp))).toMatchObject({ code: "PACKET_UNSUPPORTED", offset: 0 });
    arp.writeUInt16BE(1, 0);
    arp.writeUInt16BE(0x86dd, 2);
    expect(failure(() => parseArp(arp))).toMatchObject({ code: "PACKET_UNSUPPORTED", offset: 2 });
    arp.writeUInt16BE(0x0800, 2);
    arp.writeUInt8(16, 5);
    expect(failure(() => parseArp(arp))).toMatchObject({ code: "PACKET_MALFORMED", offset: 4 });
  });
});

describe("IPv4", () => {
  const header = "4500 0018 0000 0000 4011 0000 c0000201 c0000202";

  test("options are kept, padding is cut off", () => {
    const packet = parseIpv4(hex("4600 001a 0000 0000 4011 0000 c0000201 c0000202 94040000 abcd 00000000"));
    expect(packet).toMatchObject({ protocol: 17, options: hex("94040000"), payload: hex("abcd"), complete: true, checksumOk: false });
  });

  test.each([
    ["version 6", "6500", 0], ["a header of 16 bytes", "44000018", 0], ["a total below the header", "45000013", 2],
  ])("%s is malformed", (_, start, offset) => {
    const bytes = hex(start + hex(header).toString("hex").slice(start.length));
    expect(failure(() => parseIpv4(bytes))).toMatchObject({ code: "PACKET_MALFORMED", offset });
  });

  test("a first fragment shows its ports, later ones nothing", () => {
    const udp = buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(64), { src: one.ipv4, dst: two.ipv4 });
    const eth = { dst: two.mac, src: one.mac, ethertype: 0x0800 };
    const ip = { src: one.ipv4, dst: two.ipv4, protocol: 17 };
    const first = buildEthernet(eth, buildIpv4(ip, udp.subarray(0, 40)));
    first.writeUInt16BE(0x2000, 14 + 6);
    const packet = parsePacket(first);
    expect(packet.ipv4).toMatchObject({ moreFragments: true, complete: false });
    expect(packet.udp).toMatchObject({ src_port: 1, dst_port: 2, length: 72, checksumOk: undefined });
    const second = buildEthernet(eth, buildIpv4(ip, udp.subarray(40)));
    second.writeUInt16BE(5, 14 + 6);
    expect(parsePacket(second).ipv4).toMatchObject({ fragmentOffset: 40, complete: false });
    expect(parsePacket(second).udp).toBeUndefined();
  });

  test("too long a payload is refused", () => {
    expect(() => buildIpv4({ src: one.ipv4, dst: two.ipv4, protocol: 17 }, Buffer.alloc(65516))).toThrow(RangeError);
  });
});

describe("IPv6", () => {
  const ends = { src: one.ipv6, dst: two.ipv6 };
  const udp = buildUdp({ src_port: 1, dst_port: 2 }, Buffer.from("x"), ends);
  const eth = { dst: two.mac, src: one.mac, ethertype: 0x86dd };
  const wrap = (next_header: number, ...parts: Buffer[]): Packet =>
    parsePacket(buildEthernet(eth, buildIpv6({ ...ends, next_header }, Buffer.concat(parts))));

  test("a chain of extension headers leads to UDP", () => {
    const hopByHop = hex("3c00 010400000000");
    const destination = hex("2b01 010c000000000000000000000000");
    const routing = hex("3300 0400 00000000");
    const authentication = hex("2c04 0000 00000001 00000001 000000000000000000000000");
    const fragment = hex("1100 0000 00000001");
    const packet = wrap(0, hopByHop, destination, routing, authentication, fragment, udp);
    expect(packet.ipv6).toMatchObject({ next_header: 17, extensions: [0, 60, 43, 51, 44], complete: true, payload: udp });
    expect(packet.udp).toMatchObject({ dst_port: 2, checksumOk: true });
  });

  test("with segments left the checksum cannot be judged", () => {
    expect(wrap(43, hex("1102 0001 00000000"), Buffer.alloc(16), udp).udp).toMatchObject({ checksumOk: undefined });
  });

  test("fragments", () => {
    expect(wrap(44, hex("1100 0001 00000001"), udp)).toMatchObject({ ipv6: { moreFragments: true }, udp: { dst_port: 2 } });
    const later = wrap(44, hex("1100 0008 00000001"), udp);
    expect(later.ipv6).toMatchObject({ fragmentOffset: 8, next_header: 17, payload: udp });
    expect(later.udp).toBeUndefined();
    // Behind a later fragment's header even an extension header's number is just what was cut off.
    expect(wrap(44, hex("3c00 0008 00000001"), udp).ipv6).toMatchObject({ next_header: 60, extensions: [44] });
  });

  test("nothing is read behind ESP or no-next-header", () => {
    expect(Object.keys(wrap(50, udp))).toEqual(["eth", "ipv6"]);
    expect(wrap(59).ipv6).toMatchObject({ next_header: 59, payload: Buffer.alloc(0) });
  });

  test("a chain that runs out is truncated, another version malformed", () => {
    expect(failure(() => wrap(0, hex("3c05 0104")))).toMatchObject({ code: "PACKET_TRUNCATED" });
    const bytes = buildIpv6({ ...ends, next_header: 59 }, Buffer.alloc(0));
    bytes.writeUInt8(0x45, 0);
    expect(failure(() => parseIpv6(bytes))).toMatchObject({ code: "PACKET_MALFORMED", offset: 0 });
  });

  test("class and label have their place", () => {
    const bytes = buildIpv6({ ...ends, next_header: 59, traffic_class: 0xb8, flow_label: 0x12345, hop_limit: 255 }, data);
    expect(bytes.subarray(0, 8)).toEqual(hex("6b812345 0008 3b ff"));
    expect(parseIpv6(bytes)).toMatchObject({ traffic_class: 0xb8, flow_label: 0x12345 });
    expect(() => buildIpv6({ ...ends, next_header: 59, flow_label: 0x100000 }, data)).toThrow(RangeError);
    expect(() => buildIpv6({ ...ends, next_header: 59 }, Buffer.alloc(65536))).toThrow(RangeError);
  });
});

describe("transport and ICMP", () => {
  const ends = { src: one.ipv4, dst: two.ipv4 };

  test("checksums are judged with a carrier only", () => {
    const udp = buildUdp({ src_port: 1, dst_port: 2 }, data, ends);
    expect(parseUdp(udp).checksumOk).toBeUndefined();
    expect(parseUdp(udp, { ...ends, complete: true }).checksumOk).toBe(true);
    expect(parseUdp(udp, { src: one.ipv4, dst: "192.0.2.3", complete: true }).checksumOk).toBe(false);
  });

  test("a UDP checksum left out is fine in IPv4 and wrong in IPv6", () => {
    const udp = buildUdp({ src_port: 1, dst_port: 2 }, data, ends);
    udp.writeUInt16BE(0, 6);
    expect(parseUdp(udp, { ...ends, complete: true }).checksumOk).toBe(true);
    expect(parseUdp(udp, { src: one.ipv6, dst: two.ipv6, complete: true }).checksumOk).toBe(false);
  });

  test("impossible lengths are malformed", () => {
    expect(failure(() => parseUdp(hex("0001 0002 0007 0000")))).toMatchObject({ code: "PACKET_MALFORMED", offset: 4 });
    const tcp = Buffer.from(parsePacket(frame("tcp rst over ipv4")).ipv4!.payload);
    tcp.writeUInt8(0x40, 12);
    expect(failure(() => parseTcp(tcp))).toMatchObject({ code: "PACKET_MALFORMED", offset: 12 });
    tcp.writeUInt8(0x60, 12);
    expect(failure(() => parseTcp(tcp))).toMatchObject({ code: "PACKET_TRUNCATED", offset: 20 });
  });

  test("echo", () => {
    const request = buildIcmpv4({ type: 8, code: 0, rest: echoRest(0xffff, 7) }, data);
    expect(parseIcmpv4(request)).toMatchObject({ id: 0xffff, seq: 7, payload: data, checksumOk: true });
    const ends6 = { src: one.ipv6, dst: two.ipv6 };
    const request6 = buildIcmpv6({ type: 128, code: 0 }, buildEchoBody(3, 4, data), ends6);
    expect(parseIcmpv6(request6, { ...ends6, complete: true })).toMatchObject({ id: 3, seq: 4, checksumOk: true });
    expect(() => buildIcmpv6({ type: 128, code: 0 }, data, ends)).toThrow(RangeError);
  });
});
