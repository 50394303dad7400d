// Names to numbers, with apps made for the purpose.
import { describe, expect, test } from "vitest";
import { callStage, callTable, copy, ethType, load, next, setField, sharedRegisters, stages, toEntrance, toStage, toTable, type App, type Entrance, type FlowAction, type FlowMatch, type FlowSpec, type RegisterDecl, type TableDecl } from "#app";
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch, OpenFlowError, ports, type Instruction, type Match } from "node-openflow";
import { FlowWriter } from "./flow-writer.ts";
import { Layout, type Family } from "./layout.ts";

const MATCH = ["eth_type", "eth_dst", "reg:flag", "reg:small", "reg:secured", "reg:whole", "reg:mine", "reg:net", "reg:nexthop"] as const;
const table = (stage: TableDecl["stage"], more: Partial<TableDecl> = {}): TableDecl => ({ stage, miss: "drop", about: "", match: MATCH, ...more });

function app(name: string, tables: Record<string, TableDecl>, registers: Record<string, RegisterDecl> = {}): App {
  return { name, about: "", pipeline: { tables, registers } };
}

/** What is written for a flow of a table, decoded. */
function written(layout: Layout, name: string, spec: FlowSpec, family?: Family): { match: Match; instructions: Instruction[] } {
  const buf = Buffer.alloc(1024);
  const end = new FlowWriter(layout).write(buf, 0, layout.table(name), spec, 0, 0, family);
  const at = FLOW_MOD_MATCH_OFFSET + ((buf.readUInt16BE(FLOW_MOD_MATCH_OFFSET + 2) + 7) & ~7);
  return { match: decodeMatch(buf, FLOW_MOD_MATCH_OFFSET), instructions: decodeInstructions(buf, at, end - at) };
}

/** One flow of a table, in ovs-ofctl's words. */
function lower(layout: Layout, name: string, actions: readonly FlowAction[], match: FlowMatch = {}, more: Partial<FlowSpec> = {}): string {
  return formatInstructions(written(layout, name, { priority: 1, match, actions, ...more }).instructions);
}

/** The table-miss entries of a table, in ovs-ofctl's words. */
const misses = (layout: Layout, name: string): string[] =>
  layout.missFlows(layout.table(name)).map(({ spec, family }) => {
    const { match, instructions } = written(layout, name, spec, family);
    return `${formatMatch(match, spec.priority)} -> ${formatInstructions(instructions)}`;
  });

describe("table ids", () => {
  test("go by stage, then by app in their order, then by declaration", () => {
    const layout = new Layout([
      app("b", { b_deliver: table("deliver"), b_in: table("classify"), b_in2: table("classify") }),
      app("a", { a_in: table("classify"), a_fwd: table("forward") }),
    ]);
    expect(layout.tables.map((t) => [t.id, t.name, t.app])).toEqual([[0, "classify", "core"], [4, "b_in", "b"], [5, "b_in2", "b"], [9, "a_in", "a"], [13, "a_fwd", "a"], [17, "b_deliver", "b"]]);
    expect(layout.tableById(13)?.name).toBe("a_fwd");
    expect(layout.tableById(6)).toBeUndefined();
  });

  test("before and after say the order within a stage; what is not there is passed over, a circle is refused", () => {
    const order = (...apps: App[]): string[] => new Layout(apps).tables.slice(1).map((t) => t.name);
    expect(order(app("a", { first: table("route"), second: table("route") }), app("b", { third: table("route", { before: ["second"] }) }))).toEqual(["first", "third", "second"]);
    expect(order(app("a", { x: table("route", { after: ["y", "nowhere"] }) }), app("b", { y: table("route"), z: table("forward", { after: ["y"] }) }))).toEqual(["z", "y", "x"]);
    expect(order(app("a", { x: table("route", { last: true }), y: table("route") }), app("b", { z: table("route") }), app("c", { w: table("route", { last: true, before: ["x"] }) }))).toEqual(["y", "z", "w", "x"]);
    expect(() => order(app("a", { x: table("route", { last: true, before: ["y"] }), y: table("route") }))).toThrow("tables ask to come before and after each other: x, y");
    expect(() => order(app("a", { x: table("route", { after: ["y"] }), y: table("route", { after: ["x"] }) }))).toThrow("tables ask to come before and after each other: x, y");
  });

  test("without apps there is the core's first table", () => {
    const layout = new Layout([]);
    expect(layout.tables.map((t) => t.name)).toEqual(["classify"]);
    expect([...layout.registers.keys()].sort()).toEqual(Object.keys(sharedRegisters).sort());
  });

  test("more tables than a switch has are refused", () => {
    const tables = Object.fromEntries(Array.from({ length: 253 }, (_, i) => [`t${i}`, table("classify")]));
    expect(() => new Layout([app("a", tables)])).toThrow("254 tables are declared; a switch has 253");
  });
});

