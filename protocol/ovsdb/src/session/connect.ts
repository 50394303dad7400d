/** Opening and accepting sessions over TCP, TLS and unix sockets. Staying connected is client.ts. */

import { createConnection, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type ConnectionOptions, type TlsOptions, type TLSSocket } from "node:tls";

import { OvsdbConnectionError } from "../wire/errors.ts";
import type { SessionOptions } from "./options.ts";
import { OvsdbSession } from "./session.ts";

export type ConnectTarget =
  | { readonly host?: string | undefined; readonly port: number; readonly tls?: ConnectionOptions | undefined }
  /** A unix socket. */
  | { readonly path: string };

export interface ConnectOptions extends SessionOptions {
  /** Time to get a connection, TLS included, in ms; 0 = as long as it takes. Default 10000. */
  readonly connectTimeoutMs?: number | undefined;
  /** Gives up the attempt when aborted; a session that is open already is not concerned. */
  readonly signal?: AbortSignal | undefined;
}

/** Opens a session. @throws OvsdbConnectionError "socket error" (with `cause`), "connect timeout", or "closed" by `signal` */
export function connect(target: ConnectTarget, options: ConnectOptions = {}): Promise<OvsdbSession> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    if (signal?.aborted === true) { reject(new OvsdbConnectionError("closed")); return; }
    let socket: Socket;
    let ready = "connect";
    if ("path" in target) {
      socket = createConnection({ path: target.path });
    } else if (target.tls === undefined) {
      socket = createConnection({ host: target.host ?? "127.0.0.1", port: target.port, noDelay: true });
    } else {
      socket = connectTls({ ...target.tls, host: target.host ?? "127.0.0.1", port: target.port });
      socket.setNoDelay(true);
      ready = "secureConnect";
    }
    const timeoutMs = options.connectTimeoutMs ?? 10_000;
    const timer = timeoutMs > 0 ? setTimeout(() => {
      failed(new OvsdbConnectionError("connect timeout", `no connection within ${timeoutMs} ms`));
    }, timeoutMs) : undefined;
    const failed = (error: OvsdbConnectionError): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.destroy();
      reject(error);
    };
    const onError = (error: Error): void => { failed(new OvsdbConnectionError("socket error", error.message, error)); };
    const onClose = (): void => { failed(new OvsdbConnectionError("closed by peer")); };
    const onAbort = (): void => { failed(new OvsdbConnectionError("closed")); };
    signal?.addEventListener("abort", onAbort);
    socket.on("error", onError);
    socket.on("close", onClose);
    socket.once(ready, () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      const session = new OvsdbSession(socket, options);
      socket.off("error", onError);
      socket.off("close", onClose);
      resolve(session);
    });
  });
}

export interface ListenOptions extends SessionOptions {
  /** Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** 0 = any free one. */
  readonly port?: number | undefined;
  /** A unix socket instead of host and port. */
  readonly path?: string | undefined;
  /** Accept TLS only; with `requestCert: true` and `ca`, peers must prove who they are. */
  readonly tls?: TlsOptions | undefined;
  /** Connections at a time; more are closed at once. Default 10000. */
  readonly maxConnections?: number | undefined;
  /** Asked of each connection before a byte of it is read, TLS included; false closes it. */
  readonly admit?: ((socket: Socket) => boolean) | undefined;
  /** Told of failed handshakes, with the peer's address, and accepts, which concern nobody else. */
  readonly onError?: ((error: Error, peer?: string) => void) | undefined;
}

export interface Listener {
  /** The port listened on; 0 for a unix socket. */
  readonly port: number;
  readonly server: Server;
  /** Key, certificate and CA of connections to come; without effect on a listener without TLS. */
  setTls(tls: TlsOptions): void;
  /** Stops accepting and closes the sessions accepted; resolves when all are gone. */
  close(): Promise<void>;
}

/** Accepts switches that were told `ovs-vsctl set-manager tcp:HOST:PORT` (or ssl:). Rejects when the address is taken. */
export function listen(options: ListenOptions, onSession: (session: OvsdbSession) => void): Promise<Listener> {
  const sessions = new Set<OvsdbSession>();
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    socket.setNoDelay(true);
    const session = new OvsdbSession(socket, options);
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    onSession(session);
  };
  const secure = options.tls === undefined ? undefined
    : createTlsServer({ handshakeTimeout: 10_000, rejectUnauthorized: options.tls.requestCert === true, ...options.tls }, accept);
  const server: Server = createServer((socket) => {
    if (options.admit?.(socket) === false) { socket.destroy(); return; }
    sockets.add(socket); // those within a TLS handshake have no session yet
    socket.once("close", () => sockets.delete(socket));
    if (secure === undefined) accept(socket);
    else secure.emit("connection", socket);
  });
  server.maxConnections = options.maxConnections ?? 10_000;
  secure?.on("tlsClientError", (error: Error, socket: TLSSocket) => {
    const refused = socket.authorizationError as unknown; // a code; then the error tells no more than that it was closed
    options.onError?.(refused == null ? error : new Error(`its certificate is not accepted: ${refused as string}`, { cause: error }), socket.remoteAddress);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.path === undefined ? { host: options.host ?? "127.0.0.1", port: options.port ?? 0 } : { path: options.path }, () => {
      server.off("error", reject);
      server.on("error", (error) => { options.onError?.(error); });
      const address = server.address();
      resolve({
        port: address !== null && typeof address === "object" ? address.port : 0,
        server,
        setTls: (tls) => { secure?.setSecureContext(tls); },
        close: async () => {
          const stopped = new Promise<void>((done) => { server.close(() => { done(); }); });
          await Promise.all([...sessions].map((session) => session.close()));
          for (const socket of sockets) socket.destroy();
          await stopped;
        },
      });
    });
  });
}
