// What one run puts out: flows as bytes, outputs, edges between scopes. Used again for the next run, so that most runs allocate little.
import {
  ovsColumns, type AnyEmit, type ColumnPatch, type Emit, type FlowSpec, type Items, type OpenPart, type OvsPatch, type OvsRowOf, type OvsTable, type PipelineDecl,
  type PortActions, type PortColumns, type PortPlace, type ReadView, type Scope, type Shape,
} from "#app";
import { THROUGH } from "../app/rules/through.ts";
import { hash32 } from "../lib/cookies.ts";
import { fewOf, listOf, NONE } from "../lib/few.ts";
import type { Family } from "../pipeline/layout.ts";
import type { Item } from "./desired.ts";
import type { Emission } from "./emission.ts";
import { sameKey } from "./flows/flow-set.ts";
import { sameBytes, type FlowScope, type OwnedFlow } from "./flows/flows.ts";
import { canonicalText, type Output } from "./items.ts";
import { NO_EXTRAS, type Extras, type Inclusion, type Run, type Variant } from "./runs.ts";

/** From this many flows on, equal ones are found by hash; outputs by scope and key. */
const UNHASHED = 32;

export class Collector implements AnyEmit {
  /** The flows that the run had before. */
  before: readonly OwnedFlow<Run>[] = NONE;
  readonly flows: OwnedFlow<Run>[] = [];
  /** A bit for each of 32 kinds of hashes among the flows: most runs have few, and no two alike. */
  private hashes = 0;
  private byHash: Map<number, OwnedFlow<Run>[]> | undefined;
  private readonly outputs: Output[] = [];
  /** Outputs by scope and key, once there are many. */
  private outputsByKey: Map<string, Output> | undefined;
  private readonly includes: Inclusion[] = [];
  private readonly variants: Variant[] = [];
  private readonly emission: Emission;
  private run!: Run;
  /** The pipeline last asked for in this run, which may be. */
  private entered: PipelineDecl | undefined;
  /** Hash of the entity; the runs of an entity come one after the other. */
  private cookieLo = hash32("");
  private entity = "";
  /** The last scope by name: a run's flows come in few, and those of the next run often in the same. */
  private scopeName = "";
  private scope: FlowScope | undefined;
  /** One for each pipeline that functions of its app emit into. */
  private readonly throughs = new Map<PipelineDecl, Through>();

  constructor(emission: Emission) {
    this.emission = emission;
  }

  begin(run: Run): void {
    this.run = run;
    this.before = listOf(run.flows);
    this.entered = undefined;
    if (run.entity.id !== this.entity) {
      this.entity = run.entity.id;
      this.cookieLo = hash32(this.entity);
    }
    this.byHash = undefined;
    this.outputsByKey = undefined;
    this.hashes = 0;
    empty(this.flows);
    empty(this.outputs);
    empty(this.includes);
    empty(this.variants);
  }

  /** Scopes that have nothing in them end with the batch: what is remembered of one must not outlive it. */
  endBatch(): void {
    this.scope = undefined;
  }

  get extras(): Extras {
    const { outputs, includes, variants } = this;
    return outputs.length + includes.length + variants.length === 0 ? NO_EXTRAS : { outputs: fewOf(outputs), includes: fewOf(includes), variants: fewOf(variants) };
  }

  private scopeOf(name: string): FlowScope {
    mustBeText("a scope", name);
    this.scopeName = name;
    return (this.scope = this.emission.scope(name));
  }

  flow(scope: Scope, table: string | Shape, flow: unknown, family?: Family): void {
    const { emission } = this;
    const into = this.scope !== undefined && this.scopeName === scope ? this.scope : this.scopeOf(scope);
    const made = typeof table === "string" ? emission.encode(this.run, into, table, flow as FlowSpec, family, this.cookieLo, this.before) : emission.encodeShape(this.run, into, table, flow, this.cookieLo, this.before);
    if (made.priority === 0 && family === undefined) throw new RangeError("priority 0 is the table-miss entry, which the declaration of the table makes");
    this.add(made);
  }

  /**
   * Equal flows of one run are one; conjunctions merge in the scope.
   * @throws Error when the run emits two different flows for one match
   */
  private add(flow: OwnedFlow<Run>): void {
    const { hash, scope } = flow;
    const bit = 1 << hash; // one of 32
    if ((this.hashes & bit) !== 0) {
      for (const other of this.alike(flow)) {
        if (other.hash !== hash || other.scope !== scope || !sameKey(other, flow)) continue;
        if (sameBytes(other, flow)) return;
        if (other.conjunctions === undefined || flow.conjunctions === undefined) throw new Error("one run emits two different flows for the same match");
      }
    }
    this.hashes |= bit;
    this.flows.push(flow);
    if (this.byHash !== undefined) push(this.byHash, flow.hash, flow);
  }

  /** All that may have the same key, and some more. */
  private alike(flow: OwnedFlow<Run>): readonly OwnedFlow<Run>[] {
    if (this.flows.length < UNHASHED) return this.flows;
    if (this.byHash === undefined) {
      this.byHash = new Map();
      for (const f of this.flows) push(this.byHash, f.hash, f);
    }
    return this.byHash.get(flow.hash) ?? NONE;
  }

