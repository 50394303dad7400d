// One client of GET /v2.0/axion/watch: what it has been told of, and what it is to be told.
//
// It is shown what its lists would show, kept current. Of each resource that it sees the text is known by its hash, with all that was read to
// make it; a change of that makes the resource "dirty", and what is dirty is worked out again and told if it came out differently. So what a
// client hears of is what it may see, whatever made the difference: a row, a share that ended, a rule of access. What it sees no more is
// deleted for it.
import { createHash } from "node:crypto";
import type { Caller, LiveView, Row, StandardRow } from "../../app/contract.ts";
import { findRow, type Kind } from "../kinds.ts";
import { Slices } from "../lists/slices.ts";
import { Item } from "../present.ts";
import { values } from "../rows.ts";
import { noted, NotingView, type Noted, type Readers } from "./reads.ts";

export type Readable = Tracked | Reach;

/** A resource that the client sees; or does not see now, of a kind whose rows nothing else leads to. */
export class Tracked {
  readonly watcher: Watcher;
  readonly kind: Kind;
  readonly id: string;
  reads: Noted = noted();
  /** Of its text; undefined: it is not seen. */
  hash: string | undefined;

  constructor(watcher: Watcher, kind: Kind, id: string) {
    this.watcher = watcher;
    this.kind = kind;
    this.id = id;
  }
}

/** The ways by which the client comes to rows of a kind that are not its project's: shares, the networks it owns. */
export class Reach {
  readonly watcher: Watcher;
  readonly kind: Kind;
  reads: Noted = noted();

  constructor(watcher: Watcher, kind: Kind) {
    this.watcher = watcher;
    this.kind = kind;
  }
}

export interface Narrowed {
  /** Parents before their parts; those that are not told of lead to such as are. */
  readonly kinds: readonly Kind[];
  readonly told: ReadonlySet<Kind>;
  /** Rows of this project alone. */
  readonly project: string | undefined;
}

/** What watchers have together. */
export interface Shared {
  readonly readers: Readers<Readable>;
  readonly view: () => LiveView;
  /** Resolves in a turn of the event loop that no other watcher has. */
  readonly next: () => Promise<unknown>;
  /** Resources that may be followed, of one watcher. */
  readonly resources: number;
  /** False: all watchers together follow as many as they may. */
  follow(): boolean;
  unfollow(): void;
}

/** It follows more than it may. */
export class TooMuch extends Error {}

type Verb = "created" | "updated" | "deleted";
/** An event, without what is the same for all of one turn. */
export interface Told {
  readonly verb: Verb;
  readonly kind: Kind;
  readonly id: string;
  /** JSON of what is seen; undefined of what is deleted. */
  readonly text: string | undefined;
}

/** What became different while a client was away; what is to be seen of it is looked at when it is told. */
export type Missed = Omit<Told, "text">;

/** The index by which the parts of a parent are found; undefined: it is no part, or each has to be asked. */
export const indexOfParts = (kind: Kind): string | undefined => (kind.parent === undefined ? undefined : kind.attributes.get(kind.resource.parent!.attribute)?.decl.index);

const hashOf = (text: string): string => createHash("sha256").update(text).digest("base64");

export class Watcher {
  readonly caller: Caller;
  readonly narrowed: Narrowed;
  private readonly shared: Shared;
  private readonly tracked = new Map<Kind, Map<string, Tracked>>();
  private readonly reaches = new Map<Kind, Reach>();
  private dirty = new Set<Tracked>();
  /** Rows that changed and are not followed. */
  private fresh = new Map<Kind, Set<string>>();
  private reached = new Set<Kind>();
  /** Kinds of which the caller sees rows of its project alone. */
  private readonly own = new Set<Kind>();
  private count = 0;
  private unseen = 0;
  private ended = false;

