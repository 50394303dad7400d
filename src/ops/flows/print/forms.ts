// The two forms of a flow, JSON and the syntax of ovs-ofctl, written piece by piece into a buffer. They are the same, byte by byte, as what flows.ts makes
// of a record.
import type { Flow } from "../../../compiler/desired.ts";
import type { Provenance } from "../../../compiler/engine.ts";
import { flowText, oneLine, type FlowRecord, type FlowResource, type FlowState } from "../flows.ts";
import type { Cause } from "./causes.ts";
import { writeBytes, writeDecimal, writeHex, writeHex8, writePiece, type Piece, type PortNames } from "./pieces.ts";
import type { Template } from "./templates.ts";

export type Counts = Required<Pick<FlowRecord, "packet_count" | "byte_count" | "duration_s">> & Pick<FlowRecord, "packets_per_s" | "bytes_per_s">;

/** A switch whose flows are written. */
export interface Host {
  readonly id: string;
  readonly ports: PortNames;
  /** What flows of a table begin with, by number. */
  readonly tables: Uint8Array[];
}

export interface Form {
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
  /** Writes one; there are `roomFor` bytes from `at`. Returns the offset after it. */
  readonly write: (to: Buffer, at: number, host: Host, flow: Flow, cause: Cause, template: Template, state: FlowState, counts: Counts | undefined) => number;
}

/** Bytes of all but causes and words. */
const REST = 512;
export const roomFor = (host: Host, flow: Flow, cause: Cause, template: Template): number => REST + host.tables[flow.table]!.length + cause.size + template.most;

const bytes = (text: string): Uint8Array => Buffer.from(text);
const NOTHING = bytes("");

function writeAll(to: Buffer, from: number, pieces: readonly Piece[], slab: Buffer, off: number, ports: PortNames): number {
  let at = from;
  for (let i = 0; i < pieces.length; i++) at = writePiece(to, at, pieces[i]!, slab, off, ports);
  return at;
}

function writeCookie(to: Buffer, at: number, { cookieHi, cookieLo }: Flow): number {
  return cookieHi === 0 ? writeHex(to, at, cookieLo) : writeHex8(to, writeHex(to, at, cookieHi), cookieLo);
}

const STATES: readonly FlowState[] = ["installed", "desired", "missing", "foreign", "quarantined", "learned"];
const byState = (text: (state: FlowState) => string): Readonly<Record<FlowState, Uint8Array>> => Object.fromEntries(STATES.map((state) => [state, bytes(text(state))])) as Record<FlowState, Uint8Array>;

const json = {
  match: bytes(',"match":"'), actions: bytes('","actions":"'), cookie: bytes('","cookie":"0x'), comma: bytes(","), static: bytes('],"static":true'), notStatic: bytes("]"),
  state: byState((state) => `,"state":"${state}"`), matchNamed: bytes(',"match_named":"'), actionsNamed: bytes('","actions_named":"'), end: bytes('"}'), endRaw: bytes("}"),
};

export function jsonForm(named: boolean): Form {
  return {
    begin: bytes('{"flows":['), between: json.comma, end: bytes("]}"), named,
    ruleText: ({ app, rule, about }) => `","app":${JSON.stringify(app)},"rule":${JSON.stringify(rule)},"about":${JSON.stringify(about)},"resources":[`,
    resourceText: (resource) => JSON.stringify(resource),
    tableText: (host, number, name) => `{"switch":${JSON.stringify(host)},"table_id":${number},"table":${JSON.stringify(name)},"priority":`,
    switchText: () => "",
    recordText: (record) => JSON.stringify(record),
    write: (to, from, host, flow, { rule, resources }, { pieces }, state, counts) => {
      const { slab, off, table } = flow;
      const { ports } = host;
      let at = writeDecimal(to, writeBytes(to, from, host.tables[table]!), flow.priority);
      at = writeAll(to, writeBytes(to, at, json.match), pieces[0], slab, off, ports);
      at = writeAll(to, writeBytes(to, at, json.actions), pieces[1], slab, off, ports);
      at = writeBytes(to, writeCookie(to, writeBytes(to, at, json.cookie), flow), rule.head);
      for (let i = 0; i < resources.length; i++) {
        if (i > 0) at = writeBytes(to, at, json.comma);
        at = writeBytes(to, at, resources[i]!.text);
      }
      at = writeBytes(to, writeBytes(to, at, rule.static ? json.static : json.notStatic), json.state[state]);
      if (counts !== undefined) {
        at = writeBytes(to, at, json.comma);
        at += to.write(JSON.stringify(counts).slice(1, -1), at, "latin1");
      }
      if (!named) return writeBytes(to, at, json.endRaw);
      at = writeAll(to, writeBytes(to, at, json.matchNamed), pieces[2], slab, off, ports);
      at = writeAll(to, writeBytes(to, at, json.actionsNamed), pieces[3], slab, off, ports);
      return writeBytes(to, at, json.end);
    },
  };
}

const line = {
  state: byState((state) => (state === "installed" ? "" : ` [${state}]`)), cookie: bytes("\n cookie=0x"), table: bytes(", table="), priority: bytes(", priority="),
  comma: bytes(","), actions: bytes(" actions="), drop: bytes("drop"), newline: bytes("\n"),
};

export const textForm: Form = {
  begin: NOTHING, between: NOTHING, end: NOTHING, named: false,
  ruleText: ({ app, rule, static: always }) => oneLine(`# ${app}/${rule}${always ? " [static]" : ""}`),
  resourceText: (r) => oneLine(` ${r.type}:${r.id}${r.call === undefined ? "" : ` (${r.call}${r.generation === undefined ? "" : ` @${r.generation}`})`}`),
  tableText: (_, number) => String(number),
  switchText: (id) => oneLine(`# switch ${id}`) + "\n",
  recordText: flowText,
  write: (to, from, host, flow, { rule, resources }, { pieces }, state, counts) => {
    const { slab, off, table } = flow;
    const { ports } = host;
    let at = writeBytes(to, writeBytes(to, from, rule.head), line.state[state]);
    for (let i = 0; i < resources.length; i++) at = writeBytes(to, at, resources[i]!.text);
    at = writeCookie(to, writeBytes(to, at, line.cookie), flow);
    if (counts !== undefined) at += to.write(`, duration=${counts.duration_s}s`, at, "latin1");
    at = writeBytes(to, writeBytes(to, at, line.table), host.tables[table]!);
    if (counts !== undefined) at += to.write(`, n_packets=${counts.packet_count}, n_bytes=${counts.byte_count}`, at, "latin1");
    at = writeDecimal(to, writeBytes(to, at, line.priority), flow.priority);
    if (pieces[0].length > 0) at = writeAll(to, writeBytes(to, at, line.comma), pieces[0], slab, off, ports);
    at = writeBytes(to, at, line.actions);
    at = pieces[1].length > 0 ? writeAll(to, at, pieces[1], slab, off, ports) : writeBytes(to, at, line.drop);
    return writeBytes(to, at, line.newline);
  },
};
