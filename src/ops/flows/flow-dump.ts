// The flow dump: desired flows with why they exist, what a switch really has, and the difference of the two.
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch, OpenFlowError, type FlowStatsView } from "node-openflow";
import type { AnyTable, App, Clock } from "#app";
import type { Delta, Flow } from "../../compiler/desired.ts";
import type { Engine, Provenance } from "../../compiler/engine.ts";
import type { Model } from "../../model/model.ts";
import { learnedCookie } from "../../lib/cookies.ts";
import type { View } from "../../model/view.ts";
import type { Layout } from "../../pipeline/layout.ts";
import type { Questions, Southbound } from "../../southbound/index.ts";
import { SeededRandom } from "../../lib/random.ts";
import { spread, type Pace, type Stepwise } from "../../lib/turns/stepwise.ts";
import { Names } from "./names.ts";
import { DumpText } from "./print/dump-text.ts";
import type { Counts } from "./print/forms.ts";
import type { SwitchFlows } from "./print/pass.ts";
import { Named, pastOf } from "../named.ts";
import { BadQuery, SwitchSilent } from "../server.ts";
import { flowLine, type FlowEvent, type FlowQuery, type FlowRecord, type FlowResource, type FlowState } from "./flows.ts";

export interface FlowDumpParts {
  readonly apps: readonly App[];
  /** Every table, also derived ones. */
  readonly tables: readonly AnyTable[];
  readonly view: View;
  readonly engine: Engine;
  readonly layout: Layout;
  readonly model: Model;
  readonly southbound: { readonly questions: Pick<Questions, "compareInstalled"> } & Pick<Southbound, "quarantined"> & { switches(): readonly { readonly id: string }[] };
  readonly clock: Clock;
}

const WANTED = { state: "desired", counts: undefined } as const;

/** ms in which the flows of a switch are listed. */
const PACE: Pace = { slice: 4, rest: 0 };

/** What one switch said of its flows. */
interface Installed {
  /** Desired flows it has, as desired. */
  readonly same: Map<string, Counts>;
  /** Desired flows it has otherwise. */
  readonly changed: Map<string, FlowRecord>;
  readonly foreign: FlowRecord[];
}

export interface Differences {
  readonly added: readonly FlowRecord[];
  readonly changed: readonly { readonly before: FlowRecord; readonly after: FlowRecord }[];
  readonly removed: readonly FlowRecord[];
}

/** What rows of resources have, as a rule. */
interface NamedRow {
  readonly name?: unknown;
  readonly project_id?: unknown;
}

export class FlowDump {
  private readonly parts: FlowDumpParts;
  private readonly tables: ReadonlyMap<string, AnyTable>;
  private readonly names: Names;
  readonly text: DumpText;
  private readonly listeners = new Set<(event: FlowEvent) => void>();

  constructor(parts: FlowDumpParts) {
    this.parts = parts;
    this.tables = new Map(parts.tables.map((table) => [table.name, table]));
    this.names = new Names({ layout: parts.layout, view: parts.view, tables: parts.tables, desired: parts.engine });
    this.text = this.written();
    parts.engine.onDelta((delta) => this.tell(delta));
  }

  private written(): DumpText {
    const { parts: { engine, layout, model, clock }, names } = this;
    const random = new SeededRandom(1);
    return new DumpText({
      switches: (query) => this.switches(query),
      tableName: (number) => layout.tableById(number)?.name ?? String(number),
      ports: (id) => names.ports(id),
      ownerOf: (flow) => engine.ownerOf(flow),
      provenance: (flow) => engine.provenance(flow),
      resource: (one) => this.resource(one),
      instant: () => `${engine.generation} ${model.generation}`,
      record: (id, flow, state, counts) => this.record(id, flow, state, counts),
      named: (record, ports) => this.named(record, ports),
      words: (flow, app, ports) => {
        const { match, actions } = wordsAt(flow, 0, flow.length);
        return [match, actions, names.match(match, app, ports), names.actions(actions, app, ports)];
      },
      matchOf: (flow) => wordsOf(flow).match,
      slicesOf: (app) => names.slicesOf(app),
      now: () => clock.monotonic(),
      random: () => random.next(),
    });
  }

  onEvent(listener: (event: FlowEvent) => void): () => void {
    // A second subscription of one function would end the first.
    const own = (event: FlowEvent): void => listener(event);
    const forget = this.parts.engine.remember();
    this.listeners.add(own);
    return () => {
      forget();
      this.listeners.delete(own);
    };
  }

  /** A superset of what the query asks for, switch by switch; "installed", "diff" and counters ask the switches. */
  flows(query: FlowQuery): AsyncIterable<FlowRecord> {
    return this.select(query, query.table === undefined ? undefined : this.tableId(query.table));
  }

