// The ops listener: health, metrics, switches, the flow dump and its stream. For operators only, never for tenants.
import { Readable } from "node:stream";
import fastify, { type FastifyError, type FastifyInstance } from "fastify";
import { OpenFlowError, parseMatch } from "node-openflow";
import type { Logger } from "pino";
import { badRequests, bound, requestTimes, timed, type RequestTimes } from "../lib/http/connections.ts";
import { CountedLines } from "../lib/http/counted-lines.ts";
import type { Door } from "../lib/http/door.ts";
import type { Metrics } from "../lib/metrics.ts";
import { listed, type Problem } from "../lib/problem.ts";
import { BadQuery } from "./bad-query.ts";
import { instantOf } from "./flows/instant.ts";
import type { Instant } from "../model/past/history.ts";
import { refusedBy, type OpsTokenFile } from "./access.ts";
import { canonicalField, fieldsOf, filtered, flowDump, flowFilter, flowStates, type FlowEvent, type FlowQuery, type FlowRecord } from "./flows/flows.ts";
import type { MeterRecord } from "./meters.ts";
import { sendAll } from "./flows/print/send.ts";
import { FlowStream, streamLimits, type StreamLimits } from "./flows/stream.ts";

/** One switch as the controller knows it. Whatever else the provider puts in is shown as it is. */
export interface SwitchInfo {
  readonly id: string;
}

/** What the ops listener shows; implemented where the controller is put together. */
export interface OpsProviders {
  ready(): { readonly ok: boolean; readonly reason?: string };
  switches(): readonly SwitchInfo[];
  switch(id: string): SwitchInfo | undefined;
  /** Meters of a switch, by id. */
  meters?(id: string): Promise<readonly MeterRecord[]>;
  /** What is wrong now, in any order. */
  problems(): Iterable<Problem>;
  /** Forgets a host that will not come back. False: it is connected. */
  removeSwitch(id: string): Promise<boolean>;
  /** Name of another controller that is the master of a host, and so knows whether it is connected. */
  otherMaster?(id: string): string | undefined;
  /** The query with the id of a resource for its name; refuses what is not there to ask for: a table, an app, a resource. @throws BadQuery */
  checkFlowQuery?(query: FlowQuery): FlowQuery;
  /** May answer with more than the query asks for: it is filtered again. */
  flows(query: FlowQuery): AsyncIterable<FlowRecord> | Iterable<FlowRecord>;
  /** The same as text, and no more than the query asks for; each part is good until the next is asked for. */
  flowBytes?(query: FlowQuery, format: "json" | "text"): AsyncIterable<Uint8Array>;
  /** Flows of an instant of the past. @throws BadQuery */
  pastFlows?(at: Instant, query: FlowQuery, format: "json" | "text"): Promise<{ readonly generation: number; readonly parts: readonly Uint8Array[] }>;
  onFlowEvent(listener: (event: FlowEvent) => void): () => void;
  /** Switches that keep what they have and get nothing, by id. */
  held?(): readonly string[];
  /** Lets switches that are held be changed: one, or all. Those that it was said of. */
  acceptStore?(id: string | undefined): readonly string[];
  /** The access rules in force: as a policy file, and by name. */
  policy?(): { readonly text: string; readonly rules: readonly { readonly name: string; readonly rule: string; readonly default: string | null; readonly about: string }[]; readonly problem: string | null };
}

export interface OpsOptions {
  readonly providers: OpsProviders;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly stream?: Partial<StreamLimits>;
  /** Who is let in; default: everybody. */
  readonly access?: OpsTokenFile | Door;
  readonly times?: RequestTimes;
  /** Connections at a time, default 512. */
  readonly connections?: number;
  /** Why nothing may be changed; then whatever is no GET is 503. */
  readonly unwritable?: string;
}

export type OpsServer = FastifyInstance;
export { BadQuery };

