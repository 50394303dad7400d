// Bytes that nobody meant: every truncation of every vector, and random mutation of all. Whatever comes, a decoder ends in
// an OpenFlowError whose offset lies in the input, or in a message that is no larger than the input allows, prints, and encodes to bytes
// that decode to the same again.
//
// FUZZ_SEED repeats a run (by day it is the same for all), FUZZ_CASES sets its length (20,000; 1,000,000 at night). A case that does not end is named by a watchdog
// in a thread of its own, since the thread that hangs cannot.
//
// Over 400 lines: one harness for every decoder, with its generators.

import { readFileSync } from "node:fs";
import { inspect, isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { decodeActions, encodeActions, type Action } from "../actions/codec.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { fieldByName } from "../match/fields.ts";
import { eachFlowStats, MAX_MESSAGE } from "./flow-mod.ts";
import { readAllVectors, type Piece, type PieceKind } from "../testing/fuzz-vectors.ts";
import { decodeInstructions, encodeInstructions, type Instruction } from "./instructions.ts";
import { decodeMatch, decodeNxm, encodeMatch, encodeNxm, type Match } from "../match/match.ts";
import { decodeMessage, encodeMessage, type Decoded, type Message } from "./codec.ts";
import { parseActions, parseInstructions } from "../text/parse/actions.ts";
import { parseFlow, parseFlows } from "../text/parse/flow.ts";
import { parseGroup, parseMeter } from "../text/parse/group.ts";
import { parseMatch } from "../text/parse/match.ts";
import { printBytes } from "../text/print/bytes.ts";
import { formatBytes } from "../text/print/message.ts";

const nightly = process.env["AXION_NIGHTLY"] !== undefined;
// By day the same cases for everybody; new ones every night.
const seed = Number(process.env["FUZZ_SEED"] ?? (nightly ? Math.floor(Math.random() * 2 ** 32) : 20261124)) >>> 0;
const cases = Number(process.env["FUZZ_CASES"] ?? (nightly ? 1_000_000 : 20_000));

const corpus = readAllVectors();

// --- the watchdog ---

const HANG_MS = 60_000;
const shared = new SharedArrayBuffer(8 + 2 * MAX_MESSAGE);
const progress = new Int32Array(shared, 0, 2); // cases begun, length of the one under way
const underWay = new Uint8Array(shared, 8);
let watchdog: Worker;
const { stackTraceLimit } = Error;

beforeAll(() => {
  Error.stackTraceLimit = 0; // most cases end in an error, and most of its cost is its stack
  watchdog = new Worker(`
    const { workerData: { shared, hangMs } } = require("node:worker_threads");
    const progress = new Int32Array(shared, 0, 2);
    let seen = -1, since = Date.now();
    setInterval(() => {
      if (progress[1] < 0 || progress[0] !== seen) { seen = progress[0]; since = Date.now(); return; }
      if (Date.now() - since < hangMs) return;
      require("node:fs").writeSync(2, "fuzz: no end after " + hangMs + " ms: " + Buffer.from(shared, 8, progress[1]).toString("hex") + "\\n");
      process.kill(process.pid, "SIGKILL");
    }, 1000);
  `, { eval: true, workerData: { shared, hangMs: HANG_MS } });
  watchdog.unref();
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
  return watchdog.terminate();
});

// --- what must hold of any bytes ---

/**
 * How much a decoded value takes: one for each value and key, and what text and copied bytes take beyond that. Bytes that are a view of the
 * input are free.
 */
function weight(value: unknown, input: ArrayBufferLike): number {
  if (typeof value === "string") return 1 + value.length / 8;
  if (typeof value === "bigint") return 3;
  if (typeof value !== "object" || value === null) return 1;
  if (value instanceof Uint8Array) return 2 + (value.buffer === input ? 0 : value.byteLength / 8);
  let sum = 2;
  if (Array.isArray(value)) for (const item of value) sum += weight(item, input);
  else for (const key of Object.keys(value)) sum += 1 + weight((value as Record<string, unknown>)[key], input);
  return sum;
}

/** Weight that one byte of input may take: the smallest entries are eight bytes, and name their type and fields. */
const WEIGHT_PER_BYTE = 2;
const WEIGHT_ANYHOW = 60;
let heaviest = 0;

const scratch = Buffer.alloc(8 * 65536);

interface Way {
  readonly kind: PieceKind;
  decode(bytes: Buffer, strict: boolean): unknown;
  encode(value: never): Buffer;
}

const WAYS: readonly Way[] = [
  { kind: "message", decode: (bytes, strict) => decodeMessage(bytes, { strict }), encode: (message: Decoded) => encodeMessage(message, message.xid) },
  {
    kind: "actions",
    decode: (bytes, strict) => decodeActions(bytes, 0, bytes.length, { strict }),
    encode: (actions: Action[]) => Buffer.from(scratch.subarray(0, encodeActions(scratch, 0, actions))),
  },
  {
    kind: "instructions",
    decode: (bytes, strict) => decodeInstructions(bytes, 0, bytes.length, { strict }),
    encode: (instructions: ReturnType<typeof decodeInstructions>) => Buffer.from(scratch.subarray(0, encodeInstructions(scratch, 0, instructions))),
  },
  {
    kind: "match",
    decode: (bytes, strict) => decodeMatch(bytes, 0, bytes.length, { strict }),
    encode: (match: ReturnType<typeof decodeMatch>) => Buffer.from(scratch.subarray(0, encodeMatch(scratch, 0, match))),
  },
  {
    kind: "nxm",
    decode: (bytes, strict) => decodeNxm(bytes, 0, bytes.length, { strict }),
    encode: (match: ReturnType<typeof decodeNxm>) => Buffer.from(scratch.subarray(0, encodeNxm(scratch, 0, match))),
  },
];

const PRINTED = { message: "message", actions: "actions", instructions: "instructions", match: "oxm", nxm: "nxm" } as const;

/** How often a decoder took what it was given, so that a run in which all was refused is noticed. */
const taken = new Map<string, number>();
/** First case of each fault. */
const faults = new Map<string, string>();

function fault(what: string, way: string, bytes: Buffer, origin: string): void {
  const key = `${way}: ${what}`;
  if (faults.size < 40 && !faults.has(key)) faults.set(key, `${key}\n  ${origin}\n  ${bytes.length > 2000 ? `${bytes.toString("hex", 0, 2000)}...` : bytes.toString("hex")}`);
}

/** Runs `body`; returns its result, or undefined after an OpenFlowError, which must name a place in the input or, where given, is for `onRefusal`. */
function guarded<T>(body: () => T, way: string, bytes: Buffer, origin: string, onRefusal?: (refusal: OpenFlowError) => void): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof OpenFlowError)) fault(String(error), way, bytes, origin);
    else if (onRefusal !== undefined) onRefusal(error);
    else if (!(error.offset !== undefined && error.offset >= 0 && error.offset <= bytes.length)) fault(`offset ${String(error.offset)} of ${error.reason.replaceAll(/\d+/g, "N")}`, way, bytes, origin);
    return undefined;
  }
}

