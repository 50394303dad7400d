// What is in etcd, read and written: head and base, entries of the log, snapshots. It remembers nothing; etcd.ts does.
import { compareTarget, EtcdError, sortOrder, type CallOptions, type EtcdClient, type KeyValue, type TxnResponse } from "etcd-v3-client";
import { StoreError } from "../errors.ts";
import type { KvEntry } from "../kv.ts";
import { decodeEntry, type Generation, type LogCommit, type TailPart } from "../log.ts";
import { damaged, headerOf, pack, unpack, type BlobHeader } from "./blob.ts";
import { after, type Keys } from "./keys.ts";

/** In which a write has come about, or not. */
const WRITE_MS = 1500;
const READ_MS = 5000;
const ASK_MS = 500;
/** Values of up to a megabyte each in one answer. */
const PAGE = 16;
const FORMAT = 1;

export interface Head {
  /** Of the store: tells it from another one in its place. */
  readonly id: string;
  readonly generation: Generation;
}

export interface Base {
  /** All rows as of this generation are in so many pieces. */
  readonly snapshot: Generation;
  readonly pieces: number;
  /** First generation of the log that is kept. */
  readonly oldest: Generation;
  /** Of the log up to the snapshot: which parts are how large. */
  readonly tail: readonly TailPart[];
}

/** A value with etcd's revision that wrote it. */
export interface At<T> {
  readonly value: T;
  readonly revision: number;
}

/** An entry of the log as it was found. */
export interface Found {
  readonly first: Generation;
  readonly key: string;
  readonly header: BlobHeader;
  readonly inline: Buffer;
  readonly revision: number;
}

export type Written = { readonly won: number } | { readonly head: At<Head> | undefined; readonly entries: readonly Found[] };

export class Remote {
  readonly client: EtcdClient;
  readonly keys: Keys;

  constructor(client: EtcdClient, keys: Keys) {
    this.client = client;
    this.keys = keys;
  }

  /** Both, of one revision; undefined: nothing is there. @throws EtcdError; StoreError CORRUPT */
  async state(): Promise<{ readonly head: At<Head>; readonly base: At<Base>; readonly revision: number } | undefined> {
    const answer = await this.client.txn({ success: [{ request_range: { key: this.keys.head } }, { request_range: { key: this.keys.base } }] }, { timeoutMs: READ_MS, again: true });
    const [head, base] = [rangeOf(answer, 0)[0], rangeOf(answer, 1)[0]];
    if (head === undefined && base === undefined) return undefined;
    if (head === undefined || base === undefined) throw damaged(head === undefined ? this.keys.head : this.keys.base, "is missing");
    return { head: this.headOf(head), base: this.baseOf(base), revision: answer.header!.revision };
  }

  /** The generation up to which there is something, as of now. @throws EtcdError; StoreError CORRUPT, MISSING */
  async generation(timeoutMs: number): Promise<Generation> {
    const [head] = (await this.client.range({ key: this.keys.head }, { timeoutMs })).kvs;
    if (head === undefined) throw new StoreError("MISSING", `${this.keys.head} is missing in etcd`);
    return this.headOf(head).value.generation;
  }

  headOf({ value, mod_revision: revision }: KeyValue): At<Head> {
    const { format, id, generation } = json(this.keys.head, value);
    if (format !== undefined && format !== FORMAT) throw new StoreError("UNSUPPORTED", `etcd's key ${this.keys.head} is of format ${JSON.stringify(format)}, this version reads ${FORMAT}`, { key: this.keys.head });
    if (typeof id !== "string" || !whole(generation)) throw damaged(this.keys.head, "cannot be read");
    return { value: { id, generation }, revision };
  }

  baseOf({ value, mod_revision: revision }: KeyValue): At<Base> {
    const { snapshot, pieces, oldest, tail } = json(this.keys.base, value);
    const parts = Array.isArray(tail) && tail.every((part: unknown) => Array.isArray(part) && part.length === 4 && part.every(whole)) ? (tail as number[][]) : undefined;
    if (!whole(snapshot) || !whole(pieces) || !whole(oldest) || parts === undefined) throw damaged(this.keys.base, "cannot be read");
    return { value: { snapshot, pieces, oldest, tail: parts.map(([first, next, at, bytes]) => ({ first: first!, next: next!, at: at!, bytes: bytes! })) }, revision };
  }

