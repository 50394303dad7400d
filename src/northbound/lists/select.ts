// Which rows a list shows, in which order. Which are read at all is decided here too: ids and indexed filters first, then the
// project's own rows, and every row of the table only when nothing narrows it.
import { notFound, show, type Caller, type LiveView, type ReadView, type StandardRow, type Values } from "../../app/contract.ts";
import type { Kind } from "../kinds.ts";
import { column, Item } from "../present.ts";
import type { Filter, ListQuery } from "../query.ts";
import { sortInSlices, type Slices } from "./slices.ts";

/** A row of the list and what it is sorted by. */
export interface Entry {
  readonly id: string;
  readonly row: StandardRow;
  readonly keys: readonly unknown[];
  /** With what was worked out for filters; not kept in long lists. */
  item: Item | undefined;
}

/** Pages up to this long are cut while rows are read, so that no more than some pages are held. */
const PAGE_IN_HAND = 2000;
const NO_KEYS: readonly unknown[] = [];

function rowsOf(kind: Kind, view: ReadView, ids: Iterable<string>): StandardRow[] {
  const out: StandardRow[] = [];
  for (const id of ids) {
    const row = view.get<StandardRow>(kind.table, id);
    if (row !== undefined) out.push(row);
  }
  return out;
}

function compareValues(a: unknown, b: unknown): number {
  if (a === b) return 0;
  if (a === undefined || a === null) return b === undefined || b === null ? 0 : -1;
  if (b === undefined || b === null) return 1;
  if (typeof a === typeof b && typeof a !== "object") return (a as string) < (b as string) ? -1 : (a as string) > (b as string) ? 1 : 0;
  const [x, y] = [JSON.stringify(a), JSON.stringify(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

export class Selection {
  readonly kind: Kind;
  readonly view: LiveView;
  readonly caller: Caller;
  readonly query: ListQuery;
  private readonly filters: readonly Filter[];
  /** Filters of the caller by what not all may see, or what is part of such. */
  private readonly ruled: readonly Filter[];
  /** The answer of the resource's rule, if it is the same for all rows. */
  private readonly always: boolean | undefined;
  private readonly after: Entry | undefined;

  /** @throws ApiError the resource's NotFound for a marker that is not there for this caller */
  constructor(kind: Kind, view: LiveView, caller: Caller, query: ListQuery, within?: { readonly attribute: string; readonly id: string }) {
    this.kind = kind;
    this.view = view;
    this.caller = caller;
    this.query = query;
    this.filters =
      within === undefined ? query.filters : [...query.filters, { attribute: kind.attributes.get(within.attribute)!, tests: [(shown): boolean => shown === within.id], equals: [within.id], texts: [within.id] }];
    this.ruled = query.filters.filter(({ attribute: { get, decl } }) => get !== undefined || decl.within !== undefined);
    this.always = kind.get.certain(caller);
    const { marker } = query;
    if (marker === undefined || this.always === false) return;
    const row = view.get<StandardRow>(kind.table, marker);
    if (row === undefined || !kind.get.allows(caller, { row }, view)) throw notFound(kind.resource.notFound.type, kind.resource.notFound.message(show(marker)));
    this.after = this.entry(new Item(kind, row, view, caller));
  }

  /** Rows that may be in the answer. */
  candidates(): readonly StandardRow[] {
    if (this.always === false) return [];
    const { kind, view, caller, filters } = this;
    const { table } = kind;
    const byId = filters.find((f) => f.attribute.name === "id" && f.equals !== undefined);
    if (byId !== undefined) return rowsOf(kind, view, new Set(byId.equals));
    const collect = (index: string, keys: Iterable<string>): readonly StandardRow[] => {
      const lists = [...keys].map((key) => view.by(table, index, key) as readonly StandardRow[]);
      if (lists.length === 1) return lists[0]!;
      const found = new Map<string, StandardRow>();
      for (const list of lists) for (const row of list) found.set(row.id, row);
      return [...found.values()];
    };
    const indexed = filters.find((f) => f.equals !== undefined && f.attribute.decl.index !== undefined);
    if (indexed !== undefined) return collect(indexed.attribute.decl.index!, new Set(indexed.equals));
    const hasProject = Object.hasOwn(table.indexes, "project");
    const ofProject = filters.find((f) => f.equals !== undefined && (f.attribute.name === "project_id" || f.attribute.name === "tenant_id"));
    if (ofProject !== undefined && hasProject) return collect("project", new Set(ofProject.equals));
    const scope = kind.get.scope(caller);
    if (scope === "all") return [...view.all<StandardRow>(table)];
    const reach = kind.resource.reach ?? {};
    const found = new Map<string, StandardRow>();
    for (const relation of scope) {
      if (Object.hasOwn(reach, relation)) for (const row of rowsOf(kind, view, reach[relation]!(view, caller))) found.set(row.id, row);
      else if (relation === "project" && hasProject) for (const row of view.by(table, "project", caller.projectId) as readonly StandardRow[]) found.set(row.id, row);
      else return [...view.all<StandardRow>(table)];
    }
    return [...found.values()];
  }

  private entry(item: Item): Entry {
    const { sort } = this.query;
    return { id: item.id, row: item.row, keys: sort.length === 0 ? NO_KEYS : sort.map(({ attribute }) => item.visibleValue(attribute)), item };
  }

  /** The row, if it is in the answer. */
  private accept(row: StandardRow): Entry | undefined {
    const { kind, view, caller, always } = this;
    const { changedSince, tags } = this.query;
    if (changedSince !== undefined && row.updated_at < changedSince) return undefined;
    // Columns need no item: most rows of a long table go by here.
    let item: Item | undefined;
    /** Of objects, by the attribute that they are: those that have what was asked so far. */
    let objects: Map<string, readonly Values[]> | undefined;
    for (const { attribute: { name, decl: { within } }, tests } of this.filters) {
      const shown = (kind.instead.has(name) ? undefined : column(row, name)) ?? (item ??= new Item(kind, row, view, caller)).value(name);
      if (shown === undefined && within !== undefined) {
        const left: readonly Values[] = objects?.get(within) ?? ((item ??= new Item(kind, row, view, caller)).value(within) as readonly Values[] | undefined) ?? [];
        const having = left.filter((object) => tests.every((test) => test(object[name])));
        if (having.length === 0) return undefined;
        (objects ??= new Map<string, readonly Values[]>()).set(within, having);
        continue;
      }
      for (const test of tests) if (!test(shown)) return undefined;
    }
    item ??= new Item(kind, row, view, caller);
    if (always === undefined && !kind.get.allows(caller, { row: row as unknown as Values }, view)) return undefined;
    // What the caller may not see must not be found out by filtering either.
    for (const { attribute } of this.ruled) {
      const { within } = attribute.decl;
      const seen = within !== undefined && objects?.has(within) === true ? item.maySee(attribute) && item.maySee(kind.attributes.get(within)!) : attribute.get === undefined || item.visibleValue(attribute) !== undefined;
      if (!seen) return undefined;
    }
    if (tags.length > 0) {
      const has = new Set(row.tags);
      if (!tags.every((t) => t(has))) return undefined;
    }
    const entry = this.entry(item);
    return this.after !== undefined && this.compare(entry, this.after) <= 0 ? undefined : entry;
  }

  private readonly compare = (a: Entry, b: Entry): number => {
    const { sort, reverse } = this.query;
    let c = 0;
    for (let i = 0; c === 0 && i < sort.length; i++) c = compareValues(a.keys[i], b.keys[i]) * sort[i]!.sign;
    if (c === 0) c = a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
    return reverse ? -c : c;
  };

  private get keepMost(): number {
    const { limit } = this.query;
    return limit > 0 && limit <= PAGE_IN_HAND ? Math.max(4 * limit, 1000) : Infinity;
  }

  /** `kept` sorted. */
  private page(kept: Entry[]): readonly Entry[] {
    const { limit, reverse } = this.query;
    const page = limit > 0 ? kept.slice(0, limit) : kept;
    return reverse ? page.reverse() : page;
  }

  /** The page, at once. */
  now(rows: readonly StandardRow[]): readonly Entry[] {
    const kept: Entry[] = [];
    for (const row of rows) {
      const entry = this.accept(row);
      if (entry !== undefined) kept.push(entry);
    }
    return this.page(kept.sort(this.compare));
  }

  /** The page, in slices. `stopped`: nobody wants it any more. */
  async inSlices(rows: readonly StandardRow[], slices: Slices, stopped: () => boolean): Promise<readonly Entry[]> {
    const { keepMost } = this;
    let kept: Entry[] = [];
    /** Of a page in hand the last: what comes after it is not on the page. */
    let last: Entry | undefined;
    for (const row of rows) {
      const entry = this.accept(row);
      if (entry !== undefined && (last === undefined || this.compare(entry, last) < 0)) {
        entry.item = undefined;
        kept.push(entry);
        if (kept.length >= keepMost) {
          kept = kept.sort(this.compare).slice(0, this.query.limit);
          last = kept.at(-1);
        }
      }
      if (slices.row()) {
        await slices.turn();
        if (stopped()) return [];
      }
    }
    return this.page(await sortInSlices(kept, this.compare, slices));
  }

  item(entry: Entry): Item {
    return entry.item ?? new Item(this.kind, entry.row, this.view, this.caller);
  }
}
