// All backends behind one door, so that one suite runs over each. What etcd holds is under another prefix each time.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdClient } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { openStore, type OpenOptions } from "../open.ts";
import type { KvEntry, KvStore, RangeOptions } from "../kv.ts";

export interface Backend {
  readonly url: string;
  readonly durable: boolean;
}

export const BACKENDS: readonly Backend[] = [
  { url: "memory:", durable: false },
  { url: "level:", durable: true },
  ...(haveEtcd ? [{ url: "etcd:", durable: true }] : []),
];

let server: Promise<EtcdServer> | undefined;
let prefixes = 0;

/** One etcd for the file; stopped by `stopEtcd`. */
async function startEtcd(): Promise<EtcdServer> {
  const started = await EtcdServer.start();
  const client = new EtcdClient({ endpoints: started.endpoints });
  await started.untilReady(() => client.range({ key: "ready" }));
  client.close();
  return started;
}
/** A store of its own on the file's etcd. */
export async function etcdUrl(): Promise<string> {
  server ??= startEtcd();
  return `etcd://${(await server).endpoints.join(",")}/test-${++prefixes}`;
}
export async function stopEtcd(): Promise<void> {
  await (await server)?.stop();
  server = undefined;
}

/** Runs the body with an open store in a directory of its own; closes and removes both. */
export async function withStore(
  url: string,
  body: (store: KvStore, dataDir: string) => Promise<void>,
  options: Omit<OpenOptions, "dataDir"> = {},
): Promise<void> {
  await withDir(async (dataDir) => {
    const store = await openStore(url === "etcd:" ? await etcdUrl() : url, { dataDir, ...options });
    try {
      await body(store, dataDir);
    } finally {
      await store.close();
    }
  });
}

export async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "axion-store-"));
  try {
    await body(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export async function list(store: KvStore, options: RangeOptions = { start: "", end: "" }): Promise<KvEntry[]> {
  const entries: KvEntry[] = [];
  for await (const entry of store.range(options)) entries.push(entry);
  return entries;
}

export const put = (key: string, value = ""): { put: string; value: Buffer } => ({ put: key, value: Buffer.from(value) });
