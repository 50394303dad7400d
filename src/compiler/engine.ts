// The compiler: rows in, flows out, incrementally. It does no I/O and cannot fail for outside reasons.
//
//   commit ──> dirty runs ──> derivations (strata in order) ──> rules ──> scope flows ──> per chassis difference
//
// A run is a rule (or derivation) on one entity. Its reads are recorded; a commit makes exactly those runs dirty whose
// reads it may have changed. What a run emits is compared with what it emitted before, so equal output goes no further.
import { chassisTable, type AnyTable, type App, type Derivation, type Emit, type FlowAction, type FlowSpec, type PortSpec, type ReadView, type Row, type Rule, type Source } from "#app";
import type { Layout, LoweredFlow } from "../pipeline/layout.ts";
import type { Change, Commit } from "../model/model.ts";
import { Layer } from "../model/rows.ts";
import type { Delta, Desired, Flow, Meter, OvsPort } from "./desired.ts";
import { FlowEncoder, OwnedFlow, sameBytes } from "./flows.ts";
import { ScopeStore, type Extras, type FlowConflict } from "./scope-store.ts";
import { Scopes } from "./scopes.ts";
import { TableDeps, TrackedView, type Reads } from "./track.ts";

interface Run {
  readonly unit: Unit;
  readonly entity: string;
  readonly cookieLo: number;
  reads: Reads<Run>;
  flows: OwnedFlow<Run>[];
  extras: Extras | undefined;
  /** Rows of a derivation. */
  rows: readonly Row[];
  queued: boolean;
}

/** A rule or a derivation, with its runs. */
interface Unit {
  readonly app: string;
  readonly name: string;
  readonly about: string;
  readonly source: Source<unknown> | undefined;
  readonly stratum: number;
  readonly rule: Rule | undefined;
  readonly derivation: Derivation | undefined;
  readonly cookieHi: number;
  readonly runs: Map<string, Run>;
}

export interface Provenance {
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly entity: string;
  /** API rows the run read, its entity first. */
  readonly resources: readonly { readonly type: string; readonly table: string; readonly id: string }[];
}

export interface EngineStats {
  /** Rule and derivation runs since the start. */
  readonly runs: number;
  /** Distinct flows (per scope) added, changed or removed since the start. */
  readonly flowsChanged: number;
  readonly flows: number;
}

const COOKIE_TAG = 0xa0;
const INCREMENTAL_SLAB = 16 << 10;

export class Engine implements Desired {
  generation = 0;
  private runs = 0;
  private readonly stored: Layer;
  private readonly derived = new Layer();
  private readonly layout: Layout;
  private readonly apps: readonly App[];
  private readonly units: Unit[] = [];
  private readonly deps = new Map<string, TableDeps<Run>>();
  private readonly tracked: TrackedView<Run>;
  private readonly encoder = new FlowEncoder();
  private readonly scopes = new Scopes();
  private readonly store: ScopeStore<Run>;
  /** Units that run on a table's rows or pairs. */
  private readonly onRows = new Map<string, Unit[]>();
  private readonly onPairs = new Map<string, { unit: Unit; pair: string }[]>();
  private queue: Run[][] = [];
  private queued = 0;
  private readonly listeners = new Set<(delta: Delta) => void>();
  private readonly log: { error: (fields: object, message: string) => void };

  constructor(options: { apps: readonly App[]; tables: readonly AnyTable[]; layout: Layout; rows: Layer; log: { error: (fields: object, message: string) => void } }) {
    this.apps = options.apps;
    this.layout = options.layout;
    this.stored = options.rows;
    this.log = options.log;
    for (const table of options.tables) {
      this.deps.set(table.name, new TableDeps(table));
      if (table.derived) this.derived.table(table);
    }
    this.store = new ScopeStore<Run>(this.scopes, this.encoder, unitName, (conflict) => {
      this.log.error({ ...conflict, table: this.layout.tableById(conflict.table)?.name }, "two rules want different flows for the same match; the first stays");
    });
    this.tracked = new TrackedView(this.stored, this.derived, this.deps);
    this.addUnits();
  }

  // --- set-up -------------------------------------------------------------------------------------------------------

