// What a request does: each operation of the API as one transaction or one read. Knows no HTTP; gives status and body.
import type { Readable } from "node:stream";
import { badRequest, notFound, show, type Action, type Caller, type CollectionAction, type LiveView, type PathValues, type Prepare, type ReadView, type StandardRow, type Tx, type Values } from "../app/contract.ts";
import { jsonText } from "./wire/json-text.ts";
import type { Cause, Model } from "../model/model.ts";
import { bodyObject, checkRevision, createInput, createItems, ifMatch, notAuthorized, refusedGiven, refusedRules, updateInput, updateItem } from "./input.ts";
import { findRow, type Kind, type KindAction, type Registry } from "./kinds.ts";
import { Lists, type ListLimits, type LongList, type ShortList } from "./lists/lists.ts";
import type { Entry } from "./lists/select.ts";
import { ListStream } from "./lists/stream.ts";
import { longTexts, shortTexts } from "./lists/texts.ts";
import { fieldsOf, pageLinks, parseList, type ListQuery } from "./query.ts";
import { Item } from "./present.ts";
import type { Rule } from "./policy/index.ts";
import { absent, Rows, Seeing, values, Work } from "./rows.ts";
import type { ShownView } from "./shown.ts";

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
  /** JSON text, of long lists as it is made; undefined: no body. */
  readonly body: string | Readable | undefined;
  /** Of a write: the generation it is part of. */
  readonly generation?: number;
}

/** What reads and changes go through. */
export type EngineModel = Pick<Model, "snapshot"> & { transact<T>(cause: Cause, fn: (tx: Tx) => T, bytes?: number): Promise<{ result: T; generation: number }> };

/** Told of rows that are to be shown to a caller who named these fields; what it returns is waited for. */
export type BeforeShown = (resource: string, fields: ReadonlySet<string>, rows: () => readonly StandardRow[], caller: Caller) => Promise<void> | undefined;

export interface EngineLimits {
  readonly bulkItems: number;
  /** Longest page, 0: no limit. */
  readonly pageMax: number;
  readonly lists: ListLimits;
}

/** Where a member is: its kind, its id and, for parts, the parent's id. */
export interface ResourceRef {
  readonly kind: Kind;
  readonly parentId: string | undefined;
}

/** A write as it runs in a transaction: the answer's body as JSON text. */
export type Write = (tx: Tx) => string | undefined;

export class Engine {
  readonly registry: Registry;
  readonly rows: Rows;
  readonly lists: Lists;
  private readonly model: EngineModel;
  /** What is presented is read here. */
  private readonly view: ShownView;
  private readonly limits: EngineLimits;

  private readonly beforeShown: BeforeShown | undefined;

  constructor(registry: Registry, model: EngineModel, view: ShownView, limits: EngineLimits, beforeShown?: BeforeShown) {
    this.beforeShown = beforeShown;
    this.registry = registry;
    this.rows = new Rows(registry);
    this.model = model;
    this.view = view;
    this.limits = limits;
    this.lists = new Lists(model, view, limits.lists);
  }

  // ---- reads ----

  /** What is asked for, and its rows as a page or as a way to it. */
  private async select(ref: ResourceRef, call: Call): Promise<{ readonly query: ListQuery; readonly list: ShortList | LongList }> {
    const { kind } = ref;
    if (call.params.has("changed_since") && !kind.standard.has("timestamps")) throw badRequest("['changed_since'] is invalid attribute for filtering");
    const asked = parseList(kind, call.params, this.limits.pageMax);
    const query = asked.fields === undefined && kind.listed !== undefined ? { ...asked, fields: kind.listed } : asked;
    const { prepare } = kind.resource;
    if (prepare?.needed(this.view, call.caller, {}, query.fields) === true) await this.transact(call, (tx) => this.prepare(prepare, {}, tx, call));
    const list = await this.lists.open({ kind, caller: call.caller, query, within: (view) => this.within(ref, view, call) });
    // Of a longer one what is known is shown.
    if (!list.long) await this.look(kind, query.fields, () => list.page.map(({ row }) => row), call.caller);
    return { query, list };
  }

  /** The JSON text of each row, once it is clear that there is a list. A reader that pauses for too long gets no more. */
  async listTexts(ref: ResourceRef, call: Call): Promise<AsyncIterable<string>> {
    const { query, list } = await this.select(ref, call);
    return list.long ? longTexts(list, query, this.limits.lists.stallMs) : shortTexts(list, query);
  }

