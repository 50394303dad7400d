// Lists of actions and instructions: "load:1->reg0[],resubmit(,2)", "meter:3,output:1,goto_table:4". Each word is read by
// the reader of its name; then the list is looked at as a whole, for what may stand together and in which order.

import type { Action } from "../../actions/codec.ts";
import type { Instruction } from "../../messages/instructions.ts";
import { FORWARDERS, outputTo } from "./forward.ts";
import { NESTED } from "./nested.ts";
import { SETTERS } from "./set.ts";
import { RANKS, type Judge, type List, type Reader, type Rank, type Scope, type Step } from "./step.ts";
import { pairs, part, portNumber, quoted, table, textError, u32, u64, type Pair, type Word } from "./words.ts";

const DEEPEST = 100;
const LAST_METER = 0xffff0000;

/** An instruction among the actions. */
interface InstructionStep extends Step {
  instruction(judge: Judge | undefined): Instruction;
}

type InstructionReader = (value: Word, word: Word, scope: Scope) => { readonly rank: Exclude<Rank, "apply_actions">; readonly instruction: InstructionStep["instruction"] };

const INSTRUCTIONS: Readonly<Record<string, InstructionReader>> = {
  meter(value, word) {
    const id = u32(value, "meter");
    return {
      rank: "meter",
      instruction(judge) {
        if (judge !== undefined && (id === 0 || id > LAST_METER)) throw textError(word, `meter: there is no meter ${id}`, "OFPMMFC_INVALID_METER");
        return { type: "meter", meter_id: id };
      },
    };
  },
  clear_actions: () => ({ rank: "clear_actions", instruction: () => ({ type: "clear_actions" }) }),
  write_actions(value, _, scope) {
    const steps = scope.list(value, "write_actions");
    return {
      rank: "write_actions",
      instruction(judge) {
        const inner = judge === undefined ? undefined : { ...judge, packet: judge.packet.copy(), lenient: true };
        return { type: "write_actions", actions: steps.flatMap((step) => step.compile(inner)) };
      },
    };
  },
  write_metadata(value) {
    const slash = value.text.indexOf("/");
    const metadata = u64(slash < 0 ? value : part(value, 0, slash), "write_metadata");
    const mask = slash < 0 ? 0xffffffffffffffffn : u64(part(value, slash + 1), "write_metadata");
    return { rank: "write_metadata", instruction: () => ({ type: "write_metadata", metadata, metadata_mask: mask }) };
  },
  goto_table(value, word) {
    const id = table(value, "goto_table");
    return {
      rank: "goto_table",
      instruction(judge) {
        if (judge !== undefined && judge.table !== 255 && id <= judge.table) throw textError(word, `goto_table: only tables after ${judge.table} can be gone to, not ${id}`, "OFPBIC_BAD_TABLE_ID");
        return { type: "goto_table", table_id: id };
      },
    };
  },
};

const READERS: ReadonlyMap<string, Reader> = new Map(Object.entries({ ...FORWARDERS, ...SETTERS, ...NESTED }));
const INSTRUCTION_READERS: ReadonlyMap<string, InstructionReader> = new Map(Object.entries(INSTRUCTIONS));

function readStep({ key, value }: Pair, scope: Scope): Step | undefined {
  const name = key.text.toLowerCase();
  const reader = READERS.get(name);
  if (reader !== undefined) return { rank: "apply_actions", word: key, ...reader(value, key, scope) };
  const instruction = INSTRUCTION_READERS.get(name)?.(value, key, scope);
  if (instruction !== undefined) return { ...instruction, word: key, compile: () => [] } satisfies InstructionStep;
  if (name === "drop") return undefined;
  if (name === "apply_actions") throw textError(key, "apply_actions goes without saying");
  const to = portNumber(key.text);
  if (to === undefined) throw textError(key, `there is no action ${quoted(key)}`);
  return { rank: "apply_actions", word: key, ...outputTo(key, to, 0) };
}

function readList(word: Word, list: List, depth: number): Step[] {
  if (depth >= DEEPEST) throw textError(word, `actions are nested more than ${DEEPEST} deep`);
  return readPairs(pairs(word), list, depth);
}

