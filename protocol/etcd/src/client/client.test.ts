// Against real etcd. What depends on time is waited for, not measured.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { compareTarget, EtcdClient, EtcdError, type ClientConfig, type Event } from "../index.ts";
import { EtcdServer, haveEtcd } from "../testing/server.ts";

const until = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((done) => setTimeout(done, 10));
};
const errorOf = async (work: Promise<unknown>): Promise<EtcdError> => {
  const error: unknown = await work.then(() => "resolved", (e: unknown) => e);
  expect(error).toBeInstanceOf(EtcdError);
  return error as EtcdError;
};
function connect(config: ClientConfig): EtcdClient {
  const client = new EtcdClient(config);
  onTestFinished(() => client.close());
  return client;
}
const line = ({ type, kv }: Event): string => `${kv!.mod_revision} ${kv!.key.toString()}${type === 1 ? "-" : `=${kv!.value.toString()}`}`;

describe.skipIf(!haveEtcd)("one member", () => {
  let server: EtcdServer;
  let client: EtcdClient;
  beforeAll(async () => {
    server = await EtcdServer.start();
    client = new EtcdClient({ endpoints: server.endpoints });
    await server.untilReady(() => client.status());
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  test("put, range in pages, delete, txn, status", async () => {
    for (const key of ["a/1", "a/2", "a/3", "b"]) await client.put({ key, value: `of ${key}` });
    const { kvs, more, count } = await client.range({ key: "a/", range_end: "a0", limit: 2 });
    expect([kvs.map(({ key, value, version }) => `${key.toString()} ${value.toString()} ${version}`), more, count]).toEqual([["a/1 of a/1 1", "a/2 of a/2 1"], true, 3]);
    expect((await client.range({ key: "a/", range_end: "a0", count_only: true })).count).toBe(3);
    expect((await client.range({ key: "a/", range_end: "a0", sort_order: 2, limit: 1, keys_only: true })).kvs[0]!.key.toString()).toBe("a/3");
    const absent = { target: compareTarget.mod, key: "c", mod_revision: 0 };
    const write = { compare: [absent], success: [{ request_put: { key: "c", value: "1" } }, { request_delete_range: { key: "a/", range_end: "a0" } }], failure: [{ request_range: { key: "c" } }] };
    const won = await client.txn(write);
    expect([won.succeeded, won.responses[1]!.response_delete_range!.deleted]).toEqual([true, 3]);
    const lost = await client.txn(write);
    expect([lost.succeeded, lost.responses[0]!.response_range!.kvs[0]!.mod_revision]).toEqual([false, won.header!.revision]);
    expect((await client.deleteRange({ key: "b" })).deleted).toBe(1);
    const status = await client.status();
    expect(status.version).toMatch(/^3\./);
    expect(status.leader).toBe(status.header!.member_id);
  });

  test("a lease takes its keys with it; a key may be taken out of it", async () => {
    const { id, ttlS } = await client.leaseGrant(60);
    expect(ttlS).toBeGreaterThanOrEqual(60);
    await client.put({ key: "leased", value: "1", lease: id });
    await client.put({ key: "freed", value: "1", lease: id });
    expect((await client.range({ key: "leased" })).kvs[0]!.lease).toBe(id);
    expect(await client.leaseKeepAlive(id)).toBe(ttlS);
    await client.put({ key: "freed", ignore_value: true });
    await client.leaseRevoke(id);
    expect(await client.leaseKeepAlive(id)).toBe(0);
    expect((await client.range({ key: "leased" })).kvs).toEqual([]);
    expect((await client.range({ key: "freed" })).kvs[0]!.value.toString()).toBe("1");
  });

  test("a watch tells of the past and of what comes, deletions too, large ones whole", async () => {
    const first = (await client.put({ key: "w/a", value: "1" })).header!.revision;
    await client.put({ key: "other", value: "1" });
    await client.deleteRange({ key: "w/a" });
    const told: string[][] = [];
    const watch = client.watch({ key: "w/", rangeEnd: "w0", from: first }, { onEvents: (events) => told.push(events.map(line)), onCompacted: () => undefined });
    await until(() => told.flat().length === 2);
    expect(told.flat()).toEqual([`${first} w/a=1`, `${first + 2} w/a-`]);
    // More than fits one answer of etcd.
    const large = "x".repeat(1_400_000);
    const put = (key: string): Promise<unknown> => client.put({ key: `w/${key}`, value: large });
    watch.close();
    for (const key of ["b", "c", "d"]) await put(key);
    const seen: number[] = [];
    const again = client.watch({ key: "w/", rangeEnd: "w0", from: first + 3 }, { onEvents: (events) => seen.push(...events.map(({ kv }) => kv!.value.length)), onCompacted: () => undefined });
    await until(() => seen.length === 3);
    expect(seen).toEqual([1_400_000, 1_400_000, 1_400_000]);
    again.close();
    expect(told.flat()).toHaveLength(2);
  });

  test("what is compacted cannot be read or watched, and says so", async () => {
    const old = (await client.put({ key: "k", value: "1" })).header!.revision;
    const now = (await client.put({ key: "k", value: "2" })).header!.revision;
    await client.compact(now);
    expect(await errorOf(client.compact(now))).toMatchObject({ code: "COMPACTED" });
    expect(await errorOf(client.range({ key: "k", revision: old }))).toMatchObject({ code: "COMPACTED" });
    const compacted = await new Promise((resolve) => client.watch({ key: "k", from: old }, { onEvents: () => undefined, onCompacted: resolve }));
    expect(compacted).toBe(now);
  });

  test("limits of etcd are errors with a code", async () => {
    expect(await errorOf(client.put({ key: "k", value: Buffer.alloc(1_700_000) }))).toMatchObject({ code: "TOO_LARGE" });
    const many = Array.from({ length: 129 }, (_, i) => ({ request_put: { key: `m${i}` } }));
    expect(await errorOf(client.txn({ success: many }))).toMatchObject({ code: "TOO_LARGE" });
    expect(await errorOf(client.range({ key: "" }))).toMatchObject({ code: "REFUSED", message: expect.stringContaining(server.endpoints[0]!) });
  });

  test("a call has its time, however the clock is set meanwhile", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const back = errorOf(connect({ endpoints: ["127.0.0.1:1"] }).status({ timeoutMs: 500 }));
    await new Promise((done) => setTimeout(done, 100));
    vi.setSystemTime(Date.now() - 3_600_000);
    expect((await back).message).toContain("ECONNREFUSED");
    // Set forward while it is tried again and again: there is time left to be answered.
    await server.freeze(0);
    const forward = client.put({ key: "k", value: "late" }, { timeoutMs: 20_000, again: true });
    await new Promise((done) => setTimeout(done, 100));
    vi.setSystemTime(Date.now() + 3_600_000);
    await new Promise((done) => setTimeout(done, 100));
    server.thaw(0);
    await forward;
    expect((await client.range({ key: "k" })).kvs[0]!.value.toString()).toBe("late");
  });

  test("nobody there, nobody who answers, no etcd: each ends in time and names the endpoint", async () => {
    const nowhere = connect({ endpoints: ["127.0.0.1:1"] });
    // The last attempt may be cut off by the end of its time: the reason is told all the same.
    const refused = await errorOf(nowhere.status({ timeoutMs: 1000 }));
    expect(["UNAVAILABLE", "TIMEOUT"]).toContain(refused.code);
    expect(refused.message).toMatch(/127\.0\.0\.1:1 cannot be used.*ECONNREFUSED/);
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await new Promise((done) => silent.once("listening", done));
    const at = `127.0.0.1:${(silent.address() as { port: number }).port}`;
    const error = await errorOf(connect({ endpoints: [at] }).put({ key: "k" }, { timeoutMs: 300 }));
    expect(["TIMEOUT", "UNAVAILABLE"]).toContain(error.code);
    expect(error.message).toContain(at);
    // Where another member answers, the call is made.
    expect((await connect({ endpoints: ["127.0.0.1:1", at, ...server.endpoints] }).status({ timeoutMs: 10_000 })).version).toMatch(/^3/);
    const closed = connect({ endpoints: server.endpoints });
    closed.close();
    expect(await errorOf(closed.status())).toMatchObject({ code: "CLOSED" });
  });
});

describe.skipIf(!haveEtcd)("users", () => {
  test("a user with a password, also after the member forgot its tokens; others are refused", { timeout: 60_000 }, async () => {
    const server = await EtcdServer.start();
    onTestFinished(() => server.stop());
    const anonymous = connect({ endpoints: server.endpoints });
    await server.untilReady(() => anonymous.status());
    const call = async (path: string, body: object): Promise<void> => {
      const answer = await fetch(`http://${server.endpoints[0]!}/v3/auth/${path}`, { method: "POST", body: JSON.stringify(body) });
      expect([path, answer.status]).toEqual([path, 200]);
    };
    const of = (text: string): string => Buffer.from(text).toString("base64");
    await call("user/add", { name: "root", password: "secret" });
    await call("user/grant", { user: "root", role: "root" });
    await call("role/add", { name: "mine" });
    await call("role/grant", { name: "mine", perm: { permType: "READWRITE", key: of("mine/"), range_end: of("mine0") } });
    await call("user/add", { name: "me", password: "mine" });
    await call("user/grant", { user: "me", role: "mine" });
    await call("enable", {});
    expect(await errorOf(anonymous.put({ key: "mine/a" }))).toMatchObject({ code: "UNAUTHENTICATED" });
    expect(await errorOf(connect({ endpoints: server.endpoints, user: { name: "me", password: "wrong" } }).put({ key: "mine/a" }))).toMatchObject({ code: "UNAUTHENTICATED" });
    const me = connect({ endpoints: server.endpoints, user: { name: "me", password: "mine" } });
    await me.put({ key: "mine/a", value: "1" });
    expect(await errorOf(me.put({ key: "other", value: "1" }))).toMatchObject({ code: "DENIED" });
    const told: string[] = [];
    me.watch({ key: "mine/", rangeEnd: "mine0", from: 1 }, { onEvents: (events) => told.push(...events.map(({ kv }) => kv!.value.toString())), onCompacted: () => undefined });
    await until(() => told.length === 1);
    await server.kill(0);
    server.begin(0);
    await server.untilReady(() => me.put({ key: "mine/a", value: "2" }));
    await until(() => told.includes("2"));
  });
});

describe.skipIf(!haveEtcd)("three members", () => {
  test("calls and watches go on over a member that dies, and one that is silent; without a majority they fail, and heal", { timeout: 120_000 }, async () => {
    const server = await EtcdServer.start({ members: 3 });
    onTestFinished(() => server.stop());
    const client = connect({ endpoints: server.endpoints });
    await server.untilReady(() => client.put({ key: "ready" }));
    const put = (value: string): Promise<unknown> => server.untilReady(() => client.put({ key: "k", value }, { again: true }));
    const told: string[] = [];
    const states: boolean[] = [];
    client.watch({ key: "k", from: 1 }, { onEvents: (events) => told.push(...events.map(({ kv }) => kv!.value.toString())), onCompacted: () => undefined, onState: (up) => states.push(up) });
    await put("1");
    await until(() => told.includes("1"));
    await server.kill(0);
    await put("2");
    await until(() => told.includes("2"));
    server.begin(0);
    await server.untilReady(() => connect({ endpoints: [server.endpoints[0]!] }).range({ key: "k" }, { timeoutMs: 500 }));
    await server.freeze(1);
    await put("3");
    await until(() => told.includes("3"));
    await server.freeze(2);
    const error = await errorOf(client.put({ key: "k", value: "lost" }, { timeoutMs: 1200 }));
    expect(["TIMEOUT", "UNAVAILABLE"]).toContain(error.code);
    for (const address of server.endpoints) expect(error.message).toContain(address);
    server.thaw(1);
    server.thaw(2);
    await put("4");
    await until(() => told.includes("4"));
    // Each in order; one may be written twice, as its answer was lost.
    expect([...new Set(told)].filter((value) => value !== "lost")).toEqual(["1", "2", "3", "4"]);
    expect(states.at(-1)).toBe(true);
  });
});

describe.skipIf(!haveEtcd)("TLS", () => {
  test("both sides are verified", { timeout: 60_000 }, async () => {
    const dir = mkdtempSync(join(tmpdir(), "axion-etcd-tls-"));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    const openssl = (...args: string[]): unknown => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2");
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=axion", "-addext", "subjectAltName=IP:127.0.0.1");
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert.pem", "-days", "2", "-copy_extensions", "copy");
    const file = (name: string): string => join(dir, name);
    const server = await EtcdServer.start({ tls: { cert: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem") } });
    onTestFinished(() => server.stop());
    const [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map((name) => readFileSync(file(name)));
    const { endpoints } = server;
    const client = connect({ endpoints, tls: { ca, cert, key } });
    await server.untilReady(() => client.put({ key: "k", value: "1" }));
    // It is tried again until then, and the reason of the last time is told; a handshake takes a second where all cores are busy.
    const timeoutMs = 4000;
    expect(await errorOf(connect({ endpoints }).status({ timeoutMs: 500 }))).toMatchObject({ message: expect.stringContaining(endpoints[0]!) });
    expect((await errorOf(connect({ endpoints, tls: { ca } }).status({ timeoutMs: 500 }))).code).toMatch(/UNAVAILABLE|TIMEOUT/);
    const error = await errorOf(connect({ endpoints, tls: {} }).status({ timeoutMs }));
    expect(error.message).toMatch(/self.signed|unable to verify|certificate/);
  });
});
