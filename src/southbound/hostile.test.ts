// Peers that are no switches: each costs its own connection and one line, and no other peer notices.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { admittedPeers, refusesToLoseFlows } from "../../lab/hostile/admitted.ts";
import { Attack, map, monitored, speakOvsdb, uuidOf } from "../../lab/hostile/peer.ts";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const dial = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
  });

test("garbage, silence and half messages on both ports, beside a switch that works", async () => {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({ want: () => ({ flows: [numbered(1)] }), config: { handshakeTimeoutMs: 1500 } });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  const { since } = w.info()!;

  const inputs: [name: string, bytes: Buffer][] = [
    ["silence", Buffer.alloc(0)],
    ["text", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["noise", randomBytes(4096)],
    ["zeros", Buffer.alloc(4096)],
    ["half a message", Buffer.from([4, 0, 0, 16, 0, 0, 0, 1])],
    ["half a document", Buffer.from('{"id":0,"method":"echo","params":[')],
    ["a version from the future", Buffer.from([99, 0, 0, 8, 0, 0, 0, 1])],
    ["an answer to no question", Buffer.from('{"id":77,"result":{},"error":null}')],
    ["deep nesting", Buffer.from("[".repeat(100_000))],
  ];
  for (const port of [w.ports.openflow, w.ports.ovsdb]) {
    for (const [name, bytes] of inputs) {
      const before = w.lines("warn").length;
      const socket = await dial(port);
      const gone = closed(socket);
      socket.write(bytes);
      await gone;
      await eventually(`a line about ${name}`, () => w.lines("warn").length > before);
      expect(w.lines("warn").slice(before), name).toHaveLength(1);
    }
  }
  expect(w.lines("error")).toEqual([]);
  expect(w.info()).toMatchObject({ state: "connected", since });
  await w.confirmed(await w.desired.become(() => ({ flows: [numbered(1), numbered(2)] })));
  expect(await ovs.flows()).toHaveLength(2);
});

/** Rows of a host's database with that many ports, each with the ids that machines have. */
function database(systemId: string, ports: number): string {
  const interfaces = Array.from({ length: ports }, (_, n) => `"${uuidOf(2 * n + 10)}":{"initial":{"name":"tap${n}","ofport":${n + 1},"external_ids":["map",[["attached-mac","fa:16:3e:00:00:01"],["iface-id","${uuidOf(n)}"],["iface-status","active"],["vm-id","${uuidOf(n)}"]]]}}`);
  const rows = Array.from({ length: ports }, (_, n) => `"${uuidOf(2 * n + 11)}":{"initial":{"name":"tap${n}","interfaces":["uuid","${uuidOf(2 * n + 10)}"]}}`);
  const bridge = { [uuidOf(2)]: { initial: { name: "br-int", ports: ["set", Array.from({ length: ports }, (_, n) => ["uuid", uuidOf(2 * n + 11)])] } } };
  const root = { [uuidOf(1)]: { initial: { bridges: ["uuid", uuidOf(2)], external_ids: map({ "system-id": systemId, "axion-encap-ip": "192.0.2.9", "axion-encap-type": "geneve" }) } } };
  return `{"Open_vSwitch":${JSON.stringify(root)},"Bridge":${JSON.stringify(bridge)},"Port":{${rows.join(",")}},"Interface":{${interfaces.join(",")}}}`;
}

/** The database of a host that connects from `address`. */
async function host(w: World, address: string, tables: string): Promise<Socket> {
  const socket = connect({ port: w.ports.ovsdb, host: "127.0.0.1", localAddress: address });
  socket.on("error", () => undefined);
  cleanup.push(() => Promise.resolve(void socket.destroy()));
  await once(socket, "connect");
  speakOvsdb(socket, (method, id) => (method === "monitor_cond_since" ? monitored(id, tables) : undefined));
  return socket;
}
const connected = (w: World, id: string): boolean => w.log.some(({ message, fields }) => message === "host connected" && fields["chassis"] === id);
const problems = (w: World): string[] => w.southbound.problems().filter((p) => p.kind === "peer_limit").map((p) => p.text);

test("one address with many moderate unfinished messages does not end the first answer of a host at another", async () => {
  const w = await World.start({});
  cleanup.push(() => w.stop());
  const unfinished = Buffer.from(`{"id":1,"x":"${"x".repeat(511 * 1024)}`);
  const open = Array.from({ length: 100 }, () => connect({ port: w.ports.ovsdb, host: "127.0.0.1", localAddress: "127.0.2.1" }));
  for (const socket of open) {
    socket.on("error", () => undefined);
    socket.on("connect", () => socket.write(unfinished));
    socket.resume();
    cleanup.push(() => Promise.resolve(void socket.destroy()));
  }
  await eventually("all the room taken", () => problems(w).length > 0);
  // 600 kB, which count four times while they are read, as one message: more than any of the many
  const honest = await host(w, "127.0.0.1", database("honest", 1200));
  await eventually("the host", () => connected(w, "honest") || honest.destroyed);
  expect(honest.destroyed).toBe(false);
  expect(connected(w, "honest")).toBe(true);
  expect(problems(w)).toEqual([expect.stringMatching(/^127\.0\.2\.1 holds the most .*bytes_in_all/)]);
});

test("a host with as many ports as its database may have rows for is followed, and one with more is refused by that limit alone", { timeout: 60_000 }, async () => {
  const w = await World.start({});
  cleanup.push(() => w.stop());
  const large = await host(w, "127.0.0.1", database("large", 15_000));
  await eventually("the large host", () => connected(w, "large") || large.destroyed, 40_000);
  expect(large.destroyed).toBe(false);
  expect(connected(w, "large")).toBe(true);
  expect(problems(w)).toEqual([]);
  for (const [n, tables] of [database("bare", 20_000).replaceAll(/"external_ids":\["map",\[\["attached.*?\]\]\]/g, '"external_ids":["map",[]]'), database("full", 20_000)].entries()) {
    const larger = await host(w, `127.0.2.${10 + n}`, tables);
    await eventually("the end of the larger host", () => larger.destroyed, 40_000);
  }
  expect(problems(w)).toHaveLength(2);
  for (const text of problems(w)) expect(text).toMatch(/has a database that is larger than is followed \(32768 rows, .*limit database/);
});

test("a database that never names its host is closed after a while, and is told; one that does stays", async () => {
  const w = await World.start({ config: { unnamedMs: 500 } });
  cleanup.push(() => w.stop());
  const named = await host(w, "127.0.0.1", database("named", 3));
  await eventually("the host", () => connected(w, "named"));
  const since = performance.now();
  const unnamed = await Promise.all([JSON.stringify({}), JSON.stringify({ Open_vSwitch: { [uuidOf(1)]: { initial: { external_ids: map({ "axion-encap-ip": "192.0.2.7" }) } } } })].map((tables) => host(w, "127.0.2.1", tables)));
  await eventually("the end of both", () => unnamed.every((socket) => socket.destroyed));
  expect(performance.now() - since).toBeGreaterThan(400);
  expect(problems(w)).toEqual([expect.stringMatching(/^127\.0\.2\.1 has been connected for 0.5 s with a database that names no host.*limit unnamed, 2 times/)]);
  expect(w.lines("warn", "names no host")).toHaveLength(1);
  expect(named.destroyed).toBe(false);
});

test("many databases without a name are a few problems and few lines, whatever each says of itself", async () => {
  const w = await World.start({});
  cleanup.push(() => w.stop());
  const wrong = JSON.stringify({ Open_vSwitch: { [uuidOf(1)]: { initial: { external_ids: map({ "axion-encap-ip": "no address" }) } } } });
  const rounds = 2, each = 30;
  for (let round = 0; round < rounds; round++) {
    const sockets = await Promise.all(Array.from({ length: each }, () => host(w, "127.0.2.1", wrong)));
    await eventually("all of them", () => w.southbound.problems().some(({ text }) => text.includes(`${each - 16} more databases that name no host are connected`)));
    for (const socket of sockets) socket.destroy();
    await eventually("the end of all", () => w.southbound.problems().every(({ kind }) => kind !== "host"));
  }
  expect(w.lines("warn", "host is not as it should be").length).toBeLessThanOrEqual(20);
});

test("a host that says something else of itself again and again is so many lines in a minute", async () => {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({});
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  for (let n = 0; n < 6; n++) {
    const wrong = Array.from({ length: 20 }, (_, i) => `wrong${n}-${i}`).join(",");
    await ovs.vsctl("set", "Open_vSwitch", ".", `external_ids:axion-bridge-mappings="${wrong}"`);
    await eventually("what it says", () => w.southbound.problems().some(({ text }) => text.includes(`wrong${n}-19`)));
  }
  const lines = w.lines("warn", "wrong");
  expect(lines[0]).toMatchObject({ message: "host is not as it should be", fields: { chassis: "hv1" } });
  expect(lines).toHaveLength(60);
});

test("a switch that refuses to lose what it has costs a few lines, however much that is", { tags: "long", timeout: 120_000 }, async () => {
  const w = await World.start({});
  cleanup.push(() => w.stop());
  const attack = new Attack(refusesToLoseFlows, { ...w.ports, dpid: "", systemId: "" }, "127.0.2.1", false);
  cleanup.push(() => {
    attack.stop();
    return Promise.resolve();
  });
  const leftOut = (): number => w.lines("error", "lines were left out").length;
  await eventually("what is left out", () => leftOut() > 0, 100_000);
  expect(w.lines("error", "refused to remove a flow").length).toBeLessThanOrEqual(10 * (leftOut() + 1));
});

test("a switch that opens no bundle is sent the beginning of one, and is closed with that reason; it is asked again after a pause that grows", async () => {
  const w = await World.start({});
  cleanup.push(() => w.stop());
  const peer = admittedPeers.find(({ name }) => name.includes("50,000 flows"))!;
  const attack = new Attack(peer, { ...w.ports, dpid: "", systemId: "" }, "127.0.2.1", false);
  cleanup.push(() => {
    attack.stop();
    return Promise.resolve();
  });
  const failed = (): ReturnType<World["lines"]> => w.lines("error", "switch did not take its changes");
  await eventually("two failures", () => failed().length >= 2, 30_000);
  const pauses = failed().map(({ fields }) => Number(fields["retry_ms"]));
  expect(pauses[0]).toBeGreaterThan(990);
  expect(pauses[1]).toBeGreaterThan(1990);
  expect((failed()[0]!.fields["err"] as Error).message).toMatch(/opens no bundle: OFPBRC_/);
  expect(w.count("axion_bundles_total")).toBe(0);
  expect(w.lines("error", "refused to remove a flow")).toEqual([]);
});
