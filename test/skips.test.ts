// The last lines of `npm test` say how many tests were skipped, and why.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { reasonOf, skipsOf, whySkipped } from "../scripts/skips.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = ["src", "apps", "protocol", "lab", "bench", "test"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".test.ts") && !/(^|\/)(node_modules|dist)\//.test(name)).map((name) => join(root, folder, name)));

test("every condition on which tests are skipped has a reason", () => {
  const unknown: string[] = [];
  for (const file of files) {
    const source = readFileSync(file, "utf8");
    if (file === fileURLToPath(import.meta.url)) continue;
    const skips = skipsOf(source);
    if (skips.length !== [...source.matchAll(/\.(?:skipIf|runIf)\(/g)].length) unknown.push(`${file}: a condition that is not understood`);
    for (const { condition } of skips) if (reasonOf(condition) === undefined) unknown.push(`${file}: ${condition}`);
  }
  expect(unknown).toEqual([]);
});

test("a run without a report has failed, and of a file that cannot be loaded is said why", async () => {
  const dir = mkdtempSync(join(tmpdir(), "axion-skips-"));
  const summary = (status: string): Promise<readonly [unknown, string]> =>
    new Promise((resolve) => execFile(process.execPath, [join(root, "dist/scripts/test-report.js"), "summary", "0", status, join(dir, "report.json")], (error, stdout) => resolve([error?.code ?? 0, stdout])));
  try {
    expect(await summary("0")).toEqual([1, "2 passed, 1 failed\n"]);
    writeFileSync(join(dir, "report.json"), '{"testRes');
    expect(await summary("0")).toEqual([1, "2 passed, 1 failed\n"]);
    writeFileSync(join(dir, "report.json"), JSON.stringify({ testResults: [{ name: "a.test.ts", status: "failed", message: "Cannot find module './gone'", assertionResults: [] }] }));
    expect(await summary("1")).toEqual([1, "axion: failed: a.test.ts: Cannot find module './gone'\n2 passed, 1 failed\n"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("of each the last lines say how many and why", async () => {
  const dir = mkdtempSync(join(tmpdir(), "axion-skips-"));
  try {
    const file = join(dir, "x.test.ts");
    writeFileSync(file, 'describe.skipIf(Lab.missing().length > 0).each([["a"], ["b"]])("on %s (now)", () => {});\ntest.skipIf(!existsSync(shared))("vectors", () => {});\ntest.skipIf(moon === "full")("wolves", () => {});\n');
    expect(whySkipped(file, "on a (now) it works")).toMatch(/^the lab is not possible here/);
    const tests = ["on a (now) it works", "on b (now) it works", "vectors", "wolves", "nobody knows"].map((fullName) => ({ status: "skipped", fullName }));
    const report = join(dir, "report.json");
    writeFileSync(report, JSON.stringify({ testResults: [{ name: file, status: "passed", assertionResults: [...tests, { status: "passed", fullName: "passed" }] }] }));
    const out = await new Promise<string>((resolve) => execFile(process.execPath, [join(root, "dist/scripts/test-report.js"), "summary", "0", "0", report], (_error, stdout) => resolve(stdout)));
    expect(out.split("\n")).toEqual([
      "axion: 5 skipped:",
      "axion: 2 because: the lab is not possible here: it wants Linux, root and what scripts/install-deps.sh lab installs", "  on a (now) it works", "  on b (now) it works",
      "axion: 1 because: what other implementations say is not here: the folder ../shared, beside the clone", "  vectors",
      'axion: 1 because: moon === "full"', "  wolves",
      "axion: 1 because: its file does not say why", "  nobody knows",
      "3 passed, 0 failed", "",
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
