// The layout: table ids, their order and where packets go on, allocated from what the apps declare. Everything that shows a table's
// name or a register's derives from here; nobody writes a number. Every controller with the same apps gets the same layout, and one with
// other apps gets one in which what both have is at the same places.
import { core, CORE, ethType, sharedRegisters, stages, type App, type FlowAction, type FlowSpec, type PipelineDecl, type StageName, type TableDecl } from "#app";
import type { Action } from "node-openflow";
import { placeTables } from "./places.ts";
import { fingerprintOf, recordOf, type LayoutRecord } from "./record.ts";
import { allocateRegisters, toSubField, type Register } from "./registers.ts";

export type { Register } from "./registers.ts";

export interface PipelineTable extends TableDecl {
  readonly id: number;
  readonly name: string;
  readonly app: string;
  /** What may read and write `reg:` names here: shared ones and the app's own. */
  readonly registers: ReadonlySet<string>;
  /** What its flows may match. */
  readonly matches: ReadonlySet<string>;
}

/** What kind of packet a flow handles, as far as its match says. */
export type Family = "ip" | "ipv6" | "other" | "unknown";

/** How a packet goes on: to a table by goto_table, or by actions. */
export type Transition = number | readonly Action[];

/** The table-miss entry of a table, or one of them. */
export interface MissFlow {
  readonly spec: FlowSpec;
  readonly family: Family;
}

/** Stages that a packet enters only when a flow names them: no `next` and no stage before them leads there. */
const BY_NAME: ReadonlySet<StageName> = new Set(["ingress", "translate", "translate_out", "egress"]);
const rank = (stage: StageName): number => stages.findIndex((s) => s.name === stage);

export class Layout {
  readonly tables: readonly PipelineTable[];
  readonly registers: ReadonlyMap<string, Register>;
  private readonly byName = new Map<string, PipelineTable>();
  private readonly byId = new Map<number, PipelineTable>();
  private readonly pipelines = new Map<PipelineDecl, string>();
  private readonly requires = new Map<string, ReadonlySet<string>>();
  /** stage -> where a packet handed to it goes in; table id -> the next table for `next`. */
  private readonly entries = new Map<StageName, PipelineTable | undefined>();
  private readonly following: ReadonlyMap<number, PipelineTable | undefined>;
  /** Equal for layouts with the same tables and registers at the same places. */
  readonly fingerprint: string;

  /**
   * `kept`: what is there and here keeps its places, as far as orders allow.
   * @throws Error naming both apps when two declare the same table or register, when registers do not fit, or when orders contradict.
   */
  constructor(apps: readonly App[], kept?: LayoutRecord) {
    const owners = [{ name: CORE, pipeline: core as PipelineDecl }, ...apps.flatMap((a) => (a.pipeline === undefined ? [] : [{ name: a.name, pipeline: a.pipeline }]))];
    this.registers = allocateRegisters(owners.map(({ name, pipeline }) => ({ app: name, registers: pipeline.registers ?? {} })), kept?.registers);
    for (const { name, pipeline } of owners) this.pipelines.set(pipeline, name);
    for (const app of apps) this.requires.set(app.name, required(app, apps));
    const ordered: Omit<PipelineTable, "id">[] = [];
    const declared = new Map<string, string>();
    for (const stage of stages) {
      const ofStage: Omit<PipelineTable, "id">[] = [];
      for (const { name: app, pipeline } of owners) {
        const own = Object.keys(pipeline.registers ?? {});
        for (const [name, decl] of Object.entries(pipeline.tables)) {
          if (decl.stage !== stage.name) continue;
          const other = declared.get(name);
          if (other !== undefined) throw new Error(`table ${name} is declared by ${other} and by ${app}`);
          declared.set(name, app);
          ofStage.push({ ...decl, name, app, registers: new Set([...Object.keys(sharedRegisters), ...own]), matches: new Set(decl.match) });
        }
      }
      ordered.push(...inOrder(ofStage));
    }
    const ids = placeTables(ordered, kept);
    const tables = ordered.map((table, at): PipelineTable => ({ ...table, id: ids[at]! }));
    this.tables = tables;
    for (const table of tables) {
      this.byName.set(table.name, table);
      this.byId.set(table.id, table);
    }
    for (const stage of stages) {
      this.entries.set(stage.name, tables.find((t) => t.aside !== true && rank(t.stage) >= rank(stage.name) && (t.stage === stage.name || !BY_NAME.has(t.stage))));
    }
    this.following = new Map(tables.map((table) => [table.id, tables.find((t) => t.id > table.id && t.aside !== true && (t.stage === table.stage || !BY_NAME.has(t.stage)))]));
    this.fingerprint = fingerprintOf(recordOf(this));
  }

