// A client of an etcd cluster: each call has a time in which it ends, and goes to another member when one fails. A call that may have
// been carried out is not made again, unless it only reads or its caller says that twice is as good as once.
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { EtcdError } from "../errors.ts";
import { procedures, type DeleteRangeRequest, type DeleteRangeResponse, type Procedure, type PutRequest, type PutResponse, type RangeRequest, type RangeResponse, type StatusResponse, type TxnRequest, type TxnResponse } from "../messages.ts";
import { Endpoints, type Carrier, type Endpoint, type TlsFiles } from "./endpoints.ts";
import { failure, mayHeal } from "./failure.ts";
import { Watch, type WatchHandlers, type WatchTarget } from "./watch.ts";

export interface ClientConfig {
  /** HOST:PORT of members. */
  readonly endpoints: readonly string[];
  /** Without it the connections are plain. */
  readonly tls?: TlsFiles | undefined;
  readonly user?: { readonly name: string; readonly password: string } | undefined;
  /** By which a member is spoken to, in the place of gRPC: for simulations. */
  readonly carrier?: ((address: string) => Carrier) | undefined;
}

export interface CallOptions {
  /** In which the call ends, over all members that are asked; default 5000. */
  readonly timeoutMs?: number;
  /** A write that is carried out twice comes to the same as once. */
  readonly again?: boolean;
}

const TIMEOUT_MS = 5000;
/** Between two rounds over all members. */
const PAUSE_MS = 50;
/** The least that one member is given, where there are several. */
const TURN_MS = 400;

export class EtcdClient {
  private readonly endpoints: Endpoints;
  private readonly user: ClientConfig["user"];
  private token: Promise<string> | undefined;
  private closed = false;
  private readonly watches = new Set<Watch>();

  constructor({ endpoints, tls, user, carrier }: ClientConfig) {
    this.endpoints = new Endpoints(endpoints, tls, carrier);
    this.user = user;
  }

  /** Linearizable, unless the request says `serializable`. */
  range(request: RangeRequest, options?: CallOptions): Promise<RangeResponse> {
    return this.call(procedures.range, request, { again: true, ...options });
  }
  put(request: PutRequest, options?: CallOptions): Promise<PutResponse> {
    return this.call(procedures.put, request, options);
  }
  deleteRange(request: DeleteRangeRequest, options?: CallOptions): Promise<DeleteRangeResponse> {
    return this.call(procedures.deleteRange, request, options);
  }
  txn(request: TxnRequest, options?: CallOptions): Promise<TxnResponse> {
    return this.call(procedures.txn, request, options);
  }
  /** Lets go of what was before a revision. @throws EtcdError COMPACTED when it is gone already */
  async compact(revision: number, options?: CallOptions): Promise<void> {
    await this.call(procedures.compact, { revision }, options);
  }

  /** A lease of so many seconds, at the least. */
  async leaseGrant(ttlS: number, options?: CallOptions): Promise<{ readonly id: bigint; readonly ttlS: number }> {
    const { ID, TTL } = await this.call(procedures.leaseGrant, { TTL: ttlS }, options);
    return { id: ID, ttlS: TTL };
  }
  /** Its keys go with it. */
  async leaseRevoke(id: bigint, options?: CallOptions): Promise<void> {
    await this.call(procedures.leaseRevoke, { ID: id }, options);
  }
  /** Once. Seconds that it has now; 0: it is no more. */
  async leaseKeepAlive(id: bigint, options?: CallOptions): Promise<number> {
    return (await this.overMembers({ again: true, ...options }, (endpoint, metadata, deadline) => this.exchange(endpoint, metadata, deadline, procedures.leaseKeepAlive, { ID: id }))).TTL;
  }

  /** Of the member that has its turn. */
  status(options?: CallOptions): Promise<StatusResponse> {
    return this.call(procedures.status, {}, { again: true, ...options });
  }

  /** Events of a range from a revision on, in order and without a gap, over whatever connections; until `close` or what `onEnd` is told. */
  watch(target: WatchTarget, handlers: WatchHandlers): Watch {
    this.checkOpen();
    const watch = new Watch(target, handlers, { current: () => this.endpoints.current, failed: (endpoint) => this.endpoints.failed(endpoint), metadata: () => this.metadata(performance.now() + TIMEOUT_MS), unauthenticated: () => (this.token = undefined), ended: () => this.watches.delete(watch) });
    this.watches.add(watch);
    return watch;
  }

  /** Ends calls that are under way, and watches. */
  close(): void {
    this.closed = true;
    for (const watch of [...this.watches]) watch.close();
    this.endpoints.close();
  }

  private checkOpen(): void {
    if (this.closed) throw new EtcdError("CLOSED", "the client of etcd is closed");
  }

  private call<I, O>(procedure: Procedure<I, O>, request: I, options: CallOptions = {}): Promise<O> {
    return this.overMembers(options, (endpoint, metadata, deadline) => this.unary(endpoint, metadata, deadline, procedure, request));
  }

