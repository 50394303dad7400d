// Which runs a change makes dirty, and in which order they run: derivations by stratum, then rules. Every function of an app that is
// called on the way (an index, a comparison) is guarded: what it throws costs the runs that depend on it, never the batch.
import type { AnyTable, Row } from "#app";
import { NONE } from "../lib/few.ts";
import type { Stepwise } from "../lib/turns/stepwise.ts";
import { equalValues, type RowChange } from "./derived.ts";
import { Entity, type Feed, type Run, type Unit } from "./runs.ts";
import type { DepIndex, TableDeps } from "./track.ts";
import { isUnseen } from "./unseen.ts";

/** Runs between two places where a batch may stop: a run takes some 10 to 100 microseconds. */
const STEP = 8;

export class Schedule {
  private readonly deps: ReadonlyMap<string, TableDeps<Run>>;
  /** What runs on a table's rows and on its pairs. */
  private readonly feeds = new Map<string, Feed[]>();
  private readonly queue: Run[][] = [];
  private queued = 0;
  /** Upper bound of rows that the batch under way can have added under one pair. */
  private batchRows = 1;
  private readonly marker = (run: Run): void => this.mark(run);
  private readonly onBug: (error: unknown, table: AnyTable) => void;

  constructor(deps: ReadonlyMap<string, TableDeps<Run>>, onBug: (error: unknown, table: AnyTable) => void) {
    this.deps = deps;
    this.onBug = onBug;
  }

  feed(table: AnyTable, pair: string | undefined): Feed {
    let feeds = this.feeds.get(table.name);
    if (feeds === undefined) this.feeds.set(table.name, (feeds = []));
    let feed = feeds.find((f) => f.pair === pair);
    if (feed === undefined) feeds.push((feed = { table, pair, units: [] as Unit[], entities: new Map<string, Entity>() }));
    return feed;
  }

  all(): Iterable<Feed> {
    return [...this.feeds.values()].flat();
  }

  /** An entity came, changed or went: all that runs on it does. */
  entered(feed: Feed, id: string, row: Row | undefined): void {
    let entity = feed.entities.get(id);
    if (entity === undefined) {
      entity = new Entity(id, row, feed.units);
      feed.entities.set(id, entity);
    } else entity.row = row;
    entity.eachRun(this.marker);
  }

  mark(run: Run): void {
    if (run.queued) return;
    run.queued = true;
    (this.queue[run.unit.stratum] ??= []).push(run);
    this.queued++;
  }

  /** Marks what a change of a row may concern. */
  changed(change: RowChange): void {
    const { table, id, before, after } = change;
    const deps = this.deps.get(table.name);
    if (deps === undefined) return;
    deps.lastId = undefined;
    const mark = this.marker;
    const feeds = this.feeds.get(table.name) ?? NONE;
    const unseen = isUnseen(change);
    for (const feed of feeds) {
      if (feed.pair !== undefined) continue;
      if (!unseen) this.entered(feed, id, after);
      else if (feed.entities.has(id)) feed.entities.get(id)!.row = after;
    }
    if (!unseen) {
      deps.row.each(id, mark);
      deps.all.each("", mark);
    }
    for (const { index, fn } of deps.indexList) {
      if (index.unread) continue;
      try {
        const was = before === undefined ? undefined : fn(before);
        const is = after === undefined ? undefined : fn(after);
        if (unseen && equalValues(was, is)) continue;
        eachKey(was, (key) => index.each(key, mark));
        eachKey(is, (key) => index.each(key, mark));
      } catch (error) {
        this.doubt(error, table, index);
      }
    }
    for (const { name, index, keys, fn } of deps.pairList) {
      try {
        const was = before === undefined ? undefined : fn(before);
        const is = after === undefined ? undefined : fn(after);
        const wasKey = was === undefined ? undefined : `${was[0]}|${was[1]}`;
        const isKey = is === undefined ? undefined : `${is[0]}|${is[1]}`;
        if (unseen && wasKey === isKey) continue;
        if (wasKey !== undefined) index.each(wasKey, mark);
        if (isKey !== undefined) index.each(isKey, mark);
        for (const feed of feeds) {
          if (feed.pair !== name) continue;
          if (wasKey !== undefined) this.entered(feed, wasKey, undefined);
          if (isKey !== undefined) this.entered(feed, isKey, undefined);
        }
        if (keys.unread || wasKey === isKey) continue;
        const now = deps.layer.table(table);
        // The set of second keys changed only if this was the first or is no longer any row of the pair. Within one batch
        // that cannot be told from the counts alone, so a pair that now has no rows or few is taken as changed.
        if (was !== undefined && now.pairSize(name, was[0], was[1]) === 0) keys.each(was[0], mark);
        if (is !== undefined && now.pairSize(name, is[0], is[1]) <= this.batchRows) keys.each(is[0], mark);
      } catch (error) {
        this.doubt(error, table, index, keys);
      }
    }
  }

  /** An index function failed: whoever reads by that index runs again, whatever the key. */
  private doubt(error: unknown, table: AnyTable, ...indexes: readonly DepIndex<Run>[]): void {
    this.onBug(error, table);
    for (const index of indexes) index.every(this.marker);
  }

  /** Runs everything that is marked and what that marks in turn, up to `most` runs: what is left then stays marked. `run` throws nothing. */
  *draining(run: (run: Run) => void, most = Infinity): Stepwise<boolean> {
    let left = most;
    this.batchRows = Math.max(1, this.queued);
    while (this.queued > 0) {
      const stratum = this.queue.findIndex((q) => q !== undefined && q.length > 0);
      const batch = this.queue[stratum]!;
      this.queue[stratum] = [];
      this.queued -= batch.length;
      this.batchRows = Math.max(this.batchRows, batch.length);
      for (let i = 0; i < batch.length; i++) {
        if (left-- <= 0) {
          this.queue[stratum] = [...batch.slice(i), ...this.queue[stratum]];
          this.queued += batch.length - i;
          return false;
        }
        batch[i]!.queued = false;
        run(batch[i]!);
        if (i % STEP === STEP - 1) yield;
      }
    }
    this.batchRows = 1;
    return true;
  }
}

function eachKey(keys: string | readonly string[] | undefined, visit: (key: string) => void): void {
  if (keys === undefined) return;
  if (typeof keys === "string") visit(keys);
  else for (const key of keys) visit(key);
}
