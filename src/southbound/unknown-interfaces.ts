// Interfaces whose external_ids:iface-id names nothing that an app knows: a wrong id, or a port that was deleted while its VM runs.
import { vifTable, type App, type Clock, type Vif } from "#app";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Problem } from "../lib/problem.ts";
import type { Commit } from "../model/model.ts";
import type { ModelPort } from "./ovsdb/progress.ts";

/** A port may come right after its interface, and an interface may go right after its port. */
const PATIENCE_MS = 5000;
/** Named of one host; the others are counted. */
const NAMED = 5;
const ID_SHOWN = 64;

export interface UnknownInterfacesOptions {
  readonly model: Pick<ModelPort, "view">;
  readonly apps: readonly App[];
  readonly guard: HookGuard;
  readonly clock: Pick<Clock, "now">;
}

export class UnknownInterfaces {
  private readonly options: UnknownInterfacesOptions;
  private readonly apps: readonly App[];
  /** By chassis and interface: since when. */
  private readonly byChassis = new Map<string, Map<string, number>>();

  constructor(options: UnknownInterfacesOptions) {
    this.options = options;
    this.apps = options.apps.filter((app) => app.vif?.known !== undefined);
    for (const vif of options.model.view.all(vifTable)) this.look(vif);
  }

  onCommit({ changes }: Commit): void {
    if (this.apps.length === 0) return;
    for (const { table, id, before, after } of changes) {
      if (table === vifTable) {
        if (before !== undefined && (after as Vif | undefined)?.iface_id !== (before as Vif).iface_id) this.forget(before as Vif);
        if (after !== undefined) this.look(after as Vif);
      } else for (const vif of this.options.model.view.by(vifTable, "iface_id", id)) this.look(vif);
    }
  }

  *problems(): Iterable<Problem> {
    const { model, clock } = this.options;
    const latest = clock.now() - PATIENCE_MS;
    for (const [chassis, found] of this.byChassis) {
      const due = [...found].filter(([, since]) => since <= latest);
      if (due.length === 0) continue;
      const named = due.slice(0, NAMED).flatMap(([id]) => model.view.get(vifTable, id) ?? []).map((vif) => `${vif.name} (iface-id ${vif.iface_id.slice(0, ID_SHOWN)})`);
      yield {
        kind: "unknown_interface", severity: "warning", since: new Date(Math.min(...due.map(([, since]) => since))).toISOString(), resources: [], switches: [chassis],
        text: `${chassis}: the API has no port for ${due.length} interface${due.length === 1 ? "" : "s"}: ${named.join(", ")}${due.length > NAMED ? ` and ${due.length - NAMED} more` : ""}`,
        cure: { text: `the interface's external_ids:iface-id has to be the id of a port: correct it with ovs-vsctl on ${chassis}, create the port, or unplug the interface (ovs-vsctl del-port)` },
      };
    }
  }

  private look(vif: Readonly<Vif>): void {
    const { model, guard, clock } = this.options;
    if (this.apps.length === 0) return;
    // A hook that fails says nothing against the interface.
    const known = this.apps.some((app) => guard({ app: app.name, hook: "vif.known" }, { vif: vif.id, iface_id: vif.iface_id }, () => app.vif!.known!(model.view, vif), true));
    const found = this.byChassis.get(vif.chassis);
    if (known) this.forget(vif);
    else if (found === undefined) this.byChassis.set(vif.chassis, new Map([[vif.id, clock.now()]]));
    else if (!found.has(vif.id)) found.set(vif.id, clock.now());
  }

  private forget({ chassis, id }: Readonly<Vif>): void {
    const found = this.byChassis.get(chassis);
    found?.delete(id);
    if (found?.size === 0) this.byChassis.delete(chassis);
  }
}
