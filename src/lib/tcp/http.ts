// HTTP for streams that are no sockets: Node's own server reads and writes it. It has no timers here: the connection under it ends what takes too long.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

export interface HttpRequest {
  readonly method: string;
  /** As it was sent: path and query. */
  readonly url: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}
export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Called once, when all of it is handed to the stream or the stream is over. */
  readonly over?: () => void;
}

export interface HttpOptions<P> {
  /** What it throws, or rejects with, goes to `failed`, and is answered by 500. */
  readonly answer: (request: HttpRequest, peer: P) => HttpAnswer | Promise<HttpAnswer>;
  readonly failed: (error: unknown) => void;
  /** Told of the status of each answer. */
  readonly answered?: (status: number) => void;
  /** Bytes of a request's body, default 65,536; more are refused with 413. */
  readonly bodyMax?: number;
}

const BODY_MAX = 65_536;
/** Bytes of all headers, and requests of one connection. */
const HEADERS_MAX = 8192;
const REQUESTS_MAX = 1000;

export class HttpService<P> {
  private readonly server: Server;
  private readonly peers = new WeakMap<object, P>();
  private readonly options: HttpOptions<P>;

  constructor(options: HttpOptions<P>) {
    this.options = options;
    this.server = createServer(
      { maxHeaderSize: HEADERS_MAX, keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 },
      (request, response) => void this.take(request, response).catch((error: unknown) => {
        options.failed(error);
        response.destroy();
      }),
    );
    this.server.maxRequestsPerSocket = REQUESTS_MAX;
  }

  /** Serves what comes by a stream, to its end. */
  serve(stream: Duplex, peer: P): void {
    this.peers.set(stream, peer);
    this.server.emit("connection", stream);
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { bodyMax = BODY_MAX, answer, failed } = this.options;
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > bodyMax) {
          response.shouldKeepAlive = false;
          this.send(response, { status: 413, body: "413 Content Too Large\n" });
          return;
        }
        chunks.push(chunk);
      }
    } catch {
      return; // it went away in the midst
    }
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value ?? ""]));
    let said: HttpAnswer;
    try {
      said = await answer({ method: request.method ?? "GET", url: request.url ?? "/", headers, body: Buffer.concat(chunks) }, this.peers.get(request.socket)!);
    } catch (error) {
      failed(error);
      said = { status: 500, body: "500 Internal Server Error\n" };
    }
    const { over } = said;
    if (over !== undefined) {
      if (response.destroyed) over();
      else response.once("close", over);
    }
    if (!response.destroyed) this.send(response, said);
  }

  private send(response: ServerResponse, { status, headers = {}, body = "" }: HttpAnswer): void {
    const bytes = Buffer.from(body);
    response.writeHead(status, { "content-type": "text/plain; charset=UTF-8", ...headers, "content-length": bytes.length });
    response.end(bytes);
    this.options.answered?.(status);
  }
}
