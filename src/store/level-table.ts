// Checks a LevelDB table file before LevelDB reads it. LevelDB keeps a checksum with each block but, as the `level`
// package opens it, does not compare; a damaged index then fails an assertion in C++ and takes the process with it.
// Its journal and manifest need no such check, those it compares itself.
//
//   data blocks | filter block | metaindex block | index block | footer (48 bytes)
//   block       contents | type (1, 0 = not compressed) | masked crc32c of both (4)
//   footer      handles of metaindex and index | padding to 40 | magic (8)
//   handle      varint offset, varint size (of the contents)                 [leveldb doc/table_format.md]

import { crc32c } from "./crc.ts";

const FOOTER = 48;
const TRAILER = 5;
const MAGIC = Buffer.from("57fb808b247547db", "hex");

interface Handle {
  readonly offset: number;
  readonly size: number;
}

/**
 * What is wrong with a table, undefined = nothing. A file without footer is left to LevelDB: it is one that was being
 * written when the process was killed, which LevelDB removes, or it is damaged and LevelDB says so.
 */
export function tableDamage(file: Buffer): string | undefined {
  const footer = file.subarray(-FOOTER);
  if (footer.length < FOOTER || !footer.subarray(-MAGIC.length).equals(MAGIC)) return undefined;
  try {
    const reader = new Reader(footer);
    const metaindex = reader.handle();
    const index = reader.handle();
    const indexBlock = block(file, index);
    const metaindexBlock = block(file, metaindex);
    if (isCompressed(file, index) || isCompressed(file, metaindex)) return undefined; // not by this version
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
  const crc = crc32c(file.subarray(offset, end + 1));
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  if (file.readUInt32LE(end + 1) !== masked) throw new RangeError(`a block that fails its checksum, at byte ${offset}`);
  return file.subarray(offset, end);
}

/** The handles that are the values of an index block: entries, then restart points (4 bytes each), then their number. */
function handlesIn(contents: Buffer): Handle[] {
  const restarts = contents.readUInt32LE(contents.length - 4);
  const reader = new Reader(contents.subarray(0, contents.length - 4 - 4 * restarts));
  const handles: Handle[] = [];
  while (!reader.done) {
    reader.varint(); // bytes shared with the key before
    const keySize = reader.varint();
    reader.varint(); // size of the value
    reader.skip(keySize);
    handles.push(reader.handle());
  }
  return handles;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  skip(bytes: number): void {
    this.#at += bytes;
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
