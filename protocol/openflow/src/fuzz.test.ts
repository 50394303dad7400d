// Bytes that nobody meant: every truncation of every vector, and random mutation of all. Whatever comes, a decoder ends in
// an OpenFlowError whose offset lies in the input, or in a message that is no larger than the input allows, prints, and encodes to bytes
// that decode to the same again.
//
// FUZZ_SEED repeats a run, FUZZ_CASES sets its length (20,000; 1,000,000 at night). A case that does not end is named by a watchdog
// in a thread of its own, since the thread that hangs cannot.

import { isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { decodeActions, encodeActions, type Action } from "./actions.ts";
import { OpenFlowError } from "./errors.ts";
import { eachFlowStats, MAX_MESSAGE } from "./flow-mod.ts";
import { readAllVectors, type Piece, type PieceKind } from "./fuzz-vectors.ts";
import { decodeInstructions, encodeInstructions } from "./instructions.ts";
import { decodeMatch, decodeNxm, encodeMatch, encodeNxm } from "./match.ts";
import { decodeMessage, encodeMessage, type Decoded } from "./messages.ts";

const nightly = process.env["AXION_NIGHTLY"] !== undefined;
const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
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

/** How often a decoder took what it was given, so that a run in which all was refused is noticed. */
const taken = new Map<string, number>();
/** First case of each fault. */
const faults = new Map<string, string>();

function fault(what: string, way: string, bytes: Buffer, origin: string): void {
  const key = `${way}: ${what}`;
  if (faults.size < 40 && !faults.has(key)) faults.set(key, `${key}\n  ${origin}\n  ${bytes.length > 2000 ? `${bytes.toString("hex", 0, 2000)}...` : bytes.toString("hex")}`);
}

/** Runs `body`; returns its result, or undefined after an OpenFlowError of the kind that these bytes may cause. */
function guarded<T>(body: () => T, way: string, bytes: Buffer, origin: string, offsetMatters: boolean): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof OpenFlowError)) {
      fault(String(error), way, bytes, origin);
    } else if (offsetMatters && !(error.offset !== undefined && error.offset >= 0 && error.offset <= bytes.length)) {
      fault(`offset ${String(error.offset)} of ${error.reason.replaceAll(/\d+/g, "N")}`, way, bytes, origin);
    }
    return undefined;
  }
}

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
    const decoded = guarded(() => way.decode(bytes, false), kind, bytes, origin, true);
    const strictly = guarded(() => way.decode(bytes, true), `${kind} (strict)`, bytes, origin, true);
    if (strictly !== undefined) {
      count(`${kind} (strict)`);
      if (!isDeepStrictEqual(strictly, decoded)) fault(decoded === undefined ? "taken strictly only" : "decodes to something else strictly", kind, bytes, origin);
    }
    if (decoded === undefined) continue;
    count(kind);
    const heavy = (weight(decoded, bytes.buffer) - WEIGHT_ANYHOW) / Math.max(1, bytes.length);
    heaviest = Math.max(heaviest, heavy);
    if (heavy > WEIGHT_PER_BYTE) fault(`weighs ${heavy.toFixed(1)} a byte`, kind, bytes, origin);
    const again = guarded(() => way.encode(decoded as never), `${kind} encode`, bytes, origin, false);
    if (again === undefined) {
      // A value that does not fit its field is for the encoder to refuse; what passes as strict has none.
      if (strictly !== undefined && bytes.length < MAX_MESSAGE / 4) fault("cannot be encoded again", kind, bytes, origin);
      continue;
    }
    const back = guarded(() => way.decode(again, false), `${kind} again`, again, origin, true);
    if (back !== undefined && !isDeepStrictEqual(back, decoded) && !isDeepStrictEqual(canonical(back), canonical(decoded))) {
      fault("decodes to something else when encoded again", kind, bytes, origin);
    }
  }
  if (kinds.includes("message")) guarded(() => eachFlowStats(bytes, (entry) => entry.match_len + entry.instructions_len), "eachFlowStats", bytes, origin, true);
  progress[1] = -1;
}

/** Without what encoding sets or leaves out: it writes version 4, and no empty lists of actions to apply or write. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => !isEmptyInstruction(item)).map(canonical);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === "version" ? 4 : canonical(item)]));
}

function isEmptyInstruction(item: unknown): boolean {
  const { type, actions } = (item ?? {}) as { type?: unknown; actions?: unknown };
  return (type === "apply_actions" || type === "write_actions") && Array.isArray(actions) && actions.length === 0;
}

function report(): string {
  return [...faults.values()].join("\n");
}

const ALL: readonly PieceKind[] = ["message", "actions", "instructions", "match", "nxm"];

// --- truncation ---

/** Every length of a short piece; of a long one all near its ends, and each so many between, all of them at night. */
function* lengths(whole: number): Generator<number> {
  const near = 512;
  for (let length = 0; length < whole; length += !nightly && length >= near && length < whole - near ? 251 : 1) yield length;
}

function relength(bytes: Buffer): Buffer {
  if (bytes.length >= 4 && bytes.length <= MAX_MESSAGE) bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
}

describe("bytes that nobody meant", () => {
  test("the vectors themselves", () => {
    expect(corpus.length).toBeGreaterThan(900);
    for (const piece of corpus) check(piece.bytes, piece.name, [piece.kind]);
    expect(report()).toBe("");
  });

  test("every truncation of every vector", () => {
    let count = 0;
    for (const piece of corpus) {
      for (const length of lengths(piece.bytes.length)) {
        check(Buffer.from(piece.bytes.subarray(0, length)), `${piece.name} cut at ${length}`, [piece.kind]);
        if (piece.kind === "message") check(relength(Buffer.from(piece.bytes.subarray(0, length))), `${piece.name} cut at ${length}, its length set`, ["message"]);
        count++;
      }
    }
    expect(count).toBeGreaterThan(100_000);
    expect(report()).toBe("");
  }, nightly ? 3_600_000 : 600_000);

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
