// Receipts: which switches a generation concerns, and whether each has confirmed what it changed there. Whoever wants to know registers and
// is told when there is nothing left to wait for; nothing is kept for generations that nobody asks about but the switches of the latest few.
//
// A batch of the compiler may hold several commits, so what it concerns is the batch's switches: more than one write needs at times, never
// fewer. What follows from a write in commits of the controller's own (numbers that its rows claim, rows of a host's database) belongs to it.
import type { Delta, Desired } from "../compiler/desired.ts";

export interface ReceiptsOptions {
  readonly desired: Pick<Desired, "generation" | "onDelta">;
  /** Last committed generation. */
  readonly committed: () => number;
  /** The last generation whose changes are all on the switch of a chassis, 0: none. */
  readonly confirmed: (chassis: string) => number;
  readonly onConfirmed: (listener: (chassis: string) => void) => () => void;
  /** Every chassis there is. */
  readonly chassis: () => Iterable<string>;
  readonly known: (chassis: string) => boolean;
  /** Until the database of a host has what it should have; false: it has not, or is not connected. */
  readonly rowsWritten: (chassis: string) => Promise<boolean>;
  /** Of a host of which another controller is the master, which writes there: the last generation of which its database has all rows, as that one has told. undefined: this controller is. */
  readonly rowsTold: (chassis: string) => number | undefined;
  /** Whether numbers that compiled rows claim are still being drawn, and until they are. */
  readonly numbers: { readonly busy: boolean; settled(): Promise<void> };
}

/** What somebody waits for. */
export interface Receipt {
  /** Chassis that have not confirmed, in order of name; none before the generation is compiled. */
  pending(): readonly string[];
  /** Nobody waits any more. */
  end(): void;
}

/** Batches of which it is remembered whom they concerned. */
const REMEMBERED = 256;
/** Commits that follow from a commit that follows ...: beyond, it is others' work that is seen. */
const ROUNDS = 16;

class Waiting implements Receipt {
  readonly generation: number;
  /** What each chassis has to confirm. */
  readonly left = new Map<string, number>();
  /** Hosts whose database is being written: which generation's rows it shall have. */
  readonly rows = new Map<string, number>();
  /** Of these, those that this controller writes to. */
  readonly writing = new Set<string>();
  /** All of it is compiled from this generation on; undefined: not known yet. */
  until: number | undefined;
  following = false;
  rounds = 0;
  compiled = false;
  private readonly owner: Receipts;
  readonly done: () => void;

  constructor(owner: Receipts, generation: number, done: () => void) {
    this.owner = owner;
    this.generation = generation;
    this.until = generation;
    this.done = done;
  }

  pending(): readonly string[] {
    return [...new Set([...this.left.keys(), ...this.rows.keys()])].sort();
  }

  end(): void {
    this.owner.forget(this);
  }
}

export class Receipts {
  private readonly options: ReceiptsOptions;
  /** Those whose generation, or what follows from it, is still to be compiled. */
  private readonly open = new Set<Waiting>();
  private readonly byChassis = new Map<string, Set<Waiting>>();
  private readonly latest: { readonly generation: number; readonly chassis: readonly string[]; readonly rows: readonly string[] }[] = [];
  private readonly undo: readonly (() => void)[];

  constructor(options: ReceiptsOptions) {
    this.options = options;
    this.undo = [options.desired.onDelta((delta) => this.compiled(delta)), options.onConfirmed((chassis) => this.confirmed(chassis))];
  }

  stop(): void {
    for (const undo of this.undo) undo();
    this.open.clear();
    this.byChassis.clear();
  }

  /** `done` is called once, never at once, when every switch that the generation concerns has confirmed. To be ended. */
  wait(generation: number, done: () => void): Receipt {
    const waiting = new Waiting(this, generation, done);
    this.open.add(waiting);
    const { desired, chassis, confirmed } = this.options;
    if (generation <= desired.generation) {
      const batch = this.latest.find((b) => b.generation >= generation);
      const first = this.latest[0]?.generation ?? Infinity;
      // Of long ago: whoever has not confirmed it may be concerned.
      if (batch === undefined || generation < first) for (const id of chassis()) this.concern(waiting, id, Math.min(generation, desired.generation));
      else {
        for (const id of batch.chassis) if (confirmed(id) < batch.generation) this.concern(waiting, id, batch.generation);
        for (const id of batch.rows) this.follow(waiting, id, batch.generation);
      }
      queueMicrotask(() => this.settle(waiting));
    }
    return waiting;
  }

  forget(waiting: Waiting): void {
    this.open.delete(waiting);
    const hosts = waiting.pending();
    waiting.left.clear();
    waiting.rows.clear();
    for (const chassis of hosts) this.release(chassis, waiting);
  }

