// From the URL of a store in etcd to a client of it: the one place that says how etcd is spoken to.
import { EtcdClient, type Carrier } from "etcd-v3-client";
import { parseEtcdUrl } from "./url.ts";

export interface EtcdAccess {
  /** PEM; for etcds: alone. */
  readonly tls?: { readonly ca?: Buffer | undefined; readonly cert?: Buffer | undefined; readonly key?: Buffer | undefined } | undefined;
  readonly user?: { readonly name: string; readonly password: string } | undefined;
  /** What carries calls to a member, HOST:PORT; default: gRPC. Simulations have their own. */
  readonly carrier?: ((address: string) => Carrier) | undefined;
}

/** `prefix`: of the keys. @throws StoreError INVALID */
export function etcdClient(url: string, { tls, user, carrier }: EtcdAccess = {}): { readonly client: EtcdClient; readonly prefix: string } {
  const { endpoints, tls: secure, prefix } = parseEtcdUrl(url);
  return { client: new EtcdClient({ endpoints, tls: secure ? (tls ?? {}) : undefined, user, carrier }), prefix };
}
