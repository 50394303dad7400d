// Receipts that can be read: of each of the last commits when it was committed, which switches it concerned, when they were sent it and when they
// confirmed it. What it concerns is what the compiler made of the batch that it was in: at times of others' commits beside.
import type { Delta, Desired } from "../compiler/desired.ts";
import type { Clock } from "../lib/clock.ts";
import type { Histogram } from "../lib/metrics.ts";
import type { Commit } from "../model/model.ts";

export interface SwitchReceipt {
  /** RFC 3339. null: not yet, or compared as a whole when it connected. */
  readonly sent_at: string | null;
  readonly confirmed_at: string | null;
  /** From the commit to the confirmation. */
  readonly ms: number | null;
}

export interface GenerationReceipt {
  readonly generation: number;
  /** "POST /v2.0/ports", or what a controller did by itself; null: whoever wrote it did not say. */
  readonly call: string | null;
  readonly project: string | null;
  /** RFC 3339. */
  readonly committed_at: string;
  /** It is compiled, and every switch that it concerns has confirmed it. */
  readonly complete: boolean;
  readonly switches: Readonly<Record<string, SwitchReceipt>>;
}

export interface ReceiptLogOptions {
  readonly onCommit: (listener: (commit: Commit) => void) => () => void;
  readonly desired: Pick<Desired, "onDelta">;
  readonly onSent: (listener: (chassis: string, generation: number) => void) => () => void;
  readonly onConfirmed: (listener: (chassis: string, generation: number) => void) => () => void;
  readonly known: (chassis: string) => boolean;
  readonly clock: Pick<Clock, "now">;
  /** Seconds from a call's commit to the last confirmation. */
  readonly seconds?: Histogram<"method" | "project"> | undefined;
  readonly limits?: { readonly receipts: number; readonly switches: number; readonly projects: number };
}

/** Receipts, switches in all of them, and projects that have a histogram of their own. */
const LIMITS = { receipts: 1024, switches: 65_536, projects: 64 };

interface Told {
  sent: number | undefined;
  confirmed: number | undefined;
}

interface Kept {
  readonly generation: number;
  readonly call: string | undefined;
  readonly project: string | undefined;
  /** The controller's own, or another's, which measures it itself. */
  readonly own: boolean;
  readonly committed: number;
  /** The batch that it was compiled in; undefined: it is not compiled yet. */
  batch: number | undefined;
  readonly switches: Map<string, Told>;
  /** Those that have not confirmed. */
  open: number;
}

export class ReceiptLog {
  private readonly options: ReceiptLogOptions;
  private readonly limits: typeof LIMITS;
  /** By generation, in order. */
  private readonly kept = new Map<number, Kept>();
  /** Those that are not compiled. */
  private waiting: Kept[] = [];
  /** What a chassis has still to confirm, in order. */
  private readonly open = new Map<string, Kept[]>();
  private readonly projects = new Set<string>();
  private entries = 0;
  private readonly undo: readonly (() => void)[];

  /** After whoever delivers: what is told of a batch here is asked for there. */
  constructor(options: ReceiptLogOptions) {
    this.options = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.undo = [
      options.onCommit((commit) => this.committed(commit)), options.desired.onDelta((delta) => this.compiled(delta)),
      options.onSent((chassis, generation) => this.sent(chassis, generation)), options.onConfirmed((chassis, generation) => this.confirmed(chassis, generation)),
    ];
  }

  stop(): void {
    for (const undo of this.undo) undo();
  }

  /** The newest first. */
  list(limit: number): GenerationReceipt[] {
    return Array.from(this.kept.values()).slice(-limit).reverse().map((kept) => this.shown(kept));
  }

  /** undefined: it is not kept. */
  one(generation: number): GenerationReceipt | undefined {
    const kept = this.kept.get(generation);
    return kept && this.shown(kept);
  }

  /** The generations that are kept; undefined: none. */
  get range(): { readonly oldest: number; readonly newest: number } | undefined {
    const generations = [...this.kept.keys()];
    return generations.length === 0 ? undefined : { oldest: generations[0]!, newest: generations.at(-1)! };
  }

  private committed({ generation, cause, foreign }: Commit): void {
    const kept: Kept = { generation, call: cause?.call, project: cause?.project, own: foreign === true || cause === undefined || cause.own === true, committed: this.options.clock.now(), batch: undefined, switches: new Map(), open: 0 };
    this.kept.set(generation, kept);
    this.waiting.push(kept);
    this.trim();
  }

  private compiled(delta: Delta): void {
    const concerned = [...delta.chassis].filter(([, change]) => change.add.length + change.remove.length + change.addItems.length + change.removeItems.length > 0).map(([id]) => id);
    const those = this.waiting.filter(({ generation }) => generation <= delta.generation);
    this.waiting = this.waiting.filter(({ generation }) => generation > delta.generation);
    for (const kept of those) {
      kept.batch = delta.generation;
      for (const id of concerned) {
        kept.switches.set(id, { sent: undefined, confirmed: undefined });
        kept.open++;
        this.entries++;
        const open = this.open.get(id);
        if (open === undefined) this.open.set(id, [kept]);
        else open.push(kept);
      }
    }
    this.trim();
  }

  private sent(chassis: string, generation: number): void {
    const now = this.options.clock.now();
    for (const kept of this.open.get(chassis) ?? []) {
      if (kept.batch! > generation) return;
      const told = kept.switches.get(chassis)!;
      told.sent ??= now;
    }
  }

  private confirmed(chassis: string, generation: number): void {
    const open = this.open.get(chassis);
    if (open === undefined) return;
    const now = this.options.clock.now();
    let done = 0;
    for (; done < open.length && open[done]!.batch! <= generation; done++) {
      const kept = open[done]!;
      kept.switches.get(chassis)!.confirmed = now;
      if (--kept.open === 0) this.finished(kept, now);
    }
    open.splice(0, done);
    if (open.length === 0) this.open.delete(chassis);
  }

  private finished({ own, call, project, committed }: Kept, now: number): void {
    const method = /^(POST|PUT|DELETE|PATCH) /.exec(call ?? "")?.[1];
    if (own || method === undefined) return;
    const name = project ?? "";
    if (!this.projects.has(name) && this.projects.size < this.limits.projects) this.projects.add(name);
    this.options.seconds?.observe((now - committed) / 1000, { method, project: this.projects.has(name) ? name : "other" });
  }

  /** The oldest go: they are the first of whatever they are in. */
  private trim(): void {
    for (const [generation, kept] of this.kept) {
      if (this.kept.size <= this.limits.receipts && this.entries <= this.limits.switches) return;
      this.kept.delete(generation);
      this.entries -= kept.switches.size;
      if (this.waiting[0] === kept) this.waiting.shift();
      for (const id of kept.switches.keys()) {
        const open = this.open.get(id);
        if (open?.[0] !== kept) continue;
        open.shift();
        if (open.length === 0) this.open.delete(id);
      }
    }
  }

  private shown({ generation, call, project, committed, batch, switches }: Kept): GenerationReceipt {
    const those = [...switches].filter(([id]) => this.options.known(id)).sort(([a], [b]) => (a < b ? -1 : 1));
    const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
    return {
      generation, call: call ?? null, project: project ?? null, committed_at: new Date(committed).toISOString(),
      complete: batch !== undefined && those.every(([, { confirmed }]) => confirmed !== undefined),
      switches: Object.fromEntries(those.map(([id, { sent, confirmed }]) => [id, { sent_at: time(sent), confirmed_at: time(confirmed), ms: confirmed === undefined ? null : confirmed - committed }])),
    };
  }
}
