// The codec by itself: golden messages, every truncation, every way to cut a stream, values that have no wire form.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { encodeActions, type Action } from "../actions/codec.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { fieldList, fields } from "../match/fields.ts";
import { eachFlowStats, encodeFlowMod } from "./flow-mod.ts";
import { Framer } from "../channel/frame.ts";
import { decodeMatch, encodeMatch, type Match } from "../match/match.ts";
import { decodeMessage, encodeMessage } from "./codec.ts";
import { formatFlow } from "../text/print/flow.ts";
import { formatMatch } from "../text/print/match.ts";

interface Golden {
  readonly name: string;
  readonly json: string;
  readonly bytes: Buffer;
}

const golden: readonly Golden[] = readFileSync(new URL("../../vectors/messages.txt", import.meta.url), "utf8").trim().split("\n\n").map((block) => {
  const [name, json, ...lines] = block.split("\n");
  return { name: name!.slice(1, -1), json: json!, bytes: Buffer.from(lines.map((line) => line.split("#")[0]!.trim()).join(""), "hex") };
});

function toJson(value: unknown): string {
  const plain = (v: unknown): unknown => {
    if (typeof v === "bigint") return String(v);
    if (v instanceof Uint8Array) return Buffer.from(v).toString("hex");
    if (Array.isArray(v)) return v.map(plain);
    if (typeof v === "object" && v !== null) return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
    return v;
  };
  return JSON.stringify(plain(value));
}

/** The OpenFlowError that `run` throws, undefined if it throws nothing; anything else is a bug. */
function failure(run: () => unknown): OpenFlowError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof OpenFlowError) return error;
    throw error;
  }
}

describe("golden messages", () => {
  test.each(golden.map((g) => [g.name, g] as const))("%s", (_, { json, bytes }) => {
    const message = decodeMessage(bytes);
    expect(toJson(message)).toBe(json);
    expect(encodeMessage(message, message.xid).toString("hex")).toBe(bytes.toString("hex"));
  });

  test("every truncation is an OpenFlowError with an offset, or a message", () => {
    for (const { name, bytes } of golden) {
      for (let length = 0; length < bytes.length; length++) {
        const cut = Buffer.from(bytes.subarray(0, length));
        expect(failure(() => decodeMessage(cut))?.offset, `${name} cut to ${length}`).toBeLessThanOrEqual(length);
        if (length < 8) continue;
        cut.writeUInt16BE(length, 2); // as if it were meant to be that short
        failure(() => decodeMessage(cut));
        if (bytes[1] === 19 && length >= 16) failure(() => eachFlowStats(cut, () => undefined));
      }
    }
  });

  test("any byte may be anything", () => {
    for (const { bytes } of golden) {
      for (let at = 0; at < bytes.length; at++) {
        for (const value of [0, 1, 7, 0x7f, 0x80, 0xff]) {
          const changed = Buffer.from(bytes);
          changed[at] = value;
          failure(() => decodeMessage(changed));
        }
      }
    }
  });
});

describe("framing", () => {
  const stream = Buffer.concat(golden.map((g) => g.bytes));
  const whole = golden.map((g) => g.bytes.toString("hex"));

  test("two chunks, cut at every byte", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const seen: string[] = [];
      const framer = new Framer();
      for (const part of [stream.subarray(0, cut), stream.subarray(cut)]) framer.push(part, (frame) => seen.push(frame.toString("hex")));
      expect(seen).toEqual(whole);
      expect(framer.pending).toBe(0);
    }
  });

  test("one byte at a time", () => {
    const seen: string[] = [];
    const framer = new Framer();
    for (const byte of stream) framer.push(Buffer.of(byte), (frame) => seen.push(frame.toString("hex")));
    expect(seen).toEqual(whole);
  });

  test.each([
    ["a length below 8", "0402000700000000", "OF_MALFORMED"],
    ["another version", "010a000800000000", "OF_VERSION"],
    ["another protocol", Buffer.from("GET / HTTP/1.1\r\n").toString("hex"), "OF_VERSION"],
    ["zeroes", "0000000000000000", "OF_VERSION"],
  ])("%s ends the stream", (_, hex, code) => {
    expect(failure(() => new Framer().push(Buffer.from(hex, "hex"), () => undefined))?.code).toBe(code);
  });
});

function matchHex(match: Match): string {
  const buf = Buffer.alloc(2048);
  return buf.toString("hex", 0, encodeMatch(buf, 0, match));
}

