// What comes with addresses, or instead of them; whom a switch asks for; and who the server is when the app comes later.
import { afterEach, expect, test } from "vitest";
import { dhcp6Value, type Dhcp6Option } from "packet-codec";
import { textOf } from "../../test/support/harness.ts";
import { portDhcpOptsTable } from "../dhcp/model.ts";
import { dhcp6ServerTable } from "./model.ts";
import { asks, client, Cloud, held, ia, type } from "./dhcp6.fixture.ts";

const open: Cloud[] = [];
const made = async (options: Parameters<typeof Cloud.make>[0] = {}): Promise<Cloud> => {
  const cloud = await Cloud.make(options);
  open.push(cloud);
  return cloud;
};
afterEach(async () => {
  for (const { h } of open.splice(0)) await h.close();
});
const opt = (opt_name: string, opt_value: string | null, ip_version = 6): object => ({ opt_name, opt_value, ip_version });
const flowsOf = ({ h }: Cloud): string[] => Array.from(h.engine.flowsOf("hv1")).filter((f) => f.table === h.layout.table("port_security").id).map(textOf).filter((line) => line.includes("tp_dst=547"));

test("stateless: options alone, of those asked for, and when to ask again", async () => {
  const cloud = await made();
  const { port } = await cloud.network("dhcpv6-stateless", { dns_nameservers: ["fd00:1::53"] });
  const message = cloud.ask(port, type.informationRequest, [client, asks(23, 24, 32, 31)])!;
  expect(message.msg_type).toBe(type.reply);
  expect(message.options.map(({ option }) => option)).toEqual(["CLIENTID", "SERVERID", "DNS_SERVERS", "DOMAIN_LIST", "INFORMATION_REFRESH_TIME"]);
  expect(dhcp6Value(message, "DNS_SERVERS")).toEqual(["fd00:1::53"]);
  expect(dhcp6Value(message, "DOMAIN_LIST")).toEqual(["axion.internal"]);
  expect(dhcp6Value(message, "INFORMATION_REFRESH_TIME")).toBe(86_400);
  expect(cloud.ask(port, type.informationRequest, [client, asks(24)])!.options.map(({ option }) => option)).toEqual(["CLIENTID", "SERVERID", "DOMAIN_LIST"]);
  expect(cloud.ask(port, type.informationRequest, [])!.options.map(({ option }) => option), "without a list: all").toEqual(["SERVERID", "DNS_SERVERS", "DOMAIN_LIST", "INFORMATION_REFRESH_TIME"]);
  const solicited = cloud.ask(port, type.solicit, [client, ia(1)])!;
  expect([solicited.msg_type, held(solicited)], "an address it makes itself").toEqual([type.advertise, [["IA_NA", 1, 2]]]);
});

test("the network's domain, the port's name, and the lease that was set", async () => {
  const cloud = await made({ settings: new Map([["dhcp", { "dhcp-lease": 300 }]]) });
  const net = (await cloud.h.create("network", { dns_domain: "blue.example.org." })).id;
  await cloud.h.create("subnet", { network_id: net, ip_version: 6, cidr: "fd00:1::/64", ipv6_address_mode: "dhcpv6-stateful" });
  const port = await cloud.port(net, { dns_name: "web" });
  const fqdn = (flags: number): Dhcp6Option => ({ option: "CLIENT_FQDN", value: { flags, name: "liar" } });
  const message = cloud.ask(port, type.solicit, [client, ia(1), fqdn(0), asks(24, 39)])!;
  expect(dhcp6Value(message, "DOMAIN_LIST")).toEqual(["blue.example.org"]);
  expect(dhcp6Value(message, "CLIENT_FQDN")).toEqual({ flags: 3, name: "web.blue.example.org." });
  expect(dhcp6Value(cloud.ask(port, type.solicit, [client, ia(1), fqdn(1), asks(39)])!, "CLIENT_FQDN")).toEqual({ flags: 1, name: "web.blue.example.org." });
  expect(dhcp6Value(cloud.ask(port, type.solicit, [client, ia(1), asks(39)])!, "CLIENT_FQDN"), "it said none of its own").toBeUndefined();
  expect(dhcp6Value(message, "IA_NA")).toMatchObject({ t1_s: 150, t2_s: 240 });
  expect(held(message)).toEqual([["IA_NA", 1, `${cloud.addresses(port)[0]!} 300/300`]]);
  expect(dhcp6Value(cloud.ask(port, type.informationRequest, [client, asks(32)])!, "INFORMATION_REFRESH_TIME"), "at least ten minutes").toBe(600);
});

