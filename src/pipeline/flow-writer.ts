// A flow as a rule says it, straight to the bytes of its flow-mod. Every flow of every compile passes here, so nothing is
// built in between: names are looked up in what the table knows of them, values go where they end up.
import { isIpv6, type FlowAction, type FlowSpec, type Shape } from "#app";
import { encodeActions, encodeFlowModHead, encodeInstructionHead, encodeLoad, encodeOxm, encodeSetField, fields, finishFlowMod, writeU32, type Action, type Field, type FieldName, type MatchValue } from "node-openflow";
import { ipv4ToNumber, ipv6ToBigInt } from "packet-codec";
import { familyOf, type Family, type Layout, type PipelineTable, type Register } from "./layout.ts";
import { addressValue, inPortSet, Lowering } from "./lowering.ts";
import { COOKIE, fillTemplate, makeTemplate, type Template } from "./templates.ts";

/** What a name in a match stands for. */
interface Matched {
  readonly field: Field;
  /** Set when it is a register; parts of a word are gathered until the word is written. */
  readonly register: Register | undefined;
  /** Of a part of a word: its bits there. 0: a whole field. */
  readonly mask: number;
}

/** A register that is loaded, and the action but for its value where that is a part of a word: NXAST_REG_LOAD has it in its last 8 bytes. */
interface Loaded {
  readonly register: Register;
  readonly head: Uint8Array | undefined;
}
const LOAD_BYTES = 24;

/** Where a hand-over leads: a table to go to, or actions and their bytes. */
type Step = number | { readonly actions: readonly Action[]; readonly bytes: Uint8Array };

/** What a table knows of the names its flows use, filled as they come. */
interface Names {
  readonly matched: Map<string, Matched>;
  readonly registers: Map<string, Loaded>;
  /** One map for each of kinds x families x last or not, by the name of the stage or table. */
  readonly transitions: Map<string, Step>[];
}
/** What a flow did so far to scratch registers: which it loaded, which of these a call may have overwritten, whether it called. */
interface Scratch {
  readonly held: ReadonlySet<string>;
  readonly lost: ReadonlySet<string>;
  readonly called: boolean;
}
const NONE: ReadonlySet<string> = new Set();
const NO_SCRATCH: Scratch = { held: NONE, lost: NONE, called: false };
/** Shapes are declared once; whoever makes them as it goes fills no memory. */
const TEMPLATE_LIMIT = 4096;
const KINDS = { next: 0, stage: 1, table: 2, entrance: 3 } as const;
const FAMILIES: Readonly<Record<Family, number>> = { ip: 0, ipv6: 1, other: 2, unknown: 3 };

/** A register's value keeps to the register's bits: its neighbours are in the same word. */
function mustFit(table: PipelineTable, register: Register, value: unknown): void {
  if (typeof value === "number" && value >= 0 && value < register.limit && Number.isInteger(value)) return;
  const { bits } = register;
  if (typeof value !== "bigint" || value < 0n || value >> BigInt(bits) !== 0n) throw new RangeError(`register ${register.name} in table ${table.name}: ${typeof value === "number" || typeof value === "bigint" ? String(value) : JSON.stringify(value)} is not a whole number of ${bits} bits`);
}

export class FlowWriter {
  private readonly layout: Layout;
  private readonly lowering: Lowering;
  private readonly hasScratch: boolean;
  private readonly names: Names[] = [];
  /** Shapes that were used; undefined: such as have no template. */
  private readonly templates = new Map<Shape, Template | undefined>();
  // The match being written, in the order of its fields: encoding never yields, so one will do.
  private count = 0;
  private readonly fields: Field[] = [];
  private readonly values: MatchValue[] = [];
  private readonly masks: (number | bigint)[] = [];

