// Probe 2: ports behind another port's interface, told by VLAN tags, that move to another host while they ping. Where a port is, is a
// joint: another app says it, l2 makes the flows. Whatever goes to such a port, be it an answer of the network itself, has its tag.
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { portTable } from "../../../apps/l2/model.ts";
import type { Vm } from "../../../lab/vm.ts";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Resource } from "../../support/cloud.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const VLAN = 100;
const probes = new Probes("subport");
afterAll(() => probes.delete());

test("incremental equals from scratch, whatever sub-ports and their parents come, move and go", { tags: "long", timeout: 120_000 }, async () => {
  await expectIncremental(probes, {
    resource: "sub_port",
    values: ({ ports }, n, m) => ({ port_id: ports[n % ports.length], parent_id: ports[m % ports.length], vlan: 100 + n }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "classify")).filter((f) => f.includes("dl_vlan=10")).length,
  });
});

test.each([["behind a policy", "", "sg_in"], ["where no app has one", "address-groups,group-statefulness,logging,security-groups", "egress"]])("its packets have a tag, %s", async (_, without, next) => {
  const h = await probes.harness({ without });
  try {
    await h.addChassis("hv1");
    const network = (await h.create("network", {})).id;
    await h.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" });
    const [parent, port] = [(await h.create("port", { network_id: network })).id, await h.create("port", { network_id: network })] as const;
    await h.plug("hv1", parent, 5);
    await h.create("sub_port", { port_id: port.id, parent_id: parent, vlan: VLAN });
    await h.settled();
    const key = `${h.layout.register("out_port_key").field}=0x${h.view.get(portTable, port.id)!.key.toString(16)}`;
    const to = (where: string): string => {
      const { id } = where === "egress" ? h.layout.entry(where)! : h.layout.table(where);
      return `(table=${id},|goto_table:${id}$|resubmit\\(,${id}\\))`;
    };
    const ways = flowTexts(h, "hv1", "locate").filter((f) => f.includes(`${key},`) || f.includes(`${key} `));
    expect(ways).toHaveLength(2);
    for (const way of ways) expect(way).toMatch(new RegExp(to(way.includes(",arp") ? "egress" : next)));
    expect(flowTexts(h, "hv1", "push_tag").filter((f) => f.includes(key)).map((f) => f.replace(/.*actions=/, "")).sort()).toEqual([expect.stringMatching(/^clone\(push_vlan:0x8100,set_field:4196->vlan_vid,load:0->NXM_OF_IN_PORT\[\],(output:|resubmit\()/), "drop"]);
  } finally {
    await h.close();
  }
});

test("its status follows where it is attached, once its switch has confirmed that; its parent's is its own", async () => {
  const h = await probes.harness();
  try {
    /** Services that hear of all confirmations, always. */
    const listening = h.receivers.size;
    for (const host of ["hv1", "hv2"]) await h.addChassis(host);
    const network = (await h.create("network", {})).id;
    const [parent, other, port] = [(await h.create("port", { network_id: network })).id, (await h.create("port", { network_id: network })).id, (await h.create("port", { network_id: network })).id];
    await h.plug("hv1", parent, 5);
    await h.plug("hv2", other, 6);
    await h.settled();
    const status = async (id = port): Promise<string> => {
      const { status: is, "binding:host_id": host, "binding:vif_type": type } = (await h.call("GET", `/v2.0/ports/${id}`)).body.port;
      return `${is} ${host} ${type}`;
    };
    const becomes = (wanted: string): Promise<void> => vi.waitFor(async () => expect(await status()).toBe(wanted));
    expect(await status()).toBe("DOWN  unbound");
    const { id } = await h.create("sub_port", { port_id: port, parent_id: parent, vlan: VLAN });
    await becomes("BUILD hv1 ovs");
    expect(h.receivers.size).toBe(listening + 1);
    h.confirm("hv2");
    await h.settled();
    expect(await status()).toBe("BUILD hv1 ovs");
    h.confirm("hv1");
    await becomes("ACTIVE hv1 ovs");
    expect(h.receivers.size).toBe(listening);
    const parentAt = await status(parent);
    // Elsewhere, taken down by its owner, and back.
    expect((await h.call("PUT", `/v2.0/sub-ports/${id}`, { sub_port: { parent_id: other } })).status).toBe(200);
    await becomes("BUILD hv2 ovs");
    h.confirm("hv2");
    await becomes("ACTIVE hv2 ovs");
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: false } });
    await becomes("DOWN  unbound");
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { admin_state_up: true } });
    await becomes("BUILD hv2 ovs");
    h.confirm("hv2");
    await becomes("ACTIVE hv2 ovs");
    // What another change of the port does to its status as if it were plugged is put right.
    await h.call("PUT", `/v2.0/ports/${port}`, { port: { "binding:host_id": "hv2" } });
    await becomes("ACTIVE hv2 ovs");
    expect(await status(parent)).toBe(parentAt);
    await h.unplug("hv2", other);
    await becomes("DOWN hv2 ovs");
    expect(h.complaints).toEqual([]);
  } finally {
    await h.close();
  }
});

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let clean: Held[];
  /** Ports whose interfaces carry tagged frames, one on each host; behind each a bridge of the host's own, as a VM might have. */
  let parents: readonly Resource[];
  /** The parent's own guest on the first host, and the guests of two sub-ports: each on an access port of its VLAN, which no frame without the tag reaches. */
  let outer: Guest;
  let inside: Guest;
  let sibling: Guest;

  interface Guest extends Instance {
    readonly vlan: number;
  }

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud());
    const { cloud, nets, router } = scene;
    const { id: subnet } = await cloud.create("subnet", { network_id: nets[0].network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    expect((await cloud.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
    parents = await Promise.all(cloud.hypervisors.map(async (hv) => {
      const port = await cloud.create("port", { network_id: nets[1].network.id });
      await hv.vsctl(
        "add-br", "trunk", "--", "set", "Bridge", "trunk", "datapath_type=netdev",
        "--", "add-port", "trunk", "up", "--", "set", "Interface", "up", "type=patch", "options:peer=down",
        "--", "add-port", "br-int", "down", "--", "set", "Interface", "down", "type=patch", "options:peer=up", `external_ids:iface-id=${port.id}`,
      );
      await cloud.active(port.id);
      return port;
    }));
    outer = await guest("outer", parents[0]!, 0);
    inside = await guest("inside", await cloud.create("port", { network_id: nets[0].network.id }), VLAN);
    sibling = await guest("sibling", await cloud.create("port", { network_id: nets[0].network.id }), VLAN + 1);
    await cloud.synced();
    clean = await held(cloud);
  }, 120_000);
  afterAll(async () => scene?.cloud.destroy());

  /** A guest on the bridge behind the first parent. */
  async function guest(name: string, port: Resource, vlan: number): Promise<Guest> {
    const { cloud, nets } = scene;
    const vm = await cloud.lab.addVm({ name, hypervisor: cloud.hv(1), bridge: "trunk", portId: randomUUID(), mac: port.mac_address as string, mtu: nets[0].network.mtu as number });
    const [{ ip_address: ip }] = (port.fixed_ips as { ip_address: string }[]).filter((a) => !a.ip_address.includes(":")) as [{ ip_address: string }];
    await vm.setAddress(`${ip}/24`, ip.replace(/\d+$/, "1"));
    const made = { vm, port, ip, vlan };
    await tag(made, 1);
    return made;
  }
  /** Without a tag an interface gets those without alone. */
  const tag = async ({ vm, vlan }: Guest, host: number): Promise<void> => {
    await scene.cloud.hv(host).vsctl("set", "Port", vm.nic.tap, ...(vlan === 0 ? ["vlan_mode=native-untagged", "trunks=0"] : [`tag=${vlan}`]));
  };
  const attach = ({ port, vlan }: Guest, host: number): Promise<Resource> => scene.cloud.create("sub_port", { port_id: port.id, parent_id: parents[host - 1]!.id, vlan });
  const reached = (): Promise<boolean> => scene.b.vm.reaches(inside.ip);
  /** The address that a port has by its MAC. */
  const v6 = async ({ port }: { readonly port: Resource }): Promise<string> =>
    ((await scene.cloud.show("port", port.id)).fixed_ips as { ip_address: string }[]).find((a) => a.ip_address.includes(":"))!.ip_address;
  /** So many pings of these were answered, each asked when the pinging host had forgotten its neighbours. */
  async function answered(from: Vm, to: string, times: number): Promise<number> {
    let count = 0;
    for (let i = 0; i < times; i++) {
      await from.exec(["ip", to.includes(":") ? "-6" : "-4", "neigh", "flush", "dev", "eth0"]);
      count += (await from.ping(to, { count: 1 })).received;
    }
    return count;
  }
  /** Flows of a switch that take tagged frames in. */
  const flowsOf = async (host: string): Promise<string[]> =>
    (await scene.cloud.controller.ops<{ flows: { match: string }[] }>("GET", `/flows?switch=${host}&state=installed&table=classify`)).body.flows.map((f) => f.match).filter((m) => m.includes("dl_vlan="));
  /** With the two sub-ports in use. */
  async function inUse(run: () => Promise<void>): Promise<void> {
    const made = [await attach(inside, 1), await attach(sibling, 1)];
    await until("the sub-port", reached);
    try {
      await run();
    } finally {
      for (const { id } of made) await scene.cloud.remove("sub_port", id);
    }
    await scene.cloud.synced();
    expect(await held(scene.cloud)).toEqual(clean);
  }

  test("unused it costs no lookup; behind an interface it is reached, on its own network", async () => {
    await expectNoLookup(scene);
    const it = await attach(inside, 1);
    await scene.cloud.active(inside.port.id);
    await until("the sub-port", reached);
    expect((await scene.cloud.show("port", parents[0]!.id)).status).toBe("ACTIVE");
    expect(await scene.b.vm.ping(inside.ip, { count: 20, intervalMs: 20 })).toMatchObject({ received: 20 });
    await expectNoLookup(scene);
    await scene.cloud.remove("sub_port", it.id);
    await until("its end", async () => (await scene.cloud.show("port", inside.port.id)).status === "DOWN");
    await until("silence", async () => !(await scene.b.vm.reaches(inside.ip, { timeoutMs: 300 })));
  }, 60_000);

  test("it finds its neighbours, and they find it, whenever they ask: 20 of 20", { tags: "long", timeout: 60_000 }, () => inUse(async () => {
    const { a, b, c } = scene;
    expect(await answered(inside.vm, a.ip, 20)).toBe(20);
    expect(await answered(b.vm, inside.ip, 20)).toBe(20);
    expect(await answered(c.vm, inside.ip, 5)).toBe(5);
    // Another behind the same interface, and the one whose interface it is: across the router.
    expect(await answered(inside.vm, sibling.ip, 20)).toBe(20);
    expect(await answered(inside.vm, outer.ip, 20)).toBe(20);
    expect(await answered(outer.vm, inside.ip, 20)).toBe(20);
  }));

  test("the network's own answers reach it: ARP, the router's ping, time exceeded, DHCP", { tags: "long", timeout: 60_000 }, () => inUse(async () => {
    const { a, c, nets, routerMac } = scene;
    const gateway = nets[0].subnet.gateway_ip as string;
    expect(await inside.vm.arping(a.ip, { count: 5 })).toEqual(Array.from({ length: 5 }, () => a.port.mac_address as string));
    expect(await inside.vm.arping(gateway, { count: 2 })).toEqual([routerMac, routerMac]);
    expect(await answered(inside.vm, gateway, 20)).toBe(20);
    expect((await inside.vm.exec(["ping", "-n", "-c", "3", "-i", "0.2", "-t", "1", c.ip], { allowFailure: true })).stdout.match(new RegExp(`From ${gateway} .*Time to live exceeded`, "g"))).toHaveLength(3);
    await inside.vm.configure("addr flush dev eth0");
    expect(await inside.vm.dhcp()).toMatchObject({ ip: inside.ip, prefixLength: 24, routers: [gateway] });
    expect(await answered(inside.vm, a.ip, 1)).toBe(1);
  }));

  test("and those of IPv6: advertisements of neighbours and routers, asked for or not", { tags: "long", timeout: 60_000 }, () => inUse(async () => {
    const { a } = scene;
    const own = await v6(inside);
    const heard = await inside.vm.tcpdump("-Q in icmp6 and ip6[40] == 134");
    // The link comes up: the host asks for routers, and makes its address of what it hears.
    await inside.vm.configure("link set eth0 down", "link set eth0 up");
    await inside.vm.setAddress(`${inside.ip}/24`, scene.nets[0].subnet.gateway_ip as string);
    await until("its address", async () => (await inside.vm.addresses()).includes(`${own}/64`));
    expect(heard.lines.length).toBeGreaterThan(0);
    // A change of the router is told to all, unasked.
    const before = heard.lines.length;
    await scene.cloud.update("network", scene.nets[0].network.id, { mtu: 1300 });
    await until("what nobody asked for", () => Promise.resolve(heard.lines.slice(before).some((line) => line.includes("ff02::1"))), { timeoutMs: 10_000 });
    await heard.stop();
    await scene.cloud.update("network", scene.nets[0].network.id, { mtu: scene.nets[0].network.mtu as number });
    const other = await v6(a);
    await until("the neighbour's address", async () => (await a.vm.addresses()).includes(`${other}/64`));
    expect(await answered(inside.vm, other, 20)).toBe(20);
    expect(await answered(a.vm, own, 20)).toBe(20);
    expect(await answered(inside.vm, "fd00:1::1", 20)).toBe(20);
  }));

  test("of broadcast it gets one copy with its own tag, others one without, the sender none", () => inUse(async () => {
    const { a, b } = scene;
    const [atA, atInside, atSibling] = [await a.vm.tcpdump("-Q in"), await inside.vm.tcpdump("-Q in"), await sibling.vm.tcpdump("-Q in")];
    // Whether anybody has this address is for its owner to say: the question goes to all.
    const probe = async (from: Instance, ip: string): Promise<number> => (await from.vm.exec(["arping", "-D", "-I", "eth0", "-c", "3", "-w", "5", ip], { allowFailure: true })).exitCode;
    const asked = (lines: readonly string[], ip: string): string[] => lines.filter((line) => line.includes(`who-has ${ip} `));
    const vacant = "10.0.0.200";
    expect(await probe(inside, vacant)).toBe(0);
    await until("all copies", () => Promise.resolve(asked(atA.lines, vacant).length >= 3 && asked(atSibling.lines, vacant).length >= 3));
    const counts = [asked(atA.lines, vacant), asked(atSibling.lines, vacant), asked(atInside.lines, vacant)];
    expect(counts.map((lines) => lines.length)).toEqual([3, 3, 0]);
    expect(counts.flat().filter((line) => line.includes("802.1Q"))).toEqual([]);
    // From the other host: to every port of this one, whose owner answers.
    expect([await probe(b, inside.ip), await probe(b, sibling.ip)]).toEqual([1, 1]);
    for (const capture of [atA, atInside, atSibling]) expect((await capture.stop()).lines.filter((line) => line.includes("802.1Q"))).toEqual([]);
  }), 60_000);

  test("it moves to another host while it pings and is pinged", async () => {
    const { cloud, a, b } = scene;
    const it = await attach(inside, 1);
    await until("the sub-port", reached);
    const pings = [inside.vm.pingStart(a.ip, { intervalMs: 20 }), b.vm.pingStart(inside.ip, { intervalMs: 20 })];
    const more = (than: readonly number[]): Promise<boolean> => Promise.resolve(pings.every((p, i) => p.received > than[i]! + 20));
    await until("answers", () => more([0, 0]));
    for (const host of [2, 1]) {
      await inside.vm.moveTo(cloud.hv(host));
      await tag(inside, host);
      await cloud.update("sub_port", it.id, { parent_id: parents[host - 1]!.id });
      const before = pings.map((p) => p.received);
      await until("answers after the move", () => more(before));
      await cloud.synced();
      await cloud.active(inside.port.id);
      expect((await cloud.show("port", inside.port.id))["binding:host_id"]).toBe(`hv${host}`);
      expect(await flowsOf(`hv${host}`)).toHaveLength(1);
      expect(await flowsOf(`hv${3 - host}`)).toEqual([]);
    }
    for (const p of pings) await p.stop();
    await cloud.remove("sub_port", it.id);
    await cloud.synced();
    expect(await held(cloud)).toEqual(clean);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("a restart sends nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", { tags: "long", timeout: 120_000 }, async () => {
    const { cloud } = scene;
    const it = await attach(inside, 1);
    await expectQuietRestart(cloud);
    await cloud.remove("sub_port", it.id);
    await expectHealing(cloud, clean, async () => {
      const made = await attach(inside, 1);
      return () => cloud.remove("sub_port", made.id);
    }, { atNight: true });
    await attach(inside, 1);
    await until("the sub-port", reached);
    await expectGone(probes, scene, clean);
    expect(await scene.b.vm.reaches(inside.ip, { timeoutMs: 300 })).toBe(false);
  });
});
