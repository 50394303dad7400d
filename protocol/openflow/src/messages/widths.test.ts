// What does not fit is refused, by name: every number of every recorded message, one after the other, is made negative, broken, too wide or
// no number at all. Either the encoder refuses it and says which one, or the bytes say what was asked for: no bit ends up in a neighbour.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { encodeActions, encodeLoad, encodeSetField, type Action } from "../actions/codec.ts";
import { decodeInstructions, encodeInstructionHead, encodeInstructions } from "./instructions.ts";
import { encodeFlowMod, encodeFlowModHead } from "./flow-mod.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { fieldList, fields, type FieldName } from "../match/fields.ts";
import { decodeMatch, encodeMatch } from "../match/match.ts";
import { decodeMessage, encodeMessage, type Message } from "./codec.ts";

type Path = readonly (string | number)[];
type Obj = Record<string | number, unknown>;

/** Where the numbers of a value are. */
function* numbers(value: unknown, path: Path = []): Generator<Path> {
  if (typeof value === "number" || typeof value === "bigint") yield path;
  else if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* numbers(item, [...path, i]);
  else if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) for (const key of Object.keys(value)) yield* numbers((value as Obj)[key], [...path, key]);
}
const at = (value: unknown, path: Path): unknown => path.reduce<unknown>((inner, key) => (inner as Obj | undefined)?.[key], value);
function put(value: unknown, path: Path, to: unknown): void {
  (at(value, path.slice(0, -1)) as Obj)[path.at(-1)!] = to;
}

const BAD: readonly unknown[] = [-1, -1n, 0.5, NaN, Infinity, 0x100, 0x1_0000, 0x100_0000, 0x1_0000_0000, 0x1_0000_00ff, 2 ** 53, 2n ** 64n, 2n ** 128n, "eight"];

/** What the decoder finds where `bad` was put: it, or the error that refuses it. */
function outcome(message: Message, path: Path): unknown {
  try {
    return at(decodeMessage(encodeMessage(message, 1)), path);
  } catch (error) {
    return error;
  }
}

const integer = (value: unknown): value is number | bigint => typeof value === "bigint" || Number.isInteger(value);
/** Of these Open vSwitch keeps of a mask what the field has, and so does the encoder. */
const TRIMMED = new Set<unknown>(["ip_frag", "vlan_vid", "ipv6_flabel"]);

/** What is asked for, in the spelling that it has in bytes: a value within its mask, no mask where it is full. */
function canonical(message: Message, path: Path, bad: unknown): string {
  const sibling = at(message, [...path.slice(0, -1), "mask"]);
  const match = path.at(-3) === "match";
  if (match && path.at(-1) === "value" && integer(sibling) && integer(bad)) return String(BigInt(bad) & BigInt(sibling));
  if (match && path.at(-1) === "mask" && TRIMMED.has(path.at(-2)) && integer(bad)) {
    const kept = BigInt(bad) & ((1n << BigInt(fields[path.at(-2) as FieldName].bits)) - 1n);
    return kept === 0n ? "undefined" : String(kept);
  }
  return String(bad);
}

const recorded = readFileSync(new URL("../../vectors/recorded.jsonl", import.meta.url), "utf8").trim().split("\n").map((line) => (JSON.parse(line) as { hex: string; class: string }));
const kindOf = (value: unknown, path: Path): string => path.map((key, i) => (typeof key === "number" ? "[]" : key) + (typeof key === "number" ? `:${String((at(value, path.slice(0, i + 1)) as Obj)["type"])}` : "")).join(".");

test("no number of any message ends up elsewhere than in its place", () => {
  const seen = new Set<string>();
  const wrong: string[] = [];
  for (const { hex, class: name } of recorded) {
    const bytes = Buffer.from(hex, "hex");
    let message: Message;
    try {
      message = decodeMessage(bytes);
      encodeMessage(message, 1);
    } catch {
      continue;
    }
    for (const path of numbers(message)) {
      if (path[0] === "xid" || path[0] === "version") continue;
      // delete_field names a field as a whole: its bits say nothing.
      if ((at(message, path.slice(0, -2)) as Obj | undefined)?.["type"] === "delete_field") continue;
      const kind = `${name} ${kindOf(message, path)}`;
      if (seen.has(kind)) continue;
      seen.add(kind);
      const before = at(message, path);
      for (const bad of BAD) {
        put(message, path, bad);
        const found = outcome(message, path);
        put(message, path, before);
        if (found instanceof OpenFlowError) {
          // Names the number: by its own name, its field's, or that of what holds it.
          const names = path.filter((key) => typeof key === "string");
          const field = at(message, [...path.slice(0, -1), "field"]) ?? at(message, [...path.slice(0, -1), "dst", "field"]);
          if (found.code === "OF_VALUE" && ![...names, field].some((each) => typeof each === "string" && found.message.includes(each))) wrong.push(`${kind} = ${String(bad)}: refused without a name: ${found.message}`);
        } else if (found instanceof Error) wrong.push(`${kind} = ${String(bad)}: ${found.stack!.split("\n").slice(0, 3).join(" ")}`);
        else if (String(found) !== canonical(message, path, bad)) wrong.push(`${kind} = ${String(bad)}: written as ${String(found)}`);
      }
    }
  }
  expect(seen.size).toBeGreaterThan(600);
  expect(wrong.length === 0 ? [] : [`${wrong.length} in all`, ...wrong.slice(0, 150)]).toEqual([]);
});

