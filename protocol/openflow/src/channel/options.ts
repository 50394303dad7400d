// What a connection, a bundle and a request on it are made with; what they do is connection.ts.

import type { OpenFlowError } from "../wire/errors.ts";

export interface ConnectionOptions {
  /** Milliseconds of silence after which an echo request is sent. */
  readonly echoIntervalMs?: number;
  /** Milliseconds of silence after which the peer counts as dead. */
  readonly echoTimeoutMs?: number;
  /** Bytes that may wait in the socket; more closes the connection. */
  readonly maxQueuedBytes?: number;
  readonly helloTimeoutMs?: number;
  /** Milliseconds without (a further part of) a reply until request() rejects. */
  readonly requestTimeoutMs?: number;
  /** Bytes and parts that one multipart reply may take; more closes the connection. A request may say otherwise of its own. */
  readonly maxReplyBytes?: number;
  readonly maxReplyParts?: number;
  /** Milliseconds that all parts of one reply may take. */
  readonly replyTimeoutMs?: number;
  /** Milliseconds in which the peer has to take something of what waits to be sent. */
  readonly writeTimeoutMs?: number;
  /** Messages that are taken in a second, and how many at once before that counts; more wait in the peer. Default: no limit. */
  readonly messagesPerSecond?: number;
  readonly messageBurst?: number;
}

/** What one reply may be, where it is not as the connection's options say. */
export interface ReplyLimits {
  readonly maxBytes?: number;
  readonly maxParts?: number;
  readonly totalTimeoutMs?: number;
}

export interface BundleOptions {
  /** Milliseconds for the switch to commit. */
  readonly timeoutMs?: number;
  /**
   * Called for each message that the switch refuses, with its position in `index`. With it the rest is added even so, to learn of
   * all that are refused when they are added; nothing is applied then. What only the commit refuses comes one at a time.
   */
  readonly onRefused?: (error: OpenFlowError) => void;
  /** Called when all has been added and nothing was refused: what it sends arrives right before the commit, with nothing in between. */
  readonly beforeCommit?: (() => void) | undefined;
}
