// Peers that are no switches: whatever they say ends their connection with one clear line in the log, and nobody else notices.
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import { Cloud, type Instance } from "../../support/cloud.ts";

let cloud: Cloud;
let a: Instance;
let b: Instance;
let ping: { stop(): Promise<{ gaps: unknown[]; sent: number }>; readonly received: number };

beforeAll(async () => {
  cloud = await Cloud.create({ name: "garbage.test" });
  const net = await cloud.network("10.0.0.0/24");
  [a, b] = [await cloud.instance(cloud.hv(1), net), await cloud.instance(cloud.hv(2), net)];
  await until("an answer", () => a.vm.reaches(b.ip));
  ping = a.vm.pingStart(b.ip, { intervalMs: 20 });
});
afterAll(async () => cloud?.destroy());

/** Sends what it is told and reports when the other side ends the connection. Runs in the controller's namespace. */
const PEER = `
const net = require("node:net");
const { port, parts, gapMs, end } = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
const socket = net.connect(port, "127.0.0.1", async () => {
  console.log("from :" + socket.localPort + " connected");
  for (const part of parts) {
    if (socket.destroyed) break;
    socket.write(Buffer.from(part, "base64"));
    await new Promise((done) => setTimeout(done, gapMs));
  }
  if (end) socket.end();
});
let received = 0;
socket.on("data", (data) => (received += data.length)).on("error", () => undefined);
socket.on("close", () => { console.log("closed after " + received + " bytes"); process.exit(0); });
`;

interface Talk {
  readonly port: 6653 | 6640;
  readonly parts: readonly Buffer[];
  readonly gapMs?: number;
  /** The peer itself ends after the last part. */
  readonly end?: boolean;
}

let scripts = 0;

/** A peer that says these things; what it prints tells when it is connected and closed. */
function peer(what: Talk): Running {
  const file = `${cloud.lab.dir}/talk${++scripts}`;
  writeFileSync(file, JSON.stringify({ gapMs: 5, end: false, ...what, parts: what.parts.map((p) => p.toString("base64")) }));
  return cloud.lab.node.spawn([process.execPath, "-e", PEER, file]);
}

/** Log lines that name the peer, once its connection is over. */
async function talk(what: Talk, timeoutMs = 20_000): Promise<string[]> {
  const from = cloud.controller.lines.length;
  const running = peer(what);
  const local = /:(\d+) connected/.exec(await running.waitFor(/connected/))![1]!;
  await running.waitFor(/closed/, timeoutMs);
  const mine = (): string[] => cloud.controller.lines.slice(from).filter((line) => line.includes(`:${local}"`));
  await until("a line in the log", () => mine().length > 0, { timeoutMs: 3000 }).catch(() => undefined);
  await sleep(100);
  return mine();
}

const openflow = (version: number, type: number, length: number, body: Buffer | string = ""): Buffer => {
  const header = Buffer.from([version, type, length >> 8, length & 255, 0, 0, 0, 1]);
  return Buffer.concat([header, Buffer.from(body)]);
};
const HELLO = openflow(4, 0, 16, Buffer.from([0, 1, 0, 8, 0, 0, 0, 16]));
/** Repeats itself: not random to the test, but to the parser. */
const noise = (bytes: number, seed: number): Buffer => {
  const out = Buffer.alloc(bytes);
  let x = seed;
  for (let i = 0; i < bytes; i++) out[i] = (x = (Math.imul(x, 1_103_515_245) + 12_345) & 0x7fffffff) >> 16;
  return out;
};
const HTTP = Buffer.from("GET / HTTP/1.1\r\nHost: controller\r\nUser-Agent: curl/8.0\r\n\r\n");
const TLS = Buffer.from("16030100c4010000c00303", "hex");

