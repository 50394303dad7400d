// Writes the generated pages of docs/ from what the code declares: `npm run docs`. test/docs.test.ts fails when they are stale.
// Over 400 lines: the generators of five pages, each by itself; what they share is little and at the top.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import ts from "typescript";
import { parse as parseYaml } from "yaml";
import { chassisTable, stages, type App, type Chassis, type LiveView, type PortColumns, type ServiceHost } from "#app";
import { discoverApps } from "../src/boot/discover.ts";
import { allSoftTables, allTables } from "../src/boot/registry.ts";
import { Engine } from "../src/compiler/engine.ts";
import { machineClock } from "../src/lib/clock.ts";
import { machineRandom } from "../src/lib/random.ts";
import { coreProblemKinds, type ProblemKind } from "../src/lib/problem.ts";
import { Facts } from "../src/model/facts.ts";
import { Layer } from "../src/model/rows.ts";
import { apiMarkdown, makeRegistry } from "../src/northbound/index.ts";
import { Layout, type Register } from "../src/pipeline/layout.ts";
import { configurationMarkdown } from "./configuration-docs.ts";

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const row = (...cells: readonly (string | number)[]): string => `| ${cells.map((c) => cell(String(c))).join(" | ")} |`;
const head = (...cells: readonly string[]): string[] => [row(...cells), row(...cells.map(() => "---"))];
const code = (text: string): string => `\`${text}\``;

// --- docs/pipeline.md -----------------------------------------------------------------------------------------------

const missText = { drop: "dropped", next: "on to the next table", sibling: "on to the next table of the stage, dropped after the last" } as const;

function bitsOf({ field, ofs, bits }: Register): string {
  return bits === 32 || bits === 128 ? field : `${field}[${ofs}${bits === 1 ? "" : `..${ofs + bits - 1}`}]`;
}

/** What apps want on a bridge whatever the tenants do: asked of the compiler, with a host that can do everything. */
function bridgePorts(apps: readonly App[], layout: Layout): string[] {
  const rows = new Layer();
  const host = (id: string, key: number): Chassis => ({
    id, key, hostname: id, bridge: "br-int", dpid: String(key).padStart(16, "0"), datapath_type: "system", encap_ip: `192.0.2.${key}`,
    encap_types: ["geneve", "vxlan", "gre"], bridge_mappings: {}, gateway: true, ovs_version: "3.1.0",
  });
  for (const [i, id] of ["a", "b"].entries()) rows.put(chassisTable, host(id, i + 1));
  const engine = new Engine({ apps, tables: allTables(apps), layout, rows, log: { error: (_fields, message) => { throw new Error(message); } } });
  engine.compileAll(0);
  const ports = [...engine.rowsOf("a")].filter((r) => r.table === "Port").map(({ key, columns }) => ({ name: key, ...(columns as PortColumns).interface }) as { name: string; type: string; ofport_request: number; options: Record<string, string> });
  ports.sort((a, b) => a.ofport_request - b.ofport_request);
  return ports.map((p) => row(p.ofport_request, code(p.name), p.type, Object.entries(p.options).map(([k, v]) => code(`${k}=${v}`)).join(" ")));
}

/** Services that take packets of a table, by its name: each says so when it starts, here in a controller that has nothing. */
function packetServices(apps: readonly App[], view: LiveView): Map<string, string[]> {
  const taken = new Map<string, string[]>();
  const nothing = () => () => undefined;
  const never = (): never => {
    throw new Error("a service acts in a controller without switches and resources");
  };
  for (const service of apps.flatMap((app) => app.services ?? [])) {
    const host: ServiceHost = {
      view, clock: machineClock, random: machineRandom, log: pino({ level: "silent" }), every: nothing, after: nothing, onCommit: nothing, confirmed: () => 0, synced: () => undefined, onConfirmed: nothing,
      onPacket: (table) => {
        taken.set(table, [...(taken.get(table) ?? []), service.name]);
        return () => undefined;
      },
      transact: never, send: never, learn: never, count: never, forget: never, having: () => [], has: () => false, fetch: never, exchange: never, nameServers: () => [], flowCounts: never, countsOf: never, portCounts: never, dropCounts: never, onAsked: nothing, masters: () => false, acts: () => false, onShare: nothing,
    };
    void service.start(host)?.();
  }
  return taken;
}

