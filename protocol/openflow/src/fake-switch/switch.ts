// A switch for tests: it speaks OpenFlow 1.3 as ovs-vswitchd 3.1 does, holds real tables, groups, meters and ports, and shows
// them. No packets flow through it: a test says which packet goes to the controllers, and asks which flow one would hit.
// Conjunctive matches and flow monitors are not evaluated, the table that Open vSwitch keeps for itself is empty, and actions of a
// packet-out are not held against the packet.
//
//     const sw = new FakeSwitch({ dpid: "0000000000000001", ports: [{ port_no: 1, name: "p1" }] });
//     sw.connectTo({ host: "127.0.0.1", port: 6653 });
//     sw.dump();   // ["priority=1,arp actions=NORMAL"]
//     await sw.close();
//
// Over 400 lines: one class, with what a test does to a switch and what the switch answers.

import { EventEmitter } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

import { badValue, errorNumbers, OpenFlowError, refusal, type ErrorName } from "../wire/errors.ts";
import { Channel, type Change, type ChannelHost, type Faults } from "./channel.ts";
import { FlowTables, Transaction, usesOf, type FakeFlow, type FlowEntry, type FlowRequest, type RemovedReason } from "./flows.ts";
import { GroupTable, type FakeGroup, type FakeMeter } from "./groups.ts";
import { multipartReplies, type Description, type PortCounters, type Subject } from "./replies.ts";
import { ALL_TABLES, NO_BUFFER, ports as reserved } from "../match/fields.ts";
import { flowModFlags } from "../messages/flow-mod.ts";
import { isPort } from "../match/check.ts";
import type { Match } from "../match/match.ts";
import type { Decoded, Message, MessageOf, PortDesc } from "../messages/codec.ts";
import { formatInstructions } from "../text/print/flow.ts";
import { formatMatch } from "../text/print/match.ts";

export type { Channel, Faults, Role } from "./channel.ts";
export type { FakeFlow, RemovedReason } from "./flows.ts";
export type { FakeGroup, FakeMeter } from "./groups.ts";
export type { Description, PortCounters } from "./replies.ts";

export type FakePort = Partial<PortDesc> & { readonly port_no: number };

export interface FakeSwitchOptions {
  /** 16 hex digits. */
  readonly dpid?: string;
  readonly ports?: readonly FakePort[];
  /** How many flow tables there are, 1 to 254. */
  readonly tables?: number;
  /** Flows that one table takes. */
  readonly maxFlows?: number;
  /** Groups of each type. */
  readonly maxGroups?: number;
  readonly maxMeters?: number;
  /** Messages that a bundle takes. */
  readonly maxBundleMessages?: number;
  /** Bytes that may wait to be sent on one connection; more ends it. */
  readonly maxQueuedBytes?: number;
  readonly description?: Partial<Description>;
  /** Milliseconds. With a clock of the test's own, flows time out when tick() is called; without one, by themselves. */
  readonly clock?: () => number;
}

/** A packet for the controllers. */
export interface FakePacketIn {
  readonly packet: Uint8Array;
  readonly in_port?: number;
  /** 0 no match, 1 action (the default), 2 invalid TTL; 3 to 5 as of OpenFlow 1.4 are actions to 1.3. */
  readonly reason?: number;
  readonly table_id?: number;
  readonly cookie?: bigint;
  /** Fields beside in_port: metadata, registers, tunnel. */
  readonly metadata?: Match;
  /** Bytes of the packet that are sent. */
  readonly max_len?: number;
  /** Only for controllers with this id. */
  readonly controller_id?: number;
  /** Only seen in NXT_PACKET_IN2. */
  readonly userdata?: Uint8Array;
}

export interface PacketOut {
  readonly in_port: number;
  readonly actions: Decoded<MessageOf<"packet_out">>["actions"];
  readonly data: Uint8Array;
}

