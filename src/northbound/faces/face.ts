// Faces as the listener has them: which one a path belongs to, errors as refusals, and the operations behind them all. The interface is
// the contract's (src/app/face.ts), as apps bring faces too.
import type { Logger } from "pino";
import { ApiError, notFound, type App, type Face, type FaceRefusal, type OperationRequest, type Operations, type ResourceHandle, type Values } from "../../app/contract.ts";
import { TooBusy, TransactionTooLarge, type Model } from "../../model/model.ts";
import { StoreError } from "../../store/errors.ts";
import type { Answer, Call, Engine, Place } from "../operations.ts";

const INTERNAL = "Request Failed: internal server error while processing your request.";

/** Those of the API layer and of the apps; longest prefix first. @throws Error naming two that have one prefix or name */
export function allFaces(own: readonly Face[], apps: readonly App[]): readonly Face[] {
  const faces = [...own, ...apps.flatMap((app) => app.faces ?? [])];
  const names = new Map<string, Face>();
  const prefixes = new Map<string, Face>();
  for (const face of faces) {
    if (!/^(\/[A-Za-z0-9._~-]+)+$/.test(face.prefix)) throw new Error(`the face ${face.name} has the prefix '${face.prefix}': "/" and a name, without a "/" at the end, is expected`);
    if (names.has(face.name)) throw new Error(`there are two faces named ${face.name}`);
    const other = prefixes.get(face.prefix);
    if (other !== undefined) throw new Error(`the faces ${other.name} and ${face.name} have the same prefix ${face.prefix}`);
    names.set(face.name, face);
    prefixes.set(face.prefix, face);
  }
  return faces.sort((a, b) => b.prefix.length - a.prefix.length);
}

/** The face of a path without its query. */
export const faceOf = (faces: readonly Face[], path: string): Face | undefined =>
  faces.find((f) => path.startsWith(f.prefix) && (path.length === f.prefix.length || path[f.prefix.length] === "/"));

/** What a client is told of an error. What it cannot mend is logged. */
export function refusalOf(error: unknown, model: Model, log: Logger, request: { readonly id: string; readonly method: string; readonly url: string }): FaceRefusal {
  const where = { requestId: request.id, method: request.method, url: request.url, err: error };
  if (error instanceof ApiError) return { status: error.status, type: error.type, message: error.message };
  if (error instanceof TransactionTooLarge) {
    return { status: 413, type: "HTTPRequestEntityTooLarge", message: `The request changes more than one transaction can hold: ${error.message}.` };
  }
  if (error instanceof TooBusy) {
    return { status: 503, type: "ServiceUnavailable", message: "Too many changes wait to be written; nothing was changed. Try again.", retryAfterS: error.retryAfterS };
  }
  if (error instanceof StoreError || (model.storeFailure !== undefined && error === model.storeFailure)) {
    log.error(where, "store failed");
    return { status: 503, type: "ServiceUnavailable", message: "The store cannot be written now; nothing was changed." };
  }
  const status = error instanceof Error ? (error as { readonly statusCode?: unknown }).statusCode : undefined;
  if (typeof status === "number" && status < 500) {
    // What the listener itself refuses, by its status.
    return { status, type: status === 413 ? "HTTPRequestEntityTooLarge" : status === 404 ? "HTTPNotFound" : "HTTPBadRequest", message: (error as Error).message };
  }
  log.error(where, "request failed");
  return { status: 500, type: "HTTPInternalServerError", message: INTERNAL };
}

async function* objects(texts: AsyncIterable<string>): AsyncGenerator<Values> {
  for await (const text of texts) yield JSON.parse(text) as Values;
}

const NO_PARAMS = new URLSearchParams();
const parsed = (answer: Answer): unknown => (typeof answer.body === "string" ? (JSON.parse(answer.body) as unknown) : undefined);

/** The narrow view of the operations that faces of apps get. */
export function operationsOf(engine: Engine): Operations {
  const placeOf = (resource: ResourceHandle): Place => ({ kind: engine.rows.kind(resource.name), parentId: undefined });
  const callOf = ({ caller, method, path, body }: OperationRequest, params = NO_PARAMS): Call => ({ caller, method, path, base: "", params, ifMatch: undefined, bytes: body?.length ?? 0 });
  const may = (can: boolean, what: string): void => {
    if (!can) throw new ApiError(405, "HTTPMethodNotAllowed", `${what} is not possible.`);
  };
  const value = (answer: Answer, name: string): Values => (parsed(answer) as Record<string, Values>)[name]!;
  return {
    list: async (resource, request, query = NO_PARAMS) => objects(await engine.listTexts(placeOf(resource), callOf(request, query))),
    show: (resource, id, request) => value(engine.show(placeOf(resource), id, callOf(request)), resource.name),
    async create(resource, values, request) {
      const place = placeOf(resource);
      may(place.kind.can.create, `To create a ${resource.name}`);
      const answer = await engine.create(place, { [resource.name]: values }, callOf(request));
      return { value: value(answer, resource.name), generation: answer.generation! };
    },
    async update(resource, id, changes, request) {
      const place = placeOf(resource);
      may(place.kind.can.update, `To change a ${resource.name}`);
      const answer = await engine.update(place, id, { [resource.name]: changes }, callOf(request));
      return { value: value(answer, resource.name), generation: answer.generation! };
    },
    async remove(resource, id, request) {
      const place = placeOf(resource);
      may(place.kind.can.delete, `To delete a ${resource.name}`);
      const answer = await engine.remove(place, id, callOf(request));
      return { value: undefined, generation: answer.generation! };
    },
    async act(resource, id, name, body, request, path = {}) {
      const place = placeOf(resource);
      const action = place.kind.actions.find((a) => a.name === name);
      if (action === undefined) throw notFound("HTTPNotFound", "The resource could not be found.");
      const answer = await engine.act(place, id, action, path, () => body, callOf(request));
      return { body: parsed(answer), ...(answer.generation === undefined ? {} : { generation: answer.generation }) };
    },
  };
}
