// The fake switch beside a real ovs-vswitchd: the same requests to both give the same flows, groups, meters and errors.

import { connect } from "node:net";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { FakeSwitch } from "./switch.ts";
import {
  encodeMessage, eachFlowStats, OpenFlowConnection, OpenFlowError, type Action, type Decoded, type FlowModMessage, type Instruction, type Match, type MatchValue, type Message, type MessageOf,
} from "../index.ts";
import { ovsInstalled, startSwitch, type TestSwitch } from "../testing/test-switch.ts";

// Few values, so that flows meet.
const pick = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const number = fc.integer({ min: 0, max: 3 });
const address = pick("10.0.0.1", "10.0.0.2", "10.0.0.0/24", "10.0.0.0/8", "10.0.1.0/24");
const match: fc.Arbitrary<Match> = fc.oneof(
  fc.constant({}),
  fc.record({ reg0: number, reg1: fc.oneof(number, fc.record({ value: number, mask: pick(1, 2, 3) })) }, { requiredKeys: [] }),
  fc.record({ in_port: pick(1, 2), eth_src: pick<MatchValue>("02:00:00:00:00:01", { value: "02:00:00:00:00:00", mask: "ff:00:00:00:00:00" }) }, { requiredKeys: [] }),
  fc.record({ eth_type: fc.constant(0x800), ipv4_src: address, ipv4_dst: address, ip_proto: pick(6, 17) }, { requiredKeys: ["eth_type"] }),
  fc.record({ eth_type: pick(0x800, 0x86dd), ip_proto: fc.constant(6), tcp_dst: pick<MatchValue>(80, 81, { value: 80, mask: 0xfff0 }) }, { requiredKeys: ["eth_type", "ip_proto"] }),
  fc.record({ vlan_vid: pick<MatchValue>(0, 0x1005, { value: 0x1000, mask: 0x1000 }) }),
  fc.record({ metadata: pick<MatchValue>(1n, { value: 0x10n, mask: 0xf0n }), tunnel_id: number }, { requiredKeys: [] }),
  // Refused: prerequisites are missing.
  fc.record({ ipv4_dst: address }),
  fc.record({ recirc_id: fc.constant(1) }),
  fc.record({ dp_hash: fc.constant(1) }),
  fc.record({ eth_type: fc.constant(0x806), tcp_dst: fc.constant(80) }),
);
/** Such as fit any packet. */
const plainAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("output" as const), port: pick(1, 2, 3, 0xfffffff8, 0xfffffffd, 0xffffffff, 0xff00, 0xfff00000) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("group" as const), group_id: pick(1, 2, 3) }) },
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: plainAction },
  fc.record({ type: fc.constant("set_field" as const), field: fc.constant("reg2" as const), value: number }),
  fc.record({ type: fc.constant("set_field" as const), field: fc.constant("ipv4_src" as const), value: fc.constant("10.9.9.9") }),
  fc.record({ type: fc.constant("resubmit" as const), table: number }),
  fc.constant({ type: "dec_ttl" as const }),
  fc.record({ type: fc.constant("load" as const), dst: fc.constant({ field: "reg3" as const, ofs: 0, bits: 16 }), value: number }),
  fc.record({ type: fc.constant("clone" as const), actions: fc.constant([{ type: "output" as const, port: 3 }, { type: "group" as const, group_id: 2 }]) }),
);
const instructions: fc.Arbitrary<Instruction[]> = fc
  .record({
    meter_id: fc.option(pick(1, 2, 3), { freq: 8 }), apply: fc.option(fc.array(action, { maxLength: 3 }), { freq: 1 }), write: fc.option(fc.array(pick<Action>({ type: "output", port: 2 }, { type: "group", group_id: 1 }), { minLength: 1, maxLength: 1 }), { freq: 5 }),
    table_id: fc.option(pick(1, 2, 3, 200), { freq: 4 }),
  })
  .map(({ meter_id, apply, write, table_id }) => [
    ...(meter_id === null ? [] : [{ type: "meter" as const, meter_id }]), ...(apply === null ? [] : [{ type: "apply_actions" as const, actions: apply }]),
    ...(write === null ? [] : [{ type: "write_actions" as const, actions: write }]), ...(table_id === null ? [] : [{ type: "goto_table" as const, table_id }]),
  ]);
