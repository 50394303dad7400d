// Bytes nobody should send: every decoder answers with a value or a PacketError. Seeds are fixed, so a failure repeats.

import { describe, expect, onTestFinished, test, vi } from "vitest";

import { parseArp } from "./ethernet/arp.ts";
import { parseBfd } from "./routing/bfd.ts";
import { buildDhcp, parseDhcp } from "./dhcp/dhcp.ts";
import { decodeDhcpValue } from "./dhcp/option-table.ts";
import { decodeDhcpOption } from "./dhcp/options.ts";
import { decodeClasslessRoutes } from "./dhcp/routes.ts";
import { parseDhcp6 } from "./dhcp/dhcp6.ts";
import { parseDns } from "./dns/dns.ts";
import { parseDuid } from "./dhcp/duid.ts";
import { parseEthernet } from "./ethernet/ethernet.ts";
import { parseIcmpv4, parseIcmpv4Body } from "./icmp/icmpv4.ts";
import { parseIcmpv6 } from "./icmp/icmpv6.ts";
import { parseIcmpv6Body } from "./icmp/icmpv6-body.ts";
import { parseIgmp } from "./routing/igmp.ts";
import { parseIpv4, parseIpv4Options } from "./ip/ipv4.ts";
import { parseIpv6 } from "./ip/ipv6.ts";
import {
  buildRouterAdvertisement, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRedirect, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./routing/neighbour.ts";
import { parsePacket } from "./frame/packet.ts";
import { decodeDomainNames } from "./wire/domain-name.ts";
import { depthMax } from "./wire/reader.ts";
import { parseTcp, parseTcpOptions } from "./transport/tcp.ts";
import { dissect, rebuild } from "./testing/dissect.ts";
import type { Dissection } from "./testing/dissect.ts";
import { captured, failure, frames, hex, randomBytes, seededRandom } from "./testing/vectors.ts";
import { parseUdp } from "./transport/udp.ts";

const carrier = { src: "2001:db8::1", dst: "2001:db8::2", complete: true };

const decoders: Record<string, (bytes: Uint8Array) => unknown> = {
  parseEthernet, parsePacket, parseArp, parseIpv4, parseIpv6, parseIcmpv4, parseIgmp, parseDhcp, parseDhcp6, parseDns, parseBfd, parseDuid,
  parseIpv4Options, parseTcpOptions, parseRouterAdvertisement, parseRouterSolicitation, parseNeighbourSolicitation,
  parseNeighbourAdvertisement, parseRedirect, decodeClasslessRoutes,
  parseIcmpv6: (bytes) => parseIcmpv6(bytes, carrier),
  parseUdp: (bytes) => parseUdp(bytes, carrier),
  parseTcp: (bytes) => parseTcp(bytes, carrier),
  icmpv4Body: (bytes) => parseIcmpv4Body(parseIcmpv4(bytes)),
  icmpv6Body: (bytes) => parseIcmpv6Body(parseIcmpv6(bytes, carrier)),
  everyDhcpOption: (bytes) => {
    for (let code = 0; code < 256; code++) {
      failure(() => decodeDhcpOption(code, bytes));
      failure(() => decodeDhcpValue(code, bytes));
    }
  },
};

/** Also checks that the offset points into the bytes or right behind them. */
function decodeHostile(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  const error = failure(() => decode(bytes));
  if (error === undefined) return;
  if (error.offset < 0 || error.offset > bytes.length) throw new Error(`offset ${error.offset} of ${bytes.length} bytes`);
}

const advertisement = buildRouterAdvertisement({
  source_lladdr: "fa:16:3e:00:00:01", mtu: 1500, rdnss: { lifetime_s: 9, servers: ["2001:db8::53"] },
  prefixes: [{ prefix: "fd00::", length: 64, on_link: true, autonomous: true, valid_lifetime_s: 9, preferred_lifetime_s: 9 }],
  dnssl: { lifetime_s: 9, domains: ["example.com"] },
});
const overloaded = buildDhcp({
  op: 1, xid: 1, chaddr: "fa:16:3e:00:00:01", options: new Map([[53, Buffer.of(1)], [119, Buffer.alloc(300, 1)]]),
});

/** Good bytes to spoil, each from the innermost header out, so every decoder gets near misses. */
const seeds = [...frames.values(), ...captured.frames.values()].flatMap((bytes) => [bytes, bytes.subarray(14), bytes.subarray(34), bytes.subarray(42), bytes.subarray(58)])
  .concat([advertisement, overloaded]).filter((bytes) => bytes.length > 0);

describe.each(Object.entries(decoders))("%s", (name, decode) => {
  const rounds = name === "everyDhcpOption" ? 200 : 2000;

  test("random bytes", () => {
    const random = seededRandom(1);
    for (let round = 0; round < rounds; round++) decodeHostile(decode, randomBytes(random, random() % 120));
  });

  test("spoiled good bytes", () => {
    const random = seededRandom(2);
    for (let round = 0; round < rounds; round++) {
      const bytes = Buffer.from(seeds[random() % seeds.length]!);
      for (let edits = 1 + (random() % 4); edits > 0; edits--) {
        const at = random() % bytes.length;
        bytes.writeUInt8([0, 0xff, random() & 0xff, bytes.readUInt8(at) ^ (1 << (random() & 7))][random() & 3]!, at);
      }
      decodeHostile(decode, bytes.subarray(0, random() % 3 === 0 ? random() % (bytes.length + 1) : bytes.length));
    }
  });

  test("every truncation", () => {
    for (const bytes of name === "everyDhcpOption" ? [advertisement] : [...frames.values(), advertisement, overloaded]) {
      for (let length = 0; length <= bytes.length; length++) decodeHostile(decode, bytes.subarray(0, length));
    }
  });
});

describe("every captured frame, through everything it carries", () => {
  const whole = [...frames.values(), ...captured.frames.values()];

  test("every truncation", () => {
    for (const bytes of whole) {
      for (let length = 0; length < bytes.length; length++) failure(() => dissect(bytes.subarray(0, length)));
    }
  });

  const nightly = process.env["AXION_NIGHTLY"] === "1";
  const rounds = nightly ? 1_000_000 : 20_000;
  const seed = nightly ? Date.now() >>> 0 : 20261124;

  test(`${rounds} mutations, seed ${seed}: a PacketError, or a value that builders take or refuse with a RangeError`, { timeout: 1_800_000 }, () => {
    console.log(`packet mutations: seed ${seed}`);
    const random = seededRandom(seed);
    let read = 0;
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(random, whole[random() % whole.length]!);
      let parts: Dissection | undefined;
      if (failure(() => (parts = dissect(bytes))) !== undefined) continue;
      read++;
      // What is read may still have no wire form, such as options that no longer fit; that is a RangeError and no other.
      try {
        rebuild(parts!);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }
    expect(read).toBeGreaterThan(rounds / 10);
    expect(read).toBeLessThan(rounds);
  });
});

/** A few bytes changed, one taken out or doubled, or the end cut. */
function mutate(random: () => number, good: Buffer): Buffer {
  let bytes = Buffer.from(good);
  for (let edits = 1 + (random() % 4); edits > 0 && bytes.length > 0; edits--) {
    const at = random() % bytes.length;
    switch (random() % 8) {
      case 0: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]); break;
      case 1: bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at & ~3)]); break;
      case 2: bytes = bytes.subarray(0, at); break;
      default: bytes.writeUInt8([0, 0xff, random() & 0xff, bytes.readUInt8(at) ^ (1 << (random() & 7))][random() & 3]!, at);
    }
  }
  return bytes;
}

