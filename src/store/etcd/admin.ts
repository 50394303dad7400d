// What is done with a store in etcd beside running on it: made of rows from elsewhere, and measured.
import { randomBytes, randomUUID } from "node:crypto";
import { StoreError } from "../errors.ts";
import type { KvEntry } from "../kv.ts";
import type { Generation } from "../log.ts";
import { etcdClient, type EtcdAccess } from "./client.ts";
import { Keys } from "./keys.ts";
import { explain, Remote } from "./remote.ts";

async function withRemote<T>(url: string, access: EtcdAccess, work: (remote: Remote) => Promise<T>): Promise<T> {
  const { client, prefix } = etcdClient(url, access);
  try {
    return await work(new Remote(client, new Keys(prefix)));
  } catch (error) {
    throw explain(error);
  } finally {
    client.close();
  }
}

/** A new store of rows in the order of their keys; nothing is left of one that fails. @throws StoreError IO when there is one already, and what `rows` throws */
export const makeEtcd = (url: string, access: EtcdAccess, generation: Generation, rows: AsyncIterable<KvEntry>): Promise<void> =>
  withRemote(url, access, async (remote) => {
    if ((await remote.count()) > 0) throw new StoreError("IO", `${url} is not empty: a new store is made where none is`);
    const token = randomBytes(9).toString("base64url");
    try {
      const pieces = await remote.writeRows(generation, rows, token);
      if (!(await remote.begin(randomUUID(), generation, pieces))) throw new StoreError("IO", `${url}: another one made a store there meanwhile`);
    } catch (error) {
      if ((await remote.state().catch(() => null)) === undefined) await remote.forgetRows(generation).catch(() => undefined);
      throw error;
    }
  });

/** Bytes of its keys and values, as etcd has them. */
export const etcdBytes = (url: string, access: EtcdAccess): Promise<number> => withRemote(url, access, (remote) => remote.storedBytes());
