import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectRaw, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";

import { connect, del, insert, listen, mutate, Replica, update, type OvsdbSession, type RowChange } from "../index.ts";
import { MessageScanner } from "../wire/framing.ts";
import { stringify, type Json, type JsonObject } from "../wire/json.ts";
import { haveOvs, RealServer, result, scriptedServer, unknownMethod, until } from "../testing/support.ts";

const SCHEMA: JsonObject = { name: "D", version: "1.0.0", tables: { T: { columns: { name: { type: "string" }, n: { type: "integer" } } } } };
const A = "00000000-0000-4000-8000-00000000000a", ID1 = "11111111-0000-4000-8000-000000000000", ZERO = "00000000-0000-0000-0000-000000000000";

async function scripted(answers: Readonly<Record<string, JsonObject | ((params: Json) => JsonObject | undefined)>>, options: Parameters<typeof connect>[1] = {}) {
  const server = await scriptedServer((method, params) => {
    const answer = answers[method];
    return typeof answer === "function" ? answer(params) : answer ?? (method === "get_schema" ? result(SCHEMA) : undefined);
  });
  onTestFinished(() => { server.close(); });
  const session = await connect({ port: server.port }, options);
  onTestFinished(() => void session.close());
  await until(() => server.peers.length > 0);
  return { server, session, peer: server.peers[0]! };
}

const closed = (session: OvsdbSession): Promise<Error | undefined> => new Promise((resolve) => { session.once("close", resolve); });

