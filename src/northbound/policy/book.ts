// The book of access rules: every rule by its name, with what the apps say by default and what a file says instead. Resources hold
// Rules, handles by name; a new book under them takes effect with the next request. A book is taken as a whole or not at all.
import type { Caller, ReadView } from "../../app/contract.ts";
import { allows, bindCheck, certain, fold, scope, type Bound, type Subject, type Target } from "./bind.ts";
import { parseCheck, rulesIn, type Check } from "./parse.ts";

export type { Subject, Target } from "./bind.ts";

export interface Rule {
  readonly name: string;
  /** In force now, in oslo.policy's syntax. */
  readonly text: string;
  allows(caller: Caller, target: Target, view: ReadView): boolean;
  /** The answer, if the caller alone decides it. */
  certain(caller: Caller): boolean | undefined;
  /** Which rows may pass for this caller: all, or only those that one of these relations covers; [] is none. */
  scope(caller: Caller): "all" | ReadonlySet<string>;
}

/** A rule of the book, for people. */
export interface RuleEntry {
  readonly name: string;
  readonly about: string;
  /** What the apps say; undefined: only the file has it. */
  readonly fallback: string | undefined;
  /** What the file says, if it does. */
  readonly override: string | undefined;
}

/** The rules of one resource. */
export interface SubjectRules {
  /** Declares a rule's default. @throws Error if the name has another default already */
  rule(name: string, text: string, about: string): Rule;
  /** The rule if there is one of this name now: by default there is none. */
  optional(name: string): Rule | undefined;
}

interface Named {
  readonly check: Check;
  readonly text: string;
}

interface Default extends Named {
  readonly about: string;
}

const textOf = (source: unknown): string => (typeof source === "string" ? source : source === null || source === undefined ? "" : JSON.stringify(source));

const failed = (name: string, error: unknown): Error => new Error(`the access rule ${name} ${(error as Error).message}`, { cause: error });

function parseNamed(name: string, source: unknown): Named {
  try {
    return { check: parseCheck(source), text: textOf(source) };
  } catch (error) {
    throw failed(name, error);
  }
}

/** @throws Error naming a rule that one of `names` asks for and nobody has, or the circle that rules make. */
function checkReferences(rules: ReadonlyMap<string, Named>, names: Iterable<string>): void {
  const done = new Set<string>();
  const visit = (name: string, trail: readonly string[]): void => {
    if (done.has(name)) return;
    if (trail.includes(name)) throw new Error(`access rules ask for each other: ${[...trail.slice(trail.indexOf(name)), name].join(" -> ")}`);
    for (const asked of rulesIn(rules.get(name)!.check)) {
      if (!rules.has(asked)) throw new Error(`the access rule ${name} asks for rule:${asked}, which is not there`);
      visit(asked, [...trail, name]);
    }
    done.add(name);
  };
  for (const name of names) visit(name, []);
}

/** What every resource may build on. Apps add theirs. */
const BASE: Readonly<Record<string, string>> = {
  context_is_admin: "role:admin",
  context_is_advsvc: "role:advsvc",
  context_with_global_access: "!",
  service_api: "role:service",
  admin_only: "rule:context_is_admin",
  regular_user: "",
  owner: "project_id:%(project_id)s",
  admin_or_owner: "rule:context_is_admin or rule:owner",
  default: "rule:admin_or_owner",
  ext_parent_owner: "project_id:%(ext_parent:project_id)s",
  admin_or_ext_parent_owner: "rule:context_is_admin or rule:ext_parent_owner",
};

export class PolicyBook {
  private readonly defaults = new Map<string, Default>();
  private overrides: ReadonlyMap<string, Named> = new Map();
  /** Defaults with overrides in their place. */
  private rules: ReadonlyMap<string, Named> = this.defaults;
  /** Every handle that was given out, with its resource. */
  private readonly handles: { readonly name: string; readonly subject: Subject }[] = [];
  /** By resource and rule; of this version. */
  private bound = new Map<Subject, Map<string, Bound>>();
  private sealed = false;
  private changes = 0;

  constructor() {
    for (const [name, text] of Object.entries(BASE)) this.base(name, text);
  }

  /** Grows with every change of the rules. What was worked out from rules is of one version. */
  get version(): number {
    return this.changes;
  }

  /** A rule for other rules to build on. @throws Error if there is another of that name */
  base(name: string, text: string, about = "A building block of other rules."): void {
    this.declare(name, text, about);
  }

  private declare(name: string, text: string, about: string): void {
    if (this.sealed) throw new Error(`the access rule ${name} comes too late`);
    const other = this.defaults.get(name);
    if (other === undefined) this.defaults.set(name, { ...parseNamed(name, text), about });
    else if (other.text !== text) throw new Error(`the access rule ${name} is declared twice, as "${other.text}" and as "${text}"`);
  }

  of(subject: Subject): SubjectRules {
    const kept = new Map<string, Rule>();
    const handle = (name: string): Rule => {
      let rule = kept.get(name);
      if (rule === undefined) kept.set(name, (rule = this.handle(name, subject)));
      return rule;
    };
    return {
      rule: (name, text, about) => {
        this.declare(name, text, about);
        if (!kept.has(name)) this.handles.push({ name, subject });
        return handle(name);
      },
      optional: (name) => (this.rules.has(name) ? handle(name) : undefined),
    };
  }

  /** All are declared. @throws Error naming the rule and what in it is not there */
  seal(): void {
    this.sealed = true;
    this.check(this.rules);
  }

