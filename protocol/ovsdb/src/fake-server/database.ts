/**
 * One database: its schema and tables, the transactions that wait for their condition, the history of those that changed
 * something. Whoever follows it is told of each commit before the transaction is answered, as ovsdb-server does it.
 */

import { OvsdbError } from "../wire/errors.ts";
import type { Json, JsonObject } from "../wire/json.ts";
import { datumFromJson, datumToJson, ZERO_UUID } from "./datum.ts";
import { execute } from "./execute.ts";
import { errorToJson } from "./parse.ts";
import { schemaToJson, withoutEphemeral, type ServerSchema } from "./schema.ts";
import { tablesOf, Table, VERSION } from "./table.ts";
import { Transaction, type RowChange } from "./transaction.ts";

/** What a new UUID is for. */
export type UuidPurpose = "row" | "version" | "transaction" | "server";
export type UuidSource = (purpose: UuidPurpose) => string;

/** A transaction that changed something. */
export interface Commit {
  /** All zeros unless the database is clustered. */
  readonly id: string;
  readonly changes: readonly RowChange[];
  readonly comment: string;
}

export interface Follower {
  /** After the tables have changed. */
  committed(commit: Commit): void;
  /** The tables were replaced by those of another schema. */
  converted(): void;
}

/** One request to change the database, from a session or from the test itself. */
export interface Submission {
  readonly operations: readonly Json[];
  readonly ownsLock: (name: string) => boolean;
  /** Refuses the commit with this error; for tests of clients. */
  readonly refuse?: JsonObject | undefined;
  /** Called once, with one result for each operation and, when the commit was refused, its error; or undefined when canceled. */
  readonly done: (results: readonly Json[] | undefined) => void;
}

export interface Pending {
  /** Ends the wait; `done` gets undefined. */
  cancel(): void;
}

interface Waiting extends Pending {
  readonly submission: Submission;
  readonly sinceMs: number;
  timer: NodeJS.Timeout | undefined;
}

export interface DatabaseOptions {
  readonly schema: ServerSchema;
  readonly clustered: boolean;
  readonly newUuid: UuidSource;
  /** Transactions kept for monitor_cond_since; undefined: 100, and no more than the database is large, as ovsdb-server has it. */
  readonly historyLength?: number | undefined;
}

const HISTORY_LENGTH = 100;

const countAtoms = (cells: readonly { readonly keys: readonly unknown[]; readonly values?: readonly unknown[] }[] | undefined): number =>
  (cells ?? []).reduce((sum, { keys, values }) => sum + keys.length + (values?.length ?? 0), 0);

export class Database {
  readonly clustered: boolean;
  readonly newUuid: UuidSource;
  #schema: ServerSchema;
  #tables: ReadonlyMap<string, Table>;
  #lastId: string;
  /** The "index" of a clustered database: entries of its log, of which a new one has two. */
  #index = 2;
  readonly #historyLength: number | undefined;
  #history: { readonly commit: Commit; readonly atoms: number }[] = [];
  #historyAtoms = 0;
  #atoms = 0;
  readonly #followers = new Set<Follower>();
  readonly #waiting = new Set<Waiting>();
  #retrying = false;
  #dirty = false;
  /** Whether a commit can happen now; a cluster without a leader has to wait. */
  #writable: () => boolean = () => true;

  constructor({ schema, clustered, newUuid, historyLength }: DatabaseOptions) {
    this.clustered = clustered;
    this.newUuid = newUuid;
    this.#historyLength = historyLength;
    this.#schema = clustered ? withoutEphemeral(schema) : schema;
    this.#tables = tablesOf(this.#schema);
    this.#lastId = clustered ? newUuid("transaction") : ZERO_UUID;
  }

