// The compiler: rows in, flows and other outputs out, incrementally. It does no I/O and cannot fail for outside reasons.
//
//   commit ──> schedule: dirty runs ──> derivations (by stratum) ──> rules ──> outputs of scopes ──> difference of each chassis
//
// A run is a rule (or derivation) on one entity. Its reads are recorded (track.ts); a commit makes exactly those runs dirty whose
// reads it may have changed (schedule.ts). What a run emits is compared with what it emitted before, so equal output goes no further.
//
// Over 400 lines: what a batch goes through, for a commit and for one that is only tried, on state that all of it shares.
import { baseScope, chassisTable, type AnyTable, type App, type Derivation, type OvsPatch, type Row, type Rule, type Source } from "#app";
import { cookieOf, staticEntity, staticRule } from "../lib/cookies.ts";
import { fewOf, isList, listOf, type Few } from "../lib/few.ts";
import { finish, type Stepwise } from "../lib/turns/stepwise.ts";
import type { Commit } from "../model/model.ts";
import type { Layer } from "../model/rows.ts";
import { View } from "../model/view.ts";
import { FlowWriter } from "../pipeline/flow-writer.ts";
import type { Layout } from "../pipeline/layout.ts";
import { Lowering } from "../pipeline/lowering.ts";
import { Collector } from "./collector.ts";
import { DerivedRows, type RowChange } from "./derived.ts";
import { emptyDelta, type ChassisDelta, type Delta, type Desired, type DesiredRow, type Flow, type Item } from "./desired.ts";
import { Emission } from "./emission.ts";
import { Failures, type Failure } from "./failures.ts";
import { FlowEncoder, OwnedFlow } from "./flows/flows.ts";
import { OutputStore, type OutputConflict } from "./items.ts";
import { Before, Now, provenanceOf, type Known, type Provenance } from "./provenance.ts";
import { Entity, runName, type Extras, type Run, type Unit, type Variant } from "./runs.ts";
import { Schedule } from "./schedule.ts";
import { ScopeFlows, type FlowConflict } from "./flows/scope-flows.ts";
import { Scopes } from "./scopes.ts";
import { derivations, sources } from "./strata.ts";
import { TableDeps, TrackedView } from "./track.ts";
import { seenOf } from "./unseen.ts";

export type { Provenance } from "./provenance.ts";

export interface EngineStats {
  /** Rule and derivation runs since the start. */
  readonly runs: number;
  /** Distinct flows (per scope) added, changed or removed since the start. */
  readonly flowsChanged: number;
  readonly flows: number;
  /** Bytes of the slabs that hold flows, and of the flows. */
  readonly memory: { readonly held: number; readonly live: number };
}

export interface EngineOptions {
  readonly apps: readonly App[];
  readonly tables: readonly AnyTable[];
  readonly layout: Layout;
  readonly rows: Layer;
  readonly log: { error: (fields: object, message: string) => void };
  /** For tests: flows overwrite scratch registers at every call, so that whoever counts on one across it is found out. */
  readonly poisonScratch?: boolean;
  /** For tests: a run fails that reads of a row what runs do not see, and are not run again for. */
  readonly forbidUnseen?: boolean;
  /** Bytes of flows that there will be, about, where that is known: one slab has them all, if it can. */
  readonly flowBytes?: number;
}

/** Changes of rows that are tried: the engine says what they would come to, and is as before. */
export interface Trial<T> {
  readonly changes: readonly RowChange[];
  /** Puts rows in their places: as they are after a change, or as they were before. */
  readonly place: (changes: readonly RowChange[], as: "after" | "before") => void;
  /** What else changes in stored rows because of what changed; nothing: that is all. */
  readonly follow: (changed: readonly RowChange[]) => readonly RowChange[];
  /** Sees the desired state as it would be, and the difference; `runs` there were. What it throws comes out, and all is as before. */
  readonly read: (delta: Delta, runs: number) => T;
  /** Runs at most. */
  readonly runs: number;
}

/** More would have to run than a trial may. */
export class TrialTooLarge extends Error {
  readonly code = "TRIAL_TOO_LARGE";
  constructor(runs: number) {
    super(`more than ${runs} runs of rules follow from it`);
    this.name = "TrialTooLarge";
  }
}

/** Changes that follow from changes that follow ...: beyond, something goes in circles. */
const TRIAL_ROUNDS = 16;

