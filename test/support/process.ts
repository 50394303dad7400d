// A controller as a process of its own on loopback ports: for tests of what a client, a signal or a full disk sees.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import { freePorts } from "../../lab/free-ports.ts";
import { Running, spawnLogged, until } from "../../lab/exec.ts";
import { repositoryRoot } from "../../lab/controller.ts";
import { Guard } from "../../lab/guard.ts";
import { strictJson } from "./api/strict-json.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  // Tests look into answers freely; a wrong path fails the assertion that reads it.
  readonly body: any;
}

/** Environment of controllers whose tests make what they need in one project: what its quotas are is no matter of theirs. */
export const UNLIMITED = { AXION_DEFAULT_QUOTA: "all:-1" };

export interface ProcessOptions {
  readonly flags?: readonly string[];
  /** Default: the compiled controller of this checkout. */
  readonly main?: string;
}

/** True in the long runs of `npm run test:nightly`. */
export const nightly = process.env.AXION_NIGHTLY === "1";

export class ControllerProcess {
  readonly dir: string;
  readonly apiPort: number;
  readonly opsPort: number;
  readonly openflowPort: number;
  readonly ovsdbPort: number;
  private readonly options: ProcessOptions;
  private readonly guard: Guard;
  private running: Running | undefined;
  private readonly agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  private constructor(guard: Guard, ports: readonly number[], options: ProcessOptions) {
    this.guard = guard;
    this.dir = guard.dir;
    [this.apiPort, this.opsPort, this.openflowPort, this.ovsdbPort] = ports as [number, number, number, number];
    this.options = options;
  }

  /** Starts one with an empty data directory. */
  static async start(options: ProcessOptions = {}): Promise<ControllerProcess> {
    const made = new ControllerProcess(await Guard.create({ name: "controller" }), await freePorts(4), options);
    try {
      await made.start();
    } catch (error) {
      await made.destroy();
      throw error;
    }
    return made;
  }

  async start(): Promise<void> {
    const main = this.options.main ?? path.join(repositoryRoot(), "dist/src/main.js");
    if (!existsSync(main)) throw new Error(`not built (npm run build): ${main}`);
    this.running = spawnLogged(
      [
        process.execPath, "--enable-source-maps", main, "--data-dir", `${this.dir}/data`,
        "--api", `127.0.0.1:${this.apiPort}`, "--ops", `127.0.0.1:${this.opsPort}`,
        "--openflow", `127.0.0.1:${this.openflowPort}`, "--ovsdb", `127.0.0.1:${this.ovsdbPort}`, ...(this.options.flags ?? []),
      ],
      { cwd: this.dir, env: UNLIMITED },
    );
    await writeFile(`${this.dir}/controller.pid`, String(this.running.pid)); // by which the guard ends it if this process cannot
    await this.running.waitFor(/"msg":"ready"/, 120_000); // a second on a machine with nothing else to do
  }

  get pid(): number {
    return this.running?.pid ?? -1;
  }

  /** Log lines since the last start. */
  get lines(): readonly string[] {
    return this.running?.lines ?? [];
  }

  /** Log entries at or above a level (pino: 40 is warn), parsed. */
  logged(level: number): Record<string, unknown>[] {
    return this.lines.flatMap((line) => {
      try {
        const entry = JSON.parse(line) as Record<string, unknown>;
        return typeof entry.level === "number" && entry.level >= level ? [entry] : [];
      } catch {
        return [{ level: 60, msg: line }];
      }
    });
  }

  async kill9(): Promise<void> {
    await this.running?.stop("SIGKILL");
  }

  /** SIGTERM; its exit code. */
  async stop(): Promise<number | null> {
    return (await this.running?.stop("SIGTERM", 15_000))?.code ?? null;
  }

  /** Ends it and removes its data. */
  async destroy(): Promise<void> {
    await this.kill9();
    this.agent.destroy();
    await this.guard.destroy();
  }

  api(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<HttpAnswer> {
    return httpCall(this.apiPort, method, url, body, headers, this.agent);
  }

  ops(url: string): Promise<HttpAnswer> {
    return httpCall(this.opsPort, "GET", url, undefined, {}, this.agent);
  }

  /** Creates and returns the resource. @throws Error with the answer when it is refused. */
  async create(resource: string, values: Record<string, unknown>, headers: Record<string, string> = { "x-project-id": "p1", "x-roles": "admin" }): Promise<{ readonly id: string } & Record<string, never>> {
    const answer = await this.api("POST", `/v2.0/${collectionOf(resource)}`, { [resource]: values }, headers);
    if (answer.status !== 201) throw new Error(`${resource} refused: ${answer.status} ${answer.text}`);
    return (answer.body as Record<string, never>)[resource]!;
  }

  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    return metricOf((await this.ops("/metrics")).text, name, labels);
  }

  /** Calls of the API that made the generations after this one; what the controller writes by itself meanwhile is none. */
  async callsAfter(generation: number): Promise<string[]> {
    return callsBetween(generation, await this.metric("axion_generation"), async (path) => (await this.ops(path)).body);
  }

  /** Until no listener of it is left. */
  async gone(): Promise<void> {
    await until("the end of the listener", () => connects(this.apiPort).then((yes) => !yes));
  }
}

/** Path of a resource's collection. */
export const collectionOf = (resource: string): string => `${resource.replace(/ss$/, "sse").replace(/([^aeiou])y$/, "$1ie")}s`.replaceAll("_", "-");

/** Calls of the API that made the generations after `from`, up to `to`, as the ops listener tells. */
export async function callsBetween(from: number, to: number, ops: (path: string) => Promise<unknown>): Promise<string[]> {
  const calls: string[] = [];
  for (let n = from + 1; n <= to; n++) {
    const { call } = (await ops(`/history/${n}`)) as { call: string };
    if (/^(?:POST|PUT|PATCH|DELETE) /.test(call)) calls.push(call);
  }
  return calls;
}

/** Sum of all samples of a metric whose labels include these. */
export function metricOf(text: string, name: string, labels: Record<string, string> = {}): number {
  let sum = 0;
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match?.[1] !== name) continue;
    if (Object.entries(labels).every(([k, v]) => match[2]?.includes(`${k}="${v}"`) === true)) sum += Number(match[3]);
  }
  return sum;
}

/** One HTTP request to loopback. A string or Buffer body goes as it is, anything else as JSON. Any status is an answer. */
export function httpCall(
  port: number, method: string, url: string, body?: unknown, headers: Record<string, string> = {}, agent: http.Agent | false = false, timeoutMs = 30_000,
): Promise<HttpAnswer> {
  const payload = body === undefined ? undefined : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      {
        host: "127.0.0.1", port, method, path: url, agent,
        headers: { ...(payload !== undefined && { "content-type": "application/json", "content-length": String(Buffer.byteLength(payload)) }), ...headers },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          let parsed: unknown;
          try {
            parsed = text === "" ? undefined : strictJson(text);
          } catch {
            parsed = undefined;
          }
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, body: parsed });
        });
      },
    );
    outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`${method} ${url}: no answer in ${timeoutMs} ms`)));
    outgoing.on("error", reject);
    outgoing.end(payload);
  });
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
