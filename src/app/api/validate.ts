// Validation: one function that interprets checks (check.ts). It takes the JSON value, returns the stored form and throws the
// refusal that Neutron's clients know. Checks that need other rows (is the address in the subnet?) are the app's.
import { ApiError, badRequest, invalidInput } from "./refusal.ts";
import type { Check, Convert, Converter, KeyCheck } from "./check.ts";
import { cut } from "../../lib/text.ts";
import { formatCidr, formatIp, NO_MAC, normalizeIp, parseCidr, parseMac } from "../../lib/address.ts";

/** A path through a caller's value is as long as the caller likes. */
const ATTRIBUTE_MAX = 255;

/** 400 "Invalid input for <attribute>. Reason: <reason>." */
export const invalidFor = (attribute: string, reason: string): ApiError =>
  badRequest(`Invalid input for ${cut(attribute, ATTRIBUTE_MAX)}. Reason: ${reason}${reason.endsWith(".") ? "" : "."}`);

/** A value as it is quoted in a refusal: short, and safe for values of any depth. */
export function show(value: unknown, depth = 3): string {
  let text: string;
  if (typeof value === "string") text = value;
  else if (value === null || value === undefined) text = "None";
  else if (typeof value === "boolean") text = value ? "True" : "False";
  else if (typeof value === "number") text = String(value);
  else if (depth === 0) text = "...";
  else if (Array.isArray(value)) text = `[${value.slice(0, 10).map((v) => show(v, depth - 1)).join(", ")}${value.length > 10 ? ", ..." : ""}]`;
  else {
    const keys = Object.keys(value);
    text = `{${keys.slice(0, 10).map((k) => `${k}: ${show((value as Record<string, unknown>)[k], depth - 1)}`).join(", ")}${keys.length > 10 ? ", ..." : ""}}`;
  }
  return cut(text, 300);
}

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

const LONE_SURROGATE = /\p{Surrogate}/u;
/** Only an escape makes one in JSON that came as UTF-8. */
const MAY_HAVE_ONE = /\\u[dD][89a-fA-F]/;

/** Whether text is Unicode: nowhere half of a surrogate pair. */
export const isUnicode = (text: string): boolean => !LONE_SURROGATE.test(text);

/**
 * The value of a JSON text. @throws SyntaxError if it is none; ApiError 400 naming where it has text, or a key of an object, that is no Unicode: half of
 * a surrogate pair, which nobody can store as it is or send on.
 */
