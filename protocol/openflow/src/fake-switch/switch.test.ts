// The fake switch as a controller sees it, through this package's own connection over real sockets.

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, describe, expect, test } from "vitest";

import { FakeSwitch, type FakePacketIn, type FakeSwitchOptions, type PacketOut } from "./switch.ts";
import {
  encodeFlowMod, encodeMessage, flowModFlags, listen, OpenFlowConnection, OpenFlowError, ports, type ConnectionOptions, type Decoded, type FlowMod, type Listener, type Message,
  type MessageOf, type PacketInMessage,
} from "../index.ts";

let open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of open.reverse()) await thing.close();
  open = [];
});

async function start(options?: FakeSwitchOptions): Promise<{ sw: FakeSwitch; port: number }> {
  const sw = new FakeSwitch(options);
  open.push(sw);
  return { sw, port: await sw.listen({}) };
}

async function controller(port: number, options?: ConnectionOptions): Promise<OpenFlowConnection> {
  const connection = new OpenFlowConnection(connect({ port, host: "127.0.0.1" }), options);
  open.push(connection);
  await connection.handshake();
  return connection;
}

const output = (port: number): NonNullable<FlowMod["instructions"]> => [{ type: "apply_actions", actions: [{ type: "output", port }] }];
const add = (fm: Partial<FlowMod>) => ({ type: "flow_mod", command: "add", match: {}, ...fm }) as const;
const bytes = (fm: Partial<FlowMod>): Buffer => {
  const buf = Buffer.alloc(4096);
  return buf.subarray(0, encodeFlowMod(buf, 0, { command: "add", match: {}, ...fm }));
};
const refusedWith = (errorName: string, more: object = {}) => expect.objectContaining({ code: "OF_PEER_ERROR", errorName, ...more }) as unknown;

