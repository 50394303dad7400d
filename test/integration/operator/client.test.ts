// The client that people have: Debian's python3-openstackclient, unchanged. Commands go to one interactive session, as each
// start of the client costs seconds.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { exec, spawnLogged, type Running } from "../../../lab/exec.ts";
import { ControllerProcess } from "../../support/process.ts";

let controller: ControllerProcess;
let session: Session;

/** What tests read of an answer unless they say otherwise. */
interface Made {
  readonly id: string;
  readonly fixed_ips: readonly unknown[];
  readonly rules: readonly unknown[];
}

/** An interactive session of the client; its two output streams are one, so that a marker ends a command's output. */
class Session {
  private readonly running: Running;
  private commands = 0;

  constructor(endpoint: string) {
    this.running = spawnLogged(["sh", "-c", "exec openstack 2>&1"], { env: { OS_AUTH_TYPE: "none", OS_ENDPOINT: endpoint, PYTHONUNBUFFERED: "1" } });
  }

  /** All that a command printed. */
  async run(command: string): Promise<string> {
    const mark = `axion-mark-${++this.commands}`;
    const from = this.running.lines.length;
    this.running.child.stdin?.write(`${command}\n${mark}\n`);
    await this.running.waitFor((line) => line.includes(`'${mark}' is not an openstack command`), 30_000);
    const lines = this.running.lines.slice(from);
    const end = lines.findIndex((line) => line.includes(`'${mark}'`));
    // The client suggests commands like the marker of the one before; part of that may have come in time to be taken for its output.
    return lines.slice(0, end).join("\n").replace(/^(?:Did you mean one of these\?\n)?(?: {2}\w.*(?:\n|$))*/, "").trim();
  }

  /** A command that answers with JSON. */
  async json<T = Made>(command: string): Promise<T> {
    const text = await this.run(`${command} -f json`);
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new Error(`openstack ${command}: ${text}`);
    }
  }

  /** A command that prints nothing when it works. */
  async ok(command: string): Promise<void> {
    expect(await this.run(command), command).toBe("");
  }

  end(): Promise<unknown> {
    return this.running.stop("SIGKILL");
  }
}

beforeAll(async () => {
  controller = await ControllerProcess.start();
  session = new Session(`http://127.0.0.1:${controller.apiPort}`);
});

afterAll(async () => {
  await session?.end();
  await controller?.destroy();
});

test("flags on the command line, as the README has them", async () => {
  const { stdout } = await exec(["openstack", "--os-auth-type", "none", "--os-endpoint", `http://127.0.0.1:${controller.apiPort}`, "network", "list", "-f", "json"]);
  expect(JSON.parse(stdout)).toEqual([]);
});

test("extension list", async () => {
  const aliases = (await session.json<{ Alias: string }[]>("extension list --network")).map((e) => e.Alias);
  expect(aliases).toEqual(expect.arrayContaining(["security-group", "router", "allowed-address-pairs", "binding", "extra_dhcp_opt", "port-security", "standard-attr-tag"]));
  expect(await session.json("extension show security-group")).toMatchObject({ alias: "security-group" });
});

test("network: create, list, show, set, tags, delete", async () => {
  const made = await session.json("network create --description first net-a");
  expect(made).toMatchObject({ name: "net-a", description: "first", status: "ACTIVE", admin_state_up: true, mtu: expect.any(Number) as number });
  expect(await session.json("network list")).toEqual([{ ID: made.id, Name: "net-a", Subnets: [] }]);
  await session.ok("network set --name net-b --description second --mtu 1300 --share --disable net-a");
  expect(await session.json("network show net-b")).toMatchObject({ id: made.id, description: "second", mtu: 1300, shared: true, admin_state_up: false });
  await session.ok("network set --tag red --tag blue net-b");
  expect(await session.json("network list --tags red,blue")).toHaveLength(1);
  expect(await session.json("network list --tags green")).toEqual([]);
  await session.ok("network unset --tag red net-b");
  expect((await session.json<{ tags: string[] }>("network show net-b")).tags).toEqual(["blue"]);
  expect(await session.run("network show net-a")).toMatch(/No Network found for net-a/);
  await session.ok("network delete net-b");
  expect(await session.json("network list")).toEqual([]);
});

