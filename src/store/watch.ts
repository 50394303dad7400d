// Watchers and the recent revisions they may start from. Each watcher has a cursor, the next revision it wants; every
// delivery moves the cursor, so a replay and live revisions cannot swap, repeat or skip. Only durable revisions get here.

import { StoreError } from "./errors.ts";
import { LIMITS, type KvEvent, type KvWatcher, type OnEvents, type WatchOptions } from "./kv.ts";

interface Kept {
  readonly events: readonly KvEvent[];
  readonly writer: string;
  readonly note: string;
  readonly bytes: number;
}

interface Watcher {
  readonly prefix: string;
  readonly onEvents: OnEvents;
  readonly onError: (error: StoreError) => void;
  next: number;
}

export interface HistoryLimits {
  readonly revisions?: number;
  readonly bytes?: number;
}

export class WatchHub {
  readonly #watchers = new Set<Watcher>();
  readonly #maxRevisions: number;
  readonly #maxBytes: number;
  /** Revision r is at `#kept[r - #oldest + #skip]`: every revision has events, so there are no gaps. */
  #kept: Kept[] = [];
  #skip = 0;
  #oldest: number;
  #last: number;
  #bytes = 0;

  constructor(revision: number, limits: HistoryLimits = {}) {
    this.#last = revision;
    this.#oldest = revision + 1;
    this.#maxRevisions = limits.revisions ?? LIMITS.historyRevisions;
    this.#maxBytes = limits.bytes ?? LIMITS.history;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  get revisions(): number {
    return this.#last - this.#oldest + 1;
  }

  get bytes(): number {
    return this.#bytes;
  }

  watch(options: WatchOptions, onEvents: Watcher["onEvents"], onError: Watcher["onError"]): KvWatcher {
    const from = options.fromRevision ?? this.#last + 1;
    const watcher: Watcher = { prefix: options.prefix, onEvents, onError, next: from };
    this.#watchers.add(watcher);
    if (from < this.#oldest) {
      const text = `revision ${from} is no longer kept, the oldest is ${this.#oldest}: read the range again`;
      const error = new StoreError("COMPACTED", text, { oldest: this.#oldest });
      watcher.next = Infinity;
      queueMicrotask(() => this.#end(watcher, error));
    } else if (from <= this.#last) {
      queueMicrotask(() => this.#pump(watcher)); // the caller must have its handle first
    }
    return { close: () => void this.#watchers.delete(watcher) };
  }

  /** The next revision, now durable. */
  publish(revision: number, events: readonly KvEvent[], writer: string, note: string): void {
    let bytes = note.length;
    for (const event of events) bytes += event.key.length + (event.value?.length ?? 0);
    this.#kept.push({ events, writer, note, bytes });
    this.#bytes += bytes;
    this.#last = revision;
    for (const watcher of this.#watchers) this.#pump(watcher); // before trimming: none falls behind the history
    while (this.#last - this.#oldest + 1 > this.#maxRevisions || this.#bytes > this.#maxBytes) this.#forget();
  }

  /** A revision whose events are all that came since the last one: what was before is not kept. */
  jump(revision: number, events: readonly KvEvent[]): void {
    for (const watcher of this.#watchers) if (watcher.next <= revision) watcher.next = revision;
    this.#kept = [];
    this.#skip = 0;
    this.#bytes = 0;
    this.#oldest = revision;
    this.#last = revision - 1;
    this.publish(revision, events, "", "");
  }

  fail(error: StoreError): void {
    for (const watcher of [...this.#watchers]) this.#end(watcher, error);
  }

  close(): void {
    this.#watchers.clear();
  }

  #pump(watcher: Watcher): void {
    while (watcher.next <= this.#last && this.#watchers.has(watcher)) {
      const revision = watcher.next++;
      const { events, writer, note } = this.#kept[revision - this.#oldest + this.#skip]!;
      const wanted = watcher.prefix === "" ? events : events.filter((event) => event.key.startsWith(watcher.prefix));
      if (wanted.length === 0 && events.length > 0) continue; // of a jump that came to nothing the revision is told
      this.#call(watcher, () => watcher.onEvents(revision, wanted, writer, note));
    }
  }

  #end(watcher: Watcher, error: StoreError): void {
    if (this.#watchers.delete(watcher)) this.#call(watcher, () => watcher.onError(error));
  }

  // A callback that throws is a bug of its owner: that watcher ends, the error is loud (uncaught), the commit goes on.
  #call(watcher: Watcher, callback: () => void): void {
    try {
      callback();
    } catch (bug) {
      this.#watchers.delete(watcher);
      queueMicrotask(() => {
        throw bug;
      });
    }
  }

  #forget(): void {
    this.#bytes -= this.#kept[this.#skip]!.bytes;
    this.#kept[this.#skip] = { events: [], writer: "", note: "", bytes: 0 };
    this.#skip++;
    this.#oldest++;
    if (this.#skip > 1024 && this.#skip * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#skip);
      this.#skip = 0;
    }
  }
}
