// What an app may not say of the pipeline or of resources does not compile; what it may not import does not pass. Each wrong file below is compiled on
// its own, beside a right one of the same form, so that the mistake named is the one that is found.
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { repositoryRoot } from "../../lab/controller.ts";

const root = repositoryRoot();
/** In the repository, so that "#app" resolves; where no other test looks. */
const folder = path.join(root, ".lab", `typed-${process.pid}`);

const HEAD = `
import { copy, core, definePipeline, defineSoftTable, defineTable, derivation, each, ipSrc, learned, load, toTable, type Outputs, type Row } from "#app";
interface Thing extends Row { readonly key: number; readonly ip: string; readonly six: boolean }
const things = defineTable<Thing>()("thing", {});
const p = definePipeline({
  registers: { policy: { bits: 32, about: "" } },
  tables: {
    rules: { stage: "services", miss: "drop", about: "", match: ["reg:policy", "eth_type", "ip_proto", "udp_dst", "ipv4_src", "ipv6_src"] },
    verdict: { stage: "services", miss: "drop", about: "", match: ["eth_type"] },
  },
});
const other = definePipeline({
  registers: {},
  tables: {
    guard: { stage: "admission", miss: "drop", about: "", match: ["eth_type"] },
    joint: { stage: "admission", open: true, miss: "drop", about: "", match: ["eth_type"] },
  },
});
const soft = defineSoftTable<Thing>()("heard", { ttlS: 1, limit: 1, limitPerOwner: 1 });
const made = defineTable<Thing>()("made", { derived: true });
declare const scope: import("#app").Scope;
const base = { eth_type: 0x800, ip_proto: 17 } as const;
const bad = { eth_type: 0x800, tunnel_id: 5 } as const;
`;
const inRule = (body: string): string => `export const r = p.rule({ name: "x", about: "", on: each(things), emit(e, _view, out) {\n${body}\n} });\n`;
const flow = (table: string, match: string, actions = "[]"): string => inRule(`  out.flow(scope, "${table}", { priority: 1, match: ${match}, actions: ${actions} });`);

const wrong: Record<string, string> = {
  "an unknown table": flow("rulez", "{}"),
  "a field the table did not declare, through a spread": flow("rules", "{ ...bad }"),
  "a field of another table of the app": flow("verdict", "{ eth_type: 1, udp_dst: 67 }"),
  "another app's register in a load": flow("rules", "{}", `[load("sg_policy", 1)]`),
  "another app's table to go on to": flow("rules", "{}", `[toTable("l2_lookup")]`),
  "a register that nobody has, in a copy": flow("rules", "{}", `[copy("ipv4_src", "reg:nett")]`),
  "a table that matches a register neither shared nor its own": `export const w = definePipeline({ registers: {}, tables: { t: { stage: "classify", miss: "drop", about: "", match: ["reg:sg_policy"] } } });`,
  "a field of one branch of a union": flow("verdict", "e.six ? { eth_type: 1 } : { eth_type: 1, udp_dst: 67 }"),
  "a computed key of no declared field": flow("rules", `{ eth_type: 1, [e.six ? "ipv6_dst" : "ipv4_dst"]: e.ip }`),
  "a shape with an undeclared field": `export const s = p.shapes("verdict", { a: (t: Thing) => ({ priority: 1, match: { eth_type: 1, udp_dst: t.key }, actions: [] }) });`,
  "a shape that goes to another app's table": `export const s = p.shapes("verdict", { a: (_: Thing) => ({ priority: 1, match: {}, actions: [toTable("l2_lookup")] }) });`,
  "a way into a table that is only text": flow("rules", "{}", `[{ type: "entrance", table: "verdict" }]`),
  "a way into a table that it has not": `export const w = p.entrance("gate");`,
  "a table of another app that is not open": inRule(`  out.into(other).flow(scope, "guard", { priority: 1, match: {}, actions: [] });`),
  "a field that an open table did not declare": inRule(`  out.into(other).flow(scope, "joint", { priority: 1, match: { udp_dst: 1 }, actions: [] });`),
  "a stage that there is not": flow("rules", "{}", `[{ type: "stage", stage: "nowhere" }]`),
  "a raw action that names a table by number": flow("rules", "{}", `[{ type: "resubmit", table: 7 }]`),
  "a soft table in a rule": inRule(`  void [view.get(soft, e.id), out];`).replace("_view", "view"),
  "a fact in a rule": inRule(`  void [view.fact(soft, e.id), out];`).replace("_view", "view"),
  "a soft table in a derivation": `export const d = derivation({ name: "d", on: each(things), into: made, reads: [things], derive: (e: Thing, view) => view.get(soft, e.id) });`,
  "a fact of another shape": `export const f = learned(soft, "owner", { id: "a", key: "1", ip: "", six: false });`,
  "a map patched as a whole": inRule(`  out.patch(scope, { table: "Interface", name: e.id, column: "other_config", value: {} });`),
  "a key of a column that is no map": inRule(`  out.patch(scope, { table: "Port", name: e.id, column: "tag", key: "a", value: "1" });`),
  "a column that the table does not have": inRule(`  out.row(scope, "IPFIX", e.id, { polling: 1 });`),
  "a column of another kind": inRule(`  out.row(scope, "Queue", e.id, { dscp: "46" });`),
  "an exporter without collectors": inRule(`  out.row(scope, "sFlow", e.id, { polling: 1 });`),
  "settings of another app's table": inRule(`  out.row(scope, "Flow_Table", "l2_lookup", { prefixes: ["ipv6_dst"] });`),
  "a scope that is only text": inRule(`  out.flow("base", "rules", { priority: 1, match: {}, actions: [] });`),
};
/** The API layer's side: handles, rows and checks. */
const API = `
import { defineResource, resourceHandle, type ApiContext, type Check, type FaceRequest, type Operations } from "#app";
interface Shelf extends Row { readonly size: number }
const shelf = resourceHandle<Shelf>("shelf");
declare const ctx: ApiContext;
const shelves = defineTable<Shelf>()("shelf", {});
declare const operations: Operations;
declare const request: FaceRequest;
export const used: unknown[] = [defineResource, shelf, ctx, shelves, operations, request];
`;
const shelf = (rest: string): string =>
  `${API}export const r = defineResource(shelf, { collection: "shelves", about: "", table: shelves, notFound: { type: "X", message: (id) => id }, attributes: {}, policy: { get: "rule:admin_only" }, ${rest} });`;
