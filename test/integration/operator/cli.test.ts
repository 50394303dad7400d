// The operator's command as a process of its own, on a real controller with real switches, and where there is none.
// Over 400 lines: all of it is asked of one controller, which takes longer to start than to ask.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { repositoryRoot } from "../../../lab/controller.ts";
import { version } from "../../../src/lib/version.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";
import { callsBetween } from "../../support/process.ts";

const root = repositoryRoot();
const axion = path.join(root, "bin/axion.js");
const scratch = mkdtempSync(path.join(tmpdir(), "axion-cli-"));
let cloud: Cloud;
let url: string;
let instance: Instance;

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(argv: readonly string[], env: Record<string, string> = {}, command = axion): Promise<Ended> {
  return new Promise((resolve) => {
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("AXION_")));
    const child = execFile(process.execPath, [command, ...argv], { cwd: scratch, env: { ...clean, ...env }, timeout: 200_000, maxBuffer: 1 << 26 }, (_error, out, err) => resolve({ code: child.exitCode, out, err }));
  });
}
/** Of the controller; expected to end well. */
async function said(...argv: string[]): Promise<string> {
  const { code, out, err } = await run(argv, { AXION_OPS_URL: url });
  expect({ code, err }, argv.join(" ")).toEqual({ code: 0, err: "" });
  return out;
}

beforeAll(async () => {
  cloud = await Cloud.create({ name: "cli.test", flags: ["--name", "first"] });
  const net = await cloud.network("10.0.0.0/24");
  instance = await cloud.instance(cloud.hv(1), net);
  await cloud.instance(cloud.hv(2), net);
  await cloud.synced();
  ({ url } = await cloud.lab.publish(9697, 0));
});
afterAll(async () => {
  await cloud?.destroy();
  rmSync(scratch, { recursive: true, force: true });
});

