// The past, read from the kept tail of the store's log: what changed, by which call, when; and rows as they were at any kept generation.
// Everything goes through the log in pages, so a long history holds nobody up; of what is read, only what an answer has is kept in memory,
// and a list and a difference end at a number of rows and bytes. The log may let go of its oldest part while it is read.
import type { AnyTable, Row } from "#app";
import { spread, type Stepwise } from "../../lib/turns/stepwise.ts";
import { StoreError } from "../../store/errors.ts";
import type { KvStore } from "../../store/kv.ts";
import type { LogChange, LogCommit, Undone } from "../../store/log.ts";
import type { Model } from "../model.ts";
import type { Snapshot } from "./snapshot.ts";

export interface PastChange {
  /** API resource whose row it is, or the table's own name where none has it. */
  readonly type: string;
  readonly id: string;
  readonly before: Row | null;
  readonly after: Row | null;
}

export interface PastCommit {
  readonly generation: number;
  /** RFC 3339. */
  readonly at: string;
  /** "POST /v2.0/ports", or what the controller did by itself; null: the store was changed without it. */
  readonly call: string | null;
  readonly request_id: string | null;
  readonly user: string | null;
  readonly project: string | null;
  readonly changes: readonly PastChange[];
}

/** An instant of the past: a generation, or ms since 1970. */
export type Instant = { readonly generation: number } | { readonly ms: number };

export interface PastQuery {
  /** Id of a row that changed. */
  readonly resource?: string | undefined;
  /** Of the caller, or of a row that changed. */
  readonly project?: string | undefined;
  /** After this instant; up to and with this one. */
  readonly since?: Instant | undefined;
  readonly until?: Instant | undefined;
  readonly limit: number;
  /** Rows, and bytes of them before and after, of all commits together; one commit there is always. */
  readonly rows?: number;
  readonly bytes?: number;
  readonly signal?: AbortSignal;
}

export interface PastList {
  readonly commits: readonly PastCommit[];
  /** Where earlier ones begin that were not looked at; undefined: there are none. */
  readonly next: number | undefined;
}

/** The generation is not there to be read. */
export class NotKept extends Error {
  readonly code = "NOT_KEPT";
  constructor(generation: number, oldest: number, newest: number) {
    super(generation > newest ? `generation ${generation} is still to come, the newest is ${newest}` : `generation ${generation} is not kept, the oldest is ${oldest}`);
    this.name = "NotKept";
  }
}

const ROWS = "t/";
/** Commits read at once, from the newest on back. */
const WINDOW = 512;
/** How long commits are read on before others have their turn. */
const SLICE_MS = 4;
/** Of one answer: as JSON in memory it is several times as much. */
const ROWS_LISTED = 10_000;
const BYTES = 16 << 20;

interface Note {
  readonly call?: string;
  readonly requestId?: string;
  readonly user?: string;
  readonly project?: string;
}

export class History {
  private readonly store: KvStore;
  private readonly model: Model;
  private readonly tables: ReadonlyMap<string, AnyTable>;

  constructor(store: KvStore, model: Model, tables: readonly AnyTable[]) {
    this.store = store;
    this.model = model;
    this.tables = new Map(tables.filter((table) => !table.derived).map((table) => [table.name, table]));
  }

  /** First commit that is kept, and the last. */
  get range(): { readonly oldest: number; readonly newest: number } {
    return { oldest: this.store.oldest, newest: this.store.revision };
  }

