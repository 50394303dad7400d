// What operators name: resources of the API by their ids, or the names that they have. Who names what is not there is told so: an answer with nothing in it
// reads as if there was nothing to tell of it.
import { chassisTable, type AnyTable, type ReadView, type Row, type Table } from "#app";
import { BadQuery } from "./bad-query.ts";

interface NamedResource {
  readonly type: string;
  readonly id: string;
  /** Whose it is, where it is somebody's. */
  readonly project: string | undefined;
}

/** What to look among: by default resources of any type and project. */
export interface Among {
  readonly types?: readonly string[];
  /** Of several of the same name those of this project are meant. */
  readonly project?: string | undefined;
}

interface Owned extends Row {
  readonly name?: unknown;
  readonly project_id?: unknown;
}

type Rows = Pick<ReadView, "get" | "all" | "count">;

/** Of one name so many are told. */
const TOLD = 4;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const quoted = (text: string): string => `'${text.slice(0, 64)}'`;
const projectOf = ({ project_id: project }: Owned): string | undefined => (typeof project === "string" && project !== "" ? project : undefined);

export class Named {
  private readonly view: Rows;
  private readonly byType: ReadonlyMap<string, Table<Owned>>;
  private readonly hasHosts: boolean;

  /** `tables`: every one, of which those of resources count. */
  constructor(tables: readonly AnyTable[], view: Rows) {
    this.view = view;
    this.hasHosts = tables.includes(chassisTable);
    this.byType = new Map(tables.flatMap((table) => (table.resource === undefined ? [] : [[table.resource, table as Table<Owned>] as const])));
  }

  /**
   * The id of the one that is meant: by its id, whosever it is, else by its name, of the project or, where that has none, of another. undefined: there is none.
   * @throws BadQuery when several have the name
   */
  idOf(parameter: string, text: string, { types, project }: Among = {}): string | undefined {
    const tables = this.tables(types);
    // A host is none of the API's resources, and what it causes is asked for by its id: that is not to be taken by who calls a port so.
    if (types === undefined && this.hasHosts && this.view.get(chassisTable, text) !== undefined) return text;
    if (text === "" || tables.some(([, table]) => this.view.get(table, text) !== undefined)) return text === "" ? undefined : text;
    const own = project === undefined ? [] : this.called(text, tables, (row) => row.project_id === project);
    const found = own.length > 0 ? own : this.called(text, tables);
    if (new Set(found.map(({ id }) => id)).size > 1) {
      const none = project === undefined || own.length > 0 ? "" : `${this.nothing(text, types)} of project ${quoted(project)}; `;
      throw new BadQuery(parameter, `${none}${this.severalHave(text, found)}`);
    }
    return found[0]?.id;
  }

  /** Says that there is none. */
  none(parameter: string, text: string, types?: readonly string[]): BadQuery {
    return new BadQuery(parameter, `${this.nothing(text, types)}${pastOf(text)}`);
  }

  /** Says of one that is there whose it is; undefined: the project's, or nobody's, as far as is known. */
  another(parameter: string, id: string, project: string, types?: readonly string[]): BadQuery | undefined {
    for (const [type, table] of this.tables(types)) {
      const row = this.view.get(table, id);
      const owner = row === undefined ? undefined : projectOf(row);
      if (owner !== undefined && owner !== project) return new BadQuery(parameter, `${this.spoken(type)} ${id} is of another project, ${owner}`);
    }
    return undefined;
  }

  /** Whether anything here is of this project. Its name only Keystone knows. */
  hasProject(id: string): boolean {
    const tables = [...this.byType.values()];
    const isIndexed = (table: Table): boolean => "project" in table.indexes;
    if (tables.some((table) => isIndexed(table) && this.view.count(table, "project", id) > 0)) return true;
    return tables.some((table) => {
      if (isIndexed(table)) return false;
      for (const row of this.view.all(table)) if (row.project_id === id) return true;
      return false;
    });
  }

  private tables(types: readonly string[] | undefined): readonly (readonly [type: string, table: Table<Owned>])[] {
    return types === undefined ? [...this.byType] : types.flatMap((type) => (this.byType.has(type) ? [[type, this.byType.get(type)!] as const] : []));
  }

  /** Those that are called so; of many the first. Nothing finds rows by their names; who asks so is an operator. */
  private called(text: string, tables: ReturnType<Named["tables"]>, fits: (row: Owned) => boolean = () => true): NamedResource[] {
    const found: NamedResource[] = [];
    for (const [type, table] of tables) {
      const { of = (row: Owned) => row.name } = table.naming;
      for (const row of this.view.all(table)) if (of(row) === text && fits(row) && found.push({ type, id: row.id, project: projectOf(row) }) === TOLD) return found;
    }
    return found;
  }

  private spoken(type: string): string {
    return this.byType.get(type)?.naming.resource ?? type.replaceAll("_", " ");
  }

  private nothing(text: string, types: readonly string[] = ["API resource"]): string {
    return `there is no ${types.map((type) => this.spoken(type)).join(", ").replace(/, ([^,]*)$/, " or $1")} ${quoted(text)}`;
  }

  private severalHave(name: string, found: readonly NamedResource[]): string {
    const [first, ...others] = new Set(found.map(({ type }) => type));
    const what = others.length === 0 ? `${this.spoken(first!)}s`.replace(/ys$/, "ies") : undefined;
    const each = found.map(({ type, id, project }) => `${what === undefined ? `${this.spoken(type)} ` : ""}${id}${project === undefined ? "" : ` (project ${project})`}`);
    return `several ${what === undefined ? "" : `${what} `}have the name ${name.slice(0, 64)}: ${each.join(", ")}`;
  }
}

/** What may have been: ids alone are told of what was deleted. */
export const pastOf = (text: string): string => (UUID.test(text) ? `; whether and when it was deleted, axion history --resource ${text} says` : "");

export const noProject = (parameter: string, text: string): BadQuery => new BadQuery(parameter, `nothing here is of a project ${quoted(text)}; projects are given by their ids`);
