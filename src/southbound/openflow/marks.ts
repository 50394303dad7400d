// What a switch was told is kept on the switch: in its bridge's external_ids the start of the controller that told it, and the
// generation. It outlives the store. A switch whose mark the store knows is made what is desired, whatever that removes: what was
// deleted while it was away is deleted. Where the store does not know the mark, or there is none, a switch that would lose much (losses.ts)
// is held: it keeps what it has, and gets nothing, for what a store that lost its rows makes anew (keys, zones, slots) may be another's
// there. It goes on when its mark turns out to be known, when nothing would be lost any more, or when an operator says so. Where its database is not
// connected it is not known which ports are plugged either: then one port that would be cut off holds the switch, until the database says more.
import type { Flow } from "../../compiler/desired.ts";
import type { Cancel, Clock } from "../../lib/clock.ts";
import type { Lineage } from "../../model/lineage.ts";
import { lossesOf, tooMuch, type Losses } from "./losses.ts";
import { turns } from "./turns.ts";

/** Of a host's database: what marks are read from and written to. */
export interface MarkedHost {
  /** The mark on its integration bridge. */
  readonly mark: string | undefined;
  /** Whether an interface on it was served by whichever controller. */
  readonly served: boolean;
  /** OpenFlow ports of interfaces that are plugged. */
  readonly plugged: ReadonlySet<number>;
  kick(): void;
}

export interface MarksOptions {
  readonly lineage: Pick<Lineage, "mark" | "has">;
  readonly hostOf: (chassis: string) => MarkedHost | undefined;
  readonly flowsOf: (chassis: string) => Iterable<Flow>;
  readonly isStatic: (cookieHi: number) => boolean;
  readonly clock: Clock;
}

interface State {
  /** It was compared, and nothing held it, in this process. */
  inOrder: boolean;
  /** It was held for a mark that the store does not know: that it would lose less by now does not end it. */
  distrusted: boolean;
  accepted: boolean;
  /** Up to where it is marked, or will be. */
  noted: number;
  mark: string | undefined;
  writtenAt: number;
  cancel: Cancel | undefined;
}

/** A mark is written no more often: what it says less than it could, a loss of the last moments may hide in. */
const MARK_PAUSE_MS = 2000;

export class Marks {
  private readonly options: MarksOptions;
  private readonly states = new Map<string, State>();

  constructor(options: MarksOptions) {
    this.options = options;
  }

  private of(chassis: string): State {
    let state = this.states.get(chassis);
    if (state === undefined) this.states.set(chassis, (state = { inOrder: false, distrusted: false, accepted: false, noted: 0, mark: undefined, writtenAt: -Infinity, cancel: undefined }));
    return state;
  }

  /** Why a switch with these flows (OFPMP_FLOW replies) must not be changed; undefined: it may, or `current` became false meanwhile. */
  async judge(chassis: string, parts: readonly Buffer[], current: () => boolean): Promise<string | undefined> {
    const { hostOf, flowsOf, isStatic, clock } = this.options;
    const state = this.of(chassis);
    const host = hostOf(chassis);
    let text: string | undefined;
    if (!this.isTrusted(chassis)) {
      const losses = await lossesOf(parts, flowsOf(chassis), { plugged: host?.plugged, isStatic, yieldTurn: turns(clock, current) });
      if (losses === undefined) return undefined;
      if (host === undefined && hostOf(chassis) !== undefined) return this.judge(chassis, parts, current);
      const lost = state.distrusted ? losses.going + losses.cutOff > 0 : tooMuch(losses, host !== undefined);
      if (lost && !this.isTrusted(chassis)) text = reason(chassis, host, losses);
    }
    if (text === undefined) state.distrusted = false;
    else if (host !== undefined) state.distrusted = true;
    const before = state.inOrder;
    state.inOrder = text === undefined;
    if (state.inOrder && !before) hostOf(chassis)?.kick();
    return text;
  }

  /** Whether the switch is made what is desired, whatever it loses. */
  private isTrusted(chassis: string): boolean {
    return this.of(chassis).accepted || this.isKnown(this.options.hostOf(chassis));
  }

  private isKnown(host: MarkedHost | undefined): boolean {
    return host?.mark !== undefined && this.options.lineage.has(host.mark);
  }

  /** Whether what is ours in the host's database is left as it is: until its switch is known not to be held, if there is reason to ask. */
  holdsRows(chassis: string, host: MarkedHost): boolean {
    if (this.states.get(chassis)?.inOrder === true) return false;
    return host.mark === undefined ? host.served : !this.isKnown(host);
  }

  /** An operator says that what goes may go; it counts until the switch is marked. */
  accept(chassis: string): void {
    this.of(chassis).accepted = true;
  }

  /** A switch has everything up to `generation`, and was told something last at `told`; 0: nothing. */
  confirmed(chassis: string, generation: number, told: number): void {
    const state = this.of(chassis);
    const host = this.options.hostOf(chassis);
    if (!state.inOrder || host === undefined || (told <= state.noted && this.isKnown(host))) return;
    state.noted = Math.max(told, state.noted);
    state.accepted = false;
    const mark = (): void => {
      state.cancel = undefined;
      state.writtenAt = this.options.clock.monotonic();
      state.mark = this.options.lineage.mark(Math.max(generation, state.noted));
      this.options.hostOf(chassis)?.kick();
    };
    const wait = state.writtenAt + MARK_PAUSE_MS - this.options.clock.monotonic();
    if (wait <= 0) mark();
    else state.cancel ??= this.options.clock.setTimeout(mark, wait);
  }

  /** What the host's bridge is to be marked with; undefined: as it is. */
  markFor(chassis: string): string | undefined {
    return this.states.get(chassis)?.mark;
  }

  forget(chassis: string): void {
    this.states.get(chassis)?.cancel?.();
    this.states.delete(chassis);
  }

  stop(): void {
    for (const { cancel } of this.states.values()) cancel?.();
  }
}

function reason(chassis: string, host: MarkedHost | undefined, { flows, going, ports, cutOff }: Losses): string {
  const why =
    host === undefined ? "its database is not connected, which would say whether the store knows of that"
    : host.mark === undefined ? "nothing on it says that this store told it so"
    : `the store is not the one that told it so, or has lost changes that it confirmed (${host.mark.slice(0, 64)})`;
  return `${going} of ${flows} flows of ${chassis}, and ${cutOff} of its ${ports} ${host === undefined ? "ports" : "plugged ports that are served"}, are of nothing that is stored: ${why}`;
}