const isRow = (row: unknown): boolean => typeof row === "object" && row !== null && typeof (row as { readonly id?: unknown }).id === "string";

/** Rows between two places where work may stop. */
const ROWS = 64;

const COMPILE_SLAB = 4 << 20;
const LEAST_SLAB = 256 << 10;
const INCREMENTAL_SLAB = 16 << 10;

export class Engine implements Desired {
  generation = 0;
  readonly learnedTables: ReadonlySet<number>;
  /** Every table, stored or derived, as of the last commit that was compiled; reads are not tracked. */
  readonly view: View;
  private runs = 0;
  private readonly stored: Layer;
  private readonly layout: Layout;
  private readonly apps: readonly App[];
  private readonly log: EngineOptions["log"];
  private readonly derived: DerivedRows;
  private readonly deps = new Map<string, TableDeps<Run>>();
  private readonly tracked: TrackedView<Run>;
  private readonly schedule: Schedule;
  /** Those that somebody asked for, by app and name. */
  private readonly rules = new Map<string, Unit>();
  private readonly encoder: FlowEncoder;
  private readonly scopes = new Scopes();
  private readonly flows: ScopeFlows<Run>;
  private readonly outputs: OutputStore<Run>;
  private readonly failing = new Failures();
  private readonly collector: Collector;
  private readonly statics: Unit[] = [];
  private readonly listeners = new Set<(delta: Delta) => void>();
  private readonly observers = new Set<(changes: readonly RowChange[], generation: number) => void>();
  private readonly now: Known;
  /** How many want to know of removals what they belonged to. */
  private remembering = 0;
  /** From the beginning of a batch until it is told, while somebody wants to know. */
  private before: Before | undefined;
  /** What changed in this batch, while somebody wants to know. */
  private readonly observed: RowChange[] = [];
  /** While changes are tried nobody is told of anything. */
  private trying = false;
  /** The run that is under way, until it fails. */
  private well: Run | undefined;
  private readonly runOne = (run: Run): void => this.run(run);
  private readonly options: EngineOptions;

  /** @throws Error when derivations read each other in a circle or fill what is not theirs */
  constructor(options: EngineOptions) {
    const { apps, tables, layout, rows, log, poisonScratch } = options;
    this.options = options;
    this.apps = apps;
    this.layout = layout;
    this.stored = rows;
    const told: EngineOptions["log"] = {
      error: (fields, message) => {
        if (!this.trying) log.error(fields, message);
      },
    };
    this.log = told;
    this.learnedTables = layout.learnedTables;
    this.derived = new DerivedRows(
      (change, owner) => this.changed(change, owner),
      (fields) => told.error(fields, "two runs derive rows with one id; the first by name has it"),
      (error, run) => this.failed(error, run),
    );
    this.now = new Now(rows, this.derived);
    for (const table of tables) {
      this.deps.set(table.name, new TableDeps(table, this.layerOf(table)));
      if (table.derived) this.derived.layer.table(table);
    }
    const lowering = new Lowering(layout, poisonScratch);
    this.encoder = new FlowEncoder(new FlowWriter(layout, lowering));
    this.flows = new ScopeFlows<Run>(this.scopes, this.encoder, runName, (conflict) => {
      told.error({ ...conflict, table: layout.tableById(conflict.table)?.name }, "two rules want different flows for the same match; the first stays");
    });
    this.outputs = new OutputStore<Run>(this.scopes, runName, (conflict) => told.error(conflict, "two rules want different things for one id; the first stays"));
    this.tracked = new TrackedView(this.deps, this.stored, options.forbidUnseen === true ? seenOf : undefined);
    this.view = new View(this.stored, this.derived.layer);
    this.schedule = new Schedule(this.deps, (error, table) => told.error({ err: error, table: table.name }, "an index function failed; what reads by it is run again"));
    this.collector = new Collector(new Emission(apps, layout, lowering, this.encoder, this.flows));
    this.addUnits();
  }

