// Rows: how one is created, changed and removed with its standard attributes, its extensions and its embedded children, inside a
// transaction; and what the code of resources may ask for there (ApiContext).
import { notFound, show, type ApiError, type ApiContext, type Caller, type Done, type Accesses, type AnyTable, type InputOf, type Question, type ReadView, type ResourceHandle, type Row, type Sight, type StandardRow, type Tx, type Values } from "../app/contract.ts";
import { childRows } from "./embedded.ts";
import { at, notAuthorized, refusedRules, type Input } from "./input.ts";
import { findRow, type Kind, type Registry } from "./kinds.ts";

export const values = (row: StandardRow): Values => row as unknown as Values;
export const absent = (kind: Kind, id: string): ApiError => notFound(kind.resource.notFound.type, kind.resource.notFound.message(show(id)));

/** The row as it is in the transaction, if there is one that was put or is worked out. */
const put = (kind: Kind, tx: Tx, id: string, caller: Caller): StandardRow | undefined => (kind.resource.computed === undefined ? tx.get<StandardRow>(kind.table, id) : findRow(kind, tx, id, caller));

type Children = ReadonlyMap<string, readonly Input[]>;
const NO_CHILDREN: Children = new Map();
const READER: ReadonlySet<string> = new Set(["reader"]);

/** Somebody of a project of whom no more is known than that he may read. */
const readerOf = (projectId: string, { requestId }: Caller): Caller => ({ requestId, projectId, userId: "", roles: READER, admin: false });

const NOTHING: ReadonlySet<string> = new Set();

/** Rows that are told of may lead to others, which are told of next: so many times at most. */
const ROUNDS_MAX = 32;

/** What one operation of a caller does in a transaction, and the rows that it created and changed. */
export class Work {
  readonly rows: Rows;
  readonly tx: Tx;
  readonly caller: Caller;
  private done = new Map<Kind, Map<string, Omit<Done, "row">>>();

  constructor(rows: Rows, tx: Tx, caller: Caller) {
    this.rows = rows;
    this.tx = tx;
    this.caller = caller;
  }

  /** `internal`: for code of apps that does something on the way. */
  context(given: ReadonlySet<string> = NOTHING, internal = false): Context {
    return new Context(this, given, internal);
  }

  note(kind: Kind, id: string, { created, given, asked }: Omit<Done, "row">): void {
    if (kind.completed.length === 0) return;
    const done = this.done.get(kind) ?? new Map<string, Omit<Done, "row">>();
    this.done.set(kind, done);
    const before = done.get(id);
    // A create ends after what it did to its row on the way.
    done.set(id, before === undefined ? { created, given, asked } : { created: before.created || created, given: created ? { ...given, ...before.given } : { ...before.given, ...given }, asked: before.asked || asked });
  }

  /** All of it is there. What is done because of that is completed as well. @throws Error if that does not end */
  complete(): void {
    for (let round = 0; this.done.size > 0; round++) {
      if (round === ROUNDS_MAX) throw new Error(`completed of ${[...this.done.keys()].map((kind) => kind.name).join(", ")} leads to more of them without an end`);
      const { done } = this;
      this.done = new Map();
      for (const [kind, ofKind] of done) {
        for (const completed of kind.completed) {
          const rows = [...ofKind].flatMap(([id, what]) => {
            const row = put(kind, this.tx, id, this.caller);
            return row === undefined ? [] : [{ row, ...what }];
          });
          if (rows.length > 0) completed(this.tx, rows, this.context());
        }
      }
    }
  }
}

/** Who may see and use what, as of a view. */
export class Seeing implements Sight {
  readonly caller: Caller;
  readonly internal: boolean;
  protected readonly rows: Rows;
  private readonly view: ReadView;

  constructor(rows: Rows, view: ReadView, caller: Caller, internal = false) {
    this.rows = rows;
    this.view = view;
    this.caller = caller;
    this.internal = internal;
  }

  seen<R extends Row>(resource: ResourceHandle<R>, id: string, project?: string): R | undefined {
    const kind = this.rows.kind(resource.name);
    const row = findRow(kind, this.view, id, this.caller);
    // Code that acts for itself has already decided what it may touch.
    const asked = project !== undefined || !this.internal;
    return row === undefined || (asked && !kind.get.allows(this.as(project), { row: values(row) }, this.view)) ? undefined : (row as unknown as R);
  }

  covers<R extends Row>(resource: ResourceHandle<R>, relation: string, row: R, project?: string): boolean {
    const caller = this.as(project);
    const answer = this.rows.kind(resource.name).resource.relations?.[relation]?.(row, this.view, caller);
    return typeof answer === "string" ? caller.projectId !== "" && answer === caller.projectId : answer === true;
  }