  private register(chassis: string, waiting: Waiting): void {
    let those = this.byChassis.get(chassis);
    if (those === undefined) this.byChassis.set(chassis, (those = new Set()));
    those.add(waiting);
  }

  /** If it waits for nothing of the host any more. */
  private release(chassis: string, waiting: Waiting): void {
    if (waiting.left.has(chassis) || waiting.rows.has(chassis)) return;
    const those = this.byChassis.get(chassis);
    those?.delete(waiting);
    if (those?.size === 0) this.byChassis.delete(chassis);
  }

  private concern(waiting: Waiting, chassis: string, generation: number): void {
    if (!this.options.known(chassis) || this.options.confirmed(chassis) >= generation) return;
    waiting.left.set(chassis, generation);
    this.register(chassis, waiting);
  }

  private compiled(delta: Delta): void {
    const rows = [...delta.chassis].filter(([, change]) => change.rowsChanged).map(([id]) => id);
    const flows = [...delta.chassis].filter(([, change]) => change.add.length + change.remove.length + change.addItems.length + change.removeItems.length > 0).map(([id]) => id);
    this.latest.push({ generation: delta.generation, chassis: flows, rows });
    if (this.latest.length > REMEMBERED) this.latest.shift();
    for (const chassis of this.byChassis.keys()) if (!this.options.known(chassis)) this.confirmed(chassis);
    for (const waiting of this.open) {
      if (waiting.generation > delta.generation) continue;
      for (const chassis of flows) this.concern(waiting, chassis, delta.generation);
      for (const chassis of rows) this.follow(waiting, chassis, delta.generation);
      // Those who draw numbers hear of the batch after this.
      queueMicrotask(() => this.settle(waiting));
    }
  }

  /** A host's database is being brought in order, and what the host reports then is a commit that belongs to it. */
  private follow(waiting: Waiting, chassis: string, generation: number): void {
    waiting.rows.set(chassis, generation);
    this.register(chassis, waiting);
    this.rowsOf(waiting, chassis);
  }

  /** Whether a host's database has the rows by now. Who writes there may be another than before. */
  private rowsOf(waiting: Waiting, chassis: string): void {
    const wanted = waiting.rows.get(chassis);
    if (wanted === undefined) return;
    const told = this.options.known(chassis) ? this.options.rowsTold(chassis) : Infinity;
    if (told !== undefined) {
      // What the host reported then is in what its master has told.
      if (told >= wanted) this.rowsThere(waiting, chassis, told === Infinity ? 0 : told);
      return;
    }
    if (waiting.writing.has(chassis)) return;
    waiting.writing.add(chassis);
    void this.options.rowsWritten(chassis).then((written) => {
      waiting.writing.delete(chassis);
      if (this.options.rowsTold(chassis) !== undefined) this.rowsOf(waiting, chassis);
      else if (written) this.rowsThere(waiting, chassis, this.options.committed());
    });
  }

  /** `until`: the last generation of what the host reported because of them. */
  private rowsThere(waiting: Waiting, chassis: string, until: number): void {
    if (!waiting.rows.delete(chassis)) return;
    this.release(chassis, waiting);
    if (waiting.until !== undefined) waiting.until = Math.max(waiting.until, until);
    // Those who draw numbers hear of the batch after this.
    queueMicrotask(() => this.settle(waiting));
  }

  /** Whether all that it waits for is compiled, and then whether it is confirmed. */
  private settle(waiting: Waiting): void {
    if (!this.open.has(waiting) && !waiting.compiled) return;
    const { desired, numbers, committed } = this.options;
    if (waiting.following || waiting.rows.size > 0 || desired.generation < (waiting.until ?? Infinity)) return;
    if (numbers.busy && waiting.rounds < ROUNDS) {
      waiting.following = true;
      waiting.rounds++;
      void numbers.settled().then(() => {
        waiting.following = false;
        waiting.until = committed();
        this.settle(waiting);
      });
      return;
    }
    waiting.compiled = true;
    this.open.delete(waiting);
    if (waiting.left.size === 0) this.finish(waiting);
  }

  private confirmed(chassis: string): void {
    const those = this.byChassis.get(chassis);
    if (those === undefined) return;
    const generation = this.options.known(chassis) ? this.options.confirmed(chassis) : Infinity;
    for (const waiting of [...those]) {
      const wanted = waiting.left.get(chassis);
      if (wanted !== undefined && wanted <= generation) waiting.left.delete(chassis);
      this.rowsOf(waiting, chassis);
      this.release(chassis, waiting);
      if (waiting.compiled && waiting.left.size === 0) this.finish(waiting);
    }
  }

  private finish(waiting: Waiting): void {
    waiting.compiled = false;
    waiting.done();
  }
}
