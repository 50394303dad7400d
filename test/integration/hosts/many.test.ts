// Many real switches at once: each has exactly what it should have, and a restart of the controller sends none of them anything.
// @module-tag long
import { expect, test } from "vitest";
import { benchSwitches } from "../../../bench/lab/switches.ts";
import { nightly } from "../../support/process.ts";

const SWITCHES = nightly ? 200 : 30;

test(`${SWITCHES} switches connect at once, all are in sync, and stay so over a restart`, async () => {
  const result = await benchSwitches(SWITCHES);
  console.log(JSON.stringify(result));
  expect(result.switches).toBe(SWITCHES);
  expect(result.flows).toBeGreaterThan(SWITCHES * 50);
  expect(result.flows_on_switches).toBe(result.flows);
  expect(result.differences).toBe(0);
  expect(result.restart_flow_mods).toBe(0);
  expect(result.rss_mb).toBeLessThan(500);
}, 600_000);
