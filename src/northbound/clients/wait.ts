// `?wait=dataplane`: the answer of a write is held until every switch that it concerns has confirmed it, or for `timeout` seconds. The write
// itself is done by then, so its status is the one it always has; a header says whether the switches have it.
import { ApiError, invalidInput, type Caller } from "../../app/contract.ts";
import { Places } from "./places.ts";

/** Who knows what switches have confirmed. */
export interface Confirmations {
  /** `done` is called when every switch that the generation concerns has confirmed it, never at once. To be ended. */
  wait(generation: number, done: () => void): { pending(): readonly string[]; end(): void };
}

export interface WaitLimits {
  /** Answers that are held at once, and of one project. */
  readonly waiting: number;
  readonly ofProject: number;
}
export const waitLimits: WaitLimits = { waiting: 1024, ofProject: 128 };

/** Seconds. */
const DEFAULT_S = 30;
const MOST_S = 300;
/** Hosts that are named to an administrator. */
const NAMED = 32;

/** A place among those that wait. */
export interface Wait {
  readonly timeoutMs: number;
  /** Gives the place back; nobody waits for an answer any more. */
  end(): void;
  /** Headers of the answer once there is something to say. */
  until(generation: number): Promise<Readonly<Record<string, string>>>;
}

export class Waits {
  private readonly places: Places;
  private readonly confirmations: Confirmations;
  private readonly held = new Set<() => void>();
  private closed = false;
  private readonly counted: (result: "confirmed" | "pending") => void;

  constructor(confirmations: Confirmations, limits: WaitLimits = waitLimits, counted: (result: "confirmed" | "pending") => void = () => undefined) {
    this.confirmations = confirmations;
    this.places = new Places({ all: limits.waiting, ofProject: limits.ofProject }, {
      full: () => new ApiError(503, "ServiceUnavailable", "Too many requests wait for switches; nothing was changed. Try again, or without wait.", 1),
      ofProject: (mine) => new ApiError(429, "TooManyRequests", `${mine} requests of the project wait for switches already; nothing was changed. Try again, or without wait.`, 1),
    });
    this.counted = counted;
  }

  get size(): number {
    return this.places.size;
  }

  /** The place that a write asks for, if it does; the parameters are taken out of the query. @throws ApiError before anything is done */
  take(query: URLSearchParams, caller: Caller): Wait | undefined {
    const timeoutMs = takeTimeout(query);
    if (timeoutMs === undefined) return undefined;
    const leave = this.places.enter(caller);
    let ended = false;
    let stop = (): void => undefined;
    const end = (): void => {
      if (ended) return;
      ended = true;
      leave();
      stop();
    };
    return {
      timeoutMs,
      end,
      until: (generation) => new Promise((resolve) => {
        if (ended) {
          resolve({});
          return;
        }
        const finish = (confirmed: boolean): void => {
          clearTimeout(timer);
          this.held.delete(giveUp);
          const pending = confirmed ? [] : receipt.pending();
          receipt.end();
          this.counted(confirmed ? "confirmed" : "pending");
          stop = () => undefined;
          end();
          resolve(headersOf(confirmed, pending, caller));
        };
        const giveUp = (): void => finish(false);
        const receipt = this.confirmations.wait(generation, () => finish(true));
        const timer = setTimeout(giveUp, timeoutMs);
        this.held.add(giveUp);
        stop = () => {
          clearTimeout(timer);
          this.held.delete(giveUp);
          receipt.end();
          resolve({});
        };
        if (this.closed) giveUp();
      }),
    };
  }

  /** Answers all that wait, as the listener closes. */
  close(): void {
    this.closed = true;
    for (const giveUp of [...this.held]) giveUp();
  }
}

/** Which hosts a project's packets pass is for administrators to know. */
function headersOf(confirmed: boolean, pending: readonly string[], caller: Caller): Readonly<Record<string, string>> {
  if (confirmed) return { "x-axion-dataplane": "confirmed" };
  const named = caller.admin ? { "x-axion-pending-hosts": pending.slice(0, NAMED).map(encodeURIComponent).join(",") } : {};
  return { "x-axion-dataplane": "pending", "x-axion-pending-count": String(pending.length), ...(pending.length === 0 ? {} : named) };
}

/** Milliseconds; undefined: nobody asks to wait. */
function takeTimeout(query: URLSearchParams): number | undefined {
  const wait = query.getAll("wait");
  if (wait.length === 0) return undefined;
  const other = wait.find((w) => w !== "dataplane");
  if (other !== undefined) throw invalidInput(`wait: '${other.slice(0, 64)}' is not dataplane, the only thing to wait for`);
  const given = query.getAll("timeout");
  if (given.length > 1) throw invalidInput("timeout is given twice");
  const text = given[0] ?? String(DEFAULT_S);
  const seconds = /^\d{1,3}(\.\d{1,3})?$/.test(text) ? Number(text) : NaN;
  if (!(seconds <= MOST_S)) throw invalidInput(`timeout: '${text.slice(0, 64)}' is not a number of seconds from 0 to ${MOST_S}`);
  query.delete("wait");
  query.delete("timeout");
  return seconds * 1000;
}
