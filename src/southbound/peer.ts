// Addresses of a connection's two ends, as people write them.
import type { Duplex } from "node:stream";

export interface Peer {
  /** Remote address without its port. */
  readonly host: string;
  /** Remote "address:port", for logs. */
  readonly text: string;
  /** Our own address as the peer reached it; "" if the stream has none. */
  readonly local: string;
}

interface Addressed {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
}

export function peerOf(socket: Duplex | Addressed): Peer {
  const { remoteAddress, remotePort, localAddress } = socket as Addressed;
  const host = plainAddress(remoteAddress ?? "");
  return { host, text: host === "" ? "unknown" : `${bracketed(host)}:${remotePort ?? 0}`, local: plainAddress(localAddress ?? "") };
}

/** An IPv4 address that a dual-stack socket shows as ::ffff:192.0.2.1, without the wrapping. */
const plainAddress = (address: string): string => (address.toLowerCase().startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address);

export const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host);
