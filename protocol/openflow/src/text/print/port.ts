// Ports and their queues: descriptions, statistics and configuration as ofp-print lays them out.

import type { MessageOf, MultipartReplyOf, PortDesc } from "../../messages/codec.ts";
import { bitNames, duration, fixedText, formatPort } from "./value.ts";

const CONFIG = ["PORT_DOWN", "", "NO_RECV", "", "", "NO_FWD", "NO_PACKET_IN"];
const CONFIG_KNOWN = 0x65;
const STATE = ["LINK_DOWN", "BLOCKED", "LIVE"];
const STATE_KNOWN = 7;
const FEATURES = [
  "10MB-HD", "10MB-FD", "100MB-HD", "100MB-FD", "1GB-HD", "1GB-FD", "10GB-FD", "40GB-FD", "100GB-FD", "1TB-FD", "OTHER", "COPPER", "FIBER", "AUTO_NEG",
  "AUTO_PAUSE", "AUTO_PAUSE_ASYM",
];
const UNKNOWN = 0xffffffffffffffffn;

const features = (bits: number): string => bitNames(bits & 0xffff, FEATURES);
const config = (bits: number): string => bitNames(bits & CONFIG_KNOWN, CONFIG);

/** 16-bit port numbers, by which Open vSwitch sorts. */
const number16 = (port: number): number => (port >= 0xffffff00 ? port & 0xffff : port);

export function formatPortDesc(port: PortDesc): string {
  const name = fixedText(/^[\x20-\x7e]{0,15}/.exec(port.name)?.[0] ?? "");
  let out = ` ${formatPort(port.port_no)}(${name}): addr:${port.hw_addr}\n`;
  out += `     config:     ${config(port.config)}\n     state:      ${bitNames(port.state & STATE_KNOWN, STATE)}\n`;
  for (const [label, bits] of [["current:    ", port.curr], ["advertised: ", port.advertised], ["supported:  ", port.supported], ["peer:       ", port.peer]] as const) {
    if ((bits & 0xffff) !== 0) out += `     ${label}${features(bits)}\n`;
  }
  return `${out}     speed: ${Math.floor(port.curr_speed / 1000)} Mbps now, ${Math.floor(port.max_speed / 1000)} Mbps max\n`;
}

/** All of them, sorted by number. */
export function formatPortDescs(ports: readonly PortDesc[]): string {
  return [...ports].sort((a, b) => number16(a.port_no) - number16(b.port_no)).map(formatPortDesc).join("");
}

const REASONS: Readonly<Record<string, string>> = { add: " ADD:", delete: " DEL:", modify: " MOD:" };

export function formatPortStatus(message: MessageOf<"port_status">): string {
  return (REASONS[message.reason] ?? "") + formatPortDesc(message.desc);
}

export function formatPortMod(message: MessageOf<"port_mod">): string {
  return ` port: ${formatPort(message.port_no)}: addr:${message.hw_addr}\n     config: ${config(message.config & message.mask)}\n     mask:   ${config(message.mask)}\n     advertise: ${
    ((message.advertise ?? 0) & 0xffff) === 0 ? "UNCHANGED" : features(message.advertise ?? 0)}\n`;
}

const count = (value: bigint): string => (value === UNKNOWN ? "?" : String(value));

export function formatPortStats(port: MultipartReplyOf<"port_stats">["ports"][number]): string {
  const row = (names: readonly (readonly [string, bigint])[]): string => names.map(([name, value]) => `${name}=${count(value)}`).join(", ");
  let out = `  port ${number16(port.port_no) < 10 ? " " : ""}${formatPort(port.port_no)}: rx ${row([
    ["pkts", port.rx_packets], ["bytes", port.rx_bytes], ["drop", port.rx_dropped], ["errs", port.rx_errors], ["frame", port.rx_frame_err], ["over", port.rx_over_err],
    ["crc", port.rx_crc_err],
  ])}\n`;
  out += `           tx ${row([["pkts", port.tx_packets], ["bytes", port.tx_bytes], ["drop", port.tx_dropped], ["errs", port.tx_errors], ["coll", port.collisions]])}\n`;
  if (port.duration_sec !== 0xffffffff) out += `           duration=${duration(port.duration_sec, port.duration_nsec)}\n`;
  return out;
}

const queueName = (queue: number): string => (queue === 0xffffffff ? "ALL" : String(queue));

export function formatQueueRequest(port: number, queue: number): string {
  return ` port=${formatPort(port)} queue=${queueName(queue)}`;
}

export function formatQueueStats(queue: MultipartReplyOf<"queue">["queues"][number]): string {
  const age = queue.duration_sec === 0xffffffff ? "?" : duration(queue.duration_sec, queue.duration_nsec);
  return `  port ${formatPort(queue.port_no)} queue ${queueName(queue.queue_id)}: bytes=${count(queue.tx_bytes)}, pkts=${count(queue.tx_packets)}, errors=${count(queue.tx_errors)}, duration=${age}\n`;
}

/** Queues sorted by number under their port; rates in tenths of a per cent. */
export function formatQueueConfig(message: MessageOf<"queue_get_config_reply">): string {
  if (message.queues.length === 0) return "";
  let out = message.port === 0 ? " " : ` port=${formatPort(message.port)}\n`;
  for (const queue of [...message.queues].sort((a, b) => a.queue_id - b.queue_id)) {
    out += `queue ${queue.queue_id}:`;
    for (const type of ["min_rate", "max_rate"] as const) {
      let rate = 0xffff;
      for (const property of queue.properties) if (property.type === type) rate = property.rate;
      if (rate <= 1000) out += ` ${type}:${Math.floor(rate / 10)}.${rate % 10}%`;
      else if (rate < 0xffff) out += ` ${type}:(disabled)`;
    }
    out += "\n";
  }
  return out;
}
