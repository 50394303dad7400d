/**
 * What the tests of the fake server share: comparing what two servers said, when the UUIDs of one are not those of the
 * other. Not part of the package's public face.
 */

import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { MessageScanner } from "../wire/framing.ts";
import { isArray, isObject, stringify, type Json, type JsonObject } from "../wire/json.ts";

/** A connection that sends what it is told and keeps what it gets. */
export class RawClient {
  readonly #socket: Socket;
  readonly messages: JsonObject[] = [];
  /** All that was received, in bytes. */
  bytes = 0;
  closed = false;
  #woken: () => void = () => undefined;
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const scanner = new MessageScanner(1 << 28);
    socket.on("data", (chunk) => {
      this.bytes += chunk.length;
      for (const message of scanner.push(chunk)) this.messages.push(message);
      this.#woken();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.closed = true;
      this.#woken();
    });
  }

  static async connect(target: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<RawClient> {
    const socket = "path" in target && target.path !== "" ? connect(target.path) : connect(target as { host: string; port: number });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  send(message: Json): void {
    this.write(stringify(message));
  }

  /** Sends a request and gives all that came until its reply, the reply last. */
  async ask(method: string, params: readonly Json[], id: Json = `q${this.#nextId++}`): Promise<JsonObject[]> {
    const from = this.messages.length, text = stringify(id);
    this.send({ method, params, id });
    let end = -1;
    await this.until(() => {
      end = this.messages.findIndex((message, i) => i >= from && message["method"] === undefined && stringify(message["id"] ?? null) === text);
      return end >= 0;
    });
    return this.messages.slice(from, end + 1);
  }

  /** Resolves when `condition` holds; rejects when that can be no more. */
  async until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (this.closed || performance.now() > deadline) throw new Error(`${this.closed ? "closed" : "not in time"}: ${condition.toString()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.#woken = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

const TOKEN = /<\d+>|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;

/** The same value with members sorted by name at every level. */
export function sortMembers(json: Json): Json {
  if (isArray(json)) return json.map(sortMembers);
  if (!isObject(json)) return json;
  return Object.fromEntries(Object.keys(json).sort().map((name) => [name, sortMembers(json[name]!)]));
}

/** Which UUID (or `<n>` standing for one) of the expected values is which of the actual ones. */
class Pairs {
  readonly there = new Map<string, string>();
  readonly back = new Map<string, string>();

  /** Pairs two, runs `rest`, and parts them again when that fails. */
  with(expected: string, actual: string, rest: () => boolean): boolean {
    const known = this.there.get(expected), taken = this.back.get(actual);
    if (known !== undefined || taken !== undefined) return known === actual && taken === expected && rest();
    this.there.set(expected, actual);
    this.back.set(actual, expected);
    if (rest()) return true;
    this.there.delete(expected);
    this.back.delete(actual);
    return false;
  }
}

function matchText(pairs: Pairs, expected: string, actual: string, rest: () => boolean): boolean {
  if (expected.replace(TOKEN, "<>") !== actual.replace(TOKEN, "<>")) return false;
  const from = expected.match(TOKEN) ?? [], to = actual.match(TOKEN) ?? [];
  const next = (i: number): boolean => (i === from.length ? rest() : pairs.with(from[i]!, to[i]!, () => next(i + 1)));
  return next(0);
}

function matchInAnyOrder<T>(expected: readonly T[], actual: readonly T[], match: (e: T, a: T, rest: () => boolean) => boolean, rest: () => boolean): boolean {
  if (expected.length !== actual.length) return false;
  const taken = new Set<number>();
  const next = (i: number): boolean => {
    if (i === expected.length) return rest();
    return actual.some((candidate, j) => {
      if (taken.has(j)) return false;
      taken.add(j);
      if (match(expected[i]!, candidate, () => next(i + 1))) return true;
      taken.delete(j);
      return false;
    });
  };
  return next(0);
}

const named = new WeakMap<object, boolean>();

/** Whether a UUID, or what stands for one, is anywhere in a value. */
function hasNames(json: Json): boolean {
  if (typeof json === "string") return json.search(TOKEN) >= 0;
  if (!isArray(json) && !isObject(json)) return false;
  let has = named.get(json);
  if (has === undefined) {
    has = isArray(json) ? json.some(hasNames) : Object.entries(json).some(([name, value]) => hasNames(name) || hasNames(value ?? null));
    named.set(json, has);
  }
  return has;
}

/** The text of a value in which the order of sets, maps and members does not show. */
function plain(json: Json, unordered: boolean): string {
  if (isArray(json)) {
    const collection = json.length === 2 && (json[0] === "set" || json[0] === "map");
    const elements = json.map((element, i) => plain(element, collection && i === 1));
    return `[${(unordered ? elements.sort() : elements).join(",")}]`;
  }
  if (!isObject(json)) return stringify(json);
  return `{${Object.keys(json).sort().map((name) => `${stringify(name)}:${plain(json[name]!, name === "rows")}`).join(",")}}`;
}

/** `unordered`: the elements of an array may come in any order, as those of a set and the rows of a select. */
function match(pairs: Pairs, expected: Json, actual: Json, unordered: boolean, rest: () => boolean): boolean {
  if (!hasNames(expected)) return !hasNames(actual) && plain(expected, unordered) === plain(actual, unordered) && rest();
  if (typeof expected === "string") return typeof actual === "string" && matchText(pairs, expected, actual, rest);
  if (isArray(expected)) {
    if (!isArray(actual) || expected.length !== actual.length) return false;
    if (unordered) return matchInAnyOrder(expected, actual, (e, a, then) => match(pairs, e, a, false, then), rest);
    const collection = expected.length === 2 && (expected[0] === "set" || expected[0] === "map");
    const next = (i: number): boolean => (i === expected.length ? rest() : match(pairs, expected[i]!, actual[i]!, collection && i === 1, () => next(i + 1)));
    return next(0);
  }
  if (isObject(expected)) {
    if (!isObject(actual)) return false;
    const names = Object.keys(expected), others = Object.keys(actual);
    if (names.length !== others.length) return false;
    const fixed = names.filter((name) => name.match(TOKEN) === null);
    const named = names.filter((name) => name.match(TOKEN) !== null), namedOthers = others.filter((name) => name.match(TOKEN) !== null);
    if (!fixed.every((name) => Object.hasOwn(actual, name))) return false;
    const next = (i: number): boolean => {
      if (i < fixed.length) return match(pairs, expected[fixed[i]!]!, actual[fixed[i]!]!, fixed[i] === "rows", () => next(i + 1));
      return matchInAnyOrder(named, namedOthers, (e, a, then) => matchText(pairs, e, a, () => match(pairs, expected[e]!, actual[a]!, false, then)), rest);
    };
    return next(0);
  }
  return expected === actual && rest();
}

/** Whether two values are the same up to the names of UUIDs, the order in sets and maps and that of selected rows; the pairs found. */
export function unify(expected: Json, actual: Json): ReadonlyMap<string, string> | undefined {
  const pairs = new Pairs();
  // a copy: a list that grows must not be remembered by what it held before
  return match(pairs, isArray(expected) ? [...expected] : expected, isArray(actual) ? [...actual] : actual, false, () => true) ? pairs.there : undefined;
}
