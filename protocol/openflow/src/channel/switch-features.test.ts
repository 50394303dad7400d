// Beyond flows, against a real Open vSwitch: what a connection asks for comes back as the switch has it, and what the switch refuses
// comes back as an OpenFlowError with the switch's name for it.

import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { OpenFlowConnection, PacketInMessage } from "./connection.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { ports } from "../match/fields.ts";
import { decodeMessage, type Message } from "../messages/codec.ts";
import { ovsInstalled, startSwitch, type TestSwitch } from "../testing/test-switch.ts";

const apply = (...actions: Extract<NonNullable<Extract<Message, { type: "flow_mod" }>["instructions"]>[number], { type: "apply_actions" }>["actions"][number][]) =>
  [{ type: "apply_actions" as const, actions }];
const drop = { type: "drop" as const, rate: 5 };

/** Requests and the names of the errors that Open vSwitch 3.1 gives them. */
const ERRORS: readonly (readonly [errorName: string, message: Message])[] = [
  ["OFPBMC_BAD_PREREQ", { type: "flow_mod", command: "add", match: { tcp_dst: 80 } }],
  ["OFPBIC_BAD_TABLE_ID", { type: "flow_mod", command: "add", table_id: 5, match: {}, instructions: [{ type: "goto_table", table_id: 5 }] }],
  ["OFPMMFC_INVALID_METER", { type: "flow_mod", command: "add", match: {}, instructions: [{ type: "meter", meter_id: 0 }] }],
  ["OFPBAC_BAD_OUT_PORT", { type: "flow_mod", command: "add", match: {}, instructions: apply({ type: "output", port: 0xffffff01 }) }],
  ["OFPBAC_BAD_OUT_GROUP", { type: "flow_mod", command: "add", match: {}, instructions: apply({ type: "group", group_id: 4000 }) }],
  ["OFPBAC_MATCH_INCONSISTENT", { type: "flow_mod", command: "add", match: {}, instructions: apply({ type: "set_field", field: "tcp_dst", value: 5 }) }],
  ["OFPBAC_BAD_ARGUMENT", { type: "flow_mod", command: "add", match: { eth_type: 0x0800 }, instructions: apply({ type: "push_mpls", ethertype: 0x0800 }) }],
  // Of in_port only the 16 bits of Nicira's field can be written.
  ...[0, 3, 0xfffffffd].map((value): readonly [string, Message] => ["OFPBAC_BAD_SET_ARGUMENT", { type: "flow_mod", command: "add", match: {}, instructions: apply({ type: "set_field", field: "in_port", value }) }]),
  ["OFPBAC_BAD_TYPE", { type: "flow_mod", command: "add", match: {}, instructions: apply({ type: "pop_pbb" }) }],
  ["OFPBRC_EPERM", { type: "flow_mod", command: "add", match: { dp_hash: 5 } }],
  ["OFPFMFC_BAD_TABLE_ID", { type: "flow_mod", command: "add", table_id: 255, match: {} }],
  ["OFPFMFC_BAD_COMMAND", { type: "flow_mod", command: 9 as never, match: {} }],
  ["OFPGMFC_GROUP_EXISTS", { type: "group_mod", command: "add", group_type: "all", group_id: 1, buckets: [] }],
  ["OFPGMFC_UNKNOWN_GROUP", { type: "group_mod", command: "modify", group_type: "all", group_id: 99, buckets: [] }],
  ["OFPGMFC_INVALID_GROUP", { type: "group_mod", command: "add", group_type: "indirect", group_id: 9, buckets: [] }],
  ["OFPGMFC_BAD_TYPE", { type: "group_mod", command: "add", group_type: 9, group_id: 9, buckets: [] }],
  ["OFPGMFC_BAD_COMMAND", { type: "group_mod", command: 7, group_type: "all", group_id: 9, buckets: [] }],
  ["OFPMMFC_METER_EXISTS", { type: "meter_mod", command: "add", flags: 1, meter_id: 1, bands: [drop] }],
  ["OFPMMFC_UNKNOWN_METER", { type: "meter_mod", command: "modify", flags: 1, meter_id: 99, bands: [drop] }],
  ["OFPMMFC_BAD_FLAGS", { type: "meter_mod", command: "add", flags: 3, meter_id: 9, bands: [drop] }],
  ["OFPMMFC_BAD_BAND", { type: "meter_mod", command: "add", flags: 1, meter_id: 9, bands: [{ type: "dscp_remark", rate: 5, prec_level: 1 }] }],
  ["OFPPMFC_BAD_PORT", { type: "port_mod", port_no: 99, hw_addr: "02:00:00:00:00:01", config: 0, mask: 0 }],
  ["OFPPMFC_BAD_HW_ADDR", { type: "port_mod", port_no: 1, hw_addr: "02:00:00:00:00:99", config: 0, mask: 0 }],
  ["OFPRRFC_BAD_ROLE", { type: "role_request", role: 9, generation_id: 0n }],
  ["OFPSCFC_BAD_FLAGS", { type: "set_config", flags: 0x80, miss_send_len: 0 }],
  ["OFPBFC_BAD_ID", { type: "bundle_control", bundle_id: 77, ctrl_type: "commit_request", flags: 3 }],
  ["OFPBFC_BAD_TYPE", { type: "bundle_control", bundle_id: 78, ctrl_type: "open_reply", flags: 3 }],
  ["NXTTMFC_BAD_FIELD_IDX", { type: "tlv_table_mod", command: "add", maps: [{ option_class: 1, option_type: 1, option_len: 4, index: 64 }] }],
  ["NXTTMFC_BAD_OPT_LEN", { type: "tlv_table_mod", command: "add", maps: [{ option_class: 1, option_type: 1, option_len: 3, index: 5 }] }],
  ["NXTTMFC_ALREADY_MAPPED", { type: "tlv_table_mod", command: "add", maps: [{ option_class: 1, option_type: 1, option_len: 4, index: 0 }] }],
  ["OFPBRC_BAD_VENDOR", { type: "experimenter", experimenter: 0x12345678, exp_type: 1 }],
  ["OFPBRC_BAD_SUBTYPE", { type: "experimenter", experimenter: 0x2320, exp_type: 999 }],
  ["OFPQOFC_BAD_PORT", { type: "multipart_request", kind: "queue", port_no: 99, queue_id: 0xffffffff }],
  ["OFPMMFC_UNKNOWN_METER", { type: "multipart_request", kind: "meter", meter_id: 99 }],
  ["OFPBRC_BUFFER_UNKNOWN", { type: "packet_out", buffer_id: 7, in_port: 1, actions: [] }],
];