/** Query parameters of `url`, of these names, each at most once. @throws BadQuery */
export function queryOf(url: string, known: readonly string[]): Map<string, string> {
  const mark = url.indexOf("?");
  const out = new Map<string, string>();
  if (mark < 0) return out;
  for (const [name, value] of new URLSearchParams(url.slice(mark + 1))) {
    if (!known.includes(name)) throw new BadQuery(name.slice(0, 64), known.length === 0 ? "is not known here; there is none" : `is not known here; there are ${known.join(", ")}`);
    if (out.has(name)) throw new BadQuery(name, "is given twice");
    out.set(name, value);
  }
  return out;
}

function oneOf<T extends string>(query: Map<string, string>, name: string, values: readonly T[]): T | undefined {
  const value = query.get(name);
  if (value === undefined) return undefined;
  const found = values.find((v) => v === value);
  if (found === undefined) throw new BadQuery(name, `'${value.slice(0, 64)}' is not one of ${values.join(", ")}`);
  return found;
}

const FILTERS = ["switch", "table", "resource", "app", "match"] as const;

function flowQuery(query: Map<string, string>): FlowQuery {
  const out: Record<string, unknown> = { stats: ["1", "true"].includes(oneOf(query, "stats", ["0", "1", "true", "false"]) ?? "0") };
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value === undefined) continue;
    if (value === "") throw new BadQuery(name, "is empty");
    out[name] = value;
  }
  if (typeof out.match === "string") checkMatch(out.match);
  if (["1", "true"].includes(oneOf(query, "raw", ["0", "1", "true", "false"]) ?? "0")) out.raw = true;
  const rate = query.get("rate");
  if (rate !== undefined) {
    if (!/^([1-9]|[1-5]\d|60)$/.test(rate)) throw new BadQuery("rate", `'${rate.slice(0, 64)}' is no number of seconds from 1 to 60`);
    if (out.switch === undefined) throw new BadQuery("rate", "is of one switch: give switch as well");
    out.rate = Number(rate);
    out.stats = true;
  }
  const state = oneOf(query, "state", flowStates);
  if (state !== undefined) out.state = state;
  const at = query.get("at");
  if (at !== undefined) {
    out.at = at;
    if (out.stats === true) throw new BadQuery("stats", "nothing was counted at an instant of the past");
    if (state !== undefined && state !== "desired") throw new BadQuery("state", "of the past there is what was desired");
  }
  return out as unknown as FlowQuery;
}

/** Part of a match is enough to look for (tp_dst=80 without tcp), but what no flow can have is a mistake, not an empty dump. */
function checkMatch(text: string): void {
  try {
    parseMatch(text);
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    if (error.errorName !== "OFPBMC_BAD_PREREQ") throw new BadQuery("match", asTyped(error.reason, text).slice(0, 200));
  }
}

/** The parser speaks of a field by its own name: ip_dst for what was typed as nw_dst. */
function asTyped(reason: string, match: string): string {
  const named = /^\w+(?=:)/.exec(reason)?.[0];
  const typed = fieldsOf(match).map((field) => /^\w+/.exec(field)?.[0]);
  if (named === undefined || typed.includes(named)) return reason;
  const same = typed.find((name) => name !== undefined && canonicalField(name) === canonicalField(named));
  return same === undefined ? reason : reason.replace(named, same);
}

/** 504: a switch that was asked did not answer, or not in time. */
export class SwitchSilent extends Error {
  constructor(id: string, reason: string) {
    super(`switch ${id} does not show its flows: ${reason}. ?state=desired says what it should have; ?switch=... asks another alone`);
    this.name = "SwitchSilent";
  }
}

/** The same items, of which the first is waited for: what is wrong from the beginning is known before an answer is begun. */
async function begun<T>(items: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = items[Symbol.asyncIterator]();
  let first: IteratorResult<T> | undefined = await iterator.next();
  const next = (): Promise<IteratorResult<T>> => {
    const known = first;
    first = undefined;
    return known === undefined ? iterator.next() : Promise.resolve(known);
  };
  return { [Symbol.asyncIterator]: () => ({ next, return: (value?: unknown) => iterator.return?.(value) ?? Promise.resolve({ done: true, value }) }) };
}

const FORMATS = { json: "application/json; charset=utf-8", text: "text/plain; charset=utf-8" };

