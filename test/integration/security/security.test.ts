// Security groups and port security with real packets: what a rule lets in, and what nobody may send.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Capture } from "../../../lab/guest.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
/** Group of the server, without ingress rules; of the client, likewise. */
let serverGroup: Resource;
let clientGroup: Resource;
let server: Instance;
let client: Instance;
/** On another host than the server; the client is as well. */
let stranger: Instance;
const rules: string[] = [];
const PORTS = [80, 81, 90, 100];

beforeAll(async () => {
  cloud = await Cloud.create({ name: "security.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:5::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  [serverGroup, clientGroup] = await Promise.all([cloud.create("security_group", { name: "server" }), cloud.create("security_group", { name: "client" })]);
  const strangers = await cloud.create("security_group", { name: "stranger" });
  server = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [serverGroup.id] } });
  client = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [clientGroup.id] } });
  stranger = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [strangers.id] } });
  for (const { vm, port } of [server, client, stranger]) await vm.setAddress(`${v6(port)}/64`);
  for (const port of PORTS) await server.vm.listen(port);
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

afterEach(async () => {
  for (const id of rules.splice(0)) await cloud.call("DELETE", `/v2.0/security-group-rules/${id}`);
  await cloud.synced();
  expect(await cloud.differences()).toBe("");
});

const v6 = (port: Resource): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const v4 = (port: Resource): string => (port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;

/** A rule of the server's group until the end of the test, on the switches. */
async function allow(values: Record<string, unknown>): Promise<string> {
  const rule = await cloud.create("security_group_rule", { security_group_id: serverGroup.id, direction: "ingress", ...values });
  rules.push(rule.id);
  await cloud.synced();
  return rule.id;
}

/** Which of the ports answer over TCP. */
async function openTo(vm: Vm, ip: string): Promise<number[]> {
  const open = await Promise.all(PORTS.map(async (port) => ((await vm.connectTcp(ip, port, 1000)) ? [port] : [])));
  return open.flat();
}

describe("rules", () => {
  test("nothing comes in without a rule", async () => {
    const ip = v4(server.port);
    expect(await openTo(client.vm, ip)).toEqual([]);
    expect(await client.vm.reaches(ip, { timeoutMs: 500 })).toBe(false);
    expect(await client.vm.reaches(v6(server.port), { timeoutMs: 500 })).toBe(false);
    expect(await client.vm.probeUdp(ip, 80, 500)).toBe(false);
    // ARP is no policy's matter.
    expect(await client.vm.arping(ip)).toEqual([server.port.mac_address]);
  });

  test("by protocol", async () => {
    const ip = v4(server.port);
    await allow({ protocol: "icmp" });
    await until("ICMP", () => client.vm.reaches(ip));
    expect(await openTo(client.vm, ip)).toEqual([]);
    expect(await client.vm.reaches(v6(server.port), { timeoutMs: 500 })).toBe(false);
    await allow({ protocol: "udp" });
    await until("UDP", () => client.vm.probeUdp(ip, 80, 500));
    expect(await openTo(client.vm, ip)).toEqual([]);
    await allow({ protocol: "icmp", ethertype: "IPv6" });
    await until("ICMPv6", () => client.vm.reaches(v6(server.port)));
  });

  test("by port and by range of ports", async () => {
    const ip = v4(server.port);
    await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 80 });
    expect(await openTo(client.vm, ip)).toEqual([80]);
    await allow({ protocol: "tcp", port_range_min: 81, port_range_max: 99 });
    expect(await openTo(client.vm, ip)).toEqual([80, 81, 90]);
    expect(await client.vm.probeUdp(ip, 80, 500)).toBe(false);
    await allow({ protocol: "tcp", ethertype: "IPv6", port_range_min: 100, port_range_max: 100 });
    expect(await openTo(client.vm, v6(server.port))).toEqual([100]);
  });

  test("by prefix", async () => {
    const ip = v4(server.port);
    await allow({ protocol: "tcp", remote_ip_prefix: `${v4(client.port)}/32` });
    expect(await openTo(client.vm, ip)).toEqual(PORTS);
    expect(await openTo(stranger.vm, ip)).toEqual([]);
    await allow({ protocol: "tcp", ethertype: "IPv6", port_range_min: 80, port_range_max: 80, remote_ip_prefix: `${v6(stranger.port)}/128` });
    expect(await openTo(stranger.vm, v6(server.port))).toEqual([80]);
    expect(await openTo(client.vm, v6(server.port))).toEqual([]);
  });

  test("by remote group, as ports come and go", async () => {
    const ip = v4(server.port);
    await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 81, remote_group_id: clientGroup.id });
    expect(await openTo(client.vm, ip)).toEqual([80, 81]);
    expect(await openTo(stranger.vm, ip)).toEqual([]);
    const own = stranger.port.security_groups as string[];
    await cloud.update("port", stranger.port.id, { security_groups: [...own, clientGroup.id] });
    await cloud.synced();
    expect(await openTo(stranger.vm, ip)).toEqual([80, 81]);
    await cloud.update("port", stranger.port.id, { security_groups: own });
    await cloud.synced();
    expect(await openTo(stranger.vm, ip)).toEqual([]);
  });

  test("answers need no rule; the end of a rule ends its connections, and they stay ended", async () => {
    const ip = v4(server.port);
    const rule = await allow({ protocol: "tcp", port_range_min: 90, port_range_max: 90 });
    const connection = await client.vm.openTcp(ip, 90);
    expect(await connection.echo("before")).toBe(true);
    await cloud.call("DELETE", `/v2.0/security-group-rules/${rule}`);
    await cloud.synced();
    expect(await connection.echo("after", 1500)).toBe(false);
    await connection.close();
    expect(await openTo(client.vm, ip)).toEqual([]);
    // Allowed again, new connections open.
    await allow({ protocol: "tcp", port_range_min: 90, port_range_max: 90 });
    expect(await openTo(client.vm, ip)).toEqual([90]);
  });

  test("a connection that another rule allows as well goes on", async () => {
    const rule = await allow({ protocol: "tcp", port_range_min: 90, port_range_max: 90 });
    await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 100 });
    const connection = await client.vm.openTcp(v4(server.port), 90);
    expect(await connection.echo("before")).toBe(true);
    await cloud.call("DELETE", `/v2.0/security-group-rules/${rule}`);
    await cloud.synced();
    expect(await connection.echo("after", 3000)).toBe(true);
    await connection.close();
  });

  test("an egress rule is what a VM may send", async () => {
    await allow({ protocol: "tcp" });
    expect(await openTo(client.vm, v4(server.port))).toEqual(PORTS);
    const egress = (await cloud.call("GET", `/v2.0/security-group-rules?security_group_id=${clientGroup.id}&direction=egress`)).body.security_group_rules as unknown as Resource[];
    for (const rule of egress) await cloud.remove("security_group_rule", rule.id);
    const only = await cloud.create("security_group_rule", { security_group_id: clientGroup.id, direction: "egress", protocol: "tcp", port_range_min: 81, port_range_max: 81 });
    await cloud.synced();
    expect(await openTo(client.vm, v4(server.port))).toEqual([81]);
    await cloud.remove("security_group_rule", only.id);
    for (const { ethertype } of egress) await cloud.create("security_group_rule", { security_group_id: clientGroup.id, direction: "egress", ethertype });
    await cloud.synced();
    expect(await openTo(client.vm, v4(server.port))).toEqual(PORTS);
  });
});

