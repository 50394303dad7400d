// What a request does: each operation of the API as one transaction or one read. Knows no HTTP; gives status and body.
import { ApiError, invalidInput, notFound, show, type ApiContext, type Caller, type ReadView, type Row, type StandardRow, type Tx, type Values } from "../app/contract.ts";
import type { Cause, Model } from "../model/model.ts";
import { bodyObject, checkRevision, createInput, createItems, ifMatch, notAuthorized, refusedRules, updateInput, updateItem } from "./input.ts";
import { tagList, type Kind, type KindAction, type Registry } from "./kinds.ts";
import { fieldsOf, listItems, pageLinks, parseList } from "./query.ts";
import { Item } from "./present.ts";
import type { Rule } from "./policy/expression.ts";

/** One request, as far as the operations need it. */
export interface Call {
  readonly method: string;
  /** Path without the query, as asked for. */
  readonly path: string;
  /** Scheme, host and prefix that links start with. */
  readonly base: string;
  readonly params: URLSearchParams;
  readonly caller: Caller;
  readonly ifMatch: string | undefined;
  /** Of the request's body. */
  readonly bytes: number;
}

export interface Answer {
  readonly status: number;
  /** JSON text; undefined: no body. */
  readonly body: string | undefined;
  /** Of a write: the generation it is part of. */
  readonly generation?: number;
}

export interface EngineLimits {
  readonly bulkItems: number;
  /** Longest page, 0: no limit. */
  readonly pageMax: number;
}

/** Where a member is: its kind, its id and, for parts, the parent's id. */
export interface Place {
  readonly kind: Kind;
  readonly parentId: string | undefined;
}

const values = (row: StandardRow): Values => row as unknown as Values;
const absent = (kind: Kind, id: string): ApiError => notFound(kind.resource.notFound.type, kind.resource.notFound.message(show(id)));

class Context implements ApiContext {
  readonly caller: Caller;
  readonly given: ReadonlySet<string>;
  readonly internal: boolean;
  private readonly engine: Engine;
  private readonly tx: Tx;

  constructor(engine: Engine, tx: Tx, caller: Caller, given: ReadonlySet<string>, internal: boolean) {
    this.engine = engine;
    this.tx = tx;
    this.caller = caller;
    this.given = given;
    this.internal = internal;
  }

  visible<R extends Row>(resource: string, id: string): R {
    const kind = this.engine.kind(resource);
    const row = this.tx.get<StandardRow>(kind.table, id);
    // Code that acts for itself has already decided what it may touch.
    if (row === undefined || (!this.internal && !kind.get.allows(this.caller, { row: values(row) }, this.tx))) throw absent(kind, id);
    return row as unknown as R;
  }

  create<R extends Row>(resource: string, given: Values): R {
    const kind = this.engine.kind(resource);
    const input: Record<string, unknown> = Object.fromEntries(kind.defaults);
    for (const key of Object.keys(given)) if (given[key] !== undefined) input[key] = given[key];
    input.project_id ??= input.tenant_id ?? this.caller.projectId;
    delete input.tenant_id;
    return this.engine.createRow(kind, this.tx, input, this.inner(given)) as unknown as R;
  }

  update<R extends Row>(resource: string, id: string, changes: Values): R {
    const kind = this.engine.kind(resource);
    return this.engine.updateRow(kind, this.tx, this.existing(kind, id), changes, this.inner(changes)) as unknown as R;
  }

  remove(resource: string, id: string): void {
    const kind = this.engine.kind(resource);
    this.engine.removeRow(kind, this.tx, this.existing(kind, id), this.inner({}));
  }

  bump(resource: string, id: string): void {
    const kind = this.engine.kind(resource);
    const row = this.tx.get<StandardRow>(kind.table, id);
    if (row !== undefined) this.tx.put(kind.table, { ...row, revision_number: row.revision_number + 1, updated_at: this.tx.now });
  }

  private existing(kind: Kind, id: string): StandardRow {
    const row = this.tx.get<StandardRow>(kind.table, id);
    if (row === undefined) throw absent(kind, id);
    return row;
  }

  private inner(given: Values): Context {
    return new Context(this.engine, this.tx, this.caller, new Set(Object.keys(given)), true);
  }
}

export class Engine {
  readonly registry: Registry;
  private readonly model: Model;
  private readonly limits: EngineLimits;

