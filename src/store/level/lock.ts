// Who holds LevelDB's lock: Linux lists it by inode ("1: POSIX ADVISORY WRITE <pid> <dev>:<inode> ...").
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** Process that has the store in `dir` open; undefined: none, or the system does not tell. */
export async function lockHolder(dir: string): Promise<number | undefined> {
  try {
    const { ino } = await stat(join(dir, "LOCK"));
    const line = (await readFile("/proc/locks", "latin1")).split("\n").find((text) => text.includes(`:${ino} `));
    const pid = Number(line?.trim().split(/\s+/)[4]);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}
