// A template writes what encodeFlowMod writes, whatever the numbers; and says so when it could not.

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { encodeFlowMod, flowModTemplate, OpenFlowError, type FlowMod } from "../index.ts";

interface Case {
  readonly name: string;
  readonly widths: readonly number[];
  readonly make: (...values: number[]) => FlowMod;
}
const reg = (n: 1 | 2, ofs = 0, bits = 32) => ({ field: `reg${n}` as const, ofs, bits });
const CASES: readonly Case[] = [
  {
    name: "addresses, ports, cookie", widths: [32, 16, 32, 32],
    make: (address, port, hi, lo) => ({
      command: "add", table_id: 3, priority: 7, cookie: { hi: hi, lo: lo }, match: { eth_type: 0x800, ip_proto: 6, ipv4_dst: address, tcp_dst: port },
      instructions: [{ type: "apply_actions", actions: [{ type: "output", port: port }] }],
    }),
  },
  {
    name: "priority, table, timeouts, flags", widths: [16, 8, 16, 16, 8],
    make: (priority, table_id, idle_timeout, hard_timeout, next) => ({
      command: "add", priority: priority, table_id: table_id, idle_timeout: idle_timeout, hard_timeout: hard_timeout, match: {}, instructions: [{ type: "goto_table", table_id: next }],
    }),
  },
  {
    name: "numbers of 48 and 53 bits, and of 12 within 16", widths: [48, 53, 12],
    make: (mac, metadata, vid) => ({
      command: "add", match: { eth_dst: mac, metadata: metadata, vlan_vid: 0x1000 | vid },
      instructions: [{ type: "apply_actions", actions: [{ type: "set_field", field: "eth_src", value: mac }, { type: "load", dst: { field: "metadata", ofs: 0, bits: 64 }, value: metadata }] }],
    }),
  },
  {
    name: "an IPv6 address in four parts, a zone, a conjunction", widths: [32, 32, 32, 32, 16, 32],
    make: (a, b, c, d, zone, id) => ({
      command: "modify_strict", match: { eth_type: 0x86dd, ipv6_src: (BigInt(a) << 96n) | (BigInt(b) << 64n) | (BigInt(c) << 32n) | BigInt(d), ct_zone: zone },
      instructions: [{ type: "apply_actions", actions: [{ type: "ct", zone: zone, table: 4 }, { type: "conjunction", id: id, clause: 0, n_clauses: 2 }] }],
    }),
  },
  {
    name: "masked values, loads, groups, meters", widths: [32, 8, 32, 32],
    make: (value, part, group_id, meter_id) => ({
      command: "add", match: { reg1: { value: value, mask: 0xffffffff }, reg2: { value: part, mask: 0xff } },
      instructions: [{ type: "meter", meter_id: meter_id }, { type: "write_actions", actions: [{ type: "load", dst: reg(1), value: value }, { type: "load", dst: reg(2, 8, 8), value: part }, { type: "group", group_id: group_id }] }],
    }),
  },
];

describe("a template of flow-mods", () => {
  test.each(CASES.map((c) => [c.name, c] as const))("of %s writes what encodeFlowMod writes", (_, { widths, make }) => {
    const template = flowModTemplate(widths, make);
    const expected = Buffer.alloc(1024);
    const values = fc.tuple(...widths.map((width) => fc.oneof(fc.maxSafeInteger().map((n) => Math.abs(n) % 2 ** width), fc.constantFrom(0, 1, 2 ** width - 1, 2 ** (width - 1)))));
    fc.assert(
      fc.property(values, fc.nat(0xffffffff), fc.nat(9), (numbers, xid, off) => {
        const end = encodeFlowMod(expected, off, make(...numbers), xid);
        const ours = Buffer.alloc(1024, 0xff);
        expect(template.write(ours, off, numbers, xid)).toBe(end);
        expect(ours.toString("hex", off, end)).toBe(expected.toString("hex", off, end));
        expect(ours[end]).toBe(0xff);
        expect(template.length).toBe(end - off);
      }),
    );
  });

  test.each<readonly [string, readonly number[], (...values: number[]) => FlowMod]>([
    ["does not appear", [8], () => ({ command: "add", match: {} })],
    ["appears in part", [40], (n) => ({ command: "add", match: { reg0: n % 2 ** 32 } })],
    ["is shifted within a byte", [6], (n) => ({ command: "add", match: { reg0: n << 3 } })],
    ["changes the length", [8], (n) => ({ command: "add", match: { reg0: { value: 0, mask: n } } })],
    ["is computed with", [8], (n) => ({ command: "add", match: { reg0: n * n } })],
    ["works together with another", [8, 8], (a, b) => ({ command: "add", match: { reg0: a, reg1: b, reg2: a & b } })],
    ["has too many bits", [54], (n) => ({ command: "add", match: { metadata: n } })],
  ])("refuses a number that %s", (_, widths, make) => {
    expect(() => flowModTemplate(widths, make)).toThrow(OpenFlowError);
  });

  test("refuses numbers that do not fit, and buffers that are too small", () => {
    const template = flowModTemplate([32, 12, 53], (a, b, c) => ({ command: "add", match: { reg0: a, vlan_vid: b | 0x1000, metadata: c } }));
    const buf = Buffer.alloc(template.length);
    const bad: readonly (readonly number[])[] = [[-1, 0, 0], [2 ** 32, 0, 0], [0.5, 0, 0], [0, 4096, 0], [0, 0, 2 ** 53], [0, 0, -1], [0, NaN, 0], [0, 0]];
    for (const values of bad) expect(() => template.write(buf, 0, values)).toThrow(OpenFlowError);
    expect(() => template.write(buf, 1, [0, 0, 0])).toThrow(OpenFlowError);
    expect(template.write(buf, 0, [0xffffffff, 4095, 2 ** 53 - 1])).toBe(template.length);
  });
});
