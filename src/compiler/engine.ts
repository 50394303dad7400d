// The compiler: rows in, flows out, incrementally. It does no I/O and cannot fail for outside reasons.
//
//   commit ──> dirty runs ──> derivations (strata in order) ──> rules ──> scope flows ──> per chassis difference
//
// A run is a rule (or derivation) on one entity. Its reads are recorded; a commit makes exactly those runs dirty whose
// reads it may have changed. What a run emits is compared with what it emitted before, so equal output goes no further.
import { baseScope, chassisTable, stages, type AnyEmit, type AnyTable, type App, type Derivation, type Emit, type FlowAction, type FlowSpec, type PipelineDecl, type PortActions, type PortSpec, type ReadView, type Row, type Rule, type Scope, type Shape, type Source, type StageName } from "#app";
import { FlowWriter } from "../pipeline/flow-writer.ts";
import type { Family, Layout, PipelineTable } from "../pipeline/layout.ts";
import { Lowering } from "../pipeline/lowering.ts";
import { Shapes } from "../pipeline/shapes.ts";
import type { Change, Commit } from "../model/model.ts";
import { Layer } from "../model/rows.ts";
import { View } from "../model/view.ts";
import type { Delta, Desired, Flow, Meter, OvsPort } from "./desired.ts";
import { sameKey } from "./flow-set.ts";
import { FlowEncoder, OwnedFlow, sameBytes, type Home } from "./flows.ts";
import { ScopeStore, type Extras, type FlowConflict } from "./scope-store.ts";
import { Scopes } from "./scopes.ts";
import { NO_READS, TableDeps, TrackedView, type DepIndex, type Reader, type ReadingUnit, type Reads } from "./track.ts";

/** What runs run on: a row of a table or a pair of keys. All units on the same source share them. */
class Entity {
  readonly id: string;
  /** The row as it is now; undefined: gone. Pairs are asked for when they run. */
  row: Row | undefined;
  readonly runs: readonly Run[];

  constructor(id: string, row: Row | undefined, units: readonly Unit[]) {
    this.id = id;
    this.row = row;
    this.runs = units.map((unit) => new Run(unit, this));
  }
}

/** A source of entities, with the rules and derivations that run on each. */
interface Feed {
  readonly table: AnyTable;
  /** Undefined: rows. */
  readonly pair: string | undefined;
  readonly units: Unit[];
  readonly entities: Map<string, Entity>;
}

class Run implements Reader<Run> {
  readonly unit: Unit;
  readonly entity: Entity;
  own = 0;
  queued = false;
  reads: Reads<Run> = NO_READS;
  flows: readonly OwnedFlow<Run>[] = NONE;
  extras: Extras | undefined = undefined;
  /** Rows of a derivation. */
  rows: readonly Row[] = NONE;

  constructor(unit: Unit, entity: Entity) {
    this.unit = unit;
    this.entity = entity;
  }
}
const NONE: readonly never[] = [];

/** A rule or a derivation. */
interface Unit extends ReadingUnit<Run> {
  readonly app: string;
  readonly name: string;
  readonly about: string;
  readonly source: Source<unknown> | undefined;
  readonly stratum: number;
  readonly rule: Rule | undefined;
  readonly derivation: Derivation | undefined;
  readonly cookieHi: number;
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
const COMPILE_SLAB = 4 << 20;
const INCREMENTAL_SLAB = 16 << 10;

export class Engine implements Desired {
  generation = 0;
  private runs = 0;
  private readonly stored: Layer;
  private readonly derived = new Layer(undefined, (table) => new Error(`something reads derived table ${table.name}, which no app lists in its tables`));
  /** Every table, stored or derived, as of the last commit that was compiled; reads are not tracked. */
  readonly view: View;
  private readonly layout: Layout;
  private readonly apps: readonly App[];
  private readonly units: Unit[] = [];
  private readonly deps = new Map<string, TableDeps<Run>>();
  private readonly marker = (run: Run): void => this.mark(run);
  private readonly tracked: TrackedView<Run>;
  private readonly encoder: FlowEncoder;
  private readonly lowering: Lowering;
  /** @internal */
  readonly shapes: Shapes;
  private readonly scopes = new Scopes();
  private readonly store: ScopeStore<Run>;
  private readonly collector: Collector;
  /** What runs on a table's rows and on its pairs. */
  private readonly feeds = new Map<string, Feed[]>();
  private queue: Run[][] = [];
  private queued = 0;
  private readonly listeners = new Set<(delta: Delta) => void>();
  private readonly observers = new Set<(changes: readonly Change[]) => void>();
  /** What changed in this batch, while somebody wants to know. */
  private readonly observed: Change[] = [];
  private readonly log: { error: (fields: object, message: string) => void };