/** Tables whose flows send packets to the controller, and who takes them. */
function punts(apps: readonly App[], layout: Layout): string[] {
  const rows = new Layer();
  const engine = new Engine({ apps, tables: allTables(apps), layout, rows, log: { error: (_fields, message) => { throw new Error(message); } } });
  engine.compileAll(0);
  const services = packetServices(apps, engine.view.with(new Facts(allSoftTables(apps), machineClock)));
  return layout.tables.flatMap(({ name, app }) => {
    const handled = apps.some((a) => a.packetIn?.[name] !== undefined);
    const by = [...(handled ? ["the app's handler"] : []), ...(services.get(name) ?? []).map((service) => `service ${code(service)}`)];
    return by.length === 0 ? [] : [row(code(name), app, by.join(", "))];
  });
}

/** Where a register is, in order: those of `metadata` come last. */
const wordOf = (field: string): number => Number(/\d+/.exec(field)?.[0] ?? 16);

export function pipelineMarkdown(apps: readonly App[]): string {
  const layout = new Layout(apps);
  const registers = [...layout.registers.values()].sort((a, b) => wordOf(a.field) - wordOf(b.field) || a.ofs - b.ofs);
  const wide = registers.filter((r) => r.bits === 128);
  const lines = [
    "# The pipeline", "",
    "Generated by `npm run docs` from what the apps declare; do not edit. Every controller of a cluster numbers tables and registers",
    "the same way, on every switch, and for good: where other apps ran on a store before, or an earlier version, what was there keeps its number (`GET /pipeline` of the ops API says",
    "which), and these here are those of a store that is new. Numbers between them are free for apps to come.", "",
    "## Stages", "",
    "In this order. An app hands a packet on by stage, never by another app's table.", "",
    ...head("stage", "what happens", "tables"),
    ...stages.map((s) => row(s.name, s.about, layout.tables.filter((t) => t.stage === s.name).map((t) => code(t.name)).join(" "))), "",
    "## Tables", "",
    "*Aside*: reached only by name from the same app. *Conntrack*: IP packets come to it through conntrack, in the zone that `ct_zone` holds;",
    "others skip the stage.", "",
    ...head("id", "table", "stage", "app", "about", "a packet that no flow matches"),
    ...layout.tables.map((t) => row(t.id, code(t.name), t.stage, t.app, `${t.about}${t.aside === true ? " (aside)" : ""}${t.conntrack === true ? " (conntrack)" : ""}`, missText[t.miss])), "",
    "## Registers", "",
    "Those of the core are shared; the others belong to one app.", "",
    ...head("register", "bits", "owner", "about"),
    ...[...registers.filter((r) => r.bits !== 128), ...wide].map((r) => row(code(r.name), bitsOf(r), r.app, r.about)), "",
    "## Ports of the integration bridge", "",
    "Made by the controller, with the same number on every host. Each is there while the host offers its type.", "",
    ...head("OpenFlow port", "name", "type", "options"),
    ...bridgePorts(apps, layout), "",
    "## Packets that come to the controller", "",
    "Those of one port pass meters of the port's own: copies of announcements one, what routers cannot deliver another, what policy denies a third, what is logged a fourth, all others one more. Metadata, which is off by default (docs/metadata.md), has a table and meters of its own beside these.", "",
    ...head("table", "app", "taken by"),
    ...punts(apps, layout), "",
    "## Rules", "",
    "Each runs once for every row (or pair) it is on; `GET /flows` names the rule of every flow.", "",
    ...head("app", "rule", "runs on", "about"),
    ...apps.flatMap((a) => (a.rules ?? []).map((r) => row(a.name, code(r.name), r.on.kind === "rows" ? r.on.table.name : `${r.on.table.name}, by ${r.on.pair}`, r.about))),
  ];
  return `${lines.join("\n")}\n`;
}

