// v2.0: the OpenStack Networking API in JSON. Every path goes through routes.ts, because the same resource answers to several spellings
// ("-" or "_", ".json", a last slash).
import { isUtf8 } from "node:buffer";
import { ApiError, badRequest, parseJson, type Face, type FaceAnswer, type FaceRequest } from "../../app/contract.ts";
import { openApi } from "../description/openapi.ts";
import type { Answer, Call, Engine } from "../operations.ts";
import { route, wrongMethod } from "../routes.ts";

const JSON_TYPE = "application/json";
const PREFIX = "/v2.0";

export const errorBody = (type: string, message: string): string => JSON.stringify({ NeutronError: { type, message, detail: "" } });

/** A JSON answer. */
export const json = (body: unknown, status = 200): FaceAnswer => ({ status, contentType: JSON_TYPE, body: typeof body === "string" ? body : JSON.stringify(body) });

function parseBody(body: Uint8Array): unknown {
  if (body.length === 0) return undefined;
  try {
    if (isUtf8(body)) return parseJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // Else it is said below.
  }
  throw badRequest("Body contains invalid data");
}

/** Path segments, decoded, without the last slash and the ".json" of the last one. */
function segmentsOf(path: string): string[] {
  const parts = path.slice(1).split("/");
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

function acceptsJson(accept: string | undefined): void {
  if (accept === undefined || accept === "" || /\*\/\*|application\/\*|json/i.test(accept)) return;
  throw new ApiError(406, "HTTPNotAcceptable", "Only application/json is served");
}

const answerOf = ({ status, body, generation }: Answer): FaceAnswer => (body === undefined ? { status, generation } : { status, contentType: JSON_TYPE, body, generation });

/** The API's description in OpenAPI, made when it is first asked for. */
export type Described = () => string;

export function describe(engine: Engine): Described {
  let made: { readonly version: number; readonly text: string } | undefined;
  return () => {
    const { version } = engine.registry.policy;
    if (made?.version !== version) made = { version, text: JSON.stringify(openApi(engine.registry)) };
    return made.text;
  };
}

export function v2(engine: Engine, description: Described): Face {
  const { registry } = engine;

  function alias(name: string | undefined): unknown {
    const entries = registry.aliases.map((a) => ({ ...a, links: [] }));
    if (name === undefined) return { extensions: entries };
    const found = entries.find((e) => e.alias === name);
    if (found === undefined) throw new ApiError(404, "ExtensionNotFound", `Extension with alias ${name.slice(0, 255)} does not exist`);
    return { extension: found };
  }

  const discovery = (base: string): unknown => ({
    resources: [...registry.paths.values()]
      .filter((k) => k.resource.alias === undefined)
      .map((k) => ({ name: k.name, collection: k.resource.collection, links: [{ rel: "self", href: `${base}${PREFIX}/${k.resource.collection}` }] })),
  });

  /** What is not a resource: discovery, extensions, this API's description. */
  function fixed(segments: readonly string[], request: FaceRequest): unknown {
    const [first, second] = segments;
    let body: (() => unknown) | undefined;
    if (first === undefined) body = () => discovery(request.base);
    else if (first === "extensions" && segments.length <= 2) body = () => alias(second);
    else if (first === "openapi" && segments.length === 1) body = description;
    if (body === undefined) return undefined;
    if (request.method !== "GET") throw wrongMethod();
    return body();
  }

  return {
    name: "v2.0",
    prefix: PREFIX,
    version: { id: "v2.0", status: "CURRENT" },

    handle(request) {
      acceptsJson(request.header("accept"));
      const { method, path, base, caller } = request;
      const segments = segmentsOf(path === "" ? "/" : path);
      const body = fixed(segments, request);
      if (body !== undefined) return json(body);
      const full = PREFIX + path;
      const call: Call = { method, path: full.endsWith(".json") ? full.slice(0, -".json".length) : full, base, params: request.query, caller, ifMatch: request.header("if-match"), bytes: request.body.length };
      const answer = route(engine, segments, call, () => parseBody(request.body));
      return answer instanceof Promise ? answer.then(answerOf) : answerOf(answer);
    },

    refuse: ({ status, type, message }) => json(errorBody(type, message), status),
  };
}
