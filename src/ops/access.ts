// Who is let in at the ops listener: who bears the token that a file has, or, without one, whatever is no web page (lib/http/door.ts).
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Logger } from "pino";
import { WatchedFile } from "../lib/files.ts";
import { refusedAtDoor, type Door } from "../lib/http/door.ts";

const SHORTEST = 16;
const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();

/** @throws Error of one line */
export function parseOpsToken(text: string): string {
  const token = text.trim();
  if (token.length < SHORTEST || token.length > 1024 || !/^[\x21-\x7e]+$/.test(token)) throw new Error(`must hold one token of ${SHORTEST} to 1024 printable characters without spaces`);
  return token;
}

export class OpsTokenFile extends WatchedFile {
  private readonly held: { hash: Buffer };

  /** @throws Error of one line: the first file must be a good one */
  constructor(path: string, log: Logger) {
    const held: { hash: Buffer } = { hash: Buffer.alloc(32) };
    super(path, {
      what: "file of the ops token", kind: "ops_token_file", otherwise: "the token before it stays in force", log, cure: "Mend the file: it is read again when it changes.",
      use: (text) => {
        held.hash = hashOf(parseOpsToken(text));
      },
    });
    this.held = held;
  }

  /** Whether a request bears it: as `Authorization: Bearer`, or as X-Auth-Token. */
  isBorneBy(headers: IncomingHttpHeaders): boolean {
    const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    const other = headers["x-auth-token"];
    const given = bearer ?? (typeof other === "string" ? other : undefined);
    return given !== undefined && timingSafeEqual(hashOf(given), this.held.hash);
  }
}

export interface Refusal {
  readonly status: 401 | 403;
  readonly code: "UNAUTHENTICATED" | "FORBIDDEN";
  readonly message: string;
  /** A constant, for the log. */
  readonly line: string;
}

/** They say nothing of anybody's, and who asks for them has seldom a token: a browser gives none for a page's files. */
const FOR_ALL: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/console"]);
const isForAll = (method: string, path: string): boolean => FOR_ALL.has(path) || (path.startsWith("/console/") && (method === "GET" || method === "HEAD"));

/** Undefined: it is let in. */
export function refusedBy(access: OpsTokenFile | Door, method: string, url: string, headers: IncomingHttpHeaders): Refusal | undefined {
  if (access instanceof OpsTokenFile) {
    if (isForAll(method, url.split("?", 1)[0]!) || access.isBorneBy(headers)) return undefined;
    const message = "a token is needed, as Authorization: Bearer: the file of --ops-token-file has it";
    return { status: 401, code: "UNAUTHENTICATED", message, line: "a request without the ops token was refused" };
  }
  const message = refusedAtDoor(access, method, headers);
  return message === undefined ? undefined : { status: 403, code: "FORBIDDEN", message, line: "a request of a web page, or for another host, was refused" };
}
