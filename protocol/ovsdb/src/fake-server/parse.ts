/**
 * Reading requests the way a server does: every object is taken apart member by member, what is missing, of another type
 * or left over is an error, and errors quote the JSON they complain of. Refusals are plain `OvsdbError`s whose `code`
 * becomes the "error" member of RFC 7047 section 3.1; `errorToJson` gives that object.
 */

import { OvsdbError } from "../wire/errors.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";

const INT64_MIN = -(2n ** 63n), INT64_MAX = 2n ** 63n - 1n;

/** The types a server tells apart: a number without a fraction is an integer however it was written, if 64 bits hold it. */
export type JsonType = "object" | "array" | "string" | "integer" | "real" | "true" | "false" | "null";

export function jsonType(json: Json): JsonType {
  switch (typeof json) {
    case "string": return "string";
    case "number": return Number.isInteger(json) && json >= -(2 ** 63) && json < 2 ** 63 ? "integer" : "real";
    case "bigint": return json >= INT64_MIN && json <= INT64_MAX ? "integer" : "real";
    case "boolean": return json ? "true" : "false";
    default: return json === null ? "null" : isArray(json) ? "array" : "object";
  }
}

/** A real as C's "%.15g" prints it: the server knows no other way to write one. */
export function formatReal(value: number): string {
  const digits = 15;
  const [mantissa = "", exponent = "0"] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const trim = (text: string): string => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power >= -4 && power < digits) return trim(value.toFixed(digits - 1 - power));
  return `${trim(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

const numberText = (value: number | bigint): string => (jsonType(value) === "integer" ? BigInt(value).toString() : formatReal(Number(value)));

/** The one text of a value that does not depend on the order of its members: the text by which errors quote JSON. */
export function sortedText(json: Json): string {
  if (typeof json === "number" || typeof json === "bigint") return numberText(json);
  if (isArray(json)) return `[${json.map(sortedText).join(",")}]`;
  if (!isObject(json)) return stringify(json);
  return `{${Object.keys(json).sort().map((name) => `${stringify(name)}:${sortedText(json[name] ?? null)}`).join(",")}}`;
}

/** An error that quotes `json`; "syntax error" unless `code` says otherwise. */
export function syntaxError(json: Json | undefined, details: string, code = "syntax error"): OvsdbError {
  return new OvsdbError(code, { details, syntax: json === undefined ? undefined : sortedText(json) });
}

/** An `<error>` of RFC 7047 section 3.1. */
export function errorToJson(error: OvsdbError): JsonObject {
  const { code, details, syntax } = error;
  return { error: code, ...(details === undefined ? {} : { details }), ...(syntax === undefined ? {} : { syntax }) };
}

/** `<id>` of RFC 7047 section 3.1. */
export const isId = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);

export type MemberType = JsonType | "id";

export const BOOLEAN: readonly MemberType[] = ["true", "false"];
export const NUMBER: readonly MemberType[] = ["integer", "real"];

/**
 * The members of one object. The first fault is kept rather than thrown, so that a caller asks for all members and then
 * calls `check`; `finish` finds members nobody asked for.
 */
export class Members {
  readonly #json: JsonObject | undefined;
  readonly #what: string;
  readonly #used = new Set<string>();
  #fault: OvsdbError | undefined;

  /** `what` names the object in errors: "Parsing <what> failed: ...". */
  constructor(json: Json | undefined, what: string) {
    this.#what = what;
    this.#json = isObject(json) ? json : undefined;
    if (this.#json === undefined) this.fail("Object expected.");
  }

  /** The object itself, for errors that quote it. */
  get json(): JsonObject | undefined { return this.#json; }

  get failed(): boolean { return this.#fault !== undefined; }

  /** A member that must be there; undefined when it is not (and the fault is kept). */
  required(name: string, ...types: readonly MemberType[]): Json | undefined {
    return this.#member(name, types, false);
  }

  optional(name: string, ...types: readonly MemberType[]): Json | undefined {
    return this.#member(name, types, true);
  }

  /** Keeps a fault unless there is one already. */
  fail(message: string): void {
    this.#fault ??= syntaxError(this.#json, `Parsing ${this.#what} failed: ${message}`);
  }

  /** @throws OvsdbError the fault kept */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** The fault kept, or one for members that were not asked for. */
  finish(): OvsdbError | undefined {
    if (this.#fault === undefined && this.#json !== undefined) {
      const unused = Object.keys(this.#json).filter((name) => !this.#used.has(name));
      if (unused.length > 0) {
        const others = unused.length === 1 ? " is" : ` and ${unused.length - 1} other member${unused.length > 2 ? "s" : ""} are`;
        this.fail(`Member '${unused[0] ?? ""}'${others} present but not allowed here.`);
      }
    }
    return this.#fault;
  }

  /** @throws OvsdbError */
  finishOrThrow(): void {
    const fault = this.finish();
    if (fault !== undefined) throw fault;
  }

  #member(name: string, types: readonly MemberType[], optional: boolean): Json | undefined {
    if (this.#json === undefined) return undefined;
    const value = Object.hasOwn(this.#json, name) ? this.#json[name] : undefined;
    if (value === undefined) {
      if (!optional) this.fail(`Required '${name}' member is missing.`);
      return undefined;
    }
    if (types.length > 0 && !types.includes(jsonType(value)) && !(types.includes("id") && typeof value === "string" && isId(value))) {
      this.fail(`Type mismatch for member '${name}'.`);
      return undefined;
    }
    this.#used.add(name);
    return value;
  }
}
