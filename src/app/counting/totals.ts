// What the flows of something have counted together, since they were first looked at: what switches say now, and what flows that are no more, or that
// begin from 0 again, had last. Switches keep their counts over restarts of the controller, so only the second part has to be kept.
import type { FlowCount, FlowCounts } from "./flow-counts.ts";

/** Of what lasts, as many are remembered that are not there. */
const AWAY = 8;

/** What is stored of it. */
export interface Counted {
  readonly packets: number;
  readonly bytes: number;
  /** Of these, what flows have counted that are no more. */
  readonly gone_packets: number;
  readonly gone_bytes: number;
  /** RFC 3339; null: not seen yet. */
  readonly last_hit: string | null;
}
const NOTHING: Counted = { packets: 0, bytes: 0, gone_packets: 0, gone_bytes: 0, last_hit: null };

const idOf = ({ chassis, key }: FlowCount): string => `${chassis} ${key}`;

export class Totals {
  /** Whether all switches have said last time. */
  complete = false;
  private counted: Counted;
  private readonly live = new Map<string, FlowCount>();
  /** Of what lasts and is not there, what it had: that is counted among what is no more, until it is there again. */
  private readonly away: Map<string, FlowCount>;
  /** Whether all have said once: flows that come from then on are new. */
  private known: boolean;

  /** `fresh`: it was made a moment ago, so all that its flows have counted is new. `away`: what lasts of which that is among what `stored` has of what is no more. */
  constructor(stored: Counted = NOTHING, fresh = false, away: Iterable<readonly [id: string, FlowCount]> = []) {
    this.known = fresh;
    const { packets, bytes, gone_packets, gone_bytes, last_hit } = stored;
    this.counted = { packets, bytes, gone_packets, gone_bytes, last_hit };
    this.away = new Map(away);
  }

  /** These, where another controller has seen more go: what has ended by now is among that, and what lasts of it may be there again. */
  after(stored: Counted, { ended = [] }: FlowCounts): Totals {
    return new Totals(stored, false, [...this.away, ...ended.flatMap((flow) => (flow.lasting === true ? [[idOf(flow), flow] as const] : []))]);
  }

  /** Those that are remembered. */
  get flows(): number {
    return this.live.size;
  }

  get now(): Counted {
    return this.counted;
  }

  /**
   * Tells what was counted since the look before. Of a host that has not said since this began it is not known what of it was counted meanwhile, and what
   * before: such is in the totals alone.
   */
  look({ at, flows, ended = [], silent, refused = false }: FlowCounts): { readonly packets: number; readonly bytes: number } {
    const grown = { packets: 0, bytes: 0 };
    if (refused) {
      this.complete = false;
      return grown;
    }
    let { packets, bytes, gone_packets, gone_bytes, last_hit } = this.counted;
    const give = (seen: FlowCount, sign = 1): void => {
      gone_packets += sign * seen.packets;
      gone_bytes += sign * seen.bytes;
    };
    const end = (id: string, seen: FlowCount): void => {
      give(seen);
      this.live.delete(id);
      if (seen.lasting !== true) return;
      this.away.set(id, seen);
      for (const oldest of this.away.keys()) if (this.away.size > AWAY) this.away.delete(oldest);
    };
    const there = new Set<string>();
    const see = (flow: FlowCount): string => {
      const id = idOf(flow);
      let before = this.live.get(id);
      const was = this.away.get(id);
      if (before === undefined && was !== undefined && flow.packets >= was.packets && flow.bytes >= was.bytes) {
        give(was, -1);
        before = was;
      }
      this.away.delete(id);
      // Not by its age: a flow that is written again begins anew, yet Open vSwitch leaves it the counts that it had.
      const again = before !== undefined && flow.packets < before.packets;
      if (again) give(before!);
      if (before !== undefined || this.known) {
        grown.packets += flow.packets - (again ? 0 : (before?.packets ?? 0));
        grown.bytes += Math.max(0, flow.bytes - (again ? 0 : (before?.bytes ?? 0)));
      }
      this.live.set(id, flow);
      return id;
    };
    for (const flow of ended) end(see(flow), flow);
    for (const flow of flows) there.add(see(flow));
    const unsaid = new Set(silent);
    for (const [id, seen] of this.live) {
      if (!there.has(id) && !unsaid.has(seen.chassis)) end(id, seen);
    }
    let [allPackets, allBytes] = [gone_packets, gone_bytes];
    for (const seen of this.live.values()) {
      allPackets += seen.packets;
      allBytes += seen.bytes;
    }
    // Of what was hit before a host's first answer it is not known when.
    if (grown.packets > 0) last_hit = at;
    this.complete = silent.length === 0;
    // Less than was said before: flows went while nobody looked. As long as a switch is silent it may be its part that lacks.
    if (this.complete) {
      gone_packets += Math.max(0, packets - allPackets);
      gone_bytes += Math.max(0, bytes - allBytes);
    }
    packets = Math.max(packets, allPackets);
    bytes = Math.max(bytes, allBytes);
    this.counted = { packets, bytes, gone_packets, gone_bytes, last_hit };
    this.known ||= this.complete;
    return grown;
  }
}
