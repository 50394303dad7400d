// What the flows of something have counted together, since they were first looked at: what switches say now, and what flows that are no more, or that
// begin from 0 again, had last. Switches keep their counts over restarts of the controller, so only the second part has to be kept.
import { momentOf } from "../../lib/clock.ts";
import type { FlowCount, FlowCounts } from "./flow-counts.ts";

/** Of what lasts, as many are remembered that are not there. */
const AWAY = 8;
/** Flows that went unseen, of which it may still be told what they had in the end, and for how many milliseconds: a switch that takes longer to take off a flow is let go. */
const LEFT = 256;
const LEFT_MS = 600_000;

/** What is stored of it. */
export interface Counted {
  readonly packets: number;
  readonly bytes: number;
  /** Of these, what flows have counted that are no more. */
  readonly gone_packets: number;
  readonly gone_bytes: number;
  /** Of these, what is of something that lasts, and may be there again. Absent: nothing, or an earlier version stored it. */
  readonly away?: readonly Away[];
  /** RFC 3339; null: not seen yet. */
  readonly last_hit: string | null;
}
/** What something that lasts had when it was there last. */
interface Away extends Pick<FlowCount, "packets" | "bytes" | "device"> {
  readonly id: string;
}
const NOTHING: Counted = { packets: 0, bytes: 0, gone_packets: 0, gone_bytes: 0, last_hit: null };

type Seen = Pick<FlowCount, "packets" | "bytes" | "lasting" | "device">;
/** How often what was away before it started had begun anew a controller does not know. */
const isSame = (was: Seen, now: FlowCount): boolean => (was.lasting === undefined ? was.device !== undefined && was.device === now.device : was.lasting === now.lasting) && now.packets >= was.packets && now.bytes >= was.bytes;
const idOf = ({ chassis, key }: FlowCount): string => `${chassis} ${key}`;

export class Totals {
  /** Whether all switches have said last time. */
  complete = false;
  private counted: Counted;
  private readonly live = new Map<string, FlowCount>();
  /** Of what lasts and is not there, what it had: that is counted among what is no more, until it is there again. */
  private readonly away = new Map<string, Seen>();
  /** Flows that were there at the look before and not at the last one: what they had. */
  private readonly left = new Map<string, { readonly seen: FlowCount; readonly at: number }>();
  /** More of them went than are remembered: until then (milliseconds since 1970) what was not seen at the look before may be counted already. */
  private crowdedUntil = -Infinity;
  /** Whether all have said once: flows that come from then on are new. */
  private known: boolean;

  /**
   * `fresh`: it was made a moment ago, so all that its flows have counted is new. `ended`: what has ended by now, and is among what `stored` has of what is no more:
   * another controller has seen it go.
   */
  constructor(stored: Counted = NOTHING, fresh = false, ended: readonly FlowCount[] = []) {
    this.known = fresh;
    const { packets, bytes, gone_packets, gone_bytes, away = [], last_hit } = stored;
    this.counted = { packets, bytes, gone_packets, gone_bytes, ...(away.length > 0 && { away }), last_hit };
    for (const one of away) this.away.set(one.id, one);
    for (const flow of ended) if (flow.lasting !== undefined) this.away.set(idOf(flow), flow);
  }

  /** Those that are remembered. */
  get flows(): number {
    return this.live.size;
  }

  get now(): Counted {
    return this.counted;
  }

  /** Packets of what is no more, once it is known that these have ended. */
  goneWith(ended: readonly FlowCount[] = []): number {
    return ended.reduce((sum, flow) => sum + (this.live.has(idOf(flow)) ? flow.packets : 0), this.counted.gone_packets);
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
    const give = (seen: Seen, sign = 1): void => {
      gone_packets += sign * seen.packets;
      gone_bytes += sign * seen.bytes;
    };
    const end = (id: string, seen: FlowCount): void => {
      give(seen);
      this.live.delete(id);
      if (seen.lasting === undefined) return;
      this.away.set(id, seen);
      for (const oldest of this.away.keys()) if (this.away.size > AWAY) this.away.delete(oldest);
    };
    const there = new Set<string>();
    const see = (flow: FlowCount): string => {
      const id = idOf(flow);
      let before: Seen | undefined = this.live.get(id);
      // Not by its age: a flow that is written again begins anew, yet Open vSwitch leaves it the counts that it had.
      const again = before !== undefined && (flow.packets < before.packets || flow.lasting !== before.lasting);
      const was = this.away.get(id);
      if (before === undefined && was !== undefined && isSame(was, flow)) {
        give(was, -1);
        before = was;
      }
      this.away.delete(id);
      if (again) give(before!);
      if (before !== undefined || this.known) {
        grown.packets += flow.packets - (again ? 0 : (before?.packets ?? 0));
        grown.bytes += Math.max(0, flow.bytes - (again ? 0 : (before?.bytes ?? 0)));
      }
      this.live.set(id, flow);
      return id;
    };
    const now = momentOf(at);
    for (const flow of ended) {
      const id = idOf(flow);
      const left = this.left.get(id)?.seen;
      this.left.delete(id);
      if (this.live.has(id) || flow.lasting !== undefined) end(see(flow), flow);
      else if (left !== undefined) {
        // A look did not find it any more before it was told what it had in the end: what it had before is counted already.
        const more = { packets: Math.max(0, flow.packets - left.packets), bytes: Math.max(0, flow.bytes - left.bytes) };
        give(more);
        grown.packets += more.packets;
        grown.bytes += more.bytes;
      } else if (this.known && now >= this.crowdedUntil) end(see(flow), flow);
    }
    for (const flow of flows) {
      const id = see(flow);
      there.add(id);
      this.left.delete(id);
    }
    const unsaid = new Set(silent);
    for (const [id, seen] of this.live) {
      if (there.has(id) || unsaid.has(seen.chassis)) continue;
      end(id, seen);
      if (seen.lasting === undefined) this.left.set(id, { seen, at: now });
    }
    for (const [id, { at: since }] of this.left) {
      const crowded = this.left.size > LEFT;
      if (!crowded && now - since < LEFT_MS) break;
      this.left.delete(id);
      if (crowded) this.crowdedUntil = now + LEFT_MS;
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
    const away = Array.from(this.away, ([id, { packets, bytes, device }]): Away => ({ id, packets, bytes, ...(device !== undefined && { device }) }));
    this.counted = { packets, bytes, gone_packets, gone_bytes, ...(away.length > 0 && { away }), last_hit };
    this.known ||= this.complete;
    return grown;
  }
}