  /** The same with the id of a resource for its name. @throws BadQuery for a table, an app or a resource that there is not, and a name that several have */
  check(query: FlowQuery): FlowQuery {
    const { table, app, resource, at, state = "desired" } = query;
    if (table !== undefined) {
      const id = this.tableId(table);
      // Foreign flows may be in tables that are nobody's here.
      if (id > 254 || (state === "desired" && this.parts.layout.tableById(id) === undefined)) throw new BadQuery("table", `there is no table '${table.slice(0, 64)}'; there are ${this.parts.layout.tables.map((one) => one.name).join(", ")}`);
    }
    const { apps, tables, view } = this.parts;
    if (app !== undefined && !apps.some((one) => one.name === app)) throw new BadQuery("app", `there is no app '${app.slice(0, 64)}'; there are ${apps.map((one) => one.name).join(", ")}`);
    if (resource === undefined) return query;
    const id = new Named(tables, view).idOf("resource", resource);
    // Of the past there may be flows of what was deleted.
    if (id === undefined && at === undefined) throw new BadQuery("resource", `there is no API resource '${resource.slice(0, 64)}', and no flow because of one${pastOf(resource)}`);
    return id === undefined ? query : { ...query, resource: id };
  }

  /** 255: no name of a table, and no number that one can have. */
  private tableId(table: string): number {
    return this.parts.layout.tables.find((t) => t.name === table)?.id ?? (/^\d{1,3}$/.test(table) ? Number(table) : 255);
  }

  /** The same as text, without records: what of it matches the query. Each part is good until the next is asked for. */
  bytes(query: FlowQuery, format: "json" | "text"): AsyncIterable<Uint8Array> {
    return this.text.bytes(query, format);
  }

  private async *select(query: FlowQuery, table: number | undefined): AsyncIterable<FlowRecord> {
    for await (const one of this.switches(query)) {
      const records = this.ofSwitch(one, table);
      if (query.raw === true) yield* records;
      else yield* this.namedAll(one.id, records);
    }
  }

  private async *switches(query: FlowQuery): AsyncIterable<SwitchFlows> {
    const state = query.state ?? "desired";
    for (const { id } of this.parts.southbound.switches()) {
      if (query.switch !== undefined && query.switch !== id) continue;
      const installed = state === "desired" && !query.stats ? undefined : await this.installed(id, query.rate);
      yield this.ofOne(id, await spread(this.parts.engine.flowsInSteps(id), PACE), state, installed);
    }
  }

  /**
   * What switches should have had at an earlier generation, which an engine has compiled: as `bytes` has it with numbers alone, whole, in steps.
   * @throws TooManyFlows when there are more than `most`
   */
  wholeAt(ids: readonly string[], generation: number, query: FlowQuery, format: "json" | "text", { engine, most }: { readonly engine: Engine; readonly most: number }): Stepwise<readonly Uint8Array[]> {
    const then = { until: generation, engine };
    return this.text.whole(query, format, {
      most,
      told: {
        ownerOf: (flow) => engine.ownerOf(flow),
        provenance: (flow) => engine.provenance(flow),
        resource: (one) => this.resource(one, generation, engine),
        record: (id, flow, state, counts) => this.record(id, flow, state, counts, then),
      },
      switches: ids.map(function* (id): Stepwise<SwitchFlows> {
        return { id, flows: yield* engine.flowsInSteps(id), shown: () => WANTED, instead: () => undefined, besides: [] };
      }),
    });
  }

  private *namedAll(id: string, records: Iterable<FlowRecord>): Iterable<FlowRecord> {
    const ports = this.names.ports(id);
    for (const record of records) yield this.named(record, ports);
  }

  private named(record: FlowRecord, ports: ReadonlyMap<number, string>): FlowRecord {
    const { names } = this;
    return { ...record, match_named: names.match(record.match, record.app, ports), actions_named: names.actions(record.actions, record.app, ports) };
  }

  private ofOne(id: string, flows: readonly Flow[], state: "desired" | "installed" | "diff", installed: Installed | undefined): SwitchFlows {
    const quarantined = new Set(this.parts.southbound.quarantined(id).map((r) => r.flow.key));
    return {
      id,
      flows,
      shown: (flow) => {
        if (installed === undefined && quarantined.size === 0) return WANTED;
        const counts = installed?.same.get(flow.key);
        if (quarantined.size > 0 && quarantined.has(flow.key)) return { state: "quarantined", counts };
        if (state === "desired") return { state, counts };
        if (state === "installed") return counts === undefined ? undefined : { state, counts };
        return counts === undefined ? { state: "missing", counts } : undefined;
      },
      instead: (flow) => (state === "desired" ? undefined : installed?.changed.get(flow.key)),
      // What a switch may learn is no difference.
      besides: state === "desired" ? [] : (installed?.foreign ?? []).filter((record) => state === "installed" || record.state !== "learned"),
    };
  }

