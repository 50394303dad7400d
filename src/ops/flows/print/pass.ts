// The flows of one switch, written as far as there is room and nobody has waited for long: in a plain function, which the just-in-time compiler likes.
import type { Flow } from "../../../compiler/desired.ts";
import type { FlowQuery, FlowRecord, FlowState } from "../flows.ts";
import type { Cause, Causes } from "./causes.ts";
import { roomFor, scriptFor, type Counts, type Form, type Host } from "./forms.ts";
import type { Output } from "./output.ts";
import { writeBytes } from "./pieces.ts";
import type { Template } from "./templates.ts";
import type { Texts } from "./texts.ts";

/** What is shown of a switch. */
export interface SwitchFlows {
  readonly id: string;
  /** What it should have, all of it. */
  readonly flows: readonly Flow[];
  /** How one of them is shown; undefined: it is not. */
  readonly shown: (flow: Flow) => { readonly state: FlowState; readonly counts: Counts | undefined } | undefined;
  /** What the switch has in its place. */
  readonly instead: (flow: Flow) => FlowRecord | undefined;
  /** What it has besides. */
  readonly besides: readonly FlowRecord[];
}

/** Work that one turn takes before the clock is looked at; a flow by a template is 1. */
const WORK = 200;
const LONG_WAY = 15;
const PASSED_BY = 0.1;

export interface PassParts {
  readonly query: FlowQuery;
  readonly form: Form;
  readonly causes: Causes;
  readonly texts: Texts | undefined;
  readonly out: Output;
  /** Undefined: no flow of the switch is written by templates. */
  readonly host: Host | undefined;
  /** The number of a table has the name that was asked for. */
  readonly inTable: (number: number) => boolean;
  readonly matches: ((flow: Flow) => boolean) | undefined;
  /** Of records. */
  readonly keep: (record: FlowRecord) => boolean;
  /** Learning one is work that is told. */
  readonly templateOf: (flow: Flow, cause: Cause, pass: Pass) => Template | undefined;
  readonly record: (flow: Flow, state: FlowState, counts: Counts | undefined) => FlowRecord;
  readonly named: (record: FlowRecord) => FlowRecord;
}

export class Pass {
  byTemplate = 0;
  byRecord = 0;
  /** Since the clock was looked at. */
  work = 0;
  private readonly of: SwitchFlows;
  private readonly parts: PassParts;
  private next = 0;
  private nextBesides = 0;
  /** Whether a flow was written: of this switch, of any. */
  private begun = false;
  any: boolean;
  private readonly alike: boolean;

  constructor(of: SwitchFlows, any: boolean, parts: PassParts) {
    this.of = of;
    this.any = any;
    this.parts = parts;
    const { query: { app, resource }, matches, host } = parts;
    this.alike = host !== undefined && app === undefined && resource === undefined && matches === undefined;
  }

  /** Goes on until there is no room (what there is has to be handed out), until others should have a turn, or to the end. */
  run(): "full" | "turn" | "end" {
    const { of: { flows, besides, shown, instead }, parts: { query, out, inTable, keep } } = this;
    const { length } = flows;
    for (; this.next < length; this.next++) {
      if (out.blocked) return "full";
      if (this.work >= WORK) return "turn";
      const flow = flows[this.next]!;
      if (query.table !== undefined && !inTable(flow.table)) {
        this.work += PASSED_BY;
        continue;
      }
      const how = shown(flow);
      if (how !== undefined && kept(query, how.state) && !this.desired(flow, how.state, how.counts)) return "full";
      const other = instead(flow);
      if (other !== undefined && keep(other)) this.record(other);
    }
    for (; this.nextBesides < besides.length; this.nextBesides++) {
      if (out.blocked) return "full";
      if (this.work >= WORK) return "turn";
      const one = besides[this.nextBesides]!;
      if (keep(one)) this.record(one);
    }
    return out.blocked ? "full" : "end";
  }

  /** Whether it is written, or not asked for; else there is no room for it. */
  private desired(flow: Flow, state: FlowState, counts: Counts | undefined): boolean {
    const { query, causes, texts, matches, host, out, form, templateOf, record } = this.parts;
    this.work++;
    // What is the same on other switches, where nothing but the flow says whether it is asked for.
    const same = this.alike && state === "desired" && counts === undefined ? texts : undefined;
    const written = same?.of(flow);
    if (written !== undefined) {
      const head = host!.tables[flow.table]!;
      if (!this.begun) this.begin();
      if (out.blocked || head.length + written.length + form.between.length > out.room) return false;
      this.separate();
      out.at = writeBytes(out.buffer, writeBytes(out.buffer, out.at, head), written);
      this.byTemplate++;
      return true;
    }
    const cause = causes.of(flow);
    const { rule } = cause;
    if ((query.app !== undefined && query.app !== rule.app) || (query.resource !== undefined && !cause.resources.some((one) => one.id === query.resource)) || (matches !== undefined && !matches(flow))) return true;
    if (!this.begun) this.begin();
    const template = host === undefined ? undefined : templateOf(flow, cause, this);
    const room = template === undefined ? Infinity : roomFor(host!, flow, cause, template);
    if (room > out.buffer.length) {
      this.byRecord++;
      this.record(record(flow, state, counts));
      return true;
    }
    if (room > out.room || out.blocked) return false;
    this.separate();
    this.byTemplate++;
    const from = writeBytes(out.buffer, out.at, host!.tables[flow.table]!);
    out.at = form.write(out.buffer, from, host!, flow, cause, scriptFor(form, template!, rule), state, counts);
    if (!template!.ports) same?.keep(flow, out.buffer, from, out.at - from);
    return true;
  }

  private separate(): void {
    if (this.any) this.parts.out.put(this.parts.form.between);
    this.any = true;
  }

  private begin(): void {
    this.begun = true;
    this.parts.out.put(Buffer.from(this.parts.form.switchText(this.of.id)));
  }

  private record(one: FlowRecord): void {
    const { out, form, named } = this.parts;
    if (!this.begun) this.begin();
    this.separate();
    out.put(Buffer.from(form.recordText(form.named ? named(one) : one)));
    this.work += LONG_WAY;
  }
}

/** The same as flowFilter has it, of what should be there. */
function kept({ state }: FlowQuery, is: FlowState): boolean {
  return state === "installed" ? is === "installed" : state !== "diff" || is !== "installed";
}
