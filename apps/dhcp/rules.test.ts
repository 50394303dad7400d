import { describe, expect, it } from "vitest";
import type { AnyEmit, FlowSpec } from "#app";
import { attachmentTable } from "../l2/model.ts";
import { THROUGH } from "../../src/app/rules/through.ts";
import { subnetTable } from "../ipam/model.ts";
import { Cloud } from "./dhcp.fixture.ts";
import { rules } from "./rules.ts";

const fresh = (): Cloud => new Cloud();

function flows({ view }: Cloud): { scope: string; table: string; spec: FlowSpec }[] {
  const found: { scope: string; table: string; spec: FlowSpec }[] = [];
  const no = (): never => {
    throw new Error("only flows are expected");
  };
  const out: AnyEmit = { flow: (scope: string, table: unknown, spec: unknown) => void found.push({ scope, table: table as string, spec: spec as FlowSpec }), into: no, include: no, item: no, row: no, patch: no, portContext: no, variant: no, [THROUGH]: no };
  for (const rule of rules) for (const at of view.all(attachmentTable)) rule.emit(at, view, out);
  return found;
}

const dhcp = {
  scope: "chassis:hv1",
  table: "dhcp_request",
  spec: { priority: 100, match: { "reg:in_port_key": 17, eth_type: 0x0800 }, actions: [{ type: "punt" }], meter: 9 },
};
const rs = {
  scope: "chassis:hv1",
  table: "dhcp_request",
  spec: { priority: 100, match: { "reg:in_port_key": 17, eth_type: 0x86dd }, actions: [{ type: "punt" }], meter: 9 },
};

describe("requests come up from", () => {
  const off = (): Cloud => fresh().change(subnetTable, "v4", { enable_dhcp: false });
  it.each<[string, Cloud, object[]]>([
    ["a port with an address of a DHCP subnet", fresh(), [dhcp]],
    ["no port when DHCP is off", off(), []],
    ["no port for a subnet it has no address of", off().subnet("b", { cidr: "10.1.0.0/24" }), []],
    ["a port on a network that advertises routers", off().subnet("v6", { cidr: "fd00::/64", ipv6_ra_mode: "slaac" }), [rs]],
    ["no port for IPv6 addresses alone", off().subnet("v6", { cidr: "fd00::/64" }).address("vm", "v6", "fd00::5", 1), []],
    ["a port of both", fresh().subnet("v6", { cidr: "fd00::/64", ipv6_ra_mode: "dhcpv6-stateful" }), [dhcp, rs]],
  ])("%s", (_, cloud, expected) => {
    expect(flows(cloud)).toEqual(expected);
  });
});
