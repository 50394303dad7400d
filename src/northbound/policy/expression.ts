// Access rules: expressions such as "admin / member@project / !device_owner~^network:" parsed once at boot, evaluated per
// object. What `@network_owner` or `shared-network` means for an object comes from its resource's relations.
import type { Caller, ReadView, Relation, Values } from "../../app/contract.ts";

/** Roles that rules may name. Any other bare word is a relation of the resource. */
const ROLES = new Set(["admin", "manager", "member", "reader", "service", "advsvc", "data_plane_integrator"]);

type Node =
  | { readonly op: "or" | "and"; readonly terms: readonly Node[] }
  | { readonly op: "not"; readonly term: Node }
  | { readonly op: "anyone" }
  | { readonly op: "role"; readonly role: string }
  /** The relation's project is the caller's, and the caller has the role (any, if none is named). */
  | { readonly op: "owner"; readonly role: string | undefined; readonly relation: string }
  | { readonly op: "relation"; readonly relation: string }
  | { readonly op: "matches"; readonly attribute: string; readonly pattern: RegExp };

/** What a rule is asked about. */
export interface Target {
  /** The object, or on create its input. */
  readonly row: Values;
  /** Values that a request would give it; they come before the row's in `attribute~pattern`. */
  readonly given?: Values;
}

export type Relations = Readonly<Record<string, Relation>>;

export interface Rule {
  readonly text: string;
  allows(caller: Caller, target: Target, view: ReadView): boolean;
  /** The answer, if the caller's roles alone decide it. */
  certain(caller: Caller): boolean | undefined;
  /** Which rows may pass for this caller: all, none, or only those one of these relations covers. */
  scope(caller: Caller): "all" | ReadonlySet<string>;
}

const NOTHING: ReadonlySet<string> = new Set();

export function parseRule(text: string, relations: Relations, where: string): Rule {
  const tokens = text.match(/[()&|!]|\/(?=\s|$)|[^\s()&|!]+/g) ?? [];
  let at = 0;
  const fail = (why: string): never => {
    throw new Error(`the access rule of ${where}, "${text}", ${why}`);
  };
  const known = (relation: string): string => {
    if (relation !== "project" && !Object.hasOwn(relations, relation)) fail(`names ${relation}, which is neither a role nor a relation of the resource`);
    return relation;
  };
  function atom(): Node {
    const token = tokens[at++] ?? fail("ends too early");
    if (token === "(") {
      const inner = or();
      if (tokens[at++] !== ")") fail("lacks a closing parenthesis");
      return inner;
    }
    if (token === "!") return { op: "not", term: atom() };
    if (/^[)&|/]$/.test(token)) fail(`has ${token} in the wrong place`);
    const tilde = token.indexOf("~");
    if (tilde > 0) return { op: "matches", attribute: token.slice(0, tilde), pattern: new RegExp(token.slice(tilde + 1)) };
    const equals = token.indexOf("=");
    if (equals > 0) return { op: "matches", attribute: token.slice(0, equals), pattern: new RegExp(`^${token.slice(equals + 1).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}$`) };
    const owner = token.indexOf("@");
    if (owner >= 0) {
      const role = token.slice(0, owner);
      if (role !== "" && !ROLES.has(role)) fail(`names the unknown role ${role}`);
      return { op: "owner", role: role === "" ? undefined : role, relation: known(token.slice(owner + 1)) };
    }
    if (token === "anyone") return { op: "anyone" };
    if (token === "advsvc-role") return { op: "role", role: "advsvc" };
    if (ROLES.has(token)) return { op: "role", role: token };
    return { op: "relation", relation: known(token) };
  }
  function and(): Node {
    const terms = [atom()];
    while (tokens[at] === "&") {
      at++;
      terms.push(atom());
    }
    return terms.length === 1 ? terms[0]! : { op: "and", terms };
  }
  function or(): Node {
    const terms = [and()];
    while (tokens[at] === "/" || tokens[at] === "|") {
      at++;
      terms.push(and());
    }
    return terms.length === 1 ? terms[0]! : { op: "or", terms };
  }
  const root = or();
  if (at < tokens.length) fail(`has ${tokens[at]!} in the wrong place`);

  const related = (name: string, caller: Caller, target: Target, view: ReadView): boolean => {
    if (name === "project") return caller.projectId !== "" && target.row.project_id === caller.projectId;
    const answer = relations[name]!(target.row as never, view, caller);
    return typeof answer === "string" ? caller.projectId !== "" && answer === caller.projectId : answer === true;
  };
  function allows(node: Node, caller: Caller, target: Target, view: ReadView): boolean {
    switch (node.op) {
      case "or":
        return node.terms.some((t) => allows(t, caller, target, view));
      case "and":
        return node.terms.every((t) => allows(t, caller, target, view));
      case "not":
        return !allows(node.term, caller, target, view);
      case "anyone":
        return true;
      case "role":
        return caller.roles.has(node.role);
      case "owner":
        return (node.role === undefined || caller.roles.has(node.role)) && related(node.relation, caller, target, view);
      case "relation":
        return related(node.relation, caller, target, view);
      case "matches": {
        const value = target.given?.[node.attribute] ?? target.row[node.attribute];
        return (typeof value === "string" || typeof value === "number" || typeof value === "boolean") && node.pattern.test(String(value));
      }
    }
  }
  function scope(node: Node, caller: Caller): "all" | ReadonlySet<string> {
    switch (node.op) {
      case "or": {
        const union = new Set<string>();
        for (const term of node.terms) {
          const s = scope(term, caller);
          if (s === "all") return "all";
          for (const r of s) union.add(r);
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
      case "role":
        return caller.roles.has(node.role) ? "all" : NOTHING;
      case "owner":
        return node.role === undefined || caller.roles.has(node.role) ? new Set([node.relation]) : NOTHING;
      case "relation":
        return new Set([node.relation]);
      case "not":
      case "anyone":
      case "matches":
        return "all";
    }
  }
  function certain(node: Node, caller: Caller): boolean | undefined {
    switch (node.op) {
      case "or": {
        const answers = node.terms.map((t) => certain(t, caller));
        return answers.includes(true) ? true : answers.includes(undefined) ? undefined : false;
      }
      case "and": {
        const answers = node.terms.map((t) => certain(t, caller));
        return answers.includes(false) ? false : answers.includes(undefined) ? undefined : true;
      }
      case "not": {
        const answer = certain(node.term, caller);
        return answer === undefined ? undefined : !answer;
      }
      case "anyone":
        return true;
      case "role":
        return caller.roles.has(node.role);
      case "owner":
        return node.role !== undefined && !caller.roles.has(node.role) ? false : undefined;
      case "relation":
      case "matches":
        return undefined;
    }
  }
  return { text, certain: (caller) => certain(root, caller), allows: (caller, target, view) => allows(root, caller, target, view), scope: (caller) => scope(root, caller) };
}

const IMPLIED: Readonly<Record<string, readonly string[]>> = {
  admin: ["manager", "member", "reader"],
  manager: ["member", "reader"],
  member: ["reader"],
};

/** Lower case, with the roles that these imply. */
export function impliedRoles(roles: Iterable<string>): ReadonlySet<string> {
  const all = new Set<string>();
  for (const role of roles) {
    const name = role.trim().toLowerCase();
    if (name === "") continue;
    all.add(name);
    for (const implied of IMPLIED[name] ?? []) all.add(implied);
  }
  return all;
}
