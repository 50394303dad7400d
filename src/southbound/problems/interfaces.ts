// Interfaces that are plugged where they are of no use: their external_ids:iface-id names nothing that an app knows (a wrong id, or a port that was
// deleted while its VM runs), or an app finds fault with their place (App.vif.fault). They are asked about as they, or what they name, change; what
// was found is asked about once more when problems are listed.
import { vifTable, type App, type AppProblem, type Clock, type Vif } from "#app";
import type { HookGuard } from "../../lib/hook-guard.ts";
import type { Problem } from "../../lib/problem.ts";
import type { Commit } from "../../model/model.ts";
import type { ModelPort } from "../ovsdb/progress.ts";

/** A port may come right after its interface, and an interface may go right after its port. */
const PATIENCE_MS = 5000;
/** Named of one host; the others are counted. */
const NAMED = 5;
/** Faults of places that are asked about again when somebody wants to know. */
const FAULTS = 1000;
const ID_SHOWN = 64;
const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

export interface InterfaceProblemsOptions {
  readonly model: Pick<ModelPort, "view">;
  readonly apps: readonly App[];
  readonly guard: HookGuard;
  readonly clock: Pick<Clock, "now">;
}

type Found = Map<string, Map<string, number>>;

export class InterfaceProblems {
  private readonly options: InterfaceProblemsOptions;
  private readonly knowing: readonly App[];
  private readonly judging: readonly App[];
  /** By chassis and interface: since when. */
  private readonly unknown: Found = new Map();
  private readonly misplaced: Found = new Map();

  constructor(options: InterfaceProblemsOptions) {
    this.options = options;
    this.knowing = options.apps.filter((app) => app.vif?.known !== undefined);
    this.judging = options.apps.filter((app) => app.vif?.fault !== undefined);
    for (const vif of options.model.view.all(vifTable)) this.look(vif);
  }

  /** `concerned`: the interfaces that each id in the commit concerns. */
  onCommit({ changes }: Commit, concerned: ReadonlyMap<string, readonly Vif[]>): void {
    if (this.knowing.length === 0 && this.judging.length === 0) return;
    const { model } = this.options;
    const others = new Set<string>();
    for (const { table, id, before, after } of changes) {
      if (table === vifTable) {
        if (before !== undefined && (after as Vif | undefined)?.iface_id !== (before as Vif).iface_id) this.forget(before as Vif);
        const ids = new Set([before, after].flatMap((vif) => (vif as Vif | undefined)?.iface_id ?? []));
        // Another interface of the same id may be in the right place now, or in the wrong one.
        for (const ifaceId of ids) for (const vif of model.view.by(vifTable, "iface_id", ifaceId)) this.look(vif);
      } else others.add(id);
    }
    for (const id of others) for (const vif of concerned.get(id) ?? []) this.look(vif);
  }

  *problems(): Iterable<Problem> {
    yield* this.unknownOnes();
    const latest = this.options.clock.now() - PATIENCE_MS;
    let left = FAULTS;
    for (const found of this.misplaced.values()) {
      for (const [id, since] of found) {
        if (since > latest || left-- <= 0) continue;
        const vif = this.options.model.view.get(vifTable, id);
        const fault = vif && this.faultOf(vif);
        if (fault !== undefined) yield { resources: [], switches: [], ...fault.problem, kind: `${fault.app}.${fault.problem.kind}`, since: new Date(since).toISOString() };
      }
    }
  }

  private *unknownOnes(): Iterable<Problem> {
    const { model, clock } = this.options;
    const latest = clock.now() - PATIENCE_MS;
    for (const [chassis, found] of this.unknown) {
      const due = [...found].filter(([, since]) => since <= latest);
      if (due.length === 0) continue;
      const vifs = due.slice(0, NAMED).flatMap(([id]) => model.view.get(vifTable, id) ?? []);
      const named = vifs.map((vif) => `${vif.name} (iface-id ${vif.iface_id.slice(0, ID_SHOWN)})`);
      const malformed = vifs.find((vif) => !UUID.test(vif.iface_id));
      yield {
        kind: "unknown_interface", severity: "warning", since: new Date(Math.min(...due.map(([, since]) => since))).toISOString(), resources: [], switches: [chassis],
        text: `${chassis}: the API has no port for ${due.length} interface${due.length === 1 ? "" : "s"}: ${named.join(", ")}${due.length > NAMED ? ` and ${due.length - NAMED} more` : ""}`,
        cure: {
          text: `the interface's external_ids:iface-id has to be the id of a port: correct it with ovs-vsctl on ${chassis}, create the port, or unplug the interface (ovs-vsctl del-port)` +
            (malformed === undefined ? "" : `; that of ${malformed.name} is malformed: ids of ports are UUIDs in small letters`),
        },
      };
    }
  }

  private look(vif: Readonly<Vif>): void {
    const { model, guard } = this.options;
    // A hook that fails says nothing against the interface.
    const known = this.knowing.length === 0 || this.knowing.some((app) => guard({ app: app.name, hook: "vif.known" }, { vif: vif.id, iface_id: vif.iface_id }, () => app.vif!.known!(model.view, vif), true));
    this.note(this.unknown, vif, !known);
    this.note(this.misplaced, vif, known && this.faultOf(vif) !== undefined);
  }

  private faultOf(vif: Readonly<Vif>): { readonly app: string; readonly problem: AppProblem } | undefined {
    const { model, guard } = this.options;
    for (const app of this.judging) {
      const problem = guard<AppProblem | undefined>({ app: app.name, hook: "vif.fault" }, { vif: vif.id, iface_id: vif.iface_id }, () => app.vif!.fault!(model.view, vif), undefined);
      if (problem !== undefined) return { app: app.name, problem };
    }
    return undefined;
  }

  private note(into: Found, { chassis, id }: Readonly<Vif>, isSo: boolean): void {
    const found = into.get(chassis);
    if (!isSo) {
      found?.delete(id);
      if (found?.size === 0) into.delete(chassis);
    } else if (found === undefined) into.set(chassis, new Map([[id, this.options.clock.now()]]));
    else if (!found.has(id)) found.set(id, this.options.clock.now());
  }

  private forget(vif: Readonly<Vif>): void {
    this.note(this.unknown, vif, false);
    this.note(this.misplaced, vif, false);
  }
}