interface FakeSwitchEvents {
  /** A controller's hello has come. */
  connected: [Channel];
  disconnected: [Channel];
  /** Every message, before it is handled. */
  message: [Decoded, Channel];
  /** What is about to be answered with an error. */
  refused: [OpenFlowError, Channel];
  /** A flow-mod was carried out, by itself or in a bundle. */
  applied: [Decoded<MessageOf<"flow_mod">>, Channel];
  packet_out: [PacketOut, Channel];
  flow_removed: [FakeFlow, RemovedReason];
  ct_flush: [Decoded, Channel];
  resume: [Decoded<MessageOf<"nxt_resume">>, Channel];
}

interface PlannedRefusal {
  left: number;
  readonly name: ErrorName;
}

interface TlvMap {
  readonly option_class: number;
  readonly option_type: number;
  readonly option_len: number;
  readonly index: number;
}

const REMOVED: Readonly<Record<RemovedReason, number>> = { idle_timeout: 0, hard_timeout: 1, delete: 2, group_delete: 3, meter_delete: 4 };
const PORT_REASONS = { add: 0, delete: 1, modify: 2 } as const;
/** Port configuration that can be changed: down, no receive, no forward, no packet-in. */
const PORT_CONFIG = 0x65;
const PORT_DOWN = 1;
const LINK_DOWN = 1;
const LIVE = 4;
const MAX_PORT = 0xff00;
/** Flow, table, port, group and queue statistics. */
const CAPABILITIES = 0x4f;
const TLV_FIELDS = 64;
const TLV_SPACE = 256;

export class FakeSwitch extends EventEmitter<FakeSwitchEvents> {
  readonly dpid: string;
  /** May be changed at any time. */
  readonly faults: Faults = { replyDelayMs: 0, cutAfterReceived: undefined, cutAfterSent: undefined, ignoreEchoes: false, silent: false };

  private readonly clock: () => number;
  private readonly tables: FlowTables;
  private readonly groupTable: GroupTable;
  private readonly portTable = new Map<number, PortDesc>();
  private readonly counters = new Map<number, PortCounters>();
  private tlvMaps: TlvMap[] = [];
  private readonly open = new Set<Channel>();
  private readonly servers = new Set<Server>();
  private readonly planned: PlannedRefusal[] = [];
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly host: ChannelHost;
  private readonly subject: Subject;
  private fragments = 0;
  private generation: bigint | undefined;
  /** The last generation_id of a role request that was taken; undefined: there was none since the start. */
  get generationId(): bigint | undefined {
    return this.generation;
  }

  constructor(options: FakeSwitchOptions = {}) {
    super();
    this.dpid = options.dpid ?? "0000000000000001";
    if (!/^[0-9a-f]{16}$/i.test(this.dpid)) throw badValue(`dpid: ${this.dpid} is not 16 hex digits`);
    const tables = options.tables ?? 254;
    if (!Number.isInteger(tables) || tables < 1 || tables > 254) throw badValue(`a switch has 1 to 254 tables, not ${tables}`);
    this.clock = options.clock ?? Date.now;
    const now = (): number => this.clock();
    this.groupTable = new GroupTable(options.maxGroups ?? 0xffffff00, options.maxMeters ?? 1 << 18, now);
    this.tables = new FlowTables(tables, options.maxFlows ?? 1_000_000, now, this.groupTable, (flow, reason) => this.flowRemoved(flow, reason));
    this.subject = {
      description: { mfr_desc: "Nicira, Inc.", hw_desc: "Open vSwitch", sw_desc: "3.1.0", serial_num: "None", dp_desc: "None", ...options.description },
      tables: this.tables, groups: this.groupTable, ports: this.portTable, portCounters: this.counters, started: now(), now,
    };
    this.host = this.asHost(options);
    for (const port of options.ports ?? []) this.addPort(port);
    this.timer = options.clock === undefined ? setInterval(() => this.tick(), 250) : undefined;
    this.timer?.unref();
  }

  // --- connections ---

  /** Connects to a controller, or takes a connection that is there. */
  connectTo(where: Socket | { readonly host?: string; readonly port: number } | { readonly path: string }): Channel {
    return this.accept("on" in where ? where : connect(where));
  }

