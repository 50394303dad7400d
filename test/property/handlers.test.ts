// Frames that no VM of good will sends, to every packet handler: none throws, and what comes out goes to the sender alone.
import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { PacketIn, PacketInHandler } from "#app";
import { buildEthernet, buildIpv4, buildIpv6, buildUdp, dhcpMessageTypes, ethertypes, ipProtocols } from "packet-codec";
import { Cloud, dhcpFrame, MAC, PORT_KEY, ROUTER_MAC, solicitation } from "../../apps/dhcp/dhcp.fixture.ts";
import { portDhcpOptsTable } from "../../apps/dhcp/model.ts";
import { dhcpRequest } from "../../apps/dhcp/packet-in.ts";
import { l3Punt } from "../../apps/l3/packet-in.ts";

const log = pino({ level: "silent" });

/** A VM on a network of both families, with a router and options of its own. */
const cloud = (): Cloud =>
  new Cloud()
    .subnet("v6", { cidr: "fd00::/64", gateway_ip: "fd00::1", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })
    .router(["v4", "10.0.0.1"], ["v6", "fd00::1"])
    .put(portDhcpOptsTable, { id: "vm", opts: [{ opt_name: "bootfile-name", opt_value: "x", ip_version: 4 }, { opt_name: "domain-name", opt_value: "example.org", ip_version: 4 }] });

const seeds: readonly Buffer[] = [
  ...Object.values(dhcpMessageTypes).map((type) => dhcpFrame({ type, list: [1, 3, 6, 26, 121, 249, 66, 67], requested: "10.0.0.10", server: "10.0.0.1", clientId: "01:fa:16:3e:00:00:01" })),
  solicitation(),
  solicitation({ src: "::" }),
  buildEthernet({ dst: ROUTER_MAC, src: MAC, ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.10", dst: "10.9.0.1", protocol: ipProtocols.udp, ttl: 1 }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(64), { src: "10.0.0.10", dst: "10.9.0.1" }))),
  buildEthernet({ dst: ROUTER_MAC, src: MAC, ethertype: ethertypes.ipv6 }, buildIpv6({ src: "fd00::10", dst: "fd00:9::1", next_header: ipProtocols.udp, hop_limit: 1 }, buildUdp({ src_port: 1, dst_port: 2 }, Buffer.alloc(64), { src: "fd00::10", dst: "fd00:9::1" }))),
];

/** A frame as it should be, cut short, lengthened, with bytes of it overwritten; or noise. */
const frames = fc.oneof(
  { weight: 9, arbitrary: fc.record({ seed: fc.constantFrom(...seeds), edits: fc.array(fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), with: fc.uint8Array({ minLength: 1, maxLength: 4 }) }), { maxLength: 6 }), keep: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.boolean(), more: fc.uint8Array({ maxLength: 600 }) }).map(({ seed, edits, keep, cut, more }) => {
    const data = Buffer.concat([seed.subarray(0, cut ? Math.floor(seed.length * keep) : seed.length), more]);
    for (const edit of edits) if (data.length > 0) Buffer.from(edit.with).copy(data, Math.floor(edit.at * data.length));
    return data;
  }) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)) },
);

const handlers: Readonly<Record<string, PacketInHandler>> = { dhcp: dhcpRequest, l3: l3Punt };
test.each(Object.entries(handlers))("%s: nothing is thrown, and what comes out is small and goes to the sender", (_, handler) => {
  const { view } = cloud();
  const registers: Readonly<Record<string, number>> = { in_port_key: PORT_KEY, net: 100, router: 3 };
  let answered = 0;
  fc.assert(fc.property(frames, (data) => {
    const packet: PacketIn = { chassis: "hv1", inPort: 5, table: "t", data, register: ((name: string) => registers[name] ?? 0) };
    const outs = handler(packet, view, log).filter((out) => !("counted" in out || "fact" in out));
    expect(outs.length).toBeLessThanOrEqual(2);
    for (const out of outs) {
      expect(out).toMatchObject({ chassis: "hv1", stage: "locate", registers: { net: 100, out_port_key: PORT_KEY } });
      expect((out as { readonly data: Uint8Array }).data.length).toBeLessThan(1600);
    }
    answered += outs.length;
  }), { numRuns: 8000 });
  expect(answered).toBeGreaterThan(100);
});
