// "How fast is the codec, and how fast a switch is filled and read?" - flow-mods and flow statistics by themselves, then 100,000
// flows in one bundle and 300,000 flows dumped, each beside ovs-ofctl with the same flows on the same switch, in turns.
import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { Writable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  decodeMessage, dump, eachFlowStats, encodeFlowMod, encodeMessage, flowModTemplate, Framer, OpenFlowConnection, type FlowMod, type Slice, type SubField,
} from "node-openflow";
import { startManySwitches } from "../lab/many.ts";

export interface CodecRow {
  readonly what: string;
  /** Millions a second of processor time, so of one core: the median of the rounds, and the slowest and fastest. */
  readonly million_s: number;
  readonly from_to: string;
  readonly ns: number;
  /** Bytes of OpenFlow written or read a second. */
  readonly mb_s: number;
  /** Allocated for each. */
  readonly heap_bytes: number;
}

export interface SwitchRow {
  readonly what: string;
  readonly median_ms: number;
  readonly from_to_ms: string;
  /** ovs-ofctl's median for the same, and how many times ours it is. */
  readonly ofctl_ms: number;
  readonly ofctl_from_to_ms: string;
  readonly ofctl_over_ours: number;
}

export interface OpenflowResult {
  readonly codec: readonly CodecRow[];
  readonly pushed: number;
  readonly dumped: number;
  readonly switch: readonly SwitchRow[];
}

export interface OpenflowOptions {
  /** Rounds of each codec measurement; runs of each with the switch are a third of it, at least 3. */
  readonly repeats?: number;
  readonly log?: (line: string) => void;
}

const PUSHED = 100_000;
const DUMPED = 300_000;
const ROUND_MS = 120;

/** Collects garbage now. */
let gc = (): void => undefined;

// --- the codec alone ---

const reg = (n: 2 | 3, bits = 32): SubField => ({ field: `reg${n}`, ofs: 0, bits });
const small = (i: number): FlowMod => ({
  command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo: i }, match: { reg0: i, reg1: 7 },
  instructions: [{ type: "apply_actions", actions: [{ type: "load", dst: reg(2), value: i }, { type: "resubmit", table: 6 }] }],
});
const typical = (i: number): FlowMod => ({
  command: "add", table_id: i % 20, priority: 100 + (i & 7), cookie: { hi: 1, lo: i }, match: { reg0: i, eth_type: 0x800, ip_proto: 6, ipv4_dst: 0x0a000000 + (i & 0xffffff), tcp_dst: 80 },
  instructions: [{ type: "apply_actions", actions: [{ type: "load", dst: reg(2), value: i & 0xffff }, { type: "load", dst: reg(3, 16), value: 5 }, { type: "resubmit", table: (i % 20) + 1 }] }],
});
const textual = (i: number): FlowMod => ({
  command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo: i },
  match: { reg0: i, eth_dst: "fa:16:3e:00:00:01", eth_type: 0x800, ipv4_dst: "10.0.0.0/24", ct_state: "+trk+est" },
  instructions: [{ type: "apply_actions", actions: [{ type: "set_field", field: "eth_dst", value: "fa:16:3e:00:00:02" }, { type: "output", port: 3 }] }],
});
/** A flow of `typical`, as ovs-ofctl reads it. */
const typicalText = (i: number): string =>
  `table=${i % 20},priority=${100 + (i & 7)},cookie=${(0x100000000n + BigInt(i)).toString()},reg0=${i},tcp,nw_dst=10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255},tp_dst=80,` +
  `actions=load:${i & 0xffff}->NXM_NX_REG2[],load:5->NXM_NX_REG3[0..15],resubmit(,${(i % 20) + 1})`;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** `run` does `n` operations; `bytes` of OpenFlow each. */
function measure(what: string, bytes: number, repeats: number, run: (n: number) => void): CodecRow {
  let n = 1000;
  for (;;) {
    const began = performance.now();
    run(n);
    const ms = performance.now() - began;
    if (ms >= ROUND_MS / 2) {
      n = Math.max(1, Math.round((n * ROUND_MS) / ms));
      break;
    }
    n *= 2;
  }
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const began = process.cpuUsage();
    run(n);
    const used = process.cpuUsage(began);
    times.push(((used.user + used.system) * 1e3) / n);
  }
  // Few enough that no collection comes between.
  const few = Math.min(n, 10_000);
  const allocated: number[] = [];
  for (let i = 0; i < 5; i++) {
    gc();
    const before = process.memoryUsage().heapUsed;
    run(few);
    allocated.push((process.memoryUsage().heapUsed - before) / few);
  }
  const ns = median(times);
  const million = (t: number): number => round(1e3 / t);
  return {
    what, million_s: million(ns), from_to: `${million(Math.max(...times))}..${million(Math.min(...times))}`, ns: round(ns), mb_s: Math.round((bytes / ns) * 1e3),
    heap_bytes: Math.max(0, Math.round(median(allocated))),
  };
}

