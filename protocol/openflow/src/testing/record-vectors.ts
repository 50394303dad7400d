// Records vectors/recorded.jsonl from a real Open vSwitch: `npm run build && node protocol/openflow/dist/record-vectors.js`.
//
// vectors/session.txt says what to do, one step a line (its own head explains the steps). ovs-ofctl and our few hand-made
// messages reach the switch through a proxy that cuts the streams into messages by their length field alone, so that
// no code under test has a say in what is recorded. The switch's clock stands still and addresses are set, so a second
// recording with the same Open vSwitch differs from the first only where Open vSwitch draws lots.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { startSwitch, type TestSwitch } from "./test-switch.ts";

/** One line of recorded.jsonl. */
export interface RecordedVector {
  readonly dir: "controller-to-switch" | "switch-to-controller";
  /** Message type, multipart or experimenter number: for people, and to count by. */
  readonly class: string;
  readonly hex: string;
  /** What `ovs-ofctl ofp-print` says, to the letter. */
  readonly text: string;
}

const HELLO = "04000010000000010001000800000010";
const BARRIER = "04140008000000ff";
const BARRIER_REPLY = Buffer.from("04150008000000ff", "hex");
const LONG = 16 * 1024;
const MANY = 2;

const TYPES = [
  "HELLO", "ERROR", "ECHO_REQUEST", "ECHO_REPLY", "EXPERIMENTER", "FEATURES_REQUEST", "FEATURES_REPLY", "GET_CONFIG_REQUEST", "GET_CONFIG_REPLY", "SET_CONFIG",
  "PACKET_IN", "FLOW_REMOVED", "PORT_STATUS", "PACKET_OUT", "FLOW_MOD", "GROUP_MOD", "PORT_MOD", "TABLE_MOD", "MULTIPART_REQUEST", "MULTIPART_REPLY",
  "BARRIER_REQUEST", "BARRIER_REPLY", "QUEUE_GET_CONFIG_REQUEST", "QUEUE_GET_CONFIG_REPLY", "ROLE_REQUEST", "ROLE_REPLY", "GET_ASYNC_REQUEST", "GET_ASYNC_REPLY",
  "SET_ASYNC", "METER_MOD",
];

function className(message: Buffer): string {
  const type = message[1]!;
  const name = TYPES[type] ?? String(type);
  if (type === 1) return message.readUInt16BE(8) === 0xffff ? `${name}/EXPERIMENTER/${message.readUInt16BE(10)}` : `${name}/${message.readUInt16BE(8)}/${message.readUInt16BE(10)}`;
  if (type === 4) return `${name}/0x${message.readUInt32BE(8).toString(16)}/${message.readUInt32BE(12)}`;
  if (type === 14) return `${name}/${message[25] ?? "short"}`;
  if (type === 15 || type === 29) return `${name}/${message.readUInt16BE(8)}`;
  if (type !== 18 && type !== 19) return name;
  const kind = message.readUInt16BE(8);
  return kind === 0xffff ? `${name}/0x${message.readUInt32BE(16).toString(16)}/${message.readUInt32BE(20)}` : `${name}/${kind}`;
}

