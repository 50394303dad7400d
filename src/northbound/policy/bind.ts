// Checks bound to a resource: what `%(network:project_id)s`, `field:networks:shared=True` or `relation:granted` is of its rows. A bound
// check is folded once for a set of roles, so that what lists ask of each row is only what roles do not decide.
import type { Caller, ReadView, Relation, Values } from "../../app/contract.ts";
import type { Check, Operand } from "./parse.ts";

/** What a rule is asked about. */
export interface Target {
  /** The object, or on create its input. */
  readonly row: Values;
  /** Values that a request would give it; `field:` asks them before the row. */
  readonly given?: Values;
}

/** What rules may ask of a resource. */
export interface Subject {
  /** Singular and plural name. */
  readonly name: string;
  readonly collection: string;
  /**
   * By name. One called `<resource>:<attribute>` is what `%(<resource>:<attribute>)s` and `field:<resources>:<attribute>=` ask for
   * (tenant_id is project_id), before columns are looked at.
   */
  readonly relations: Readonly<Record<string, Relation>>;
  /** Whether there is an attribute of this name, and the row's value of it. */
  has(attribute: string): boolean;
  value(row: Values, attribute: string, view: ReadView, caller: Caller): unknown;
  /** The resource it is a part of: `ext_parent`. */
  readonly parent: { readonly resource: string; readonly attribute: string } | undefined;
  /** Another resource, by singular or plural name. */
  other(name: string): Other | undefined;
}

export interface Other extends Pick<Subject, "name" | "has" | "value"> {
  row(id: string, view: ReadView, caller: Caller): Values | undefined;
}

type Read = (target: Target, view: ReadView, caller: Caller) => unknown;

export type Bound =
  | { readonly op: "and" | "or"; readonly terms: readonly Bound[] }
  | { readonly op: "not"; readonly term: Bound }
  | { readonly op: "const"; readonly value: boolean }
  | { readonly op: "role"; readonly role: string }
  | {
      readonly op: "test";
      /** The relation without which it is false ("project": the row's own project). */
      readonly relation: string | undefined;
      /** The answer for all rows, if there is one. */
      readonly certain: ((caller: Caller) => boolean) | undefined;
      readonly allows: (caller: Caller, target: Target, view: ReadView) => boolean;
    };

const NOTHING: ReadonlySet<string> = new Set();
const YES: Bound = { op: "const", value: true };
const NO: Bound = { op: "const", value: false };

const asText = (value: unknown): string | undefined =>
  typeof value === "string" ? value : typeof value === "boolean" ? (value ? "True" : "False") : typeof value === "number" ? String(value) : value === null ? "None" : undefined;

/** A relation's answer: a project is the caller's, or it holds as it is. */
const holds = (answer: unknown, caller: Caller): boolean => (typeof answer === "string" ? caller.projectId !== "" && answer === caller.projectId : answer === true);

/** `<resource>:<attribute>` with one spelling of the owner. */
const canonical = (ref: string): string => ref.replace(/(^|:)tenant_id$/, "$1project_id");

function credential(name: string, caller: Caller): string {
  if (name === "project_id") return caller.projectId;
  if (name === "user_id") return caller.userId;
  return caller.admin ? "True" : "False";
}

/** Whether a text of a rule is the value: `True` and `true` are booleans alike. */
const isValue = (text: string, value: unknown): boolean => (typeof value === "boolean" ? text.toLowerCase() === String(value) : asText(value) === text);

/** The object that an id column of the row leads to. @throws Error if no attribute of that name is there */
function through(subject: Subject, resource: string, attribute: string): Read | undefined {
  const link = resource === "ext_parent" ? subject.parent : undefined;
  const other = subject.other(link?.resource ?? resource);
  const column = link?.attribute ?? (other === undefined ? undefined : `${other.name}_id`);
  if (other === undefined || column === undefined || !subject.has(column) || !other.has(attribute)) return undefined;
  return (target, view, caller) => {
    const id = target.row[column];
    const row = typeof id === "string" ? other.row(id, view, caller) : undefined;
    return row === undefined ? undefined : other.value(row, attribute, view, caller);
  };
}

