// Where state is kept: --store and what belongs to it.
import { UsageError } from "../lib/usage-error.ts";
import { StoreError } from "../store/errors.ts";
import type { EtcdAccess } from "../store/etcd/client.ts";
import { parseEtcdUrl } from "../store/etcd/url.ts";
import { readFile } from "./sources.ts";

type Name = "store" | "store-ca" | "store-cert" | "store-key" | "store-user" | "store-password-file";

/** `text`: what was given of a flag, or its default. @throws UsageError naming the flag */
export function storeOf(text: (name: Name) => string | undefined, where: (name: Name) => string): { readonly store: string; readonly etcd?: EtcdAccess } {
  const store = text("store")!;
  const given = (["store-ca", "store-cert", "store-key", "store-user", "store-password-file"] as const).filter((name) => text(name) !== undefined);
  if (!/^etcds?:/.test(store)) {
    if (store !== "level:" && store !== "memory:") throw new UsageError(`${where("store")} must be level:, memory: or etcd://HOST:2379 (several with commas between), not ${store === "" ? "empty" : store}`);
    if (given.length > 0) throw new UsageError(`${where(given[0]!)} has no meaning with --store ${store}`);
    return { store };
  }
  let secure: boolean;
  try {
    secure = parseEtcdUrl(store).tls;
  } catch (error) {
    throw error instanceof StoreError ? new UsageError(`${where("store")} ${error.message}`) : error;
  }
  const [ca, cert, key] = (["store-ca", "store-cert", "store-key"] as const).map((name) => {
    const path = text(name);
    if (path !== undefined && !secure) throw new UsageError(`${where(name)} has no meaning with --store etcd://: etcds:// is etcd over TLS`);
    return path === undefined ? undefined : readFile(path, where(name));
  });
  if ((cert === undefined) !== (key === undefined)) throw new UsageError(`a certificate for etcd needs --store-cert and --store-key; --${cert === undefined ? "store-cert" : "store-key"} is missing`);
  const [name, file] = [text("store-user"), text("store-password-file")];
  if ((name === undefined) !== (file === undefined)) throw new UsageError(`a user of etcd needs --store-user and --store-password-file; --${name === undefined ? "store-user" : "store-password-file"} is missing`);
  const password = file === undefined ? "" : readFile(file, where("store-password-file")).toString().replace(/\r?\n$/, "");
  if (name === "") throw new UsageError(`${where("store-user")} is empty`);
  if (file !== undefined && password === "") throw new UsageError(`${where("store-password-file")}: ${file} is empty`);
  return { store, etcd: { ...(secure && { tls: { ca, cert, key } }), ...(name !== undefined && { user: { name, password } }) } };
}