describe("connections", () => {
  test("a controller that listens, and one that connects over a Unix socket", async () => {
    const sw = new FakeSwitch({ dpid: "00000000000000ab", ports: [{ port_no: 1, name: "eth1" }] });
    open.push(sw);
    const seen = new Promise<string>((resolve, reject) => {
      void listen({ host: "127.0.0.1", port: 0 }, (conn) => void conn.handshake().then((features) => resolve(features.datapath_id), reject)).then((listener: Listener) => {
        open.push(listener);
        sw.connectTo({ host: "127.0.0.1", port: listener.port });
      });
    });
    expect(await seen).toBe("00000000000000ab");
    const dir = mkdtempSync(join(tmpdir(), "fake-switch-"));
    try {
      await sw.listen({ path: join(dir, "sw.mgmt") });
      const conn = new OpenFlowConnection(connect(join(dir, "sw.mgmt")));
      open.push(conn);
      await conn.handshake();
      expect((await conn.request({ type: "multipart_request", kind: "port_desc" })).ports).toMatchObject([{ port_no: 1, name: "eth1", state: 4 }]);
      expect(sw.channels()).toHaveLength(2);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("roles: one primary, its generation, a secondary that only reads", async () => {
    const { port } = await start();
    const [a, b] = [await controller(port), await controller(port)];
    await a.request({ type: "role_request", role: 2, generation_id: 5n });
    expect(await b.request({ type: "role_request", role: 2, generation_id: 6n })).toMatchObject({ generation_id: 6n });
    await expect(a.request(add({}))).rejects.toEqual(refusedWith("OFPBRC_IS_SECONDARY"));
    await expect(a.request({ type: "role_request", role: 2, generation_id: 5n })).rejects.toEqual(refusedWith("OFPRRFC_STALE"));
    await a.request({ type: "role_request", role: 1, generation_id: 0n });
    await a.request(add({}));
    expect((await a.request({ type: "multipart_request", kind: "aggregate", match: {} })).flow_count).toBe(1);
  });

  test("a peer of another version gets an error, and the connection ends", async () => {
    const { port } = await start();
    const socket = connect({ port, host: "127.0.0.1" });
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.write(Buffer.from("0100000800000007", "hex"));
    await once(socket, "close");
    expect(Buffer.concat(chunks).subarray(16, 28).toString("hex")).toMatch(/^0401....0000000700000000$/);
  });
});

describe("flows", () => {
  test("are shown as ovs-ofctl shows them, counted and looked up", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    await conn.request(add({ table_id: 1, priority: 10, match: { eth_type: 0x800, ipv4_dst: "10.0.0.0/8" }, instructions: output(1), cookie: 7 }));
    await conn.request(add({ table_id: 1, priority: 20, match: { eth_type: 0x800, ipv4_dst: "10.1.0.0/16" }, instructions: output(2), flags: flowModFlags.SEND_FLOW_REM }));
    await conn.request(add({ table_id: 1, priority: 0, idle_timeout: 3, hard_timeout: 4 }));
    expect(sw.dump()).toEqual([
      "cookie=0x7, table=1, priority=10,ip,nw_dst=10.0.0.0/8 actions=output:1",
      "table=1, idle_timeout=3, hard_timeout=4, priority=0 actions=drop",
      "table=1, send_flow_rem priority=20,ip,nw_dst=10.1.0.0/16 actions=output:2",
    ]);
    const hit = (ipv4_dst: string): number | undefined => sw.lookup(1, { eth_type: 0x800, ipv4_dst })?.priority;
    expect([hit("10.1.2.3"), hit("10.2.2.3"), hit("11.0.0.1")]).toEqual([20, 10, 0]);
    expect(sw.lookup(0, {})).toBeUndefined();
    sw.count(sw.lookup(1, { eth_type: 0x800, ipv4_dst: "10.1.0.1" })!, 3, 180);
    const { flows } = await conn.request({ type: "multipart_request", kind: "flow", match: { eth_type: 0x800, ipv4_dst: "10.1.0.0/16" } });
    expect(flows).toMatchObject([{ priority: 20, packet_count: 3n, byte_count: 180n }]);
    const { tables } = await conn.request({ type: "multipart_request", kind: "table" });
    expect(tables).toHaveLength(254);
    expect(tables[1]).toMatchObject({ table_id: 1, active_count: 3, lookup_count: 4n, matched_count: 4n });
  });

  test("time out by the test's clock, and say so", async () => {
    let now = 1_000_000;
    const { sw, port } = await start({ clock: () => now });
    const conn = await controller(port);
    const removed: Decoded<MessageOf<"flow_removed">>[] = [];
    conn.on("flow_removed", (message) => removed.push(message));
    await conn.request(add({ priority: 1, idle_timeout: 10, flags: flowModFlags.SEND_FLOW_REM }));
    await conn.request(add({ priority: 2, hard_timeout: 15, flags: flowModFlags.SEND_FLOW_REM }));
    await conn.request(add({ priority: 3, hard_timeout: 15 }));
    now += 9_000;
    sw.count(sw.flows()[0]!, 1, 64);
    sw.tick();
    expect(sw.flows()).toHaveLength(3);
    now += 9_500;
    sw.tick();
    expect(sw.flows().map((flow) => flow.priority)).toEqual([1]);
    now += 500;
    sw.tick();
    await conn.request({ type: "echo_request" });
    expect(removed).toMatchObject([
      { priority: 2, reason: "hard_timeout", duration_sec: 18, duration_nsec: 500_000_000 },
      { priority: 1, reason: "idle_timeout", packet_count: 1n, byte_count: 64n, duration_sec: 19 },
    ]);
  });

  test("a reply of more than 64 KiB comes in parts that are joined", async () => {
    const { port } = await start();
    const conn = await controller(port);
    await conn.bundle((function* () {
      for (let i = 0; i < 3000; i++) yield bytes({ match: { reg0: i }, instructions: output(1) });
    })());
    let parts = 0;
    await conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, () => parts++);
    expect(parts).toBe(Math.ceil(3000 / Math.floor((65535 - 16) / 88)));
    const { flows } = await conn.request({ type: "multipart_request", kind: "flow", match: {} });
    expect(new Set(flows.map((flow) => flow.match.reg0)).size).toBe(3000);
  });

  test("a table that is full takes no more", async () => {
    const { sw, port } = await start({ maxFlows: 2, tables: 3 });
    const conn = await controller(port);
    for (const reg0 of [1, 2]) await conn.request(add({ match: { reg0 } }));
    await expect(conn.request(add({ match: { reg0: 3 } }))).rejects.toEqual(refusedWith("OFPFMFC_TABLE_FULL"));
    await conn.request(add({ match: { reg0: 2 }, instructions: output(1) }));
    await expect(conn.request(add({ table_id: 4 }))).rejects.toEqual(refusedWith("OFPBRC_BAD_TABLE_ID"));
    expect(sw.dump()).toEqual(["reg0=0x1 actions=drop", "reg0=0x2 actions=output:1"]);
  });

  test("an error quotes the message that it is about", async () => {
    const { port } = await start();
    const conn = await controller(port);
    const error = await conn.request(add({ instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 9 }] }] })).catch((e: unknown) => e as OpenFlowError);
    expect(error).toMatchObject({ errorName: "OFPBAC_BAD_OUT_GROUP" });
    expect((error as OpenFlowError).data!.length).toBe(72);
    expect((error as OpenFlowError).data!.readUInt8(1)).toBe(14);
  });
});

