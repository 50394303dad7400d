// Kinds: a resource with its standard attributes, what other apps add to it, its parsed access rules, its compiled checks and its
// hooks in the order of `requires`. registry.ts makes them at boot; nothing here changes afterwards.
import {
  AUTO, makeCheck, orNull, STANDARD, UUID_LIST,
  type Accesses, type Action, type Alias, type AnyExtension, type AnyResource, type Attribute, type AttributeType, type Caller, type Check, type CollectionAction, type Completed, type Convert, type Converters,
  type Embedded, type NotFound, type QuestionAnswer, type ReadView, type StandardAttribute, type StandardRow, type Table,
} from "../app/contract.ts";
import type { PolicyBook, Rule, SubjectRules } from "./policy/index.ts";

export interface KindAttribute {
  readonly name: string;
  readonly decl: Attribute;
  /** As declared, or what the type says. */
  readonly form: Check;
  readonly check: Convert;
  readonly post: boolean;
  readonly put: boolean;
  readonly visible: boolean;
  /** Whether there is a default, and its stored form. */
  readonly hasDefault: boolean;
  readonly default: unknown;
  /** As the book of rules has them now; undefined: the action's rule suffices. */
  readonly create: Rule | undefined;
  readonly get: Rule | undefined;
  readonly update: Rule | undefined;
  /** Of a key inside of the attribute's objects. */
  keyRule(verb: "create" | "update", key: string): Rule | undefined;
}

export interface KindAction<D = Action | CollectionAction> {
  readonly name: string;
  readonly decl: D;
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** "-" as "_"; `{name}` is any text. */
  readonly segments: readonly string[];
  readonly rule: Rule;
  readonly ruleName: string;
  /** Rules of what the body gives: of the attribute, and of keys of its objects. */
  readonly gives: { readonly attribute: string; readonly rule: Rule; readonly keys: ReadonlyMap<string, Rule> } | undefined;
  /** Who is refused is told that there is nothing: what the rule guards is only to be seen. */
  readonly hidden: boolean;
  readonly status: number;
  readonly check: Convert | undefined;
  readonly notFound: NotFound | undefined;
}

/** Children in the parent's own form. */
export interface KindEmbedded {
  readonly decl: Embedded;
  readonly kind: Kind;
}

export type Presenter = NonNullable<AnyExtension["present"]>;
export type Instead = NonNullable<AnyExtension["instead"]>[string];

export interface Kind {
  readonly resource: AnyResource;
  /** Of computed rows: a table that no model has, see computed.ts. */
  readonly table: Table<StandardRow>;
  readonly name: string;
  /** What access rules call it: of a part with its parent's name before its own, e.g. floatingip_port_forwarding. */
  readonly ruled: string;
  readonly standard: ReadonlySet<StandardAttribute>;
  readonly can: { readonly create: boolean; readonly update: boolean; readonly delete: boolean };
  /** The id of a singleton. */
  readonly onlyId: string | undefined;
  readonly attributes: ReadonlyMap<string, KindAttribute>;
  readonly shown: readonly KindAttribute[];
  /** What lists show where nothing is asked for, if that is more than a member shows. */
  readonly listed: ReadonlySet<string> | undefined;
  readonly required: readonly string[];
  readonly defaults: readonly (readonly [string, unknown])[];
  readonly create: Rule;
  readonly get: Rule;
  readonly update: Rule;
  readonly delete: Rule;
  /** Grows when access rules change. */
  readonly policyVersion: number;
  readonly tags: boolean;
  readonly actions: readonly KindAction<Action>[];
  readonly collectionActions: readonly KindAction<CollectionAction>[];
  readonly extensions: readonly AnyExtension[];
  /** What RBAC policies may let others do. */
  readonly accesses: Accesses;
  /** By attribute: what is shown in place of a column, or of what is presented. */
  readonly instead: ReadonlyMap<string, Instead>;
  /** The resource's and those of extensions. */
  readonly completed: readonly Completed<StandardRow>[];
  /** Resource's and extensions' present functions. */
  readonly presenters: readonly Presenter[];
  /** Likewise of what is shown on request. */
  readonly onRequest: readonly Presenter[];
  /** Whether they say the same to every caller: none of them takes one. */
  readonly sameForAll: boolean;
  /** Presented names and which of the presenters it is; made as they are first seen. */
  readonly presented: Map<string, number>;
  readonly embedded: Map<string, KindEmbedded>;
  /** Path segments below /v2.0/ with "_" for "-". */
  readonly path: readonly string[];
  readonly parent: Kind | undefined;
  /** Path -> kind of the resources that are parts of this one. */
  readonly children: Map<string, Kind>;
}

