// One spelling for a match. A switch dumps what a match means, not the bytes it was given: wide registers as four words,
// full masks left out, fields in an order of its own. Only needed for flows whose bytes are not found as they are.

const OXM_TYPE = 1;
const NXM_1 = 0x0001;
const PACKET_REGS = 0x8001;
const EXPERIMENTER = 0xffff;
/** NXM_NX_REG0..15 are fields 0..15 of class 1, NXM_NX_XXREG0..3 fields 111..114; OXM_OF_PKT_REG0..7 fields 0..7 of theirs. */
const XXREG0 = 111;

/**
 * The match (padded ofp_match at `off`) as a string that is equal for equal matches, whatever their spelling; undefined
 * if it is no match that OpenFlow 1.3 knows.
 */
export function canonicalMatch(buf: Buffer, off: number, matchLen: number): string | undefined {
  if (matchLen < 8 || off + matchLen > buf.length || buf.readUInt16BE(off) !== OXM_TYPE) return undefined;
  const end = off + buf.readUInt16BE(off + 2);
  if (end > off + matchLen) return undefined;
  const fields: string[] = [];
  for (let at = off + 4; at < end; ) {
    if (at + 4 > end) return undefined;
    const oxmClass = buf.readUInt16BE(at);
    const field = buf[at + 2]! >> 1;
    const hasMask = (buf[at + 2]! & 1) === 1;
    const length = buf[at + 3]!;
    let from = at + 4;
    at = from + length;
    if (at > end) return undefined;
    let prefix = "";
    if (oxmClass === EXPERIMENTER) {
      if (length < 4) return undefined;
      prefix = buf.toString("latin1", from, from + 4);
      from += 4;
    }
    const width = hasMask ? (at - from) >> 1 : at - from;
    if (hasMask && (at - from) % 2 !== 0) return undefined;
    const value = Buffer.from(buf.subarray(from, from + width));
    const mask = hasMask ? buf.subarray(from + width, at) : undefined;
    if (mask !== undefined) for (let i = 0; i < width; i++) value[i]! &= mask[i]!;
    const word = firstRegister(oxmClass, field);
    if (word === undefined) push(fields, String.fromCharCode(oxmClass, field) + prefix, value, mask);
    else {
      for (let i = 0; i < width; i += 4) {
        push(fields, String.fromCharCode(NXM_1, word + i / 4), value.subarray(i, i + 4), mask?.subarray(i, i + 4));
      }
    }
  }
  return fields.sort().join("");
}

/** Number of the 32-bit register that a wider one begins with. */
function firstRegister(oxmClass: number, field: number): number | undefined {
  if (oxmClass === NXM_1 && field >= XXREG0 && field < XXREG0 + 4) return 4 * (field - XXREG0);
  if (oxmClass === PACKET_REGS && field < 8) return 2 * field;
  return undefined;
}

/** A field compared in no bit is not in the match; one compared in all has no mask. */
function push(fields: string[], name: string, value: Buffer, mask: Buffer | undefined): void {
  const bits = mask ?? FULL.subarray(0, value.length);
  if (mask?.every((b) => b === 0) === true) return;
  fields.push(name + String.fromCharCode(value.length) + value.toString("latin1") + bits.toString("latin1"));
}

const FULL = Buffer.alloc(256, 0xff);
