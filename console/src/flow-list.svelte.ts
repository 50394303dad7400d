// Flows as a dump and then the stream of changes have them: the stream is opened first, and what it says while the dump arrives is kept until that
// is whole, so that nothing falls between the two and nothing old overwrites what is new.
import { events, OpsError, search, reloads, some } from "./api.svelte.ts";
import type { Flow, FlowEvent } from "./types.ts";

/** More nobody reads: whoever wants all of them takes `axion flows`. */
export const MOST_FLOWS = 50_000;
/** Between attempts, doubled from the first to the last. */
const RETRY_MS = { first: 1000, last: 60_000 };
/** A stream that lasted so long was no failure: what follows begins with the shortest wait. */
const LASTED_MS = 10_000;
/** Many changes come at once: one new list for all of them. */
const DRAWN_EVERY_MS = 200;

export interface FlowQuery {
  readonly switch?: string | undefined;
  readonly table?: string | undefined;
  readonly resource?: string | undefined;
  readonly app?: string | undefined;
  readonly match?: string | undefined;
  readonly state?: string | undefined;
  readonly stats?: string | undefined;
  readonly at?: string | undefined;
}

/** Of one switch no two flows are the same in these. */
export const keyOf = (flow: Flow): string => `${flow.switch} ${flow.table_id} ${flow.priority} ${flow.match} ${flow.state === "foreign" ? "foreign" : ""}`;

const asError = (error: unknown): OpsError => (error instanceof OpsError ? error : new OpsError(0, String(error)));
/** It is there again some day: the controller starts anew, or has too many that listen. Anything else is answered the same the next time. */
const passes = ({ status }: OpsError): boolean => status === 0 || status === 429 || status >= 500;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}

export class FlowList {
  rows = $state.raw<readonly Flow[]>([]);
  error = $state.raw<OpsError | undefined>(undefined);
  /** waiting: it is tried again, what is shown is of before. */
  state = $state<"reading" | "read" | "following" | "waiting">("reading");
  /** There are more than are kept here. */
  more = $state(false);
  /** Changes heard since the dump. */
  heard = $state(0);

  private drawing: ReturnType<typeof setTimeout> | undefined;

  constructor(query: () => FlowQuery, follow: () => boolean) {
    $effect(() => {
      const asked = query();
      const following = follow();
      reloads();
      const stop = new AbortController();
      void this.run(asked, following, stop.signal);
      return () => {
        stop.abort();
        clearTimeout(this.drawing);
        this.drawing = undefined;
      };
    });
  }

  private async run(query: FlowQuery, follow: boolean, stopped: AbortSignal): Promise<void> {
    let wait = RETRY_MS.first;
    // What is shown is the dump of this query, whether or not it is followed.
    let shown = false;
    while (!stopped.aborted) {
      let why: OpsError | undefined;
      const began = performance.now();
      const attempt = new AbortController();
      const signal = AbortSignal.any([stopped, attempt.signal]);
      try {
        const { switch: id, table, resource, app, match } = query;
        let stream: AsyncGenerator<string> | undefined;
        try {
          if (follow) stream = await events(`/flows/stream${search({ switch: id, table, resource, app, match })}`, signal);
        } catch (error) {
          // Shown, if not followed; then it is the stream alone that is tried again.
          why = asError(error);
          if (!passes(why) || why.status === 0) throw why;
        }
        if (stream !== undefined || !shown) {
          const read = await this.read(query, stream, signal);
          shown = true;
          if (stream !== undefined) await read.ended;
        }
        if (!follow) {
          this.state = "read";
          return;
        }
      } catch (error) {
        if (stopped.aborted) return;
        why = asError(error);
      } finally {
        attempt.abort();
      }
      if (stopped.aborted) return;
      this.error = why;
      this.state = "waiting";
      if (why !== undefined && !passes(why)) {
        this.state = "read";
        return;
      }
      if (performance.now() - began > LASTED_MS) wait = RETRY_MS.first;
      await pause(wait, stopped);
      wait = Math.min(2 * wait, RETRY_MS.last);
    }
  }

  /** The dump, and what the stream said meanwhile; `ended`: the stream did. */
  private async read(query: FlowQuery, stream: AsyncGenerator<string> | undefined, signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
    const rows = new Map<string, Flow>();
    /** Until the dump is whole: the last event of each flow. */
    let early: Map<string, FlowEvent> | undefined = new Map();
    let over = false;
    const draw = (): void => {
      this.drawing ??= setTimeout(() => {
        this.drawing = undefined;
        if (!signal.aborted) this.rows = [...rows.values()];
      }, DRAWN_EVERY_MS);
    };
    const apply = ({ event, flow }: FlowEvent): void => {
      const key = keyOf(flow);
      if (event === "removed") rows.delete(key);
      else if (rows.has(key) || rows.size < MOST_FLOWS) rows.set(key, flow);
      else this.more = true;
    };
    this.state = "reading";
    this.heard = 0;
    const follow = async (): Promise<void> => {
      try {
        for await (const data of stream ?? []) {
          const event = JSON.parse(data) as FlowEvent;
          this.heard++;
          if (early === undefined) {
            apply(event);
            draw();
          } else if (early.size < MOST_FLOWS) early.set(keyOf(event.flow), event);
          else {
            // More changed than could be kept: the dump is begun again.
            over = true;
            return;
          }
        }
      } catch {
        // The connection broke: all is read anew.
      }
    };
    const ended = follow();
    const more = await some<Flow>(`/flows${search({ ...query })}`, MOST_FLOWS, signal, (flows) => {
      for (const flow of flows) rows.set(keyOf(flow), flow);
      draw();
    });
    if (over) throw new OpsError(0, "too much changes while the flows are read");
    this.more = more;
    for (const event of early.values()) apply(event);
    early = undefined;
    clearTimeout(this.drawing);
    this.drawing = undefined;
    this.rows = [...rows.values()];
    this.error = undefined;
    if (stream !== undefined) this.state = "following";
    return { ended };
  }
}
