// One controller's connection to the fake switch: hello, roles, which events it wants, bundles, errors. What a request does to
// the switch is the host's affair; here it is taken from the wire, judged, carried out in a transaction and answered.

import type { Socket } from "node:net";

import { ERROR_TYPE_EXPERIMENTER, errorNumbers, NX_VENDOR, ONF_VENDOR, OpenFlowError, refusal, type ErrorName } from "../wire/errors.ts";
import type { Transaction } from "./flows.ts";
import { OFP_VERSION } from "../messages/flow-mod.ts";
import { Framer } from "../channel/frame.ts";
import { decodeMessage, encodeMessage, type Decoded, type Message, type MessageOf } from "../messages/codec.ts";

export type AsyncKind = "packet_in" | "port_status" | "flow_removed";
export type Role = "equal" | "primary" | "secondary";
type PacketInFormat = "standard" | "nxt_packet_in" | "nxt_packet_in2";
/** Requests that change the switch, and that a bundle may hold. */
export type Change = Decoded<MessageOf<"flow_mod"> | MessageOf<"group_mod"> | MessageOf<"port_mod"> | MessageOf<"packet_out">>;

/** What goes wrong on purpose. */
export interface Faults {
  /** Milliseconds by which everything that the switch sends is late. */
  replyDelayMs: number;
  /** A connection is cut once it has received, or sent, so many bytes: not one more is read, or written. */
  cutAfterReceived: number | undefined;
  cutAfterSent: number | undefined;
  /** Echo requests stay unanswered. */
  ignoreEchoes: boolean;
  /** Nothing is answered at all, though it is read. */
  silent: boolean;
}

/** What the channels of a switch need of it. */
export interface ChannelHost {
  readonly faults: Faults;
  /** Bytes that may wait to be sent on one connection; more ends it. */
  readonly maxQueuedBytes: number;
  readonly maxBundleMessages: number;
  /** Every message that has been decoded, before it is handled. */
  seen(message: Decoded, channel: Channel): void;
  refused(error: OpenFlowError, channel: Channel): void;
  closed(channel: Channel): void;
  check(message: Change): void;
  /** Carries out what check() has passed. @throws OpenFlowError a refusal */
  apply(message: Change, tx: Transaction, channel: Channel): void;
  /** As one; the index of what was refused is in the error. */
  applyAll(messages: readonly Change[], channel: Channel): void;
  /** Other requests: handles one and returns the replies, as messages or as complete bytes. undefined: there is no such request. */
  request(message: Decoded, channel: Channel): readonly (Message | Buffer)[] | undefined;
  /** Whether this generation id is newer than, or the same as, the last one; it is the last one from then on. */
  elect(generation: bigint): boolean;
  /** Last generation id, if any. */
  generation(): bigint | undefined;
  /** All but one primary become secondary. */
  primaryIs(channel: Channel): void;
  transaction(run: (tx: Transaction) => void): void;
}

interface Bundle {
  readonly flags: number;
  closed: boolean;
  readonly messages: { readonly message: Change; readonly frame: Buffer }[];
}

const BARRIER_REQUEST = 20;
const ROLES: readonly (Role | undefined)[] = [undefined, "equal", "primary", "secondary"];
const CHANGES = new Set<string>(["flow_mod", "group_mod", "port_mod", "packet_out"]);
const FORMATS: readonly PacketInFormat[] = ["standard", "nxt_packet_in", "nxt_packet_in2"];
/** Requests that a secondary may not make. */
const PRIMARY_ONLY = new Set<string>([...CHANGES, "meter_mod", "table_mod", "bundle_control", "bundle_add", "tlv_table_mod"]);
/** Bytes of a refused message that its error quotes: all, unless the error would not fit a message. */
const QUOTED = 65_000;
const ATOMIC = 1;
/** Bundles that one connection may have open. */
const MAX_BUNDLES = 64;

export class Channel {
  readonly socket: Socket;
  role: Role = "equal";
  controllerId = 0;
  packetInFormat: PacketInFormat = "standard";
  missSendLen = 128;
  helloSeen = false;
  /** Bit masks of reasons: as primary or equal, and as secondary. */
  readonly async: Record<AsyncKind, [number, number]> = { packet_in: [3, 0], port_status: [7, 7], flow_removed: [15, 0] };

