// The places a setting can come from: the command line, the environment, the configuration file. Each value keeps where it was
// given, so that whatever is wrong with it can be said by that name.
import { closeSync, openSync, readSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from "yaml";
import { fileErrorText } from "../lib/files.ts";
import { UsageError } from "../lib/usage-error.ts";
import { allFlags, variableOf, type Configurable, type Flag } from "./flags.ts";

export interface Given {
  /** As text; a list with commas. */
  readonly value: string;
  /** "--api", "AXION_API", "axion.yaml: api (line 3)". */
  readonly where: string;
}

type Known = ReadonlyMap<string, Flag>;
type Environment = Readonly<Record<string, string | undefined>>;

/** What stands for the value in --help. */
export const placeholder = (flag: Flag): string => {
  if (flag.value !== undefined) return flag.value;
  if (typeof flag.kind === "object") return "oneOf" in flag.kind ? flag.kind.oneOf.join("|") : "addresses" in flag.kind ? "LIST" : "NUMBER";
  return { text: "VALUE", boolean: "true|false", "host:port": "HOST:PORT", url: "URL", domain: "NAME", file: "FILE", list: "LIST" }[flag.kind];
};

function makeCommand(columns: number, known: Known, name = "npm start --"): Command {
  const command = new Command(name).usage("[flags]").helpOption(false).allowExcessArguments().exitOverride();
  command.configureOutput({ writeErr: () => undefined, getOutHelpWidth: () => columns });
  for (const [name, flag] of known) {
    // Commander's own defaults would hide what was given, so the default is a part of the text.
    const option = new Option(flag.kind === "boolean" ? `--${name} [${placeholder(flag)}]` : `--${name} <${placeholder(flag)}>`, flag.about + (flag.fallback === undefined ? "" : ` (default: ${flag.fallback})`));
    option.helpGroup(flag.group);
    if (flag.kind === "list") option.argParser((value: string, before: string | undefined) => (before === undefined ? value : `${before},${value}`));
    command.addOption(option);
  }
  command.addOption(new Option("-h, --help", "this list").helpGroup("Other:")).addOption(new Option("-V, --version", "the version").helpGroup("Other:"));
  command.addHelpText("after", "\nEach flag is also an environment variable (AXION_DATA_DIR for --data-dir) and a key of the --config file.\nA flag overrides the variable, the variable overrides the file.");
  return command;
}

/** What --help prints; `name` is what was typed before the flags. */
export function usage(columns = 120, apps: readonly Configurable[] = [], name?: string): string {
  let text = "";
  const command = makeCommand(columns, allFlags(apps), name);
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => columns });
  command.outputHelp();
  return text.trimEnd();
}

/** The flags of a command line. @throws UsageError */
function readFlags(argv: readonly string[], given: Map<string, Given>, known: Known): "help" | "version" | undefined {
  const command = makeCommand(120, known);
  if (argv.includes("--")) throw new UsageError("unknown argument --; --help lists the flags");
  try {
    command.parse(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const named = /'([^' ]*)/.exec(error.message)?.[1] ?? "";
    if (error.code === "commander.optionMissingArgument") throw new UsageError(`${named} needs a value`);
    const meant = /Did you mean (?:one of )?(--[^?]+)\?/.exec(error.message)?.[1];
    throw new UsageError(`unknown argument ${named}; ${meant === undefined ? "" : `was ${meant} meant? `}--help lists the flags`);
  }
  const values = command.opts<Record<string, string | true | undefined>>();
  if (values.help === true) return "help";
  if (values.version === true) return "version";
  if (command.args.length > 0) throw new UsageError(`unknown argument ${command.args[0]!}; --help lists the flags`);
  for (const option of command.options) {
    const value = values[option.attributeName()];
    if (value !== undefined) given.set(option.long!.slice(2), { value: String(value), where: option.long! });
  }
  return undefined;
}

function readEnvironment(env: Environment, given: Map<string, Given>, known: Known): void {
  for (const name of known.keys()) {
    const where = variableOf(name);
    const value = env[where];
    if (value !== undefined && !given.has(name)) given.set(name, { value, where });
  }
}

const FILE_LIMIT = 1 << 20;

