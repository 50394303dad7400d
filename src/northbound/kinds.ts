// Kinds: the declarations of all apps put together at boot. A Kind is one resource with its standard attributes, what other
// apps add to it, its parsed access rules and its hooks in the order of `requires`. Nothing here changes afterwards.
import {
  AUTO,
  boolean,
  both,
  cidr,
  deeperThan,
  integer,
  invalidFor,
  ipOrNull,
  listOf,
  mac,
  nullAs,
  object,
  string,
  uniqueStrings,
  uuid,
  uuidList,
  uuidOrNull,
  type Action,
  type Alias,
  type App,
  type Attribute,
  type AttributeType,
  type Convert,
  type Extension,
  type Resource,
  type StandardRow,
  type Table,
} from "../app/contract.ts";
import { parseRule, type Relations, type Rule } from "./policy/expression.ts";

export const MAX_TAGS = 50;
export const MAX_DEPTH = 32;

export interface KindAttribute {
  readonly name: string;
  readonly decl: Attribute;
  readonly check: Convert;
  readonly post: boolean;
  readonly put: boolean;
  readonly visible: boolean;
  /** Whether there is a default, and its stored form. */
  readonly hasDefault: boolean;
  readonly default: unknown;
  readonly create: Rule | undefined;
  readonly get: Rule | undefined;
  readonly update: Rule | undefined;
  readonly keys: ReadonlyMap<string, { readonly create: Rule | undefined; readonly update: Rule | undefined }>;
}

export interface KindAction {
  readonly name: string;
  readonly decl: Action;
  readonly rule: Rule;
}

export interface Kind {
  readonly resource: Resource;
  readonly table: Table<StandardRow>;
  readonly name: string;
  readonly attributes: ReadonlyMap<string, KindAttribute>;
  readonly shown: readonly KindAttribute[];
  readonly required: readonly string[];
  readonly defaults: readonly (readonly [string, unknown])[];
  readonly create: Rule;
  readonly get: Rule;
  readonly update: Rule;
  readonly delete: Rule;
  readonly tags: boolean;
  readonly tagsUpdate: Rule;
  readonly actions: ReadonlyMap<string, KindAction>;
  readonly extensions: readonly Extension[];
  /** Resource's and extensions' present functions. */
  readonly presenters: readonly NonNullable<Extension["present"]>[];
  /** Presented names and which of the presenters it is; made as they are first seen. */
  readonly presented: Map<string, number>;
  /** Path segments below /v2.0/ with "_" for "-". */
  readonly path: readonly string[];
  readonly parent: Kind | undefined;
  /** Path -> kind of the resources that are parts of this one. */
  readonly children: Map<string, Kind>;
}

export interface Registry {
  readonly kinds: ReadonlyMap<string, Kind>;
  /** Top-level kinds by path, "-" as "_". */
  readonly paths: ReadonlyMap<string, Kind>;
  readonly aliases: readonly Alias[];
}

const any: Convert = (value, attribute) => {
  if (deeperThan(value, MAX_DEPTH)) throw invalidFor(attribute, `nested deeper than ${MAX_DEPTH} levels`);
  return value;
};

/** What an attribute without a check of its own must be. */
const typeChecks: Readonly<Record<AttributeType, Convert>> = {
  string: string(255),
  boolean,
  integer: integer(),
  uuid,
  "uuid|null": uuidOrNull,
  "uuid[]": uuidList,
  "string[]": listOf(string(255)),
  object,
  "object[]": listOf(object),
  "ip|null": ipOrNull,
  mac,
  cidr,
  timestamp: string(32),
  any,
};

/** At most 50 distinct texts. */
export const tagList: Convert = both(uniqueStrings(255), (tags, attribute) => {
  if ((tags as readonly string[]).length > MAX_TAGS) throw invalidFor(attribute, `more than ${MAX_TAGS} tags`);
  return tags;
});

