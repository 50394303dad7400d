// What apps show operators: their lists (App.opsLists) as GET on the ops listener, and their gauges (App.gauges) among the metrics.
import { Readable } from "node:stream";
import type { App, LiveView, OpsCounter, OpsList } from "#app";
import type { Logger } from "pino";
import type { HookGuard } from "../lib/hook-guard.ts";
import type { Metrics, Sample } from "../lib/metrics.ts";
import { noProject, type Named } from "./named.ts";
import { BadQuery, queryOf, type OpsServer } from "./server.ts";

export interface ShownParts {
  readonly apps: readonly App[];
  readonly view: LiveView;
  readonly guard: HookGuard;
  readonly log: Pick<Logger, "warn">;
  readonly isChassis: (id: string) => boolean;
  readonly named: Pick<Named, "idOf" | "none" | "another" | "hasProject">;
}

/** Characters that are written at once: an answer of any length costs no more, and others have their turn between. */
const PIECE = 65_536;
/** Of an answer with nothing in it why that is, where it reads as if something else was. */
const WHY_EMPTY = "x-axion-why-empty";
/** Samples of one gauge. */
const SAMPLES = 4096;

/** Adds `GET /<path>` for every list. @throws Error when the path is taken */
export function appLists(server: OpsServer, parts: ShownParts): void {
  for (const app of parts.apps) {
    for (const list of app.opsLists ?? []) {
      server.get(`/${list.path}`, (request, reply) => {
        const { asked, missing } = askedOf(list, queryOf(request.url, Object.keys(list.filters ?? {})), parts);
        const rows = list.rows(parts.view, asked)[Symbol.iterator]();
        const first = rows.next();
        // What was deleted may still have rows: what is there is shown.
        if (first.done === true && missing !== undefined) throw missing;
        const why = first.done === true ? list.whyEmpty?.(parts.view, asked) : undefined;
        if (why !== undefined) reply.header(WHY_EMPTY, why.replace(/[^\x20-\x7e]/g, "?"));
        const body = Readable.from(arrayOf(begun(first, rows)), { objectMode: false });
        body.on("error", (error) => parts.log.warn({ app: app.name, reason: error.message, url: request.url }, "a list broke off"));
        return reply.header("content-type", "application/json; charset=utf-8").send(body);
      });
    }
  }
}

/** What rows are asked for, names as ids; `missing`: what it is that is not there. @throws BadQuery */
function askedOf({ filters = {} }: OpsList, query: ReadonlyMap<string, string>, { isChassis, named }: Pick<ShownParts, "isChassis" | "named">): { readonly asked: Readonly<Record<string, string>>; readonly missing: BadQuery | undefined } {
  const asked = Object.fromEntries(query);
  const byProject = Object.keys(filters).find((name) => filters[name]!.project === true && (query.get(name) ?? "") !== "");
  const whose = byProject === undefined ? undefined : asked[byProject];
  let missing = whose === undefined || named.hasProject(whose) ? undefined : noProject(byProject!, whose);
  for (const [name, value] of query) {
    const { values, chassis, integer, resource } = filters[name]!;
    if (value === "") throw new BadQuery(name, "is empty");
    if (values?.includes(value) === false) throw new BadQuery(name, `'${value.slice(0, 64)}' is not one of ${values.join(", ")}`);
    if (integer !== undefined && !(/^\d{1,10}$/.test(value) && Number(value) >= integer[0] && Number(value) <= integer[1])) throw new BadQuery(name, `'${value.slice(0, 64)}' is no number from ${integer[0]} to ${integer[1]}`);
    if (chassis === true && !isChassis(value)) throw new BadQuery(name, `there is no switch '${value.slice(0, 64)}'`, 404);
    if (resource !== undefined) {
      const types = typeof resource === "function" ? resource(asked) : resource;
      const id = named.idOf(name, value, { types, project: whose });
      if (id === undefined) missing ??= named.none(name, value, types);
      else {
        asked[name] = id;
        if (whose !== undefined) missing ??= named.another(name, id, whose, types);
      }
    }
  }
  return { asked, missing };
}

function* begun<T>(first: IteratorResult<T>, rest: Iterator<T>): Iterable<T> {
  if (first.done === true) return;
  yield first.value;
  yield* { [Symbol.iterator]: () => rest };
}

function* arrayOf(rows: Iterable<object>): Generator<string> {
  let piece = "[";
  let first = true;
  for (const row of rows) {
    piece += first ? JSON.stringify(row) : `,${JSON.stringify(row)}`;
    first = false;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}]`;
}

/** Adds every gauge; one that throws has no value. @throws Error when a name is taken, or no metric name */
export function appGauges(metrics: Metrics, { apps, view, guard }: Pick<ShownParts, "apps" | "view" | "guard">): void {
  for (const app of apps) {
    for (const gauge of app.gauges ?? []) {
      const { name, about, labels = [] } = gauge;
      const read = (): readonly Sample[] => guard<readonly Sample[]>({ app: app.name, hook: `gauge ${name}` }, {}, () => samplesOf(gauge.read(view)), []);
      if (gauge.counter === true) metrics.counted(name, about, read, labels);
      else metrics.gauge(name, about, read, labels);
    }
  }
}

/** Adds every counter, each of its values at 0; what it gives counts one more for an app. @throws Error when a name is taken, or no metric name */
export function appCounters(metrics: Metrics, apps: readonly App[]): (app: string, counter: OpsCounter, value: string) => void {
  const counters = new Map(apps.flatMap((app) => (app.counters ?? []).map(({ name, about, label, values }) => {
    const counter = metrics.counter(name, about, [label]);
    for (const value of values) counter.inc({ [label]: value }, 0);
    return [`${app.name} ${name}`, (value: string): void => {
      if (!values.includes(value)) throw new Error(`counter ${name} of app ${app.name} has no value ${value}`);
      counter.inc({ [label]: value });
    }] as const;
  })));
  return (app, { name }, value) => {
    const count = counters.get(`${app} ${name}`);
    if (count === undefined) throw new Error(`app ${app} counts ${name}, which it does not list`);
    count(value);
  };
}

function samplesOf(read: number | Iterable<Sample>): Sample[] {
  if (typeof read === "number") return [{ labels: {}, value: read }];
  const out: Sample[] = [];
  for (const sample of read) {
    if (out.length >= SAMPLES) break;
    out.push(sample);
  }
  return out;
}
