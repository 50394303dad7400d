import { describe, expect, it } from "vitest";
import { ApiError, badRequest } from "./refusal.ts";
import { NULL, orNull, UUID_LIST, type Check } from "./check.ts";
import { makeCheck } from "./validate.ts";

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
  const table: [string, Check, unknown, unknown][] = [
    ["name", { type: "string" }, "ünï", "ünï"],
    ["name of 255 astral characters", { type: "string" }, "😀".repeat(255), "😀".repeat(255)],
    ["boolean word", { type: "boolean" }, "Yes", true],
    ["boolean digit", { type: "boolean" }, 0, false],
    ["boolean digit in a string", { type: "boolean" }, "1", true],
    ["integer", { range: [0, 10] }, "7", 7],
    ["integer minus zero", { type: "integer" }, -0, 0],
    ["integral float", { type: "integer" }, 3.0, 3],
    ["uuid without dashes", { type: "uuid" }, "D2719AB4C5D64E1F8A9B0C1D2E3F4A5B", "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b"],
    ["uuid or null", orNull({ type: "uuid" }), null, null],
    ["uuid list null", UUID_LIST, null, []],
    ["IPv4", { type: "ip" }, "10.0.0.1", "10.0.0.1"],
    ["IPv6", { type: "ip" }, "FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["IPv6 two runs of zeros", { type: "ip" }, "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["IPv6 one zero group stays", { type: "ip" }, "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["IPv4 in IPv6", { type: "ip" }, "::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["all zeros", { type: "ip" }, "::", "::"],
    ["no address", orNull({ type: "ip" }), null, null],
    ["cidr with host bits", { type: "cidr" }, "10.0.0.5/24", "10.0.0.0/24"],
    ["cidr bare", { type: "cidr" }, "10.0.0.5", "10.0.0.5/32"],
    ["cidr netmask", { type: "cidr" }, "10.1.2.3/255.255.0.0", "10.1.0.0/16"],
    ["cidr v6", { type: "cidr" }, "2001:DB8::1/64", "2001:db8::/64"],
    ["cidr of everything", { type: "cidr" }, "0.0.0.0/0", "0.0.0.0/0"],
    ["mac upper case", { type: "mac" }, "FA:16:3E:00:00:0A", "fa:16:3e:00:00:0a"],
    ["mac dashes", { type: "mac" }, "fa-16-3e-00-00-0a", "fa:16:3e:00:00:0a"],
    ["mac dots", { type: "mac" }, "fa16.3e00.000a", "fa:16:3e:00:00:0a"],
    ["mac bare", { type: "mac" }, "fa163e00000a", "fa:16:3e:00:00:0a"],
    ["mac short octets", { type: "mac" }, "2:0:0:0:0:a", "02:00:00:00:00:0a"],
    ["one of", { enum: ["ingress", "egress"] }, "egress", "egress"],
    ["one of, number as text", { enum: [4, 6] }, "6", 6],
    ["one of, null", { enum: ["a", null] }, null, null],
    ["one of in any case", { enum: ["IPv4", "IPv6"], anyCase: true }, "ipv6", "IPv6"],
    ["object with keys", { dict: { a: { check: { type: "integer" } }, b: { check: { type: "boolean" }, default: true } } }, { a: "1" }, { a: 1, b: true }],
    ["key that may be absent", { dict: { a: { check: { type: "integer" } } } }, {}, {}],
    ["or, the second", { or: [{ type: "uuid" }, { type: "ip" }] }, "10.0.0.1", "10.0.0.1"],
    ["or, null first", { or: [NULL, { range: [0, 9] }] }, "7", 7],
    ["list at its limit", { list: { type: "boolean" }, max: 2 }, ["yes", 0], [true, false]],
    ["pattern", { type: "string", pattern: "a|b+", is: "an a" }, "bb", "bb"],
    ["prefix with its host bits", { type: "ip-or-cidr" }, "FD00::5/64", "fd00::5/64"],
    ["anything", { type: "any" }, { a: [1, null] }, { a: [1, null] }],
    ["null as", { null: "", else: { type: "string" } }, null, ""],
  ];
  it.each(table)("%s", (_, check, given, stored) => expect(makeCheck(check)(given, "x")).toEqual(stored));
});

