// Register bits, allocated from what the core and the apps declare. A switch has 16 words of 32 bits and two more in `metadata`;
// a register that was there before keeps its bits.
import { fields, type FieldName, type SubField } from "node-openflow";
import { sharedRegisters, type RegisterDecl } from "#app";

export interface Register extends SubField {
  readonly about: string;
  readonly name: string;
  /** "core" or the app that declared it. */
  readonly app: string;
  /** Holds an address of either family: IPv4 in its lowest word, the other words zero. */
  readonly ip: boolean;
  readonly scratch: boolean;
  /** Values are less: 2 to the power of `bits`. */
  readonly limit: number;
}

/** Words of a switch, and the two that `metadata` adds. Open vSwitch 3.1: ovs-fields(7). */
const WORDS = 16;
const METADATA_WORDS = 2;

interface Declared {
  readonly name: string;
  readonly app: string;
  readonly decl: RegisterDecl;
}

/** Where registers were until now. */
export type KeptRegisters = readonly { readonly name: string; readonly field: string; readonly ofs: number; readonly bits: number; readonly ip: boolean }[];

/** `kept`: each stays where it was, if all have room then. @throws Error naming both owners of a name, or when the registers do not fit. */
export function allocateRegisters(owners: readonly { readonly app: string; readonly registers: Readonly<Record<string, RegisterDecl>> }[], kept?: KeptRegisters): Map<string, Register> {
  const known = new Map<string, string>();
  const declared: Declared[] = [];
  for (const { app, registers } of [{ app: "core", registers: sharedRegisters as Readonly<Record<string, RegisterDecl>> }, ...owners]) {
    for (const [name, decl] of Object.entries(registers)) {
      const other = known.get(name);
      if (other !== undefined) throw new Error(`register ${name} is declared by ${other} and by ${app}`);
      known.set(name, app);
      if (decl.scratch === true && widthOf(decl) > 32) throw new Error(`scratch register ${name} of ${app} has ${widthOf(decl)} bits; 32 is the most`);
      declared.push({ name, app, decl });
    }
  }
  return (kept === undefined ? undefined : placeAmong(declared, kept)) ?? place(declared);
}

const widthOf = (decl: RegisterDecl): number => (decl.bits === "ip" ? 128 : decl.bits);
const isScratch = ({ decl }: Declared): boolean => decl.scratch === true;
const byWidth = (a: Declared, b: Declared): number => widthOf(b.decl) - widthOf(a.decl);

/** `word`: those of a switch, then those of metadata; of a wide one the first of its four. */
function registerAt({ name, app, decl }: Declared, word: number, ofs: number): Register {
  const bits = widthOf(decl);
  const field = (bits === 128 ? `xxreg${word / 4}` : word < WORDS ? `reg${word}` : "metadata") as FieldName;
  return { about: decl.about, name, app, field, ofs: word < WORDS ? ofs : (word - WORDS) * 32 + ofs, bits, ip: decl.bits === "ip", scratch: decl.scratch === true, limit: 2 ** bits };
}

/** Wide ones, words and small ones, widest first; then scratch ones, app by app. */
function byKind(declared: readonly Declared[]): { readonly wide: Declared[]; readonly words: Declared[]; readonly small: Declared[]; readonly scratch: Declared[][] } {
  const lasting = declared.filter((d) => !isScratch(d));
  const apps = new Set(declared.filter(isScratch).map((d) => d.app));
  return {
    wide: lasting.filter((d) => widthOf(d.decl) === 128),
    words: lasting.filter((d) => widthOf(d.decl) === 32),
    small: lasting.filter((d) => widthOf(d.decl) < 32).sort(byWidth),
    scratch: Array.from(apps, (app) => declared.filter((d) => d.app === app && isScratch(d)).sort(byWidth)),
  };
}

/** Wide registers from the top (xxreg3 down), words from reg0 up, small ones packed into words after those, scratch ones all in one place. */
function place(declared: readonly Declared[]): Map<string, Register> {
  const out = new Map<string, Register>();
  const { wide, words, small, scratch } = byKind(declared);
  const room = WORDS - 4 * wide.length;
  const at = (d: Declared, word: number, ofs: number): void => void out.set(d.name, registerAt(d, word < room ? word : WORDS + word - room, ofs));
  wide.forEach((d, i) => out.set(d.name, registerAt(d, WORDS - 4 * (i + 1), 0)));
  let word = 0;
  for (const d of words) at(d, word++, 0);
  word = pack(small, word, at);
  // What lives between two flows only: the scratch registers of each app begin at the same word.
  const first = word;
  for (const own of scratch) word = Math.max(word, pack(own, first, at));
  if (word > room + METADATA_WORDS) {
    throw new Error(`the declared registers need ${word} words and ${wide.length} wide ones; a switch has ${WORDS} words and ${METADATA_WORDS} of metadata`);
  }
  return out;
}

