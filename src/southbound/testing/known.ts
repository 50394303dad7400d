// What one of several controllers knows of the others, as a test says it.
import type { ClusterPort } from "../cluster/port.ts";

export class Known implements ClusterPort {
  readonly name: string;
  readonly managers = [];
  term = 1;
  master = "a";
  /** What there is to find out. */
  newest: { readonly master: string; readonly term: number } | undefined;
  /** What has been committed, by whomever. */
  committed = 0;
  private readonly listeners = new Set<(moved?: readonly string[]) => void>();

  constructor(name: string) {
    this.name = name;
  }

  /** From now on, who is the master of all, in which term. */
  knows(master: string, term: number): void {
    const moved = master !== this.master;
    Object.assign(this, { master, term });
    for (const listener of this.listeners) listener(moved ? undefined : []);
  }

  masterOf(): string {
    return this.master;
  }
  masters(): boolean {
    return this.master === this.name;
  }
  head(): Promise<number> {
    return Promise.resolve(this.committed);
  }
  refresh(): Promise<void> {
    if (this.newest !== undefined) this.knows(this.newest.master, this.newest.term);
    return Promise.resolve();
  }
  outrun(): Promise<void> {
    return Promise.resolve();
  }
  onChange(listener: (moved?: readonly string[]) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  reached(): void {
    // Hosts are told by the test.
  }
  confirmed(): number {
    return 0;
  }
  rows(): number {
    return 0;
  }
  onConfirmed(): () => void {
    return () => undefined;
  }
}
