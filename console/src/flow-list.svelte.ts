// Flows as a dump and then the stream of changes have them.
import { events, OpsError, search, reloads, some } from "./api.svelte.ts";
import type { Flow, FlowEvent } from "./types.ts";

/** More nobody reads: whoever wants all of them takes `axion flows`. */
export const MOST_FLOWS = 50_000;
const RETRY_MS = 3000;

export interface FlowQuery {
  readonly switch?: string | undefined;
  readonly table?: string | undefined;
  readonly resource?: string | undefined;
  readonly app?: string | undefined;
  readonly match?: string | undefined;
  readonly state?: string | undefined;
  readonly stats?: string | undefined;
}

/** Of one switch no two flows are the same in these. */
export const keyOf = (flow: Flow): string => `${flow.switch} ${flow.table_id} ${flow.priority} ${flow.match} ${flow.state === "foreign" ? "foreign" : ""}`;

export class FlowList {
  rows = $state.raw<readonly Flow[]>([]);
  error = $state.raw<OpsError | undefined>(undefined);
  state = $state<"reading" | "read" | "following">("reading");
  /** There are more than are kept here. */
  more = $state(false);
  /** Changes heard since the dump. */
  heard = $state(0);

  constructor(query: () => FlowQuery, follow: () => boolean) {
    $effect(() => {
      const asked = query();
      const following = follow();
      reloads();
      const stop = new AbortController();
      void this.run(asked, following, stop.signal);
      return () => stop.abort();
    });
  }

  private async run(query: FlowQuery, follow: boolean, signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        this.error = undefined;
        this.state = "reading";
        const read = new Map<string, Flow>();
        // Heard before it is read: no change falls between the two.
        const stream = follow ? this.changes(query, read, signal) : undefined;
        this.heard = 0;
        this.more = await some<Flow>(`/flows${search({ ...query })}`, MOST_FLOWS, signal, (flows) => {
          for (const flow of flows) read.set(keyOf(flow), flow);
          this.rows = [...read.values()];
        });
        this.rows = [...read.values()];
        this.state = follow ? "following" : "read";
        if (stream === undefined) return;
        await stream;
        // It was cut off: what was missed a fresh dump has.
        if (!signal.aborted) await new Promise((done) => setTimeout(done, RETRY_MS));
      }
    } catch (error) {
      if (!signal.aborted) this.error = error instanceof OpsError ? error : new OpsError(0, String(error));
      this.state = "read";
    }
  }

  private async changes({ switch: id, table, resource, app, match }: FlowQuery, read: Map<string, Flow>, signal: AbortSignal): Promise<void> {
    let due = false;
    try {
      for await (const data of events(`/flows/stream${search({ switch: id, table, resource, app, match })}`, signal)) {
        const { event, flow } = JSON.parse(data) as FlowEvent;
        if (event === "removed") read.delete(keyOf(flow));
        else if (read.size < MOST_FLOWS || read.has(keyOf(flow))) read.set(keyOf(flow), flow);
        this.heard++;
        if (due) continue;
        // Many changes come at once: one new list for all of them.
        due = true;
        setTimeout(() => {
          due = false;
          if (!signal.aborted) this.rows = [...read.values()];
        }, 200);
      }
    } catch (error) {
      if (!signal.aborted && error instanceof OpsError && error.status !== 0) this.error = error;
    }
  }
}
