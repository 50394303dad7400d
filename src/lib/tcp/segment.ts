// A TCP segment as the state machine sees it, without addresses and checksums; and numbers that go round. RFC 9293 sections 3.1 and 3.4
import { tcpFlags } from "packet-codec";

export interface Segment {
  readonly seq: number;
  /** Counts if the ACK bit is set. */
  readonly ack: number;
  /** Bits of `tcpFlags`. */
  readonly flags: number;
  /** Bytes; never scaled, as windows of more than 65,535 are not offered. */
  readonly window: number;
  /** The option of that name: largest payload that the sender of a SYN takes. */
  readonly mss?: number;
  readonly payload: Buffer;
}

export const has = ({ flags }: Pick<Segment, "flags">, name: "fin" | "syn" | "rst" | "ack"): boolean => (flags & tcpFlags[name]) !== 0;

/** How far a sequence number is behind another: negative if it comes before it. */
export const distance = (from: number, to: number): number => (to - from) | 0;
export const advanced = (seq: number, by: number): number => (seq + by) >>> 0;

/** How much room a segment takes in the space of sequence numbers. */
export const lengthOf = (segment: Segment): number => segment.payload.length + (has(segment, "fin") ? 1 : 0) + (has(segment, "syn") ? 1 : 0);

const none = Buffer.alloc(0);
/** What is said to a segment of no connection; undefined: nothing, as it is a reset itself. RFC 9293 section 3.5.2 */
export function resetFor(segment: Segment): Segment | undefined {
  if (has(segment, "rst")) return undefined;
  return has(segment, "ack")
    ? { seq: segment.ack, ack: 0, flags: tcpFlags.rst, window: 0, payload: none }
    : { seq: 0, ack: advanced(segment.seq, lengthOf(segment)), flags: tcpFlags.rst | tcpFlags.ack, window: 0, payload: none };
}
