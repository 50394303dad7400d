// The members of an etcd cluster that a client knows: a connection to each, and which one is asked. One that fails gives way to the
// next; it is asked again when the turn comes round to it.
import { Client, credentials, type ChannelCredentials, type ClientOptions } from "@grpc/grpc-js";
import { EtcdError } from "../errors.ts";

export interface TlsFiles {
  /** PEM. Without it, the system's authorities. */
  readonly ca?: Buffer | undefined;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
}

/** What carries calls to one member. gRPC, unless the client's config says otherwise. */
export type Carrier = Pick<Client, "makeUnaryRequest" | "makeBidiStreamRequest" | "close">;

export interface Endpoint {
  /** HOST:PORT */
  readonly address: string;
  readonly client: Carrier;
}

const MiB = 1024 * 1024;
const OPTIONS: ClientOptions = {
  // A member that comes back is to be found at once: the default waits up to two minutes.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // What etcd allows at most often. A connection that is silently dead is noticed by it.
  "grpc.keepalive_time_ms": 5000,
  "grpc.keepalive_timeout_ms": 2000,
  "grpc.keepalive_permit_without_calls": 0,
  // Requests are bounded by etcd, answers by the limits of requests.
  "grpc.max_receive_message_length": 256 * MiB,
  "grpc.max_send_message_length": -1,
  // A proxy of the environment is for the web.
  "grpc.enable_http_proxy": 0,
};

export class Endpoints {
  readonly all: readonly Endpoint[];
  private at = 0;

  constructor(addresses: readonly string[], tls: TlsFiles | undefined, carrier?: (address: string) => Carrier) {
    if (addresses.length === 0) throw new EtcdError("REFUSED", "no endpoint of etcd is given");
    const secure: ChannelCredentials = tls === undefined ? credentials.createInsecure() : credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null);
    this.all = addresses.map((address) => ({ address, client: carrier?.(address) ?? new Client(address, secure, OPTIONS) }));
  }

  get current(): Endpoint {
    return this.all[this.at]!;
  }

  /** The next one's turn, if this one still has it: many calls fail with one member. */
  failed(endpoint: Endpoint): void {
    if (endpoint === this.current) this.at = (this.at + 1) % this.all.length;
  }

  get names(): string {
    return this.all.map(({ address }) => address).join(", ");
  }

  close(): void {
    for (const { client } of this.all) client.close();
  }
}
