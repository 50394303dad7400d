// What all terms are above: 0, but where a switch knew a later term than anybody of this cluster can have had (Cluster.outrun). It is in etcd, for all
// members, under no lease, and only grows.
import { compareResult, compareTarget, type EtcdClient, type KeyValue } from "etcd-v3-client";

/** Terms are above it by what etcd's revision and the log's generation come to, and have to be whole numbers that a double has. */
export const HIGHEST = 2 ** 52;
/** It is raised so often at once, and then once an hour, whoever asks: a hostile host can say each time that it knows a later term. */
const RAISES = 8;
const RAISE_MS = 3_600_000;

/** How often it was raised, less one for each hour since; as of when (ms since 1970), and on whose word the last time. */
interface Raises {
  readonly level: number;
  readonly at: number;
  readonly chassis: string;
}
const NONE: Raises = { level: 0, at: 0, chassis: "" };

export class Floor {
  private readonly client: EtcdClient;
  private readonly key: string;
  private known = 0;
  private raises = NONE;
  /** Of etcd, at which it was written; 0: it is not there. */
  private revision = 0;

  constructor(client: EtcdClient, key: string) {
    this.client = client;
    this.key = key;
  }

  get value(): number {
    return this.known;
  }

  /** Somebody deleted the key: it has to be written again (`keep`), or who starts later knows nothing of it. */
  get missing(): boolean {
    return this.known > 0 && this.revision === 0;
  }

  /** Whether it may be raised again already. `now`: ms since 1970. A time to come, of another's clock, counts as now. */
  mayRaise(now: number): boolean {
    return this.level(now) + 1 <= RAISES;
  }

  /** As somebody wrote it, undefined: it is not there. Whether it is higher than before; one that was deleted, or cannot be read, stays in force here. */
  learn(kv: KeyValue | undefined): boolean {
    this.revision = kv?.mod_revision ?? 0;
    const before = this.known;
    const said = kv && read(kv.value);
    if (said === undefined || said.floor < before) return false;
    this.known = said.floor;
    this.raises = said.raises;
    return this.known > before;
  }

  /** False: another one was first, or did so already; what it is then has to be read. @throws EtcdError */
  raise(to: number, { at, chassis }: Omit<Raises, "level">, timeoutMs: number): Promise<boolean> {
    return this.write(to, { level: this.level(at) + 1, at, chassis }, timeoutMs);
  }

  /** Writes what is in force here, where it is missing. @throws EtcdError */
  async keep(timeoutMs: number): Promise<void> {
    await this.write(this.known, this.raises, timeoutMs);
  }

  private async write(floor: number, raises: Raises, timeoutMs: number): Promise<boolean> {
    const { succeeded } = await this.client.txn({
      compare: [{ key: this.key, target: compareTarget.mod, result: compareResult.equal, mod_revision: this.revision }],
      success: [{ request_put: { key: this.key, value: JSON.stringify({ floor, raises }) } }],
    }, { timeoutMs });
    return succeeded;
  }

  private level(now: number): number {
    const { level, at } = this.raises;
    return Math.max(0, level - Math.max(0, now - at) / RAISE_MS);
  }
}

/** Undefined: not what a controller writes. */
function read(value: Buffer): { readonly floor: number; readonly raises: Raises } | undefined {
  try {
    const said = JSON.parse(value.toString()) as { floor?: unknown; raises?: Partial<Raises> } | null;
    const floor = said?.floor;
    if (!Number.isSafeInteger(floor) || (floor as number) > HIGHEST) return undefined;
    const { level, at, chassis } = said?.raises ?? {};
    const counted = Number.isFinite(level) && Number.isSafeInteger(at);
    return { floor: floor as number, raises: counted ? { level: Math.min(level!, RAISES), at: at!, chassis: String(chassis) } : NONE };
  } catch {
    return undefined;
  }
}
