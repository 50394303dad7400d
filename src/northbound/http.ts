// The API's listener: one fastify instance, which says who asks, hands the request to the face that its path belongs to, and sends what
// that answers. What faces are and do is faces/; this file knows of HTTP only.
import { randomUUID } from "node:crypto";
import type { OutgoingHttpHeaders } from "node:http";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { ApiError, type App, type Caller, type Clock, type Face, type FaceAnswer, type FaceRequest, type Operations } from "../app/contract.ts";
import { badRequests, bound, requestTimes, timed } from "../lib/http/connections.ts";
import { CountedLines } from "../lib/http/counted-lines.ts";
import { refusedAtDoor, type Door } from "../lib/http/door.ts";
import type { Metrics } from "../lib/metrics.ts";
import type { Model } from "../model/model.ts";
import { View } from "../model/view.ts";
import { hasherOf, Unauthenticated, type Authenticator } from "./auth/authenticator.ts";
import { noAuth } from "./auth/noauth.ts";
import { allFaces, faceOf, operationsOf, refusalOf } from "./faces/face.ts";
import { describe, json, v2 } from "./faces/v2.ts";
import type { Registry } from "./kinds.ts";
import { wrongMethod } from "./routes.ts";
import { Engine, type BeforeShown } from "./operations.ts";
import { PolicyFile } from "./policy/index.ts";
import { RateLimiter, type RateLimits } from "./clients/rate.ts";
import { makeRegistry } from "./registry.ts";
import { Shown } from "./shown.ts";
import { Explanations, type Explain } from "./clients/explain.ts";
import { Reached } from "./clients/reached.ts";
import type { WatchOptions } from "./clients/watch-query.ts";
import { Watches } from "./clients/watch.ts";
import { plannedObjects, portsSeen } from "./plans/objects.ts";
import { Plans, type Foresight } from "./plans/plans.ts";
import { baseOf, one } from "./wire/base.ts";
import { Waits, waitLimits, type Confirmations, type Wait } from "./clients/wait.ts";
import type { Limits } from "./wire/limits.ts";
import { measureRequests } from "./wire/latency.ts";
import { sendWhole } from "./wire/send.ts";
import { corsHeaders, isPreflight, preflightHeaders } from "./wire/cors.ts";
import { acceptsGzip, COMPRESSED_FROM, compressed, decoded } from "./wire/encoding.ts";

/** Where nothing is compiled nothing is concerned. */
const noSwitches: Confirmations = {
  wait(_generation, done) {
    let ended = false;
    queueMicrotask(() => {
      if (!ended) done();
    });
    return { pending: () => [], end: () => void (ended = true) };
  },
};

export interface NorthboundOptions {
  readonly apps: readonly App[];
  readonly model: Model;
  /** What presentation reads; default: stored rows alone. */
  readonly view?: View;
  readonly auth: "none" | Authenticator;
  readonly log: Logger;
  readonly limits?: Limits;
  /** Overrides of access rules, oslo.policy's format (YAML or JSON), read again when it changes. @throws Error if it cannot be used */
  readonly policyFile?: string;
  readonly beforeShown?: BeforeShown;
  /** Web pages of these origins (`https://host`) may use the API; default: none. */
  readonly corsOrigins?: readonly string[];
  /** Who is let in of those that nobody asks who they are; default: everybody. */
  readonly door?: Door;
  /** Why nothing may be changed: every request that would is refused with 503. */
  readonly unwritable?: string;
  /** What switches have confirmed, for `?wait=dataplane`; default: there are none. */
  readonly confirmations?: Confirmations;
  /** Traces packets, for clients that ask what becomes of theirs. */
  readonly explain?: Explain;
  /** What derived rows become, for clients that watch; default: stored rows alone are followed. */
  readonly derived?: Required<Pick<WatchOptions, "compiled" | "onChanges">>;
  readonly rates?: RateLimits;
  readonly metrics?: Metrics;
  /** What changes would come to, for plans; default: nothing can be planned. */
  readonly foresight?: { readonly of: Foresight; readonly clock: Clock };
}

