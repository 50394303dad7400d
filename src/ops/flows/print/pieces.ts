// Text that is made of a flow's bytes without making strings: constant pieces, and numbers and addresses read from the flow and written as digits.
import { formatIp } from "../../../lib/address.ts";

/** How a piece is written: `hex` has 0x also before zero, `hash` has not (C's %#x); `address` is IPv4 in the lowest of four words, or IPv6. */
export type Kind = "hex" | "hash" | "decimal" | "ipv4" | "mac" | "ipv6" | "address" | "hex64" | "port";

/** Bytes of a flow that are written as text: `bytes` of them from `at`; of a number the bits from `shift` on that `mask` has. */
export interface Place {
  readonly kind: Kind;
  readonly at: number;
  readonly bytes: number;
  readonly shift: number;
  readonly mask: number;
}

export type Piece = Uint8Array | Place;

/** The most bytes that a place comes to; a port's name is `PORT_NAME` at most, or is not written here. */
export const PORT_NAME = 2048;
const MOST: Readonly<Record<Kind, number>> = { hex: 10, hash: 10, decimal: 10, ipv4: 15, mac: 17, ipv6: 45, address: 45, hex64: 18, port: PORT_NAME };
export const mostOf = (piece: Piece): number => (piece instanceof Uint8Array ? piece.length : MOST[piece.kind]);

/** Names of a switch's ports as they are written, by OpenFlow port number. */
export type PortNames = Pick<ReadonlyMap<number, Uint8Array>, "get">;

/** Writes a piece of the flow that begins at `off` of `from`; returns the offset after it. There has to be room. */
export function writePiece(to: Buffer, at: number, piece: Piece, from: Uint8Array, off: number, ports: PortNames): number {
  if (piece instanceof Uint8Array) return writeBytes(to, at, piece);
  const { kind } = piece;
  const first = off + piece.at;
  switch (kind) {
    case "hex":
    case "hash": {
      const value = numberAt(from, first, piece);
      if (value === 0 && kind === "hash") {
        to[at] = ZERO;
        return at + 1;
      }
      to[at] = ZERO;
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
      let end = at;
      for (let i = 0; i < 6; i++) {
        const byte = from[first + i]!;
        if (i > 0) to[end++] = COLON;
        to[end++] = DIGITS[byte >> 4]!;
        to[end++] = DIGITS[byte & 15]!;
      }
      return end;
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
const DIGITS = Buffer.from("0123456789abcdef", "latin1");
/** Shorter ones are copied byte by byte, which is faster than a call. */
const SHORT = 20;

export function writeBytes(to: Buffer, at: number, bytes: Uint8Array): number {
  const { length } = bytes;
  if (length > SHORT) to.set(bytes, at);
  else for (let i = 0; i < length; i++) to[at + i] = bytes[i]!;
  return at + length;
}

const wordAt = (from: Uint8Array, at: number): number => ((from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!) >>> 0;

export function numberAt(from: Uint8Array, at: number, { bytes, shift, mask }: Pick<Place, "bytes" | "shift" | "mask">): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value = (value << 8) | from[at + i]!;
  return ((value >>> shift) & mask) >>> 0;
}

/** Without leading zeroes. */
export function writeHex(to: Buffer, at: number, value: number): number {
  let digits = value === 0 ? 1 : (35 - Math.clz32(value)) >> 2;
  const end = at + digits;
  for (let rest = value; digits > 0; rest >>>= 4) to[at + --digits] = DIGITS[rest & 15]!;
  return end;
}

/** All eight digits of a word. */
export function writeHex8(to: Buffer, at: number, value: number): number {
  let rest = value;
  for (let i = 7; i >= 0; i--, rest >>>= 4) to[at + i] = DIGITS[rest & 15]!;
  return at + 8;
}

export function writeDecimal(to: Buffer, at: number, value: number): number {
  let digits = 1;
  for (let most = 10; digits < 10 && value >= most; most *= 10) digits++;
  let rest = value;
  for (let i = digits - 1; i >= 0; i--) {
    const next = Math.floor(rest / 10);
    to[at + i] = ZERO + (rest - next * 10);
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