Object.assign(wrong, {
  "a resource named by text": `${API}ctx.remove("shelf", "1");`,
  "a column of the wrong type given to another app's resource": `${API}ctx.create(shelf, { size: "big" });`,
  "a column that rows do not have": `${API}export const colour: string = ctx.visible(shelf, "1").colour;`,
  "a row of another form made": shelf(`policy: { get: "rule:admin_only", create: "rule:admin_only" }, create: (_tx, standard) => ({ id: standard.id })`),
  "an action on a column that rows do not have": shelf(`actions: { look: { about: "", policy: "rule:admin_only", method: "GET", read: (_view, row) => row.colour } }`),
  "an action that reads, but changes": shelf(`actions: { look: { about: "", policy: "rule:admin_only", method: "GET", run: () => 1 } }`),
  "a batch that waits": `${API}export const b = operations.batch(request, async (o) => { await Promise.resolve(); return o.show(shelf, "1"); });`,
  "a parent of a whole batch": `${API}export const b = operations.batch({ caller: request.caller, method: "PUT", path: "/", parentId: "1" }, (o) => o.show(shelf, "1"));`,
  "a check that there is not": `${API}export const c: Check = { list: { type: "colour" } };`,
} satisfies Record<string, string>);
Object.assign(wrong, {
  "a column that cannot be observed": `export const o: import("#app").Observe = { Interface: ["options"] };`,
  "what is observed, in a rule": inRule("  void [observed(view, e.id, \"Interface\", \"p\"), out];").replace("_view", "view") + `import { observed } from "#app";\n`,
  "a column of another table, read": `import { observed, type LiveView } from "#app";\nexport const f = (view: LiveView) => observed(view, "hv1", "Port", "p")?.bfd_status;`,
} satisfies Record<string, string>);
const right: Readonly<Record<string, string>> = {
  "spreads, families, own and shared registers, own tables": flow("rules", `{ ...base, "reg:policy": e.key, ...ipSrc(e.ip) }`, `[load("policy", 1), load("net", 2), copy("ipv4_src", "reg:nexthop"), toTable("verdict")]`),
  "a table in a rule and a derivation, a fact": `${inRule("  void [view.get(things, e.id), out];").replace("_view", "view")}export const d = derivation({ name: "d", on: each(things), into: made, reads: [things], derive: (e: Thing, view) => view.get(things, e.id) });
export const f = learned(soft, "owner", { id: "a", key: 1, ip: "", six: false });`,
  "rows and patches of a host's database": inRule(`  out.patch(scope, { table: "Interface", name: e.id, column: "other_config", key: "a", value: "1" });
  out.patch(scope, { table: "Port", name: e.id, column: "qos", value: { ref: "QoS", key: "a" } });
  out.row(scope, "Port", e.id, { interface: { type: "patch", options: { peer: "x" } }, port: { tag: 5 }, bridge: "br-ex" });
  out.row(scope, "Flow_Table", "rules", { prefixes: ["ipv6_dst"] });
  out.row(scope, "Flow_Sample_Collector_Set", e.id, { id: 7, ipfix: { ref: "IPFIX", key: "a" } });
  out.row(scope, "sFlow", e.id, { targets: ["127.0.0.1:6343"] });`),
  "what is observed": `import { observed, type LiveView, type Observe } from "#app";
export const o: Observe = { Interface: ["bfd_status", "statistics"], Port: ["status"] };
export const f = (view: LiveView): [string | undefined, number | undefined] => { const seen = observed(view, "hv1", "Interface", "p"); return [seen?.bfd_status?.state, seen?.statistics?.rx_bytes]; };`,
  "a union whose branches are declared": flow("rules", `e.six ? { eth_type: 1, ipv6_src: e.ip } : { eth_type: 1, udp_dst: { value: 1, mask: 3 } }`),
  "resources by handles": `${shelf(`present: (_view, row) => ({ twice: row.size * 2 }), actions: { look: { about: "", policy: "rule:admin_only", method: "GET", read: (_view, row) => row.size } }`)}
const size: number = ctx.create(shelf, { size: 3, another_apps: true }).size;\nctx.bump(shelf, "1");\nctx.remove(r, "1");\nvoid operations.batch(request, (o) => [o.create(shelf, { size: 1 }, { parentId: "1" }).id, o.remove(shelf, "1", { ifMatch: request.header("if-match") })]);\nconst c: Check = { or: [{ list: { range: [0, 9] } }, { type: "null" }] };\nexport const more = [size, c];`,
  "an open table of another app, the core's, and any through the pipeline itself": `${inRule(`  out.into(other).flow(scope, "joint", { priority: 1, match: { eth_type: 1 }, actions: [] });
  out.into(core).flow(scope, "classify", { priority: 1, match: { in_port: 1 }, actions: [load("net", 1)] });`)}
export const said = (out: Outputs): void => other.through(out).flow(scope, "guard", { priority: 1, match: { eth_type: 1 }, actions: [] });`,
  "shapes, filled": `const s = p.shapes("rules", { a: (t: Thing) => ({ priority: 1, match: { "reg:policy": t.key, eth_type: 1 }, actions: [toTable("verdict")] }) });\n${inRule("  out.flow(scope, s.a, e);")}`,
};