/** Words at spaces; single quotes keep a word together. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|\S+/g)].map((found) => found[1] ?? found[0]);
}

function printed(hex: string): string {
  return execFileSync("ovs-ofctl", ["ofp-print", hex], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

export class Recorder {
  private readonly ovs: TestSwitch;
  private readonly proxy: string;
  private readonly server;
  private readonly seen = new Map<string, RecordedVector["dir"]>();
  private readonly monitors: { child: ChildProcess; control: string }[] = [];
  private flows: string[] = [];
  private messages = 0;

  constructor(ovs: TestSwitch) {
    this.ovs = ovs;
    this.proxy = join(ovs.dir, "proxy.sock");
    this.server = createServer((client) => {
      const peer = connect(join(ovs.dir, "br0.mgmt"));
      this.tap(client, peer, "controller-to-switch");
      this.tap(peer, client, "switch-to-controller");
    });
  }

  async start(): Promise<void> {
    this.server.listen(this.proxy);
    await once(this.server, "listening");
  }

  private tap(from: Socket, to: Socket, dir: RecordedVector["dir"]): void {
    let held = Buffer.alloc(0);
    from.on("data", (chunk: Buffer) => {
      to.write(chunk);
      held = Buffer.concat([held, chunk]);
      while (held.length >= 8) {
        const length = held.readUInt16BE(2);
        if (length < 8 || held.length < length) break;
        this.keep(held.subarray(0, length), dir);
        held = held.subarray(length);
      }
    });
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }

  private keep(message: Buffer, dir: RecordedVector["dir"]): void {
    this.messages++;
    const xid = message.readUInt32BE(4);
    message.writeUInt32BE(0, 4);
    const key = message.toString("hex");
    message.writeUInt32BE(xid, 4);
    for (const known of this.seen.keys()) if (known.slice(0, 8) + "00000000" + known.slice(16) === key) return;
    this.seen.set(message.toString("hex"), dir);
  }

  private ofctl(args: string[], input?: string): Promise<string> {
    const [command, ...rest] = args.filter((arg) => !arg.startsWith("--") && !arg.startsWith("-P"));
    const options = args.filter((arg) => arg.startsWith("--") || arg.startsWith("-P"));
    return this.run("ovs-ofctl", ["-O", "OpenFlow13", ...options, command!, `unix:${this.proxy}`, ...rest], input);
  }

  private async run(file: string, args: string[], input = ""): Promise<string> {
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, OVS_RUNDIR: this.ovs.dir } });
    let out = "";
    let complaint = "";
    child.stdout.on("data", (data: Buffer) => (out += data.toString()));
    child.stderr.on("data", (data: Buffer) => (complaint += data.toString()));
    child.stdin.on("error", () => undefined); // it went without reading; its exit code says why
    child.stdin.end(input);
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new Error(`${file} ${args.join(" ")}: exit ${String(code)}: ${complaint}`);
    return out;
  }

  /** Sends messages of our own, with a hello before and a barrier behind; waits for the barrier's reply. */
  private async send(hex: string): Promise<void> {
    const socket = connect(this.proxy);
    let heard = Buffer.alloc(0);
    const done = new Promise<void>((resolve) => {
      socket.on("data", (chunk: Buffer) => {
        heard = Buffer.concat([heard, chunk]);
        if (heard.includes(BARRIER_REPLY)) resolve();
      });
      socket.on("close", () => resolve());
    });
    socket.write(Buffer.from(`${HELLO}${hex}${BARRIER}`, "hex"));
    await done;
    socket.destroy();
  }

  /** All flows so far at once, then a dump of what the switch has of them; then they go. */
  private async flush(): Promise<void> {
    if (this.flows.length === 0) return;
    const flows = this.flows;
    this.flows = [];
    await this.ofctl(["add-flows", "-"], flows.map((flow, i) => `priority=${1000 + i},${flow}\n`).join(""));
    await this.ofctl(["dump-flows"]);
    this.ovs.ofctl("del-flows");
  }

  async step(line: string): Promise<void> {
    if (line === "" || line.startsWith("#")) {
      await this.flush();
      return;
    }
    const [verb, ...args] = words(line);
    if (verb === "flow") {
      this.flows.push(line.slice("flow ".length));
      return;
    }
    await this.flush();
    switch (verb) {
      case "ofctl":
        await this.ofctl(args);
        return;
      case "refused": {
        const outcome = await this.ofctl(args).then(() => "taken", () => "refused");
        if (outcome !== "refused") throw new Error("expected a refusal");
        return;
      }
      case "vsctl":
        this.ovs.vsctl(...args);
        await sleep(50);
        return;
      case "appctl":
        this.ovs.appctl(...args);
        await sleep(100);
        return;
      case "send":
        await this.send(args.join(""));
        return;
      case "monitor":
        await this.monitor(args);
        return;
      case "monitor-send": {
        const last = this.monitors.at(-1)!;
        await this.run("ovs-appctl", ["-t", last.control, "ofctl/send", args.join("")]);
        await this.run("ovs-appctl", ["-t", last.control, "ofctl/barrier"]);
        return;
      }
      case "end":
        for (const { child, control } of this.monitors.splice(0)) {
          await this.run("ovs-appctl", ["-t", control, "exit"]);
          if (child.exitCode === null) await once(child, "exit");
        }
        return;
      default:
        throw new Error("no such step");
    }
  }

  private async monitor(args: string[]): Promise<void> {
    const control = join(this.ovs.dir, `monitor${this.messages}.ctl`);
    const options = args.filter((arg) => arg.startsWith("-"));
    const child = spawn("ovs-ofctl", [
      "-O", "OpenFlow13", `--unixctl=${control}`, ...options, "monitor", `unix:${this.proxy}`, ...args.filter((arg) => !arg.startsWith("-")),
    ], { stdio: "ignore", env: { ...process.env, OVS_RUNDIR: this.ovs.dir } });
    this.monitors.push({ child, control });
    await sleep(300);
  }

  /** All that was seen once, but only two of the very long ones of a class: the table features of 254 tables are as good as the same. */
  vectors(): RecordedVector[] {
    const long = new Map<string, number>();
    const vectors: RecordedVector[] = [];
    for (const [hex, dir] of this.seen) {
      const name = className(Buffer.from(hex, "hex"));
      if (hex.length > 2 * LONG) {
        const count = long.get(name) ?? 0;
        long.set(name, count + 1);
        if (count >= MANY) continue;
      }
      vectors.push({ dir, class: name, hex, text: printed(hex) });
    }
    return vectors;
  }

  async stop(): Promise<void> {
    for (const { child } of this.monitors) child.kill();
    this.server.close();
    await sleep(50);
  }
}

async function main(): Promise<void> {
  const folder = new URL("../../vectors/", import.meta.url);
  const ovs = startSwitch();
  const recorder = new Recorder(ovs);
  let failed = 0;
  try {
    await recorder.start();
    const lines = readFileSync(new URL("session.txt", folder), "utf8").split("\n");
    for (const [i, line] of [...lines, ""].entries()) {
      try {
        await recorder.step(line);
      } catch (error) {
        failed++;
        console.error(`session.txt:${i + 1}: ${line}\n  ${(error as Error).message}`);
      }
    }
    const vectors = recorder.vectors();
    writeFileSync(new URL("recorded.jsonl", folder), vectors.map((vector) => `${JSON.stringify(vector)}\n`).join(""));
    console.log(`${vectors.length} messages, ${failed} steps failed`);
    process.exitCode = failed === 0 ? 0 : 1;
  } finally {
    await recorder.stop();
    ovs.stop();
  }
}

if (process.argv[1]?.endsWith("record-vectors.js") === true) await main();
