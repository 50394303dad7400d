// Things no captured frame shows: examples of the RFCs, and what builders refuse.

import { describe, expect, test } from "vitest";

import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "./frame/announce.ts";
import { buildBfd, parseBfd } from "./routing/bfd.ts";
import type { BfdControl } from "./routing/bfd.ts";
import { decodeDomainName, encodeDomainName } from "./wire/domain-name.ts";
import { buildDns, parseDns } from "./dns/dns.ts";
import type { DnsRecord } from "./dns/records.ts";
import { parseEthernet } from "./ethernet/ethernet.ts";
import { buildIcmpv4Body } from "./icmp/icmpv4.ts";
import { parseIcmpv6Body } from "./icmp/icmpv6-body.ts";
import { parseIgmp } from "./routing/igmp.ts";
import { buildIpv4 } from "./ip/ipv4.ts";
import { buildIpv6, parseIpv6 } from "./ip/ipv6.ts";
import { parseSegments } from "./ip/ipv6-extensions.ts";
import type { Ipv6Extension } from "./ip/ipv6-extensions.ts";
import { expandTimeCode, timeCode } from "./routing/multicast.ts";
import { buildRedirect, buildRouterAdvertisement, parseRedirect, parseRouterAdvertisement } from "./routing/neighbour.ts";
import { parsePacket } from "./frame/packet.ts";
import { buildTcp } from "./transport/tcp.ts";
import { captured, failure, hex } from "./testing/vectors.ts";
import { buildUdp, parseUdp } from "./transport/udp.ts";

const mac = "fa:16:3e:00:00:01";
const ends4 = { src: "192.0.2.1", dst: "192.0.2.2" };
const ends6 = { src: "2001:db8::1", dst: "2001:db8::2" };

describe("announcements are what arping and Linux send", () => {
  test("gratuitous ARP", () => {
    expect(buildGratuitousArp({ mac, address: "192.0.2.1", op: "reply" }).subarray(0, 32)).toEqual(captured.frames.get("gratuitous arp reply")!.subarray(0, 32));
    const sent = parsePacket(captured.frames.get("gratuitous arp request")!);
    const ours = parsePacket(buildGratuitousArp({ mac, address: "192.0.2.1" }));
    expect(ours.eth).toMatchObject({ dst: sent.eth.dst, src: sent.eth.src });
    expect(ours.arp).toEqual({ op: 1, sha: mac, spa: "192.0.2.1", tha: "00:00:00:00:00:00", tpa: "192.0.2.1" });
    expect(sent.arp).toMatchObject({ op: 1, sha: mac, spa: "192.0.2.1", tpa: "192.0.2.1" });
  });

  test("unsolicited neighbour advertisement", () => {
    const sent = captured.frames.get("unsolicited neighbour advertisement")!;
    const { eth, ipv6 } = parsePacket(sent);
    expect(buildUnsolicitedNeighbourAdvertisement({ mac: eth.src, address: ipv6!.src })).toEqual(sent);
  });

  test("with a tag", () => {
    expect(parseEthernet(buildGratuitousArp({ mac, address: "192.0.2.1", vlan: 100, vlan_pcp: 6 }))).toMatchObject({ vlan: 100, vlan_pcp: 6, ethertype: 0x0806 });
  });
});