function readPairs(words: Iterable<Pair>, list: List, depth: number): Step[] {
  const scope: Scope = { list: (inner, kind) => readList(inner, kind, depth + 1) };
  const steps: Step[] = [];
  let drop: Word | undefined;
  for (const pair of words) {
    const step = readStep(pair, scope);
    if (step === undefined) drop = pair.key;
    else steps.push(step);
  }
  if (drop !== undefined && steps.length > 0) throw textError(drop, "drop stands alone, with no other action");
  checkCompany(steps, list);
  return steps;
}

/** What may stand with what, and in what order. */
function checkCompany(steps: readonly Step[], list: List): void {
  let last: Step | undefined;
  for (const step of steps) {
    const name = step.word.text.toLowerCase();
    if (name === "conjunction") {
      const other = steps.find(({ word }) => !["conjunction", "note"].includes(word.text.toLowerCase()));
      if (other !== undefined) throw textError(other.word, `${quoted(other.word)} cannot stand with conjunction, only note can`, "NXBAC_BAD_CONJUNCTION");
      return;
    }
    checkNesting(step, name, list);
    if (last !== undefined) {
      const [before, after] = [RANKS.indexOf(last.rank), RANKS.indexOf(step.rank)];
      if (before === after && step.rank !== "apply_actions") throw textError(step.word, `${step.rank} stands there twice`, "OFPBAC_UNSUPPORTED_ORDER");
      if (after < before) throw textError(step.word, `${step.rank === "apply_actions" ? quoted(step.word) : step.rank} has to stand before ${last.rank}`, "OFPBAC_UNSUPPORTED_ORDER");
    }
    if (step.rank !== "apply_actions" && list !== "instructions") throw textError(step.word, `the instruction ${step.rank} cannot stand among these actions`, "OFPBIC_UNSUP_INST");
    last = step;
  }
}

function checkNesting({ word, sets }: Step, name: string, list: List): void {
  const setsConnection = sets?.name === "ct_mark" || sets?.name === "ct_label";
  if (setsConnection && list !== "ct") throw textError(word, `${sets.name} can be set inside ct only`, "OFPBAC_BAD_SET_ARGUMENT");
  if (name === "nat") {
    if (list !== "ct") throw textError(word, "nat can stand inside ct only", "OFPBAC_BAD_SET_ARGUMENT");
  } else if (list === "ct" && !setsConnection) {
    throw textError(word, sets === undefined ? `${quoted(word)} cannot stand inside ct` : `${sets.name} cannot be set inside ct`, "OFPBAC_BAD_ARGUMENT");
  }
}

function isInstruction(step: Step): step is InstructionStep {
  return "instruction" in step;
}

/** Reads what stands after "actions=". The result says what is sent, given the packets that come; undefined for any. */
export function readInstructions(word: Word): (judge: Judge | undefined) => Instruction[] {
  const steps = readList(word, "instructions", 0);
  return (judge) => {
    const found: Instruction[] = [];
    let actions: Action[] | undefined;
    for (const step of steps) {
      if (isInstruction(step)) {
        const instruction = step.instruction(judge);
        // Without actions there is nothing to write.
        if (instruction.type !== "write_actions" || instruction.actions.length > 0) found.push(instruction);
      } else {
        if (actions === undefined) found.push({ type: "apply_actions", actions: (actions = []) });
        actions.push(...step.compile(judge));
      }
    }
    return found.filter((instruction) => instruction.type !== "apply_actions" || instruction.actions.length > 0);
  };
}

/** Reads actions without instructions, for packets of which nothing is known. */
export function readActions(words: Iterable<Pair>): Action[] {
  return readPairs(words, "actions", 0).flatMap((step) => step.compile(undefined));
}

/**
 * Actions as ovs-ofctl takes them, such as "push_vlan:0x8100,set_field:4100->vlan_vid,output:1"; "drop" for none. As in a
 * group, nothing is known of the packets: mod_vlan_vid pushes a tag, and prerequisites are left to the switch.
 * @throws OpenFlowError OF_TEXT
 */
export function parseActions(text: string): Action[] {
  return readActions(pairs({ text, at: 0 }));
}

/**
 * Instructions and actions as they stand after "actions=" in a flow, such as "load:1->reg0[],write_metadata:3,goto_table:2".
 * Nothing is known of the packets, see parseActions.
 * @throws OpenFlowError OF_TEXT
 */
export function parseInstructions(text: string): Instruction[] {
  return readInstructions({ text, at: 0 })(undefined);
}

