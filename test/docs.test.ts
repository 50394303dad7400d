// The generated pages of docs/ say what the code declares now, and what README and the other pages name exists.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { App } from "#app";
import { pages, problemsOf, refusals } from "../scripts/docs.ts";
import { makeProgram } from "../src/cli/program.ts";
import { usage } from "../src/config/index.ts";
import { discoverApps } from "../src/boot/discover.ts";
import { makeRegistry } from "../src/northbound/index.ts";
import { appsFolder, Harness, textOf } from "./support/harness.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");

function* sources(folder: string): Iterable<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    if (["node_modules", "dist", "_template", "testing"].includes(entry.name)) continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* sources(path);
    else if (path.endsWith(".ts") && !/\.(test|fixture)\.ts$/.test(path)) yield path;
  }
}
const source = new Map(["src", "apps", "protocol"].flatMap((f) => [...sources(f)]).map((f) => [f, read(f)]));
const everything = [...source.values()].join("\n");

let apps: readonly App[];
let made: Record<string, string>;
beforeAll(async () => {
  apps = await discoverApps(appsFolder);
  made = pages(root, apps);
});

const generated = ["docs/pipeline.md", "docs/api.md", "docs/errors.md", "docs/problems.md", "docs/alerts.md", "docs/configuration.md"];

describe("generated pages", () => {
  test.each(generated)("%s is what `npm run docs` makes now", (path) => {
    expect(read(path) === made[path], `${path} is stale: run "npm run docs" and commit what it changed`).toBe(true);
  });

  test("the list here is the list there", () => {
    expect(Object.keys(made)).toEqual(generated);
  });

  test("name every table, register, resource, attribute and extension", () => {
    for (const app of apps) {
      for (const name of [...Object.keys(app.pipeline?.tables ?? {}), ...Object.keys(app.pipeline?.registers ?? {})]) expect(made["docs/pipeline.md"]).toContain(`| \`${name}\` |`);
      for (const rule of app.rules ?? []) expect(made["docs/pipeline.md"]).toContain(`| ${app.name} | \`${rule.name}\` |`);
    }
    const registry = makeRegistry(apps);
    for (const alias of registry.aliases) expect(made["docs/api.md"]).toContain(`\`${alias.alias}\``);
    for (const kind of registry.kinds.values()) {
      expect(made["docs/api.md"]).toContain(`\n## ${kind.resource.collection}\n`);
      for (const name of kind.attributes.keys()) expect(made["docs/api.md"]).toContain(`\n| ${name} |`);
    }
  });
});

test("docs/configuration.md has every flag of --help and its variable, each with its default, and no other", () => {
  const page = new Map([...made["docs/configuration.md"]!.matchAll(/^\| `--([a-z0-9-]+) [^`]*` \| `(AXION_[A-Z0-9_]+)` \| (?:`([^`]*)`)? ?\|/gm)].map((m) => [m[1]!, { variable: m[2], fallback: m[3] }]));
  const help = usage(100_000, apps);
  const flags = new Map([...help.matchAll(/^ +--([a-z0-9-]+) [<[].*?[>\]] +(.*)$/gm)].map((m) => [m[1]!, /\(default: ([^()]*)\)$/.exec(m[2]!)?.[1]]));
  expect(flags.size).toBeGreaterThan(50);
  expect([...page.keys()].sort()).toEqual([...flags.keys()].sort());
  for (const [name, { variable, fallback }] of page) {
    expect(variable).toBe(`AXION_${name.toUpperCase().replaceAll("-", "_")}`);
    if (fallback !== "false" && !/^(the |none$)/.test(flags.get(name) ?? "")) expect(fallback ?? "", name).toBe(flags.get(name) ?? "");
  }
});

test("docs/pipeline.md names every table whose flows send packets to the controller, and no other", async () => {
  const harness = await Harness.make([], undefined, { settings: new Map([["multicast", { "multicast-snooping": true }]]) });
  try {
    await harness.addChassis("hv1", { gateway: true });
    const network = await harness.create("network", { name: "n" });
    const subnet = await harness.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    const outside = await harness.create("network", { "router:external": true });
    await harness.create("subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24" });
    const router = await harness.create("router", { external_gateway_info: { network_id: outside.id }, enable_default_route_bfd: true });
    expect((await harness.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id })).status).toBe(200);
    const telling = await harness.create("security_group", { name: "telling", "axion:deny": "reject" });
    const ports = [
      { security_groups: [telling.id] },
      { fixed_ips: [{ subnet_id: subnet.id, ip_address: "10.0.0.9" }] },
      { allowed_address_pairs: [{ ip_address: "10.0.0.9" }] },
      { port_security_enabled: false },
    ];
    for (const [i, port] of ports.entries()) await harness.plug("hv1", (await harness.create("port", { network_id: network.id, ...port })).id, i + 1);
    expect((await harness.call("POST", "/v2.0/log/logs", { log: { resource_type: "security_group", resource_id: telling.id } })).status).toBe(201);
    await harness.settled();
    const punting = new Set<string>();
    for (const flow of harness.engine.flowsOf("hv1")) if (/\b(controller|CONTROLLER)\b/.test(textOf(flow))) punting.add(harness.layout.tableById(flow.table)!.name);
    const listed = made["docs/pipeline.md"]!.split("## Packets that come to the controller")[1]!.split("\n## ")[0]!;
    expect([...punting].sort()).toEqual([...listed.matchAll(/^\| `(\w+)` \|/gm)].map((m) => m[1]!).sort());
    expect(punting.size).toBe(16);
  } finally {
    await harness.close();
  }
});