  constructor(shared: Shared, caller: Caller, narrowed: Narrowed) {
    this.shared = shared;
    this.caller = caller;
    this.narrowed = narrowed;
    for (const kind of narrowed.kinds) {
      this.tracked.set(kind, new Map());
      this.fresh.set(kind, new Set());
      this.reaches.set(kind, new Reach(this, kind));
      const scope = kind.get.scope(caller);
      if (kind.parent === undefined && Object.hasOwn(kind.table.indexes, "project") && scope !== "all" && [...scope].every((relation) => relation === "project")) this.own.add(kind);
    }
  }

  /** Whether something is to be worked out. */
  get waits(): boolean {
    return this.unseen > 0 || this.dirty.size > 0 || this.reached.size > 0;
  }

  /** Rows that wait and are not followed: others may make any number of them. */
  get strangers(): number {
    return this.unseen;
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    for (const those of this.tracked.values()) for (const one of those.values()) this.drop(one);
    for (const reach of this.reaches.values()) this.shared.readers.set(reach, reach.reads.keys, []);
  }

  // ---- marks ----

  mark(reader: Readable): void {
    if (reader instanceof Reach) this.reached.add(reader.kind);
    else this.dirty.add(reader);
  }

  /** A row of one of its kinds: it may be seen from now on. */
  changed(kind: Kind, id: string, row: Row | undefined): void {
    const known = this.tracked.get(kind);
    if (known === undefined) return;
    const one = known.get(id);
    if (one !== undefined) {
      this.dirty.add(one);
      return;
    }
    // What is gone and was not followed is nobody's to hear of; nor are others' rows where no way leads to them.
    if (row === undefined || (this.own.has(kind) && ![kind.table.indexes["project"]!(row as StandardRow)].flat().includes(this.caller.projectId))) return;
    const fresh = this.fresh.get(kind)!;
    if (fresh.has(id)) return;
    fresh.add(id);
    this.unseen++;
  }

  /** What changes without a word. */
  markPassing(): void {
    for (const those of this.tracked.values()) for (const one of those.values()) if (one.reads.passing) this.mark(one);
  }

  // ---- what is seen ----

  /** Ids of rows of the kind that may be seen. */
  private candidates(kind: Kind, view: LiveView, reach: Noted): string[] {
    const { table } = kind;
    const { caller, narrowed: { project } } = this;
    const parts = indexOfParts(kind);
    if (parts !== undefined) return this.partsOf(kind, parts, view, this.candidates(kind.parent!, view, reach));
    const found = new Set<string>();
    const add = (rows: Iterable<{ readonly id: string }>): void => {
      for (const { id } of rows) {
        found.add(id);
        if (found.size > this.shared.resources) throw new TooMuch();
      }
    };
    const byProject = Object.hasOwn(table.indexes, "project");
    const scope = kind.get.scope(caller);
    if (project !== undefined && byProject) add(view.by(table, "project", project));
    else if (this.isOpen(kind)) add(this.ofProject(view.all(table)));
    else {
      for (const relation of scope) {
        if (relation === "project" && byProject) add(view.by(table, "project", caller.projectId));
        else add(this.reach(kind, relation, view, reach));
      }
    }
    return [...found];
  }

  private *ofProject(rows: Iterable<StandardRow>): Iterable<StandardRow> {
    const { project } = this.narrowed;
    for (const row of rows) if (project === undefined || row.project_id === project) yield row;
  }

  private partsOf(kind: Kind, index: string, view: LiveView, parents: Iterable<string>): string[] {
    const ids: string[] = [];
    for (const parent of parents) {
      for (const { id } of view.by(kind.table, index, parent)) ids.push(id);
      if (ids.length > this.shared.resources) throw new TooMuch();
    }
    return ids;
  }

  private *reach(kind: Kind, relation: string, view: LiveView, into: Noted): Iterable<{ readonly id: string }> {
    for (const id of kind.resource.reach![relation]!(new NotingView(view, into, kind.table), this.caller)) yield { id };
  }