const flowMod = fc.record(
  {
    type: fc.constant("flow_mod" as const), command: pick<FlowModMessage["command"]>("add", "add", "add", "add", "modify", "modify_strict", "delete", "delete_strict"),
    table_id: fc.oneof({ weight: 12, arbitrary: pick(0, 1, 2) }, { weight: 1, arbitrary: pick(253, 254, 255) }), priority: pick(1, 2, 0x8000), cookie: pick(0n, 1n, 2n, 0xffffffffffffffffn),
    cookie_mask: fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, pick(1n, 0xffffffffffffffffn)), flags: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, pick(1, 2, 4, 31, 32)),
    hard_timeout: fc.constant(1000), buffer_id: fc.oneof({ weight: 30, arbitrary: fc.constant(0xffffffff) }, fc.constant(5)),
    out_port: fc.oneof({ weight: 4, arbitrary: fc.constant(0xffffffff) }, pick(1, 2, 0xfffffffd, 0xff01)), out_group: fc.oneof({ weight: 5, arbitrary: fc.constant(0xffffffff) }, pick(1, 2)), match, instructions,
  },
  { requiredKeys: ["type", "command", "table_id", "priority", "match", "instructions"] },
);
const bucket = fc.record({ weight: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.constant(5)), watch_port: fc.oneof({ weight: 2, arbitrary: fc.constant(0xffffffff) }, pick(1, 2)), actions: fc.array(action, { maxLength: 2 }) });
const groupMod = fc.record({
  type: fc.constant("group_mod" as const), command: pick<MessageOf<"group_mod">["command"]>("add", "add", "modify", "delete", "add_or_modify"),
  group_type: pick<MessageOf<"group_mod">["group_type"]>("all", "select", "indirect", "ff", 9), group_id: fc.oneof({ weight: 8, arbitrary: pick(1, 2, 3) }, pick(0xfffffffc, 0xffffff01)), buckets: fc.array(bucket, { maxLength: 3 }),
});
const band = fc.record({ type: pick("drop", "drop", "drop", "dscp_remark") as fc.Arbitrary<"drop">, rate: pick(1, 1000), burst_size: pick(0, 100) });
const meterMod = fc.record({
  type: fc.constant("meter_mod" as const), command: pick("add", "add", "modify", "delete") as fc.Arbitrary<"add">, flags: pick(1, 2, 5, 9, 3, 16),
  meter_id: fc.oneof({ weight: 8, arbitrary: pick(1, 2, 3) }, pick(0, 0xffffffff, 0xffff0001)), bands: fc.array(band, { minLength: 1, maxLength: 2 }),
});
const portMod = fc.record({ type: fc.constant("port_mod" as const), port_no: pick(1, 9), hw_addr: pick("aa:55:aa:55:00:99"), config: pick(0, 0x20), mask: fc.constant(0x20) });
const packetOut = fc.record({ type: fc.constant("packet_out" as const), in_port: pick(1, 0xfffffffd, 0xff05), actions: fc.array(plainAction, { maxLength: 2 }), data: fc.constant(Buffer.alloc(60)) });
const small: fc.Arbitrary<Message> = fc.oneof({ weight: 10, arbitrary: flowMod }, { weight: 2, arbitrary: groupMod }, { weight: 1, arbitrary: meterMod }, { weight: 1, arbitrary: packetOut }, { weight: 1, arbitrary: portMod });
const query: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant("multipart_request" as const), kind: fc.constant("aggregate" as const), table_id: pick(0, 1, 255), match, out_port: pick(0xffffffff, 1), cookie: fc.constant(1n), cookie_mask: pick(0n, 1n) }),
  fc.record({ type: fc.constant("multipart_request" as const), kind: pick("meter", "meter_config"), meter_id: pick(1, 2, 0xffffffff) }) as fc.Arbitrary<Message>,
  fc.record({ type: fc.constant("multipart_request" as const), kind: fc.constant("queue" as const), port_no: fc.constant(9), queue_id: pick(0, 0xffffffff) }),
  fc.record({ type: fc.constant("queue_get_config_request" as const), port: fc.constant(9) }),
  fc.record({ type: fc.constant("table_mod" as const), table_id: pick(0, 253, 254, 255), config: fc.constant(0) }),
);
const step = fc.oneof({ weight: 12, arbitrary: small }, { weight: 2, arbitrary: query }, { weight: 2, arbitrary: fc.array(fc.oneof({ weight: 6, arbitrary: flowMod }, groupMod, packetOut), { maxLength: 8 }) });

