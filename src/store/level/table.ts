// Checks a LevelDB table file before LevelDB reads it. LevelDB keeps a checksum with each block but, as the `level`
// package opens it, does not compare; a damaged index then fails an assertion in C++ and takes the process with it.
// Its journal and manifest are journal.ts.
//
//   data blocks | filter block | metaindex block | index block | footer (48 bytes)
//   block       contents | type (1, 0 = not compressed) | masked crc32c of both (4)
//   footer      handles of metaindex and index | padding to 40 | magic (8)
//   handle      varint offset, varint size (of the contents)                 [leveldb doc/table_format.md]

import { crc32c, unmask } from "./crc.ts";

const FOOTER = 48;
const TRAILER = 5;
const MAGIC = Buffer.from("57fb808b247547db", "hex");

interface Handle {
  readonly offset: number;
  readonly size: number;
}

/** What is wrong with a table, undefined = nothing. */
export function tableDamage(file: Buffer): string | undefined {
  const footer = file.subarray(-FOOTER);
  if (footer.length < FOOTER || !footer.subarray(-MAGIC.length).equals(MAGIC)) return "no footer";
  try {
    const reader = new Reader(footer);
    const metaindex = reader.handle();
    const index = reader.handle();
    const indexBlock = block(file, index);
    const metaindexBlock = block(file, metaindex);
    if (isCompressed(file, index) || isCompressed(file, metaindex)) return "compressed blocks, which no version of the store writes";
    const data = handlesIn(indexBlock);
    const filters = handlesIn(metaindexBlock);
    let end = 0;
    for (const handle of [...data, ...filters, metaindex, index]) {
      if (handle.offset !== end) return `a gap at byte ${end}`;
      block(file, handle);
      end += handle.size + TRAILER;
    }
    return end === file.length - FOOTER ? undefined : `a gap at byte ${end}`;
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  }
}

const isCompressed = (file: Buffer, { offset, size }: Handle): boolean => file[offset + size] !== 0;

/** The contents of a block. @throws RangeError when damaged. */
function block(file: Buffer, { offset, size }: Handle): Buffer {
  const end = offset + size;
  if (end + TRAILER > file.length) throw new RangeError(`a block beyond the end, at byte ${offset}`);
  if (unmask(file.readUInt32LE(end + 1)) !== crc32c(file.subarray(offset, end + 1))) throw new RangeError(`a block that fails its checksum, at byte ${offset}`);
  return file.subarray(offset, end);
}

/** Keys and values of a block: entries, then restart points (4 bytes each), then their number. */
function* entriesOf(contents: Buffer): Generator<{ readonly key: Buffer; readonly value: Buffer }> {
  const restarts = contents.readUInt32LE(contents.length - 4);
  const reader = new Reader(contents.subarray(0, contents.length - 4 - 4 * restarts));
  let key: Buffer = Buffer.alloc(0);
  while (!reader.done) {
    const shared = reader.varint(); // bytes that it has in common with the key before
    const rest = reader.varint();
    const size = reader.varint();
    key = Buffer.concat([key.subarray(0, shared), reader.take(rest)]);
    yield { key, value: reader.take(size) };
  }
}

const handlesIn = (contents: Buffer): Handle[] => Array.from(entriesOf(contents), ({ value }) => new Reader(value).handle());

/** The newest value of a key in a sound table, with its sequence; a key in a table ends with sequence and type (8 bytes), the newest first. */
export function lookUp(file: Buffer, wanted: Buffer): { readonly sequence: number; readonly value: Buffer } | undefined {
  const footer = new Reader(file.subarray(-FOOTER));
  footer.handle();
  for (const { key: last, value } of entriesOf(block(file, footer.handle()))) {
    if (Buffer.compare(last.subarray(0, -8), wanted) < 0) continue;
    for (const { key, value: found } of entriesOf(block(file, new Reader(value).handle()))) {
      const order = Buffer.compare(key.subarray(0, -8), wanted);
      if (order > 0) return undefined;
      if (order === 0) return { sequence: Number(key.readBigUInt64LE(key.length - 8) >> 8n), value: found };
    }
  }
  return undefined;
}

/** Bytes, one number after the other. Reading beyond the end is a RangeError. */
export class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  take(bytes: number): Buffer {
    const end = this.#at + bytes;
    if (end > this.#bytes.length) throw new RangeError("it ends in the middle of something");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** Their number, then themselves. */
  bytes(): Buffer {
    return this.take(this.varint());
  }

  handle(): Handle {
    return { offset: this.varint(), size: this.varint() };
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 49; factor *= 128) {
      const byte = this.#bytes.readUInt8(this.#at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new RangeError("a number that does not end");
  }
}
