// What `npm pack` makes is all that a controller needs beside node: no npm, compiler, build or registry where it runs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { exec, until } from "../../../lab/exec.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-package-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const { version } = JSON.parse(readFileSync(path.join(repositoryRoot(), "package.json"), "utf8")) as { version: string };
const archive = path.join(dir, `axion-${version}.tgz`);
const TIMEOUT_MS = 180_000;

beforeAll(async () => {
  await exec(["npm", "pack", "--pack-destination", dir], { cwd: repositoryRoot(), timeoutMs: TIMEOUT_MS });
}, TIMEOUT_MS);

/** Nothing of this checkout, and nothing to build with, is found. */
const bare = { PATH: "/nonexistent", HOME: dir };

/** Starts it, asks after its health and for a network, and ends it. */
async function serves(axion: string): Promise<void> {
  expect((await exec(["env", "-i", ...Object.entries(bare).map(([name, value]) => `${name}=${value}`), process.execPath, axion, "--version"])).stdout).toBe(`${version}\n`);
  const data = mkdtempSync(path.join(dir, "data-"));
  const child = spawn(process.execPath, [axion, "start", "--data-dir", data, ...["api", "ops", "openflow", "ovsdb"].flatMap((flag) => [`--${flag}`, "127.0.0.1:0"])], { cwd: data, env: bare, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close");
  let out = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
  try {
    await until("ready", () => {
      if (child.exitCode !== null) throw new Error(out);
      return out.includes('"msg":"ready"');
    }, { timeoutMs: 30_000 });
    const { api, ops } = JSON.parse(out.split("\n").find((line) => line.includes('"msg":"ready"'))!) as Record<"api" | "ops", { port: number }>;
    expect(await (await fetch(`http://127.0.0.1:${ops.port}/healthz`)).json()).toEqual({ status: "alive" });
    expect(await (await fetch(`http://127.0.0.1:${ops.port}/console/`)).text()).toContain("Axion console");
    const made = await fetch(`http://127.0.0.1:${api.port}/v2.0/networks`, { method: "POST", body: '{"network":{"name":"n"}}', headers: { "content-type": "application/json" } });
    expect(made.status).toBe(201);
    const { stdout } = await exec([process.execPath, axion, "status", "--ops-url", `http://127.0.0.1:${ops.port}`]);
    expect(stdout).toMatch(/ready/);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(out).not.toMatch(/Warning|Error/);
  } finally {
    child.kill("SIGKILL");
  }
}

test("unpacked, node runs it", async () => {
  const where = path.join(dir, "unpacked");
  mkdirSync(where);
  await exec(["tar", "-xzf", archive, "-C", where, "--strip-components=1"]);
  await serves(path.join(where, "bin/axion.js"));
  expect(readdirSync(where).sort()).toEqual(["ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "README.md", "bin", "dist", "docs", "node_modules", "package.json", "packaging"]);
  const { stdout } = await exec(["find", where, "-path", `${where}/node_modules/*/node_modules`, "-prune", "-o", "-path", `${where}/dist/*`, "-name", "*.test.*", "-print"]);
  expect(stdout).toBe("");
  expect(await exec([process.execPath, path.join(where, "bin/axion.js"), "lab"], { allowFailure: true })).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("the lab is a part of the repository") as string });
}, TIMEOUT_MS);

test("npm installs it, without a registry", async () => {
  const where = path.join(dir, "installed");
  mkdirSync(where);
  await exec(["npm", "install", "--offline", "--omit=dev", "--no-audit", "--no-fund", "--prefix", where, archive], { cwd: where, timeoutMs: TIMEOUT_MS });
  await serves(path.join(where, "node_modules/.bin/axion"));
}, TIMEOUT_MS);
