// Rows that name what is not there: it was deleted while the app that would have seen to it was not there. At a start, rows that go with
// what they name are taken back by their app; others stay, have no effect, and are listed in /problems. What apps mend of rows of others is
// mended here too.
import { accessesOf, type App, type ReadView, type Reference, type Row } from "#app";
import type { Logger } from "pino";
import type { Problem } from "../lib/problem.ts";
import type { Model } from "./model.ts";

/** Lines in the log, and entries of /problems, one by one. */
const NAMED = 50;
/** Rows that are taken back at once: the writes of that many may be one. */
const AT_ONCE = 500;

export interface Dangling {
  readonly app: string;
  readonly reference: Reference;
  readonly row: Row;
  /** Id of what is gone. */
  readonly gone: string;
}

function missing(view: ReadView, reference: Reference, row: Row): string | undefined {
  const { to } = reference;
  const named = reference.ids(row);
  if (named === undefined) return undefined;
  return typeof named === "string" ? (view.get(to, named) === undefined ? named : undefined) : named.find((id) => view.get(to, id) === undefined);
}

/** Every row that names what is gone, by references that `chosen` are. */
function* danglingRows(view: ReadView, apps: readonly App[], chosen: (reference: Reference) => boolean): Iterable<Dangling> {
  for (const app of apps) {
    for (const reference of app.references ?? []) {
      if (!chosen(reference)) continue;
      for (const row of view.all(reference.table)) {
        const gone = missing(view, reference, row);
        if (gone !== undefined) yield { app: app.name, reference, row, gone };
      }
    }
  }
}

/** Takes back what goes with what is gone. Before anything is compiled. */
export async function mendReferences(model: Pick<Model, "view" | "transact">, apps: readonly App[], log: Pick<Logger, "warn" | "error">): Promise<void> {
  let count = 0;
  const name = (fields: object, level: "warn" | "error", message: string): void => {
    if (count++ < NAMED) log[level](fields, message);
  };
  const tried = new Set<string>();
  // What is taken back may be what others name.
  for (let found = 1; found > 0; ) {
    const list = [...danglingRows(model.view, apps, (r) => r.gone !== undefined)].filter(({ reference: { table, to }, row }) => !tried.has(`${table.name} ${row.id} ${to.name}`));
    found = list.length;
    for (let at = 0; at < list.length; at += AT_ONCE) {
      await Promise.all(list.slice(at, at + AT_ONCE).map(async ({ app, reference, row: { id }, gone }) => {
        const { table, to } = reference;
        tried.add(`${table.name} ${id} ${to.name}`);
        const fields = { app, table: table.name, id, gone: `${to.name} ${gone}` };
        try {
          await model.transact({ requestId: "start", call: `${to.name} ${gone} went while ${app} was not there` }, (tx) => {
            const row = tx.get(table, id);
            if (row !== undefined && missing(tx, reference, row) !== undefined) reference.gone!(tx, row);
          });
          name(fields, "warn", "what a row stands on is gone; it is taken back");
        } catch (error) {
          name({ ...fields, err: error }, "error", "a row whose ground is gone could not be taken back");
        }
      }));
    }
  }
  const declared = apps.flatMap((a) => a.resources ?? []);
  const accesses = accessesOf(apps);
  for (const { name: app, mend } of apps) {
    const list = [...(mend?.(model.view, declared, accesses) ?? [])];
    for (let at = 0; at < list.length; at += AT_ONCE) {
      await Promise.all(list.slice(at, at + AT_ONCE).map(async ({ table, id, why, run }) => {
        try {
          await model.transact({ requestId: "start", call: `${why} while ${app} was not there` }, run);
          name({ app, table: table.name, id, why }, "warn", "what an app did not hear of is made right");
        } catch (error) {
          name({ app, table: table.name, id, why, err: error }, "error", "what an app did not hear of could not be made right");
        }
      }));
    }
  }
  if (count > NAMED) log.warn({ rows: count }, "rows that name what is gone, or that were made right");
}

/** Rows that stay though they name what is gone. */
export function* danglingProblems(view: ReadView, apps: readonly App[], since: Date): Iterable<Problem> {
  const common = { kind: "dangling", severity: "warning", since: since.toISOString(), switches: [] } as const;
  let count = 0;
  for (const { app, reference: { table, to }, row, gone } of danglingRows(view, apps, (r) => r.gone === undefined)) {
    if (count++ >= NAMED) continue;
    const what = table.resource ?? table.name;
    yield {
      ...common, resources: table.resource === undefined ? [] : [{ type: table.resource, id: row.id }],
      text: `${what} ${row.id} of ${app} names ${to.resource ?? to.name} ${gone}, which is gone: it has no effect`,
      cure: { text: `delete the ${what}, and make it anew if it is still wanted` },
    };
  }
  if (count > NAMED) yield { ...common, resources: [], text: `${count - NAMED} more rows name what is gone`, cure: { text: "delete them; the first are listed" } };
}
