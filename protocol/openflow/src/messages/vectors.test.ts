// Bytes made by other implementations, kept outside this repository: decode, encode, compare. Skipped where they are not. Counts are
// exact, and every vector that comes out otherwise is named with its reason.

import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { decodeActions, encodeActions } from "../actions/codec.ts";
import { decodeInstructions, encodeInstructions } from "./instructions.ts";
import { errorName, errorNumbers, formatRefusal, OpenFlowError, type ErrorName } from "../wire/errors.ts";
import { fieldList, type Field } from "../match/fields.ts";
import { eachFlowStats } from "./flow-mod.ts";
import { Framer } from "../channel/frame.ts";
import { decodeMatch, decodeNxm, encodeMatch, encodeNxm } from "../match/match.ts";
import { decodeMessage, encodeMessage, type Decoded, type MessageOf } from "./codec.ts";
import type { DecodeOptions } from "../wire/strict.ts";

const directory = new URL("../../../../../shared/vectors/openflow13/", import.meta.url);

interface Vector {
  name: string;
  kind: string;
  of: number;
  class: string;
  hex?: string;
  hex_head?: string;
  fill?: [number, number];
  ovs?: string;
  input?: string;
  /** Instructions: the table that the flow is in. */
  table?: number;
  reencode_diff?: string[];
  category?: string;
  expect?: string;
  decoder?: string;
  decoder_error?: [number, number, number] | null;
  error?: string;
  truncated?: number;
  gzip_base64?: string;
  entries?: number;
}

function read(file: string): Vector[] {
  return readFileSync(new URL(file, directory), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Vector);
}

function bytesOf(vector: Vector): Buffer {
  return Buffer.concat([
    Buffer.from(vector.hex ?? vector.hex_head ?? "", "hex"),
    vector.fill === undefined ? Buffer.alloc(0) : Buffer.alloc(vector.fill[1], vector.fill[0]),
  ]);
}

/** As ovs-ofctl ofp-print judged them. */
const STRICT: DecodeOptions = { strict: true, shown: true };

/** Decodes the vector and writes it again. */
function again(vector: Vector, options?: DecodeOptions): Buffer {
  const bytes = bytesOf(vector);
  const out = Buffer.alloc(70_000);
  switch (vector.kind) {
    case "message": {
      const message = decodeMessage(bytes, options);
      const written = encodeMessage(message, message.xid);
      written[0] = message.version;
      return written;
    }
    case "action":
    case "actions":
      return out.subarray(0, encodeActions(out, 0, decodeActions(bytes, 0, bytes.length, options)));
    case "instruction":
    case "instructions":
      return out.subarray(0, encodeInstructions(out, 0, decodeInstructions(bytes, 0, bytes.length, { ...options, ...(vector.table === undefined ? {} : { tableId: vector.table }) })));
    case "nxm":
      return out.subarray(0, encodeNxm(out, 0, decodeNxm(bytes, 0, bytes.length, options)));
    case "oxm":
    case "match":
      return out.subarray(0, encodeMatch(out, 0, decodeMatch(bytes, 0, bytes.length, options)));
    default:
      throw new Error(`no way to read a vector of kind ${vector.kind}`);
  }
}

/** The name of the error with which the vector is refused, "ok" when it is not. */
function verdict(run: () => unknown): string {
  try {
    run();
    return "ok";
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    expect(error.offset).toBeGreaterThanOrEqual(0);
    if (error.errorName !== undefined) expect(formatRefusal(error)).toMatch(/^error: OFPET_[A-Z_]+\/[A-Z_]+ at \d+: ./);
    return error.errorName ?? "without name";
  }
}

/** What Open vSwitch writes for the vector: its bytes with the differences applied that were noted. */
function rewritten(vector: Vector): string {
  const bytes = [...Buffer.from(vector.hex!, "hex")];
  for (const line of vector.reencode_diff ?? []) {
    const [, at, to] = /^ *(\d+): \S+ -> (\S+)$/.exec(line)!;
    bytes[Number(at)] = to === "(none)" ? -1 : parseInt(to!, 16);
  }
  return Buffer.from(bytes.filter((byte) => byte >= 0)).toString("hex");
}

// --- notation of matches: NXM_OF_ETH_TYPE(0800), OXM_OF_VLAN_VID_W(1123/0123), 01020304(1111/3333) ---