interface Reference {
  readonly relation: string | undefined;
  /** A declared relation, which may say whether it holds; all else is a value. */
  readonly declared: boolean;
  readonly read: Read;
}

function relationOf(subject: Subject, name: string): Reference | undefined {
  if (!Object.hasOwn(subject.relations, name)) return undefined;
  const relation = subject.relations[name]!;
  return { relation: name, declared: true, read: (target, view, caller) => relation(target.row as never, view, caller) };
}

/** `%(ref)s` of a row. */
function reference(subject: Subject, given: string): Reference {
  const ref = canonical(given);
  const declared = relationOf(subject, ref);
  if (declared !== undefined) return declared;
  if (subject.has(ref) || ref === "project_id") {
    return { relation: ref === "project_id" ? "project" : undefined, declared: false, read: (target, view, caller) => (ref === "project_id" ? target.row.project_id : subject.value(target.row, ref, view, caller)) };
  }
  const colon = ref.indexOf(":");
  if (colon > 0) {
    const [resource, attribute] = [ref.slice(0, colon), ref.slice(colon + 1)];
    const relation = resource === "ext_parent" && subject.parent !== undefined ? relationOf(subject, `${subject.parent.resource}:${attribute}`) : undefined;
    const read = relation === undefined ? through(subject, resource, attribute) : undefined;
    if (relation !== undefined) return relation;
    if (read !== undefined) return { relation: undefined, declared: false, read };
  }
  throw new Error(`asks for %(${given})s, which a ${subject.name} has not`);
}

function bindOperand(subject: Subject, is: Operand): Reference | string {
  return "literal" in is ? is.literal : reference(subject, is.ref);
}

function bindField(subject: Subject, check: Extract<Check, { op: "field" }>): Bound {
  const { equals, pattern } = check;
  const attribute = canonical(check.attribute);
  const other = subject.other(check.resource);
  const own = check.resource === subject.name || check.resource === subject.collection;
  const relation = relationOf(subject, `${other?.name ?? check.resource}:${attribute}`);
  if (relation !== undefined) {
    if (pattern !== undefined) throw new Error(`asks whether field:${check.resource}:${check.attribute} is like a pattern, but that is a relation`);
    const wanted = equals!.toLowerCase() !== "false";
    return { op: "test", relation: wanted ? relation.relation : undefined, certain: undefined, allows: (caller, target, view) => holds(relation.read(target, view, caller), caller) === wanted };
  }
  // Neutron asks the object itself first, whatever resource is named.
  const read: Read | undefined = subject.has(attribute) ? (target, view, caller) => target.given?.[attribute] ?? subject.value(target.row, attribute, view, caller) : own ? undefined : through(subject, check.resource, attribute);
  if (read === undefined) throw new Error(`asks for field:${check.resource}:${check.attribute}, which a ${subject.name} has not`);
  return {
    op: "test", relation: undefined, certain: undefined,
    allows: (caller, target, view) => {
      const value = read(target, view, caller);
      return pattern === undefined ? isValue(equals!, value) : pattern.test(asText(value) ?? "") && value !== undefined;
    },
  };
}