const cases: readonly (readonly [string, Talk])[] = [
  ["OpenFlow: noise", { port: 6653, parts: [noise(4096, 1)] }],
  ["OpenFlow: more noise", { port: 6653, parts: [noise(100_000, 7)] }],
  ["OpenFlow: HTTP", { port: 6653, parts: [HTTP] }],
  ["OpenFlow: TLS where there is none", { port: 6653, parts: [TLS] }],
  ["OpenFlow: a length of 0", { port: 6653, parts: [openflow(4, 0, 0)] }],
  ["OpenFlow: a length of 7", { port: 6653, parts: [openflow(4, 0, 7)] }],
  ["OpenFlow: version 1.0 only", { port: 6653, parts: [openflow(1, 0, 8)] }],
  ["OpenFlow: version 99", { port: 6653, parts: [openflow(99, 0, 8)] }],
  ["OpenFlow: no hello first", { port: 6653, parts: [openflow(4, 10, 32, Buffer.alloc(24))] }],
  ["OpenFlow: hello, then noise", { port: 6653, parts: [HELLO, noise(4096, 3)] }],
  ["OpenFlow: hello, then a type that is none", { port: 6653, parts: [HELLO, openflow(4, 200, 8)] }],
  ["OpenFlow: half a hello, then the end", { port: 6653, parts: [HELLO.subarray(0, 5)], end: true }],
  ["OpenFlow: hello, then the end", { port: 6653, parts: [HELLO], end: true }],
  ["OpenFlow: hello, half a huge message, the end", { port: 6653, parts: [HELLO, openflow(4, 10, 65_535, noise(3000, 5))], end: true }],
  ["OVSDB: noise", { port: 6640, parts: [noise(4096, 2)] }],
  ["OVSDB: HTTP", { port: 6640, parts: [HTTP] }],
  ["OVSDB: TLS where there is none", { port: 6640, parts: [TLS] }],
  ["OVSDB: a text", { port: 6640, parts: [Buffer.from('"hello"')] }],
  ["OVSDB: a list", { port: 6640, parts: [Buffer.from("[1,2,3]")] }],
  ["OVSDB: an object of no kind", { port: 6640, parts: [Buffer.from('{"hello":"world"}')] }],
  ["OVSDB: absurd nesting", { port: 6640, parts: [Buffer.from("[".repeat(500_000))] }],
  ["OVSDB: an answer nobody asked for", { port: 6640, parts: [Buffer.from('{"id":4711,"result":{},"error":null}')], end: true }],
  ["OVSDB: half an object, then the end", { port: 6640, parts: [Buffer.from('{"id":1,"method":"echo","par')], end: true }],
  ["OVSDB: a text that does not end", { port: 6640, parts: Array.from({ length: 80 }, () => Buffer.concat([Buffer.from('{"a":"'), Buffer.alloc(1 << 20, 0x78)])), gapMs: 0 }],
];

describe("what is no switch", () => {
  test.each(cases)("%s", async (_name, what) => {
    const lines = await talk(what);
    expect(lines, lines.join("\n")).toHaveLength(1);
    const entry = JSON.parse(lines[0]!) as { level: number; msg: string };
    expect(entry.level).toBeLessThan(50);
    expect(entry.msg).toMatch(/\w+ \w+/);
    expect(lines[0]!.length, "a line people can read").toBeLessThan(1500);
  });

  test("one who says nothing, and one who says it one byte at a time", { tags: "long", timeout: 60_000 }, async () => {
    const slow = Buffer.from('{"id":0,"method":"echo","params":[');
    const results = await Promise.all([
      talk({ port: 6653, parts: [] }, 40_000),
      talk({ port: 6640, parts: [] }, 40_000),
      talk({ port: 6653, parts: [...HELLO].map((byte) => Buffer.of(byte)), gapMs: 1500 }, 40_000),
      talk({ port: 6640, parts: [...slow].map((byte) => Buffer.of(byte)), gapMs: 1000 }, 40_000),
    ]);
    for (const lines of results) expect(lines, lines.join("\n")).toHaveLength(1);
  });

  test("a hundred at once", { tags: "long", timeout: 60_000 }, async () => {
    await Promise.all(Array.from({ length: 100 }, (_, i) => peer({ port: i % 2 === 0 ? 6653 : 6640, parts: [noise(2000, i + 11)], end: true }).exited));
    expect((await cloud.controller.ops("GET", "/readyz")).status).toBe(200);
  });
});

test("nobody else noticed: no packet lost, the same sessions, the controller works", async () => {
  const stats = await ping.stop();
  expect(stats.sent).toBeGreaterThan(100);
  expect(stats.gaps).toEqual([]);
  await cloud.synced();
  const disconnects = cloud.controller.lines.filter((line) => /switch disconnected|host disconnected/.test(line));
  expect(disconnects).toEqual([]);
  const errors = cloud.controller.lines.filter((line) => /"level":[56]0/.test(line));
  expect(errors).toEqual([]);
  const net = await cloud.network("10.1.0.0/24");
  await cloud.instance(cloud.hv(1), net);
});
