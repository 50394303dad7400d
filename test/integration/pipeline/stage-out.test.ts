// Packets that a service sends into a stage, on a real ovs-vswitchd with dummy interfaces: the pipeline takes them where they belong,
// and the receiver's security groups apply. The controller runs in this process, with one app more.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chassisTable, type App, type ServiceHost, type StageOut } from "#app";
import { buildArp, buildEthernet, buildIpv4, buildUdp, ethertypes, ipProtocols } from "packet-codec";
import { subnetTable } from "../../../apps/ipam/model.ts";
import { attachmentTable, networkTable, portTable, toPort } from "../../../apps/l2/model.ts";
import { routerTable } from "../../../apps/l3/model.ts";
import { Controller } from "../../../src/controller.ts";
import { eventually, Ovs } from "../../../src/southbound/testing/ovs.ts";
import { freePorts } from "../../../lab/free-ports.ts";
import { appsFolder, silent } from "../../support/harness.ts";
import { httpCall } from "../../support/process.ts";

const OUTSIDE = "fa:16:3e:00:00:99";

let host: ServiceHost;
let stopped = 0;
const probe: App = {
  name: "probe", about: "sends what the test says", requires: ["l2"],
  services: [{
    name: "sender", about: "sends what the test says",
    start(given) {
      host = given;
      return () => {
        stopped++;
      };
    },
  }],
};

let ovs: Ovs;
let controller: Controller;
let api: number;
const dataDir = mkdtempSync(path.join(tmpdir(), "axion-stage-out-"));

async function create(resource: string, values: Record<string, unknown>): Promise<{ readonly id: string; readonly mac_address: string; readonly fixed_ips: readonly { readonly ip_address: string }[] }> {
  const answer = await httpCall(api, "POST", `/v2.0/${resource.replaceAll("_", "-")}s`, { [resource]: values });
  expect(answer.status, answer.text).toBe(201);
  return answer.body[resource];
}

/** A VM's port and its interface: a dummy one, which counts what it is given. */
async function vm(network: string, groups: readonly string[], name: string): Promise<{ readonly id: string; readonly mac: string; readonly ip: string }> {
  const port = await create("port", { network_id: network, security_groups: groups });
  await ovs.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, `external_ids:iface-id=${port.id}`);
  await eventually("its flows", () => host.view.get(attachmentTable, port.id) !== undefined);
  await eventually("its mark", async () => (await ovs.iface(name, "external_ids")).includes("axion-installed"));
  return { id: port.id, mac: port.mac_address, ip: port.fixed_ips[0]!.ip_address };
}

/** Packets that the switch gave to an interface. */
const counted = async (name: string): Promise<number> => Number(/tx pkts=(\d+)/.exec(await ovs.ofctl("dump-ports", "br-int", name))![1]);

const udp = (dst: string, port: number, to = "10.0.0.10"): Buffer => {
  const ends = { src: "10.0.0.200", dst: to };
  return buildEthernet({ src: OUTSIDE, dst, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, buildUdp({ src_port: 1000, dst_port: port }, Buffer.from("x"), ends)));
};

let a: Awaited<ReturnType<typeof vm>>;
let b: Awaited<ReturnType<typeof vm>>;
let net: string;

