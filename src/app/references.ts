// References between rows of different apps. While an app is there it sees itself to what its rows stand on: it refuses that this is
// deleted, or goes along with it (`remove` of an extension). While it is not there nobody does; so it says what its rows name, and what
// became of them is known when it is back.
import type { AnyTable, Row, Table, Tx } from "./table.ts";

export interface Reference<R extends Row = Row> {
  /** The app's own, or one of an app that it requires, whose rows it makes. */
  readonly table: Table<R>;
  readonly to: Table;
  /** Ids of rows of `to` that the row names; undefined or []: none. */
  ids(row: R): string | readonly string[] | undefined;
  /**
   * Takes back a row that names what is gone, as the app would have done had it been there; called at a start, before anything is
   * compiled. Absent: the row stays until somebody deletes it, and is named in /problems. Either way a rule that runs on it has to do without what is gone.
   */
  gone?(tx: Tx, row: R): void;
}

/** `reference(portGroupsTable, { to: portTable, ids: (p) => p.id, gone: (tx, p) => tx.delete(portGroupsTable, p.id) })` */
export const reference = <R extends Row>(table: Table<R>, options: Omit<Reference<R>, "table" | "to"> & { readonly to: AnyTable }): Reference => ({ table, ...options }) as unknown as Reference;

/** Something stored that is not as it would be had the app been there all the time. */
export interface Mend {
  /** The row that it is about. */
  readonly table: AnyTable;
  readonly id: Row["id"];
  /** For the log. */
  readonly why: string;
  /** Called in a transaction of its own; looks again. */
  run(this: void, tx: Tx): void;
}
