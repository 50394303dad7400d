// Machines on a physical network whose default gateway is a router's interface there: one host at a time answers them, and another when that one dies.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { expectQuietRestart } from "../../contract/probes/support.ts";
import { nightly } from "../../support/process.ts";
import { ofportOf, trace } from "../../support/trace/trace.ts";

describe.skipIf(Lab.missing().length > 0).each(nightly ? (["vlan", "flat"] as const) : (["vlan"] as const))("machines behind a router's interface, %s", (type) => {
  let cloud: Cloud;
  /** Nobody's hypervisor: the switch that the machine is on. */
  let sw: Hypervisor;
  let over: Net;
  let wire: Net;
  let six: Resource;
  let inner: Resource;
  let router: Resource;
  /** The router's interface on the physical network. */
  let leg: Resource;
  let machine: Vm;
  /** On an overlay network: on hosts of the physical network, and on one that is none. */
  let inside: Instance[];
  let sixOf: (i: Instance) => string;
  /** On the network of the machine. */
  let beside: Instance;
  const M4 = "10.70.0.200";
  const M6 = "fd00:70::200";

  beforeAll(async () => {
    cloud = await Cloud.create({ name: `machines-${type}`, hypervisors: 3, physnets: ["ext"], flags: ["--audit-interval", "1"], host: (n) => (n === 3 ? { physnets: [], gateway: true } : {}) });
    sw = await cloud.lab.addHypervisor({ name: "sw", physnets: ["ext"] });
    const open = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
    over = await cloud.network("10.60.0.0/24");
    const made = await cloud.create("network", { name: "wire", "provider:network_type": type, "provider:physical_network": "ext", ...(type === "vlan" && { "provider:segmentation_id": 400 }) });
    wire = { network: made, subnet: await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr: "10.70.0.0/24" }) };
    inner = await cloud.create("subnet", { network_id: over.network.id, ip_version: 6, cidr: "fd00:60::/64", gateway_ip: "fd00:60::fe" });
    six = await cloud.create("subnet", { network_id: made.id, ip_version: 6, cidr: "fd00:70::/64", gateway_ip: "fd00:70::fe" });
    router = await cloud.router([over, wire, { network: over.network, subnet: inner }, { network: made, subnet: six }]);
    const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${made.id}&device_id=${router.id}`)).body.ports as unknown as Resource[];
    leg = legs.find((p) => (p.fixed_ips as { ip_address: string }[]).some((f) => f.ip_address === "10.70.0.1"))!;
    inside = [];
    for (const n of [1, 2, 3]) inside.push(await cloud.instance(cloud.hv(n), over, { port: { security_groups: [open.id] } }));
    beside = await cloud.instance(cloud.hv(2), wire, { port: { security_groups: [open.id] } });
    sixOf = (i) => (i.port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!;
    for (const i of inside) await i.vm.configure(`addr add ${sixOf(i)}/64 dev eth0 nodad`, `route add default via ${inner.gateway_ip as string} dev eth0`);
    await beside.vm.configure(`addr add ${sixOf(beside)}/64 dev eth0 nodad`, `route add default via ${six.gateway_ip as string} dev eth0`);
    machine = await cloud.lab.addVm({ name: "machine", hypervisor: sw, bridge: "br-ext", portId: "machine", mac: "02:00:00:00:00:01" });
    if (type === "vlan") await sw.vsctl("set", "Port", machine.nic.tap, "tag=400");
    await machine.setAddress(`${M4}/24`, "10.70.0.1");
    await machine.configure(`addr add ${M6}/64 dev eth0 nodad`, `route add default via ${six.gateway_ip as string} dev eth0`);
    // Whichever host is ready first has the interface; the first of the list takes it over in steps.
    await cloud.quiet();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  const hostOf = async (number: number): Promise<boolean> => {
    const { flows } = (await cloud.controller.ops("GET", `/flows?switch=hv${number}&table=l2_lookup&format=json`)).body as { flows: { priority: number; match: string; actions: string }[] };
    return flows.some((f) => f.priority === 117 && f.match.includes(leg.mac_address as string) && !f.actions.includes("group"));
  };
  /** Numbers of the hypervisors that may answer, the preferred one first. */
  const places = async (): Promise<readonly [number, number]> => ((await hostOf(1)) ? [1, 2] : [2, 1]);
  /** What a hypervisor sends to physical networks under that is its own: by the number that it got when it first connected. */
  const ownMac = async (number: number): Promise<string> => {
    const { flows } = (await cloud.controller.ops("GET", `/flows?switch=hv${number}&table=routed_out&format=json`)).body as { flows: { actions: string }[] };
    const found = new Set(flows.flatMap(({ actions }) => /fa:16:41:00:00:[0-9a-f]{2}/.exec(actions)?.[0] ?? []));
    expect([...found]).toHaveLength(1);
    return [...found][0]!;
  };
  /** Whether the hosts that may answer believe in each other. */
  const ready = async (): Promise<boolean> => {
    const states = await Promise.all([cloud.hv(1), cloud.hv(2)].map((hv) => hv.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")));
    return states.every((s) => s.includes("forwarding=true"));
  };
  async function hops(from: Vm, to: string): Promise<string> {
    const { stdout } = await from.exec(["busybox", to.includes(":") ? "traceroute6" : "traceroute", "-n", "-q", "1", "-w", "2", "-m", "4", to], { allowFailure: true, timeoutMs: 20_000 });
    return stdout.split("\n").slice(1).flatMap((line) => line.trim().split(/\s+/)[1] ?? []).join(" ");
  }
  /** Of pings the last may be late: it is not waited for. */
  async function expectPings(from: Vm, ip: string, count: number): Promise<void> {
    expect((await from.ping(ip, { count, intervalMs: 20 })).received, `${from.name} to ${ip}`).toBeGreaterThanOrEqual(count - 1);
  }
  async function expectTcp(from: Vm, to: Vm, ip: string): Promise<void> {
    const server = await to.listen(7);
    const connection = await from.openTcp(ip, 7);
    expect(await connection.echo("hello"), `${from.name} to ${ip}`).toBe(true);
    await connection.close();
    await server.close();
  }

  test("the machine and VMs of another network reach each other: on hosts of the physical network, and on one that is none", async () => {
    await until("the router to answer", () => machine.reaches("10.70.0.1"), { timeoutMs: 15_000 });
    await until("its hosts to be ready", ready, { timeoutMs: 20_000 });
    await sleep(1000);
    for (const i of inside) {
      await until(`the machine to reach ${i.ip}`, () => machine.reaches(i.ip));
      await until(`${i.vm.name} to reach the machine`, () => i.vm.reaches(M4));
      await expectPings(machine, i.ip, 10);
      await expectPings(i.vm, M4, 10);
      await expectTcp(machine, i.vm, i.ip);
      await expectTcp(i.vm, machine, M4);
    }
    await until("the machine to reach its neighbour", () => machine.reaches(beside.ip));
    await until("the VM on no host of the network to reach a VM there", () => inside[2]!.vm.reaches(beside.ip));
    await until("and back", () => beside.vm.reaches(inside[2]!.ip));
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("by IPv6 as well", async () => {
    await until("the router to answer", () => machine.reaches(six.gateway_ip as string));
    for (const i of inside) {
      await until(`the machine to reach ${sixOf(i)}`, () => machine.reaches(sixOf(i)));
      await until(`${i.vm.name} to reach the machine`, () => i.vm.reaches(M6));
      await expectPings(machine, sixOf(i), 5);
      await expectPings(i.vm, M6, 5);
      await expectTcp(machine, i.vm, sixOf(i));
      await expectTcp(i.vm, machine, M6);
    }
  }, 60_000);

  test("the way is told to whoever asks for it, both ways; and who is not there, or serves nothing", async () => {
    for (const i of inside) {
      expect(await hops(machine, i.ip), i.vm.name).toBe(`10.70.0.1 ${i.ip}`);
      expect(await hops(i.vm, M4), i.vm.name).toBe(`10.60.0.1 ${M4}`);
      expect(await hops(machine, sixOf(i)), i.vm.name).toBe(`${six.gateway_ip as string} ${sixOf(i)}`);
      expect(await hops(i.vm, M6), i.vm.name).toBe(`${inner.gateway_ip as string} ${M6}`);
    }
    for (const [from, to] of [[machine, "10.60.0.77"], [inside[0]!.vm, "10.70.0.77"], [inside[2]!.vm, "10.70.0.78"], [machine, "fd00:60::77"], [inside[1]!.vm, "fd00:70::77"]] as const) {
      // Errors are told at a bounded rate, of which others take their part: who asks again is told.
      const heard: string[] = [];
      const told = (): boolean => heard.some((line) => line.includes(`host ${to} unreachable`) || line.includes(`unreachable address ${to}`));
      for (let tries = 0; tries < 3 && !told(); tries++) {
        const capture = await from.tcpdump("icmp or icmp6");
        await from.ping(to, { count: 1, timeoutMs: 6000 });
        heard.push(...(await capture.stop()).lines);
      }
      expect(told(), `${from.name} to ${to}\n${heard.join("\n")}`).toBe(true);
    }
    const began = Date.now();
    expect(await machine.connectTcp("10.60.0.1", 80, 3000)).toBe(false);
    expect(Date.now() - began, "refused").toBeLessThan(1500);
  }, 120_000);

  test("one host answers; with the router's MAC that one alone sends, what it routes as well, and others with their own", async () => {
    await machine.configure("neigh flush all");
    const mac = leg.mac_address as string;
    const replies = await machine.tcpdump(`arp and arp[6:2] == 2 and ether src ${mac}`);
    expect(await machine.arping("10.70.0.1", { count: 3 })).toEqual([mac, mac, mac]);
    expect((await replies.stop()).count).toBe(3);
    const [first, other] = await places();
    const own = await ownMac(other);
    for (const [n, from, to] of [[first, mac, M4], [other, own, M4], [first, mac, M6], [other, own, M6]] as const) {
      const heard = await machine.tcpdump(to === M4 ? "icmp[icmptype] = icmp-echo" : "icmp6 and ip6[40] == 128");
      await expectPings(inside[n - 1]!.vm, to, 3);
      const { lines } = await heard.stop();
      if (to === M4) expect(lines.map((line) => line.split(" ")[1]), `hv${n}`).toEqual([from, from, from]);
      else expect(lines.every((line) => line.includes("fa:16:41:00") === (n === other)), lines.join("\n")).toBe(true);
    }
    // A VM that is on no host of the network leaves by the one that has the interface.
    const heard = await machine.tcpdump("icmp[icmptype] = icmp-echo");
    await expectPings(inside[2]!.vm, M4, 3);
    expect((await heard.stop()).lines.map((line) => line.split(" ")[1])).toEqual([mac, mac, mac]);
  }, 60_000);

  test("no host looks a packet up more than fifteen times on its way", async () => {
    const [first] = await places();
    const hv = cloud.hv(first);
    const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${over.network.id}&device_id=${router.id}`)).body.ports as unknown as Resource[];
    const gatewayMac = legs.find((p) => (p.fixed_ips as { ip_address: string }[]).some((f) => f.ip_address === "10.60.0.1"))!.mac_address as string;
    const packet = "tcp,nw_ttl=64,tp_src=40000,tp_dst=80";
    const [here, away] = [inside[first - 1]!, inside[2]!];
    const patch = (await hv.vsctl("list-ports", "br-int")).split("\n").find((name) => name.startsWith("axion-phys-"))!;
    const out = (at: Hypervisor, i: Instance): Promise<string> => ofportOf(at, i).then((port) => `in_port=${port},${packet},dl_src=${i.port.mac_address as string},dl_dst=${gatewayMac},nw_src=${i.ip},nw_dst=${M4}`);
    const ways = {
      "from a machine": await trace(hv, `in_port=${patch},${type === "vlan" ? "dl_vlan=400," : ""}${packet},dl_src=02:00:00:00:00:01,dl_dst=${leg.mac_address as string},nw_src=${M4},nw_dst=${here.ip}`),
      "to a machine": await trace(hv, await out(hv, here)),
      "to a machine, where its network is not": await trace(cloud.hv(3), await out(cloud.hv(3), away)),
    };
    console.log(Object.entries(ways).map(([way, { lookups, conntrack }]) => `${way}: ${lookups} lookups, ${conntrack} conntrack`).join("; "));
    for (const [way, { lookups, text }] of Object.entries(ways)) {
      expect(lookups, text).toBeLessThanOrEqual(15);
      expect(text, way).toMatch(/output:|group:/);
    }
  });

  test("the machine uses the router's gateway, which is on a host that is not on its network", async () => {
    const outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: false } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    const x = await cloud.instance(cloud.hv(1), outside, { port: { port_security_enabled: false } });
    await x.vm.configure(`route add 10.70.0.0/24 via ${(port.fixed_ips as { ip_address: string }[])[0]!.ip_address}`);
    await until("an answer from outside", () => machine.reaches(x.ip), { timeoutMs: 20_000 });
    // Hosts have begun to watch each other just now.
    await sleep(2500);
    await expectPings(machine, x.ip, 10);
    await until("an answer from within", () => x.vm.reaches(M4), { timeoutMs: 20_000 });
    await expectTcp(x.vm, machine, M4);
    await expectTcp(machine, x.vm, x.ip);
    expect(await cloud.differences()).toBe("");
    await x.vm.destroy();
    await cloud.remove("port", x.port.id);
    await cloud.update("router", router.id, { external_gateway_info: null });
  }, 60_000);

  test("nobody on the physical network is taken for somebody behind the router", async () => {
    await machine.configure("addr add 10.60.0.99/32 dev lo", "link set lo up");
    const capture = await inside[0]!.vm.tcpdump("icmp");
    await machine.ping(inside[0]!.ip, { count: 3, timeoutMs: 200, device: "10.60.0.99" });
    expect((await capture.stop()).lines.filter((line) => line.includes("10.60.0.99"))).toEqual([]);
    await machine.configure("addr del 10.60.0.99/32 dev lo");
  });

  test("a machine hears of the router when it asks, and without; and that it is a router no more", async () => {
    const subnet = await cloud.create("subnet", { network_id: wire.network.id, ip_version: 6, cidr: "fd00:71::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const unasked = await machine.tcpdump("icmp6 and ip6[40] == 134");
    expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
    await until("an advertisement", () => Promise.resolve(unasked.lines.length > 0), { timeoutMs: 20_000 });
    await unasked.stop();
    await cloud.synced();
    const other = await cloud.lab.addVm({ name: "asking", hypervisor: sw, bridge: "br-ext", portId: "asking", mac: "02:00:00:00:00:09" });
    if (type === "vlan") await sw.vsctl("set", "Port", other.nic.tap, "tag=400");
    const routes = async (): Promise<string> => (await other.exec(["ip", "-6", "route"])).stdout;
    const heard = await other.tcpdump("icmp6");
    await other.configure("link set eth0 down", "link set eth0 up");
    await until("a default route", async () => /default via fe80::/.test(await routes()), { timeoutMs: 10_000 });
    await until("an address", async () => (await other.addresses()).some((a) => a.startsWith("fd00:71:")), { timeoutMs: 10_000 });
    console.log((await heard.stop()).lines.filter((line) => /router (solicitation|advertisement)/.test(line)).join("\n"));
    for (const i of inside) await until(`it to reach ${sixOf(i)}`, () => other.reaches(sixOf(i)));
    expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
    await until("its prefix to be over", async () => !/proto ra .*fd00:71|default via fe80::/.test(await routes()) || /deprecated/.test((await other.exec(["ip", "-6", "addr"])).stdout), { timeoutMs: 15_000 });
    await other.destroy();
    await cloud.remove("subnet", subnet.id);
  }, 90_000);

  test("the host that answers dies: another does; it does again when it is back", async () => {
    const [first, second] = await places();
    const alive = inside[second - 1]!;
    await until("an answer", () => machine.reaches(alive.ip));
    await until("both to be ready", ready, { timeoutMs: 20_000 });
    await sleep(1500);
    const running = [machine.pingStart(alive.ip, { intervalMs: 20 }), alive.vm.pingStart(M4, { intervalMs: 20 }), inside[2]!.vm.pingStart(M4, { intervalMs: 20 })];
    await sleep(500);
    await cloud.hv(first).killVswitchd();
    await sleep(6000);
    for (const run of running) {
      const { longestGapMs, sent, received } = await run.stop();
      console.log(`${type}: host killed: ${sent - received} of ${sent} lost, ${longestGapMs} ms`);
      expect(longestGapMs).toBeLessThan(4000);
    }
    await expectPings(machine, alive.ip, 5);
    const back = [machine.pingStart(alive.ip, { intervalMs: 20 }), alive.vm.pingStart(M4, { intervalMs: 20 }), inside[2]!.vm.pingStart(M4, { intervalMs: 20 })];
    await cloud.hv(first).startVswitchd();
    await cloud.synced();
    await until("both to be ready", ready, { timeoutMs: 20_000 });
    await sleep(4000);
    for (const run of back) {
      const { longestGapMs, sent, received } = await run.stop();
      console.log(`${type}: host back: ${sent - received} of ${sent} lost, ${longestGapMs} ms`);
      expect(longestGapMs).toBeLessThan(2000);
    }
    await until("all to be well", async () => (await Promise.all(inside.map((i) => machine.reaches(i.ip)))).every(Boolean), { timeoutMs: 20_000 });
    expect(await cloud.differences()).toBe("");
  }, 90_000);

  test("drained before it dies it takes nothing along", { tags: "long", timeout: 90_000 }, async () => {
    const [first, second] = await places();
    const alive = inside[second - 1]!;
    await until("both to be ready", ready, { timeoutMs: 20_000 });
    await sleep(3000);
    const running = [machine.pingStart(alive.ip, { intervalMs: 20 }), alive.vm.pingStart(M4, { intervalMs: 20 }), inside[2]!.vm.pingStart(M4, { intervalMs: 20 })];
    await sleep(500);
    await cloud.hv(first).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=drain");
    await until("the others to have left it", async () => (await cloud.hv(3).vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")).includes("forwarding=false"), { timeoutMs: 10_000 });
    await sleep(2500);
    await cloud.hv(first).killVswitchd();
    await sleep(2000);
    for (const run of running) {
      const { longestGapMs, sent, received, gaps } = await run.stop();
      console.log(`${type}: drained, then killed: ${sent - received} of ${sent} lost, ${longestGapMs} ms`, JSON.stringify(gaps));
      expect(longestGapMs).toBeLessThan(1000);
    }
    await cloud.hv(first).startVswitchd();
    await cloud.hv(first).vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-gateway");
    await cloud.synced();
    await until("both to be ready", ready, { timeoutMs: 20_000 });
    await until("all to be well", async () => (await Promise.all(inside.map((i) => machine.reaches(i.ip)))).every(Boolean), { timeoutMs: 20_000 });
  });

  test("it dies, and no controller lives: whoever hears from a VM by the next one goes on", { tags: "long", timeout: 90_000 }, async () => {
    const [first, second] = await places();
    const alive = inside[second - 1]!;
    await until("both to be ready", ready, { timeoutMs: 20_000 });
    await sleep(1500);
    const running = [machine.pingStart(alive.ip, { intervalMs: 20 }), alive.vm.pingStart(M4, { intervalMs: 20 }), inside[2]!.vm.pingStart(M4, { intervalMs: 20 })];
    await sleep(500);
    await cloud.controller.kill9();
    await cloud.hv(first).killVswitchd();
    await sleep(4000);
    for (const run of running) {
      const { longestGapMs, sent, received } = await run.stop();
      console.log(`${type}: host killed, no controller: ${sent - received} of ${sent} lost, ${longestGapMs} ms`);
      expect(longestGapMs).toBeLessThan(1500);
    }
    await cloud.controller.start();
    await cloud.hv(first).startVswitchd();
    await cloud.synced();
    await until("all to be well", async () => (await Promise.all(inside.map((i) => machine.reaches(i.ip)))).every(Boolean), { timeoutMs: 20_000 });
  });

  test("an address that the model does not list moves to another machine", { tags: "long", timeout: 60_000 }, async () => {
    await machine.configure("addr add 10.70.0.210/24 dev eth0");
    await until("an answer", () => inside[0]!.vm.reaches("10.70.0.210"));
    await until("an answer", () => inside[2]!.vm.reaches("10.70.0.210"));
    await machine.configure("addr del 10.70.0.210/24 dev eth0");
    const other = await cloud.lab.addVm({ name: "machine2", hypervisor: sw, bridge: "br-ext", portId: "machine2", mac: "02:00:00:00:00:02" });
    if (type === "vlan") await sw.vsctl("set", "Port", other.nic.tap, "tag=400");
    await other.setAddress("10.70.0.210/24", "10.70.0.1");
    await until("an answer of the other", () => inside[0]!.vm.reaches("10.70.0.210"), { timeoutMs: 20_000 });
    expect(await other.reaches(inside[2]!.ip)).toBe(true);
  });

  test("a restart with nothing changed sends nothing; without the router nothing of it is left", { tags: "long", timeout: 60_000 }, async () => {
    await expectQuietRestart(cloud);
    for (const port of (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}`)).body.ports as unknown as Resource[]) {
      await cloud.call("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { port_id: port.id });
    }
    await cloud.synced();
    await until("no tunnels of it", async () => (await Promise.all(cloud.hypervisors.map((hv) => hv.vsctl("--bare", "--columns=name", "find", "Interface", "bfd:enable=true")))).join("").trim() === "");
    expect(await machine.reaches("10.70.0.1")).toBe(false);
    expect(await cloud.differences()).toBe("");
  });
});