/** What strict decoding takes, and the encoder or the printer refuses. */
const KNOWN = [
  /of tun_metadata\d+$|^tun_metadata\d+ takes at most/, // a tunnel option whose length in the header cannot be
  /^learn: \d+ does not fit \d+ bits/, // a constant with bits beyond those that are learned
  /^\w+: more than \d+ bits/, // set_field of a field that Open vSwitch does not look at closely, as tun_erspan_idx
];

function count(way: string): void {
  taken.set(way, (taken.get(way) ?? 0) + 1);
}

function check(bytes: Buffer, origin: string, kinds: readonly PieceKind[]): void {
  progress[0] = progress[0]! + 1;
  progress[1] = Math.min(bytes.length, underWay.length);
  underWay.set(bytes.subarray(0, underWay.length));
  for (const way of WAYS) {
    if (!kinds.includes(way.kind)) continue;
    const { kind } = way;
    const decoded = guarded(() => way.decode(bytes, false), kind, bytes, origin);
    const strictly = guarded(() => way.decode(bytes, true), `${kind} (strict)`, bytes, origin);
    if (strictly !== undefined) {
      count(`${kind} (strict)`);
      if (decoded !== undefined && !isDeepStrictEqual(strictly, decoded)) fault("decodes to something else strictly", kind, bytes, origin);
    }
    if (decoded === undefined) continue;
    count(kind);
    guarded(() => printBytes(PRINTED[kind], bytes, { strict: false }), `${kind} printed`, bytes, origin, () => undefined);
    if (strictly !== undefined) guarded(() => printBytes(PRINTED[kind], bytes), `${kind} printed (strict)`, bytes, origin, (refusal) => {
      if (!KNOWN.some((known) => known.test(refusal.reason))) fault(`cannot be printed: ${refusal.reason.replaceAll(/\d+/g, "N")}`, kind, bytes, origin);
    });
    const heavy = (weight(decoded, bytes.buffer) - WEIGHT_ANYHOW) / Math.max(1, bytes.length);
    heaviest = Math.max(heaviest, heavy);
    if (heavy > WEIGHT_PER_BYTE) fault(`weighs ${heavy.toFixed(1)} a byte`, kind, bytes, origin);
    const again = guarded(() => way.encode(decoded as never), `${kind} encode`, bytes, origin, (refusal) => {
      // A value that does not fit its field is for the encoder to refuse; what passes as strict has none.
      if (strictly !== undefined && bytes.length < MAX_MESSAGE / 4 && !KNOWN.some((known) => known.test(refusal.reason))) fault(`cannot be encoded again: ${refusal.reason.replaceAll(/\d+/g, "N")}`, kind, bytes, origin);
    });
    if (again === undefined) continue;
    const back = guarded(() => way.decode(again, false), `${kind} again`, again, origin);
    if (back !== undefined && !isDeepStrictEqual(back, decoded) && !isDeepStrictEqual(canonical(back), canonical(decoded))) {
      // Known: a masked port of 16 bits comes back as in_port, without its mask.
      if (!inspect(decoded, { depth: 20 }).includes("nxm_in_port: {")) fault("decodes to something else when encoded again", kind, bytes, origin);
    }
  }
  if (kinds.includes("message") && bytes.length < 256) guarded(() => formatBytes(bytes), "formatBytes", bytes, origin);
  if (kinds.includes("message")) guarded(() => eachFlowStats(bytes, (entry) => entry.match_len + entry.instructions_len), "eachFlowStats", bytes, origin);
  progress[1] = -1;
}

