// Flow events to many listeners as server-sent events. One subscription to the provider serves all; a client that cannot
// keep up is cut off rather than buffered for, and finds out what it missed from a fresh dump.
import type { ServerResponse } from "node:http";
import type { FlowEvent, FlowRecord } from "./flows.ts";

export interface StreamLimits {
  /** Bytes written to a client but not yet taken by it. */
  readonly bufferBytes: number;
  readonly clients: number;
  readonly keepAliveMs: number;
}

export const streamLimits: StreamLimits = { bufferBytes: 1024 * 1024, clients: 64, keepAliveMs: 15_000 };

interface Client {
  readonly response: ServerResponse;
  readonly keep: (flow: FlowRecord) => boolean;
}

export class FlowStream {
  private readonly clients = new Set<Client>();
  private readonly subscribe: (listener: (event: FlowEvent) => void) => () => void;
  private readonly limits: StreamLimits;
  private stop: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** Clients cut off for being too slow. */
  dropped = 0;

  constructor(subscribe: (listener: (event: FlowEvent) => void) => () => void, limits: StreamLimits = streamLimits) {
    this.subscribe = subscribe;
    this.limits = limits;
  }

  get size(): number {
    return this.clients.size;
  }

  get full(): boolean {
    return this.clients.size >= this.limits.clients;
  }

  add(response: ServerResponse, keep: (flow: FlowRecord) => boolean): void {
    const client = { response, keep };
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no" });
    response.write(": flows\n\n");
    this.clients.add(client);
    response.on("close", () => this.remove(client));
    response.on("error", () => this.remove(client));
    this.stop ??= this.subscribe((event) => this.send(event));
    this.timer ??= setInterval(() => this.all(() => ": keep-alive\n\n"), this.limits.keepAliveMs).unref();
  }

  close(): void {
    for (const client of [...this.clients]) {
      this.remove(client);
      client.response.end();
    }
  }

  private send(event: FlowEvent): void {
    let text: string | undefined;
    this.all((client) => (client.keep(event.flow) ? (text ??= `event: ${event.event}\nid: ${event.generation}\ndata: ${JSON.stringify(event)}\n\n`) : undefined));
  }

  private all(textFor: (client: Client) => string | undefined): void {
    for (const client of [...this.clients]) {
      const text = textFor(client);
      if (text === undefined) continue;
      client.response.write(text);
      if (client.response.writableLength > this.limits.bufferBytes) {
        this.dropped++;
        this.remove(client);
        client.response.destroy();
      }
    }
  }

  private remove(client: Client): void {
    this.clients.delete(client);
    if (this.clients.size > 0) return;
    this.stop?.();
    this.stop = undefined;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