  async list(ref: ResourceRef, call: Call): Promise<Answer> {
    const { kind } = ref;
    const { collection } = kind.resource;
    const { query, list } = await this.select(ref, call);
    const head = `{"${collection}":[`;
    const tail = (page: readonly { readonly id: string }[]): string => {
      const links = pageLinks(page, query, call.base + call.path, call.params);
      return `]${links === undefined ? "" : `,"${collection}_links":${JSON.stringify(links)}`}}`;
    };
    const { selection } = list;
    if (!list.long) {
      return { status: 200, body: `${head}${list.page.map((e) => selection.item(e).text(query.fields, true)).join(",")}${tail(list.page)}` };
    }
    const parts = {
      head, tail, slices: list.slices, stallMs: this.limits.lists.stallMs,
      entries: (stopped: () => boolean) => list.page(stopped),
      text: (e: Entry) => selection.item(e).text(query.fields, list.keep),
      check: () => list.check(),
      close: () => list.close(),
    };
    return { status: 200, body: new ListStream(parts) };
  }

  show(ref: ResourceRef, id: string, call: Call): Answer {
    return { status: 200, body: this.shown(ref, id, this.view, call) };
  }

  /** Likewise, once those have looked who are to look first at what is asked for. */
  lookAndShow(ref: ResourceRef, id: string, call: Call): Answer | Promise<Answer> {
    const waiting = this.look(ref.kind, fieldsOf(call.params), () => [this.readable(ref, id, this.view, call)], call.caller);
    return waiting === undefined ? this.show(ref, id, call) : waiting.then(() => this.show(ref, id, call));
  }

  private look(kind: Kind, fields: ReadonlySet<string> | undefined, rows: () => readonly StandardRow[], caller: Caller): Promise<void> | undefined {
    return fields === undefined || kind.onRequest.length === 0 ? undefined : this.beforeShown?.(kind.name, fields, rows, caller);
  }

  private shown(ref: ResourceRef, id: string, view: LiveView, call: Call): string {
    const row = this.readable(ref, id, view, call);
    return `{"${ref.kind.name}":${new Item(ref.kind, row, view, call.caller).text(fieldsOf(call.params))}}`;
  }

  // ---- writes, each also for a transaction that has others ----

  showing(ref: ResourceRef, id: string, call: Call): Write {
    return (tx) => this.shown(ref, id, this.view.over(tx), call);
  }

  create(ref: ResourceRef, body: unknown, call: Call): Promise<Answer> {
    return this.answer(call, 201, this.creation(ref, body, call));
  }

  creation(ref: ResourceRef, body: unknown, call: Call): Write {
    const { kind } = ref;
    const { resource } = kind;
    const { bulk, items } = createItems(kind, body, this.limits.bulkItems);
    const skip = ref.parentId === undefined ? undefined : resource.parent?.attribute;
    const inputs = items.map((item) => createInput(kind, item, call.caller, skip));
    return (tx) => {
      const within = this.within(ref, tx, call);
      const work = this.work(tx, call);
      if (within !== undefined) for (const input of inputs) input.values[within.attribute] = within.id;
      for (const input of inputs) {
        const refused = refusedRules(kind, "create", call.caller, input.values, input, this.view.over(tx));
        // One rule: the action's own, and none of what is given.
        if (refused.length === 1) resource.refused?.(input.values, work.context(input.given));
        if (refused.length > 0) throw notAuthorized(refused);
      }
      if (resource.prepare?.needed(tx, call.caller, {}, undefined) === true) resource.prepare.run(tx, work.context(), {});
      const ids = inputs.map((input) => this.rows.create(kind, tx, input.values, work.context(input.given), input.children).id);
      work.complete();
      const shown = ids.map((id) => new Item(kind, this.rows.stored(kind, tx, id, call.caller), this.view.over(tx), call.caller).text());
      return bulk ? `{"${resource.collection}":[${shown.join(",")}]}` : `{"${kind.name}":${shown[0]!}}`;
    };
  }

  update(ref: ResourceRef, id: string, body: unknown, call: Call): Promise<Answer> {
    return this.answer(call, 200, this.change(ref, id, body, call));
  }

  change(ref: ResourceRef, id: string, body: unknown, call: Call): Write {
    const { kind } = ref;
    const input = updateInput(kind, updateItem(kind, body));
    const revision = ifMatch(call.ifMatch);
    return (tx) => {
      const before = this.writable(ref, id, this.view.over(tx), call, (row) => refusedRules(kind, "update", call.caller, values(row), input, this.view.over(tx)));
      checkRevision(revision, before.revision_number);
      const work = this.work(tx, call);
      const changed = input.given.size > 0 || kind.resource.emptyUpdate === true ? this.rows.update(kind, tx, before, input.values, work.context(input.given)) : before;
      work.complete();
      // What is named by something else now, has another id.
      const row = findRow(kind, tx, changed.id, call.caller) ?? changed;
      return `{"${kind.name}":${new Item(kind, row, this.view.over(tx), call.caller).text()}}`;
    };
  }