describe("DNS", () => {
  test("the compressed names of RFC 1035 4.1.4", () => {
    const message = Buffer.alloc(93);
    message.set(hex("0146 03495349 0441525041 00"), 20);
    message.set(hex("03464f4f c014"), 40);
    message.set(hex("c01a"), 64);
    expect(["F.ISI.ARPA", "FOO.F.ISI.ARPA", "ARPA", "."].map((name, at) => [name, decodeDomainName(message, [20, 40, 64, 92][at]!, true).name]))
      .toEqual([["F.ISI.ARPA", "F.ISI.ARPA"], ["FOO.F.ISI.ARPA", "FOO.F.ISI.ARPA"], ["ARPA", "ARPA"], [".", "."]]);
  });

  test("an answer written with pointers, byte by byte", () => {
    const bytes = hex(`0007 8580 0001 0002 0000 0001  03777777 076578616d706c65 03636f6d 00 0001 0001
      c00c 0005 0001 00000e10 0007 04686f7374 c010  c02d 0001 0001 0000003c 0004 c0000250  00 0029 04d0 00008000 0000`);
    const message = {
      id: 7, qr: true, opcode: 0, aa: true, tc: false, rd: true, ra: true, ad: false, cd: false, rcode: 0,
      questions: [{ name: "www.example.com", type: "A" as const, class: 1 }],
      answers: [
        { name: "www.example.com", type: "CNAME" as const, class: 1, ttl: 3600, data: { name: "host.example.com" } },
        { name: "host.example.com", type: "A" as const, class: 1, ttl: 60, data: { address: "192.0.2.80" } },
      ],
      authorities: [],
      additionals: [{ type: "OPT" as const, udp_size: 1232, extended_rcode: 0, version: 0, flags: 0x8000, options: [] }],
    };
    expect(parseDns(bytes)).toEqual(message);
    expect(buildDns(message).toString("hex")).toBe(bytes.toString("hex"));
  });

  test("what does not fit 512 bytes is left out and said so", () => {
    const answers: DnsRecord[] = Array.from({ length: 60 }, (_, at) => ({ name: "big.example", type: "A", class: 1, ttl: 1, data: { address: `192.0.2.${at}` } }));
    const cut = parseDns(buildDns({ id: 1, questions: [{ name: "big.example", type: "A", class: 1 }], answers }, 512));
    expect(cut).toMatchObject({ tc: true, answers: answers.slice(0, 30) }); // 12 + 17 + 30 * 16 = 509
    const whole = parseDns(buildDns({ id: 1, questions: [{ name: "big.example", type: "A", class: 1 }], answers }));
    expect(whole).toMatchObject({ tc: false, answers });
    const extra = parseDns(buildDns({ id: 1, answers: answers.slice(0, 5), additionals: answers }, 512));
    expect(extra.tc).toBe(false);
    expect(extra.additionals.length).toBeLessThan(60);
  });

  test("names keep their case and their odd bytes", () => {
    for (const name of ["ExAmPlE.com", "a\\.b.example", "back\\\\slash", "\\000\\032x", "xn--mnchen-3ya.example", "."]) {
      const bytes = encodeDomainName(name);
      expect(decodeDomainName(bytes, 0, false)).toEqual({ name, end: bytes.length });
    }
    expect(() => encodeDomainName("münchen\u0142.example")).toThrow(RangeError);
    expect(() => encodeDomainName("a\\999")).toThrow(RangeError);
  });

  test("data that contradicts its length is malformed or truncated", () => {
    const record = (type: string, data: string): Buffer => hex(`0001 8000 0000 0001 0000 0000 00 ${type} 0001 00000000 ${(hex(data).length).toString(16).padStart(4, "0")} ${data}`);
    expect(failure(() => parseDns(record("0001", "c000020100")))).toMatchObject({ code: "PACKET_MALFORMED", offset: 27 });
    expect(failure(() => parseDns(record("001c", "c0000201")))).toMatchObject({ code: "PACKET_TRUNCATED" });
    expect(failure(() => parseDns(record("0010", "05616263")))).toMatchObject({ code: "PACKET_TRUNCATED" });
  });
});