  /** Whether nothing leads to the rows that may be seen: each has to be asked. */
  private isOpen(kind: Kind): boolean {
    const scope = kind.get.scope(this.caller);
    if (scope === "all") return true;
    const reach = kind.resource.reach ?? {};
    for (const relation of scope) if (!Object.hasOwn(reach, relation) && !(relation === "project" && Object.hasOwn(kind.table.indexes, "project"))) return true;
    return false;
  }

  private follows(kind: Kind, view: LiveView): string[] {
    const reach = this.reaches.get(kind)!;
    const reads = noted();
    const ids = this.candidates(kind, view, reads);
    this.shared.readers.set(reach, reach.reads.keys, reads.keys);
    reach.reads = reads;
    return ids;
  }

  /** What the client is shown of a row as the API would; undefined: there is nothing for it. */
  private seen(kind: Kind, id: string, view: LiveView): string | undefined {
    const row = view.get<StandardRow>(kind.table, id);
    if (row === undefined || !this.wanted(kind, row, view) || !this.visible(kind, row, view)) return undefined;
    return new Item(kind, row, view, this.caller).text();
  }

  /** A part that has no project is its parent's. */
  private wanted(kind: Kind, row: StandardRow, view: LiveView): boolean {
    const { project } = this.narrowed;
    if (project === undefined || row.project_id === project) return true;
    if ((row.project_id as string | undefined) !== undefined || kind.parent === undefined) return false;
    const parent = this.parentOf(kind, row, view);
    return parent !== undefined && this.wanted(kind.parent, parent, view);
  }

  private parentOf({ parent, resource }: Kind, row: StandardRow, view: LiveView): StandardRow | undefined {
    return parent === undefined ? undefined : findRow(parent, view, values(row)[resource.parent!.attribute] as string, this.caller);
  }

  private visible(kind: Kind, row: StandardRow, view: LiveView): boolean {
    if (!kind.get.allows(this.caller, { row: values(row) }, view)) return false;
    if (kind.parent === undefined) return true;
    // Below a parent that is not to be seen there is nothing.
    const parent = this.parentOf(kind, row, view);
    return parent !== undefined && this.visible(kind.parent, parent, view);
  }

  private drop(one: Tracked): void {
    this.shared.readers.set(one, one.reads.keys, []);
    this.tracked.get(one.kind)!.delete(one.id);
    this.count--;
    this.shared.unfollow();
  }

  /** Whether it is to be followed unseen: nothing else would lead to it when it may be seen. */
  private mayCome(kind: Kind, id: string): boolean {
    if (indexOfParts(kind) !== undefined || !this.isOpen(kind) || kind.get.certain(this.caller) === false) return false;
    const row = this.shared.view().get(kind.table, id);
    return row !== undefined && (this.narrowed.project === undefined || row.project_id === this.narrowed.project);
  }

  /** Works one out anew, and says what is different. @throws TooMuch */
  private look(kind: Kind, id: string): Told | undefined {
    const those = this.tracked.get(kind)!;
    let one = those.get(id);
    const reads = noted();
    const text = this.seen(kind, id, new NotingView(this.shared.view(), reads));
    const before = one?.hash;
    if (text === undefined && !this.mayCome(kind, id)) {
      if (one !== undefined) this.drop(one);
      return before === undefined ? undefined : { verb: "deleted", kind, id, text: undefined };
    }
    if (one === undefined) {
      if (this.count >= this.shared.resources || !this.shared.follow()) throw new TooMuch();
      this.count++;
      those.set(id, (one = new Tracked(this, kind, id)));
    }
    this.shared.readers.set(one, one.reads.keys, reads.keys);
    one.reads = reads;
    one.hash = text === undefined ? undefined : hashOf(text);
    if (one.hash === before) return undefined;
    // Who sees it now sees its parts.
    if (before === undefined) this.changedParts(kind, id);
    return { verb: before === undefined ? "created" : text === undefined ? "deleted" : "updated", kind, id, text };
  }

