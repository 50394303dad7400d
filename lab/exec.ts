// Running other programs: one-shot commands with captured output, and long-running ones whose output goes to a file
// and can be waited on. Commands are always argument arrays; nothing here goes through a shell.

import { spawn, type ChildProcess } from "node:child_process";
import { appendFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { setTimeout as sleep } from "node:timers/promises";

export interface ExecOptions {
  /** Milliseconds until the command is killed, default 20 000. */
  timeoutMs?: number;
  /** Written to standard input, which is then closed. */
  input?: string;
  /** Added to (not replacing) the environment. */
  env?: Record<string, string>;
  cwd?: string;
  /** Return a non-zero exit instead of throwing. A timeout or a missing program throws all the same. */
  allowFailure?: boolean;
}

export interface ExecResult {
  stdout: string;
  stderr: string;
  /** -1 when a signal ended it. */
  exitCode: number;
}

/** A command that could not be started, failed or ran out of time. */
export class CommandError extends Error {
  readonly code = "COMMAND_FAILED";
  readonly argv: readonly string[];
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;

  constructor(argv: readonly string[], reason: string, result: ExecResult, cause?: unknown) {
    const said = result.stderr.trim() || result.stdout.trim();
    super(`${argv.join(" ")}: ${reason}${said === "" ? "" : `: ${said}`}`, { cause });
    this.name = "CommandError";
    this.argv = argv;
    this.exitCode = result.exitCode;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
  }
}

/** Runs a command to its end. @throws CommandError */
export function exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const { timeoutMs = 20_000, input, env, cwd, allowFailure = false } = options;
  const [file, ...args] = argv;
  if (file === undefined) throw new TypeError("exec: empty command");
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(env && { env: { ...process.env, ...env } }),
      ...(cwd !== undefined && { cwd }),
    });
    let stdout = "";
    let stderr = "";
    let timedOut = false;
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdin?.on("error", () => undefined); // a command may end without reading all of its input
    child.stdin?.end(input);
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
      // A daemon that the command left behind may hold the pipes: do not wait for it.
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, timeoutMs);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new CommandError(argv, error.message, { stdout, stderr, exitCode: -1 }, error));
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const result = { stdout, stderr, exitCode: code ?? -1 };
      if (timedOut) reject(new CommandError(argv, `no end after ${timeoutMs} ms`, result));
      else if (code === 0 || (allowFailure && code !== null)) resolve(result);
      else reject(new CommandError(argv, code === null ? `ended by ${signal ?? "a signal"}` : `exit ${code}`, result));
    });
  });
}

export interface SpawnOptions {
  /** Appended to; both output streams. */
  logFile?: string;
  env?: Record<string, string>;
  cwd?: string;
  /** Every line of both output streams, without the line end. */
  onLine?: (line: string) => void;
  /** How many of the last lines to keep in `lines`, default all. */
  keepLines?: number;
}

/** A long-running program. It does not keep this process alive by itself. */
export class Running {
  readonly argv: readonly string[];
  readonly child: ChildProcess;
  /** Lines seen so far on both output streams. */
  readonly lines: string[] = [];
  /** Settles (never rejects) when the program has ended and its output is read. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  ended = false;
  #watchers = new Set<() => void>();

  constructor(argv: readonly string[], options: SpawnOptions = {}) {
    const [file, ...args] = argv;
    if (file === undefined) throw new TypeError("spawn: empty command");
    this.argv = argv;
    this.child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      ...(options.env && { env: { ...process.env, ...options.env } }),
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
    const keep = options.keepLines ?? Infinity;
    for (const stream of [this.child.stdout, this.child.stderr]) {
      const decoder = new StringDecoder("utf8");
      let rest = "";
      stream?.on("data", (chunk: Buffer) => {
        if (options.logFile !== undefined) {
          try {
            appendFileSync(options.logFile, chunk);
          } catch {
            // the lab's directory is being removed
          }
        }
        const parts = (rest + decoder.write(chunk)).split("\n");
        rest = parts.pop() ?? "";
        for (const line of parts) {
          this.lines.push(line);
          if (this.lines.length > keep) this.lines.shift();
          options.onLine?.(line);
        }
        for (const watcher of this.#watchers) watcher();
      });
    }
    this.child.stdin?.on("error", () => undefined); // it may end at any time
    this.exited = new Promise((resolve) => {
      const done = (code: number | null, signal: NodeJS.Signals | null) => {
        this.ended = true;
        for (const watcher of this.#watchers) watcher();
        resolve({ code, signal });
      };
      this.child.on("error", (error) => {
        this.lines.push(error.message);
        done(-1, null);
      });
      this.child.on("close", done);
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  /** The first line (past or future) that matches. @throws CommandError when it ends or time runs out before that. */
  waitFor(wanted: RegExp | ((line: string) => boolean), timeoutMs = 20_000): Promise<string> {
    const test = wanted instanceof RegExp ? (line: string) => wanted.test(line) : wanted;
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        settle();
      };
      const fail = (why: string) => {
        const stderr = this.lines.slice(-10).join("\n");
        finish(() => {
          reject(new CommandError(this.argv, why, { stdout: "", stderr, exitCode: this.child.exitCode ?? -1 }));
        });
      };
      const look = () => {
        const line = this.lines.find(test);
        if (line !== undefined) finish(() => resolve(line));
        else if (this.ended) fail(`ended (exit ${this.child.exitCode ?? this.child.signalCode ?? "?"})`);
      };
      const timer = setTimeout(() => fail(`not seen in ${timeoutMs} ms: ${String(wanted)}`), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Sends the signal, and SIGKILL when it is still there after `graceMs`. Waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGTERM", graceMs = 5000): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (!this.ended) {
      this.child.kill(signal);
      const timer = setTimeout(() => this.child.kill("SIGKILL"), graceMs);
      await this.exited;
      clearTimeout(timer);
    }
    return this.exited;
  }
}

/** Starts a long-running program; its output goes to `logFile` and `lines`. */
export function spawnLogged(argv: readonly string[], options: SpawnOptions = {}): Running {
  return new Running(argv, options);
}

/** Whether a process with this id exists (a zombie does not count). */
export async function alive(pid: number): Promise<boolean> {
  return (await startTime(pid)) !== undefined;
}

/** A process's start time in clock ticks since boot, which tells it from a later one with the same id. */
export async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name in parentheses may hold anything
    // A zombie with threads that are still ending has its files open, and their locks.
    const ended = fields[0] === "X" || (fields[0] === "Z" && Number(fields[17]) <= 1);
    return ended ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Calls `probe` until it returns something truthy and returns that. @throws Error naming `what` when time runs out. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; intervalMs?: number } = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 25 } = options;
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value) return value;
    if (Date.now() >= end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(intervalMs);
  }
}
