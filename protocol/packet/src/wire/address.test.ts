import { describe, expect, test } from "vitest";

import {
  bigIntToIpv6, bigIntToMac, eui64, ipv4ToNumber, ipv6MulticastMac, ipv6ToBigInt, linkLocal, macToBigInt, numberToIpv4,
  solicitedNode,
} from "./address.ts";
import { PacketValueError } from "./errors.ts";
import { seededRandom } from "../testing/vectors.ts";

describe("IPv4", () => {
  test.each([["0.0.0.0", 0], ["192.0.2.1", 0xc0000201], ["255.255.255.255", 0xffffffff]])("%s", (text, value) => {
    expect(ipv4ToNumber(text)).toBe(value);
    expect(numberToIpv4(value)).toBe(text);
  });

  test.each(["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1.2.3.-4", "0x1.2.3.4"])(
    "%j is refused", (text) => {
      expect(() => ipv4ToNumber(text)).toThrow(PacketValueError);
    });

  test.each([-1, 0x100000000, 1.5, Number.NaN])("%d is refused", (value) => {
    expect(() => numberToIpv4(value)).toThrow(PacketValueError);
  });
});

describe("IPv6", () => {
  // Left: any legal text. Right: the one RFC 5952 asks for.
  test.each([
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8::1", "2001:db8::1"],
    ["2001:0db8:0:0:0:0:0:0001", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
  ])("%s is %s", (text, canonical) => {
    expect(bigIntToIpv6(ipv6ToBigInt(text))).toBe(canonical);
  });

  test.each([
    "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "1:2:3:4::5:6:7:8", "g::", "12345::", "fe80::1%eth0",
    "1.2.3.4", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", ":1:2:3:4:5:6:7", "::1/64", " ::1",
  ])("%j is refused", (text) => {
    expect(() => ipv6ToBigInt(text)).toThrow(PacketValueError);
  });

  test("random addresses read back, and look as the URL parser of Node writes them", () => {
    const random = seededRandom(5952);
    for (let round = 0; round < 2000; round++) {
      let value = 0n;
      for (let group = 0; group < 8; group++) value = (value << 16n) | BigInt(random() % 3 === 0 ? random() & 0xffff : 0);
      const text = bigIntToIpv6(value);
      expect(ipv6ToBigInt(text)).toBe(value);
      if (value >> 32n !== 0xffffn) expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
    }
  });

  test("numbers out of range are refused", () => {
    expect(() => bigIntToIpv6(-1n)).toThrow(PacketValueError);
    expect(() => bigIntToIpv6(1n << 128n)).toThrow(PacketValueError);
  });
});

describe("MAC", () => {
  test("text and number", () => {
    expect(macToBigInt("FA:16:3e:00:00:01")).toBe(0xfa163e000001n);
    expect(bigIntToMac(0x0000_0000_00ffn)).toBe("00:00:00:00:00:ff");
  });

  test.each(["", "fa:16:3e:00:00", "fa:16:3e:00:00:01:02", "fa-16-3e-00-00-01", "fa:16:3e:00:00:g1", "fa163e000001"])(
    "%j is refused", (text) => {
      expect(() => macToBigInt(text)).toThrow(PacketValueError);
    });

  test("numbers out of range are refused", () => {
    expect(() => bigIntToMac(-1n)).toThrow(PacketValueError);
    expect(() => bigIntToMac(1n << 48n)).toThrow(PacketValueError);
  });
});

test("addresses derived from a MAC", () => {
  expect(linkLocal("fa:16:3e:00:00:01")).toBe("fe80::f816:3eff:fe00:1");
  expect(eui64("2001:db8:0:1::/64", "02:00:00:12:34:56")).toBe("2001:db8:0:1:0:ff:fe12:3456");
  expect(eui64("2001:db8::", "fa:16:3e:00:00:01")).toBe("2001:db8::f816:3eff:fe00:1");
  expect(() => eui64("2001:db8::/56", "fa:16:3e:00:00:01")).toThrow(PacketValueError);
});

test("groups derived from an address", () => {
  expect(solicitedNode("2001:db8::f816:3eff:feab:cdef")).toBe("ff02::1:ffab:cdef");
  expect(ipv6MulticastMac("ff02::1:ffab:cdef")).toBe("33:33:ff:ab:cd:ef");
});
