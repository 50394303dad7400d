// From a URL to a store. The one place that knows which backends exist.

import { join } from "node:path";
import { StoreError } from "./errors.ts";
import type { HistoryLimits } from "./watch.ts";
import type { KvStore, StoreLog } from "./kv.ts";
import { openLevel } from "./level/level.ts";
import type { Generation, Keep } from "./log.ts";
import { openMemory } from "./memory.ts";

export interface OpenOptions {
  /** "level:" keeps its files in `store` under this directory, and makes both. */
  readonly dataDir: string;
  readonly log?: StoreLog;
  /** How much is kept for watches that start in the past. */
  readonly history?: HistoryLimits;
  /** How much of the log is kept, to be read as history. */
  readonly keep?: Keep;
  /** A group of commits is on disk: how long that took, in seconds. */
  readonly onSync?: ((seconds: number) => void) | undefined;
  /** Start without acknowledged changes after this generation, if it is the last that is whole. */
  readonly acceptLoss?: Generation | undefined;
}

/** "level:" or "memory:". @throws StoreError LOCKED, LOSS, CORRUPT, IO, UNSUPPORTED. */
export async function openStore(url: string, options: OpenOptions): Promise<KvStore> {
  if (url === "level:") return await openLevel(join(options.dataDir, "store"), options);
  if (url === "memory:") return openMemory(options);
  if (/^etcds?:/.test(url)) {
    throw new StoreError("UNSUPPORTED", "etcd is not in this version: use level:, with one controller");
  }
  throw new StoreError("UNSUPPORTED", `no such store: ${url}; there are level: and memory:`);
}
