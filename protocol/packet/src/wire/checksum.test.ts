import { expect, test } from "vitest";

import { ipv6ToBytes } from "./address.ts";
import { checksum, pseudoHeaderSum } from "./checksum.ts";
import { buildIcmpv6 } from "../icmp/icmpv6.ts";
import { hex, randomBytes, seededRandom } from "../testing/vectors.ts";
import { buildUdp } from "../transport/udp.ts";

/** One's complement addition is arithmetic modulo 65535: the bytes as one huge number say the same, slowly. */
function slowChecksum(bytes: Uint8Array): number {
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.of(0)]);
  const value = BigInt(`0x0${Buffer.from(even).toString("hex")}`);
  if (value === 0n) return 0xffff;
  const folded = value % 0xffffn;
  return 0xffff - Number(folded === 0n ? 0xffffn : folded);
}

test("the worked example of RFC 1071 section 3", () => {
  expect(checksum(hex("0001 f203 f4f5 f6f7"))).toBe(0xffff - 0xddf2);
});

test("agrees with the slow one at every length", () => {
  const random = seededRandom(1071);
  for (let length = 0; length < 600; length++) {
    const bytes = length % 7 === 0 ? Buffer.alloc(length, 0xff) : randomBytes(random, length);
    expect(checksum(bytes)).toBe(slowChecksum(bytes));
  }
  const large = Buffer.alloc(65535, 0xff);
  expect(checksum(large)).toBe(slowChecksum(large));
});

test("UDP and ICMPv6 cover the pseudo-header, written out here byte by byte", () => {
  const random = seededRandom(768);
  const [src6, dst6] = ["2001:db8::1", "fe80::f816:3eff:fe00:2"];
  for (let length = 0; length < 300; length++) {
    const payload = randomBytes(random, length);
    const total = Buffer.alloc(4);

    const udp4 = buildUdp({ src_port: random() & 0xffff, dst_port: 53 }, payload, { src: "192.0.2.1", dst: "198.51.100.7" });
    total.writeUInt32BE(udp4.length);
    expect(slowChecksum(Buffer.concat([hex("c0000201 c6336407 0011"), total.subarray(2), udp4]))).toBe(0);

    const udp6 = buildUdp({ src_port: random() & 0xffff, dst_port: 53 }, payload, { src: src6, dst: dst6 });
    expect(slowChecksum(Buffer.concat([ipv6ToBytes(src6), ipv6ToBytes(dst6), total, hex("00000011"), udp6]))).toBe(0);

    const icmpv6 = buildIcmpv6({ type: 128, code: 0 }, payload, { src: src6, dst: dst6 });
    total.writeUInt32BE(icmpv6.length);
    expect(slowChecksum(Buffer.concat([ipv6ToBytes(src6), ipv6ToBytes(dst6), total, hex("0000003a"), icmpv6]))).toBe(0);
  }
});

test("a UDP checksum of 0 is sent as 0xffff", () => {
  const ends = { src: "192.0.2.1", dst: "192.0.2.2" };
  const ports = { src_port: 1, dst_port: 2 };
  const plain = buildUdp(ports, Buffer.alloc(2), ends).readUInt16BE(6);
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(plain); // adding a checksum to what it covers makes the sum 0xffff
  expect(buildUdp(ports, payload, ends).readUInt16BE(6)).toBe(0xffff);
});

test("the length of a jumbo pseudo-header counts with both halves", () => {
  expect(pseudoHeaderSum({ src: "::", dst: "::" }, 17, 0x12345)).toBe(0x1 + 0x2345 + 17);
});
