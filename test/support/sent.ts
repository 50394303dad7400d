// What becomes of a packet of the controller's own at a switch, by the flows that the compiler desires there.
import { ports } from "node-openflow";
import type { StageOut } from "#app";
import { lowerPacket } from "../../src/pipeline/packet-out.ts";
import { packetOfFrame, trace, TraceSwitch, type FlowBytes, type Trace } from "../../src/trace/index.ts";
import type { Harness } from "./harness.ts";

const switches = new WeakMap<Harness, Map<string, { readonly generation: number; readonly sw: TraceSwitch<FlowBytes> }>>();

/** OpenFlow ports of its chassis, in order. */
export function leavesBy(h: Harness, app: string, out: StageOut): number[] {
  return traceOut(h, app, out).outputs.map((o) => o.port).sort((a, b) => a - b);
}

export function traceOut(h: Harness, app: string, out: StageOut): Trace<FlowBytes> {
  const lowered = lowerPacket(h.layout, app, out);
  if (!("actions" in lowered)) throw new Error(`not of a stage: ${out.stage}`);
  const packet = packetOfFrame(out.data, { metadata: { in_port: ports.CONTROLLER } });
  const { sw } = switchOf(h, out.chassis);
  // As a packet-out: its actions before every flow.
  const first = sw.add({ table: 0, priority: 0xffff, match: { in_port: ports.CONTROLLER }, instructions: [{ type: "apply_actions", actions: lowered.actions }], ref: undefined as never });
  if (first !== undefined) sw.remove(first);
  const traced = trace(sw, packet);
  if (traced.error !== undefined) throw new Error(`no way through the flows: ${traced.error.name}`);
  return traced;
}

function switchOf(h: Harness, chassis: string): { readonly generation: number; readonly sw: TraceSwitch<FlowBytes> } {
  let known = switches.get(h);
  if (known === undefined) switches.set(h, (known = new Map()));
  const { generation } = h.engine;
  let found = known.get(chassis);
  if (found?.generation !== generation) known.set(chassis, (found = { generation, sw: TraceSwitch.ofDesired(h.engine.flowsOf(chassis), h.engine.itemsOf(chassis)) }));
  return found;
}