describe("IPv6 extension headers", () => {
  test("options are padded to 8 bytes when the list does not do so", () => {
    for (let length = 0; length < 9; length++) {
      const extension: Ipv6Extension = { header: "destination", options: [{ option: 0x1e, value: Buffer.alloc(length, 1) }] };
      const packet = buildIpv6({ ...ends6, next_header: 59, extension_headers: [extension] }, Buffer.alloc(0));
      expect(packet.length % 8).toBe(0);
      const [read] = parseIpv6(packet).extension_headers;
      expect(read).toMatchObject({ header: "destination", options: [extension.options[0], ...(length === 4 ? [] : [{}])] });
    }
  });

  test("what has no wire form is refused", () => {
    const build = (extension: Ipv6Extension) => () => buildIpv6({ ...ends6, next_header: 59, extension_headers: [extension] }, Buffer.alloc(0));
    expect(build({ header: "fragment", offset: 7, more: false, id: 0 })).toThrow(RangeError);
    expect(build({ header: "authentication", spi: 0, seq: 0, icv: Buffer.alloc(3) })).toThrow(RangeError);
    expect(build({ header: "routing", routing_type: 0, segments_left: 0, data: Buffer.alloc(5) })).toThrow(RangeError);
    expect(build({ header: "other", type: 135, data: Buffer.alloc(8) })).toThrow(RangeError);
  });

  test("an option longer than its header, and a routing header cut inside an address", () => {
    const packet = Buffer.concat([buildIpv6({ ...ends6, next_header: 60 }, hex("3b00 1e05 00000000"))]);
    expect(failure(() => parseIpv6(packet))).toMatchObject({ code: "PACKET_TRUNCATED", offset: 48 });
    expect(failure(() => parseSegments({ header: "routing", routing_type: 0, segments_left: 1, data: Buffer.alloc(12) }))).toMatchObject({ code: "PACKET_TRUNCATED" });
    expect(parseSegments({ header: "routing", routing_type: 3, segments_left: 1, data: Buffer.alloc(12) })).toBeUndefined();
  });
});

test("options and flags that do not fit are refused", () => {
  const tcp = { src_port: 1, dst_port: 2, seq: 0, flags: 2, window: 0 };
  expect(() => buildTcp({ ...tcp, options: Buffer.alloc(41) }, Buffer.alloc(0), ends4)).toThrow(RangeError);
  expect(() => buildTcp({ ...tcp, flags: 0x1000 }, Buffer.alloc(0), ends4)).toThrow(RangeError);
  expect(() => buildIpv4({ ...ends4, protocol: 1, options: Buffer.alloc(41) }, Buffer.alloc(0))).toThrow(RangeError);
  expect(() => buildIpv4({ ...ends4, protocol: 1, fragmentOffset: 4 }, Buffer.alloc(0))).toThrow(RangeError);
  expect(() => buildIcmpv4Body({ kind: "parameterProblem", code: 0, pointer: 256, original: Buffer.alloc(0) })).toThrow(RangeError);
});

test("a UDP checksum is left out in IPv4 on demand, and never in IPv6", () => {
  const header = { src_port: 1, dst_port: 2, checksumPresent: false };
  const datagram = buildUdp(header, hex("ab"), ends4);
  expect(datagram.readUInt16BE(6)).toBe(0);
  expect(parseUdp(datagram, { ...ends4, complete: true })).toMatchObject({ checksumPresent: false, checksumOk: true });
  expect(() => buildUdp(header, hex("ab"), ends6)).toThrow(RangeError);
});

test("behind a source route with places left a checksum cannot be judged, at its end it can", () => {
  const frame = Buffer.from(captured.frames.get("scapy: ipv4 router alert and source route")!);
  expect(parsePacket(frame).udp!.checksumOk).toBeUndefined();
  const pointer = 14 + 20 + 4 + 2;
  expect(frame[pointer]).toBe(4);
  frame.writeUInt8(12, pointer);
  expect(parsePacket(frame).udp!.checksumOk).toBe(false); // it counts an address that is not there any more
});

describe("multicast", () => {
  test.each([[0, 0], [127, 127], [0x80, 128], [0x8f, 248], [0x90, 256], [0xff, 31744]])("code %d of 8 bits is %d", (code, value) => {
    expect(expandTimeCode(code)).toBe(value);
    expect(timeCode(value)).toBe(code);
  });

  test.each([[32767, 32767], [0x8000, 32768], [0xffff, 8387584]])("code %d of 16 bits is %d", (code, value) => {
    expect(expandTimeCode(code, 16)).toBe(value);
    expect(timeCode(value, 16)).toBe(code);
  });

  test("times in between are rounded down, larger ones refused", () => {
    expect(expandTimeCode(timeCode(1000))).toBe(992);
    expect(() => timeCode(31745)).toThrow(RangeError);
    expect(() => timeCode(-1)).toThrow(RangeError);
  });

  test("a query of an odd length is refused, additional data is ignored", () => {
    expect(failure(() => parseIgmp(hex("1164 0000 00000000 02")))).toMatchObject({ code: "PACKET_TRUNCATED" });
    expect(parseIcmpv6Body({ type: 143, code: 0, payload: hex("0000 0000 ffff") })).toEqual({ kind: "mldv2Report", code: 0, records: [] });
  });
});