/** NXT_CT_FLUSH of a zone with an IPv4 tuple, as ovs-ofctl sends it. */
const BY_TUPLE = "04040068000000020000232000000020060000000000000000000048000000000000001400000000000000000000ffff0a090001000000000001001400000000000000000000ffff0a09000200000000000200080457000000030008001600000002000800040000";

describe.skipIf(!ovsInstalled)("a real Open vSwitch, beyond flows", () => {
  let ovs: TestSwitch;
  let conn: OpenFlowConnection;

  beforeAll(async () => {
    ovs = startSwitch();
    for (const n of [1, 2]) ovs.vsctl("add-port", "br0", `p${n}`, "--", "set", "interface", `p${n}`, "type=dummy", `ofport_request=${n}`);
    conn = await ovs.connect();
    await conn.request({ type: "tlv_table_mod", command: "add", maps: [{ option_class: 0xffff, option_type: 2, option_len: 8, index: 0 }] });
    await conn.request({ type: "group_mod", command: "add", group_type: "select", group_id: 1, buckets: [
      { weight: 3, actions: [{ type: "output", port: 1 }] }, { weight: 4, actions: [{ type: "set_field", field: "reg0", value: 5 }, { type: "output", port: 2 }] },
    ] });
    await conn.request({ type: "meter_mod", command: "add", flags: 1, meter_id: 1, bands: [{ type: "drop", rate: 1000, burst_size: 7 }] });
  });
  afterAll(() => {
    conn?.close();
    ovs?.stop();
  });

  test.each(ERRORS)("%s: %o", async (errorName, message) => {
    const error: unknown = await conn.request(message).then(() => "taken", (reason: unknown) => reason);
    expect(error).toBeInstanceOf(OpenFlowError);
    expect(error).toMatchObject({ code: "OF_PEER_ERROR", errorName });
    expect(conn.closed).toBeUndefined();
  });

  test("groups, meters and their features are told as they were set", async () => {
    const groups = await conn.request({ type: "multipart_request", kind: "group_desc" });
    expect(groups.groups).toMatchObject([{ group_type: "select", group_id: 1, buckets: [
      { weight: 3, actions: [{ type: "output", port: 1 }] }, { weight: 4, actions: [{ type: "set_field", field: "reg0", value: 5 }, { type: "output", port: 2 }] },
    ] }]);
    const meters = await conn.request({ type: "multipart_request", kind: "meter_config" });
    expect(meters.meters).toMatchObject([{ meter_id: 1, bands: [{ type: "drop", rate: 1000, burst_size: 7 }] }]);
    expect((await conn.request({ type: "multipart_request", kind: "group" })).groups).toMatchObject([{ group_id: 1, bucket_stats: [{}, {}] }]);
    expect((await conn.request({ type: "multipart_request", kind: "meter" })).meters).toMatchObject([{ meter_id: 1, band_stats: [{}] }]);
    expect((await conn.request({ type: "multipart_request", kind: "group_features" })).max_groups).toHaveLength(4);
    expect((await conn.request({ type: "multipart_request", kind: "meter_features" })).max_meter).toBeGreaterThan(0);
  });

  test("ports, tables, queues and descriptions", async () => {
    const described = await conn.request({ type: "multipart_request", kind: "port_desc" });
    expect(described.ports.map((port) => port.name).sort()).toEqual(["br0", "p1", "p2"]);
    expect((await conn.request({ type: "multipart_request", kind: "port_stats" })).ports).toHaveLength(3);
    expect((await conn.request({ type: "multipart_request", kind: "table" })).tables.length).toBe(254);
    expect((await conn.request({ type: "multipart_request", kind: "queue" })).queues.map((queue) => queue.queue_id)).toEqual([0, 0, 0]);
    expect((await conn.request({ type: "queue_get_config_request", port: 1 })).queues).toEqual([{ queue_id: 0, port: 1, properties: [] }]);
    expect((await conn.request({ type: "multipart_request", kind: "desc" })).mfr_desc).toContain("Nicira");
    const features = await conn.request({ type: "multipart_request", kind: "table_features", tables: [] });
    expect(features.tables).toHaveLength(254);
    expect(features.tables.map((table) => table.table_id)).toEqual(Array.from({ length: 254 }, (_, i) => i));
    expect(features.tables.every((table) => table.properties.length > 10)).toBe(true);
  });

  test("roles, asynchronous messages, configuration", async () => {
    expect(await conn.request({ type: "role_request", role: "master", generation_id: 5n })).toMatchObject({ role: "master", generation_id: 5n });
    expect(await conn.request({ type: "role_request", role: "slave", generation_id: 4n }).then(() => "taken", (error: unknown) => error)).toMatchObject({ errorName: "OFPRRFC_STALE" });
    expect(await conn.request({ type: "role_request", role: "equal", generation_id: 0n })).toMatchObject({ role: "equal" });
    await conn.request({ type: "set_async", packet_in_mask: [7, 0], port_status_mask: [5, 1], flow_removed_mask: [15, 0] });
    expect(await conn.request({ type: "get_async_request" })).toMatchObject({ packet_in_mask: [7, 0], port_status_mask: [5, 1], flow_removed_mask: [15, 0] });
    await conn.request({ type: "set_config", flags: 1, miss_send_len: 77 });
    expect(await conn.request({ type: "get_config_request" })).toMatchObject({ flags: 1, miss_send_len: 77 });
    await conn.request({ type: "set_config", flags: 0, miss_send_len: 0xffff });
  });

  test("tunnel options", async () => {
    expect((await conn.request({ type: "tlv_table_request" })).maps).toEqual([{ option_class: 0xffff, option_type: 2, option_len: 8, index: 0 }]);
  });

  test("a packet that a controller holds back goes on where it stood", async () => {
    await conn.request({ type: "set_packet_in_format", format: "nxt_packet_in2" });
    await conn.request({ type: "flow_mod", command: "delete", match: {} });
    await conn.request({ type: "flow_mod", command: "add", priority: 9, match: { in_port: 1 }, instructions: apply(
      { type: "set_field", field: "reg3", value: 0x77 }, { type: "controller", pause: true, userdata: Uint8Array.of(1, 2, 3) }, { type: "resubmit", table: 4 },
    ) });
    await conn.request({ type: "flow_mod", command: "add", table_id: 4, priority: 5, match: { reg3: 0x77 }, instructions: apply({ type: "output", port: 2 }) });
    const told = once(conn, "packet_in") as Promise<[PacketInMessage]>;
    ovs.appctl("netdev-dummy/receive", "p1", "in_port(1),eth(src=02:00:00:00:00:a1,dst=02:00:00:00:00:a2),eth_type(0x88cc)");
    const [packetIn] = await told;
    if (packetIn.type !== "nxt_packet_in2") throw new Error(packetIn.type);
    expect(packetIn).toMatchObject({ metadata: { in_port: 1, reg3: 0x77 } });
    expect(Buffer.from(packetIn.userdata!).toString("hex")).toBe("010203");
    expect(packetIn.continuation?.length).toBeGreaterThan(0);
    const { packet, metadata, continuation } = packetIn;
    await conn.request({ type: "nxt_resume", ...(packet === undefined ? {} : { packet }), ...(metadata === undefined ? {} : { metadata }), ...(continuation === undefined ? {} : { continuation }) });
    const counted = await conn.request({ type: "multipart_request", kind: "flow", table_id: 4, match: {} });
    expect(counted.flows).toMatchObject([{ packet_count: 1n, match: { reg3: 0x77 } }]);
  });

  test("a packet sent out passes the tables and comes back in", async () => {
    await conn.request({ type: "flow_mod", command: "delete", match: {} });
    await conn.request({ type: "flow_mod", command: "add", priority: 9, match: { in_port: ports.LOCAL, eth_type: 0x88cc }, instructions: apply({ type: "output", port: ports.CONTROLLER }) });
    const told = once(conn, "packet_in") as Promise<[PacketInMessage]>;
    const data = Buffer.from("0180c200000e0200000000a188cc0102", "hex");
    await conn.request({ type: "packet_out", in_port: ports.LOCAL, actions: [{ type: "output", port: ports.TABLE }], data });
    const [packetIn] = await told;
    expect(packetIn).toMatchObject({ type: "nxt_packet_in2", metadata: { in_port: ports.LOCAL } });
  });

  test("removed flows and changed ports are told", async () => {
    await conn.request({ type: "flow_mod", command: "add", cookie: 0x99n, priority: 8, flags: 1, match: { eth_type: 0x0806 } });
    const removed = once(conn, "flow_removed");
    await conn.request({ type: "flow_mod", command: "delete", match: { eth_type: 0x0806 } });
    expect((await removed)[0]).toMatchObject({ cookie: 0x99n, priority: 8, reason: "delete", match: { eth_type: 0x0806 } });
    const changed = once(conn, "port_status");
    ovs.vsctl("add-port", "br0", "p3", "--", "set", "interface", "p3", "type=dummy", "ofport_request=3");
    expect((await changed)[0]).toMatchObject({ reason: "add", desc: { name: "p3" } });
  });

  test("conntrack entries are flushed: all of a zone, and by tuple", async () => {
    expect(await conn.request({ type: "ct_flush_zone", zone_id: 5 })).toMatchObject({ type: "barrier_reply" });
    expect(await conn.request(decodeMessage(Buffer.from(BY_TUPLE, "hex")))).toMatchObject({ type: "barrier_reply" });
  });
});