  remove(ref: ResourceRef, id: string, call: Call): Promise<Answer> {
    return this.answer(call, 204, this.removal(ref, id, call));
  }

  removal(ref: ResourceRef, id: string, call: Call): Write {
    const { kind } = ref;
    const revision = ifMatch(call.ifMatch);
    return (tx) => {
      const row = this.writable(ref, id, this.view.over(tx), call, (r) => this.refused(kind.delete, `delete_${kind.ruled}`, r, this.view.over(tx), call));
      checkRevision(revision, row.revision_number);
      if (kind.resource.keyed !== undefined && tx.get(kind.table, row.id) === undefined) throw absent(kind, id);
      const work = this.work(tx, call);
      this.rows.remove(kind, tx, row, work.context());
      work.complete();
      return undefined;
    };
  }

  // ---- actions ----

  act(ref: ResourceRef, id: string, action: KindAction<Action>, path: PathValues, body: () => unknown, call: Call): Answer | Promise<Answer> {
    if (action.decl.method === "GET") return { status: action.status, body: this.actionRead(ref, id, action, path, this.view, call) };
    return this.answer(call, action.status, this.acting(ref, id, action, path, body, call));
  }

  acting(ref: ResourceRef, id: string, action: KindAction<Action>, path: PathValues, body: () => unknown, call: Call): Write {
    const { decl } = action;
    if (decl.method === "GET") return (tx) => this.actionRead(ref, id, action, path, this.view.over(tx), call);
    const given = actionBody(action, body);
    return (tx) => {
      const work = this.work(tx, call);
      const result = decl.run(tx, this.actedOn(ref, id, this.view.over(tx), call, action, given), given, work.context(new Set(Object.keys(given))), path);
      work.complete();
      return decl.shows === true ? this.stated(ref.kind, id, tx, call) : actionText(action, result);
    };
  }

  /** A member as it is after a change. */
  private stated(kind: Kind, id: string, tx: Tx, call: Call): string {
    return `{"${kind.name}":${new Item(kind, this.rows.stored(kind, tx, id, call.caller), this.view.over(tx), call.caller).text()}}`;
  }

  private actionRead(ref: ResourceRef, id: string, action: KindAction<Action>, path: PathValues, view: LiveView, call: Call): string | undefined {
    const { decl } = action;
    if (decl.method !== "GET") return undefined;
    const row = this.actedOn(ref, id, view, call, action);
    return "read" in decl ? actionText(action, decl.read(view, row, call.caller, path)) : this.listed(decl.lists.name, decl.rows(view, row, call.caller, path), view, call);
  }

  /** Rows of a resource with what is said of each beside, as its list shows them. */
  private listed(resource: string, rows: Iterable<readonly [id: string, beside?: Values | undefined]>, view: LiveView, call: Call): string {
    const kind = this.rows.kind(resource);
    const texts: string[] = [];
    for (const [id, beside = {}] of rows) {
      const row = findRow(kind, view, id, call.caller);
      if (row === undefined || !kind.get.allows(call.caller, { row: values(row) }, view)) continue;
      const [own, more] = [new Item(kind, row, view, call.caller).text(fieldsOf(call.params)).slice(1, -1), jsonText(beside).slice(1, -1)];
      texts.push(`{${own}${own === "" || more === "" ? "" : ","}${more}}`);
    }
    return `{"${kind.resource.collection}":[${texts.join(",")}]}`;
  }

  actOnAll(ref: ResourceRef, action: KindAction<CollectionAction>, path: PathValues, body: () => unknown, call: Call): Answer | Promise<Answer> {
    const { decl } = action;
    if (decl.method !== "GET") return this.answer(call, action.status, this.actingOnAll(ref, action, path, body, call));
    const { prepare } = decl;
    const read = (): Answer => ({ status: action.status, body: this.allActionRead(ref, action, path, this.view, call) });
    if (prepare === undefined) return read();
    const values = this.actedOnAll(ref, action, path, this.view, call);
    if (!prepare.needed(this.view, call.caller, values, fieldsOf(call.params))) return read();
    return this.transact(call, (tx) => this.prepare(prepare, this.actedOnAll(ref, action, path, tx, call), tx, call)).then(read);
  }

  actingOnAll(ref: ResourceRef, action: KindAction<CollectionAction>, path: PathValues, body: () => unknown, call: Call): Write {
    const { decl } = action;
    if (decl.method === "GET") {
      return (tx) => {
        if (decl.prepare !== undefined) this.prepare(decl.prepare, this.actedOnAll(ref, action, path, tx, call), tx, call);
        return this.allActionRead(ref, action, path, this.view.over(tx), call);
      };
    }
    const given = actionBody(action, body);
    return (tx) => {
      const values = this.actedOnAll(ref, action, path, tx, call);
      const work = this.work(tx, call);
      const result = decl.run(tx, given, work.context(new Set(Object.keys(given))), values);
      work.complete();
      return actionText(action, result);
    };
  }

