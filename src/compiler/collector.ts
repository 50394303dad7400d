// What one run puts out: flows as bytes, outputs, edges between scopes. Used again for the next run, so that most runs allocate little.
import {
  ovsColumns, type AnyEmit, type ColumnPatch, type Emit, type FlowSpec, type Items, type OvsPatch, type OvsRowOf, type OvsTable, type PipelineDecl,
  type PortActions, type PortColumns, type ReadView, type Scope, type Shape,
} from "#app";
import { hash32 } from "../lib/cookies.ts";
import type { Family } from "../pipeline/layout.ts";
import type { Item } from "./desired.ts";
import type { Emission } from "./emission.ts";
import { sameKey } from "./flow-set.ts";
import { sameBytes, type FlowScope, type OwnedFlow } from "./flows.ts";
import { canonicalText, type Output } from "./items.ts";
import { NO_EXTRAS, NONE, type Extras, type Run } from "./runs.ts";

/** From this many flows on, equal ones are found by hash. */
const UNHASHED = 32;

export class Collector implements AnyEmit {
  readonly flows: OwnedFlow<Run>[] = [];
  /** A bit for each of 32 kinds of hashes among the flows: most runs have few, and no two alike. */
  private hashes = 0;
  private byHash: Map<number, OwnedFlow<Run>[]> | undefined;
  private readonly outputs: Output[] = [];
  private readonly includes: [string, string][] = [];
  private readonly variants: [string, string][] = [];
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

  constructor(emission: Emission) {
    this.emission = emission;
  }

  begin(run: Run): void {
    this.run = run;
    this.entered = undefined;
    if (run.entity.id !== this.entity) {
      this.entity = run.entity.id;
      this.cookieLo = hash32(this.entity);
    }
    this.byHash = undefined;
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
    return outputs.length + includes.length + variants.length === 0 ? NO_EXTRAS : { outputs: kept(outputs), includes: kept(includes), variants: kept(variants) };
  }

  private scopeOf(name: string): FlowScope {
    this.scopeName = name;
    return (this.scope = this.emission.scope(name));
  }

  flow(scope: Scope, table: string | Shape, flow: unknown, family?: Family): void {
    const { emission } = this;
    const into = this.scope !== undefined && this.scopeName === scope ? this.scope : this.scopeOf(scope);
    if (typeof table === "string") this.add(emission.encode(this.run, into, table, flow as FlowSpec, family, this.cookieLo));
    else this.add(emission.encodeShape(this.run, into, table, flow, this.cookieLo));
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

  into<Q extends PipelineDecl>(pipeline: Q): Emit<Q> {
    if (this.entered !== pipeline) this.emission.checkInto(this.run, pipeline);
    this.entered = pipeline;
    return this;
  }

  include(from: Scope, to: Scope): void {
    this.includes.push([from, to]);
  }

  item<K extends keyof Items>(scope: Scope, kind: K, id: number, value: Items[K]): void {
    if (!Number.isInteger(id) || id < 1 || id > 0xffff_ff00) throw new RangeError(`${kind} ${id}: an id is a whole number from 1 to 0xffffff00`);
    const lowered = kind === "group" ? this.emission.group(this.run, value as Items["group"]) : meter(value as Items["meter"]);
    const text = kind === "group" ? canonicalText(lowered) : meterText(lowered as Items["meter"]);
    this.output({ scope, key: `${kind} ${id}`, text, wish: { is: "item", item: { kind, id, text, value: lowered } as Item } });
  }

  row<T extends OvsTable>(scope: Scope, table: T, key: string, columns: OvsRowOf<T>): void {
    if (table === "Port") {
      const { interface: iface, port, bridge } = columns as PortColumns;
      if (bridge === "") throw new RangeError(`Port ${key}: its bridge has no name`);
      checkColumns("Interface", iface);
      checkColumns("Port", port ?? {});
    } else checkColumns(table, columns);
    const row = { table, key, columns, ...(table === "Flow_Table" && { number: this.emission.number(this.run, key) }) };
    this.output({ scope, key: `row ${table} ${key}`, text: canonicalText(columns), wish: { is: "row", row } });
  }

  /** @throws RangeError for a column that there is not, a map without a key, a key of the controller's own */
  patch(scope: Scope, patch: ColumnPatch): void {
    const { table, name, column, key, value }: OvsPatch = patch;
    checkColumns(table, { [column]: value });
    if ((ovsColumns[table] as Readonly<Record<string, string>>)[column] === "map" ? key === undefined : key !== undefined) {
      throw new RangeError(`${table} ${name}: a patch of ${column} ${key === undefined ? "names a key, for it is a map" : "names no key, for it is no map"}`);
    }
    if (column === "external_ids" && key?.startsWith("axion-") === true) throw new RangeError(`${table} ${name}: external_ids:${key} is the controller's own`);
    this.output({ scope, key: `patch ${table} ${name} ${column}${key === undefined ? "" : `:${key}`}`, text: canonicalText(value), wish: { is: "patch", patch } });
  }

  /** Equal ones of one run are one. @throws Error when a run wants two things for one id */
  private output(output: Output): void {
    const other = this.outputs.find((o) => o.scope === output.scope && o.key === output.key);
    if (other === undefined) this.outputs.push(output);
    else if (other.text !== output.text) throw new Error(`one run wants two different things for ${output.key}`);
  }

  variant(chassis: string, variant: string): void {
    this.variants.push([chassis, variant]);
  }

  portContext(view: ReadView, portId: string): PortActions {
    return this.emission.portContext(view, portId);
  }
}

/** @throws RangeError naming a column that the table does not have, or that rules may not set */
function checkColumns(table: keyof typeof ovsColumns, columns: object): void {
  for (const column of Object.keys(columns)) if (!Object.hasOwn(ovsColumns[table], column)) throw new RangeError(`${table}: there is no column ${column} that a rule may set`);
}

const isU32 = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= 0xffff_ffff;

/** @throws RangeError naming what has no wire form. OpenFlow 1.3.5 section 7.3.4.4: 32 bits each */
function meter(value: Items["meter"]): Items["meter"] {
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

/** A copy exactly as long as it must be: there are many, and they stay. */
export const kept = <T>(list: readonly T[]): readonly T[] => (list.length === 0 ? NONE : list.slice());

function push<K, T>(map: Map<K, T[]>, key: K, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