  constructor(options: { apps: readonly App[]; tables: readonly AnyTable[]; layout: Layout; rows: Layer; log: { error: (fields: object, message: string) => void } }) {
    this.apps = options.apps;
    this.layout = options.layout;
    this.stored = options.rows;
    this.view = new View(this.stored, this.derived);
    this.log = options.log;
    for (const table of options.tables) {
      this.deps.set(table.name, new TableDeps(table, table.derived ? this.derived : this.stored));
      if (table.derived) this.derived.table(table);
    }
    this.lowering = new Lowering(this.layout);
    this.shapes = new Shapes();
    this.encoder = new FlowEncoder(new FlowWriter(this.layout, this.lowering));
    this.store = new ScopeStore<Run>(this.scopes, this.encoder, unitName, (conflict) => {
      this.log.error({ ...conflict, table: this.layout.tableById(conflict.table)?.name }, "two rules want different flows for the same match; the first stays");
    });
    this.tracked = new TrackedView(this.deps);
    this.collector = new Collector(this);
    this.addUnits();
  }

  // --- set-up -------------------------------------------------------------------------------------------------------

  private addUnits(): void {
    const add = (unit: Omit<Unit, keyof ReadingUnit<Run>>): void => {
      const feed = unit.source === undefined ? undefined : this.feedOf(unit.source);
      const place = feed?.units.length ?? 0;
      const full: Unit = { ...unit, ownReads: [], runOn: (entity) => feed?.entities.get(entity)?.runs[place] };
      this.units.push(full);
      feed?.units.push(full);
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

  private feedOf(source: Source<unknown>): Feed {
    const pair = source.kind === "pairs" ? source.pair : undefined;
    let feed = this.feeds.get(source.table.name)?.find((f) => f.pair === pair);
    if (feed === undefined) push(this.feeds, source.table.name, (feed = { table: source.table, pair, units: [], entities: new Map<string, Entity>() }));
    return feed;
  }

  /** Compiles everything; the result is in `flowsOf`, and no delta is told. */
  compileAll(generation: number): void {
    this.encoder.slabSize = COMPILE_SLAB;
    for (const unit of this.units) if (unit.source === undefined) this.runStatic(unit);
    for (const c of this.stored.all(chassisTable)) this.scopes.addChassis(c.id);
    for (const feed of [...this.feeds.values()].flat()) {
      if (feed.table.derived) continue; // derived tables mark as they are filled
      if (feed.pair === undefined) for (const [id, row] of this.stored.table(feed.table).rows) this.entered(feed, id, row);
      else for (const [a, b] of this.stored.table(feed.table).allPairs(feed.pair)) this.entered(feed, `${a}|${b}`, undefined);
    }
    this.drain();
    this.scopes.settle(false);
    this.store.forgetTouched();
    this.store.told = true;
    this.generation = generation;
    this.encoder.slabSize = INCREMENTAL_SLAB;
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
    const observed = this.observed.splice(0);
    if (observed.length > 0) for (const observer of this.observers) observer(observed);
    return delta;
  }

  /** Told after each compiled commit what changed in stored and derived tables; a row that changed more than once is there as often. */
  onChanges(observer: (changes: readonly Change[]) => void): () => void {
    this.observers.add(observer);
    return () => this.observers.delete(observer);
  }

  private changed(change: Change): void {
    if (this.observers.size > 0) this.observed.push(change);
    const { table, id, before, after } = change;
    const deps = this.deps.get(table.name);
    if (deps === undefined) return;
    deps.lastId = undefined;
    const mark = this.marker;
    const feeds = this.feeds.get(table.name) ?? NONE;
    for (const feed of feeds) if (feed.pair === undefined) this.entered(feed, id, after);
    deps.row.each(id, mark);
    deps.all.each("", mark);
    for (const { index, fn } of deps.indexList) {
      if (index.unread) continue;
      eachKey(before === undefined ? undefined : fn(before), (key) => index.each(key, mark));
      eachKey(after === undefined ? undefined : fn(after), (key) => index.each(key, mark));
    }
    for (const { name, index, keys, fn } of deps.pairList) {
      const was = before === undefined ? undefined : fn(before);
      const is = after === undefined ? undefined : fn(after);
      const wasKey = was === undefined ? undefined : `${was[0]}|${was[1]}`;
      const isKey = is === undefined ? undefined : `${is[0]}|${is[1]}`;
      if (wasKey !== undefined) index.each(wasKey, mark);
      if (isKey !== undefined) index.each(isKey, mark);
      for (const feed of feeds) {
        if (feed.pair !== name) continue;
        if (wasKey !== undefined) this.entered(feed, wasKey, undefined);
        if (isKey !== undefined) this.entered(feed, isKey, undefined);
      }
      if (keys.unread || wasKey === isKey) continue;
      const now = deps.layer.table(table);
      // The set of second keys changed only if this was the first or is no longer any row of the pair. Within one batch
      // that cannot be told from the counts alone, so a pair that now has no rows or few is taken as changed.
      if (was !== undefined && now.pairSize(name, was[0], was[1]) === 0) keys.each(was[0], mark);
      if (is !== undefined && now.pairSize(name, is[0], is[1]) <= this.batchRows) keys.each(is[0], mark);
    }
  }

  /** Upper bound of rows that this batch can have added under one pair. */
  private batchRows = 1;

  /** An entity came, changed or went: all that runs on it does. */
  private entered(feed: Feed, id: string, row: Row | undefined): void {
    let entity = feed.entities.get(id);
    if (entity === undefined) {
      entity = new Entity(id, row, feed.units);
      feed.entities.set(id, entity);
    } else entity.row = row;
    for (const run of entity.runs) this.mark(run);
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
    this.collector.endBatch();
  }

  // --- runs ---------------------------------------------------------------------------------------------------------

  private layerOf(table: AnyTable): Layer {
    return table.derived ? this.derived : this.stored;
  }

  private entityOf(run: Run): unknown {
    const { entity } = run;
    const source = run.unit.source!;
    if (source.kind === "rows") return entity.row;
    const bar = entity.id.indexOf("|");
    const a = entity.id.slice(0, bar);
    const b = entity.id.slice(bar + 1);
    return this.layerOf(source.table).table(source.table).pairSize(source.pair, a, b) > 0 ? { id: entity.id, a, b } : undefined;
  }

  /** Its entity is gone. It is found again only as long as others of the entity are still to run, or it comes back. */
  private forget(run: Run): void {
    this.tracked.forget(run);
    const { id, runs } = run.entity;
    if (runs.some((r) => r.queued)) return;
    this.feedOf(run.unit.source!).entities.delete(id);
  }

  private runDerivation(run: Run, derivation: Derivation): void {
    const entity = this.entityOf(run);
    let rows: readonly Row[] = NONE;
    if (entity !== undefined) {
      this.runs++;
      this.tracked.begin(run);
      try {
        const made = derivation.derive(entity, this.tracked);
        rows = made === undefined ? NONE : Array.isArray(made) ? (made as readonly Row[]) : [made as Row];
      } catch (error) {
        this.log.error({ err: error, app: run.unit.app, derivation: derivation.name, entity: run.entity.id }, "a derivation failed; its rows are left out");
      }
      this.tracked.end();
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
    const { collector } = this;
    collector.begin(run);
    if (entity !== undefined) {
      this.runs++;
      this.tracked.begin(run);
      try {
        rule.emit(entity, this.tracked, collector);
      } catch (error) {
        // A bug in a rule is contained to its run: the flows it had stay away, everything else goes on.
        this.log.error({ err: error, app: run.unit.app, rule: rule.name, entity: run.entity.id }, "a rule failed; its flows are left out");
        collector.begin(run);
      }
      this.tracked.end();
    }
    this.replace(run, collector);
    if (entity === undefined) this.forget(run);
  }

  private runStatic(unit: Unit): void {
    const run = new Entity(unit.app, undefined, [unit]).runs[0]!;
    const app = this.apps.find((a) => a.name === unit.app)!;
    const { collector } = this;
    collector.begin(run);
    app.staticFlows?.(collector);
    for (const table of this.layout.tables) {
      if (table.app !== app.name) continue;
      for (const { spec, family } of this.layout.missFlows(table)) collector.flow(baseScope, table.name, spec, family);
    }
    this.runs++;
    this.replace(run, collector);
  }

  // --- output of runs -----------------------------------------------------------------------------------------------

  /** Puts a run's new output in place of its old one. */
  private replace(run: Run, collector: Collector): void {
    const old = run.flows;
    const made = collector.flows;
    // A copy is exactly as long as it must be; and the same list stays what it was.
    if (old.length !== made.length || old.some((f, i) => f !== made[i])) run.flows = kept(made);
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
    const { id } = run.entity;
    if (source?.kind === "rows") add(source.table, id);
    const read = (dep: DepIndex<Run>, key: string): void => {
      if (dep.kind === "row" && !dep.table.derived && this.stored.row(dep.table, key) !== undefined) add(dep.table, key);
    };
    run.unit.ownReads.forEach((dep, i) => {
      if ((run.own & (1 << i)) !== 0) read(dep, id);
    });
    for (let i = 0; i < run.reads.length; i += 2) read(run.reads[i] as DepIndex<Run>, run.reads[i + 1] as string);
    return { app: run.unit.app, rule: run.unit.name, about: run.unit.about, entity: id, resources };
  }

  // --- for Collector ------------------------------------------------------------------------------------------------

  /** @internal */
  encode(run: Run, home: Home, name: string, spec: FlowSpec, family?: Family): OwnedFlow<Run> {
    const table: PipelineTable = this.layout.table(name);
    if (table.app !== run.unit.app) this.layout.checkReach(run.unit.app, table.app);
    if (table.learned !== undefined) throw new Error(`rule ${run.unit.name} of ${run.unit.app} emits into ${name}, which the switch fills`);
    return this.encoder.encode(run, home, table, spec, family, run.unit.cookieHi, this.collector.cookieLo, run.flows);
  }

  /** @internal */
  home(scope: string): Home {
    return this.store.home(scope);
  }

  /** @internal */
  checkInto(run: Run, pipeline: PipelineDecl): void {
    this.layout.checkInto(run.unit.app, pipeline);
  }

  /** @internal */
  portContext(view: ReadView, portId: string): PortActions {
    const sender: FlowAction<never, never>[] = [];
    const receiver: FlowAction<never, never>[] = [];
    let enter: StageName = "admission";
    let egress = false;
    for (const app of this.apps) {
      for (const context of app.portContext ?? []) {
        if (context.ingress?.(view, portId) === true) enter = stages[1].name;
        if (context.egress?.(view, portId) === true) egress = true;
        const value = context.register === undefined ? 0 : (context.value?.(view, portId) ?? 0);
        if (value === 0) continue;
        const action: FlowAction<never, never> = { type: "lowered", actions: [this.lowering.load(context.register!, value)] };
        if (context.side !== "receiver") sender.push(action);
        if (context.side !== "sender") receiver.push(action);
      }
    }
    return { sender: { loads: sender, enter }, receiver: { loads: receiver, egress } };
  }
}

/** Gathers what one run emits; used again for the next. */
class Collector implements AnyEmit {
  readonly flows: OwnedFlow<Run>[] = [];
  /** By hash, once there are many: to find what is emitted twice. */
  private byHash: Map<number, OwnedFlow<Run>[]> | undefined;
  private readonly includes: [string, string][] = [];
  private readonly meters: Extras["meters"][number][] = [];
  private readonly ports: Extras["ports"][number][] = [];
  private readonly variants: [string, string][] = [];
  private readonly lists = [this.flows, this.includes, this.meters, this.ports, this.variants];
  private readonly engine: Engine;
  private run!: Run;
  /** The pipeline last asked for in this run, which may be. */
  private entered: PipelineDecl | undefined;
  /** Hash of the entity; the runs of an entity come one after the other. */
  cookieLo = hash32("");
  private entity = "";
  /** The last scope by name: a run's flows come in few, and those of the next run often in the same. */
  private scope = "";
  private home: Home | undefined;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  begin(run: Run): void {
    this.run = run;
    this.entered = undefined;
    if (run.entity.id !== this.entity) {
      this.entity = run.entity.id;
      this.cookieLo = hash32(this.entity);
    }
    this.byHash = undefined;
    for (const list of this.lists) empty(list);
  }

  /** Scopes that have nothing in them end with the batch: what is remembered of one must not outlive it. */
  endBatch(): void {
    this.home = undefined;
  }

  /** What was emitted beside flows. */
  get extras(): Extras | undefined {
    const { includes, meters, ports, variants } = this;
    if (includes.length + meters.length + ports.length + variants.length === 0) return undefined;
    return { includes: kept(includes), meters: kept(meters), ports: kept(ports), variants: kept(variants) };
  }

  private homeOf(scope: string): Home {
    if (this.home !== undefined && this.scope === scope) return this.home;
    this.scope = scope;
    return (this.home = this.engine.home(scope));
  }

  flow(scope: Scope, table: string | Shape, flow: unknown, family?: Family): void {
    const [name, spec] = typeof table === "string" ? [table, flow as FlowSpec] : [table.table, this.engine.shapes.fill(table, flow)];
    this.add(this.engine.encode(this.run, this.homeOf(scope), name, spec, family));
  }

  into<Q extends PipelineDecl>(pipeline: Q): Emit<Q> {
    if (this.entered !== pipeline) this.engine.checkInto(this.run, pipeline);
    this.entered = pipeline;
    return this;
  }

  /**
   * The same flow twice counts once; parts of conjunctions stay apart here and are merged in the scope.
   * @throws Error when the run emits two different flows for one match
   */
  private add(flow: OwnedFlow<Run>): void {
    for (const other of this.alike(flow)) {
      if (other.hash !== flow.hash || other.home !== flow.home || !sameKey(other, flow)) continue;
      if (sameBytes(other, flow)) return;
      if (other.conjunctions === undefined || flow.conjunctions === undefined) throw new Error("one run emits two different flows for the same match");
    }
    this.flows.push(flow);
    if (this.byHash !== undefined) push(this.byHash, flow.hash, flow);
  }

  /** All that may have the same key, and some more. */
  private alike(flow: OwnedFlow<Run>): readonly OwnedFlow<Run>[] {
    if (this.flows.length < 32) return this.flows;
    if (this.byHash === undefined) {
      this.byHash = new Map();
      for (const f of this.flows) push(this.byHash, f.hash, f);
    }
    return this.byHash.get(flow.hash) ?? NONE;
  }

  include(from: string, to: string): void {
    this.includes.push([from, to]);
  }
  meter(scope: string, id: number, ratePps: number, burst: number): void {
    this.meters.push({ scope, meter: { id, ratePps, burst } });
  }
  ovsPort(scope: string, port: PortSpec): void {
    this.ports.push({ scope, port });
  }
  variant(chassis: string, variant: string): void {
    this.variants.push([chassis, variant]);
  }
  portContext(view: ReadView, portId: string): PortActions {
    return this.engine.portContext(view, portId);
  }
}

const NO_EXTRAS: Extras = { includes: NONE, meters: NONE, ports: NONE, variants: NONE };

/** Unlike `length = 0` this leaves a short list the room it has: most runs fill it again. */
function empty(list: unknown[]): void {
  while (list.length > 0) list.pop();
}

/** A copy exactly as long as it must be: there are many, and they stay. */
const kept = <T>(list: readonly T[]): readonly T[] => (list.length === 0 ? NONE : list.slice());

function push<K, T>(map: Map<K, T[]>, key: K, value: T): void {
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

const unitName = (run: Run): string => `${run.unit.app}/${run.unit.name} on ${run.entity.id}`;

/** FNV-1a, 32 bits. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** High half of a rule's cookies: 8 bits that say "ours", 24 that say which rule. */
const cookieOf = (rule: string): number => ((COOKIE_TAG << 24) | (hash32(rule) & 0xffffff)) >>> 0;
