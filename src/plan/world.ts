// A second compiler with a copy of the rows, on which changes are tried: it may stand for a while where a change would lead, and work in small
// slices, while everybody else goes on with the real one. It is made when somebody first plans, follows the commits, and is given up when nobody
// has planned for a while. Rows are shared with the model; flows are not, so it takes as much memory as the compiler does.
import { Engine, type EngineOptions } from "../compiler/engine.ts";
import { spread, type Pace, type Stepwise } from "../lib/turns/stepwise.ts";
import type { Facts } from "../model/facts.ts";
import type { Change, Commit, Model } from "../model/model.ts";
import { Layer } from "../model/rows.ts";
import type { View } from "../model/view.ts";

export interface WorldParts extends Pick<EngineOptions, "apps" | "tables" | "layout"> {
  readonly model: Pick<Model, "generation" | "onCommit" | "layer">;
  /** What packets taught, which nothing here changes. */
  readonly facts?: Facts | undefined;
  readonly poisonScratch?: boolean | undefined;
}

/** Of what is committed, and not compiled here yet. */
export interface Backlog {
  /** Changes from which on they are compiled though nobody plans. */
  readonly much: number;
  /** Changes beyond which it is cheaper to begin anew. */
  readonly most: number;
}
export const backlog: Backlog = { much: 2_000, most: 200_000 };

export class World {
  readonly engine: Engine;
  /** Every table, as of its generation or of the changes that are tried. */
  readonly view: View;
  readonly rows: Layer;
  generation: number;
  private readonly feed: Feed;

  private constructor(rows: Layer, engine: Engine, view: View, generation: number, feed: Feed) {
    this.rows = rows;
    this.engine = engine;
    this.view = view;
    this.generation = generation;
    this.feed = feed;
  }

  /** @throws Error when more is committed meanwhile than it could follow */
  static async make({ apps, tables, layout, model, facts, poisonScratch }: WorldParts, limits: Backlog, pace: Pace, stopped: () => Error | undefined): Promise<World> {
    const feed = new Feed(model, limits);
    try {
      const rows = await spread(copying(model.layer), pace, () => stopped() ?? feed.fault);
      let { generation } = model;
      for (const commit of feed.take()) {
        place(rows, commit.changes, "after");
        generation = commit.generation;
      }
      const engine = new Engine({ apps, tables, layout, rows, log: { error: () => undefined }, poisonScratch: poisonScratch === true });
      await spread(engine.compiling(generation), pace, stopped);
      return new World(rows, engine, facts === undefined ? engine.view : engine.view.with(facts), generation, feed);
    } catch (error) {
      feed.end();
      throw error;
    }
  }

  /** Why it is of no use any more, if so. */
  get fault(): Error | undefined {
    return this.feed.fault;
  }

  /** Called when so much is committed that it should be compiled though nobody plans. */
  onBehind(listener: () => void): void {
    this.feed.behind = listener;
  }

  /** What was committed is compiled, as far as it is known when it begins. */
  *catchUp(): Stepwise<void> {
    const commits = this.feed.take();
    if (commits.length === 0) return;
    const changes = commits.flatMap((commit) => commit.changes);
    const { generation } = commits.at(-1)!;
    this.place(changes, "after");
    yield* this.engine.applying({ generation, changes });
    this.generation = generation;
  }

  place(changes: readonly Change[], as: "after" | "before"): void {
    place(this.rows, changes, as);
  }

  close(): void {
    this.feed.end();
  }
}

/** Of what is committed meanwhile there is something in the copy or not: made on it again, it is whole. */
function* copying(base: Layer): Stepwise<Layer> {
  const copy = new Layer();
  copy.book = base.book;
  let n = 0;
  for (const { table, rows } of base.data.values()) {
    copy.table(table);
    for (const row of rows.values()) {
      copy.put(table, row);
      if (++n % 64 === 0) yield;
    }
  }
  return copy;
}

function place(rows: Layer, changes: readonly Change[], as: "after" | "before"): void {
  for (const { table, id, [as]: row } of changes) {
    if (row === undefined) rows.remove(table, id);
    else rows.put(table, row);
  }
}

/** What was committed since it was last asked. */
class Feed {
  fault: Error | undefined;
  private commits: Commit[] = [];
  private changes = 0;
  behind: () => void = () => undefined;
  private readonly unsubscribe: () => void;

  constructor(model: WorldParts["model"], limits: Backlog) {
    this.unsubscribe = model.onCommit((commit) => {
      if (this.fault !== undefined) return;
      this.commits.push(commit);
      this.changes += commit.changes.length;
      if (this.changes > limits.much) this.behind();
      if (this.changes <= limits.most) return;
      this.fault = new Error(`more than ${limits.most} rows changed before they could be compiled`);
      this.commits = [];
    });
  }

  take(): readonly Commit[] {
    const { commits } = this;
    this.commits = [];
    this.changes = 0;
    return commits;
  }

  end(): void {
    this.unsubscribe();
    this.commits = [];
  }
}
