// OpenFlow sessions: from a socket to a switch whose datapath id is known. What goes wrong before that is the peer's own
// business: one line in the log, and its connection ends.
import type { TLSSocket, TlsOptions } from "node:tls";
import { decodeInstructions, listen, peerError, ports, type Action, type Decoded, type Match, type Message, type MessageOf, type MultipartReplyOf, OpenFlowError, type OpenFlowConnection, type PacketInMessage, type Slice } from "node-openflow";
import type { Meter, PortCount } from "#app";
import type { Clock } from "../../lib/clock.ts";
import { canonicalText } from "../../compiler/items.ts";
import type { Connections } from "../bounds/connections.ts";
import { certificateNames, type Identity } from "../identity.ts";
import { limits } from "../bounds/limits.ts";
import { peerOf } from "../peer.ts";
import { shown, type Troubles } from "../bounds/troubles.ts";
import type { CookieOptions, DumpOptions, InstalledItem, MeterCounts, Session, SwitchPort } from "./channel.ts";
import { DumpMemory } from "./dump-memory.ts";
import { groupText } from "./items.ts";

export interface RawPacketIn {
  readonly inPort: number;
  readonly tableId: number;
  readonly cookie: bigint;
  readonly data: Uint8Array;
  /** Of the packet when it was sent up: in_port, tun_id, registers that are not 0 ... */
  readonly match: Match;
}

export interface OpenFlowListener {
  readonly port: number;
  /** Of connections to come. */
  setTls(tls: TlsOptions): void;
  close(): Promise<void>;
}

export interface OpenFlowListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsOptions | undefined;
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
  readonly clock: Clock;
  readonly connections: Connections;
  readonly troubles: Troubles;
  readonly onSession: (session: SwitchSession) => void;
}

/** Closing waits this long for sockets that are not sessions (yet). */
const CLOSE_MS = 1000;
/** A switch with much to do answers late; echo requests notice a dead one. */
const DUMP_TIMEOUT_MS = 60_000;
/** Somebody waits for what a few flows have counted, and can do without. */
const COUNT_TIMEOUT_MS = 2000;

/** A counter with all bits set is none: OpenFlow 1.3.5 section 7.3.5.6. */
const UNKNOWN = 2n ** 64n - 1n;
const counterOf = (value: bigint): number | null => (value === UNKNOWN ? null : Number(value));
type PortStats = Pick<MultipartReplyOf<"port_stats">["ports"][number], "port_no" | "rx_packets" | "rx_bytes" | "tx_packets" | "tx_bytes" | "duration_sec">;
export const portCountOf = ({ port_no, rx_packets, rx_bytes, tx_packets, tx_bytes, duration_sec }: PortStats): PortCount => ({
  port: port_no, rx_packets: counterOf(rx_packets), rx_bytes: counterOf(rx_bytes), tx_packets: counterOf(tx_packets), tx_bytes: counterOf(tx_bytes), durationS: duration_sec,
});
/** OFPPC_PORT_DOWN, OFPPC_NO_FWD, OFPPS_LINK_DOWN. */
const CLOSED = 1;
const NO_FWD = 32;
const LINK_DOWN = 1;
/** What a switch says to a controller that is not its master (any more). OpenFlow 1.3.5, 6.3.6 */
export const IS_SECONDARY = "OFPBRC_IS_SECONDARY";
const ALL_BITS = 0xffff_ffff_ffff_ffffn;
/** In a role reply: nobody has given one. */
const NO_TERM = 0xffff_ffff_ffff_ffffn;

export async function listenOpenFlow(options: OpenFlowListenOptions): Promise<OpenFlowListener> {
  const { host, port, tls, handshakeTimeoutMs, clock, connections, troubles } = options;
  const { messagesPerSecond, messageBurst, writeTimeoutMs, replyTimeoutMs } = limits;
  const listener = await listen(
    {
      host, port, ...(tls === undefined ? {} : { tls: { handshakeTimeout: handshakeTimeoutMs, ...tls } }),
      connection: {
        helloTimeoutMs: handshakeTimeoutMs, maxQueuedBytes: limits.queuedBytes, maxReplyBytes: limits.replyBytes, maxReplyParts: limits.replyParts,
        messagesPerSecond, messageBurst, writeTimeoutMs, replyTimeoutMs,
      },
      admit: (socket) => connections.admit(socket),
      onTlsError: (error, socket) => failed(troubles, socket.remoteAddress ?? "", handshakeFailure(error, socket)),
    },
    (connection) => void welcome(connection, options),
  );
  listener.server.maxConnections = options.maxConnections;
  return {
    port: listener.port,
    setTls: (tls) => listener.setTls(tls),
    close: () => Promise.race([listener.close(), new Promise<void>((resolve) => clock.setTimeout(resolve, CLOSE_MS))]),
  };
}

