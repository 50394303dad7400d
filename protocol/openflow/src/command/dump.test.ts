// The quick lines are those of the printer, and a dump of a real switch is what ovs-ofctl prints.

import { Writable } from "node:stream";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { dump, runDump } from "./dump.ts";
import { FakeSwitch } from "../fake-switch/switch.ts";
import { FlowLines } from "./flow-lines.ts";
import { decodeMessage, eachFlowStats, encodeFlowMod, encodeMessage, type Action, type Decoded, type FlowMod, type Instruction, type Match, type MatchValue, type MultipartReplyOf } from "../index.ts";
import { ovsInstalled, startSwitch, type TestSwitch } from "../testing/test-switch.ts";
import { formatFlowStats } from "../text/print/flow.ts";

class Text extends Writable {
  text = "";
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString("latin1");
    setImmediate(done); // slower than the switch
  }
}

const pick = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const u32 = fc.oneof(fc.nat(20), fc.nat(0xffffffff));
const u16 = fc.nat(0xffff);
const ip = pick<MatchValue>("10.0.0.1", "0.0.0.0", "192.168.255.255", "10.0.0.0/8");
const optional = { requiredKeys: [] };
const match = fc.tuple(
  fc.record({ reg0: u32, reg15: u32, reg7: fc.oneof(u32, fc.constant({ value: 1, mask: 0xff })), pkt_mark: u32, ct_mark: u32, ct_zone: u16, conj_id: u32 }, optional),
  fc.record({ in_port: pick(1, 65279, 0xfffffffe), tunnel_id: fc.bigInt(0n, (1n << 64n) - 1n), metadata: fc.bigInt(0n, (1n << 64n) - 1n), eth_src: pick("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"), eth_dst: pick<MatchValue>("00:00:00:00:00:00", "01:00:00:00:00:00/01:00:00:00:00:00") }, optional),
  fc.oneof(
    fc.constant({}), fc.record({ eth_type: pick(0x800, 0x86dd, 0x806, 0x8847, 0x88cc) }), fc.record({ eth_type: fc.constant(0x800), ip_proto: pick(1, 6, 17, 132, 2, 0), ipv4_src: ip, ipv4_dst: ip }, { requiredKeys: ["eth_type"] }),
    fc.record({ eth_type: pick(0x800, 0x86dd), ip_proto: fc.constant(6), tcp_src: u16, tcp_dst: u16 }, { requiredKeys: ["eth_type", "ip_proto"] }),
    fc.record({ eth_type: pick(0x800, 0x86dd), ip_proto: fc.constant(17), udp_src: u16, udp_dst: u16 }, { requiredKeys: ["eth_type", "ip_proto"] }),
    fc.record({ eth_type: fc.constant(0x806), arp_op: pick(1, 2), arp_spa: ip, arp_tpa: ip }, { requiredKeys: ["eth_type"] }),
  ),
).map(([a, b, c]): Match => ({ ...a, ...b, ...c }));
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ type: fc.constant("output" as const), port: pick(1, 0xfffffffd, 0xfffffffa) }), fc.record({ type: fc.constant("resubmit" as const), table: fc.nat(254) }),
  fc.record({ type: fc.constant("load" as const), dst: fc.constant({ field: "reg3" as const, ofs: 0, bits: 32 }), value: u32 }), fc.constant({ type: "dec_ttl" as const }),
  fc.record({ type: fc.constant("set_field" as const), field: fc.constant("eth_dst" as const), value: pick("02:00:00:00:00:01") }), fc.constant({ type: "ct" as const, commit: true, zone: 5 }),
);
const instructions: fc.Arbitrary<Instruction[]> = fc
  .record({ meter: fc.boolean(), apply: fc.array(action, { maxLength: 4 }), clear: fc.boolean(), write: fc.boolean(), metadata: fc.boolean(), table: fc.option(fc.nat(254)) })
  .map(({ meter, apply, clear, write, metadata, table }) => [
    ...(meter && clear ? [{ type: "meter" as const, meter_id: 3 }] : []), ...(apply.length > 0 ? [{ type: "apply_actions" as const, actions: apply }] : []), ...(clear && write ? [{ type: "clear_actions" as const }] : []),
    ...(write && metadata ? [{ type: "write_actions" as const, actions: [{ type: "output" as const, port: 9 }] }] : []), ...(metadata && clear ? [{ type: "write_metadata" as const, metadata: 5n, metadata_mask: 0xffn }] : []),
    ...(table === null ? [] : [{ type: "goto_table" as const, table_id: table }]),
  ]);
