// The tenant API's HTTP: one fastify instance, paths to operations, refusals to error envelopes. Every path under /v2.0/ goes
// through one wildcard route, because the same resource answers to several spellings ("-" or "_", ".json", a last slash).
import { randomUUID } from "node:crypto";
import { isUtf8 } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { ApiError, badRequest, type App, type Caller } from "../app/contract.ts";
import { TooBusy, TransactionTooLarge, type Model } from "../model/model.ts";
import { StoreError } from "../store/errors.ts";
import { Engine, type Answer, type Call, type Place } from "./operations.ts";
import { makeRegistry, type Kind, type Registry } from "./kinds.ts";
import { openApi } from "./openapi.ts";
import { impliedRoles } from "./policy/expression.ts";

export interface Limits {
  /** Bytes of a request body. */
  readonly bodyBytes?: number;
  /** Bytes of path and query. */
  readonly urlBytes?: number;
  /** Items of one bulk request. */
  readonly bulkItems?: number;
  /** Longest page of a list; 0: no limit. */
  readonly pageMax?: number;
}

/** Who asks. May throw an ApiError (401). */
export type Authenticate = (headers: IncomingHttpHeaders, requestId: string) => Caller | Promise<Caller>;

export interface NorthboundOptions {
  readonly apps: readonly App[];
  readonly model: Model;
  readonly auth: "none" | Authenticate;
  readonly log: Logger;
  readonly limits?: Limits;
  /** Further entries of `GET /`: other API versions on this listener. */
  readonly versions?: readonly { readonly id: string; readonly status: string; readonly path: string }[];
}

export type Northbound = FastifyInstance & { readonly registry: Registry; readonly engine: Engine };

const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] as const;
const JSON_TYPE = "application/json";
const INTERNAL = "Request Failed: internal server error while processing your request.";

const notHere = (): ApiError => new ApiError(404, "HTTPNotFound", "The resource could not be found.");
const wrongMethod = (): ApiError => new ApiError(405, "HTTPMethodNotAllowed", "The method is not allowed for this resource.");

export const errorBody = (type: string, message: string): string => JSON.stringify({ NeutronError: { type, message, detail: "" } });

const ADMIN = impliedRoles(["admin"]);
const MEMBER = impliedRoles(["member"]);
const roleSets = new Map<string, ReadonlySet<string>>();

/** The set for a header's text: the same object for the same text, so that others can key on it. */
export function rolesOf(text: string): ReadonlySet<string> {
  let roles = roleSets.get(text);
  if (roles === undefined) {
    roles = impliedRoles(text.split(","));
    if (roleSets.size < 1000) roleSets.set(text, roles);
  }
  return roles;
}

const one = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header[0] : header);

/** No authentication: an administrator, unless the headers say which project and roles. */
function trusted(headers: IncomingHttpHeaders, requestId: string): Caller {
  const project = one(headers["x-project-id"]) ?? one(headers["x-tenant-id"]);
  const roleText = one(headers["x-roles"]);
  const roles = roleText !== undefined ? rolesOf(roleText) : project === undefined ? ADMIN : MEMBER;
  if (project !== undefined && project.length > 255) throw badRequest("X-Project-Id is longer than 255 characters");
  return { requestId, projectId: project ?? "", userId: one(headers["x-user-id"]) ?? "", roles, admin: roles.has("admin") };
}

/** Scheme, host and prefix as the client sees them. */
function baseOf(headers: IncomingHttpHeaders, protocol: string): string {
  const scheme = one(headers["x-forwarded-proto"]) ?? protocol;
  const host = one(headers["x-forwarded-host"]) ?? headers.host ?? "localhost";
  const prefix = (one(headers["x-forwarded-prefix"]) ?? "").replace(/\/+$/, "");
  return `${scheme}://${host}${prefix}`;
}

/** For requests that are under way when the server is closed. */
const DRAIN_MS = 100;

function parseBody(body: unknown): unknown {
  if (!Buffer.isBuffer(body) || body.length === 0) return undefined;
  try {
    if (isUtf8(body)) return JSON.parse(body.toString("utf8")) as unknown;
  } catch {
    // said below
  }
  throw badRequest("Body contains invalid data");
}

