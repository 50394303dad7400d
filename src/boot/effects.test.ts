// Packets that an app sends when a flow of its own has arrived: out of an OpenFlow port as they are, or into a stage as actions.
import { describe, expect, test } from "vitest";
import { definePipeline, type App, type PacketOut, type StageOut } from "#app";
import { FlowWriter } from "../pipeline/flow-writer.ts";
import { Layout } from "../pipeline/layout.ts";
import { packetOutActions } from "../pipeline/packet-out.ts";
import { hookGuard } from "../lib/hook-guard.ts";
import { Layer } from "../model/rows.ts";
import { FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import { flowEffects } from "./effects.ts";

const data = Buffer.alloc(60);
let answer: readonly (PacketOut | StageOut)[] = [];
const app: App = {
  name: "a", about: "", pipeline: definePipeline({ registers: {}, tables: { here: { stage: "forward", miss: "drop", about: "", match: ["reg:net"] } } }),
  effects: { here: { confirmed: ({ chassis, match }) => answer.map((out) => ({ ...out, chassis: `${chassis} ${String(match["reg:net"])}` })) } },
};
const layout = new Layout([app]);
const complaints: object[] = [];
const effects = flowEffects([app], layout, new Layer(), hookGuard({ error: (fields: object): void => void complaints.push(fields) }));
const buf = Buffer.alloc(256);
new FlowWriter(layout).write(buf, 0, layout.table("here"), { priority: 5, match: { "reg:net": 7 }, actions: [] }, 0, 0);
const sent = (...outs: (PacketOut | StageOut)[]): readonly object[] => {
  answer = outs;
  return effects.packets("hv1", { table: layout.table("here").id, priority: 5, buf, matchOff: FLOW_MOD_MATCH_OFFSET });
};

describe("packets of a flow that is confirmed", () => {
  test("out of a port, and into a stage", () => {
    const into: StageOut = { chassis: "", stage: "forward", registers: { net: 7 }, data };
    expect(sent({ chassis: "", outPort: 3, data }, into, { ...into, inPort: 4 })).toEqual([
      { chassis: "hv1 7", outPort: 3, data }, { chassis: "hv1 7", inPort: undefined, actions: packetOutActions(layout, "a", into), data }, { chassis: "hv1 7", inPort: 4, actions: packetOutActions(layout, "a", into), data },
    ]);
    expect(complaints).toEqual([]);
  });

  test("one that cannot be sent is named, and nothing is sent", () => {
    expect(sent({ chassis: "", stage: "forward", registers: { nothing: 1 }, data })).toEqual([]);
    expect(complaints).toMatchObject([{ app: "a", hook: "confirmed", err: { message: "no app declares a register nothing" } }]);
  });
});
