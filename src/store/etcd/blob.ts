// Bytes of any length as values of etcd, which takes 1.5 MiB in a request: a line of JSON that says what follows, then the bytes
// themselves, compressed where that helps; or nothing, and they are in parts under keys of their own.
import { deflateRaw, deflateRawSync, inflateRaw, inflateRawSync } from "node:zlib";
import { promisify } from "node:util";
import { StoreError } from "../errors.ts";
import { crc32 } from "../level/crc.ts";

/** Of one value, with room for the rest of a request. */
const PART = 960 * 1024;
/** Below it compression costs more than it saves. */
const SMALL = 256;
/** Up to it the way to a thread and back takes longer than to compress it here, or to undo that: a millisecond at the most. */
const SHORT = 64 * 1024;
/** 120 parts: what is written at once is bounded by what a request can name. */
export const MOST_PARTS = 120;
const MOST_BYTES = 512 * 1024 * 1024;

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw) as (from: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>;

export interface BlobHeader {
  /** Who wrote it: another one each time. */
  readonly token: string;
  /** What is in it: of an entry, how many commits. */
  readonly count: number;
  /** Bytes, not compressed, and their CRC-32. */
  readonly bytes: number;
  readonly check: number;
  readonly deflated: boolean;
  readonly parts: number;
}

export interface Packed {
  readonly value: Buffer;
  readonly parts: readonly Buffer[];
}

/** @throws StoreError TOO_LARGE */
export async function pack(raw: Buffer, token: string, count: number): Promise<Packed> {
  const smaller = raw.length < SMALL ? undefined : raw.length <= SHORT ? deflateRawSync(raw, { level: 1 }) : await deflate(raw, { level: 1 });
  const deflated = smaller !== undefined && smaller.length < raw.length;
  const body = deflated ? smaller : raw;
  const parts: Buffer[] = [];
  if (body.length > PART) for (let at = 0; at < body.length; at += PART) parts.push(body.subarray(at, at + PART));
  if (parts.length > MOST_PARTS) throw new StoreError("TOO_LARGE", `${body.length} bytes in one entry of the log, the limit in etcd is ${MOST_PARTS * PART}`, { limit: MOST_PARTS * PART, actual: body.length });
  const header: BlobHeader = { token, count, bytes: raw.length, check: crc32(raw), deflated, parts: parts.length };
  return { value: Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), parts.length === 0 ? body : Buffer.alloc(0)]), parts };
}

/** @throws StoreError CORRUPT */
export function headerOf(key: string, value: Buffer): { readonly header: BlobHeader; readonly inline: Buffer } {
  const line = value.indexOf(10);
  try {
    const header = JSON.parse(value.toString("utf8", 0, line)) as BlobHeader;
    const numbers = [header.count, header.bytes, header.check, header.parts];
    if (line > 0 && typeof header.token === "string" && numbers.every((n) => Number.isInteger(n) && n >= 0) && header.parts <= MOST_PARTS && header.bytes <= MOST_BYTES) return { header, inline: value.subarray(line + 1) };
  } catch {
    // said below
  }
  throw damaged(key, "begins with no header");
}

/** @throws StoreError CORRUPT */
export async function unpack(key: string, { parts: count, deflated, bytes, check }: BlobHeader, inline: Buffer, parts: readonly Buffer[]): Promise<Buffer> {
  if (parts.length !== count) throw damaged(key, `has ${parts.length} parts of ${count}`);
  const body = count === 0 ? inline : Buffer.concat(parts);
  const raw = deflated ? await inflated(body, bytes) : body;
  if (raw?.length !== bytes || crc32(raw) !== check) throw damaged(key, "fails its checksum");
  return raw;
}

/** undefined: it is not what was compressed. */
async function inflated(body: Buffer, bytes: number): Promise<Buffer | undefined> {
  const options = { maxOutputLength: Math.max(1, bytes) };
  try {
    return bytes <= SHORT ? inflateRawSync(body, options) : await inflate(body, options);
  } catch {
    return undefined;
  }
}

export const damaged = (key: string, what: string): StoreError => new StoreError("CORRUPT", `etcd's key ${key} ${what}: what is stored there is damaged, or not ours; start on a backup`, { key });
