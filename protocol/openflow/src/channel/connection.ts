// One OpenFlow channel over a TCP or TLS socket (or any stream socket): hello, echo, xids, barriers, bundles, backpressure.
// Whatever the peer does ends in a message, an event or "close" with one OpenFlowError; nothing is thrown from the socket.
//
// Sending never queues without bound: what exceeds maxQueuedBytes closes the connection. Senders of much data await
// drained() now and then; bundle() does so itself.
//
// Over 400 lines: one state machine, from handshake to close, whose parts share the pending requests and the socket.

import { EventEmitter } from "node:events";
import type { Socket } from "node:net";

import { OpenFlowError } from "../wire/errors.ts";
import { MAX_MESSAGE, OFP_VERSION } from "../messages/flow-mod.ts";
import { Framer } from "./frame.ts";
import { peerError } from "./peer-error.ts";
import type { BundleOptions, ConnectionOptions, ReplyLimits } from "./options.ts";
import {
  decodeMessage, encodeMessage, joinReplies, REPLY_MORE, type Decoded, type Message, type MessageOf, type MultipartKind, type MultipartReply,
  type MultipartReplyOf,
} from "../messages/codec.ts";
import { writeU16, writeU32 } from "../match/value.ts";

export type { BundleOptions, ConnectionOptions, ReplyLimits } from "./options.ts";
/** A complete OpenFlow message within a buffer. Its xid is of no account. */
export interface Slice {
  readonly buf: Buffer;
  readonly off: number;
  readonly len: number;
}

export type Features = Decoded<MessageOf<"features_reply">>;
export type PacketInMessage = Decoded<MessageOf<"packet_in"> | MessageOf<"nxt_packet_in"> | MessageOf<"nxt_packet_in2">>;

interface ConnectionEvents {
  packet_in: [PacketInMessage];
  port_status: [Decoded<MessageOf<"port_status">>];
  flow_removed: [Decoded<MessageOf<"flow_removed">>];
  /** An error that answers no pending request. */
  error_message: [Decoded<MessageOf<"error">>];
  /** Anything else that answers no request. */
  message: [Decoded];
  /** A message that could not be decoded, and was not the reply to a request; its bytes are good during the event only. The stream goes on. */
  undecodable: [OpenFlowError, Buffer];
  /** It sends more than `messagesPerSecond`; what is too much is read later. Comes again and again while that is so. */
  throttled: [];
  /** The end, once. */
  close: [OpenFlowError];
}

/** What request() of a message resolves with: its reply, or the barrier reply after a message that has none. */
export type ReplyTo<M extends Message> = M extends { type: "multipart_request"; kind: infer K extends MultipartKind } ? Decoded<MultipartReplyOf<K>>
  : M extends { type: "features_request" } ? Features
  : M extends { type: "get_config_request" } ? Decoded<MessageOf<"get_config_reply">>
  : M extends { type: "role_request" } ? Decoded<MessageOf<"role_reply">>
  : M extends { type: "get_async_request" } ? Decoded<MessageOf<"get_async_reply">>
  : M extends { type: "queue_get_config_request" } ? Decoded<MessageOf<"queue_get_config_reply">>
  : M extends { type: "echo_request" } ? Decoded<MessageOf<"echo_reply">>
  : M extends { type: "bundle_control" } ? Decoded<MessageOf<"bundle_control">>
  : M extends { type: "tlv_table_request" } ? Decoded<MessageOf<"tlv_table_reply">>
  : M extends { type: "nxt_role_request" } ? Decoded<MessageOf<"nxt_role_reply">>
  : M extends { type: "experimenter" } ? Decoded
  : Decoded<MessageOf<"barrier_reply">>;

const UNDECODABLE: ReadonlySet<string> = new Set(["OF_TRUNCATED", "OF_MALFORMED", "OF_VERSION"]);

