/**
 * Servers as Open vSwitch spells them, ovsdb(7) "Active connections": `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:PATH`, a
 * cluster's members one after another with commas between.
 */

import type { ConnectionOptions } from "node:tls";

import type { ConnectTarget } from "./connect.ts";
import { OvsdbValueError } from "../wire/errors.ts";

/** The port that is registered for OVSDB. */
export const OVSDB_PORT = 6640;

/** A server to connect to and what to call it in events and messages. */
export interface Remote {
  readonly name: string;
  readonly target: ConnectTarget;
}

const fail = (details: string): never => { throw new OvsdbValueError("syntax error", { details }); };

/**
 * Parses remotes. An `ssl:` remote needs `tls` (key, cert and ca, which Open vSwitch has in files); whoever holds a
 * certificate of that authority is trusted, as Open vSwitch does it, unless `tls` says otherwise by checkServerIdentity.
 * @throws OvsdbValueError
 */
export function parseRemotes(text: string, tls?: ConnectionOptions): Remote[] {
  const remotes = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (remotes.length === 0) fail("no server is named");
  return remotes.map((name) => ({ name, target: parseTarget(name, tls) }));
}

function parseTarget(name: string, tls: ConnectionOptions | undefined): ConnectTarget {
  const scheme = name.slice(0, name.indexOf(":") + 1), rest = name.slice(scheme.length);
  switch (scheme) {
    case "unix:":
      return rest === "" ? fail(`${name}: the path of the socket is missing`) : { path: rest };
    case "tcp:":
      return parseHost(name, rest);
    case "ssl:":
      if (tls === undefined) return fail(`${name}: a private key, a certificate and the authority's certificate are needed`);
      return { ...parseHost(name, rest), tls: { checkServerIdentity: () => undefined, ...tls } };
    default:
      return fail(`${JSON.stringify(name)} is no server: expected tcp:HOST:PORT, ssl:HOST:PORT or unix:PATH`);
  }
}

function parseHost(name: string, text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? OVSDB_PORT : Number(match[3]);
  if (host === undefined || port < 1 || port > 65535) return fail(`${name}: expected HOST:PORT; an IPv6 address goes in brackets`);
  return { host, port };
}

/** What to call a target. */
export function targetName(target: ConnectTarget): string {
  if ("path" in target) return `unix:${target.path}`;
  const host = target.host ?? "127.0.0.1";
  return `${target.tls === undefined ? "tcp" : "ssl"}:${host.includes(":") ? `[${host}]` : host}:${target.port}`;
}
