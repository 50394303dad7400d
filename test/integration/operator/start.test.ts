// `npm start`, as a service manager runs it: a signal for npm reaches the controller, which ends in order.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-start-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test.each(["SIGTERM", "SIGINT"] as const)("%s ends it with 0, settings of the environment and of a flag in force", async (signal) => {
  const anywhere = ["--ops", "127.0.0.1:0", "--openflow", "127.0.0.1:0", "--ovsdb", "127.0.0.1:0"];
  const child = spawn("npm", ["start", "--", "--data-dir", dir, ...anywhere], { cwd: repositoryRoot(), env: { ...process.env, AXION_API: "127.0.0.1:0", AXION_NAME: "by-npm" }, stdio: ["ignore", "pipe", "inherit"], detached: true });
  const ended = once(child, "close");
  try {
    let out = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        out += chunk.toString();
        if (out.includes('"msg":"ready"')) resolve();
      });
      child.on("close", () => reject(new Error(`ended: ${out}`)));
    });
    expect(out).toContain('"name":"by-npm"');
    child.kill(signal);
    expect(await ended).toEqual([0, null]);
    expect(out).toContain(`"signal":"${signal}","msg":"stopping"`);
  } finally {
    try {
      process.kill(-child.pid!, "SIGKILL"); // the group: also a controller that npm left behind
    } catch {
      // all of it has ended
    }
  }
}, 120_000);
