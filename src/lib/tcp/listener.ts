// A server's side of TCP over frames: those of machines in, those for them out. Who a machine is the caller says (a port of a network), and addresses count only
// within that: two machines with one address are two. Connections are few for each machine, and those of all shared among owners.
import type { Cancel } from "../clock.ts";
import type { Random } from "../random.ts";
import {
  buildEthernet, buildIpv4, buildIpv6, buildTcp, buildTcpOptions, ethertypes, ipProtocols, parsePacket, parseTcpOptions, PacketError, tcpFlags, type Packet,
} from "packet-codec";
import { Shares } from "../shares.ts";
import { TcpConnection, TCP_TIMES, type TcpClock, type TcpTimes } from "./connection.ts";
import { resetFor, type Segment } from "./segment.ts";
import { TcpStream } from "./stream.ts";

/** Who is at the other end. */
export interface TcpPeer {
  /** Names the machine: connections of one are counted together. */
  readonly machine: string;
  /** Among whom all connections are shared: a project. */
  readonly owner: string;
  /** As it says itself. */
  readonly address: string;
  readonly port: number;
  /** The address that it speaks to. */
  readonly local: string;
}

/** What a listener needs of whoever runs it, as a service's host has it: time, chance, and something done after seconds. */
export interface TcpHost {
  readonly clock: Pick<TcpClock, "monotonic">;
  readonly random: Pick<Random, "bytes">;
  after(seconds: number, fn: () => void): Cancel;
}

export interface TcpListenerOptions {
  readonly host: TcpHost;
  /** On which it listens. */
  readonly port: number;
  /** Source of its frames. */
  readonly mac: string;
  /** A connection is open: the stream is the other end. */
  readonly accept: (stream: TcpStream, peer: TcpPeer) => void;
  /** Of one machine, default 8; of all, default 1024. Those that are only being opened count, and go first. */
  readonly perMachine?: number;
  readonly total?: number;
  readonly times?: Partial<TcpTimes>;
}

/** From whom a frame came, and how an answer gets there. */
export interface TcpOrigin {
  readonly machine: string;
  readonly owner: string;
  readonly reply: (frame: Buffer) => void;
}

interface Entry {
  readonly key: string;
  readonly machine: string;
  readonly connection: TcpConnection;
  /** Of the last frame: the machine may move. */
  frame: Packet;
  reply: (frame: Buffer) => void;
}

/** As much as a frame of 1,500 bytes holds, which any network has. */
const MSS = { v4: 1460, v6: 1440 } as const;
/** What a machine takes that does not say. RFC 9293 section 3.7.1 */
const MSS_UNSAID = { v4: 536, v6: 1220 } as const;
const PER_MACHINE = 8;
const TOTAL = 1024;

export class TcpListener {
  private readonly options: TcpListenerOptions;
  private readonly clock: TcpClock;
  private readonly entries: Shares<Entry>;
  private readonly ofMachine = new Map<string, Set<Entry>>();
  private stopped = false;

  constructor(options: TcpListenerOptions) {
    this.options = options;
    const { host } = options;
    this.clock = { monotonic: () => host.clock.monotonic(), setTimeout: (fn, ms) => host.after(ms / 1000, fn) };
    this.entries = new Shares(options.total ?? TOTAL);
  }

  /** Connections, also those that are only being opened. */
  get size(): number {
    return this.entries.size;
  }

  /** A frame of a machine. What is none of TCP to this port is passed over. */
  take(data: Uint8Array, origin: TcpOrigin): void {
    if (this.stopped) return;
    const frame = read(data);
    const tcp = frame?.tcp;
    if (frame === undefined || tcp === undefined || tcp.dst_port !== this.options.port) return;
    const segment = segmentOf(tcp);
    if (segment === undefined) return;
    const [address, local] = frame.ipv4 === undefined ? [frame.ipv6!.src, frame.ipv6!.dst] : [frame.ipv4.src, frame.ipv4.dst];
    const key = `${origin.machine} ${address} ${tcp.src_port} ${local}`;
    let entry = this.entries.get(key);
    const opens = (segment.flags & (tcpFlags.syn | tcpFlags.ack | tcpFlags.rst | tcpFlags.fin)) === tcpFlags.syn;
    if (opens && entry?.connection.isSucceededBy(segment) === true) {
      entry.connection.abort();
      entry = undefined;
    }
    if (entry !== undefined) {
      entry.frame = frame;
      entry.reply = origin.reply;
      entry.connection.take(segment);
    } else if (opens) this.open(key, frame, segment, origin, { machine: origin.machine, owner: origin.owner, address, port: tcp.src_port, local });
    else {
      const reset = resetFor(segment);
      if (reset !== undefined) origin.reply(this.frameTo(frame, reset));
    }
  }

