// What checks say, for others: JSON Schema (2020-12, as OpenAPI 3.1 has it) and a few words for the documentation.
import type { Check, Converters } from "../../app/contract.ts";

export type Json = Record<string, unknown>;

const MAX_STRING = 255;

const named: Readonly<Record<Exclude<Extract<Check, { readonly type: unknown }>["type"], "string">, Json>> = {
  any: {},
  null: { type: "null" },
  boolean: { type: "boolean" },
  integer: { type: "integer" },
  uuid: { type: "string", format: "uuid" },
  ip: { type: "string", description: "IPv4 or IPv6 address" },
  cidr: { type: "string", description: "IPv4 or IPv6 prefix" },
  prefix: { type: "string", description: "IPv4 or IPv6 prefix with its length" },
  "strict-cidr": { type: "string", description: "IPv4 or IPv6 prefix without host bits" },
  "ip-or-cidr": { type: "string", description: "IPv4 or IPv6 address or prefix" },
  mac: { type: "string", pattern: "^[0-9a-f]{2}(:[0-9a-f]{2}){5}$" },
  object: { type: "object" },
};

const NULL: Json = { type: "null" };

/** Alternatives; of one type and null, the short way. */
function anyOf(schemas: readonly Json[]): Json {
  const rest = schemas.filter((s) => s.type !== "null");
  if (rest.length === schemas.length) return { anyOf: schemas };
  const only = rest.length === 1 ? rest[0]! : undefined;
  if (rest.length === 0) return NULL;
  if (only === undefined) return { anyOf: [...rest, NULL] };
  if (Object.keys(only).length === 0) return only;
  return typeof only.type === "string" && !("enum" in only) ? { ...only, type: [only.type, "null"] } : { anyOf: [only, NULL] };
}

/** The form of what a caller may give, canonical spellings only. A converter is described by its form. */
export function jsonSchema(check: Check, converters: Converters): Json {
  const make = (inner: Check): Json => jsonSchema(inner, converters);
  if ("type" in check) {
    if (check.type !== "string") return named[check.type];
    return {
      type: "string",
      ...(check.max === undefined || check.max === MAX_STRING ? {} : { maxLength: check.max }),
      ...(check.blank === false ? { minLength: 1 } : {}),
      ...(check.pattern === undefined ? {} : { pattern: `^(?:${check.pattern})$` }),
    };
  }
  if ("range" in check) return { type: "integer", minimum: check.range[0], maximum: check.range[1] };
  if ("enum" in check) return { enum: check.enum };
  if ("list" in check) return { type: "array", items: make(check.list), ...(check.unique === true ? { uniqueItems: true } : {}), ...(check.max === undefined ? {} : { maxItems: check.max }) };
  if ("dict" in check) {
    const keys = Object.entries(check.dict);
    const required = keys.filter(([, k]) => k.required === true).map(([key]) => key);
    return {
      type: "object",
      properties: Object.fromEntries(keys.map(([key, k]) => [key, { ...make(k.check), ...(k.default === undefined ? {} : { default: k.default }) }])),
      ...(required.length === 0 ? {} : { required }),
      additionalProperties: false,
    };
  }
  if ("or" in check) return anyOf(check.or.map(make));
  if ("else" in check) return anyOf([make(check.else), NULL]);
  return make(converters.get(check.convert)!.form);
}

const words: Readonly<Partial<Record<string, string>>> = { ip: "address", prefix: "prefix with its length", "strict-cidr": "prefix without host bits", "ip-or-cidr": "address or prefix", cidr: "prefix", mac: "MAC", any: "" };

/** The same in words, e.g. "integer 1..100", "one of rose, fern"; "" where there is nothing to say. */
export function formText(check: Check, converters: Converters): string {
  const text = (inner: Check): string => formText(inner, converters);
  if ("type" in check) {
    if (check.type !== "string") return words[check.type] ?? check.type;
    if (check.is !== undefined) return check.is;
    return `string${check.max === undefined || check.max === MAX_STRING ? "" : ` of at most ${check.max}`}${check.blank === false ? ", not blank" : ""}`;
  }
  if ("range" in check) return `${check.range[0]}..${check.range[1]}`;
  if ("enum" in check) return `one of ${check.enum.map((v) => String(v)).join(", ")}`;
  if ("list" in check) return `${check.max === undefined ? "list" : `at most ${check.max}`} of ${text(check.list)}`;
  if ("dict" in check) return `{${Object.entries(check.dict).map(([key, k]) => `${key}${k.required === true ? "" : "?"}`).join(", ")}}`;
  if ("or" in check) return check.or.map(text).join(" or ");
  if ("else" in check) return `${text(check.else)} or null`;
  return converters.get(check.convert)!.about;
}
