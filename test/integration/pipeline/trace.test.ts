// The interpreter over flows as a real switch dumps them, the controller's on hypervisors of the lab: packets of VMs go the way that ofproto/trace says.
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatMatch, OpenFlowConnection, type Instruction, type Match } from "node-openflow";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import { Lab } from "../../../lab/lab.ts";
import { ctNext, everyTrace, hopsOf, Packet, TraceSwitch } from "../../../src/trace/index.ts";
import { differs, wordsOf } from "../../support/trace/agreement.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { parseTrace, Unixctl } from "../../support/trace/ofproto-trace.ts";
import { ofportOf } from "../../support/trace/trace.ts";

interface FlowStats {
  readonly table_id: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
}

/** br-int as it says of itself. */
async function dumped(hv: Hypervisor): Promise<TraceSwitch<bigint>> {
  const connection = new OpenFlowConnection(connect(`${hv.dir}/br-int.mgmt`));
  try {
    await connection.handshake();
    const reply = await connection.request({ type: "multipart_request", kind: "flow", table_id: 255, out_port: 0xffffffff, out_group: 0xffffffff, cookie: 0n, cookie_mask: 0n, match: {} });
    const sw = new TraceSwitch<bigint>();
    for (const { table_id, priority, cookie, match, instructions } of (reply as unknown as { readonly flows: readonly FlowStats[] }).flows) sw.add({ table: table_id, priority, match, instructions, cookie, ref: cookie });
    return sw;
  } finally {
    connection.close();
  }
}

describe.skipIf(Lab.missing().length > 0)("flows that a switch dumps", () => {
  let cloud: Cloud;
  let nets: readonly [Net, Net];
  let a: Instance, b: Instance, c: Instance, d: Instance;
  let routerMac: string;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "trace" });
    nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
    await cloud.router(nets);
    const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[0].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string }[] };
    routerMac = legs.ports[0]!.mac_address;
    [a, b, c, d] = [await cloud.instance(cloud.hv(1), nets[0]), await cloud.instance(cloud.hv(1), nets[0]), await cloud.instance(cloud.hv(2), nets[0]), await cloud.instance(cloud.hv(2), nets[1])];
    await cloud.synced();
  });
  afterAll(() => cloud.destroy());

  test("lead packets where ofproto/trace says: to VMs here and elsewhere, by the router, to the controller, nowhere", async () => {
    const sw = await dumped(cloud.hv(1));
    const control = await Unixctl.connect(`${cloud.hv(1).dir}/vsw.ctl`);
    const mac = (i: Instance): string => i.port.mac_address as string;
    const base = { in_port: Number(await ofportOf(cloud.hv(1), a)), eth_src: mac(a) };
    const ip = (to: Instance, dst: string, more: Match = {}): Match => ({ ...base, eth_dst: dst, eth_type: 0x800, ipv4_src: a.ip, ipv4_dst: to.ip, ip_ttl: 64, ip_proto: 6, tcp_src: 40_000, tcp_dst: 80, ...more });
    const packets: Readonly<Record<string, Match>> = {
      "to the same host": ip(b, mac(b)), "to another host": ip(c, mac(c)), "by the router": ip(d, routerMac), "at the end of its life": ip(d, routerMac, { ip_ttl: 1 }), "in another's name": ip(b, mac(b), { ipv4_src: c.ip }),
      "a later fragment": { ...base, eth_dst: mac(b), eth_type: 0x800, ipv4_src: a.ip, ipv4_dst: b.ip, ip_ttl: 64, ip_proto: 6, ip_frag: 3 },
      "who has the gateway": { ...base, eth_dst: "ff:ff:ff:ff:ff:ff", eth_type: 0x806, arp_op: 1, arp_sha: mac(a), arp_spa: a.ip, arp_tha: "00:00:00:00:00:00", arp_tpa: nets[0].subnet.gateway_ip as string },
      "a lease": { ...base, eth_dst: "ff:ff:ff:ff:ff:ff", eth_type: 0x800, ipv4_src: "0.0.0.0", ipv4_dst: "255.255.255.255", ip_ttl: 64, ip_proto: 17, udp_src: 68, udp_dst: 67 },
    };
    const ways = new Map<string, string>();
    try {
      for (const [name, fields] of Object.entries(packets)) {
        for (const ct of [[0x21, 0x21], [0x22, 0x22]]) {
          const text = await control.call("ofproto/trace", "br-int", wordsOf(fields), ...ct.flatMap((s) => ["--ct-next", s === 0x21 ? "trk,new" : "trk,est"]));
          // Behind a tunnel the trace goes on through the underlay's bridge.
          const passes = parseTrace(text);
          const theirs = passes.map((p, i) => ({ ...p, lookups: parseTrace(text.split(/^=+\nrecirc\(/m)[i]!.split(/^ *bridge\("br-phy"\)$/m)[0]! + `\nFlow: ${p.flow}\nDatapath actions: -\n`)[0]!.lookups }));
          const found = everyTrace(sw, Packet.of(fields), { conntrack: () => ctNext(ct) }).traces.map((t) => {
            const ours = t.passes.map((p) => [...hopsOf(p.steps)].map((h) => `${h.table} ${h.flow?.priority ?? -1} ${h.flow?.cookie ?? 0n}`).join());
            const wanted = theirs.map((p) => p.lookups.map((l) => `${l.table} ${l.priority} ${l.cookie}`).join());
            if (ours.join(" | ") !== wanted.join(" | ")) return `${ours.join(" | ")} here, ${wanted.join(" | ")} there`;
            ways.set(name, t.outputs.length > 0 ? `out ${t.outputs.length}` : t.punts.length > 0 ? "punt" : "drop");
            return theirs.map((p, i) => differs(t.passes[i]!.final, p.final === "unchanged" ? p.flow : p.final!)).find((x) => x !== undefined) ?? "";
          });
          expect(found.includes("") ? "" : found[0], `${name}: ${formatMatch(fields)}\n${text}`).toBe("");
        }
      }
    } finally {
      control.close();
    }
    expect(Object.fromEntries(ways)).toEqual({
      "to the same host": "out 1", "to another host": "out 1", "by the router": "out 1", "at the end of its life": "punt", "in another's name": "drop", "a later fragment": "out 1", "who has the gateway": "out 1", "a lease": "punt",
    });
  });
});
