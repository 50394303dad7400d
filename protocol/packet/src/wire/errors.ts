// The two ways this package says no. Bytes from the wire are a peer's fault and carry the offset where reading stopped
// making sense; values handed to a builder or to a text parser are the caller's fault and name the value.

/** TRUNCATED: bytes ended early. MALFORMED: a field contradicts the layout. UNSUPPORTED: well-formed, but not ours. */
export type PacketErrorCode = "PACKET_TRUNCATED" | "PACKET_MALFORMED" | "PACKET_UNSUPPORTED";

/** The only thing a decoder throws, whatever the bytes. `offset` counts from the start of the buffer given to it. */
export class PacketError extends Error {
  readonly code: PacketErrorCode;
  readonly offset: number;

  constructor(code: PacketErrorCode, offset: number, message: string) {
    super(`${message} at byte ${offset}`);
    this.name = "PacketError";
    this.code = code;
    this.offset = offset;
  }
}

/** A value that has no wire form: an address that does not parse, an option text of the wrong shape. */
export class PacketValueError extends RangeError {
  readonly code = "PACKET_VALUE";
  readonly value: string;

  constructor(expected: string, value: string) {
    super(`expected ${expected}, got ${JSON.stringify(value)}`);
    this.name = "PacketValueError";
    this.value = value;
  }
}