const failed = (troubles: Troubles, peer: string, reason: string): void => troubles.line("openflow", peer, { peer, reason: shown(reason) }, "connection to the OpenFlow port failed");

async function welcome(connection: OpenFlowConnection, { handshakeTimeoutMs, clock, troubles, onSession }: OpenFlowListenOptions): Promise<void> {
  const { host, text } = peerOf(connection.socket);
  const cancel = clock.setTimeout(() => connection.close(), handshakeTimeoutMs);
  try {
    const features = await connection.handshake();
    const description = await connection.request({ type: "multipart_request", kind: "desc" });
    cancel();
    onSession(new SwitchSession(connection, features.datapath_id, shown(description.sw_desc)));
  } catch (error) {
    cancel();
    troubles.line("openflow", host, { peer: text, reason: shown((connection.closed ?? (error as Error)).message) }, "peer on the OpenFlow port is no OpenFlow 1.3 switch");
    connection.close();
  }
}

/** OFPC_FRAG_NX_MATCH of Open vSwitch; in its default mode a flow that drops by port or type lets the first fragment of the same packet pass. */
const FRAG_NX_MATCH = 3;
/** Of OpenFlow 1.3.5, and what a switch begins with; packets of ours say themselves how much of them is sent up. */
const MISS_SEND_LEN = 128;

/** OFPR_NO_MATCH, OFPR_ACTION. */
const NO_MATCH_OR_ACTION = 3;

const METER_KBPS = 1;
const METER_PKTPS = 2;
const METER_BURST = 4;

export class SwitchSession implements Session {
  /** 16 hex digits. */
  readonly dpid: string;
  readonly softwareVersion: string;
  readonly identity: Identity;
  /** Remote "address:port", for people. */
  readonly address: string;
  /** Called once. */
  onClose: (reason: string) => void = () => undefined;
  /** It goes over a limit: which, and what it does. */
  onLimit: ((limit: string, text: string) => void) | undefined;
  onPacketIn: ((packet: RawPacketIn) => void) | undefined;
  onError: ((error: string) => void) | undefined;
  private readonly connection: OpenFlowConnection;

  constructor(connection: OpenFlowConnection, dpid: string, softwareVersion: string) {
    const peer = peerOf(connection.socket);
    this.connection = connection;
    this.dpid = dpid;
    this.softwareVersion = softwareVersion;
    this.identity = { address: peer.host, names: certificateNames(connection.socket) };
    this.address = peer.text;
    connection.on("close", (reason) => {
      if (reason.code === "OF_LIMIT" || reason.code === "OF_QUEUE_FULL") this.onLimit?.(reason.code === "OF_LIMIT" ? "reply" : "unread", `is disconnected: ${reason.message}`);
      this.onClose(reason.message);
    });
    connection.on("throttled", () => this.onLimit?.("messages", `sends more than ${limits.messagesPerSecond} OpenFlow messages a second; it is read no faster`));
    connection.on("packet_in", (message) => this.packetIn(message));
    connection.on("error_message", (message) => this.onError?.(errorText(message)));
    connection.on("undecodable", (error) => this.onError?.(shown(`a message that cannot be decoded: ${error.message}`)));
  }

  get closed(): boolean {
    return this.connection.closed !== undefined;
  }

