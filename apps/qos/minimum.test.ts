// Least rates: kept where the operator's uplinks have queues, refused elsewhere. That hosts' queues are read is tested in src/southbound/ovsdb/adoption.test.ts.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Chassis } from "#app";
import { chassisTable } from "#app";
import { compare } from "../../test/support/from-scratch.ts";
import { Harness, textOf } from "../../test/support/harness.ts";
import { Transaction } from "../../src/model/transaction.ts";
import { problems } from "./rules.ts";

let h: Harness;
let network: string;
let policy: string;
const HOSTS = ["hv1", "hv2"];
const queues: NonNullable<Chassis["uplink_queues"]> = [{ physical_network: "physnet", queue: 1, min_kbps: 1000 }, { physical_network: "physnet", queue: 2, min_kbps: 5000 }, { physical_network: "other", queue: 3, min_kbps: 90_000 }];

const queued = (host: string): string[] => [...h.engine.flowsOf(host)].filter((f) => f.table === h.layout.table("qos_out").id).map(textOf).flatMap((f) => /reg1=(0x\w+)\D.*set_queue:(\d+)/.exec(f)?.slice(1).join(" ") ?? []).sort();
async function answer(method: "POST" | "PUT", url: string, body: unknown): Promise<[number, string]> {
  const { status, body: said } = await h.call(method, url, body);
  await h.settled();
  return [status, said.NeutronError?.type ?? ""];
}
async function port(host: string, values: Record<string, unknown> = {}, on = network): Promise<string> {
  const { id } = await h.create("port", { network_id: on, ...values });
  await h.plug(host, id, 10 + (h.view.get(chassisTable, host)?.key ?? 0) * 10 + [...h.engine.flowsOf(host)].length % 1000);
  await h.settled();
  return id;
}
const give = (id: string, to: string | null = policy): Promise<[number, string]> => answer("PUT", `/v2.0/ports/${id}`, { port: { qos_policy_id: to } });
const rule = (values: Record<string, unknown>, of = policy): Promise<[number, string]> => answer("POST", `/v2.0/qos/policies/${of}/minimum_bandwidth_rules`, { minimum_bandwidth_rule: values });

beforeEach(async () => {
  h = await Harness.make();
  await h.addChassis("hv1", { bridge_mappings: { physnet: "br-ex" }, uplink_queues: queues });
  await h.addChassis("hv2", { bridge_mappings: { physnet: "br-ex" } });
  network = (await h.create("network", { "provider:network_type": "vlan", "provider:physical_network": "physnet", "provider:segmentation_id": 100 })).id;
  policy = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "least" } })).body.policy.id;
});
afterEach(async () => {
  expect(h.complaints).toEqual([]);
  await h.close();
});

test("packets of a port leave by the smallest queue that has room; what no queue has is refused, and changes nothing", async () => {
  expect(await rule({ min_kbps: 3000 })).toEqual([201, ""]);
  const one = await port("hv1");
  expect(queued("hv1")).toEqual([]);
  expect(await give(one)).toEqual([200, ""]);
  expect(queued("hv1").map((q) => q.split(" ")[1])).toEqual(["2"]);
  compare(h, HOSTS);
  // 3000 of 5000 are taken.
  const two = await port("hv1");
  const { generation } = h.model;
  expect(await give(two)).toEqual([409, "QosRuleNotSupported"]);
  expect(h.model.generation).toBe(generation);
  // A host without queues, and a network in tunnels.
  const away = await port("hv2");
  expect(await give(away)).toEqual([409, "QosRuleNotSupported"]);
  const tunnelled = (await h.create("network", {})).id;
  expect((await h.call("POST", "/v2.0/ports", { port: { network_id: tunnelled, qos_policy_id: policy } })).body.NeutronError.message).toMatch(/qos_policy_id .* travels in tunnels/);
  const small = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "small" } })).body.policy.id as string;
  expect(await rule({ min_kbps: 800 }, small)).toEqual([201, ""]);
  expect(await give(two, small)).toEqual([200, ""]);
  expect(queued("hv1").map((q) => q.split(" ")[1]).sort()).toEqual(["1", "2"]);
  // More than there is, by a rule that changes.
  const [{ id }] = (await h.call("GET", `/v2.0/qos/policies/${small}/minimum_bandwidth_rules`)).body.minimum_bandwidth_rules as [{ id: string }];
  expect(await answer("PUT", `/v2.0/qos/policies/${small}/minimum_bandwidth_rules/${id}`, { minimum_bandwidth_rule: { min_kbps: 2500 } })).toEqual([409, "QosRuleNotSupported"]);
  expect(await give(one, null)).toEqual([200, ""]);
  expect(await answer("PUT", `/v2.0/qos/policies/${small}/minimum_bandwidth_rules/${id}`, { minimum_bandwidth_rule: { min_kbps: 2500 } })).toEqual([200, ""]);
  expect(queued("hv1").map((q) => q.split(" ")[1])).toEqual(["2"]);
  expect(problems(h.view)).toEqual([]);
});

