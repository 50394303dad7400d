// Metering labels on real switches: what is counted at the edge is what tcpdump sees outside, by gateways and by floating IPs, of both families, and it goes on
// when the gateway moves and the controller is killed.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

interface Counts {
  readonly ingress: { readonly packets: number | null; readonly bytes: number | null };
  readonly egress: { readonly packets: number | null; readonly bytes: number | null };
  readonly complete: boolean;
}

describe.skipIf(Lab.missing().length > 0).each(nightly ? (["flat", "in tunnels"] as const) : (["flat"] as const))("metering, a network outside %s", (how) => {
  const UP = "203.0.113.100";
  const UP6 = "2001:db8:f::100";
  const OTHER = "203.0.113.109";
  let cloud: Cloud;
  let inside: Net;
  let router: Resource;
  let a: Instance;
  let b: Instance;
  let machine: Guest;
  let floating: string;
  const labels: Record<string, string> = {};

  beforeAll(async () => {
    cloud = await Cloud.create({ name: `metering-${how.split(" ")[0]!}`, hypervisors: 3, physnets: ["ext"], host: (n) => (n >= 2 ? { gateway: true } : {}), flags: ["--audit-interval", "1"] });
    const network = await cloud.create("network", { "router:external": true, ...(how === "flat" && { "provider:network_type": "flat", "provider:physical_network": "ext" }) });
    const outside = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: "203.0.113.254" }) };
    await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "2001:db8:f::/64", gateway_ip: "2001:db8:f::fe" });
    inside = await cloud.network("10.0.0.0/24");
    const six = await cloud.create("subnet", { network_id: inside.network.id, ip_version: 6, cidr: "2001:db8:1::/64" });
    router = await cloud.router([inside, { network: inside.network, subnet: six }]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: network.id } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    const gateway6 = (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!;
    const group = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype });
    const vm = async (ip_address: string): Promise<Instance> => {
      const instance = await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id], fixed_ips: [{ ip_address }, { subnet_id: six.id }] } });
      const ip6 = (instance.port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!;
      await instance.vm.configure(`addr add ${ip6}/64 dev eth0 nodad`, `route add default via ${six.gateway_ip as string} dev eth0`);
      return instance;
    };
    [a, b] = [await vm("10.0.0.5"), await vm("10.0.0.6")];
    if (how === "flat") machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    else machine = (await cloud.instance(cloud.hv(2), outside, { port: { fixed_ips: [{ ip_address: UP }, { ip_address: UP6 }], port_security_enabled: false } })).vm;
    await machine.configure("link set lo up", `addr replace ${UP}/24 dev eth0`, `addr add ${OTHER}/32 dev eth0`, `addr add ${UP6}/64 dev eth0 nodad`, `route add 2001:db8:1::/64 via ${gateway6} dev eth0`);
    floating = ((await cloud.create("floatingip", { floating_network_id: network.id, port_id: b.port.id })) as unknown as { floating_ip_address: string }).floating_ip_address;
    await cloud.synced();
    // Until all watch each other what leaves may change its gateway, and lose its connection.
    await cloud.gatewaysUsable(1);
    for (const [from, to] of [[a, UP], [b, UP], [a, UP6]] as const) await until(`an answer of ${to}`, () => from.vm.reaches(to), { timeoutMs: 20_000 });
    for (const [name, rules] of Object.entries<readonly Record<string, unknown>[]>({
      // Of one machine, but for what it says to one outside.
      one: [{ direction: "egress", remote_ip_prefix: "10.0.0.5/32" }, { direction: "egress", excluded: true, source_ip_prefix: "10.0.0.0/24", destination_ip_prefix: OTHER }, { direction: "ingress", remote_ip_prefix: "10.0.0.5/32" }],
      all: [{ direction: "egress", remote_ip_prefix: "0.0.0.0/0" }, { direction: "ingress", remote_ip_prefix: "0.0.0.0/0" }],
      six: [{ direction: "egress", source_ip_prefix: "2001:db8:1::/64" }, { direction: "ingress", source_ip_prefix: `${UP6}/128` }],
      others: [{ direction: "egress", remote_ip_prefix: "10.0.0.128/25" }, { direction: "ingress", source_ip_prefix: "198.51.100.0/24" }],
    })) {
      const { id } = await made("metering-labels", "metering_label", { name });
      labels[name] = id;
      for (const rule of rules) await made("metering-label-rules", "metering_label_rule", { metering_label_id: id, ...rule });
    }
    await cloud.renewed();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function made(path: string, name: string, values: Record<string, unknown>): Promise<Resource> {
    const { status, body } = await cloud.call("POST", `/v2.0/metering/${path}`, { [name]: values });
    expect(status, JSON.stringify(body)).toBe(201);
    return body[name]! as Resource;
  }
  async function counts(name: string): Promise<Counts> {
    const { status, body } = await cloud.call("GET", `/v2.0/metering/metering-labels/${labels[name]!}?fields=axion:ingress&fields=axion:egress&fields=axion:counts_complete`);
    expect(status).toBe(200);
    const { "axion:ingress": ingress, "axion:egress": egress, "axion:counts_complete": complete } = body.metering_label! as unknown as Record<string, never>;
    return { ingress, egress, complete } as unknown as Counts;
  }
  /** Until labels say so many packets in and out; switches count with a delay. */
  async function say(wanted: Readonly<Record<string, readonly [ingress: number, egress: number]>>): Promise<void> {
    let last: unknown;
    await until(`counts ${JSON.stringify(wanted)}`, async () => {
      const now = Object.fromEntries(await Promise.all(Object.keys(wanted).map(async (name) => {
        const { ingress, egress } = await counts(name);
        return [name, [ingress.packets, egress.packets]] as const;
      })));
      last = now;
      return JSON.stringify(now) === JSON.stringify(wanted);
    }, { timeoutMs: 15_000, intervalMs: 300 }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}: ${JSON.stringify(last)}`);
    });
  }
  async function ping(from: Instance, to: string, count: number): Promise<void> {
    expect((await from.vm.ping(to, { count })).received).toBe(count);
  }

  test("what is counted is what passes outside, by label, direction and prefix", async () => {
    await say({ one: [0, 0], all: [0, 0], six: [0, 0], others: [0, 0] });
    const [left, came] = await Promise.all([machine.tcpdump("icmp[icmptype] == icmp-echo"), machine.tcpdump("icmp[icmptype] == icmp-echoreply")]);
    await ping(a, UP, 10);
    await ping(a, OTHER, 5);
    await ping(b, UP, 7);
    await ping(a, UP6, 4);
    await say({ one: [15, 10], all: [22, 22], six: [4, 4], others: [0, 0] });
    expect([left.lines.length, came.lines.length]).toEqual([22, 22]);
    await Promise.all([left.stop(), came.stop()]);
    // A ping has 98 bytes with its Ethernet header.
    const { ingress, egress } = await counts("one");
    expect([ingress.bytes, egress.bytes]).toEqual([15 * 98, 10 * 98]);
    // By a floating IP from outside: what comes in is counted by whom it is for inside.
    expect((await machine.ping(floating, { count: 3 })).received).toBe(3);
    await say({ one: [15, 10], all: [25, 25] });
    expect(await cloud.metric("axion_metering_packets_total", { label: labels.all!, direction: "egress" })).toBe(25);
    const { body } = await cloud.controller.ops<{ name: string; egress: { packets: number } }[]>("GET", `/metering?label=${labels.one!}`);
    expect(body.map((l) => [l.name, l.egress.packets])).toEqual([["one", 10]]);
  });

  test("what a rule had counted when it was deleted is what passed, with no look between", async () => {
    const { id: label } = await made("metering-labels", "metering_label", { name: "passing" });
    labels.passing = label;
    let left = 0;
    for (const count of [6, 4]) {
      const { id } = await made("metering-label-rules", "metering_label_rule", { metering_label_id: label, direction: "egress", remote_ip_prefix: "10.0.0.5/32" });
      await cloud.synced();
      await ping(a, UP, count);
      left += count;
      // A switch counts with a delay. It is asked itself, so that nobody looks at the label.
      await until("what passed, on the switch", async () => {
        const { flows } = (await cloud.controller.ops<{ flows: { rule: string; packet_count?: number }[] }>("GET", `/flows?resource=${label}&stats=1`)).body;
        return flows.some(({ rule, packet_count }) => rule.includes("egress") && packet_count === count);
      }, { timeoutMs: 10_000, intervalMs: 100 });
      expect((await cloud.call("DELETE", `/v2.0/metering/metering-label-rules/${id}`)).status).toBe(204);
      await cloud.synced();
    }
    await say({ passing: [0, left] });
  }, 60_000);

  test("what is counted does not fall when the gateway leaves its host and the controller is killed, and goes on", async () => {
    const [gateway] = ((await cloud.call("GET", `/v2.0/routers/${router.id}?fields=axion:gateway_hosts`)).body.router as unknown as { "axion:gateway_hosts": [{ active: string | null }] })["axion:gateway_hosts"];
    await cloud.hypervisors.find((hv) => hv.systemId === gateway.active)!.vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-gateway");
    await cloud.quiet();
    await until("an answer by the other host", () => a.vm.reaches(UP), { timeoutMs: 20_000 });
    await say({ six: [4, 4], all: [36, 36] });
    // Of flows that went, what they have counted is stored soon after.
    for (const direction of ["ingress", "egress"]) {
      await until("what the flows that went have counted", async () => JSON.stringify((await cloud.controller.ops("GET", `/history?resource=${direction}/${labels.six!}`)).body).includes('"gone_packets":4'), { timeoutMs: 20_000 }).catch(async (error: unknown) => {
        throw new Error(`${(error as Error).message}: ${JSON.stringify((await cloud.controller.ops("GET", `/history?resource=${direction}/${labels.six!}`)).body)}`);
      });
    }
    await cloud.controller.kill9();
    await cloud.controller.restart();
    await cloud.synced();
    await until("an answer after the start", () => a.vm.reaches(UP), { timeoutMs: 20_000 });
    await ping(a, UP6, 6);
    await say({ six: [10, 10] });
    await cloud.controller.restart();
    await cloud.synced();
    await say({ six: [10, 10] });
  }, 120_000);
});
