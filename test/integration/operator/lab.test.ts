// The lab alone, without a controller: two hypervisors joined by a plain tunnel, VMs on a bridge that the test makes
// itself, and the promise that destroying a lab leaves nothing.

import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import http from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { request } from "../../../lab/controller.ts";
import { alive, exec, spawnLogged, until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { REAP_SH } from "../../../lab/inside.ts";
import { Lab } from "../../../lab/lab.ts";
import { startManySwitches } from "../../../lab/many.ts";

/** A bridge that floods, and a tunnel to the other host: what a controller would do with flows. */
async function plainBridge(hypervisor: Hypervisor, remote: Hypervisor, type = "geneve"): Promise<void> {
  await hypervisor.vsctl(
    "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "protocols=OpenFlow13",
    "--", "add-port", "br-int", "tun0",
    "--", "set", "Interface", "tun0", `type=${type}`, `options:remote_ip=${remote.encapIp}`, `options:local_ip=${hypervisor.encapIp}`, "options:key=7",
  );
}

async function left(run: string): Promise<string[]> {
  const [spaces, resolvers, files, processes] = await Promise.all([
    readdir("/run/netns"),
    readdir("/etc/netns").catch(() => []),
    readdir("/tmp"),
    exec(["ps", "-eo", "pid,args"]),
  ]);
  return [...spaces, ...resolvers, ...files, ...processes.stdout.split("\n")].filter((entry) => entry.includes(`${run}-`));
}

for (const underlay of ["ipv4", "ipv6"] as const) {
  describe(`two hypervisors over ${underlay}`, () => {
    let lab: Lab;
    let hv1: Hypervisor;
    let hv2: Hypervisor;
    let vm1: Vm;
    let vm2: Vm;

    beforeAll(async () => {
      lab = await Lab.create({ name: "lab.test", underlay });
      [hv1, hv2] = await Promise.all([lab.addHypervisor({ name: "hv1" }), lab.addHypervisor({ name: "hv2" })]);
      // VMs may be plugged before the bridge is there
      const vms = Promise.all([
        lab.addVm({ name: "vm1", hypervisor: hv1, portId: "11111111-0000-4000-8000-000000000001", mac: "fa:16:3e:00:00:01", mtu: 1400 }),
        lab.addVm({ name: "vm2", hypervisor: hv2, portId: "22222222-0000-4000-8000-000000000002", mac: "fa:16:3e:00:00:02", mtu: 1400 }),
      ]);
      await Promise.all([plainBridge(hv1, hv2), plainBridge(hv2, hv1)]);
      [vm1, vm2] = await vms;
      await Promise.all([
        vm1.setAddress(["10.0.0.1/24", "fd00::1/64"]),
        vm2.setAddress(["10.0.0.2/24", "fd00::2/64"]),
      ]);
    });

    afterAll(async () => {
      await lab?.destroy();
    });

    test("VMs on different hosts reach each other over the tunnel, and nobody else", async () => {
      await until("tunnel", () => vm1.reaches("10.0.0.2"));
      expect(await vm1.ping("10.0.0.2", { count: 5, intervalMs: 20 })).toMatchObject({ sent: 5, received: 5, lossFraction: 0 });
      expect(await vm1.ping("fd00::2", { count: 2, intervalMs: 20 })).toMatchObject({ received: 2 });
      expect(await vm1.ping("10.0.0.9", { count: 2, timeoutMs: 200 })).toMatchObject({ received: 0, lossFraction: 1 });
    });

    test("a port is plugged as os-vif does it", async () => {
      const row = await hv1.vsctl("--columns=external_ids", "list", "Interface", vm1.nic.tap);
      expect(vm1.nic.tap).toBe("tap11111111-00");
      expect(row).toContain('iface-id="11111111-0000-4000-8000-000000000001"');
      expect(row).toContain('attached-mac="fa:16:3e:00:00:01"');
    });

    test("addresses, ARP, capture", async () => {
      expect(await vm1.addresses()).toEqual(["10.0.0.1/24", "fd00::1/64"]);
      const capture = await vm2.tcpdump("arp or icmp");
      expect(await vm1.arping("10.0.0.2")).toEqual(["fa:16:3e:00:00:02"]);
      await until("seen", () => capture.lines.some((line) => line.includes("who-has 10.0.0.2")));
      expect((await capture.stop()).count).toBeGreaterThan(0);
    });

    test("TCP and UDP, and a transfer that arrives as it was sent", async () => {
      const server = await vm2.listen(8080);
      expect(await vm1.connectTcp("10.0.0.2", 8080)).toBe(true);
      expect(await vm1.connectTcp("fd00::2", 8080)).toBe(true);
      expect(await vm1.connectTcp("10.0.0.2", 8081)).toBe(false);
      expect(await vm1.connectTcp("10.0.0.9", 8080, 300)).toBe(false);
      expect(await vm1.probeUdp("10.0.0.2", 8080)).toBe(true);
      expect(await vm1.probeUdp("10.0.0.2", 8081, 300)).toBe(false);
      const connection = await vm1.openTcp("10.0.0.2", 8080);
      expect(await connection.echo("hello")).toBe(true);
      await server.close();
      expect(await connection.echo("hello", 300)).toBe(false);
      await connection.close();
      const { result } = await vm2.receive(9000);
      const sent = await vm1.send("10.0.0.2", 9000, 5_000_000);
      const got = await result;
      expect(sent.bytes).toBe(5_000_000);
      expect({ bytes: got.bytes, sha256: got.sha256 }).toEqual({ bytes: sent.bytes, sha256: sent.sha256 });
    });

    test("a running ping sees an outage: vswitchd killed and started, as long as it was", async () => {
      const ping = vm1.pingStart("10.0.0.2");
      await until("answers", () => ping.received > 10);
      const before = await hv1.vswitchdPid();
      await hv1.killVswitchd();
      expect(await alive(before)).toBe(false);
      await hv1.startVswitchd();
      const resumed = ping.received;
      await until("answers again", () => ping.received > resumed + 10);
      const stats = await ping.stop();
      expect(stats.gaps.length).toBeGreaterThan(0);
      expect(stats.longestGapMs).toBeGreaterThan(20);
      expect(stats.sent - stats.received).toBe(stats.gaps.reduce((sum, gap) => sum + gap.count, 0));
    });

    test("ovsdb-server comes back with the same rows", async () => {
      const rows = await hv2.vsctl("list-ports", "br-int");
      await hv2.killOvsdb();
      await hv2.startOvsdb();
      expect(await hv2.vsctl("list-ports", "br-int")).toBe(rows);
      expect(await vm1.reaches("10.0.0.2")).toBe(true);
    });

    test("unplug, plug, and a move to another host", async () => {
      await vm1.unplug();
      expect(await vm1.reaches("10.0.0.2", { timeoutMs: 300 })).toBe(false);
      await vm1.plug();
      expect(await vm1.reaches("10.0.0.2")).toBe(true);
      await vm1.moveTo(hv2);
      expect(await hv2.vsctl("list-ports", "br-int")).toContain(vm1.nic.tap);
      expect(await vm1.addresses()).toContain("10.0.0.1/24");
      await until("carrier on both ends of the moved link", () => vm1.reaches("10.0.0.2"));
    });

    test("the manager is reached, and a listener in the controller's namespace from here", async () => {
      const program = `
        require("node:net").createServer((s) => s.on("error", () => undefined).resume()).listen(6640, "::");
        require("node:http").createServer((q, r) => r.end("hello " + q.url)).listen(9696, "127.0.0.1", () => console.log("up"))`;
      await lab.node.spawn([process.execPath, "-e", program]).waitFor(/up/);
      await hv1.setManager(lab.manager);
      await until("connected", async () => (await hv1.vsctl("--columns=is_connected", "list", "Manager")).includes("true"));
      await hv1.delManager();
      expect(await request(await lab.forward(9696), "GET", "/x")).toMatchObject({ status: 200, body: "hello /x" });
      const published = await lab.publish(9696, 0);
      const text = await new Promise<string>((resolve, reject) => {
        http.get(`${published.url}/y`, { agent: false }, (answer) => {
          let body = "";
          answer.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve(body));
        }).on("error", reject);
      });
      expect(text).toBe("hello /y");
    });

    test("destroy leaves nothing", async () => {
      const pids = await Promise.all([hv1.vswitchdPid(), hv1.ovsdbPid(), hv2.vswitchdPid(), hv2.ovsdbPid()]);
      await lab.destroy();
      await lab.destroy();
      expect(await Promise.all(pids.map(alive))).toEqual([false, false, false, false]);
      expect(await left(lab.run)).toEqual([]);
    });
  });
}

