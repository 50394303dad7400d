// Configuration: one table of settings; flags, environment variables, the config file, defaults and --help derive from it.
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP, isIPv4 } from "node:net";

export class UsageError extends Error {
  readonly code = "USAGE";
}

type Kind = "text" | "flag" | "host:port" | "file" | { readonly oneOf: readonly string[] };

interface Setting {
  readonly kind: Kind;
  readonly fallback?: string;
  readonly about: string;
}

const settings = {
  "data-dir": { kind: "text", fallback: "./data", about: "folder of the embedded store" },
  store: { kind: "text", fallback: "level:", about: "where state is kept: level: (under --data-dir) or memory: (lost at exit, for trials)" },
  api: { kind: "host:port", fallback: "127.0.0.1:9696", about: "tenant API" },
  ops: { kind: "host:port", fallback: "127.0.0.1:9697", about: "flow dump, metrics, health; never expose it to tenants" },
  openflow: { kind: "host:port", fallback: "0.0.0.0:6653", about: "switches connect here (OpenFlow)" },
  ovsdb: { kind: "host:port", fallback: "0.0.0.0:6640", about: "switches connect here (OVSDB: ovs-vsctl set-manager)" },
  advertise: { kind: "text", about: "address switches are told to use for OpenFlow [the local address their OVSDB session came to]" },
  "tls-cert": { kind: "file", about: "certificate for OpenFlow and OVSDB over TLS" },
  "tls-key": { kind: "file", about: "its private key" },
  "tls-ca": { kind: "file", about: "CA that switches' certificates are verified against" },
  auth: { kind: { oneOf: ["none"] }, fallback: "none", about: "none: every caller is who X-Project-Id and X-Roles say, an administrator without them" },
  insecure: { kind: "flag", about: "allow --auth none on a tenant API address that is not loopback" },
  "audit-interval": { kind: "text", fallback: "60", about: "seconds between checks of a switch's tables against what they should hold" },
  "log-level": { kind: { oneOf: ["fatal", "error", "warn", "info", "debug", "trace", "silent"] }, fallback: "info", about: "pino log level" },
  "log-pretty": { kind: "flag", about: "human-readable log lines instead of JSON" },
  config: { kind: "file", about: "JSON file with any of these, by flag name without dashes in front" },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof settings;

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface Config {
  readonly dataDir: string;
  readonly store: string;
  readonly api: Endpoint;
  readonly ops: Endpoint;
  readonly openflow: Endpoint;
  readonly ovsdb: Endpoint;
  readonly advertise: string | undefined;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer } | undefined;
  readonly auditIntervalMs: number;
  readonly logLevel: string;
  readonly logPretty: boolean;
}

export function usage(): string {
  const lines = (Object.entries(settings) as [string, Setting][]).map(([name, s]) => {
    const value = s.kind === "flag" ? "" : s.kind === "host:port" ? " HOST:PORT" : s.kind === "file" ? " FILE" : typeof s.kind === "object" ? ` ${s.kind.oneOf.join("|")}` : " VALUE";
    return `  ${`--${name}${value}`.padEnd(34)} ${s.about}${s.fallback === undefined ? "" : ` [${s.fallback}]`}`;
  });
  return ["usage: npm start -- [flags]", "", ...lines, "", "Each flag is also an environment variable (AXION_DATA_DIR for --data-dir) and a key of the --config file."].join("\n");
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** @throws UsageError in one line that names the flag, variable or key at fault. */
export function parseConfig(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Config | "help" {
  const given = new Map<string, { value: string; where: string }>();
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--help" || arg === "-h") return "help";
    const [flag, inline] = splitOnce(arg, "=");
    const name = flag.startsWith("--") ? flag.slice(2) : undefined;
    const setting = name !== undefined && Object.hasOwn(settings, name) ? (settings as Record<string, Setting>)[name] : undefined;
    if (name === undefined || setting === undefined) throw new UsageError(`unknown argument ${arg}; --help lists the flags`);
    if (setting.kind === "flag") given.set(name, { value: inline ?? "true", where: flag });
    else {
      const value = inline ?? argv[++i];
      if (value === undefined) throw new UsageError(`${flag} needs a value`);
      given.set(name, { value, where: flag });
    }
  }
  for (const name of Object.keys(settings)) {
    const variable = `AXION_${name.toUpperCase().replaceAll("-", "_")}`;
    const value = env[variable];
    if (value !== undefined && !given.has(name)) given.set(name, { value, where: variable });
  }
  readConfigFile(given);
  return build(given);
}

function readConfigFile(given: Map<string, { value: string; where: string }>): void {
  const file = given.get("config");
  if (file === undefined) return;
  let parsed: unknown;
  try {
    parsed = JSON.parse(readText(file.value, file.where).toString());
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file.where}: ${file.value} is not JSON: ${(error as Error).message}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw new UsageError(`${file.where}: ${file.value} must hold a JSON object`);
  for (const [name, value] of Object.entries(parsed)) {
    if (!Object.hasOwn(settings, name) || name === "config") throw new UsageError(`${file.value}: unknown key ${name}`);
    if (!["string", "number", "boolean"].includes(typeof value)) throw new UsageError(`${file.value}: ${name} must be a string, number or boolean`);
    if (!given.has(name)) given.set(name, { value: String(value), where: `${file.value}: ${name}` });
  }
}

function readText(path: string, where: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${where}: cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
  }
}

