// What a port sends that no router can deliver has a rate of its own, through the real engine.
import { afterEach, expect, it } from "vitest";
import { zonePool } from "#app";
import { metersOf } from "../../src/ops/meters.ts";
import { Harness } from "../../test/support/harness.ts";
import { announcementMeters } from "../l2/model.ts";
import { undeliveredMeter, undeliveredMeters } from "./model.ts";

let h: Harness;
afterEach(async () => h.close());

it("takes nothing of the rate at which the same port's requests come to the controller, and is shown with its port", async () => {
  h = await Harness.make();
  await h.addChassis("hv1");
  const network_id = (await h.create("network", {})).id;
  await h.create("subnet", { network_id, ip_version: 4, cidr: "10.0.0.0/24" });
  const ports = [(await h.create("port", { network_id })).id, (await h.create("port", { network_id })).id];
  for (const [i, port] of ports.entries()) await h.plug("hv1", port, i + 1);
  await h.settled();
  const meters = metersOf(h.engine, "hv1", []);
  for (const id of ports) {
    const of = (rule: string) => meters.filter((m) => m.rules.includes(rule) && m.resources.some((r) => r.type === "port" && r.id === id));
    const [undelivered, ...more] = of("l3/undelivered");
    expect(more).toEqual([]);
    expect(undelivered).toMatchObject({ unit: "pps", rate: 50, burst: 100, rules: ["l3/undelivered"] });
    expect(meters.filter((m) => m.rules.includes("dhcp/served-port")).map((m) => m.id)).toContain(undelivered!.id - undeliveredMeters.min + zonePool.min);
  }
  expect(h.complaints).toEqual([]);
});

it("has a number for each zone, of a range that is nothing else's", () => {
  expect([undeliveredMeter(zonePool.min), undeliveredMeter(zonePool.max)]).toEqual([undeliveredMeters.min, undeliveredMeters.max]);
  expect(undeliveredMeters.min).toBeGreaterThan(announcementMeters.max);
});
