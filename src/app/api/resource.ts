// Resources: the API as data. A resource is declared once, by the app that owns it; routes, validation, error texts,
// policy, filters, paging, OpenAPI and storage derive from the declaration (src/northbound). Other apps add to it with an
// Extension and keep their values in tables of their own. A handle, exported from the owner's model.ts, is how other apps name it.
// Over 400 lines: types that name each other, and half of it is what each field means.
import type { Check } from "./check.ts";
import type { Question } from "../questions.ts";
import type { LiveView } from "../soft-table.ts";
import type { AnyTable, ReadView, Row, Table, Tx } from "../table.ts";

export type AttributeType = "string" | "boolean" | "integer" | "uuid" | "uuid|null" | "uuid[]" | "string[]" | "object" | "object[]" | "ip|null" | "mac" | "cidr" | "timestamp" | "any";

/** Marks "the server chooses": the attribute is absent from the create input unless the caller gave it. */
export const AUTO: unique symbol = Symbol("auto");

/** The access rule of what administrators write, and members of the project that owns it: that of the row, or as a relation says (`<parent>:project_id`). */
export const memberOf = (owner = "project_id"): string => `rule:admin_only or (role:member and project_id:%(${owner})s)`;

export interface Attribute {
  /** How it is filtered, sorted and shown, and what it must be if there is no `check`. */
  readonly type: AttributeType;
  readonly about: string;
  /** May be given on POST / PUT. Both false: read only. */
  readonly post?: boolean;
  readonly put?: boolean;
  readonly required?: boolean;
  /** Value when not given on POST. AUTO or absent: left out of the input. */
  readonly default?: unknown;
  /** What a caller may give, where the type says too little. */
  readonly check?: Check;
  /** False: accepted but never shown. Default true. */
  readonly visible?: boolean;
  /** Shown only where the caller's `fields` name it; its value, if it is no column, comes from `presentOnRequest`. */
  readonly onRequest?: true;
  /** Shown in lists, and of a member only where the caller's `fields` name it. */
  readonly inLists?: true;
  /** Shown of a member, and in lists only where the caller's `fields` name it. */
  readonly inMembers?: true;
  readonly filter?: boolean;
  readonly sort?: boolean;
  /** Defaults of the access rules `<verb>_<resource>:<attribute>` and, for keys of its objects, `...:<key>`, in oslo.policy's syntax; absent: the action's rule suffices. */
  readonly policy?: { readonly create?: string; readonly get?: string; readonly update?: string; readonly keys?: Readonly<Record<string, { readonly create?: string; readonly update?: string }>> };
  /** The extension alias that brings it, if not the resource's own. */
  readonly alias?: string;
  /** Custom filter: does this shown value match the query value? Default: typed equality. */
  readonly matches?: (shown: unknown, query: string) => boolean;
  /** Index of the resource's table that has every row under its value of this attribute: lists filtered by it read only those. */
  readonly index?: string;
  /** An attribute of objects that some rows show in its place: a filter finds these where one of the objects has all that is asked of attributes within it. */
  readonly within?: string;
}

/** Attributes that the API layer keeps itself. `project` is project_id and tenant_id, `timestamps` created_at and updated_at. */
export type StandardAttribute = "id" | "name" | "project" | "description" | "timestamps" | "revision" | "tags";
export const STANDARD: readonly StandardAttribute[] = ["id", "name", "project", "description", "timestamps", "revision", "tags"];

/** Row of a resource with all standard attributes; kept by northbound. */
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

/** Names a resource and knows what its rows are. The owner exports it from its model.ts. */
export interface ResourceHandle<R extends Row = Row> {
  readonly name: string;
  /** Never set: carries the row type. */
  readonly rowType?: R;
}

/** `export const portResource = resourceHandle<Port>("port")`. The name is the key of bodies, e.g. "security_group_rule". */
export const resourceHandle = <R extends Row>(name: string): ResourceHandle<R> => ({ name });

