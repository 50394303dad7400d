import { connect as connectRaw } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  connect, insert, listen, mutate, namedUuid, OvsdbError, OvsdbSession, Replica, select, update, wait, assert, abort, commit, comment,
  type Listener, type RowChange,
} from "./index.ts";
import { haveOvs, RealServer, until } from "./testing/support.ts";

const TABLES = {
  Open_vSwitch: ["bridges", "external_ids", "next_cfg", "manager_options"],
  Bridge: ["name", "ports", "controller", "fail_mode", "external_ids", "protocols", "datapath_id"],
  Port: ["name", "interfaces", "tag", "trunks"],
  Interface: ["name", "type", "ofport", "options", "external_ids"],
};

const SEEDED = 30;

const addBridge = (name: string) => [
  insert("Bridge", { name, ports: [namedUuid("p")], fail_mode: "secure", external_ids: { "axion-owner": "test" } }, { uuidName: "b" }),
  insert("Port", { name, interfaces: namedUuid("i"), trunks: [10, 3, 2] }, { uuidName: "p" }),
  insert("Interface", { name, type: "internal" }, { uuidName: "i" }),
  mutate("Open_vSwitch", [], [["bridges", "insert", [namedUuid("b")]]]),
];

const names = (changes: readonly RowChange[]): string[] => changes.map((change) =>
  `${change.old === undefined ? "+" : change.new === undefined ? "-" : "~"}${change.table}:${((change.new ?? change.old)!["name"] ?? "") as string}`).sort();

/** What ovs-vsctl says of a column, against what the replica holds. */
async function expectSame(server: RealServer, replica: Replica): Promise<void> {
  const bridges = (await server.vsctl("list-br")).split("\n").filter((line) => line !== "").sort();
  expect([...replica.table("Bridge").values()].map((row) => row["name"]).sort()).toEqual(bridges);
}

