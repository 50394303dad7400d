/**
 * Things that go wrong on purpose, for tests of clients. Each is armed by the test and, where it is about one event,
 * disarms itself when that has happened; transactions count from when the fault is armed, those of the test itself
 * (`FakeOvsdbServer.transact`) not at all.
 */

import type { JsonObject } from "../wire/json.ts";

export class Faults {
  /** What is sent waits this long, in ms; order is kept. 0 = at once. */
  delayMs = 0;
  /** Whether echo requests are answered; a client that probes takes the server for dead without. */
  answersEcho = true;
  #dropAfterBytes: number | undefined;
  readonly #refusals = new Map<number, JsonObject>();
  readonly #drops = new Set<number>();
  #transactions = 0;

  /** Cuts the connection on which the n-th byte from now is sent, after that byte; 0 = before the next one. */
  dropAfterBytes(n: number): void {
    this.#dropAfterBytes = n;
  }

  /**
   * Refuses the commit of the n-th transaction from now (1 = the next) and undoes it.
   * @param error the `<error>` object, e.g. `{ error: "constraint violation", details: "..." }`
   */
  refuseTransaction(n = 1, error: JsonObject = { error: "constraint violation", details: "refused by the test" }): void {
    this.#refusals.set(this.#transactions + n, error);
  }

  /** Runs and commits the n-th transaction from now (1 = the next), and closes its connection instead of an answer. */
  dropBeforeAnswer(n = 1): void {
    this.#drops.add(this.#transactions + n);
  }

  /** Disarms everything. */
  clear(): void {
    this.delayMs = 0;
    this.answersEcho = true;
    this.#dropAfterBytes = undefined;
    this.#refusals.clear();
    this.#drops.clear();
  }

  /** Counts a transaction and says what is to happen to it. */
  nextTransaction(): { readonly refuse: JsonObject | undefined; readonly drop: boolean } {
    const n = ++this.#transactions;
    const refuse = this.#refusals.get(n), drop = this.#drops.delete(n);
    this.#refusals.delete(n);
    return { refuse, drop };
  }

  /** How many of `bytes` are sent before the connection is cut; undefined = all, and it is not. */
  cutWithin(bytes: number): number | undefined {
    const limit = this.#dropAfterBytes;
    if (limit === undefined) return undefined;
    this.#dropAfterBytes = bytes < limit ? limit - bytes : undefined;
    return bytes < limit ? undefined : limit;
  }
}