  constructor(registry: Registry, model: Model, limits: EngineLimits) {
    this.registry = registry;
    this.model = model;
    this.limits = limits;
  }

  kind(name: string): Kind {
    const kind = this.registry.kinds.get(name);
    if (kind === undefined) throw new Error(`no app declares the resource ${name}`);
    return kind;
  }

  // ---- rows ----

  createRow(kind: Kind, tx: Tx, input: Values, ctx: ApiContext): StandardRow {
    const standard: StandardRow = {
      id: tx.uuid(),
      project_id: input.project_id as string,
      name: (input.name as string | undefined) ?? "",
      description: (input.description as string | undefined) ?? "",
      created_at: tx.now,
      updated_at: tx.now,
      revision_number: 1,
      tags: (input.tags as readonly string[] | undefined) ?? [],
    };
    const { resource } = kind;
    let row = resource.create(tx, standard, input, ctx);
    for (const extension of kind.extensions) {
      if (extension.create === undefined) continue;
      extension.create(tx, row, input, ctx);
      row = tx.get<StandardRow>(kind.table, row.id) ?? row;
    }
    return this.put(kind, tx, row.id);
  }

  updateRow(kind: Kind, tx: Tx, before: StandardRow, changes: Values, ctx: ApiContext): StandardRow {
    const { resource } = kind;
    let row: StandardRow = { ...before, revision_number: before.revision_number + 1, updated_at: tx.now };
    if (changes.name !== undefined) row = { ...row, name: changes.name as string };
    if (changes.description !== undefined) row = { ...row, description: changes.description as string };
    if (resource.update === undefined) tx.put(kind.table, row);
    else row = resource.update(tx, row, changes, ctx);
    for (const extension of kind.extensions) {
      if (extension.update === undefined) continue;
      extension.update(tx, row, changes, ctx, before);
      row = tx.get<StandardRow>(kind.table, row.id) ?? row;
    }
    return this.put(kind, tx, row.id);
  }

  removeRow(kind: Kind, tx: Tx, row: StandardRow, ctx: ApiContext): void {
    const { table } = kind;
    for (const extension of kind.extensions) extension.remove?.(tx, tx.get<StandardRow>(table, row.id) ?? row, ctx);
    kind.resource.remove(tx, tx.get<StandardRow>(table, row.id) ?? row, ctx);
    if (tx.get(table, row.id) !== undefined) throw new Error(`remove of ${kind.name} left its row`);
  }

  private put(kind: Kind, tx: Tx, id: string): StandardRow {
    const row = tx.get<StandardRow>(kind.table, id);
    if (row === undefined) throw new Error(`create or update of ${kind.name} did not put its row`);
    return row;
  }

  // ---- reads ----

  async list(place: Place, call: Call): Promise<Answer> {
    const { kind } = place;
    const query = parseList(kind, call.params, this.limits.pageMax);
    const { prepare } = kind.resource;
    if (prepare?.needed(this.model.view, call.caller) === true) await this.transact(call, (tx) => prepare.run(tx, this.context(tx, call, new Set())));
    const view = this.model.view;
    const within = this.within(place, view, call);
    const items = listItems(kind, view, call.caller, query, within);
    const { collection } = kind.resource;
    const links = pageLinks(items, query, call.base + call.path, call.params);
    const tail = links === undefined ? "" : `,"${collection}_links":${JSON.stringify(links)}`;
    return { status: 200, body: `{"${collection}":[${items.map((i) => i.text(query.fields, true)).join(",")}]${tail}}` };
  }

  show(place: Place, id: string, call: Call): Answer {
    const view = this.model.view;
    const row = this.readable(place, id, view, call);
    return { status: 200, body: `{"${place.kind.name}":${new Item(place.kind, row, view, call.caller).text(fieldsOf(call.params))}}` };
  }

  // ---- writes ----