/** `rule`: the bound check of a named rule. @throws Error whose message goes on after "the access rule <name> ". */
export function bindCheck(check: Check, subject: Subject, rule: (name: string) => Bound): Bound {
  switch (check.op) {
    case "and":
    case "or":
      return { op: check.op, terms: check.terms.map((t) => bindCheck(t, subject, rule)) };
    case "not":
      return { op: "not", term: bindCheck(check.term, subject, rule) };
    case "const":
      return check.value ? YES : NO;
    case "role":
      return check;
    case "rule":
      return rule(check.name);
    case "field":
      return bindField(subject, check);
    case "relation": {
      const declared = relationOf(subject, check.name);
      if (declared === undefined) throw new Error(`names relation:${check.name}, which a ${subject.name} has not`);
      return { op: "test", relation: check.name, certain: undefined, allows: (caller, target, view) => holds(declared.read(target, view, caller), caller) };
    }
    case "credential": {
      const { name } = check;
      const is = bindOperand(subject, check.is);
      if (typeof is === "string") {
        const certain = (caller: Caller): boolean => credential(name, caller) === is && is !== "";
        return { op: "test", relation: undefined, certain, allows: certain };
      }
      return {
        op: "test", relation: name === "project_id" ? is.relation : undefined, certain: undefined,
        allows: (caller, target, view) => {
          const value = is.read(target, view, caller);
          if (name === "project_id" && is.declared) return holds(value, caller);
          const mine = credential(name, caller);
          return mine !== "" && mine === asText(value);
        },
      };
    }
    case "constant": {
      const { value } = check;
      const is = bindOperand(subject, check.is);
      if (typeof is === "string") return is === value ? YES : NO;
      return { op: "test", relation: undefined, certain: undefined, allows: (caller, target, view) => isValue(value, is.read(target, view, caller)) };
    }
  }
}

/** The same for callers with these roles, without what they decide. */
export function fold(node: Bound, roles: ReadonlySet<string>): Bound {
  switch (node.op) {
    case "role":
      return roles.has(node.role) ? YES : NO;
    case "not": {
      const term = fold(node.term, roles);
      return term.op === "const" ? (term.value ? NO : YES) : { op: "not", term };
    }
    case "and":
    case "or": {
      const decides = node.op === "or";
      const terms: Bound[] = [];
      for (const t of node.terms) {
        const term = fold(t, roles);
        if (term.op !== "const") terms.push(term);
        else if (term.value === decides) return term;
      }
      return terms.length === 0 ? (decides ? NO : YES) : terms.length === 1 ? terms[0]! : { op: node.op, terms };
    }
    default:
      return node;
  }
}

/** Of a folded check. */
export function allows(node: Bound, caller: Caller, target: Target, view: ReadView): boolean {
  switch (node.op) {
    case "const":
      return node.value;
    case "test":
      return node.allows(caller, target, view);
    case "or":
      return node.terms.some((t) => allows(t, caller, target, view));
    case "and":
      return node.terms.every((t) => allows(t, caller, target, view));
    case "not":
      return !allows(node.term, caller, target, view);
    case "role":
      return caller.roles.has(node.role);
  }
}

/** The answer for every row there may be, if the caller alone decides it. */
export function certain(node: Bound, caller: Caller): boolean | undefined {
  switch (node.op) {
    case "const":
      return node.value;
    case "test":
      return node.certain?.(caller);
    case "not": {
      const answer = certain(node.term, caller);
      return answer === undefined ? undefined : !answer;
    }
    case "and":
    case "or": {
      const answers = node.terms.map((t) => certain(t, caller));
      const decides = node.op === "or";
      return answers.includes(decides) ? decides : answers.includes(undefined) ? undefined : !decides;
    }
    case "role":
      return caller.roles.has(node.role);
  }
}

/** Which rows may pass: all, none ([]), or only those that one of these relations covers. */
export function scope(node: Bound, caller: Caller): "all" | ReadonlySet<string> {
  switch (node.op) {
    case "const":
      return node.value ? "all" : NOTHING;
    case "role":
      return caller.roles.has(node.role) ? "all" : NOTHING;
    case "not":
      return "all";
    case "test":
      if (node.certain !== undefined) return node.certain(caller) ? "all" : NOTHING;
      return node.relation === undefined ? "all" : new Set([node.relation]);
    case "or": {
      const union = new Set<string>();
      for (const term of node.terms) {
        const s = scope(term, caller);
        if (s === "all") return "all";
        for (const relation of s) union.add(relation);
      }
      return union;
    }
    case "and": {
      let narrowest: "all" | ReadonlySet<string> = "all";
      for (const term of node.terms) {
        const s = scope(term, caller);
        if (s !== "all" && (narrowest === "all" || s.size < narrowest.size)) narrowest = s;
      }
      return narrowest;
    }
  }
}
