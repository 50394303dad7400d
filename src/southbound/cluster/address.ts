// By which address hosts reach this controller: what their switches are told to connect to, and, by other controllers, their databases.
import type { SouthboundConfig } from "../options.ts";
import { bracketed } from "../peer.ts";

export interface AddressOptions {
  readonly config: Pick<SouthboundConfig, "advertise" | "ovsdb" | "tls">;
  readonly openflowPort: () => number;
  readonly ovsdbPort: () => number;
  /** What hosts connect to for OVSDB is known from now on. */
  readonly known: (target: string) => void;
}

export class Address {
  private readonly options: AddressOptions;
  /** The first local address that a host came to. */
  private reached: string | undefined;

  constructor(options: AddressOptions) {
    this.options = options;
  }

  /** What a switch connects to whose database came to a local address. */
  openflow(local: string): string {
    if (this.reached === undefined) {
      this.reached = local;
      this.options.known(this.ovsdb);
    }
    return this.target(this.options.config.advertise ?? local, this.options.openflowPort());
  }

  /** What databases connect to: --advertise, else the address that it listens on, else the one that a host came to; "" while there is none. */
  get ovsdb(): string {
    const { advertise, ovsdb } = this.options.config;
    const address = advertise ?? (["0.0.0.0", "::"].includes(ovsdb.host) ? this.reached : ovsdb.host);
    return address === undefined ? "" : this.target(address, this.options.ovsdbPort());
  }

  private target(address: string, port: number): string {
    return `${this.options.config.tls === undefined ? "tcp" : "ssl"}:${bracketed(address)}:${port}`;
  }
}
