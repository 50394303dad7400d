import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { Backoff } from "./backoff.ts";
import { connect, insert, mutate, namedUuid, OvsdbClient, OvsdbOutcomeError, parseRemotes, Replica, update, wait, type ClientOptions, type Row, type RowChange } from "../index.ts";
import { haveOvs, loseSession, RealServer, received, result, scriptedServer, until } from "../testing/support.ts";
import { Cluster } from "../testing/cluster.ts";

const DB = "Open_vSwitch";
const TABLES = { Open_vSwitch: ["bridges", "next_cfg", "external_ids"], Bridge: ["name", "ports", "external_ids"], Port: ["name", "interfaces", "tag"], Interface: ["name", "type"] };

const addBridge = (name: string) => [
  insert("Bridge", { name }, { uuidName: "b" }),
  mutate("Open_vSwitch", [], [["bridges", "insert", [namedUuid("b")]]]),
];

const clientOf = (options: Partial<ClientOptions> & Pick<ClientOptions, "remotes">): OvsdbClient => {
  const client = new OvsdbClient({ database: DB, tables: TABLES, maxBackoffMs: 500, ...options });
  onTestFinished(() => client.close());
  return client;
};

const nameOf = (row: Row | undefined): string => (row === undefined ? "" : row["name"] as string);
const bridges = (client: OvsdbClient): string[] => [...client.table("Bridge")].map((row) => row["name"] as string).sort();

describe("remotes", () => {
  test("as Open vSwitch spells them", () => {
    const tls = { key: "k" };
    expect(parseRemotes("unix:/a/b,tcp:10.0.0.1:6641, tcp:[::1]:1 ,tcp:host", tls).map(({ target }) => target)).toEqual([
      { path: "/a/b" }, { host: "10.0.0.1", port: 6641 }, { host: "::1", port: 1 }, { host: "host", port: 6640 },
    ]);
    expect(parseRemotes("ssl:h:2", tls)[0]!.target).toMatchObject({ host: "h", port: 2, tls });
    for (const bad of ["", ",", "host:1", "tcp:", "tcp:::1:5", "tcp:h:0", "tcp:h:65536", "unix:", "udp:h:1", "tcp:h:1:2"]) {
      expect(() => parseRemotes(bad), bad).toThrow(expect.objectContaining({ name: "OvsdbValueError" }));
    }
    expect(() => parseRemotes("ssl:h:2")).toThrow(/private key/);
  });
});

describe("backoff", () => {
  test("doubles to a limit, with a random half", () => {
    const backoff = new Backoff({ minBackoffMs: 100, maxBackoffMs: 1000, random: () => 0.5 });
    expect(Array.from({ length: 6 }, () => backoff.next())).toEqual([75, 150, 300, 600, 750, 750]);
    backoff.reset();
    expect(backoff.next()).toBe(75);
    expect([0, 0.999].map((x) => Math.round(new Backoff({ random: () => x }).next()))).toEqual([50, 100]);
  });
});

