// How a process ends: by signals, by its terminal that is closed, by the npm that started it and is gone. Each of them ends it in order, in
// bounded time; a second one ends it at once.
import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";

/** A terminal's Ctrl-C goes to all of its group, and npm hands on what it gets: a signal that comes again so soon is the same. */
export const SAME_MS = 500;
const PARENT_POLL_MS = 250;

export interface EndOptions {
  /** Ends in order; what it is asked for by: a signal, or "npm ended". */
  readonly stop: (by: string) => Promise<void>;
  /** SIGHUP that comes of no terminal. */
  readonly reread: () => void;
  /** Told of an end that failed, or took longer than `limitMs`; the exit code is 1 then. */
  readonly failed: (error: Error) => void;
  /** How long ending in order may take. */
  readonly limitMs: number;
  /** The npm that started this process; it does not outlive it. */
  readonly startedBy?: number | undefined;
}

/** Ends the process as signals say: 0 when it ended in order. */
export function endOnSignals(options: EndOptions): void {
  const { stop, reread, failed, limitMs, startedBy } = options;
  let first: { readonly by: string; readonly at: number } | undefined;
  const end = (by: NodeJS.Signals | "npm ended"): void => {
    if (first !== undefined) {
      if (by === "npm ended" || (by === first.by && performance.now() - first.at < SAME_MS)) return;
      process.exit(128 + constants.signals[by]);
    }
    first = { by, at: performance.now() };
    const late = setTimeout(() => {
      failed(new Error(`it took longer than ${limitMs / 1000} s`));
      process.exit(1);
    }, limitMs);
    stop(by).then(
      () => process.exit(0),
      (error: unknown) => {
        clearTimeout(late);
        failed(error as Error);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", end);
  process.on("SIGINT", end);
  const hadTerminal = hasTerminal();
  process.on("SIGHUP", (signal) => {
    if (first !== undefined || (hadTerminal && !hasTerminal())) end(signal);
    else reread();
  });
  if (startedBy !== undefined) watchParent(startedBy, () => end("npm ended"));
}

/** Calls back once when the process of this id, or our own parent, is no more. npm hands on SIGTERM and SIGINT, but not SIGHUP, of which it dies. */
export function watchParent(pid: number, gone: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent && exists(pid)) return;
    clearInterval(timer);
    gone();
  }, PARENT_POLL_MS);
  timer.unref();
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // another user's
  }
}

/** Whether there is a controlling terminal, which ends with its window or connection. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

/** Takes out of the environment, where no child shall find it, which npm started us (scripts/lib.sh). */
export function takeStartedBy(env: NodeJS.ProcessEnv): number | undefined {
  const { AXION_STARTED_BY: text } = env;
  delete env.AXION_STARTED_BY;
  return text !== undefined && /^[1-9]\d*$/.test(text) ? Number(text) : undefined;
}
