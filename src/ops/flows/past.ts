// Flows as they were wanted at an instant of the past: the rows of that instant, compiled by the rules of today. In a house of usual size that is done on a
// copy of its own, slice by slice, so that it holds up nobody however much has changed since. In a large one the rows stand for a while where those of today
// do on the copy on which plans are tried (src/plan), which costs what has changed, and the copy where there is none yet.
import { chassisTable, type AnyTable, type ReadView, type Table } from "#app";
import type { Engine } from "../../compiler/engine.ts";
import { finish, spread, type Pace, type Stepwise } from "../../lib/turns/stepwise.ts";
import { NotKept, type History, type Instant } from "../../model/past/history.ts";
import type { Change } from "../../model/model.ts";
import { Layer } from "../../model/rows.ts";
import type { Snapshot } from "../../model/past/snapshot.ts";
import { PlansBusy, PlanTooLarge, type Planner, type PlanState } from "../../plan/planner.ts";
import type { FlowQuery } from "./flows.ts";
import { lineOfMessage, type FlowDump } from "./flow-dump.ts";
import { TooManyFlows } from "./print/dump-text.ts";
import { BadQuery } from "../bad-query.ts";

export interface PastParts {
  readonly history: Pick<History, "stateAt" | "generationAt">;
  readonly planner: Pick<Planner, "during" | "apart">;
  readonly dump: Pick<FlowDump, "wholeAt">;
  /** Every table. */
  readonly tables: readonly AnyTable[];
  readonly engine: Pick<Engine, "stats" | "aside">;
  readonly limits?: Partial<PastLimits>;
}

export interface PastLimits {
  /** Different flows of today up to which the past is compiled on a copy of its own. */
  readonly copied: number;
  /** Rows that changed since, and runs of rules that follow, up to which something small is read at once, on the compiler that everybody has. */
  readonly rows: number;
  readonly runs: number;
}
/** Of copies some 2 KiB for each flow, while it is looked at. */
const LIMITS: PastLimits = { copied: 60_000, rows: 50, runs: 100 };

/** Flows in one answer: it is whole before any of it is sent, so that what was compiled for it is let go. */
const FLOWS = 100_000;
/** Rows that changed since, and runs of rules that follow, where it is not done on a copy of its own. */
const ROWS = 50_000;
const RUNS = 200_000;
/** Questions at once. */
const AT_ONCE = 2;
/** ms: a slice is short, as what others wait for is several. */
const PACE: Pace = { slice: 4, rest: 1 };
/** Rows, or flows, between two places where work may stop. */
const STEP = 32;

/** Of one switch, lines of dumps as in a plan. */
export interface FlowDifference {
  readonly add: readonly string[];
  readonly change: readonly string[];
  readonly remove: readonly string[];
}

export class PastFlows {
  private readonly parts: PastParts;
  private readonly limits: PastLimits;
  private running = 0;

  constructor(parts: PastParts) {
    this.parts = parts;
    this.limits = { ...LIMITS, ...parts.limits };
  }

  /** A dump with numbers alone, in parts. @throws BadQuery naming `at`, or `switch` when there was none of that name */
  async dump(at: Instant, query: FlowQuery, format: "json" | "text"): Promise<{ readonly generation: number; readonly parts: readonly Uint8Array[] }> {
    return this.bounded("at", async () => {
      const generation = await this.parts.history.generationAt(at);
      return { generation, parts: await this.at(generation, (view, engine) => this.written(generation, query, format, view, engine)) };
    });
  }

  /**
   * What `read` finds in the state of an instant: rows, what is derived from them, and the compiler's flows are then as they were, and what is learned is not.
   * Where little changed since that is in one turn, on what everybody has (`state` is undefined, and nothing may be waited for), else on a copy, in slices.
   * @throws BadQuery naming `at`
   */
  async during<T>(at: Instant, read: (generation: number, state: PlanState | undefined) => Stepwise<T>): Promise<T> {
    return this.bounded("at", async () => {
      const { history, planner } = this.parts;
      const generation = await history.generationAt(at);
      const past = await history.stateAt(generation);
      try {
        const changes = past.changes();
        if (changes.length <= this.limits.rows) {
          try {
            return planner.during(changes, () => finish(read(generation, undefined)), this.limits.runs);
          } catch (error) {
            if (!(error instanceof PlanTooLarge)) throw error;
          }
        }
        return await this.apart(past, (state) => read(generation, state));
      } finally {
        past.close();
      }
    });
  }

