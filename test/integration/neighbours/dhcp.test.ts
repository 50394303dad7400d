// DHCP and router advertisements as real clients see them.
import { setTimeout as sleep } from "node:timers/promises";
import { linkLocal } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { BROADCAST } from "../../support/dhcp-client.ts";
import { frames, sendRaw, udp } from "../../support/api/raw.ts";

let cloud: Cloud;
let net: Net;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "dhcp.test" });
  net = await cloud.network("10.0.0.0/24", {
    dns_nameservers: ["9.9.9.9", "8.8.8.8"], host_routes: [{ destination: "192.0.2.0/24", nexthop: "10.0.0.9" }],
  });
});
afterAll(async () => cloud?.destroy());

const unconfigured = (number: number, on: Net, port: Record<string, unknown> = {}): Promise<Instance> => cloud.instance(cloud.hv(number), on, { configure: false, port });

/**
 * A DHCP client of a few lines, for what ready-made ones do not say: sends one message, prints the options of the answer
 * as JSON {code: hex}, or {} if there is none in time.
 */
const CLIENT = `${BROADCAST}
import json, os, sys
mac, kind, ciaddr, asked, server, wait = sys.argv[1:7]
dest = sys.argv[7] if len(sys.argv) > 7 else "255.255.255.255"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, 25, b"eth0")
s.bind(("0.0.0.0", 68))
s.settimeout(float(wait))
xid = os.urandom(4)
raw = bytes.fromhex(mac.replace(":", ""))
flags = 0 if ciaddr != "0.0.0.0" else 0x8000
m = struct.pack("!BBBB4sHH4s4s4s4s16s64s128s", 1, 1, 6, 0, xid, 0, flags, socket.inet_aton(ciaddr), b"\\0"*4, b"\\0"*4, b"\\0"*4, raw, b"", b"") + bytes([99,130,83,99])
m += bytes([53, 1, int(kind)])
if asked != "-": m += bytes([50, 4]) + socket.inet_aton(asked)
if server != "-": m += bytes([54, 4]) + socket.inet_aton(server)
m += bytes([55, 12, 1, 3, 6, 15, 26, 28, 42, 66, 67, 121, 150, 252, 255])
if ciaddr == "0.0.0.0": broadcast(m)
else: s.sendto(m, (dest, 67))
try:
    while True:
        r, peer = s.recvfrom(4096)
        if r[4:8] == xid: break
    out, i = {"yiaddr": socket.inet_ntoa(r[16:20]), "siaddr": socket.inet_ntoa(r[20:24]), "peer": peer[0]}, 240
    while i < len(r) and r[i] != 255:
        if r[i] == 0: i += 1; continue
        out[str(r[i])] = r[i+2:i+2+r[i+1]].hex(); i += 2 + r[i+1]
    print(json.dumps(out))
except socket.timeout: print("{}")
`;

const DISCOVER = 1;
const REQUEST = 3;
const INFORM = 8;
const ACK = "05";
const NAK = "06";

interface Ask {
  readonly kind: number;
  readonly mac?: string;
  readonly ciaddr?: string;
  readonly asked?: string;
  readonly server?: string;
  readonly to?: string;
  readonly waitS?: number;
}

async function ask(vm: Vm, { kind, mac = vm.mac, ciaddr = "0.0.0.0", asked = "-", server = "-", to = "255.255.255.255", waitS = 2 }: Ask): Promise<Record<string, string>> {
  const { stdout } = await vm.exec(["python3", "-c", CLIENT, mac, String(kind), ciaddr, asked, server, String(waitS), to]);
  return JSON.parse(stdout) as Record<string, string>;
}

const hex = (text: string): string => Buffer.from(text).toString("hex");
const addressHex = (ip: string): string => Buffer.from(ip.split(".").map(Number)).toString("hex");

