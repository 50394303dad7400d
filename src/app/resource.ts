// Resources: the API as data. A resource is declared once, by the app that owns it; routes, validation, error texts,
// policy, filters, paging, OpenAPI and storage derive from the declaration (src/northbound). Other apps add attributes
// to it with an Extension and keep their values in tables of their own.
import type { LiveView } from "./soft-table.ts";
import type { AnyTable, ReadView, Row, Tx } from "./table.ts";

export type AttributeType = "string" | "boolean" | "integer" | "uuid" | "uuid|null" | "uuid[]" | "string[]" | "object" | "object[]" | "ip|null" | "mac" | "cidr" | "timestamp" | "any";

/** Checks and converts one value; returns the stored form. Throws ApiError (use invalidFor) to refuse. */
export type Convert = (value: unknown, attribute: string) => unknown;

/** Marks "the server chooses": the attribute is absent from the create input unless the caller gave it. */
export const AUTO: unique symbol = Symbol("auto");

export interface Attribute {
  readonly type: AttributeType;
  readonly about: string;
  /** May be given on POST / PUT. Both false: read only. */
  readonly post?: boolean;
  readonly put?: boolean;
  readonly required?: boolean;
  /** Value when not given on POST. AUTO or absent: left out of the input. */
  readonly default?: unknown;
  /** Validator and converter, see src/app/validate.ts. */
  readonly check?: Convert;
  /** False: accepted but never shown. Default true. */
  readonly visible?: boolean;
  readonly filter?: boolean;
  readonly sort?: boolean;
  /** Attribute rules, expressions as in the access-rule table ("admin / member@network_owner"); absent: the action's rule suffices. */
  readonly policy?: { readonly create?: string; readonly get?: string; readonly update?: string; readonly keys?: Readonly<Record<string, { readonly create?: string; readonly update?: string }>> };
  /** The extension alias that brings it, if not the resource's own. */
  readonly alias?: string;
  /** Custom filter: does this shown value match the query value? Default: typed equality. */
  readonly matches?: (shown: unknown, query: string) => boolean;
  /** Index of the resource's table that has every row under its value of this attribute: lists filtered by it read only those. */
  readonly index?: string;
}

/** Attributes every resource row carries; kept by northbound. */
export interface StandardRow extends Row {
  readonly project_id: string;
  readonly name: string;
  readonly description: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly revision_number: number;
  readonly tags: readonly string[];
}

export interface Caller {
  readonly requestId: string;
  readonly projectId: string;
  readonly userId: string;
  /** Lower case, implied roles included (admin > manager > member > reader). */
  readonly roles: ReadonlySet<string>;
  readonly admin: boolean;
}

export type Values = Readonly<Record<string, unknown>>;

/** What a resource's code may ask of the API layer, inside a transaction. */
export interface ApiContext {
  readonly caller: Caller;
  /** Attributes that were explicitly in the request body. */
  readonly given: ReadonlySet<string>;
  /** The row, or the resource's NotFound refusal if it is absent or the caller may not see it. */
  visible<R extends Row>(resource: string, id: string): R;
  /** Creates another resource with defaults and every extension applied, no policy check. Returns its row. */
  create<R extends Row>(resource: string, values: Values): R;
  update<R extends Row>(resource: string, id: string, changes: Values): R;
  /** `internal` is passed on to the resource's and extensions' remove, which then skip "in use by its owner" refusals. */
  remove(resource: string, id: string): void;
  /** revision_number + 1 and updated_at of a parent. */
  bump(resource: string, id: string): void;
  /** True inside create/update/remove called by other app code rather than by a request. */
  readonly internal: boolean;
}

export interface Action {
  readonly about: string;
  /** Access rule name is the action's own name. */
  readonly policy: string;
  /** Default "PUT". */
  readonly method?: "PUT" | "GET";
  /** Body as parsed JSON (an object). Returns the answer's body. */
  readonly run: (tx: Tx, row: never, body: Values, ctx: ApiContext) => unknown;
}

/** Who is meant by `@network_owner`, `shared-network` ... in access rules: a project id, or whether the caller is covered. */
export type Relation = (row: never, view: ReadView, caller: Caller) => string | boolean | undefined;

// Row types of declarations are checked where they are written (defineResource); the registry holds them erased.
export interface Resource<R extends StandardRow = StandardRow> {
  /** Singular: body key, e.g. "security_group_rule". */
  readonly name: string;
  /** Plural as in body keys, e.g. "security_group_rules"; the path is the same with "-" for "_". */
  readonly collection: string;
  /** Path below /v2.0/ if it is not the collection, e.g. "qos/policies". With a parent: below /v2.0/<parent>/{id}/. */
  readonly path?: string;
  /** Resource it is a part of: its path goes through that one's, `attribute` of its rows and input holds the parent's id. */
  readonly parent?: { readonly resource: string; readonly attribute: string };
  readonly about: string;
  /** Extension alias that brings it; undefined for the v2 core. */
  readonly alias?: string;
  readonly table: AnyTable;
  /** Error type of an unknown id and its text. */
  readonly notFound: { readonly type: string; readonly message: (id: string) => string };
  /**
   * Own attributes beside the standard ones (id, name, project_id, description, timestamps, revision, tags). A standard
   * attribute named here is changed by what is said of it, e.g. `tags: { ...post: true }` or another check of `name`.
   */
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly policy: { readonly create: string; readonly get: string; readonly update?: string; readonly delete: string };
  readonly relations?: Readonly<Record<string, Relation>>;
  /** Relation -> ids of rows for which it may hold for this caller (more is fine). Lists then need not read every row. */
  readonly reach?: Readonly<Record<string, (view: ReadView, caller: Caller) => Iterable<string>>>;
  readonly bulk?: boolean;
  /** False: no tags on this resource (security group rules). Default true. */
  readonly tags?: boolean;
  /** False: rows have no `name` attribute. */
  readonly named?: boolean;
  /** Runs before list and create by a caller, e.g. to make the project's default security group. True if it would write. */
  readonly prepare?: { readonly needed: (view: ReadView, caller: Caller) => boolean; readonly run: (tx: Tx, ctx: ApiContext) => void };
  /** Checks a whole bulk request before its items are created. */
  readonly checkBulk?: (tx: Tx, items: readonly Values[], ctx: ApiContext) => void;
  /** Builds and puts the row. `standard` has id, project_id, timestamps...; `input` the checked values with defaults. */
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): R;
  /** `row` already carries the changed standard attributes; returns (and puts) the new row. Absent: no PUT. */
  update?(tx: Tx, row: R, changes: Values, ctx: ApiContext): R;
  /** Refuses or removes the row and what belongs to it. Extensions' remove ran before. */
  remove(tx: Tx, row: R, ctx: ApiContext): void;
  /** Attributes shown that are not columns of the row: to present a column's name as well is an error. */
  present?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
  readonly actions?: Readonly<Record<string, Action>>;
}

/** What an app adds to another app's resource. Hooks run in the order of `requires`, inside the same transaction. */
export interface Extension<R extends StandardRow = StandardRow> {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** After the resource's create. */
  create?(tx: Tx, row: R, input: Values, ctx: ApiContext): void;
  /** After the resource's update. */
  update?(tx: Tx, row: R, changes: Values, ctx: ApiContext, before: R): void;
  /** Before the resource's remove; may refuse. */
  remove?(tx: Tx, row: R, ctx: ApiContext): void;
  present?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
}

/** An entry of GET /v2.0/extensions. */
export interface Alias {
  readonly alias: string;
  readonly name: string;
  readonly description: string;
  readonly updated: string;
}