/** What one app's code may give another's resource: columns in their own type, and any attribute that extensions add. */
export type InputOf<R> = Values & { readonly [K in keyof R]?: R[K] | undefined };

/** What the API layer knows of who may see and use what: in a transaction, and in a read. */
export interface Sight {
  readonly caller: Caller;
  /** The row; undefined if it is absent or the caller may not see it. `project`: as a reader of that project would see it. */
  seen<R extends Row>(resource: ResourceHandle<R>, id: string, project?: string): R | undefined;
  /** Whether a relation of the resource holds of the row for the caller, or for a reader of a project. */
  covers<R extends Row>(resource: ResourceHandle<R>, relation: string, row: NoInfer<R>, project?: string): boolean;
  /** Projects to which an access, e.g. access_as_shared, of the row of this id is granted by name, and EVERYBODY. */
  grantedTo(resource: ResourceHandle, action: string, id: string): readonly string[];
}

/** What a resource's code may ask of the API layer, inside a transaction. */
export interface ApiContext extends Sight {
  /** Attributes that were explicitly in the request body. */
  readonly given: ReadonlySet<string>;
  /** The row, or the resource's NotFound refusal if it is absent or the caller may not see it. */
  visible<R extends Row>(resource: ResourceHandle<R>, id: string): R;
  /** Creates another resource with defaults and every extension applied, no policy check. Returns its row. */
  create<R extends Row>(resource: ResourceHandle<R>, values: InputOf<NoInfer<R>>): R;
  update<R extends Row>(resource: ResourceHandle<R>, id: string, changes: InputOf<NoInfer<R>>): R;
  /** The resource's and extensions' remove see `ctx.internal`, and skip "in use by its owner" refusals. */
  remove(resource: ResourceHandle, id: string): void;
  /** The limit that an app has of what each row of a project may have within it (`limits` of the resource); undefined: none says anything but the declared default. */
  limitOf(resource: ResourceHandle, name: string, projectId: string): number | undefined;
  /** What an action that changes a member does, without policy check; `body` as its check would give it. Returns what it answers. */
  act(resource: ResourceHandle, id: string, action: string, body: Values): unknown;
  /** Of what policies call by this type: where its rows are, and what of them may be granted; undefined: nothing, or there is none. */
  shareable(objectType: string): { readonly resource: ResourceHandle; readonly table: AnyTable; readonly accesses: Accesses } | undefined;
  /** The answers of all apps that have one, in the order of `requires`. */
  ask<A extends readonly unknown[], R>(question: Question<(...args: A) => R>, ...args: A): readonly R[];
  /** revision_number + 1 and updated_at of a parent. */
  bump(resource: ResourceHandle, id: string): void;
  /** True inside create/update/remove called by other app code rather than by a request. */
  readonly internal: boolean;
}

// ---- actions ----

/** The values of `{name}` segments of an action's path; on a collection below a parent also the parent's id, by its attribute. */
export type PathValues = Readonly<Record<string, string>>;

interface ActionOptions {
  readonly about: string;
  /**
   * Who may: an access rule of its own, or the resource's for `of` (with `attribute`: that attribute's rule, where it has one).
   * The rule's name in refusals is `rule`, by default the action's name.
   */
  readonly policy: string | { readonly of: "get" | "update" | "delete"; readonly attribute?: string };
  readonly rule?: string;
  /** An attribute that its body gives, `{<resource>: {<attribute>: ...}}`: defaults of the access rules `<rule>:<attribute>` and, for keys of its objects, `...:<key>`. */
  readonly gives?: { readonly attribute: string; readonly policy: string; readonly keys?: Readonly<Record<string, string>> };
  /** For the description of the API, where its code looks at the body itself, and `check` does not say what that is. */
  readonly form?: Check;
  /** Likewise what it answers, by key: a form, or a row of a resource as that shows it. One that is answered with the member, or lists rows, needs none; {}: the answer has no body. */
  readonly answers?: Readonly<Record<string, Check | ResourceHandle>>;
  /** It takes nothing: whatever body a request has, the action is given {}. */
  readonly bodyless?: true;
  /** Segments below the member or collection, "/" between them, `{name}` for any text; default: the action's name. "-" and "_" are one. */
  readonly path?: string;
  /** Default 200. The answer of a 204 has no body. */
  readonly status?: number;
  /** Refusal of an unknown member, if not the resource's own. */
  readonly notFound?: NotFound;
}