export function parseJson(text: string): unknown {
  const parsed: unknown = JSON.parse(text);
  if (!MAY_HAVE_ONE.test(text)) return parsed;
  const left: (readonly [value: unknown, path: string])[] = [[parsed, ""]];
  for (let item = left.pop(); item !== undefined; item = left.pop()) {
    const [value, path] = item;
    if (typeof value === "string" && LONE_SURROGATE.test(value)) throw invalidFor(path === "" ? "the body" : path, "it has half of a surrogate pair, which is no character");
    if (typeof value !== "object" || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      if (LONE_SURROGATE.test(key)) throw invalidFor(path === "" ? "the body" : path, "a key has half of a surrogate pair, which is no character");
      left.push([inner, Array.isArray(value) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`]);
    }
  }
  return parsed;
}

/** Length in characters, not UTF-16 units. */
const characters = (text: string): number => {
  let n = 0;
  for (let i = 0; i < text.length; i += text.codePointAt(i)! > 0xffff ? 2 : 1) n++;
  return n;
};

// ---- scalars ----

/** A JSON string of at most `max` characters. */
const string =
  (max = 255): Convert =>
  (value, attribute) => {
    if (typeof value !== "string") throw invalidFor(attribute, `'${show(value)}' is not a valid string`);
    if (value.length > max && characters(value) > max) throw invalidFor(attribute, `'${show(value)}' exceeds maximum length of ${max}`);
    return value;
  };

/** Like `string`, but not empty or blank. */
const nonEmptyString = (max = 255): Convert => {
  const check = string(max);
  return (value, attribute) => {
    const text = check(value, attribute) as string;
    if (text.trim() === "") throw invalidFor(attribute, `'${text}' Blank strings are not permitted`);
    return text;
  };
};

/** A string that the whole of `pattern` matches; `what` ends the sentence "'x' is not ...". */
const matching = (pattern: string, what: string, check: Convert): Convert => {
  const whole = new RegExp(`^(?:${pattern})$`, "u");
  return (value, attribute) => {
    const text = check(value, attribute) as string;
    if (!whole.test(text)) throw invalidFor(attribute, `'${show(text)}' is not ${what}`);
    return text;
  };
};

const TRUE = new Set(["true", "yes", "on", "t", "y", "1"]);
const FALSE = new Set(["false", "no", "off", "f", "n", "0"]);

/** JSON booleans, 1 and 0, and the usual words in any case. */
export const boolean: Convert = (value) => {
  if (typeof value === "boolean") return value;
  if (value === 1 || value === 0) return value === 1;
  if (typeof value === "string") {
    const word = value.toLowerCase();
    if (TRUE.has(word)) return true;
    if (FALSE.has(word)) return false;
  }
  throw invalidInput(`'${show(value)}' cannot be converted to boolean`);
};

/** An integer or a string of digits. */
export const integer =
  (min: number = Number.MIN_SAFE_INTEGER, max: number = Number.MAX_SAFE_INTEGER): Convert =>
  (value, attribute) => {
    const n = typeof value === "number" ? value : typeof value === "string" && /^[+-]?\d{1,16}$/.test(value) ? Number(value) : NaN;
    if (!Number.isSafeInteger(n)) throw invalidInput(`'${show(value)}' is not an integer`);
    if (n < min) throw invalidFor(attribute, `'${n}' is too small - must be at least '${min}'`);
    if (n > max) throw invalidFor(attribute, `'${n}' is too large - must be no larger than '${max}'`);
    return n + 0; // no -0
  };

const list = (values: readonly unknown[]): string => `[${values.map((v) => (typeof v === "string" ? `'${v}'` : show(v))).join(", ")}]`;

/** One of these strings, numbers (digits in a string do as well) or null. */
const oneOf = (values: readonly (string | number | null)[]): Convert => {
  const known = new Map<unknown, string | number | null>(values.map((v) => [v, v]));
  for (const v of values) if (typeof v === "number" && !known.has(String(v))) known.set(String(v), v);
  const text = list(values);
  return (value, attribute) => {
    const found = known.get(value);
    if (found === undefined) throw invalidFor(attribute, `'${show(value)}' is not in ${text}`);
    return found;
  };
};

/** Any letter case; stored as spelled here. */
const oneOfIgnoringCase = (values: readonly (string | number | null)[]): Convert => {
  const key = (value: unknown): unknown => (typeof value === "string" ? value.toLowerCase() : value);
  const known = new Map<unknown, string | number | null>(values.map((v) => [key(v), v]));
  const text = list(values);
  return (value, attribute) => {
    const found = known.get(key(value));
    if (found === undefined) throw invalidFor(attribute, `'${show(value)}' is not in ${text}`);
    return found;
  };
};

// ---- identifiers ----

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UUID_DIGITS = /^[0-9a-f]{32}$/;

/** Canonical form of a UUID in any case, with or without dashes; undefined if it is none. */
export function parseUuid(value: unknown): string | undefined {
  if (typeof value !== "string" || value.length > 36) return undefined;
  if (UUID.test(value)) return value;
  const hex = value.toLowerCase().replaceAll("-", "");
  if (!UUID_DIGITS.test(hex)) return undefined;
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const uuid: Convert = (value, attribute) => {
  const id = parseUuid(value);
  if (id === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid UUID`);
  return id;
};

// ---- addresses ----

/** Canonical text (RFC 5952 for IPv6). */
const ip: Convert = (value, attribute) => {
  const text = typeof value === "string" ? normalizeIp(value) : undefined;
  if (text === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP address`);
  return text;
};

/** A prefix as its network address: 10.0.0.5/24 is 10.0.0.0/24, 10.0.0.5 is 10.0.0.5/32, 10.0.0.0/255.255.255.0 is a /24. */
const cidr: Convert = (value, attribute) => {
  const c = typeof value === "string" ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP subnet`);
  return formatCidr(c);
};

/** A prefix that says its length. */
const prefix: Convert = (value, attribute) => {
  const network = cidr(value, attribute) as string;
  if (!(value as string).includes("/")) throw invalidFor(attribute, `'${show(value)}' isn't a recognized IP subnet cidr, '${network}' is recommended`);
  return network;
};

/** A prefix in canonical form only: with a length and without host bits. */
const strictCidr: Convert = (value, attribute) => {
  const c = typeof value === "string" && value.includes("/") ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP subnet`);
  if (c.address !== c.network) throw invalidFor(attribute, `'${show(value)}' isn't a recognized IP subnet cidr, '${formatCidr(c)}' is recommended`);
  return formatCidr(c);
};

/** An address, or a prefix with host bits kept. Bare addresses stay bare. */
const ipOrCidr: Convert = (value, attribute) => {
  const c = typeof value === "string" ? parseCidr(value) : undefined;
  if (c === undefined) throw invalidFor(attribute, `'${show(value)}' is not a valid IP address or subnet`);
  const address = formatIp({ family: c.family, value: c.address });
  return (value as string).includes("/") ? `${address}/${c.prefix}` : address;
};

/** A unicast address other than all zeros, as lower case with colons. */
const mac: Convert = (value, attribute) => {
  const text = parseMac(value);
  if (text === undefined || text === NO_MAC || (parseInt(text.slice(0, 2), 16) & 1) !== 0) {
    throw invalidFor(attribute, `'${show(value)}' is not a valid MAC address`);
  }
  return text;
};

// ---- lists and objects ----

/** Longest list an attribute takes; the body limit is the real bound. */
const MAX_ITEMS = 10_000;

/** The value as a list. @throws ApiError if it is none, or longer than `max`. */
export function asList(value: unknown, attribute: string, max = MAX_ITEMS): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidFor(attribute, `'${show(value)}' is not a list`);
  if (value.length > max) throw invalidFor(attribute, `more than ${max} items`);
  return value as readonly unknown[];
}

const listOf =
  (check: Convert, max: number | undefined): Convert =>
  (value, attribute) =>
    asList(value, attribute, max).map((item) => check(item, attribute));

/** A list without doubles after conversion. */
const uniqueListOf = (check: Convert, max: number | undefined): Convert => {
  const all = listOf(check, max);
  return (value, attribute) => {
    const items = all(value, attribute) as readonly unknown[];
    const seen = new Set<unknown>();
    for (const item of items) {
      const key = typeof item === "object" ? JSON.stringify(item) : item;
      if (seen.has(key)) throw invalidFor(attribute, `Duplicate items in the list: '${items.map((i) => show(i)).slice(0, 10).join(", ")}'`);
      seen.add(key);
    }
    return items;
  };
};

/** Nesting that an object, and a value of any form, may have. */
const OBJECT_DEPTH = 16;
const ANY_DEPTH = 32;

/** Whether the value nests deeper than `limit`. Does not recurse further than that. */
export function deeperThan(value: unknown, limit: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (limit === 0) return true;
  for (const key of Object.keys(value)) if (deeperThan((value as Record<string, unknown>)[key], limit - 1)) return true;
  return false;
}

const any: Convert = (value, attribute) => {
  if (deeperThan(value, ANY_DEPTH)) throw invalidFor(attribute, `nested deeper than ${ANY_DEPTH} levels`);
  return value;
};

/** A free-form JSON object. */
const object: Convert = (value, attribute) => {
  if (!isObject(value)) throw invalidFor(attribute, `'${show(value)}' is not a dictionary`);
  if (deeperThan(value, OBJECT_DEPTH)) throw invalidFor(attribute, `nested deeper than ${OBJECT_DEPTH} levels`);
  return value;
};

const nothing: Convert = (value, attribute) => {
  if (value === null) return null;
  throw invalidFor(attribute, `'${show(value)}' is not None`);
};

/** An object with these keys and no others. */
function objectOf(keys: Readonly<Record<string, KeyCheck>>, make: (check: Check) => Convert): Convert {
  const specs = Object.entries(keys).map(([key, spec]) => ({ key, spec, check: make(spec.check) }));
  return (value, attribute) => {
    if (!isObject(value)) throw invalidFor(attribute, `'${show(value)}' is not a dictionary`);
    const unknown = Object.keys(value).some((k) => !Object.hasOwn(keys, k));
    const missing = specs.some(({ key, spec }) => spec.required === true && !Object.hasOwn(value, key));
    if (unknown || missing) {
      throw invalidFor(attribute, `Validation of dictionary's keys failed. Expected keys: ${list(Object.keys(keys))} Provided keys: ${list(Object.keys(value).slice(0, 20).map((k) => show(k)))}`);
    }
    const out: Record<string, unknown> = {};
    for (const { key, spec, check } of specs) {
      if (Object.hasOwn(value, key)) out[key] = check(value[key], `${attribute}.${key}`);
      else if (spec.default !== undefined) out[key] = spec.default;
    }
    return out;
  };
}

/** The first that takes it. */
function firstOf(alternatives: readonly Check[], make: (check: Check) => Convert): Convert {
  const speaking = alternatives.findIndex((c) => !("type" in c && c.type === "null"));
  const checks = alternatives.map(make);
  return (value, attribute) => {
    let refusal: ApiError | undefined;
    for (const [i, check] of checks.entries()) {
      try {
        return check(value, attribute);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (i === speaking || refusal === undefined) refusal = error;
      }
    }
    throw refusal ?? invalidFor(attribute, `'${show(value)}' is not valid`);
  };
}

const named = { any, null: nothing, boolean, integer: integer(), uuid, ip, cidr, prefix, "strict-cidr": strictCidr, "ip-or-cidr": ipOrCidr, mac, object } as const;

export type Converters = ReadonlyMap<string, Converter>;
const NO_CONVERTERS: Converters = new Map();

/**
 * The function that does what a check says. Made once, where the check is declared, and used for every value.
 * @throws Error naming a converter that is not among `converters`.
 */
export function makeCheck(check: Check, converters: Converters = NO_CONVERTERS): Convert {
  const make = (inner: Check): Convert => makeCheck(inner, converters);
  if ("type" in check) {
    if (check.type !== "string") return named[check.type];
    const text = check.blank === false ? nonEmptyString(check.max) : string(check.max);
    return check.pattern === undefined ? text : matching(check.pattern, check.is ?? `of the form ${check.pattern}`, text);
  }
  if ("range" in check) return integer(...check.range);
  if ("enum" in check) return check.anyCase === true ? oneOfIgnoringCase(check.enum) : oneOf(check.enum);
  if ("list" in check) return check.unique === true ? uniqueListOf(make(check.list), check.max) : listOf(make(check.list), check.max);
  if ("dict" in check) return objectOf(check.dict, make);
  if ("or" in check) return firstOf(check.or, make);
  if ("else" in check) {
    const otherwise = make(check.else);
    const instead = check.null;
    return (value, attribute) => (value === null ? instead : otherwise(value, attribute));
  }
  const converter = converters.get(check.convert);
  if (converter === undefined) throw new Error(`no app registers the converter ${check.convert}`);
  return converter.run;
}
