// The registry: the declarations of all apps put together at boot, and what does not fit said in one line.
import {
  accessesOf, defineTable, makeCheck, STANDARD, withKeys,
  type Accesses, type Action, type AnyExtension, type AnyResource, type App, type Attribute, type BoundExtension, type CollectionAction, type Completed, type Converter, type FurtherKeys, type KeyCheck, type Reach, type Relation, type StandardRow, type Table, type Values,
} from "../app/contract.ts";
import { presentEmbedded } from "./embedded.ts";
import { findRow, hasStandard, makeAttribute, type Kind, type KindAction, type KindAttribute, type Instead, type KindEmbedded, type Presenter, type Registry } from "./kinds.ts";
import { both } from "./policy/book.ts";
import { PolicyBook, type Rule, type Subject } from "./policy/index.ts";
import { isAskedFor, shownValue } from "./present.ts";
import { standardAliases, standardAttributes } from "./standard.ts";
import { tags } from "./tags.ts";

/** Extensions of this layer itself: a resource may refine what they declare. */
const internal: readonly App[] = [tags];

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

interface Extender {
  readonly app: App;
  readonly extension: AnyExtension;
}

const segmentsOf = (path: string): string[] => path.split("/").map((s) => (s.startsWith("{") ? s : s.replaceAll("-", "_")));
/** What two paths must not share. */
const shapeOf = (method: string, segments: readonly string[]): string => `${method} ${segments.map((s) => (s.startsWith("{") ? "{}" : s)).join("/")}`;

/** What a declaration says of itself must hold together. */
function checkResource(r: AnyResource): void {
  const fail = (why: string): never => {
    throw new Error(`resource ${r.name} ${why}`);
  };
  if ((r.table === undefined) === (r.computed === undefined)) fail("needs a table or computed rows, and not both");
  if (r.computed !== undefined && r.keyed !== undefined) fail("has computed rows, and is keyed as well");
  if (r.keyed !== undefined && r.create !== undefined) fail("is keyed, so nothing is created: its rows come from update");
  if (r.singleton === true && r.keyed === undefined) fail("is a singleton, which needs keyed.initial");
  if (r.create !== undefined && r.policy.create === undefined) fail("can be created, but has no create rule");
  if (r.remove !== undefined && r.policy.delete === undefined) fail("can be deleted, but has no delete rule");
  if (r.quota !== undefined && r.table?.indexes.project === undefined) fail("has a quota, but no table with the index project");
  const changeable = Object.entries(r.attributes).filter(([, decl]) => decl.put === true).map(([name]) => name);
  if (changeable.length > 0 && (r.update === undefined || r.update.length < 3)) fail(`says that ${changeable.join(", ")} can be changed, but its update takes no changes`);
  if (r.update !== undefined && (r.policy.update ?? r.policy.delete) === undefined) fail("can be updated, but has no update rule");
}

/** Relations and reach of the resource and its extensions as one: any may hold; reach only where every part of a relation has one. */
function mergeRelations(resource: AnyResource, extenders: readonly Extender[]): { relations: Record<string, Relation>; reach: Record<string, Reach> } {
  const parts = new Map<string, { readonly relation: Relation; readonly reach: Reach | undefined }[]>();
  for (const part of [resource, ...extenders.map((e) => e.extension)]) {
    for (const [name, relation] of Object.entries((part.relations ?? {}) as Record<string, Relation>)) {
      parts.set(name, [...(parts.get(name) ?? []), { relation, reach: part.reach?.[name] }]);
    }
  }
  const relations: Record<string, Relation> = {};
  const reach: Record<string, Reach> = {};
  for (const [name, list] of parts) {
    relations[name] = list.length === 1 ? list[0]!.relation : (row, view, caller) =>
      list.some(({ relation }) => {
        const answer = relation(row, view, caller);
        return typeof answer === "string" ? caller.projectId !== "" && answer === caller.projectId : answer === true;
      });
    const reaches = list.flatMap((p) => p.reach ?? []);
    if (reaches.length !== list.length) continue;
    reach[name] = function* (view, caller) {
      for (const r of reaches) yield* r(view, caller);
    };
  }
  return { relations, reach };
}