/** What depends on the time, or on the packets that only the real switch forwards. */
const UNCOMPARED = new Set(["xid", "duration_sec", "duration_nsec", "packet_count", "byte_count", "packet_in_count", "byte_in_count"]);

/** What came of a request: the name of the error, or what the reply says that has to be the same. */
async function outcome(conn: OpenFlowConnection, request: Message | readonly Message[]): Promise<unknown> {
  try {
    if (Array.isArray(request)) return await conn.bundle(request.map((message) => encodeMessage(message as Message, 0))).then(() => "committed");
    const reply: Decoded = await conn.request(request as Message);
    return JSON.parse(JSON.stringify(reply, (name, value: unknown) => (UNCOMPARED.has(name) ? undefined : typeof value === "bigint" ? String(value) : value)));
  } catch (error) {
    if (!(error instanceof OpenFlowError) || error.code !== "OF_PEER_ERROR") throw error;
    return `${error.errorName!}${error.index === undefined ? "" : ` of message ${error.index}`}${error.data === undefined ? "" : `, ${error.data.length} bytes quoted`}`;
  }
}

/** All that is installed, as text that compares. */
async function installed(conn: OpenFlowConnection): Promise<string[]> {
  const lines: string[] = [];
  await conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, (reply) => {
    eachFlowStats(reply, (e) => {
      const bytes = e.buf.toString("hex", e.match_off, e.match_off + e.match_len + e.instructions_len);
      lines.push(`${e.table_id} ${e.priority} ${e.cookie_hi},${e.cookie_lo} ${e.flags} ${e.idle_timeout} ${e.hard_timeout} ${bytes}`);
    });
  });
  for (const kind of ["group_desc", "group", "meter_config", "meter"] as const) {
    const reply = await outcome(conn, { type: "multipart_request", kind });
    for (const item of ((reply as Record<string, unknown>)["groups"] ?? (reply as Record<string, unknown>)["meters"]) as unknown[]) lines.push(`${kind} ${JSON.stringify(item)}`);
  }
  return lines.sort();
}

