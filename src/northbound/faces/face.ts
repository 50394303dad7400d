// Faces as the listener has them: which one a path belongs to, errors as refusals, and the operations behind them all. The interface is
// the contract's (src/app/api/face.ts), as apps bring faces too.
import type { Logger } from "pino";
import {
  ApiError, notFound, show,
  type Acted, type App, type BatchOperations, type Face, type FaceRefusal, type OperationRequest, type Operations, type OperationTarget, type ResourceHandle, type Tx, type Values, type Written,
} from "../../app/contract.ts";
import { TooBusy, TransactionTooLarge, type Model } from "../../model/model.ts";
import { StoreError } from "../../store/errors.ts";
import type { Answer, Call, Engine, ResourceRef, Write } from "../operations.ts";

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
export function refusalOf(error: unknown, model: Model, log: Logger, request: { readonly requestId: string; readonly globalId?: string; readonly method: string; readonly url: string }): FaceRefusal {
  const where = { ...request, err: error };
  if (error instanceof ApiError) return { status: error.status, type: error.type, message: error.message, ...(error.retryAfterS === undefined ? {} : { retryAfterS: error.retryAfterS }) };
  if (error instanceof TransactionTooLarge) {
    return { status: 413, type: "HTTPRequestEntityTooLarge", message: `The request changes more than one transaction can hold: ${error.message}.` };
  }
  if (error instanceof TooBusy) {
    return { status: 503, type: "ServiceUnavailable", message: "Too many changes wait to be written; nothing was changed. Try again.", retryAfterS: error.retryAfterS };
  }
  if (error instanceof StoreError || (model.storeFailure !== undefined && error === model.storeFailure)) {
    log.error(where, "store failed");
    if (error instanceof StoreError && error.code === "UNAVAILABLE") {
      const changed = error.fields.doubt === true ? "whether the change was made is not known: look before you try again" : "nothing was changed";
      return { status: 503, type: "ServiceUnavailable", message: `The store cannot be written now; ${changed}.`, retryAfterS: 1 };
    }
    return { status: 503, type: "ServiceUnavailable", message: "The store cannot be written now; nothing was changed." };
  }
  const status = error instanceof Error ? (error as { readonly statusCode?: unknown }).statusCode : undefined;
  if (typeof status === "number" && status < 500) {
    // What the listener itself refuses, by its status.
    return { status, type: status === 413 ? "HTTPRequestEntityTooLarge" : status === 404 ? "HTTPNotFound" : "HTTPBadRequest", message: show((error as Error).message) };
  }
  log.error(where, "request failed");
  return { status: 500, type: "HTTPInternalServerError", message: INTERNAL };
}

async function* objects(texts: AsyncIterable<string>): AsyncGenerator<Values> {
  for await (const text of texts) yield JSON.parse(text) as Values;
}

const NO_PARAMS = new URLSearchParams();
const parsed = (text: Answer["body"]): unknown => (typeof text === "string" ? (JSON.parse(text) as unknown) : undefined);

const named = <A extends { readonly name: string }>(actions: readonly A[], name: string): A => {
  const action = actions.find((a) => a.name === name);
  if (action === undefined) throw notFound("HTTPNotFound", "The resource could not be found.");
  return action;
};

