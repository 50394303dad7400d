// Every way into the pipeline names who may use it: a frame with the right VNI is taken from a chassis that may send into the
// network, and from nobody else.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildEthernet, buildIpv4, buildUdp, ethertypes, ipProtocols } from "packet-codec";
import { until } from "../../../lab/exec.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

const GENEVE = 6081;
const VXLAN = 4789;
const STRANGER = "172.31.0.254";

/** A Geneve (RFC 8926 section 3) or VXLAN (RFC 7348 section 5) header in front of a frame. */
const tunnelled = (type: "geneve" | "vxlan", vni: number, frame: Buffer): Buffer => {
  const head = Buffer.alloc(8);
  if (type === "geneve") head.writeUInt16BE(0x6558, 2);
  else head[0] = 0x08;
  head.writeUIntBE(vni, 4, 3);
  return Buffer.concat([head, frame]);
};

describe.skipIf(Lab.missing().length > 0).each(nightly ? (["geneve", "vxlan"] as const) : (["geneve"] as const))("%s", (type) => {
  let cloud: Cloud;
  let net: Net;
  let other: Net;
  let a: Instance;
  let b: Instance;
  let vni: number;

  beforeAll(async () => {
    cloud = await Cloud.create({ hypervisors: 3, encapTypes: [type] });
    net = await cloud.network("10.0.0.0/24");
    other = await cloud.network("10.0.9.0/24");
    a = await cloud.instance(cloud.hv(1), net);
    b = await cloud.instance(cloud.hv(2), net);
    await cloud.instance(cloud.hv(3), other);
    await until("the network to work", () => a.vm.reaches(b.ip));
    const rows = (await cloud.controller.ops<{ flows: { match: string; resources: { id: string }[] }[] }>("GET", "/flows?switch=hv2&table=classify")).body.flows;
    vni = Number(rows.find((f) => f.match.includes("tun_id") && f.resources.some((r) => r.id === net.network.id))!.match.match(/tun_id=(0x[0-9a-f]+)/)![1]);
  });
  afterAll(async () => cloud?.destroy());

  /** Sends what a forged VM would, with an outer source of one's choice, to hv2. */
  async function inject(source: string, marker: string): Promise<void> {
    const ends = { src: a.ip, dst: b.ip };
    const udp = buildUdp({ src_port: 7777, dst_port: 7777 }, Buffer.from(marker), ends);
    const frame = buildEthernet({ dst: b.port.mac_address as string, src: a.port.mac_address as string, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, udp));
    const outer = { src: source, dst: cloud.hv(2).encapIp };
    const packet = buildIpv4({ ...outer, protocol: ipProtocols.udp }, buildUdp({ src_port: 40_000, dst_port: type === "geneve" ? GENEVE : VXLAN }, tunnelled(type, vni, frame), outer));
    const program = "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_RAW)\nfor i in range(5): s.sendto(bytes.fromhex(sys.argv[1]),(sys.argv[2],0))";
    await cloud.lab.underlayNode.exec(["python3", "-c", program, packet.toString("hex"), outer.dst]);
  }

  /** Packets that the drop of strangers has counted on a host. */
  async function dropped(hv: Hypervisor): Promise<number> {
    const port = (await hv.vsctl("get", "Interface", `axion-${type}`, "ofport")).trim();
    const dump = await hv.ofctl("dump-flows", "br-int", `table=0,in_port=${port}`);
    return [...dump.matchAll(/n_packets=(\d+).*priority=10,in_port/g)].reduce((sum, m) => sum + Number(m[1]), 0);
  }

  async function arrives(source: string): Promise<boolean> {
    const capture = await b.vm.tcpdump("udp port 7777");
    await inject(source, "marker");
    // What was sent after it has arrived: what has not come by then was dropped.
    for (let i = 0; i < 3 && capture.lines.length === 0; i++) await b.vm.reaches(a.ip);
    const { lines } = await capture.stop();
    return lines.some((line) => line.includes("7777"));
  }

  async function droppedAndCounted(source: string): Promise<void> {
    const before = await dropped(cloud.hv(2));
    await until("the switch to count five", async () => {
      expect(await arrives(source)).toBe(false);
      return (await dropped(cloud.hv(2))) >= before + 5;
    });
  }

  beforeAll(async () => {
    // Policy must not be what stops it.
    const group = ((await cloud.show("port", b.port.id)).security_groups as string[])[0]!;
    await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", protocol: "udp" });
    await cloud.synced();
    // The underlay resolves hv2's address before, so that none of the few frames is lost to that.
    await until("the underlay to reach hv2", async () => (await cloud.lab.underlayNode.exec(["ping", "-c", "1", "-W", "1", cloud.hv(2).encapIp], { allowFailure: true })).exitCode === 0);
  });

  // A frame may be lost on a busy underlay: what should arrive is sent until it does, what should not is counted.
  test("a chassis of the network gets through", async () => {
    await until("a frame to arrive", () => arrives(cloud.hv(1).encapIp));
  });

  test("a stranger's frame is dropped and counted", async () => {
    await droppedAndCounted(STRANGER);
  });

  test("a chassis that has neither the network nor a way into it is a stranger too", async () => {
    await droppedAndCounted(cloud.hv(3).encapIp);
  });

  test("until a router gives it a way, and again when the way is gone", async () => {
    const router = await cloud.router([net, other]);
    await cloud.synced();
    await until("a frame to arrive", () => arrives(cloud.hv(3).encapIp));
    for (const { subnet } of [net, other]) await cloud.call("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id });
    await cloud.synced();
    expect(await arrives(cloud.hv(3).encapIp)).toBe(false);
  });
});