beforeAll(async () => {
  const [apiPort, ops, openflow, ovsdb] = (await freePorts(4)) as [number, number, number, number];
  api = apiPort;
  const at = (port: number): { host: string; port: number } => ({ host: "127.0.0.1", port });
  controller = new Controller({
    log: silent, appsFolder, apps: [probe],
    config: {
      dataDir, store: "memory:", api: at(api), ops: at(ops), openflow: at(openflow), ovsdb: at(ovsdb), advertise: undefined, tls: undefined, auth: { kind: "none" }, policyFile: undefined, opsTokenFile: undefined, allowedHosts: [], corsOrigins: [], rates: { project: undefined, unauthenticated: undefined }, disabledApps: [], name: "test", auditIntervalMs: 0, logLevel: "silent", logPretty: false,
    },
  });
  await controller.start();
  ovs = await Ovs.start({ "system-id": "hv1", "ovn-encap-ip": "192.0.2.11", "ovn-encap-type": "geneve" });
  await ovs.vsctl("set-manager", `tcp:127.0.0.1:${ovsdb}`);
  await eventually("the host", () => host.view.get(chassisTable, "hv1") !== undefined);
  net = (await create("network", {})).id;
  await create("subnet", { network_id: net, ip_version: 4, cidr: "10.0.0.0/24" });
  const group = (await create("security_group", { name: "udp 5000" })).id;
  await create("security_group_rule", { security_group_id: group, direction: "ingress", protocol: "udp", port_range_min: 5000, port_range_max: 5000 });
  a = await vm(net, [group], "tap-a");
  b = await vm(net, [group], "tap-b");
}, 60_000);
afterAll(async () => {
  await controller?.stop();
  await ovs?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

/** What each of the two got more of, a while after these were sent. */
async function send(...packets: Omit<StageOut, "chassis">[]): Promise<{ a: number; b: number }> {
  const before = [await counted("tap-a"), await counted("tap-b")] as const;
  host.send(packets.map((p) => ({ chassis: "hv1", ...p })));
  await new Promise((done) => setTimeout(done, 300));
  return { a: (await counted("tap-a")) - before[0], b: (await counted("tap-b")) - before[1] };
}

const netKey = (): number => host.view.get(networkTable, net)!.key;
const keyOf = (port: { readonly id: string }): number => host.view.get(portTable, port.id)!.key;

describe("a packet into a stage", () => {
  test("locate: arrives at the port, if its security groups let it", async () => {
    const into = (data: Buffer): Omit<StageOut, "chassis"> => ({ stage: "locate", registers: { net: netKey(), out_port_key: keyOf(a) }, data });
    expect(await send(into(udp(a.mac, 5000)))).toEqual({ a: 1, b: 0 });
    expect(await send(into(udp(a.mac, 5001)), into(udp(a.mac, 4999)))).toEqual({ a: 0, b: 0 });
    // ARP is no matter of security groups.
    const arp = buildEthernet({ src: OUTSIDE, dst: a.mac, ethertype: ethertypes.arp }, buildArp({ op: 1, sha: OUTSIDE, spa: "10.0.0.200", tha: "00:00:00:00:00:00", tpa: "10.0.0.10" }));
    expect(await send(into(arp))).toEqual({ a: 1, b: 0 });
  });

  test("locate, of the network itself: arrives whatever the security groups say, where the port is", async () => {
    const [answer, elsewhere] = [toPort("hv1", netKey(), keyOf(a), udp(a.mac, 5001)), toPort("hv1", netKey(), keyOf(a) + 1000, udp(a.mac, 5001))];
    expect(await send(answer)).toEqual({ a: 1, b: 0 });
    expect(await send(elsewhere)).toEqual({ a: 0, b: 0 });
    const zone = host.view.get(attachmentTable, a.id)!.slot;
    expect(await ovs.appctl("dpctl/dump-conntrack", `zone=${zone}`), "no connection comes of it").not.toContain("dport=5001");
  });

  test("forward: finds the port by its MAC, or everybody", async () => {
    const into = (data: Buffer, more: Record<string, number> = {}): Omit<StageOut, "chassis"> => ({ stage: "forward", registers: { net: netKey(), ...more }, data });
    expect(await send(into(udp(b.mac, 5000)))).toEqual({ a: 0, b: 1 });
    expect(await send(into(udp(b.mac, 5001)))).toEqual({ a: 0, b: 0 });
    expect(await send(into(udp("ff:ff:ff:ff:ff:ff", 5000)))).toEqual({ a: 1, b: 1 });
    expect(await send(into(udp(OUTSIDE, 5000)))).toEqual({ a: 0, b: 0 });
    expect(await send({ stage: "forward", registers: { net: netKey() + 1000 }, data: udp(b.mac, 5000) })).toEqual({ a: 0, b: 0 });
  });

  test("locate, of a conversation: replies to the VM come in, what is new does not; into acl_in itself nothing, as nobody said whose policy it is", async () => {
    const at = host.view.get(attachmentTable, a.id)!;
    const located: Omit<StageOut, "chassis"> = { stage: "locate", registers: { net: netKey(), out_port_key: keyOf(a) }, data: udp(a.mac, 7777, a.ip) };
    const into: Omit<StageOut, "chassis"> = { ...located, stage: "acl_in", registers: { net: netKey(), out_port_key: keyOf(a), out_port: at.ofport, ct_zone: at.slot } };
    expect(await send(located)).toEqual({ a: 0, b: 0 });
    // The VM asks; what comes now is the answer.
    const ends = { src: a.ip, dst: "10.0.0.200" };
    const question = buildIpv4({ ...ends, protocol: ipProtocols.udp }, buildUdp({ src_port: 7777, dst_port: 1000 }, Buffer.from("?"), ends));
    await ovs.appctl("netdev-dummy/receive", "tap-a", buildEthernet({ src: a.mac, dst: b.mac, ethertype: ethertypes.ipv4 }, question).toString("hex"));
    await eventually("the connection", async () => (await ovs.appctl("dpctl/dump-conntrack", `zone=${at.slot}`)).includes("sport=7777"));
    expect(await send(located)).toEqual({ a: 1, b: 0 });
    expect(await send(into)).toEqual({ a: 0, b: 0 });
  });

  test("route: arrives behind the router, though on its way it comes by no port and passes conntrack", async () => {
    const router = (await create("router", {})).id;
    expect((await httpCall(api, "PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: host.view.by(subnetTable, "network", net)[0]!.id })).status).toBe(200);
    await eventually("its flows", async () => (await ovs.ofctl("dump-flows", "br-int")).includes("nw_dst=10.0.0.0/24"));
    const into: Omit<StageOut, "chassis"> = { stage: "route", registers: { net: netKey(), router: host.view.get(routerTable, router)!.key }, data: udp(OUTSIDE, 5000, a.ip) };
    expect(await send(into)).toEqual({ a: 1, b: 0 });
    expect((await httpCall(api, "PUT", `/v2.0/routers/${router}/remove_router_interface`, { subnet_id: host.view.by(subnetTable, "network", net)[0]!.id })).status).toBe(200);
  });

  test("deliver: out of the port that out_port holds, with no policy", async () => {
    const at = host.view.get(attachmentTable, b.id)!;
    expect(await send({ stage: "deliver", registers: { out_port: at.ofport, out_port_key: keyOf(b) }, data: udp(b.mac, 7) })).toEqual({ a: 0, b: 1 });
  });

  test("with a port it comes from: does not go back there", async () => {
    const at = host.view.get(attachmentTable, a.id)!;
    const into: Omit<StageOut, "chassis"> = { stage: "forward", registers: { net: netKey() }, data: udp("ff:ff:ff:ff:ff:ff", 5000), inPort: at.ofport };
    expect(await send(into)).toEqual({ a: 0, b: 1 });
  });

  test("of a switch that is not there is dropped", () => expect(() => host.send([{ chassis: "hv9", stage: "locate", registers: {}, data: udp(a.mac, 1) }])).not.toThrow());
});

test("the service stops with the controller", async () => {
  await controller.stop();
  expect(stopped).toBe(1);
  expect(() => host.send([])).toThrow("is stopped");
});