// --- docs/errors.md -------------------------------------------------------------------------------------------------

/** What each code means. The codes themselves are read from the source: one without a text here, or a text without its code, is an error. */
const meanings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "src/lib/usage-error.ts": { USAGE: "a flag, variable or key of the configuration is wrong; the message names it. The start ends with exit code 2" },
  "src/cli/ops-api.ts": {
    UNREACHABLE: "nothing answers at the address, or it stopped in the middle of its answer",
    NOT_A_CONTROLLER: "something answers, but not as the ops API does",
    NOT_THERE: "the controller has no such thing, or its version no such call",
    REFUSED: "the controller refuses it; its own message follows",
  },
  "src/cli/pki/authority.ts": {
    INVALID: "a name or an address that no certificate is made for; the message says what is expected",
    REFUSED: "it would end what is still used: an authority that is there, or signed what is in use",
    MISSING: "there is no authority in the folder, or no certificate of that name",
    IO: "the folder cannot be used",
    TOOL: "openssl is not installed, or failed; its own last line follows",
  },
  "src/store/errors.ts": {
    LOCKED: "another controller has the data folder",
    CORRUPT: "the folder is damaged, or is not a store; nothing was changed in it",
    LOSS: "changes that were acknowledged are missing or damaged; the message names the last generation that is whole, nothing was changed, and `--accept-loss` starts without the rest",
    MISSING: "there is no store in the data directory that `axion store` was given",
    INVALID: "a text that is no export, or was changed or cut: the message names the line; or a generation that is still to come; or a URL of a store that is none",
    COMPACTED: "a watch or a history was asked for of generations that are no longer kept",
    CLOSED: "used after it was closed",
    TOO_LARGE: "a key, value or transaction over the store's limits",
    IO: "the disk refused; writes answer 503 until the controller is started again, reads go on",
    UNAVAILABLE: "etcd cannot be reached, or has no majority: writes answer 503 until it can, reads go on",
    UNSUPPORTED: "a backend or a format that this version does not have",
  },
  "src/model/refusals.ts": { TRANSACTION_TOO_LARGE: "one change would write more than the store takes at once; it alone is refused", TOO_BUSY: "too many transactions wait to be written; nothing was run, and the same call may succeed `retryAfterS` seconds later" },
  "protocol/etcd/src/errors.ts": {
    UNAVAILABLE: "no endpoint can be reached, or those that can have no leader",
    TIMEOUT: "no answer in time",
    COMPACTED: "etcd does not keep the revision any more",
    NO_SPACE: "etcd's quota is used up: it takes no writes until space is made and its alarm disarmed",
    TOO_LARGE: "more bytes or operations than etcd takes in one request",
    UNAUTHENTICATED: "a wrong user or password, or none where one is wanted",
    DENIED: "the user may not",
    REFUSED: "anything else that etcd says no to",
    PROTOCOL: "what came is not what etcd sends",
    CLOSED: "used after it was closed",
  },
  "src/app/pools.ts": {},
  "src/app/service.ts": {
    INVALID: "no http: or https: URL",
    TIMEOUT: "the answer was not there in time",
    TOO_LARGE: "the answer has more bytes than the service takes",
    UNREACHABLE: "no connection, or it broke; the cause says how",
    QUEUE_FULL: "more of the service's requests wait than may",
    STOPPED: "the controller stops",
  },
  "protocol/openflow/src/wire/errors.ts": {
    OF_TRUNCATED: "bytes ended early",
    OF_MALFORMED: "a length, class or type contradicts the layout",
    OF_VERSION: "not OpenFlow 1.3",
    OF_VALUE: "the caller gave a value that has no wire form",
    OF_TEXT: "text that says no flow, match or action",
    OF_PEER_ERROR: "the switch refused a request; `errorName` is the specification's name, such as `OFPBMC_BAD_FIELD`",
    OF_TIMEOUT: "the switch did not answer in time",
    OF_DEAD_PEER: "echo requests went unanswered",
    OF_HELLO: "no common version, or no hello",
    OF_CLOSED: "the connection is closed",
    OF_QUEUE_FULL: "the switch reads too slowly",
    OF_LIMIT: "the switch sent more than an option of the connection allows",
    OF_SOCKET: "the transport failed, see `cause`",
  },
  "protocol/ovsdb/src/wire/errors.ts": {
    "malformed json": "not JSON",
    "not an object": "JSON, but no object",
    "message too long": "a message over the limit",
    "too much": "more values, or members of one object or list, in a message than the limit, or no room left for its messages beside those of other peers",
    "nested too deep": "JSON nested over the limit",
    "not utf-8": "bytes that are no UTF-8",
    truncated: "the stream ended inside a message",
    "not json-rpc": "an object that is no JSON-RPC message",
    "unexpected reply": "a reply nobody asked for",
    "bad update": "an update that does not fit the monitored tables",
    "bad result": "a result that does not fit the request",
    closed: "we closed the connection",
    "closed by peer": "the server closed it",
    "socket error": "the transport failed, see `cause`",
    "dead peer": "echo requests went unanswered",
    "queue full": "the server reads too slowly",
    "no room": "what all connections together may hold is taken, and this one holds most",
    "not connected": "there is no connection now",
    "connect timeout": "no connection in time",
    superseded: "another session took its place",
    "unknown outcome": "the connection went before the answer to a transaction: it may have been committed or not",
    "not leader": "the server is no leader of its cluster",
    "no server": "none of the remotes can be reached",
    "unsuitable server": "the server does not have the database, or is not the one asked for",
  },
  "protocol/packet/src/wire/errors.ts": {
    PACKET_TRUNCATED: "bytes ended early",
    PACKET_MALFORMED: "a field contradicts the layout",
    PACKET_UNSUPPORTED: "well-formed, but of a kind this package does not read",
    PACKET_VALUE: "the caller gave a value that has no wire form",
  },
};

