// A dump as bytes: flows of one switch after the other, written into one buffer that whoever reads has to himself until he asks for more. What is not read
// is not made, so a dump of any size takes as much memory as a small one; and others have their turn every few milliseconds.
import { FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { Flow } from "../../../compiler/desired.ts";
import type { Provenance } from "../../../compiler/engine.ts";
import type { Stepwise } from "../../../lib/turns/stepwise.ts";
import type { FlowQuery, FlowRecord, FlowState } from "../flows.ts";
import { flowFilter, matchFilter } from "../flows.ts";
import { Causes, type Cause, type CausesParts, type Kinds, type RuleText } from "./causes.ts";
import { jsonForm, textForm, type Counts, type Form, type Host } from "./forms.ts";
import type { SlicesOf } from "./holes.ts";
import { Output } from "./output.ts";
import { Pass, type SwitchFlows } from "./pass.ts";
import { PORT_NAME } from "./pieces.ts";
import { Texts } from "./texts.ts";
import { learnTemplate, type Template, type Words } from "./templates.ts";

/** What there is to be said of flows. */
export interface Told extends Omit<CausesParts, "ruleOf" | "resourceText"> {
  readonly record: (id: string, flow: Flow, state: FlowState, counts: Counts | undefined) => FlowRecord;
}

export interface DumpTextParts extends Told {
  readonly switches: (query: FlowQuery) => AsyncIterable<SwitchFlows>;
  /** Changes with whatever may be behind a flow. */
  readonly instant: () => string;
  readonly tableName: (number: number) => string;
  /** Names of a switch's ports. */
  readonly ports: (id: string) => ReadonlyMap<number, string>;
  readonly named: (record: FlowRecord, ports: ReadonlyMap<number, string>) => FlowRecord;
  /** Match and actions of a whole OFPT_FLOW_MOD, for a table of an app's. */
  readonly words: (flow: Buffer, app: string, ports: ReadonlyMap<number, string>) => Words;
  readonly matchOf: (flow: Flow) => string;
  readonly slicesOf: (app: string) => SlicesOf;
  /** ms. */
  readonly now: () => number;
  readonly random: () => number;
}

/** A dump under way, of one switch after the other. */
interface Dump {
  readonly form: Form;
  readonly causes: Causes;
  readonly texts: Texts | undefined;
  readonly out: Output;
  /** The flows of a switch, whose ports have these names. */
  readonly pass: (one: SwitchFlows, names: ReadonlyMap<number, string>) => Pass;
  readonly passed: (pass: Pass) => void;
  readonly end: () => void;
}

const NO_NAMES: ReadonlyMap<number, string> = new Map();
/** Bytes that are handed out at once, and how long one turn lasts. */
const CHUNK = 128 << 10;
const SLICE_MS = 4;
/** Runs whose causes are kept by a dump that is read beside another. */
const RUNS_BESIDE = 4_096;
/** Work that it is to learn a template; to write a flow by one is 1. */
const LEARNING = 500;
/** Kinds of flows, of a rule in one table and in all; those beyond are written the long way, as are the first few of each kind. */
const OF_RULE = 64;
const IN_ALL = 2_048;
const BEFORE_LEARNING = 3;
/** So many of a rule that could not be learned, and no more are tried. */
const FAILED = 8;

/** More flows than one answer may have. */
export class TooManyFlows extends Error {
  constructor(most: number) {
    super(`there are more than ${most} flows`);
    this.name = "TooManyFlows";
  }
}

export class DumpText {
  /** Flows since the start that were written by templates, and the long way. */
  byTemplate = 0;
  byRecord = 0;
  private readonly parts: DumpTextParts;
  private readonly kinds = new Map<string, Kinds>();
  /** Of each form, by app and rule. */
  private readonly rules = new Map<number, Map<string, Map<string, RuleText>>>();
  private learned = 0;
  /** Whether a dump is being read that keeps what it wrote. */
  private keeping = false;
  /** Slabs as words; flows of one come one after the other, as a rule. */
  private readonly words = new WeakMap<Buffer, Int32Array>();
  private last: { readonly slab: Buffer; readonly words: Int32Array } | undefined;
  private readonly forms = { text: textForm, named: jsonForm(true), raw: jsonForm(false) };

  constructor(parts: DumpTextParts) {
    this.parts = parts;
  }

  /** Each part is good until the next is asked for. */
  async *bytes(query: FlowQuery, format: "json" | "text"): AsyncGenerator<Uint8Array> {
    const { parts } = this;
    const dump = this.begin(query, this.forms[format === "text" ? "text" : query.raw === true ? "raw" : "named"], parts);
    const { out, form } = dump;
    let instant = "";
    const refresh = (): void => {
      const now = parts.instant();
      if (now === instant) return;
      instant = now;
      dump.causes.clear();
      dump.texts?.clear();
    };
    let until = parts.now() + SLICE_MS;
    try {
      for await (const one of parts.switches(query)) {
        refresh();
        const pass = dump.pass(one, parts.ports(one.id));
        for (let stop = pass.run(); stop !== "end"; stop = pass.run()) {
          if (stop === "full") yield* out.parts();
          else {
            pass.work = 0;
            if (parts.now() < until) continue;
            await new Promise((done) => setImmediate(done));
            until = parts.now() + SLICE_MS;
          }
          // Others had a turn, or may have had.
          refresh();
        }
        dump.passed(pass);
      }
      out.put(form.end);
      yield* out.parts();
    } finally {
      dump.end();
    }
  }

  /**
   * A whole dump in steps, of flows that stay what they are, with numbers alone: its parts are the caller's to keep. `most`: flows that it may have.
   * @throws TooManyFlows
   */
  *whole(query: FlowQuery, format: "json" | "text", of: { readonly told: Told; readonly switches: Iterable<Stepwise<SwitchFlows>>; readonly most: number }): Stepwise<readonly Uint8Array[]> {
    const dump = this.begin(query, this.forms[format === "text" ? "text" : "raw"], of.told);
    const { out, form } = dump;
    const parts: Uint8Array[] = [];
    const take = (): void => {
      for (const part of out.parts()) parts.push(Buffer.from(part));
    };
    let flows = 0;
    try {
      for (const one of of.switches) {
        const pass = dump.pass(yield* one, NO_NAMES);
        for (let stop = pass.run(); stop !== "end"; stop = pass.run()) {
          if (stop === "full") take();
          else {
            pass.work = 0;
            yield;
          }
          if (flows + pass.byTemplate + pass.byRecord > of.most) throw new TooManyFlows(of.most);
        }
        dump.passed(pass);
        flows += pass.byTemplate + pass.byRecord;
        if (flows > of.most) throw new TooManyFlows(of.most);
      }
      out.put(form.end);
      take();
      return parts;
    } finally {
      dump.end();
    }
  }

  private begin(query: FlowQuery, form: Form, told: Told): Dump {
    const { parts } = this;
    // One dump at a time keeps much.
    const first = !this.keeping;
    const causes = new Causes({ ownerOf: told.ownerOf, provenance: told.provenance, resource: told.resource, resourceText: form.resourceText, ruleOf: (why) => this.ruleOf(form, why) }, first ? undefined : RUNS_BESIDE);
    const texts = first ? new Texts() : undefined;
    const out = new Output(CHUNK);
    const keep = flowFilter(query);
    const hasMatch = query.match === undefined ? undefined : matchFilter(query.match);
    let any = false;
    out.put(form.begin);
    this.keeping = true;
    return {
      form, causes, texts, out,
      pass: (one, names) => {
        const { id } = one;
        causes.nextSwitch();
        texts?.nextSwitch();
        return new Pass(one, any, {
          query, form, causes, texts, out, keep,
          host: this.host(id, names, form),
          inTable: (number) => parts.tableName(number) === query.table || String(number) === query.table,
          matches: hasMatch && ((flow) => hasMatch(parts.matchOf(flow))),
          templateOf: (flow, cause, of) => this.templateOf(flow, cause, of),
          record: (flow, state, counts) => told.record(id, flow, state, counts),
          named: (record) => parts.named(record, names),
        });
      },
      passed: (pass) => {
        any = pass.any;
        this.byTemplate += pass.byTemplate;
        this.byRecord += pass.byRecord;
      },
      end: () => {
        if (first) this.keeping = false;
      },
    };
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

  /** A rule's text, and what is known of its flows: they stay from dump to dump. */
  private ruleOf(form: Form, why: Provenance): RuleText {
    const { app, rule } = why;
    let ofForm = this.rules.get(form.number);
    if (ofForm === undefined) this.rules.set(form.number, (ofForm = new Map<string, Map<string, RuleText>>()));
    let ofApp = ofForm.get(app);
    if (ofApp === undefined) ofForm.set(app, (ofApp = new Map<string, RuleText>()));
    let text = ofApp.get(rule);
    if (text === undefined) ofApp.set(rule, (text = { app, head: Buffer.from(form.ruleText(why)), static: why.static, kinds: this.kindsOf(app, rule) }));
    return text;
  }

  private templateOf(flow: Flow, { rule: { kinds, app } }: Cause, pass: Pass): Template | undefined {
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
    pass.work += LEARNING;
    const bytes = Buffer.from(slab.subarray(off, off + len));
    const { parts } = this;
    const template = learnTemplate(bytes, from, (one, ports) => parts.words(one, app, ports), parts.slicesOf(app), parts.random);
    if (template === undefined) kinds.failed++;
    else templates.push(template);
    return template;
  }

  private wordsOf(slab: Buffer): Int32Array {
    if (this.last?.slab === slab) return this.last.words;
    let words = this.words.get(slab);
    if (words === undefined) this.words.set(slab, (words = new Int32Array(slab.buffer, slab.byteOffset, slab.length >> 2)));
    this.last = { slab, words };
    return words;
  }
}

function isOne({ mask, is }: Template, words: Int32Array, first: number, count: number): boolean {
  if (mask.length !== count) return false;
  for (let i = 0; i < count; i++) if ((words[first + i]! & mask[i]!) !== is[i]) return false;
  return true;
}
