// Long work on the flows of a switch lets others have a turn of the event loop.
import type { Clock } from "../../lib/clock.ts";

const TURN_MS = 4;

/** Desired flows that are looked at in one step. */
export const FLOWS_A_STEP = 1024;

/** Flows after which it is looked at whether the turn is over, where each costs little. */
export const FLOWS_A_TURN = 64;

/** Asked between the steps of the work: whether to go on. False: `current` became false while others had their turn. */
export type YieldTurn = () => Promise<boolean>;

export function turns(clock: Pick<Clock, "monotonic">, current: () => boolean): YieldTurn {
  let turn = clock.monotonic();
  return async () => {
    if (clock.monotonic() - turn < TURN_MS) return true;
    await new Promise((resolve) => setImmediate(resolve));
    turn = clock.monotonic();
    return current();
  };
}