/** What is asked by POST, and changes nothing; /call says itself what does. */
const READS: ReadonlySet<string> = new Set(["/trace", "/plan", "/call"]);

export function createOps(options: OpsOptions): OpsServer {
  const { providers, log, metrics } = options;
  const stream = new FlowStream((listener) => providers.onFlowEvent(listener), { ...streamLimits, ...options.stream });
  const { access, times = requestTimes } = options;
  const lines = new CountedLines(log);
  const server = fastify({ logger: false, forceCloseConnections: true, exposeHeadRoutes: true, requestTimeout: times.wholeMs, http: timed(times), clientErrorHandler: badRequests("ops", lines) });
  bound("ops", server.server, options.connections ?? 512, lines);

  // Clients name a type for what has no body as well (DELETE): nothing is nothing, of whatever type.
  const parsed = server.getDefaultJsonParser("error", "error");
  server.addContentTypeParser<string>("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else void parsed(request, body, done);
  });

  const failure = (code: string, message: string): { error: { code: string; message: string } } => ({ error: { code, message } });
  server.setErrorHandler((error: FastifyError | BadQuery | SwitchSilent, request, reply) => {
    if (error instanceof BadQuery) return reply.code(error.status).send(failure(error.status === 404 ? "NOT_FOUND" : error.status === 503 ? "TOO_MANY" : "BAD_QUERY", error.message));
    if (error instanceof SwitchSilent) return reply.code(504).send(failure("SWITCH_SILENT", error.message));
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send(failure("BAD_REQUEST", error.message));
    log.error({ err: error, method: request.method, url: request.url }, "ops request failed");
    return reply.code(500).send(failure("INTERNAL", "internal error; the controller's log says more"));
  });
  server.setNotFoundHandler((request, reply) => reply.code(404).send(failure("NOT_FOUND", `there is no ${request.method} ${request.url.slice(0, 256)} here`)));

  server.addHook("onRequest", (request, reply, done) => {
    const { headers, method, url } = request.raw;
    const refusal = access === undefined ? undefined : refusedBy(access, method!, url!, headers);
    if (refusal === undefined) {
      done();
      return;
    }
    lines.warn(refusal.line, { listener: "ops", peer: request.ip, host: headers.host, origin: headers.origin });
    if (refusal.status === 401) void reply.header("www-authenticate", 'Bearer realm="axion"');
    void reply.code(refusal.status).send(failure(refusal.code, refusal.message));
  });

  const { unwritable } = options;
  if (unwritable !== undefined) {
    server.addHook("onRequest", (request, reply, done) => {
      if (["GET", "HEAD", "OPTIONS"].includes(request.method) || READS.has(request.url)) done();
      else void reply.code(503).send(failure("SHADOW", unwritable));
    });
  }
  server.get("/healthz", () => ({ status: "alive" }));
  server.get("/readyz", (_request, reply) => {
    const { ok, reason } = providers.ready();
    const held = providers.held?.().length ?? 0;
    return reply.code(ok ? 200 : 503).send(ok ? { status: "ready", ...(held > 0 && { held }) } : { status: "not ready", reason: reason ?? "" });
  });
  server.get("/metrics", async (_request, reply) => reply.header("content-type", "text/plain; version=0.0.4; charset=utf-8").send((await metrics?.text()) ?? ""));

  server.get("/policy", (request, reply) => {
    const format = oneOf(queryOf(request.url, ["format"]), "format", ["json", "text"]) ?? "text";
    const policy = providers.policy?.();
    if (policy === undefined) return reply.code(404).send(failure("NOT_FOUND", "there are no access rules here"));
    if (format === "json") return reply.send({ rules: policy.rules, problem: policy.problem });
    return reply.header("content-type", "text/plain; charset=utf-8").send(policy.text);
  });

  server.get("/switches", (request) => {
    queryOf(request.url, []);
    return { switches: providers.switches() };
  });
  server.get<{ Params: { id: string } }>("/switches/:id", (request, reply) => {
    queryOf(request.url, []);
    const found = providers.switch(request.params.id);
    return found === undefined ? reply.code(404).send(failure("NOT_FOUND", `there is no switch ${request.params.id.slice(0, 256)}`)) : reply.send({ switch: found });
  });

  server.get<{ Params: { id: string } }>("/switches/:id/meters", async (request, reply) => {
    queryOf(request.url, []);
    const { id } = request.params;
    if (providers.switch(id) === undefined || providers.meters === undefined) return reply.code(404).send(failure("NOT_FOUND", `there is no switch ${id.slice(0, 256)}`));
    return { meters: await providers.meters(id) };
  });

  server.post("/store/accept", (request, reply) => {
    const id = queryOf(request.url, ["switch"]).get("switch");
    if (id !== undefined && providers.switch(id) === undefined) throw new BadQuery("switch", `there is no switch '${id.slice(0, 64)}'`, 404);
    const accepted = providers.acceptStore?.(id) ?? [];
    if (id !== undefined && accepted.length === 0) return reply.code(409).send(failure("NOT_HELD", `${id} is not held: there is nothing to accept`));
    return reply.send({ accepted });
  });

  server.get("/problems", (request) => {
    queryOf(request.url, []);
    return listed(providers.problems());
  });

  server.delete<{ Params: { id: string } }>("/switches/:id", async (request, reply) => {
    queryOf(request.url, []);
    const { id } = request.params;
    if (providers.switch(id) === undefined) return reply.code(404).send(failure("NOT_FOUND", `there is no switch ${id.slice(0, 256)}`));
    const other = providers.otherMaster?.(id);
    if (other !== undefined) return reply.code(409).send(failure("OTHER_MASTER", `the controller ${other} is the master of ${id}, and knows whether it is connected: ask that one`));
    if (await providers.removeSwitch(id)) return reply.code(204).send();
    return reply.code(409).send(failure("CONNECTED", `${id} is connected: run ovs-vsctl del-manager and ovs-vsctl del-controller for its bridge on the host first`));
  });

  /** What was asked for by name must be there: an empty dump would look like an empty switch. */
  function checked(query: FlowQuery): FlowQuery {
    if (query.at === undefined && query.switch !== undefined && providers.switch(query.switch) === undefined) throw new BadQuery("switch", `there is no switch '${query.switch.slice(0, 64)}'`, 404);
    return providers.checkFlowQuery?.(query) ?? query;
  }

  server.get("/flows", async (request, reply) => {
    const params = queryOf(request.url, [...FILTERS, "state", "stats", "at", "rate", "raw", "format"]);
    const format = oneOf(params, "format", ["json", "text"]) ?? "json";
    const query = checked({ ...flowQuery(params), ...(format === "text" && { raw: true }) });
    const at = instantOf(params, "at");
    const past = at === undefined ? undefined : await providers.pastFlows?.(at, query, format);
    if (past !== undefined) return reply.header("x-axion-generation", String(past.generation)).header("content-type", FORMATS[format]).send(Readable.from(past.parts, { objectMode: false }));
    if (providers.flowBytes !== undefined) {
      const parts = await begun(providers.flowBytes(query, format));
      reply.hijack();
      await sendAll(reply.raw, FORMATS[format], parts, (error) => log.warn({ reason: error.message, url: request.url }, "flow dump broke off"));
      return reply;
    }
    const body = Readable.from(await begun(flowDump(filtered(providers.flows(query), flowFilter(query)), format)), { objectMode: false });
    body.on("error", (error) => log.warn({ reason: error.message, url: request.url }, "flow dump broke off"));
    return reply.header("content-type", FORMATS[format]).send(body);
  });

  server.get("/flows/stream", (request, reply) => {
    const query = checked(flowQuery(queryOf(request.url, FILTERS)));
    if (stream.full) return reply.code(503).send(failure("TOO_MANY", "too many clients follow the flows already"));
    reply.hijack();
    stream.add(reply.raw, flowFilter(query));
    return reply;
  });
  server.addHook("preClose", (done) => {
    stream.close();
    done();
  });
  metrics?.gauge("axion_flow_stream_clients", "clients of /flows/stream", () => stream.size);
  metrics?.gauge("axion_flow_stream_dropped", "clients of /flows/stream cut off because they were too slow", () => stream.dropped);
  return server;
}