describe("refused values", () => {
  const bad = "Invalid input for x. Reason: ";
  const table: [string, Check, unknown, string, string][] = [
    ["name of a number", { type: "string" }, 5, "HTTPBadRequest", `${bad}'5' is not a valid string.`],
    ["name null", { type: "string" }, null, "HTTPBadRequest", `${bad}'None' is not a valid string.`],
    ["name too long", { type: "string", max: 3 }, "abcd", "HTTPBadRequest", `${bad}'abcd' exceeds maximum length of 3.`],
    ["boolean", { type: "boolean" }, "maybe", "InvalidInput", "Invalid input for operation: 'maybe' cannot be converted to boolean."],
    ["boolean null", { type: "boolean" }, null, "InvalidInput", "Invalid input for operation: 'None' cannot be converted to boolean."],
    ["boolean 2", { type: "boolean" }, 2, "InvalidInput", "Invalid input for operation: '2' cannot be converted to boolean."],
    ["integer of a boolean", { type: "integer" }, true, "InvalidInput", "Invalid input for operation: 'True' is not an integer."],
    ["integer of a float", { type: "integer" }, 1.5, "InvalidInput", "Invalid input for operation: '1.5' is not an integer."],
    ["integer of text", { type: "integer" }, "0x10", "InvalidInput", "Invalid input for operation: '0x10' is not an integer."],
    ["integer huge", { type: "integer" }, 1e300, "InvalidInput", "Invalid input for operation: '1e+300' is not an integer."],
    ["integer small", { range: [1, 5] }, 0, "HTTPBadRequest", `${bad}'0' is too small - must be at least '1'.`],
    ["integer large", { range: [1, 5] }, 6, "HTTPBadRequest", `${bad}'6' is too large - must be no larger than '5'.`],
    ["uuid", { type: "uuid" }, "abc", "HTTPBadRequest", `${bad}'abc' is not a valid UUID.`],
    ["uuid twice", UUID_LIST, ["d2719ab4c5d64e1f8a9b0c1d2e3f4a5b", "d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b"], "HTTPBadRequest", `${bad}Duplicate items in the list: 'd2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b, d2719ab4-c5d6-4e1f-8a9b-0c1d2e3f4a5b'.`],
    ["list of no list", UUID_LIST, {}, "HTTPBadRequest", `${bad}'{}' is not a list.`],
    ["leading zeros", { type: "ip" }, "10.00.0.1", "HTTPBadRequest", `${bad}'10.00.0.1' is not a valid IP address.`],
    ["blank in address", { type: "ip" }, " 10.0.0.1", "HTTPBadRequest", `${bad}' 10.0.0.1' is not a valid IP address.`],
    ["three octets", { type: "ip" }, "10.0.1", "HTTPBadRequest", `${bad}'10.0.1' is not a valid IP address.`],
    ["two gaps", { type: "ip" }, "1::2::3", "HTTPBadRequest", `${bad}'1::2::3' is not a valid IP address.`],
    ["three colons", { type: "ip" }, "1:::2", "HTTPBadRequest", `${bad}'1:::2' is not a valid IP address.`],
    ["zone", { type: "ip" }, "fe80::1%eth0", "HTTPBadRequest", `${bad}'fe80::1%eth0' is not a valid IP address.`],
    ["prefix too long", { type: "cidr" }, "10.0.0.0/33", "HTTPBadRequest", `${bad}'10.0.0.0/33' is not a valid IP subnet.`],
    ["mask with holes", { type: "cidr" }, "10.0.0.0/255.0.255.0", "HTTPBadRequest", `${bad}'10.0.0.0/255.0.255.0' is not a valid IP subnet.`],
    ["no length", { type: "prefix" }, "10.0.0.1", "HTTPBadRequest", `${bad}'10.0.0.1' isn't a recognized IP subnet cidr, '10.0.0.1/32' is recommended.`],
    ["host bits", { type: "strict-cidr" }, "10.0.0.1/24", "HTTPBadRequest", `${bad}'10.0.0.1/24' isn't a recognized IP subnet cidr, '10.0.0.0/24' is recommended.`],
    ["mac zero", { type: "mac" }, "00:00:00:00:00:00", "HTTPBadRequest", `${bad}'00:00:00:00:00:00' is not a valid MAC address.`],
    ["mac multicast", { type: "mac" }, "01:00:5e:00:00:01", "HTTPBadRequest", `${bad}'01:00:5e:00:00:01' is not a valid MAC address.`],
    ["mac broadcast", { type: "mac" }, "ff:ff:ff:ff:ff:ff", "HTTPBadRequest", `${bad}'ff:ff:ff:ff:ff:ff' is not a valid MAC address.`],
    ["one of", { enum: ["ingress", "egress"] }, "both", "HTTPBadRequest", `${bad}'both' is not in ['ingress', 'egress'].`],
    ["one of in any case", { enum: ["IPv4", "IPv6"], anyCase: true }, "ipv5", "HTTPBadRequest", `${bad}'ipv5' is not in ['IPv4', 'IPv6'].`],
    ["or: of the first that is not null", { or: [NULL, { type: "uuid" }, { type: "ip" }] }, "x", "HTTPBadRequest", `${bad}'x' is not a valid UUID.`],
    ["not null", NULL, 1, "HTTPBadRequest", `${bad}'1' is not None.`],
    ["blank", { type: "string", blank: false }, "  ", "HTTPBadRequest", `${bad}'  ' Blank strings are not permitted.`],
    ["part of a pattern only", { type: "string", pattern: "a|b", is: "an a or b" }, "ab", "HTTPBadRequest", `${bad}'ab' is not an a or b.`],
    ["list too long", { list: { type: "boolean" }, max: 2 }, [1, 1, 1], "HTTPBadRequest", `${bad}more than 2 items.`],
    ["key of an object", { dict: { a: { check: { range: [0, 5] } } } }, { a: 6 }, "HTTPBadRequest", "Invalid input for x.a. Reason: '6' is too large - must be no larger than '5'."],
    ["unknown key", { dict: { a: { check: { type: "any" } } } }, { b: 6 }, "HTTPBadRequest", `${bad}Validation of dictionary's keys failed. Expected keys: ['a'] Provided keys: ['b'].`],
    ["object of a list", { type: "object" }, [], "HTTPBadRequest", `${bad}'[]' is not a dictionary.`],
  ];
  it.each(table)("%s", (_, check, given, type, message) => expect(refusal(() => makeCheck(check)(given, "x"))).toEqual({ status: 400, type, message }));

  it("quotes a value of any depth without overflowing", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 50_000; i++) deep = [deep];
    expect(refusal(() => makeCheck({ type: "string" })(deep, "x")).message).toBe("Invalid input for x. Reason: '[[[...]]]' is not a valid string.");
    expect(refusal(() => makeCheck({ type: "object" })({ a: deep }, "x")).message).toBe("Invalid input for x. Reason: nested deeper than 16 levels.");
  });
});

describe("checks as data", () => {
  it("are JSON", () => {
    const check: Check = { or: [{ list: { dict: { port: { check: { range: [1, 65535] }, required: true } } }, max: 4 }, NULL] };
    expect(makeCheck(JSON.parse(JSON.stringify(check)) as Check)([{ port: "80" }], "x")).toEqual([{ port: 80 }]);
  });
  it("name converters that must be there, at any depth", () => {
    const upper = { about: "upper case", form: { type: "string" } as const, run: (value: unknown) => String(value).toUpperCase() };
    expect(makeCheck({ list: { convert: "upper" } }, new Map([["upper", upper]]))(["a"], "x")).toEqual(["A"]);
    expect(() => makeCheck({ list: { convert: "upper" } })).toThrow("no app registers the converter upper");
  });
});

it("a refusal is short, whatever it quotes", () => {
  expect(badRequest("😀".repeat(100_000)).message).toBe(`${"😀".repeat(750)}...`);
});