  /** Waits for controllers; resolves with the TCP port, 0 for a Unix socket. */
  listen(where: { readonly host?: string; readonly port?: number } | { readonly path: string }): Promise<number> {
    const server = createServer((socket) => this.accept(socket));
    this.servers.add(server);
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen("path" in where ? where : { host: where.host ?? "127.0.0.1", port: where.port ?? 0 }, () => {
        server.off("error", reject);
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Stops listening and closes all connections. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    const closing = [...this.servers].map((server) => new Promise((done) => server.close(done)));
    this.servers.clear();
    for (const channel of this.open) channel.close();
    await Promise.all(closing);
  }

  /** Connections that are open. */
  channels(): Channel[] {
    return [...this.open];
  }

  private accept(socket: Socket): Channel {
    const channel = new Channel(socket, this.host);
    this.open.add(channel);
    return channel;
  }

  // --- what is there ---

  /** All flows, by table. */
  flows(): FakeFlow[] {
    return [...this.tables.all()];
  }

  groups(): FakeGroup[] {
    return this.groupTable.allGroups();
  }

  meters(): FakeMeter[] {
    return this.groupTable.allMeters();
  }

  ports(): PortDesc[] {
    return [...this.portTable.values()];
  }

  /** One line for each flow, as `ovs-ofctl dump-flows --no-stats` prints it without the leading space, sorted. */
  dump(): string[] {
    return this.flows().map(flowLine).sort();
  }

  /** The flow that a packet with these field values hits in a table; a field that is not given counts as zero. */
  lookup(tableId: number, packet: Match): FakeFlow | undefined {
    return this.tables.lookup(tableId, packet);
  }

  /** Carries out a flow-mod as if somebody on the host had sent it. @throws OpenFlowError a refusal */
  flowMod(mod: FlowRequest): void {
    this.tables.check(mod);
    this.host.transaction((tx) => this.tables.apply(mod, tx));
  }

  /** Counts packets for a flow, as if they had hit it now. */
  count(flow: FakeFlow, packets: number | bigint, bytes: number | bigint): void {
    this.tables.hit(flow, BigInt(packets), BigInt(bytes));
  }

  /** Removes the flows whose timeouts are over by the switch's clock. */
  tick(): void {
    this.tables.expire();
  }

  // --- ports ---

  /** Adds a port; what is not given is as of a port that is up. */
  addPort(port: FakePort): void {
    if (port.port_no < 1 || (port.port_no >= MAX_PORT && port.port_no !== reserved.LOCAL)) throw badValue(`no port can be ${port.port_no}`);
    const byte = (shift: number): string => ((port.port_no >>> shift) & 0xff).toString(16).padStart(2, "0");
    const added: PortDesc = {
      hw_addr: `aa:55:00:00:${byte(8)}:${byte(0)}`, name: port.port_no === reserved.LOCAL ? "br0" : `p${port.port_no}`, config: 0, state: LIVE,
      curr: 0, advertised: 0, supported: 0, peer: 0, curr_speed: 0, max_speed: 0, ...port,
    };
    this.portTable.set(port.port_no, added);
    this.portStatus("add", added);
  }

  /** @throws OpenFlowError OF_VALUE when there is no such port */
  removePort(port_no: number): void {
    const port = this.portOf(port_no);
    this.portTable.delete(port_no);
    this.portStatus("delete", port);
  }

  /** @throws OpenFlowError OF_VALUE when there is no such port */
  updatePort(port_no: number, change: Partial<PortDesc>): void {
    const port = { ...this.portOf(port_no), ...change, port_no };
    this.portTable.set(port_no, port);
    this.portStatus("modify", port);
  }

  setPortCounters(port_no: number, counters: PortCounters): void {
    this.counters.set(port_no, counters);
  }

  private portOf(port_no: number): PortDesc {
    const port = this.portTable.get(port_no);
    if (port === undefined) throw badValue(`no port ${port_no}`);
    return port;
  }

  private portStatus(reason: keyof typeof PORT_REASONS, desc: PortDesc): void {
    for (const channel of this.open) if (channel.wants("port_status", PORT_REASONS[reason])) channel.send({ type: "port_status", reason, desc });
  }

  // --- events for the controllers ---

  /** Sends a packet to every controller that wants it, in the format it has chosen. Returns how many that were. */
  packetIn(packetIn: FakePacketIn): number {
    const { packet, in_port = reserved.CONTROLLER, reason = 1, table_id = 0, cookie = 0xffffffffffffffffn, controller_id = 0, userdata } = packetIn;
    const data = packet.subarray(0, packetIn.max_len ?? packet.length);
    const metadata: Match = { ...packetIn.metadata, in_port };
    const plain = reason < 3 ? reason : 1;
    let count = 0;
    for (const channel of this.open) {
      if (channel.controllerId !== controller_id || !channel.wants("packet_in", plain)) continue;
      count++;
      const common = { table_id, cookie, reason: plain };
      if (channel.packetInFormat === "standard") channel.send({ type: "packet_in", buffer_id: NO_BUFFER, total_len: packet.length, ...common, match: metadata, data });
      else if (channel.packetInFormat === "nxt_packet_in") channel.send({ type: "nxt_packet_in", buffer_id: NO_BUFFER, total_len: packet.length, ...common, metadata, data });
      else {
        channel.send({
          type: "nxt_packet_in2", packet: data, ...(data.length < packet.length ? { full_len: packet.length } : {}), ...common, metadata,
          ...(userdata === undefined ? {} : { userdata }),
        });
      }
    }
    return count;
  }

  private flowRemoved(flow: FlowEntry, reason: RemovedReason): void {
    this.emit("flow_removed", flow, reason);
    if ((flow.flags & flowModFlags.SEND_FLOW_REM) === 0) return;
    const ms = Math.max(0, this.clock() - flow.created);
    for (const channel of this.open) {
      if (!channel.wants("flow_removed", REMOVED[reason])) continue;
      channel.send({
        type: "flow_removed", cookie: flow.cookie, priority: flow.priority, reason: reason === "meter_delete" ? "delete" : reason, table_id: flow.table_id,
        duration_sec: Math.floor(ms / 1000), duration_nsec: Math.floor(ms % 1000) * 1_000_000, idle_timeout: flow.idle_timeout, hard_timeout: flow.hard_timeout,
        packet_count: flow.packet_count, byte_count: flow.byte_count, match: flow.match,
      });
    }
  }

  // --- faults ---

  /** The n-th flow-mod from now (1 is the next) is refused with this error, in a bundle or not. */
  refuseFlowMod(n: number, name: ErrorName): void {
    if (!Number.isInteger(n) || n < 1 || (errorNumbers(name) as unknown) === undefined) throw badValue(`refuse flow-mod ${n} with ${name}`);
    this.planned.push({ left: n, name });
  }

  private plannedRefusal(): void {
    for (const plan of this.planned) plan.left--;
    const due = this.planned.findIndex((plan) => plan.left <= 0);
    if (due >= 0) throw refusal(this.planned.splice(due, 1)[0]!.name, 0, "refused as the test asked for");
  }

  // --- requests ---

  private asHost(options: FakeSwitchOptions): ChannelHost {
    return {
      faults: this.faults,
      maxQueuedBytes: options.maxQueuedBytes ?? 64 * 1024 * 1024,
      maxBundleMessages: options.maxBundleMessages ?? Infinity,
      seen: (message, channel) => {
        this.emit("message", message, channel);
        if (message.type === "hello") this.emit("connected", channel);
      },
      refused: (error, channel) => this.emit("refused", error, channel),
      closed: (channel) => {
        this.open.delete(channel);
        this.emit("disconnected", channel);
      },
      check: (message) => this.check(message),
      apply: (message, tx, channel) => this.apply(message, tx, channel),
      applyAll: (messages, channel) => {
        let index = 0;
        const tx = new Transaction();
        try {
          for (; index < messages.length; index++) this.apply(messages[index]!, tx, channel);
        } catch (error) {
          tx.rollback();
          if (error instanceof OpenFlowError) throw Object.assign(error, { index });
          throw error;
        }
        tx.finish();
      },
      transaction: (run) => {
        const tx = new Transaction();
        try {
          run(tx);
        } catch (error) {
          tx.rollback();
          throw error;
        }
        tx.finish();
      },
      request: (message, channel) => this.request(message, channel),
      elect: (generation) => {
        // Generations wrap around: the distance decides.
        if (this.generation !== undefined && BigInt.asIntN(64, generation - this.generation) < 0n) return false;
        this.generation = generation;
        return true;
      },
      generation: () => this.generation,
      primaryIs: (channel) => {
        for (const other of this.open) if (other !== channel && other.role === "primary") other.role = "secondary";
      },
    };
  }

  private check(message: Change): void {
    switch (message.type) {
      case "flow_mod":
        this.tables.check(message as unknown as FlowRequest);
        return;
      case "group_mod":
        this.groupTable.checkGroup(message);
        return;
      case "packet_out": {
        const port = message.in_port ?? reserved.CONTROLLER;
        if (!isPort(port)) throw refusal("OFPBAC_BAD_OUT_PORT", 12, `no port ${port}`);
        if (port >= MAX_PORT && port !== reserved.LOCAL && port !== reserved.ANY && port !== reserved.CONTROLLER) throw refusal("OFPBRC_BAD_PORT", 12, `no packet comes from port ${port}`);
        if ((message.buffer_id ?? NO_BUFFER) !== NO_BUFFER) throw refusal("OFPBRC_BUFFER_UNKNOWN", 8, "there are no buffers");
        return;
      }
      case "port_mod":
    }
  }

  private apply(message: Change, tx: Transaction, channel: Channel): void {
    switch (message.type) {
      case "flow_mod":
        this.plannedRefusal();
        this.tables.apply(message as unknown as FlowRequest, tx);
        if (this.listenerCount("applied") > 0) tx.after(() => this.emit("applied", message, channel));
        return;
      case "group_mod":
        this.groupTable.applyGroup(message, this.tables, tx);
        return;
      case "port_mod": {
        const port = this.portTable.get(message.port_no);
        if (port === undefined) throw refusal("OFPPMFC_BAD_PORT", 8, `no port ${message.port_no}`);
        if (port.hw_addr.toLowerCase() !== message.hw_addr.toLowerCase()) throw refusal("OFPPMFC_BAD_HW_ADDR", 16, `port ${message.port_no} has another address`);
        const mask = message.mask & PORT_CONFIG;
        const config = (port.config & ~mask) | (message.config & mask);
        tx.after(() => {
          if (config !== port.config) this.updatePort(message.port_no, { config, state: (config & PORT_DOWN) === 0 ? port.state : (port.state | LINK_DOWN) & ~LIVE });
        });
        return;
      }
      case "packet_out": {
        const { groups } = usesOf([{ type: "apply_actions", actions: message.actions }]);
        for (const id of groups) if (!this.groupTable.hasGroup(id)) throw refusal("OFPBAC_BAD_OUT_GROUP", 0, `no group ${id}`);
        const data = Buffer.from(message.data ?? []);
        tx.after(() => this.emit("packet_out", { in_port: message.in_port ?? reserved.CONTROLLER, actions: message.actions, data }, channel));
      }
    }
  }

  private request(message: Decoded, channel: Channel): readonly (Message | Buffer)[] | undefined {
    switch (message.type) {
      case "features_request":
        return [{ type: "features_reply", datapath_id: this.dpid, n_buffers: 0, n_tables: this.tables.count, capabilities: CAPABILITIES }];
      case "get_config_request":
        return [{ type: "get_config_reply", flags: this.fragments, miss_send_len: channel.missSendLen }];
      case "set_config": {
        const flags = message.flags ?? 0;
        if ((flags & ~3) !== 0) throw refusal("OFPSCFC_BAD_FLAGS", 8, `configuration flags ${flags}`);
        // Fragments are not reassembled.
        if (channel.role !== "secondary" && flags !== 2) this.fragments = flags;
        channel.missSendLen = message.miss_send_len ?? 0;
        return [];
      }
      case "meter_mod":
        this.host.transaction((tx) => this.groupTable.applyMeter(message, this.tables, tx));
        return [];
      case "table_mod":
        if (message.table_id > this.tables.count && message.table_id !== ALL_TABLES) throw refusal("OFPTMFC_BAD_TABLE", 8, `no table ${message.table_id}`);
        if (message.table_id === this.tables.count) throw refusal("OFPTMFC_EPERM", 8, `table ${message.table_id} is the switch's own`);
        return [];
      case "queue_get_config_request":
        if (message.port !== reserved.ANY && !this.portTable.has(message.port)) throw refusal("OFPQOFC_BAD_PORT", 8, `no port ${message.port}`);
        return [{ type: "queue_get_config_reply", port: message.port, queues: [] }];
      case "multipart_request":
        return multipartReplies(message, this.subject);
      case "flow_mod_table_id":
        return [];
      case "tlv_table_mod":
        this.tlvTableMod(message);
        return [];
      case "tlv_table_request":
        return [{ type: "tlv_table_reply", max_option_space: TLV_SPACE, max_fields: TLV_FIELDS, maps: this.tlvMaps }];
      case "ct_flush_zone":
        this.emit("ct_flush", message, channel);
        return [];
      case "nxt_resume":
        this.emit("resume", message, channel);
        return [];
      default:
        return undefined;
    }
  }

  private tlvTableMod(message: Decoded<MessageOf<"tlv_table_mod">>): void {
    let maps = [...this.tlvMaps];
    const same = (a: TlvMap, b: TlvMap): boolean => a.option_class === b.option_class && a.option_type === b.option_type;
    if (message.command === "clear") maps = [];
    else {
      for (const map of message.maps) {
        if (map.index >= TLV_FIELDS) throw refusal("NXTTMFC_BAD_FIELD_IDX", 24, `no field tun_metadata${map.index}`);
        if (map.option_len % 4 !== 0 || map.option_len > 124) throw refusal("NXTTMFC_BAD_OPT_LEN", 24, `an option of ${map.option_len} bytes`);
        if (message.command === "add") {
          if (maps.some((other) => other.index === map.index)) throw refusal("NXTTMFC_ALREADY_MAPPED", 24, `tun_metadata${map.index} is taken`);
          if (maps.some((other) => same(other, map))) throw refusal("NXTTMFC_DUP_ENTRY", 24, "the option has a field already");
          if (maps.reduce((sum, { option_len }) => sum + option_len, map.option_len) > TLV_SPACE) throw refusal("NXTTMFC_TABLE_FULL", 24, "no room for the option");
          maps.push(map);
        } else maps = maps.filter((other) => !same(other, map));
      }
    }
    this.tlvMaps = maps.sort((a, b) => a.index - b.index);
  }
}

function flowLine(flow: FakeFlow): string {
  const head: string[] = [];
  if (flow.cookie !== 0n) head.push(`cookie=0x${flow.cookie.toString(16)}, `);
  if (flow.table_id !== 0) head.push(`table=${flow.table_id}, `);
  if (flow.idle_timeout !== 0) head.push(`idle_timeout=${flow.idle_timeout}, `);
  if (flow.hard_timeout !== 0) head.push(`hard_timeout=${flow.hard_timeout}, `);
  if ((flow.flags & flowModFlags.SEND_FLOW_REM) !== 0) head.push("send_flow_rem ");
  if ((flow.flags & flowModFlags.CHECK_OVERLAP) !== 0) head.push("check_overlap ");
  if ((flow.flags & flowModFlags.RESET_COUNTS) !== 0) head.push("reset_counts ");
  if ((flow.flags & flowModFlags.NO_PKT_COUNTS) !== 0) head.push("no_packet_counts ");
  if ((flow.flags & flowModFlags.NO_BYT_COUNTS) !== 0) head.push("no_byte_counts ");
  const match = formatMatch(flow.match, flow.priority);
  return `${head.join("")}${match === "" ? "" : `${match} `}actions=${formatInstructions(flow.instructions)}`;
}
