// Local IPs on two real hosts: whoever sends to one reaches the associated port on the own host, under that address; without one there, whoever has the address.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("local IPs", () => {
  let cloud: Cloud;
  let net: Net;
  let [c1, c2, s1, s2]: Instance[] = [];
  let local: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "local-ip" });
    net = await cloud.network("10.0.0.0/24");
    const six = await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "2001:db8:1::/64" });
    const vm = async (host: number): Promise<Instance> => {
      const instance = await cloud.instance(cloud.hv(host), net, { port: { fixed_ips: [{ subnet_id: net.subnet.id }, { subnet_id: six.id }] } });
      await instance.vm.configure(`addr add ${ip6Of(instance)}/64 dev eth0 nodad`);
      return instance;
    };
    [c1, c2, s1, s2] = [await vm(1), await vm(2), await vm(1), await vm(2)];
    local = await made("local-ips", "local_ip", { network_id: net.network.id });
  }, 90_000);
  afterAll(async () => cloud?.destroy());

  const ip6Of = (of: Instance): string => (of.port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!;
  async function made(path: string, name: string, values: Record<string, unknown>): Promise<Resource> {
    const { status, body } = await cloud.call("POST", `/v2.0/${path}`, { [name]: values });
    expect(status, JSON.stringify(body)).toBe(201);
    return body[name]! as Resource;
  }
  async function associated(of: Resource, to: Instance, fixed_ip = to.ip): Promise<void> {
    await made(`local_ips/${of.id}/port_associations`, "port_association", { fixed_port_id: to.port.id, fixed_ip });
  }
  const removed = async (of: Resource, to: Instance): Promise<unknown> => expect((await cloud.call("DELETE", `/v2.0/local_ips/${of.id}/port_associations/${to.port.id}`)).status).toBe(204);
  const address = (of: Resource): string => of.local_ip_address as string;
  /** Which of these get three pings that somebody sends to an address, and under which of their own. */
  async function reached(from: Instance, to: string, among: readonly Instance[] = [s1!, s2!]): Promise<string[]> {
    const captures = await Promise.all(among.map((one) => one.vm.tcpdump(to.includes(":") ? "icmp6[icmp6type] == icmp6-echo" : "icmp[icmptype] == icmp-echo")));
    expect((await from.vm.ping(to, { count: 3 })).received).toBe(3);
    const got = await Promise.all(captures.map((one) => one.stop()));
    return got.flatMap(({ lines }, i) => (lines.length === 0 ? [] : [`${lines.length} ${/ > ([0-9a-f.:]+): ICMP/.exec(lines[0]!)![1]!.replace(/:$/, "")} ${among[i]!.vm.name}`]));
  }

  test("each host has its own: pings, connections and answers, under the one address", async () => {
    expect(await c1!.vm.reaches(address(local))).toBe(false);
    await associated(local, s1!);
    await associated(local, s2!);
    await cloud.renewed();
    await until("an answer", () => c1!.vm.reaches(address(local)), { timeoutMs: 10_000 });
    expect(await reached(c1!, address(local))).toEqual([`3 ${s1!.ip} ${s1!.vm.name}`]);
    expect(await reached(c2!, address(local))).toEqual([`3 ${s2!.ip} ${s2!.vm.name}`]);
    // Nothing is passed twice, there or back: limits and copies count once.
    for (const [from, to] of [[c1!, address(local)], [c1!, s1!.ip]] as const) {
      const { body } = await cloud.controller.ops<{ verdict: string; delivered: { id?: string }[]; hops: { switch: string; table: string }[]; answer: { verdict: string } }>("POST", "/trace", { from: from.port.id, to, protocol: "icmp" });
      const tables = body.hops.map((hop) => `${hop.switch} ${hop.table}`);
      expect([body.verdict, body.delivered.map(({ id }) => id), body.answer.verdict, tables.length]).toEqual(["delivered", [s1!.port.id], "delivered", new Set(tables).size]);
    }
    const server = await s1!.vm.listen(8080);
    const connection = await c1!.vm.openTcp(address(local), 8080);
    for (const text of ["one", "two"]) expect(await connection.echo(text)).toBe(true);
    expect(await c1!.vm.probeUdp(address(local), 8080)).toBe(true);
    // By its own address as before, and so from elsewhere.
    expect(await c1!.vm.connectTcp(s1!.ip, 8080)).toBe(true);
    expect(await c2!.vm.connectTcp(s1!.ip, 8080)).toBe(true);
    expect(await c2!.vm.connectTcp(address(local), 8080, 500)).toBe(false);
    const large = "x".repeat(3000);
    expect((await c1!.vm.exec(["ping", "-c", "2", "-s", String(large.length), "-W", "2", address(local)], { allowFailure: true })).exitCode).toBe(0);
    await Promise.all([connection.close(), server.close()]);
  }, 60_000);

  test("without an associated port on the host it leads to nobody, or to whoever has the address", async () => {
    await removed(local, s1!);
    await cloud.renewed();
    expect(await c1!.vm.reaches(address(local))).toBe(false);
    const real = await made("local-ips", "local_ip", { local_port_id: s2!.port.id, local_ip_address: s2!.ip });
    await associated(real, s1!);
    await cloud.renewed();
    expect(await reached(c1!, s2!.ip)).toEqual([`3 ${s1!.ip} ${s1!.vm.name}`]);
    expect(await reached(c2!, s2!.ip)).toEqual([`3 ${s2!.ip} ${s2!.vm.name}`]);
    await removed(real, s1!);
    await cloud.renewed();
    expect(await reached(c1!, s2!.ip)).toEqual([`3 ${s2!.ip} ${s2!.vm.name}`]);
  }, 60_000);

  test("of IPv6, and passed through to a port that has the address itself", async () => {
    const six = await made("local-ips", "local_ip", { network_id: net.network.id, local_ip_address: "2001:db8:1::77" });
    await associated(six, s1!, ip6Of(s1!));
    const through = await made("local-ips", "local_ip", { network_id: net.network.id, ip_mode: "passthrough" });
    await cloud.update("port", s1!.port.id, { allowed_address_pairs: [{ ip_address: address(through) }] });
    await s1!.vm.configure(`addr add ${address(through)}/32 dev eth0`);
    await associated(through, s1!);
    await cloud.renewed();
    await until("an answer by IPv6", () => c1!.vm.reaches("2001:db8:1::77"), { timeoutMs: 10_000 });
    expect(await reached(c1!, "2001:db8:1::77")).toEqual([`3 ${ip6Of(s1!)} ${s1!.vm.name}`]);
    expect(await reached(c1!, address(through))).toEqual([`3 ${address(through)} ${s1!.vm.name}`]);
  }, 60_000);
});
