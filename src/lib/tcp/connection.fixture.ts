// For the tests of TCP: a peer of its own kind (stop and wait, whatever it is told), and a way on which packets are lost, doubled and overtake each other.
import { tcpFlags } from "packet-codec";
import type { SimulatedClock } from "../clock.ts";
import type { Random } from "../random.ts";
import { TcpConnection, type TcpTimes } from "./connection.ts";
import { advanced, distance, has, lengthOf, type Segment } from "./segment.ts";

const none = Buffer.alloc(0);
export const ISS = 0xffff_ff00;

/** A connection as its application sees it, which writes down what it is told. */
export class Server {
  readonly connection: TcpConnection;
  readonly sent: Segment[] = [];
  readonly read: Buffer[] = [];
  opened = 0;
  ended = 0;
  closed: string[] = [];

  constructor(clock: SimulatedClock, syn: Segment, { deliver = () => undefined, iss = ISS, reads = true, times }: { deliver?: (s: Segment) => void; iss?: number; reads?: boolean; times?: TcpTimes } = {}) {
    this.connection = new TcpConnection({
      clock, iss, mss: 1460, mssOfPeer: 536, ...(times !== undefined && { times }),
      events: {
        transmit: (s) => {
          this.sent.push(s);
          deliver(s);
        },
        opened: () => {
          this.opened++;
        },
        data: (chunk) => {
          this.read.push(chunk);
          if (reads) this.connection.consumed(chunk.length);
        },
        ended: () => {
          this.ended++;
        },
        drained: () => undefined,
        closed: (reason) => void this.closed.push(reason ?? "in order"),
      },
    }, syn);
  }
  get text(): Buffer {
    return Buffer.concat(this.read);
  }
}

export const segment = (seq: number, ack: number, flags: number, payload: Buffer | string = none, window = 20_000): Segment => ({ seq: seq >>> 0, ack: ack >>> 0, flags, window, payload: Buffer.from(payload) });
export const syn = (seq = 1000, mss = 1000): Segment => ({ ...segment(seq, 0, tcpFlags.syn), mss });

/** What it is sent comes later, in any order, twice, or never. */
export class Way {
  private readonly clock: SimulatedClock;
  private readonly random: Random;
  private readonly loss: number;

  constructor(clock: SimulatedClock, random: Random, loss: number) {
    this.clock = clock;
    this.random = random;
    this.loss = loss;
  }
  send(deliver: (s: Segment) => void, s: Segment): void {
    for (let copies = this.random.next() < 0.1 ? 2 : 1; copies > 0; copies--) {
      if (this.random.next() >= this.loss) this.clock.setTimeout(() => deliver(s), 1 + Math.floor(this.random.next() * 30));
    }
  }
}

/** Opens, writes one segment at a time until it is acknowledged, reads what comes in order, ends when it has written all. */
export class Peer {
  private readonly clock: SimulatedClock;
  private readonly out: (s: Segment) => void;
  private readonly toWrite: Buffer;
  private readonly window: () => number;
  private una: number;
  private rcvNxt: number | undefined;
  readonly read: Buffer[] = [];
  ended = false;
  reset = false;
  private readonly first: number;

  constructor(clock: SimulatedClock, out: (s: Segment) => void, toWrite: Buffer, { first = 0xffff_fff0, window = () => 8000 }: { first?: number; window?: () => number } = {}) {
    this.clock = clock;
    this.out = out;
    this.toWrite = toWrite;
    this.window = window;
    this.first = this.una = first;
    this.again();
  }
  get text(): Buffer {
    return Buffer.concat(this.read);
  }
  /** Whether all that it wrote, and its end, are acknowledged. */
  get told(): boolean {
    return distance(this.first, this.una) === this.toWrite.length + 2;
  }

  private again(): void {
    if (this.told || this.reset) return;
    this.speak();
    this.clock.setTimeout(() => this.again(), 200);
  }
  private speak(): void {
    const at = distance(this.first, this.una);
    if (at === 0) this.out({ ...segment(this.una, 0, tcpFlags.syn, none, this.window()), mss: 700 });
    else {
      const chunk = this.toWrite.subarray(at - 1, at - 1 + 700);
      const last = at - 1 + chunk.length === this.toWrite.length;
      this.out(segment(this.una, this.rcvNxt ?? 0, tcpFlags.ack | (last && !this.told ? tcpFlags.fin : 0), chunk, this.window()));
    }
  }

  take(s: Segment): void {
    if (has(s, "rst")) {
      this.reset = true;
      return;
    }
    const acked = distance(this.una, s.ack);
    const progressed = acked > 0;
    if (progressed) this.una = s.ack;
    if (has(s, "syn")) this.rcvNxt ??= advanced(s.seq, 1);
    else if (this.rcvNxt !== undefined && !this.ended && distance(this.rcvNxt, s.seq) <= 0) {
      const fresh = s.payload.subarray(Math.min(s.payload.length, -distance(this.rcvNxt, s.seq))).subarray(0, this.window());
      if (fresh.length > 0) this.read.push(fresh);
      this.rcvNxt = advanced(this.rcvNxt, fresh.length);
      if (has(s, "fin") && advanced(s.seq, s.payload.length) === this.rcvNxt) {
        this.ended = true;
        this.rcvNxt = advanced(this.rcvNxt, 1);
      }
    }
    if (progressed && !this.told) this.speak();
    else if (lengthOf(s) > 0 && this.rcvNxt !== undefined) this.out(segment(this.una, this.rcvNxt, tcpFlags.ack, none, this.window()));
  }
}
