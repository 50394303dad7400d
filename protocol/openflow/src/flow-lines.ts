// Flow statistics as lines, fast: what formatFlowStats() prints of a decoded flow, straight from the bytes. Fields that most
// flows match are printed here, each into its place in the line; a match with any other field goes through the decoder and
// formatMatch(). Texts of actions are remembered, since flows share them.

import { decodeActions } from "./actions.ts";
import { fields, type FieldName } from "./fields.ts";
import type { FlowStatsView } from "./flow-mod.ts";
import { decodeInstructions } from "./instructions.ts";
import { decodeMatch } from "./match.ts";
import { formatActions } from "./text/print-actions.ts";
import { formatInstructions } from "./text/print-flow.ts";
import { formatMatch } from "./text/print-match.ts";
import { duration, formatPort } from "./text/print-value.ts";
import { ipv4Text, macText } from "./value.ts";

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

interface Slot {
  readonly rank: number;
  readonly prefix: string;
  readonly style: Style;
}
const slots = new Map<number, Slot>();
LABELS.forEach(([label, style, ...names], rank) => {
  for (const name of names) slots.set(fields[name].header + fields[name].bytes, { rank, prefix: `${label}=`, style });
});
const ETH_TYPE = fields.eth_type.header + 2;
const IP_PROTO = fields.ip_proto.header + 1;
/** By Ethernet type, then by protocol; 256 is none. Others are left to formatMatch(). */
const WORDS: ReadonlyMap<number, string> = new Map([
  [0x0800, { 256: "ip", 1: "icmp", 6: "tcp", 17: "udp" }], [0x86dd, { 256: "ipv6", 58: "icmp6", 6: "tcp6", 17: "udp6" }], [0x0806, { 256: "arp" }],
].flatMap(([type, words]) => Object.entries(words as Record<string, string>).map(([proto, word]) => [((type as number) << 9) + Number(proto), word] as const)));

/** Texts that are remembered; then they are forgotten all at once. */
const REMEMBERED = 50_000;
const FLAGS = ["send_flow_rem ", "check_overlap ", "reset_counts ", "no_packet_counts ", "no_byte_counts "];
const APPLY_ACTIONS = 4;
const GOTO_TABLE = 1;

export class FlowLines {
  private readonly pieces: string[] = LABELS.map(() => "");
  private readonly actionTexts = new Map<string, string>();
  private readonly stats: boolean;

  /** `stats`: with cookie, age, table and counters always, as ovs-ofctl shows them without --no-stats. */
  constructor(stats = true) {
    this.stats = stats;
  }

  /** The line of one flow, without a newline. @throws OpenFlowError when its bytes make no sense */
  line(e: FlowStatsView): string {
    const cookie = e.cookie_hi === 0 ? e.cookie_lo.toString(16) : e.cookie_hi.toString(16) + e.cookie_lo.toString(16).padStart(8, "0");
    let out = this.stats
      ? `cookie=0x${cookie}, duration=${duration(e.duration_sec, e.duration_nsec)}, table=${e.table_id}, n_packets=${this.counter(e, e.packet_count, 32)}, n_bytes=${this.counter(e, e.byte_count, 40)}, `
      : `${cookie === "0" ? "" : `cookie=0x${cookie}, `}${e.table_id === 0 ? "" : `table=${e.table_id}, `}`;
    if (e.idle_timeout !== 0) out += `idle_timeout=${e.idle_timeout}, `;
    if (e.hard_timeout !== 0) out += `hard_timeout=${e.hard_timeout}, `;
    if (e.flags !== 0) for (let bit = 0; bit < FLAGS.length; bit++) if ((e.flags & (1 << bit)) !== 0) out += FLAGS[bit]!;
    const match = this.quick(e) ?? formatMatch(decodeMatch(e.buf, e.match_off, e.match_off + e.match_len), e.priority);
    return `${out}${match === "" ? "" : `${match} `}actions=${this.actions(e)}`;
  }

