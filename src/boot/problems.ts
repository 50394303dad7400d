// What apps find wrong now (App.problems), as GET /problems shows it.
import type { App, AppProblem, Clock, LiveView } from "#app";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Problem } from "../lib/problem.ts";

/** Of one app; more are not shown. */
const MOST = 100;

export class AppProblems {
  private readonly apps: readonly App[];
  private readonly view: LiveView;
  private readonly guard: HookGuard;
  private readonly clock: Pick<Clock, "now">;
  /** When each that is there was first found. */
  private found = new Map<string, string>();

  constructor(apps: readonly App[], view: LiveView, guard: HookGuard, clock: Pick<Clock, "now">) {
    this.apps = apps.filter((app) => app.problems !== undefined);
    this.view = view;
    this.guard = guard;
    this.clock = clock;
  }

  /** An app whose hook throws has none. */
  now(): Problem[] {
    const found = new Map<string, string>();
    const now = new Date(this.clock.now()).toISOString();
    const out = this.apps.flatMap((app) =>
      this.guard<readonly AppProblem[]>({ app: app.name, hook: "problems" }, {}, () => app.problems!(this.view), []).slice(0, MOST).map(({ kind, severity, since, text, resources = [], switches = [], cure }) => {
        const key = `${app.name} ${kind} ${text}`;
        const first = since ?? this.found.get(key) ?? now;
        found.set(key, first);
        return { kind: `${app.name}.${kind}`, severity, since: first, text, resources, switches, cure };
      }));
    this.found = found;
    return out;
  }
}