describe("on a network", () => {
  // Each test has a network of its own, so that one failure is one failure.
  let number = 0;
  let net: string;
  beforeEach(async () => {
    net = `net-${++number}`;
    await session.json(`network create ${net}`);
  });

  test("subnet: create, list, show, set, unset, delete", async () => {
    const made = await session.json(`subnet create --network ${net} --subnet-range 10.1.0.0/24 --allocation-pool start=10.1.0.10,end=10.1.0.99 --dns-nameserver 9.9.9.9 sub-a`);
    expect(made).toMatchObject({ cidr: "10.1.0.0/24", gateway_ip: "10.1.0.1", enable_dhcp: true, allocation_pools: [{ start: "10.1.0.10", end: "10.1.0.99" }] });
    expect(await session.json(`subnet list --network ${net}`)).toMatchObject([{ ID: made.id, Name: "sub-a", Subnet: "10.1.0.0/24" }]);
    await session.ok("subnet set --name sub-b --no-dhcp --gateway 10.1.0.254 --dns-nameserver 8.8.8.8 --host-route destination=10.9.0.0/24,gateway=10.1.0.2 sub-a");
    expect(await session.json("subnet show sub-b")).toMatchObject({
      enable_dhcp: false, gateway_ip: "10.1.0.254", dns_nameservers: ["8.8.8.8", "9.9.9.9"], host_routes: [{ destination: "10.9.0.0/24", nexthop: "10.1.0.2" }],
    });
    await session.ok("subnet unset --dns-nameserver 9.9.9.9 --host-route destination=10.9.0.0/24,gateway=10.1.0.2 sub-b");
    expect(await session.json("subnet show sub-b")).toMatchObject({ dns_nameservers: ["8.8.8.8"], host_routes: [] });
    expect(await session.run(`subnet create --network ${net} --subnet-range 10.1.0.0/25 sub-c`)).toMatch(/overlaps with another subnet/);
    await session.ok("subnet delete sub-b");
    expect(await session.json(`subnet list --network ${net}`)).toEqual([]);
  });

  test("IPv6 subnet and a port on it", async () => {
    expect(await session.json(`subnet create --network ${net} --ip-version 6 --ipv6-ra-mode slaac --ipv6-address-mode slaac --subnet-range fd00:1::/64 sub-6`)).toMatchObject({
      cidr: "fd00:1::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac",
    });
    const port = await session.json(`port create --network ${net} --mac-address fa:16:3e:00:00:07 port-6`);
    expect(port.fixed_ips).toMatchObject([{ ip_address: "fd00:1::f816:3eff:fe00:7" }]);
    await session.ok("port delete port-6");
    await session.ok("subnet delete sub-6");
  });

  test("port: create, list, show, set --fixed-ip, --allowed-address, --security-group, unset, delete", async () => {
    await session.json(`subnet create --network ${net} --subnet-range 10.2.0.0/24 sub`);
    const group = await session.json("security group create group-p");
    const made = await session.json(`port create --network ${net} --fixed-ip subnet=sub,ip-address=10.2.0.7 --no-security-group --mac-address fa:16:3e:00:00:01 port-a`);
    expect(made).toMatchObject({ status: "DOWN", mac_address: "fa:16:3e:00:00:01", fixed_ips: [{ ip_address: "10.2.0.7" }] });
    expect(await session.json(`port list --network ${net}`)).toMatchObject([{ ID: made.id, Name: "port-a", "MAC Address": "fa:16:3e:00:00:01" }]);
    expect(await session.json("port list --fixed-ip ip-address=10.2.0.7")).toHaveLength(1);
    await session.ok("port set --name port-b --fixed-ip subnet=sub,ip-address=10.2.0.8 port-a");
    expect((await session.json<{ fixed_ips: { ip_address: string }[] }>("port show port-b")).fixed_ips.map((f) => f.ip_address).sort()).toEqual(["10.2.0.7", "10.2.0.8"]);
    await session.ok("port unset --fixed-ip subnet=sub,ip-address=10.2.0.7 port-b");
    await session.ok("port set --allowed-address ip-address=10.2.0.100,mac-address=fa:16:3e:00:00:02 port-b");
    await session.ok("port set --security-group group-p port-b");
    expect(await session.json("port show port-b")).toMatchObject({
      fixed_ips: [{ ip_address: "10.2.0.8" }], allowed_address_pairs: [{ ip_address: "10.2.0.100", mac_address: "fa:16:3e:00:00:02" }], security_group_ids: [group.id],
    });
    await session.ok("port unset --allowed-address ip-address=10.2.0.100,mac-address=fa:16:3e:00:00:02 port-b");
    await session.ok("port unset --security-group group-p port-b");
    await session.ok("port set --disable-port-security --device 4711 --disable port-b");
    expect(await session.json("port show port-b")).toMatchObject({
      allowed_address_pairs: [], security_group_ids: [], port_security_enabled: false, device_id: "4711", admin_state_up: false,
    });
    expect(await session.run(`port create --network ${net} --fixed-ip subnet=sub,ip-address=10.2.0.8 port-c`)).toMatch(/in use|already allocated/i);
    await session.ok("port delete port-b");
    await session.ok("subnet delete sub");
    await session.ok("security group delete group-p");
  });

  test("router: create, list, show, set, add and remove subnet and port, routes, delete", async () => {
    const subnet = await session.json(`subnet create --network ${net} --subnet-range 10.3.0.0/24 sub-r`);
    const made = await session.json("router create router-a");
    expect(made).toMatchObject({ name: "router-a", status: "ACTIVE", admin_state_up: true });
    await session.ok("router add subnet router-a sub-r");
    expect(await session.json("router show router-a")).toMatchObject({ interfaces_info: [{ ip_address: "10.3.0.1", subnet_id: subnet.id }] });
    expect(await session.run("router delete router-a")).toMatch(/ still has (?:ports|interfaces)|in use|Failed to delete/i);
    await session.ok("router set --route destination=10.8.0.0/24,gateway=10.3.0.9 router-a");
    expect(await session.json("router show router-a")).toMatchObject({ routes: [{ destination: "10.8.0.0/24", nexthop: "10.3.0.9" }] });
    await session.ok("router unset --route destination=10.8.0.0/24,gateway=10.3.0.9 router-a");
    await session.ok("router remove subnet router-a sub-r");
    await session.json(`port create --network ${net} --fixed-ip subnet=sub-r,ip-address=10.3.0.50 port-r`);
    await session.ok("router add port router-a port-r");
    expect(await session.json("router show router-a")).toMatchObject({ interfaces_info: [{ ip_address: "10.3.0.50" }] });
    await session.ok("router remove port router-a port-r");
    await session.ok("router set --name router-b --disable router-a");
    expect(await session.json("router list")).toMatchObject([{ ID: made.id, Name: "router-b", State: false }]);
    await session.ok("router delete router-b");
    expect(await session.json("router list")).toEqual([]);
    await session.ok("subnet delete sub-r");
  });
});

