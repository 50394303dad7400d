// The interpreter goes the way that Open vSwitch goes: random clouds made through the API, their flows on a real ovs-vswitchd, random packets. The same
// flows in the same order, the same packets out of the same ports, the same punts. A difference shrinks to a small packet and shows both traces.
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Probes } from "../contract/probes/support.ts";
import { Bed, type Seen } from "../support/trace/agreement.ts";
import { Harness } from "../support/harness.ts";
import { collectionOf } from "../support/process.ts";
import { packets, randomWorld, type Parts, type World } from "../support/topology.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const WORLDS = nightly ? 40 : 6;
const PACKETS = nightly ? 2000 : 300;

/** More resources, of apps of one folder each: tagged sub-ports, translation, learned flows, meters, several ways. */
const probes: Readonly<Record<string, (parts: Parts, n: number) => readonly [resource: string, values: Record<string, unknown>]>> = {
  "subport": ({ ports }, n) => ["sub_port", { port_id: ports.at(-1 - n), parent_id: ports[n % 2], vlan: 100 + n }],
  "floating": ({ networks, routers, ports }, n) => ["floating", { router_id: routers[0], outside_id: networks[n % networks.length], port_id: ports[n], address: `10.0.${n % networks.length}.${100 + n}` }],
  "learned-neighbour": ({ networks }, n) => ["listener", { network_id: networks[n % networks.length] }],
  "port-meters": ({ ports }, n) => ["rate", { port_id: ports[n], kbps: 1000 }],
  "wan": ({ networks, routers }, n) => ["wan_route", { router_id: routers[0], destination: `192.168.${n % 3}.0/24`, via: networks[n % networks.length], nexthop: `10.0.${n % networks.length}.${20 + n}`, metric: n % 2 }],
};

describe("random clouds and packets", () => {
  const packetsEach = nightly ? 2000 : 150;
  let bed: Bed;
  const folders: Probes[] = [];
  beforeAll(async () => {
    bed = await Bed.start();
  });
  afterAll(async () => {
    for (const f of folders) f.delete();
    await bed.stop();
  });

  async function agree(world: World, numRuns: number, seed: number, seen: Seen): Promise<void> {
    await bed.setPorts(world.ports);
    await bed.load(world.sw);
    await fc.assert(
      fc.asyncProperty(packets(world), async (given) => {
        expect(await bed.disagreement(world.sw, given, seen)).toBeUndefined();
      }),
      { numRuns, seed },
    );
  }

  test("go the same way in the interpreter and in Open vSwitch", { timeout: nightly ? 3_600_000 : 120_000 }, async () => {
    const first = nightly ? Math.floor(Date.now() / 86_400_000) * 1000 : 1;
    const seen = { hops: 0, outputs: 0, recirculated: 0 };
    for (let seed = first; seed < first + WORLDS; seed++) {
      const h = await Harness.make([], undefined, { seed });
      try {
        await agree(await randomWorld(h, seed), PACKETS, seed, seen);
      } finally {
        await h.close();
      }
    }
    // The packets are near enough to get somewhere.
    const all = WORLDS * PACKETS;
    expect(seen.hops / all).toBeGreaterThan(3);
    expect(seen.outputs).toBeGreaterThan(all / 20);
    expect(seen.recirculated).toBeGreaterThan(all / 50);
  });

  test.each(Object.entries(probes))("with the flows of another app: %s", { timeout: nightly ? 1_200_000 : 120_000 }, async (name, values) => {
    const folder = new Probes(name);
    folders.push(folder);
    for (let seed = 1; seed <= (nightly ? 5 : 1); seed++) {
      const h = await folder.harness({ seed });
      try {
        let made = 0;
        const world = await randomWorld(h, seed, async (parts) => {
          for (let n = 0; n < 4; n++) {
            const [resource, body] = values(parts, n);
            if ((await h.call("POST", `/v2.0/${collectionOf(resource)}`, { [resource]: { project_id: "p", ...body } })).status === 201) made++;
          }
        });
        expect(made).toBeGreaterThan(0);
        await agree(world, packetsEach, seed, { hops: 0, outputs: 0, recirculated: 0 });
      } finally {
        await h.close();
      }
    }
  });

  test("with gateways of routers: groups that choose by who is alive", { timeout: 120_000 }, async () => {
    const h = await Harness.make([], undefined, { seed: 3 });
    try {
      const world = await randomWorld(h, 3, async ({ networks, routers }) => {
        const network_id = networks.at(-1);
        await h.call("PUT", `/v2.0/networks/${network_id}`, { network: { "router:external": true } });
        let made = 0;
        for (const router of routers) {
          for (const { id: port_id, network_id: on } of ((await h.call("GET", `/v2.0/ports?device_id=${router}`)).body as { ports: { id: string; network_id: string }[] }).ports) {
            if (on === network_id) await h.call("PUT", `/v2.0/routers/${router}/remove_router_interface`, { port_id });
          }
          if ((await h.call("PUT", `/v2.0/routers/${router}`, { router: { external_gateway_info: { network_id, enable_snat: false } } })).status === 200) made++;
          // Some have several, and use them at once.
          if (made % 2 === 1) await h.call("PUT", `/v2.0/routers/${router}/add_external_gateways`, { router: { external_gateways: [{ network_id }] } });
          await h.call("PUT", `/v2.0/routers/${router}`, { router: { enable_default_route_ecmp: true } });
        }
        expect(made).toBeGreaterThan(0);
      });
      expect([...world.sw.groups.keys()].length).toBeGreaterThan(0);
      await agree(world, 2 * packetsEach, 3, { hops: 0, outputs: 0, recirculated: 0 });
    } finally {
      await h.close();
    }
  });
});
