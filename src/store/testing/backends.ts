// Both backends behind one door, so that one suite runs over each.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type OpenOptions } from "../open.ts";
import type { KvEntry, KvStore, RangeOptions } from "../kv.ts";

export interface Backend {
  readonly url: string;
  readonly durable: boolean;
}

export const BACKENDS: readonly Backend[] = [
  { url: "memory:", durable: false },
  { url: "level:", durable: true },
];

/** Runs the body with an open store in a directory of its own; closes and removes both. */
export async function withStore(
  url: string,
  body: (store: KvStore, dataDir: string) => Promise<void>,
  options: Omit<OpenOptions, "dataDir"> = {},
): Promise<void> {
  await withDir(async (dataDir) => {
    const store = await openStore(url, { dataDir, ...options });
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
