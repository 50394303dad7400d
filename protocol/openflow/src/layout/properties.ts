// Properties: lists of type, length and content in which table features, queues, asynchronous masks and the later extensions say
// what they have. A property whose type is unknown keeps its number and its bytes.

import { badValue, malformed, refusal, truncated, type ErrorName } from "../wire/errors.ts";
import { decodeParts, encodeParts, rest, type Part, type Shape } from "./layout.ts";
import { pad8 } from "../match/match.ts";
import { judging } from "../wire/strict.ts";
import { whole, writeU16 } from "../match/value.ts";

type Obj = Record<string, unknown>;
type Simplify<T> = { [K in keyof T]: T[K] };
type Case = readonly [code: number, layout: readonly Part[]];

/** A property by its number, as far as this package does not know it. */
export interface UnknownProperty {
  readonly type: number;
  readonly data?: Uint8Array;
}
export type PropertyOf<C extends Readonly<Record<string, Case>>> = { [K in keyof C]: Simplify<{ type: K } & Shape<C[K][1]>> }[keyof C] | UnknownProperty;

/** How Open vSwitch reads a list of properties, where it judges. */
export interface Judgement {
  /** How it refuses a type that it does not know; without it, such types and those of experimenters are passed over. */
  readonly badType?: ErrorName | undefined;
  /** Whether it passes over them all the same when it only shows the message. */
  readonly passedWhenShown?: boolean;
  /** The lowest type that stands for an experimenter's: 0xffff, and where there are two 0xfffe. */
  readonly experimenters?: 0xffff | 0xfffe;
}

interface Options extends Judgement {
  /** How Open vSwitch refuses a wrong length. */
  readonly badLength?: ErrorName;
  /** Each property fills up to 8 bytes. Those of queues do not, and are read by other rules. */
  readonly align?: 1 | 8;
  /** Open vSwitch takes an experimenter's type for a type of the list: with its content, where there is one of that number. */
  readonly mixed?: boolean;
}

/** Types of experimenters, in one place or another. */
const ODD = 0xfffe;

const MEANT = Symbol("meant");

/** The property itself, or the one for which Open vSwitch takes it. */
export function meaning<T extends object>(property: T): T {
  return (property as { [MEANT]?: T })[MEANT] ?? property;
}

/** Bytes of an experimenter's property before its content. */
export const EXPERIMENTER_HEAD = 12;

/**
 * A strict decoder's look at the head of a property whose length is sound; `known`: it has a layout. Returns the experimenter's type,
 * undefined for a property of none.
 * @throws OpenFlowError OFPBPC_BAD_EXPERIMENTER, OFPBPC_BAD_EXP_TYPE, `badType`; OFPBPC_BAD_LEN for an experimenter's of less than 12 bytes
 */
export function checkProperty(buf: Buffer, off: number, known: boolean | ((expType: number) => boolean), judgement: Judgement): number | undefined {
  const { experimenters = 0xffff } = judgement;
  const badType = judging.shown && judgement.passedWhenShown === true ? undefined : judgement.badType;
  const type = buf.readUInt16BE(off);
  if (type < experimenters) {
    if (badType !== undefined && known === false) throw refusal(badType, off, `unknown property ${type}`);
    return undefined;
  }
  if (buf.readUInt16BE(off + 2) < EXPERIMENTER_HEAD) throw malformed(off + 2, "an experimenter's property without type", "OFPBPC_BAD_LEN");
  const experimenter = buf.readUInt32BE(off + 4);
  if (experimenter === 0) throw refusal("OFPBPC_BAD_EXPERIMENTER", off + 4, "a property of experimenter 0");
  const expType = buf.readUInt32BE(off + 8);
  // Of experimenters that it does not know at all, too, Open vSwitch says that it does not know the type.
  if (badType !== undefined && !(typeof known === "function" && known(expType))) throw refusal("OFPBPC_BAD_EXP_TYPE", off + 8, `unknown property ${expType} of experimenter 0x${experimenter.toString(16)}`);
  return expType;
}

const opaque = [rest("data")] as const;

export function properties<N extends string, const C extends Readonly<Record<string, Case>>>(
  name: N, cases: C, { badLength = "OFPBPC_BAD_LEN", align = 8, mixed = false, ...judgement }: Options = {},
): Part<{ [K in N]: readonly PropertyOf<C>[] }> {
  const { experimenters = 0xffff } = judgement;
  const byCode = new Map(Object.entries(cases).map(([type, [code, layout]]) => [code, { type, layout, least: layout.reduce((sum, part) => sum + Math.max(part.size, 0), 4) }]));
  const meantBy = (expType: number): { type: string; layout: readonly Part[] } | undefined => (mixed && expType < experimenters ? byCode.get(expType) : undefined);
  return {
    name, size: -1,
    encode(buf, off, obj) {
      const list = obj[name] ?? [];
      if (!Array.isArray(list)) throw badValue(`${name} takes a list`);
      for (const property of list as Obj[]) {
        const type = property["type"];
        const known = typeof type === "string" ? cases[type] : undefined;
        const code = known?.[0] ?? type;
        if (typeof code !== "number") throw badValue(`${name}: no property ${String(type)}`);
        const start = off;
        writeU16(buf, start, whole(code, 0xffff, `${name}: type`));
        off = encodeParts(known?.[1] ?? opaque, buf, start + 4, property);
        writeU16(buf, start + 2, off - start);
        if (align === 8) off = pad8(buf, start, off);
      }
      return off;
    },
    decode(buf, off, end, obj) {
      const list: Obj[] = [];
      while (off < end) {
        if (off + 4 > end) throw truncated(off, name, badLength);
        const code = buf.readUInt16BE(off);
        const length = buf.readUInt16BE(off + 2);
        const next = off + (align === 8 ? (length + 7) & ~7 : length);
        if (length < 4) throw malformed(off + 2, `${name}: length ${length}`, badLength);
        if (next > end) throw truncated(off + 2, name, badLength);
        let known = byCode.get(code);
        // Nobody reads what experimenters say, so one whose head is short is kept as it is.
        if (code >= ODD && known !== undefined && length < known.least) known = undefined;
        let meant: Obj | undefined;
        if (judging.strict && align === 8) {
          const expType = checkProperty(buf, off, code < experimenters ? code < ODD && known !== undefined : (type) => meantBy(type) !== undefined, judgement);
          const other = expType === undefined ? undefined : meantBy(expType);
          if (other !== undefined) {
            meant = { type: other.type };
            decodeParts(other.layout, buf, off + EXPERIMENTER_HEAD, off + length, meant, name, badLength);
          }
        }
        const property: Obj & { [MEANT]?: Obj } = { type: known?.type ?? code };
        const layout = known?.layout ?? opaque;
        const at = decodeParts(layout, buf, off + 4, off + length, property, name, badLength);
        if (at !== off + length) throw malformed(at, `${name}: ${off + length - at} bytes left over`, badLength);
        if (meant !== undefined) Object.defineProperty(property, MEANT, { value: meant });
        list.push(property);
        off = next;
      }
      (obj as Record<string, unknown>)[name] = list;
      return end;
    },
  };
}
