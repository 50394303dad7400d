// A dump as bytes: flows of one switch after the other, written into one buffer that whoever reads has to himself until he asks for more. What is not read
// is not made, so a dump of any size takes as much memory as a small one; and others have their turn every few milliseconds.
import { FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { Flow } from "../../../compiler/desired.ts";
import type { FlowQuery, FlowRecord, FlowState } from "../flows.ts";
import { flowFilter, matchFilter } from "../flows.ts";
import { Causes, type CausesParts, type Kinds } from "./causes.ts";
import { jsonForm, roomFor, textForm, type Counts, type Form, type Host } from "./forms.ts";
import type { SlicesOf } from "./holes.ts";
import { PORT_NAME } from "./pieces.ts";
import { learnTemplate, type Template, type Words } from "./templates.ts";

/** What is shown of a switch. */
export interface SwitchFlows {
  readonly id: string;
  /** What it should have, all of it. */
  readonly flows: Iterable<Flow>;
  /** How one of them is shown; undefined: it is not. */
  readonly shown: (flow: Flow) => { readonly state: FlowState; readonly counts: Counts | undefined } | undefined;
  /** What the switch has in its place. */
  readonly instead: (flow: Flow) => FlowRecord | undefined;
  /** What it has besides. */
  readonly besides: Iterable<FlowRecord>;
}

export interface DumpTextParts extends Omit<CausesParts, "kindsOf" | "ruleText" | "resourceText"> {
  readonly switches: (query: FlowQuery) => AsyncIterable<SwitchFlows>;
  readonly tableName: (number: number) => string;
  /** Names of a switch's ports. */
  readonly ports: (id: string) => ReadonlyMap<number, string>;
  readonly record: (id: string, flow: Flow, state: FlowState, counts: Counts | undefined) => FlowRecord;
  readonly named: (record: FlowRecord, ports: ReadonlyMap<number, string>) => FlowRecord;
  /** Match and actions of a whole OFPT_FLOW_MOD, for a table of an app's. */
  readonly words: (flow: Buffer, app: string, ports: ReadonlyMap<number, string>) => Words;
  readonly matchOf: (flow: Flow) => string;
  readonly slicesOf: (app: string) => SlicesOf;
  /** ms. */
  readonly now: () => number;
  readonly random: () => number;
}

/** Bytes that are handed out at once, and how long one turn lasts. */
const CHUNK = 128 << 10;
const SLICE_MS = 4;
/** The clock is looked at after so much work; a flow by a template is 1. */
const WORK = 200;
const LONG_WAY = 15;
const LEARNING = 500;
/** Kinds of flows, of a rule in one table and in all; those beyond are written the long way, as are the first few of each kind. */
const OF_RULE = 64;
const IN_ALL = 2_048;
const BEFORE_LEARNING = 3;
/** So many of a rule that could not be learned, and no more are tried. */
const FAILED = 8;

export class DumpText {
  /** Flows since the start that were written by templates, and the long way. */
  byTemplate = 0;
  byRecord = 0;
  private readonly parts: DumpTextParts;
  private readonly kinds = new Map<string, Kinds>();
  private learned = 0;
  /** Work that went into it since it was counted. */
  private learning = 0;
  /** Slabs as words. */
  private readonly words = new WeakMap<Buffer, Int32Array>();

  constructor(parts: DumpTextParts) {
    this.parts = parts;
  }

  /** Each part is good until the next is asked for. */
  async *bytes(query: FlowQuery, format: "json" | "text"): AsyncGenerator<Uint8Array> {
    const { parts } = this;
    const form = format === "text" ? textForm : jsonForm(query.raw !== true);
    const { ruleText, resourceText } = form;
    const { ownerOf, provenance, resource, instant } = parts;
    const causes = new Causes({ ownerOf, provenance, resource, instant, ruleText, resourceText, kindsOf: (app, rule) => this.kindsOf(app, rule) });
    const keep = flowFilter(query);
    const hasMatch = query.match === undefined ? undefined : matchFilter(query.match);
    const buffer = Buffer.allocUnsafeSlow(CHUNK);
    let at = 0;
    let any = false;
    let work = 0;
    let until = parts.now() + SLICE_MS;
    /** What is longer than there is room for comes in several parts. */
    const rest: Uint8Array[] = [form.begin];
    const put = (text: string): void => void rest.push(Buffer.from(text));
    function* flush(everything: boolean): Generator<Uint8Array> {
      for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
        for (let from = 0; from < next.length; ) {
          const part = Math.min(buffer.length - at, next.length - from);
          buffer.set(from === 0 && part === next.length ? next : next.subarray(from, from + part), at);
          at += part;
          from += part;
          if (at < buffer.length) continue;
          yield buffer;
          at = 0;
        }
      }
      if (everything && at > 0) {
        yield buffer.subarray(0, at);
        at = 0;
      }
      causes.refresh();
    }
    const others = async (): Promise<void> => {
      work = 0;
      this.learning = 0;
      if (parts.now() < until) return;
      await new Promise((done) => setImmediate(done));
      until = parts.now() + SLICE_MS;
      causes.refresh();
    };
    const separator = (): void => {
      if (any) rest.push(form.between);
      any = true;
    };
    for await (const { id, flows, shown, instead, besides } of parts.switches(query)) {
      causes.refresh();
      causes.nextSwitch();
      const names = parts.ports(id);
      const host = this.host(id, names, form);
      let first = true;
      const begin = (): void => {
        if (first) put(form.switchText(id));
        first = false;
      };
      const record = (one: FlowRecord): void => {
        begin();
        separator();
        put(form.recordText(form.named ? parts.named(one, names) : one));
        work += LONG_WAY;
      };
      for (const flow of flows) {
        if (query.table === undefined || this.inTable(flow.table, query.table)) {
          const how = shown(flow);
          if (how !== undefined && kept(query, how.state)) {
            work++;
            const cause = causes.of(flow);
            if ((query.app === undefined || query.app === cause.rule.app) && (query.resource === undefined || cause.resources.some((one) => one.id === query.resource)) && (hasMatch?.(parts.matchOf(flow)) ?? true)) {
              if (first) {
                begin();
                yield* flush(false);
              }
              const template = host === undefined ? undefined : this.templateOf(flow, cause.rule.kinds, cause.rule.app);
              const room = template === undefined ? Infinity : roomFor(host!, flow, cause, template);
              if (room > buffer.length - at && room <= buffer.length) yield* flush(true);
              if (room <= buffer.length - at) {
                if (any) {
                  buffer.set(form.between, at);
                  at += form.between.length;
                }
                any = true;
                this.byTemplate++;
                at = form.write(buffer, at, host!, flow, cause, template!, how.state, how.counts);
              } else {
                this.byRecord++;
                record(parts.record(id, flow, how.state, how.counts));
                yield* flush(false);
              }
            }
          }
          const other = instead(flow);
          if (other !== undefined && keep(other)) {
            record(other);
            yield* flush(false);
          }
        } else work += 0.1;
        if (work + this.learning >= WORK) await others();
      }
      for (const one of besides) {
        if (!keep(one)) continue;
        record(one);
        yield* flush(false);
        if (work >= WORK) await others();
      }
    }
    rest.push(form.end);
    yield* flush(true);
  }

  private inTable(number: number, table: string): boolean {
    return this.parts.tableName(number) === table || String(number) === table;
  }

  /** Undefined: its ports have names of no sensible length. */
  private host(id: string, names: ReadonlyMap<number, string>, form: Form): Host | undefined {
    const ports = new Map<number, Uint8Array>();
    for (const [number, name] of names) {
      const text = Buffer.from(JSON.stringify(name).slice(1, -1));
      if (text.length > PORT_NAME) return undefined;
      ports.set(number, text);
    }
    return { id, ports, tables: Array.from({ length: 256 }, (_, number) => Buffer.from(form.tableText(id, number, this.parts.tableName(number)))) };
  }

  private kindsOf(app: string, rule: string): Kinds {
    const name = `${app}/${rule}`;
    let kinds = this.kinds.get(name);
    if (kinds === undefined) this.kinds.set(name, (kinds = { templates: [], missed: 0, failed: 0 }));
    return kinds;
  }

  private templateOf(flow: Flow, kinds: Kinds, app: string): Template | undefined {
    const { slab, off, len } = flow;
    const from = FLOW_MOD_MATCH_OFFSET;
    const templates = (kinds.templates[flow.table] ??= []);
    if (((slab.byteOffset + off) & 3) === 0) {
      const words = this.wordsOf(slab);
      const first = (off + from) >> 2;
      const count = (len - from) >> 2;
      for (let i = 0; i < templates.length; i++) if (isOne(templates[i]!, words, first, count)) return templates[i];
    }
    if (++kinds.missed < BEFORE_LEARNING || kinds.failed >= FAILED || templates.length >= OF_RULE || this.learned >= IN_ALL) return undefined;
    kinds.missed = 0;
    this.learned++;
    this.learning += LEARNING;
    const bytes = Buffer.from(slab.subarray(off, off + len));
    const { parts } = this;
    const template = learnTemplate(bytes, from, (one, ports) => parts.words(one, app, ports), parts.slicesOf(app), parts.random);
    if (template === undefined) kinds.failed++;
    else templates.push(template);
    return template;
  }

  private wordsOf(slab: Buffer): Int32Array {
    let words = this.words.get(slab);
    if (words === undefined) this.words.set(slab, (words = new Int32Array(slab.buffer, slab.byteOffset, slab.length >> 2)));
    return words;
  }
}

function isOne({ mask, is }: Template, words: Int32Array, first: number, count: number): boolean {
  if (mask.length !== count) return false;
  for (let i = 0; i < count; i++) if ((words[first + i]! & mask[i]!) !== is[i]) return false;
  return true;
}

/** The same as flowFilter has it, of what should be there. */
function kept({ state }: FlowQuery, is: FlowState): boolean {
  return state === "installed" ? is === "installed" : state !== "diff" || is !== "installed";
}
