// The second witness: a small file beside the store that says which generation was acknowledged last. The store's own files cannot tell
// that their end is missing; this one can.
//
//   slot     "axion-w1" (8) | turn (6) | generation (6) | check of the rows (4) | id of the store (16) | crc32 of all that (4)
//
// Two slots, 4 KiB apart, are written in turn: one that was cut leaves the other. A slot is written before each acknowledgement, so it
// survives the death of the process with all that was acknowledged. It is synced every second, not more: a loss of power may take the
// words of the last second, and then it knows less than the store, which syncs every write.
import { closeSync, fdatasync, openSync, readFileSync, writeSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "./crc.ts";
import type { Generation } from "../log.ts";

export interface Word {
  readonly generation: Generation;
  readonly check: number;
  /** UUID. */
  readonly id: string;
}

const MAGIC = Buffer.from("axion-w1");
const SLOT = 4096;
const SIZE = 44;
const SYNC_MS = 1000;

export const witnessOf = (dir: string): string => `${dir}.witness`;

/** Of the store that is open: the same each time. */
let lastId = "";
let lastBytes = Buffer.alloc(16);

function encode(turn: number, { generation, check, id }: Word): Buffer {
  const slot = Buffer.allocUnsafe(SIZE);
  MAGIC.copy(slot);
  slot.writeUIntBE(turn, 8, 6);
  slot.writeUIntBE(generation, 14, 6);
  slot.writeUInt32BE(check, 20);
  if (id !== lastId) [lastId, lastBytes] = [id, Buffer.from(id.replaceAll("-", ""), "hex")];
  lastBytes.copy(slot, 24);
  slot.writeUInt32BE(crc32(slot.subarray(0, 40)), 40);
  return slot;
}

function decode(slot: Buffer): (Word & { readonly turn: number }) | undefined {
  if (slot.length < SIZE || !slot.subarray(0, 8).equals(MAGIC) || slot.readUInt32BE(40) !== crc32(slot.subarray(0, 40))) return undefined;
  const hex = slot.toString("hex", 24, 40);
  return { turn: slot.readUIntBE(8, 6), generation: slot.readUIntBE(14, 6), check: slot.readUInt32BE(20), id: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") };
}

/** What a witness says; "absent", or "damaged" when neither slot can be read. @throws an error of the file system */
export function readWitness(dir: string): Word | "absent" | "damaged" {
  let file: Buffer;
  try {
    file = readFileSync(witnessOf(dir));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "absent";
    throw error;
  }
  const [a, b] = [decode(file.subarray(0, SIZE)), decode(file.subarray(SLOT, SLOT + SIZE))];
  const latest = a === undefined || (b !== undefined && b.turn > a.turn) ? b : a;
  return latest ?? "damaged";
}

export class Witness {
  private readonly fd: number;
  private turn = 1;
  private dirty = false;
  private syncing = false;
  private readonly timer: NodeJS.Timeout;

  private constructor(fd: number) {
    this.fd = fd;
    this.timer = setInterval(() => this.sync(), SYNC_MS);
    this.timer.unref();
  }

  /** Begins anew, on disk when resolved, in place of the one that was there. */
  static async begin(dir: string, word: Word): Promise<Witness> {
    const path = witnessOf(dir);
    const file = await open(`${path}.part`, "w", 0o644);
    try {
      await file.write(encode(0, word), 0, SIZE, 0);
      await file.write(encode(1, word), 0, SIZE, SLOT);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.part`, path);
    const folder = await open(dirname(path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    return new Witness(openSync(path, "r+"));
  }

  /** Known to the system when it returns. @throws an error of the file system */
  say(word: Word): void {
    this.turn++;
    writeSync(this.fd, encode(this.turn, word), 0, SIZE, (this.turn % 2) * SLOT);
    this.dirty = true;
  }

  private sync(): void {
    if (!this.dirty || this.syncing) return;
    this.dirty = false;
    this.syncing = true;
    // What it cannot sync now is synced with the next: an error of the disk shows in the store's own writes.
    fdatasync(this.fd, () => {
      this.syncing = false;
      if (this.closed) closeSync(this.fd);
    });
  }

  private closed = false;
  close(): void {
    if (this.closed) return;
    clearInterval(this.timer);
    this.sync();
    this.closed = true;
    if (!this.syncing) closeSync(this.fd);
  }
}