  /** Makes a store at a generation, whose rows are there in so many pieces; false: there is one. */
  async begin(id: string, generation: Generation, pieces: number): Promise<boolean> {
    const { head, base } = this.keys;
    const absent = (key: string): object => ({ target: compareTarget.mod, key, mod_revision: 0 });
    const { succeeded } = await this.client.txn({
      compare: [absent(head), absent(base)],
      success: [{ request_put: { key: head, value: headText({ id, generation }) } }, { request_put: { key: base, value: baseText({ snapshot: generation, pieces, oldest: generation + 1, tail: [] }) } }],
    }, { timeoutMs: READ_MS });
    return succeeded;
  }

  /** Asks the others to wait. Etcd's revision of that; undefined: another one has asked. */
  async askFirst(token: string): Promise<number | undefined> {
    const { first } = this.keys;
    const { succeeded, header } = await this.client.txn({ compare: [{ target: compareTarget.mod, key: first, mod_revision: 0 }], success: [{ request_put: { key: first, value: token } }] }, { timeoutMs: ASK_MS });
    return succeeded ? header!.revision : undefined;
  }

  /** Nobody waits any more for who asked so. */
  async endFirst(revision: number): Promise<void> {
    const { first } = this.keys;
    await this.client.txn({ compare: [{ target: compareTarget.mod, key: first, mod_revision: revision }], success: [{ request_delete_range: { key: first } }] }, { timeoutMs: WRITE_MS });
  }

  /** An entry after the head that was last seen, with its parts before it; `asked`: who asked to be first has been; `timeoutMs`: of each request. @throws EtcdError; StoreError TOO_LARGE */
  async append(head: At<Head>, first: Generation, last: Generation, raw: Buffer, token: string, still: () => boolean, { asked = false, timeoutMs = WRITE_MS } = {}): Promise<Written | "late"> {
    const { value, parts } = await pack(raw, token, last - first + 1);
    const write: CallOptions = { timeoutMs, again: true };
    for (const [n, part] of parts.entries()) await this.client.put({ key: this.keys.part(first, token, n), value: part }, write);
    if (!still()) {
      await this.forget(first, token, parts.length);
      return "late";
    }
    const answer = await this.client.txn({
      compare: [{ target: compareTarget.mod, key: this.keys.head, mod_revision: head.revision }],
      success: [{ request_put: { key: this.keys.head, value: headText({ id: head.value.id, generation: last }) } }, { request_put: { key: this.keys.log(first), value } }, ...(asked ? [{ request_delete_range: { key: this.keys.first } }] : [])],
      failure: [{ request_range: { key: this.keys.head } }, { request_range: { key: this.keys.log(first), range_end: this.keys.log(first + 1_000_000), limit: PAGE } }],
    }, write);
    if (answer.succeeded) return { won: answer.header!.revision };
    const found = rangeOf(answer, 0)[0];
    const entries = rangeOf(answer, 1).map((kv) => this.found(kv));
    const own = entries.find((entry) => entry.first === first && entry.header.token === token);
    if (own !== undefined) return { won: own.revision }; // an answer was lost, and it was sent again
    await this.forget(first, token, parts.length);
    return { head: found === undefined ? undefined : this.headOf(found), entries };
  }

  /** Parts that nothing refers to: what is left of them goes with the log around them. */
  private async forget(first: Generation, token: string, parts: number): Promise<void> {
    if (parts > 0) await this.client.deleteRange({ key: this.keys.part(first, token, 0), range_end: this.keys.part(first, token, parts) }).catch(() => undefined);
  }

  found(kv: KeyValue): Found {
    const key = kv.key.toString();
    const first = this.keys.generationOf(key);
    if (first === undefined || !whole(first)) throw damaged(key, "is no entry of the log");
    return { first, key, ...headerOf(key, kv.value), revision: kv.mod_revision };
  }

  /** Entries from a generation up to and with another that begins one, in pages, as of a revision of etcd's where that is given. */
  async *entries(from: Generation, to: Generation, revision = 0): AsyncGenerator<Found> {
    for (let next = from; next <= to; ) {
      const { kvs, more } = await this.client.range({ key: this.keys.log(next), range_end: this.keys.log(to + 1), limit: PAGE, revision }, { timeoutMs: READ_MS });
      for (const kv of kvs) {
        const entry = this.found(kv);
        yield entry;
        next = entry.first + entry.header.count;
      }
      if (!more) return;
    }
  }