describe("of a running controller", () => {
  test("status", async () => {
    const generation = await cloud.metric("axion_generation");
    const lines = (await said("status")).split("\n");
    expect(lines).toEqual([
      `controller  first, version ${version()}, at ${url}`,
      "ready       yes",
      `generation  ${generation}, compiled ${generation}`,
      "switches    2 total, 2 connected, 0 syncing, 0 held, 0 disconnected",
      expect.stringMatching(/^flows {7}[1-9]\d* desired, [1-9]\d* installed, 0 pending, 0 quarantined$/),
      "",
    ]);
    expect(JSON.parse(await said("status", "--json"))).toMatchObject({ url, name: "first", ready: true, reason: null, generation, switches: { total: 2, connected: 2 }, flows: { pending: 0 } });
  });

  test("switches: all in a table, one with all that is known", async () => {
    const [head, ...rows] = (await said("switches")).trimEnd().split("\n");
    expect(head).toMatch(/^SWITCH {2}STATE .*LAST ERROR$/);
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 3))).toEqual([["hv1", "connected", "connected"], ["hv2", "connected", "connected"]]);
    expect(await said("switches", "hv2")).toMatch(/^id +hv2$[^]*^bridge +br-int$[^]*^flows\.pending +0$/m);
    expect(JSON.parse(await said("--json", "switches", "hv1")).switch).toMatchObject({ id: "hv1", state: "connected" });
    expect(JSON.parse(await said("switches", "--json")).switches).toHaveLength(2);
  });

  test("tunnels: a table, the worst first, by host and state; JSON", async () => {
    let rows: string[] = [];
    await until("both directions to be up", async () => (rows = (await said("tunnels")).trimEnd().split("\n")).filter((row) => / {2}up {2}/.test(row)).length === 2, { timeoutMs: 20_000 });
    expect(rows[0]).toMatch(/^FROM {2}TO {3}TYPE {4}STATE {2}SINCE .*LATENCY \(ms\) {2}LOSS {2}MTU +BFD$/);
    expect(rows.slice(1).map((row) => row.split(/ +/).slice(0, 4))).toEqual([["hv1", "hv2", "geneve", "up"], ["hv2", "hv1", "geneve", "up"]]);
    expect(await said("tunnels", "--switch", "hv1", "--state", "down")).toBe("no tunnels\n");
    expect(JSON.parse(await said("tunnels", "--json", "--switch", "hv2"))).toMatchObject([{ from: "hv2", to: "hv1", type: "geneve", state: "up", bfd: null }, { from: "hv1", to: "hv2" }]);
    expect(await run(["tunnels", "--switch", "hv9"], { AXION_OPS_URL: url })).toMatchObject({ code: 1, out: "", err: expect.stringContaining("hv9") as string });
    expect((await run(["tunnels", "--state", "dim"], { AXION_OPS_URL: url })).code).toBe(2);
    expect(await run(["tunnels"], { AXION_OPS_URL: "http://127.0.0.1:1" })).toMatchObject({ code: 1, out: "" });
  });

  test("drops: none of well-behaved machines that go on", async () => {
    expect((JSON.parse(await said("drops", "--json")) as { persistent_since: string | null }[]).filter(({ persistent_since: since }) => since !== null)).toEqual([]);
    expect(await run(["drops", "--switch", "hv9"], { AXION_OPS_URL: url })).toMatchObject({ code: 1, out: "", err: expect.stringContaining("hv9") as string });
    expect(await run(["drops", "--port", "nosuch"], { AXION_OPS_URL: url })).toEqual({ code: 2, out: "", err: "axion: --port: there is no port 'nosuch'\n" });
  });

  test("statistics: a line for each counter, of one port or of a kind", async () => {
    const [head, ...rows] = (await said("statistics", "--id", instance.port.id)).trimEnd().split("\n");
    expect(head).toMatch(/^TYPE {2}ID +NAME +PROJECT +COUNTER +PACKETS +BYTES +COMPLETE +LOOKED AT$/);
    expect(rows.map((row) => row.split(/ {2,}/).slice(0, 2))).toEqual([["port", instance.port.id], ["port", instance.port.id]]);
    expect(await said("statistics", "--type", "floatingip")).toBe("no statistics\n");
    expect(JSON.parse(await said("statistics", "--json", "--id", instance.port.id))).toMatchObject([{ type: "port", project: "p1", received: {}, sent: {} }]);
    expect((await run(["statistics", "--type", "cloud"], { AXION_OPS_URL: url })).code).toBe(2);
    expect(await run(["statistics", "--id", "nosuch"], { AXION_OPS_URL: url })).toEqual({ code: 2, out: "", err: "axion: --id: there is no port, router or floating IP 'nosuch'\n" });
  });

  test("flows: a table, ovs-ofctl's text, JSON, and every way to choose", async () => {
    const all = (await said("flows")).trimEnd().split("\n");
    const switches = (await cloud.switches()).reduce((sum, s) => sum + s.desired, 0);
    expect(all[0]).toMatch(/^SWITCH {2}TABLE +PRIORITY {2}STATE +CAUSE +CALL +MATCH +ACTIONS +WHY$/);
    expect(all).toHaveLength(switches + 1);
    const own = (await said("flows", "--switch", "hv1", "--resource", instance.port.id, "--app=l2", "--table", "classify")).trimEnd().split("\n").slice(1);
    expect(own.length).toBeGreaterThan(0);
    for (const line of own) expect(line).toMatch(new RegExp(`^hv1 +classify +\\d+ +desired +l2/\\S+ .*port:${instance.port.id}`));
    expect(await said("flows", "--match", "ip,nw_dst=203.0.113.77")).toBe("no flows\n");
    expect(await said("flows", "--state", "diff")).toBe("no flows\n");
    expect((await said("flows", "--stats", "--switch", "hv1")).split("\n")[0]).toContain("PACKETS  BYTES");
    const json = JSON.parse(await said("flows", "--json", "--switch", "hv1")) as { flows: { switch: string }[] };
    expect(new Set(json.flows.map((f) => f.switch))).toEqual(new Set(["hv1"]));
    expect(JSON.parse(await said("flows", "--format", "json", "--switch", "hv1"))).toEqual(json);
  });

  test("flows as text go into the switch's own tools as they are", async () => {
    const text = await said("flows", "--switch", "hv1", "--format", "text", "--state", "installed");
    const parsed = await cloud.hv(1).exec(["ovs-ofctl", "-O", "OpenFlow13", "parse-flows", "-"], { input: text });
    expect(parsed.stdout.trimEnd().split("\n").filter((line) => line !== "").length).toBeGreaterThanOrEqual(text.split("\n").filter((line) => line.startsWith(" cookie=")).length);
  });

  test("flows --text are what ovs-ofctl dump-flows prints, but for counters that go on", async () => {
    const lines = (text: string): string[] => text.split("\n").filter((line) => line.startsWith(" cookie=")).map((line) => line.replace(/(duration|n_packets|n_bytes)=[\d.]+s?/g, "$1")).sort();
    const own = lines(await said("flows", "--switch", "hv1", "--state", "installed", "--stats", "--text"));
    const real = await cloud.hv(1).ofctl("dump-flows", "br-int");
    expect(own.length).toBeGreaterThan(100);
    expect(own).toEqual(lines(real));
  });

  test("every flow of every switch names a resource or says that it is always there", async () => {
    interface Flow { readonly state: string; readonly app: string; readonly rule: string; readonly static?: true; readonly resources: readonly object[]; readonly match_named: string }
    const { flows } = JSON.parse(await said("flows", "--state", "installed", "--json")) as { flows: Flow[] };
    expect(flows.length).toBeGreaterThan(200);
    expect(flows.filter((f) => (f.static === true) === f.resources.length > 0)).toEqual([]);
    expect(flows.filter((f) => /\breg\d/.test(f.match_named))).toEqual([]);
    expect(flows.filter((f) => /in_port="?/.test(f.match_named) && f.match_named.includes(instance.port.name === "" ? instance.port.id : instance.port.name)).length).toBeGreaterThan(0);
  });

  test("rates of a switch are counted over so many seconds", async () => {
    const [head, ...rows] = (await said("flows", "--switch", "hv1", "--rate", "1", "--table", "classify")).trimEnd().split("\n");
    expect(head).toMatch(/PACKETS {2}BYTES +AGE S +PACKETS\/S {2}BYTES\/S/);
    expect(rows.length).toBeGreaterThan(0);
  });

  test("flows --follow tells what comes and goes, each with what it belonged to, also when that is gone", async () => {
    const child = spawn(process.execPath, [axion, "--ops-url", url, "--json", "flows", "--follow"], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    interface Event { readonly event: string; readonly flow: { readonly static?: true; readonly resources: readonly { readonly id: string; readonly call?: string }[] } }
    const events = (): Event[] => text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Event);
    try {
      const clients = async (): Promise<boolean> => (await cloud.metric("axion_flow_stream_clients")) > 0;
      while (!(await clients())) await new Promise((done) => setTimeout(done, 50));
      const net = await cloud.network("10.9.0.0/24");
      const gone = await cloud.instance(cloud.hv(1), net);
      await cloud.synced();
      await cloud.remove("port", gone.port.id);
      await cloud.synced();
      const removed = (): Event[] => events().filter((e) => e.event === "removed" && e.flow.resources.some((r) => r.id === gone.port.id));
      while (removed().length === 0) await new Promise((done) => setTimeout(done, 50));
      expect(removed().flatMap((e) => e.flow.resources.filter((r) => r.id === gone.port.id).map((r) => r.call))).toContain(`DELETE /v2.0/ports/${gone.port.id}`);
      expect(events().filter((e) => e.flow.static !== true && e.flow.resources.length === 0)).toEqual([]);
    } finally {
      child.kill();
    }
  });

  test.each([["problems", "problems"], ["access", "policy"], ["policy", "rules"]])("%s: what the controller says, or that it does not say it", async (command, path) => {
    const ask = await fetch(`${url}/${path}${path === "policy" ? "?format=json" : ""}`);
    const { code, out, err } = await run([command, "--ops-url", url]);
    if (ask.status === 200) {
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toMatch(/\S/);
      expect(JSON.parse(await said(command, "--json"))).toEqual(await ask.json());
    } else expect({ code, out, err }).toEqual({ code: 1, out: "", err: `axion: the controller at ${url} has no GET /${path} (404): its version does not answer this\n` });
  });

  test("what it does not have, and what it cannot read", async () => {
    const asked = (...argv: string[]): Promise<Ended> => run(["--ops-url", url, ...argv]);
    expect(await asked("switches", "hv9")).toEqual({ code: 1, out: "", err: "axion: there is no switch hv9\n" });
    expect(await asked("flows", "--switch", "hv9")).toEqual({ code: 1, out: "", err: "axion: --switch: there is no switch 'hv9'\n" });
    for (const table of ["nowhere", "250"]) expect(await asked("flows", "--table", table)).toEqual({ code: 2, out: "", err: expect.stringMatching(new RegExp(`^axion: --table: there is no table '${table}'; there are classify, [a-z0-9_, ]+\n$`)) as string });
    expect(await asked("flows", "--table", "99", "--state", "diff"), "others may have put flows there").toMatchObject({ code: 0 });
    expect(await asked("flows", "--match", "nonsense=1")).toMatchObject({ code: 2, out: "", err: expect.stringMatching(/^axion: --match: .*\n$/) });
    for (const field of ["nw_dst", "ip_dst", "dl_src"]) expect(await asked("flows", "--match", `${field}=bad`)).toMatchObject({ code: 2, out: "", err: expect.stringMatching(new RegExp(`^axion: --match: ${field}: .*\n$`)) });
    expect(await asked("flows", "--app", "")).toMatchObject({ code: 2, out: "", err: expect.stringMatching(/^axion: --app: is empty\n$/) });
    expect(await asked("flows", "--app", "zz")).toMatchObject({ code: 2, out: "", err: expect.stringMatching(/^axion: --app: there is no app 'zz'; there are .*dhcp, .*\n$/) });
    expect(await asked("flows", "--resource", "nonsense")).toEqual({ code: 2, out: "", err: "axion: --resource: there is no API resource 'nonsense', and no flow because of one\n" });
  });

  test("a reader that has had enough is no error", async () => {
    const child = spawn("bash", ["-c", `set -o pipefail; "${process.execPath}" "${axion}" --ops-url ${url} flows --format text | head -n 1`], { stdio: ["ignore", "pipe", "pipe"] });
    let all = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (all += chunk.toString()));
    expect(await once(child, "close")).toEqual([0, null]);
    expect(all).toBe("# switch hv1\n");
  });
});

