// GET /v2.0/axion/watch: changes of what a caller may see, as they happen, as server-sent events (HTML, section 9.2). What one client is told is
// watcher.ts; here is who watches, what changes and how it goes over the wire.
//
//     commits, derived rows ──> readers of what changed ──> marked in their watchers ──> a turn of each: worked out, told, "generation"
//
// A turn takes no more than the client takes: what changes meanwhile is marked, once, however often it does. So what is held for a slow client
// is what it follows, and one that takes nothing for long is cut.
import type { ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { ApiError, badRequest, type Caller } from "../../app/contract.ts";
import type { Change } from "../../model/model.ts";
import type { Kind } from "../kinds.ts";
import { Late } from "./late.ts";
import { Places } from "./places.ts";
import { Readers } from "./reads.ts";
import { narrowedBy, sinceOf, watchLimits, type Cut, type WatchLimits, type WatchOptions, type WatchRequest } from "./watch-query.ts";
import { TooMuch, Watcher, type Missed, type Readable, type Shared, type Told } from "./watcher.ts";

/** Of rows that others make while a client is slow. */
const STRANGERS = 50_000;
/** Heartbeats in which it could not be told who the client is. */
const UNTOLD = 20;

/** A client that is told of its end has so long to take it. */
const LAST_MS = 2000;
const TOO_MUCH = "more resources than may be watched: narrow it with resource or project_id";
const BUG = "an error of the controller";

interface Client {
  readonly watcher: Watcher;
  readonly response: ServerResponse;
  readonly again: WatchRequest["again"];
  /** Gives its place back. */
  readonly leave: () => void;
  /** Rules of access that it was begun under. */
  readonly policy: number;
  /** Everything up to this generation is told. */
  told: number;
  /** A turn is under way. */
  busy: boolean;
  untold: number;
  ended: boolean;
}

export class Watches {
  private readonly options: WatchOptions;
  private readonly limits: WatchLimits;
  private readonly readers = new Readers<Readable>();
  private readonly late: Late;
  private readonly kinds = new Map<string, Kind[]>();
  private readonly clients = new Set<Client>();
  /** Watchers, also such as are only beginning. */
  private readonly watchers = new Set<Watcher>();
  private readonly places: Places;
  private readonly undo: (() => void)[];
  private followed = 0;
  /** One after the other, each in a turn of its own, so that many that watch hold nobody up. */
  private readonly next = (): Promise<unknown> => (this.line = this.line.then(() => setImmediate()));
  private line: Promise<unknown> = Promise.resolve();
  private closed = false;
  private gathering: NodeJS.Timeout | undefined;
  private beating: NodeJS.Timeout | undefined;

  constructor(options: WatchOptions) {
    const { registry, model } = options;
    this.options = options;
    this.limits = { ...watchLimits, ...options.limits };
    this.places = new Places({ all: this.limits.watchers, ofProject: this.limits.ofProject }, {
      full,
      ofProject: (mine) => new ApiError(429, "TooManyRequests", `${mine} clients of the project watch already.`, 60),
    });
    this.late = new Late(model.generation, this.limits.remembered);
    for (const kind of registry.kinds.values()) {
      if (kind.resource.computed !== undefined) continue; // no row, no change
      this.kinds.set(kind.table.name, [...(this.kinds.get(kind.table.name) ?? []), kind]);
    }
    this.undo = [model.onCommit(({ generation, changes }) => this.committed(generation, changes))];
    const stop = options.onChanges?.((changes, generation) => this.derived(generation, changes));
    if (stop !== undefined) this.undo.push(stop);
  }

  get size(): number {
    return this.watchers.size;
  }

  get following(): number {
    return this.followed;
  }

  /** Those that may be followed. */
  get resources(): readonly Kind[] {
    return [...this.kinds.values()].flat();
  }

  /** Ends all. */
  close(): void {
    this.closed = true;
    for (const undo of this.undo.splice(0)) undo();
    for (const client of [...this.clients]) this.end(client);
    clearTimeout(this.gathering);
  }

  private get compiled(): number {
    return this.options.compiled?.() ?? this.options.model.generation;
  }

  // ---- changes ----

  private committed(generation: number, changes: readonly Change[]): void {
    this.late.add(generation, false, changes);
    if (this.watchers.size === 0) return;
    for (const change of changes) {
      this.changed(change);
      for (const kind of this.kinds.get(change.table.name) ?? []) for (const watcher of this.watchers) watcher.changed(kind, change.id, change.after);
    }
    this.gather();
  }

  private derived(generation: number, all: readonly Change[]): void {
    const changes = all.filter(({ table }) => table.derived);
    if (changes.length > 0) this.late.add(generation, true, changes);
    if (this.watchers.size === 0) return;
    for (const change of changes) this.changed(change);
    this.gather();
  }

  private changed(change: Change): void {
    for (const reader of this.readers.of(change)) reader.watcher.mark(reader);
  }

  private gather(): void {
    this.gathering ??= setTimeout(() => {
      this.gathering = undefined;
      for (const client of this.clients) void this.turn(client);
    }, this.limits.gatherMs);
  }

  // ---- clients ----

  /** Resolves when the client has been told of all up to now, or is gone. `begin` makes the answer's head. @throws ApiError before that */
  async open({ query, lastEventId, accept, caller, again }: WatchRequest, begin: () => ServerResponse, gone: (listener: () => void) => void): Promise<void> {
    if (accept !== undefined && accept !== "" && !/\*\/\*|text\/\*|text\/event-stream/i.test(accept)) throw new ApiError(406, "HTTPNotAcceptable", "Only text/event-stream is served");
    const narrowed = narrowedBy(query, this.resources);
    const since = sinceOf(query, lastEventId);
    // Another controller may have told it, of what has not been heard of here yet.
    if (since !== undefined && since > this.options.model.generation) await this.options.reached?.until(since, caller);
    if (since !== undefined) this.stillKnown(since);
    if (this.closed) throw full();
    const leave = this.places.enter(caller);
    let stopped = false;
    const shared: Shared = {
      readers: this.readers, view: () => this.options.view, next: this.next, resources: this.limits.resources,
      follow: () => this.followed < this.limits.allResources && ++this.followed > 0,
      unfollow: () => {
        this.followed--;
      },
    };
    const watcher = new Watcher(shared, caller, narrowed);
    const policy = this.options.registry.policy.version;
    const end = (): void => {
      if (!this.watchers.delete(watcher)) return;
      stopped = true;
      watcher.end();
      leave();
    };
    this.watchers.add(watcher);
    gone(end);
    let client: Client | undefined;
    try {
      let one: Client;
      let missed: readonly Missed[] = [];
      const release = this.options.slots.tryTake() ?? (await this.options.slots.take());
      const at = this.compiled;
      const snapshot = since === undefined ? undefined : this.options.model.snapshot();
      try {
        if (since !== undefined) this.stillKnown(since);
        snapshot?.rewind(this.late.since(since!, false));
        await watcher.begin(() => stopped);
        if (stopped) return;
        one = client = { watcher, response: begin(), again, leave: end, policy, told: at, busy: true, untold: 0, ended: false };
        const of = one;
        gone(() => this.end(of));
        this.clients.add(one);
        this.beating ??= setInterval(() => this.beat(), this.limits.heartbeatMs).unref();
        if (snapshot !== undefined) {
          one.response.write(": since\n\n");
          const readers = new Set<Readable>();
          for (const change of this.late.since(since!, true)) for (const reader of this.readers.of(change)) readers.add(reader);
          missed = await watcher.differences(this.options.view.over(snapshot.view), readers, () => of.ended);
          if (snapshot.stale) this.reset(one, "more has changed than is remembered");
        }
      } finally {
        snapshot?.close();
        release();
      }
      // What is told takes as long as the client takes: nobody else waits for that.
      await this.catchUp(one, missed, at);
      await this.write(one, event("ready", { generation: at, resources: [...narrowed.told].map((k) => k.name) }, at));
      one.busy = false;
      void this.turn(one);
    } catch (error) {
      if (client !== undefined) {
        if (!(error instanceof TooMuch)) this.options.failed(error);
        this.reset(client, error instanceof TooMuch ? TOO_MUCH : BUG);
        return;
      }
      end();
      if (!(error instanceof TooMuch)) throw error;
      if (this.followed >= this.limits.allResources) throw new ApiError(503, "ServiceUnavailable", "Too many resources are watched; try again later.", 60);
      throw badRequest(`More than ${this.limits.resources} resources would be watched: narrow it with resource=NAME or project_id=ID`);
    }
  }

  private stillKnown(since: number): void {
    if (since < this.late.floor || since > this.options.model.generation) throw new ApiError(410, "HTTPGone", `What has changed since generation ${since} is not known: watch without since, and list what there is.`);
  }

  private end(client: Client): void {
    if (client.ended) return;
    client.ended = true;
    this.clients.delete(client);
    client.leave();
    client.response.end();
    if (!client.response.destroyed) setTimeout(() => client.response.destroy(), LAST_MS).unref();
    if (this.clients.size > 0) return;
    clearInterval(this.beating);
    this.beating = undefined;
  }

  /** The client has to begin anew. */
  private reset(client: Client, reason: string, cut: Cut = "reset"): void {
    if (client.ended) return;
    this.options.cut?.(cut);
    client.response.write(event("reset", { reason }));
    this.end(client);
  }

  // ---- telling ----

  /** Tells what a client missed that comes back. */
  private async catchUp(client: Client, missed: readonly Missed[], at: number): Promise<void> {
    if (missed.length === 0) return;
    const late = setTimeout(() => this.reset(client, "what has changed since was not taken in time", "slow"), this.limits.sinceMs);
    try {
      for await (const told of client.watcher.current(missed, () => client.ended)) await this.tell(client, told, at);
    } finally {
      clearTimeout(late);
    }
  }

  private async turn(client: Client): Promise<void> {
    const { watcher } = client;
    if (client.busy || client.ended) return;
    client.busy = true;
    try {
      while (watcher.waits && this.allowed(client)) {
        const at = this.compiled;
        let any = false;
        for await (const one of watcher.turn(() => client.ended)) {
          any = true;
          await this.tell(client, one, at);
        }
        if (any) await this.advance(client, at);
        else client.told = Math.max(client.told, at);
      }
    } catch (error) {
      if (!(error instanceof TooMuch)) this.options.failed(error);
      this.reset(client, error instanceof TooMuch ? TOO_MUCH : BUG);
    } finally {
      client.busy = false;
    }
  }

  /** All up to the generation is told. */
  private async advance(client: Client, generation: number): Promise<void> {
    client.told = Math.max(client.told, generation);
    await this.write(client, event("generation", { generation: client.told }, client.told));
  }

  private async tell(client: Client, { verb, kind, id, text }: Told, generation: number): Promise<void> {
    // A part does not always show whose it is.
    const parent = kind.resource.parent?.attribute;
    const row = parent === undefined ? undefined : (this.options.view.get(kind.table, id) as Readonly<Record<string, unknown>> | undefined);
    const head = JSON.stringify({ event: verb, generation, resource: kind.name, id, ...(row === undefined ? {} : { [parent!]: row[parent!] }) }).slice(0, -1);
    await this.write(client, `event: ${verb}\ndata: ${head}${text === undefined ? "" : `,${JSON.stringify(kind.name)}:${text}`}}\n\n`);
  }

  /** Whether it is to be told more: what was worked out under other rules of access is not told. */
  private allowed(client: Client): boolean {
    if (!client.ended && this.options.registry.policy.version !== client.policy) this.reset(client, "the rules of access have changed");
    return !client.ended;
  }

  /** Resolves when there is room for more. */
  private async write(client: Client, text: string): Promise<void> {
    const { response, watcher } = client;
    if (!this.allowed(client)) return;
    if (response.write(text)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(stall);
        response.off("drain", done).off("close", done);
        resolve();
      };
      const stall = setTimeout(() => {
        this.options.cut?.("slow");
        response.destroy();
        done();
      }, this.limits.stallMs);
      response.on("drain", done).on("close", done);
    });
    if (watcher.strangers > STRANGERS) this.reset(client, "too much has changed while nothing was read", "slow");
  }

  private beat(): void {
    for (const client of this.clients) void this.beatOne(client);
  }

  private async beatOne(client: Client): Promise<void> {
    try {
      const now = await client.again();
      if (!same(now, client.watcher.caller)) {
        this.reset(client, "the caller is somebody else by now", "unauthenticated");
        return;
      }
      client.untold = 0;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 503 || ++client.untold > UNTOLD) {
        this.reset(client, "the token is not valid any more", "unauthenticated");
        return;
      }
    }
    if (client.busy || client.ended) return;
    const before = client.told;
    client.watcher.markPassing();
    await this.turn(client);
    if (client.busy || client.ended) return;
    client.busy = true;
    try {
      if (client.watcher.waits) return;
      const at = this.compiled;
      if (at > before) await this.advance(client, at);
      else await this.write(client, ": still here\n\n");
    } finally {
      client.busy = false;
    }
    void this.turn(client);
  }
}

const same = (a: Caller, b: Caller): boolean => a.projectId === b.projectId && a.userId === b.userId && a.admin === b.admin && [...a.roles].sort().join() === [...b.roles].sort().join();

const full = (): ApiError => new ApiError(503, "ServiceUnavailable", "Too many clients watch already; try again later.", 60);

/** `id`: how far a client is that has this one. */
const event = (name: string, data: object, id?: number): string => `event: ${name}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;