  private addUnits(): void {
    const add = (unit: Omit<Unit, "runs">): void => {
      const full: Unit = { ...unit, runs: new Map() };
      this.units.push(full);
      const source = unit.source;
      if (source === undefined) return;
      if (source.kind === "rows") push(this.onRows, source.table.name, full);
      else push(this.onPairs, source.table.name, { unit: full, pair: source.pair });
    };
    let stratum = 0;
    for (const app of this.apps) {
      for (const d of app.derive ?? []) {
        add({ app: app.name, name: d.name, about: "", source: d.on, stratum: stratum++, rule: undefined, derivation: d, cookieHi: 0 });
      }
    }
    for (const app of this.apps) {
      for (const r of app.rules ?? []) {
        add({ app: app.name, name: r.name, about: r.about, source: r.on, stratum, rule: r, derivation: undefined, cookieHi: cookieOf(`${app.name}/${r.name}`) });
      }
      if (app.staticFlows !== undefined || app.pipeline !== undefined) {
        const name = "static";
        add({ app: app.name, name, about: `${app.name}: entries that need no entity, and table-miss entries`, source: undefined, stratum, rule: undefined, derivation: undefined, cookieHi: cookieOf(`${app.name}/${name}`) });
      }
    }
    this.queue = Array.from({ length: stratum + 1 }, () => []);
  }

  /** Compiles everything; the result is in `flowsOf`, and no delta is told. */
  compileAll(generation: number): void {
    this.encoder.slabSize = 1 << 20;
    for (const unit of this.units) if (unit.source === undefined) this.runStatic(unit);
    for (const c of this.stored.all(chassisTable)) this.scopes.addChassis(c.id);
    for (const unit of this.units) {
      if (unit.source === undefined || unit.source.table.derived) continue; // derived tables mark as they are filled
      for (const entity of this.entities(unit)) this.mark(this.runOf(unit, entity));
    }
    this.drain();
    this.scopes.settle();
    this.store.forgetTouched();
    this.store.told = true;
    this.generation = generation;
    this.encoder.slabSize = INCREMENTAL_SLAB;
  }

  private *entities(unit: Unit): Iterable<string> {
    const source = unit.source!;
    const data = (source.table.derived ? this.derived : this.stored).table(source.table);
    if (source.kind === "rows") yield* data.rows.keys();
    else for (const [a, b] of data.allPairs(source.pair)) yield `${a}|${b}`;
  }

  // --- changes ------------------------------------------------------------------------------------------------------

