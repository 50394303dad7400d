// Flow text and the bytes that ovs-ofctl sent for it, recorded outside this repository. Skipped where they are not.

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

import { encodeActions } from "../../actions/codec.ts";
import { OpenFlowError } from "../../wire/errors.ts";
import type { FlowModCommand } from "../../messages/flow-mod.ts";
import { encodeInstructions } from "../../messages/instructions.ts";
import { decodeMessage, encodeMessage, type Message, type MessageOf } from "../../messages/codec.ts";
import { parseActions, parseInstructions } from "./actions.ts";
import { parseFlow } from "./flow.ts";
import { parseGroup, parseMeter } from "./group.ts";
import { formatFlow } from "../print/flow.ts";

const directory = new URL("../../../../../../shared/vectors/openflow13/", import.meta.url);

interface Vector {
  readonly name: string;
  readonly kind: string;
  readonly class: string;
  readonly hex: string;
  readonly input?: string;
  readonly text?: string;
  readonly ovs?: string;
  readonly wire_exact?: boolean;
}

function read(file: string): Vector[] {
  return readFileSync(new URL(file, directory), "utf8").trim().split("\n").map((line) => JSON.parse(line) as Vector);
}

/** A message without its transaction id. */
function bytes(hex: string): string {
  return hex.slice(0, 8) + hex.slice(16);
}

function encoded(message: Message): string {
  return bytes(encodeMessage(message, 0).toString("hex"));
}

const FLOW_COMMANDS: Readonly<Record<string, FlowModCommand>> = { "add-flow": "add", "mod-flows": "modify", "del-flows": "delete" };

/** The flow-mod that a recorded command or flow sends. */
function flowOf(input: string): Message {
  const found = /^(--strict )?(add-flow|mod-flows|del-flows) SWITCH ?/.exec(input);
  if (found === null) return parseFlow(input);
  const command = FLOW_COMMANDS[found[2]!]!;
  return parseFlow(input.slice(found[0].length), { command: found[1] === undefined ? command : `${command}_strict` as FlowModCommand });
}

function groupOrMeterOf(input: string): Message {
  const found = /^(--may-create )?(add|mod|del)-(group|meter)s? SWITCH ?/.exec(input);
  if (found === null) throw new Error(`not a command: ${input}`);
  const rest = input.slice(found[0].length);
  const command = found[2] === "add" ? "add" : found[2] === "del" ? "delete" : "modify";
  if (found[3] === "meter") return parseMeter(rest, { command });
  return parseGroup(rest, { command: found[1] === undefined ? command : "add_or_modify" });
}

/** How many come out as recorded; the others with what came instead. */
function compare(vectors: readonly Vector[], make: (vector: Vector) => string, want: (vector: Vector) => string): { same: number; others: Map<string, string> } {
  const others = new Map<string, string>();
  for (const vector of vectors) {
    let got: string;
    try {
      got = make(vector);
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw error;
      got = error.message;
    }
    if (got !== want(vector)) others.set(vector.name, `${vector.input ?? ""}\n  ${want(vector)}\n  ${got}`);
  }
  return { same: vectors.length - others.size, others };
}

const recorded = existsSync(directory) ? read("ovs-wire.jsonl") : [];

describe.skipIf(recorded.length === 0)("text and bytes recorded elsewhere", () => {
  test("flows are encoded to what ovs-ofctl sent", () => {
    // What replace-flows deletes is what it found in the switch, not what stands in its file.
    const vectors = recorded.filter((v) => v.class.startsWith("FLOW_MOD/") && v.input?.startsWith("replace-flows") === false);
    const { others } = compare(vectors, (v) => encoded(flowOf(v.input!)), (v) => bytes(v.hex));
    expect(vectors.length).toBeGreaterThanOrEqual(1412);
    // The codec leaves out a mask of all bits that a field has, though its bytes have more.
    expect([...others.values()].filter((what) => !what.includes("tun_erspan_dir=1"))).toEqual([]);
  });

  test("groups and meters are encoded to what ovs-ofctl sent", () => {
    // Commands of 256 characters are cut off.
    const vectors = recorded.filter((v) => /^(GROUP|METER)_MOD\//.test(v.class) && v.input!.length < 256);
    const { others } = compare(vectors, (v) => encoded(groupOrMeterOf(v.input!)), (v) => bytes(v.hex));
    expect(vectors.length).toBeGreaterThanOrEqual(43);
    expect([...others.values()]).toEqual([]);
  });

  test("each message of a bundle is that of a line in its file", () => {
    let count = 0;
    for (const vector of recorded.filter((v) => v.class === "EXPERIMENTER/ONF/2301" && /^(bundle|--bundle add-flows) SWITCH FILE <<< /.test(v.input!) && v.input!.length < 256)) {
      const lines = vector.input!.replace(/^.*? <<< /, "").split("\n").filter((line) => line !== "");
      const sent = new Set(lines.map((line) => encoded(line.startsWith("group ") ? parseGroup(line.slice(6)) : parseFlow(line.replace(/^flow /, "")))));
      const { message } = decodeMessage(Buffer.from(vector.hex, "hex")) as MessageOf<"bundle_add">;
      expect(sent, vector.input).toContain(bytes(Buffer.from(message!).toString("hex")));
      count++;
    }
    expect(count).toBeGreaterThanOrEqual(13);
  });

  test("what is printed is read again to the same bytes", () => {
    const vectors = recorded.filter((v) => v.class.startsWith("FLOW_MOD/"));
    const { others } = compare(vectors, (v) => {
      const flow = decodeMessage(Buffer.from(v.hex, "hex")) as MessageOf<"flow_mod">;
      const again = parseFlow(formatFlow({ ...flow, table_id: flow.table_id ?? 0 }), { command: "add" });
      // A line of dump-flows does not say these.
      const { command, table_id, cookie, cookie_mask, flags, out_port, out_group } = flow;
      return encoded({ ...again, command, table_id: table_id!, cookie: cookie!, cookie_mask: cookie_mask!, flags: flags!, out_port: out_port!, out_group: out_group! });
    }, (v) => bytes(v.hex));
    // Text has no words for: max_len of an output to a port, as in what enqueue becomes; that a packet is an Ethernet packet;
    // a mask of ones in tunnel metadata and in fields that are narrower than their bytes.
    const lossy = [...others.values()].filter((what) => !/^(.*enqueue.*|packet_type=\(0,0\).*|eth.*|.*tun_metadata.*|.*tun_erspan.*)\n/.test(what));
    expect(lossy).toEqual([]);
    expect(others.size).toBeLessThanOrEqual(7);
  });

  test("actions and instructions of the test suite of Open vSwitch", () => {
    const out = Buffer.alloc(70_000);
    const vectors = read("ovs-tests.jsonl").filter((v) => (v.kind === "actions" || v.kind === "instructions") && v.wire_exact === true && v.ovs === "ok");
    const { same, others } = compare(vectors, ({ kind, text }) => {
      const end = kind === "actions" ? encodeActions(out, 0, parseActions(text!)) : encodeInstructions(out, 0, parseInstructions(text!));
      return out.toString("hex", 0, end);
    }, (v) => v.hex);
    // Their text leaves out a form or a number: NXAST_RESUBMIT for its newer form, NXAST_LEARN2 without a limit, max_len of LOCAL.
    const lossy = /\/(actions=resubmit:5|actions=learn\(.*|actions=LOCAL)$/;
    expect([...others.keys()].filter((name) => !lossy.test(name)).map((name) => others.get(name))).toEqual([]);
    expect(same).toBeGreaterThanOrEqual(44);
  });
});
