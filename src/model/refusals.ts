// What a transaction is refused for by the model, not by what it does.

/** A transaction that writes more rows or bytes than the store takes at once; it alone is refused. */
export class TransactionTooLarge extends Error {
  readonly code = "TRANSACTION_TOO_LARGE";
  constructor(what: string, cause?: unknown) {
    super(`one transaction would write ${what}`, cause === undefined ? undefined : { cause });
    this.name = "TransactionTooLarge";
  }
}

/** Too much waits to be written; the same call may succeed a moment later. Nothing was run. */
export class TooBusy extends Error {
  readonly code = "TOO_BUSY";
  /** When to ask again, a guess. */
  readonly retryAfterS = 1;
  constructor(what: string) {
    super(`${what} wait to be written already`);
    this.name = "TooBusy";
  }
}
