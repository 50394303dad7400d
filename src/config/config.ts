// The configuration: what was given, checked and made into what the controller works with.
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { hostname } from "node:os";
import { isIP } from "node:net";
import type { Rate } from "../lib/clock.ts";
import { isLoopbackName } from "../lib/listening.ts";
import { UsageError } from "../lib/usage-error.ts";
import { settingValue } from "../app/settings.ts";
import { allFlags, flagOf, flags, type Configurable, type FlagName } from "./flags.ts";
import { readFile, readSources, type Given } from "./sources.ts";
import type { EtcdAccess } from "../store/etcd/client.ts";
import { storeOf } from "./store.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Who tells who callers of the tenant API are. */
export type AuthConfig =
  | { readonly kind: "none" }
  | { readonly kind: "tokens"; readonly file: string }
  | { readonly kind: "keystone"; readonly url: string; readonly user: string; readonly passwordFile: string; readonly project: string; readonly domain: string };

export interface Config {
  readonly dataDir: string;
  readonly store: string;
  readonly etcd?: EtcdAccess;
  /** How much of the past is kept. */
  readonly keep?: { readonly ms: number; readonly bytes: number };
  /** The generation after which acknowledged changes may be missing. */
  readonly acceptLoss?: number;
  readonly api: Endpoint;
  readonly ops: Endpoint;
  readonly openflow: Endpoint;
  readonly ovsdb: Endpoint;
  readonly advertise: string | undefined;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer } | undefined;
  /** Where these were read. */
  readonly tlsFiles?: readonly string[];
  readonly auth: AuthConfig;
  /** Overrides of access rules; it could be read when the controller started. */
  readonly policyFile: string | undefined;
  /** File with the token of the ops listener; it could be read when the controller started. */
  readonly opsTokenFile: string | undefined;
  /** What the Host header may say on loopback, beside what is loopback's. */
  readonly allowedHosts: readonly string[];
  /** Origins whose web pages may use the tenant API. */
  readonly corsOrigins: readonly string[];
  /** How often one may ask on the tenant API; undefined: without limit. */
  readonly rates: { readonly project: Rate | undefined; readonly unauthenticated: Rate | undefined };
  /** Names of network functions to leave out, each once. */
  readonly disabledApps: readonly string[];
  readonly auditIntervalMs: number;
  /** It compares, and touches nothing. */
  readonly shadow?: boolean;
  /** Of this controller among several. */
  readonly name: string;
  readonly logLevel: string;
  readonly logPretty: boolean;
  /** What was given of the apps' own settings, by app and name. */
  readonly settings?: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** @throws UsageError in one line that names the flag, variable or key at fault. */
export function parseConfig(argv: readonly string[], env: Readonly<Record<string, string | undefined>>, apps: readonly Configurable[] = []): Config | "help" | "version" {
  const given = readSources(argv, env, allFlags(apps));
  if (typeof given === "string") return given;
  const config = build(given);
  const settings = settingsOf(apps, given);
  return settings.size === 0 ? config : { ...config, settings };
}

/** What was given of each app's settings. */
function settingsOf(apps: readonly Configurable[], given: ReadonlyMap<string, Given>): ReadonlyMap<string, Readonly<Record<string, unknown>>> {
  const out = new Map<string, Record<string, unknown>>();
  const resources = apps.flatMap((app) => app.resources ?? []);
  for (const { name: app, settings } of apps) {
    for (const [name, decl] of Object.entries(settings?.declared ?? {})) {
      const found = given.get(name);
      if (found === undefined) continue;
      const values = out.get(app) ?? {};
      const value = settingValue(decl, found.value, found.where, readFile);
      if (decl.names !== undefined && value instanceof Map) checkNames([...(value as ReadonlyMap<string, unknown>).keys()], decl.names(resources), found.where);
      values[name] = value;
      out.set(app, values);
    }
  }
  return out;
}

function checkNames(given: readonly string[], known: readonly string[], where: string): void {
  const unknown = given.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`${where} must name some of ${known.join(", ")}, not ${unknown}`);
}

