// Checks: what a value of the API must be, as plain data, so that a model file can hold them and that validation, JSON Schema and
// documentation say the same. `makeCheck` (validate.ts) interprets them; what data cannot say is a converter that an app names.

export type Check =
  /** uuid, mac: in any usual notation. ip: no zone. cidr: host bits are cleared, prefix: likewise, and it needs a length, strict-cidr: they are refused, ip-or-cidr: they are kept. */
  | { readonly type: "any" | "null" | "boolean" | "integer" | "uuid" | "ip" | "cidr" | "prefix" | "strict-cidr" | "ip-or-cidr" | "mac" | "object" }
  /**
   * At most `max` characters, 255 if not said. `blank: false`: not empty. `pattern`: source of a regular expression that the whole
   * text matches; `is` then ends the refusal "'x' is not ...".
   */
  | { readonly type: "string"; readonly max?: number; readonly blank?: false; readonly pattern?: string; readonly is?: string }
  /** An integer, both ends included. */
  | { readonly range: readonly [min: number, max: number] }
  /** One of these; digits in a string do for a number. `anyCase`: in any letter case, stored as spelled here. */
  | { readonly enum: readonly (string | number | null)[]; readonly anyCase?: true }
  /** At most `max` items, 10,000 if not said. `unique`: none twice after conversion. */
  | { readonly list: Check; readonly unique?: true; readonly max?: number }
  /** An object with these keys and no others. `more`: beside them those that other apps add under this name (App.keys). */
  | { readonly dict: Readonly<Record<string, KeyCheck>>; readonly more?: string }
  /** The first that takes the value. The refusal is that of the first that is not `null`. */
  | { readonly or: readonly Check[] }
  /** null stands for this value. */
  | { readonly null: unknown; readonly else: Check }
  /** A converter that some app registers under this name. */
  | { readonly convert: string };

export interface KeyCheck {
  readonly check: Check;
  readonly required?: boolean;
  /** Value when absent; without it the key stays absent. */
  readonly default?: unknown;
}

/** Checks and converts one value; returns the stored form. Throws ApiError (use invalidFor) to refuse. */
export type Convert = (value: unknown, attribute: string) => unknown;

/** What data cannot say, in code. `App.converters` registers it by name. */
export interface Converter {
  readonly about: string;
  /** The form of what it takes, for schemas and documentation; `run` itself decides. */
  readonly form: Check;
  readonly run: Convert;
}

export const NULL: Check = { type: "null" };
/** null passes as it is. */
export const orNull = (check: Check): Check => ({ or: [check, NULL] });
/** A list of ids, none twice; null is the empty list. */
export const UUID_LIST: Check = { null: [], else: { list: { type: "uuid" }, unique: true } };

/** Keys that apps add to objects, by the name that a check has for them. */
export type FurtherKeys = ReadonlyMap<string, Readonly<Record<string, KeyCheck>>>;

/** The check with what apps add to its objects. */
export function withKeys(check: Check, further: FurtherKeys): Check {
  const within = (inner: Check): Check => withKeys(inner, further);
  if ("dict" in check) {
    const { dict, more } = check;
    const keys = Object.entries({ ...dict, ...(more === undefined ? {} : further.get(more)) });
    return { dict: Object.fromEntries(keys.map(([key, k]) => [key, { ...k, check: within(k.check) }])) };
  }
  if ("list" in check) return { ...check, list: within(check.list) };
  if ("or" in check) return { or: check.or.map(within) };
  return "else" in check ? { ...check, else: within(check.else) } : check;
}
