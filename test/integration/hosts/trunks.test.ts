// Trunks: two machines, each with a bridge of its own behind one interface, and ports behind that by VLAN tag: on ten networks of their own, nightly on a
// hundred (AXION_NIGHTLY=1). Every network has one port of each machine, so whoever answers is the right one.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { GuestBridge } from "../../../lab/guest-bridge.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Vm } from "../../../lab/vm.ts";
import { expectQuietRestart } from "../../contract/probes/support.ts";
import { Cloud, type Net, type Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

const SUB_PORTS = nightly ? 100 : 10;
/** Of the first sub-port; the others follow. */
const TAG = 100;
/** Of no sub-port. */
const NOBODY = 4000;

interface Machine {
  readonly vm: Vm;
  readonly bridge: GuestBridge;
  readonly parent: Resource;
  readonly trunk: Resource;
  /** By network. */
  readonly subs: Resource[];
}
interface Drop {
  readonly reason: string;
  readonly packets: number;
}

describe.skipIf(Lab.missing().length > 0)("trunks", () => {
  let cloud: Cloud;
  let base: Net;
  let nets: Net[];
  let one: Machine;
  let two: Machine;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "trunks", flags: ["--audit-interval", "1"] });
    base = await cloud.network("10.0.0.0/24");
    nets = [];
    for (let i = 0; i < SUB_PORTS; i++) nets.push(await cloud.network(`10.1.${i}.0/24`));
    [one, two] = [await machine(1), await machine(2)];
  }, 240_000);
  afterAll(async () => cloud?.destroy());

  const ipOf = ({ fixed_ips }: Resource): string => (fixed_ips as { ip_address: string }[])[0]!.ip_address;
  const vlan = (port: Resource, id: number): object => ({ port_id: port.id, segmentation_type: "vlan", segmentation_id: id });
  const change = async ({ trunk }: Pick<Machine, "trunk">, what: "add" | "remove", sub_ports: object[]): Promise<void> => {
    const answer = await cloud.call("PUT", `/v2.0/trunks/${trunk.id}/${what}_subports`, { sub_ports });
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  };
  const trunkActive = ({ trunk }: Pick<Machine, "trunk">): Promise<unknown> => until("the trunk", async () => (await cloud.show("trunk", trunk.id)).status === "ACTIVE", { timeoutMs: 60_000 });
  /** An interface on a tag, as a machine has it that was told of a sub-port. */
  async function configure({ vm, bridge }: Pick<Machine, "vm" | "bridge">, device: string, tag: number, port: Resource, net: Net, address = true): Promise<void> {
    await bridge.addInterface(device, { tag, mac: port.mac_address as string, mtu: net.network.mtu as number });
    if (address) await vm.setAddress(`${ipOf(port)}/24`, undefined, device);
  }

  /** Plugged with half of its sub-ports; the rest comes while it runs. */
  async function machine(n: number): Promise<Machine> {
    const parent = await cloud.create("port", { network_id: base.network.id });
    const subs: Resource[] = [];
    for (const { network } of nets) subs.push(await cloud.create("port", { network_id: network.id }));
    const half = SUB_PORTS / 2;
    const trunk = await cloud.create("trunk", { port_id: parent.id, sub_ports: subs.slice(0, half).map((port, i) => vlan(port, TAG + i)) });
    expect(trunk.status).toBe("DOWN");
    const vm = await cloud.lab.addVm({ name: `vm${n}`, hypervisor: cloud.hv(n), portId: parent.id, mac: parent.mac_address as string, mtu: base.network.mtu as number });
    const bridge = await GuestBridge.start(vm, `${cloud.lab.dir}/inner${n}`);
    const made = { vm, bridge, parent, trunk, subs };
    await configure(made, "own", 0, parent, base);
    for (const [i, port] of subs.entries()) await configure(made, `s${i}`, TAG + i, port, nets[i]!, i > 0);
    await trunkActive(made);
    await change(made, "add", subs.slice(half).map((port, i) => vlan(port, TAG + half + i)));
    await trunkActive(made);
    return made;
  }
  const flows = async (host: string): Promise<string[]> => (await cloud.hv(Number(host.slice(2))).ofctl("--no-stats", "dump-flows", "br-int")).split("\n").map((l) => l.trim()).filter((l) => l !== "" && !/reply|_timeout=.* actions=/.test(l)).sort();
  const dropsOf = async (port: Resource, reason: string): Promise<number> => (await cloud.controller.ops<Drop[]>("GET", `/drops?port=${port.id}`)).body.find((d) => d.reason === reason)?.packets ?? 0;
  /** Frames of a guest's interface that say something to nobody in particular: three ARP requests. */
  const ask = ({ vm }: Machine, device: string, address: string): Promise<unknown> => vm.exec(["arping", "-D", "-c", "3", "-w", "4", "-I", device, address], { allowFailure: true });
  interface Traced {
    readonly verdict: string;
    readonly delivered: readonly { readonly switch: string; readonly id?: string }[];
    readonly cause: { readonly reason: string; readonly text: string; readonly resources: readonly { readonly type: string; readonly id: string }[] } | null;
    readonly answer: Traced | null;
  }
  const trace = async (from: Resource, to: Resource): Promise<Traced> => (await cloud.controller.ops<Traced>("POST", "/trace", { from: from.id, to: to.id, protocol: "icmp" })).body;

  test("a sub-port gets its address by DHCP, as any port", async () => {
    for (const { vm, subs } of [one, two]) expect(await vm.dhcp({ device: "s0" })).toMatchObject({ ip: ipOf(subs[0]!), prefixLength: 24 });
  }, 60_000);

  test("each reaches the one on its network, and the parents each other without a tag", async () => {
    const reached = await Promise.all(nets.map(async (_, i) => (await one.vm.ping(ipOf(two.subs[i]!), { count: 3, device: `s${i}` })).received));
    expect(reached).toEqual(nets.map(() => 3));
    expect((await one.vm.ping(ipOf(two.parent), { count: 3 })).received).toBe(3);
    for (const [n, of] of [one, two].entries()) {
      for (const port of [of.parent, ...of.subs]) expect(await cloud.show("port", port.id)).toMatchObject({ status: "ACTIVE", "binding:host_id": `hv${n + 1}` });
    }
    expect(await cloud.differences()).toBe("");
  }, 120_000);

  test("a trace begins and ends at sub-ports, there and back, also where it goes no further", async () => {
    const [from, to] = [one.subs[1]!, two.subs[1]!];
    expect(await trace(from, to)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv2", id: to.id }], answer: { verdict: "delivered", delivered: [{ switch: "hv1", id: from.id }] } });
    expect(await trace(one.parent, two.parent)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv2", id: two.parent.id }], answer: { verdict: "delivered" } });
    // On one machine, from one port of it to another behind the same interface.
    const [a, b] = [await cloud.create("port", { network_id: nets[1]!.network.id }), await cloud.create("port", { network_id: nets[1]!.network.id })];
    const waiting = await cloud.create("trunk", { port_id: b.id });
    await change(one, "add", [vlan(a, 3000)]);
    await trunkActive(one);
    expect(await trace(from, a)).toMatchObject({ verdict: "delivered", delivered: [{ switch: "hv1", id: a.id }], answer: { verdict: "delivered", delivered: [{ switch: "hv1", id: from.id }] } });
    await change(one, "remove", [{ port_id: a.id }]);
    await change({ trunk: waiting }, "add", [vlan(a, 3000)]);
    await cloud.synced();
    for (const stopped of [await trace(a, from), await trace(from, a)]) {
      expect(stopped).toMatchObject({ verdict: "dropped", cause: { reason: "not_plugged", text: `port ${a.id} is in trunk ${waiting.id}, whose parent ${b.id} is plugged at no host` } });
    }
    await cloud.remove("trunk", waiting.id);
    for (const { id } of [a, b]) await cloud.remove("port", id);
  }, 60_000);

  test("each has its own security groups", async () => {
    const closed = await cloud.create("security_group", { name: "closed" });
    const [open, shut] = [two.subs[2]!, two.subs[3]!];
    const before = shut.security_groups;
    await cloud.update("port", shut.id, { security_groups: [closed.id] });
    await cloud.synced();
    expect((await one.vm.ping(ipOf(shut), { count: 3, device: "s3", timeoutMs: 300 })).received).toBe(0);
    expect((await one.vm.ping(ipOf(open), { count: 3, device: "s2" })).received).toBe(3);
    expect((await one.vm.ping(ipOf(two.parent), { count: 3 })).received).toBe(3);
    await cloud.create("security_group_rule", { security_group_id: closed.id, direction: "ingress", ethertype: "IPv4", protocol: "icmp" });
    await cloud.synced();
    expect((await one.vm.ping(ipOf(shut), { count: 3, device: "s3" })).received).toBe(3);
    await cloud.update("port", shut.id, { security_groups: before });
  }, 60_000);

  test("a sub-port sends as itself alone; what has another's tag, or nobody's, is dropped and counted", async () => {
    const [sub, other] = [one.subs[4]!, one.subs[1]!];
    await configure(one, "wrong", TAG + 1, sub, nets[4]!, false);
    await configure(one, "nobody", NOBODY, sub, nets[4]!, false);
    const seen = await Promise.all([two.vm.tcpdump("arp and host 10.1.4.250"), two.vm.tcpdump("vlan 4000")]);
    const before = [await dropsOf(other, "port_security"), await dropsOf(one.parent, "unknown_vlan")];
    // With the MAC of its own and the tag of another's; with a tag that nobody has.
    for (const device of ["wrong", "nobody"]) await ask(one, device, "10.1.4.250");
    await until("both to be counted", async () => (await dropsOf(other, "port_security")) - before[0]! >= 3 && (await dropsOf(one.parent, "unknown_vlan")) - before[1]! >= 3, { timeoutMs: 30_000 });
    await sleep(200);
    for (const capture of seen) expect((await capture.stop()).lines).toEqual([]);
    for (const device of ["wrong", "nobody"]) await one.bridge.removeInterface(device);
  }, 60_000);

  test("sub-ports come and go while the parent and another of its sub-ports ping: nothing is lost, and flows of others stay", async () => {
    const last = SUB_PORTS - 1;
    const sub = one.subs[last]!;
    await cloud.synced();
    const before = await flows("hv1");
    const pings = [one.vm.pingStart(ipOf(two.parent), { intervalMs: 10 }), one.vm.pingStart(ipOf(two.subs[2]!), { intervalMs: 10 })];
    const more = async (): Promise<unknown> => {
      const had = pings.map((p) => p.received);
      return until("answers", () => Promise.resolve(pings.every((p, i) => p.received > had[i]! + 20)), { timeoutMs: 20_000 });
    };
    await more();
    for (let round = 0; round < (nightly ? 20 : 3); round++) {
      await change(one, "remove", [{ port_id: sub.id }]);
      await until("its end", async () => (await cloud.show("port", sub.id)).status === "DOWN");
      await cloud.synced();
      const without = await flows("hv1");
      expect(without.filter((flow) => !before.includes(flow))).toEqual([]);
      expect(before.filter((flow) => !without.includes(flow)).length).toBeGreaterThan(5);
      expect((await two.vm.ping(ipOf(sub), { count: 2, timeoutMs: 200, device: `s${last}` })).received).toBe(0);
      await change(one, "add", [vlan(sub, TAG + last)]);
      await cloud.active(sub.id);
      await until("the sub-port", () => two.vm.reaches(ipOf(sub)));
      await more();
    }
    for (const p of pings) {
      const { sent, duplicates, gaps } = await p.stop();
      // The last may be under way when it ends.
      expect({ lost: gaps.filter(({ firstSeq, count }) => firstSeq + count - 1 < sent), duplicates }, `of ${sent}`).toEqual({ lost: [], duplicates: 0 });
    }
  }, 180_000);

  test("a machine moves to the other host by bindings, and its sub-ports with it, while one is pinged", { tags: "long", timeout: 120_000 }, async () => {
    const { parent } = two;
    const sub = two.subs[2]!;
    await cloud.update("port", parent.id, { device_owner: "compute:nova", device_id: "server", "binding:host_id": "hv2" });
    expect((await cloud.call("POST", `/v2.0/ports/${parent.id}/bindings`, { binding: { host: "hv1" } })).status).toBe(201);
    // What it will be there: as a twin, which hears nothing before. One of them runs at a time, as hypervisors have it.
    const vm = await cloud.lab.addVm({ name: "twin", hypervisor: cloud.hv(1), portId: parent.id, mac: parent.mac_address as string, mtu: base.network.mtu as number });
    const pause = (guest: Vm, paused: boolean): Promise<void> => guest.sysctl(`net.ipv4.icmp_echo_ignore_all=${paused ? 1 : 0}`);
    await pause(vm, true);
    const bridge = await GuestBridge.start(vm, `${cloud.lab.dir}/inner3`);
    await configure({ vm, bridge }, "own", 0, parent, base);
    await configure({ vm, bridge }, "s2", TAG + 2, sub, nets[2]!);
    await until("the interface to be wired", async () => (await cloud.hv(1).vsctl("--if-exists", "get", "Interface", vm.nic.tap, "external_ids:axion-installed")).includes("true"));
    await cloud.synced();
    const pings = [one.vm.pingStart(ipOf(parent), { intervalMs: 10 }), one.vm.pingStart(ipOf(sub), { intervalMs: 10 })];
    const more = async (): Promise<unknown> => {
      const had = pings.map((p) => p.received);
      return until("answers", () => Promise.resolve(pings.every((p, i) => p.received > had[i]! + 50)), { timeoutMs: 20_000 });
    };
    await more();
    for (const [host, left, entered] of [["hv1", two.vm, vm], ["hv2", vm, two.vm]] as const) {
      await pause(left, true);
      const [activated] = await Promise.all([cloud.call("PUT", `/v2.0/ports/${parent.id}/bindings/${host}/activate`), pause(entered, false)]);
      expect(activated.status).toBe(200);
      await more();
      await cloud.active(sub.id);
      expect((await cloud.show("port", sub.id))["binding:host_id"]).toBe(host);
    }
    // Each move may lose as many as that of a port without a trunk (mobility/live-migration.test.ts).
    for (const p of pings) {
      const { sent, received, duplicates } = await p.stop();
      expect(duplicates, "answered by one at a time").toBe(0);
      expect(sent - received).toBeLessThanOrEqual(1 + 2 * 20);
      console.log(`two moves of a trunk: ${sent - received} of ${sent} pings every 10 ms lost`);
    }
    await vm.unplug();
    expect((await cloud.call("DELETE", `/v2.0/ports/${parent.id}/bindings/hv1`)).status).toBe(204);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  });

  test("a restart sends nothing; unplugged, all of it is down, and the trunk can go", { tags: "long", timeout: 120_000 }, async () => {
    await expectQuietRestart(cloud);
    expect((await cloud.call("DELETE", `/v2.0/trunks/${one.trunk.id}`)).status).toBe(409);
    await one.vm.unplug();
    await until("the end of all", async () => (await cloud.show("trunk", one.trunk.id)).status === "DOWN" && (await cloud.show("port", one.subs[2]!.id)).status === "DOWN");
    expect((await two.vm.ping(ipOf(one.subs[2]!), { count: 2, timeoutMs: 200 })).received).toBe(0);
    await cloud.remove("trunk", one.trunk.id);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
    for (const port of [...one.subs, one.parent]) await cloud.remove("port", port.id);
  });
});
