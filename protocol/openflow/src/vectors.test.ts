// Bytes made by other implementations, kept outside this repository: decode, encode, compare. Skipped where they are not.

import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

import { decodeActions, encodeActions } from "./actions.ts";
import { decodeInstructions, encodeInstructions } from "./instructions.ts";
import { errorName, OpenFlowError } from "./errors.ts";
import { eachFlowStats } from "./flow-mod.ts";
import { Framer } from "./frame.ts";
import { decodeMatch, encodeMatch } from "./match.ts";
import { decodeMessage, encodeMessage, type Decoded, type MessageOf } from "./messages.ts";

const directory = new URL("../../../../shared/vectors/openflow13/", import.meta.url);

interface Vector {
  name: string;
  kind: string;
  of: number;
  class: string;
  hex?: string;
  hex_head?: string;
  fill?: [number, number];
  ovs?: string;
  expect?: string;
  error?: string;
  truncated?: number;
  gzip_base64?: string;
  entries?: number;
}

function read(file: string): Vector[] {
  return readFileSync(new URL(file, directory), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Vector);
}

function reencoded(vector: Vector): Buffer {
  const bytes = Buffer.from(vector.hex!, "hex");
  const out = Buffer.alloc(70_000);
  switch (vector.kind) {
    case "message": {
      const message = decodeMessage(bytes);
      const again = encodeMessage(message, message.xid);
      again[0] = message.version;
      return again;
    }
    case "action":
    case "actions":
      return out.subarray(0, encodeActions(out, 0, decodeActions(bytes, 0, bytes.length)));
    case "instruction":
    case "instructions":
      return out.subarray(0, encodeInstructions(out, 0, decodeInstructions(bytes, 0, bytes.length)));
    default:
      return out.subarray(0, encodeMatch(out, 0, decodeMatch(bytes, 0)));
  }
}

/** Share of the vectors that Open vSwitch takes which come out as they went in; the differences are written to the failure. */
function tally(file: string): { passed: number; total: number; failures: string[] } {
  const failures: string[] = [];
  let total = 0;
  for (const vector of read(file)) {
    if (vector.ovs !== "ok" || vector.of !== 4 || vector.hex === undefined || vector.truncated !== undefined || vector.kind === "nxm") continue;
    total++;
    try {
      const hex = reencoded(vector).toString("hex");
      if (hex !== vector.hex) failures.push(`${vector.name} (${vector.class})\n  ${vector.hex}\n  ${hex}`);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      failures.push(`${vector.name} (${vector.class}): ${error.message}`);
    }
  }
  return { passed: total - failures.length, total, failures };
}

describe.skipIf(!existsSync(directory))("vectors of other implementations", () => {
  test.each([
    ["ovs-wire.jsonl", 1930],
    ["os-ken.jsonl", 50],
    ["loxigen.jsonl", 13],
    ["ovs-tests.jsonl", 160],
    ["ovs-errors.jsonl", 117],
  ])("%s", (file, floor) => {
    const { passed, total, failures } = tally(file);
    if (process.env["SHOW_FAILURES"] !== undefined) console.log(`${file}: ${passed} of ${total}\n${failures.join("\n")}`);
    expect(passed, failures.join("\n")).toBeGreaterThanOrEqual(floor);
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

  test("malformed input ends in an OpenFlowError or a message", () => {
    const accepted: string[] = [];
    for (const vector of read("malformed.jsonl")) {
      const bytes = Buffer.concat([
        Buffer.from(vector.hex ?? vector.hex_head ?? "", "hex"),
        vector.fill === undefined ? Buffer.alloc(0) : Buffer.alloc(vector.fill[1], vector.fill[0]),
      ]);
      let failed = false;
      const framer = new Framer();
      try {
        framer.push(bytes, (frame) => {
          decodeMessage(frame);
        });
      } catch (error) {
        if (!(error instanceof OpenFlowError)) throw new Error(`${vector.name}: ${String(error)}`, { cause: error });
        failed = true;
      }
      if (!failed && framer.pending === 0 && vector.expect === "decode-error") accepted.push(vector.name);
    }
    if (process.env["SHOW_FAILURES"] !== undefined) console.log(`accepted:\n${accepted.join("\n")}`);
    // Left to the switch: prerequisites, and values that are well-formed but make no sense. Unknown experimenters pass.
    expect(accepted.length).toBeLessThanOrEqual(200);
  });
});
