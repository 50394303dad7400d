// Register bits, allocated from what the core and the apps declare. A switch has 16 words of 32 bits and two more in `metadata`;
// every controller with the same apps gives a register the same bits.
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

/** @throws Error naming both owners of a name, or when the registers do not fit. */
export function allocateRegisters(owners: readonly { readonly app: string; readonly registers: Readonly<Record<string, RegisterDecl>> }[]): Map<string, Register> {
  const known = new Map<string, string>();
  const declared: Declared[] = [];
  for (const { app, registers } of [{ app: "core", registers: sharedRegisters as Readonly<Record<string, RegisterDecl>> }, ...owners]) {
    for (const [name, decl] of Object.entries(registers)) {
      const other = known.get(name);
      if (other !== undefined) throw new Error(`register ${name} is declared by ${other} and by ${app}`);
      known.set(name, app);
      declared.push({ name, app, decl });
    }
  }
  return place(declared);
}

const widthOf = (decl: RegisterDecl): number => (decl.bits === "ip" ? 128 : decl.bits);

/** Wide registers from the top (xxreg3 down), words from reg0 up, small ones packed into words after those, scratch ones all in one place. */
function place(declared: readonly Declared[]): Map<string, Register> {
  const out = new Map<string, Register>();
  const lasting = declared.filter((d) => d.decl.scratch !== true);
  const wide = lasting.filter((d) => widthOf(d.decl) === 128);
  const words = lasting.filter((d) => widthOf(d.decl) === 32);
  const small = lasting.filter((d) => widthOf(d.decl) < 32).sort((a, b) => widthOf(b.decl) - widthOf(a.decl));
  const room = WORDS - 4 * wide.length;
  const at = ({ name, app, decl }: Declared, word: number, ofs: number): void => {
    const inWords = word < room;
    const field = inWords ? (`reg${word}` as FieldName) : "metadata";
    out.set(name, { about: decl.about, name, app, field, ofs: inWords ? ofs : (word - room) * 32 + ofs, bits: widthOf(decl), ip: false, scratch: decl.scratch === true, limit: 2 ** widthOf(decl) });
  };
  wide.forEach(({ name, app, decl }, i) => out.set(name, { about: decl.about, name, app, field: `xxreg${3 - i}` as FieldName, ofs: 0, bits: 128, ip: decl.bits === "ip", scratch: false, limit: 2 ** 128 }));
  let word = 0;
  for (const d of words) at(d, word++, 0);
  word = pack(small, word, at);
  // What lives between two flows only: the scratch registers of each app begin at the same word.
  const first = word;
  for (const app of new Set(declared.filter((d) => d.decl.scratch === true).map((d) => d.app))) {
    const own = declared.filter((d) => d.app === app && d.decl.scratch === true).sort((a, b) => widthOf(b.decl) - widthOf(a.decl));
    const large = own.find((d) => widthOf(d.decl) > 32);
    if (large !== undefined) throw new Error(`scratch register ${large.name} of ${app} has ${widthOf(large.decl)} bits; 32 is the most`);
    word = Math.max(word, pack(own, first, at));
  }
  if (word > room + METADATA_WORDS) {
    throw new Error(`the declared registers need ${word} words and ${wide.length} wide ones; a switch has ${WORDS} words and ${METADATA_WORDS} of metadata`);
  }
  return out;
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