  grantedTo(resource: ResourceHandle, action: string, id: string): readonly string[] {
    return this.rows.kind(resource.name).extensions.flatMap((extension) => extension.grantedTo?.(this.view, action, id) ?? []);
  }

  private as(project: string | undefined): Caller {
    return project === undefined ? this.caller : readerOf(project, this.caller);
  }
}

export class Context extends Seeing implements ApiContext {
  readonly given: ReadonlySet<string>;
  readonly work: Work;
  private readonly tx: Tx;

  constructor(work: Work, given: ReadonlySet<string>, internal: boolean) {
    super(work.rows, work.tx, work.caller, internal);
    this.work = work;
    this.tx = work.tx;
    this.given = given;
  }

  visible<R extends Row>(resource: ResourceHandle<R>, id: string): R {
    const row = this.seen(resource, id);
    if (row === undefined) throw absent(this.rows.kind(resource.name), id);
    return row;
  }

  create<R extends Row>(resource: ResourceHandle<R>, given: InputOf<R>): R {
    const kind = this.rows.kind(resource.name);
    const input: Record<string, unknown> = Object.fromEntries(kind.defaults);
    const children = new Map<string, readonly Input[]>();
    for (const [key, value] of Object.entries(given)) {
      if (value === undefined) continue;
      if (!kind.embedded.has(key)) input[key] = value;
      else children.set(key, (value as readonly Values[]).map((item, i) => ({ values: { ...item }, given: new Set(Object.keys(item)), raw: item, path: `${key}[${i}]`, children: NO_CHILDREN })));
    }
    input.project_id ??= input.tenant_id ?? this.caller.projectId;
    delete input.tenant_id;
    return this.rows.create(kind, this.tx, input, this.inner(given), children) as unknown as R;
  }

  update<R extends Row>(resource: ResourceHandle<R>, id: string, changes: InputOf<R>): R {
    const kind = this.rows.kind(resource.name);
    return this.rows.update(kind, this.tx, this.existing(kind, id), changes, this.inner(changes)) as unknown as R;
  }

  remove(resource: ResourceHandle, id: string): void {
    const kind = this.rows.kind(resource.name);
    this.rows.remove(kind, this.tx, this.existing(kind, id), this.inner({}));
  }

  limitOf(resource: ResourceHandle, name: string, projectId: string): number | undefined {
    for (const extension of this.rows.kind(resource.name).extensions) {
      const limit = extension.limitOf?.(this.tx, name, projectId);
      if (limit !== undefined) return limit;
    }
    return undefined;
  }

  act(resource: ResourceHandle, id: string, action: string, body: Values): unknown {
    const kind = this.rows.kind(resource.name);
    const decl = kind.actions.find((a) => a.name === action)?.decl;
    if (decl === undefined || !("run" in decl)) throw new Error(`${kind.name} has no action ${action} that changes it`);
    return decl.run(this.tx, this.existing(kind, id), body, this.inner(body), {});
  }

  shareable(objectType: string): { readonly resource: ResourceHandle; readonly table: AnyTable; readonly accesses: Accesses } | undefined {
    return this.rows.shareable(objectType);
  }

  ask<A extends readonly unknown[], R>(question: Question<(...args: A) => R>, ...args: A): readonly R[] {
    return this.rows.answersTo(question).map((run) => run(...args));
  }

  bump(resource: ResourceHandle, id: string): void {
    const kind = this.rows.kind(resource.name);
    const row = this.tx.get<StandardRow>(kind.table, id);
    if (row !== undefined) this.tx.put(kind.table, stamped(kind, this.tx, row));
  }

  private existing(kind: Kind, id: string): StandardRow {
    const row = findRow(kind, this.tx, id, this.caller);
    if (row === undefined) throw absent(kind, id);
    return row;
  }

  private inner(given: Values): Context {
    return this.work.context(new Set(Object.keys(given)), true);
  }
}

/** As of a change of the row or its parts. */
const stamped = (kind: Kind, tx: Tx, row: StandardRow): StandardRow => ({
  ...row,
  ...(kind.standard.has("revision") ? { revision_number: row.revision_number + 1 } : {}),
  ...(kind.standard.has("timestamps") ? { updated_at: tx.now } : {}),
});

/** A resource that stores whatever it is given has stored what another app keeps and presents: it would be shown twice, as it is and as it was. */
function checkStored({ name: kind, presented }: Kind, before: StandardRow, row: StandardRow, given: Values): void {
  for (const name in given) if (presented.has(name) && Object.hasOwn(row, name) && !Object.hasOwn(before, name)) throw new Error(`create or update of ${kind} stored ${name}, which is presented`);
}

export class Rows {
  private readonly registry: Registry;

  constructor(registry: Registry) {
    this.registry = registry;
  }