test("a physical network: bridge, mapping and a host outside", async () => {
  const lab = await Lab.create();
  try {
    const hv = await lab.addHypervisor({ name: "hv1", physnets: ["ext"], gateway: true, encapTypes: ["vxlan", "geneve"] });
    const router = await lab.addOutside({ name: "router", physnet: "ext" });
    await router.setAddress("192.0.2.1/24");
    await hv.configure("addr add 192.0.2.2/24 dev br-ext", "link set br-ext up");
    expect(await hv.vsctl("get", "Open_vSwitch", ".", "external_ids")).toMatch(
      /axion-bridge-mappings="ext:br-ext".*axion-encap-type="vxlan,geneve".*axion-gateway="true"/,
    );
    expect(await router.reaches("192.0.2.2")).toBe(true);
  } finally {
    await lab.destroy();
  }
  expect(await left(lab.run)).toEqual([]);
});

test("a real DHCP client configures what it is told", async () => {
  const lab = await Lab.create();
  try {
    const server = await lab.addOutside({ name: "server", physnet: "p" });
    const client = await lab.addOutside({ name: "client", physnet: "p" });
    await server.setAddress("10.1.0.1/24");
    await server.configure("route add default dev eth0");
    await server.spawn([process.execPath, "-e", DHCP_SERVER]).waitFor(/up/);
    expect(await client.dhcp()).toMatchObject({
      ip: "10.1.0.9", prefixLength: 24, routers: ["10.1.0.1"], dns: ["9.9.9.9"], mtu: 1442, leaseS: 600,
      routes: [{ to: "169.254.169.254/32", via: "10.1.0.2" }, { to: "0.0.0.0/0", via: "10.1.0.1" }],
    });
    expect(await client.addresses()).toEqual(["10.1.0.9/24"]);
    const routes = (await client.exec(["ip", "-4", "route"])).stdout;
    expect(routes).toContain("default via 10.1.0.1");
    expect(routes).toContain("169.254.169.254 via 10.1.0.2");
    expect((await client.exec(["ip", "link", "show", "eth0"])).stdout).toContain("mtu 1442");
    await client.configure("addr flush dev eth0 scope global");
    expect(await client.dhclient()).toMatchObject({ ip_address: "10.1.0.9", domain_name_servers: "9.9.9.9" });
    expect(await client.addresses()).toEqual(["10.1.0.9/24"]);
  } finally {
    await lab.destroy();
  }
});

