// The last lines of `npm test` say how many tests were skipped, and why; and what failed, inside of tests or outside.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { exec } from "../lab/exec.ts";
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

test.skipIf(process.env.AXION_NIGHTLY === "1")("a test that is left out for itself alone has its own reason, not that of its group", () => {
  const restore = join(root, "test/integration/cluster/restore.test.ts");
  expect(whySkipped(restore, "a store that is put back beside a controller that is the master of its switches: these are not taken, and that is told; when it is gone they are")).toBe("the long form: npm run test:nightly");
  expect(whySkipped(restore, "a store that is put back anything else")).toMatch(/^etcd is not installed/);
});

test("a run without a report has failed, and of a file that cannot be loaded is said why", async () => {
  const dir = mkdtempSync(join(tmpdir(), "axion-skips-"));
  const summary = (status: string): Promise<readonly [unknown, string]> =>
    new Promise((resolve) => execFile(process.execPath, [join(root, "dist/scripts/test-report.js"), "summary", "first", "2", "0", status, join(dir, "report.json")], (error, stdout) => resolve([error?.code ?? 0, stdout])));
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

test("an error outside of any test has failed, also where the file passes when it is run again; what did not come to its end has failed", { timeout: 120_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "axion-skips-"));
  const script = (name: string): string => join(root, `dist/scripts/${name}.js`);
  const vitest = (report: string, when: string): Promise<{ exitCode: number }> =>
    exec([process.execPath, join(root, "node_modules/vitest/vitest.mjs"), "run", "--globals", `--root=${dir}`, `--reporter=${script("run-reporter")}`, `--outputFile.json=${join(dir, report)}`], { allowFailure: true, timeoutMs: 60_000, env: { WHEN: when } });
  const summary = async (...args: string[]): Promise<string> => (await exec([process.execPath, script("test-report"), "summary", "first", "0", "0", ...args], { allowFailure: true, timeoutMs: 60_000 })).stdout;
  try {
    writeFileSync(join(dir, "late.test.js"), `test("late", async () => {
      if (process.env.WHEN === "first") void Promise.reject(new TypeError("nobody waits for this"));
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(process.env.WHEN).not.toBe("first");
    });\n`);
    expect(await vitest("first.json", "first")).toMatchObject({ exitCode: 1 });
    expect(await vitest("again.json", "again")).toMatchObject({ exitCode: 0 });
    const [first, again] = [join(dir, "first.json"), join(dir, "again.json")];
    expect(await summary("0", again)).toBe("1 passed, 0 failed\n");
    expect(await summary("1", first, again, "0")).toMatch(/^axion: failed, and passed when its file was run again: late: AssertionError: .*\naxion: failed: outside of any test: TypeError: nobody waits for this .*\n1 passed, 1 failed\n$/);
    writeFileSync(join(dir, "ends.test.js"), 'test("ends", () => { if (process.env.WHEN === "ends") process.kill(process.pid, "SIGKILL"); });\n');
    expect(await vitest("ends.json", "ends")).toMatchObject({ exitCode: 1 });
    const ends = join(dir, "ends.json");
    expect((await exec([process.execPath, script("test-report"), "failed-files", ends], { timeoutMs: 60_000 })).stdout).toBe(`${join(dir, "ends.test.js")}\n`);
    expect(await summary("1", ends)).toMatch(/^axion: failed: .*\naxion: failed: outside of any test: Error: .*\n1 passed, 2 failed\n$/);
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
    writeFileSync(report, JSON.stringify({ testResults: [{ name: file, status: "passed", assertionResults: [...tests, { status: "skipped", fullName: "on c (now) it works", tags: ["long"] }, { status: "passed", fullName: "passed" }] }] }));
    const out = (stage: string): Promise<string> => new Promise((resolve) => execFile(process.execPath, [join(root, "dist/scripts/test-report.js"), "summary", stage, "2", "0", "0", report], (_error, stdout) => resolve(stdout)));
    expect(await out("second")).toBe(`axion: 5 more in these files are not long: npm test runs them\naxion: 1 skipped:\naxion: 1 because: the lab is not possible here: it wants Linux, root and what scripts/install-deps.sh lab installs\n  on c (now) it works\n3 passed, 0 failed\n`);
    expect((await out("first")).split("\n")).toEqual([
      "axion: 1 more are long: npm run test:long runs them",
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