describe("neighbour discovery", () => {
  test("every option there is comes back", () => {
    const input = {
      cur_hop_limit: 64, managed: false, other: true, router_lifetime_s: 0, reachable_ms: 0, retrans_ms: 0, preference: "low" as const, proxy: true,
      prefixes: [], rdnss: [], dnssl: [], captive_portal: "https://portal.example/api",
      routes: [{ prefix: "2001:db8::", length: 48, preference: "high" as const, lifetime_s: 600 }, { prefix: "::", length: 0, preference: "medium" as const, lifetime_s: 9 }],
      pref64: [{ prefix: "64:ff9b::/96", lifetime_s: 1800 }], unknown: [{ type: 200, data: hex("010203040506") }],
    };
    expect(parseRouterAdvertisement(buildRouterAdvertisement(input))).toEqual(input);
  });

  test("PREF64 as RFC 8781 4 draws it", () => {
    const bytes = buildRouterAdvertisement({ pref64: [{ prefix: "64:ff9b::/96", lifetime_s: 600 }] }).subarray(12);
    expect(bytes).toEqual(hex("26 02 0258 0064ff9b0000000000000000"));
    expect(buildRouterAdvertisement({ pref64: [{ prefix: "2001:db8::/32", lifetime_s: 600 }] }).subarray(12, 16)).toEqual(hex("26 02 025d"));
    for (const pref64 of [{ prefix: "64:ff9b::/95", lifetime_s: 600 }, { prefix: "64:ff9b::/96", lifetime_s: 601 }, { prefix: "64:ff9b::/96", lifetime_s: 65536 }]) {
      expect(() => buildRouterAdvertisement({ pref64: [pref64] })).toThrow(RangeError);
    }
  });

  test("a redirect quotes no more than fits 1280 bytes", () => {
    const fields = { target: "fe80::1", destination: "2001:db8::9", target_lladdr: mac };
    const body = buildRedirect({ ...fields, redirected: Buffer.alloc(9000, 0x60) });
    expect(body.length + 4 + 40).toBeLessThanOrEqual(1280);
    const { redirected, ...rest } = parseRedirect(body);
    expect(rest).toEqual({ ...fields, prefixes: [], rdnss: [], dnssl: [], unknown: [] });
    expect(redirected!.length).toBeGreaterThan(1100);
  });
});

describe("BFD", () => {
  const control: BfdControl = {
    diagnostic: 0, state: 3, poll: false, final: false, controlPlaneIndependent: false, demand: false, multipoint: false, detect_mult: 3,
    my_discriminator: 1, your_discriminator: 2, desired_min_tx_us: 300_000, required_min_rx_us: 300_000, required_min_echo_rx_us: 0,
  };

  test("as RFC 5880 4.1 draws it", () => {
    const bytes = hex("20 c0 03 18 00000001 00000002 000493e0 000493e0 00000000");
    expect(buildBfd(control)).toEqual(bytes);
    expect(parseBfd(bytes)).toEqual(control);
    expect(parseBfd(Buffer.concat([bytes, hex("ffff")]))).toEqual(control); // what is behind its length is not its own
  });

  test.each([
    ["version 0", "00 c0 03 18", "PACKET_UNSUPPORTED", 0], ["a length of 23", "20 c0 03 17", "PACKET_MALFORMED", 3], ["a length above the bytes", "20 c0 03 19", "PACKET_TRUNCATED", 24],
    ["authentication that is not there", "20 c4 03 18", "PACKET_TRUNCATED", 24],
  ])("%s", (_, head, code, offset) => {
    expect(failure(() => parseBfd(Buffer.concat([hex(head), Buffer.alloc(20)])))).toMatchObject({ code, offset });
  });

  test("what has no wire form is refused", () => {
    expect(() => buildBfd({ ...control, state: 4 })).toThrow(RangeError);
    expect(() => buildBfd({ ...control, diagnostic: 32 })).toThrow(RangeError);
    expect(() => buildBfd({ ...control, my_discriminator: -1 })).toThrow(RangeError);
  });
});
