// Actions with actions or flows inside: ct with nat and exec, clone, learn.

import type { Action, Nat } from "../../actions/codec.ts";
import type { LearnSpec } from "../../actions/learn.ts";
import { readBig, writeIpv4, writeIpv6 } from "../../match/value.ts";
import {
  fieldInteger, fieldOrNumberNamed, hasShortNumber, leadingInteger, leadingSubField, subField, wholeValue, wireSubField, type TextSubField,
} from "./fields.ts";
import { Conditions } from "./match.ts";
import { CT_INVALID, ETH, PROTO } from "./packet.ts";
import { inconsistent, plain, readable, writable, type Judge, type Reader, type Reading, type Step } from "./step.ts";
import { decimal, pairs, part, quoted, table, textError, u16, u64, type Pair, type Word } from "./words.ts";

/** The actions of a list; what they do to the packet ends with it. */
function compileAll(steps: readonly { readonly compile: Step["compile"] }[], judge: Judge | undefined): Action[] {
  const inner = judge === undefined ? undefined : { ...judge, packet: judge.packet.copy() };
  return steps.flatMap((step) => step.compile(inner));
}

const clone: Reader = (value, _, scope) => {
  const steps = scope.list(value, "clone");
  return { compile: (judge) => [{ type: "clone", actions: compileAll(steps, judge) }] };
};

// --- nat ---

const ADDRESS = /^(?:(?<v4>\d+\.\d+\.\d+\.\d+)|\[(?<bracketed>[0-9a-fA-F:.]+)\]|(?<v6>[0-9a-fA-F:.]+))/;
const scratch = Buffer.alloc(16);

function natAddress(text: string): { address: string; value: bigint; v6: boolean; end: number } | undefined {
  const found = ADDRESS.exec(text);
  const address = found?.groups!["v4"] ?? found?.groups!["bracketed"] ?? found?.groups!["v6"];
  if (found === null || address === undefined) return undefined;
  const v6 = found.groups!["v4"] === undefined;
  if (!(v6 ? writeIpv6(scratch, 0, address) : writeIpv4(scratch, 0, address))) return undefined;
  return { address, value: readBig(scratch, 0, v6 ? 16 : 4), v6, end: found[0].length };
}

type Range = Pick<Nat, "addr_min" | "addr_max" | "port_min" | "port_max">;

/** 10.0.0.1-10.0.0.9:1000-2000, [fd00::1]-[fd00::9]:80; undefined for none. What is zero is not there. */
function natRange(word: Word): { range: Range; v6: boolean } | undefined {
  const { text } = word;
  if (text === "") return undefined;
  const wrong = (): Error => textError(word, `nat: ${quoted(word)} is no range of addresses and ports`);
  const first = natAddress(text);
  if (first === undefined) throw wrong();
  let at = first.end;
  const range: { -readonly [K in keyof Range]: Range[K] } = first.value === 0n ? {} : { addr_min: first.address };
  if (text[at] === "-") {
    const last = natAddress(text.slice(at + 1));
    if (last?.v6 !== first.v6 || last.value < first.value) throw wrong();
    if (last.value !== 0n) range.addr_max = last.address;
    at += 1 + last.end;
  }
  if (text[at] === ":") {
    const found = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.slice(at + 1));
    const [min, max] = [Number(found?.[1]), Number(found?.[2] ?? found?.[1])];
    if (found === null || max > 0xffff || max < min) throw wrong();
    if (min !== 0) range.port_min = min;
    if (found[2] !== undefined && max !== 0) range.port_max = max;
    at = text.length;
  }
  if (at !== text.length) throw textError({ at: word.at + at }, `nat: "${text.slice(at, at + 60)}" after the range`);
  return { range, v6: first.v6 };
}

function readNat(value: Word): { nat: Nat; v6: boolean | undefined } {
  const nat: { -readonly [K in keyof Nat]: Nat[K] } = {};
  let v6: boolean | undefined;
  for (const { key, value: given } of pairs(value)) {
    switch (key.text) {
      case "src":
      case "dst": {
        if (nat.kind !== undefined && nat.kind !== key.text) throw textError(key, "nat: src and dst exclude each other");
        nat.kind = key.text;
        const found = natRange(given);
        v6 = found?.v6;
        Object.assign(nat, found?.range);
        break;
      }
      case "persistent":
      case "hash":
      case "random":
        nat[key.text] = true;
        break;
      default:
        throw textError(key, `nat: no argument ${quoted(key)}`);
    }
  }
  if (nat.kind === undefined && Object.keys(nat).length > 0) throw textError(value, "nat: src or dst is missing");
  if (nat.hash === true && nat.random === true) throw textError(value, "nat: hash and random exclude each other");
  return { nat, v6 };
}