describe("registers", () => {
  const own = (bits: RegisterDecl["bits"], count: number, prefix = `r${bits}_`): Record<string, RegisterDecl> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`${prefix}${i}`, { bits, about: "" }]));

  test("never overlap, whatever is declared, and lie inside the words of a switch", () => {
    for (const [r128, r32, r16, r8, r1] of [[0, 0, 0, 0, 0], [1, 1, 1, 2, 2], [0, 4, 1, 0, 33], [1, 0, 0, 7, 1], [0, 4, 3, 2, 14]] as const) {
      const registers = { ...own(1, r1), ...own(16, r16), ...own(128, r128), ...own(8, r8), ...own(32, r32) };
      const layout = new Layout([app("a", {}, registers)]);
      const taken = new Map<number, string>();
      for (const { name, field, ofs, bits } of layout.registers.values()) {
        const [, wide, number] = /^(xx)?reg(\d+)$/.exec(field) ?? [field, undefined, "16"]; // metadata follows the words
        const first = wide === undefined ? 32 * Number(number) + ofs : 128 * Number(number);
        if (wide === undefined) expect((ofs % 32) + bits, name).toBeLessThanOrEqual(32);
        for (let bit = first; bit < first + bits; bit++) {
          expect(taken.get(bit), `bit ${bit} of ${name}`).toBeUndefined();
          expect(bit).toBeLessThan(576);
          taken.set(bit, name);
        }
      }
      expect(layout.registers.size).toBe(Object.keys(registers).length + Object.keys(sharedRegisters).length);
    }
  });

  test("that do not fit are refused, at the exact word", () => {
    // Shared: four words and one wide one, four of 16 bits and three of 1 in three words more; metadata has two.
    const room = 16 + 2 - 4 - (4 + 3);
    expect(() => new Layout([app("a", {}, own(32, room))])).not.toThrow();
    expect(() => new Layout([app("a", {}, own(32, room + 1))])).toThrow(/need 15 words and 1 wide ones; a switch has 16 words and 2 of metadata/);
  });

  test("declared twice, or by the core as well, name both owners", () => {
    const mine = { policy: { bits: 32, about: "" } } as const;
    expect(() => new Layout([app("a", {}, mine), app("b", {}, mine)])).toThrow("register policy is declared by a and by b");
    expect(() => new Layout([app("a", {}, { net: { bits: 32, about: "" } })])).toThrow("register net is declared by core and by a");
  });

  test("small ones are matched and loaded by their bits, several of one word together", () => {
    const layout = new Layout([app("a", { t: table("classify") }, { flag: { bits: 1, about: "" }, small: { bits: 8, about: "" }, whole: { bits: 32, about: "" } })]);
    const match = written(layout, "t", { priority: 1, match: { "reg:flag": 1, "reg:small": 0xab, "reg:secured": 0, "reg:whole": 7 }, actions: [] }).match as Record<string, number | { value: number; mask: number }>;
    const bits = (name: string): number | undefined => {
      const { field, ofs, bits: n } = layout.register(name);
      const word = match[field];
      if (word === undefined) return undefined;
      if (typeof word === "number") return word;
      expect((word.mask >>> ofs) & (2 ** n - 1), `mask of ${name}`).toBe(2 ** n - 1);
      return (word.value >>> ofs) & (2 ** n - 1);
    };
    expect([bits("flag"), bits("small"), bits("secured"), bits("whole")]).toEqual([1, 0xab, 0, 7]);
    let mask = 0;
    for (const word of Object.values(match)) if (typeof word !== "number") mask += word.mask.toString(2).replaceAll("0", "").length;
    expect(mask, "no other bit is matched").toBe(10);
    const { field, ofs } = layout.register("small");
    expect(lower(layout, "t", [load("small", 3)])).toBe(`load:0x3->NXM_NX_${field.toUpperCase()}[${ofs}..${ofs + 7}]`);
  });
});