  onDelta(listener: (delta: Delta) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Brings the desired state to a commit of the model. */
  apply(commit: Commit): Delta {
    for (const change of commit.changes) {
      if (change.table === chassisTable) {
        if (change.after === undefined) this.scopes.removeChassis(change.id);
        else this.scopes.addChassis(change.id);
      }
      this.changed(change);
    }
    this.drain();
    const delta = this.store.settle(commit.generation, this.scopes.settle());
    this.generation = commit.generation;
    for (const listener of this.listeners) listener(delta);
    return delta;
  }

  private changed(change: Change): void {
    const { table, id, before, after } = change;
    const deps = this.deps.get(table.name);
    if (deps === undefined) return;
    const mark = (run: Run): void => this.mark(run);
    for (const unit of this.onRows.get(table.name) ?? []) this.mark(this.runOf(unit, id));
    deps.row.each(id, mark);
    deps.all.each("", mark);
    for (const [name, index] of deps.indexes) {
      const fn = table.indexes[name]!;
      eachKey(before === undefined ? undefined : fn(before), (key) => index.each(key, mark));
      eachKey(after === undefined ? undefined : fn(after), (key) => index.each(key, mark));
    }
    for (const [name, index] of deps.pairs) {
      const fn = table.pairs[name]!;
      const was = before === undefined ? undefined : fn(before);
      const is = after === undefined ? undefined : fn(after);
      if (was !== undefined) index.each(`${was[0]}|${was[1]}`, mark);
      if (is !== undefined) index.each(`${is[0]}|${is[1]}`, mark);
      if (was?.[0] === is?.[0] && was?.[1] === is?.[1]) continue;
      const keys = deps.pairKeys.get(name)!;
      const now = (table.derived ? this.derived : this.stored).table(table);
      // The set of second keys changed only if this was the first or is no longer any row of the pair. Within one batch
      // that cannot be told from the counts alone, so a pair that now has no rows or few is taken as changed.
      if (was !== undefined && now.pairSize(name, was[0], was[1]) === 0) keys.each(was[0], mark);
      if (is !== undefined && now.pairSize(name, is[0], is[1]) <= this.batchRows) keys.each(is[0], mark);
    }
    for (const { unit, pair } of this.onPairs.get(table.name) ?? []) {
      const fn = table.pairs[pair]!;
      const was = before === undefined ? undefined : fn(before);
      const is = after === undefined ? undefined : fn(after);
      if (was !== undefined) this.mark(this.runOf(unit, `${was[0]}|${was[1]}`));
      if (is !== undefined) this.mark(this.runOf(unit, `${is[0]}|${is[1]}`));
    }
  }

  /** Upper bound of rows that this batch can have added under one pair. */
  private batchRows = 1;

  private runOf(unit: Unit, entity: string): Run {
    let run = unit.runs.get(entity);
    if (run === undefined) {
      run = { unit, entity, cookieLo: hash32(entity), reads: [], flows: [], extras: undefined, rows: [], queued: false };
      unit.runs.set(entity, run);
    }
    return run;
  }

  private mark(run: Run): void {
    if (run.queued) return;
    run.queued = true;
    this.queue[run.unit.stratum]!.push(run);
    this.queued++;
  }

  private drain(): void {
    this.batchRows = Math.max(1, this.queued);
    while (this.queued > 0) {
      const stratum = this.queue.findIndex((q) => q.length > 0);
      const batch = this.queue[stratum]!;
      this.queue[stratum] = [];
      this.queued -= batch.length;
      this.batchRows = Math.max(this.batchRows, batch.length);
      for (const run of batch) {
        run.queued = false;
        if (run.unit.derivation === undefined) this.runRule(run, run.unit.rule!);
        else this.runDerivation(run, run.unit.derivation);
      }
    }
    this.batchRows = 1;
  }

  // --- runs ---------------------------------------------------------------------------------------------------------

  private entityOf(run: Run): unknown {
    const source = run.unit.source!;
    const layer = source.table.derived ? this.derived : this.stored;
    if (source.kind === "rows") return layer.row(source.table, run.entity);
    const bar = run.entity.indexOf("|");
    const a = run.entity.slice(0, bar);
    const b = run.entity.slice(bar + 1);
    return layer.table(source.table).pairSize(source.pair, a, b) > 0 ? { id: run.entity, a, b } : undefined;
  }

  private record(run: Run, body: () => void): void {
    const reads: Reads<Run> = [];
    this.tracked.begin(reads);
    try {
      body();
    } finally {
      this.tracked.end();
    }
    this.runs++;
    const before = run.reads;
    if (before.length === reads.length && before.every((r, i) => r === reads[i])) return;
    for (let i = 0; i < before.length; i += 2) (before[i] as { remove: (k: string, r: Run) => void }).remove(before[i + 1] as string, run);
    for (let i = 0; i < reads.length; i += 2) (reads[i] as { add: (k: string, r: Run) => void }).add(reads[i + 1] as string, run);
    run.reads = reads;
  }

  private forget(run: Run): void {
    for (let i = 0; i < run.reads.length; i += 2) (run.reads[i] as { remove: (k: string, r: Run) => void }).remove(run.reads[i + 1] as string, run);
    run.reads = [];
    run.unit.runs.delete(run.entity);
  }

  private runDerivation(run: Run, derivation: Derivation): void {
    const entity = this.entityOf(run);
    let rows: readonly Row[] = [];
    if (entity !== undefined) {
      this.record(run, () => {
        try {
          const made = derivation.derive(entity, this.tracked);
          rows = made === undefined ? [] : Array.isArray(made) ? (made as readonly Row[]) : [made as Row];
        } catch (error) {
          this.log.error({ err: error, app: run.unit.app, derivation: derivation.name, entity: run.entity }, "a derivation failed; its rows are left out");
        }
      });
    }
    const before = run.rows;
    run.rows = rows;
    const table = derivation.into;
    for (const old of before) {
      if (rows.some((r) => r.id === old.id)) continue;
      this.derived.remove(table, old.id);
      this.changed({ table, id: old.id, before: old, after: undefined });
    }
    for (const row of rows) {
      const old = before.find((r) => r.id === row.id);
      if (old !== undefined && equalRows(old, row)) continue;
      this.derived.put(table, row);
      this.changed({ table, id: row.id, before: old, after: row });
    }
    if (entity === undefined) this.forget(run);
  }

  private runRule(run: Run, rule: Rule): void {
    const entity = this.entityOf(run);
    const collector = new Collector(this, run);
    if (entity !== undefined) {
      this.record(run, () => {
        try {
          rule.emit(entity, this.tracked, collector);
        } catch (error) {
          // A bug in a rule is contained to its run: the flows it had stay away, everything else goes on.
          this.log.error({ err: error, app: run.unit.app, rule: rule.name, entity: run.entity }, "a rule failed; its flows are left out");
          collector.flows.length = 0;
          collector.extras = undefined;
        }
      });
    }
    this.replace(run, collector);
    if (entity === undefined) this.forget(run);
  }

  private runStatic(unit: Unit): void {
    const run = this.runOf(unit, unit.app);
    const app = this.apps.find((a) => a.name === unit.app)!;
    const collector = new Collector(this, run);
    app.staticFlows?.(collector);
    for (const table of this.layout.tables) {
      if (table.app !== app.name) continue;
      for (const flow of this.layout.missFlows(table)) collector.lowered("base", flow);
    }
    this.runs++;
    this.replace(run, collector);
  }

  // --- output of runs -----------------------------------------------------------------------------------------------

  /** Puts a run's new output in place of its old one. */
  private replace(run: Run, collector: Collector): void {
    const old = run.flows;
    const made = collector.flows;
    run.flows = made;
    if (old.length === 0) for (const flow of made) this.store.contribute(flow);
    else if (made.length === 0) for (const flow of old) this.store.withdraw(flow);
    else if (old.length !== made.length || old.some((f, i) => f !== made[i])) {
      const now = new Set(made);
      const was = new Set(old);
      for (const flow of old) if (!now.has(flow)) this.store.withdraw(flow);
      for (const flow of made) if (!was.has(flow)) this.store.contribute(flow);
    }
    const before = run.extras;
    const after = collector.extras;
    if (before === undefined && after === undefined) return;
    this.replaceExtras(before ?? NO_EXTRAS, after ?? NO_EXTRAS);
    run.extras = after;
  }

  private replaceExtras(before: Extras, after: Extras): void {
    // Equal parts cancel out: include counts first up, then down, so that a scope is never lost in between.
    for (const [from, to] of after.includes) this.scopes.include(from, to);
    for (const [from, to] of before.includes) this.scopes.exclude(from, to);
    for (const [chassis] of before.variants) if (!after.variants.some((v) => v[0] === chassis)) this.scopes.setVariant(chassis, undefined);
    for (const [chassis, variant] of after.variants) this.scopes.setVariant(chassis, variant);
    this.store.replaceExtras(before, after);
  }

  // --- reading the result -------------------------------------------------------------------------------------------

  *flowsOf(chassis: string): Iterable<OwnedFlow<Run>> {
    for (const scope of this.scopes.of(chassis)) yield* this.store.flowsIn(scope);
  }

  *metersOf(chassis: string): Iterable<Meter> {
    for (const scope of this.scopes.of(chassis)) yield* this.store.metersIn(scope);
  }

  *portsOf(chassis: string): Iterable<OvsPort> {
    for (const scope of this.scopes.of(chassis)) yield* this.store.portsIn(scope);
  }

  scopesOf(chassis: string): Iterable<string> {
    return this.scopes.of(chassis);
  }

  get stats(): EngineStats {
    return { runs: this.runs, flows: this.store.count, flowsChanged: this.store.flowsChanged };
  }

  get conflicts(): readonly FlowConflict[] {
    return this.store.conflicts;
  }

  /** Why a flow exists. `flow` must come from this engine. */
  provenance(flow: Flow): Provenance {
    if (!(flow instanceof OwnedFlow)) throw new TypeError("the flow is not of this engine");
    const { owner: run } = flow as OwnedFlow<Run>;
    const resources: { type: string; table: string; id: string }[] = [];
    const add = (table: AnyTable, id: string): void => {
      const type = table.resource;
      if (type !== undefined && !resources.some((r) => r.type === type && r.id === id)) resources.push({ type, table: table.name, id });
    };
    const source = run.unit.source;
    if (source?.kind === "rows") add(source.table, run.entity);
    for (let i = 0; i < run.reads.length; i += 2) {
      const dep = run.reads[i] as { kind: string; table: AnyTable };
      if (dep.kind === "row" && this.stored.row(dep.table, run.reads[i + 1] as string) !== undefined) add(dep.table, run.reads[i + 1] as string);
    }
    return { app: run.unit.app, rule: run.unit.name, about: run.unit.about, entity: run.entity, resources };
  }

  // --- for Collector ------------------------------------------------------------------------------------------------

  /** @internal */
  encode(run: Run, scope: string, table: string, spec: FlowSpec): OwnedFlow<Run> {
    const t = this.layout.table(table);
    if (t.app !== run.unit.app) throw new Error(`rule ${run.unit.name} of ${run.unit.app} emits into ${table}, a table of ${t.app}`);
    return this.keep(run, scope, this.layout.lower(t, spec));
  }

  /** @internal */
  keep(run: Run, scope: string, flow: LoweredFlow): OwnedFlow<Run> {
    return this.encoder.encode(run, scope, flow, run.unit.cookieHi, run.cookieLo, run.flows);
  }

  /** @internal */
  portContext(view: ReadView, portId: string): FlowAction[] {
    const out: FlowAction[] = [];
    for (const app of this.apps) {
      for (const context of app.portContext ?? []) {
        const value = context.value(view, portId);
        if (value !== 0) out.push(this.layout.loadRegister(undefined, context.register, value));
      }
    }
    return out;
  }
}

/** Gathers what one run emits. */
class Collector implements Emit {
  readonly flows: OwnedFlow<Run>[] = [];
  /** By key, once there are many: to find what is emitted twice. */
  private byKey: Map<string, OwnedFlow<Run>[]> | undefined;
  extras: Extras | undefined;
  private readonly engine: Engine;
  private readonly run: Run;

