// What the store keeps in etcd, under a prefix of its own:
//
//   PREFIX/base                         {snapshot, pieces, oldest, tail}: where reading begins, and what of the log is kept
//   PREFIX/head                         {format, id, generation}: written with each entry, if nobody wrote it since it was last seen
//   PREFIX/first                       who asks to be let go first, for a moment: courtesy, nothing is decided by it
//   PREFIX/log/GENERATION               an entry of the log, under the generation of its first commit: a blob
//   PREFIX/part/GENERATION/TOKEN/N      parts of an entry that is too large for one request; written before it, and nothing without it
//   PREFIX/snap/GENERATION/PIECE        all rows as of a generation: blobs, with their parts at PIECE/N
//
// Generations are twelve hexadecimal digits, so that their order is that of the keys. What a watch is interested in is one range.
import type { Generation } from "../log.ts";

export class Keys {
  readonly base: string;
  readonly head: string;
  readonly first: string;
  private readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.base = `${prefix}/base`;
    this.head = `${prefix}/head`;
    this.first = `${prefix}/first`;
  }

  log(generation: Generation): string {
    return `${this.prefix}/log/${hex(generation)}`;
  }
  part(generation: Generation, token: string, n: number): string {
    return `${this.parts(generation)}${token}/${count(n)}`;
  }
  /** All parts of a generation begin with it. */
  parts(generation: Generation): string {
    return `${this.prefix}/part/${hex(generation)}/`;
  }
  piece(generation: Generation, piece: number): string {
    return `${this.snapshot(generation)}${count(piece)}`;
  }
  piecePart(generation: Generation, piece: number, n: number): string {
    return `${this.piece(generation, piece)}/${count(n)}`;
  }
  /** All pieces of a generation begin with it. */
  snapshot(generation: Generation): string {
    return `${this.prefix}/snap/${hex(generation)}/`;
  }

  /** After all of them. */
  get end(): string {
    return `${this.prefix}/t`;
  }

  /** What is watched: base, first, head and log. */
  get watched(): { readonly key: string; readonly rangeEnd: string } {
    return { key: this.base, rangeEnd: `${this.prefix}/log0` };
  }
  generationOf(key: string): Generation | undefined {
    const start = `${this.prefix}/log/`;
    return key.startsWith(start) ? parseInt(key.slice(start.length), 16) : undefined;
  }
}

const hex = (generation: Generation): string => generation.toString(16).padStart(12, "0");
const count = (n: number): string => String(n).padStart(6, "0");
/** The end of the range of keys that begin with this, which ends in "/". */
export const after = (start: string): string => `${start.slice(0, -1)}0`;