describe("transitions", () => {
  const layout = new Layout([
    app("a", { first: table("classify", { miss: "next" }), side: table("classify", { aside: true }), second: table("classify"), fwd: table("forward", { miss: "sibling" }), late: table("deliver") }),
    app("b", { fwd2: table("forward", { miss: "sibling" }), guard: table("acl_in", { conntrack: true }), other: table("acl_in", { aside: true }) }),
  ]);
  const id = (name: string): number => layout.table(name).id;

  test("next: the next table that is not aside, of whichever app", () => {
    expect(lower(layout, "first", [next])).toBe(`goto_table:${id("second")}`);
    expect(lower(layout, "side", [next])).toBe(`goto_table:${id("second")}`);
    expect(lower(layout, "fwd", [next])).toBe(`goto_table:${id("fwd2")}`);
  });

  test("next after the last table is out of the chosen port", () => {
    const { field, ofs, bits } = layout.register("out_port");
    expect(lower(layout, "late", [next])).toBe(`output:NXM_NX_${field.toUpperCase()}[${ofs}..${ofs + bits - 1}]`);
  });

  test("stage: its first table, or that of the next stage that has one", () => {
    expect(lower(layout, "first", [toStage("forward")])).toBe(`goto_table:${id("fwd")}`);
    expect(lower(layout, "first", [toStage("admission")])).toBe(`goto_table:${id("fwd")}`);
    expect(lower(layout, "fwd", [toStage("deliver")])).toBe(`goto_table:${id("late")}`);
  });

  test("back, or not as the last action, is a resubmit: goto_table only leads on, and last", () => {
    expect(lower(layout, "fwd", [toStage("classify")])).toBe(`resubmit(,0)`);
    expect(lower(layout, "first", [toStage("forward"), load("net", 1)])).toMatch(new RegExp(`^resubmit\\(,${id("fwd")}\\),`));
  });

  test("call: there and back; a stage that nobody has is nothing to call", () => {
    expect(lower(layout, "first", [callTable("side"), next])).toBe(`resubmit(,${id("side")}),goto_table:${id("second")}`);
    expect(lower(layout, "first", [callStage("forward")])).toBe(`resubmit(,${id("fwd")})`);
    expect(written(layout, "first", { priority: 1, match: {}, actions: [callStage("flood")] }).instructions).toEqual([]);
  });

  test("a table aside is reached by its own app only, by name", () => {
    expect(lower(layout, "first", [toTable("side")])).toBe(`goto_table:${id("side")}`);
    expect(() => lower(layout, "fwd2", [toTable("side")])).toThrow("table fwd2 of b hands packets to side of a: go by stage");
    expect(() => lower(layout, "first", [callTable("guard")])).toThrow("table first of a hands packets to guard of b: go by stage");
    expect(() => lower(layout, "first", [toEntrance("guard" as Entrance)])).toThrow("table first of a hands packets to guard of b, which does not require a");
    expect(() => lower(layout, "first", [toTable("nowhere")])).toThrow("no app declares a table nowhere");
  });

  test("into a conntrack table: IP goes through conntrack, other packets skip the stage, unknown ones are a mistake", () => {
    const zone = layout.register("ct_zone");
    const ct = `ct(table=${id("guard")},zone=NXM_NX_${zone.field.toUpperCase()}[${zone.ofs}..${zone.ofs + 15}])`;
    expect(lower(layout, "fwd2", [toStage("acl_in")], { eth_type: ethType.ip })).toBe(ct);
    expect(lower(layout, "fwd2", [toStage("acl_in")], { eth_type: ethType.ipv6 })).toBe(ct);
    expect(lower(layout, "fwd2", [toStage("acl_in")], { eth_type: ethType.arp })).toBe(`goto_table:${id("late")}`);
    expect(() => lower(layout, "fwd2", [toStage("acl_in")])).toThrow("a flow of table fwd2 that goes on to guard must match eth_type: conntrack takes only IP");
  });

  test("a meter comes first", () => {
    expect(lower(layout, "first", [next], {}, { meter: 4 })).toBe(`meter:4,goto_table:${id("second")}`);
  });
});

