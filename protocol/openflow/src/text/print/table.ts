// Tables: their counters and their features. Most tables are like the one before them, so ofp-print tells the differences only,
// and lists of fields are shortened: "tun_{id,src}", "reg0...reg15".

import { fieldOfHeader, type FieldName } from "../../match/fields.ts";
import type { MultipartReplyOf } from "../../messages/codec.ts";
import type { OxmId } from "../../messages/table-features.ts";
import { FIELD_ORDER, OVS_NAMES } from "../names.ts";
import { actionNames } from "./group.ts";
import { fixedText, hash } from "./value.ts";

/** Tables that are like the one before, not yet written out. */
class Dittos {
  private first = -1;
  private last = -1;

  add(table: number): void {
    if (this.first < 0) this.first = table;
    this.last = table;
  }

  flush(): string {
    if (this.first < 0) return "";
    const text = this.first === this.last ? `\n  table ${this.first}: ditto\n` : `\n  tables ${this.first}...${this.last}: ditto\n`;
    this.first = -1;
    return text;
  }
}

type TableStats = MultipartReplyOf<"table">["tables"][number];

export function formatTableStats(tables: readonly TableStats[]): string {
  const dittos = new Dittos();
  let out = "";
  let previous: TableStats | undefined;
  for (const table of tables) {
    const same = previous !== undefined && table.active_count === previous.active_count && table.lookup_count === previous.lookup_count && table.matched_count === previous.matched_count;
    previous = table;
    if (same) dittos.add(table.table_id);
    else out += `${dittos.flush()}\n  table ${table.table_id}:\n    active=${table.active_count}, lookup=${table.lookup_count}, matched=${table.matched_count}\n`;
  }
  return out + dittos.flush();
}

// --- features ---

type Features = MultipartReplyOf<"table_features">["tables"][number];

/** Sets as sorted texts, so that equal sets are equal strings. */
interface Instructions {
  next: readonly number[];
  instructions: number;
  writeActions: string;
  applyActions: string;
  writeFields: readonly FieldName[];
  applyFields: readonly FieldName[];
}
interface Table {
  readonly id: number;
  readonly name: string;
  readonly match: bigint;
  readonly write: bigint;
  readonly maxEntries: number;
  readonly hit: Instructions;
  readonly miss: Instructions;
  readonly fields: readonly FieldName[];
  readonly maskable: ReadonlySet<FieldName>;
  readonly wildcard: ReadonlySet<FieldName>;
}

const POSITION: ReadonlyMap<FieldName, number> = new Map(FIELD_ORDER.map((name, i) => [name, i]));

/** Names of instructions by their number, and their place in a list. */
const INSTRUCTIONS: readonly (readonly [number: number, name: string])[] = [
  [6, "meter"], [4, "apply_actions"], [5, "clear_actions"], [3, "write_actions"], [2, "write_metadata"], [1, "goto_table"],
];

function readTable(features: Features): Table {
  const properties = new Map<string | number, Features["properties"][number]>();
  for (const property of features.properties) properties.set(property.type, property);
  const codes = (name: string): number[] => {
    const property = properties.get(name);
    return property !== undefined && "ids" in property ? property.ids.map(({ code }) => code) : [];
  };
  const tables = (name: string): number[] => {
    const property = properties.get(name);
    return property !== undefined && "tables" in property ? property.tables.map(({ table_id }) => table_id) : [];
  };
  const oxms = (name: string): [name: FieldName, masked: boolean][] => {
    const property = properties.get(name);
    return property !== undefined && "fields" in property ? readFields(property.fields) : [];
  };
  const names = (name: string): FieldName[] => oxms(name).map(([field]) => field);
  const bits = (numbers: readonly number[]): number => numbers.reduce((all, number) => (number < 32 ? all | (1 << number) : all), 0);
  const instructions = (suffix: "" | "_miss", base?: Instructions): Instructions => {
    const own = (name: string): boolean => base === undefined || properties.has(name + suffix);
    return {
      instructions: own("instructions") ? bits(codes(`instructions${suffix}`)) : base!.instructions,
      next: own("next_tables") ? [...new Set(tables(`next_tables${suffix}`))].sort((a, b) => a - b) : base!.next,
      writeActions: own("write_actions") ? actionNames(bits(codes(`write_actions${suffix}`))) : base!.writeActions,
      applyActions: own("apply_actions") ? actionNames(bits(codes(`apply_actions${suffix}`))) : base!.applyActions,
      writeFields: own("write_setfield") ? sorted(names(`write_setfield${suffix}`)) : base!.writeFields,
      applyFields: own("apply_setfield") ? sorted(names(`apply_setfield${suffix}`)) : base!.applyFields,
    };
  };
  const hit = instructions("");
  const matching = oxms("match");
  const maskable = new Set(matching.filter(([, masked]) => masked).map(([name]) => name));
  return {
    id: features.table_id, name: fixedText(features.name.slice(0, 31)), match: features.metadata_match, write: features.metadata_write, maxEntries: features.max_entries,
    hit, miss: instructions("_miss", hit), fields: sorted(matching.map(([name]) => name)), maskable, wildcard: new Set([...names("wildcards"), ...maskable]),
  };
}