const buf = Buffer.alloc(4096);
const refused = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof OpenFlowError && error.code === "OF_VALUE") return error.message;
    throw error;
  }
  return "taken";
};

describe("fields", () => {
  for (const field of fieldList.filter((f) => f.bits > 0)) {
    test(`${field.name}: ${field.bits} bits`, () => {
      const wide = 1n << BigInt(field.bits);
      for (const value of [wide, -1n, -1, 0.5, NaN, ...(field.bits < 53 ? [Number(wide)] : [])]) {
        for (const run of [
          () => encodeMatch(buf, 0, { [field.name]: value }),
          () => encodeSetField(buf, 0, field.name, value, undefined),
          ...(field.maskable ? [() => encodeMatch(buf, 0, { [field.name]: { value, mask: wide - 1n } }), () => encodeSetField(buf, 0, field.name, value, 1)] : []),
          ...(field.bits > 1 ? [() => encodeSetField(buf, 0, field.name, 1, value)] : []),
        ]) expect(refused(run), String(value)).toContain(field.name);
      }
      if (field.bits > 64) return;
      for (const bits of [1, field.bits]) {
        for (const value of [1n << BigInt(bits), -1n, -1, 0.5, NaN]) expect(refused(() => encodeLoad(buf, 0, { field: field.name, ofs: 0, bits }, value as number))).toContain(field.name);
      }
    });
  }

  test("parts that a field has not", () => {
    for (const [ofs, bits] of [[-1, 1], [0, 0], [0, 33], [32, 1], [0.5, 1], [0, 1.5], [NaN, 1], [31, 2]] as const) {
      const dst = { field: "reg0", ofs, bits } as const;
      expect(refused(() => encodeLoad(buf, 0, dst, 0)), `load ${ofs} ${bits}`).toContain("reg0");
      const actions: readonly Action[] = [
        { type: "load", dst, value: 0 }, { type: "move", src: { field: "reg1", ofs: 0, bits: 32 }, dst }, { type: "move", src: dst, dst: { field: "reg1", ofs: 0, bits: 32 }, onf: true }, { type: "output_reg", src: dst },
        { type: "stack_push", field: dst }, { type: "learn", specs: [{ type: "match", src: 0, dst }] }, { type: "learn", specs: [{ type: "output", src: dst }] }, { type: "learn", result_dst: dst, specs: [] },
        { type: "ct", zone: dst }, { type: "multipath", fields: 0, basis: 0, algorithm: 0, max_link: 1, arg: 0, dst },
      ];
      for (const action of actions) expect(refused(() => encodeActions(buf, 0, [action])), `${action.type} ${ofs} ${bits}`).toContain("reg0");
    }
    // More than the six bits of its number say.
    expect(refused(() => encodeActions(buf, 0, [{ type: "output_reg", src: { field: "xxreg0", ofs: 0, bits: 65 } }]))).toContain("xxreg0");
  });

  test("a value keeps to its mask, whatever else it has", () => {
    expect(decodeMatch(buf, 0, encodeMatch(buf, 0, { reg0: { value: 0xff, mask: 0x0f } }))).toEqual({ reg0: { value: 0x0f, mask: 0x0f } });
  });
});

test("what a flow writer puts together: heads of flow-mods and of instructions", () => {
  const bad = [-1, 0.5, NaN, 2 ** 32];
  for (const value of [...bad, 0x100]) {
    expect(refused(() => encodeFlowModHead(buf, 0, value, 1, 0, 0))).toContain("table_id");
    expect(refused(() => encodeInstructionHead(buf, 0, "goto_table", 8, value))).toContain("goto_table");
    expect(refused(() => encodeInstructions(buf, 0, [{ type: "goto_table", table_id: value }]))).toContain("table_id");
  }
  for (const value of [...bad, 0x10000]) expect(refused(() => encodeFlowModHead(buf, 0, 0, value, 0, 0))).toContain("priority");
  for (const value of bad) {
    expect(refused(() => encodeFlowModHead(buf, 0, 0, 1, value, 0))).toContain("cookie");
    expect(refused(() => encodeFlowModHead(buf, 0, 0, 1, 0, value))).toContain("cookie");
    expect(refused(() => encodeInstructionHead(buf, 0, "meter", 8, value))).toContain("meter");
    for (const name of ["buffer_id", "out_port", "out_group", "flags", "idle_timeout", "hard_timeout", "priority"] as const) expect(refused(() => encodeFlowMod(buf, 0, { command: "add", match: {}, [name]: value }))).toContain(name);
    for (const name of ["cookie", "cookie_mask"] as const) {
      expect(refused(() => encodeFlowMod(buf, 0, { command: "add", match: {}, [name]: { hi: value, lo: 0 } }))).toContain(name);
      expect(refused(() => encodeFlowMod(buf, 0, { command: "add", match: {}, [name]: { hi: 0, lo: value } }))).toContain(name);
    }
  }
  expect(decodeInstructions(buf, 0, encodeInstructionHead(buf, 0, "goto_table", 8, 255))).toEqual([{ type: "goto_table", table_id: 255 }]);
  expect(fields.reg0.bits).toBe(32);
});
