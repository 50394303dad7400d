// A template is nothing but a faster way to the same bytes: whatever a shape is filled with, it comes out as written from nothing.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { definePipeline, load, next, setField, toTable, type App, type FlowSpec, type Shape } from "#app";
import { FlowWriter } from "./flow-writer.ts";
import { Layout } from "./layout.ts";
import { makeTemplate } from "./templates.ts";

const pipeline = definePipeline({
  registers: {
    flag: { bits: 1, about: "one bit" }, odd: { bits: 8, about: "some" }, half: { bits: 16, about: "half of one" }, word: { bits: 32, about: "a word" }, address: { bits: "ip", about: "either family" },
  },
  tables: {
    first: {
      stage: "services", miss: "next", about: "the table",
      match: ["reg:flag", "reg:odd", "reg:half", "reg:word", "reg:address", "eth_src", "eth_dst", "eth_type", "ip_proto", "ipv4_src", "ipv6_src", "arp_sha", "tcp_dst"],
    },
    second: { stage: "services", miss: "next", about: "another", match: [] },
    learned: { stage: "services", miss: "next", about: "filled by switches", match: ["eth_src"], learned: { limit: 9 }, aside: true },
    tracked: { stage: "acl_out", miss: "next", about: "entered through conntrack", match: [], conntrack: true },
  },
});
const app: App = { name: "shapes", about: "shapes", requires: [], pipeline };
const layout = new Layout([app]);
const table = layout.table("first");

interface Value {
  readonly n: number;
  readonly m: number;
  readonly mac: string;
  readonly ip: string;
}
const shapes = pipeline.shapes("first", {
  parts: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n, "reg:flag": 1, "reg:half": v.m, eth_src: v.mac, eth_type: 0x800 }, actions: [toTable("second")] }),
  twice: (v: Value) => ({ priority: 7, match: { "reg:word": v.n, eth_src: v.mac, arp_sha: v.mac, eth_type: 0x806 }, actions: [load("half", v.m), load("odd", v.m), setField("eth_dst", v.mac)] }),
  text4: (v: Value) => ({ priority: 7, match: { eth_type: 0x800, ip_proto: 6, ipv4_src: v.ip, tcp_dst: v.n }, actions: [] }),
  text6: (v: Value) => ({ priority: 7, match: { eth_type: 0x86dd, ipv6_src: v.ip }, actions: [load("flag", v.n)] }),
  either: (v: Value) => ({ priority: 7, match: { "reg:address": v.ip, "reg:flag": v.n }, actions: [] }),
});
const untemplated = pipeline.shapes("first", {
  masked: (v: Value) => ({ priority: 7, match: { eth_src: { value: v.mac, mask: "ff:ff:ff:00:00:00" } }, actions: [] }),
  port: (v: Value) => ({ priority: 7, match: {}, actions: [{ type: "output", port: v.n } as const] }),
  priority: (v: Value) => ({ priority: v.n, match: {}, actions: [] }),
  family: (v: Value) => ({ priority: 7, match: { eth_type: v.n }, actions: [next] }),
  learn: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n }, actions: [{ type: "learn", table: "learned", priority: 5, idleTimeoutS: 5, match: { eth_src: { from: "eth_src" } } } as const] }),
});

const writer = new FlowWriter(layout);
const buf = Buffer.alloc(4096);
const words = new Int32Array(buf.buffer, buf.byteOffset, buf.length >> 2);
const outcome = (write: () => number): string => {
  buf.fill(0xee);
  try {
    return buf.subarray(64, write()).toString("hex");
  } catch (error) {
    return String(error);
  }
};
const quick = (shape: Shape, value: unknown): string => outcome(() => writer.writeShape(buf, words, 64, table, shape, value, 0x9abcdef0, 0x12345678));
const slow = (shape: Shape, value: unknown): string => outcome(() => writer.write(buf, 64, table, (shape.make as (value: unknown) => FlowSpec)(value), 0x9abcdef0, 0x12345678));
const templateOf = (shape: Shape): unknown => makeTemplate(shape, table, layout, (spec, cookie) => Buffer.from(buf.subarray(0, writer.write(buf, 0, table, spec, cookie, cookie))));