describe("DHCPv4", () => {
  test("a client gets its port's address, and all its subnet says", async () => {
    const { vm, ip } = await unconfigured(1, net);
    const lease = await vm.dhcp();
    expect(lease).toMatchObject({
      ip, prefixLength: 24, routers: ["10.0.0.1"], dns: ["9.9.9.9", "8.8.8.8"], mtu: net.network.mtu as number, leaseS: 86_400, server: "10.0.0.1",
    });
    expect(lease.routes).toContainEqual({ to: "192.0.2.0/24", via: "10.0.0.9" });
    expect(lease.routes).toContainEqual({ to: "0.0.0.0/0", via: "10.0.0.1" });
    expect((await vm.exec(["ip", "-4", "route"])).stdout).toContain("192.0.2.0/24 via 10.0.0.9");
    expect((await vm.exec(["ip", "link", "show", "eth0"])).stdout).toContain(`mtu ${net.network.mtu as number}`);
  });

  test("another client, the same answer: ISC dhclient; and the two VMs reach each other", async () => {
    const [a, b] = [await unconfigured(1, net), await unconfigured(2, net)];
    expect(await a.vm.dhclient()).toMatchObject({ ip_address: a.ip, routers: "10.0.0.1", domain_name_servers: "9.9.9.9 8.8.8.8", interface_mtu: String(net.network.mtu) });
    expect(await b.vm.dhcp()).toMatchObject({ ip: b.ip });
    await until("an answer", () => a.vm.reaches(b.ip));
  });

  test("of a subnet whose prefix a subnet pool chose as well", async () => {
    const pool = await cloud.create("subnetpool", { name: "pool", prefixes: ["172.20.0.0/16"], default_prefixlen: 26 });
    const network = await cloud.create("network", { name: "pooled" });
    const of: Net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, subnetpool_id: pool.id }) };
    const [a, b] = [await unconfigured(1, of), await unconfigured(2, of)];
    for (const { vm, ip } of [a, b]) {
      expect(ip).toMatch(/^172\.20\.0\./);
      expect(await vm.dhcp()).toMatchObject({ ip, prefixLength: 26, routers: ["172.20.0.1"], server: "172.20.0.1" });
    }
    await until("an answer", () => a.vm.reaches(b.ip));
  });

  test("renewing, rebinding, a reboot, INFORM; another's address is refused", { tags: "long" }, async () => {
    const { vm, ip } = await unconfigured(1, net);
    await vm.dhcp();
    expect(await ask(vm, { kind: REQUEST, ciaddr: ip }), "rebinding").toMatchObject({ 53: ACK, yiaddr: ip, 51: "00015180" });
    expect(await ask(vm, { kind: REQUEST, asked: ip }), "a reboot").toMatchObject({ 53: ACK, yiaddr: ip });
    expect(await ask(vm, { kind: REQUEST, asked: ip, server: "10.0.0.1" }), "selecting").toMatchObject({ 53: ACK, yiaddr: ip, peer: "10.0.0.1" });
    expect(await ask(vm, { kind: INFORM, ciaddr: ip }), "INFORM").toMatchObject({ 53: ACK, yiaddr: "0.0.0.0", 6: addressHex("9.9.9.9") + addressHex("8.8.8.8") });
    expect(await ask(vm, { kind: REQUEST, asked: "10.0.0.200" }), "another's address").toMatchObject({ 53: NAK });
    expect(await ask(vm, { kind: REQUEST, asked: ip, server: "10.0.0.77", waitS: 0.7 }), "another server chosen").toEqual({});
  });

  test("renewing goes to the server's own address, with a router there", async () => {
    const other = await cloud.network("10.9.0.0/24");
    await cloud.router([other]);
    const { vm, ip } = await unconfigured(2, other);
    await vm.dhcp();
    expect(await ask(vm, { kind: REQUEST, ciaddr: ip, to: "10.9.0.1" })).toMatchObject({ 53: ACK, yiaddr: ip });
  });

  test("another MAC than the port's is not answered", async () => {
    const { vm } = await unconfigured(1, net);
    await vm.configure("addr add 169.254.1.1/16 dev eth0");
    expect(await ask(vm, { kind: DISCOVER, mac: "fa:16:3e:66:66:66", waitS: 0.7 }), "inside the message").toEqual({});
    await vm.configure("link set eth0 down", "link set eth0 address fa:16:3e:66:66:66", "link set eth0 up", "addr replace 169.254.1.1/16 dev eth0");
    expect(await ask(vm, { kind: DISCOVER, mac: "fa:16:3e:66:66:66", waitS: 0.7 }), "and of the frame").toEqual({});
  });

  test("a port's own options, in the raw answer", async () => {
    const { vm, port } = await unconfigured(1, net, {
      extra_dhcp_opts: [
        { opt_name: "bootfile-name", opt_value: "pxelinux.0" }, { opt_name: "tftp-server", opt_value: "192.0.2.7" }, { opt_name: "server-ip-address", opt_value: "192.0.2.8" },
        { opt_name: "150", opt_value: "192.0.2.9" }, { opt_name: "ntp-server", opt_value: "192.0.2.10" }, { opt_name: "mtu", opt_value: "1234" }, { opt_name: "dns-server", opt_value: "1.1.1.1" },
      ],
    });
    await vm.configure("addr add 169.254.1.1/16 dev eth0");
    expect(await ask(vm, { kind: DISCOVER })).toMatchObject({
      67: hex("pxelinux.0"), 66: hex("192.0.2.7"), siaddr: "192.0.2.8", 150: addressHex("192.0.2.9"), 42: addressHex("192.0.2.10"), 26: (1234).toString(16).padStart(4, "0"), 6: addressHex("1.1.1.1"),
    });
    // Changed and taken away, the next answer says so: nothing is kept from before.
    await cloud.update("port", port.id, { extra_dhcp_opts: [{ opt_name: "mtu", opt_value: "1300" }, { opt_name: "dns-server", opt_value: null }, { opt_name: "bootfile-name", opt_value: null }] });
    const answer = await ask(vm, { kind: DISCOVER });
    expect(answer).toMatchObject({ 26: (1300).toString(16).padStart(4, "0"), 6: addressHex("9.9.9.9") + addressHex("8.8.8.8") });
    expect(answer).not.toHaveProperty("67");
  });

  test("the network's MTU and the subnet's changes are in the next answer", async () => {
    const own = await cloud.network("10.5.0.0/24");
    const { vm } = await unconfigured(1, own);
    await vm.configure("addr add 169.254.1.1/16 dev eth0");
    await cloud.update("network", own.network.id, { mtu: 1280 });
    await cloud.update("subnet", own.subnet.id, { dns_nameservers: ["1.0.0.1"], gateway_ip: null });
    await until("the new answer", async () => (await ask(vm, { kind: DISCOVER }))["26"] === (1280).toString(16).padStart(4, "0"));
    const answer = await ask(vm, { kind: DISCOVER });
    expect(answer).toMatchObject({ 6: addressHex("1.0.0.1") });
    expect(answer).not.toHaveProperty("3");
  });

  test("a subnet without DHCP is silent; switched on it answers, switched off it is silent again", async () => {
    const quiet = await cloud.network("10.6.0.0/24", { enable_dhcp: false });
    const { vm, ip } = await unconfigured(2, quiet);
    await vm.configure("addr add 169.254.1.1/16 dev eth0");
    expect(await ask(vm, { kind: DISCOVER, waitS: 0.7 })).toEqual({});
    await cloud.update("subnet", quiet.subnet.id, { enable_dhcp: true });
    await until("an answer", async () => (await ask(vm, { kind: DISCOVER, waitS: 0.5 })).yiaddr === ip);
    await cloud.update("subnet", quiet.subnet.id, { enable_dhcp: false });
    await until("silence", async () => (await ask(vm, { kind: DISCOVER, waitS: 0.5 })).yiaddr === undefined);
  });

  test("a port without port security is served as well", async () => {
    const { vm, ip } = await unconfigured(1, net, { port_security_enabled: false, security_groups: [] });
    expect(await vm.dhcp()).toMatchObject({ ip });
  });

  test("a flood of requests costs its sender, not its neighbour", async () => {
    const [flood, calm] = [await unconfigured(1, net), await unconfigured(1, net)];
    await flood.vm.configure("addr add 169.254.1.1/16 dev eth0");
    const program = `${BROADCAST}\nwhile True: broadcast(b"\\1\\1\\6\\0"+b"x"*296)`;
    const running = flood.vm.spawn(["python3", "-c", program]);
    await sleep(1000);
    const before = await cloud.metric("axion_packet_ins_total");
    const began = performance.now();
    expect(await calm.vm.dhcp()).toMatchObject({ ip: calm.ip });
    await sleep(1000);
    const rate = ((await cloud.metric("axion_packet_ins_total")) - before) / ((performance.now() - began) / 1000);
    await running.stop("SIGKILL");
    expect(rate, "packets a second that reach the controller").toBeLessThan(150);
  });
});

