// What all terms are above: 0, but where a switch knew a later term than anybody of this cluster can have had (Cluster.outrun). It is in etcd, for all
// members, under no lease, and only grows.
import { compareResult, compareTarget, type EtcdClient, type KeyValue } from "etcd-v3-client";

/** Terms are above it by what etcd's revision and the log's generation come to, and have to be whole numbers that a double has. */
export const HIGHEST = 2 ** 52;

export class Floor {
  private readonly client: EtcdClient;
  private readonly key: string;
  private known = 0;
  /** Of etcd, at which it was written; 0: it is not there. */
  private revision = 0;

  constructor(client: EtcdClient, key: string) {
    this.client = client;
    this.key = key;
  }

  get value(): number {
    return this.known;
  }

  /** As somebody wrote it, undefined: it is not there. Whether it is higher than before; one that was deleted, or cannot be read, stays in force here. */
  learn(kv: KeyValue | undefined): boolean {
    this.revision = kv?.mod_revision ?? 0;
    const before = this.known;
    this.known = Math.max(before, kv === undefined ? 0 : read(kv.value));
    return this.known > before;
  }

  /** False: another one was first, or did so already; what it is then has to be read. @throws EtcdError */
  async raise(to: number, timeoutMs: number): Promise<boolean> {
    const { succeeded } = await this.client.txn({
      compare: [{ key: this.key, target: compareTarget.mod, result: compareResult.equal, mod_revision: this.revision }],
      success: [{ request_put: { key: this.key, value: JSON.stringify({ floor: to }) } }],
    }, { timeoutMs });
    return succeeded;
  }
}

function read(value: Buffer): number {
  try {
    const floor = (JSON.parse(value.toString()) as { floor?: unknown } | null)?.floor;
    return Number.isSafeInteger(floor) && (floor as number) <= HIGHEST ? (floor as number) : 0;
  } catch {
    return 0; // not what a controller writes
  }
}