  /** @throws StoreError CORRUPT */
  async commitsOf({ first, key, header, inline }: Found, revision = 0): Promise<LogCommit[]> {
    const parts: Buffer[] = [];
    while (parts.length < header.parts) {
      const { kvs } = await this.client.range({ key: this.keys.part(first, header.token, parts.length), range_end: this.keys.part(first, header.token, header.parts), limit: PAGE, revision }, { timeoutMs: READ_MS });
      if (kvs.length === 0) break;
      parts.push(...kvs.map(({ value }) => value));
    }
    const raw = await unpack(key, header, inline, parts);
    try {
      const commits = decodeEntry(first, raw);
      if (commits.length !== header.count) throw new RangeError(`it has ${commits.length} commits`);
      return commits.map((commit) => ({ ...commit, changes: commit.changes.map(({ key: row, before, after: became }) => ({ key: row, before, after: own(became) })) }));
    } catch (error) {
      throw damaged(key, `cannot be read (${(error as Error).message})`);
    }
  }

  /** Rows of a snapshot in their order. @throws StoreError CORRUPT */
  async *rows({ snapshot, pieces }: Base, revision = 0): AsyncGenerator<KvEntry> {
    for (let piece = 0; piece < pieces; piece++) {
      const key = this.keys.piece(snapshot, piece);
      const [kv] = (await this.client.range({ key, revision }, { timeoutMs: READ_MS })).kvs;
      if (kv === undefined) throw damaged(key, "is missing");
      const { header, inline } = headerOf(key, kv.value);
      const parts: Buffer[] = [];
      while (parts.length < header.parts) {
        const { kvs } = await this.client.range({ key: this.keys.piecePart(snapshot, piece, parts.length), range_end: this.keys.piecePart(snapshot, piece, header.parts), limit: PAGE, revision }, { timeoutMs: READ_MS });
        if (kvs.length === 0) break;
        parts.push(...kvs.map(({ value }) => value));
      }
      yield* rowsOf(key, header.count, await unpack(key, header, inline, parts));
    }
  }

  /** Writes rows as the snapshot of a generation; how many pieces they are. Nothing refers to it yet. */
  async writeRows(generation: Generation, rows: Iterable<KvEntry> | AsyncIterable<KvEntry>, token: string, still: () => boolean = () => true): Promise<number> {
    let pieces = 0;
    let [piece, bytes]: [KvEntry[], number] = [[], 0];
    const write = async (): Promise<void> => {
      const { value, parts } = await pack(bytesOf(piece), token, piece.length);
      for (const [n, part] of parts.entries()) await this.client.put({ key: this.keys.piecePart(generation, pieces, n), value: part }, { timeoutMs: READ_MS, again: true });
      await this.client.put({ key: this.keys.piece(generation, pieces), value }, { timeoutMs: READ_MS, again: true });
      pieces++;
      [piece, bytes] = [[], 0];
    };
    for await (const row of rows) {
      piece.push(row);
      bytes += row.key.length + row.value.length;
      if (bytes >= PIECE) await write();
      if (!still()) return pieces;
    }
    if (piece.length > 0) await write();
    return pieces;
  }

  /** Takes the base's place, if it is still that one, and lets go of what is before it. The new one's revision; undefined: it was another. */
  async rebase(base: At<Base>, next: Base): Promise<number | undefined> {
    const { keys } = this;
    const gone = (start: string, end: string): object => ({ request_delete_range: { key: start, range_end: end } });
    const answer = await this.client.txn({
      compare: [{ target: compareTarget.mod, key: keys.base, mod_revision: base.revision }],
      success: [
        { request_put: { key: keys.base, value: baseText(next) } },
        gone(keys.log(0), keys.log(next.oldest)), gone(keys.parts(0), keys.parts(next.oldest)), gone(keys.snapshot(0), keys.snapshot(next.snapshot)),
      ],
    }, { timeoutMs: READ_MS });
    return answer.succeeded ? answer.header!.revision : undefined;
  }

