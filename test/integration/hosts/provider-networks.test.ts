// Provider networks on real switches: hosts and machines on one physical network, which a switch of its own carries, flat and by VLAN.
import { setTimeout as sleep } from "node:timers/promises";
import { linkLocal } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { ofportOf, trace } from "../../support/trace/trace.ts";
import { expectQuietRestart } from "../../contract/probes/support.ts";

describe.skipIf(Lab.missing().length > 0)("provider networks", () => {
  let cloud: Cloud;
  /** On the physical network with a bridge of its own: nobody's hypervisor. */
  let sw: Hypervisor;
  /** Its bridge to the physical network is there, and not named. */
  let hv3: Hypervisor;
  let open: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({
      name: "provider.test", hypervisors: 3, physnets: ["ext"], encapTypes: ["geneve", "vxlan", "gre"], flags: ["--audit-interval", "1"], host: (n) => (n === 3 ? { externalIds: { "axion-bridge-mappings": "" } } : {}),
    });
    hv3 = cloud.hv(3);
    sw = await cloud.lab.addHypervisor({ name: "sw", physnets: ["ext"] });
    open = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
  }, 60_000);
  afterAll(async () => cloud?.destroy());

  const vlan = (id: number): Record<string, unknown> => ({ "provider:network_type": "vlan", "provider:physical_network": "ext", "provider:segmentation_id": id });
  const flat = { "provider:network_type": "flat", "provider:physical_network": "ext" };
  async function network(cidr: string, how: Record<string, unknown>, subnet: Record<string, unknown> = {}): Promise<Net> {
    const made = await cloud.create("network", { name: `net ${cidr}`, ...how });
    return { network: made, subnet: await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr, gateway_ip: null, ...subnet }) };
  }
  const instance = (hv: Hypervisor, net: Net, more: { configure?: boolean } = {}): Promise<Instance> => cloud.instance(hv, net, { port: { security_groups: [open.id] }, ...more });
  let machines = 0;
  /** A machine on the physical network, behind its switch. */
  async function machine(ip: string, tag?: number): Promise<Vm> {
    const n = ++machines;
    const vm = await cloud.lab.addVm({ name: `machine${n}`, hypervisor: sw, bridge: "br-ext", portId: `machine${n}`, mac: `02:00:00:00:00:0${n}` });
    if (tag !== undefined) await sw.vsctl("set", "Port", vm.nic.tap, `tag=${tag}`);
    if (ip !== "") await vm.setAddress(`${ip}/24`);
    return vm;
  }
  async function expectTalk(from: Vm | Instance, to: Vm | Instance, ip: string): Promise<void> {
    const [a, b] = [from, to].map((x) => ("vm" in x ? x.vm : x)) as [Vm, Vm];
    await until(`${a.name} to reach ${ip}`, () => a.reaches(ip));
    const server = await b.listen(7);
    const connection = await a.openTcp(ip, 7);
    expect(await connection.echo("hello")).toBe(true);
    await connection.close();
    await server.close();
  }

  let first: { net: Net; a: Instance; b: Instance; m: Vm };
  test("a VLAN over two hosts and a machine: each reaches each, by the physical network alone, with its MTU", async () => {
    const net = await network("10.100.0.0/24", vlan(100));
    expect(net.network.mtu).toBe(1500);
    const [a, b, m] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net), await machine("10.100.0.200", 100)];
    first = { net, a, b, m };
    await cloud.hv(1).setUnderlayLink("down");
    await expectTalk(a, b, b.ip);
    await expectTalk(a, m, "10.100.0.200");
    await expectTalk(m, a, a.ip);
    await expectTalk(m, b, b.ip);
    expect((await a.vm.ping(b.ip, { count: 2, sizeBytes: 1472, dontFragment: true })).received).toBe(2);
    await cloud.hv(1).setUnderlayLink("up");
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("by IPv6 as well: VMs and machines find each other", async () => {
    const net = await network("fd00:150::/64", vlan(150), { ip_version: 6 });
    const [a, b, m] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net), await machine("", 150)];
    await m.configure("addr add fd00:150::200/64 dev eth0 nodad");
    for (const [from, ip] of [[m, a.ip], [a.vm, "fd00:150::200"], [b.vm, "fd00:150::200"], [b.vm, a.ip], [m, `${linkLocal(b.port.mac_address as string)}%eth0`]] as const) await until(`${from.name} to reach ${ip}`, () => from.reaches(ip));
  }, 60_000);

  test("a packet passes as many tables as by tunnel, and one more where it comes in", async () => {
    const { a, b } = first;
    const [from, to] = [a.port.mac_address as string, b.port.mac_address as string];
    const packet = `tcp,dl_src=${from},dl_dst=${to},nw_src=${a.ip},nw_dst=${b.ip},nw_ttl=64,tp_src=40000,tp_dst=80`;
    const out = await trace(cloud.hv(1), `in_port=${await ofportOf(cloud.hv(1), a)},${packet}`, "est");
    const number = (await cloud.hv(2).vsctl("list-ports", "br-int")).split("\n").find((name) => name.startsWith("axion-phys-"))!.slice("axion-phys-".length);
    const into = await trace(cloud.hv(2), `in_port=${number},dl_vlan=100,${packet}`, "est");
    console.log(`by VLAN: ${out.lookups} + ${into.lookups} lookups, ${out.conntrack} + ${into.conntrack} conntrack passes`);
    expect(out.text).toContain("push_vlan");
    expect(into.text).toMatch(/output:NXM_NX_REG\d+\[\d+\.\.\d+\]/);
    expect([out.lookups, into.lookups], out.text + into.text).toEqual([7, 6]);
  });

  test("another VLAN of the same physical network is another network, with the same addresses", async () => {
    const net = await network("10.100.0.0/24", vlan(200));
    const m = await machine("10.100.0.201", 200);
    const c = await instance(cloud.hv(1), net);
    await expectTalk(c, m, "10.100.0.201");
    expect(await c.vm.reaches("10.100.0.200")).toBe(false);
    expect(await first.a.vm.reaches("10.100.0.201")).toBe(false);
    const seen = await first.m.tcpdump("arp");
    await c.vm.arping("10.100.0.99", { count: 2 });
    await sleep(300);
    expect((await seen.stop()).lines.filter((line) => line.includes("10.100.0.99"))).toEqual([]);
  }, 60_000);

  test("a frame of the physical network with the MAC of a port that is here comes to nobody, and takes nothing away", async () => {
    const { a, b, m } = first;
    const heard = await a.vm.tcpdump(`ether src ${a.port.mac_address as string} and dst 10.100.0.250`);
    await m.exec(["python3", "-c", `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = bytes.fromhex("${(a.port.mac_address as string).replaceAll(":", "")}")
for _ in range(3): s.send(b"\\xff"*6 + mac + b"\\x08\\x00" + bytes.fromhex("450000140001000040fd0000") + bytes([10,100,0,222]) + bytes([10,100,0,250]))
`]);
    await sleep(200);
    expect((await heard.stop()).lines).toEqual([]);
    // The physical switch believes it until the VM speaks; ours do not.
    await until("the VM to be heard", async () => {
      await a.vm.arping("10.100.0.99", { count: 1 });
      return (await m.reaches(a.ip)) && (await b.vm.reaches(a.ip));
    });
  });

  test("a flat network, and a DHCP server on it that is not ours", async () => {
    const net = await network("10.50.0.0/24", flat, { enable_dhcp: false });
    const a = await instance(cloud.hv(1), net, { configure: false });
    const m = await machine("10.50.0.200");
    const config = `${cloud.lab.dir}/udhcpd.conf`;
    await m.exec(["sh", "-c", `cat > ${config}`], { input: `start ${a.ip}\nend ${a.ip}\ninterface eth0\nlease_file ${config}.leases\npidfile ${config}.pid\noption subnet 255.255.255.0\nmax_leases 1\n` });
    await m.exec(["sh", "-c", `touch ${config}.leases`]);
    m.spawn(["busybox", "udhcpd", "-f", config]);
    const lease = await a.vm.dhcp();
    expect(lease.ip).toContain(a.ip);
    await expectTalk(a, m, "10.50.0.200");
    // Tagged frames are none of a flat network's.
    const tagged = await machine("10.50.0.201", 77);
    expect(await a.vm.reaches("10.50.0.201")).toBe(false);
    expect(await tagged.reaches(a.ip)).toBe(false);
  }, 60_000);

  test("a host that is not mapped says so on the port; when it is, the port is bound", async () => {
    const { net, a, m } = first;
    const port = await cloud.create("port", { network_id: net.network.id, security_groups: [open.id] });
    const vm = await cloud.lab.addVm({ name: "late", hypervisor: hv3, portId: port.id, mac: port.mac_address as string });
    const ip = (port.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    await vm.setAddress(`${ip}/24`);
    const why = "host hv3: no bridge is mapped to physical network ext";
    await until("a failed binding", async () => {
      const shown = await cloud.show("port", port.id);
      return shown.status === "DOWN" && shown["binding:vif_type"] === "binding_failed" && (shown["binding:vif_details"] as Record<string, unknown>)["axion:binding_failure"] === why;
    });
    expect(JSON.stringify((await cloud.controller.ops("GET", "/problems")).body)).toContain(`port ${port.id} is not bound: ${why}`);
    await hv3.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge-mappings=ext:br-ext");
    await cloud.active(port.id);
    await until("the machine", () => vm.reaches("10.100.0.200"));
    await until("the other VM", () => vm.reaches(a.ip));
    expect(JSON.stringify((await cloud.controller.ops("GET", "/problems")).body)).not.toContain(port.id);
    await hv3.vsctl("set", "Open_vSwitch", ".", "external_ids:axion-bridge-mappings=\"\"");
    await until("a failed binding again", async () => (await cloud.show("port", port.id)).status === "DOWN");
    expect(await m.reaches(ip)).toBe(false);
    await until("no patch", async () => !/axion-/.test(await hv3.vsctl("list-ports", "br-ext")));
    await vm.destroy();
    await cloud.remove("port", port.id);
  }, 60_000);

  test("hosts joined by VLAN, hosts joined by tunnels and machines in one network: each reaches each, nobody hears twice", { tags: "long", timeout: 90_000 }, async () => {
    const net = await network("10.30.0.0/24", { segments: [vlan(300), { "provider:network_type": "geneve" }] });
    const [a, b, c] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net), await instance(hv3, net)];
    const m = await machine("10.30.0.200", 300);
    const all: readonly (readonly [Vm, string])[] = [[a.vm, a.ip], [b.vm, b.ip], [c.vm, c.ip], [m, "10.30.0.200"]];
    for (const [from] of all) for (const [to, ip] of all) if (from !== to) await until(`${from.name} to reach ${to.name}`, () => from.reaches(ip));
    await expectTalk(m, c, c.ip);
    await expectTalk(c, m, "10.30.0.200");
    await expectTalk(b, c, c.ip);
    for (const [from] of all) {
      const heard = await Promise.all(all.filter(([vm]) => vm !== from).map(async ([vm]) => ({ name: vm.name, seen: await vm.tcpdump("arp and arp[24:4] = 0x0a1e00fa") })));
      await from.exec(["arping", "-b", "-c", "3", "-w", "4", "-I", "eth0", "10.30.0.250"], { allowFailure: true });
      await sleep(300);
      for (const { name, seen } of heard) expect((await seen.stop()).count, `what ${name} hears of ${from.name}`).toBe(3);
    }
    // Nor anything that is meant for one.
    const seen = await Promise.all([c.vm, a.vm].map((vm) => vm.tcpdump("icmp[icmptype] = icmp-echo")));
    expect((await m.ping(c.ip, { count: 5, intervalMs: 100 })).received).toBe(5);
    expect((await c.vm.ping(a.ip, { count: 5, intervalMs: 100 })).received).toBe(5);
    expect((await b.vm.ping(c.ip, { count: 5, intervalMs: 100 })).received).toBe(5);
    await sleep(300);
    expect((await seen[0]!.stop()).lines.filter((line) => line.includes(`> ${c.ip}:`))).toHaveLength(10);
    expect((await seen[1]!.stop()).lines.filter((line) => line.includes(`> ${a.ip}:`))).toHaveLength(5);
    expect(await cloud.differences()).toBe("");
  });

  test("a segment that is added joins a machine to a network of tunnels, under way; taken away, it leaves the rest as it was", async () => {
    const net = await network("10.35.0.0/24", {});
    const [a, b, c] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net), await instance(hv3, net)];
    const m = await machine("10.35.0.200", 310);
    for (const [from, to] of [[a, b], [a, c], [b, c]] as const) await until(`${from.vm.name} to reach ${to.vm.name}`, () => from.vm.reaches(to.ip));
    expect(await m.reaches(a.ip)).toBe(false);
    const { status, body } = await cloud.call("POST", "/v2.0/segments", { segment: { network_id: net.network.id, network_type: "vlan", physical_network: "ext", segmentation_id: 310 } });
    expect(status).toBe(201);
    await expectTalk(m, a, a.ip);
    await expectTalk(b, m, "10.35.0.200");
    await expectTalk(c, m, "10.35.0.200");
    await expectTalk(a, c, c.ip);
    // Between hosts on the VLAN by that.
    await cloud.hv(1).setUnderlayLink("down");
    await expectTalk(a, b, b.ip);
    await cloud.hv(1).setUnderlayLink("up");
    expect(await cloud.differences()).toBe("");
    expect((await cloud.call("DELETE", `/v2.0/segments/${(body as unknown as { segment: Resource }).segment.id}`)).status).toBe(204);
    await until("the machine to be gone", async () => !(await a.vm.reaches("10.35.0.200")));
    for (const [from, to] of [[a, b], [a, c], [b, c]] as const) await until(`${from.vm.name} to reach ${to.vm.name} again`, () => from.vm.reaches(to.ip));
    expect(await cloud.differences()).toBe("");
  }, 90_000);

  test("a router between a VLAN and an overlay network: VMs reach each other; what they send has the MAC of a host on the physical network, or the router's from the one that has its interface", async () => {
    const over = await cloud.network("10.60.0.0/24");
    const net = await network("10.70.0.0/24", vlan(400), { gateway_ip: "10.70.0.1" });
    await cloud.router([over, net]);
    const far = await instance(cloud.hv(2), over);
    const [near, same] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net)];
    await expectTalk(far, near, near.ip);
    await expectTalk(near, far, far.ip);
    await expectTalk(same, far, far.ip);
    const learned = await sw.appctl("fdb/show", "br-ext");
    const [leg] = (await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}&device_owner=network:router_interface`)).body.ports as unknown as Resource[];
    expect(learned).toMatch(new RegExp(` 400 {2}(fa:16:41:00:00:0[12]|${leg!.mac_address as string}) `));
  }, 60_000);

  test("a network of a certain encapsulation goes by that one, and no other, though the hosts prefer another", async () => {
    for (const [type, shown, overhead, cidr] of [["geneve", /Geneve.* vni 0xfffff8/, 58, "10.81.0.0/24"], ["vxlan", /VXLAN.* vni 16777200/, 50, "10.82.0.0/24"], ["gre", /GREv0.* key=0xfffff2/, 42, "10.83.0.0/24"]] as const) {
      const net = await network(cidr, { "provider:network_type": type, "provider:segmentation_id": 0xff_fff0 + overhead % 10 });
      expect(net.network.mtu).toBe(1500 - overhead);
      const [a, b] = [await instance(cloud.hv(1), net), await instance(cloud.hv(2), net)];
      await until(`an answer by ${type}`, () => a.vm.reaches(b.ip));
      const lines: string[] = [];
      const capture = cloud.hv(1).spawn(["tcpdump", "-l", "-n", "-i", "phy", "--immediate-mode", "udp or proto gre"], { onLine: (line) => lines.push(line) });
      await capture.waitFor(/listening on/);
      expect((await a.vm.ping(b.ip, { count: 3, intervalMs: 100, sizeBytes: 1500 - overhead - 28, dontFragment: true })).received).toBe(3);
      await sleep(200);
      await capture.stop("SIGINT");
      expect(lines.filter((line) => shown.test(line)), lines.join("\n")).toHaveLength(6);
      expect(lines.filter((line) => /fffff[0-9]|167772[01]/.test(line))).toHaveLength(6);
    }
  }, 60_000);

  test("a tag of a guest passes on a network that is transparent, spoofed as little as without one, and nowhere else", async () => {
    const nets = [await network("10.91.0.0/24", { vlan_transparent: true }, { gateway_ip: "10.91.0.1" }), await network("10.92.0.0/24", {}, { gateway_ip: "10.92.0.1" })] as const;
    expect(nets.map((n) => n.network.vlan_transparent)).toEqual([true, false]);
    await cloud.router(nets);
    const [a, b, near] = [await instance(cloud.hv(1), nets[0]), await instance(cloud.hv(2), nets[0]), await instance(cloud.hv(1), nets[0])];
    const [x, y] = [await instance(cloud.hv(1), nets[1]), await instance(cloud.hv(2), nets[1])];
    const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string }[] };
    for (const [from, to] of [[a, b], [a, near], [x, y], [a, x]] as const) await until("an answer without a tag", () => from.vm.reaches(to.ip));
    const macOf = (i: Instance): string => i.port.mac_address as string;
    /** How many frames of UDP with tag 77 arrive, of 3. */
    async function tagged(from: Instance, to: Instance, { source = from.ip, mac = macOf(to), tags = "8100004d" } = {}): Promise<number> {
      const seen = await to.vm.tcpdump("vlan 77");
      const bytes = (ip: string): string => ip.split(".").map((n) => Number(n).toString(16).padStart(2, "0")).join("");
      await from.vm.exec(["python3", "-c", `
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
ip = bytes.fromhex("450000200001000040110000" + "${bytes(source)}${bytes(to.ip)}")
t = sum(struct.unpack("!10H", ip)); t = (t & 0xffff) + (t >> 16)
ip = ip[:10] + struct.pack("!H", ~((t & 0xffff) + (t >> 16)) & 0xffff) + ip[12:]
for _ in range(3): s.send(bytes.fromhex("${mac.replaceAll(":", "")}${macOf(from).replaceAll(":", "")}${tags}") + bytes.fromhex("0800") + ip + struct.pack("!HHHH", 4000, 4001, 12, 0) + b"tag!")
`]);
      await sleep(300);
      return (await seen.stop()).lines.filter((line) => line.includes("> " + to.ip)).length;
    }
    expect(await tagged(a, b)).toBe(3);
    expect(await tagged(a, near)).toBe(3);
    expect(await tagged(a, b, { mac: "ff:ff:ff:ff:ff:ff" })).toBe(3);
    expect(await tagged(a, b, { source: "10.91.0.99" })).toBe(0);
    expect(await tagged(a, b, { tags: "8100004d8100004d" })).toBe(0);
    expect(await tagged(x, y)).toBe(0);
    expect(await tagged(a, x, { mac: legs.ports[0]!.mac_address })).toBe(0);
    // Of what is behind a tag the network answers nothing.
    const answers = await a.vm.tcpdump("vlan 77 and arp");
    await a.vm.exec(["python3", "-c", `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = bytes.fromhex("${macOf(a).replaceAll(":", "")}")
s.send(bytes.fromhex("ffffffffffff") + mac + bytes.fromhex("8100004d08060001080006040001") + mac + socket.inet_aton("${a.ip}") + bytes(6) + socket.inet_aton("10.91.0.1"))
`]);
    await sleep(300);
    expect((await answers.stop()).lines.filter((line) => line.includes("Reply"))).toEqual([]);
  }, 60_000);

  test("a restart sends nothing; what is taken away leaves nothing at the operator's bridge", async () => {
    await expectQuietRestart(cloud);
    expect(await first.m.reaches(first.b.ip)).toBe(true);
    for (const hv of [cloud.hv(1), cloud.hv(2)]) expect(await hv.vsctl("list-ports", "br-ext")).toMatch(/^axion-int-\d+\np-ext$/);
  }, 90_000);
});
