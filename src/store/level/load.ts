// Opening a level store: everything in it is read once and compared with what it says of itself; an older format is taken over.
import { randomUUID } from "node:crypto";
import type { Level } from "level";
import { StoreError } from "../errors.ts";
import { nextFrom } from "./became.ts";
import { corrupt, STATE } from "./files.ts";
import type { KvEntry } from "../kv.ts";
import { AFTER, decode, encode, encodeKey, encodeState, entryKey, FIRST, FORMAT, FORMAT_VERSION, modulo32, NEXT, type Totals } from "./record.ts";
import { countEntry, Tail, timeOfEntry, type Generation, type Keep } from "../log.ts";
import { Witness } from "./witness.ts";

/** `level` in Node has a method more than where it runs in browsers. */
export type Db = Level<Buffer, Buffer> & { compactRange(start: Buffer, end: Buffer): Promise<void> };

/** Entries, or this many bytes, fetched at once. */
export const PAGE = 512;
export const PAGE_BYTES = 1 << 20;
/** Entries of the log fetched at once. */
export const READ_PAGE = 1024;
/** Bytes of rows in one write of `fill`. */
const FILL_BYTES = 4 << 20;

const formatNow = Buffer.from(`axion-store ${FORMAT_VERSION}`);

export interface Loaded {
  readonly generation: Generation;
  readonly totals: Totals;
  readonly tail: Tail;
  readonly witness: Witness;
}

/** `expected`: the generation that its files have. `takeOver`: whether one of an older format, or without anything, becomes one of this. */
export async function load(dir: string, db: Db, keep: Keep, expected: Generation, takeOver: boolean): Promise<Loaded> {
  const format = (await db.get(FORMAT)) as Buffer | undefined;
  if (format === undefined) {
    if ((await db.keys({ limit: 1 }).all()).length > 0) throw corrupt(dir, "it is a LevelDB database of something else");
    if (!takeOver) throw new StoreError("MISSING", `${dir} has no store yet: it is empty`, { dir });
    return begin(dir, db, 0, { records: 0, check: 0 }, keep);
  }
  const version = /^axion-store (\d+)$/.exec(format.toString("latin1"))?.[1];
  if (version === undefined) throw corrupt(dir, "it is a LevelDB database of something else");
  if (Number(version) > FORMAT_VERSION) {
    const text = `${dir} has store format ${version}, this version reads ${FORMAT_VERSION}`;
    throw new StoreError("UNSUPPORTED", text, { dir, limit: FORMAT_VERSION, actual: Number(version) });
  }
  if (Number(version) < FORMAT_VERSION && !takeOver) {
    const text = `${dir} has store format ${version}, ${Number(version) === 1 ? "which has no history" : `this version writes ${FORMAT_VERSION}`}: start the controller on it once, which takes it over`;
    throw new StoreError("UNSUPPORTED", text, { dir, limit: FORMAT_VERSION, actual: Number(version) });
  }
  const bytes = (await db.get(STATE)) as Buffer | undefined;
  if (bytes === undefined) throw corrupt(dir, "its state record is missing");
  const state = decode(dir, STATE, bytes);
  const said = JSON.parse(state.value.toString()) as Totals;
  const found = await count(dir, db, state.modRevision);
  if (found.records !== said.records || found.check !== said.check) {
    throw corrupt(dir, `it has ${found.records} records of ${said.records}, or some are older than their last write`);
  }
  const generation = state.modRevision;
  if (generation !== expected) throw corrupt(dir, `its files have generation ${expected}, LevelDB finds ${generation}`);
  if (Number(version) === 1) return begin(dir, db, generation, found, keep);
  const tail = await readTail(dir, db, said.oldest, generation, keep);
  if (Number(version) < FORMAT_VERSION) await db.put(FORMAT, formatNow, { sync: true }); // its entries are read as they are
  // Of what was let go of, should that have been cut off.
  await db.clear({ gte: NEXT, lt: nextFrom(said.oldest) });
  return { generation, totals: said, tail, witness: await Witness.begin(dir, { generation, check: said.check, id: said.id }) };
}

/** A new store, or one whose rows have no log yet. */
async function begin(dir: string, db: Db, generation: Generation, { records, check }: Pick<Totals, "records" | "check">, keep: Keep): Promise<Loaded> {
  const totals: Totals = { id: randomUUID(), records, check, oldest: generation + 1 };
  // First: a store of this format without a witness has lost it.
  const witness = await Witness.begin(dir, { generation, check, id: totals.id });
  const batch = [
    { type: "put" as const, key: FORMAT, value: formatNow },
    { type: "put" as const, key: STATE, value: encodeState(generation, totals) },
  ];
  await db.batch(batch, { sync: true });
  return { generation, totals, tail: new Tail(keep), witness };
}

/** Reads the log: no generation may be missing in it. */
async function readTail(dir: string, db: Db, oldest: Generation, generation: Generation, keep: Keep): Promise<Tail> {
  const tail = new Tail(keep);
  let next = oldest;
  const iterator = db.iterator({ gte: entryKey(oldest), lt: NEXT, highWaterMarkBytes: PAGE_BYTES });
  try {
    for (;;) {
      const page = await iterator.nextv(READ_PAGE);
      if (page.length === 0) break;
      for (const [key, bytes] of page) {
        const first = key.readUIntBE(1, 6);
        if (first !== next) throw corrupt(dir, `its log lacks generation ${next}`);
        const { value } = decode(dir, key, bytes, () => `the entry of generation ${first}`);
        next += countEntry(value);
        tail.add(first, next, timeOfEntry(value), bytes.length);
      }
    }
  } finally {
    await iterator.close();
  }
  if (next !== generation + 1) throw corrupt(dir, `its log ends with generation ${next - 1}, its rows are of ${generation}`);
  return tail;
}

async function count(dir: string, db: Db, revision: number): Promise<Pick<Totals, "records" | "check">> {
  let records = 0;
  let check = 0;
  const iterator = db.iterator({ gte: FIRST, lt: AFTER, highWaterMarkBytes: PAGE_BYTES });
  try {
    for (;;) {
      const page = await iterator.nextv(PAGE);
      if (page.length === 0) return { records, check };
      for (const [stored, bytes] of page) {
        const record = decode(dir, stored, bytes);
        if (record.modRevision > revision) throw corrupt(dir, "a record is newer than the store's revision");
        records++;
        check = modulo32(check + record.check);
      }
      // A lookup goes through filters and indexes that reading in order does not; damage there hides records from it.
      const reached = await db.hasMany(page.map(([stored]) => stored));
      if (reached.includes(false)) throw corrupt(dir, "a lookup misses a record that is there");
    }
  } finally {
    await iterator.close();
  }
}

/** Makes a store of these rows, which must be in an empty database; until the end it is none. */
export async function fill(dir: string, db: Db, generation: Generation, rows: AsyncIterable<KvEntry>): Promise<void> {
  let records = 0;
  let check = 0;
  let bytes = 0;
  let batch = db.batch();
  for await (const { key, value, createRevision, modRevision } of rows) {
    const stored = encodeKey(key);
    const record = encode(stored, createRevision, modRevision, value);
    batch.put(stored, record);
    records++;
    check = modulo32(check + record.readUInt32BE(0));
    bytes += record.length;
    if (bytes < FILL_BYTES) continue;
    await batch.write();
    batch = db.batch();
    bytes = 0;
  }
  await batch.write({ sync: true });
  (await begin(dir, db, generation, { records, check }, { ms: 0, bytes: 0 })).witness.close();
}