describe("who asks is who it is", () => {
  // DHCP is off: what a port may send goes on to a server of the tenant's own, which has no port security.
  test("requests come from no address or the port's own, of DHCPv6 from its own or its link-local one", async () => {
    const { network, subnet } = await cloud.network("10.7.0.0/24", { enable_dhcp: false });
    const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:77::/64", enable_dhcp: false });
    const on: Net = { network, subnet };
    const extra = { allowed_address_pairs: [{ ip_address: "10.7.7.0/24", mac_address: "02:00:00:00:07:07" }] };
    const [a, other] = [await unconfigured(1, on, extra), await unconfigured(1, on)];
    const servers = [await unconfigured(1, on, { port_security_enabled: false, security_groups: [] }), await unconfigured(2, on, { port_security_enabled: false, security_groups: [] })];
    await cloud.synced();
    const addressesOf = ({ port }: Instance): [string, string] => {
      const all = (port.fixed_ips as { ip_address: string; subnet_id: string }[]);
      return [all.find((f) => f.subnet_id === subnet.id)!.ip_address, all.find((f) => f.subnet_id === six.id)!.ip_address];
    };
    const [[four, own], [otherFour, otherSix]] = [addressesOf(a), addressesOf(other)];
    const request = (src: string, srcMac = a.port.mac_address as string): Buffer[] => {
      const ends = src.includes(":") ? { srcMac, dstMac: "33:33:00:01:00:02", src, dst: "ff02::1:2" } : { srcMac, dstMac: "ff:ff:ff:ff:ff:ff", src, dst: "255.255.255.255" };
      return frames(ends, src.includes(":") ? udp(ends, 546, 547) : udp(ends, 68, 67));
    };
    const pair = "02:00:00:00:07:07";
    const right = [request("0.0.0.0"), request(four), request("0.0.0.0", pair), request("10.7.7.7", pair), request(own), request(linkLocal(a.port.mac_address as string))];
    const wrong = [
      request(otherFour), request("10.7.0.1"), request("10.7.0.254"), request("169.254.1.1"), request("255.255.255.255"), request("10.7.7.7"), request(four, pair), request("10.7.8.7", pair),
      request(otherSix), request("fd00:77::99"), request("fe80::1"), request("::"), request(linkLocal(other.port.mac_address as string)),
    ];
    const captures = await Promise.all(servers.map(({ vm }) => vm.tcpdump("-Q in udp and (port 67 or port 547)")));
    await sendRaw(a.vm, [...wrong.flat(), ...right.flat()]);
    await until("the right ones", () => Promise.resolve(captures.every(({ lines }) => lines.some((line) => line.includes("fe80::")))));
    await sleep(300);
    for (const capture of captures) {
      const heard = (await capture.stop()).lines.flatMap((line) => / ([0-9a-f.:]+)\.(?:68|546) > /.exec(line)?.[1] ?? []);
      expect(heard.sort()).toEqual(["0.0.0.0", four, "0.0.0.0", "10.7.7.7", own, linkLocal(a.port.mac_address as string)].sort());
    }
  });

  test("a request in another's name is not answered", async () => {
    const [{ vm, ip }, other] = [await unconfigured(1, net), await unconfigured(1, net)];
    await vm.configure(`addr add ${other.ip}/24 dev eth0`);
    expect(await ask(vm, { kind: INFORM, ciaddr: other.ip, waitS: 0.7 }), "another's").toEqual({});
    await vm.configure("addr flush dev eth0", `addr add ${ip}/24 dev eth0`);
    expect(await ask(vm, { kind: INFORM, ciaddr: ip }), "its own").toMatchObject({ 53: ACK });
  });
});

