// A flow as a rule says it, straight to the bytes of its flow-mod. Every flow of every compile passes here, so nothing is
// built in between: names are looked up in what the table knows of them, values go where they end up.
import type { FlowAction, FlowSpec } from "#app";
import { encodeActions, encodeFlowModHead, encodeInstructionHead, encodeLoad, encodeOxm, encodeSetField, fields, finishFlowMod, type Field, type FieldName, type MatchValue } from "node-openflow";
import { familyOf, type Family, type Layout, type PipelineTable, type Register, type Transition } from "./layout.ts";

/** What a name in a match stands for. */
interface Matched {
  readonly field: Field;
  /** Set when it is a register; parts of a word are gathered until the word is written. */
  readonly register: Register | undefined;
  /** Of a part of a word: its bits there. 0: a whole field. */
  readonly mask: number;
}

/** What a table knows of the names its flows use, filled as they come. */
interface Names {
  readonly matched: Map<string, Matched>;
  readonly registers: Map<string, Register>;
  /** One map for each of kinds x families x last or not, by the name of the stage or table. */
  readonly transitions: Map<string, Transition>[];
}
const KINDS = { next: 0, stage: 1, table: 2 } as const;
const FAMILIES: Readonly<Record<Family, number>> = { ip: 0, ipv6: 1, other: 2, unknown: 3 };

/** A register's value keeps to the register's bits: its neighbours are in the same word. */
function mustFit(table: PipelineTable, register: Register, value: unknown): void {
  const { bits } = register;
  const fits = typeof value === "number" ? value >= 0 && value < 2 ** bits && Number.isInteger(value) : typeof value === "bigint" && value >= 0n && value >> BigInt(bits) === 0n;
  if (!fits) throw new RangeError(`register ${register.name} in table ${table.name}: ${typeof value === "number" || typeof value === "bigint" ? String(value) : JSON.stringify(value)} is not a whole number of ${bits} bits`);
}

export class FlowWriter {
  private readonly layout: Layout;
  private readonly names: Names[];
  // The match being written, in the order of its fields: encoding never yields, so one will do.
  private count = 0;
  private readonly fields: Field[] = [];
  private readonly values: MatchValue[] = [];
  private readonly masks: number[] = [];

  constructor(layout: Layout) {
    this.layout = layout;
    this.names = layout.tables.map(() => ({ matched: new Map<string, Matched>(), registers: new Map<string, Register>(), transitions: Array.from({ length: 24 }, () => new Map<string, Transition>()) }));
  }