  /** Whether it can be written to; why not. */
  async probe(): Promise<string | undefined> {
    try {
      await this.client.range({ key: this.keys.head }, { timeoutMs: WRITE_MS });
      const { errors } = await this.client.status({ timeoutMs: WRITE_MS });
      return errors.length === 0 ? undefined : `etcd: ${errors.join(", ")}`;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Pieces of a snapshot that nothing refers to. */
  async forgetRows(generation: Generation): Promise<void> {
    await this.client.deleteRange({ key: this.keys.snapshot(generation), range_end: after(this.keys.snapshot(generation)) });
  }

  /** Keys under the prefix. */
  async count(): Promise<number> {
    return (await this.client.range({ key: this.keys.base, range_end: this.keys.end, count_only: true }, { timeoutMs: READ_MS })).count;
  }

  /** Bytes of keys and values under the prefix, as they are stored. */
  async storedBytes(): Promise<number> {
    let bytes = 0;
    for (let next = this.keys.base, more = true; more; ) {
      const answer = await this.client.range({ key: next, range_end: this.keys.end, limit: PAGE, sort_order: sortOrder.none }, { timeoutMs: READ_MS });
      for (const { key, value } of answer.kvs) bytes += key.length + value.length;
      more = answer.more;
      next = `${answer.kvs.at(-1)?.key.toString() ?? ""}\0`;
    }
    return bytes;
  }
}

/** Before they are compressed: a few values at most. */
const PIECE = 4 * 1024 * 1024;

//   row    key (4 + bytes) | createRevision (6) | modRevision (6) | value (4 + bytes)
function bytesOf(rows: readonly KvEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const { key, value, createRevision, modRevision } of rows) {
    const name = Buffer.from(key);
    const head = Buffer.allocUnsafe(4 + name.length + 16);
    head.writeUInt32BE(name.length, 0);
    head.set(name, 4);
    head.writeUIntBE(createRevision, 4 + name.length, 6);
    head.writeUIntBE(modRevision, 10 + name.length, 6);
    head.writeUInt32BE(value.length, 16 + name.length);
    parts.push(head, value);
  }
  return Buffer.concat(parts);
}

function* rowsOf(piece: string, count: number, raw: Buffer): Generator<KvEntry> {
  let at = 0;
  try {
    for (let i = 0; i < count; i++) {
      const keyEnd = at + 4 + raw.readUInt32BE(at);
      const key = raw.toString("utf8", at + 4, keyEnd);
      const [createRevision, modRevision] = [raw.readUIntBE(keyEnd, 6), raw.readUIntBE(keyEnd + 6, 6)];
      const end = keyEnd + 16 + raw.readUInt32BE(keyEnd + 12);
      if (end > raw.length) throw new RangeError("it ends in the middle");
      yield { key, value: raw.subarray(keyEnd + 16, end), createRevision, modRevision };
      at = end;
    }
  } catch (error) {
    throw damaged(piece, `cannot be read (${(error as Error).message})`);
  }
  if (at !== raw.length) throw damaged(piece, "has bytes behind its end");
}

/** Of its own: a row would keep the whole entry in memory. */
const own = (value: Buffer | undefined): Buffer | undefined => (value === undefined ? undefined : Buffer.from(value));
const rangeOf = (answer: TxnResponse, n: number): readonly KeyValue[] => answer.responses[n]?.response_range?.kvs ?? [];
const whole = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 48;
const headText = ({ id, generation }: Head): string => JSON.stringify({ format: FORMAT, id, generation });
const baseText = ({ tail, ...base }: Base): string => JSON.stringify({ ...base, tail: tail.map(({ first, next, at, bytes }) => [first, next, at, bytes]) });

function json(key: string, value: Buffer): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(value.toString());
    if (typeof parsed === "object" && parsed !== null) return parsed as Readonly<Record<string, unknown>>;
  } catch {
    // said below
  }
  throw damaged(key, "is no JSON");
}

/** An error of etcd's as one of the store's: nothing was written, as far as is known, and it may be well again later. */
export function explain(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  if (!(error instanceof EtcdError)) return new StoreError("IO", `etcd: ${(error as Error).message}`, {}, error);
  switch (error.code) {
    case "CLOSED":
      return new StoreError("CLOSED", "the store is closed", {}, error);
    case "TOO_LARGE":
      return new StoreError("TOO_LARGE", error.message, {}, error);
    case "PROTOCOL":
      return new StoreError("CORRUPT", error.message, {}, error);
    default:
      return new StoreError("UNAVAILABLE", error.message, error.fields.uncertain === true ? { doubt: true } : {}, error);
  }
}