  create(place: Place, body: unknown, call: Call): Promise<Answer> {
    const { kind } = place;
    const { resource } = kind;
    const { bulk, items } = createItems(kind, body, this.limits.bulkItems);
    const skip = resource.parent?.attribute;
    const inputs = items.map((item) => createInput(kind, item, call.caller, skip));
    return this.answer(call, 201, (tx) => {
      const within = this.within(place, tx, call);
      if (within !== undefined) for (const input of inputs) input.values[within.attribute] = within.id;
      for (const input of inputs) {
        const refused = refusedRules(kind, "create", call.caller, input.values, input, tx);
        if (refused.length > 0) throw notAuthorized(refused);
      }
      if (resource.prepare?.needed(tx, call.caller) === true) resource.prepare.run(tx, this.context(tx, call, new Set()));
      if (bulk) resource.checkBulk?.(tx, inputs.map((i) => i.values), this.context(tx, call, new Set()));
      const ids = inputs.map((input) => this.createRow(kind, tx, input.values, this.context(tx, call, input.given)).id);
      const shown = ids.map((id) => new Item(kind, this.put(kind, tx, id), tx, call.caller).text());
      return bulk ? `{"${resource.collection}":[${shown.join(",")}]}` : `{"${kind.name}":${shown[0]!}}`;
    });
  }

  update(place: Place, id: string, body: unknown, call: Call): Promise<Answer> {
    const { kind } = place;
    const input = updateInput(kind, updateItem(kind, body));
    const revision = ifMatch(call.ifMatch);
    return this.answer(call, 200, (tx) => {
      const before = this.writable(place, id, tx, call, (row) => refusedRules(kind, "update", call.caller, values(row), input, tx));
      checkRevision(revision, before.revision_number);
      const row = input.given.size === 0 ? before : this.updateRow(kind, tx, before, input.values, this.context(tx, call, input.given));
      return `{"${kind.name}":${new Item(kind, row, tx, call.caller).text()}}`;
    });
  }

  remove(place: Place, id: string, call: Call): Promise<Answer> {
    const { kind } = place;
    const revision = ifMatch(call.ifMatch);
    return this.answer(call, 204, (tx) => {
      const row = this.writable(place, id, tx, call, (r) => this.refused(kind.delete, `delete_${kind.name}`, r, tx, call));
      checkRevision(revision, row.revision_number);
      this.removeRow(kind, tx, row, this.context(tx, call, new Set()));
      return undefined;
    });
  }

  act(place: Place, id: string, action: KindAction, body: unknown, call: Call): Promise<Answer> {
    const given = action.decl.method === "GET" ? {} : bodyObject(body ?? {});
    return this.answer(call, 200, (tx) => {
      const row = this.writable(place, id, tx, call, (r) => this.refused(action.rule, action.name, r, tx, call));
      return JSON.stringify(action.decl.run(tx, row as never, given, this.context(tx, call, new Set(Object.keys(given)))) ?? {});
    });
  }

  // ---- tags ----

  tags(place: Place, id: string, call: Call): Answer {
    const view = this.model.view;
    const row = this.tagged(place, id, view, call);
    return { status: 200, body: JSON.stringify({ tags: row.tags }) };
  }

  hasTag(place: Place, id: string, tag: string, call: Call): Answer {
    if (!this.tagged(place, id, this.model.view, call).tags.includes(tag)) throw noTag(tag);
    return { status: 204, body: undefined };
  }

  /** Replaces (PUT) or adds to (POST) the tags. */
  setTags(place: Place, id: string, body: unknown, add: boolean, call: Call): Promise<Answer> {
    const given = checkTags(bodyObject(body).tags);
    return this.changeTags(place, id, add ? 201 : 200, call, (tags) => (add ? checkTags([...new Set([...tags, ...given])]) : given), (tags) => JSON.stringify({ tags }));
  }

  addTag(place: Place, id: string, tag: string, call: Call): Promise<Answer> {
    checkTags([tag]);
    return this.changeTags(place, id, 201, call, (tags) => (tags.includes(tag) ? tags : checkTags([...tags, tag])));
  }

  /** One tag, or all. */
  removeTags(place: Place, id: string, tag: string | undefined, call: Call): Promise<Answer> {
    return this.changeTags(place, id, 204, call, (tags) => {
      if (tag === undefined) return [];
      if (!tags.includes(tag)) throw noTag(tag);
      return tags.filter((t) => t !== tag);
    });
  }

