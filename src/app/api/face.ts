// Faces: ways into the API. A face has a prefix, its own routes, error envelope and content types, and does its work through the
// operations that every face shares: checks, access rules, transactions and history are the same whichever way a request comes.
import type { Caller, ResourceHandle, Values } from "./resource.ts";

/** A request below a face's prefix. */
export interface FaceRequest {
  /** As in the answer's X-Openstack-Request-Id. */
  readonly id: string;
  readonly method: string;
  /** After the prefix, without the query: "" or "/..."; percent-encoded as it came. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Scheme, host and the proxy's prefix as the client sees them: what links start with. */
  readonly base: string;
  /** Empty if there was none. */
  readonly body: Uint8Array;
  readonly caller: Caller;
  /** First value of a header; lower-case name. */
  header(name: string): string | undefined;
}

export interface FaceAnswer {
  readonly status: number;
  /** The reason phrase beside the status, where HTTP's own does not do: a status that is the face's. */
  readonly reason?: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it comes, no faster than the client reads. */
  readonly body?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
  /** Of a write: the generation it is part of. Sent as X-Axion-Generation. */
  readonly generation?: number | undefined;
}

/** Why a request is refused, for the face to put in its envelope. */
export interface FaceRefusal {
  readonly status: number;
  /** Neutron's name of the error. */
  readonly type: string;
  readonly message: string;
  /** Seconds after which to try again: sent as Retry-After whatever the face makes of it. */
  readonly retryAfterS?: number;
}

/** What of a resource an operation is about, beside its id. */
export interface OperationTarget {
  /** The parent's id: always of a resource that is declared below a `parent`, never of another (an Error says so: it is a bug of the face). */
  readonly parentId?: string | undefined;
  /** An If-Match header as v2.0 takes it, `revision_number=3`: an update or removal of another revision is refused with 412. Elsewhere without meaning. */
  readonly ifMatch?: string | undefined;
}

/** What operations need to know of the request they serve; a FaceRequest is one. */
export interface OperationRequest extends OperationTarget {
  readonly caller: Caller;
  readonly method: string;
  readonly path: string;
  /** Of what is sent; its length counts while a change waits to be written. */
  readonly body?: Uint8Array;
}

export interface Written<T> {
  readonly value: T;
  /** Generation that the change is part of. */
  readonly generation: number;
}

/** The operations of a batch: those of Operations, each done at once on what those before it left. @throws ApiError, which ends the batch */
export interface BatchOperations {
  show(resource: ResourceHandle, id: string, target?: OperationTarget): Values;
  create(resource: ResourceHandle, values: Values, target?: OperationTarget): Values;
  update(resource: ResourceHandle, id: string, changes: Values, target?: OperationTarget): Values;
  remove(resource: ResourceHandle, id: string, target?: OperationTarget): void;
  act(resource: ResourceHandle, id: string, action: string, body: Values, target?: OperationTarget, path?: Readonly<Record<string, string>>): unknown;
  actOnAll(resource: ResourceHandle, action: string, body: Values, target?: OperationTarget, path?: Readonly<Record<string, string>>): unknown;
}

/** What an action answers; a generation if it was a write. */
export interface Acted {
  readonly body: unknown;
  readonly generation?: number;
}

/**
 * The operations of the API, each one read or one transaction, with the access rules of its caller. Values are as v2.0 shows and takes
 * them. @throws ApiError for whatever the caller may mend
 */
export interface Operations {
  /**
   * `query` as in v2.0: filters, sort_key, limit, marker, fields. Resolves when it is clear that there is a list; rows then come as they
   * are read, of one instant. Leaving the loop early is fine; to pause for long ends it with an Error.
   */
  list(resource: ResourceHandle, request: OperationRequest, query?: URLSearchParams): Promise<AsyncIterable<Values>>;
  show(resource: ResourceHandle, id: string, request: OperationRequest): Values;
  create(resource: ResourceHandle, values: Values, request: OperationRequest): Promise<Written<Values>>;
  update(resource: ResourceHandle, id: string, changes: Values, request: OperationRequest): Promise<Written<Values>>;
  remove(resource: ResourceHandle, id: string, request: OperationRequest): Promise<Written<undefined>>;
  /** A member's action by its name and, if its path has `{name}` segments, their values. */
  act(resource: ResourceHandle, id: string, action: string, body: Values, request: OperationRequest, path?: Readonly<Record<string, string>>): Promise<Acted>;
  /** An action of the collection, for the caller's own project. */
  actOnAll(resource: ResourceHandle, action: string, body: Values, request: OperationRequest, path?: Readonly<Record<string, string>>): Promise<Acted>;
  /**
   * Several operations as one transaction with one generation: all of them, or, whatever is thrown, none, also if `fn` catches what an
   * operation threw. `fn` is synchronous (a Promise does not compile), runs again if another controller wrote meanwhile, and has the
   * operations only until it returns.
   */
  batch<T>(request: Omit<OperationRequest, keyof OperationTarget>, fn: (operations: BatchOperations) => T extends PromiseLike<unknown> ? never : T): Promise<Written<T>>;
}

/** An entry of the list of versions at "/". */
export interface ListedVersion {
  readonly id: string;
  readonly status: string;
  readonly links: readonly { readonly rel: string; readonly href: string }[];
}

export interface Face {
  /** Unique, for people: "quantum-v1". */
  readonly name: string;
  /** "/v1.0": the paths it has are this one and all below. Of two faces the longer prefix counts. */
  readonly prefix: string;
  /** Its entry in the list of versions at "/", if it is a version of the API. */
  readonly version?: { readonly id: string; readonly status: "CURRENT" | "SUPPORTED" | "DEPRECATED" | "EXPERIMENTAL" };
  /** The list of versions at "/" in this face's form, for a request that asks for it; undefined: it does not. Without such a face the list is in JSON. */
  listing?(versions: readonly ListedVersion[], request: { header(name: string): string | undefined }): FaceAnswer | undefined;
  /** May throw an ApiError, which then goes through `refuse`. */
  handle(request: FaceRequest, operations: Operations): FaceAnswer | Promise<FaceAnswer>;
  /** The envelope of a refusal, of the face's own and of what the listener refuses (no such caller, a body too large, a bug). Must not throw. */
  refuse(refusal: FaceRefusal, request: { readonly method: string; readonly path: string; header(name: string): string | undefined }): FaceAnswer;
}
