// A layout as it is kept for later: what a switch has was made under the layout of the controller that told it, and with other apps tables
// and registers have other places. With the layout of then its flows can still be read, and compared with those of now by names.
import { createHash } from "node:crypto";
import { decodeInstructions, type Instruction } from "node-openflow";
import { namedMatch, type NamedRegisters } from "./naming.ts";

export interface LayoutRecord {
  /** By id; a number that no table has is there by no name. `matches` are what flows there may match. */
  readonly tables: readonly { readonly name: string; readonly app: string; readonly matches: readonly string[] }[];
  readonly registers: readonly { readonly name: string; readonly field: string; readonly ofs: number; readonly bits: number; readonly ip: boolean }[];
}

interface Placed {
  readonly tables: readonly { readonly id: number; readonly name: string; readonly app: string; readonly matches: Iterable<string> }[];
  readonly registers: ReadonlyMap<string, LayoutRecord["registers"][number]>;
}

/** Versions that had no such numbers read these as well. */
const NO_TABLE: LayoutRecord["tables"][number] = { name: "", app: "", matches: [] };

export function recordOf(layout: Placed): LayoutRecord {
  const tables: LayoutRecord["tables"][number][] = [];
  for (const { id, name, app, matches } of layout.tables) {
    while (tables.length < id) tables.push(NO_TABLE);
    tables.push({ name, app, matches: [...matches] });
  }
  return { tables, registers: Array.from(layout.registers.values(), ({ name, field, ofs, bits, ip }) => ({ name, field, ofs, bits, ip })) };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const isRecord = (value: unknown): value is LayoutRecord =>
  isObject(value) && Array.isArray(value["tables"]) && Array.isArray(value["registers"]) &&
  value["tables"].every((t: unknown) => isObject(t) && typeof t["name"] === "string" && typeof t["app"] === "string" && Array.isArray(t["matches"]) && t["matches"].every((m) => typeof m === "string")) &&
  value["registers"].every((r: unknown) => isObject(r) && typeof r["name"] === "string" && typeof r["field"] === "string" && typeof r["ofs"] === "number" && typeof r["bits"] === "number" && typeof r["ip"] === "boolean");

export const fingerprintOf = (record: LayoutRecord): string => createHash("sha256").update(JSON.stringify(record)).digest("hex").slice(0, 12);

/** Fields that registers are in. */
const REGISTER = /^(?:x{0,2}reg\d+|metadata)$/;

/** Names of one layout, present or earlier. */
export class LayoutNames implements NamedRegisters {
  readonly fingerprint: string;
  readonly record: LayoutRecord;
  private readonly registers: ReadonlyMap<string, LayoutRecord["registers"][number]>;
  /** `<field>/<first bit>/<bits>` -> names; scratch registers share places. */
  private readonly places = new Map<string, string>();

  constructor(record: LayoutRecord) {
    this.record = record;
    this.fingerprint = fingerprintOf(record);
    this.registers = new Map(record.registers.map((r) => [r.name, r]));
    for (const { name, field, ofs, bits } of record.registers) {
      const place = `${field}/${ofs}/${bits}`;
      this.places.set(place, this.places.has(place) ? `${this.places.get(place)!} ${name}` : name);
    }
  }

  /** undefined: the text is no record that this version knows. */
  static parse(text: string): LayoutNames | undefined {
    try {
      const record: unknown = JSON.parse(text);
      return isRecord(record) ? new LayoutNames(record) : undefined;
    } catch {
      return undefined;
    }
  }

  register(name: string): LayoutRecord["registers"][number] {
    const register = this.registers.get(name);
    if (register === undefined) throw new Error(`the layout ${this.fingerprint} has no register ${name}`);
    return register;
  }

  tableName(id: number): string | undefined {
    return this.table(id)?.name;
  }

  private table(id: number): LayoutRecord["tables"][number] | undefined {
    const table = this.record.tables[id];
    return table?.name === "" ? undefined : table;
  }

  /** A match of the table, its registers by name; undefined: there is no such table. */
  match(id: number, match: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
    const table = this.table(id);
    if (table === undefined) return undefined;
    const registers = Object.entries(namedMatch(this, table, match)).filter(([name]) => name.startsWith("reg:"));
    return Object.fromEntries([...Object.entries(match).filter(([name]) => !REGISTER.test(name)), ...registers]);
  }

  /**
   * What instructions of a flow of the table say in names: equal texts mean the same, under whatever layouts. What has no name is told by
   * its place. Where packets are handed on to another app's table, which one depends on who is there.
   */
  instructions(id: number, buf: Buffer, off: number, len: number): string {
    const app = this.table(id)?.app;
    return decodeInstructions(buf, off, len).map((instruction) => this.instruction(app, instruction)).sort().join();
  }

  private instruction(app: string | undefined, instruction: Instruction): string {
    return JSON.stringify(instruction, (key, value: unknown) => {
      if (typeof value === "bigint") return value.toString();
      if ((key === "table" || key === "table_id") && typeof value === "number") return this.table(value)?.app === app ? this.tableName(value) : "onward";
      if (typeof value !== "object" || value === null || !("field" in value)) return value;
      const { field, ofs, bits } = value as { field: string; ofs?: number; bits?: number };
      const width = field.startsWith("xxreg") ? 128 : field.startsWith("reg") ? 32 : 64;
      const name = this.places.get(`${field}/${ofs ?? 0}/${bits ?? width}`);
      return name === undefined ? value : { ...value, field: `reg:${name}`, ofs: undefined };
    });
  }
}
