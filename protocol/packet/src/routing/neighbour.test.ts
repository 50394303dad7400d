import { describe, expect, test } from "vitest";

import { buildIcmpv6 } from "../icmp/icmpv6.ts";
import {
  buildNeighbourAdvertisement, buildNeighbourSolicitation, buildRouterAdvertisement, buildRouterSolicitation,
  infiniteLifetimeS, parseNeighbourAdvertisement, parseNeighbourSolicitation, parseRouterAdvertisement,
  parseRouterSolicitation,
} from "./neighbour.ts";
import type { RouterAdvertisementInput } from "./neighbour.ts";
import { parsePacket } from "../frame/packet.ts";
import { failure, frame, hex } from "../testing/vectors.ts";

const body = (name: string): Buffer => parsePacket(frame(name)).icmpv6!.payload;
const none = { prefixes: [], rdnss: [], dnssl: [], unknown: [] };

describe("captured", () => {
  test("router solicitation", () => {
    expect(parseRouterSolicitation(body("router solicitation"))).toEqual({ ...none, source_lladdr: "fa:16:3e:00:00:01" });
    expect(buildRouterSolicitation({ source_lladdr: "fa:16:3e:00:00:01" })).toEqual(body("router solicitation"));
    expect(buildRouterSolicitation()).toEqual(Buffer.alloc(4));
  });

  test("neighbour solicitation", () => {
    const fields = { target: "2001:db8::2", source_lladdr: "fa:16:3e:00:00:01" };
    expect(parseNeighbourSolicitation(body("neighbour solicitation"))).toEqual({ ...none, ...fields });
    expect(buildNeighbourSolicitation(fields)).toEqual(body("neighbour solicitation"));
  });

  test("duplicate address detection carries a nonce (RFC 7527)", () => {
    expect(parseNeighbourSolicitation(body("duplicate address detection"))).toEqual({
      ...none, target: "fe80::f816:3eff:fe00:1", nonce: hex("6622718f2bcd"),
    });
    expect(buildNeighbourSolicitation(parseNeighbourSolicitation(body("duplicate address detection")))).toEqual(body("duplicate address detection"));
  });

  test("neighbour advertisement of a router", () => {
    const fields = { target: "2001:db8::2", target_lladdr: "fa:16:3e:00:00:02", router: true, solicited: true, override: true };
    expect(parseNeighbourAdvertisement(body("neighbour advertisement"))).toEqual({ ...none, ...fields });
    expect(buildNeighbourAdvertisement(fields)).toEqual(body("neighbour advertisement"));
  });

  test("neighbour advertisement without options", () => {
    const fields = { target: "2001:db8::1", router: false, solicited: true, override: false };
    expect(parseNeighbourAdvertisement(body("neighbour advertisement without options"))).toEqual({ ...none, ...fields });
    expect(buildNeighbourAdvertisement(fields)).toEqual(body("neighbour advertisement without options"));
  });
});

const advertisement = {
  cur_hop_limit: 64, managed: true, other: false, router_lifetime_s: 1800, reachable_ms: 30000, retrans_ms: 1000,
  source_lladdr: "fa:16:3e:00:00:01",
  mtu: 1450,
  prefixes: [
    { prefix: "2001:db8:0:1::", length: 64, on_link: true, autonomous: true, valid_lifetime_s: 86400, preferred_lifetime_s: 14400 },
    { prefix: "fd00::", length: 48, on_link: true, autonomous: false, valid_lifetime_s: infiniteLifetimeS, preferred_lifetime_s: 0 },
  ],
  rdnss: { lifetime_s: 300, servers: ["2001:db8::53", "2001:db8::54"] },
  dnssl: { lifetime_s: 300, domains: ["example.com", "corp.example"] },
} satisfies RouterAdvertisementInput;

const advertisementBytes = hex(`
  40 80 0708  00007530  000003e8
  01 01 fa163e000001
  05 01 0000 000005aa
  03 04 40 c0 00015180 00003840 00000000 20010db8000000010000000000000000
  03 04 30 80 ffffffff 00000000 00000000 fd000000000000000000000000000000
  19 05 0000 0000012c 20010db8000000000000000000000053 20010db8000000000000000000000054
  1f 05 0000 0000012c 076578616d706c6503636f6d00 04636f7270076578616d706c6500 0000000000`);

describe("router advertisement", () => {
  test("is written as RFC 4861 and RFC 8106 lay it out", () => {
    expect(buildRouterAdvertisement(advertisement).toString("hex")).toBe(advertisementBytes.toString("hex"));
  });

  test("is read back", () => {
    const { rdnss, dnssl } = advertisement;
    expect(parseRouterAdvertisement(advertisementBytes)).toEqual({ ...advertisement, rdnss: [rdnss], dnssl: [dnssl], unknown: [] });
  });

  test("nothing given is all zeros and no options", () => {
    expect(buildRouterAdvertisement({})).toEqual(Buffer.alloc(12));
    const empty = { rdnss: { lifetime_s: 1, servers: [] }, dnssl: [] };
    expect(buildRouterAdvertisement(empty)).toEqual(Buffer.alloc(12));
  });

  test("rides in ICMPv6", () => {
    const ends = { src: "fe80::1", dst: "ff02::1" };
    const message = buildIcmpv6({ type: 134, code: 0 }, advertisementBytes, ends);
    expect(message.subarray(4)).toEqual(advertisementBytes);
  });

  test("what has no wire form is refused", () => {
    expect(() => buildRouterAdvertisement({ router_lifetime_s: 65536 })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ cur_hop_limit: 256 })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ prefixes: [{ ...advertisement.prefixes[0]!, length: 129 }] })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ source_lladdr: "x" })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ rdnss: { lifetime_s: 1, servers: Array<string>(200).fill("::1") } })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ dnssl: { lifetime_s: 1, domains: ["a..b"] } })).toThrow(RangeError);
    expect(() => buildRouterAdvertisement({ dnssl: { lifetime_s: 1, domains: ["a".repeat(64)] } })).toThrow(RangeError);
  });
});

describe("hostile options", () => {
  const head = "00".repeat(4);
  test.each([
    ["length 0", "0100 000000000000", "PACKET_MALFORMED", 5],
    ["an option longer than the message", "0102 fa163e000001", "PACKET_TRUNCATED", 12],
    ["half an address in RDNSS", `1902 0000 00000000 ${"00".repeat(8)}`, "PACKET_MALFORMED", 12],
    ["no address in RDNSS", "1901 0000 00000000", "PACKET_MALFORMED", 12],
    ["a short prefix option", "0301 40c0 00000000", "PACKET_TRUNCATED", 12],
    ["a prefix length of 129", `0304 81c0 ${"00".repeat(28)}`, "PACKET_MALFORMED", 6],
    ["a name that runs out in DNSSL", "1f02 0000 00000000 0a61616161616161", "PACKET_TRUNCATED", 12],
    ["a compressed name in DNSSL", "1f02 0000 00000000 0161c00000000000", "PACKET_MALFORMED", 14],
  ])("%s", (_, option, code, offset) => {
    expect(failure(() => parseRouterSolicitation(hex(head + option)))).toMatchObject({ code, offset });
  });

  test("the first link-layer address wins, one of another size and a second one are unknown", () => {
    const options = hex(`${head} 0102 ${"11".repeat(14)} 0101 fa163e000001 0101 fa163e000002`);
    expect(parseRouterSolicitation(options)).toMatchObject({ source_lladdr: "fa:16:3e:00:00:01", unknown: [{ type: 1, data: hex("11".repeat(14)) }, { type: 1, data: hex("fa163e000002") }] });
  });
});