function build(given: ReadonlyMap<string, Given>): Config {
  const text = (name: FlagName): string | undefined => given.get(name)?.value ?? flagOf(name).fallback;
  const where = (name: FlagName): string => given.get(name)?.where ?? `--${name}`;
  const endpoint = (name: FlagName): Endpoint => parseEndpoint(text(name)!, where(name));
  const oneOf = (name: FlagName): string => {
    const { oneOf: options } = flags[name].kind as { oneOf: readonly string[] };
    const value = text(name)!;
    if (!options.includes(value)) throw new UsageError(`${where(name)} must be one of ${options.join(", ")}, not ${value}`);
    return value;
  };
  const flag = (name: FlagName): boolean => {
    const value = text(name) ?? "false";
    if (!["true", "false", "1", "0", ""].includes(value)) throw new UsageError(`${where(name)} must be true or false, not ${value}`);
    return value === "true" || value === "1";
  };
  const api = endpoint("api");
  const auth = authOf(oneOf("auth"), text, where, (name) => given.has(name));
  const insecure = flag("insecure");
  if (auth.kind === "none" && !isLoopbackName(api.host) && !insecure) {
    throw new UsageError(`${where("api")} ${text("api")!}: with --auth none anyone who reaches this address is an administrator; give --insecure if that is meant`);
  }
  const ops = endpoint("ops");
  const opsTokenFile = text("ops-token-file");
  if (opsTokenFile !== undefined) readFile(opsTokenFile, where("ops-token-file"));
  else if (!isLoopbackName(ops.host) && !insecure) {
    throw new UsageError(`${where("ops")} ${text("ops")!}: anyone who reaches this address sees all and can remove hosts; give --ops-token-file, or --insecure if that is meant`);
  }
  const seconds = Number(text("audit-interval"));
  const [shortest, longest] = flags["audit-interval"].within;
  if (!(seconds >= shortest && seconds <= longest)) throw new UsageError(`${where("audit-interval")} must be ${shortest} to ${longest} seconds, not ${text("audit-interval")!}`);
  const whole = (name: "history-days" | "history-mb" | "accept-loss"): number => {
    const [min, max] = flags[name].within;
    const value = text(name)!;
    if (!/^\d{1,15}$/.test(value) || Number(value) < min || Number(value) > max) throw new UsageError(`${where(name)} must be a whole number from ${min} to ${max}, not ${value === "" ? "empty" : value}`);
    return Number(value);
  };
  const advertise = text("advertise");
  if (advertise !== undefined && isIP(advertise) === 0 && !HOST_NAME.test(advertise)) {
    throw new UsageError(`${where("advertise")} must be an address or a host name, without a port, not ${JSON.stringify(advertise)}`);
  }
  if (text("data-dir") === "") throw new UsageError(`${where("data-dir")} is empty`);
  const name = text("name") ?? hostname();
  if (!NAME.test(name)) throw new UsageError(`${where("name")} must be 1 to 64 letters, digits, dots, dashes and underscores, not ${JSON.stringify(name)}`);
  const policyFile = text("policy");
  if (policyFile !== undefined) readFile(policyFile, where("policy"));
  return {
    dataDir: text("data-dir")!,
    ...storeOf(text, where),
    keep: { ms: whole("history-days") * 86_400_000, bytes: whole("history-mb") * 1024 * 1024 },
    ...(given.has("accept-loss") ? { acceptLoss: whole("accept-loss") } : {}),
    api,
    ops,
    openflow: endpoint("openflow"),
    ovsdb: endpoint("ovsdb"),
    advertise,
    tls: readTls(text, where),
    ...(text("tls-cert") !== undefined && { tlsFiles: TLS_FLAGS.map((name) => text(name)!) }),
    auth,
    policyFile,
    opsTokenFile,
    allowedHosts: hostsOf(text("allowed-hosts"), where("allowed-hosts")),
    corsOrigins: originsOf(text("cors-origins"), where("cors-origins")),
    rates: { project: rateOf(text("rate-limit"), where("rate-limit")), unauthenticated: rateOf(text("rate-limit-unauthenticated"), where("rate-limit-unauthenticated")) },
    disabledApps: listOf(text("disable-app"), where("disable-app")),
    auditIntervalMs: seconds * 1000,
    ...(flag("shadow") && { shadow: true }),
    name,
    logLevel: oneOf("log-level"),
    logPretty: flag("log-pretty"),
  };
}

