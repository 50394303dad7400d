// The text of flows that differ in values only: made once the long way, with values that are found again in it, and from then on by copying what stays
// and writing what varies. How matches and actions are written is known to node-openflow and to Names alone: a template is learned from what they write,
// and one that does not come out as they write other values as well is none.
import { holesOf, type Hole, type SlicesOf } from "./holes.ts";
import { mostOf, place, textPiece, writePieces, type Kind, type Piece, type PortNames } from "./pieces.ts";

/** Match and actions, as ovs-ofctl has them and with names; the latter in JSON, where it needs escapes. */
export type Words = readonly [match: string, actions: string, matchNamed: string, actionsNamed: string];
/** Of a whole OFPT_FLOW_MOD in a table of an app's. */
export type WordsOf = (flow: Buffer, ports: ReadonlyMap<number, string>) => Words;

/** Pieces of each of the words. */
export type Pieces = readonly [match: readonly Piece[], actions: readonly Piece[], matchNamed: readonly Piece[], actionsNamed: readonly Piece[]];

export interface Template {
  readonly pieces: Pieces;
  /** Which bits make a flow one of these, and what they are: words of the message, from its match on. */
  readonly mask: Int32Array;
  readonly is: Int32Array;
  /** Bytes that the words come to at most, all of them. */
  readonly most: number;
  /** The name of a port is in it, which is another on another switch. */
  readonly ports: boolean;
  /** How flows of it are written in a form, by number of the form, once one was. */
  readonly scripts: (Script | undefined)[];
}

/** What a form writes of a flow by itself, without what is put between. */
export type Script = readonly (readonly Piece[])[];

/** Values that are tried: each comes out as it is written the long way, or the template is none. */
const TRIALS = 10;
const PORT_MARK = "~port";

/** Learned from one flow, whose bytes these are; undefined: what varies cannot be told from what stays. `random`: 0 to 1. */
export function learnTemplate(flow: Buffer, from: number, wordsOf: WordsOf, slicesOf: SlicesOf, random: () => number): Template | undefined {
  const all = holesOf(flow, slicesOf);
  const whole = fit(flow, all, wordsOf, random);
  if (whole !== undefined) return templateOf(flow, from, all, whole);
  // Those that are written as expected by themselves. Of ports all: each has another name on another switch.
  const ports = all.filter(({ kind }) => kind === "port");
  const sound = all.filter((hole) => hole.kind === "port" || fit(flow, [...ports, hole], wordsOf, random) !== undefined);
  const part = fit(flow, sound, wordsOf, random);
  return part && templateOf(flow, from, sound, part);
}

function templateOf(flow: Buffer, from: number, holes: readonly Hole[], pieces: Pieces): Template {
  const mask = new Int32Array((flow.length - from) >> 2);
  const bytes = Buffer.from(mask.buffer);
  bytes.fill(255);
  for (const { at, free } of holes) free.forEach((byte, i) => (bytes[at - from + i] = 255 & ~byte));
  const is = new Int32Array(mask.length);
  flow.copy(Buffer.from(is.buffer), 0, from);
  for (let i = 0; i < is.length; i++) is[i] = is[i]! & mask[i]!;
  let most = 0;
  for (const those of pieces) for (const piece of those) most += mostOf(piece);
  return { pieces, mask, is, most, ports: pieces.some((those) => those.some(({ kind }) => kind === "port")), scripts: [] };
}

function fit(flow: Buffer, holes: readonly Hole[], wordsOf: WordsOf, random: () => number): Pieces | undefined {
  const marked = Buffer.from(flow);
  for (const hole of holes) fill(marked, hole, (i) => Math.floor(random() * 256) | (i === 0 ? 0x80 : 0), true);
  const ports = new Map<number, string>();
  const tokens = holes.flatMap((hole) => tokensOf(hole, marked, ports)).sort((a, b) => b.text.length - a.text.length);
  const pieces = wordsOf(marked, ports).map((text) => cut(text, tokens)) as unknown as [Piece[], Piece[], Piece[], Piece[]];
  // Where zero is written otherwise shows at zero.
  const zero = Buffer.from(flow);
  for (const hole of holes) fill(zero, hole, () => 0);
  const atZero = wordsOf(zero, new Map());
  pieces.forEach((those, i) => zeroes(those, atZero[i]!, zero));
  for (let trial = 0; trial < TRIALS; trial++) {
    const bytes = Buffer.from(flow);
    for (const hole of holes) fill(bytes, hole, value(trial, random));
    // A port that is no hole would have the name that it had on one switch.
    const named = trial % 2 === 1 ? new EveryPort() : NO_NAMES;
    const right = wordsOf(bytes, named);
    if (pieces.some((those, i) => textOf(those, bytes, named) !== right[i])) return undefined;
  }
  return pieces;
}