test("a port's own options of IPv6 are in place of the subnet's; those of IPv4 are not", async () => {
  const cloud = await made();
  const { port } = await cloud.network("dhcpv6-stateful", { dns_nameservers: ["fd00:1::53"] }, {
    extra_dhcp_opts: [
      opt("dns-server", "fd00:1::1, fd00:1::2"), opt("domain-search", "a.example,b.example"), opt("ntp-server", "fd00:1::123,time.example"), opt("bootfile-url", "tftp://[fd00:1::7]/x"),
      opt("tag:ipxe,bootfile-url", "http://x/ipxe"), opt("dns-server", "9.9.9.9", 4), opt("31", "fd00:1::31"), opt("65001", "01:02:ff"),
    ],
  });
  const ask = (...more: Dhcp6Option[]) => cloud.ask(port, type.solicit, [client, ia(1), asks(65_001, 59, 31, 24, 23, 56), ...more])!;
  const message = ask();
  expect(message.options.slice(4).map(({ option }) => option)).toEqual([65_001, "BOOTFILE_URL", "SNTP_SERVERS", "DOMAIN_LIST", "DNS_SERVERS", "NTP_SERVER"]);
  expect(dhcp6Value(message, "DNS_SERVERS")).toEqual(["fd00:1::1", "fd00:1::2"]);
  expect(dhcp6Value(message, "DOMAIN_LIST")).toEqual(["a.example", "b.example"]);
  expect(dhcp6Value(message, "NTP_SERVER")).toEqual([{ option: "SRV_ADDR", value: "fd00:1::123" }, { option: "SRV_FQDN", value: "time.example" }]);
  expect(dhcp6Value(message, "BOOTFILE_URL")).toBe("tftp://[fd00:1::7]/x");
  expect(dhcp6Value(ask({ option: "USER_CLASS", value: [Buffer.from("iPXE")] }), "BOOTFILE_URL")).toBe("http://x/ipxe");
});

test("what cannot be sent is named, and does not hinder the rest", async () => {
  const cloud = await made();
  const wrong = [opt("dns-server", "9.9.9.9"), opt("router", "fd00::1"), opt("server-id", "00:01"), opt("3", "1"), opt("0", "1"), opt("70000", "1"), opt("domain-search", "a..b"), opt("information-refresh-time", "soon")];
  const { port } = await cloud.network("dhcpv6-stateful", { dns_nameservers: ["fd00:1::53"] }, { extra_dhcp_opts: [...wrong, opt("31", "fd00:1::31")] });
  expect(dhcp6Value(cloud.ask(port, type.solicit, [client, ia(1)])!, "DNS_SERVERS")).toEqual(["fd00:1::53"]);
  expect(dhcp6Value(cloud.ask(port, type.solicit, [client, ia(1)])!, "SNTP_SERVERS")).toEqual(["fd00:1::31"]);
  const found = cloud.h.apps.find(({ name }) => name === "dhcp6")!.problems!(cloud.h.view);
  expect(found).toHaveLength(1);
  for (const { opt_name } of wrong as { opt_name: string }[]) expect(found[0]!.text).toContain(opt_name);
  expect(found[0]!.text).not.toContain("fd00:1::31");
});

