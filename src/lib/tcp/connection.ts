// One TCP connection, from the SYN that a peer sent to its end: in-order data both ways, retransmission, windows, time limits. A state machine without
// I/O: segments, calls of the application and a clock in; segments and events out. RFC 9293; RFC 6298 for the time-out, RFC 5681 for congestion,
// RFC 5961 for what strangers send blindly. No options but the MSS: who is served sends and asks little.
// Over 400 lines: one state machine, every part of which reads and changes the same few numbers.
import { tcpFlags } from "packet-codec";
import type { Cancel } from "../clock.ts";
import { Outgoing } from "./outgoing.ts";
import { advanced, distance, has, lengthOf, resetFor, type Segment } from "./segment.ts";

/** Of a clock what connections need. */
export interface TcpClock {
  monotonic(): number;
  setTimeout(fn: () => void, ms: number): Cancel;
}

/** What the application, and what carries segments, are told. */
export interface TcpEvents {
  transmit(segment: Segment): void;
  /** The peer has answered: it is where it says. */
  opened(): void;
  /** In order, each byte once; `consumed` says that they are read. */
  data(chunk: Buffer): void;
  /** The peer writes no more. */
  ended(): void;
  /** Less is waiting than before: what was written is acknowledged. */
  drained(): void;
  /** Nothing comes or goes any more. Without a reason: both sides ended in order. */
  closed(reason: "reset" | "timeout" | "aborted" | undefined): void;
}

export interface TcpTimes {
  /** For the first answer of the peer, and for what was sent to be acknowledged or room for it to be offered. */
  readonly openMs: number;
  readonly progressMs: number;
  /** In which nothing is heard, and in all. */
  readonly idleMs: number;
  readonly lifeMs: number;
  /** For the peer's end, after ours. */
  readonly endMs: number;
}
export const TCP_TIMES: TcpTimes = { openMs: 10_000, progressMs: 60_000, idleMs: 75_000, lifeMs: 600_000, endMs: 15_000 };

/** Bytes of the peer that wait to be read. */
export const RECEIVE_WINDOW = 16_384;
/** RFC 6298: before anything is measured; at least; at most. The least is that of most: the way is one switch. */
const RTO_FIRST_MS = 1000;
const RTO_MIN_MS = 200;
const RTO_MAX_MS = 4000;
/** Segments on their way: at the beginning, and at most. */
const WINDOW_FIRST = 4;
const WINDOW_MAX = 16;
const DUPLICATES = 3;
/** How long a connection that was ended here first answers late segments: a few retransmissions of the peer. */
const TIME_WAIT_MS = 5000;

const none = Buffer.alloc(0);

export class TcpConnection {
  private readonly clock: TcpClock;
  private readonly events: TcpEvents;
  private readonly times: TcpTimes;
  /** Largest payload of a segment that the peer takes. */
  private readonly mss: number;
  private readonly ownMss: number;
  private state: "opening" | "open" | "time-wait" | "closed" = "opening";

  private readonly outgoing = new Outgoing();
  /** SND.UNA, SND.NXT and SND.WND of RFC 9293 section 3.3.1; sndMax is beyond the last that was ever sent. */
  private sndUna: number;
  private sndNxt: number;
  private sndWnd: number;
  private sndMax: number;
  /** SND.WL1 and SND.WL2: sequence number and acknowledgement of the segment by which the window was last told. Later ones count. */
  private sndWl1: number;
  private sndWl2: number;
  private ending = false;
  private endAcked = false;
  private synAcked = false;

  /** Bytes. RFC 5681 section 2 */
  private cwnd: number;
  private ssthresh: number;
  private duplicates = 0;
  /** Until this is acknowledged, what is missing is sent again at once. RFC 6582 section 3.2 */
  private recover: number | undefined;
  /** RFC 6298 section 2. */
  private rtoMs = RTO_FIRST_MS;
  private srttMs: number | undefined;
  private rttvarMs = 0;
  /** What is measured: acknowledged when this is, sent then; never something that was sent twice. RFC 6298 section 3 */
  private timed: { readonly seq: number; readonly atMs: number } | undefined;
  private progressAtMs: number;

  private readonly irs: number;
  private rcvNxt: number;
  private unread = 0;
  /** The window as it was last told. */
  private advertised = RECEIVE_WINDOW;
  private peerEnded = false;
  private ackDue = false;

  private readonly startedAtMs: number;
  private heardAtMs: number;
  private timer: Cancel | undefined;
  private watch: Cancel | undefined;