test("DHCP clients with the scripts that their packages bring write the resolver file of their namespace, not the machine's", async () => {
  const machine = await readFile("/etc/resolv.conf", "utf8");
  const lab = await Lab.create();
  try {
    const server = await lab.addOutside({ name: "server", physnet: "p" });
    await server.setAddress("10.1.0.1/24");
    await server.configure("route add default dev eth0");
    await server.spawn([process.execPath, "-e", DHCP_SERVER]).waitFor(/up/);
    for (const argv of [["dhclient", "-1", "-lf", `${lab.dir}/leases`, "-pf", `${lab.dir}/pid`, "eth0"], ["udhcpc", "-n", "-q", "-i", "eth0"]]) {
      const client = await lab.addOutside({ name: argv[0]!, physnet: "p" });
      await client.configure("link set eth0 up");
      await client.exec(argv);
      expect((await client.exec(["cat", "/etc/resolv.conf"])).stdout).toContain("nameserver 9.9.9.9");
      expect(await readFile("/etc/resolv.conf", "utf8")).toBe(machine);
    }
  } finally {
    await lab.destroy();
    if ((await readFile("/etc/resolv.conf", "utf8")) !== machine) await writeFile("/etc/resolv.conf", machine);
  }
  expect(await left(lab.run)).toEqual([]);
});