interface ErrorClass {
  readonly name: string;
  readonly about: string;
  /** Literal types of its `code`, or of its constructor's `code` parameter. */
  readonly codes: readonly string[];
}

const parse = (root: string, file: string): ts.SourceFile => ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.ES2023, true);

/** String literals of a type: "A" | "B", or the name of such a type in the same file. */
function literals(type: ts.TypeNode | undefined, source: ts.SourceFile): string[] {
  if (type === undefined) return [];
  if (ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal)) return [type.literal.text];
  if (ts.isUnionTypeNode(type)) return type.types.flatMap((t) => literals(t, source));
  if (!ts.isTypeReferenceNode(type) || !ts.isIdentifier(type.typeName)) return [];
  const name = type.typeName.text;
  return source.statements.flatMap((s) => (ts.isTypeAliasDeclaration(s) && s.name.text === name ? literals(s.type, source) : []));
}

const isNamed = (node: { readonly name?: ts.Node }, name: string): boolean => node.name !== undefined && ts.isIdentifier(node.name) && node.name.text === name;

function errorClasses(source: ts.SourceFile): ErrorClass[] {
  return source.statements.filter(ts.isClassDeclaration).flatMap((c) => {
    if (c.heritageClauses?.some((h) => /Error\b/.test(h.getText(source))) !== true) return [];
    const codes = c.members.flatMap((m) => {
      if (ts.isPropertyDeclaration(m) && isNamed(m, "code")) {
        return m.initializer !== undefined && ts.isStringLiteral(m.initializer) ? [m.initializer.text] : literals(m.type, source);
      }
      return ts.isConstructorDeclaration(m) ? m.parameters.filter((p) => isNamed(p, "code")).flatMap((p) => literals(p.type, source)) : [];
    });
    const comments = ts.getLeadingCommentRanges(source.text, c.getFullStart()) ?? [];
    const doc = comments.length === 0 ? "" : source.text.slice(comments.at(-1)!.pos, comments.at(-1)!.end);
    return [{ name: c.name!.text, about: doc.startsWith("/**") ? doc.replace(/\s*\*\/\s*$/, "").replace(/^\/\*\*|^\s*\* ?/gm, "").trim() : "", codes: [...new Set(codes)] }];
  });
}

