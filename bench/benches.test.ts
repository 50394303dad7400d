// The benchmarks that need neither switch nor second process still run, in their smallest form: what they measure changes under them.
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { benchCompile } from "./compile.ts";
import { benchIncremental } from "./incremental.ts";
import { benchOvsdb } from "./ovsdb.ts";
import { benchPlan } from "./plan.ts";

const apps = fileURLToPath(new URL("../apps", import.meta.url));
const smallest = { tenants: 1, networks: 1, ports: 2, hosts: 2 };

test("compile counts flows and runs", async () => {
  const { flows_distinct, rule_runs } = await benchCompile(smallest, apps);
  expect(flows_distinct).toBeGreaterThan(0);
  expect(rule_runs).toBeGreaterThan(0);
});

test("incremental makes each kind of change, and a plug changes flows", async () => {
  const { kinds } = await benchIncremental(smallest, 1, apps);
  expect(kinds).toHaveLength(12);
  expect(kinds.find(({ kind }) => kind === "port plug")?.flows_changed).toBeGreaterThan(0);
});

test("plan plans, makes, and writes beside plans", async () => {
  expect((await benchPlan(smallest, 2, apps)).kinds).toHaveLength(4);
});

test("ovsdb sees every row and every update, and its transactions are made", async () => {
  const { streams } = (await benchOvsdb({ rows: 200, repeats: 1, transactions: 20 })) as { streams: readonly Record<string, number>[] };
  expect(streams).toHaveLength(3);
  for (const stream of streams) expect(stream["updates/s"]).toBeGreaterThan(0);
});
