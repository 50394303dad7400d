import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, onTestFinished, test } from "vitest";

import { haveOvs, RealServer } from "./testing/support.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

test.skipIf(!haveOvs)("the script of the README does what it says", async () => {
  const script = /```js\n([^]*?)```/.exec(readFileSync(join(PACKAGE, "README.md"), "utf8"))![1]!;
  const server = await RealServer.start();
  onTestFinished(() => server.stop());
  // compiled aside: dist/ may be stale or absent, and Node 20 runs no TypeScript
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  const directory = mkdtempSync(join(PACKAGE, "dist", "readme-"));
  onTestFinished(() => { rmSync(directory, { recursive: true, force: true }); });
  await promisify(execFile)(process.execPath, [join(PACKAGE, "../../node_modules/typescript-native/bin/tsc"), "-p", PACKAGE, "--outDir", directory, "--composite", "false", "--incremental", "false", "--tsBuildInfoFile", "null", "--declaration", "false", "--sourceMap", "false"]);
  writeFileSync(join(directory, "script.mjs"), script.replace('"ovsdb-client"', '"./index.js"'));
  const { stdout } = await promisify(execFile)(process.execPath, [join(directory, "script.mjs"), server.path]);
  expect(stdout).toBe("Bridge undefined -> br-readme\nbr-readme has 0 ports\n");
}, 120_000);
