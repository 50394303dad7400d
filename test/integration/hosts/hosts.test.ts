// What is done to hosts while they are in use: tunnels that end elsewhere or are of another kind, names that are double or change, a
// bridge that is deleted, interfaces that come back under the same name, another number or for another port, reboots. And how much two
// thousand ports on one host are: in counts, which do not depend on the machine.
import { buildArp, buildEthernet, ethertypes } from "packet-codec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { startManySwitches } from "../../../lab/many.ts";
import { confusesCachedFlows } from "../../../src/southbound/problems/southbound.ts";
import { Cloud, switchStates, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { ControllerProcess, nightly } from "../../support/process.ts";

describe("hosts in use", () => {
  let cloud: Cloud;
  let net: Net;
  let open: Resource;
  /** On hv1; on hv1 as well; on hv2. */
  let a: Instance;
  let b: Instance;
  let c: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "hosts.test", flags: ["--audit-interval", "1"] });
    net = await cloud.network("10.0.0.0/24");
    open = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress" });
    [a, b, c] = [await on(1), await on(1), await on(2)];
    await talk();
  });
  afterAll(async () => cloud?.destroy());
  afterEach(async () => {
    await talk();
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
    for (const { port } of [a, b, c]) expect((await cloud.show("port", port.id)).status).toBe("ACTIVE");
  });

  const on = (hv: number): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { port: { security_groups: [open.id] } });
  /** All three reach each other, each by its own address. */
  async function talk(timeoutMs = 20_000): Promise<void> {
    for (const [from, to] of [[a, b], [a, c], [b, c], [c, a], [c, b]] as const) await until(`${to.ip} from ${from.ip}`, () => from.vm.reaches(to.ip, { timeoutMs: 500 }), { timeoutMs });
  }
  const problems = async (): Promise<{ kind: string; text: string; switches: string[] }[]> => (await cloud.controller.ops("GET", "/problems")).body as { kind: string; text: string; switches: string[] }[];
  const setIds = (hv: Hypervisor, ids: Record<string, string>): Promise<unknown> => hv.vsctl("set", "Open_vSwitch", ".", ...Object.entries(ids).map(([key, value]) => `external_ids:${key}="${value}"`));
  const ofport = (hv: Hypervisor, device: string): Promise<string> => hv.vsctl("get", "Interface", device, "ofport");

  test("a host whose Open vSwitch confuses cached flows is named, by what its database says of the version or else its switch, until it has another", async () => {
    const named = async (): Promise<string[]> => (await problems()).filter((p) => p.kind === "stale_flows").flatMap((p) => p.switches);
    const says = (hv: Hypervisor, version: string): Promise<unknown> => hv.vsctl("set", "Open_vSwitch", ".", `ovs_version=${JSON.stringify(version)}`);
    const versions = new Map((await cloud.switches()).map((s) => [s.id, (s.raw as { ovs_version: string }).ovs_version]));
    expect([...versions.values()]).toEqual([expect.stringMatching(/^\d+\.\d+\.\d+/), expect.stringMatching(/^\d+\.\d+\.\d+/)]);
    expect(await named()).toEqual([...versions].filter(([, version]) => confusesCachedFlows(version)).map(([id]) => id).sort());
    try {
      await Promise.all([says(cloud.hv(1), "3.1.2"), says(cloud.hv(2), "3.1.3")]);
      await until("the one host alone", async () => (await named()).join() === "hv1");
      await says(cloud.hv(1), "3.2.0");
      await until("no host", async () => (await named()).length === 0);
    } finally {
      for (const hv of cloud.hypervisors) await hv.vsctl("clear", "Open_vSwitch", ".", "ovs_version");
    }
  });

  test("a host's tunnels end at another address, and come back", async () => {
    const hv = cloud.hv(2);
    await hv.configure("addr add 172.31.0.77/24 dev br-phy");
    await setIds(hv, { "axion-encap-ip": "172.31.0.77" });
    await until("tunnels from and to the new address", async () => (await hv.vsctl("--columns=options", "list", "Interface")).includes('local_ip="172.31.0.77"') && (await cloud.hv(1).ofctl("dump-flows", "br-int")).match(/0xac1f004d|172\.31\.0\.77/) !== null);
    await talk();
    await setIds(hv, { "axion-encap-ip": hv.encapIp });
    await until("the old address at home", async () => (await hv.vsctl("--columns=options", "list", "Interface")).includes(`local_ip="${hv.encapIp}"`));
    await until("the old address", async () => !(await cloud.hv(1).ofctl("dump-flows", "br-int")).match(/0xac1f004d|172\.31\.0\.77/));
    await hv.configure("addr del 172.31.0.77/24 dev br-phy");
  }, 60_000);

  test("the kind of encapsulation changes, host after host", async () => {
    const types = async (hv: Hypervisor): Promise<string> => (await hv.vsctl("--columns=type", "find", "Interface", "options:remote_ip=flow")).split("\n").filter((l) => l.includes(":")).map((l) => l.split(":")[1]!.trim()).sort().join(",");
    for (const hv of cloud.hypervisors) await setIds(hv, { "axion-encap-type": "vxlan,geneve" });
    for (const hv of cloud.hypervisors) await until("a VXLAN port", async () => (await types(hv)).includes("vxlan"));
    await talk();
    // One that has Geneve alone again: both speak what both have.
    await setIds(cloud.hv(1), { "axion-encap-type": "geneve" });
    await until("no VXLAN port", async () => (await types(cloud.hv(1))) === "geneve");
    await talk();
    await setIds(cloud.hv(2), { "axion-encap-type": "geneve" });
    await until("no VXLAN port", async () => (await types(cloud.hv(2))) === "geneve");
  }, 60_000);

  test("a second host with a system-id that is taken is not let in, disturbs nobody, and joins with one of its own", async () => {
    const ping = a.vm.pingStart(c.ip, { intervalMs: 20 });
    const third = await cloud.lab.addHypervisor({ name: "hv3", systemId: "hv1" });
    await third.setManager(cloud.lab.manager);
    await until("the problem", async () => (await problems()).some((p) => JSON.stringify(p).includes("hv1") && /system-id/.test(p.text)), { timeoutMs: 15_000 });
    expect((await third.vsctl("list-br")).split("\n")).not.toContain("br-int");
    expect((await cloud.switches()).map((s) => s.id).sort()).toEqual(["hv1", "hv2"]);
    await setIds(third, { "system-id": "hv3" });
    await until("the third host", async () => (await cloud.switches()).some((s) => s.id === "hv3" && s.connected), { timeoutMs: 20_000 });
    await cloud.synced(3);
    const d = await cloud.instance(third, net, { port: { security_groups: [open.id] } });
    for (const { ip } of [a, c]) await until("an answer", () => d.vm.reaches(ip));
    expect((await ping.stop()).gaps).toEqual([]);
    await d.vm.destroy();
    await cloud.remove("port", d.port.id);
    await third.delManager();
    await third.vsctl("del-controller", "br-int");
    await until("the third host gone", async () => (await cloud.switches()).some((s) => s.id === "hv3" && !s.connected), { timeoutMs: 20_000 });
    await until("its row gone", async () => (await cloud.controller.ops("DELETE", "/switches/hv3")).status < 300, { timeoutMs: 20_000 });
  }, 90_000);

  test("a host gets another system-id, and its own again: its ports go with it", async () => {
    const hv = cloud.hv(2);
    await setIds(hv, { "system-id": "hv2-new" });
    await until("its port under the new name", async () => {
      const port = await cloud.show("port", c.port.id);
      return port.status === "ACTIVE" && port["binding:host_id"] === "hv2-new";
    }, { timeoutMs: 30_000 });
    await talk();
    await setIds(hv, { "system-id": "hv2" });
    await until("its port under the old name", async () => {
      const port = await cloud.show("port", c.port.id);
      return port.status === "ACTIVE" && port["binding:host_id"] === "hv2";
    }, { timeoutMs: 30_000 });
    await until("nothing under the new name", async () => !(await cloud.switches()).some((s) => s.id === "hv2-new"), { timeoutMs: 30_000 });
  }, 90_000);

  test("br-int is deleted by hand: it is made again, and VMs that are plugged again talk", async () => {
    await cloud.hv(1).vsctl("del-br", "br-int");
    await until("the bridge", async () => (await cloud.hv(1).vsctl("list-br")).split("\n").includes("br-int"), { timeoutMs: 20_000 });
    await until("ports without a place", async () => (await cloud.show("port", a.port.id)).status === "DOWN");
    for (const { vm } of [a, b]) await vm.plug();
    for (const { port } of [a, b]) await cloud.active(port.id);
  }, 60_000);

  test("an interface is taken off and plugged again under its name, at once and in one transaction: it serves its port", async () => {
    const { hypervisor: hv, nic } = a.vm;
    const ids = [`external_ids:iface-id=${a.port.id}`, `external_ids:attached-mac="${nic.mac}"`];
    // On the same host: what goes by a tunnel is lost now and then while any link of the host changes, one that is no port of a bridge as well. Open
    // vSwitch's userspace datapath then forgets its routes and reads them anew, and meanwhile has no way out and takes nothing in (lib/route-table.c).
    const neighbour = await on(1);
    await until("the neighbour", () => b.vm.reaches(neighbour.ip, { timeoutMs: 500 }), { timeoutMs: 20_000 });
    const ping = b.vm.pingStart(neighbour.ip, { intervalMs: 20 });
    for (let i = 0; i < 3; i++) {
      await hv.vsctl("del-port", nic.tap, "--", "add-port", "br-int", nic.tap, "--", "set", "Interface", nic.tap, ...ids);
      await until("an answer", () => a.vm.reaches(c.ip, { timeoutMs: 300 }), { timeoutMs: 15_000 });
    }
    for (let i = 0; i < 3; i++) {
      await a.vm.unplug();
      await a.vm.plug();
    }
    await until("the mark", async () => (await hv.vsctl("get", "Interface", nic.tap, "external_ids")).includes("axion-installed"));
    expect((await ping.stop()).gaps, "nobody else noticed").toEqual([]);
    await neighbour.vm.unplug();
  }, 60_000);

  test("numbers of interfaces change, and two swap theirs: nobody is taken for the other", async () => {
    const hv = cloud.hv(1);
    await hv.vsctl("set", "Interface", a.vm.nic.tap, "ofport_request=500");
    await until("the number", async () => (await ofport(hv, a.vm.nic.tap)) === "500");
    await talk();
    const [mine, yours] = [await ofport(hv, a.vm.nic.tap), await ofport(hv, b.vm.nic.tap)];
    await hv.vsctl("set", "Interface", a.vm.nic.tap, `ofport_request=${yours}`, "--", "set", "Interface", b.vm.nic.tap, `ofport_request=${mine}`);
    await talk();
  }, 60_000);

  test("two interfaces swap their ports: each is whose port it names, and may speak in no other's name", async () => {
    const hv = cloud.hv(1);
    const name = (tap: string, port: Resource): string[] => ["--", "set", "Interface", tap, `external_ids:iface-id=${port.id}`];
    await hv.vsctl(...name(a.vm.nic.tap, b.port).slice(1), ...name(b.vm.nic.tap, a.port));
    await cloud.checked();
    for (const { vm } of [a, b]) expect(await vm.reaches(c.ip, { timeoutMs: 500 }), "with the address of the other").toBe(false);
    await hv.vsctl(...name(a.vm.nic.tap, a.port).slice(1), ...name(b.vm.nic.tap, b.port));
  }, 60_000);

  test("Open vSwitch starts again with numbers swapped, with a controller and without", { tags: "long", timeout: 90_000 }, async () => {
    const hv = cloud.hv(1);
    for (const controller of [true, false]) {
      await hv.vsctl("clear", "Interface", a.vm.nic.tap, "ofport_request", "--", "clear", "Interface", b.vm.nic.tap, "ofport_request");
      const [mine, yours] = [await ofport(hv, a.vm.nic.tap), await ofport(hv, b.vm.nic.tap)];
      if (!controller) await cloud.controller.kill9();
      await hv.killVswitchd();
      await hv.vsctl("--no-wait", "set", "Interface", a.vm.nic.tap, `ofport_request=${yours}`, "--", "set", "Interface", b.vm.nic.tap, `ofport_request=${mine}`);
      await hv.startVswitchd();
      if (!controller) await cloud.controller.start();
      await until("swapped", async () => (await ofport(hv, a.vm.nic.tap)) === yours && (await ofport(hv, b.vm.nic.tap)) === mine);
      await talk();
    }
  });

  test("a host reboots, with the database it had, and from a new disk", async () => {
    const hv = cloud.hv(1);
    await hv.killVswitchd();
    await hv.killOvsdb();
    await hv.startOvsdb();
    await hv.startVswitchd();
    await talk();
    await hv.reinstall();
    expect((await hv.vsctl("list-br")).split("\n")).not.toContain("br-int");
    await hv.setManager(cloud.lab.manager);
    await until("ports without a place", async () => (await cloud.show("port", a.port.id)).status === "DOWN", { timeoutMs: 20_000 });
    for (const { vm } of [a, b]) await vm.plug();
    for (const { port } of [a, b]) await cloud.active(port.id);
  }, 90_000);

  test("plugged, moved and unplugged while no controller runs: it finds all of it at its start", async () => {
    const spare = await cloud.create("port", { network_id: net.network.id, security_groups: [open.id] });
    await cloud.controller.kill9();
    const vm = await cloud.lab.addVm({ name: "late", hypervisor: cloud.hv(2), portId: spare.id, mac: spare.mac_address as string, mtu: net.network.mtu as number });
    const ip = (spare.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    await vm.setAddress(`${ip}/24`);
    await a.vm.moveTo(cloud.hv(2));
    await b.vm.unplug();
    await cloud.controller.start();
    await cloud.active(spare.id);
    await until("the one that came", () => c.vm.reaches(ip));
    await until("the one that moved", () => c.vm.reaches(a.ip));
    await until("the one that went", async () => (await cloud.show("port", b.port.id)).status === "DOWN");
    expect((await cloud.show("port", a.port.id))["binding:host_id"]).toBe("hv2");
    await b.vm.plug();
    await a.vm.moveTo(cloud.hv(1));
    await cloud.active(b.port.id);
    await vm.destroy();
    await cloud.remove("port", spare.id);
  }, 60_000);
});