function codec(repeats: number): CodecRow[] {
  setFlagsFromString("--expose-gc");
  gc = runInNewContext("gc") as () => void;
  const rows: CodecRow[] = [];
  const buf = Buffer.alloc(1 << 20);
  for (const [name, make] of [["2 fields, 2 actions", small], ["5 fields, 3 actions", typical], ["text addresses, masks, flags", textual]] as const) {
    const made = Array.from({ length: 1024 }, (_, i) => make(i));
    const length = encodeFlowMod(buf, 0, made[1]!);
    rows.push(measure(`encode flow-mods: ${name}`, length, repeats, (n) => { for (let i = 0; i < n; i++) encodeFlowMod(buf, 0, made[i & 1023]!, i); }));
    rows.push(measure(`the same, with their objects`, length, repeats, (n) => { for (let i = 0; i < n; i++) encodeFlowMod(buf, 0, make(i), i); }));
  }
  const values = [0, 0, 0, 0];
  const two = flowModTemplate([32, 32], (address, lo) => ({
    command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo }, match: { eth_type: 0x800, ipv4_dst: address }, instructions: [{ type: "apply_actions", actions: [{ type: "output", port: 3 }] }],
  }));
  const four = flowModTemplate([32, 32, 32, 32], (address, lo, reg0, value) => ({
    command: "add", table_id: 5, priority: 100, cookie: { hi: 1, lo }, match: { reg0, eth_type: 0x800, ip_proto: 6, ipv4_dst: address, tcp_dst: 80 },
    instructions: [{ type: "apply_actions", actions: [{ type: "load", dst: reg(2), value }, { type: "resubmit", table: 6 }] }],
  }));
  for (const [name, template] of [["2 numbers and xid", two], ["4 numbers and xid", four]] as const) {
    rows.push(measure(`write flow-mods by a template: ${name}`, template.length, repeats, (n) => {
      let off = 0;
      for (let i = 0; i < n; i++) {
        values[0] = i;
        values[1] = i + 1;
        values[2] = i;
        values[3] = 7;
        off = off + template.length > buf.length ? template.write(buf, 0, values, i) : template.write(buf, off, values, i);
      }
    }));
  }
  const flow = { table_id: 3, duration_sec: 5, duration_nsec: 6, priority: 100, idle_timeout: 0, hard_timeout: 0, flags: 0, cookie: 1n, packet_count: 7n, byte_count: 7n, match: typical(1).match, instructions: typical(1).instructions! };
  const PER_REPLY = 300;
  const reply = encodeMessage({ type: "multipart_reply", kind: "flow", flags: 0, flows: Array.from({ length: PER_REPLY }, () => flow) }, 1);
  let sum = 0;
  rows.push(measure("read flow statistics, lazily", reply.length / PER_REPLY, repeats, (n) => { for (let i = 0; i < n; i += PER_REPLY) eachFlowStats(reply, (e) => (sum += e.match_len + e.cookie_lo)); }));
  rows.push(measure("decode flow statistics into objects", reply.length / PER_REPLY, repeats, (n) => { for (let i = 0; i < n; i += PER_REPLY) decodeMessage(reply); }));
  const messages = [
    encodeMessage({ type: "packet_in", buffer_id: 0xffffffff, total_len: 64, reason: "action", table_id: 3, cookie: 5n, match: { in_port: 3, metadata: 7n }, data: Buffer.alloc(64) }, 0),
    encodeMessage({ type: "echo_request" }, 1), encodeMessage({ type: "barrier_reply" }, 2),
    encodeMessage({ type: "flow_removed", cookie: 1n, priority: 5, reason: "delete", table_id: 1, duration_sec: 1, duration_nsec: 1, idle_timeout: 0, hard_timeout: 0, packet_count: 1n, byte_count: 1n, match: { reg0: 1 } }, 0),
  ];
  const stream = Buffer.concat(Array.from({ length: 400 }, (_, i) => messages[i % messages.length]!));
  rows.push(measure("cut and decode messages: packet-in, echo, barrier, flow removed", stream.length / 400, repeats, (n) => {
    const framer = new Framer();
    for (let i = 0; i < n; i += 400) framer.push(stream, (frame) => (sum += decodeMessage(frame).xid));
  }));
  if (!Number.isFinite(sum)) throw new Error("what was read made no sense");
  return rows;
}

// --- beside ovs-ofctl ---

function timed(run: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  return run().then(() => performance.now() - began);
}

function inTurns(what: string, ours: readonly number[], theirs: readonly number[]): SwitchRow {
  const range = (times: readonly number[]): string => `${Math.round(Math.min(...times))}..${Math.round(Math.max(...times))}`;
  return {
    what, median_ms: Math.round(median(ours)), from_to_ms: range(ours), ofctl_ms: Math.round(median(theirs)), ofctl_from_to_ms: range(theirs), ofctl_over_ours: round(median(theirs) / median(ours)),
  };
}

