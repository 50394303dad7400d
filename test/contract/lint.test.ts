// An app has no clock, chance or network of its own, and what talks to switches no clock and chance: the linter says so. Wrong lines are
// put in the place of a real file.
import path from "node:path";
import { ESLint } from "eslint";
import tseslint from "typescript-eslint";
import { describe, expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";

// Rules that need types are left out: they make nothing of a single line, and cost seconds.
const eslint = new ESLint({ cwd: repositoryRoot(), overrideConfig: [tseslint.configs.disableTypeChecked] });

async function complaints(code: string, file: string): Promise<string[]> {
  const [result] = await eslint.lintText(code, { filePath: path.join(repositoryRoot(), file) });
  return result!.messages.filter((m) => m.ruleId === null || m.ruleId.startsWith("no-restricted-") || m.ruleId.startsWith("axion/")).map((m) => m.ruleId ?? m.message);
}

const wrong: readonly (readonly [code: string, rule: string])[] = [
  ["export const t = Date.now();", "no-restricted-globals"],
  ["export const t = new Date();", "no-restricted-globals"],
  ["const D = Date; export const t = D.now();", "no-restricted-globals"],
  ["export const t = performance.now();", "no-restricted-globals"],
  ["export const x = Math.random();", "no-restricted-properties"],
  ["const { random } = Math; export const x = random();", "no-restricted-properties"],
  ["setTimeout(() => undefined, 5);", "no-restricted-globals"],
  ["setInterval(() => undefined, 5);", "no-restricted-globals"],
  ["setImmediate(() => undefined);", "no-restricted-globals"],
  ["globalThis.setTimeout(() => undefined, 5);", "no-restricted-globals"],
  ["export const id = crypto.randomUUID();", "no-restricted-globals"],
  [`import { randomUUID } from "node:crypto"; export const id = randomUUID();`, "no-restricted-imports"],
  [`import { randomBytes } from "crypto"; export const b = randomBytes(1);`, "no-restricted-imports"],
  [`import { setTimeout as sleep } from "node:timers/promises"; await sleep(5);`, "no-restricted-imports"],
  [`import { performance } from "node:perf_hooks"; export const t = performance.now();`, "no-restricted-imports"],
  [`export const t = process.hrtime();`, "no-restricted-globals"],
  [`export const a = await fetch("http://x/");`, "no-restricted-globals"],
  [`import http from "node:http"; export const a = http.get("http://x/");`, "no-restricted-imports"],
  [`export const c = await import("node:crypto");`, "no-restricted-syntax"],
  // A value that is taken apart leaves no trace of what else is done with it; the rest is found when the shape is first used.
  [`export const s = p.shapes("t", { known: ({ n }) => ({ match: { "reg:net": n }, actions: n ? [] : [next] }) });`, "no-restricted-syntax"],
  [`export const s = p.shapes("t", { known: ({ n }) => { if (n) return A; return { match: { "reg:net": n }, actions: [] }; } });`, "no-restricted-syntax"],
];

describe("an app", () => {
  test.each(wrong)("may not: %s", async (code, rule) => expect(await complaints(code, "apps/dhcp/index.ts")).toEqual([rule]));
  test("may place in a shape what it is given", async () => {
    expect(await complaints(`export const s = p.shapes("t", { known: ({ n }) => ({ match: { ...icmp, "reg:net": n }, actions: [load("net", n)] }) });`, "apps/dhcp/index.ts")).toEqual([]);
  });
  test("may do what has nothing to do with it", async () => {
    const code = `import { parsePacket } from "packet-codec"; export const x = (now: string): number => Math.floor(Number(now)) + parsePacket(Buffer.alloc(0)).eth.ethertype;`;
    expect(await complaints(code, "apps/dhcp/index.ts")).toEqual([]);
  });
  test.each([
    ["apps/l2/api.ts", `import { tenantMtu } from "../overlay/model.ts"; export const x = tenantMtu;`],
    ["apps/l2/model.ts", `export { tenantMtu } from "../overlay/model.ts";`],
    ["apps/ipam/api.ts", `export * from "../l3/model.ts";`],
    ["apps/ipam/api.ts", `import type { Router } from "../l3/model.ts"; export type X = Router;`],
    ["test/contract/probes/wan/api.ts", `import { portDhcpOptsTable } from "../../../../apps/dhcp/model.ts"; export const x = portDhcpOptsTable;`],
  ])("may not import what it does not require: %s: %s", async (file, code) => expect(await complaints(code, file)).toEqual(["axion/requires"]));
  test("may import what it requires, at any distance, and itself", async () => {
    const code = `import { networkTable } from "../l2/model.ts"; import { routerTable } from "../l3/model.ts"; import { rules } from "./rules.ts"; export const x = [networkTable, routerTable, rules];`;
    expect(await complaints(code, "apps/dhcp/index.ts")).toEqual([]);
    expect(await complaints(`import { networkTable } from "../../../../apps/l2/model.ts"; export const x = networkTable;`, "test/contract/probes/wan/api.ts")).toEqual([]);
  });
  test("is not the rule for the rest of the core, nor for tests", async () => {
    for (const file of ["src/main.ts", "apps/dhcp/ra.test.ts", "src/southbound/hostile.test.ts"]) expect(await complaints("export const t = Date.now() + Math.random();", file)).toEqual([]);
  });
});

describe("what talks to switches", () => {
  test.each([
    ["export const t = Date.now();", "no-restricted-properties"],
    ["export const t = new Date();", "no-restricted-syntax"],
    ["export const t = performance.now();", "no-restricted-globals"],
    ["export const x = Math.random();", "no-restricted-properties"],
    ["setTimeout(() => undefined, 5);", "no-restricted-globals"],
    ["export const stop = (t: NodeJS.Timeout): void => clearInterval(t);", "no-restricted-globals"],
    [`import { randomUUID } from "node:crypto"; export const id = randomUUID();`, "no-restricted-imports"],
    [`import { setTimeout as sleep } from "node:timers/promises"; await sleep(5);`, "no-restricted-imports"],
    [`import { machineClock } from "../lib/clock.ts"; export const t = machineClock.now();`, "no-restricted-syntax"],
  ])("may not: %s", async (code, rule) => expect(await complaints(code, "src/southbound/audit.ts")).toEqual([rule]));
  test("may date what a clock says, and give others a turn", async () => {
    const code = `import type { Clock } from "../lib/clock.ts"; export const x = (clock: Clock): string => new Date(clock.now()).toISOString(); setImmediate(() => undefined);`;
    expect(await complaints(code, "src/southbound/audit.ts")).toEqual([]);
  });
});
