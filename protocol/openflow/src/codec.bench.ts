// How fast flow-mods are written and flow statistics read: node dist/codec.bench.js, after a build.

import { decodeMessage, eachFlowStats, encodeFlowMod, encodeMessage, type FlowMod, type SubField } from "./index.ts";

const N = 1_000_000;
const buf = Buffer.alloc(1 << 20);

function rate(name: string, count: number, run: (n: number) => unknown): void {
  run(Math.min(count, 200_000));
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = process.hrtime.bigint();
    run(count);
    times.push(Number(process.hrtime.bigint() - start));
  }
  const best = Math.min(...times);
  console.log(`${name.padEnd(58)} ${(count / best * 1e3).toFixed(2).padStart(8)} M/s  ${(best / count).toFixed(0).padStart(5)} ns`);
}

const reg = (n: 2 | 3, bits = 32): SubField => ({ field: `reg${n}`, ofs: 0, bits });
const small = (i: number): FlowMod => ({
  command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo: i }, match: { reg0: i, reg1: 7 },
  instructions: [{ type: "apply_actions", actions: [{ type: "load", dst: reg(2), value: i }, { type: "resubmit", table: 6 }] }],
});
const typical = (i: number): FlowMod => ({
  command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo: i },
  match: { reg0: i, eth_type: 0x800, ip_proto: 6, ipv4_dst: 0x0a000000 + (i & 0xffff), tcp_dst: 80 },
  instructions: [{ type: "apply_actions", actions: [{ type: "load", dst: reg(2), value: i }, { type: "load", dst: reg(3, 16), value: 5 }, { type: "resubmit", table: 6 }] }],
});
const text = (i: number): FlowMod => ({
  command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo: i },
  match: { reg0: i, eth_dst: "fa:16:3e:00:00:01", eth_type: 0x800, ipv4_dst: "10.0.0.0/24", ct_state: "+trk+est" },
  instructions: [{ type: "apply_actions", actions: [{ type: "set_field", field: "eth_dst", value: "fa:16:3e:00:00:02" }, { type: "output", port: 3 }] }],
});

for (const [name, make] of [["2 fields, 2 actions", small], ["5 fields, 3 actions", typical], ["text addresses, masks, flags", text]] as const) {
  const made = Array.from({ length: 1024 }, (_, i) => make(i));
  rate(`encodeFlowMod, ${name}`, N, (n) => { for (let i = 0; i < n; i++) encodeFlowMod(buf, 0, made[i & 1023]!, i); });
  rate(`encodeFlowMod, ${name}, object made as well`, N, (n) => { for (let i = 0; i < n; i++) encodeFlowMod(buf, 0, make(i), i); });
}
const flow = { table_id: 3, duration_sec: 5, duration_nsec: 6, priority: 100, idle_timeout: 0, hard_timeout: 0, flags: 0, cookie: 1n, packet_count: 7n, byte_count: 7n, match: typical(1).match, instructions: typical(1).instructions! };
const reply = encodeMessage({ type: "multipart_reply", kind: "flow", flags: 0, flows: Array.from({ length: 300 }, () => flow) }, 1);
rate("eachFlowStats, entries", 3_000_000, (n) => {
  let sum = 0;
  for (let i = 0; i < n / 300; i++) eachFlowStats(reply, (e) => (sum += e.match_len));
  return sum;
});
rate("decodeMessage of flow statistics, entries", 90_000, (n) => { for (let i = 0; i < n / 300; i++) decodeMessage(reply); });
