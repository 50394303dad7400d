import { describe, expect, it } from "vitest";
import { definePipeline, type StageOut } from "#app";
import { Layout } from "./layout.ts";
import { packetOutActions } from "./packet-out.ts";

const a = definePipeline({ registers: { own: { bits: 8, about: "" } }, tables: { forward: { stage: "forward", miss: "drop", about: "", match: [] } } });
const b = definePipeline({ registers: { other: { bits: 32, about: "" } }, tables: { acl_in: { stage: "acl_in", miss: "drop", about: "", match: [], conntrack: true } } });
const layout = new Layout([{ name: "a", about: "", pipeline: a }, { name: "b", about: "", pipeline: b }]);
const frame = (...type: number[]): Buffer => Buffer.from([...Buffer.alloc(12), ...type, ...Buffer.alloc(46)]);
const ip = frame(0x08, 0x00);
const actions = (stage: StageOut["stage"], registers: StageOut["registers"] = {}, data = ip): object[] => packetOutActions(layout, "a", { stage, registers, data });

describe("a packet into a stage", () => {
  it("has its registers loaded, and goes to the stage's first table", () => {
    const net = layout.register("net");
    expect(actions("forward", { net: 5, own: 255, nexthop: "10.0.0.1" })).toEqual([
      { type: "set_field", field: net.field, value: 5n },
      { type: "load", dst: { field: layout.register("own").field, ofs: layout.register("own").ofs, bits: 8 }, value: 255n },
      { type: "set_field", field: layout.register("nexthop").field, value: 0x0a000001n },
      { type: "resubmit", table: layout.table("forward").id },
    ]);
  });

  it("passes conntrack where the stage begins with it; what is not IP goes on behind", () => {
    const zone = layout.register("ct_zone");
    const ct = { type: "ct", zone: { field: zone.field, ofs: zone.ofs, bits: 16 }, table: layout.table("acl_in").id };
    for (const data of [ip, frame(0x86, 0xdd), frame(0x81, 0x00, 0, 5, 0x08, 0x00), frame(0x88, 0xa8, 0, 5, 0x81, 0x00, 0, 5, 0x86, 0xdd)]) expect(actions("acl_in", { ct_zone: 9 }, data).at(-1)).toEqual(ct);
    // There is no later stage here: out of the port that out_port holds.
    expect(actions("acl_in", {}, frame(0x08, 0x06)).at(-1)).toMatchObject({ type: "output_reg" });
    expect(() => actions("acl_in")).toThrow("app a sends a packet into acl_in, which begins with conntrack, without ct_zone");
  });

  it.each<[string, StageOut["registers"]]>([
    ["no app declares a register nothing", { nothing: 1 }],
    ["with register other of b", { other: 1 }],
    ["with 256 in register own of 8 bits", { own: 256 }],
    ["with -1 in register own of 8 bits", { own: -1 }],
    ["with 4294967296 in register net of 32 bits", { net: 2n ** 32n }],
    ["with text in register net, which holds no address", { net: "10.0.0.1" }],
  ])("%s", (message, registers) => expect(() => actions("forward", registers)).toThrow(message));

  it("that is cut short is no IP", () => expect(actions("acl_in", {}, Buffer.alloc(13)).at(-1)).toMatchObject({ type: "output_reg" }));
});
