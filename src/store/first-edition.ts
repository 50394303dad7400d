// A data directory of the first edition is taken over, and kept as it was: before this edition opens one for the first time, it is
// copied beside itself as `<data-dir>.first-edition`. The file `format` in the data directory says that this is behind it, so that it
// is known without opening the store, which writes to it. What the rows need is model/upgrade.ts.
//
// Killed at any point, the next start goes on: a copy gets its name when it is whole, and one that is equal is taken as made.
import { cp, lstat, mkdir, open, readdir, readFile, readlink, rename, rm, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { syncPath } from "./sync.ts";
import { StoreError } from "./errors.ts";
import { lockHolder } from "./level/lock.ts";

/** Format of data directories that this edition writes; directories of the first edition say none. */
export const FORMAT = 2;
const FIRST_EDITION = ".first-edition";
const MARK = "format";

/**
 * Keeps a copy if `dataDir` is the first edition's and marks the directory; does nothing when that is done.
 * @returns path of the copy made now
 * @throws StoreError UNSUPPORTED (a newer format), LOCKED (the first edition still runs), IO (no room, or the copy's name is taken)
 */
export async function keepFirstEdition(dataDir: string): Promise<string | undefined> {
  const dir = resolve(dataDir);
  try {
    const mark = await readFile(join(dir, MARK), "utf8").catch(absent);
    if (mark !== undefined) {
      checkFormat(dir, mark.trim());
      return undefined;
    }
    const old = await lstat(join(dir, "store", "CURRENT")).catch(absent);
    const copy = old === undefined ? undefined : await keep(dir);
    const made = await mkdir(dir, { recursive: true });
    if (made !== undefined) for (let at = dir; at.length >= made.length; at = dirname(at)) await syncPath(dirname(at));
    await writeMark(dir);
    return copy;
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError("IO", `cannot use ${dir}: ${(error as Error).message}`, { dir }, error);
  }
}

/** @throws StoreError UNSUPPORTED. `where`: what says so, for the message */
export function checkFormat(where: string, text: string): void {
  const format = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(format)) throw new StoreError("CORRUPT", `${where} says ${JSON.stringify(text.slice(0, 40))} for its format, which is no number`);
  if (format > FORMAT) throw new StoreError("UNSUPPORTED", `${where} has data format ${format}, this version knows up to ${FORMAT}`, { limit: FORMAT, actual: format });
}

/** What the data directory says of its format, if anything. */
export async function markOf(dataDir: string): Promise<string | undefined> {
  return (await readFile(join(resolve(dataDir), MARK), "utf8").catch(absent))?.trim();
}

async function keep(dir: string): Promise<string | undefined> {
  const pid = await lockHolder(join(dir, "store"));
  if (pid !== undefined) throw new StoreError("LOCKED", `${dir} is in use by process ${pid}`, { dir, pid });
  const copy = `${dir}${FIRST_EDITION}`;
  if ((await lstat(copy).catch(absent)) !== undefined) {
    if (await same(dir, copy)) return undefined;
    throw new StoreError("IO", `${dir} is of the first edition and is to be kept as ${copy}, but that is something else's: move it away`, { dir });
  }
  const part = `${copy}.part`;
  await rm(part, { recursive: true, force: true }); // of a start that was killed
  const needs = await bytesOf(dir);
  const { bavail, bsize } = await statfs(dirname(dir));
  if (needs > bavail * bsize) throw noRoom(dir, copy, `it takes ${needs} bytes, ${bavail * bsize} are free`);
  try {
    await cp(dir, part, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, errorOnExist: true, force: false });
    for (const file of await tree(part)) if (file.kind !== "link") await syncPath(join(part, file.path));
    await rename(part, copy);
    await syncPath(dirname(dir));
  } catch (error) {
    await rm(part, { recursive: true, force: true }).catch(() => undefined); // why it failed says more
    throw noRoom(dir, copy, (error as Error).message, error);
  }
  return copy;
}

const noRoom = (dir: string, copy: string, why: string, cause?: unknown): StoreError =>
  new StoreError("IO", `${dir} is of the first edition and cannot be kept as ${copy}: ${why}`, { dir }, cause);

async function writeMark(dir: string): Promise<void> {
  const file = await open(join(dir, `${MARK}.part`), "w", 0o644);
  try {
    await file.writeFile(`${FORMAT}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(join(dir, `${MARK}.part`), join(dir, MARK));
  await syncPath(dir);
}

interface Entry {
  readonly path: string;
  readonly kind: "file" | "directory" | "link";
}

/** Everything under a directory, itself as "", in order. A half-written mark is not of the directory. */
async function tree(dir: string): Promise<readonly Entry[]> {
  const out: Entry[] = [{ path: "", kind: "directory" }];
  for (const entry of await readdir(dir, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name).slice(dir.length + 1);
    if (path !== `${MARK}.part`) out.push({ path, kind: entry.isSymbolicLink() ? "link" : entry.isDirectory() ? "directory" : "file" });
  }
  return out.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function bytesOf(dir: string): Promise<number> {
  let sum = 0;
  for (const entry of await tree(dir)) sum += (await lstat(join(dir, entry.path))).size;
  return sum;
}

async function same(a: string, b: string): Promise<boolean> {
  if (!(await lstat(b)).isDirectory()) return false;
  const [ours, theirs] = [await tree(a), await tree(b)];
  if (JSON.stringify(ours) !== JSON.stringify(theirs)) return false;
  for (const { path, kind } of ours) {
    if (kind === "link" && (await readlink(join(a, path))) !== (await readlink(join(b, path)))) return false;
    if (kind === "file" && !(await readFile(join(a, path))).equals(await readFile(join(b, path)))) return false;
  }
  return true;
}


function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT" && error.code !== "ENOTDIR") throw error;
  return undefined;
}