/**
 * Without what encoding sets, leaves out or puts in order: it writes version 4, no empty lists of actions to apply or write, no
 * fields whose mask has none of the field's bits, and instructions in order of execution.
 */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) {
    const kept: unknown[] = value.filter((item) => !isEmptyInstruction(item)).map(canonical);
    return kept.some(isInstruction) ? kept.map((item) => inspect(item, { depth: 20, maxArrayLength: null })).sort((a, b) => (a < b ? -1 : 1)) : kept;
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if ((value as { type?: string }).type === "controller") return Object.fromEntries(Object.entries(value).filter(([key, item]) => !isDefault(key, item)));
  const { type, field, dst } = value as { type?: string; field?: string; dst?: { field?: string } };
  const loaded = type === "load" ? dst?.field : type === "reg_load2" ? field : undefined;
  // load of a field that it cannot name is written as reg_load2
  if (loaded !== undefined && (fieldByName.get(loaded)?.nxmExperimenter !== undefined || loaded.startsWith("tun_metadata"))) return { type: "load", field: loaded };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === "version" ? 4 : masked(key, canonical(item))]).filter(([, item]) => item !== undefined));
}

function isInstruction(item: unknown): boolean {
  return ["apply_actions", "write_actions", "goto_table", "write_metadata", "clear_actions", "meter"].includes((item as { type?: string } | null)?.type ?? "");
}

function isEmptyInstruction(item: unknown): boolean {
  const { type, actions } = (item ?? {}) as { type?: unknown; actions?: unknown };
  return (type === "apply_actions" || type === "write_actions") && Array.isArray(actions) && actions.length === 0;
}

/** Properties of a controller action that say what holds without them. */
function isDefault(name: string, value: unknown): boolean {
  return name === "form" || (name === "reason" && value === 1) || (name === "controller_id" && value === 0) || (name === "max_len" && value === 0xffff) ||
    (name === "meter_id" && value === 0xffffffff) || (name === "userdata" && (value as Uint8Array).length === 0);
}

