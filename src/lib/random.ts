// Chance, as a thing that is handed down: real where the controller runs, from a seed where a run must be repeatable.
import { createHash, randomBytes, randomUUID } from "node:crypto";

export interface Random {
  /** 0 <= x < 1. */
  next(): number;
  bytes(n: number): Buffer;
  /** RFC 9562 version 4, lower case. */
  uuid(): string;
}

export const machineRandom: Random = {
  next: () => Math.random(),
  bytes: (n) => randomBytes(n),
  uuid: () => randomUUID(),
};

/** The same key gives the same values, and nobody who has not the key can tell them: SHA-256 of the key and a count. */
export class KeyedRandom implements Random {
  private readonly key: Buffer;
  private count = 0;
  private left = Buffer.alloc(0);

  constructor(key: Buffer) {
    this.key = key;
  }

  next(): number {
    return this.bytes(4).readUInt32BE() / 2 ** 32;
  }

  bytes(n: number): Buffer {
    while (this.left.length < n) {
      const count = Buffer.alloc(8);
      count.writeBigUInt64BE(BigInt(this.count++));
      this.left = Buffer.concat([this.left, createHash("sha256").update(this.key).update(count).digest()]);
    }
    const out = Buffer.from(this.left.subarray(0, n));
    this.left = this.left.subarray(n);
    return out;
  }

  uuid(): string {
    return uuidOf(this.bytes(16));
  }
}

function uuidOf(b: Buffer): string {
  b[6] = (b[6]! & 0x0f) | 0x40;
  b[8] = (b[8]! & 0x3f) | 0x80;
  const hex = b.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The same seed gives the same numbers. sfc32 by Chris Doty-Humphrey; good for simulations, not for secrets. */
export class SeededRandom implements Random {
  private readonly s: Uint32Array;

  /** Any integer. */
  constructor(seed: number) {
    this.s = Uint32Array.of(seed, Math.floor(seed / 2 ** 32), 0x9e37_79b9, 1);
    for (let i = 0; i < 15; i++) this.word();
  }

  next(): number {
    return this.word() / 2 ** 32;
  }

  bytes(n: number): Buffer {
    const out = Buffer.alloc(n);
    for (let i = 0; i < n; i++) out[i] = this.word() & 0xff;
    return out;
  }

  uuid(): string {
    return uuidOf(this.bytes(16));
  }

  private word(): number {
    const { s } = this;
    const out = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3] = s[3]! + 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + out;
    return out;
  }
}
