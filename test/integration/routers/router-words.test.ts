// What routers say of themselves to VMs that speak IPv6: advertisements, asked and unasked, and answers in their name.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { linkLocal } from "packet-codec";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2, flags: ["--ra-interval", "4"] });
});
afterAll(async () => {
  await cloud.destroy();
});

const SLAAC = { ip_version: 6, ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" } as const;

async function slaac(cidr: string): Promise<Net> {
  const network = await cloud.create("network", { name: `net ${cidr}` });
  return { network, subnet: await cloud.create("subnet", { network_id: network.id, cidr, ...SLAAC }) };
}
const v6Of = (port: Resource): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
const routes = async (vm: Vm): Promise<string> => (await vm.exec(["ip", "-6", "route"])).stdout;
const defaultRoute = (vm: Vm): Promise<unknown> => until("a default route", async () => /default via fe80::/.test(await routes(vm)), { timeoutMs: 20_000 });
const hasAddress = (vm: Vm, ip: string): Promise<unknown> => until(`address ${ip}`, async () => (await vm.addresses()).includes(`${ip}/64`), { timeoutMs: 20_000 });

/** A VM that has what its router told it. */
async function told(hv: number, net: Net, port: Record<string, unknown> = {}): Promise<Instance> {
  const instance = await cloud.instance(cloud.hv(hv), net, { configure: false, port });
  await hasAddress(instance.vm, v6Of(instance.port));
  await defaultRoute(instance.vm);
  return instance;
}

describe("answers in a router's name", () => {
  test("two VMs behind a router keep their default routes while they talk for longer than a neighbour is believed", { tags: "long", timeout: 90_000 }, async () => {
    const nets = [await slaac("fd00:a1::/64"), await slaac("fd00:a2::/64")] as const;
    await cloud.router(nets);
    const open = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv6" });
    const a = await told(1, nets[0], { security_groups: [open.id] });
    const b = await told(2, nets[1], { security_groups: [open.id] });
    for (const { vm } of [a, b]) await vm.sysctl("net.ipv6.neigh.eth0.base_reachable_time_ms=1000", "net.ipv6.neigh.eth0.delay_first_probe_time=1");
    await until("an answer", () => a.vm.reaches(v6Of(b.port)));
    const { received } = await a.vm.ping(v6Of(b.port), { count: 25, intervalMs: 500 });
    expect(received).toBe(25);
    for (const { vm } of [a, b]) expect(await routes(vm)).toMatch(/default via fe80::/);
  });

  test("the flags of answers: a router's by its link-local and its global address, a host's; whether asked by all or alone", async () => {
    const net = await slaac("fd00:a3::/64");
    const router = await cloud.router([net]);
    const port = ((await cloud.call("GET", `/v2.0/ports?device_id=${router.id}`)).body as unknown as { ports: Resource[] }).ports[0]!;
    const [a, b] = [await told(1, net), await told(2, net)];
    const asked: [target: string, flags: RegExp][] = [
      [linkLocal(port.mac_address as string), /Flags \[router, solicited, override\]/], [v6Of(port), /Flags \[router, solicited, override\]/],
      [v6Of(b.port), /Flags \[solicited, override\]/], [linkLocal(b.port.mac_address as string), /Flags \[solicited, override\]/],
    ];
    for (const [target, flags] of asked) {
      const capture = await a.vm.tcpdump("icmp6 and ip6[40] == 136", { verbose: true });
      await a.vm.exec(["ip", "-6", "neigh", "flush", "dev", "eth0"]);
      await a.vm.ping(target, { count: 1 });
      await until(`an answer for ${target}`, () => Promise.resolve(capture.lines.some((line) => line.includes(`tgt is ${target}`) && flags.test(line))), { timeoutMs: 3000 }).catch((error: unknown) => {
        throw new Error(`${(error as Error).message}: ${capture.lines.join("\n")}`);
      });
      await capture.stop();
    }
  }, 90_000);

  test("who looks for a duplicate of a router's address hears that it has one, on either host; of one that is free does not", async () => {
    const net = await slaac("fd00:a5::/64");
    const four = await cloud.create("subnet", { network_id: net.network.id, ip_version: 4, cidr: "10.77.0.0/24" });
    const router = await cloud.router([net, { ...net, subnet: four }]);
    const ports = ((await cloud.call("GET", `/v2.0/ports?device_id=${router.id}`)).body as unknown as { ports: Resource[] }).ports;
    const six = ports.find((p) => (p.fixed_ips as { ip_address: string }[]).some((f) => f.ip_address.includes(":")))!;
    for (const hv of [1, 2]) {
      const { vm } = await told(hv, net);
      for (const [ip, failed] of [[v6Of(six), true], [linkLocal(six.mac_address as string), true], ["fd00:a5::77", false]] as const) {
        await vm.configure(`addr add ${ip}/64 dev eth0`);
        await until("the end of the probe", async () => {
          const line = (await vm.exec(["ip", "-6", "addr", "show", "dev", "eth0"])).stdout.split("\n").find((l) => l.includes(` ${ip}/64`));
          if (line?.includes("tentative") === true && !line.includes("dadfailed")) return false;
          expect(line?.includes("dadfailed"), `${ip}: ${line}`).toBe(failed);
          return true;
        });
        await vm.configure(`addr del ${ip}/64 dev eth0`);
      }
      const duplicate = async (ip: string): Promise<boolean> => (await vm.exec(["arping", "-D", "-I", "eth0", "-c", "2", "-w", "2", ip], { allowFailure: true })).exitCode === 1;
      expect(await duplicate("10.77.0.1")).toBe(true);
      expect(await duplicate("10.77.0.99")).toBe(false);
    }
  }, 60_000);

  test.each([{ what: "no port security", port: { port_security_enabled: false, security_groups: [] } }])("a VM that is a router says so itself: $what", { tags: "long", timeout: 90_000 }, async ({ port }) => {
    const network = await cloud.create("network", { name: "behind a VM" });
    const net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:a4::/64" }) };
    const gateway = await cloud.instance(cloud.hv(1), net, { port });
    await gateway.vm.sysctl("net.ipv6.conf.all.forwarding=1");
    await gateway.vm.configure("link set lo up", "addr add fd00:ffff::1/128 dev lo");
    for (const hv of [1, 2]) {
      const host = await cloud.instance(cloud.hv(hv), net);
      await host.vm.sysctl("net.ipv6.neigh.eth0.base_reachable_time_ms=1000", "net.ipv6.neigh.eth0.delay_first_probe_time=1");
      const advertise = `import socket\ns=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58)\ns.setsockopt(41,18,255)\ns.setsockopt(41,16,255)\ns.bind(("${linkLocal(gateway.port.mac_address as string)}",0,0,socket.if_nametoindex("eth0")))\ns.sendto(bytes.fromhex("8600000040000708"+"00"*8),("ff02::1",0,0,socket.if_nametoindex("eth0")))`;
      await until("its route", async () => {
        await gateway.vm.exec(["python3", "-c", advertise], { allowFailure: true }); // until its address is its own
        return /default via fe80::/.test(await routes(host.vm));
      }, { intervalMs: 500, timeoutMs: 15_000 });
      expect((await host.vm.ping("fd00:ffff::1", { count: 16, intervalMs: 500 })).received).toBe(16);
      expect(await routes(host.vm)).toMatch(/default via fe80::/);
    }
  });
});

describe("a VM that never asks", () => {
  let net: Net;
  let router: Resource;
  let vms: Instance[];

  async function silent(hv: number): Promise<Instance> {
    const instance = await cloud.instance(cloud.hv(hv), net, { configure: false });
    await instance.vm.sysctl("net.ipv6.conf.eth0.router_solicitations=0");
    await instance.vm.configure("link set eth0 down", "link set eth0 up");
    await instance.vm.exec(["ip", "-6", "route", "flush", "root", "default", "dev", "eth0"], { allowFailure: true });
    return instance;
  }
  const everywhere = (check: (i: Instance) => Promise<unknown>): Promise<unknown> => Promise.all(vms.map(check));
  const join = async (subnet: Resource, method = "add", to = router): Promise<void> => {
    expect((await cloud.call("PUT", `/v2.0/routers/${to.id}/${method}_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
  };

  beforeAll(async () => {
    net = await slaac("fd00:b1::/64");
    router = await cloud.router([net]);
    vms = [await silent(1), await silent(2)];
  });

  test("hears of its router again and again, at no longer intervals than the setting says", { tags: "long", timeout: 60_000 }, async () => {
    const captures = await Promise.all(vms.map(({ vm }) => vm.tcpdump("icmp6 and ip6[40] == 134")));
    await until("five advertisements everywhere", () => Promise.resolve(captures.every((c) => c.lines.length >= 5)), { timeoutMs: 40_000 });
    for (const capture of captures) {
      const at = (await capture.stop()).lines.map((line) => Number(line.split(" ")[0]));
      // The first ones have the longer interval of a port that has just come.
      for (const [i, time] of at.entries()) if (i > 0) expect(time - at[i - 1]!).toBeLessThan(5);
    }
    await everywhere(({ vm }) => defaultRoute(vm));
    await everywhere(({ vm, port }) => hasAddress(vm, v6Of(port)));
  });

  test("hears of another prefix, and that it is over", async () => {
    const second = await cloud.create("subnet", { network_id: net.network.id, cidr: "fd00:b2::/64", ...SLAAC });
    await join(second);
    const deprecated = async ({ vm }: Instance): Promise<boolean | undefined> => {
      const line = (await vm.exec(["ip", "-6", "addr", "show", "dev", "eth0"])).stdout.split("\n").find((l) => l.includes("fd00:b2:"));
      return line?.includes("deprecated");
    };
    await everywhere((i) => until("the second address", async () => (await deprecated(i)) === false, { timeoutMs: 5000 }));
    await join(second, "remove");
    await everywhere((i) => until("its end", async () => (await deprecated(i)) === true, { timeoutMs: 5000 }));
    await everywhere(async ({ vm }) => expect(await routes(vm)).toMatch(/default via fe80::/));
  }, 60_000);

  test("hears that its router is gone, and at once of another", async () => {
    const routersOf = async ({ vm }: Instance): Promise<string[]> => [...(await routes(vm)).matchAll(/(?:default|nexthop) via (fe80::\S+)/g)].map((m) => m[1]!);
    const [old] = await routersOf(vms[0]!);
    const other = await cloud.create("router", { name: "other" });
    await join(net.subnet, "remove");
    await everywhere((i) => until("no router", async () => (await routersOf(i)).length === 0, { timeoutMs: 5000 }));
    await join(net.subnet, "add", other);
    await everywhere((i) => until("the other router", async () => {
      const now = await routersOf(i);
      return now.length === 1 && now[0] !== old;
    }, { timeoutMs: 3000 }));
    await cloud.update("router", other.id, { admin_state_up: false });
    await everywhere((i) => until("no router", async () => (await routersOf(i)).length === 0, { timeoutMs: 5000 }));
  }, 60_000);
});
