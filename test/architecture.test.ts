// Rules about the code itself, as ordinary tests: which way imports point, how large files get, what is named how.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

function* files(folder: string): Iterable<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    if (["node_modules", "dist"].includes(entry.name)) continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* files(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

interface Import {
  readonly from: string;
  /** Path in the repository, or the bare name of a package. */
  readonly to: string;
}

function imports(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const out: Import[] = [];
  for (const match of text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;"']*?from\s*["']([^"']+)["']|(?:^|\n)\s*import\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/g)) {
    const spec = (match[1] ?? match[2] ?? match[3])!;
    const to = spec === "#app" ? "src/app/contract.ts" : spec.startsWith(".") ? relative(root, resolve(root, dirname(file), spec)) : spec;
    out.push({ from: file, to });
  }
  return out;
}

/** Tests, and what only tests use. */
const isTest = (file: string): boolean => /\.(test|fixture)\.ts$/.test(file) || /^(src|protocol)\/.*\/testing\//.test(file);
const folders = ["src", "apps", "protocol/etcd/src", "protocol/openflow/src", "protocol/ovsdb/src", "protocol/packet/src", "lab", "bench"];
const all = folders.flatMap((f) => [...files(f)]).filter((f) => !isTest(f));
const edges = all.flatMap(imports);

