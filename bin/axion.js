#!/usr/bin/env node
// The operator's command, and `axion start`, the controller. In a clone that was not built yet, packages are installed and it is built first.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

const folder = fileURLToPath(new URL("..", import.meta.url));
const built = join(folder, "dist", "src", "cli", "main.js");

/** @param {string} what @param {string} command @param {string[]} args */
function step(what, command, args) {
  const { status, error } = spawnSync(command, args, { cwd: folder, stdio: ["ignore", 2, 2] });
  if (status === 0) return;
  process.stderr.write(`axion: ${what} failed${error === undefined ? "; see above" : `: ${error.message}`}\n`);
  process.exit(1);
}

const [major] = process.versions.node.split(".");
if (Number(major) < 20) {
  process.stderr.write(`axion: Node.js 20 or newer is needed, this is ${process.versions.node}\n`);
  process.exit(1);
}
if (!existsSync(built)) {
  const compiler = join(folder, "node_modules", "typescript-native", "bin", "tsc");
  if (!existsSync(compiler)) step("installing npm packages", "bash", [join(folder, "scripts", "install-deps.sh"), "npm"]);
  process.stderr.write("axion: building, once ...\n");
  step("the build", process.execPath, [compiler, "-b", "--noCheck", folder]);
}
if (process.argv[2] === "start") {
  // The same process, so that signals need nobody who hands them on. What of scripts/lib.sh's flags counts only at the start of node is in packaging/systemd/axion.service.
  process.argv.splice(2, 1);
  process.setSourceMapsEnabled(true);
  setFlagsFromString("--always-sparkplug");
  await import("../dist/src/main.js");
} else {
  await import("../dist/src/cli/main.js");
}
