// A store whose folder stays as it is: a copy of it is opened, and removed at the end.
import { cp, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { copyStore, type Place } from "../../store/admin.ts";
import { StoreError } from "../../store/errors.ts";
import { UsageError } from "../../lib/usage-error.ts";

/** While a controller writes to it, files come and go. */
const TRIES = 5;
const PAUSE_MS = 200;
/** What was acknowledged. Older than the rest of a copy it is true; newer, what came in between would be missed. */
const WITNESS = "store.witness";

/** Calls `open` with a copy of the folder. `remove` takes the copy away, when what is open in it is closed. @throws UsageError, and what `open` throws */
export async function withCopy<T>(folder: string, open: (copy: string) => Promise<T>): Promise<{ readonly opened: T; readonly remove: () => Promise<void> }> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new UsageError(`--data-dir ${folder}: there is no such folder, so nothing to compare switches with`);
  for (let n = 1; ; n++) {
    const copy = await mkdtemp(join(tmpdir(), "axion-shadow-"));
    const remove = (): Promise<void> => rm(copy, { recursive: true, force: true });
    try {
      await cp(join(folder, WITNESS), join(copy, WITNESS)).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      });
      await cp(folder, copy, { recursive: true, filter: (from) => from !== join(folder, WITNESS) });
      return { opened: await open(copy), remove };
    } catch (error) {
      await remove();
      if (n < TRIES) await sleep(n * PAUSE_MS);
      else if (error instanceof StoreError) throw new UsageError(`--data-dir ${folder}: no copy of it is whole, in ${TRIES} tries (${error.code}): compare when its controller writes less, or look with axion store check when it is stopped`);
      else throw error;
    }
  }
}

/** The same of a store in etcd, of which nothing is written there: its rows of one generation. @throws StoreError, and what `open` throws */
export async function withRows<T>(from: Place, open: (copy: string) => Promise<T>): Promise<{ readonly opened: T; readonly remove: () => Promise<void> }> {
  const copy = await mkdtemp(join(tmpdir(), "axion-shadow-"));
  const remove = (): Promise<void> => rm(copy, { recursive: true, force: true });
  try {
    await copyStore(from, copy);
    return { opened: await open(copy), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
