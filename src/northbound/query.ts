// Lists: query keys to filters, sort order and page, and rows to a page. Which rows are read at all is decided here too:
// ids and indexed filters first, then the project's own rows, and every row of the table only when nothing narrows it.
import { badRequest, boolean, integer, invalidInput, notFound, normalizeIp, parseCidr, formatCidr, parseMac, parseUuid, show, type Caller, type LiveView, type ReadView, type StandardRow, type Values } from "../app/contract.ts";
import type { Kind, KindAttribute } from "./kinds.ts";
import { Item, column } from "./present.ts";

interface Filter {
  readonly attribute: KindAttribute;
  /** All must hold for the shown value. */
  readonly tests: readonly ((shown: unknown) => boolean)[];
  /** Values to look up in an index or as ids, if equality is all there is to it. */
  readonly equals: readonly string[] | undefined;
}

export interface ListQuery {
  readonly filters: readonly Filter[];
  readonly tags: readonly ((tags: ReadonlySet<string>) => boolean)[];
  readonly changedSince: string | undefined;
  readonly fields: ReadonlySet<string> | undefined;
  readonly sort: readonly { readonly attribute: KindAttribute; readonly sign: 1 | -1 }[];
  readonly limit: number;
  readonly marker: string | undefined;
  readonly reverse: boolean;
}

export function fieldsOf(params: URLSearchParams): ReadonlySet<string> | undefined {
  if (!params.has("fields")) return undefined;
  const fields = params.getAll("fields").filter((f) => f !== "");
  return fields.length === 0 ? undefined : new Set(fields);
}

