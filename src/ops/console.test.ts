// The console's files as the ops listener serves them.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { brotliCompressSync, brotliDecompressSync, gzipSync } from "node:zlib";
import { pino } from "pino";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { OpsTokenFile } from "./access.ts";
import { consoleRoutes } from "./console.ts";
import { createOps, type OpsServer } from "./server.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-console-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const built = path.join(dir, "console");
mkdirSync(path.join(built, "assets"), { recursive: true });
for (const [name, text] of [["index.html", "<!doctype html>"], ["assets/index-1.js", "export {};"], ["secret.json", "{}"]] as const) {
  writeFileSync(path.join(built, name), text);
  writeFileSync(path.join(built, `${name}.br`), brotliCompressSync(text));
  writeFileSync(path.join(built, `${name}.gz`), gzipSync(text));
}
writeFileSync(path.join(dir, "outside.js"), "no");

const log = pino({ level: "silent" });
const token = "0123456789abcdef0123";
let ops: OpsServer | undefined;
let held: OpsTokenFile | undefined;
function make(options: { folder?: string; withToken?: boolean } = {}): OpsServer {
  if (options.withToken === true) {
    writeFileSync(path.join(dir, "token"), token);
    held = new OpsTokenFile(path.join(dir, "token"), log);
  }
  ops = createOps({
    log, ...(held === undefined ? {} : { access: held }),
    providers: { ready: () => ({ ok: true }), switches: () => [], switch: () => undefined, problems: () => [], removeSwitch: () => Promise.resolve(false), flows: () => [], onFlowEvent: () => () => undefined },
  });
  consoleRoutes(ops, options.folder ?? built);
  return ops;
}
afterEach(async () => {
  await ops?.close();
  held?.close();
  held = undefined;
});

describe("the console's files", () => {
  test("are had without a token, what they show is not", async () => {
    const server = make({ withToken: true });
    for (const url of ["/console/", "/console/assets/index-1.js", "/console"]) expect((await server.inject(url)).statusCode, url).toBeLessThan(400);
    for (const url of ["/switches", "/problems", "/flows", "/console/../switches", "/console%2f..%2fswitches", "//console/"]) expect((await server.inject(url)).statusCode, url).toBeGreaterThanOrEqual(401);
    expect((await server.inject({ method: "POST", url: "/console/" })).statusCode).toBe(401);
    expect((await server.inject({ url: "/switches", headers: { authorization: `Bearer ${token}` } })).statusCode).toBe(200);
  });

  test("come with a policy that lets nothing in but themselves", async () => {
    const { headers } = await make().inject("/console/");
    expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
    expect(headers["content-security-policy"]).not.toMatch(/unsafe|https?:|\*/);
    expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "content-type": "text/html; charset=utf-8", "cache-control": "no-cache" });
    expect((await make().inject("/console/assets/index-1.js")).headers["cache-control"]).toContain("immutable");
  });

  test("are compressed as the client takes it", async () => {
    const server = make();
    const of = async (encoding: string) => server.inject({ url: "/console/", headers: { "accept-encoding": encoding } });
    expect(brotliDecompressSync((await of("gzip, deflate, br")).rawPayload).toString()).toBe("<!doctype html>");
    expect((await of("gzip, br;q=0")).headers["content-encoding"]).toBe("gzip");
    const plain = await of("identity");
    expect(plain.headers["content-encoding"]).toBeUndefined();
    expect(plain.headers.vary).toBe("accept-encoding");
    expect(plain.body).toBe("<!doctype html>");
  });

  test("are those of the build and no others", async () => {
    const server = make();
    for (const url of ["/console/none.js", "/console/secret.json", "/console/..%2foutside.js", "/console/%2e%2e/outside.js", "/console/index.html.br", `/console/${"x".repeat(500)}`]) {
      const answer = await server.inject(url);
      expect(answer.statusCode, url).toBe(404);
      expect(answer.json<{ error: { message: string } }>().error.message.length).toBeLessThan(300);
    }
  });

  test("say how they are made where they are not", async () => {
    const answer = await make({ folder: path.join(dir, "none") }).inject("/console/");
    expect(answer.statusCode).toBe(404);
    expect(answer.body).toContain("npm run build");
  });
});