function errorSections(root: string): string[] {
  const out: string[] = [];
  for (const [file, texts] of Object.entries(meanings)) {
    const classes = errorClasses(parse(root, file));
    const known = new Set(classes.flatMap((c) => c.codes));
    for (const name of known) if (texts[name] === undefined) throw new Error(`scripts/docs.ts does not say what ${name} of ${file} means`);
    for (const name of Object.keys(texts)) if (!known.has(name)) throw new Error(`scripts/docs.ts explains ${name}, which ${file} does not have`);
    for (const c of classes) {
      out.push(`### ${c.name}`, "", ...(c.about === "" ? [] : [c.about, ""]), `In ${code(file)}.`, "");
      if (c.codes.length > 0) out.push(...head("code", "means"), ...c.codes.map((name) => row(code(name), texts[name]!)), "");
    }
  }
  return out;
}

interface Refusal {
  readonly type: string;
  readonly status: number;
  readonly where: string;
  readonly message: string;
}

/** Functions that make a refusal: where the status, the type and the message are among their arguments. */
interface Maker {
  readonly status: number | "first";
  readonly type: number | string;
  /** Type when its argument is left out. */
  readonly fallback?: string;
  readonly message: number;
}
const makers: Readonly<Record<string, Maker>> = {
  ApiError: { status: "first", type: 1, message: 2 },
  badRequest: { status: 400, type: 1, fallback: "HTTPBadRequest", message: 0 },
  invalidInput: { status: 400, type: "InvalidInput", message: 0 },
  notFound: { status: 404, type: 0, message: 1 },
  conflict: { status: 409, type: 0, message: 1 },
  forbidden: { status: 403, type: 0, message: 1 },
};

/** Refusals that the HTTP layer makes of errors that are no ApiError: src/northbound/server.ts. */
const transport: readonly Refusal[] = [
  { type: "HTTPRequestEntityTooLarge", status: 413, where: "core", message: "the body is larger than the limit" },
  { type: "ServiceUnavailable", status: 503, where: "core", message: "The store cannot be written now; nothing was changed. / Too many changes wait to be written; nothing was changed. Try again. (with Retry-After)" },
  { type: "HTTPInternalServerError", status: 500, where: "core", message: "a bug: the log has it, under the request's id" },
];

/** A text with what is put into it by name: `Subnet <id> could not be found.` */
function textOf(node: ts.Expression | undefined): string {
  if (node === undefined) return "";
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return "";
  return node.head.text + node.templateSpans.map((s) => `<${nameOf(s.expression)}>${s.literal.text}`).join("");
}

function nameOf(node: ts.Expression): string {
  if (ts.isNonNullExpression(node)) return nameOf(node.expression);
  if (ts.isIdentifier(node)) return node.text;
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  if (ts.isCallExpression(node) && node.arguments.length > 0) return nameOf(node.arguments[0]!);
  return "...";
}