  kind(name: string): Kind {
    const kind = this.registry.kinds.get(name);
    if (kind === undefined) throw new Error(`no app declares the resource ${name}`);
    return kind;
  }

  answersTo<A extends readonly unknown[], R>(question: Question<(...args: A) => R>): readonly ((...args: A) => R)[] {
    return this.registry.answers.filter((a) => a.question === question).map((a) => a.run as unknown as (...args: A) => R);
  }

  /** Undefined for a type that no app declares, too. */
  shareable(objectType: string): { readonly resource: ResourceHandle; readonly table: AnyTable; readonly accesses: Accesses } | undefined {
    const kind = this.registry.objectTypes.get(objectType);
    return kind === undefined || kind.accesses.size === 0 ? undefined : kind;
  }

  create(kind: Kind, tx: Tx, given: Values, ctx: Context, children: Children = NO_CHILDREN): StandardRow {
    const { resource } = kind;
    if (resource.create === undefined) throw new Error(`a ${kind.name} cannot be created`);
    let input = given;
    for (const extension of kind.extensions) if (extension.beforeCreate !== undefined) input = { ...input, ...extension.beforeCreate(tx, input, ctx) };
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
    let row = resource.create(tx, standard, input, ctx) as StandardRow;
    checkStored(kind, standard, row, input);
    for (const extension of kind.extensions) {
      if (extension.create === undefined) continue;
      extension.create(tx, row, input, ctx);
      row = put(kind, tx, row.id, ctx.caller) ?? row;
    }
    ctx.work.note(kind, row.id, { created: true, given: input, asked: !ctx.internal });
    for (const [name, items] of children) this.createChildren(kind, name, tx, row, items, ctx);
    return this.stored(kind, tx, row.id, ctx.caller);
  }

  /** Children take their parent's project unless told another. */
  private createChildren(parent: Kind, name: string, tx: Tx, row: StandardRow, items: readonly Input[], ctx: Context): void {
    const { decl, kind } = parent.embedded.get(name)!;
    for (const item of items) {
      at(item.path, () => {
        const chosen = item.given.has("project_id") || item.given.has("tenant_id");
        const input = { ...(ctx.internal ? Object.fromEntries(kind.defaults) : {}), ...item.values, [decl.attribute]: row.id, ...(chosen ? {} : { project_id: row.project_id }) };
        if (!ctx.internal) {
          const refused = refusedRules(kind, "create", ctx.caller, input, { ...item, values: input }, tx);
          if (refused.length > 0) throw notAuthorized(refused);
        }
        this.create(kind, tx, input, ctx.work.context(item.given, ctx.internal), item.children);
      });
    }
  }

  update(kind: Kind, tx: Tx, before: StandardRow, changes: Values, ctx: Context): StandardRow {
    const { resource } = kind;
    let row = stamped(kind, tx, before);
    if (changes.name !== undefined && kind.standard.has("name")) row = { ...row, name: changes.name as string };
    if (changes.description !== undefined && kind.standard.has("description")) row = { ...row, description: changes.description as string };
    if (resource.update === undefined) tx.put(kind.table, row);
    else row = resource.update(tx, row, changes, ctx) as StandardRow;
    checkStored(kind, before, row, changes);
    for (const extension of kind.extensions) {
      if (extension.update === undefined) continue;
      extension.update(tx, row, changes, ctx, before);
      row = put(kind, tx, row.id, ctx.caller) ?? row;
    }
    ctx.work.note(kind, row.id, { created: false, given: changes, asked: !ctx.internal });
    return this.stored(kind, tx, row.id, ctx.caller);
  }

  remove(kind: Kind, tx: Tx, row: StandardRow, ctx: Context): void {
    const { resource } = kind;
    if (resource.remove === undefined) throw new Error(`a ${kind.name} cannot be removed`);
    for (const extension of kind.extensions) extension.removing?.(tx, put(kind, tx, row.id, ctx.caller) ?? row, ctx);
    for (const extension of kind.extensions) extension.remove?.(tx, put(kind, tx, row.id, ctx.caller) ?? row, ctx);
    for (const child of kind.embedded.values()) if (child.decl.cascade === true) for (const its of childRows(child, tx, row.id)) ctx.remove(child.kind, its.id);
    resource.remove(tx, put(kind, tx, row.id, ctx.caller) ?? row, ctx);
    // What is worked out may be there after all, of another reason.
    if (resource.computed === undefined && tx.get(kind.table, row.id) !== undefined) throw new Error(`remove of ${kind.name} left its row`);
  }

  /** The row as it is now. */
  stored(kind: Kind, tx: Tx, id: string, caller: Caller): StandardRow {
    const row = put(kind, tx, id, caller);
    if (row === undefined) throw new Error(`create or update of ${kind.name} did not put its row`);
    return row;
  }
}