  private addUnits(): void {
    const add = (unit: Pick<Unit, "app" | "name" | "about" | "stratum"> & { source: Source<unknown>; rule?: Rule; derivation?: Derivation }): void => {
      const { source } = unit;
      const feed = this.schedule.feed(source.table, source.kind === "pairs" ? source.pair : undefined);
      const place = feed.units.length;
      feed.units.push({
        rule: undefined, derivation: undefined, ...unit, cookieHi: unit.rule === undefined ? 0 : cookieOf(`${unit.app}/${unit.name}`), ownReads: [],
        mayRead: unit.derivation === undefined ? undefined : new Set(sources(unit.derivation).map((t) => t.name)),
        runOn: (entity) => feed.entities.get(entity)?.runAt(place),
        eachRun: (visit) => {
          for (const entity of feed.entities.values()) visit(entity.runAt(place));
        },
      });
    };
    let last = 0;
    for (const { app, derivation, stratum } of derivations(this.apps)) {
      add({ app: app.name, name: derivation.name, about: "", source: derivation.on, stratum, derivation });
      last = Math.max(last, stratum + 1);
    }
    for (const app of this.apps) {
      for (const rule of app.rules ?? []) add({ app: app.name, name: rule.name, about: rule.about, source: rule.on, stratum: last, rule });
      if (app.staticFlows === undefined && app.pipeline === undefined) continue;
      this.statics.push({
        app: app.name, name: "static", about: `${app.name}: entries that need no entity, and table-miss entries`, source: undefined, stratum: last, rule: undefined,
        derivation: undefined, cookieHi: cookieOf(staticRule(app.name)), ownReads: [], mayRead: undefined, runOn: () => undefined, eachRun: () => undefined,
      });
    }
  }

  /** Compiles everything; the result is in `flowsOf` and the like, and nobody is notified. */
  compileAll(generation: number): void {
    finish(this.compiling(generation));
  }

  /** The same in steps; no row may change before it is through. */
  *compiling(generation: number): Stepwise<void> {
    this.encoder.slabSize = Math.min(COMPILE_SLAB, Math.max(LEAST_SLAB, this.options.flowBytes ?? Infinity));
    for (const unit of this.statics) this.runStatic(unit);
    for (const c of this.stored.all(chassisTable)) this.scopes.addChassis(c.id);
    let n = 0;
    for (const feed of this.schedule.all()) {
      if (feed.table.derived) continue; // derived tables mark as they are filled
      if (feed.pair === undefined) {
        for (const [id, row] of this.stored.table(feed.table).rows) {
          this.schedule.entered(feed, id, row);
          if (++n % ROWS === 0) yield;
        }
      } else {
        for (const [a, b] of this.stored.table(feed.table).allPairs(feed.pair)) {
          this.schedule.entered(feed, `${a}|${b}`, undefined);
          if (++n % ROWS === 0) yield;
        }
      }
    }
    yield* this.draining();
    this.scopes.commit(false);
    this.outputs.commitAll();
    this.flows.endBatch();
    this.generation = generation;
    this.encoder.slabSize = INCREMENTAL_SLAB;
  }

  /** Another one, of the same apps and settings, on other rows; nothing is compiled yet, and nothing of it is logged. */
  aside(rows: Layer): Engine {
    rows.book = this.stored.book;
    // Memory outside of the heap has all of that collected before its time: what is soon let go takes no more than it fills.
    return new Engine({ ...this.options, rows, log: { error: () => undefined }, flowBytes: Math.ceil(this.encoder.memory.live * 1.25) });
  }