  private allActionRead(ref: ResourceRef, action: KindAction<CollectionAction>, path: PathValues, view: LiveView, call: Call): string | undefined {
    const { decl } = action;
    if (decl.method !== "GET") return undefined;
    const named = this.actedOnAll(ref, action, path, view, call);
    return actionText(action, decl.read(view, call.caller, named, fieldsOf(call.params), new Seeing(this.rows, view, call.caller)));
  }

  /** The path's values, with the parent's id of a collection below one. */
  private actedOnAll(ref: ResourceRef, action: KindAction<CollectionAction>, path: PathValues, view: ReadView, call: Call): PathValues {
    const within = this.within(ref, view, call);
    const parent = within === undefined ? {} : { [within.attribute]: within.id };
    if (!action.rule.allows(call.caller, { row: { project_id: call.caller.projectId, ...path, ...parent } }, view)) throw notAuthorized([`rule:${action.ruleName}`]);
    return { ...path, ...parent };
  }

  private actedOn(ref: ResourceRef, id: string, view: ReadView, call: Call, action: KindAction, body: Record<string, unknown> = {}): StandardRow {
    const { notFound: own, hidden } = action;
    const refusals = (row: StandardRow): readonly string[] => refusedGiven(action, ref.kind.name, call.caller, values(row), body, view);
    return this.writable(ref, id, view, call, refusals, { hidden, absent: () => (own === undefined ? absent(ref.kind, id) : notFound(own.type, own.message(show(id)))) });
  }

  // ---- shared ----

  private work(tx: Tx, call: Call): Work {
    return new Work(this.rows, tx, call.caller);
  }

  /** Makes what a read lacks, unless another request did so meanwhile. */
  private prepare(prepare: Prepare, path: PathValues, tx: Tx, call: Call): void {
    if (!prepare.needed(tx, call.caller, path, fieldsOf(call.params))) return;
    const work = this.work(tx, call);
    prepare.run(tx, work.context(), path);
    work.complete();
  }

  transact<T>(call: Call, fn: (tx: Tx) => T): Promise<{ result: T; generation: number }> {
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
  private within(ref: ResourceRef, view: ReadView, call: Call): { readonly attribute: string; readonly id: string } | undefined {
    const { kind, parentId } = ref;
    if (kind.parent === undefined || parentId === undefined) return undefined;
    const row = findRow(kind.parent, view, parentId, call.caller);
    if (row === undefined || !kind.parent.get.allows(call.caller, { row: values(row) }, view)) throw absent(kind.parent, parentId);
    return { attribute: kind.resource.parent!.attribute, id: parentId };
  }

  private member(ref: ResourceRef, id: string, view: ReadView, call: Call): StandardRow | undefined {
    const within = this.within(ref, view, call);
    const row = findRow(ref.kind, view, id, call.caller);
    return row !== undefined && within !== undefined && values(row)[within.attribute] !== within.id ? undefined : row;
  }

  private readable(ref: ResourceRef, id: string, view: ReadView, call: Call): StandardRow {
    const row = this.member(ref, id, view, call);
    if (row === undefined || !ref.kind.get.allows(call.caller, { row: values(row) }, view)) throw absent(ref.kind, id);
    return row;
  }

  private refused(rule: Rule, name: string, row: StandardRow, view: ReadView, call: Call): readonly string[] {
    return rule.allows(call.caller, { row: values(row) }, view) ? [] : [`rule:${name}`];
  }

  /** The row to change. What is not allowed is a 404 for those who may not even see it; `hidden`: for all. */
  private writable(
    ref: ResourceRef, id: string, view: ReadView, call: Call, refusals: (row: StandardRow) => readonly string[],
    refusal: { readonly hidden: boolean; readonly absent: () => Error } = { hidden: false, absent: () => absent(ref.kind, id) },
  ): StandardRow {
    const row = this.member(ref, id, view, call);
    if (row === undefined) throw refusal.absent();
    const refused = refusals(row);
    if (refused.length === 0) return row;
    if (refusal.hidden || !ref.kind.get.allows(call.caller, { row: values(row) }, view)) throw refusal.absent();
    throw notAuthorized(refused);
  }
}

function actionBody(action: KindAction, body: () => unknown): Record<string, unknown> {
  if (action.decl.bodyless === true) return {};
  const given = bodyObject(body() ?? {});
  return action.check === undefined ? given : (action.check(given, action.name) as Record<string, unknown>);
}

/** undefined, and anything of a 204, is no body. */
const actionText = (action: KindAction, result: unknown): string | undefined => (result === undefined || action.status === 204 ? undefined : jsonText(result));
