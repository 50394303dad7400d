// `axion trace` by its words, on an answer of a controller.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../program.ts";

const hop = { switch: "hv1", table_id: 0, table: "classify", priority: 100, match: "in_port=1", actions: "resubmit(,4)", cookie: "0xa0", app: "l2", rule: "local-port", resources: [{ type: "port", id: "p1", name: "web" }], installed: true, state: "desired" };
const delivered = { verdict: "delivered", delivered: [{ switch: "hv2", port: "tap1", id: "p2" }], hops: [hop, { ...hop, switch: "hv2", installed: false }], cause: null, notes: [] };
const dropped = {
  verdict: "dropped", delivered: [], hops: [hop, { ...hop, table: "sg_in", priority: null, match: "", actions: "drop", rule: "", resources: [], installed: false, state: "miss" }], notes: ["hv2 is not connected\u001b[2J"],
  cause: { reason: "security_group", text: "no ingress rule of port p2 allows tcp 80 from 10.0.0.1", resources: [{ type: "port", id: "p2" }], cure: { text: "the smallest rule that lets it pass", call: { method: "POST", path: "/v2.0/security-group-rules", body: { security_group_rule: { protocol: "tcp" } } } } },
};
const asked: unknown[] = [];
let answer: object = {};
let server: http.Server;
beforeAll(async () => {
  server = http.createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      asked.push([request.method, request.url, request.headers["content-type"], JSON.parse(text)]);
      response.setHeader("content-type", "application/json");
      response.statusCode = "error" in answer ? (answer.error as { code: string }).code === "NOT_FOUND" ? 404 : 400 : 200;
      response.end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => server.close());

async function run(...argv: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(["trace", "--ops-url", `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ...argv], { write: (text) => Promise.resolve(void (out += text)), error: (text) => (err += text) });
  return { code, out, err };
}

test("a way and the way back", async () => {
  answer = { ...delivered, answer: { ...delivered, hops: [hop] } };
  expect(await run("p1", "p2", "--protocol", "tcp", "--port", "80", "--size", "900")).toEqual({
    code: 0, err: "",
    out: `  hv1
    classify              100  l2/local-port  port web (p1)
  hv2
    classify              100  l2/local-port  port web (p1) [not on the switch]
  out of hv2 by tap1 (p2)
delivered

and back
  hv1
    classify              100  l2/local-port  port web (p1)
  out of hv2 by tap1 (p2)
delivered
`,
  });
  expect(asked.pop()).toEqual(["POST", "/trace", "application/json", { from: "p1", to: "p2", protocol: "tcp", port: 80, size: 900 }]);
  await run("p1", "p2", "--at", "17");
  expect(asked.pop()).toEqual(["POST", "/trace", "application/json", { from: "p1", to: "p2", at: "17" }]);
  expect((await run("--switch", "hv1", "--flow", "in_port=1", "--no-reverse", "--hops")).out).toContain("      in_port=1\n      -> resubmit(,4)\n");
  expect(asked.pop()).toEqual(["POST", "/trace", "application/json", { switch: "hv1", flow: "in_port=1", reverse: false }]);
});

test("a drop, its cause and what helps", async () => {
  answer = { ...dropped, answer: null };
  expect(await run("p1", "p2")).toEqual({
    code: 1, err: "",
    out: `  hv1
    classify              100  l2/local-port  port web (p1)
    sg_in                   - [miss]
  note: hv2 is not connected\ufffd[2J
dropped: security_group: no ingress rule of port p2 allows tcp 80 from 10.0.0.1
  of    port p2
  cure  the smallest rule that lets it pass
        POST /v2.0/security-group-rules {"security_group_rule":{"protocol":"tcp"}}
`,
  });
  expect(JSON.parse((await run("p1", "p2", "--json")).out)).toEqual(answer);
});

test("what would arrive, if a host did that is not connected", async () => {
  const cause = { reason: "not_connected", text: "would be delivered: hv2 is not connected, and what is there, and whether it runs, is not known", resources: [], cure: { text: "axion problems says why" } };
  answer = { ...delivered, verdict: "unknown", cause, answer: null };
  const { code, out } = await run("p1", "p2");
  expect([code, out.split("\n").slice(-4)]).toEqual([1, ["  out of hv2 by tap1 (p2)", "unknown: not_connected: would be delivered: hv2 is not connected, and what is there, and whether it runs, is not known", "  cure  axion problems says why", ""]]);
  // And what answers it.
  answer = { ...delivered, answer: { ...delivered, verdict: "unknown", cause } };
  expect((await run("p1", "p2")).code).toBe(1);
});

test("what cannot be asked", async () => {
  for (const argv of [[], ["p1"], ["p1", "p2", "--switch", "hv1"], ["p1", "p2", "--port", "http"], ["p1", "p2", "--ct", "old"]]) expect([argv, (await run(...argv)).code]).toEqual([argv, 2]);
});

test("an end that is not there is named as what was typed wrong; a switch that is not there is none", async () => {
  for (const [said, code, typed] of [["from: there is no port web", 2, "FROM: there is no port web"], ["to: there is no port db", 2, "TO: there is no port db"], ["switch: there is no switch hv9", 1, "switch: there is no switch hv9"]] as const) {
    answer = { error: { code: "NOT_FOUND", message: said } };
    expect(await run("web", "db")).toEqual({ code, out: "", err: `axion: ${typed}\n` });
  }
});

test("what the controller cannot read is named as it was typed", async () => {
  for (const [said, typed] of [["source_port: is no whole number", "--source-port: is no whole number"], ["port: is missing", "--port: is missing"], ["to: is missing", "TO: is missing"], ["several: words: here", "--several: words: here"], ["no key", "no key"]] as const) {
    answer = { error: { code: "BAD_QUERY", message: said } };
    expect(await run("p1", "p2", "--protocol", "udp", "--port", "67", "--source-port", "68")).toEqual({ code: 2, out: "", err: `axion: ${typed}\n` });
  }
  expect(asked.pop()).toEqual(["POST", "/trace", "application/json", { from: "p1", to: "p2", protocol: "udp", port: 67, source_port: 68 }]);
});