test("in_port is loaded by its 16 bits, which a switch takes, in lists inside of actions too; part of it is loaded as any field", () => {
  const layout = new Layout([app("a", { t: table("classify") })]);
  const to = (value: number): string => lower(layout, "t", [setField("in_port", value)]);
  expect([to(0), to(7), to(ports.LOCAL), to(ports.CONTROLLER)]).toEqual([0, 7, 0xfffe, 0xfffd].map((n) => `load:${n === 0 ? "0" : `0x${n.toString(16)}`}->NXM_OF_IN_PORT[]`));
  expect(lower(layout, "t", [{ type: "clone", actions: [setField("in_port", 0), { type: "output", port: 3 }] }])).toBe("clone(load:0->NXM_OF_IN_PORT[],output:3)");
  expect(lower(layout, "t", [{ type: "set_field", field: "in_port", value: 3, mask: 0xff }])).toBe("load:0x3->OXM_OF_IN_PORT[0..7]");
  for (const port of [0x10000, 0xfffffeff, 2 ** 32, -1, 0.5, NaN]) expect(() => to(port), String(port)).toThrow(OpenFlowError);
});

describe("table-miss entries", () => {
  const layout = new Layout([
    app("a", { in_a: table("classify", { miss: "next" }), side: table("classify", { aside: true, miss: "next" }), fwd: table("forward", { miss: "sibling" }), quiet: table("route"), out: table("acl_out", { miss: "next" }) }),
    app("b", { fwd2: table("forward", { miss: "sibling" }) }),
  ]);

  test("drop: none, a switch drops by itself", () => expect(misses(layout, "quiet")).toEqual([]));
  test("next: on to the next", () => expect(misses(layout, "in_a")).toEqual([`priority=0 -> goto_table:${layout.table("out").id}`]));
  test("sibling: on within the stage, dropped after the last", () => {
    expect(misses(layout, "fwd")).toEqual([`priority=0 -> goto_table:${layout.table("fwd2").id}`]);
    expect(misses(layout, "fwd2")).toEqual([]);
  });
  test("before a conntrack table there is one for each family", () => {
    const tracked = new Layout([app("a", { fwd: table("forward", { miss: "next" }), guard: table("acl_in", { conntrack: true }), late: table("deliver") })]);
    const [ip, ipv6, other, ...rest] = misses(tracked, "fwd");
    expect(rest).toEqual([]);
    const { id } = tracked.table("guard");
    expect(ip).toMatch(new RegExp(`^priority=1,ip -> ct\\(table=${id},`));
    expect(ipv6).toMatch(new RegExp(`^priority=1,ipv6 -> ct\\(table=${id},`));
    expect(other).toBe(`priority=0 -> goto_table:${tracked.table("late").id}`);
  });
});

describe("mistakes name the table and the app", () => {
  const layout = new Layout([
    app("a", { t: table("classify") }, { mine: { bits: 16, about: "" } }),
    app("b", { u: table("classify") }),
  ]);

  test("two apps with one table", () => {
    expect(() => new Layout([app("a", { t: table("classify") }), app("b", { t: table("forward") })])).toThrow(/table t is declared by (a and by b|b and by a)/);
  });
  test("another app's register: to match, to load, to copy", () => {
    const message = "table u of b uses register mine, which is not shared and not its own";
    expect(() => lower(layout, "u", [], { "reg:mine": 1 })).toThrow(message);
    expect(() => lower(layout, "u", [load("mine", 1)])).toThrow(message);
    expect(() => lower(layout, "u", [copy("reg:mine", "reg:net")])).toThrow(message);
    expect(() => lower(layout, "t", [load("mine", 1), copy("reg:mine", "reg:out_host")], { "reg:mine": 1 })).not.toThrow();
  });
  test("a table or register that is not there", () => {
    expect(() => layout.table("nowhere")).toThrow("no app declares a table nowhere");
    expect(() => layout.register("nothing")).toThrow("no app declares a register nothing");
  });
});

test("stages are unique, and every one can be gone to from the first table", () => {
  expect(new Set(stages.map((s) => s.name)).size).toBe(stages.length);
  const layout = new Layout([app("a", Object.fromEntries(stages.map((s) => [`t_${s.name}`, table(s.name)])))]);
  expect(layout.tables.map((t) => t.name)).toEqual(["classify", ...stages.map((s) => `t_${s.name}`)]);
  for (const s of stages.slice(1)) expect(lower(layout, "t_classify", [toStage(s.name)])).toBe(`goto_table:${layout.table(`t_${s.name}`).id}`);
});
