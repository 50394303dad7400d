// Which routes are looked at for packets that do not fit, through the real engine; and what a sender is told.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Probes } from "../../test/contract/probes/support.ts";
import { Harness, textOf } from "../../test/support/harness.ts";

let h: Harness;
let router: string;
const ids = { wide: "", narrow: "" };

const flows = (table: string, host = "hv1", of = h): string[] => {
  const { id } = of.layout.table(table);
  return [...of.engine.flowsOf(host)].filter((f) => f.table === id).map(textOf).sort();
};
const checks = (host?: string): string[] => [...h.layout.tables.map((t) => t.name)].flatMap((t) => (t.startsWith("l3_") ? flows(t, host) : [])).filter((f) => f.includes("check_pkt_larger"));
/** Bytes of frames that are looked for. */
const lengths = (host?: string): number[] => checks(host).map((f) => Number(/check_pkt_larger\((\d+)\)/.exec(f)![1])).sort((a, b) => a - b);
const mtu = async (network: string, value: number): Promise<void> => {
  await h.call("PUT", `/v2.0/networks/${network}`, { network: { mtu: value } });
  await h.settled();
};
async function network(values: Record<string, unknown>, cidrs: readonly string[], to = router): Promise<string> {
  const { id } = await h.create("network", values);
  for (const cidr of cidrs) {
    const subnet = (await h.create("subnet", { network_id: id, ip_version: cidr.includes(":") ? 6 : 4, cidr })).id;
    expect((await h.call("PUT", `/v2.0/routers/${to}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
  }
  return id;
}

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1", { key: 1, gateway: true, encap_types: ["geneve"] });
  router = (await h.create("router", {})).id;
  ids.wide = await network({}, ["10.0.0.0/24", "fd00:a::/64"]);
  ids.narrow = await network({}, ["10.0.1.0/24", "fd00:b::/64"]);
  await h.plug("hv1", (await h.create("port", { network_id: ids.wide })).id, 10);
  await h.settled();
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

describe("a router of networks", () => {
  it("with the same MTU looks at no length", () => {
    expect([checks(), flows("l3_fits").filter((f) => !f.startsWith("priority=0"))]).toEqual([[], []]);
  });

  it("of which one has less looks at what is for that one, in both families, by the prefix; what fits goes on as it would", async () => {
    const before = flows("l3_route").filter((f) => f.includes("10.0.1.0/24"));
    await mtu(ids.narrow, 1300);
    expect(lengths()).toEqual([1314, 1314]);
    expect(checks().map((f) => /10\.0\.1\.0\/24|fd00:b::\/64/.test(f))).toEqual([true, true]);
    const actions = (f: string): string => f.slice(f.indexOf("actions="));
    const fits = flows("l3_fits").filter((f) => f.includes("10.0.1.0/24"));
    expect(fits).toHaveLength(2);
    expect(fits.map(actions)).toContain(actions(before.find((f) => f.includes("dec_ttl"))!));
    await mtu(ids.narrow, 0);
    expect([checks(), flows("l3_fits").filter((f) => !f.startsWith("priority=0"))]).toEqual([[], []]);
  });

  it("follows whichever network changes", async () => {
    await mtu(ids.narrow, 1300);
    await mtu(ids.wide, 1300);
    expect(lengths()).toEqual([]);
    await mtu(ids.wide, 1290);
    expect(lengths()).toEqual([1304, 1304]);
  });

  it("is not looked at because of another router's networks", async () => {
    await mtu(ids.narrow, 1300);
    const before = lengths();
    const other = (await h.create("router", {})).id;
    const far = await network({ mtu: 1290 }, ["10.5.0.0/24"], other);
    await h.plug("hv1", (await h.create("port", { network_id: far })).id, 11);
    await h.settled();
    expect(lengths()).toEqual(before);
  });

  it("looks at a static route by the network of its next hop", async () => {
    await mtu(ids.narrow, 1300);
    const via = async (nexthop: string): Promise<boolean[]> => {
      await h.call("PUT", `/v2.0/routers/${router}`, { router: { routes: [{ destination: "192.168.0.0/16", nexthop }] } });
      await h.settled();
      return flows("l3_route").filter((f) => f.includes("192.168.0.0/16") && !f.includes("drop")).map((f) => f.includes("check_pkt_larger(1314)"));
    };
    expect([await via("10.0.0.9"), await via("10.0.1.9")]).toEqual([[false], [true]]);
  });
});

it("of several equal routes each is looked at for itself", async () => {
  const probes = new Probes("wan");
  const w = await probes.harness();
  try {
    await w.addChassis("hv1", { key: 1 });
    const { id } = await w.create("router", {});
    for (const [n, values] of [{}, { mtu: 1300 }].entries()) {
      const network = (await w.create("network", { project_id: "p", ...values })).id;
      const subnet = (await w.create("subnet", { project_id: "p", network_id: network, ip_version: 4, cidr: `10.0.${n}.0/24` })).id;
      await w.call("PUT", `/v2.0/routers/${id}/add_router_interface`, { subnet_id: subnet });
      await w.plug("hv1", (await w.create("port", { network_id: network })).id, 10 + n);
      await w.create("wan_route", { project_id: "p", router_id: id, destination: "192.168.0.0/16", via: network, nexthop: `10.0.${n}.9`, metric: 1 });
    }
    await w.settled();
    expect(flows("l3_paths", "hv1", w).map((f) => f.includes("check_pkt_larger(1314)")).sort()).toEqual([false, true]);
    expect(flows("l3_fits", "hv1", w).filter((f) => f.includes("192.168.0.0/16"))).toHaveLength(2);
    expect(w.complaints).toEqual([]);
  } finally {
    await w.close();
    probes.delete();
  }
});

describe("a router with a gateway", () => {
  const external = async (values: Record<string, unknown>): Promise<void> => {
    const outside = (await h.create("network", { "router:external": true, ...values })).id;
    await h.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24" });
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id: outside } } });
    await h.settled();
  };
  const physical = { "provider:network_type": "flat", "provider:physical_network": "ext" };

  it("looks at what leaves where outside has less, by the default route and on the link", async () => {
    await h.addChassis("hv1", { key: 1, gateway: true, encap_types: ["geneve"], bridge_mappings: { ext: "br-ext" } });
    await external({ ...physical, mtu: 1400 });
    expect(lengths()).toEqual([1414, 1414]);
  });

  it("looks at what comes in where outside has more, which is told at the host of the gateway", async () => {
    await h.addChassis("hv1", { key: 1, gateway: true, encap_types: ["geneve"], bridge_mappings: { ext: "br-ext" } });
    await external(physical);
    expect(lengths()).toEqual([1456, 1456, 1456, 1456]);
    expect(flows("l3_undelivered").filter((f) => f.includes("ct_state=+trk+dnat") || /priority=90,/.test(f))).toHaveLength(2);
  });

  it("looks at what leaves by the tunnel to its host where the networks inside have more than that carries", async () => {
    await h.addChassis("hv1", { key: 1, gateway: true, encap_types: ["geneve"], bridge_mappings: { ext: "br-ext", own: "br-own" } });
    const vlan = await network({ "provider:network_type": "flat", "provider:physical_network": "own" }, ["10.0.7.0/24"]);
    for (const id of Object.values(ids)) await mtu(id, 1442);
    await external(physical);
    expect(vlan).not.toBe("");
    // To the tenants' networks, and outside; not from one of a physical network to the other.
    expect(lengths()).toEqual([1456, 1456, 1456, 1456, 1456, 1456]);
  });
});
