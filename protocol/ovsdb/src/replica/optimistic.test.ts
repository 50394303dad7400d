import { readFileSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { insert, mutate, namedUuid, OvsdbClient, OvsdbError, Replica, update, type ClientOptions, type OvsdbSession, type Transaction } from "../index.ts";
import { connect } from "../session/connect.ts";
import type { JsonObject } from "../wire/json.ts";
import { haveOvs, RealServer, until, VSWITCH_SCHEMA } from "../testing/support.ts";
import { Cluster } from "../testing/cluster.ts";

const DB = "Open_vSwitch";
const TABLES = { Open_vSwitch: ["bridges", "next_cfg", "external_ids", "ovs_version"], Bridge: ["name", "external_ids", "fail_mode"], Port: ["name"] };

const clientOf = async (remotes: string, options: Partial<ClientOptions> = {}): Promise<OvsdbClient> => {
  const client = new OvsdbClient({ remotes, database: DB, tables: TABLES, ...options });
  onTestFinished(() => client.close());
  await client.ready();
  return client;
};

/** Adds one to a counter, by reading and writing it: what is lost when two do so at once. */
const increment = (tx: Transaction): number => {
  const root = tx.rows("Open_vSwitch")[0]!;
  const next = (root["next_cfg"] as number) + 1;
  tx.update("Open_vSwitch", root, { next_cfg: next });
  return next;
};

const counter = (client: OvsdbClient): unknown => [...client.table("Open_vSwitch")][0]!["next_cfg"];

describe.skipIf(!haveOvs)("optimistic transactions", () => {
  let server: RealServer;
  let remote: string;
  beforeAll(async () => {
    server = await RealServer.start();
    remote = `unix:${server.path}`;
  });
  afterAll(async () => { await server.stop(); });

  test("two clients count up one column, and no step is lost or done twice", async () => {
    const clients = [await clientOf(remote), await clientOf(remote)];
    const start = counter(clients[0]!) as number;
    const each = 40;
    let attempts = 0;
    const results = await Promise.all(clients.map(async (client) => {
      const values: number[] = [];
      for (let i = 0; i < each; i++) {
        const done = await client.update(increment, { attempts: 100 });
        expect(counter(client)).toBeGreaterThanOrEqual(done.value); // the rows show it
        attempts += done.attempts;
        values.push(done.value);
      }
      return values;
    }));
    expect(results.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 2 * each }, (_, i) => start + 1 + i));
    await until(() => clients.every((client) => counter(client) === start + 2 * each));
    expect(attempts).toBeGreaterThan(2 * each); // they were in each other's way
  });

  test("updates of one client at once do not defeat each other", async () => {
    const client = await clientOf(remote);
    const start = counter(client) as number;
    const done = await Promise.all(Array.from({ length: 30 }, () => client.update(increment, { attempts: 3 })));
    expect(done.map(({ value }) => value).sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => start + 1 + i));
  });

  test("only what was read is verified: other columns may change meanwhile", async () => {
    const client = await clientOf(remote), other = await clientOf(remote);
    const [root] = [...client.table("Open_vSwitch")];
    const once = async (read: (tx: Transaction) => void, meanwhile: () => Promise<unknown>): Promise<number> => {
      const { attempts } = await client.update(async (tx) => {
        read(tx);
        if (tx.attempt === 1) await meanwhile();
        tx.update("Open_vSwitch", root!._uuid, { ovs_version: `after ${tx.attempt}` });
      });
      return attempts;
    };
    const touch = (): Promise<unknown> => other.transact([mutate("Open_vSwitch", [], [["next_cfg", "+=", 1]])]);
    const look = (column: string) => (tx: Transaction): void => { expect(tx.get("Open_vSwitch", root!)![column]).toBeDefined(); };
    expect(await once(look("external_ids"), touch)).toBe(1);
    expect(await once(look("next_cfg"), touch)).toBe(2);
    expect(await once((tx) => tx.verify("Open_vSwitch", root!, ["next_cfg"]), touch)).toBe(2);
    expect(await once((tx) => { expect({ ...tx.get("Open_vSwitch", root!) }).toBeDefined(); }, touch)).toBe(2);
    expect(await once((tx) => { expect("next_cfg" in tx.get("Open_vSwitch", root!)!).toBe(true); }, touch)).toBe(2);
    // what one attempt saw of a row it sees to its end
    await client.update(async (tx) => {
      const before = tx.get("Open_vSwitch", root!)!["next_cfg"];
      if (tx.attempt === 1) await touch();
      expect(tx.get("Open_vSwitch", root!)!["next_cfg"]).toBe(before);
    });
  });

  test("rows that come and go are conflicts too", async () => {
    const client = await clientOf(remote), other = await clientOf(remote);
    const addBridge = (name: string) => [insert("Bridge", { name }, { uuidName: "b" }), mutate("Open_vSwitch", [], [["bridges", "insert", [namedUuid("b")]]])];
    // "one bridge of this name", which no index of ours guards
    const ensure = async (name: string): Promise<{ uuid: string; attempts: number; sent: boolean }> => {
      const done = await client.update(async (tx) => {
        const [found] = tx.rows("Bridge", [["fail_mode", "==", "standalone"]]);
        if (tx.attempt === 1) await other.transact([...addBridge(name), update("Bridge", [["name", "==", name]], { fail_mode: "standalone" })]);
        if (found !== undefined) return found._uuid;
        const added = tx.insert("Bridge", { name: `${name}-own`, fail_mode: "standalone" });
        tx.mutate("Open_vSwitch", tx.rows("Open_vSwitch")[0]!, [["bridges", "insert", [added]]]);
        return added;
      });
      return { uuid: typeof done.value === "string" ? done.value : done.uuid(done.value), attempts: done.attempts, sent: done.sent };
    };
    const { uuid, attempts, sent } = await ensure("phantom");
    expect({ attempts, sent }).toEqual({ attempts: 2, sent: false });
    expect(client.table("Bridge").get(uuid)).toMatchObject({ name: "phantom" });

    const gone = await client.update(async (tx) => {
      const row = tx.get("Bridge", uuid);
      if (tx.attempt === 1) await other.transact([mutate("Open_vSwitch", [], [["bridges", "delete", [uuid]]])]);
      if (row === undefined) return "gone";
      tx.mutate("Bridge", row, [["external_ids", "insert", { seen: row["name"] as string }]]);
      return "there";
    });
    expect(gone).toMatchObject({ value: "gone", attempts: 2 });

    // an absent row is verified as well
    const replacement = "00000000-0000-4000-8000-0000000000aa";
    const absent = await client.update(async (tx) => {
      const there = tx.get("Bridge", replacement) !== undefined;
      if (tx.attempt === 1) await other.transact([insert("Bridge", { name: "replaced" }, { uuid: replacement }), mutate("Open_vSwitch", [], [["bridges", "insert", [replacement]]])]);
      tx.comment("looked");
      return there;
    });
    expect(absent).toMatchObject({ value: true, attempts: 2 });
    await client.update((tx) => {
      tx.mutate("Open_vSwitch", tx.rows("Open_vSwitch")[0]!, [["bridges", "delete", [replacement]]]);
      tx.delete("Bridge", replacement);
    });
    expect(client.table("Bridge").get(replacement)).toBeUndefined();
  });

  test("what cannot be verified is refused, errors are told, attempts are bounded", async () => {
    const client = await clientOf(remote), other = await clientOf(remote);
    await expect(client.update((tx) => tx.rows("Interface"))).rejects.toMatchObject({ name: "OvsdbValueError", code: "unknown table" });
    await expect(client.update((tx) => tx.rows("Nosuch"))).rejects.toMatchObject({ code: "unknown table" });
    await expect(client.update((tx) => tx.rows("Open_vSwitch")[0]!["cur_cfg"])).rejects.toMatchObject({ code: "unknown column" });
    await expect(client.update((tx) => tx.rows("Bridge", [["stp_enable", "==", true]]))).rejects.toMatchObject({ code: "unknown column" });
    await expect(client.update((tx) => { tx.add(insert("Port", { name: 5 })); })).rejects.toMatchObject({ name: "OvsdbValueError" });
    await expect(client.update(() => { throw new Error("mine"); })).rejects.toThrow("mine");
    const constraint = await client.update((tx) => { increment(tx); tx.add(insert("Port", { name: "x", tag: 5000 })); }).catch((error: unknown) => error);
    expect(constraint).toMatchObject({ code: "constraint violation" });
    let runs = 0;
    const beaten = client.update(async (tx) => {
      runs++;
      increment(tx);
      await other.transact([mutate("Open_vSwitch", [], [["next_cfg", "+=", 1]])]);
    }, { attempts: 4 });
    await expect(beaten).rejects.toBeInstanceOf(OvsdbError);
    expect(runs).toBe(4);
    const reading = await client.update((tx) => tx.rows("Open_vSwitch").length);
    expect(reading).toMatchObject({ value: 1, sent: false, results: [] });
    expect(() => reading.uuid(namedUuid("row0"))).toThrow(/not inserted/);
    const abort = new AbortController();
    abort.abort();
    await expect(client.update(increment, { signal: abort.signal })).rejects.toMatchObject({ code: "canceled" });
  });
});

