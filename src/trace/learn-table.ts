// Puts what packets taught into the flows of a switch, for the packets after them.
import { TraceFlow } from "./flow.ts";
import type { LearnedFlow } from "./learn.ts";
import type { TraceSwitch } from "./switch.ts";

/** As if learned now; time-outs do not run. @returns false when the limit of its learn action is reached */
export function applyLearned<R>(sw: TraceSwitch<R>, learned: LearnedFlow, ref: R): boolean {
  const flow = new TraceFlow<R>({ ...learned, ref });
  const old = sw.add(flow);
  if (learned.limit === 0 || old !== undefined) return true;
  let count = 0;
  for (const other of sw.table(learned.table)!) if (other.cookie === learned.cookie) count++;
  if (count <= learned.limit) return true;
  sw.remove(flow);
  return false;
}