export type Northbound = FastifyInstance & { readonly registry: Registry; readonly engine: Engine; readonly plans: Plans | undefined; readonly faces: readonly Face[]; readonly operations: Operations; readonly policyFile: PolicyFile | undefined };

const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] as const;

/** For requests that are under way when the server is closed: it ends when none has come for so long, or at last. */
const DRAIN_MS = 150;
const DRAIN_MAX_MS = 2000;
/** Below the prefix of v2.0. */
const WATCH = /^\/axion\/watch(\.json)?\/?$/;
const EXPLAIN = /^\/axion\/explain(\.json)?\/?$/;
const NO_PARAMS = new URLSearchParams();
const NOTHING = new Uint8Array(0);

/** What a client called its body. The listener itself takes anything. */
const mediaTypes = new WeakMap<FastifyRequest["raw"], string>();

function headerOf(request: FastifyRequest, name: string): string | undefined {
  return name === "content-type" ? mediaTypes.get(request.raw) : one(request.raw.headers[name]);
}

/** What the client calls the operation that this request is a part of: `req-` and a UUID, as oslo.middleware takes it; another counts for nothing. */
const GLOBAL_ID = /^req-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A request in the log. */
function idsOf(request: FastifyRequest): { readonly requestId: string; readonly globalId?: string } {
  const given = headerOf(request, "x-openstack-request-id");
  return given === undefined || !GLOBAL_ID.test(given) ? { requestId: request.id } : { requestId: request.id, globalId: given };
}

/** Path without the query. */
const pathOf = (url: string): string => (url.includes("?") ? url.slice(0, url.indexOf("?")) : url);

function faceRequest(face: Face, request: FastifyRequest, caller: Caller): FaceRequest {
  const url = request.raw.url!;
  const path = pathOf(url);
  return {
    id: request.id,
    method: request.method,
    path: path.slice(face.prefix.length),
    query: path.length === url.length ? NO_PARAMS : new URLSearchParams(url.slice(path.length + 1)),
    base: baseOf(request.raw.headers, request.protocol),
    body: Buffer.isBuffer(request.body) ? request.body : NOTHING,
    caller,
    header: (name) => headerOf(request, name),
  };
}

