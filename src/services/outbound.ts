// Outbound HTTP of a service: few requests at a time, a queue with a limit, a time-out for each and a limit on what is read.
import { FetchError, type FetchAnswer, type FetchOptions } from "#app";
import type { Clock } from "../lib/clock.ts";

/** What carries a request; Node's fetch, or a simulation's. */
export type HttpClient = (
  url: URL,
  init: { readonly method: string; readonly headers: Readonly<Record<string, string>>; readonly body?: string | Uint8Array; readonly signal: AbortSignal; readonly redirect: "manual" },
) => Promise<Response>;

export const machineHttp: HttpClient = (url, { headers, ...init }) => fetch(url, { ...init, headers: { ...headers } });

export interface OutboundLimits {
  /** Requests under way, default 4. */
  readonly concurrency?: number;
  /** Requests that wait for their turn, default 256. */
  readonly queue?: number;
}

const TIMEOUT_MS = 10_000;
const LIMIT_BYTES = 1 << 20;

export class Outbound {
  private readonly clock: Pick<Clock, "setTimeout">;
  private readonly client: HttpClient;
  private readonly concurrency: number;
  private readonly queueLimit: number;
  private running = 0;
  private readonly waiting = new Set<() => void>();
  private readonly calls = new Set<AbortController>();
  private stopped = false;

  constructor(clock: Pick<Clock, "setTimeout">, client: HttpClient = machineHttp, { concurrency = 4, queue = 256 }: OutboundLimits = {}) {
    this.clock = clock;
    this.client = client;
    this.concurrency = concurrency;
    this.queueLimit = queue;
  }

  /** @throws FetchError */
  async fetch(text: string, options: FetchOptions = {}): Promise<FetchAnswer> {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !/^https?:$/.test(url.protocol)) throw new FetchError("INVALID", `${text.slice(0, 200)} is no http: or https: URL`);
    if (this.stopped) throw new FetchError("STOPPED", "the service is stopped");
    if (this.running >= this.concurrency && this.waiting.size >= this.queueLimit) throw new FetchError("QUEUE_FULL", `${this.waiting.size} requests wait already`);
    const { timeoutMs = TIMEOUT_MS, limitBytes = LIMIT_BYTES } = options;
    if (!(timeoutMs > 0 && Number.isFinite(timeoutMs))) throw new FetchError("INVALID", `timeoutMs ${timeoutMs}: a number of milliseconds above 0 is needed`);
    if (!(limitBytes >= 0 && Number.isFinite(limitBytes))) throw new FetchError("INVALID", `limitBytes ${limitBytes}: a number of bytes from 0 is needed`);
    const call = new AbortController();
    this.calls.add(call);
    const cancel = this.clock.setTimeout(() => call.abort(new FetchError("TIMEOUT", `no answer of ${url.origin} in ${timeoutMs} ms`)), timeoutMs);
    try {
      await this.turn(call.signal);
      try {
        return await this.request(url, options, call);
      } finally {
        this.running--;
        const [next] = this.waiting;
        next?.();
      }
    } catch (error) {
      if (call.signal.aborted) throw call.signal.reason;
      throw error instanceof FetchError ? error : new FetchError("UNREACHABLE", `${url.origin} cannot be asked: ${reasonOf(error)}`, error);
    } finally {
      cancel();
      this.calls.delete(call);
    }
  }

  /** Ends all requests: those that wait and those under way. */
  stop(): void {
    this.stopped = true;
    for (const call of this.calls) call.abort(new FetchError("STOPPED", "the service is stopped"));
  }

  private turn(signal: AbortSignal): Promise<void> {
    if (this.running < this.concurrency) {
      this.running++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = (): void => {
        this.waiting.delete(go);
        this.running++;
        resolve();
      };
      this.waiting.add(go);
      signal.addEventListener("abort", () => {
        if (this.waiting.delete(go)) reject(signal.reason as FetchError);
      });
    });
  }

  private async request(url: URL, { method = "GET", headers = {}, body, limitBytes = LIMIT_BYTES }: FetchOptions, call: AbortController): Promise<FetchAnswer> {
    const answer = await this.client(url, { method, headers, ...(body !== undefined && { body }), signal: call.signal, redirect: "manual" });
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > limitBytes) {
        call.abort(new FetchError("TOO_LARGE", `the answer of ${url.origin} has more than ${limitBytes} bytes`));
        throw call.signal.reason;
      }
      chunks.push(chunk);
    }
    return { status: answer.status, headers: Object.fromEntries(answer.headers), body: Buffer.concat(chunks) };
  }
}

/** Node says only "fetch failed"; why is in the cause. */
const reasonOf = (error: unknown): string => {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code || message : message;
};