interface Pending {
  /** Message type byte of the reply. */
  readonly code: number;
  readonly timeoutMs: number;
  readonly onPart: ((frame: Buffer) => void) | undefined;
  readonly resolve: (reply: Decoded) => void;
  readonly reject: (error: OpenFlowError) => void;
  timer: NodeJS.Timeout | undefined;
  joined: Decoded<MultipartReply> | undefined;
  bytes: number;
  parts: number;
  readonly since: number;
  readonly limits: Required<ReplyLimits>;
}

const HELLO = 0;
const ERROR = 1;
const ECHO_REQUEST = 2;
const ECHO_REPLY = 3;
const EXPERIMENTER = 4;
const MULTIPART_REPLY = 19;
const BARRIER_REPLY = 21;
/** Reply code of each request that has one. */
const REPLIES: Readonly<Partial<Record<Message["type"], number>>> = {
  echo_request: ECHO_REPLY, features_request: 6, get_config_request: 8, multipart_request: MULTIPART_REPLY, barrier_request: BARRIER_REPLY,
  queue_get_config_request: 23, role_request: 25, get_async_request: 27, bundle_control: EXPERIMENTER, tlv_table_request: EXPERIMENTER,
  nxt_role_request: EXPERIMENTER, experimenter: EXPERIMENTER,
};

const BUNDLE_FLAGS = 3; // atomic, ordered
const BUNDLE_HEADER = 24;
const CHUNK = 256 * 1024;
/** What is taken of one peer before others have their turn. */
const FRAMES_A_SLICE = 256, BYTES_A_SLICE = 32 * 1024;
const MAX_ECHO_BYTES = 1024 * 1024; // of answers, unread
const THROTTLE_STEP = 128; // messages
/** Xids of messages in bundles have the high bit, so that they are consecutive whatever else is sent meanwhile. */
const BUNDLE_XIDS = 0x80000000;

interface OpenBundle {
  /** Index of the first message with an xid of its own, and how many were added. */
  readonly base: number;
  count: number;
  refused: OpenFlowError | undefined;
  /** Why the switch has not opened it: nothing in it can come to anything then. */
  unopened: OpenFlowError | undefined;
  readonly onRefused: ((error: OpenFlowError) => void) | undefined;
}

export class OpenFlowConnection extends EventEmitter<ConnectionEvents> {
  readonly socket: Socket;
  /** Set by handshake(). */
  features: Features | undefined;

  private readonly options: Required<ConnectionOptions>;
  private readonly framer = new Framer();
  private readonly pending = new Map<number, Pending>();
  private nextXid = 1;
  private nextBundleXid = 0;
  private nextBundleId = 1;
  private bundleTail: Promise<unknown> = Promise.resolve();
  private bundle_: OpenBundle | undefined;
  private helloSeen = false;
  private onHello: (() => void) | undefined;
  private readonly whenDrained: (() => void)[] = [];
  private readonly whenClosed: (() => void)[] = [];
  private corked = false;
  private lastReceived = performance.now();
  private lastTick = performance.now();
  private readonly echoTimer: NodeJS.Timeout;
  private closeReason: OpenFlowError | undefined;
  /** Slices of work that were done for this peer, each in a turn of its own of the event loop. */
  slices = 0;
  private tokens: number;
  private tokensAt = performance.now();
  /** Echo answers that the peer has not taken yet, in bytes. */
  private echoBytes = 0;
  /** When the peer last took something of what was sent, or there was nothing to take. */
  private takenAt = performance.now();
  private readonly taken = (): void => void (this.takenAt = performance.now());

