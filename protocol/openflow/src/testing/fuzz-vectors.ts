// For tests only: all vectors as bytes of a known kind. Those of this package, the pieces that their flow-mods consist of, and those
// of other implementations where they are at hand.

import { existsSync, readFileSync } from "node:fs";

export type PieceKind = "message" | "actions" | "instructions" | "match" | "nxm";

export interface Piece {
  readonly name: string;
  readonly kind: PieceKind;
  readonly bytes: Buffer;
}

const own = new URL("../../vectors/", import.meta.url);
const others = new URL("../../../../../shared/vectors/openflow13/", import.meta.url);

interface Line {
  readonly name?: string;
  readonly class: string;
  readonly kind?: string;
  readonly hex?: string;
  readonly hex_head?: string;
  readonly fill?: readonly [byte: number, count: number];
}

function lines(url: URL): Line[] {
  return readFileSync(url, "utf8").trim().split("\n").map((line) => JSON.parse(line) as Line);
}

const KINDS: Readonly<Record<string, PieceKind>> = {
  message: "message", malformed: "message", action: "actions", actions: "actions", instruction: "instructions", instructions: "instructions", oxm: "match", match: "match", nxm: "nxm",
};

const FLOW_MOD = 14;
const MATCH = 48;

/** Match and instructions of a flow-mod, by its lengths alone. */
function pieces(name: string, message: Buffer): Piece[] {
  if (message[1] !== FLOW_MOD || message.length < MATCH + 8) return [];
  const end = MATCH + ((message.readUInt16BE(MATCH + 2) + 7) & ~7);
  if (end > message.length) return [];
  const match = message.subarray(MATCH, end);
  const instructions = message.subarray(end);
  const found: Piece[] = [
    { name: `match of ${name}`, kind: "match", bytes: match },
    { name: `nxm of ${name}`, kind: "nxm", bytes: message.subarray(MATCH + 4, MATCH + 4 + (((message.readUInt16BE(MATCH + 2) - 4 + 7) >> 3) << 3)) },
  ];
  if (instructions.length === 0) return found;
  found.push({ name: `instructions of ${name}`, kind: "instructions", bytes: instructions });
  if (instructions.readUInt16BE(0) === 4) found.push({ name: `actions of ${name}`, kind: "actions", bytes: instructions.subarray(8, instructions.readUInt16BE(2)) });
  return found;
}

export function readAllVectors(): Piece[] {
  const found: Piece[] = [];
  for (const [i, line] of lines(new URL("recorded.jsonl", own)).entries()) {
    const bytes = Buffer.from(line.hex!, "hex");
    const name = `recorded ${i + 1} ${line.class}`;
    found.push({ name, kind: "message", bytes }, ...pieces(name, bytes));
  }
  for (const block of readFileSync(new URL("messages.txt", own), "utf8").split(/^(?=\[)/m)) {
    const [head, ...rest] = block.trim().split("\n");
    const hex = rest.slice(1).map((line) => line.replace(/#.*/, "").trim()).join("");
    if (hex !== "") found.push({ name: head!, kind: "message", bytes: Buffer.from(hex, "hex") });
  }
  if (!existsSync(others)) return found;
  for (const file of ["malformed", "os-ken", "loxigen", "ovs-errors", "ovs-tests", "ovs-tests-other-versions", "ovs-wire"]) {
    for (const line of lines(new URL(`${file}.jsonl`, others))) {
      const kind = KINDS[line.kind ?? "message"];
      if (kind === undefined) continue;
      const bytes = Buffer.concat([Buffer.from(line.hex ?? line.hex_head ?? "", "hex"), Buffer.alloc(line.fill?.[1] ?? 0, line.fill?.[0])]);
      if (bytes.length > 0 && bytes.length <= 0xffff) found.push({ name: line.name!, kind, bytes });
    }
  }
  return found;
}
