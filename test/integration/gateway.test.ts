// Gateways of routers on real switches: two hosts with VMs, two that may have gateways, and somebody outside.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../lab/exec.ts";
import type { Hypervisor } from "../../lab/hypervisor.ts";
import { Lab } from "../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("an external network in tunnels", () => {
  let cloud: Cloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let a: Instance;
  let x: Instance;
  /** The router's address outside, and its MAC. */
  let gateway: { readonly ip: string; readonly mac: string };

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "gateway", hypervisors: 4, gateways: [3, 4], flags: ["--audit-interval", "1"] });
    inside = await cloud.network("10.0.0.0/24");
    outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: false } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    gateway = { ip: (port.fixed_ips as { ip_address: string }[])[0]!.ip_address, mac: port.mac_address as string };
    // What comes from outside is a new connection to a.
    const group = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress" });
    a = await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } });
    x = await cloud.instance(cloud.hv(2), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    await x.vm.configure(`route add 10.0.0.0/24 via ${gateway.ip}`);
    await cloud.synced();
  }, 90_000);
  afterAll(async () => cloud?.destroy());

  const forwarding = async (at: Hypervisor, peer: Hypervisor): Promise<boolean> => {
    const names = (await at.vsctl("--bare", "--columns=name", "find", "Interface", `options:remote_ip=${peer.encapIp}`)).split("\n").filter((n) => n.startsWith("axion-bfd-"));
    return names[0] !== undefined && (await at.vsctl("--if-exists", "get", "Interface", names[0], "bfd_status:forwarding")).includes("true");
  };
  const usable = (): Promise<boolean> => until("gateways in use", async () => (await Promise.all([3, 4].flatMap((g) => [1, 2].map((u) => forwarding(cloud.hv(u), cloud.hv(g)))))).every(Boolean), { timeoutMs: 20_000 });

  test("out, and in, with nothing translated", async () => {
    await usable();
    await until("an answer from outside", () => a.vm.reaches(x.ip));
    expect(await a.vm.ping(x.ip, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });
    expect(await x.vm.ping(a.ip, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });
    expect(await x.vm.ping(gateway.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    expect(await a.vm.ping(gateway.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    expect(await cloud.differences()).toBe("");
    await sleep(0);
  }, 60_000);
});
