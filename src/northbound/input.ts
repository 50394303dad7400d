// Requests in: a body to checked values, with Neutron's complaints in Neutron's order. What needs the model is engine.ts.
import { ApiError, badRequest, forbidden, isObject, show, type Caller, type ReadView, type Values } from "../app/contract.ts";
import type { Kind, KindAction, KindAttribute } from "./kinds.ts";

export interface Input {
  /** Stored forms; on create with defaults. */
  readonly values: Record<string, unknown>;
  /** Names that were in the body. */
  readonly given: ReadonlySet<string>;
  /** The body's own values, for rules on their keys. */
  readonly raw: Values;
  /** Where in the body it is: "" at the top, "rules[0]" embedded in a parent. */
  readonly path: string;
  /** By attribute, what is to be created with it. Empty on update. */
  readonly children: ReadonlyMap<string, readonly Input[]>;
}

/** A refusal of something inside of the body names where it is. */
export function at<T>(path: string, fn: () => T): T {
  if (path === "") return fn();
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof ApiError) || error.message.includes(path)) throw error;
    throw new ApiError(error.status, error.type, `${path}: ${error.message}`);
  }
}

export function bodyObject(body: unknown): Record<string, unknown> {
  if (!isObject(body)) throw badRequest("Body contains invalid data");
  return body;
}

const NO_CHILDREN: ReadonlyMap<string, readonly Input[]> = new Map();

const missing = (key: string): ApiError => badRequest(`Unable to find '${key}' in request body`);

/** The items of a create request, and whether it was a bulk one. */
export function createItems(kind: Kind, body: unknown, maxItems: number): { bulk: boolean; items: readonly Record<string, unknown>[] } {
  const { name, collection } = kind.resource;
  if (body === undefined) throw missing(name);
  const envelope = bodyObject(body);
  const single = Object.hasOwn(envelope, name);
  // Where both have one name, a list is several.
  const bulk = name === collection ? Array.isArray(envelope[name]) : Object.hasOwn(envelope, collection);
  if (!bulk) {
    if (!single) throw missing(name);
    return { bulk: false, items: [bodyObject(envelope[name])] };
  }
  if (single && name !== collection) throw badRequest(`'${name}' and '${collection}' cannot be in one request body`);
  if (kind.resource.bulk === false) throw badRequest("Bulk operation not supported");
  const list = envelope[collection];
  if (!Array.isArray(list)) throw badRequest("Body contains invalid data");
  if (list.length === 0) throw badRequest("Resources required");
  if (list.length > maxItems) throw badRequest(`More than ${maxItems} resources in one request`);
  return {
    bulk: true,
    items: list.map((item: unknown) => {
      const o = bodyObject(item);
      return bodyObject(Object.keys(o).length === 1 && Object.hasOwn(o, name) ? o[name] : o);
    }),
  };
}

export function updateItem(kind: Kind, body: unknown): Record<string, unknown> {
  const { name, collection } = kind.resource;
  if (body === undefined) throw missing(name);
  const envelope = bodyObject(body);
  if (Object.hasOwn(envelope, name)) return bodyObject(envelope[name]);
  if (Object.hasOwn(envelope, collection)) throw badRequest("Bulk operation not supported");
  throw missing(name);
}

function refuseUnknown(kind: Kind, item: Values, prefix = ""): void {
  let unknown: string[] | undefined;
  for (const key of Object.keys(item)) if (!kind.attributes.has(key)) (unknown ??= []).push(prefix + key);
  if (unknown !== undefined) throw badRequest(`Unrecognized attribute(s) '${show(unknown.join(", "))}'`);
}

/** `skip`: an attribute that the path gives. `path`: where the item is in the body. */
export function createInput(kind: Kind, item: Values, caller: Caller, skip?: string, path = ""): Input {
  const prefix = path === "" ? "" : `${path}.`;
  refuseUnknown(kind, item, prefix);
  const keys = Object.keys(item);
  for (const key of keys) if (!kind.attributes.get(key)!.post) throw badRequest(`Attribute '${prefix}${key}' not allowed in POST`);
  for (const key of kind.required) if (key !== skip && !Object.hasOwn(item, key)) throw badRequest(`Failed to parse request. Required attribute '${prefix}${key}' not specified`);
  const values: Record<string, unknown> = {};
  for (const [key, value] of kind.defaults) values[key] = value;
  const children = new Map<string, readonly Input[]>();
  for (const key of keys) {
    const value = path === "" ? kind.attributes.get(key)!.check(item[key], key) : at(prefix + key, () => kind.attributes.get(key)!.check(item[key], prefix + key));
    const embedded = kind.embedded.get(key);
    if (embedded === undefined) values[key] = value;
    else {
      children.set(key, (value as readonly Values[]).map((child, i) => {
        const where = `${prefix}${key}[${i}]`;
        return at(where, () => createInput(embedded.kind, child, caller, embedded.decl.attribute, where));
      }));
    }
  }
  const given = new Set(keys);
  const project = values.project_id ?? values.tenant_id;
  if (values.project_id !== undefined && values.tenant_id !== undefined && values.project_id !== values.tenant_id) throw badRequest("'project_id' and 'tenant_id' do not match");
  if (project !== undefined && project !== caller.projectId && !caller.admin && !caller.roles.has("advsvc")) {
    throw badRequest("Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires admin or advsvc privileges");
  }
  delete values.tenant_id;
  // null is nobody, where the attribute may be that.
  values.project_id = project ?? (given.has("project_id") ? values.project_id : caller.projectId);
  return { values, given, raw: item, path, children };
}

