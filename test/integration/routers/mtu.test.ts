// Path MTU discovery through routers (RFC 1191, RFC 8201): between networks of different MTUs on the same host and across hosts, by gateways out and in, and through
// translation. Switches drop what does not fit, so who sends finds out only if the error arrives.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { discovered, forget } from "../../support/path-mtu.ts";

async function transfer(from: Guest, to: Guest, ip: string, port: number): Promise<void> {
  const { result } = await to.receive(port);
  const sent = await from.send(ip, port, 200_000, 20_000);
  expect((await result).sha256).toBe(sent.sha256);
}
const v6 = ({ port }: Instance): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const checks = async (cloud: Cloud): Promise<string[]> => {
  const { flows } = (await cloud.controller.ops("GET", "/flows?format=json")).body as { flows: { table: string; actions: string }[] };
  return flows.filter((f) => f.table.startsWith("l3_") && f.actions.includes("check_pkt_larger")).map((f) => f.actions);
};
const opened = async (cloud: Cloud): Promise<string> => {
  const { id } = await cloud.create("security_group", { name: "open" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: id, direction: "ingress", ethertype });
  return id;
};

describe.skipIf(Lab.missing().length > 0)("a router of two networks", () => {
  const SIX = ["fd00:a::", "fd00:b::"] as const;
  let cloud: Cloud;
  let nets: readonly [Net, Net];
  let group: string;
  let a: Instance;
  let near: Instance;
  let far: Instance;

  const instance = async (host: 1 | 2, net: 0 | 1): Promise<Instance> => {
    const made = await cloud.instance(cloud.hv(host), nets[net], { port: { security_groups: [group] } });
    await made.vm.setAddress(`${v6(made)}/64`, `${SIX[net]}1`);
    await made.vm.listen(9);
    return made;
  };
  beforeAll(async () => {
    cloud = await Cloud.create({ name: "mtu.test" });
    nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
    const router = await cloud.router(nets);
    for (const [i, { network }] of nets.entries()) {
      const subnet = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: `${SIX[i]}/64`, gateway_ip: `${SIX[i]}1` });
      expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
    }
    group = await opened(cloud);
    [a, near, far] = [await instance(1, 0), await instance(1, 1), await instance(2, 1)];
    for (const { ip } of [near, far]) await until("an answer", () => a.vm.reaches(ip));
    for (const i of [near, far]) await until("an answer by IPv6", () => a.vm.reaches(v6(i)));
  }, 90_000);
  afterAll(async () => cloud?.destroy());
  const setMtu = async (net: 0 | 1, mtu: number): Promise<void> => {
    await cloud.update("network", nets[net].network.id, { mtu });
    await cloud.synced();
  };

  test("of the same MTU looks at no length", async () => {
    expect(await checks(cloud)).toEqual([]);
    for (const i of [near, far]) for (const to of [i.ip, v6(i)]) expect(await discovered(a.vm, to, 9)).toEqual([nets[0].network.mtu]);
  });

  test("tells what fits, on the same host and across hosts, in both families; a change of the network counts at once", async () => {
    await setMtu(1, 1300);
    expect((await checks(cloud)).length).toBeGreaterThan(0);
    for (const i of [near, far]) for (const to of [i.ip, v6(i)]) expect(await discovered(a.vm, to, 9), to).toEqual([nets[0].network.mtu, 1300]);
    await setMtu(1, 1280);
    await forget(a.vm);
    for (const i of [near, far]) for (const to of [i.ip, v6(i)]) expect(await discovered(a.vm, to, 9), to).toEqual([nets[0].network.mtu, 1280]);
    await setMtu(1, 0);
    await forget(a.vm);
    expect(await checks(cloud)).toEqual([]);
    expect(await discovered(a.vm, far.ip, 9)).toEqual([nets[0].network.mtu]);
  }, 60_000);

  test("the error comes from the router's address next to the sender, with as much of the packet as it has to", async () => {
    await setMtu(1, 1300);
    await forget(a.vm);
    for (const [to, from, filter, said] of [[far.ip, "10.0.0.1", "icmp and icmp[0] == 3", "unreachable - need to frag (mtu 1300), length 556"], [v6(far), `${SIX[0]}1`, "icmp6 and ip6[40] == 2", "payload length: 1240"]] as const) {
      const capture = await a.vm.tcpdump(`-Q in ${filter}`, { verbose: true });
      await a.vm.ping(to, { count: 1, sizeBytes: 1390, dontFragment: true, timeoutMs: 500 });
      await until("the error", () => capture.lines.length > 0, { timeoutMs: 3000 });
      const text = (await capture.stop()).lines.join("\n");
      expect(text).toContain(said);
      expect(text).toContain(`${from} > ${to.includes(":") ? v6(a) : a.ip}`);
    }
  });

  test("without DF the sender is told too, and fragments itself from then on", async () => {
    await forget(a.vm);
    await a.vm.probeUdp(far.ip, 9, 500, 1390);
    await until("the path's MTU", async () => (await a.vm.exec(["ip", "route", "get", far.ip])).stdout.includes("mtu 1300"));
    expect(await a.vm.probeUdp(far.ip, 9, 2000, 1390)).toBe(true);
  });

  test("TCP gets through where neither end knows of the lesser MTU", async () => {
    await forget(a.vm);
    for (const [i, port] of [[near, 9001], [far, 9002]] as const) {
      await transfer(a.vm, i.vm, i.ip, port);
      await transfer(a.vm, i.vm, v6(i), port + 10);
    }
    for (const to of [far.ip, v6(far)]) expect((await a.vm.exec(["ip", "route", "get", to])).stdout).toContain("mtu 1300");
  }, 60_000);

  test("of many that do not fit the sender is told at a bounded rate", async () => {
    const capture = await a.vm.tcpdump("-Q in icmp and icmp[0] == 3");
    const flood = ["import socket,time", "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)", "s.setsockopt(0,10,3)", "end=time.time()+2", // PROBE: what was learned does not count
      "while time.time()<end:", " try: s.sendto(b'x'*1390,('" + far.ip + "',9))", " except OSError: pass", " time.sleep(0.001)"].join("\n");
    await a.vm.exec(["python3", "-c", flood], { timeoutMs: 20_000 });
    const { lines } = await capture.stop();
    console.log(`${lines.length} errors in two seconds`);
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.length).toBeLessThan(250);
    expect(await cloud.differences()).toBe("");
  });
});

