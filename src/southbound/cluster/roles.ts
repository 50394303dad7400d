// What this controller is at each switch: its master or a slave (OpenFlow 1.3.5, 6.3.6). The switch itself makes the difference: it takes changes
// and sends packets up only for the one that it made its master in the latest term. So who was stopped, or knows less than others, harms nobody.
//
//   a session comes, or who is there changes ──> role request ──> master: the switch is compared, as after any start (Switch.attach)
//                                                            └──> slave: it is read, and nothing is sent (Switch.standBy)
import { OpenFlowError } from "node-openflow";
import type { Logger } from "pino";
import type { Cancel, Clock } from "../../lib/clock.ts";
import type { SouthboundMetrics } from "../metrics.ts";
import type { SwitchSession } from "../openflow/session.ts";
import type { ClusterPort } from "./port.ts";

export interface RolesOptions {
  readonly cluster: ClusterPort;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counted: Pick<SouthboundMetrics, "takeovers" | "fenced">;
  /** This controller is the master by this session from now on. */
  readonly master: (chassis: string, session: SwitchSession) => void;
  /** What the switch has for its master, connected now, if anybody; undefined: nobody knows. */
  readonly masterOnHost: (chassis: string) => Promise<string | null | undefined>;
  /** It is not, or not any more. */
  readonly slave: (chassis: string, session: SwitchSession) => void;
}

/** A switch takes this controller neither for its master nor for a slave. */
export interface RoleRefused {
  readonly since: Date;
  /** What the switch knows; undefined: it has not said. */
  term: bigint | undefined;
  /** Which other controller it has for its master, as its database says. */
  master: string | undefined;
}

interface State {
  readonly session: SwitchSession;
  role: "master" | "slave" | undefined;
  /** The latest term in which the switch made this controller its master. */
  claimed: number;
  settling: boolean;
  again: boolean;
  failures: number;
  cancel: Cancel | undefined;
  /** What did not succeed last: a role, and the term, if it was refused as stale; the switch is not asked the same again before its pause is over. */
  refused: { readonly role: "master" | "slave"; readonly term: number | undefined } | undefined;
  refusing: RoleRefused | undefined;
}

const AGAIN_MS = 100;
/** After a change of members or hosts, those that change masters have so long for themselves; the others are asked a few at a time. */
const STAYING_MS = 200;
const STAYING_APART_MS = 10;
const STAYING_AT_ONCE = 20;
const LONGEST_MS = 2000;

export class Roles {
  private readonly options: RolesOptions;
  private readonly byChassis = new Map<string, State>();
  /** Whose role is what it should be, in an earlier term. */
  private readonly staying = new Set<string>();
  private reclaiming: Cancel | undefined;
  private readonly undo: () => void;

  constructor(options: RolesOptions) {
    this.options = options;
    this.undo = options.cluster.onChange(() => this.changed());
  }

  /** At once where who is the master is not as before; those that stay this one's are claimed anew when there is time. */
  private changed(): void {
    for (const [chassis, state] of this.byChassis) {
      if (state.role !== undefined && state.role === this.wanted(chassis)) this.staying.add(chassis);
      else if (!this.pauses(chassis, state)) void this.settle(chassis);
    }
    if (this.staying.size > 0) this.reclaiming ??= this.options.clock.setTimeout(() => this.reclaim(), STAYING_MS);
  }

  private reclaim(): void {
    let left = STAYING_AT_ONCE;
    for (const chassis of this.staying) {
      if (left-- === 0) break;
      this.staying.delete(chassis);
      const state = this.byChassis.get(chassis);
      if (state !== undefined && !this.pauses(chassis, state)) void this.settle(chassis);
    }
    this.reclaiming = this.staying.size === 0 ? undefined : this.options.clock.setTimeout(() => this.reclaim(), STAYING_APART_MS);
  }

  /** undefined: the switch has not said yes to either. */
  of(chassis: string): "master" | "slave" | undefined {
    return this.byChassis.get(chassis)?.role;
  }

