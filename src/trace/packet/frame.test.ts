// Frames, whole, cut and mangled, read as the real Open vSwitch reads them.
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Match } from "node-openflow";
import { Bed, differs } from "../../../test/support/trace/agreement.ts";
import { frameOf } from "../../../test/support/frame.ts";
import { parseTrace } from "../../../test/support/trace/ofproto-trace.ts";
import { packetOfFrame } from "./frame.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
let bed: Bed;
beforeAll(async () => {
  bed = await Bed.start();
  await bed.setPorts([{ number: 1 }]);
});
afterAll(() => bed.stop());

async function disagreement(frame: Buffer, metadata: Match = { in_port: 1 }): Promise<string | undefined> {
  const flow = parseTrace(await bed.trace({ frame, metadata }))[0]!.flow;
  const found = differs(packetOfFrame(frame, { metadata }), flow);
  return found === undefined ? undefined : `${frame.toString("hex")}: ${found}\n${flow}`;
}

const MAC = { eth_src: "02:00:00:00:00:01", eth_dst: "02:00:00:00:00:02" } as const;
const v4: Match = { ...MAC, eth_type: 0x800, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.2", ip_ttl: 64, ip_dscp: 5, ip_ecn: 2 };
const v6: Match = { ...MAC, eth_type: 0x86dd, ipv6_src: "fd00::1", ipv6_dst: "fd00::2", ip_ttl: 64, ip_dscp: 5, ip_ecn: 2, ipv6_flabel: 0x12345 };
const kinds: readonly Match[] = [
  { ...MAC, eth_type: 0x806, arp_op: 1, arp_spa: "10.0.0.1", arp_tpa: "10.0.0.2", arp_sha: "02:00:00:00:00:03", arp_tha: "02:00:00:00:00:04" },
  { ...MAC, eth_type: 0x8035, arp_op: 3, arp_spa: "10.0.0.1", arp_tpa: "10.0.0.2" }, { ...MAC, eth_type: 0x806, arp_op: 257, arp_spa: "10.0.0.1" }, { ...MAC, eth_type: 0x5ff }, { ...MAC, eth_type: 0x88cc },
  ...[v4, v6].flatMap((ip): Match[] => [
    { ...ip, ip_proto: 6, tcp_src: 1, tcp_dst: 65535, tcp_flags: 0x12 }, { ...ip, ip_proto: 17, udp_src: 68, udp_dst: 67 }, { ...ip, ip_proto: 132, sctp_src: 1, sctp_dst: 2 }, { ...ip, ip_proto: 47 },
    { ...ip, ip_proto: 17, udp_src: 5, udp_dst: 6, ip_frag: 1 }, { ...ip, ip_proto: ip === v6 ? 44 : 17, ip_frag: 3 },
  ]),
  { ...v4, ip_proto: 1, icmpv4_type: 8, icmpv4_code: 0 }, { ...v4, ip_proto: 2 }, { ...v6, ip_proto: 58, icmpv6_type: 128, icmpv6_code: 0 }, { ...v6, ip_proto: 58, icmpv6_type: 134, icmpv6_code: 0 },
  ...[135, 136].flatMap((type): Match[] => [
    { ...v6, ip_ttl: 255, ip_proto: 58, icmpv6_type: type, icmpv6_code: 0, ipv6_nd_target: "fd00::9", ipv6_nd_sll: "02:00:00:00:00:05" },
    { ...v6, ip_proto: 58, icmpv6_type: type, icmpv6_code: 0, ipv6_nd_target: "fd00::9", ipv6_nd_tll: "02:00:00:00:00:06" }, { ...v6, ip_proto: 58, icmpv6_type: type, icmpv6_code: 1, ipv6_nd_target: "fd00::9" },
  ]),
];
const kind = fc.record({ match: fc.constantFrom(...kinds), tag: fc.constantFrom(undefined, 0x1000, 0x1005, 0x1fff), extension: fc.boolean() })
  .map(({ match, tag, extension }) => frameOf(tag === undefined ? match : { ...match, vlan_vid: tag, vlan_pcp: 3 }, undefined, extension));

test("whole frames", async () => {
  for (const match of kinds) {
    for (const vlan of [{}, { vlan_vid: 0x1005, vlan_pcp: 2 }]) expect(await disagreement(frameOf({ ...match, ...vlan }))).toBeUndefined();
    if (match.eth_type === 0x86dd) expect(await disagreement(frameOf(match, undefined, true))).toBeUndefined();
  }
});

test("every length that a frame may be cut to", async () => {
  for (const match of kinds) {
    const frame = frameOf({ ...match, vlan_vid: 0x1005 });
    for (let length = 14; length < frame.length; length++) expect(await disagreement(frame.subarray(0, length))).toBeUndefined();
  }
});

test("changed bytes anywhere", { timeout: 600_000 }, async () => {
  const mangled = fc.tuple(kind, fc.array(fc.record({ at: fc.nat(120), value: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 4, 6, 17, 44, 58, 60, 0x81, 0x86, 0xdd, 0xff)) }), { maxLength: 4 }), fc.option(fc.nat(120), { freq: 4 }), fc.boolean())
    .map(([frame, changes, cut, two]) => {
      const changed = Buffer.from(frame);
      for (const { at, value } of changes) if (at < changed.length) changed[at] = value;
      const whole = two ? Buffer.concat([changed.subarray(0, 12), Buffer.from("88a80007", "hex"), changed.subarray(12)]) : changed;
      return whole.subarray(0, cut === null ? whole.length : Math.max(14, cut));
    });
  await fc.assert(fc.asyncProperty(mangled, async (frame) => {
    expect(await disagreement(frame)).toBeUndefined();
  }), { numRuns: nightly ? 50_000 : 2000 });
});

test("what comes with a frame: tunnel and port", async () => {
  expect(await disagreement(frameOf(kinds[5]!), { in_port: 1, tunnel_id: 7n, tun_ipv4_src: "192.0.2.1", tun_ipv4_dst: "192.0.2.2" })).toBeUndefined();
});
