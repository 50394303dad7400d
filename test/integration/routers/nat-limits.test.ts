// Nobody takes the connection table of a gateway's host, which all tenants share: what opens translated connections is metered for each router, on
// each host, apart for what is opened from inside and from outside.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { frames, sendRaw, udp } from "../../support/api/raw.ts";

describe.skipIf(Lab.missing().length > 0)("connections that are translated", () => {
  const PPS = 50;
  const BURST = 100;
  const FLOOD = 4000;
  let cloud: Cloud;
  let outside: Net;
  let x: Instance;
  let mallory: Instance;
  let leg: string;
  let other: Instance;
  let floating: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "nat-limits", hypervisors: 2, host: (n) => ({ gateway: n === 2 }), flags: ["--translated-connections-pps", String(PPS), "--translated-connections-burst", String(BURST)] });
    outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    x = await cloud.instance(cloud.hv(1), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    [mallory, other] = [await tenant("evil"), await tenant("other")];
    const { ports } = (await cloud.call("GET", `/v2.0/ports?network_id=${mallory.port.network_id as string}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] };
    leg = ports[0]!.mac_address as string;
    floating = await cloud.create("floatingip", { floating_network_id: outside.network.id }, "evil");
    await x.vm.listen(80);
    for (const { vm } of [mallory, other]) await until("an answer from outside", () => vm.reaches(x.ip), { timeoutMs: 20_000 });
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function tenant(project: string): Promise<Instance> {
    const inside = await cloud.network("10.0.0.0/24", {}, project);
    const router = await cloud.router([inside], project);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } }, project);
    return cloud.instance(cloud.hv(1), inside, { project, port: { port_security_enabled: false } });
  }
  const connections = async (hv: number): Promise<number> => Number((await cloud.hv(hv).appctl("dpctl/ct-get-nconns")).trim());
  /** Datagrams that open a connection each; how many more there are then than the meter lets in, 0 or less: none. */
  async function flood(from: Instance, hv: number, dstMac: string, dst: string): Promise<number> {
    await cloud.hv(hv).appctl("dpctl/flush-conntrack");
    const e = { srcMac: from.port.mac_address as string, dstMac, src: from.ip, dst };
    const began = Date.now();
    await sendRaw(from.vm, Array.from({ length: FLOOD }, (_, i) => frames(e, udp(e, 10_000 + i, 9, 20))).flat());
    const seconds = (Date.now() - began) / 1000;
    const taken = await connections(hv);
    expect(taken).toBeGreaterThan(BURST / 2);
    return taken - Math.ceil(BURST + PPS * (seconds + 2));
  }

  test("from inside, without port security: others leave as before, and what is called from outside is reached", async () => {
    expect(await flood(mallory, 2, leg, x.ip)).toBeLessThanOrEqual(0);
    for (let i = 0; i < 5; i++) expect(await other.vm.connectTcp(x.ip, 80)).toBe(true);
    await until("a connection of its own", () => mallory.vm.connectTcp(x.ip, 80));
  }, 60_000);

  // A switch drops what passes conntrack more than six times.
  test("one that passes both policies and both ways of translation on the gateway's own host is opened by its first packet", async () => {
    const net = { network: { id: other.port.network_id as string, mtu: 1400 } as Resource, subnet: await cloud.show("subnet", (other.port.fixed_ips as { subnet_id: string }[])[0]!.subnet_id) };
    const group = await cloud.create("security_group", { name: "open" }, "other");
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4" }, "other");
    const [client, server] = [1, 2].map(() => cloud.instance(cloud.hv(2), net, { project: "other", port: { security_groups: [group.id] } }));
    const [from, to] = [await client!, await server!];
    const { id, floating_ip_address: ip } = await cloud.create("floatingip", { floating_network_id: outside.network.id }, "other");
    const forwarding = { protocol: "tcp", external_port: 8080, internal_port: 80, internal_port_id: to.port.id, internal_ip_address: to.ip };
    expect((await cloud.call("POST", `/v2.0/floatingips/${id}/port_forwardings`, { port_forwarding: forwarding }, "other")).status).toBe(201);
    await cloud.synced();
    await to.vm.listen(80);
    expect(await from.vm.connectTcp(ip as string, 8080, 900)).toBe(true);
    const own = await cloud.create("floatingip", { floating_network_id: outside.network.id, port_id: from.port.id }, "other");
    await cloud.synced();
    for (const address of [ip, own.floating_ip_address] as string[]) {
      await from.vm.listen(address === ip ? 81 : 8080);
      expect(await from.vm.connectTcp(address, 8080, 900), address).toBe(true);
    }
  }, 60_000);

  test("from outside, to a floating IP: who has it opens connections all the same", async () => {
    await cloud.update("floatingip", floating.id, { port_id: mallory.port.id }, "evil");
    await cloud.synced();
    await until("an answer", () => x.vm.reaches(floating.floating_ip_address as string));
    const holder = ((await cloud.call("GET", `/v2.0/ports?device_id=${floating.id}`)).body as unknown as { ports: Resource[] }).ports[0]!;
    expect(await flood(x, 1, holder.mac_address as string, floating.floating_ip_address as string)).toBeLessThanOrEqual(0);
    for (let i = 0; i < 5; i++) expect(await mallory.vm.connectTcp(x.ip, 80)).toBe(true);
    await until("a connection from outside", () => x.vm.reaches(floating.floating_ip_address as string));
  }, 60_000);

  test("when the table is full, nothing leaves with an address of the inside", async () => {
    const room = (await cloud.hv(2).appctl("dpctl/ct-get-maxconns")).trim();
    await cloud.hv(2).appctl("dpctl/flush-conntrack");
    await cloud.hv(2).appctl("dpctl/ct-set-maxconns", "5");
    const capture = await x.vm.tcpdump("udp port 9");
    const { ports } = (await cloud.call("GET", `/v2.0/ports?network_id=${other.port.network_id as string}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] };
    const e = { srcMac: other.port.mac_address as string, dstMac: ports[0]!.mac_address as string, src: other.ip, dst: x.ip };
    await sendRaw(other.vm, Array.from({ length: 60 }, (_, i) => frames(e, udp(e, 20_000 + i, 9, 20))).flat());
    await until("what the table has room for", () => Promise.resolve(capture.lines.length > 0));
    const { lines } = await capture.stop();
    await cloud.hv(2).appctl("dpctl/ct-set-maxconns", room);
    expect(lines.filter((l) => l.includes("10.0.0."))).toEqual([]);
    expect(lines.length).toBeLessThan(60);
  });
});