  /** The newest first. What the log lets go of meanwhile is not in it. */
  async list({ resource, project, since, until, limit, rows = ROWS_LISTED, bytes = BYTES, signal }: PastQuery): Promise<PastList> {
    const last = Math.min(this.store.revision, until === undefined ? Infinity : await this.generationAt(until, signal));
    const after = since === undefined ? 0 : await this.generationAt(since, signal);
    const commits: PastCommit[] = [];
    const left = { commits: limit, rows, bytes };
    for (let end = last; ; ) {
      const first = Math.max(this.store.oldest, after + 1);
      if (end < first) return { commits, next: undefined };
      const from = Math.max(first, end - WINDOW + 1);
      // The log is read forwards: of what does not fit, the earlier go.
      const window: { readonly commit: LogCommit; readonly size: number }[] = [];
      let over = false;
      try {
        for await (const commit of this.commits(from, end, { signal })) {
          if (!matches(commit, resource, project)) continue;
          const size = sizeOf(commit);
          window.push({ commit: detached(commit), size });
          left.commits--;
          left.rows -= commit.changes.length;
          left.bytes -= size;
          while ((left.commits < 0 || left.rows < 0 || left.bytes < 0) && window.length + commits.length > 1) {
            const { commit: dropped, size: freed } = window.shift()!;
            left.commits++;
            left.rows += dropped.changes.length;
            left.bytes += freed;
            over = true;
          }
        }
      } catch (error) {
        if (!(error instanceof NotKept)) throw error;
        for (const { commit, size } of window) {
          left.commits++;
          left.rows += commit.changes.length;
          left.bytes += size;
        }
        if (this.store.oldest > from) continue; // with what is still there
        return { commits, next: undefined };
      }
      for (const { commit } of window.reverse()) commits.push(this.shown(commit));
      if (over) return { commits, next: commits.at(-1)!.generation - 1 };
      if (left.commits <= 0 || left.rows <= 0 || left.bytes <= 0) return { commits, next: from > first ? from - 1 : undefined };
      end = from - 1;
    }
  }

  /** @throws NotKept */
  async one(generation: number, signal?: AbortSignal): Promise<PastCommit> {
    this.check(generation, this.store.oldest);
    for await (const commit of this.commits(generation, generation, { signal })) return this.shown(commit);
    throw new NotKept(generation, this.store.oldest, this.store.revision);
  }

  /** What differs between the states of two generations, in no order. @throws NotKept; RangeError when more than `limit` rows, or `most` bytes of them, changed */
  async diff(from: number, to: number, limit: number, signal?: AbortSignal, most = BYTES): Promise<PastChange[]> {
    this.check(from, this.store.oldest - 1);
    this.check(to, this.store.oldest - 1);
    const [earlier, later] = from <= to ? [from, to] : [to, from];
    const net = new Map<string, { before: Buffer | undefined; after: Buffer | undefined }>();
    let bytes = 0;
    for await (const commit of this.commits(earlier + 1, later, { signal })) {
      for (const { key, before, after } of detached(commit).changes) {
        const known = net.get(key);
        bytes += after?.length ?? 0;
        if (known !== undefined) {
          bytes -= known.after?.length ?? 0;
          known.after = after;
        } else if (net.size >= limit) throw new RangeError(`more than ${limit} rows changed in between`);
        else {
          bytes += key.length + (before?.value.length ?? 0);
          net.set(key, { before: before?.value, after });
        }
        if (bytes > most) throw new RangeError(`rows that changed in between have more than ${most} bytes`);
      }
    }
    const out: PastChange[] = [];
    for (const [key, { before, after }] of net) {
      const change = this.change(from <= to ? { key, before, after } : { key, before: after, after: before });
      if (change !== undefined && JSON.stringify(change.before) !== JSON.stringify(change.after)) out.push(change);
    }
    return out;
  }

  /** All rows as they were. To be closed. @throws NotKept */
  async stateAt(generation: number): Promise<Snapshot> {
    this.check(generation, this.store.oldest - 1);
    const snapshot = this.model.snapshot(Infinity);
    try {
      let until = performance.now() + SLICE_MS;
      for await (const part of this.undone(generation + 1, this.model.generation)) {
        await spread(this.rewinding(snapshot, part));
        if (performance.now() < until) continue;
        await new Promise((done) => setImmediate(done));
        until = performance.now() + SLICE_MS;
      }
      return snapshot;
    } catch (error) {
      snapshot.close();
      throw error;
    }
  }

