// What runs do not see of the rows of resources: what people call things, and when they changed (UNSEEN_COLUMNS). So a change of these alone is none for the
// compiler. What a run may see stays as it is in rows that it gets; in tests one that reads what it does not see is found out.
import { UNSEEN_COLUMNS, type AnyTable, type Row } from "#app";
import { equalValues, type RowChange } from "./derived.ts";

const unseen: ReadonlySet<string> = new Set(UNSEEN_COLUMNS);
const hasUnseen = ({ resource, derived }: AnyTable): boolean => resource !== undefined && !derived;

/** Whether a change leaves a row as runs see it. */
export function isUnseen({ table, before, after }: RowChange): boolean {
  if (before === undefined || after === undefined || !hasUnseen(table)) return false;
  const [was, is] = [before, after] as unknown as [Record<string, unknown>, Record<string, unknown>];
  for (const column in was) if (!unseen.has(column) && !equalValues(was[column], is[column])) return false;
  for (const column in is) if (!unseen.has(column) && is[column] !== undefined && was[column] === undefined) return false;
  return true;
}

const seen = new WeakMap<Row, Row>();
/** The row, with columns that throw when a run reads them. */
export function seenOf<R extends Row>(table: AnyTable, row: R): R {
  if (!hasUnseen(table)) return row;
  const made = seen.get(row);
  if (made !== undefined) return made as R;
  const copy = { ...row };
  for (const column of UNSEEN_COLUMNS) {
    if (!(column in row)) continue;
    Object.defineProperty(copy, column, {
      enumerable: true,
      get() {
        throw new Error(`a run reads ${table.name}.${column}, which runs do not see: it is not made to run when that changes`);
      },
    });
  }
  seen.set(row, copy);
  return copy;
}
