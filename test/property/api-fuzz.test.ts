// Whatever is asked, by whomever, of whatever the API's description has: an answer that the description knows, an error in the error's form, nothing
// changed by what is refused, and no failure inside. Run one again with AXION_FUZZ_SEED=<seed>.
import { expect, test } from "vitest";
import { METHODS, type Route } from "../support/api/api-requests.ts";
import { ADMIN, ApiWorld, as, HOSTS, isFault, type Headers, type RawAnswer } from "../support/api/api-world.ts";
import { compare } from "../support/from-scratch.ts";

const nightly = process.env.AXION_NIGHTLY === "1";
const given = process.env.AXION_FUZZ_SEED;
const first = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
const SEEDS = given === undefined ? Array.from({ length: nightly ? 300 : 6 }, (_, i) => first + i) : [first];
const REQUESTS = nightly ? 2000 : 600;
const CALLERS: readonly Headers[] = [...Array.from({ length: 9 }, () => ADMIN), as("p1", "admin"), as("p1"), as("p1"), as("p2"), as("p1", "reader"), as("p2", "manager"), as("", "member"), as("p1", "service"), as("nobody", ""), { "x-roles": "admin,\u00fc;;" }];

/** What operations answered 2xx, over all seeds. */
const succeeded = new Set<string>();