const number = fc.oneof(fc.nat(1), fc.nat(255), fc.nat(0xffff), fc.nat(), fc.constantFrom(2 ** 32 - 1, 2 ** 32, -1, 0.5, NaN), fc.bigInt(0n, 9n));
const octets = (n: number, radix: number, sep: string): fc.Arbitrary<string> => fc.array(fc.nat(255), { minLength: n, maxLength: n }).map((list) => list.map((o) => (radix === 16 ? o.toString(16).padStart(2, "0") : String(o))).join(sep));
const values = fc.record({
  n: number, m: number,
  mac: fc.oneof(octets(6, 16, ":"), fc.constantFrom("2:3:4:5:6:7", "02:00:00:00:00:00/ff:ff:ff:00:00:00", "nonsense", "")),
  ip: fc.oneof(octets(4, 10, "."), fc.ipV6(), fc.constantFrom("10.0.0.0/8", "fd00::/64", "::ffff:10.0.0.1", "010.0.0.1", "10.00.0.1", "1.2.3.4.5", "", "fd00:::1")),
}, { requiredKeys: ["n", "mac", "ip"] });

describe("a template writes what is written from nothing, and refuses the same", () => {
  for (const [name, shape] of Object.entries(shapes)) {
    test(name, () => {
      expect(templateOf(shape as Shape)).toBeDefined();
      fc.assert(fc.property(values, (value) => { expect(quick(shape as Shape, value)).toBe(slow(shape as Shape, value)); }), { numRuns: 300 });
    });
  }
});

test("a shape that says a value where no template follows is written the long way", () => {
  for (const shape of Object.values(untemplated) as Shape[]) {
    expect(templateOf(shape), shape.name).toBeUndefined();
    // An IPv4 packet goes on through conntrack, an ARP packet past it: 3 is neither.
    for (const n of shape === (untemplated.family as Shape) ? [3, 0x800, 0x806, 0x86dd] : [3]) {
      const value: Value = { n, m: 4, mac: "fa:16:3e:00:00:01", ip: "10.0.0.1" };
      expect(quick(shape, value)).toMatch(/^04/);
      expect(quick(shape, value)).toBe(slow(shape, value));
    }
  }
});

describe("a shape that does more than place what it is given is named, each time", () => {
  const wrong = pipeline.shapes("first", {
    sum: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n + 1 }, actions: [] }),
    method: (v: Value) => ({ priority: 7, match: { eth_src: v.mac.toLowerCase() }, actions: [] }),
    length: (v: Value) => ({ priority: 7, match: { "reg:odd": v.mac.length }, actions: [] }),
    truth: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n ? 3 : 4 }, actions: [] }),
    equal: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n }, actions: v.n === 5 ? [load("half", 3)] : [] }),
    other: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n }, actions: v.ip === "10.0.0.1" ? [load("half", 3)] : [] }),
    spread: (v: Value) => ({ priority: 7, match: { ...(v as object) }, actions: [] }),
    within: (v: Value) => ({ priority: 7, match: { "reg:odd": "ip" in v ? 3 : 4 }, actions: [] }),
    actions: (v: { readonly actions: [] }) => ({ priority: 7, match: {}, actions: v.actions }),
    more: (v: { readonly match: object }) => ({ priority: 7, match: { ...v.match }, actions: [] }),
  });
  const value = { n: 5, m: 0, mac: "fa:16:3e:00:00:01", ip: "10.0.0.1", actions: [], match: {} };
  for (const [name, shape] of Object.entries(wrong)) {
    test(name, () => {
      for (const time of ["first", "second"]) expect(quick(shape as unknown as Shape, value), time).toMatch(new RegExp(`shape ${name} of table first computes with `));
    });
  }
});

test("shapes that are made as it goes fill no memory", () => {
  const { templates } = writer as unknown as { readonly templates: ReadonlyMap<unknown, unknown> };
  for (let i = 0; i < 5000; i++) {
    const { made } = pipeline.shapes("first", { made: (v: Value) => ({ priority: 7, match: { "reg:odd": v.n }, actions: [] }) });
    quick(made, { n: 1 });
  }
  expect(templates.size).toBeLessThanOrEqual(4096);
});