describe.skipIf(!haveOvs)("with a real ovsdb-server", () => {
  let server: RealServer;
  beforeAll(async () => { server = await RealServer.start(); });
  afterAll(async () => { await server.stop(); });

  test("names its databases and schemas", async () => {
    const session = await connect({ path: server.path });
    expect(await session.listDbs()).toContain("Open_vSwitch");
    const schema = await session.getSchema("Open_vSwitch");
    expect(schema.tables.get("Bridge")?.columns.get("external_ids")?.type).toEqual({ key: { type: "string" }, value: { type: "string" }, min: 0, max: Infinity });
    await expect(session.getSchema("Nosuch")).rejects.toMatchObject({ code: "unknown database" });
    await session.close();
    await expect(session.listDbs()).rejects.toMatchObject({ code: "closed" });
  });

  test("a replica shows what transactions do, one event for each", async () => {
    const session = await connect({ path: server.path });
    const replica = new Replica("Open_vSwitch", TABLES);
    const report = await replica.attach(session);
    expect(report).toMatchObject({ missingTables: [], missingColumns: [], method: "monitor_cond_since", resumed: false });
    expect(replica.synced).toBe(true);
    const events: string[][] = [];
    replica.on("change", (changes) => events.push(names(changes)));

    const results = await replica.transact(addBridge("br-a"));
    const bridge = replica.table("Bridge").get(results[0]!.uuid!)!;
    expect(bridge).toMatchObject({ name: "br-a", fail_mode: "secure", external_ids: { "axion-owner": "test" }, ports: [results[1]!.uuid], controller: [], protocols: [], datapath_id: undefined });
    expect(replica.table("Port").get(results[1]!.uuid!)).toMatchObject({ trunks: [2, 3, 10], tag: undefined, interfaces: [results[2]!.uuid] });
    expect(events).toEqual([["+Bridge:br-a", "+Interface:br-a", "+Port:br-a", "~Open_vSwitch:"]]);

    events.length = 0;
    let seen: readonly RowChange[] = [];
    replica.once("change", (changes) => { seen = changes; });
    const counts = await replica.transact([
      mutate("Bridge", [["name", "==", "br-a"]], [["external_ids", "insert", { k: "v" }], ["protocols", "insert", ["OpenFlow13", "OpenFlow14"]]]),
      update("Port", [["_uuid", "==", results[1]!.uuid!]], { tag: 7, trunks: null }),
      mutate("Open_vSwitch", [], [["next_cfg", "+=", 1]]),
      select("Port", [["name", "==", "br-a"]], ["_uuid", "tag"]),
    ]);
    expect(counts).toEqual([{ count: 1 }, { count: 1 }, { count: 1 }, { rows: [{ _uuid: results[1]!.uuid, tag: 7 }] }]);
    const change = seen.find((one) => one.table === "Bridge")!;
    expect(change.old).toEqual(bridge);
    expect(change.new).toEqual({ ...bridge, external_ids: { "axion-owner": "test", k: "v" }, protocols: ["OpenFlow13", "OpenFlow14"] });
    expect(replica.table("Port").get(results[1]!.uuid!)).toMatchObject({ trunks: [], tag: 7 });

    await replica.transact([
      mutate("Bridge", [["external_ids", "includes", { k: "v" }]], [["external_ids", "delete", ["k"]], ["protocols", "delete", "OpenFlow14"]]),
      update("Port", [["tag", ">", 5]], { tag: null }),
    ]);
    expect(replica.table("Bridge").get(results[0]!.uuid!)).toMatchObject({ external_ids: { "axion-owner": "test" }, protocols: ["OpenFlow13"] });
    expect(replica.table("Port").get(results[1]!.uuid!)!["tag"]).toBeUndefined();

    await expectSame(server, replica);
    events.length = 0;
    await server.vsctl("del-br", "br-a");
    await until(() => events.length > 0);
    expect(events).toEqual([["-Bridge:br-a", "-Interface:br-a", "-Port:br-a", "~Open_vSwitch:"]]);
    await session.close();
    expect(replica.synced).toBe(false);
    await expect(replica.transact([])).rejects.toMatchObject({ code: "not connected" });
  });

  test("errors name the operation that failed", async () => {
    const session = await connect({ path: server.path });
    const transact = (...operations: Parameters<OvsdbSession["transact"]>[1]) => session.transact("Open_vSwitch", operations);
    const failures: [string, Promise<unknown>, object][] = [
      ["not in the schema", transact(comment("x"), insert("Bridge", { name: "x", nosuch: 1 })), { name: "OvsdbValueError", code: "unknown column", opIndex: 1 }],
      ["wrong type", transact(insert("Bridge", { name: 5 })), { name: "OvsdbValueError", code: "syntax error", opIndex: 0 }],
      ["constraint", transact(comment("x"), update("Port", [], { tag: 1 }), insert("Port", { name: "x", tag: 5000 })), { name: "OvsdbError", code: "constraint violation", opIndex: 2 }],
      ["at commit", transact(mutate("Open_vSwitch", [], [["bridges", "insert", ["00000000-0000-0000-0000-000000000001"]]])), { code: "referential integrity violation", opIndex: 1 }],
      ["division", transact(mutate("Open_vSwitch", [], [["next_cfg", "/=", 0]])), { code: "domain error", opIndex: 0 }],
      ["wait", transact(wait("Open_vSwitch", [], ["next_cfg"], "==", [{ next_cfg: 4711 }], 0)), { code: "timed out", opIndex: 0 }],
      ["assert", transact(assert("a_lock")), { code: "not owner", opIndex: 0 }],
      ["abort", transact(comment("x"), abort()), { code: "aborted", opIndex: 1 }],
    ];
    for (const [name, failure, expected] of failures) {
      const error: unknown = await failure.catch((reason: unknown) => reason);
      expect(error, name).toBeInstanceOf(OvsdbError);
      expect(error, name).toMatchObject(expected);
    }
    expect(await transact(comment("fine"), commit(true))).toEqual([{}, {}]);
    await session.close();
  });

  test("a monitor follows chosen rows and columns", async () => {
    const session = await connect({ path: server.path });
    const monitor = await session.monitor("Open_vSwitch", { Bridge: { columns: ["name"], where: [["name", "==", "br-m"], ["fail_mode", "==", "standalone"]] } });
    expect(monitor.initial).toEqual([]);
    const events: string[][] = [];
    monitor.on("update", (changes) => events.push(names(changes)));
    await session.transact("Open_vSwitch", addBridge("br-other"));
    await session.transact("Open_vSwitch", addBridge("br-m"));
    expect(events).toEqual([["+Bridge:br-m"]]);
    monitor.cancel();
    await server.vsctl("del-br", "br-m", "--", "del-br", "br-other");
    await session.listDbs();
    expect(events.length).toBe(1);
    await session.close();
  });

  test("older servers lack tables and columns: reported, not fatal", async () => {
    const session = await connect({ path: server.path });
    const replica = new Replica("Open_vSwitch", { Bridge: ["name", "from_the_future"], Tomorrow: ["x"] });
    expect(await replica.attach(session)).toMatchObject({ missingTables: ["Tomorrow"], missingColumns: ["Bridge.from_the_future"] });
    expect(replica.table("Tomorrow").size).toBe(0);
    const none = new Replica("Open_vSwitch", { Tomorrow: ["x"] });
    expect(await none.attach(session)).toMatchObject({ method: undefined });
    expect(none.synced).toBe(true);
    await session.close();
    expect(none.synced).toBe(false);
  });

  test("passive: the server comes to us, is probed by us and probes us", async () => {
    const sessions: OvsdbSession[] = [];
    const listener = await listen({ port: 0, echoIntervalMs: 100 }, (session) => { sessions.push(session); });
    await server.vsctl("set-manager", `tcp:127.0.0.1:${listener.port}`, "--", "set", "Manager", ".", "inactivity_probe=1000");
    await until(() => sessions.length > 0);
    const replica = new Replica("Open_vSwitch", TABLES);
    await replica.attach(sessions[0]!);
    await server.vsctl("add-br", "br-p");
    await until(() => replica.table("Bridge").size === 1);
    await expectSame(server, replica);
    await new Promise((resolve) => setTimeout(resolve, 2500)); // two of its probes, twenty of ours
    expect(sessions.length).toBe(1);
    expect(replica.synced).toBe(true);
    await server.vsctl("del-br", "br-p", "--", "del-manager");
    await until(() => !sessions[0]!.open);
    await listener.close();
  });

  test("what it sent waits for its turn here for longer than its probe: it is told that this side lives, and stays", async () => {
    const sessions: OvsdbSession[] = [];
    let held: (() => void)[] | undefined = [];
    const turns = { take: (piece: () => void): void => { if (held === undefined) setImmediate(piece); else held.push(piece); } };
    const listener = await listen({ port: 0, echoIntervalMs: 500, turns }, (session) => { sessions.push(session); });
    await server.vsctl("set-manager", `tcp:127.0.0.1:${listener.port}`, "--", "set", "Manager", ".", "inactivity_probe=1000");
    await until(() => sessions.length > 0);
    const names = sessions[0]!.listDbs();
    await new Promise((resolve) => setTimeout(resolve, 3500)); // it gives up after two of its probes
    for (const piece of held) piece();
    held = undefined;
    expect(await names).toContain("Open_vSwitch");
    expect([sessions.length, sessions[0]!.open]).toEqual([1, true]);
    await server.vsctl("del-manager");
    await until(() => !sessions[0]!.open);
    await listener.close();
  });

  test("active over tcp", async () => {
    const free = await listen({ port: 0 }, () => undefined);
    const { port } = free;
    await free.close();
    await server.vsctl("set-manager", `ptcp:${port}:127.0.0.1`);
    let session: OvsdbSession | undefined;
    for (let tries = 0; session === undefined; tries++) {
      session = await connect({ port }).catch((error: unknown) => {
        if (tries > 50) throw error;
        return undefined;
      });
      if (session === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const replica = new Replica("Open_vSwitch", TABLES);
    await replica.attach(session);
    expect(replica.table("Open_vSwitch").size).toBe(1);
    await session.close();
    await server.vsctl("del-manager");
  });

  test("a garbage peer ends its own session and no other", async () => {
    const ended: (Error | undefined)[] = [];
    const sessions: OvsdbSession[] = [];
    const listener = await listen({ port: 0 }, (session) => {
      sessions.push(session);
      session.on("close", (reason) => ended.push(reason));
    });
    await server.vsctl("set-manager", `tcp:127.0.0.1:${listener.port}`);
    await until(() => sessions.length === 1);
    const garbage = connectRaw(listener.port, "127.0.0.1");
    garbage.on("error", () => undefined);
    garbage.write("GET / HTTP/1.1\r\n\r\n");
    await until(() => ended.length === 1);
    expect(ended[0]).toMatchObject({ name: "OvsdbProtocolError", code: "not an object", byteOffset: 0 });
    expect(await sessions[0]!.listDbs()).toContain("Open_vSwitch");
    await server.vsctl("del-manager");
    await listener.close();
  });

  test("listeners on a taken port and connections to nowhere fail", async () => {
    const listener = await listen({ port: 0 }, () => undefined);
    await expect(listen({ port: listener.port }, () => undefined)).rejects.toMatchObject({ code: "EADDRINUSE" });
    await listener.close();
    await expect(connect({ port: listener.port })).rejects.toMatchObject({ name: "OvsdbConnectionError", code: "socket error" });
    await expect(connect({ path: `${server.directory}/nosuch` })).rejects.toMatchObject({ code: "socket error" });
  });
});

describe.skipIf(!haveOvs).each(["standalone", "clustered"] as const)("re-attaching to a %s database", (database) => {
  let server: RealServer;
  beforeAll(async () => { server = await RealServer.start({ database }); });
  afterAll(async () => { await server.stop(); });

  async function reconnect(): Promise<OvsdbSession> {
    return connect({ path: server.path });
  }

  test("only differences are heard of, whether the server restarted or the connection broke", async () => {
    // a server's memory of transactions is no larger than its database: make that large enough to be resumed from
    await server.vsctl(...Array.from({ length: SEEDED }, (_, i) => ["--", "add-br", `seed${i}`]).flat());
    await server.vsctl("add-br", "br-1", "--", "add-br", "br-2", "--", "set", "Bridge", "br-1", "external_ids:a=b");
    const replica = new Replica("Open_vSwitch", TABLES);
    const events: string[][] = [];
    const lost: unknown[] = [];
    replica.on("change", (changes) => events.push(names(changes)));
    replica.on("lost", (reason) => lost.push(reason));
    const first = await reconnect();
    await replica.attach(first);
    expect(events.length).toBe(1); // the initial rows

    // the connection breaks, things change
    first.socket.destroy();
    await until(() => !first.open);
    expect(lost).toMatchObject([{ code: "closed by peer" }]);
    expect(replica.table("Bridge").size).toBe(SEEDED + 2); // stale, and still there
    await server.vsctl("del-br", "br-2", "--", "add-br", "br-3", "--", "set", "Bridge", "br-1", "external_ids:a=c");
    events.length = 0;
    const second = await reconnect();
    const report = await replica.attach(second);
    expect(report.resumed).toBe(database === "clustered");
    expect(events).toEqual([[
      "+Bridge:br-3", "+Interface:br-3", "+Port:br-3", "-Bridge:br-2", "-Interface:br-2", "-Port:br-2", "~Bridge:br-1", "~Open_vSwitch:",
    ]]);
    await expectSame(server, replica);

    // the server restarts, nothing changes
    await server.halt();
    await until(() => !second.open);
    events.length = 0;
    await server.run();
    const third = await reconnect();
    await replica.attach(third);
    expect(events).toEqual([]);
    expect(replica.synced).toBe(true);

    // and it goes on
    await server.vsctl("add-br", "br-4");
    await until(() => events.length === 1);
    await expectSame(server, replica);

    // detach, attach elsewhere
    replica.detach();
    await server.vsctl("del-br", "br-4");
    await third.listDbs();
    expect(replica.table("Bridge").size).toBe(SEEDED + 3);
    const fourth = await reconnect();
    await replica.attach(fourth);
    expect(events[1]).toEqual(["-Bridge:br-4", "-Interface:br-4", "-Port:br-4", "~Open_vSwitch:"]);
    await third.close();
    await fourth.close();
  });

  test("attaching twice at once: the later wins", async () => {
    const one = await reconnect(), two = await reconnect();
    const replica = new Replica("Open_vSwitch", TABLES);
    const superseded = replica.attach(one).catch((error: unknown) => error);
    await replica.attach(two);
    expect(await superseded).toMatchObject({ code: "superseded" });
    await one.listDbs();
    expect(replica.session).toBe(two);
    await expectSame(server, replica);
    await one.close();
    expect(replica.synced).toBe(true);
    await two.close();
  });

  test("a stopped server is a dead peer", async () => {
    const session = await connect({ path: server.path }, { echoIntervalMs: 100, echoTimeoutMs: 200 });
    const replica = new Replica("Open_vSwitch", TABLES);
    await replica.attach(session);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(session.open).toBe(true);
    server.pause();
    try {
      const [reason] = await new Promise<[Error | undefined]>((resolve) => { session.once("close", (...args) => resolve(args)); });
      expect(reason).toMatchObject({ code: "dead peer" });
      expect(replica.synced).toBe(false);
    } finally {
      server.resume();
    }
  });
});

describe.skipIf(!haveOvs)("listener", () => {
  test("closing it closes its sessions", async () => {
    let accepted: OvsdbSession | undefined;
    const listener: Listener = await listen({ port: 0 }, (session) => { accepted = session; });
    const session = await connect({ port: listener.port });
    await until(() => accepted !== undefined);
    await listener.close();
    await until(() => !session.open);
    expect(accepted!.open).toBe(false);
  });
});
