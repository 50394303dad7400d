// The flow dump: desired flows with why they exist, what a switch really has, and the difference of the two.
import { decodeInstructions, decodeMatch, FLOW_MOD_MATCH_OFFSET, formatInstructions, formatMatch, OpenFlowError, type FlowStatsView } from "node-openflow";
import type { AnyTable, App, Table } from "#app";
import type { Delta, Flow } from "../compiler/desired.ts";
import type { Engine } from "../compiler/engine.ts";
import type { Model } from "../model/model.ts";
import type { View } from "../model/view.ts";
import type { Layout } from "../pipeline/layout.ts";
import type { Southbound } from "../southbound/index.ts";
import { BadQuery, SwitchSilent } from "./server.ts";
import { flowLine, type FlowEvent, type FlowQuery, type FlowRecord, type FlowResource, type FlowState } from "./flows.ts";

export interface FlowDumpParts {
  readonly apps: readonly App[];
  /** Every table, also derived ones. */
  readonly tables: readonly AnyTable[];
  readonly view: View;
  readonly engine: Engine;
  readonly layout: Layout;
  readonly model: Model;
  readonly southbound: Southbound;
}

interface Counts {
  readonly packet_count: number;
  readonly byte_count: number;
}

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

export class FlowDump {
  private readonly parts: FlowDumpParts;
  private readonly listeners = new Set<(event: FlowEvent) => void>();

  constructor(parts: FlowDumpParts) {
    this.parts = parts;
    parts.engine.onDelta((delta) => this.tell(delta));
  }