function sorted(names: readonly FieldName[]): FieldName[] {
  return [...new Set(names)].sort((a, b) => (POSITION.get(a) ?? 0) - (POSITION.get(b) ?? 0));
}

/** Open vSwitch passes over fields that it does not know, and over those whose length is not theirs. */
function readFields(ids: readonly OxmId[]): [name: FieldName, masked: boolean][] {
  const out: [FieldName, boolean][] = [];
  for (const { header, experimenter } of ids) {
    const field = fieldOfHeader(header, experimenter);
    const masked = (header & 0x100) !== 0;
    const length = (header & 0xff) - (experimenter === undefined ? 0 : 4);
    if (field !== undefined && POSITION.has(field.name) && (field.bytes === 0 || length === field.bytes * (masked ? 2 : 1))) out.push([field.name, masked]);
  }
  return out;
}

export function formatTableFeatures(features: readonly Features[]): string {
  const dittos = new Dittos();
  let out = "";
  let previous: Table | undefined;
  for (const given of features) {
    const table = readTable(given);
    const before = previous;
    previous = table;
    const same = before !== undefined && sameTable(table, before);
    if (same && table.name === "") {
      dittos.add(table.id);
      continue;
    }
    out += `${dittos.flush()}\n  table ${table.id}${table.name === "" ? "" : ` ("${table.name}")`}:${same ? " ditto" : `\n${describe(table, before)}`}`;
  }
  return out + dittos.flush();
}

const equal = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((item, i) => item === b[i]);

/** A table cannot go back to itself: that the next one lacks its own number is no difference. */
function sameNext(a: readonly number[], aTable: number, b: readonly number[], bTable: number): boolean {
  const later = Math.max(aTable, bTable);
  if (Math.abs(aTable - bTable) !== 1) return equal(a, b);
  const [of, next] = aTable < bTable ? [a, b] : [b, a];
  if (of.includes(later) && !next.includes(later)) return equal(of.filter((table) => table !== later), next);
  return equal(a, b);
}

const sameActions = (a: Instructions, b: Instructions): boolean =>
  a.writeActions === b.writeActions && a.applyActions === b.applyActions && equal(a.writeFields, b.writeFields) && equal(a.applyFields, b.applyFields);

function sameInstructions(a: Instructions, aTable: number, b: Instructions, bTable: number): boolean {
  return sameNext(a.next, aTable, b.next, bTable) && a.instructions === b.instructions && sameActions(a, b);
}

function sameTable(a: Table, b: Table): boolean {
  return a.match === b.match && a.write === b.write && a.maxEntries === b.maxEntries && sameInstructions(a.hit, a.id, b.hit, b.id) &&
    sameInstructions(a.miss, a.id, b.miss, b.id) && equal(a.fields, b.fields);
}

const empty = (of: Instructions): boolean =>
  of.next.length === 0 && instructionNames(of.instructions) === "" && of.writeActions === "" && of.applyActions === "" && of.writeFields.length === 0 && of.applyFields.length === 0;

function describe(table: Table, before: Table | undefined): string {
  let out = "";
  if (table.match !== 0n || table.write !== 0n) out += `    metadata: match=${hash(table.match)} write=${hash(table.write)}\n`;
  if (table.maxEntries !== 0) out += `    max_entries=${table.maxEntries}\n`;
  if (before !== undefined && sameInstructions(table.hit, table.id, before.hit, before.id) && sameInstructions(table.miss, table.id, before.miss, before.id)) {
    if (!empty(table.hit)) out += "    (same instructions)\n";
  } else if (!sameInstructions(table.hit, table.id, table.miss, table.id)) {
    out += `    instructions (other than table miss):\n${describeInstructions(table.hit, before?.hit)}`;
    out += `    instructions (table miss):\n${describeInstructions(table.miss, before?.miss)}`;
  } else if (!empty(table.hit)) out += `    instructions (table miss and others):\n${describeInstructions(table.hit, before?.hit)}`;
  if (table.fields.length > 0) {
    if (before !== undefined && equal(table.fields, before.fields)) out += "    (same matching)\n";
    else {
      out += "    matching:\n";
      const list = (title: string, of: (name: FieldName) => boolean): void => {
        const names = table.fields.filter(of);
        if (names.length > 0) out += `      ${title}: ${shortened(names)}\n`;
      };
      list("arbitrary mask", (name) => table.maskable.has(name));
      list("exact match or wildcard", (name) => !table.maskable.has(name) && table.wildcard.has(name));
      list("must exact match", (name) => !table.maskable.has(name) && !table.wildcard.has(name));
    }
  }
  return out;
}

