// `axion status`, `switches`, `tunnels`, `problems`, `history`, `store accept` and `complete` by their words: what each asks of the ops listener, and what it
// prints of the answer, letter by letter.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runCommand } from "../program.ts";

/** Answers by path; `[status, body]` where it is not 200. */
let answers: Readonly<Record<string, unknown>> = {};
const asked: string[] = [];
let url = "";
const server = http.createServer((request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => (text += chunk.toString())).on("end", () => {
    asked.push(`${request.method} ${request.url}${text === "" ? "" : ` ${text}`}`);
    const answer = answers[request.url!.split("?")[0]!];
    const [status, body] = Array.isArray(answer) && typeof answer[0] === "number" ? (answer as [number, unknown]) : [answer === undefined ? 404 : 200, answer ?? { error: { message: "there is nothing" } }];
    response.writeHead(status, { "content-type": "application/json" }).end(typeof body === "string" ? body : JSON.stringify(body));
  });
});
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => asked.splice(0));

async function run(...argv: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(["--ops-url", url, ...argv], { write: (text) => ((out += text), Promise.resolve()), error: (text) => (err += text) });
  return { code, out, err };
}

const flows = { desired: 120, installed: 118, pending: 2, quarantined: 0 };
const hv1 = { id: "hv1", state: "connected", database: "connected", ovs_version: "3.1.0", encap_ip: "172.31.0.1", encap_types: ["geneve", "vxlan"], flows, last_error: null };
const hv2 = { id: "hv2\u001b[2J", state: "held", database: "disconnected", ovs_version: null, encap_ip: null, encap_types: [], flows: { desired: 0, installed: 300, pending: 0, quarantined: 0 }, last_error: "OFPET_BAD_ACTION" };
const metrics = 'axion_info{name="first",version="0.1.0"} 1\naxion_generation 41\naxion_compiled_generation 40\n';

test("status: ready, and what is held", async () => {
  answers = { "/healthz": {}, "/readyz": {}, "/metrics": metrics, "/switches": { switches: [hv1, hv2] } };
  expect(await run("status")).toEqual({
    code: 0, err: "",
    out: `controller  first, version 0.1.0, at ${url}
ready       yes
generation  41, compiled 40
switches    2 total, 1 connected, 0 syncing, 1 held, 0 disconnected
held        hv2\ufffd[2J: what is stored would remove much of what they have; axion problems says more
flows       120 desired, 418 installed, 2 pending, 0 quarantined
`,
  });
  expect(asked.sort()).toEqual(["GET /cluster", "GET /healthz", "GET /metrics", "GET /readyz", "GET /switches"]);
});

test("status: not ready is 1, with why", async () => {
  answers = { "/healthz": {}, "/readyz": [503, { reason: "no room on the disk" }], "/metrics": "", "/switches": { switches: [] } };
  const { code, out } = await run("status");
  expect([code, out.split("\n").slice(0, 3)]).toEqual([1, [`controller  -, version -, at ${url}`, "ready       no: no room on the disk", "generation  -, compiled -"]]);
  expect(JSON.parse((await run("status", "--json")).out)).toMatchObject({ ready: false, reason: "no room on the disk", generation: null, switches: { total: 0 } });
});

test("switches: all, one, none", async () => {
  answers = { "/switches": { switches: [hv1, hv2] }, "/switches/hv1": { switch: hv1 } };
  expect(await run("switches")).toEqual({
    code: 0, err: "",
    out: `SWITCH   STATE      MASTER  DATABASE      OVS    ENCAP IP    ENCAP         DESIRED  INSTALLED  PENDING  QUARANTINED  LAST ERROR
hv1      connected  -       connected     3.1.0  172.31.0.1  geneve,vxlan  120      118        2        0            -
hv2\ufffd[2J  held       -       disconnected  -      -           -             0        300        0        0            OFPET_BAD_ACTION
`,
  });
  expect((await run("switches", "hv1")).out).toBe(`id                 hv1
state              connected
database           connected
ovs_version        3.1.0
encap_ip           172.31.0.1
encap_types        geneve,vxlan
flows.desired      120
flows.installed    118
flows.pending      2
flows.quarantined  0
last_error         -
`);
  answers = { "/switches": { switches: [] } };
  expect((await run("switches")).out).toBe("no switches\n");
  expect(await run("switches", "a/b")).toEqual({ code: 1, out: "", err: "axion: there is nothing\n" });
  expect(asked.at(-1)).toBe("GET /switches/a%2Fb");
});

test("tunnels: the worst first, hosts in the order of their numbers", async () => {
  const tunnel = { type: "geneve", state: "up", since: "2026-01-31T12:00:00.000Z", latency_ms: 0.1, loss: 0, mtu: 1500, bfd: "up" };
  answers = { "/tunnels": [{ ...tunnel, from: "hv10", to: "hv2" }, { ...tunnel, from: "hv2", to: "hv10", bfd: null }, { ...tunnel, from: "hv3", to: "hv1", state: "down", latency_ms: null, loss: 0.34375, mtu: null }] };
  expect(await run("tunnels", "--switch", "hv2", "--state", "up")).toEqual({
    code: 0, err: "",
    out: `FROM  TO    TYPE    STATE  SINCE                     LATENCY (ms)  LOSS  MTU   BFD
hv3   hv1   geneve  down   2026-01-31T12:00:00.000Z  -             34%   -     up
hv2   hv10  geneve  up     2026-01-31T12:00:00.000Z  0.1           0%    1500  -
hv10  hv2   geneve  up     2026-01-31T12:00:00.000Z  0.1           0%    1500  up
`,
  });
  expect(asked).toEqual(["GET /tunnels?switch=hv2&state=up"]);
  answers = { "/tunnels": [] };
  expect((await run("tunnels")).out).toBe("no tunnels\n");
  answers = {};
  expect(await run("tunnels")).toEqual({ code: 1, out: "", err: `axion: the controller at ${url} has no GET /tunnels (404): its version does not answer this\n` });
});