const file = (name: string): string => path.join(folder, `${name.replaceAll(/[^a-z0-9]+/g, "-")}.ts`);
let errors: Map<string, string[]>;

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, body] of Object.entries({ ...wrong, ...right })) writeFileSync(file(name), HEAD + body + "\nvoid [copy, core, other, derivation, each, ipSrc, learned, load, toTable, things, soft, made, scope, base, bad, p];\nexport type Out = Outputs;\n");
  writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions: { noEmit: true, composite: false, incremental: false, rootDir: "../.." }, include: ["*.ts"] }));
  const tsc = path.join(root, "node_modules/typescript-native/bin/tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { maxBuffer: 1 << 24 }).catch((e: unknown) => e as { stdout: string });
  errors = new Map();
  for (const line of stdout.split("\n")) {
    const at = /^(.*?)\(\d+,\d+\): error (.*)$/.exec(line);
    // What is not used is not the mistake that a file is about.
    if (at !== null && !at[2]!.startsWith("TS6133:")) errors.set(path.resolve(process.cwd(), at[1]!), [...(errors.get(path.resolve(process.cwd(), at[1]!)) ?? []), at[2]!]);
  }
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("does not compile", () => {
  test.each(Object.keys(wrong))("%s", (name) => expect(errors.get(file(name)) ?? []).not.toEqual([]));
});
describe("compiles", () => {
  test.each(Object.keys(right))("%s", (name) => expect(errors.get(file(name)) ?? []).toEqual([]));
  test("and nothing else is wrong", () => expect([...errors.keys()].filter((f) => !Object.keys(wrong).some((name) => file(name) === f))).toEqual([]));
});
