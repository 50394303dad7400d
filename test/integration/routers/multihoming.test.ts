// A router with gateways on two external networks, each with a next hop of its own: who leaves by which, and what becomes of connections when a next hop
// dies and comes back. One host has VMs alone, two may have gateways, one of these a VM as well.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

/** Reached by either next hop. */
const FAR = "192.0.2.9";

interface Provider {
  readonly network: Resource;
  readonly hop: string;
  readonly machine: Guest;
  /** The router's address there. */
  own: string;
}

describe.skipIf(Lab.missing().length > 0)("a router with two gateways", () => {
  let cloud: Cloud;
  let router: Resource;
  let inside: Net;
  let a: Instance;
  /** On a host that leads to both networks itself. */
  let near: Instance;
  let providers: readonly [Provider, Provider];

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "multihoming", hypervisors: 3, physnets: ["one", "two"], host: (n) => (n >= 2 ? { gateway: true } : { physnets: [] }), flags: ["--audit-interval", "1"] });
    inside = await cloud.network("10.0.0.0/24");
    router = await cloud.router([inside]);
    const open = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4" });
    providers = [await provider("one", "203.0.113"), await provider("two", "198.51.100")];
    const answer = await cloud.call("PUT", `/v2.0/routers/${router.id}/add_external_gateways`, { router: { external_gateways: providers.map((p) => ({ network_id: p.network.id })) } });
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    const infos = (answer.body as unknown as { router: { external_gateways: { external_fixed_ips: { ip_address: string }[] }[] } }).router.external_gateways;
    for (const [n, p] of providers.entries()) p.own = infos[n]!.external_fixed_ips[0]!.ip_address;
    a = await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [open.id] } });
    near = await cloud.instance(cloud.hv(2), inside, { port: { security_groups: [open.id] } });
    await cloud.synced();
    await cloud.gatewaysUsable();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  async function provider(physnet: string, prefix: string): Promise<Provider> {
    const hop = `${prefix}.1`;
    const network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": physnet });
    await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: `${prefix}.0/24`, gateway_ip: hop, allocation_pools: [{ start: `${prefix}.10`, end: `${prefix}.99` }] });
    const machine = await cloud.lab.addOutside({ name: `provider-${physnet}`, physnet });
    await machine.configure(`addr add ${hop}/24 dev eth0`, `addr add ${FAR}/32 dev lo`, "link set lo up");
    await machine.listen(8080);
    return { network, hop, machine, own: "" };
  }
  const set = async (values: object): Promise<void> => {
    await cloud.update("router", router.id, { ...values });
    await cloud.synced();
  };
  /** Opens so many connections, and counts those that were answered, by the provider that saw them begin, and with which address. */
  async function connect(count: number, from = a): Promise<{ readonly answered: number; readonly seen: readonly number[] }> {
    const captures = await Promise.all(providers.map((p) => p.machine.tcpdump(`tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and dst host ${FAR}`)));
    let answered = 0;
    for (let n = 0; n < count; n++) if (await from.vm.connectTcp(FAR, 8080, 1500)) answered++;
    await sleep(200);
    const seen: number[] = [];
    for (const [n, capture] of captures.entries()) {
      const { lines } = await capture.stop();
      for (const line of lines) expect(line).toContain(`${providers[n]!.own}.`);
      seen.push(lines.length);
    }
    return { answered, seen };
  }

  test("the first gateway is the way out, until another is the first", async () => {
    await until("an answer from outside", () => a.vm.reaches(FAR));
    expect(await connect(5)).toEqual({ answered: 5, seen: [5, 0] });
    const order = async (list: readonly Provider[]): Promise<void> => {
      const answer = await cloud.call("PUT", `/v2.0/routers/${router.id}/update_external_gateways`, { router: { external_gateways: list.map((p) => ({ network_id: p.network.id })) } });
      expect(answer.status).toBe(200);
      await cloud.synced();
    };
    await order([providers[1], providers[0]]);
    expect(await connect(5)).toEqual({ answered: 5, seen: [0, 5] });
    await order(providers);
    expect(await connect(5)).toEqual({ answered: 5, seen: [5, 0] });
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("floating IPs and forwarded ports on either network are answered by its gateway", async () => {
    for (const instance of [a, near]) {
      for (const p of providers) {
        const floating = await cloud.create("floatingip", { floating_network_id: p.network.id, port_id: instance.port.id });
        await cloud.synced();
        const ip = floating.floating_ip_address as string;
        await until(`an answer of ${ip}`, () => p.machine.reaches(ip));
        expect(await p.machine.ping(ip, { count: 10, intervalMs: 20 }), ip).toMatchObject({ received: 10 });
        // From the same address everywhere outside, so that only the way back tells.
        expect(await p.machine.ping(ip, { count: 10, intervalMs: 20, device: FAR }), `${ip} from ${FAR}`).toMatchObject({ received: 10 });
        await cloud.remove("floatingip", floating.id);
      }
    }
    const [, second] = providers;
    const floating = await cloud.create("floatingip", { floating_network_id: second.network.id });
    const forwarding = { internal_port_id: a.port.id, internal_ip_address: a.ip, protocol: "tcp", internal_port: 8081, external_port: 80 };
    expect((await cloud.call("POST", `/v2.0/floatingips/${floating.id}/port_forwardings`, { port_forwarding: forwarding })).status).toBe(201);
    await cloud.synced();
    const server = await a.vm.listen(8081);
    await until("an answer of a forwarded port", () => second.machine.connectTcp(floating.floating_ip_address as string, 80, 1000));
    await server.close();
    // What it opens itself goes as before.
    expect(await connect(3)).toEqual({ answered: 3, seen: [3, 0] });
    for (const { id } of (await cloud.call("GET", `/v2.0/floatingips/${floating.id}/port_forwardings`)).body.port_forwardings as unknown as Resource[]) await cloud.call("DELETE", `/v2.0/floatingips/${floating.id}/port_forwardings/${id}`);
    await cloud.remove("floatingip", floating.id);
    await cloud.synced();
  }, 90_000);

  test("of floating IPs on both networks, where the host leads there itself, each is answered by its gateway; what is opened leaves by the first", async () => {
    const floating: Resource[] = [];
    for (const p of [providers[1], providers[0]]) floating.unshift(await cloud.create("floatingip", { floating_network_id: p.network.id, port_id: near.port.id }));
    await cloud.synced();
    const server = await near.vm.listen(8082);
    for (const [n, p] of providers.entries()) {
      const ip = floating[n]!.floating_ip_address as string;
      await until(`an answer of ${ip}`, () => p.machine.reaches(ip));
      for (const from of [p.hop, FAR]) expect(await p.machine.ping(ip, { count: 10, intervalMs: 20, device: from }), `${ip} from ${from}`).toMatchObject({ received: 10 });
      const connection = await p.machine.openTcp(ip, 8082);
      for (let times = 0; times < 3; times++) expect(await connection.echo(`by ${ip}`)).toBe(true);
      await connection.close();
    }
    const seen = await providers[0].machine.tcpdump(`tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and src host ${floating[0]!.floating_ip_address as string}`);
    for (let times = 0; times < 3; times++) expect(await near.vm.connectTcp(FAR, 8080, 1500)).toBe(true);
    await sleep(200);
    expect((await seen.stop()).lines.length).toBeGreaterThanOrEqual(3);
    await server.close();
    for (const { id } of floating) await cloud.remove("floatingip", id);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("by two gateways on one network at once, each with its own address, on whichever hosts they are", async () => {
    const [{ network, machine }] = providers;
    const replace = async (networks: readonly Resource[]): Promise<string[]> => {
      // Which of several on a network is meant would have to be said.
      const answer = await cloud.call("PUT", `/v2.0/routers/${router.id}/update_external_gateways`, { router: { external_gateways: networks.map(({ id }) => ({ network_id: id })) } });
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      await cloud.synced();
      await cloud.gatewaysUsable();
      return (answer.body as unknown as { router: { external_gateways: { external_fixed_ips: { ip_address: string }[] }[] } }).router.external_gateways.map((g) => g.external_fixed_ips[0]!.ip_address);
    };
    const own = await replace([network, network, network]);
    await set({ enable_default_route_ecmp: true });
    await until("an answer from outside", () => a.vm.reaches(FAR));
    const seen = await machine.tcpdump(`tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and dst host ${FAR}`);
    for (let n = 0; n < 40; n++) expect(await (n % 2 === 0 ? a : near).vm.connectTcp(FAR, 8080, 1500), `connection ${n}`).toBe(true);
    await sleep(200);
    const { lines } = await seen.stop();
    for (const ip of own) expect(lines.filter((l) => l.includes(` ${ip}.`)).length, ip).toBeGreaterThan(3);
    expect(lines.filter((l) => !own.some((ip) => l.includes(` ${ip}.`)))).toEqual([]);
    await set({ enable_default_route_ecmp: false });
    await replace([]);
    const [first, second] = await replace(providers.map((p) => p.network));
    [providers[0].own, providers[1].own] = [first!, second!];
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("by both at once; a next hop that dies is left out, also with no controller, and used again when it is back; other connections bear it all", { tags: "long", timeout: 180_000 }, async () => {
    await set({ enable_default_route_ecmp: true });
    await until("an answer from outside", () => a.vm.reaches(FAR));
    const before = await connect(24);
    expect(before.answered).toBe(24);
    for (const seen of before.seen) expect(seen, JSON.stringify(before)).toBeGreaterThan(3);
    expect((await connect(16, near)).answered).toBe(16);

    const [first, second] = providers;
    // A connection by the one that stays.
    const capture = await second.machine.tcpdump(`tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and dst host ${FAR}`);
    let kept = await a.vm.openTcp(FAR, 8080);
    await sleep(200);
    for (let n = 0; n < 30 && capture.lines.length === 0; n++) {
      await kept.close();
      kept = await a.vm.openTcp(FAR, 8080);
      await sleep(200);
    }
    expect((await capture.stop()).lines).not.toEqual([]);

    await first.machine.configure(`addr del ${first.hop}/24 dev eth0`);
    const since = Date.now();
    await until("the dead next hop to be left out", async () => (await connect(6)).seen[0] === 0 && (await connect(12)).answered === 12, { timeoutMs: 40_000 });
    console.log(`left out, as connections saw it, within ${Date.now() - since} ms`);
    expect(await kept.echo("while one is dead")).toBe(true);
    await cloud.controller.stop();
    expect((await connect(12)).answered).toBe(12);
    await cloud.controller.start();
    await cloud.synced();
    expect((await connect(12)).answered).toBe(12);

    await first.machine.configure(`addr add ${first.hop}/24 dev eth0`);
    await until("it to be used again", async () => (await connect(8)).seen[0]! > 0, { timeoutMs: 40_000 });
    const after = await connect(24);
    expect(after.answered, JSON.stringify(after)).toBe(24);
    expect(await kept.echo("when it is back")).toBe(true);
    await kept.close();
    expect(await cloud.differences()).toBe("");
    await set({ enable_default_route_ecmp: false });
    expect(await connect(5)).toEqual({ answered: 5, seen: [5, 0] });
  });
});
