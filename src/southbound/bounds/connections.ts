// Connections that have not proved whose they are: few from one address, and in all. A host needs one for its database and one for its
// switch; once each is known to be a host's it does not count any more. Those refused are closed before a byte of them is read.
import type { Socket } from "node:net";
import { peerOf } from "../peer.ts";
import type { Troubles } from "./troubles.ts";

export interface ConnectionsOptions {
  /** "openflow" or "ovsdb", for people. */
  readonly port: string;
  readonly perAddress: number;
  readonly total: number;
  readonly troubles: Troubles;
}

export class Connections {
  private readonly options: ConnectionsOptions;
  /** Address and port of the peer -> its address. */
  private readonly unproved = new Map<string, string>();
  private readonly byAddress = new Map<string, number>();

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
    const { port, perAddress, total, troubles } = this.options;
    const { host, text } = peerOf(socket);
    const here = this.byAddress.get(host) ?? 0;
    if (here >= perAddress || this.unproved.size >= total) {
      const all = here < perAddress;
      troubles.over({
        who: all ? "somebody" : host, limit: all ? "connections" : "connections_per_address",
        text: all ? `connects to the ${port} port while ${total} connections there wait to be known` : `has ${here} connections to the ${port} port that are no host's, and opens more: they are closed`,
        cure: "see what connects from there: a host needs one connection to each port; a firewall in front of the controller should let hosts alone reach it",
      });
      return false;
    }
    this.unproved.set(text, host);
    this.byAddress.set(host, here + 1);
    socket.once("close", () => this.proved(text));
    return true;
  }

  /** It is a host's, or is closed. `peer`: its address and port. */
  proved(peer: string): void {
    const host = this.unproved.get(peer);
    if (host === undefined) return;
    this.unproved.delete(peer);
    const left = (this.byAddress.get(host) ?? 1) - 1;
    if (left > 0) this.byAddress.set(host, left);
    else this.byAddress.delete(host);
  }
}
