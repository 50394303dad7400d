// What operators name: resources of the API by their ids, or the names that they have. Who names what is not there is told so: an answer with nothing in it
// reads as if there was nothing to tell of it.
import type { AnyTable, ReadView, Row, Table } from "#app";
import { BadQuery } from "./bad-query.ts";

export interface NamedResource {
  readonly type: string;
  readonly id: string;
}

interface Owned extends Row {
  readonly name?: unknown;
  readonly project_id?: unknown;
}

type Rows = Pick<ReadView, "get" | "all" | "count">;

/** Of one name so many are told. */
const TOLD = 4;
const quoted = (text: string): string => `'${text.slice(0, 64)}'`;
const spoken = (type: string): string => type.replaceAll("_", " ");

export class Named {
  private readonly view: Rows;
  private readonly byType: ReadonlyMap<string, Table>;

  /** `tables`: every one, of which those of resources count. */
  constructor(tables: readonly AnyTable[], view: Rows) {
    this.view = view;
    this.byType = new Map(tables.flatMap((table) => (table.resource === undefined ? [] : [[table.resource, table as Table] as const])));
  }

  /** Resources of these types, by default of any, that have this id; else those that have this name. Of many the first. */
  find(text: string, types?: readonly string[]): readonly NamedResource[] {
    const tables = types === undefined ? [...this.byType] : types.flatMap((type) => (this.byType.has(type) ? [[type, this.byType.get(type)!] as const] : []));
    const withId = tables.flatMap(([type, table]) => (this.view.get(table, text) === undefined ? [] : [{ type, id: text }]));
    if (withId.length > 0 || text === "") return withId;
    const found: NamedResource[] = [];
    // Nothing finds rows by their names; who asks so is an operator.
    for (const [type, table] of tables) for (const row of this.view.all(table) as Iterable<Owned>) if (row.name === text && found.push({ type, id: row.id }) === TOLD) return found;
    return found;
  }

  /** The id of the one that is meant; undefined: there is none. @throws BadQuery when several have the name */
  idOf(parameter: string, text: string, types?: readonly string[]): string | undefined {
    const found = this.find(text, types);
    if (new Set(found.map(({ id }) => id)).size > 1) throw new BadQuery(parameter, severalHave(text, found));
    return found[0]?.id;
  }

  /** Whether anything here is of this project. Its name only Keystone knows. */
  hasProject(id: string): boolean {
    const tables = [...this.byType.values()];
    const isIndexed = (table: Table): boolean => "project" in table.indexes;
    if (tables.some((table) => isIndexed(table) && this.view.count(table, "project", id) > 0)) return true;
    return tables.some((table) => {
      if (isIndexed(table)) return false;
      for (const row of this.view.all(table) as Iterable<Owned>) if (row.project_id === id) return true;
      return false;
    });
  }
}

export function severalHave(name: string, found: readonly NamedResource[]): string {
  const [first, ...others] = new Set(found.map(({ type }) => type));
  if (others.length === 0) return `several ${`${spoken(first!)}s`.replace(/ys$/, "ies")} have the name ${name.slice(0, 64)}: ${found.map(({ id }) => id).join(", ")}`;
  return `several have the name ${name.slice(0, 64)}: ${found.map(({ type, id }) => `${spoken(type)} ${id}`).join(", ")}`;
}

export const noneOf = (parameter: string, text: string, types: readonly string[]): BadQuery => new BadQuery(parameter, `there is no ${types.map(spoken).join(", ").replace(/, ([^,]*)$/, " or $1")} ${quoted(text)}`);
export const noProject = (parameter: string, text: string): BadQuery => new BadQuery(parameter, `nothing here is of a project ${quoted(text)}; projects are given by their ids`);
