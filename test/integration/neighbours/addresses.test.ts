// Addresses, from the API that gives them out to the clients that ask for them: many calls at once, pools that run dry, the smallest and
// the largest prefixes; leases that are renewed without a router, kept over a reboot, or refused.
import { writeFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { BROADCAST } from "../../support/dhcp-client.ts";

let cloud: Cloud;
beforeAll(async () => {
  cloud = await Cloud.create({ name: "addresses.test" });
});
afterAll(async () => cloud?.destroy());

const subnetOf = (network: Resource, cidr: string, more: Record<string, unknown> = {}): Promise<Resource> =>
  cloud.create("subnet", { network_id: network.id, ip_version: cidr.includes(":") ? 6 : 4, cidr, ...more });
const netOf = async (cidr: string, more: Record<string, unknown> = {}): Promise<Net> => {
  const network = await cloud.create("network", {});
  return { network, subnet: await subnetOf(network, cidr, more) };
};
type Fixed = readonly { readonly subnet_id: string; readonly ip_address: string }[];
const ipsOf = (port: Resource): string[] => (port.fixed_ips as Fixed).map((f) => f.ip_address);

describe("many calls at once", () => {
  const CALLS = 30;
  interface Answer {
    readonly status: number;
    readonly body: any;
  }
  const together = (call: (i: number) => Promise<Answer>): Promise<Answer[]> => Promise.all(Array.from({ length: CALLS }, (_, i) => call(i)));
  /** How many answers there were of each kind: "201", "409 IpAddressAlreadyAllocated". */
  function counted(answers: readonly Answer[]): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { status, body } of answers) {
      const kind = status < 300 ? String(status) : `${status} ${String(body?.NeutronError?.type)}`;
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  }
  const port = (net: Net, more: Record<string, unknown> = {}): Promise<Answer> => cloud.call("POST", "/v2.0/ports", { port: { network_id: net.network.id, ...more } });

  test("for one address: one has it, the others are told that it is taken, of either family", async () => {
    const net = await netOf("10.10.0.0/24");
    const six = await subnetOf(net.network, "fd10::/64");
    for (const ip_address of ["10.10.0.77", "fd10::77"]) {
      expect(counted(await together(() => port(net, { fixed_ips: [{ ip_address }] })))).toEqual({ 201: 1, "409 IpAddressAlreadyAllocated": CALLS - 1 });
    }
    // And by changes of ports that are there.
    const ports = (await cloud.call("POST", "/v2.0/ports", { ports: Array.from({ length: CALLS }, () => ({ network_id: net.network.id, fixed_ips: [{ subnet_id: six.id }] })) })).body.ports as unknown as Resource[];
    expect(counted(await together((i) => cloud.call("PUT", `/v2.0/ports/${ports[i]!.id}`, { port: { fixed_ips: [{ ip_address: "10.10.0.88" }] } })))).toEqual({ 200: 1, "409 IpAddressAlreadyAllocated": CALLS - 1 });
    // And as a gateway: of all routers one has it.
    const routers = (await cloud.call("POST", "/v2.0/routers", { routers: Array.from({ length: CALLS }, () => ({})) })).body.routers as unknown as Resource[];
    const connected = await together((i) => cloud.call("PUT", `/v2.0/routers/${routers[i]!.id}/add_router_interface`, { subnet_id: net.subnet.id }));
    expect(connected.filter((a) => a.status === 200)).toHaveLength(1);
    expect(counted(connected)).toEqual({ 200: 1, "409 IpAddressAlreadyAllocated": CALLS - 1 });
  });

  test("for one MAC, and for overlapping subnets", async () => {
    const net = await netOf("10.11.0.0/24");
    expect(counted(await together(() => port(net, { mac_address: "fa:16:3e:11:11:11" })))).toEqual({ 201: 1, "409 MacAddressInUse": CALLS - 1 });
    const subnets = await together((i) => cloud.call("POST", "/v2.0/subnets", { subnet: { network_id: net.network.id, ip_version: 4, cidr: i % 2 === 0 ? "10.12.0.0/16" : `10.12.${i}.0/24` } }));
    const made = subnets.filter((a) => a.status === 201).map((a) => (a.body.subnet as Resource).cidr as string);
    // Either the wide one alone, or narrow ones alone; never both.
    expect(made.includes("10.12.0.0/16") ? made : made.filter((c) => c.endsWith("/16"))).toHaveLength(made.includes("10.12.0.0/16") ? 1 : 0);
    expect(Object.keys(counted(subnets)).sort()).toEqual(["201", "400 InvalidInput"]);
  });

  test("of a pool that is too small: each address once, then none; what is given back is given again", async () => {
    const net = await netOf("10.13.0.0/28", { allocation_pools: [{ start: "10.13.0.3", end: "10.13.0.9" }, { start: "10.13.0.11", end: "10.13.0.13" }] });
    const answers = await together(() => port(net));
    expect(counted(answers)).toEqual({ 201: 10, "409 IpAddressGenerationFailure": CALLS - 10 });
    const made = answers.filter((a) => a.status === 201).map((a) => a.body.port as Resource);
    expect(made.flatMap(ipsOf).sort()).toEqual(["3", "4", "5", "6", "7", "8", "9", "11", "12", "13"].map((n) => `10.13.0.${n}`).sort());
    // Outside of the pools a named one is still to be had.
    expect(ipsOf(await cloud.create("port", { network_id: net.network.id, fixed_ips: [{ ip_address: "10.13.0.2" }] }))).toEqual(["10.13.0.2"]);
    // Half of them are deleted while others ask: nobody has an address that another has, and in the end the pool is full again.
    const [gone, asked] = await Promise.all([
      Promise.all(made.slice(0, 5).map((p) => cloud.call("DELETE", `/v2.0/ports/${p.id}`))),
      together(() => port(net)),
    ]);
    expect(gone.map((a) => a.status)).toEqual([204, 204, 204, 204, 204]);
    const more = await together(() => port(net));
    expect([...asked, ...more].filter((a) => a.status === 201)).toHaveLength(5);
    const all = ((await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}`)).body.ports as unknown as Resource[]).flatMap(ipsOf);
    expect(new Set(all).size).toBe(all.length);
    expect(all).toHaveLength(11);
  });

  test("to delete one thing: one does, the others find nothing; what stands on it is there or is not", async () => {
    const net = await netOf("10.14.0.0/24");
    const one = await cloud.create("port", { network_id: net.network.id });
    expect(counted(await together(() => cloud.call("DELETE", `/v2.0/ports/${one.id}`)))).toEqual({ 204: 1, "404 PortNotFound": CALLS - 1 });
    // A network is deleted while ports are made on it: either it stays with its ports, or it is gone with none.
    for (let round = 0; round < 3; round++) {
      const raced = await netOf(`10.15.${round}.0/24`);
      const [removed, ports] = await Promise.all([
        cloud.call("DELETE", `/v2.0/networks/${raced.network.id}`),
        Promise.all(Array.from({ length: 8 }, () => port(raced))),
      ]);
      const left = (await cloud.call("GET", `/v2.0/ports?network_id=${raced.network.id}`)).body.ports as unknown as Resource[];
      const still = await cloud.call("GET", `/v2.0/networks/${raced.network.id}`);
      if (removed.status === 204) expect([still.status, left.length, ports.filter((a) => a.status === 201).length]).toEqual([404, 0, 0]);
      else expect([removed.status, still.status, left.length]).toEqual([409, 200, ports.filter((a) => a.status === 201).length]);
    }
    // A subnet, while a router is connected to it.
    const raced = await netOf("10.16.0.0/24");
    const router = await cloud.create("router", {});
    const [removed, added] = await Promise.all([cloud.call("DELETE", `/v2.0/subnets/${raced.subnet.id}`), cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: raced.subnet.id })]);
    expect([[204, 404], [409, 200]]).toContainEqual([removed.status, added.status]);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  });
});

describe("the smallest and the largest prefixes", () => {
  let open: Resource;
  beforeAll(async () => {
    open = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
  });
  const on = (hv: number, net: Net, ip?: string): Promise<Instance> =>
    cloud.instance(cloud.hv(hv), net, { port: { security_groups: [open.id], ...(ip !== undefined && { fixed_ips: [{ subnet_id: net.subnet.id, ip_address: ip }] }) } });

  test("two VMs are all of a /31, and of a /127; one is all of a /32, and of a /128; a router and one VM are a /31", async () => {
    const pair = await netOf("10.17.0.0/31", { enable_dhcp: false, gateway_ip: null });
    expect(pair.subnet.allocation_pools).toEqual([{ start: "10.17.0.0", end: "10.17.0.1" }]);
    const [a, b] = [await on(1, pair), await on(2, pair)];
    expect([a.ip, b.ip].sort()).toEqual(["10.17.0.0", "10.17.0.1"]);
    await until("both of a /31", async () => (await a.vm.reaches(b.ip)) && (await b.vm.reaches(a.ip)));
    expect(await cloud.call("POST", "/v2.0/ports", { port: { network_id: pair.network.id } })).toMatchObject({ status: 409, body: { NeutronError: { type: "IpAddressGenerationFailure" } } });

    const six = await netOf("fd17::/127", { enable_dhcp: false, gateway_ip: null });
    expect(six.subnet.allocation_pools).toHaveLength(1);
    const [c, d] = [await on(1, six, "fd17::"), await on(2, six, "fd17::1")];
    await until("both of a /127", async () => (await c.vm.reaches(d.ip)) && (await d.vm.reaches(c.ip)));

    // A /32 and a /128 have no room for a gateway: who is on the link reaches them there.
    const link = await netOf("10.18.0.0/24");
    for (const [cidr, neighbour] of [["10.19.0.7/32", "10.18.0.50"], ["fd19::7/128", "fd18::50"]] as const) {
      const ip = cidr.split("/")[0]!;
      if (neighbour.includes(":")) await subnetOf(link.network, "fd18::/64");
      const alone = { network: link.network, subnet: await subnetOf(link.network, cidr, { enable_dhcp: false }) };
      expect([alone.subnet.gateway_ip, alone.subnet.allocation_pools]).toEqual([null, [{ start: ip, end: ip }]]);
      const hermit = await on(1, alone, ip);
      const visitor = await cloud.instance(cloud.hv(2), link, { configure: false, port: { security_groups: [open.id], fixed_ips: [{ ip_address: neighbour }] } });
      await visitor.vm.setAddress(`${neighbour}/${neighbour.includes(":") ? 64 : 24}`);
      await hermit.vm.configure(`route add ${neighbour} dev eth0`);
      await visitor.vm.configure(`route add ${ip} dev eth0`);
      await until(`the one of ${cidr}`, () => visitor.vm.reaches(ip));
      expect(await cloud.call("POST", "/v2.0/ports", { port: { network_id: link.network.id, fixed_ips: [{ subnet_id: alone.subnet.id }] } })).toMatchObject({ status: 409, body: { NeutronError: { type: "IpAddressGenerationFailure" } } });
      expect(await cloud.call("POST", "/v2.0/subnets", { subnet: { network_id: link.network.id, ip_version: ip.includes(":") ? 6 : 4, cidr, enable_dhcp: false } })).toMatchObject({ status: 400, body: { NeutronError: { type: "InvalidInput" } } });
    }
    expect(await cloud.call("POST", "/v2.0/subnets", { subnet: { network_id: link.network.id, ip_version: 4, cidr: "10.19.0.8/32" } })).toMatchObject({ status: 400, body: { NeutronError: { type: "InvalidInput" } } });
    // With a router on it a /31 has room for one VM.
    const single = await netOf("10.21.0.0/31", { enable_dhcp: false });
    const far = await cloud.router([single]);
    expect((await cloud.call("PUT", `/v2.0/routers/${far.id}/add_router_interface`, { subnet_id: (await netOf("10.22.0.0/24")).subnet.id })).status).toBe(200);
    const e = await on(1, single);
    expect([single.subnet.gateway_ip, e.ip]).toEqual(["10.21.0.0", "10.21.0.1"]);
    await until("the router of a /31", () => e.vm.reaches("10.21.0.0"));
    await until("and what is behind it", () => e.vm.reaches("10.22.0.1"));
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("subnets of everything are refused by name; routes and rules of everything mean it, in their family alone", async () => {
    const network = await cloud.create("network", {});
    for (const [ip_version, cidr] of [[4, "0.0.0.0/0"], [6, "::/0"]]) {
      expect(await cloud.call("POST", "/v2.0/subnets", { subnet: { network_id: network.id, ip_version, cidr, enable_dhcp: false } })).toMatchObject({ status: 400, body: { NeutronError: { type: "InvalidInput" } } });
    }
    const net = { network, subnet: await subnetOf(network, "10.23.0.0/24") };
    await subnetOf(network, "fd23::/64", { ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const all = await cloud.create("security_group", { name: "everything" });
    const server = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [all.id] } });
    const [near, far] = [await on(1, net), await on(2, net)];
    const v6 = (i: Instance): string => ipsOf(i.port).find((ip) => ip.includes(":"))!;
    for (const i of [server, near, far]) await i.vm.setAddress(`${v6(i)}/64`);
    const reached = async (): Promise<boolean[]> => Promise.all([near, far].flatMap(({ vm }) => [ipsOf(server.port).find((ip) => !ip.includes(":"))!, v6(server)].map((ip) => vm.reaches(ip, { timeoutMs: 700 }))));
    expect(await reached()).toEqual([false, false, false, false]);
    const rule = (ethertype: string, remote_ip_prefix: string, more: Record<string, unknown> = {}): Promise<Resource> => cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype, remote_ip_prefix, ...more });
    const four = await rule("IPv4", "0.0.0.0/0");
    await cloud.synced();
    expect(await reached()).toEqual([true, false, true, false]);
    const six = await rule("IPv6", "::/0");
    await cloud.synced();
    expect(await reached()).toEqual([true, true, true, true]);
    await cloud.remove("security_group_rule", four.id);
    await cloud.synced();
    expect(await reached()).toEqual([false, true, false, true]);
    await cloud.remove("security_group_rule", six.id);
    // A prefix of one address is that address.
    await rule("IPv4", `${near.ip}/32`);
    await rule("IPv6", `${v6(far)}/128`);
    await cloud.synced();
    expect(await reached()).toEqual([true, false, false, true]);
    for (const [ethertype, prefix] of [["IPv4", "::/0"], ["IPv6", "0.0.0.0/0"]]) expect((await cloud.call("POST", "/v2.0/security-group-rules", { security_group_rule: { security_group_id: all.id, direction: "ingress", ethertype, remote_ip_prefix: prefix } })).status).toBe(400);
  }, 60_000);
});

describe("leases", () => {
  let net: Net;
  let second: Resource;
  const clients: Running[] = [];
  beforeAll(async () => {
    net = await netOf("10.30.0.0/24", { dns_nameservers: ["9.9.9.9"] });
    second = await subnetOf(net.network, "10.31.0.0/24", { dns_nameservers: ["8.8.8.8"], host_routes: [{ destination: "192.0.2.0/24", nexthop: "10.31.0.9" }] });
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.stop("SIGKILL");
  });
  const unconfigured = (hv: number, on: Net, port: Record<string, unknown> = {}): Promise<Instance> => cloud.instance(cloud.hv(hv), on, { configure: false, port });

  /** ISC dhclient, until the end of the test; its lines tell what it does. `lease`: what it remembers. */
  async function dhclient(vm: Vm, lease = ""): Promise<Running> {
    const file = `${cloud.lab.dir}/${vm.name}.held`;
    await writeFile(`${file}.leases`, lease);
    const client = vm.spawn(["dhclient", "-4", "-d", "-v", "-sf", `${cloud.lab.dir}/dhclient.sh`, "-cf", `${cloud.lab.dir}/dhclient.conf`, "-lf", `${file}.leases`, "-pf", `${file}.pid`, "-e", `AXION_LEASE=${file}`, "eth0"]);
    clients.push(client);
    return client;
  }
  const bound = (client: Running): number => client.lines.filter((line) => line.startsWith("bound to")).length;

  test("are kept by clients that renew and rebind: without a router by broadcast, with one from the server itself", async () => {
    const short = { extra_dhcp_opts: [["lease-time", "60"], ["T1", "3"], ["T2", "5"]].map(([opt_name, opt_value]) => ({ opt_name, opt_value })) };
    const routed = await netOf("10.32.0.0/24");
    await cloud.router([routed]);
    const [a, b] = [await unconfigured(1, net, short), await unconfigured(2, routed, short)];
    const [without, having] = [await dhclient(a.vm), await dhclient(b.vm)];
    await until("both leases", () => bound(without) > 0 && bound(having) > 0);
    const capture = await b.vm.tcpdump("-Q out udp and dst port 67 and not dst host 255.255.255.255");
    await until("both renewed", () => bound(without) > 1 && bound(having) > 1, { timeoutMs: 40_000 });
    for (const [client, { vm, ip }] of [[without, a], [having, b]] as const) {
      // The first question of a host may be late; from the first lease on none is asked anew.
      const since = client.lines.slice(client.lines.findIndex((line) => line.startsWith("bound to")));
      expect(since.filter((line) => /DHCPDISCOVER|DHCPNAK|expired/i.test(line))).toEqual([]);
      expect(await vm.addresses()).toEqual([`${ip}/24`]);
    }
    expect(capture.lines.length, "a renewal that was sent to the server alone").toBeGreaterThan(0);
    await capture.stop();
  }, 60_000);

  test("from before a reboot: the port's own is confirmed, one of elsewhere refused, and the right one is had", async () => {
    const { vm, ip } = await unconfigured(1, net);
    const remembered = (address: string, server: string): string => `lease {
  interface "eth0";
  fixed-address ${address};
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 86400;
  option dhcp-message-type 5;
  option dhcp-server-identifier ${server};
  renew 2 2035/01/02 00:00:00;
  rebind 3 2035/01/03 00:00:00;
  expire 4 2035/01/04 00:00:00;
}
`;
    const again = await dhclient(vm, remembered(ip, "10.30.0.1"));
    await until("a lease", () => bound(again) > 0);
    expect(again.lines.some((line) => /DHCPDISCOVER|DHCPNAK/.test(line)), again.lines.join("\n")).toBe(false);
    await again.stop("SIGKILL");
    await vm.configure("addr flush dev eth0 scope global");
    for (const address of ["10.30.0.250", "192.168.9.9"]) {
      const stranger = await dhclient(vm, remembered(address, "192.168.9.1"));
      await until("a lease", () => bound(stranger) > 0, { timeoutMs: 20_000 });
      expect(stranger.lines.some((line) => /DHCPNAK/.test(line)), stranger.lines.join("\n")).toBe(true);
      expect(await vm.addresses()).toEqual([`${ip}/24`]);
      await stranger.stop("SIGKILL");
      await vm.configure("addr flush dev eth0 scope global");
    }
  }, 60_000);

  /** Sends one message and leaves the answer to a capture. */
  const SEND = `${BROADCAST}
import os,sys
mac,kind,flags,asked=sys.argv[1:5]
raw=bytes.fromhex(mac.replace(":",""))
m=struct.pack("!BBBB4sHH16s16s64s128s",1,1,6,0,os.urandom(4),0,int(flags),b"",raw,b"",b"")+bytes([99,130,83,99,53,1,int(kind)])
if asked!="-": m+=bytes([50,4])+socket.inet_aton(asked)
broadcast(m+bytes([255]))`;
  async function answered(vm: Vm, kind: number, flags: number, asked = "-"): Promise<string> {
    const capture = await vm.tcpdump("-Q in udp port 68", { verbose: true });
    await vm.exec(["python3", "-c", SEND, vm.mac, String(kind), String(flags), asked]);
    await until("an answer", () => capture.lines.some((line) => line.includes("DHCP-Message")));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await capture.stop();
    return capture.lines.join("\n");
  }

  test("go where the client can hear them: to all when it says so, else to its address; a refusal always to all", async () => {
    const { vm, ip } = await unconfigured(2, net);
    await vm.configure("addr add 169.254.1.1/16 dev eth0");
    const [DISCOVER, REQUEST, TO_ALL] = [1, 3, 0x8000];
    for (const kind of [DISCOVER, REQUEST]) {
      const asked = kind === REQUEST ? ip : "-";
      expect(await answered(vm, kind, TO_ALL, asked)).toMatch(/> ff:ff:ff:ff:ff:ff[\s\S]*> 255\.255\.255\.255\.68/);
      const alone = await answered(vm, kind, 0, asked);
      expect(alone).toContain(`> ${vm.mac}`);
      expect(alone).toContain(`> ${ip}.68`);
      expect(alone).not.toContain("255.255.255.255.68");
    }
    expect(await answered(vm, REQUEST, 0, "10.30.0.251")).toMatch(/> ff:ff:ff:ff:ff:ff[\s\S]*> 255\.255\.255\.255\.68[\s\S]*NACK/);
  });

  test("of a second subnet say what that one says; a port with both has the first, and the second for the asking", async () => {
    const later = await unconfigured(1, net, { fixed_ips: [{ subnet_id: second.id }] });
    expect(later.ip).toMatch(/^10\.31\./);
    const lease = await later.vm.dhcp();
    expect(lease).toMatchObject({ ip: later.ip, prefixLength: 24, routers: ["10.31.0.1"], dns: ["8.8.8.8"], server: "10.31.0.1" });
    expect(lease.routes).toContainEqual({ to: "192.0.2.0/24", via: "10.31.0.9" });
    const both = await unconfigured(2, net, { fixed_ips: [{ subnet_id: net.subnet.id }, { subnet_id: second.id }] });
    const [one, two] = ipsOf(both.port) as [string, string];
    expect(await both.vm.dhcp()).toMatchObject({ ip: one, dns: ["9.9.9.9"], server: "10.30.0.1" });
    await both.vm.configure("addr flush dev eth0 scope global");
    expect(await both.vm.dhcp({ requestIp: two })).toMatchObject({ ip: two, dns: ["8.8.8.8"], server: "10.31.0.1" });
    await until("the other VM of the second subnet", () => both.vm.reaches(later.ip));
    // What is no longer the port's is refused, in either subnet.
    await both.vm.configure("addr replace 169.254.1.1/16 dev eth0");
    await cloud.update("port", both.port.id, { fixed_ips: [{ subnet_id: second.id, ip_address: two }] });
    await cloud.synced();
    expect(await answered(both.vm, 3, 0x8000, one)).toContain("NACK");
    expect(await answered(both.vm, 3, 0x8000, two)).toMatch(/\bACK/);
  }, 60_000);
});