/** Path segments, decoded, without the last slash and the ".json" of the last one. */
function segmentsOf(path: string): string[] {
  const parts = path.slice("/v2.0/".length).split("/");
  if (parts.at(-1) === "") parts.pop();
  const last = parts.length - 1;
  const isTag = parts[last - 1] === "tags";
  if (last >= 0 && !isTag && parts[last]!.endsWith(".json")) parts[last] = parts[last]!.slice(0, -".json".length);
  try {
    return parts.map((p) => decodeURIComponent(p));
  } catch {
    throw badRequest("The path is not valid percent-encoded UTF-8");
  }
}

function findKind(paths: ReadonlyMap<string, Kind>, segments: readonly string[], at: number): { kind: Kind; next: number } | undefined {
  const first = segments[at]?.replaceAll("-", "_");
  if (first === undefined) return undefined;
  const kind = paths.get(first);
  if (kind !== undefined) return { kind, next: at + 1 };
  const second = segments[at + 1]?.replaceAll("-", "_");
  const nested = second === undefined ? undefined : paths.get(`${first}/${second}`);
  return nested === undefined ? undefined : { kind: nested, next: at + 2 };
}

export function createNorthbound(options: NorthboundOptions): Northbound {
  const { apps, model, auth, log } = options;
  const urlBytes = options.limits?.urlBytes ?? 16 * 1024;
  const registry = makeRegistry(apps);
  const engine = new Engine(registry, model, { bulkItems: options.limits?.bulkItems ?? 1000, pageMax: options.limits?.pageMax ?? 0 });
  const authenticate: Authenticate = auth === "none" ? trusted : auth;

  const server = fastify({
    logger: false,
    genReqId: () => `req-${randomUUID()}`,
    requestIdHeader: false,
    bodyLimit: options.limits?.bodyBytes ?? 2 * 1024 * 1024,
    exposeHeadRoutes: false,
    requestTimeout: 60_000,
    forceCloseConnections: "idle",
    return503OnClosing: false, // what has come in is answered, see preClose
    routerOptions: { maxParamLength: urlBytes },
    // Longer heads than this are cut off by Node with 431.
    http: { maxHeaderSize: 4 * urlBytes },
    frameworkErrors: (error, request, reply) => {
      void reply.header("x-openstack-request-id", request.id);
      refuse(error, request, reply);
    },
  }) as unknown as Northbound;

  server.removeAllContentTypeParsers();
  server.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
    done(null, body);
  });
  // A connection that looks idle may have a request on its way: each is told with its next answer that it ends.
  server.addHook("preClose", (done) => {
    server.server.getConnections((_error, open) => setTimeout(done, open > 0 ? DRAIN_MS : 0));
  });
  server.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-openstack-request-id", request.id);
    const { headers, url } = request.raw;
    // Here anything is taken as JSON, whatever a client calls it, even if the header is no media type at all.
    if (headers["content-type"] !== undefined && url!.startsWith("/v2.0")) headers["content-type"] = JSON_TYPE;
    if (url!.length <= urlBytes) done();
    else done(new ApiError(414, "HTTPRequestURITooLong", `The URL is longer than ${urlBytes} bytes`));
  });

  function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    let status = 500;
    let type = "HTTPInternalServerError";
    let message = INTERNAL;
    if (error instanceof ApiError) ({ status, type, message } = error);
    else if (error instanceof TransactionTooLarge) {
      status = 413;
      type = "HTTPRequestEntityTooLarge";
      message = `The request changes more than one transaction can hold: ${error.message}.`;
    } else if (error instanceof TooBusy) {
      status = 503;
      type = "ServiceUnavailable";
      message = "Too many changes wait to be written; nothing was changed. Try again.";
      reply.header("retry-after", String(error.retryAfterS));
    } else if (error instanceof StoreError || (model.storeFailure !== undefined && error === model.storeFailure)) {
      status = 503;
      type = "ServiceUnavailable";
      message = "The store cannot be written now; nothing was changed.";
      log.error({ requestId: request.id, method: request.method, url: request.url, err: error }, "store failed");
    } else if (error instanceof Error && typeof (error as FastifyError).statusCode === "number" && (error as FastifyError).statusCode! < 500) {
      // What fastify itself refuses, by its status.
      status = (error as FastifyError).statusCode!;
      message = error.message;
      type = status === 413 ? "HTTPRequestEntityTooLarge" : status === 404 ? "HTTPNotFound" : "HTTPBadRequest";
    } else log.error({ requestId: request.id, method: request.method, url: request.url, err: error }, "request failed");
    void reply.code(status).header("content-type", JSON_TYPE).send(errorBody(type, message));
  }
  server.setErrorHandler(refuse);
  server.setNotFoundHandler((_request, reply) => {
    void reply.code(404).header("content-type", JSON_TYPE).send(errorBody("HTTPNotFound", "The resource could not be found."));
  });

  function acceptsJson(request: FastifyRequest): void {
    const { accept } = request.raw.headers;
    if (accept === undefined || accept === "" || /\*\/\*|application\/\*|json/i.test(accept)) return;
    throw new ApiError(406, "HTTPNotAcceptable", "Only application/json is served");
  }

  function finish(reply: FastifyReply, answer: Answer): void {
    reply.code(answer.status);
    if (answer.generation !== undefined) reply.header("x-axion-generation", String(answer.generation));
    if (answer.body === undefined) void reply.send();
    else void reply.header("content-type", JSON_TYPE).send(answer.body);
  }

  const json = (reply: FastifyReply, body: unknown): void => finish(reply, { status: 200, body: typeof body === "string" ? body : JSON.stringify(body) });

  function alias(name: string | undefined): unknown {
    const entries = registry.aliases.map((a) => ({ ...a, links: [] }));
    if (name === undefined) return { extensions: entries };
    const found = entries.find((e) => e.alias === name);
    if (found === undefined) throw new ApiError(404, "ExtensionNotFound", `Extension with alias ${name.slice(0, 255)} does not exist`);
    return { extension: found };
  }

  /** What is not a resource: discovery, extensions, this API's description. */
  function fixed(segments: readonly string[], method: string, base: string): unknown {
    const [first, second] = segments;
    let body: (() => unknown) | undefined;
    if (first === undefined) body = () => discovery(base);
    else if (first === "extensions" && segments.length <= 2) body = () => alias(second);
    else if (first === "openapi" && segments.length === 1) body = description;
    if (body === undefined) return undefined;
    if (method !== "GET") throw wrongMethod();
    return body();
  }

  const discovery = (base: string): unknown => ({
    resources: [...registry.paths.values()]
      .filter((k) => k.resource.alias === undefined)
      .map((k) => ({ name: k.name, collection: k.resource.collection, links: [{ rel: "self", href: `${base}/v2.0/${k.resource.collection}` }] })),
  });
  let described: string | undefined;
  const description = (): string => (described ??= JSON.stringify(openApi(registry)));

  function route(segments: readonly string[], call: Call, body: () => unknown): Answer | Promise<Answer> {
    const found = findKind(registry.paths, segments, 0);
    if (found === undefined) throw notHere();
    let { kind, next } = found;
    let parentId: string | undefined;
    for (;;) {
      const place: Place = { kind, parentId };
      const { method } = call;
      const id = segments[next];
      if (id === undefined) {
        if (method === "GET") return engine.list(place, call);
        if (method === "POST") return engine.create(place, body(), call);
        throw method === "PUT" || method === "DELETE" ? notHere() : wrongMethod();
      }
      const below = segments[next + 1];
      if (below === undefined) {
        if (method === "GET") return engine.show(place, id, call);
        if (method === "PUT" && kind.resource.update !== undefined) return engine.update(place, id, body(), call);
        if (method === "DELETE") return engine.remove(place, id, call);
        throw wrongMethod();
      }
      const rest = segments.length - next - 1;
      if (below === "tags" && kind.tags && rest <= 2) {
        const tag = rest === 2 ? segments[next + 2] : undefined;
        if (method === "GET") return tag === undefined ? engine.tags(place, id, call) : engine.hasTag(place, id, tag, call);
        if (method === "PUT") return tag === undefined ? engine.setTags(place, id, body(), false, call) : engine.addTag(place, id, tag, call);
        if (method === "POST" && tag === undefined) return engine.setTags(place, id, body(), true, call);
        if (method === "DELETE") return engine.removeTags(place, id, tag, call);
        throw wrongMethod();
      }
      const action = rest === 1 ? kind.actions.get(below.replaceAll("-", "_")) : undefined;
      if (action !== undefined) {
        if (method !== (action.decl.method ?? "PUT")) throw wrongMethod();
        return engine.act(place, id, action, method === "GET" ? undefined : body(), call);
      }
      const child = findKind(kind.children, segments, next + 1);
      if (child === undefined) throw notHere();
      parentId = id;
      ({ kind, next } = child);
    }
  }

  function serve(request: FastifyRequest, reply: FastifyReply, caller: Caller): Answer | Promise<Answer> | undefined {
    acceptsJson(request);
    const { url } = request.raw;
    const mark = url!.indexOf("?");
    const path = mark < 0 ? url! : url!.slice(0, mark);
    const base = baseOf(request.raw.headers, request.protocol);
    const segments = segmentsOf(path === "/v2.0" ? "/v2.0/" : path);
    const fixedBody = fixed(segments, request.method, base);
    if (fixedBody !== undefined) {
      json(reply, fixedBody);
      return undefined;
    }
    const call: Call = {
      method: request.method,
      path: path.endsWith(".json") ? path.slice(0, -".json".length) : path,
      base,
      params: mark < 0 ? NO_PARAMS : new URLSearchParams(url!.slice(mark + 1)),
      caller,
      bytes: Buffer.isBuffer(request.body) ? request.body.length : 0, ifMatch: request.raw.headers["if-match"],
    };
    return route(segments, call, () => parseBody(request.body));
  }

  function handle(request: FastifyRequest, reply: FastifyReply): void {
    const started = performance.now();
    const run = (caller: Caller): Promise<void> | undefined => {
      const answer = serve(request, reply, caller);
      if (answer instanceof Promise) {
        return answer.then((a) => {
          finish(reply, a);
        });
      }
      if (answer !== undefined) finish(reply, answer);
      return undefined;
    };
    const failed = (error: unknown): void => refuse(error, request, reply);
    const logged = (): void => {
      if (!log.isLevelEnabled("debug")) return;
      const global = one(request.raw.headers["x-openstack-request-id"]);
      log.debug({ requestId: request.id, ...(global === undefined ? {} : { globalId: global.slice(0, 64) }), method: request.method, url: request.url, status: reply.statusCode, ms: performance.now() - started }, "request");
    };
    try {
      const caller = authenticate(request.raw.headers, request.id);
      const done = caller instanceof Promise ? caller.then(run) : run(caller);
      if (done instanceof Promise) done.catch(failed).finally(logged);
      else logged();
    } catch (error) {
      failed(error);
      logged();
    }
  }

  const NO_PARAMS = new URLSearchParams();
  const methods = [...METHODS];
  server.route({ method: methods, url: "/v2.0", handler: handle });
  server.route({ method: methods, url: "/v2.0/*", handler: handle });
  server.get("/", (request, reply) => {
    const base = baseOf(request.raw.headers, request.protocol);
    const versions = [{ id: "v2.0", status: "CURRENT", path: "/v2.0/" }, ...(options.versions ?? [])];
    json(reply, { versions: versions.map(({ id, status, path }) => ({ id, status, links: [{ rel: "self", href: `${base}${path}` }] })) });
  });
  server.get("/healthcheck", (_request, reply) => void reply.header("content-type", "text/plain; charset=UTF-8").send("OK"));
  server.get("/openapi.json", (_request, reply) => json(reply, description()));
  return Object.assign(server, { registry, engine });
}
