// What is done with a store beside running on it: check it, write it out and read it in as text, copy it, compact it, take rows back. On a data
// directory no controller may run meanwhile; on etcd it may, and what is read is of one instant.
//
// The text is JSON, a line each:
//   {"axion_export": 1, "generation": G, "at": RFC 3339}
//   {"key": K, "created": generation, "modified": generation, "value": text}      or "base64" where the value is no text
//   {"rows": N, "sha256": of all lines before, with their ends}
// It has the rows as they are, not the history.
import { createHash, randomUUID } from "node:crypto";
import { lstat, readdir, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { StoreError } from "./errors.ts";
import { inspect, judge } from "./level/files.ts";
import { checkFormat, FORMAT, keepFirstEdition, markOf } from "./first-edition.ts";
import { checkKey, compareKeys, LIMITS, type KvEntry, type KvOp, type KvStore } from "./kv.ts";
import { LevelStorage, openLevel } from "./level/level.ts";
import type { Generation, Keep } from "./log.ts";
import { readWitness } from "./level/witness.ts";
import type { EtcdAccess } from "./etcd/client.ts";
import { openStore } from "./open.ts";

export interface StoreReport {
  readonly dir: string;
  readonly generation: Generation;
  /** First generation of the history that is kept; `generation + 1`: none is. */
  readonly oldest: Generation;
  readonly rows: number;
  /** Of its files. */
  readonly bytes: number;
}

const EXPORT = 1;
/** Of everything: nothing that is done here lets go of history on its own. */
const ALL: Keep = { ms: Infinity, bytes: Infinity };
const ROWS = "t/";
const EVERYTHING = { start: "", end: "" } as const;

/** A data directory, or a store in etcd. */
export type Place = string | { readonly url: string; readonly etcd?: EtcdAccess | undefined };

const storeOf = (dataDir: string): string => join(resolve(dataDir), "store");

/** @throws StoreError MISSING when there is no store, UNSUPPORTED when it is of another edition */
async function existing(dataDir: string): Promise<string> {
  const dir = storeOf(dataDir);
  const there = await lstat(join(dir, "CURRENT")).catch(() => undefined);
  if (there === undefined && typeof readWitness(dir) === "string" && (await readdir(dir).catch(() => [])).length === 0) throw new StoreError("MISSING", `there is no store in ${resolve(dataDir)}; --data-dir or AXION_DATA_DIR names another directory`, { dir });
  const mark = await markOf(dataDir);
  if (mark !== undefined) checkFormat(resolve(dataDir), mark);
  if (there !== undefined && Number(mark) !== FORMAT) throw new StoreError("UNSUPPORTED", `${resolve(dataDir)} is of the first edition: start the controller on it once, which takes it over`, { dir });
  return dir;
}

async function opened<T>(place: Place, keep: Keep, work: (store: KvStore, dir: string) => Promise<T>): Promise<T> {
  const dir = typeof place === "string" ? await existing(place) : place.url;
  const store = typeof place === "string" ? await openLevel(dir, { keep, takeOver: false }) : await openStore(place.url, { dataDir: "", keep, etcd: place.etcd, make: false });
  try {
    return await work(store, dir);
  } finally {
    await store.close();
  }
}

async function etcdBytes({ url, etcd = {} }: Exclude<Place, string>): Promise<number> {
  return (await import("./etcd/admin.ts")).etcdBytes(url, etcd);
}

async function bytesOf(dir: string): Promise<number> {
  const sizes = await Promise.all((await readdir(dir)).map(async (name) => (await stat(join(dir, name)).catch(() => ({ size: 0 }))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Reads all of it as a start does, and what it finds refuses it likewise. @throws StoreError */
export async function checkStore(dataDir: Place): Promise<StoreReport> {
  if (typeof dataDir !== "string") {
    const { url: dir, etcd } = dataDir;
    const found = await opened(dataDir, ALL, async (store) => {
      let rows = 0;
      for await (const row of store.range(EVERYTHING)) rows += row.key === "" ? 0 : 1;
      for await (const { generation } of store.history(store.oldest)) if (generation > store.revision) break; // each entry is read
      return { dir, generation: store.revision, oldest: store.oldest, rows };
    });
    return { ...found, bytes: await etcdBytes({ url: dir, etcd }) };
  }
  const dir = await existing(dataDir);
  await judge(dir, await inspect(dir));
  const storage = await LevelStorage.open(dir, { keep: ALL, takeOver: false });
  const { generation, oldest, records: rows } = storage;
  await storage.close();
  return { dir, generation, oldest, rows, bytes: await bytesOf(dir) };
}

/** Lines of the text. @throws StoreError */
export async function exportStore(dataDir: Place, write: (text: string) => Promise<void>): Promise<{ readonly generation: Generation; readonly rows: number }> {
  return opened(dataDir, ALL, async (store) => {
    const hash = createHash("sha256");
    const generation = store.revision;
    let rows = 0;
    let text = `${JSON.stringify({ axion_export: EXPORT, generation, at: new Date().toISOString() })}\n`;
    for await (const { key, value, createRevision, modRevision } of store.range(EVERYTHING)) {
      const utf8 = value.toString();
      const shown = Buffer.from(utf8).equals(value) ? { value: utf8 } : { base64: value.toString("base64") };
      text += `${JSON.stringify({ key, created: createRevision, modified: modRevision, ...shown })}\n`;
      rows++;
      if (text.length < 1 << 16) continue;
      hash.update(text);
      await write(text);
      text = "";
    }
    hash.update(text);
    await write(`${text}${JSON.stringify({ rows, sha256: hash.digest("hex") })}\n`);
    return { generation, rows };
  });
}

/** Makes a store of a text; nothing is left of one that fails. @throws StoreError IO when the directory is not empty; INVALID naming the line */
export async function importStore(place: Place, lines: AsyncIterable<string>): Promise<{ readonly generation: Generation; readonly rows: number }> {
  const text = new ExportReader(lines[Symbol.asyncIterator]());
  if (typeof place === "string") await empty(place);
  const generation = await text.head();
  await make(place, generation, text.rows(generation));
  return { generation, rows: text.count };
}

/**
 * Makes a store of the rows of another, as they are at one generation, which goes on there; its history stays behind. What was made is read again and compared.
 * @throws StoreError IO when there is a store already
 */
export async function copyStore(from: Place, to: Place): Promise<{ readonly generation: Generation; readonly rows: number }> {
  if (typeof to === "string") await empty(to);
  const source = await opened(from, ALL, async (store) => {
    // Of one instant: what the iterator gives is so from its first step on.
    const rows = store.range(EVERYTHING)[Symbol.asyncIterator]();
    const generation = store.revision;
    const first = rows.next();
    const digest = new RowsDigest();
    await make(to, generation, digest.through(first, rows));
    return { generation, rows: digest.rows, sha256: digest.sha256() };
  });
  const made = await opened(to, ALL, async (store) => {
    const digest = new RowsDigest();
    for await (const row of store.range(EVERYTHING)) digest.add(row);
    return { generation: store.revision, rows: digest.rows, sha256: digest.sha256() };
  });
  if (made.generation !== source.generation || made.sha256 !== source.sha256) {
    throw new StoreError("CORRUPT", `what was made has ${made.rows} rows of generation ${made.generation} and is not what was read, ${source.rows} rows of generation ${source.generation}: remove it`);
  }
  return { generation: source.generation, rows: source.rows };
}

/** What rows come to, with their keys and generations. */
class RowsDigest {
  rows = 0;
  private readonly hash = createHash("sha256");

  add({ key, value, createRevision, modRevision }: KvEntry): void {
    this.hash.update(`${JSON.stringify([key, createRevision, modRevision, value.length])}\n`).update(value);
    this.rows++;
  }

  async *through(first: Promise<IteratorResult<KvEntry>>, rest: AsyncIterator<KvEntry>): AsyncGenerator<KvEntry> {
    for (let next = await first; next.done !== true; next = await rest.next()) {
      this.add(next.value);
      yield next.value;
    }
  }

  sha256(): string {
    return this.hash.digest("hex");
  }
}

async function make(place: Place, generation: Generation, rows: AsyncIterable<KvEntry>): Promise<void> {
  if (typeof place !== "string") {
    // Loaded where it is used: gRPC is large.
    await (await import("./etcd/admin.ts")).makeEtcd(place.url, place.etcd ?? {}, generation, rows);
    return;
  }
  const present = await empty(place);
  try {
    await keepFirstEdition(place); // there is none: marks the directory
    await LevelStorage.make(storeOf(place), generation, rows);
  } catch (error) {
    if (!present) await rm(resolve(place), { recursive: true, force: true });
    else for (const name of await readdir(resolve(place))) await rm(join(resolve(place), name), { recursive: true, force: true });
    throw error;
  }
}

/** Whether the directory is there. @throws StoreError IO when it is not empty */
async function empty(dataDir: string): Promise<boolean> {
  const dir = storeOf(dataDir);
  const present = await readdir(resolve(dataDir)).catch((error: unknown): undefined => {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") throw new StoreError("IO", `cannot use ${resolve(dataDir)}: ${message}`, { dir }, error);
  });
  if (present !== undefined && present.length > 0) throw new StoreError("IO", `${resolve(dataDir)} is not empty (it has ${present[0]!}): an import makes a new data directory`, { dir });
  return present !== undefined;
}

/** Text of an export, line by line; wrong ones are INVALID. */
class ExportReader {
  count = 0;
  private line = 0;
  private readonly hash = createHash("sha256");
  private readonly lines: AsyncIterator<string, unknown>;

  constructor(lines: AsyncIterator<string, unknown>) {
    this.lines = lines;
  }

  async head(): Promise<Generation> {
    const { axion_export: version, generation } = await this.next();
    if (version === undefined) throw this.wrong("no export of a store");
    if (version !== EXPORT) throw this.wrong(`an export of version ${JSON.stringify(version)}, this version reads ${EXPORT}`);
    if (!isGeneration(generation)) throw this.wrong("generation must be a whole number");
    return generation;
  }

  async *rows(generation: Generation): AsyncGenerator<KvEntry> {
    let last = "";
    for (;;) {
      const digest = this.hash.copy().digest("hex");
      const row = await this.next();
      if ("sha256" in row) {
        if (row["rows"] !== this.count) throw this.wrong(`${JSON.stringify(row["rows"])} rows were written, ${this.count} are there`);
        if (row["sha256"] !== digest) throw this.wrong("the checksum of the lines before is another one: the text was changed or cut");
        if ((await this.lines.next()).done !== true) throw this.wrong("more lines follow the last");
        return;
      }
      const { key, created, modified, value, base64 } = row;
      if (typeof key !== "string") throw this.wrong("key must be text");
      try {
        checkKey(key);
      } catch (error) {
        throw this.wrong((error as Error).message);
      }
      if (last !== "" && compareKeys(last, key) >= 0) throw this.wrong("keys must be in order, each once");
      if (!isGeneration(created) || !isGeneration(modified) || created > modified || modified > generation) throw this.wrong("created and modified must be generations up to the export's");
      const bytes = typeof value === "string" ? Buffer.from(value) : typeof base64 === "string" ? Buffer.from(base64, "base64") : undefined;
      if (bytes === undefined) throw this.wrong("value or base64 must be text");
      if (bytes.length > LIMITS.value) throw this.wrong(`${bytes.length} bytes of value, the limit is ${LIMITS.value}`);
      last = key;
      this.count++;
      yield { key, value: bytes, createRevision: created, modRevision: modified };
    }
  }

  private async next(): Promise<Readonly<Record<string, unknown>>> {
    const next = await this.lines.next();
    this.line++;
    if (next.done === true) throw this.wrong("the text ends without its last line: it was cut");
    this.hash.update(`${next.value}\n`);
    try {
      const parsed: unknown = JSON.parse(next.value);
      if (typeof parsed === "object" && parsed !== null) return parsed as Readonly<Record<string, unknown>>;
    } catch {
      // said below
    }
    throw this.wrong("no JSON object");
  }

  private wrong(why: string): StoreError {
    return new StoreError("INVALID", `line ${this.line} of the export: ${why}`);
  }
}

const isGeneration = (value: unknown): value is Generation => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 48;

/** Lets go of history that is over `keep`, and of the room of what was overwritten and deleted. @throws StoreError */
export async function compactStore(dataDir: Place, keep: Keep): Promise<StoreReport & { readonly before: number }> {
  const before = typeof dataDir === "string" ? await bytesOf(await existing(dataDir)) : await etcdBytes(dataDir);
  await opened(dataDir, keep, (store) => store.checkpoint());
  return { ...(await checkStore(dataDir)), before };
}

/** Rows in one commit. */
const AT_ONCE = LIMITS.txnOps;

/**
 * Makes all rows again what they were at a generation, as changes of their own: what was in between stays in the history, and can be taken back
 * likewise. What the controller notes for itself stays. Many rows are several commits: of one that was cut off some are written, and the same again
 * writes the others. `atOnce`: bytes in one commit. @throws StoreError COMPACTED
 */
export async function restoreStore(dataDir: Place, generation: Generation, atOnce: number = LIMITS.group): Promise<{ readonly restored: Generation; readonly generation: Generation; readonly rows: number }> {
  return opened(dataDir, ALL, async (store, dir) => {
    let at = store.revision;
    if (generation > at) throw new StoreError("INVALID", `generation ${generation} is still to come, the newest is ${at}`, { dir });
    const first = new Map<string, Buffer | undefined>();
    for await (const { changes } of store.history(generation + 1, { undo: true })) {
      for (const { key, before } of changes) if (key.startsWith(ROWS) && !first.has(key)) first.set(key, before?.value);
    }
    const ops: KvOp[] = [];
    for (const [key, value] of first) {
      const now = await store.get(key);
      if (value !== undefined && now?.value.equals(value) !== true) ops.push({ put: key, value });
      else if (value === undefined && now !== undefined) ops.push({ delete: key });
    }
    if (ops.length === 0) return { restored: generation, generation: store.revision, rows: 0 };
    const note = JSON.stringify({ call: `axion store restore ${generation}`, requestId: `req-${randomUUID()}` });
    for (const piece of pieces(ops, atOnce)) {
      const answer = await store.append(at, [{ ops: piece, note }]);
      if (!answer.ok) throw new StoreError("IO", "the store was written to meanwhile: the same command again goes on", { dir });
      at = answer.revisions[0]!;
    }
    return { restored: generation, generation: store.revision, rows: ops.length };
  });
}

/** In parts that one commit can have each. */
function* pieces(ops: readonly KvOp[], atOnce: number): Generator<readonly KvOp[]> {
  let piece: KvOp[] = [];
  let bytes = 0;
  for (const op of ops) {
    const size = "put" in op ? Buffer.byteLength(op.put) + op.value.length : Buffer.byteLength(op.delete);
    if (piece.length === AT_ONCE || (piece.length > 0 && bytes + size > atOnce)) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(op);
    bytes += size;
  }
  if (piece.length > 0) yield piece;
}
