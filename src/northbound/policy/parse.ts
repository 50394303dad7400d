// The syntax of oslo.policy: a rule as text ("role:admin or project_id:%(project_id)s") or as a list of lists (or of and), to a tree.
// What the names in it mean for a resource is bind.ts.

/** The right side of a check: as written, or what the object has there (`%(network:project_id)s`). */
export type Operand = { readonly literal: string } | { readonly ref: string };

export type Check =
  | { readonly op: "and" | "or"; readonly terms: readonly Check[] }
  | { readonly op: "not"; readonly term: Check }
  | { readonly op: "const"; readonly value: boolean }
  | { readonly op: "rule"; readonly name: string }
  | { readonly op: "role"; readonly role: string }
  /** `user_id:%(user_id)s`: something of the caller's is the operand. */
  | { readonly op: "credential"; readonly name: string; readonly is: Operand }
  /** `'public':%(visibility)s`, `True:%(shared)s`: a constant is the operand. */
  | { readonly op: "constant"; readonly value: string; readonly is: Operand }
  /** `field:networks:shared=True`, `field:port:device_owner=~^network:`. */
  | { readonly op: "field"; readonly resource: string; readonly attribute: string; readonly equals: string | undefined; readonly pattern: RegExp | undefined }
  /** `relation:granted`: a relation that the resource declares; ours, oslo.policy has none. */
  | { readonly op: "relation"; readonly name: string };

/** What callers have that a check may ask for. `roles` is `role:`. */
const CREDENTIALS: ReadonlySet<string> = new Set(["project_id", "tenant_id", "user_id", "is_admin"]);

const MAX_TEXT = 64 * 1024;
const MAX_DEPTH = 100;
const TRUE: Check = { op: "const", value: true };
const FALSE: Check = { op: "const", value: false };

function operand(text: string): Operand {
  const whole = /^%\(([^()]+)\)s$/.exec(text);
  if (whole !== null) return { ref: whole[1]! };
  if (text.includes("%(")) throw new Error(`has '${text}', where a reference %(...)s must stand alone`);
  return { literal: text.replaceAll("%%", "%") };
}

function field(text: string): Check {
  const colon = text.indexOf(":");
  const equals = text.indexOf("=", colon);
  if (colon <= 0 || equals <= colon + 1) throw new Error(`has 'field:${text}', where field:<resource>:<attribute>=<value> is expected`);
  const value = text.slice(equals + 1);
  let pattern: RegExp | undefined;
  if (value.startsWith("~")) {
    try {
      pattern = new RegExp(`^(?:${value.slice(1)})`); // re.match: from the start
    } catch {
      throw new Error(`has '${value.slice(1)}', which is no regular expression`);
    }
  }
  return { op: "field", resource: text.slice(0, colon), attribute: text.slice(colon + 1, equals), equals: pattern === undefined ? value : undefined, pattern };
}

function atom(token: string): Check {
  if (token === "@") return TRUE;
  if (token === "!") return FALSE;
  const quoted = /^(?:'([^']*)'|"([^"]*)"):(.*)$/s.exec(token);
  if (quoted !== null) return { op: "constant", value: quoted[1] ?? quoted[2]!, is: operand(quoted[3]!) };
  const colon = token.indexOf(":");
  if (colon <= 0 || colon === token.length - 1) throw new Error(`has '${token}', where <kind>:<match>, @ or ! is expected`);
  const kind = token.slice(0, colon);
  const match = token.slice(colon + 1);
  switch (kind) {
    case "rule":
      return { op: "rule", name: match };
    case "role":
      return { op: "role", role: match.toLowerCase() };
    case "field":
      return field(match);
    case "relation":
      return { op: "relation", name: match };
    case "http":
    case "https":
      throw new Error(`has '${token}': checks by a remote server are not supported`);
    default:
  }
  if (CREDENTIALS.has(kind)) return { op: "credential", name: kind === "tenant_id" ? "project_id" : kind, is: operand(match) };
  if (/^(?:True|False|None|-?\d+)$/.test(kind)) return { op: "constant", value: kind, is: operand(match) };
  throw new Error(`has '${token}', and ${kind} is no check: there are rule, role, field, relation, ${[...CREDENTIALS].join(", ")}, and constants`);
}

/** As oslo.policy: words; parentheses at the start or end of one are its own. */
function tokenize(text: string): string[] {
  const tokens: string[] = [];
  for (const word of text.split(/\s+/)) {
    const clean = word.replace(/^\(+/, "");
    tokens.push(...Array<string>(word.length - clean.length).fill("("));
    const bare = clean.replace(/\)+$/, "");
    if (bare !== "") tokens.push(bare);
    tokens.push(...Array<string>(clean.length - bare.length).fill(")"));
  }
  return tokens;
}

function parseText(text: string): Check {
  if (text.length > MAX_TEXT) throw new Error(`is longer than ${MAX_TEXT} characters`);
  if (text.trim() === "") return TRUE;
  const tokens = tokenize(text);
  let at = 0;
  let depth = 0;
  const word = (): string | undefined => tokens[at]?.toLowerCase();
  const list = (op: "and" | "or", term: () => Check): Check => {
    const terms = [term()];
    while (word() === op) {
      at++;
      terms.push(term());
    }
    return terms.length === 1 ? terms[0]! : { op, terms };
  };
  const unary = (): Check => {
    if (++depth > MAX_DEPTH) throw new Error(`is nested deeper than ${MAX_DEPTH} levels`);
    const token = tokens[at++];
    let check: Check;
    if (token === undefined) throw new Error("ends too early");
    if (token.toLowerCase() === "not") check = { op: "not", term: unary() };
    else if (token === "(") {
      check = or();
      if (tokens[at++] !== ")") throw new Error("lacks a closing parenthesis");
    } else if (token === ")" || ["and", "or"].includes(token.toLowerCase())) throw new Error(`has '${token}' in the wrong place`);
    else check = atom(token);
    depth--;
    return check;
  };
  const or = (): Check => list("or", () => list("and", unary));
  const root = or();
  if (at < tokens.length) throw new Error(`has '${tokens[at]!}' in the wrong place`);
  return root;
}

/** The old form: any of, each all of. [] is everybody. */
function parseList(list: readonly unknown[]): Check {
  if (list.length === 0) return TRUE;
  const terms = list.flatMap((inner): Check[] => {
    const all = (Array.isArray(inner) ? inner : [inner]) as readonly unknown[];
    if (all.length === 0) return [];
    const checks = all.map((text) => {
      if (typeof text !== "string" || text === "") throw new Error("is a list that does not hold texts or lists of texts");
      return atom(text);
    });
    return [checks.length === 1 ? checks[0]! : { op: "and", terms: checks }];
  });
  return terms.length === 0 ? FALSE : terms.length === 1 ? terms[0]! : { op: "or", terms };
}

/** @throws Error whose message goes on after "the access rule <name> ". */
export function parseCheck(source: unknown): Check {
  if (source === null || source === undefined) return TRUE;
  if (typeof source === "string") return parseText(source);
  if (Array.isArray(source)) return parseList(source);
  throw new Error("is neither a text nor a list");
}

/** The names of rules that a check asks for. */
export function rulesIn(check: Check): string[] {
  if (check.op === "rule") return [check.name];
  if (check.op === "and" || check.op === "or") return check.terms.flatMap(rulesIn);
  return check.op === "not" ? rulesIn(check.term) : [];
}