function instructionNames(bits: number): string {
  return INSTRUCTIONS.filter(([number]) => (bits & (1 << number)) !== 0).map(([, name]) => name).join(" ");
}

function describeInstructions(of: Instructions, before: Instructions | undefined): string {
  let out = "";
  if (of.next.length > 0) out += `      next tables: ${ranges(of.next)}\n`;
  const names = instructionNames(of.instructions);
  if (names !== "") out += before !== undefined && names === instructionNames(before.instructions) ? "      (same instructions)\n" : `      instructions: ${names}\n`;
  if (before !== undefined && sameActions(of, before) && of.writeFields.length > 0) return `${out}      (same actions)\n`;
  const same = of.writeActions === of.applyActions && equal(of.writeFields, of.applyFields);
  if (!same) {
    return `${out}      Write-Actions features:\n${describeActions(of.writeActions, of.writeFields)}      Apply-Actions features:\n${describeActions(of.applyActions, of.applyFields)}`;
  }
  if (of.writeActions === "" && of.writeFields.length === 0) return out;
  return `${out}      Write-Actions and Apply-Actions features:\n${describeActions(of.writeActions, of.writeFields)}`;
}

function describeActions(actions: string, fields: readonly FieldName[]): string {
  return (actions === "" ? "" : `        actions: ${actions}\n`) + (fields.length === 0 ? "" : `        supported on Set-Field: ${shortened(fields)}\n`);
}

/** 1-3,5 */
function ranges(tables: readonly number[]): string {
  const out: string[] = [];
  for (let i = 0; i < tables.length; ) {
    let end = i;
    while (tables[end + 1] === tables[end]! + 1) end++;
    out.push(end === i ? String(tables[i]) : `${tables[i]}-${tables[end]}`);
    i = end + 1;
  }
  return out.join(",");
}

// --- lists of fields ---

function shortened(names: readonly FieldName[]): string {
  return shorten(names.map((name) => OVS_NAMES[name] ?? name), 0, " ");
}

/** Names one after another: a run that counts up as first...last, a run that begins alike as begin_{rest,rest}. */
function shorten(names: readonly string[], skip: number, separator: string): string {
  const out: string[] = [];
  for (let i = 0; i < names.length; ) {
    const counting = countingRun(names, i);
    const [alike, prefix] = alikeRun(names, i, skip);
    const first = names[i]!.slice(skip);
    if (counting >= alike) out.push(counting > 1 ? `${first}...${names[i + counting - 1]!.slice(skip)}` : first);
    else out.push(`${first.slice(0, prefix)}{${shorten(names.slice(i, i + alike), skip + prefix, ",")}}`);
    i += Math.max(counting, alike);
  }
  return out.join(separator);
}

function countingRun(names: readonly string[], from: number): number {
  const start = /^(.*?)(\d+)$/.exec(names[from]!);
  if (start === null) return 1;
  let run = 1;
  while (names[from + run] === `${start[1]!}${Number(start[2]) + run}`) run++;
  return run === 2 ? 1 : run; // "x0...x1" is worse than "x0 x1"
}

/**
 * How many names begin alike, and how much of it is written once: what the first two have in common up to a "_". Open vSwitch
 * lets names join the run that have less in common, and cuts as much off them.
 */
function alikeRun(names: readonly string[], from: number, skip: number): [run: number, prefix: number] {
  const first = names[from]!;
  const common = (other: string | undefined): number => {
    let length = skip;
    for (let i = skip; other !== undefined && i < first.length && first[i] === other[i]; i++) if (first[i] === "_") length = i + 1;
    return length - skip;
  };
  const prefix = common(names[from + 1]);
  if (prefix === 0) return [1, 0];
  let run = 2;
  while (common(names[from + run]) > 0) run++;
  return [run, prefix];
}