  into<Q extends PipelineDecl>(pipeline: Q): Emit<OpenPart<Q>> {
    if (this.entered !== pipeline) this.emission.checkInto(this.run, pipeline);
    this.entered = pipeline;
    return this;
  }

  [THROUGH](pipeline: PipelineDecl): AnyEmit {
    let through = this.throughs.get(pipeline);
    if (through === undefined) this.throughs.set(pipeline, (through = new Through(this, pipeline)));
    this.into(pipeline);
    return through;
  }

  /** What is put out names any table of a pipeline. */
  through(pipeline: PipelineDecl, put: () => void): void {
    const before = this.emission.owner;
    this.emission.owner = pipeline;
    try {
      put();
    } finally {
      this.emission.owner = before;
    }
  }

  include(from: Scope, to: Scope): void {
    mustBeText("a scope that includes", from);
    mustBeText("a scope that is included", to);
    this.includes.push({ from, to });
  }

  item<K extends keyof Items>(scope: Scope, kind: K, id: number, value: Items[K]): void {
    if (!Number.isInteger(id) || id < 1 || id > 0xffff_ff00) throw new RangeError(`${kind} ${id}: an id is a whole number from 1 to 0xffffff00`);
    if (kind !== "group" && kind !== "meter") throw new TypeError(`no kind of item is called ${String(kind)}`);
    const lowered = kind === "group" ? this.emission.group(this.run, value as Items["group"]) : meter(value as Items["meter"]);
    const text = kind === "group" ? canonicalText(lowered) : meterText(lowered as Items["meter"]);
    this.output({ scope, key: `${kind} ${id}`, text, is: "item", wish: { kind, id, text, value: lowered } as Item });
  }

  row<T extends OvsTable>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void {
    mustBeText(`the key of a row of ${table}`, key);
    if ((table as string) === "Interface") throw new TypeError(`row Interface ${key}: an interface comes with its port`);
    if (table === "Port") {
      const { interface: iface, port, bridge } = (columns ?? {}) as Partial<PortColumns>;
      mustBeColumns(`row Port ${key}, its interface`, "Interface", iface);
      mustBeText(`row Port ${key}: the type of its interface`, iface!.type, true);
      if (port !== undefined) mustBeColumns(`row Port ${key}`, "Port", port);
      if (bridge !== undefined) mustBeText(`row Port ${key}: the name of its bridge`, bridge);
    } else mustBeColumns(`row ${table} ${key}`, table, columns);
    const row = table === "Flow_Table" ? { table, key, columns: this.emission.flowTable(this.run, key, columns), number: this.emission.number(this.run, key) } : { table, key, columns };
    this.output({ scope, key: `row ${table} ${key}`, text: canonicalText(row.columns), is: "row", wish: row });
  }

  /** @throws TypeError for a column that there is not, a map without a key, a key of the controller's own */
  patch(scope: Scope, patch: ColumnPatch): void {
    const { table, name, column, key, value }: OvsPatch = patch;
    if (table !== "Port" && table !== "Interface") throw new TypeError(`rows of ${String(table)} are not for patches`);
    mustBeText(`the name of a row of ${table} to be patched`, name);
    const what = `patch of ${table} ${name}`;
    mustBeColumns(what, table, { [column]: value });
    if (value === undefined) throw new TypeError(`${what}: ${column} has no value`);
    if (kindsOf(table)[column] === "map") {
      if (typeof key !== "string") throw new TypeError(`${what}: ${column} is a map, and the patch names no key of it`);
      mustBeText(`${what}: the value of ${column}:${key}`, value, true);
    } else if (key !== undefined) throw new TypeError(`${what}: ${column} is no map, and the patch names a key of it`);
    if (column === "external_ids" && key?.startsWith("axion-") === true) throw new TypeError(`${what}: external_ids:${key} is the controller's own`);
    this.output({ scope, key: `patch ${table} ${name} ${column}${key === undefined ? "" : `:${key}`}`, text: canonicalText(value), is: "patch", wish: patch });
  }

  /** Equal ones of one run are one. @throws Error when a run wants two things for one id */
  private output(output: Output): void {
    mustBeText("a scope", output.scope);
    const other = this.outputLike(output);
    if (other === undefined) {
      this.outputs.push(output);
      this.outputsByKey?.set(placeOf(output), output);
    } else if (other.text !== output.text) throw new Error(`one run wants two different things for ${output.key}`);
  }

  private outputLike(output: Output): Output | undefined {
    if (this.outputs.length < UNHASHED) return this.outputs.find((o) => o.scope === output.scope && o.key === output.key);
    this.outputsByKey ??= new Map(this.outputs.map((o) => [placeOf(o), o]));
    return this.outputsByKey.get(placeOf(output));
  }

  variant(chassis: string, variant: string): void {
    mustBeText("a chassis", chassis);
    mustBeText("a variant", variant);
    this.variants.push({ chassis, variant });
  }

