// QoS policies of floating IPs and of a router's gateway on real switches, by iperf3: each limit is kept to in its direction, both at once, and neither counts for the other.
// Longer: `npm run bench -- qos`.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { transfer } from "../../../lab/iperf.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

const UP = "203.0.113.100";
/** Megabits a second. */
const LIMITS = { floating: { egress: 6, ingress: 8 }, gateway: { egress: 10, ingress: 5 } } as const;

/** What may come at once, by the rate: a limit is kept to but for so much. */
const BURST_S = 0.4;
const SECONDS = nightly ? 10 : 3;

describe.skipIf(Lab.missing().length > 0).each(nightly ? (["at its port's host", "at the gateway's"] as const) : (["at its port's host"] as const))("limits at the edge, the floating IP %s", (where) => {
  let cloud: Cloud;
  let router: Resource;
  /** Both on a host that has no gateway; one of them has a floating IP. */
  let named: Instance;
  let hidden: Instance;
  let machine: Guest;
  let floating: { id: string; floating_ip_address: string };
  let outside: string;
  let mtu: number;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "qos-external", hypervisors: 3, physnets: ["ext"], host: (n) => (n >= 2 ? { gateway: true } : where === "at the gateway's" ? { physnets: [] } : {}), flags: ["--audit-interval", "1"] });
    const network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    outside = network.id;
    await cloud.create("subnet", { network_id: outside, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: "203.0.113.254" });
    const inside = await cloud.network("10.0.0.0/24");
    mtu = inside.network.mtu as number;
    router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside } });
    const group = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress" });
    [named, hidden] = [await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } }), await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } })];
    machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    await machine.configure("link set lo up", `addr replace ${UP}/24 dev eth0`);
    floating = (await cloud.create("floatingip", { floating_network_id: outside, port_id: named.port.id })) as unknown as typeof floating;
    await cloud.synced();
    for (const from of [named, hidden]) await until(`an answer of ${UP}`, () => from.vm.reaches(UP), { timeoutMs: 20_000 });
    await cloud.update("floatingip", floating.id, { qos_policy_id: await policy("floating") });
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside, qos_policy_id: await policy("gateway") } });
    await cloud.renewed();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function policy(of: keyof typeof LIMITS): Promise<string> {
    const { id } = (await cloud.call("POST", "/v2.0/qos/policies", { policy: { name: of } })).body.policy! as Resource;
    for (const [direction, mbit] of Object.entries(LIMITS[of])) await cloud.call("POST", `/v2.0/qos/policies/${id}/bandwidth_limit_rules`, { bandwidth_limit_rule: { direction, max_kbps: mbit * 1000, max_burst_kbps: mbit * 1000 * BURST_S } });
    return id;
  }
  /** Of what leaves or comes in by the floating IP and by the gateway at once; what comes to the floating IP is sent from outside, to the other it answers. */
  async function both(protocol: "udp" | "tcp", direction: "egress" | "ingress"): Promise<readonly [floating: number, gateway: number]> {
    const common = { protocol, seconds: SECONDS, skip: protocol === "udp" ? 1 : 2, mtu } as const;
    const [one, other] = [LIMITS.floating[direction], LIMITS.gateway[direction]];
    const [byFloating, byGateway] = await Promise.all([
      direction === "egress" ? transfer({ ...common, from: named.vm, to: machine, ip: UP, kbps: one * 2000, port: 5201 }) : transfer({ ...common, from: machine, to: named.vm, ip: floating.floating_ip_address, kbps: one * 2000, port: 5201 }),
      transfer({ ...common, from: hidden.vm, to: machine, ip: UP, kbps: other * 2000, port: 5202, reverse: direction === "ingress" }),
    ]);
    return [byFloating / one, byGateway / other];
  }

  test.each(["egress", "ingress"] as const)("%s: UDP is within 5% of both limits, TCP comes to 85% at least, and no more than they let pass", async (direction) => {
    for (const share of await both("udp", direction)) expect(share, "UDP").toBeCloseTo(1, 1);
    for (const share of await both("tcp", direction)) {
      expect(share, "TCP").toBeGreaterThan(0.85);
      expect(share, "TCP").toBeLessThan(1 + BURST_S / SECONDS);
    }
  }, 60_000);

  test("without policies nothing of it is left, and more comes through", async () => {
    const flows = async (): Promise<number> => (await cloud.controller.ops<{ flows: unknown[] }>("GET", "/flows?app=qos-external&state=installed")).body.flows.length;
    const before = await flows();
    await cloud.update("floatingip", floating.id, { qos_policy_id: null });
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside, qos_policy_id: null } });
    await cloud.renewed();
    // One host has the floating IP, or both of the gateway; each in both directions.
    expect(before - (await flows())).toBe(2 * ((where === "at the gateway's" ? 2 : 1) + 2));
    expect(await transfer({ from: named.vm, to: machine, ip: UP, protocol: "tcp", kbps: 0, seconds: 1, skip: 0, mtu })).toBeGreaterThan(20);
  });
});
