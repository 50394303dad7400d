// What the listeners of the API and of operators let in, of a controller that runs: web pages, other names, the ops token; and connections that bring no request.
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, type AddressInfo } from "node:net";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../../src/cli/program.ts";
import { createOps } from "../../src/ops/server.ts";
import { Api } from "../../src/northbound/testing/support.ts";
import { until } from "../../lab/exec.ts";
import { ControllerProcess, httpCall, type HttpAnswer } from "../support/process.ts";

const PAGE = "https://ui.example";
const TOKEN = "0123456789abcdef0123";
const network = { network: { name: "n" } };

let controller: ControllerProcess;
beforeAll(async () => {
  controller = await ControllerProcess.start({ flags: ["--cors-origins", PAGE, "--allowed-hosts", "net.example"] });
});
afterAll(() => controller?.destroy());

describe("on loopback, without a token", () => {
  const foreign: readonly (readonly [what: string, headers: Record<string, string>])[] = [
    ["a name that was pointed here", { host: "evil.example:9696" }],
    ["a page of another origin", { host: "127.0.0.1", origin: "https://evil.example" }],
    ["a page in a sandbox", { host: "127.0.0.1", origin: "null" }],
    ["a page of another port", { host: "localhost:9696", origin: "http://localhost:3000" }],
    ["an image of a page", { host: "127.0.0.1", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }],
  ];

  test.each(foreign)("%s can neither read nor change", async (_what, headers) => {
    const before = await controller.metric("axion_generation");
    for (const [method, path, body] of [["GET", "/v2.0/networks"], ["POST", "/v2.0/networks", network], ["GET", "/"], ["OPTIONS", "/v2.0/networks"], ["GET", "/v1.1/tenants/p/networks"], ["GET", "/nothing"]] as const) {
      const answer = await httpCall(controller.apiPort, method, path, body, { ...headers, "content-type": "text/plain" });
      expect([method, path, answer.status]).toEqual([method, path, 403]);
      expect(answer.text).toMatch(/Host header|web page/);
    }
    for (const [method, path] of [["GET", "/switches"], ["GET", "/flows"], ["DELETE", "/switches/hv1"], ["GET", "/metrics"], ["GET", "/healthz"]] as const) {
      const answer = await httpCall(controller.opsPort, method, path, undefined, headers);
      expect([method, path, answer.status, (answer.body as { error: { code: string } }).error.code]).toEqual([method, path, 403, "FORBIDDEN"]);
    }
    expect(await controller.callsAfter(before)).toEqual([]);
  });

  test("many of them are one line of the log", () => {
    expect(controller.logged(40).filter((line) => /web page/.test(String(line.msg))).map((line) => [line.listener, line.msg])).toEqual([
      ["api", "a request of a web page, or for another host, was refused"], ["ops", "a request of a web page, or for another host, was refused"],
    ]);
  });

  test("programs, a page that is named, the listener's own, and names that are given are let in", async () => {
    for (const headers of [{}, { host: "localhost" }, { host: "net.example" }, { origin: PAGE }, { host: "localhost:1", origin: "http://localhost:1" }]) {
      expect((await httpCall(controller.apiPort, "POST", "/v2.0/networks", network, headers)).status).toBe(201);
    }
    const preflight = await httpCall(controller.apiPort, "OPTIONS", "/v2.0/networks", undefined, { origin: PAGE, "access-control-request-method": "POST" });
    expect([preflight.status, preflight.headers["access-control-allow-origin"]]).toEqual([204, PAGE]);
    for (const headers of [{}, { host: "[::1]:9697" }, { host: "localhost:1", origin: "http://localhost:1" }]) expect((await httpCall(controller.opsPort, "GET", "/switches", undefined, headers)).status).toBe(200);
    expect((await httpCall(controller.opsPort, "GET", "/switches", undefined, { origin: PAGE })).status).toBe(403);
  });
});