describe("matches", () => {
  test("are one sequence of bytes, however they are written", () => {
    const same: readonly (readonly Match[])[] = [
      [{ in_port: 1, eth_type: 0x800, reg0: 1 }, { reg0: "0x1", eth_type: 2048, in_port: 1n }],
      [{ eth_type: 0x800, ipv4_dst: "10.1.2.3/8" }, { eth_type: 0x800, ipv4_dst: "10.0.0.0/255.0.0.0" }, { eth_type: 0x800, ipv4_dst: { value: 0x0a000000, mask: 0xff000000 } }],
      [{ ipv6_dst: "fd00::/64" }, { ipv6_dst: { value: "fd00:0:0:0::1", mask: "ffff:ffff:ffff:ffff::" } }],
      [{ ipv6_dst: "::ffff:10.0.0.1" }, { ipv6_dst: "::ffff:a00:1" }],
      [{}, { reg0: { value: 5, mask: 0 } }, { ipv4_dst: "1.2.3.4/0" }],
      [{ ct_state: "+est-new" }, { ct_state: { value: 2, mask: 3 } }, { ct_state: "0x2/0x3" }],
      [{ xreg0: 1n }, { reg0: 0, reg1: 1 }, { xreg0: { value: 1n, mask: 0xffffffffn }, reg0: 0 }],
      [{ reg1: { value: 5, mask: 0xffffffff } }, { reg1: 5 }],
      [{ vlan_vid: { value: 0x1005, mask: 0x1fff } }, { vlan_vid: 0x1005 }],
      [{ eth_dst: "FA:16:3e:0:0:1" }, { eth_dst: "fa:16:3e:00:00:01" }, { eth_dst: Uint8Array.of(0xfa, 0x16, 0x3e, 0, 0, 1) }],
    ];
    for (const group of same) for (const match of group) expect(matchHex(match)).toBe(matchHex(group[0]!));
  });

  test("of each field alone survive the codec", () => {
    for (const field of fieldList) {
      if (field.order >= fields.xreg0.order) continue; // written as other fields
      const value = field.kind === "bytes" ? Uint8Array.of(1, 2) : 1n;
      const buf = Buffer.alloc(64);
      const end = encodeMatch(buf, 0, { [field.name]: value });
      const match = decodeMatch(buf, 0, end);
      expect(Object.keys(match)).toEqual([field.name]);
      expect(matchHex(match)).toBe(buf.toString("hex", 0, end));
    }
  });

  test.each([
    [{ nonsense: 1 }], [{ reg0: -1 }], [{ reg0: 2 ** 32 }], [{ reg0: 1.5 }], [{ reg0: "five" }], [{ ipv4_dst: "10.0.0.256" }],
    [{ ipv4_dst: "10.0.0.0/33" }], [{ ipv6_dst: "fd00::1::2" }], [{ eth_dst: "fa:16:3e" }], [{ in_port: { value: 1, mask: 1 } }], [{ metadata: 1n << 64n }],
    [{ ct_state: "+bogus" }], [{ xreg0: 1n, reg1: 2 }], [{ reg0: null }], [{ vlan_pcp: 8 }], [{ ip_dscp: 64 }],
    [{ ipv6_flabel: 0x100000 }], [{ vlan_vid: 0x2001 }],
  ])("%o has no wire form", (match) => {
    expect(failure(() => matchHex(match as unknown as Match))?.code).toBe("OF_VALUE");
  });
});

describe("flow-mods", () => {
  test("that do not fit are refused", () => {
    const actions: Action[] = Array.from({ length: 5000 }, () => ({ type: "output", port: 1 }));
    const flow = { command: "add", match: {}, instructions: [{ type: "apply_actions", actions }] } as const;
    expect(failure(() => encodeFlowMod(Buffer.alloc(200_000), 0, flow))?.code).toBe("OF_VALUE");
    expect(failure(() => encodeFlowMod(Buffer.alloc(100), 0, flow))?.code).toBe("OF_VALUE");
    expect(failure(() => encodeFlowMod(Buffer.alloc(20), 0, { command: "add", match: {} }))?.code).toBe("OF_VALUE");
  });

  test.each([
    [{ type: "load", dst: { field: "reg0", ofs: 16, bits: 32 }, value: 1 }],
    [{ type: "load", dst: { field: "reg0", ofs: 0, bits: 4 }, value: 16 }],
    [{ type: "load", dst: { field: "bogus", ofs: 0, bits: 4 }, value: 1 }],
    [{ type: "set_field", field: "bogus", value: 1 }],
    [{ type: "bogus" }],
    [{ type: "ct", nat: { kind: "src", addr_min: "x" } }],
    [{ type: "group", group_id: -1 }],
  ])("action %o has no wire form", (action) => {
    expect(failure(() => encodeActions(Buffer.alloc(256), 0, [action as unknown as Action]))?.code).toBe("OF_VALUE");
  });
});

test("names, as people read them", () => {
  expect(formatMatch({ eth_type: 0x800, ip_proto: 6, tcp_dst: 80, reg0: 5, ipv4_src: "10.0.0.0/8" })).toBe("tcp,reg0=0x5,nw_src=10.0.0.0/8,tp_dst=80");
  expect(formatFlow({
    table_id: 3, priority: 100, cookie: { hi: 1, lo: 2 }, match: { in_port: 1 },
    instructions: [{ type: "apply_actions", actions: [{ type: "resubmit", table: 5 }, { type: "load", dst: { field: "reg0", ofs: 0, bits: 32 }, value: 1 }] }],
  })).toBe("cookie=0x100000002, table=3, priority=100,in_port=1 actions=resubmit(,5),load:0x1->NXM_NX_REG0[]");
  expect(fields.ct_state.bytes).toBe(4);
});