export interface NotFound {
  readonly type: string;
  readonly message: (id: string) => string;
}

export type WriteMethod = "PUT" | "POST" | "DELETE";

/** An action on a member: reads with GET, else changes (PUT by default). Several may have one path with different methods. */
export type Action<R extends Row = Row> = ActionOptions &
  (
    | { readonly method: "GET"; readonly read: (view: LiveView, row: R, caller: Caller, path: PathValues) => unknown }
    /**
     * Rows of another resource by their ids, as their own list shows them to the caller: those that he may not see, or that are not there, are
     * left out. Each may have values beside its attributes, that no attribute has.
     */
    | { readonly method: "GET"; readonly lists: ResourceHandle; readonly rows: (view: LiveView, row: R, caller: Caller, path: PathValues) => Iterable<readonly [id: string, beside?: Values | undefined]> }
    /** `body`: the parsed JSON object, {} if there was none; `check` if given has been applied. Returns the answer's body. */
    | { readonly method?: WriteMethod; readonly check?: Check; readonly shows?: false; readonly run: (tx: Tx, row: R, body: Values, ctx: ApiContext, path: PathValues) => unknown }
    /** One that is answered with the member as it is then, as its own path shows it. */
    | { readonly method?: WriteMethod; readonly check?: Check; readonly shows: true; readonly run: (tx: Tx, row: R, body: Values, ctx: ApiContext, path: PathValues) => void }
  );

/** What the query's `fields` name; undefined: nothing is said. */
export type Fields = ReadonlySet<string> | undefined;

/**
 * What a read shows and a caller's request makes where it is missing, e.g. the project's default security group. Only where it is needed
 * there is a write, before the read and a change of its own.
 */
export interface Prepare {
  readonly needed: (view: ReadView, caller: Caller, path: PathValues, fields: Fields) => boolean;
  readonly run: (tx: Tx, ctx: ApiContext, path: PathValues) => void;
}

/** An action on the collection as a whole. Its rule is asked for the caller's project, or, where the path has `{project_id}`, for that one. */
export type CollectionAction = ActionOptions &
  (
    | { readonly method: "GET"; readonly prepare?: Prepare; readonly read: (view: LiveView, caller: Caller, path: PathValues, fields: Fields, sight: Sight) => unknown }
    | { readonly method?: WriteMethod; readonly check?: Check; readonly run: (tx: Tx, body: Values, ctx: ApiContext, path: PathValues) => unknown }
  );

// ---- what a request did ----

/** A row that a request created or changed, itself or by code of apps. */
export interface Done<R extends Row = Row> {
  /** As it is now. */
  readonly row: R;
  readonly created: boolean;
  /** What its create was given, with defaults, or its update; of several the latter counts. */
  readonly given: Values;
  /** The caller asked for it; else code of apps did so on the way. */
  readonly asked: boolean;
}

/**
 * Once for a request, when all that it creates and changes is there, whoever's code did it: for what depends on what other apps stored, and
 * for what may be said of all of it alone. May refuse, and then nothing of it is written. `done`: of this resource, in the order in which it was done.
 */
export type Completed<R extends Row = Row> = (tx: Tx, done: readonly Done<R>[], ctx: ApiContext) => void;

// ---- who may see ----

/**
 * What access rules ask of a row beyond its columns: a project id, or whether the caller is covered. One that is named
 * `<resource>:<attribute>` is what `%(network:project_id)s` and `field:networks:shared=True` mean; any is `relation:<name>`.
 */
export type Relation<R extends Row = Row> = (row: R, view: ReadView, caller: Caller) => string | boolean | undefined;

