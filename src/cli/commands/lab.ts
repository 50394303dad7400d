// `axion lab`: the demo's lab, as `npm run demo` makes it.
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../lib/version.ts";
import { OpsError } from "../ops-api.ts";

/** Runs it until its end; its exit code. Signals that this process alone gets are handed on. */
export function lab(args: readonly string[]): Promise<number> {
  const script = join(packageRoot(), "scripts", "demo.sh");
  if (!existsSync(script)) throw new OpsError("NOT_THERE", `the lab is a part of the repository, and ${script} is not there`);
  const child = spawn("bash", [script, ...args], { stdio: "inherit" });
  // Ctrl-C reaches the whole terminal's group: here it is only waited for the end of the child.
  const handOn = (signal: NodeJS.Signals): void => {
    if (signal !== "SIGINT") child.kill(signal);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, handOn);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}