  private *ofSwitch({ id, flows, shown, instead, besides }: SwitchFlows, table: number | undefined): Iterable<FlowRecord> {
    for (const flow of flows) {
      if (table !== undefined && flow.table !== table) continue;
      const how = shown(flow);
      if (how !== undefined) yield this.record(id, flow, how.state, how.counts);
      const other = instead(flow);
      if (other !== undefined) yield other;
    }
    for (const record of besides) if (table === undefined || record.table_id === table) yield record;
  }

  /** What would have to be done to a switch, which is asked for its flows. */
  async differences(id: string): Promise<Differences> {
    const changed: { before: FlowRecord; after: FlowRecord }[] = [];
    const removed: FlowRecord[] = [];
    const missing = await this.parts.southbound.questions.compareInstalled(id, (entry, flow, same) => {
      if (same) return;
      if (flow === undefined) removed.push(this.foreign(id, entry));
      else changed.push({ before: this.foreign(id, entry), after: this.record(id, flow, "desired", undefined) });
    });
    return { added: missing.map((flow) => this.record(id, flow, "missing", undefined)), changed, removed };
  }

  /** `rate`: counted again after so many seconds. @throws SwitchSilent */
  private async installed(id: string, rate?: number): Promise<Installed> {
    const first = await this.installedNow(id);
    if (rate === undefined) return first;
    const { clock } = this.parts;
    await new Promise<void>((done) => void clock.setTimeout(done, rate * 1000));
    const last = await this.installedNow(id);
    for (const [key, now] of last.same) {
      const before = first.same.get(key);
      // One that is younger than the first count began at zero.
      const fresh = before === undefined || now.duration_s < before.duration_s;
      const seconds = fresh ? now.duration_s : now.duration_s - before.duration_s;
      if (seconds <= 0) continue;
      const per = (n: number): number => Math.round((n / seconds) * 1000) / 1000;
      last.same.set(key, { ...now, packets_per_s: per(now.packet_count - (fresh ? 0 : before.packet_count)), bytes_per_s: per(now.byte_count - (fresh ? 0 : before.byte_count)) });
    }
    return last;
  }

  private async installedNow(id: string): Promise<Installed> {
    const out: Installed = { same: new Map(), changed: new Map(), foreign: [] };
    const teacher = this.teachers(id);
    const seen: Parameters<Questions["compareInstalled"]>[1] = (entry, flow, same) => {
      if (flow === undefined) out.foreign.push(same ? this.learned(id, entry, teacher(cookieText(entry.cookie_hi, entry.cookie_lo))) : this.foreign(id, entry));
      else if (same) out.same.set(flow.key, countsOf(entry));
      else out.changed.set(flow.key, this.foreign(id, entry));
    };
    try {
      await this.parts.southbound.questions.compareInstalled(id, seen);
    } catch (error) {
      if (error instanceof OpenFlowError) throw new SwitchSilent(id, error.message);
      throw error;
    }
    return out;
  }

  /** `until`: what changed rows later is not their cause. */
  private resource({ type, table: name, id }: Provenance["resources"][number], until = Infinity, engine = this.parts.engine): FlowResource {
    const { model } = this.parts;
    const table = this.tables.get(name);
    const row = table === undefined ? undefined : (engine.rowBefore(table, id) as NamedRow | undefined);
    const last = model.lastChange(name, id) ?? model.removal(name, id);
    return {
      type,
      id,
      ...(typeof row?.name === "string" && row.name !== "" && { name: row.name }),
      ...(typeof row?.project_id === "string" && row.project_id !== "" && { project: row.project_id }),
      ...(last !== undefined && last.generation <= until && { call: last.cause.call, generation: last.generation }),
    };
  }

  /** `removed`: by the batch that listeners are being told of. */
  private record(id: string, flow: Flow, state: FlowState, counts: Counts | undefined, { removed = false, until = Infinity, engine = this.parts.engine } = {}): FlowRecord {
    const { layout } = this.parts;
    const why = removed ? engine.provenanceBefore(flow) : engine.provenance(flow);
    const resources = why.resources.map((one) => this.resource(one, until, engine));
    return {
      switch: id,
      table_id: flow.table,
      table: layout.tableById(flow.table)?.name ?? String(flow.table),
      priority: flow.priority,
      ...wordsOf(flow),
      cookie: cookieText(flow.cookieHi, flow.cookieLo),
      app: why.app,
      rule: why.rule,
      about: why.about,
      resources,
      ...(why.static && { static: true }),
      state,
      ...counts,
    };
  }