/** Attributes of the resource, of embedded children and of extensions, each with who declares it. */
function mergeAttributes(resource: AnyResource, app: App, extenders: readonly Extender[]): Map<string, Attribute> {
  const declared = new Map<string, { readonly by: string; readonly decl: Attribute }>();
  const refinable = new Set<string>();
  const add = (by: string, name: string, decl: Attribute): void => {
    const other = declared.get(name);
    if (other !== undefined) throw new Error(`apps ${other.by} and ${by} both declare ${resource.name}.${name}`);
    declared.set(name, { by, decl });
  };
  const ours = (attributes: Readonly<Record<string, Attribute>> | undefined): void => {
    for (const [name, decl] of Object.entries(attributes ?? {})) {
      const own = resource.attributes[name];
      add(app.name, name, own === undefined ? decl : { ...decl, ...own });
      refinable.add(name);
    }
  };
  ours(standardAttributes(resource));
  for (const e of extenders) if (internal.includes(e.app)) ours(e.extension.attributes);
  for (const [name, decl] of Object.entries(resource.attributes)) if (!refinable.has(name)) add(app.name, name, decl);
  for (const [name, e] of Object.entries(resource.embedded ?? {})) {
    add(app.name, name, { type: "object[]", about: e.about, post: e.post === true, ...(e.alias === undefined ? {} : { alias: e.alias }) });
  }
  for (const e of extenders) if (!internal.includes(e.app)) for (const [name, decl] of Object.entries(e.extension.attributes ?? {})) add(e.app.name, name, decl);
  return new Map([...declared].map(([name, { decl }]) => [name, decl]));
}

/** What access rules may ask of a kind and of those that its rows name. */
function subjectOf(resource: AnyResource, relations: Readonly<Record<string, Relation>>, attributes: ReadonlyMap<string, unknown>, kinds: ReadonlyMap<string, Kind>): Subject {
  return {
    name: resource.name,
    collection: resource.collection,
    relations,
    has: (attribute) => attributes.has(attribute),
    value: (row, attribute, view, caller) => shownValue(kinds.get(resource.name)!, row as unknown as StandardRow, attribute, view, caller),
    parent: resource.parent === undefined ? undefined : { resource: resource.parent.resource.name, attribute: resource.parent.attribute },
    other(name) {
      const kind = kinds.get(name) ?? [...kinds.values()].find((k) => k.resource.collection === name);
      return kind === undefined ? undefined : {
        name: kind.name,
        has: (attribute) => kind.attributes.has(attribute),
        value: (row, attribute, view, caller) => shownValue(kind, row as unknown as StandardRow, attribute, view, caller),
        row: (id, view, caller) => findRow(kind, view, id, caller) as unknown as Values | undefined,
      };
    },
  };
}