describe("bundles", () => {
  test("are all or nothing, groups and deleted flows included", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    await conn.request(add({ match: { reg0: 1 }, instructions: output(1) }));
    await conn.request({ type: "group_mod", command: "add", group_type: "all", group_id: 5, buckets: [] });
    await conn.request(add({ match: { reg0: 2 }, instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 5 }] }] }));
    const before = sw.dump();
    const seen: unknown[] = [];
    sw.on("flow_removed", (flow) => seen.push(flow));
    const messages = [
      bytes({ match: { reg0: 3 } }), bytes({ command: "delete", match: { reg0: 1 } }), bytes({ command: "modify", table_id: 0, match: {}, instructions: output(7) }),
      encodeMessage({ type: "group_mod", command: "delete", group_type: "all", group_id: 5, buckets: [] }, 0),
      bytes({ instructions: [{ type: "apply_actions", actions: [{ type: "group", group_id: 5 }] }] }),
    ];
    await expect(conn.bundle(messages)).rejects.toEqual(refusedWith("OFPBAC_BAD_OUT_GROUP", { index: 4 }));
    expect(sw.dump()).toEqual(before);
    expect(sw.groups()).toHaveLength(1);
    expect(seen).toEqual([]);
    await conn.bundle(messages.slice(0, 4));
    expect(sw.dump()).toEqual(["reg0=0x2 actions=output:7", "reg0=0x3 actions=output:7"]);
    expect(seen).toHaveLength(1);
  });

  test("have their own errors", async () => {
    const { port } = await start({ maxBundleMessages: 2 });
    const conn = await controller(port);
    const control = (bundle_id: number, ctrl_type: "open_request" | "close_request" | "commit_request" | "discard_request", flags = 0) =>
      conn.request({ type: "bundle_control", bundle_id, ctrl_type, flags });
    await expect(control(1, "commit_request")).rejects.toEqual(refusedWith("OFPBFC_BAD_ID"));
    await control(1, "open_request");
    await expect(control(1, "open_request")).rejects.toEqual(refusedWith("OFPBFC_BAD_ID"));
    await control(1, "open_request", 1);
    await expect(control(1, "close_request", 2)).rejects.toEqual(refusedWith("OFPBFC_BAD_FLAGS"));
    await control(2, "open_request");
    await control(2, "close_request");
    await expect(control(2, "close_request")).rejects.toEqual(refusedWith("OFPBFC_BUNDLE_CLOSED"));
    await control(3, "open_request");
    await control(3, "discard_request");
    await expect(control(3, "discard_request")).rejects.toEqual(refusedWith("OFPBFC_BAD_ID"));
    await expect(conn.bundle([bytes({}), bytes({}), bytes({})])).rejects.toEqual(refusedWith("OFPBFC_MSG_TOO_MANY", { index: 2 }));
  });
});

describe("events", () => {
  const packet = Buffer.from("ffffffffffff02000000000108060001", "hex");
  const next = (conn: OpenFlowConnection): Promise<PacketInMessage> => new Promise((resolve) => conn.once("packet_in", resolve));
  const pin: FakePacketIn = { packet, in_port: 3, table_id: 4, cookie: 9n, metadata: { reg1: 5 }, userdata: Uint8Array.of(1, 2) };

  test("packets reach the controllers that want them, in the format they chose", async () => {
    const { sw, port } = await start();
    const conns = [await controller(port), await controller(port), await controller(port), await controller(port)];
    await conns[1]!.request({ type: "set_packet_in_format", format: 1 });
    await conns[2]!.request({ type: "set_packet_in_format", format: 2 });
    await conns[3]!.request({ type: "set_async", packet_in_mask: [1, 0], port_status_mask: [7, 7], flow_removed_mask: [0, 0] });
    const waiting = conns.map(next);
    expect(sw.packetIn({ ...pin, max_len: 6 })).toBe(3);
    expect(await waiting[0]).toMatchObject({ type: "packet_in", total_len: 16, reason: "action", table_id: 4, cookie: 9n, match: { in_port: 3, reg1: 5 }, data: packet.subarray(0, 6) });
    expect(await waiting[1]).toMatchObject({ type: "nxt_packet_in", total_len: 16, metadata: { in_port: 3, reg1: 5 } });
    const last = await waiting[2]!;
    expect(last).toMatchObject({ type: "nxt_packet_in2", full_len: 16, table_id: 4 });
    expect(Buffer.from((last as Decoded<MessageOf<"nxt_packet_in2">>).userdata!)).toEqual(Buffer.of(1, 2));
    expect(sw.packetIn({ packet, reason: 0 })).toBe(4);
    // A slave that asks for packets has them as well (nx_async_config2).
    await conns[0]!.request({ type: "role_request", role: "slave", generation_id: 1n });
    expect(sw.packetIn({ packet, reason: 0 })).toBe(3);
    await conns[0]!.request({ type: "nxt_set_async2", properties: [{ type: "packet_in_slave", mask: 1 }] });
    expect(sw.packetIn({ packet, reason: 0 })).toBe(4);
  });

  test("packet-outs are handed to the test", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    const out: PacketOut[] = [];
    sw.on("packet_out", (message) => out.push(message));
    await conn.request({ type: "packet_out", in_port: ports.CONTROLLER, actions: [{ type: "output", port: 2 }], data: packet });
    expect(out).toMatchObject([{ in_port: ports.CONTROLLER, actions: [{ type: "output", port: 2 }], data: packet }]);
    await expect(conn.request({ type: "packet_out", buffer_id: 7, actions: [] })).rejects.toEqual(refusedWith("OFPBRC_BUFFER_UNKNOWN"));
  });

  test("ports come, change and go", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    const seen: Decoded<MessageOf<"port_status">>[] = [];
    conn.on("port_status", (message) => seen.push(message));
    sw.addPort({ port_no: 4, hw_addr: "02:00:00:00:00:04" });
    await conn.request({ type: "port_mod", port_no: 4, hw_addr: "02:00:00:00:00:04", config: 1, mask: 1 });
    await expect(conn.request({ type: "port_mod", port_no: 4, hw_addr: "02:00:00:00:00:05", config: 1, mask: 1 })).rejects.toEqual(refusedWith("OFPPMFC_BAD_HW_ADDR"));
    sw.removePort(4);
    await conn.barrier();
    expect(seen.map((message) => [message.reason, message.desc.port_no, message.desc.config])).toEqual([["add", 4, 0], ["modify", 4, 1], ["delete", 4, 1]]);
    expect(() => sw.removePort(4)).toThrow(OpenFlowError);
  });
});