function wrongError({ status, headers, text }: RawAnswer, method: string, asked: string): string | undefined {
  if (typeof headers["x-openstack-request-id"] !== "string") return "no request id";
  if (method === "HEAD") return undefined;
  if (!String(headers["content-type"]).startsWith("application/json")) return `content-type ${String(headers["content-type"])}`;
  const body = JSON.parse(text) as { readonly NeutronError?: { readonly type?: unknown; readonly message?: unknown; readonly detail?: unknown } };
  const { type, message, detail } = body.NeutronError ?? {};
  if (Object.keys(body).join() !== "NeutronError" || typeof type !== "string" || type === "" || typeof message !== "string" || message === "" || detail !== "") return "not the error's form";
  if (message.length > 2000) return `a message of ${message.length}`;
  const inner = /node_modules|\bat \S+:\d+|undefined|\[object |NaN\b/;
  if (inner.test(message) && !inner.test(asked)) return "a message that shows what is none of the caller's";
  return status < 400 ? "no error" : undefined;
}

const decoded = (url: string): string => {
  try {
    return decodeURIComponent(url);
  } catch {
    return url;
  }
};

/** Attributes of what is shown that the description does not have. */
function untold(world: ApiWorld, { kind }: Route, text: string): string[] {
  const body = JSON.parse(text) as Readonly<Record<string, unknown>>;
  const properties = (world.requests.schema(kind))?.properties ?? {};
  const one = body[kind];
  if (typeof one !== "object" || one === null || Array.isArray(one)) return [];
  return Object.keys(one).filter((name) => !(name in properties));
}

/** How what is answered is not what the description says of its outermost keys; undefined: it is. */
function unlike({ operation }: Route, { status, text }: RawAnswer): string | undefined {
  const whole = operation.responses[status]?.content?.["application/json"]?.schema;
  const keys = Object.keys(JSON.parse(text) as object);
  const schema = whole?.oneOf?.find((one) => one.required?.every((key) => keys.includes(key))) ?? whole?.oneOf?.[0] ?? whole;
  if (schema?.properties === undefined) return undefined;
  const [more, missing] = [keys.filter((key) => !(key in schema.properties!)), (schema.required ?? []).filter((key) => !keys.includes(key))];
  return more.length + missing.length === 0 ? undefined : `has ${more.join(", ") || "nothing"} more and ${missing.join(", ") || "nothing"} less than the description`;
}

async function fuzz(seed: number): Promise<void> {
  const world = await ApiWorld.make(seed, 8);
  const { requests, routes } = world;
  /** What makes something comes more often than what ends it. */
  const choice = routes.flatMap((r) => Array.from({ length: r.method === "DELETE" ? 1 : r.method === "POST" || r.path.includes("_") ? 4 : 2 }, () => r));
  try {
    for (let n = 0; n < REQUESTS; n++) {
      if (n % 50 === 49) await world.look();
      requests.mistakes = requests.pick([0, 0, 2, 5, 20]);
      const route = requests.pick(choice);
      const as = requests.chance(95) ? route.method : requests.pick(METHODS);
      const known = as === route.method;
      const headers: Record<string, string> = { ...requests.pick(CALLERS), ...(requests.chance(3) && { "if-match": requests.pick(["revision_number=1", "revision_number=x", "revision_number=99999999999999999999", "*"]) }) };
      const url = requests.path(route) + requests.query(route);
      const body = requests.body(route);
      await world.h.settled();
      const { generation } = world.h.model;
      const answer = await world.raw(as, url, body, headers);
      const about = (): string => `seed ${seed}, request ${n}: ${as} ${url} ${JSON.stringify(headers)} ${body === undefined ? "" : body.slice(0, 3000)}\n${answer.status} ${answer.text.slice(0, 1000)}\n${JSON.stringify(world.h.complaints.slice(-3))}`;
      if (isFault(answer)) expect.fail(about());
      if (answer.status >= 400) {
        const wrong = wrongError(answer, as, `${decoded(url)} ${body ?? ""}`);
        if (wrong !== undefined) expect.fail(`${wrong}: ${about()}`);
        if (known && requests.mistakes === 0 && /invalid attribute for (filtering|sort_keys)|Unrecognized attribute|not allowed in POST|Cannot update read-only/.test(answer.text)) expect.fail(`the description has more than is taken: ${about()}`);
        // A question makes what its project is to have, its first group: also if there is no answer to it.
        if (as !== "GET" && world.h.model.generation !== generation) expect.fail(`a refused call changed ${world.changed.join(", ")}: ${about()}`);
        continue;
      }
      if (!known) continue;
      if (!(String(answer.status) in route.operation.responses)) expect.fail(`the description does not have this status: ${about()}`);
      if (answer.text !== "" && route.operation.responses[answer.status]!.content === undefined) expect.fail(`the description has no body here: ${about()}`);
      if (answer.text !== "") {
        const wrong = unlike(route, answer);
        if (wrong !== undefined) expect.fail(`the answer ${wrong}: ${about()}`);
        const names = untold(world, route, answer.text);
        if (names.length > 0) expect.fail(`the description does not have ${names.join(", ")}: ${about()}`);
      }
      succeeded.add(`${route.method} ${route.path}`);
    }
    await world.h.settled();
    expect(world.h.complaints, `seed ${seed}`).toEqual([]);
    compare(world.h, HOSTS);
  } catch (error) {
    if (error instanceof Error && !error.message.includes("seed")) error.message = `seed ${seed}: ${error.message}`;
    throw error;
  } finally {
    await world.h.close();
  }
}

test(`${SEEDS.length * REQUESTS} requests made of the description, from seed ${first}`, { timeout: nightly ? 3_600_000 : 180_000 }, async () => {
  for (const seed of SEEDS) await fuzz(seed);
});

test("every body that is asked for or answered has a form", async () => {
  const world = await ApiWorld.make(1, 0);
  const formless = world.routes.flatMap(({ method, path, operation }) => {
    const bodies = [operation.requestBody, ...Object.entries(operation.responses).flatMap(([status, response]) => (status.startsWith("2") && response.content !== undefined ? [response] : []))];
    return bodies.some((body) => body !== undefined && ["properties", "oneOf", "$ref"].every((key) => !(key in (body.content!["application/json"]?.schema ?? {})))) ? [`${method} ${path}`] : [];
  });
  expect(formless).toEqual([]);
  await world.h.close();
});

test("what the description has of paths and queries is so", async () => {
  const world = await ApiWorld.make(1, 0);
  const paths = new Map<string, string>();
  for (const { method, path, operation } of world.routes) {
    const form = path.replaceAll(/\{[^}]+\}/g, "{}");
    expect(paths.get(form) ?? path).toBe(path);
    paths.set(form, path);
    if (method !== "GET") continue;
    for (const { name, in: place, schema } of operation.parameters ?? []) {
      if (place !== "query") continue;
      for (const value of (schema.items?.enum as readonly string[] | undefined) ?? ["x"]) {
        const { text } = await world.raw("GET", `${path.replace(/\{[^}]+\}/, "x")}?${name}=${value}`, undefined, ADMIN);
        expect(text, `${path} ${name}`).not.toMatch(/invalid attribute/);
      }
      expect((schema.items?.enum)?.length, `${path} ${name}`).not.toBe(0);
    }
  }
  await world.h.close();
});