  /** `iss`: nobody can guess it. `mss`: what is told to the peer; `mssOfPeer`: what it takes if it does not say. */
  constructor(options: { readonly clock: TcpClock; readonly events: TcpEvents; readonly iss: number; readonly mss: number; readonly mssOfPeer: number; readonly times?: TcpTimes }, syn: Segment) {
    const { clock, events, iss, mss, mssOfPeer, times = TCP_TIMES } = options;
    this.clock = clock;
    this.events = events;
    this.times = times;
    this.ownMss = mss;
    // An MSS so small that headers are most of what is sent is nobody's.
    this.mss = Math.min(Math.max(syn.mss ?? mssOfPeer, 216), mss);
    this.sndUna = iss;
    this.sndNxt = this.sndMax = advanced(iss, 1);
    this.sndWnd = syn.window;
    this.sndWl1 = syn.seq;
    this.sndWl2 = iss;
    this.cwnd = WINDOW_FIRST * this.mss;
    this.ssthresh = WINDOW_MAX * this.mss;
    this.irs = syn.seq;
    this.rcvNxt = advanced(syn.seq, 1);
    this.startedAtMs = this.heardAtMs = this.progressAtMs = clock.monotonic();
    this.timed = { seq: this.sndNxt, atMs: this.startedAtMs };
    this.answerSyn();
    this.arm();
    this.guard();
  }

  get phase(): "opening" | "open" | "time-wait" | "closed" {
    return this.state;
  }
  /** Bytes that are written and not acknowledged. */
  get waiting(): number {
    return this.outgoing.length;
  }
  /** Whether a SYN is of a new connection between the same ends: this one is as good as over. RFC 9293 section 3.10.7.4 */
  isSucceededBy(syn: Segment): boolean {
    return this.state === "time-wait" && distance(this.rcvNxt, syn.seq) > 0;
  }

  /** What is kept until it is acknowledged; the caller does not change it any more. */
  write(chunk: Buffer): void {
    if (this.state === "closed" || this.ending) return;
    if (this.idleOut()) this.progressAtMs = this.clock.monotonic();
    this.outgoing.push(chunk);
    this.transmit();
  }
  /** Nothing is written any more. */
  end(): void {
    if (this.state === "closed" || this.ending) return;
    if (this.idleOut()) this.progressAtMs = this.clock.monotonic();
    this.ending = true;
    this.transmit();
  }
  /** Ends it at once, and tells the peer so. */
  abort(): void {
    this.fail("aborted");
  }
  /** So many bytes of what came were read. */
  consumed(count: number): void {
    this.unread -= count;
    // Not before there is room for something: no window is told in crumbs. RFC 9293 section 3.8.6.2.2
    if (this.state === "open" && this.advertised < this.ownMss && this.window() >= Math.min(2 * this.ownMss, RECEIVE_WINDOW / 2)) this.emit(none, 0);
  }

  take(segment: Segment): void {
    if (this.state === "closed") return;
    this.ackDue = false;
    const opening = this.state === "opening";
    if (!(opening ? this.opens(segment) : this.isAcceptable(segment))) return;
    this.heardAtMs = this.clock.monotonic();
    if (!this.acknowledge(segment)) return;
    if (opening) this.events.opened();
    this.receive(segment);
    this.transmit();
    if (this.ackDue && !this.isClosed()) this.emit(none, 0);
  }

  private isClosed(): boolean {
    return this.state === "closed";
  }
  /** Whether a segment is the peer's answer to ours, by which the connection is open. */
  private opens(segment: Segment): boolean {
    if (has(segment, "rst")) {
      if (segment.seq === this.rcvNxt) this.finish("reset");
      return false;
    }
    if (has(segment, "syn")) {
      if (segment.seq === this.irs) this.answerSyn();
      else this.emit(none, 0);
      return false;
    }
    if (!has(segment, "ack")) return false;
    if (segment.ack !== this.sndMax) {
      const reset = resetFor(segment);
      if (reset !== undefined) this.events.transmit(reset);
      return false;
    }
    if (!this.isAcceptable(segment)) return false;
    this.state = "open";
    this.sndWnd = segment.window;
    return true;
  }

  /** Whether a segment is of this connection and of now; what is not is answered with where we are. RFC 9293 section 3.10.7.4, RFC 5961 sections 3 and 4 */
  private isAcceptable(segment: Segment): boolean {
    const offset = distance(this.rcvNxt, segment.seq);
    const window = this.window();
    if (has(segment, "rst")) {
      if (offset === 0) this.finish("reset");
      else if (offset > 0 && offset < window) this.emit(none, 0);
      return false;
    }
    const length = lengthOf(segment);
    const inside = (at: number): boolean => at >= 0 && at < window;
    const fits = length === 0 ? offset === 0 || inside(offset) : window > 0 && (inside(offset) || inside(offset + length - 1));
    // A peer that probes a closed window is acknowledged, and its own acknowledgement counts.
    const probes = length > 0 && window === 0 && offset === 0;
    if (has(segment, "syn") || !(fits || probes)) {
      this.emit(none, 0);
      return false;
    }
    return has(segment, "ack");
  }