describe("without a controller", () => {
  test("one line that says where it was looked for, 1", async () => {
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const { port } = free.address() as AddressInfo;
    free.close();
    await once(free, "close");
    const line = `axion: no controller answers at http://127.0.0.1:${port}: connection refused; is it running? --ops-url or AXION_OPS_URL names another\n`;
    for (const command of ["status", "switches", "flows", "problems", "policy", "access"]) {
      expect(await run([command, "--ops-url", `http://127.0.0.1:${port}/`]), command).toEqual({ code: 1, out: "", err: line });
    }
    expect(await run(["status", "--ops-url", "http://nowhere.invalid"])).toMatchObject({ code: 1, err: expect.stringContaining("no controller answers at http://nowhere.invalid: ") });
  });

  test("something else that answers: one line, 1", async () => {
    const answers: readonly (readonly [status: number, body: string, said: RegExp])[] = [
      [200, "hello", /is no controller: GET \/healthz is not JSON/],
      [404, "<html>", /is no controller: GET \/healthz gave status 404/],
      [500, '{"error":{"code":"INTERNAL","message":"internal\\nerror"}}', /the controller refuses it \(500\): internal error/],
    ];
    for (const [status, body, message] of answers) {
      const other = createHttp((_request, response) => void response.writeHead(status).end(body)).listen(0, "127.0.0.1");
      await once(other, "listening");
      const { code, out, err } = await run(["status", "--ops-url", `http://127.0.0.1:${(other.address() as AddressInfo).port}`]);
      other.close();
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toMatch(message);
      expect(err).toMatch(/^axion: .*\n$/);
    }
    const mute = createServer((socket) => void socket.end("SSH-2.0-x\r\n")).listen(0, "127.0.0.1");
    await once(mute, "listening");
    const { code, err } = await run(["status", "--ops-url", `http://127.0.0.1:${(mute.address() as AddressInfo).port}`]);
    mute.close();
    expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(/^axion: what answers at \S+ is no controller: it does not speak HTTP\n$/) });
  });

  test("an answer that breaks off, as a table and as text: what came, and one line, 1", async () => {
    const half = createHttp((_request, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write('{"flows":[{"switch":"hv1","table":"t","match":"","actions":""},', () => response.destroy());
    }).listen(0, "127.0.0.1");
    await once(half, "listening");
    const address = `http://127.0.0.1:${(half.address() as AddressInfo).port}`;
    for (const format of ["table", "text", "json"]) {
      expect(await run(["flows", "--format", format, "--ops-url", address])).toMatchObject({ code: 1, err: `axion: the controller at ${address} stopped in the middle of its answer\n` });
    }
    half.close();
  });
});