/** Waits until the process rests: what it still does for the run before (freeing 100,000 flows) is no part of the next. */
async function settled(pid: number): Promise<void> {
  const ticks = (): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  for (let left = 100, before = ticks(); left > 0; left--) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const now = ticks();
    if (now - before <= 1) return; // ticks of 10 ms
    before = now;
  }
}

/** The flows as flow-mods, each encoded as it is asked for. */
function* flowMods(from: number, to: number): Generator<Slice> {
  const buf = Buffer.alloc(4096);
  const slice = { buf, off: 0, len: 0 };
  for (let i = from; i < to; i++) {
    slice.len = encodeFlowMod(buf, 0, typical(i));
    yield slice;
  }
}

async function withSwitch(runs: number, log: (line: string) => void): Promise<SwitchRow[]> {
  const many = await startManySwitches(1, {});
  try {
    await many.vsctl(0, "add-br", "br0", "--", "set", "Bridge", "br0", "protocols=OpenFlow13");
    const { dir } = many.switches[0]!;
    const socket = `${dir}/br0.mgmt`;
    const pid = Number(readFileSync(`${dir}/vsw.pid`, "utf8"));
    const none = await open("/dev/null", "w");
    const ofctl = (...args: string[]): Promise<void> =>
      new Promise((resolve, reject) => {
        const child = spawn("ovs-ofctl", ["-vconsole:off", "-O", "OpenFlow13", ...args], { stdio: ["ignore", none.fd, "inherit"] });
        child.on("error", reject).on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`ovs-ofctl ${args.join(" ")}: ${code}`))));
      });
    const controller = async (): Promise<OpenFlowConnection> => {
      const connection = new OpenFlowConnection(connect(socket), { requestTimeoutMs: 120_000 });
      await connection.handshake();
      return connection;
    };
    const push = async (from: number, to: number): Promise<void> => {
      const connection = await controller();
      await connection.bundle(flowMods(from, to), { timeoutMs: 120_000 });
      connection.close();
    };
    const flows = `${dir}/flows.txt`;
    await writeFile(flows, Array.from({ length: PUSHED }, (_, i) => typicalText(i)).join("\n") + "\n");
    const pushes: [number[], number[]] = [[], []];
    let counted = "";
    for (let run = 0; run < runs; run++) {
      for (const side of run % 2 === 0 ? [0, 1] : [1, 0]) {
        await ofctl("del-flows", `unix:${socket}`);
        await settled(pid);
        pushes[side as 0 | 1].push(await timed(() => (side === 0 ? push(0, PUSHED) : ofctl("--bundle", "add-flows", `unix:${socket}`, flows))));
        const now = await many.ofctl(0, "dump-aggregate", `unix:${socket}`);
        counted = /flow_count=(\d+)/.exec(now)?.[1] ?? "";
        if (counted !== String(PUSHED)) throw new Error(`${counted} flows are on the switch, not ${PUSHED}`);
      }
      log(`bundle ${run + 1} of ${runs}: ours ${Math.round(pushes[0].at(-1)!)} ms, ovs-ofctl ${Math.round(pushes[1].at(-1)!)} ms`);
    }
    await push(PUSHED, DUMPED);
    const dumps: [number[], number[], number[]] = [[], [], []];
    for (let run = 0; run < runs; run++) {
      dumps[2].push(await timed(() => ofctl("dump-flows", `unix:${socket}`)));
      const connection = await controller();
      let seen = 0;
      dumps[0].push(await timed(() => connection.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, (reply) => eachFlowStats(reply, () => seen++))));
      connection.close();
      if (seen !== DUMPED) throw new Error(`${seen} flows were read, not ${DUMPED}`);
      const out: Writable = createWriteStream("/dev/null");
      dumps[1].push(await timed(() => dump(`unix:${socket}`, { out, flowsOnly: true, timeoutMs: 120_000 })));
      out.end();
      log(`dump ${run + 1} of ${runs}: read ${Math.round(dumps[0].at(-1)!)} ms, printed ${Math.round(dumps[1].at(-1)!)} ms, ovs-ofctl ${Math.round(dumps[2].at(-1)!)} ms`);
    }
    await none.close();
    return [
      inTurns(`${PUSHED} flows in a bundle, from objects`, pushes[0], pushes[1]), inTurns(`${DUMPED} flows dumped, read`, dumps[0], dumps[2]), inTurns(`${DUMPED} flows dumped, printed`, dumps[1], dumps[2]),
    ];
  } finally {
    await many.destroy();
  }
}

export async function benchOpenflow({ repeats = 9, log = () => undefined }: OpenflowOptions = {}): Promise<OpenflowResult> {
  const rows = codec(repeats);
  return { codec: rows, pushed: PUSHED, dumped: DUMPED, switch: await withSwitch(Math.max(3, Math.ceil(repeats / 3)), log) };
}

const round = (x: number): number => Math.round(x * 100) / 100;