// Answers every DHCP request with the same lease.
const DHCP_SERVER = `
const socket = require("node:dgram").createSocket({ type: "udp4", reuseAddr: true });
socket.on("message", (m) => {
  let type = 0;
  for (let at = 240; at < m.length && m[at] !== 255; at += m[at] === 0 ? 1 : 2 + m[at + 1]) if (m[at] === 53) type = m[at + 2];
  const head = Buffer.alloc(240);
  m.copy(head, 0, 0, 44);
  head[0] = 2;
  head.set([10, 1, 0, 9], 16);
  head.set([99, 130, 83, 99], 236);
  const options = [53, 1, type === 1 ? 2 : 5, 54, 4, 10, 1, 0, 1, 51, 4, 0, 0, 2, 88, 1, 4, 255, 255, 255, 0, 3, 4, 10, 1, 0, 1,
    6, 4, 9, 9, 9, 9, 26, 2, 5, 162, 121, 14, 32, 169, 254, 169, 254, 10, 1, 0, 2, 0, 10, 1, 0, 1, 255];
  socket.send(Buffer.concat([head, Buffer.from(options), Buffer.alloc(60)]), 68, "255.255.255.255");
});
socket.bind(67, () => { socket.setBroadcast(true); console.log("up"); });
`;

test("what runs on a lab's directory ends with it, though it has no pid file yet", async () => {
  const lab = await Lab.create();
  const daemon = spawn("tail", ["-f", `${lab.dir}/owner`], { detached: true, stdio: "ignore" });
  const ended = new Promise((resolve) => daemon.once("exit", (_code, signal) => resolve(signal)));
  await lab.destroy();
  expect(await ended).toBe("SIGKILL");
});

test("what a dead run left is swept, what a living one has is not", async () => {
  // A stand-in made of the lab's own parts: a run named after a process that is then killed.
  const holder = spawn(process.execPath, ["-e", "setTimeout(() => undefined, 60000)"], { stdio: "ignore" });
  const run = `ax${holder.pid ?? 0}a`;
  await exec(["ip", "netns", "add", `${run}-hv1`]);
  const lodger = spawn("ip", ["netns", "exec", `${run}-hv1`, "sleep", "60"], { stdio: "ignore" });
  await Promise.all([`/tmp/${run}-test`, `/etc/netns/${run}-hv1`].map((dir) => mkdir(dir, { recursive: true })));
  await until("lodger", async () => (await exec(["ip", "netns", "pids", `${run}-hv1`])).stdout.trim() !== "");
  expect(await Lab.sweep()).not.toContain(run);
  holder.kill("SIGKILL");
  await until("end", async () => !(await alive(holder.pid ?? 0)));
  expect(await Lab.sweep()).toContain(run);
  expect(await left(run)).toEqual([]);
  await until("end of lodger", async () => !(await alive(lodger.pid ?? 0)));
});

test("the guard removes a lab when the process that made it is killed", async () => {
  const program = `
    const run = "ax" + process.pid + "a";
    require("node:child_process").execFileSync("ip", ["netns", "add", run + "-hv1"]);
    require("node:fs").mkdirSync("/tmp/" + run + "-test");
    require("node:child_process").spawn("sh", ["-c", process.argv[1], "reap", run, "/tmp/" + run + "-test", "wait"],
      { stdio: ["pipe", "ignore", "ignore"], detached: true });
    console.log(run);
    setTimeout(() => undefined, 60000);`;
  const holder = spawnLogged([process.execPath, "-e", program, REAP_SH]);
  const run = await holder.waitFor(/^ax/);
  expect(await left(run)).not.toEqual([]);
  await holder.stop("SIGKILL");
  await until("removal", async () => (await left(run)).length === 0);
});

test("many switches: real OpenFlow and OVSDB, no namespaces, nothing left", async () => {
  const many = await startManySwitches(4, { manager: "tcp:127.0.0.1:1" });
  try {
    expect(many.switches.map((pair) => pair.systemId)).toEqual(["sw1", "sw2", "sw3", "sw4"]);
    expect(await many.vsctl(3, "get", "Open_vSwitch", ".", "external_ids:axion-encap-ip")).toBe('"127.1.0.4"');
    await many.vsctl(3, "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev");
    const device = await many.plug(3, "0f1e2d3c-0000-4000-8000-000000000001");
    expect(await many.ofctl(3, "show", "br-int")).toContain(`(${device})`);
    await many.kill(2);
    await many.startOvsdb(2);
    await many.startVswitchd(2);
    expect(await many.vsctl(2, "get-manager")).toBe("tcp:127.0.0.1:1");
  } finally {
    await many.destroy();
  }
  expect(await left(many.run)).toEqual([]);
});