describe("a session", () => {
  test("answers echo and refuses other requests", async () => {
    const { peer } = await scripted({});
    peer.send({ method: "echo", params: ["x", 1], id: "echo" });
    peer.send({ method: "steal_all", params: [], id: [1] });
    peer.send({ method: "unheard_of", params: [], id: null });
    await until(() => peer.received.length === 2);
    expect(peer.received).toEqual([{ id: "echo", result: ["x", 1], error: null }, { id: [1], result: null, error: "unknown method" }]);
  });

  const faults: readonly [string, string, string][] = [
    ["reply to nothing", '{"id":77,"result":[],"error":null}', "unexpected reply"],
    ["reply with a strange id", '{"id":{},"result":[],"error":null}', "unexpected reply"],
    ["params no array", '{"method":"echo","params":{},"id":1}', "not json-rpc"],
    ["method no string", '{"method":5,"params":[],"id":1}', "not json-rpc"],
    ["nothing at all", "{}", "not json-rpc"],
    ["no JSON", "hello", "not an object"],
    ["too long", `{"a":"${"x".repeat(5000)}`, "message too long"],
  ];
  test.each(faults)("ends at a %s; requests under way fail with it", async (_, text, code) => {
    const { session, peer } = await scripted({}, { maxMessageBytes: 4096 });
    const pending = session.listDbs().catch((error: unknown) => error);
    const reason = closed(session);
    peer.socket.write(text);
    expect(await reason).toMatchObject({ name: "OvsdbProtocolError", code });
    expect(await pending).toBe(await reason);
    await expect(session.request("echo", [])).rejects.toMatchObject({ code });
  });

  test("a stream that ends within a message is truncated", async () => {
    const { session, peer } = await scripted({});
    const reason = closed(session);
    peer.socket.end('{"id":1,');
    expect(await reason).toMatchObject({ code: "truncated" });
  });

  test("probes a silent peer, takes anything for life, gives up in time", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    onTestFinished(() => void vi.useRealTimers());
    const io = async (done: () => boolean): Promise<void> => { while (!done()) await new Promise((resolve) => setImmediate(resolve)); };
    let answering = true;
    const server = await scriptedServer((method) => (method === "echo" && answering ? result([]) : undefined));
    onTestFinished(() => { server.close(); });
    const session = await connect({ port: server.port }, { echoIntervalMs: 3000, echoTimeoutMs: 3000 });
    onTestFinished(() => void session.close());
    await io(() => server.peers.length > 0);
    const peer = server.peers[0]!;
    const reason = closed(session);
    const answered = async (echoes: number): Promise<void> => {
      await io(() => peer.received.length === echoes);
      const { bytesWritten } = peer.socket;
      await io(() => (session.socket as unknown as { readonly bytesRead: number }).bytesRead === bytesWritten); // the answer is here
      await new Promise((resolve) => setImmediate(resolve));
    };
    for (let echoes = 1; echoes <= 3; echoes++) {
      vi.advanceTimersByTime(3000);
      await answered(echoes);
    }
    vi.advanceTimersByTime(2999);
    expect(peer.received).toHaveLength(3);
    answering = false;
    vi.advanceTimersByTime(1);
    await io(() => peer.received.length === 4);
    vi.advanceTimersByTime(2999);
    await new Promise((resolve) => setImmediate(resolve));
    expect(session.open).toBe(true);
    vi.advanceTimersByTime(1);
    expect(await reason).toMatchObject({ name: "OvsdbConnectionError", code: "dead peer", message: expect.stringContaining("silent for 6000 ms") });
  });

  test("refuses to queue without limit, and drops a peer that asks but does not read", async () => {
    const { session, peer } = await scripted({}, { maxQueuedBytes: 100_000, echoIntervalMs: 0 });
    peer.socket.pause();
    const outcomes: unknown[] = [];
    for (let i = 0; i < 200; i++) void session.request("transact", ["x".repeat(50_000)]).catch((error: unknown) => outcomes.push(error));
    await until(() => outcomes.length > 0);
    expect(outcomes[0]).toMatchObject({ name: "OvsdbConnectionError", code: "queue full" });
    expect(session.open).toBe(true);
    expect(session.queuedBytes).toBeLessThanOrEqual(100_000);
    const reason = closed(session);
    const question = stringify({ method: "echo", params: ["y".repeat(60_000)], id: 1 });
    for (let i = 0; i < 200 && session.open; i++) { peer.socket.write(question); await new Promise((resolve) => setImmediate(resolve)); }
    expect(await reason).toMatchObject({ code: "queue full" });
  });

  test("close() is not an error and sends what is queued", async () => {
    const { session, peer } = await scripted({});
    const reason = closed(session);
    void session.request("last_words", ["x".repeat(1_000_000)]).catch(() => undefined);
    await session.close();
    expect(await reason).toBeUndefined();
    await until(() => peer.received.length === 1);
  });

  test("results that are none are the server's fault", async () => {
    const { session } = await scripted({ transact: result([{ count: "many" }]), list_dbs: result([5]) });
    await expect(session.transact("D", [del("T", [])])).rejects.toMatchObject({ name: "OvsdbProtocolError", code: "bad result" });
    await expect(session.listDbs()).rejects.toMatchObject({ name: "OvsdbProtocolError" });
  });

  test("a listener that throws is loud and costs no message", async () => {
    const { session, peer } = await scripted({});
    const before = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const loud = new Promise((resolve) => process.once("uncaughtException", resolve));
    const heard: unknown[] = [];
    session.on("notification", (method) => {
      heard.push(method);
      if (heard.length === 1) throw new Error("a bug of the listener");
    });
    peer.send({ method: "one", params: [], id: null });
    peer.send({ method: "two", params: [], id: null });
    expect(await loud).toMatchObject({ message: "a bug of the listener" });
    for (const listener of before) process.on("uncaughtException", listener);
    await until(() => heard.length === 2);
    expect(session.open).toBe(true);
  });
});

