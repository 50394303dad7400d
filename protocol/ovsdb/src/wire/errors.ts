/**
 * Every error this package throws or passes to a listener. All are `OvsdbError`; the subclass says who is at fault:
 * the server's answer (plain `OvsdbError`, `code` is RFC 7047's own string), our caller (`OvsdbValueError`), the peer's
 * bytes (`OvsdbProtocolError`) or the connection (`OvsdbConnectionError`; `OvsdbOutcomeError` when it took the answer to a
 * transaction with it). `code` is stable, messages are for people.
 */

export interface OvsdbErrorFields {
  /** The server's explanation, or ours. */
  readonly details?: string | undefined;
  /** The piece of JSON the server complains of, as text. */
  readonly syntax?: string | undefined;
  /** Index of the failing operation; equal to the number of operations when the commit itself failed. */
  readonly opIndex?: number | undefined;
  readonly cause?: unknown;
}

/** An error of RFC 7047 section 3.1: `code` is its "error" string, e.g. "constraint violation", "timed out". */
export class OvsdbError extends Error {
  override readonly name: string = "OvsdbError";
  readonly code: string;
  readonly details: string | undefined;
  readonly syntax: string | undefined;
  /** Index of the failing operation of a transaction; the number of operations when the commit failed. */
  readonly opIndex: number | undefined;

  constructor(code: string, fields: OvsdbErrorFields = {}) {
    const where = fields.opIndex === undefined ? "" : `operation ${fields.opIndex}: `;
    super(`${where}${code}${fields.details === undefined ? "" : `: ${fields.details}`}`,
      fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.details = fields.details;
    this.syntax = fields.syntax;
    this.opIndex = fields.opIndex;
  }
}

/** A value, operation or schema that does not fit: nothing was sent (ours) or it came from the server (theirs). */
export class OvsdbValueError extends OvsdbError {
  override readonly name = "OvsdbValueError";
}

export type ProtocolErrorCode =
  | "malformed json" | "not an object" | "message too long" | "nested too deep" | "not utf-8" | "truncated" | "too much"
  | "not json-rpc" | "unexpected reply" | "bad update" | "bad result";

/** The peer sent what is no JSON-RPC or no OVSDB; the session has ended. */
export class OvsdbProtocolError extends OvsdbError {
  override readonly name = "OvsdbProtocolError";
  /** Offset of the offending byte in all that the peer sent, where known. */
  readonly byteOffset: number | undefined;

  constructor(code: ProtocolErrorCode, details?: string, byteOffset?: number, cause?: unknown) {
    super(code, { details: byteOffset === undefined ? details : `${details ?? code} (at byte ${byteOffset})`, cause });
    this.byteOffset = byteOffset;
  }
}

export type ConnectionErrorCode =
  | "closed" | "closed by peer" | "socket error" | "dead peer" | "queue full" | "not connected" | "connect timeout"
  | "superseded" | "no room" | "unknown outcome" | "not leader" | "no server" | "unsuitable server";

/** The connection is gone, was never there, or cannot take more. */
export class OvsdbConnectionError extends OvsdbError {
  override readonly name: string = "OvsdbConnectionError";

  constructor(code: ConnectionErrorCode, details?: string, cause?: unknown) {
    super(code, { details, cause });
  }
}

/**
 * The session ended between a transaction and its answer: it may have been committed or not. It is not sent again; who
 * gets this looks at the rows. `cause` is what ended the session, `code` is "unknown outcome".
 */
export class OvsdbOutcomeError extends OvsdbConnectionError {
  override readonly name = "OvsdbOutcomeError";

  constructor(reason: Error) {
    super("unknown outcome", `the session ended before the answer: ${reason.message}`, reason);
  }
}
