// A store whose folder stays as it is: a copy of it is opened, and removed at the end.
import { cp, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../lib/usage-error.ts";

/** While a controller writes to it, files come and go. */
const TRIES = 5;

/** Calls `open` with a copy of the folder. `remove` takes the copy away, when what is open in it is closed. @throws UsageError, and what `open` throws */
export async function withCopy<T>(folder: string, open: (copy: string) => Promise<T>): Promise<{ readonly opened: T; readonly remove: () => Promise<void> }> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new UsageError(`--data-dir ${folder}: there is no such folder, so nothing to compare switches with`);
  for (let n = 1; ; n++) {
    const copy = await mkdtemp(join(tmpdir(), "axion-shadow-"));
    const remove = (): Promise<void> => rm(copy, { recursive: true, force: true });
    try {
      await cp(folder, copy, { recursive: true });
      return { opened: await open(copy), remove };
    } catch (error) {
      await remove();
      if (n === TRIES) throw error;
    }
  }
}
