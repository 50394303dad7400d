// What GET /problems says of hosts whose Open vSwitch is known to be at fault.
import { afterEach, describe, expect, test } from "vitest";
import type { Chassis } from "#app";
import { eventually, Ovs } from "../testing/ovs.ts";
import { World } from "../testing/world.ts";
import { confusesCachedFlows, southboundProblems } from "./southbound.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

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
  test("is no warning: it says what is installed, not what became of a packet", () => {
    const parts = { startedAt: new Date(0), plain: ["0.0.0.0:6653"], chassis: [chassis("hv1", "netdev", "3.1.0")], switchOf: () => undefined, hostOf: () => undefined, lostAt: () => undefined, hosts: [], refused: [], resourcesOf: undefined };
    expect([...southboundProblems(parts)].filter((p) => p.kind !== "switch_disconnected").map((p) => [p.kind, p.severity])).toEqual([["plain_tcp", "info"], ["stale_flows", "info"]]);
  });


  test("is one problem of all hosts that have it; a kernel's datapath has none", () => {
    expect(found(chassis("hv2", "netdev", "3.1.0"), chassis("hv1", "netdev", "3.1.2"), chassis("hv3", "system", "3.1.0"), chassis("hv4", "netdev", "3.1.3"))).toEqual([["hv1", "hv2"]]);
    expect(found(chassis("hv3", "system", "3.1.0"), chassis("hv4", "netdev", "3.3.0"), chassis("hv5", "netdev", ""))).toEqual([]);
  });
});

test("of what a host has wrong the first are named, the others counted, all of them", async () => {
  const mappings = Array.from({ length: 25 }, (_, n) => `net${n}:br-${n}`).join(",");
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.11", "axion-bridge-mappings": mappings });
  cleanup.push(() => ovs.stop());
  const w = await World.start();
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  const texts = (): string[] => w.southbound.problems().flatMap((p) => (p.kind === "bridge_mapping" || p.kind === "host" ? [p.text] : []));
  await eventually("the notes", () => texts().length > 0);
  expect(texts().slice(0, 20).every((text) => text.startsWith("hv1: external_ids:axion-bridge-mappings, net"))).toBe(true);
  expect(texts().slice(20)).toEqual(["hv1: 5 more: likewise not as it should be"]);
  expect(w.southbound.problems().find((p) => p.text.includes("5 more"))?.cure.text).toBe("on hv1: correct what is named; then what is counted here is named in its place");
});