/** A masked value without the bits that its field has not; undefined when there are no others. */
function masked(name: string, item: unknown): unknown {
  const field = fieldByName.get(name);
  if (field === undefined || field.bits === 0 || typeof item !== "object" || item === null || !("mask" in item)) return item;
  const { mask } = item;
  if (typeof mask !== "number" && typeof mask !== "bigint") return item;
  const bits = BigInt(mask) & ((1n << BigInt(field.bits)) - 1n);
  return bits === 0n ? undefined : { ...item, mask: bits };
}

/** The faults so far, which the next test shall not find again. */
function report(): string {
  const text = [...faults.values()].join("\n");
  faults.clear();
  return text;
}

const ALL: readonly PieceKind[] = ["message", "actions", "instructions", "match", "nxm"];

// --- truncation ---

/** Every length of a short piece; of a long one all near its ends, and each so many between, all of them at night. */
function* lengths(whole: number, near: number): Generator<number> {
  for (let length = 0; length < whole; length += !nightly && length >= near && length < whole - near ? 251 : 1) yield length;
}

function relength(bytes: Buffer): Buffer {
  if (bytes.length >= 4 && bytes.length <= MAX_MESSAGE) bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
}

describe("bytes that nobody meant", () => {
  test.each([
    ["a flow update that is all header, at the end", "message", "041300200000000affff0000000000004f4e46000000074e0008000100000000"],
    ["load of a part of a tunnel option", "actions", "ffff0018000023200007010300015e04000000000000000a"],
  ] as const)("once found: %s", (_, kind, hex) => {
    check(Buffer.from(hex, "hex"), "once found", [kind]);
    expect(report()).toBe("");
  });

  test("the vectors themselves", () => {
    expect(corpus.length).toBeGreaterThan(900);
    for (const piece of corpus) check(piece.bytes, piece.name, [piece.kind]);
    expect(report()).toBe("");
  });

  for (const { near, atLeast, ...stage } of [{ near: 64, atLeast: 20_000 }, { near: 512, atLeast: 100_000, tags: "long" }]) test(`every truncation of every vector, near its ends: ${near} bytes`, { ...stage, timeout: nightly ? 3_600_000 : 600_000 }, () => {
    let count = 0;
    for (const piece of corpus) {
      for (const length of lengths(piece.bytes.length, near)) {
        check(Buffer.from(piece.bytes.subarray(0, length)), `${piece.name} cut at ${length}`, [piece.kind]);
        if (piece.kind === "message") check(relength(Buffer.from(piece.bytes.subarray(0, length))), `${piece.name} cut at ${length}, its length set`, ["message"]);
        count++;
      }
    }
    expect(count).toBeGreaterThan(atLeast);
    expect(report()).toBe("");
  });

  test(`${cases} random mutations, FUZZ_SEED=${seed}`, () => {
    console.log(`fuzz: FUZZ_SEED=${seed} FUZZ_CASES=${cases}, ${corpus.length} vectors`);
    const random = generator(seed);
    taken.clear();
    for (let i = 0; i < cases; i++) {
      const piece = pick(corpus, random);
      const mutated = mutate(piece, random);
      check(mutated, `case ${i} of FUZZ_SEED=${seed}, from ${piece.name}`, random(8) === 0 ? ALL : [piece.kind]);
    }
    console.log(`fuzz: taken ${[...taken].map(([name, count]) => `${name} ${count}`).join(", ")}; heaviest ${heaviest.toFixed(2)} a byte`);
    for (const kind of ALL) expect(taken.get(kind) ?? 0, `${kind} taken`).toBeGreaterThan(cases / 1000);
    expect(report()).toBe("");
  }, nightly ? 3_600_000 : 600_000);
});

// --- text ---

