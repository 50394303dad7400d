// Stored rows of the edition before, brought to what today's tables hold, before the model reads them. The store's key `format`
// says whether that is done; how a row changes is said where its table is declared (TableOptions.upgrade). Rows of tables that
// nobody declares stay as they are.
import type { AnyTable } from "#app";
import { checkFormat, FORMAT } from "../store/first-edition.ts";
import type { KvOp, KvStore } from "../store/kv.ts";

const KEY = "format";
const ROWS = "t/";
/** Rows, and bytes of rows, in one write. */
const BATCH = 1000;
const BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Converts what is not of this format yet. The format is written last: a conversion that was cut off is done again, and does nothing
 * to rows that were reached.
 * @returns how many rows changed
 * @throws StoreError UNSUPPORTED (the rows are of a newer format; nothing was written); Error naming the key of a record that is no row
 */
export async function upgradeStore(store: KvStore, tables: readonly AnyTable[]): Promise<number> {
  try {
    const said = await store.get(KEY);
    if (said !== undefined) {
      checkFormat("the store", said.value.toString());
      if (Number(said.value.toString()) === FORMAT) return 0;
    }
    let converted = 0;
    for (const table of tables) if (!table.derived && table.upgrade !== undefined) converted += await convert(store, table, table.upgrade as Upgrade);
    await store.txn([], [{ put: KEY, value: Buffer.from(String(FORMAT)) }]);
    return converted;
  } catch (error) {
    await store.close();
    throw error;
  }
}

type Upgrade = (row: Readonly<Record<string, unknown>>) => unknown;

async function convert(store: KvStore, table: AnyTable, upgrade: Upgrade): Promise<number> {
  const start = `${ROWS}${table.name}/`;
  let [converted, bytes] = [0, 0];
  let ops: KvOp[] = [];
  const write = async (): Promise<void> => {
    await store.txn([], ops);
    converted += ops.length;
    [ops, bytes] = [[], 0];
  };
  for await (const { key, value } of store.range({ start, end: `${start.slice(0, -1)}0` })) {
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
    bytes += now.length;
    if (ops.length >= BATCH || bytes >= BATCH_BYTES) await write();
  }
  if (ops.length > 0) await write();
  return converted;
}
