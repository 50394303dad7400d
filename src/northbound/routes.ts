// Routes: the segments of a path below /v2.0/ to an operation. "-" and "_" are one in the names of collections and actions.
import { ApiError, type PathValues } from "../app/contract.ts";
import type { Answer, Call, Engine, ResourceRef } from "./operations.ts";
import type { Kind, KindAction } from "./kinds.ts";

const notHere = (): ApiError => new ApiError(404, "HTTPNotFound", "The resource could not be found.");
export const wrongMethod = (): ApiError => new ApiError(405, "HTTPMethodNotAllowed", "The method is not allowed for this resource.");

const canonical = (segment: string): string => segment.replaceAll("-", "_");

function findKind(paths: ReadonlyMap<string, Kind>, segments: readonly string[], at: number): { kind: Kind; next: number } | undefined {
  if (segments[at] === undefined) return undefined;
  const first = canonical(segments[at]);
  const kind = paths.get(first);
  if (kind !== undefined) return { kind, next: at + 1 };
  const nested = segments[at + 1] === undefined ? undefined : paths.get(`${first}/${canonical(segments[at + 1]!)}`);
  return nested === undefined ? undefined : { kind: nested, next: at + 2 };
}

/** The values of a path's `{name}` segments; undefined if it is another path. */
function matchPath(pattern: readonly string[], segments: readonly string[]): PathValues | undefined {
  if (pattern.length !== segments.length) return undefined;
  const values: Record<string, string> = {};
  for (const [i, part] of pattern.entries()) {
    if (part.startsWith("{")) values[part.slice(1, -1)] = segments[i]!;
    else if (part !== canonical(segments[i]!)) return undefined;
  }
  return values;
}

/** The action there. @throws ApiError 405 if the path is one of actions, but of no such method. */
function findAction<D>(actions: readonly KindAction<D>[], segments: readonly string[], method: string): { readonly action: KindAction<D>; readonly path: PathValues } | undefined {
  if (segments.length === 0) return undefined;
  let there = false;
  for (const action of actions) {
    const path = matchPath(action.segments, segments);
    if (path === undefined) continue;
    if (action.method === method) return { action, path };
    there = true;
  }
  if (there) throw wrongMethod();
  return undefined;
}

/** `body` parses the request's body when an operation wants it. */
export function route(engine: Engine, segments: readonly string[], call: Call, body: () => unknown): Answer | Promise<Answer> {
  const { method } = call;
  let paths = engine.registry.paths;
  let at = 0;
  let parentId: string | undefined;
  for (;;) {
    const found = findKind(paths, segments, at);
    if (found === undefined) throw notHere();
    const { kind, next } = found;
    const ref: ResourceRef = { kind, parentId };
    const below = segments.slice(next);
    const onAll = findAction(kind.collectionActions, below, method);
    if (onAll !== undefined) return engine.actOnAll(ref, onAll.action, onAll.path, body, call);
    const key = kind.onlyId ?? below.shift();
    const id = key === undefined || parentId === undefined ? key : (kind.resource.parent?.id?.(parentId, key) ?? key);
    if (id === undefined) {
      if (method === "GET") return engine.list(ref, call);
      if (method === "POST" && kind.can.create) return engine.create(ref, body(), call);
      throw method === "PUT" || method === "DELETE" ? notHere() : wrongMethod();
    }
    if (below.length === 0) {
      if (method === "GET") return engine.lookAndShow(ref, id, call);
      if (method === "PUT" && kind.can.update) return engine.update(ref, id, body(), call);
      if (method === "DELETE" && kind.can.delete) return engine.remove(ref, id, call);
      throw wrongMethod();
    }
    const onOne = findAction(kind.actions, below, method);
    if (onOne !== undefined) return engine.act(ref, id, onOne.action, onOne.path, body, call);
    paths = kind.children;
    at = segments.length - below.length;
    parentId = id;
  }
}
