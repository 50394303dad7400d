// `POST /plan`: what a call of the tenant API would come to, for operators.
import type { OpsServer } from "./server.ts";

/** See src/northbound/plans/operator.ts. */
export type PlanOfCall = (call: { readonly method: string; readonly path: string; readonly body: string | undefined; readonly project: string | undefined; readonly roles: string | undefined }) =>
Promise<{ readonly plan: string } | { readonly status: number; readonly type: string; readonly message: string }>;

/** Bytes of the whole request. */
const BODY_LIMIT = 2 << 20;
const FIELDS: ReadonlySet<string> = new Set(["method", "path", "body", "project", "roles"]);

type Given = Readonly<Record<string, unknown>>;

/** What is wrong with the request; undefined: nothing. */
function fault(given: unknown): string | undefined {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return "a JSON object with method and path is expected";
  const of = given as Given;
  const unknown = Object.keys(of).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) return `${unknown.slice(0, 64)}: is not known here; there are ${[...FIELDS].join(", ")}`;
  for (const name of ["method", "path"]) if (typeof of[name] !== "string" || of[name] === "") return `${name}: is missing, or is no text`;
  for (const name of ["project", "roles"]) if (of[name] !== undefined && (typeof of[name] !== "string" || of[name] === "")) return `${name}: is no text, or empty`;
  return undefined;
}

export function planRoutes(server: OpsServer, planOf: PlanOfCall): void {
  server.post("/plan", { bodyLimit: BODY_LIMIT }, async (request, reply) => {
    const wrong = fault(request.body);
    if (wrong !== undefined) return reply.code(400).send({ error: { code: "BAD_REQUEST", message: wrong } });
    const { method, path, body, project, roles } = request.body as { method: string; path: string; body?: unknown; project?: string; roles?: string };
    const answer = await planOf({ method: method.toUpperCase(), path, body: body === undefined || body === null ? undefined : JSON.stringify(body), project, roles });
    if ("plan" in answer) return reply.header("content-type", "application/json; charset=utf-8").send(answer.plan);
    return reply.code(answer.status).send({ error: { code: "CALL_REFUSED", message: answer.message, type: answer.type } });
  });
}