describe.skipIf(!haveOvs)("a client of one server", () => {
  let server: RealServer;
  beforeAll(async () => { server = await RealServer.start(); });
  afterAll(async () => { await server.stop(); });
  const remotes = (): string => `unix:${server.path}`;

  test("stays connected over a restart of the server, with its rows", async () => {
    const client = clientOf({ remotes: remotes() });
    const states: string[] = [];
    client.on("state", (state) => states.push(state));
    await client.ready();
    expect(states).toEqual(["syncing", "ready"]);
    expect(client.member).toMatchObject({ name: DB, model: "standalone", connected: true, leader: true });
    await client.transact(addBridge("one"));
    expect(bridges(client)).toEqual(["one"]);
    const events: (readonly RowChange[])[] = [];
    client.on("change", (changes) => events.push(changes));
    await server.halt();
    await until(() => client.session === undefined);
    await expect(client.transact([])).rejects.toMatchObject({ code: "not connected" });
    expect(bridges(client)).toEqual(["one"]);
    await server.run();
    await client.ready({ timeoutMs: 10_000 });
    expect(events).toEqual([]); // nothing had changed
    await server.vsctl("add-br", "two");
    await until(() => bridges(client).length === 2);
    await server.vsctl("del-br", "two", "--", "del-br", "one");
    await until(() => bridges(client).length === 0);
    await client.close();
    expect(client.state).toBe("closed");
    await expect(client.ready()).rejects.toMatchObject({ code: "closed" });
  });

  test("says why there is no server, and takes the next one", async () => {
    const nowhere = clientOf({ remotes: `unix:${server.directory}/nosuch` });
    await expect(nowhere.ready({ timeoutMs: 300 })).rejects.toMatchObject({ code: "no server", cause: { code: "socket error" } });
    const wrong = clientOf({ remotes: remotes(), database: "Nosuch", tables: {} });
    await expect(wrong.ready({ timeoutMs: 300 })).rejects.toMatchObject({ code: "no server", cause: { code: "unsuitable server" } });
    const failures: string[] = [];
    const second = clientOf({ remotes: `unix:${server.directory}/nosuch,${remotes()}`, shuffle: false });
    second.on("failed", (remote, reason) => failures.push(`${remote.split("/").at(-1)!} ${(reason as { code?: string }).code!}`));
    await second.ready();
    expect(failures).toEqual(["nosuch socket error"]);
    expect(second.remote).toBe(remotes());
  });

  test("further replicas come along", async () => {
    const client = clientOf({ remotes: remotes(), tables: {} });
    const extra = new Replica("_Server", { Database: ["name"] });
    await client.attach(extra);
    await client.ready();
    expect([...extra.table("Database").values()].map((row) => row["name"]).sort()).toEqual([DB, "_Server"].sort());
    await loseSession(client);
    await until(() => extra.synced && extra.session === client.session);
    await client.ready();
    client.detach(extra);
    expect(extra.session).toBeUndefined();
    expect(client.state).toBe("ready");
  });

  test("5,000 ports in one transaction are applied", async () => {
    const client = clientOf({ remotes: remotes() });
    const other = clientOf({ remotes: remotes() });
    await Promise.all([client.ready(), other.ready()]);
    const count = 5000;
    const events: number[] = [];
    other.on("change", (changes) => events.push(changes.length));
    const operations = Array.from({ length: count }, (_, i) => [
      insert("Interface", { name: `p${i}`, type: "internal" }, { uuidName: `i${i}` }),
      insert("Port", { name: `p${i}`, tag: i % 4096, interfaces: namedUuid(`i${i}`) }, { uuidName: `p${i}` }),
    ]).flat();
    const results = await client.transact([
      ...operations,
      insert("Bridge", { name: "big", ports: Array.from({ length: count }, (_, i) => namedUuid(`p${i}`)) }, { uuidName: "b" }),
      mutate("Open_vSwitch", [], [["bridges", "insert", [namedUuid("b")]]]),
    ]);
    for (const one of [client, other]) {
      await until(() => one.table("Port").size === count, 20_000);
      const bridge = one.table("Bridge").find({ name: "big" })!;
      expect((bridge["ports"] as readonly string[]).length).toBe(count);
      for (const [i, uuid] of [[0, results[1]!.uuid!], [4999, results[9999]!.uuid!]] as const) {
        expect(one.table("Port").get(uuid)).toEqual({ _uuid: uuid, name: `p${i}`, tag: i % 4096, interfaces: [results[i * 2]!.uuid] });
      }
    }
    expect(events).toEqual([2 * count + 2]);
    await client.transact([update("Port", [], { tag: 7 })]);
    await until(() => [...other.table("Port")].every((row) => row["tag"] === 7), 20_000);
    await client.transact([mutate("Open_vSwitch", [], [["bridges", "delete", [results.at(-2)!.uuid!]]])]);
    await until(() => other.table("Interface").size === 0, 20_000);
  }, 60_000);

  test("conditions change while rows are followed, and are sent again", async () => {
    const client = clientOf({ remotes: remotes(), where: { Bridge: [["name", "==", "c1"]] } });
    await client.ready();
    for (const name of ["c1", "c2", "c3"]) await server.vsctl("add-br", name);
    await until(() => bridges(client).length === 1);
    const changes: string[] = [];
    client.on("change", (all) => { for (const { table, old, new: row } of all) if (table === "Bridge") changes.push(`${nameOf(old)}>${nameOf(row)}`); });
    await client.setConditions({ Bridge: [["name", "==", "c2"], ["name", "==", "c3"]] });
    expect(bridges(client)).toEqual(["c2", "c3"]);
    expect(changes.sort()).toEqual([">c2", ">c3", "c1>"]);
    await expect(client.setConditions({ Bridge: [["nosuch", "==", 1]] })).rejects.toMatchObject({ code: "unknown column" });
    // several at once: the last one counts, for all
    await Promise.all([client.setConditions({ Bridge: [false] }), client.setConditions({ Bridge: [["name", "==", "c1"]] }), client.setConditions({ Bridge: [["name", "!=", "c2"]] })]);
    expect(bridges(client)).toEqual(["c1", "c3"]);
    await loseSession(client);
    await client.setConditions({ Bridge: [["name", "!=", "c3"]] });
    await client.ready();
    expect(bridges(client)).toEqual(["c1", "c2"]);
    await client.setConditions({ Bridge: [] });
    expect(bridges(client)).toEqual(["c1", "c2", "c3"]);
    await client.setConditions({ Bridge: [false] });
    expect(bridges(client)).toEqual([]);
    await server.vsctl("del-br", "c1", "--", "del-br", "c2", "--", "del-br", "c3");
  });

  test("conditions change as well where the server knows none", async () => {
    const session = await connect({ path: server.path });
    const replica = new Replica(DB, { Bridge: ["name"] }, { where: { Bridge: [["name", "==", "m1"]] }, methods: ["monitor"] });
    expect(await replica.attach(session)).toMatchObject({ method: "monitor" });
    await server.vsctl("add-br", "m1", "--", "add-br", "m2");
    await until(() => replica.table("Bridge").size === 1);
    await replica.setConditions({ Bridge: [["name", "==", "m2"]] });
    expect([...replica.table("Bridge").values()].map((row) => row["name"])).toEqual(["m2"]);
    await server.vsctl("del-br", "m1", "--", "del-br", "m2");
    await until(() => replica.table("Bridge").size === 0);
    await session.close();
  });

  test("locks: one has it, it is stolen, given back, and lost with the session", async () => {
    const [one, two] = [clientOf({ remotes: remotes(), tables: {} }), clientOf({ remotes: remotes(), tables: {} })];
    await Promise.all([one.ready(), two.ready()]);
    const a = one.lock("L"), b = two.lock("L");
    expect(one.lock("L")).toBe(a);
    await Promise.race([a.acquired(), b.acquired()]);
    const [holder, waiter, holding] = a.held ? [a, b, one] : [b, a, two];
    const lost: string[] = [];
    holder.on("lost", (reason) => lost.push(reason));
    await holding.update((tx) => { tx.assert(holder); tx.comment("mine"); });
    await waiter.steal();
    expect(waiter.held).toBe(true);
    await until(() => lost.length === 1);
    await expect(holding.update((tx) => { tx.assert("L"); tx.comment("not mine"); })).rejects.toMatchObject({ code: "not owner" });
    await waiter.release();
    await holder.acquired();
    holding.session!.socket.destroy();
    await until(() => lost.length === 2);
    await holder.acquired(); // asked for again
    await holder.release();
    expect(lost).toEqual(["stolen", "disconnected", "released"]);
    await expect(holder.acquired()).rejects.toMatchObject({ code: "closed" });
    expect(holding.lock("L")).not.toBe(holder);
  });

  test.each([false, true])("a waiting transaction is canceled (change aware: %s)", async (aware) => {
    const session = await connect({ path: server.path });
    if (aware) await session.setDbChangeAware(true);
    const abort = new AbortController();
    const waiting = session.transact(DB, [wait("Open_vSwitch", [], ["next_cfg"], "==", [{ next_cfg: 4711 }])], { signal: abort.signal });
    await session.listDbs();
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ name: "OvsdbError", code: "canceled" });
    await expect(session.transact(DB, [], { signal: abort.signal })).rejects.toMatchObject({ code: "canceled" });
    // too late: its result counts
    const late = new AbortController();
    const done = session.transact(DB, [mutate("Open_vSwitch", [], [["next_cfg", "+=", 1]])], { signal: late.signal });
    await done;
    late.abort();
    expect(await session.listDbs()).toContain(DB);
    await session.close();
  });

  test("the server's own methods", async () => {
    const session = await connect({ path: server.path });
    expect(await session.getServerId()).toMatch(/^[0-9a-f-]{36}$/);
    expect(await session.echo(["a", { b: [1, null] }])).toEqual(["a", { b: [1, null] }]);
    expect(await session.lock("own")).toBe(true);
    const second = await connect({ path: server.path });
    const told: string[] = [];
    second.on("locked", (id) => told.push(`locked ${id}`));
    session.on("stolen", (id) => told.push(`stolen ${id}`));
    expect(await second.lock("own")).toBe(false);
    await session.unlock("own");
    await until(() => told.length === 1);
    expect(await session.steal("other")).toBe(true);
    expect(await second.steal("other")).toBe(true);
    await until(() => told.length === 2);
    expect(told).toEqual(["locked own", "stolen other"]);
    const monitor = await session.monitor(DB, { Bridge: { columns: ["name"], select: { initial: false, delete: false } } });
    expect(monitor.method).toBe("monitor");
    const seen: string[] = [];
    monitor.on("update", (changes) => seen.push(...changes.map((change) => nameOf(change.new ?? change.old))));
    await server.vsctl("add-br", "sel");
    await until(() => seen.length === 1);
    await server.vsctl("del-br", "sel");
    await session.listDbs();
    expect(seen).toEqual(["sel"]);
    await Promise.all([session.close(), second.close()]);
  });
});