  get name(): string { return this.#schema.name; }
  get schema(): ServerSchema { return this.#schema; }
  get schemaJson(): JsonObject { return schemaToJson(this.#schema); }
  get tables(): ReadonlyMap<string, Table> { return this.#tables; }
  get lastId(): string { return this.#lastId; }
  get index(): number { return this.#index; }
  /** Transactions that wait. */
  get waiting(): number { return this.#waiting.size; }

  follow(follower: Follower): void {
    this.#followers.add(follower);
  }

  unfollow(follower: Follower): void {
    this.#followers.delete(follower);
  }

  setWritable(writable: () => boolean): void {
    this.#writable = writable;
  }

  /** The changes after transaction `id`; undefined when it is not known (any more). */
  commitsAfter(id: string): readonly Commit[] | undefined {
    const at = this.#history.findIndex(({ commit }) => commit.id === id);
    return at < 0 ? undefined : this.#history.slice(at + 1).map(({ commit }) => commit);
  }

  /** Runs a transaction now, or when its waits are over. */
  submit(submission: Submission): Pending {
    const waiting: Waiting = {
      submission, sinceMs: performance.now(), timer: undefined,
      cancel: () => {
        if (this.#drop(waiting)) submission.done(undefined);
      },
    };
    this.#waiting.add(waiting);
    this.#try(waiting, 0);
    this.#retry();
    return waiting;
  }

  /** Tries again what waits, after something other than a commit has changed. */
  wake(): void {
    this.#dirty = true;
    this.#retry();
  }

  /** Changes tables past the operations' rules, for the server's own database. @throws OvsdbError when the result is not allowed */
  change(work: (transaction: Transaction) => void): void {
    const transaction = this.#begin();
    try {
      work(transaction);
    } catch (error) {
      transaction.abort();
      throw error;
    }
    this.#finish(transaction);
    this.#retry();
  }

  /**
   * Replaces the schema; rows keep what both schemas have. Followers are told, transactions that wait are canceled.
   * @throws OvsdbError when the rows do not fit the new schema; nothing has changed then
   */
  convert(schema: ServerSchema): void {
    const next = this.clustered ? withoutEphemeral(schema) : schema;
    const tables = tablesOf(next);
    const transaction = new Transaction(tables, () => this.newUuid("version"));
    for (const [name, table] of tables) {
      const source = this.#tables.get(name);
      if (source === undefined) continue;
      const shared = table.columns.slice(VERSION + 1).flatMap((to) => {
        const from = source.byName.get(to.name);
        return from === undefined ? [] : [{ from, to }];
      });
      for (const row of source.rows.values()) {
        const cells = table.blank();
        for (const { from, to } of shared) cells[to.index] = datumFromJson(to.type, datumToJson(from.type, row.cells[from.index]!));
        transaction.insert(table, row.uuid, cells);
      }
    }
    transaction.commit();
    for (const waiting of [...this.#waiting]) waiting.cancel();
    this.#schema = next;
    this.#tables = tables;
    this.#history = [];
    this.#historyAtoms = 0;
    this.#atoms = [...tables.values()].reduce((sum, table) => [...table.rows.values()].reduce((n, row) => n + countAtoms(row.cells), sum), 0);
    if (this.clustered) {
      this.#lastId = this.newUuid("transaction");
      this.#index++;
    }
    for (const follower of [...this.#followers]) follower.converted();
  }

  /** Ends all waits. */
  close(): void {
    for (const waiting of [...this.#waiting]) this.#drop(waiting);
    this.#followers.clear();
  }

  #begin(): Transaction {
    return new Transaction(this.#tables, () => this.newUuid("version"));
  }

  #drop(waiting: Waiting): boolean {
    clearTimeout(waiting.timer);
    return this.#waiting.delete(waiting);
  }

  /** `elapsedMs` as "wait" sees it: exactly the timeout when its timer fired. */
  #try(waiting: Waiting, elapsedMs: number): void {
    clearTimeout(waiting.timer);
    if (!this.#writable()) return;
    const { operations, ownsLock, refuse, done } = waiting.submission;
    const transaction = this.#begin();
    const outcome = execute({
      tables: this.#tables, transaction, ownsLock, elapsedMs, reserved: this.name.startsWith("_") ? this.name : undefined,
      newUuid: () => this.newUuid("row"),
    }, operations);
    if (outcome.results === undefined) {
      transaction.abort();
      if (outcome.waitMs !== Infinity) {
        const left = outcome.waitMs - (performance.now() - waiting.sinceMs);
        // longer than a timer can be: try again then
        waiting.timer = setTimeout(() => {
          this.#try(waiting, Math.max(Math.round(performance.now() - waiting.sinceMs), left > 2 ** 31 ? 0 : outcome.waitMs));
          this.#retry();
        }, Math.min(Math.max(left, 0), 2 ** 31 - 1));
      }
      return;
    }
    this.#drop(waiting);
    if (!outcome.complete) {
      transaction.abort();
      done(outcome.results);
      return;
    }
    try {
      if (refuse !== undefined) {
        transaction.abort();
        done([...outcome.results, refuse]);
        return;
      }
      this.#finish(transaction);
    } catch (error) {
      if (!(error instanceof OvsdbError)) throw error;
      done([...outcome.results, errorToJson(error)]);
      return;
    }
    done(outcome.results);
  }

  #finish(transaction: Transaction): void {
    const changes = transaction.commit();
    if (changes.length === 0) return;
    if (this.clustered) {
      this.#lastId = this.newUuid("transaction");
      this.#index++;
    }
    const commit: Commit = { id: this.#lastId, changes, comment: transaction.comment };
    if (this.clustered) this.#remember(commit);
    this.#dirty = true;
    for (const follower of [...this.#followers]) follower.committed(commit);
  }

  #remember(commit: Commit): void {
    let atoms = 0;
    for (const { old, now } of commit.changes) {
      const before = countAtoms(old?.cells), after = countAtoms(now?.cells);
      atoms += before + after;
      this.#atoms += after - before;
    }
    this.#history.push({ commit, atoms });
    this.#historyAtoms += atoms;
    const limit = this.#historyLength ?? HISTORY_LENGTH;
    const tooMany = (): boolean => this.#history.length > limit || (this.#historyLength === undefined && this.#historyAtoms > this.#atoms);
    while (this.#history.length > Math.min(1, limit) && tooMany()) this.#historyAtoms -= this.#history.shift()!.atoms;
  }

  /** Runs what waits until nothing more changes; one commit may free another. */
  #retry(): void {
    if (this.#retrying) return;
    this.#retrying = true;
    try {
      while (this.#dirty) {
        this.#dirty = false;
        for (const waiting of [...this.#waiting]) if (this.#waiting.has(waiting)) this.#try(waiting, Math.round(performance.now() - waiting.sinceMs));
      }
    } finally {
      this.#retrying = false;
    }
  }
}

