#!/usr/bin/env node
// The built command. In a checkout that was not built yet it is built first, so that it works right after `npm ci`.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));
const built = join(folder, "dist", "command", "cli.js");
if (!existsSync(built)) {
  let compiler;
  try {
    compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  } catch {
    process.stderr.write("ovsdb: not built, and no TypeScript to build it with; run `npm ci` in the checkout\n");
    process.exit(1);
  }
  process.stderr.write("ovsdb: building, once ...\n");
  const { status, stdout } = spawnSync(process.execPath, [compiler, "-b", folder], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  if (status !== 0) {
    process.stderr.write(`${stdout}ovsdb: the build failed\n`);
    process.exit(1);
  }
}
await import("../dist/command/cli.js");