/** Classes by prefix, with the experimenter if it has one. */
const CLASSES: readonly (readonly [prefix: string, cls: number, experimenter?: number])[] = [
  ["NXM_OF_", 0], ["NXM_NX_", 1], ["OXM_OF_PKT_", 0x8001], ["OXM_OF_", 0x8000], ["ONFOXM_ET_", 0xffff, 0x4f4e4600], ["NXOXM_NSH_", 0xffff, 0x005ad650],
  ["NXOXM_ET_", 0xffff, 0x2320], ["ERICOXM_OF_ICMPV6_", 0x1000],
];
const OTHER_NAMES: Readonly<Record<string, string>> = {
  ip_src: "ipv4_src", ip_dst: "ipv4_dst", ipv6_label: "ipv6_flabel", tun_id: "tunnel_id", icmp_type: "icmpv4_type", icmp_code: "icmpv4_code",
  nd_target: "ipv6_nd_target", nd_sll: "ipv6_nd_sll", nd_tll: "ipv6_nd_tll",
};

function headerOf(name: string): Buffer {
  if (/^[0-9a-f]+$/.test(name)) return Buffer.from(name, "hex");
  const [, plain, masked] = /^(.*?)(_W)?$/.exec(name)!;
  const [prefix, cls, experimenter] = CLASSES.find(([start]) => plain!.startsWith(start))!;
  const rest = plain!.slice(prefix.length).toLowerCase();
  const isIt = (field: Field): boolean => {
    const header = cls <= 1 ? field.nxmHeader : field.header;
    const named = [rest, OTHER_NAMES[rest], `tun_${rest}`, `nsh_${rest}`, `x${rest}`, `nxm_${rest}`].includes(field.name);
    return named && header >>> 16 === cls && (cls !== 0xffff || field.experimenter === experimenter);
  };
  const field = fieldList.find(isIt);
  if (field === undefined) throw new Error(`no field ${name}`);
  const header = Buffer.alloc(experimenter === undefined ? 4 : 8);
  header.writeUInt32BE(((cls <= 1 ? field.nxmHeader : field.header) | (masked === undefined ? 0 : 0x100)) >>> 0);
  if (experimenter !== undefined) header.writeUInt32BE(experimenter, 4);
  return header;
}

/** The entries that the notation means, just as it says them. */
function entriesOf(input: string): Buffer {
  return Buffer.concat([...input.matchAll(/(\w+)\(([0-9a-f]*)(?:\/([0-9a-f]*))?\)/gi)].map(([, name, value, mask]) => {
    const header = headerOf(name!);
    const content = Buffer.from(value! + (mask ?? ""), "hex");
    header[3] = content.length + header.length - 4;
    return Buffer.concat([header, content]);
  }));
}

function asMatch(entries: Buffer): Buffer {
  const match = Buffer.alloc((4 + entries.length + 7) & ~7);
  match.writeUInt16BE(1, 0);
  match.writeUInt16BE(4 + entries.length, 2);
  entries.copy(match, 4);
  return match;
}

