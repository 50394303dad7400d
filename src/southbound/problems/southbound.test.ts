// What GET /problems says of hosts whose Open vSwitch is known to be at fault.
import { describe, expect, test } from "vitest";
import type { Chassis } from "#app";
import { confusesCachedFlows, southboundProblems } from "./southbound.ts";

describe("a userspace datapath that changes the wrong one of two cached flows", () => {
  test.each(["2.8.0", "2.13.8", "2.16.7", "2.17.0", "2.17.7", "3.0.0", "3.0.4", "3.1.0", "3.1.2", "3.1.2-dev", "3.1"])("is that of %s", (version) => {
    expect(confusesCachedFlows(version)).toBe(true);
  });
  test.each(["", "DPDK", "2.7.3", "2.17.8", "2.17.12", "3.0.5", "3.1.3", "3.1.10", "3.2.0", "3.3.1", "3.10.0", "4.0.0"])("is none of '%s'", (version) => {
    expect(confusesCachedFlows(version)).toBe(false);
  });

  const chassis = (id: string, datapath_type: string, ovs_version: string): Chassis =>
    ({ id, hostname: id, key: 1, bridge: "br-int", dpid: "", datapath_type, encap_ip: "", encap_types: [], bridge_mappings: {}, gateway: false, ovs_version });
  const found = (...rows: Chassis[]): (readonly string[])[] => {
    const parts = { startedAt: new Date(0), plain: [], chassis: rows, switchOf: () => undefined, hostOf: () => undefined, lostAt: () => undefined, hosts: [], refused: [], resourcesOf: undefined };
    return [...southboundProblems(parts)].filter((p) => p.kind === "stale_flows").map((p) => p.switches);
  };

  test("is one problem of all hosts that have it; a kernel's datapath has none", () => {
    expect(found(chassis("hv2", "netdev", "3.1.0"), chassis("hv1", "netdev", "3.1.2"), chassis("hv3", "system", "3.1.0"), chassis("hv4", "netdev", "3.1.3"))).toEqual([["hv1", "hv2"]]);
    expect(found(chassis("hv3", "system", "3.1.0"), chassis("hv4", "netdev", "3.3.0"), chassis("hv5", "netdev", ""))).toEqual([]);
  });
});