  onDelta(listener: (delta: Delta) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Brings the desired state to a commit of the model. */
  apply(commit: Commit): Delta {
    return finish(this.applying(commit));
  }

  /** The same in steps; before it is through no row may change, and nobody may read what is desired. */
  *applying(commit: Commit): Stepwise<Delta> {
    this.before = this.remembering > 0 ? new Before(this.now) : undefined;
    yield* this.marking(commit.changes);
    yield* this.draining();
    const delta = this.difference(commit.generation);
    this.generation = commit.generation;
    for (const listener of this.listeners) listener(delta);
    this.before = undefined;
    const observed = this.observed.splice(0);
    if (observed.length > 0) for (const observer of this.observers) observer(observed, commit.generation);
    return delta;
  }

  /**
   * What the desired state would be after changes that nobody makes: they are compiled, read, and compiled back, in one go, so that it costs what they
   * cost, twice. Nobody is told, and nothing is logged. @throws TrialTooLarge; what `read` throws
   */
  attempt<T>({ read, ...trial }: Trial<T>): T {
    return finish(this.attempting<T>({ ...trial, *read(delta, runs) {
      return read(delta, runs);
    } }));
  }

  /**
   * The same in steps, for an engine that nobody else uses before it is through. While it is read, `provenanceBefore` knows of flows that would go.
   * @throws TrialTooLarge; what `read` throws
   */
  *attempting<T>({ changes, place, follow, read, runs }: Trial<Stepwise<T>>): Stepwise<T> {
    const { runs: before, generation } = this;
    const flowsChanged = this.flows.flowsChanged;
    const made: (readonly RowChange[])[] = [];
    this.trying = true;
    this.before = new Before(this.now);
    try {
      let next = changes;
      for (let round = 0; next.length > 0 && round < TRIAL_ROUNDS; round++) {
        made.push(next);
        place(next, "after");
        yield* this.marking(next);
        if (!(yield* this.draining(runs - (this.runs - before)))) throw new TrialTooLarge(runs);
        next = follow(this.observed.splice(0));
      }
      return yield* read(this.difference(generation), this.runs - before);
    } finally {
      this.before = undefined;
      for (const those of made.reverse()) {
        const back = those.map(({ table, id, before: was, after }): RowChange => ({ table, id, before: after, after: was })).reverse();
        place(those, "before");
        yield* this.marking(back);
      }
      yield* this.draining();
      this.difference(generation);
      this.observed.length = 0;
      this.trying = false;
      this.runs = before;
      this.flows.flowsChanged = flowsChanged;
    }
  }

  private *marking(changes: readonly RowChange[]): Stepwise<void> {
    let n = 0;
    for (const change of changes) {
      if (change.table === chassisTable) this.chassisChanged(change.id);
      this.changed(change);
      if (++n % ROWS === 0) yield;
    }
  }

  /** Ends a batch: what it makes of each chassis. */
  private difference(generation: number): Delta {
    const chassis = new Map<string, ChassisDelta>();
    const of = (id: string): ChassisDelta => {
      let delta = chassis.get(id);
      if (delta === undefined) chassis.set(id, (delta = emptyDelta()));
      return delta;
    };
    const membership = this.scopes.commit();
    this.flows.commit(membership, of);
    this.outputs.commit(membership, of);
    this.flows.endBatch();
    return { generation, chassis };
  }

  /** Called after each compiled commit with what changed in stored and derived tables; a row that changed more than once is there as often. */
  onChanges(observer: (changes: readonly RowChange[], generation: number) => void): () => void {
    this.observers.add(observer);
    return () => this.observers.delete(observer);
  }

  private changed(change: RowChange, owner?: Run): void {
    this.before?.changing(change, owner);
    if (this.trying || this.observers.size > 0) this.observed.push(change);
    this.schedule.changed(change);
  }

  /** As it is after the batch: one that went and came again within it was there all along. */
  private chassisChanged(id: string): void {
    if (this.stored.get(chassisTable, id) !== undefined) this.scopes.addChassis(id);
    else {
      this.scopes.removeChassis(id);
      this.outputs.removeChassis(id);
      this.flows.removeChassis(id);
    }
  }

  /** False: `most` runs were not enough. */
  private *draining(most = Infinity): Stepwise<boolean> {
    const whole = yield* this.schedule.draining(this.runOne, most);
    this.collector.endBatch();
    this.derived.endBatch();
    return whole;
  }

  // --- runs ---------------------------------------------------------------------------------------------------------

  /** A bug in an app is contained to its run: what that put out stays away, everything else goes on. */
  private run(run: Run): void {
    const { rule, derivation } = run.unit;
    this.before?.running(run);
    this.well = run;
    try {
      if (derivation !== undefined) this.runDerivation(run, derivation);
      else this.runRule(run, rule!);
      if (!this.trying && this.well === run) this.failing.ended(run);
    } catch (error) {
      this.tracked.abandon();
      this.fails(run, error);
      this.log.error({ err: error, app: run.unit.app, unit: run.unit.name, entity: run.entity.id }, "a run failed beyond its guards");
    }
  }

  private layerOf(table: AnyTable): Layer {
    return table.derived ? this.derived.layer : this.stored;
  }

  private entityOf(run: Run): unknown {
    const { entity } = run;
    const source = run.unit.source!;
    if (source.kind === "rows") return this.options.forbidUnseen === true && entity.row !== undefined ? seenOf(source.table, entity.row) : entity.row;
    const bar = entity.id.indexOf("|");
    const a = entity.id.slice(0, bar);
    const b = entity.id.slice(bar + 1);
    return this.layerOf(source.table).table(source.table).pairSize(source.pair, a, b) > 0 ? { id: entity.id, a, b } : undefined;
  }

  /** Its entity is gone. It is found again only as long as others of the entity are still to run, or it comes back. */
  private drop(run: Run): void {
    this.tracked.forget(run);
    const { id, queued } = run.entity;
    if (queued) return;
    const source = run.unit.source!;
    this.schedule.feed(source.table, source.kind === "pairs" ? source.pair : undefined).entities.delete(id);
  }

  /** What is tried is not so. */
  private fails(run: Run, error: unknown): void {
    if (this.well === run) this.well = undefined;
    if (!this.trying) this.failing.began(run, error);
  }

  private failed(error: unknown, run: Run): void {
    this.fails(run, error);
    this.log.error({ err: error, app: run.unit.app, derivation: run.unit.name, entity: run.entity.id }, "a derivation failed; its rows are left out");
  }

  private runDerivation(run: Run, derivation: Derivation): void {
    const entity = this.entityOf(run);
    let rows: Few<Row>;
    if (entity !== undefined) {
      this.runs++;
      this.tracked.begin(run);
      try {
        const made = derivation.derive(entity, this.tracked);
        if (isList(made) ? !made.every(isRow) : made !== undefined && !isRow(made)) throw new TypeError("a row is an object with an id, which is text");
        rows = isList(made) ? fewOf(made) : made;
      } catch (error) {
        this.failed(error, run);
      }
      this.tracked.end();
    }
    this.derived.replace(run, derivation.into, rows);
    if (entity === undefined) this.drop(run);
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
        this.fails(run, error);
        this.log.error({ err: error, app: run.unit.app, rule: rule.name, entity: run.entity.id }, "a rule failed; its flows are left out");
        collector.begin(run);
      }
      this.tracked.end();
    }
    this.replace(run);
    if (entity === undefined) this.drop(run);
  }

  private runStatic(unit: Unit): void {
    const run = new Entity(staticEntity(unit.app, this.layout.fingerprint), undefined, [unit]).runAt(0);
    const app = this.apps.find((a) => a.name === unit.app)!;
    const { collector } = this;
    collector.begin(run);
    app.staticFlows?.(collector);
    for (const table of this.layout.tables) {
      if (table.app !== app.name) continue;
      for (const { spec, family } of this.layout.missFlows(table)) collector.flow(baseScope, table.name, spec, family);
    }
    this.runs++;
    this.replace(run);
  }

  /** Puts a run's new output in place of its old one. */
  private replace(run: Run): void {
    const { collector } = this;
    const { before: old, flows: made } = collector;
    if (old.length === 0) {
      if (made.length > 0) run.flows = fewOf(made);
      for (let i = 0; i < made.length; i++) this.flows.contribute(made[i]!);
    } else if (old.length !== made.length || old.some((f, i) => f !== made[i])) {
      run.flows = fewOf(made);
      const now = new Set(made);
      const was = new Set(old);
      for (const flow of old) if (!now.has(flow)) this.flows.withdraw(flow);
      for (const flow of made) if (!was.has(flow)) this.flows.contribute(flow);
    }
    const { extras } = collector;
    if (run.extras === extras) return; // nothing, as before
    this.outputs.replace(run, listOf(run.extras.outputs), listOf(extras.outputs));
    this.replaceEdges(run.extras, extras);
    run.extras = extras;
  }

  private replaceEdges(before: Extras, after: Extras): void {
    // Equal parts cancel out: include counts first up, then down, so that a scope is never lost in between.
    for (const { from, to } of listOf(after.includes)) this.scopes.include(from, to);
    for (const { from, to } of listOf(before.includes)) this.scopes.exclude(from, to);
    if (before.variants !== after.variants) this.replaceVariants(listOf(before.variants), listOf(after.variants));
  }

  private replaceVariants(before: readonly Variant[], after: readonly Variant[]): void {
    for (const { chassis } of before) if (!after.some((v) => v.chassis === chassis)) this.scopes.setVariant(chassis, undefined);
    for (const { chassis, variant } of after) this.scopes.setVariant(chassis, variant);
  }

  // --- reading the result -------------------------------------------------------------------------------------------

  flowsOf(chassis: string): readonly OwnedFlow<Run>[] {
    return finish(this.flows.flowsOf(chassis));
  }

  /** The same in steps, as of one instant: what changes in between makes it begin anew. */
  flowsInSteps(chassis: string): Stepwise<readonly OwnedFlow<Run>[]> {
    return this.flows.flowsOf(chassis);
  }

  /** Flows that a rule of an app wants for an entity, as switches get them, and the chassis that have each. */
  *placed(app: string, rule: string, entity: string): Iterable<{ readonly flow: Flow; readonly chassis: Iterable<string> }> {
    for (const flow of this.wantedFlows(app, rule, entity)) {
      const placed = this.flows.placed(flow);
      if (placed !== undefined) yield placed;
    }
  }

  /** Flows that a rule of an app wants for an entity. */
  wantedFlows(app: string, rule: string, entity: string): readonly OwnedFlow<Run>[] {
    const name = `${app}/${rule}`;
    let unit = this.rules.get(name);
    if (unit === undefined) {
      unit = [...this.schedule.all()].flatMap(({ units }) => units).find((u) => u.rule !== undefined && u.app === app && u.name === rule);
      if (unit === undefined) return [];
      this.rules.set(name, unit);
    }
    return listOf(unit.runOn(entity)?.flows);
  }

  *itemsOf(chassis: string): Iterable<Item> {
    for (const output of this.outputs.outputsOf(chassis)) if (output.is === "item") yield output.wish;
  }

  *rowsOf(chassis: string): Iterable<DesiredRow> {
    for (const output of this.outputs.outputsOf(chassis)) if (output.is === "row") yield output.wish;
  }

  *patchesOf(chassis: string): Iterable<OvsPatch> {
    for (const output of this.outputs.outputsOf(chassis)) if (output.is === "patch") yield output.wish;
  }

  /** Chassis that have a scope. */
  having(scope: string): Iterable<string> {
    return this.scopes.members(scope);
  }

  has(chassis: string, scope: string): boolean {
    return this.scopes.has(chassis, scope);
  }

  scopesOf(chassis: string): Iterable<string> {
    return this.scopes.of(chassis);
  }

  get stats(): EngineStats {
    return { runs: this.runs, flows: this.flows.count, flowsChanged: this.flows.flowsChanged, memory: this.encoder.memory };
  }

  /** What two rules disagree on, as of now. */
  get conflicts(): readonly (FlowConflict | OutputConflict)[] {
    return [...this.flows.conflicts, ...this.outputs.conflicts];
  }

  /** Rules and derivations that fail, with resources for which they do. */
  get failures(): readonly (Omit<Failure, "runs"> & { readonly resources: Provenance["resources"] })[] {
    return this.failing.list.map(({ runs, ...failure }) => {
      const resources = new Map(runs.flatMap((run) => provenanceOf(run, this.now).resources.slice(0, 1)).map((r) => [`${r.type} ${r.id}`, r]));
      return { ...failure, resources: [...resources.values()] };
    });
  }

  /** Why a flow exists. `flow` must come from this engine. */
  provenance(flow: Flow): Provenance {
    if (!(flow instanceof OwnedFlow)) throw new TypeError("the flow is not of this engine");
    return provenanceOf((flow as OwnedFlow<Run>).owner, this.now);
  }

  /** Who wants a flow: those of one owner have one provenance. `flow` must come from this engine. */
  ownerOf(flow: Flow): object {
    if (!(flow instanceof OwnedFlow)) throw new TypeError("the flow is not of this engine");
    return (flow as OwnedFlow<Run>).owner;
  }

  /** What emitted it, also of one that is not desired any more. `flow` must come from this engine. */
  emitterOf(flow: Flow): { readonly app: string; readonly rule: string; readonly entity: string } {
    const { unit, entity } = this.ownerOf(flow) as Run;
    return { app: unit.app, rule: unit.name, entity: entity.id };
  }

  /** Keeps what was before each batch until its listeners are told, for `provenanceBefore`; until the function given back is called. */
  remember(): () => void {
    this.remembering++;
    let ended = false;
    return () => {
      if (!ended) this.remembering--;
      ended = true;
    };
  }

  /** Why a flow existed that the batch takes away which listeners are being told of. Without `remember` it is what is left of that. */
  provenanceBefore(flow: Flow): Provenance {
    if (!(flow instanceof OwnedFlow)) throw new TypeError("the flow is not of this engine");
    return provenanceOf((flow as OwnedFlow<Run>).owner, this.before ?? this.now);
  }

  /** A row as it was before that batch. */
  rowBefore(table: AnyTable, id: string): Row | undefined {
    return (this.before ?? this.now).row(table, id);
  }
}
