// Tags of guests inside those of VLANs: networks that are transparent (802.1Q in 802.1Q) and QinQ (802.1Q in 802.1ad), on switches that read two tags.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { expectQuietRestart } from "../../contract/probes/support.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { ofportOf, trace } from "../../support/trace/trace.ts";

/** As they stand in a frame. */
const INNER = "8100004d";
const UNTAGGED = "";

describe.skipIf(Lab.missing().length > 0)("tags of guests in VLANs", () => {
  let cloud: Cloud;
  /** On the physical network with a bridge of its own: nobody's hypervisor. */
  let sw: Hypervisor;
  let open: Resource;
  let closed: Resource;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "guest-tags", hypervisors: 3, physnets: ["ext"], flags: ["--audit-interval", "1"], host: (n) => (n === 3 ? {} : { vlanLimit: 2 }) });
    sw = await cloud.lab.addHypervisor({ name: "sw", physnets: ["ext"], vlanLimit: 2 });
    open = await cloud.create("security_group", { name: "open" });
    closed = await cloud.create("security_group", { name: "closed" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
  }, 60_000);
  afterAll(async () => cloud?.destroy());

  const vlan = (id: number): Record<string, unknown> => ({ "provider:network_type": "vlan", "provider:physical_network": "ext", "provider:segmentation_id": id });
  async function network(cidr: string, how: Record<string, unknown>, subnet: Record<string, unknown> = {}): Promise<Net> {
    const made = await cloud.create("network", { name: `net ${cidr}`, ...how });
    return { network: made, subnet: await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr, ...subnet }) };
  }
  const instance = (n: number, net: Net, group = open): Promise<Instance> => cloud.instance(cloud.hv(n), net, { port: { security_groups: [group.id] } });
  /** A machine on the physical network, whose switch puts all that it sends into one VLAN: 802.1ad around what it has itself. */
  async function machine(name: string, ip: string, tag: number, mac: string): Promise<Vm> {
    const vm = await cloud.lab.addVm({ name, hypervisor: sw, bridge: "br-ext", portId: name, mac });
    await sw.vsctl("set", "Port", vm.nic.tap, `tag=${tag}`, "vlan_mode=dot1q-tunnel", "other_config:qinq-ethtype=802.1ad");
    await vm.setAddress(`${ip}/24`);
    return vm;
  }
  const macOf = (i: Instance): string => i.port.mac_address as string;
  const hex = (mac: string): string => mac.replaceAll(":", "");

  interface Frames {
    readonly to: string;
    readonly from: string;
    readonly source: string;
    readonly destination: string;
    readonly tags?: string;
    /** Of the packet. */
    readonly bytes?: number;
  }
  /** Three frames of UDP, out of a guest or onto the wire. */
  async function send(vm: Vm | Hypervisor, { to, from, source, destination, tags = INNER, bytes = 32 }: Frames): Promise<void> {
    await vm.exec(["python3", "-c", `
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("${vm === sw ? "p-ext" : "eth0"}", 0))
ip = bytes.fromhex("4500${bytes.toString(16).padStart(4, "0")}0001000040110000") + socket.inet_aton("${source}") + socket.inet_aton("${destination}")
t = sum(struct.unpack("!10H", ip)); t = (t & 0xffff) + (t >> 16)
ip = ip[:10] + struct.pack("!H", ~((t & 0xffff) + (t >> 16)) & 0xffff) + ip[12:]
for _ in range(3): s.send(bytes.fromhex("${hex(to)}${hex(from)}${tags}0800") + ip + struct.pack("!HHHH", 4000, 4001, ${bytes - 20}, 0) + bytes(${bytes - 28}))
`]);
  }
  /** How many of three frames arrive as they were sent. */
  async function arrive(from: Instance, to: Instance, more: Partial<Frames> = {}): Promise<number> {
    return received(to.vm, more.tags ?? INNER, () => send(from.vm, { to: macOf(to), from: macOf(from), source: from.ip, destination: to.ip, ...more }));
  }
  async function received(vm: Vm, tags: string, sending: () => Promise<void>): Promise<number> {
    const seen = await vm.tcpdump(tags === UNTAGGED ? "udp port 4001" : "vlan and udp port 4001");
    await sending();
    await sleep(300);
    const { lines } = await seen.stop();
    return lines.filter((line) => tags === UNTAGGED || /ethertype 802\.1Q \(0x8100\).* vlan 77, .*ethertype IPv4/.test(line)).length;
  }
  /** What passes the physical network of a host meanwhile. */
  async function onWire(hv: Hypervisor, filter: string, during: () => Promise<void>): Promise<string[]> {
    const lines: string[] = [];
    const capture = hv.spawn(["tcpdump", "-l", "-n", "-e", "-i", "p-ext", "--immediate-mode", filter], { onLine: (line) => lines.push(line) });
    await capture.waitFor(/listening on/);
    await during();
    await sleep(300);
    await capture.stop("SIGINT");
    return lines.filter((line) => line.includes("ethertype"));
  }

  const kinds = [
    { name: "qinq", how: { qinq: true }, id: 500, outer: "802\\.1Q-QinQ \\(0x88a8\\)" },
    { name: "vlan_transparent", how: { vlan_transparent: true }, id: 510, outer: "802\\.1Q \\(0x8100\\)" },
  ] as const;
  for (const { name, how, id, outer } of kinds) describe(name, name === "qinq" ? { tags: "long" } : {}, () => {
    const prefix = `10.${id - 400}.0`;
    let net: Net;
    let other: Net;
    let a: Instance;
    let near: Instance;
    let b: Instance;
    let shut: Instance;
    let m: Vm;
    const machineMac = `02:00:00:00:05:${id === 500 ? "01" : "02"}`;

    test("hosts and a machine reach each other without a tag, and with one of theirs inside the network's", async () => {
      net = await network(`${prefix}.0/24`, { ...vlan(id), ...how });
      expect(net.network.mtu).toBe(1496);
      other = await network(`10.${id - 399}.0.0/24`, {});
      await cloud.router([net, other]);
      [a, near, b, shut] = [await instance(1, net), await instance(1, net), await instance(2, net), await instance(2, net, closed)];
      m = await machine(`${name}-m`.replace("vlan_", ""), `${prefix}.200`, id, machineMac);
      await cloud.hv(1).setUnderlayLink("down");
      for (const [from, ip] of [[a.vm, b.ip], [a.vm, near.ip], [b.vm, a.ip], [m, a.ip], [b.vm, `${prefix}.200`]] as const) await until(`${from.name} to reach ${ip}`, () => from.reaches(ip));
      for (const [from, to] of [[a, b], [b, a], [a, near]] as const) expect(await arrive(from, to)).toBe(3);
      expect(await arrive(a, b, { to: "ff:ff:ff:ff:ff:ff" })).toBe(3);
      const machineSends = (more: Partial<Frames> = {}) => (): Promise<void> => send(m, { to: macOf(a), from: machineMac, source: `${prefix}.200`, destination: a.ip, ...more });
      expect(await received(a.vm, INNER, machineSends())).toBe(3);
      expect(await received(b.vm, INNER, machineSends({ to: macOf(b), destination: b.ip }))).toBe(3);
      expect(await received(m, INNER, () => send(a.vm, { to: machineMac, from: macOf(a), source: a.ip, destination: `${prefix}.200` }))).toBe(3);
      await cloud.hv(1).setUnderlayLink("up");
      expect(await cloud.differences()).toBe("");
    }, 60_000);

    test("on the physical network the network's tag is outside, whatever is inside", async () => {
      const tagged = await onWire(cloud.hv(1), "udp port 4001 or vlan", () => arrive(a, b).then(() => undefined));
      const lines = tagged.filter((line) => line.includes(`${a.ip}.4000 > ${b.ip}.4001`));
      expect(lines, tagged.join("\n")).toHaveLength(3);
      for (const line of lines) expect(line).toMatch(new RegExp(`ethertype ${outer}.* vlan ${id}, .*ethertype 802\\.1Q.* vlan 77, .*ethertype IPv4`));
      const plain = (await onWire(cloud.hv(1), "vlan", () => arrive(a, b, { tags: UNTAGGED }).then(() => undefined))).filter((line) => line.includes(`${a.ip}.4000 > ${b.ip}.4001`));
      expect(plain).toHaveLength(3);
      for (const line of plain) expect(line).toMatch(new RegExp(`ethertype ${outer}.* vlan ${id}, p 0, ethertype IPv4`));
      // With a tag as large as without. A socket of Linux, by which a userspace datapath sends, has room beyond the MTU for one tag, and that of 802.1Q alone.
      if (name === "qinq") await cloud.hv(1).configure("link set p-ext mtu 1504");
      for (const tags of [INNER, UNTAGGED]) expect(await arrive(a, b, { tags, bytes: 1496 })).toBe(3);
    });

    test("with a tag nobody spoofs, reaches who is closed, or is answered by the network", async () => {
      expect(await arrive(a, b, { source: `${prefix}.99` })).toBe(0);
      expect(await arrive(a, b, { from: macOf(near) })).toBe(0);
      expect(await arrive(a, shut)).toBe(0);
      for (const tags of ["8100004d8100004e", "88a8004d8100004e", "8100004d88a8004e", "8100004d8100004e8100004f"]) {
        expect(await arrive(a, b, { tags }), tags).toBe(0);
        expect(await arrive(a, near, { tags }), tags).toBe(0);
      }
      // What the guest has as 802.1ad goes on as 802.1Q.
      expect(await received(b.vm, INNER, () => send(a.vm, { to: macOf(b), from: macOf(a), source: a.ip, destination: b.ip, tags: "88a8004d" }))).toBe(3);
      const [leg] = (await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}&device_owner=network:router_interface`)).body.ports as unknown as { mac_address: string }[];
      const beyond = await instance(1, other);
      await until("the router", () => a.vm.reaches(beyond.ip));
      expect(await arrive(a, beyond, { to: leg!.mac_address })).toBe(0);
      const asked = `${prefix}.1`;
      for (const vm of [a.vm, m]) {
        const mac = vm === m ? machineMac : macOf(a);
        const answers = await vm.tcpdump("vlan 77 and arp");
        await vm.exec(["python3", "-c", `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
mac = bytes.fromhex("${hex(mac)}")
for to in ("${asked}", "${near.ip}"): s.send(bytes.fromhex("ffffffffffff") + mac + bytes.fromhex("${INNER}08060001080006040001") + mac + socket.inet_aton("${vm === m ? `${prefix}.200` : a.ip}") + bytes(6) + socket.inet_aton(to))
`]);
        await sleep(300);
        expect((await answers.stop()).lines.filter((line) => line.includes("Reply"))).toEqual([]);
        // It is a question like any other for the guests, and goes no way twice.
        const patch = (await cloud.hv(1).vsctl("list-ports", "br-int")).split("\n").find((port) => port.startsWith("axion-phys-"))!.slice("axion-phys-".length);
        const question = `ffffffffffff${hex(machineMac)}${name === "qinq" ? "88a8" : "8100"}${id.toString(16).padStart(4, "0")}${INNER}08060001080006040001${hex(machineMac)}0a${(id - 400).toString(16)}00c80000000000000a${(id - 400).toString(16)}0001`;
        for (const n of [1, 2]) expect(await cloud.hv(n).appctl("ofproto/trace", "br-int", `in_port=${patch}`, question)).not.toMatch(/over max|>>>>/);
        // Without one the router answers both.
        await until("the router to answer", async () => (await vm.arping(asked, { count: 1 })).includes(leg!.mac_address), { timeoutMs: 15_000 });
      }
    }, 60_000);

    test("nor does the physical network get in with two tags, as a port that is here, or as its DHCP server", async () => {
      const own = `${name === "qinq" ? "88a8" : "8100"}${id.toString(16).padStart(4, "0")}`;
      const from = ({ tags = INNER, ...more }: Partial<Frames>) => (): Promise<void> => send(sw, { to: macOf(a), from: machineMac, source: `${prefix}.200`, destination: a.ip, tags: own + tags, ...more });
      const seen = await a.vm.tcpdump("vlan");
      for (const tags of ["8100004d8100004e", "88a8004d8100004e", "91000001", "8100004d91000001"]) await from({ tags })();
      await sleep(300);
      expect((await seen.stop()).lines).toEqual([]);
      expect(await received(a.vm, INNER, from({ from: macOf(near), source: near.ip }))).toBe(0);
      expect(await received(shut.vm, INNER, from({ to: macOf(shut), destination: shut.ip }))).toBe(0);
      expect(await received(a.vm, INNER, from({}))).toBe(3);
    });

    test("one table more than without a tag for the sender", async () => {
      const packet = `tcp,dl_src=${macOf(a)},dl_dst=${macOf(b)},nw_src=${a.ip},nw_dst=${b.ip},nw_ttl=64,tp_src=40000,tp_dst=80`;
      const [plain, tagged] = await Promise.all([packet, `dl_vlan=77,${packet}`].map(async (flow) => trace(cloud.hv(1), `in_port=${await ofportOf(cloud.hv(1), a)},${flow}`, "est")));
      console.log(`${name}: ${plain!.lookups} lookups, with a tag ${tagged!.lookups}`);
      expect(plain!.lookups, plain!.text).toBe(7);
      expect(tagged!.lookups, tagged!.text).toBe(9);
    });
  });

  test("on another VLAN of the same hosts no tag passes, from a guest or from the physical network", async () => {
    const net = await network("10.120.0.0/24", vlan(520));
    const [x, y] = [await instance(1, net), await instance(2, net)];
    const m = await machine("plain-m", "10.120.0.200", 520, "02:00:00:00:05:20");
    await until("an answer without a tag", () => x.vm.reaches(y.ip));
    await until("an answer of the machine", () => x.vm.reaches("10.120.0.200"));
    expect(await arrive(x, y)).toBe(0);
    expect(await received(x.vm, INNER, () => send(m, { to: macOf(x), from: "02:00:00:00:05:20", source: "10.120.0.200", destination: x.ip }))).toBe(0);
  }, 60_000);

  test("between a VLAN and tunnels tags pass as well, by the host that hands on", async () => {
    const net = await network("10.130.0.0/24", { segments: [vlan(530), { "provider:network_type": "geneve" }], qinq: true });
    // Its switch reads one tag, so it is in the tunnels alone.
    const [x, far] = [await instance(1, net), await instance(3, net)];
    const m = await machine("both-m", "10.130.0.200", 530, "02:00:00:00:05:30");
    for (const [from, ip] of [[x.vm, far.ip], [far.vm, x.ip], [m, x.ip], [m, far.ip], [far.vm, "10.130.0.200"]] as const) await until(`${from.name} to reach ${ip}`, () => from.reaches(ip));
    expect(await arrive(x, far)).toBe(3);
    expect(await arrive(far, x)).toBe(3);
    expect(await arrive(far, x, { tags: "8100004d8100004e" })).toBe(0);
    expect(await received(far.vm, INNER, () => send(m, { to: macOf(far), from: "02:00:00:00:05:30", source: "10.130.0.200", destination: far.ip }))).toBe(3);
    expect(await received(m, INNER, () => send(far.vm, { to: "02:00:00:00:05:30", from: macOf(far), source: far.ip, destination: "10.130.0.200" }))).toBe(3);
  }, 60_000);

  test("a host whose switch reads one tag says so on the port; when it reads two, the port is bound", async () => {
    const net = await network("10.140.0.0/24", { ...vlan(540), qinq: true });
    const y = await instance(1, net);
    const port = await cloud.create("port", { network_id: net.network.id, security_groups: [open.id] });
    const vm = await cloud.lab.addVm({ name: "late", hypervisor: cloud.hv(3), portId: port.id, mac: port.mac_address as string });
    await vm.setAddress(`${(port.fixed_ips as { ip_address: string }[])[0]!.ip_address}/24`);
    const why = "host hv3: its Open vSwitch reads one VLAN tag of a frame (other_config:vlan-limit)";
    await until("a failed binding", async () => {
      const shown = await cloud.show("port", port.id);
      return shown.status === "DOWN" && shown["binding:vif_type"] === "binding_failed" && (shown["binding:vif_details"] as Record<string, unknown>)["axion:binding_failure"] === why;
    });
    expect(JSON.stringify((await cloud.controller.ops("GET", "/problems")).body)).toContain(`port ${port.id} is not bound: ${why}`);
    await cloud.hv(3).vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2");
    await cloud.active(port.id);
    await until("the other VM", () => vm.reaches(y.ip));
    await cloud.hv(3).vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit");
    await until("a failed binding again", async () => (await cloud.show("port", port.id)).status === "DOWN");
  }, 60_000);

  test("a restart sends nothing", async () => {
    await expectQuietRestart(cloud);
  }, 90_000);
});
