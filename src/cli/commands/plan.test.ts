// `axion plan` and `axion receipts`: what they ask, and what they print of the answer.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../program.ts";

const planned = {
  token: "tok", generation: 7, answer: { status: 200, body: {} },
  objects: [{ op: "update", type: "port", id: "p1", before: { name: "a", admin_state_up: true }, after: { name: "a", admin_state_up: false } }],
  reachability: {
    gained: [], truncated: true, unexamined: 12,
    lost: [{ from: "p2", to: "p1", ethertype: "IPv4", protocol: "icmp", port: null }, { from: "p2", to: "p1", ethertype: "IPv6", protocol: "tcp", port: 80, port_max: 85, address: "fd00::5" }, { from: "p1", to: "external", ethertype: "IPv4", protocol: "udp", port: 53 }],
  },
  switches: { hv1: { add: ["cookie=0x1, table=2, priority=3 actions=drop"], change: [], remove: ["cookie=0x1, table=2, priority=4,ip actions=drop"] } },
};
const receipt = {
  generation: 7, call: "PUT /v2.0/ports/p1", project: "p", committed_at: "2026-01-31T12:00:00.000Z", complete: false,
  switches: { hv1: { sent_at: "2026-01-31T12:00:00.001Z", confirmed_at: "2026-01-31T12:00:00.005Z", ms: 5 }, hv2: { sent_at: null, confirmed_at: null, ms: null } },
};

const asked: unknown[] = [];
let url = "";
let folder = "";
const server = http.createServer((request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => {
    asked.push([request.method, request.url, text === "" ? undefined : JSON.parse(text)]);
    if (request.url === "/call") return response.writeHead(204, { "x-axion-generation": "8" }).end();
    response.setHeader("content-type", "application/json");
    const refused = request.url === "/plan" && text.includes("refused");
    response.statusCode = refused ? 409 : 200;
    response.end(JSON.stringify(refused ? { error: { code: "CALL_REFUSED", type: "OverQuota", message: "Quota exceeded" } } : request.url === "/plan" ? planned : request.url!.startsWith("/receipts?") || request.url === "/receipts" ? [receipt, { ...receipt, generation: 6, switches: {}, complete: true, project: null }] : receipt));
  });
});
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "axion-plan-"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(["--ops-url", url, ...argv], { write: (text) => ((out += text), Promise.resolve()), error: (text) => (err += text) });
  return { code, out, err };
}

test("a plan: resources, flows, and how to make it", async () => {
  asked.length = 0;
  const file = join(folder, "body.json");
  writeFileSync(file, '{"port":{"admin_state_up":false}}');
  const { code, out } = await run("plan", "put", "/v2.0/ports/p1", `@${file}`, "--project", "p", "--roles", "reader");
  expect([code, asked]).toEqual([0, [["POST", "/plan", { method: "put", path: "/v2.0/ports/p1", body: { port: { admin_state_up: false } }, project: "p", roles: "reader" }]]]);
  expect(out).toMatchInlineSnapshot(`
    "PUT /v2.0/ports/p1 as of generation 7: status 200
    resources
      ~ port p1 (a)
          admin_state_up: true -> false
    flows
      hv1: 1 flows added, 0 changed, 1 removed
        + cookie=0x1, table=2, priority=3 actions=drop
        - cookie=0x1, table=2, priority=4,ip actions=drop
    reachability
      - p2 -> p1  icmp
      - p2 -> p1 at fd00::5  tcp 80-85 by IPv6
      - p1 -> external  udp 53
      not all was looked at: 12 more pairs and classes of traffic, at least
    to make it: the same with --apply tok, or the call with the header X-Axion-Plan: tok
    "
  `);
  expect(JSON.parse((await run("plan", "DELETE", "/v2.0/ports/p1", "--json")).out)).toEqual(planned);
});

test("a plan that is applied: the call with its token", async () => {
  asked.length = 0;
  expect(await run("plan", "delete", "/v2.0/ports/p1", "--project", "p", "--apply", "tok")).toEqual({ code: 0, out: "DELETE /v2.0/ports/p1: status 204, generation 8\n", err: "" });
  expect(asked).toEqual([["POST", "/call", { method: "delete", path: "/v2.0/ports/p1", project: "p", plan: "tok" }]]);
  expect(JSON.parse((await run("plan", "DELETE", "/v2.0/ports/p1", "--apply", "tok", "--json")).out)).toEqual({ status: 204, generation: 8, answer: null });
});

test("receipts: the last ones, and one switch by switch", async () => {
  expect((await run("receipts", "--limit", "2")).out).toMatchInlineSnapshot(`
    "GENERATION  COMMITTED                 CONFIRMED  MS  COMPLETE  PROJECT  CALL
    7           2026-01-31T12:00:00.000Z  1/2        5   no        p        PUT /v2.0/ports/p1
    6           2026-01-31T12:00:00.000Z  0/0        -   yes       -        PUT /v2.0/ports/p1
    "
  `);
  expect((await run("receipts", "7")).out).toMatchInlineSnapshot(`
    "7  2026-01-31T12:00:00.000Z  PUT /v2.0/ports/p1  project p  not complete
    SWITCH  SENT                      CONFIRMED                 MS
    hv1     2026-01-31T12:00:00.001Z  2026-01-31T12:00:00.005Z  5
    hv2     -                         -                         -
    "
  `);
  expect(JSON.parse((await run("receipts", "7", "--json")).out)).toEqual(receipt);
});

test.each<readonly [argv: readonly string[], code: number, message: RegExp]>([
  [["plan", "PUT"], 2, /missing required argument 'path'/],
  [["plan", "PUT", "/v2.0/ports/p1", "{"], 2, /the body is not JSON/],
  [["plan", "PUT", "/v2.0/ports/p1", "@/nowhere/x"], 2, /cannot read \/nowhere\/x/],
  [["plan", "PUT", "/v2.0/ports/p1", "--roles", "x"], 2, /--roles are those of a --project's caller/],
  [["plan", "POST", "/v2.0/refused"], 1, /the controller refuses it \(409\): Quota exceeded/],
  [["plan", "PUT", "/v2.0/ports/p1", "--apply", ""], 2, /--apply: the token is empty/],
  [["receipts", "x"], 2, /a generation is a whole number, not x/],
  [["receipts", "3", "--limit", "1"], 2, /one generation needs no --limit/],
])("%j", async (argv, code, message) => {
  const answer = await run(...argv);
  expect([answer.code, answer.out]).toEqual([code, ""]);
  expect(answer.err).toMatch(message);
});