/** Sends Ethernet frames as they are. */
async function sendRaw(vm: Vm, frames: readonly Buffer[]): Promise<void> {
  const program = `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`;
  await vm.exec(["python3", "-c", program, ...frames.map((f) => f.toString("hex"))]);
}

const mac = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
const ip4 = (text: string): Buffer => Buffer.from(text.split(".").map(Number));

function checksum(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += data.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A UDP datagram in a frame, whoever it says it is from. */
function udpFrame(from: { mac: string; ip: string; port: number }, to: { mac: string; ip: string; port: number }): Buffer {
  const payload = Buffer.from("spoofed!");
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(from.port, 0);
  udp.writeUInt16BE(to.port, 2);
  udp.writeUInt16BE(8 + payload.length, 4);
  const ip = Buffer.concat([Buffer.from([0x45, 0, 0, 28 + payload.length, 0, 1, 0, 0, 64, 17, 0, 0]), ip4(from.ip), ip4(to.ip)]);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([mac(to.mac), mac(from.mac), Buffer.from("0800", "hex"), ip, udp, payload]);
}

function arpFrame(ethSource: string, senderMac: string, senderIp: string, target: string): Buffer {
  return Buffer.concat([mac("ff:ff:ff:ff:ff:ff"), mac(ethSource), Buffer.from("08060001080006040001", "hex"), mac(senderMac), ip4(senderIp), Buffer.alloc(6), ip4(target)]);
}

/** What of it arrives while `send` runs: summary lines, after the marker that is always let through has. */
async function arriving(capture: Capture, send: () => Promise<void>, marker: () => Promise<unknown>): Promise<string[]> {
  await send();
  await marker();
  return (await capture.stop()).lines;
}

describe("who a VM says it is", () => {
  let mallory: Instance;
  let victim: Instance;
  const OTHER_MAC = "fa:16:3e:66:66:66";
  const OTHER_IP = "10.0.0.66";

  beforeAll(async () => {
    const all = await cloud.create("security_group", { name: "all" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
    mallory = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [all.id] } });
    victim = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [all.id] } });
    await until("an answer", () => mallory.vm.reaches(victim.ip));
  });

  const me = (): { mac: string; ip: string; port: number } => ({ mac: mallory.port.mac_address as string, ip: v4(mallory.port), port: 4000 });
  const you = (): { mac: string; ip: string; port: number } => ({ mac: victim.port.mac_address as string, ip: v4(victim.port), port: 4001 });

  /** Lines of the victim's capture that the frames caused. An honest datagram to port 4001 comes last and must arrive. */
  async function seen(frames: readonly Buffer[]): Promise<string[]> {
    const capture = await victim.vm.tcpdump("udp port 4001 or arp");
    const honest = udpFrame({ ...me(), port: 4999 }, you());
    const lines = await arriving(
      capture,
      () => sendRaw(mallory.vm, frames),
      () => until("the honest datagram", async () => {
        await sendRaw(mallory.vm, [honest]);
        return capture.lines.some((line) => line.includes(".4999 >"));
      }, { intervalMs: 100 }),
    );
    const sent = `${you().mac} > `; // what the victim itself asks then is no matter
    return lines.filter((line) => !line.includes(sent) && !line.includes(".4999 >") && (line.includes(".4000 >") || line.includes(OTHER_IP) || line.includes(OTHER_MAC) || line.includes("who-has")));
  }

  test("a frame in its own name arrives", async () => {
    expect(await seen([udpFrame(me(), you())])).toHaveLength(1);
  });

  test("another source address, another source MAC, another's own: nothing arrives", async () => {
    expect(await seen([
      udpFrame({ ...me(), ip: OTHER_IP }, you()),
      udpFrame({ ...me(), mac: OTHER_MAC }, you()),
      udpFrame({ ...me(), mac: OTHER_MAC, ip: OTHER_IP }, you()),
      udpFrame({ ...me(), mac: client.port.mac_address as string, ip: v4(client.port) }, you()),
      udpFrame({ ...me(), ip: v4(client.port) }, you()),
    ])).toEqual([]);
  });

  test("with a VLAN tag, which may lead to somebody else behind the receiver's interface: nothing arrives", async () => {
    const tagged = (...tags: readonly number[]): Buffer => {
      const frame = udpFrame(me(), you());
      return Buffer.concat([frame.subarray(0, 12), ...tags.map((vlan) => Buffer.from([0x81, 0x00, vlan >> 8, vlan & 0xff])), frame.subarray(12)]);
    };
    const capture = await victim.vm.tcpdump("-Q in");
    await sendRaw(mallory.vm, [tagged(100), tagged(0), tagged(4095), tagged(100, 200), tagged(0, 100)]);
    await until("the honest datagram", async () => {
      await sendRaw(mallory.vm, [udpFrame({ ...me(), port: 4999 }, you())]);
      return capture.lines.some((line) => line.includes(".4999 >"));
    }, { intervalMs: 100 });
    expect((await capture.stop()).lines.filter((line) => line.includes("802.1Q") || line.includes(".4000 >"))).toEqual([]);
  });

  test("ARP in another's name: nothing arrives", async () => {
    expect(await seen([
      arpFrame(me().mac, me().mac, OTHER_IP, v4(victim.port)),
      arpFrame(OTHER_MAC, OTHER_MAC, OTHER_IP, v4(victim.port)),
      arpFrame(me().mac, OTHER_MAC, me().ip, v4(victim.port)),
      arpFrame(me().mac, me().mac, v4(client.port), v4(client.port)),
    ])).toEqual([]);
  });

  test("an address added by hand reaches nobody; as an allowed pair it does", async () => {
    await mallory.vm.configure(`addr add ${OTHER_IP}/24 dev eth0`);
    const from = ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", OTHER_IP, victim.ip];
    expect((await mallory.vm.exec(from, { allowFailure: true })).exitCode).not.toBe(0);
    expect(await victim.vm.reaches(OTHER_IP, { timeoutMs: 500 })).toBe(false);
    await cloud.update("port", mallory.port.id, { allowed_address_pairs: [{ ip_address: OTHER_IP }] });
    await cloud.synced();
    expect((await mallory.vm.exec(from, { allowFailure: true })).exitCode).toBe(0);
    await until("the extra address", () => victim.vm.reaches(OTHER_IP));
    expect(await seen([udpFrame({ ...me(), ip: OTHER_IP }, you())])).toHaveLength(1);
    await cloud.update("port", mallory.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
    expect(await seen([udpFrame({ ...me(), ip: OTHER_IP }, you())])).toEqual([]);
    await mallory.vm.configure(`addr del ${OTHER_IP}/24 dev eth0`);
  });

  test("an allowed pair with a MAC, and with a prefix", async () => {
    await cloud.update("port", mallory.port.id, { allowed_address_pairs: [{ ip_address: OTHER_IP, mac_address: OTHER_MAC }, { ip_address: "10.0.0.128/28" }] });
    await cloud.synced();
    // Whoever has a prefix may have any address in it: its network asks as on a wire, the VM's own questions among them.
    // The network announces for some seconds that an address has another MAC.
    const sent = async (...frames: Parameters<typeof seen>[0]): Promise<string[]> => (await seen(frames)).filter((line) => !line.includes("who-has"));
    expect(await sent(udpFrame({ ...me(), mac: OTHER_MAC, ip: OTHER_IP }, you()), udpFrame({ ...me(), ip: "10.0.0.130" }, you()))).toHaveLength(2);
    expect(await sent(udpFrame({ ...me(), ip: OTHER_IP }, you()), udpFrame({ ...me(), ip: "10.0.0.144" }, you()))).toEqual([]);
    await cloud.update("port", mallory.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
  });

  test("a DHCP server and a router of its own: nobody hears them", async () => {
    const capture = await victim.vm.tcpdump("udp port 68 or (icmp6 and ip6[40] == 134)");
    const offer = udpFrame({ mac: me().mac, ip: me().ip, port: 67 }, { mac: "ff:ff:ff:ff:ff:ff", ip: "255.255.255.255", port: 68 });
    const direct = udpFrame({ mac: me().mac, ip: me().ip, port: 67 }, { ...you(), port: 68 });
    await sendRaw(mallory.vm, [offer, direct, routerAdvertisement(me().mac), offer, direct, routerAdvertisement(me().mac)]);
    await until("an answer", () => mallory.vm.reaches(victim.ip));
    const { lines } = await capture.stop();
    // The network's own advertisements may come; none of them is from this VM.
    expect(lines.filter((line) => line.includes(me().mac) || line.includes(".67 >"))).toEqual([]);
  });

  test("port_security_enabled=false: it may say what it likes, and no group holds what it receives", async () => {
    await cloud.update("port", mallory.port.id, { port_security_enabled: false, security_groups: [], allowed_address_pairs: [] });
    await cloud.synced();
    expect(await seen([udpFrame({ ...me(), mac: OTHER_MAC, ip: OTHER_IP }, you()), udpFrame({ ...me(), ip: "192.0.2.9" }, you())])).toHaveLength(2);
    await until("a ping of a stranger", () => stranger.vm.reaches(v4(mallory.port)));
  });
});

/** An ICMPv6 router advertisement to all nodes. */
function routerAdvertisement(from: string): Buffer {
  const source = linkLocalOf(from);
  const all = Buffer.from("ff020000000000000000000000000001", "hex");
  const body = Buffer.concat([Buffer.from("86000000400007080000000000000000", "hex"), Buffer.from([1, 1]), mac(from)]);
  const pseudo = Buffer.concat([source, all, Buffer.from([0, 0, 0, body.length, 0, 0, 0, 58])]);
  body.writeUInt16BE(checksum(Buffer.concat([pseudo, body])), 2);
  const ip = Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, body.length, 58, 255]), source, all]);
  return Buffer.concat([mac("33:33:00:00:00:01"), mac(from), Buffer.from("86dd", "hex"), ip, body]);
}

function linkLocalOf(text: string): Buffer {
  const m = mac(text);
  return Buffer.concat([Buffer.from("fe80000000000000", "hex"), Buffer.from([m[0]! ^ 2, m[1]!, m[2]!, 0xff, 0xfe, m[3]!, m[4]!, m[5]!])]);
}
