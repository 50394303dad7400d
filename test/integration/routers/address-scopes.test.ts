// Address scopes on real switches: a router with networks of the scope of the network outside, of another one, and of none. VMs on two hosts, the
// gateway on a third.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const OUTSIDE = "203.0.113.1";
const NAMES = ["same", "other", "none"] as const;

describe.skipIf(Lab.missing().length > 0)("address scopes", () => {
  let cloud: Cloud;
  let router: Resource;
  let outside: Net;
  let x: Instance;
  let gateway: string;
  const vms = {} as Record<(typeof NAMES)[number], Instance>;
  const pools: Resource[] = [];

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "scopes", hypervisors: 3, host: (n) => ({ gateway: n === 3 }) });
    const [e, f] = [await cloud.create("address_scope", { name: "e", ip_version: 4 }), await cloud.create("address_scope", { name: "f", ip_version: 4 })];
    const network = async (cidr: string, address_scope_id: string | null, subnet: Record<string, unknown> = {}): Promise<Net> => {
      const pool = await cloud.create("subnetpool", { name: cidr, prefixes: [cidr], default_prefixlen: 24, address_scope_id });
      pools.push(pool);
      return cloud.network(cidr, { subnetpool_id: pool.id, ...subnet });
    };
    outside = await network("203.0.113.0/24", e.id);
    await cloud.update("network", outside.network.id, { "router:external": true });
    const insides = [await network("10.0.0.0/24", e.id), await network("10.1.0.0/24", f.id), await network("10.2.0.0/24", null)];
    router = await cloud.router(insides);
    const { external_gateway_info: info } = await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } });
    gateway = (info as { external_fixed_ips: { ip_address: string }[] }).external_fixed_ips[0]!.ip_address;
    const open = (await cloud.create("security_group", { name: "open" })).id;
    await cloud.create("security_group_rule", { security_group_id: open, direction: "ingress", ethertype: "IPv4" });
    for (const [n, name] of NAMES.entries()) vms[name] = await cloud.instance(cloud.hv((n % 2) + 1), insides[n]!, { port: { security_groups: [open] } });
    x = await cloud.instance(cloud.hv(2), outside, { port: { fixed_ips: [{ ip_address: OUTSIDE }], port_security_enabled: false } });
    await x.vm.configure(`route add 10.0.0.0/14 via ${gateway}`);
    await cloud.synced();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  /** Whom x sees behind what a VM sends; undefined: nothing is answered. */
  async function seenAs(vm: Instance): Promise<string | undefined> {
    const capture = await x.vm.tcpdump("icmp[icmptype] == icmp-echo");
    const { received } = await vm.vm.ping(OUTSIDE, { count: 3, intervalMs: 20, timeoutMs: 300 });
    const { lines } = await capture.stop();
    return received === 0 ? undefined : /(\d+\.\d+\.\d+\.\d+) > /.exec(lines.find((l) => l.includes(`> ${OUTSIDE}`)) ?? "")?.[1];
  }
  const answered = async (from: Instance, to: string): Promise<boolean> => (await from.vm.ping(to, { count: 3, intervalMs: 20, timeoutMs: 300 })).received > 0;

  test("networks of different scopes are not routed to each other; the router itself answers all", async () => {
    await until("the way outside", () => vms.same.vm.reaches(OUTSIDE));
    for (const a of NAMES) for (const b of NAMES) if (a !== b) expect([a, b, await answered(vms[a], vms[b].ip)]).toEqual([a, b, false]);
    for (const a of NAMES) expect(await answered(vms[a], "10.1.0.1"), a).toBe(true);
  }, 60_000);

  test("outside, the own scope is seen as it is and reached, others are translated", async () => {
    expect(await seenAs(vms.same)).toBe(vms.same.ip);
    expect(await seenAs(vms.other)).toBe(gateway);
    expect(await seenAs(vms.none)).toBe(gateway);
    expect(await answered(x, vms.same.ip)).toBe(true);
    for (const name of ["other", "none"] as const) expect([name, await answered(x, vms[name].ip)]).toEqual([name, false]);
  }, 60_000);

  test("floating IPs lead across scopes, also from one inside to another", async () => {
    const { floating_ip_address: ip, id } = await cloud.create("floatingip", { floating_network_id: outside.network.id, port_id: vms.other.port.id });
    await cloud.synced();
    await until("the floating IP", () => x.vm.reaches(ip as string));
    expect(await seenAs(vms.other)).toBe(ip);
    for (const name of ["same", "none"] as const) expect([name, await answered(vms[name], ip as string)]).toEqual([name, true]);
    await cloud.remove("floatingip", id);
    await cloud.synced();
  }, 60_000);

  test("without translation only the own scope leaves; without scopes all is routed", async () => {
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: false } });
    await cloud.synced();
    await until("the way outside", () => vms.same.vm.reaches(OUTSIDE));
    expect([await seenAs(vms.same), await seenAs(vms.other), await seenAs(vms.none)]).toEqual([vms.same.ip, undefined, undefined]);
    for (const { id } of pools) await cloud.update("subnetpool", id, { address_scope_id: null });
    await cloud.synced();
    for (const name of NAMES) expect([name, await seenAs(vms[name])]).toEqual([name, vms[name].ip]);
    expect(await answered(vms.same, vms.other.ip)).toBe(true);
    expect(await cloud.differences()).toBe("");
  }, 60_000);
});