describe("IPv6", () => {
  let six: Net;
  const ADDRESS = /^fd00:6:/;

  const v6Of = (port: Resource): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

  beforeAll(async () => {
    const network = await cloud.create("network", { name: "six" });
    six = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:6::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }) };
    await cloud.router([six]);
  });

  test("SLAAC: a VM makes its port's address from the advertisement, its default route and MTU as well", async () => {
    const [a, b] = [await unconfigured(1, six), await unconfigured(2, six)];
    for (const { vm, port } of [a, b]) {
      // What the API promised is what the kernel chose by itself.
      await until("the address", async () => (await vm.addresses()).includes(`${v6Of(port)}/64`), { timeoutMs: 20_000 });
      expect((await vm.addresses()).filter((address) => ADDRESS.test(address))).toHaveLength(1);
      await until("a default route", async () => /default via fe80::/.test((await vm.exec(["ip", "-6", "route"])).stdout), { timeoutMs: 15_000 });
    }
    await until("an answer", () => a.vm.reaches(v6Of(b.port)));
  }, 60_000);

  test("a VM that never solicits hears of its router all the same, soon after there is one", async () => {
    const network = await cloud.create("network", { name: "quiet" });
    const quiet = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:8::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }) };
    const { vm, port } = await unconfigured(1, quiet);
    await vm.sysctl("net.ipv6.conf.eth0.router_solicitations=0");
    await vm.configure("link set eth0 down", "link set eth0 up");
    const routes = async (): Promise<string> => (await vm.exec(["ip", "-6", "route"])).stdout;
    expect(await routes()).not.toMatch(/default via/);
    // But for probes of tunnels, which come all the time.
    const { flows } = (await cloud.controller.ops<{ flows: { table_id: number }[] }>("GET", "/flows?table=tunnel_probe&switch=hv1")).body;
    const probes = String(flows[0]!.table_id);
    const packetIns = async (): Promise<Record<string, string>> => {
      const { body } = await cloud.controller.ops<string>("GET", "/metrics");
      return Object.fromEntries([...body.matchAll(/^axion_packet_ins_total\{table="(\w+)"\} (\d+)$/gm)].filter(([, table]) => table !== probes).map(([, table, n]) => [table!, n!]));
    };
    const asked = await packetIns();
    await cloud.router([quiet]);
    // RFC 4861 section 10: the first ones come within 16 s; ours of a new router within 3.
    await until("a default route", async () => /default via fe80::/.test(await routes()), { timeoutMs: 16_000 });
    await until("the address", async () => (await vm.addresses()).includes(`${v6Of(port)}/64`), { timeoutMs: 5000 });
    expect(await packetIns(), "packets that came to the controller meanwhile").toEqual(asked);
  }, 60_000);

  test("no router, no default route", async () => {
    const network = await cloud.create("network", { name: "alone" });
    const alone = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:7::/64", ipv6_address_mode: "slaac" }) };
    const { vm } = await unconfigured(1, alone);
    await sleep(2000);
    expect((await vm.exec(["ip", "-6", "route"])).stdout).not.toMatch(/default via/);
  });
});

