// Bytes to bytes, decoded and encoded again: what a codec that loses nothing gives back unchanged.

import { decodeActions, encodeActions } from "../actions/codec.ts";
import { decodeInstructions, encodeInstructions } from "../messages/instructions.ts";
import { decodeMatch, decodeNxm, decodeOxms, encodeMatch, encodeNxm, encodeOxms } from "../match/match.ts";
import { decodeMessage, encodeMessage } from "../messages/codec.ts";
import type { DecodeOptions } from "../wire/strict.ts";
import { entriesEnd } from "../text/print/bytes.ts";

/** What a piece of bytes is: a whole message, or the part of one that the commands parse-actions, parse-oxm ... of ovs-ofctl take. */
export type Piece = "message" | "actions" | "instructions" | "oxm" | "nxm";
export const pieces: readonly Piece[] = ["message", "actions", "instructions", "oxm", "nxm"];

/**
 * Decodes and encodes again. `oxm` is a whole ofp_match with its header and padding, or fields without it; `nxm` the entries alone,
 * padded to 8 bytes.
 * @throws OpenFlowError for what the decoder refuses
 */
export function reencode(piece: Piece, bytes: Buffer, options: DecodeOptions = {}): Buffer {
  if (piece === "message") {
    const message = decodeMessage(bytes, options);
    const again = encodeMessage(message, message.xid);
    again[0] = message.version;
    return again;
  }
  const out = Buffer.alloc(bytes.length * 4 + 4096);
  switch (piece) {
    case "actions":
      return out.subarray(0, encodeActions(out, 0, decodeActions(bytes, 0, bytes.length, options)));
    case "instructions":
      return out.subarray(0, encodeInstructions(out, 0, decodeInstructions(bytes, 0, bytes.length, options)));
    case "oxm":
      if (isMatch(bytes)) return out.subarray(0, encodeMatch(out, 0, decodeMatch(bytes, 0, bytes.length, options)));
      return out.subarray(0, encodeOxms(out, 0, decodeOxms(bytes, 0, bytes.length)));
    case "nxm":
      return out.subarray(0, encodeNxm(out, 0, decodeNxm(bytes, 0, entriesEnd(bytes), options)));
  }
}

/** OFPMT_OXM, and a length that agrees with the bytes; anything else is a field of its own, or refused as one. */
function isMatch(bytes: Buffer): boolean {
  return bytes.length < 4 || (bytes.readUInt16BE(0) <= 1 && ((bytes.readUInt16BE(2) + 7) & ~7) === bytes.length);
}