  /** Whether it answers an echo request in time. */
  async alive(timeoutMs: number): Promise<boolean> {
    try {
      await this.connection.request({ type: "echo_request" }, timeoutMs);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * Asks to be the master of the switch, or its slave, in a term; "nochange" asks what it is. OpenFlow 1.3.5, 7.3.9. "stale": somebody asked in a
   * later term. @throws OpenFlowError
   */
  async role(role: "master" | "slave" | "nochange", term = 0n): Promise<"master" | "slave" | "equal" | "stale"> {
    try {
      const reply = await this.connection.request({ type: "role_request", role, generation_id: term });
      return reply.role === "master" || reply.role === "slave" ? reply.role : "equal";
    } catch (error) {
      if (error instanceof OpenFlowError && error.errorName === "OFPRRFC_STALE") return "stale";
      throw error;
    }
  }

  /** The generation_id that the switch took last, of whomever; 0: of nobody since it started. */
  async latestTerm(): Promise<bigint> {
    const { generation_id: term } = await this.connection.request({ type: "role_request", role: "nochange", generation_id: 0n });
    return term === undefined || term === NO_TERM ? 0n : term;
  }

  /** Has the switch send packets up also while another controller is its master: nx_async_config2, as OpenFlow 1.4's OFPT_SET_ASYNC, section 7.3.10. */
  hear(): void {
    this.send({ type: "nxt_set_async2", properties: [{ type: "packet_in_slave", mask: NO_MATCH_OR_ACTION }] });
  }

  showPorts(): void {
    this.send({ type: "set_config", flags: FRAG_NX_MATCH, miss_send_len: MISS_SEND_LEN });
  }

  async flows({ holding, maxBytes, timeoutMs, table }: DumpOptions): Promise<Buffer[]> {
    const parts: Buffer[] = [];
    const memory = new DumpMemory();
    const take = (part: Buffer): void => {
      if (!holding.add(part.length)) throw new OpenFlowError("OF_LIMIT", "too much is read of all switches at once");
      parts.push(memory.keep(part));
    };
    await this.connection.requestRaw({ type: "multipart_request", kind: "flow", match: {}, ...(table !== undefined && { table_id: table }) }, take, timeoutMs ?? DUMP_TIMEOUT_MS, { maxBytes, totalTimeoutMs: timeoutMs ?? limits.replyTimeoutMs });
    return parts;
  }

  async flowsWith(cookie: bigint, { mask = ALL_BITS, table, match = {} }: CookieOptions = {}): Promise<Buffer[]> {
    const parts: Buffer[] = [];
    await this.connection.requestRaw({ type: "multipart_request", kind: "flow", match, cookie, cookie_mask: mask, ...(table !== undefined && { table_id: table }) }, (part) => parts.push(part), COUNT_TIMEOUT_MS, { totalTimeoutMs: COUNT_TIMEOUT_MS });
    return parts;
  }

  async ports(): Promise<SwitchPort[]> {
    const { ports: all } = await this.connection.request({ type: "multipart_request", kind: "port_desc" }, COUNT_TIMEOUT_MS);
    return all.map(({ port_no, name, config, state }) => ({ number: port_no, name, live: (config & CLOSED) === 0 && (state & LINK_DOWN) === 0, forwards: (config & NO_FWD) === 0 }));
  }

  async portCounts(): Promise<PortCount[]> {
    const { ports: all } = await this.connection.request({ type: "multipart_request", kind: "port_stats" }, COUNT_TIMEOUT_MS, { maxBytes: limits.portCountBytes });
    return all.map(portCountOf);
  }

  async items(): Promise<InstalledItem[]> {
    return [...(await this.unlessRefused(() => this.meters())), ...(await this.unlessRefused(() => this.groups()))];
  }

  private async unlessRefused<T>(ask: () => Promise<T[]>): Promise<T[]> {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof OpenFlowError && error.code === "OF_PEER_ERROR") return [];
      throw error;
    }
  }

  private async meters(): Promise<InstalledItem[]> {
    const { meters } = await this.connection.request({ type: "multipart_request", kind: "meter_config" });
    return meters.map(({ meter_id: id, flags, bands }) => {
      const [band] = bands;
      const unit = (flags & METER_BURST) === 0 ? undefined : (flags & METER_PKTPS) !== 0 ? "pps" : (flags & METER_KBPS) !== 0 ? "kbps" : undefined;
      const ours = bands.length === 1 && band!.type === "drop" && unit !== undefined;
      return { kind: "meter", id, text: ours ? canonicalText({ unit, rate: band!.rate, burst: band!.burst_size }) : "of another kind" };
    });
  }

