// Stored rows of the edition before, brought to what today's tables hold, before the model reads them. The store's key `format`
// says whether that is done; how a row changes is said where its table is declared (TableOptions.upgrade). Rows of tables that
// nobody declares stay as they are until somebody does: the key `format-left` names these tables.
import type { AnyTable } from "#app";
import { checkFormat, FORMAT } from "../store/first-edition.ts";
import type { Compare, KvEntry, KvOp, KvStore } from "../store/kv.ts";

const KEY = "format";
const LEFT = "format-left";
const ROWS = "t/";
/** Rows, and bytes of rows, in one write. */
const BATCH = 1000;
const BATCH_BYTES = 8 * 1024 * 1024;

/** @throws StoreError UNSUPPORTED: the rows are of a newer format, and nothing may be written; the store is closed then */
export async function refuseNewer(store: KvStore): Promise<void> {
  const stored = await store.get(KEY);
  try {
    if (stored !== undefined) checkFormat("the store", stored.value.toString());
  } catch (error) {
    await store.close();
    throw error;
  }
}

/**
 * Converts what is not of this format yet. The format is written last: a conversion that was cut off is done again, and does nothing
 * to rows that were reached. Another controller may do the same at once, or write: its rows are not written over.
 * @returns how many rows changed
 * @throws StoreError UNSUPPORTED (the rows are of a newer format; nothing was written); Error naming the key of a record that is no row
 */
export async function upgradeStore(store: KvStore, tables: readonly AnyTable[]): Promise<number> {
  try {
    const here = new Map(tables.filter((t) => !t.derived).map((t) => [t.name, t]));
    let converted = 0;
    for (;;) {
      const [stored, noted] = [await store.get(KEY), await store.get(LEFT)];
      if (stored !== undefined) checkFormat("the store", stored.value.toString());
      const done = Number(stored?.value.toString()) === FORMAT;
      const left = done ? leftBefore(noted) : await tablesIn(store);
      const still = left.filter((name) => !here.has(name));
      if (done && still.length === left.length) return converted;
      for (const name of left) {
        const table = here.get(name);
        if (table?.upgrade !== undefined) converted += await convert(store, table, table.upgrade as Upgrade);
      }
      const { ok } = await store.txn(
        [{ key: KEY, modRevision: stored?.modRevision ?? 0 }, { key: LEFT, modRevision: noted?.modRevision ?? 0 }],
        [{ put: KEY, value: Buffer.from(String(FORMAT)) }, still.length === 0 ? { delete: LEFT } : { put: LEFT, value: Buffer.from(JSON.stringify(still)) }],
      );
      if (ok) return converted;
    }
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Tables whose rows may be of an older format. @throws Error when the record is none */
function leftBefore(entry: KvEntry | undefined): string[] {
  if (entry === undefined) return [];
  try {
    return (JSON.parse(entry.value.toString()) as unknown[]).map(String);
  } catch (cause) {
    throw new Error(`the store's record ${LEFT} is no list of tables`, { cause });
  }
}

/** Names of tables that have rows. */
async function tablesIn(store: KvStore): Promise<string[]> {
  const names: string[] = [];
  for (let start = ROWS; ; ) {
    let name: string | undefined;
    for await (const { key } of store.range({ start, end: "t0", limit: 1 })) name = key.slice(ROWS.length, key.indexOf("/", ROWS.length));
    if (name === undefined) return names;
    names.push(name);
    start = `${ROWS}${name}0`; // past every key of the table: "0" comes after "/"
  }
}

type Upgrade = (row: Readonly<Record<string, unknown>>) => unknown;

async function convert(store: KvStore, table: AnyTable, upgrade: Upgrade): Promise<number> {
  const start = `${ROWS}${table.name}/`;
  let [converted, bytes] = [0, 0];
  let ops: KvOp[] = [];
  let compares: Compare[] = [];
  let again = false;
  const write = async (): Promise<void> => {
    const { ok } = await store.txn(compares, ops);
    if (ok) converted += ops.length;
    else again = true; // one of them is another by now
    [ops, compares, bytes] = [[], [], 0];
  };
  for await (const { key, value, modRevision } of store.range({ start, end: `${start.slice(0, -1)}0` })) {
    let record: { readonly row: Readonly<Record<string, unknown>> };
    try {
      record = JSON.parse(value.toString()) as typeof record;
    } catch (cause) {
      throw new Error(`the store's record ${key} is not JSON`, { cause });
    }
    const row = upgrade(record.row);
    if (row === record.row) continue;
    const now = Buffer.from(JSON.stringify({ ...record, row }));
    ops.push({ put: key, value: now });
    compares.push({ key, modRevision });
    bytes += now.length;
    if (ops.length >= BATCH || bytes >= BATCH_BYTES) await write();
  }
  if (ops.length > 0) await write();
  return again ? converted + (await convert(store, table, upgrade)) : converted;
}