test("options that there is no room for are left out, the others are there", async () => {
  const cloud = await made();
  const long = Array.from({ length: 5 }, (_, i) => opt(String(65_000 + i), "x".repeat(200)));
  const { net, port } = await cloud.network("dhcpv6-stateful", { dns_nameservers: ["fd00:1::53"] }, { extra_dhcp_opts: long });
  await cloud.h.call("PUT", `/v2.0/networks/${net}`, { network: { mtu: 1280 } });
  await cloud.h.settled();
  const many = Array.from({ length: 12 }, (_, i) => ia(i + 1));
  const message = cloud.ask(port, type.solicit, [client, ...many, asks(...long.map((_, i) => 65_000 + i), 23)])!;
  const numbers = message.options.map(({ option }) => option);
  expect(numbers.filter((n) => typeof n === "number").length).toBeGreaterThan(1);
  expect(numbers.filter((n) => typeof n === "number").length).toBeLessThan(long.length);
  expect(numbers).toContain("DNS_SERVERS");
  const { status, body } = await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: { extra_dhcp_opts: [opt("bootfile-url", "x"), opt("dns-server", "fd00:1::1", 4)] } });
  expect([status, body.NeutronError?.message]).toEqual([400, "Invalid input for extra_dhcp_opts. Reason: with 'bootfile-url' the DHCPv6 options of the port take 1025 bytes of an answer, at most 1024 may be taken."]);
});

test("a port with more options than it may have, from when nobody counted them, may have less", async () => {
  const cloud = await made();
  const { port } = await cloud.network("dhcpv6-stateful");
  const opts = ([4, 6] as const).flatMap((version) => Array.from({ length: 90 }, (_, i) => ({ opt_name: String(100 + i), opt_value: "x".repeat(200), ip_version: version })));
  await cloud.h.model.transact({ requestId: "before", call: "test" }, (tx) => tx.put(portDhcpOptsTable, { id: port, opts }));
  const put = async (...list: object[]): Promise<number> => (await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: { extra_dhcp_opts: list } })).status;
  expect(await put(opt("100", "y", 4))).toBe(400);
  expect(await put(opt("100", null, 4))).toBe(200);
  expect(await put(opt("100", null, 6), opt("50", "y", 6))).toBe(400);
  for (let at = 0; at < opts.length; at += 60) expect(await put(...opts.slice(at, at + 60).map(({ opt_name, ip_version }) => opt(opt_name, null, ip_version)))).toBe(200);
  expect(cloud.h.view.get(portDhcpOptsTable, port)).toBeUndefined();
});

test("only ports with an address of a subnet with DHCPv6 come up, each by its own meter", async () => {
  const cloud = await made();
  const { net, port } = await cloud.network("dhcpv6-stateful");
  expect(flowsOf(cloud)).toEqual([expect.stringMatching(/^priority=160,udp6,reg\d+=\S+,vlan_tci=0x0000\/0x1fff,ipv6_dst=ff00::\/13,tp_dst=547 actions=meter:\d+,.*goto_table:\d+$/)]);
  await cloud.network("slaac", { cidr: "fd00:3::/64" });
  await cloud.network("dhcpv6-stateful", { cidr: "fd00:4::/64", enable_dhcp: false, ipv6_ra_mode: null, ipv6_address_mode: null });
  expect(flowsOf(cloud)).toHaveLength(1);
  await cloud.port(net);
  expect(flowsOf(cloud)).toHaveLength(2);
  expect(new Set(flowsOf(cloud).map((line) => /meter:\d+/.exec(line)?.[0])).size, "meters").toBe(2);
  expect((await cloud.h.call("PUT", `/v2.0/ports/${port}`, { port: { fixed_ips: [] } })).status).toBe(200);
  await cloud.h.settled();
  expect(flowsOf(cloud)).toHaveLength(1);
});

test("subnets that were there before the app get their server when it comes, once", async () => {
  const cloud = await made({ disabled: ["dhcp6"] });
  const { port } = await cloud.network("dhcpv6-stateful");
  cloud.h = await cloud.h.restart([]);
  cloud.h.clock.advance(1);
  for (let i = 0; i < 100 && [...cloud.h.view.all(dhcp6ServerTable)].length === 0; i++) await new Promise((done) => setImmediate(done));
  await cloud.h.settled();
  expect([...cloud.h.view.all(dhcp6ServerTable)]).toHaveLength(1);
  expect(held(cloud.ask(port, type.solicit, [client, ia(1)]))).toEqual([["IA_NA", 1, `${cloud.addresses(port)[0]!} 86400/86400`]]);
});
