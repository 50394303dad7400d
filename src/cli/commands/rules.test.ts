// `axion policy`, also called `axion rules`: what it asks, and what it prints of the answer.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../program.ts";

const used = { id: "r1", group: "g1", group_name: "web", project: "p", direction: "ingress", ethertype: "IPv4", protocol: "tcp", port_range_min: 80, port_range_max: 90, remote: "10.0.0.0/8", ports: 3, use: "used", packets: 12, bytes: 900, last_hit: "2026-01-31T12:00:00Z", since: "2026-01-01T00:00:00.000Z", complete: true, counted_with: [], shadowed_by: [], broad: [], tighten: null };
const never = { ...used, id: "r2", group_name: "", direction: "egress", protocol: null, port_range_min: null, port_range_max: null, remote: null, use: "never", packets: 0, last_hit: null, broad: ["any_address", "any_protocol"], tighten: { why: "unused", method: "DELETE", path: "/v2.0/security-group-rules/r2" } };
const shadowed = { ...used, id: "r3", port_range_max: 80, shadowed_by: ["r1"], tighten: { why: "shadowed", method: "DELETE", path: "/v2.0/security-group-rules/r3" } };
const asked: unknown[] = [];
let answer: unknown = [];
const planned = { token: "tok", generation: 7, switches: { hv1: { add: [], change: ["x"], remove: ["y", "z"] } }, reachability: { gained: [], lost: [], truncated: false, unexamined: 0 } };
let url = "";
const server = http.createServer((request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => {
    asked.push(`${request.url}${text}`);
    response.setHeader("content-type", "application/json");
    const refused = text.includes("r2");
    response.statusCode = refused ? 404 : 200;
    response.end(JSON.stringify(refused ? { error: { code: "CALL_REFUSED", type: "SecurityGroupRuleNotFound", message: "Security group rule r2 does not exist" } } : request.url === "/plan" ? planned : answer));
  });
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(["--ops-url", url, ...argv], { write: (text) => ((out += text), Promise.resolve()), error: (text) => (err += text) });
  return { code, out, err };
}

test("a table, JSON, and the calls that would tighten", async () => {
  answer = [used, never, shadowed];
  expect((await run("policy", "--project", "p", "--group", "g1", "--port", "p1", "--unused-for", "30", "--shadowed")).out).toMatchInlineSnapshot(`
    "RULE  GROUP  ALLOWS                                  PORTS  USE    PACKETS  LAST HIT              COUNTED SINCE             BROAD                     SHADOWED BY
    r1    web    ingress IPv4 tcp 80-90 from 10.0.0.0/8  3      used   12       2026-01-31T12:00:00Z  2026-01-01T00:00:00.000Z  -                         -
    r2    g1     egress IPv4 any to anybody              3      never  0        -                     2026-01-01T00:00:00.000Z  any_address,any_protocol  -
    r3    web    ingress IPv4 tcp 80 from 10.0.0.0/8     3      used   12       2026-01-31T12:00:00Z  2026-01-01T00:00:00.000Z  -                         r1
    "
  `);
  expect(asked).toEqual(["/rules?project=p&group=g1&port=p1&unused-for=30&shadowed=true"]);
  expect((await run("policy", "--tighten")).out).toMatchInlineSnapshot(`
    "DELETE /v2.0/security-group-rules/r2  # unused: egress IPv4 any to anybody, group g1
    DELETE /v2.0/security-group-rules/r3  # shadowed: ingress IPv4 tcp 80 from 10.0.0.0/8, group web
    "
  `);
  expect(JSON.parse((await run("policy", "--json")).out)).toEqual(answer);
  expect(JSON.parse((await run("policy", "--json", "--tighten")).out)).toEqual([never, shadowed]);
  // One that is gone meanwhile is said, and the others planned.
  const { code, out, err } = await run("policy", "--tighten", "--plan");
  expect([code, err]).toEqual([1, "axion: DELETE /v2.0/security-group-rules/r2: Security group rule r2 does not exist\n"]);
  expect(out).toMatchInlineSnapshot(`
    "DELETE /v2.0/security-group-rules/r3  # shadowed: ingress IPv4 tcp 80 from 10.0.0.0/8, group web
      flows hv1 +0 ~1 -2; no ports gain or lose each other
      axion plan DELETE /v2.0/security-group-rules/r3 --apply tok
    "
  `);
  expect(asked.slice(-2)).toEqual(["r2", "r3"].map((id) => `/plan{"method":"DELETE","path":"/v2.0/security-group-rules/${id}"}`));
  expect(JSON.parse((await run("policy", "--tighten", "--plan", "--json")).out)).toEqual({ ...shadowed, plan: planned });
  expect(await run("policy", "--plan")).toMatchObject({ code: 2, out: "", err: expect.stringContaining("--plan is for --tighten") as string });
  answer = [used];
  expect((await run("policy", "--tighten")).out).toBe("nothing to tighten\n");
  answer = [];
  expect((await run("rules")).out).toBe("no rules\n");
});
