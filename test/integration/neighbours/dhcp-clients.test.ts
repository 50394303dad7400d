// What machines run by themselves: Debian's dhcpcd and systemd-networkd, by DHCPv4, DHCPv6 and router advertisements at once; a tenant's own server behind its own
// relay; and what becomes of questions and answers that are lost. What udhcpc and ISC dhclient make of it: dhcp.test.ts.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

const DNS = "169.254.169.253";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "dhcp-clients", hypervisors: 2 });
});
afterAll(async () => cloud?.destroy());

const addressIn = ({ port }: Instance, subnet: { readonly id: string }): string => (port.fixed_ips as { ip_address: string; subnet_id: string }[]).find((f) => f.subnet_id === subnet.id)!.ip_address;
const shell = async (vm: Vm, command: string): Promise<string> => (await vm.exec(["sh", "-c", command])).stdout;
const inFile = async (name: string, text: string): Promise<string> => {
  const path = join(cloud.lab.dir, name);
  await writeFile(path, text, { mode: 0o755 });
  return path;
};

describe("a network of IPv4, of DHCPv6 and of SLAAC, with a router", () => {
  let net: Net;
  let stateful: { readonly id: string };
  let slaac: { readonly id: string };
  beforeAll(async () => {
    net = await cloud.network("10.0.0.0/24");
    const v6 = (cidr: string, mode: string, more: object = {}) => cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr, ipv6_ra_mode: mode, ipv6_address_mode: mode, ...more });
    stateful = await v6("fd00:9::/64", "dhcpv6-stateful", { gateway_ip: "fd00:9::1", host_routes: [{ destination: "2001:db8:5::/48", nexthop: "fd00:9::1" }] });
    slaac = await v6("fd00:a::/64", "slaac");
    await cloud.router([net, ...[stateful, slaac].map((subnet) => ({ network: net.network, subnet }))]);
  });

  /** By its kernel: an address of each subnet, whichever program set it, and the routers' ways. */
  const configured = async (machine: Instance): Promise<void> => {
    const { vm, ip } = machine;
    await until("all addresses", async () => {
      const have = await vm.addresses();
      return have.includes(`${ip}/24`) && have.includes(`${addressIn(machine, stateful)}/128`) && have.includes(`${addressIn(machine, slaac)}/64`);
    }, { timeoutMs: 30_000 });
    expect(await vm.addresses(), "nothing else").toHaveLength(3);
    await until("both default routes", async () => /^default via 10\.0\.0\.1/m.test(await shell(vm, "ip -4 route")) && /^default via fe80::/m.test(await shell(vm, "ip -6 route")), { timeoutMs: 15_000 });
    expect(await shell(vm, "ip -o link show eth0; ip -6 route")).toContain(`mtu ${net.network.mtu as number}`);
  };

  test("dhcpcd: rapid commit of both families, and all that it is told", async () => {
    const machine = await cloud.instance(cloud.hv(1), net, { configure: false, port: { name: "web" } });
    const conf = await inFile("dhcpcd.conf", "duid\nnoarp\noption rapid_commit, domain_name_servers, domain_name, host_name, interface_mtu, classless_static_routes, dhcp6_name_servers, dhcp6_domain_search\n");
    const script = await inFile("dhcpcd-said.sh", `#!/bin/sh\nenv | sed -n "s/^\\(new_\\|nd1_\\)/$reason &/p"\n`);
    const running = machine.vm.spawn(["unshare", "-m", "sh", "-c", `for at in /run /var/lib/dhcpcd; do mount -t tmpfs tmpfs $at; done; exec dhcpcd -B -f ${conf} --script ${script} eth0`]);
    try {
      await configured(machine);
      const told = (why: string) => Object.fromEntries(running.lines.flatMap((l) => (l.startsWith(`${why} `) ? [l.slice(why.length + 1).split("=", 2) as [string, string]] : [])));
      await until("all reasons", () => Promise.resolve(["BOUND", "BOUND6", "ROUTERADVERT"].every((why) => Object.keys(told(why)).length > 0)));
      expect(told("BOUND")).toMatchObject({ new_ip_address: machine.ip, new_rapid_commit: "", new_dhcp_message_type: "5", new_domain_name_servers: DNS, new_domain_name: "axion.internal", new_interface_mtu: String(net.network.mtu) });
      expect(told("BOUND6")).toMatchObject({ new_dhcp6_ia_na1_ia_addr1: addressIn(machine, stateful), new_dhcp6_rapid_commit: "", new_dhcp6_name_servers: "fe80::a9fe:a9fd%eth0" });
      expect(told("ROUTERADVERT")).toMatchObject({ nd1_flags: "M", nd1_mtu: String(net.network.mtu), nd1_rdnss1_servers: "fe80::a9fe:a9fd%eth0", nd1_dnssl1_search: "axion.internal" });
    } finally {
      await running.stop("SIGTERM"); // its helpers go with it
    }
  }, 90_000);

  test("systemd-networkd: the routes of advertisements as well; it asks for a prefix, and goes on without one", async () => {
    const machine = await cloud.instance(cloud.hv(2), net, { configure: false });
    // A container's, as far as it sees: no udev that it would wait for.
    const running = machine.vm.spawn(["unshare", "-m", "sh", "-c", `
      mount -t tmpfs tmpfs /run; mount -o remount,ro /sys; mkdir -p /run/systemd/network
      printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=yes\\nIPv6AcceptRA=yes\\n' >/run/systemd/network/eth0.network
      exec env SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-networkd
    `]);
    try {
      await configured(machine);
      await until("the route", async () => /^2001:db8:5::\/48 via fe80::/m.test(await shell(machine.vm, "ip -6 route")), { timeoutMs: 15_000 });
    } finally {
      await running.stop("SIGKILL");
    }
  }, 90_000);

  test("what is lost is asked for again: leases, and names by UDP and by TCP", async () => {
    const machine = await cloud.instance(cloud.hv(1), net, { configure: false, port: { dns_name: "asker" } });
    const { vm } = machine;
    // Where frames leave for the machine and from it, so that programs which read frames lose them as well.
    const lose = `numgen ${nightly ? "random mod 100" : "inc mod 8"} < 1 counter drop`;
    const losing = (device: string) => `table netdev lossy {\n chain c {\n type filter hook egress device ${device} priority 0;\n ${lose}\n }\n}\n`;
    const sides = [[vm, "eth0"], [cloud.hv(1), vm.nic.tap]] as const;
    for (const [side, device] of sides) await side.exec(["nft", "-f", "-"], { input: losing(device) });
    for (let n = 0; n < (nightly ? 200 : 3); n++) expect((await vm.dhcp({ timeoutMs: 20_000 })).ip).toBe(machine.ip);
    const asks = async (times: number, ...how: string[]): Promise<string[]> => {
      const file = await inFile(`asked${how.join("")}`, "asker.axion.internal\n".repeat(times));
      return (await vm.exec(["dig", `@${DNS}`, "+short", "+tries=8", "+time=1", ...how, "-f", file], { timeoutMs: 600_000 })).stdout.split("\n").filter((line) => line !== "" && !line.startsWith(";;"));
    };
    const times = nightly ? 2000 : 12;
    expect(await Promise.all([asks(times), asks(times / 2, "+tcp")])).toEqual([times, times / 2].map((n) => Array<string>(n).fill(machine.ip)));
    const counted = await Promise.all(sides.map(async ([side]) => Number(/counter packets (\d+)/.exec((await side.exec(["nft", "list", "table", "netdev", "lossy"])).stdout)![1])));
    for (const [side] of sides) await side.exec(["nft", "delete", "table", "netdev", "lossy"]);
    for (const lost of counted) expect(lost).toBeGreaterThan(0);
  }, nightly ? 1_800_000 : 120_000);
});

