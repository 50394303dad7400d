// Every setting of the controller, declared once: flags, environment variables, keys of the --config file, defaults and --help
// derive from this table.

import type { AnyResource } from "../app/api/resource.ts";
import type { SettingDecl, Settings } from "../app/settings.ts";

/** One of the core, or a setting that an app declares. */
export interface Flag extends SettingDecl {
  /** Heading in --help. */
  readonly group: string;
  /** Of a number: the least and the most it may be. */
  readonly within?: readonly [min: number, max: number];
}

const LISTENERS = "Listeners:";
const STORE = "Store:";
const TLS = "TLS to switches:";
const ACCESS = "Access:";
const FUNCTIONS = "Network functions:";
const RUNNING = "Running and logging:";

export const flags = {
  api: { kind: "host:port", group: LISTENERS, fallback: "127.0.0.1:9696", about: "tenant API" },
  ops: { kind: "host:port", group: LISTENERS, fallback: "127.0.0.1:9697", about: "flow dump, metrics, health; never expose it to tenants" },
  openflow: { kind: "host:port", group: LISTENERS, fallback: "0.0.0.0:6653", about: "switches connect here (OpenFlow)" },
  ovsdb: { kind: "host:port", group: LISTENERS, fallback: "0.0.0.0:6640", about: "switches connect here (OVSDB: ovs-vsctl set-manager)" },
  advertise: { kind: "text", group: LISTENERS, value: "HOST", about: "address switches are told to use for OpenFlow, and with several controllers for OVSDB (default: the local address their OVSDB session came to)" },
  "data-dir": { kind: "text", group: STORE, value: "DIR", fallback: "./data", about: "folder of the embedded store" },
  store: { kind: "text", group: STORE, value: "URL", fallback: "level:", about: "where state is kept: level: (under --data-dir), etcd://HOST:2379,HOST:2379 (etcds:// for TLS; /PREFIX after it where stores share an etcd) or memory: (lost at exit, for trials)" },
  "store-ca": { kind: "file", group: STORE, about: "CA that etcd's certificate is verified against (default: the system's)" },
  "store-cert": { kind: "file", group: STORE, about: "certificate shown to etcd" },
  "store-key": { kind: "file", group: STORE, about: "its private key" },
  "store-user": { kind: "text", group: STORE, value: "NAME", about: "user of etcd, where it asks for one" },
  "store-password-file": { kind: "file", group: STORE, about: "file with that user's password" },
  "history-days": { kind: "text", group: STORE, value: "DAYS", fallback: "30", within: [1, 36_500], about: "how long changes are kept to be read as history" },
  "history-mb": { kind: "text", group: STORE, value: "MB", fallback: "1024", within: [1, 1_048_576], about: "how much of them is kept at most" },
  "accept-loss": { kind: "text", group: STORE, value: "GENERATION", within: [0, 2 ** 48 - 1], about: "start although acknowledged changes after this generation are damaged or missing; the refused start names it" },
  "tls-cert": { kind: "file", group: TLS, about: "certificate for OpenFlow and OVSDB over TLS" },
  "tls-key": { kind: "file", group: TLS, about: "its private key" },
  "tls-ca": { kind: "file", group: TLS, about: "CA that switches' certificates are verified against" },
  auth: {
    kind: { oneOf: ["none", "tokens", "keystone"] }, group: ACCESS, fallback: "none",
    about: "who callers of the tenant API are. none: who X-Project-Id and X-Roles say, an administrator without them; tokens: who --tokens says of their X-Auth-Token; keystone: who Keystone says",
  },
  tokens: { kind: "file", group: ACCESS, about: "list of {token, project_id, user_id, roles}, YAML or JSON; read again when it changes" },
  "keystone-url": { kind: "url", group: ACCESS, about: "Keystone's address, with or without /v3" },
  "keystone-user": { kind: "text", group: ACCESS, value: "NAME", about: "user that asks Keystone what tokens say" },
  "keystone-password-file": { kind: "file", group: ACCESS, about: "file with that user's password; read again when one is needed" },
  "keystone-project": { kind: "text", group: ACCESS, value: "NAME", fallback: "service", about: "project of that user" },
  "keystone-domain": { kind: "text", group: ACCESS, value: "NAME", fallback: "Default", about: "domain of that user and project, by name or id" },
  "ops-token-file": { kind: "file", group: ACCESS, about: "file with the token that callers of the ops listener bear (Authorization: Bearer), but for /healthz and /readyz; needed where --ops is not loopback; read again when it changes" },
  insecure: { kind: "boolean", group: ACCESS, about: "allow --auth none on a tenant API address that is not loopback, and an ops listener there without --ops-token-file" },
  policy: { kind: "file", group: ACCESS, about: "overrides of access rules in oslo.policy's syntax, YAML or JSON; read again when it changes" },
  "rate-limit": { kind: "text", group: ACCESS, value: "N[:BURST]", about: "requests a second of one project on the tenant API, and how many at once (default: twice N); beyond, 429. Administrators and services have no limit (default: none)" },
  "rate-limit-unauthenticated": { kind: "text", group: ACCESS, value: "N[:BURST]", fallback: "50:500", about: "likewise of one address, of requests without a valid token; 0: no limit" },
  "cors-origins": { kind: "list", group: ACCESS, value: "ORIGIN", about: "web pages of these origins (https://host, http://host:port) may use the tenant API; repeat it or give a list with commas" },
  "allowed-hosts": { kind: "list", group: ACCESS, value: "NAME", about: "names that the Host header may have on listeners on loopback that ask nobody who he is, beside names and addresses of loopback: a proxy's; repeat it or give a list with commas" },
  "disable-app": { kind: "list", group: FUNCTIONS, value: "NAME", about: "leave out a network function: no table, flow, route or attribute of it; repeat it or give a list with commas" },
  shadow: { kind: "boolean", group: RUNNING, about: "compile a copy of what is stored, compare it with what switches that connect have, log what would be changed on each, and touch nothing: no flow, no row, no write of the API" },
  "audit-interval": { kind: "text", group: RUNNING, value: "SECONDS", fallback: "60", within: [1, 86_400], about: "time between audits, which compare a switch's tables with the desired flows and repair them" },
  name: { kind: "text", group: RUNNING, value: "NAME", about: "name of this controller, in logs and metrics and among several on one etcd, where each has its own (default: the hostname)" },
  "log-level": { kind: { oneOf: ["fatal", "error", "warn", "info", "debug", "trace", "silent"] }, group: RUNNING, value: "LEVEL", fallback: "info", about: "pino log level: fatal, error, warn, info, debug, trace, silent" },
  "log-pretty": { kind: "boolean", group: RUNNING, about: "human-readable log lines instead of JSON" },
  config: { kind: "file", group: RUNNING, about: "YAML or JSON file with any of these, by flag name without dashes in front" },
} as const satisfies Record<string, Flag>;

/** An app as far as its settings go. */
export interface Configurable {
  readonly name: string;
  readonly settings?: Settings;
  readonly resources?: readonly AnyResource[];
}

/** The core's flags and those of apps, by name. @throws Error naming both who declare one */
export function allFlags(apps: readonly Configurable[]): ReadonlyMap<string, Flag> {
  const all = new Map<string, Flag>(Object.entries(flags));
  const owners = new Map([...all.keys(), "help", "version"].map((name) => [name, "the core"]));
  for (const app of apps) {
    for (const [name, decl] of Object.entries(app.settings?.declared ?? {})) {
      const other = owners.get(name);
      if (other !== undefined) throw new Error(`setting ${name} is declared by ${other} and by ${app.name}`);
      if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) throw new Error(`setting ${name} of ${app.name}: a name is small letters, digits and dashes`);
      owners.set(name, app.name);
      all.set(name, { ...decl, group: `App ${app.name}:` });
    }
  }
  return all;
}

export type FlagName = keyof typeof flags;
export const flagOf = (name: FlagName): Flag => flags[name];

/** The environment variable of a flag: AXION_DATA_DIR for data-dir. */
export const variableOf = (name: string): string => `AXION_${name.toUpperCase().replaceAll("-", "_")}`;
