// Text that is made of a flow's bytes without making strings: constant pieces, and numbers and addresses read from the flow and written as digits.
import { formatIp } from "../../../lib/address.ts";

/** How a piece is written: `text` as it is; `hex` has 0x also before zero, `hash` has not (C's %#x); `address` is IPv4 in the lowest of four words, or IPv6. */
export type Kind = "text" | "hex" | "hash" | "decimal" | "ipv4" | "mac" | "ipv6" | "address" | "hex64" | "port";

/**
 * Text that stays, or bytes of a flow that are written as text: `bytes` of them from `at`; of a number the bits from `shift` on that `mask` has.
 * One shape for both: they are read a dozen times for each flow.
 */
export interface Piece {
  readonly kind: Kind;
  /** Of kind `text`; of others there are none. */
  readonly text: Uint8Array;
  readonly at: number;
  readonly bytes: number;
  readonly shift: number;
  readonly mask: number;
}

const NOTHING = new Uint8Array(0);
export const textPiece = (text: Uint8Array): Piece => ({ kind: "text", text, at: 0, bytes: 0, shift: 0, mask: 0 });
export const place = (kind: Exclude<Kind, "text">, at: number, bytes: number, shift = 0, bits = 32): Piece => ({ kind, text: NOTHING, at, bytes, shift, mask: bits === 32 ? 0xffffffff : 2 ** bits - 1 });

/** The most bytes that a piece comes to; a port's name is `PORT_NAME` at most, or is not written here. */
export const PORT_NAME = 2048;
const MOST: Readonly<Record<Kind, number>> = { text: 0, hex: 10, hash: 10, decimal: 10, ipv4: 15, mac: 17, ipv6: 45, address: 45, hex64: 18, port: PORT_NAME };
export const mostOf = ({ kind, text }: Piece): number => text.length + MOST[kind];

/** The same with texts that follow one another as one: there are fewer to copy. */
export function joined(pieces: readonly Piece[]): readonly Piece[] {
  const out: Piece[] = [];
  let texts: Uint8Array[] = [];
  const end = (): void => {
    const text = Buffer.concat(texts);
    if (text.length > 0) out.push(textPiece(text));
    texts = [];
  };
  for (const piece of pieces) {
    if (piece.kind === "text") texts.push(piece.text);
    else {
      end();
      out.push(piece);
    }
  }
  end();
  return out;
}

/** Names of a switch's ports as they are written, by OpenFlow port number. */
export type PortNames = Pick<ReadonlyMap<number, Uint8Array>, "get">;

export function writePieces(to: Buffer, first: number, pieces: readonly Piece[], from: Uint8Array, off: number, ports: PortNames): number {
  let at = first;
  for (let i = 0; i < pieces.length; i++) at = writePiece(to, at, pieces[i]!, from, off, ports);
  return at;
}

/** Writes a piece of the flow that begins at `off` of `from`; returns the offset after it. There has to be room. */
function writePiece(to: Buffer, at: number, piece: Piece, from: Uint8Array, off: number, ports: PortNames): number {
  const { kind } = piece;
  const first = off + piece.at;
  switch (kind) {
    case "text":
      return writeBytes(to, at, piece.text);
    case "hex":
    case "hash": {
      const value = numberAt(from, first, piece);
      to[at] = ZERO;
      if (value === 0 && kind === "hash") return at + 1;
      to[at + 1] = X;
      return writeHex(to, at + 2, value);
    }
    case "decimal":
      return writeDecimal(to, at, numberAt(from, first, piece));
    case "port": {
      const number = numberAt(from, first, piece);
      const name = ports.get(number);
      return name === undefined ? writeDecimal(to, at, number) : writeBytes(to, at, name);
    }
    case "ipv4":
      return writeIpv4(to, at, from, first);
    case "mac": {
      for (let i = 0; i < 6; i++) {
        const byte = from[first + i]!;
        const end = at + 3 * i;
        to[end] = digit(byte >> 4);
        to[end + 1] = digit(byte & 15);
        if (i < 5) to[end + 2] = COLON;
      }
      return at + 17;
    }
    case "hex64": {
      const high = wordAt(from, first);
      to[at] = ZERO;
      to[at + 1] = X;
      if (high === 0) return writeHex(to, at + 2, wordAt(from, first + 4));
      return writeHex8(to, writeHex(to, at + 2, high), wordAt(from, first + 4));
    }
    case "address":
      if (wordAt(from, first) === 0 && wordAt(from, first + 4) === 0 && wordAt(from, first + 8) === 0) return writeIpv4(to, at, from, first + 12);
      return writeIpv6(to, at, from, first);
    case "ipv6":
      return writeIpv6(to, at, from, first);
  }
}

const ZERO = 0x30;
const X = 0x78;
const COLON = 0x3a;
const DOT = 0x2e;
const digit = (value: number): number => (value < 10 ? 0x30 : 0x57) + value;
/** Shorter ones are copied byte by byte, which is faster than a call. */
const SHORT = 20;

export function writeBytes(to: Buffer, at: number, bytes: Uint8Array): number {
  const { length } = bytes;
  if (length > SHORT) to.set(bytes, at);
  else for (let i = 0; i < length; i++) to[at + i] = bytes[i]!;
  return at + length;
}

const wordAt = (from: Uint8Array, at: number): number => ((from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!) >>> 0;

function numberAt(from: Uint8Array, at: number, { bytes, shift, mask }: Piece): number {
  if (bytes === 4) return ((wordAt(from, at) >>> shift) & mask) >>> 0;
  let value = 0;
  for (let i = 0; i < bytes; i++) value = (value << 8) | from[at + i]!;
  return ((value >>> shift) & mask) >>> 0;
}

/** Without leading zeroes. */
function writeHex(to: Buffer, at: number, value: number): number {
  let digits = value === 0 ? 1 : (35 - Math.clz32(value)) >> 2;
  const end = at + digits;
  for (let rest = value; digits > 0; rest >>>= 4) to[at + --digits] = digit(rest & 15);
  return end;
}

/** All eight digits of a word. */
function writeHex8(to: Buffer, at: number, value: number): number {
  let rest = value;
  for (let i = 7; i >= 0; i--, rest >>>= 4) to[at + i] = digit(rest & 15);
  return at + 8;
}

/** A number of 32 bits. */
export function writeDecimal(to: Buffer, at: number, value: number): number {
  if (value < 10) {
    to[at] = ZERO + value;
    return at + 1;
  }
  let digits = 2;
  for (let most = 100; digits < 10 && value >= most; most *= 10) digits++;
  let rest = value >>> 0;
  for (let i = digits - 1; i >= 0; i--) {
    // A division of whole numbers, which is a multiplication.
    const next = (rest / 10) >>> 0;
    to[at + i] = ZERO + ((rest - Math.imul(next, 10)) | 0);
    rest = next;
  }
  return at + digits;
}

function writeIpv4(to: Buffer, at: number, from: Uint8Array, first: number): number {
  let end = at;
  for (let i = 0; i < 4; i++) {
    if (i > 0) to[end++] = DOT;
    end = writeDecimal(to, end, from[first + i]!);
  }
  return end;
}

function writeIpv6(to: Buffer, at: number, from: Uint8Array, first: number): number {
  let value = 0n;
  for (let i = 0; i < 16; i += 4) value = (value << 32n) | BigInt(wordAt(from, first + i));
  return at + to.write(formatIp({ family: 6, value }), at, "latin1");
}