describe.skipIf(Lab.missing().length > 0)("a gateway", () => {
  const [OUT, OUT6] = ["203.0.113.1", "2001:db8:1::1"];
  let cloud: Cloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let gateway: { readonly ip: string; readonly ip6: string };
  let a: Instance;
  /** On a host that leads outside by itself. */
  let b: Instance;
  /** The next hop, and who is behind it. */
  let x: Guest;
  let client: Guest;
  const CLIENT = "192.0.2.9";

  beforeAll(async () => {
    // hv1 leads outside by itself, hv2 has VMs alone, hv3 the gateway.
    cloud = await Cloud.create({ name: "mtu-gateway", hypervisors: 3, physnets: ["ext"], host: (n) => (n === 3 ? { gateway: true } : n === 2 ? { physnets: [] } : {}), flags: ["--audit-interval", "1"] });
    inside = await cloud.network("10.0.0.0/24");
    const made = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    outside = { network: made, subnet: await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: OUT }) };
    await cloud.create("subnet", { network_id: made.id, ip_version: 6, cidr: "2001:db8:1::/64", gateway_ip: OUT6 });
    const six = await cloud.create("subnet", { network_id: inside.network.id, ip_version: 6, cidr: "fd00:1::/64" });
    router = await cloud.router([inside, { network: inside.network, subnet: six }]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: made.id } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    const own = (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address);
    gateway = { ip: own.find((ip) => !ip.includes(":"))!, ip6: own.find((ip) => ip.includes(":"))! };
    const options = { security_groups: [await opened(cloud)] };
    [a, b] = [await cloud.instance(cloud.hv(2), inside, { port: options }), await cloud.instance(cloud.hv(1), inside, { port: options })];
    await a.vm.setAddress(`${v6(a)}/64`, six.gateway_ip as string);
    x = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    await x.setAddress([`${OUT}/24`, `${OUT6}/64`]);
    await x.configure("link set lo up", `route add fd00:1::/64 via ${gateway.ip6}`);
    for (const guest of [a.vm, x]) await guest.listen(9);
    // The way from the next hop to the client, not the one back, is narrow, and neither end knows it.
    client = await cloud.lab.addOutside({ name: "client", physnet: "ext" });
    await client.configure("link set eth0 down");
    await x.exec(["ip", "link", "add", "behind", "type", "veth", "peer", "name", "eth1", "netns", client.netns]);
    await Promise.all([x.exec(["ethtool", "-K", "behind", "tx", "off"]), client.exec(["ethtool", "-K", "eth1", "tx", "off"])]);
    await x.sysctl("net.ipv4.ip_forward=1");
    await x.configure("addr add 192.0.2.1/32 dev behind", "link set behind up", "route add 192.0.2.0/24 dev behind mtu lock 1200");
    await client.configure(`addr add ${CLIENT}/24 dev eth1`, "link set eth1 up", "route add default via 192.0.2.1");
    await cloud.synced();
    for (const to of [OUT, OUT6]) await until(`an answer of ${to}`, () => a.vm.reaches(to), { timeoutMs: 20_000 });
  }, 120_000);
  afterAll(async () => cloud?.destroy());
  const setMtu = async (outer: number, inner: number): Promise<void> => {
    await cloud.update("network", outside.network.id, { mtu: outer });
    await cloud.update("network", inside.network.id, { mtu: inner });
    await cloud.synced();
    await forget(a.vm, b.vm, x, client);
  };

  test("outwards, where outside has less: the sender is told by its router, before anything is translated", async () => {
    await setMtu(1300, 0);
    for (const to of [OUT, OUT6]) expect(await discovered(a.vm, to, 9), to).toEqual([inside.network.mtu, 1300]);
    await transfer(a.vm, x, OUT, 9001);
  });

  test("inwards, not translated: outside is told by the gateway's address there", async () => {
    await setMtu(0, 1300);
    const capture = await x.tcpdump("-Q in icmp6 and ip6[40] == 2", { verbose: true });
    expect(await discovered(x, v6(a), 9)).toEqual([1500, 1300]);
    const text = (await capture.stop()).lines.join("\n");
    expect(text).toContain(`${gateway.ip6} > ${OUT6}`);
    expect(text).toContain("packet too big, mtu 1300");
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: false } });
    await cloud.synced();
    await x.configure(`route add 10.0.0.0/24 via ${gateway.ip}`);
    const four = await x.tcpdump("-Q in icmp and icmp[0] == 3");
    expect(await discovered(x, a.ip, 9)).toEqual([1500, 1300]);
    expect((await four.stop()).lines.join("\n")).toContain(`${gateway.ip} > ${OUT}: ICMP ${a.ip} unreachable - need to frag (mtu 1300)`);
    await x.configure("route del 10.0.0.0/24");
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: true } });
    await cloud.synced();
  }, 60_000);

  /** Gets much from a server that sends it at once. */
  async function pull(from: Guest, ip: string, port: number, server: Guest, listens = port): Promise<void> {
    const lines = ["import socket", "l=socket.socket()", "l.setsockopt(1,2,1)", `l.bind(('',${listens}))`, "l.listen(1)", "print('listening',flush=True)", "c,_=l.accept()", "c.sendall(b'x'*300000)", "c.close()"];
    const running = server.spawn(["python3", "-c", lines.join("\n")]);
    await running.waitFor(/listening/);
    const got = await from.exec(["python3", "-c", ["import socket", `s=socket.create_connection((${JSON.stringify(ip)},${port}),5)`, "s.settimeout(5)", "n=0", "while True:", "  d=s.recv(65536)", "  if not d: break", "  n+=len(d)", "print(n)"].join("\n")], { timeoutMs: 30_000 });
    expect(got.stdout.trim()).toBe("300000");
    await running.stop("SIGKILL");
  }
  const fragNeeded = (from: string, to: string, mtu: number): string => `${from} > ${to}: ICMP ${from} unreachable - need to frag (mtu ${mtu})`;
  const floatingIp = async (port?: Resource): Promise<Resource> => {
    const made = await cloud.create("floatingip", { floating_network_id: outside.network.id, ...(port !== undefined && { port_id: port.id }) });
    if (port !== undefined) await until("it is there", async () => (await cloud.show("floatingip", made.id)).status === "ACTIVE", { timeoutMs: 10_000 });
    return made;
  };
  /** One whose port 2222 leads to a port of the VM `a`. */
  async function withForwarding(port: number, run: (ip: string) => Promise<void>): Promise<void> {
    const floating = await floatingIp();
    const of = `/v2.0/floatingips/${floating.id}/port_forwardings`;
    const made = await cloud.call("POST", of, { port_forwarding: { internal_port_id: a.port.id, internal_ip_address: a.ip, protocol: "tcp", external_port: 2222, internal_port: port } });
    expect(made.status).toBe(201);
    await cloud.synced();
    await run(addressOf(floating));
    expect((await cloud.call("DELETE", `${of}/${(made.body as unknown as { port_forwarding: Resource }).port_forwarding.id}`)).status).toBe(204);
    await cloud.remove("floatingip", floating.id);
    await cloud.synced();
  }
  const addressOf = (f: Resource): string => f.floating_ip_address as string;

  test("inwards, answers to a translated source: outside is told in the name of the gateway's address, which it knows", async () => {
    await setMtu(0, 1300);
    const capture = await x.tcpdump("-Q in icmp and icmp[0] == 3");
    await pull(a.vm, OUT, 9200, x);
    expect((await capture.stop()).lines.join("\n")).toContain(fragNeeded(gateway.ip, OUT, 1300));
  });

  test("a router outside finds its packets too big: who sent them inside is told, whatever was translated", { tags: "long", timeout: 90_000 }, async () => {
    await setMtu(0, 0);
    await until("an answer of the client", () => a.vm.reaches(CLIENT));
    await transfer(a.vm, client, CLIENT, 9300);
    expect((await a.vm.exec(["ip", "route", "get", CLIENT])).stdout, "a translated source").toContain("mtu 1200");
    for (const [i, n] of [[a, 1], [b, 2]] as const) {
      await forget(i.vm);
      const floating = await floatingIp(i.port);
      await transfer(i.vm, client, CLIENT, 9300 + n);
      expect((await i.vm.exec(["ip", "route", "get", CLIENT])).stdout, "from a floating IP").toContain("mtu 1200");
      await forget(i.vm);
      await pull(client, addressOf(floating), 9310 + n, i.vm);
      expect((await i.vm.exec(["ip", "route", "get", CLIENT])).stdout, "by a floating IP").toContain("mtu 1200");
      await cloud.remove("floatingip", floating.id);
    }
    await forget(a.vm);
    await withForwarding(9320, async (ip) => {
      await pull(client, ip, 2222, a.vm, 9320);
      expect((await a.vm.exec(["ip", "route", "get", CLIENT])).stdout, "by a forwarded port").toContain("mtu 1200");
    });
  });

  test("inwards by a floating IP, at the gateway and at the port's own host, and by a forwarded port: outside is told in its name", async () => {
    await setMtu(0, 1300);
    for (const [i, n] of [[a, 1], [b, 2]] as const) {
      const floating = await floatingIp(i.port);
      const ip = addressOf(floating);
      const capture = await client.tcpdump("-i eth1 icmp and icmp[0] == 3");
      await forget(client);
      await transfer(client, i.vm, ip, 9400 + n);
      expect((await capture.stop()).lines.join("\n"), i === a ? "at the gateway" : "at its host").toContain(fragNeeded(ip, CLIENT, 1300));
      await cloud.remove("floatingip", floating.id);
    }
    await withForwarding(9420, async (ip) => {
      await forget(client);
      const capture = await client.tcpdump("-i eth1 icmp and icmp[0] == 3");
      const { result } = await a.vm.receive(9420);
      const sent = await client.send(ip, 2222, 200_000, 20_000);
      expect((await result).sha256).toBe(sent.sha256);
      expect((await capture.stop()).lines.join("\n")).toContain(fragNeeded(ip, CLIENT, 1300));
    });
    expect(await cloud.differences()).toBe("");
  }, 90_000);
});
