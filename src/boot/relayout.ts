// A switch whose flows were made under an earlier layout of tables and registers: which of its flows with effects are withdrawn, told by
// names. One that only moved is none.
import { decodeMatch, eachFlowStats, FLOW_MOD_MATCH_OFFSET, flowKey, MAX_MESSAGE } from "node-openflow";
import type { App, FlowSpec } from "#app";
import { cookieOf, hash32, staticEntity, staticRule } from "../lib/cookies.ts";
import { FlowWriter } from "../pipeline/flow-writer.ts";
import type { Layout } from "../pipeline/layout.ts";
import { LayoutNames, recordOf } from "../pipeline/record.ts";
import { FLOWS_A_STEP } from "../southbound/openflow/turns.ts";
import { GOING_HI, GOING_LO, type FlowBytes, type Relayout } from "../southbound/openflow/withdrawal.ts";

type Flow = Relayout["withdrawn"][number]["flow"];

export class Relayouts {
  private readonly layout: Layout;
  private readonly now: LayoutNames;
  private readonly earlier: readonly LayoutNames[];
  private readonly cookies = new Map<string, LayoutNames>();
  private readonly writer: FlowWriter;
  /** Tables whose flows have effects when they go -> high cookies of what is theirs. */
  private readonly tables: ReadonlyMap<string, ReadonlySet<number>>;

  constructor(apps: readonly App[], layout: Layout, earlier: readonly string[]) {
    this.layout = layout;
    this.now = new LayoutNames(recordOf(layout));
    this.earlier = earlier.flatMap((text) => LayoutNames.parse(text) ?? []);
    for (const names of [...this.earlier, this.now]) {
      for (const app of new Set(names.record.tables.map((t) => t.app))) this.cookies.set(`${cookieOf(staticRule(app))} ${hash32(staticEntity(app, names.fingerprint))}`, names);
    }
    this.writer = new FlowWriter(layout);
    const cookies = (app: App): ReadonlySet<number> => new Set([GOING_HI, ...[...(app.rules ?? []).map((r) => `${app.name}/${r.name}`), staticRule(app.name)].map(cookieOf)]);
    this.tables = new Map(apps.flatMap((app) => Object.entries(app.effects ?? {}).flatMap(([table, e]) => (e.withdrawn === undefined ? [] : [[table, cookies(app)] as const]))));
  }

  /** undefined: the switch has nothing of an earlier layout. `parts`: OFPMP_FLOW replies, each of which is a step: a switch may show any number. */
  *of(parts: readonly Buffer[], desired: Iterable<Flow>): Generator<void, Relayout | undefined> {
    const then = this.earlier.length === 0 ? undefined : yield* this.layoutOf(parts);
    if (then === undefined) return undefined;
    if (this.tables.size === 0) return { withdrawn: [] };
    const wanted = new Map<string, { readonly flow: Flow; readonly does: string }>();
    // All of one moment.
    let n = 0;
    for (const flow of Array.from(desired)) {
      if (++n % FLOWS_A_STEP === 0) yield;
      if (!this.tables.has(this.now.tableName(flow.table) ?? "")) continue;
      const at = flow.off + FLOW_MOD_MATCH_OFFSET;
      const name = matchText(this.now, flow.table, flow.priority, flow.slab, at);
      if (name !== undefined) wanted.set(name, { flow, does: this.now.instructions(flow.table, flow.slab, at + flow.matchLen, flow.off + flow.len - at - flow.matchLen) });
    }
    const withdrawn: { flow: Flow; wanted: Flow | undefined }[] = [];
    for (const part of parts) {
      yield;
      eachFlowStats(part, (entry) => {
        const { table_id: id, priority, buf, match_off: at } = entry;
        const table = then.tableName(id);
        if (table === undefined || this.tables.get(table)?.has(entry.cookie_hi) !== true) return;
        const name = matchText(then, id, priority, buf, at);
        if (name === undefined) return;
        const same = wanted.get(name);
        if (same !== undefined && same.does === then.instructions(id, buf, entry.instructions_off, entry.instructions_len)) return;
        const flow = this.made(table, { priority, match: then.match(id, decodeMatch(buf, at)) as FlowSpec["match"], actions: [] });
        if (flow !== undefined) withdrawn.push({ flow, wanted: same?.flow });
      });
    }
    return { withdrawn };
  }

  /** By the entries that every table of an app has: their cookies name the layout. The first tells: one bundle brings all of a layout. */
  private *layoutOf(parts: readonly Buffer[]): Generator<void, LayoutNames | undefined> {
    let found: LayoutNames | undefined;
    for (const part of parts) {
      if (found !== undefined) break;
      yield;
      eachFlowStats(part, ({ cookie_hi, cookie_lo }) => {
        found ??= this.cookies.get(`${cookie_hi} ${cookie_lo}`);
      });
    }
    return found === this.now ? undefined : found;
  }

  /** The flow as it would be now, doing nothing. undefined: the table does not match this any more. */
  private made(name: string, spec: FlowSpec): Flow | undefined {
    const table = this.layout.table(name);
    const slab = Buffer.alloc(MAX_MESSAGE + 1);
    try {
      const len = this.writer.write(slab, 0, table, spec, GOING_HI, GOING_LO);
      const matchLen = len - FLOW_MOD_MATCH_OFFSET;
      const { priority } = spec;
      return { table: table.id, priority, cookieHi: GOING_HI, cookieLo: GOING_LO, slab: Buffer.from(slab.subarray(0, len)), off: 0, len, matchLen, key: flowKey(table.id, priority, slab, FLOW_MOD_MATCH_OFFSET, matchLen) };
    } catch {
      return undefined;
    }
  }
}

function matchText(names: LayoutNames, table: number, priority: FlowBytes["priority"], buf: Buffer, at: number): string | undefined {
  const match = names.match(table, decodeMatch(buf, at));
  return match === undefined ? undefined : `${names.tableName(table)!} ${priority} ${JSON.stringify(Object.entries(match).sort(([a], [b]) => (a < b ? -1 : 1)), (_, v: unknown) => (typeof v === "bigint" ? v.toString() : v))}`;
}
