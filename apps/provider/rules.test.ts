// What hosts have of networks on physical ones, and that they have nothing of it where there is none.
import { afterEach, expect, test } from "vitest";
import { Harness, textOf } from "../../test/support/harness.ts";

let h: Harness;
afterEach(async () => h.close());

const vlan = (id: number): Record<string, unknown> => ({ "provider:network_type": "vlan", "provider:physical_network": "physnet", "provider:segmentation_id": id });
async function make(): Promise<void> {
  h = await Harness.make();
  for (const [n, host] of ["hv1", "hv2", "hv3"].entries()) await h.addChassis(host, { key: n + 1, bridge_mappings: n < 2 ? { physnet: "br-ex" } : {} });
}
async function network(how: Record<string, unknown>, hosts: readonly string[]): Promise<void> {
  const { id } = await h.create("network", how);
  for (const host of hosts) await h.plug(host, (await h.create("port", { network_id: id })).id, 10);
  await h.settled();
}
const own = (host: string): string[] => [...h.engine.flowsOf(host)].filter((f) => h.engine.provenance(f).app === "provider").map((f) => `${h.layout.tableById(f.table)!.name}: ${textOf(f)}`);
const patches = (host: string): string[] => [...h.engine.rowsOf(host)].map((r) => r.key).filter((key) => !key.startsWith("axion-geneve")).sort();

test("without a network on a physical one a mapped host has no flow and no port of it", async () => {
  await make();
  await network({}, ["hv1", "hv2", "hv3"]);
  for (const host of ["hv1", "hv2", "hv3"]) expect([own(host), patches(host)]).toEqual([[], []]);
});

test("the patch has one number on all hosts, and is there where the mapping is", async () => {
  await make();
  await network(vlan(100), ["hv1"]);
  expect(patches("hv1")).toEqual(["axion-int-50001", "axion-phys-50001"]);
  expect(patches("hv2")).toEqual(patches("hv1"));
  expect([patches("hv3"), own("hv3")]).toEqual([[], []]);
  // The network itself is where its port is.
  expect([own("hv1"), own("hv2")].map((flows) => flows.filter((f) => f.startsWith("classify:")).length)).toEqual([1, 0]);
  expect(h.engine.conflicts).toEqual([]);
});

test("between VLAN and tunnels one host hands on, the others end what comes from afar; it is another when that one goes", async () => {
  await make();
  await network({ segments: [vlan(100), { "provider:network_type": "geneve" }] }, ["hv1", "hv2", "hv3"]);
  const roles = (): string[] => ["hv1", "hv2", "hv3"].map((host) => {
    const flows = own(host);
    return `${flows.some((f) => f.startsWith("l2_lookup: priority=60,")) ? "hands on" : ""}${flows.some((f) => f.startsWith("tunnel_out: priority=160,")) ? "ends" : ""}`;
  });
  expect(roles()).toEqual(["hands on", "ends", ""]);
  for (const port of (await h.call("GET", "/v2.0/ports")).body.ports as { id: string }[]) await h.unplug("hv1", port.id);
  await h.settled();
  expect(roles()).toEqual(["", "hands on", ""]);
  expect(h.engine.conflicts).toEqual([]);
});
