// Calls that an operator plans and makes: as text, of whichever face the path belongs to, on behalf of an administrator or of a project.
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { ApiError, badRequest, type Face, type FaceAnswer, type FaceRequest, type Operations } from "../../app/contract.ts";
import type { Model } from "../../model/model.ts";
import { noAuth } from "../auth/noauth.ts";
import { faceOf, refusalOf } from "../faces/face.ts";
import type { Plans } from "./plans.ts";

export interface PlannedCall {
  readonly method: string;
  /** With the query, if there is one. */
  readonly path: string;
  /** JSON; undefined: none. */
  readonly body: string | undefined;
  /** Whose call it is; undefined: an administrator's. */
  readonly project: string | undefined;
  /** Comma-separated; undefined: a member's of a project. */
  readonly roles: string | undefined;
}

export interface Refused {
  readonly status: number;
  readonly type: string;
  readonly message: string;
}
/** The plan as JSON, or what the call would be refused with. */
export type PlanOfCall = (call: PlannedCall) => Promise<{ readonly plan: string } | Refused>;
/** What the call is answered; `plan`: the token of a plan that it has to come to. */
export type MakeCall = (call: PlannedCall & { readonly plan: string | undefined }) => Promise<{ readonly answer: FaceAnswer } | Refused>;

export interface OperatorParts {
  readonly plans: Plans;
  readonly faces: readonly Face[];
  readonly operations: Operations;
  readonly model: Model;
  readonly log: Logger;
  /** Why nothing may be changed. */
  readonly unwritable?: string | undefined;
  /** Why nobody may make calls that change something here. */
  readonly forbidden?: string | undefined;
}

const METHODS: ReadonlySet<string> = new Set(["POST", "PUT", "DELETE", "PATCH"]);
/** The user that history names for what is called here: who it is the ops listener does not know. */
const USER = "console";

/** @throws ApiError */
async function requested(faces: readonly Face[], { method, path, body, project, roles }: PlannedCall, requestId: string, more: Readonly<Record<string, string | undefined>> = {}): Promise<{ readonly face: Face; readonly request: FaceRequest }> {
  const [, before, query] = /^([^?#]*)(?:\?([^#]*))?$/.exec(path) ?? [];
  const face = before === undefined ? undefined : faceOf(faces, before);
  if (face === undefined) throw badRequest(`path: '${path.slice(0, 64)}' is no path of the API, which are below ${faces.map(({ prefix }) => prefix).join(", ")}`);
  const headers: Readonly<Record<string, string | undefined>> = { "content-type": body === undefined ? undefined : "application/json", "x-project-id": project, "x-roles": roles, ...more };
  const header = (name: string): string | undefined => headers[name];
  const caller = await noAuth.authenticate({ requestId, header });
  return { face, request: { id: requestId, method, path: before!.slice(face.prefix.length), query: new URLSearchParams(query ?? ""), base: "", body: Buffer.from(body ?? ""), caller, header } };
}

export function plansOfOperator({ plans, faces, model, log }: Omit<OperatorParts, "operations" | "unwritable" | "forbidden">): PlanOfCall {
  return async (call) => {
    const requestId = `req-${randomUUID()}`;
    const { method } = call;
    try {
      if (!METHODS.has(method)) throw badRequest(`method: '${method.slice(0, 16)}' is none of ${[...METHODS].join(", ")}, which change something`);
      const { face, request } = await requested(faces, call, requestId);
      if (["plan", "wait"].some((name) => request.query.has(name))) throw badRequest("path: plan and wait are no part of a call that is planned");
      return { plan: await plans.plan(face, request, true) };
    } catch (error) {
      return refusalOf(error, model, log, { requestId, method, url: call.path });
    }
  };
}

/** Calls of the API that an operator makes over the ops listener: the same faces, operations and plans, in this process. */
export function callsOfOperator({ plans, faces, operations, model, log, unwritable, forbidden }: OperatorParts): MakeCall {
  return async (call) => {
    const requestId = `req-${randomUUID()}`;
    const { method } = call;
    try {
      if (method !== "GET" && !METHODS.has(method)) throw badRequest(`method: '${method.slice(0, 16)}' is none of GET, ${[...METHODS].join(", ")}`);
      if (method !== "GET" && forbidden !== undefined) throw new ApiError(403, "Forbidden", forbidden);
      if (method !== "GET" && unwritable !== undefined) throw new ApiError(503, "ServiceUnavailable", unwritable);
      const { face, request } = await requested(faces, call, requestId, { "x-user-id": USER, "x-axion-plan": call.plan });
      if (["plan", "wait"].some((name) => request.query.has(name))) throw badRequest("path: plan and wait are no part of a call here: POST /plan plans it");
      const meant = plans.take(request);
      return { answer: await (meant === undefined ? face.handle(request, operations) : plans.handle(face, request, meant)) };
    } catch (error) {
      return refusalOf(error, model, log, { requestId, method, url: call.path });
    }
  };
}
