// How much a request may bring, and what is listened to at a time.
import type { WatchLimits } from "../clients/watch-query.ts";
import type { ReachedLimits } from "../clients/reached.ts";
import type { WaitLimits } from "../clients/wait.ts";
import type { RequestTimes } from "../../lib/http/connections.ts";

export interface Limits {
  /** Bytes of a request body, as it comes and inflated. */
  readonly bodyBytes?: number;
  /** Bytes of path and query. */
  readonly urlBytes?: number;
  /** Items of one bulk request. */
  readonly bulkItems?: number;
  /** Longest page of a list; 0: no limit. */
  readonly pageMax?: number;
  /** Lists of thousands of rows that are worked on at once, and that may wait for it; beyond, 503. */
  readonly longLists?: number;
  readonly longListsWaiting?: number;
  /** A client that takes nothing of a long list for so long is cut off. */
  readonly stallMs?: number;
  readonly times?: RequestTimes;
  /** Connections at a time. */
  readonly connections?: number;
  /** Answers that wait for switches. */
  readonly waits?: WaitLimits;
  /** Requests that wait for what other controllers wrote. */
  readonly reached?: ReachedLimits;
  readonly watches?: Partial<WatchLimits>;
}