const count = pick(0n, 1n, 1n << 40n, (1n << 53n) + 1n, 0xffffffffffffffffn);
const flow = fc.record({
  table_id: fc.nat(254), priority: pick(0, 100, 0x8000), cookie: pick(0n, 1n, 0x100000000n, 0xffffffffffffffffn), duration_sec: fc.nat(100), duration_nsec: pick(0, 1, 5_000_000, 999_999_999, 120_000_000),
  idle_timeout: pick(0, 5), hard_timeout: pick(0, 6), flags: fc.nat(31), packet_count: count, byte_count: count, match, instructions,
});

test("quick lines are the same as those of the printer", () => {
  const lines = new FlowLines();
  fc.assert(
    fc.property(fc.array(flow, { minLength: 1, maxLength: 5 }), (flows) => {
      const reply = encodeMessage({ type: "multipart_reply", kind: "flow", flags: 0, flows }, 1);
      eachFlowStats(reply, (entry) => lines.add(entry));
      expect(lines.take().toString("latin1")).toBe((decodeMessage(reply) as Decoded<MultipartReplyOf<"flow">>).flows.map((each) => ` ${formatFlowStats(each)}\n`).join(""));
    }),
    { numRuns: 500 },
  );
});

test("a dump of the fake switch: its flows, of one table, and what went wrong", async () => {
  const sw = new FakeSwitch({ ports: [{ port_no: 1 }] });
  const port = await sw.listen({});
  const { OpenFlowConnection } = await import("../channel/connection.ts");
  const { connect } = await import("node:net");
  const conn = new OpenFlowConnection(connect({ port, host: "127.0.0.1" }));
  await conn.handshake();
  for (let i = 0; i < 3; i++) await conn.request({ type: "flow_mod", command: "add", table_id: i, cookie: i, match: { reg0: i } });
  const run = async (...args: string[]): Promise<string> => {
    const out = new Text();
    expect(await runDump([...args, `tcp:127.0.0.1:${port}`], out)).toBe(0);
    return out.text;
  };
  expect(await run("--flows-only", "--no-stats")).toBe(" reg0=0 actions=drop\n cookie=0x1, table=1, reg0=0x1 actions=drop\n cookie=0x2, table=2, reg0=0x2 actions=drop\n");
  expect(await run("--no-stats", "--table", "2")).toBe(" cookie=0x2, table=2, reg0=0x2 actions=drop\n");
  expect((await run("--no-stats")).split("\n").slice(3, 6)).toEqual([expect.stringContaining("OFPST_GROUP_DESC reply"), expect.stringContaining("OFPST_METER_CONFIG reply"), expect.stringContaining("OFPST_PORT_DESC reply")]);
  for (const [args, status] of [[[], 2], [["--table", "255", "tcp:127.0.0.1:1"], 2], [["--nonsense"], 2], [["nowhere"], 1], [["tcp:127.0.0.1:0"], 1], [["unix:/nonexistent/sock"], 1]] as const) {
    expect(await runDump(args, new Text())).toBe(status);
  }
  sw.faults.cutAfterSent = 100;
  expect(await runDump([`tcp:127.0.0.1:${port}`], new Text())).toBe(1);
  conn.close();
  await sw.close();
});

describe.skipIf(!ovsInstalled)("a real switch", () => {
  let ovs: TestSwitch;
  beforeAll(async () => {
    ovs = startSwitch();
    ovs.ofctl("add-group", "group_id=1,type=all,bucket=output:1");
    ovs.ofctl("add-meter", "meter=1,kbps,band=type=drop,rate=100");
    const conn = await ovs.connect();
    await conn.bundle((function* () {
      const buf = Buffer.alloc(512);
      const mods: FlowMod[] = fc.sample(fc.record({ match, priority: pick(1, 2, 0x8000), table_id: fc.nat(3) }), { numRuns: 300, seed: 7 })
        .map((fm) => ({ command: "add", ...fm, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: 1 }] }] }));
      for (const fm of mods) yield Buffer.from(buf.subarray(0, encodeFlowMod(buf, 0, fm)));
    })());
    conn.close();
  });
  afterAll(() => ovs?.stop());

  test("is dumped as ovs-ofctl dumps it", async () => {
    const out = new Text();
    await dump(`unix:${ovs.dir}/br0.mgmt`, { out, stats: false });
    const theirs = ["dump-flows", "dump-groups", "dump-meters", "dump-ports-desc"].map((command) => ovs.ofctl(command, ...(command === "dump-flows" ? ["--no-stats"] : []))).join("");
    const sorted = (text: string): string[] => text.replace(/ \(xid=0x[0-9a-f]+\)/g, "").split("\n").sort();
    expect(sorted(out.text)).toEqual(sorted(theirs));
  });
});
