// GET /pipeline: what a flow dump can be asked for by name. The command line's completion asks here.
import type { App } from "#app";
import type { Layout } from "../../pipeline/layout.ts";
import { queryOf, type OpsServer } from "../server.ts";

/** Adds `GET /pipeline`: `{tables: [{id, name, app}], apps: [name]}`, as this controller was started; it has no parameters. */
export function pipelineRoute(server: OpsServer, layout: Pick<Layout, "tables">, apps: readonly Pick<App, "name">[]): void {
  const body = { tables: layout.tables.map(({ id, name, app }) => ({ id, name, app })), apps: apps.map(({ name }) => name) };
  server.get("/pipeline", (request) => {
    queryOf(request.url, []);
    return body;
  });
}
