// The meters of a switch: what passed each and what it dropped, as the switch counts, and which API resources it is for.
import { FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { Engine } from "../compiler/engine.ts";
import { metersNamed } from "../compiler/flows/flow-meters.ts";
import type { MeterCounts } from "../southbound/openflow/channel.ts";

export interface MeterRecord {
  readonly id: number;
  readonly unit: "pps" | "kbps";
  readonly rate: number;
  readonly burst: number;
  /** Of what came to it, dropped or not; 0 as long as the switch has not got it. */
  readonly packets: number;
  readonly bytes: number;
  readonly dropped_packets: number;
  readonly dropped_bytes: number;
  /** Rules whose flows, or their copies for the controller, pass it, as `app/rule`. */
  readonly rules: readonly string[];
  readonly resources: readonly { readonly type: string; readonly id: string }[];
}

/** Desired meters of a switch by id, with what the switch counted. */
export function metersOf(engine: Engine, id: string, counts: readonly MeterCounts[]): MeterRecord[] {
  const counted = new Map(counts.map((c) => [c.id, c]));
  const users = new Map<number, { readonly rules: Set<string>; readonly resources: Map<string, { readonly type: string; readonly id: string }> }>();
  for (const flow of engine.flowsOf(id)) {
    const meters = metersNamed(flow.slab.subarray(flow.off + FLOW_MOD_MATCH_OFFSET + flow.matchLen, flow.off + flow.len));
    if (meters.length === 0) continue;
    const { app, rule, resources } = engine.provenance(flow);
    for (const meter of meters) {
      let user = users.get(meter);
      if (user === undefined) users.set(meter, (user = { rules: new Set(), resources: new Map() }));
      user.rules.add(`${app}/${rule}`);
      for (const r of resources) user.resources.set(`${r.type}/${r.id}`, { type: r.type, id: r.id });
    }
  }
  const out: MeterRecord[] = [];
  for (const item of engine.itemsOf(id)) {
    if (item.kind !== "meter") continue;
    const { unit, rate, burst } = item.value;
    const { packets = 0, bytes = 0, droppedPackets = 0, droppedBytes = 0 } = counted.get(item.id) ?? {};
    const user = users.get(item.id);
    out.push({
      id: item.id, unit, rate, burst, packets, bytes, dropped_packets: droppedPackets, dropped_bytes: droppedBytes, rules: [...(user?.rules ?? [])].sort(), resources: [...(user?.resources.values() ?? [])],
    });
  }
  return out.sort((a, b) => a.id - b.id);
}
