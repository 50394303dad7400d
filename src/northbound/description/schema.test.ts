// What a check says, to programs and to people.
import { describe, expect, it } from "vitest";
import { orNull, UUID_LIST, type Check, type Converter } from "../../app/contract.ts";
import { formText, jsonSchema } from "./schema.ts";

const converters = new Map<string, Converter>([["route", { about: "a route", form: { dict: { to: { check: { type: "cidr" }, required: true }, cost: { check: { range: [0, 9] }, default: 1 } } }, run: (v) => v }]]);

const table: [string, Check, unknown, string][] = [
  ["any", { type: "any" }, {}, ""],
  ["boolean", { type: "boolean" }, { type: "boolean" }, "boolean"],
  ["uuid", { type: "uuid" }, { type: "string", format: "uuid" }, "uuid"],
  ["string", { type: "string" }, { type: "string" }, "string"],
  ["bounded string", { type: "string", max: 9, blank: false }, { type: "string", maxLength: 9, minLength: 1 }, "string of at most 9, not blank"],
  ["pattern", { type: "string", pattern: "a|b", is: "an a or b" }, { type: "string", pattern: "^(?:a|b)$" }, "an a or b"],
  ["range", { range: [0, 65535] }, { type: "integer", minimum: 0, maximum: 65535 }, "0..65535"],
  ["enum", { enum: ["a", 1, null] }, { enum: ["a", 1, null] }, "one of a, 1, null"],
  ["list", { list: { range: [1, 2] }, unique: true, max: 3 }, { type: "array", items: { type: "integer", minimum: 1, maximum: 2 }, uniqueItems: true, maxItems: 3 }, "at most 3 of 1..2"],
  ["null or a value", orNull({ type: "uuid" }), { type: ["string", "null"], format: "uuid" }, "uuid or null"],
  ["null first", { or: [{ type: "null" }, { type: "integer" }] }, { type: ["integer", "null"] }, "null or integer"],
  ["null for a value", UUID_LIST, { type: ["array", "null"], items: { type: "string", format: "uuid" }, uniqueItems: true }, "list of uuid or null"],
  ["null or one of", orNull({ enum: ["a"] }), { anyOf: [{ enum: ["a"] }, { type: "null" }] }, "one of a or null"],
  ["alternatives", { or: [{ type: "integer" }, { type: "string" }] }, { anyOf: [{ type: "integer" }, { type: "string" }] }, "integer or string"],
  ["only null", { type: "null" }, { type: "null" }, "null"],
  [
    "a converter by its form", { list: { convert: "route" } },
    { type: "array", items: { type: "object", properties: { to: { type: "string", description: "IPv4 or IPv6 prefix" }, cost: { type: "integer", minimum: 0, maximum: 9, default: 1 } }, required: ["to"], additionalProperties: false } },
    "list of a route",
  ],
];

describe("a check", () => {
  it.each(table)("%s as JSON Schema", (_, check, schema) => expect(jsonSchema(check, converters)).toEqual(schema));
  it.each(table)("%s in words", (_, check, _schema, words) => expect(formText(check, converters)).toBe(words));
});