  private readonly host: ChannelHost;
  private readonly framer = new Framer();
  private readonly bundles = new Map<number, Bundle>();
  private received = 0;
  private sent = 0;
  private over = false;
  private readonly late = new Set<NodeJS.Timeout>();

  constructor(socket: Socket, host: ChannelHost) {
    this.socket = socket;
    this.host = host;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.data(chunk));
    socket.on("drain", () => socket.resume());
    socket.on("error", () => this.close());
    socket.on("end", () => this.close());
    socket.on("close", () => this.close());
    this.send({ type: "hello", elements: [{ type: 1, data: Uint8Array.of(0, 0, 0, 1 << OFP_VERSION) }] });
  }

  get open(): boolean {
    return !this.over;
  }

  close(): void {
    if (this.over) return;
    this.over = true;
    for (const timer of this.late) clearTimeout(timer);
    this.bundles.clear();
    this.socket.removeAllListeners("data");
    this.socket.destroySoon();
    this.host.closed(this);
  }

  /** Whether this controller wants events of this kind and reason. */
  wants(kind: AsyncKind, reason: number): boolean {
    return !this.over && this.helloSeen && (this.async[kind][this.role === "secondary" ? 1 : 0] & (1 << reason)) !== 0;
  }

  // --- sending ---

  send(message: Message, xid = 0): void {
    this.write(encodeMessage(message, xid));
  }

  write(bytes: Buffer): void {
    const { faults, maxQueuedBytes } = this.host;
    if (this.over || faults.silent) return;
    if (faults.replyDelayMs > 0) {
      const timer = setTimeout(() => {
        this.late.delete(timer);
        this.writeNow(bytes);
      }, faults.replyDelayMs);
      this.late.add(timer);
      return;
    }
    if (this.socket.writableLength + bytes.length > maxQueuedBytes) {
      this.socket.destroy();
      this.close();
      return;
    }
    this.writeNow(bytes);
  }

  private writeNow(bytes: Buffer): void {
    if (this.over) return;
    const limit = this.host.faults.cutAfterSent;
    if (limit !== undefined && this.sent + bytes.length > limit) {
      this.socket.write(bytes.subarray(0, Math.max(0, limit - this.sent)));
      this.close();
      return;
    }
    this.sent += bytes.length;
    // Who does not read his replies gets no more requests read.
    if (!this.socket.write(bytes)) this.socket.pause();
  }

  private refuse(error: OpenFlowError, frame: Buffer): void {
    this.host.refused(error, this);
    const { type, errorCode, experimenter } = error.type === undefined ? errorNumbers("OFPBRC_BAD_LEN") : error;
    const data = frame.subarray(0, QUOTED);
    const xid = frame.readUInt32BE(4);
    if (experimenter === undefined) this.send({ type: "error", error_type: type!, code: errorCode!, data }, xid);
    else this.send({ type: "error", error_type: ERROR_TYPE_EXPERIMENTER, code: type!, experimenter, data }, xid);
  }

  // --- receiving ---

  private data(chunk: Buffer): void {
    const limit = this.host.faults.cutAfterReceived;
    const cut = limit !== undefined && this.received + chunk.length > limit;
    const taken = cut ? chunk.subarray(0, Math.max(0, limit - this.received)) : chunk;
    this.received += taken.length;
    this.socket.cork();
    try {
      this.framer.push(taken, this.frame);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error; // a listener's own fault
      this.close();
    } finally {
      this.socket.uncork();
    }
    if (cut) {
      this.socket.destroy();
      this.close();
    }
  }

  private readonly frame = (frame: Buffer): void => {
    if (this.over) return;
    let message: Decoded;
    try {
      message = decodeMessage(frame, { strict: true });
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      if (this.helloSeen) this.refuse(error, frame);
      else this.close();
      return;
    }
    if (!this.helloSeen) {
      this.hello(message);
      return;
    }
    this.host.seen(message, this);
    try {
      this.handle(message, frame);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      this.refuse(error, frame);
    }
  };

  private hello(message: Decoded): void {
    if (message.type !== "hello") {
      this.close();
      return;
    }
    const bitmap = message.elements.find((element) => element.type === 1)?.data;
    const agreed = bitmap !== undefined && bitmap.length >= 4 ? (bitmap[3]! & (1 << OFP_VERSION)) !== 0 : message.version >= OFP_VERSION;
    if (!agreed) {
      this.send({ type: "error", error_type: 0, code: 0, data: Buffer.from("only version 0x04 is spoken here") }, message.xid);
      this.close();
      return;
    }
    this.helloSeen = true;
    this.host.seen(message, this);
  }

  private handle(message: Decoded, frame: Buffer): void {
    if (this.role === "secondary" && PRIMARY_ONLY.has(message.type)) throw refusal("OFPBRC_IS_SECONDARY", 0, "a secondary only reads");
    const { xid } = message;
    switch (message.type) {
      case "echo_request":
        if (!this.host.faults.ignoreEchoes) this.send({ type: "echo_reply", ...(message.data === undefined ? {} : { data: message.data }) }, xid);
        return;
      case "echo_reply":
      case "error":
        return;
      case "barrier_request":
        // Everything before has been done: a request is carried out before the next is looked at.
        this.send({ type: "barrier_reply" }, xid);
        return;
      case "role_request": {
        const role = frame.readUInt32BE(8);
        this.setRole(role, role >= 2 ? message.generation_id : undefined);
        this.send({ type: "role_reply", role: ROLES.indexOf(this.role), generation_id: this.host.generation() ?? 0xffffffffffffffffn }, xid);
        return;
      }
      case "nxt_role_request":
        this.setRole(frame.readUInt32BE(16) + 1, undefined);
        this.send({ type: "nxt_role_reply", role: ROLES.indexOf(this.role) - 1 }, xid);
        return;
      case "set_async":
      case "nxt_set_async":
        for (const kind of ["packet_in", "port_status", "flow_removed"] as const) this.async[kind] = [message[`${kind}_mask`][0]!, message[`${kind}_mask`][1]!];
        return;
      case "nxt_set_async2":
        for (const property of message.properties) {
          const [, kind, role] = /^(packet_in|port_status|flow_removed)_(master|slave)$/.exec(String(property.type)) ?? [];
          if (kind !== undefined && "mask" in property) this.async[kind as AsyncKind][role === "master" ? 0 : 1] = property.mask;
        }
        return;
      case "get_async_request":
        this.send({ type: "get_async_reply", packet_in_mask: this.async.packet_in, port_status_mask: this.async.port_status, flow_removed_mask: this.async.flow_removed }, xid);
        return;
      case "set_packet_in_format": {
        const format = FORMATS[frame.readUInt32BE(16)];
        if (format === undefined) throw refusal("OFPBRC_EPERM", 16, "no such packet-in format");
        this.packetInFormat = format;
        return;
      }
      case "set_controller_id":
        this.controllerId = message.controller_id;
        return;
      case "bundle_control":
        this.bundleControl(message, frame);
        return;
      case "bundle_add":
        this.bundleAdd(message, frame);
        return;
      default:
        break;
    }
    if (CHANGES.has(message.type)) {
      const change = message as Change;
      this.host.check(change);
      this.host.transaction((tx) => this.host.apply(change, tx, this));
      return;
    }
    const replies = this.host.request(message, this);
    if (replies === undefined) throw refusal(unknownError(message), 1, `no request of type ${message.type}`);
    for (const reply of replies) {
      if (Buffer.isBuffer(reply)) this.write(reply);
      else this.send(reply, xid);
    }
  }

  // --- roles ---

  private setRole(code: number, generation: bigint | undefined): void {
    if (code === 0) return;
    const role = ROLES[code];
    if (role === undefined) throw refusal("OFPRRFC_BAD_ROLE", 8, `no role ${code}`);
    if (generation !== undefined && !this.host.elect(generation)) throw refusal("OFPRRFC_STALE", 16, "a later generation has been elected");
    this.role = role;
    if (role === "primary") this.host.primaryIs(this);
  }

  // --- bundles ---

  private bundleControl(message: Decoded<MessageOf<"bundle_control">>, frame: Buffer): void {
    const id = message.bundle_id;
    const flags = message.flags;
    const bundle = this.bundles.get(id);
    const kind = frame.readUInt16BE(20);
    if (kind % 2 === 1 || kind > 6) throw refusal("OFPBFC_BAD_TYPE", 20, `bundle control ${kind}`);
    if (kind === 0) {
      if (bundle !== undefined) this.drop(id, "OFPBFC_BAD_ID", `bundle ${id} is open already`);
      this.create(id, flags);
    } else if (bundle === undefined) throw refusal("OFPBFC_BAD_ID", 16, `no bundle ${id}`);
    else if (kind === 2) {
      if (bundle.closed) this.drop(id, "OFPBFC_BUNDLE_CLOSED", `bundle ${id} is closed already`);
      if (bundle.flags !== flags) this.drop(id, "OFPBFC_BAD_FLAGS", `bundle ${id} has other flags`);
      bundle.closed = true;
    } else {
      this.bundles.delete(id);
      if (kind === 4) this.commit(bundle, flags);
    }
    this.send({ type: "bundle_control", bundle_id: id, ctrl_type: kind + 1, flags: 0 }, message.xid);
  }

  private create(id: number, flags: number): Bundle {
    if (this.bundles.size >= MAX_BUNDLES) throw refusal("OFPBFC_OUT_OF_BUNDLES", 16, `${MAX_BUNDLES} bundles are open`);
    const bundle: Bundle = { flags, closed: false, messages: [] };
    this.bundles.set(id, bundle);
    return bundle;
  }

  private drop(id: number, name: ErrorName, reason: string): never {
    this.bundles.delete(id);
    throw refusal(name, 16, reason);
  }

  private bundleAdd(message: Decoded<MessageOf<"bundle_add">>, frame: Buffer): void {
    const inner = Buffer.from(frame.subarray(24));
    if (inner.length < 8) throw refusal("OFPBFC_MSG_BAD_LEN", 24, "no message in the bundle-add");
    const length = inner.readUInt16BE(2);
    if (inner[0] !== OFP_VERSION) throw refusal("OFPBFC_BAD_VERSION", 24, `version ${inner[0]!}`);
    if (length < 8 || length > inner.length) throw refusal("OFPBFC_MSG_BAD_LEN", 26, `length ${length}`);
    if (inner.readUInt32BE(4) !== message.xid) throw refusal("OFPBFC_MSG_BAD_XID", 28, "another xid than that around it");
    const code = inner[1]!;
    if (code > BARRIER_REQUEST || code < 13 || code > 16) throw refusal("OFPBFC_MSG_UNSUP", 25, `messages of type ${code} are not for bundles`);
    const change = decodeMessage(inner.subarray(0, length), { strict: true }) as Change;
    this.host.check(change);
    const id = message.bundle_id;
    const bundle = this.bundles.get(id) ?? this.create(id, message.flags);
    if (bundle.closed) this.drop(id, "OFPBFC_BUNDLE_CLOSED", `bundle ${id} is closed`);
    if (bundle.flags !== message.flags) this.drop(id, "OFPBFC_BAD_FLAGS", `bundle ${id} has other flags`);
    if (bundle.messages.length >= this.host.maxBundleMessages) throw refusal("OFPBFC_MSG_TOO_MANY", 24, `bundle ${id} has ${bundle.messages.length} messages`);
    bundle.messages.push({ message: change, frame: Buffer.from(frame.subarray(0, QUOTED)) });
  }

  private commit(bundle: Bundle, flags: number): void {
    if (bundle.flags !== flags) throw refusal("OFPBFC_BAD_FLAGS", 22, "the bundle has other flags");
    try {
      const atomicPortMod = (flags & ATOMIC) === 0 ? -1 : bundle.messages.findIndex(({ message }) => message.type === "port_mod");
      if (atomicPortMod >= 0) throw Object.assign(refusal("OFPBFC_MSG_FAILED", 0, "port-mods are not atomic"), { index: atomicPortMod });
      this.host.applyAll(bundle.messages.map(({ message }) => message), this);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      this.refuse(error, bundle.messages[error.index ?? 0]!.frame);
      throw refusal("OFPBFC_MSG_FAILED", 16, `message ${error.index ?? 0} of the bundle was refused`);
    }
  }
}

function unknownError(message: Decoded): ErrorName {
  const experimenter = message.type === "experimenter" || (message.type === "multipart_request" && message.kind === "experimenter") ? message.experimenter : undefined;
  if (experimenter !== undefined) return experimenter === NX_VENDOR || experimenter === ONF_VENDOR ? "OFPBRC_BAD_SUBTYPE" : "OFPBRC_BAD_VENDOR";
  return message.type === "multipart_request" ? "OFPBRC_BAD_STAT" : "OFPBRC_BAD_TYPE";
}