describe("bounds", () => {
  /** `depth` DHCPv6 relays, the innermost without an option. */
  const relays = (depth: number): Buffer => {
    let message = Buffer.concat([Buffer.of(12, 0), Buffer.alloc(32)]);
    for (let level = 0; level < depth; level++) {
      const head = Buffer.of(0, 9, message.length >>> 8, message.length & 0xff);
      message = Buffer.concat([Buffer.of(12, 0), Buffer.alloc(32), head, message]);
    }
    return message;
  };

  test("DHCPv6 relays and options nest so deep and no deeper", () => {
    expect(failure(() => parseDhcp6(relays(depthMax)))).toBeUndefined();
    expect(failure(() => parseDhcp6(relays(depthMax + 1)))).toMatchObject({ code: "PACKET_UNSUPPORTED", offset: (depthMax + 1) * 38 });
    expect(failure(() => parseDhcp6(relays(1700)))).toMatchObject({ code: "PACKET_UNSUPPORTED" });
    let options = Buffer.alloc(0);
    for (let level = 0; level < 15000; level++) options = Buffer.concat([Buffer.of(0, 45, options.length >>> 8, options.length & 0xff), options]);
    expect(failure(() => parseDhcp6(Buffer.concat([Buffer.of(1, 0, 0, 0), options])))).toMatchObject({ code: "PACKET_UNSUPPORTED" });
  });

  const header = (answers: number): Buffer => Buffer.from([0, 1, 0x80, 0, 0, 0, answers >>> 8, answers & 0xff, 0, 0, 0, 0]);

  test.each([
    ["a pointer to itself", "c00c", "PACKET_MALFORMED", 12],
    ["a pointer forward", "c00e 00", "PACKET_MALFORMED", 12],
    ["a loop through a label", "0161 c00c", "PACKET_MALFORMED", 14],
    ["a label type from the future", "8000", "PACKET_MALFORMED", 12],
    ["a name that runs out", "3f61", "PACKET_TRUNCATED", 12],
  ])("DNS name: %s", (_, name, code, offset) => {
    expect(failure(() => parseDns(Buffer.concat([header(1), hex(name)])))).toMatchObject({ code, offset });
  });

  test("a chain of DNS pointers is not followed for ever", () => {
    const chain = Buffer.concat(Array.from({ length: 500 }, (_, at) => Buffer.of(0xc0 | ((10 + at * 2) >>> 8), (10 + at * 2) & 0xff)));
    chain.writeUInt16BE(0, 0);
    const record = Buffer.from([0xc0 | ((12 + 998) >>> 8), (12 + 998) & 0xff, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    const message = Buffer.concat([header(1), Buffer.of(0, 0xff, 0, 0, 1, 0, 0, 0, 0, 3, 0xe8), chain, record]);
    message.writeUInt16BE(2, 6);
    expect(failure(() => parseDns(message))).toMatchObject({ code: "PACKET_MALFORMED" });
  });

  test("counts that promise more than is there cost nothing", () => {
    expect(failure(() => parseDns(Buffer.from([0, 1, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])))).toMatchObject({ code: "PACKET_TRUNCATED", offset: 12 });
    expect(failure(() => parseIgmp(hex("2200 0000 0000 ffff")))).toMatchObject({ code: "PACKET_TRUNCATED", offset: 8 });
  });
});

test("plain Uint8Arrays with an offset read like Buffers", () => {
  for (const bytes of frames.values()) {
    const room = new Uint8Array(bytes.length + 7);
    room.set(bytes, 3);
    expect(parsePacket(room.subarray(3, 3 + bytes.length))).toEqual(parsePacket(bytes));
  }
});

test("the parts of one option are joined once, however many", () => {
  const fixed = overloaded.subarray(0, 240);
  const concat = vi.spyOn(Buffer, "concat");
  onTestFinished(() => concat.mockRestore());
  const message = Buffer.alloc(240 + 64000, Buffer.of(12, 0));
  fixed.copy(message);
  expect(parseDhcp(message).options).toEqual(new Map([[12, Buffer.alloc(0)]]));
  expect(concat).toHaveBeenCalledTimes(1);
});

test("what pointers to one long name cost is in proportion to their number", () => {
  const longName = Buffer.concat([Buffer.alloc(252, Buffer.of(1, 97)), Buffer.of(0)]);
  /** Reads of bytes and of pieces of text. */
  const reads = (pointers: number): number => {
    let n = 0;
    const bytes = Buffer.concat([longName, Buffer.alloc(2 * pointers, Buffer.of(0xc0, 0))]);
    const counting = new Proxy(bytes, {
      get: (of, name) => {
        const value: unknown = Reflect.get(of, name);
        if (name !== "length") n++;
        return typeof value === "function" ? (value as (this: unknown) => unknown).bind(of) : value;
      },
    });
    expect(decodeDomainNames(counting, { compressed: true, padded: false })).toHaveLength(1 + pointers);
    return n;
  };
  const [none, some, most] = [reads(0), reads(100), reads(16_000)];
  expect(most - none).toBe(160 * (some - none));
  expect(some - none).toBeLessThanOrEqual(100 * (none + 2));
  expect(decodeDhcpOption(119, Buffer.concat([longName, Buffer.alloc(32_000, Buffer.of(0xc0, 0))])).split(",")).toHaveLength(16_001);
});