/** What each folder of src/ may import of src/, beside itself, lib and app. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  config: ["store"],
  cli: ["config", "store"],
  app: ["lib"],
  boot: ["pipeline", "southbound"],
  store: [],
  model: ["store"],
  pipeline: [],
  compiler: ["pipeline", "model"],
  trace: [],
  cluster: ["store"],
  services: ["pipeline", "model", "cluster"],
  southbound: ["compiler", "model"],
  northbound: ["model", "store"],
  plan: ["compiler", "model", "services", "trace"],
  ops: ["compiler", "pipeline", "model", "southbound", "plan", "trace"],
};
const layerOf = (path: string): string | undefined => /^src\/([^/]+)\//.exec(path)?.[1];

describe("imports point one way", () => {
  test("nothing in src/ imports an app: a network function is found, not known by name", () => {
    expect(edges.filter((e) => e.from.startsWith("src/") && e.to.startsWith("apps/"))).toEqual([]);
  });

  test("nothing imports test/, and only the lab, benchmarks and tests import lab/", () => {
    expect(edges.filter((e) => e.to.startsWith("test/") || (e.to.startsWith("lab/") && !/^(lab|bench)\//.test(e.from)))).toEqual([]);
  });

  /** Packages of the registry that are one app's alone. */
  const packages: Readonly<Record<string, readonly string[]>> = { "quantum-v1": ["saxes"] };

  test("an app imports the contract, another app's model.ts, and protocol packages; no other part of the core", () => {
    const wrong = edges.filter((e) => {
      const own = /^apps\/([^/]+)\//.exec(e.from)?.[1];
      if (own === undefined || e.to === "src/app/contract.ts" || e.to.startsWith(`apps/${own}/`)) return false;
      if (/^apps\/[^/]+\/model\.ts$/.test(e.to) || ["node-openflow", "packet-codec"].includes(e.to) || packages[own]?.includes(e.to) === true) return false;
      return !builtinModules.includes(e.to.replace(/^node:/, ""));
    });
    expect(wrong).toEqual([]);
    for (const name of Object.values(packages).flat()) expect(readFileSync(join(root, "ARCHITECTURE.md"), "utf8")).toContain(`| ${name} |`);
  });

  test("an app imports only from apps that it requires, at any distance: arrows between apps point one way", () => {
    const requires = new Map(readdirSync(join(root, "apps"), { withFileTypes: true }).filter((e) => e.isDirectory()).map(({ name }) => {
      const index = join(root, "apps", name, "index.ts");
      const listed = /\brequires: \[([^\]]*)\]/.exec(existsSync(index) ? readFileSync(index, "utf8") : "")?.[1] ?? "";
      return [name, [...listed.matchAll(/"([^"]+)"/g)].map((m) => m[1]!)] as const;
    }));
    const reaches = (from: string, to: string): boolean => (requires.get(from) ?? []).some((name) => name === to || reaches(name, to));
    const between = edges.flatMap(({ from, to }) => {
      const [a, b] = [from, to].map((file) => /^apps\/([^/]+)\//.exec(file)?.[1]);
      return a === undefined || b === undefined || a === b ? [] : [{ from, to, a, b }];
    });
    expect(between.length).toBeGreaterThan(10);
    expect(between.filter(({ a, b }) => !reaches(a, b)).map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });
  test("no app gives its pipeline away: other apps emit into what is open, and else through functions", () => {
    const models = [...files("apps")].filter((f) => /\/model(\/[^/]+)?\.ts$/.test(f));
    expect(models.length).toBeGreaterThan(3);
    expect(models.filter((f) => /export\b[^;]*from\s*"\.\.?\/tables\.ts"|export\b[^;]*definePipeline/.test(readFileSync(join(root, f), "utf8")))).toEqual([]);
  });

  test("a layer of src/ imports only the layers below it", () => {
    const wrong = edges.filter((e) => {
      const from = layerOf(e.from);
      const to = layerOf(e.to);
      if (from === undefined || to === undefined || from === to || to === "lib" || to === "app") return false;
      return !(allowed[from] ?? []).includes(to);
    });
    expect(wrong).toEqual([]);
  });

  test("every folder of src/ has its place in that order", () => {
    const named = readdirSync(join(root, "src"), { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name);
    expect(named.filter((n) => !(n in allowed))).toEqual([]);
  });

  test("protocol packages use Node alone; etcd's has gRPC under it", () => {
    const wrong = edges.filter((e) => e.from.startsWith("protocol/") && !e.to.startsWith(e.from.split("/").slice(0, 3).join("/")) && !e.to.startsWith("node:") && !(e.from.startsWith("protocol/etcd/") && e.to === "@grpc/grpc-js"));
    expect(wrong).toEqual([]);
  });

  test("no circles between files", () => {
    const graph = new Map<string, string[]>();
    for (const e of edges) if (e.to.endsWith(".ts")) graph.set(e.from, [...(graph.get(e.from) ?? []), e.to]);
    const circles: string[] = [];
    const state = new Map<string, "open" | "done">();
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
        return;
      }
      state.set(file, "open");
      for (const to of graph.get(file) ?? []) visit(to, [...path, file]);
      state.set(file, "done");
    };
    for (const file of graph.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("files", () => {
  const own = [...folders, "scripts", "test"].flatMap((f) => [...files(f)]);

  test("are short enough to keep in one's head: 400 lines, or they say at their head why not ('Over 400 lines: ...'); 700 at most", () => {
    const long = own.map((file) => ({ file, lines: readFileSync(join(root, file), "utf8").split("\n") })).filter(({ lines }) => lines.length > 401);
    expect(long.filter(({ lines }) => !lines.slice(0, 12).some((line) => /^(\/\/|\s*\*) Over 400 lines: .{20,}/.test(line))).map(({ file, lines }) => `${file}: ${lines.length - 1}`)).toEqual([]);
    expect(long.filter(({ lines }) => lines.length > 700).map(({ file }) => file)).toEqual([]);
  });

  test("say that they are long only when they are", () => {
    const claims = own.filter((file) => {
      const lines = readFileSync(join(root, file), "utf8").split("\n");
      return lines.length <= 401 && lines.slice(0, 12).some((line) => /^(\/\/|\s*\*) Over 400 lines: /.test(line));
    });
    expect(claims).toEqual([]);
  });

  test("are at most 15 in a folder, beside their tests", () => {
    const count = new Map<string, number>();
    for (const file of own.filter((f) => !isTest(f) && !/\.fixture\.ts$/.test(f) && !f.startsWith("test/"))) count.set(dirname(file), (count.get(dirname(file)) ?? 0) + 1);
    const crowded = [...count].filter(([, n]) => n > 15).map(([folder]) => folder);
    expect(crowded).toEqual([]);
  });

  test("are named for what they hold", () => {
    expect(all.filter((f) => /\/(utils?|helpers?|managers?|misc|common)\.ts$/.test(f))).toEqual([]);
  });

  test("say at the top what they are", () => {
    expect(all.filter((f) => !/^(\/\/ |\/\*\*)/.test(readFileSync(join(root, f), "utf8")) && !/\/index\.ts$/.test(f))).toEqual([]);
  });
});

describe("ARCHITECTURE.md", () => {
  const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const section = (name: string): string => text.split(`\n## ${name}\n`)[1]?.split("\n## ")[0] ?? "";
  const rows = section("Where is what").split("\n").filter((line) => line.startsWith("|")).slice(2);
  const answers = rows.map((line) => /^\| ([^|`]+\?) \| `([^`|]+)` \| `(\w+)` \|$/.exec(line)?.slice(1) as [question: string, file: string, name: string] | undefined);

  /** Names that a file exports, declared there or passed on by name. */
  const exported = (source: string): string[] => [
    ...[...source.matchAll(/^export (?:declare )?(?:default )?(?:abstract )?(?:async )?(?:const enum|const|let|function\*?|class|interface|type|enum) (\w+)/gm)].map((m) => m[1]!),
    ...[...source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap((m) => m[1]!.split(",").map((part) => part.trim().replace(/^type /, "").split(" as ").at(-1)!)),
  ];

  test("answers at least twenty questions, each once, in rows | question? | `file` | `export` |", () => {
    expect(rows.filter((_, i) => answers[i] === undefined), "rows of 'Where is what' that do not read as | question? | `file` | `export` |").toEqual([]);
    expect(answers.length).toBeGreaterThanOrEqual(20);
    expect(new Set(answers.map((a) => a?.[0])).size).toBe(answers.length);
  });

  test("each answer is there", () => {
    const wrong = answers.filter((a) => a !== undefined).flatMap(([question, file, name]) => {
      if (!existsSync(join(root, file))) return [`"${question}" names ${file}, which does not exist: say where the answer is now`];
      const names = exported(readFileSync(join(root, file), "utf8"));
      return names.includes(name) ? [] : [`"${question}" names ${name} of ${file}, which exports ${names.join(", ") || "nothing"}`];
    });
    expect(wrong).toEqual([]);
  });

  test("each invariant names its tests, which exist", () => {
    const lines = section("Invariants").trim().split("\n");
    expect(lines.length).toBeGreaterThan(10);
    const wrong = lines.flatMap((line) => {
      const named = / \*([^*]+)\*$/.exec(line)?.[1]?.split(", ") ?? [];
      if (named.length === 0) return [`no test is named: ${line}`];
      return named.filter((file) => !file.endsWith(".test.ts") || !existsSync(join(root, file))).map((file) => `${file} is no test: ${line}`);
    });
    expect(wrong).toEqual([]);
  });

  test("the map has every folder of src/, and the files that it names exist", () => {
    const map = section("The map");
    for (const folder of readdirSync(join(root, "src"), { withFileTypes: true })) if (folder.isDirectory() && folder.name !== "lib") expect(map).toContain(`| \`src/${folder.name}/\``);
    const missing = [...map.matchAll(/^\| `(src\/\w+)\/` \| (.*) \|$/gm)].flatMap(([, folder, about]) => {
      const there = [...files(folder!)].map((file) => file.split("/").at(-1));
      return [...about!.matchAll(/`([\w-]+\.ts)`/g)].map((m) => m[1]!).filter((file) => !there.includes(file)).map((file) => `${folder!}/${file}`);
    });
    expect(missing).toEqual([]);
  });
});
