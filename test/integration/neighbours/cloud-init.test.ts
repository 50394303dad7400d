// What Debian's cloud-init makes of the built-in metadata: its data sources of OpenStack, before there is a network and after, and of EC2.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cloud, type Instance } from "../../support/cloud.ts";

const PROGRAM = fileURLToPath(new URL("cloud-init.py", import.meta.url));

let dir: string;
let cloud: Cloud;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "axion-cloud-init-"));
  await writeFile(join(dir, "given.json"), JSON.stringify({
    public_keys: ["ssh-ed25519 AAAA operator"], projects: { p1: { devices: { web: { user_data: "#cloud-config\npackages: [htop]\n", meta: { role: "front" } } } }, p2: { user_data: "#!/bin/sh\necho two\n" } },
  }));
  cloud = await Cloud.create({ name: "cloud-init", hypervisors: 1, flags: ["--metadata-file", join(dir, "given.json")] });
}, 60_000);
afterAll(async () => {
  await cloud?.destroy();
  await rm(dir, { recursive: true, force: true });
});

/** Its DHCP client's files are its own, and it tries names that do not exist: with no name server of this machine's it has that at once. */
const run = async ({ vm }: Instance, source: string): Promise<Record<string, unknown>> => {
  const { stdout } = await vm.exec(["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /run; mount --bind /dev/null /etc/resolv.conf; exec /usr/bin/python3 "$@"', "sh", PROGRAM, source, await mkdtemp(join(dir, "of-"))], { timeoutMs: 60_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
};

test("two machines of two tenants with one address at once: each its own id, name, keys, user data and network, before it has an address and after", async () => {
  let mtu = 0;
  const machines = await Promise.all(["p1", "p2"].map(async (project) => {
    const net = await cloud.network("10.0.0.0/24", { dns_nameservers: ["192.0.2.53"], host_routes: [{ destination: "192.0.2.0/24", nexthop: "10.0.0.9" }] }, project);
    await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "2001:db8:9::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" }, project);
    if (project === "p1") await cloud.router([net], project);
    mtu = net.network.mtu as number;
    return cloud.instance(cloud.hv(1), net, { project, configure: false, port: { name: `${project}-web`, device_id: "web", device_owner: "compute:lab", fixed_ips: [{ ip_address: "10.0.0.7" }] } });
  }));
  const said = { p1: "#cloud-config\npackages: [htop]\n", p2: "#!/bin/sh\necho two\n" };
  for (const source of ["OpenStackLocal", "OpenStack", "Ec2"]) {
    if (source !== "OpenStackLocal") await Promise.all(machines.map(({ vm }) => vm.dhcp()));
    const found = await Promise.all(machines.map((machine) => run(machine, source)));
    for (const [i, project] of (["p1", "p2"] as const).entries()) {
      const [{ port }, what] = [machines[i]!, `${project} by ${source}`];
      const mac_address = port.mac_address as string;
      expect(found[i], what).toMatchObject({ found: true, instance_id: "web", hostname: `${project}-web`, keys: ["ssh-ed25519 AAAA operator"], user_data: said[project] });
      expect(found[i]!.metadata, what).toMatchObject(source === "Ec2" ? { "local-ipv4": "10.0.0.7", mac: mac_address } : { project_id: project, meta: project === "p1" ? { role: "front" } : {} });
      const subnets = source === "Ec2"
        ? [{ type: "dhcp4" }, { type: "dhcp6" }]
        : [{ type: "dhcp4", netmask: "255.255.255.0", routes: [{ network: "0.0.0.0", prefix: 0, gateway: "10.0.0.1" }, { network: "192.0.2.0", prefix: 24, gateway: "10.0.0.9" }] }, { type: "ipv6_slaac" }];
      expect(found[i]!.network, what).toMatchObject([{ name: "eth0", mac_address, mtu: source === "Ec2" ? null : mtu, subnets }]);
      // OpenStack's source has that of EC2 beside its own.
      if (source !== "Ec2") expect(found[i]!.ec2, what).toMatchObject({ "instance-id": "web", "local-ipv4": "10.0.0.7", network: { interfaces: { macs: { [mac_address]: { "local-ipv4s": "10.0.0.7" } } } } });
    }
  }
}, 120_000);