  portContext(view: ReadView, place: PortPlace): PortActions {
    return this.emission.portContext(view, place);
  }
}

/** The collector as an app's exported functions have it: every table of that app's is theirs. */
class Through implements AnyEmit {
  private readonly collector: Collector;
  private readonly pipeline: PipelineDecl;

  constructor(collector: Collector, pipeline: PipelineDecl) {
    this.collector = collector;
    this.pipeline = pipeline;
  }

  flow(scope: Scope, table: string | Shape, flow: unknown): void {
    this.collector.through(this.pipeline, () => this.collector.flow(scope, table, flow));
  }
  into<Q extends PipelineDecl>(pipeline: Q): Emit<OpenPart<Q>> {
    return this.collector.into(pipeline);
  }
  [THROUGH](pipeline: PipelineDecl): AnyEmit {
    return this.collector[THROUGH](pipeline);
  }
  include(from: Scope, to: Scope): void {
    this.collector.include(from, to);
  }
  item<K extends keyof Items>(scope: Scope, kind: K, id: number, value: Items[K]): void {
    this.collector.through(this.pipeline, () => this.collector.item(scope, kind, id, value));
  }
  row<T extends OvsTable>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void {
    this.collector.through(this.pipeline, () => this.collector.row(scope, table, key, columns));
  }
  patch(scope: Scope, patch: ColumnPatch): void {
    this.collector.patch(scope, patch);
  }
  portContext(view: ReadView, place: PortPlace): PortActions {
    return this.collector.portContext(view, place);
  }
  variant(chassis: string, variant: string): void {
    this.collector.variant(chassis, variant);
  }
}

/** What comes from a row may be less certain than its type. @throws TypeError saying what it is instead */
function mustBeText(what: string, value: unknown, empty = false): void {
  if (typeof value !== "string" || (value === "" && !empty)) throw new TypeError(`${what} is text, not ${value === "" ? "empty" : value === null ? "null" : typeof value}`);
}

const isAtom = (v: unknown): boolean => typeof v === "string" || typeof v === "boolean" || (typeof v === "number" && Number.isFinite(v));
const isObject = (v: unknown): v is Readonly<Record<string, unknown>> => typeof v === "object" && v !== null && !Array.isArray(v);
const isRef = (v: unknown): boolean => isObject(v) && typeof v.ref === "string" && typeof v.key === "string";

const kindsOf = (table: keyof typeof ovsColumns): Readonly<Record<string, string>> => ovsColumns[table];

/** @throws TypeError naming the column that rules may not set, or whose value is none that a database can have */
function mustBeColumns(what: string, table: keyof typeof ovsColumns, columns: unknown): void {
  if (!Object.hasOwn(ovsColumns, table)) throw new TypeError(`${what}: there is no table ${table} whose rows a rule may make`);
  if (!isObject(columns)) throw new TypeError(`${what}: no columns`);
  for (const [column, value] of Object.entries(columns)) {
    if (!Object.hasOwn(ovsColumns[table], column)) throw new TypeError(`${what}: there is no column ${column} that a rule may set`);
    const good = value === undefined || isAtom(value) || isRef(value) || (Array.isArray(value) ? value.every((v) => isAtom(v) || isRef(v)) : isObject(value) && Object.values(value).every((v) => typeof v === "string" || isRef(v)));
    if (!good) throw new TypeError(`${what}: the value of ${column} is none that a column can have`);
  }
}

const placeOf = ({ scope, key }: Output): string => `${scope}\n${key}`;
const isU32 = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= 0xffff_ffff;

/** @throws RangeError naming what has no wire form. OpenFlow 1.3.5 section 7.3.4.4: 32 bits each */
function meter(value: Items["meter"]): Items["meter"] {
  if (value.unit !== "pps" && value.unit !== "kbps") throw new TypeError(`meter unit ${String(value.unit)}: pps or kbps`);
  if (!isU32(value.rate) || value.rate === 0) throw new RangeError(`meter rate ${value.rate}: a whole number from 1 to 0xffffffff`);
  if (!isU32(value.burst)) throw new RangeError(`meter burst ${value.burst}: a whole number from 0 to 0xffffffff`);
  return value;
}

/** As canonicalText has it. There is a meter for every port, and most are alike: they share the last text. */
function meterText({ unit, rate, burst }: Items["meter"]): string {
  if (unit !== lastMeter.unit || rate !== lastMeter.rate || burst !== lastMeter.burst) lastMeter = { unit, rate, burst, text: `{"burst":${burst},"rate":${rate},"unit":"${unit}"}` };
  return lastMeter.text;
}
let lastMeter: Items["meter"] & { readonly text: string } = { unit: "pps", rate: 0, burst: 0, text: "" };

/** Unlike `length = 0` this leaves a short list the room it has: most runs fill it again. */
function empty(list: unknown[]): void {
  for (let n = list.length; n > 0; n--) list.pop();
}

function push<K, T>(map: Map<K, T[]>, key: K, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