describe("faults", () => {
  test("the n-th flow-mod is refused, in a bundle too", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    sw.refuseFlowMod(2, "OFPFMFC_TABLE_FULL");
    await conn.request(add({ match: { reg0: 1 } }));
    await expect(conn.request(add({ match: { reg0: 2 } }))).rejects.toEqual(refusedWith("OFPFMFC_TABLE_FULL"));
    sw.refuseFlowMod(3, "OFPFMFC_EPERM");
    await expect(conn.bundle([1, 2, 3, 4].map((reg1) => bytes({ match: { reg1 } })))).rejects.toEqual(refusedWith("OFPFMFC_EPERM", { index: 2 }));
    expect(sw.flows()).toHaveLength(1);
  });

  test("late replies come in order, lost ones not at all", async () => {
    const { sw, port } = await start();
    const conn = await controller(port);
    sw.faults.replyDelayMs = 100;
    const order: string[] = [];
    sw.on("message", (message) => order.push(message.type));
    await Promise.all([conn.request({ type: "get_config_request" }).then(() => order.push("config")), conn.barrier().then(() => order.push("barrier"))]);
    expect(order).toEqual(["get_config_request", "barrier_request", "config", "barrier"]);
    sw.faults.replyDelayMs = 0;
    sw.faults.silent = true;
    await expect(conn.barrier(50)).rejects.toMatchObject({ code: "OF_TIMEOUT" });
  });

  test("a switch that answers no echoes is given up", async () => {
    const { sw, port } = await start();
    const conn = await controller(port, { echoIntervalMs: 20, echoTimeoutMs: 100 });
    sw.faults.ignoreEchoes = true;
    const [reason] = (await once(conn, "close")) as [OpenFlowError];
    expect(reason.code).toBe("OF_DEAD_PEER");
  });

  test.each([["cutAfterReceived", 100], ["cutAfterSent", 50]] as const)("a connection is cut by %s", async (fault, bytesThen) => {
    const { sw, port } = await start();
    sw.faults[fault] = bytesThen;
    const conn = await controller(port);
    const closed = once(conn, "close");
    for (let i = 0; i < 5; i++) await conn.request(add({ match: { reg0: i } })).catch(() => undefined);
    await closed;
    expect(sw.flows().length).toBeLessThan(2);
    expect(sw.channels()).toEqual([]);
  });
});

test("whatever bytes come, the switch answers with an error or ends that connection, and serves the others", async () => {
  const { sw, port } = await start();
  const conn = await controller(port);
  const hello = Buffer.from("0400000800000001", "hex");
  const junk: Buffer[] = [Buffer.from("04ff000800000001", "hex"), Buffer.from("040e000800000001", "hex"), Buffer.from("0412001000000001ffee000000000000", "hex"), Buffer.from("0404001000000001001122330000ffff", "hex"), Buffer.from("0400000400000000", "hex")];
  for (const bad of junk) {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    socket.resume();
    socket.write(Buffer.concat([hello, bad, bad]));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
  }
  const reply: Message = await conn.request({ type: "get_config_request" });
  expect(reply).toMatchObject({ type: "get_config_reply", miss_send_len: 128 });
  expect(sw.flows()).toEqual([]);
});
