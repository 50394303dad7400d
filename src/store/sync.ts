// What is written is on disk.
import { open } from "node:fs/promises";

/** Has what is written of a file, or the names in a folder, last through a loss of power. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