  /** Ends all connections; machines are told. */
  stop(): void {
    this.stopped = true;
    for (const { connection } of [...this.entries.values()]) connection.abort();
  }

  private open(key: string, frame: Packet, syn: Segment, origin: TcpOrigin, peer: TcpPeer): void {
    const mine = this.ofMachine.get(peer.machine);
    if (mine !== undefined && mine.size >= (this.options.perMachine ?? PER_MACHINE)) {
      // Whoever only opens, or is over, makes room: the oldest. Of those in use none does; the machine asks again soon.
      const spare = [...mine].find(({ connection }) => connection.phase !== "open");
      if (spare === undefined) return;
      spare.connection.abort();
    }
    const family = frame.ipv4 === undefined ? "v6" : "v4";
    const stream = new TcpStream();
    let reply = (segment: Segment): void => origin.reply(this.frameTo(frame, segment));
    const connection = new TcpConnection({
      clock: this.clock, iss: this.options.host.random.bytes(4).readUInt32BE(), mss: MSS[family], mssOfPeer: MSS_UNSAID[family], times: { ...TCP_TIMES, ...this.options.times },
      events: {
        transmit: (segment) => reply(segment),
        opened: () => this.options.accept(stream, peer),
        data: (chunk) => stream.took(chunk),
        ended: () => stream.peerEnded(),
        drained: () => stream.drained(),
        closed: (reason) => {
          this.forget(entry);
          stream.finished(reason);
        },
      },
    }, syn);
    // An error that nobody listens for would end the process.
    stream.on("error", () => undefined);
    stream.attach(connection);
    const entry: Entry = { key, machine: peer.machine, connection, frame, reply: origin.reply };
    reply = (segment) => entry.reply(this.frameTo(entry.frame, segment));
    const all = this.ofMachine.get(peer.machine) ?? new Set();
    this.ofMachine.set(peer.machine, all.add(entry));
    const gone = this.entries.push(key, peer.owner, entry);
    gone?.[1].connection.abort();
  }

  private forget(entry: Entry): void {
    if (this.entries.get(entry.key) === entry) this.entries.delete(entry.key);
    const all = this.ofMachine.get(entry.machine);
    all?.delete(entry);
    if (all?.size === 0) this.ofMachine.delete(entry.machine);
  }

  /** Back to who sent a frame. */
  private frameTo({ eth, ipv4, ipv6, tcp }: Packet, { seq, ack, flags, window, mss, payload }: Segment): Buffer {
    const ends = ipv4 === undefined ? { src: ipv6!.dst, dst: ipv6!.src } : { src: ipv4.dst, dst: ipv4.src };
    const options = mss === undefined ? undefined : buildTcpOptions([{ option: "mss", value: mss }]);
    const segment = buildTcp({ src_port: this.options.port, dst_port: tcp!.src_port, seq, ack, flags, window, ...(options !== undefined && { options }) }, payload, ends);
    const head = { dst: eth.src, src: this.options.mac } as const;
    return ipv4 === undefined
      ? buildEthernet({ ...head, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.tcp }, segment))
      : buildEthernet({ ...head, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.tcp, dontFragment: true }, segment));
  }
}

/** undefined: no whole segment that arrived as it was sent. */
function read(data: Uint8Array): Packet | undefined {
  try {
    const frame = parsePacket(data);
    return frame.tcp?.checksumOk === true ? frame : undefined;
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}

function segmentOf({ seq, ack, flags, window, options, payload }: NonNullable<Packet["tcp"]>): Segment | undefined {
  const plain = { seq, ack, flags, window, payload };
  if ((flags & tcpFlags.syn) === 0) return plain;
  try {
    const mss = parseTcpOptions(options).find((o) => o.option === "mss")?.value;
    return mss === undefined ? plain : { ...plain, mss };
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}