const nat: Reader = (value, word) => {
  const { nat: found, v6 } = readNat(value);
  return plain({ type: "nat", nat: found }, ({ packet }) => {
    if (!packet.isIp) throw inconsistent(word, "the match does not say ip or ipv6");
    if (v6 !== undefined && v6 !== (packet.type === ETH.IPV6)) throw inconsistent(word, "an address of the other IP version");
  });
};

// --- ct ---

const HELPERS: ReadonlyMap<string, readonly [port: number, proto: number]> = new Map([["ftp", [21, PROTO.TCP]], ["tftp", [69, PROTO.UDP]]]);

const ct: Reader = (value, word, scope) => {
  let commit = false;
  let force = false;
  let tableId: number | undefined;
  let zone: number | TextSubField = 0;
  let zoneWord: Word = value;
  let helper: readonly [port: number, proto: number] | undefined;
  const steps: Reading[] = [];
  for (const { key, value: given } of pairs(value)) {
    switch (key.text) {
      case "commit":
        commit = true;
        break;
      case "force":
        force = true;
        break;
      case "table":
        tableId = table(given, "table");
        if (tableId === 255) throw textError(given, "ct: there is no table 255");
        break;
      case "zone":
        zoneWord = given;
        zone = /^[+-]?\d/.test(given.text) ? u16(given, "zone") : short(given, subField(given));
        break;
      case "alg":
        helper = HELPERS.get(given.text);
        if (helper === undefined) throw textError(given, `alg: ${quoted(given)} is none of ${[...HELPERS.keys()].join(", ")}`);
        break;
      case "nat":
        steps.push(nat(given, key, scope));
        break;
      case "exec":
        steps.push(...scope.list(given, "ct"));
        break;
      default:
        throw textError(key, `${word.text}: no argument ${quoted(key)}`);
    }
  }
  if (force && !commit) throw textError(word, `${word.text}: force takes commit too`);
  const zoneField = typeof zone === "object" ? zone : undefined;
  const head = {
    type: "ct" as const, ...(commit ? { commit } : {}), ...(force ? { force } : {}),
    ...(zone === 0 ? {} : { zone: typeof zone === "object" ? wireSubField(zoneWord, zone) : zone }),
    ...(tableId === undefined ? {} : { table: tableId }), ...(helper === undefined ? {} : { alg: helper[0] }),
  };
  return {
    compile(judge) {
      if (judge !== undefined) judgeCt(judge, word, commit, helper?.[1]);
      if (judge !== undefined && zoneField !== undefined) readable(judge, word, zoneField);
      // Open vSwitch does not look inside when the zone comes from a field.
      const [first, ...rest] = compileAll(steps, zoneField === undefined ? judge : undefined);
      const exec = first === undefined || first.type === "nat" ? rest : [first, ...rest];
      return [{ ...head, ...(first?.type === "nat" ? { nat: first.nat } : {}), ...(exec.length === 0 ? {} : { exec }) }];
    },
  };
};

function judgeCt({ packet }: Judge, word: Word, commit: boolean, proto: number | undefined): void {
  if (!packet.isIp) throw inconsistent(word, "the match does not say ip or ipv6");
  if (commit && (packet.ctState & CT_INVALID) !== 0) throw inconsistent(word, "what is not valid cannot be committed");
  if (proto !== undefined && packet.proto !== proto) throw inconsistent(word, "the match does not say the protocol of alg");
}

// --- learn ---

const FLAGS = { send_flow_rem: 1, delete_learned: 2 } as const;
const NUMBERS = { priority: "priority", idle_timeout: "idle_timeout", hard_timeout: "hard_timeout", fin_idle_timeout: "fin_idle_timeout", fin_hard_timeout: "fin_hard_timeout" } as const;

interface Spec {
  readonly spec: LearnSpec;
  readonly word: Word;
  readonly src: TextSubField | bigint;
  readonly dst: TextSubField | undefined;
}

const learn: Reader = (value, word) => {
  const head = { table_id: 1, priority: 0x8000, cookie: 0n, idle_timeout: 0, hard_timeout: 0, fin_idle_timeout: 0, fin_hard_timeout: 0, flags: 0 };
  let limit = 0;
  let result: { word: Word; sub: TextSubField } | undefined;
  const specs: Spec[] = [];
  for (const pair of pairs(value)) {
    const { key, value: given } = pair;
    switch (key.text) {
      case "table":
        head.table_id = table(given, "table");
        if (head.table_id === 255) throw textError(given, `${word.text}: there is no table 255`);
        break;
      case "priority":
      case "idle_timeout":
      case "hard_timeout":
      case "fin_idle_timeout":
      case "fin_hard_timeout":
        head[NUMBERS[key.text]] = decimal(given, key.text, 0xffff);
        break;
      case "cookie":
        head.cookie = u64(given, "cookie");
        break;
      case "send_flow_rem":
      case "delete_learned":
        head.flags |= FLAGS[key.text];
        break;
      case "limit":
        limit = decimal(given, "limit", 0x7fffffff);
        break;
      case "result_dst":
        result = { word: given, sub: subField(given) };
        if (!result.sub.field.writable) throw textError(given, `${word.text}: ${result.sub.field.name} cannot be written`);
        if (result.sub.bits !== 1) throw textError(given, `${word.text}: result_dst is one bit, not ${result.sub.bits}`);
        break;
      default:
        specs.push(learnSpec(pair));
    }
  }
  const action: Action = {
    type: "learn", ...head, ...(limit === 0 && result === undefined ? {} : { limit }),
    ...(result === undefined ? {} : { result_dst: wireSubField(result.word, result.sub) }), specs: specs.map(({ spec }) => spec),
  };
  return plain(action, (judge) => judgeLearn(judge, specs));
};

