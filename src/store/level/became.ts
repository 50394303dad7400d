// What rows became, for commits of the log whose entries leave it out: the next change of the same key has it as before, and which entry has that
// one is noted when it is written (03, see level.ts); what no change followed is the row itself.
import type { Level } from "level";
import { corrupt } from "./files.ts";
import { decode, encodeKey, entryKey, entryOf, NEXT } from "./record.ts";
import type { EntryChange, EntryCommit, Generation, Was } from "../log.ts";

type Snapshot = ReturnType<Level<Buffer, Buffer>["snapshot"]>;

/** Rows, or entries, fetched at once. */
const ROWS = 512;
const ENTRIES = 16;

interface Open {
  readonly generation: Generation;
  readonly change: EntryChange;
}

/** Where it is noted what followed a version of a key: its value is the generation that the entry is stored under (6 bytes). */
export function nextKey(generation: Generation, key: string): Buffer {
  const stored = Buffer.allocUnsafe(7 + Buffer.byteLength(key));
  stored[0] = NEXT[0]!;
  stored.writeUIntBE(generation, 1, 6);
  stored.write(key, 7);
  return stored;
}

export function nextValue(first: Generation): Buffer {
  const value = Buffer.allocUnsafe(6);
  value.writeUIntBE(first, 0, 6);
  return value;
}

/** Before the notes of versions from a generation on. */
export const nextFrom = (generation: Generation): Buffer => nextKey(generation, "");

/** Puts in what entries leave out. `commits`: of whole entries that follow one another. @throws StoreError CORRUPT when it is not there */
export async function complete(dir: string, db: Level<Buffer, Buffer>, snapshot: Snapshot, commits: readonly EntryCommit[]): Promise<void> {
  const open = new Map<string, Open>();
  for (const { generation, changes } of commits) {
    for (const change of changes) {
      const earlier = open.get(change.key);
      if (earlier !== undefined) settle(dir, earlier, change.before);
      if (change.left) open.set(change.key, { generation, change });
      else open.delete(change.key);
    }
  }
  const rest = [...open.values()];
  for (let at = 0; at < rest.length; at += ROWS) await lookUp(dir, db, snapshot, rest.slice(at, at + ROWS));
}

async function lookUp(dir: string, db: Level<Buffer, Buffer>, snapshot: Snapshot, open: readonly Open[]): Promise<void> {
  const nexts = await db.getMany(open.map(({ generation, change }) => nextKey(generation, change.key)), { snapshot });
  const still: Open[] = [];
  const byEntry = new Map<Generation, Open[]>();
  for (const [i, one] of open.entries()) {
    const first = nexts[i]?.readUIntBE(0, 6);
    const list = first === undefined ? still : byEntry.get(first);
    if (list === undefined) byEntry.set(first!, [one]);
    else list.push(one);
  }
  const keys = still.map(({ change }) => encodeKey(change.key));
  const rows = await db.getMany(keys, { snapshot });
  for (const [i, one] of still.entries()) settle(dir, one, rows[i] === undefined ? undefined : decode(dir, keys[i]!, rows[i]));
  const firsts = [...byEntry.keys()];
  for (let at = 0; at < firsts.length; at += ENTRIES) {
    const some = firsts.slice(at, at + ENTRIES);
    const entries = await db.getMany(some.map(entryKey), { snapshot });
    for (const [i, first] of some.entries()) follow(dir, byEntry.get(first)!, entries[i] === undefined ? [] : entryOf(dir, entryKey(first), entries[i]));
  }
}

function follow(dir: string, open: readonly Open[], commits: readonly EntryCommit[]): void {
  const wanted = new Map(open.map((one) => [one.change.key, one]));
  for (const { changes } of commits) {
    for (const { key, before } of changes) {
      const one = wanted.get(key);
      if (one === undefined) continue;
      settle(dir, one, before);
      wanted.delete(key);
    }
  }
  for (const one of wanted.values()) settle(dir, one, undefined);
}

/** A copy: it is part of what was read, which others need not keep. */
function settle(dir: string, { generation, change }: Open, version: Was | undefined): void {
  if (version?.modRevision !== generation) throw corrupt(dir, `it does not have what ${JSON.stringify(change.key)} became in generation ${generation}`);
  change.after = Buffer.from(version.value);
}
