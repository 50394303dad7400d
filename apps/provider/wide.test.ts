// Networks of several segments on very many hosts that are on no physical one: what a host that comes costs, and that all get their copy.
import { afterEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { type Harness } from "../../test/support/harness.ts";
import { copiesOf, costs, join, wide, type Mapped } from "../../test/support/wide.ts";
import { COPIES } from "../l2/model.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) {
    expect([h.complaints, h.engine.conflicts]).toEqual([[], []]);
    await h.close();
  }
});
const vlan = (physnet: string, id: number): Record<string, unknown> => ({ "provider:network_type": "vlan", "provider:physical_network": physnet, "provider:segmentation_id": id });
/** hv1 and hv2 are on one physical network, hv3 and hv4 on another, all others on none. */
const mapped: Mapped = (key) => (key <= 2 ? { east: "br-east" } : key <= 4 ? { west: "br-west" } : {});
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);
const PATCHES = [50_001, 50_002];
const BROADCAST = { eth_dst: "ff:ff:ff:ff:ff:ff", eth_type: 0x88b5 } as const;
const UNKNOWN = { ...BROADCAST, eth_dst: "fa:16:3e:ff:ff:fe" } as const;

async function made(keys: readonly number[]): Promise<{ readonly h: Harness; readonly network: string; readonly sent: (host: string, frame?: Readonly<Record<string, string | number>>) => string }> {
  const settings = new Map([["provider", { "vlan-ranges": new Map([["east", []], ["west", []]]) }]]);
  const { h, network } = await wide(keys, { settings }, { segments: [vlan("east", 100), vlan("west", 200), { "provider:network_type": "geneve" }] }, mapped);
  open.push(h);
  const sent = (host: string, frame: Readonly<Record<string, string | number>> = BROADCAST): string => {
    const { hosts, ports } = copiesOf(h, host, frame, PATCHES);
    return `${hosts} by tunnel, ${ports} here`;
  };
  return { h, network, sent };
}
const parts = (h: Harness, host: string): number => [...h.engine.flowsOf(host)].filter((f) => h.layout.tableById(f.table)!.name === "flood_parts" && f.priority > 0).length;
const seen = ["hv1", "hv2", "hv5", "hv300"];

test("a host that comes to hundreds that are on no physical segment changes one small flow at each, and all get their copy of what is sent anywhere", { timeout: 60_000 }, async () => {
  const { h, network, sent } = await made(range(1, 319));
  // The first by key of each segment hands on; the other one leaves that to it.
  expect([sent("hv5"), sent("hv1"), sent("hv3"), sent("hv2"), sent("hv4")]).toEqual(["315 by tunnel, 0 here", "315 by tunnel, 1 here", "315 by tunnel, 1 here", "0 by tunnel, 1 here", "0 by tunnel, 1 here"]);
  const east = { ...BROADCAST, in_port: PATCHES[0]!, vlan_vid: 0x1000 | 100, eth_src: "fa:16:3e:ee:00:01" };
  expect([sent("hv1", east), sent("hv2", east)]).toEqual(["315 by tunnel, 1 here", "0 by tunnel, 1 here"]);
  // Ports without port security may have any MAC behind them: what nobody knows goes to all.
  expect([sent("hv5", UNKNOWN), sent("hv1", UNKNOWN)]).toEqual(["315 by tunnel, 0 here", "315 by tunnel, 1 here"]);
  expect([parts(h, "hv5"), parts(h, "hv1"), parts(h, "hv2")]).toEqual([5, 5, 0]);
  const last = await costs(h, seen, () => join(h, network, [319]));
  expect(last.byTable.flood_parts).toBeGreaterThan(COPIES * 40);
  expect(last.byTable.flood_remote).toBeUndefined();
  expect(last.most).toBeLessThan(4096);
  // The first of a part is told to where the list begins, which has a few bytes of each part.
  expect((await costs(h, seen, () => join(h, network, [320]))).most).toBeLessThan(2048);
  expect([sent("hv1"), sent("hv319"), sent("hv320")]).toEqual(["317 by tunnel, 1 here", "317 by tunnel, 0 here", "317 by tunnel, 0 here"]);
});

test("few hosts are one flow, whatever their keys; parts come with one more and go with it, and the list is the same when another host hands on", { timeout: 60_000 }, async () => {
  const { h, network, sent } = await made([1, 1000, 2, 3, ...range(2, COPIES + 1).map((n) => n * 1000)]);
  expect([parts(h, "hv1"), parts(h, "hv1000")]).toEqual([0, 0]);
  expect([sent("hv1"), sent("hv1000")]).toEqual([`${COPIES + 1} by tunnel, 1 here`, `${COPIES + 1} by tunnel, 0 here`]);
  const [port] = await join(h, network, [65_001]);
  await h.settled();
  expect([parts(h, "hv1"), parts(h, "hv1000"), parts(h, "hv2")]).toEqual([COPIES + 1, COPIES + 1, 0]);
  expect([sent("hv1"), sent("hv65001")]).toEqual([`${COPIES + 2} by tunnel, 1 here`, `${COPIES + 2} by tunnel, 0 here`]);
  compare(h, ["hv1", "hv1000"]);
  const [first] = (await h.call("GET", "/v2.0/ports?binding:host_id=hv1")).body.ports as { id: string }[];
  await h.call("DELETE", `/v2.0/ports/${first!.id}`);
  await h.settled();
  expect([parts(h, "hv1"), sent("hv2"), sent("hv1000")]).toEqual([0, `${COPIES + 2} by tunnel, 1 here`, `${COPIES + 2} by tunnel, 0 here`]);
  await h.call("DELETE", `/v2.0/ports/${port}`);
  await h.settled();
  expect([parts(h, "hv2"), parts(h, "hv1000")]).toEqual([0, 0]);
  compare(h, ["hv1", "hv1000"]);
});
