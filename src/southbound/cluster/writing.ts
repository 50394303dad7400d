// Writing to a host's database: each transaction has its time, and of several controllers only the host's master writes what is its own. The database itself
// holds to that, by a lock that the last who wants it gets.
import { assert, comment, OvsdbError, type Operation, type OvsdbSession, type Replica } from "ovsdb-client";
import type { Clock } from "../../lib/clock.ts";
import { limits } from "../bounds/limits.ts";
import type { ClusterPort } from "./port.ts";

/** By which a database takes changes of one controller alone (RFC 7047, 4.1.8 and 5.2.10): of the one that took the lock last. */
const LOCK = "axion_master";
/** A transaction that has to be repeated within this long had no effect. */
const NO_EFFECT_MS = 1000;

export interface WritingOptions {
  readonly session: OvsdbSession;
  readonly replica: Replica;
  readonly clock: Clock;
  /** Of several controllers: which of them writes. undefined: there is no other. */
  readonly cluster: ClusterPort | undefined;
  /** Nothing is written to databases. */
  readonly shadow: boolean;
  /** Until what others have committed by now is desired here. */
  readonly known: (chassis: string) => Promise<void> | undefined;
  /** Another controller has the lock of a database that this one wrote to. */
  readonly lostLock: (() => void) | undefined;
  /** Another one has written, or is about to. */
  readonly stolen: () => void;
  /** Who writes is another than before: what was known of its rows may not be so any more. */
  readonly turned: (chassis: string) => void;
  /** The database has not answered a transaction in its time. */
  readonly unanswered: () => void;
}

export class Writing {
  private readonly options: WritingOptions;
  /** This controller was the master at the last comparison. */
  private acts: boolean;
  /** The term in which it knew all that others had committed until then. */
  private currentIn = 0;
  /** It has the lock, or has had it. */
  private locked = false;
  private queued = false;
  /** The last transaction, to notice one that has no effect. */
  private last = { text: "", at: -Infinity };

  constructor(options: WritingOptions) {
    this.options = options;
    this.acts = options.cluster === undefined;
    options.session.on("stolen", (lock) => {
      if (lock !== LOCK) return;
      this.locked = this.acts = false;
      options.stolen();
    });
  }

  /** Whether the chassis was looked at since who writes changed. */
  isAsItActs(chassis: string): boolean {
    const { cluster } = this.options;
    return cluster === undefined || cluster.masters(chassis) === this.acts;
  }

  /** Whether this controller is the one that writes. Who begins to looks at everything anew, as another one may have gone in the midst of something. */
  async mayAct(chassis: string): Promise<boolean> {
    const { cluster, shadow, session } = this.options;
    if (cluster === undefined) return true;
    const acts = cluster.masters(chassis);
    if (acts !== this.acts) {
      this.acts = acts;
      this.currentIn = 0;
      this.last = { text: "", at: -Infinity };
      this.options.turned(chassis);
    }
    if (acts && !this.locked && !shadow) {
      // Whom it was taken from has a place in its queue, which is in the way of taking it back.
      const before = this.queued ? session.unlock(LOCK) : undefined;
      this.queued = true;
      await this.answered(Promise.all([before, session.steal(LOCK)]));
      this.locked = true;
    }
    const { term } = cluster;
    if (acts && this.currentIn !== term) {
      await this.options.known(chassis);
      this.currentIn = term;
    }
    // It may have been long ago that this was asked.
    return acts && cluster.masters(chassis);
  }

  /** The same as it is written: by the master alone. */
  fenced(operations: readonly Operation[]): readonly Operation[] {
    return this.options.cluster === undefined ? operations : [assert(LOCK), ...operations];
  }

  /** What only the master may write. @throws OvsdbError, which `lost` knows when another one is that by now */
  async write(operations: readonly Operation[], why: string): Promise<void> {
    await this.transact(this.fenced(operations), why);
  }

  /** What any controller may. @throws OvsdbError */
  async transact(operations: readonly Operation[], why: string): Promise<void> {
    await this.answered(this.options.replica.transact([...operations, comment(why)]));
  }

  /** Whether a transaction failed because another controller writes by now. */
  async lost(error: unknown): Promise<boolean> {
    if (!(error instanceof OvsdbError) || error.code !== "not owner") return false;
    this.options.lostLock?.();
    this.locked = false;
    // What is known here of the members may be old.
    await new Promise<void>((resolve) => void this.options.clock.setTimeout(resolve, NO_EFFECT_MS / 10));
    return true;
  }

  /** Whether the same was written a moment ago: somebody undoes it at once, or the switch does not keep it. If not, it is about to be. */
  isInVain(text: string): boolean {
    const at = this.options.clock.monotonic();
    if (text === this.last.text && at - this.last.at < NO_EFFECT_MS) return true;
    this.last = { text, at };
    return false;
  }

  /** A database that does not answer a transaction ends its session: everything else of the host would wait for it. */
  private async answered<T>(answer: Promise<T>): Promise<T> {
    const cancel = this.options.clock.setTimeout(() => this.options.unanswered(), limits.transactMs);
    try {
      return await answer;
    } finally {
      cancel();
    }
  }
}