describe.skipIf(!haveOvs)("optimistic transactions on a cluster", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
    await cluster.vsctl("init");
  });
  afterAll(async () => { await cluster.stop(); });

  test("clients of the leader and of followers count up one column", async () => {
    const clients = await Promise.all([
      clientOf(cluster.remotes), ...cluster.members.map((member) => clientOf(member.remote, { leaderOnly: false })),
    ]);
    const each = 8;
    const values = await Promise.all(clients.map(async (client) => {
      const own: number[] = [];
      for (let i = 0; i < each; i++) {
        const { value } = await client.update(increment, { attempts: 200 });
        expect(counter(client)).toBeGreaterThanOrEqual(value);
        own.push(value);
      }
      return own;
    }));
    expect(values.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: each * clients.length }, (_, i) => i + 1));
  }, 60_000);
});

describe.skipIf(!haveOvs)("a database that is converted", () => {
  let server: RealServer;
  beforeAll(async () => { server = await RealServer.start(); });
  afterAll(async () => { await server.stop(); });
  const schema = (version: string, columns: Record<string, JsonObject>): JsonObject => {
    const json = JSON.parse(readFileSync(VSWITCH_SCHEMA, "utf8")) as { version: string; cksum?: string; tables: Record<string, { columns: Record<string, JsonObject> }> };
    delete json.cksum;
    json.version = version;
    Object.assign(json.tables["Bridge"]!.columns, columns);
    return json;
  };

  test("an aware client keeps its session and follows the new schema", async () => {
    const client = await clientOf(`unix:${server.path}`, { tables: { ...TABLES, Bridge: ["name", "mood"] } });
    const unaware = await connect({ path: server.path });
    const stale = new Replica(DB, { Bridge: ["name", "mood"] });
    await stale.attach(unaware);
    expect(stale.report!.missingColumns).toEqual(["Bridge.mood"]);
    await server.vsctl("add-br", "br0");
    await until(() => client.table("Bridge").size === 1);
    const session: OvsdbSession = client.session!;
    const states: string[] = [];
    client.on("state", (state) => states.push(state));

    const admin = await connect({ path: server.path });
    await admin.setDbChangeAware(true);
    await admin.convert(DB, schema("9.0.0", { mood: { type: { key: "string", min: 0, max: 1 } } }));
    await until(() => client.replica.report!.schema.version === "9.0.0" && client.state === "ready");
    expect(states).toEqual(["syncing", "ready"]);
    expect(client.session).toBe(session);
    await until(() => !unaware.open); // ours is not: the server ends its session
    await client.transact([update("Bridge", [["name", "==", "br0"]], { mood: "fine" })]);
    expect([...client.table("Bridge")]).toMatchObject([{ name: "br0", mood: "fine" }]);
    expect((await admin.getSchema(DB)).version).toBe("9.0.0");

    // back again: the column is gone
    await admin.convert(DB, schema("9.1.0", {}));
    await until(() => client.replica.report!.schema.version === "9.1.0" && client.state === "ready");
    expect(client.replica.report!.missingColumns).toEqual(["Bridge.mood"]);
    expect([...client.table("Bridge")]).toEqual([{ _uuid: expect.any(String) as string, name: "br0" }]);
    await expect(client.transact([update("Bridge", [], { mood: "x" })])).rejects.toMatchObject({ code: "unknown column" });
    await admin.close();
  });

  test("who follows no table learns of it too", async () => {
    const client = await clientOf(`unix:${server.path}`, { tables: {} });
    await expect(client.transact([update("Bridge", [], { hue: 1 })])).rejects.toMatchObject({ code: "unknown column" });
    const admin = await connect({ path: server.path });
    await admin.convert(DB, schema("9.2.0", { hue: { type: "integer" } }));
    await client.session!.listDbs(); // what was sent before has arrived
    await client.transact([update("Bridge", [], { hue: 1 })]);
    await admin.close();
  });

  test("a schema that is refused", async () => {
    const admin = await connect({ path: server.path });
    await admin.setDbChangeAware(true);
    await expect(admin.convert("Nosuch", schema("9.9.9", {}))).rejects.toBeInstanceOf(OvsdbError);
    await admin.close();
  });
});
