import { describe, expect, it } from "vitest";
import { ApiError } from "./refusal.ts";
import * as v from "./validate.ts";

const refusal = (fn: () => unknown): { status: number; type: string; message: string } => {
  try {
    fn();
  } catch (error) {
    if (error instanceof ApiError) return { status: error.status, type: error.type, message: error.message };
    throw error;
  }
  throw new Error("was not refused");
};

describe("accepted values and their stored form", () => {
  const table: [string, import("./resource.ts").Convert, unknown, unknown][] = [
    ["name", v.name, "ünï", "ünï"],
    ["name of 255 astral characters", v.name, "😀".repeat(255), "😀".repeat(255)],
    ["boolean word", v.boolean, "Yes", true],
    ["boolean digit", v.boolean, 0, false],
    ["boolean digit in a string", v.boolean, "1", true],
    ["integer", v.integer(0, 10), "7", 7],
    ["integer minus zero", v.integer(), -0, 0],
    ["integral float", v.integer(), 3.0, 3],
    ["uuid without dashes", v.uuid, "D2719AB4C5D64E1F8A9B0C1D2E3F4A5B", "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b"],
    ["uuid or null", v.uuidOrNull, null, null],
    ["uuid list null", v.uuidList, null, []],
    ["IPv4", v.ip, "10.0.0.1", "10.0.0.1"],
    ["IPv6", v.ip, "FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["IPv6 two runs of zeros", v.ip, "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["IPv6 one zero group stays", v.ip, "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["IPv4 in IPv6", v.ip, "::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["all zeros", v.ip, "::", "::"],
    ["no address", v.ipOrNull, null, null],
    ["cidr with host bits", v.cidr, "10.0.0.5/24", "10.0.0.0/24"],
    ["cidr bare", v.cidr, "10.0.0.5", "10.0.0.5/32"],
    ["cidr netmask", v.cidr, "10.1.2.3/255.255.0.0", "10.1.0.0/16"],
    ["cidr v6", v.cidr, "2001:DB8::1/64", "2001:db8::/64"],
    ["cidr of everything", v.cidr, "0.0.0.0/0", "0.0.0.0/0"],
    ["mac upper case", v.mac, "FA:16:3E:00:00:0A", "fa:16:3e:00:00:0a"],
    ["mac dashes", v.mac, "fa-16-3e-00-00-0a", "fa:16:3e:00:00:0a"],
    ["mac dots", v.mac, "fa16.3e00.000a", "fa:16:3e:00:00:0a"],
    ["mac bare", v.mac, "fa163e00000a", "fa:16:3e:00:00:0a"],
    ["mac short octets", v.mac, "2:0:0:0:0:a", "02:00:00:00:00:0a"],
    ["one of", v.oneOf("ingress", "egress"), "egress", "egress"],
    ["one of, number as text", v.oneOf(4, 6), "6", 6],
    ["one of, null", v.oneOf("a", null), null, null],
    ["one of in any case", v.oneOfIgnoringCase("IPv4", "IPv6"), "ipv6", "IPv6"],
    ["fixed ips", v.fixedIps, [{ ip_address: "FD00::1", other: 1 }], [{ ip_address: "fd00::1" }]],
    ["pools sorted", v.allocationPools, [{ start: "10.0.0.9", end: "10.0.0.9" }, { start: "10.0.0.2", end: "10.0.0.3" }], [{ start: "10.0.0.2", end: "10.0.0.3" }, { start: "10.0.0.9", end: "10.0.0.9" }]],
    ["nameservers null", v.nameservers, null, []],
    ["nameservers in order", v.nameservers, ["9.9.9.9", "1.1.1.1"], ["9.9.9.9", "1.1.1.1"]],
    ["host routes", v.hostRoutes, [{ destination: "10.9.0.0/16", nexthop: "10.0.0.1" }], [{ destination: "10.9.0.0/16", nexthop: "10.0.0.1" }]],
    ["address pairs", v.addressPairs, [{ ip_address: "0.0.0.0/0" }, { ip_address: "10.0.0.1", mac_address: "FA:16:3E:00:00:01" }], [{ ip_address: "0.0.0.0/0" }, { ip_address: "10.0.0.1", mac_address: "fa:16:3e:00:00:01" }]],
    ["object with keys", v.objectOf({ a: { check: v.integer() }, b: { check: v.boolean, default: true } }), { a: "1" }, { a: 1, b: true }],
    ["null as", v.nullAs("", v.string(255)), null, ""],
  ];
  it.each(table)("%s", (_, check, given, stored) => expect(check(given, "x")).toEqual(stored));
});

describe("refused values", () => {
  const bad = "Invalid input for x. Reason: ";
  const table: [string, import("./resource.ts").Convert, unknown, string, string][] = [
    ["name of a number", v.name, 5, "HTTPBadRequest", `${bad}'5' is not a valid string.`],
    ["name null", v.name, null, "HTTPBadRequest", `${bad}'None' is not a valid string.`],
    ["name too long", v.string(3), "abcd", "HTTPBadRequest", `${bad}'abcd' exceeds maximum length of 3.`],
    ["boolean", v.boolean, "maybe", "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."],
    ["boolean null", v.boolean, null, "InvalidInput", "Invalid input for operation: 'None' cannot be converted to boolean."],
    ["boolean 2", v.boolean, 2, "InvalidInput", "Invalid input for operation: '2' cannot be converted to boolean."],
    ["integer of a boolean", v.integer(), true, "InvalidInput", "Invalid input for operation: 'True' is not an integer."],
    ["integer of a float", v.integer(), 1.5, "InvalidInput", "Invalid input for operation: '1.5' is not an integer."],
    ["integer of text", v.integer(), "0x10", "InvalidInput", "Invalid input for operation: '0x10' is not an integer."],
    ["integer huge", v.integer(), 1e300, "InvalidInput", "Invalid input for operation: '1e+300' is not an integer."],
    ["integer small", v.integer(1, 5), 0, "HTTPBadRequest", `${bad}'0' is too small - must be at least '1'.`],
    ["integer large", v.integer(1, 5), 6, "HTTPBadRequest", `${bad}'6' is too large - must be no larger than '5'.`],
    ["uuid", v.uuid, "abc", "HTTPBadRequest", `${bad}'abc' is not a valid UUID.`],
    ["uuid twice", v.uuidList, ["d2719ab4c5d64e1f8a9b0c1d2e3f4a5b", "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b"], "HTTPBadRequest", `${bad}Duplicate items in the list: 'd2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b, d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b'.`],
    ["list of no list", v.uuidList, {}, "HTTPBadRequest", `${bad}'{}' is not a list.`],
    ["leading zeros", v.ip, "10.00.0.1", "HTTPBadRequest", `${bad}'10.00.0.1' is not a valid IP address.`],
    ["blank in address", v.ip, " 10.0.0.1", "HTTPBadRequest", `${bad}' 10.0.0.1' is not a valid IP address.`],
    ["three octets", v.ip, "10.0.1", "HTTPBadRequest", `${bad}'10.0.1' is not a valid IP address.`],
    ["two gaps", v.ip, "1::2::3", "HTTPBadRequest", `${bad}'1::2::3' is not a valid IP address.`],
    ["three colons", v.ip, "1:::2", "HTTPBadRequest", `${bad}'1:::2' is not a valid IP address.`],
    ["zone", v.ip, "fe80::1%eth0", "HTTPBadRequest", `${bad}'fe80::1%eth0' is not a valid IP address.`],
    ["prefix too long", v.cidr, "10.0.0.0/33", "HTTPBadRequest", `${bad}'10.0.0.0/33' is not a valid IP subnet.`],
    ["mask with holes", v.cidr, "10.0.0.0/255.0.255.0", "HTTPBadRequest", `${bad}'10.0.0.0/255.0.255.0' is not a valid IP subnet.`],
    ["host bits", v.strictCidr, "10.0.0.1/24", "HTTPBadRequest", `${bad}'10.0.0.1/24' isn't a recognized IP subnet cidr, '10.0.0.0/24' is recommended.`],
    ["mac zero", v.mac, "00:00:00:00:00:00", "HTTPBadRequest", `${bad}'00:00:00:00:00:00' is not a valid MAC address.`],
    ["mac multicast", v.mac, "01:00:5e:00:00:01", "HTTPBadRequest", `${bad}'01:00:5e:00:00:01' is not a valid MAC address.`],
    ["mac broadcast", v.mac, "ff:ff:ff:ff:ff:ff", "HTTPBadRequest", `${bad}'ff:ff:ff:ff:ff:ff' is not a valid MAC address.`],
    ["one of", v.oneOf("ingress", "egress"), "both", "HTTPBadRequest", `${bad}'both' is not in ['ingress', 'egress'].`],
    ["object of a list", v.object, [], "HTTPBadRequest", `${bad}'[]' is not a dictionary.`],
    ["fixed ip empty", v.fixedIps, [{}], "InvalidInput", "Invalid input for operation: IP allocation requires subnet_id or ip_address."],
    ["fixed ips null", v.fixedIps, null, "HTTPBadRequest", `${bad}'None' is not a list.`],
    ["fixed ip twice", v.fixedIps, [{ ip_address: "fd00::1" }, { ip_address: "FD00:0::1" }], "HTTPBadRequest", `${bad}Duplicate IP address 'fd00::1'.`],
    ["pool backwards", v.allocationPools, [{ start: "10.0.0.9", end: "10.0.0.2" }], "InvalidAllocationPool", "The allocation pool 10.0.0.9-10.0.0.2 is not valid."],
    ["pool with more keys", v.allocationPools, [{ start: "10.0.0.2", end: "10.0.0.9", step: 1 }], "HTTPBadRequest", `${bad}Invalid data format for IP pool: '{start: 10.0.0.2, end: 10.0.0.9, step: 1}'.`],
    ["nameserver twice", v.nameservers, ["9.9.9.9", "9.9.9.9"], "HTTPBadRequest", `${bad}Duplicate nameserver '9.9.9.9'.`],
    ["six nameservers", v.nameservers, ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"], "DNSNameServersExhausted", "Unable to complete operation. The number of DNS nameservers exceeds the limit 5."],
    ["route to loopback", v.hostRoutes, [{ destination: "127.1.0.0/16", nexthop: "10.0.0.1" }], "HTTPBadRequest", `${bad}'127.1.0.0/16' is a loopback network.`],
    ["route of two families", v.hostRoutes, [{ destination: "10.1.0.0/16", nexthop: "fd00::1" }], "HTTPBadRequest", `${bad}nexthop 'fd00::1' is not of the family of '10.1.0.0/16'.`],
    ["pair without address", v.addressPairs, [{ mac_address: "fa:16:3e:00:00:01" }], "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"],
    ["pair twice", v.addressPairs, [{ ip_address: "10.0.0.1" }, { ip_address: "10.0.0.1" }], "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address None ip_address 10.0.0.1."],
    ["eleven pairs", v.addressPairs, Array.from({ length: 11 }, (_, i) => ({ ip_address: `10.0.0.${i}` })), "AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum 10."],
  ];
  it.each(table)("%s", (_, check, given, type, message) => expect(refusal(() => check(given, "x"))).toEqual({ status: 400, type, message }));

  it("quotes a value of any depth without overflowing", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 50_000; i++) deep = [deep];
    expect(refusal(() => v.name(deep, "x")).message).toBe("Invalid input for x. Reason: '[[[...]]]' is not a valid string.");
    expect(refusal(() => v.object({ a: deep }, "x")).message).toBe("Invalid input for x. Reason: nested deeper than 16 levels.");
  });
});

describe("address arithmetic", () => {
  const c = (text: string): v.Cidr => v.parseCidr(text)!;
  it("contains and overlaps", () => {
    expect(v.contains(c("10.0.0.0/8"), v.parseIp("10.255.255.255")!)).toBe(true);
    expect(v.contains(c("10.0.0.0/8"), v.parseIp("11.0.0.0")!)).toBe(false);
    expect(v.contains(c("10.0.0.0/8"), c("10.1.0.0/16"))).toBe(true);
    expect(v.contains(c("10.1.0.0/16"), c("10.0.0.0/8"))).toBe(false);
    expect(v.contains(c("0.0.0.0/0"), v.parseIp("::1")!)).toBe(false);
    expect(v.overlap(c("10.0.0.0/8"), c("10.1.0.0/16"))).toBe(true);
    expect(v.overlap(c("10.0.0.0/16"), c("10.1.0.0/16"))).toBe(false);
    expect(v.lastIp(c("10.0.0.0/30"))).toBe(v.parseIp("10.0.0.3")!.value);
  });
  it("makes EUI-64 addresses", () => {
    expect(v.formatIp(v.eui64(c("fd00::/64"), "fa:16:3e:01:02:03"))).toBe("fd00::f816:3eff:fe01:203");
  });
});