test("a machine that is a router: systemd-networkd is delegated a prefix, gives an address of it to what is behind, and another network reaches that by the router", async () => {
  const pool = await cloud.create("subnetpool", { name: "six", prefixes: ["2001:db8:40::/48"], min_prefixlen: 56, default_prefixlen: 64 });
  const of = async (name: string): Promise<Net> => {
    const network = await cloud.create("network", { name });
    return { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, subnetpool_id: pool.id, ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" }) };
  };
  const [near, far] = [await of("near"), await of("far")];
  await cloud.router([near, far]);
  const wish = { opt_name: "ia-pd", opt_value: "60", ip_version: 6 };
  const [cpe, other] = [await cloud.instance(cloud.hv(1), near, { configure: false, port: { extra_dhcp_opts: [wish] } }), await cloud.instance(cloud.hv(2), far, { configure: false })];
  const [prefix] = (cpe.port.allowed_address_pairs as { ip_address: string }[]).map((p) => p.ip_address);
  expect(prefix).toMatch(/^2001:db8:40:.*::\/60$/);
  await cpe.vm.configure("link add lan0 type veth peer name lan1", "link set lan0 up", "link set lan1 up");
  const networkd = (vm: Vm, more: string): Running => vm.spawn(["unshare", "-m", "sh", "-c", `
    mount -t tmpfs tmpfs /run; mount -o remount,ro /sys; mkdir -p /run/systemd/network
    printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv6\\nIPv6AcceptRA=yes\\n' >/run/systemd/network/eth0.network
    ${more}
    exec env SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-networkd
  `]);
  const lan = "printf '[Match]\\nName=lan0\\n[Network]\\nDHCPPrefixDelegation=yes\\nIPv6AcceptRA=no\\nConfigureWithoutCarrier=yes\\n' >/run/systemd/network/lan0.network";
  const running = [networkd(cpe.vm, lan), networkd(other.vm, "")];
  try {
    const inside = await until("an address of the prefix", async () => (await cpe.vm.addresses({ device: "lan0" })).find((a) => a.startsWith(prefix!.slice(0, prefix!.indexOf("::") - 1))), { timeoutMs: 30_000 });
    await until("the other machine's address", async () => (await other.vm.addresses()).includes(`${other.ip}/128`), { timeoutMs: 30_000 });
    await until("an answer", () => other.vm.reaches(inside!.split("/")[0]!), { timeoutMs: 20_000 });
    // What is taken back is routed there no more.
    await cloud.update("port", cpe.port.id, { extra_dhcp_opts: [{ ...wish, opt_value: null }] });
    await cloud.renewed();
    expect(await other.vm.reaches(inside!.split("/")[0]!)).toBe(false);
  } finally {
    await Promise.all(running.map((r) => r.stop("SIGKILL")));
  }
}, 120_000);

test("a tenant's own server behind its own relay: where the network serves nobody, both are left alone", async () => {
  const [near, far] = [await cloud.network("10.1.0.0/24", { enable_dhcp: false }), await cloud.network("10.2.0.0/24", { enable_dhcp: false })];
  const open = { port_security_enabled: false, security_groups: [] };
  const server = await cloud.instance(cloud.hv(1), far, { port: open });
  const relay = await cloud.instance(cloud.hv(2), near, { port: open });
  const leg = await cloud.create("port", { network_id: far.network.id, ...open });
  await relay.vm.addNic({ hypervisor: cloud.hv(2), portId: leg.id, mac: leg.mac_address as string, mtu: far.network.mtu as number });
  const legIp = (leg.fixed_ips as { ip_address: string }[])[0]!.ip_address;
  await relay.vm.configure("link set eth1 up", `addr add ${legIp}/24 dev eth1`);
  await cloud.active(leg.id);
  await server.vm.configure(`route add 10.1.0.0/24 via ${legIp}`);
  await relay.vm.sysctl("net.ipv4.ip_forward=1");
  const group = await cloud.create("security_group", { name: "served" });
  await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", protocol: "udp", port_range_min: 68, port_range_max: 68 });
  const client = await cloud.instance(cloud.hv(1), near, { configure: false, port: { security_groups: [group.id] } });
  const dnsmasq = (vm: Vm, ...args: string[]): Running => vm.spawn(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--pid-file=", "--user=root", "--log-dhcp", "--log-facility=-", ...args]);
  const running = [
    dnsmasq(server.vm, `--dhcp-leasefile=${cloud.lab.dir}/relayed.leases`, "--dhcp-range=10.1.0.0,static,255.255.255.0", `--dhcp-host=${client.port.mac_address as string},${client.ip}`),
    dnsmasq(relay.vm, `--dhcp-relay=${relay.ip},${server.ip}`),
  ];
  try {
    await Promise.all(running.map((r) => r.waitFor(/started/)));
    const lease = await client.vm.dhcp({ timeoutMs: 20_000 });
    expect(lease).toMatchObject({ ip: client.ip, server: server.ip });
    expect(running[0]!.lines.join("\n")).toMatch(/DHCPACK/);
  } finally {
    await Promise.all(running.map((r) => r.stop("SIGKILL")));
  }
}, 90_000);
