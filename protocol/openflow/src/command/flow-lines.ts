// Flow statistics as lines, fast: what formatFlowStats() prints of a decoded flow, from bytes to bytes without a string between.
// Fields that most flows match are printed here, each in its place in the line; a match with any other field goes through the
// decoder and formatMatch(). Texts of actions are remembered, since flows share them.

import { decodeActions } from "../actions/codec.ts";
import { malformed, NX_VENDOR } from "../wire/errors.ts";
import { fields, type FieldName } from "../match/fields.ts";
import type { FlowStatsView } from "../messages/flow-mod.ts";
import { decodeInstructions } from "../messages/instructions.ts";
import { decodeMatch } from "../match/match.ts";
import { formatActions } from "../text/print/actions.ts";
import { formatInstructions } from "../text/print/flow.ts";
import { formatMatch } from "../text/print/match.ts";
import { duration, formatPort } from "../text/print/value.ts";

type Style = "hash" | "decimal" | "port" | "mac" | "ipv4";

/** Labels in their order in a line, with the fields that show under each. "" is the word for Ethernet type and protocol. */
const LABELS: readonly (readonly [label: string, style: Style, ...names: FieldName[]])[] = [
  ["pkt_mark", "hash", "pkt_mark"], ["recirc_id", "hash", "recirc_id"], ["conj_id", "decimal", "conj_id"], ["ct_zone", "decimal", "ct_zone"], ["ct_mark", "hash", "ct_mark"],
  ["", "decimal"],
  ...Array.from({ length: 16 }, (_, i): readonly [string, Style, FieldName] => [`reg${i}`, "hash", `reg${i}` as FieldName]),
  ["tun_id", "hash", "tunnel_id"], ["metadata", "hash", "metadata"], ["in_port", "port", "in_port"], ["dl_src", "mac", "eth_src"], ["dl_dst", "mac", "eth_dst"],
  ["arp_spa", "ipv4", "arp_spa"], ["arp_tpa", "ipv4", "arp_tpa"], ["nw_src", "ipv4", "ipv4_src"], ["nw_dst", "ipv4", "ipv4_dst"], ["arp_op", "decimal", "arp_op"],
  ["tp_src", "decimal", "tcp_src", "udp_src"], ["tp_dst", "decimal", "tcp_dst", "udp_dst"],
];
const WORD = LABELS.findIndex(([label]) => label === "");

const PREFIXES = LABELS.map(([label]) => Buffer.from(`${label}=`));
const STYLES = LABELS.map(([, style]) => style);
/** Place in a line, by the header of a field without a mask. */
const RANKS = new Map<number, number>();
LABELS.forEach(([, , ...names], rank) => {
  for (const name of names) RANKS.set(fields[name].header + fields[name].bytes, rank);
});
const ETH_TYPE = fields.eth_type.header + 2;
const IP_PROTO = fields.ip_proto.header + 1;
/** By Ethernet type, then by protocol; 256 is none. Others are left to formatMatch(). */
const WORDS: ReadonlyMap<number, Buffer> = new Map([
  [0x0800, { 256: "ip", 1: "icmp", 6: "tcp", 17: "udp" }], [0x86dd, { 256: "ipv6", 58: "icmp6", 6: "tcp6", 17: "udp6" }], [0x0806, { 256: "arp" }],
].flatMap(([type, words]) => Object.entries(words as Record<string, string>).map(([proto, word]) => [((type as number) << 9) + Number(proto), Buffer.from(word)] as const)));

const FLAGS = ["send_flow_rem ", "check_overlap ", "reset_counts ", "no_packet_counts ", "no_byte_counts "];
const APPLY_ACTIONS = 4;
const GOTO_TABLE = 1;
const NICIRA_LOAD = 7;
/** Texts that are remembered, one for each value of a hash, of so many bytes of actions at most. */
const REMEMBERED = 8192;
const KEY = 64;
/** What a line takes at most without its actions, unless its match is printed by formatMatch(). */
const HEAD = 2048;
const text = (value: string): Buffer => Buffer.from(value, "latin1");
const T = {
  cookie: text(" cookie=0x"), duration: text(", duration="), table: text("table="), packets: text(", n_packets="), bytes: text(", n_bytes="), idle: text("idle_timeout="),
  hard: text("hard_timeout="), priority: text("priority="), actions: text("actions="), drop: text("drop"), goto: text(",goto_table:"), load: text("load:"),
};

