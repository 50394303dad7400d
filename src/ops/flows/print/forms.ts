// The two forms of a flow, JSON and the syntax of ovs-ofctl, written piece by piece into a buffer. They are the same, byte by byte, as what flows.ts makes
// of a record.
import type { Flow } from "../../../compiler/desired.ts";
import type { Provenance } from "../../../compiler/engine.ts";
import { flowText, oneLine, type FlowRecord, type FlowResource, type FlowState } from "../flows.ts";
import type { Cause, RuleText } from "./causes.ts";
import { joined, place, textPiece, writeBytes, writePieces, type Piece, type PortNames } from "./pieces.ts";
import type { Script, Template } from "./templates.ts";

export type Counts = Required<Pick<FlowRecord, "packet_count" | "byte_count" | "duration_s">> & Pick<FlowRecord, "packets_per_s" | "bytes_per_s">;

/** A switch whose flows are written. */
export interface Host {
  readonly id: string;
  readonly ports: PortNames;
  /** What flows of a table begin with, by number. */
  readonly tables: Uint8Array[];
}

export interface Form {
  /** Each has one of its own, from 0 on. */
  readonly number: number;
  /** Before everything, between flows, and after everything. */
  readonly begin: Uint8Array;
  readonly between: Uint8Array;
  readonly end: Uint8Array;
  /** Whether words have names beside them. */
  readonly named: boolean;
  readonly ruleText: (why: Provenance) => string;
  readonly resourceText: (resource: FlowResource) => string;
  readonly tableText: (host: string, number: number, name: string) => string;
  /** Before the first flow of a switch. */
  readonly switchText: (id: string) => string;
  readonly recordText: (record: FlowRecord) => string;
  readonly scriptOf: (template: Template, rule: RuleText) => Script;
  /** Writes one, after what flows of its table begin with; there are `roomFor` bytes from `at`. Returns the offset after it. */
  readonly write: (to: Buffer, at: number, host: Host, flow: Flow, cause: Cause, script: Script, state: FlowState, counts: Counts | undefined) => number;
}

/** Bytes of all but causes and words. */
const REST = 512;
export const roomFor = (host: Host, flow: Flow, cause: Cause, template: Template): number => REST + host.tables[flow.table]!.length + cause.size + template.most;

/** How a form writes flows of a template, made once. */
export const scriptFor = (form: Form, template: Template, rule: RuleText): Script => (template.scripts[form.number] ??= form.scriptOf(template, rule).map(joined));

const bytes = (text: string): Uint8Array => Buffer.from(text);
const NOTHING = bytes("");
const text = (of: string): Piece => textPiece(bytes(of));

// Of an OFPT_FLOW_MOD, before its match: OpenFlow 1.3.5, section 7.3.4.1.
const COOKIE = place("hex64", 8, 8);
const TABLE = place("decimal", 24, 1);
const PRIORITY = place("decimal", 30, 2);

const STATES: readonly FlowState[] = ["installed", "desired", "missing", "foreign", "quarantined", "learned"];
const byState = (of: (state: FlowState) => string): Readonly<Record<FlowState, Uint8Array>> => Object.fromEntries(STATES.map((state) => [state, bytes(of(state))])) as Record<FlowState, Uint8Array>;

const comma = bytes(",");
const always = byState((state) => `],"static":true,"state":"${state}"`);
const because = byState((state) => `],"state":"${state}"`);

export function jsonForm(named: boolean): Form {
  return {
    number: named ? 0 : 1, begin: bytes('{"flows":['), between: comma, end: bytes("]}"), named,
    ruleText: ({ app, rule, about }) => `","app":${JSON.stringify(app)},"rule":${JSON.stringify(rule)},"about":${JSON.stringify(about)},"resources":[`,
    resourceText: (resource) => JSON.stringify(resource),
    tableText: (host, number, name) => `{"switch":${JSON.stringify(host)},"table_id":${number},"table":${JSON.stringify(name)},"priority":`,
    switchText: () => "",
    recordText: (record) => JSON.stringify(record),
    scriptOf: ({ pieces: [match, actions, matchNamed, actionsNamed] }, { head }) => [
      [PRIORITY, text(',"match":"'), ...match, text('","actions":"'), ...actions, text('","cookie":"'), COOKIE, textPiece(head)],
      named ? [text(',"match_named":"'), ...matchNamed, text('","actions_named":"'), ...actionsNamed, text('"}')] : [text("}")],
    ],
    write: (to, from, { ports }, flow, { rule, resources }, script, state, counts) => {
      const { slab, off } = flow;
      let at = writePieces(to, from, script[0]!, slab, off, ports);
      for (let i = 0; i < resources.length; i++) {
        if (i > 0) to[at++] = COMMA;
        at = writeBytes(to, at, resources[i]!.text);
      }
      at = writeBytes(to, at, (rule.static ? always : because)[state]);
      if (counts !== undefined) {
        to[at++] = COMMA;
        at += to.write(JSON.stringify(counts).slice(1, -1), at, "latin1");
      }
      return writePieces(to, at, script[1]!, slab, off, ports);
    },
  };
}

const COMMA = 0x2c;
const stateWords = byState((state) => (state === "installed" ? "" : ` [${state}]`));

export const textForm: Form = {
  number: 2, begin: NOTHING, between: NOTHING, end: NOTHING, named: false,
  ruleText: ({ app, rule, static: always }) => oneLine(`# ${app}/${rule}${always ? " [static]" : ""}`),
  resourceText: (r) => oneLine(` ${r.type}:${r.id}${r.call === undefined ? "" : ` (${r.call}${r.generation === undefined ? "" : ` @${r.generation}`})`}`),
  tableText: () => "",
  switchText: (id) => oneLine(`# switch ${id}`) + "\n",
  recordText: flowText,
  scriptOf: ({ pieces: [match, actions] }) => {
    const [cookie, table] = [[text("\n cookie="), COOKIE], [text(", table="), TABLE]];
    const rest = [text(", priority="), PRIORITY, ...(match.length > 0 ? [text(","), ...match] : []), text(" actions="), ...(actions.length > 0 ? actions : [text("drop")]), text("\n")];
    return [[...cookie, ...table, ...rest], cookie, table, rest];
  },
  write: (to, from, { ports }, flow, { rule, resources }, script, state, counts) => {
    const { slab, off } = flow;
    let at = writeBytes(to, writeBytes(to, from, rule.head), stateWords[state]);
    for (let i = 0; i < resources.length; i++) at = writeBytes(to, at, resources[i]!.text);
    if (counts === undefined) return writePieces(to, at, script[0]!, slab, off, ports);
    at = writePieces(to, at, script[1]!, slab, off, ports);
    at += to.write(`, duration=${counts.duration_s}s`, at, "latin1");
    at = writePieces(to, at, script[2]!, slab, off, ports);
    at += to.write(`, n_packets=${counts.packet_count}, n_bytes=${counts.byte_count}`, at, "latin1");
    return writePieces(to, at, script[3]!, slab, off, ports);
  },
};
