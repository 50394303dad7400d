// Names on real switches: what DHCP clients learn of the service, and what Debian's dig hears from it; a name server outside is Debian's dnsmasq.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const FORWARDER_PORT = 5399;
const SERVICE = "169.254.169.253";
let cloud: Cloud;
let blue: Net;
let web: Instance;
let asker: Instance;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "dns.test", hypervisors: 2, flags: ["--dns-forwarders", `127.0.0.1:${FORWARDER_PORT}`] });
  cloud.lab.node.spawn([
    "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", `--port=${FORWARDER_PORT}`,
    "--pid-file=", "--user=root", "--address=/www.example.org/198.51.100.7", `--txt-record=long.example.org,${"x".repeat(250)},${"y".repeat(250)},${"z".repeat(250)}`,
  ]);
  blue = await cloud.network("10.0.0.0/24");
  await cloud.update("network", blue.network.id, { dns_domain: "blue.example." });
  web = await cloud.instance(cloud.hv(2), blue, { port: { dns_name: "web" }, configure: false });
  asker = await cloud.instance(cloud.hv(1), blue, { configure: false });
}, 120_000);
afterAll(async () => cloud?.destroy());

const lines = async (vm: Vm, ...args: string[]): Promise<string[]> => (await vm.exec(["dig", `@${SERVICE}`, "+short", "+tries=2", "+time=3", ...args])).stdout.split("\n").filter(Boolean);
const status = async (vm: Vm, ...args: string[]): Promise<string | undefined> => /status: ([A-Z]+)/.exec((await vm.exec(["dig", `@${SERVICE}`, "+tries=2", "+time=3", ...args])).stdout)?.[1];

test("a DHCP client learns whom to ask, its domain and its name, and finds the server without a router", async () => {
  expect(await web.vm.dhclient()).toMatchObject({ ip_address: web.ip, domain_name_servers: SERVICE, domain_name: "blue.example", host_name: "web" });
  await asker.vm.dhcp();
  expect((await asker.vm.exec(["ip", "-4", "route"])).stdout).toContain(`${SERVICE} dev eth0`);
});

test("dig is told of ports by name and by address", async () => {
  for (const name of ["web", "web.axion.internal", "web.blue.example"]) expect(await lines(asker.vm, name), name).toEqual([web.ip]);
  expect(await lines(asker.vm, "-x", web.ip)).toEqual(["web.axion.internal."]);
  expect(await lines(asker.vm, `host-${asker.ip.replaceAll(".", "-")}.axion.internal`)).toEqual([asker.ip]);
  expect(await status(asker.vm, "nobody.axion.internal")).toBe("NXDOMAIN");
});

test("a name that changes is answered as it is now, and a deleted port's not at all", async () => {
  await cloud.update("port", web.port.id, { dns_name: "shop" });
  expect(await lines(asker.vm, "shop.blue.example")).toEqual([web.ip]);
  expect(await status(asker.vm, "web.axion.internal")).toBe("NXDOMAIN");
  const gone: Resource = await cloud.create("port", { network_id: blue.network.id, dns_name: "gone" });
  expect(await lines(asker.vm, "gone")).toHaveLength(1);
  await cloud.remove("port", gone.id);
  expect(await status(asker.vm, "gone.axion.internal")).toBe("NXDOMAIN");
});

test("other names are asked for outside; what is too long for the asker is cut, and says so", async () => {
  await until("the name server to answer", async () => (await lines(asker.vm, "www.example.org")).length > 0, { timeoutMs: 10_000 });
  expect(await lines(asker.vm, "www.example.org")).toEqual(["198.51.100.7"]);
  expect((await lines(asker.vm, "long.example.org", "TXT")).join("")).toContain("z".repeat(250));
  expect((await asker.vm.exec(["dig", `@${SERVICE}`, "+noedns", "+ignore", "+tries=2", "+time=3", "long.example.org", "TXT"])).stdout).toMatch(/flags: qr [a-z ]*\btc\b/);
});

test("by TCP it is whole: dig asks so when it is told that an answer is cut, or from the beginning", async () => {
  const { stdout } = await asker.vm.exec(["dig", `@${SERVICE}`, "+noedns", "+tries=2", "+time=3", "long.example.org", "TXT"]);
  expect(stdout).toContain("Truncated, retrying in TCP mode");
  expect(stdout).toContain("z".repeat(250));
  expect(await lines(asker.vm, "+tcp", "shop.blue.example")).toEqual([web.ip]);
  expect(await status(asker.vm, "+tcp", "nobody.axion.internal")).toBe("NXDOMAIN");
  // Several questions on one connection.
  const several = (await asker.vm.exec(["dig", `@${SERVICE}`, "+tcp", "+keepopen", "+short", "shop", "-x", web.ip])).stdout.split("\n").filter(Boolean);
  expect(several).toEqual([web.ip, "shop.axion.internal."]);
});

test("through a router the same service answers, at the router's MAC; a machine of another tenant finds no name of here", async () => {
  const green = await cloud.network("10.7.0.0/24", {}, "p2");
  await cloud.router([green], "p2");
  const other = await cloud.instance(cloud.hv(1), green, { project: "p2", configure: false });
  await other.vm.dhcp();
  expect((await other.vm.exec(["ip", "-4", "route"])).stdout).not.toContain(SERVICE);
  expect(await lines(other.vm, `host-${other.ip.replaceAll(".", "-")}`)).toEqual([other.ip]);
  expect(await status(other.vm, "shop.axion.internal")).toBe("NXDOMAIN");
});

test("IPv6 alone: the link-local address answers", async () => {
  const six = await cloud.network("2001:db8:7::/64", { ip_version: 6, ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  await cloud.router([six]);
  const { vm, port } = await cloud.instance(cloud.hv(2), six, { configure: false, port: { dns_name: "six" } });
  const address = (port.fixed_ips as { ip_address: string }[])[0]!.ip_address;
  await until("an address by router advertisements", async () => (await vm.exec(["ip", "-6", "address", "show", "dev", "eth0", "-tentative"])).stdout.includes(address), { timeoutMs: 30_000 });
  expect((await vm.exec(["dig", "@fe80::a9fe:a9fd%eth0", "+short", "+tries=2", "+time=3", "six", "AAAA"])).stdout.trim()).toBe(address);
});
