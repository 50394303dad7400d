// What a switch holds, as text: flows as `ovs-ofctl dump-flows` prints them, then groups, meters and ports as it prints the
// replies about them. Flows are written as they come, so a table of any size takes little memory.

import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import { OpenFlowConnection } from "../channel/connection.ts";
import { badValue, OpenFlowError } from "../wire/errors.ts";
import { ALL_TABLES } from "../match/fields.ts";
import { FlowLines } from "./flow-lines.ts";
import { eachFlowStats } from "../messages/flow-mod.ts";
import { formatBytes } from "../text/print/message.ts";

export interface DumpOptions {
  readonly out: NodeJS.WritableStream;
  /** Nothing but flows. */
  readonly flowsOnly?: boolean;
  /** false: flows without age and counters, as with ovs-ofctl's --no-stats. */
  readonly stats?: boolean;
  /** Only flows of this table; and nothing but flows. */
  readonly table?: number;
  /** PEM, for ssl: targets. */
  readonly tls?: { readonly key?: Buffer; readonly cert?: Buffer; readonly ca?: Buffer };
  /** Milliseconds for each reply, or part of one. */
  readonly timeoutMs?: number;
}

const OPENFLOW_PORT = 6653;
/** Text that is put together before it is written. */
const CHUNK = 64 * 1024;

/** Opens a connection to a switch named as Open vSwitch names it: tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH. @throws OpenFlowError OF_VALUE */
export function connectToTarget(target: string, tls: DumpOptions["tls"] = {}): Socket {
  const named = /^(tcp|ssl|unix):(.*)$/.exec(target);
  if (named === null) throw badValue(`${target} is none of tcp:HOST:PORT, ssl:HOST:PORT, unix:PATH`);
  const [, method, rest = ""] = named;
  if (method === "unix") {
    if (rest === "") throw badValue(`${target} has no path`);
    return connect(rest);
  }
  const address = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(rest);
  const host = address?.[1] ?? address?.[2];
  const port = Number(address?.[3] ?? OPENFLOW_PORT);
  if (host === undefined || port < 1 || port > 65535) throw badValue(`${target} has no host, or no port`);
  // The switch shows a certificate of its authority, not one for a host name.
  return method === "tcp" ? connect({ host, port }) : connectTls({ host, port, ...tls, rejectUnauthorized: tls.ca !== undefined, checkServerIdentity: () => undefined });
}

/** Writes what the switch holds. @throws OpenFlowError when the target is no good, the switch cannot be reached, or refuses */
export async function dump(target: string, options: DumpOptions): Promise<void> {
  const connection = new OpenFlowConnection(connectToTarget(target, options.tls), { requestTimeoutMs: options.timeoutMs ?? 60_000 });
  // What comes last is why everything pending failed.
  const ended = new Promise<OpenFlowError>((resolve) => connection.once("close", resolve));
  const writer = new Writer(options.out, connection.socket);
  try {
    await connection.handshake();
    await dumpFlows(connection, writer, options);
    if (options.flowsOnly !== true && options.table === undefined) {
      for (const kind of ["group_desc", "meter_config", "port_desc"] as const) {
        await connection.requestRaw({ type: "multipart_request", kind }, (reply) => writer.write(formatBytes(reply)));
      }
    }
    await writer.flushed();
  } catch (error) {
    if (connection.closed !== undefined && (await ended).code !== "OF_CLOSED") throw await ended;
    throw error;
  } finally {
    connection.close();
  }
}

async function dumpFlows(connection: OpenFlowConnection, writer: Writer, options: DumpOptions): Promise<void> {
  const lines = new FlowLines(options.stats !== false);
  await connection.requestRaw({ type: "multipart_request", kind: "flow", table_id: options.table ?? ALL_TABLES, match: {} }, (reply) => {
    eachFlowStats(reply, (entry) => {
      lines.add(entry);
      if (lines.length >= CHUNK) writer.write(lines.take());
    });
  });
  writer.write(lines.take());
}

/** Writes text, and stops reading from the switch while the reader of the text is slower. */
class Writer {
  private readonly out: NodeJS.WritableStream;
  private readonly socket: Socket;
  private failed: Error | undefined;

  constructor(out: NodeJS.WritableStream, socket: Socket) {
    this.out = out;
    this.socket = socket;
    out.on("error", (error: Error) => {
      this.failed = error;
      socket.resume();
    });
  }

  write(text: string | Buffer): void {
    if (this.failed !== undefined) throw new OpenFlowError("OF_SOCKET", `the text cannot be written: ${this.failed.message}`, { cause: this.failed });
    if (text.length === 0 || this.out.write(text)) return;
    this.socket.pause();
    this.out.once("drain", () => this.socket.resume());
  }

  flushed(): Promise<void> {
    return new Promise((resolve) => this.out.write("", () => resolve()));
  }
}

const USAGE = `usage: openflow dump [options] tcp:HOST[:PORT] | ssl:HOST[:PORT] | unix:PATH
  --flows-only          no groups, meters and ports
  --no-stats            flows without age and counters
  --table N             only flows of this table
  --private-key FILE, --certificate FILE, --ca-cert FILE
                        PEM, for ssl
`;

/** The command: `openflow dump`, without these two words. Resolves with the exit status; complaints go to stderr. */
export async function runDump(args: readonly string[], out: NodeJS.WritableStream): Promise<number> {
  const complain = (text: string): number => {
    process.stderr.write(text);
    return 2;
  };
  let target: string | undefined;
  const options: { -readonly [K in keyof DumpOptions]: DumpOptions[K] } = { out };
  const tls: { key?: Buffer; cert?: Buffer; ca?: Buffer } = {};
  const files = { "--private-key": "key", "--certificate": "cert", "--ca-cert": "ca" } as const;
  for (let i = 0; i < args.length; i++) {
    const [name, given] = args[i]!.startsWith("--") ? args[i]!.split(/=(.*)/s, 2) as [string, string | undefined] : ["", args[i]!];
    if (name === "") {
      if (target !== undefined) return complain(USAGE);
      target = given;
    } else if (name === "--help") {
      out.write(USAGE);
      return 0;
    } else if (name === "--flows-only") options.flowsOnly = true;
    else if (name === "--no-stats") options.stats = false;
    else if (name === "--table" || name in files) {
      const value = given ?? args[++i];
      if (value === undefined) return complain(USAGE);
      if (name === "--table") {
        if (!/^\d{1,3}$/.test(value) || Number(value) > 254) return complain(`there is no table ${value}\n`);
        options.table = Number(value);
      } else {
        try {
          tls[files[name as keyof typeof files]] = readFileSync(value);
        } catch (error) {
          return complain(`${value}: ${(error as Error).message}\n`);
        }
      }
    } else return complain(`no option ${name}\n${USAGE}`);
  }
  if (target === undefined) return complain(USAGE);
  try {
    await dump(target, { ...options, tls });
    return 0;
  } catch (error) {
    if (!(error instanceof OpenFlowError)) throw error;
    process.stderr.write(`${target}: ${error.message}\n`);
    return 1;
  }
}