  private changedParts(kind: Kind, id: string): void {
    for (const part of kind.children.values()) {
      const index = indexOfParts(part);
      if (index !== undefined && this.fresh.has(part)) for (const row of this.partsOf(part, index, this.shared.view(), [id])) this.changed(part, row, this.shared.view().get(part.table, row));
    }
  }

  // ---- turns ----

  /** What it sees at the beginning. @throws TooMuch */
  async begin(stopped: () => boolean): Promise<void> {
    const slices = new Slices(this.shared.next);
    await slices.turn();
    for (const kind of this.narrowed.kinds) {
      for (const id of this.follows(kind, this.shared.view())) {
        this.look(kind, id);
        if (slices.row()) await slices.turn();
        if (stopped()) return;
      }
    }
  }

  /**
   * What is different from an instant: rows as they were are in `then`; `since`: what changed since of rows that it does not have.
   * @throws TooMuch
   */
  async differences(then: LiveView, since: Iterable<Readable>, stopped: () => boolean): Promise<readonly Missed[]> {
    const slices = new Slices(this.shared.next);
    const missed: Missed[] = [];
    for (const kind of this.narrowed.told) {
      const now = this.tracked.get(kind)!;
      const before = new Set<string>();
      for (const id of this.candidates(kind, then, noted())) {
        const text = this.seen(kind, id, then);
        if (text !== undefined) {
          before.add(id);
          const one = now.get(id);
          if (one?.hash === undefined) missed.push({ verb: "deleted", kind, id });
          else if (one.hash !== hashOf(text)) missed.push({ verb: "updated", kind, id });
        }
        if (slices.row()) await slices.turn();
        if (stopped()) return [];
      }
      for (const { id, hash } of now.values()) if (hash !== undefined && !before.has(id)) missed.push({ verb: "created", kind, id });
    }
    for (const one of since) if (one instanceof Tracked && one.watcher === this && one.hash !== undefined && this.narrowed.told.has(one.kind)) missed.push({ verb: "updated", kind: one.kind, id: one.id });
    return missed;
  }

  /** As it is now; what is no more is told in its turn. */
  async *current(missed: readonly Missed[], stopped: () => boolean): AsyncIterable<Told> {
    const slices = new Slices(this.shared.next);
    for (const { verb, kind, id } of missed) {
      const text = verb === "deleted" ? undefined : this.seen(kind, id, this.shared.view());
      if (verb === "deleted" || text !== undefined) yield { verb, kind, id, text };
      if (slices.row()) await slices.turn();
      if (stopped()) return;
    }
  }

  /** What became different of what is marked now. @throws TooMuch */
  async *turn(stopped: () => boolean): AsyncIterable<Told> {
    const slices = new Slices(this.shared.next);
    await slices.turn();
    if (stopped()) return;
    const { dirty, fresh, reached } = this;
    this.dirty = new Set();
    this.fresh = new Map(this.narrowed.kinds.map((kind) => [kind, new Set()]));
    this.reached = new Set();
    this.unseen = 0;
    for (const kind of reached) for (const id of this.follows(kind, this.shared.view())) if (!this.tracked.get(kind)!.has(id)) fresh.get(kind)!.add(id);
    const one = function* (this: Watcher, kind: Kind, id: string): Iterable<Told> {
      const told = this.look(kind, id);
      if (told !== undefined && this.narrowed.told.has(kind)) yield told;
    };
    for (const { kind, id } of dirty) {
      yield* one.call(this, kind, id);
      if (slices.row()) await slices.turn();
      if (stopped()) return;
    }
    for (const [kind, ids] of fresh) {
      for (const id of ids) {
        yield* one.call(this, kind, id);
        if (slices.row()) await slices.turn();
        if (stopped()) return;
      }
    }
  }
}
