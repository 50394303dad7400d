// What becomes of IP multicast by the desired flows of a host: what passes policy, and what comes to the controller, which says some of it again.
import { buildEthernet, buildIcmpv6Body, buildIgmp, buildIpv4, buildIpv6, ethertypes, ipProtocols, linkLocal, type Icmpv6Body } from "packet-codec";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { PacketIn, StageOut } from "#app";
import { Harness, silent } from "../../test/support/harness.ts";
import { leavesBy, traceOut } from "../../test/support/sent.ts";
import { Packet, packetOfFrame, trace, TraceSwitch } from "../../src/trace/index.ts";
import { networkTable, portTable } from "../l2/model.ts";
import { punted } from "./packet-in.ts";

let h: Harness;
let network: string;
const GENEVE = 65_101;
const OPEN = { port_security_enabled: false, security_groups: [] };

beforeEach(async () => {
  h = await Harness.make([], undefined, { settings: new Map([["multicast", { "multicast-snooping": true }]]) });
  await h.addChassis("hv1");
  network = (await h.create("network", {})).id;
  await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00::/64" });
});
afterEach(async () => {
  expect(h.engine.conflicts).toEqual([]);
  expect(h.complaints).toEqual([]);
  await h.close();
});

const port = async (ofport: number, values: Record<string, unknown>): Promise<string> => {
  const { id } = await h.create("port", { network_id: network, ...values });
  await h.plug("hv1", id, ofport);
  await h.settled();
  return id;
};
const macOf = (id: string): string => h.view.get(portTable, id)!.mac_address;

test("what a port says of groups of IPv6 passes policy to groups alone, and to nobody's own address", async () => {
  const [sender, receiver] = [await port(1, { security_groups: [] }), await port(2, OPEN)];
  const leaves = (icmpv6_type: number, eth_dst: string, ipv6_dst: string): number[] => {
    const sw = TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1"));
    const packet = Packet.of({ in_port: 1, eth_src: macOf(sender), eth_dst, eth_type: 0x86dd, ipv6_src: linkLocal(macOf(sender)), ipv6_dst, ip_proto: 58, icmpv6_type, icmpv6_code: 0, ip_ttl: 1 });
    return trace(sw, packet).outputs.map((o) => o.port);
  };
  const [GROUP, GROUP_MAC] = ["ff0e::1234", "33:33:00:00:12:34"];
  expect(leaves(131, GROUP_MAC, GROUP), "a report").toEqual([2]);
  for (const type of [131, 132, 143]) {
    expect(leaves(type, macOf(receiver), linkLocal(macOf(receiver)))).toEqual([]);
    expect(leaves(type, macOf(receiver), GROUP)).toEqual([]);
    expect(leaves(type, GROUP_MAC, linkLocal(macOf(receiver)))).toEqual([]);
  }
});