/** `const refuse = (type, message) => badRequest(message, type)`: calls of it are refusals too. */
function localMakers(source: ts.SourceFile): Record<string, Maker> {
  const out: Record<string, Maker> = {};
  for (const { name, initializer } of source.statements.filter(ts.isVariableStatement).flatMap((s) => [...s.declarationList.declarations])) {
    if (initializer === undefined || !ts.isArrowFunction(initializer) || !ts.isCallExpression(initializer.body)) continue;
    const { expression, arguments: args } = initializer.body;
    const inner = makers[expression.getText(source)];
    if (inner === undefined || typeof inner.status !== "number" || typeof inner.type !== "number") continue;
    const parameters = initializer.parameters.map((p) => p.name.getText(source));
    const type = parameters.indexOf(args[inner.type]?.getText(source) ?? "");
    if (type >= 0) out[name.getText(source)] = { status: inner.status, type, message: parameters.indexOf(args[inner.message]?.getText(source) ?? "") };
  }
  return out;
}

function refusalsOf(source: ts.SourceFile, where: string): Refusal[] {
  const known: Readonly<Record<string, Maker>> = { ...makers, ...localMakers(source) };
  const out: Refusal[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      const name = node.expression.getText(source);
      const maker = Object.hasOwn(known, name) ? known[name] : undefined;
      const args = node.arguments ?? [];
      if (maker !== undefined) {
        const given = typeof maker.type === "string" ? maker.type : args[maker.type] === undefined ? (maker.fallback ?? "") : textOf(args[maker.type]);
        const status = maker.status === "first" ? Number(args[0]?.getText(source)) : maker.status;
        const message = maker.type === "InvalidInput" ? `Invalid input for operation: ${textOf(args[0])}.` : textOf(args[maker.message]);
        if (given !== "" && !Number.isNaN(status)) out.push({ type: given, status, where, message });
      }
    }
    // notFound: { type: "SubnetNotFound", message: (id) => `...` }
    if (ts.isObjectLiteralExpression(node)) {
      const [type, message] = ["type", "message"].map((n) => node.properties.find((p) => isNamed(p, n)));
      if (type !== undefined && message !== undefined && ts.isPropertyAssignment(type) && ts.isPropertyAssignment(message) && ts.isArrowFunction(message.initializer)) {
        out.push({ type: textOf(type.initializer), status: 404, where, message: textOf(message.initializer.body as ts.Expression) });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return out.filter((r) => /^[A-Z]\w+$/.test(r.type));
}

function* sources(root: string, folder: string): Iterable<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !/^[_.]/.test(entry.name)) yield* sources(root, path);
    else if (!/\/testing\//.test(path) && /^(?!.*\.(test|fixture)\.ts$).*\.ts$/.test(entry.name)) yield path;
  }
}

export function refusals(root: string): Refusal[] {
  const out = [...transport];
  for (const folder of ["src/app", "src/northbound", "apps"]) {
    for (const file of sources(root, folder)) {
      if (file === "src/app/api/refusal.ts") continue; // the makers themselves
      out.push(...refusalsOf(parse(root, file), folder === "apps" ? relative(folder, file).split("/")[0]! : "core"));
    }
  }
  return out;
}

function refusalTable(root: string): string[] {
  const byType = new Map<string, Refusal[]>();
  for (const r of refusals(root)) byType.set(r.type, [...(byType.get(r.type) ?? []), r]);
  const types = [...byType].sort(([a], [b]) => (a < b ? -1 : 1));
  return types.map(([type, all]) => {
    const messages = [...new Set(all.map((r) => r.message).filter((m) => m !== ""))];
    const shown = messages.length === 0 ? "" : messages.length <= 2 ? messages.join(" / ") : `${messages[0]!} / and ${messages.length - 1} more`;
    return row(code(type), [...new Set(all.map((r) => r.status))].sort().join(", "), [...new Set(all.map((r) => r.where))].sort().join(", "), shown.replaceAll("<", "\\<"));
  });
}

