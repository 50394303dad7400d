/**
 * The OVSDB client alone: bytes as a server sends them, through framing, JSON, values and rows into a replica, and
 * transactions to a real ovsdb-server. Every figure is a median of runs; streams are made before the clock starts and
 * read in chunks as a socket gives them.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { insert, mutate, namedUuid, OvsdbClient, OvsdbSession, Replica, select, update } from "ovsdb-client";

type Method = "monitor" | "monitor_cond" | "monitor_cond_since";

interface Stream {
  readonly method: Method;
  readonly notification: "update" | "update2" | "update3";
}

const STREAMS: readonly Stream[] = [
  { method: "monitor", notification: "update" }, { method: "monitor_cond", notification: "update2" }, { method: "monitor_cond_since", notification: "update3" },
];
const CHUNK = 65_536;

const uuidOf = (i: number): string => `00000000-0000-4000-8000-${i.toString(16).padStart(12, "0")}`;

const SCHEMA = {
  name: "Bench", version: "1.0.0",
  tables: {
    Port: {
      columns: {
        name: { type: "string" }, tag: { type: { key: "integer", min: 0, max: 1 } }, trunks: { type: { key: "integer", min: 0, max: "unlimited" } },
        external_ids: { type: { key: "string", value: "string", min: 0, max: "unlimited" } }, up: { type: "boolean" },
        interfaces: { type: { key: { type: "uuid" }, min: 1, max: "unlimited" } }, n: { type: "integer" },
      },
    },
  },
};

/** A row about as large as one of Port or Interface in use: 7 columns, 3 pairs. */
const rowOf = (i: number): Record<string, unknown> => ({
  name: `tap${i.toString(16).padStart(8, "0")}-ab`, tag: i % 4096, trunks: ["set", [1, 2, 3]], up: true, n: i, interfaces: ["uuid", uuidOf(i + 1_000_000)],
  external_ids: ["map", [["attached-mac", "fa:16:3e:00:00:01"], ["iface-id", uuidOf(i + 2_000_000)], ["iface-status", "active"]]],
});

/** What one transaction changes: a number and one pair of the map. */
function change(stream: Stream, i: number, round: number): unknown {
  if (stream.method === "monitor") {
    const old = rowOf(i);
    return { old: { n: old["n"], external_ids: old["external_ids"] }, new: { ...old, n: round, external_ids: ["map", [["attached-mac", "fa:16:3e:00:00:01"], ["iface-id", uuidOf(i + 2_000_000)], ["iface-status", `s${round}`]]] } };
  }
  return { modify: { n: round, external_ids: ["map", [["iface-status", `s${round}`]]] } };
}

/** A server that answers what a replica asks: the schema and `rows` rows. The rest is pushed by the benchmark. */
class ScriptedSocket extends Duplex {
  monitorId: unknown;
  /** The request that was asked for rows waits for them here. */
  asked: (id: unknown) => void = () => undefined;
  /** Called when what was given is read. */
  private wanted: () => void = () => undefined;
  override _read(): void { this.wanted(); }
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.wanted();
    done(error);
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const { method, params, id } = JSON.parse(chunk.toString()) as { method: string; params: unknown[]; id: unknown };
    done();
    // later, as over any network: the request is not yet remembered
    if (method === "get_schema") setImmediate(() => this.push(JSON.stringify({ id, result: SCHEMA, error: null })));
    else if (method.startsWith("monitor")) {
      this.monitorId = params[1];
      this.asked(id);
    }
  }

  /** Gives bytes to the session as a socket would: in chunks, and no faster than they are read. Resolves when the last is given, or the socket is destroyed. */
  async give(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.destroyed; at += CHUNK) {
      if (this.push(bytes.subarray(at, at + CHUNK))) continue;
      await new Promise<void>((resolve) => { this.wanted = resolve; });
    }
  }
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;
const rounded = (value: number): number => (value >= 100 ? Math.round(value) : Number(value.toPrecision(3)));

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function initialOf(stream: Stream, rows: number): string {
  const contents = Object.fromEntries(Array.from({ length: rows }, (_, i) => [uuidOf(i), { [stream.method === "monitor" ? "new" : "initial"]: rowOf(i) }]));
  const tables = { Port: contents };
  return JSON.stringify(stream.method === "monitor_cond_since" ? [false, uuidOf(1), tables] : tables);
}