function makeKind(resource: AnyResource, app: App, extenders: readonly Extender[], converters: ReadonlyMap<string, Converter>, further: FurtherKeys, policyBook: PolicyBook, kinds: ReadonlyMap<string, Kind>, accesses: Accesses): Kind {
  checkResource(resource);
  const { name } = resource;
  const ruled = resource.parent === undefined ? name : `${resource.parent.resource.name}_${name}`;
  const { relations, reach } = mergeRelations(resource, extenders);
  const table = (resource.table ?? defineTable<StandardRow>()(`computed ${name}`)) as Table<StandardRow>;
  const declared = new Map([...mergeAttributes(resource, app, extenders)].map(([attribute, decl]) => [attribute, decl.check === undefined ? decl : { ...decl, check: withKeys(decl.check, further) }]));
  const book = policyBook.of(subjectOf(resource, relations, declared, kinds));
  const attributes = new Map<string, KindAttribute>();
  for (const [attribute, decl] of declared) {
    if (decl.within !== undefined && declared.get(decl.within)?.type !== "object[]") throw new Error(`${name}.${attribute} is said to be within ${decl.within}, which is no attribute of objects`);
    if (decl.index !== undefined && !Object.hasOwn(table.indexes, decl.index)) throw new Error(`${name}.${attribute} names the index ${decl.index}, which table ${table.name} has not`);
    attributes.set(attribute, makeAttribute({ name, ruled }, attribute, decl, book, converters));
  }
  const { policy } = resource;
  const seenBy = extenders.flatMap((e) => e.extension.seenBy ?? []).map((relation) => ` or relation:${relation}`).join("");
  const rule = (verb: string, text: string, about: string): Rule => book.rule(`${verb}_${ruled}`, text, about);
  const get = rule("get", seenBy === "" ? policy.get : `(${policy.get})${seenBy}`, `See a ${name}.`);
  const remove = policy.delete === undefined ? undefined : rule("delete", policy.delete, `Delete a ${name}.`);
  const rules = {
    get,
    create: policy.create === undefined ? get : rule("create", policy.create, `Create a ${name}.`),
    update: policy.update !== undefined ? rule("update", policy.update, `Change a ${name}.`) : remove === undefined ? get : resource.update === undefined ? remove : rule("update", `rule:delete_${ruled}`, `Change a ${name}.`),
    delete: remove ?? get,
  };

  const made = new Map<string, string>();
  function makeActions<D extends Action | CollectionAction>(on: string, maps: readonly (Readonly<Record<string, D>> | undefined)[]): KindAction<D>[] {
    return maps.flatMap((map) => Object.entries(map ?? {})).map(([action, said]) => {
      const decl: D = "check" in said && said.check !== undefined ? { ...said, check: withKeys(said.check, further) } : said;
      const method = decl.method ?? "PUT";
      const segments = segmentsOf(decl.path ?? action);
      const shape = `${on} ${shapeOf(method, segments)}`;
      const other = made.get(shape);
      if (other !== undefined) throw new Error(`${name}: the actions ${other} and ${action} have the same method and path`);
      made.set(shape, action);
      const ruleName = decl.rule ?? action;
      let allowed: Rule;
      if (typeof decl.policy === "string") allowed = book.rule(ruleName, decl.policy, decl.about);
      else {
        const { of, attribute } = decl.policy;
        if (of === "get") allowed = attribute === undefined ? get : both(get, () => attributes.get(attribute)?.get);
        else {
          // A rule by its own name, which by default is that of the attribute or of the resource.
          const its = attribute === undefined ? undefined : attributes.get(attribute);
          const own = its?.update?.name ?? rules[of].name;
          allowed = ruleName === rules[of].name ? rules[of] : ([its?.create, its?.update].find((r) => r?.name === ruleName) ?? book.rule(ruleName, `rule:${own}`, decl.about));
        }
      }
      const { gives } = decl;
      const given = gives === undefined ? undefined : `${ruleName}:${gives.attribute}`;
      return {
        name: action, decl, method, segments, rule: allowed, ruleName,
        gives: gives === undefined ? undefined : {
          attribute: gives.attribute, rule: book.rule(given!, gives.policy, `Give ${gives.attribute} to ${action} of a ${name}.`),
          keys: new Map(Object.entries(gives.keys ?? {}).map(([key, text]) => [key, book.rule(`${given!}:${key}`, text, `Give ${key} in ${gives.attribute} to ${action} of a ${name}.`)])),
        },
        hidden: typeof decl.policy === "object" && decl.policy.of === "get",
        status: decl.status ?? 200, check: "check" in decl && decl.check !== undefined ? makeCheck(decl.check, converters) : undefined, notFound: decl.notFound,
      };
    });
  }

  const embedded = new Map<string, KindEmbedded>();
  const presenting = [resource, ...extenders.map((e) => e.extension)].filter((part) => part.present !== undefined);
  const presenters: Presenter[] = presenting.map((part) => (view, row, caller): Record<string, unknown> => part.present!(view, row, caller));
  if (resource.embedded !== undefined) presenters.push((view, row, caller) => presentEmbedded(embedded, view, (row as StandardRow).id, caller));
  const instead = new Map<string, Instead>();
  for (const { app: by, extension } of extenders) {
    for (const [attribute, show] of Object.entries(extension.instead ?? {})) {
      if (!attributes.has(attribute)) throw new Error(`app ${by.name} shows ${name}.${attribute} in another way, which is not declared`);
      if (isAskedFor(attributes.get(attribute)!.decl)) throw new Error(`app ${by.name} shows ${name}.${attribute} in another way, which is not shown to all who ask`);
      if (instead.has(attribute)) throw new Error(`two apps show ${name}.${attribute} in another way, one of them is ${by.name}`);
      instead.set(attribute, show);
    }
  }
  const all = [...attributes.values()];
  const pathText = resource.path ?? (resource.singleton === true ? name : resource.collection);
  return {
    resource: { ...resource, relations, reach },
    table,
    name,
    ruled,
    standard: new Set(resource.standard ?? STANDARD),
    can: { create: resource.create !== undefined, update: resource.update !== undefined, delete: resource.remove !== undefined },
    onlyId: resource.singleton === true ? name : undefined,
    attributes,
    shown: all.filter((a) => a.visible),
    listed: all.some((a) => a.decl.inLists === true || a.decl.inMembers === true) ? new Set(all.filter((a) => a.visible && a.decl.onRequest !== true && a.decl.inMembers !== true).map((a) => a.name)) : undefined,
    required: all.filter((a) => a.decl.required === true).map((a) => a.name),
    defaults: all.filter((a) => a.hasDefault).map((a) => [a.name, a.default] as const),
    ...rules,
    get policyVersion() {
      return policyBook.version;
    },
    tags: hasStandard(resource, "tags"),
    actions: makeActions<Action>("member", [...extenders.map((e) => e.extension.actions), resource.actions]),
    collectionActions: makeActions<CollectionAction>("collection", [...extenders.map((e) => e.extension.collectionActions), resource.collectionActions]),
    extensions: extenders.map((e) => e.extension),
    accesses,
    instead,
    completed: [resource, ...extenders.map((e) => e.extension)].flatMap((part) => (part.completed as Completed<StandardRow> | undefined) ?? []),
    presenters,
    onRequest: [resource, ...extenders.map((e) => e.extension)].flatMap((part) => (part.presentOnRequest === undefined ? [] : [part.presentOnRequest.bind(part) as Presenter])),
    sameForAll: resource.embedded === undefined && presenting.every((part) => part.present!.length < 3),
    presented: new Map(),
    embedded,
    path: pathText.replaceAll("-", "_").split("/"),
    parent: undefined,
    children: new Map(),
  };
}

