// Packet-in in its three formats, resume and packet-out: what is known about a packet, the state of an interrupted pipeline, and
// the packet's own headers.

import { decodeActions } from "../../actions/codec.ts";
import { fields, NO_BUFFER } from "../../match/fields.ts";
import { parts, type Match } from "../../match/match.ts";
import type { PacketIn2 } from "../../messages/parts.ts";
import type { MessageOf } from "../../messages/codec.ts";
import { formatActions, packetInReason } from "./actions.ts";
import { formatMatch } from "./match.ts";
import { formatPacket } from "./packet.ts";
import { dotted, formatPort, hashBytes } from "./value.ts";

/** What all formats have in common. */
interface PacketIn {
  readonly table: number;
  readonly cookie: bigint | undefined;
  readonly totalLength: number;
  readonly match: Match;
  readonly reason: number | string;
  readonly bufferId: number;
  readonly packet: Uint8Array;
  readonly userdata?: Uint8Array | undefined;
  readonly continuation?: Uint8Array | undefined;
}

const NO_COOKIE = 0xffffffffffffffffn;
const NOTHING = new Uint8Array(0);

function describe(of: PacketIn): string {
  let out = of.table === 0 ? "" : ` table_id=${of.table}`;
  if (of.cookie !== undefined && of.cookie !== NO_COOKIE) out += ` cookie=0x${of.cookie.toString(16)}`;
  out += ` total_len=${of.totalLength} ${formatMatch(of.match)} (via ${packetInReason(of.reason)}) data_len=${of.packet.length}`;
  if (of.bufferId === NO_BUFFER) out += ` (unbuffered)${of.totalLength === of.packet.length ? "" : " (***total_len != data_len***)"}`;
  else out += ` buffer=0x${of.bufferId.toString(16).padStart(8, "0")}${of.totalLength < of.packet.length ? " (***total_len < data_len***)" : ""}`;
  out += "\n";
  if (of.userdata !== undefined && of.userdata.length > 0) out += ` userdata=${dotted(of.userdata)}\n`;
  if (of.continuation !== undefined) out += continuation(of.continuation);
  const type = of.match.packet_type;
  return `${out}${formatPacket(of.packet, type === undefined ? 0 : Number(parts(fields.packet_type, type).value))}\n`;
}

export function formatPacketIn(message: MessageOf<"packet_in">): string {
  return describe({
    table: message.table_id, cookie: message.cookie, totalLength: message.total_len, match: message.match, reason: message.reason, bufferId: message.buffer_id,
    packet: message.data ?? NOTHING,
  });
}

export function formatNxtPacketIn(message: MessageOf<"nxt_packet_in">): string {
  return describe({
    table: message.table_id, cookie: message.cookie, totalLength: message.total_len, match: message.metadata, reason: message.reason, bufferId: message.buffer_id,
    packet: message.data ?? NOTHING,
  });
}

export function formatPacketIn2(message: PacketIn2): string {
  const packet = message.packet ?? NOTHING;
  return describe({
    table: message.table_id ?? 0, cookie: message.cookie, totalLength: message.full_len ?? packet.length, match: message.metadata ?? {}, reason: message.reason ?? 0,
    bufferId: message.buffer_id ?? NO_BUFFER, packet, userdata: message.userdata, continuation: message.continuation,
  });
}

// --- continuations, which Open vSwitch calls private and prints all the same ---

const FIRST_PROPERTY = 0x8000;
const PROPERTIES = ["bridge", "stack", "mirrors", "conntracked", "table_id", "cookie", "actions", "action_set", "odp_port"] as const;
const ACTIONS_AT = 8;

function continuation(data: Uint8Array): string {
  const buf = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const stack: string[] = [];
  const lines = new Map<string, string>();
  let table = 0;
  let cookie = 0n;
  let at = 4;
  while (at + 4 <= buf.length) {
    const kind = PROPERTIES[buf.readUInt16BE(at) - FIRST_PROPERTY];
    const length = buf.readUInt16BE(at + 2);
    if (length < 4 || at + length > buf.length) break;
    const body = buf.subarray(at + 4, at + length);
    at += (length + 7) & ~7;
    switch (kind) {
      case "bridge":
        if (body.length >= 16) lines.set(kind, uuid(body));
        break;
      case "stack":
        stack.push(hashBytes(body));
        break;
      case "mirrors":
        if (body.length >= 4) lines.set(kind, `0x${body.readUInt32BE(0).toString(16)}`);
        break;
      case "conntracked":
        lines.set(kind, "true");
        break;
      case "table_id":
        table = body[0] ?? 0;
        break;
      case "cookie":
        if (body.length >= 12) cookie = body.readBigUInt64BE(4);
        break;
      case "actions":
      case "action_set": {
        const actions = length > ACTIONS_AT ? decodeActions(body, 4, body.length - 4) : [];
        const text = actions.length === 0 ? [] : [formatActions(actions)];
        if (kind === "actions") text.unshift(`unroll_xlate(table=${table}, cookie=${cookie})`);
        if (text.length > 0) lines.set(kind, [...(lines.has(kind) ? [lines.get(kind)!] : []), ...text].join(","));
        break;
      }
      case "odp_port":
        if (body.length >= 4) lines.set(kind, String(body.readUInt32BE(0)));
        break;
      case undefined:
        break;
    }
  }
  if (lines.get("mirrors") === "0x0") lines.delete("mirrors");
  if (lines.get("odp_port") === "0") lines.delete("odp_port");
  if (lines.get("bridge") === "00000000-0000-0000-0000-000000000000") lines.delete("bridge");
  if (stack.length > 0) lines.set("stack", `(top) ${stack.join(" ")} (bottom)`);
  return PROPERTIES.filter((name) => lines.has(name)).map((name) => ` continuation.${name}=${lines.get(name)!}\n`).join("");
}

/** Its four words are in the byte order of the switch's machine. */
function uuid(bytes: Buffer): string {
  const digits = [0, 4, 8, 12].map((at) => bytes.readUInt32LE(at).toString(16).padStart(8, "0")).join("");
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-${digits.slice(12, 16)}-${digits.slice(16, 20)}-${digits.slice(20)}`;
}

// --- packet-out ---

export function formatPacketOut(message: MessageOf<"packet_out">): string {
  const data = message.data ?? NOTHING;
  const out = ` in_port=${formatPort(message.in_port ?? 0)} actions=${formatActions(message.actions)}`;
  if (message.buffer_id !== undefined && message.buffer_id !== NO_BUFFER) return `${out} buffer=0x${message.buffer_id.toString(16).padStart(8, "0")}`;
  return `${out} data_len=${data.length}${data.length === 0 ? "" : `\n${formatPacket(data)}\n`}`;
}
