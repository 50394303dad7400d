// What an app puts out, in the terms of a switch: flows as bytes, groups with lowered actions, what all apps say of a port. And what an
// app may not put out: into tables of another that it does not require, into tables that the switch fills.
import type { App, FlowAction, FlowSpec, Items, PipelineDecl, PortActions, ReadView, Shape, StageName } from "#app";
import type { Family, Layout, PipelineTable } from "../pipeline/layout.ts";
import type { Lowering } from "../pipeline/lowering.ts";
import type { LoweredGroup } from "./desired.ts";
import type { FlowEncoder, FlowScope, OwnedFlow } from "./flows.ts";
import type { Run } from "./runs.ts";
import type { ScopeFlows } from "./scope-flows.ts";

export class Emission {
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
  encode(run: Run, scope: FlowScope, name: string, spec: FlowSpec, family: Family | undefined, cookieLo: number): OwnedFlow<Run> {
    return this.encoder.encode(run, scope, this.table(run, name), spec, family, run.unit.cookieHi, cookieLo, run.flows);
  }

  /** @throws the same, and Error naming shape and value when the shape is no shape */
  encodeShape(run: Run, scope: FlowScope, shape: Shape, value: unknown, cookieLo: number): OwnedFlow<Run> {
    return this.encoder.encodeShape(run, scope, this.table(run, shape.table), shape, value, run.unit.cookieHi, cookieLo, run.flows);
  }

  /** Number of a table that the run may name. @throws Error naming table and rule */
  number(run: Run, name: string): number {
    const { id, app } = this.layout.table(name);
    if (app !== run.unit.app) this.layout.checkReach(run.unit.app, app);
    return id;
  }

  private table(run: Run, name: string): PipelineTable {
    const table = this.layout.table(name);
    if (table.app !== run.unit.app) this.layout.checkReach(run.unit.app, table.app);
    if (table.learned !== undefined) throw new Error(`rule ${run.unit.name} of ${run.unit.app} emits into ${name}, which the switch fills`);
    return table;
  }

  scope(name: string): FlowScope {
    return this.flows.scope(name);
  }

  group(run: Run, { type, buckets }: Items["group"]): LoweredGroup {
    const table = this.layout.tables.find((t) => t.app === run.unit.app);
    if (table === undefined) throw new Error(`app ${run.unit.app} has no tables, and its groups no actions`);
    return {
      type,
      buckets: buckets.map(({ weight, watchPort, watchGroup, actions }) => ({
        ...(weight === undefined ? {} : { weight }), ...(watchPort === undefined ? {} : { watch_port: watchPort }), ...(watchGroup === undefined ? {} : { watch_group: watchGroup }),
        actions: this.lowering.lowerAll(table, actions, 0n),
      })),
    };
  }

  checkInto(run: Run, pipeline: PipelineDecl): void {
    this.layout.checkInto(run.unit.app, pipeline);
  }

  portContext(view: ReadView, portId: string): PortActions {
    const sender: FlowAction<never, never>[] = [];
    const receiver: FlowAction<never, never>[] = [];
    let enter: StageName = "admission";
    let egress = false;
    for (const app of this.apps) {
      for (const context of app.portContext ?? []) {
        if (context.ingress?.(view, portId) === true) enter = "ingress";
        if (context.egress?.(view, portId) === true) egress = true;
        const value = context.register === undefined ? 0 : (context.value?.(view, portId) ?? 0);
        if (value === 0) continue;
        const action: FlowAction<never, never> = { type: "lowered", actions: [this.lowering.load(context.register!, value)] };
        if (context.side !== "receiver") sender.push(action);
        if (context.side !== "sender") receiver.push(action);
      }
    }
    return { sender: { loads: sender, enter }, receiver: { loads: receiver, egress, policy: this.layout.entry("acl_in")?.stage === "acl_in" } };
  }
}
