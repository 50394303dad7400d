// The files for Prometheus and Grafana in packaging/: the real promtool takes them, the alerts are raised by what they are for, and each metric that they name is one
// that a running controller has.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { repositoryRoot } from "../../../lab/controller.ts";
import { ControllerProcess, httpCall } from "../../support/process.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
}
interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string }[];
}

const run = promisify(execFile);
const promtool = (...args: string[]): Promise<{ stdout: string }> => run("promtool", args);
const file = (name: string): string => path.join(repositoryRoot(), "packaging", name);
const dir = mkdtempSync(path.join(tmpdir(), "axion-monitoring-"));
const rules = (parse(readFileSync(file("prometheus/alerts.yaml"), "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const panels = (JSON.parse(readFileSync(file("grafana/axion.json"), "utf8")) as { panels: Panel[] }).panels;
/** What Grafana puts in. */
const filled = (expr: string): string => expr.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*");
const expressions = [...rules.map((r) => r.expr), ...panels.flatMap((p) => (p.targets ?? []).map((t) => filled(t.expr)))];
/** Of every scrape, by Prometheus itself. */
const scraped: readonly string[] = ["up"];

let controller: ControllerProcess;
let text = "";
beforeAll(async () => {
  controller = await ControllerProcess.start();
  text = (await httpCall(controller.opsPort, "GET", "/metrics")).text;
});
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  await controller?.destroy();
});

test("promtool takes the alerts, and each is raised by what it is for", async () => {
  expect((await promtool("check", "rules", file("prometheus/alerts.yaml"))).stdout).toContain(`SUCCESS: ${rules.length} rules found`);
  expect((await promtool("test", "rules", file("prometheus/alerts.test.yaml"))).stdout).toContain("SUCCESS");
  const tried = new Set([...readFileSync(file("prometheus/alerts.test.yaml"), "utf8").matchAll(/alertname: (\w+)\n\s+exp_alerts/g)].map((m) => m[1]));
  expect([...tried].sort()).toEqual(rules.map((r) => r.alert).sort());
});

test("promtool takes what the dashboard asks, of panels that each ask something", async () => {
  expect(panels.filter((p) => p.type !== "row" && (p.targets ?? []).length === 0)).toEqual([]);
  const recording = panels.flatMap((p) => (p.targets ?? []).map((t) => ({ expr: filled(t.expr) }))).map(({ expr }, i) => ({ record: `panel:${i}`, expr }));
  writeFileSync(path.join(dir, "panels.yaml"), JSON.stringify({ groups: [{ name: "panels", rules: recording }] }));
  expect((await promtool("check", "rules", path.join(dir, "panels.yaml"))).stdout).toContain(`SUCCESS: ${recording.length} rules found`);
});

test("a running controller has each metric that alerts and dashboard name", () => {
  const types = new Map([...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map((m) => [m[1]!, m[2]!]));
  const known = (name: string): boolean => types.has(name) || types.get(name.replace(/_(bucket|count|sum)$/, "")) === "histogram" || scraped.includes(name);
  const named = new Set(expressions.flatMap((expr) => [...expr.replace(/"[^"]*"/g, "").matchAll(/\b(?:axion|process|nodejs)_\w+|\bup\b/g)].map((m) => m[0])));
  expect(named.size).toBeGreaterThan(20);
  expect([...named].filter((name) => !known(name))).toEqual([]);
});

test("promtool takes /metrics", async () => {
  const child = run("promtool", ["check", "metrics"]);
  child.child.stdin!.end(text);
  const { stderr } = await child.catch((error: unknown) => error as { stderr: string });
  // three of prom-client's own, of which dashboards elsewhere have the names
  expect(stderr.split("\n").filter((line) => line !== "" && !line.startsWith("nodejs_active_"))).toEqual([]);
});

test("what is counted for alerts is there before it is counted first", () => {
  for (const sample of ["axion_api_failures_total 0", 'axion_bundles_total{result="refused"} 0']) expect(text.split("\n")).toContain(sample);
});
