// The controller of the README, as it stands there, runs a real switch.

import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";

import { ovsInstalled, startSwitch } from "./testing/test-switch.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

test.skipIf(!ovsInstalled)("the controller of the README installs its flow and hears of a packet", async () => {
  const script = /```ts\n([^]*?)```/.exec(readFileSync(join(PACKAGE, "README.md"), "utf8"))![1]!;
  expect(script.split("\n").filter((line) => line.trim() !== "").length).toBeLessThanOrEqual(15);
  // compiled aside: dist/ may be stale or absent, and Node 20 runs no TypeScript
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  const directory = mkdtempSync(join(PACKAGE, "dist", "readme-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  await promisify(execFile)(process.execPath, [join(PACKAGE, "../../node_modules/typescript-native/bin/tsc"), "-p", PACKAGE, "--outDir", directory, "--noCheck", "--composite", "false", "--incremental", "false", "--tsBuildInfoFile", "null", "--declaration", "false", "--sourceMap", "false"]);
  const port = await freePort();
  const own = script.replace('"node-openflow"', '"./index.js"').replace('"0.0.0.0"', '"127.0.0.1"').replace("6653", String(port));
  expect(own).toContain(`port: ${port}`);
  writeFileSync(join(directory, "controller.mjs"), own);

  let said = "";
  const controller = spawn(process.execPath, [join(directory, "controller.mjs")], { stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void controller.kill("SIGKILL"));
  for (const stream of [controller.stdout, controller.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));

  const ovs = startSwitch();
  onTestFinished(() => ovs.stop());
  ovs.vsctl("set", "bridge", "br0", "other_config:datapath-id=00000000000000a1", "fail_mode=secure", "--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=1");
  ovs.vsctl("set-controller", "br0", `tcp:127.0.0.1:${port}`, "--", "set", "controller", "br0", "max_backoff=1000");
  await expect.poll(() => said, { timeout: 20_000 }).toContain("ready: 00000000000000a1\n");
  expect(ovs.ofctl("dump-flows", "--no-stats")).toContain("priority=1,arp actions=NORMAL,CONTROLLER:65535");
  ovs.appctl("netdev-dummy/receive", "p1", "in_port(1),eth(src=02:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip=192.0.2.1,tip=192.0.2.2,op=1,sha=02:00:00:00:00:01,tha=00:00:00:00:00:00)");
  await expect.poll(() => said, { timeout: 10_000 }).toContain("packet of");
  ovs.vsctl("del-controller", "br0");
  await expect.poll(() => said, { timeout: 10_000 }).toContain("gone: ");
}, 120_000);