  onEvent(listener: (event: FlowEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** A superset of what the query asks for, switch by switch; "installed", "diff" and counters ask the switches. */
  flows(query: FlowQuery): AsyncIterable<FlowRecord> {
    return this.select(query, query.table === undefined ? undefined : this.tableId(query.table));
  }

  /** @throws BadQuery for a table, an app or a resource that there is not */
  check({ table, app, resource, at, state = "desired" }: FlowQuery): void {
    if (table !== undefined) {
      const id = this.tableId(table);
      // Foreign flows may be in tables that are nobody's here.
      if (id > 254 || (state === "desired" && this.parts.layout.tableById(id) === undefined)) throw new BadQuery("table", `there is no table '${table.slice(0, 64)}'`);
    }
    const { apps, tables, view } = this.parts;
    if (app !== undefined && !apps.some((one) => one.name === app)) throw new BadQuery("app", `there is no app '${app.slice(0, 64)}'; there are ${apps.map((one) => one.name).join(", ")}`);
    if (resource === undefined || at !== undefined || tables.some((one: Table) => one.resource !== undefined && view.get(one, resource) !== undefined)) return;
    throw new BadQuery("resource", `there is no API resource '${resource.slice(0, 64)}', and no flow because of one`);
  }

  /** 255: no name of a table, and no number that one can have. */
  private tableId(table: string): number {
    return this.parts.layout.tables.find((t) => t.name === table)?.id ?? (/^\d{1,3}$/.test(table) ? Number(table) : 255);
  }

  private async *select(query: FlowQuery, table: number | undefined): AsyncIterable<FlowRecord> {
    const state = query.state ?? "desired";
    for (const { id } of this.parts.southbound.switches()) {
      if (query.switch !== undefined && query.switch !== id) continue;
      const installed = state === "desired" && !query.stats ? undefined : await this.installed(id);
      yield* this.ofSwitch(id, state, table, installed);
    }
  }

  /** What a switch should have, while rows of an earlier generation are in their places. */
  *desiredAt(id: string, generation: number, table: string | undefined): Iterable<FlowRecord> {
    const number = table === undefined ? undefined : this.tableId(table);
    for (const flow of this.parts.engine.flowsOf(id)) if (number === undefined || flow.table === number) yield this.record(id, flow, "desired", undefined, generation);
  }

  private *ofSwitch(id: string, state: "desired" | "installed" | "diff", table: number | undefined, installed: Installed | undefined): Iterable<FlowRecord> {
    const quarantined = new Set(this.parts.southbound.quarantined(id).map((r) => r.flow.key));
    for (const flow of this.parts.engine.flowsOf(id)) {
      if (table !== undefined && flow.table !== table) continue;
      const counts = installed?.same.get(flow.key);
      const changed = installed?.changed.get(flow.key);
      if (quarantined.has(flow.key)) yield this.record(id, flow, "quarantined", counts);
      else if (state === "desired") yield this.record(id, flow, "desired", counts);
      else if (state === "installed" && counts !== undefined) yield this.record(id, flow, "installed", counts);
      else if (state === "diff" && counts === undefined) yield this.record(id, flow, "missing", undefined);
      if (changed !== undefined && state !== "desired") yield changed;
    }
    if (state === "desired") return;
    for (const record of installed?.foreign ?? []) {
      // What a switch may learn is no difference.
      if (state === "diff" && record.state === "learned") continue;
      if (table === undefined || record.table_id === table) yield record;
    }
  }

  /** What would have to be done to a switch, which is asked for its flows. */
  async differences(id: string): Promise<Differences> {
    const changed: { before: FlowRecord; after: FlowRecord }[] = [];
    const removed: FlowRecord[] = [];
    const missing = await this.parts.southbound.compareInstalled(id, (entry, flow, same) => {
      if (same) return;
      if (flow === undefined) removed.push(this.foreign(id, entry));
      else changed.push({ before: this.foreign(id, entry), after: this.record(id, flow, "desired", undefined) });
    });
    return { added: missing.map((flow) => this.record(id, flow, "missing", undefined)), changed, removed };
  }

  private async installed(id: string): Promise<Installed> {
    const out: Installed = { same: new Map(), changed: new Map(), foreign: [] };
    const seen: Parameters<Southbound["compareInstalled"]>[1] = (entry, flow, same) => {
      if (flow === undefined) out.foreign.push(same ? this.learned(id, entry) : this.foreign(id, entry));
      else if (same) out.same.set(flow.key, { packet_count: entry.packet_count, byte_count: entry.byte_count });
      else out.changed.set(flow.key, this.foreign(id, entry));
    };
    try {
      await this.parts.southbound.compareInstalled(id, seen);
    } catch (error) {
      if (error instanceof OpenFlowError) throw new SwitchSilent(id, error.message);
      throw error;
    }
    return out;
  }

  /** `until`: what changed rows later is not their cause. */
  private record(id: string, flow: Flow, state: FlowState, counts: Counts | undefined, until = Infinity): FlowRecord {
    const { engine, layout, model } = this.parts;
    const why = engine.provenance(flow);
    const resources = why.resources.map(({ type, table, id: row }): FlowResource => {
      const last = model.lastChange(table, row);
      return { type, id: row, ...(last === undefined || last.generation > until ? {} : { call: last.cause.call, generation: last.generation }) };
    });
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
      packet_count: entry.packet_count,
      byte_count: entry.byte_count,
    };
  }

  /** What the switch made by itself: whose flow learned it, its cookie says. */
  private learned(id: string, entry: FlowStatsView): FlowRecord {
    const table = this.parts.layout.tableById(entry.table_id);
    return { ...this.foreign(id, entry), app: table?.app ?? "", about: `learned by the switch, ages by itself: ${table?.about ?? ""}`, state: "learned" };
  }

  private tell(delta: Delta): void {
    if (this.listeners.size === 0) return;
    for (const [id, d] of delta.chassis) {
      for (const [event, flows] of [["added", d.add], ["removed", d.remove]] as const) {
        for (const flow of flows) {
          const record = this.record(id, flow, "desired", undefined);
          const what = event === "added" && d.changed.has(flow) ? "changed" : event;
          for (const listener of this.listeners) listener({ event: what, generation: delta.generation, flow: record });
        }
      }
    }
  }
}

/** A desired flow as a line of a dump, without counters. */
export function lineOf(flow: Flow): string {
  return flowLine({ ...wordsOf(flow), table_id: flow.table, priority: flow.priority, cookie: cookieText(flow.cookieHi, flow.cookieLo) });
}

/** Match and actions. */
function wordsOf(flow: Flow): { readonly match: string; readonly actions: string } {
  const matchAt = flow.off + FLOW_MOD_MATCH_OFFSET;
  return {
    match: formatMatch(decodeMatch(flow.slab, matchAt)),
    actions: formatInstructions(decodeInstructions(flow.slab, matchAt + flow.matchLen, flow.len - FLOW_MOD_MATCH_OFFSET - flow.matchLen)),
  };
}

const cookieText = (hi: number, lo: number): string => `0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}`;