  /**
   * Writes an OFPT_FLOW_MOD that adds the flow; returns the offset after it.
   * @throws Error naming table and register or stage when the flow says what the pipeline cannot do
   * @throws RangeError naming table and register when a value has bits that the register has not
   * @throws OpenFlowError when it has no wire form or does not fit
   */
  write(buf: Buffer, off: number, table: PipelineTable, spec: FlowSpec, cookieHi: number, cookieLo: number, family: Family = familyOf(spec.match)): number {
    let pos = encodeFlowModHead(buf, off, table.id, spec.priority, cookieHi, cookieLo);
    pos = this.writeMatch(buf, pos, table, spec.match);
    if (spec.meter !== undefined) pos = encodeInstructionHead(buf, pos, "meter", 8, spec.meter);
    const { actions } = spec;
    const apply = pos;
    let gotoTable = -1;
    pos += 8;
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i]!;
      switch (action.type) {
        case "load_reg":
          pos = this.writeLoad(buf, pos, table, action.reg, action.value);
          break;
        case "load":
          pos = encodeLoad(buf, pos, action.dst, action.value);
          break;
        case "set_field":
          pos = encodeSetField(buf, pos, action.field, action.value, action.mask);
          break;
        case "next":
        case "stage":
        case "table": {
          const step = this.transition(table, action, family, i === actions.length - 1);
          if (typeof step === "number") gotoTable = step;
          else pos = encodeActions(buf, pos, step);
          break;
        }
        default:
          pos = encodeActions(buf, pos, this.layout.lower(table, action));
      }
    }
    // Without actions the instruction does nothing, and Open vSwitch would not write it back.
    if (pos === apply + 8) pos = apply;
    else encodeInstructionHead(buf, apply, "apply_actions", pos - apply, 0);
    if (gotoTable >= 0) pos = encodeInstructionHead(buf, pos, "goto_table", 8, gotoTable);
    return finishFlowMod(buf, off, pos);
  }

  private writeMatch(buf: Buffer, off: number, table: PipelineTable, match: FlowSpec["match"]): number {
    const { matched } = this.names[table.id]!;
    this.count = 0;
    for (const name in match) {
      const value = (match as Record<string, MatchValue | undefined>)[name];
      if (value === undefined) continue;
      let known = matched.get(name);
      if (known === undefined) matched.set(name, (known = this.resolve(table, name)));
      const { register } = known;
      if (register !== undefined && (typeof value !== "object" || known.mask !== 0 || register.bits === 128)) mustFit(table, register, value);
      if (register?.bits === 128) this.matchWide(register, value as bigint | number);
      else if (known.mask !== 0) this.matchPart(known.field, known.mask, (Number(value) << register!.ofs) >>> 0);
      else this.insert(known.field, value, 0);
    }
    let pos = off + 4;
    for (let i = 0; i < this.count; i++) {
      const value = this.values[i]!;
      const mask = this.masks[i]!;
      pos = encodeOxm(buf, pos, this.fields[i]!, mask === 0 ? value : { value: value as number, mask });
    }
    buf[off] = 0;
    buf[off + 1] = 1;
    buf[off + 2] = (pos - off) >>> 8;
    buf[off + 3] = pos - off;
    while (((pos - off) & 7) !== 0) buf[pos++] = 0;
    return pos;
  }

  private resolve(table: PipelineTable, name: string): Matched {
    if (name.startsWith("reg:")) {
      const register = this.layout.registerFor(table, name.slice(4));
      const mask = register.bits < 32 ? ((2 ** register.bits - 1) << register.ofs) >>> 0 : 0;
      return { field: fields[register.field], register, mask };
    }
    const field = fields[name as FieldName];
    if (field === undefined) throw new Error(`no field ${name}`);
    if (/^x+reg|^nxm_in_port$|^cookie$/.test(name)) throw new Error(`${name} is not part of a match; registers are matched as reg:<name>`);
    return { field, register: undefined, mask: 0 };
  }

  private insert(field: Field, value: MatchValue, mask: number): void {
    let at = this.count++;
    for (; at > 0 && this.fields[at - 1]!.order > field.order; at--) {
      this.fields[at] = this.fields[at - 1]!;
      this.values[at] = this.values[at - 1]!;
      this.masks[at] = this.masks[at - 1]!;
    }
    this.fields[at] = field;
    this.values[at] = value;
    this.masks[at] = mask;
  }

  /** Parts of one word are one entry. */
  private matchPart(field: Field, mask: number, value: number): void {
    for (let i = 0; i < this.count; i++) {
      if (this.fields[i] !== field) continue;
      this.values[i] = ((this.values[i] as number) | value) >>> 0;
      this.masks[i] = (this.masks[i]! | mask) >>> 0;
      return;
    }
    this.insert(field, value, mask);
  }

  /** As the switch itself writes it: four words, so that a dump is compared by bytes. */
  private matchWide(register: Register, value: bigint | number): void {
    const first = 4 * Number(register.field.slice("xxreg".length));
    for (let word = 0; word < 4; word++) this.insert(fields[`reg${first + word}` as FieldName], Number((BigInt(value) >> BigInt(96 - 32 * word)) & 0xffff_ffffn), 0);
  }

  private writeLoad(buf: Buffer, off: number, table: PipelineTable, name: string, value: number | bigint): number {
    const { registers } = this.names[table.id]!;
    let register = registers.get(name);
    if (register === undefined) registers.set(name, (register = this.layout.registerFor(table, name)));
    mustFit(table, register, value);
    return register.bits < 32 ? encodeLoad(buf, off, register, value) : encodeSetField(buf, off, register.field, value, undefined);
  }

  private transition(table: PipelineTable, action: FlowAction & { type: "next" | "stage" | "table" }, family: Family, last: boolean): Transition {
    const to = action.type === "next" ? "" : action.type === "stage" ? action.stage : action.table;
    const transitions = this.names[table.id]!.transitions[(KINDS[action.type] * 4 + FAMILIES[family]) * 2 + (last ? 1 : 0)]!;
    let step = transitions.get(to);
    if (step === undefined) transitions.set(to, (step = this.layout.transition(table, action, family, last)));
    return step;
  }
}