describe("the past", () => {
  test("history: the calls that made what is there, one generation, a difference", async () => {
    const port = JSON.parse(await said("history", "--resource", instance.port.id, "--json")) as { generation: number; call: string; changes: { type: string; before: unknown }[] }[];
    const made = port.at(-1)!;
    expect(made.call).toBe("POST /v2.0/ports");
    expect(made.changes.filter((change) => change.type === "port").map((change) => change.before)).toEqual([null]);
    expect(await said("history", String(made.generation))).toMatch(new RegExp(`^${made.generation}  \\d{4}-.*Z  POST /v2.0/ports.*\n(.*\n)*  \\+ port ${instance.port.id}`));
    expect(await said("history", "--from", String(made.generation - 1), "--to", String(made.generation))).toContain(`  + port ${instance.port.id}`);
    const two = await run(["history", "--limit", "2"], { AXION_OPS_URL: url });
    expect(two.out.match(/^\d+ /gm)).toHaveLength(2);
    expect(two).toMatchObject({ code: 0, err: expect.stringMatching(/^axion: there is more: --until \d+\n$/) as string });
    expect(await run(["history", "99999999"], { AXION_OPS_URL: url })).toMatchObject({ code: 1, err: expect.stringMatching(/^axion: generation 99999999 is still to come, the newest is \d+\n$/) as string });
  });
});

