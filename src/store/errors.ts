// Every way the store can fail, as one class with a stable `code`. Nothing else is thrown on purpose except TypeError for
// a caller's mistake (an empty key, one key written twice in a txn).

export type StoreErrorCode =
  | "LOCKED" // another open store has the directory
  | "CORRUPT" // the directory is damaged, or is not ours
  | "COMPACTED" // a watch asks for revisions that are no longer kept
  | "CLOSED" // used after close()
  | "TOO_LARGE" // over one of LIMITS
  | "IO" // the disk refused; the store takes no more writes until it is opened again
  | "UNSUPPORTED"; // a backend or a format this version does not have

export interface StoreErrorFields {
  readonly dir?: string;
  readonly key?: string;
  readonly limit?: number;
  readonly actual?: number;
  /** LOCKED: the process that has it, where the system tells. */
  readonly pid?: number;
  /** COMPACTED: the oldest revision a watch can start from. */
  readonly oldest?: number;
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
