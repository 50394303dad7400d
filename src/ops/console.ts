// GET /console/: the operator's web console, static files that the build made. They hold nothing of anybody's, so they are had without a token; all that
// they show they ask for like any other client. What the page may load and run is what came with it.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { OpsServer } from "./server.ts";

/** Where `npm run build` puts it: beside what this file is compiled to. */
export const consoleFolder = fileURLToPath(new URL(import.meta.url.endsWith("/dist/src/ops/console.js") ? "../../console" : "../../dist/console", import.meta.url));

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml" };
/** What was compressed when it was built, the better first. */
const ENCODINGS = [["br", ".br"], ["gzip", ".gz"]] as const;

export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types svelte-trusted-html",
].join("; ");

interface Kept {
  readonly type: string;
  /** Its name changes with what is in it. */
  readonly lasting: boolean;
  readonly plain: Buffer;
  readonly compressed: ReadonlyMap<string, Buffer>;
}

/** All that is in the folder, by path; empty: it was not built. */
function read(folder: string): Map<string, Kept> {
  const files = new Map<string, Kept>();
  let entries;
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch {
    return files;
  }
  const found = new Set(entries.filter((entry) => entry.isFile()).map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name))));
  for (const name of found) {
    const type = TYPES[path.extname(name)];
    if (type === undefined) continue;
    const compressed = new Map(ENCODINGS.flatMap(([encoding, suffix]) => (found.has(name + suffix) ? [[encoding, readFileSync(path.join(folder, name + suffix))] as const] : [])));
    files.set(name, { type, lasting: name.startsWith("assets/"), plain: readFileSync(path.join(folder, name)), compressed });
  }
  return files;
}

const accepts = (header: string | undefined, encoding: string): boolean =>
  (header ?? "").split(",").some((part) => {
    const [name, ...parameters] = part.trim().toLowerCase().split(/\s*;\s*/);
    return name === encoding && !parameters.some((p) => /^q=0(\.0*)?$/.test(p));
  });

/** Adds `GET /console/` and what is below it. The files are read once, now: a few hundred kilobytes. */
export function consoleRoutes(server: OpsServer, folder = consoleFolder): void {
  const files = read(folder);
  function send(name: string, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    void reply.headers({
      "content-security-policy": CONTENT_SECURITY_POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin", "permissions-policy": "camera=(), geolocation=(), microphone=()", vary: "accept-encoding",
    });
    const file = files.get(name);
    if (file === undefined) {
      const message = files.size === 0 ? "the console was not built: npm run build" : `the console has no file ${name.slice(0, 128)}`;
      return reply.code(404).send({ error: { code: "NOT_FOUND", message } });
    }
    void reply.header("cache-control", file.lasting ? "public, max-age=31536000, immutable" : "no-cache").type(file.type);
    for (const [encoding] of ENCODINGS) {
      const bytes = file.compressed.get(encoding);
      if (bytes !== undefined && accepts(request.headers["accept-encoding"], encoding)) return reply.header("content-encoding", encoding).send(bytes);
    }
    return reply.send(file.plain);
  }
  server.get("/console", (_request, reply) => reply.redirect("/console/", 308));
  server.get("/console/", (request, reply) => send("index.html", request, reply));
  server.get<{ Params: { "*": string } }>("/console/*", (request, reply) => send(request.params["*"], request, reply));
}
