// `POST /plan`: what a call of the tenant API would come to, for operators; `POST /call`: makes it, if it still comes to that. Neither is for pages of others,
// whoever's token they found: what they send bears their origin.
import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { refusedAtDoor, type Door } from "../lib/http/door.ts";
import type { OpsServer } from "./server.ts";

/** Of the tenant API; `body` as JSON. */
interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  readonly project: string | undefined;
  readonly roles: string | undefined;
}
interface Refused {
  readonly status: number;
  readonly type: string;
  readonly message: string;
}
interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
  readonly generation?: number | undefined;
}
/** See src/northbound/plans/operator.ts. */
export type PlanOfCall = (call: Call) => Promise<{ readonly plan: string } | Refused>;
export type MakeCall = (call: Call & { readonly plan: string | undefined }) => Promise<{ readonly answer: Answer } | Refused>;

/** Bytes of the whole request. */
const BODY_LIMIT = 2 << 20;
const FIELDS = ["method", "path", "body", "project", "roles"] as const;
/** Pages of other origins have no way in here, not even with the token. */
const OWN_PAGES: Door = { hosts: undefined, origins: new Set(), links: false };

type Given = Readonly<Record<string, unknown>>;

/** What is wrong with the request; undefined: nothing. */
function fault(given: unknown, fields: readonly string[]): string | undefined {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return "a JSON object with method and path is expected";
  const of = given as Given;
  const unknown = Object.keys(of).find((name) => !fields.includes(name));
  if (unknown !== undefined) return `${unknown.slice(0, 64)}: is not known here; there are ${fields.join(", ")}`;
  for (const name of ["method", "path"]) if (typeof of[name] !== "string" || of[name] === "") return `${name}: is missing, or is no text`;
  for (const name of ["project", "roles", "plan"]) if (of[name] !== undefined && (typeof of[name] !== "string" || of[name] === "")) return `${name}: is no text, or empty`;
  return undefined;
}

function callOf(given: unknown): Call & { readonly plan: string | undefined } {
  const { method, path, body, project, roles, plan } = given as { method: string; path: string; body?: unknown; project?: string; roles?: string; plan?: string };
  return { method: method.toUpperCase(), path, body: body === undefined || body === null ? undefined : JSON.stringify(body), project, roles, plan };
}

/** Whether it was answered, for what is wrong with it. */
function isRefused(request: FastifyRequest, reply: FastifyReply, fields: readonly string[]): boolean {
  const foreign = refusedAtDoor(OWN_PAGES, request.method, request.raw.headers);
  const wrong = foreign ?? fault(request.body, fields);
  if (wrong !== undefined) void reply.code(foreign === undefined ? 400 : 403).send({ error: { code: foreign === undefined ? "BAD_REQUEST" : "FORBIDDEN", message: wrong } });
  return wrong !== undefined;
}

const refuse = (reply: FastifyReply, { status, type, message }: Refused): FastifyReply => reply.code(status).send({ error: { code: "CALL_REFUSED", message, type } });

export function planRoutes(server: OpsServer, planOf: PlanOfCall, make: MakeCall): void {
  server.post("/plan", { bodyLimit: BODY_LIMIT }, async (request, reply) => {
    if (isRefused(request, reply, FIELDS)) return reply;
    const answer = await planOf(callOf(request.body));
    return "plan" in answer ? reply.header("content-type", "application/json; charset=utf-8").send(answer.plan) : refuse(reply, answer);
  });
  server.post("/call", { bodyLimit: BODY_LIMIT }, async (request, reply) => {
    if (isRefused(request, reply, [...FIELDS, "plan"])) return reply;
    const made = await make(callOf(request.body));
    if (!("answer" in made)) return refuse(reply, made);
    const { status, contentType = "application/json; charset=utf-8", body, generation } = made.answer;
    if (generation !== undefined) reply.header("x-axion-generation", String(generation));
    reply.code(status);
    if (body === undefined) return reply.send();
    reply.header("content-type", contentType);
    return reply.send(typeof body === "string" || Buffer.isBuffer(body) ? body : body instanceof Uint8Array ? Buffer.from(body) : Readable.from(body, { objectMode: false }));
  });
}