async function run(stream: Stream, rows: number, updates: number, initial: string): Promise<{ dumpMs: number; dumpBytes: number; heapPerRow: number; updatesMs: number; updateBytes: number }> {
  const socket = new ScriptedSocket();
  const session = new OvsdbSession(socket, { echoIntervalMs: 0, maxMessageBytes: 1 << 29 });
  const replica = new Replica("Bench", { Port: Object.keys(SCHEMA.tables.Port.columns) }, { methods: [stream.method] });
  const asked = new Promise<unknown>((resolve) => { socket.asked = resolve; });
  const attached = replica.attach(session);
  const dump = Buffer.from(`{"id":${JSON.stringify(await asked)},"result":${initial},"error":null}`);
  collect();
  const heapBefore = process.memoryUsage().heapUsed;
  const dumpStart = performance.now();
  await socket.give(dump);
  await attached;
  const dumpMs = performance.now() - dumpStart;
  if (replica.table("Port").size !== rows) throw new Error(`${replica.table("Port").size} rows instead of ${rows}`);
  collect();
  const heapPerRow = (process.memoryUsage().heapUsed - heapBefore) / rows;
  let seen = 0;
  replica.on("change", (changes) => { seen += changes.length; });
  const messages = Array.from({ length: updates }, (_, i) => {
    const tables = { Port: { [uuidOf((i * 7919) % rows)]: change(stream, (i * 7919) % rows, i + 10_000_000) } };
    const params = stream.notification === "update3" ? [socket.monitorId, uuidOf(i + 2), tables] : [socket.monitorId, tables];
    return JSON.stringify({ id: null, method: stream.notification, params });
  });
  const bytes = Buffer.from(messages.join(""));
  const start = performance.now();
  await socket.give(bytes);
  while (seen < updates && !socket.destroyed) await new Promise((resolve) => setImmediate(resolve));
  const updatesMs = performance.now() - start;
  if (seen !== updates) throw new Error(`${seen} changes instead of ${updates}`);
  await session.close();
  return { dumpMs, dumpBytes: dump.length, heapPerRow, updatesMs, updateBytes: bytes.length };
}

