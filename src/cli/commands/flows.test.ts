// `axion flows` on an ops listener whose flows are made for the test: what is typed, what comes out, letter by letter.
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";
import type { FlowEvent, FlowRecord } from "../../ops/flows/flows.ts";
import { createOps, type OpsServer } from "../../ops/server.ts";
import { eventData } from "./follow.ts";
import { runCommand } from "../program.ts";

const port = { type: "port", id: "p-1", name: "web", project: "t", call: "POST /v2.0/ports", generation: 7 };
const flow = (fields: Partial<FlowRecord> = {}): FlowRecord => ({
  switch: "hv1", table_id: 3, table: "classify", priority: 100, match: "in_port=5", actions: "set_field:0x5->reg1,resubmit(,4)", match_named: "in_port=web", actions_named: "set_field:0x5->net,resubmit(,acl_in)",
  cookie: "0x2a", app: "l2", rule: "port", about: "what a port sends", resources: [port], state: "installed", packet_count: 2, byte_count: 120, duration_s: 1.5, ...fields,
});
const rest: Partial<FlowRecord> = { table_id: 4, table: "acl_in", priority: 0, match: "", actions: "", match_named: "", actions_named: "" };
const flows = [flow(), flow({ ...rest, app: "acl", rule: "static", resources: [], static: true }), flow({ ...rest, app: "", rule: "", resources: [], state: "foreign", about: "not ours", idle_timeout: 60 })];

let ops: OpsServer | undefined;
let tell: ((event: FlowEvent) => void) | undefined;
const asked: object[] = [];
afterEach(() => ops?.close());

async function said(words: string, color = false, until?: (out: string) => boolean, columns?: number): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  await ops?.close();
  ops = createOps({
    log: pino({ level: "silent" }),
    providers: {
      ready: () => ({ ok: true }), switches: () => [{ id: "hv1" }], switch: (id) => (id === "hv1" ? { id } : undefined), problems: () => [], removeSwitch: () => Promise.resolve(false),
      flows: (query) => (asked.push(query), query.raw === true ? flows.map((one) => ({ ...one, match_named: undefined, actions_named: undefined }) as unknown as FlowRecord) : flows),
      onFlowEvent: (listener) => {
        tell = listener;
        return () => (tell = undefined);
      },
    },
  });
  await ops.listen({ host: "127.0.0.1", port: 0 });
  const { port: at } = ops.server.address() as AddressInfo;
  let [out, err] = ["", ""];
  let ended = false;
  const write = (text: string): Promise<void> => {
    out += text;
    if (until?.(out) === true && !ended) {
      ended = true;
      void ops!.close();
    }
    return Promise.resolve();
  };
  const code = await runCommand(["--ops-url", `http://127.0.0.1:${at}`, ...words.split(" ")], { write, error: (text) => (err += text), color, columns });
  return { code, out, err: err.replaceAll(String(at), "PORT") };
}

test("a table has names in place of numbers; raw on request; colours on a terminal alone", async () => {
  const named = [
    "SWITCH  TABLE     PRIORITY  STATE      CAUSE                  CALL                 MATCH        ACTIONS                               WHY",
    "hv1     classify  100       installed  l2/port port:p-1(web)  POST /v2.0/ports @7  in_port=web  set_field:0x5->net,resubmit(,acl_in)  what a port sends",
    "hv1     acl_in    0         installed  acl/static static      -                    any          drop                                  what a port sends",
    "hv1     acl_in    0         foreign    -                      -                    any          drop                                  not ours",
    "",
  ];
  expect(await said("flows --state installed")).toEqual({ code: 0, out: named.join("\n"), err: "" });
  const colored = named.map((line) => (line.includes("foreign") ? `\u001b[31m${line}\u001b[0m` : line));
  expect((await said("flows --state installed", true)).out).toBe(colored.join("\n"));
  const { out } = await said("flows --state installed --raw");
  expect(out).toMatch(/ in_port=5 +set_field:0x5->reg1,resubmit\(,4\) +what a port sends\n/);
});

test("a terminal gets lines that it has room for; what goes elsewhere is whole", async () => {
  const whole = (await said("flows --state installed")).out;
  expect((await said("flows --state installed", false, undefined, 300)).out).toBe(whole);
  expect((await said("flows --state installed", false, undefined, 120)).out).toBe([
    "SWITCH  TABLE     PRIORITY  STATE      CAUSE             CALL           MATCH        ACTIONS           WHY",
    "hv1     classify  100       installed  l2/port port:p-\u2026  POST /v2.0/p\u2026  in_port=web  set_field:0x5->\u2026  what a port sends",
    "hv1     acl_in    0         installed  acl/static stat\u2026  -              any          drop              what a port sends",
    "hv1     acl_in    0         foreign    -                 -              any          drop              not ours",
    "",
  ].join("\n"));
  for (const columns of [200, 150, 100, 90, 80, 60, 20]) {
    const lines = (await said("flows --state installed", false, undefined, columns)).out.split("\n");
    expect(Math.max(...lines.map((line) => line.length)), String(columns)).toBeLessThanOrEqual(columns);
    expect([lines.length, lines[0]!.includes("WHY"), lines[0]!.includes("CALL")], String(columns)).toEqual([5, columns >= 105, columns >= 100]);
  }
});