export function createNorthbound(options: NorthboundOptions): Northbound {
  const { apps, model, log, limits = {} } = options;
  const urlBytes = limits.urlBytes ?? 16 * 1024;
  const registry = makeRegistry(apps);
  const policyFile = options.policyFile === undefined ? undefined : new PolicyFile(options.policyFile, registry.policy, log);
  const view = options.view ?? new View(model.view);
  const shown = new Shown(model).view(view);
  const engineLimits = {
    bulkItems: limits.bulkItems ?? 1000,
    pageMax: limits.pageMax ?? 0,
    lists: { atOnce: limits.longLists ?? 4, waiting: limits.longListsWaiting ?? 64, stallMs: limits.stallMs ?? 30_000 },
  };
  const engine = new Engine(registry, model, shown, engineLimits, options.beforeShown);
  const authenticator = options.auth === "none" ? noAuth : options.auth;
  const description = describe(engine);
  const own = v2(engine, description);
  const faces = allFaces([own], apps);
  const operations = operationsOf(engine);
  const { foresight } = options;
  const plans = foresight && new Plans({
    foresight: foresight.of, clock: foresight.clock, model, objects: plannedObjects(registry), seesPort: portsSeen(registry),
    faces: (planned) => {
      const its = new Engine(registry, planned, shown, engineLimits);
      const [ownPlanned, among] = [v2(its, description), operationsOf(its)];
      return (face) => (request) => (face === own ? ownPlanned : face).handle(request, among);
    },
  });

  const { metrics } = options;
  const waited = metrics?.counter("axion_api_waits_total", "Answers of writes that waited for switches, by result: confirmed or pending", ["result"]);
  const waits = new Waits(options.confirmations ?? noSwitches, limits.waits ?? waitLimits, (result) => waited?.inc({ result }));
  metrics?.gauge("axion_api_waiting", "Answers of writes that wait for switches", () => waits.size);
  const limited = metrics?.counter("axion_api_rate_limited_total", "Requests that were refused with 429, by what was asked too often: project or address", ["by"]);
  const rates = new RateLimiter(options.rates ?? {}, (by) => limited?.inc({ by }));
  metrics?.gauge("axion_api_rate_buckets", "Projects and addresses whose requests are counted", () => Object.entries(rates.counts).map(([by, value]) => ({ labels: { by }, value })), ["by"]);

  const cut = metrics?.counter("axion_api_watchers_cut_total", "Clients of /v2.0/axion/watch that were cut off, by reason: slow, reset, unauthenticated", ["reason"]);
  const reached = new Reached(model, options.derived?.compiled, limits.reached);
  metrics?.gauge("axion_api_held", "Requests that wait for changes of other controllers", () => reached.size);
  const watches = new Watches({ registry, model, view, reached, ...options.derived, slots: engine.lists.slots, limits: limits.watches ?? {}, cut: (reason) => cut?.inc({ reason }), failed: (error) => log.error({ err: error }, "what a client watches could not be worked out") });
  metrics?.gauge("axion_api_watchers", "Clients of /v2.0/axion/watch", () => watches.size);
  metrics?.gauge("axion_api_watched_resources", "Resources that clients of /v2.0/axion/watch follow, each as often as it is followed", () => watches.following);

  const explanations = new Explanations(registry, view, options.explain);
  const bodyBytes = limits.bodyBytes ?? 2 * 1024 * 1024;
  const origins = new Set(options.corsOrigins);
  const { door } = options;
  const { times = requestTimes } = limits;
  const lines = new CountedLines(log);

  const server = fastify({
    logger: false,
    genReqId: () => `req-${randomUUID()}`,
    requestIdHeader: false,
    bodyLimit: bodyBytes,
    exposeHeadRoutes: false,
    requestTimeout: times.wholeMs,
    clientErrorHandler: badRequests("api", lines),
    forceCloseConnections: "idle",
    return503OnClosing: false, // what has come in is answered, see preClose
    routerOptions: { maxParamLength: urlBytes },
    // Longer heads than this are cut off by Node with 431.
    http: { maxHeaderSize: 4 * urlBytes, ...timed(times) },
    frameworkErrors: (error, request, reply) => {
      void reply.header("x-openstack-request-id", request.id);
      refuse(error, request, reply);
    },
  }) as unknown as Northbound;

  bound("api", server.server, limits.connections ?? 4096, lines);
  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => {
    decoded(headerOf(request, "content-encoding"), body as Buffer, bodyBytes, done);
  });
  // A connection that looks idle may have a request on its way: each is told with its next answer that it ends.
  let lastCame = 0;
  // What is not through by then is cut off: a request that never ends must not keep the process.
  server.addHook("preClose", (done) => {
    waits.close();
    reached.close();
    watches.close();
    const began = performance.now();
    setTimeout(() => server.server.closeAllConnections(), DRAIN_MAX_MS).unref();
    const drained = (): void => {
      const now = performance.now();
      server.server.getConnections((_error, open) => {
        if (open === 0 || now - began > DRAIN_MAX_MS || now - Math.max(began, lastCame) >= DRAIN_MS) done();
        else setTimeout(drained, DRAIN_MS / 3);
      });
    };
    drained();
  });
  if (metrics !== undefined) measureRequests(server, metrics, new Set([...registry.kinds.values()].map((k) => k.resource.collection)));
  server.addHook("onRequest", (request, reply, done) => {
    lastCame = performance.now();
    void reply.header("x-openstack-request-id", request.id);
    const { headers, url } = request.raw;
    const refusal = door === undefined ? undefined : refusedAtDoor(door, request.raw.method!, headers);
    if (refusal !== undefined) {
      lines.warn("a request of a web page, or for another host, was refused", { listener: "api", peer: request.ip, host: headers.host, origin: headers.origin });
      done(new ApiError(403, "HTTPForbidden", refusal));
      return;
    }
    if (origins.size > 0) {
      void reply.header("vary", "Origin");
      const allowed = corsHeaders(origins, headers);
      if (allowed !== undefined) {
        void reply.headers(allowed);
        if (isPreflight(request.raw.method, headers)) {
          reply.headers(preflightHeaders).code(204);
          sendWhole(reply, 204, undefined);
          return;
        }
      }
    }
    // What a body is, a face says; here it is bytes, even if the header is no media type at all.
    const type = headers["content-type"];
    if (type !== undefined) {
      mediaTypes.set(request.raw, type);
      headers["content-type"] = "application/octet-stream";
    }
    if (url!.length <= urlBytes) done();
    else done(new ApiError(414, "HTTPRequestURITooLong", `The URL is longer than ${urlBytes} bytes`));
  });

  function send(request: FastifyRequest, reply: FastifyReply, answer: FaceAnswer): void {
    reply.code(answer.status);
    if (answer.reason !== undefined) reply.raw.statusMessage = answer.reason;
    if (answer.generation !== undefined) reply.header("x-axion-generation", String(answer.generation));
    if (answer.headers !== undefined) reply.headers(answer.headers);
    const { body } = answer;
    const untold = body === undefined || reply.hasHeader("content-type") ? undefined : typeof body === "string" ? "text/plain; charset=utf-8" : "application/octet-stream";
    const contentType = answer.contentType ?? untold;
    if (contentType !== undefined) reply.header("content-type", contentType);
    const whole = body === undefined || typeof body === "string" || body instanceof Uint8Array;
    const varies = contentType?.startsWith("application/json") === true && !reply.hasHeader("content-encoding") && (!whole || (typeof body === "string" && body.length >= COMPRESSED_FROM));
    if (varies) reply.header("vary", origins.size > 0 ? "Origin, Accept-Encoding" : "Accept-Encoding");
    const gzip = varies && request.raw.method === "GET" && acceptsGzip(headerOf(request, "accept-encoding"));
    if (whole && !gzip) {
      sendWhole(reply, answer.status, body);
      return;
    }
    const stream = body instanceof Readable ? body : Readable.from(typeof body === "string" ? [Buffer.from(body)] : body, { objectMode: false });
    // By now the status is out: all that can be done is to end the connection, so that nobody takes a part for the whole.
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // The client went away.
      if (gzip && error.code === "ERR_STREAM_PREMATURE_CLOSE") return;
      log.error({ ...idsOf(request), method: request.method, url: request.url, err: error }, "an answer broke off");
    });
    if (gzip) reply.header("content-encoding", "gzip");
    void reply.send(gzip ? compressed(stream) : stream);
  }

  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const path = pathOf(request.raw.url!);
    const face = faceOf(faces, path) ?? own;
    const refusal = refusalOf(error, model, log, { ...idsOf(request), method: request.method, url: request.url });
    if (error instanceof Unauthenticated) reply.header("www-authenticate", error.challenge);
    if (refusal.retryAfterS !== undefined) reply.header("retry-after", String(refusal.retryAfterS));
    send(request, reply, face.refuse(refusal, { method: request.method, path: path.slice(face.prefix.length), header: (name) => headerOf(request, name) }));
  }
  server.setErrorHandler(refuse);
  server.setNotFoundHandler((request, reply) => refuse(new ApiError(404, "HTTPNotFound", "The resource could not be found."), request, reply));

  /** A write whose answer waits for switches. A client that goes away waits no more. */
  async function waiting(act: () => FaceAnswer | Promise<FaceAnswer>, wait: Wait, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const gone = (): void => wait.end();
    reply.raw.once("close", gone);
    try {
      const answer = await act();
      const headers = answer.generation === undefined ? {} : await wait.until(answer.generation);
      if (!reply.raw.destroyed) send(request, reply, { ...answer, headers: { ...answer.headers, ...headers } });
    } finally {
      reply.raw.off("close", gone);
      wait.end();
    }
  }

  /** A stream of server-sent events (clients/watch.ts); what is wrong with the request is refused as that of any. */
  async function watching(asked: FaceRequest, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (request.method !== "GET") throw wrongMethod();
    const lastEventId = headerOf(request, "last-event-id");
    const again = (): Caller | Promise<Caller> => authenticator.authenticate({ requestId: request.id, header: (name) => headerOf(request, name) });
    await watches.open({ query: asked.query, lastEventId, accept: headerOf(request, "accept"), caller: asked.caller, again }, () => {
      reply.hijack();
      reply.raw.writeHead(200, { ...(reply.getHeaders() as OutgoingHttpHeaders), "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" });
      return reply.raw;
    }, (listener) => void reply.raw.once("close", listener));
  }

  function handle(face: Face, request: FastifyRequest, reply: FastifyReply): void {
    const started = performance.now();
    const token = headerOf(request, "x-auth-token");
    const hashed = hasherOf(token);
    const served = (caller: Caller): Promise<void> | undefined => {
      // What it shows is at least of this generation.
      if (request.method === "GET") void reply.header("x-axion-generation", String(reached.generation));
      const asked = faceRequest(face, request, caller);
      if (face === own && WATCH.test(asked.path)) return watching(asked, request, reply);
      if (face === own && EXPLAIN.test(asked.path)) return explanations.of(request.method, asked).then((body) => { send(request, reply, json(body)); });
      const meant = plans?.take(asked);
      const act = (): FaceAnswer | Promise<FaceAnswer> => (meant === undefined ? face.handle(asked, operations) : plans!.handle(face, asked, meant));
      const wait = request.method === "GET" || asked.query.size === 0 ? undefined : waits.take(asked.query, caller);
      if (wait !== undefined) return waiting(act, wait, request, reply);
      const answer = act();
      if (!(answer instanceof Promise)) send(request, reply, answer);
      else {
        return answer.then((a) => {
          send(request, reply, a);
        });
      }
      return undefined;
    };
    const run = (caller: Caller): Promise<void> | undefined => {
      rates.known(caller, token, hashed);
      if (options.unwritable !== undefined && request.method !== "GET") throw new ApiError(503, "ServiceUnavailable", options.unwritable);
      const held = reached.wanted(headerOf(request, "x-axion-min-generation"), caller);
      return held === undefined ? served(caller) : held.then(() => served(caller));
    };
    const failed = (error: unknown): void => {
      if (error instanceof Unauthenticated) rates.refused(request.ip, token);
      refuse(error, request, reply);
    };
    const logged = (): void => {
      if (!log.isLevelEnabled("debug")) return;
      log.debug({ ...idsOf(request), method: request.method, url: request.url, status: reply.statusCode, ms: performance.now() - started }, "request");
    };
    try {
      rates.before(request.ip, token, hashed);
      const caller = authenticator.authenticate({ requestId: request.id, header: (name) => headerOf(request, name), hashed });
      const done = caller instanceof Promise ? caller.then(run) : run(caller);
      if (done instanceof Promise) done.catch(failed).finally(logged);
      else logged();
    } catch (error) {
      failed(error);
      logged();
    }
  }

  for (const face of faces) {
    const handler = (request: FastifyRequest, reply: FastifyReply): void => handle(face, request, reply);
    server.route({ method: [...METHODS], url: face.prefix, handler });
    server.route({ method: [...METHODS], url: `${face.prefix}/*`, handler });
  }
  server.get("/", (request, reply) => {
    const base = baseOf(request.raw.headers, request.protocol);
    const versions = [own, ...faces.filter((f) => f !== own)].flatMap((f) => (f.version === undefined ? [] : [{ ...f.version, links: [{ rel: "self", href: `${base}${f.prefix}/` }] }]));
    let answer: FaceAnswer | undefined;
    for (const face of faces) answer ??= face.listing?.(versions, { header: (name) => headerOf(request, name) });
    send(request, reply, answer ?? json({ versions }));
  });
  server.get("/healthcheck", (_request, reply) => void reply.header("content-type", "text/plain; charset=UTF-8").send("OK"));
  server.get("/openapi.json", (request, reply) => send(request, reply, json(description())));
  server.addHook("onClose", async () => {
    policyFile?.close();
    await authenticator.close?.();
  });
  return Object.assign(server, { registry, engine, plans, faces, operations, policyFile });
}
