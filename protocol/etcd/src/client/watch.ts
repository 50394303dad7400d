// A watch that outlives its connection: where a stream ends, the next one begins at the revision after the last that was told. What
// etcd has compacted meanwhile cannot be told; that ends the watch, and its owner reads the range again.
import { status, type ClientDuplexStream, type Metadata, type ServiceError } from "@grpc/grpc-js";
import { EtcdError } from "../errors.ts";
import { procedures, type Event, type WatchResponse } from "../messages.ts";
import type { Endpoint } from "./endpoints.ts";
import { failure } from "./failure.ts";

export interface WatchTarget {
  readonly key: string;
  /** Exclusive; without it, the key alone. */
  readonly rangeEnd?: string;
  /** First revision that is told. */
  readonly from: number;
}

export interface WatchHandlers {
  /** All of a revision or of several, never part of one. `revision`: everything up to it has been told. */
  readonly onEvents: (events: readonly Event[], revision: number) => void;
  /** Nothing more comes: revisions up to `compacted` are gone. */
  readonly onCompacted: (compacted: number) => void;
  /** Whether it is told of changes at present; why not. Each only when it changes. */
  readonly onState?: (up: boolean, error?: EtcdError) => void;
}

interface Source {
  readonly current: () => Endpoint;
  readonly failed: (endpoint: Endpoint) => void;
  readonly metadata: () => Promise<Metadata>;
  readonly unauthenticated: () => void;
  readonly ended: () => void;
}

const PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

export class Watch {
  private readonly target: WatchTarget;
  private readonly handlers: WatchHandlers;
  private readonly source: Source;
  private next: number;
  private stream: ClientDuplexStream<Buffer, Buffer> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private pause = 0;
  private up: boolean | undefined;
  private closed = false;
  /** Of an answer that comes in pieces. */
  private pieces: Event[] = [];

  constructor(target: WatchTarget, handlers: WatchHandlers, source: Source) {
    this.target = target;
    this.handlers = handlers;
    this.source = source;
    this.next = target.from;
    void this.connect();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    this.drop();
    this.source.ended();
  }

  private drop(): void {
    const { stream } = this;
    this.stream = undefined;
    this.pieces = [];
    stream?.cancel();
  }

  private async connect(): Promise<void> {
    const endpoint = this.source.current();
    try {
      const metadata = await this.source.metadata();
      if (this.closed) return;
      const { name } = procedures.watch;
      const stream = endpoint.client.makeBidiStreamRequest(`/etcdserverpb.${name}`, (bytes: Buffer) => bytes, (bytes: Buffer) => bytes, metadata);
      this.stream = stream;
      const lost = (error: EtcdError): void => {
        if (this.stream === stream) this.lost(endpoint, error);
      };
      stream.on("data", (bytes: Buffer) => {
        if (this.stream !== stream) return;
        let answer: WatchResponse;
        try {
          answer = procedures.watch.response.decode(bytes);
        } catch (error) {
          lost(error as EtcdError);
          return;
        }
        this.take(endpoint, answer);
      });
      stream.on("error", (error: ServiceError) => lost(failure(error, { endpoint: endpoint.address, call: name })));
      stream.on("end", () => lost(new EtcdError("UNAVAILABLE", `etcd at ${endpoint.address} ended the watch`, { endpoint: endpoint.address, call: name })));
      const { key, rangeEnd } = this.target;
      stream.write(procedures.watch.request.encode({ create_request: { key, range_end: rangeEnd, start_revision: this.next, progress_notify: true, fragment: true } }));
    } catch (error) {
      this.lost(endpoint, error instanceof EtcdError ? error : new EtcdError("REFUSED", String(error), { endpoint: endpoint.address }, error));
    }
  }

  private take(endpoint: Endpoint, { header, created, canceled, compact_revision, cancel_reason, fragment, events }: WatchResponse): void {
    if (canceled && compact_revision > 0) {
      this.close();
      this.handlers.onCompacted(compact_revision);
      return;
    }
    if (canceled) {
      const code = /permission denied/.test(cancel_reason) ? status.PERMISSION_DENIED : /token/.test(cancel_reason) ? status.UNAUTHENTICATED : status.UNAVAILABLE;
      this.lost(endpoint, failure({ code, details: cancel_reason === "" ? "it ended the watch" : cancel_reason }, { endpoint: endpoint.address, call: procedures.watch.name }));
      return;
    }
    if (created) {
      this.pause = 0;
      this.state(true);
      return; // its revision says nothing of what was told
    }
    this.pieces.push(...events);
    if (fragment) return;
    const whole = this.pieces;
    this.pieces = [];
    const last = whole.at(-1)?.kv?.mod_revision ?? header?.revision ?? 0;
    // A progress note is of a revision up to which everything was sent.
    this.next = Math.max(this.next, last + 1);
    if (whole.length > 0) this.handlers.onEvents(whole, last);
  }

  private lost(endpoint: Endpoint, error: EtcdError): void {
    this.drop();
    if (this.closed) return;
    this.source.failed(endpoint);
    if (error.code === "UNAUTHENTICATED") this.source.unauthenticated();
    this.state(false, error);
    this.timer = setTimeout(() => void this.connect(), this.pause);
    this.pause = Math.min(LONGEST_PAUSE_MS, Math.max(PAUSE_MS, 2 * this.pause));
  }

  private state(up: boolean, error?: EtcdError): void {
    if (this.up === up || this.closed) return;
    this.up = up;
    this.handlers.onState?.(up, error);
  }
}