  table(name: string): PipelineTable {
    const table = this.byName.get(name);
    if (table === undefined) throw new Error(`no app declares a table ${name}`);
    return table;
  }

  tableById(id: number): PipelineTable | undefined {
    return this.byId.get(id);
  }

  /** Tables that `learn` actions fill. */
  get learnedTables(): ReadonlySet<number> {
    return new Set(this.tables.filter((t) => t.learned !== undefined).map((t) => t.id));
  }

  /** @throws Error when rules of `app` may not emit into the pipeline: it is not the app's own, the core's, or of an app that it requires. */
  checkInto(app: string, pipeline: PipelineDecl): void {
    const owner = this.pipelines.get(pipeline);
    if (owner === undefined) throw new Error(`app ${app} emits into a pipeline that no app has`);
    this.checkReach(app, owner);
  }

  /** App that declared the pipeline. */
  ownerOf(pipeline: PipelineDecl): string | undefined {
    return this.pipelines.get(pipeline);
  }

  /** Likewise by the name of the owner. */
  checkReach(app: string, owner: string): void {
    if (owner !== app && owner !== CORE && this.requires.get(app)?.has(owner) !== true) throw new Error(`app ${app} emits into tables of ${owner}, which it does not require`);
  }

  /** First table of the stage, or of the next stage that has one; undefined: past the last, deliver. */
  entry(stage: StageName): PipelineTable | undefined {
    return this.entries.get(stage);
  }

  private stageAfter(stage: StageName): StageName | undefined {
    return stages.find((s) => rank(s.name) > rank(stage) && !BY_NAME.has(s.name))?.name;
  }

  private after(table: PipelineTable): PipelineTable | undefined {
    return this.following.get(table.id);
  }

  register(name: string): Register {
    const register = this.registers.get(name);
    if (register === undefined) throw new Error(`no app declares a register ${name}`);
    return register;
  }

  /** The table-miss entries of a table: none for "drop" (a switch drops), else on to the next. */
  missFlows(table: PipelineTable): MissFlow[] {
    if (table.miss === "drop") return [];
    const target = this.after(table);
    if (table.miss === "sibling" && target?.stage !== table.stage) return [];
    const flow = (priority: number, match: FlowSpec["match"], family: Family): MissFlow => ({ spec: { priority, match, actions: [{ type: "next" }] }, family });
    if (target?.conntrack !== true) return [flow(0, {}, "unknown")];
    return [flow(1, { eth_type: ethType.ip }, "ip"), flow(1, { eth_type: ethType.ipv6 }, "ipv6"), flow(0, {}, "other")];
  }

  /** Where an action leads that hands the packet on. @throws Error naming both tables when that way is not open */
  transition(table: PipelineTable, action: FlowAction & { readonly type: "next" | "stage" | "table" | "entrance" }, family: Family, last: boolean): Transition {
    switch (action.type) {
      case "next":
        return this.handOver(table, this.after(table), family, last);
      case "stage":
        return this.handOver(table, this.entry(action.stage), family, last);
      case "table":
        return this.handOver(table, this.ownTable(table, action.table), family, last);
      case "entrance":
        return this.handOver(table, this.entrance(table, action.table), family, last);
    }
  }

