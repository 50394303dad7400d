// What a real Open vSwitch and ovs-ofctl said to each other (vectors/recorded.jsonl, see vectors/README.md): decoded, printed in the words
// of ovs-ofctl, encoded to the same bytes. Counts are exact, so that a new recording or a new gap shows.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import type { Action } from "../actions/codec.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { fieldList } from "../match/fields.ts";
import { decodeMessage, encodeMessage } from "./codec.ts";
import type { RecordedVector } from "../testing/record-vectors.ts";
import { printBytes } from "../text/print/bytes.ts";
import { formatBytes } from "../text/print/message.ts";

const recorded = readFileSync(new URL("../../vectors/recorded.jsonl", import.meta.url), "utf8").trim().split("\n").map((line, i) => {
  const vector = JSON.parse(line) as RecordedVector;
  // An error quotes the message that it answers, with that one's fault; only what is printed first is the message's own.
  const own = vector.class.startsWith("ERROR/") ? vector.text.slice(0, vector.text.indexOf("\n")) : vector.text;
  return { ...vector, name: `line ${i + 1} ${vector.class}`, bytes: Buffer.from(vector.hex, "hex"), refusedAs: /\*\*\*decode error: (\w+)\*\*\*/.exec(own)?.[1] };
});
/** What this package does not do as Open vSwitch does, by the beginning of the bytes. */
const EXCEPTIONS: readonly (readonly [hex: RegExp, why: string])[] = [
  [/^040e.{92}00000058/, "a flow-mod with a match of OpenFlow 1.1 (OFPMT_STANDARD), which Open vSwitch still reads"],
  [/^0101.{12}b0c20000/, "an error in OpenFlow 1.0, where Open vSwitch has its own way to say that it is an experimenter's"],
  [/^04040070.{8}000023200000001b/, "asynchronous messages with reasons that are none: Open vSwitch refuses them, a strict decoder not yet"],
  [/^0401.{12}ffff09424f4e4600.*04040070.{8}000023200000001b/, "the error about it, which quotes it"],
];
const usual = recorded.filter((vector) => !EXCEPTIONS.some(([hex]) => hex.test(vector.hex)));
const sound = usual.filter((vector) => vector.refusedAs === undefined);
const refused = usual.filter((vector) => vector.refusedAs !== undefined);

/** What differs, in few words; only what the message says of itself is compared by the caller. */
function differences<T>(all: readonly (T & { name: string })[], expected: (each: T) => string, got: (each: T) => string): string[] {
  const found: string[] = [];
  for (const each of all) {
    let text: string;
    try {
      text = got(each);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      text = `error: ${error.message}`;
    }
    if (text !== expected(each)) found.push(`${each.name}\n  expected ${expected(each).slice(0, 600)}\n  got      ${text.slice(0, 600)}`);
  }
  return found;
}

const withoutXid = (text: string): string => text.replaceAll(/ \(xid=0x[0-9a-f]+\)/g, "").replace(/\n$/, "");

describe("messages of a real switch", () => {
  test("how many there are", () => {
    expect({
      all: recorded.length, sound: sound.length, refused: refused.length, exceptions: recorded.length - usual.length,
      fromTheSwitch: recorded.filter((vector) => vector.dir === "switch-to-controller").length,
      classes: new Set(recorded.map((vector) => vector.class)).size,
    }).toEqual({ all: 951, sound: 880, refused: 67, exceptions: 4, fromTheSwitch: 240, classes: 167 });
  });

  test("each is encoded to the bytes that it was", () => {
    expect(differences(sound, (vector) => vector.hex, ({ bytes }) => {
      const message = decodeMessage(bytes);
      const again = encodeMessage(message, message.xid);
      again[0] = message.version;
      return again.toString("hex");
    })).toEqual([]);
  });

  test("each is sound in the eyes of a strict decoder too", () => {
    expect(differences(sound, () => "sound", ({ bytes }) => {
      decodeMessage(bytes, { strict: true });
      return "sound";
    })).toEqual([]);
  });

  test("each prints as ovs-ofctl prints it", () => {
    expect(differences(sound, (vector) => withoutXid(vector.text), ({ bytes }) => printBytes("message", bytes))).toEqual([]);
    expect(differences(usual, (vector) => vector.text, ({ bytes }) => formatBytes(bytes, { xid: true }))).toEqual([]);
  });

  test("what Open vSwitch refuses is refused with its name for the error", () => {
    expect(differences(refused, (vector) => vector.refusedAs!, ({ bytes }) => {
      try {
        decodeMessage(bytes, { strict: true });
      } catch (error) {
        if (error instanceof OpenFlowError && error.offset !== undefined && error.offset <= bytes.length) return error.errorName ?? error.code;
        throw error;
      }
      return "taken";
    })).toEqual([]);
  });
});

