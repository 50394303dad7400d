// What reading an action gives: a step, which can say what it sends once it is known what packets come to it. Some actions
// are sent differently then (mod_vlan_vid pushes a tag where there is none), some are refused.

import type { Action } from "../../actions/codec.ts";
import type { TextField, TextSubField } from "./fields.ts";
import type { Packet } from "./packet.ts";
import { textError, type Word } from "./words.ts";

/** Instructions in order of execution; each but apply_actions may occur once. */
export const RANKS = ["meter", "apply_actions", "clear_actions", "write_actions", "write_metadata", "goto_table"] as const;
export type Rank = (typeof RANKS)[number];

/** The packets that come to a step. */
export interface Judge {
  packet: Packet;
  /** Table of the flow, 255 if it is not given. */
  readonly table: number;
  /** Inside write_actions: what is sure to fail is refused, what fails for most packets is not. */
  readonly lenient: boolean;
}

export interface Step {
  /** The word that stands there. */
  readonly word: Word;
  readonly rank: Rank;
  /** What a set_field, load or move writes. */
  readonly sets?: TextField;
  /**
   * What is sent. Changes the packet as the action would; without a judge nothing is known and nothing is refused.
   * @throws OpenFlowError OF_TEXT with an errorName when the switch would refuse the action
   */
  compile(judge: Judge | undefined): readonly Action[];
}

export type Compile = Step["compile"];

/** Which list a step stands in; "instructions" and "actions" are the outermost. */
export type List = "instructions" | "actions" | "ct" | "clone" | "write_actions";

/** What readers of actions with lists inside need. */
export interface Scope {
  list(word: Word, list: List): readonly Step[];
}

/** What a reader makes of the argument of an action: what to send, whatever comes, or a function of the packet. */
export interface Reading {
  readonly compile: Compile;
  readonly sets?: TextField;
  readonly rank?: Rank;
}
export type Reader = (value: Word, word: Word, scope: Scope) => Reading;

/** An action that is always the same, after `check` if there is one. */
export function plain(action: Action, check?: (judge: Judge) => void): Reading {
  return { compile: (judge) => (judge !== undefined && check?.(judge), [action]) };
}

/** Refuses unless `ok`: for every packet that a flow of OpenFlow 1.3 can see here, the action is wrong. */
export function consistent(judge: Judge, ok: boolean, word: Word, why: string): void {
  if (!ok && !judge.lenient) throw inconsistent(word, why);
}

export function inconsistent(word: Word, why: string): Error {
  return textError(word, `${word.text}: ${why}`, "OFPBAC_MATCH_INCONSISTENT");
}

export function readable(judge: Judge, word: Word, sub: TextSubField): void {
  if (!judge.packet.meets(sub.field.needs)) throw inconsistent(word, `the match does not say that there is ${sub.field.name}`);
}

export function writable(judge: Judge, word: Word, sub: TextSubField): void {
  readable(judge, word, sub);
  if (!sub.field.writable) throw textError(word, `${word.text}: ${sub.field.name} cannot be written`, "OFPBAC_BAD_SET_ARGUMENT");
}

/** Ports that may be output to: numbers, and names but NONE. */
export function outputPort(word: Word, port: number): void {
  if ((port >= 0xff00 && port < 0xfffffff8) || port === 0xffffffff) throw textError(word, `there is no output to port ${port}`, "OFPBAC_BAD_OUT_PORT");
}