  private async groups(): Promise<InstalledItem[]> {
    const { groups } = await this.connection.request({ type: "multipart_request", kind: "group_desc" });
    return groups.map(({ group_id: id, group_type: type, buckets }) => ({ kind: "group", id, text: groupText(String(type), buckets) }));
  }

  async missed(): Promise<ReadonlyMap<number, number>> {
    const { tables } = await this.connection.request({ type: "multipart_request", kind: "table" }).catch(() => ({ tables: [] }));
    return new Map(tables.filter((t) => t.lookup_count > t.matched_count).map((t) => [t.table_id, Number(t.lookup_count - t.matched_count)]));
  }

  meterCounts(): Promise<MeterCounts[]> {
    return this.unlessRefused(async () => {
      const { meters } = await this.connection.request({ type: "multipart_request", kind: "meter" });
      return meters.map(({ meter_id: id, packet_in_count, byte_in_count, band_stats: [band] }) => ({
        id, packets: Number(packet_in_count), bytes: Number(byte_in_count), droppedPackets: Number(band?.packet_band_count ?? 0), droppedBytes: Number(band?.byte_band_count ?? 0),
      }));
    });
  }

  setMeter(id: number, meter: Meter, exists: boolean): void {
    this.send({
      type: "meter_mod",
      command: exists ? "modify" : "add",
      flags: (meter.unit === "pps" ? METER_PKTPS : METER_KBPS) | METER_BURST,
      meter_id: id,
      bands: [{ type: "drop", rate: meter.rate, burst_size: meter.burst }],
    });
  }

  removeMeter(id: number): void {
    this.send({ type: "meter_mod", command: "delete", flags: 0, meter_id: id, bands: [] });
  }

  flush(message: Message): void {
    this.send(message);
  }

  flushZone(zone: number): void {
    this.send({ type: "ct_flush_zone", zone_id: zone });
  }

  sendPacket(actions: readonly Action[], data: Uint8Array, inPort: number = ports.CONTROLLER): void {
    // Whoever does not read what was sent gets no more of what is of no account later.
    if (this.connection.queuedBytes > limits.packetOutBytes) return;
    this.send({ type: "packet_out", in_port: inPort, actions, data });
  }

  barrier(): Promise<void> {
    return this.connection.barrier();
  }

  bundle(messages: Iterable<Slice>, onRefused: (error: OpenFlowError) => void, beforeCommit?: () => void): Promise<void> {
    return this.connection.bundle(messages, { onRefused, beforeCommit });
  }

  close(): void {
    this.connection.close();
  }

  /** On a closed connection there is nobody to tell; whoever awaits an answer learns of it. */
  private send(message: Message): void {
    if (this.connection.closed === undefined) this.connection.send(message);
  }

  private packetIn(message: PacketInMessage): void {
    if (this.onPacketIn === undefined || message.type !== "packet_in") return;
    const inPort = message.match.in_port;
    this.onPacketIn({
      inPort: typeof inPort === "number" ? inPort : 0,
      tableId: message.table_id,
      cookie: message.cookie,
      data: message.data ?? new Uint8Array(0),
      match: message.match,
    });
  }
}

/** A socket that was closed for its certificate says no more in its error than that it was closed. */
function handshakeFailure(error: Error & { readonly code?: string }, { authorizationError: why }: TLSSocket): string {
  if ((why as unknown) != null) return `its certificate is not accepted: ${why as unknown as string}`;
  // What OpenSSL says of the first bytes of anything that is not TLS.
  return error.code === "ERR_SSL_WRONG_VERSION_NUMBER" ? "it does not speak TLS: on the host, ovs-vsctl set-ssl and set-manager ssl:..." : error.message;
}

const errorText = (message: Decoded<MessageOf<"error">>): string => peerError(message).errorName ?? `error ${message.error_type}.${message.code}`;

/** Whether two instruction lists mean the same: a switch may write a field's other number, or order instructions its way. */
export function sameInstructions(a: Buffer, b: Buffer): boolean {
  try {
    return meaning(a) === meaning(b);
  } catch {
    return false; // of a kind that is not known here: not ours, then
  }
}

function meaning(instructions: Buffer): string {
  return decodeInstructions(instructions, 0, instructions.length)
    .map((instruction) => JSON.stringify(instruction, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value)))
    .sort()
    .join();
}