  /** The last generation that was committed at an instant; the one before the oldest that is kept when all of them are later. */
  async generationAt(instant: Instant, signal?: AbortSignal): Promise<number> {
    if ("generation" in instant) return instant.generation;
    let low = this.store.oldest;
    let high = this.store.revision + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      let at = 0;
      try {
        for await (const commit of this.commits(middle, middle, { signal, undo: true })) at = commit.at;
      } catch (error) {
        if (!(error instanceof NotKept)) throw error;
        at = -Infinity; // let go of meanwhile: it was before all that is kept
      }
      if (at <= instant.ms) low = middle + 1;
      else high = middle;
    }
    return Math.max(low, this.store.oldest) - 1;
  }

  /** @throws NotKept; the signal's reason */
  private async *commits(from: number, to: number, { signal, undo = false }: { readonly signal?: AbortSignal | undefined; readonly undo?: boolean }): AsyncGenerator<LogCommit, void, undefined> {
    if (from > to) return;
    try {
      for await (const commit of this.store.history(from, { undo })) {
        signal?.throwIfAborted();
        if (commit.generation > to) return;
        yield commit;
      }
    } catch (error) {
      throw this.explained(error, from);
    }
  }

  private async *undone(from: number, to: number): AsyncGenerator<Undone, void, undefined> {
    try {
      yield* this.store.undo(from, to);
    } catch (error) {
      throw this.explained(error, from);
    }
  }

  private explained(error: unknown, from: number): unknown {
    return error instanceof StoreError && error.code === "COMPACTED" ? new NotKept(from, this.store.oldest, this.store.revision) : error;
  }

  private *rewinding(snapshot: Snapshot, part: Undone): Stepwise<void> {
    for (const [key, before] of part) {
      const { table, id } = this.parse(key);
      if (table === undefined) continue;
      snapshot.rewind([{ table, id, before: rowOf(before) }]);
      yield;
    }
  }

  private check(generation: number, from: number): void {
    if (generation < from || generation > this.store.revision) throw new NotKept(generation, this.store.oldest, this.store.revision);
  }

  private parse(key: string): { readonly name: string; readonly table: AnyTable | undefined; readonly id: string } {
    const slash = key.indexOf("/", ROWS.length);
    const name = key.slice(ROWS.length, slash);
    return { name, table: this.tables.get(name), id: key.slice(slash + 1) };
  }

  private change({ key, before, after }: { readonly key: string; readonly before: Buffer | undefined; readonly after: Buffer | undefined }): PastChange | undefined {
    if (!key.startsWith(ROWS)) return undefined; // what the controller notes for itself
    const { name, table, id } = this.parse(key);
    return { type: table?.resource ?? name, id, before: rowOf(before) ?? null, after: rowOf(after) ?? null };
  }

  private shown({ generation, at, note, changes }: LogCommit): PastCommit {
    const { call, requestId, user, project } = noteOf(note);
    return {
      generation, at: new Date(at).toISOString(), call: call ?? null, request_id: requestId ?? null, user: user ?? null, project: project ?? null,
      changes: changes.map(({ key, before, after }) => this.change({ key, before: before?.value, after })).filter((change) => change !== undefined),
    };
  }
}

const rowOf = (value: Buffer | undefined): Row | undefined => (value === undefined ? undefined : (JSON.parse(value.toString()) as { row: Row }).row);

const noteOf = (note: string): Note => (note === "" ? {} : (JSON.parse(note) as Note));

/** Of keys and of rows before and after. */
const sizeOf = ({ changes }: LogCommit): number => changes.reduce((sum, { key, before, after }) => sum + key.length + (before?.value.length ?? 0) + (after?.length ?? 0), 0);

/** Values of their own: those that the log gives out are parts of what was read, other commits with them, and would keep all of it. */
const detached = (commit: LogCommit): LogCommit => ({
  ...commit,
  changes: commit.changes.map(({ key, before, after }) => ({
    key, before: before === undefined ? undefined : { ...before, value: Buffer.from(before.value) }, after: after === undefined ? undefined : Buffer.from(after),
  })),
});

function matches({ note, changes }: LogCommit, resource: string | undefined, project: string | undefined): boolean {
  if (resource !== undefined && !changes.some(({ key }) => key.endsWith(`/${resource}`) && key.startsWith(ROWS))) return false;
  return project === undefined || noteOf(note).project === project || changes.some((change) => ofProject(change, project));
}

/** Only rows that have the text are read. */
function ofProject({ key, before, after }: LogChange, project: string): boolean {
  if (!key.startsWith(ROWS)) return false;
  return [before?.value, after].some((value) => value?.includes(project) === true && (rowOf(value) as unknown as { project_id?: unknown }).project_id === project);
}