  constructor(layout: Layout, lowering = new Lowering(layout)) {
    this.layout = layout;
    this.lowering = lowering;
    this.hasScratch = [...layout.registers.values()].some((r) => r.scratch);
    for (const { id } of layout.tables) this.names[id] = { matched: new Map<string, Matched>(), registers: new Map<string, Loaded>(), transitions: Array.from({ length: 32 }, () => new Map<string, Step>()) };
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
    let ended = false;
    let scratch: Scratch = NO_SCRATCH;
    pos += 8;
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i]!;
      if (ended) throw new Error(`table ${table.name}: nothing can follow a ct that leads on`);
      if (this.hasScratch) scratch = this.checkScratch(table, action, scratch, i === actions.length - 1);
      switch (action.type) {
        case "load_reg":
          pos = this.writeLoad(buf, pos, table, action.reg, action.value);
          break;
        case "set_field": {
          const inPort = inPortSet(action);
          pos = inPort === undefined ? encodeSetField(buf, pos, action.field, action.value, action.mask) : encodeActions(buf, pos, [inPort]);
          break;
        }
        case "next":
        case "stage":
        case "table":
        case "entrance": {
          const step = this.transition(table, action, family, i === actions.length - 1);
          if (typeof step === "number") gotoTable = step;
          else {
            pos = copied(buf, pos, step);
            if (i < actions.length - 1) pos = encodeActions(buf, pos, this.lowering.poison());
          }
          break;
        }
        case "lowered":
          pos = copied(buf, pos, action);
          break;
        default:
          ended = action.type === "ct" && action.then !== undefined;
          pos = encodeActions(buf, pos, this.lowering.lower(table, action, action.type === "learn" || action.type === "clone" ? (BigInt(cookieHi) << 32n) | BigInt(cookieLo) : 0n));
      }
    }
    // Without actions the instruction does nothing, and Open vSwitch would not write it back.
    if (pos === apply + 8) pos = apply;
    else encodeInstructionHead(buf, apply, "apply_actions", pos - apply, 0);
    if (gotoTable >= 0) pos = encodeInstructionHead(buf, pos, "goto_table", 8, gotoTable);
    return finishFlowMod(buf, off, pos);
  }

  /**
   * The same for a shape and what it is filled with. `words`: the bytes of `buf` as words, `off` a multiple of 4.
   * @throws what `write` throws, and Error naming shape and value when the shape is no shape
   */
  writeShape(buf: Buffer, words: Int32Array, off: number, table: PipelineTable, shape: Shape, value: unknown, cookieHi: number, cookieLo: number): number {
    let template = this.templates.get(shape);
    if (template === undefined && !this.templates.has(shape)) {
      template = makeTemplate(shape, table, this.layout, (spec, cookie) => this.whole(table, spec, cookie));
      if (this.templates.size >= TEMPLATE_LIMIT) this.templates.clear();
      this.templates.set(shape, template);
    }
    if (template !== undefined) {
      const end = fillTemplate(template, buf, words, off, value);
      if (end >= 0) {
        writeU32(buf, off + COOKIE, cookieHi);
        writeU32(buf, off + COOKIE + 4, cookieLo);
        return end;
      }
    }
    return this.write(buf, off, table, (shape.make as (value: unknown) => FlowSpec)(value), cookieHi, cookieLo);
  }

  private whole(table: PipelineTable, spec: FlowSpec, cookie: number): Buffer {
    const room = Buffer.alloc(1 << 16);
    return room.subarray(0, this.write(room, 0, table, spec, cookie, cookie));
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
      if (register === undefined) this.insert(known.field, value, 0);
      else if (known.mask !== 0 && typeof value === "number" && value >>> 0 === value && value < register.limit && register.field !== "metadata") this.matchPart(known.field, known.mask, (value << register.ofs) >>> 0);
      else this.matchRegister(table, known, register, value);
    }
    let pos = off + 4;
    for (let i = 0; i < this.count; i++) {
      const value = this.values[i]!;
      const mask = this.masks[i]!;
      pos = encodeOxm(buf, pos, this.fields[i]!, mask === 0 ? value : { value: value as number | bigint, mask });
    }
    buf[off] = 0;
    buf[off + 1] = 1;
    buf[off + 2] = (pos - off) >>> 8;
    buf[off + 3] = pos - off;
    while (((pos - off) & 7) !== 0) buf[pos++] = 0;
    return pos;
  }

  private matchRegister(table: PipelineTable, { field, mask }: Matched, register: Register, value: MatchValue): void {
    // Text is an address, which fits where addresses go; value and mask of a whole word are the switch's to judge.
    if (typeof value === "number" || typeof value === "bigint" || (typeof value === "string" ? !register.ip : mask !== 0 || register.bits === 128)) mustFit(table, register, value);
    if (register.bits === 128) this.matchWide(register, value as bigint | number | string);
    else if (register.field === "metadata") this.matchMetadata(field, register, value as number);
    else if (mask !== 0) this.matchPart(field, mask, (Number(value) << register.ofs) >>> 0);
    else this.insert(field, value, 0);
  }

  private resolve(table: PipelineTable, name: string): Matched {
    if (!table.matches.has(name)) throw new Error(`table ${table.name} of ${table.app} does not declare that it matches ${name}`);
    if (name.startsWith("reg:")) {
      const register = this.layout.registerFor(table, name.slice(4));
      const mask = register.bits < 32 ? ((2 ** register.bits - 1) << register.ofs) >>> 0 : 0;
      return { field: fields[register.field], register, mask };
    }
    const field = fields[name as FieldName];
    if (field === undefined) throw new Error(`no field ${name}`);
    return { field, register: undefined, mask: 0 };
  }

  private insert(field: Field, value: MatchValue, mask: number | bigint): void {
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
      this.masks[i] = ((this.masks[i] as number) | mask) >>> 0;
      return;
    }
    this.insert(field, value, mask);
  }

  /** The two words of `metadata` that registers have: parts are gathered like those of a word. */
  private matchMetadata(field: Field, { ofs, bits }: Register, given: number): void {
    const value = BigInt(given) << BigInt(ofs);
    const mask = ((1n << BigInt(bits)) - 1n) << BigInt(ofs);
    for (let i = 0; i < this.count; i++) {
      if (this.fields[i] !== field) continue;
      this.values[i] = (this.values[i] as bigint) | value;
      this.masks[i] = (this.masks[i] as bigint) | mask;
      return;
    }
    this.insert(field, value, mask);
  }

  /**
   * As the switch itself writes it: words, so that a dump is compared by bytes. Of an IPv4 address in an `ip` register the lowest
   * and the highest say all: no IPv6 address that is anybody's begins with 32 zeroes.
   */
  private matchWide(register: Register, given: bigint | number | string): void {
    const first = 4 * Number(register.field.slice("xxreg".length));
    if (typeof given === "string" && !isIpv6(given)) {
      this.insert(fields[`reg${first}` as FieldName], 0, 0);
      this.insert(fields[`reg${first + 3}` as FieldName], ipv4ToNumber(given), 0);
      return;
    }
    const value = typeof given === "string" ? ipv6ToBigInt(given) : given;
    for (let word = 0; word < 4; word++) this.insert(fields[`reg${first + word}` as FieldName], Number((BigInt(value) >> BigInt(96 - 32 * word)) & 0xffff_ffffn), 0);
  }

  private writeLoad(buf: Buffer, off: number, table: PipelineTable, name: string, given: number | bigint | string): number {
    const { registers } = this.names[table.id]!;
    let loaded = registers.get(name);
    if (loaded === undefined) registers.set(name, (loaded = loadOf(this.layout.registerFor(table, name))));
    const { register, head } = loaded;
    if (head !== undefined && typeof given === "number" && given >>> 0 === given && given < register.limit && off + LOAD_BYTES <= buf.length) {
      buf.set(head, off);
      writeU32(buf, off + LOAD_BYTES - 4, given);
      return off + LOAD_BYTES;
    }
    const value = typeof given === "string" && register.ip ? addressValue(given) : given;
    mustFit(table, register, value);
    return register.bits < 32 || register.field === "metadata" ? encodeLoad(buf, off, register, value as number | bigint) : encodeSetField(buf, off, register.field, value, undefined);
  }

  /**
   * Nothing in a scratch register may be counted on after a call: the called tables have scratch registers too.
   * A hand-over that more actions follow comes back, as a call does.
   * @throws Error naming the table and the register when the flow does
   */
  private checkScratch(table: PipelineTable, action: FlowAction, now: Scratch, last: boolean): Scratch {
    const isScratch = (name: string): boolean => this.layout.registerFor(table, name).scratch;
    const read = (ref: unknown): void => {
      const name = registerName(ref);
      if (name !== undefined && now.called && !now.held.has(name) && isScratch(name)) throw new Error(`table ${table.name}: scratch register ${name} is read after a call`);
    };
    const loaded = (name: string | undefined): Scratch => {
      if (name === undefined || !isScratch(name)) return now;
      return { held: new Set([...now.held, name]), lost: new Set([...now.lost].filter((l) => l !== name)), called: now.called };
    };
    const called = (): Scratch => ({ held: NONE, lost: new Set([...now.held, ...now.lost]), called: true });
    switch (action.type) {
      case "load_reg":
        return loaded(action.reg);
      case "copy":
        read(action.from);
        return loaded(registerName(action.to));
      case "stack_push":
        read(action.from);
        return now;
      case "stack_pop":
      case "multipath":
        return loaded(registerName(action.to));
      case "ct":
        read(`reg:${action.zone}`);
        return now;
      case "learn":
        for (const value of Object.values(action.match)) if (typeof value === "object") read(value.from);
        for (const { from } of action.load ?? []) read(from);
        read(action.output);
        return now;
      case "clone":
        // What it does to registers ends with it.
        action.actions.reduce((inside, a, i) => this.checkScratch(table, a, inside, i === action.actions.length - 1), now);
        return now;
      case "call":
      case "call_stage":
        return called();
      case "table":
        if (now.lost.size > 0) throw new Error(`table ${table.name}: scratch register ${[...now.lost].join(", ")} is carried across a call to ${action.table}`);
        return last ? now : called();
      case "next":
      case "stage":
      case "entrance":
        return last ? now : called();
      default:
        return now;
    }
  }

  private transition(table: PipelineTable, action: FlowAction & { type: "next" | "stage" | "table" | "entrance" }, family: Family, last: boolean): Step {
    const to = action.type === "next" ? "" : action.type === "stage" ? action.stage : action.table;
    const transitions = this.names[table.id]!.transitions[(KINDS[action.type] * 4 + FAMILIES[family]) * 2 + (last ? 1 : 0)]!;
    let step = transitions.get(to);
    if (step === undefined) {
      const made = this.layout.transition(table, action, family, last);
      transitions.set(to, (step = typeof made === "number" ? made : this.lowering.encoded(made)));
    }
    return step;
  }
}

/** Actions whose bytes are there already. */
function copied(buf: Buffer, off: number, { actions, bytes }: { readonly actions: readonly Action[]; readonly bytes: Uint8Array }): number {
  if (off + bytes.length > buf.length) return encodeActions(buf, off, actions); // which says what is wrong
  buf.set(bytes, off);
  return off + bytes.length;
}

function loadOf(register: Register): Loaded {
  if (register.bits >= 32) return { register, head: undefined };
  const head = Buffer.alloc(LOAD_BYTES);
  return { register, head: encodeLoad(head, 0, register, 0) === LOAD_BYTES ? head : undefined };
}

/** Name of the register that a reference is of; undefined for a field. */
function registerName(ref: unknown): string | undefined {
  const name = typeof ref === "object" && ref !== null ? (ref as { readonly field: unknown }).field : ref;
  return typeof name === "string" && name.startsWith("reg:") ? name.slice(4) : undefined;
}
