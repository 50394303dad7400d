// Names in place of numbers, for people: tables and registers by what the apps call them, ports by what is plugged there. What comes out
// is to be read, not parsed; the dump has the syntax of ovs-ofctl beside it.
import { vifTable, type AnyTable, type Row, type Table } from "#app";
import type { Desired } from "../../compiler/desired.ts";
import { formatIp } from "../../lib/address.ts";
import type { View } from "../../model/view.ts";
import type { Layout, Register } from "../../pipeline/layout.ts";
import { NARROW, type Slice, type SlicesOf } from "./print/holes.ts";

export interface NamesParts {
  readonly layout: Layout;
  readonly view: View;
  /** Every table: a port is a row of one that has a resource. */
  readonly tables: readonly AnyTable[];
  readonly desired: Pick<Desired, "rowsOf">;
}

/** A register, and where its bits are: words of 32 bits, `metadata` as two of them behind the others. */
interface Placed {
  readonly register: Register;
  /** Of its lowest bit, in the number that all words make; see `space`. */
  readonly shift: bigint;
  readonly mask: bigint;
}

const METADATA_WORD = 16;
const WORD = 0xffffffffn;

/** The words of a field, those with its lowest bits first: reg0 is the upper half of xreg0. ovs-fields(7) */
function wordsOf(field: string): readonly number[] {
  if (field === "metadata") return [METADATA_WORD, METADATA_WORD + 1];
  const [, kind = "", number = ""] = /^(x{0,2})reg(\d+)$/.exec(field) ?? [];
  const many = 1 << kind.length;
  return Array.from({ length: many }, (_, i) => (Number(number) + 1) * many - 1 - i);
}

/** Where the bits of a word stand in the number that all words make: within four they count down, so that each field is in one piece. */
const space = (word: number): number => (word < METADATA_WORD ? word - (word % 4) + 3 - (word % 4) : word) * 32;

const quoted = (name: string): string => (/^[A-Za-z_][\w.-]*$/.test(name) ? name : JSON.stringify(name));

const REGISTER = /^(?:reg\d+|metadata)$/;
const SUBFIELD = /\b(?:NXM_NX_(X{0,2}REG\d+)|OXM_OF_(METADATA)|(x{0,2}reg\d+|metadata))\[(?:(\d+)(?:\.\.(\d+))?)?\]/g;

export class Names {
  private readonly parts: NamesParts;
  /** Registers whose bits are in a field: by `field`, `ofs` and `bits`. */
  private readonly exact = new Map<string, Register[]>();
  private readonly placed: readonly Placed[];

  constructor(parts: NamesParts) {
    this.parts = parts;
    this.placed = [...parts.layout.registers.values()].map((register) => {
      const key = `${register.field} ${register.ofs} ${register.bits}`;
      this.exact.set(key, [...(this.exact.get(key) ?? []), register]);
      const shift = BigInt(space(wordsOf(register.field)[Math.floor(register.ofs / 32)]!) + (register.ofs % 32));
      return { register, shift, mask: ((1n << BigInt(register.bits)) - 1n) << shift };
    });
  }

  /** Parts of register words that have names in tables of an app, and are wide enough to hold more than a few values. */
  slicesOf(app: string): SlicesOf {
    const out = new Map<number, Slice[]>();
    for (const { register: { field, ofs, bits, scratch, app: owner } } of this.placed) {
      if (scratch && owner !== app) continue;
      wordsOf(field).forEach((word, i) => {
        const first = Math.max(ofs, 32 * i);
        const last = Math.min(ofs + bits, 32 * i + 32);
        if (last - first >= NARROW) out.set(word, [...(out.get(word) ?? []), { shift: first - 32 * i, bits: last - first }]);
      });
    }
    return (word) => out.get(word) ?? [];
  }

  /** OpenFlow port numbers of a switch, by name: of the API's port where there is one, else of the interface. */
  ports(chassis: string): ReadonlyMap<number, string> {
    const { view, tables, desired } = this.parts;
    const out = new Map<number, string>();
    for (const { key, table, columns } of desired.rowsOf(chassis)) {
      const number = table === "Port" ? (columns as { readonly interface?: { readonly ofport_request?: number } }).interface?.ofport_request : undefined;
      if (number !== undefined) out.set(number, quoted(key));
    }
    const resources = tables.filter((table) => table.resource === "port" && !table.derived);
    for (const { ofport, iface_id, name } of view.by(vifTable, "chassis", chassis)) {
      const row = resources.map((table) => rowOf(view, table, iface_id)).find((one) => one !== undefined);
      out.set(ofport, quoted(typeof row?.name === "string" && row.name !== "" ? row.name : row === undefined ? name : iface_id));
    }
    return out;
  }