  constructor(engine: Engine, run: Run) {
    this.engine = engine;
    this.run = run;
  }

  private more(): Extras {
    return (this.extras ??= { includes: [], meters: [], ports: [], variants: [] });
  }

  flow(scope: string, table: string, spec: FlowSpec): void {
    this.add(this.engine.encode(this.run, scope, table, spec));
  }

  lowered(scope: string, flow: LoweredFlow): void {
    this.add(this.engine.keep(this.run, scope, flow));
  }

  /**
   * The same flow twice counts once; parts of conjunctions stay apart here and are merged in the scope.
   * @throws Error when the run emits two different flows for one match
   */
  private add(flow: OwnedFlow<Run>): void {
    for (const other of this.sameKey(flow)) {
      if (sameBytes(other, flow)) return;
      if (other.conjunctions === undefined || flow.conjunctions === undefined) throw new Error("one run emits two different flows for the same match");
    }
    this.flows.push(flow);
    if (this.byKey !== undefined) push(this.byKey, `${flow.scope}\0${flow.key}`, flow);
  }

  private sameKey(flow: OwnedFlow<Run>): readonly OwnedFlow<Run>[] {
    if (this.flows.length < 16) return this.flows.filter((f) => f.key === flow.key && f.scope === flow.scope);
    if (this.byKey === undefined) {
      this.byKey = new Map();
      for (const f of this.flows) push(this.byKey, `${f.scope}\0${f.key}`, f);
    }
    return this.byKey.get(`${flow.scope}\0${flow.key}`) ?? [];
  }