const READERS: readonly (readonly [name: string, read: (text: string) => unknown, encode?: (read: never) => unknown])[] = [
  ["parseFlow", (text) => parseFlow(text), (flow: Message) => decodeMessage(encodeMessage(flow, 1))],
  ["parseFlows", (text) => parseFlows(text)],
  ["parseMatch", parseMatch, (match: Match) => decodeMatch(scratch.subarray(0, encodeMatch(scratch, 0, match)), 0)],
  ["parseActions", parseActions, (actions: Action[]) => decodeActions(scratch, 0, encodeActions(scratch, 0, actions))],
  ["parseInstructions", parseInstructions, (instructions: Instruction[]) => decodeInstructions(scratch, 0, encodeInstructions(scratch, 0, instructions))],
  ["parseGroup", (text) => parseGroup(text), (group: Message) => decodeMessage(encodeMessage(group, 1))],
  ["parseMeter", (text) => parseMeter(text), (meter: Message) => decodeMessage(encodeMessage(meter, 1))],
];

/** Texts of our own: flows, groups and meters of the recorded session, and what was printed of the messages. */
function readTexts(): string[] {
  const texts: string[] = [];
  for (const line of readFileSync(new URL("../../vectors/session.txt", import.meta.url), "utf8").split("\n")) {
    const flow = /^flow (.*)/.exec(line)?.[1];
    if (flow !== undefined) texts.push(flow, flow.slice(flow.indexOf("actions=") + 8), flow.slice(0, Math.max(0, flow.indexOf(",actions="))));
    const other = /^ofctl (?:--\S+ )?(?:add|mod|del)-(?:flows?|group|meter) '?([^']*)/.exec(line)?.[1];
    if (other !== undefined) for (let i = 0; i < 10; i++) texts.push(other); // there are few of them
  }
  return texts;
}

const MARKS = [",", "=", "(", ")", "[", "]", "->", "/", ":", ".", "..", "-", "+", "|", " ", "\n", "\t", "\0", "'", "\\", "é", "\ud800"];
const TOKENS = [
  "0", "1", "-1", "0x", "0xffffffff", "4294967296", "18446744073709551616", "99999999999999999999999999999999999999999999", "1e9", "actions=", "resubmit(,1)", "clone(", "learn(",
  "ct(exec(", "nat(src=", "reg0[]", "reg0[0..31]", "NXM_NX_REG1[", "tun_metadata0", "dl_vlan=", "ip,", "in_port=", "ANY", "10.0.0.1/33", "::/129", "write_actions(", "bucket=", "bands=",
];

function mutateText(texts: readonly string[], random: (below: number) => number): string {
  let text = pick(texts, random);
  for (let rounds = 1 + random(4); rounds > 0; rounds--) {
    const at = random(text.length + 1);
    const to = at + random(Math.min(16, text.length - at + 1));
    switch (random(6)) {
      case 0:
        text = text.slice(0, at) + text.slice(to);
        break;
      case 1:
        text = text.slice(0, at) + pick(MARKS, random) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + pick(TOKENS, random) + text.slice(random(2) === 0 ? at : to);
        break;
      case 3:
        text = text.slice(0, at) + String.fromCharCode(random(random(4) === 0 ? 0x10000 : 128)) + text.slice(at + 1);
        break;
      case 4: {
        const other = pick(texts, random);
        text = text.slice(0, at) + other.slice(random(other.length + 1));
        break;
      }
      default:
        text = text.slice(0, at) + text.slice(at, to).repeat(1 + random(random(50) === 0 ? 2000 : 3)) + text.slice(to);
    }
  }
  return text.slice(0, 20_000);
}

function checkText(text: string, origin: string): void {
  const bytes = Buffer.from(text);
  progress[0] = progress[0]! + 1;
  progress[1] = Math.min(bytes.length, underWay.length);
  underWay.set(bytes.subarray(0, underWay.length));
  for (const [name, read, encode] of READERS) {
    const taken = guarded(() => read(text), name, bytes, `${origin}: ${JSON.stringify(text.slice(0, 500))}`);
    if (taken === undefined) continue;
    count(name);
    // What reads well may still be more than a message holds.
    if (encode !== undefined) guarded(() => encode(taken as never), `${name} encoded`, bytes, `${origin}: ${JSON.stringify(text.slice(0, 500))}`, () => undefined);
  }
  progress[1] = -1;
}