describe("a change", () => {
  interface Dump {
    readonly flows: readonly { readonly switch: string; readonly cookie: string; readonly table_id: number; readonly priority: number; readonly match: string; readonly actions: string }[];
  }
  const linesOf = (text: string): string[] =>
    (JSON.parse(text) as Dump).flows.map((f) => `${f.switch} cookie=${f.cookie}, table=${f.table_id}, priority=${f.priority}${f.match === "" ? "" : `,${f.match}`} actions=${f.actions === "" ? "drop" : f.actions}`).sort();

  test("is planned, made as it was planned, confirmed, and what was before can be seen", async () => {
    const url_ = `/v2.0/ports/${instance.port.id}`;
    const body = { port: { admin_state_up: false } };
    const before = linesOf(await said("flows", "--json"));
    const generation = await cloud.metric("axion_generation");
    expect(await said("plan", "PUT", url_, JSON.stringify(body))).toMatch(/^PUT .* status 200\nresources\n {2}~ port .*\n(.*\n)*flows\n {2}hv1: /);
    const planned = JSON.parse(await said("plan", "PUT", url_, JSON.stringify(body), "--json")) as { token: string; switches: Record<string, { add: string[]; change: string[]; remove: string[] }> };
    const calls = await callsBetween(generation, await cloud.metric("axion_generation"), async (path) => (await cloud.controller.ops("GET", path)).body);
    expect([calls, linesOf(await said("flows", "--json"))]).toEqual([[], before]);
    const made = await cloud.controller.api("PUT", `${url_}?wait=dataplane`, body, { "x-axion-plan": planned.token });
    expect([made.status, made.headers["x-axion-dataplane"]]).toEqual([200, "confirmed"]);
    const after = linesOf(await said("flows", "--state", "installed", "--json"));
    const [was, is] = [new Set(before), new Set(after)];
    const of = (kinds: readonly ("add" | "change" | "remove")[]): string[] => Object.entries(planned.switches).flatMap(([id, those]) => kinds.flatMap((kind) => those[kind].map((line) => `${id} ${line}`))).sort();
    expect(after.filter((line) => !was.has(line))).toEqual(of(["add", "change"]));
    expect(before.filter((line) => !is.has(line)).length).toBe(of(["remove", "change"]).length);
    const own = String(made.headers["x-axion-generation"]);
    const receipt = JSON.parse(await said("receipts", own, "--json")) as { call: string; complete: boolean; switches: Record<string, { sent_at: string; confirmed_at: string; ms: number }> };
    expect(receipt).toMatchObject({ call: `PUT ${url_}`, complete: true, switches: { hv1: { sent_at: expect.stringMatching(/Z$/), confirmed_at: expect.stringMatching(/Z$/), ms: expect.any(Number) } } });
    expect(await said("receipts", "--limit", "5")).toContain(`PUT ${url_}`);
    expect(linesOf(await said("flows", "--at", String(Number(own) - 1), "--json"))).toEqual(before);
    expect(await said("history", "--from", String(Number(own) - 1), "--to", own, "--switch", "hv1")).toMatch(/\n {2}hv1: \d+ flows added, \d+ changed, \d+ removed\n/);
    expect((await cloud.controller.ops<string>("GET", "/metrics")).body).toMatch(/^axion_call_confirmed_seconds_count\{method="PUT",project=".*"\} [1-9]/m);
    await cloud.controller.api("PUT", url_, { port: { admin_state_up: true } });
  });
});