test(`${nightly ? "two thousand" : "five hundred"} ports on one host: each has as many flows as the one before, the switch has exactly them, and broadcast reaches all`, { tags: "long", timeout: 240_000 }, async () => {
  const PORTS = nightly ? 2000 : 500;
  const controller = await ControllerProcess.start();
  const many = await startManySwitches(1, { manager: `tcp:127.0.0.1:${controller.ovsdbPort}` });
  try {
    const headers = { "x-project-id": "p1", "x-roles": "admin" };
    const post = async (collection: string, body: unknown): Promise<any> => {
      const answer = await controller.api("POST", `/v2.0/${collection}`, body, headers);
      expect(answer.status, answer.text).toBe(201);
      return answer.body;
    };
    const network = (await post("networks", { network: { name: "wide" } })).network as Resource;
    await post("subnets", { subnet: { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/20" } });
    const ids: string[] = [];
    const state = async () => switchStates((await controller.ops("/switches")).body)[0]!;
    const metric = (name: string): Promise<number> => controller.metric(name);
    const active = async (): Promise<number> => ((await controller.api("GET", "/v2.0/ports?status=ACTIVE&fields=id", undefined, headers)).body.ports as unknown[]).length;
    /** Plugs more ports, `upTo` in all; the flows then. */
    const grow = async (upTo: number): Promise<number> => {
      const ports: { network_id: string }[] = Array.from({ length: upTo - ids.length }, () => ({ network_id: network.id }));
      const made: string[] = [];
      for (let i = 0; i < ports.length; i += 250) made.push(...((await post("ports", { ports: ports.slice(i, i + 250) })).ports as Resource[]).map((p) => p.id));
      for (let i = 0; i < made.length; i += 250) {
        await many.vsctl(0, "--no-wait", "wait-until", "Bridge", "br-int", "name=br-int", ...made.slice(i, i + 250).flatMap((id, n) => {
          const device = `tap${ids.length + i + n}`;
          return ["--", "add-port", "br-int", device, "--", "set", "Interface", device, "type=dummy", `external_ids:iface-id=${id}`];
        }));
      }
      ids.push(...made);
      await until(`${upTo} ports ACTIVE`, async () => (await active()) === upTo, { timeoutMs: 90_000, intervalMs: 300 });
      await until("in sync", async () => {
        const s = await state();
        return s.connected && s.pending === 0 && s.desired === s.installed;
      }, { timeoutMs: 60_000, intervalMs: 200 });
      return (await state()).installed;
    };
    const at = [await grow(PORTS / 4), await grow(PORTS / 2), await grow(PORTS)] as const;
    const each = (at[1] - at[0]) / (PORTS / 4);
    // One more of broadcasts for each 64 ports.
    const broadcasts = Math.ceil(PORTS / 64) + 1;
    expect(Math.abs(at[2] - at[1] - (each * PORTS) / 2), `flows of ${each} a port`).toBeLessThanOrEqual(broadcasts);
    // Four of them count what it loses, by reason; names are asked for by UDP and by TCP.
    expect(each).toBeLessThanOrEqual(31 + broadcasts / (PORTS / 4));
    const dump = (await many.ofctl(0, "--no-stats", "dump-flows", "br-int")).split("\n").filter((l) => l.includes("cookie="));
    expect(dump).toHaveLength(at[2]);
    expect((await controller.ops("/flows?state=diff&format=text")).text.split("\n").filter((l) => l !== "" && !l.startsWith("# switch"))).toEqual([]);
    // One more port costs what it costs on an empty host: its flows and the lists it joins, not the other two thousand's.
    const before = await metric("axion_flow_mods_sent_total");
    await grow(PORTS + 1);
    expect((await metric("axion_flow_mods_sent_total")) - before).toBeLessThanOrEqual(Math.ceil(each) + 4);
    // A broadcast of the first reaches every other port, each once. ofproto/trace does not follow long lists of copies to their end.
    const port = (await controller.api("GET", `/v2.0/ports/${ids[0]!}`, undefined, headers)).body.port as Resource;
    const mac = String(port.mac_address);
    const ip = (port.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    const asked = buildArp({ op: 1, sha: mac, spa: ip, tha: "00:00:00:00:00:00", tpa: "10.0.15.250" });
    const number = (await many.vsctl(0, "get", "Interface", "tap0", "ofport")).trim();
    const sent = async (): Promise<Map<string, number>> => new Map([...(await many.ofctl(0, "dump-ports", "br-int")).matchAll(/port +"?(\w+)"?: rx[^\n]*\n +tx pkts=(\d+)/g)].map(([, name, n]) => [name!, Number(n)]));
    const first = await sent();
    await many.appctl(0, "netdev-dummy/receive", "tap0", buildEthernet({ src: mac, dst: "ff:ff:ff:ff:ff:ff", ethertype: ethertypes.arp }, asked).toString("hex"));
    const copies = async (): Promise<[string, number][]> => [...(await sent())].map(([name, n]): [string, number] => [name, n - (first.get(name) ?? 0)]).filter(([, n]) => n > 0);
    await until("all copies", async () => (await copies()).length === PORTS, { timeoutMs: 5000 }).catch(() => undefined);
    const got = await copies();
    expect(got.map(([name]) => name)).not.toContain(number);
    expect(got.map(([, n]) => n)).toEqual(Array.from({ length: PORTS }, () => 1));
  } finally {
    await many.destroy();
    await controller.destroy();
  }
});