/** Bytes of a hole, by their place. */
function value(trial: number, random: () => number): (i: number) => number {
  if (trial === 0) return () => 0;
  if (trial === 1) return () => 255;
  if (trial === 2) return (i) => (i % 4 === 3 ? 1 : 0);
  // Addresses with zeroes between.
  if (trial % 3 === 0) return () => (random() < 0.6 ? 0 : Math.floor(random() * 256));
  return () => Math.floor(random() * 256);
}

/** `high`: with the highest bit of each slice set, so that it is found as a number of so many digits. */
function fill(flow: Buffer, { at, bytes, free, slices }: Hole, of: (i: number) => number, high = false): void {
  for (let i = 0; i < bytes; i++) flow[at + i] = (flow[at + i]! & ~free[i]!) | (of(i) & free[i]!);
  if (high) for (const { shift, bits } of slices) flow[at + bytes - 1 - ((shift + bits - 1) >> 3)]! |= (1 << ((shift + bits - 1) & 7)) & free[bytes - 1 - ((shift + bits - 1) >> 3)]!;
}

interface Token {
  readonly text: string;
  readonly piece: Piece;
}

/** How a hole's value may be written. */
function tokensOf({ kind, at, bytes, slices }: Hole, flow: Buffer, ports: Map<number, string>): Token[] {
  const token = (as: Exclude<Kind, "text">, first = at, length = bytes, shift = 0, bits = 32): Token => {
    const piece = place(as, first, length, shift, bits);
    return { text: textOf([piece], flow, NO_NAMES), piece };
  };
  switch (kind) {
    case "mac":
    case "ipv4":
    case "ipv6":
      return [token(kind)];
    case "cookie":
      return [token("hex64")];
    case "words":
      return [token("address"), ...[0, 4, 8, 12].map((word) => token("hex", at + word, 4))];
    case "port": {
      const number = token("decimal");
      const name = `${PORT_MARK}${number.text}`;
      ports.set(Number(number.text), name);
      return [{ text: name, piece: { ...number.piece, kind: "port" } }, number];
    }
    case "number":
      return [token("hex"), token("decimal"), ...slices.flatMap(({ shift, bits }) => [token("hex", at, bytes, shift, bits), token("decimal", at, bytes, shift, bits)]), ...(bytes === 4 ? [token("ipv4")] : [])];
  }
}

const NO_NAMES: ReadonlyMap<number, string> = new Map();

/** A switch all of whose ports have names. */
class EveryPort extends Map<number, string> {
  override get(port: number): string | undefined {
    return Number.isInteger(port) ? `p${port}` : undefined;
  }
}
const INSIDE = /[0-9a-zA-Z~]/;
const AFTER = /[0-9a-zA-Z]/;

/** Text at its tokens. */
function cut(text: string, tokens: readonly Token[]): Piece[] {
  const out: Piece[] = [];
  let from = 0;
  const constant = (end: number): void => {
    if (end > from) out.push(textPiece(Buffer.from(text.slice(from, end))));
  };
  for (let at = 0; at < text.length; ) {
    const token = at > 0 && INSIDE.test(text[at - 1]!) ? undefined : tokens.find((one) => text.startsWith(one.text, at) && !AFTER.test(text[at + one.text.length] ?? ""));
    if (token === undefined) at++;
    else {
      constant(at);
      out.push(token.piece);
      from = at += token.text.length;
    }
  }
  constant(text.length);
  return out;
}

/** Makes those hexadecimal numbers that have no 0x before a zero what they are. */
function zeroes(pieces: Piece[], text: string, flow: Buffer): void {
  let at = 0;
  pieces.forEach((piece, i) => {
    const is = textOf([piece], flow, NO_NAMES);
    if (piece.kind === "hex" && is === "0x0" && !text.startsWith(is, at) && text[at] === "0") {
      pieces[i] = { ...piece, kind: "hash" };
      at++;
    } else at += is.length;
  });
}

const scratch = Buffer.allocUnsafeSlow(256 << 10);

function textOf(pieces: readonly Piece[], flow: Buffer, names: ReadonlyMap<number, string>): string {
  const ports: PortNames = {
    get: (port) => {
      const name = names.get(port);
      return name === undefined ? undefined : Buffer.from(name);
    },
  };
  return scratch.toString("utf8", 0, writePieces(scratch, 0, pieces, flow, 0, ports));
}