  private async overMembers<O>({ timeoutMs = TIMEOUT_MS, again = false }: CallOptions, ask: (endpoint: Endpoint, metadata: Metadata, deadline: number) => Promise<O>): Promise<O> {
    const end = performance.now() + timeoutMs;
    const members = this.endpoints.all.length;
    let uncertain = false;
    let renewed = false;
    /** Why there was no answer, as the last one said who knew: that time is over says nothing of it. */
    let reason: string | undefined;
    for (let asked = 1; ; asked++) {
      this.checkOpen();
      const endpoint = this.endpoints.current;
      // One that is silent leaves time for the others.
      const left = end - performance.now();
      const deadline = performance.now() + (members === 1 ? left : Math.min(left, Math.max(TURN_MS, timeoutMs / Math.min(members, 3))));
      try {
        return await ask(endpoint, await this.metadata(end), deadline);
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error;
        if (this.closed) throw new EtcdError("CLOSED", "the client of etcd is closed", error.fields, error);
        uncertain ||= error.fields.uncertain === true;
        if (error.code === "UNAVAILABLE") reason = error.message;
        const message = error.code === "TIMEOUT" && reason !== undefined ? `${error.message}; before that, ${reason}` : error.message;
        const known = new EtcdError(error.code, message, { ...error.fields, ...(uncertain && { uncertain }) }, error.cause);
        if (error.code === "UNAUTHENTICATED" && this.user !== undefined && !renewed && error.fields.call !== procedures.authenticate.name) {
          // A token goes with the restart of a member, or of age.
          renewed = true;
          this.token = undefined;
          continue;
        }
        if (!mayHeal(error)) throw known;
        this.endpoints.failed(endpoint);
        const pause = asked % members === 0 ? PAUSE_MS : 0;
        if ((uncertain && !again) || performance.now() + pause >= end) throw members === 1 ? known : new EtcdError(known.code, `${known.message} (endpoints: ${this.endpoints.names})`, known.fields, known.cause);
        if (pause > 0) await new Promise((done) => setTimeout(done, pause));
      }
    }
  }

  private async metadata(end: number): Promise<Metadata> {
    const metadata = new Metadata();
    // A member that has lost its leader says so, in place of waiting for one.
    metadata.set("hasleader", "true");
    if (this.user !== undefined) metadata.set("token", await this.authenticated(end));
    return metadata;
  }

  private authenticated(end: number): Promise<string> {
    const { name, password } = this.user!;
    if (this.token === undefined) {
      const endpoint = this.endpoints.current;
      const token = this.unary(endpoint, new Metadata(), Math.min(end, performance.now() + TIMEOUT_MS), procedures.authenticate, { name, password }).then((answer) => answer.token);
      this.token = token;
      token.catch(() => {
        if (this.token === token) this.token = undefined;
      });
    }
    return this.token;
  }

  private unary<I, O>({ address, client }: Endpoint, metadata: Metadata, deadline: number, { name, request, response }: Procedure<I, O>, value: I): Promise<O> {
    return new Promise((resolve, reject) => {
      const fields = { endpoint: address, call: name };
      client.makeUnaryRequest(`/etcdserverpb.${name}`, (bytes: Buffer) => bytes, (bytes: Buffer) => bytes, request.encode(value), metadata, { deadline: dateOf(deadline) }, (error: ServiceError | null, bytes?: Buffer) => {
        if (error !== null) reject(failure(error, fields));
        else settle(resolve, reject, () => response.decode(bytes!));
      });
    });
  }

  /** One request and one answer on a stream. */
  private exchange<I, O>({ address, client }: Endpoint, metadata: Metadata, deadline: number, { name, request, response }: Procedure<I, O>, value: I): Promise<O> {
    return new Promise((resolve, reject) => {
      const stream = client.makeBidiStreamRequest(`/etcdserverpb.${name}`, (bytes: Buffer) => bytes, (bytes: Buffer) => bytes, metadata, { deadline: dateOf(deadline) });
      stream.once("data", (bytes: Buffer) => {
        settle(resolve, reject, () => response.decode(bytes));
        stream.end();
        stream.cancel();
      });
      stream.on("error", (error: ServiceError) => reject(failure(error, { endpoint: address, call: name })));
      stream.once("end", () => reject(new EtcdError("UNAVAILABLE", `etcd at ${address} ended ${name} without an answer`, { endpoint: address, call: name })));
      stream.write(request.encode(value));
    });
  }
}

/** gRPC wants a moment of the day, and takes from it how long there is when the call begins; here a step of the clock changes nothing. */
const dateOf = (deadline: number): number => Date.now() + deadline - performance.now();

function settle<T>(resolve: (value: T) => void, reject: (error: Error) => void, read: () => T): void {
  try {
    resolve(read());
  } catch (error) {
    reject(error as Error);
  }
}
