// Computed rows read like stored ones: a view that has them, in the place of a table that no model has.
import type { AnyTable, Caller, LiveView, Row, StandardRow, FilteredBy } from "../app/contract.ts";
import type { Kind } from "./kinds.ts";
import type { Filter } from "./query.ts";

/** The view itself for kinds whose rows are stored. `filters` and `parent`: of the list that they are for. */
export function viewOf(kind: Kind, view: LiveView, caller: Caller, filters: readonly Filter[], parent?: { readonly attribute: string; readonly id: string }): LiveView {
  const { computed } = kind.resource;
  if (computed === undefined) return view;
  const own = (table: AnyTable): boolean => table.name === kind.table.name;
  const wanted: FilteredBy = (attribute) => {
    if (attribute === parent?.attribute) return [parent.id];
    const filter = filters.find((f) => f.attribute.name === attribute);
    return filter?.attribute.decl.visible === false ? filter.texts : filter?.equals;
  };
  const all = (): Iterable<Row> => computed.list(view, caller, wanted) as Iterable<StandardRow>;
  return {
    get: (table, id) => (own(table) ? (computed.get(view, id, caller) as never) : view.get(table, id)),
    all: (table) => (own(table) ? (all() as Iterable<never>) : view.all(table)),
    by: (table, index, key) => view.by(table, index, key),
    count: (table, index, key) => view.count(table, index, key),
    pairKeys: (table, pair, a) => view.pairKeys(table, pair, a),
    settings: (of) => view.settings(of),
    fact: (table, id) => view.fact(table, id),
    factsBy: (table, index, key) => view.factsBy(table, index, key),
    facts: (table, owner) => view.facts(table, owner),
    byPair: (table, pair, a, b) => view.byPair(table, pair, a, b),
  };
}