describe.skipIf(!existsSync(directory))("vectors of other implementations", () => {
  test.each([
    ["ovs-wire.jsonl", 1995],
    ["os-ken.jsonl", 51],
    ["loxigen.jsonl", 13],
    ["ovs-tests.jsonl", 251],
    ["ovs-errors.jsonl", 117],
  ])("%s: what Open vSwitch takes is taken, and comes out as it went in", (file, total) => {
    const vectors = read(file).filter((vector) => vector.ovs === "ok" && vector.of === 4 && vector.truncated === undefined);
    expect(vectors.length).toBe(total);
    for (const vector of vectors) {
      for (const options of [undefined, STRICT]) {
        const hex = again(vector, options).toString("hex");
        if (hex !== vector.hex) expect(hex, vector.name).toBe(rewritten(vector));
      }
    }
  });

  /** Of these not even the structure has a form: by bytes, long ones by name. */
  const NO_FORM: Readonly<Record<string, string>> = {
    "040400140000011f000023200000000f01000000": "a flow_mod_table_id without half of its body",
    "041200100000012a0004000000000000": "port_stats without the port",
    "041200100000012b0005000000000000": "queue without port and queue",
    "041200100000012f0009000000000000": "meter without the meter",
    "0412001000000130000a000000000000": "meter_config without the meter",
    "0412001000000134000e000000000000": "a multipart of OpenFlow 1.4",
    "00000008fffe04d2": "actions of OpenFlow 1.0 from here on: output",
    "00050010102030405060000000000000": "set_dl_dst, whose number became set_nw_src",
    "000b0010000a00000000000000000037": "enqueue",
    "ffff0010000023200004000089abcd01": "set_queue",
    "ffff0010000023200012000000000000": "dec_ttl",
    "ffff0010000023200028000000000005": "group",
    "ffff002000002320002a000000000000000100080005000000000008000a0000": "output inside clone",
    "00000008ffff0000": "output",
    "000000f000000000": "output, longer than the list",
    "001c00180010000000000000000000020000080200000000": "an action of OpenFlow 1.5: copy_field",
    "001d000800000005": "an action of OpenFlow 1.5: meter",
    "ffff00300000232000230001000000000000ff0000000000ffff0018000023200007000f0001d504000000000000f009": "a load of ct_zone in four bytes",
    "ffff00180000232000250000000500001122334455000005": "a property of the controller action that is 13124 bytes long",
    "001900108000080700010203040500000000001000000001": "a set_field of an eth_src of seven bytes",
    "00040008000000000004000800000000": "instructions without actions, which are not written",
    "00010010010000000000000000000000": "goto_table of 16 bytes",
    "0002001000000000fedcba9876543210": "write_metadata without mask",
    "0002002000000000fedcba9876543210ffffffffffffffff0000000000000000": "write_metadata of 32 bytes",
    "00050010000000000000000000000000": "clear_actions of 16 bytes",
    "osken/of13/4-2-ofp_flow_mod.packet": "a set_field of a field of three bytes that nobody knows",
    "osken/of13/4-63-onf_flow_monitor_request.packet": "its match is a bare list of fields, with the length before it",
  };
  /** Refused with another name. */
  const OTHER_NAME: Readonly<Record<string, readonly [name: string, why: string]>> = {
    "osken/of13/4-2-ofp_flow_mod.packet": ["OFPBAC_BAD_SET_TYPE", "a set_field of an unknown field, in which Open vSwitch takes the length of another field that hashes alike"],
  };

  test.each([
    ["ovs-wire.jsonl", 30],
    ["os-ken.jsonl", 10],
    ["loxigen.jsonl", 21],
    ["ovs-tests.jsonl", 30],
  ])("%s: what Open vSwitch refuses is refused with the same error when strict, and kept to the byte when not", (file, total) => {
    const vectors = read(file).filter((vector) => vector.ovs !== undefined && vector.ovs !== "ok" && vector.of === 4 && vector.truncated === undefined && vector.hex !== undefined);
    expect(vectors.length).toBe(total);
    const lost: string[] = [];
    for (const vector of vectors) {
      expect(verdict(() => again(vector, { strict: true, inner: true })), vector.name).toBe(OTHER_NAME[vector.name]?.[0] ?? vector.ovs);
      let hex = "";
      if (verdict(() => (hex = again(vector).toString("hex"))) !== "ok" || hex !== vector.hex) lost.push(vector.hex!.length > 100 ? vector.name : vector.hex!);
    }
    expect(lost.filter((hex) => !(hex in NO_FORM))).toEqual([]);
  });

  test("matches in notation: normal form, or the error", () => {
    const counts: Record<string, number> = {};
    for (const vector of read("ovs-tests.jsonl")) {
      if (vector.input === undefined || (vector.kind !== "oxm" && vector.kind !== "nxm")) continue;
      const entries = entriesOf(vector.input);
      const bytes = vector.kind === "oxm" ? asMatch(entries) : entries;
      const decode = () => (vector.kind === "oxm" ? decodeMatch(bytes, 0, bytes.length, STRICT) : decodeNxm(bytes, 0, bytes.length, STRICT));
      expect(verdict(decode), vector.name).toBe(vector.ovs);
      counts[`${vector.kind} ${vector.ovs === "ok" ? "ok" : "refused"}`] = (counts[`${vector.kind} ${vector.ovs === "ok" ? "ok" : "refused"}`] ?? 0) + 1;
      // Of these Open vSwitch 3.1 takes the value for the mask, and an index that is too wide.
      if (vector.ovs !== "ok" || /ERSPAN|GTPU/.test(vector.input)) continue;
      // A field whose mask is nothing is left out here; Open vSwitch keeps of it that the packet is Ethernet.
      if (/\(0+\/0+\)/.test(vector.input) && vector.hex!.includes("80005804")) continue;
      // A copy has no form to remember: it is written canonically.
      const out = Buffer.alloc(512);
      const end = (vector.kind === "oxm" ? encodeMatch : encodeNxm)(out, 0, { ...decode() });
      expect(out.toString("hex", 0, end), vector.name).toBe(vector.hex);
    }
    expect(counts).toEqual({ "nxm ok": 72, "nxm refused": 55, "oxm ok": 63, "oxm refused": 41 });
  });

  test("every error has the name that Open vSwitch gives it", () => {
    for (const vector of read("ovs-errors.jsonl")) {
      const message = decodeMessage(Buffer.from(vector.hex!, "hex")) as Decoded<MessageOf<"error">>;
      const name = message.error_type === 0xffff ? errorName(message.code, 0, message.experimenter) : errorName(message.error_type, message.code);
      expect(name).toBe(vector.error);
    }
  });

  test("long multipart replies", () => {
    for (const vector of read("ovs-sequences.jsonl")) {
      const bytes = gunzipSync(Buffer.from(vector.gzip_base64!, "base64"));
      let entries = 0;
      let lazy = 0;
      new Framer().push(bytes, (frame) => {
        const message = decodeMessage(frame) as Decoded & { kind: string };
        const list = Object.values(message).find((value) => Array.isArray(value)) as unknown[];
        entries += list.length;
        if (message.kind === "flow") eachFlowStats(frame, () => lazy++);
      });
      expect(entries).toBe(vector.entries);
      if (vector.class.endsWith("/FLOW")) expect(lazy).toBe(entries);
    }
  });

  test("malformed input", () => {
    const counts: Record<string, number> = {};
    const count = (what: string): void => {
      counts[what] = (counts[what] ?? 0) + 1;
    };
    for (const vector of read("malformed.jsonl")) {
      const bytes = bytesOf(vector);
      const frames: Buffer[] = [];
      const framer = new Framer();
      const framed = verdict(() => {
        framer.push(bytes, (frame) => frames.push(Buffer.from(frame)));
      });
      switch (vector.expect) {
        case "decode-error":
        case "accept": {
          expect(frames.length, vector.name).toBe(1);
          const name = verdict(() => decodeMessage(frames[0]!, { strict: true, inner: true }));
          expect(name, vector.name).toBe(vector.decoder);
          if (vector.expect === "decode-error" && vector.decoder_error !== undefined && vector.decoder_error !== null) {
            const { type, errorCode, experimenter } = errorNumbers(name as ErrorName);
            expect([experimenter ?? 0, type, errorCode], vector.name).toEqual(vector.decoder_error);
          }
          verdict(() => decodeMessage(frames[0]!));
          count(vector.expect);
          break;
        }
        case "accept-or-error":
          for (const frame of frames) verdict(() => decodeMessage(frame, STRICT));
          count(vector.expect);
          break;
        case "incomplete":
          expect([framed, frames.length], vector.name).toEqual(["ok", 0]);
          expect(framer.pending, vector.name).toBeGreaterThan(0);
          count(vector.expect);
          break;
        case "drop-connection":
          expect(framed, vector.name).not.toBe("ok");
          count(vector.expect);
          break;
        default: {
          // Several answers will do; what is framed is decoded or refused.
          for (const frame of frames) verdict(() => decodeMessage(frame, STRICT));
          count("other");
        }
      }
    }
    expect(counts).toEqual({ accept: 168, "accept-or-error": 30, "decode-error": 564, "drop-connection": 8, incomplete: 7, other: 26 });
  });

  test("other versions: greetings, echoes and errors are read, the rest is refused by its version", () => {
    const counts: Record<string, number> = {};
    for (const vector of read("ovs-tests-other-versions.jsonl")) {
      const bytes = bytesOf(vector);
      const answer = verdict(() => decodeMessage(bytes));
      const greeting = bytes.length >= 8 && bytes[1]! <= 3;
      if (greeting) expect(again({ ...vector, kind: "message" }).toString("hex"), vector.name).toBe(vector.hex);
      else expect(answer, vector.name).toBe(bytes.length < 8 || bytes.readUInt16BE(2) !== bytes.length ? "OFPBRC_BAD_LEN" : "OFPBRC_BAD_VERSION");
      counts[greeting ? "read" : answer] = (counts[greeting ? "read" : answer] ?? 0) + 1;
    }
    expect(counts).toEqual({ OFPBRC_BAD_LEN: 2, OFPBRC_BAD_VERSION: 129, read: 21 });
  });

  test("pieces of messages", () => {
    const kept: string[] = [];
    for (const vector of read("loxigen.jsonl")) {
      if (vector.ovs !== undefined || vector.truncated !== undefined || vector.of !== 4) continue;
      const piece = bytesOf(vector);
      if (vector.kind === "hello_elem") {
        const hello = Buffer.concat([Buffer.from("0400000000000000", "hex"), piece, Buffer.alloc((8 - (piece.length % 8)) % 8)]);
        hello.writeUInt16BE(hello.length, 2);
        expect(again({ ...vector, kind: "message", hex: hello.toString("hex") }).toString("hex")).toBe(hello.toString("hex"));
      } else if (vector.kind === "match") expect(again(vector).toString("hex")).toBe(vector.hex);
      else if (vector.kind === "oxm" && !piece.subarray(0, 2).equals(Buffer.of(0, 3))) {
        const match = asMatch(piece).toString("hex");
        expect(again({ ...vector, hex: match }).toString("hex")).toBe(match);
      } else continue;
      kept.push(vector.name);
    }
    // Not here: fields and TLVs of Big Switch, and an instruction id, which comes in table features alone.
    expect(kept).toEqual(["hello_elem_versionbitmap", "match_v3", "oxm_in_phy_port_masked", "oxm_mpls_bos"].map((name) => `loxigen/of13/${name}`));
  });
});
