// The clients of the API benchmark, in a worker of their own: what they do between requests must not delay one another's
// timers or the measuring thread. A job is a list of requests for so many keep-alive connections.
import http from "node:http";
import { parentPort, workerData } from "node:worker_threads";

export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
}

export interface Job {
  readonly requests: readonly ApiRequest[];
  readonly connections: number;
  /** Goes through the requests again and again for so long; absent: once. */
  readonly seconds?: number;
  /** Answers to hand back, from the first. */
  readonly keep?: number;
}

export interface JobResult {
  /** Of each request, in ms, in order of their ends. */
  readonly ms: readonly number[];
  readonly seconds: number;
  readonly kept: readonly string[];
}

export interface ClientOptions {
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
}

export type ClientMessage = { readonly ok: JobResult } | { readonly failed: string };

async function run({ requests, connections, seconds, keep = 0 }: Job, { port, headers }: ClientOptions): Promise<JobResult> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const ms: number[] = [];
  const kept: string[] = [];
  const one = ({ method, path, body }: ApiRequest): Promise<string> =>
    new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) };
      const outgoing = http.request({ host: "127.0.0.1", port, method, path, agent, headers: { ...headers, ...length } }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          if ((incoming.statusCode ?? 0) < 300) resolve(text);
          else reject(new Error(`${method} ${path}: ${String(incoming.statusCode)} ${text}`));
        });
      });
      outgoing.on("error", reject).end(body);
    });
  const began = performance.now();
  let next = 0;
  const more = (): boolean => (seconds === undefined ? next < requests.length : performance.now() - began < seconds * 1000);
  const connection = async (): Promise<void> => {
    while (more()) {
      const at = next++;
      const sent = performance.now();
      const text = await one(requests[at % requests.length]!);
      ms.push(performance.now() - sent);
      if (at < keep) kept[at] = text;
    }
  };
  try {
    await Promise.all(Array.from({ length: connections }, connection));
  } finally {
    agent.destroy();
  }
  return { ms, seconds: (performance.now() - began) / 1000, kept };
}

parentPort?.on("message", (job: Job) => {
  run(job, workerData as ClientOptions).then(
    (ok) => parentPort!.postMessage({ ok } satisfies ClientMessage),
    (error: unknown) => parentPort!.postMessage({ failed: (error as Error).message } satisfies ClientMessage),
  );
});