export interface Registry {
  readonly kinds: ReadonlyMap<string, Kind>;
  /** Top-level kinds by path, "-" as "_". */
  readonly paths: ReadonlyMap<string, Kind>;
  /** By what policies call their rows. */
  readonly objectTypes: ReadonlyMap<string, Kind>;
  readonly aliases: readonly Alias[];
  readonly converters: Converters;
  /** Of apps, in the order of `requires`. */
  readonly answers: readonly QuestionAnswer[];
  readonly policy: PolicyBook;
}

/** What an attribute without a check of its own must be. */
const typeChecks: Readonly<Record<AttributeType, Check>> = {
  string: { type: "string" },
  boolean: { type: "boolean" },
  integer: { type: "integer" },
  uuid: { type: "uuid" },
  "uuid|null": orNull({ type: "uuid" }),
  "uuid[]": UUID_LIST,
  "string[]": { list: { type: "string" } },
  object: { type: "object" },
  "object[]": { list: { type: "object" } },
  "ip|null": orNull({ type: "ip" }),
  mac: { type: "mac" },
  cidr: { type: "cidr" },
  timestamp: { type: "string", max: 32 },
  any: { type: "any" },
};

/** Whether the resource has the standard attribute. */
export const hasStandard = (resource: AnyResource, attribute: StandardAttribute): boolean => (resource.standard ?? STANDARD).includes(attribute);

/** The row, stored or not; undefined if there is none. */
export function findRow(kind: Kind, view: ReadView, id: string, caller: Caller): StandardRow | undefined {
  const { computed, keyed } = kind.resource;
  if (computed !== undefined) return computed.get(view, id, caller) as StandardRow | undefined;
  return view.get(kind.table, id) ?? (keyed?.initial(view, id, caller) as StandardRow | undefined);
}

export function makeAttribute({ name: resource, ruled }: { readonly name: string; readonly ruled: string }, name: string, decl: Attribute, rules: SubjectRules, converters: Converters): KindAttribute {
  const form = decl.check ?? typeChecks[decl.type];
  let check: Convert;
  try {
    check = makeCheck(form, converters);
  } catch (error) {
    throw new Error(`${resource}.${name}: ${(error as Error).message}`, { cause: error });
  }
  const nameOf = (verb: string, key?: string): string => `${verb}_${ruled}:${name}${key === undefined ? "" : `:${key}`}`;
  const declare = (verb: string, text: string | undefined, key?: string): void => {
    if (text !== undefined) rules.rule(nameOf(verb, key), text, `${verb === "get" ? "See" : "Give"} ${key === undefined ? "" : `${key} in `}${name} of a ${resource}${verb === "get" ? "" : ` on ${verb}`}.`);
  };
  for (const verb of ["create", "get", "update"] as const) declare(verb, decl.policy?.[verb]);
  for (const [key, k] of Object.entries(decl.policy?.keys ?? {})) for (const verb of ["create", "update"] as const) declare(verb, k[verb], key);
  const hasDefault = decl.post === true && decl.default !== undefined && decl.default !== AUTO;
  let stored = decl.default;
  if (hasDefault) {
    // A default may be outside of what callers may give; then it is stored as written.
    try {
      stored = check(decl.default, name);
    } catch {
      stored = decl.default;
    }
  }
  return {
    name,
    decl,
    form,
    check,
    post: decl.post === true,
    put: decl.put === true,
    visible: decl.visible !== false,
    hasDefault,
    default: stored,
    get create() {
      return rules.optional(nameOf("create"));
    },
    get get() {
      return rules.optional(nameOf("get"));
    },
    get update() {
      return rules.optional(nameOf("update"));
    },
    keyRule: (verb, key) => rules.optional(nameOf(verb, key)),
  };
}