  /** Since when the switch refuses this controller's role; undefined: it does not. */
  refusing(chassis: string): RoleRefused | undefined {
    return this.byChassis.get(chassis)?.refusing;
  }

  /** Whether it is the master by this session. */
  isBy(chassis: string, session: SwitchSession): boolean {
    const state = this.byChassis.get(chassis);
    return state?.session === session && state.role === "master";
  }

  /** Switches of which this controller is the master. */
  get mastered(): number {
    let count = 0;
    for (const { role } of this.byChassis.values()) if (role === "master") count++;
    return count;
  }

  /** A session of which it is known whose switch it is. */
  enter(chassis: string, session: SwitchSession): void {
    this.byChassis.get(chassis)?.cancel?.();
    this.byChassis.set(chassis, { session, role: undefined, claimed: 0, settling: false, again: false, failures: 0, cancel: undefined, refused: undefined, refusing: undefined });
    this.options.slave(chassis, session);
    void this.settle(chassis);
  }

  leave(chassis: string, session: SwitchSession): void {
    const state = this.byChassis.get(chassis);
    if (state?.session !== session) return;
    state.cancel?.();
    this.byChassis.delete(chassis);
  }

  /**
   * The switch refuses this controller's changes, as it has another master: one that knows more, or less, of members and hosts. Whether it took
   * itself for the master; then it asks anew, of what there is by then.
   */
  deposed(chassis: string, session?: SwitchSession): boolean {
    const state = this.byChassis.get(chassis);
    if (state?.role !== "master" || (session !== undefined && session !== state.session)) return false;
    this.standBy(chassis, state);
    this.options.counted.fenced.inc({ what: "change" });
    const { cluster, log } = this.options;
    log.info({ chassis, term: cluster.term }, "the switch has another master");
    void cluster.refresh().catch((error: unknown) => log.warn({ reason: (error as Error).message }, "who the members are cannot be found out now")).then(() => this.settle(chassis));
    return true;
  }

  /** First of all nothing is changed any more. */
  private standBy(chassis: string, state: State): void {
    state.role = undefined;
    this.options.slave(chassis, state.session);
  }

  stop(): void {
    this.undo();
    this.reclaiming?.();
    for (const { cancel } of this.byChassis.values()) cancel?.();
    this.byChassis.clear();
  }

  /** Whether a pause is under way after what would be asked now has failed. */
  private pauses(chassis: string, { cancel, refused, refusing }: State): boolean {
    const { cluster } = this.options;
    if (cancel === undefined || refused?.role !== this.wanted(chassis)) return false;
    // A later term is no news as long as the switch knows one that is later still: each that is refused finds out a later one for all.
    return refused?.term === undefined || refused.term === cluster.term || (refusing?.term !== undefined && BigInt(cluster.term) < refusing.term);
  }

  private wanted(chassis: string): "master" | "slave" | undefined {
    const master = this.options.cluster.masterOf(chassis);
    return master === undefined ? undefined : master === this.options.cluster.name ? "master" : "slave";
  }

  private async settle(chassis: string): Promise<void> {
    const state = this.byChassis.get(chassis);
    if (state === undefined) return;
    if (state.settling) {
      state.again = true;
      return;
    }
    state.cancel?.();
    state.cancel = undefined;
    state.settling = true;
    let failed = false;
    let asked: { readonly role: "master" | "slave" | undefined; readonly term: number } | undefined;
    let thrown = false;
    try {
      do {
        state.again = false;
        asked = { role: this.wanted(chassis), term: this.options.cluster.term };
        failed = !(await this.step(chassis, state));
        // What was told while it was asked may come to the same question: that has its pause.
        if (failed && asked.role === this.wanted(chassis) && asked.term === this.options.cluster.term) state.again = false;
      } while (state.again && this.byChassis.get(chassis) === state);
    } catch (error) {
      failed = thrown = true;
      // A session that ends says so by itself.
      if (!state.session.closed) this.options.log.warn({ chassis, err: error }, "switch could not be asked for this controller's role");
      // One without roles is nobody's slave, and would take changes of all.
      if (error instanceof OpenFlowError && error.code === "OF_PEER_ERROR") state.session.close();
    } finally {
      state.settling = false;
    }
    if (this.byChassis.get(chassis) !== state) return;
    if (!failed) {
      state.failures = 0;
      state.refused = state.refusing = undefined;
      return;
    }
    state.refused = asked?.role && { role: asked.role, term: thrown ? undefined : asked.term };
    const ms = Math.min(LONGEST_MS, AGAIN_MS * 2 ** state.failures++);
    state.cancel = this.options.clock.setTimeout(() => void this.settle(chassis), ms);
  }

