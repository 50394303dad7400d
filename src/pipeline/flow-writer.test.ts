// Registers share words: whatever a flow says of one, its neighbours keep what they have.
import { describe, expect, test } from "vitest";
import type { App, FlowSpec } from "#app";
import { OpenFlowError } from "node-openflow";
import { FlowWriter } from "./flow-writer.ts";
import { Layout } from "./layout.ts";

const app: App = {
  name: "widths", about: "registers of every width", requires: [],
  pipeline: {
    tables: { first: { stage: "services", miss: "next", about: "the table", match: ["reg:flag", "reg:byte", "reg:half", "reg:word", "reg:wide", "eth_type", "ip_proto", "tcp_dst"] } },
    registers: {
      flag: { bits: 1, about: "one bit" }, byte: { bits: 8, about: "a byte" }, half: { bits: 16, about: "half of one" }, word: { bits: 32, about: "a word" }, wide: { bits: 128, about: "four words" },
    },
  },
};
const layout = new Layout([app]);
const writer = new FlowWriter(layout);
const buf = Buffer.alloc(4096);
const write = (spec: Partial<FlowSpec>): string => buf.subarray(0, writer.write(buf, 0, layout.table("first"), { priority: 1, match: {}, actions: [], ...spec }, 0, 1)).toString("hex");
const widths = { flag: 1, byte: 8, half: 16, word: 32, wide: 128 } as const;

describe("registers", () => {
  for (const [name, bits] of Object.entries(widths)) {
    const wide = 1n << BigInt(bits);
    test(`${name}: a value beyond its ${bits} bits is refused by name`, () => {
      for (const value of [wide, -1n, -1, 0.5, NaN, Infinity, ...(bits < 53 ? [Number(wide)] : [])]) {
        const refusal = new RegExp(`register ${name} in table first: ${String(value)} is not a whole number of ${bits} bits`);
        for (const spec of [{ match: { [`reg:${name}`]: value } }, { actions: [{ type: "load_reg", reg: name, value }] }] as Partial<FlowSpec>[]) {
          expect(() => write(spec)).toThrow(RangeError);
          expect(() => write(spec)).toThrow(refusal);
        }
      }
    });
    test(`${name}: the greatest value is taken, as a number and as a bigint`, () => {
      expect(write({ match: { [`reg:${name}`]: wide - 1n } })).toMatch(/^04/);
      expect(write({ actions: [{ type: "load_reg", reg: name, value: wide - 1n }] })).toMatch(/^04/);
      if (bits < 53) expect(write({ match: { [`reg:${name}`]: Number(wide) - 1 } })).toBe(write({ match: { [`reg:${name}`]: wide - 1n } }));
    });
  }

  test("an object is no value of a part of a word", () => {
    expect(() => write({ match: { "reg:byte": { value: 1, mask: 3 } } })).toThrow(/register byte in table first/);
    expect(() => write({ match: { "reg:byte": "1" } })).toThrow(/register byte in table first/);
  });
});

test("everything else that a flow has: refused by name", () => {
  const bad = (limit: number): number[] => [-1, 0.5, NaN, limit];
  const refused = (name: string, spec: Partial<FlowSpec>): void => {
    expect(() => write(spec), name).toThrow(OpenFlowError);
    expect(() => write(spec)).toThrow(name);
  };
  for (const priority of bad(0x10000)) refused("priority", { priority });
  for (const meter of bad(2 ** 32)) refused("meter", { meter });
  for (const mark of bad(2 ** 32)) refused("ct_mark", { actions: [{ type: "ct", zone: "ct_zone", commit: true, mark }] });
  expect(() => write({ match: { eth_type: 0x800, ip_proto: 6 }, actions: [{ type: "ct", zone: "ct_zone", alg: "ftp" }] })).toThrow(/only what it commits/);
  for (const maxLen of bad(0x10000)) refused("max_len", { actions: [{ type: "punt", maxLen }] });
  for (const meter of bad(2 ** 32)) refused("meter_id", { actions: [{ type: "punt", meter }] });
  for (const n of bad(0x100)) refused("clause", { actions: [{ type: "conjunction", id: 1, clause: n, n_clauses: 2 }] });
  for (const id of bad(2 ** 32)) refused("id", { actions: [{ type: "conjunction", id, clause: 0, n_clauses: 2 }] });
  for (const port of bad(2 ** 32)) refused("output", { actions: [{ type: "output", port }] });
  for (const value of bad(2 ** 8)) refused("ip_proto", { match: { eth_type: 0x800, ip_proto: value } });
  for (const value of bad(2 ** 16)) refused("tcp_dst", { match: { eth_type: 0x800, ip_proto: 6, tcp_dst: value } });
  for (const [hi, lo] of [[-1, 0], [0, 2 ** 32], [0.5, 0], [0, NaN]] as const) {
    expect(() => writer.write(buf, 0, layout.table("first"), { priority: 1, match: {}, actions: [] }, hi, lo)).toThrow(/cookie/);
  }
});
