// Prefixes and ranges. What text is an address is in src/app/api/validate.test.ts.
import { describe, expect, it } from "vitest";
import { contains, eui64, formatIp, lastIp, overlap, parseCidr, parseIp, type Cidr } from "./address.ts";

describe("address arithmetic", () => {
  const c = (text: string): Cidr => parseCidr(text)!;
  it("contains and overlaps", () => {
    expect(contains(c("10.0.0.0/8"), parseIp("10.255.255.255")!)).toBe(true);
    expect(contains(c("10.0.0.0/8"), parseIp("11.0.0.0")!)).toBe(false);
    expect(contains(c("10.0.0.0/8"), c("10.1.0.0/16"))).toBe(true);
    expect(contains(c("10.1.0.0/16"), c("10.0.0.0/8"))).toBe(false);
    expect(contains(c("0.0.0.0/0"), parseIp("::1")!)).toBe(false);
    expect(overlap(c("10.0.0.0/8"), c("10.1.0.0/16"))).toBe(true);
    expect(overlap(c("10.0.0.0/16"), c("10.1.0.0/16"))).toBe(false);
    expect(lastIp(c("10.0.0.0/30"))).toBe(parseIp("10.0.0.3")!.value);
  });
  it("makes EUI-64 addresses", () => {
    expect(formatIp(eui64(c("fd00::/64"), "fa:16:3e:01:02:03"))).toBe("fd00::f816:3eff:fe01:203");
  });
});
