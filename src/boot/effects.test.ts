// Packets that an app sends when a flow of its own has arrived: out of an OpenFlow port as they are, or into a stage as actions.
import { describe, expect, test } from "vitest";
import { definePipeline, type App, type ConntrackFlush, type PacketOut, type StageOut } from "#app";
import { FlowWriter } from "../pipeline/flow-writer.ts";
import { Layout } from "../pipeline/layout.ts";
import { packetOutActions } from "../pipeline/packet-out.ts";
import { hookGuard } from "../lib/hook-guard.ts";
import { Layer } from "../model/rows.ts";
import { FLOW_MOD_MATCH_OFFSET, ports } from "node-openflow";
import { flowEffects } from "./effects.ts";

const data = Buffer.alloc(60);
let answer: readonly (PacketOut | StageOut)[] = [];
let forgotten: unknown = [];
const app: App = {
  name: "a", about: "", pipeline: definePipeline({ registers: {}, tables: { here: { stage: "forward", miss: "drop", about: "", match: ["reg:net"] } } }),
  effects: { here: { confirmed: ({ chassis, match }) => answer.map((out) => ({ ...out, chassis: `${chassis} ${String(match["reg:net"])}` })), withdrawn: () => forgotten as ConntrackFlush[] } },
};
const layout = new Layout([app]);
const complaints: object[] = [];
/** A guard names a failure that lasts once: each test has its own. */
const fresh = (): ReturnType<typeof flowEffects> => flowEffects([app], layout, new Layer(), hookGuard({ error: (fields: object): void => void complaints.push(fields) }));
const buf = Buffer.alloc(256);
new FlowWriter(layout).write(buf, 0, layout.table("here"), { priority: 5, match: { "reg:net": 7 }, actions: [] }, 0, 0);
const sent = (...outs: (PacketOut | StageOut)[]): readonly object[] => {
  answer = outs;
  return fresh().packets("hv1", { table: layout.table("here").id, priority: 5, buf, matchOff: FLOW_MOD_MATCH_OFFSET });
};

describe("packets of a flow that is confirmed", () => {
  test("out of a port, and into a stage", () => {
    const into: StageOut = { chassis: "", stage: "forward", registers: { net: 7 }, data };
    expect(sent({ chassis: "", outPort: 3, data }, into, { ...into, inPort: 4 })).toEqual([
      { chassis: "hv1 7", outPort: 3, data }, { chassis: "hv1 7", inPort: ports.LOCAL, actions: packetOutActions(layout, "a", into), data }, { chassis: "hv1 7", inPort: 4, actions: packetOutActions(layout, "a", into), data },
    ]);
    expect(complaints).toEqual([]);
  });

  test("one that cannot be sent is named, and nothing is sent", () => {
    expect(sent({ chassis: "", stage: "forward", registers: { nothing: 1 }, data })).toEqual([]);
    expect(complaints).toMatchObject([{ app: "a", hook: "confirmed", err: { message: "no app declares a register nothing" } }]);
  });

  test.each<[string, object]>([
    ["a port that is none", { outPort: 1.5, data }],
    ["no port", { data }],
    ["more than a message", { outPort: 3, data: Buffer.alloc(70_000) }],
    ["no data into a stage", { stage: "forward", registers: {} }],
    ["a port in by that is none", { stage: "forward", registers: {}, inPort: -1, data }],
  ])("%s: nothing is sent, and the app is named", (_, out) => {
    complaints.length = 0;
    expect(sent(out as PacketOut)).toEqual([]);
    expect(complaints).toMatchObject([{ app: "a", hook: "confirmed" }]);
  });
});

test.each<[string, unknown]>([
  ["a zone that is none", [{ zone: 70_000 }]],
  ["no zone", [{}]],
  ["an address that is none", [{ zone: 5, src: "10.0.0.256" }]],
  ["a protocol that is none", [{ zone: 5, protocol: 256 }]],
  ["a port that is none", [{ zone: 5, protocol: 6, srcPort: 65_536 }]],
  ["nothing in a list", [null]],
  ["no list", "all"],
])("connections to forget with %s: none are, the app is named, and the flow goes all the same", (_, flushes) => {
  complaints.length = 0;
  forgotten = flushes;
  expect(fresh().flushes("hv1", { table: layout.table("here").id, priority: 5, buf, matchOff: FLOW_MOD_MATCH_OFFSET })).toEqual([]);
  expect(complaints).toMatchObject([{ app: "a", hook: "withdrawn" }]);
});
