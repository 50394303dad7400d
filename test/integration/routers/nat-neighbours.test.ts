// Machines on the link outside, which are no next hop: floating IPs reach them and are reached, on the host of the port and at the gateway.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Resource } from "../../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("neighbours of floating IPs outside", () => {
  let cloud: Cloud;
  let machine: Guest;
  /** On a host that is mapped to the network, and on one that is not. */
  let here: Instance;
  let there: Instance;
  let floating: readonly Resource[];

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "nat-link", hypervisors: 3, physnets: ["ext"], host: (n) => (n === 3 ? { gateway: true } : n === 2 ? { physnets: [] } : {}), flags: ["--audit-interval", "1"] });
    const network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: "203.0.113.1", allocation_pools: [{ start: "203.0.113.10", end: "203.0.113.99" }] });
    const inside = await cloud.network("10.0.0.0/24");
    const router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: network.id } });
    const group = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4" });
    [here, there] = [await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } }), await cloud.instance(cloud.hv(2), inside, { port: { security_groups: [group.id] } })];
    floating = await Promise.all([here, there].map(async (i) => cloud.create("floatingip", { floating_network_id: network.id, port_id: i.port.id })));
    machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    await machine.configure(...[201, 202, 203, 204].map((n) => `addr add 203.0.113.${n}/24 dev eth0`));
    for (const { id } of floating) await until("a floating IP in place", async () => (await cloud.show("floatingip", id)).status === "ACTIVE", { timeoutMs: 10_000 });
    await cloud.synced();
  }, 90_000);
  afterAll(async () => cloud?.destroy());

  test("the first packet finds them, whoever begins; then no controller is asked", async () => {
    const ips = floating.map((f) => f.floating_ip_address as string);
    for (const [n, { vm }] of [here, there].entries()) {
      await until(`an answer to floating IP ${n}`, () => vm.reaches(`203.0.113.20${n + 1}`), { timeoutMs: 10_000 });
      await until(`floating IP ${n} to answer`, () => machine.ping(ips[n]!, { count: 1, timeoutMs: 1000, device: `203.0.113.20${n + 3}` }).then((p) => p.received === 1), { timeoutMs: 10_000 });
    }
    await cloud.synced();
    await cloud.controller.kill9();
    for (const [n, { vm }] of [here, there].entries()) {
      expect(await vm.ping(`203.0.113.20${n + 1}`, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
      expect(await machine.ping(ips[n]!, { count: 5, intervalMs: 20, device: `203.0.113.20${n + 3}` })).toMatchObject({ received: 5 });
    }
  }, 60_000);
});
