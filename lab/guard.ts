// What a run of the lab leaves on the machine, and its removal: a name, a directory, and a small shell that waits for
// the death of this process, so that nothing stays behind however it dies. What even that could not remove (both
// killed), the next run sweeps.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import type net from "node:net";
import { alive, exec, startTime } from "./exec.ts";
import { REAP_SH } from "./inside.ts";

const ROOT = "/tmp"; // not $TMPDIR: unix socket paths end at 107 bytes, and sweep must find other runs' directories
const NAME = /^ax(\d+)[a-z]+-/;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const live = new Set<Guard>();
let made = 0;

export class Guard {
  /** Short and unique: ax, the process id, a letter. The prefix of every namespace of the run. */
  readonly run: string;
  readonly dir: string;
  /** Called first when a signal or `destroy` ends the run. */
  beforeReap: () => void = () => undefined;
  /** The process is about to end by a signal. */
  dying = false;
  #reaper: ChildProcess | undefined;
  #signals: boolean;
  #destroyed: Promise<void> | undefined;

  private constructor(run: string, dir: string, signals: boolean) {
    this.run = run;
    this.dir = dir;
    this.#signals = signals;
  }

  /** Sweeps what dead runs left, then makes a directory and guards it. With `signals`, SIGINT and the like clean up first. */
  static async create(options: { name?: string; signals?: boolean } = {}): Promise<Guard> {
    await sweep();
    const run = `ax${process.pid}${letters(made++)}`;
    const dir = await mkdtemp(`${ROOT}/${run}-`);
    const guard = new Guard(run, dir, options.signals ?? true);
    guard.#watch();
    await chmod(dir, 0o755); // clients that drop their rights read their scripts from here
    await writeFile(`${dir}/owner`, `${process.pid} ${(await startTime(process.pid)) ?? ""} ${options.name ?? ""}\n`);
    return guard;
  }

  /** Ends every process, removes every namespace, link and file of the run. Idempotent. */
  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy();
    return this.#destroyed;
  }

  async #destroy(): Promise<void> {
    this.beforeReap();
    const argv = ["sh", "-c", REAP_SH, "reap", this.run, this.dir];
    await exec(argv, { timeoutMs: 60_000 }).catch(() => exec(argv, { timeoutMs: 60_000 }));
    // The waiting shell looks once more, for what was being started meanwhile, and ends.
    const reaper = this.#reaper;
    if (reaper !== undefined && reaper.exitCode === null && !this.dying) {
      reaper.ref();
      const ended = new Promise((resolve) => reaper.once("exit", resolve));
      reaper.stdin?.end();
      await ended;
    }
    live.delete(this);
    if (live.size === 0) {
      process.off("exit", reapAll);
      for (const signal of SIGNALS) process.off(signal, onSignal);
    }
  }

  #watch(): void {
    const reaper = spawn("sh", ["-c", REAP_SH, "reap", this.run, this.dir, "wait"], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true, // in a session of its own, so that Ctrl-C does not reach it
      cwd: "/",
    });
    reaper.unref();
    (reaper.stdin as net.Socket | null)?.unref();
    this.#reaper = reaper;
    live.add(this);
    if (live.size === 1) process.on("exit", reapAll);
    if (this.#signals) for (const signal of SIGNALS) if (!process.listeners(signal).includes(onSignal)) process.on(signal, onSignal);
  }

  /** For the end of the process, where nothing asynchronous runs any more. */
  reapNow(): void {
    spawnSync("sh", ["-c", REAP_SH, "reap", this.run, this.dir]);
  }
}

function reapAll(): void {
  for (const guard of live) guard.reapNow();
}

/** The shells that wait go on waiting and look once more after our end: something may just be being started. */
function onSignal(signal: NodeJS.Signals): void {
  for (const guard of live) guard.dying = true;
  process.on("unhandledRejection", () => undefined); // what was under way fails now, and that is no news
  void Promise.allSettled([...live].map((guard) => guard.destroy())).then(() => {
    for (const name of SIGNALS) process.off(name, onSignal);
    process.kill(process.pid, signal);
  });
}

/** Removes what runs left whose process is no longer alive. Returns their names. */
export async function sweep(): Promise<string[]> {
  const [spaces, files, dirs] = await Promise.all([list("/run/netns"), list("/etc/netns"), list(ROOT)]);
  const runs = new Map<string, string>();
  for (const entry of [...spaces, ...files, ...dirs]) {
    const run = NAME.exec(entry)?.[0].slice(0, -1);
    if (run !== undefined) runs.set(run, dirs.find((dir) => dir.startsWith(`${run}-`)) ?? "");
  }
  const swept: string[] = [];
  for (const [run, dir] of runs) {
    const pid = Number(NAME.exec(`${run}-`)?.[1]);
    const path = dir === "" ? "" : `${ROOT}/${dir}`;
    if ((await alive(pid)) && !(await reused(pid, path))) continue;
    await exec(["sh", "-c", REAP_SH, "reap", run, path], { timeoutMs: 60_000, allowFailure: true });
    swept.push(run);
  }
  return swept;
}

/** Whether the process id now belongs to another process than the one that made the directory. */
async function reused(pid: number, dir: string): Promise<boolean> {
  if (dir === "") return false;
  try {
    const [ownerPid, ownerStart] = (await readFile(`${dir}/owner`, "utf8")).split(" ");
    return Number(ownerPid) === pid && ownerStart !== (await startTime(pid));
  } catch {
    return false; // just being made, or just being removed
  }
}

async function list(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch {
    return [];
  }
}

/** 0 -> a, 25 -> z, 26 -> ba: letters, as digits would run into the process id. */
function letters(number: number): string {
  return number < 26 ? String.fromCharCode(97 + number) : letters(Math.floor(number / 26)) + letters(number % 26);
}