/** Ids of rows for which a relation may hold for this caller (more is fine). Lists then need not read every row. */
export type Reach = (view: ReadView, caller: Caller) => Iterable<string>;

// ---- what may be granted ----

/** Whom an access is given to: every project, those that policies name, or nobody. */
export type Holders = "everybody" | "some" | "nobody";

/** Where an app stores itself whom an access is given to, because it has an attribute for it: policies say the same at any time. */
export interface Kept {
  /** "some" where the app does not tell these from nobody. */
  read(view: ReadView, row: StandardRow): Holders;
  /** Policies came or went; may refuse. */
  write(tx: Tx, row: StandardRow, holders: Holders, ctx: ApiContext): void;
}

export interface Access {
  /** The relation of the resource that it makes hold. It holds likewise for rows of others that have it, and name the resource's by `<resource>_id`. */
  readonly relation: string;
  /** Projects that use the row by it, in any order, the owner's and repeated ones too: those keep their policy from being taken away. EVERYBODY: it has to be everybody's. */
  usedBy(view: ReadView, row: StandardRow, sight: Pick<Sight, "grantedTo">): Iterable<string>;
  /** When nobody has it the owner has it no more than others. */
  readonly needed?: true;
  readonly kept?: Kept;
}

/** By action, e.g. access_as_shared. */
export type Accesses = ReadonlyMap<string, Access>;

/** That RBAC policies (access_as_shared) may let other projects see and use rows of a resource: what the app that declares it says of that. */
export interface Shareable {
  /** Extension alias that brings its attribute `shared`; absent: it shows none, or declares it itself. */
  readonly shownBy?: string;
  /** Whoever this access rule covers may give `shared`: true is a policy for every project, false none. */
  readonly givenBy?: string;
  /** Likewise later, and back, unless a project uses it ("back"), or not back: what is said then. Absent: only on POST. */
  readonly unshared?: "back" | ((row: StandardRow) => Error);
  /** What policies call its rows, if not by the resource's name. */
  readonly objectType?: string;
  readonly table: AnyTable;
  /** See Access. */
  usedBy(this: void, view: ReadView, row: StandardRow, sight: Pick<Sight, "grantedTo">): Iterable<string>;
  readonly kept?: Kept;
}

// ---- resources ----

/** The values that a list's filter takes of an attribute, or, of one that is not shown, as they were given; undefined: any. */
export type FilteredBy = (attribute: string) => readonly string[] | undefined;

/**
 * Children that are part of the parent's own form: shown in it as a list of objects, and, with `post`, created with it in the same
 * transaction from what the caller gives there; refusals then name the path, e.g. "rules[0].direction".
 */
export interface Embedded {
  readonly about: string;
  readonly resource: ResourceHandle;
  /** The children's attribute and column that holds the parent's id; left out of what callers give here. */
  readonly attribute: string;
  /** Index of the children's table under it. */
  readonly index: string;
  readonly post?: boolean;
  /** Children are removed with their parent, before the parent's own remove. */
  readonly cascade?: boolean;
  readonly alias?: string;
}

/** How a resource is counted: rows of a project are counted by whose they are, whoever made them; the limit is asked when a request creates one, itself or by what it does. */
export interface Quota {
  /** Of each project where nobody says otherwise; -1: any number. */
  readonly default: number;
}

/** What each row may have of something that is no resource of its own. The resource's code refuses more than its default, or than `ctx.limitOf` says. */
export interface Limit<R extends Row = Row> {
  readonly about: string;
  /** Of each row where nobody says otherwise; -1: any number. */
  readonly default: number;
  /** How many of it a row has. */
  count(this: void, row: R): number;
}

