// What an app puts out, in the terms of a switch: flows as bytes, groups with lowered actions, what all apps say of a port. And what an
// app may not put out: into tables of another that it does not require, into tables that the switch fills.
import type { App, Entrance, FlowAction, FlowSpec, Items, OvsRowOf, PipelineDecl, PortActions, PortPlace, ReadView, Shape, StageName } from "#app";
import { encodeMessage, formatSubField } from "node-openflow";
import type { Family, Layout, PipelineTable } from "../pipeline/layout.ts";
import type { Lowering } from "../pipeline/lowering.ts";
import type { LoweredGroup } from "./desired.ts";
import type { FlowEncoder, FlowScope, OwnedFlow } from "./flows/flows.ts";
import type { Run } from "./runs.ts";
import type { ScopeFlows } from "./flows/scope-flows.ts";

export class Emission {
  /** Pipeline of the app whose exported function is emitting; undefined: the rule itself is. */
  owner: PipelineDecl | undefined;
  private readonly apps: readonly App[];
  private readonly layout: Layout;
  private readonly lowering: Lowering;
  private readonly encoder: FlowEncoder;
  private readonly flows: ScopeFlows<Run>;

  constructor(apps: readonly App[], layout: Layout, lowering: Lowering, encoder: FlowEncoder, flows: ScopeFlows<Run>) {
    this.apps = apps;
    this.layout = layout;
    this.lowering = lowering;
    this.encoder = encoder;
    this.flows = flows;
  }

  /** @throws Error naming table and rule, or what it says that the pipeline cannot do */
  encode(run: Run, scope: FlowScope, name: string, spec: FlowSpec, family: Family | undefined, cookieLo: number, before: readonly OwnedFlow<Run>[]): OwnedFlow<Run> {
    return this.encoder.encode(run, scope, this.table(run, name, family !== undefined), spec, family, run.unit.cookieHi, cookieLo, before);
  }

  /** @throws the same, and Error naming shape and value when the shape is no shape */
  encodeShape(run: Run, scope: FlowScope, shape: Shape, value: unknown, cookieLo: number, before: readonly OwnedFlow<Run>[]): OwnedFlow<Run> {
    return this.encoder.encodeShape(run, scope, this.table(run, shape.table), shape, value, run.unit.cookieHi, cookieLo, before);
  }

  /** Number of a table that the run may emit into, or that the switch fills for its app. @throws Error naming table and rule */
  number(run: Run, name: string): number {
    return this.reached(run, name).id;
  }

  /** What a switch is told of a table: registers by which it groups flows are declared names to a rule. @throws Error naming table and register */
  flowTable(run: Run, name: string, columns: OvsRowOf<"Flow_Table">): OvsRowOf<"Flow_Table"> {
    const { groups } = columns;
    if (groups?.some((field) => field.startsWith("reg:")) !== true) return columns;
    const table = this.reached(run, name);
    return { ...columns, groups: groups.map((field) => (field.startsWith("reg:") ? formatSubField(this.layout.registerFor(table, field.slice(4))) : field)) };
  }

  /** `miss`: for the table-miss entry, which a table that the switch fills has as any other. */
  private table(run: Run, name: string, miss = false): PipelineTable {
    const table = this.reached(run, name);
    if (table.learned !== undefined && !miss) throw new Error(`rule ${run.unit.name} of ${run.unit.app} emits into ${name}, which the switch fills`);
    return table;
  }

  private reached(run: Run, name: string): PipelineTable {
    const table = this.layout.table(name);
    if (table.app !== run.unit.app && !this.mayEnter(run.unit.app, table)) {
      throw new Error(`rule ${run.unit.name} of ${run.unit.app} emits into ${name} of ${table.app}, which is not open: that app's functions do`);
    }
    return table;
  }

  /** @throws Error when the app does not even require the owner */
  private mayEnter(app: string, table: PipelineTable): boolean {
    this.layout.checkReach(app, table.app);
    return table.open === true || (this.owner !== undefined && this.layout.ownerOf(this.owner) === table.app);
  }

  scope(name: string): FlowScope {
    return this.flows.scope(name);
  }

  /** @throws Error naming the app when its actions are none of its pipeline, OpenFlowError when the group has no wire form */
  group(run: Run, { type, buckets }: Items["group"]): LoweredGroup {
    const app = (this.owner === undefined ? undefined : this.layout.ownerOf(this.owner)) ?? run.unit.app;
    const table = this.layout.tables.find((t) => t.app === app);
    if (table === undefined) throw new Error(`app ${app} has no tables, and its groups no actions`);
    const group: LoweredGroup = {
      type,
      buckets: buckets.map(({ weight, watchPort, watchGroup, actions }) => ({
        ...(weight === undefined ? {} : { weight }), ...(watchPort === undefined ? {} : { watch_port: watchPort }), ...(watchGroup === undefined ? {} : { watch_group: watchGroup }),
        actions: this.lowering.lowerAll(table, actions, 0n),
      })),
    };
    encodeMessage({ type: "group_mod", command: "add", group_type: type, group_id: 1, buckets: group.buckets.map((b) => ({ weight: 0, ...b })) }, 0);
    return group;
  }

  checkInto(run: Run, pipeline: PipelineDecl): void {
    this.layout.checkInto(run.unit.app, pipeline);
  }

  portContext(view: ReadView, place: PortPlace): PortActions {
    const sender: FlowAction<never, never>[] = [];
    const receiver: FlowAction<never, never>[] = [];
    let enter: StageName = "admission";
    let egress = false;
    let acl: { readonly out: Entrance; readonly in: Entrance } | undefined;
    let speaks = place.role !== "standby";
    let hears = true;
    for (const app of this.apps) {
      for (const context of app.portContext ?? []) {
        if (context.ingress?.(view, place) === true) enter = "ingress";
        if (context.egress?.(view, place) === true) egress = true;
        acl ??= context.acl?.(view, place);
        if (!speaks && context.speaks?.(view, place) === true) speaks = true;
        if (place.role === "standby" && context.deaf?.(view, place) === true) hears = false;
        const sample = context.sample?.(view, place);
        if (sample !== undefined) sender.push(this.lowering.encoded([sample]));
        const value = context.register === undefined ? 0 : (context.value?.(view, place) ?? 0);
        if (value === 0) continue;
        const action = this.lowering.encoded([this.lowering.load(context.register!, value)]);
        if (context.side !== "receiver") sender.push(action);
        if (context.side !== "sender") receiver.push(action);
      }
    }
    return { sender: { loads: sender, enter: speaks ? enter : undefined, ...(acl && { acl: acl.out }) }, receiver: { hears, loads: receiver, egress, policy: this.layout.entry("acl_in")?.stage === "acl_in", ...(acl && { acl: acl.in }) } };
  }
}