test("a rule that another of its group covers is planned away, made so with the plan's token, and once", async () => {
  const group = await cloud.create("security_group", { name: "tight" });
  const rule = (more: object): Promise<{ readonly id: string }> => cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", protocol: "tcp", ...more });
  const [wide, narrow] = [await rule({}), await rule({ port_range_min: 22, port_range_max: 22 })];
  const tightened = (...more: string[]): Promise<string> => said("policy", "--group", group.id, "--tighten", ...more);
  await until("a rule that is not needed", async () => (await tightened()) !== "nothing to tighten\n", { timeoutMs: 20_000 });
  const call = `DELETE /v2.0/security-group-rules/${narrow.id}`;
  const lines = (await tightened("--plan")).split("\n");
  expect(lines).toEqual([`${call}  # shadowed: ingress IPv4 tcp 22 from anybody, group tight`, "  no flows change; no ports gain or lose each other", expect.stringMatching(new RegExp(`^ {2}axion plan ${call} --apply \\S+$`)), ""]);
  const apply = lines[2]!.trim().split(" ").slice(1);
  expect(await said(...apply)).toMatch(new RegExp(`^${call}: status 204, generation \\d+\n$`));
  expect((await cloud.call("GET", `/v2.0/security-group-rules/${narrow.id}`)).status).toBe(404);
  expect(await said("policy", "--group", group.id, "--json").then((text) => (JSON.parse(text) as { id: string }[]).map(({ id }) => id))).toContain(wide.id);
  expect(await run(["--ops-url", url, ...apply])).toMatchObject({ code: 1, out: "", err: expect.stringContaining("409") as string });
});

