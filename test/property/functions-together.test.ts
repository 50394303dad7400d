// Functions that rest on ports and routers, together on the same few ports. After every step the incremental result equals a compile from scratch and no two rules disagree; calls that are planned come to
// what their plans say; a controller that starts again tells switches nothing, with other settings or without some functions exactly the difference; and when all is deleted it is as if nothing had been.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compare } from "../support/from-scratch.ts";
import { Harness, withDependents } from "../support/harness.ts";
import { begin, every, first, FunctionsHistory, further, HOSTS, NEWER } from "./functions.ts";
import { step } from "./history.ts";
import { Planned } from "./planned.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
/** Tables that have flows in the beginning, of some host. */
const TABLES = ["local_ip_out", "log_in_dropped", "pvlan_heard", "qos_out", "qos_leaves", "tap_deliver", "metering_out", "multicast_join", "metadata_request", "sampled_in", "dhcp6_request"];

/** Something of each function. */
async function started(planned?: Planned): Promise<FunctionsHistory> {
  const history = new FunctionsHistory(await Harness.make(), planned);
  for (const s of [...begin, ...first]) await history.step(s);
  compare(history.h, HOSTS);
  const there = new Set(HOSTS.flatMap((host) => [...history.h.engine.flowsOf(host)].flatMap((f) => (f.priority > 0 ? [history.h.layout.tableById(f.table)!.name] : []))));
  expect(TABLES.filter((table) => !there.has(table))).toEqual([]);
  return history;
}

/** Calls of newer functions. */
const CALLS = [
  ..."policies policies/*/bandwidth_limit_rules policies/*/dscp_marking_rules policies/*/minimum_bandwidth_rules policies/*/packet_rate_limit_rules".split(" ").flatMap((path) => [`POST qos/${path}`, `DELETE qos/${path}/*`]),
  ..."local-ips local_ips/*/port_associations log/logs metering/metering-labels metering/metering-label-rules ports/*/bindings subnetpools subnets taas/tap_services taas/tap_flows taas/tap_mirrors trunks".split(" ").flatMap((path) => [`POST ${path}`, `DELETE ${path.replace("local-ips", "local_ips")}/*`]),
  ...Object.entries({
    "floatingips/*": ["qos_policy_id"], "log/logs/*": ["enabled"], "networks/*": ["pvlan", "qos_policy_id"], "ports/*/bindings/*/activate": [""], "routers/*": ["external_gateway_info"], "trunks/*/add_subports": ["0"], "trunks/*/remove_subports": ["0"],
    "ports/*": ["binding:host_id,device_owner", "device_owner", "extra_dhcp_opts", "fixed_ips", "mac_address", "pvlan_community,pvlan_type", "pvlan_type", "qos_policy_id"],
    "qos/policies/*/bandwidth_limit_rules/*": ["max_burst_kbps", "max_kbps"], "qos/policies/*/dscp_marking_rules/*": ["dscp_mark"], "qos/policies/*/minimum_bandwidth_rules/*": ["min_kbps"], "qos/policies/*/packet_rate_limit_rules/*": ["max_kpps"],
  }).flatMap(([path, changed]) => changed.map((what) => `PUT ${path} ${what}`.trim())),
];
const undone = (done: ReadonlyMap<string, number>): string[] => CALLS.filter((call) => (done.get(call) ?? 0) === 0);

describe("functions together", () => {
  test("each call of each function is done, and when all is deleted it is as if nothing had been", { timeout: 60_000 }, async () => {
    const history = await started();
    try {
      await history.restart();
      await history.end();
      expect(undone(history.done)).toEqual([]);
    } finally {
      await history.h.close();
    }
  });

  for (const { runs, ...stage } of [{ runs: 2 }, { runs: nightly ? 500 : 20, tags: "long" }]) test(`whatever is done to ports that have several of them, in ${runs} random histories`, { ...stage, timeout: nightly ? 7_200_000 : 1_800_000 }, async () => {
    const done = new Map<string, number>();
    let [planned, effective] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof({ weight: 3, arbitrary: step }, { weight: 5, arbitrary: further }), { minLength: 30, maxLength: 70 }), fc.nat(), async (steps, seed) => {
        const plans = new Planned({ judged: 1, every: runs < 20 ? 40 : 15 });
        const history = await started(plans);
        try {
          const before = new Map(history.done);
          for (const s of steps) {
            await history.step(s);
            compare(history.h, HOSTS);
          }
          await history.end(seed);
          for (const [what, times] of history.done) done.set(what, (done.get(what) ?? 0) + times - (before.get(what) ?? 0));
          planned += plans.calls;
          effective += plans.effective;
        } finally {
          await history.h.close();
        }
      }),
      // Every night others.
      { numRuns: runs, endOnFailure: true, ...(!nightly && { seed: 1 }) },
    );
    if (nightly) console.info(`${[...done.values()].reduce((a, b) => a + b, 0)} calls of newer functions were done, ${planned} were planned, of which ${effective} changed flows`);
    // Of a few histories each may have none of something.
    if (runs >= 100) expect(undone(done)).toEqual([]);
    if (runs >= 20) expect(effective).toBeGreaterThan(0);
  });

  /** What one function has stored outlives what it rests on, while the function is left out. */
  const without = (absent: readonly string[]) => async (): Promise<void> => {
    const history = await started();
    try {
      await history.restart({ absent });
      compare(history.h, HOSTS);
      await history.deleteAll(1);
      await history.h.settled();
      compare(history.h, HOSTS);
      await history.restart({ absent: [] });
      compare(history.h, HOSTS);
      await history.end(2);
    } finally {
      await history.h.close();
    }
  };
  const dependents = (names: readonly string[]): string[] => [...new Set(names.flatMap((name) => withDependents(every, name)))];
  test("all are deleted from under newer functions that are left out meanwhile", { timeout: 60_000 }, without(dependents(NEWER)));
  test.each(every.map((app) => app.name).filter((name) => name !== "l2"))("all is deleted while %s is left out", { tags: "long", timeout: 60_000 }, (name) => without(dependents([name]))());
});