  /** What became of a switch's flows between two generations. @throws BadQuery naming `from`, or `switch` when it was not there at either of them */
  async difference(from: number, to: number, id: string): Promise<FlowDifference> {
    return this.bounded("from", async () => {
      const missing: BadQuery[] = [];
      const flowsAt = async (generation: number): Promise<ReadonlyMap<string, Buffer>> => {
        try {
          return await this.at(generation, (view, engine) => this.copied(id, view, engine));
        } catch (error) {
          if (!(error instanceof BadQuery) || error.parameter !== "switch") throw error;
          missing.push(error);
          return new Map();
        }
      };
      const [before, after] = [await flowsAt(from), await flowsAt(to)];
      if (missing.length === 2) throw missing[0]!;
      return spread(this.differing(before, after), PACE);
    });
  }

  private async bounded<T>(parameter: string, work: () => Promise<T>): Promise<T> {
    if (this.running >= AT_ONCE) throw new BadQuery(parameter, `${this.running} questions about flows of the past are being answered already; ask again in a moment`, 503);
    this.running++;
    try {
      return await work();
    } catch (error) {
      if (error instanceof NotKept) throw new BadQuery(parameter, error.message, 404);
      if (error instanceof PlansBusy) throw new BadQuery(parameter, error.message, 503);
      if (error instanceof PlanTooLarge) throw new BadQuery(parameter, `too much has changed since then to work it out (${error.message.replace(/^.*?: /, "")})`);
      throw error;
    } finally {
      this.running--;
    }
  }

  private async at<T>(generation: number, read: (view: ReadView, engine: Engine) => Stepwise<T>): Promise<T> {
    const { history, engine } = this.parts;
    const past = await history.stateAt(generation);
    let rows: Layer;
    try {
      if (engine.stats.flows > this.limits.copied) return await this.apart(past, (state) => read(state.rows, state.engine));
      rows = await spread(this.copying(past.view), PACE);
    } finally {
      past.close();
    }
    const then = engine.aside(rows);
    await spread(then.compiling(generation), PACE);
    return spread(read(rows, then), PACE);
  }

  /** On the copy on which plans are tried. */
  private async apart<T>(past: Snapshot, read: (state: PlanState) => Stepwise<T>): Promise<T> {
    const changes = (): readonly Change[] => {
      const those = past.changes();
      if (those.length > ROWS) throw new PlanTooLarge(`: ${those.length} rows`);
      return those;
    };
    return this.parts.planner.apart(changes, read, RUNS);
  }

  private *copying(view: ReadView): Stepwise<Layer> {
    const copy = new Layer();
    let n = 0;
    for (const table of this.parts.tables) {
      if (table.derived) continue;
      copy.table(table);
      for (const row of view.all(table as Table)) {
        copy.put(table, row);
        if (++n % STEP === 0) yield;
      }
    }
    return copy;
  }

  private *written(generation: number, query: FlowQuery, format: "json" | "text", view: ReadView, engine: Engine): Stepwise<readonly Uint8Array[]> {
    const ids = query.switch === undefined ? Array.from(view.all(chassisTable), ({ id }) => id).sort() : [there(query.switch, view)];
    try {
      return yield* this.parts.dump.wholeAt(ids, generation, query, format, { engine, most: FLOWS });
    } catch (error) {
      if (error instanceof TooManyFlows) throw new BadQuery("at", `there were more than ${FLOWS} such flows; ask for one switch or table`);
      throw error;
    }
  }

  /** The flows of a switch by key, as bytes of their own: a flow holds all that was compiled with it. */
  private *copied(id: string, view: ReadView, engine: Engine): Stepwise<ReadonlyMap<string, Buffer>> {
    const out = new Map<string, Buffer>();
    for (const { key, slab, off, len } of yield* engine.flowsInSteps(there(id, view))) {
      out.set(key, Buffer.from(slab.subarray(off, off + len)));
      if (out.size % STEP === 0) yield;
    }
    return out;
  }

  private *differing(before: ReadonlyMap<string, Buffer>, after: ReadonlyMap<string, Buffer>): Stepwise<FlowDifference> {
    const out = { add: [] as string[], change: [] as string[], remove: [] as string[] };
    let n = 0;
    for (const [key, is] of after) {
      if (++n % STEP === 0) yield;
      const was = before.get(key);
      if (was?.equals(is) === true) continue;
      const line = lineOfMessage(is);
      // What no line has may be another.
      if (was === undefined) out.add.push(line);
      else if (lineOfMessage(was) !== line) out.change.push(line);
    }
    for (const [key, was] of before) {
      if (after.has(key)) continue;
      out.remove.push(lineOfMessage(was));
      if (++n % STEP === 0) yield;
    }
    return out;
  }
}

/** @throws BadQuery */
function there(id: string, view: ReadView): string {
  if (view.get(chassisTable, id) === undefined) throw new BadQuery("switch", `there was no switch '${id.slice(0, 64)}' then`, 404);
  return id;
}