test("with a token of the ops listener: who bears it, whatever the page or name; health for all; a new one when the file changes", async () => {
  const file = `${controller.dir}/ops-token`;
  writeFileSync(file, `${TOKEN}\n`);
  const guarded = await ControllerProcess.start({ flags: ["--ops-token-file", file] });
  try {
    const ask = (path: string, headers: Record<string, string> = {}): Promise<HttpAnswer> => httpCall(guarded.opsPort, "GET", path, undefined, headers);
    for (const path of ["/healthz", "/readyz", "/readyz?x=1"]) expect((await ask(path)).status).toBe(200);
    for (const path of ["/metrics", "/switches", "/flows", "/flows/stream", "/policy", "/problems", "/nothing", "/healthz/../switches", "//healthz"]) {
      const answer = await ask(path, { authorization: "Bearer 0123456789abcdef0124" });
      expect([path, answer.status, answer.headers["www-authenticate"]]).toEqual([path, 401, 'Bearer realm="axion"']);
      expect(answer.text).not.toContain(TOKEN);
    }
    expect((await ask("/switches", { authorization: `Bearer ${TOKEN}`, host: "axion.example" })).status).toBe(200);
    expect((await ask("/switches", { "x-auth-token": TOKEN })).status).toBe(200);
    const run = async (...argv: string[]): Promise<readonly [number, string]> => {
      let text = "";
      const add = (part: string): void => {
        text += part;
      };
      return [await runCommand(["--ops-url", `http://127.0.0.1:${guarded.opsPort}`, ...argv], { write: (part) => {
        add(part);
        return Promise.resolve();
      }, error: add }), text];
    };
    expect(await run("switches", "--json", "--ops-token-file", file)).toEqual([0, expect.stringMatching(/^\[\]|switches/) as string]);
    expect(await run("switches")).toEqual([1, expect.stringContaining("wants its token: give --ops-token-file") as string]);
    expect(await run("switches", "--ops-token-file", "/nowhere")).toEqual([2, "axion: --ops-token-file: cannot read /nowhere: no such file\n"]);
    writeFileSync(file, "another0123456789abcdef");
    await until("the new token", async () => (await ask("/switches", { authorization: "Bearer another0123456789abcdef" })).status === 200);
    expect((await ask("/switches", { authorization: `Bearer ${TOKEN}` })).status).toBe(401);
  } finally {
    await guarded.destroy();
  }
});

test("what the API asks a token for is not changed over an ops listener that has none", async () => {
  const tokens = `${controller.dir}/tokens.yaml`;
  writeFileSync(tokens, "- { token: a-secret-of-its-own, project_id: p, roles: [admin] }\n");
  const open = await ControllerProcess.start({ flags: ["--auth", "tokens", "--tokens", tokens] });
  try {
    const call = (method: string, body?: unknown): Promise<HttpAnswer> => httpCall(open.opsPort, "POST", "/call", { method, path: "/v2.0/networks", body });
    expect(await call("POST", network)).toMatchObject({ status: 403, body: { error: { message: expect.stringContaining("--ops-token-file") as string } } });
    expect(await call("GET")).toMatchObject({ status: 200, body: { networks: [] } });
    expect(await httpCall(open.opsPort, "POST", "/plan", { method: "POST", path: "/v2.0/networks", body: network })).toMatchObject({ status: 200 });
  } finally {
    await open.destroy();
  }
});

describe("connections that bring no request", () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  const times = { headMs: 200, wholeMs: 400 };
  const half = "POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{";

  /** What comes until the connection is ended by the listener. */
  async function ended(port: number, text: string): Promise<string> {
    const socket = connect(port, "127.0.0.1");
    let seen = "";
    socket.on("data", (chunk: Buffer) => (seen += chunk.toString())).on("error", () => undefined);
    const closed = new Promise((done) => socket.on("close", done));
    socket.write(text);
    await closed;
    return seen;
  }

  test.each(["api", "ops"])("%s: nothing, half a head, half a body end, told of in one line a kind; more connections than there may be are closed", async (listener) => {
    const api = await Api.make([], { times, connections: 8 }, undefined, undefined, { log });
    const ops = createOps({ log, times, connections: 8, providers: { ready: () => ({ ok: true }), switches: () => [], switch: () => undefined, problems: () => [], removeSwitch: () => Promise.resolve(true), flows: () => [], onFlowEvent: () => () => undefined } });
    const server = listener === "api" ? api.nb : ops;
    await server.listen({ host: "127.0.0.1", port: 0 });
    const { port } = server.server.address() as AddressInfo;
    lines.length = 0;
    try {
      for (const text of ["", "GET / HT", half]) {
        const seen = await Promise.all([ended(port, text), ended(port, text)]);
        expect(seen, text).toEqual(seen.map(() => expect.stringMatching(/HTTP\/1\.1 408 /) as string));
      }
      expect(await ended(port, "\x16\x03\x01\x02\x00\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
      expect(await ended(port, `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(100_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 |^$/);
      const held = Array.from({ length: 8 }, () => connect(port, "127.0.0.1"));
      await Promise.all(held.map((socket) => once(socket, "connect")));
      expect(await ended(port, half)).toBe("");
      for (const socket of held) socket.destroy();
      expect(lines.map((line) => [line.listener, line.msg])).toEqual([
        [listener, "a request that did not come to its end in time was given up"],
        [listener, "what came to a listener is no HTTP"],
        [listener, "a request with too long a head was refused"],
        [listener, "a listener has as many connections as it takes; more are closed at once"],
      ]);
    } finally {
      await server.close();
      await api.close();
    }
  });
});