/** Those that were there stay, the others get what is free. undefined: they do not fit so. */
function placeAmong(declared: readonly Declared[], kept: KeptRegisters): Map<string, Register> | undefined {
  const before = new Map(kept.map((r) => [r.name, r]));
  const out = new Map<string, Register>();
  // Bits that are taken, by word; those of scratch registers by app, which share them.
  const lasting = new Uint32Array(WORDS + METADATA_WORDS);
  const scratch = new Map<string, Uint32Array>();
  const ofScratch = (word: number): number => [...scratch.values()].reduce((bits, words) => bits | words[word]!, 0);
  const scratchOf = (app: string): Uint32Array => scratch.get(app) ?? scratch.set(app, new Uint32Array(lasting.length)).get(app)!;
  const take = (d: Declared, word: number, ofs: number): boolean => {
    const bits = widthOf(d.decl);
    const mask = (bits >= 32 ? 0xffff_ffff : (2 ** bits - 1) << ofs) >>> 0;
    const words = Array.from({ length: Math.max(1, bits / 32) }, (_, n) => word + n);
    if (ofs + Math.min(bits, 32) > 32 || words.some((w) => w >= lasting.length || (mask & (lasting[w]! | (isScratch(d) ? scratchOf(d.app)[w]! : ofScratch(w)))) !== 0)) return false;
    for (const w of words) (isScratch(d) ? scratchOf(d.app) : lasting)[w]! |= mask;
    out.set(d.name, registerAt(d, word, ofs));
    return true;
  };
  const kinds = byKind(declared);
  const ordered = [...kinds.wide, ...kinds.words, ...kinds.small, ...kinds.scratch.flat()];
  const others = ordered.filter((d) => {
    const was = before.get(d.name);
    if (was?.bits !== widthOf(d.decl) || was.ip !== (d.decl.bits === "ip")) return true;
    const at = wordAt(was);
    return at === undefined || !take(d, ...at);
  });
  for (const d of others) {
    const width = widthOf(d.decl);
    // Words that have such registers already are filled first.
    const begun = (word: number): boolean => (isScratch(d) ? ofScratch(word) : lasting[word]!) !== 0;
    const words = width === 128 ? [12, 8, 4, 0] : [...lasting.keys()].sort((a, b) => Number(begun(b)) - Number(begun(a)) || a - b);
    if (!words.some((word) => Array.from({ length: Math.max(0, 32 - width) + 1 }, (_, ofs) => ofs).some((ofs) => take(d, word, ofs)))) return undefined;
  }
  // In the order in which they are when none was there before.
  return new Map(ordered.map(({ name }) => [name, out.get(name)!]));
}

/** Word and first bit of a place; undefined: it is none of a register. */
function wordAt({ field, ofs, bits }: KeptRegisters[number]): [word: number, ofs: number] | undefined {
  if (!Number.isInteger(ofs) || ofs < 0) return undefined;
  if (field === "metadata") return ofs < 64 ? [WORDS + Math.floor(ofs / 32), ofs % 32] : undefined;
  const [, wide, digits] = /^(xx)?reg(\d{1,2})$/.exec(field) ?? [];
  if (digits === undefined || (wide !== undefined) !== (bits === 128)) return undefined;
  const word = wide === undefined ? Number(digits) : 4 * Number(digits);
  return word < WORDS && ofs < 32 ? [word, ofs] : undefined;
}

/** Fills words with registers of at most 32 bits, widest first; answers the next free word. */
function pack(list: readonly Declared[], word: number, at: (d: Declared, word: number, ofs: number) => void): number {
  let ofs = 32;
  for (const d of list) {
    if (ofs + widthOf(d.decl) > 32) {
      ofs = 0;
      word++;
    }
    at(d, word - 1, ofs);
    ofs += widthOf(d.decl);
  }
  return word;
}

export const toSubField = (s: SubField): SubField => ({ field: s.field, ofs: s.ofs, bits: s.bits });

export function wholeField(name: FieldName): SubField {
  const field = fields[name];
  if (field === undefined) throw new Error(`no field ${name as string}`);
  return { field: name, ofs: 0, bits: field.bits };
}
