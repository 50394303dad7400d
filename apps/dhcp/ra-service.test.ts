// Unasked router advertisements through the real engine: what the service sends while time passes.
import { afterEach, describe, expect, it } from "vitest";
import { parsePacket, parseRouterAdvertisement } from "packet-codec";
import type { StageOut } from "#app";
import { Share } from "../../src/services/index.ts";
import { Harness, type HarnessOptions } from "../../test/support/harness.ts";
import { attachmentTable } from "../l2/model.ts";
import { RA_PERIOD_S } from "./ra.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) await h.close();
});

async function cloud(options: HarnessOptions = {}): Promise<{ h: Harness; network: string; port: string; join: () => Promise<string> }> {
  const h = await Harness.make([], undefined, options);
  open.push(h);
  for (const host of ["hv1", "hv2"]) await h.addChassis(host);
  const network = (await h.create("network", {})).id;
  const subnet = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:1::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
  const port = (await h.create("port", { network_id: network })).id;
  await h.plug("hv1", port, 5);
  await h.settled();
  const join = async (): Promise<string> => {
    const router = (await h.create("router", {})).id;
    expect((await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet })).status).toBe(200);
    await h.settled();
    return router;
  };
  return { h, network, port, join };
}

/** Lets so many seconds pass; when, and where to, advertisements went meanwhile. */
function heard(h: Harness, seconds: number): { atS: number; to: string; prefixes: string[] }[] {
  const out: { atS: number; to: string; prefixes: string[] }[] = [];
  const began = h.clock.monotonic();
  for (let s = 0; s < seconds; s++) {
    h.clock.advance(1000);
    for (const { packet } of h.sent.splice(0)) {
      const { chassis, stage, registers, data } = packet as StageOut;
      expect(stage).toBe("locate");
      const at = h.view.by(attachmentTable, "chassis", chassis).find((a) => a.port_key === registers.out_port_key);
      const { icmpv6 } = parsePacket(data);
      out.push({ atS: (h.clock.monotonic() - began) / 1000, to: `${chassis}:${at?.ofport}`, prefixes: parseRouterAdvertisement(icmpv6!.payload).prefixes.map((p) => p.prefix) });
    }
  }
  expect(h.complaints).toEqual([]);
  return out;
}

describe("a port that never asks", () => {
  it("hears of a new router three times soon, then at least every 200 s, at no fixed beat", async () => {
    const { h, join } = await cloud();
    expect(heard(h, 600)).toEqual([]);
    await join();
    const soon = heard(h, 35);
    expect(soon.map((r) => [r.to, r.prefixes])).toEqual(Array.from({ length: 3 }, () => ["hv1:5", ["fd00:1::"]]));
    expect(soon[0]!.atS).toBeLessThanOrEqual(3);
    const [a, b, c] = soon.map((r) => r.atS) as [number, number, number];
    for (const gap of [b - a, c - b]) expect(gap >= 2 && gap <= 17, `${gap} s`).toBe(true);
    const later = heard(h, 7200).map((r) => r.atS);
    const gaps = later.slice(1).map((at, i) => at - later[i]!);
    expect(later[0]).toBeLessThanOrEqual(RA_PERIOD_S);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(RA_PERIOD_S + 1);
    expect(Math.min(...gaps)).toBeGreaterThan(60);
    expect(new Set(gaps.map(Math.round)).size).toBeGreaterThan(10);
  });

  it("hears it as well when the controller starts with what was stored", async () => {
    const { h, join } = await cloud();
    await join();
    await h.services.stop();
    expect(h.clock.pending).toBe(0);
    h.sent.splice(0);
    h.services.start();
    expect(heard(h, 17)).toMatchObject([{ to: "hv1:5" }]);
  });

  it("wherever it is, and wherever it goes", async () => {
    const { h, network, port, join } = await cloud();
    const other = (await h.create("port", { network_id: network })).id;
    await h.plug("hv2", other, 7);
    await join();
    expect(new Set(heard(h, 40).map((r) => r.to))).toEqual(new Set(["hv1:5", "hv2:7"]));
    await h.unplug("hv1", port);
    await h.plug("hv2", port, 8);
    await h.settled();
    expect(new Set(heard(h, 400).map((r) => r.to))).toEqual(new Set(["hv2:7", "hv2:8"]));
  });

  it("hears soon of another prefix, and nothing of a router that is down or gone", async () => {
    const { h, network, join } = await cloud();
    const router = await join();
    heard(h, 60);
    const second = (await h.create("subnet", { network_id: network, ip_version: 6, cidr: "fd00:2::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" })).id;
    await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: second });
    await h.settled();
    expect(heard(h, 4).flatMap((r) => r.prefixes)).toContain("fd00:2::");
    expect((await h.call("PUT", `/v2.0/routers/${router}`, { router: { admin_state_up: false } })).status).toBe(200);
    await h.settled();
    expect(heard(h, 1000)).toEqual([]);
    expect(h.clock.pending).toBe(0);
    await h.call("PUT", `/v2.0/routers/${router}`, { router: { admin_state_up: true } });
    await h.settled();
    expect(heard(h, 10).length).toBeGreaterThan(0);
  });
});

it("many changes at once are one advertisement, and no two come within 3 s", async () => {
  const { h, network, join } = await cloud();
  await join();
  const at: number[] = [];
  for (let i = 0; i < 20; i++) {
    await h.call("PUT", `/v2.0/networks/${network}`, { network: { mtu: 1300 + i } });
    await h.settled();
    at.push(...heard(h, 1).map((r) => r.atS + i));
  }
  expect(at.length).toBeGreaterThan(2);
  expect(at.length).toBeLessThanOrEqual(8);
});

it("of several controllers the one that masters the chassis sends", async () => {
  const share = (self: string): Share => new Share(self, () => ["a", "b"]);
  const to: string[][] = [];
  for (const self of ["a", "b"]) {
    const { h, network, join } = await cloud({ share: share(self) });
    for (let i = 0; i < 4; i++) {
      await h.addChassis(`more${i}`);
      await h.plug(`more${i}`, (await h.create("port", { network_id: network })).id, 9);
    }
    await join();
    to.push([...new Set(heard(h, 40).map((r) => r.to))]);
  }
  expect(to.flat().sort()).toEqual(["hv1:5", "more0:9", "more1:9", "more2:9", "more3:9"]);
});