// --- what the recording covers ---

/** Fields that Open vSwitch 3.1 does not know, and the cookie, which it knows in requests of its own form alone. */
const NEVER: readonly string[] = ["in_phy_port", "pbb_isid", "pbb_uca", "ipv6_exthdr", "cookie"];

function* visit(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const item of Object.values(value)) yield* visit(item);
}

/** All actions; a new one is a type error here, and a missing one of the recorded ones a failure. */
const ACTIONS: Readonly<Record<Action["type"], "recorded" | "not sent">> = {
  experimenter: "not sent",
  ct: "recorded",
  controller: "recorded",
  nat: "not sent",
  encap: "recorded",
  set_field: "recorded",
  load: "recorded",
  reg_load2: "recorded",
  set_vlan_vid: "recorded",
  set_vlan_pcp: "recorded",
  set_dl_src: "recorded",
  set_dl_dst: "recorded",
  set_nw_src: "recorded",
  set_nw_dst: "recorded",
  set_nw_tos: "recorded",
  set_nw_ecn: "recorded",
  set_tp_src: "recorded",
  set_tp_dst: "recorded",
  set_mpls_label: "recorded",
  set_mpls_tc: "recorded",
  copy_ttl_out: "not sent",
  copy_ttl_in: "not sent",
  set_mpls_ttl: "recorded",
  dec_mpls_ttl: "recorded",
  push_vlan: "recorded",
  pop_vlan: "recorded",
  push_mpls: "recorded",
  pop_mpls: "recorded",
  set_queue: "recorded",
  group: "recorded",
  set_nw_ttl: "recorded",
  push_pbb: "not sent",
  pop_pbb: "not sent",
  set_tunnel: "recorded",
  pop_queue: "recorded",
  move: "recorded",
  note: "recorded",
  set_tunnel64: "recorded",
  multipath: "recorded",
  bundle: "recorded",
  bundle_load: "recorded",
  output_reg: "recorded",
  exit: "recorded",
  fin_timeout: "recorded",
  dec_ttl_cnt_ids: "recorded",
  write_metadata: "recorded",
  stack_push: "recorded",
  stack_pop: "recorded",
  sample: "recorded",
  output_reg2: "recorded",
  conjunction: "recorded",
  sample2: "recorded",
  output_trunc: "recorded",
  sample3: "recorded",
  ct_clear: "recorded",
  decap: "recorded",
  dec_nsh_ttl: "recorded",
  check_pkt_larger: "recorded",
  delete_field: "recorded",
  debug_slow: "not sent",
  debug_recirc: "not sent",
  output: "recorded",
  learn: "recorded",
  resubmit: "recorded",
  dec_ttl: "recorded",
  clone: "recorded",
};

describe("what the recording covers", () => {
  const decoded = sound.map(({ bytes }) => decodeMessage(bytes));

  test("every field, matched or set", () => {
    const matched = new Set(decoded.flatMap((message) => ("match" in message ? Object.keys(message.match) : [])));
    const named = new Set<string>();
    for (const message of decoded) for (const object of visit(message)) if (typeof object["field"] === "string") named.add(object["field"]);
    const missing = fieldList.map((field) => field.name as string).filter((name) => !matched.has(name) && !named.has(name) && !NEVER.includes(name));
    expect(missing).toEqual([]);
  });

  test("every action", () => {
    const types = new Set<string>();
    for (const message of decoded) for (const object of visit(message)) if (typeof object["type"] === "string") types.add(object["type"]);
    const missing = Object.entries(ACTIONS).filter(([type, fate]) => types.has(type) !== (fate === "recorded")).map(([type]) => type);
    expect(missing).toEqual([]);
  });
});