function standardAttributes(resource: Resource): Record<string, Attribute> {
  const project: Attribute = { type: "string", about: "Project that owns it; the caller's own unless an administrator says otherwise.", post: true, filter: true, sort: true };
  const out: Record<string, Attribute> = {
    id: { type: "uuid", about: "Made by the server.", filter: true, sort: true },
    name: { type: "string", about: "For people; need not be unique.", post: true, put: true, default: "", filter: true, sort: true },
    tenant_id: { ...project, about: "Older name of project_id; always equal to it." },
    project_id: project,
    description: { type: "string", about: "Free text.", post: true, put: true, default: "", filter: true },
    created_at: { type: "timestamp", about: "When it was made, UTC." },
    updated_at: { type: "timestamp", about: "When it or a part of it last changed, UTC." },
    revision_number: { type: "integer", about: "Grows with every change of it or of its parts.", filter: true },
    tags: { type: "string[]", about: "Labels.", default: [], check: nullAs([], tagList) },
  };
  if (resource.named === false) delete out.name;
  if (resource.tags === false) delete out.tags;
  return out;
}

/** Aliases that this layer itself implements for every resource. */
const ownAliases: readonly Alias[] = [
  ["standard-attr-description", "Description of resources", "Every resource has a description."],
  ["standard-attr-timestamp", "Times of creation and change", "created_at, updated_at and the changed_since filter."],
  ["standard-attr-revisions", "Revision numbers", "revision_number grows with every change."],
  ["revision-if-match", "If-Match on revision_number", "A change may be tied to the revision its author saw."],
  ["standard-attr-tag", "Tags", "Labels on resources, and filters for them."],
  ["tag-creation", "Adding tags with POST", "POST on a tags collection adds to it."],
  ["project-id", "project_id", "project_id beside tenant_id."],
  ["pagination", "Paging of lists", "limit, marker, page_reverse and links."],
  ["sorting", "Sorting of lists", "sort_key and sort_dir."],
  ["sort-key-validation", "Check of sort keys", "Unknown sort keys are refused."],
  ["filter-validation", "Check of filters", "Unknown filters are refused."],
  ["empty-string-filtering", "Filtering for empty text", "An empty filter value matches the empty text."],
].map(([alias, name, description]) => ({ alias: alias!, name: name!, description: description!, updated: "2026-01-01T00:00:00-00:00" }));

/** Apps after those they require. @throws Error naming a missing or circular requirement. */
export function ordered(apps: readonly App[]): readonly App[] {
  const byName = new Map(apps.map((a) => [a.name, a]));
  const done = new Set<App>();
  const out: App[] = [];
  const visit = (app: App, trail: readonly string[]): void => {
    if (done.has(app)) return;
    if (trail.includes(app.name)) throw new Error(`apps require each other: ${[...trail, app.name].join(" -> ")}`);
    for (const name of [...(app.requires ?? [])].sort()) {
      const needed = byName.get(name);
      if (needed === undefined) throw new Error(`app ${app.name} requires ${name}, which is not installed`);
      visit(needed, [...trail, app.name]);
    }
    done.add(app);
    out.push(app);
  };
  for (const app of [...apps].sort((a, b) => (a.name < b.name ? -1 : 1))) visit(app, []);
  return out;
}

function makeAttribute(resource: string, name: string, decl: Attribute, relations: Relations): KindAttribute {
  const check = decl.check ?? typeChecks[decl.type];
  const rule = (verb: string, text: string | undefined, key = ""): Rule | undefined =>
    text === undefined ? undefined : parseRule(text, relations, `${verb}_${resource}:${name}${key}`);
  const hasDefault = decl.post === true && decl.default !== undefined && decl.default !== AUTO;
  let stored = decl.default;
  if (hasDefault) {
    // A default may be outside of what callers may give; then it is stored as written.
    try {
      stored = check(decl.default, name);
    } catch {
      stored = decl.default;
    }
  }
  const keys = new Map<string, { create: Rule | undefined; update: Rule | undefined }>();
  for (const [key, k] of Object.entries(decl.policy?.keys ?? {})) keys.set(key, { create: rule("create", k.create, `:${key}`), update: rule("update", k.update, `:${key}`) });
  return {
    name,
    decl,
    check,
    post: decl.post === true,
    put: decl.put === true,
    visible: decl.visible !== false,
    hasDefault,
    default: stored,
    create: rule("create", decl.policy?.create),
    get: rule("get", decl.policy?.get),
    update: rule("update", decl.policy?.update),
    keys,
  };
}