describe("the command line", () => {
  test("--help everywhere: 0, on the output; nothing that is not built", { tags: "long", timeout: 120_000 }, async () => {
    const help = await run(["--help"]);
    expect(help).toMatchObject({ code: 0, err: "" });
    const commands = [...help.out.matchAll(/^ {2}([a-z]+)\b/gm)].map((m) => m[1]!);
    expect(commands).toEqual(["start", "status", "switches", "flows", "trace", "problems", "tunnels", "drops", "statistics", "logs", "policy", "access", "history", "plan", "receipts", "pki", "store", "lab", "completion", "help"]);
    for (const name of commands.filter((c) => !["help", "start"].includes(c))) {
      const own = await run([name, "--help"]);
      expect(own, name).toMatchObject({ code: 0, err: "" });
      expect(own.out).toContain(`Usage: axion ${name}`);
      expect(own.out).toContain("--ops-url");
      expect((await run(["help", name])).out).toBe(own.out);
    }
    expect(await run(["--version"])).toEqual({ code: 0, out: `${version()}\n`, err: "" });
    expect(await run([])).toMatchObject({ code: 2, out: "", err: expect.stringContaining("Usage: axion") });
  });

  test.each<readonly [argv: readonly string[], message: RegExp]>([
    [["statu"], /unknown command 'statu' \(Did you mean status\?\)/],
    [["status", "--nothing"], /unknown option '--nothing'/],
    [["status", "word"], /too many arguments/],
    [["flows", "--state", "odd"], /Allowed choices are desired, installed, diff;/],
    [["flows", "--format", "xml"], /Allowed choices are table, text, json;/],
    [["flows", "--json", "--format", "text"], /--json and --format text contradict each other/],
    [["flows", "--switch"], /argument missing/],
    [["switches", ""], /the switch's id is empty/],
    [["history", "x"], /a generation is a whole number, not x/],
    [["history", "--to", "3"], /--to needs --from/],
    [["history", "3", "--limit", "1"], /one generation needs no options/],
    [["store", "mend"], /unknown command 'mend'/],
    [["store", "restore", "x"], /a generation is a whole number, not x/],
    [["store", "compact", "--history-days", "0"], /--history-days must be a whole number from 1 to 36500, not 0/],
    [["completion", "tcsh"], /Allowed choices are bash, zsh, fish;/],
    [["completion"], /missing required argument 'shell'/],
    [["lab", "--encap", "stt"], /Allowed choices are geneve, vxlan, gre;/],
    ...["", "127.0.0.1:9697", "ftp://x", "http://", "http://x/?a=1"].map((bad) => [["status", "--ops-url", bad], /--ops-url must be a URL/] as const),
  ])("%j: one line, 2", async (argv, message) => {
    const { code, out, err } = await run(argv);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(/^axion: .*\n$/);
    expect(err).toMatch(message);
  });

  test("a bad variable is named as such", async () => {
    expect(await run(["status"], { AXION_OPS_URL: "x" })).toMatchObject({ code: 2, err: expect.stringMatching(/^axion: AXION_OPS_URL must be a URL/) });
  });

  test("completion in a real bash: commands, options of each, values of options", async () => {
    const { out: script } = await run(["completion", "bash"]);
    let ops = url;
    symlinkSync(axion, path.join(scratch, "axion"));
    const complete = async (...words: string[]): Promise<string[]> => {
      const quoted = ["axion", ...words].map((w) => `'${w}'`).join(" ");
      const child = spawn("bash", ["-c", `${script}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _axion; printf '%s\\n' "\${COMPREPLY[@]}"`], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, PATH: `${scratch}:${process.env.PATH}`, AXION_OPS_URL: ops } });
      let text = "";
      child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
      await once(child, "close");
      return text.split("\n").filter((word) => word !== "");
    };
    expect(await complete("s")).toEqual(["start", "status", "switches", "statistics", "store"]);
    expect(await complete("flows", "--s")).toEqual(["--switch", "--state", "--stats"]);
    expect(await complete("--json", "--ops-url", "http", ":", "//x", ":", "1", "flows", "--state", "")).toEqual(["desired", "installed", "diff"]);
    expect(await complete("flows", "--switch", "status", "--form")).toEqual(["--format"]);
    expect(await complete("flows", "--switch", "")).toEqual(["hv1", "hv2"]);
    expect(await complete("switches", "hv")).toEqual(["hv1", "hv2"]);
    expect([await complete("flows", "--table", "sg_in_v"), await complete("flows", "--app", "qo")]).toEqual([["sg_in_verdict"], ["qos", "qos-external"]]);
    expect([(ops = "http://127.0.0.1:1"), await complete("flows", "--switch", ""), await complete("switches", "--js")]).toEqual([ops, [], ["--json"]]);
    expect(await complete("completion", "")).toEqual(expect.arrayContaining(["bash", "zsh", "fish"]));
    expect(await complete("help", "po")).toEqual(["policy"]);
    for (const shell of ["zsh", "fish"]) {
      const { out } = await run(["completion", shell]);
      for (const word of ["status", "switches", "installed", "ops-url"]) expect(out).toContain(word);
    }
  });

  test("in a clone that was not built it builds itself, once", { tags: "long", timeout: 240_000 }, async () => {
    const clone = path.join(scratch, "clone");
    for (const part of ["bin", "src", "apps", "protocol", "package.json", "tsconfig.json", "tsconfig.base.json"]) {
      cpSync(path.join(root, part), path.join(clone, part), { recursive: true, filter: (from) => !/\/(dist|node_modules)$|\.(test|fixture)\.ts$|^src\/\w+\/testing$/.test(path.relative(root, from)) });
    }
    // Its own packages are the clone's.
    mkdirSync(path.join(clone, "node_modules"));
    for (const name of readdirSync(path.join(root, "node_modules"))) {
      const real = realpathSync(path.join(root, "node_modules", name));
      symlinkSync(real.startsWith(path.join(root, "protocol")) ? path.join(clone, path.relative(root, real)) : real, path.join(clone, "node_modules", name));
    }
    const command = path.join(clone, "bin/axion.js");
    expect(await run(["--version"], {}, command)).toEqual({ code: 0, out: `${version()}\n`, err: "axion: building, once ...\n" });
    expect(await run(["--version"], {}, command)).toEqual({ code: 0, out: `${version()}\n`, err: "" });
  });

  test("lab: the demo's own output, and a signal for it reaches it", async () => {
    const child = spawn(process.execPath, [axion, "lab", "--check", "--encap", "vxlan"], { stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    const ended = once(child, "close");
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        out += chunk.toString();
        if (/Lab/.test(out)) resolve();
      });
      child.on("close", () => reject(new Error(`ended: ${out}`)));
    });
    child.kill("SIGTERM");
    expect(await ended).toEqual([143, null]);
  });
});
