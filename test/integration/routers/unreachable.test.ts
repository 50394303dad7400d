// What a router says of packets that it does not deliver (RFC 1812, RFC 4443, RFC 9293): no route, nobody there, nothing served at its own addresses; and
// what it takes from no link to another. Each error at a bounded rate.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let nets: readonly [Net, Net];
let all: Resource;
let sender: Instance;
let other: Instance;

const V6 = ["fd00:a::", "fd00:b::"] as const;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "unreachable.test" });
  nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
  const router = await cloud.router(nets);
  for (const [i, net] of nets.entries()) {
    const subnet = await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: `${V6[i]}/64`, gateway_ip: `${V6[i]}1` });
    await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id });
  }
  all = await cloud.create("security_group", { name: "all" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
  sender = await instance(1, 0);
  other = await instance(2, 1);
  for (const ip of [other.ip, v6(other)]) await until(`an answer of ${ip}`, () => sender.vm.reaches(ip));
});
afterAll(async () => cloud?.destroy());

const v6 = ({ port }: Instance): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
async function instance(host: 1 | 2, net: 0 | 1, port: Record<string, unknown> = {}): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(host), nets[net], { port: { security_groups: [all.id], ...port } });
  await made.vm.setAddress(`${v6(made)}/64`, `${V6[net]}1`);
  return made;
}

/** What a VM hears of a router in the time that a ping takes to give up. */
async function told(vm: Vm, ip: string, ...more: string[]): Promise<string> {
  const { stdout } = await vm.exec(["ping", "-n", "-c", "1", "-W", "5", ...more, ip], { allowFailure: true });
  return stdout;
}