  /** A table that its app lets others hand packets to, by rows of theirs: they know it, it requires them. */
  private entrance(from: PipelineTable, name: string): PipelineTable {
    const table = this.table(name);
    // Into the core's open table every app says how its own packets come in.
    if (table.app !== from.app && from.app !== CORE && this.requires.get(table.app)?.has(from.app) !== true) {
      throw new Error(`table ${from.name} of ${from.app} hands packets to ${name} of ${table.app}, which does not require ${from.app}`);
    }
    return table;
  }

  /** Into a stage from outside of any table, as `toStage` leads there. */
  enter(stage: StageName, family: Family): readonly Action[] {
    const step = this.handOver({ name: "packet-out", id: -1 }, this.entry(stage), family, false);
    return typeof step === "number" ? [{ type: "resubmit", table: step }] : step;
  }

  private handOver(from: Pick<PipelineTable, "name" | "id">, target: PipelineTable | undefined, family: Family, last: boolean): Transition {
    if (target === undefined) return [{ type: "output_reg", src: toSubField(this.register("out_port")) }];
    if (target.conntrack === true) {
      if (family === "unknown") throw new Error(`a flow of table ${from.name} that goes on to ${target.name} must match eth_type: conntrack takes only IP`);
      if (family === "other") {
        const stage = this.stageAfter(target.stage);
        return this.handOver(from, stage === undefined ? undefined : this.entry(stage), family, last);
      }
      return [{ type: "ct", zone: toSubField(this.register("ct_zone")), table: target.id }];
    }
    return last && target.id > from.id ? target.id : [{ type: "resubmit", table: target.id }];
  }

  ownTable(from: PipelineTable, name: string): PipelineTable {
    const table = this.table(name);
    if (table.app !== from.app) throw new Error(`table ${from.name} of ${from.app} hands packets to ${name} of ${table.app}: go by stage`);
    return table;
  }

  /** A register that flows of the table may use. @throws Error naming both when it is another app's */
  registerFor(table: PipelineTable, name: string): Register {
    if (!table.registers.has(name)) throw new Error(`table ${table.name} of ${table.app} uses register ${name}, which is not shared and not its own`);
    return this.register(name);
  }
}

/** Everything that an app requires, at any distance. */
function required(app: App, apps: readonly App[]): ReadonlySet<string> {
  const all = new Set<string>();
  const queue = [...(app.requires ?? [])];
  for (const name of queue) {
    if (all.has(name)) continue;
    all.add(name);
    queue.push(...(apps.find((a) => a.name === name)?.requires ?? []));
  }
  return all;
}

/**
 * Tables of one stage as `before`, `after` and `last` say; where these say nothing, as apps and declarations come. @throws Error naming a circle
 */
function inOrder<T extends { readonly name: string } & Pick<TableDecl, "before" | "after" | "last">>(tables: readonly T[]): T[] {
  const earlier = new Map(tables.map((t) => [t.name, new Set<string>()]));
  for (const table of tables) {
    for (const name of table.after ?? []) if (earlier.has(name)) earlier.get(table.name)!.add(name);
    for (const name of table.before ?? []) earlier.get(name)?.add(table.name);
    if (table.last === true) for (const other of tables) if (other.last !== true) earlier.get(table.name)!.add(other.name);
  }
  const left = [...tables];
  const out: T[] = [];
  while (left.length > 0) {
    const at = left.findIndex((t) => [...earlier.get(t.name)!].every((name) => !left.some((l) => l.name === name)));
    if (at < 0) throw new Error(`tables ask to come before and after each other: ${left.map((t) => t.name).join(", ")}`);
    out.push(...left.splice(at, 1));
  }
  return out;
}

/** What a flow's match says of the packet. */
export function familyOf(match: FlowSpec["match"]): Family {
  const type = match.eth_type;
  if (type === undefined) return "unknown";
  return type === ethType.ip ? "ip" : type === ethType.ipv6 ? "ipv6" : "other";
}