describe("an answer that never came", () => {
  test("is an unknown outcome, and the transaction is not repeated", async () => {
    let transactions = 0;
    const schema = { name: "D", version: "1.0.0", tables: { T: { columns: { n: { type: "integer" } } } } };
    const scripted = await scriptedServer((method, params, peer) => {
      if (method === "get_schema") return Array.isArray(params) && params[0] === "_Server" ? { result: null, error: { error: "unknown database" } } : result(schema);
      if (method === "list_dbs") return result(["D"]);
      if (method.startsWith("monitor")) return result([false, "00000000-0000-0000-0000-000000000000", {}]);
      if (method === "transact") {
        transactions++;
        peer.socket.destroy();
      }
      return undefined;
    });
    onTestFinished(() => { scripted.close(); });
    const client = new OvsdbClient({ remotes: `tcp:127.0.0.1:${scripted.port}`, database: "D", tables: { T: ["n"] } });
    onTestFinished(() => client.close());
    await client.ready();
    for (const doomed of [() => client.transact([insert("T", { n: 1 })]), () => client.update((tx) => { tx.insert("T", { n: 2 }); })]) {
      await client.ready();
      const error: unknown = await doomed().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OvsdbOutcomeError);
      expect(error).toMatchObject({ code: "unknown outcome", cause: { name: "OvsdbConnectionError" } });
    }
    await client.ready();
    await client.session!.listDbs().catch(() => undefined);
    expect(transactions).toBe(2); // one each
  });
});