describe("a replica", () => {
  const first = { T: { [A]: { initial: { name: "a" } } } };

  test("resumes by transaction id, of the reply or the last update3", async () => {
    const asked: Json[] = [];
    const replies = [[false, ID1, first], [true, ID1, { T: { [A]: { modify: { n: 5 } } } }], [false, ZERO, first], [false, ID1, first]];
    const { session, peer, server } = await scripted({
      monitor_cond_since: (params) => {
        asked.push((params as readonly Json[])[3]!);
        return result(replies[asked.length - 1]!);
      },
    });
    const replica = new Replica("D", { T: ["name", "n"] });
    const events: (readonly RowChange[])[] = [];
    replica.on("change", (changes) => events.push(changes));
    await replica.attach(session);
    const id = (peer.received.at(-1)!["params"] as readonly Json[])[1]!;
    peer.send({ method: "update3", params: [id, "22222222-0000-4000-8000-000000000000", { T: { [A]: { modify: { name: "b" } } } }], id: null });
    await until(() => events.length === 2);
    replica.detach();
    expect(await replica.attach(session)).toMatchObject({ resumed: true });
    expect(replica.table("T").get(A)).toEqual({ _uuid: A, name: "b", n: 5 });
    replica.detach();
    expect(await replica.attach(session)).toMatchObject({ resumed: false });
    await replica.attach(await connect({ port: server.port }));
    expect(asked).toEqual([ZERO, "22222222-0000-4000-8000-000000000000", ID1, ZERO]);
    expect(events.length).toBe(4);
    await replica.session!.close();
  });

  test("an update in the packet of the reply comes after it", async () => {
    const { session, peer } = await scripted({ monitor_cond_since: () => undefined });
    const opening = session.monitor("D", { T: {} });
    await until(() => peer.received.at(-1)?.["method"] === "monitor_cond_since");
    const { id, params } = peer.received.at(-1)!;
    peer.socket.write(stringify({ id: id!, result: [false, ZERO, first], error: null })
      + stringify({ method: "update3", params: [(params as readonly Json[])[1]!, ZERO, { T: { [A]: { modify: { n: 1 } } } }], id: null }));
    const monitor = await opening;
    expect(monitor.initial).toMatchObject([{ new: { name: "a", n: 0 } }]);
    const heard: unknown[] = [];
    monitor.on("update", (changes) => heard.push(changes));
    await until(() => heard.length === 1);
    expect(heard).toMatchObject([[{ old: { n: 0 }, new: { n: 1 } }]]);
  });

  test("an update that makes no sense ends the session, and the next attachment starts afresh", async () => {
    const asked: Json[] = [];
    const { session, peer, server } = await scripted({
      monitor_cond_since: (params) => { asked.push((params as readonly Json[])[3]!); return result([false, ID1, first]); },
    });
    const replica = new Replica("D", { T: ["name", "n"] });
    await replica.attach(session);
    const id = (peer.received.at(-1)!["params"] as readonly Json[])[1]!;
    const reason = closed(session);
    peer.send({ method: "update3", params: [id, ID1, { T: { [A]: { modify: { n: "five" } } } }], id: null });
    expect(await reason).toMatchObject({ name: "OvsdbProtocolError", code: "bad update" });
    expect(replica.table("T").get(A)).toEqual({ _uuid: A, name: "a", n: 0 });
    await replica.attach(await connect({ port: server.port }));
    expect(asked).toEqual([ZERO, ZERO]);
    await replica.session!.close();
  });

  test("a canceled monitor and a refused one", async () => {
    let refuse = false;
    const { session, peer } = await scripted({ monitor_cond_since: () => (refuse ? { result: null, error: { error: "resources exhausted", details: "x" } } : result([false, ID1, first])), monitor_cancel: result({}) });
    const replica = new Replica("D", { T: ["name"] });
    await replica.attach(session);
    const id = (peer.received.at(-1)!["params"] as readonly Json[])[1]!;
    const lost = new Promise((resolve) => { replica.once("lost", resolve); });
    peer.send({ method: "monitor_canceled", params: [id], id: null });
    expect(await lost).toMatchObject({ code: "canceled" });
    expect(replica.synced).toBe(false);
    refuse = true;
    await expect(replica.attach(session)).rejects.toMatchObject({ code: "resources exhausted" });
    expect(replica.session).toBeUndefined();
    refuse = false;
    await replica.attach(session);
    expect(replica.synced).toBe(true);
  });
});

describe("fallback", () => {
  test("a server without any monitor", async () => {
    const { session } = await scripted({ monitor_cond_since: unknownMethod, monitor_cond: unknownMethod, monitor: unknownMethod });
    await expect(session.monitor("D", { T: {} })).rejects.toMatchObject({ code: "unknown method" });
    await expect(session.monitor("D", { X: {} })).rejects.toMatchObject({ name: "OvsdbValueError", code: "unknown table" });
  });
});