test("problems: each with its cure; none", async () => {
  answers = { "/problems": [
    { kind: "switch_held", severity: "critical", since: "2026-01-31T12:00:00.000Z", text: "hv2 is held", resources: [], switches: ["hv2"], cure: { text: "axion store accept" } },
    { kind: "l2.plugged_twice", severity: "error", since: "2026-01-31T12:01:00.000Z", text: "port p1\u001b]0;x", resources: [{ type: "port", id: "p1" }], switches: ["hv1", "hv2"], cure: { text: "unplug one" } },
  ] };
  expect(await run("problems")).toEqual({
    code: 0, err: "",
    out: `critical switch_held: hv2 is held
  since      2026-01-31T12:00:00.000Z
  switches   hv2
  cure       axion store accept
error l2.plugged_twice: port p1\ufffd]0;x
  since      2026-01-31T12:01:00.000Z
  switches   hv1,hv2
  resources  port:p1
  cure       unplug one
`,
  });
  answers = { "/problems": [] };
  expect(await run("problems")).toEqual({ code: 0, err: "", out: "no problems\n" });
  expect((await run("problems", "--json")).out).toBe("[]\n");
});

test("history: a list, and what differs between two instants, flows of a switch with it", async () => {
  const port = { id: "p1", name: "web", status: "DOWN" };
  answers = {
    "/history": [
      { generation: 9, at: "2026-01-31T12:00:00.000Z", call: "PUT /v2.0/ports/p1", project: "acme", user: "u1", changes: [{ type: "port", id: "p1", before: port, after: { ...port, status: "ACTIVE", tags: ["a"] } }] },
      { generation: 8, at: "2026-01-31T11:00:00.000Z", call: "POST /v2.0/ports", project: null, changes: [{ type: "port", id: "p1", before: null, after: port }, { type: "port", id: "p0", before: { id: "p0" }, after: null }] },
    ],
    "/history/diff": { changes: [{ type: "port", id: "p1", before: null, after: port }], flows: { switch: "hv1", add: ["table=3 actions=drop"], change: [], remove: ["table=4 actions=drop"] } },
  };
  expect(await run("history", "--resource", "p1", "--limit", "2")).toEqual({
    code: 0, err: "",
    out: `9  2026-01-31T12:00:00.000Z  PUT /v2.0/ports/p1  project acme  user u1
  ~ port p1 (web)
      status: DOWN -> ACTIVE
      tags: - -> a
8  2026-01-31T11:00:00.000Z  POST /v2.0/ports
  + port p1 (web)
  - port p0
`,
  });
  expect((await run("history", "--from", "7", "--to", "9", "--switch", "hv1")).out).toBe(`  + port p1 (web)
  hv1: 1 flows added, 0 changed, 1 removed
    + table=3 actions=drop
    - table=4 actions=drop
`);
  expect(asked).toEqual(["GET /history?resource=p1&limit=2", "GET /history/diff?from=7&to=9&switch=hv1"]);
});

test("store accept: which switches, and 1 when none is held", async () => {
  answers = { "/store/accept": { accepted: ["hv1", "hv2"] } };
  expect(await run("store", "accept")).toEqual({ code: 0, err: "", out: "2 switches are made what is stored: hv1, hv2\n" });
  answers = { "/store/accept": { accepted: ["hv1"] } };
  expect((await run("store", "accept", "--switch", "hv1")).out).toBe("1 switch is made what is stored: hv1\n");
  answers = { "/store/accept": { accepted: [] } };
  expect(await run("store", "accept")).toEqual({ code: 1, err: "", out: "no switch is held\n" });
  expect(asked).toEqual(["POST /store/accept", "POST /store/accept?switch=hv1", "POST /store/accept"]);
});

test("complete: names that a shell takes for words, and no others: bash expands what it is offered", async () => {
  answers = { "/switches": { switches: [{ id: "hv1" }, { id: "$(reboot)" }, { id: "a b" }, { id: "hv-2.example" }, { id: "-x" }] }, "/pipeline": { tables: [{ id: 0, name: "classify", app: "l2" }], apps: ["l2", "nat"] } };
  expect(await run("complete", "switches")).toEqual({ code: 0, err: "", out: "hv1\nhv-2.example\n" });
  expect((await run("complete", "tables")).out).toBe("classify\n");
  expect((await run("complete", "apps")).out).toBe("l2\nnat\n");
});

test("questions by GET have no body, however the answer is read", async () => {
  answers = { "/flows": { flows: [] } };
  await run("flows");
  await run("flows", "--format", "text");
  expect(asked).toEqual(["GET /flows?raw=0", "GET /flows?format=text"].map((one) => expect.stringMatching(new RegExp(`^${one.split("?")[0]!}(\\?[^ ]*)?$`)) as string));
});
