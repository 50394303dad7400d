// The ops listener on providers made for the test.
import { request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { Metrics } from "../lib/metrics.ts";
import type { Problem } from "../lib/problem.ts";
import type { FlowEvent, FlowRecord } from "./flows/flows.ts";
import { createOps, SwitchSilent, type OpsProviders, type OpsServer } from "./server.ts";
import type { StreamLimits } from "./flows/stream.ts";

const flow = (fields: Partial<FlowRecord> = {}): FlowRecord => ({
  switch: "hv1", table_id: 3, table: "l2_forward", priority: 100, match: "ip,nw_src=10.0.0.1,tp_dst=80", actions: "set_field:0x5->reg1,resubmit(,4)", cookie: "2a", app: "l2", rule: "forward",
  about: "known destination", resources: [{ type: "port", id: "p-1", call: "POST /v2.0/ports", generation: 7 }], state: "installed", ...fields,
});
const flows = [
  flow(),
  flow({ table_id: 4, table: "acl_in", app: "acl", rule: "allow", priority: 1, match: "", actions: "", cookie: "0x1", resources: [], static: true, packet_count: 5, byte_count: 300 }),
  flow({ switch: "hv2", state: "missing", resources: [{ type: "network", id: "n-1" }], match: "arp" }),
  flow({ switch: "hv2", state: "foreign", app: "", rule: "", resources: [], match: "tcp" }),
];

const problem = (severity: Problem["severity"], since: string): Problem => ({ kind: "host", severity, since, text: "", resources: [], switches: ["hv1"], cure: { text: "" } });
let problems: Problem[] = [];
let ops: OpsServer | undefined;
let listeners: ((event: FlowEvent) => void)[] = [];
function make(options: { ready?: () => { ok: boolean; reason?: string }; flows?: Iterable<FlowRecord> | AsyncIterable<FlowRecord>; stream?: Partial<StreamLimits>; metrics?: Metrics; policy?: ReturnType<NonNullable<OpsProviders["policy"]>> } = {}): OpsServer {
  listeners = [];
  ops = createOps({
    log: pino({ level: "silent" }),
    ...(options.metrics === undefined ? {} : { metrics: options.metrics }),
    ...(options.stream === undefined ? {} : { stream: options.stream }),
    providers: {
      ready: options.ready ?? (() => ({ ok: true })),
      switches: () => [{ id: "hv1" }, { id: "hv2" }],
      switch: (id) => [{ id: "hv1" }, { id: "hv2" }, { id: "hv4" }].find((s) => s.id === id),
      flows: () => options.flows ?? flows,
      ...(options.policy === undefined ? {} : { policy: () => options.policy! }),
      problems: () => problems,
      removeSwitch: (id) => Promise.resolve(id !== "hv1"),
      otherMaster: (id) => (id === "hv4" ? "b" : undefined),
      onFlowEvent: (listener) => {
        listeners.push(listener);
        return () => (listeners = listeners.filter((l) => l !== listener));
      },
    },
  });
  return ops;
}
afterEach(() => ops?.close());

describe("a switch that does not answer", () => {
  async function* silent(): AsyncGenerator<FlowRecord> {
    await Promise.resolve();
    throw new SwitchSilent("hv1", "no reply within 10000 ms");
  }

  it.each(["json", "text"])("is a 504 that names it (%s)", async (format) => {
    const answer = await make({ flows: silent() }).inject(`/flows?switch=hv1&state=diff&format=${format}`);
    expect(answer.statusCode).toBe(504);
    expect(answer.json()).toMatchObject({ error: { code: "SWITCH_SILENT", message: expect.stringContaining("hv1") as string } });
  });
});

describe("health, metrics, switches", () => {
  it("answers", async () => {
    const metrics = new Metrics();
    const server = make({ metrics });
    metrics.counter("axion_things_total", "things", ["kind"]).inc({ kind: 'a"b\n' }, 2);
    expect((await server.inject("/healthz")).json()).toEqual({ status: "alive" });
    expect((await server.inject("/readyz")).json()).toEqual({ status: "ready" });
    const text = await server.inject("/metrics");
    expect(text.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(text.payload).toContain('# HELP axion_things_total things\n# TYPE axion_things_total counter\naxion_things_total{kind="a\\"b\\n"} 2\n');
    expect((await server.inject("/switches")).json()).toEqual({ switches: [{ id: "hv1" }, { id: "hv2" }] });
    expect((await server.inject("/switches/hv2")).json()).toEqual({ switch: { id: "hv2" } });
    for (const path of ["/switches/hv3", "/bogus"]) expect((await server.inject(path)).json().error.code).toBe("NOT_FOUND");
  });
  it("shows the access rules, as a policy file and by name", async () => {
    const none = make();
    expect((await none.inject("/policy")).statusCode).toBe(404);
    await none.close();
    const rules = [{ name: "get_port", rule: "role:b", default: "role:a", about: "See a port." }];
    const server = make({ policy: { text: '#"get_port": "role:a"\n', rules, problem: null } });
    const text = await server.inject("/policy");
    expect([text.headers["content-type"], text.payload]).toEqual(["text/plain; charset=utf-8", '#"get_port": "role:a"\n']);
    expect((await server.inject("/policy?format=json")).json()).toEqual({ rules, problem: null });
    expect((await server.inject("/policy?format=xml")).json().error.code).toBe("BAD_QUERY");
  });
  it("forgets a switch that is not connected", async () => {
    const server = make();
    const remove = async (id: string, headers: Readonly<Record<string, string>> = {}): Promise<[number, string]> => {
      const answer = await server.inject({ method: "DELETE", url: `/switches/${id}`, headers });
      return [answer.statusCode, answer.payload === "" ? "" : answer.json().error.code];
    };
    expect(await remove("hv1")).toEqual([409, "CONNECTED"]);
    expect(await remove("hv2")).toEqual([204, ""]);
    expect(await remove("hv3")).toEqual([404, "NOT_FOUND"]);
    expect(await remove("hv4")).toEqual([409, "OTHER_MASTER"]);
    // Some clients name a type whether there is a body or not.
    expect(await remove("hv3", { "content-type": "application/json" })).toEqual([404, "NOT_FOUND"]);
  });
  it("lists what is wrong, worst first", async () => {
    const server = make();
    expect((await server.inject("/problems")).json()).toEqual([]);
    problems = [problem("warning", "2026-01-01T00:00:00.000Z"), problem("error", "2026-01-03T00:00:00.000Z"), problem("error", "2026-01-02T00:00:00.000Z"), problem("critical", "2026-01-09T00:00:00.000Z")];
    expect((await server.inject("/problems")).json()).toEqual([problems[3], problems[2], problems[1], problems[0]]);
    problems = [];
  });
  it("tells what is asked for in vain: an answer to another question would be taken for the right one", async () => {
    for (const url of ["/problems?severity=bad", "/switches?state=down", "/switches/hv1?x=1", "/switches/hv1/meters?x=1"]) {
      const answer = await make().inject(url);
      expect([answer.statusCode, answer.json().error.code], url).toEqual([400, "BAD_QUERY"]);
    }
  });
  it("is not ready for a reason", async () => {
    const answer = await make({ ready: () => ({ ok: false, reason: "disk full" }) }).inject("/readyz");
    expect([answer.statusCode, answer.json()]).toEqual([503, { status: "not ready", reason: "disk full" }]);
  });
});

describe("flow dump", () => {
  it("is JSON, record by record", async () => expect((await make().inject("/flows")).json()).toEqual({ flows }));
  it.each([
    ["switch=hv1", [0, 1]],
    ["table=acl_in", [1]],
    ["table=3&switch=hv1", [0]],
    ["app=acl", [1]],
    ["resource=p-1", [0]],
    ["resource=n-1", [2]],
    ["match=tp_dst=80", [0]],
    ["match=ip,tp_dst=80", [0]],
    ["match=ip_src=10.0.0.1,tcp_dst=80", [0]],
    ["match=tp_dst=8", []],
    ["state=desired", [0, 1, 2]],
    ["state=installed", [0, 1, 3]],
    ["state=diff", [2, 3]],
  ])("?%s", async (query, expected) => expect((await make().inject(`/flows?${query}`)).json()).toEqual({ flows: expected.map((i) => flows[i]) }));
  it("is ovs-ofctl text with the cause before each flow", async () => {
    const answer = await make().inject("/flows?format=text&stats=1");
    expect(answer.headers["content-type"]).toMatch(/^text\/plain/);
    expect(answer.payload).toBe(
      [
        "# switch hv1",
        "# l2/forward port:p-1 (POST /v2.0/ports @7)",
        " cookie=0x2a, table=3, priority=100,ip,nw_src=10.0.0.1,tp_dst=80 actions=set_field:0x5->reg1,resubmit(,4)",
        "# acl/allow [static]",
        " cookie=0x1, table=4, n_packets=5, n_bytes=300, priority=1 actions=drop",
        "# switch hv2",
        "# l2/forward [missing] network:n-1",
        " cookie=0x2a, table=3, priority=100,arp actions=set_field:0x5->reg1,resubmit(,4)",
        "# foreign: known destination",
        " cookie=0x2a, table=3, priority=100,tcp actions=set_field:0x5->reg1,resubmit(,4)",
        "",
      ].join("\n"),
    );
  });
  it("keeps a comment on its line whatever is in a name", async () => {
    const text = (await make({ flows: [flow({ rule: "a\nactions=drop" })] }).inject("/flows?format=text")).payload;
    expect(text.split("\n").filter((l) => l.startsWith("#"))).toHaveLength(2);
    expect(text.split("\n")).toHaveLength(4);
  });
  it("streams what is larger than one piece", async () => {
    const many = Array.from({ length: 5000 }, () => flow());
    expect((await make({ flows: many }).inject("/flows")).json().flows).toHaveLength(5000);
  });
  it.each([
    ["state=bogus", "query parameter state: 'bogus' is not one of desired, installed, diff"],
    ["format=xml", "query parameter format: 'xml' is not one of json, text"],
    ["rate=61&switch=hv1", "query parameter rate: '61' is no number of seconds from 1 to 60"],
    ["rate=5", "query parameter rate: is of one switch: give switch as well"],
    ["raw=yes", "query parameter raw: 'yes' is not one of 0, 1, true, false"],
    ["stats=yes", "query parameter stats: 'yes' is not one of 0, 1, true, false"],
    ["app=", "query parameter app: is empty"],
    ["app=a&app=b", "query parameter app: is given twice"],
    ["match=nosuch=1", 'query parameter match: no field "nosuch"'],
    ["match=ip,nw_dst=10.0.0", 'query parameter match: nw_dst: "10.0.0" is not an IPv4 address'],
    ["bogus=1", "query parameter bogus: is not known here; there are switch, table, resource, app, match, state, stats, at, rate, raw, format"],
  ])("?%s is refused", async (query, message) => {
    const answer = await make().inject(`/flows?${query}`);
    expect([answer.statusCode, answer.json()]).toEqual([400, { error: { code: "BAD_QUERY", message } }]);
  });
  it.each(["/flows", "/flows/stream"])("%s of a switch that there is not is 404, as the switch itself is", async (path) => {
    const answer = await make().inject(`${path}?switch=hv9`);
    expect([answer.statusCode, answer.json()]).toEqual([404, { error: { code: "NOT_FOUND", message: "query parameter switch: there is no switch 'hv9'" } }]);
  });
});

describe("flow stream", () => {
  const event = (fields: Partial<FlowRecord> = {}): FlowEvent => ({ event: "added", generation: 9, flow: flow(fields) });
  async function follow(server: OpsServer, query = ""): Promise<IncomingMessage> {
    if (!server.server.listening) await server.listen({ host: "127.0.0.1", port: 0 });
    const { port } = server.server.address() as AddressInfo;
    return new Promise((resolve, reject) => request({ host: "127.0.0.1", port, path: `/flows/stream${query}` }, resolve).on("error", reject).end());
  }
  const until = async (test: () => boolean): Promise<void> => {
    while (!test()) await new Promise((done) => setTimeout(done, 5));
  };

  it("sends each event of the filter, with its generation as id, and keeps the line alive", async () => {
    const server = make({ stream: { keepAliveMs: 20 } });
    const client = await follow(server, "?switch=hv1");
    let text = "";
    client.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    expect(client.headers["content-type"]).toMatch(/^text\/event-stream/);
    for (const listener of listeners) [event(), event({ switch: "hv2" })].forEach(listener);
    await until(() => text.includes("keep-alive") && text.includes("event:"));
    expect(text.split("\n\n").filter((m) => m.startsWith("event:"))).toEqual([`event: added\nid: 9\ndata: ${JSON.stringify(event())}`]);
    client.destroy();
    await until(() => listeners.length === 0);
  });
  it("cuts off a client that does not read", async () => {
    const metrics = new Metrics();
    const server = make({ metrics, stream: { bufferBytes: 100_000 } });
    const slow = await follow(server);
    slow.pause();
    const closed = new Promise((done) => slow.on("close", done).on("error", done));
    const big = event({ about: "x".repeat(10_000) });
    for (let i = 0; i < 5000 && listeners.length > 0; i++) {
      listeners.forEach((l) => l(big));
      if (i % 100 === 0) await new Promise((done) => setImmediate(done));
    }
    expect(listeners).toHaveLength(0);
    slow.resume();
    await closed;
    expect(metrics.value("axion_flow_stream_dropped")).toBe(1);
  });
  it("takes so many clients and no more, and ends them when it closes", async () => {
    const server = make({ stream: { clients: 1 } });
    const first = await follow(server);
    expect((await follow(server)).statusCode).toBe(503);
    const ended = new Promise((done) => first.on("end", done).resume());
    await server.close();
    await ended;
  });
});

describe("metrics", () => {
  it("are written as Prometheus reads them", async () => {
    const metrics = new Metrics();
    metrics.gauge("g", "now", () => [{ labels: { s: "a" }, value: 1.5 }], ["s"]);
    metrics.gauge("h", "set").set(3);
    const histogram = metrics.histogram("t_seconds", "times", ["m"], [0.1, 1]);
    for (const v of [0.05, 0.1, 0.5, 7]) histogram.observe(v, { m: "x" });
    const bucket = (le: string, n: number): string => `t_seconds_bucket{le="${le}",m="x"} ${n}`;
    expect((await metrics.text()).split("\n").filter((line) => line !== "")).toEqual([
      "# HELP g now", "# TYPE g gauge", 'g{s="a"} 1.5',
      "# HELP h set", "# TYPE h gauge", "h 3",
      "# HELP t_seconds times", "# TYPE t_seconds histogram", bucket("0.1", 2), bucket("1", 3), bucket("+Inf", 4), 't_seconds_sum{m="x"} 7.65', 't_seconds_count{m="x"} 4',
    ]);
    expect(() => metrics.counter("g", "again")).toThrow("two metrics are named g");
    expect(() => metrics.counter("no name", "x")).toThrow(/metric name/);
  });

  it("a label that is gone is gone from the answer; sums are at hand", async () => {
    const metrics = new Metrics();
    let samples = [{ labels: { s: "a" }, value: 1 }, { labels: { s: "b" }, value: 2 }];
    metrics.gauge("g", "now", () => samples, ["s"]);
    expect([await metrics.text(), metrics.value("g"), metrics.value("g", { s: "b" })]).toEqual([expect.stringContaining('g{s="b"} 2'), 3, 2]);
    samples = samples.slice(0, 1);
    expect([await metrics.text(), metrics.value("g"), metrics.value("g", { s: "b" })]).toEqual([expect.not.stringContaining('s="b"'), 1, 0]);
    const counter = metrics.counter("c_total", "things", ["kind", "n"]);
    counter.inc({ kind: "x", n: 1 });
    counter.inc({ kind: "x", n: 2 }, 4);
    expect([metrics.value("c_total"), metrics.value("c_total", { n: 2 }), metrics.value("c_total", { kind: "y" }), metrics.value("nothing")]).toEqual([5, 4, 0, 0]);
  });

  it("of two registries in one process know nothing of each other, and tell of the process", async () => {
    const [one, other] = [new Metrics(), new Metrics()];
    for (const [i, metrics] of [one, other].entries()) {
      metrics.collectProcess();
      metrics.counter("c_total", "things").inc({}, i + 1);
    }
    for (const [i, metrics] of [one, other].entries()) expect(await metrics.text()).toMatch(new RegExp(`^process_cpu_seconds_total \\d[^]*^c_total ${i + 1}$`, "m"));
  });
});
