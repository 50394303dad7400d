// Bytes nobody should send: every decoder answers with a value or a PacketError. Seeds are fixed, so a failure repeats.

import { describe, expect, test } from "vitest";

import { buildDhcp, parseDhcp } from "./dhcp.ts";
import { decodeDhcpOption } from "./dhcp-options.ts";
import { decodeClasslessRoutes } from "./dhcp-routes.ts";
import { parseArp } from "./arp.ts";
import { parseEthernet } from "./ethernet.ts";
import { parseIcmpv4 } from "./icmpv4.ts";
import { parseIcmpv6 } from "./icmpv6.ts";
import { parseIpv4 } from "./ipv4.ts";
import { parseIpv6 } from "./ipv6.ts";
import {
  buildRouterAdvertisement, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./neighbour.ts";
import { parsePacket } from "./packet.ts";
import { failure, frames, randomBytes, seededRandom } from "./test-vectors.ts";
import { parseTcp } from "./tcp.ts";
import { parseUdp } from "./udp.ts";

const carrier = { src: "2001:db8::1", dst: "2001:db8::2", complete: true };

const decoders: Record<string, (bytes: Uint8Array) => unknown> = {
  parseEthernet, parsePacket, parseArp, parseIpv4, parseIpv6, parseIcmpv4, parseDhcp, parseRouterAdvertisement,
  parseRouterSolicitation, parseNeighbourSolicitation, parseNeighbourAdvertisement, decodeClasslessRoutes,
  parseIcmpv6: (bytes) => parseIcmpv6(bytes, carrier),
  parseUdp: (bytes) => parseUdp(bytes, carrier),
  parseTcp: (bytes) => parseTcp(bytes, carrier),
  everyDhcpOption: (bytes) => {
    for (let code = 0; code < 256; code++) failure(() => decodeDhcpOption(code, bytes));
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
const seeds = [...frames.values()].flatMap((bytes) => [bytes, bytes.subarray(14), bytes.subarray(34), bytes.subarray(42), bytes.subarray(58)])
  .concat([advertisement, overloaded]).filter((bytes) => bytes.length > 0);

describe.each(Object.entries(decoders))("%s", (name, decode) => {
  const rounds = name === "everyDhcpOption" ? 200 : 4000;

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
    for (const bytes of name === "everyDhcpOption" ? [advertisement] : seeds) {
      for (let length = 0; length <= bytes.length; length++) decodeHostile(decode, bytes.subarray(0, length));
    }
  });
});

test("plain Uint8Arrays with an offset read like Buffers", () => {
  for (const bytes of frames.values()) {
    const room = new Uint8Array(bytes.length + 7);
    room.set(bytes, 3);
    expect(parsePacket(room.subarray(3, 3 + bytes.length))).toEqual(parsePacket(bytes));
  }
});

test("repetition stays linear: 32000 empty parts of one option, 16000 pointers to one long name", () => {
  const fixed = overloaded.subarray(0, 240);
  const started = performance.now();
  expect(parseDhcp(Buffer.concat([fixed, Buffer.alloc(64000, Buffer.of(12, 0))])).options.size).toBe(1);
  const longName = Buffer.concat([Buffer.alloc(252, Buffer.of(1, 97)), Buffer.of(0)]);
  const names = decodeDhcpOption(119, Buffer.concat([longName, Buffer.alloc(32000, Buffer.of(0xc0, 0))]));
  expect(names.split(",").length).toBe(16001);
  expect(performance.now() - started).toBeLessThan(10_000);
});
