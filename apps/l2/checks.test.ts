// What callers may say of a port's further addresses.
import { describe, expect, it } from "vitest";
import { ApiError, type Convert } from "#app";
import { addressPairs } from "./checks.ts";

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
  it.each<[string, Convert, unknown, unknown]>([
    ["prefixes that have multicast among them", addressPairs, [{ ip_address: "128.0.0.0/1" }, { ip_address: "::/0" }], [{ ip_address: "128.0.0.0/1" }, { ip_address: "::/0" }]],
    ["address pairs", addressPairs, [{ ip_address: "0.0.0.0/0" }, { ip_address: "10.0.0.1", mac_address: "FA:16:3E:00:00:01" }], [{ ip_address: "0.0.0.0/0" }, { ip_address: "10.0.0.1", mac_address: "fa:16:3e:00:00:01" }]],
  ])("%s", (_, check, given, stored) => expect(check(given, "x")).toEqual(stored));
});

describe("MACs that no interface has", () => {
  it.each(["01:00:5e:00:00:01", "33:33:00:00:00:01", "FF:FF:FF:FF:FF:FF", "ffff.ffff.ffff", "01-80-c2-00-00-00", "1:0:0:0:0:0", "00:00:00:00:00:00", "0:0:0:0:0:0", "000000000000"])("%s is refused in a pair", (mac) => {
    const pairs = [{ ip_address: "10.0.0.9" }, { ip_address: "10.0.0.1", mac_address: mac }];
    expect(refusal(() => addressPairs(pairs, "allowed_address_pairs"))).toEqual({ status: 400, type: "HTTPBadRequest", message: `Invalid input for allowed_address_pairs. Reason: '${mac}' is not a valid MAC address.` });
  });
});

describe("refused values", () => {
  it.each<[string, Convert, unknown, string, string]>([
    ["pair without address", addressPairs, [{ mac_address: "fa:16:3e:00:00:01" }], "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address"],
    ["pair twice", addressPairs, [{ ip_address: "10.0.0.1" }, { ip_address: "10.0.0.1" }], "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address None ip_address 10.0.0.1."],
    ...["224.0.0.1", "239.1.2.3/32", "225.0.0.0/8", "224.0.0.0/4", "ff02::1", "ff00::/8"].map((ip): [string, Convert, unknown, string, string] => [
      `the multicast ${ip}`, addressPairs, [{ ip_address: ip }], "HTTPBadRequest", `Invalid input for x. Reason: '${ip}' is a multicast address.`,
    ]),
    ["eleven pairs", addressPairs, Array.from({ length: 11 }, (_, i) => ({ ip_address: `10.0.0.${i}` })), "AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum 10."],
  ])("%s", (_, check, given, type, message) => expect(refusal(() => check(given, "x"))).toEqual({ status: 400, type, message }));
});
