// Connections that have not proved whose they are: few from one address, from one /64 of IPv6, and in all. A host needs one for its database and
// one for its switch; once each is known to be a host's it does not count any more. Those refused are closed before a byte of them is read.
import type { Socket } from "node:net";
import { placeOf } from "../identity.ts";
import { peerOf } from "../peer.ts";
import type { Troubles } from "./troubles.ts";

export interface ConnectionsOptions {
  /** "openflow" or "ovsdb", for people. */
  readonly port: string;
  readonly perAddress: number;
  /** From one /64: many hosts may share it, and one that has it to itself has as many addresses as it likes. */
  readonly perPrefix: number;
  readonly total: number;
  readonly troubles: Troubles;
}

export class Connections {
  private readonly options: ConnectionsOptions;
  /** Address and port of the peer -> its address, and the /64 that this is in. */
  private readonly unproved = new Map<string, readonly string[]>();
  /** By address and by /64. */
  private readonly counts = new Map<string, number>();

  constructor(options: ConnectionsOptions) {
    this.options = options;
  }

  get waiting(): number {
    return this.unproved.size;
  }

  /** Whether the connection from this address and port is no host's (yet). */
  waits(peer: string): boolean {
    return this.unproved.has(peer);
  }

  admit(socket: Socket): boolean {
    const { perAddress, perPrefix, total } = this.options;
    const { host, text } = peerOf(socket);
    const prefix = placeOf(host);
    const here = this.counts.get(host) ?? 0;
    const there = this.counts.get(prefix) ?? 0;
    if (here >= perAddress) this.refuse(host, here);
    else if (prefix !== host && there >= perPrefix) this.refuse(prefix, there);
    else if (this.unproved.size >= total) this.refuse(undefined, total);
    else {
      const counted = prefix === host ? [host] : [host, prefix];
      this.unproved.set(text, counted);
      for (const key of counted) this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
      socket.once("close", () => this.proved(text));
      return true;
    }
    return false;
  }

  /** It is a host's, or is closed. `peer`: its address and port. */
  proved(peer: string): void {
    for (const key of this.unproved.get(peer) ?? []) {
      const left = (this.counts.get(key) ?? 1) - 1;
      if (left > 0) this.counts.set(key, left);
      else this.counts.delete(key);
    }
    this.unproved.delete(peer);
  }

  /** `where`: an address or a /64; undefined: everywhere. */
  private refuse(where: string | undefined, count: number): void {
    const { port, troubles } = this.options;
    troubles.over({
      who: where ?? "somebody", limit: where === undefined ? "connections" : "connections_per_address",
      text: where === undefined ? `connects to the ${port} port while ${count} connections there wait to be known` : `has ${count} connections to the ${port} port that are no host's, and opens more: they are closed`,
      cure: "see what connects from there: a host needs one connection to each port; a firewall in front of the controller should let hosts alone reach it",
    });
  }
}