export class FlowLines {
  private buf = Buffer.allocUnsafe(128 * 1024);
  private at = 0;
  private readonly stats: boolean;
  // Where the values of a match are, by their place in the line; -1 for none.
  private readonly places = new Int32Array(LABELS.length).fill(-1);
  private readonly keys = Buffer.alloc(REMEMBERED * KEY);
  private readonly keyLengths = new Uint8Array(REMEMBERED);
  private readonly texts: Buffer[] = [];

  /** `stats`: with cookie, age, table and counters always, as ovs-ofctl shows them without --no-stats. */
  constructor(stats = true) {
    this.stats = stats;
  }

  /** Bytes that are waiting to be taken. */
  get length(): number {
    return this.at;
  }

  /** The lines since the last time: ASCII, each with a space before it and a newline after it. */
  take(): Buffer {
    const lines = Buffer.from(this.buf.subarray(0, this.at));
    this.at = 0;
    return lines;
  }

  /** Adds the line of one flow. @throws OpenFlowError when its bytes make no sense; then nothing has been added */
  add(e: FlowStatsView): void {
    const start = this.at;
    try {
      this.line(e);
    } catch (error) {
      this.at = start;
      throw error;
    }
  }

  private line(e: FlowStatsView): void {
    this.room(HEAD);
    if (this.stats) {
      this.put(T.cookie);
      this.hex64(e.cookie_hi, e.cookie_lo);
      this.put(T.duration);
      if (e.duration_nsec % 1_000_000 === 0) {
        this.decimal(e.duration_sec);
        if (e.duration_nsec !== 0) {
          const ms = e.duration_nsec / 1_000_000;
          this.buf[this.at++] = 46;
          this.buf[this.at++] = 48 + Math.floor(ms / 100);
          this.buf[this.at++] = 48 + (Math.floor(ms / 10) % 10);
          this.buf[this.at++] = 48 + (ms % 10);
        }
        this.buf[this.at++] = 115;
      } else this.string(duration(e.duration_sec, e.duration_nsec));
      this.comma();
      this.put(T.table);
      this.decimal(e.table_id);
      this.put(T.packets);
      this.counter(e, e.packet_count, 32);
      this.put(T.bytes);
      this.counter(e, e.byte_count, 40);
      this.comma();
    } else {
      if (e.cookie_hi !== 0 || e.cookie_lo !== 0) {
        this.put(T.cookie);
        this.hex64(e.cookie_hi, e.cookie_lo);
        this.comma();
      } else this.buf[this.at++] = 32;
      if (e.table_id !== 0) {
        this.put(T.table);
        this.decimal(e.table_id);
        this.comma();
      }
    }
    for (const [name, seconds] of [[T.idle, e.idle_timeout], [T.hard, e.hard_timeout]] as const) {
      if (seconds === 0) continue;
      this.put(name);
      this.decimal(seconds);
      this.comma();
    }
    if (e.flags !== 0) for (let bit = 0; bit < FLAGS.length; bit++) if ((e.flags & (1 << bit)) !== 0) this.string(FLAGS[bit]!);
    const before = this.at;
    if (!this.match(e)) this.string(formatMatch(decodeMatch(e.buf, e.match_off, e.match_off + e.match_len), e.priority));
    if (this.at > before) this.buf[this.at++] = 32;
    this.put(T.actions);
    this.actions(e);
    this.room(1);
    this.buf[this.at++] = 10;
  }

  // --- the match ---

