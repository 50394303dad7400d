// A store's files before LevelDB opens them: are they whole, and up to which generation? Judged with what the witness says. Only files are
// read here, nothing is changed until a loss is accepted.
//
// What may be cut off is the end of the journal, for all before it is a state that the store was in. Anything else that is damaged (a
// table, the manifest, CURRENT) has parts of all generations in it.
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, truncate } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncPath } from "../sync.ts";
import { StoreError } from "../errors.ts";
import { readBatch, readEdits, readJournal, type Version } from "./journal.ts";
import { lookUp, tableDamage } from "./table.ts";
import { lockHolder } from "./lock.ts";
import type { Generation } from "../log.ts";
import { readWitness, witnessOf, type Word } from "./witness.ts";

export const STATE = Buffer.from("\0state");

/** What the store's state record says. */
export interface State {
  readonly generation: Generation;
  readonly check: number;
  /** Since format 2. */
  readonly id: string | undefined;
}

/** Where the journal has to end, for all after it is damaged. */
interface Cut {
  readonly journal: string;
  readonly end: number;
  readonly later: readonly string[];
  /** Something whole is after it: not only the last write is missing. */
  readonly middle: boolean;
  readonly damage: string;
}

export interface Inspection {
  /** Newest whole state; undefined: there is none yet. */
  readonly state: State | undefined;
  readonly cut: Cut | undefined;
}

class Damaged extends Error {}

/** @throws StoreError CORRUPT, LOCKED, IO */
export async function inspect(dir: string): Promise<Inspection> {
  await refuseLocked(dir);
  try {
    return await read(dir);
  } catch (error) {
    await refuseLocked(dir); // whoever opened it meanwhile changed what was being read
    if (error instanceof StoreError) throw error;
    if (error instanceof Damaged || error instanceof RangeError) throw corrupt(dir, error.message, error);
    throw new StoreError("IO", `cannot read ${dir}: ${(error as Error).message}`, { dir }, error);
  }
}

async function refuseLocked(dir: string): Promise<void> {
  const pid = await lockHolder(dir);
  if (pid !== undefined) throw locked(dir, pid);
}

export function locked(dir: string, pid: number | undefined, cause?: unknown): StoreError {
  const who = pid === undefined ? "another process" : pid === process.pid ? "this process" : `process ${pid}`;
  return new StoreError("LOCKED", `${dir} is in use by ${who}: one controller per data directory`, pid === undefined ? { dir } : { dir, pid }, cause);
}

/** The start of `CORRUPT` messages, and what was acknowledged if a witness tells. */
export function corrupt(dir: string, why: string, cause?: unknown): StoreError {
  let word: ReturnType<typeof readWitness> = "absent";
  try {
    word = readWitness(dir);
  } catch {
    // what is wrong with the store is said
  }
  if (typeof word === "string") return new StoreError("CORRUPT", `${dir} is not a sound store: ${why}`, { dir }, cause);
  const text = `${dir} is not a sound store: ${why}; acknowledged are changes up to generation ${word.generation}, which need a copy of the data directory or an export`;
  return new StoreError("CORRUPT", text, { dir, acknowledged: word.generation }, cause);
}

