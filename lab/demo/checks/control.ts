// What the demo proves of the controller: VMs do not need it to live, and it has nothing to complain of.

import { readFile } from "node:fs/promises";
import type { Controller } from "../../controller.ts";
import { until } from "../../exec.ts";
import type { Outcome } from "../report.ts";
import { some, switchStates, type World } from "../world.ts";

/** Killed and started anew on what it stored, while VMs of two hosts ping: they notice nothing, nor do the switches. */
export async function killed({ controller, hypervisors, red }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const [red1, red2] = [red.guests[0]!, red.guests[1]!];
  const run = red1.vm.pingStart(red2.ip, { intervalMs: 10 });
  const began = performance.now();
  await controller.kill9();
  waiting("the controller on its old store");
  await controller.start();
  waiting("every switch compared with what is desired");
  await until("every switch in order", async () => (await switchStates(controller)).filter(({ state }) => state === "connected").length === hypervisors.length, { timeoutMs: 20_000 });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const { sent, received } = await run.stop();
  const metrics = String((await controller.ops("GET", "/metrics")).body);
  const flowMods = [...metrics.matchAll(/^axion_flow_mods_sent_total(?:\{.*\})? (\d+)/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
  return {
    held: sent > 0 && received === sent && flowMods === 0,
    figure: `kill -9, in order again after ${seconds} s: ${received} of ${sent} pings answered meanwhile, ${flowMods} flow-mods sent`,
    expected: "every ping answered, no flow-mod",
  };
}

const PINO_ERROR = 50;

export async function noErrors(controller: Controller): Promise<Outcome> {
  const lines = (await readFile(controller.logFile, "utf8")).split("\n").filter(Boolean);
  const errors = lines.filter((line) => {
    try {
      return ((JSON.parse(line) as { level?: number }).level ?? 0) >= PINO_ERROR;
    } catch {
      return true; // the log is JSON: anything else came from a crash
    }
  });
  return { held: errors.length === 0, figure: `${errors.length} of ${lines.length} lines`, expected: "none", seen: some(errors) };
}