  /** Prints the match if it consists of well-known fields without masks; else nothing, and says so. */
  private match(e: FlowStatsView): boolean {
    const { buf, match_off } = e;
    const { places } = this;
    const end = match_off + ((buf[match_off + 2]! << 8) | buf[match_off + 3]!);
    let from = LABELS.length;
    let to = -1;
    let type = 0;
    let proto = 256;
    let known = true;
    let pos = match_off + 4;
    while (pos + 4 <= end) {
      const header = ((buf[pos]! << 24) | (buf[pos + 1]! << 16) | (buf[pos + 2]! << 8) | buf[pos + 3]!) >>> 0;
      pos += 4;
      const length = header & 0xff;
      if (pos + length > end) break;
      let rank: number | undefined = WORD;
      if (header === ETH_TYPE) type = (buf[pos]! << 8) | buf[pos + 1]!;
      else if (header === IP_PROTO) proto = buf[pos]!;
      else {
        rank = RANKS.get(header);
        if (rank === undefined || places[rank] !== -1) {
          known = false;
          break;
        }
      }
      places[rank] = pos;
      if (rank < from) from = rank;
      if (rank > to) to = rank;
      pos += length;
    }
    const word = type !== 0 || proto !== 256 ? WORDS.get((type << 9) + proto) : undefined;
    if (pos !== end || (word === undefined && places[WORD] !== -1)) known = false;
    const start = this.at;
    if (known && e.priority !== 0x8000) {
      this.put(T.priority);
      this.decimal(e.priority);
    }
    for (let rank = from; rank <= to; rank++) {
      const place = places[rank]!;
      if (place === -1) continue;
      places[rank] = -1;
      if (!known) continue;
      if (this.at > start) this.buf[this.at++] = 44;
      if (rank === WORD) this.put(word!);
      else {
        this.put(PREFIXES[rank]!);
        this.value(buf, place, buf[place - 1]!, STYLES[rank]!);
      }
    }
    return known;
  }

  private value(buf: Buffer, pos: number, length: number, style: Style): void {
    const out = this.buf;
    switch (style) {
      case "mac":
        for (let i = 0; i < 6; i++) {
          if (i > 0) out[this.at++] = 58;
          out[this.at++] = DIGITS[buf[pos + i]! >> 4]!;
          out[this.at++] = DIGITS[buf[pos + i]! & 15]!;
        }
        return;
      case "ipv4":
        for (let i = 0; i < 4; i++) {
          if (i > 0) out[this.at++] = 46;
          this.decimal(buf[pos + i]!);
        }
        return;
      default:
        break;
    }
    if (length === 8) {
      this.hash(buf.readUInt32BE(pos), buf.readUInt32BE(pos + 4));
      return;
    }
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + buf[pos + i]!;
    if (style === "hash") this.hash(0, value);
    else if (style === "port" && value >= 0xff00) this.string(formatPort(value));
    else this.decimal(value);
  }

  // --- actions ---

  private actions(e: FlowStatsView): void {
    const { buf, instructions_off: off, instructions_len: length } = e;
    if (length === 0) {
      this.put(T.drop);
      return;
    }
    const end = off + length;
    const code = (buf[off]! << 8) | buf[off + 1]!;
    const stop = off + ((buf[off + 2]! << 8) | buf[off + 3]!);
    const next = (buf[end - 8]! << 8) | buf[end - 7]!;
    if (code === APPLY_ACTIONS && stop > off + 8 && stop <= end && (stop === end || (stop + 8 === end && next === GOTO_TABLE))) {
      this.actionList(buf, off + 8, stop);
      if (stop === end) return;
      this.room(T.goto.length + 3);
      this.put(T.goto);
      this.decimal(buf[end - 4]!);
    } else this.string(formatInstructions(decodeInstructions(buf, off, length)));
  }

