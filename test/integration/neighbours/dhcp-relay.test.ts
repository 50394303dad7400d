// A machine of a tenant that relays DHCP for others behind it, by ISC dhcrelay, whose clients are udhcpc and dhclient.
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Outside } from "../../../lab/vm.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";

const CLIENT = "fa:16:3e:0c:00:01";

let cloud: Cloud;
/** With 10.0.0.5, and 10.5.0.1 and fd00:5::1 as which it is the gateway of who is behind its lan0. */
let relay: Instance;
let client: Outside;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "dhcp-relay.test" });
  const net = await cloud.network("10.0.0.0/24");
  await cloud.router([net]);
  const network_id = net.network.id;
  await cloud.create("subnet", { network_id, ip_version: 4, cidr: "10.5.0.0/24", gateway_ip: "10.5.0.1" });
  await cloud.create("subnet", { network_id, ip_version: 6, cidr: "fd00:5::/64", gateway_ip: "fd00:5::1", ipv6_ra_mode: "dhcpv6-stateful", ipv6_address_mode: "dhcpv6-stateful" });
  const at = (...ips: string[]) => ({ fixed_ips: ips.map((ip_address) => ({ ip_address })) });
  relay = await cloud.instance(cloud.hv(1), net, { port: at("10.0.0.5", "10.5.0.1", "fd00:5::1") });
  // A port of the network that no host has: its machine is behind the relay.
  await cloud.create("port", { network_id, mac_address: CLIENT, ...at("10.5.0.20", "fd00:5::20") });
  await relay.vm.configure("link add lan0 type bridge", "addr add 10.5.0.1/24 dev lan0", "addr add fd00:5::1/64 dev lan0 nodad", "link set lan0 up");
  client = new Outside(cloud.lab, "client");
  await client.create("lan0", relay.vm.netns, "to-client", CLIENT);
});
afterAll(async () => cloud?.destroy());

async function relaying(args: readonly string[], during: () => Promise<void>): Promise<void> {
  const running = relay.vm.spawn(["dhcrelay", "-d", "--no-pid", ...args]);
  try {
    await running.waitFor(/^Sending on\s+Socket/);
    await during();
  } finally {
    await running.stop("SIGKILL");
  }
}

test("DHCPv4: a lease by the relay, of the subnet that is behind it, and by the link that it selects", async () => {
  await relaying(["-iu", "eth0", "-id", "lan0", "10.0.0.1"], async () => {
    expect(await client.dhcp({ timeoutMs: 20_000 })).toMatchObject({ ip: "10.5.0.20", prefixLength: 24, routers: ["10.5.0.1"], server: "10.5.0.1" });
    // It knows the server by the gateway's address, which is the relay's, and so renews by it at once: by unicast.
    const udhcpc = client.spawn(["udhcpc", "-f", "-i", "eth0", "-s", "/bin/true"]);
    try {
      const leases = (): number => udhcpc.lines.filter((line) => line.includes("lease of 10.5.0.20 obtained from 10.5.0.1")).length;
      await until("a lease", () => leases() === 1, { timeoutMs: 20_000 });
      udhcpc.child.kill("SIGUSR1");
      await until("a lease that is renewed", () => leases() === 2, { timeoutMs: 20_000 });
      expect(udhcpc.lines.join("\n")).toMatch(/sending renew to server 10\.5\.0\.1/);
    } finally {
      await udhcpc.stop("SIGKILL");
    }
  });
  // Its own address as giaddr, the subnet in option 82 (RFC 3527); and the server by the address that it has everywhere, as where no router answers for one of the subnet's.
  await relay.vm.configure("route add 169.254.0.1 dev eth0", "neigh add 169.254.0.1 lladdr fe:ff:ff:ff:ff:01 dev eth0");
  await relaying(["-U", "eth0", "-id", "lan0", "169.254.0.1"], async () => {
    const lease = await client.dhclient({ timeoutMs: 20_000 });
    expect([lease.ip_address, lease.dhcp_server_identifier]).toEqual(["10.5.0.20", "10.5.0.1"]);
  });
}, 90_000);

test("DHCPv6: an address by the relay", async () => {
  await until("the client's link-local address", async () => (await client.exec(["ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link", "-tentative"])).stdout !== "", { timeoutMs: 10_000 });
  for (const group of ["", "ff05::1:3%"]) {
    await relaying(["-6", "-I", "-l", "lan0", "-u", `${group}eth0`], async () => {
      expect((await client.dhclient({ family: 6, timeoutMs: 30_000 })).ip6_address).toBe("fd00:5::20");
    });
  }
}, 90_000);
