// The one way in which code of an app is called at run time: what it throws, or rejects with, is logged and costs that call
// alone. A hook that fails at every call is logged now and then, with how often it failed in between.
import type { Logger } from "pino";

export interface Hook {
  readonly app: string;
  /** As in the contract: vif.plugged, vif.serves, packetIn, periodic ... */
  readonly hook: string;
}

/** Calls `run`; `otherwise` is what counts when it fails. `about`: more fields for the log. */
export type HookGuard = <T>(hook: Hook, about: Readonly<Record<string, unknown>>, run: () => T, otherwise: T) => T;

/** One hook of one app is logged at most this often. */
const PAUSE_MS = 10_000;

export function hookGuard(log: Pick<Logger, "error">, now: () => number = Date.now): HookGuard {
  const failures = new Map<string, { loggedAt: number; unlogged: number }>();
  const failed = ({ app, hook }: Hook, about: Readonly<Record<string, unknown>>, error: unknown): void => {
    const key = `${app} ${hook}`;
    const before = failures.get(key);
    if (before !== undefined && now() - before.loggedAt < PAUSE_MS) {
      before.unlogged++;
      return;
    }
    failures.set(key, { loggedAt: now(), unlogged: 0 });
    log.error({ err: error, app, hook, ...about, ...(before !== undefined && before.unlogged > 0 && { unlogged: before.unlogged }) }, "hook of an app failed");
  };
  return (hook, about, run, otherwise) => {
    try {
      const result = run();
      if (!(result instanceof Promise)) return result;
      // An async function passes where the contract says void: its rejection would end the process. No hook answers later.
      result.catch((error: unknown) => failed(hook, about, error));
      return otherwise;
    } catch (error) {
      failed(hook, about, error);
      return otherwise;
    }
  };
}