/** Stands between a client and a real server and does not know some methods, as older servers. */
async function olderServer(path: string, unknown: readonly string[]): Promise<number> {
  const server = createServer((client) => {
    const upstream = connectRaw({ path });
    const scanner = new MessageScanner(1 << 26);
    client.on("data", (chunk) => {
      for (const message of scanner.push(chunk)) {
        if (unknown.includes(message["method"] as string)) client.write(stringify({ id: message["id"]!, error: "unknown method" }));
        else upstream.write(stringify(message));
      }
    });
    upstream.pipe(client);
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
    client.on("close", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => { server.close(); });
  return (server.address() as AddressInfo).port;
}

describe.skipIf(!haveOvs)("with a real server", () => {
  let server: RealServer;
  beforeAll(async () => { server = await RealServer.start(); });
  afterAll(async () => { await server.stop(); });

  test("a busy process does not take its own deafness for the peer's death", async () => {
    const session = await connect({ path: server.path }, { echoIntervalMs: 20, echoTimeoutMs: 60 });
    const started = performance.now();
    while (performance.now() - started < 1500) {
      const until = performance.now() + 150;
      while (performance.now() < until); // long enough for probe and timeout to be overdue
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 8));
    }
    expect(session.open).toBe(true);
    await session.close();
  });

  test("all ways to monitor give the same rows, whatever happens", async () => {
    const columns = { QoS: ["type", "other_config", "external_ids", "queues"], Queue: ["dscp", "external_ids"] };
    const ports = [await olderServer(server.path, []), await olderServer(server.path, ["monitor_cond_since"]), await olderServer(server.path, ["monitor_cond_since", "monitor_cond"])];
    const replicas: Replica[] = [];
    for (const port of ports) {
      const replica = new Replica("Open_vSwitch", columns);
      await replica.attach(await connect({ port }));
      replicas.push(replica);
    }
    expect(replicas.map((replica) => replica.report!.method)).toEqual(["monitor_cond_since", "monitor_cond", "monitor"]);
    const filtered = await replicas[2]!.session!.monitor("Open_vSwitch", { QoS: { columns: ["type"], where: [["other_config", "includes", { a: "1" }]] } });
    const reference = await replicas[0]!.session!.monitor("Open_vSwitch", { QoS: { columns: ["type"], where: [["other_config", "includes", { a: "1" }]] } });
    const writer = await connect({ path: server.path });
    const counts = [0, 0, 0];
    for (const [i, replica] of replicas.entries()) replica.on("change", () => { counts[i]!++; });

    const key = fc.constantFrom("a", "b", "constructor"), config = fc.dictionary(key, fc.constantFrom("1", "2"));
    const row = fc.nat(4);
    const step = fc.oneof(
      fc.record({ kind: fc.constant("insert" as const), config }),
      fc.record({ kind: fc.constant("update" as const), row, config, type: fc.constantFrom("x", "y") }),
      fc.record({ kind: fc.constant("mutate" as const), row, config }),
      fc.record({ kind: fc.constant("queue" as const), row, at: fc.nat(2), dscp: fc.option(fc.nat(63), { nil: null }) }),
      fc.record({ kind: fc.constant("delete" as const), row }),
    );
    const uuids = (): string[] => [...replicas[0]!.table("QoS").keys()].sort();
    await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 20 }), async (steps) => {
      for (const one of steps) {
        const target = one.kind === "insert" ? undefined : uuids()[one.row];
        if (one.kind === "insert") await writer.transact("Open_vSwitch", [insert("QoS", { type: "x", other_config: one.config })]);
        else if (target === undefined) continue;
        else if (one.kind === "update") await writer.transact("Open_vSwitch", [update("QoS", [["_uuid", "==", target]], { other_config: one.config, type: one.type })]);
        else if (one.kind === "mutate") await writer.transact("Open_vSwitch", [mutate("QoS", [["_uuid", "==", target]], [["other_config", "insert", one.config], ["external_ids", "insert", one.config], ["other_config", "delete", ["a"]]])]);
        else if (one.kind === "queue") {
          const [queue] = await writer.transact("Open_vSwitch", [insert("Queue", { dscp: one.dscp })]);
          await writer.transact("Open_vSwitch", [update("QoS", [["_uuid", "==", target]], { queues: new Map([[one.at, queue!.uuid!]]) })]);
        } else await writer.transact("Open_vSwitch", [del("QoS", [["_uuid", "==", target]])]);
        await replicas[0]!.session!.listDbs(); // what was sent before has arrived
      }
      for (const replica of replicas) await replica.session!.listDbs();
      for (const table of Object.keys(columns)) {
        const want = new Map(replicas[0]!.table(table));
        for (const replica of replicas) expect(new Map(replica.table(table))).toEqual(want);
      }
      expect(new Set(filtered.table("QoS").keys())).toEqual(new Set(reference.table("QoS").keys()));
      const { rows } = (await writer.transact("Open_vSwitch", [{ op: "select", table: "QoS", where: [], columns: ["_uuid", ...columns.QoS] }]))[0]!;
      expect(new Map(rows!.map((found) => [found["_uuid"], found]))).toEqual(new Map(replicas[0]!.table("QoS")));
    }), { numRuns: 15 });
    expect(counts[1]).toBe(counts[0]);
    expect(counts[2]).toBe(counts[0]);
    for (const replica of replicas) await replica.session!.close();
    await writer.close();
  });
});