function build(given: ReadonlyMap<string, { value: string; where: string }>): Config {
  const text = (name: Name): string | undefined => given.get(name)?.value ?? (settings[name] as Setting).fallback;
  const where = (name: Name): string => given.get(name)?.where ?? `--${name}`;
  const endpoint = (name: Name): Endpoint => parseEndpoint(text(name)!, where(name));
  const oneOf = (name: Name): string => {
    const { oneOf: options } = settings[name].kind as { oneOf: readonly string[] };
    const value = text(name)!;
    if (!options.includes(value)) throw new UsageError(`${where(name)} must be one of ${options.join(", ")}, not ${value}`);
    return value;
  };
  const flag = (name: Name): boolean => {
    const value = text(name) ?? "false";
    if (!["true", "false", "1", "0", ""].includes(value)) throw new UsageError(`${where(name)} must be true or false, not ${value}`);
    return value === "true" || value === "1";
  };
  const api = endpoint("api");
  oneOf("auth");
  if (!isLoopback(api.host) && !flag("insecure")) {
    throw new UsageError(`${where("api")} ${text("api")!}: with --auth none anyone who reaches this address is an administrator; give --insecure if that is meant`);
  }
  const seconds = Number(text("audit-interval"));
  if (!(seconds >= 1 && seconds <= 86_400)) throw new UsageError(`${where("audit-interval")} must be 1 to 86400 seconds, not ${text("audit-interval")!}`);
  const advertise = text("advertise");
  if (advertise !== undefined && isIP(advertise) === 0 && !HOST_NAME.test(advertise)) {
    throw new UsageError(`${where("advertise")} must be an address or a host name, without a port, not ${JSON.stringify(advertise)}`);
  }
  if (text("data-dir") === "") throw new UsageError(`${where("data-dir")} is empty`);
  return {
    dataDir: text("data-dir")!,
    store: text("store")!,
    api,
    ops: endpoint("ops"),
    openflow: endpoint("openflow"),
    ovsdb: endpoint("ovsdb"),
    advertise,
    tls: readTls(text, where),
    auditIntervalMs: seconds * 1000,
    logLevel: oneOf("log-level"),
    logPretty: flag("log-pretty"),
  };
}

function readTls(text: (n: Name) => string | undefined, where: (n: Name) => string): Config["tls"] {
  const names = ["tls-cert", "tls-key", "tls-ca"] as const;
  const present = names.filter((n) => text(n) !== undefined);
  if (present.length === 0) return undefined;
  if (present.length < names.length) throw new UsageError(`TLS needs --tls-cert, --tls-key and --tls-ca together; --${names.find((n) => !present.includes(n))!} is missing`);
  const [cert, key, ca] = names.map((n) => readText(text(n)!, where(n)));
  return { cert: cert!, key: key!, ca: ca! };
}

/** @throws UsageError if the files are not what TLS needs, or do not belong together. */
export function checkTls({ tls }: Pick<Config, "tls">): void {
  if (tls === undefined) return;
  const read = <T>(flag: string, what: string, parse: () => T): T => {
    try {
      return parse();
    } catch (error) {
      throw new UsageError(`${flag}: not ${what} in PEM form (${(error as Error).message})`);
    }
  };
  const cert = read("--tls-cert", "a certificate", () => new X509Certificate(tls.cert));
  const key = read("--tls-key", "a private key without a passphrase", (): KeyObject => createPrivateKey(tls.key));
  read("--tls-ca", "a certificate", () => new X509Certificate(tls.ca));
  if (!cert.checkPrivateKey(key)) throw new UsageError("--tls-key is not the key of --tls-cert");
}

/** "127.0.0.1:9696", "[::1]:9696", ":9696" (all addresses). */
function parseEndpoint(value: string, where: string): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new UsageError(`${where} must be HOST:PORT, not ${value}`);
  const host = match[1] ?? match[2]!;
  return { host: host === "" ? "0.0.0.0" : host, port };
}

function splitOnce(text: string, at: string): [string, string | undefined] {
  const i = text.indexOf(at);
  return i < 0 ? [text, undefined] : [text.slice(0, i), text.slice(i + 1)];
}
