// Children in their parent's form: how they are shown there. How they are created with it is rows.ts.
import type { Caller, LiveView, ReadView, StandardRow, Values } from "../app/contract.ts";
import type { Kind, KindEmbedded } from "./kinds.ts";
import { Item } from "./present.ts";

/** A row as an object, of what the caller may see. */
function shown(kind: Kind, row: StandardRow, view: LiveView, caller: Caller): Values {
  const item = new Item(kind, row, view, caller);
  const out: Record<string, unknown> = {};
  for (const attribute of kind.shown) {
    if (attribute.decl.onRequest === true) continue; // `fields` names the parent's
    const value = item.visibleValue(attribute);
    if (value !== undefined) out[attribute.name] = value;
  }
  return out;
}

/** Rows of the children, in a fixed order. */
export const childRows = ({ decl, kind }: KindEmbedded, view: ReadView, parentId: string): readonly StandardRow[] =>
  view.by(kind.table, decl.index, parentId).toSorted((a, b) => (a.id < b.id ? -1 : 1));

export const presentEmbedded = (embedded: ReadonlyMap<string, KindEmbedded>, view: LiveView, parentId: string, caller: Caller): Record<string, unknown> =>
  Object.fromEntries([...embedded].map(([name, child]) => [name, childRows(child, view, parentId).map((row) => shown(child.kind, row, view, caller))]));