test("counters, ages and rates stand in columns of their own where they are asked for", async () => {
  expect((await said("flows --stats")).out.split("\n")[1]).toBe("hv1     classify  100       installed  2        120    1.5    l2/port port:p-1(web)  POST /v2.0/ports @7  in_port=web  set_field:0x5->net,resubmit(,acl_in)  what a port sends");
  const { out } = await said("flows --rate 5 --switch hv1");
  expect([out.split("\n")[0]!.replace(/ +/g, " "), asked.at(-1)]).toEqual(["SWITCH TABLE PRIORITY STATE PACKETS BYTES AGE S PACKETS/S BYTES/S CAUSE CALL MATCH ACTIONS WHY", expect.objectContaining({ rate: 5, stats: true, switch: "hv1" })]);
});

test("text is what ovs-ofctl prints: numbers, and no line that says why", async () => {
  expect((await said("flows --text --stats")).out.split("\n")).toEqual([
    " cookie=0x2a, duration=1.5s, table=3, n_packets=2, n_bytes=120, priority=100,in_port=5 actions=set_field:0x5->reg1,resubmit(,4)",
    " cookie=0x2a, duration=1.5s, table=4, n_packets=2, n_bytes=120, priority=0 actions=drop",
    " cookie=0x2a, duration=1.5s, table=4, n_packets=2, n_bytes=120, idle_timeout=60, priority=0 actions=drop",
    "",
  ]);
});

test("events are a line each, in the colour of what happened", async () => {
  const events: FlowEvent[] = [{ event: "added", generation: 8, flow: flow() }, { event: "removed", generation: 9, flow: flow() }];
  const line = (sign: string, generation: number): string => `${sign} @${generation} hv1 classify priority=100 in_port=web actions=set_field:0x5->net,resubmit(,acl_in) # l2/port port:p-1(web)`;
  const followed = async (words: string, color: boolean): Promise<Awaited<ReturnType<typeof said>>> => {
    const answer = said(words, color, (out) => out.split("\n").length > 2);
    while (tell === undefined) await new Promise((done) => setTimeout(done, 5));
    events.forEach(tell);
    return answer;
  };
  const over = "axion: the controller at http://127.0.0.1:PORT ended the stream: it stops, or this end was too slow\n";
  expect(await followed("flows --follow", false)).toEqual({ code: 1, out: `${line("+", 8)}\n${line("-", 9)}\n`, err: over });
  expect((await followed("flows --follow", true)).out).toBe(`\u001b[32m${line("+", 8)}\u001b[0m\n\u001b[31m${line("-", 9)}\u001b[0m\n`);
  expect((await followed("--json flows --follow", false)).out.split("\n").slice(0, 2).map((text) => JSON.parse(text) as unknown)).toEqual(events);
});

test.each([
  ["flows --text --format json", "--text and --format json contradict each other"],
  ["--json flows --text", "--text and --json contradict each other"],
  ["flows --follow --stats", "--follow shows changes of what there should be: it has no --stats"],
  ["flows --follow --text", "--follow shows changes of what there should be: it has no --text"],
  ["flows --rate 5", "--rate: is of one switch: give switch as well"],
  ["flows --rate x --switch hv1", "--rate: 'x' is no number of seconds from 1 to 60"],
])("axion %s is refused", async (words, message) => expect(await said(words)).toEqual({ code: 2, out: "", err: `axion: ${message}\n` }));

test("events are the same however the stream is cut", async () => {
  const text = ": flows\n\nevent: added\nid: 1\ndata: {\"a\":\"ü\"}\n\n: keep-alive\n\ndata: 2\n\n";
  const bytes = Buffer.from(text);
  for (let size = 1; size <= bytes.length; size++) {
    async function* cut(): AsyncGenerator<Buffer> {
      for (let i = 0; i < bytes.length; i += size) yield await Promise.resolve(bytes.subarray(i, i + size));
    }
    const out: string[] = [];
    for await (const data of eventData(cut())) out.push(data);
    expect(out).toEqual(['{"a":"ü"}', "2"]);
  }
});