/** The narrow view of the operations that faces of apps get. */
export function operationsOf(engine: Engine): Operations {
  const refOf = (resource: ResourceHandle, { parentId }: OperationTarget): ResourceRef => {
    const kind = engine.rows.kind(resource.name);
    if (kind.parent !== undefined && parentId === undefined) throw new Error(`a ${kind.name} is below a ${kind.parent.name}: a face has to say its parentId`);
    if (kind.parent === undefined && parentId !== undefined) throw new Error(`a ${kind.name} is below nothing, but a face says its parentId`);
    return { kind, parentId };
  };
  const callOf = ({ caller, method, path, body, ifMatch }: OperationRequest, params = NO_PARAMS): Call => ({ caller, method, path, base: "", params, ifMatch, bytes: body?.length ?? 0 });
  const may = (can: boolean, what: string): void => {
    if (!can) throw new ApiError(405, "HTTPMethodNotAllowed", `${what} is not possible.`);
  };

  /** Checked as far as that goes without the rows. */
  const writes = {
    create(resource: ResourceHandle, values: Values, request: OperationRequest): Write {
      const ref = refOf(resource, request);
      may(ref.kind.can.create, `To create a ${resource.name}`);
      return engine.creation(ref, { [resource.name]: values }, callOf(request));
    },
    update(resource: ResourceHandle, id: string, changes: Values, request: OperationRequest): Write {
      const ref = refOf(resource, request);
      may(ref.kind.can.update, `To change a ${resource.name}`);
      return engine.change(ref, id, { [resource.name]: changes }, callOf(request));
    },
    remove(resource: ResourceHandle, id: string, request: OperationRequest): Write {
      const ref = refOf(resource, request);
      may(ref.kind.can.delete, `To delete a ${resource.name}`);
      return engine.removal(ref, id, callOf(request));
    },
  };
  /** Out of the envelope of v2.0. */
  const unwrap = (text: Answer["body"], resource: ResourceHandle): Values => (parsed(text) as Record<string, Values>)[resource.name]!;
  const acted = ({ body, generation }: Answer): Acted => ({ body: parsed(body), ...(generation === undefined ? {} : { generation }) });

  async function write<T>(request: OperationRequest, run: Write, form: (text: string | undefined) => T): Promise<Written<T>> {
    const { result, generation } = await engine.transact(callOf(request), run);
    return { value: form(result), generation };
  }

  /** `fn` in a transaction. What one operation threw ends all: half of it may be in the transaction. */
  function inBatch<T>(tx: Tx, request: OperationRequest, fn: (operations: BatchOperations) => T): T {
    let ended = false;
    let failed: { readonly error: unknown } | undefined;
    const run = (make: () => Write): string | undefined => {
      if (ended) throw new Error(`${request.method} ${request.path}: an operation of a batch that has ended`);
      if (failed !== undefined) throw failed.error;
      try {
        return make()(tx);
      } catch (error) {
        failed = { error };
        throw error;
      }
    };
    const about = (target: OperationTarget = {}): OperationRequest => ({ ...request, parentId: target.parentId, ifMatch: target.ifMatch });
    const operations: BatchOperations = {
      show: (resource, id, target) => unwrap(run(() => engine.showing(refOf(resource, about(target)), id, callOf(about(target)))), resource),
      create: (resource, values, target) => unwrap(run(() => writes.create(resource, values, about(target))), resource),
      update: (resource, id, changes, target) => unwrap(run(() => writes.update(resource, id, changes, about(target))), resource),
      remove: (resource, id, target) => void run(() => writes.remove(resource, id, about(target))),
      act: (resource, id, name, body, target, path = {}) => parsed(run(() => {
        const ref = refOf(resource, about(target));
        return engine.acting(ref, id, named(ref.kind.actions, name), path, () => body, callOf(about(target)));
      })),
      actOnAll: (resource, name, body, target, path = {}) => parsed(run(() => {
        const ref = refOf(resource, about(target));
        return engine.actingOnAll(ref, named(ref.kind.collectionActions, name), path, () => body, callOf(about(target)));
      })),
    };
    try {
      const value = fn(operations);
      if (failed !== undefined) throw failed.error;
      if (value instanceof Promise) {
        value.catch(() => undefined);
        throw new Error(`${request.method} ${request.path}: the function of a batch is asynchronous`);
      }
      return value;
    } finally {
      ended = true;
    }
  }

  return {
    list: async (resource, request, query = NO_PARAMS) => objects(await engine.listTexts(refOf(resource, request), callOf(request, query))),
    show: (resource, id, request) => unwrap(engine.show(refOf(resource, request), id, callOf(request)).body, resource),
    create: async (resource, values, request) => write(request, writes.create(resource, values, request), (text) => unwrap(text, resource)),
    update: async (resource, id, changes, request) => write(request, writes.update(resource, id, changes, request), (text) => unwrap(text, resource)),
    remove: async (resource, id, request) => write(request, writes.remove(resource, id, request), () => undefined),
    async act(resource, id, name, body, request, path = {}) {
      const ref = refOf(resource, request);
      return acted(await engine.act(ref, id, named(ref.kind.actions, name), path, () => body, callOf(request)));
    },
    async actOnAll(resource, name, body, request, path = {}) {
      const ref = refOf(resource, request);
      return acted(await engine.actOnAll(ref, named(ref.kind.collectionActions, name), path, () => body, callOf(request)));
    },
    async batch<T>(request: OperationRequest, fn: (operations: BatchOperations) => T) {
      const { result, generation } = await engine.transact(callOf(request), (tx) => inBatch(tx, request, fn));
      return { value: result, generation };
    },
  };
}
