// From a URL to a store. The one place that knows which backends exist.

import { join } from "node:path";
import { StoreError } from "./errors.ts";
import type { HistoryLimits } from "./watch.ts";
import type { KvStore, StoreLog } from "./kv.ts";
import { openLevel } from "./level/level.ts";
import type { Generation, Keep } from "./log.ts";
import type { EtcdAccess } from "./etcd/client.ts";
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
  readonly etcd?: EtcdAccess | undefined;
  /** Of etcd: false where a store has to be there already. */
  readonly make?: boolean | undefined;
}


export const isEtcd = (url: string): boolean => /^etcds?:/.test(url);

/** "level:", "memory:" or "etcd://HOST:PORT,...[/PREFIX]". @throws StoreError LOCKED, LOSS, CORRUPT, IO, UNAVAILABLE, INVALID, UNSUPPORTED. */
export async function openStore(url: string, options: OpenOptions): Promise<KvStore> {
  if (url === "level:") return await openLevel(join(options.dataDir, "store"), options);
  if (url === "memory:") return openMemory(options);
  if (isEtcd(url)) {
    // Loaded where it is used: gRPC is large.
    const [{ etcdClient }, { openEtcd }] = await Promise.all([import("./etcd/client.ts"), import("./etcd/etcd.ts")]);
    const { client, prefix } = etcdClient(url, options.etcd);
    return openEtcd(client, prefix, options);
  }
  throw new StoreError("UNSUPPORTED", `no such store: ${url}; there are level:, memory: and etcd://HOST:2379`);
}