describe.skipIf(!ovsInstalled)("the fake switch and a real one", () => {
  let ovs: TestSwitch;
  let real: OpenFlowConnection;
  let sw: FakeSwitch;
  let fake: OpenFlowConnection;

  beforeAll(async () => {
    ovs = startSwitch();
    for (const port of [1, 2, 3]) ovs.vsctl("add-port", "br0", `p${port}`, "--", "set", "interface", `p${port}`, "type=dummy", `ofport_request=${port}`);
    real = await ovs.connect();
    sw = new FakeSwitch();
    for (const port of (await real.request({ type: "multipart_request", kind: "port_desc" })).ports) sw.addPort(port);
    fake = new OpenFlowConnection(connect({ port: await sw.listen({}), host: "127.0.0.1" }));
    await fake.handshake();
  });
  afterAll(async () => {
    real?.close();
    fake?.close();
    await sw?.close();
    ovs?.stop();
  });

  const clear: readonly Message[] = [
    { type: "flow_mod", command: "delete", match: {} }, { type: "group_mod", command: "delete", group_type: "all", group_id: 0xfffffffc, buckets: [] },
    { type: "meter_mod", command: "delete", flags: 1, meter_id: 0xffffffff, bands: [] },
  ];

  test("take the same requests, refuse the same, and hold the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        for (const request of [...clear, ...steps]) {
          const theirs = await outcome(real, request);
          expect(await outcome(fake, request), JSON.stringify(request, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v))).toEqual(theirs);
        }
        expect(await installed(fake)).toEqual(await installed(real));
      }),
      { numRuns: Number(process.env["FAKE_SWITCH_RUNS"] ?? 60), seed: Number(process.env["FC_SEED"] ?? (process.env["AXION_NIGHTLY"] === undefined ? 20261124 : Date.now() % 2 ** 31)) },
    );
  }, 120_000);

  const tlv = (command: "add" | "delete" | "clear", ...maps: (readonly [number, number, number, number])[]): Message => ({
    type: "tlv_table_mod", command, maps: maps.map(([option_class, option_type, option_len, index]) => ({ option_class, option_type, option_len, index })),
  });
  const FIXED: readonly (readonly [string, readonly Message[]])[] = [
    ["what they can", [{ type: "multipart_request", kind: "group_features" }, { type: "multipart_request", kind: "meter_features" }]],
    ["which events they send", [{ type: "get_async_request" }, { type: "set_async", packet_in_mask: [1, 2], port_status_mask: [3, 4], flow_removed_mask: [5, 6] }, { type: "get_async_request" }]],
    ["roles", [
      { type: "role_request", role: 0, generation_id: 0n }, { type: "role_request", role: 2, generation_id: 10n }, { type: "role_request", role: 3, generation_id: 9n }, { type: "role_request", role: 3, generation_id: 11n },
      { type: "flow_mod", command: "add", match: {} }, { type: "meter_mod", command: "add", flags: 1, meter_id: 9, bands: [] }, { type: "table_mod", table_id: 0, config: 0 }, { type: "packet_out", actions: [] },
      { type: "bundle_control", bundle_id: 9, ctrl_type: 0, flags: 0 }, { type: "multipart_request", kind: "aggregate", match: {} }, { type: "role_request", role: 1, generation_id: 0n }, { type: "role_request", role: 7, generation_id: 0n },
      { type: "nxt_role_request", role: 1 }, { type: "nxt_role_request", role: 0 },
    ]],
    ["bundle control", [
      ...[[1, 2, 0], [1, 4, 0], [1, 6, 0], [1, 0, 3], [1, 0, 3], [1, 0, 3], [1, 2, 1], [1, 0, 3], [1, 2, 3], [1, 2, 3], [1, 0, 0], [1, 4, 0], [1, 1, 0]].map(([bundle_id, ctrl_type, flags]) => ({ type: "bundle_control" as const, bundle_id: bundle_id!, ctrl_type: ctrl_type!, flags: flags! })),
    ]],
    ["who may be made the port that a packet came in by, and how", ([
      { type: "set_field", field: "in_port", value: 0 }, { type: "set_field", field: "in_port", value: 3 }, { type: "set_field", field: "in_port", value: 0xfffffffd }, { type: "set_field", field: "in_port", value: 0, mask: 0xffff },
      { type: "set_field", field: "nxm_in_port", value: 0 }, { type: "load", dst: { field: "nxm_in_port", ofs: 0, bits: 16 }, value: 0 }, { type: "load", dst: { field: "in_port", ofs: 0, bits: 32 }, value: 0 },
      { type: "move", src: { field: "reg0", ofs: 0, bits: 16 }, dst: { field: "nxm_in_port", ofs: 0, bits: 16 } }, { type: "clone", actions: [{ type: "set_field", field: "in_port", value: 0 }] },
    ] as const satisfies readonly Action[]).map((a): Message => ({ type: "flow_mod", command: "add", priority: 9, match: {}, instructions: [{ type: "apply_actions", actions: [a] }] }))],
    ["tunnel options", [
      tlv("add", [0xffff, 1, 4, 0]), { type: "tlv_table_request" }, tlv("add", [0xffff, 2, 4, 0]), tlv("add", [0xffff, 1, 4, 1]), tlv("add", [0xffff, 3, 0, 1]), tlv("add", [0xffff, 3, 5, 1]),
      tlv("add", [0xffff, 3, 4, 64]), tlv("add", [1, 3, 124, 5], [1, 4, 120, 2]), { type: "tlv_table_request" }, tlv("delete", [1, 3, 124, 5]), { type: "tlv_table_request" }, tlv("clear"), { type: "tlv_table_request" },
    ]],
    ["small things", [
      { type: "set_config", flags: 0, miss_send_len: 99 }, { type: "get_config_request" }, { type: "set_packet_in_format", format: 1 }, { type: "set_packet_in_format", format: 0 }, { type: "set_packet_in_format", format: 9 },
      { type: "flow_mod_table_id", set: 1 }, { type: "set_controller_id", controller_id: 7 }, { type: "ct_flush_zone", zone_id: 3 }, { type: "multipart_request", kind: "experimenter", experimenter: 0x123456, exp_type: 1 },
      { type: "experimenter", experimenter: 0x123456, exp_type: 1 }, { type: "experimenter", experimenter: 0x2320, exp_type: 9999 }, { type: "get_config_reply", flags: 0 }, { type: "features_reply", datapath_id: "0000000000000001", n_buffers: 0, n_tables: 1, capabilities: 0 },
    ]],
  ];
  test.each(FIXED)("agree about %s", async (_, requests) => {
    const theirs: unknown[] = [];
    const ours: unknown[] = [];
    for (const request of requests) {
      theirs.push([request.type, await outcome(real, request)]);
      ours.push([request.type, await outcome(fake, request)]);
    }
    expect(ours).toEqual(theirs);
  });
});