async function read(dir: string): Promise<Inspection> {
  const names = await readdir(dir).catch((error: unknown): string[] => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  if (!names.includes("CURRENT")) {
    // Empty, or the leftovers of a first start that was killed; anything else was never ours or has lost its root.
    const other = names.find((name) => !/^(LOCK|LOG|LOG\.old|MANIFEST-000001|000001\.dbtmp)$/.test(name));
    if (other !== undefined) throw new Damaged(`it holds ${JSON.stringify(other)} but no CURRENT file`);
    return { state: undefined, cut: undefined };
  }
  const current = await readFile(join(dir, "CURRENT"), "latin1");
  const manifest = /^(MANIFEST-\d{6,15})\n$/.exec(current)?.[1];
  if (manifest === undefined) throw new Damaged("CURRENT names no manifest");
  if (!names.includes(manifest)) throw new Damaged(`${manifest} is missing`);
  const { version, ends } = versionOf(manifest, await readFile(join(dir, manifest)));
  let newest: { readonly sequence: number; readonly value: Buffer } | undefined;
  for (const { number, size, smallest, largest } of version.tables.values()) {
    const name = [`${digits(number)}.ldb`, `${digits(number)}.sst`].find((one) => names.includes(one));
    if (name === undefined) throw new Damaged(`${digits(number)}.ldb is missing`);
    const file = await readFile(join(dir, name));
    if (file.length !== size) throw new Damaged(`${name} has ${file.length} bytes of ${size}`);
    const damage = tableDamage(file);
    if (damage !== undefined) throw new Damaged(`${name} has ${damage}`);
    if (Buffer.compare(smallest.subarray(0, -8), STATE) > 0 || Buffer.compare(largest.subarray(0, -8), STATE) < 0) continue;
    const found = lookUp(file, STATE);
    if (found !== undefined && found.sequence > (newest?.sequence ?? -1)) newest = found;
  }
  const journals = await readJournals(dir, names, version);
  // Which journals are needed is not known then.
  if (journals.cut?.middle === true && ends !== undefined) throw new Damaged(`${manifest} has ${ends}`);
  return { state: stateOf(journals.value ?? newest?.value), cut: journals.cut };
}

const digits = (number: number): string => String(number).padStart(6, "0");

/** `ends`: how it is cut short. */
function versionOf(name: string, file: Buffer): { readonly version: Version; readonly ends: string | undefined } {
  const { records, damage, goesOn, end } = readJournal(file);
  // What is cut short at its end was being written; LevelDB reads it the same way, and what it would have said is not so yet.
  if (damage !== undefined && (goesOn || !damage.startsWith("a record that is cut"))) throw new Damaged(`${name} has ${damage}`);
  if (records.length === 0) throw new Damaged(`${name} says nothing`);
  try {
    return { version: readEdits(records), ends: damage };
  } catch (error) {
    throw new Damaged(`${name} cannot be read before byte ${end}: ${(error as Error).message}`);
  }
}

async function readJournals(dir: string, names: readonly string[], version: Version): Promise<{ readonly value: Buffer | undefined; readonly cut: Cut | undefined }> {
  const journals = names.filter((name) => /^\d+\.log$/.test(name) && parseInt(name) >= version.journal).sort((a, b) => parseInt(a) - parseInt(b));
  const first = `${digits(version.journal)}.log`;
  let value: Buffer | undefined;
  if (version.journal !== 0 && journals[0] !== first) return { value, cut: { journal: first, end: 0, later: journals, middle: true, damage: `${first}, its journal, is missing; it is data, not a log of events` } };
  let next: number | undefined;
  for (const [i, journal] of journals.entries()) {
    const file = await readFile(join(dir, journal));
    const { records, starts, damage, goesOn, end } = readJournal(file);
    const later = journals.slice(i + 1);
    for (const [n, record] of records.entries()) {
      const batch = batchOf(record);
      if (batch === undefined || (next === undefined ? batch.sequence > version.lastSequence + 1 : batch.sequence !== next)) {
        const start = starts[n]!;
        return { value, cut: { journal, end: start, later, middle: true, damage: `${journal} lacks a write, or has another one, at byte ${start}` } };
      }
      next = batch.sequence + batch.count;
      value = batch.value ?? value;
    }
    if (damage === undefined) continue;
    const more = goesOn || (await Promise.all(later.map(async (name) => (await stat(join(dir, name))).size))).some((size) => size > 0);
    return { value, cut: { journal, end, later, middle: more, damage: `${journal} has ${damage}` } };
  }
  return { value, cut: undefined };
}

function batchOf(record: Buffer): ReturnType<typeof readBatch> | undefined {
  try {
    return readBatch(record, STATE);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The record as level.ts writes it; that its checksum holds is seen there. */
function stateOf(value: Buffer | undefined): State | undefined {
  if (value === undefined) return undefined;
  try {
    const { check, id } = JSON.parse(value.toString("utf8", 16)) as { check: number; id?: string };
    return { generation: value.readUIntBE(10, 6), check, id };
  } catch {
    throw new Damaged("its state record cannot be read");
  }
}

/** What was accepted: journals that were cut, kept here. */
export interface Accepted {
  readonly generation: Generation;
  readonly acknowledged: Generation | undefined;
  readonly kept: string | undefined;
}

/**
 * Compares what is there with what was acknowledged. With `acceptLoss` what is damaged is cut off, when what remains ends with that generation.
 * @returns what was accepted, if anything had to be
 * @throws StoreError LOSS, CORRUPT, IO
 */
export async function judge(dir: string, { state, cut }: Inspection, acceptLoss?: Generation): Promise<Accepted | undefined> {
  const word = witnessIn(dir);
  const found = state?.generation ?? 0;
  const loss = lossOf(word, state, cut);
  if (loss === undefined) return undefined;
  const acknowledged = typeof word === "string" ? undefined : word.generation;
  const fields = { dir, found, ...(acknowledged === undefined ? {} : { acknowledged }) };
  const what = acknowledged === undefined || acknowledged <= found ? `what was acknowledged after generation ${found} is not known` : `acknowledged changes of generations ${found + 1} to ${acknowledged} are missing`;
  const text = `${dir}: ${loss}; ${what}`;
  if (acceptLoss === undefined) throw new StoreError("LOSS", `${text}. --accept-loss ${found} starts without them`, fields);
  if (acceptLoss !== found) throw new StoreError("LOSS", `${text}. --accept-loss must name generation ${found}, the last that is whole, not ${acceptLoss}`, fields);
  const kept = cut === undefined ? undefined : await cutOff(dir, cut);
  return { generation: found, acknowledged, kept };
}

function witnessIn(dir: string): Word | "absent" | "damaged" {
  try {
    return readWitness(dir);
  } catch (error) {
    throw new StoreError("IO", `cannot read ${witnessOf(dir)}: ${(error as Error).message}`, { dir }, error);
  }
}

/** Why it is not whole. */
function lossOf(word: Word | "absent" | "damaged", state: State | undefined, cut: Cut | undefined): string | undefined {
  if (cut?.middle === true) return cut.damage;
  const torn = cut === undefined ? "" : `${cut.damage}, and `;
  if (word === "damaged") return "its witness is damaged";
  // A store of format 1 has none, and a new one has it first.
  if (word === "absent") return state?.id === undefined ? undefined : "its witness is missing";
  if (state === undefined) return word.generation === 0 ? undefined : "nothing is there";
  if (state.id !== undefined && state.id !== word.id) return "its witness is of another store";
  if (word.generation > state.generation) return `${torn}its log ends with generation ${state.generation}, the witness has seen ${word.generation}`;
  return word.generation === state.generation && word.check !== state.check && state.id !== undefined ? "its rows are not those that the witness has seen" : undefined;
}

/** Ends the journal where it is whole; what it was is kept beside the store. Done again, it does nothing more. */
async function cutOff(dir: string, { journal, end, later }: Cut): Promise<string | undefined> {
  const kept = `${dir}.lost-${new Date().toISOString().replaceAll(/[-:]|\..*/g, "")}`;
  try {
    const names = (await readdir(dir)).filter((name) => name === journal || later.includes(name));
    if (names.length === 0) return undefined;
    await mkdir(kept, { recursive: true });
    for (const name of names) await copyFile(join(dir, name), join(kept, name));
    for (const name of names) await syncPath(join(kept, name));
    await syncPath(kept);
    await syncPath(dirname(kept));
    for (const name of [...later].reverse()) await rm(join(dir, name));
    if (names.includes(journal)) {
      const part = join(dir, `${journal}.part`);
      await copyFile(join(dir, journal), part);
      await truncate(part, end);
      await syncPath(part);
      await rename(part, join(dir, journal));
    }
    await syncPath(dir);
    return basename(kept);
  } catch (error) {
    throw new StoreError("IO", `cannot cut ${join(dir, journal)}: ${(error as Error).message}`, { dir }, error);
  }
}