/** Children that a parent embeds, once all kinds are there. */
function embed(kind: Kind, kinds: ReadonlyMap<string, Kind>): void {
  for (const [name, decl] of Object.entries(kind.resource.embedded ?? {})) {
    const child = kinds.get(decl.resource.name);
    if (child === undefined) throw new Error(`${kind.name}.${name} embeds ${decl.resource.name}, which is not there`);
    if (!child.attributes.has(decl.attribute)) throw new Error(`${child.name} does not declare ${decl.attribute}, which holds its ${kind.name}`);
    if (!Object.hasOwn(child.table.indexes, decl.index)) throw new Error(`${kind.name}.${name} names the index ${decl.index}, which table ${child.table.name} has not`);
    if (decl.post === true && !child.can.create) throw new Error(`${kind.name}.${name} is to be created with its parent, but a ${child.name} cannot be created`);
    if (decl.cascade === true && !child.can.delete) throw new Error(`${kind.name}.${name} is to go with its parent, but a ${child.name} cannot be deleted`);
    kind.embedded.set(name, { decl, kind: child });
  }
}

/** Where each kind is: at the top or below its parent. */
function place(kinds: ReadonlyMap<string, Kind>): ReadonlyMap<string, Kind> {
  const paths = new Map<string, Kind>();
  for (const kind of kinds.values()) {
    const path = kind.path.join("/");
    const link = kind.resource.parent;
    let into: Map<string, Kind> = paths;
    if (link !== undefined) {
      const parent = kinds.get(link.resource.name);
      if (parent === undefined) throw new Error(`${kind.name} is a part of ${link.resource.name}, which is not there`);
      if (!kind.attributes.has(link.attribute)) throw new Error(`${kind.name} does not declare ${link.attribute}, which holds its ${parent.name}`);
      if (parent.actions.some((a) => a.segments[0] === kind.path[0])) throw new Error(`${parent.name} has an action at the path of its part ${kind.name}`);
      (kind as { parent: Kind | undefined }).parent = parent;
      into = parent.children;
    }
    const other = into.get(path);
    if (other !== undefined) throw new Error(`${other.name} and ${kind.name} have the same path ${path}`);
    into.set(path, kind);
  }
  return paths;
}

