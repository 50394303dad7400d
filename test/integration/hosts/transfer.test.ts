// Bulk data between VMs arrives as it was sent: within a network and across a router, over every encapsulation.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { nightly } from "../../support/process.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const BYTES = 100_000_000;
const ENCAPSULATIONS = nightly ? (["geneve", "vxlan", "gre"] as const) : (["geneve"] as const);

describe.each(ENCAPSULATIONS)("over %s", (type) => {
  let cloud: Cloud;
  let front: Net;
  let back: Net;
  let open: Resource;
  let a: Instance;
  let near: Instance;
  let far: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "transfer.test", encapTypes: [type] });
    front = await cloud.network("10.0.0.0/24");
    back = await cloud.network("10.1.0.0/24");
    await cloud.router([front, back]);
    open = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4" });
    const options = { port: { security_groups: [open.id] } };
    a = await cloud.instance(cloud.hv(1), front, options);
    near = await cloud.instance(cloud.hv(2), front, options);
    far = await cloud.instance(cloud.hv(2), back, options);
  });
  afterAll(async () => cloud?.destroy());

  async function transfer(from: Instance, to: Instance, port: number): Promise<void> {
    await until("an answer", () => from.vm.reaches(to.ip));
    const { result } = await to.vm.receive(port);
    const sent = await from.vm.send(to.ip, port, BYTES, 170_000);
    const got = await result;
    expect(sent.bytes).toBe(BYTES);
    expect({ bytes: got.bytes, sha256: got.sha256 }).toEqual({ bytes: sent.bytes, sha256: sent.sha256 });
    console.log(`${type}: ${BYTES / 1e6} MB in ${sent.ms} ms, ${Math.round((BYTES * 8) / sent.ms / 1000)} Mbit/s`);
  }

  test("within a network, between two hosts", () => transfer(a, near, 9001), 180_000);
  test("across the router, between two hosts", () => transfer(a, far, 9002), 180_000);

  test("the largest packet of the network passes, a larger one does not", async () => {
    const mtu = front.network.mtu as number;
    for (const to of [near, far]) {
      expect(await a.vm.ping(to.ip, { count: 3, intervalMs: 50, sizeBytes: mtu - 28, dontFragment: true })).toMatchObject({ received: 3 });
      expect(await a.vm.ping(to.ip, { count: 1, timeoutMs: 300, sizeBytes: mtu - 27, dontFragment: true })).toMatchObject({ received: 0 });
      // Fragmented by the sender it arrives.
      expect(await a.vm.ping(to.ip, { count: 3, intervalMs: 50, sizeBytes: 4000 })).toMatchObject({ received: 3 });
    }
  });
});
