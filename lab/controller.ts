// The controller as a process of the lab: started from dist in a namespace on the management network, killed and
// restarted at will, and talked to through unix sockets that lead into that namespace.

import { mkdir } from "node:fs/promises";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { existsSync } from "node:fs";
import path from "node:path";
import { Running } from "./exec.ts";
import type { Lab, LabNode } from "./lab.ts";

export interface ControllerOptions {
  /** Names its log and its default data directory, default "controller". */
  name?: string;
  /** More flags, such as ["--store", "etcd://..."]. A flag given here replaces the lab's own. */
  flags?: readonly string[];
  env?: Record<string, string>;
  /** Default: DIR/NAME.data in the lab's directory, kept over restarts. */
  dataDir?: string;
  /** Where it runs, default `lab.node`. Two controllers in one lab want two nodes (`lab.addNode`). */
  node?: LabNode;
  /** How long to wait for readiness, default 20 000 ms. */
  readyTimeoutMs?: number;
  /** The program, default dist/src/main.js of this checkout. */
  main?: string;
}

export interface Response<T> {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Parsed when it is JSON, otherwise text; undefined when empty. */
  body: T;
}

export class Controller {
  readonly lab: Lab;
  readonly node: LabNode;
  readonly name: string;
  readonly logFile: string;
  readonly dataDir: string;
  /** Unix sockets that lead to its API and its ops listener. */
  apiSocket = "";
  opsSocket = "";
  readonly #options: ControllerOptions;
  #running: Running | undefined;

  constructor(lab: Lab, options: ControllerOptions) {
    this.lab = lab;
    this.#options = options;
    this.node = options.node ?? lab.node;
    this.name = options.name ?? "controller";
    this.logFile = `${lab.dir}/${this.name}.log`;
    this.dataDir = options.dataDir ?? `${lab.dir}/${this.name}.data`;
  }

  /** Where hypervisors find it, for setManager. */
  get manager(): string {
    return this.lab.managerOf(this.node);
  }

  get pid(): number {
    return this.#running?.pid ?? -1;
  }

  /** Its log lines since the last start. */
  get lines(): readonly string[] {
    return this.#running?.lines ?? [];
  }

  /** Starts it and waits until it says it is ready. @throws CommandError with its last log lines */
  async start(): Promise<void> {
    if (this.#running !== undefined && !this.#running.ended) throw new Error(`${this.name} is already running`);
    const main = this.#options.main ?? path.join(repositoryRoot(), "dist/src/main.js");
    if (!existsSync(main)) throw new Error(`not built (npm run build): ${main}`);
    await mkdir(this.dataDir, { recursive: true });
    const given = this.#options.flags ?? [];
    const own = {
      "--api": "127.0.0.1:9696",
      "--ops": "127.0.0.1:9697",
      "--openflow": "[::]:6653",
      "--ovsdb": "[::]:6640",
      "--data-dir": this.dataDir,
    };
    const flags = Object.entries(own).flatMap(([flag, value]) =>
      given.some((other) => other === flag || other.startsWith(`${flag}=`)) ? [] : [flag, value],
    );
    [this.apiSocket, this.opsSocket] = await Promise.all([this.node.forward(9696), this.node.forward(9697)]);
    const running = this.node.spawn([process.execPath, "--enable-source-maps", main, ...flags, ...given], {
      logFile: this.logFile,
      keepLines: 100_000,
      cwd: this.lab.dir,
      ...(this.#options.env && { env: this.#options.env }),
    });
    this.#running = running;
    await running.waitFor(/"msg":"ready"/, this.#options.readyTimeoutMs ?? 20_000);
  }

  /** kill -9: nothing is drained, nothing is written. */
  async kill9(): Promise<void> {
    await this.#running?.stop("SIGKILL");
  }

  /** SIGTERM; the exit code, which is 0 when it drained in order. */
  async stop(graceMs = 10_000): Promise<number | null> {
    return (await this.#running?.stop("SIGTERM", graceMs))?.code ?? null;
  }

  /** Stops it if it runs, and starts it on the same data. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The tenant API. */
  api<T = unknown>(method: string, urlPath: string, body?: unknown, headers?: Record<string, string>): Promise<Response<T>> {
    return request<T>(this.apiSocket, method, urlPath, body, headers);
  }

  /** The ops listener: flows, switches, trace, metrics. */
  ops<T = unknown>(method: string, urlPath: string, body?: unknown, headers?: Record<string, string>): Promise<Response<T>> {
    return request<T>(this.opsSocket, method, urlPath, body, headers);
  }
}

/** Starts a controller in the lab and waits until it is ready. */
export async function startController(lab: Lab, options: ControllerOptions = {}): Promise<Controller> {
  const controller = new Controller(lab, options);
  await controller.start();
  return controller;
}

/** One HTTP request over a unix socket. Any status is an answer; only a broken connection throws. */
export function request<T = unknown>(
  socketPath: string,
  method: string,
  urlPath: string,
  body?: unknown,
  headers: Record<string, string> = {},
  timeoutMs = 30_000,
): Promise<Response<T>> {
  const payload = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      {
        socketPath,
        method,
        agent: false, // a connection that is kept would not survive a kill9 of the peer
        path: urlPath,
        headers: {
          accept: "application/json",
          ...(payload !== undefined && { "content-type": "application/json", "content-length": String(Buffer.byteLength(payload)) }),
          ...headers,
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          const isJson = /\bjson\b/.test(incoming.headers["content-type"] ?? "");
          try {
            const parsed: unknown = text === "" ? undefined : isJson ? JSON.parse(text) : text;
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: parsed as T });
          } catch (error) {
            reject(new Error(`${method} ${urlPath}: not JSON: ${text.slice(0, 200)}`, { cause: error }));
          }
        });
      },
    );
    outgoing.setTimeout(timeoutMs, () => outgoing.destroy(new Error(`${method} ${urlPath}: no answer in ${timeoutMs} ms`)));
    outgoing.on("error", reject);
    outgoing.end(payload);
  });
}

/** This checkout, whether we run from source or from dist. */
export function repositoryRoot(): string {
  let dir = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(dir, "package-lock.json"))) {
    const parent = path.dirname(dir);
    if (parent === dir) throw new Error("no package-lock.json above the lab");
    dir = parent;
  }
  return dir;
}
