// Probes as frames: a number of 128 bits that nobody can guess, and padding up to the size that is tried.
import { buildEthernet } from "packet-codec";

/** Of a locally administered unicast address, which no port has: it is the destination of frames of no network alone. */
export const PROBE_MAC = "06:61:78:69:6f:01";
const FROM_MAC = "06:61:78:69:6f:02";
/** Local Experimental Ethertype 1, IEEE 802 section 9.2.3. */
export const PROBE_TYPE = 0x88b5;
const MAGIC = Buffer.from("axion tunnel probe\0");
const HEADER = 14;
const NONCE = 16;
/** Bytes of a probe that the controller is sent of it. */
export const HEARD = HEADER + MAGIC.length + NONCE;
/** Bytes of the smallest frame that is sent: Ethernet's, without its check sequence. */
export const LEAST = 60;

/** @throws RangeError when it does not fit into `length` bytes */
export function probeFrame(nonce: Buffer, length: number): Buffer {
  if (length < HEARD || nonce.length !== NONCE) throw new RangeError(`a probe of ${length} bytes with ${nonce.length} of a number`);
  return buildEthernet({ dst: PROBE_MAC, src: FROM_MAC, ethertype: PROBE_TYPE }, Buffer.concat([MAGIC, nonce], length - HEADER));
}

/** The number of a probe, in hex; undefined: it is none. */
export function nonceOf(frame: Uint8Array): string | undefined {
  if (frame.length < HEARD || MAGIC.compare(frame, HEADER, HEADER + MAGIC.length) !== 0) return undefined;
  return Buffer.from(frame.subarray(HEADER + MAGIC.length, HEARD)).toString("hex");
}
