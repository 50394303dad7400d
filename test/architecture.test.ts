// Rules about the code itself, as ordinary tests: which way imports point, how large files get, what is named how.
import { readdirSync, readFileSync } from "node:fs";
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
const isTest = (file: string): boolean => file.endsWith(".test.ts") || /^(src|protocol)\/.*\/testing\//.test(file);
const folders = ["src", "apps", "protocol/openflow/src", "protocol/ovsdb/src", "protocol/packet/src", "lab", "bench"];
const all = folders.flatMap((f) => [...files(f)]).filter((f) => !isTest(f));
const edges = all.flatMap(imports);

/** What each folder of src/ may import of src/, beside itself, lib and app. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  config: [],
  cli: [],
  app: ["lib"],
  boot: [],
  store: [],
  model: ["store"],
  pipeline: [],
  compiler: ["pipeline", "model"],
  southbound: ["compiler", "model"],
  northbound: ["model", "store"],
  ops: ["compiler", "pipeline", "model", "southbound"],
};
const layerOf = (path: string): string | undefined => /^src\/([^/]+)\//.exec(path)?.[1];

describe("imports point one way", () => {
  test("nothing in src/ imports an app: a network function is found, not known by name", () => {
    expect(edges.filter((e) => e.from.startsWith("src/") && e.to.startsWith("apps/"))).toEqual([]);
  });

  test("nothing imports test/, and only the lab, benchmarks and tests import lab/", () => {
    expect(edges.filter((e) => e.to.startsWith("test/") || (e.to.startsWith("lab/") && !/^(lab|bench)\//.test(e.from)))).toEqual([]);
  });

  test("an app imports the contract, another app's model.ts, and protocol packages; no other part of the core", () => {
    const wrong = edges.filter((e) => {
      const own = /^apps\/([^/]+)\//.exec(e.from)?.[1];
      if (own === undefined || e.to === "src/app/contract.ts" || e.to.startsWith(`apps/${own}/`)) return false;
      if (/^apps\/[^/]+\/model\.ts$/.test(e.to) || ["node-openflow", "packet-codec"].includes(e.to)) return false;
      return !builtinModules.includes(e.to.replace(/^node:/, ""));
    });
    expect(wrong).toEqual([]);
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

  test("protocol packages use Node alone", () => {
    const wrong = edges.filter((e) => e.from.startsWith("protocol/") && !e.to.startsWith(e.from.split("/").slice(0, 3).join("/")) && !e.to.startsWith("node:"));
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
  test("are short enough to keep in one's head: 700 lines", () => {
    const long = all.map((f) => ({ file: f, lines: readFileSync(join(root, f), "utf8").split("\n").length })).filter((f) => f.lines > 700);
    expect(long).toEqual([]);
  });

  test("are named for what they hold", () => {
    expect(all.filter((f) => /\/(utils?|helpers?|managers?|misc|common)\.ts$/.test(f))).toEqual([]);
  });

  test("say at the top what they are", () => {
    expect(all.filter((f) => !/^(\/\/ |\/\*\*)/.test(readFileSync(join(root, f), "utf8")) && !/\/index\.ts$/.test(f))).toEqual([]);
  });
});
