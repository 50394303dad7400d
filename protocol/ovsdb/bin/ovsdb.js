#!/usr/bin/env node
// The command is compiled: this only says so where it has not been yet.
import { existsSync } from "node:fs";

const built = new URL("../dist/cli.js", import.meta.url);
if (existsSync(built)) {
  await import(built.href);
} else {
  process.stderr.write("ovsdb: not built yet; run `npm run build` in the checkout\n");
  process.exitCode = 1;
}