function short(word: Word, sub: TextSubField): TextSubField {
  if (!hasShortNumber(sub.field)) throw textError(word, `${sub.field.name} cannot stand here, its number is too long`);
  return sub;
}

function constant(value: bigint): number | bigint {
  return value <= 0xffffffffn ? Number(value) : value;
}

function learnSpec({ key, value }: Pair): Spec {
  if (key.text === "load") return learnLoad(key, value);
  if (key.text === "output") {
    const src = short(value, subField(value));
    return { spec: { type: "output", src: wireSubField(value, src) }, word: key, src, dst: undefined };
  }
  const dst = short(key, subField(key));
  const target = wireSubField(key, dst);
  if (value.text === "") return { spec: { type: "match", src: target, dst: target }, word: key, src: dst, dst };
  const bracket = value.text.indexOf("[");
  if (fieldOrNumberNamed(bracket < 0 ? value.text : value.text.slice(0, bracket)) !== undefined) {
    const src = short(value, subField(value));
    if (src.bits !== dst.bits) throw textError(value, `learn: ${src.bits} bits of ${src.field.name} for ${dst.bits} of ${dst.field.name}`);
    return { spec: { type: "match", src: wireSubField(value, src), dst: target }, word: key, src, dst };
  }
  const whole = dst.ofs === 0 && dst.bits === dst.field.width;
  const given = whole ? wholeValue(dst.field, value) : fieldInteger(dst.field, value);
  if (given >> BigInt(dst.bits) !== 0n) throw textError(value, `learn: ${quoted(value)} has more than ${dst.bits} bits`);
  return { spec: { type: "match", src: constant(given), dst: target }, word: key, src: given, dst };
}

/** load:5->reg0[], load:reg1[0..15]->reg0[0..15] */
function learnLoad(key: Word, value: Word): Spec {
  const arrow = value.text.indexOf("->");
  if (arrow < 1) throw textError(value, `load: ${arrow < 0 ? "->" : "what stands before ->"} is missing in ${quoted(value)}`);
  const right = part(value, arrow + 2);
  const dst = short(right, subField(right));
  const left = part(value, 0, arrow);
  if (/^\s*[+-]?\d/.test(left.text)) {
    const { value: given, end } = leadingInteger({ name: "load", bytes: 128 }, left);
    if (end !== left.text.length) throw textError({ at: left.at + end }, `load: ${quoted(left)} is not a number`);
    if (given >> BigInt(dst.bits) !== 0n) throw textError(left, `load: ${quoted(left)} has more than ${dst.bits} bits`);
    return { spec: { type: "load", src: constant(given), dst: wireSubField(right, dst) }, word: key, src: given, dst };
  }
  const { sub, end } = leadingSubField(left);
  if (end !== left.text.length) throw textError({ at: left.at + end }, `load: ${quoted(left)} is neither a number nor a field`);
  const src = short(left, sub);
  if (src.bits !== dst.bits) throw textError(value, `load: ${src.bits} bits of ${src.field.name} to ${dst.bits} of ${dst.field.name}`);
  return { spec: { type: "load", src: wireSubField(left, src), dst: wireSubField(right, dst) }, word: key, src, dst };
}

/** The learned flow has a match of its own, in which earlier specifications are what later ones need. */
function judgeLearn(judge: Judge, specs: readonly Spec[]): void {
  const learned = new Conditions();
  for (const { spec, word, src, dst } of specs) {
    if (typeof src === "object") readable(judge, word, src);
    if (dst === undefined) continue;
    const inside = { ...judge, packet: learned.packet() };
    if (spec.type === "load") writable(inside, word, dst);
    else {
      readable(inside, word, dst);
      if (typeof src === "bigint") learned.write(word, dst, src);
    }
  }
}

export const NESTED: Readonly<Record<string, Reader>> = { clone, ct, nat, learn, ct_clear: () => plain({ type: "ct_clear" }) };