/** What is declared of a resource whose rows are R. */
export interface ResourceDeclaration<R extends Row = Row> {
  /** Plural as in body keys, e.g. "security_group_rules"; the path is the same with "-" for "_". */
  readonly collection: string;
  /** Path below /v2.0/ if it is not the collection (of a singleton: its name), e.g. "qos/policies". With a parent: below /v2.0/<parent>/{id}/. */
  readonly path?: string;
  /** Resource it is a part of: its path goes through that one's, `attribute` of its rows and input holds the parent's id. */
  readonly parent?: {
    readonly resource: ResourceHandle;
    readonly attribute: string;
    /** Id of the row that a path names by something that is unique within its parent alone, such as a host; absent: paths have the id. */
    id?(parentId: string, key: string): string;
  };
  readonly about: string;
  /** Extension alias that brings it; undefined for the v2 core. */
  readonly alias?: string;
  /** Where its rows are. */
  readonly table?: Table<R>;
  /**
   * In place of a table: rows are worked out from the view at every request. What a list filters by is asked of its rows in any case; `wanted`
   * lets it make no more of them than it has to (of a part the parent is among it). Its create, update and remove, if it has any, change what the
   * rows are worked out of.
   */
  readonly computed?: { list(view: ReadView, caller: Caller, wanted: FilteredBy): Iterable<R>; get(view: ReadView, id: string, caller: Caller): R | undefined };
  /**
   * Rows are named by something that is there without them, e.g. a project or a host: there is no POST; a member that is not stored
   * is `initial`'s (undefined: there is none), PUT stores it, DELETE goes back to the initial one. `create` is not called.
   */
  readonly keyed?: { initial(view: ReadView, key: string, caller: Caller): R | undefined };
  /** The path has no id: there is one, whose row's id is the resource's name. Needs `keyed`. */
  readonly singleton?: boolean;
  /** Error type of an unknown id and its text. */
  readonly notFound: NotFound;
  /** Which of the standard attributes it has. Default: all; [] is a resource that declares every attribute itself. */
  readonly standard?: readonly StandardAttribute[];
  /**
   * Own attributes beside the standard ones (id, name, project_id, description, timestamps, revision, tags). A standard
   * attribute named here is changed by what is said of it, e.g. `tags: { ...post: true }` or another check of `name`.
   */
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly embedded?: Readonly<Record<string, Embedded>>;
  /** Absent: create and delete as `get`, update as `delete`. */
  readonly policy: { readonly create?: string; readonly get: string; readonly update?: string; readonly delete?: string };
  readonly relations?: Readonly<Record<string, Relation<R>>>;
  /** By relation. */
  readonly reach?: Readonly<Record<string, Reach>>;
  readonly shareable?: Shareable;
  readonly bulk?: boolean;
  /** How many a project may have is limited, by an app that limits. Its table has the index `project`. */
  readonly quota?: Quota;
  /** By the name that an app that limits has for it, e.g. router_route. The table has the index `project`. */
  readonly limits?: Readonly<Record<string, Limit<R>>>;
  /** Before a list, and before a create by a caller, as a part of it. */
  readonly prepare?: Prepare;
  /**
   * Before a caller is told by PolicyNotAuthorized that the resource's create rule refuses him: may throw what to tell him in its place. Whether a
   * parent is there for him `ctx.visible` says.
   */
  readonly refused?: (input: Values, ctx: ApiContext) => void;
  /** Builds and puts the row. `standard` has id, project_id, timestamps..., and comes last: see CONTRIBUTING.md; `input` the checked values with defaults. Absent: no POST. */
  create?(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): R;
  /** `row` already carries the changed standard attributes; returns (and puts) the new row. Absent: no PUT. */
  update?(tx: Tx, row: R, changes: Values, ctx: ApiContext): R;
  /** An update without any attribute means something: it is one as well. Otherwise it is answered, and changes nothing. */
  readonly emptyUpdate?: boolean;
  readonly completed?: Completed<R>;
  /** Refuses or removes the row and what belongs to it. Extensions' remove ran before. Absent: no DELETE. */
  remove?(tx: Tx, row: R, ctx: ApiContext): void;
  /** Attributes shown that are not columns of the row: to present a column's name as well is an error. */
  present?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
  /** Likewise those that are shown on request, asked where one of them is and not kept. */
  presentOnRequest?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
  readonly actions?: Readonly<Record<string, Action<R>>>;
  readonly collectionActions?: Readonly<Record<string, CollectionAction>>;
}