test("security group and rule: create, list, show, set, delete", async () => {
  const made = await session.json("security group create --description web group-a");
  expect(made.rules).toHaveLength(2);
  const rule = await session.json("security group rule create --protocol tcp --dst-port 80:90 --remote-ip 10.0.0.0/8 group-a");
  expect(rule).toMatchObject({ direction: "ingress", ether_type: "IPv4", protocol: "tcp", port_range_min: 80, port_range_max: 90, remote_ip_prefix: "10.0.0.0/8" });
  const remote = await session.json("security group rule create --egress --ethertype IPv6 --protocol icmp --icmp-type 128 --remote-group group-a group-a");
  expect(remote).toMatchObject({ direction: "egress", remote_group_id: made.id, port_range_min: 128 });
  expect(await session.run("security group rule create --protocol tcp --dst-port 80:90 --remote-ip 10.0.0.0/8 group-a")).toMatch(/already exists/);
  expect(await session.json("security group rule list group-a")).toHaveLength(4);
  expect(await session.json("security group rule list --ingress group-a")).toHaveLength(1);
  expect(await session.json(`security group rule show ${rule.id}`)).toMatchObject({ id: rule.id });
  await session.ok("security group set --name group-b --description database group-a");
  expect(await session.json("security group list")).toContainEqual(expect.objectContaining({ ID: made.id, Name: "group-b", Description: "database" }));
  await session.ok(`security group rule delete ${rule.id} ${remote.id}`);
  expect((await session.json<{ rules: unknown[] }>("security group show group-b")).rules).toHaveLength(2);
  await session.ok("security group delete group-b");
  expect(await session.run("security group show group-b")).toMatch(/No SecurityGroup found for group-b/);
});

test("nothing was logged as an error", () => {
  expect(controller.logged(40)).toEqual([]);
});
