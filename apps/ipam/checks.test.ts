// What callers may say of subnets and of the addresses of ports.
import { describe, expect, it } from "vitest";
import { ApiError, type Convert } from "#app";
import { allocationPools, fixedIps, hostRoutes, nameservers } from "./checks.ts";

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
    ["fixed ips", fixedIps, [{ ip_address: "FD00::1", other: 1 }], [{ ip_address: "fd00::1" }]],
    ["pools sorted", allocationPools, [{ start: "10.0.0.9", end: "10.0.0.9" }, { start: "10.0.0.2", end: "10.0.0.3" }], [{ start: "10.0.0.2", end: "10.0.0.3" }, { start: "10.0.0.9", end: "10.0.0.9" }]],
    ["nameservers null", nameservers, null, []],
    ["nameservers in order", nameservers, ["9.9.9.9", "1.1.1.1"], ["9.9.9.9", "1.1.1.1"]],
    ["host routes", hostRoutes, [{ destination: "10.9.0.0/16", nexthop: "10.0.0.1" }], [{ destination: "10.9.0.0/16", nexthop: "10.0.0.1" }]],
  ])("%s", (_, check, given, stored) => expect(check(given, "x")).toEqual(stored));
});

describe("refused values", () => {
  const bad = "Invalid input for x. Reason: ";
  it.each<[string, Convert, unknown, string, string]>([
    ["fixed ip empty", fixedIps, [{}], "InvalidInput", "Invalid input for operation: IP allocation requires subnet_id or ip_address."],
    ["fixed ips null", fixedIps, null, "HTTPBadRequest", `${bad}'None' is not a list.`],
    ["fixed ip twice", fixedIps, [{ ip_address: "fd00::1" }, { ip_address: "FD00:0::1" }], "HTTPBadRequest", `${bad}Duplicate IP address 'fd00::1'.`],
    ["pool backwards", allocationPools, [{ start: "10.0.0.9", end: "10.0.0.2" }], "InvalidAllocationPool", "The allocation pool 10.0.0.9-10.0.0.2 is not valid."],
    ["pool with more keys", allocationPools, [{ start: "10.0.0.2", end: "10.0.0.9", step: 1 }], "HTTPBadRequest", `${bad}Invalid data format for IP pool: '{start: 10.0.0.2, end: 10.0.0.9, step: 1}'.`],
    ["nameserver twice", nameservers, ["9.9.9.9", "9.9.9.9"], "HTTPBadRequest", `${bad}Duplicate nameserver '9.9.9.9'.`],
    ["six nameservers", nameservers, ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "1.1.1.5", "1.1.1.6"], "DNSNameServersExhausted", "Unable to complete operation. The number of DNS nameservers exceeds the limit 5."],
    ["route to loopback", hostRoutes, [{ destination: "127.1.0.0/16", nexthop: "10.0.0.1" }], "HTTPBadRequest", `${bad}'127.1.0.0/16' is a loopback network.`],
    ["route of two families", hostRoutes, [{ destination: "10.1.0.0/16", nexthop: "fd00::1" }], "HTTPBadRequest", `${bad}nexthop 'fd00::1' is not of the family of '10.1.0.0/16'.`],
  ])("%s", (_, check, given, type, message) => expect(refusal(() => check(given, "x"))).toEqual({ status: 400, type, message }));
});
