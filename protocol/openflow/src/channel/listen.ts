// Waits for switches on a TCP port or a Unix socket, with or without TLS.

import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";

import { OpenFlowConnection, type ConnectionOptions } from "./connection.ts";

export interface ListenOptions {
  readonly host?: string;
  /** 0 takes a free one. OpenFlow's own is 6653. */
  readonly port?: number;
  /** A Unix socket instead of host and port. */
  readonly path?: string;
  /** Key, certificate, CA as of node:tls; requestCert and rejectUnauthorized decide about the switch's certificate. */
  readonly tls?: TlsOptions;
  readonly connection?: ConnectionOptions;
  /** Asked of each connection before a byte of it is read, TLS included; false closes it. */
  readonly admit?: (socket: Socket) => boolean;
  /** Told of TLS handshakes that failed, or did not end in time. */
  readonly onTlsError?: (error: Error, socket: TLSSocket) => void;
}

export interface Listener {
  /** 0 for a Unix socket. */
  readonly port: number;
  readonly server: Server;
  /** Key, certificate and CA of connections to come; without effect on a listener without TLS. */
  setTls(tls: TlsOptions): void;
  /** Stops listening and closes all connections it accepted. */
  close(): Promise<void>;
}

/** Calls `onConnection` for each switch that connects; the handshake is left to it. Rejects when it cannot listen. */
export function listen(options: ListenOptions, onConnection: (connection: OpenFlowConnection, socket: Socket) => void): Promise<Listener> {
  const open = new Set<OpenFlowConnection>();
  const accept = (socket: Socket): void => {
    const connection = new OpenFlowConnection(socket, options.connection);
    open.add(connection);
    connection.once("close", () => open.delete(connection));
    onConnection(connection, socket);
  };
  const secure = options.tls === undefined ? undefined : createTlsServer(options.tls, accept);
  secure?.on("tlsClientError", (error, socket) => options.onTlsError?.(error, socket)); // a handshake that fails ends its socket, no more
  const shaking = new Set<Socket>();
  const server: Server = createServer((socket) => {
    if (options.admit?.(socket) === false) socket.destroy();
    else if (secure === undefined) accept(socket);
    else {
      shaking.add(socket);
      socket.once("close", () => shaking.delete(socket));
      secure.emit("connection", socket);
    }
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.path === undefined ? { host: options.host, port: options.port ?? 6653 } : { path: options.path }, () => {
      server.off("error", reject);
      server.on("error", () => undefined); // accept() failing, out of descriptors: the next one may work
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : 0,
        server,
        setTls: (tls) => secure?.setSecureContext(tls),
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            for (const connection of open) connection.close();
            // Those that are connections end by themselves.
            for (const socket of shaking) setTimeout(() => socket.destroy(), 1000).unref();
          }),
      });
    });
  });
}
