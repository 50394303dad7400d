// Every way a call can fail, as one class with a stable `code`.

export type EtcdErrorCode =
  | "UNAVAILABLE" // no endpoint can be reached, or those that can have no leader
  | "TIMEOUT" // no answer in time
  | "COMPACTED" // the revision is not kept any more
  | "NO_SPACE" // etcd's quota is used up: it takes no writes until space is made and its alarm disarmed
  | "TOO_LARGE" // more bytes or operations than etcd takes in one request
  | "UNAUTHENTICATED" // a wrong user or password, or none where one is wanted
  | "DENIED" // the user may not
  | "REFUSED" // anything else that etcd says no to
  | "PROTOCOL" // what came is not what etcd sends
  | "CLOSED"; // used after close()

export interface EtcdErrorFields {
  /** HOST:PORT that was asked last. */
  readonly endpoint?: string;
  /** What was called: "KV/Txn". */
  readonly call?: string;
  /** The request may have been carried out, or may yet be. */
  readonly uncertain?: boolean;
}

export class EtcdError extends Error {
  override readonly name = "EtcdError";
  readonly code: EtcdErrorCode;
  readonly fields: EtcdErrorFields;

  constructor(code: EtcdErrorCode, message: string, fields: EtcdErrorFields = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.fields = fields;
  }
}