describe("the sender is told", () => {
  test("that there is no route", async () => {
    expect(await told(sender.vm, "192.0.2.1")).toContain("From 10.0.0.1 icmp_seq=1 Destination Net Unreachable");
    expect(await told(sender.vm, "2001:db8::1")).toContain(`From ${V6[0]}1 icmp_seq=1 Destination unreachable: No route`);
  });

  test("that nobody has an address: none that the model knows, a port that is not plugged, or one that is down", async () => {
    const port = await cloud.create("port", { network_id: nets[1].network.id });
    const down = await instance(1, 1);
    await until("an answer", () => sender.vm.reaches(down.ip));
    await cloud.update("port", down.port.id, { admin_state_up: false });
    await cloud.synced();
    for (const ip of ["10.0.1.250", (port.fixed_ips as { ip_address: string }[])[0]!.ip_address, down.ip]) {
      expect(await told(sender.vm, ip)).toContain("From 10.0.0.1 icmp_seq=1 Destination Host Unreachable");
    }
    expect(await told(sender.vm, `${V6[1]}dead`)).toContain(`From ${V6[0]}1 icmp_seq=1 Destination unreachable: Address unreachable`);
    for (const id of [port.id, down.port.id]) await cloud.remove("port", id);
  }, 60_000);

  test("that nobody answers who may have an address, once it was asked for three times", async () => {
    const holder = await instance(2, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.64/28" }, { ip_address: `${V6[1]}40/124` }] });
    await cloud.synced();
    const capture = await holder.vm.tcpdump("arp or (icmp6 and ip6[40] == 135)");
    expect(await told(sender.vm, "10.0.1.70")).toContain("From 10.0.0.1 icmp_seq=1 Destination Host Unreachable");
    expect(await told(sender.vm, `${V6[1]}44`)).toContain(`From ${V6[0]}1 icmp_seq=1 Destination unreachable: Address unreachable`);
    const { lines } = await capture.stop();
    expect(lines.filter((l) => l.includes("who-has 10.0.1.70"))).toHaveLength(3);
    expect(lines.filter((l) => l.includes(`who has ${V6[1]}44`))).toHaveLength(3);
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("that a router serves nothing at a port, or over a protocol", { tags: "long", timeout: 60_000 }, async () => {
    const capture = await sender.vm.tcpdump("-Q in icmp or icmp6 or tcp", { verbose: true });
    for (const to of ["10.0.0.1", "10.0.1.1", `${V6[0]}1`, `${V6[1]}1`]) {
      const family = to.includes(":") ? "AF_INET6" : "AF_INET";
      const refused = async (type: string): Promise<string> => (await sender.vm.exec(["python3", "-c", [
        "import socket,sys", `s=socket.socket(socket.${family},socket.${type})`, "s.settimeout(2)", `s.connect((${JSON.stringify(to)},4444))`, "s.send(b'hello')", "s.recv(10)",
      ].join("\n")], { allowFailure: true })).stderr;
      expect(await refused("SOCK_DGRAM"), to).toContain("ConnectionRefusedError");
      expect(await refused("SOCK_STREAM"), to).toContain("ConnectionRefusedError");
      await sender.vm.exec(["python3", "-c", `import socket\ns=socket.socket(socket.${family},socket.SOCK_RAW,253)\ns.sendto(b'hello world',(${JSON.stringify(to)},0))`]);
    }
    await until("the last", () => capture.lines.some((l) => l.includes("parameter problem") || l.includes("next header")), { timeoutMs: 5000 });
    const text = (await capture.stop()).lines.join("\n");
    for (const ip of ["10.0.0.1", "10.0.1.1"]) expect(text).toMatch(new RegExp(`${ip.replaceAll(".", "\\.")} protocol 253 unreachable`));
  });

  test("behind the port, whatever MAC it has: of a pair, or without port security", async () => {
    const VMAC = "00:00:5e:00:01:44";
    const paired = await instance(2, 0, { allowed_address_pairs: [{ ip_address: "10.0.0.44", mac_address: VMAC }] });
    const open = await instance(2, 0, { port_security_enabled: false, security_groups: [] });
    for (const [{ vm }, mac, ip] of [[paired, VMAC, "10.0.0.44"], [open, "52:54:00:00:00:45", "10.0.0.45"]] as const) {
      await vm.configure(`link add link eth0 name other0 address ${mac} type macvlan mode bridge`);
      await vm.sysctl("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.other0.rp_filter=0");
      await vm.configure("link set other0 up", `addr add ${ip}/24 dev other0`);
      await vm.exec(["ip", "rule", "add", "from", ip, "table", "200"]);
      await vm.exec(["ip", "route", "replace", "10.0.0.0/24", "dev", "other0", "table", "200"]);
      await vm.exec(["ip", "route", "replace", "default", "via", "10.0.0.1", "dev", "other0", "table", "200"]);
      expect(await told(vm, "192.0.2.1", "-I", ip)).toContain("From 10.0.0.1 icmp_seq=1 Destination Net Unreachable");
      expect(await told(vm, "10.0.1.250", "-I", ip)).toContain("From 10.0.0.1 icmp_seq=1 Destination Host Unreachable");
    }
    for (const { port } of [paired, open]) await cloud.remove("port", port.id);
  }, 60_000);
});

describe("a router is silent, and takes nothing on", () => {
  test("from or to link-local, loopback and other addresses that are of one link", { tags: "long", timeout: 60_000 }, async () => {
    const open = await instance(1, 0, { port_security_enabled: false, security_groups: [] });
    const gateway = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string; fixed_ips: { ip_address: string }[] }[] };
    const macs = new Map(gateway.ports.map((p) => [p.fixed_ips[0]!.ip_address, p.mac_address]));
    const capture = await other.vm.tcpdump("-Q in ip or ip6");
    const back = await open.vm.tcpdump("-Q in icmp or (icmp6 and ip6[40] < 128)");
    const four = (from: string, to: string): string => `import socket,struct
def ck(b):
  s=sum(struct.unpack('!%dH'%(len(b)//2),b))
  while s>>16: s=(s&0xffff)+(s>>16)
  return ~s&0xffff
h=struct.pack('!BBHHHBBH4s4s',0x45,0,36,1,0,64,17,0,socket.inet_aton('${from}'),socket.inet_aton('${to}'))
h=h[:10]+struct.pack('!H',ck(h))+h[12:]
f=bytes.fromhex('${macs.get("10.0.0.1")!.replaceAll(":", "")}${(open.port.mac_address as string).replaceAll(":", "")}0800')+h+struct.pack('!HHHH',4000,4001,16,0)+b'undelive'
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('eth0',0));s.send(f)`;
    const six = (from: string, to: string): string => `import socket,struct
h=struct.pack('!IHBB',0x60000000,16,17,64)+socket.inet_pton(socket.AF_INET6,'${from}')+socket.inet_pton(socket.AF_INET6,'${to}')
f=bytes.fromhex('${macs.get(`${V6[0]}1`)!.replaceAll(":", "")}${(open.port.mac_address as string).replaceAll(":", "")}86dd')+h+struct.pack('!HHHH',4000,4001,16,0)+b'undelive'
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('eth0',0));s.send(f)`;
    for (const from of ["169.254.7.7", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1"]) await open.vm.exec(["python3", "-c", four(from, other.ip)]);
    for (const to of ["169.254.7.7", "127.0.0.1", "239.1.2.3", "255.255.255.255", "10.0.1.255", "10.0.1.0"]) await open.vm.exec(["python3", "-c", four(open.ip, to)]);
    for (const from of ["::1", "::", "ff02::1"]) await open.vm.exec(["python3", "-c", six(from, v6(other))]);
    for (const to of ["fe80::1234", "::1", "ff05::2"]) await open.vm.exec(["python3", "-c", six(v6(open), to)]);
    // Of a link-local source the RFC has an error, beyond scope of source address.
    await open.vm.exec(["python3", "-c", six(`fe80::f816:3eff:fe00:1`, v6(other))]);
    await until("an honest packet", async () => {
      await open.vm.exec(["python3", "-c", four(open.ip, other.ip).replace("'!HHHH',4000,4001", "'!HHHH',4000,4002")]);
      return capture.lines.some((l) => l.includes("4002"));
    }, { timeoutMs: 5000 });
    await sleep(200);
    expect((await capture.stop()).lines.filter((l) => l.includes(".4001:") || l.includes(" > ") && l.includes("4001"))).toEqual([]);
    const errors = (await back.stop()).lines.filter((l) => !l.includes("4002") && !l.includes("udp port"));
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/beyond scope|unreachable/);
    await cloud.remove("port", open.port.id);
  });

  test("beyond its rate", async () => {
    const capture = await sender.vm.tcpdump("-Q in icmp[0] == 3");
    await sender.vm.exec(["python3", "-c", "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor i in range(2000):\n  s.sendto(b'x',('192.0.2.%d'%(i%250+1),9))"]);
    await sleep(1500);
    const { count } = await capture.stop();
    expect(count).toBeGreaterThan(10);
    expect(count).toBeLessThanOrEqual(250);
    expect(await sender.vm.reaches(other.ip)).toBe(true);
    // By a meter that nothing else passes: the sender's leases are renewed all the same.
    const { meters } = (await cloud.controller.ops<{ meters: { dropped_packets: number; rules: string[]; resources: { id: string }[] }[] }>("GET", `/switches/${cloud.hv(1).systemId}/meters`)).body;
    const its = meters.filter((m) => m.resources.some((r) => r.id === sender.port.id));
    expect(its.filter((m) => m.dropped_packets > 0).map((m) => m.rules)).toContainEqual(["l3/undelivered"]);
    expect(meters.filter((m) => m.rules.includes("dhcp/served-port") && m.dropped_packets > 0)).toEqual([]);
  }, 60_000);
});