describe("DHCPv6", () => {
  const v6 = async (name: string, cidr: string, mode: string, more: object = {}): Promise<Net> => {
    const network = await cloud.create("network", { name });
    return { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr, ipv6_ra_mode: mode, ipv6_address_mode: mode, ...more }) };
  };
  const routes = async (vm: Vm): Promise<string> => (await vm.exec(["ip", "-6", "route"])).stdout;

  test("stateful: ISC dhclient gets its port's address and options, confirms it after a restart, gives it back and gets it again; two VMs reach each other", async () => {
    const net6 = await v6("stateful", "fd00:9::/64", "dhcpv6-stateful", { dns_nameservers: ["fd00:9::53"] });
    await cloud.router([net6]);
    // dhclient cannot read its leases again where the MAC's last four bytes have a quotation mark among them: it makes its IAID of these.
    const mac_address = "fa:16:3e:00:60:01";
    const [a, b] = [await unconfigured(1, net6, { mac_address, extra_dhcp_opts: [{ opt_name: "domain-search", opt_value: "a.example,b.example", ip_version: 6 }] }), await unconfigured(2, net6)];
    // It sends from its link-local address, which is there once nobody else was found to have it.
    for (const { vm } of [a, b]) await until("a link-local address", async () => (await vm.addresses({ all: true })).length > 0 && !(await vm.exec(["ip", "-6", "addr", "show", "dev", "eth0"])).stdout.includes("tentative"));
    const first = await a.vm.dhclient({ family: 6 });
    expect(first).toMatchObject({ ip6_address: a.ip, dhcp6_name_servers: "fd00:9::53", dhcp6_domain_search: "a.example. b.example.", max_life: "86400", preferred_life: "86400" });
    await until("the address", async () => (await a.vm.addresses()).includes(`${a.ip}/128`));
    expect((await a.vm.addresses()).filter((address) => address.startsWith("fd00:9:")), "none by SLAAC").toHaveLength(1);
    await until("a default route by the router's advertisement", async () => /default via fe80::/.test(await routes(a.vm)), { timeoutMs: 15_000 });
    const second = await b.vm.dhclient({ family: 6 });
    expect(second).toMatchObject({ ip6_address: b.ip, dhcp6_server_id: first.dhcp6_server_id });
    await until("an answer", () => a.vm.reaches(b.ip));
    const again = await a.vm.dhclient({ family: 6, again: true });
    expect(again).toMatchObject({ ip6_address: a.ip });
    expect(again.said).toMatch(/XMT: Confirm/);
    expect(again.said).not.toMatch(/XMT: Solicit/);
    const heard = await a.vm.tcpdump("udp and src port 547", { verbose: true });
    expect(await a.vm.dhclientRelease(6)).toMatch(/XMT: Release/);
    await until("an answer to the release", () => Promise.resolve(heard.lines.some((line) => /dhcp6 reply .*status-code Success/.test(line))));
    await heard.stop();
    expect(await a.vm.dhclient({ family: 6 })).toMatchObject({ ip6_address: a.ip, dhcp6_server_id: first.dhcp6_server_id });
  }, 90_000);

  test("stateless: an address by SLAAC, and options by dhclient", async () => {
    const net6 = await v6("stateless", "fd00:a::/64", "dhcpv6-stateless", { dns_nameservers: ["fd00:a::53"] });
    await cloud.router([net6]);
    const { vm, ip } = await unconfigured(1, net6);
    await until("the address", async () => (await vm.addresses()).includes(`${ip}/64`), { timeoutMs: 20_000 });
    expect(await vm.dhclient({ family: 6, informed: true })).toMatchObject({ dhcp6_name_servers: "fd00:a::53", dhcp6_domain_search: "axion.internal." });
    expect((await vm.addresses()).filter((address) => address.startsWith("fd00:a:"))).toEqual([`${ip}/64`]);
  }, 60_000);
});
