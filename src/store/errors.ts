// Every way the store can fail, as one class with a stable `code`. Nothing else is thrown on purpose except TypeError for
// a caller's mistake (an empty key, one key written twice in a txn).

export type StoreErrorCode =
  | "LOCKED" // another open store has the directory
  | "CORRUPT" // the directory is damaged, or is not ours
  | "LOSS" // acknowledged changes are missing or damaged
  | "MISSING" // there is no store to work on
  | "INVALID" // a text that is no export; a URL of a store that is none
  | "COMPACTED" // a watch or a history of revisions that are no longer kept
  | "CLOSED" // used after close()
  | "TOO_LARGE" // over one of LIMITS
  | "IO" // the disk refused; the store takes no more writes until it is opened again
  | "UNAVAILABLE" // etcd cannot be reached, or has no majority; the same write may succeed later
  | "UNSUPPORTED"; // a backend or a format this version does not have

export interface StoreErrorFields {
  readonly dir?: string;
  readonly key?: string;
  readonly limit?: number;
  readonly actual?: number;
  /** LOCKED: the process that has it, where the system tells. */
  readonly pid?: number;
  /** COMPACTED: the oldest revision that is kept. */
  readonly oldest?: number;
  /** CORRUPT, LOSS: the last generation that was acknowledged, as far as the witness tells. */
  readonly acknowledged?: number;
  /** UNAVAILABLE: what was to be written may be, or may yet be. */
  readonly doubt?: true;
  /** LOSS: the last generation that is whole. */
  readonly found?: number;
}

export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  readonly fields: StoreErrorFields;

  constructor(code: StoreErrorCode, message: string, fields: StoreErrorFields = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fields = fields;
  }
}

export const compacted = (from: number, oldest: number): StoreError =>
  new StoreError("COMPACTED", `generation ${from} is no longer kept, the oldest is ${oldest}`, { oldest });
