// A TCP connection as a stream of Node: what others have written for sockets works on it.
import { Duplex } from "node:stream";
import type { TcpConnection } from "./connection.ts";

/** Bytes that may wait to be acknowledged before a writer is told to wait. */
const HIGH_WATER = 32_768;

export class TcpStream extends Duplex {
  private connection: TcpConnection | undefined;
  /** Came and is not handed on: nobody wants it yet. */
  private held = 0;
  private wanted: (() => void) | undefined;
  private over = false;

  constructor() {
    super({ allowHalfOpen: true, emitClose: true });
  }

  /** Called once, before anything else. */
  attach(connection: TcpConnection): void {
    this.connection = connection;
  }
  took(chunk: Buffer): void {
    if (this.destroyed || this.push(chunk)) this.connection!.consumed(chunk.length);
    else this.held += chunk.length;
  }
  peerEnded(): void {
    if (!this.destroyed) this.push(null);
  }
  drained(): void {
    if (this.connection!.waiting > HIGH_WATER) return;
    const go = this.wanted;
    this.wanted = undefined;
    go?.();
  }
  finished(reason: string | undefined): void {
    this.over = true;
    this.destroy(reason === undefined || reason === "aborted" ? undefined : Object.assign(new Error(`the connection ended: ${reason}`), { code: reason === "timeout" ? "ETIMEDOUT" : "ECONNRESET" }));
  }

  override _read(): void {
    const read = this.held;
    this.held = 0;
    if (read > 0) this.connection!.consumed(read);
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.over) {
      done(Object.assign(new Error("the connection is over"), { code: "EPIPE" }));
      return;
    }
    this.wanted = () => done();
    this.connection!.write(chunk);
    this.drained();
  }
  override _final(done: (error?: Error | null) => void): void {
    this.connection!.end();
    done();
  }
  /** What was written before an end in order is still sent; without one, or with an error, the peer hears that it is over. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const connection = this.connection!;
    this.wanted = undefined;
    if (!this.over && (error !== null || !this.writableFinished)) connection.abort();
    else if (!this.over && this.held > 0) connection.consumed(this.held);
    this.held = 0;
    done(error);
  }
}
