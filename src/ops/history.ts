// The past over HTTP: what changed, by which call, when.
import type { FastifyReply } from "fastify";
import { NotKept, type History } from "../model/past/history.ts";
import { instantOf } from "./flows/instant.ts";
import type { FlowDifference } from "./flows/past.ts";
import { noProject, pastOf, type Named } from "./named.ts";
import { BadQuery, queryOf, type OpsServer } from "./server.ts";

/** Commits in one answer. */
const LISTED = 100;
const MOST = 1000;
/** Rows in one difference. */
const CHANGES = 50_000;
/** A list that ended before what was asked for did: `until` of the next. */
const MORE = "x-axion-more-until";
/** Answers that are worked out at once: each may read all that is kept. */
const AT_ONCE = 4;

const GENERATION = /^\d{1,15}$/;

function wordOf(query: ReadonlyMap<string, string>, name: string): string | undefined {
  const value = query.get(name);
  if (value === "") throw new BadQuery(name, "is empty");
  return value;
}

function limitOf(query: ReadonlyMap<string, string>): number {
  const value = query.get("limit") ?? String(LISTED);
  if (!/^\d{1,6}$/.test(value) || Number(value) < 1 || Number(value) > MOST) throw new BadQuery("limit", `must be 1 to ${MOST}, not '${value.slice(0, 64)}'`);
  return Number(value);
}

/** Adds `GET /history`, `/history/diff` and `/history/{generation}`. `flowsOf`: what became of a switch's flows. */
export function historyRoutes(server: OpsServer, history: History, named: Pick<Named, "idOf" | "hasProject">, flowsOf?: (from: number, to: number, id: string) => Promise<FlowDifference>): void {
  let running = 0;
  const failure = (code: string, message: string): { error: { code: string; message: string } } => ({ error: { code, message } });
  type Answer = readonly [status: number, body: unknown];
  /** What nobody waits for any more ends, and makes room. */
  async function bounded(reply: FastifyReply, work: (signal: AbortSignal) => Promise<unknown>): Promise<Answer> {
    if (running >= AT_ONCE) return [503, failure("TOO_MANY", `${running} questions about the past are being answered already; ask again in a moment`)];
    running++;
    const left = new AbortController();
    const leave = (): void => left.abort();
    reply.raw.once("close", leave);
    try {
      return [200, await work(left.signal)];
    } catch (error) {
      if (left.signal.aborted) return [503, failure("TOO_MANY", "the client went away")]; // nobody reads it
      if (error instanceof NotKept) return [404, failure("NOT_FOUND", error.message)];
      throw error;
    } finally {
      reply.raw.off("close", leave);
      running--;
    }
  }

  server.get("/history", async (request, reply) => {
    const query = queryOf(request.url, ["resource", "project", "since", "until", "limit"]);
    const [resource, project] = [wordOf(query, "resource"), wordOf(query, "project")];
    const id = resource === undefined ? undefined : named.idOf("resource", resource, { project });
    const asked = { resource: id ?? resource, project, since: instantOf(query, "since"), until: instantOf(query, "until"), limit: limitOf(query) };
    const [status, body] = await bounded(reply, async (signal) => {
      const { commits, next } = await history.list({ ...asked, signal });
      if (next !== undefined) reply.header(MORE, String(next));
      else if (commits.length === 0) {
        // Of what was deleted there may be changes, by its id alone.
        if (resource !== undefined && id === undefined) throw new BadQuery("resource", `there is no API resource '${resource.slice(0, 64)}', and no change of one with this id${pastOf(resource) === "" ? "; what was deleted goes by its id" : ""}`);
        if (project !== undefined && !named.hasProject(project)) throw noProject("project", project);
      }
      return commits;
    });
    return reply.code(status).send(body);
  });

  server.get("/history/diff", async (request, reply) => {
    const query = queryOf(request.url, ["from", "to", "switch"]);
    const id = wordOf(query, "switch");
    const from = instantOf(query, "from");
    if (from === undefined) throw new BadQuery("from", "is missing: a generation or an instant");
    const to = instantOf(query, "to");
    const [status, body] = await bounded(reply, async (signal) => {
      const range = { from: await history.generationAt(from, signal), to: to === undefined ? history.range.newest : await history.generationAt(to, signal) };
      try {
        const changes = await history.diff(range.from, range.to, CHANGES, signal);
        return { ...range, changes, ...(id !== undefined && flowsOf !== undefined && { flows: { switch: id, ...(await flowsOf(range.from, range.to, id)) } }) };
      } catch (error) {
        if (error instanceof RangeError) throw new BadQuery("from", `${error.message}; ask for a shorter time`);
        throw error;
      }
    });
    return reply.code(status).send(body);
  });

  server.get<{ Params: { generation: string } }>("/history/:generation", async (request, reply) => {
    const { generation } = request.params;
    queryOf(request.url, []);
    if (!GENERATION.test(generation)) return reply.code(400).send(failure("BAD_REQUEST", `'${generation.slice(0, 64)}' is no generation`));
    const [status, body] = await bounded(reply, (signal) => history.one(Number(generation), signal));
    return reply.code(status).send(body);
  });
}
