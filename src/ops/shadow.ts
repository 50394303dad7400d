// What a shadow controller says: of each switch that connects what would be changed on it, in the log. It says so again when that changes.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { FlowDump } from "./flows/flow-dump.ts";
import { flowLine, type FlowRecord } from "./flows/flows.ts";

export interface ShadowOptions {
  readonly dump: Pick<FlowDump, "differences">;
  /** What would be written to the host's database. */
  readonly unwritten: (chassis: string) => readonly string[];
  readonly log: Logger;
  readonly clock: Clock;
}

/** Of each kind, on each switch. */
const LINES = 20;
/** What a host reports makes flows: they are waited for. */
const QUIET_MS = 1000;

interface State {
  hold: string | undefined;
  told: string;
  cancel: Cancel | undefined;
}

export class Shadow {
  private readonly options: ShadowOptions;
  private readonly states = new Map<string, State>();
  private stopped = false;

  constructor(options: ShadowOptions) {
    this.options = options;
  }

  /** A switch was looked at, and would be held because of `hold`. */
  looked(chassis: string, hold: string | undefined): void {
    this.states.set(chassis, { told: "", cancel: undefined, ...this.states.get(chassis), hold });
    this.changed(chassis);
  }

  /** What a switch should have, or has, is another. */
  changed(chassis: string): void {
    const state = this.states.get(chassis);
    if (state === undefined || this.stopped) return;
    state.cancel?.();
    state.cancel = this.options.clock.setTimeout(() => {
      state.cancel = undefined;
      void this.tell(chassis, state).catch((error: unknown) => this.options.log.warn({ err: error, switch: chassis }, "switch could not be compared"));
    }, QUIET_MS);
  }

  stop(): void {
    this.stopped = true;
    for (const { cancel } of this.states.values()) cancel?.();
  }

  private async tell(chassis: string, state: State): Promise<void> {
    const { dump, unwritten, log } = this.options;
    const { added, changed, removed } = await dump.differences(chassis);
    const database = unwritten(chassis);
    const lines = [
      ...added.slice(0, LINES).map((flow) => [{ ...because(flow), flow: flowLine(flow) }, "flow would be added"] as const),
      ...changed.slice(0, LINES).map(({ before, after }) => [{ ...because(after), flow: flowLine(after), before: flowLine(before) }, "flow would be changed"] as const),
      ...removed.slice(0, LINES).map((flow) => [{ flow: flowLine(flow) }, "flow would be removed"] as const),
      ...database.slice(0, LINES).map((operation) => [{ operation }, "database would be changed"] as const),
    ];
    const counts = { added: added.length, changed: changed.length, removed: removed.length, database: database.length };
    const told = JSON.stringify([counts, state.hold, lines.map(([{ flow, operation }]: readonly [{ flow?: string; operation?: string }, string]) => flow?.replace(/n_packets=\d+, n_bytes=\d+, /, "") ?? operation)]);
    if (told === state.told || this.stopped) return;
    state.told = told;
    log.info({ switch: chassis, ...counts, ...(state.hold !== undefined && { held: state.hold }), shown: lines.length }, "switch compared, nothing is changed");
    for (const [fields, message] of lines) log.info({ switch: chassis, ...fields }, message);
  }
}

const because = ({ app, rule, resources }: FlowRecord): object => ({ app, rule, resources: resources.map(({ type, id }) => `${type} ${id}`) });
