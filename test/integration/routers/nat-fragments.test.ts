// Fragments and translation: what waits in conntrack for the rest of its packet leaves it in no other's name. Two tenants, one host with VMs and one
// with their gateways.
// @module-tag long
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { frames, sendRaw, udp } from "../../support/api/raw.ts";

interface Tenant {
  readonly router: Resource;
  /** MAC of its router inside. */
  readonly leg: string;
  /** One with a floating IP, which is translated on its host, and one without, which is at the gateway. */
  readonly floating: Instance;
  readonly plain: Instance;
  readonly address: string;
}

describe.skipIf(Lab.missing().length > 0)("fragments that wait where addresses are translated", () => {
  const PIECES = 50;
  const SECONDS = 22;
  let cloud: Cloud;
  let outside: Net;
  let x: Instance;
  let victim: Tenant;
  let evil: Tenant;
  let forwarded: string;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "nat-frag", hypervisors: 2, host: (n) => ({ gateway: n === 2 }), flags: ["--audit-interval", "1"] });
    outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    x = await cloud.instance(cloud.hv(1), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    victim = await tenant("victim", "10.0.0.0/24");
    evil = await tenant("evil", "10.1.0.0/24");
    const floating = await cloud.create("floatingip", { floating_network_id: outside.network.id }, "victim");
    const answer = await cloud.call("POST", `/v2.0/floatingips/${floating.id}/port_forwardings`, {
      port_forwarding: { protocol: "udp", external_port: 5353, internal_port: 5353, internal_port_id: victim.plain.port.id, internal_ip_address: victim.plain.ip },
    }, "victim");
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    forwarded = floating.floating_ip_address as string;
    await cloud.synced();
    for (const { plain, floating: other } of [victim, evil]) for (const { vm } of [plain, other]) await until("an answer from outside", () => vm.reaches(x.ip), { timeoutMs: 20_000 });
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function tenant(project: string, cidr: string): Promise<Tenant> {
    const inside = await cloud.network(cidr, {}, project);
    const router = await cloud.router([inside], project);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } }, project);
    const instance = (): Promise<Instance> => cloud.instance(cloud.hv(1), inside, { project, port: { port_security_enabled: false } });
    const [floating, plain] = [await instance(), await instance()];
    const { floating_ip_address: address } = await cloud.create("floatingip", { floating_network_id: outside.network.id, port_id: floating.port.id }, project);
    const { ports } = (await cloud.call("GET", `/v2.0/ports?network_id=${inside.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] };
    return { router, leg: ports[0]!.mac_address as string, floating, plain, address: address as string };
  }
  /** Datagrams of one byte every 10 ms, each of a connection of its own, for so long. */
  const opens = (from: Instance, to: readonly string[]): Promise<unknown> =>
    from.vm.exec(["python3", "-c", "import socket,sys,time\nend=time.time()+float(sys.argv[1])\nwhile time.time()<end:\n  for ip in sys.argv[2:]:\n    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.sendto(b'x',(ip,5353));s.close()\n  time.sleep(.01)", String(SECONDS), ...to], { timeoutMs: 60_000 });
  const fragmentsAt = (to: Instance) => to.vm.tcpdump("-Q in ip[6:2] & 0x3fff != 0");
  const expired = async (): Promise<number> => {
    const texts = await Promise.all(cloud.hypervisors.map((hv) => hv.appctl("dpctl/ipf-get-status")));
    return texts.join("\n").split("\n").reduce((sum, line) => sum + (/expired/.test(line) ? Number(/\d+$/.exec(line.trim())?.[0] ?? 0) : 0), 0);
  };

  test("they reach neither the VMs of another tenant nor anybody outside by an address of the inside, in whatever packet's company they leave", async () => {
    const heard = [victim.plain, victim.floating, x];
    const captures = await Promise.all(heard.map(fragmentsAt));
    const before = await expired();
    for (const from of [evil.plain, evil.floating]) {
      const heads: Buffer[] = [];
      for (const dst of heard.map((to) => to.ip)) {
        const e = { srcMac: from.port.mac_address as string, dstMac: evil.leg, src: from.ip, dst };
        for (let i = 0; i < PIECES; i++) heads.push(frames(e, udp(e, 4000, 9999, 2400), [[0, 1304], [1304, 2408]])[0]!);
      }
      await sendRaw(from.vm, heads);
    }
    await Promise.all([opens(victim.plain, [x.ip]), opens(victim.floating, [x.ip]), opens(x, [victim.address, forwarded])]);
    const seen: Record<string, number> = {};
    for (const [n, capture] of captures.entries()) seen[heard[n]!.ip] = (await capture.stop()).lines.length;
    expect(seen).toEqual({ [victim.plain.ip]: 0, [victim.floating.ip]: 0, [x.ip]: 0 });
    // They were there, and came out of conntrack.
    expect((await expired()) - before).toBeGreaterThan(PIECES * 3);
  }, 90_000);

  test("datagrams in fragments pass where they are whole: from inside, and to a floating IP", async () => {
    await x.vm.listen(5400);
    for (const from of [victim.plain, victim.floating]) await until(`a datagram of ${from.ip} in fragments`, () => from.vm.probeUdp(x.ip, 5400, 2000, 4000));
    await victim.floating.vm.listen(5401);
    expect(await x.vm.probeUdp(victim.address, 5401, 2000, 4000)).toBe(true);
  }, 60_000);
});
