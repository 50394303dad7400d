// Queries of lists: keys to filters, sort order and page, and the links of a page. What is done with them is lists/.
import { badRequest, boolean, integer, invalidInput, normalizeIp, parseCidr, formatCidr, parseMac, parseUuid, show } from "../app/contract.ts";
import type { Kind, KindAttribute } from "./kinds.ts";

export interface Filter {
  readonly attribute: KindAttribute;
  /** All must hold for the shown value. */
  readonly tests: readonly ((shown: unknown) => boolean)[];
  /** Values to look up in an index or as ids, if equality is all there is to it. */
  readonly equals: readonly string[] | undefined;
  /** As given. */
  readonly texts: readonly string[];
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

function makeFilter(attribute: KindAttribute, texts: readonly string[]): Omit<Filter, "texts"> {
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
    if (attribute?.decl.filter === true) filters.push({ ...makeFilter(attribute, params.getAll(key)), texts: params.getAll(key) });
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

/** `next` and `previous` of a page. */
export function pageLinks(items: readonly { readonly id: string }[], query: ListQuery, href: string, params: URLSearchParams): readonly { rel: string; href: string }[] | undefined {
  if (query.limit === 0) return undefined;
  const link = (rel: string, item: { readonly id: string } | undefined): { rel: string; href: string } => {
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