/** @throws Error naming the app or resource and what does not fit. */
export function makeRegistry(apps: readonly App[]): Registry {
  const sorted = [...internal, ...ordered(apps)];
  const owners = new Map<string, { readonly app: App; readonly resource: AnyResource }>();
  const converters = new Map<string, Converter>();
  const converterOwners = new Map<string, string>();
  for (const app of sorted) {
    for (const resource of app.resources ?? []) {
      const other = owners.get(resource.name);
      if (other !== undefined) throw new Error(`apps ${other.app.name} and ${app.name} both declare the resource ${resource.name}`);
      owners.set(resource.name, { app, resource });
    }
    for (const [name, converter] of Object.entries(app.converters ?? {})) {
      const other = converterOwners.get(name);
      if (other !== undefined) throw new Error(`apps ${other} and ${app.name} both register the converter ${name}`);
      converterOwners.set(name, app.name);
      converters.set(name, converter);
    }
  }
  const further = new Map<string, Readonly<Record<string, KeyCheck>>>();
  for (const app of sorted) {
    for (const [name, keys] of Object.entries(app.keys ?? {})) {
      const before = further.get(name) ?? {};
      for (const key of Object.keys(keys)) if (Object.hasOwn(before, key)) throw new Error(`two apps add the key ${key} to ${name}, one of them is ${app.name}`);
      further.set(name, { ...before, ...keys });
    }
  }
  const all = [...owners.values()].map(({ resource }) => resource);
  const accesses = accessesOf(sorted);
  const policy = new PolicyBook();
  for (const app of sorted) for (const [name, text] of Object.entries(app.policies ?? {})) policy.base(name, text);
  const kinds = new Map<string, Kind>();
  for (const { app, resource } of owners.values()) {
    const extenders = sorted.flatMap((extender): Extender[] => {
      const bound: readonly BoundExtension[] = (extender.extend ?? []).filter((e) => e.resource === resource.name);
      const general = extender.extendAll?.(resource, all, accesses);
      return [...bound, ...(general === undefined ? [] : [general])].map((extension) => ({ app: extender, extension }));
    });
    kinds.set(resource.name, makeKind(resource, app, extenders, converters, further, policy, kinds, accesses(resource.name)));
  }
  for (const kind of kinds.values()) embed(kind, kinds);
  const paths = place(kinds);
  policy.seal();
  const aliases = new Map(standardAliases.map((a) => [a.alias, a]));
  for (const app of sorted) for (const alias of app.aliases ?? []) if (alias.needs === undefined || owners.has(alias.needs.name)) aliases.set(alias.alias, alias);
  const objectTypes = new Map<string, Kind>();
  for (const kind of kinds.values()) {
    const type = kind.resource.shareable?.objectType ?? kind.name;
    const other = objectTypes.get(type);
    if (other !== undefined) throw new Error(`policies cannot tell ${other.name} from ${kind.name}: both are of the type ${type}`);
    objectTypes.set(type, kind);
  }
  return { kinds, paths, objectTypes, aliases: [...aliases.values()].sort((a, b) => (a.alias < b.alias ? -1 : 1)), converters, answers: sorted.flatMap((app) => app.answers ?? []), policy };
}