  /** Rules in the place of the defaults of these names; those of other names may be there to be asked for. @throws Error, and nothing has changed */
  override(given: Readonly<Record<string, unknown>>): void {
    const overrides = new Map(Object.entries(given).map(([name, source]) => [name, parseNamed(name, source)]));
    const rules = new Map<string, Named>([...this.defaults, ...overrides]);
    this.check(rules);
    this.overrides = overrides;
    this.rules = rules;
    this.bound = new Map();
    this.changes++;
  }

  /** Default rules in the order of their declaration, then what only the file has. */
  entries(): readonly RuleEntry[] {
    const known = [...this.defaults].map(([name, d]) => ({ name, about: d.about, fallback: d.text, override: this.overrides.get(name)?.text }));
    const others = [...this.overrides].filter(([name]) => !this.defaults.has(name));
    return [...known, ...others.map(([name, o]) => ({ name, about: "No rule of an installed function.", fallback: undefined, override: o.text }))];
  }

  private check(rules: ReadonlyMap<string, Named>): void {
    const used = [...this.handles];
    // Rules of attributes that have none by default.
    const subjects = new Set(this.handles.map((h) => h.subject));
    for (const name of rules.keys()) {
      if (this.defaults.has(name)) continue;
      const [, resource, attribute] = /^(?:create|get|update)_([^:]+):(.+)$/.exec(name) ?? [];
      const subject = attribute === undefined ? undefined : [...subjects].find((s) => s.name === resource && (s.has(attribute) || s.has(attribute.slice(0, attribute.lastIndexOf(":")))));
      if (subject !== undefined) used.push({ name, subject });
    }
    // What a file says of functions that are not installed may ask for anything.
    checkReferences(rules, new Set([...this.defaults.keys(), ...used.map((u) => u.name)]));
    const bound = new Map<Subject, Map<string, Bound>>();
    for (const { name, subject } of used) this.bind(name, subject, rules, bound);
  }

  private bind(name: string, subject: Subject, rules: ReadonlyMap<string, Named>, into: Map<Subject, Map<string, Bound>>): Bound {
    let ofSubject = into.get(subject);
    if (ofSubject === undefined) into.set(subject, (ofSubject = new Map<string, Bound>()));
    const kept = ofSubject.get(name);
    if (kept !== undefined) return kept;
    const named = rules.get(name);
    if (named === undefined) throw new Error(`the access rule ${name} is not there`);
    let made: Bound;
    try {
      made = bindCheck(named.check, subject, (asked) => this.bind(asked, subject, rules, into));
    } catch (error) {
      throw error instanceof Error && error.message.startsWith("the access rule ") ? error : failed(name, error);
    }
    ofSubject.set(name, made);
    return made;
  }

  private handle(name: string, subject: Subject): Rule {
    let version = -1;
    let folded = new WeakMap<ReadonlySet<string>, Bound>();
    /** Roles decide most of a rule, and callers of one kind share the set. */
    const of = (caller: Caller): Bound => {
      if (version !== this.changes) {
        version = this.changes;
        folded = new WeakMap();
      }
      let node = folded.get(caller.roles);
      if (node === undefined) folded.set(caller.roles, (node = fold(this.bind(name, subject, this.rules, this.bound), caller.roles)));
      return node;
    };
    const text = (): string => this.rules.get(name)!.text;
    return {
      name,
      get text() {
        return text();
      },
      allows: (caller, target, view) => allows(of(caller), caller, target, view),
      certain: (caller) => certain(of(caller), caller),
      scope: (caller) => scope(of(caller), caller),
    };
  }
}

/** Passes where two rules both do. */
export const both = (a: Rule, b: () => Rule | undefined): Rule => ({
  name: a.name,
  get text() {
    const second = b();
    return second === undefined ? a.text : `(${a.text}) and (${second.text})`;
  },
  allows: (caller, target, view) => a.allows(caller, target, view) && b()?.allows(caller, target, view) !== false,
  certain: (caller) => {
    const second = b();
    const [x, y] = [a.certain(caller), second === undefined ? true : second.certain(caller)];
    return x === false || y === false ? false : x === true && y === true ? true : undefined;
  },
  scope: (caller) => a.scope(caller),
});

const wrap = (text: string): string => text.split("\n").map((line) => `# ${line}`.trimEnd()).join("\n");
const entry = (name: string, text: string): string => `${JSON.stringify(name)}: ${JSON.stringify(text)}`;

/** The book as oslopolicy-sample-generator writes it: defaults as comments, what a file overrides as it is. YAML. */
export function formatPolicy(book: Pick<PolicyBook, "entries">): string {
  return book
    .entries()
    .map(({ name, about, fallback, override }) => {
      const lines = [wrap(about)];
      if (fallback !== undefined) lines.push(`#${entry(name, fallback)}`);
      if (override !== undefined) lines.push(entry(name, override));
      return `${lines.join("\n")}\n`;
    })
    .join("\n");
}

/** The rules in force as the ops listener shows them. */
export const shownPolicy = (
  book: Pick<PolicyBook, "entries">, file?: { readonly problem: { readonly text: string } | undefined },
): { readonly text: string; readonly rules: readonly { readonly name: string; readonly rule: string; readonly default: string | null; readonly about: string }[]; readonly problem: string | null } => ({
  text: formatPolicy(book),
  rules: book.entries().map(({ name, about, fallback, override }) => ({ name, rule: override ?? fallback ?? "", default: fallback ?? null, about })),
  problem: file?.problem?.text ?? null,
});
