// What a listener bears of connections: how long a request may take to come, how many there are, and what is said of those that bring none.
import { STATUS_CODES, type ServerOptions } from "node:http";
import type { Server, Socket } from "node:net";
import type { CountedLines } from "./counted-lines.ts";

export interface RequestTimes {
  /** Until the head of a request is there, from the connection or its first byte. */
  readonly headMs: number;
  /** Until all of it is. */
  readonly wholeMs: number;
}

export const requestTimes: RequestTimes = { headMs: 10_000, wholeMs: 30_000 };

/** For node:http; `wholeMs` is a fastify option (`requestTimeout`). */
export const timed = ({ headMs }: RequestTimes): ServerOptions => ({ headersTimeout: headMs, connectionsCheckingInterval: Math.max(50, Math.min(2000, headMs / 2)) });

const KINDS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "a request that did not come to its end in time was given up"],
  HPE_HEADER_OVERFLOW: [431, "a request with too long a head was refused"],
};

/** For fastify's `clientErrorHandler`: what is no request is answered with its status, and its connection ended. */
export function badRequests(listener: string, lines: CountedLines): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return (error, socket) => {
    if (error.code === "ECONNRESET" || socket.destroyed) return;
    const [status, message] = KINDS[error.code ?? ""] ?? [400, "what came to a listener is no HTTP"];
    lines.warn(message, { listener, peer: socket.remoteAddress, ...(error.code === undefined ? {} : { reason: error.code }) });
    if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]!}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    socket.destroy(error);
  };
}

/** More connections than these are closed as they come. */
export function bound(listener: string, server: Server, connections: number, lines: CountedLines): void {
  server.maxConnections = connections;
  server.on("drop", (data) => lines.warn("a listener has as many connections as it takes; more are closed at once", { listener, connections, peer: data?.remoteAddress }));
}
