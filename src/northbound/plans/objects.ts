// Changed rows as the resources that they are of: each as its caller would be shown it, before and after. What the caller may not see is left out.
import type { Caller, ReadView, StandardRow } from "../../app/contract.ts";
import type { Stepwise } from "../../lib/turns/stepwise.ts";
import type { Change } from "../../model/model.ts";
import type { View } from "../../model/view.ts";
import type { Kind, Registry } from "../kinds.ts";
import { Item } from "../present.ts";
import { values } from "../rows.ts";

export interface PlannedObject {
  readonly op: "create" | "update" | "delete";
  /** Resource, as in bodies: "security_group_rule". */
  readonly type: string;
  readonly id: string;
  /** JSON; undefined: there is none, or none that may be seen. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** `committed`: what is, with derived rows; `after`: stored ones as they would be. */
export function plannedObjects(registry: Registry): (changes: readonly Change[], after: ReadView, committed: View, caller: Caller) => Stepwise<readonly PlannedObject[]> {
  const kinds = new Map<string, Kind>();
  for (const kind of registry.kinds.values()) {
    if (kind.resource.computed === undefined && (!kinds.has(kind.table.name) || kind.table.resource === kind.name)) kinds.set(kind.table.name, kind);
  }
  return function* (changes, after, committed, caller) {
    const then = committed.over(after);
    const out: PlannedObject[] = [];
    for (const change of changes) {
      yield;
      const kind = kinds.get(change.table.name);
      if (kind === undefined) continue;
      const shown = (row: Change["before"], view: View): string | undefined =>
        row === undefined || !kind.get.allows(caller, { row: values(row as StandardRow) }, view) ? undefined : new Item(kind, row as StandardRow, view, caller).text();
      const [was, is] = [shown(change.before, committed), shown(change.after, then)];
      if (was === undefined && is === undefined) continue;
      out.push({ op: was === undefined ? "create" : is === undefined ? "delete" : "update", type: kind.name, id: change.id, before: was, after: is });
    }
    return out;
  };
}

/** Whether a caller is shown the port of an id. */
export function portsSeen(registry: Registry): (id: string, view: View, caller: Caller) => boolean {
  const kind = registry.kinds.get("port");
  return (id, view, caller) => {
    const row = kind === undefined ? undefined : view.get(kind.table, id);
    return row !== undefined && kind!.get.allows(caller, { row: values(row) }, view);
  };
}