  /** What the peer has of ours. false: it has what we never sent, or all there was, and nothing follows. */
  private acknowledge(segment: Segment): boolean {
    const acked = distance(this.sndUna, segment.ack);
    if (acked > distance(this.sndUna, this.sndMax)) {
      this.emit(none, 0);
      return false;
    }
    if (acked < 0) return true;
    const sameWindow = segment.window === this.sndWnd;
    const newer = distance(this.sndWl1, segment.seq);
    if (newer > 0 || (newer === 0 && distance(this.sndWl2, segment.ack) >= 0)) {
      this.sndWnd = segment.window;
      this.sndWl1 = segment.seq;
      this.sndWl2 = segment.ack;
    }
    if (acked > 0) this.advance(acked);
    else if (lengthOf(segment) === 0 && sameWindow && this.sndNxt !== this.sndUna) this.duplicate();
    return !this.isClosed();
  }

  private advance(acked: number): void {
    const beyondSyn = this.synAcked ? acked : acked - 1;
    this.synAcked = true;
    const data = Math.min(beyondSyn, this.outgoing.length);
    this.outgoing.drop(data);
    this.endAcked = beyondSyn > data;
    this.sndUna = advanced(this.sndUna, acked);
    if (distance(this.sndUna, this.sndNxt) < 0) this.sndNxt = this.sndUna;
    this.progressAtMs = this.clock.monotonic();
    this.measure();
    this.grow(acked);
    this.cancelTimer();
    if (data > 0) this.events.drained();
    if (!this.endAcked) return;
    if (this.peerEnded) this.finish(undefined);
    else this.setTimer(this.times.endMs);
  }

  private measure(): void {
    if (this.timed !== undefined && distance(this.timed.seq, this.sndUna) >= 0) {
      const ms = this.clock.monotonic() - this.timed.atMs;
      this.timed = undefined;
      if (this.srttMs === undefined) {
        this.srttMs = ms;
        this.rttvarMs = ms / 2;
      } else {
        this.rttvarMs = 0.75 * this.rttvarMs + 0.25 * Math.abs(this.srttMs - ms);
        this.srttMs = 0.875 * this.srttMs + 0.125 * ms;
      }
    }
    // Something new has arrived: the way is open, whatever was waited for before.
    this.rtoMs = this.srttMs === undefined ? RTO_FIRST_MS : Math.min(RTO_MAX_MS, Math.max(RTO_MIN_MS, this.srttMs + 4 * this.rttvarMs));
  }

  private grow(acked: number): void {
    this.duplicates = 0;
    if (this.recover !== undefined) {
      if (distance(this.recover, this.sndUna) < 0) {
        this.again();
        return;
      }
      this.recover = undefined;
      this.cwnd = this.ssthresh;
    } else this.cwnd += this.cwnd < this.ssthresh ? Math.min(acked, this.mss) : Math.ceil((this.mss * this.mss) / this.cwnd);
    this.cwnd = Math.min(this.cwnd, WINDOW_MAX * this.mss);
  }

  private duplicate(): void {
    this.duplicates++;
    if (this.recover !== undefined) this.cwnd = Math.min(this.cwnd + this.mss, WINDOW_MAX * this.mss);
    else if (this.duplicates === DUPLICATES) {
      this.ssthresh = this.halved();
      this.cwnd = this.ssthresh;
      this.recover = this.sndMax;
      this.again();
    }
  }

  private halved(): number {
    return Math.max(distance(this.sndUna, this.sndMax) / 2, 2 * this.mss);
  }

  /** The first that is missing. */
  private again(): void {
    this.timed = undefined;
    const sent = distance(this.sndUna, this.sndMax);
    const part = this.outgoing.slice(0, Math.min(this.mss, sent));
    const last = this.ending && part.length === this.outgoing.length && sent > part.length;
    this.emit(part, (part.length > 0 ? tcpFlags.psh : 0) | (last ? tcpFlags.fin : 0), this.sndUna);
  }

  /** What came in order is handed on; what is ahead of its turn comes again. */
  private receive(segment: Segment): void {
    if (lengthOf(segment) === 0) return;
    this.ackDue = true;
    if (this.peerEnded) return;
    const offset = distance(this.rcvNxt, segment.seq);
    if (offset > 0) return;
    const fresh = segment.payload.subarray(Math.min(-offset, segment.payload.length));
    const chunk = fresh.subarray(0, this.window());
    const whole = chunk.length === fresh.length;
    if (chunk.length > 0) {
      this.rcvNxt = advanced(this.rcvNxt, chunk.length);
      this.unread += chunk.length;
      this.events.data(chunk);
    }
    // Of an end that was told before its data is all here this is not the place.
    if (!has(segment, "fin") || !whole || -offset > segment.payload.length || this.state !== "open") return;
    this.rcvNxt = advanced(this.rcvNxt, 1);
    this.peerEnded = true;
    this.events.ended();
    if (!this.endAcked) return;
    // Who ended last knows that the other knows; who ended first answers what comes again.
    this.state = "time-wait";
    this.setTimer(TIME_WAIT_MS);
  }

