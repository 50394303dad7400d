// Flows as they were wanted at an instant of the past: the rows of that instant, compiled by the rules of today. For a moment they stand where today's
// rows do (src/plan), so that it costs what has changed since, and nobody sees it.
import { chassisTable, type ReadView } from "#app";
import { NotKept, type History, type Instant } from "../../model/history.ts";
import { PlanTooLarge, type Planner } from "../../plan/planner.ts";
import { flowFilter, flowLine, type FlowQuery, type FlowRecord } from "./flows.ts";
import type { FlowDump } from "./flow-dump.ts";
import { BadQuery } from "../bad-query.ts";

export interface PastParts {
  readonly history: Pick<History, "stateAt" | "generationAt">;
  readonly planner: Pick<Planner, "during">;
  readonly dump: Pick<FlowDump, "desiredAt">;
  /** Rows as they are; while the past is looked at, as they were. */
  readonly view: ReadView;
}

/** Flows in one answer: they are put together in one turn. */
const FLOWS = 100_000;
/** Rows that changed since, and runs of rules that follow. */
const ROWS = 50_000;
const RUNS = 200_000;
/** Questions at once. */
const AT_ONCE = 2;

/** Of one switch, lines of dumps as in a plan. */
export interface FlowDifference {
  readonly add: readonly string[];
  readonly change: readonly string[];
  readonly remove: readonly string[];
}

export class PastFlows {
  private readonly parts: PastParts;
  private running = 0;

  constructor(parts: PastParts) {
    this.parts = parts;
  }

  /** @throws BadQuery naming `at`, or `switch` when there was none of that name */
  async flows(at: Instant, query: FlowQuery): Promise<{ readonly generation: number; readonly flows: readonly FlowRecord[] }> {
    return this.bounded("at", async () => {
      const generation = await this.parts.history.generationAt(at);
      return { generation, flows: await this.at(generation, query, "at") };
    });
  }

  /** What `read` finds in the state of an instant: rows, what is derived from them, and the compiler's flows are then as they were, and what is learned is not. In one turn. @throws BadQuery naming `at` */
  async during<T>(at: Instant, read: (generation: number) => T): Promise<T> {
    return this.bounded("at", async () => {
      const generation = await this.parts.history.generationAt(at);
      return this.within(generation, () => read(generation));
    });
  }

  /** What became of a switch's flows between two generations. @throws BadQuery naming `from`, or `switch` when it was not there at either of them */
  async difference(from: number, to: number, id: string): Promise<FlowDifference> {
    return this.bounded("from", async () => {
      const missing: BadQuery[] = [];
      const linesAt = async (generation: number): Promise<ReadonlyMap<string, string>> => {
        try {
          return new Map((await this.at(generation, { switch: id, stats: false }, "from")).map((flow) => [`${flow.table_id} ${flow.priority} ${flow.match}`, flowLine(flow)]));
        } catch (error) {
          if (!(error instanceof BadQuery) || error.parameter !== "switch") throw error;
          missing.push(error);
          return new Map();
        }
      };
      const [before, after] = [await linesAt(from), await linesAt(to)];
      if (missing.length === 2) throw missing[0]!;
      const add: string[] = [];
      const change: string[] = [];
      for (const [key, line] of after) if (before.get(key) !== line) (before.has(key) ? change : add).push(line);
      return { add, change, remove: [...before].filter(([key]) => !after.has(key)).map(([, line]) => line) };
    });
  }

  private async bounded<T>(parameter: string, work: () => Promise<T>): Promise<T> {
    if (this.running >= AT_ONCE) throw new BadQuery(parameter, `${this.running} questions about flows of the past are being answered already; ask again in a moment`, 503);
    this.running++;
    try {
      return await work();
    } catch (error) {
      if (error instanceof NotKept) throw new BadQuery(parameter, error.message, 404);
      if (error instanceof PlanTooLarge) throw new BadQuery(parameter, `too much has changed since then to work it out (${error.message.replace(/^.*?: /, "")})`);
      throw error;
    } finally {
      this.running--;
    }
  }

  private async at(generation: number, query: FlowQuery, parameter: string): Promise<readonly FlowRecord[]> {
    const { dump, view } = this.parts;
    const keep = flowFilter(query);
    return this.within(generation, () => {
      const ids = Array.from(view.all(chassisTable), ({ id }) => id).sort();
      if (query.switch !== undefined && !ids.includes(query.switch)) throw new BadQuery("switch", `there was no switch '${query.switch.slice(0, 64)}' then`, 404);
      const out: FlowRecord[] = [];
      for (const id of ids) {
        if (query.switch !== undefined && query.switch !== id) continue;
        for (const flow of dump.desiredAt(id, generation, query.table)) {
          if (!keep(flow)) continue;
          if (out.length === FLOWS) throw new BadQuery(parameter, `there were more than ${FLOWS} such flows; ask for one switch or table`);
          out.push(flow);
        }
      }
      return out;
    });
  }

  private async within<T>(generation: number, read: () => T): Promise<T> {
    const { history, planner } = this.parts;
    const state = await history.stateAt(generation);
    try {
      const changes = state.changes();
      if (changes.length > ROWS) throw new PlanTooLarge(`: ${changes.length} rows`);
      return planner.during(changes, read, RUNS);
    } finally {
      state.close();
    }
  }
}