describe.skipIf(!haveOvs)("a client of a cluster", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
    await cluster.vsctl("init");
  });
  afterAll(async () => { await cluster.stop(); });

  test("finds the leader whichever is named first; others serve readers", async () => {
    const leaders = new Set<string>();
    for (let first = 0; first < 3; first++) {
      const order = [0, 1, 2].map((i) => cluster.members[(first + i) % 3]!.remote);
      const client = clientOf({ remotes: order, shuffle: false });
      await client.ready();
      expect(client.member).toMatchObject({ model: "clustered", connected: true, leader: true });
      leaders.add(client.remote!);
      const reader = clientOf({ remotes: order[0]!, leaderOnly: false });
      await reader.ready();
      await client.transact(addBridge(`f${first}`));
      await until(() => bridges(reader).includes(`f${first}`));
    }
    expect(leaders.size).toBe(1);
    const follower = cluster.members.find((member) => !leaders.has(member.remote))!;
    const stubborn = clientOf({ remotes: follower.remote });
    await expect(stubborn.ready({ timeoutMs: 500 })).rejects.toMatchObject({ cause: { code: "not leader" } });
    const elsewhere = clientOf({ remotes: cluster.remotes, clusterId: "00000000-0000-4000-8000-000000000000" });
    await expect(elsewhere.ready({ timeoutMs: 500 })).rejects.toMatchObject({ cause: { code: "unsuitable server" } });
    // a follower passes writes on, and the rows show them when it answers
    const writer = clientOf({ remotes: follower.remote, leaderOnly: false });
    await writer.ready();
    const { uuid, value } = await writer.update((tx) => {
      const bridge = tx.insert("Bridge", { name: "by-follower" });
      tx.mutate("Open_vSwitch", tx.rows("Open_vSwitch")[0]!, [["bridges", "insert", [bridge]]]);
      return bridge;
    });
    expect(writer.table("Bridge").get(uuid(value))).toMatchObject({ name: "by-follower" });
  });

  test("follows the leadership when it is handed over, and loses no transaction by it", async () => {
    const client = clientOf({ remotes: cluster.remotes });
    await client.ready();
    const before = client.remote;
    const states: string[] = [];
    client.on("state", (state, reason) => states.push(`${state} ${(reason as { code?: string } | undefined)?.code ?? ""}`.trim()));
    await cluster.member(before).appctl("cluster/failure-test", "transfer-leadership");
    await until(() => client.state === "ready" && client.remote !== before, 20_000);
    expect(states[0]).toBe("connecting not leader");
    await client.transact(addBridge("handed-over"));
    expect(bridges(client)).toContain("handed-over");
  });

  /** 200 bridges more. */
  const many = async (client: ReturnType<typeof clientOf>, prefix: string): Promise<void> => {
    const all = Array.from({ length: 200 }, (_, i) => i);
    await client.transact([
      ...all.map((i) => insert("Bridge", { name: `${prefix}${i}` }, { uuidName: `b${i}` })),
      mutate("Open_vSwitch", [], [["bridges", "insert", all.map((i) => namedUuid(`b${i}`))]]),
    ]);
  };

  test("the leader is killed: another is found, rows resumed, the lock regained", { tags: "long", timeout: 60_000 }, async () => {
    const client = clientOf({ remotes: cluster.remotes });
    const lock = client.lock("master");
    await client.ready();
    await lock.acquired();
    await many(client, "k");
    const reports: { resumed: boolean }[] = [];
    const changes: number[] = [];
    client.on("synced", (report) => reports.push(report));
    client.on("change", (all) => changes.push(all.length));
    const dead = cluster.member(client.remote);
    await dead.kill();
    await until(() => !lock.held && client.state !== "ready");
    await cluster.vsctl("add-br", "while-away");
    await client.ready({ timeoutMs: 30_000 });
    await lock.acquired();
    expect(client.remote).not.toBe(dead.remote);
    await until(() => bridges(client).includes("while-away"));
    expect(reports).toMatchObject([{ resumed: true }]);
    expect(Math.max(...changes)).toBeLessThan(10); // not the 200 again
    expect(bridges(client)).toEqual((await cluster.vsctl("list-br")).split("\n").sort());
    await client.update((tx) => { tx.assert(lock); tx.comment("still mine"); });
    await dead.start();
  });

  test("a restart resynchronises without the rows being sent again", async () => {
    const member = cluster.members[0]!;
    const client = clientOf({ remotes: member.remote, leaderOnly: false });
    await client.ready();
    await many(client, "r");
    const rows = client.table("Bridge").size;
    expect(rows).toBeGreaterThanOrEqual(200);
    const full = await received(client);
    const reports: { resumed: boolean }[] = [];
    client.on("synced", (report) => reports.push(report));
    const events: number[] = [];
    client.on("change", (all) => events.push(all.length));
    await member.kill();
    await until(() => client.state !== "ready");
    await member.start();
    await client.ready({ timeoutMs: 30_000 });
    expect(reports).toMatchObject([{ resumed: true }]);
    expect(events).toEqual([]);
    expect(client.table("Bridge").size).toBe(rows);
    // the schemas come again, the rows do not
    const again = await received(client);
    const fresh = clientOf({ remotes: member.remote, leaderOnly: false });
    await fresh.ready();
    const afresh = await received(fresh);
    expect(afresh - again).toBeGreaterThan(rows * 40);
    expect(full).toBeGreaterThan(again);
  }, 60_000);
});