describe("text that nobody meant", () => {
  test(`${cases} random mutations, FUZZ_SEED=${seed}`, () => {
    const texts = readTexts();
    expect(texts.length).toBeGreaterThan(1000);
    const random = generator(seed);
    taken.clear();
    for (let i = 0; i < cases; i++) checkText(mutateText(texts, random), `case ${i} of FUZZ_SEED=${seed}`);
    console.log(`fuzz: taken ${[...taken].map(([name, number]) => `${name} ${number}`).join(", ")}`);
    for (const [name] of READERS) expect(taken.get(name) ?? 0, `${name} taken`).toBeGreaterThan(cases / 1000);
    expect(report()).toBe("");
  }, nightly ? 3_600_000 : 600_000);
});

// --- mutation ---

/** Numbers below the one asked for, the same for the same seed (xorshift128). */
function generator(start: number): (below: number) => number {
  let [x, y, z, w] = [start ^ 0x9e3779b9, start ^ 0x243f6a88, 0xb7e15162, (start * 2654435761) >>> 0];
  return (below) => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return (w >>> 0) % below;
  };
}

function pick<T>(list: readonly T[], random: (below: number) => number): T {
  return list[random(list.length)]!;
}

const BYTES = [0, 1, 7, 8, 0x7f, 0x80, 0xfe, 0xff];
const SHORTS = [0, 1, 3, 4, 7, 8, 9, 15, 16, 24, 0xff, 0x100, 0x7fff, 0x8000, 0xfff8, 0xffff];
const WORDS = [0, 1, 8, 0x2320, 0x4f4e4600, 0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffffe, 0xffffffff];

type Mutation = (bytes: Buffer, random: (below: number) => number) => Buffer;

function insert(bytes: Buffer, at: number, what: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), what, bytes.subarray(at)]).subarray(0, MAX_MESSAGE);
}

const MUTATIONS: readonly Mutation[] = [
  (bytes, random) => {
    const at = random(bytes.length);
    bytes[at] = bytes[at]! ^ (1 << random(8));
    return bytes;
  },
  (bytes, random) => {
    bytes[random(bytes.length)] = pick(BYTES, random);
    return bytes;
  },
  (bytes, random) => {
    bytes[random(bytes.length)] = random(256);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length >= 2) bytes.writeUInt16BE(pick(SHORTS, random), random(bytes.length >> 1) * 2);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length >= 4) bytes.writeUInt32BE(pick(WORDS, random), random(bytes.length >> 2) * 4);
    return bytes;
  },
  // a length here and there, up or down by what would still be aligned, or by a little
  (bytes, random) => {
    if (bytes.length < 4) return bytes;
    const at = random(bytes.length >> 1) * 2;
    bytes.writeUInt16BE((bytes.readUInt16BE(at) + pick([-16, -8, -4, -1, 1, 4, 8, 16], random)) & 0xffff, at);
    return bytes;
  },
  (bytes, random) => insert(bytes, random(bytes.length + 1), Buffer.from(Array.from({ length: pick([1, 2, 4, 8, 16], random) }, () => random(256)))),
  (bytes, random) => insert(bytes, random(bytes.length >> 3) * 8, Buffer.alloc(pick([8, 16, 24], random))),
  (bytes, random) => {
    const from = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + 1 + random(16))]);
  },
  // an aligned piece twice
  (bytes, random) => {
    const from = random((bytes.length >> 3) + 1) * 8;
    return insert(bytes, from, bytes.subarray(from, from + 8 * (1 + random(8))));
  },
  // the head of this and the tail of another
  (bytes, random) => {
    const other = pick(corpus, random).bytes;
    const at = random((bytes.length >> 2) + 1) * 4;
    return Buffer.concat([bytes.subarray(0, at), other.subarray(random((other.length >> 2) + 1) * 4)]).subarray(0, MAX_MESSAGE);
  },
  (bytes, random) => bytes.subarray(0, random(bytes.length + 1)),
];

function mutate(piece: Piece, random: (below: number) => number): Buffer {
  let bytes: Buffer = Buffer.from(piece.bytes);
  for (let rounds = 1 + random(4); rounds > 0 && bytes.length > 0; rounds--) bytes = Buffer.from(pick(MUTATIONS, random)(bytes, random));
  // most decoders would stop at the length of the message, and never see what is inside
  if (piece.kind === "message" && random(4) !== 0) relength(bytes);
  return bytes;
}
