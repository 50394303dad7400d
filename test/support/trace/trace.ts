// The flow tables that a packet passes, as Open vSwitch itself traces it: on the host that sends it, and on the one that it goes to.
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import type { Cloud, Instance, Net } from "../cloud.ts";
import { oneWay } from "./ofproto-trace.ts";

export interface Trace {
  readonly lookups: number;
  readonly conntrack: number;
  readonly text: string;
}

export interface Path {
  readonly out: Trace;
  /** Undefined on one host. */
  readonly in: Trace | undefined;
}

/** Follows one packet, no larger than any network's MTU, through br-int: the first of a connection, or one of a connection that both ends know. */
export async function trace(hv: Hypervisor, flow: string, connection: "new" | "est" = "new"): Promise<Trace> {
  // Twice for each policy: before the rules, and where a new connection is remembered.
  const { text } = oneWay(await hv.appctl("ofproto/trace", "br-int", flow, ...Array.from({ length: 4 }, () => ["--ct-next", `trk,${connection}`]).flat()), Infinity);
  // Only the integration bridge counts: the tunnel goes on through the underlay's own bridge.
  const parts = text.split(/^bridge\("([^"]+)"\)$/m);
  let lookups = 0;
  for (let i = 1; i < parts.length; i += 2) if (parts[i] === "br-int") lookups += [...parts[i + 1]!.matchAll(/^ *\d+\. /gm)].length;
  return { lookups, conntrack: [...text.matchAll(/^recirc\(/gm)].length, text };
}

export const ofportOf = async (hv: Hypervisor, i: Instance): Promise<string> => (await hv.vsctl("get", "Interface", i.vm.nic.tap, "ofport")).trim();

export interface TracedPacket {
  /** Number of the hypervisor, and who is there. */
  readonly from: readonly [hv: number, instance: Instance];
  readonly to: readonly [hv: number, instance: Instance];
  /** Destination of the frame as sent: the receiver's MAC or a router's. */
  readonly dstMac: string;
  /** Network that it arrives in. */
  readonly net: Net;
  readonly connection?: "new" | "est";
}

/** One TCP packet from instance to instance, traced on both hosts. */
export async function tracePath(cloud: Cloud, { from: [source, a], to: [destination, b], dstMac, net, connection = "new" }: TracedPacket): Promise<Path> {
  const packet = (src: string, dst: string): string => `tcp,dl_src=${src},dl_dst=${dst},nw_src=${a.ip},nw_dst=${b.ip},nw_ttl=64,tp_src=40000,tp_dst=80`;
  const macOf = (i: Instance): string => i.port.mac_address as string;
  const out = await trace(cloud.hv(source), `in_port=${await ofportOf(cloud.hv(source), a)},${packet(macOf(a), dstMac)}`, connection);
  if (source === destination) return { out, in: undefined };
  const there = cloud.hv(destination);
  const { flows } = (await cloud.controller.ops("GET", `/flows?switch=${there.systemId}&table=classify&format=json`)).body as { flows: { match: string; resources: { id: string }[] }[] };
  const vni = flows.find((f) => f.match.includes("tun_id") && f.resources.some((r) => r.id === net.network.id))!.match.match(/tun_id=(0x[0-9a-f]+)/)![1]!;
  const tunnel = (await there.vsctl("get", "Interface", "axion-geneve", "ofport")).trim();
  return { out, in: await trace(there, `in_port=${tunnel},tun_id=${vni},tun_src=172.31.0.${source},tun_dst=172.31.0.${destination},${packet(macOf(a), macOf(b))}`, connection) };
}