test("a port that is nowhere has it where there is room; one that comes where there is none is told of, and so is one whose queue shrinks", async () => {
  await rule({ min_kbps: 3000 });
  const { id } = await h.create("port", { network_id: network });
  expect(await give(id)).toEqual([200, ""]);
  await h.plug("hv2", id, 40);
  await h.settled();
  expect(problems(h.view)).toEqual([expect.objectContaining({ kind: "minimum_unkept", switches: ["hv2"] })]);
  await h.unplug("hv2", id);
  await h.plug("hv1", id, 41);
  await h.settled();
  expect([problems(h.view), queued("hv1").length]).toEqual([[], 1]);
  const row = h.view.get(chassisTable, "hv1")!;
  await h.model.transact({ requestId: "test", call: "test" }, (tx) => tx.put(chassisTable, { ...row, uplink_queues: [queues[0]!] }));
  await h.settled();
  expect([problems(h.view).length, queued("hv1")]).toEqual([1, []]);
});

test("minima of ingress are no host's, nor are those of networks without a queue, or of what leaves by a gateway; rule types say whether any host has queues", async () => {
  const types = async (): Promise<string[]> => (await h.call("GET", "/v2.0/qos/rule-types")).body.rule_types.map((t: { type: string }) => t.type).sort();
  expect(await types()).toContain("minimum_bandwidth");
  await rule({ min_kbps: 3000, direction: "ingress" });
  expect(await give(await port("hv1"))).toEqual([409, "QosRuleNotSupported"]);
  const egress = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "egress" } })).body.policy.id as string;
  await rule({ min_kbps: 6000 }, egress);
  expect(await answer("PUT", `/v2.0/networks/${network}`, { network: { qos_policy_id: egress } })).toEqual([409, "QosRuleNotSupportedByNetwork"]);
  const fits = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "fits" } })).body.policy.id as string;
  await rule({ min_kbps: 600 }, fits);
  expect(await answer("PUT", `/v2.0/networks/${network}`, { network: { qos_policy_id: fits } })).toEqual([200, ""]);
  expect(queued("hv1")).toHaveLength(1);
  await h.model.transact({ requestId: "test", call: "test" }, (tx) => {
    const { uplink_queues, ...row } = tx.get(chassisTable, "hv1")!;
    expect(uplink_queues).toHaveLength(3);
    tx.put(chassisTable, row);
  });
  expect(await types()).not.toContain("minimum_bandwidth");
});

test("what a rule costs that changes grows with the ports of its policy, not with their square", async () => {
  expect(await rule({ min_kbps: 1 })).toEqual([201, ""]);
  const [{ id }] = (await h.call("GET", `/v2.0/qos/policies/${policy}/minimum_bandwidth_rules`)).body.minimum_bandwidth_rules as [{ id: string }];
  const reads = vi.spyOn(Transaction.prototype, "get");
  let kbps = 1;
  const readsWith = async (more: number): Promise<number> => {
    for (let n = 0; n < more; n++) await h.create("port", { network_id: network, qos_policy_id: policy });
    reads.mockClear();
    expect(await answer("PUT", `/v2.0/qos/policies/${policy}/minimum_bandwidth_rules/${id}`, { minimum_bandwidth_rule: { min_kbps: ++kbps } })).toEqual([200, ""]);
    return reads.mock.calls.length;
  };
  const [few, twice, thrice] = [await readsWith(10), await readsWith(10), await readsWith(10)];
  reads.mockRestore();
  expect(thrice - twice).toBe(twice - few);
});

test("a port is admitted by what is wanted at its host: ports with least rates elsewhere are not looked at", async () => {
  await h.model.transact({ requestId: "test", call: "test" }, (tx) => tx.put(chassisTable, { ...tx.get(chassisTable, "hv2")!, uplink_queues: queues }));
  expect(await rule({ min_kbps: 10 })).toEqual([201, ""]);
  await h.create("port", { network_id: network, "binding:host_id": "hv1", qos_policy_id: policy });
  const reads = vi.spyOn(Transaction.prototype, "get");
  const readsToGive = async (): Promise<number> => {
    const { id } = await h.create("port", { network_id: network, "binding:host_id": "hv1" });
    reads.mockClear();
    expect(await give(id)).toEqual([200, ""]);
    const count = reads.mock.calls.length;
    await h.call("DELETE", `/v2.0/ports/${id}`);
    return count;
  };
  const before = await readsToGive();
  for (let n = 0; n < 30; n++) await h.create("port", { network_id: network, "binding:host_id": "hv2", qos_policy_id: policy });
  await h.settled();
  expect(await readsToGive()).toBe(before);
  reads.mockRestore();
  // Those that are there count, plugged or not.
  const large = (await h.call("POST", "/v2.0/qos/policies", { policy: { name: "large" } })).body.policy.id as string;
  expect(await rule({ min_kbps: 5000 }, large)).toEqual([201, ""]);
  const bound = (await h.create("port", { network_id: network, "binding:host_id": "hv1" })).id;
  expect(await give(bound, large)).toEqual([200, ""]);
  const second = (await h.create("port", { network_id: network, "binding:host_id": "hv1" })).id;
  expect(await give(second, large)).toEqual([409, "QosRuleNotSupported"]);
});