  private changeTags(place: Place, id: string, status: number, call: Call, change: (tags: readonly string[]) => readonly string[], body?: (tags: readonly string[]) => string): Promise<Answer> {
    const { kind } = place;
    return this.answer(call, status, (tx) => {
      const row = this.tagged(place, id, tx, call);
      if (!kind.tagsUpdate.allows(call.caller, { row: values(row) }, tx)) throw notAuthorized([`rule:${call.method === "DELETE" ? "delete" : "update"}_${kind.name}:tags`]);
      const tags = change(row.tags);
      if (tags.length !== row.tags.length || tags.some((t, i) => t !== row.tags[i])) {
        tx.put(kind.table, { ...row, tags, revision_number: row.revision_number + 1, updated_at: tx.now });
      }
      return body?.(tags);
    });
  }

  private tagged(place: Place, id: string, view: ReadView, call: Call): StandardRow {
    const { kind } = place;
    const row = this.member(place, id, view, call);
    const get = kind.attributes.get("tags")?.get;
    if (row === undefined || !kind.get.allows(call.caller, { row: values(row) }, view) || get?.allows(call.caller, { row: values(row) }, view) === false) {
      throw notFound("TagResourceNotFound", `Resource ${kind.resource.collection} ${show(id)} could not be found.`);
    }
    return row;
  }

  // ---- shared ----

  private context(tx: Tx, call: Call, given: ReadonlySet<string>): Context {
    return new Context(this, tx, call.caller, given, false);
  }

  private transact<T>(call: Call, fn: (tx: Tx) => T): Promise<{ result: T; generation: number }> {
    const { caller } = call;
    const cause: Cause = {
      requestId: caller.requestId,
      call: `${call.method} ${call.path}`,
      ...(caller.userId === "" ? {} : { user: caller.userId }),
      ...(caller.projectId === "" ? {} : { project: caller.projectId }),
    };
    return this.model.transact(cause, fn, call.bytes);
  }

  /** The transaction's answer is made inside of it: what it says is what it saw. */
  private async answer(call: Call, status: number, fn: (tx: Tx) => string | undefined): Promise<Answer> {
    const { result, generation } = await this.transact(call, fn);
    return { status, body: result, generation };
  }

  /** The parent a path names, which must be there and visible. */
  private within(place: Place, view: ReadView, call: Call): { readonly attribute: string; readonly id: string } | undefined {
    const { kind, parentId } = place;
    if (kind.parent === undefined || parentId === undefined) return undefined;
    const row = view.get<StandardRow>(kind.parent.table, parentId);
    if (row === undefined || !kind.parent.get.allows(call.caller, { row: values(row) }, view)) throw absent(kind.parent, parentId);
    return { attribute: kind.resource.parent!.attribute, id: parentId };
  }

  private member(place: Place, id: string, view: ReadView, call: Call): StandardRow | undefined {
    const within = this.within(place, view, call);
    const row = view.get<StandardRow>(place.kind.table, id);
    return row !== undefined && within !== undefined && values(row)[within.attribute] !== within.id ? undefined : row;
  }

  private readable(place: Place, id: string, view: ReadView, call: Call): StandardRow {
    const row = this.member(place, id, view, call);
    if (row === undefined || !place.kind.get.allows(call.caller, { row: values(row) }, view)) throw absent(place.kind, id);
    return row;
  }

  private refused(rule: Rule, name: string, row: StandardRow, view: ReadView, call: Call): readonly string[] {
    return rule.allows(call.caller, { row: values(row) }, view) ? [] : [`rule:${name}`];
  }

  /** The row to change. What is not allowed is a 404 for those who may not even see it. */
  private writable(place: Place, id: string, view: ReadView, call: Call, refusals: (row: StandardRow) => readonly string[]): StandardRow {
    const row = this.member(place, id, view, call);
    if (row === undefined) throw absent(place.kind, id);
    const refused = refusals(row);
    if (refused.length === 0) return row;
    if (!place.kind.get.allows(call.caller, { row: values(row) }, view)) throw absent(place.kind, id);
    throw notAuthorized(refused);
  }
}

const noTag = (tag: string): ApiError => notFound("TagNotFound", `Tag ${show(tag)} could not be found.`);

function checkTags(tags: unknown): readonly string[] {
  if (tags === undefined) throw invalidInput("'tags' is missing");
  try {
    return tagList(tags, "tags") as readonly string[];
  } catch (error) {
    // The tags API has one type for whatever is wrong with a tag.
    if (error instanceof ApiError) throw new ApiError(400, "InvalidInput", error.message);
    throw error;
  }
}
