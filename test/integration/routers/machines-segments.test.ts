// Machines on a network of several segments, two physical ones and tunnels, whose default gateway is a router's interface there: on each physical segment one host answers
// them. Two hosts are on the one, one on the other, one has tunnels alone.
// @module-tag long
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("machines behind a router's interface on a network of several segments", () => {
  let cloud: Cloud;
  let wide: Net;
  let over: Net;
  let leg: Resource;
  /** One on each physical segment. */
  let machines: Guest[];
  const addresses = ["10.80.0.201", "10.80.0.202"];
  const sixes = ["fd00:80::201", "fd00:80::202"];
  /** Of another network, on every host. */
  let inside: Instance[];
  /** Of the network itself, in tunnels. */
  let beside: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "segments", hypervisors: 4, physnets: ["one", "two"], flags: ["--audit-interval", "1"], host: (n) => ({ physnets: [["one"], ["one"], ["two"], []][n - 1]! }) });
    const open = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
    over = await cloud.network("10.60.0.0/24");
    const flat = (physnet: string) => ({ "provider:network_type": "flat", "provider:physical_network": physnet });
    const made = await cloud.create("network", { name: "wide", segments: [flat("one"), flat("two"), { "provider:network_type": "geneve" }] });
    wide = { network: made, subnet: await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr: "10.80.0.0/24" }) };
    const six = await cloud.create("subnet", { network_id: made.id, ip_version: 6, cidr: "fd00:80::/64", gateway_ip: "fd00:80::fe" });
    const router = await cloud.router([over, wide, { network: made, subnet: six }]);
    [leg] = (await cloud.call("GET", `/v2.0/ports?network_id=${made.id}&device_id=${router.id}&fixed_ips=ip_address%3D10.80.0.1`)).body.ports as unknown as [Resource];
    inside = [];
    for (const n of [1, 2, 3, 4]) inside.push(await cloud.instance(cloud.hv(n), over, { port: { security_groups: [open.id] } }));
    beside = await cloud.instance(cloud.hv(4), wide, { port: { security_groups: [open.id] } });
    machines = [];
    for (const [n, physnet] of ["one", "two"].entries()) {
      const machine = await cloud.lab.addOutside({ name: `machine-${physnet}`, physnet });
      await machine.configure(`addr add ${addresses[n]}/24 dev eth0`, `addr add ${sixes[n]}/64 dev eth0 nodad`, "route add default via 10.80.0.1", "route add default via fd00:80::fe dev eth0");
      machines.push(machine);
    }
    await cloud.quiet();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  const answers = async (n: number): Promise<boolean> => {
    const { flows } = (await cloud.controller.ops("GET", `/flows?switch=hv${n}&table=l2_lookup&format=json`)).body as { flows: { priority: number; match: string; actions: string }[] };
    return flows.some((f) => f.priority === 117 && f.match.includes(leg.mac_address as string) && f.actions !== "drop");
  };
  async function expectAll(): Promise<void> {
    for (const [m, machine] of machines.entries()) {
      for (const i of inside) {
        await until(`${machine.name} to reach ${i.vm.name}`, () => machine.reaches(i.ip), { timeoutMs: 40_000 });
        await until(`${i.vm.name} to reach ${machine.name}`, () => i.vm.reaches(addresses[m]!), { timeoutMs: 40_000 });
        expect((await machine.ping(i.ip, { count: 10, intervalMs: 20 })).received, `${machine.name} to ${i.vm.name}`).toBeGreaterThanOrEqual(9);
      }
    }
  }

  test("and VMs of another network reach each other, on hosts of either segment and of none; each is answered once", async () => {
    for (const machine of machines) {
      await until(`an answer for ${machine.name}`, () => machine.reaches("10.80.0.1"), { timeoutMs: 20_000 });
      await until("by IPv6", () => machine.reaches("fd00:80::fe"), { timeoutMs: 10_000 });
    }
    await expectAll();
    for (const [m, machine] of machines.entries()) {
      await machine.configure("neigh flush all");
      const mac = leg.mac_address as string;
      expect(await machine.arping("10.80.0.1", { count: 3 }), machine.name).toEqual([mac, mac, mac]);
      expect((await machine.ping(inside[0]!.ip, { count: 20, intervalMs: 20 }))).toMatchObject({ received: 20 });
      // Nothing comes twice.
      const heard = await inside[3]!.vm.tcpdump(`icmp[icmptype] = icmp-echo and src host ${addresses[m]}`);
      await machine.ping(inside[3]!.ip, { count: 5, intervalMs: 50 });
      await sleep(300);
      expect((await heard.stop()).count).toBe(5);
    }
    const server = await machines[1]!.listen(7);
    for (const i of inside) {
      const connection = await i.vm.openTcp(addresses[1]!, 7);
      expect(await connection.echo("hello")).toBe(true);
      await connection.close();
    }
    await server.close();
    expect(await cloud.differences()).toBe("");
  }, 120_000);

  test("among themselves, and with VMs of the network, they are as before", async () => {
    await until("the one to reach the other", () => machines[0]!.reaches(addresses[1]!));
    await until("the VM to reach both", async () => (await beside.vm.reaches(addresses[0]!)) && beside.vm.reaches(addresses[1]!));
    expect((await machines[0]!.ping(addresses[1]!, { count: 10, intervalMs: 20 })).received).toBe(10);
  });

  test("the host that answers dies: the other of its segment does, and hands on; and again when it is back", async () => {
    const first = (await answers(1)) ? 1 : 2;
    const second = 3 - first;
    expect(await answers(second)).toBe(false);
    const alive = inside[second - 1]!;
    await cloud.hv(first).killVswitchd();
    const since = Date.now();
    await until("an answer", async () => (await answers(second)) && (await machines[0]!.reaches(alive.ip)), { timeoutMs: 60_000 });
    console.log(`another answers after ${Date.now() - since} ms`);
    await until("from the other segment", () => machines[1]!.reaches(alive.ip), { timeoutMs: 15_000 });
    await until("the one machine to reach the other", () => machines[0]!.reaches(addresses[1]!), { timeoutMs: 15_000 });
    await cloud.hv(first).startVswitchd();
    await cloud.synced();
    await until("the first to answer", () => answers(first), { timeoutMs: 30_000 });
    await expectAll();
    expect(await cloud.differences()).toBe("");
  }, 180_000);

  test("drained it hands over", async () => {
    const first = (await answers(1)) ? 1 : 2;
    const second = 3 - first;
    const running = machines[0]!.pingStart(inside[3]!.ip, { intervalMs: 50 });
    await cloud.hv(first).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=drain");
    await until("the other to answer", () => answers(second), { timeoutMs: 30_000 });
    await sleep(3000);
    const { longestGapMs, sent, received } = await running.stop();
    console.log(`drained: ${sent - received} of ${sent} lost, ${longestGapMs} ms`);
    expect(received).toBeGreaterThan(sent / 2);
    await cloud.hv(first).vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-gateway");
    await cloud.synced();
    await until("the first to answer", () => answers(first), { timeoutMs: 30_000 });
    await sleep(3000);
    await expectAll();
  }, 90_000);
});