const PAGING = new Set(["fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "changed_since"]);
const TAGS: Readonly<Record<string, (wanted: readonly string[]) => (tags: ReadonlySet<string>) => boolean>> = {
  tags: (wanted) => (tags) => wanted.every((t) => tags.has(t)),
  "tags-any": (wanted) => (tags) => wanted.some((t) => tags.has(t)),
  "not-tags": (wanted) => (tags) => !wanted.every((t) => tags.has(t)),
  "not-tags-any": (wanted) => (tags) => !wanted.some((t) => tags.has(t)),
};

/** Query text in the stored spelling, for attributes whose text has several. */
function canonical(attribute: KindAttribute, text: string): string {
  switch (attribute.decl.type) {
    case "uuid":
    case "uuid|null":
    case "uuid[]":
      return parseUuid(text) ?? text;
    case "mac":
      return parseMac(text) ?? text.toLowerCase();
    case "ip|null":
      return normalizeIp(text) ?? text;
    case "cidr": {
      const c = parseCidr(text);
      return c === undefined || c.address !== c.network ? text : formatCidr(c);
    }
    default:
      return text;
  }
}

function makeFilter(attribute: KindAttribute, texts: readonly string[]): Filter {
  const { decl, name } = attribute;
  if (decl.matches !== undefined) {
    const matches = decl.matches;
    // key=value texts: OR within a key, AND between keys.
    const groups = new Map<string, string[]>();
    for (const text of texts) {
      const equals = text.indexOf("=");
      if (equals < 0 && decl.type === "object[]") throw invalidInput(`'${show(text)}' is not a filter of ${name}: <key>=<value> is expected`);
      const key = equals < 0 ? "" : text.slice(0, equals);
      groups.set(key, [...(groups.get(key) ?? []), text]);
    }
    return { attribute, tests: [...groups.values()].map((group) => (shown) => group.some((text) => matches(shown, text))), equals: undefined };
  }
  switch (decl.type) {
    case "boolean": {
      const wanted = new Set(texts.map((t) => boolean(t, name)));
      return { attribute, tests: [(shown) => wanted.has(shown)], equals: undefined };
    }
    case "integer": {
      const wanted = new Set(texts.map((t) => integer()(t, name)));
      return { attribute, tests: [(shown) => wanted.has(shown)], equals: undefined };
    }
    case "object":
    case "object[]":
      throw badRequest(`['${name}'] is invalid attribute for filtering`);
    default: {
      // What is "any" may be a number in the answer and is text in the query.
      const equals = texts.map((t) => canonical(attribute, t));
      const wanted = new Set(equals);
      const one = (shown: unknown): boolean => wanted.has(typeof shown === "number" ? String(shown) : (shown as string));
      return { attribute, tests: [(shown) => (Array.isArray(shown) ? shown.some(one) : one(shown))], equals };
    }
  }
}

export function parseList(kind: Kind, params: URLSearchParams, pageMax: number): ListQuery {
  const unknown: string[] = [];
  const filters: Filter[] = [];
  const tags: ((tags: ReadonlySet<string>) => boolean)[] = [];
  for (const key of new Set(params.keys())) {
    if (PAGING.has(key)) continue;
    if (kind.tags && Object.hasOwn(TAGS, key)) {
      for (const text of params.getAll(key)) tags.push(TAGS[key]!(text.split(",")));
      continue;
    }
    const attribute = kind.attributes.get(key);
    if (attribute?.decl.filter === true) filters.push(makeFilter(attribute, params.getAll(key)));
    else unknown.push(key);
  }
  if (unknown.length > 0) throw badRequest(`[${unknown.map((k) => `'${show(k)}'`).join(", ")}] is invalid attribute for filtering`);

  const keys = params.getAll("sort_key");
  const dirs = params.getAll("sort_dir");
  if (keys.length !== dirs.length) throw badRequest("The number of sort_keys and sort_dirs must be same");
  const unsortable = keys.filter((k) => kind.attributes.get(k)?.decl.sort !== true);
  if (unsortable.length > 0) throw badRequest(`[${unsortable.map((k) => `'${show(k)}'`).join(", ")}] is invalid attribute for sort_keys`);
  const badDir = dirs.find((d) => d !== "asc" && d !== "desc");
  if (badDir !== undefined) throw badRequest(`'${show(badDir)}' is invalid attribute for sort_dir, valid values are: asc, desc`);
  const sort = keys.map((k, i) => ({ attribute: kind.attributes.get(k)!, sign: dirs[i] === "asc" ? (1 as const) : (-1 as const) }));

  const limitText = params.get("limit");
  if (limitText !== null && !/^\d{1,15}$/.test(limitText)) throw badRequest(`Bad limits request: Limit must be an integer 0 or greater and not '${show(limitText)}'.`, "BadRequest");
  let limit = limitText === null ? 0 : Number(limitText);
  if (pageMax > 0) limit = limit === 0 ? pageMax : Math.min(limit, pageMax);

  const since = params.get("changed_since");
  if (since !== null && (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?$/.test(since) || Number.isNaN(Date.parse(since)))) {
    throw invalidInput(`'${show(since)}' is not a time: YYYY-MM-DDTHH:MM:SS is expected`);
  }
  const reverseText = params.get("page_reverse");
  return {
    filters,
    tags,
    changedSince: since === null ? undefined : `${since.slice(0, 19)}Z`,
    fields: fieldsOf(params),
    sort,
    limit,
    marker: params.get("marker") ?? undefined,
    reverse: reverseText !== null && reverseText.toLowerCase() === "true",
  };
}

const rowsOf = (kind: Kind, view: ReadView, ids: Iterable<string>): StandardRow[] => {
  const out: StandardRow[] = [];
  for (const id of ids) {
    const row = view.get<StandardRow>(kind.table, id);
    if (row !== undefined) out.push(row);
  }
  return out;
};

/** Rows that may be in the answer. */
function candidates(kind: Kind, view: ReadView, caller: Caller, filters: readonly Filter[]): Iterable<StandardRow> {
  const { table } = kind;
  const byId = filters.find((f) => f.attribute.name === "id" && f.equals !== undefined);
  if (byId !== undefined) return rowsOf(kind, view, new Set(byId.equals));
  const collect = (index: string, keys: Iterable<string>): Iterable<StandardRow> => {
    const found = new Map<string, StandardRow>();
    for (const key of keys) for (const row of view.by(table, index, key) as readonly StandardRow[]) found.set(row.id, row);
    return found.values();
  };
  const indexed = filters.find((f) => f.equals !== undefined && f.attribute.decl.index !== undefined);
  if (indexed !== undefined) return collect(indexed.attribute.decl.index!, new Set(indexed.equals));
  const hasProject = Object.hasOwn(table.indexes, "project");
  const ofProject = filters.find((f) => f.equals !== undefined && (f.attribute.name === "project_id" || f.attribute.name === "tenant_id"));
  if (ofProject !== undefined && hasProject) return collect("project", new Set(ofProject.equals));
  const scope = kind.get.scope(caller);
  if (scope === "all") return view.all<StandardRow>(table);
  const reach = kind.resource.reach ?? {};
  const found = new Map<string, StandardRow>();
  for (const relation of scope) {
    if (Object.hasOwn(reach, relation)) for (const row of rowsOf(kind, view, reach[relation]!(view, caller))) found.set(row.id, row);
    else if (relation === "project" && hasProject) for (const row of view.by(table, "project", caller.projectId) as readonly StandardRow[]) found.set(row.id, row);
    else return view.all<StandardRow>(table);
  }
  return found.values();
}

function compareValues(a: unknown, b: unknown): number {
  if (a === b) return 0;
  if (a === undefined || a === null) return b === undefined || b === null ? 0 : -1;
  if (b === undefined || b === null) return 1;
  if (typeof a === typeof b && typeof a !== "object") return (a as string) < (b as string) ? -1 : (a as string) > (b as string) ? 1 : 0;
  const [x, y] = [JSON.stringify(a), JSON.stringify(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

export function listItems(kind: Kind, view: LiveView, caller: Caller, query: ListQuery, within?: { readonly attribute: string; readonly id: string }): readonly Item[] {
  const { filters, tags, changedSince, sort, limit, marker } = query;
  const always = kind.get.certain(caller);
  if (always === false) return [];
  const order = (a: Item, b: Item): number => {
    for (const { attribute, sign } of sort) {
      const c = compareValues(a.visibleValue(attribute), b.visibleValue(attribute));
      if (c !== 0) return c * sign;
    }
    return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
  };
  const compare = query.reverse ? (a: Item, b: Item): number => order(b, a) : order;
  let after: Item | undefined;
  if (marker !== undefined) {
    const row = view.get<StandardRow>(kind.table, marker);
    if (row === undefined || !kind.get.allows(caller, { row: row }, view)) throw notFound(kind.resource.notFound.type, kind.resource.notFound.message(marker));
    after = new Item(kind, row, view, caller);
  }
  const all: readonly Filter[] =
    within === undefined ? filters : [...filters, { attribute: kind.attributes.get(within.attribute)!, tests: [(shown) => shown === within.id], equals: [within.id] }];
  const keepMost = limit > 0 ? Math.max(4 * limit, 1000) : Infinity;
  let kept: Item[] = [];
  rows: for (const row of candidates(kind, view, caller, all)) {
    if (changedSince !== undefined && row.updated_at < changedSince) continue;
    // Columns need no item: most rows of a long table go by here.
    let item: Item | undefined;
    for (const { attribute, tests } of all) {
      const shown = column(row, attribute.name) ?? (item ??= new Item(kind, row, view, caller)).value(attribute.name);
      for (const test of tests) if (!test(shown)) continue rows;
    }
    item ??= new Item(kind, row, view, caller);
    if (always === undefined && !kind.get.allows(caller, { row: row as unknown as Values }, view)) continue;
    // What the caller may not see must not be found out by filtering either.
    for (const { attribute } of filters) if (attribute.get !== undefined && item.visibleValue(attribute) === undefined) continue rows;
    if (tags.length > 0) {
      const has = new Set(row.tags);
      if (!tags.every((t) => t(has))) continue;
    }
    if (after !== undefined && compare(item, after) <= 0) continue;
    kept.push(item);
    if (kept.length >= keepMost) kept = kept.sort(compare).slice(0, limit);
  }
  kept.sort(compare);
  if (limit > 0) kept = kept.slice(0, limit);
  return query.reverse ? kept.reverse() : kept;
}

/** `next` and `previous` of a page. */
export function pageLinks(items: readonly Item[], query: ListQuery, href: string, params: URLSearchParams): readonly { rel: string; href: string }[] | undefined {
  if (query.limit === 0) return undefined;
  const link = (rel: string, item: Item | undefined): { rel: string; href: string } => {
    const p = new URLSearchParams(params);
    p.delete("marker");
    p.delete("page_reverse");
    if (item !== undefined) p.set("marker", item.id);
    if (rel === "previous") p.set("page_reverse", "True");
    return { rel, href: `${href}?${p.toString()}` };
  };
  const short = items.length < query.limit;
  const links: { rel: string; href: string }[] = [];
  if (query.reverse || !short) links.push(link("next", items.at(-1)));
  if (!query.reverse || !short) links.push(link("previous", items[0]));
  return links;
}