  /** Beyond 2^53 the view's number is not exact. */
  private counter(e: FlowStatsView, value: number, at: number): string {
    if (value <= Number.MAX_SAFE_INTEGER) return String(value);
    const exact = e.buf.readBigUInt64BE(e.match_off - 48 + at);
    return exact === 0xffffffffffffffffn ? "?" : String(exact);
  }

  /** The match, if it consists of well-known fields without masks. */
  private quick(e: FlowStatsView): string | undefined {
    const { buf, match_off } = e;
    const { pieces } = this;
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
      let rank = WORD;
      if (header === ETH_TYPE) type = (buf[pos]! << 8) | buf[pos + 1]!;
      else if (header === IP_PROTO) proto = buf[pos]!;
      else {
        const slot = slots.get(header);
        if (slot === undefined || pieces[slot.rank] !== "") {
          known = false;
          break;
        }
        rank = slot.rank;
        pieces[rank] = slot.prefix + valueText(buf, pos, length, slot.style);
      }
      if (rank < from) from = rank;
      if (rank > to) to = rank;
      pos += length;
    }
    if (known && (type !== 0 || proto !== 256)) {
      const word = WORDS.get((type << 9) + proto);
      if (word === undefined) known = false;
      else pieces[WORD] = word;
    }
    let text = e.priority === 0x8000 ? "" : `priority=${e.priority}`;
    for (let rank = from; rank <= to; rank++) {
      const piece = pieces[rank]!;
      if (piece === "") continue;
      text = text === "" ? piece : `${text},${piece}`;
      pieces[rank] = "";
    }
    return known && pos === end ? text : undefined;
  }

  private actions(e: FlowStatsView): string {
    const { buf, instructions_off: off, instructions_len: length } = e;
    if (length === 0) return "drop";
    const end = off + length;
    const code = (buf[off]! << 8) | buf[off + 1]!;
    const size = (buf[off + 2]! << 8) | buf[off + 3]!;
    if (code !== APPLY_ACTIONS || size <= 8 || off + size > end) return this.remembered(buf, off, end, false);
    if (off + size === end) return this.actionList(buf, off + 8, end);
    const next = (buf[end - 8]! << 8) | buf[end - 7]!;
    if (off + size + 8 !== end || next !== GOTO_TABLE) return this.remembered(buf, off, end, false);
    return `${this.actionList(buf, off + 8, off + size)},goto_table:${buf[end - 4]!}`;
  }

  private actionList(buf: Buffer, start: number, end: number): string {
    let text = "";
    for (let at = start; at < end; ) {
      const size = at + 4 <= end ? (buf[at + 2]! << 8) | buf[at + 3]! : 0;
      // What makes no sense here makes none to the decoder either, which says so.
      if (size < 8 || at + size > end) return formatActions(decodeActions(buf, start, end - start));
      const action = this.remembered(buf, at, at + size, true);
      text = text === "" ? action : `${text},${action}`;
      at += size;
    }
    return text;
  }

  private remembered(buf: Buffer, start: number, end: number, action: boolean): string {
    // An action and an instruction may have the same bytes.
    const key = (action ? "a" : "i") + buf.toString("latin1", start, end);
    let text = this.actionTexts.get(key);
    if (text === undefined) {
      text = action ? formatActions(decodeActions(buf, start, end - start)) : formatInstructions(decodeInstructions(buf, start, end - start));
      if (this.actionTexts.size >= REMEMBERED) this.actionTexts.clear();
      this.actionTexts.set(key, text);
    }
    return text;
  }
}

function valueText(buf: Buffer, pos: number, length: number, style: Style): string {
  switch (style) {
    case "mac":
      return macText(buf, pos);
    case "ipv4":
      return ipv4Text(buf, pos);
    default:
      break;
  }
  if (length === 8) {
    const value = buf.readBigUInt64BE(pos);
    return value === 0n ? "0" : `0x${value.toString(16)}`;
  }
  let value = 0;
  for (let i = 0; i < length; i++) value = value * 256 + buf[pos + i]!;
  if (style === "hash") return value === 0 ? "0" : `0x${value.toString(16)}`;
  return style === "port" ? formatPort(value) : String(value);
}