  private window(): number {
    return Math.max(0, RECEIVE_WINDOW - this.unread);
  }
  private idleOut(): boolean {
    return this.sndNxt === this.sndUna && this.outgoing.length === 0;
  }

  private transmit(): void {
    if (this.state !== "open") return;
    while (!this.endAcked) {
      const flight = distance(this.sndUna, this.sndNxt);
      const available = this.outgoing.length - flight;
      if (available < 0) break;
      const room = Math.min(this.cwnd, this.sndWnd) - flight;
      const size = Math.max(0, Math.min(available, this.mss, room));
      const last = this.ending && size === available;
      if (size === 0 && !last) break;
      // No crumbs: something is on its way, whose acknowledgement makes room.
      if (size < this.mss && size < available && flight > 0) break;
      const at = this.sndNxt;
      this.sndNxt = advanced(this.sndNxt, size + (last ? 1 : 0));
      if (distance(this.sndMax, this.sndNxt) > 0) {
        this.sndMax = this.sndNxt;
        this.timed ??= { seq: this.sndNxt, atMs: this.clock.monotonic() };
      }
      this.emit(this.outgoing.slice(flight, size), (size === available ? tcpFlags.psh : 0) | (last ? tcpFlags.fin : 0), at);
      if (last) break;
    }
    this.arm();
  }

  private answerSyn(): void {
    this.events.transmit({ seq: this.sndUna, ack: this.rcvNxt, flags: tcpFlags.syn | tcpFlags.ack, window: this.window(), mss: this.ownMss, payload: none });
  }

  private emit(payload: Buffer, flags: number, seq = this.sndNxt): void {
    this.ackDue = false;
    this.advertised = this.window();
    this.events.transmit({ seq, ack: this.rcvNxt, flags: flags | tcpFlags.ack, window: this.advertised, payload });
  }

  private arm(): void {
    if (this.timer !== undefined || this.endAcked || this.state === "closed" || (this.state === "open" && this.idleOut() && !this.ending)) return;
    this.setTimer(this.rtoMs);
  }
  private setTimer(ms: number): void {
    this.cancelTimer();
    this.timer = this.clock.setTimeout(() => {
      this.timer = undefined;
      this.late();
    }, ms);
  }
  private cancelTimer(): void {
    this.timer?.();
    this.timer = undefined;
  }

  /** What should have come by now has not. */
  private late(): void {
    if (this.state === "time-wait") this.finish(undefined);
    else if (this.endAcked) this.fail("timeout");
    else if (this.clock.monotonic() - this.progressAtMs >= (this.state === "opening" ? this.times.openMs : this.times.progressMs)) this.fail("timeout");
    else {
      this.timed = undefined;
      this.rtoMs = Math.min(2 * this.rtoMs, RTO_MAX_MS);
      if (this.state === "opening") this.answerSyn();
      else if (this.sndNxt === this.sndUna) this.probe();
      else this.restart();
      this.arm();
    }
  }

  /** All that is on its way counts as lost. */
  private restart(): void {
    this.ssthresh = this.halved();
    this.cwnd = this.mss;
    this.recover = undefined;
    this.duplicates = 0;
    this.sndNxt = this.sndUna;
    this.transmit();
  }

  /** The peer offers no room: a byte beyond it, so that it says when it does. RFC 9293 section 3.8.6.1 */
  private probe(): void {
    const part = this.outgoing.slice(0, 1);
    if (distance(this.sndMax, advanced(this.sndUna, part.length)) > 0) this.sndMax = advanced(this.sndUna, part.length);
    this.emit(part, 0, this.sndUna);
  }

  /** Ends it when nothing was heard for too long, or when it lasts too long. */
  private guard(): void {
    const now = this.clock.monotonic();
    const due = Math.min(this.heardAtMs + this.times.idleMs, this.startedAtMs + this.times.lifeMs);
    if (now >= due) {
      this.fail("timeout");
      return;
    }
    this.watch = this.clock.setTimeout(() => this.guard(), due - now);
  }

  private fail(reason: "timeout" | "aborted"): void {
    if (this.state === "closed") return;
    // Of a peer that never answered nobody knows whether it is there.
    if (this.state === "open") this.events.transmit({ seq: this.sndMax, ack: this.rcvNxt, flags: tcpFlags.rst | tcpFlags.ack, window: 0, payload: none });
    this.finish(reason);
  }

  private finish(reason: "reset" | "timeout" | "aborted" | undefined): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.cancelTimer();
    this.watch?.();
    this.outgoing.clear();
    this.events.closed(reason);
  }
}
