/**
 * What the tests share: vectors where present, a real ovsdb-server in a directory of its own, a scripted peer. Not part
 * of the package's public face.
 */

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import type { OvsdbClient } from "../client/client.ts";
import { MessageScanner } from "../wire/framing.ts";
import { parseExact, stringify, type Json, type JsonObject } from "../wire/json.ts";

const run = promisify(execFile);

const VECTORS = fileURLToPath(new URL("../../../../../shared/vectors/ovsdb/", import.meta.url));
export const haveVectors = existsSync(join(VECTORS, "ovs-tests.jsonl"));
export const VSWITCH_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema";
export const haveOvs = existsSync(VSWITCH_SCHEMA) && existsSync("/usr/sbin/ovsdb-server");

/** The lines of a vector file; none when the vectors are not there. */
export function vectors(file: string): JsonObject[] {
  const path = join(VECTORS, file);
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8").split("\n").filter((line) => line !== "").map((line) => parseExact(line) as JsonObject);
}

export function conversationFiles(): string[] {
  const path = join(VECTORS, "conversations");
  return existsSync(path) ? readdirSync(path).filter((name) => name.endsWith(".jsonl")).map((name) => `conversations/${name}`) : [];
}

/** Resolves when `condition` holds; rejects after `timeoutMs`. */
export async function until(condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Cuts the session of a client off, and waits until it knows: another one may be there as soon. */
export async function loseSession(client: OvsdbClient): Promise<void> {
  const lost = client.session!;
  lost.socket.destroy();
  await until(() => client.session !== lost);
}

/** Bytes that the session of a client has received so far. */
export async function received(client: OvsdbClient): Promise<number> {
  await client.session!.listDbs();
  return (client.session!.socket as unknown as { bytesRead: number }).bytesRead;
}

/** A real ovsdb-server with the Open_vSwitch database in a private directory. */
export class RealServer {
  readonly directory = mkdtempSync(join(tmpdir(), "ovsdb-client-"));
  readonly #extra: readonly string[];
  readonly #database: "standalone" | "clustered";
  #process: ChildProcess | undefined;

  private constructor(database: "standalone" | "clustered", extra: readonly string[]) {
    this.#database = database;
    this.#extra = extra;
  }

  static async start(options: { database?: "standalone" | "clustered"; args?: readonly string[] } = {}): Promise<RealServer> {
    const server = new RealServer(options.database ?? "standalone", options.args ?? []);
    const db = join(server.directory, "conf.db");
    if (server.#database === "clustered") {
      await run("ovsdb-tool", ["create-cluster", db, VSWITCH_SCHEMA, `unix:${join(server.directory, "raft.sock")}`]);
    } else {
      await run("ovsdb-tool", ["create", db, VSWITCH_SCHEMA]);
    }
    await server.run();
    await server.vsctl("init");
    return server;
  }

  get path(): string { return join(this.directory, "db.sock"); }

  /** Starts the process on the database as it is. */
  async run(): Promise<void> {
    const at = (name: string): string => join(this.directory, name);
    this.#process = spawn("ovsdb-server", [
      at("conf.db"), `--remote=punix:${this.path}`, "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
      `--unixctl=${at("ctl")}`, `--pidfile=${at("pid")}`, `--log-file=${at("log")}`, "-vconsole:off", ...this.#extra,
    ], { stdio: "ignore" });
    await until(() => existsSync(this.path) && existsSync(at("ctl")));
    if (this.#database === "clustered") {
      await run("ovsdb-client", ["wait", `unix:${this.path}`, "Open_vSwitch", "connected"], { timeout: 10_000 });
    }
  }

  async vsctl(...args: string[]): Promise<string> {
    const { stdout } = await run("ovs-vsctl", [`--db=unix:${this.path}`, "--no-wait", "--timeout=10", ...args]);
    return stdout.trim();
  }

  async appctl(...args: string[]): Promise<string> {
    const { stdout } = await run("ovs-appctl", ["-t", join(this.directory, "ctl"), ...args]);
    return stdout.trim();
  }

  pause(): void { this.#process?.kill("SIGSTOP"); }
  resume(): void { this.#process?.kill("SIGCONT"); }

  /** Ends the process and keeps the database. */
  async halt(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    await gone;
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** One connection to a scripted server. */
export interface Peer {
  readonly socket: Socket;
  readonly received: JsonObject[];
  send(message: Json): void;
}

/** A server that answers requests with what `answer` gives; undefined = no reply. */
export async function scriptedServer(answer: (method: string, params: Json, peer: Peer) => JsonObject | undefined): Promise<{ port: number; peers: Peer[]; close(): void }> {
  const peers: Peer[] = [];
  const server = createServer((socket) => {
    const scanner = new MessageScanner(1 << 26);
    const peer: Peer = { socket, received: [], send: (message) => socket.write(stringify(message)) };
    peers.push(peer);
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      for (const message of scanner.push(chunk)) {
        peer.received.push(message);
        if (typeof message["method"] !== "string" || message["id"] === null) continue;
        const reply = answer(message["method"], message["params"] ?? null, peer);
        if (reply !== undefined) peer.send({ id: message["id"] ?? null, ...reply });
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    peers,
    close: () => {
      server.close();
      for (const { socket } of peers) socket.destroy();
    },
  };
}

export const result = (value: Json): JsonObject => ({ result: value, error: null });
export const unknownMethod: JsonObject = { result: null, error: "unknown method" };