export interface Resource<R extends Row = Row> extends ResourceDeclaration<R>, ResourceHandle<R> {}

/** Any resource, whatever its rows: for registries and the API layer. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a declaration both consumes and produces rows; only `any` admits all
export type AnyResource = Resource<any>;

/** The declaration behind a handle. What it returns goes into the app's `resources` and is a handle itself. */
export const defineResource = <R extends Row>(handle: ResourceHandle<R>, declaration: ResourceDeclaration<NoInfer<R>>): Resource<R> => ({ ...declaration, name: handle.name });

// ---- extensions ----

/** What an app adds to another app's resource. Hooks run in the order of `requires`, inside the same transaction. */
export interface Extension<R extends Row = Row> {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Added to the resource's; of one name in several declarations any may hold. */
  readonly relations?: Readonly<Record<string, Relation<R>>>;
  /** By relation. One that some declaration of the relation lacks is not used: lists then read every row. */
  readonly reach?: Readonly<Record<string, Reach>>;
  /** Relations that also let a caller see a row, beside the resource's own rule. */
  readonly seenBy?: readonly string[];
  /** By action: what RBAC policies may let others do beside what the resource's `shareable` says. Several apps may each say a part of one. */
  readonly accesses?: Readonly<Record<string, Partial<Access>>>;
  /** To whom the app that grants them has granted an access of the row of this id: projects, and EVERYBODY. */
  grantedTo?(view: ReadView, action: string, id: string): readonly string[];
  /** What each row of a project may have of what the resource's `limits` name; undefined: the default. -1: any number. */
  limitOf?(view: ReadView, name: string, projectId: string): number | undefined;
  /** Before the resource's create: what it adds to the input, such as what a caller left to it to choose. */
  beforeCreate?(tx: Tx, input: Values, ctx: ApiContext): Values;
  /** After the resource's create. */
  create?(tx: Tx, row: R, input: Values, ctx: ApiContext): void;
  /** After the resource's update. */
  update?(tx: Tx, row: R, changes: Values, ctx: ApiContext, before: R): void;
  readonly completed?: Completed<R>;
  /** Before the remove of all apps: takes along what is the app's own and would keep the row, "in use", though it need not. */
  removing?(tx: Tx, row: R, ctx: ApiContext): void;
  /** Before the resource's remove; may refuse. */
  remove?(tx: Tx, row: R, ctx: ApiContext): void;
  present?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
  presentOnRequest?(view: LiveView, row: R, caller: Caller): Record<string, unknown>;
  /** By attribute of the resource: what the caller is shown in place of a column, or of what is presented. */
  readonly instead?: Readonly<Record<string, (view: LiveView, row: R, caller: Caller) => unknown>>;
  readonly actions?: Readonly<Record<string, Action<R>>>;
  readonly collectionActions?: Readonly<Record<string, CollectionAction>>;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as AnyResource
export type AnyExtension = Extension<any>;

/** An extension and the name of what it extends. */
export type BoundExtension = AnyExtension & { readonly resource: string };

export const extendResource = <R extends Row>(handle: ResourceHandle<R>, extension: Extension<NoInfer<R>>): BoundExtension => ({ ...extension, resource: handle.name });

/** What an app adds to a resource that it may never have heard of; undefined: nothing. `all`: the resources that there are; `accesses`: of each by its name. */
export type ExtendAll = (resource: AnyResource, all: readonly AnyResource[], accesses: (resource: string) => Accesses) => AnyExtension | undefined;

/** An entry of GET /v2.0/extensions. */
export interface Alias {
  /** Only where there is this resource. */
  readonly needs?: ResourceHandle;
  readonly alias: string;
  readonly name: string;
  readonly description: string;
  readonly updated: string;
}