/** A whole file (or pipe) of at most 1 MiB. @throws UsageError */
export function readFile(path: string, where: string): Buffer {
  try {
    const file = openSync(path, "r");
    try {
      const buffer = Buffer.alloc(FILE_LIMIT + 1);
      let length = 0;
      for (let n = -1; n !== 0 && length < buffer.length; length += n) n = readSync(file, buffer, length, buffer.length - length, null);
      if (length > FILE_LIMIT) throw new UsageError(`${where}: ${path} is larger than ${FILE_LIMIT} bytes`);
      return Buffer.from(buffer.subarray(0, length));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${where}: cannot read ${path}: ${fileErrorText(error)}`);
  }
}

function readConfigFile(given: Map<string, Given>, known: Known): void {
  const file = given.get("config");
  if (file === undefined) return;
  const path = file.value;
  const text = readFile(path, file.where).toString();
  const isJson = /\.json$/i.test(path) || (!/\.ya?ml$/i.test(path) && /^\s*[[{]/.test(text));
  const format = isJson ? "JSON" : "YAML";
  if (isJson) checkJson(text, `${file.where}: ${path}`);
  // JSON is YAML too, and this parser knows the lines.
  const lines = new LineCounter();
  const document: Document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number | undefined): string => (offset === undefined ? "" : ` (line ${lines.linePos(offset).line})`);
  const wrong = document.errors.find((e) => !isJson || e.code === "DUPLICATE_KEY");
  if (wrong !== undefined) throw new UsageError(`${file.where}: ${path} is not ${format}: ${wrong.message}${lineAt(wrong.pos[0])}`);
  const { contents } = document;
  if (!isJson && (contents === null || (isScalar(contents) && contents.value === null))) return; // nothing but comments
  if (!isMap(contents)) throw new UsageError(`${file.where}: ${path} must hold ${isJson ? "a JSON object" : "a YAML mapping"}`);
  for (const { key, value } of contents.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const line = lineAt(isScalar(key) ? key.range?.[0] : undefined);
    const flag = known.get(name);
    if (flag === undefined || name === "config") throw new UsageError(`${path}: unknown key ${name}${line}`);
    const where = `${path}: ${name}${line}`;
    const found = textOf(value, flag.kind === "list");
    if (found === undefined) throw new UsageError(`${path}: ${name} must be a string, number or boolean${flag.kind === "list" ? ", or a list of them" : ""}${line}`);
    if (!given.has(name)) given.set(name, { value: found, where });
  }
}

/** A value of the file as the text that a flag would have; undefined for what is none. */
function textOf(node: unknown, list: boolean): string | undefined {
  if (list && isSeq(node)) {
    const items = node.items.map((item) => textOf(item, false));
    return items.includes(undefined) ? undefined : items.join(",");
  }
  if (!isScalar(node) || !["string", "number", "boolean", "bigint"].includes(typeof node.value)) return undefined;
  // As written: 007 stays 007, whatever YAML takes it for.
  return typeof node.value === "number" || typeof node.value === "bigint" ? (node.source ?? String(node.value)) : String(node.value);
}

function checkJson(text: string, where: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const at = /at position (\d+)/.exec(message)?.[1];
    throw new UsageError(`${where} is not JSON: ${message}${at === undefined ? "" : ` (line ${text.slice(0, Number(at)).split("\n").length})`}`);
  }
}

/** All that was given, by flag name: a flag overrides the variable, the variable overrides the file. @throws UsageError */
export function readSources(argv: readonly string[], env: Environment, known: Known): ReadonlyMap<string, Given> | "help" | "version" {
  const given = new Map<string, Given>();
  const asked = readFlags(argv, given, known);
  if (asked !== undefined) return asked;
  readEnvironment(env, given, known);
  readConfigFile(given, known);
  return given;
}

/**
 * The apps that are to be left out, as far as can be said before the others are there and with them their settings. What is wrong with
 * what was given is found later.
 */
export function appsLeftOut(argv: readonly string[], env: Environment): readonly string[] {
  const given = new Map<string, Given>();
  try {
    const command = new Command().helpOption(false).allowExcessArguments().allowUnknownOption().exitOverride().configureOutput({ writeErr: () => undefined });
    for (const name of ["disable-app", "config"] as const) command.addOption(new Option(`--${name} <value>`).argParser((value: string, before: string | undefined) => (before === undefined || name === "config" ? value : `${before},${value}`)));
    command.parse(argv, { from: "user" });
    const { disableApp = env[variableOf("disable-app")], config = env[variableOf("config")] } = command.opts<{ disableApp?: string; config?: string }>();
    if (disableApp !== undefined) given.set("disable-app", { value: disableApp, where: "" });
    else if (config !== undefined) {
      const document: Document = parseDocument(readFile(config, "").toString());
      const value = textOf(document.get("disable-app", true), true);
      if (value !== undefined) given.set("disable-app", { value, where: "" });
    }
  } catch {
    return [];
  }
  return [...new Set((given.get("disable-app")?.value ?? "").split(",").map((name) => name.trim()).filter((name) => name !== ""))];
}
