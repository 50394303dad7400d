import { expect, test } from "vitest";
import { zonePool } from "#app";
import { connectionMeter, connectionMeters } from "./model.ts";

test("each zone has a meter of its own for the connections of its port", () => {
  const meters = new Set<number>();
  for (let zone = zonePool.min; zone <= zonePool.max; zone++) meters.add(connectionMeter(zone));
  expect(meters.size).toBe(zonePool.max - zonePool.min + 1);
  for (const meter of [connectionMeter(zonePool.min), connectionMeter(zonePool.max)]) expect(meter >= connectionMeters.min && meter <= connectionMeters.max).toBe(true);
});