test("docs/problems.md has every kind of problem that the source spells out, and no other", () => {
  const spelled = new Set<string>();
  for (const [file, text] of source) {
    const app = /^apps\/([^/]+)\//.exec(file)?.[1];
    for (const m of text.matchAll(/\bkind: "([a-z][a-z_]*)",? (?=severity|otherwise|about: `)|\bkind: "([a-z_]+)"(?=, switches)|\bkind = "([a-z]+)"/g)) {
      const kind = (m[1] ?? m[2] ?? m[3])!;
      // What shapes packets and settings have kinds as well, of other sorts.
      if (file.startsWith("protocol/") || (app === undefined && /^src\/(app|config|northbound\/(?!auth|policy))/.test(file))) continue;
      spelled.add(app === undefined ? kind : `${app}.${kind}`);
    }
  }
  expect([...spelled].sort()).toEqual([...problemsOf(apps).keys()].sort());
});

describe("docs/errors.md and the source, both ways", () => {
  const inDoc = (): { types: string[]; codes: string[]; classes: string[] } => {
    const [refused, ours] = made["docs/errors.md"]!.split("## Errors of the controller");
    const first = (text: string): string[] => [...text.matchAll(/^\| `([^`]+)` \|/gm)].map((m) => m[1]!);
    return { types: first(refused!), codes: first(ours!), classes: [...ours!.matchAll(/^### (\w+)$/gm)].map((m) => m[1]!) };
  };

  test("every type and code of the page is written in the source", () => {
    const { types, codes } = inDoc();
    expect(types.length).toBeGreaterThan(60);
    expect(codes.length).toBeGreaterThan(30);
    for (const name of [...types, ...codes]) expect(everything.includes(`"${name}"`), name).toBe(true);
  });

  test("every refusal that the source spells out is on the page", () => {
    const { types } = inDoc();
    const spelled = new Set<string>();
    for (const [file, text] of source) {
      if (file.startsWith("protocol/")) continue;
      for (const m of text.matchAll(/\b(?:notFound|conflict|forbidden)\(\s*"(\w+)"|new ApiError\(\d+, "(\w+)"|badRequest\([^;\n]*, "(\w+)"\)|\btype: "([A-Z]\w+(?:NotFound))"/g)) spelled.add((m[1] ?? m[2] ?? m[3] ?? m[4])!);
    }
    expect(spelled.size).toBeGreaterThan(50);
    expect([...spelled].filter((name) => !types.includes(name))).toEqual([]);
  });

  test("every status is one that a refusal has", () => {
    for (const r of refusals(root)) expect([400, 403, 404, 405, 406, 409, 410, 412, 413, 414, 415, 429, 500, 503], r.type).toContain(r.status);
  });

  test("every error class is on the page, but for what never leaves its package", () => {
    // The refusals themselves, 401 and 503 for what Keystone does not say among them; 400s of the ops listener; an OvsdbProtocolError in the end; a transaction of the fake server that has to wait.
    const within = ["ApiError", "TooManyFlows", "TooMuch", "TrialTooLarge", "PlanTooLarge", "PlansBusy", "BadQuery", "BadTrace", "JsonTooMuchError", "SwitchSilent", "TraceBroken", "Damaged", "JsonSyntaxError", "KeystoneError", "NotKept", "NotMaster", "Unauthenticated", "Unread", "Unsatisfied"];
    const classes = new Set([...everything.matchAll(/\bclass (\w+) extends (?:\w*Error)\b/g)].map((m) => m[1]!));
    expect([...classes].filter((c) => !within.includes(c)).sort()).toEqual(inDoc().classes.sort());
  });
});

describe("pages for readers", () => {
  const written = ["README.md", "ARCHITECTURE.md", "docs/operations.md", "docs/deployment.md"];

  test.each(written)("%s: links lead somewhere", (page) => {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) expect(existsSync(join(root, dirname(page), target!)), target).toBe(true);
  });

  test.each(written)("%s: files and folders in code marks exist", (page) => {
    const named = [...read(page).matchAll(/`((?:src|apps|docs|test|lab|bench|scripts|protocol)\/[^`\s*<]*)`/g)].map((m) => m[1]!.replace(/\/$/, ""));
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("npm scripts that are named exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const page of written) for (const [, name] of read(page).matchAll(/\bnpm run ([\w:]+)/g)) expect(scripts, `${page}: npm run ${name!}`).toHaveProperty([name!]);
  });

  test("flags that are named exist", () => {
    const known = new Set([...usage(120, apps).matchAll(/--([a-z-]+)/g)].map((m) => m[1]));
    const commands = makeProgram({ write: () => Promise.resolve(), error: () => undefined }, () => undefined);
    for (const command of [commands, ...commands.commands]) for (const option of command.options) known.add(option.long!.slice(2));
    const own = new Set(["help", "check", "cluster", "encap", "underlay", "max-old-space-size", "now"]); // of every command; of the demo; of node and systemctl
    for (const page of written) {
      for (const [, name] of read(page).matchAll(/`[^`\n]*?--([a-z-]{3,})/g)) expect(known.has(name) || own.has(name!), `${page}: --${name!}`).toBe(true);
    }
  });

  test("paths of the API and of the ops listener that are named are served", () => {
    const served = [...source].filter(([f]) => f.startsWith("src/ops/")).map(([, text]) => text).join("\n") + apps.flatMap((app) => app.opsLists ?? []).map(({ path }) => `"/${path}"`).join("\n");
    for (const page of written) {
      for (const [, path] of read(page).matchAll(/`GET (\/[a-z0-9.]+(?:\/[a-z0-9.]+)*)/g)) {
        if (path!.startsWith("/v2.0/")) expect(path).toBe("/v2.0/extensions");
        else expect(served.includes(`"${path!}"`), `${page}: GET ${path!}`).toBe(true);
      }
    }
  });
});
