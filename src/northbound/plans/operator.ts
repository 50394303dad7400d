// Plans that an operator asks for: a call as text, of whichever face its path belongs to, on behalf of an administrator or of a project.
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { badRequest, type Face, type FaceRequest } from "../../app/contract.ts";
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

/** The plan as JSON, or what the call would be refused with. */
export type PlanOfCall = (call: PlannedCall) => Promise<{ readonly plan: string } | { readonly status: number; readonly type: string; readonly message: string }>;

const METHODS: ReadonlySet<string> = new Set(["POST", "PUT", "DELETE", "PATCH"]);

export function plansOfOperator({ plans, faces, model, log }: { readonly plans: Plans; readonly faces: readonly Face[]; readonly model: Model; readonly log: Logger }): PlanOfCall {
  return async ({ method, path, body, project, roles }) => {
    const requestId = `req-${randomUUID()}`;
    try {
      if (!METHODS.has(method)) throw badRequest(`method: '${method.slice(0, 16)}' is none of ${[...METHODS].join(", ")}, which change something`);
      const [, before, query] = /^([^?#]*)(?:\?([^#]*))?$/.exec(path) ?? [];
      const face = before === undefined ? undefined : faceOf(faces, before);
      if (face === undefined) throw badRequest(`path: '${path.slice(0, 64)}' is no path of the API, which are below ${faces.map(({ prefix }) => prefix).join(", ")}`);
      const headers: Readonly<Record<string, string | undefined>> = { "content-type": body === undefined ? undefined : "application/json", "x-project-id": project, "x-roles": roles };
      const header = (name: string): string | undefined => headers[name];
      const caller = await noAuth.authenticate({ requestId, header });
      const request: FaceRequest = { id: requestId, method, path: before!.slice(face.prefix.length), query: new URLSearchParams(query ?? ""), base: "", body: Buffer.from(body ?? ""), caller, header };
      if (["plan", "wait"].some((name) => request.query.has(name))) throw badRequest("path: plan and wait are no part of a call that is planned");
      return { plan: await plans.plan(face, request, true) };
    } catch (error) {
      return refusalOf(error, model, log, { requestId, method, url: path });
    }
  };
}
