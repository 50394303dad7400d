/** What a session is made with, what a transaction on it may be given and the events it tells of. What it does is session.ts. */

import type { Duplex } from "node:stream";

import type { Json } from "../wire/json.ts";

export interface SessionOptions {
  /** Silence from the peer, in ms, after which it is asked for a sign of life; 0 = never. Default 5000. */
  readonly echoIntervalMs?: number | undefined;
  /** Further silence, in ms, after which the peer counts as dead. Default 5000. */
  readonly echoTimeoutMs?: number | undefined;
  /** Longest message accepted, in bytes. Default 64 MiB. */
  readonly maxMessageBytes?: number | undefined;
  /** Of a message longer than 64 KiB: members of one object or elements of one array, and values in all. Default: no limit. */
  readonly maxElements?: number | undefined;
  readonly maxValues?: number | undefined;
  /** Longest schema that is read, in bytes. Default: that of a message. */
  readonly maxSchemaBytes?: number | undefined;
  /** Asked for room for messages that are being received or read, with others: `giveUp` ends the session on `socket`. Default: there is room. */
  readonly room?: { open(giveUp: () => void, socket: Duplex): { set(bytes: number): boolean; end(): void } } | undefined;
  /** Bytes that may wait to be sent; a request beyond is refused with "queue full". Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
  /**
   * Told of each piece of work, some milliseconds at most, on what came from `socket`: runs it, now or later, each once and those of one socket in order. The
   * socket is not read meanwhile. Default: at once when bytes come, then in the next turns of the event loop.
   */
  readonly turns?: { take(piece: () => void, socket: Duplex): void } | undefined;
  /** Messages and bytes that are taken in a second, and how much at once before that counts; the rest waits in the peer. Default: no limit. */
  readonly rate?: { readonly messages: number; readonly messageBurst: number; readonly bytes: number; readonly byteBurst: number } | undefined;
}

export interface SessionEvents {
  /** Once, at the end; undefined when close() was called here. */
  close: [reason: Error | undefined];
  /** A lock that was waited for is this session's now. RFC 7047 section 4.1.9 */
  locked: [lock: string];
  /** Another client took a lock of this session; it comes back with "locked" when that one lets go. RFC 7047 section 4.1.10 */
  stolen: [lock: string];
  /** The peer sends more than `rate`; what is too much is read later. Comes again and again while that is so. */
  throttled: [];
  /** A notification of a kind not known here. */
  notification: [method: string, params: readonly Json[]];
}

export interface TransactOptions {
  /** Aborting it cancels the transaction (RFC 7047 section 4.1.4): it rejects with "canceled", unless its result came first. */
  readonly signal?: AbortSignal | undefined;
}