  constructor(socket: Socket, options: ConnectionOptions = {}) {
    super();
    this.socket = socket;
    this.options = {
      echoIntervalMs: options.echoIntervalMs ?? 5000,
      echoTimeoutMs: options.echoTimeoutMs ?? 15000,
      maxQueuedBytes: options.maxQueuedBytes ?? 64 * 1024 * 1024,
      helloTimeoutMs: options.helloTimeoutMs ?? 10000,
      requestTimeoutMs: options.requestTimeoutMs ?? 30000,
      maxReplyBytes: options.maxReplyBytes ?? 1024 * 1024 * 1024,
      maxReplyParts: options.maxReplyParts ?? 1024 * 1024,
      replyTimeoutMs: options.replyTimeoutMs ?? 600_000,
      writeTimeoutMs: options.writeTimeoutMs ?? 30_000,
      messagesPerSecond: options.messagesPerSecond ?? Infinity,
      messageBurst: options.messageBurst ?? 10 * (options.messagesPerSecond ?? Infinity),
    };
    this.tokens = this.options.messageBurst;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.received(chunk));
    socket.on("drain", () => this.drainedNow());
    socket.on("error", (cause) => this.close(new OpenFlowError("OF_SOCKET", `the connection failed: ${cause.message}`, { cause })));
    socket.on("end", () => this.close(new OpenFlowError("OF_CLOSED", "the peer closed the connection")));
    socket.on("close", () => this.close(new OpenFlowError("OF_CLOSED", "the connection was closed")));
    this.echoTimer = setInterval(() => this.tick(), this.options.echoIntervalMs);
    this.echoTimer.unref();
  }

  /** Why it is closed; undefined while it is open. */
  get closed(): OpenFlowError | undefined {
    return this.closeReason;
  }

  /** Bytes not yet handed to the operating system. */
  get queuedBytes(): number {
    return this.socket.writableLength;
  }

  /** Ends the connection. `reason` is what "close" and all pending requests get. */
  close(reason = new OpenFlowError("OF_CLOSED", "closed by this side")): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    clearInterval(this.echoTimer);
    // A last error message may still be on its way out, but the peer gets no say any more.
    this.socket.removeAllListeners("data");
    this.socket.destroySoon();
    setTimeout(() => this.socket.destroy(), 1000).unref();
    for (const [xid, entry] of this.pending) {
      clearTimeout(entry.timer);
      entry.reject(new OpenFlowError("OF_CLOSED", `the connection closed before the reply: ${reason.message}`, { xid, cause: reason }));
    }
    this.pending.clear();
    for (const wake of this.whenDrained.splice(0)) wake();
    for (const wake of this.whenClosed.splice(0)) wake();
    this.emit("close", reason);
  }

  // --- handshake ---

  /** Exchanges hellos and asks for features. On failure the connection is closed. */
  async handshake(): Promise<Features> {
    this.send({ type: "hello", elements: [{ type: 1, data: Uint8Array.of(0, 0, 0, 1 << OFP_VERSION) }] });
    if (!this.helloSeen) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => this.close(new OpenFlowError("OF_HELLO", "no hello in time")), this.options.helloTimeoutMs);
        const settle = (): void => {
          clearTimeout(timer);
          if (this.closeReason === undefined) resolve();
          else reject(this.closeReason);
        };
        this.onHello = settle;
        this.onceClosed(settle);
      });
    }
    try {
      this.features = await this.request({ type: "features_request" });
    } catch (error) {
      if (this.closeReason === undefined) this.close(error as OpenFlowError);
      throw error;
    }
    return this.features;
  }

  private hello(frame: Buffer): void {
    if (this.helloSeen) return;
    const message = decodeMessage(frame) as Decoded<MessageOf<"hello">>;
    const bitmap = message.elements.find((element) => element.type === 1)?.data;
    const agreed = bitmap !== undefined && bitmap.length >= 4 ? (bitmap[3]! & (1 << OFP_VERSION)) !== 0 : message.version >= OFP_VERSION;
    if (!agreed) {
      this.socket.write(encodeMessage({ type: "error", error_type: 0, code: 0, data: Buffer.from("only OpenFlow 1.3 is spoken here") }, message.xid));
      this.close(new OpenFlowError("OF_HELLO", `no common version: the peer's hello is of version ${message.version}`));
      return;
    }
    this.helloSeen = true;
    this.onHello?.();
  }

  // --- receiving ---

  private received(chunk: Buffer): void {
    this.lastReceived = performance.now();
    this.slice(chunk);
  }

  /** Takes some of what came; the socket is not read again before all of it is taken, in later turns of the event loop. */
  private slice(chunk: Buffer): void {
    this.slices++;
    let taken: number;
    try {
      taken = this.framer.push(chunk, this.frame, Math.min(FRAMES_A_SLICE, Math.max(1, this.tokensLeft())));
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error; // a listener's own fault
      this.close(error);
      return;
    }
    if (this.closeReason !== undefined) return;
    const rest = chunk.subarray(taken);
    const waitMs = this.throttleMs();
    if (rest.length === 0 && waitMs === 0 && chunk.length < BYTES_A_SLICE) {
      if (this.socket.isPaused()) this.socket.resume();
      return;
    }
    this.socket.pause();
    const next = (): void => {
      if (this.closeReason !== undefined) return;
      if (rest.length > 0) this.slice(rest);
      else this.socket.resume();
    };
    if (waitMs === 0) setImmediate(next);
    else {
      this.emit("throttled");
      setTimeout(next, waitMs).unref();
    }
  }

  private tokensLeft(): number {
    const { messagesPerSecond, messageBurst } = this.options;
    if (messagesPerSecond === Infinity) return Infinity;
    const now = performance.now();
    this.tokens = Math.min(messageBurst, this.tokens + ((now - this.tokensAt) * messagesPerSecond) / 1000);
    this.tokensAt = now;
    return Math.floor(this.tokens);
  }

  /** How long a peer that sends too much is not read. */
  private throttleMs(): number {
    if (this.options.messagesPerSecond === Infinity || this.tokensLeft() >= 1) return 0;
    return Math.ceil((Math.min(THROTTLE_STEP, this.options.messageBurst) * 1000) / this.options.messagesPerSecond);
  }

  private readonly frame = (frame: Buffer): void => {
    if (this.closeReason !== undefined) return;
    this.tokens--;
    const code = frame[1]!;
    const xid = frame.readUInt32BE(4);
    try {
      this.take(frame, code, xid);
    } catch (error) {
      // What was said is lost, but where the next message begins is known. Before a hello nothing is known of the peer.
      if (!(error instanceof OpenFlowError) || !UNDECODABLE.has(error.code) || !this.helloSeen) throw error;
      const entry = this.pending.get(xid);
      if (entry?.code === code) {
        this.settle(xid, entry);
        entry.reject(error);
      } else this.emit("undecodable", error, frame);
    }
  };

  private take(frame: Buffer, code: number, xid: number): void {
    if (!this.helloSeen && code > ECHO_REPLY) throw new OpenFlowError("OF_HELLO", `message type ${code} before hello`);
    switch (code) {
      case HELLO:
        this.hello(frame);
        return;
      case ERROR:
        this.error(decodeMessage(frame) as Decoded<MessageOf<"error">>);
        return;
      case ECHO_REQUEST: {
        const reply = Buffer.from(frame);
        reply[0] = OFP_VERSION;
        reply[1] = ECHO_REPLY;
        this.echoBytes += reply.length;
        if (this.echoBytes > MAX_ECHO_BYTES) {
          this.close(new OpenFlowError("OF_QUEUE_FULL", `the peer asks and does not read: ${this.echoBytes} bytes of echo replies wait`));
          this.socket.destroy();
          return;
        }
        this.write(reply, () => {
          this.echoBytes -= reply.length;
          this.taken();
        });
        return;
      }
      default:
        break;
    }
    const entry = this.pending.get(xid);
    if (entry?.code === code) {
      this.reply(xid, entry, frame);
      return;
    }
    if (code === MULTIPART_REPLY || code === BARRIER_REPLY || code === ECHO_REPLY) return; // late, doubled or never asked for
    const message = decodeMessage(frame);
    switch (message.type) {
      case "packet_in":
      case "nxt_packet_in":
      case "nxt_packet_in2":
        this.emit("packet_in", message);
        return;
      case "port_status":
        this.emit("port_status", message);
        return;
      case "flow_removed":
        this.emit("flow_removed", message);
        return;
      default:
        this.emit("message", message);
    }
  }

  private reply(xid: number, entry: Pending, frame: Buffer): void {
    if (entry.code === MULTIPART_REPLY) {
      if (frame.length < 16) throw new OpenFlowError("OF_TRUNCATED", "multipart reply ends early", { offset: frame.length });
      const more = (frame.readUInt16BE(10) & REPLY_MORE) !== 0;
      entry.bytes += frame.length;
      entry.parts++;
      const { maxBytes, maxParts, totalTimeoutMs } = entry.limits;
      if (entry.bytes > maxBytes || entry.parts > maxParts) {
        this.close(new OpenFlowError("OF_LIMIT", `a reply of more than ${entry.bytes > maxBytes ? `${maxBytes} bytes` : `${maxParts} parts`}`));
        this.socket.destroy(); // nothing of what still comes is wanted
        return;
      }
      if (more && performance.now() - entry.since > totalTimeoutMs) {
        this.settle(xid, entry);
        entry.reject(new OpenFlowError("OF_TIMEOUT", `a reply that is not complete after ${totalTimeoutMs} ms`, { xid }));
        return;
      }
      if (entry.onPart !== undefined) {
        try {
          entry.onPart(frame);
        } catch (error) {
          this.settle(xid, entry);
          entry.reject(error as OpenFlowError);
          return;
        }
      } else {
        const part = decodeMessage(frame) as Decoded<MultipartReply>;
        if (entry.joined === undefined) entry.joined = part;
        else {
          if (part.kind !== entry.joined.kind) throw new OpenFlowError("OF_MALFORMED", `a part of kind ${part.kind} in a reply of kind ${entry.joined.kind}`, { offset: 8 });
          joinReplies(entry.joined, part);
        }
      }
      if (more) {
        entry.timer?.refresh();
        return;
      }
      this.settle(xid, entry);
      entry.resolve(entry.joined ?? (undefined as unknown as Decoded));
      return;
    }
    const message = decodeMessage(frame);
    this.settle(xid, entry);
    entry.resolve(message);
  }

  private settle(xid: number, entry: Pending): void {
    clearTimeout(entry.timer);
    this.pending.delete(xid);
  }

  private error(message: Decoded<MessageOf<"error">>): void {
    const { xid } = message;
    const bundle = this.bundle_;
    if (bundle !== undefined && xid >= BUNDLE_XIDS) {
      const index = ((xid - BUNDLE_XIDS - bundle.base) & 0x7fffffff) >>> 0;
      if (index < bundle.count) {
        const error = peerError(message, index);
        bundle.refused ??= error;
        bundle.onRefused?.(error);
        return;
      }
    }
    const entry = this.pending.get(xid);
    if (entry !== undefined) {
      this.settle(xid, entry);
      entry.reject(peerError(message));
    } else if (!this.helloSeen) {
      this.close(peerError(message));
    } else {
      this.emit("error_message", message);
    }
  }

  private tick(): void {
    const now = performance.now();
    // When this process itself stood still, what the peer sent meanwhile has not been read yet: that time does not count.
    const late = now - this.lastTick - this.options.echoIntervalMs;
    this.lastTick = now;
    if (late > this.options.echoIntervalMs / 2) this.lastReceived += late;
    const silence = now - this.lastReceived;
    if (late > this.options.echoIntervalMs / 2) this.takenAt += late;
    const unread = this.socket.writableLength > 0 ? performance.now() - this.takenAt : 0;
    if (unread >= this.options.writeTimeoutMs) {
      this.close(new OpenFlowError("OF_QUEUE_FULL", `the peer has read nothing for ${Math.round(unread)} ms: ${this.socket.writableLength} bytes wait to be sent`));
      this.socket.destroy();
      return;
    }
    if (silence >= this.options.echoTimeoutMs) {
      this.close(new OpenFlowError("OF_DEAD_PEER", `nothing received for ${Math.round(silence)} ms`));
    } else if (silence >= this.options.echoIntervalMs * 0.9 && this.helloSeen) {
      this.write(encodeMessage({ type: "echo_request" }, this.xid()));
    }
  }

  // --- sending ---

  /** The xid for the next message. */
  private xid(): number {
    const xid = this.nextXid;
    this.nextXid = xid === 0x7fffffff ? 1 : xid + 1;
    return xid;
  }

  /** Sends and returns the xid; an error in return comes as "error_message". @throws OpenFlowError when closed */
  send(message: Message): number {
    const xid = this.xid();
    this.sendRaw(encodeMessage(message, xid));
    return xid;
  }

  /** Sends complete messages as they are. The buffer must not change until it is drained. @throws OpenFlowError when closed */
  sendRaw(buf: Buffer): void {
    if (this.closeReason !== undefined) throw this.closedError();
    this.write(buf);
    if (this.closeReason !== undefined) throw this.closedError();
  }

  private closedError(): OpenFlowError {
    return new OpenFlowError("OF_CLOSED", `the connection is closed: ${this.closeReason!.message}`, { cause: this.closeReason });
  }

  private write(buf: Buffer, taken = this.taken): void {
    if (this.closeReason !== undefined) return;
    if (this.socket.writableLength === 0) this.taken();
    if (this.socket.writableLength + buf.length > this.options.maxQueuedBytes) {
      this.close(new OpenFlowError("OF_QUEUE_FULL", `the peer reads too slowly: ${this.socket.writableLength} bytes wait to be sent`));
      this.socket.destroy();
      return;
    }
    // What is sent in one turn of the event loop leaves in one system call.
    if (!this.corked) {
      this.corked = true;
      this.socket.cork();
      process.nextTick(() => {
        this.corked = false;
        this.socket.uncork();
      });
    }
    this.socket.write(buf, taken);
  }

  /** Resolves when little is left to send, or the connection is closed. */
  drained(): Promise<void> {
    if (this.closeReason !== undefined || this.socket.writableLength <= this.socket.writableHighWaterMark) return Promise.resolve();
    return new Promise((resolve) => this.whenDrained.push(resolve));
  }

  private drainedNow(): void {
    for (const wake of this.whenDrained.splice(0)) wake();
  }

  private onceClosed(wake: () => void): void {
    if (this.closeReason !== undefined) wake();
    else this.whenClosed.push(wake);
  }

  /**
   * Sends and awaits the reply, all parts of it joined. A message that has no reply is followed by a barrier, and
   * resolves with that barrier's reply. Rejects with OpenFlowError: OF_PEER_ERROR, OF_TIMEOUT, OF_CLOSED. `limits`: of its reply.
   */
  request<const M extends Message>(message: M, timeoutMs = this.options.requestTimeoutMs, limits?: ReplyLimits): Promise<ReplyTo<M>> {
    const code = REPLIES[message.type];
    if (code !== undefined) return this.ask(message, code, timeoutMs, undefined, limits) as unknown as Promise<ReplyTo<M>>;
    return new Promise<Decoded>((resolve, reject) => {
      // Refusals of the message come under its own xid, before the barrier's reply.
      const xid = this.xid();
      const bytes = encodeMessage(message, xid);
      const entry: Pending = { code: -1, timeoutMs, onPart: undefined, resolve, reject, timer: undefined, joined: undefined, bytes: 0, parts: 0, since: performance.now(), limits: this.replyLimits() };
      this.sendRaw(bytes);
      this.pending.set(xid, entry);
      this.ask({ type: "barrier_request" }, BARRIER_REPLY, timeoutMs, undefined).then(resolve, reject).finally(() => this.pending.delete(xid)).catch(() => undefined);
    }) as unknown as Promise<ReplyTo<M>>;
  }

  /** Hands over each part of a multipart reply as it came, without decoding it. What onPart throws rejects the promise. */
  async requestRaw(message: MessageOf<"multipart_request">, onPart: (replyBuf: Buffer) => void, timeoutMs = this.options.requestTimeoutMs, limits: ReplyLimits = {}): Promise<void> {
    await this.ask(message, MULTIPART_REPLY, timeoutMs, onPart, limits);
  }

  private replyLimits({ maxBytes, maxParts, totalTimeoutMs }: ReplyLimits = {}): Required<ReplyLimits> {
    const { maxReplyBytes, maxReplyParts, replyTimeoutMs } = this.options;
    return { maxBytes: maxBytes ?? maxReplyBytes, maxParts: maxParts ?? maxReplyParts, totalTimeoutMs: totalTimeoutMs ?? replyTimeoutMs };
  }

  /** Resolves when the switch has done everything sent before. */
  async barrier(timeoutMs = this.options.requestTimeoutMs): Promise<void> {
    await this.ask({ type: "barrier_request" }, BARRIER_REPLY, timeoutMs, undefined);
  }

  private ask(message: Message, code: number, timeoutMs: number, onPart: ((frame: Buffer) => void) | undefined, limits?: ReplyLimits): Promise<Decoded> {
    return new Promise((resolve, reject) => {
      const xid = this.xid();
      this.sendRaw(encodeMessage(message, xid));
      const entry: Pending = { code, timeoutMs, onPart, resolve, reject, timer: undefined, joined: undefined, bytes: 0, parts: 0, since: performance.now(), limits: this.replyLimits(limits) };
      entry.timer = setTimeout(() => {
        this.pending.delete(xid);
        reject(new OpenFlowError("OF_TIMEOUT", `no reply to ${message.type} within ${timeoutMs} ms`, { xid }));
      }, timeoutMs);
      this.pending.set(xid, entry);
    });
  }

  // --- bundles ---

  /**
   * Applies messages as one: all or none, in order. Each is a complete message; its xid is replaced. Bundles of one
   * connection run one after the other. Rejects with the error of the first message that the switch refused, its
   * position in `index`; then nothing has been applied.
   */
  bundle(messages: Iterable<Slice | Buffer> | AsyncIterable<Slice | Buffer>, options: BundleOptions = {}): Promise<void> {
    const run = this.bundleTail.then(() => this.runBundle(messages, options.timeoutMs ?? 60_000, options));
    this.bundleTail = run.catch(() => undefined);
    return run;
  }

  private async runBundle(messages: Iterable<Slice | Buffer> | AsyncIterable<Slice | Buffer>, timeoutMs: number, { onRefused, beforeCommit }: BundleOptions): Promise<void> {
    const id = this.nextBundleId;
    this.nextBundleId = id === 0xffffffff ? 1 : id + 1;
    const bundle: OpenBundle = { base: this.nextBundleXid, count: 0, refused: undefined, unopened: undefined, onRefused };
    this.bundle_ = bundle;
    const control = (ctrl_type: "open_request" | "close_request" | "commit_request" | "discard_request"): Promise<unknown> =>
      this.request({ type: "bundle_control", bundle_id: id, ctrl_type, flags: BUNDLE_FLAGS }, timeoutMs);
    let opened = false;
    try {
      const opening = control("open_request").then(() => undefined, (error: unknown) => {
        bundle.unopened = error as OpenFlowError;
        // One that did not answer may have opened it all the same.
        if (bundle.unopened.code === "OF_PEER_ERROR") bundle.unopened.unopened = true;
      });
      opened = true;
      await this.writeBundle(id, bundle, messages, opening);
      await opening;
      if (bundle.unopened !== undefined) throw bundle.unopened;
      // A message that could not be added would merely be missing from the commit, so learn of that first.
      await control("close_request");
      if (bundle.refused !== undefined) throw bundle.refused;
      beforeCommit?.();
      opened = false; // a commit ends the bundle, well or not
      await control("commit_request");
      if (bundle.refused !== undefined) throw bundle.refused as OpenFlowError;
    } catch (error) {
      if (opened && bundle.unopened?.unopened !== true && this.closeReason === undefined) await control("discard_request").catch(() => undefined);
      throw bundle.unopened ?? bundle.refused ?? error;
    } finally {
      this.nextBundleXid = (this.nextBundleXid + bundle.count) & 0x7fffffff;
      this.bundle_ = undefined;
    }
  }

  private async writeBundle(id: number, bundle: OpenBundle, messages: Iterable<Slice | Buffer> | AsyncIterable<Slice | Buffer>, opening: Promise<void>): Promise<void> {
    const over = (): boolean => bundle.unopened !== undefined || (bundle.refused !== undefined && bundle.onRefused === undefined);
    let chunk = Buffer.allocUnsafe(16 * 1024);
    let used = 0;
    let before: Promise<void> = Promise.resolve();
    // Two chunks under way: one being written, one being filled.
    const flush = async (): Promise<void> => {
      if (used === 0) return;
      const writing = this.writeChunk(chunk.subarray(0, used));
      await before;
      before = writing;
      chunk = Buffer.allocUnsafe(CHUNK);
      used = 0;
      // A switch that opens no bundle is sent no more than the first chunk of it. Others have their turn after each: writing what is taken at once waits for nothing.
      await opening;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.closeReason !== undefined) throw this.closedError();
    };
    const add = (buf: Buffer, off: number, len: number): void => {
      const index = bundle.count++;
      const xid = (BUNDLE_XIDS + ((bundle.base + index) & 0x7fffffff)) >>> 0;
      chunk[used] = OFP_VERSION;
      chunk[used + 1] = EXPERIMENTER;
      writeU16(chunk, used + 2, BUNDLE_HEADER + len);
      writeU32(chunk, used + 4, xid);
      writeU32(chunk, used + 8, 0x4f4e4600);
      writeU32(chunk, used + 12, 2301);
      writeU32(chunk, used + 16, id);
      writeU32(chunk, used + 20, BUNDLE_FLAGS);
      buf.copy(chunk, used + BUNDLE_HEADER, off, off + len);
      writeU32(chunk, used + BUNDLE_HEADER + 4, xid);
      used += BUNDLE_HEADER + len;
    };
    const next = (item: Slice | Buffer): Promise<void> | undefined => {
      const buf = Buffer.isBuffer(item) ? item : item.buf;
      const off = Buffer.isBuffer(item) ? 0 : item.off;
      const len = Buffer.isBuffer(item) ? item.length : item.len;
      if (len < 8 || off + len > buf.length || len + BUNDLE_HEADER > MAX_MESSAGE) {
        throw new OpenFlowError("OF_VALUE", `message ${bundle.count} of the bundle has ${len} bytes; it may have 8 to ${MAX_MESSAGE - BUNDLE_HEADER}`, { index: bundle.count });
      }
      if (used + BUNDLE_HEADER + len > chunk.length) {
        return flush().then(() => {
          if (over()) return;
          if (used + BUNDLE_HEADER + len > chunk.length) chunk = Buffer.allocUnsafe(CHUNK);
          add(buf, off, len);
        });
      }
      add(buf, off, len);
      return undefined;
    };
    if (Symbol.asyncIterator in messages) {
      for await (const item of messages) {
        if (over()) break;
        await next(item);
      }
    } else {
      for (const item of messages) {
        const wait = next(item);
        if (wait === undefined) continue;
        await wait;
        if (over()) break;
      }
    }
    if (used > 0 && !over()) before = Promise.all([before, this.writeChunk(chunk.subarray(0, used))]).then(() => undefined);
    await before;
    if (this.closeReason !== undefined) throw this.closedError();
  }

  /** Resolves when the operating system has taken it, or the connection is closed. */
  private writeChunk(chunk: Buffer): Promise<void> {
    if (this.closeReason !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      if (this.socket.writableLength === 0) this.taken();
      this.socket.write(chunk, () => {
        this.taken();
        resolve();
      }); // called with an error when the socket is destroyed
    });
  }
}