  private foreign(id: string, entry: FlowStatsView): FlowRecord {
    return {
      switch: id,
      table_id: entry.table_id,
      table: this.parts.layout.tableById(entry.table_id)?.name ?? String(entry.table_id),
      priority: entry.priority,
      match: formatMatch(decodeMatch(entry.buf, entry.match_off)),
      actions: formatInstructions(decodeInstructions(entry.buf, entry.instructions_off, entry.instructions_len)),
      cookie: cookieText(entry.cookie_hi, entry.cookie_lo),
      app: "",
      rule: "",
      about: "not as this controller wants it; the next audit repairs it",
      resources: [],
      state: "foreign",
      ...(entry.idle_timeout > 0 && { idle_timeout: entry.idle_timeout }),
      ...(entry.hard_timeout > 0 && { hard_timeout: entry.hard_timeout }),
      ...countsOf(entry),
    };
  }

  /** What the switch made by itself: whose flow learned it, its cookie says. */
  private learned(id: string, entry: FlowStatsView, teacher: Flow | undefined): FlowRecord {
    const { engine, layout } = this.parts;
    const table = layout.tableById(entry.table_id);
    const why = teacher === undefined ? undefined : engine.provenance(teacher);
    return {
      ...this.foreign(id, entry),
      app: why?.app ?? table?.app ?? "",
      rule: why?.rule ?? "",
      about: `learned by the switch, ages by itself: ${table?.about ?? ""}`,
      resources: why?.resources.map((one) => this.resource(one)) ?? [],
      ...(why?.static === true && { static: true }),
      state: "learned",
    };
  }

  /** Flows of a switch by the cookie that what they learn would have. */
  private teachers(id: string): (cookie: string) => Flow | undefined {
    let known: Map<string, Flow> | undefined;
    return (cookie) => {
      if (known === undefined) {
        known = new Map();
        for (const flow of this.parts.engine.flowsOf(id)) known.set(`0x${learnedCookie((BigInt(flow.cookieHi) << 32n) | BigInt(flow.cookieLo)).toString(16)}`, flow);
      }
      return known.get(cookie);
    };
  }

  private tell(delta: Delta): void {
    if (this.listeners.size === 0) return;
    for (const [id, d] of delta.chassis) {
      let ports: ReadonlyMap<number, string> | undefined;
      for (const [event, flows] of [["added", d.add], ["removed", d.remove]] as const) {
        for (const flow of flows) {
          const record = this.record(id, flow, "desired", undefined, { removed: event === "removed" });
          ports ??= this.names.ports(id);
          const named = { ...record, match_named: this.names.match(record.match, record.app, ports), actions_named: this.names.actions(record.actions, record.app, ports) };
          const what = event === "added" && d.changed.has(flow) ? "changed" : event;
          for (const listener of this.listeners) listener({ event: what, generation: delta.generation, flow: named });
        }
      }
    }
  }
}

/** A desired flow as a line of a dump, without counters. */
export function lineOf(flow: Flow): string {
  return flowLine({ ...wordsOf(flow), table_id: flow.table, priority: flow.priority, cookie: cookieText(flow.cookieHi, flow.cookieLo) });
}

/** The same of a whole OFPT_FLOW_MOD (OpenFlow 1.3.5, section 7.3.4.1). */
export function lineOfMessage(message: Buffer): string {
  const cookie = cookieText(message.readUInt32BE(8), message.readUInt32BE(12));
  return flowLine({ ...wordsAt(message, 0, message.length), table_id: message.readUInt8(24), priority: message.readUInt16BE(30), cookie });
}

const wordsOf = ({ slab, off, len }: Flow): { readonly match: string; readonly actions: string } => wordsAt(slab, off, len);

/** Match and actions of a whole OFPT_FLOW_MOD. */
function wordsAt(slab: Buffer, off: number, len: number): { readonly match: string; readonly actions: string } {
  const matchAt = off + FLOW_MOD_MATCH_OFFSET;
  const matchLen = (slab.readUInt16BE(matchAt + 2) + 7) & ~7;
  return {
    match: formatMatch(decodeMatch(slab, matchAt)),
    actions: formatInstructions(decodeInstructions(slab, matchAt + matchLen, len - FLOW_MOD_MATCH_OFFSET - matchLen)),
  };
}

const countsOf = ({ packet_count, byte_count, duration_sec, duration_nsec }: FlowStatsView): Counts => ({ packet_count, byte_count, duration_s: duration_sec + Math.round(duration_nsec / 1e6) / 1000 });

const cookieText = (hi: number, lo: number): string => `0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}`;