/** A real ovsdb-server on a database of its own; what `use` gives. */
async function withServer<T>(use: (remote: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "bench-ovsdb-"));
  const at = (name: string): string => join(directory, name);
  execFileSync("ovsdb-tool", ["create", at("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema"]);
  const server = spawn("ovsdb-server", [at("conf.db"), `--remote=punix:${at("sock")}`, `--unixctl=${at("ctl")}`, `--pidfile=${at("pid")}`, `--log-file=${at("log")}`, "-vconsole:off"], { stdio: "ignore" });
  try {
    for (let tries = 0; !existsSync(at("sock")); tries++) {
      if (tries > 500) throw new Error("ovsdb-server does not start");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return await use(`unix:${at("sock")}`);
  } finally {
    const gone = once(server, "exit");
    server.kill();
    await gone;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function transactions(remote: string, count: number, ports: number): Promise<{ oneByOne: number; pipelined: number; optimistic: number; portsMs: number }> {
  const client = new OvsdbClient({ remotes: remote, database: "Open_vSwitch", tables: { Open_vSwitch: ["next_cfg", "bridges"], Bridge: ["name", "ports"], Port: ["name", "interfaces"], Interface: ["name"] } });
  await client.ready();
  if (client.table("Open_vSwitch").size === 0) await client.transact([insert("Open_vSwitch", {})]);
  const step = (): Promise<unknown> => client.transact([mutate("Open_vSwitch", [], [["next_cfg", "+=", 1]])]);
  const perSecond = async (work: () => Promise<unknown>): Promise<number> => {
    const start = performance.now();
    await work();
    return (count * 1000) / (performance.now() - start);
  };
  const oneByOne = await perSecond(async () => { for (let i = 0; i < count; i++) await step(); });
  const pipelined = await perSecond(async () => {
    let left = count;
    await Promise.all(Array.from({ length: 32 }, async () => { while (left-- > 0) await step(); }));
  });
  const optimistic = await perSecond(async () => {
    for (let i = 0; i < count; i++) {
      await client.update((tx) => {
        const root = tx.rows("Open_vSwitch")[0]!;
        tx.update("Open_vSwitch", root, { next_cfg: Number(root["next_cfg"]) + 1 });
      });
    }
  });
  const start = performance.now();
  const results = await client.transact([
    ...Array.from({ length: ports }, (_, i) => [
      insert("Interface", { name: `p${i}` }, { uuidName: `i${i}` }), insert("Port", { name: `p${i}`, interfaces: namedUuid(`i${i}`) }, { uuidName: `p${i}` }),
    ]).flat(),
    insert("Bridge", { name: "b", ports: Array.from({ length: ports }, (_, i) => namedUuid(`p${i}`)) }, { uuidName: "b" }),
    mutate("Open_vSwitch", [], [["bridges", "insert", namedUuid("b")]]),
  ]);
  if (client.table("Port").size !== ports) throw new Error("the ports are not in the replica");
  const portsMs = performance.now() - start;
  await client.transact([update("Open_vSwitch", [], { bridges: null }), select("Bridge", [["_uuid", "==", results[2 * ports]!.uuid!]], ["name"])]);
  await client.close();
  return { oneByOne, pipelined, optimistic, portsMs };
}

/** `rows` in the first reply, as many updates, `repeats` runs of each; `transactions` of each kind. */
export async function benchOvsdb(options: { rows?: number; repeats: number; transactions?: number }): Promise<object> {
  const rows = options.rows ?? 100_000, ports = Math.min(rows, 5000);
  const streams: Record<string, string | number>[] = [];
  for (const stream of STREAMS) {
    const initial = initialOf(stream, rows);
    const runs: Awaited<ReturnType<typeof run>>[] = [];
    await run(stream, rows, rows, initial); // warm
    for (let i = 0; i < options.repeats; i++) runs.push(await run(stream, rows, rows, initial));
    const of = (pick: (one: (typeof runs)[number]) => number): number => rounded(median(runs.map(pick)));
    streams.push({
      stream: stream.notification,
      "updates/s": of((one) => (rows * 1000) / one.updatesMs), "update MB/s": of((one) => one.updateBytes / 1000 / one.updatesMs),
      "initial rows/s": of((one) => (rows * 1000) / one.dumpMs), "initial MB/s": of((one) => one.dumpBytes / 1000 / one.dumpMs),
      "initial ms": of((one) => one.dumpMs), "heap B/row": of((one) => one.heapPerRow),
    });
  }
  const runs = await withServer(async (remote) => {
    const all: Awaited<ReturnType<typeof transactions>>[] = [];
    for (let i = 0; i < options.repeats; i++) all.push(await transactions(remote, options.transactions ?? 1000, ports));
    return all;
  });
  const of = (pick: (one: (typeof runs)[number]) => number): number => rounded(median(runs.map(pick)));
  return {
    rows, streams,
    "transactions/s one by one": of((one) => one.oneByOne), "transactions/s 32 at once": of((one) => one.pipelined), "updates/s optimistic": of((one) => one.optimistic),
    [`${ports} ports in one transaction, ms`]: of((one) => one.portsMs),
  };
}