const openssl = (): boolean => {
  try { execFileSync("openssl", ["version"]); return true; } catch { return false; }
};

describe.skipIf(!openssl())("TLS", () => {
  const directory = mkdtempSync(join(tmpdir(), "ovsdb-tls-"));
  const file = (name: string): string => join(directory, name);
  afterAll(() => { rmSync(directory, { recursive: true, force: true }); });
  beforeAll(() => {
    const ssl = (...args: string[]): unknown => execFileSync("openssl", args, { stdio: "pipe" });
    ssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test CA", "-keyout", file("ca.key"), "-out", file("ca.pem"));
    for (const name of ["controller", "switch"]) {
      ssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file(`${name}.key`), "-out", file(`${name}.csr`));
      ssl("x509", "-req", "-days", "2", "-in", file(`${name}.csr`), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-copy_extensions", "copy", "-out", file(`${name}.pem`));
    }
  });
  const tls = (name: string) => ({ key: readFileSync(file(`${name}.key`)), cert: readFileSync(file(`${name}.pem`)), ca: readFileSync(file("ca.pem")) });

  test("both sides prove who they are; others are turned away", async () => {
    const errors: Error[] = [];
    let accepted = 0;
    const listener = await listen({ tls: { ...tls("controller"), requestCert: true }, onError: (error) => errors.push(error) }, () => { accepted++; });
    onTestFinished(() => listener.close());
    const session = await connect({ port: listener.port, tls: tls("switch") });
    await session.request("echo", []).catch((error: unknown) => { expect(error).toMatchObject({ code: "unknown method" }); });
    expect(accepted).toBe(1);
    await expect(connect({ port: listener.port, tls: {} })).rejects.toMatchObject({ code: "socket error" }); // does not know our CA
    const anonymous = await connect({ port: listener.port, tls: { ca: tls("switch").ca } }).catch(() => undefined);
    if (anonymous !== undefined) await until(() => !anonymous.open);
    const plain = connectRaw(listener.port, "127.0.0.1").on("error", () => undefined);
    plain.write('{"method":"echo","params":[],"id":1}');
    await until(() => errors.length >= 3);
    expect(accepted).toBe(1);
    plain.destroy();
    await session.close();
  });

  test.skipIf(!haveOvs)("a real switch with set-manager ssl:", async () => {
    const server = await RealServer.start({ args: ["--private-key=db:Open_vSwitch,SSL,private_key", "--certificate=db:Open_vSwitch,SSL,certificate", "--ca-cert=db:Open_vSwitch,SSL,ca_cert"] });
    onTestFinished(() => server.stop());
    let session: OvsdbSession | undefined;
    const listener = await listen({ tls: { ...tls("controller"), requestCert: true } }, (accepted) => { session = accepted; });
    onTestFinished(() => listener.close());
    await server.vsctl("set-ssl", file("switch.key"), file("switch.pem"), file("ca.pem"), "--", "set-manager", `ssl:127.0.0.1:${listener.port}`);
    await until(() => session !== undefined);
    const replica = new Replica("Open_vSwitch", { Manager: ["target"] });
    await replica.attach(session!);
    expect([...replica.table("Manager").values()]).toMatchObject([{ target: `ssl:127.0.0.1:${listener.port}` }]);
  });
});

test("the connection attempt has an end", async () => {
  const silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await until(() => silent.listening);
  const { port } = silent.address() as AddressInfo;
  await expect(connect({ port, tls: {} }, { connectTimeoutMs: 50 })).rejects.toMatchObject({ code: "connect timeout" });
  silent.close();
});