  include(from: string, to: string): void {
    this.more().includes.push([from, to]);
  }
  meter(scope: string, id: number, ratePps: number, burst: number): void {
    this.more().meters.push({ scope, meter: { id, ratePps, burst } });
  }
  ovsPort(scope: string, port: PortSpec): void {
    this.more().ports.push({ scope, port });
  }
  variant(chassis: string, variant: string): void {
    this.more().variants.push([chassis, variant]);
  }
  portContext(view: ReadView, portId: string): readonly FlowAction[] {
    return this.engine.portContext(view, portId);
  }
}

const NO_EXTRAS: Extras = { includes: [], meters: [], ports: [], variants: [] };

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function eachKey(keys: string | readonly string[] | undefined, visit: (key: string) => void): void {
  if (keys === undefined) return;
  if (typeof keys === "string") visit(keys);
  else for (const key of keys) visit(key);
}

function equalRows(a: Row, b: Row): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

const unitName = (run: Run): string => `${run.unit.app}/${run.unit.name} on ${run.entity}`;

/** FNV-1a, 32 bits. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** High half of a rule's cookies: 8 bits that say "ours", 24 that say which rule. */
const cookieOf = (rule: string): number => ((COOKIE_TAG << 24) | (hash32(rule) & 0xffffff)) >>> 0;