export function makeRegistry(apps: readonly App[]): Registry {
  const sorted = ordered(apps);
  const owners = new Map<string, { app: App; resource: Resource }>();
  for (const app of sorted) {
    for (const resource of (app.resources ?? []) as unknown as readonly Resource[]) {
      const other = owners.get(resource.name);
      if (other !== undefined) throw new Error(`apps ${other.app.name} and ${app.name} both declare the resource ${resource.name}`);
      owners.set(resource.name, { app, resource });
    }
  }
  const kinds = new Map<string, Kind>();
  const parents = new Map<string, string>();
  for (const { app, resource } of owners.values()) {
    const declared = new Map<string, { by: string; decl: Attribute }>();
    for (const [name, decl] of Object.entries(standardAttributes(resource))) {
      const own = resource.attributes[name];
      declared.set(name, { by: app.name, decl: own === undefined ? decl : { ...decl, ...own } });
    }
    for (const [name, decl] of Object.entries(resource.attributes)) if (!declared.has(name)) declared.set(name, { by: app.name, decl });
    const extensions: Extension[] = [];
    for (const extender of sorted) {
      const extension = extender.extend?.[resource.name] as unknown as Extension | undefined;
      if (extension === undefined) continue;
      extensions.push(extension);
      for (const [name, decl] of Object.entries(extension.attributes ?? {})) {
        const other = declared.get(name);
        if (other !== undefined) throw new Error(`apps ${other.by} and ${extender.name} both declare ${resource.name}.${name}`);
        declared.set(name, { by: extender.name, decl });
      }
    }
    const relations = resource.relations ?? {};
    const attributes = new Map<string, KindAttribute>();
    for (const [name, { decl }] of declared) {
      if (decl.index !== undefined && !Object.hasOwn(resource.table.indexes, decl.index)) throw new Error(`${resource.name}.${name} names the index ${decl.index}, which table ${resource.table.name} has not`);
      attributes.set(name, makeAttribute(resource.name, name, decl, relations));
    }
    const rule = (verb: string, text: string): Rule => parseRule(text, relations, `${verb}_${resource.name}`);
    const all = [...attributes.values()];
    const update = rule("update", resource.policy.update ?? resource.policy.delete);
    const presenters: NonNullable<Extension["present"]>[] = [];
    for (const p of [resource, ...extensions]) if (p.present !== undefined) presenters.push((view, row, caller) => p.present!(view, row, caller));
    kinds.set(resource.name, {
      resource,
      table: resource.table as Table<StandardRow>,
      name: resource.name,
      attributes,
      shown: all.filter((a) => a.visible),
      required: all.filter((a) => a.decl.required === true).map((a) => a.name),
      defaults: all.filter((a) => a.hasDefault).map((a) => [a.name, a.default] as const),
      create: rule("create", resource.policy.create),
      get: rule("get", resource.policy.get),
      update,
      delete: rule("delete", resource.policy.delete),
      tags: resource.tags !== false,
      tagsUpdate: attributes.get("tags")?.update ?? update,
      actions: new Map(Object.entries(resource.actions ?? {}).map(([name, decl]) => [name, { name, decl, rule: parseRule(decl.policy, relations, name) }])),
      extensions,
      presenters,
      presented: new Map(),
      path: (resource.path ?? resource.collection).replaceAll("-", "_").split("/"),
      parent: undefined,
      children: new Map(),
    });
    if (resource.parent !== undefined) parents.set(resource.name, resource.parent.resource);
  }
  const paths = new Map<string, Kind>();
  for (const kind of kinds.values()) {
    const path = kind.path.join("/");
    const parentName = parents.get(kind.name);
    let into: Map<string, Kind> = paths;
    if (parentName !== undefined) {
      const parent = kinds.get(parentName);
      if (parent === undefined) throw new Error(`${kind.name} is a part of ${parentName}, which is not there`);
      if (!kind.attributes.has(kind.resource.parent!.attribute)) throw new Error(`${kind.name} does not declare ${kind.resource.parent!.attribute}, which holds its ${parentName}`);
      (kind as { parent: Kind | undefined }).parent = parent;
      into = parent.children;
    }
    const other = into.get(path);
    if (other !== undefined) throw new Error(`${other.name} and ${kind.name} have the same path ${path}`);
    into.set(path, kind);
  }
  const aliases = new Map(ownAliases.map((a) => [a.alias, a]));
  for (const app of sorted) for (const alias of app.aliases ?? []) aliases.set(alias.alias, alias);
  return { kinds, paths, aliases: [...aliases.values()].sort((a, b) => (a.alias < b.alias ? -1 : 1)) };
}