  /** A match as ovs-ofctl has it; `app`: whose table it is, for registers that apps share in turn. */
  match(text: string, app: string, ports: ReadonlyMap<number, string>): string {
    if (text === "") return "";
    const out: string[] = [];
    let value = 0n;
    let mask = 0n;
    for (const field of text.split(",")) {
      const [name = "", given = ""] = field.split("=", 2);
      if (name === "in_port") out.push(`in_port=${ports.get(Number(given)) ?? given}`);
      else if (REGISTER.test(name)) {
        const [of = "0", within] = given.split("/");
        const shift = BigInt(space(name === "metadata" ? METADATA_WORD : Number(name.slice(3))));
        const all = name === "metadata" ? (WORD << 32n) | WORD : WORD;
        value |= BigInt(of) << shift;
        mask |= (within === undefined ? all : BigInt(within)) << shift;
      } else out.push(field);
    }
    return [...this.registers(value, mask, app), ...out].join(",");
  }

  private registers(value: bigint, mask: bigint, app: string): string[] {
    const out: string[] = [];
    let left = mask;
    for (const { register, shift, mask: bits } of this.placed) {
      const within = left & bits;
      if (within === 0n || (register.scratch && register.app !== app)) continue;
      left &= ~bits;
      const part = within === bits ? "" : `/0x${(within >> shift).toString(16)}`;
      out.push(`${register.name}=${textOf((value & within) >> shift, register, part !== "")}${part}`);
    }
    for (let word = 0; left !== 0n; word++) {
      const within = (left >> BigInt(space(word))) & WORD;
      if (within === 0n) continue;
      left &= ~(WORD << BigInt(space(word)));
      const part = within === WORD ? "" : `/0x${within.toString(16)}`;
      out.push(`${word < METADATA_WORD ? `reg${word}` : `metadata${word === METADATA_WORD ? "" : "[32..]"}`}=0x${((value >> BigInt(space(word))) & within).toString(16)}${part}`);
    }
    return out;
  }

  /** Actions as ovs-ofctl has them. */
  actions(text: string, app: string, ports: ReadonlyMap<number, string>): string {
    const { layout } = this.parts;
    const table = (number: string): string => layout.tableById(Number(number))?.name ?? number;
    const register = (field: string, ofs: number, bits: number): string | undefined => this.exact.get(`${field} ${ofs} ${bits}`)?.find((one) => !one.scratch || one.app === app)?.name;
    return text
      .replace(/\bresubmit\(,(\d+)/g, (_, number: string) => `resubmit(,${table(number)}`)
      .replace(/\bgoto_table:(\d+)/g, (_, number: string) => `goto_table:${table(number)}`)
      .replace(/\btable=(\d+)/g, (_, number: string) => `table=${table(number)}`)
      .replace(/\boutput:(\d+)/g, (_, number: string) => `output:${ports.get(Number(number)) ?? number}`)
      .replace(/\bset_field:(0x[0-9a-f]+|\d+)(?:\/(0x[0-9a-f]+))?->(x{0,2}reg\d+|metadata)\b/g, (whole, value: string, within: string | undefined, field: string) => {
        const bits = 32 * wordsOf(field).length;
        const mask = within === undefined ? (1n << BigInt(bits)) - 1n : BigInt(within);
        const ofs = mask.toString(2).length - 1 - mask.toString(2).lastIndexOf("1");
        const name = register(field, ofs, mask.toString(2).replaceAll("0", "").length);
        return name === undefined || !/^1+0*$/.test(mask.toString(2)) ? whole : `set_field:0x${(BigInt(value) >> BigInt(ofs)).toString(16)}->${name}`;
      })
      .replace(SUBFIELD, (whole, nxm: string | undefined, oxm: string | undefined, own: string | undefined, from: string | undefined, to: string | undefined) => {
        const field = (nxm ?? oxm ?? own!).toLowerCase();
        const ofs = Number(from ?? 0);
        const bits = from === undefined ? 32 * wordsOf(field).length : Number(to ?? from) - ofs + 1;
        const name = register(field, ofs, bits);
        if (name !== undefined) return name;
        const around = [...layout.registers.values()].find((one) => one.field === field && one.ofs <= ofs && ofs + bits <= one.ofs + one.bits && (!one.scratch || one.app === app));
        return around === undefined ? whole : `${around.name}[${ofs - around.ofs}${bits === 1 ? "" : `..${ofs - around.ofs + bits - 1}`}]`;
      });
  }
}

function textOf(value: bigint, register: Register, partly: boolean): string {
  if (!register.ip || partly) return `0x${value.toString(16)}`;
  return formatIp({ family: value <= WORD ? 4 : 6, value });
}

const rowOf = (view: View, table: AnyTable, id: string): (Row & { readonly name?: unknown }) | undefined => view.get(table as Table, id);