test("a router's question to a group that reports go to gets to all, and does not come to the controller again", async () => {
  const router = await port(1, OPEN);
  await port(2, { security_groups: [] });
  const { key } = h.view.get(portTable, router)!;
  for (const group of ["239.1.2.3", "224.0.0.1", "224.0.0.2", "224.0.0.22"]) {
    const data = buildEthernet({ dst: "01:00:5e:00:00:16", src: macOf(router), ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.5", dst: group, protocol: ipProtocols.igmp, ttl: 1 }, buildIgmp({ kind: "query", version: 2, max_resp_code: 10, group: "0.0.0.0" })));
    const registers: Readonly<Record<string, number>> = { in_port_key: key, net: h.view.get(networkTable, network)!.key };
    const packet: PacketIn = { chassis: "hv1", inPort: 1, table: "multicast_punted", data, register: (name: string) => registers[name] ?? 0 };
    for (const out of punted(packet, h.view, silent) as readonly StageOut[]) {
      expect(traceOut(h, "multicast", out).punts, group).toEqual([]);
      expect(leavesBy(h, "multicast", out), group).toContain(2);
    }
  }
});

test("what is longer than a report is none: it goes to nobody, and no report has records without end", async () => {
  const [sender] = [await port(1, { security_groups: [] }), await port(2, OPEN)];
  const src = linkLocal(macOf(sender));
  const said = (dst: string, mac: string, body: Icmpv6Body, more = 0): { readonly outputs: number[]; readonly punts: (number | undefined)[] } => {
    const frame = buildEthernet({ dst: mac, src: macOf(sender), ethertype: ethertypes.ipv6 }, buildIpv6({ src, dst, next_header: ipProtocols.icmpv6, hop_limit: 1, extension_headers: [{ header: "hopByHop", options: [{ option: "routerAlert", value: 0 }] }] }, Buffer.concat([buildIcmpv6Body(body, { src, dst }), Buffer.alloc(more)])));
    const { outputs, punts } = trace(TraceSwitch.ofDesired(h.engine.flowsOf("hv1"), h.engine.itemsOf("hv1")), packetOfFrame(frame, { metadata: { in_port: 1 } }));
    return { outputs: outputs.map((o) => o.port), punts: punts.map((p) => p.maxLen) };
  };
  const report = { kind: "mldReport", code: 0, max_resp_code: 0, group: "ff0e::1234" } as const;
  expect(said("ff0e::1234", "33:33:00:00:12:34", report)).toEqual({ outputs: [2], punts: [] });
  expect(said("ff0e::1234", "33:33:00:00:12:34", report, 16)).toEqual({ outputs: [], punts: [] });
  const records = (count: number): Icmpv6Body => ({ kind: "mldv2Report", code: 0, records: Array.from({ length: count }, (_, n) => ({ type: 4, group: `ff0e::${(n + 1).toString(16)}`, sources: [] })) });
  expect(said("ff02::16", "33:33:00:00:00:16", records(70))).toEqual({ outputs: [], punts: [1522] });
  for (const count of [80, 3000]) expect(said("ff02::16", "33:33:00:00:00:16", records(count)), `${count} records`).toEqual({ outputs: [], punts: [] });
});

test("a router's question that the controller says again goes to other hosts once, and not on from there", async () => {
  const router = await port(1, OPEN);
  await port(2, { security_groups: [] });
  await h.addChassis("hv2");
  for (const ofport of [1, 2]) {
    const { id } = await h.create("port", { network_id: network, ...OPEN });
    await h.plug("hv2", id, ofport);
  }
  await h.settled();
  const { key: net } = h.view.get(networkTable, network)!;
  const registers: Readonly<Record<string, number>> = { in_port_key: h.view.get(portTable, router)!.key, net };
  for (const group of ["239.1.2.3", "224.0.0.1", "224.0.0.22"]) {
    const data = buildEthernet({ dst: "01:00:5e:00:00:01", src: macOf(router), ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.5", dst: group, protocol: ipProtocols.igmp, ttl: 1 }, buildIgmp({ kind: "query", version: 2, max_resp_code: 10, group: "0.0.0.0" })));
    const packet: PacketIn = { chassis: "hv1", inPort: 1, table: "multicast_punted", data, register: (name: string) => registers[name] ?? 0 };
    const outs = punted(packet, h.view, silent) as readonly StageOut[];
    // Sent as come in by port 1, which a switch sends nothing back by; that is not followed here.
    expect(outs.map((out) => [out.inPort, ...leavesBy(h, "multicast", out).filter((p) => p !== 1)]), group).toEqual([[1, 2, GENEVE]]);
    const there = trace(
      TraceSwitch.ofDesired(h.engine.flowsOf("hv2"), h.engine.itemsOf("hv2"), { ports: [1, 2, GENEVE].map((number) => ({ number })) }),
      packetOfFrame(data, { metadata: { in_port: GENEVE, tunnel_id: BigInt(net), tun_ipv4_src: "172.31.0.1", tun_ipv4_dst: "172.31.0.2" } }),
    );
    expect([there.outputs.map((o) => o.port), there.punts], group).toEqual([[1, 2], []]);
  }
});
