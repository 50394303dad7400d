/**
 * Locks of a server (RFC 7047 sections 4.1.8 to 4.1.10): each a queue of sessions whose first is the owner. A session that
 * steals goes to the front; the owner it pushes back stays in the queue, unless it had stolen the lock itself.
 */

export interface LockHolder {
  /** The lock is now this session's, after waiting. */
  locked(name: string): void;
  /** Another session has it now. */
  stolen(name: string): void;
}

interface Waiter {
  readonly holder: LockHolder;
  readonly stole: boolean;
}

export class Locks {
  readonly #queues = new Map<string, Waiter[]>();
  /** Locks each session has asked for and not given back. */
  readonly #asked = new Map<LockHolder, Set<string>>();

  owns(holder: LockHolder, name: string): boolean {
    return this.#queues.get(name)?.[0]?.holder === holder;
  }

  /** Whether the session has asked for the lock, got or not, and not given it back. */
  hasAsked(holder: LockHolder, name: string): boolean {
    return this.#asked.get(holder)?.has(name) === true;
  }

  /** Asks for a lock and says whether it is the session's at once. */
  ask(holder: LockHolder, name: string, steal: boolean): boolean {
    let asked = this.#asked.get(holder);
    if (asked === undefined) this.#asked.set(holder, asked = new Set<string>());
    asked.add(name);
    let queue = this.#queues.get(name);
    if (queue === undefined) this.#queues.set(name, queue = []);
    const waiter = { holder, stole: steal };
    if (!steal) {
      queue.push(waiter);
    } else {
      const [victim] = queue;
      if (victim?.stole === true) queue.shift();
      queue.unshift(waiter);
      victim?.holder.stolen(name);
    }
    return queue[0] === waiter;
  }

  /** Gives a lock back; the next in the queue is told. */
  give(holder: LockHolder, name: string): void {
    this.#asked.get(holder)?.delete(name);
    const queue = this.#queues.get(name) ?? [];
    const at = queue.findIndex((waiter) => waiter.holder === holder);
    if (at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.#queues.delete(name);
    else if (at === 0) queue[0]!.holder.locked(name);
  }

  giveAll(holder: LockHolder): void {
    const asked = this.#asked.get(holder);
    this.#asked.delete(holder);
    for (const name of asked ?? []) this.give(holder, name);
  }
}
