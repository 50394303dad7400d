// Frames with several tags on a switch that reads two: the interpreter goes the way that Open vSwitch goes, through networks in which tags of guests pass
// inside the networks' own, and others beside them.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VLAN_TPIDS } from "../../apps/l2/model.ts";
import { trace } from "../../src/trace/index.ts";
import { Bed, packetOf, type Given } from "../support/trace/agreement.ts";
import { frameOf } from "../support/frame.ts";
import { Harness } from "../support/harness.ts";
import { HERE, packets, worldOf, type World } from "../support/topology.ts";

const FRAMES = process.env.AXION_NIGHTLY === "1" ? 20_000 : 3000;

const networks = {
  qinq: { "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 100, qinq: true },
  transparent: { "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 101, vlan_transparent: true },
  both: { segments: [{ "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 102 }, { "provider:network_type": "geneve" }], qinq: true },
  plain: { "provider:network_type": "vlan", "provider:physical_network": "phys0", "provider:segmentation_id": 103 },
  tunnels: { "provider:network_type": "geneve", vlan_transparent: true },
} as const;

function tagsOf(frame: Buffer): number {
  let n = 0;
  while (VLAN_TPIDS.some((tpid) => tpid === frame.readUInt16BE(12 + 4 * n))) n++;
  return n;
}

describe("frames with several tags", () => {
  let bed: Bed;
  let h: Harness;
  let world: World;
  beforeAll(async () => {
    bed = await Bed.start({ vlanLimit: 2 });
    h = await Harness.make();
    for (const [i, host] of [HERE, "hv1", "hv2"].entries()) await h.addChassis(host, { key: i + 1, bridge_mappings: { phys0: "br-phys0" }, vlan_limit: 2 });
    const open = (await h.create("security_group", { project_id: "p", name: "open" })).id;
    for (const ethertype of ["IPv4", "IPv6"]) await h.create("security_group_rule", { project_id: "p", security_group_id: open, direction: "ingress", ethertype });
    const router = (await h.create("router", { project_id: "p", name: "r" })).id;
    const made: string[] = [];
    let ofport = 10;
    for (const how of Object.values(networks)) {
      const { id } = await h.create("network", { project_id: "p", mtu: 1400, ...how });
      const subnet = await h.create("subnet", { project_id: "p", network_id: id, ip_version: 4, cidr: `10.0.${made.length}.0/24` });
      await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet.id });
      for (const host of [HERE, HERE, "hv1"]) await h.plug(host, (await h.create("port", { project_id: "p", network_id: id, security_groups: [open] })).id, ofport++);
      made.push(id);
    }
    await h.settled();
    world = await worldOf(h, made, Array.from({ length: ofport - 10 }, (_, i) => 10 + i));
    await bed.setPorts(world.ports);
    await bed.load(world.sw);
  }, 60_000);
  afterAll(async () => {
    await bed?.stop();
    await h?.close();
  });

  const tag = fc.tuple(fc.constantFrom(...VLAN_TPIDS.slice(0, 3)), fc.constantFrom(0, 5, 100, 101, 102, 103, 0x6000 | 5)).map(([tpid, tci]) => Buffer.from([tpid >> 8, tpid & 0xff, tci >> 8, tci & 0xff]));

  test("go the same way in the interpreter and in Open vSwitch", { timeout: 300_000 }, async () => {
    /** Frames that left, by the tags that they came with. */
    const left = [0, 0, 0, 0, 0];
    const given = fc.record({ packet: packets(world), tags: fc.array(tag, { maxLength: 3 }) }).map(({ packet, tags }): Given => {
      if (!("fields" in packet)) return { ...packet, frame: Buffer.concat([packet.frame.subarray(0, 12), ...tags, packet.frame.subarray(12)]), vlanLimit: 2 };
      const METADATA = ["in_port", "tunnel_id", "tun_ipv4_src", "tun_ipv4_dst"];
      const [metadata, match] = [true, false].map((meta) => Object.fromEntries(Object.entries(packet.fields).filter(([name]) => METADATA.includes(name) === meta)));
      const frame = frameOf(match!);
      return { frame: Buffer.concat([frame.subarray(0, 12), ...tags, frame.subarray(12)]), metadata: metadata!, ct: packet.ct ?? [], vlanLimit: 2 };
    });
    await fc.assert(fc.asyncProperty(given, async (one) => {
      if ("frame" in one && trace(world.sw, packetOf(one)).outputs.length > 0) left[tagsOf(one.frame)]!++;
      expect(await bed.disagreement(world.sw, one)).toBeUndefined();
    }), { numRuns: FRAMES, seed: 1 });
    console.log(`frames that left, by their tags: ${left.join(" ")}`);
    expect(left[0]).toBeGreaterThan(FRAMES / 50);
    expect(left[1]).toBeGreaterThan(FRAMES / 50);
    expect(left[2]).toBeGreaterThan(FRAMES / 200);
  });
});