export function errorsMarkdown(root: string): string {
  const lines = [
    "# Errors", "",
    "Generated by `npm run docs` from the source; do not edit. Codes and types are stable; messages are for people.", "",
    "## Refusals of the API", "",
    "What a caller may fix. The body is `{\"NeutronError\": {\"type\", \"message\", \"detail\"}}`; types are those that clients of Neutron know.", "",
    ...head("type", "status", "from", "message"),
    ...refusalTable(root), "",
    "## Errors of the controller and of its packages", "",
    "Each has a `code`; most have fields of their own and a `cause`.", "",
    ...errorSections(root),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

// --- docs/problems.md -----------------------------------------------------------------------------------------------

/** Every kind of problem by name: of the core, and of apps with their name before it. */
export function problemsOf(apps: readonly App[]): ReadonlyMap<string, ProblemKind> {
  const ofApps = apps.flatMap((app) => Object.entries(app.problemKinds ?? {}).map(([kind, of]) => [`${app.name}.${kind}`, of] as const));
  return new Map([...Object.entries(coreProblemKinds), ...ofApps].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function problemsMarkdown(apps: readonly App[]): string {
  const lines = [
    "# Problems", "",
    "Generated by `npm run docs` from the declarations; do not edit. `GET /problems` of the ops API and `axion problems` list what is wrong now, worst first: each with its `kind`, `severity`",
    "(`critical`, `error`, `warning`; `info`: nothing is broken), `since`, a `text` that names the case, the `resources` and `switches` concerned, and a `cure` for this very case. A problem appears within",
    "ten seconds, and goes within ten of being mended. Of one kind 50 are listed; the others are counted (`more`). Kinds are stable, texts are for people. What to be woken for: [alerts.md](alerts.md).", "",
    ...head("kind", "what brings it about", "what helps"),
    ...[...problemsOf(apps)].map(([kind, { cause, cure }]) => row(code(kind), cause, cure)), "",
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

// --- docs/alerts.md -------------------------------------------------------------------------------------------------

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly description: string };
}

export function alertsMarkdown(root: string): string {
  const { groups } = parseYaml(readFileSync(join(root, "packaging/prometheus/alerts.yaml"), "utf8")) as { readonly groups: readonly { readonly rules: readonly Alert[] }[] };
  const lines = [
    "# What to be woken for", "",
    "Generated by `npm run docs` from `packaging/prometheus/alerts.yaml`; do not edit. The list of what is wrong now is `GET /problems` of the ops listener ([problems.md](problems.md)): each",
    "has a severity, and goes when it is mended. `GET /metrics` counts them, so that Prometheus can do the rest: name `alerts.yaml` under its `rule_files`, and scrape the ops listener as the",
    "job `axion`. Where the listener wants a token (`--ops-token-file`), give Prometheus the same file: `authorization: { credentials_file: ... }`. `packaging/grafana/axion.json` is a dashboard for Grafana (Dashboards, Import).", "",
    "*page* wakes somebody up, *ticket* is for the morning. Labels are switches, kinds, routes and tables, never ids of tenants' resources.", "",
    ...head("alert", "severity", "when", "for", "what it says"),
    ...groups.flatMap((g) => g.rules.map((r) => row(code(r.alert), r.labels.severity, code(r.expr), r.for ?? "", r.annotations.description))), "",
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

// --- all of them ----------------------------------------------------------------------------------------------------

/** Path in the repository -> text. `root` is the repository. */
export function pages(root: string, apps: readonly App[]): Record<string, string> {
  return {
    "docs/pipeline.md": pipelineMarkdown(apps),
    "docs/api.md": apiMarkdown(makeRegistry(apps)),
    "docs/errors.md": errorsMarkdown(root),
    "docs/problems.md": problemsMarkdown(apps),
    "docs/alerts.md": alertsMarkdown(root),
    "docs/configuration.md": configurationMarkdown(apps),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = process.cwd();
  for (const [path, text] of Object.entries(pages(root, await discoverApps(fileURLToPath(new URL("../apps", import.meta.url)))))) writeFileSync(join(root, path), text);
}
