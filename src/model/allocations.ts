// Where pools gave out their last numbers, of parts that are no more: hosts and networks come and go, and each would leave a row for ever. Who takes a part away
// forgets it; what is left of a part that went otherwise is swept at a start.
import { poolNumberTable, type AnyTable, type Table } from "#app";
import type { Model } from "./model.ts";
import { allocationTable } from "./transaction.ts";

/** Rows that go in one transaction. */
const AT_ONCE = 1000;

/** Forgets parts of pools of which no number is held, and that no stored row is: a chassis or network that went. How many. */
export async function sweepAllocations(model: Pick<Model, "view" | "transact">, tables: readonly AnyTable[]): Promise<number> {
  const { view } = model;
  const stored = tables.filter(({ derived }) => !derived);
  const gone = Array.from(view.all(allocationTable), ({ id }) => id).filter((id) => {
    const [space = ""] = id.split("|");
    const slash = space.indexOf("/");
    if (slash < 0) return false;
    const part = space.slice(slash + 1);
    return view.count(poolNumberTable, "part", space) === 0 && !stored.some((table: Table) => view.get(table, part) !== undefined);
  });
  for (let at = 0; at < gone.length; at += AT_ONCE) {
    await model.transact({ requestId: "start", call: "parts of pools that are no more" }, (tx) => {
      for (const id of gone.slice(at, at + AT_ONCE)) tx.forgetAllocation(id);
    });
  }
  return gone.length;
}