export function updateInput(kind: Kind, item: Values): Input {
  refuseUnknown(kind, item);
  const keys = Object.keys(item);
  for (const key of keys) if (!kind.attributes.get(key)!.put) throw badRequest(`Cannot update read-only attribute ${key}`);
  const values: Record<string, unknown> = {};
  for (const key of keys) values[key] = kind.attributes.get(key)!.check(item[key], key);
  return { values, given: new Set(keys), raw: item, path: "", children: NO_CHILDREN };
}

const same = (a: unknown, b: unknown): boolean => a === b || (typeof a === "object" && typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));

function* keysOf(value: unknown): Iterable<string> {
  if (Array.isArray(value)) for (const item of value as readonly unknown[]) if (isObject(item)) yield* Object.keys(item);
  if (isObject(value)) yield* Object.keys(value);
}

/** The rules an action has to pass that it does not; empty if it may go on. */
export function refusedRules(kind: Kind, verb: "create" | "update", caller: Caller, row: Values, input: Input, view: ReadView): readonly string[] {
  const target = { row, given: input.values };
  const action = `rule:${verb}_${kind.ruledAs}`;
  if (!kind[verb].allows(caller, target, view)) return [action];
  let refused: string[] | undefined;
  for (const name of input.given) {
    const attribute: KindAttribute = kind.attributes.get(name)!;
    const rule = attribute[verb];
    const raw = input.raw[name];
    const nested = typeof raw === "object" && raw !== null;
    if (rule === undefined && !nested) continue;
    if (verb === "create" && attribute.hasDefault && same(input.values[name], attribute.default)) continue;
    if (rule !== undefined && !rule.allows(caller, target, view)) (refused ??= [action]).push(`${action}:${name}`);
    if (nested) {
      for (const key of new Set(keysOf(raw))) {
        const keyRule = attribute.keyRule(verb, key);
        if (keyRule !== undefined && !keyRule.allows(caller, target, view)) (refused ??= [action]).push(`${action}:${name}:${key}`);
      }
    }
  }
  return refused ?? [];
}

/** Likewise of an action, by what its body gives. */
export function refusedGiven(action: KindAction, resource: string, caller: Caller, row: Values, body: Values, view: ReadView): readonly string[] {
  const name = `rule:${action.ruleName}`;
  const target = { row };
  if (!action.rule.allows(caller, target, view)) return [name];
  const { gives } = action;
  const item = body[resource];
  const given = gives === undefined || !isObject(item) ? undefined : item[gives.attribute];
  if (gives === undefined || given === undefined) return [];
  const refused = gives.rule.allows(caller, target, view) ? [] : [`${name}:${gives.attribute}`];
  for (const key of new Set(keysOf(given))) if (gives.keys.get(key)?.allows(caller, target, view) === false) refused.push(`${name}:${gives.attribute}:${key}`);
  return refused.length === 0 ? [] : [name, ...refused];
}

export const notAuthorized = (rules: readonly string[]): ApiError =>
  forbidden("PolicyNotAuthorized", `${rules.length === 1 ? rules[0]! : `(${rules.join(" and ")})`} is disallowed by policy`);

/** The revision an If-Match header asks for. Other values of the header are nobody's. */
export function ifMatch(header: string | undefined): number | undefined {
  if (header === undefined || !header.includes("revision_number")) return undefined;
  const wanted = [...header.matchAll(/revision_number=([^",\s]*)/g)].map((m) => m[1]!);
  if (wanted.length !== 1 || !/^\d{1,15}$/.test(wanted[0]!)) throw badRequest("Bad If-Match request: one integer revision_number is expected.", "BadRequest");
  return Number(wanted[0]);
}

export function checkRevision(wanted: number | undefined, current: number | undefined): void {
  if (wanted !== undefined && current === undefined) throw badRequest("Bad If-Match request: this resource has no revision_number.", "BadRequest");
  if (wanted !== undefined && wanted !== current) {
    throw new ApiError(412, "RevisionNumberConstraintFailed", `Constrained to ${wanted}, but current revision is ${current}`);
  }
}