  /** Whether the switch agreed. */
  private async step(chassis: string, state: State): Promise<boolean> {
    const { cluster, log, master } = this.options;
    const masterNow = (): string | undefined => cluster.masterOf(chassis);
    const here = (): boolean => this.byChassis.get(chassis) === state && !state.session.closed;
    const { session } = state;
    // Nobody serves: who was its master goes on until somebody does.
    if (masterNow() === undefined) return true;
    if (masterNow() !== cluster.name) {
      if (state.role === "slave") return true;
      const before = state.role;
      if (before === "master") {
        this.standBy(chassis, state);
        log.info({ chassis, master: masterNow() }, "another controller is the master of the switch");
      }
      if ((await session.role("slave", BigInt(cluster.term))) === "stale") return this.stale(chassis, here);
      if (here()) state.role = "slave";
      return true;
    }
    if (state.role === "master") {
      // Whether another one was in between only the switch knows. The claim in the new term, sent with the question, ends that of who knows less and
      // may come yet.
      const later = cluster.term > state.claimed ? cluster.term : undefined;
      const [was, is] = await Promise.all([session.role("nochange"), later === undefined ? undefined : session.role("master", BigInt(later))]);
      if (!here()) return true;
      if (was === "master") {
        if (is === "stale") return this.stale(chassis, here);
        state.claimed = later ?? state.claimed;
        return true;
      }
      this.standBy(chassis, state);
      return this.stale(chassis, here);
    }
    const { term } = cluster;
    if ((await session.role("master", BigInt(term))) === "stale") return this.stale(chassis, here);
    if (!here()) return true;
    if (masterNow() !== cluster.name) {
      state.role = undefined;
      state.again = true;
      return true;
    }
    state.role = "master";
    state.claimed = term;
    log.info({ chassis, term }, "this controller is the master of the switch");
    this.options.counted.takeovers.inc();
    master(chassis, session);
    return true;
  }

  /** undefined as well when it fails, or is not answered in time: a database may never answer, and the switch is asked again all the same. */
  private soon<T>(answer: Promise<T>): Promise<T | undefined> {
    return new Promise((done) => {
      const cancel = this.options.clock.setTimeout(() => done(undefined), LONGEST_MS);
      void answer.catch(() => undefined).then((value) => {
        cancel();
        done(value);
      });
    });
  }

  /** Somebody asked the switch in a later term, or came between: what is known here of the members is old. */
  private async stale(chassis: string, here: () => boolean): Promise<false> {
    const { cluster, log } = this.options;
    this.options.counted.fenced.inc({ what: "role" });
    // Once, however often it is asked again.
    log[this.refusing(chassis) === undefined ? "info" : "debug"]({ chassis, term: cluster.term }, "the switch knows a later term than this controller, or had another master");
    await cluster.refresh().catch((error: unknown) => log.warn({ reason: (error as Error).message }, "who the members are cannot be found out now"));
    if (!here()) return false;
    const state = this.byChassis.get(chassis)!;
    state.again = false;
    const refusing = (state.refusing ??= { since: new Date(this.options.clock.now()), term: undefined, master: undefined });
    refusing.term = await state.session.latestTerm();
    // What was found out may be later now.
    if (refusing.term <= BigInt(cluster.term)) return false;
    const other = await this.soon(this.options.masterOnHost(chassis));
    refusing.master = other ?? undefined;
    if (other === null) await cluster.outrun(chassis, refusing.term).catch((error: unknown) => log.warn({ chassis, reason: (error as Error).message }, "terms cannot be raised now"));
    return false;
  }
}