  private actionList(buf: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const size = at + 8 <= end ? (buf[at + 2]! << 8) | buf[at + 3]! : 0;
      // What makes no sense here makes none to the decoder either, which says so.
      if (size < 8 || at + size > end) {
        decodeActions(buf, start, end - start);
        throw malformed(at + 2, `action length ${size}`);
      }
      if (at > start) {
        this.room(1);
        this.buf[this.at++] = 44;
      }
      if (size === 24 && buf[at] === 0xff && buf[at + 1] === 0xff && buf.readUInt32BE(at + 4) === NX_VENDOR && buf.readUInt16BE(at + 8) === NICIRA_LOAD) {
        // Flows that are alike in all else load different values.
        const where = this.remembered(buf, at, 16, loadedTo);
        this.room(64 + where.length);
        this.put(T.load);
        this.hash(buf.readUInt32BE(at + 16), buf.readUInt32BE(at + 20));
        this.put(where);
      } else {
        const action = this.remembered(buf, at, size, actionText);
        this.room(action.length);
        this.put(action);
      }
      at += size;
    }
  }

  private remembered(buf: Buffer, start: number, length: number, make: (buf: Buffer, start: number, length: number) => string): Buffer {
    if (length > KEY) return text(make(buf, start, length));
    const { keys } = this;
    let hash = length;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ buf[start + i]!, 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & (REMEMBERED - 1);
    const key = slot * KEY;
    let same = this.keyLengths[slot] === length;
    for (let i = 0; same && i < length; i++) same = keys[key + i] === buf[start + i];
    if (same) return this.texts[slot]!;
    const made = text(make(buf, start, length));
    buf.copy(keys, key, start, start + length);
    this.keyLengths[slot] = length;
    this.texts[slot] = made;
    return made;
  }

  // --- bytes ---

  private room(bytes: number): void {
    if (this.at + bytes <= this.buf.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buf.length * 2, this.at + bytes));
    this.buf.copy(larger, 0, 0, this.at);
    this.buf = larger;
  }

  private put(bytes: Buffer): void {
    const { buf } = this;
    for (let i = 0; i < bytes.length; i++) buf[this.at + i] = bytes[i]!;
    this.at += bytes.length;
  }

  /** Text of any length, and room for what follows. */
  private string(value: string): void {
    this.room(value.length + HEAD);
    this.at += this.buf.write(value, this.at, "latin1");
  }

  private comma(): void {
    this.buf[this.at++] = 44;
    this.buf[this.at++] = 32;
  }

  private counter(e: FlowStatsView, value: number, at: number): void {
    if (value <= 0xffffffff) {
      this.decimal(value);
      return;
    }
    // Beyond 2^53 the view's number is not exact.
    const exact = e.buf.readBigUInt64BE(e.match_off - 48 + at);
    this.string(exact === 0xffffffffffffffffn ? "?" : String(exact));
  }

  /** Up to 32 bits. */
  private decimal(value: number): void {
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    const { buf } = this;
    for (let i = this.at + digits - 1; i >= this.at; i--) {
      const rest = Math.floor(value / 10);
      buf[i] = 48 + value - rest * 10;
      value = rest;
    }
    this.at += digits;
  }

  private hex(value: number, digits: number): void {
    const { buf } = this;
    for (let shift = (digits - 1) * 4; shift >= 0; shift -= 4) buf[this.at++] = DIGITS[(value >>> shift) & 15]!;
  }

  private hex64(hi: number, lo: number): void {
    if (hi !== 0) {
      this.hex(hi, digitsOf(hi));
      this.hex(lo, 8);
    } else this.hex(lo, digitsOf(lo));
  }

  /** Zero has no prefix. */
  private hash(hi: number, lo: number): void {
    if (hi !== 0 || lo !== 0) {
      this.buf[this.at++] = 48;
      this.buf[this.at++] = 120;
    }
    this.hex64(hi, lo);
  }
}

const DIGITS = text("0123456789abcdef");

function digitsOf(value: number): number {
  return value === 0 ? 1 : (35 - Math.clz32(value)) >> 2;
}

function actionText(buf: Buffer, start: number, length: number): string {
  return formatActions(decodeActions(buf, start, length));
}

/** What stands after the value in a load action, of which the first 16 bytes are given. */
function loadedTo(buf: Buffer, start: number): string {
  const whole = actionText(buf, start, 24);
  return whole.slice(whole.indexOf("->"));
}