const AUTH_FLAGS = { none: [], tokens: ["tokens"], keystone: ["keystone-url", "keystone-user", "keystone-password-file", "keystone-project", "keystone-domain"] } as const;

function authOf(kind: string, text: (n: FlagName) => string | undefined, where: (n: FlagName) => string, isGiven: (n: FlagName) => boolean): AuthConfig {
  const own: readonly FlagName[] = AUTH_FLAGS[kind as keyof typeof AUTH_FLAGS];
  for (const name of Object.values(AUTH_FLAGS).flat()) {
    if (isGiven(name) && !own.includes(name)) throw new UsageError(`${where(name)} has no meaning with --auth ${kind}`);
  }
  const needed = (name: FlagName): string => {
    const value = text(name);
    if (value === undefined || value === "") throw new UsageError(`${where("auth")} ${kind} needs --${name}`);
    return value;
  };
  if (kind === "tokens") {
    const file = needed("tokens");
    readFile(file, where("tokens"));
    return { kind, file };
  }
  if (kind !== "keystone") return { kind: "none" };
  const [url, user, passwordFile, project, domain] = AUTH_FLAGS.keystone.map(needed) as [string, string, string, string, string];
  readFile(passwordFile, where("keystone-password-file"));
  return { kind, url, user, passwordFile, project, domain };
}

const TLS_FLAGS = ["tls-cert", "tls-key", "tls-ca"] as const;

function readTls(text: (n: FlagName) => string | undefined, where: (n: FlagName) => string): Config["tls"] {
  const names = TLS_FLAGS;
  const present = names.filter((n) => text(n) !== undefined);
  if (present.length === 0) return undefined;
  if (present.length < names.length) throw new UsageError(`TLS needs --tls-cert, --tls-key and --tls-ca together; --${names.find((n) => !present.includes(n))!} is missing`);
  const [cert, key, ca] = names.map((n) => readFile(text(n)!, where(n)));
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

/** "a,b" or "a, b"; each name once, in order. @throws UsageError */
function listOf(value: string | undefined, where: string): readonly string[] {
  if (value === undefined) return [];
  const items = value.split(",").map((item) => item.trim());
  const bad = items.find((item) => !NAME.test(item));
  if (bad !== undefined) throw new UsageError(`${where} must be a name or names with commas between, not ${JSON.stringify(value)}`);
  return [...new Set(items)];
}

/** Names and addresses of hosts, in small letters, without ports. */
function hostsOf(value: string | undefined, where: string): readonly string[] {
  if (value === undefined) return [];
  const items = value.split(",").map((item) => item.trim().toLowerCase());
  const bad = items.find((item) => item.length > 253 || (isIP(item) === 0 && !HOST_NAME.test(item)));
  if (bad !== undefined) throw new UsageError(`${where} must be a host name, or names with commas between, without ports, not ${JSON.stringify(value)}`);
  return [...new Set(items)];
}

/** "50", "0.5:10"; 0 is no limit. @throws UsageError */
function rateOf(value: string | undefined, where: string): Rate | undefined {
  if (value === undefined || value === "0") return undefined;
  const [, rate, burst] = /^(\d{1,6}(?:\.\d{1,3})?)(?::(\d{1,7}))?$/.exec(value) ?? [];
  const perSecond = Number(rate);
  const most = burst === undefined ? Math.max(1, Math.ceil(2 * perSecond)) : Number(burst);
  if (!(perSecond > 0) || most < 1) throw new UsageError(`${where} must be requests a second, or those and how many at once (50, 50:200), or 0 for no limit, not ${JSON.stringify(value)}`);
  return { perSecond, burst: most };
}

/** Origins in the form in which browsers name them: scheme and host, the port where it is not the scheme's, no path. */
function originsOf(value: string | undefined, where: string): readonly string[] {
  if (value === undefined) return [];
  const items = value.split(",").map((item) => item.trim());
  const bad = items.find((item) => !isOrigin(item));
  if (bad !== undefined) throw new UsageError(`${where} must be an origin as browsers send it (https://host, http://host:port) or several with commas between, not ${JSON.stringify(value)}`);
  return [...new Set(items)];
}

function isOrigin(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return (url?.protocol === "http:" || url?.protocol === "https:") && url.origin === text;
}
