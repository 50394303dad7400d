// All that a switch may do with a packet: one trace for each way in which its choices may fall.
import { trace } from "./interpreter.ts";
import type { TraceOptions } from "./passes.ts";
import type { Packet } from "./packet/packet.ts";
import type { Choice, Trace } from "./result.ts";
import type { TraceSwitch } from "./switch.ts";

export interface EveryTrace<R> {
  readonly traces: readonly Trace<R>[];
  /** False: there are more than `most`. */
  readonly complete: boolean;
}

/** `conntrack` makes a model for each, as one that counts would go on counting. */
export function everyTrace<R>(sw: TraceSwitch<R>, packet: Packet, options: Omit<TraceOptions, "choose" | "conntrack"> & { readonly conntrack?: () => TraceOptions["conntrack"]; readonly most?: number } = {}): EveryTrace<R> {
  const { conntrack, most = 1024, ...rest } = options;
  const traces: Trace<R>[] = [];
  // A path of choices made so far; where it ends the first is taken, and the others are put aside.
  const open: number[][] = [[]];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (traces.length === most) return { traces, complete: false };
    const given = path;
    let made = 0;
    const model = conntrack?.();
    const choose = (choice: Omit<Choice, "taken">): number => {
      const place = given[made++];
      if (place !== undefined) return place;
      for (let i = choice.options.length - 1; i > 0; i--) open.push([...given, i]);
      given.push(0);
      return 0;
    };
    traces.push(trace(sw, packet, { ...rest, choose, ...(model && { conntrack: model }) }));
  }
  return { traces, complete: true };
}
