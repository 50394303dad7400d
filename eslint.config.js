import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import tseslint from "typescript-eslint";

/** Apps that an app requires, at any distance, as its index.ts says; `folder` is the app's. Probes are apps beside those of `apps/`. */
function required(folder, found = new Set()) {
  const index = path.join(folder, "index.ts");
  const listed = existsSync(index) ? /\brequires: \[([^\]]*)\]/.exec(readFileSync(index, "utf8"))?.[1] ?? "" : "";
  for (const [, name] of listed.matchAll(/"([^"]+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    required(path.join(import.meta.dirname, "apps", name), found);
  }
  return found;
}

/** An app imports of others what it requires: what is not there it would not start with, and what comes after it stands on it. */
const requires = {
  create(context) {
    const folder = /^(.*\/(?:apps|probes)\/[^/]+)\//.exec(context.filename)?.[1];
    if (folder === undefined) return {};
    const check = (node) => {
      const from = node.source?.value;
      if (typeof from !== "string" || !from.startsWith(".")) return;
      const name = /^apps\/([^/]+)\//.exec(path.relative(import.meta.dirname, path.resolve(path.dirname(context.filename), from)))?.[1];
      if (name === undefined || folder === path.join(import.meta.dirname, "apps", name) || required(folder).has(name)) return;
      context.report({ node, message: `${path.basename(folder)} imports ${name}, which it does not require` });
    };
    return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check };
  },
};

// What an app does not have by itself: time, chance and the network come from ServiceHost and Tx, so that the same code runs in a
// simulation under a seed.
const APP_HAS_NONE = "an app has no time, chance or network of its own: take clock, random, every, after and fetch of its service's host, now and uuid of its transaction";
const outside = ["Date", "performance", "setTimeout", "setInterval", "setImmediate", "queueMicrotask", "crypto", "fetch", "WebSocket", "XMLHttpRequest", "process", "globalThis", "global", "require"];
const modules = ["crypto", "timers", "timers/promises", "perf_hooks", "http", "https", "http2", "net", "tls", "dgram", "dns", "dns/promises", "process", "worker_threads", "child_process", "fs", "fs/promises", "os", "module"];

// Likewise what talks to switches; it may give others a turn (setImmediate), and has sockets.
const NO_TIME = "time and chance are given by the controller: clock and random of the options";
const timers = ["performance", "setTimeout", "setInterval", "clearTimeout", "clearInterval", "crypto"];

// strictTypeChecked, minus what fights byte code and checked indexing; each line says why.
export default tseslint.config(
  { ignores: [".lab/**", "**/dist/**", "**/node_modules/**", "eslint.config.js", "console/*.config.js", "test/fixtures/**"] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/no-non-null-assertion": "off", // noUncheckedIndexedAccess asks for it in bounded loops
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unnecessary-condition": "off", // rows and wire data are less certain than their types
      "@typescript-eslint/no-dynamic-delete": "off",
      "@typescript-eslint/unified-signatures": "off",
      "@typescript-eslint/no-unnecessary-type-parameters": "off", // typed handles: Table<R> in, R out
      "@typescript-eslint/no-invalid-void-type": "off",
      "@typescript-eslint/no-unsafe-enum-assignment": "off", // there are no enums: erasableSyntaxOnly; it takes a seventh of the time
      "@typescript-eslint/no-unsafe-enum-comparison": "off",
    },
  },
  {
    // Tests look into JSON bodies of any shape; a wrong path fails the assertion that reads it.
    files: ["**/*.test.ts", "test/support/**/*.ts", "src/**/testing/*.ts"],
    rules: {
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
    },
  },
  {
    files: ["apps/**/*.ts", "test/contract/probes/*/*.ts"],
    ignores: ["**/*.test.ts", "**/*.fixture.ts"],
    plugins: { axion: { rules: { requires } } },
    rules: { "axion/requires": "error" },
  },
  {
    files: ["apps/**/*.ts"],
    ignores: ["**/*.test.ts", "**/*.fixture.ts"],
    rules: {
      "no-restricted-globals": ["error", ...outside.map((name) => ({ name, message: APP_HAS_NONE }))],
      "no-restricted-properties": ["error", { object: "Math", property: "random", message: APP_HAS_NONE }],
      "no-restricted-syntax": [
        "error",
        { selector: "ImportExpression", message: "an app says at its top what it imports" },
        { selector: "CallExpression[callee.property.name='shapes'] :matches(ConditionalExpression, LogicalExpression, IfStatement, SwitchStatement, BinaryExpression)", message: "a shape is encoded once: it only says where a value goes; compute and decide before" },
      ],
      "no-restricted-imports": ["error", { paths: modules.flatMap((name) => [name, `node:${name}`]).map((name) => ({ name, message: APP_HAS_NONE })) }],
    },
  },
  {
    files: ["src/southbound/**/*.ts"],
    ignores: ["**/*.test.ts", "src/southbound/testing/*.ts"],
    rules: {
      "no-restricted-globals": ["error", ...timers.map((name) => ({ name, message: NO_TIME }))],
      "no-restricted-properties": ["error", { object: "Math", property: "random", message: NO_TIME }, { object: "Date", property: "now", message: NO_TIME }],
      "no-restricted-syntax": ["error", { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: NO_TIME }, { selector: "ImportSpecifier[imported.name=/^machine(Clock|Random)$/]", message: NO_TIME }],
      "no-restricted-imports": ["error", { paths: ["crypto", "timers", "timers/promises", "perf_hooks"].flatMap((name) => [name, `node:${name}`]).map((name) => ({ name, message: NO_TIME })) }],
    },
  },
);
